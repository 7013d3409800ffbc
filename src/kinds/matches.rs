//! Which requests a policy asks for: kinds and operations of `kyverno.io`, `matchConstraints` and match conditions of `policies.kyverno.io`.
//!
//! What lives here: reading them, as Kyverno does when it builds its webhooks. What does not: whether webhooks send them (`in_force`),
//! and which namespaces a rule looks at (`reach`).
//!
//! Read in Kyverno 1.19.1: `pkg/controllers/webhook/{controller,utils,validating}.go`, `pkg/utils/kube/kind.go`.

use super::cluster_policy::rule_type;
use super::{json, selector};
use crate::domain::{MatchedResource, Matches, RuleType};
use serde_json::Value;

/// Of the rules of a ClusterPolicy or Policy, with those that Kyverno generates for pod controllers.
pub(super) fn of_rules(object: &Value) -> Matches {
    let rules = json::list(object, &["spec", "rules"]);
    let generated = json::list(object, &["status", "autogen", "rules"]);
    let mut resources: Vec<MatchedResource> = rules.iter().chain(generated).flat_map(of_rule).collect();
    // Kyverno writes the kinds of generated rules in no order.
    resources.sort();
    resources.dedup();
    let failure_policy = json::text(object, &["spec", "webhookConfiguration", "failurePolicy"]);
    Matches {
        resources,
        conditions: conditions(object, &["spec", "webhookConfiguration", "matchConditions"]),
        ignores_failures: failure_policy.or_else(|| json::text(object, &["spec", "failurePolicy"])) == Some("Ignore"),
        ..Matches::default()
    }
}

/// Of a CEL policy.
pub(super) fn of_constraints(object: &Value, rule_type: RuleType) -> Matches {
    let selector = |field: &str| json::get(object, &["spec", "matchConstraints", field]).map(selector::read);
    let rules = json::list(object, &["spec", "matchConstraints", "resourceRules"]);
    Matches {
        resources: rules.iter().flat_map(|rule| of_resource_rule(rule, rule_type)).collect(),
        object_selector: selector("objectSelector"),
        namespace_selector: selector("namespaceSelector"),
        conditions: conditions(object, &["spec", "matchConditions"]),
        ignores_failures: json::text(object, &["spec", "failurePolicy"]) == Some("Ignore"),
    }
}

/// Match conditions of a policy or a webhook, as (name, expression).
pub(super) fn conditions(object: &Value, path: &[&str]) -> Vec<(String, String)> {
    let read = |entry: &Value| (json::text_or_empty(entry, &["name"]), json::text_or_empty(entry, &["expression"]));
    json::list(object, path).iter().map(read).collect()
}

/// Only kinds and operations get into webhooks. What `exclude.any` takes out by kinds and operations alone does not.
fn of_rule(rule: &Value) -> Vec<MatchedResource> {
    let rule_type = match rule_type(rule) {
        // What changes existing resources is triggered where resources are checked, like what generates.
        RuleType::Mutate if !json::list(rule, &["mutate", "targets"]).is_empty() => RuleType::Generate,
        other => other,
    };
    let block = |field: &str| json::get(rule, &["match", field]).and_then(Value::as_array).filter(|entries| !entries.is_empty());
    let entries: Vec<&Value> = match block("any").or_else(|| block("all")) {
        Some(entries) => entries.iter().collect(),
        None => json::get(rule, &["match"]).into_iter().collect(),
    };
    let mut found = Vec::new();
    for entry in entries {
        let operations = json::texts(entry, &["resources", "operations"]);
        for kind in json::texts(entry, &["resources", "kinds"]) {
            let operations = left_of(rule, &kind, &operations);
            if let Some((group, version, name, subresource)) = parse_kind(&kind).filter(|_| operations.is_some()) {
                let operations = operations.unwrap_or_default();
                found.push(MatchedResource { group, version, name, is_kind: true, subresource, operations, rule_type });
            }
        }
    }
    found
}

/// The operations that `exclude.any` leaves of those that are matched; `None` where it leaves none.
fn left_of(rule: &Value, kind: &str, operations: &[String]) -> Option<Vec<String>> {
    let mut left = operations.to_vec();
    for entry in json::list(rule, &["exclude", "any"]).iter().filter(|entry| is_about_kinds_only(entry)) {
        let kinds = json::texts(entry, &["resources", "kinds"]);
        if !kinds.is_empty() && !kinds.iter().any(|excluded| excluded == kind) {
            continue;
        }
        let excluded = json::texts(entry, &["resources", "operations"]);
        if excluded.is_empty() {
            return None;
        }
        if left.is_empty() {
            left = ["CREATE", "UPDATE"].map(str::to_owned).to_vec();
        }
        left.retain(|operation| !excluded.contains(operation));
        if left.is_empty() {
            return None;
        }
    }
    Some(left)
}

fn is_about_kinds_only(entry: &Value) -> bool {
    let only =
        |value: &Value, keys: &[&str]| value.as_object().is_none_or(|members| members.keys().all(|key| keys.contains(&key.as_str())));
    only(entry, &["resources"]) && json::get(entry, &["resources"]).is_some_and(|resources| only(resources, &["kinds", "operations"]))
}

