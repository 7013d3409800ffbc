//! What Kyverno's webhooks answer to a write, and the events they leave.
//!
//! Not here: judging (`super::engine`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{Outcome, POLICY_KINDS, Phase, Verdict, World};
use super::matching::strings;
use crate::demo::catalog::Resource;
use crate::demo::cluster::{Cluster, rfc3339, rfc3339_micro};
use crate::demo::failure::Failure;
use crate::demo::store::{Key, Store, text};

/// Events kept per environment; the real server drops them after an hour.
const MOST_EVENTS: usize = 400;
/// Kyverno cuts event messages here (`pkg/event`).
const LONGEST_MESSAGE: usize = 1024;

/// The webhooks' answer.
#[derive(Debug, Default)]
pub(crate) struct Review {
    pub(crate) refusal: Option<Failure>,
    pub(crate) warnings: Vec<String>,
    pub(crate) events: Vec<Value>,
}

/// Asks Kyverno about a create or update. Dry runs are asked too, and leave events too, as on a real cluster.
pub(crate) fn review(cluster: &Cluster, store: &Store, resource: &Resource, key: &Key, before: Option<&Value>, next: &Value) -> Review {
    if POLICY_KINDS.contains(&(resource.group.as_str(), resource.plural.as_str())) {
        return review_policy(cluster, resource, next);
    }
    if !resource.builtin || matches!(resource.plural.as_str(), "events" | "leases") {
        return Review::default();
    }
    let world = World::gather(cluster, store);
    let operation = if before.is_some() { "UPDATE" } else { "CREATE" };
    let verdicts = world.judge(resource, key, next, operation, Phase::Admission);
    let failing: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Fail).collect();
    let existing = before.map(|old| world.judge(resource, key, old, operation, Phase::Admission)).unwrap_or_default();
    let tolerated = |verdict: &Verdict| {
        verdict.tolerates_existing
            && existing.iter().any(|old| old.policy == verdict.policy && old.rule == verdict.rule && old.outcome == Outcome::Fail)
    };
    let (blocking, passing): (Vec<&Verdict>, Vec<&Verdict>) =
        failing.into_iter().partition(|verdict| verdict.denies && !tolerated(verdict));
    let mut review = Review { refusal: refusal(resource, key, &blocking), ..Review::default() };
    let occasion = Occasion { resource, key, object: next, component: "kyverno-admission" };
    for verdict in &blocking {
        review.events.push(occasion.event(cluster, verdict, true));
    }
    for verdict in passing {
        if verdict.warns {
            let message = &verdict.message;
            review.warnings.push(format!("policy {}.{}: {message}", verdict.policy, verdict.rule.as_deref().unwrap_or("")));
        }
        // Kyverno 1.19 calls an audited failure of a ValidatingPolicy "blocked" as soon as any of them denies.
        let miscalled = verdict.source == "KyvernoValidatingPolicy" && !verdict.denies && world.some_cel_denies();
        if review.refusal.is_none() {
            review.events.push(occasion.event(cluster, verdict, miscalled));
        }
    }
    review
}

/// The refusal in Kyverno's words: classic policies list themselves and their rules, CEL policies name one.
fn refusal(resource: &Resource, key: &Key, blocking: &[&Verdict]) -> Option<Failure> {
    let mut classic: Vec<&&Verdict> = blocking.iter().filter(|verdict| verdict.source == "kyverno").collect();
    classic.sort_by(|a, b| (&a.policy, &a.rule).cmp(&(&b.policy, &b.rule)));
    if let Some(first) = classic.first() {
        let mut listed = format!("{}:\n", first.policy);
        let mut policy = first.policy.as_str();
        for verdict in &classic {
            if verdict.policy != policy {
                policy = &verdict.policy;
                listed.push_str(policy);
                listed.push_str(":\n");
            }
            let message = verdict.message.replace('\'', "''");
            listed.push_str(&["  ", verdict.rule.as_deref().unwrap_or(""), ": '", &message, "'\n"].concat());
        }
        let name = [resource.kind.as_str(), &key.namespace, &key.name].join("/");
        let why = format!("\n\nresource {name} was blocked due to the following policies \n\n{listed}");
        return Some(Failure::denied("validate.kyverno.svc-fail", &why));
    }
    let verdict = blocking.first()?;
    let webhook = if verdict.source == "KyvernoImageValidatingPolicy" { "ivpol" } else { "vpol" };
    let why = format!("Policy {} failed: {}", verdict.policy, verdict.message);
    Some(Failure::denied(&format!("{webhook}.validate.kyverno.svc-fail"), &why))
}

/// Kyverno's own webhooks for policies: warnings on every write, and the refusals a promotion can meet.
fn review_policy(cluster: &Cluster, resource: &Resource, next: &Value) -> Review {
    let mut review = Review::default();
    if resource.group == "kyverno.io" && cluster.profile.minor >= 19 {
        // pkg/deprecations/deprecations.go, 1.19.
        let successor = match resource.kind.as_str() {
            "Policy" => "NamespacedValidatingPolicy",
            "CleanupPolicy" => "NamespacedDeletingPolicy",
            "ClusterCleanupPolicy" => "DeletingPolicy",
            _ => "ValidatingPolicy",
        };
        review.warnings.push(format!(
            "{} (kyverno.io) is deprecated and will be removed in a future release; migrate to {successor} (policies.kyverno.io)",
            resource.kind
        ));
    }
    if let Some(why) = refused_policy(&next["spec"]) {
        review.refusal = Some(Failure::denied("validate-policy.kyverno.svc", &why));
    }
    review
}

