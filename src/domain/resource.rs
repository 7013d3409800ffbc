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

impl fmt::Display for ResourceRef {
    /// `Kind/name`, without the namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
