//! A policy over time: a row per environment, a cursor through time, and what happened at it.
//!
//! What lives here: the level's state, its keys, and how they change it. Its parts: `scale` (which column is which time), `axis` (what is written along
//! it), `cells` (what stands in a column), `lanes` (the rows), `cursor` (moving), `layout` (how they share the screen), `pull` (when records are read), `wording`, `view` and
//! `moments` (drawing), `detail` (one mark in full). What does not: the records (`engine::HistoryReader`), the gate (`panel`).

mod axis;
mod cells;
mod cursor;
mod detail;
mod lanes;
mod layout;
mod moments;
pub(super) mod pull;
pub(super) mod scale;
mod view;
mod wording;

use crate::domain::history::{Interval, Mark};
use crate::domain::{PolicyKey, clean};
use crate::fleet::view::FleetView;
use crate::tui::keys::Verb;
use crate::tui::msg::{Answer, Ask};
use crate::tui::pace::due;
use crate::tui::past::Told;
use crate::tui::screens::lists::moved;
use crate::tui::screens::operations::{DEMOTE, HOLD, PROMOTE, ROLLBACK};
use crate::tui::screens::{Cx, Done, View};
use crate::tui::words;
use detail::Detail;
use jiff::{SignedDuration, Timestamp};
use lanes::{Lane, LaneKey, lanes};
use pull::Pull;
use scale::{Scale, ZOOMS};
use std::sync::Arc;

pub(super) use view::{Gate, bar_columns};

/// More time in sight.
pub(super) const ZOOM_OUT: Verb = Verb::Own("zoom-out");
/// Less time in sight.
pub(super) const ZOOM_IN: Verb = Verb::Own("zoom-in");
/// To the next thing that happened.
pub(super) const NEXT_MARK: Verb = Verb::Own("next-mark");
/// To what happened before.
pub(super) const PREVIOUS_MARK: Verb = Verb::Own("previous-mark");

/// Nobody looks for what is older, and no key that is held down should lead further.
const OLDEST: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

/// What is asked for: of which time, in how many columns.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    window: Interval,
    width: usize,
}

/// See the module.
pub(super) struct Timeline {
    pub(super) policy: PolicyKey,
    zoom: usize,
    /// A time in the last column; `None` follows the present.
    end: Option<Timestamp>,
    /// What the cursor stands on; `None` is the present.
    cursor: Option<Timestamp>,
    /// The mark that the cursor was led to, of several in its column.
    picked: Option<Mark>,
    lane: Option<LaneKey>,
    /// The first row in sight.
    top: usize,
    /// Columns of time, and where they begin, when drawn last.
    bar: usize,
    left: u16,
    /// The present; it stands still while the view is frozen.
    at: Timestamp,
    told: Option<Arc<Told>>,
    /// Why there is nothing to show, or nothing new.
    lacks: Option<Lack>,
    pull: Pull<Wanted>,
    detail: Option<Detail>,
}

/// Why nothing can be shown.
#[derive(Debug, Clone, PartialEq)]
enum Lack {
    /// There is no place for a history.
    NoHistory,
    /// There is one, and it is empty.
    Nothing,
    /// It cannot be read.
    Unreadable(String),
}

impl Timeline {
    /// Opens the timeline of a policy, with the cursor in an environment, at a time or at the present.
    pub(super) fn open(
        policy: PolicyKey,
        zoom: usize,
        environment: Option<Arc<str>>,
        at: Option<Timestamp>,
        bar: usize,
        cx: &mut Cx<'_>,
    ) -> Self {
        let mut timeline = Self {
            policy,
            zoom: zoom.min(ZOOMS.len() - 1),
            end: None,
            cursor: at.map(|at| at.min(cx.now)),
            picked: None,
            lane: environment.map(|name| LaneKey { name, former: None }),
            top: 0,
            bar: bar.max(1),
            left: 0,
            at: cx.now,
            told: None,
            lacks: None,
            pull: Pull::default(),
            detail: None,
        };
        timeline.want(cx);
        timeline
    }

    pub(super) fn zoom(&self) -> usize {
        self.zoom
    }

    /// What is in sight: the cursor always is.
    fn scale(&self) -> Scale {
        let scale = Scale::ending(self.zoom, self.bar, self.end.unwrap_or(self.at));
        self.cursor.map_or(scale, |cursor| scale.around(cursor))
    }

    fn wanted(&self) -> Wanted {
        let scale = self.scale();
        Wanted { window: scale.window(), width: scale.columns() }
    }

