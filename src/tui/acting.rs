//! The seam between the screen and operations.
//!
//! What lives here: what somebody wants done ([`Wish`]), what comes back ([`Preparation`], [`Carried`]), and the source that makes one of the
//! other ([`Acting`]). What does not: plans and their execution (`engine::operations`), what any of it looks like (`overlays::operation`).

use super::msg::{Answer, Ask};
use super::source::{Source, all_gates};
use crate::domain::{EvidenceRef, PolicyId};
use crate::engine::operations::{Declined, Former, Operator, Outcome, PendingByEnvironment, Request, Stage};
use crate::engine::{EngineHandle, Failure};
use crate::fleet::view::FleetView;
use crate::ops::hold::held_already;
use crate::ops::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, watch};

/// So many states of before are offered.
const FORMERS: usize = 50;

/// Repositories are read again for the gates this often: a fetch costs their server more than a watch costs a cluster.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Gates wait so long for a repository; then what it says is unknown.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Whether things can be changed from the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operations {
    /// They can.
    Possible {
        /// An unknown gate may be passed with a reason.
        acknowledge: bool,
    },
    /// They cannot; a sentence without a full stop says why.
    Impossible(&'static str),
}

impl Default for Operations {
    /// Nobody who could change anything.
    fn default() -> Self {
        Self::Impossible("nothing can be changed from here")
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// To the next step of the road.
    Promote,
    /// From enforce to audit.
    Demote,
    /// To what it was; not chosen yet if `None`.
    Rollback(Option<Arc<Former>>),
    /// Held with a reason; without one, released, or, if it is not held, a reason is asked for.
    Hold(Option<String>),
    /// Kyverno's resource webhooks are removed.
    Unblock,
}

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// What.
    pub deed: Deed,
    /// To which policies; several only where they are promoted, none for an unblock.
    pub policies: Vec<PolicyId>,
    /// Where; `None` for the next step of the road, wherever that is.
    pub environment: Option<Arc<str>>,
    /// The ticket that allows it.
    pub ticket: Option<String>,
    /// Why an unknown gate may be passed.
    pub acknowledge: Option<String>,
    /// Reports and events whose claims are left out of the gate.
    pub disregard: Vec<EvidenceRef>,
    /// Why.
    pub reason: Option<String>,
}

impl Wish {
    /// A wish without ticket and reason.
    pub fn new(deed: Deed, policies: Vec<PolicyId>, environment: Option<Arc<str>>) -> Self {
        Self { deed, policies, environment, ticket: None, acknowledge: None, disregard: Vec::new(), reason: None }
    }
}

/// A plan, and what the servers say of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// What became of the dry run.
    pub rehearsed: Outcome,
    /// Whom the cluster sees, where it tells.
    pub seen_as: Option<String>,
}

/// What came of a wish.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// A plan for each policy, in order.
    Plans(Vec<Prepared>),
    /// The policy is not held, and a hold needs a reason.
    ReasonWanted,
    /// There is no plan.
    Declined {
        /// For which policy, where several were asked for.
        policy: Option<PolicyId>,
        /// Why.
        why: Declined,
    },
}

impl From<Result<(), Declined>> for Preparation {
    fn from(result: Result<(), Declined>) -> Self {
        match result {
            Ok(()) => Self::Plans(Vec::new()),
            Err(why) => Self::Declined { policy: None, why },
        }
    }
}

/// How far plans are that are being carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which plan, counted from 0.
    pub plan: usize,
    /// What is being done of it; `None` before it begins.
    pub stage: Option<Stage>,
}

/// What became of plans, in order. Where one did not succeed, those after it were not begun and are not there.
pub type Carried = Arc<[Result<Outcome, Declined>]>;

/// Where nobody can change anything.
pub(crate) fn nobody() -> Result<(), Declined> {
    Err(Declined::Usage("nothing can be changed from here".to_owned()))
}

/// What repositories said when they were read last.
type Repositories = Mutex<Option<(Instant, PendingByEnvironment)>>;

/// An engine with somebody who changes things.
#[derive(Debug, Clone)]
pub struct Acting {
    engine: EngineHandle,
    operator: Operator,
    repositories: Arc<Repositories>,
}

impl Acting {
    /// On that engine.
    pub fn new(engine: EngineHandle, operator: Operator) -> Self {
        Self { engine, operator, repositories: Arc::default() }
    }

    /// What is committed and not applied yet, as new as [`READ_AGAIN`] says.
    async fn pending(&self) -> PendingByEnvironment {
        let mut known = self.repositories.lock().await;
        if let Some((at, pending)) = known.as_ref()
            && at.elapsed() < READ_AGAIN
        {
            return pending.clone();
        }
        let pending = self.operator.pending(READ_WITHIN).await;
        *known = Some((Instant::now(), pending.clone()));
        pending
    }

