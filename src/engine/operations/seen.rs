//! An environment as a plan needs to know it.

use crate::cluster::{cluster_uid, schema};
use crate::engine::{EngineHandle, Failure};
use crate::kinds::mode::Kyverno;
use crate::kinds::{Kind, KindId};
use crate::ops::Place;
use crate::settings::EnvironmentSettings;
use serde_json::Value;

/// What was found out.
pub(super) struct Seen {
    settings: EnvironmentSettings,
    cluster_uid: String,
    server: String,
    kyverno: Kyverno,
    served: Vec<&'static str>,
    schema: Option<Value>,
}

impl Seen {
    /// Asks the cluster who it is and what it knows of `kind`.
    pub(super) async fn look(engine: &EngineHandle, settings: &EnvironmentSettings, kind: &'static Kind) -> Result<Self, Failure> {
        let name = &settings.name;
        let signals = &engine.environment(name)?.signals;
        let failed = |why: String| Failure { what: format!("{name}: {why}"), hint: String::new() };
        let cluster_uid = cluster_uid(signals).await.map_err(|refusal| failed(refusal.to_string()))?;
        let id = KindId::find(kind.group, kind.kind);
        let served: Vec<&'static str> = id.and_then(|id| signals.served.borrow().get(&id).copied()).into_iter().collect();
        let schema = match served.first() {
            // Where it may not be read, only the server's own strict check finds fields that it does not know.
            Some(version) => schema(signals, kind.group, version).await.ok(),
            None => None,
        };
        let fleet = engine.fleet().borrow().clone();
        let view = fleet.environments.iter().find(|view| *view.name == **name);
        Ok(Self {
            settings: settings.clone(),
            cluster_uid,
            server: view.and_then(|view| view.server.as_deref()).unwrap_or_default().to_owned(),
            kyverno: engine.kyverno(name).await?,
            served,
            schema,
        })
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            settings: &self.settings,
            cluster_uid: &self.cluster_uid,
            server: &self.server,
            kyverno: &self.kyverno,
            served: &self.served,
            schema: self.schema.as_ref(),
        }
    }
}
