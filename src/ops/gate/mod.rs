//! Judging a gate: whether a policy may leave the step it is at.
//!
//! What lives here: the verdict over all conditions. What does not: where a policy is ([`super::road`]), gathering what is known, saying it.
//!
//! Nothing here can open a gate for want of knowledge: what was not told is unknown, and what is unknown is not met. Where something tells that a
//! condition is *not* met it counts, however little is known beside it.

mod conditions;
pub mod disregard;
mod drift;
mod evaluated;
mod freeze;
#[cfg(test)]
mod tests;

use super::position::Travel;
use super::road::{Road, RoadStep, Standing};
use crate::domain::history::{ChangeSource, Undated};
use crate::domain::{
    Amount, Claim, Condition, ConditionName, ConditionState, Disregard, Disregarded, EventSource, Gate, Hold, Mode, PolicyId, Proof,
    RolledBack, Stop, Verdict, clean,
};
use crate::fleet::query::{ReportRef, UnseenException, WouldBlock};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use crate::settings::{Freeze, StepMode};
pub use evaluated::{evaluated, in_scope, limits, silent};
use freeze::freeze;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// What Kyverno does for a new policy is done within that time, and so is gathering what a gate is judged by.
const AT_ONCE: SignedDuration = SignedDuration::from_mins(1);

/// When the present revision came to be in its present mode in an environment, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// When; it may be later than it was, never earlier.
    pub at: Timestamp,
    /// The revision that it is of; another one has not begun yet.
    pub revision: String,
    /// How the time is known.
    pub source: ChangeSource,
    /// Who wrote it, where that is known.
    pub by: Option<String>,
}

impl Start {
    /// How the time is known, in words: `seen by the recorder`, `annotation policydeck.dev/at`, `managedFields of kubectl`.
    fn words(&self) -> String {
        match self.source {
            ChangeSource::Seen => "seen by the recorder".to_owned(),
            ChangeSource::Found => "found so by the recorder".to_owned(),
            ChangeSource::Annotation => "annotation policydeck.dev/at".to_owned(),
            ChangeSource::ManagedFields => match &self.by {
                Some(by) => format!("managedFields of {}", clean(by)),
                None => "managedFields".to_owned(),
            },
            ChangeSource::Creation => "creationTimestamp".to_owned(),
        }
    }

    fn proof(&self) -> Proof {
        Proof {
            source: self.source.as_str(),
            by: self.by.as_deref().map(|by| clean(by).into_owned()),
            at: Some(self.at),
            ..Proof::default()
        }
    }
}

/// What was seen over time since the step began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Time in which somebody watched and no violation stood, since the last one stood.
    pub clean: SignedDuration,
    /// Admissions refused since the step began, as far as they were seen.
    pub blocked: u64,
    /// How many of them only Prometheus tells of.
    pub blocked_by_prometheus: u64,
    /// What was not watched since then and nobody else told of, newest last; empty means everything was seen or told.
    pub gaps: Vec<(Timestamp, Timestamp)>,
    /// What was not watched since then, but told by Prometheus, newest last.
    pub filled: Vec<(Timestamp, Timestamp)>,
    /// When requests did not reach the policy since then, newest last.
    pub out_of_force: Vec<(Timestamp, Timestamp)>,
}

/// Whether somebody else was asked about what nobody watched, and how that went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Metrics {
    /// No Prometheus is configured for the environment.
    #[default]
    NotConfigured,
    /// It has not been asked so far.
    NotAsked,
    /// It was asked last at this time.
    Asked {
        /// When.
        at: Timestamp,
        /// Whether it answered.
        answered: bool,
        /// Why there was no answer, or what it lacks, in words that follow "Prometheus"; empty where it had all of it.
        why: String,
    },
}

impl Metrics {
    /// Why a gap that ended at `until` is still one.
    fn why(&self, until: Timestamp) -> String {
        match self {
            Self::NotConfigured => "Prometheus is not configured".to_owned(),
            Self::Asked { answered: false, why, .. } => format!("Prometheus {}", clean(why)),
            Self::Asked { at, why, .. } if *at >= until => {
                let why = if why.is_empty() { "does not cover all of it" } else { why };
                format!("Prometheus {}", clean(why))
            }
            Self::NotAsked | Self::Asked { .. } => {
                "Prometheus has not been asked yet: the screen and `policydeck observe` do so".to_owned()
            }
        }
    }
}