    /// Reads what is on record, if it is time.
    pub(super) fn want(&mut self, cx: &mut Cx<'_>) {
        let Some(history) = cx.history.cloned() else {
            self.lacks = Some(Lack::NoHistory);
            return;
        };
        if !cx.paused || self.told.is_none() {
            self.at = cx.now;
        }
        let wanted = self.wanted();
        if self.pull.wants(&wanted, cx) {
            let Wanted { window, width } = wanted;
            let number = cx.ask(Ask::Timeline { history, policy: self.policy.clone(), window, width });
            self.pull.asked(number, wanted, cx);
        }
    }

    /// The screen is shown again: what was asked may never have been answered.
    pub(super) fn shown(&mut self, cx: &mut Cx<'_>) {
        self.pull.anew();
        self.want(cx);
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        match answer {
            Answer::Timeline(answer) if self.pull.is_answered(number) => {
                match answer {
                    Ok(Some(told)) => (self.told, self.lacks) = (Some(Arc::clone(told)), None),
                    Ok(None) => (self.told, self.lacks) = (None, Some(Lack::Nothing)),
                    // What was read before stays to be seen.
                    Err(failure) => self.lacks = Some(Lack::Unreadable(clean(&failure.what).into_owned())),
                }
                self.want(cx);
            }
            Answer::Compared(answer) => {
                if let Some(detail) = &mut self.detail {
                    detail.answered(number, answer);
                }
            }
            _ => {}
        }
    }

    pub(super) fn clock(&mut self, cx: &mut Cx<'_>) {
        if self.wake().is_some_and(|at| due(at, SignedDuration::from_secs(60), cx.now)) {
            self.want(cx);
        }
    }

