//! Housekeeping. Churn leaves texts, checks and details behind that no row names any more, and notes of the newest evaluation or the worst
//! severity that came from rows long gone. Finding out needs a walk over all rows, so it is done now and then and not with each change.

use super::Ledger;
use crate::fleet::strings::StrId;

/// Text is looked through when it has grown by a quarter, and by this much.
pub(super) const ROOM: usize = 256 << 10;

impl Ledger {
    /// Makes exact again what only grows while reports come and go, and gives memory back. Call it now and then, between batches: a few
    /// milliseconds for a million rows.
    pub(crate) fn tidy(&mut self) {
        self.settle();
        let dropped = std::mem::take(&mut self.dropped);
        if dropped {
            self.describe_anew();
        }
        // A full table is only worth the walk where something has gone.
        if self.strings.bytes() > self.roomy.max(ROOM) || (self.full && dropped) {
            self.compact();
            self.full &= !self.strings.is_roomy();
            self.roomy = self.strings.bytes() + self.strings.bytes() / 4 + ROOM;
        }
    }

    /// Newest evaluation, severity and category of every check, from the rows that are there.
    fn describe_anew(&mut self) {
        let Self { checks, reports, details, strings, .. } = self;
        let before = checks.forget_descriptions();
        for row in reports.rows() {
            if checks.is_foreign(row) {
                continue;
            }
            checks.saw(row.check, row.time);
            checks.describe(row.check, row.severity, details.get(row.detail).map_or(StrId::EMPTY, |d| d.category), strings);
        }
        self.changed |= !checks.are_described(&before);
    }

    /// Drops checks, details and texts that no row names. Numbers change but keep their order, so rows stay sorted.
    pub(super) fn compact(&mut self) {
        self.sayings.forget();
        let (mut checks, mut details) = (vec![false; self.checks.len()], vec![false; self.details.len()]);
        for row in self.reports.rows() {
            mark(&mut checks, row.check as usize);
            mark(&mut details, row.detail as usize);
        }
        self.checks.mark_meanings(&mut checks);
        let (checks, details) = (self.checks.keep(&checks), self.details.keep(&details));
        for row in self.reports.rows_mut() {
            row.check = checks.get(row.check as usize).copied().unwrap_or(row.check);
            row.detail = details.get(row.detail as usize).copied().unwrap_or(row.detail);
        }
        let mut live = vec![false; self.strings.len()];
        self.texts(&mut |id| mark(&mut live, id.index()));
        let numbers = self.strings.keep(&live);
        self.texts(&mut |id| *id = numbers.get(id.index()).copied().unwrap_or(StrId::EMPTY));
        self.reports.reindex();
        self.resources.reindex();
        self.details.reindex();
        self.checks.reindex();
    }

    /// Shows the number of every text that is named anywhere to `visit`.
    fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        self.reports.texts(visit);
        self.resources.texts(visit);
        self.details.texts(visit);
        self.checks.texts(visit);
        self.rounds = self.rounds.drain().map(|((kind, mut scope), round)| (visit(&mut scope), ((kind, scope), round)).1).collect();
    }
}

fn mark(marks: &mut [bool], place: usize) {
    if let Some(mark) = marks.get_mut(place) {
        *mark = true;
    }
}
