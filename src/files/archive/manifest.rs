//! What an archive says about itself.

use super::UndoArchive;
use crate::domain::journal::Who;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const API_VERSION: &str = "policydeck.dev/v1";
const KIND: &str = "Archive";
/// The newest form of archives that is understood.
const FORMAT: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: String,
    kind: String,
    /// The form of the archive: readers refuse a newer one.
    pub format_version: u32,
    /// The environment's name.
    pub environment: String,
    /// The server's URL.
    pub server: String,
    /// The uid of the cluster's `kube-system`.
    pub cluster_uid: String,
    /// Kyverno's version, where it was known.
    pub kyverno: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// Who.
    pub who: Who,
    /// Why.
    pub why: String,
    /// The plan's id.
    pub plan: Option<String>,
    /// Objects by kind.
    pub counts: BTreeMap<String, u64>,
    /// Files by name with their SHA-256, hex.
    pub files: BTreeMap<String, String>,
    /// The objects in the order of the file.
    pub objects: Vec<Archived>,
    /// Whether everything is in it that was to be.
    pub complete: bool,
}

/// An object of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archived {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace of a namespaced object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// SHA-256 of the object as compact JSON with sorted keys, hex.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of objects that are in `files`.
    pub(super) fn of(undo: &UndoArchive, objects: &[Value], files: &[(&str, Vec<u8>)]) -> Self {
        let objects: Vec<Archived> = objects.iter().map(one).collect();
        let mut counts = BTreeMap::new();
        for object in &objects {
            *counts.entry(object.kind.clone()).or_default() += 1;
        }
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            format_version: FORMAT,
            environment: undo.environment.clone(),
            server: undo.server.clone(),
            cluster_uid: undo.cluster_uid.clone(),
            kyverno: undo.kyverno.clone(),
            created_at: undo.created_at,
            who: undo.who.clone(),
            why: undo.why.clone(),
            plan: Some(undo.plan.clone()),
            counts,
            files: files.iter().map(|(name, content)| ((*name).to_owned(), sha256(content))).collect(),
            objects,
            complete: true,
        }
    }

    /// Reads a manifest of an archive that can be used. The error is a sentence.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(text).map_err(|error| format!("it is no manifest of an archive: {error}"))?;
        if manifest.kind != KIND || manifest.api_version != API_VERSION {
            return Err(format!("it is a {} of {}, not an archive", manifest.kind, manifest.api_version));
        }
        if manifest.format_version > FORMAT {
            return Err(format!("it has the form {}, and this release understands {FORMAT} and older", manifest.format_version));
        }
        if !manifest.complete {
            return Err("the archive is not complete".to_owned());
        }
        Ok(manifest)
    }
}

fn one(object: &Value) -> Archived {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let metadata = |field: &str| text(object.get("metadata").and_then(|metadata| metadata.get(field)));
    Archived {
        api_version: text(object.get("apiVersion")).unwrap_or_default(),
        kind: text(object.get("kind")).unwrap_or_default(),
        namespace: metadata("namespace"),
        name: metadata("name").unwrap_or_default(),
        sha256: sha256_of(object),
    }
}

/// SHA-256 of a value's JSON, the keys of which are sorted; hex.
pub(super) fn sha256_of(value: &Value) -> String {
    sha256(value.to_string().as_bytes())
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in ring::digest::digest(&ring::digest::SHA256, bytes).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
