//! What the clusters are filled with, and how it changes: reports as Kyverno 1.11 and later write them, one a resource with twenty results.
//!
//! What lives here: the reports, the policies they name, churn, and the sentinel: one report whose number of failures is changed on purpose, to see how soon it
//! is on the screen. The resources themselves do not exist, so each is its own top owner.

use crate::support::cluster::Cluster;
use crate::support::seed::Random;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Results in a report.
pub(crate) const RESULTS: usize = 20;
/// The policy that only the sentinel fails.
pub(crate) const SENTINEL: &str = "a-sentinel";
const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2";
const NAMESPACES: usize = 40;

/// Policy, rule, category, what a failure says.
const RULES: [(&str, &str, &str, &str); RESULTS] = [
    (
        "require-labels",
        "check-for-labels",
        "Best Practices",
        "The label `app.kubernetes.io/name` must be there. rule check-for-labels failed at path /metadata/labels/app.kubernetes.io/name/",
    ),
    (
        "disallow-latest-tag",
        "require-image-tag",
        "Best Practices",
        "Name a tag for every image. rule require-image-tag failed at path /spec/containers/0/image/",
    ),
    (
        "disallow-latest-tag",
        "validate-image-tag",
        "Best Practices",
        "A moving tag such as 'latest' must not be used. rule validate-image-tag failed at path /spec/containers/0/image/",
    ),
    (
        "require-pod-requests-limits",
        "validate-resources",
        "Best Practices, EKS Best Practices",
        "Requests for CPU and memory and a memory limit must be set. rule validate-resources failed at path /spec/containers/0/resources/limits/",
    ),
    (
        "require-pod-probes",
        "validate-probes",
        "Best Practices, EKS Best Practices",
        "Every container needs a liveness, a readiness or a startup probe.",
    ),
    (
        "require-ro-rootfs",
        "validate-readOnlyRootFilesystem",
        "Best Practices, EKS Best Practices, PSP Migration",
        "The root filesystem must be mounted read-only. rule validate-readOnlyRootFilesystem failed at path /spec/containers/0/securityContext/readOnlyRootFilesystem/",
    ),
    (
        "restrict-image-registries",
        "validate-registries",
        "Best Practices, EKS Best Practices",
        "Images must come from a known registry. rule validate-registries failed at path /spec/containers/0/image/",
    ),
    (
        "disallow-default-namespace",
        "validate-namespace",
        "Multi-Tenancy",
        "The namespace default must not be used. rule validate-namespace failed at path /metadata/namespace/",
    ),
    (
        "disallow-cri-sock-mount",
        "validate-docker-sock-mount",
        "Best Practices, EKS Best Practices",
        "The container runtime's socket must not be mounted. rule validate-docker-sock-mount failed at path /spec/volumes/0/hostPath/",
    ),
    (
        "disallow-privileged-containers",
        "privileged-containers",
        "Pod Security Standards (Baseline)",
        "Privileged mode must not be used: spec.containers[*].securityContext.privileged must be absent or `false`. rule privileged-containers failed at path /spec/containers/0/securityContext/privileged/",
    ),
    (
        "disallow-capabilities",
        "adding-capabilities",
        "Pod Security Standards (Baseline)",
        "Only the capabilities of the baseline (AUDIT_WRITE, CHOWN, ...) may be added.",
    ),
    ("disallow-host-namespaces", "host-namespaces", "Pod Security Standards (Baseline)", "The host's namespaces must not be shared."),
    ("disallow-host-path", "host-path", "Pod Security Standards (Baseline)", "Volumes of type hostPath must not be used."),
    ("disallow-host-ports", "host-ports-none", "Pod Security Standards (Baseline)", "Ports of the host must not be used."),
    ("disallow-proc-mount", "check-proc-mount", "Pod Security Standards (Baseline)", "The default mount of /proc must be kept."),
    (
        "restrict-seccomp",
        "check-seccomp",
        "Pod Security Standards (Baseline)",
        "Profiles of Seccomp other than the usual ones must not be used.",
    ),
    ("restrict-sysctls", "check-sysctls", "Pod Security Standards (Baseline)", "Only safe sysctls may be set."),
    (
        "require-run-as-nonroot",
        "run-as-non-root",
        "Pod Security Standards (Restricted)",
        "A container must not run as root: spec.securityContext.runAsNonRoot must be `true`. rule run-as-non-root[0] failed at path /spec/securityContext/runAsNonRoot/",
    ),
    (
        "disallow-capabilities-strict",
        "require-drop-all",
        "Pod Security Standards (Restricted)",
        "Every container must drop `ALL` capabilities.",
    ),
    (
        "disallow-privilege-escalation",
        "privilege-escalation",
        "Pod Security Standards (Restricted)",
        "Privilege escalation must not be possible. rule privilege-escalation failed at path /spec/containers/0/securityContext/allowPrivilegeEscalation/",
    ),
];

