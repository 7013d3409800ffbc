//! What may move, and why not yet? Policies by the gate before their next step, and the conditions of that gate.
//!
//! What lives here: the screen's state, its keys, and how they change it. Its parts: `acting` (what is done to policies), `asking` (when gates are asked for), `board` (rows as data), `concern` (what gates do not say),
//! `sieve` (its filter), `columns` and `board_view` (drawing it), `panel` (the gate), `wording` (both in words), `states` (instead of an empty
//! board), `layout` (how they share the screen), `time` (a level below: one policy over time), `over_time` (the same of all, on the board).

mod acting;
mod asking;
mod board;
mod board_view;
mod columns;
mod concern;
mod layout;
mod over_time;
mod panel;
mod sieve;
mod states;
mod time;
pub(in crate::tui) mod wording;

use super::lists::{Hits, moved};
use super::operations::{DEMOTE_KEY, HOLD_KEY, PROMOTE_KEY, ROLLBACK_KEY, UNBLOCK_KEY, is_operation};
use super::selection::{Because, Selection};
use super::{ALL, Cx, Done, MARK, Place, REVERSE, SORT, SORT_BACK, Screen};
use crate::domain::{Condition, ConditionName, ConditionState, PolicyId, PolicyKey, clean};
use crate::tui::keys::{Binding, Verb};
use crate::tui::overlays::note::Note;
use crate::tui::theme::Role;
use asking::Asking;
use board::{Board, Listing, Row, SortBy};
use jiff::Timestamp;
use over_time::OverTime;
use sieve::Sieve;
use std::collections::BTreeSet;
use std::sync::Arc;
use time::{NEXT_MARK, PREVIOUS_MARK, Timeline, ZOOM_IN, ZOOM_OUT};

/// The screen's own keys.
pub(super) const KEYS: &[Binding] = &[
    Binding::new(ALL, &["o"], "all", "Also fully rolled-out policies, or only those with a next step or something wrong."),
    Binding::new(SORT, &["s", ">"], "sort", "Sort within the groups: soonest first, by name, by next step."),
    Binding::new(SORT_BACK, &["<"], "sort back", "Sort by what comes before in that order."),
    Binding::new(REVERSE, &["S"], "reverse", "Reverse the order within the groups."),
    Binding::new(MARK, &["space"], "mark", "Mark it, to promote several under one confirmation; again to take the mark away."),
    PROMOTE_KEY,
    DEMOTE_KEY,
    ROLLBACK_KEY,
    HOLD_KEY,
    UNBLOCK_KEY,
    Binding::new(
        TIMELINE,
        &["t"],
        "timeline",
        "The selected policy over time, in every environment: what it did, what happened, and who did it.",
    ),
    Binding::new(OVERVIEW, &["w"], "over time", "On the board, what each policy did over time in place of what it waits for, or back."),
    Binding::new(NEXT_MARK, &["n"], "next", "In a timeline, to what happened next in the selected environment."),
    Binding::new(PREVIOUS_MARK, &["N"], "before", "In a timeline, to what happened before."),
    Binding::new(ZOOM_IN, &["+", "="], "closer", "Over time, closer: 90, 30, 14, 7, 3 days, 1 day, 6 hours, 1 hour."),
    Binding::new(ZOOM_OUT, &["-", "_"], "wider", "Over time, wider."),
];

/// A policy over time.
const TIMELINE: Verb = Verb::Own("timeline");
/// All policies over time.
const OVERVIEW: Verb = Verb::Own("over-time");

/// Makes the screen.
pub(super) fn make() -> Box<dyn Screen> {
    Box::new(Rollout::default())
}

/// Where the keys go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Focus {
    #[default]
    Board,
    Panel,
}

/// Something that can be clicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    /// The heading of a column: sorts by it.
    Heading(SortBy),
    /// A row of the board, by its place.
    Row(usize),
    /// A condition of the gate, by its place.
    Condition(usize),
    /// The board, wherever nothing more special is.
    Board,
    /// The panel, wherever nothing more special is.
    Panel,
    /// A row of a timeline, by its place.
    Lane(usize),
}

