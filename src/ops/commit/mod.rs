//! Through git: a plan whose write is a commit to the repository that a GitOps tool reads, not one to the cluster.
//!
//! What lives here: finding the policy's manifest in the repository, changing as little of it as possible, the commit's message, and what stands in
//! the way. What does not: reading repositories, committing and pushing (`files::git`, `engine::operations`).
//!
//! # How
//! The same `plan()` that would write to the cluster is asked twice: for the object in the cluster, which tells what is to be true there in the end, and
//! for the manifest in the repository, which tells what has to be written. Where the repository has none, the first answer is the manifest of a new file.
//!
//! A policy may only go up from what the cluster shows: where the repository is ahead of it, nobody has watched what it says yet.

mod bounds;
mod edit;
mod kustomize;
mod message;
mod revert;
mod search;
mod veil;
mod yaml;

pub use bounds::beyond;
pub use revert::revert;
pub use search::{RepoFile, Tree};

use super::Place;
use super::diff::{diff, shown, yaml as to_yaml};
use super::draft::without_managers;
use super::plan::{Basis, CommitPlan, Direction, FileChange, Manner, Plan, Step, Undo, Verb};
use super::refusal::{Commit, Refusal};
use crate::domain::secret::address;
use crate::domain::{Mode, PolicyId, clean_lines};
use crate::kinds::hold::read_hold;
use crate::kinds::managed_by::{is_mark, managed_by};
use crate::kinds::revision::{full_digest, revision, without_defaults};
use crate::kinds::secret::Veil;
use crate::kinds::set_mode::written_mode;
use crate::kinds::transfer::{STAMPS, bare};
use crate::kinds::{Kind, KindId, read_policy};
use crate::settings::{Git, Push};
use search::Found;
use serde_json::{Map, Value, json};
use similar::TextDiff;
use std::collections::BTreeSet;

/// Lines around a change, as `diff -u` has them.
const AROUND: usize = 3;

/// What a commit is planned from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy's kind.
    pub kind: &'static Kind,
    /// The policy.
    pub policy: &'a PolicyId,
    /// The environment that the repository feeds.
    pub place: Place<'a>,
    /// The repository's place in the configuration.
    pub git: &'a Git,
    /// What is in it.
    pub tree: &'a Tree,
    /// The policy in the cluster, if it is there.
    pub live: Option<&'a Value>,
}

/// The plan that `make` makes of an object in a place, as a commit.
pub fn plan(input: &Input<'_>, make: impl Fn(Place<'_>, Option<&Value>) -> Result<Plan, Refusal>) -> Result<Plan, Refusal> {
    let place = Place { through_git: true, ..input.place };
    let direct = match make(place, input.live) {
        Err(refusal) if refusal.needs_nothing() => ahead(input, &make)?.ok_or(refusal)?,
        other => other?,
    };
    let [step] = direct.steps.as_slice() else {
        return Err(Refusal::new("unreadable", "Only one policy at a time goes through git."));
    };
    let by_hand = |word: &'static str, text: String| refuse(input, step, word, &text);
    let found = search::find(input.tree, &input.git.path, input.kind, input.policy).map_err(|(word, text)| by_hand(word, text))?;
    let (after, before, notes, mut warnings) = match &found {
        None => {
            if let Some(keeper) = input.live.and_then(managed_by) {
                return Err(by_hand("not-in-repository", not_there(input, step, &keeper.tool)));
            }
            (as_new(input.kind, step)?, None, direct.notes.clone(), Vec::new())
        }
        Some(found) => changed(input, &direct, step, found, &make).map_err(|refusal| with_manifest(input, step, refusal))?,
    };
    let files = files(input, found.as_ref(), &after).map_err(|(word, text)| by_hand(word, text))?;
    if found.is_none() && input.live.is_some() {
        warnings.push(format!("{} is not in the repository so far: the tool that reads it will keep it from then on.", step.object));
    }
    if direct.direction == Direction::Down && input.git.push == Push::Proposal {
        warnings.push("A proposal stops nothing before it is merged and applied. What cannot wait needs `push = \"branch\"`, or `gitops = \"warn\"`, which writes to the cluster.".to_owned());
    }
    let mut plan = direct.clone();
    plan.notes = notes;
    plan.notes.extend(files.iter().filter(|file| file.manner == Manner::Rewritten).map(|file| {
        format!("{} could not be changed line by line: the policy's document is written anew, without its comments", file.path)
    }));
    plan.warnings.extend(warnings);
    let shown_diff = diff(before.as_ref(), Some(&after));
    let written = Step { diff: shown_diff, after: Some(after), ..step.clone() };
    committed(input, plan, written, files, before)
}

