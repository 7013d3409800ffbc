//! Fetching one live object behind a finding.

use super::pages::percent;
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use crate::domain::ResourceRef;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
}

/// The object as it is now, whole but for `managedFields`.
pub(super) async fn fetch(requests: &Requests, reference: &ResourceRef) -> Result<Value, Refusal> {
    let version = if reference.api_version.is_empty() { "v1" } else { &reference.api_version };
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let list: ResourceList = requests.json(&root, JSON).await?;
    let Some(resource) = list.resources.iter().find(|r| r.kind == reference.kind && !r.name.contains('/')) else {
        return Err(Refusal::NotFound(format!("{version} has no kind {}", reference.kind)));
    };
    let namespace = if resource.namespaced { format!("/namespaces/{}", percent(&reference.namespace)) } else { String::new() };
    let mut object: Value = requests.json(&format!("{root}{namespace}/{}/{}", resource.name, percent(&reference.name)), JSON).await?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
}

/// Reads one object as it is now, through the environment's current connection.
///
/// # Errors
/// A [`Refusal`], also while the environment is not connected.
pub async fn read_object(signals: &super::Signals, reference: &ResourceRef) -> Result<Value, Refusal> {
    let requests = signals.current.borrow().clone();
    match requests {
        Some(requests) => fetch(&requests, reference).await,
        None => Err(Refusal::Unreachable("not connected".to_owned())),
    }
}
