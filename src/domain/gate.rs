//! Gates: what must hold before a policy may leave a step of its road.

use super::time::brief;
use super::{Disregard, EvidenceRef, Mode, PolicyId, Revision, Unverified, clean};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// The condition that claims decide which nothing verifies for this reason.
    pub fn decided_by(why: Unverified) -> Self {
        match why {
            Unverified::Foreign => Self::Violations,
            Unverified::Event => Self::Blocked,
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
    /// Who wrote what decides, and where: a few objects, those that nothing verifies first.
    pub evidence: Vec<Proof>,
    /// How many more objects there are.
    #[serde(rename = "moreEvidence", skip_serializing_if = "is_zero")]
    pub more_evidence: u64,
    /// A sentence for people, without a full stop.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Something that decides a condition. What is not known of it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What it is: `seen`, `found`, `annotation`, `managedFields`, `creation`, `report`, `foreign` (a report about something outside its namespace),
    /// `event`, `freeze`.
    pub source: &'static str,
    /// Who wrote it; of a report or an event, its field managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When, or of when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The object, as kubectl names it: `policyreport NAME -n NAMESPACE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The same as `--disregard` takes it, where the claim can be disregarded.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<EvidenceRef>,
    /// The component that an event names as its reporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Results of a report, or requests of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Whether the object shows that Kyverno wrote it, or that it can speak for what it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

impl Proof {
    /// What the object says: `2 requests, last Nov 25 11:02 UTC`.
    pub fn says(&self) -> String {
        let what = match (self.source, self.count) {
            ("report", Some(1)) => "workload",
            ("report", _) => "workloads",
            ("event", Some(1)) => "request",
            ("event", _) => "requests",
            (_, Some(1)) => "result",
            _ => "results",
        };
        let when = if self.source == "report" { "oldest" } else { "last" };
        let at = self.at.map(|at| format!("{when} {}", at.strftime("%b %e %H:%M UTC")));
        [self.count.map(|count| format!("{count} {what}")), at].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// All of it: `event/default/x: 2 requests, last Nov 25 11:02 UTC; written by curl; not verified`.
    pub fn in_words(&self) -> String {
        let object = self.reference.as_ref().map(ToString::to_string).or_else(|| self.object.clone()).unwrap_or_default();
        let parts = [self.says(), self.author()];
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        clean(&format!("{object}: {}", parts.join("; "))).into_owned()
    }

    /// Who wrote the object, and whether that is verified: `written by curl as kyverno-admission; not verified`. Empty where neither is known.
    pub fn author(&self) -> String {
        let component = self.component.as_ref().map(|component| format!(" as {component}")).unwrap_or_default();
        let by = match (&self.by, self.verified, self.source) {
            (Some(by), ..) => format!("written by {by}{component}"),
            (None, Some(_), "event") => format!("written by an unknown field manager{component}"),
            (None, ..) => String::new(),
        };
        let verified = match (self.verified, self.source) {
            (Some(false), "foreign") => "not verified: about something outside its namespace",
            (Some(false), _) => "not verified",
            (Some(true) | None, _) => "",
        };
        [by.as_str(), verified].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
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

/// A claim that is left out of a gate. It is part of the gate's JSON, and so of plans and of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disregarded {
    /// The object that makes it, as `--disregard` takes it.
    #[serde(rename = "ref")]
    pub object: EvidenceRef,
    /// The condition without it.
    pub condition: ConditionName,
    /// Results or requests that do not count for it.
    pub count: u64,
    /// The digest of what the object says: the decision is about this content only.
    pub content: String,
    /// The field managers of the object, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
    /// Who decided.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Disregarded {
    /// The decision behind it, to be judged again.
    pub fn again(self) -> Disregard {
        Disregard { object: self.object, content: Some(self.content), by: self.by, reason: self.reason }
    }
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
    /// Claims that are left out of the conditions, because an operator decided so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disregarded: Vec<Disregarded>,
}

impl Gate {
    /// The objects whose claims can be disregarded, of the conditions that are not met.
    pub fn refutable(&self) -> Vec<&EvidenceRef> {
        // Results of other namespaces' reports make violations unknown; they are not among those that fail.
        let lacking = self.conditions.iter().filter(|condition| match condition.name {
            ConditionName::Violations => condition.state == ConditionState::Unknown,
            _ => condition.state != ConditionState::Met,
        });
        lacking.flat_map(|condition| condition.evidence.iter().filter_map(|proof| proof.reference.as_ref())).collect()
    }

    /// Whether nothing closes the gate but claims that can be disregarded.
    pub fn is_closed_by_claims(&self) -> bool {
        let by_claims = |condition: &Condition| {
            let claimed = condition.evidence.iter().filter(|proof| proof.reference.is_some()).filter_map(|proof| proof.count);
            let claimed = claimed.fold(0u64, u64::saturating_add);
            match (condition.name, condition.value, condition.limit) {
                (ConditionName::Blocked, Some(Amount::Count(value)), Some(Amount::Count(limit))) => value.saturating_sub(claimed) <= limit,
                _ => false,
            }
        };
        let mut unmet = self.conditions.iter().filter(|condition| condition.state == ConditionState::Unmet).peekable();
        unmet.peek().is_some() && unmet.all(by_claims)
    }

    /// Whether there are any.
    pub fn can_disregard(&self) -> bool {
        !self.refutable().is_empty()
    }
}
