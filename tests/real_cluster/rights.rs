//! What people with few rights see: the right words in the right cells, the rest of the numbers right, an answer at once, and exit status 4.

use crate::support::cluster::{Cluster, Fleet, Options, User};
use crate::support::eventually;
use crate::support::product::{Desk, environment, state_of};
use crate::support::proxy::{Fault, Proxy};
use crate::support::recount::{Count, recount};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// Kyverno scans new workloads in the background.
const SCANNED: Duration = Duration::from_secs(150);

/// What will not change by waiting is answered without waiting; the default `--wait` is a minute.
const QUICK: Duration = Duration::from_secs(10);

const POLICIES: &str = "
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: seen}, spec: {rules: [{name: seen, match: {any: [{resources: {kinds: [Pod], namespaces: [team-a, team-b]}}]},
  validate: {failureAction: Audit, message: seen, deny: {}}}]}}
---
{apiVersion: kyverno.io/v1, kind: Policy, metadata: {name: own, namespace: team-a}, spec: {rules: [{name: own, match: {any: [{resources: {kinds: [Pod]}}]},
  validate: {failureAction: Audit, message: own, deny: {}}}]}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: namespaces}, spec: {rules: [{name: named, match: {any: [{resources: {kinds: [Namespace], names: [team-*]}}]},
  validate: {failureAction: Audit, message: named, deny: {}}}]}}
";

/// Gives a role to a group, everywhere or in a namespace.
fn bind(cluster: &Cluster, role: &str, group: &str, namespace: Option<&str>) {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let place = namespace.map(|n| format!(", namespace: {n}")).unwrap_or_default();
    let name = role.replace(':', "-");
    cluster.apply(&format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: {kind}, metadata: {{name: test-{name}{place}, labels: {{test: rights}}}}, \
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, \
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: {group}}}]}}"
    ));
}

/// Takes everything away that [`bind`] gave.
fn unbind(cluster: &Cluster) {
    cluster.kubectl(&["delete", "clusterrolebindings,rolebindings", "-A", "-l", "test=rights"]);
    for user in [User::Viewer, User::Tenant] {
        may(cluster, user, "/apis/wgpolicyk8s.io/v1alpha2/policyreports", false);
        may(cluster, user, "/apis/wgpolicyk8s.io/v1alpha2/namespaces/team-a/policyreports", false);
    }
}

/// Waits until the server's authorizer has heard of a binding.
fn may(cluster: &Cluster, user: User, path: &str, allowed: bool) {
    let api = cluster.api_as(user);
    eventually("the authorizer knows", SOON, || match api.get(&format!("{path}?limit=1")).unwrap().status {
        200 if allowed => Ok(()),
        403 if !allowed => Ok(()),
        status => Err(status),
    });
}

/// `status` as this desk's user: the item of the only environment, after the checks that hold for everybody.
fn status(desk: &Desk, exit: i32) -> Value {
    let start = Instant::now();
    let (document, code) = desk.json(&["status"]);
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
    assert_eq!(code, Some(exit), "{document}");
    assert_eq!(document["complete"], exit == 0);
    let item = environment(&document, "dev").clone();
    in_words(&item);
    item
}

/// Sentences for people: no Debug output, no JSON of the server's, one line.
fn in_words(item: &Value) {
    let notes = item["notes"].as_array().into_iter().flatten();
    for text in notes.chain([&item["message"]]).filter_map(Value::as_str) {
        let bad = ["Some(", "None", "Error(", "Refusal", "Forbidden(", "Unauthorized(", "{", "}", "\n", "\\\"", "Status", "::"];
        let found: Vec<_> = bad.into_iter().filter(|bad| text.contains(bad)).collect();
        assert!(found.is_empty() && text.len() < 1200, "{found:?} in: {text}");
    }
}

fn kinds_in<'a>(item: &'a Value, state: &str) -> Vec<&'a str> {
    item["kinds"].as_array().unwrap().iter().filter(|k| k["state"] == state).filter_map(|k| k["kind"].as_str()).collect()
}

