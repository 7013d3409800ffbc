//! The company, its reports, and what changes them.

use std::time::Duration;

use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use serde_json::{Value, json};

use super::client::*;

#[test]
fn the_company_is_there() {
    let mut workloads = 0;
    for environment in shared().environments() {
        let here = ask(shared(), environment);
        for path in [
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/statefulsets",
            "/apis/apps/v1/daemonsets",
            "/apis/batch/v1/cronjobs",
            "/apis/batch/v1/jobs",
            "/api/v1/pods",
        ] {
            workloads += here.items(path).len();
        }
        assert_eq!(here.items("/apis/apps/v1/namespaces/kyverno/deployments").len(), 4);
        assert_eq!(here.items("/api/v1/namespaces/kyverno/secrets?labelSelector=owner%3Dhelm").len(), 6);
    }
    assert!(workloads > 300, "{workloads}");
    let production = ask(shared(), "production");
    assert_eq!(production.send("GET", &format!("{CPOL}/restrict-image-registries"), &[], "").code, 404);
    let stale = production.items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/catalog/policyreports");
    assert!(stale.iter().any(|report| report["metadata"]["name"] == "cpol-disallow-default-namespace"));
    let hostile = ask(shared(), "dev").get("/apis/wgpolicyk8s.io/v1alpha2/namespaces/search/policyreports/falco-runtime");
    assert!(hostile["results"][0]["message"].as_str().unwrap().contains('\u{1b}'));
    assert!(hostile["results"][1]["message"].as_str().unwrap().len() > 5_000);
    let unready = ask(shared(), "dev").get(&format!("{CPOL}/require-topic-owner"));
    assert_eq!(unready["status"]["conditions"][0]["status"], "False");
}

#[test]
fn reports_name_the_resource_the_rule_and_the_excuse() {
    let dev = ask(shared(), "dev");
    let report_of = |plural: &str, kind: &str| {
        let object = dev
            .items(&format!("/apis/apps/v1/namespaces/payments/{plural}"))
            .into_iter()
            .find(|o| o["metadata"]["name"].as_str().unwrap().starts_with("legacy-billing"))
            .unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let report = dev.get(&format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports/{uid}"));
        assert_eq!(report["scope"]["kind"], kind);
        assert_eq!(report["metadata"]["ownerReferences"][0]["uid"], uid.as_str());
        report
    };
    let report = report_of("deployments", "Deployment");
    report_of("replicasets", "ReplicaSet");
    let result = |policy: &str| report["results"].as_array().unwrap().iter().find(|r| r["policy"] == policy).unwrap().clone();
    let excused = result("require-run-as-nonroot");
    assert_eq!((excused["rule"].clone(), excused["result"].clone()), (json!("autogen-run-as-non-root"), json!("skip")));
    assert_eq!(excused["properties"]["exceptions"], "legacy-billing-root");
    assert_eq!(excused["message"], "rule is skipped due to policy exceptionspayments/legacy-billing-root");
    assert!(result("no-privilege-escalation").get("rule").is_none());
    assert!(result("payments/payments-no-shell")["timestamp"]["seconds"].is_u64());
    let errors = dev.items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/platform/policyreports");
    let errors = errors.iter().flat_map(|r| r["results"].as_array().unwrap().clone()).filter(|r| r["result"] == "error");
    assert!(errors.into_iter().any(|r| { r["message"].as_str().unwrap().contains("foreach is not interpreted") }));
    let open = ask(shared(), "staging").items("/apis/openreports.io/v1alpha1/reports");
    assert!(open.len() > 100);
    assert!(ask(shared(), "staging").items("/apis/wgpolicyk8s.io/v1alpha2/policyreports").is_empty());
    let cronjob = dev
        .items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/checkout/policyreports")
        .into_iter()
        .find(|r| r["scope"]["kind"] == "CronJob")
        .unwrap();
    assert!(cronjob["results"].as_array().unwrap().iter().any(|r| r["rule"] == "autogen-cronjob-check-team"));
}

#[test]
fn a_changed_policy_changes_reports_and_requests() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let failing = || {
        let reports = dev.items("/apis/wgpolicyk8s.io/v1alpha2/policyreports");
        let results = reports.iter().flat_map(|r| r["results"].as_array().unwrap().clone());
        results.filter(|r| r["policy"] == "owners" && r["result"] == "fail").count()
    };
    assert_eq!(dev.post(CPOL, &policy("owners")).0, 201);
    until("the new policy fails workloads", || (failing() > 100).then_some(()));
    // Everything has a name label, so this version finds nothing wrong.
    let better = json!([{"op": "replace", "path": "/spec/rules/0/validate/pattern", "value": {"metadata": {"labels": {"app.kubernetes.io/name": "?*"}}}}]);
    assert_eq!(dev.write("PATCH", &format!("{CPOL}/owners"), "application/json-patch+json", &better).0, 200);
    until("its successor fails none", || (failing() == 0).then_some(()));

    let pods = "/api/v1/namespaces/checkout/pods";
    let bad = pod("bad", &json!({}));
    let (code, refused) = dev.post(pods, &bad);
    assert_eq!(code, 400);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message
            .starts_with("admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Pod/checkout/bad was blocked"),
        "{message}"
    );
    assert!(message.contains("require-team-label:\n  check-team: 'validation error: Pods must name their team."), "{message}");
    let events = dev.items("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Drequire-team-label");
    let event = events.iter().find(|e| e["related"]["name"] == "bad").unwrap();
    assert_eq!((&event["action"], &event["reason"]), (&json!("Resource Blocked"), &json!("PolicyViolation")));
    assert!(event["message"].as_str().unwrap().starts_with("Pod checkout/bad: [check-team] fail (blocked); "));
    assert!(event.get("count").is_none() && event.get("series").is_none());

    let (code, _) = dev.post(pods, &pod("good", &json!({"team": "cart", "app.kubernetes.io/name": "good"})));
    assert_eq!(code, 201);
    let uid = dev.get(&format!("{pods}/good"))["metadata"]["uid"].as_str().unwrap().to_owned();
    let report = format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/checkout/policyreports/{uid}");
    until("the pod has a report", || (dev.send("GET", &report, &[], "").code == 200).then_some(()));
    assert_eq!(dev.send("DELETE", &format!("{pods}/good"), &[], "").code, 200);
    until("its report goes with it", || (dev.send("GET", &report, &[], "").code == 404).then_some(()));
}

