//! When something that is on record is read again.
//!
//! What lives here: the pace: at once when something else is wanted, calmly while only time goes on, and never two questions at a time. What does not: what
//! is asked.

use super::super::asking::{Seen, seen};
use crate::tui::pace::due;
use crate::tui::screens::Cx;
use jiff::{SignedDuration, Timestamp};

/// While the fleet changes, what is on record is read at most this often.
const PACE: SignedDuration = SignedDuration::from_secs(5);
/// While nothing changes: recorders elsewhere write, too.
const ANEW: SignedDuration = SignedDuration::from_secs(30);
/// An answer that takes longer is not waited for.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// See the module; `K` is what is asked for.
#[derive(Debug)]
pub(in super::super) struct Pull<K> {
    pending: Option<(u64, Timestamp)>,
    asked: Option<(K, Timestamp, Seen)>,
    due: Option<Timestamp>,
}

impl<K> Default for Pull<K> {
    fn default() -> Self {
        Self { pending: None, asked: None, due: None }
    }
}

impl<K: PartialEq> Pull<K> {
    /// Whether to ask for `key` now; else it is noted when. Whoever is told so asks, and says so by [`Self::asked`].
    pub(in super::super) fn wants(&mut self, key: &K, cx: &Cx<'_>) -> bool {
        self.due = None;
        if self.pending.is_some_and(|(_, since)| !due(since + PATIENCE, PATIENCE, cx.now)) {
            return false;
        }
        let Some((last, at, before)) = &self.asked else { return true };
        if last != key {
            return true;
        }
        let pace = if !cx.paused && *before != seen(cx.fleet) { PACE } else { ANEW };
        if !cx.paused && due(*at + pace, pace, cx.now) {
            return true;
        }
        self.due = Some(if cx.paused { cx.now + PACE } else { *at + pace });
        false
    }

    /// A question was asked.
    pub(in super::super) fn asked(&mut self, number: u64, key: K, cx: &Cx<'_>) {
        self.pending = Some((number, cx.now));
        self.asked = Some((key, cx.now, seen(cx.fleet)));
    }

    /// Whether an answer is the one waited for.
    pub(in super::super) fn is_answered(&mut self, number: u64) -> bool {
        self.pending.take_if(|(pending, _)| *pending == number).is_some()
    }

    /// Whether an answer is waited for.
    pub(in super::super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether this is what was asked for last.
    pub(in super::super) fn is_for(&self, key: &K) -> bool {
        self.asked.as_ref().is_some_and(|(asked, ..)| asked == key)
    }

    /// Forgets what was asked: the next [`Self::wants`] says yes. An answer under way was perhaps given to nobody.
    pub(in super::super) fn anew(&mut self) {
        *self = Self::default();
    }

    /// When to be called.
    pub(in super::super) fn wake(&self) -> Option<Timestamp> {
        self.due
    }
}
