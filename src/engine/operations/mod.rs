//! Operations over a running engine, on one path for screen and command line: gate, plan, rehearsal, confirmation, execution, journal, effect.
//!
//! What lives here: gathering what a plan is made from ([`Operator`]), and carrying plans out (`execute`). What does not: what a plan says (`ops`), how a
//! single write is sent (`cluster`), asking for confirmation (the faces).
//!
//! ```text
//! gate ─▶ plan ─▶ rehearse (server dry run) ─▶ [confirmation] ─▶ basis again ─▶ gate again ─▶ archive ─▶ intent ─▶ write ─▶ outcome ─▶ effect
//! ```

mod again;
mod bound;
mod compare;
mod effect;
mod execute;
mod fate;
mod formers;
mod git;
mod give_back;
mod impact;
mod left_out;
mod note;
mod outcome;
mod pending;
mod permit;
mod plan_file;
mod seen;
mod stage;
mod undoing;

pub use super::gates::{Committed, PendingByEnvironment};
pub use compare::{Compared, Shown};
pub use effect::Effect;
pub use formers::{Former, Formers, Kept};
pub use git::GitRoad;
pub use outcome::{Outcome, StepOutcome};
pub use pending::{HOWEVER_LONG, pending};
pub use plan_file::PlanFile;
pub use stage::{Stage, Told};
pub use undoing::Undone;

use super::gates::{Gathered, gather};
use super::{EngineHandle, Failure, HistoryReader};
use crate::cluster::Timing;
use crate::domain::{Condition, Disregard, EvidenceRef, Gate, Hold, Mode, PolicyId, Verdict, clean};
use crate::kinds::hold::read_hold;
use crate::kinds::{Kind, KindId};
use crate::ops::acknowledged::Acknowledged;
use crate::ops::gate::{Relied, disregard};
use crate::ops::plan::{Plan, join};
use crate::ops::road::Road;
use crate::ops::{Facts, Place, Refusal, demote, hold, promote, rollback, unblock};
use crate::settings::{EnvironmentSettings, StepMode};
use jiff::Timestamp;
use seen::Seen;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The word of a refusal because something is unknown that was not acknowledged.
pub const UNACKNOWLEDGED: &str = "unacknowledged";

/// Where operations leave their traces.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The journal's folder.
    pub journal: PathBuf,
    /// The folder of undo archives.
    pub archives: PathBuf,
}

/// Who asks, and why it may be.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The ticket that allows it.
    pub ticket: Option<String>,
    /// Why it is done, where that was said.
    pub reason: Option<String>,
    /// Why an unknown gate may be passed.
    pub acknowledge: Option<String>,
    /// Reports and events whose claims are to be left out of a gate, as far as nothing verifies them; for the reason above.
    pub disregard: Vec<EvidenceRef>,
    /// Gates of a plan that was made before, with what was acknowledged and disregarded then: it holds for what it was given for.
    pub given: Vec<Value>,
}

