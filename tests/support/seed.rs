//! Reports as the field has them, for clusters in which no Kyverno runs: four shapes over the same workloads, the policies they name, and churn.
//!
//! Shapes after `K:pkg/utils/report` of several releases: one report a resource with a `scope` (1.11 and later), one report a policy and namespace with
//! `resources` (1.10), the same in openreports.io (1.15 and later, where asked for), and another tool's. One finding may stand in several of them, with
//! different times and results, as during a move from one group to the other.

mod churn;

use super::cluster::Cluster;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How reports are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// wgpolicyk8s.io, one report a resource.
    Resource,
    /// wgpolicyk8s.io, one report a policy and namespace.
    Policy,
    /// openreports.io, one report a resource.
    OpenReports,
    /// wgpolicyk8s.io, another tool's: `resources` and no scope.
    Foreign,
}

/// Policy, rules, severity, category, message of a failure.
type Template = (&'static str, &'static [&'static str], &'static str, &'static str, &'static str);

const POLICIES: [Template; 10] = [
    ("require-labels", &["check-for-labels"], "medium", "Best Practices", "The label `app.kubernetes.io/name` is required."),
    ("disallow-latest-tag", &["require-image-tag", "validate-image-tag"], "medium", "Best Practices", "An image tag is required."),
    ("require-limits", &["validate-resources"], "medium", "Best Practices", "CPU and memory requests and a memory limit are required."),
    ("require-probes", &["validate-probes"], "low", "Best Practices", "A probe is required for every container."),
    ("read-only-root", &["validate-root"], "medium", "Best Practices", "The root filesystem must be read-only."),
    ("restrict-registries", &["validate-registries"], "high", "Supply Chain", "Unknown image registry."),
    (
        "disallow-privileged",
        &["privileged-containers", "privileged-init"],
        "high",
        "Pod Security (Baseline)",
        "Privileged mode is disallowed.",
    ),
    ("disallow-host-path", &["host-path"], "medium", "Pod Security (Baseline)", "HostPath volumes are forbidden."),
    ("run-as-nonroot", &["run-as-nonroot"], "medium", "Pod Security (Restricted)", "Running as root is not allowed."),
    ("drop-capabilities", &["require-drop-all"], "critical", "Pod Security (Restricted)", "Containers must drop `ALL` capabilities."),
];

/// Named in reports, in no cluster: what was deleted since.
const RETIRED: Template = ("retired-policy", &["old-rule"], "low", "Best Practices", "Nobody remembers.");

/// What was written to a cluster, so that it can be changed.
pub(crate) struct Seeded<'a> {
    cluster: &'a Cluster,
    random: Random,
    things: Vec<Thing>,
    reports: Vec<Written>,
    /// Reports that were deleted and come back.
    absent: Vec<Written>,
    passing: churn::Passing,
}

/// An object that reports speak of.
#[derive(Clone)]
struct Thing {
    api: &'static str,
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
}

struct Written {
    path: String,
    /// The report but for its results and their summary.
    frame: Value,
    results: Vec<Value>,
}

/// SplitMix64: the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// A result as a healthy fleet has them: mostly pass.
    fn result(&mut self) -> &'static str {
        match self.below(1000) {
            0..80 => "fail",
            80..90 => "skip",
            90..93 => "error",
            93..100 => "warn",
            _ => "pass",
        }
    }
}

impl Thing {
    fn reference(&self) -> Value {
        json!({"apiVersion": self.api, "kind": self.kind, "namespace": self.namespace, "name": self.name, "uid": self.uid})
    }

