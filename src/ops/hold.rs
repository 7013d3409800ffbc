//! Hold and release: with a hold on it, a policy passes no gate.
//!
//! A hold is an annotation of the policy, so that everybody sees it, whatever program they use. It says nothing about what Kyverno does.

use super::draft::{Draft, address};
use super::guard;
use super::place::{Facts, Place};
use super::plan::{Direction, Operation, Plan, Undo, Verb};
use super::refusal::Refusal;
use crate::kinds::Kind;
use crate::kinds::edit::{Edit, Misshapen};
use crate::kinds::hold::{HELD_AT, HELD_BY, HOLD};
use crate::kinds::transfer::stamp_value;
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
    let at = input.facts.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let by = stamp_value(input.facts.by);
    annotate(input, Operation::Hold, |edit| {
        for (key, value) in [(HOLD, &reason), (HELD_BY, &by), (HELD_AT, &at)] {
            edit.put(&["metadata", "annotations", key], Value::from(value.as_str()))?;
        }
        Ok(())
    })
}

/// The plan of a release.
pub fn release(input: &Input<'_>) -> Result<Plan, Refusal> {
    annotate(input, Operation::Release, |edit| {
        [HOLD, HELD_BY, HELD_AT].iter().try_for_each(|key| edit.remove(&["metadata", "annotations", key]))
    })
}

fn annotate(input: &Input<'_>, operation: Operation, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Misshapen>) -> Result<Plan, Refusal> {
    guard::may_write(&input.place)?;
    let object = address(input.kind, &input.place, input.existing)?;
    let draft = Draft::begin(operation, &input.place, &input.facts, object, Some(input.existing));
    let what = draft.what();
    let live = super::draft::without_managers(input.existing);
    let mut edit = Edit::of(&live);
    change(&mut edit).map_err(|why| Refusal::new("unreadable", format!("{what}: {why}.")))?;
    if edit.is_empty() {
        return Err(Refusal::new("unchanged", format!("{what} is not held.")));
    }
    let (patch, after) = edit.finish();
    let id = draft.id(&after);
    let step = draft.step(Verb::Patch { patch, expect: draft.expect()? }, Some(&live), Some(after));
    let undo = if operation == Operation::Hold { format!("release {what}") } else { format!("hold {what} again") };
    Ok(draft.finish(id, vec![step], Direction::Level, Undo::Plan(undo)))
}
