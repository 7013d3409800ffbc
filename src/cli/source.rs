//! What commands ask of the engine: its handle, or a fixture in tests.

use crate::domain::{Gate, PolicyId};
use crate::engine::{EngineHandle, Failure, HistoryReader, gates};
use crate::fleet::query::{FindingQuery, FindingRow, PolicyRow};
use crate::fleet::view::FleetView;
use crate::ops::road::Road;
use jiff::Timestamp;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

/// Which gate is asked for.
#[derive(Debug, Clone, Copy)]
pub struct GateQuestion<'a> {
    /// The road.
    pub road: &'a Road,
    /// What was recorded.
    pub history: Option<&'a HistoryReader>,
    /// The policy.
    pub policy: &'a PolicyId,
    /// The step it would go to; without it, the next.
    pub to: Option<&'a str>,
}

/// Views and the rows behind them.
pub trait Source {
    /// The newest view, and the news of newer ones.
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>>;
    /// Findings of one environment.
    fn findings(&self, environment: &str, query: FindingQuery) -> impl Future<Output = Result<Vec<FindingRow>, Failure>>;
    /// Policies of one environment, with their modes in a namespace.
    fn policies(&self, environment: &str, namespace: Option<String>) -> impl Future<Output = Result<Vec<PolicyRow>, Failure>>;
    /// The gate before the step that `to` names, or before the next.
    fn gate(&self, question: GateQuestion<'_>, now: Timestamp) -> impl Future<Output = Result<Gate, String>>;
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

    async fn gate(&self, question: GateQuestion<'_>, now: Timestamp) -> Result<Gate, String> {
        let GateQuestion { road, history, policy, to } = question;
        gates::gather(self, road, Some(policy), history, now).await.gate(road, policy, to, now)
    }
}
