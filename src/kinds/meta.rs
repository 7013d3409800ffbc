//! What every object says about itself: identity, labels, annotations, times.
//!
//! What lives here: reading `metadata`. What does not: `spec` and `status` of any kind.

use super::hold::read_hold;
use super::rolled_back::read_rolled_back;
use super::{Kind, Unreadable, json};
use crate::domain::{Hold, PolicyId, RolledBack, Severity};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// `metadata`, as far as anybody here asks for it.
pub(super) struct Meta {
    pub(super) name: String,
    /// Missing only in files: the API server always fills it in for namespaced kinds.
    pub(super) namespace: Option<String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) generation: i64,
    pub(super) hold: Option<Hold>,
    pub(super) rolled_back: Option<RolledBack>,
}

impl Meta {
    /// Reads `metadata`; only a missing name fails.
    pub(super) fn read(kind: &Kind, object: &Value) -> Result<Self, Unreadable> {
        let namespace = json::text(object, &["metadata", "namespace"]).filter(|namespace| kind.namespaced && !namespace.is_empty());
        let name = json::text(object, &["metadata", "name"]).filter(|name| !name.is_empty()).ok_or_else(|| Unreadable {
            object: match namespace {
                Some(namespace) => format!("{}/{namespace}/?", kind.kind),
                None => format!("{}/?", kind.kind),
            },
            why: "it has no metadata.name".to_owned(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            annotations: json::text_map(object, &["metadata", "annotations"]),
            created_at: json::time(object, &["metadata", "creationTimestamp"]),
            generation: json::get(object, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default(),
            hold: read_hold(object),
            rolled_back: read_rolled_back(object),
        })
    }

    /// The identity of the policy that this metadata belongs to.
    pub(super) fn policy_id(&self, kind: &Kind) -> PolicyId {
        PolicyId { group: kind.group.to_owned(), kind: kind.kind.to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// Annotation `policies.kyverno.io/severity`; a misspelt one counts as none, as in reports (Kyverno `pkg/utils/report/results.go`).
    pub(super) fn severity(&self) -> Option<Severity> {
        let text = self.annotations.get("policies.kyverno.io/severity")?;
        Severity::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// Annotation `policies.kyverno.io/scored` (Kyverno `pkg/utils/report/results.go`).
    pub(super) fn scored(&self) -> bool {
        self.annotations.get("policies.kyverno.io/scored").is_none_or(|scored| scored != "false")
    }

    /// Annotation `policies.kyverno.io/category`.
    pub(super) fn category(&self) -> Option<String> {
        self.annotations.get("policies.kyverno.io/category").filter(|category| !category.is_empty()).cloned()
    }
}