#[test]
fn owners_take_dependants_and_namespaces_end() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let path = "/apis/apps/v1/namespaces/search/deployments/suggest";
    let pods = || {
        dev.items("/api/v1/namespaces/search/pods")
            .iter()
            .filter(|p| p["metadata"]["labels"]["app.kubernetes.io/name"] == "suggest")
            .count()
    };
    assert_eq!(dev.merge(path, &json!({"spec": {"replicas": 3}})).0, 200);
    until("three pods run", || (pods() == 3).then_some(()));
    assert_eq!(dev.send("DELETE", path, &[], "").code, 200);
    until("all pods are gone", || (pods() == 0).then_some(()));
    assert_eq!(dev.send("DELETE", "/api/v1/namespaces/marketing", &[], "").code, 200);
    until("the namespace is gone", || (dev.send("GET", "/api/v1/namespaces/marketing", &[], "").code == 404).then_some(()));
    assert!(dev.items("/apis/apps/v1/namespaces/marketing/deployments").is_empty());
}

#[test]
fn scans_move_timestamps_and_nothing_else() {
    let pace = Pace { scan: Duration::from_millis(1_100), ..Pace::default() };
    let demo = Demo::start(DemoOptions { scenario: Scenario::none(), pace, ..DemoOptions::default() }).unwrap();
    let dev = ask(&demo, "dev");
    let list = dev.get("/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports");
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let stream = dev.send(
        "GET",
        &format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports?watch=true&resourceVersion={from}"),
        &[],
        "",
    );
    let event = stream.events(|_| true).remove(0);
    let before =
        list["items"].as_array().unwrap().iter().find(|r| r["metadata"]["name"] == event["object"]["metadata"]["name"]).unwrap().clone();
    let plain = |report: &Value| {
        let mut report = report.clone();
        report["metadata"] = Value::Null;
        report["results"].as_array_mut().unwrap().iter_mut().for_each(|r| r["timestamp"] = Value::Null);
        report
    };
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(plain(&before), plain(&event["object"]));
    assert_ne!(before["results"][0]["timestamp"], event["object"]["results"][0]["timestamp"]);
}
