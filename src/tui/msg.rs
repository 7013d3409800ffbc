//! What can happen to the screen, and what the screen can ask for in return.
//!
//! What lives here: [`Msg`], [`Effect`], questions and answers as data. What does not: how either is carried out (`event_loop`).

use super::acting::{Carried, Preparation, Progress, Wish};
use super::past::{Compared, Moment, Told};
use crate::domain::history::{Interval, Line};
use crate::domain::journal::Record;
use crate::domain::{PolicyId, PolicyKey, ResourceRef};
use crate::engine::gates::AllGates;
use crate::engine::operations::{Compared as Shown, Declined, Former};
use crate::engine::{Failure, HistoryReader, JournalAnswer, JournalQuestion, JournalReader};
use crate::fleet::query::{BlockedRow, FindingQuery, FindingRow};
use crate::fleet::view::FleetView;
use crate::ops::plan::Plan;
use crate::ops::road::Road;
use crossterm::event::{KeyEvent, MouseEvent};
use std::sync::Arc;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The terminal has another size, or was overwritten: everything must be drawn.
    Redraw,
    /// A newer view of the fleet.
    Fleet(Arc<FleetView>),
    /// The answer to an earlier question, with its number.
    Answer(u64, Answer),
    /// How far plans are that are being carried out.
    Progress(Progress),
    /// What became of [`Effect::Save`]: where it is, or why it is nowhere.
    Saved(Result<String, String>),
    /// The time asked for by [`super::App::wake`] has come.
    Clock,
    /// The program is asked to end (SIGTERM, SIGHUP, SIGINT).
    Terminate,
    /// The program is asked to step aside (SIGTSTP).
    Suspend,
}

/// A question for the engine, answered later as a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The findings behind a number.
    Findings {
        /// Environment.
        environment: Arc<str>,
        /// Which.
        query: FindingQuery,
    },
    /// The same finding in other environments: the first row of each that is about the same rule and the same object by name.
    Elsewhere {
        /// Environments.
        environments: Vec<Arc<str>>,
        /// Which.
        query: FindingQuery,
        /// Rule, as in the row.
        rule: Arc<str>,
        /// Object; its UID is another one elsewhere.
        resource: Arc<ResourceRef>,
    },
    /// The live object.
    Object {
        /// Environment.
        environment: Arc<str>,
        /// Which.
        reference: ResourceRef,
    },
    /// The refused admissions behind a number.
    Blocked {
        /// Environment.
        environment: Arc<str>,
        /// Which policy refused.
        policy: PolicyKey,
    },
    /// The gate before the next step of every policy that has a road.
    Gates {
        /// The road.
        road: Road,
        /// Who observed things over time.
        history: Option<HistoryReader>,
    },
    /// The plans for what somebody wants done, and what the servers say of them.
    Prepare(Wish),
    /// What there is to go back to.
    Formers {
        /// Environment.
        environment: Arc<str>,
        /// Which policy.
        policy: PolicyId,
    },
    /// A policy over time.
    Timeline {
        /// Who observed it.
        history: HistoryReader,
        /// Which policy.
        policy: PolicyKey,
        /// Of which time.
        window: Interval,
        /// In how many parts.
        width: usize,
    },
    /// What a policy said before and after a moment.
    Compare {
        /// Who observed it.
        history: HistoryReader,
        /// Which moment.
        moment: Moment,
    },
    /// What every policy did over time.
    Overview {
        /// Who observed them.
        history: HistoryReader,
        /// Of which time.
        window: Interval,
    },
    /// What was done.
    Journal {
        /// Where that is written down.
        journal: JournalReader,
        /// What of it.
        question: JournalQuestion,
    },
    /// What a cluster shows of an intent of which nobody knows what became.
    Fate(Box<Record>),
}

impl Ask {
    /// Questions of one kind replace each other: a newer one makes the older pointless.
    pub fn slot(&self) -> usize {
        match self {
            Self::Findings { .. } => 0,
            Self::Elsewhere { .. } => 1,
            Self::Object { .. } => 2,
            Self::Blocked { .. } => 3,
            Self::Gates { .. } => 4,
            Self::Prepare(_) => 5,
            Self::Formers { .. } => 6,
            Self::Timeline { .. } => 7,
            Self::Compare { .. } => 8,
            Self::Overview { .. } => 9,
            Self::Journal { question: JournalQuestion::Newest | JournalQuestion::Older(..), .. } => 10,
            Self::Journal { question: JournalQuestion::News(_), .. } => 11,
            Self::Journal { question: JournalQuestion::Whole(_), .. } => 12,
            Self::Journal { question: JournalQuestion::Check, .. } => 13,
            Self::Fate(_) => 14,
        }
    }

    /// Number of slots.
    pub const SLOTS: usize = 15;
}

/// The same finding in another environment, if there is one.
pub type Elsewhere = (Arc<str>, Result<Option<FindingRow>, Failure>);

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Ask::Findings`].
    Findings(Result<Vec<FindingRow>, Failure>),
    /// To [`Ask::Elsewhere`], in the order asked.
    Elsewhere(Vec<Elsewhere>),
    /// To [`Ask::Object`].
    Object(Result<serde_json::Value, Failure>),
    /// To [`Ask::Blocked`], newest first.
    Blocked(Result<Vec<BlockedRow>, Failure>),
    /// To [`Ask::Gates`]: each policy with its gate, or why there is no step before it.
    Gates(AllGates),
    /// To [`Ask::Prepare`].
    Prepared(Arc<Preparation>),
    /// To [`Ask::Formers`], newest first.
    Formers(Arc<Result<Vec<Former>, Declined>>),
    /// What became of [`Effect::CarryOut`].
    CarriedOut(Carried),
    /// To [`Ask::Timeline`]; `None` where nothing has been recorded yet.
    Timeline(Result<Option<Arc<Told>>, Failure>),
    /// To [`Ask::Compare`].
    Compared(Result<Arc<Compared>, Failure>),
    /// To [`Ask::Overview`], sorted by policy.
    Overview(Result<Arc<[Line]>, Failure>),
    /// To [`Ask::Journal`].
    Journal(JournalAnswer),
    /// To [`Ask::Fate`].
    Fate(Shown),
}

/// Something to do outside of the screen. Every one is a spawned task or a call that returns at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the engine; the answer carries the number.
    Ask(u64, Ask),
    /// Carry confirmed plans out, one after the other, until one does not succeed. Nothing ends this; the answer carries the number.
    CarryOut(u64, Arc<[Plan]>),
    /// Drop an environment's connection and connect anew.
    Reconnect(Arc<str>),
    /// Put text on the clipboard through the terminal (OSC 52).
    Copy(String),
    /// Keep this text in a file.
    Save(String),
    /// Leave the screen and stop, until continued.
    Suspend,
    /// End.
    Quit,
}
