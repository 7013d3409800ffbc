//! The CEL kinds of `policies.kyverno.io`.

use super::super::Kind;
use super::super::edit::{Edit, Misshapen};
use crate::domain::{Action, Policy};
use serde_json::{Value, json};

/// Kinds that judge: `validationActions`. A missing list means deny, and `Deny` beside `Warn` is not allowed (kyverno/api
/// `api/policies.kyverno.io/v1beta1/validating_policy.go`, `ValidationActions`).
pub(super) fn set(edit: &mut Edit<'_>, policy: &Policy, target: Action, notes: &mut Vec<String>) -> Result<(), Misshapen> {
    let (denies, warns) = policy.cel.as_ref().map_or((false, false), |cel| (cel.deny, cel.warn));
    match target {
        Action::Enforce if denies && warns => {
            notes.push("Warn is taken out: it is not allowed beside Deny.".to_owned());
            edit.put(&["spec", "validationActions"], json!(["Deny"]))
        }
        Action::Enforce if !denies => edit.put(&["spec", "validationActions"], json!(["Deny"])),
        Action::Audit if denies => edit.put(&["spec", "validationActions"], json!(["Audit"])),
        Action::Audit | Action::Enforce => Ok(()),
    }
}

/// Kinds that act: whether they do so at admission (`spec.evaluation.admission.enabled`, default true).
pub(super) fn switch(edit: &mut Edit<'_>, kind: &Kind, target: Action, notes: &mut Vec<String>) -> Result<(), Misshapen> {
    let path = ["spec", "evaluation", "admission", "enabled"];
    let wanted = target == Action::Enforce;
    if edit.get(&path).and_then(Value::as_bool).unwrap_or(true) == wanted {
        return Ok(());
    }
    notes.push(format!("A {} never refuses anything; it is switched {} at admission.", kind.kind, if wanted { "on" } else { "off" }));
    edit.put(&path, Value::Bool(wanted))
}
