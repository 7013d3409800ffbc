//! Moving in lists: by verbs, by the wheel, by clicks.
//!
//! What lives here: arithmetic that all screens share. What does not: what is listed.

use crate::tui::keys::Verb;
use jiff::{SignedDuration, Timestamp};

const DOUBLE_CLICK: SignedDuration = SignedDuration::from_millis(400);

/// Whether a click at `now` belongs to the one before.
pub(super) fn is_double_click(before: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..=DOUBLE_CLICK).contains(&now.duration_since(before))
}

/// Where a moving verb leads from `at`.
pub(super) fn moved(at: usize, last: usize, page: usize, verb: Verb) -> Option<usize> {
    Some(match verb {
        Verb::Up => at.saturating_sub(1),
        Verb::Down => at.saturating_add(1).min(last),
        Verb::PageUp => at.saturating_sub(page),
        Verb::PageDown => at.saturating_add(page).min(last),
        Verb::First => 0,
        Verb::Last => last,
        _ => return None,
    })
}

/// The first line in sight: moved as little as possible, and only to keep `place` in sight if the view follows it.
pub(super) fn scrolled(top: usize, place: usize, len: usize, height: usize, follow: bool) -> usize {
    let top = top.min(len.saturating_sub(height));
    if !follow || height == 0 {
        return top;
    }
    top.clamp((place + 1).saturating_sub(height), place)
}

/// What was drawn where, for the mouse.
#[derive(Debug)]
pub(super) struct Hits<H> {
    areas: Vec<(u16, u16, u16, u16, H)>,
}

impl<H> Default for Hits<H> {
    fn default() -> Self {
        Self { areas: Vec::new() }
    }
}

impl<H> Hits<H> {
    /// Forgets the last frame.
    pub(super) fn clear(&mut self) {
        self.areas.clear();
    }

    /// Notes that `hit` covers columns `left..right` of lines `top..bottom`.
    pub(super) fn add(&mut self, left: u16, top: u16, right: u16, bottom: u16, hit: H) {
        self.areas.push((left, top, right, bottom, hit));
    }

    /// What is at a position: the last that was noted wins.
    pub(super) fn at(&self, x: u16, y: u16) -> Option<&H> {
        let inside =
            |(left, top, right, bottom, _): &&(u16, u16, u16, u16, H)| (*left..*right).contains(&x) && (*top..*bottom).contains(&y);
        self.areas.iter().rev().find(inside).map(|(.., hit)| hit)
    }
}
