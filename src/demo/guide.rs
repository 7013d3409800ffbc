//! Guiding a person through a story: a sentence at a time, the next one when the clusters are as the last one asks.
//!
//! It looks at the clusters only, so that it does not matter how somebody got there. Not here: showing the sentences.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use super::DemoError;
use super::scenario::{Raw, Reference, Step};
use super::server::Server;

/// How often the clusters are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Where a ClusterPolicy says what becomes of what breaks it.
const MODES: [&str; 2] = ["/spec/rules/0/validate/failureAction", "/spec/validationFailureAction"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHint {
    say: String,
    /// A ClusterPolicy; without one the sentence stays.
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    environment: String,
    /// `Audit` or `Enforce`.
    #[serde(default)]
    mode: Option<String>,
    /// A field of it that must be what `is` says.
    #[serde(default)]
    pointer: Option<String>,
    #[serde(default)]
    is: Option<Value>,
    /// What happens when it is so.
    #[serde(default)]
    then: Option<Raw>,
}

/// A sentence, and what it asks for.
#[derive(Debug, Clone)]
pub(super) struct Hint {
    say: String,
    until: Option<Until>,
    then: Option<Step>,
}

#[derive(Debug, Clone)]
struct Until {
    environment: String,
    of: Reference,
    pointers: Vec<String>,
    is: Value,
}

impl Hint {
    pub(super) fn read(raw: RawHint) -> Result<Self, DemoError> {
        let asked = match (raw.mode, raw.pointer, raw.is) {
            (Some(mode), None, None) => Some((MODES.map(str::to_owned).to_vec(), Value::from(mode))),
            (None, Some(pointer), Some(is)) => Some((vec![pointer], is)),
            _ => None,
        };
        let until = match (raw.policy, asked) {
            (Some(name), Some((pointers, is))) => {
                let of = Reference { resource: "clusterpolicies.kyverno.io".to_owned(), namespace: String::new(), name };
                Some(Until { environment: raw.environment, of, pointers, is })
            }
            (None, None) => None,
            _ => return Err(DemoError::Scenario(format!("guide: \"{}\" names a policy and a mode, or a pointer and a value", raw.say))),
        };
        Ok(Self { say: raw.say, until, then: raw.then.map(Step::read).transpose()? })
    }
}

impl Until {
    fn holds(&self, servers: &[Arc<Server>]) -> bool {
        let Some(server) = servers.iter().find(|server| server.cluster.profile.name == self.environment) else { return false };
        let cluster = &server.cluster;
        let Ok(resource) = self.of.find(cluster) else { return false };
        let object = cluster.store().get(resource.index, &self.of.key()).cloned();
        // The first place that says anything counts.
        object.is_some_and(|object| self.pointers.iter().find_map(|pointer| object.value.pointer(pointer)) == Some(&self.is))
    }
}

/// Says one sentence after the other.
pub(super) async fn guide(hints: Vec<Hint>, servers: Vec<Arc<Server>>, said: watch::Sender<Arc<str>>) {
    let count = hints.len();
    for (n, hint) in hints.into_iter().enumerate() {
        said.send_replace(Arc::from(format!("{}/{count}  {}", n + 1, hint.say)));
        let Some(until) = hint.until else { return };
        while !until.holds(&servers) {
            tokio::time::sleep(LOOK).await;
        }
        if let Some(then) = hint.then {
            then.happen_in_time(&servers).await;
        }
    }
}
