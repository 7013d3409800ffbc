//! Archives: folders that hold objects as they were, readable without this program.
//!
//! What lives here: writing an archive so that an interrupted one never looks complete, and reading one with every hash checked. What does
//! not: which objects belong into it, applying them.
//!
//! ```text
//! 20261125T232649Z-production-k3v9/
//!   backup-policies.yaml    `kubectl replace -f` restores it
//!   managed-fields.json     who owned which field; an API server takes that in a write of its own
//!   manifest.json           what is in it, and SHA-256 of each file and object; written last
//! ```

mod manifest;
#[cfg(test)]
mod tests;

pub use manifest::{Archived, Manifest};

use super::FileError;
use super::atomic::{LARGEST_PLAN, close_folder, open_private, own_folder, read_regular};
use crate::domain::journal::Who;
use crate::domain::yaml;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The policies, as YAML documents.
pub const POLICIES: &str = "backup-policies.yaml";
/// Who owned which field.
pub const MANAGED_FIELDS: &str = "managed-fields.json";
/// The plan that was about to be carried out, as a plan's file: what undoes it is made from this.
pub const PLAN: &str = "plan.json";
/// What is in the archive.
pub const MANIFEST: &str = "manifest.json";

/// What an API server fills in, and refuses or ignores from others.
const FILLED_IN: [&str; 6] = ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "selfLink"];
const MANAGED: &str = "managedFields";

/// What is to be kept before an operation changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct UndoArchive {
    /// When.
    pub created_at: Timestamp,
    /// The environment's name.
    pub environment: String,
    /// The server's URL.
    pub server: String,
    /// The uid of the cluster's `kube-system`.
    pub cluster_uid: String,
    /// Kyverno's version, where it is known.
    pub kyverno: Option<String>,
    /// Who is about to change them.
    pub who: Who,
    /// Why.
    pub why: String,
    /// The plan's id.
    pub plan: String,
    /// The objects as the server gave them, in the order in which they are to be applied.
    pub objects: Vec<Value>,
}

/// An archive that was read and is as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// What is in it.
    pub manifest: Manifest,
    /// The objects, without what an API server fills in.
    pub objects: Vec<Value>,
    /// The text of the plan's file, where there is one.
    pub plan: Option<String>,
    /// SHA-256 of the manifest, which has the hashes of everything else; hex.
    pub digest: String,
}

/// An object as an archive keeps it: whole but for the metadata that an API server fills in, and its status.
pub fn archived(object: &Value) -> Value {
    let mut kept = object.clone();
    if let Some(object) = kept.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = kept.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in FILLED_IN.into_iter().chain([MANAGED]) {
            metadata.remove(field);
        }
    }
    kept
}

/// Writes an archive into `folder` and returns its path: a folder `<time>-<environment>-<plan>`. When this returns, it is on the disk.
///
/// It is written under a hidden name and renamed when it is whole. Fails where the disk is full or the folder cannot be written, and where an
/// object would not come back from the file as it is; nothing stays then.
///
/// `plan` is the text of the plan's file, to be kept in it.
pub fn write_undo(folder: &Path, undo: &UndoArchive, plan: Option<&str>) -> Result<PathBuf, FileError> {
    own_folder(folder)?;
    let files = files(folder, undo, plan)?;
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".policydeck-");
        let temporary = builder.tempdir_in(folder)?;
        close_folder(temporary.path())?;
        for (name, content) in &files {
            write_file(&temporary.path().join(name), content)?;
        }
        sync_folder(temporary.path())?;
        let path = settle(temporary.path(), folder, &name(undo))?;
        // It has another name now, so there is nothing left to take away.
        let _ = temporary.keep();
        sync_folder(folder)?;
        Ok(path)
    };
    write().map_err(|error| FileError::new("write an archive into", folder, &error))
}

/// SHA-256 of an archive's manifest, as [`Archive::digest`] has it; hex.
///
/// # Errors
/// It cannot be read.
pub fn digest(path: &Path) -> Result<String, FileError> {
    Ok(manifest::sha256(&read(&path.join(MANIFEST))?))
}

/// The archives in a folder, the newest first by their names, which begin with the time. Whether they are whole is found out by [`read_archive`].
pub fn newest_first(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new("read", folder, &error)),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.join(MANIFEST).is_file()).collect();
    paths.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    Ok(paths)
}

