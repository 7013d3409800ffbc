//! The screens: one question each.
//!
//! What lives here: what a screen is, and the list of them. A new screen is one file (or folder) here and one line in
//! [`REGISTRY`]. A screen owns what is selected, sorted, filtered and opened; it sees the fleet through [`Cx`] and acts through
//! effects only. What does not: the frame around screens (`frame`), windows over them (`overlays`).

mod environments;
pub(crate) mod journal;
mod lists;
pub(crate) mod operations;
pub(crate) mod rollout;
mod seen;
mod selection;
pub(crate) mod violations;

use super::acting::Wish;
use super::keymap::Keymap;
use super::keys::{Binding, Verb};
use super::msg::{Answer, Ask, Effect};
use super::overlays::note::Note;
use super::theme::Theme;
use crate::domain::PolicyKey;
use crate::engine::{HistoryReader, JournalReader};
use crate::fleet::view::FleetView;
use crate::ops::road::Road;
use crossterm::event::MouseEvent;
use jiff::{Timestamp, tz::TimeZone};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;

/// What the program knows of a screen before it is opened.
pub struct Entry {
    /// Its name on the tab line.
    pub title: &'static str,
    /// Its own keys, beside those that hold everywhere.
    pub keys: &'static [Binding],
    make: fn() -> Box<dyn Screen>,
}

impl Entry {
    pub(crate) fn make(&self) -> Box<dyn Screen> {
        (self.make)()
    }
}

/// All screens, in the order of the tab line.
pub const REGISTRY: &[Entry] = &[
    Entry { title: "Violations", keys: violations::KEYS, make: violations::make },
    Entry { title: "Rollout", keys: rollout::KEYS, make: rollout::make },
    Entry { title: "Journal", keys: journal::KEYS, make: journal::make },
];

/// All rows, or only those that need a person.
const ALL: Verb = Verb::Own("all");
/// Sort by the next column.
const SORT: Verb = Verb::Own("sort");
/// Sort by the column before.
const SORT_BACK: Verb = Verb::Own("sort-back");
/// Turn the order round.
const REVERSE: Verb = Verb::Own("reverse");

/// Mark what is selected.
pub(crate) const MARK: Verb = Verb::Own("mark");

/// What a screen sees and may use while it handles a message.
pub(crate) struct Cx<'a> {
    pub(crate) fleet: &'a FleetView,
    pub(crate) now: Timestamp,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) last_number: &'a mut u64,
    pub(crate) road: &'a Road,
    pub(crate) history: Option<&'a HistoryReader>,
    pub(crate) journal: Option<&'a JournalReader>,
    /// The view is frozen: nothing newer is wanted.
    pub(crate) paused: bool,
    /// A sentence for the message line, for some seconds.
    pub(crate) say: &'a mut Option<String>,
}

impl Cx<'_> {
    /// Asks the engine; the number comes back with the answer.
    pub(crate) fn ask(&mut self, ask: Ask) -> u64 {
        *self.last_number += 1;
        self.effects.push(Effect::Ask(*self.last_number, ask));
        *self.last_number
    }

    /// The name of the environment of a number; none for 0, which is all of them together.
    pub(crate) fn numbered(&self, number: u8) -> Result<Option<Arc<str>>, String> {
        let Some(place) = usize::from(number).checked_sub(1) else { return Ok(None) };
        let environment = self.fleet.environments.get(place);
        environment.map(|view| Some(Arc::clone(&view.name))).ok_or_else(|| format!("there is no environment {number}"))
    }

    /// Puts text on the clipboard and says so.
    pub(crate) fn copy(&mut self, what: &str, text: String) {
        *self.say = Some(format!("copied {what}"));
        self.effects.push(Effect::Copy(text));
    }
}

/// What a screen sees while it draws.
pub(crate) struct View<'a> {
    pub(crate) fleet: &'a FleetView,
    pub(crate) now: Timestamp,
    pub(crate) theme: &'a Theme,
    pub(crate) zone: &'a TimeZone,
    pub(crate) road: &'a Road,
    pub(crate) keys: &'a Keymap,
}

/// A place on another screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The faults of a policy in an environment.
    Faults {
        /// Which policy.
        policy: PolicyKey,
        /// Where.
        environment: Arc<str>,
    },
    /// A policy over time, at a moment.
    Moment {
        /// Which policy.
        policy: PolicyKey,
        /// Where, if it was in one environment.
        environment: Option<Arc<str>>,
        /// When.
        at: Timestamp,
    },
}

/// What a verb came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Done {
    /// The screen did it, or it has no meaning here.
    Yes,
    /// There was nothing to go back from: the screen is at its outermost level.
    Outermost,
    /// The screen has no further pane in this direction.
    NextScreen,
    /// What was asked for is on another screen, from where one comes back.
    GoTo(Place),
    /// Back to the screen that sent one here.
    Return,
    /// A window is to lie over the screen.
    Window(Note),
    /// Something is to be changed.
    Operate(Box<Wish>),
}

/// One screen.
pub(crate) trait Screen {
    /// Carries out a verb.
    fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Done;

    /// Why a verb cannot work here and now; `None` if it can.
    fn blocked(&self, verb: Verb, fleet: &FleetView) -> Option<&'static str>;

    /// Whether values of a Secret are in sight: then nothing of the screen is saved.
    fn reveals(&self) -> bool {
        false
    }

    /// The verbs worth naming in the footer, here and now, the most useful first.
    fn hints(&self) -> &'static [Verb];

    /// What is sorted, hidden and counted how, for the right end of the tab line.
    fn status(&self, view: &View<'_>) -> String;

    /// A newer view of the fleet.
    fn fleet_changed(&mut self, cx: &mut Cx<'_>);

    /// The screen is shown (again).
    fn shown(&mut self, cx: &mut Cx<'_>) {
        self.fleet_changed(cx);
    }

    /// Shows a place, if it is one of this screen's.
    fn go_to(&mut self, _place: &Place, _cx: &mut Cx<'_>) -> bool {
        false
    }

    /// An answer to a question, maybe one of this screen's.
    fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>);

    /// The mouse did something within what was drawn last.
    fn mouse(&mut self, event: MouseEvent, cx: &mut Cx<'_>) -> Done;

    /// The time asked for by `wake` has come.
    fn clock(&mut self, cx: &mut Cx<'_>);

    /// When the screen wants to hear from the clock.
    fn wake(&self) -> Option<Timestamp>;

    /// The filter in force where the keys go.
    fn filter(&self) -> &str;

    /// Every filter that leaves something out of what is shown.
    fn filters(&self) -> Vec<&str> {
        vec![self.filter()]
    }

    /// What the filter of this place looks at, for the input line.
    fn filter_hint(&self) -> &'static str;

    /// Takes a filter, or says what is wrong with it.
    fn set_filter(&mut self, text: &str, cx: &mut Cx<'_>) -> Result<(), String>;

    /// The environment a reconnect is meant for.
    fn environment(&self) -> Option<Arc<str>>;

    /// Draws into `area`; what was drawn where may be remembered for the mouse.
    fn draw(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer);
}