/// An exception that names the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relied {
    /// `namespace/name`.
    pub name: String,
    /// When it runs out; `None` means never, as far as it says.
    pub expires_at: Option<Timestamp>,
    /// What its expiry annotation says, where that is neither a date nor a time.
    pub unreadable: Option<String>,
    /// Results of the policy that it excuses now.
    pub uses: u64,
    /// Where the policy would go there is one of that name, which says something else.
    pub differs: bool,
}

impl Relied {
    /// `staging lacks team/a (excuses 3); team/b (excuses 1) differs in staging`; `None` for none.
    pub fn in_words(lacking: &[Self], target: &str) -> Option<String> {
        let names = |differs: bool| {
            let some = lacking.iter().filter(|one| one.differs == differs);
            let names: Vec<String> = some.map(|one| format!("{} (excuses {})", one.name, one.uses)).collect();
            (!names.is_empty()).then(|| (names.len(), names.join(", ")))
        };
        let lacks = names(false).map(|(_, names)| format!("{target} lacks {names}"));
        let differs = names(true).map(|(count, names)| format!("{names} {} in {target}", if count == 1 { "differs" } else { "differ" }));
        let all: Vec<String> = lacks.into_iter().chain(differs).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Requests that one event says were blocked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// When it was last.
    pub at: Option<Timestamp>,
    /// How many.
    pub count: u64,
    /// Who wrote the event.
    pub source: Arc<EventSource>,
}

/// What is known of one policy in the environment it would leave, beside what the view holds. `None` is "not known".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Since when it is what it is.
    pub start: Option<Start>,
    /// Why that is not known.
    pub undated: Option<Undated>,
    /// Why the history cannot be read; what it would say may be worse than what is known without it.
    pub history: Option<String>,
    /// What was seen since.
    pub observed: Option<Observed>,
    /// When the oldest of its results was evaluated.
    pub oldest_result: Option<Timestamp>,
    /// The report that holds that result.
    pub oldest_report: Option<ReportRef>,
    /// How many of its results were evaluated in which second, oldest first.
    pub evaluated: Vec<(Timestamp, u64)>,
    /// Blocked requests of which the cluster still holds events.
    pub blocks: Option<Vec<Block>>,
    /// What reports and events say of it and nothing verifies: all that has a part in the numbers above, and all that makes them unknown.
    pub claims: Vec<Claim>,
    /// Which of those an operator wants left out; what was observed is without them already.
    pub disregard: Vec<Disregard>,
    /// What it would block by its present results; `None` where there are too many to look at each.
    pub would_block: Option<WouldBlock>,
    /// Exceptions that name it.
    pub exceptions: Option<Vec<Relied>>,
    /// Exceptions that its results name and that are not seen.
    pub unseen: Vec<UnseenException>,
    /// Those of them in use that the environment where it would go does not have, or has with another content.
    pub lacking: Option<Vec<Relied>>,
    /// Holds on it, or on where it would go.
    pub holds: Option<Vec<Hold>>,
    /// Rollbacks of its revision that are remembered, with their environments.
    pub rolled_back: Vec<(Arc<str>, RolledBack)>,
    /// Whether Prometheus was asked about what nobody watched.
    pub metrics: Metrics,
}

/// One question: may this revision of `policy` go from where it is to where it would go?
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The policy.
    pub policy: &'a PolicyId,
    /// From where, to where, and which revision.
    pub travel: &'a Travel,
    /// What is seen of the environment it leaves.
    pub environment: Option<&'a EnvironmentView>,
    /// What is known beside that.
    pub evidence: &'a Evidence,
    /// Now, by the clock of the API server of the environment it is in; `None` where that is not known.
    pub now: Option<Timestamp>,
    /// Now, by the clock of the API server of the environment it would go to.
    pub now_there: Option<Timestamp>,
}

/// The gate before the step that the question leads to.
pub fn judge(road: &Road, question: &Question<'_>) -> Gate {
    let travel = question.travel;
    let to = road.stop(travel.to);
    let freezes = road.freezes(travel.to.environment);
    let mut disregarded = Vec::new();
    let (from, conditions, soaked_at) = match &travel.from {
        Standing::On(step) if travel.ended => (Some(road.stop(*step)), vec![drift::drift(travel)], None),
        Standing::Nowhere => (None, entering(question, freezes), None),
        Standing::On(step) => {
            disregarded = disregard::disregarded(&question.evidence.claims, &question.evidence.disregard);
            let (conditions, soaked_at) = leaving(&Asked::new(road, *step, question, &disregarded), road, *step, question, freezes);
            (Some(road.stop(*step)), conditions, soaked_at)
        }
        Standing::Beside { environment, mode } => {
            let name = road.name(*environment);
            let from = Stop { environment: Arc::clone(&name), mode: *mode };
            (Some(from), vec![beside(&name, *mode), drift::drift(travel), freeze(freezes, question.now_there).0], None)
        }
    };
    let verdict = Verdict::of(&conditions);
    let thaw = freeze(freezes, question.now_there).1;
    let waits = [soaked_at, thaw].into_iter().flatten().max();
    let opens_at = waits.filter(|at| verdict == Verdict::Closed && question.now.max(question.now_there).is_some_and(|now| *at > now));
    Gate { policy: question.policy.clone(), from, to, verdict, opens_at, conditions, disregarded }
}

