//! The harness itself: what the other tests rely on holds.

use crate::support::api::Api;
use crate::support::cluster::{Fleet, Options, RUNNING, User, crds};
use crate::support::product::Desk;
use crate::support::proxy::{Act, Fault, Proxy};
use crate::support::recount::{Count, recount};
use crate::support::seed::{Seeded, Shape};
use crate::support::{beside, eventually};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn api_servers_are_separate_and_survive_faults() {
    let Some(fleet) = Fleet::start(&["dev", "qac"], Options { audit: true, ..Options::default() }) else { return };
    let (dev, qac) = (fleet.cluster("dev"), fleet.cluster("qac"));
    dev.namespace("only-here");
    assert_eq!(dev.api.get("/api/v1/namespaces/only-here").unwrap().status, 200);
    assert_eq!(qac.api.get("/api/v1/namespaces/only-here").unwrap().status, 404);

    for (user, status) in [(User::Admin, 200), (User::Viewer, 403), (User::Tenant, 403), (User::Nobody, 403), (User::Expired, 401)] {
        assert_eq!(dev.api_as(user).get("/api/v1/namespaces").unwrap().status, status, "{user:?}");
    }
    // The built-in roles are empty without the controller that aggregates them.
    dev.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: tenant, namespace: only-here}, \
         rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]}\n---\n\
         {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: tenant, namespace: only-here}, \
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: tenants}]}",
    );
    let tenant = dev.api_as(User::Tenant);
    eventually("the binding counts", SOON, || match tenant.get("/api/v1/namespaces/only-here/configmaps").unwrap().status {
        200 => Ok(()),
        status => Err(status),
    });
    assert_eq!(tenant.get("/api/v1/configmaps").unwrap().status, 403);

    dev.signal("api", "KILL");
    assert!(dev.api.get("/readyz").is_err());
    assert_eq!(qac.api.get("/readyz").unwrap().status, 200);
    fleet.restart(&["dev"]);
    assert_eq!(dev.api.get("/api/v1/namespaces/only-here").unwrap().status, 200, "data outlives the server");

    dev.signal("api", "STOP");
    dev.signal("api", "CONT");
    assert_eq!(dev.api.get("/readyz").unwrap().status, 200);
    assert!(dev.requests("").iter().any(|r| r == "get /api/v1/namespaces/only-here"), "the audit log tells what was asked");
}

#[test]
fn a_proxy_passes_everything_on_but_what_it_is_told() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    let proxy = Proxy::before(&fleet, "dev");
    let desk = Desk::new(&fleet, User::Admin, "").through(&fleet, &[&proxy]);
    let runtime = Arc::new(Runtime::new().unwrap());
    let api = |user: User| Api::new(&runtime, desk.kubeconfig(), &user.context("dev"));
    let (admin, namespaces) = (api(User::Admin), "/api/v1/namespaces");
    for (user, status) in [(User::Admin, 200), (User::Viewer, 403), (User::Expired, 401)] {
        assert_eq!(api(user).get(namespaces).unwrap().status, status, "whoever asks is asked for: {user:?}");
    }
    assert_eq!(admin.list(namespaces), dev.api.list(namespaces));

    let mark = proxy.mark();
    let busy = proxy.fault_times(1, "GET /api/v1/namespaces !watch", Fault::status(500, "InternalError", "no"));
    assert_eq!(
        [admin.get(namespaces).unwrap().status, admin.get(namespaces).unwrap().status, admin.get("/version").unwrap().status],
        [500, 200, 200]
    );
    assert_eq!((busy.hits(), proxy.count(mark, namespaces), proxy.count(mark, "")), (1, 2, 3));
    drop(busy);
    let short = proxy.fault("/api/v1/namespaces", Fault::EndAfter(40));
    assert_eq!(admin.get(namespaces).unwrap().body.as_str().map(str::len), Some(40), "not JSON any more");
    short.heal();
    let cut = proxy.fault("/api/v1/namespaces", Fault::CutAfter(40));
    assert!(admin.get(namespaces).is_err());
    cut.heal();
    let slow = proxy.fault("/api/v1/namespaces", Fault::Throttle(4000));
    let start = Instant::now();
    assert_eq!(admin.get(namespaces).unwrap().status, 200);
    assert!(start.elapsed() > Duration::from_millis(200), "{:?}", start.elapsed());
    slow.heal();
    proxy.refuse();
    assert!(admin.get(namespaces).is_err());
    proxy.accept();
    assert_eq!(admin.get(namespaces).unwrap().status, 200);

    // A watch goes on as it comes; lines are put in, and it is ended.
    let mark = proxy.mark();
    let watch = std::thread::spawn(move || admin.get("/api/v1/namespaces?watch=true&resourceVersion=0").unwrap().body);
    eventually("the namespaces are sent", SOON, || match proxy.asked(mark, "watch=true").first().map_or(0, |asked| asked.sent()) {
        sent if sent > 500 => Ok(()),
        sent => Err(sent),
    });
    assert_eq!(proxy.act("watch=true", &Act::Inject(b"not an event\n".to_vec())), 1);
    let sent = proxy.asked(mark, "watch=true")[0].sent();
    dev.namespace("later");
    eventually("and the new one", SOON, || match proxy.asked(mark, "watch=true")[0].sent() {
        now if now > sent + 100 => Ok(()),
        now => Err(now),
    });
    proxy.act("watch=true", &Act::End);
    let text = watch.join().unwrap();
    let text = text.as_str().unwrap();
    assert!(text.contains("\nnot an event\n{\"type\":\"ADDED\"") && text.contains("\"later\""), "{text}");
}

