//! What reports can say that is easily counted wrong, as a real API server keeps and serves it: each case is a policy, reports, and the right numbers.
//!
//! No Kyverno runs: one cluster holds all cases, each in namespaces and under names of its own. What is here twice is in the unit tests of `fleet`, too.

use crate::support::cluster::{Cluster, Fleet, Options, RUNNING, User, crds};
use crate::support::product::{Desk, environment};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// (kind, `namespace/name` or name, source as `violations` shows it, fail, pass, stale).
type Expected = (&'static str, &'static str, u64, u64, u64);

struct Case {
    what: &'static str,
    policies: Vec<Value>,
    /// Kind of report, namespace (empty for the cluster), scope, results.
    reports: Vec<(&'static str, Value, Value)>,
    expected: Vec<Expected>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn cluster_policy(name: &str, kind: &str, rules: &[&str]) -> Value {
    let rule = |name: &&str| {
        json!({"name": name, "match": {"any": [{"resources": {"kinds": [kind]}}]},
            "validate": {"failureAction": "Audit", "message": "wanted", "pattern": {"metadata": {"labels": {"team": "?*"}}}}})
    };
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"rules": rules.iter().map(rule).collect::<Vec<_>>()}})
}

fn cel_policy(kind: &str, namespace: &str, name: &str) -> Value {
    let mut policy = json!({"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"validationActions": ["Audit"],
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}]}}});
    policy["spec"]["validations"] = json!([{"expression": "has(object.metadata.labels)", "message": "wanted"}]);
    if kind.contains("Image") {
        policy["spec"]["matchImageReferences"] = json!([{"glob": "*"}]);
        policy["spec"]["attestors"] = json!([{"name": "a", "cosign": {"key": {"data": "k"}}}]);
    }
    if !namespace.is_empty() {
        policy["metadata"]["namespace"] = namespace.into();
    }
    policy
}

fn result(source: &str, policy: &str, rule: &str, word: &str, seconds_ago: u64) -> Value {
    let mut result = json!({"source": source, "policy": policy, "result": word, "scored": true,
        "timestamp": {"nanos": 0, "seconds": now() - seconds_ago}});
    if !rule.is_empty() {
        result["rule"] = rule.into();
    }
    result
}

fn about(mut result: Value, resources: Value) -> Value {
    result["resources"] = resources;
    result
}

fn scope(version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut scope = json!({"apiVersion": version, "kind": kind, "name": name, "uid": format!("uid-{kind}-{namespace}-{name}")});
    if !namespace.is_empty() {
        scope["namespace"] = namespace.into();
    }
    scope
}

