//! Hold and release: with a hold on it, a policy passes no gate.
//!
//! A hold is an annotation of the policy, so that everybody sees it, whatever program they use. It says nothing about what Kyverno does.

use super::draft::{Draft, address};
use super::guard;
use super::place::{Facts, Place};
use super::plan::{Direction, Operation, Plan, Undo, Verb};
use super::refusal::Refusal;
use crate::domain::time::rfc3339;
use crate::domain::{Hold, PolicyId, clean};
use crate::kinds::Kind;
use crate::kinds::edit::{Edit, Misshapen};
use crate::kinds::hold::{HELD_AT, HELD_BY, HOLD};
use crate::kinds::rolled_back;
use crate::kinds::transfer::{annotate, stamp_value};
use serde_json::Value;

/// What a hold or its release is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy's kind.
    pub kind: &'static Kind,
    /// Where.
    pub place: Place<'a>,
    /// The policy there.
    pub existing: &'a Value,
    /// Why it is held; nothing for a release.
    pub reason: &'a str,
    /// Who and when.
    pub facts: Facts<'a>,
}

/// The plan of a hold.
pub fn hold(input: &Input<'_>) -> Result<Plan, Refusal> {
    let reason = stamp_value(input.reason);
    if reason.is_empty() {
        return Err(Refusal::new("unreadable", "A hold needs a reason: somebody else will have to decide when it may end."));
    }
    let at = rfc3339(input.facts.at);
    change(input, Operation::Hold, |edit| {
        annotate(edit, [(HOLD, Some(reason.as_str())), (HELD_BY, Some(input.facts.by)), (HELD_AT, Some(at.as_str()))])
    })
}

/// The plan of a release. A rollback that is remembered ends with it, too: its revision may go on.
pub fn release(input: &Input<'_>) -> Result<Plan, Refusal> {
    change(input, Operation::Release, |edit| {
        [HOLD, HELD_BY, HELD_AT].iter().chain(&rolled_back::KEYS).try_for_each(|key| edit.remove(&["metadata", "annotations", key]))
    })
}

/// Why a policy that is held is not held again.
pub fn held_already(policy: &PolicyId, environment: &str, hold: &Hold) -> Refusal {
    let (policy, hold) = (policy.to_string(), hold.in_words());
    Refusal::new(
        "held",
        format!("{} in {environment} is already {}. Release it first to hold it for another reason.", clean(&policy), clean(&hold)),
    )
}

fn change(input: &Input<'_>, operation: Operation, annotate: impl FnOnce(&mut Edit<'_>) -> Result<(), Misshapen>) -> Result<Plan, Refusal> {
    guard::may_write(&input.place)?;
    let object = address(input.kind, &input.place, input.existing)?;
    let draft = Draft::begin(operation, &input.place, &input.facts, object, Some(input.existing));
    let what = draft.what();
    let live = super::draft::without_managers(input.existing);
    let mut edit = Edit::of(&live);
    annotate(&mut edit).map_err(|why| Refusal::new("unreadable", format!("{what}: {why}.")))?;
    if edit.is_empty() {
        return Err(Refusal::new("unchanged", format!("{what} is not held, and no rollback of it is remembered.")));
    }
    let (patch, after) = edit.finish();
    let id = draft.id(&after);
    let step = draft.step(Verb::Patch { patch, expect: draft.expect()? }, Some(&live), Some(after));
    let undo = if operation == Operation::Hold { format!("release {what}") } else { format!("hold {what} again") };
    Ok(draft.finish(id, vec![step], Direction::Level, Undo::Plan(undo)))
}
