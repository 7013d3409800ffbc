//! Unblock: when Kyverno does not answer, everything that its policies look at is refused, and policies cannot be changed. Only without its
//! resource webhook configurations are requests let through again (seen on Kyverno 1.19.1: a policy cannot be patched, and deleting one
//! frees nothing).

use super::draft::Draft;
use super::guard;
use super::place::{Facts, Place};
use super::plan::{Basis, Direction, ObjectRef, Operation, Plan, Undo, Verb};
use super::refusal::Refusal;
use crate::kinds::webhook::{MUTATING, VALIDATING};
use serde_json::Value;

/// Kyverno's resource webhook configurations, as (kind, plural, name) (Kyverno `pkg/config/config.go`).
pub const CONFIGURATIONS: [(&str, &str, &str); 2] = [
    ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", VALIDATING),
    ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", MUTATING),
];

/// What an unblock is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Where.
    pub place: Place<'a>,
    /// The configurations there, in the order of [`CONFIGURATIONS`].
    pub configurations: [Option<&'a Value>; 2],
    /// Whether Kyverno answers its webhooks; `None` where nobody could tell.
    pub answers: Option<bool>,
    /// Who and when.
    pub facts: Facts<'a>,
}

/// The address of one of the [`CONFIGURATIONS`].
pub fn address((kind, plural, name): (&str, &str, &str)) -> ObjectRef {
    ObjectRef {
        group: "admissionregistration.k8s.io".to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespace: None,
        name: name.to_owned(),
    }
}

/// The plan of an unblock: both configurations are deleted, as far as they exist.
pub fn plan(input: &Input<'_>) -> Result<Plan, Refusal> {
    guard::may_write(&input.place)?;
    let name = &input.place.settings.name;
    if input.answers == Some(true) {
        return Err(Refusal::new(
            "kyverno-answers",
            format!("Kyverno answers in {name}: what it refuses, a policy refuses. Demote that policy instead."),
        ));
    }
    let present: Vec<(ObjectRef, &Value)> =
        CONFIGURATIONS.into_iter().zip(input.configurations).filter_map(|(which, live)| Some((address(which), live?))).collect();
    let Some((first, live)) = present.first() else {
        return Err(Refusal::new("absent", format!("Kyverno has no resource webhooks in {name}: it is not what refuses requests there.")));
    };
    let mut draft = Draft::begin(Operation::Unblock, &input.place, &input.facts, first.clone(), Some(live));
    draft.warnings = warnings(name, input.answers);
    let mut steps = Vec::new();
    draft.basis.clear();
    for (object, live) in &present {
        let basis = Basis::of(&input.place, object.clone(), Some(live));
        let expect =
            basis.expect().ok_or_else(|| Refusal::new("unreadable", format!("{object} in {name} has no uid or resource version.")))?;
        draft.basis.push(basis);
        draft.object = object.clone();
        steps.push(draft.step(Verb::Delete { expect }, Some(live), None));
    }
    let id = draft.id(&Value::Null);
    let undo = Undo::Otherwise(
        "Kyverno writes both configurations anew as soon as it is back, a few seconds after its start; until then undo puts them back from the archive"
            .to_owned(),
    );
    Ok(draft.finish(id, steps, Direction::Down, undo))
}

fn warnings(environment: &str, answers: Option<bool>) -> Vec<String> {
    let mut warnings = vec![format!(
        "Until Kyverno is back, no policy holds in {environment}: nothing is refused, changed or verified, and what is let through stays. Look at the reports afterwards."
    )];
    if answers.is_none() {
        warnings.push("Nobody could tell whether Kyverno answers. If it does, it writes the configurations anew at once.".to_owned());
    }
    warnings
}