fn cases() -> Vec<Case> {
    let (vpol, kyverno) = ("KyvernoValidatingPolicy", "kyverno");
    let deployment = |namespace: &str, name: &str| scope("apps/v1", "Deployment", namespace, name);
    let pod = |namespace: &str, name: &str| scope("v1", "Pod", namespace, name);
    let cron_job = |namespace: &str, name: &str| scope("batch/v1", "CronJob", namespace, name);
    let service =
        |version: &str, namespace: &str| json!([{"apiVersion": version, "kind": "Service", "name": "web", "namespace": namespace}]);
    let excused = |policy: &str, ago: u64| {
        let mut one = result(vpol, policy, "exception", "skip", ago);
        one["properties"] = json!({"exceptions": "q3"});
        one
    };
    vec![
        Case {
            what: "a rule that is really called cronjob-limits",
            policies: vec![cluster_policy("job-rules", "Pod", &["cronjob-limits"])],
            reports: vec![
                ("batch", deployment("batch", "web"), json!([result(kyverno, "job-rules", "autogen-cronjob-limits", "fail", 9)])),
                ("batch", pod("batch", "good"), json!([result(kyverno, "job-rules", "cronjob-limits", "pass", 9)])),
                ("batch", cron_job("batch", "nightly"), json!([result(kyverno, "job-rules", "autogen-cronjob-cronjob-limits", "pass", 9)])),
                ("batch", cron_job("batch", "hourly"), json!([result(kyverno, "job-rules", "autogen-cronjob-limits", "fail", 9)])),
                ("batch", deployment("batch", "api"), json!([result(kyverno, "job-rules", "autogen-limits", "fail", 9)])),
            ],
            expected: vec![("ClusterPolicy", "job-rules", 2, 2, 1)],
        },
        Case {
            what: "a rule that is really called autogen-x",
            policies: vec![cluster_policy("auto-rules", "Service", &["autogen-x", "y"])],
            reports: vec![(
                "batch",
                scope("v1", "Service", "batch", "s"),
                json!([result(kyverno, "auto-rules", "autogen-x", "fail", 9), result(kyverno, "auto-rules", "y", "pass", 9)]),
            )],
            expected: vec![("ClusterPolicy", "auto-rules", 1, 1, 0)],
        },
        Case {
            what: "entries that name nothing",
            policies: vec![cluster_policy("need-team", "Deployment", &["team"])],
            reports: vec![
                ("shop", deployment("shop", "web"), json!([about(result(kyverno, "need-team", "team", "fail", 9), json!([{}]))])),
                ("shop", deployment("shop", "api"), json!([about(result(kyverno, "need-team", "team", "pass", 8), json!([{}]))])),
                (
                    "shop",
                    deployment("shop", "db"),
                    json!([about(result(kyverno, "need-team", "team", "pass", 8), json!([{"kind": "Pod"}]))]),
                ),
                ("shop", Value::Null, json!([about(result(kyverno, "need-team", "team", "fail", 8), json!([{}]))])),
            ],
            expected: vec![("ClusterPolicy", "need-team", 2, 2, 0)],
        },
        Case {
            what: "one name in two API groups",
            policies: vec![cluster_policy("need-owner", "Service", &["owner"])],
            reports: vec![
                ("edge", Value::Null, json!([about(result(kyverno, "need-owner", "owner", "fail", 9), service("v1", "edge"))])),
                (
                    "edge",
                    Value::Null,
                    json!([about(result(kyverno, "need-owner", "owner", "pass", 8), service("serving.knative.dev/v1", "edge"))]),
                ),
                (
                    "edge",
                    Value::Null,
                    json!([about(
                        result(kyverno, "need-owner", "owner", "pass", 8),
                        json!([{"apiVersion": "v1", "kind": "Service", "name": "api"}])
                    )]),
                ),
                (
                    "edge",
                    Value::Null,
                    json!([about(
                        result(kyverno, "need-owner", "owner", "fail", 7),
                        json!([{"apiVersion": "v1", "kind": "Service", "name": "api", "namespace": "edge"}])
                    )]),
                ),
            ],
            expected: vec![("ClusterPolicy", "need-owner", 2, 1, 0)],
        },
        Case {
            what: "a namespaced CEL policy under the source of ClusterPolicies",
            policies: vec![cel_policy("NamespacedValidatingPolicy", "a", "check")],
            reports: vec![
                ("a", pod("a", "bad"), json!([result(kyverno, "a/check", "", "fail", 9)])),
                ("a", pod("a", "good"), json!([result(vpol, "a/check", "", "pass", 9)])),
                // Both for one Pod: the newest counts, once.
                ("a", pod("a", "both"), json!([result(kyverno, "a/check", "", "fail", 9), result(vpol, "a/check", "", "pass", 8)])),
            ],
            expected: vec![("NamespacedValidatingPolicy", "a/check", 1, 2, 0)],
        },
        Case {
            what: "what an exception excuses, and back",
            policies: vec![cel_policy("ValidatingPolicy", "", "no-root")],
            reports: vec![
                ("old", pod("old", "excused"), json!([result(vpol, "no-root", "", "fail", 9), excused("no-root", 8)])),
                ("old", pod("old", "again"), json!([result(vpol, "no-root", "", "fail", 8), excused("no-root", 9)])),
            ],
            expected: vec![("ValidatingPolicy", "no-root", 1, 0, 0)],
        },
        Case {
            what: "a report that speaks for another namespace",
            policies: vec![cluster_policy("private", "Pod", &["r"])],
            reports: vec![
                ("shop", pod("shop", "victim"), json!([result(kyverno, "private", "r", "fail", 9)])),
                ("edge", pod("shop", "victim"), json!([result(kyverno, "private", "r", "pass", 8)])),
                ("edge", pod("edge", "own"), json!([result(kyverno, "private", "r", "pass", 8)])),
            ],
            expected: vec![("ClusterPolicy", "private", 1, 1, 0)],
        },
        Case {
            what: "a time of the future",
            policies: vec![cluster_policy("clocks", "Pod", &["r"])],
            reports: vec![
                (
                    "shop",
                    pod("shop", "early"),
                    json!([{"source": "kyverno", "policy": "clocks", "rule": "r", "result": "pass", "timestamp": {"nanos": 0, "seconds": now() + 86_400}}]),
                ),
                ("shop", pod("shop", "early"), json!([result(kyverno, "clocks", "r", "fail", 9)])),
            ],
            expected: vec![("ClusterPolicy", "clocks", 1, 0, 0)],
        },
        Case {
            what: "the Namespace itself",
            policies: vec![cluster_policy("ns-owner", "Namespace", &["owner"])],
            reports: vec![
                ("", scope("v1", "Namespace", "", "team-x"), json!([result(kyverno, "ns-owner", "owner", "fail", 9)])),
                ("", scope("v1", "Namespace", "", "team-y"), json!([result(kyverno, "ns-owner", "owner", "fail", 9)])),
                (
                    "",
                    scope("rbac.authorization.k8s.io/v1", "ClusterRole", "", "team-x"),
                    json!([result(kyverno, "ns-owner", "owner", "fail", 9)]),
                ),
            ],
            expected: vec![("ClusterPolicy", "ns-owner", 3, 0, 0)],
        },
    ]
}

