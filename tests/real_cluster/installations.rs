//! Kyverno under other names, in releases that are broken, and policies that the API server judges: as objects tell, without a running Kyverno.

use crate::support::cluster::{Cluster, Fleet, Options, RUNNING, crds};
use crate::support::eventually;
use crate::support::product::Desk;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(60);

/// A controller's Deployment, under Kyverno's labels but another name.
fn controller(namespace: &str, part_of: &str, component: &str, container: &Value) -> String {
    let labels = json!({"app.kubernetes.io/component": component, "app.kubernetes.io/part-of": part_of});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("{part_of}-{component}"), "namespace": namespace, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
    .to_string()
}

fn admission(namespace: &str, part_of: &str, version: &str, settings: Option<&str>) -> String {
    let env: Vec<Value> = settings.iter().map(|name| json!({"name": "INIT_CONFIG", "value": name})).collect();
    let container = json!({"name": "kyverno", "image": format!("reg.kyverno.io/kyverno/kyverno:{version}"), "env": env});
    controller(namespace, part_of, "admission-controller", &container)
}

fn namespace(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string()
}

/// A ClusterPolicy about Pods, and its status.
fn policy(dev: &Cluster, name: &str, rule: &Value, status: &Value) {
    let mut rule = rule.clone();
    rule["name"] = "r".into();
    rule["match"] = json!({"any": [{"resources": {"kinds": ["Pod"]}}]});
    let object = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {"rules": [rule]}});
    dev.apply(&object.to_string());
    let patch = json!({"status": status}).to_string();
    dev.kubectl(&["patch", "clusterpolicy", name, "--subresource=status", "--type=merge", "-p", &patch]);
}

