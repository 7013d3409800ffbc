//! Namespaces, as far as modes depend on them.

use super::{Unreadable, json};
use crate::domain::NAMESPACE_NAME;
use serde_json::Value;
use std::collections::BTreeMap;

/// A namespace: what overrides and exclusions look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name; empty stands for "no namespace", the place of cluster-scoped resources.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Namespace {
    /// Reads a core v1 Namespace.
    pub fn read(object: &Value) -> Result<Self, Unreadable> {
        match json::text(object, &["metadata", "name"]) {
            Some(name) if !name.is_empty() => Ok(Self::new(name, json::text_map(object, &["metadata", "labels"]))),
            _ => Err(Unreadable { object: "Namespace/?".to_owned(), why: "it has no metadata.name".to_owned() }),
        }
    }

    /// A namespace with these labels, and with [`NAMESPACE_NAME`].
    pub fn new(name: &str, mut labels: BTreeMap<String, String>) -> Self {
        if !name.is_empty() {
            labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
        }
        Self { name: name.to_owned(), labels }
    }

    /// Where cluster-scoped resources live.
    pub fn cluster_scoped() -> Self {
        Self::default()
    }

    /// Whether this is the place of cluster-scoped resources.
    pub fn is_cluster_scoped(&self) -> bool {
        self.name.is_empty()
    }
}