    /// When to be called: at once if the screen has another width than was asked for.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        if self.lacks == Some(Lack::NoHistory) || self.pull.is_pending() {
            return None;
        }
        if self.pull.is_for(&self.wanted()) { self.pull.wake() } else { Some(self.at) }
    }

    /// The selected row; the first one until somebody chooses.
    fn selected<'a>(&self, lanes: &[Lane<'a>]) -> Option<Lane<'a>> {
        lanes.get(self.place(lanes)).cloned()
    }

    fn place(&self, lanes: &[Lane<'_>]) -> usize {
        lanes.iter().position(|lane| Some(&lane.key) == self.lane.as_ref()).unwrap_or(0)
    }

    /// The environment under the cursor.
    pub(super) fn environment(&self) -> Option<Arc<str>> {
        self.lane.as_ref().map(|lane| Arc::clone(&lane.name))
    }

    /// The mark that the cursor means, among those of its row.
    fn meant(&self, marks: &[Mark]) -> Option<usize> {
        let picked = self.picked.as_ref().and_then(|picked| marks.iter().position(|mark| mark == picked));
        picked.or_else(|| cells::meant(marks, self.scale(), self.cursor.unwrap_or(self.at)))
    }

    pub(super) fn blocked(&self, verb: Verb, fleet: &FleetView) -> Option<&'static str> {
        let lanes = lanes(fleet, self.told.as_deref());
        let marks = || self.selected(&lanes).map_or(0, |lane| lane.marks().len());
        match verb {
            Verb::Filter | super::ALL | super::SORT | super::SORT_BACK | super::REVERSE | super::OVERVIEW => {
                Some("that is for the board: one level back")
            }
            super::TIMELINE => Some("this is the timeline"),
            Verb::Open if self.detail.is_none() && marks() == 0 => {
                Some("nothing is on record to open: no mark of this environment is in sight")
            }
            ZOOM_IN if self.zoom == 0 => Some("closer than an hour there is nothing to see"),
            ZOOM_OUT if self.zoom + 1 == ZOOMS.len() => Some("90 days are the longest time in sight; left and page up lead further back"),
            _ => None,
        }
    }

    pub(super) fn hints(&self) -> &'static [Verb] {
        if self.detail.is_some() {
            return &[Verb::Back, NEXT_MARK, PREVIOUS_MARK, PROMOTE, DEMOTE, ROLLBACK, HOLD, Verb::Copy, Verb::PageDown, Verb::NextScreen];
        }
        &[
            Verb::Open,
            NEXT_MARK,
            PREVIOUS_MARK,
            PROMOTE,
            DEMOTE,
            ROLLBACK,
            HOLD,
            ZOOM_IN,
            ZOOM_OUT,
            Verb::Back,
            Verb::NextScreen,
            Verb::PageUp,
            Verb::PageDown,
            Verb::Last,
            Verb::Copy,
        ]
    }

    /// Carries out a verb; [`Done::Outermost`] where it leads out of the timeline.
    pub(super) fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Done {
        if let Some(detail) = &mut self.detail {
            match verb {
                Verb::Back | Verb::Leave | Verb::Open => self.detail = None,
                NEXT_MARK | PREVIOUS_MARK => self.go_to_mark(verb == NEXT_MARK, cx),
                Verb::Copy => detail.copy(&self.policy, cx),
                verb => detail.scroll(verb),
            }
            return Done::Yes;
        }
        match verb {
            Verb::Left => self.step(-1),
            Verb::Right => self.step(1),
            Verb::PageUp => self.step(-self.page()),
            Verb::PageDown => self.step(self.page()),
            Verb::First => self.go_left(),
            Verb::Last => self.follow_now(),
            Verb::Up | Verb::Down => {
                let told = self.told.clone();
                let lanes = lanes(cx.fleet, told.as_deref());
                if let Some(place) = moved(self.place(&lanes), lanes.len().saturating_sub(1), 1, verb) {
                    self.choose(lanes.get(place).map(|lane| lane.key.clone()));
                }
            }
            Verb::Environment(number) => self.select_environment(number, cx),
            ZOOM_IN => self.zoom_to(self.zoom.saturating_sub(1)),
            ZOOM_OUT => self.zoom_to(self.zoom + 1),
            NEXT_MARK => self.go_to_mark(true, cx),
            PREVIOUS_MARK => self.go_to_mark(false, cx),
            Verb::Open => self.show_mark(cx),
            Verb::Back | Verb::Leave => return Done::Outermost,
            Verb::Copy => self.copy(cx),
            _ => {}
        }
        self.want(cx);
        Done::Yes
    }

    /// The mark under the cursor in full.
    fn show_mark(&mut self, cx: &mut Cx<'_>) {
        let told = self.told.clone();
        let lanes = lanes(cx.fleet, told.as_deref());
        let Some(lane) = self.selected(&lanes) else { return };
        let Some((road, mark)) = self.meant(lane.marks()).and_then(|place| Some((lane.road?, lane.marks().get(place)?))) else { return };
        (self.cursor, self.picked) = (Some(mark.at.min(self.at)), Some(mark.clone()));
        self.lane = Some(lane.key.clone());
        self.detail = Some(Detail::open(lane.key.clone(), road, mark.clone(), &self.policy, cx));
    }

    fn copy(&self, cx: &mut Cx<'_>) {
        let lanes = lanes(cx.fleet, self.told.as_deref());
        let Some(lane) = self.selected(&lanes) else { return };
        let told = |mark: &Mark| {
            let actor = mark.actor.as_deref().map(|actor| format!("  {}", clean(actor))).unwrap_or_default();
            format!("{}  {}  {}{actor}\n", mark.at, mark.kind.as_str(), clean(&mark.text))
        };
        let marks: String = lane.marks().iter().map(told).collect();
        let (name, place) = (clean(&self.policy.id.report_name()).into_owned(), clean(&lane.key.name).into_owned());
        cx.copy(&format!("what happened in {place}"), format!("{name} in {place}\n{marks}"));
    }

    /// Puts the cursor where somebody clicked: on a row, and on a time if it was on the bar.
    pub(super) fn click(&mut self, place: usize, x: u16, cx: &mut Cx<'_>) {
        let told = self.told.clone();
        let lanes = lanes(cx.fleet, told.as_deref());
        self.choose(lanes.get(place).map(|lane| lane.key.clone()));
        let column = i64::from(x) - i64::from(self.left);
        if (0..self.page()).contains(&column) {
            let scale = self.scale();
            self.step(column - scale.place(self.cursor.unwrap_or(self.at)));
        }
        self.want(cx);
    }

    /// The wheel: lines of a text, else through time.
    pub(super) fn wheel(&mut self, down: bool, cx: &mut Cx<'_>) {
        if let Some(detail) = &mut self.detail {
            (0..3).for_each(|_| detail.scroll(if down { Verb::Down } else { Verb::Up }));
        } else {
            self.step(if down { 3 } else { -3 });
            self.want(cx);
        }
    }

    /// `14 days · read 14:32:07`
    pub(super) fn status(&self, view: &View<'_>) -> String {
        let read = match &self.told {
            Some(told) => format!("read {}", words::clock(told.at, view.zone)),
            None => String::new(),
        };
        let zone = self.at.to_zoned(view.zone.clone()).strftime("%Z").to_string();
        let parts = [ZOOMS[self.zoom].0.to_owned(), zone, read];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&format!(" {} ", view.theme.symbols.middot))
    }
}