/// Reads an archive. Fails where it is not complete, or anything in it is not as it was written.
pub fn read_archive(path: &Path) -> Result<Archive, FileError> {
    let text = read(&path.join(MANIFEST))?;
    let digest = manifest::sha256(&text);
    let manifest = Manifest::parse(&text).map_err(|why| damaged(&path.join(MANIFEST), &why))?;
    let mut contents = BTreeMap::new();
    for (name, sha256) in &manifest.files {
        // A name that leads elsewhere was not written by us.
        let file = path.join(Path::new(name).file_name().unwrap_or_default());
        let content = read(&file)?;
        if manifest::sha256(&content) != *sha256 {
            return Err(damaged(&file, "it is not as it was written: its SHA-256 is another one"));
        }
        contents.insert(name.as_str(), content);
    }
    let file = path.join(POLICIES);
    let text = contents.get(POLICIES).ok_or_else(|| damaged(&path.join(MANIFEST), "it does not name the policies' file"))?;
    let text = std::str::from_utf8(text).map_err(|_| damaged(&file, "it is no text"))?;
    let objects = documents(text).map_err(|why| damaged(&file, &why))?;
    let hashes = objects.iter().map(manifest::sha256_of);
    if !hashes.eq(manifest.objects.iter().map(|object| object.sha256.clone())) {
        return Err(damaged(&file, "its objects are not those of the manifest"));
    }
    let plan = contents.get(PLAN).map(|plan| String::from_utf8(plan.clone()));
    let plan = plan.transpose().map_err(|_| damaged(&path.join(PLAN), "it is no text"))?;
    Ok(Archive { manifest, objects, plan, digest })
}

/// The files' names and contents, the manifest last.
fn files(folder: &Path, undo: &UndoArchive, plan: Option<&str>) -> Result<Vec<(&'static str, Vec<u8>)>, FileError> {
    let told = |why: &str| FileError {
        what: format!("cannot write an archive into {}: {why}", folder.display()),
        kind: io::ErrorKind::InvalidInput,
    };
    let objects: Vec<Value> = undo.objects.iter().map(archived).collect();
    let mut yaml = format!(
        "# Policies of {} as they were before a change. `kubectl replace -f {POLICIES}` restores them, `kubectl create -f {POLICIES}` those that were deleted.\n",
        one_line(&undo.environment)
    );
    for object in &objects {
        yaml.push_str("---\n");
        yaml.push_str(&yaml::write(object));
    }
    // An archive that does not give back what was put into it is none; better now than when it is needed.
    match documents(&yaml) {
        Ok(back) if back == objects => {}
        Ok(_) => return Err(told("an object would not come back from YAML as it is")),
        Err(why) => return Err(told(&why)),
    }
    let managed: Vec<Value> = undo.objects.iter().map(managed_fields).collect();
    let managed = pretty(&managed).map_err(|error| told(&error.to_string()))?;
    let mut files = vec![(POLICIES, yaml.into_bytes()), (MANAGED_FIELDS, managed)];
    files.extend(plan.map(|plan| (PLAN, plan.as_bytes().to_vec())));
    let manifest = Manifest::of(undo, &objects, &files);
    files.push((MANIFEST, pretty(&manifest).map_err(|error| told(&error.to_string()))?));
    Ok(files)
}

fn pretty<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string_pretty(value)?;
    Ok((crate::domain::escape_json(&text).into_owned() + "\n").into_bytes())
}

fn one_line(text: &str) -> String {
    crate::domain::clean(text).into_owned()
}

/// Who owned an object's fields, with what is needed to know the object again.
fn managed_fields(object: &Value) -> Value {
    let metadata = |field: &str| object.get("metadata").and_then(|metadata| metadata.get(field)).cloned().unwrap_or_default();
    let top = |field: &str| object.get(field).cloned().unwrap_or_default();
    json!({
        "apiVersion": top("apiVersion"),
        "kind": top("kind"),
        "namespace": metadata("namespace"),
        "name": metadata("name"),
        "uid": metadata("uid"),
        "resourceVersion": metadata("resourceVersion"),
        "managedFields": metadata(MANAGED),
    })
}

/// The objects of a file that we wrote: `---` stands at the beginning of a line nowhere but between them.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let (_, documents) = text.split_once("---\n").unwrap_or((text, ""));
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    // Each with the line break that was taken for a part of the separator: a block at the end needs it.
    let read =
        |(at, text): (usize, &str)| serde_saphyr::from_str(&format!("{text}\n")).map_err(|error| format!("object {}: {error}", at + 1));
    documents.split("\n---\n").enumerate().map(read).collect()
}

/// `<time>-<environment>-<plan>`, with nothing in it that means something to a file system.
fn name(undo: &UndoArchive) -> String {
    let safe = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).take(80).collect()
    };
    format!("{}-{}-{}", undo.created_at.strftime("%Y%m%dT%H%M%SZ"), safe(&undo.environment), safe(&undo.plan))
}

/// Gives a whole folder its name, or the next one that is free.
fn settle(temporary: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let mut path = folder.join(name);
    for count in 2..100 {
        // Renaming replaces an empty folder, and nothing else of that name. No archive is empty.
        match fs::rename(temporary, &path) {
            Err(_) if path.exists() => path = folder.join(format!("{name}-{count}")),
            result => return result.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = open_private(File::options().write(true).create_new(true), path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// New names in a folder are only safe from a power cut when the folder is on the disk, too. Windows cannot open folders, and need not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_regular(path, LARGEST_PLAN)
}

fn damaged(path: &Path, why: &str) -> FileError {
    FileError { what: format!("cannot trust {}: {why}", path.display()), kind: io::ErrorKind::InvalidData }
}
