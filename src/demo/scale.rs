//! The `scale` subresource: a view of `spec.replicas` that `kubectl scale` reads and patches.
//!
//! Not here: making the pods (`super::controllers`).

use serde_json::{Value, json};

use super::catalog::Resource;
use super::cluster::Cluster;
use super::failure::Failure;
use super::patch::{self, PatchKind};
use super::store::{Key, text};
use super::write::{self, Options};

fn of(object: &Value) -> Value {
    let wanted = object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<String> =
        wanted.into_iter().flatten().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let metadata = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {"replicas": object["status"]["replicas"].as_u64().unwrap_or(0), "selector": selector.join(",")},
    })
}

pub(crate) fn read(cluster: &Cluster, resource: &Resource, key: &Key) -> Result<Value, Failure> {
    let found = cluster.store().get(resource.index, key).cloned();
    let missing = || Failure::not_found(&resource.plural, &resource.group, &key.name);
    found.map(|object| of(&object.value)).ok_or_else(missing)
}

/// A patched scale, or a whole one when `kind` is none.
pub(crate) fn write(
    cluster: &Cluster,
    resource: &Resource,
    key: &Key,
    kind: Option<PatchKind>,
    body: &Value,
    options: &Options,
) -> Result<Value, Failure> {
    let now = read(cluster, resource, key)?;
    let next = match kind {
        Some(kind) => patch::patched(kind, &now, body)?,
        None => body.clone(),
    };
    let mut change = json!({"spec": {"replicas": next["spec"]["replicas"].as_u64().unwrap_or(0)}});
    let version = text(&next, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(&now, "/metadata/resourceVersion") {
        change["metadata"] = json!({"resourceVersion": version});
    }
    let written = write::patch(cluster, resource, key, PatchKind::Merge, &change, options)?;
    Ok(of(&written.object.value))
}
