//! What changes on a cluster shows at once: kubectl returns, and the next document has it.

use crate::support::cluster::{Fleet, Options, User, crds};
use crate::support::product::{Desk, Watch, environment};
use crate::support::say;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// From kubectl's return to the line. Generous: two cores run the server, kubectl and policydeck; how fast it is, is measured elsewhere.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A status that follows one cluster, and what it must show after a command.
struct Following {
    watch: Watch,
    slowest: (Duration, &'static str),
}

impl Following {
    /// Runs `change` and waits until its effect shows.
    fn shows(&mut self, what: &'static str, change: impl FnOnce(), fits: impl Fn(&Value) -> bool) {
        assert!(!fits(environment(self.watch.latest(), "dev")), "{what}: it showed before it happened");
        change();
        let returned = Instant::now();
        let (at, _) = self.watch.until(what, SOON, |status| fits(environment(status, "dev")));
        // The watch is often faster than kubectl's way out.
        let took = at.saturating_duration_since(returned);
        assert!(took <= AT_ONCE, "{what}: {took:?} after kubectl returned");
        self.slowest = self.slowest.max((took, what));
    }
}

const POLICY: &str = "{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: p}, spec: {rules: [{name: RULE, match: {any: [{resources: \
                      {kinds: [Pod]}}]}, validate: {message: m, deny: {}}}]}}";

const CEL_POLICY: &str = "{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: v}, spec: {validations: [{expression: 'false'}], \
                          matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}}}";

const EXCEPTIONS: [&str; 2] = [
    "{apiVersion: kyverno.io/v2, kind: PolicyException, metadata: {name: old, namespace: default}, spec: {match: {any: [{resources: {kinds: [Pod]}}]}, \
     exceptions: [{policyName: p, ruleNames: [r]}]}}",
    "{apiVersion: policies.kyverno.io/v1, kind: PolicyException, metadata: {name: new, namespace: default}, spec: {policyRefs: [{kind: ValidatingPolicy, name: v}]}}",
];

#[test]
fn every_change_shows_at_once() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.18.2"));
    let desk = Desk::new(&fleet, User::Admin, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("nothing is there, and that is all", SOON, |status| environment(status, "dev")["complete"] == true);
    let mut dev_shows = Following { watch, slowest: (Duration::ZERO, "") };

    dev_shows.shows("a policy is applied", || dev.apply(&POLICY.replace("RULE", "r")), |item| item["policies"] == 1);
    dev_shows.shows("a policy of CEL is applied", || dev.apply(CEL_POLICY), |item| item["policies"] == 2);
    dev_shows.shows("an exception is applied", || dev.apply(EXCEPTIONS[0]), |item| item["exceptions"] == 1);
    dev_shows.shows("one of the other group", || dev.apply(EXCEPTIONS[1]), |item| item["exceptions"] == 2);

    // Two Pods and a report about each.
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut uids = Vec::new();
    for name in ["one", "two"] {
        let made = dev.api.post("/api/v1/namespaces/default/pods", &pod(name)).unwrap().ok();
        uids.push(made["metadata"]["uid"].as_str().unwrap().to_owned());
    }
    let results = |result: &str| json!([{"source": "kyverno", "policy": "p", "rule": "r", "result": result, "message": "m", "timestamp": {"seconds": 1, "nanos": 0}}]);
    let report = |name: &str, uid: &str| {
        json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": name, "namespace": "default"},
            "scope": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": name, "uid": uid}, "results": results("fail")})
    };
    dev_shows.shows("a report is applied", || dev.apply(&report("one", &uids[0]).to_string()), |item| item["findings"]["fail"] == 1);
    dev_shows.shows("another one", || dev.apply(&report("two", &uids[1]).to_string()), |item| item["findings"]["fail"] == 2);
    let patch = |result: &str| {
        let patch = json!({"results": results(result)}).to_string();
        dev.kubectl(&["patch", "policyreport", "one", "--type=merge", "-p", &patch]);
    };
    dev_shows.shows("a report is patched", || patch("warn"), |item| item["findings"]["warn"] == 1 && item["findings"]["fail"] == 1);
    dev_shows.shows("and back", || patch("fail"), |item| item["findings"]["fail"] == 2 && item["owners"]["fail"] == 2);

    // A workload takes both: one owner, and its deletion leaves none.
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let set = dev.api.post("/apis/apps/v1/namespaces/default/replicasets", &set).unwrap().ok();
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": set["metadata"]["uid"], "controller": true}]);
    let adopt = json!({"metadata": {"ownerReferences": owner}}).to_string();
    let adopted = |item: &Value| item["owners"]["fail"] == 1 && item["findings"]["fail"] == 2;
    dev_shows.shows("Pods are adopted", || _ = dev.kubectl(&["patch", "pods", "one", "two", "--type=merge", "-p", &adopt]), adopted);
    dev_shows.shows(
        "Pods are let go",
        || _ = dev.kubectl(&["patch", "pods", "one", "two", "--type=merge", "-p", "{\"metadata\": {\"ownerReferences\": null}}"]),
        |item| item["owners"]["fail"] == 2,
    );

    dev_shows.shows(
        "a rule is renamed, and its results are stale",
        || dev.apply(&POLICY.replace("RULE", "renamed")),
        |item| item["stale"] == 2 && item["findings"]["fail"] == 0,
    );
    dev_shows.shows("it has its old name", || dev.apply(&POLICY.replace("RULE", "r")), |item| item["stale"] == 0);
    dev_shows.watch.until_true("all of it is true", SOON, &[dev]);
    desk.assert_true(&fleet);

    dev_shows.shows("a report is deleted", || _ = dev.kubectl(&["delete", "policyreport", "one"]), |item| item["findings"]["fail"] == 1);
    let exceptions = "policyexceptions.kyverno.io,policyexceptions.policies.kyverno.io";
    dev_shows.shows("exceptions are deleted", || _ = dev.kubectl(&["delete", exceptions, "--all"]), |item| item["exceptions"] == 0);
    dev_shows.shows("a policy is deleted", || _ = dev.kubectl(&["delete", "clusterpolicy", "p"]), |item| item["policies"] == 1);
    dev_shows.watch.until_true("its results are stale", SOON, &[dev]);
    let (took, what) = dev_shows.slowest;
    say(format_args!("the slowest: {what}, {} ms after kubectl returned", took.as_millis()));
}
