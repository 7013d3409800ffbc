//! The same engine for both faces: one task per environment, supervised, publishing views and answering questions.
//!
//! What lives here: starting and stopping, the environment task that owns the state, the handle that faces hold.
//! What does not: how a cluster is spoken to (`cluster`), what the numbers mean (`fleet`, `kinds`), drawing.
//!
//! ```text
//! station (cluster) ──deltas──▶ environment task: state ──views──▶ FleetView ──▶ tui, cli
//!                                     ▲  └───────────answers────────────────────▶
//!                                     └──────────────questions───────────────────
//! ```
//! All channels are bounded: a slow reader slows the download, it never fills the memory.

mod environment;
pub mod gates;
mod history;
mod journal;
pub mod operations;
pub mod recorder;

pub use crate::cluster::is_contained;
pub use history::HistoryReader;
pub use journal::{JournalAnswer, JournalQuestion, JournalReader};

use crate::cluster::{Address, ClusterSpec, Refusal, Signals, read, read_object, replicas, watch as watch_cluster};
use crate::domain::{Claim, Exception, Mode, Policy, PolicyId, PolicyKey, ResourceRef};
use crate::fleet::query::{BlockedRow, ExceptionUses, FindingQuery, FindingRow, OldestResult, PolicyRow, WouldBlock};
use crate::fleet::state::{EnvironmentState, Identity};
use crate::fleet::view::FleetView;
use crate::kinds::KindId;
use crate::kinds::metrics::Counting;
use crate::kinds::mode::Kyverno;
use environment::{EnvironmentTask, Question, attend};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Why history and journal cannot be read, where that is so: whatever depends on them is unknown.
pub async fn troubles(history: Option<&HistoryReader>, journal: Option<&JournalReader>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(history) = history {
        found.extend(history.trouble().await);
    }
    if let Some(journal) = journal {
        found.extend(journal.trouble().await);
    }
    found
}

/// Deltas that may wait for an environment's task. Each holds at most one read of a socket.
const DELTAS: usize = 16;
/// Questions that may wait.
const QUESTIONS: usize = 8;

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in words, with the object it happened to.
    pub what: String,
    /// What to do about it; empty if nothing is known.
    pub hint: String,
}

/// One environment as the handle knows it.
#[derive(Debug)]
struct EnvironmentHandle {
    name: Arc<str>,
    questions: mpsc::Sender<Question>,
    signals: Signals,
}

/// Aborts everything when the last handle goes.
#[derive(Debug)]
struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a face holds of the running engine; cheap to clone. Dropping the last handle stops everything.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    fleet: watch::Receiver<Arc<FleetView>>,
    failed: watch::Receiver<Option<Arc<str>>>,
    environments: Arc<[EnvironmentHandle]>,
    _guard: Arc<Guard>,
}

/// Starts watching all environments. Call it inside a runtime.
pub fn start(clusters: Vec<ClusterSpec>) -> EngineHandle {
    let started = tokio::time::Instant::now();
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut environments = Vec::with_capacity(clusters.len());
    let mut states = Vec::with_capacity(clusters.len());
    for spec in &clusters {
        let context = Arc::from(spec.context.as_deref().unwrap_or("current context"));
        let namespaces = spec.namespaces.clone().into();
        states.push(EnvironmentState::new(Identity { name: Arc::clone(&spec.name), tier: spec.tier, context, namespaces }));
    }
    let first = FleetView { environments: states.iter_mut().map(|state| Arc::new(state.view())).collect() };
    let fleet = watch::Sender::new(Arc::new(first));
    for (place, (spec, state)) in clusters.into_iter().zip(states).enumerate() {
        let (deltas, told) = mpsc::channel(DELTAS);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let signals = Signals::default();
        environments.push(EnvironmentHandle { name: Arc::clone(&spec.name), questions, signals: signals.clone() });
        let task = EnvironmentTask::new(place, state, fleet.clone(), signals.clone(), started);
        tasks.spawn(attend(task, Arc::clone(&spec.name), told, asked));
        tasks.spawn(watch_cluster(spec, deltas, signals));
    }
    rehearse_panic(&mut tasks);
    let failed = watch::Sender::new(None);
    let (receiver, told) = (fleet.subscribe(), failed.subscribe());
    let supervisor = tokio::spawn(supervise(tasks, failed));
    EngineHandle { fleet: receiver, failed: told, environments: environments.into(), _guard: Arc::new(Guard(supervisor.abort_handle())) }
}

