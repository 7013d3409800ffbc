//! What a small cluster may hold: few names of everything, so that reports, owners, policies and events meet each other often.

use crate::kinds::KindId;
use crate::testing::Dice;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Something that reports may be about.
pub(super) struct Resource {
    pub(super) kind: &'static str,
    api_version: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    /// Empty where reports name none.
    pub(super) uid: String,
    /// Kind and name of the owner that its name suggests.
    pub(super) guess: Option<(&'static str, &'static str)>,
    /// Places, in the same namespace, of what may own it. Nothing is above itself.
    owners: &'static [usize],
}

type Line = (&'static str, &'static str, &'static str, bool, Option<(&'static str, &'static str)>, &'static [usize]);

/// What each namespace holds.
const IN_NAMESPACE: [Line; 17] = [
    ("Deployment", "apps/v1", "web", true, Some(("Deployment", "web")), &[13]),
    ("ReplicaSet", "apps/v1", "web-7d4b9c6f5d", true, Some(("Deployment", "web")), &[0]),
    ("ReplicaSet", "apps/v1", "web-canary", true, None, &[0]),
    ("Pod", "v1", "web-7d4b9c6f5d-x2x9z", true, Some(("Deployment", "web")), &[1, 2]),
    ("Pod", "v1", "web-7d4b9c6f5d-bbbbb", true, Some(("Deployment", "web")), &[1, 2, 13]),
    ("StatefulSet", "apps/v1", "index", true, Some(("StatefulSet", "index")), &[]),
    ("Pod", "v1", "index-0", true, Some(("StatefulSet", "index")), &[5]),
    ("CronJob", "batch/v1", "nightly", true, Some(("CronJob", "nightly")), &[]),
    ("Job", "batch/v1", "nightly-29387520", true, Some(("CronJob", "nightly")), &[7]),
    ("Pod", "v1", "nightly-29387520-bcdfg", true, Some(("CronJob", "nightly")), &[8]),
    ("Pod", "v1", "debug", true, None, &[13]),
    ("Service", "v1", "web", true, None, &[]),
    ("ConfigMap", "v1", "settings", false, None, &[]),
    // Of a kind that is not followed, but may own what is.
    ("App", "example.com/v1", "shop", true, None, &[]),
    ("Pod", "v1", "web-7d4b9c6f5d-x2x9z", false, Some(("Deployment", "web")), &[]),
    // Of one kind and name, in two groups.
    ("Service", "v1", "api", false, None, &[]),
    ("Service", "serving.knative.dev/v1", "api", false, None, &[]),
];

pub(super) static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let of = |namespace: &'static str, number: usize, line: Line| {
        let (kind, api_version, name, has_uid, guess, owners) = line;
        let uid = match (has_uid, number % 2) {
            (false, _) => String::new(),
            (true, 0) => format!("00000000-0000-4000-8000-{number:012x}"),
            (true, _) => format!("uid-{number}"),
        };
        Resource { kind, api_version, namespace, name, uid, guess, owners }
    };
    let namespaces = ["a", "b"].into_iter().zip([0, IN_NAMESPACE.len()]);
    let mut all: Vec<Resource> = namespaces
        .flat_map(|(namespace, first)| IN_NAMESPACE.into_iter().zip(first..).map(move |(line, number)| of(namespace, number, line)))
        .collect();
    all.push(of("", 40, ("Namespace", "v1", "a", true, None, &[])));
    all.push(of("", 41, ("ClusterRole", "rbac.authorization.k8s.io/v1", "x", true, None, &[])));
    all
});

impl Resource {
    /// As a report writes it, which may leave out what its reader knows.
    fn in_report(&self, dice: &mut Dice) -> Value {
        let mut reference = self.reference();
        if dice.one_in(6)
            && let Some(reference) = reference.as_object_mut()
        {
            reference.remove("namespace");
        }
        if dice.one_in(6)
            && let Some(reference) = reference.as_object_mut()
        {
            let left_out = *dice.of(&[&["uid"] as &[&str], &["uid", "apiVersion"], &["uid", "kind"], &["uid", "apiVersion", "kind"]]);
            reference.retain(|field, _| !left_out.contains(&field.as_str()));
        }
        if dice.one_in(20) { json!({}) } else { reference }
    }