fn ready() -> Value {
    json!({"conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "Ready", "lastTransitionTime": "2026-11-01T00:00:00Z"}]})
}

fn said(desk: &Desk, environment: &str, name: &str, namespace: &str) -> String {
    let (document, _) = desk.json(&["policies", "-n", namespace, "-e", environment]);
    let item = document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == name);
    item.map_or("absent", |item| item["mode"].as_str().unwrap()).to_owned()
}

fn environment(desk: &Desk, name: &str) -> Value {
    let (document, _) = desk.json(&["status"]);
    let all = document["items"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|item| item["name"] == name).unwrap_or_default()
}

#[test]
fn installations_are_read_as_they_are() {
    let Some(fleet) = Fleet::start(&["other", "early"], Options::default()) else { return };
    for cluster in fleet.clusters() {
        cluster.install_crds(&crds(RUNNING));
    }
    let (other, early) = (fleet.cluster("other"), fleet.cluster("early"));
    let steps = |max: u32| format!("steps = [{{ mode = \"audit\", soak = \"0s\", max_violations = {max} }}, {{ mode = \"enforce\" }}]\n");
    let config = ["other", "early"].map(|name| format!("[[environments]]\nname = \"{name}\"\ncontext = \"{name}\"\n{}", steps(0))).concat();
    let desk = Desk::with_config(&fleet, &config);

    // Another namespace, another name, found through the webhooks' service; its settings by the name that the container is given.
    let filters = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guardrail-settings", "namespace": "policy-system"},
        "data": {"resourceFilters": "[*/*,kube-system,*] [*/*,vendor-*,*]"}});
    let webhooks = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "kyverno-resource-validating-webhook-cfg"}, "webhooks": [{"name": "validate.kyverno.svc-ignore", "admissionReviewVersions": ["v1"],
            "sideEffects": "NoneOnDryRun", "failurePolicy": "Ignore", "timeoutSeconds": 1,
            "clientConfig": {"service": {"name": "guardrails-svc", "namespace": "policy-system", "path": "/validate/ignore"}},
            "rules": [{"apiGroups": ["nobody.example.com"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["nothings"]}]}]});
    let reports = json!({"name": "controller", "image": "reg.kyverno.io/kyverno/reports-controller:v1.16.4", "args": ["--backgroundScanInterval=30m"]});
    other.apply(
        &[
            namespace("policy-system"),
            namespace("vendor-x"),
            namespace("plain"),
            admission("policy-system", "guardrails", "v1.16.4", Some("guardrail-settings")),
            controller("policy-system", "guardrails", "reports-controller", &reports),
            filters.to_string(),
            webhooks.to_string(),
        ]
        .join("\n---\n"),
    );
    policy(other, "require-team", &json!({"validate": {"failureAction": "Enforce", "message": "no", "deny": {}}}), &ready());
    eventually("the installation is found", SOON, || {
        let seen = environment(&desk, "other");
        let modes = [said(&desk, "other", "require-team", "vendor-x"), said(&desk, "other", "require-team", "plain")];
        if seen["kyverno"] == "v1.16.4" && modes == ["off", "enforce"] { Ok(()) } else { Err(format!("{} {modes:?}", seen["kyverno"])) }
    });
    // Enforce by its status, and nothing of it reaches Kyverno.
    let (document, _) = desk.json(&["policies", "-n", "plain", "-e", "other"]);
    assert_eq!(document["items"][0]["inForce"]["state"], "no", "{document}");

    // What fails where Kyverno does not look does not close the gate.
    policy(other, "priv", &json!({"validate": {"failureAction": "Audit", "message": "no", "deny": {}}}), &ready());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let report = |namespace: &str, result: &str| {
        json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "r", "namespace": namespace},
            "scope": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": namespace, "uid": format!("u-{namespace}")},
            "results": [{"policy": "priv", "rule": "r", "result": result, "source": "kyverno", "scored": true, "timestamp": {"nanos": 0, "seconds": now}}]})
        .to_string()
    };
    other.apply(&[report("vendor-x", "fail"), report("kube-system", "fail"), report("plain", "pass")].join("\n---\n"));
    eventually("the gate tells them apart", SOON, || {
        let (gate, _) = desk.json(&["gate", "priv"]);
        let conditions = gate["items"][0]["conditions"].as_array().cloned().unwrap_or_default();
        let violations = conditions.into_iter().find(|condition| condition["name"] == "violations").unwrap_or_default();
        let reason = violations["reason"].as_str().unwrap_or_default();
        let right = violations["state"] == "met"
            && violations["value"] == 0
            && reason.contains("2 not counted: in namespaces that Kyverno ignores");
        if right { Ok(()) } else { Err(violations.to_string()) }
    });
    let impact = desk.run(&["promote", "priv", "--to", "other:enforce", "--dry-run=client"]);
    let words = impact.stdout + &impact.stderr;
    assert!(!words.contains("would be refused: "), "{words}");

    // A native policy: neither blocks nor violations are known, whatever results are left.
    early.apply(&[namespace("kyverno"), namespace("build"), admission("kyverno", "kyverno", "v1.13.1", None)].join("\n---\n"));
    let rule = json!({"validate": {"failureAction": "Enforce", "failureActionOverrides": [{"action": "Audit", "namespaces": ["default"]}], "message": "no", "deny": {}}});
    policy(early, "need-requests", &rule, &ready());
    let native = json!({"conditions": ready()["conditions"], "validatingadmissionpolicy": {"generated": true, "message": ""}});
    policy(
        early,
        "native",
        &json!({"validate": {"failureAction": "Enforce", "cel": {"generate": true, "expressions": [{"expression": "true"}]}}}),
        &native,
    );
    eventually("1.13.1 does not enforce it", SOON, || {
        let modes = ["build", "default"].map(|namespace| said(&desk, "early", "need-requests", namespace));
        if modes == ["off", "audit"] { Ok(()) } else { Err(format!("{modes:?}")) }
    });
    assert!(environment(&desk, "early")["notes"].to_string().contains("1.13.3"), "{}", environment(&desk, "early"));
    let (document, _) = desk.json(&["violations", "-e", "early"]);
    let item = document["items"].as_array().unwrap().iter().find(|item| item["policy"]["name"] == "native").unwrap();
    let cell = &item["environments"]["early"];
    assert_eq!((&cell["native"], &cell["blocked"], &cell["findings"]), (&json!(true), &Value::Null, &Value::Null), "{cell}");
    assert_eq!(cell["inForce"]["state"], "no", "its native policy does not exist: {cell}");
}
