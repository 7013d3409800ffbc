//! Judging a gate: whether a policy may leave the step it stands on.
//!
//! What lives here: the verdict over all conditions. What does not: where a policy stands ([`super::road`]), gathering what is known, saying it.
//!
//! Nothing here can open a gate for want of knowledge: what was not told is unknown, and what is unknown is not met. Where something tells that a
//! condition is *not* met it counts, however little is known beside it.

mod conditions;
#[cfg(test)]
mod tests;

use super::road::{Road, RoadStep, Standing};
use crate::domain::{Amount, Condition, ConditionName, ConditionState, Gate, Hold, Mode, PolicyId, Stop, Verdict, clean};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use crate::settings::{Freeze, StepMode};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// When the present revision came to be in its present mode in an environment, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// When.
    pub at: Timestamp,
    /// Of which revision this is told; another one has not begun yet.
    pub revision: String,
    /// Who says so, in words: `seen by the recorder`, `annotation policydeck.dev/at`, `managedFields of kubectl`.
    pub source: String,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relied {
    /// `namespace/name`.
    pub name: String,
    /// When it runs out; `None` means never, as far as it says.
    pub expires_at: Option<Timestamp>,
    /// Results that it excuses now.
    pub uses: u64,
}

/// What is known of one policy in the environment it would leave, beside what the view holds. `None` is "not known".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Since when it is what it is.
    pub start: Option<Start>,
    /// What was seen since.
    pub observed: Option<Observed>,
    /// When the oldest of its results was evaluated.
    pub oldest_result: Option<Timestamp>,
    /// Exceptions that name it.
    pub exceptions: Option<Vec<Relied>>,
    /// Holds on it, or on where it would go.
    pub holds: Option<Vec<Hold>>,
    /// Whether Prometheus was asked about what nobody watched.
    pub metrics: Metrics,
}

/// One question: may `policy` go from where it stands to `to`?
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The policy.
    pub policy: &'a PolicyId,
    /// Where it stands.
    pub standing: &'a Standing,
    /// Where it would go.
    pub to: RoadStep,
    /// What is seen of the environment it stands in.
    pub environment: Option<&'a EnvironmentView>,
    /// What is known beside that.
    pub evidence: &'a Evidence,
    /// Now.
    pub now: Timestamp,
}

/// The gate before `question.to`.
pub fn judge(road: &Road, question: &Question<'_>) -> Gate {
    let to = road.stop(question.to);
    let freezes = road.freezes(question.to.environment);
    let (from, conditions, soaked_at) = match question.standing {
        Standing::Nowhere => (None, entering(question, freezes), None),
        Standing::On(step) => {
            let (conditions, soaked_at) = leaving(road, *step, question, freezes);
            (Some(road.stop(*step)), conditions, soaked_at)
        }
        Standing::Beside { environment, mode } => {
            let name = road.name(*environment);
            let from = Stop { environment: Arc::clone(&name), mode: *mode };
            (Some(from), vec![beside(&name, *mode), freeze(freezes, question.now).0], None)
        }
    };
    let verdict = Verdict::of(&conditions);
    let thaw = freeze(freezes, question.now).1;
    let waits = [soaked_at, thaw].into_iter().flatten().max();
    let opens_at = waits.filter(|at| verdict == Verdict::Closed && *at > question.now);
    Gate { policy: question.policy.clone(), from, to, verdict, opens_at, conditions }
}

/// Whether a policy that is nowhere may enter the road: at its first step only, if nobody holds it.
fn entering(question: &Question<'_>, freezes: &[Freeze]) -> Vec<Condition> {
    let is_first = question.to == RoadStep::FIRST;
    let entry = if is_first {
        met(ConditionName::Soak, "the road", "the road begins here")
    } else {
        unmet(ConditionName::Soak, "the road", "it is nowhere on the road: it enters at the first step")
    };
    vec![entry, hold(question.evidence), freeze(freezes, question.now).0]
}