    async fn prepare(&self, wish: &Wish) -> Preparation {
        let targets: Vec<Option<&PolicyId>> = if wish.policies.is_empty() { vec![None] } else { wish.policies.iter().map(Some).collect() };
        let several = targets.len() > 1;
        let mut plans = Vec::new();
        for policy in targets {
            let plan = match self.plan(wish, policy).await {
                Ok(Some(plan)) => plan,
                Ok(None) => return Preparation::ReasonWanted,
                Err(why) => return Preparation::Declined { policy: policy.filter(|_| several).cloned(), why },
            };
            plans.push(plan);
        }
        if let Err(why) = self.not_too_many(&plans) {
            return Preparation::Declined { policy: None, why };
        }
        let mut prepared = Vec::new();
        for plan in plans {
            let rehearsed = self.operator.rehearse(&plan).await;
            let environment = plan.steps.first().map(|step| step.environment.clone()).unwrap_or_default();
            let seen_as = self.operator.seen_as(&environment).await;
            prepared.push(Prepared { plan, rehearsed, seen_as });
        }
        Preparation::Plans(prepared)
    }

    /// Whether the rules of each environment allow so many at once.
    fn not_too_many(&self, plans: &[Plan]) -> Result<(), Declined> {
        let place = |plan: &Plan| plan.steps.first().map(|step| step.environment.clone()).unwrap_or_default();
        let mut by_environment: BTreeMap<String, Vec<Plan>> = BTreeMap::new();
        for plan in plans {
            by_environment.entry(place(plan)).or_default().push(plan.clone());
        }
        by_environment.into_values().filter(|plans| plans.len() > 1).try_for_each(|plans| self.operator.together(plans).map(drop))
    }

    /// What there is to go back to, the newest first: other states of the policy whose text is kept.
    async fn formers(&self, policy: &PolicyId, environment: &str) -> Result<Vec<Former>, Declined> {
        let found = self.operator.formers(policy, environment).await?;
        let others: Vec<Former> = found.all.into_iter().filter(|former| !former.present && former.object.is_some()).take(FORMERS).collect();
        match found.troubles.into_iter().next() {
            // What could not be read may be just what is looked for.
            Some(what) if others.is_empty() => Err(Declined::Failed(Failure { what, hint: String::new() })),
            _ => Ok(others),
        }
    }

    /// The plan; `None` where a reason is wanted for it.
    async fn plan(&self, wish: &Wish, policy: Option<&PolicyId>) -> Result<Option<Plan>, Declined> {
        let request = Request {
            ticket: wish.ticket.clone(),
            acknowledge: wish.acknowledge.clone(),
            disregard: wish.disregard.clone(),
            reason: wish.reason.clone(),
            ..Request::default()
        };
        let operator = &self.operator;
        let here = || wish.environment.as_deref().ok_or_else(|| Declined::Usage("no environment was chosen".to_owned()));
        let policy = || policy.ok_or_else(|| Declined::Usage("no policy was chosen".to_owned()));
        let plan = match &wish.deed {
            Deed::Promote => operator.promote(policy()?, wish.environment.as_deref(), &request).await?,
            Deed::Demote => operator.demote(policy()?, here()?, &request).await?,
            Deed::Rollback(Some(former)) => operator.rollback_to_former(policy()?, here()?, former, &request).await?,
            Deed::Rollback(None) => return Err(Declined::Usage("nothing to go back to was chosen".to_owned())),
            Deed::Hold(reason) => match (reason, operator.held(policy()?, here()?).await?) {
                (None, None) => return Ok(None),
                (None, Some(_)) => operator.hold(policy()?, here()?, None, &request).await?,
                (Some(reason), None) => operator.hold(policy()?, here()?, Some(reason), &request).await?,
                // A reason was typed: whatever happened meanwhile, a release is not what was asked for.
                (Some(_), Some(hold)) => return Err(held_already(policy()?, here()?, &hold).into()),
            },
            Deed::Unblock => operator.unblock(here()?, &request).await?,
        };
        Ok(Some(plan))
    }
}

impl Source for Acting {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.engine.fleet()
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Prepare(wish) => Answer::Prepared(Arc::new(self.prepare(&wish).await)),
            Ask::Formers { environment, policy } => Answer::Formers(Arc::new(self.formers(&policy, &environment).await)),
            Ask::Gates { road, history } => {
                let pending = self.pending().await;
                Answer::Gates(all_gates(&self.engine, &road, history.as_ref(), pending).await)
            }
            ask => Source::answer(&self.engine, ask).await,
        }
    }

    fn reconnect(&self, environment: &str) {
        self.engine.reconnect(environment);
    }

    async fn carry_out(&self, plans: Arc<[Plan]>, told: watch::Sender<Progress>) -> Carried {
        let mut carried = Vec::new();
        for (place, plan) in plans.iter().enumerate() {
            told.send_replace(Progress { plan: place, stage: None });
            let tell = |stage| {
                told.send_replace(Progress { plan: place, stage: Some(stage) });
            };
            let result = self.operator.carry_out_telling(plan, &tell).await;
            let done = result.as_ref().is_ok_and(Outcome::is_done);
            // It may have been a commit.
            self.repositories.lock().await.take();
            carried.push(result);
            if !done {
                break;
            }
        }
        carried.into()
    }
}