/// As most clusters have them.
fn result(random: &mut Random) -> &'static str {
    match random.below(1000) {
        0..60 => "fail",
        60..70 => "skip",
        70..72 => "error",
        _ => "pass",
    }
}

fn uuid(random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What was written to one cluster.
pub(crate) struct Filled {
    pub(crate) reports: Vec<Written>,
    random: Random,
}

/// One report: where it is and what it says.
#[derive(Clone)]
pub(crate) struct Written {
    path: String,
    kind: &'static str,
    results: Vec<&'static str>,
}

impl Written {
    fn body(&self, news: &Value) -> Value {
        let all = self.results.iter().zip(RULES).map(|(result, (policy, rule, category, message))| {
            let rule = if self.kind == "Pod" { rule.to_owned() } else { format!("autogen-{rule}") };
            let message = if *result == "pass" { format!("validation rule '{rule}' passed.") } else { format!("validation error: {message}") };
            json!({"source": "kyverno", "policy": policy, "rule": rule, "result": result, "severity": "medium", "category": category, "scored": true,
                "message": message, "timestamp": {"nanos": 0, "seconds": news}, "properties": {"process": "background scan"}})
        });
        let results: Vec<Value> = all.collect();
        json!({"summary": summary(&results), "results": results})
    }
}

fn summary(results: &[Value]) -> Value {
    let count = |result: &str| results.iter().filter(|r| r["result"] == result).count();
    json!({"pass": count("pass"), "fail": count("fail"), "warn": count("warn"), "error": count("error"), "skip": count("skip")})
}

fn policy(name: &str, enforce: bool) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .filter(|rule| rule.0 == name || name == SENTINEL)
        .map(|(_, rule, ..)| {
            json!({"name": rule, "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "validate": {"message": "no", "pattern": {"metadata": {"labels": {"seeded": "?*"}}}}})
        })
        .collect();
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"validationFailureAction": if enforce { "Enforce" } else { "Audit" }, "background": true, "rules": rules}})
}

fn create(cluster: &Cluster, path: &str, body: &Value) {
    let reply = cluster.api.post(path, body).expect("an answer");
    assert!(matches!(reply.status, 201 | 409), "{path}: {}", reply.body);
}

