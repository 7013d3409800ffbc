//! Who did what? Every operation, the newest first: who asked for it, where, and what became of it.
//!
//! What lives here: the screen's state, its keys, and how they change it. Its parts: `book` (what was read, and whether it holds), `asking` (when it is read),
//! `sieve` (the filter), `columns` and `list_view` (drawing the list), `banner` (whether the chain holds, in words), `wording`, `entry` and `entry_view` (one
//! step in full), `gate` (the gate as it was seen), `states` (instead of an empty list), `layout` (how they share the screen). What does not: the files
//! (`engine::JournalReader`), which entries belong together (`domain::journal`).

mod asking;
mod banner;
mod book;
mod columns;
mod entry;
mod entry_view;
mod gate;
mod layout;
mod list_view;
mod sieve;
mod states;
mod wording;

use super::lists::{Hits, moved};
use super::selection::{Because, Selection};
use super::{Cx, Done, Place, Screen};
use crate::domain::journal::Step;
use crate::tui::keys::{Binding, Verb};
use asking::Asking;
use book::Book;
use entry::Opened;
use jiff::Timestamp;
use sieve::Sieve;
use std::sync::Arc;

/// A policy over time.
const TIMELINE: Verb = Verb::Own("timeline");
/// The entries as they stand in the file.
const LINES: Verb = Verb::Own("lines");

/// The screen's own keys.
pub(super) const KEYS: &[Binding] = &[
    Binding::new(
        LINES,
        &["y"],
        "lines",
        "The entry as it stands in the journal's file: one line of JSON for the intent, one for the outcome.",
    ),
    Binding::new(TIMELINE, &["t"], "timeline", "The policy over time, with the cursor where this was done; esc comes back."),
];

/// Makes the screen.
pub(super) fn make() -> Box<dyn Screen> {
    Box::new(Journal::default())
}

/// See the module.
#[derive(Default)]
struct Journal {
    book: Book,
    asking: Asking,
    sieve: Sieve,
    /// What passes the filter, by key, the newest first.
    listed: Vec<u64>,
    selection: Selection<u64>,
    /// Whether a step is listed only because it is selected.
    keeps: bool,
    /// The oldest one is wanted, however much has to be read for it.
    to_the_end: bool,
    /// The first line in sight.
    top: usize,
    /// Whether the view follows the cursor; the wheel moves it away.
    follow: bool,
    hits: Hits<usize>,
    last_click: Option<(Timestamp, usize)>,
    /// Rows of the list when drawn last.
    rows: usize,
    /// A step in full, on a level of its own.
    opened: Option<Opened>,
    /// Whether there is a place for a journal.
    has_place: bool,
}

impl Journal {
    /// Works out the order again; the selected step keeps its line on the screen, however much came before it.
    fn list(&mut self, because: Because, cx: &Cx<'_>) {
        let line = self.selection.start().saturating_sub(self.top);
        let kept = self.selection.kept(because).copied();
        let passes = |step: &Step| self.sieve.passes(step, cx.fleet, cx.road);
        let listed = self.book.steps().newest_first().filter(|step| kept == Some(step.key) || passes(step)).map(|step| step.key);
        self.listed = listed.collect();
        self.keeps = kept.and_then(|key| self.book.steps().get(key)).is_some_and(|step| !passes(step));
        let listed = &self.listed;
        self.selection.settle(because, |key| place(listed, *key), |place| listed.get(place).copied());
        if let Some(place) = self.selection.place().filter(|_| self.selection.is_chosen()) {
            self.top = place.saturating_sub(line);
        }
    }

    /// Puts the cursor on a place of the order because a person asked for it.
    fn choose(&mut self, place: usize, cx: &Cx<'_>) {
        self.follow = true;
        let listed = &self.listed;
        self.selection.choose(place.min(listed.len().saturating_sub(1)), |place| listed.get(place).copied());
        if self.keeps {
            self.list(Because::News, cx);
        }
    }

    /// The selected step is the one that a person means: it stays selected.
    fn stay(&mut self) {
        let listed = &self.listed;
        self.selection.stay(|key| place(listed, *key));
    }

    fn selected(&self) -> Option<&Step> {
        self.book.steps().get(*self.selection.key()?)
    }

    fn move_cursor(&mut self, verb: Verb, cx: &mut Cx<'_>) {
        self.to_the_end = verb == Verb::Last && self.book.has_older();
        if let Some(place) = moved(self.selection.start(), self.listed.len().saturating_sub(1), self.rows.saturating_sub(1).max(1), verb) {
            self.choose(place, cx);
        }
        self.want_older(cx);
    }

    /// Reads older entries where what is in sight, and as much again, is not there yet.
    fn want_older(&mut self, cx: &mut Cx<'_>) {
        let needed = self.top.max(self.selection.start()) + 2 * self.rows.max(1);
        if self.to_the_end || needed >= self.listed.len() {
            self.asking.older(&self.book, cx);
        }
    }

    /// After more was read.
    fn has_more(&mut self, cx: &mut Cx<'_>) {
        self.list(Because::News, cx);
        if self.to_the_end {
            self.choose(self.listed.len().saturating_sub(1), cx);
            self.to_the_end = self.book.has_older();
        }
        if let Some(opened) = &mut self.opened {
            opened.refresh(&self.book, cx);
        }
        self.want_older(cx);
    }

    fn open(&mut self, lines: bool, cx: &mut Cx<'_>) {
        if let Some(opened) = &mut self.opened {
            opened.show_lines(lines);
            return;
        }
        self.stay();
        if let Some(step) = self.selected() {
            self.opened = Some(Opened::open(step, lines, cx));
        }
    }

    fn back(&mut self, clears_filter: bool, cx: &mut Cx<'_>) -> Done {
        if let Some(opened) = &mut self.opened {
            if !opened.back() {
                self.opened = None;
            }
        } else if clears_filter && !self.sieve.is_empty() {
            self.sieve = Sieve::default();
            self.list(Because::Filter, cx);
        } else {
            return Done::Outermost;
        }
        Done::Yes
    }

    /// The policy's timeline, where this was done.
    fn timeline(&self, cx: &Cx<'_>) -> Done {
        let Some(step) = self.selected() else { return Done::Yes };
        let environment = step.environment.as_deref().unwrap_or_default();
        let Some(policy) = step.object.as_deref().and_then(|policy| cx.fleet.key_of(environment, policy)) else { return Done::Yes };
        Done::GoTo(Place::Moment { policy, environment: step.environment.as_deref().map(Arc::from), at: step.at })
    }

    /// An environment is a filter here: it stays to be seen, and esc clears it.
    fn only_environment(&mut self, number: u8, cx: &mut Cx<'_>) {
        let filtered = cx.numbered(number).and_then(|name| self.sieve.with_environment(name.as_deref()));
        match filtered {
            Ok(sieve) => {
                self.sieve = sieve;
                self.list(Because::Filter, cx);
                self.want_older(cx);
            }
            Err(why) => *cx.say = Some(why),
        }
    }

    fn copy(&self, cx: &mut Cx<'_>) {
        if let Some(opened) = &self.opened {
            opened.copy(cx);
        } else if let Some(step) = self.selected() {
            cx.copy(&format!("entry {}", step.key), wording::sentence(step));
        }
    }
}

/// The place of a step among those that are listed, the newest first.
fn place(listed: &[u64], key: u64) -> Option<usize> {
    listed.binary_search_by(|other| key.cmp(other)).ok()
}
