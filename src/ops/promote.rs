//! Promote: to the next step of the road. In place the mode changes; otherwise the policy comes from the environment before.

use super::diff::diff;
use super::draft::{Draft, address, stamped_patch};
use super::place::{Facts, Place};
use super::plan::{Basis, Direction, Operation, Plan, Step, Undo, Verb};
use super::refusal::Refusal;
use super::{guard, warnings};
use crate::domain::{Action, RolledBack};
use crate::kinds::Kind;
use crate::kinds::edit::{Edit, Misshapen};
use crate::kinds::revision::revision;
use crate::kinds::rolled_back::{read_rolled_back, remember};
use crate::kinds::set_mode::{CannotSet, ModeChange, set_mode};
use crate::kinds::transfer::{manifest_for, stamp};
use crate::settings::StepMode;
use json_patch::Patch;
use serde_json::Value;

/// Where the policy comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The environment.
    pub place: Place<'a>,
    /// The policy there.
    pub object: &'a Value,
}

/// What a promotion is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy's kind.
    pub kind: &'static Kind,
    /// Where it comes from; `None` where its mode changes in place.
    pub source: Option<Source<'a>>,
    /// Where it goes to.
    pub target: Place<'a>,
    /// The policy there, if there is one.
    pub existing: Option<&'a Value>,
    /// The mode of the step it goes to.
    pub mode: StepMode,
    /// Who and when.
    pub facts: Facts<'a>,
}

/// The plan of a promotion. Whether the gate is open is not looked at; its evidence is kept.
pub fn plan(input: &Input<'_>) -> Result<Plan, Refusal> {
    guard::may_write(&input.target)?;
    let action = action(input.mode);
    let Some(source) = &input.source else {
        let Some(existing) = input.existing else {
            let name = &input.target.settings.name;
            return Err(Refusal::new(
                "absent",
                format!("The policy does not exist in {name}, and no environment was named that it could come from."),
            ));
        };
        return in_place(input, action, existing, None);
    };
    match input.existing {
        // What it says is there already: only the mode is another, and everything else of the target stays as it is.
        Some(existing) if revision(input.kind, existing) == revision(input.kind, source.object) => {
            in_place(input, action, existing, Some(source))
        }
        existing => transferred(input, action, source, existing),
    }
}

/// The action of a step.
pub(super) fn action(mode: StepMode) -> Action {
    match mode {
        StepMode::Audit => Action::Audit,
        StepMode::Enforce => Action::Enforce,
    }
}

fn in_place(input: &Input<'_>, action: Action, existing: &Value, source: Option<&Source<'_>>) -> Result<Plan, Refusal> {
    let object = address(input.kind, &input.target, existing)?;
    let mut draft = Draft::begin(Operation::Promote, &input.target, &input.facts, object, Some(existing));
    let what = draft.what();
    let change = match set_mode(input.kind, existing, action, input.target.kyverno) {
        Ok(change) => change,
        Err(CannotSet::NoMode { .. }) if source.is_some() => {
            return Err(Refusal::new("unchanged", format!("{what} says the same already, and has no mode.")));
        }
        Err(why) => return Err(Refusal::of_mode(&what, &why)),
    };
    if change.is_empty() {
        return Err(unchanged(&what, input.mode));
    }
    guard::ask_keeper(&input.target, &what, Some(existing), &change.after, Some(action), &mut draft.warnings)?;
    draft.warnings.extend(warnings::of(input.kind, &input.target, &change.after, Some(action), None));
    draft.notes = change.notes;
    draft.warnings.extend(warnings::of_rollbacks(input.kind, &change.after, &places(input, Some(existing))));
    if let Some(source) = source {
        draft.basis.push(Basis::of(&source.place, address(input.kind, &source.place, source.object)?, Some(source.object)));
    }
    let from = source.map_or((&input.target, existing), |source| (&source.place, source.object));
    let id = draft.id(&change.after);
    let stamp = draft.stamp(Some(origin(input.kind, from.0, from.1)), &id, input.kind, Some(existing), &change.after);
    let forget = is_over(input.kind, input.mode, existing, &change.after);
    let step = stamped_patch(&draft, existing, change.patch, &change.after, &stamp, forget)?;
    let undo = Undo::Plan(format!("set {what} back to what it is now; the archive is saved before the write"));
    Ok(draft.finish(id, vec![step], Direction::Up, undo))
}