    fn collection(&self) -> String {
        let prefix = if self.api == "v1" { "/api/v1".to_owned() } else { format!("/apis/{}", self.api) };
        format!("{prefix}/namespaces/{}/{}s", self.namespace, self.kind.to_lowercase())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl<'a> Seeded<'a> {
    /// Makes namespaces, policies and workloads (Deployment, its ReplicaSet, its two Pods); no reports yet. Needs Kyverno's CRDs and no controllers.
    pub(crate) fn new(cluster: &'a Cluster, namespaces: usize, workloads: usize, seed: u64) -> Self {
        let (things, reports, absent) = (Vec::new(), Vec::new(), Vec::new());
        let mut seeded = Self { cluster, random: Random(seed), things, reports, absent, passing: churn::Passing::default() };
        seeded.policies();
        for i in 0..namespaces {
            let namespace = format!("team-{i:02}");
            cluster.namespace(&namespace);
            seeded.create(&format!("/apis/kyverno.io/v1/namespaces/{namespace}/policies"), &own_rules(&namespace));
            for _ in 0..workloads {
                assert!(seeded.workload(&namespace).is_some(), "{namespace}: no workload");
            }
        }
        seeded
    }

    /// Makes the cluster-wide policies; again after their CRD was deleted.
    pub(crate) fn policies(&self) {
        for (i, template) in POLICIES.iter().enumerate() {
            self.create("/apis/kyverno.io/v1/clusterpolicies", &policy(template, i % 3 == 2));
        }
    }

    /// The reports are gone, with their CRD or by another hand: what comes next is written anew.
    pub(crate) fn reports_are_gone(&mut self) {
        self.reports.clear();
    }

    fn create(&self, path: &str, body: &Value) -> Value {
        let reply = self.cluster.api.post(path, body).expect("the API server answers");
        assert!(reply.status == 201, "{path}: {}", reply.body);
        reply.body
    }

    /// A Deployment and what its controllers would make of it; its name. `None` where the server does not make all of it.
    fn workload(&mut self, namespace: &str) -> Option<String> {
        let app = *self.random.pick(&["payments", "checkout", "search", "catalog", "ledger", "gateway", "billing", "notify"]);
        let name = format!("{app}-{:06x}", self.random.below(1 << 24));
        let template =
            json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}});
        let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template});
        let deployment = self.thing("apps/v1", "Deployment", namespace, &name, &spec, None)?;
        let set = self.thing("apps/v1", "ReplicaSet", namespace, &format!("{name}-5d9c"), &spec, Some(&deployment))?;
        for i in 0..2 {
            self.thing("v1", "Pod", namespace, &format!("{name}-5d9c-{i}"), &template["spec"], Some(&set))?;
        }
        Some(name)
    }

    fn thing(
        &mut self,
        api: &'static str,
        kind: &'static str,
        namespace: &str,
        name: &str,
        spec: &Value,
        owner: Option<&Thing>,
    ) -> Option<Thing> {
        let mut metadata = json!({"name": name, "labels": {"app": name}});
        if let Some(o) = owner {
            metadata["ownerReferences"] = json!([{"apiVersion": o.api, "kind": o.kind, "name": o.name, "uid": o.uid, "controller": true}]);
        }
        let mut thing = Thing { api, kind, namespace: namespace.to_owned(), name: name.to_owned(), uid: String::new() };
        let body = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec});
        let made = self.cluster.api.post(&thing.collection(), &body).ok().filter(|made| made.status == 201)?;
        made.body["metadata"]["uid"].as_str().expect("the server gives a uid").clone_into(&mut thing.uid);
        self.things.push(thing.clone());
        Some(thing)
    }

    /// Writes a report of this shape for every workload object there is.
    pub(crate) fn reports(&mut self, shape: Shape) {
        let bodies = self.bodies(shape, &self.things.clone());
        self.write(&bodies);
        self.passing.shapes.push(shape);
    }

    fn bodies(&mut self, shape: Shape, things: &[Thing]) -> Vec<Value> {
        match shape {
            Shape::Resource | Shape::OpenReports => things.iter().map(|thing| self.report_about(thing, shape)).collect(),
            Shape::Policy => self.reports_by_policy(things),
            Shape::Foreign => things.iter().filter(|t| t.kind == "ReplicaSet").map(|thing| self.foreign_about(thing)).collect(),
        }
    }

    /// What Kyverno 1.10 writes: a report for each policy and namespace.
    fn reports_by_policy(&mut self, things: &[Thing]) -> Vec<Value> {
        let mut bodies = Vec::new();
        let mut namespaces = things.iter().map(|t| t.namespace.clone()).collect::<Vec<_>>();
        namespaces.dedup();
        for namespace in namespaces {
            let here = things.iter().filter(|t| t.namespace == namespace).collect::<Vec<_>>();
            for template in POLICIES.iter().chain([&RETIRED]) {
                let results = here.iter().flat_map(|thing| {
                    let about = json!([thing.reference()]);
                    self.results(template, None, thing).into_iter().map(move |r| with(r, "resources", about.clone()))
                });
                let results = results.collect::<Vec<_>>();
                bodies.push(report("wgpolicyk8s.io/v1alpha2", &namespace, &format!("cpol-{}", template.0), &results));
            }
        }
        bodies
    }

    /// What another tool writes about one object.
    fn foreign_about(&mut self, thing: &Thing) -> Value {
        let finding = |random: &mut Random| {
            let severity = *random.pick(&["critical", "high", "medium", "low"]);
            let result = if random.below(10) == 0 { "pass" } else { "fail" };
            json!({"source": "Trivy Vulnerability", "policy": format!("CVE-2026-{:04}", random.below(40)), "rule": "libssl3", "result": result,
                "severity": severity, "category": "Vulnerability Scan", "message": "fixed in 3.0.15", "timestamp": {"seconds": now(), "nanos": 0},
                "resources": [thing.reference()], "properties": {"score": "7.5"}})
        };
        let results = (0..8).map(|_| finding(&mut self.random)).collect::<Vec<_>>();
        let mut body = report("wgpolicyk8s.io/v1alpha2", &thing.namespace, &format!("trivy-vuln-{}", thing.name), &results);
        body["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "trivy-operator-adapter"});
        body
    }

    /// What Kyverno 1.11 and later writes about one object.
    fn report_about(&mut self, thing: &Thing, shape: Shape) -> Value {
        let own = [(&POLICIES[0], Some(format!("{}/own-rules", thing.namespace)))];
        let templates = POLICIES.iter().chain([&RETIRED]).map(|t| (t, None)).chain(own);
        let results = templates.flat_map(|(t, name)| self.results(t, name.as_deref(), thing)).collect::<Vec<_>>();
        let group = if shape == Shape::OpenReports { "openreports.io/v1alpha1" } else { "wgpolicyk8s.io/v1alpha2" };
        let mut body = report(group, &thing.namespace, &thing.uid, &results);
        body["scope"] = thing.reference();
        body["metadata"]["ownerReferences"] = json!([{"apiVersion": thing.api, "kind": thing.kind, "name": thing.name, "uid": thing.uid}]);
        if shape == Shape::OpenReports {
            body["source"] = "kyverno".into();
        }
        body
    }

    /// What real clusters have a few of: results that nobody can read, without a resource, without a uid, of a renamed rule, on cluster-scoped objects.
    pub(crate) fn oddities(&mut self) {
        let cut = "c".repeat(60);
        let base = |policy: &str, rule: &str, result: &str| json!({"source": "kyverno", "policy": policy, "rule": rule, "result": result});
        let no_result = json!({"source": "kyverno", "policy": "require-labels", "rule": "check-for-labels"});
        let odd = vec![
            no_result,
            base("", "check-for-labels", "fail"),
            base("require-labels", "renamed-rule", "fail"),
            base("require-labels", "check-for-labels", "fail"),
            base("require-labels", "check-for-labels", "pass"),
            base("require-labels", &format!("autogen-{cut}"), "fail"),
            json!({"source": "kyverno", "policy": "require-labels", "result": "error"}),
            json!({"policy": "no-source-at-all", "result": "warn", "message": "\u{1b}[31mred\u{7}\u{202e}"}),
        ];
        let mut nameless = report("wgpolicyk8s.io/v1alpha2", "team-00", "without-scope", &odd);
        nameless["summary"] = json!({"pass": 1, "fail": 3});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "name": "team-00"});
        let two =
            vec![base("require-labels", "check-for-labels", "fail"), base("run-as-nonroot", "autogen-cronjob-run-as-nonroot", "skip")];
        let mut cluster = report("wgpolicyk8s.io/v1alpha2", "", "about-a-namespace", &two);
        cluster["scope"] = namespace.clone();
        // The same two findings once more, told by `resources`: they count once.
        let twice = two.into_iter().map(|r| with(r, "resources", json!([namespace]))).collect::<Vec<_>>();
        let again = report("wgpolicyk8s.io/v1alpha2", "", "about-it-again", &twice);
        let empty = report("wgpolicyk8s.io/v1alpha2", "team-00", "nothing-in-it", &[]);
        self.write(&[nameless, cluster, again, empty]);
    }

    /// Rewrites `count` reports: a third with changed results, the others with nothing but new timestamps, as each scan does. Every twentieth is deleted.
    pub(crate) fn churn(&mut self, count: usize) {
        let mut requests = Vec::new();
        for i in 0..count {
            let chosen = self.random.index(self.reports.len());
            if i % 20 == 19 {
                requests.push((self.reports.swap_remove(chosen).path, None));
                continue;
            }
            let news = self.random.below(3) == 0;
            let report = &mut self.reports[chosen];
            for result in &mut report.results {
                result["timestamp"] = json!({"seconds": now(), "nanos": 0});
                if news && self.random.below(5) == 0 {
                    result["result"] = self.random.result().into();
                }
            }
            requests.push((report.path.clone(), Some(json!({"results": report.results, "summary": summary(&report.results)}))));
        }
        let api = &self.cluster.api;
        api.wait(futures::stream::iter(&requests).for_each_concurrent(16, async |(path, body)| {
            let method = if body.is_some() { "PATCH" } else { "DELETE" };
            let reply = api.send(method, path, "application/merge-patch+json", body.as_ref()).await.expect("the API server answers");
            // One report may be rewritten and deleted in one go; whichever comes second finds nothing.
            assert!(matches!(reply.status, 200 | 404), "{path}: {}", reply.body);
        }));
    }

    fn results(&mut self, template: &Template, name: Option<&str>, thing: &Thing) -> Vec<Value> {
        let (policy, rules, severity, category, message) = *template;
        let result = |rule: &&str| {
            let result = self.random.result();
            let rule = if thing.kind == "Pod" { (*rule).to_owned() } else { format!("autogen-{rule}") };
            let message = if result == "pass" {
                format!("validation rule '{rule}' passed.")
            } else {
                format!("validation error: {message} rule {rule} failed")
            };
            json!({"source": "kyverno", "policy": name.unwrap_or(policy), "rule": rule, "result": result, "severity": severity, "category": category,
                "scored": true, "message": message, "timestamp": {"seconds": now() - self.random.below(86_400 * 7), "nanos": 0},
                "properties": {"process": "background scan"}})
        };
        rules.iter().map(result).collect()
    }

    fn write(&mut self, bodies: &[Value]) {
        let requests = bodies.iter().map(|body| (collection(body), body)).collect::<Vec<_>>();
        let api = &self.cluster.api;
        api.wait(futures::stream::iter(&requests).for_each_concurrent(16, async |(path, body)| {
            let reply = api.send("POST", path, "application/json", Some(body)).await.expect("the API server answers");
            assert!(reply.status == 201, "{path}: {}", reply.body);
        }));
        self.reports.extend(bodies.iter().map(written).filter(|written| !written.results.is_empty()));
    }
}

