//! What is refused before anything is sent, counted at the API server; and what Kyverno refuses, in its words.

use super::operators::{action, journal, pod, policy};
use crate::support::cluster::{Cluster, Fleet, Options, RUNNING, crds};
use crate::support::eventually;
use crate::support::product::Desk;
use serde_json::json;
use std::time::Duration;

const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit", max_violations = 1000 }]

[[environments]]
name = "old"
context = "old"
steps = [{ mode = "audit" }]
"#;

/// Of a kind that Kyverno 1.14 brought.
const NEW_KIND: &str = "{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: new-kind}, spec: {validationActions: [Audit], \
     matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}]}, \
     validations: [{message: m, expression: \"object.metadata.name != 'x'\"}]}}";
/// With a field that Kyverno 1.13 does not know: `validate.cel.generate`.
const NEW_FIELD: &str = "{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: new-field}, spec: {validationFailureAction: Audit, background: true, \
     rules: [{name: r, match: {any: [{resources: {kinds: [Pod], namespaces: [shop]}}]}, validate: {cel: {generate: false, \
     expressions: [{message: m, expression: \"object.metadata.name != 'x'\"}]}}}]}}";

/// What policydeck asked a server to write, dry runs among them. Asking who one is writes nothing.
fn writes(cluster: &Cluster) -> Vec<String> {
    let requests = cluster.requests("policydeck");
    assert!(!requests.is_empty(), "the audit log tells what was asked");
    let is_write = |line: &String| !["get ", "list ", "watch "].iter().any(|verb| line.starts_with(verb)) && !line.contains("/self");
    requests.into_iter().filter(is_write).collect()
}

#[test]
fn what_the_target_does_not_know_is_refused_before_anything_is_sent() {
    let options = Options { controllers: true, audit: true, scan: Some("30s"), ..Options::default() };
    let Some(fleet) = Fleet::start(&["dev", "old"], options) else { return };
    let (dev, old) = (fleet.cluster("dev"), fleet.cluster("old"));
    fleet.start_kyverno(&["dev"], false);
    old.install_crds(&crds("kyverno-1.13.4"));
    dev.namespace("shop");
    dev.apply(&[NEW_KIND, NEW_FIELD, &policy("plain", "shop", "Audit")].join("\n---\n"));
    dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", "--all", "--timeout=60s"]);
    dev.apply(&pod("web", "shop", "nginx:1.27"));
    let desk = Desk::with_config(&fleet, CONFIG);
    let refused = |policy: &str, words: &[&str]| {
        eventually("its gate lets it be planned", REPORTED, || {
            let answer = desk.run(&["promote", policy, "--to", "old", "--acknowledge-unknown", "a test", "--yes"]);
            let said = answer.status == Some(1) && words.iter().all(|words| answer.stderr.contains(words));
            if said { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    };
    refused("new-kind", &["old does not serve ValidatingPolicy", "install a Kyverno"]);
    refused("new-field", &["old does not know these fields", "validate.cel.generate", "1.13"]);
    assert_eq!(writes(old), Vec::<String>::new(), "nothing was sent, not even as a dry run");
    assert_eq!(old.api.list("/apis/kyverno.io/v1/clusterpolicies").unwrap().len(), 0);
    assert_eq!(journal(&desk).len(), 0, "and there is nothing to note");

    // What it knows goes there: one dry run for the preview, one before the write, and the write.
    let promoted = desk.run(&["promote", "plain", "--to", "old", "--acknowledge-unknown", "a test", "--yes"]);
    assert_eq!(promoted.status, Some(0), "{promoted:?}");
    let sent = writes(old);
    let dry = sent.iter().filter(|line| line.contains("dryRun=All")).count();
    assert_eq!((dry, sent.len()), (2, 3), "{sent:#?}");
    assert_eq!(action(old, "plain"), "Audit");
}

#[test]
fn what_kyverno_refuses_is_refused_at_the_dry_run_in_its_words() {
    let Some(fleet) = Fleet::start(&["dev"], Options { controllers: true, audit: true, ..Options::default() }) else { return };
    let dev = fleet.cluster("dev");
    // Admitted before Kyverno could look at it: it would refuse any change that leaves this in.
    dev.install_crds(&crds(RUNNING));
    let bad = json!({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "bad"},
        "spec": {"validationFailureAction": "Enforce", "background": true, "rules": [{"name": "r",
            "match": {"any": [{"resources": {"kinds": ["ConfigMap"], "namespaces": ["nowhere"]}}]},
            "validate": {"message": "m", "deny": {"conditions": {"any": [{"key": "{{ request.userInfo.username }}", "operator": "Equals", "value": "x"}]}}}}]}});
    dev.api.post("/apis/kyverno.io/v1/clusterpolicies", &bad).unwrap().ok();
    fleet.start_kyverno(&["dev"], false);
    let desk = Desk::with_config(
        &fleet,
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\" }]\n",
    );

    let refused = desk.run(&["demote", "bad", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    let document: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    let step = &document["items"][0];
    assert_eq!((&step["result"], &document["undo"]), (&"refused".into(), &serde_json::Value::Null), "{document:#}");
    // The same words that kubectl gets.
    let theirs = dev
        .try_kubectl(&["patch", "clusterpolicy", "bad", "--type=merge", "-p", "{\"spec\": {\"validationFailureAction\": \"Audit\"}}"], "");
    let theirs = String::from_utf8(theirs.stderr).unwrap();
    let (_, words) = theirs.split_once("denied the request: ").unwrap_or_else(|| panic!("Kyverno refuses it: {theirs}"));
    let words = words.trim();
    let reason = step["reason"].as_str().unwrap();
    assert!(reason.contains("validate-policy.kyverno.svc") && reason.contains(&words[..words.len().min(80)]), "{reason}\n{words}");
    assert_eq!(action(dev, "bad"), "Enforce");
    let sent = writes(dev);
    assert!(!sent.is_empty() && sent.iter().all(|line| line.contains("dryRun=All")), "{sent:#?}");
    assert_eq!(journal(&desk).len(), 0);
}
