//! Undoing a commit: a new one that puts this policy's document back, and touches nothing else.

use super::search::{self, Found};
use super::{Input, as_new, change, committed, dressed, files, fingerprint};
use crate::domain::Mode;
use crate::domain::secret::address;
use crate::kinds::hold::read_hold;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::ops::diff::diff;
use crate::ops::draft::Draft;
use crate::ops::guard::may_write;
use crate::ops::plan::{CommitPlan, Direction, FileChange, Manner, Operation, Plan, Step, Undo, Verb};
use crate::ops::{Facts, Place, Refusal};
use serde_json::Value;

/// The plan that undoes what `done` committed in its one step. `direction` says whether more or less is refused once it is applied.
///
/// # Errors
/// The repository says something else by now, or what it said before, or its file cannot be changed.
pub fn revert(input: &Input<'_>, done: &Plan, direction: Direction, facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let [step] = done.steps.as_slice() else {
        return Err(Refusal::new("unreadable", "Only one policy at a time goes through git."));
    };
    let Verb::Commit { commit } = &step.verb else {
        return Err(Refusal::new("unreadable", format!("Plan {} did not go through git.", done.id)));
    };
    let found = search::find(input.tree, &input.git.path, input.kind, input.policy).map_err(|(word, text)| Refusal::new(word, text))?;
    let was = document(input, step, commit);
    match (&found, &was) {
        (None, None) => return Err(Refusal::undone_already(&done.id)),
        (Some(found), Some(was)) if says_the_same(input, &found.value, was) => return Err(Refusal::undone_already(&done.id)),
        (Some(found), _) if step.after.as_ref().is_some_and(|after| says_the_same(input, &found.value, after)) => {}
        _ => {
            let text = format!(
                "{} in {} was changed since plan {} was applied, and that would be lost. Roll back to what it is to be (`rollback {} -e {} --list`).",
                input.policy,
                address(&input.git.repo),
                done.id,
                step.object.name,
                step.environment
            );
            return Err(Refusal::new("changed", text));
        }
    }
    let mut plan = match (was, found) {
        (Some(was), Some(found)) => put_back(input, &found, was, step, facts)?,
        (None, Some(found)) => removed(input, &found, step, commit, facts)?,
        (_, None) => return Err(Refusal::undone_already(&done.id)),
    };
    plan.direction = direction;
    plan.undoes = Some(done.id.clone());
    Ok(plan)
}

/// What the repository said of the policy before the commit. Plans of earlier releases kept only what the cluster had.
fn document(input: &Input<'_>, step: &Step, commit: &CommitPlan) -> Option<Value> {
    let was_there = commit.files.first().is_some_and(|file| file.was.is_some());
    let from_cluster = || {
        let before = Step { after: step.before.clone(), ..step.clone() };
        as_new(input.kind, &before).ok().filter(|_| step.before.is_some())
    };
    commit.document.clone().or_else(|| was_there.then(from_cluster).flatten())
}

fn says_the_same(input: &Input<'_>, one: &Value, other: &Value) -> bool {
    let told = |object: &Value| {
        let mode = written_mode(input.kind, object, input.place.kyverno).unwrap_or(Mode::Unknown);
        (revision(input.kind, object), mode, read_hold(object).is_some())
    };
    told(one) == told(other)
}

/// The commit that puts the document back, word for word.
fn put_back(input: &Input<'_>, found: &Found<'_>, was: Value, step: &Step, facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let place = Place { through_git: true, ..input.place };
    may_write(&place)?;
    let draft = Draft::begin(Operation::Undo, &place, facts, step.object.clone(), input.live);
    let files = files(input, Some(found), &was).map_err(|(word, text)| Refusal::new(word, text))?;
    let id = draft.id(&was);
    let diff = diff(Some(&found.value), Some(&was));
    let written = Step { diff, ..draft.step(step.verb.clone(), input.live, Some(was)) };
    let plan = draft.finish(id, Vec::new(), Direction::Down, Undo::Plan(String::new()));
    committed(input, plan, written, files, Some(found.value.clone()))
}

/// The commit that removes the file which the first one added, and its line where it is listed.
fn removed(input: &Input<'_>, found: &Found<'_>, step: &Step, commit: &CommitPlan, facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let place = Place { through_git: true, ..input.place };
    may_write(&place)?;
    let draft = Draft::begin(Operation::Undo, &place, facts, step.object.clone(), input.live);
    let mut files: Vec<FileChange> = Vec::new();
    for file in &commit.files {
        let now = input.tree.text(&file.path);
        if now.map(fingerprint) != Some(fingerprint(&file.text)) {
            let text = format!("{} in {} was changed since: remove the policy's manifest by hand.", file.path, address(&input.git.repo));
            return Err(Refusal::new("changed", text));
        }
        files.push(match (&file.was, &file.before) {
            (None, _) => change(&file.path, now, String::new(), Manner::Removed),
            (Some(_), Some(before)) => change(&file.path, now, before.clone(), Manner::Edited),
            (Some(_), None) => {
                let text = format!("What {} said before is not in the plan: remove the policy's manifest by hand.", file.path);
                return Err(Refusal::new("unreadable", text));
            }
        });
    }
    let document = Some(found.value.clone());
    let id = draft.id(&Value::Null);
    let gone = Step { diff: diff(Some(&dressed(&found.value, input.live)), None), ..draft.step(step.verb.clone(), input.live, None) };
    let mut plan = draft.finish(id, Vec::new(), Direction::Down, Undo::Plan(String::new()));
    if input.live.is_some() {
        plan.warnings.push(format!(
            "{} goes from {} only if the tool that reads the repository prunes what is no longer in it.",
            step.object, step.environment
        ));
    }
    committed(input, plan, gone, files, document)
}
