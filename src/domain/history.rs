//! What is recorded of a fleet over time, and the answers that are made of it.
//!
//! What lives here: the words of what is recorded, and how records become spans, series, marks and a standing. What does not: where
//! records are kept (`files::history`), who makes them (`engine::recorder`), clocks.
//!
//! One rule goes through all of it: what nobody watched is not known. A gap in the watching is a gap in every answer.

mod began;
mod columns;
mod fills;
mod interval;
#[cfg(test)]
mod made;
mod marks;
mod series;
mod spans;
mod standing;

pub use began::{Began, Undated, began};
pub use columns::{columns, level};
pub use fills::{Counter, Fill, Process, Refused, beyond, fills, looked_at, refused};
pub use interval::{EVENTS_KEPT, Interval, cover, gaps, running, told_afterwards, within};
pub use marks::{ExceptionChange, Mark, MarkKind, Operation, exception_marks, mode_marks, operation_mark, told_once, violation_marks};
pub use series::{Range, Sample, Series, blocked_series, violation_series};
pub use spans::{Span, SpanMode, spans};
pub use standing::{Records, Standing, Violations, standing};

use super::{Entered, EnteredBy, EventSource, Mode, PolicyKey, Revision, Tally};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An environment as history tells it from others: a cluster that was built anew under an old name is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentKey {
    /// Name from the configuration.
    pub name: String,
    /// UID of the namespace `kube-system`.
    pub cluster_uid: String,
}

impl fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What a recorder may have been watching; each family of kinds has a coverage of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watched {
    /// Policies: modes, revisions, readiness.
    Policies,
    /// Reports: tallies.
    Reports,
    /// Events: refused admissions.
    Events,
    /// Exceptions.
    Exceptions,
    /// Reports of some namespaces only: no evidence for a policy that reaches others.
    ReportsInPart,
    /// Events of some namespaces only, likewise.
    EventsInPart,
}

impl Watched {
    /// What can be watched, each once.
    pub const ALL: [Self; 4] = [Self::Policies, Self::Reports, Self::Events, Self::Exceptions];

    /// The word used in files and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Reports => "reports",
            Self::Events => "events",
            Self::Exceptions => "exceptions",
            Self::ReportsInPart => "reports-in-part",
            Self::EventsInPart => "events-in-part",
        }
    }

    /// The same where only some namespaces are looked at.
    #[must_use]
    pub fn in_part(self) -> Self {
        match self {
            Self::Reports => Self::ReportsInPart,
            Self::Events => Self::EventsInPart,
            other => other,
        }
    }
}

impl FromStr for Watched {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().chain(Self::ALL.map(Self::in_part)).find(|one| one.as_str() == text).ok_or(())
    }
}

/// How it is known when a change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeSource {
    /// A recorder was watching when it happened.
    Seen,
    /// It was so when a recorder began to look: it may be older.
    Found,
    /// Our own annotations on the object, written for the revision and generation that it has.
    Annotation,
    /// Field managers that account for every change of the spec (`metadata.managedFields`, `metadata.generation`).
    ManagedFields,
    /// `metadata.creationTimestamp` of an object that was not changed since.
    Creation,
}

impl ChangeSource {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Seen, Self::Found, Self::Annotation, Self::ManagedFields, Self::Creation];

    /// The word used in files and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Found => "found",
            Self::Annotation => "annotation",
            Self::ManagedFields => "managedFields",
            Self::Creation => "creation",
        }
    }

    /// How a start is known that the object itself proves.
    pub fn of(entered: &EnteredBy) -> Self {
        match entered {
            EnteredBy::Stamp { .. } => Self::Annotation,
            EnteredBy::FieldManager => Self::ManagedFields,
            EnteredBy::Creation => Self::Creation,
        }
    }

    /// Whether the time is concluded from the object instead of observed.
    pub fn is_inferred(self) -> bool {
        matches!(self, Self::Annotation | Self::ManagedFields | Self::Creation)
    }
}

impl FromStr for ChangeSource {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(())
    }
}

/// What a policy is and does in an environment, as far as history follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyState {
    /// What it does; [`Mode::Absent`] where it does not exist.
    pub mode: Mode,
    /// Whether requests really met it; `None` where that could not be known.
    pub ready: Option<bool>,
    /// What it says.
    pub revision: Option<Revision>,
    /// Which object, and which of its specs, as the server counts them.
    pub made: Made,
}

impl PolicyState {
    /// The policy does not exist.
    pub const ABSENT: Self = Self { mode: Mode::Absent, ready: None, revision: None, made: Made::UNKNOWN };
}

/// An object and its spec, as its server counts them. Where both are the same at two times, the spec was the same in between, watched or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    /// `metadata.generation`: rises with every change of the spec, also where a field is removed.
    pub generation: Option<i64>,
    /// `metadata.creationTimestamp`: another one is another object.
    pub created: Option<Timestamp>,
}

impl Made {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self { generation: None, created: None };

    /// Whether both are certainly the same spec of the same object.
    pub fn is_surely(&self, other: &Self) -> bool {
        self.generation.is_some() && self.created.is_some() && self == other
    }
}

/// A moment at which a policy became what it then was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When; never before the change that went before it.
    pub at: Timestamp,
    /// What it became.
    pub state: PolicyState,
    /// Who did it: a user or a field manager, as written in the object; `None` where nobody told.
    pub actor: Option<String>,
    /// How the time is known.
    pub source: ChangeSource,
}