/// The plan whose one write is a commit of these files.
///
/// # Errors
/// The files change more than the policy.
fn committed(input: &Input<'_>, mut plan: Plan, step: Step, files: Vec<FileChange>, document: Option<Value>) -> Result<Plan, Refusal> {
    plan.undo = Undo::Plan(format!("a new commit in {} puts this policy's document back", address(&input.git.repo)));
    let to = match input.git.push {
        Push::Branch => input.git.branch.clone(),
        Push::Proposal => format!("policydeck/{}", plan.id),
    };
    let commit = CommitPlan {
        repo: address(&input.git.repo),
        branch: input.git.branch.clone(),
        to,
        base: input.tree.head.clone(),
        message: message::message(&plan, &step, &input.place),
        files,
        document,
    };
    if let Some(why) = beyond(&commit, input.tree, &input.git.path, input.kind, input.policy) {
        return Err(Refusal::new("forged", why));
    }
    let verb = Verb::Commit { commit: Box::new(commit) };
    plan.steps = vec![Step { verb, managers: Vec::new(), gives_back: Vec::new(), ..step }];
    Ok(plan)
}

/// The plan against what is pushed and not applied yet, where the cluster itself needs nothing. It stops what would come.
fn ahead(input: &Input<'_>, make: impl Fn(Place<'_>, Option<&Value>) -> Result<Plan, Refusal>) -> Result<Option<Plan>, Refusal> {
    let Ok(Some(found)) = search::find(input.tree, &input.git.path, input.kind, input.policy) else { return Ok(None) };
    if pending(input, &found.value).is_none() {
        return Ok(None);
    }
    let place = Place { through_git: true, ..input.place };
    let mut plan = match make(place, Some(&dressed(&found.value, input.live))) {
        Err(refusal) if refusal.needs_nothing() => return Ok(None),
        other => other?,
    };
    if plan.direction == Direction::Up {
        return Ok(None);
    }
    // What is compared before it is applied, and archived, is the object in the cluster.
    for basis in plan.basis.iter_mut().filter(|basis| basis.environment == place.settings.name) {
        *basis = Basis::of(&input.place, basis.object.clone(), input.live);
    }
    for step in &mut plan.steps {
        step.before = input.live.map(without_managers);
    }
    Ok(Some(plan))
}

/// Why a commit no longer fits the repository as it is now, as a sentence; `None` while it does.
///
/// A branch that moved on is no reason, as long as the files say what they said and the policy has not appeared elsewhere.
pub fn moved(commit: &CommitPlan, tree: &Tree, folder: &str, kind: &'static Kind, policy: &PolicyId) -> Option<String> {
    let again = |what: String| Some(format!("{what} since this plan was made. Make it again."));
    for file in &commit.files {
        if !search::is_in(&file.path, folder) {
            return again(format!("the repository's folder became `{folder}`, where {} is not,", file.path));
        }
        match (&file.was, tree.text(&file.path)) {
            (None, None) if !tree.has(&file.path) => {}
            (None, _) => return again(format!("{} was added to the repository", file.path)),
            (Some(was), Some(now)) if *was == fingerprint(now) => {}
            (Some(_), Some(_)) => return again(format!("{} was changed in the repository", file.path)),
            (Some(_), None) => return again(format!("{} was removed from the repository", file.path)),
        }
    }
    let first = commit.files.first()?;
    match search::find(tree, folder, kind, policy) {
        Ok(found) if found.as_ref().map(|found| found.path) == first.was.as_ref().map(|_| first.path.as_str()) => None,
        Ok(_) => again(format!("{policy} was moved in the repository")),
        Err((_, why)) => again(why.trim_end_matches('.').to_owned()),
    }
}

