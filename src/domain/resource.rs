//! References to the resources that policies judge.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A Kubernetes object that a finding is about, as reports name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRef {
    /// `apiVersion`, empty where the report names none.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped resources.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID; empty where the report names none.
    pub uid: String,
}

impl ResourceRef {
    /// Whether it is a Namespace, which belongs to itself where one namespace is asked about.
    pub fn is_namespace(&self) -> bool {
        self.kind == "Namespace" && self.namespace.is_empty() && !self.api_version.contains('/')
    }

    /// The namespace that it belongs to: a Namespace is in itself.
    pub fn own_namespace(&self) -> &str {
        if self.is_namespace() { &self.name } else { &self.namespace }
    }
}

impl fmt::Display for ResourceRef {
    /// `Kind/name`, without the namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