    fn reference(&self) -> Value {
        let mut reference = json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name});
        if !self.namespace.is_empty() {
            reference["namespace"] = json!(self.namespace);
        }
        if !self.uid.is_empty() {
            reference["uid"] = json!(self.uid);
        }
        reference
    }

    fn owner(&self, place: usize) -> &'static Resource {
        let first = if self.namespace == "b" { IN_NAMESPACE.len() } else { 0 };
        &RESOURCES[first + place]
    }
}

/// A rule whose name is so long that Kyverno cuts it where it writes `autogen-` before it.
pub(super) const LONG: &str = "a-rule-with-a-name-that-is-much-longer-than-what-kubernetes-takes-for-one";

/// An object of a kind, in a namespace (empty for what has none), as a cluster may hold it.
pub(super) fn object(kind: KindId, namespace: &str, dice: &mut Dice) -> Option<Value> {
    Some(match kind.kind().kind {
        "PolicyReport" | "ClusterPolicyReport" | "Report" | "ClusterReport" => report(namespace, dice),
        "ClusterPolicy" | "Policy" => policy(namespace, dice),
        "ValidatingPolicy" | "NamespacedValidatingPolicy" | "NamespacedImageValidatingPolicy" => cel_policy(namespace, dice),
        "PolicyException" => json!({"metadata": {"name": dice.pick(&["e0", "e1", "e2"]), "namespace": namespace}, "spec": {}}),
        "Namespace" => json!({"metadata": {"name": dice.pick(&["a", "b"]), "labels": {"tier": dice.pick(&["gold", "lead"])}}}),
        "Event" => event(namespace, dice),
        of_owner => return owned(of_owner, namespace, dice),
    })
}

fn policy(namespace: &str, dice: &mut Dice) -> Value {
    let names: &[&str] = if namespace.is_empty() { &["p0", "p1"] } else { &["p2"] };
    let rules = *dice.of(&[&["r"] as &[&str], &["r", "s"], &[LONG], &["autogen-r", "s"], &["cronjob-r"], &["cronjob-r", "r"], &[]]);
    let rules: Vec<Value> = rules.iter().map(|name| json!({"name": name, "match": {}, "validate": {"message": "no"}})).collect();
    json!({"metadata": metadata(dice.pick(names), namespace, dice), "spec": {"validationFailureAction": dice.pick(&["Audit", "Enforce"]), "rules": rules},
        "status": {"conditions": [{"type": "Ready", "status": dice.pick(&["True", "True", "False"])}]}})
}