/// Where a policy's manifest is, and what it says; `None` where there is none.
///
/// # Errors
/// Which one counts cannot be told, in words.
pub fn manifest(tree: &Tree, folder: &str, kind: &Kind, policy: &PolicyId) -> Result<Option<(String, Value)>, String> {
    let found = search::find(tree, folder, kind, policy).map_err(|(_, why)| why)?;
    let changed = match &found {
        Some(found) => kustomize::in_the_way(tree, folder, found.path, kind.kind, &policy.name),
        None => kustomize::patches(tree, folder, &policy.name),
    };
    if let Some(why) = changed {
        return Err(why);
    }
    Ok(found.map(|found| (found.path.to_owned(), found.value)))
}

/// The policies that a folder of a repository has manifests of.
pub fn policies(tree: &Tree, folder: &str) -> BTreeSet<PolicyId> {
    let files = tree.files.iter().filter(|file| search::is_in(&file.path, folder) && search::is_yaml(&file.path));
    let documents = files.filter_map(|file| yaml::read(&file.text).ok()).flatten();
    documents
        .filter_map(|document| read_policy(KindId::of_object(&document.value)?.kind(), &document.value).ok())
        .map(|policy| policy.id)
        .collect()
}

/// What a file's text is recognised by.
fn fingerprint(text: &str) -> String {
    full_digest(&Value::from(text))
}

type Written = (Value, Option<Value>, Vec<String>, Vec<String>);

/// What the manifest has to say, what it says, and what to say of that.
fn changed(
    input: &Input<'_>,
    direct: &Plan,
    step: &Step,
    found: &Found<'_>,
    make: impl Fn(Place<'_>, Option<&Value>) -> Result<Plan, Refusal>,
) -> Result<Written, Refusal> {
    let place = Place { through_git: true, ..input.place };
    let mut warnings = Vec::new();
    if let Some(how) = pending(input, &found.value) {
        let text = format!("{} in {} is not what {} shows: {how}.", found.path, address(&input.git.repo), step.environment);
        match direct.direction {
            Direction::Up => {
                return Err(Refusal::new(
                    "not-applied",
                    format!("{text} What nobody has watched yet is not promoted: wait until it is applied, or mend it."),
                ));
            }
            Direction::Down => warnings.push(text),
            Direction::Level => {}
        }
    }
    let dressed = dressed(&found.value, input.live);
    let manifest = make(place, Some(&dressed)).map_err(|refusal| match refusal.word {
        "unchanged" => Refusal::new(
            "not-applied",
            format!(
                "{} in {} says so already, but {} does not show it yet: the tool that reads it has not applied it.",
                found.path,
                address(&input.git.repo),
                step.environment
            ),
        ),
        _ => refusal,
    })?;
    let after = manifest.steps.first().and_then(|step| step.after.clone());
    let Some(after) = after else { return Err(Refusal::new("unreadable", "A deletion does not go through git.")) };
    let after = as_file(&after);
    let after = if revision(input.kind, &after) == revision(input.kind, &found.value) {
        after
    } else {
        // What came from another cluster has that cluster's defaults in it. Those that stand in the file already stay.
        kept_defaults(&without_defaults(input.kind, &after), &after, &found.value)
    };
    let mode = |object: &Value| written_mode(input.kind, object, input.place.kyverno).unwrap_or(Mode::Unknown);
    let meant = step.after.as_ref().map(mode);
    if direct.direction != Direction::Level && meant != Some(mode(&after)) {
        return Err(Refusal::new(
            "mode-differs",
            format!(
                "{} would be {} and not {}: it says something else than the cluster now.",
                found.path,
                mode(&after),
                meant.unwrap_or(Mode::Unknown)
            ),
        ));
    }
    Ok((after, Some(found.value.clone()), manifest.notes, warnings))
}

/// In what the manifest differs from the object in the cluster, in words; `None` where both say and do the same.
fn pending(input: &Input<'_>, manifest: &Value) -> Option<String> {
    let Some(live) = input.live else { return Some("it is not there at all".to_owned()) };
    let mode = |object: &Value| written_mode(input.kind, object, input.place.kyverno).unwrap_or(Mode::Unknown);
    let (file, cluster) = (revision(input.kind, manifest), revision(input.kind, live));
    if file != cluster {
        return Some(format!("revision {file} here, {cluster} there"));
    }
    let (file, cluster) = (mode(manifest), mode(live));
    if file != cluster {
        return Some(format!("{file} here, {cluster} there"));
    }
    match (read_hold(manifest), read_hold(live)) {
        (Some(_), None) => Some("held here, not there".to_owned()),
        (None, Some(_)) => Some("held there, not here".to_owned()),
        _ => None,
    }
}

/// The manifest as if it had been read from the cluster: plans ask for an identity.
fn dressed(manifest: &Value, live: Option<&Value>) -> Value {
    let mut object = manifest.clone();
    let text = |path: &str| live.and_then(|live| live.pointer(path)).and_then(Value::as_str).unwrap_or("in-git").to_owned();
    let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(uid));
        metadata.insert("resourceVersion".to_owned(), Value::from(version));
    }
    object
}

