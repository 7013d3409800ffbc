//! Several revisions of a policy along a pipeline, and the exceptions that they rely on, with the real Kyverno in two clusters.

use crate::support::cluster::{Cluster, Fleet, Options};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce", max_blocked = 50 }]

[[environments]]
name = "live"
context = "live"
tier = "production"
steps = [{ mode = "audit" }, { mode = "enforce" }]

[exceptions]
expiry = "team/until"
"#;

/// A policy about ConfigMaps of its own namespace.
fn policy(name: &str) -> String {
    format!(
        "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}}}, spec: {{background: true, rules: [{{name: label, match: {{any: [{{resources: \
         {{kinds: [ConfigMap], namespaces: [{name}], names: ['good*']}}}}]}}, validate: {{failureAction: Audit, message: wants a team, pattern: {{metadata: {{labels: {{team: '?*'}}}}}}}}}}]}}}}"
    )
}

fn config_map(namespace: &str, name: &str, labels: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}}}")
}

fn action(cluster: &Cluster, name: &str) -> Value {
    let policy = cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{name}")).unwrap().ok();
    policy["spec"]["rules"][0]["validate"]["failureAction"].clone()
}

fn gate(desk: &Desk, args: &[&str]) -> (Option<i32>, Value) {
    let answer = desk.run(&[&["gate"], args, &["-o", "json"]].concat());
    let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    (answer.status, document["items"][0].clone())
}

