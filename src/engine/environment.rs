//! The task that owns one environment's state: folds deltas in, publishes views, answers questions.

use crate::cluster::{Signals, contained};
use crate::domain::{Claim, Exception, Mode, Policy, PolicyKey};
use crate::fleet::delta::Delta;
use crate::fleet::query::{BlockedRow, ExceptionUses, FindingQuery, FindingRow, OldestResult, PolicyRow, WouldBlock};
use crate::fleet::state::{Changes, EnvironmentState};
use crate::fleet::view::FleetView;
use crate::kinds::mode::Kyverno;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// Views are published at most this often; the first change after a pause at once.
const FRAME: Duration = Duration::from_millis(33);
/// While the first lists arrive every batch changes something; nobody reads numbers that move faster than this.
const FILLING: Duration = Duration::from_millis(200);
/// A change of nothing but evaluation times is shown this much later at most.
const RETIMED: Duration = Duration::from_secs(10);
/// How often what churn leaves behind is given back. The station's heartbeat brings a delta every few seconds, however quiet the cluster.
const TIDY: Duration = Duration::from_secs(10);
/// Deltas folded before the batch is settled.
const BATCH: usize = 8;

/// A question and where its answer goes.
#[derive(Debug)]
pub(super) enum Question {
    Findings(FindingQuery, oneshot::Sender<Vec<FindingRow>>),
    HasNamespace(String, oneshot::Sender<Option<bool>>),
    Policies(Option<String>, oneshot::Sender<Vec<PolicyRow>>),
    Blocked(Option<PolicyKey>, oneshot::Sender<Vec<BlockedRow>>),
    Exceptions(oneshot::Sender<ExceptionUses>),
    Kyverno(oneshot::Sender<Kyverno>),
    ModesIn(Box<Policy>, BTreeSet<String>, oneshot::Sender<BTreeMap<String, Mode>>),
    Oldest(Option<PolicyKey>, oneshot::Sender<Vec<OldestResult>>),
    Claims(Option<PolicyKey>, oneshot::Sender<BTreeMap<PolicyKey, Vec<Claim>>>),
    WouldBlock(Option<PolicyKey>, oneshot::Sender<Vec<(PolicyKey, WouldBlock)>>),
    Violations(PolicyKey, oneshot::Sender<Vec<FindingRow>>),
    ExceptionsAlone(oneshot::Sender<Vec<Arc<Exception>>>),
}

/// Runs a task until the station or all handles are gone. A panic in it ends this environment: what was known stays, and the view says why it is old.
pub(super) async fn attend(task: EnvironmentTask, name: Arc<str>, deltas: mpsc::Receiver<Delta>, questions: mpsc::Receiver<Question>) {
    let (place, fleet) = (task.place, task.fleet.clone());
    if let Err(error) = contained("state", &name, task.run(deltas, questions)).await {
        tracing::error!(environment = %name, %error, "the environment ended");
        fleet.send_modify(|fleet| {
            if let Some(view) = Arc::make_mut(fleet).environments.get_mut(place) {
                *view = Arc::new(view.ended(format!("{error}. Start policydeck again"), Timestamp::now()));
            }
        });
    }
}

/// See the module.
pub(super) struct EnvironmentTask {
    place: usize,
    state: EnvironmentState,
    fleet: watch::Sender<Arc<FleetView>>,
    signals: Signals,
    /// When the engine started.
    started: Instant,
    published: Instant,
    /// When the next view is due.
    due: Option<Instant>,
    tidied: Instant,
    /// Everything was known once.
    complete: bool,
}

impl EnvironmentTask {
    pub(super) fn new(
        place: usize,
        state: EnvironmentState,
        fleet: watch::Sender<Arc<FleetView>>,
        signals: Signals,
        started: Instant,
    ) -> Self {
        Self { place, state, fleet, signals, started, published: started, due: None, tidied: started, complete: false }
    }

