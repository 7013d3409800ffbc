//! The story that guides a person: each sentence goes when the clusters are as it asks, whoever brought that about.

use crate::client::{CPOL, ask, until};
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use serde_json::{Value, json};
use std::time::Duration;

const POLICY: &str = "disallow-host-process";

#[test]
fn the_rollout_story_guides_to_production_and_back() {
    let pace = Pace { reports: Duration::from_millis(50), ready: Duration::from_millis(50), ..Pace::default() };
    let demo = Demo::start(DemoOptions { scenario: Scenario::named("rollout").unwrap(), pace, ..DemoOptions::default() }).unwrap();
    assert!(demo.config_toml().contains("soak = \"20s\"") && !demo.config_toml().contains("7d"));
    let said = demo.guide().unwrap();
    let at = |step: usize| until("the next sentence is said", || said.borrow().starts_with(&format!("{step}/8 ")).then_some(()));
    let path = format!("{CPOL}/{POLICY}");
    let object = |environment: &str| ask(&demo, environment).get(&path);
    let dev = until("the policy is in dev", || {
        let found = ask(&demo, "dev").send("GET", &path, &[], "");
        (found.code == 200).then(|| found.json())
    });
    let mode = |environment: &str, mode: &str| {
        let (code, _) = ask(&demo, environment).merge(&path, &json!({"spec": {"validationFailureAction": mode}}));
        assert_eq!(code, 200, "{environment} {mode}");
    };
    let create = |environment: &str| {
        let copy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": POLICY}, "spec": dev["spec"]});
        assert_eq!(ask(&demo, environment).post(CPOL, &copy).0, 201, "{environment}");
    };
    at(1);
    mode("dev", "Enforce");
    at(2);
    create("qac");
    at(3);
    create("staging");
    at(4);
    mode("staging", "Enforce");
    at(5);
    create("production");
    at(6);
    assert_eq!(failing(&demo), 0, "nothing breaks it");
    mode("production", "Enforce");
    at(7);
    until("every Pod fails", || (failing(&demo) > 10).then_some(()));
    let former = json!({"spec": {"rules": dev["spec"]["rules"]}});
    assert_ne!(object("production")["spec"]["rules"], dev["spec"]["rules"]);
    assert_eq!(ask(&demo, "production").merge(&path, &former).0, 200);
    at(8);
    until("nothing fails any more", || (failing(&demo) == 0).then_some(()));
}

/// Failures of the policy in production's reports.
fn failing(demo: &Demo) -> usize {
    let reports = ask(demo, "production").items("/apis/wgpolicyk8s.io/v1alpha2/policyreports");
    let results = reports.iter().filter_map(|report| report["results"].as_array()).flatten();
    let fails = |result: &&Value| result["policy"] == POLICY && result["result"] == "fail";
    results.filter(fails).count()
}
