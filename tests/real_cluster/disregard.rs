//! A tenant who may write events and reports in one namespace: what that does to a gate, who is named, and what an operator can do about it.

use super::guard::Tenant;
use super::operators;
use super::rollouts::{document, run};
use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::Desk;
use serde_json::{Value, json};
use std::time::Duration;

/// A report takes up to half a minute, its summary another scan.
const REPORTED: Duration = Duration::from_secs(180);

/// Dev enforces, then it goes to audit in production.
const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit", soak = "0s" }, { mode = "enforce", soak = "0s" }]

[[environments]]
name = "live"
context = "live"
tier = "production"
steps = [{ mode = "audit", soak = "0s" }]
"#;

/// The policy, the namespace that it is about, and the tenant of the namespace `default`, where events of policies of the cluster are.
struct Ground<'a> {
    dev: &'a Cluster,
    desk: Desk,
    policy: String,
    shop: String,
    tenant: String,
}

impl Ground<'_> {
    fn start(&self) {
        let Self { dev, policy, shop, .. } = self;
        dev.apply(&operators::policy(policy, shop, "Audit"));
        dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{policy}"), "--timeout=60s"]);
        dev.apply(&operators::pod("web", shop, "nginx:1.27"));
    }

    fn forged_event(&self, count: u64) -> Value {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": self.tenant, "namespace": "default"}, "type": "Warning",
            "reason": "PolicyViolation", "action": "Resource Blocked", "count": count, "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "kyverno-admission"}, "reportingComponent": "kyverno-admission", "reportingInstance": "kyverno-0",
            "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": self.policy},
            "related": {"apiVersion": "v1", "kind": "Pod", "namespace": self.shop, "name": "never"},
            "message": format!("Pod {}/never: [tag] fail (blocked); no latest", self.shop)})
    }

    fn foreign_report(&self) -> Value {
        json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": self.tenant, "namespace": "default"}, "results": [
            {"policy": self.policy, "rule": "tag", "result": "fail", "source": "kyverno", "message": "forged",
             "resources": [{"apiVersion": "v1", "kind": "Pod", "namespace": self.shop, "name": "web", "uid": "forged"}]}]})
    }

    fn event(&self) -> String {
        format!("event/default/{}", self.tenant)
    }

    fn report(&self) -> String {
        format!("policyreport/default/{}", self.tenant)
    }

    /// The gate before production without what is named, and its exit status.
    fn gate(&self, disregarded: &[&str]) -> (Option<i32>, Value) {
        let flags: Vec<&str> = disregarded.iter().flat_map(|object| ["--disregard", object]).collect();
        let reason: &[&str] = if flags.is_empty() { &[] } else { &["--reason", "INC-7"] };
        let answer = self.desk.run(&[&["gate", &self.policy, "--to", "live", "-o", "json"], &flags[..], reason].concat());
        let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        (answer.status, document["items"][0].clone())
    }

    fn until(&self, what: &str, disregarded: &[&str], fits: impl Fn(&Value) -> bool) -> (Option<i32>, Value) {
        let mut last = (None, Value::Null);
        eventually(what, REPORTED, || {
            last = self.gate(disregarded);
            if fits(&last.1) { Ok(()) } else { Err(format!("{:#}", last.1)) }
        });
        last
    }
}

fn condition<'a>(gate: &'a Value, name: &str) -> &'a Value {
    gate["conditions"].as_array().unwrap().iter().find(|condition| condition["name"] == name).unwrap()
}