#[test]
fn everybody_sees_what_they_may_and_is_told_the_rest() {
    let Some(fleet) = Fleet::start(&["dev"], Options { controllers: true, kyverno: true, ..Options::default() }) else { return };
    let dev = fleet.cluster("dev");
    dev.namespace("team-a");
    dev.namespace("team-b");
    dev.apply(POLICIES);
    for namespace in ["team-a", "team-b"] {
        dev.kubectl(&["create", "deployment", "web", "--image=registry.example/web:1", "--replicas=2", "-n", namespace]);
    }
    dev.kubectl(&["apply", "-f", &Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/rbac/viewer.yaml").display().to_string()]);
    // Deployment, ReplicaSet and two Pods: four reports a namespace; team-a has two policies. And the two namespaces themselves.
    let count = eventually("everything is scanned", SCANNED, || {
        let count = recount(&dev.api);
        let fail = Count::total(&count.findings)[3];
        if fail == 4 + 8 + 2 { Ok(count) } else { Err(format!("{fail} failures")) }
    });

    nobody_and_the_expired(&fleet);
    rights_that_are_given_show_by_themselves(&fleet);
    the_shipped_role_sees_all(&fleet);
    owners_are_guessed_where_pods_are_denied(&fleet, &count);
    the_built_in_view(&fleet, &count);
    a_single_namespace(&fleet);
}

fn nobody_and_the_expired(fleet: &Fleet) {
    let item = status(&Desk::new(fleet, User::Nobody, ""), 4);
    assert_eq!(item["state"], "denied", "{item}");
    assert!(item["findings"].is_null() && item["policies"].is_null() && item["blocked"].is_null(), "unknown is not 0: {item}");
    assert!(kinds_in(&item, "live").is_empty() && kinds_in(&item, "denied").len() >= 10, "{item}");
    let message = item["message"].as_str().unwrap();
    assert!(message.contains("you may not list") && message.contains("assets/rbac/viewer.yaml"), "{message}");

    let item = status(&Desk::new(fleet, User::Expired, ""), 4);
    assert_eq!(item["state"], "login-needed", "{item}");
    assert!(item["findings"].is_null() && item["kubernetes"].is_null(), "{item}");
    let message = item["message"].as_str().unwrap();
    assert!(message.contains("401") && message.contains("token"), "{message}");

    // One of each beside one that works: the words are for each, and the numbers of the one are there.
    let context = |user: User| user.context("dev");
    let config = [("one", User::Admin), ("two", User::Nobody), ("three", User::Expired)].map(|(name, user)| {
        format!("[[environments]]\nname = \"{name}\"\ncontext = \"{}\"\nsteps = [{{ mode = \"audit\" }}]\n", context(user))
    });
    let desk = Desk::with_config(fleet, &config.concat());
    for command in ["status", "violations", "findings", "policies"] {
        let start = Instant::now();
        let answer = desk.run(&[command]);
        assert!(start.elapsed() < QUICK, "{command}: {:?}", start.elapsed());
        assert_eq!(answer.status, Some(4), "{command}: {}", answer.stderr);
        assert!(
            answer.stderr.contains("two: ") && answer.stderr.contains("three: ") && !answer.stderr.contains("one: "),
            "{command}: {}",
            answer.stderr
        );
    }
    let (document, _) = desk.json(&["status"]);
    assert_eq!(environment(&document, "one")["complete"], true, "{document}");
}

fn rights_that_are_given_show_by_themselves(fleet: &Fleet) {
    let dev = fleet.cluster("dev");
    let desk = Desk::new(fleet, User::Viewer, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("nothing may be read", SOON, |status| environment(status, "dev")["state"] == "denied");
    bind(dev, "policydeck-viewer", "viewers", None);
    let state = |status: &Value| state_of(environment(status, "dev"), "wgpolicyk8s.io", "PolicyReport").to_owned();
    watch.until("reports are live without a restart", SOON, |status| state(status) == "live");
    watch.until("everything is", SOON, |status| {
        environment(status, "dev")["complete"] == true && environment(status, "dev")["state"] == "live"
    });
    watch.until_true("and true", SOON, &[dev]);
}

fn the_shipped_role_sees_all(fleet: &Fleet) {
    let dev = fleet.cluster("dev");
    // Kyverno's version and settings are in its namespace, to which the shipped file has a Role.
    dev.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: test-kyverno, namespace: kyverno, labels: {test: rights}}, \
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: policydeck-viewer}, \
         subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: viewers}]}",
    );
    may(dev, User::Viewer, "/apis/apps/v1/namespaces/kyverno/deployments", true);
    let desk = Desk::new(fleet, User::Viewer, "");
    let item = status(&desk, 0);
    assert_eq!((&item["state"], kinds_in(&item, "denied")), (&Value::from("live"), vec![]), "{item}");
    assert!(item["kyverno"].is_string() && item["clusterUid"].is_string() && item["blocked"].is_u64(), "{item}");
    desk.assert_true(fleet);
    a_moment_without_roles(fleet);
    unbind(dev);
}

/// A server that starts denies everything, discovery too, until it has read the roles.
fn a_moment_without_roles(fleet: &Fleet) {
    let proxy = Proxy::before(fleet, "dev");
    let desk = Desk::new(fleet, User::Viewer, "").through(fleet, &[&proxy]);
    let mut watch = desk.watch(&["status", "--watch"]);
    let is = |state: &'static str| move |status: &Value| environment(status, "dev")["state"] == state;
    let whole = |status: &Value| is("live")(status) && environment(status, "dev")["complete"] == true;
    watch.until("everything may be read", SOON, whole);
    let no_roles = || Fault::status(403, "Forbidden", "forbidden: User \"viewer\" cannot get path \"/apis\"");
    // Discovery alone: it is said, and taken back.
    let _discovery = proxy.fault_times(1, "/apis !/apis/", no_roles());
    watch.until("discovery is denied", SOON, is("denied"));
    watch.until("and is not any more", SOON, is("live"));
    // Everything, after the server was away: it is starting, and nothing is denied.
    let first = watch.seen.len();
    proxy.refuse();
    watch.until("the server is away", SOON, is("retrying"));
    let everything = proxy.fault("GET", no_roles());
    proxy.accept();
    eventually("it was asked some times", SOON, || if everything.hits() >= 6 { Ok(()) } else { Err(everything.hits()) });
    everything.heal();
    watch.until("the server has started", SOON, whole);
    let denied = |status: &Value| is("denied")(status) || environment(status, "dev")["kinds"].to_string().contains("denied");
    let told = watch.seen[first..].iter().find(|(_, status)| denied(status));
    assert!(told.is_none(), "{told:?}");
}

