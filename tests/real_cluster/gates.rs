//! Gates over a real Kyverno: closed by a violation and by time, open without, unknown where something cannot be seen.

use crate::support::cluster::{Fleet, Need, Shared, User};
use crate::support::eventually;
use crate::support::product::Desk;
use serde_json::Value;
use std::time::Duration;

/// A report takes up to half a minute, its summary another scan.
const REPORTED: Duration = Duration::from_secs(180);

/// The policy and the namespace of this test.
struct Names {
    policy: String,
    shop: String,
}

impl Names {
    fn policy(&self) -> String {
        let Self { policy, shop } = self;
        format!(
            "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {policy}}}, spec: {{validationFailureAction: Audit, background: true, \
             rules: [{{name: tag, match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}, validate: {{message: no latest, pattern: {{spec: \
             {{containers: [{{image: '!*:latest'}}]}}}}}}}}]}}}}"
        )
    }

    fn pod(&self, image: &str) -> String {
        let shop = &self.shop;
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web, namespace: {shop}}}, spec: {{containers: [{{name: c, image: '{image}'}}]}}}}"
        )
    }
}

fn desk(fleet: &Fleet, user: User, soak: &str) -> Desk {
    let environment = |name: &str, steps: &str| {
        format!("[[environments]]\nname = \"{name}\"\ncontext = \"{}\"\nsteps = [{steps}]\n", user.context("dev"))
    };
    let dev = environment("dev", &format!("{{ mode = \"audit\", soak = \"{soak}\" }}, {{ mode = \"enforce\" }}"));
    Desk::with_config(fleet, &dev)
}

/// What `gate` prints, and its exit status.
fn gate(desk: &Desk, policy: &str) -> (Option<i32>, Value) {
    let answer = desk.run(&["gate", policy, "-o", "json"]);
    let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    (answer.status, document["items"][0].clone())
}

fn condition<'a>(gate: &'a Value, name: &str) -> &'a Value {
    gate["conditions"].as_array().unwrap().iter().find(|condition| condition["name"] == name).unwrap()
}

/// Waits until the gate has this verdict; the gate.
fn until(desk: &Desk, policy: &str, what: &str, fits: impl Fn(&Value) -> bool) -> (Option<i32>, Value) {
    let mut last = (None, Value::Null);
    eventually(what, REPORTED, || {
        last = gate(desk, policy);
        if fits(&last.1) { Ok(()) } else { Err(last.1.to_string()) }
    });
    last
}

fn start(fleet: &Shared) -> Names {
    let names = Names { policy: fleet.name("no-latest"), shop: fleet.own_namespace("shop") };
    let dev = fleet.cluster("dev");
    dev.apply(&names.policy());
    dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{}", names.policy), "--timeout=60s"]);
    dev.apply(&names.pod("nginx:latest"));
    names
}

#[test]
fn a_gate_closes_and_opens_with_what_the_cluster_shows() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let names = start(&fleet);
    let (policy, shop) = (names.policy.as_str(), names.shop.as_str());
    let free = desk(&fleet, User::Admin, "0s");

    let (status, closed) = until(&free, policy, "the violation is reported", |gate| condition(gate, "violations")["value"] == 1);
    assert_eq!((status, &closed["verdict"]), (Some(3), &Value::from("closed")), "{closed:#}");
    assert_eq!((&closed["from"]["environment"], &closed["from"]["mode"]), (&"dev".into(), &"audit".into()));
    assert_eq!((&closed["to"]["environment"], &closed["to"]["mode"]), (&"dev".into(), &"enforce".into()));
    assert_eq!(condition(&closed, "violations")["limit"], 0);

    dev.kubectl(&["delete", "pod", "web", "-n", shop, "--now"]);
    dev.apply(&names.pod("nginx:1.27"));
    let (status, open) = until(&free, policy, "the gate opens", |gate| gate["verdict"] == "open");
    assert_eq!(status, Some(0));
    assert_eq!(condition(&open, "soak")["source"], "creationTimestamp", "it was never changed: {open:#}");
    assert!(condition(&open, "fresh")["limit"] == 60, "twice the scan interval, from the reports controller: {open:#}");

    // The same with a week of soak: closed, and the date is a week after the policy came.
    let (status, soaking) = gate(&desk(&fleet, User::Admin, "7d"), policy);
    assert_eq!((status, &condition(&soaking, "soak")["state"]), (Some(3), &Value::from("unmet")), "{soaking:#}");
    let made = dev.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{policy}")).unwrap().ok();
    let created: jiff::Timestamp = made["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        soaking["opensAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second(),
        (created + jiff::SignedDuration::from_hours(168)).as_second()
    );

    // Touched by somebody, it starts anew.
    dev.kubectl(&["patch", "clusterpolicy", policy, "--type=merge", "-p", "{\"spec\": {\"failurePolicy\": \"Ignore\"}}"]);
    let (_, anew) = until(&free, policy, "the change starts the step anew", |gate| {
        condition(gate, "soak")["source"] == "managedFields of kubectl-patch"
    });
    assert_ne!(anew["verdict"], "unknown", "{anew:#}");

    // A field that is removed changes no time in managedFields: since when it is so nobody can say.
    dev.kubectl(&["patch", "clusterpolicy", policy, "--type=json", "-p", r#"[{"op": "remove", "path": "/spec/failurePolicy"}]"#]);
    let (_, dark) = until(&free, policy, "the removal is noticed", |gate| condition(gate, "soak")["state"] == "unknown");
    assert_ne!(dark["verdict"], "open", "{dark:#}");

    // Who sees no policies gets no verdict.
    let blind = desk(&fleet, User::Nobody, "0s").run(&["gate", policy, "--wait", "10s"]);
    assert_eq!(blind.status, Some(4), "{blind:?}");
    assert!(blind.stderr.contains("not every environment could be read"), "{blind:?}");
}