fn cel_policy(namespace: &str, dice: &mut Dice) -> Value {
    let name = if namespace.is_empty() { "v0" } else { "v1" };
    json!({"metadata": metadata(name, namespace, dice), "spec": {"validationActions": [dice.pick(&["Audit", "Deny"])]},
        "status": {"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}})
}

fn metadata(name: &str, namespace: &str, dice: &mut Dice) -> Value {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    if dice.one_in(3) {
        metadata["annotations"] =
            json!({"policies.kyverno.io/severity": dice.pick(&["high", "low"]), "policies.kyverno.io/category": dice.pick(&["Own", ""])});
    }
    metadata
}

fn event(namespace: &str, dice: &mut Dice) -> Value {
    let about = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "name": name});
    let uid = if dice.one_in(3) { "never-existed".to_owned() } else { dice.of(&RESOURCES).uid.clone() };
    let mut policy = match dice.below(6) {
        0 | 1 => about("kyverno.io/v1", "Policy", "p2"),
        2 | 3 => about("policies.kyverno.io/v1", "NamespacedValidatingPolicy", "v1"),
        // Kyverno never writes them here.
        4 => about("kyverno.io/v1", "ClusterPolicy", "p0"),
        _ => about("policies.kyverno.io/v1", "ValidatingPolicy", "v0"),
    };
    if ["Policy", "NamespacedValidatingPolicy"].contains(&policy["kind"].as_str().unwrap_or_default()) {
        policy["namespace"] = json!(if dice.one_in(6) { "b" } else { namespace });
    }
    json!({"metadata": {"name": dice.pick(&["x0", "x1", "x2"]), "namespace": namespace, "uid": "e"}, "reason": "PolicyViolation",
        "action": dice.pick(&["Resource Blocked", "Resource Blocked", "Resource Passed"]), "involvedObject": &policy, "count": dice.below(4),
        "related": {"apiVersion": "v1", "kind": "Pod", "namespace": policy["namespace"].as_str().unwrap_or("a"), "name": "x", "uid": uid}, "message": "no"})
}

/// The metadata of something that may have an owner.
fn owned(kind: &str, namespace: &str, dice: &mut Dice) -> Option<Value> {
    let of_kind: Vec<&Resource> = RESOURCES.iter().filter(|r| r.kind == kind && r.namespace == namespace && !r.uid.is_empty()).collect();
    let resource = *of_kind.get(dice.below(of_kind.len()))?;
    let mut metadata = json!({"name": resource.name, "namespace": namespace, "uid": resource.uid});
    let mut owners = Vec::new();
    if dice.one_in(4) {
        owners.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": "no-controller"}));
    }
    if !resource.owners.is_empty() && !dice.one_in(4) {
        let mut owner = resource.owner(*dice.of(resource.owners)).reference();
        owner["controller"] = json!(true);
        owners.push(owner);
    }
    if !owners.is_empty() {
        metadata["ownerReferences"] = json!(owners);
    }
    Some(json!({"metadata": metadata}))
}

fn report(namespace: &str, dice: &mut Dice) -> Value {
    let name =
        dice.pick(&["report-0", "report-1", "report-2", "00000000-0000-4000-8000-0000000000aa", "00000000-0000-4000-8000-0000000000bb"]);
    let mut metadata = json!({"name": name, "uid": format!("of-{name}")});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    let has_scope = !dice.one_in(3);
    let scope = has_scope.then(|| dice.of(&RESOURCES));
    let mut report = json!({"metadata": metadata, "results": dice.some(5, |dice| result(scope, dice))});
    if let Some(scope) = scope {
        report["scope"] = scope.in_report(dice);
    }
    if dice.one_in(4) {
        report["source"] = json!(dice.pick(&["kyverno", "trivy"]));
    }
    report
}

fn result(scope: Option<&Resource>, dice: &mut Dice) -> Value {
    if dice.one_in(25) {
        return dice.of(&[json!(7), json!({"policy": {}}), json!({"policy": "p0", "result": "maybe"}), json!({"result": "fail"})]).clone();
    }
    let (source, policies): (&str, &[&str]) = *dice.of(&[
        ("kyverno", &["p0", "p0", "p1", "a/p2"] as &[&str]),
        ("kyverno", &["p0", "p0", "p1", "b/p2"]),
        ("KyvernoValidatingPolicy", &["v0", "a/v1"]),
        ("kyverno", &["a/v1", "b/v1", "a/p2"]),
        ("ValidatingAdmissionPolicy", &["vpol-v0", "cpol-p0", "vpol-none"]),
        ("trivy", &["cve"]),
        ("", &["p0"]),
    ]);
    let cut = format!("autogen-{}", &LONG[..55]);
    let rule = dice.pick(&["r", "r", "autogen-r", "autogen-cronjob-r", "s", "old", "", "exception", &cut]);
    let word = dice.pick(&["pass", "fail", "fail", "skip", "warn", "error"]);
    let mut result = json!({"policy": dice.pick(policies), "rule": rule, "result": word, "message": dice.pick(&["m0", "m1", ""])});
    if dice.one_in(1000) {
        // Much text, so that tidying finds some to give back.
        result["message"] = json!("a long message ".repeat(20_000));
    }
    if !source.is_empty() {
        result["source"] = json!(source);
    }
    if dice.one_in(2) {
        result["severity"] = json!(dice.pick(&["high", "low", "critical", "nonsense"]));
        result["category"] = json!(dice.pick(&["B", "A", "C", ""]));
    }
    if dice.one_in(2) {
        result["properties"] = dice
            .of(&[
                json!({"process": "background"}),
                json!({"exceptions": "e1"}),
                json!({"exceptions": "e1,e2"}),
                json!({"exception": "e0"}),
                json!({}),
            ])
            .clone();
    }
    result["timestamp"] = match dice.below(12) {
        0 => Value::Null,
        1 => json!({"seconds": -5}),
        2 => json!({"seconds": 99_999_999_999_i64}),
        seconds => json!({"seconds": seconds % 4 + 1, "nanos": 0}),
    };
    if let Some(scope) = scope
        && dice.one_in(4)
    {
        // In other words than the scope, or of something else.
        result["resources"] = json!([if dice.one_in(4) { dice.of(&RESOURCES) } else { scope }.in_report(dice)]);
    }
    if scope.is_none() && !dice.one_in(5) {
        result["resources"] = json!([dice.of(&RESOURCES).in_report(dice)]);
        if dice.one_in(4) {
            result["resources"] = json!([dice.of(&RESOURCES).in_report(dice), dice.of(&RESOURCES).in_report(dice)]);
        }
    }
    result
}