/// See the module.
#[derive(Default)]
struct Rollout {
    asking: Asking,
    /// When the gates on the screen were judged; nothing was yet if `None`.
    judged: Option<Timestamp>,
    board: Board,
    listing: Listing,
    /// Policies to be promoted together.
    marks: BTreeSet<PolicyId>,
    selection: Selection<PolicyId>,
    /// The selected condition.
    condition: Option<ConditionName>,
    focus: Focus,
    /// The first line in sight, and the first environment.
    top: usize,
    first: usize,
    /// Whether the view follows the cursor; the wheel moves it away.
    follow: bool,
    hits: Hits<Hit>,
    last_click: Option<(Timestamp, Hit)>,
    /// Lines of the board when drawn last, for paging.
    board_rows: usize,
    /// The policy that is shown over time, on a level of its own.
    timeline: Option<Timeline>,
    /// Whether it was opened from another screen.
    visited: bool,
    /// All policies over time, on the board.
    over_time: OverTime,
    /// Columns of time that a timeline would have on the screen drawn last.
    bar_columns: usize,
}

impl Rollout {
    /// Works out the order again; the selected policy keeps its line on screen even if it moved in the order.
    fn list(&mut self, because: Because, cx: &Cx<'_>) {
        self.list_after(because, |_| (), cx);
    }

    /// The same after the rows became others.
    fn list_after(&mut self, because: Because, change: impl FnOnce(&mut Board), cx: &Cx<'_>) {
        let before = self.line().filter(|_| self.selection.is_chosen()).map(|line| line.saturating_sub(self.top));
        change(&mut self.board);
        let Self { board, listing, selection, .. } = self;
        board.list(listing, selection.kept(because), cx.fleet, cx.now);
        selection.settle(because, |id| board.place(id), |place| board.id(place));
        if let (Some(before), Some(line)) = (before, self.line()) {
            self.top = line.saturating_sub(before);
        }
    }

    /// The line of the selected policy.
    fn line(&self) -> Option<usize> {
        self.selection.place().map(|place| self.board.line(place))
    }

    /// Puts the cursor on a place of the order because a person asked for it.
    fn choose(&mut self, place: usize, cx: &Cx<'_>) {
        self.follow = true;
        let board = &self.board;
        self.selection.choose(place.min(board.listed_len().saturating_sub(1)), |place| board.id(place));
        if self.board.keeps {
            // The row that was left was listed only because the cursor was on it.
            self.list(Because::News, cx);
        }
    }

    /// The row under the cursor.
    fn selected(&self) -> Option<&Row> {
        self.board.listed(self.selection.place()?)
    }

    /// The row that keys are about: of the policy that is shown over time, else the one under the cursor.
    fn subject(&self) -> Option<&Row> {
        match &self.timeline {
            Some(timeline) => self.board.row(&timeline.policy.id),
            None => self.selected(),
        }
    }

    /// The subject is the row that a person means: it stays selected.
    fn stay(&mut self) {
        let board = &self.board;
        if !self.is_about_another() {
            self.selection.stay(|id| board.place(id));
        }
    }

    /// A verb begins that acts on the subject: that row stays where it is.
    fn pin(&mut self) {
        let board = &self.board;
        if !self.is_about_another() {
            self.selection.pin(|id| board.place(id));
        }
    }

    /// Whether keys are about another policy than the board's row: the one of a timeline that was opened from another screen.
    fn is_about_another(&self) -> bool {
        self.timeline.as_ref().is_some_and(|timeline| self.selection.key() != Some(&*timeline.policy.id))
    }

    /// The place of the selected condition, and how many there are.
    fn condition_place(&self) -> Option<(usize, usize)> {
        let gate = self.subject()?.gate.as_ref().ok()?;
        let place = gate.conditions.iter().position(|condition| Some(condition.name) == self.condition).unwrap_or(0);
        (!gate.conditions.is_empty()).then_some((place, gate.conditions.len()))
    }

