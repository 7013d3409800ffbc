//! Whether a policy is in force is what happens to a real request: webhooks, native policies, a dead Kyverno, removed configurations.

use crate::support::cluster::{Cluster, Fleet, Options, User};
use crate::support::eventually;
use crate::support::product::Desk;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const CONFIGURATIONS: [&str; 2] = [
    "validatingwebhookconfiguration/kyverno-resource-validating-webhook-cfg",
    "mutatingwebhookconfiguration/kyverno-resource-mutating-webhook-cfg",
];

/// What `violations` says of a policy in dev.
fn cell(desk: &Desk, name: &str) -> Value {
    let (document, _) = desk.json(&["violations"]);
    let item = document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == name);
    item.map_or(Value::Null, |item| item["environments"]["dev"].clone())
}

fn until(desk: &Desk, name: &str, state: &str, reason: &str) -> Value {
    eventually(&format!("{name} is in force: {state}, {reason}"), SOON, || {
        let cell = cell(desk, name);
        let said = cell["inForce"]["reason"].as_str().unwrap_or_default();
        if cell["inForce"]["state"] == state && said.contains(reason) { Ok(cell) } else { Err(cell.to_string()) }
    })
}

/// Whether the API server takes a ConfigMap with that label.
fn takes(dev: &Cluster, label: &str) -> bool {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "namespace": "default", "labels": {"case": label}}});
    dev.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &object.to_string()).status.success()
}

fn vpol(name: &str, actions: &str, label: &str, autogen: &Value) -> String {
    json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": name}, "spec": {
        "validationActions": [actions], "autogen": autogen, "validations": [{"expression": "'ok' in object.metadata.labels", "message": "no"}],
        "matchConstraints": {"objectSelector": {"matchLabels": {"case": label}},
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]}}})
    .to_string()
}

#[test]
fn in_force_is_what_happens_to_a_request() {
    let Some(fleet) = Fleet::start(&["dev"], Options { kyverno: true, ..Options::default() }) else { return };
    let dev = fleet.cluster("dev");
    let config =
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\", soak = \"0s\" }, { mode = \"enforce\" }]\n";
    let desk = Desk::with_config(&fleet, config);
    let native = json!({"validatingAdmissionPolicy": {"enabled": true}, "podControllers": {"controllers": []}});
    dev.apply(&[
        vpol("t-deny", "Deny", "deny", &json!({})),
        vpol("t-audit", "Audit", "audit", &json!({})),
        vpol("t-native", "Deny", "native", &native),
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "t-classic"}, "spec": {"rules": [{"name": "r",
            "match": {"any": [{"resources": {"kinds": ["ConfigMap"], "selector": {"matchLabels": {"case": "classic"}}}}]},
            "validate": {"failureAction": "Enforce", "message": "no", "deny": {}}}]}})
        .to_string(),
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "t-own"}, "spec": {
            "webhookConfiguration": {"matchConditions": [{"name": "labelled", "expression": "has(object.metadata.labels)"}]}, "rules": [{"name": "r",
            "match": {"any": [{"resources": {"kinds": ["ConfigMap"], "selector": {"matchLabels": {"case": "own"}}}}]},
            "validate": {"failureAction": "Enforce", "message": "no", "deny": {}}}]}})
        .to_string(),
    ]
    .join("\n---\n"));
    dev.apply(
        &json!({"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "t-mutates"}, "spec": {
            "autogen": {"mutatingAdmissionPolicy": {"enabled": true}},
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]}})
        .to_string(),
    );
    until(&desk, "t-mutates", "unknown", "cannot read its native policy");
    eventually("the API server has the native policy", SOON, || {
        let found = dev.try_kubectl(&["get", "validatingadmissionpolicybinding", "vpol-t-native-binding"], "");
        if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stderr).into_owned()) }
    });
    for (name, label) in [("t-deny", "deny"), ("t-classic", "classic"), ("t-own", "own"), ("t-native", "native")] {
        until(&desk, name, "yes", "");
        eventually(&format!("{name} blocks"), SOON, || if takes(dev, label) { Err("admitted") } else { Ok(()) });
    }
    until(&desk, "t-audit", "yes", "");
    let cell = cell(&desk, "t-native");
    assert_eq!((&cell["native"], &cell["blocked"], &cell["findings"]), (&json!(true), &Value::Null, &Value::Null), "{cell}");
    let gate = desk.json(&["gate", "t-audit"]).0;
    assert_eq!(condition(&gate, "ready")["state"], "met", "{gate}");

    // Dead, with failurePolicy Fail: everything is blocked, by no policy. The API server goes on with the native one.
    dev.signal("kyverno-admission", "KILL");
    until(&desk, "t-deny", "no", "does not answer");
    until(&desk, "t-classic", "no", "does not answer");
    until(&desk, "t-native", "yes", "");
    assert!(!takes(dev, "native"));
    let gate = desk.json(&["gate", "t-audit"]).0;
    assert_eq!((&condition(&gate, "ready")["state"], &gate["items"][0]["verdict"]), (&json!("unmet"), &json!("closed")), "{gate}");

    // Without its configurations nothing reaches Kyverno.
    for configuration in CONFIGURATIONS {
        dev.kubectl(&["delete", configuration]);
    }
    until(&desk, "t-deny", "no", "kyverno-resource-validating-webhook-cfg is missing");
    assert!(takes(dev, "deny") && takes(dev, "classic") && !takes(dev, "native"));

    fleet.start_kyverno(&["dev"], false);
    for (name, label) in [("t-deny", "deny"), ("t-classic", "classic"), ("t-own", "own")] {
        until(&desk, name, "yes", "");
        eventually(&format!("{name} blocks again"), SOON, || if takes(dev, label) { Err("admitted") } else { Ok(()) });
    }

    // Without rights it is unknown, and the remedy is named.
    dev.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: policies-only}, rules: [{apiGroups: [kyverno.io, policies.kyverno.io, \
         wgpolicyk8s.io], resources: ['*'], verbs: [get, list, watch]}]}\n---\n\
         {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: policies-only}, roleRef: {apiGroup: rbac.authorization.k8s.io, \
         kind: ClusterRole, name: policies-only}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: viewers}]}",
    );
    let viewer = Desk::new(&fleet, User::Viewer, "");
    until(&viewer, "t-deny", "unknown", "assets/rbac/viewer.yaml");
}

fn condition(gate: &Value, name: &str) -> Value {
    let conditions = gate["items"][0]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["name"] == name).unwrap_or_default()
}
