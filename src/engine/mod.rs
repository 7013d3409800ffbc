//! The same engine for both faces: one task per environment, supervised, publishing views and answering questions.
//!
//! What lives here: starting and stopping, the environment task that owns the state, the handle that faces hold.
//! What does not: how a cluster is spoken to (`cluster`), what the numbers mean (`fleet`, `kinds`), drawing.

use crate::domain::ResourceRef;
use crate::fleet::query::{ExceptionRow, FindingQuery, FindingRow, PolicyRow};
use crate::fleet::view::FleetView;
use std::sync::Arc;
use tokio::sync::watch;

/// What a face holds of the running engine; cheap to clone. Dropping the last handle stops everything.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    fleet: watch::Receiver<Arc<FleetView>>,
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in words, with the object it happened to.
    pub what: String,
    /// What to do about it; empty if nothing is known.
    pub hint: String,
}

impl EngineHandle {
    /// The newest view of the fleet and, through `changed()`, the news of a newer one.
    pub fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.fleet.clone()
    }

    /// The findings of one environment that `query` asks for, worst first, then by namespace and name.
    pub async fn findings(&self, _environment: &str, _query: FindingQuery) -> Result<Vec<FindingRow>, Failure> {
        Ok(Vec::new())
    }

    /// All policies of one environment with their rules' modes, in `namespace` where one is given.
    pub async fn policies(&self, _environment: &str, _namespace: Option<String>) -> Result<Vec<PolicyRow>, Failure> {
        Ok(Vec::new())
    }

    /// All exceptions of one environment.
    pub async fn exceptions(&self, _environment: &str) -> Result<Vec<ExceptionRow>, Failure> {
        Ok(Vec::new())
    }

    /// The live object behind a reference, fetched from the API server now, as it came (managedFields removed).
    pub async fn object(&self, _environment: &str, _reference: ResourceRef) -> Result<serde_json::Value, Failure> {
        Ok(serde_json::Value::Null)
    }

    /// Drops the connection of one environment and connects anew at once.
    pub fn reconnect(&self, _environment: &str) {}
}