/// Cases that the acceptance script counts in another way: it takes what Kyverno calls a rule here for one.
fn cases_of_our_own() -> Vec<Case> {
    let (vpol, kyverno, native) = ("KyvernoValidatingPolicy", "kyverno", "ValidatingAdmissionPolicy");
    let pod = |namespace: &str, name: &str| scope("v1", "Pod", namespace, name);
    vec![
        Case {
            what: "native policies that were generated, and one that was not",
            policies: vec![cluster_policy("gen-c", "Pod", &["only"]), cel_policy("ValidatingPolicy", "", "gen-v")],
            reports: vec![
                (
                    "a",
                    pod("a", "n1"),
                    json!([result(native, "cpol-gen-c", "cpol-gen-c", "fail", 9), result(native, "vpol-gen-v", "vpol-gen-v", "fail", 9)]),
                ),
                (
                    "a",
                    pod("a", "n2"),
                    json!([result(kyverno, "gen-c", "only", "pass", 9), result(native, "cpol-gen-c", "cpol-gen-c", "fail", 20)]),
                ),
                ("a", pod("a", "n3"), json!([result(native, "vpol-by-hand", "vpol-by-hand", "fail", 9)])),
            ],
            expected: vec![
                ("ClusterPolicy", "gen-c", 1, 1, 0),
                ("ValidatingPolicy", "gen-v", 1, 0, 0),
                ("ValidatingAdmissionPolicy", "vpol-by-hand", 1, 0, 0),
            ],
        },
        Case {
            what: "a step of the evaluation that failed",
            policies: vec![cel_policy("ValidatingPolicy", "", "steps")],
            reports: vec![(
                "old",
                pod("old", "error"),
                json!([result(vpol, "steps", "evaluation", "error", 9), result(vpol, "steps", "", "pass", 8)]),
            )],
            expected: vec![("ValidatingPolicy", "steps", 0, 1, 0)],
        },
    ]
}

