//! An object as it should be in another cluster, or in its own at another time.
//!
//! What lives here: what of an object is its content and travels, what belongs to a cluster or to the tool that keeps it there and does not,
//! and which fields the target would not know ([`unknown_fields`]). What does not: whether it may travel (gates), and sending it.

mod schema;
mod stamp;

pub use schema::{schema_of, unknown_fields};
pub use stamp::{OURS, STAMPS, Stamp, StampState, annotate, stamp, stamp_edit, stamp_value};

use super::{Kind, json, managed_by};
use crate::domain::ManagedBy;
use serde_json::{Map, Value};
use std::fmt;

/// What a server writes into `metadata`. Finalizers are promises of controllers of one cluster.
const SERVERS: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "finalizers",
];

/// What `kubectl apply` remembers, and would compare with.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object that is ready to be created or put in place of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The object, without anything that its new server writes.
    pub object: Value,
    /// What of the source stayed behind, each with the tool it belongs to, for somebody to read: `meta.helm.sh/release-name (Helm)`.
    pub left_behind: Vec<String>,
    /// What the target had and keeps, in the same words.
    pub kept: Vec<String>,
    /// The source's version and the one the target serves, where they differ.
    pub version: Option<(String, String)>,
}

/// Why an object cannot be brought to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannotTransfer {
    /// Something in its own cluster owns it and makes it; it would be an orphan elsewhere.
    Owned {
        /// The owners, `Kind/name`.
        owners: Vec<String>,
    },
    /// A rule generated it.
    Generated {
        /// Which keeper says so.
        by: ManagedBy,
    },
    /// The target serves the kind in no version that we read, or not at all.
    NotServed {
        /// The kind.
        kind: &'static str,
        /// Its group.
        group: &'static str,
        /// What is served of it.
        served: Vec<String>,
    },
    /// It has no name, or no namespace where its kind needs one.
    Unnamed,
}

impl CannotTransfer {
    /// One word for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Owned { .. } => "owned",
            Self::Generated { .. } => "generated",
            Self::NotServed { .. } => "not-served",
            Self::Unnamed => "unreadable",
        }
    }
}

impl fmt::Display for CannotTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned { owners } => {
                write!(f, "{} owns it and makes it anew where it is itself: bring that along instead", owners.join(", "))
            }
            Self::Generated { by } => write!(f, "the policy {} generated it: bring that along instead", by.reference),
            Self::NotServed { kind, group, served } if served.is_empty() => {
                write!(f, "the target does not serve {kind} ({group}): its Kyverno is too old, or was installed without that CRD")
            }
            Self::NotServed { kind, group, served } => {
                write!(f, "the target serves {kind} ({group}) only as {}, which is not known here", served.join(", "))
            }
            Self::Unnamed => f.write_str("it has no name, or no namespace where its kind needs one"),
        }
    }
}

impl std::error::Error for CannotTransfer {}

/// `source` as it should be created in a cluster that serves `served` versions of its kind, or put in place of `existing` there.
///
/// Marks of the tools that keep the source stay behind; those of the target stay in place, and so do the target's labels and annotations
/// that the source does not speak of, unless they change what Kyverno does (their absence in the source is content, too). For an object
/// that returns to its own cluster, pass what it was as `existing` where nothing is left of it.
pub fn manifest_for(kind: &Kind, source: &Value, existing: Option<&Value>, served: &[&str]) -> Result<Transfer, CannotTransfer> {
    refuse_offspring(source)?;
    let name = json::text(source, &["metadata", "name"]).filter(|name| !name.is_empty());
    let namespace = json::text(source, &["metadata", "namespace"]).filter(|namespace| !namespace.is_empty());
    if name.is_none() || (kind.namespaced && namespace.is_none()) {
        return Err(CannotTransfer::Unnamed);
    }
    let version = kind.preferred(served).ok_or_else(|| CannotTransfer::NotServed {
        kind: kind.kind,
        group: kind.group,
        served: served.iter().map(|version| (*version).to_owned()).collect(),
    })?;
    let was = json::text(source, &["apiVersion"]).unwrap_or_default();
    let becomes = kind.api_version(version);
    let mut object = bare(source);
    let (mut left_behind, mut kept) = (Vec::new(), Vec::new());
    for part in ["labels", "annotations"] {
        let merged = merge(map(source, part), existing.and_then(|existing| map(existing, part)), &mut left_behind, &mut kept);
        set_map(&mut object, part, merged);
    }
    let version = (!was.is_empty() && was != becomes).then(|| (was.to_owned(), becomes.clone()));
    if let Some(members) = object.as_object_mut() {
        members.insert("apiVersion".to_owned(), Value::String(becomes));
        members.insert("kind".to_owned(), Value::from(kind.kind));
    }
    Ok(Transfer { object, left_behind, kept, version })
}

/// An object without what its server writes: no `status`, no identity, no owners, no memory of `kubectl apply`. What is left is what
/// somebody wrote, CRD defaults included.
pub fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    let Some(members) = bare.as_object_mut() else { return bare };
    members.remove("status");
    if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVERS.iter().chain(&["ownerReferences"]) {
            metadata.remove(*field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    bare
}

fn refuse_offspring(source: &Value) -> Result<(), CannotTransfer> {
    let owners = json::list(source, &["metadata", "ownerReferences"]);
    if !owners.is_empty() {
        let name = |owner: &Value| format!("{}/{}", json::text_or_empty(owner, &["kind"]), json::text_or_empty(owner, &["name"]));
        return Err(CannotTransfer::Owned { owners: owners.iter().map(name).collect() });
    }
    match managed_by::managed_by(source) {
        Some(by) if by.tool == "Kyverno" => Err(CannotTransfer::Generated { by }),
        _ => Ok(()),
    }
}

/// Labels or annotations of the result: the source's content, and of the target what is its own.
fn merge(
    source: Option<&Map<String, Value>>,
    existing: Option<&Map<String, Value>>,
    left_behind: &mut Vec<String>,
    kept: &mut Vec<String>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    for (key, value) in source.into_iter().flatten().filter(|(key, _)| *key != LAST_APPLIED) {
        if !stays(key) {
            merged.insert(key.clone(), value.clone());
        } else if existing.and_then(|existing| existing.get(key)) != Some(value) {
            left_behind.push(in_words(key));
        }
    }
    for (key, value) in existing.into_iter().flatten().filter(|(key, _)| *key != LAST_APPLIED) {
        let own = stays(key) || (source.is_none_or(|source| !source.contains_key(key)) && !is_content(key));
        if own {
            kept.push(in_words(key));
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

/// Whether a label or annotation speaks of one cluster only: of the tool that keeps the object there, or of what we did there.
fn stays(key: &str) -> bool {
    managed_by::is_mark(key) || key.starts_with(OURS)
}

/// Whether Kyverno goes by it (`super::revision` knows which in detail; all of its own names count here).
fn is_content(key: &str) -> bool {
    key.split('/').next().is_some_and(|domain| domain == "kyverno.io" || domain.ends_with(".kyverno.io"))
}

fn in_words(key: &str) -> String {
    match managed_by::tool_of_mark(key) {
        "" => key.to_owned(),
        tool => format!("{key} ({tool})"),
    }
}

fn map<'a>(object: &'a Value, part: &str) -> Option<&'a Map<String, Value>> {
    json::get(object, &["metadata", part])?.as_object()
}

fn set_map(object: &mut Value, part: &str, map: Map<String, Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if map.is_empty() {
        metadata.remove(part);
    } else {
        metadata.insert(part.to_owned(), Value::Object(map));
    }
}

#[cfg(test)]
mod tests;
