//! Does this policy look at that object: wildcards, label selectors, match and exclude blocks.
//!
//! Not here: what the policy then says about it.

use serde_json::{Map, Value};

use crate::demo::store::text;

/// An object as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) object: &'a Value,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace_labels: &'a Map<String, Value>,
    /// CREATE or UPDATE; a background scan counts as CREATE, as in Kyverno.
    pub(crate) operation: &'a str,
}

/// `*` for any run, `?` for one character (Kyverno `ext/wildcard`).
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// The strings of a list, empty when it is missing.
pub(crate) fn strings<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A `metav1.LabelSelector`; a missing one selects everything. Kyverno allows wildcards in matchLabels.
pub(crate) fn selects(selector: Option<&Value>, labels: &Map<String, Value>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let by_label = wanted.into_iter().flatten().all(|(name, value)| {
        let pattern = value.as_str().unwrap_or_default();
        labels.iter().any(|(own, have)| wildcard(name, own) && wildcard(pattern, have.as_str().unwrap_or_default()))
    });
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_label
        && expressions.into_iter().flatten().all(|test| {
            let value = labels.get(text(test, "/key")).and_then(Value::as_str);
            let listed = value.is_some_and(|value| strings(test, "values").contains(&value));
            match text(test, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

pub(crate) fn labels(object: &Value) -> Map<String, Value> {
    object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// `Pod`, `v1/Pod`, `apps/v1/Deployment`, `*/Pod`, each part with wildcards; subresources never match here.
fn kind_matches(pattern: &str, subject: &Subject<'_>) -> bool {
    let parts: Vec<&str> = pattern.split('/').collect();
    match parts.as_slice() {
        [kind] => wildcard(kind, subject.kind),
        [version, kind] => wildcard(version, subject.version) && wildcard(kind, subject.kind),
        [group, version, kind] => wildcard(group, subject.group) && wildcard(version, subject.version) && wildcard(kind, subject.kind),
        _ => false,
    }
}

/// The kinds a match or exclude block names.
pub(crate) fn kinds(block: &Value) -> Vec<&str> {
    filters(block).iter().flat_map(|filter| strings(filter, "kinds")).collect()
}

/// All `resources` filters of a block.
pub(crate) fn filters(block: &Value) -> Vec<&Value> {
    let listed = ["any", "all"].into_iter().filter_map(|name| block.get(name)).filter_map(Value::as_array).flatten();
    listed.chain(std::iter::once(block)).filter_map(|entry| entry.get("resources")).collect()
}

fn filter_matches(filter: &Value, subject: &Subject<'_>, as_kind: &str) -> bool {
    let seen = Subject { kind: as_kind, ..*subject };
    let pod = as_kind == "Pod" && subject.kind != "Pod";
    // An autogen rule is the Pod rule with the controller's kind put in its place.
    let (group, version) = if pod { ("", "v1") } else { (subject.group, subject.version) };
    let seen = Subject { group, version, ..seen };
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        let list = strings(filter, name);
        list.is_empty() || list.into_iter().any(test)
    };
    let single = text(filter, "/name");
    any("kinds", &|kind| kind_matches(kind, &seen))
        && any("names", &|name| wildcard(name, subject.name))
        && (single.is_empty() || wildcard(single, subject.name))
        && any("namespaces", &|namespace| {
            // For a Namespace object, `namespaces` means its own name.
            wildcard(namespace, if subject.kind == "Namespace" { subject.name } else { subject.namespace })
        })
        && any("operations", &|operation| operation == subject.operation)
        && selects(filter.get("selector"), &labels(subject.object))
        && selects(filter.get("namespaceSelector"), subject.namespace_labels)
}

/// A classic match or exclude block, read as if the object were of kind `as_kind`.
pub(crate) fn block_matches(block: &Value, subject: &Subject<'_>, as_kind: &str) -> bool {
    let entry = |entry: &Value| entry.get("resources").is_some_and(|filter| filter_matches(filter, subject, as_kind));
    if let Some(any) = block.get("any").and_then(Value::as_array) {
        any.iter().any(entry)
    } else if let Some(all) = block.get("all").and_then(Value::as_array) {
        !all.is_empty() && all.iter().all(entry)
    } else {
        entry(block)
    }
}

/// The `matchConstraints` of a CEL kind, asked for a resource that may stand in for Pods.
pub(crate) fn constraints_match(constraints: &Value, subject: &Subject<'_>, group: &str, plural: &str) -> bool {
    let rules = |name: &str| constraints.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let matches = |rule: &Value| {
        let has = |name: &str, wanted: &str| {
            let list = strings(rule, name);
            list.is_empty() || list.iter().any(|item| *item == "*" || *item == wanted)
        };
        has("apiGroups", group) && has("resources", plural) && has("operations", subject.operation) && has("resourceNames", subject.name)
    };
    rules("resourceRules").iter().any(matches)
        && !rules("excludeResourceRules").iter().any(matches)
        && selects(constraints.get("namespaceSelector"), subject.namespace_labels)
        && selects(constraints.get("objectSelector"), &labels(subject.object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcards() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "ac", false),
            ("?*", "", false),
            ("*:latest", "x/y:latest", true),
            ("reg/*", "other/x", false),
        ] {
            assert_eq!(wildcard(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn selectors_of_both_kinds() {
        let labels = json!({"tier": "prod"});
        let labels = labels.as_object().unwrap();
        assert!(selects(Some(&json!({"matchLabels": {"tier": "pr*"}})), labels));
        assert!(!selects(Some(&json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["prod"]}]})), labels));
    }
}