    fn select_condition(&mut self, place: usize) {
        self.condition = self.subject().and_then(|row| row.gate.as_ref().ok()?.conditions.get(place)).map(|condition| condition.name);
    }

    fn move_cursor(&mut self, verb: Verb, cx: &Cx<'_>) {
        if self.focus == Focus::Panel {
            if let Some((place, len)) = self.condition_place()
                && let Some(place) = moved(place, len - 1, len, verb)
            {
                self.select_condition(place);
            }
            return;
        }
        let last = self.board.listed_len().saturating_sub(1);
        let page = self.board_rows.saturating_sub(2).max(1);
        if let Some(place) = moved(self.selection.start(), last, page, verb) {
            self.choose(place, cx);
        }
    }

    /// Into the panel, beginning with what keeps the gate from opening; in the panel, to what is behind a condition.
    fn open(&mut self) -> Done {
        if self.focus == Focus::Panel {
            return self.behind_condition().unwrap_or(Done::Yes);
        }
        self.stay();
        if let Some(row) = self.subject() {
            let first = row.gate.as_ref().ok().and_then(|gate| board::lacking(gate).first().map(|condition| condition.name));
            (self.condition, self.focus) = (first, Focus::Panel);
        }
        Done::Yes
    }

    /// The rows behind a number; of anything else all there is to say.
    fn behind_condition(&self) -> Option<Done> {
        let row = self.subject()?;
        let gate = row.gate.as_ref().ok()?;
        let condition = gate.conditions.get(self.condition_place()?.0)?;
        if let Some(from) = gate.from.as_ref().filter(|_| wording::has_rows(condition)) {
            return Some(Done::GoTo(Place::Faults { policy: row.key.clone(), environment: Arc::clone(&from.environment) }));
        }
        let state = match condition.state {
            ConditionState::Met => Role::Good,
            ConditionState::Unmet | ConditionState::Unknown => Role::Attention,
        };
        let mut note = Note::new(format!("{} of {}", condition.name.as_str(), clean(&row.key.id.report_name())))
            .say("state", condition.state.as_str().to_owned(), state)
            .say("value", wording::value(condition), Role::Text)
            .say("why", clean(&condition.reason).into_owned(), Role::Text)
            .say("source", clean(&condition.source).into_owned(), Role::Muted);
        if matches!(condition.name, ConditionName::Violations | ConditionName::Blocked) {
            for proof in &condition.evidence {
                note = note.say("from", proof.in_words(), Role::Text);
            }
        }
        Some(Done::Window(note))
    }

    fn back(&mut self, clears_filter: bool, cx: &Cx<'_>) -> Done {
        if self.focus == Focus::Panel {
            self.focus = Focus::Board;
        } else if clears_filter && !self.listing.filter.is_empty() {
            self.listing.filter = Sieve::default();
            self.list(Because::Filter, cx);
        } else {
            return Done::Outermost;
        }
        Done::Yes
    }

    fn next_pane(&mut self, forward: bool) -> Done {
        let panel = self.focus == Focus::Panel;
        if panel == forward || (forward && self.subject().is_none()) {
            self.focus = Focus::Board;
            return Done::NextScreen;
        }
        if forward {
            return self.open();
        }
        self.focus = Focus::Board;
        Done::Yes
    }

    fn own(&mut self, verb: Verb, cx: &mut Cx<'_>) {
        match verb {
            ALL => self.listing.all = !self.listing.all,
            SORT => self.sort_by_next(1),
            SORT_BACK => self.sort_by_next(SortBy::ALL.len() - 1),
            REVERSE => self.listing.reverse = !self.listing.reverse,
            TIMELINE => return self.open_timeline(cx),
            OVERVIEW | ZOOM_IN | ZOOM_OUT => return self.over_time.run(verb, cx),
            _ => return,
        }
        self.list(Because::News, cx);
    }

