//! The cursor through time, the window around it, and the row it is in.
//!
//! What lives here: how keys move them. What does not: which column is which time (`scale`).

use super::lanes::{LaneKey, lanes};
use super::scale::{Scale, ZOOMS};
use super::{OLDEST, Timeline};
use crate::tui::screens::Cx;
use std::sync::Arc;

impl Timeline {
    /// Another row is selected: what was picked was of the one before.
    pub(super) fn choose(&mut self, lane: Option<LaneKey>) {
        if self.lane != lane {
            (self.lane, self.picked) = (lane, None);
        }
    }

    pub(super) fn select_environment(&mut self, number: u8, cx: &mut Cx<'_>) {
        let wanted = usize::from(number).checked_sub(1);
        match wanted.and_then(|place| cx.fleet.environments.get(place)) {
            Some(view) => self.choose(Some(LaneKey { name: Arc::clone(&view.name), former: None })),
            None if number == 0 => *cx.say = Some("all environments are here".to_owned()),
            None => *cx.say = Some(format!("there is no environment {number}")),
        }
    }

    pub(super) fn page(&self) -> i64 {
        i64::try_from(self.bar).unwrap_or(i64::MAX)
    }

    pub(super) fn follow_now(&mut self) {
        (self.end, self.cursor, self.picked) = (None, None, None);
    }

    /// Moves the cursor by columns. At an edge the window goes along by a quarter; at the present it follows the present again.
    pub(super) fn step(&mut self, by: i64) {
        let scale = self.scale();
        let columns = self.page();
        let target = scale.place(self.cursor.unwrap_or(self.at)).saturating_add(by);
        if target >= scale.place(self.at) {
            self.follow_now();
            return;
        }
        let to = scale.middle(target);
        if self.at.duration_since(to) > OLDEST {
            return;
        }
        (self.cursor, self.picked) = (Some(to), None);
        let quarter = (columns / 4).max(1);
        let pan = if by.abs() >= columns {
            by
        } else if target < 0 {
            -quarter
        } else if target >= columns {
            quarter
        } else {
            return;
        };
        self.end_at(scale.moved(pan));
    }

    /// Shows these columns, or follows the present where they reach it.
    fn end_at(&mut self, scale: Scale) {
        let last = self.page() - 1;
        self.end = (scale.place(self.at) > last).then(|| scale.middle(last));
    }

    pub(super) fn go_left(&mut self) {
        let scale = self.scale();
        let place = scale.place(self.cursor.unwrap_or(self.at));
        self.step(if place > 0 { -place } else { -self.page() });
    }

    /// The cursor's time stays where it is on the screen.
    pub(super) fn zoom_to(&mut self, zoom: usize) {
        let before = self.scale();
        self.zoom = zoom.min(ZOOMS.len() - 1);
        let Some(cursor) = self.cursor else { return };
        let behind = self.page() - 1 - before.place(cursor);
        self.end_at(Scale::ending(self.zoom, self.bar, cursor).moved(behind));
    }

    /// To the next mark of the row, or the one before; a mark that is shown in full gives way to it.
    pub(super) fn go_to_mark(&mut self, forward: bool, cx: &mut Cx<'_>) {
        let told = self.told.clone();
        let lanes = lanes(cx.fleet, told.as_deref());
        let marks = self.selected(&lanes).map_or(&[][..], |lane| lane.marks());
        let at = self.cursor.unwrap_or(self.at);
        let picked = self.picked.as_ref().and_then(|picked| marks.iter().position(|mark| mark == picked));
        let place = match (picked, forward) {
            (Some(place), true) => place.checked_add(1),
            (Some(place), false) => place.checked_sub(1),
            (None, true) => marks.iter().position(|mark| mark.at > at),
            (None, false) => marks.iter().rposition(|mark| mark.at < at),
        };
        match place.and_then(|place| marks.get(place)) {
            Some(mark) => {
                (self.cursor, self.picked) = (Some(mark.at.min(self.at)), Some(mark.clone()));
                if self.detail.is_some() {
                    self.show_mark(cx);
                }
            }
            None if forward => *cx.say = Some("nothing later is on record in sight".to_owned()),
            None => *cx.say = Some("nothing earlier is on record in sight: page up, or zoom out".to_owned()),
        }
    }
}