/// In debug builds, `POLICYDECK_REHEARSE_PANIC=MILLISECONDS` makes a background task panic, so that tests can see the terminal restored.
fn rehearse_panic(tasks: &mut JoinSet<()>) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some(after) = std::env::var("POLICYDECK_REHEARSE_PANIC").ok().and_then(|text| text.parse().ok()) {
        tasks.spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(after)).await;
            #[expect(clippy::panic, reason = "what is rehearsed is a panic")]
            {
                panic!("a rehearsed panic in a background task");
            }
        });
    }
}

/// Waits for tasks that should never end. A panic in an environment's task is caught in the task itself. Any other is told to the face, which ends the
/// program: numbers that have silently stopped moving are worse than none.
async fn supervise(mut tasks: JoinSet<()>, failed: watch::Sender<Option<Arc<str>>>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            failed.send_replace(Some(Arc::from(panic_message(error.into_panic().as_ref()))));
            return;
        }
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a background task panicked".to_owned())
}

impl EngineHandle {
    /// The newest view of the fleet and, through `changed()`, the news of a newer one.
    pub fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.fleet.clone()
    }

    /// Becomes `Some` with the panic's message if a background task panicked: restore the terminal and end the program.
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failed.clone()
    }

    fn environment(&self, name: &str) -> Result<&EnvironmentHandle, Failure> {
        self.environments
            .iter()
            .find(|environment| &*environment.name == name)
            .ok_or_else(|| Failure { what: format!("there is no environment {name}"), hint: String::new() })
    }

    async fn ask<T>(&self, environment: &str, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Failure> {
        let stopped = || {
            let view = self.fleet.borrow().environment(environment).cloned();
            let why = view.as_ref().and_then(|view| view.link.why()).unwrap_or("the engine has stopped");
            Failure { what: format!("{environment}: {why}"), hint: String::new() }
        };
        let (answer, answered) = oneshot::channel();
        self.environment(environment)?.questions.send(question(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }

    /// The findings of one environment that `query` asks for, worst first, then by namespace and name.
    pub async fn findings(&self, environment: &str, query: FindingQuery) -> Result<Vec<FindingRow>, Failure> {
        self.ask(environment, |answer| Question::Findings(query, answer)).await
    }

    /// All policies of one environment with their rules' modes, in `namespace` where one is given.
    pub async fn policies(&self, environment: &str, namespace: Option<String>) -> Result<Vec<PolicyRow>, Failure> {
        self.ask(environment, |answer| Question::Policies(namespace, answer)).await
    }

    /// Whether an environment has a namespace of this name; `None` where not all of its namespaces are known.
    pub async fn has_namespace(&self, environment: &str, name: String) -> Option<bool> {
        self.ask(environment, |answer| Question::HasNamespace(name, answer)).await.ok().flatten()
    }

    /// The refused admissions of a policy (or of all) in one environment, newest first.
    pub async fn blocked(&self, environment: &str, policy: Option<PolicyKey>) -> Result<Vec<BlockedRow>, Failure> {
        self.ask(environment, |answer| Question::Blocked(policy, answer)).await
    }

    /// All exceptions of one environment with their uses.
    pub async fn exceptions(&self, environment: &str) -> Result<ExceptionUses, Failure> {
        self.ask(environment, Question::Exceptions).await
    }

    /// What modes depend on in an environment, as far as it could be found out.
    pub async fn kyverno(&self, environment: &str) -> Result<Kyverno, Failure> {
        self.ask(environment, Question::Kyverno).await
    }

    /// What a policy would do in each of these namespaces of one environment.
    pub async fn modes_in(
        &self,
        environment: &str,
        policy: Policy,
        namespaces: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Mode>, Failure> {
        self.ask(environment, |answer| Question::ModesIn(Box::new(policy), namespaces, answer)).await
    }

    /// The oldest result of each policy of one environment, of all policies or of one.
    pub async fn oldest_results(&self, environment: &str, policy: Option<PolicyKey>) -> Result<Vec<OldestResult>, Failure> {
        self.ask(environment, |answer| Question::Oldest(policy, answer)).await
    }

    /// What policies of one environment would block if they enforced, of all or of one; policies with too many results are left out.
    pub async fn would_block(&self, environment: &str, policy: Option<PolicyKey>) -> Result<Vec<(PolicyKey, WouldBlock)>, Failure> {
        self.ask(environment, |answer| Question::WouldBlock(policy, answer)).await
    }

    /// What reports of one environment say about policies, about all or about one, that nothing verifies.
    pub async fn claims(&self, environment: &str, policy: Option<PolicyKey>) -> Result<BTreeMap<PolicyKey, Vec<Claim>>, Failure> {
        self.ask(environment, |answer| Question::Claims(policy, answer)).await
    }

    /// The violations of a policy in one environment by workload, whatever word the report has for them.
    pub async fn violations(&self, environment: &str, policy: PolicyKey) -> Result<Vec<FindingRow>, Failure> {
        self.ask(environment, |answer| Question::Violations(policy, answer)).await
    }

    /// All exceptions of one environment, without their uses: costs nothing however many findings there are.
    pub async fn exceptions_alone(&self, environment: &str) -> Result<Vec<Arc<Exception>>, Failure> {
        self.ask(environment, Question::ExceptionsAlone).await
    }

    /// The live object behind a reference, fetched from the API server now, as it came (managedFields removed).
    pub async fn object(&self, environment: &str, reference: ResourceRef) -> Result<serde_json::Value, Failure> {
        let signals = &self.environment(environment)?.signals;
        read_object(signals, &reference).await.map_err(|refusal| object_failure(environment, &reference, &refusal))
    }

    /// The policy as the API server has it now, whole; `None` where there is none.
    pub async fn policy_object(&self, environment: &str, policy: &PolicyId) -> Result<Option<serde_json::Value>, Failure> {
        let address = self.address(environment, policy)?;
        let signals = &self.environment(environment)?.signals;
        read(signals, &address)
            .await
            .map_err(|refusal| Failure { what: format!("{environment}: {policy}: {refusal}"), hint: String::new() })
    }

    /// Where a policy is, or would be, in an environment. The error says that the kind is not served there.
    pub fn address(&self, environment: &str, policy: &PolicyId) -> Result<Address, Failure> {
        let served = self.environment(environment)?.signals.served.borrow().clone();
        let id = KindId::find(&policy.group, &policy.kind);
        let found = id.and_then(|id| served.get(&id).map(|version| (id.kind(), *version)));
        let (kind, version) = found.ok_or_else(|| Failure {
            what: format!("{environment} does not serve {}.{}", policy.kind, policy.group),
            hint: "install a Kyverno that has this kind there, or write the policy in a kind that it serves".to_owned(),
        })?;
        Ok(Address {
            group: policy.group.clone(),
            version: version.to_owned(),
            plural: kind.plural.to_owned(),
            namespace: policy.namespace.clone().unwrap_or_default(),
            name: policy.name.clone(),
        })
    }

    /// The time by the clock of an environment's API server; `None` where it is not known.
    pub fn server_time(&self, environment: &str) -> Option<Timestamp> {
        self.environment(environment).ok()?.signals.clock.now()
    }

    /// How many processes of an environment count what `counting` says, as its cluster lists them now; the error says why that is unknown.
    pub(in crate::engine) async fn replicas(&self, environment: &str, counting: Counting) -> Result<usize, String> {
        let signals = &self.environment(environment).map_err(|failure| failure.what)?.signals;
        replicas(signals, counting).await
    }

    /// Drops the connection of one environment and connects anew at once.
    pub fn reconnect(&self, environment: &str) {
        if let Ok(environment) = self.environment(environment) {
            environment.signals.reconnect.notify_one();
        }
    }
}

fn object_failure(environment: &str, reference: &ResourceRef, refusal: &Refusal) -> Failure {
    let place = if reference.namespace.is_empty() { String::new() } else { format!(" in namespace {}", reference.namespace) };
    let object = format!("{environment}: {reference}{place}");
    let (what, hint) = match refusal {
        Refusal::NotFound(_) => (format!("{object} no longer exists"), "its report will go with the next scan".to_owned()),
        Refusal::Forbidden(why) => (format!("{object}: {why}"), "ask for the ClusterRole policydeck-object-reader".to_owned()),
        other => (format!("{object}: {other}"), String::new()),
    };
    Failure { what, hint }
}

#[cfg(test)]
mod tests;
