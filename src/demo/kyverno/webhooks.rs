//! Kyverno's webhook configurations for resources, written from the policies that there are, and the lease that says that it lives.
//!
//! Shapes and names: kyverno/kyverno 1.19 `pkg/controllers/webhook/{controller,validating}.go`. Each CEL policy gets a webhook of its own here; the
//! real one shares them between policies with equal selectors. Not here: what the webhooks answer (`super::admission`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::matching::{kinds, strings};
use crate::demo::cluster::{Cluster, rfc3339};
use crate::demo::patch::PatchKind;
use crate::demo::store::{Key, text};
use crate::demo::write::{self, Options};

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// Namespaces that the chart excludes.
const EXCLUDED: [&str; 2] = ["kube-system", "kyverno"];
/// The configurations by plural and kind, and whether they change resources.
const CONFIGURATIONS: [(&str, &str, &str, bool); 2] = [
    ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "kyverno-resource-validating-webhook-cfg", false),
    ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "kyverno-resource-mutating-webhook-cfg", true),
];
/// Plurals and what Kyverno calls their webhooks, and the path before the policy's name.
const CEL_KINDS: [(&str, &str, &str, bool); 8] = [
    ("validatingpolicies", "vpol.validate.kyverno.svc", "/vpol", false),
    ("namespacedvalidatingpolicies", "nvpol.validate.kyverno.svc", "/nvpol", false),
    ("imagevalidatingpolicies", "ivpol.validate.kyverno.svc", "/ivpol/validate", false),
    ("namespacedimagevalidatingpolicies", "ivpol.validate.kyverno.svc", "/nivpol/validate", false),
    ("generatingpolicies", "gpol.validate.kyverno.svc", "/gpol", false),
    ("namespacedgeneratingpolicies", "ngpol.validate.kyverno.svc", "/ngpol", false),
    ("mutatingpolicies", "mpol.validate.kyverno.svc", "/mpol", true),
    ("namespacedmutatingpolicies", "nmpol.validate.kyverno.svc", "/nmpol", true),
];

/// Runs until the demo ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut waker = cluster.store().any_waker();
    let mut renew = tokio::time::interval(RENEW);
    loop {
        tokio::select! {
            _ = renew.tick() => renew_lease(&cluster, Timestamp::now()),
            changed = waker.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(cluster.pace.ready).await;
                waker.borrow_and_update();
                settle(&cluster, Timestamp::now());
            }
        }
    }
}

/// Writes the configurations that are not what they should be.
pub(crate) fn settle(cluster: &Cluster, now: Timestamp) {
    for (plural, kind, name, mutates) in CONFIGURATIONS {
        let Some(resource) = cluster.resource("admissionregistration.k8s.io", plural) else {
            continue;
        };
        let wanted = json!(webhooks(cluster, mutates));
        let key = Key::new("", name);
        let mut options = Options::internal(resource, "kyverno");
        options.now = now;
        match cluster.get("admissionregistration.k8s.io", plural, &key) {
            Some(found) if found.value.get("webhooks") == Some(&wanted) => {}
            // Whoever deletes it meanwhile is answered with a new one at the next change.
            Some(_) => drop(write::patch(cluster, resource, &key, PatchKind::Merge, &json!({"webhooks": wanted}), &options)),
            None => {
                let object = json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                    "metadata": {"name": name, "labels": {"webhook.kyverno.io/managed-by": "kyverno"}}, "webhooks": wanted,
                });
                drop(write::create(cluster, resource, "", object, &options));
            }
        }
    }
}

/// Says that Kyverno lives.
pub(crate) fn renew_lease(cluster: &Cluster, now: Timestamp) {
    let Some(resource) = cluster.resource("coordination.k8s.io", "leases") else {
        return;
    };
    let patch = json!({"metadata": {"annotations": {"kyverno.io/last-request-time": rfc3339(now)}}});
    let options = Options::internal(resource, "kyverno");
    // A lease that somebody deleted stays away.
    drop(write::patch(cluster, resource, &Key::new("kyverno", "kyverno-health"), PatchKind::Merge, &patch, &options));
}

/// Webhooks by name; each is made once and then gets more rules.
#[derive(Default)]
struct Webhooks {
    by_name: BTreeMap<String, (Value, BTreeMap<String, BTreeSet<String>>)>,
}

fn webhooks(cluster: &Cluster, mutates: bool) -> Vec<Value> {
    let mut made = Webhooks::default();
    let store = cluster.store();
    for plural in ["clusterpolicies", "policies"] {
        let Some(resource) = cluster.resource("kyverno.io", plural) else {
            continue;
        };
        for (key, object) in store.rows(resource.index) {
            made.classic(cluster, key, &object.value, mutates);
        }
    }
    let mut out: Vec<Value> = made.by_name.into_values().map(|(webhook, resources)| with_rules(webhook, &resources)).collect();
    for (plural, name, path, changes) in CEL_KINDS {
        let Some(resource) = cluster.resource("policies.kyverno.io", plural).filter(|_| changes == mutates) else {
            continue;
        };
        out.extend(store.rows(resource.index).filter_map(|(key, object)| cel(key, &object.value, name, path)));
    }
    out.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
    out
}