/// Whether a policy that is nowhere may enter the pipeline: at its first step only, if nobody holds it.
fn entering(question: &Question<'_>, freezes: &[Freeze]) -> Vec<Condition> {
    let is_first = question.travel.to == RoadStep::FIRST;
    let entry = if is_first {
        met(ConditionName::Soak, "pipeline", "the pipeline begins here")
    } else {
        unmet(ConditionName::Soak, "pipeline", "it is in no environment yet: it enters the pipeline at the first step")
    };
    vec![entry, drift::drift(question.travel), hold(question.evidence), freeze(freezes, question.now_there).0]
}

fn leaving(
    asked: &Asked<'_>,
    road: &Road,
    step: RoadStep,
    question: &Question<'_>,
    freezes: &[Freeze],
) -> (Vec<Condition>, Option<Timestamp>) {
    let (mut soak, mut soaked_at) = asked.soak();
    let to = question.travel.to;
    let between = road.between(step, to);
    if to <= step {
        soak = unmet(ConditionName::Soak, "pipeline", &format!("it is already at {} or past it", road.stop(to)));
        soaked_at = None;
    } else if !between.is_empty() {
        // Every step on the way has to be soaked, too: nothing that is typed can skip one.
        let first = between.first().map(|step| road.stop(*step).to_string()).unwrap_or_default();
        let more = between.iter().map(|step| road.step(*step).soak).fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        soak.state = ConditionState::Unmet;
        soak.reason = format!("{first} comes first in the pipeline; {}", soak.reason);
        soaked_at = soaked_at.max(question.now).and_then(|at| at.checked_add(more).ok());
    }
    let conditions = vec![
        soak,
        asked.violations(),
        asked.blocked(),
        asked.fresh(),
        asked.ready(),
        asked.exceptions(question.travel, &road.name(to.environment)),
        drift::drift(question.travel),
        hold(question.evidence),
        freeze(freezes, question.now_there).0,
    ];
    (conditions, soaked_at)
}

/// A policy that is there, but does what no step asks for.
fn beside(environment: &str, mode: Mode) -> Condition {
    match mode {
        Mode::Unknown => unknown(ConditionName::Ready, "policy", &format!("what it does in {environment} could not be found out")),
        Mode::NotReady => {
            unmet(ConditionName::Ready, "policy", &format!("it is not in force in {environment}: Kyverno does not admit by it yet"))
        }
        mode => unmet(
            ConditionName::Ready,
            "policy",
            &format!("{mode} in {environment} is no step of the pipeline: make it audit or enforce first"),
        ),
    }
}

/// Whether anyone holds it, or has rolled this revision back. A rollback is a decision whose cause no program can see to be gone: it is unknown until an
/// operator says so, by an acknowledgement or by a release, either of which is in the journal.
fn hold(evidence: &Evidence) -> Condition {
    let Some(holds) = &evidence.holds else {
        return unknown(ConditionName::Hold, "annotations", "whether anyone holds it could not be read");
    };
    match (holds.first(), evidence.rolled_back.first()) {
        (Some(first), _) => unmet(ConditionName::Hold, "annotations", &clean(&first.in_words())),
        (None, Some((environment, rolled_back))) => {
            let why = format!("{}; acknowledge this, or release the policy there", rolled_back.in_words(environment));
            unknown(ConditionName::Hold, "annotations", &clean(&why))
        }
        (None, None) => met(ConditionName::Hold, "annotations", "none"),
    }
}

/// What the conditions of one step are judged from.
struct Asked<'a> {
    /// The step it would leave.
    step: crate::settings::Step,
    /// The step it would go to enforces.
    target_enforces: bool,
    place: String,
    /// The namespaces that its environment is limited to, where the policy may reach beyond them.
    limited_to: &'a [String],
    environment: Option<&'a EnvironmentView>,
    cell: Option<&'a PolicyCell>,
    evidence: &'a Evidence,
    /// The claims that are left out.
    disregarded: &'a [Disregarded],
    now: Option<Timestamp>,
}

