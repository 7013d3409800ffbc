//! Rollback: to what the policy was before, from history or from an archive.
//!
//! Rolling back is not gated, so it never makes a policy refuse more than it does now: where the former object enforced and the present one does
//! not, the former comes back in audit.

use super::diff::diff;
use super::draft::{Draft, address};
use super::place::{Facts, Place};
use super::plan::{Direction, Operation, Plan};
use super::promote::{notes_of, refuse_unknown_fields, remembering, write};
use super::refusal::Refusal;
use super::strength::refuses_more;
use super::{guard, warnings};
use crate::domain::{Action, Mode, RolledBack};
use crate::kinds::Kind;
use crate::kinds::edit::Misshapen;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::{set_mode, written_mode};
use crate::kinds::transfer::{manifest_for, stamp};
use serde_json::Value;

/// What a rollback is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy's kind.
    pub kind: &'static Kind,
    /// Where.
    pub place: Place<'a>,
    /// The policy there now; `None` if it was deleted.
    pub existing: Option<&'a Value>,
    /// What it was.
    pub former: &'a Value,
    /// Who and when.
    pub facts: Facts<'a>,
}

/// The plan of a rollback.
pub fn plan(input: &Input<'_>) -> Result<Plan, Refusal> {
    guard::may_write(&input.place)?;
    let object = address(input.kind, &input.place, input.former)?;
    if let Some(existing) = input.existing {
        let other = address(input.kind, &input.place, existing)?;
        if other != object {
            return Err(Refusal::new("unreadable", format!("{object} is no former state of {other}: choose one of its own.")));
        }
    }
    let mut draft = Draft::begin(Operation::Rollback, &input.place, &input.facts, object, input.existing);
    let what = draft.what();
    // Where nothing is left of it, its own former marks count: it returns to its own cluster.
    let marks = input.existing.or(Some(input.former));
    let transfer = manifest_for(input.kind, input.former, marks, input.place.served).map_err(|why| Refusal::of_transfer(&what, &why))?;
    draft.notes = notes_of(&transfer.left_behind, &[], transfer.version.as_ref());
    let mut object = capped(input, &mut draft, transfer.object)?;
    refuse_unknown_fields(&draft, input.kind, &object)?;
    if diff(input.existing, Some(&object)).is_empty() {
        return Err(Refusal::new("unchanged", format!("{what} says already what it is to be rolled back to.")));
    }
    guard::ask_keeper(&input.place, &what, input.existing, &object, None, &mut draft.warnings)?;
    draft.warnings.extend(warnings::of(input.kind, &input.place, &object, None, input.existing));
    let id = draft.id(&object);
    let unreadable = |why: Misshapen| Refusal::new("unreadable", format!("{what}: {why}."));
    let marks = draft.stamp(None, &id, input.kind, input.existing, &object);
    stamp(&mut object, &marks).map_err(unreadable)?;
    if let Some(rolled_back) = taken_away(input, &object) {
        object = remembering(&object, Some(&rolled_back)).map_err(unreadable)?;
    }
    let (step, undo) = write(&draft, input.existing, object)?;
    Ok(draft.finish(id, vec![step], Direction::Down, undo))
}

/// What the policy has to remember: the revision that is taken away, unless neither it nor its mode changes.
fn taken_away(input: &Input<'_>, object: &Value) -> Option<RolledBack> {
    let existing = input.existing?;
    let state =
        |object: &Value| (revision(input.kind, object), written_mode(input.kind, object, input.place.kyverno).unwrap_or(Mode::Unknown));
    let (was, is) = (state(existing), state(object));
    let (by, reason) = (Some(input.facts.by.to_owned()), input.facts.reason.or(input.facts.ticket).map(str::to_owned));
    (was != is).then_some(RolledBack { revision: was.0, mode: was.1, by, at: Some(input.facts.at), reason })
}

/// The former object, in audit where it would refuse more than the present one.
fn capped(input: &Input<'_>, draft: &mut Draft<'_>, former: Value) -> Result<Value, Refusal> {
    let mode = |object: &Value| written_mode(input.kind, object, input.place.kyverno).unwrap_or(Mode::Unknown);
    let (was, is) = (mode(&former), input.existing.map_or(Mode::Absent, mode));
    // What cannot be told now is not counted on.
    if is != Mode::Unknown && !refuses_more(input.kind, input.existing, Some(&former), input.place.kyverno) {
        return Ok(former);
    }
    let change = set_mode(input.kind, &former, Action::Audit, input.place.kyverno).map_err(|why| Refusal::of_mode(&draft.what(), &why))?;
    draft.warnings.push(format!(
        "It comes back in audit: it was {was}, is {is} now, and a rollback never makes a policy refuse more. Promote it to enforce."
    ));
    draft.notes.extend(change.notes);
    Ok(change.after)
}
