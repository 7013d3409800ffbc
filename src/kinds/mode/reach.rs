//! Whether a rule looks at a namespace at all, by what its own `match` and `exclude` say of namespaces.
//!
//! Two matchers decide, each in its own way: Kyverno's engine for `kyverno.io` (`pkg/engine/utils/match.go`; alike in 1.13.4, 1.17.2, 1.18.2
//! and 1.19.1), and the API server's for CEL policies, whose matcher Kyverno copies (`pkg/cel/matching`), and for native twins. Where only
//! some cluster-scoped resources can meet a rule, it looks at them: no kinds are known here.

use super::super::{Namespace, wildcard};
use super::place::selects;
use crate::domain::{LabelSelector, NamespaceFilter, Policy, Rule};
use std::collections::BTreeMap;

/// Whether anything in the namespace, or any cluster-scoped resource, can meet the rule.
pub(super) fn looks_at(policy: &Policy, rule: &Rule, namespace: &Namespace) -> bool {
    if policy.native || policy.cel.is_some() {
        return looks_at_as_api_server(rule, namespace);
    }
    let (within, except) = (&rule.reach.within, &rule.reach.except);
    let fits = |group: &Vec<NamespaceFilter>| group.iter().all(|filter| fits_some(filter, namespace));
    let excluded = |group: &Vec<NamespaceFilter>| group.iter().all(|filter| fits_all(filter, namespace));
    (within.is_empty() || within.iter().any(fits)) && !except.iter().any(excluded)
}

/// Namespaces that `exclude` names do not get into native twins (Kyverno `pkg/admissionpolicy/builder.go`, `translateResource`), and with a
/// selector there no twin is made. Selectors never keep cluster-scoped resources out, and match Namespaces by their own labels (Kubernetes
/// `apiserver/pkg/admission/plugin/webhook/predicates/namespace/matcher.go`).
fn looks_at_as_api_server(rule: &Rule, namespace: &Namespace) -> bool {
    let within = &rule.reach.within;
    let fits = |filter: &NamespaceFilter| is_named(filter, namespace) && is_selected(filter, namespace, LabelSelector::matches);
    namespace.is_cluster_scoped() || within.is_empty() || within.iter().any(|group| group.iter().all(fits))
}

/// Whether the filter lets something through. Of cluster-scoped resources, selectors see no labels, and never match Namespaces; names see
/// those of Namespaces, and otherwise an empty one, which `*` matches.
fn fits_some(filter: &NamespaceFilter, namespace: &Namespace) -> bool {
    let a_namespace_itself = namespace.is_cluster_scoped() && filter.namespaces_themselves && filter.selector.is_none();
    a_namespace_itself || (is_named(filter, namespace) && is_selected(filter, namespace, selects))
}

/// Whether the filter takes in everything. A selector leaves Namespaces out, see [`fits_some`].
fn fits_all(filter: &NamespaceFilter, namespace: &Namespace) -> bool {
    let leaves_some = namespace.is_cluster_scoped() && filter.selector.is_some();
    !leaves_some && is_named(filter, namespace) && is_selected(filter, namespace, selects)
}

fn is_named(filter: &NamespaceFilter, namespace: &Namespace) -> bool {
    filter.namespaces.is_empty() || filter.namespaces.iter().any(|pattern| wildcard::matches(pattern, &namespace.name))
}

fn is_selected(
    filter: &NamespaceFilter,
    namespace: &Namespace,
    matches: impl Fn(&LabelSelector, &BTreeMap<String, String>) -> bool,
) -> bool {
    filter.selector.as_ref().is_none_or(|selector| matches(selector, &namespace.labels))
}

#[cfg(test)]
mod tests;
