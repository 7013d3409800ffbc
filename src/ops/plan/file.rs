//! A plan as a file: made by one, read and carried out by another.

use super::Plan;
use crate::kinds::revision::full_digest;
use serde_json::{Value, json};

/// `apiVersion` of a plan's file.
pub const API_VERSION: &str = "policydeck.dev/v1";
/// `kind` of a plan's file.
pub const KIND: &str = "Plan";

/// The text of a plan's file: JSON, with a digest that [`from_file`] holds it to.
pub fn to_file(plan: &Plan) -> Result<String, String> {
    let plan = serde_json::to_value(plan).map_err(|error| format!("the plan cannot be written: {error}"))?;
    let document = json!({"apiVersion": API_VERSION, "kind": KIND, "digest": full_digest(&plan), "plan": plan});
    Ok(format!("{document:#}\n"))
}

/// Reads the text of a plan's file. The error is a sentence.
///
/// A file that was edited is refused: what is carried out must be what was shown. The digest is no signature; it finds accidents.
pub fn from_file(text: &str) -> Result<Plan, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("This is no plan: it is not JSON ({error})."))?;
    let word = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    if word("kind") != KIND {
        return Err(format!("This is no plan: its kind is `{}`, not `{KIND}`.", word("kind")));
    }
    if word("apiVersion") != API_VERSION {
        return Err(format!(
            "This plan has version `{}`; this program reads `{API_VERSION}`. Make it again with the program that is to carry it out.",
            word("apiVersion")
        ));
    }
    let plan = document.get("plan").unwrap_or(&Value::Null);
    if word("digest") != full_digest(plan) {
        return Err("This plan was changed after it was made. Make it again instead of editing it.".to_owned());
    }
    let read: Plan = serde_json::from_value(plan.clone()).map_err(|error| format!("This plan cannot be read: {error}."))?;
    // What is not understood could be a condition.
    if serde_json::to_value(&read).is_ok_and(|again| again == *plan) {
        Ok(read)
    } else {
        Err("This plan says things that this program does not know. Make it again with the program that is to carry it out.".to_owned())
    }
}