/// Why there is no plan, or why one is not carried out.
#[derive(Debug, Clone)]
pub enum Declined {
    /// The gate is not open.
    Gate(Box<Gate>),
    /// The operation is refused.
    Refused(Box<Refusal>),
    /// Something could not be read or asked.
    Failed(Failure),
    /// It was asked for in a way that means nothing.
    Usage(String),
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(gate) => write!(f, "the gate to {} is {}", gate.to, gate.verdict.as_str()),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(failure) if failure.hint.is_empty() => f.write_str(&failure.what),
            Self::Failed(failure) => write!(f, "{}. {}", failure.what, failure.hint),
            Self::Usage(why) => f.write_str(why),
        }
    }
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Failure> for Declined {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Makes plans and carries them out.
#[derive(Clone)]
pub struct Operator {
    engine: EngineHandle,
    road: Road,
    keeping: Keeping,
    /// An unknown gate may be passed with a reason.
    acknowledge: bool,
    history: HistoryReader,
    /// What is carried out is noted in the history.
    noting: bool,
    /// Who asks, as plans and annotations say it.
    by: String,
    /// How commits are made; without it everything is written to the cluster, and refused where a GitOps tool keeps it.
    git: Option<GitRoad>,
    /// How long the result of a write is waited for.
    timing: Timing,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Operator {
    /// An operator on the whole road.
    pub fn new(engine: EngineHandle, road: Road, keeping: Keeping, acknowledge: bool, history: HistoryReader, by: String) -> Self {
        Self { engine, road, keeping, acknowledge, history, noting: true, by, git: None, timing: Timing::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// The same, noting what is carried out in the history, or not.
    #[must_use]
    pub fn noting(self, noting: bool) -> Self {
        Self { noting, ..self }
    }

    /// The gate before the step that `to` names, or before the next, and the plan that goes there if it may.
    pub async fn promote(&self, policy: &PolicyId, to: Option<&str>, request: &Request) -> Result<Plan, Declined> {
        let now = Timestamp::now();
        let gathered = self.gathered(policy, now).await;
        let gate = self.judged(&gathered, policy, to, now, &self.disregards(policy, request)?)?;
        let evidence = self.pass(&gate, request)?;
        let mode = if gate.to.mode == Mode::Enforce { StepMode::Enforce } else { StepMode::Audit };
        let kind = kind_of(policy)?;
        let target = self.see_for(&gate.to.environment, kind).await?;
        let existing = self.engine.policy_object(&gate.to.environment, policy).await?;
        let elsewhere = gate.from.as_ref().filter(|from| from.environment != gate.to.environment);
        let source = match elsewhere {
            Some(from) => {
                let object = self.engine.policy_object(&from.environment, policy).await?;
                let object =
                    object.ok_or_else(|| Failure { what: format!("{policy} is gone from {}", from.environment), hint: String::new() })?;
                Some((self.see_for(&from.environment, kind).await?, object))
            }
            None => None,
        };
        let input = promote::Input {
            kind,
            source: source.as_ref().map(|(place, object)| promote::Source { place: place.place(), object }),
            target: target.place(),
            existing: existing.as_ref(),
            mode,
            facts: self.facts(now, request, &evidence),
        };
        let plan = |target: Place<'_>, existing: Option<&Value>| promote::plan(&promote::Input { target, existing, ..input });
        let mut plan = self.make(kind, policy, input.target, input.existing, plan).await?;
        plan.impact = self.impact(&plan, target.place().kyverno).await;
        if let Some(from) = elsewhere {
            let lacking = gathered.lacking(policy, &from.environment, &gate.to.environment, self.road.expiry_key());
            plan.warnings.extend(lacking_exceptions(lacking.as_deref(), &from.environment, &gate.to.environment));
        }
        self.signed(plan).await
    }

    /// The plan that makes a policy of one environment audit again. Down is never gated.
    pub async fn demote(&self, policy: &PolicyId, environment: &str, request: &Request) -> Result<Plan, Declined> {
        let kind = kind_of(policy)?;
        let place = self.see_for(environment, kind).await?;
        let existing = self.existing(policy, environment).await?;
        let facts = self.facts(Timestamp::now(), request, &Value::Null);
        let plan = |place: Place<'_>, manifest: Option<&Value>| {
            demote::plan(&demote::Input { kind, place, existing: manifest.unwrap_or(&existing), facts })
        };
        self.signed(self.make(kind, policy, place.place(), Some(&existing), plan).await?).await
    }

    /// The plan that puts a policy of one environment back to what it was.
    pub async fn rollback(&self, policy: &PolicyId, environment: &str, former: &Value, request: &Request) -> Result<Plan, Declined> {
        let kind = kind_of(policy)?;
        let place = self.see_for(environment, kind).await?;
        let existing = self.engine.policy_object(environment, policy).await?;
        let facts = self.facts(Timestamp::now(), request, &Value::Null);
        let plan = |place: Place<'_>, existing: Option<&Value>| rollback::plan(&rollback::Input { kind, place, existing, former, facts });
        let mut plan = self.make(kind, policy, place.place(), existing.as_ref(), plan).await?;
        // It blocks in no more places, but what it says there is another matter.
        plan.impact = self.impact(&plan, place.place().kyverno).await;
        self.signed(plan).await
    }

    /// The plan that keeps a policy where it is; without a reason, the one that lets it go.
    pub async fn hold(&self, policy: &PolicyId, environment: &str, reason: Option<&str>, request: &Request) -> Result<Plan, Declined> {
        let kind = kind_of(policy)?;
        let place = self.see_for(environment, kind).await?;
        let existing = self.existing(policy, environment).await?;
        let facts = self.facts(Timestamp::now(), request, &Value::Null);
        let plan = |place: Place<'_>, manifest: Option<&Value>| {
            let existing = manifest.unwrap_or(&existing);
            let input = hold::Input { kind, place, existing, reason: reason.unwrap_or_default(), facts };
            if reason.is_some() { hold::hold(&input) } else { hold::release(&input) }
        };
        self.signed(self.make(kind, policy, place.place(), Some(&existing), plan).await?).await
    }

    /// The plan that takes Kyverno's resource webhooks away, so that workloads get through while it is down.
    pub async fn unblock(&self, environment: &str, request: &Request) -> Result<Plan, Declined> {
        let place = self.see(environment).await?;
        let mut configurations = [None, None];
        for (found, which) in configurations.iter_mut().zip(unblock::CONFIGURATIONS) {
            *found = self.read(environment, &unblock::address(which)).await?;
        }
        let answers = self.kyverno_answers(environment).await;
        let facts = self.facts(Timestamp::now(), request, &Value::Null);
        let input = unblock::Input { place: place.place(), configurations: configurations.each_ref().map(Option::as_ref), answers, facts };
        self.signed(unblock::plan(&input)?).await
    }

    /// Several plans as one.
    ///
    /// # Errors
    /// They do not go together, or are more than the environment's rules allow at once.
    pub fn together(&self, plans: Vec<Plan>) -> Result<Plan, Declined> {
        let plan = join(plans)?;
        self.allowed(&plan)?;
        Ok(plan)
    }

    /// Whether somebody holds the policy in that environment, as its object says now.
    pub async fn held(&self, policy: &PolicyId, environment: &str) -> Result<Option<Hold>, Declined> {
        Ok(read_hold(&self.existing(policy, environment).await?))
    }

    /// The policy's gate now, without the claims that are to be disregarded.
    async fn gate(&self, policy: &PolicyId, to: Option<&str>, asked: &[Disregard], now: Timestamp) -> Result<Gate, Declined> {
        self.judged(&self.gathered(policy, now).await, policy, to, now, asked)
    }

    /// The claims that a request wants left out of a policy's gate, now or by the plan that it repeats.
    ///
    /// # Errors
    /// There is no reason for it, or the configuration forbids it.
    fn disregards(&self, policy: &PolicyId, request: &Request) -> Result<Vec<Disregard>, Declined> {
        let policy = serde_json::to_value(policy).ok();
        let given = request.given.iter().find(|given| given.get("policy") == policy.as_ref()).map(disregard::read).unwrap_or_default();
        let reason = request.reason.as_deref().map(str::trim).unwrap_or_default();
        if !request.disregard.is_empty() && reason.is_empty() {
            return Err(Declined::Usage("a claim is disregarded for a reason: --reason".to_owned()));
        }
        let now =
            |object: &EvidenceRef| Disregard { object: object.clone(), content: None, by: self.by.clone(), reason: reason.to_owned() };
        let all: Vec<Disregard> = request.disregard.iter().map(now).chain(given).collect();
        self.may_disregard(all)
    }

    /// These, where the configuration lets operators decide what is not known.
    fn may_disregard(&self, all: Vec<Disregard>) -> Result<Vec<Disregard>, Declined> {
        match all.first() {
            Some(one) if !self.acknowledge => {
                let object = clean(&one.object.to_string()).into_owned();
                Err(Declined::Usage(format!("{object} cannot be disregarded: the configuration forbids it (acknowledge_unknown = false)")))
            }
            _ => Ok(all),
        }
    }

    /// What is committed and not applied yet, of every policy in the repositories; without progress messages.
    pub async fn pending(&self, within: Duration) -> PendingByEnvironment {
        match &self.git {
            Some(git) => pending(&self.engine, &self.road, &git.silent(), None, within).await,
            None => PendingByEnvironment::new(),
        }
    }

    async fn gathered(&self, policy: &PolicyId, now: Timestamp) -> Gathered {
        let gathered = gather(&self.engine, &self.road, Some(policy), Some(&self.history), now).await;
        match &self.git {
            Some(git) => gathered.with_pending(pending(&self.engine, &self.road, git, Some(policy), HOWEVER_LONG).await),
            None => gathered,
        }
    }

    fn judged(
        &self,
        gathered: &Gathered,
        policy: &PolicyId,
        to: Option<&str>,
        now: Timestamp,
        asked: &[Disregard],
    ) -> Result<Gate, Declined> {
        gathered.gate_without(&self.road, policy, to, now, asked).map_err(|why| Declined::Usage(format!("{policy}: {why}")))
    }

    /// What is kept of an open gate. One that is unknown may be passed with a reason, where the configuration allows that; a closed one never.
    fn pass(&self, gate: &Gate, request: &Request) -> Result<Value, Declined> {
        let now = request.acknowledge.as_deref().map(|reason| Acknowledged::for_all(gate, reason));
        let acknowledged = now.or_else(|| {
            let policy = serde_json::to_value(&gate.policy).ok();
            request.given.iter().find(|given| given.get("policy") == policy.as_ref()).and_then(Acknowledged::read)
        });
        self.pass_with(gate, acknowledged.as_ref())
    }

    /// The same with an acknowledgement that was given before: what is unknown since then is not passed.
    fn pass_with(&self, gate: &Gate, acknowledged: Option<&Acknowledged>) -> Result<Value, Declined> {
        match (gate.verdict, acknowledged) {
            (Verdict::Open, _) => Ok(serde_json::to_value(gate).unwrap_or_default()),
            (Verdict::Unknown, Some(given)) if self.acknowledge && !given.reason.trim().is_empty() => match given.news(gate)[..] {
                [] => Ok(given.evidence(gate)),
                ref news => Err(unacknowledged(gate, given, news)),
            },
            _ => Err(Declined::Gate(Box::new(gate.clone()))),
        }
    }

    async fn existing(&self, policy: &PolicyId, environment: &str) -> Result<Value, Declined> {
        let found = self.engine.policy_object(environment, policy).await?;
        found.ok_or_else(|| Failure { what: format!("{policy} does not exist in {environment}"), hint: String::new() }.into())
    }

    fn facts<'a>(&'a self, at: Timestamp, request: &'a Request, gate: &'a Value) -> Facts<'a> {
        Facts { at, by: &self.by, ticket: request.ticket.as_deref(), reason: request.reason.as_deref(), gate }
    }

    async fn see(&self, environment: &str) -> Result<Seen, Declined> {
        Seen::look(&self.engine, self.settings(environment)?).await.map_err(Declined::Failed)
    }

    /// The same with what it knows of a kind.
    async fn see_for(&self, environment: &str, kind: &'static Kind) -> Result<Seen, Declined> {
        Seen::look_at(&self.engine, self.settings(environment)?, kind).await.map_err(Declined::Failed)
    }

    fn settings(&self, environment: &str) -> Result<&EnvironmentSettings, Declined> {
        let settings = self.road.environments().iter().find(|one| one.name == environment);
        settings.ok_or_else(|| Declined::Usage(format!("there is no environment `{environment}` in the pipeline")))
    }
}