#[test]
fn what_a_tenant_forges_is_named_and_can_be_disregarded_and_what_is_real_cannot() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let ground = Ground {
        dev: fleet.cluster("dev"),
        desk: Desk::with_config(&fleet, CONFIG),
        policy: fleet.name("no-latest"),
        shop: fleet.own_namespace("shop"),
        tenant: fleet.name("tenant"),
    };
    ground.start();
    let Ground { desk, policy, tenant, dev, .. } = &ground;
    eventually("the policy enforces in dev", REPORTED, || {
        let answer = desk.run(&["promote", policy, "--to", "dev:enforce", "--yes"]);
        if answer.status == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let (status, _) = ground.until("the gate opens", &[], |gate| gate["verdict"] == "open");
    assert_eq!(status, Some(0));

    let forger = Tenant::of(dev, "default", tenant);
    for claim in [ground.forged_event(3), ground.foreign_report()] {
        forger.kubectl(&["create", "-f", "-"], &claim.to_string());
    }
    let (event, report) = (ground.event(), ground.report());
    let (status, closed) = ground
        .until("both count", &[], |gate| condition(gate, "blocked")["value"] == 3 && condition(gate, "violations")["state"] == "unknown");
    assert_eq!(status, Some(3), "{closed:#}");
    let proof = &condition(&closed, "blocked")["evidence"][0];
    for (field, expected) in [
        ("source", json!("event")),
        ("ref", json!(event)),
        ("object", json!(format!("event {tenant} -n default"))),
        ("component", json!("kyverno-admission")),
        ("by", json!("kubectl-create")),
        ("count", json!(3)),
        ("verified", json!(false)),
    ] {
        assert_eq!(proof[field], expected, "{field}: {proof:#}");
    }
    assert_eq!(condition(&closed, "violations")["evidence"][0]["ref"], json!(report), "{closed:#}");
    let text = desk.run(&["gate", policy, "--to", "live"]).stdout;
    for part in
        [format!("  {event}\n"), "written by kubectl-create as kyverno-admission; not verified\n".to_owned(), format!("  {report}\n")]
    {
        assert!(text.contains(&part), "{part}: {text}");
    }

    // Each decides a condition of its own.
    assert_eq!(ground.gate(&[&event]).1["verdict"], "unknown");
    assert_eq!(ground.gate(&[&report]).1["verdict"], "closed");
    let (status, open) = ground.gate(&[&event, &report]);
    assert_eq!((status, &open["verdict"]), (Some(0), &json!("open")), "{open:#}");
    assert!(condition(&open, "blocked")["reason"].as_str().unwrap().contains("; 3 requests disregarded (by "), "{open:#}");

    // A plan has it with what the event says; when that changes, it no longer holds.
    let (file, both) = (desk.home().join("plan.json"), ["--disregard", &event, "--disregard", &report, "--reason", "INC-7"]);
    let file = file.to_str().unwrap();
    run(desk, &[&["promote", policy, "--to", "live", "--plan-out", file], &both[..]].concat(), 0);
    let preview = run(desk, &["promote", "--plan", file, "--dry-run=client"], 0);
    assert!(preview.stderr.contains(&format!("disregarded {event} (by ")), "{preview:?}");
    forger.kubectl(&["replace", "-f", "-"], &ground.forged_event(4).to_string());
    ground.until("the event says something else", &[], |gate| condition(gate, "blocked")["value"] == 4);
    let late = run(desk, &["promote", "--plan", file, "--confirm", "live"], 3);
    assert!(late.stderr.contains(&format!("{event} has changed since it was disregarded")), "{late:?}");

    // Decided anew, it goes, and the journal has why.
    run(desk, &[&["promote", policy, "--to", "live", "--confirm", "live"], &both[..]].concat(), 0);
    let journal = document(&run(desk, &["audit", "show", "-o", "json", "-e", "live"], 0));
    let entry = journal["items"].as_array().unwrap().iter().find(|entry| entry["verb"] == "promote").unwrap();
    assert_eq!(entry["reason"], json!(format!("INC-7; disregarded {report}, {event}")), "{entry:#}");
    let disregarded = entry["gate"]["disregarded"].as_array().unwrap();
    let said: Vec<_> = disregarded.iter().map(|one| (one["ref"].clone(), one["count"].clone(), one["reason"].clone())).collect();
    assert_eq!(said, [(json!(report), json!(1), json!("INC-7")), (json!(event), json!(4), json!("INC-7"))]);
    run(desk, &["undo", "--last", "-e", "live", "--confirm", "live"], 0);

    // A request that Kyverno blocked closes the gate whatever is disregarded, and cannot be disregarded itself.
    eventually("Kyverno blocks", REPORTED, || {
        let made = dev.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &operators::pod("bad", &ground.shop, "nginx:latest"));
        if made.status.success() { Err(format!("{made:?}")) } else { Ok(()) }
    });
    let (status, closed) = ground.until("the block counts", &[&event, &report], |gate| condition(gate, "blocked")["state"] == "unmet");
    assert_eq!((status, &closed["verdict"]), (Some(3), &json!("closed")), "{closed:#}");
    let real = condition(&closed, "blocked")["evidence"].as_array().unwrap().iter().find(|proof| proof["verified"] == true);
    let real = real.unwrap_or_else(|| panic!("Kyverno's own event is verified: {closed:#}"));
    assert_eq!((&real["by"], &real["ref"]), (&json!("kyverno"), &Value::Null), "{real:#}");
    let name = real["object"].as_str().unwrap();
    let refused = run(desk, &["gate", policy, "--to", "live", "--disregard", name, "--reason", "INC-7"], 2);
    assert!(refused.stderr.contains("cannot be disregarded: Kyverno wrote it (field manager kyverno)"), "{refused:?}");

    for (kind, name) in [("event", tenant), ("policyreport", tenant), ("role", tenant), ("rolebinding", tenant)] {
        dev.kubectl(&["delete", kind, name, "-n", "default"]);
    }
}
