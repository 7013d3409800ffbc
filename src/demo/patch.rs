//! The patch kinds that work on documents: JSON Patch, merge patch, strategic merge patch.
//!
//! Not here: server-side apply, which is about owners (`super::managed`).

use serde_json::{Map, Value};

use super::failure::Failure;

/// How a patch body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// The document after a patch that is not an apply.
pub(crate) fn patched(kind: PatchKind, live: &Value, patch: &Value) -> Result<Value, Failure> {
    let mut document = live.clone();
    match kind {
        PatchKind::Json => {
            let patch: json_patch::Patch =
                serde_json::from_value(patch.clone()).map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
            // The real server does not say which operation failed either.
            json_patch::patch(&mut document, &patch)
                .map_err(|_| Failure::new(422, "Invalid", "the server rejected our request due to an error in our request"))?;
        }
        PatchKind::Strategic => strategic(&mut document, patch),
        PatchKind::Merge | PatchKind::Apply => json_patch::merge(&mut document, patch),
    }
    Ok(document)
}

/// The field that identifies an element of a list of Kubernetes' own kinds (the `patchMergeKey` tags of
/// `k8s.io/api`); lists not named here are replaced whole.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "ports" => Some("containerPort"),
        "conditions" => Some("type"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

/// A reduced strategic merge: maps merge, keyed lists merge by key, `$patch` deletes or replaces.
fn strategic(document: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *document = patch.clone();
        return;
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        *document = Value::Object(without_directives(patch));
        return;
    }
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Some(map) = document.as_object_mut() else {
        return;
    };
    for (name, change) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(items) = map.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
            // $setElementOrder and $retainKeys only order or prune what the merge leaves; order is not kept here.
        } else if change.is_null() {
            map.remove(name);
        } else {
            let slot = map.entry(name.clone()).or_insert(Value::Null);
            match (merge_key(name), change) {
                (Some(key), Value::Array(changes)) => merge_list(slot, changes, key),
                _ => strategic(slot, change),
            }
        }
    }
}

fn merge_list(slot: &mut Value, changes: &[Value], key: &str) {
    let mut items = slot.as_array().cloned().unwrap_or_default();
    for change in changes {
        // Service ports are keyed by `port`, container ports by `containerPort`.
        let key = if change.get(key).is_none() && change.get("port").is_some() { "port" } else { key };
        let same = |item: &Value| item.get(key).is_some() && item.get(key) == change.get(key);
        if change.get("$patch").and_then(Value::as_str) == Some("delete") {
            items.retain(|item| !same(item));
        } else if let Some(item) = items.iter_mut().find(|item| same(item)) {
            strategic(item, change);
        } else if let Value::Object(map) = change {
            items.push(Value::Object(without_directives(map)));
        }
    }
    *slot = Value::Array(items);
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().filter(|(name, _)| !name.starts_with('$')).map(|(n, v)| (n.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_merge_by_name() {
        let live = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "image": "x:2"}, {"name": "b", "$patch": "delete"}]}});
        let after = patched(PatchKind::Strategic, &live, &patch).unwrap();
        assert_eq!(after, json!({"spec": {"containers": [{"name": "a", "image": "x:2"}]}}));
    }

    #[test]
    fn a_failed_test_is_unprocessable() {
        let patch = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(patched(PatchKind::Json, &json!({"a": 1}), &patch).unwrap_err().code, 422);
    }
}