/// Makes what a running Kyverno would say of its policies true.
pub(super) fn ready(dev: &Cluster, policy: &Value) {
    let (kind, name) = (policy["kind"].as_str().unwrap(), policy["metadata"]["name"].as_str().unwrap());
    let at = "2026-11-01T00:00:00Z";
    let (path, status) = if matches!(kind, "ClusterPolicy" | "Policy") {
        let condition = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "Ready", "lastTransitionTime": at});
        let plural = match policy["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("namespaces/{namespace}/policies"),
            None => "clusterpolicies".to_owned(),
        };
        (format!("/apis/kyverno.io/v1/{plural}/{name}/status"), json!({"conditions": [condition]}))
    } else {
        let condition =
            json!({"type": "WebhookConfigured", "status": "True", "reason": "Succeeded", "message": "ok", "lastTransitionTime": at});
        let plural = match kind {
            "ValidatingPolicy" => "validatingpolicies".to_owned(),
            _ => format!("namespaces/{}/namespacedvalidatingpolicies", policy["metadata"]["namespace"].as_str().unwrap()),
        };
        (
            format!("/apis/policies.kyverno.io/v1/{plural}/{name}/status"),
            json!({"conditionStatus": {"ready": true, "conditions": [condition]}}),
        )
    };
    dev.api.merge_patch(&path, &json!({"status": status})).unwrap().ok();
}

fn cell(violations: &Value, kind: &str, name: &str) -> Value {
    let written = |policy: &Value| match policy["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{}", policy["name"].as_str().unwrap_or_default()),
        None => policy["name"].as_str().unwrap_or_default().to_owned(),
    };
    let mut items = violations["items"].as_array().into_iter().flatten();
    let item = items.find(|item| item["policy"]["kind"] == kind && written(&item["policy"]) == name);
    item.map_or(Value::Null, |item| item["environments"]["dev"].clone())
}

/// Applies policies and reports.
fn apply(dev: &Cluster, cases: &[Case]) {
    for case in cases {
        for policy in &case.policies {
            dev.apply(&policy.to_string());
            ready(dev, policy);
        }
        for (number, (namespace, scope, results)) in case.reports.iter().enumerate() {
            let kind = if namespace.is_empty() { "ClusterPolicyReport" } else { "PolicyReport" };
            let name = format!("{}-{number}", case.policies[0]["metadata"]["name"].as_str().unwrap());
            let mut report = json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": kind, "metadata": {"name": name}, "results": results});
            if !scope.is_null() {
                report["scope"] = scope.clone();
            }
            let path =
                if namespace.is_empty() { "clusterpolicyreports".to_owned() } else { format!("namespaces/{namespace}/policyreports") };
            dev.api.post(&format!("/apis/wgpolicyk8s.io/v1alpha2/{path}"), &report).unwrap().ok();
        }
    }
}

/// A Deployment with two ReplicaSets, no controllers needed, and a report for each.
fn old_replica_set(dev: &Cluster) {
    dev.namespace("pay");
    let policy = cluster_policy("require-team", "Pod", &["team"]);
    dev.apply(&policy.to_string());
    ready(dev, &policy);
    let workload = |kind: &str, name: &str, replicas: u64, owner: &Value| {
        let labels = json!({"app": "api", "h": name});
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "pay"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.example.com/app:1"}]}}}});
        if !owner.is_null() {
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": owner, "controller": true}]);
        }
        let path = format!("/apis/apps/v1/namespaces/pay/{}s", kind.to_lowercase());
        dev.api.post(&path, &object).unwrap().ok()["metadata"]["uid"].clone()
    };
    let deployment = workload("Deployment", "api", 2, &Value::Null);
    let (new, old) = (workload("ReplicaSet", "new", 2, &deployment), workload("ReplicaSet", "old", 0, &deployment));
    for (kind, name, uid, word) in
        [("Deployment", "api", &deployment, "pass"), ("ReplicaSet", "new", &new, "pass"), ("ReplicaSet", "old", &old, "fail")]
    {
        let report = json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": uid},
            "scope": {"apiVersion": "apps/v1", "kind": kind, "name": name, "namespace": "pay", "uid": uid},
            "results": [result("kyverno", "require-team", "autogen-team", word, 9)]});
        dev.api.post("/apis/wgpolicyk8s.io/v1alpha2/namespaces/pay/policyreports", &report).unwrap().ok();
    }
}