#[test]
fn nothing_outlives_a_fleet() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let run = fleet.run.clone();
    let pids = ["etcd", "api-dev"].map(|p| std::fs::read_to_string(run.join(format!("{p}.pid"))).unwrap().trim().to_owned());
    drop(fleet);
    assert!(!run.exists());
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(stat.is_err() || stat.is_ok_and(|s| s.contains(") Z ")), "process {pid} is still there");
    }
}

#[test]
fn kyverno_refuses_reports_and_collects() {
    let Some(fleet) = Fleet::start(&["dev"], Options { controllers: true, kyverno: true, ..Options::default() }) else { return };
    let dev = fleet.cluster("dev");
    // Two policies: Kyverno makes no rules for pod controllers where a policy also matches something else.
    dev.apply(
        "{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: named}, spec: {rules: [{name: named, match: {any: [{resources: {kinds: [ConfigMap], \
         names: [bad*]}}]}, validate: {failureAction: Enforce, message: not so, deny: {}}}]}}\n---\n\
         {apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: seen}, spec: {rules: [{name: seen, match: {any: [{resources: {kinds: [Pod], \
         namespaces: [default]}}]}, validate: {failureAction: Audit, message: seen, deny: {}}}]}}",
    );
    eventually("the policy is enforced", SOON, || {
        let refused = dev.try_kubectl(&["create", "configmap", "bad", "--dry-run=server"], "");
        if refused.status.success() { Err("let through") } else { Ok(()) }
    });
    dev.kubectl(&["create", "deployment", "web", "--image=registry.example/web:1"]);
    // Deployment, ReplicaSet and Pod have a report each, and one owner.
    let count = eventually("three reports", Duration::from_secs(120), || {
        let count = recount(&dev.api);
        let fails = Count::total(&count.findings)[3];
        if fails == 3 { Ok(count) } else { Err(format!("{fails} failures")) }
    });
    assert_eq!(Count::total(&count.owners)[3], 1);
    dev.kubectl(&["delete", "deployment", "web"]);
    eventually("the reports are collected with their resources", Duration::from_secs(60), || {
        let count = recount(&dev.api);
        if count.findings.is_empty() { Ok(()) } else { Err(format!("{count:?}")) }
    });
}

#[test]
fn the_recount_counts_by_hand() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.13.4"));
    dev.apply(
        "{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: p}, spec: {rules: [{name: r, match: {any: [{resources: {kinds: [Pod]}}]}, \
         validate: {message: m, deny: {}}}]}}",
    );
    let report = |name: &str, scope: &serde_json::Value, results: serde_json::Value| {
        let body = json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": name}, "scope": scope, "results": results});
        dev.api.post("/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports", &body).unwrap().ok();
    };
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": name, "uid": name});
    let result = |rule: &str, result: &str, at: u64| json!({"source": "kyverno", "policy": "p", "rule": rule, "result": result, "timestamp": {"seconds": at, "nanos": 0}});
    report("a", &pod("a"), json!([result("r", "fail", 10), result("gone", "fail", 10), {"policy": "p"}]));
    report("b", &pod("a"), json!([result("r", "pass", 20)])); // newer than a's
    report("c", &pod("c"), json!([result("autogen-r", "pass", 5)]));
    report("d", &pod("c"), json!([result("autogen-r", "error", 5), result("r", "skip", 5)])); // as old as c's, and worse
    let row = ("kyverno".to_owned(), "p".to_owned());
    let expected = Count {
        findings: BTreeMap::from([(row.clone(), [1, 1, 0, 0, 1])]),
        owners: BTreeMap::from([(row, [1, 0, 0, 0, 1])]),
        stale: 1,
        malformed: 1,
        foreign: 0,
    };
    assert_eq!(recount(&dev.api), expected);
}

#[test]
fn two_recounts_agree_on_seeded_reports() {
    let Some(fleet) = Fleet::start(&["old", "new"], Options::default()) else { return };
    for (name, release) in [("old", "kyverno-1.13.4"), ("new", RUNNING)] {
        let cluster = fleet.cluster(name);
        cluster.install_crds(&crds(release));
        cluster.install_crds(&crds("openreports"));
        let mut seeded = Seeded::new(cluster, 3, 4, 7);
        for shape in [Shape::Policy, Shape::Resource, Shape::OpenReports, Shape::Foreign] {
            seeded.reports(shape);
        }
        seeded.oddities();
        seeded.churn(100);
        let count = recount(&cluster.api);
        let all: u64 = Count::total(&count.findings).iter().sum();
        let top: u64 = Count::total(&count.owners).iter().sum();
        assert!(
            all > 600 && top > 150 && top < all && count.stale > 40 && count.malformed == 2,
            "{all} {top} {} {}",
            count.stale,
            count.malformed
        );
        second_opinion(&fleet, name, &count);
    }
}

/// The acceptance script's own count, where it lies beside the repository.
fn second_opinion(fleet: &Fleet, context: &str, count: &Count) {
    let Some(script) = beside("accept/recount") else { return };
    let output =
        Command::new("python3").arg(script).arg("--csv").arg("--kubeconfig").arg(fleet.kubeconfig()).arg(context).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut theirs = Count { stale: count.stale, malformed: count.malformed, foreign: count.foreign, ..Count::default() };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields = line.split(',').collect::<Vec<_>>();
        let [_, source, policy, numbers @ ..] = fields.as_slice() else { panic!("{line}") };
        let number = |i: usize| numbers[i].parse::<u64>().unwrap();
        let row = ((*source).to_owned(), (*policy).to_owned());
        theirs.findings.insert(row.clone(), std::array::from_fn(number));
        theirs.owners.insert(row, std::array::from_fn(|i| number(i + 5)));
    }
    assert_eq!(*count, theirs);
    let totals = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        totals.contains(&format!("stale {} malformed {} foreign {}", count.stale, count.malformed, count.foreign)),
        "{totals} {count:?}"
    );
}
