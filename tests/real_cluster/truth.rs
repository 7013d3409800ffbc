//! Four clusters with the running Kyverno and policies of every kind: whatever people do with kubectl, policydeck's numbers are those of a recount.

use crate::support::cluster::{Cluster, Fleet, Options, RUNNING, User, module};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, environment, state_of};
use crate::support::recount::{Count, recount};
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// Kyverno's reports follow in seconds; four of them share two cores.
const SCANNED: Duration = Duration::from_secs(150);

/// How long reports must stay the same before Kyverno counts as done.
const QUIET: Duration = Duration::from_secs(5);

/// Own manifests: what Kyverno judges, of each kind that judges.
const JUDGES: &str = "
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: labels}, spec: {rules: [
  {name: team, match: {any: [{resources: {kinds: [Pod]}}]}, exclude: {any: [{resources: {namespaces: [tools]}}]},
   validate: {failureAction: Audit, message: no team, pattern: {metadata: {labels: {team: '?*'}}}}},
  {name: app, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {failureAction: Audit, message: no app, pattern: {metadata: {labels: {app: '?*'}}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: tags, annotations: {pod-policies.kyverno.io/autogen-controllers: none}}, spec: {rules: [
  {name: latest, match: {any: [{resources: {kinds: [Pod, Deployment]}}]}, preconditions: {all: [{key: '{{ request.object.kind }}', operator: Equals, value: Pod}]},
   validate: {failureAction: Audit, message: latest, pattern: {spec: {containers: [{image: '!*:latest'}]}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: no-privileged}, spec: {rules: [
  {name: privileged, match: {any: [{resources: {kinds: [Pod], namespaces: [shop]}}]}, validate: {failureAction: Enforce, message: privileged,
   pattern: {spec: {containers: [{=(securityContext): {=(privileged): false}}]}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: owned-namespaces}, spec: {rules: [
  {name: owner, match: {any: [{resources: {kinds: [Namespace]}}]}, validate: {failureAction: Audit, message: no owner, pattern: {metadata: {labels: {owner: '?*'}}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: Policy, metadata: {name: labels, namespace: shop}, spec: {rules: [
  {name: tier, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {failureAction: Audit, message: no tier, pattern: {metadata: {labels: {tier: '?*'}}}}}]}}
---
{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: cel-labels}, spec: {validationActions: [Audit], validations: [
  {expression: \"has(object.metadata.labels) && 'team' in object.metadata.labels\", message: no team}],
  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}]}}}
---
{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: cel-replicas}, spec: {validationActions: [Audit], validations: [
  {expression: 'object.spec.replicas >= 3', message: too few}],
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments, statefulsets]}]}}}
---
{apiVersion: policies.kyverno.io/v1, kind: NamespacedValidatingPolicy, metadata: {name: cel-own, namespace: shop}, spec: {validationActions: [Audit], validations: [
  {expression: 'false', message: never}],
  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: stamp}, spec: {rules: [
  {name: stamp, match: {any: [{resources: {kinds: [ConfigMap]}}]}, mutate: {patchStrategicMerge: {metadata: {labels: {stamped: 'yes'}}}}}]}}
---
{apiVersion: policies.kyverno.io/v1, kind: MutatingPolicy, metadata: {name: cel-stamp}, spec: {
  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]},
  mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: 'Object{metadata: Object.metadata{labels: Object.metadata.labels{cel: \"yes\"}}}'}}]}}
";

/// From Kyverno's own conformance tests: the kinds that generate, mutate, delete and check images, and audits of real size.
const FIXTURES: [&str; 11] = [
    "reports/background/test-report-background-mode/policy.yaml",
    "reports/background/exception/policy.yaml",
    "image-validating-policies/validation-actions/warn/policy.yaml",
    "cleanup/policy/cleanup-pod/policy.yaml",
    "cleanup/clusterpolicy/cleanup-pod/policy.yaml",
    "deleting-policies/delete-pod/policy.yaml",
    "generating-policies/webhook/match-conditions/policy.yaml",
    "namespaced-deleting-policies/delete-pod/policy.yaml",
    "namespaced-generating-policies/data/generate-cm/policy.yaml",
    "namespaced-mutating-policies/existing/background-scan/policy.yaml",
    "namespaced-validating-policies/validation-actions/audit/policy.yaml",
];

/// The namespaces of the manifests above.
const NAMESPACES: [&str; 5] = ["shop", "tools", "test-namespace", "ndpol-test", "test-nmpol-background-scan-ns"];

const KINDS: [(&str, &str); 13] = [
    ("kyverno.io", "ClusterPolicy"),
    ("kyverno.io", "Policy"),
    ("kyverno.io", "CleanupPolicy"),
    ("kyverno.io", "ClusterCleanupPolicy"),
    ("policies.kyverno.io", "ValidatingPolicy"),
    ("policies.kyverno.io", "NamespacedValidatingPolicy"),
    ("policies.kyverno.io", "ImageValidatingPolicy"),
    ("policies.kyverno.io", "MutatingPolicy"),
    ("policies.kyverno.io", "NamespacedMutatingPolicy"),
    ("policies.kyverno.io", "GeneratingPolicy"),
    ("policies.kyverno.io", "NamespacedGeneratingPolicy"),
    ("policies.kyverno.io", "DeletingPolicy"),
    ("policies.kyverno.io", "NamespacedDeletingPolicy"),
];

const EXCEPTIONS: &str = "
{apiVersion: kyverno.io/v2, kind: PolicyException, metadata: {name: old, namespace: tools}, spec: {match: {any: [{resources: {kinds: [Pod, Deployment, ReplicaSet],
  namespaces: [shop], names: [web*]}}]}, exceptions: [{policyName: labels, ruleNames: [team, autogen-team]}, {policyName: 'podsecurity-*', ruleNames: ['*']}]}}
---
{apiVersion: policies.kyverno.io/v1, kind: PolicyException, metadata: {name: new, namespace: tools}, spec: {policyRefs: [{kind: ValidatingPolicy, name: cel-labels}],
  matchConditions: [{name: bare, expression: \"object.metadata.name.startsWith('bare')\"}]}}
";

const STATEFUL: &str = "
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: store, namespace: shop}, spec: {replicas: 2, serviceName: store, selector: {matchLabels: {app: store}},
  template: {metadata: {labels: {app: store}}, spec: {containers: [{name: c, image: 'registry.example/store:1'}]}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {schedule: '0 3 1 1 *', jobTemplate: {spec: {template: {spec: {
  restartPolicy: Never, containers: [{name: c, image: 'registry.example/nightly:latest'}]}}}}}}
";

/// Waits until Kyverno has nothing more to write: at least `least` results, and the same for a while.
fn quiet(what: &str, clusters: &[&Cluster], least: u64) -> Vec<Count> {
    let mut seen: Option<(Vec<Count>, Instant)> = None;
    eventually(what, SCANNED, || {
        let counts = clusters.iter().map(|c| recount(&c.api)).collect::<Vec<_>>();
        let few = counts.iter().map(|c| Count::total(&c.findings).iter().sum::<u64>()).find(|sum| *sum < least);
        if let Some(sum) = few {
            return Err(format!("{sum} findings, of at least {least}"));
        }
        if let Some(pod) = clusters.iter().find_map(|c| unreported(c)) {
            return Err(format!("no report about {pod}"));
        }
        match &seen {
            Some((before, since)) if *before == counts && since.elapsed() >= QUIET => return Ok(counts),
            Some((before, _)) if *before == counts => {}
            _ => seen = Some((counts, Instant::now())),
        }
        Err("it keeps changing".to_owned())
    })
}

/// A Pod that Kyverno has not reported on yet; its reports are named after what they are about.
fn unreported(cluster: &Cluster) -> Option<String> {
    let reports = ["wgpolicyk8s.io/v1alpha2/policyreports", "openreports.io/v1alpha1/reports"];
    let reports = reports.iter().filter_map(|path| cluster.api.list(&format!("/apis/{path}"))).flatten();
    let names = reports.filter_map(|r| r["metadata"]["name"].as_str().map(str::to_owned)).collect::<HashSet<_>>();
    let pods = cluster.api.list("/api/v1/namespaces/shop/pods").unwrap_or_default();
    let missing = pods.iter().map(|pod| &pod["metadata"]).find(|m| m["uid"].as_str().is_none_or(|uid| !names.contains(uid)))?;
    Some(format!("{} {}", cluster.name, missing["name"]))
}

/// Quiet, and what was followed all the time equals the recount.
fn settled(watch: &mut Watch, what: &str, clusters: &[&Cluster], least: u64) -> Vec<Count> {
    let counts = quiet(what, clusters, least);
    watch.until_true(what, SCANNED, clusters);
    counts
}

#[test]
fn four_clusters_with_kyverno_are_counted_right() {
    let Some(fleet) = Fleet::start(&["dev", "qac", "sta", "edge"], Options { controllers: true, kyverno: true, ..Options::default() })
    else {
        return;
    };
    let clusters = fleet.clusters().iter().collect::<Vec<_>>();
    let desk = Desk::new(&fleet, User::Admin, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    let fixtures = FIXTURES.map(|file| module(RUNNING).join("test/conformance/chainsaw").join(file));
    for cluster in &clusters {
        for name in NAMESPACES {
            cluster.namespace(name);
        }
        cluster.apply(JUDGES);
        for fixture in &fixtures {
            cluster.kubectl(&["apply", "-f", &fixture.display().to_string()]);
        }
    }
    create(&clusters);
    let counts = settled(&mut watch, "workloads are reported", &clusters, 60);
    for (cluster, count) in clusters.iter().zip(&counts) {
        let sources = count.findings.keys().map(|(source, _)| source.as_str()).collect::<BTreeSet<_>>();
        assert!(sources.contains("kyverno") && sources.contains("KyvernoValidatingPolicy"), "{}: {sources:?}", cluster.name);
        let item = environment(watch.latest(), &cluster.name);
        let missing = |(group, kind): &&(&str, &str)| {
            !item["kinds"].as_array().unwrap().iter().any(|k| k["group"] == *group && k["kind"] == *kind && k["objects"].as_u64() > Some(0))
        };
        assert!(KINDS.iter().find(missing).is_none(), "{:?}: {item}", KINDS.iter().find(missing));
    }
    desk.assert_true(&fleet);

    change(&clusters);
    settled(&mut watch, "changed workloads are reported", &clusters, 60);
    blocked(&mut watch, fleet.cluster("edge"));

    for cluster in &clusters {
        cluster.apply(EXCEPTIONS);
    }
    let excepted = eventually("exceptions are used", SCANNED, || {
        let counts = clusters.iter().map(|c| recount(&c.api)).collect::<Vec<_>>();
        let skips = counts.iter().map(|c| Count::total(&c.findings)[1]).collect::<Vec<_>>();
        if skips.iter().all(|n| *n > 0) { Ok(skips) } else { Err(format!("{skips:?}")) }
    });
    settled(&mut watch, "exceptions are followed", &clusters, 60);
    assert!(excepted.len() == 4 && environment(watch.latest(), "dev")["exceptions"] == 2, "{}", watch.latest());
    desk.assert_true(&fleet);

    policies_change(&clusters);
    settled(&mut watch, "changed policies are followed", &clusters, 20);
    openreports(&fleet, &mut watch);
    desk.assert_true(&fleet);

    fleet.cluster("dev").kubectl(&["delete", "namespace", "shop"]);
    settled(&mut watch, "a namespace goes with everything in it", &clusters, 10);
    desk.assert_true(&fleet);
}

fn create(clusters: &[&Cluster]) {
    for (cluster, replicas) in clusters.iter().zip(1..) {
        cluster.kubectl(&[
            "create",
            "deployment",
            "web",
            "-n",
            "shop",
            "--image=registry.example/web:1",
            &format!("--replicas={replicas}"),
        ]);
        cluster.kubectl(&["create", "deployment", "helper", "-n", "tools", "--image=registry.example/helper:latest"]);
        cluster.apply(STATEFUL);
        for name in ["bare-1", "bare-2"] {
            cluster.kubectl(&["run", name, "-n", "shop", "--image=registry.example/bare:latest"]);
        }
        cluster.kubectl(&["create", "job", "now", "--from=cronjob/nightly", "-n", "shop"]);
        cluster.kubectl(&["create", "configmap", "settings", "--from-literal=a=b", "-n", "shop"]);
    }
}

fn change(clusters: &[&Cluster]) {
    for cluster in clusters {
        cluster.kubectl(&["set", "image", "deployment/web", "web=registry.example/web:latest", "-n", "shop"]);
        cluster.kubectl(&["scale", "deployment/helper", "--replicas=3", "-n", "tools"]);
        cluster.kubectl(&["scale", "statefulset/store", "--replicas=1", "-n", "shop"]);
        cluster.kubectl(&["label", "pod", "bare-1", "team=one", "tier=front", "-n", "shop"]);
        cluster.kubectl(&["delete", "pod", "bare-2", "-n", "shop", "--wait=false"]);
        cluster.kubectl(&["label", "namespace", "shop", "owner=somebody"]);
    }
    clusters[0].kubectl(&["delete", "cronjob", "nightly", "-n", "shop"]);
    clusters[1].kubectl(&["delete", "statefulset", "store", "-n", "shop"]);
    clusters[2].kubectl(&["scale", "deployment/web", "--replicas=0", "-n", "shop"]);
    clusters[3].kubectl(&["delete", "deployment", "helper", "-n", "tools"]);
}

/// What Kyverno refuses is told by its events.
fn blocked(watch: &mut Watch, cluster: &Cluster) {
    let before = environment(watch.latest(), &cluster.name)["blocked"].as_u64().unwrap();
    let refused = cluster.try_kubectl(&["run", "bad", "-n", "shop", "--image=registry.example/bad:1", "--privileged"], "");
    assert!(!refused.status.success(), "Kyverno enforces no-privileged");
    watch.until("a refused admission is counted", Duration::from_secs(30), |status| {
        environment(status, &cluster.name)["blocked"].as_u64() == Some(before + 1)
    });
}

fn policies_change(clusters: &[&Cluster]) {
    let renamed = JUDGES.replace("{name: team,", "{name: squad,").replace("object.spec.replicas >= 3", "object.spec.replicas >= 1");
    clusters[0].apply(&renamed);
    clusters[1].kubectl(&["delete", "clusterpolicy", "labels", "podsecurity-subrule-restricted"]);
    clusters[2].kubectl(&["delete", "validatingpolicy", "cel-labels"]);
    clusters[3].kubectl(&["delete", "policyexceptions.kyverno.io,policyexceptions.policies.kyverno.io", "--all", "-A"]);
    clusters[3].kubectl(&["delete", "policies.kyverno.io,namespacedvalidatingpolicies.policies.kyverno.io", "--all", "-n", "shop"]);
}

/// Kyverno of one cluster moves its reports to the other group, as an upgrade does.
fn openreports(fleet: &Fleet, watch: &mut Watch) {
    let sta = fleet.cluster("sta");
    fleet.start_kyverno(&["sta"], true);
    eventually("the reports are written to the other group", SCANNED, || {
        let reports = sta.api.list("/apis/openreports.io/v1alpha1/reports").unwrap_or_default().len();
        if reports >= 5 { Ok(()) } else { Err(format!("{reports} reports")) }
    });
    settled(watch, "reports of the other group are followed", &[sta], 20);
    let item = environment(watch.latest(), "sta");
    assert_eq!(state_of(item, "openreports.io", "Report"), "live", "{item}");
}
