//! What a commit says: what was done, why it might be, and by whom. The journal has the same under the plan's id.

use crate::domain::clean;
use crate::kinds::KindId;
use crate::kinds::set_mode::written_mode;
use crate::ops::Place;
use crate::ops::plan::{Plan, Step};
use serde_json::Value;
use std::fmt::Write as _;

/// The most characters of a subject: what logs and hosts show whole.
const SUBJECT: usize = 72;

/// The message: a subject, the gate's evidence, and trailers.
pub(super) fn message(plan: &Plan, step: &Step, place: &Place<'_>) -> String {
    let kind = KindId::find(&step.object.group, &step.object.kind).map(KindId::kind);
    let mode = kind.zip(step.after.as_ref()).and_then(|(kind, after)| written_mode(kind, after, place.kyverno).ok());
    let to = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
    let subject = format!("{} {} in {}{to}", plan.operation, step.object, step.environment);
    let mut out = cut(&clean(&subject), SUBJECT);
    out.push_str("\n\n");
    if let Some(evidence) = evidence(&plan.gate) {
        out.push_str(&evidence);
        out.push('\n');
    }
    let mut trailer = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key}: {}", clean(value));
    };
    if let Some(ticket) = &plan.ticket {
        trailer("Ticket", ticket);
    }
    trailer("Policydeck-By", &plan.made_by);
    trailer("Policydeck-Plan", &plan.id);
    out
}

/// The gate, a line for each condition.
fn evidence(gate: &Value) -> Option<String> {
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(|text| clean(text).into_owned());
    let verdict = word(gate, "verdict")?;
    let mut out = format!("Gate: {verdict}\n");
    for condition in gate.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| word(condition, key).unwrap_or_default();
        let _ = writeln!(out, "- {}: {}, {}", text("name"), text("state"), text("reason"));
    }
    if let Some(reason) = word(gate, "acknowledged") {
        let _ = writeln!(out, "Unknown, and acknowledged: {reason}");
    }
    for one in gate.get("disregarded").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| word(one, key).unwrap_or_default();
        let _ = writeln!(out, "Disregarded: {} (by {}: {})", text("ref"), text("by"), text("reason"));
    }
    Some(out)
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}
