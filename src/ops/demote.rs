//! Demote: from enforce to audit. Never gated: it is what stops a bad rollout.

use super::draft::{Draft, address, stamped_patch};
use super::place::{Facts, Place};
use super::plan::{Direction, Operation, Plan, Undo};
use super::refusal::Refusal;
use super::{guard, warnings};
use crate::domain::Action;
use crate::kinds::Kind;
use crate::kinds::set_mode::set_mode;
use serde_json::Value;

/// What a demotion is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy's kind.
    pub kind: &'static Kind,
    /// Where.
    pub place: Place<'a>,
    /// The policy there.
    pub existing: &'a Value,
    /// Who and when.
    pub facts: Facts<'a>,
}

/// The plan of a demotion.
pub fn plan(input: &Input<'_>) -> Result<Plan, Refusal> {
    guard::may_write(&input.place)?;
    let object = address(input.kind, &input.place, input.existing)?;
    let mut draft = Draft::begin(Operation::Demote, &input.place, &input.facts, object, Some(input.existing));
    let what = draft.what();
    let change = set_mode(input.kind, input.existing, Action::Audit, input.place.kyverno).map_err(|why| Refusal::of_mode(&what, &why))?;
    if change.is_empty() {
        return Err(Refusal::new("unchanged", format!("{what} does not refuse anything: it is at audit already.")));
    }
    guard::ask_keeper(&input.place, &what, Some(input.existing), &change.after, Some(Action::Audit), &mut draft.warnings)?;
    draft.warnings.extend(warnings::of(input.kind, &input.place, &change.after, Some(Action::Audit), None));
    draft.notes = change.notes;
    let id = draft.id(&change.after);
    let stamp = draft.stamp(None, &id, input.kind, Some(input.existing), &change.after);
    let step = stamped_patch(&draft, input.existing, change.patch, &change.after, &stamp, false)?;
    let undo = Undo::Plan(format!("set {what} to enforce again, which is gated"));
    Ok(draft.finish(id, vec![step], Direction::Down, undo))
}