/// Every case has its numbers; returns the document.
fn assert_expected(desk: &Desk, cases: &[Case]) -> Value {
    let (violations, status) = desk.json(&["violations"]);
    assert_eq!(status, Some(0), "{violations}");
    for case in cases {
        for (kind, name, fail, pass, stale) in &case.expected {
            let cell = cell(&violations, kind, name);
            let numbers = (&cell["findings"]["fail"], &cell["findings"]["pass"], &cell["stale"]);
            assert_eq!(numbers, (&json!(fail), &json!(pass), &json!(stale)), "{}: {name}: {cell}", case.what);
        }
    }
    violations
}

#[test]
fn what_is_easily_counted_wrong_is_counted_right() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds(RUNNING));
    dev.install_crds(&crds("openreports"));
    let cases = cases();
    for namespace in ["batch", "shop", "edge", "a", "old", "team-x", "team-y"] {
        dev.namespace(namespace);
    }
    apply(dev, &cases);
    let desk = Desk::with_config(
        &fleet,
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\", soak = \"1s\" }, { mode = \"enforce\" }]\n",
    );
    let violations = assert_expected(&desk, &cases);
    assert_eq!(cell(&violations, "Policy", "a/check"), Value::Null, "no row of its own for a name that means another policy");
    desk.assert_true(&fleet);
    let more = cases_of_our_own();
    apply(dev, &more);
    assert_expected(&desk, &more);
    desk.assert_recount(&fleet);

    // What a gate says follows from the numbers.
    for policy in ["job-rules", "need-team", "need-owner", "NamespacedValidatingPolicy/a/check", "no-root", "private", "ns-owner"] {
        let (gate, status) = desk.json(&["gate", policy, "--to", "dev:enforce"]);
        assert_eq!((status, &gate["items"][0]["verdict"]), (Some(3), &json!("closed")), "{policy}: {gate}");
    }

    // A Deployment that passes, and an old ReplicaSet of it that does not: it counts, and is named.
    old_replica_set(dev);
    desk.assert_recount(&fleet);
    let (findings, _) = desk.json(&["findings", "require-team", "--filter", "result=fail"]);
    let item = &findings["items"][0];
    assert_eq!(
        (&item["resource"]["name"], &item["owner"]["name"], &item["idle"]["name"]),
        (&json!("old"), &json!("api"), &json!("old")),
        "{item}"
    );
    let gate = desk.run(&["gate", "require-team", "--to", "dev:enforce"]);
    assert!(
        gate.status == Some(3) && gate.stderr.contains("Deployment/api itself passes; only its old ReplicaSet/old violates"),
        "{gate:?}"
    );

    // One namespace, with what concerns the Namespace itself, is the same for every command; and that it is only one is said.
    let (violations, _) = desk.json(&["violations", "-n", "team-x"]);
    assert_eq!(cell(&violations, "ClusterPolicy", "ns-owner")["findings"]["fail"], 1, "{violations}");
    let (findings, _) = desk.json(&["findings", "-n", "team-x"]);
    assert_eq!(findings["items"].as_array().map(Vec::len), Some(1), "{findings}");
    let (status, _) = desk.json(&["status", "-n", "team-x"]);
    assert_eq!(environment(&status, "dev")["findings"]["fail"], 1, "{status}");
    for command in ["violations", "findings", "status"] {
        let answer = desk.run(&[command, "-n", "team-x"]);
        assert!(answer.stderr.contains("namespace team-x, with the Namespace itself"), "{answer:?}");
    }
    let (status, _) = desk.json(&["status", "--filter", "policy=private"]);
    assert_eq!(environment(&status, "dev")["findings"], json!({"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}), "{status}");
    assert_eq!(environment(&status, "dev")["foreign"], 1, "{status}");
    let (foreign, _) = desk.json(&["findings", "private", "--filter", "foreign=yes"]);
    assert_eq!(foreign["items"].as_array().map(Vec::len), Some(1), "{foreign}");

    // A second policy that the results may mean: both are unknown, with the reason, and the gate does not open.
    dev.apply(&cel_policy("NamespacedImageValidatingPolicy", "a", "check").to_string());
    let answer = desk.run(&["violations", "-o", "json"]);
    let violations: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((answer.status, &violations["complete"]), (Some(4), &json!(false)), "{answer:?}");
    assert!(answer.stderr.contains("a/check: its numbers are unknown"), "{}", answer.stderr);
    for kind in ["NamespacedValidatingPolicy", "NamespacedImageValidatingPolicy"] {
        assert_eq!(cell(&violations, kind, "a/check")["complete"], false, "{kind}: {violations}");
    }
    let (gate, _) = desk.json(&["gate", "NamespacedValidatingPolicy/a/check", "--to", "dev:enforce"]);
    let violations = gate["items"][0]["conditions"].as_array().unwrap().iter().find(|one| one["name"] == "violations").unwrap();
    assert_eq!((&violations["state"], gate["items"][0]["verdict"] == "open"), (&json!("unknown"), false), "{gate}");
}

#[test]
fn reports_in_a_version_that_is_not_read_are_unknown() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    let desk = Desk::new(&fleet, User::Admin, "");
    let crd = |kind: &str, plural: &str, scope: &str, version: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.wgpolicyk8s.io"), "annotations": {"api-approved.kubernetes.io": "unapproved, test only"}},
            "spec": {"group": "wgpolicyk8s.io", "scope": scope, "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{"name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
        .to_string()
    };
    let apply = |version: &str| {
        dev.apply(&crd("PolicyReport", "policyreports", "Namespaced", version));
        dev.apply(&crd("ClusterPolicyReport", "clusterpolicyreports", "Cluster", version));
        dev.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    };
    let unread = || {
        let answer = desk.run(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&answer.stdout).unwrap();
        (answer.status, status["complete"].clone(), answer.stderr)
    };
    // Without Kyverno, a version only that is not read.
    apply("v1beta1");
    let (status, complete, said) = unread();
    assert_eq!((status, complete), (Some(4), json!(false)), "{said}");
    assert!(said.contains("wgpolicyk8s.io serves v1beta1, which is not read"), "{said}");
    let answer = desk.run(&["violations"]);
    assert!(answer.status == Some(4) && answer.stderr.contains("wgpolicyk8s.io serves v1beta1"), "{answer:?}");
    // The same with Kyverno's own kinds, which are what makes reports.
    dev.kubectl(&["delete", "crd", "policyreports.wgpolicyk8s.io", "clusterpolicyreports.wgpolicyk8s.io"]);
    dev.install_crds(&crds(RUNNING));
    dev.kubectl(&["delete", "crd", "policyreports.wgpolicyk8s.io", "clusterpolicyreports.wgpolicyk8s.io"]);
    let (status, complete, said) = unread();
    assert_eq!((status, complete), (Some(4), json!(false)), "{said}");
    assert!(said.contains("no report API is served"), "{said}");
    apply("v1beta1");
    let (status, complete, said) = unread();
    assert_eq!((status, complete), (Some(4), json!(false)), "{said}");
    assert!(said.contains("wgpolicyk8s.io serves v1beta1, which is not read"), "{said}");
    // A version that is read makes it whole.
    dev.kubectl(&["delete", "crd", "policyreports.wgpolicyk8s.io", "clusterpolicyreports.wgpolicyk8s.io"]);
    apply("v1alpha2");
    let (status, complete, said) = unread();
    assert_eq!((status, complete), (Some(0), json!(true)), "{said}");
}