    /// Runs until the station or all handles are gone.
    async fn run(mut self, mut deltas: mpsc::Receiver<Delta>, mut questions: mpsc::Receiver<Question>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = self.due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                question = questions.recv() => match question {
                    Some(question) => self.answer(question),
                    None => return,
                },
                () = sleep_until(due), if self.due.is_some() => self.publish(),
                received = deltas.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
                    }
                    self.fold(&mut batch);
                    // Folding a long list must not keep the worker from other environments.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn fold(&mut self, batch: &mut Vec<Delta>) {
        let now = Timestamp::now();
        // Whole seconds are enough for a sign of life.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        for delta in batch.drain(..) {
            self.state.apply(delta, now);
        }
        self.state.settle();
        if self.tidied.elapsed() > TIDY {
            self.state.tidy();
            self.tidied = Instant::now();
        }
        self.signals.needed_owners.send_if_modified(|needed| {
            let changed = needed != self.state.needed_owners();
            if changed {
                needed.clone_from(self.state.needed_owners());
            }
            changed
        });
        let to_ask = self.state.to_ask();
        self.signals.to_ask.send_if_modified(|asked| {
            let changed = *asked != to_ask;
            *asked = to_ask;
            changed
        });
        let wanted = match self.state.take_changes() {
            Changes { visible: true, .. } if self.has_become_complete() => Instant::now(),
            Changes { visible: true, .. } => self.published + FRAME,
            Changes { filling: true, .. } => self.next_beat(),
            Changes { retimed: true, .. } => self.published + RETIMED,
            _ => return,
        };
        let wanted = wanted.max(Instant::now());
        self.due = Some(self.due.map_or(wanted, |due| due.min(wanted)));
    }

    /// Commands wait for this moment.
    fn has_become_complete(&mut self) -> bool {
        let complete = self.state.is_complete();
        complete && !std::mem::replace(&mut self.complete, complete)
    }

    /// The next moment at which all environments publish what fills them, together, so that the screen is drawn once for all of them.
    fn next_beat(&self) -> Instant {
        let since = self.started.elapsed();
        let beats = since.as_millis() / FILLING.as_millis() + 1;
        self.started + FILLING * u32::try_from(beats).unwrap_or(u32::MAX)
    }

    fn publish(&mut self) {
        self.due = None;
        self.published = Instant::now();
        let view = Arc::new(self.state.view());
        self.fleet.send_modify(|fleet| {
            if let Some(place) = Arc::make_mut(fleet).environments.get_mut(self.place) {
                *place = view;
            }
        });
    }

    /// Answers; a question whose asker has gone is dropped.
    fn answer(&mut self, question: Question) {
        // An asker that has gone does not want the answer any more.
        match question {
            Question::Findings(query, answer) => drop(answer.send(self.state.findings(&query))),
            Question::HasNamespace(name, answer) => drop(answer.send(self.state.has_namespace(&name))),
            Question::Policies(namespace, answer) => drop(answer.send(self.state.policy_rows(namespace.as_deref()))),
            Question::Blocked(policy, answer) => drop(answer.send(self.state.blocked_rows(policy.as_ref()))),
            Question::Oldest(policy, answer) => drop(answer.send(self.state.oldest_results(policy.as_ref()))),
            Question::ModesIn(policy, namespaces, answer) => drop(answer.send(self.state.modes_in(&policy, namespaces))),
            Question::WouldBlock(policy, answer) => drop(answer.send(self.state.would_block(policy.as_ref()))),
            Question::Claims(policy, answer) => drop(answer.send(self.state.claims(policy.as_ref()))),
            Question::Violations(policy, answer) => drop(answer.send(self.state.violations(&policy))),
            Question::Kyverno(answer) => drop(answer.send(self.state.kyverno().clone())),
            Question::Exceptions(answer) => drop(answer.send(self.state.exception_uses())),
            Question::ExceptionsAlone(answer) => drop(answer.send(self.state.exceptions())),
        }
    }
}
