//! The gate as it was seen when somebody went through it, as the journal keeps it.
//!
//! What lives here: reading it from JSON that another release may have written, in lines. What does not: gates of now (`rollout`).

use crate::domain::{Amount, ConditionState, clean};
use crate::tui::theme::Symbols;
use jiff::SignedDuration;
use serde_json::Value;

/// A line; of a condition, with how it stood.
pub(super) type Line = (Option<ConditionState>, String);

/// The lines of a gate, or of several.
pub(super) fn lines(gate: &Value, symbols: &Symbols) -> Vec<Line> {
    match gate {
        Value::Null => Vec::new(),
        Value::Array(gates) => gates.iter().flat_map(|gate| lines(gate, symbols)).collect(),
        Value::Object(fields) if fields.contains_key("verdict") => one(gate, symbols),
        // What nobody here understands is shown as it is.
        other => vec![(None, clean(&other.to_string()).into_owned())],
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn one(gate: &Value, symbols: &Symbols) -> Vec<Line> {
    let verdict = text(gate, "/verdict").unwrap_or("?");
    let stop = |side: &str| {
        Some(format!("{} {} {}", text(gate, &format!("/{side}/environment"))?, symbols.middot, text(gate, &format!("/{side}/mode"))?))
    };
    let way = match (stop("from"), stop("to")) {
        (Some(from), Some(to)) => format!(", from {from} to {to}"),
        (None, Some(to)) => format!(", to {to}"),
        _ => String::new(),
    };
    let mut out = vec![(None, clean(&format!("{verdict}{way}")).into_owned())];
    if let Some(reason) = text(gate, "/acknowledged") {
        out.push((None, clean(&format!("passed all the same, because: {reason}")).into_owned()));
    }
    for one in gate.get("disregarded").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| text(one, &format!("/{key}")).unwrap_or("?");
        out.push((None, clean(&format!("disregarded {} (by {}: {})", part("ref"), part("by"), part("reason"))).into_owned()));
    }
    let conditions = gate.get("conditions").and_then(Value::as_array);
    out.extend(conditions.into_iter().flatten().map(|condition| {
        let name = text(condition, "/name").unwrap_or("?");
        let state = text(condition, "/state").unwrap_or("?");
        let amount = |field: &str| Some(amount(name, condition.get(field)?.as_i64()?));
        let value = match (amount("value"), amount("limit")) {
            (Some(value), Some(limit)) if name == "soak" => format!(": {value} of {limit}"),
            (Some(value), Some(limit)) => format!(": {value}, limit {limit}"),
            (Some(value), None) => format!(": {value}"),
            _ => String::new(),
        };
        let reason = text(condition, "/reason").filter(|reason| !reason.is_empty()).map(|reason| format!("; {reason}")).unwrap_or_default();
        let known = [ConditionState::Met, ConditionState::Unmet].into_iter().find(|known| known.as_str() == state);
        let line = clean(&format!("{name} {state}{value}{reason}")).replace('·', symbols.middot);
        (Some(known.unwrap_or(ConditionState::Unknown)), line)
    }));
    out
}

/// In JSON the numbers of `soak` and `fresh` are seconds.
fn amount(name: &str, number: i64) -> String {
    match (name, u64::try_from(number)) {
        ("soak" | "fresh", _) => Amount::Time(SignedDuration::from_secs(number)).to_string(),
        (_, Ok(count)) => Amount::Count(count).to_string(),
        (_, Err(_)) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::{ColorDepth, Theme};
    use serde_json::json;

    #[test]
    fn a_gate_of_any_release_is_shown() {
        let gate = json!({"verdict": "unknown", "from": {"environment": "dev", "mode": "audit"}, "to": {"environment": "dev", "mode": "enforce"},
            "acknowledged": "nothing \u{1b}[2J matches", "conditions": [
                {"name": "soak", "state": "met", "value": 439_200, "limit": 604_800, "reason": "since Nov 18"},
                {"name": "violations", "state": "unmet", "value": 3, "limit": 0, "reason": ""}, {"name": "blocked", "state": "unknown", "value": null}]});
        let theme = Theme::new(ColorDepth::None, false);
        let said = |gate: &Value| lines(gate, theme.symbols);
        let told = said(&gate);
        assert_eq!(told[0], (None, "unknown, from dev · audit to dev · enforce".to_owned()));
        assert!(told[1].1.starts_with("passed all the same, because: nothing \u{fffd}[2J"), "{told:?}");
        assert_eq!(told[2], (Some(ConditionState::Met), "soak met: 5d 02h of 7d; since Nov 18".to_owned()));
        assert_eq!(told[3], (Some(ConditionState::Unmet), "violations unmet: 3, limit 0".to_owned()));
        assert_eq!(told[4], (Some(ConditionState::Unknown), "blocked unknown".to_owned()));
        assert_eq!(said(&json!([gate, gate])).len(), 10);
        for other in
            [json!("open"), json!({"a": 1}), json!(7), json!({"verdict": 7, "conditions": 3}), json!([[null], {"conditions": [1, null]}])]
        {
            assert!(said(&other).iter().all(|(_, line)| !line.is_empty()), "{other}");
        }
        assert!(said(&Value::Null).is_empty());
    }
}
