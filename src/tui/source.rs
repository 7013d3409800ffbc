//! Where views and answers come from.
//!
//! What lives here: the seam between the screen and the engine, so that tests can stand in for it. What does not: anything else.

use super::acting::{self, Carried, Progress};
use super::msg::{Answer, Ask};
use super::past;
use crate::engine::gates::AllGates;
use crate::engine::operations::PendingByEnvironment;
use crate::engine::{EngineHandle, HistoryReader, gates};
use crate::fleet::query::FindingRow;
use crate::fleet::view::FleetView;
use crate::ops::plan::Plan;
use crate::ops::road::Road;
use jiff::Timestamp;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

/// What the screen needs of an engine.
pub trait Source: Clone + Send + Sync + 'static {
    /// The newest view, and the news of newer ones.
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>>;

    /// Answers a question.
    fn answer(&self, ask: Ask) -> impl Future<Output = Answer> + Send;

    /// Drops a connection and connects anew.
    fn reconnect(&self, environment: &str);

    /// Carries confirmed plans out in order; the first that does not succeed is the last. `told` is told how far it is.
    fn carry_out(&self, plans: Arc<[Plan]>, told: watch::Sender<Progress>) -> impl Future<Output = Carried> + Send {
        let _ = (plans, told);
        std::future::ready(acting::nobody().map_or_else(|declined| Arc::from([Err(declined)]), |()| Arc::from([])))
    }
}

impl Source for EngineHandle {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        Self::fleet(self)
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Findings { environment, query } => Answer::Findings(self.findings(&environment, query).await),
            Ask::Object { environment, reference } => Answer::Object(self.object(&environment, reference).await),
            Ask::Blocked { environment, policy } => Answer::Blocked(self.blocked(&environment, Some(policy)).await),
            Ask::Prepare(_) => Answer::Prepared(Arc::new(acting::nobody().into())),
            Ask::Formers { .. } => Answer::Formers(Arc::new(acting::nobody().map(|()| Vec::new()))),
            Ask::Gates { road, history } => Answer::Gates(all_gates(self, &road, history.as_ref(), PendingByEnvironment::new()).await),
            Ask::Timeline { history, policy, window, width } => {
                Answer::Timeline(past::timeline(&history, policy, window, width, Timestamp::now()).await)
            }
            Ask::Compare { history, moment } => Answer::Compared(past::compare(&history, moment).await),
            Ask::Overview { history, window } => Answer::Overview(history.overview(window, Timestamp::now()).await.map(Arc::from)),
            Ask::Journal { journal, question } => Answer::Journal(journal.answer(question).await),
            Ask::Fate(intent) => Answer::Fate(self.compare(&intent, Timestamp::now()).await),
            Ask::Elsewhere { environments, query, rule, resource } => {
                let mut found = Vec::with_capacity(environments.len());
                for environment in environments {
                    let rows = self.findings(&environment, query.clone()).await;
                    let same = |r: &FindingRow| {
                        let other = &r.resource;
                        r.rule == rule
                            && (&other.kind, &other.namespace, &other.name) == (&resource.kind, &resource.namespace, &resource.name)
                    };
                    found.push((environment, rows.map(|rows| rows.into_iter().find(same))));
                }
                Answer::Elsewhere(found)
            }
        }
    }

    fn reconnect(&self, environment: &str) {
        Self::reconnect(self, environment);
    }
}

/// The gate of every policy that has a pipeline, all judged for one moment; `pending` is what repositories say and clusters do not yet.
pub(super) async fn all_gates(
    engine: &EngineHandle,
    road: &Road,
    history: Option<&HistoryReader>,
    pending: PendingByEnvironment,
) -> AllGates {
    let now = Timestamp::now();
    let gathered = gates::gather(engine, road, None, history, now).await.with_pending(pending);
    AllGates { gates: gathered.all(road, None, now).await, violations: gathered.violations() }
}