impl<'a> Asked<'a> {
    fn new(road: &'a Road, step: RoadStep, question: &Question<'a>, disregarded: &'a [Disregarded]) -> Self {
        let cell = question.environment.and_then(|view| view.cell_of(question.policy));
        Self {
            step: *road.step(step),
            target_enforces: road.step(question.travel.to).mode == StepMode::Enforce,
            place: road.stop(step).to_string(),
            limited_to: road.environments().get(step.environment).map_or(&[], |environment| limits(environment, question.policy)),
            environment: question.environment,
            cell,
            evidence: question.evidence,
            disregarded,
            now: question.now,
        }
    }

    /// The cell, if its numbers count everything there is; else why they do not.
    fn whole(&self) -> Result<&'a PolicyCell, String> {
        let view = self.environment.ok_or("nothing is seen of the environment")?;
        if !view.link.is_up() {
            let why = view.link.why().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(format!("{} is {}{why}", view.name, view.link.as_str()));
        }
        let cell = self.cell.ok_or_else(|| format!("it is not seen in {}", view.name))?;
        if view.complete && cell.complete {
            return Ok(cell);
        }
        let mut kinds = view.kinds.iter().filter(|kind| kind.essential);
        Err(kinds.find_map(|kind| Some((kind.kind, kind.lack()?))).map_or_else(
            || format!("what is known of {} is not complete", view.name),
            |(kind, lack)| format!("{kind} of {} are {lack}", view.name),
        ))
    }

    /// Now, by the server's clock.
    fn now(&self) -> Result<Timestamp, String> {
        self.now.ok_or_else(|| "the time of the API server is not known: its answers carry no Date".to_owned())
    }

    /// When the step began, as far as that can be believed.
    fn start(&self) -> Result<&'a Start, String> {
        if let Some(why) = &self.evidence.history {
            return Err(format!("the history cannot be read: {}", clean(why)));
        }
        let start = self.evidence.start.as_ref().ok_or_else(|| self.undated())?;
        let revision = self.cell.and_then(|cell| cell.revision.as_ref()).ok_or("its revision is not known")?;
        if revision.0 != start.revision {
            return Err(format!("the revision is {revision} now, what is known is of {}", start.revision));
        }
        // What was recorded while all this was gathered is a moment later.
        if start.at.duration_since(self.now()?) > AT_ONCE {
            return Err(format!("it began in the future ({}, {}): a clock is wrong", start.at, start.words()));
        }
        Ok(start)
    }

    fn undated(&self) -> String {
        let time = |at: Timestamp| at.strftime("%b %e %H:%M UTC");
        let recorder = "a recorder dates it (the screen, or `policydeck observe`)";
        match self.evidence.undated {
            None | Some(Undated::NotRecorded) => {
                format!("the object does not show since when it is so, and it is not recorded; {recorder}")
            }
            Some(Undated::OtherUntil(at)) => {
                format!("it was different until {}, and the object does not show when it changed; {recorder}", time(at))
            }
            Some(Undated::Gap(from, to)) => {
                format!("not recorded {} to {}, and the object does not show whether it changed; {recorder}", time(from), time(to))
            }
        }
    }

    /// Whether everything that the policy reaches is looked at.
    fn in_scope(&self) -> Result<(), String> {
        in_scope(self.limited_to)
    }

    fn enforces(&self) -> bool {
        self.step.mode == StepMode::Enforce
    }
}

fn met(name: ConditionName, source: &str, reason: &str) -> Condition {
    condition(name, ConditionState::Met, source, reason)
}

fn unmet(name: ConditionName, source: &str, reason: &str) -> Condition {
    condition(name, ConditionState::Unmet, source, reason)
}

fn unknown(name: ConditionName, source: &str, reason: &str) -> Condition {
    condition(name, ConditionState::Unknown, source, reason)
}

fn condition(name: ConditionName, state: ConditionState, source: &str, reason: &str) -> Condition {
    Condition {
        name,
        state,
        value: None,
        limit: None,
        source: source.to_owned(),
        evidence: Vec::new(),
        more_evidence: 0,
        reason: reason.to_owned(),
    }
}

impl Condition {
    fn with(mut self, value: Option<Amount>, limit: Option<Amount>) -> Self {
        (self.value, self.limit) = (value, limit);
        self
    }

    fn by(mut self, evidence: Vec<Proof>) -> Self {
        self.evidence = evidence;
        self
    }

    /// The same with what was left out, in words.
    fn saying(mut self, more: &str) -> Self {
        self.reason.push_str(more);
        self
    }
}