impl Webhooks {
    fn classic(&mut self, cluster: &Cluster, key: &Key, policy: &Value, mutates: bool) {
        if policy.pointer("/spec/admission") == Some(&Value::Bool(false)) {
            return;
        }
        let own =
            policy.pointer("/spec/webhookConfiguration/matchConditions").filter(|own| own.as_array().is_some_and(|own| !own.is_empty()));
        let lenient = [text(policy, "/spec/webhookConfiguration/failurePolicy"), text(policy, "/spec/failurePolicy")].contains(&"Ignore");
        let suffix = if lenient { "ignore" } else { "fail" };
        let base = if mutates { "mutate" } else { "validate" };
        let (mut name, mut path) = (format!("{base}.kyverno.svc-{suffix}"), format!("/{base}/{suffix}"));
        if own.is_some() {
            let parts: Vec<&str> = [key.namespace.as_str(), key.name.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
            name = format!("{name}-finegrained-{}", parts.join("-"));
            path = format!("{path}/finegrained/{}", parts.join("/"));
        }
        let rules = ["/spec/rules", "/status/autogen/rules"].into_iter().filter_map(|at| policy.pointer(at)?.as_array()).flatten();
        for rule in rules.filter(|rule| concerns(rule, mutates)) {
            for kind in kinds(&rule["match"]) {
                let made = self.by_name.entry(name.clone()).or_insert_with(|| (webhook(&name, &path, lenient, own), BTreeMap::new()));
                for (group, resource) in resources(cluster, kind) {
                    made.1.entry(group).or_default().insert(resource);
                }
            }
        }
    }
}

fn concerns(rule: &Value, mutates: bool) -> bool {
    let has = |field: &str| rule.get(field).is_some();
    if mutates {
        has("mutate") || has("verifyImages")
    } else {
        has("validate") || has("generate") || rule.pointer("/mutate/targets").is_some()
    }
}

/// Groups and plurals of a kind as rules write it.
fn resources(cluster: &Cluster, kind: &str) -> Vec<(String, String)> {
    let name = kind.rsplit('/').next().unwrap_or(kind);
    if name == "*" {
        return vec![("*".to_owned(), "*/*".to_owned())];
    }
    let named = cluster.catalog.all().iter().filter(|resource| super::matching::wildcard(name, &resource.kind));
    named.map(|resource| (resource.group.clone(), resource.plural.clone())).collect()
}

fn webhook(name: &str, path: &str, lenient: bool, conditions: Option<&Value>) -> Value {
    let mut webhook = json!({
        "name": name, "failurePolicy": if lenient { "Ignore" } else { "Fail" }, "sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10, "clientConfig": {"service": {"name": "kyverno-svc", "namespace": "kyverno", "path": path, "port": 443}},
        "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": EXCLUDED}]},
        "objectSelector": {},
    });
    if let Some(conditions) = conditions {
        webhook["matchConditions"] = conditions.clone();
    }
    webhook
}

fn with_rules(mut webhook: Value, resources: &BTreeMap<String, BTreeSet<String>>) -> Value {
    let operations = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
    let rule = |(group, resources): (&String, &BTreeSet<String>)| json!({"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": resources, "scope": "*"});
    webhook["rules"] = resources.iter().map(rule).collect();
    webhook
}

fn cel(key: &Key, policy: &Value, name: &str, path: &str) -> Option<Value> {
    let off = policy.pointer("/spec/evaluation/admission/enabled") == Some(&Value::Bool(false));
    let constraints = policy.pointer("/spec/matchConstraints").filter(|_| !off)?;
    let lenient = text(policy, "/spec/failurePolicy") == "Ignore";
    let suffix = if lenient { "ignore" } else { "fail" };
    let own = if key.namespace.is_empty() { key.name.clone() } else { format!("{}-{}", key.namespace, key.name) };
    let mut webhook = webhook(
        &format!("{name}-{suffix}-finegrained-{own}"),
        &format!("{path}/{}", key.name),
        lenient,
        policy.pointer("/spec/matchConditions"),
    );
    let mut rules = constraints.get("resourceRules").cloned().unwrap_or_else(|| json!([]));
    let pods = rules.as_array().is_some_and(|rules| rules.iter().any(|rule| strings(rule, "resources").contains(&"pods")));
    if let Some(rules) = rules.as_array_mut().filter(|_| pods) {
        rules.push(json!({"apiGroups": ["apps", "batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["cronjobs", "daemonsets", "deployments", "jobs", "replicasets", "statefulsets"]}));
    }
    webhook["rules"] = rules;
    if let Some(selector) = constraints.get("objectSelector") {
        webhook["objectSelector"] = selector.clone();
    }
    let expressions = webhook.pointer_mut("/namespaceSelector/matchExpressions").and_then(Value::as_array_mut);
    if let Some(expressions) = expressions.filter(|_| !key.namespace.is_empty()) {
        expressions.push(json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [key.namespace]}));
    } else if let Some(selector) = constraints.get("namespaceSelector") {
        webhook["namespaceSelector"]["matchLabels"] = selector.get("matchLabels").cloned().unwrap_or_else(|| json!({}));
        let own = selector.get("matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(expressions) = webhook.pointer_mut("/namespaceSelector/matchExpressions").and_then(Value::as_array_mut) {
            expressions.extend(own);
        }
    }
    Some(webhook)
}