fn owners_are_guessed_where_pods_are_denied(fleet: &Fleet, count: &Count) {
    let dev = fleet.cluster("dev");
    dev.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: no-workloads}, rules: [{apiGroups: [kyverno.io, policies.kyverno.io, wgpolicyk8s.io, \
         openreports.io, events.k8s.io], resources: ['*'], verbs: [get, list, watch]}, {apiGroups: [''], resources: [events], verbs: [get, list, watch]}]}",
    );
    bind(dev, "no-workloads", "viewers", None);
    may(dev, User::Viewer, "/apis/wgpolicyk8s.io/v1alpha2/policyreports", true);
    let item = status(&Desk::new(fleet, User::Viewer, ""), 0);
    let notes = item["notes"].to_string();
    assert!(notes.contains("owners are guessed by name") && notes.contains("pods"), "{notes}");
    assert!(kinds_in(&item, "denied").contains(&"Pod"), "{item}");
    let named = |tally: &Value| ["pass", "skip", "warn", "fail", "error"].map(|r| tally[r].as_u64().unwrap());
    assert_eq!(named(&item["findings"]), Count::total(&count.findings), "{item}");
    // The names of a Deployment's ReplicaSets and Pods tell their owner.
    assert_eq!(named(&item["owners"]), Count::total(&count.owners), "{item}");
    unbind(dev);
}

fn the_built_in_view(fleet: &Fleet, count: &Count) {
    let dev = fleet.cluster("dev");
    bind(dev, "view", "viewers", None);
    may(dev, User::Viewer, "/apis/wgpolicyk8s.io/v1alpha2/policyreports", true);
    // Kyverno's chart lets `view` see policies and reports, but not the exceptions of kyverno.io.
    let item = status(&Desk::new(fleet, User::Viewer, ""), 4);
    assert_eq!(item["state"], "live", "{item}");
    // Nor does it show what the API server sends to Kyverno: whether policies are in force is unknown then.
    let admission =
        ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    assert_eq!(kinds_in(&item, "denied"), [&["PolicyException"][..], &admission[..]].concat(), "{item}");
    assert_eq!(state_of(&item, "kyverno.io", "PolicyException"), "denied");
    let message = item["message"].as_str().unwrap();
    assert!(message.contains("policyexceptions") && message.contains("viewer.yaml"), "{message}");
    assert_eq!(item["findings"]["fail"], Count::total(&count.findings)[3], "what may be read is right: {item}");
    assert_eq!(item["owners"]["fail"], Count::total(&count.owners)[3], "{item}");
    unbind(dev);
}

fn a_single_namespace(fleet: &Fleet) {
    let dev = fleet.cluster("dev");
    bind(dev, "policydeck-viewer", "tenants", Some("team-a"));
    may(dev, User::Tenant, "/apis/wgpolicyk8s.io/v1alpha2/namespaces/team-a/policyreports", true);
    let desk = Desk::new(fleet, User::Tenant, "namespaces = [\"team-a\"]");
    let item = status(&desk, 4);
    assert_eq!(item["state"], "live", "{item}");
    for (group, kind, state) in [
        ("wgpolicyk8s.io", "PolicyReport", "live"),
        ("wgpolicyk8s.io", "ClusterPolicyReport", "denied"),
        ("kyverno.io", "Policy", "live"),
        ("kyverno.io", "ClusterPolicy", "denied"),
        ("kyverno.io", "PolicyException", "live"),
    ] {
        assert_eq!(state_of(&item, group, kind), state, "{kind}: {item}");
    }
    // Of eight results, those of the ClusterPolicy are not taken for stale because it cannot be seen.
    assert_eq!((&item["findings"]["fail"], &item["owners"]["fail"]), (&8.into(), &2.into()), "{item}");
    assert_eq!(item["policies"], 1, "{item}");
    let message = item["message"].as_str().unwrap();
    assert!(message.contains("clusterpolicies") && message.contains("ClusterPolicyReport"), "{message}");

    // Rights in a namespace without saying which: everything is denied, and the remedy names the setting.
    let item = status(&Desk::new(fleet, User::Tenant, ""), 4);
    assert_eq!(item["state"], "denied", "{item}");
    unbind(dev);
}