fn leaving(road: &Road, step: RoadStep, question: &Question<'_>, freezes: &[Freeze]) -> (Vec<Condition>, Option<Timestamp>) {
    let asked = Asked::new(road, step, question);
    let (mut soak, mut soaked_at) = asked.soak();
    let between = road.between(step, question.to);
    if question.to <= step {
        soak =
            unmet(ConditionName::Soak, "the road", &format!("it stands there, or beyond: {} is no step forward", road.stop(question.to)));
        soaked_at = None;
    } else if !between.is_empty() {
        // Every step on the way has to be soaked, too: nothing that is typed can skip one.
        let first = between.first().map(|step| road.stop(*step).to_string()).unwrap_or_default();
        let more = between.iter().map(|step| road.step(*step).soak).fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        soak.state = ConditionState::Unmet;
        soak.reason = format!("{first} comes first on the road; {}", soak.reason);
        soaked_at = soaked_at.or(Some(question.now)).and_then(|at| at.max(question.now).checked_add(more).ok());
    }
    let conditions = vec![
        soak,
        asked.violations(),
        asked.blocked(),
        asked.fresh(),
        asked.ready(),
        asked.exceptions(),
        hold(question.evidence),
        freeze(freezes, question.now).0,
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
        mode => unmet(ConditionName::Ready, "policy", &format!("it is {mode} in {environment}, which is no step of the road")),
    }
}

fn hold(evidence: &Evidence) -> Condition {
    match &evidence.holds {
        None => unknown(ConditionName::Hold, "annotations", "whether somebody holds it could not be read"),
        Some(holds) => match holds.first() {
            None => met(ConditionName::Hold, "annotations", "none"),
            Some(first) => unmet(ConditionName::Hold, "annotations", &held(first)),
        },
    }
}

fn held(hold: &Hold) -> String {
    let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", clean(&hold.reason)) };
    format!("held by {}{why}", clean(hold.by.as_deref().unwrap_or("somebody")))
}

/// Whether the target is frozen, and until when: windows that follow each other without a break are one.
fn freeze(freezes: &[Freeze], now: Timestamp) -> (Condition, Option<Timestamp>) {
    let mut until = now;
    while let Some(next) = freezes.iter().filter(|one| one.holds_at(until) && one.until > until).map(|one| one.until).max() {
        until = next;
    }
    if let Some(first) = freezes.iter().find(|one| one.holds_at(now)) {
        let why = format!("frozen until {}: {}", until.strftime("%b %e %H:%M UTC"), first.reason);
        return (unmet(ConditionName::Freeze, "configuration", &why), Some(until));
    }
    let next = freezes.iter().filter(|one| one.from > now).min_by_key(|one| one.from);
    let why = next.map_or_else(|| "none".to_owned(), |one| format!("none before {}", one.from.strftime("%b %e")));
    (met(ConditionName::Freeze, "configuration", &why), None)
}

/// What the conditions of one step are judged from.
struct Asked<'a> {
    /// The step it would leave.
    step: crate::settings::Step,
    place: String,
    environment: Option<&'a EnvironmentView>,
    cell: Option<&'a PolicyCell>,
    evidence: &'a Evidence,
    now: Timestamp,
}

impl<'a> Asked<'a> {
    fn new(road: &Road, step: RoadStep, question: &Question<'a>) -> Self {
        let cell = question.environment.and_then(|view| view.cell_of(question.policy));
        Self {
            step: *road.step(step),
            place: road.stop(step).to_string(),
            environment: question.environment,
            cell,
            evidence: question.evidence,
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
        let kind = view.kinds.iter().find(|kind| kind.essential && !kind.sync.is_complete());
        Err(kind.map_or_else(
            || format!("what is known of {} is not complete", view.name),
            |kind| format!("{} of {} are {}", kind.kind, view.name, kind.sync.as_str()),
        ))
    }

    /// When the step began, as far as that can be believed.
    fn start(&self) -> Result<&'a Start, String> {
        let start = self.evidence.start.as_ref().ok_or("nobody knows since when")?;
        let revision = self.cell.and_then(|cell| cell.revision.as_ref()).ok_or("its revision is not known")?;
        if revision.0 != start.revision {
            return Err(format!("the revision is {revision} now, what is known is of {}", start.revision));
        }
        if start.at > self.now {
            return Err(format!("it began in the future ({}, {}): a clock is wrong", start.at, start.source));
        }
        Ok(start)
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
    Condition { name, state, value: None, limit: None, source: source.to_owned(), reason: reason.to_owned() }
}

impl Condition {
    fn with(mut self, value: Option<Amount>, limit: Option<Amount>) -> Self {
        (self.value, self.limit) = (value, limit);
        self
    }
}
