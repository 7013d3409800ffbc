//! What all operations share when they put a plan together.

use super::diff::diff;
use super::place::{Facts, Place, id_of};
use super::plan::{Basis, Direction, Expect, ObjectRef, Operation, Plan, Step, Undo, Verb};
use super::refusal::Refusal;
use super::rules;
use crate::domain::Mode;
use crate::kinds::revision::{digest, revision, without_defaults};
use crate::kinds::rolled_back::remember;
use crate::kinds::set_mode::written_mode;
use crate::kinds::transfer::{Stamp, StampState, stamp_edit};
use crate::kinds::{Kind, edit::Edit, ownership};
use json_patch::{Patch, PatchOperation};
use serde_json::{Value, json};

/// A plan under way.
pub(super) struct Draft<'a> {
    pub(super) operation: Operation,
    pub(super) place: &'a Place<'a>,
    pub(super) facts: &'a Facts<'a>,
    pub(super) object: ObjectRef,
    pub(super) basis: Vec<Basis>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl<'a> Draft<'a> {
    /// Begins with the object as it is in the place, or is not.
    pub(super) fn begin(operation: Operation, place: &'a Place<'a>, facts: &'a Facts<'a>, object: ObjectRef, live: Option<&Value>) -> Self {
        let basis = vec![Basis::of(place, object.clone(), live)];
        Self { operation, place, facts, object, basis, warnings: Vec::new(), notes: Vec::new() }
    }

    /// The object and where it is, for sentences: `ClusterPolicy/p in production`.
    pub(super) fn what(&self) -> String {
        format!("{} in {}", self.object, self.place.settings.name)
    }

    /// The id of the plan that will write `content`: the same for the same plan made at the same time.
    pub(super) fn id(&self, content: &Value) -> String {
        digest(&json!({
            "operation": self.operation.as_str(),
            "at": self.facts.at.to_string(),
            "by": self.facts.by,
            "ticket": self.facts.ticket,
            "basis": serde_json::to_value(&self.basis).unwrap_or_default(),
            "content": content,
        }))
    }

    /// What the annotations will say of the plan with that id, which makes `after` of `before`.
    pub(super) fn stamp(&self, from: Option<String>, id: &str, kind: &Kind, before: Option<&Value>, after: &Value) -> Stamp {
        let state = StampState {
            revision: revision(kind, after),
            mode: written_mode(kind, after, self.place.kyverno).unwrap_or(Mode::Unknown),
            generation: generation_of(kind, before, after),
        };
        Stamp {
            from,
            state: Some(state),
            by: self.facts.by.to_owned(),
            at: self.facts.at,
            ticket: self.facts.ticket.map(str::to_owned),
            plan: Some(id.to_owned()),
        }
    }

    /// What a write to the object as it is may expect.
    pub(super) fn expect(&self) -> Result<Expect, Refusal> {
        self.basis.first().and_then(Basis::expect).ok_or_else(|| {
            Refusal::new("unreadable", format!("{} has no uid or resource version: it was not read from its cluster.", self.what()))
        })
    }

    /// A step that writes to the object.
    pub(super) fn step(&self, verb: Verb, before: Option<&Value>, after: Option<Value>) -> Step {
        let managers = before.map(ownership::entries).unwrap_or_default();
        let before = before.map(without_managers);
        Step {
            environment: self.place.settings.name.clone(),
            object: self.object.clone(),
            verb,
            diff: diff(before.as_ref(), after.as_ref()),
            before,
            after,
            managers,
            gives_back: Vec::new(),
        }
    }

    /// The plan.
    pub(super) fn finish(self, id: String, steps: Vec<Step>, direction: Direction, undo: Undo) -> Plan {
        Plan {
            id,
            operation: self.operation,
            direction,
            made_at: self.facts.at,
            made_by: self.facts.by.to_owned(),
            maker: None,
            signer: None,
            ticket: self.facts.ticket.map(str::to_owned),
            reason: self.facts.reason.map(str::to_owned).filter(|reason| !reason.trim().is_empty()),
            undoes: None,
            steps,
            confirm: rules::confirmation(self.operation, self.place.settings),
            basis: self.basis,
            warnings: self.warnings,
            impact: Vec::new(),
            notes: self.notes,
            undo,
            gate: self.facts.gate.clone(),
        }
    }
}

/// The address of a policy in a place, as the object names itself.
pub(super) fn address(kind: &Kind, place: &Place<'_>, object: &Value) -> Result<ObjectRef, Refusal> {
    let id = id_of(kind, object);
    let version = kind.preferred(place.served).ok_or_else(|| {
        let name = &place.settings.name;
        Refusal::new(
            "not-served",
            format!("{name} does not serve {} ({}): its Kyverno is too old, or came without that CRD.", kind.kind, kind.group),
        )
    })?;
    Ok(ObjectRef::of(kind, version, &id))
}

/// The step that patches the live object: `change` and then the stamp. `forget` also takes away what is remembered of a rollback.
pub(super) fn stamped_patch(
    draft: &Draft<'_>,
    live: &Value,
    change: Patch,
    changed: &Value,
    stamp: &Stamp,
    forget: bool,
) -> Result<Step, Refusal> {
    let mut edit = Edit::of(changed);
    let stamped = stamp_edit(&mut edit, stamp).and_then(|()| if forget { remember(&mut edit, None) } else { Ok(()) });
    stamped.map_err(|why| Refusal::new("unreadable", format!("{}: {why}.", draft.what())))?;
    let (stamps, after) = edit.finish();
    let verb = Verb::Patch { patch: joined(change, stamps), expect: draft.expect()? };
    Ok(draft.step(verb, Some(live), Some(without_managers(&after))))
}

/// The generation of `after`, which takes the place of `before`: the API server counts the changes of the spec. Should it find none where there seems to be
/// one, the stamp names a generation that the object does not have, and proves nothing.
fn generation_of(kind: &Kind, before: Option<&Value>, after: &Value) -> i64 {
    let Some(before) = before else { return 1 };
    let spec = |object: &Value| without_defaults(kind, object).get("spec").cloned();
    let generation = before.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    generation + i64::from(spec(before) != spec(after))
}

/// Two patches of different places as one, tests first.
fn joined(one: Patch, other: Patch) -> Patch {
    let is_test = |operation: &PatchOperation| matches!(operation, PatchOperation::Test(_));
    let (tests, changes): (Vec<_>, Vec<_>) = one.0.into_iter().chain(other.0).partition(is_test);
    Patch(tests.into_iter().chain(changes).collect())
}

/// `managedFields` are half of an object's bytes, and nobody's to read in a plan.
pub(super) fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}