/// A refusal that comes with nothing to commit.
fn refused(word: &'static str, text: String) -> Declined {
    Refusal { word, text, commit: None }.into()
}

fn unacknowledged(gate: &Gate, given: &Acknowledged, news: &[&Condition]) -> Declined {
    let news: Vec<String> = news.iter().map(|one| format!("{} ({})", one.name.as_str(), one.reason)).collect();
    let given = match given.names()[..] {
        [] => "nothing".to_owned(),
        ref names => names.join(", "),
    };
    let text = format!(
        "The gate of {} to {} is unknown for another reason than was acknowledged: {}. The acknowledgement was for {given}. Make the plan again.",
        gate.policy,
        gate.to,
        news.join("; ")
    );
    refused(UNACKNOWLEDGED, text)
}

/// What to know of exceptions before a policy goes from one environment into another.
fn lacking_exceptions(lacking: Option<&[Relied]>, from: &str, to: &str) -> Option<String> {
    match lacking {
        None => Some(format!("Which exceptions {to} has could not be read: what they excuse in {from} may fail there.")),
        Some(lacking) => {
            let words = Relied::in_words(lacking, to)?;
            Some(format!("Exceptions that are in use in {from}: {words}. What they excuse may fail there."))
        }
    }
}

fn kind_of(policy: &PolicyId) -> Result<&'static Kind, Declined> {
    let id = KindId::find(&policy.group, &policy.kind);
    id.map(KindId::kind).ok_or_else(|| Declined::Usage(format!("{policy} is of a kind that only other tools' reports name")))
}