    /// The selected policy over time, beginning where it stands.
    fn open_timeline(&mut self, cx: &mut Cx<'_>) {
        self.stay();
        let Some(row) = self.selected() else { return };
        let stands = row.gate.as_ref().ok().and_then(|gate| gate.from.as_ref()).map(|stop| Arc::clone(&stop.environment));
        let there = || cx.fleet.environments.iter().rev().find(|view| view.cell(&row.key).is_some()).map(|view| Arc::clone(&view.name));
        let environment = stands.or_else(there);
        let timeline = Timeline::open(row.key.clone(), self.over_time.zoom(), environment, None, self.bar_columns, cx);
        self.visited = false;
        (self.timeline, self.focus) = (Some(timeline), Focus::Board);
    }

    /// Carries out a verb in the timeline; `None` where it is for the gate or the board.
    fn run_timeline(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Option<Done> {
        let timeline = self.timeline.as_mut()?;
        if self.focus == Focus::Panel || is_operation(verb) || matches!(verb, Verb::NextScreen | Verb::PreviousScreen) {
            return None;
        }
        let done = timeline.run(verb, cx);
        self.over_time.set_zoom(timeline.zoom());
        if done == Done::Outermost {
            self.timeline = None;
            self.over_time.want(cx);
            if std::mem::take(&mut self.visited) {
                return Some(Done::Return);
            }
        }
        Some(Done::Yes)
    }

    /// Shows a policy over time for somebody who comes from another screen, with the cursor on a moment.
    fn visit(&mut self, policy: &PolicyKey, environment: Option<&Arc<str>>, at: Timestamp, cx: &mut Cx<'_>) {
        let timeline = Timeline::open(policy.clone(), self.over_time.zoom(), environment.cloned(), Some(at), self.bar_columns, cx);
        (self.timeline, self.focus, self.visited) = (Some(timeline), Focus::Board, true);
    }

    fn sort_by_next(&mut self, step: usize) {
        let now = SortBy::ALL.iter().position(|by| *by == self.listing.by).unwrap_or(0);
        (self.listing.by, self.listing.reverse) = (SortBy::ALL[(now + step) % SortBy::ALL.len()], false);
    }

    /// An environment is a filter here: it stays to be seen, and esc clears it.
    fn only_environment(&mut self, number: u8, cx: &mut Cx<'_>) {
        let filtered = cx.numbered(number).and_then(|name| self.listing.filter.with_environment(name.as_deref()));
        match filtered {
            Ok(filter) => {
                self.listing.filter = filter;
                self.list(Because::Filter, cx);
            }
            Err(why) => *cx.say = Some(why),
        }
    }

    fn copy(&self, cx: &mut Cx<'_>) {
        let Some(row) = self.subject() else { return };
        let name = clean(&row.key.id.report_name()).into_owned();
        match &row.gate {
            Ok(gate) if self.focus == Focus::Panel => {
                let line = |condition: &Condition| {
                    let (value, reason) = (wording::value(condition), clean(&condition.reason));
                    let parts = [condition.name.as_str(), condition.state.as_str(), &value, &reason];
                    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ") + "\n"
                };
                let conditions: String = gate.conditions.iter().map(line).collect();
                let text = format!("{name}: {} to {}\n{conditions}", gate.verdict.as_str(), clean(&gate.to.to_string()));
                cx.copy(&format!("the gate of {name}"), text);
            }
            _ => cx.copy(&name, name.clone()),
        }
    }

    fn click(&mut self, hit: Hit, double: bool, cx: &Cx<'_>) -> Done {
        match hit {
            Hit::Heading(by) => {
                self.listing.reverse = self.listing.by == by && !self.listing.reverse;
                self.listing.by = by;
                self.list(Because::News, cx);
            }
            Hit::Row(place) => {
                self.focus = Focus::Board;
                self.choose(place, cx);
            }
            Hit::Condition(place) => {
                self.stay();
                self.focus = Focus::Panel;
                self.select_condition(place);
            }
            Hit::Board => self.focus = Focus::Board,
            Hit::Panel if self.subject().is_some() => {
                self.stay();
                self.focus = Focus::Panel;
            }
            Hit::Panel | Hit::Lane(_) => {}
        }
        if double && matches!(hit, Hit::Row(_) | Hit::Condition(_)) { self.open() } else { Done::Yes }
    }
}
