//! Where a request happens, and which overrides hold there.
//!
//! Kyverno looks at an override twice and not in the same way: its policy cache, which sorts rules into refusing and auditing ones, and its
//! engine, which decides. Both ways are here; which release uses which is in `actions`.

use super::super::{Namespace, wildcard};
use crate::domain::{LabelSelector, Override, Requirement};
use std::collections::BTreeMap;

/// Where a request happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// In this namespace, or nowhere in particular where that is the place of cluster-scoped resources.
    In(&'a Namespace),
    /// In a namespace that no override names.
    Nowhere,
    /// In a namespace that only this override names.
    Only(&'a Override),
}

impl Place<'_> {
    /// Whether there is a namespace at all.
    pub(super) fn has_namespace(&self) -> bool {
        !matches!(self, Self::In(namespace) if namespace.is_cluster_scoped())
    }

    /// Whether one of the override's patterns matches the namespace's name. That of cluster-scoped resources is empty, and `*` matches it.
    pub(super) fn is_named_by(&self, entry: &Override) -> bool {
        match self {
            Self::In(namespace) => entry.namespaces.iter().any(|pattern| wildcard::matches(pattern, &namespace.name)),
            Self::Nowhere => false,
            Self::Only(only) => std::ptr::eq(*only, entry) && !entry.namespaces.is_empty(),
        }
    }

    /// Whether the engine finds the override's selector satisfied; it allows wildcards in `matchLabels` (Kyverno `pkg/utils/match/labels.go`,
    /// `CheckSelector`, with `pkg/engine/wildcards`).
    pub(super) fn is_selected_by(&self, entry: &Override) -> bool {
        self.satisfies(entry, selects)
    }

    /// Whether the cache finds the override's selector satisfied; to it a selector with wildcards is invalid, and passed over (Kyverno ≥ 1.16
    /// `pkg/policycache/cache.go`).
    pub(super) fn is_plainly_selected_by(&self, entry: &Override) -> bool {
        let plain = entry.selector.as_ref().is_some_and(|selector| !selector.requirements.iter().any(has_wildcards));
        plain && self.satisfies(entry, LabelSelector::matches)
    }

    fn satisfies(&self, entry: &Override, matches: impl Fn(&LabelSelector, &BTreeMap<String, String>) -> bool) -> bool {
        match (self, &entry.selector) {
            (_, None) | (Self::Nowhere, _) => false,
            (Self::In(namespace), Some(selector)) => matches(selector, &namespace.labels),
            (Self::Only(only), Some(_)) => std::ptr::eq(*only, entry),
        }
    }
}

/// Whether the engine finds a selector satisfied, see [`Place::is_selected_by`].
pub(super) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.requirements.iter().all(|requirement| holds(requirement, labels))
}

fn has_wildcards(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::In(key, values) => wildcard::is_pattern(key) || values.iter().any(|value| wildcard::is_pattern(value)),
        Requirement::NotIn(key, _) | Requirement::Exists(key) | Requirement::DoesNotExist(key) => wildcard::is_pattern(key),
    }
}

/// One requirement, with wildcards where `matchLabels` may have them: those are read as `In` with a single value.
fn holds(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
    match requirement {
        Requirement::In(key, values) if has_wildcards(requirement) => labels
            .iter()
            .any(|(label, value)| wildcard::matches(key, label) && values.iter().any(|pattern| wildcard::matches(pattern, value))),
        plain => LabelSelector { requirements: vec![plain.clone()] }.matches(labels),
    }
}