/// A refused admission, as one event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What tells this event from all others of the environment: its UID.
    pub identity: String,
    /// Which policy refused.
    pub policy: PolicyKey,
    /// When it happened last.
    pub at: Timestamp,
    /// How often so far.
    pub count: u64,
    /// Who wrote it, where nothing verifies that.
    pub claim: Option<Arc<EventSource>>,
}

/// Refused admissions on record that one event claimed and nothing verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The event's UID.
    pub identity: String,
    /// When.
    pub at: Timestamp,
    /// How many; they are among those on record.
    pub count: u64,
    /// Who wrote the event, and what it said last.
    pub source: EventSource,
}

/// An exception, as far as history follows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExceptionState {
    /// API group.
    pub group: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The policies it names, as reports write them (`name` or `namespace/name`).
    pub policies: Vec<String>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it was made, as the server tells.
    pub created_at: Option<Timestamp>,
}

/// Something that a recorder has to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Of which environment.
    pub environment: Arc<EnvironmentKey>,
    /// When it was noticed.
    pub at: Timestamp,
    /// What.
    pub news: News,
}

/// What a [`Note`] tells.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Policies are as given. What equals the record is no news.
    Policies {
        /// The policies with their states.
        states: Vec<(PolicyKey, PolicyState)>,
        /// These are all there are: any other has gone.
        whole: bool,
        /// The recorder watched what went before: times are those of the changes.
        seen: bool,
    },
    /// Findings of policies are as given.
    Tallies(Vec<(PolicyKey, Tally)>),
    /// Refused admissions that may be new.
    Refusals(Vec<Refusal>),
    /// All exceptions there are.
    Exceptions(Vec<ExceptionState>),
    /// Families of kinds were watched, from a beginning that stays the same while the end moves on.
    Watched(Vec<(Watched, Interval)>),
    /// Families of kinds were watched in these times, and are no longer.
    Ended(Vec<(Watched, Interval)>),
    /// What the object of a policy tells.
    Detail(Box<Detail>),
    /// Something we did ourselves.
    Operation(Operation),
    /// What Prometheus answered about a gap.
    Filled(Box<Filled>),
    /// How it went to ask Prometheus.
    Asked(Asked),
}

/// What Prometheus told about a gap in the watching of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// Which policy.
    pub policy: PolicyKey,
    /// The gap that was asked about: what an earlier answer told of it is replaced.
    pub gap: Interval,
    /// What it told.
    pub fills: Vec<Fill>,
}

/// How it went to ask Prometheus about an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// Whether it answered.
    pub answered: bool,
    /// Why there is no answer, or what it lacks, in words; empty where all was there.
    pub why: String,
}

/// What the object of a policy tells, read because its state was news.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// Which policy.
    pub policy: PolicyKey,
    /// The revision of the object that was read.
    pub revision: Revision,
    /// Who wrote it last.
    pub actor: Option<String>,
    /// Since when it is so, as far as the object proves it.
    pub entered: Option<Entered>,
    /// The object as JSON.
    pub object: String,
}

/// How long records are kept, and how fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Anything older goes, but for what is still so.
    pub keep: SignedDuration,
    /// Tallies are kept as they came for this long,
    pub raw: SignedDuration,
    /// then one an hour for this long, then one a day.
    pub hourly: SignedDuration,
    /// Bytes that all records may take: where there are more, the oldest go.
    pub most: u64,
}

impl Retention {
    /// Keeps everything for `keep`; tallies as they came for a day, by the hour for two weeks.
    pub fn of(keep: SignedDuration) -> Self {
        Self { keep, raw: SignedDuration::from_hours(24), hourly: SignedDuration::from_hours(14 * 24), most: Self::MOST }
    }

    /// Bytes that records take where nothing else is configured: 1 GiB.
    pub const MOST: u64 = 1 << 30;

    /// The same in so many bytes.
    #[must_use]
    pub fn within(self, most: u64) -> Self {
        Self { most, ..self }
    }
}

impl Default for Retention {
    /// 400 days: a year, and the quarter's review after it.
    fn default() -> Self {
        Self::of(SignedDuration::from_hours(400 * 24))
    }
}

/// One environment of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Road {
    /// Which environment.
    pub environment: EnvironmentKey,
    /// What the policy did, from the beginning to the end of the window without holes.
    pub spans: Vec<Span>,
    /// What happened, in order.
    pub marks: Vec<Mark>,
    /// Violations and refused admissions.
    pub series: Series,
    /// What of it Prometheus told, because nobody watched.
    pub filled: Vec<Fill>,
}

/// A policy over time, in every environment that has a record of it or was watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Which policy.
    pub policy: PolicyKey,
    /// The window.
    pub window: Interval,
    /// One per environment.
    pub roads: Vec<Road>,
}

/// A policy in a list of all, over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which environment.
    pub environment: EnvironmentKey,
    /// Which policy.
    pub policy: PolicyKey,
    /// What it did.
    pub spans: Vec<Span>,
}

/// What a policy said at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionText {
    /// Its revision.
    pub revision: Revision,
    /// When it was recorded first.
    pub at: Timestamp,
    /// When it was last what was in force, as far as was seen; `None` while it is.
    pub until: Option<Timestamp>,
    /// The mode that it had last; [`Mode::Unknown`] where it was never in force while somebody watched.
    pub mode: Mode,
    /// Who made it so first, where that is known.
    pub actor: Option<String>,
    /// The whole object as JSON, as it was read first; `None` where it could not be read in time.
    pub object: Option<String>,
}
