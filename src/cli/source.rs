//! What commands ask of the engine: its handle, or a fixture in tests.

use crate::domain::{Disregard, Gate, PolicyId};
use crate::engine::operations::{self, GitRoad, HOWEVER_LONG, PendingByEnvironment};
use crate::engine::{EngineHandle, Failure, HistoryReader, gates};
use crate::fleet::query::{FindingQuery, FindingRow, PolicyRow};
use crate::fleet::view::FleetView;
use crate::ops::position::NoStep;
use crate::ops::road::Road;
use jiff::Timestamp;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

/// Which gates are asked for.
#[derive(Debug, Clone, Copy)]
pub struct GateQuestion<'a> {
    /// The pipeline.
    pub road: &'a Road,
    /// What was recorded.
    pub history: Option<&'a HistoryReader>,
    /// The policy; without it, every policy that can be promoted.
    pub policy: Option<&'a PolicyId>,
    /// The step it would go to; without it, the next.
    pub to: Option<&'a str>,
    /// How repositories are read; without it, what is pending in them is not looked at.
    pub git: Option<&'a GitRoad>,
    /// Claims that are left out of the gate of the one policy.
    pub disregard: &'a [Disregard],
}

/// Views and the rows behind them.
pub trait Source {
    /// The newest view, and the news of newer ones.
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>>;
    /// Findings of one environment.
    fn findings(&self, environment: &str, query: FindingQuery) -> impl Future<Output = Result<Vec<FindingRow>, Failure>>;
    /// Policies of one environment, with their modes in a namespace.
    fn policies(&self, environment: &str, namespace: Option<String>) -> impl Future<Output = Result<Vec<PolicyRow>, Failure>>;
    /// Whether an environment has a namespace of this name; `None` where not all of its namespaces are known.
    fn has_namespace(&self, environment: &str, name: &str) -> impl Future<Output = Option<bool>> {
        let _ = (environment, name);
        std::future::ready(None)
    }
    /// The gates before the step that `to` names, or before the next, by policy; or why there is none.
    fn gates(&self, question: GateQuestion<'_>, now: Timestamp) -> impl Future<Output = Vec<(PolicyId, Result<Gate, NoStep>)>>;
    /// What is committed and not applied yet, by environment.
    fn pending(&self, road: &Road, git: &GitRoad) -> impl Future<Output = PendingByEnvironment> {
        let _ = (road, git);
        std::future::ready(PendingByEnvironment::new())
    }
}

impl Source for EngineHandle {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        Self::fleet(self)
    }

    fn findings(&self, environment: &str, query: FindingQuery) -> impl Future<Output = Result<Vec<FindingRow>, Failure>> {
        Self::findings(self, environment, query)
    }

    fn policies(&self, environment: &str, namespace: Option<String>) -> impl Future<Output = Result<Vec<PolicyRow>, Failure>> {
        Self::policies(self, environment, namespace)
    }

    fn has_namespace(&self, environment: &str, name: &str) -> impl Future<Output = Option<bool>> {
        Self::has_namespace(self, environment, name.to_owned())
    }

    async fn gates(&self, question: GateQuestion<'_>, now: Timestamp) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
        let GateQuestion { road, history, policy, to, git, disregard } = question;
        let gathered = gates::gather(self, road, policy, history, now).await;
        let gathered = match git {
            Some(git) => gathered.with_pending(operations::pending(self, road, git, policy, HOWEVER_LONG).await),
            None => gathered,
        };
        match policy {
            Some(policy) => vec![(policy.clone(), gathered.gate_without(road, policy, to, now, disregard))],
            None => gathered.all(road, to, now).await,
        }
    }

    async fn pending(&self, road: &Road, git: &GitRoad) -> PendingByEnvironment {
        operations::pending(self, road, git, None, HOWEVER_LONG).await
    }
}
