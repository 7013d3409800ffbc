//! Which namespaces a rule looks at, as manifests say it.
//!
//! What lives here: reading `match` and `exclude` of `kyverno.io`, and `matchConstraints` of `policies.kyverno.io`. What does not: whether a
//! namespace fits (`mode::reach`). What cannot be read bounds nothing: to believe that a rule looks at a namespace errs on the careful side.
//!
//! Fields: Kyverno `api/kyverno/v1/{match_resources,any,resource_description,user_info}_types.go`, 1.10–1.19.

use super::{json, selector, wildcard};
use crate::domain::{NamespaceFilter, Reach};
use serde_json::Value;

/// Of something with `match` and `exclude`. In either, `any` hides `all`, and both hide what is written beside them (Kyverno
/// `pkg/engine/utils/match.go`, `MatchesResourceDescription`).
pub(super) fn of_rule(rule: &Value) -> Reach {
    let within = match Block::of(rule, "match") {
        Block::None => Vec::new(),
        Block::Any(entries) => entries.iter().map(|entry| vec![filter(entry)]).collect(),
        Block::All(entries) => vec![entries.iter().map(filter).collect()],
        Block::Own(entry) => vec![vec![filter(entry)]],
    };
    let except = match Block::of(rule, "exclude") {
        Block::None => Vec::new(),
        Block::Any(entries) => entries.iter().filter_map(whole).map(|filter| vec![filter]).collect(),
        // All of them have to fit, so one that excludes only a part makes a part of it all.
        Block::All(entries) => entries.iter().map(whole).collect::<Option<Vec<_>>>().into_iter().collect(),
        Block::Own(entry) => whole(entry).map(|filter| vec![filter]).into_iter().collect(),
    };
    Reach { within, except }
}

/// Of a CEL policy: `spec.matchConstraints.namespaceSelector` (Kubernetes `MatchResources`). Its `excludeResourceRules` know no namespaces.
pub(super) fn of_constraints(object: &Value) -> Reach {
    let selector = json::get(object, &["spec", "matchConstraints", "namespaceSelector"]).map(selector::read);
    let filter = |selector| NamespaceFilter { namespaces: Vec::new(), selector: Some(selector), namespaces_themselves: true };
    Reach { within: selector.map(|selector| vec![filter(selector)]).into_iter().collect(), except: Vec::new() }
}

/// How a `match` or `exclude` is written.
enum Block<'a> {
    None,
    Any(&'a [Value]),
    All(&'a [Value]),
    /// Deprecated: without `any` or `all`, itself like an entry of these.
    Own(&'a Value),
}

impl<'a> Block<'a> {
    fn of(rule: &'a Value, field: &str) -> Self {
        let Some(block) = json::get(rule, &[field]) else { return Self::None };
        match (json::list(block, &["any"]), json::list(block, &["all"])) {
            ([], []) => Self::Own(block),
            ([], all) => Self::All(all),
            (any, _) => Self::Any(any),
        }
    }
}

fn filter(entry: &Value) -> NamespaceFilter {
    let kinds = json::list(entry, &["resources", "kinds"]);
    NamespaceFilter {
        namespaces: json::texts(entry, &["resources", "namespaces"]),
        selector: json::get(entry, &["resources", "namespaceSelector"]).map(selector::read),
        namespaces_themselves: kinds.is_empty() || kinds.iter().filter_map(Value::as_str).any(may_be_namespace),
    }
}

/// Kinds are `[group/[version/]]kind[/subresource]`, also with dots, and may have wildcards (Kyverno `pkg/utils/kube/kind.go`,
/// `ParseKindSelector`).
fn may_be_namespace(kind: &str) -> bool {
    kind.split(['/', '.']).any(|part| wildcard::matches(part, "Namespace"))
}

/// The filter of an entry of `exclude`, if it takes a namespace out as a whole: if it says something about namespaces and nothing else.
fn whole(entry: &Value) -> Option<NamespaceFilter> {
    let only_resources = says_only(entry, &["resources"]);
    let resources = json::get(entry, &["resources"])?;
    let only_namespaces = says_only(resources, &["namespaces", "namespaceSelector"]);
    let filter = filter(entry);
    let says_something = !filter.namespaces.is_empty() || filter.selector.is_some();
    (only_resources && only_namespaces && says_something).then_some(filter)
}

fn says_only(value: &Value, keys: &[&str]) -> bool {
    value.as_object().is_none_or(|members| members.iter().all(|(key, value)| keys.contains(&key.as_str()) || is_empty(value)))
}

/// Whether Kyverno takes it as not said.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
