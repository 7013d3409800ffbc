//! What a commit changes, compared with the tree it is made on: this policy's document, and the line that lists its file. Anything else is rejected.
//!
//! Plans compute their files themselves, but a part of what an undo writes comes from an archive, which may have been changed.

use super::search::{Tree, is_policy};
use super::{kustomize, search, yaml};
use crate::domain::PolicyId;
use crate::kinds::Kind;
use crate::ops::plan::{CommitPlan, FileChange};
use serde_json::Value;

/// What a commit changes besides the policy's document, as a sentence; `None` where it changes nothing else.
pub fn beyond(commit: &CommitPlan, tree: &Tree, folder: &str, kind: &Kind, policy: &PolicyId) -> Option<String> {
    let name = |file: &FileChange| file.path.rsplit('/').next().unwrap_or_default().to_owned();
    let (lists, manifests): (Vec<&FileChange>, Vec<&FileChange>) =
        commit.files.iter().partition(|file| kustomize::is_kustomization(&file.path));
    let listed: Vec<String> = manifests.iter().map(|file| name(file)).collect();
    if manifests.len() != 1 {
        return Some(format!("This commit changes {} manifests, but a policy has one.", manifests.len()));
    }
    let why = commit.files.iter().find_map(|file| {
        let before = tree.text(&file.path);
        let why = if !search::is_in(&file.path, folder) {
            Some(format!("it is not in the folder `{folder}`"))
        } else if lists.iter().any(|list| list.path == file.path) {
            beyond_the_list(before, file, &listed)
        } else {
            beyond_the_document(before, file, kind, policy)
        };
        why.map(|why| (file, why))
    });
    why.map(|(file, why)| format!("{} would change more than {policy}: {why}. Make the plan again.", file.path))
}

fn beyond_the_list(before: Option<&str>, file: &FileChange, listed: &[String]) -> Option<String> {
    let (Some(before), Some(after)) = (before, file.content()) else {
        return Some("a kustomization is neither added nor removed".to_owned());
    };
    match (kustomize::without_listed(before, listed), kustomize::without_listed(after, listed)) {
        (Some(before), Some(after)) if before == after => None,
        (Some(_), Some(_)) => Some(format!("only its line `{}` may change", listed.join(", "))),
        _ => Some("it cannot be read".to_owned()),
    }
}

fn beyond_the_document(before: Option<&str>, file: &FileChange, kind: &Kind, policy: &PolicyId) -> Option<String> {
    let read = |text: Option<&str>| yaml::read(text.unwrap_or_default());
    let (Ok(before), Ok(after)) = (read(before), read(file.content())) else { return Some("it cannot be read".to_owned()) };
    let apart = |documents: Vec<yaml::Document>| -> (Vec<Value>, Vec<Value>) {
        documents.into_iter().map(|document| document.value).partition(|value| is_policy(value, kind, policy))
    };
    let ((_, before), (own, after)) = (apart(before), apart(after));
    if before != after {
        let new = after.iter().find(|value| !before.contains(value)).or_else(|| before.iter().find(|value| !after.contains(value)));
        let text = |path: &str| new.and_then(|value| value.pointer(path)).and_then(Value::as_str).unwrap_or("?");
        return Some(format!("it has a change of {}/{}", text("/kind"), text("/metadata/name")));
    }
    let expected = usize::from(file.content().is_some());
    (own.len() != expected).then(|| format!("it would hold the policy {} times", own.len()))
}