/// Group, version, kind and subresource of `[group/[version/]]kind[/subresource]`, also with dots (Kyverno `ParseKindSelector`).
fn parse_kind(text: &str) -> Option<(String, String, String, String)> {
    let (before, last) = text.rsplit_once('/').map_or((None, text), |(before, last)| (Some(before), last));
    let parts: Vec<&str> = before.into_iter().flat_map(|before| before.split('/')).chain(last.split('.')).collect();
    let parsed = match parts.as_slice() {
        [kind] => ("*", "*", *kind, ""),
        ["*", "*"] => ("*", "*", "*", "*"),
        ["*", subresource] if subresource.to_lowercase() == **subresource => ("*", "*", "*", *subresource),
        [version, kind] if is_version(version) => ("*", *version, *kind, ""),
        [kind, subresource] => ("*", "*", *kind, *subresource),
        [version, kind, subresource] if is_version(version) => ("*", *version, *kind, *subresource),
        [group, version, kind] => (*group, *version, *kind, ""),
        [group, version, kind, subresource] => (*group, *version, *kind, *subresource),
        _ => return None,
    };
    Some((parsed.0.to_owned(), parsed.1.to_owned(), parsed.2.to_owned(), parsed.3.to_owned()))
}

/// `*`, or `v1`, `v1beta2` and the like.
fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return text == "*" };
    let mut chars = rest.chars();
    let digit = chars.next().is_some_and(|c| c.is_ascii_digit());
    let rest = chars.as_str();
    let stage = rest.strip_prefix("alpha").or_else(|| rest.strip_prefix("beta"));
    digit && (rest.is_empty() || stage.is_some_and(|n| n.len() == 1 && n.chars().all(|c| c.is_ascii_digit())))
}

fn of_resource_rule(rule: &Value, rule_type: RuleType) -> Vec<MatchedResource> {
    let operations: Vec<String> = json::texts(rule, &["operations"]).into_iter().filter(|operation| operation != "*").collect();
    let all = |field: &str| json::texts(rule, &[field]);
    let mut found = Vec::new();
    for group in all("apiGroups") {
        for version in all("apiVersions") {
            for resource in all("resources") {
                let (name, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                found.push(MatchedResource {
                    group: group.clone(),
                    version: version.clone(),
                    name: name.to_owned(),
                    is_kind: false,
                    subresource: subresource.to_owned(),
                    operations: operations.clone(),
                    rule_type,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_read_as_kyverno_reads_them() {
        for (text, expected) in [
            ("Pod", ("*", "*", "Pod", "")),
            ("v1/Pod", ("*", "v1", "Pod", "")),
            ("apps/v1/Deployment", ("apps", "v1", "Deployment", "")),
            ("*/*", ("*", "*", "*", "*")),
            ("*", ("*", "*", "*", "")),
            ("*/scale", ("*", "*", "*", "scale")),
            ("Pod/exec", ("*", "*", "Pod", "exec")),
            ("Pod.status", ("*", "*", "Pod", "status")),
            ("v1/Pod/exec", ("*", "v1", "Pod", "exec")),
            ("apps/v1beta2/Deployment/scale", ("apps", "v1beta2", "Deployment", "scale")),
        ] {
            let (group, version, kind, subresource) = parse_kind(text).unwrap();
            assert_eq!((group.as_str(), version.as_str(), kind.as_str(), subresource.as_str()), expected, "{text}");
        }
        assert_eq!(parse_kind("a/b/c/d/e"), None);
    }

    #[test]
    fn what_is_excluded_by_kind_is_not_asked_for() {
        let policy = |exclude: Value| {
            json!({"spec": {"rules": [{"name": "r", "validate": {}, "exclude": exclude,
                "match": {"any": [{"resources": {"kinds": ["Pod", "Service"], "operations": ["CREATE", "DELETE"]}}]}}]}})
        };
        let names = |exclude: Value| -> Vec<(String, String)> {
            let read = of_rules(&policy(exclude));
            read.resources.iter().map(|one| (one.name.clone(), one.operations.join(","))).collect()
        };
        let both = [("Pod", "CREATE,DELETE"), ("Service", "CREATE,DELETE")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(names(json!({})), both);
        assert_eq!(names(json!({"any": [{"resources": {"kinds": ["Pod"]}}]})), both[1..]);
        assert_eq!(names(json!({"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["a"]}}]})), both);
        assert_eq!(names(json!({"any": [{"resources": {"kinds": ["Pod"], "operations": ["CREATE"]}}]}))[0].1, "DELETE");
    }

    #[test]
    fn constraints_are_taken_apart() {
        let object = json!({"spec": {"failurePolicy": "Ignore", "matchConditions": [{"name": "n", "expression": "true"}],
            "matchConstraints": {"objectSelector": {"matchLabels": {"a": "b"}},
                "resourceRules": [{"apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods", "pods/exec"]}]}}});
        let read = of_constraints(&object, RuleType::Validate);
        assert_eq!((read.resources.len(), read.ignores_failures, read.conditions.len()), (4, true, 1));
        assert!(read.object_selector.is_some() && read.namespace_selector.is_none());
        assert!(read.resources.iter().all(|one| one.operations.is_empty() && !one.is_kind));
    }
}
