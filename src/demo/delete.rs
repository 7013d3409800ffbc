//! Deleting: preconditions, finalizers, orphans.
//!
//! Not here: what a deleted owner takes with it (`super::controllers`).

use jiff::Timestamp;
use serde_json::Value;

use super::catalog::Resource;
use super::cluster::{Cluster, rfc3339};
use super::failure::Failure;
use super::store::{Handle, Key, Store, text};

/// Deletes one object, or marks it when something still has to be finished.
///
/// `by` is the client that asked for it, where one did.
pub(crate) fn delete(
    cluster: &Cluster,
    resource: &Resource,
    key: &Key,
    wishes: &Value,
    dry_run: bool,
    by: Option<&str>,
) -> Result<(Handle, bool), Failure> {
    let mut store = cluster.store();
    let old = store.get(resource.index, key).cloned();
    let old = old.ok_or_else(|| Failure::not_found(&resource.plural, &resource.group, &key.name))?;
    for (field, own) in [("uid", old.uid()), ("resourceVersion", text(&old.value, "/metadata/resourceVersion"))] {
        let wanted = text(wishes, &format!("/preconditions/{field}"));
        if !wanted.is_empty() && wanted != own {
            let why = format!("Precondition failed: {field} in precondition: {wanted}, in object meta: {own}");
            return Err(Failure::conflict(&resource.plural, &resource.group, &key.name, &why));
        }
    }
    let held = old.value.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
    let namespace = resource.group.is_empty() && resource.kind == "Namespace";
    if dry_run || ((held || namespace) && old.value.pointer("/metadata/deletionTimestamp").is_some()) {
        return Ok((old, !held && !namespace));
    }
    if text(wishes, "/propagationPolicy") == "Orphan" {
        orphan(cluster, &mut store, old.uid());
    }
    if held || namespace {
        let mut marked = old.value.clone();
        marked["metadata"]["deletionTimestamp"] = Value::from(rfc3339(Timestamp::now()));
        if namespace {
            marked["status"]["phase"] = Value::from("Terminating");
        }
        return Ok((store.put(resource.index, key.clone(), marked), false));
    }
    let gone = store.remove(resource.index, key);
    if let (Some(by), Some(_)) = (by, &gone) {
        cluster.tell(resource, by, Some(&old), None);
    }
    Ok((gone.unwrap_or(old), true))
}

/// Takes an owner out of its dependants, so that they outlive it.
fn orphan(cluster: &Cluster, store: &mut Store, uid: &str) {
    let mut freed = Vec::new();
    for resource in cluster.catalog.all() {
        for (key, object) in store.rows(resource.index) {
            let owners = object.value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            if owners.is_some_and(|owners| owners.iter().any(|owner| text(owner, "/uid") == uid)) {
                let mut value = object.value.clone();
                if let Some(owners) = value.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
                    owners.retain(|owner| text(owner, "/uid") != uid);
                }
                freed.push((resource.index, key.clone(), value));
            }
        }
    }
    for (kind, key, value) in freed {
        store.put(kind, key, value);
    }
}
