//! Gates: what must hold before a policy may leave a step of its road.

use super::time::brief;
use super::{Mode, PolicyId, Revision};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Where on the road: an environment, and what the policy does there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Stop {
    /// The environment's name.
    pub environment: Arc<str>,
    /// The mode of the step; of a policy that stands on none, the mode it has.
    pub mode: Mode,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}", self.environment, self.mode)
    }
}

/// What is asked of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConditionName {
    /// Long enough at this step, with this revision.
    Soak,
    /// Few enough failures and errors remain.
    Violations,
    /// Few enough admissions were refused.
    Blocked,
    /// Results are of this step and not old.
    Fresh,
    /// The policy is in force.
    Ready,
    /// No exception that the policy relies on has expired.
    Exceptions,
    /// Earlier environments have this revision, in the mode of their last step.
    Drift,
    /// Nobody holds it.
    Hold,
    /// The target is not frozen.
    Freeze,
}

impl ConditionName {
    /// All, in the order they are shown.
    pub const ALL: [Self; 9] =
        [Self::Soak, Self::Violations, Self::Blocked, Self::Fresh, Self::Ready, Self::Exceptions, Self::Drift, Self::Hold, Self::Freeze];

    /// The word used on screens and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Soak => "soak",
            Self::Violations => "violations",
            Self::Blocked => "blocked",
            Self::Fresh => "fresh",
            Self::Ready => "ready",
            Self::Exceptions => "exceptions",
            Self::Drift => "drift",
            Self::Hold => "hold",
            Self::Freeze => "freeze",
        }
    }
}

/// How it stands with a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConditionState {
    /// It holds.
    Met,
    /// It does not.
    Unmet,
    /// What would tell could not be seen.
    Unknown,
}

impl ConditionState {
    /// The word used on screens and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmet => "unmet",
            Self::Unknown => "unknown",
        }
    }
}

/// A number of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// How many.
    Count(u64),
    /// How long.
    Time(SignedDuration),
}

impl Amount {
    /// As a whole number: things, or seconds.
    pub fn number(self) -> i64 {
        match self {
            Self::Count(count) => i64::try_from(count).unwrap_or(i64::MAX),
            Self::Time(time) => time.as_secs(),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.number())
    }
}

impl fmt::Display for Amount {
    /// For people: `3`, `5d 02h`, `7d`, `20m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(time) => match (time.as_hours() / 24, time.as_hours() % 24) {
                (days, hours) if days > 0 && hours > 0 => write!(f, "{days}d {hours:02}h"),
                _ => f.write_str(&brief(*time)),
            },
        }
    }
}

/// One condition with its number, its limit and where the number comes from. In JSON the numbers of `soak` and `fresh` are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which.
    pub name: ConditionName,
    /// How it stands.
    pub state: ConditionState,
    /// What it is; `None` where that is not known or there is no number.
    pub value: Option<Amount>,
    /// What it may be.
    pub limit: Option<Amount>,
    /// Where the number comes from.
    pub source: String,
    /// Who wrote what decides, and where.
    pub evidence: Vec<Proof>,
    /// A sentence for people, without a full stop.
    pub reason: String,
}

/// Something that decides a condition. What is not known of it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What it is: `seen`, `found`, `annotation`, `managedFields`, `creation`, `report`, `freeze`.
    pub source: &'static str,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When, or of when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The object, as kubectl names it: `policyreport/NAME -n NAMESPACE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// Whether a policy may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every condition is met.
    Open,
    /// One is not met.
    Closed,
    /// None is unmet, but one is unknown; which lets nothing through by itself.
    Unknown,
}

impl Verdict {
    /// The verdict over conditions. Without any, nothing was looked at, and nothing is known.
    pub fn of(conditions: &[Condition]) -> Self {
        let any = |state| conditions.iter().any(|condition| condition.state == state);
        if any(ConditionState::Unmet) {
            Self::Closed
        } else if conditions.is_empty() || any(ConditionState::Unknown) {
            Self::Unknown
        } else {
            Self::Open
        }
    }

    /// The word used on screens and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

/// What is committed for a policy and not applied yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The environment that the repository feeds.
    pub environment: Arc<str>,
    /// The policy.
    pub policy: PolicyId,
    /// What the repository says.
    pub revision: Option<Revision>,
    /// The mode that it asks for; `None` where it has none.
    pub mode: Option<Mode>,
    /// The commit that says so.
    pub commit: String,
    /// When it was made.
    pub since: Option<Timestamp>,
}

/// What stands between a policy and a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The policy.
    pub policy: PolicyId,
    /// Where it stands; `None` where it is nowhere on the road yet.
    pub from: Option<Stop>,
    /// Where it would go.
    pub to: Stop,
    /// Whether it may.
    pub verdict: Verdict,
    /// The earliest time at which a closed gate can open, as far as only time is lacking; `None` where it is open or where that is not known.
    pub opens_at: Option<Timestamp>,
    /// Every condition.
    pub conditions: Vec<Condition>,
}
