//! Kustomize: which of its files may change a manifest after it was read, and listing a new file in one.
//!
//! Field names: kubernetes-sigs/kustomize `api/types/kustomization.go`.

use super::edit;
use super::search::{RepoFile, Tree, is_in};
use super::yaml;
use crate::ops::plan::Manner;
use serde_json::Value;

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields by which manifests become something else than what their files say, whatever they are.
const CHANGERS: [&str; 7] = ["namePrefix", "nameSuffix", "components", "transformers", "replacements", "vars", "configurations"];

/// Fields with patches, which change what they name.
const PATCHES: [&str; 3] = ["patches", "patchesStrategicMerge", "patchesJson6902"];

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn is_kustomization(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| NAMES.contains(&name))
}

/// The kustomization of a folder.
pub(super) fn listing<'a>(tree: &'a Tree, folder: &str) -> Option<&'a RepoFile> {
    tree.files.iter().find(|file| is_kustomization(&file.path) && folder_of(&file.path) == folder)
}

/// Why the file at `path` does not decide by itself what the policy says, as a sentence.
pub(super) fn in_the_way(tree: &Tree, folder: &str, path: &str, kind: &str, name: &str) -> Option<String> {
    tree.files.iter().filter(|file| is_kustomization(&file.path) && is_in(&file.path, folder)).find_map(|file| {
        let by_hand = |what: &str| {
            Some(format!("{} changes the policy by its `{what}` before the cluster sees it: commit the change by hand.", file.path))
        };
        let Some(value) = read_one(&file.text) else {
            return Some(format!("{} cannot be read, so nobody knows what it does to the policy: commit the manifest by hand.", file.path));
        };
        let own = folder_of(&file.path);
        let covers = own == folder_of(path) || is_in(path, own);
        let says = |field: &&&str| value.get(**field).is_some_and(|value| !is_empty(value));
        if let Some(field) = CHANGERS.iter().find(says).filter(|_| covers) {
            return by_hand(field);
        }
        let field = PATCHES.iter().filter(says).find(|field| {
            let patches = value.get(**field).unwrap_or(&Value::Null);
            let texts = texts(tree, own, patches);
            let is_file = paths(patches).into_iter().any(|listed| joined(own, listed) == path);
            is_file || texts.iter().any(|text| mentions(text, kind) || mentions(text, name))
        });
        field.and_then(|field| by_hand(field))
    })
}

/// Why a policy that has no manifest in the folder is not only what its cluster shows, as a sentence: a patch names it.
pub(super) fn patches(tree: &Tree, folder: &str, name: &str) -> Option<String> {
    let kustomizations = tree.files.iter().filter(|file| is_kustomization(&file.path) && is_in(&file.path, folder));
    kustomizations.filter(|file| file.text.contains("patches")).find_map(|file| {
        let value = read_one(&file.text)?;
        let named = |field: &&&str| {
            let of_field = value.get(**field).map(|patches| texts(tree, folder_of(&file.path), patches));
            of_field.iter().flatten().any(|text| mentions(text, name))
        };
        let field = PATCHES.iter().find(named)?;
        Some(format!("{} changes the policy by its `{field}`, and its manifest is elsewhere: commit the change by hand.", file.path))
    })
}

/// What patches say: in place, and in the files that they name.
fn texts(tree: &Tree, own: &str, patches: &Value) -> Vec<String> {
    let files = paths(patches).into_iter().filter_map(|listed| tree.text(&joined(own, listed)).map(str::to_owned));
    std::iter::once(patches.to_string()).chain(files).collect()
}

/// The kustomization with one more file among its resources. The error says why not.
pub(super) fn listed(text: &str, name: &str) -> Result<(String, Manner), String> {
    let mut value = read_one(text).ok_or_else(|| "it is not one YAML document".to_owned())?;
    let members = value.as_object_mut().ok_or_else(|| "it holds no fields".to_owned())?;
    let resources = members.entry("resources").or_insert_with(|| Value::Array(Vec::new()));
    if resources.is_null() {
        *resources = Value::Array(Vec::new());
    }
    let resources = resources.as_array_mut().ok_or_else(|| "its `resources` are no list".to_owned())?;
    if !resources.iter().any(|listed| listed.as_str() == Some(name)) {
        resources.push(Value::from(name));
    }
    edit::edited(text, 0, &value)
}

/// What a kustomization says besides listing these files among its resources; `None` where it cannot be read.
pub(super) fn without_listed(text: &str, names: &[String]) -> Option<Value> {
    let mut value = read_one(text)?;
    let members = value.as_object_mut()?;
    match members.get_mut("resources") {
        Some(Value::Array(resources)) => {
            resources.retain(|listed| !listed.as_str().is_some_and(|listed| names.iter().any(|name| name == listed)));
        }
        Some(Value::Null) | None => {}
        Some(_) => return None,
    }
    if members.get("resources").is_some_and(is_empty) {
        members.remove("resources");
    }
    Some(value)
}

/// Whether a text has a word in it that is not a part of a longer one.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

fn read_one(text: &str) -> Option<Value> {
    let mut documents = yaml::read(text).ok()?;
    (documents.len() == 1).then(|| documents.remove(0).value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The files that patches name: elements that are texts, and `path` of those that are not.
fn paths(patches: &Value) -> Vec<&str> {
    let elements = patches.as_array().into_iter().flatten();
    elements.filter_map(|element| element.as_str().or_else(|| element.get("path").and_then(Value::as_str))).collect()
}

/// A path as a file in `folder` writes it.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
