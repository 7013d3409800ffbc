//! Where views and answers come from.
//!
//! What lives here: the seam between the screen and the engine, so that tests can stand in for it. What does not: anything else.

use super::msg::{Answer, Ask};
use crate::engine::EngineHandle;
use crate::fleet::query::FindingRow;
use crate::fleet::view::FleetView;
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