fn written(body: &Value) -> Written {
    let name = body["metadata"]["name"].as_str().expect("every report has a name");
    let mut frame = body.clone();
    let results = frame["results"].take().as_array().cloned().unwrap_or_default();
    Written { path: format!("{}/{name}", collection(body)), frame, results }
}

/// A namespace's own policy.
fn own_rules(namespace: &str) -> Value {
    let mut own = policy(&POLICIES[0], false);
    own["kind"] = "Policy".into();
    own["metadata"] = json!({"name": "own-rules", "namespace": namespace});
    own
}

fn with(mut value: Value, key: &str, inner: Value) -> Value {
    value[key] = inner;
    value
}

fn policy(template: &Template, enforce: bool) -> Value {
    let (name, rules, severity, category, message) = *template;
    let rule = |rule: &&str| {
        json!({"name": rule, "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": message, "pattern": {"metadata": {"labels": {"seeded": "?*"}}}}})
    };
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
        "metadata": {"name": name, "annotations": {"policies.kyverno.io/severity": severity, "policies.kyverno.io/category": category}},
        "spec": {"validationFailureAction": if enforce { "Enforce" } else { "Audit" }, "background": true, "rules": rules.iter().map(rule).collect::<Vec<_>>()}})
}

/// A report object; cluster-scoped where `namespace` is empty.
fn report(group_version: &str, namespace: &str, name: &str, results: &[Value]) -> Value {
    let kind = if group_version.starts_with("openreports") { "Report" } else { "PolicyReport" };
    let mut metadata = json!({"name": name, "labels": {"app.kubernetes.io/managed-by": "kyverno"}});
    let kind = if namespace.is_empty() {
        format!("Cluster{kind}")
    } else {
        metadata["namespace"] = namespace.into();
        kind.to_owned()
    };
    let summary = summary(results);
    json!({"apiVersion": group_version, "kind": kind, "metadata": metadata, "results": results, "summary": summary})
}

fn summary(results: &[Value]) -> Value {
    let count = |result: &str| results.iter().filter(|r| r["result"] == result).count();
    json!({"pass": count("pass"), "fail": count("fail"), "warn": count("warn"), "error": count("error"), "skip": count("skip")})
}

fn collection(report: &Value) -> String {
    let group = report["apiVersion"].as_str().expect("a report");
    let plural = format!("{}s", report["kind"].as_str().expect("a report").to_lowercase());
    match report["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/apis/{group}/namespaces/{namespace}/{plural}"),
        None => format!("/apis/{group}/{plural}"),
    }
}