impl Filled {
    /// Namespaces and policies; no reports yet.
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        for n in 0..NAMESPACES {
            cluster.namespace(&format!("team-{n:02}"));
        }
        let mut names: Vec<&str> = RULES.iter().map(|rule| rule.0).chain([SENTINEL]).collect();
        names.dedup();
        for (n, name) in names.iter().enumerate() {
            create(cluster, "/apis/kyverno.io/v1/clusterpolicies", &policy(name, n % 3 == 2));
        }
        let filled = Self { reports: Vec::new(), random: Random(seed) };
        create(cluster, &format!("{REPORTS}/namespaces/team-00/policyreports"), &sentinel(0));
        filled
    }

    /// Writes reports until there are `count`.
    pub(crate) async fn grow(&mut self, cluster: &Cluster, count: usize) {
        let first = self.reports.len();
        for n in first..count {
            let kind = ["Pod", "Deployment", "Pod", "StatefulSet", "Pod", "DaemonSet"][n % 6];
            let results = (0..RESULTS).map(|_| result(&mut self.random)).collect();
            let path = format!("{REPORTS}/namespaces/team-{:02}/policyreports/{}", n % NAMESPACES, uuid(&mut self.random));
            self.reports.push(Written { path, kind, results });
        }
        let there =
            cluster.api.send("GET", &format!("{REPORTS}/policyreports?limit=1"), "application/json", None).await.expect("an answer").ok();
        if there["metadata"]["remainingItemCount"].as_u64().is_some_and(|more| more >= count as u64) {
            // A cluster that was kept from an earlier run: the same seeds have made the same reports.
            return;
        }
        let seed = self.random.0;
        let news = self.reports[first..].iter().enumerate();
        futures::stream::iter(news)
            .for_each_concurrent(16, |(n, report)| {
                let mut random = Random(seed ^ n as u64);
                async move {
                    let (collection, name) = report.path.rsplit_once('/').expect("a path");
                    let mut body = report.body(&json!(seconds() - random.below(86_400)));
                    let uid = name;
                    let namespace = collection.split('/').nth(5).expect("a namespace");
                    let api = if report.kind == "Pod" { "v1" } else { "apps/v1" };
                    let workload = format!("checkout-{:010x}", random.below(1 << 40));
                    body["apiVersion"] = "wgpolicyk8s.io/v1alpha2".into();
                    body["kind"] = "PolicyReport".into();
                    body["metadata"] = json!({"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "kyverno"}});
                    body["scope"] = json!({"apiVersion": api, "kind": report.kind, "name": workload, "namespace": namespace, "uid": uid});
                    let reply = cluster.api.send("POST", collection, "application/json", Some(&body)).await.expect("an answer");
                    assert!(reply.status == 201, "{}", reply.body);
                }
            })
            .await;
    }

    /// Failures and errors that all reports together hold, without the sentinel's.
    pub(crate) fn faults(&self) -> (u64, u64) {
        let all = || self.reports.iter().flat_map(|report| &report.results);
        (all().filter(|r| **r == "fail").count() as u64, all().filter(|r| **r == "error").count() as u64)
    }
}

/// The sentinel's report with `fails` failures.
fn sentinel(fails: usize) -> Value {
    let results: Vec<Value> = RULES
        .iter()
        .enumerate()
        .map(|(n, (_, rule, ..))| {
            json!({"source": "kyverno", "policy": SENTINEL, "rule": rule, "result": if n < fails { "fail" } else { "pass" }, "severity": "low",
                "message": "seen", "timestamp": {"nanos": 0, "seconds": seconds()}})
        })
        .collect();
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "sentinel", "namespace": "team-00"},
        "scope": {"apiVersion": "v1", "kind": "Pod", "name": "sentinel", "namespace": "team-00", "uid": "00000000-0000-4000-8000-000000000001"},
        "summary": summary(&results), "results": results})
}

/// Makes the sentinel fail `fails` times; returns when the API server has answered.
pub(crate) fn set_sentinel(cluster: &Cluster, fails: usize) -> Instant {
    let body = sentinel(fails);
    let news = json!({"results": body["results"], "summary": body["summary"]});
    cluster.api.merge_patch(&format!("{REPORTS}/namespaces/team-00/policyreports/sentinel"), &news).expect("an answer").ok();
    Instant::now()
}

/// Rewrites reports until it is stopped: a third of the rewrites change results, the others only timestamps.
pub(crate) struct Churn {
    end: Arc<AtomicBool>,
    rewritten: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<Written>>>,
    start: Instant,
}

impl Churn {
    /// Starts with `findings` rewritten a second, over all clusters together.
    pub(crate) fn start(clusters: &[Cluster], filled: &[Filled], findings: u64) -> Self {
        let (end, rewritten) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pause = Duration::from_secs_f64((RESULTS * clusters.len()) as f64 / findings as f64);
        let threads = clusters.iter().zip(filled).map(|(cluster, filled)| {
            let (api, mut reports) = (cluster.api.clone(), filled.reports.clone());
            let (end, rewritten) = (Arc::clone(&end), Arc::clone(&rewritten));
            std::thread::spawn(move || {
                let (mut random, mut due) = (Random(11), Instant::now());
                while !end.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due += pause;
                    let chosen = random.below(reports.len() as u64) as usize;
                    let report = &mut reports[chosen];
                    if random.below(3) == 0 {
                        let which = random.below(RESULTS as u64) as usize;
                        report.results[which] = if report.results[which] == "pass" { "fail" } else { "pass" };
                    }
                    if api.merge_patch(&report.path, &report.body(&json!(seconds()))).is_ok_and(|reply| reply.status == 200) {
                        rewritten.fetch_add(RESULTS as u64, Ordering::Relaxed);
                    }
                }
                reports
            })
        });
        let threads = threads.collect();
        Self { end, rewritten, threads, start: Instant::now() }
    }

    /// Stops, and notes what the reports say now; returns how many findings a second were rewritten.
    pub(crate) fn stop(self, filled: &mut [Filled]) -> f64 {
        let rate = self.rewritten.load(Ordering::Relaxed) as f64 / self.start.elapsed().as_secs_f64();
        self.end.store(true, Ordering::Relaxed);
        for (thread, filled) in self.threads.into_iter().zip(filled) {
            filled.reports = thread.join().expect("churn does not panic");
        }
        rate
    }
}
