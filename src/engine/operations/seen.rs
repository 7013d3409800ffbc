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
    /// Asks the cluster who it is.
    pub(super) async fn look(engine: &EngineHandle, settings: &EnvironmentSettings) -> Result<Self, Failure> {
        let name = &settings.name;
        let signals = &engine.environment(name)?.signals;
        let cluster_uid = cluster_uid(signals).await;
        let cluster_uid = cluster_uid.map_err(|refusal| Failure { what: format!("{name}: {refusal}"), hint: String::new() })?;
        let fleet = engine.fleet().borrow().clone();
        let view = fleet.environment(name);
        Ok(Self {
            settings: settings.clone(),
            cluster_uid,
            server: view.and_then(|view| view.server.as_deref()).unwrap_or_default().to_owned(),
            kyverno: engine.kyverno(name).await?,
            served: Vec::new(),
            schema: None,
        })
    }

    /// Asks it also what it knows of a kind: for plans that write one.
    pub(super) async fn look_at(engine: &EngineHandle, settings: &EnvironmentSettings, kind: &'static Kind) -> Result<Self, Failure> {
        let seen = Self::look(engine, settings).await?;
        let signals = &engine.environment(&settings.name)?.signals;
        let id = KindId::find(kind.group, kind.kind);
        let Some(version) = id.and_then(|id| signals.served.borrow().get(&id).copied()) else { return Ok(seen) };
        // Where it may not be read, only the server's own strict check finds fields that it does not know.
        Ok(Self { served: vec![version], schema: schema(signals, kind.group, version).await.ok(), ..seen })
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            settings: &self.settings,
            cluster_uid: &self.cluster_uid,
            server: &self.server,
            kyverno: &self.kyverno,
            served: &self.served,
            schema: self.schema.as_ref(),
            through_git: false,
        }
    }
}