/// An object as a file has it: nothing that a server writes, and no stamp. A stamp would tell when it was committed, and soaking begins when it is
/// applied; the commit says the rest.
fn as_file(object: &Value) -> Value {
    let mut object = bare(object);
    without_keys(&mut object, |key| STAMPS.contains(&key));
    object
}

/// The manifest of a new file.
fn as_new(kind: &Kind, step: &Step) -> Result<Value, Refusal> {
    let Some(after) = &step.after else { return Err(Refusal::new("unreadable", "A deletion does not go through git.")) };
    let mut object = without_defaults(kind, &as_file(after));
    without_keys(&mut object, is_mark);
    Ok(object)
}

fn without_keys(object: &mut Value, goes: impl Fn(&str) -> bool) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for part in ["labels", "annotations"] {
        let Some(members) = metadata.get_mut(part).and_then(Value::as_object_mut) else { continue };
        let before = members.len();
        members.retain(|key, _| !goes(key));
        if members.is_empty() && before > 0 {
            metadata.remove(part);
        }
    }
}

/// `lean` with what `full` has besides where the file says the same.
fn kept_defaults(lean: &Value, full: &Value, file: &Value) -> Value {
    match (lean, full, file) {
        (Value::Object(lean), Value::Object(full), Value::Object(file)) => {
            let mut kept = Map::new();
            for (key, value) in full {
                match (lean.get(key), file.get(key)) {
                    (Some(one), Some(other)) => drop(kept.insert(key.clone(), kept_defaults(one, value, other))),
                    (Some(one), None) => drop(kept.insert(key.clone(), one.clone())),
                    (None, Some(other)) if other == value => drop(kept.insert(key.clone(), value.clone())),
                    (None, _) => {}
                }
            }
            Value::Object(kept)
        }
        (Value::Array(lean), Value::Array(full), Value::Array(file)) => {
            let part = |(at, one): (usize, &Value)| match (full.get(at), file.get(at)) {
                (Some(value), Some(other)) => kept_defaults(one, value, other),
                _ => one.clone(),
            };
            Value::Array(lean.iter().enumerate().map(part).collect())
        }
        _ => lean.clone(),
    }
}