fn transferred(input: &Input<'_>, action: Action, source: &Source<'_>, existing: Option<&Value>) -> Result<Plan, Refusal> {
    let object = address(input.kind, &input.target, source.object)?;
    let mut draft = Draft::begin(Operation::Promote, &input.target, &input.facts, object, existing);
    let what = draft.what();
    let transfer =
        manifest_for(input.kind, source.object, existing, input.target.served).map_err(|why| Refusal::of_transfer(&what, &why))?;
    let change = with_mode(input, action, &transfer.object).map_err(|why| Refusal::of_mode(&what, &why))?;
    refuse_unknown_fields(&draft, input.kind, &change.after)?;
    if diff(existing, Some(&change.after)).is_empty() {
        return Err(unchanged(&what, input.mode));
    }
    guard::ask_keeper(&input.target, &what, existing, &change.after, Some(action), &mut draft.warnings)?;
    draft.warnings.extend(warnings::of(input.kind, &input.target, &change.after, Some(action), existing));
    draft.notes = notes_of(&transfer.left_behind, &transfer.kept, transfer.version.as_ref());
    draft.notes.extend(change.notes);
    draft.warnings.extend(warnings::of_rollbacks(input.kind, &change.after, &places(input, existing)));
    draft.basis.push(Basis::of(&source.place, address(input.kind, &source.place, source.object)?, Some(source.object)));
    let id = draft.id(&change.after);
    let mut object = change.after;
    let unreadable = |why: Misshapen| Refusal::new("unreadable", format!("{what}: {why}."));
    let marks = draft.stamp(Some(origin(input.kind, &source.place, source.object)), &id, input.kind, existing, &object);
    stamp(&mut object, &marks).map_err(unreadable)?;
    if existing.is_some_and(|existing| is_over(input.kind, input.mode, existing, &object)) {
        object = remembering(&object, None).map_err(unreadable)?;
    }
    let (step, undo) = write(&draft, existing, object)?;
    Ok(draft.finish(id, vec![step], Direction::Up, undo))
}

/// The environments whose memory of rollbacks counts, with the policy there.
fn places<'a>(input: &Input<'a>, existing: Option<&'a Value>) -> Vec<(&'a str, &'a Value)> {
    let source = input.source.map(|source| (source.place.settings.name.as_str(), source.object));
    let there = existing.map(|existing| (input.target.settings.name.as_str(), existing));
    there.into_iter().chain(source).collect()
}

/// Whether what is remembered of a rollback ends with this write: the revision is back in the mode that it was rolled back from.
fn is_over(kind: &Kind, mode: StepMode, existing: &Value, after: &Value) -> bool {
    read_rolled_back(existing).is_some_and(|rolled_back| {
        let is_back = mode == StepMode::Enforce || !rolled_back.mode.can_block();
        is_back && rolled_back.revision == revision(kind, after)
    })
}

/// The object with that rollback remembered, or none.
pub(super) fn remembering(object: &Value, rolled_back: Option<&RolledBack>) -> Result<Value, Misshapen> {
    let mut edit = Edit::of(object);
    remember(&mut edit, rolled_back)?;
    Ok(edit.finish().1)
}

/// The object with the step's mode. What has no mode (rules that only change or create resources, cleanups) travels as it is.
fn with_mode(input: &Input<'_>, action: Action, object: &Value) -> Result<ModeChange, CannotSet> {
    match set_mode(input.kind, object, action, input.target.kyverno) {
        Err(CannotSet::NoMode { why }) => {
            let notes = vec![format!("It has no mode ({why}): it acts as soon as it is there.")];
            Ok(ModeChange { patch: Patch(Vec::new()), after: object.clone(), notes })
        }
        other => other,
    }
}

/// The step that puts `object` where `existing` is, or where nothing is, and how it is taken back.
pub(super) fn write(draft: &Draft<'_>, existing: Option<&Value>, object: Value) -> Result<(Step, Undo), Refusal> {
    let what = draft.what();
    let (verb, undo) = match existing {
        None => (Verb::Create { manifest: object.clone() }, format!("delete {what} again")),
        Some(_) => (
            Verb::Replace { manifest: object.clone(), expect: draft.expect()? },
            format!("put {what} back as it is now; the archive is saved before the write"),
        ),
    };
    Ok((draft.step(verb, existing, Some(object)), Undo::Plan(undo)))
}

/// Refuses what the target would prune: what is left could mean something else.
pub(super) fn refuse_unknown_fields(draft: &Draft<'_>, kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let unknown = draft.place.unknown_fields(kind, object);
    if unknown.is_empty() {
        return Ok(());
    }
    let shown = unknown.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if unknown.len() > 5 { format!(" and {} more", unknown.len() - 5) } else { String::new() };
    Err(Refusal::new(
        "unknown-fields",
        format!(
            "{} does not know these fields of the policy, and would drop them: {shown}{more}. Its Kyverno is {}; upgrade it, or write the policy in its style.",
            draft.place.settings.name, draft.place.kyverno.release
        ),
    ))
}

/// What stays behind and what stays in place, as sentences.
pub(super) fn notes_of(left_behind: &[String], kept: &[String], version: Option<&(String, String)>) -> Vec<String> {
    let mut notes = Vec::new();
    if !left_behind.is_empty() {
        notes.push(format!("left behind: {}", left_behind.join(", ")));
    }
    if !kept.is_empty() {
        notes.push(format!("kept as they are there: {}", kept.join(", ")));
    }
    if let Some((was, is)) = version {
        notes.push(format!("written as {is}; it was {was}"));
    }
    notes
}

fn unchanged(what: &str, mode: StepMode) -> Refusal {
    Refusal::new("unchanged", format!("{what} is at {} already, and says the same.", mode.as_str()))
}

/// `staging@91c2e04ab613`: the environment and what the policy said there.
fn origin(kind: &Kind, place: &Place<'_>, object: &Value) -> String {
    format!("{}@{}", place.settings.name, revision(kind, object))
}
