//! Reports that no CRD of Kyverno lets in, on a server whose CRD does: what cannot be read is counted and costs only itself.

use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::product::{Desk, environment};
use crate::support::recount::{Count, recount};
use crate::support::seed::{Seeded, Shape};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Takes the schema off what reports hold, as an aggregated server has none.
fn allow_anything(cluster: &Cluster, crd: &str) {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}");
    let versions = cluster.api.get(&path).unwrap().ok()["spec"]["versions"].as_array().unwrap().len();
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    let replace = |version: usize| {
        let properties = format!("/spec/versions/{version}/schema/openAPIV3Schema/properties");
        ["results", "scope", "summary"].map(|part| json!({"op": "replace", "path": format!("{properties}/{part}"), "value": anything}))
    };
    let operations = Value::from((0..versions).flat_map(replace).collect::<Vec<_>>());
    cluster.kubectl(&["patch", "crd", crd, "--type=json", "-p", &operations.to_string()]);
}

fn result(name: &str, result: &str) -> Value {
    json!({"source": "kyverno", "policy": "require-labels", "rule": "check-for-labels", "result": result, "message": "m",
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "team-00", "name": name}]})
}

fn write(cluster: &Cluster, name: &str, results: &Value) -> u16 {
    let body = json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": name}, "results": results});
    let reply = cluster.api.post("/apis/wgpolicyk8s.io/v1alpha2/namespaces/team-00/policyreports", &body).unwrap();
    // A changed CRD reaches the handlers a moment later; until then the old schema refuses.
    assert!(matches!(reply.status, 201 | 422), "{name}: {}", reply.body);
    reply.status
}

/// Every control character and everything that turns, hides or joins text on a terminal.
const CONTROLS: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{0}\r\u{8}\u{202e}\u{2066}\u{200b}\u{7f}\u{85}x";

fn is_control(letter: char) -> bool {
    (letter.is_control() && letter != '\n') || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn what_cannot_be_read_is_counted_and_harms_no_neighbour() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.13.4"));
    let mut seeded = Seeded::new(dev, 1, 2, 11);
    seeded.reports(Shape::Resource);
    let desk = Desk::new(&fleet, User::Admin, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("healthy reports", SOON, &[dev]);
    let healthy = recount(&dev.api);

    allow_anything(dev, "policyreports.wgpolicyk8s.io");
    let good = result("beside-bad-ones", "fail");
    let wrong_types = json!([
        good,
        "a text", 7, null, [], {},
        {"policy": "require-labels", "result": ["fail"]},
        {"policy": {"name": "require-labels"}, "result": "fail"},
        {"policy": "require-labels", "result": "FAILED"},
        {"policy": "require-labels", "result": ""},
        {"policy": "", "result": "fail"},
        result("beside-bad-ones-too", "warn"),
    ]);
    crate::support::eventually("the server takes anything", SOON, || match write(dev, "wrong-types", &wrong_types) {
        201 => Ok(()),
        status => Err(status),
    });
    // What is beside the point may be of any type, and the result still counts.
    let mut odd =
        vec![result("odd-message", "fail"), result("odd-properties", "skip"), result("odd-time", "pass"), result("odd-rest", "error")];
    odd[0]["message"] = json!(12.5);
    odd[1]["properties"] = json!({"n": 1, "b": true, "none": null, "text": "t"});
    odd[2]["timestamp"] = json!({"seconds": 5, "nanos": null});
    odd[3]["severity"] = json!("catastrophic");
    odd[3]["scored"] = json!("perhaps");
    assert_eq!(write(dev, "odd-but-readable", &Value::from(odd)), 201);
    for (name, results) in [("no-results", Value::Null), ("empty", json!([]))] {
        assert_eq!(write(dev, name, &results), 201);
    }
    // Near the most that etcd takes: one report, five thousand results.
    let many = (0..4500)
        .map(|i| result(&format!("thing-{i:04}-{}", "x".repeat(20)), if i % 2 == 0 { "fail" } else { "pass" }))
        .collect::<Vec<_>>();
    let many = Value::from(many);
    assert!(many.to_string().len() > 900_000, "{}", many.to_string().len());
    assert_eq!(write(dev, "one-megabyte", &many), 201);

    watch.until_true("what can be read is counted", SOON, &[dev]);
    let count = recount(&dev.api);
    assert_eq!(count.malformed, healthy.malformed + 9 + 1, "nine bad results, and one without a policy");
    assert_eq!(Count::total(&count.findings)[3], Count::total(&healthy.findings)[3] + 2 + 2250, "the neighbours of bad results count");
    desk.assert_recount(&fleet);

    // Results that are no list at all: neither number nor fault of a neighbour; said in a note.
    assert_eq!(write(dev, "no-list", &json!("fail")), 201);
    let (_, status) = watch
        .until("a report without a list is counted once", SOON, |status| environment(status, "dev")["malformed"] == count.malformed + 1);
    let dev_item = environment(&status, "dev");
    assert!(dev_item["notes"].to_string().contains("could not be read"), "{}", dev_item["notes"]);
    dev.kubectl(&["delete", "policyreport", "no-list", "wrong-types", "-n", "team-00"]);
    watch.until_true("what is deleted is not bad any more", SOON, &[dev]);
    desk.assert_true(&fleet);
}

#[test]
fn control_characters_do_not_leave_policydeck() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.13.4"));
    dev.namespace("team-00");
    let bad = |what: &str| format!("{what}{CONTROLS}");
    let mut result = json!({"source": bad("source"), "policy": bad("policy"), "rule": bad("rule"), "result": "fail", "message": bad("message"),
        "category": bad("category"), "severity": "high", "properties": {bad("key"): bad("value")},
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "team-00", "name": bad("name")}]});
    assert_eq!(write(dev, "controls", &json!([result])), 201);
    result["source"] = "kyverno".into();
    assert_eq!(write(dev, "controls-of-kyverno", &json!([result])), 201);
    let desk = Desk::new(&fleet, User::Admin, "");
    desk.assert_true(&fleet);
    for command in ["status", "violations", "findings", "policies"] {
        for format in ["table", "csv", "name", "json", "yaml"] {
            let answer = desk.run(&[command, "-o", format]);
            assert_eq!(answer.status, Some(0), "{command} -o {format}: {}", answer.stderr);
            let bad: Vec<char> = answer.stdout.chars().chain(answer.stderr.chars()).filter(|c| is_control(*c)).collect();
            assert!(bad.is_empty(), "{command} -o {format} writes {bad:?}");
        }
    }
    let (findings, _) = desk.json(&["findings"]);
    // The other one's policy does not exist: stale, and out of the count.
    assert_eq!(findings["items"].as_array().unwrap().len(), 1, "{findings}");
}