fn refused_policy(spec: &Value) -> Option<String> {
    let off = |name: &str| spec[name] == json!(false);
    if off("admission") && off("background") {
        return Some("disabling both admission and background processing is not allowed".to_owned());
    }
    let (mut enforced, mut audited) = (Vec::new(), Vec::new());
    for entry in spec["validationFailureActionOverrides"].as_array().into_iter().flatten() {
        let enforce = text(entry, "/action").eq_ignore_ascii_case("enforce");
        if enforce { &mut enforced } else { &mut audited }.extend(strings(entry, "namespaces"));
    }
    if let Some(both) = enforced.iter().find(|namespace| audited.contains(namespace)) {
        return Some(format!("conflicting namespaces found in path: spec.validationFailureActionOverrides: {both}"));
    }
    for rule in spec["rules"].as_array().into_iter().flatten() {
        for (n, entry) in rule["verifyImages"].as_array().into_iter().flatten().enumerate() {
            let action = entry["failureAction"].as_str().or_else(|| spec["validationFailureAction"].as_str());
            let audit = !action.is_some_and(|action| action.eq_ignore_ascii_case("enforce"));
            if audit && entry["mutateDigest"] == json!(true) {
                return Some(format!(
                    "path: spec.rules[{}].verifyImages[{n}].mutateDigest: mutateDigest must be set to false for 'Audit' failure action",
                    text(rule, "/name")
                ));
            }
        }
    }
    None
}

/// What an event is about.
pub(crate) struct Occasion<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) key: &'a Key,
    pub(crate) object: &'a Value,
    pub(crate) component: &'a str,
}

impl Occasion<'_> {
    /// The event Kyverno makes of a failed rule: one object per occurrence, about the policy, related to the
    /// resource (pkg/event, 1.12+).
    pub(crate) fn event(&self, cluster: &Cluster, verdict: &Verdict, blocked: bool) -> Value {
        let now = Timestamp::now();
        let policy = &verdict.object.value;
        let namespace = text(policy, "/metadata/namespace");
        let home = if namespace.is_empty() { "default" } else { namespace };
        let place = if self.key.namespace.is_empty() { String::new() } else { format!("{}/", self.key.namespace) };
        let rule = verdict.rule.as_ref().map(|rule| format!("[{rule}] ")).unwrap_or_default();
        let mark = if blocked { " (blocked)" } else { "" };
        let message: String = format!("{} {place}{}: {rule}fail{mark}; {}", self.resource.kind, self.key.name, verdict.message)
            .chars()
            .take(LONGEST_MESSAGE)
            .collect();
        let name = format!("{}.{:016x}", text(policy, "/metadata/name"), cluster.draw());
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": home, "uid": cluster.uid(), "creationTimestamp": rfc3339(now), "managedFields": written_by(self.component, now)},
            "involvedObject": {
                "apiVersion": policy["apiVersion"], "kind": policy["kind"], "namespace": if namespace.is_empty() { Value::Null } else { json!(namespace) },
                "name": policy["metadata"]["name"], "uid": policy["metadata"]["uid"],
            },
            "related": {
                "apiVersion": self.resource.api_version(self.resource.preferred()), "kind": self.resource.kind,
                "namespace": self.key.namespace, "name": self.key.name, "uid": self.object["metadata"]["uid"],
            },
            "reason": "PolicyViolation", "action": if blocked { "Resource Blocked" } else { "Resource Passed" },
            "message": message, "type": "Warning", "source": {},
            "reportingComponent": self.component, "reportingInstance": format!("{}-controller-7d9c5b6f4-x2k8p", self.component),
            "eventTime": rfc3339_micro(now), "firstTimestamp": Value::Null, "lastTimestamp": Value::Null,
        })
    }
}

/// The field manager of what a controller of Kyverno writes: client-go takes the name of its program.
pub(crate) fn written_by(component: &str, at: Timestamp) -> Value {
    let program = if component == "kyverno-admission" { "kyverno" } else { "reports-controller" };
    json!([{"manager": program, "operation": "Update", "apiVersion": "events.k8s.io/v1", "time": rfc3339(at), "fieldsType": "FieldsV1", "fieldsV1": {}}])
}

/// Stores an event and lets the oldest go when there are too many.
pub(crate) fn record(cluster: &Cluster, store: &mut Store, mut event: Value) {
    let Some(resource) = cluster.resource("", "events") else {
        return;
    };
    if event["involvedObject"]["namespace"].is_null()
        && let Some(involved) = event["involvedObject"].as_object_mut()
    {
        involved.remove("namespace");
    }
    let key = Key::new(text(&event, "/metadata/namespace"), text(&event, "/metadata/name"));
    store.put(resource.index, key, event);
    let held = store.rows(resource.index).count();
    if held > MOST_EVENTS {
        let oldest = store.rows(resource.index).min_by_key(|(_, object)| object.version).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            store.remove(resource.index, &oldest);
        }
    }
}
