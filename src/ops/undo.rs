//! Undo: the plan that takes back another one, made from what is there now.

use super::diff::diff;
use super::draft::Draft;
use super::guard;
use super::place::{Facts, Place};
use super::plan::{Operation, Plan, Step, Undo, Verb};
use super::refusal::Refusal;
use crate::kinds::transfer::{LAST_APPLIED, bare};
use serde_json::Value;

/// The plan that puts everything back as it was before `done`: `now` holds the objects as they are, in the order of its steps.
///
/// Undoing what made a policy refuse less makes it refuse more, and is gated as a promotion is ([`Plan::direction`]). The undo of an undo leads
/// to what the first plan led to.
pub fn undo(done: &Plan, places: &[Place<'_>], now: &[Option<&Value>], facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let mut plan: Option<Plan> = None;
    for (step, live) in done.steps.iter().zip(now).rev() {
        let Some(place) = places.iter().find(|place| place.settings.name == step.environment) else {
            return Err(Refusal::new("absent", format!("The environment {} of that plan is not configured any more.", step.environment)));
        };
        guard::may_write(place)?;
        let part = one(done, step, place, *live, facts)?;
        plan = match (plan, part) {
            (whole, None) => whole,
            (None, part) => part,
            (Some(mut whole), Some(part)) => {
                whole.steps.extend(part.steps);
                whole.basis.extend(part.basis);
                whole.warnings.extend(part.warnings);
                whole.id = crate::kinds::revision::digest(&Value::from(vec![whole.id, part.id]));
                Some(whole)
            }
        };
    }
    plan.ok_or_else(|| Refusal::undone_already(&done.id))
}

/// The way back of one step; `None` where everything is as it was.
fn one(done: &Plan, step: &Step, place: &Place<'_>, live: Option<&Value>, facts: &Facts<'_>) -> Result<Option<Plan>, Refusal> {
    let was = step.before.as_ref().map(bare);
    if diff(live, was.as_ref()).is_empty() && live.is_some() == was.is_some() {
        return Ok(None);
    }
    let mut draft = Draft::begin(Operation::Undo, place, facts, step.object.clone(), live);
    let what = draft.what();
    if !diff(step.after.as_ref(), live).is_empty() {
        draft
            .warnings
            .push(format!("{what} was changed after that plan, or its server filled in defaults: the diff shows what else goes back."));
    }
    if let Verb::Commit { commit } = &step.verb {
        let text = format!(
            "Plan {} went through git, and {} is not written through {} ({}) any more: revert its commit there.",
            done.id, step.environment, commit.repo, commit.to
        );
        return Err(Refusal::new("gitops", text));
    }
    if let Some(was) = &was {
        guard::ask_keeper_giving_back(place, &what, live, was, &mut draft.warnings)?;
    }
    let manifest = step.before.as_ref().map(with_memory);
    let verb = match (manifest.clone(), live) {
        (Some(manifest), None) => Verb::Create { manifest },
        (Some(manifest), Some(_)) => Verb::Replace { manifest, expect: draft.expect()? },
        (None, _) => Verb::Delete { expect: draft.expect()? },
    };
    let id = draft.id(was.as_ref().unwrap_or(&Value::Null));
    let undo = Undo::Plan(format!("do again what plan {} did", done.id));
    let mut back = draft.step(verb, live, manifest);
    back.gives_back.clone_from(&step.managers);
    let mut plan = draft.finish(id, vec![back], done.direction.reversed(), undo);
    plan.undoes = Some(done.id.clone());
    Ok(Some(plan))
}

/// The object as it was, with what `kubectl apply` remembered of it: without that, the owner's next apply would leave in place what it had removed.
fn with_memory(before: &Value) -> Value {
    let mut object = bare(before);
    let memory = before.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(LAST_APPLIED)).cloned();
    if let (Some(memory), Some(metadata)) = (memory, object.get_mut("metadata").and_then(Value::as_object_mut)) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), memory);
        }
    }
    object
}