fn condition(gate: &Value, name: &str) -> (String, String) {
    let found = gate["conditions"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{gate:#}"));
    (found["state"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

fn way(gate: &Value) -> String {
    let stop = |stop: &Value| format!("{}:{}", stop["environment"].as_str().unwrap(), stop["mode"].as_str().unwrap());
    format!("{} → {}", stop(&gate["from"]), stop(&gate["to"]))
}

/// Runs a command until its gate lets it through.
fn once_open(desk: &Desk, args: &[&str]) {
    eventually("the gate opens", REPORTED, || {
        let answer = desk.run(args);
        if answer.status == Some(0) { Ok(()) } else { Err(format!("{args:?}: {answer:?}")) }
    });
}

#[test]
fn revisions_travel_one_behind_the_other() {
    let options = Options { kyverno: true, controllers: true, scan: Some("30s"), ..Options::default() };
    let Some(fleet) = Fleet::start(&["dev", "live"], options) else { return };
    let desk = Desk::with_config(&fleet, CONFIG);
    // What no object shows, a recorder dates: without one the gates after a change would be unknown.
    let recorder = desk.start(&["observe"]);
    for cluster in fleet.clusters() {
        for name in ["drift", "demoted"] {
            cluster.namespace(name);
            cluster.apply(&config_map(name, "good", "{team: a}"));
        }
    }
    std::thread::scope(|threads| {
        let walks = [threads.spawn(|| a_new_revision(&fleet, &desk)), threads.spawn(|| a_demotion(&fleet, &desk))];
        for walk in walks {
            if let Err(panic) = walk.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    exceptions(&fleet, &desk);
    end(recorder);
}

fn begin(cluster: &Cluster, name: &str) {
    cluster.apply(&policy(name));
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{name}"), "--timeout=60s"]);
}

fn a_new_revision(fleet: &Fleet, desk: &Desk) {
    let (dev, live) = (fleet.cluster("dev"), fleet.cluster("live"));
    begin(dev, "drift");
    once_open(desk, &["promote", "drift", "--yes"]);
    once_open(desk, &["promote", "drift", "--confirm", "live"]);
    let patch = r#"[{"op": "add", "path": "/spec/rules/0/validate/pattern/metadata/labels/owner", "value": "?*"}]"#;
    dev.kubectl(&["patch", "clusterpolicy", "drift", "--type=json", "-p", patch]);
    dev.apply(&config_map("drift", "good", "{team: a, owner: b}"));
    // The older revision does not go on in production, and the reason says what to do.
    eventually("both see the other revision", SOON, || {
        let (status, gate) = gate(desk, &["drift", "--to", "live:enforce"]);
        let (state, reason) = condition(&gate, "drift");
        let told = status == Some(3) && state == "unmet" && reason.contains("dev has revision ") && reason.contains("--to live");
        if told { Ok(()) } else { Err(format!("{status:?} {gate:#}")) }
    });
    let refused = desk.run(&["promote", "drift", "--to", "live:enforce", "--confirm", "live", "--acknowledge-unknown", "because"]);
    assert_eq!((refused.status, action(live, "drift")), (Some(3), "Audit".into()), "{refused:?}");
    // The newer one replaces it, in audit.
    let (_, next) = gate(desk, &["drift"]);
    assert_eq!(way(&next), "dev:enforce → live:audit", "{next:#}");
    assert!(condition(&next, "drift").1.starts_with("replaces revision "), "{next:#}");
    once_open(desk, &["promote", "drift", "--confirm", "live"]);
    let live_policy = live.api.get("/apis/kyverno.io/v1/clusterpolicies/drift").unwrap().ok();
    assert_eq!(live_policy["spec"]["rules"][0]["validate"]["pattern"]["metadata"]["labels"]["owner"], "?*", "{live_policy:#}");
    eventually("it is at audit in production", SOON, || {
        let (_, next) = gate(desk, &["drift"]);
        if way(&next) == "live:audit → live:enforce" { Ok(()) } else { Err(format!("{next:#}")) }
    });
}

fn a_demotion(fleet: &Fleet, desk: &Desk) {
    let (dev, live) = (fleet.cluster("dev"), fleet.cluster("live"));
    begin(dev, "demoted");
    once_open(desk, &["promote", "demoted", "--yes"]);
    once_open(desk, &["promote", "demoted", "--confirm", "live"]);
    for back in [&["undo", "--last", "-e", "dev", "--yes"][..], &["promote", "demoted", "--to", "dev:enforce", "--yes"]] {
        let down = desk.run(&["demote", "demoted", "-e", "dev", "--yes"]);
        assert_eq!((down.status, action(dev, "demoted")), (Some(0), "Audit".into()), "{down:?}");
        eventually("production waits for dev", SOON, || {
            let (status, gate) = gate(desk, &["demoted", "--to", "live:enforce"]);
            let told = status == Some(3) && condition(&gate, "drift").1.contains("--to dev:enforce");
            if told { Ok(()) } else { Err(format!("{gate:#}")) }
        });
        // Both walks write to dev: the last one there may be the other's.
        let id = serde_json::from_str::<Value>(&desk.run(&["audit", "show", "-o", "json", "--policy", "demoted"]).stdout).unwrap();
        let plan = id["items"].as_array().unwrap().iter().rev().find_map(|entry| entry["plan"].as_str()).unwrap().to_owned();
        let back: Vec<&str> = back.iter().map(|word| if *word == "--last" { plan.as_str() } else { word }).collect();
        once_open(desk, &back);
        assert_eq!((action(dev, "demoted"), action(live, "demoted")), ("Enforce".into(), "Audit".into()));
    }
}

/// Two exceptions of one name in two namespaces: only one of them excuses, and production has none.
fn exceptions(fleet: &Fleet, desk: &Desk) {
    let dev = fleet.cluster("dev");
    for cluster in fleet.clusters() {
        for name in ["old", "red"] {
            cluster.namespace(name);
        }
    }
    let exception = |namespace: &str, until: &str, excuses: &str| {
        format!(
            "{{apiVersion: policies.kyverno.io/v1, kind: PolicyException, metadata: {{name: q3, namespace: {namespace}, annotations: {{team/until: '{until}'}}}}, spec: \
             {{policyRefs: [{{name: no-root, kind: ValidatingPolicy}}], matchConditions: [{{name: ns, expression: \"object.metadata.namespace == '{excuses}'\"}}]}}}}"
        )
    };
    dev.apply(&exception("old", "2999-01-01", "old"));
    dev.apply(&exception("red", "2999-01-01", "nowhere"));
    dev.apply(&config_map("old", "bad", "{}"));
    dev.apply(
        "{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: no-root}, spec: {validationActions: [Audit], matchConstraints: {namespaceSelector: \
         {matchLabels: {kubernetes.io/metadata.name: old}}, resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}, \
         validations: [{expression: \"has(object.metadata.labels) && 'team' in object.metadata.labels\", message: wanted}]}}",
    );
    let exceptions_say = |what: &str, args: &[&str], state: &str, part: &str| {
        eventually(what, REPORTED, || {
            let (_, gate) = gate(desk, &[&["validatingpolicy/no-root"], args].concat());
            let (found, reason) = condition(&gate, "exceptions");
            if found == state && reason.contains(part) { Ok(()) } else { Err(format!("{gate:#}")) }
        });
    };
    exceptions_say("one of both is in use", &[], "met", "relies on 1");
    exceptions_say("production lacks it", &["--to", "live"], "met", "live lacks old/q3 (excuses ");
    // The annotation that is configured ends it; the other one of that name is not in use, and does not count for it.
    dev.kubectl(&["annotate", "policyexceptions.policies.kyverno.io/q3", "-n", "old", "--overwrite", "team/until=next spring"]);
    exceptions_say("its expiry cannot be read", &[], "unknown", "old/q3 is no date: next spring");
    dev.kubectl(&["annotate", "policyexceptions.policies.kyverno.io/q3", "-n", "old", "--overwrite", "team/until=2020-01-01"]);
    exceptions_say("it has expired", &[], "unmet", "old/q3 has expired");
}
