//! Where an operation acts, and who asks for it.

use crate::domain::PolicyId;
use crate::kinds::Kind;
use crate::kinds::mode::Kyverno;
use crate::kinds::transfer::{schema_of, unknown_fields};
use crate::settings::EnvironmentSettings;
use jiff::Timestamp;
use serde_json::Value;

/// One environment, as far as operations depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its configuration.
    pub settings: &'a EnvironmentSettings,
    /// UID of its namespace `kube-system`.
    pub cluster_uid: &'a str,
    /// URL of its API server.
    pub server: &'a str,
    /// Its Kyverno.
    pub kyverno: &'a Kyverno,
    /// The versions of the policy's kind that it serves.
    pub served: &'a [&'a str],
    /// What it knows of the kind: its CRD, or the document of `/openapi/v3` of its group and version. `None` where that could not be read; then
    /// only the server's own strict check finds unknown fields.
    pub schema: Option<&'a Value>,
    /// What is written here becomes a commit ([`super::commit`]): then nobody needs to be asked who keeps the object in the cluster.
    pub through_git: bool,
}

impl Place<'_> {
    /// The fields of an object that this place's schema does not know.
    pub(super) fn unknown_fields(&self, kind: &Kind, object: &Value) -> Vec<String> {
        let version = object.get("apiVersion").and_then(Value::as_str).and_then(|version| version.rsplit('/').next()).unwrap_or_default();
        let schema = self.schema.and_then(|document| Some((document, schema_of(document, kind, version)?)));
        schema.map_or_else(Vec::new, |(document, schema)| unknown_fields(object, schema, document))
    }
}

/// Who asks for an operation, when, and by what right.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Now.
    pub at: Timestamp,
    /// Who.
    pub by: &'a str,
    /// The ticket that allows it.
    pub ticket: Option<&'a str>,
    /// Why, where that was said.
    pub reason: Option<&'a str>,
    /// The gate as it is now, as its own JSON; `null` where none is needed.
    pub gate: &'a Value,
}

/// An object's identity, as the object itself says.
pub(super) fn id_of(kind: &Kind, object: &Value) -> PolicyId {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    PolicyId {
        group: kind.group.to_owned(),
        kind: kind.kind.to_owned(),
        namespace: kind.namespaced.then(|| text("/metadata/namespace")),
        name: text("/metadata/name"),
    }
}