/// The files that change so that the repository says `after`.
fn files(input: &Input<'_>, found: Option<&Found<'_>>, after: &Value) -> Result<Vec<FileChange>, (&'static str, String)> {
    if let Some(found) = found {
        if let Some(why) = kustomize::in_the_way(input.tree, &input.git.path, found.path, input.kind.kind, &input.policy.name) {
            return Err(("kustomize", why));
        }
        let (text, manner) = edit::edited(found.text, found.document, after)
            .map_err(|why| ("unreadable", format!("{} cannot be changed: {why}. Commit the manifest by hand.", found.path)))?;
        return Ok(vec![change(found.path, Some(found.text), text, manner)]);
    }
    let path = new_path(&input.git.path, input.policy);
    if input.tree.has(&path) {
        return Err(("in-the-way", format!("{path} is in the repository already, but holds something else: commit the manifest by hand.")));
    }
    if let Some(chart) = input.tree.chart_of(&path) {
        return Err(("template", format!("{path} would lie among the templates of the chart {chart}: commit the manifest by hand.")));
    }
    if let Some(why) = kustomize::in_the_way(input.tree, &input.git.path, &path, input.kind.kind, &input.policy.name) {
        return Err(("kustomize", why));
    }
    let mut files = vec![change(&path, None, crate::domain::yaml::write(after), Manner::New)];
    if let Some(list) = kustomize::listing(input.tree, &input.git.path) {
        let name = path.rsplit('/').next().unwrap_or(&path);
        let (text, manner) = kustomize::listed(&list.text, name)
            .map_err(|why| ("kustomize", format!("{} cannot be changed to list {name}: {why}. Commit the manifest by hand.", list.path)))?;
        files.push(FileChange { before: Some(list.text.clone()), ..change(&list.path, Some(&list.text), text, manner) });
    }
    Ok(files)
}

/// `<folder>/<kind>-[<namespace>-]<name>.yaml`, in small letters.
fn new_path(folder: &str, policy: &PolicyId) -> String {
    let namespace = policy.namespace.as_ref().map(|namespace| format!("{namespace}-")).unwrap_or_default();
    let name = format!("{}-{namespace}{}.yaml", policy.kind, policy.name).to_lowercase();
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

fn change(path: &str, was: Option<&str>, text: String, manner: Manner) -> FileChange {
    let from = was.map_or_else(|| "/dev/null".to_owned(), |_| format!("a/{path}"));
    let mut veil = Veil::default();
    let (old, new) = (veil::over(&mut veil, was.unwrap_or_default()), veil::over(&mut veil, &text));
    let diff = TextDiff::from_lines(&old, &new).unified_diff().context_radius(AROUND).header(&from, &format!("b/{path}")).to_string();
    let mut safe = clean_lines(&diff).join("\n");
    safe.push('\n');
    FileChange { path: path.to_owned(), was: was.map(fingerprint), text, manner, diff: safe, before: None }
}

fn not_there(input: &Input<'_>, step: &Step, tool: &str) -> String {
    let folder = if input.git.path.is_empty() { "the repository".to_owned() } else { format!("`{}`", input.git.path) };
    format!(
        "{tool} keeps {} in {}, but no manifest of it is in {folder} of {} ({}): a chart, an overlay or another folder makes it. Change it there, or commit the manifest by hand.",
        step.object,
        step.environment,
        address(&input.git.repo),
        input.git.branch
    )
}

/// A refusal with the manifest to commit by hand.
fn refuse(input: &Input<'_>, step: &Step, word: &'static str, text: &str) -> Refusal {
    with_manifest(input, step, Refusal { word, text: text.to_owned(), commit: None })
}

fn with_manifest(input: &Input<'_>, step: &Step, mut refusal: Refusal) -> Refusal {
    if matches!(refusal.word, "not-applied" | "read-only") {
        return refusal;
    }
    let object = as_new(input.kind, step).unwrap_or_else(|_| json!({}));
    refusal.commit = Some(Box::new(Commit {
        repo: Some(address(&input.git.repo)),
        branch: Some(input.git.branch.clone()),
        folder: Some(input.git.path.clone()).filter(|path| !path.is_empty()),
        manifest: to_yaml(&object),
        shown: shown(&object),
    }));
    refusal
}

#[cfg(test)]
mod tests;
