//! Policy statuses: Ready a moment after creation, not ready when a matched kind is not there.
//!
//! Not here: whether a policy judges (`super::engine` reads this status as anybody would).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::classic;
use super::engine::POLICY_KINDS;
use super::matching::{kinds, strings};
use crate::demo::catalog::Resource;
use crate::demo::cluster::{Cluster, rfc3339};
use crate::demo::patch::PatchKind;
use crate::demo::store::{Handle, Key, text};
use crate::demo::write::{self, Options};

/// Runs until the demo ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut waker = cluster.store().any_waker();
    loop {
        if outdated(&cluster).is_empty() {
            if waker.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::time::sleep(cluster.pace.ready).await;
        settle(&cluster, Timestamp::now());
    }
}

/// Writes every status that is not what it should be.
pub(crate) fn settle(cluster: &Cluster, now: Timestamp) {
    for (kind, key, wanted) in outdated(cluster) {
        let Some(resource) = cluster.catalog.all().get(kind) else {
            continue;
        };
        let mut options = Options::internal(resource, "kyverno");
        options.status = true;
        options.now = now;
        // The policy may be gone by now; then there is nothing to say about it.
        let _ = write::patch(cluster, resource, &key, PatchKind::Merge, &json!({"status": dated(wanted, now)}), &options);
    }
}

fn outdated(cluster: &Cluster) -> Vec<(usize, Key, Value)> {
    let store = cluster.store();
    let mut out = Vec::new();
    for (group, plural) in POLICY_KINDS {
        let Some(resource) = cluster.resource(group, plural) else {
            continue;
        };
        for (key, object) in store.rows(resource.index) {
            if let Some(wanted) = wanted(cluster, resource, object)
                && undated(object.value.get("status").cloned().unwrap_or_default()) != wanted
            {
                out.push((resource.index, key.clone(), wanted));
            }
        }
    }
    out
}

fn conditions_of(status: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    let Some(map) = status.as_object_mut() else {
        return found;
    };
    for (name, value) in map {
        let list = match name.as_str() {
            "conditions" => value.as_array_mut(),
            "conditionStatus" => value.get_mut("conditions").and_then(Value::as_array_mut),
            _ => None,
        };
        found.extend(list.into_iter().flatten());
    }
    found
}

fn dated(mut status: Value, now: Timestamp) -> Value {
    for condition in conditions_of(&mut status) {
        condition["lastTransitionTime"] = json!(rfc3339(now));
    }
    status
}

fn undated(mut status: Value) -> Value {
    for condition in conditions_of(&mut status) {
        if let Some(map) = condition.as_object_mut() {
            map.remove("lastTransitionTime");
        }
    }
    status
}

/// The status a policy should have, without times; `None` for kinds that get none here.
fn wanted(cluster: &Cluster, resource: &Resource, object: &Handle) -> Option<Value> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("kyverno.io", "ClusterPolicy" | "Policy") => Some(classic_status(cluster, &object.value)),
        ("policies.kyverno.io", kind) => Some(cel_status(cluster, kind, &object.value)),
        _ => None,
    }
}

fn classic_status(cluster: &Cluster, policy: &Value) -> Value {
    let empty = Vec::new();
    let rules = policy["spec"]["rules"].as_array().unwrap_or(&empty);
    let count = |name: &str| rules.iter().filter(|rule| rule.get(name).is_some()).count();
    let known = |kind: &str| {
        let kind = kind.rsplit('/').next().unwrap_or(kind);
        kind.contains('*') || cluster.catalog.all().iter().any(|resource| resource.kind == kind)
    };
    let ready = rules.iter().flat_map(|rule| kinds(&rule["match"])).all(known);
    let (status, reason, message) = if ready { ("True", "Succeeded", "Ready") } else { ("False", "Failed", "Not Ready") };
    let generated: Vec<Value> = rules.iter().filter_map(autogen_rule).collect();
    json!({
        "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}],
        "rulecount": {"validate": count("validate"), "mutate": count("mutate"), "generate": count("generate"), "verifyimages": count("verifyImages")},
        "autogen": if generated.is_empty() { json!({}) } else { json!({"rules": generated}) },
        "validatingadmissionpolicy": {"generated": false, "message": ""},
    })
}

/// The rule Kyverno generates for controllers, as far as its shape can be told here.
fn autogen_rule(rule: &Value) -> Option<Value> {
    if !classic::can_autogen(rule) || rule["validate"].get("pattern").is_none() {
        return None;
    }
    let controllers = ["DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];
    let mut generated = rule.clone();
    generated["name"] = json!(format!("autogen-{}", text(rule, "/name")));
    generated["match"] = json!({"any": [{"resources": {"kinds": controllers}}]});
    generated["validate"]["pattern"] = json!({"spec": {"template": rule["validate"]["pattern"]}});
    Some(generated)
}

fn cel_status(cluster: &Cluster, kind: &str, policy: &Value) -> Value {
    let rules = policy.pointer("/spec/matchConstraints/resourceRules").and_then(Value::as_array);
    let missing: Vec<String> = rules
        .into_iter()
        .flatten()
        .flat_map(|rule| {
            let groups = strings(rule, "apiGroups");
            let served =
                |plural: &str| plural == "*" || groups.iter().any(|group| *group == "*" || cluster.resource(group, plural).is_some());
            strings(rule, "resources").into_iter().filter(|plural| !served(plural)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    // Ready is about permissions too: it goes false while the webhook is in place and blocks (1.19).
    let granted = missing.is_empty();
    let rbac = if granted {
        "Policy is ready for reporting.".to_owned()
    } else {
        format!(
            "Policy is not ready for reporting, missing permissions: requires permissions get,list,watch for resource {}",
            missing.join(", ")
        )
    };
    let mut conditions = vec![json!({
        "type": "RBACPermissionsGranted", "status": if granted { "True" } else { "False" },
        "reason": if granted { "Succeeded" } else { "Failed" }, "message": rbac,
    })];
    if !kind.contains("Deleting") {
        conditions
            .insert(0, json!({"type": "WebhookConfigured", "status": "True", "reason": "Succeeded", "message": "Webhook configured."}));
    }
    let mut status = json!({"conditionStatus": {"ready": granted, "message": "", "conditions": conditions}});
    if kind.contains("ValidatingPolicy") || kind.contains("MutatingPolicy") {
        status["autogen"] = json!({});
        status["generated"] = json!(false);
    }
    status
}
