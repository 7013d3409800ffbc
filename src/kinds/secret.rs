//! Objects of kind Secret: what of them may be shown.
//!
//! What lives here: the fields of a Secret that hold values, and the annotations in which tools keep a copy of the object. What does not: when values
//! are revealed (`tui`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Annotations that hold the object as it was applied, with its values: kubectl, kapp, Rancher.
const COPIES: [&str; 3] = ["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"];

/// The fields that hold values.
const VALUES: [&str; 2] = ["data", "stringData"];

/// Whether an object is a Secret.
pub fn is_secret(object: &Value) -> bool {
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    text("kind") == Some("Secret") && text("apiVersion") == Some("v1")
}

/// A Secret with lengths in place of its values: `tls.key: 1704 bytes`.
pub fn veiled(object: &Value) -> Value {
    with_values(object, |field, value| Value::from(length(field, value)), |copy| Value::from(in_bytes(copy.len())))
}

/// A Secret with its values as they are used: base64 undone where they are text.
pub fn revealed(object: &Value) -> Value {
    let text = |field: &str, value: &Value| {
        let decoded = value.as_str().filter(|_| field == "data").and_then(|text| STANDARD.decode(text).ok());
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map_or_else(|| value.clone(), Value::from)
    };
    with_values(object, text, |copy| Value::from(copy))
}

fn with_values(object: &Value, value: impl Fn(&str, &Value) -> Value, copy: impl Fn(&str) -> Value) -> Value {
    let mut out = object.clone();
    for field in VALUES {
        match out.get_mut(field) {
            Some(Value::Object(values)) => values.iter_mut().for_each(|(_, held)| *held = value(field, held)),
            // No API server serves this; what it holds is not known.
            Some(other) if !other.is_null() => *other = value(field, other),
            _ => {}
        }
    }
    if let Some(annotations) = out.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        of_copies(annotations, copy);
    }
    out
}

fn of_copies(annotations: &mut Map<String, Value>, copy: impl Fn(&str) -> Value) {
    for (_, held) in annotations.iter_mut().filter(|(name, _)| COPIES.contains(&name.as_str())) {
        *held = held.as_str().map_or(Value::Null, &copy);
    }
}

/// How long a value is, in words.
fn length(field: &str, value: &Value) -> String {
    match value {
        Value::String(text) if field == "data" => match STANDARD.decode(text) {
            Ok(bytes) => in_bytes(bytes.len()),
            Err(_) => format!("{}, not base64", in_bytes(text.len())),
        },
        Value::String(text) => in_bytes(text.len()),
        _ => "not text".to_owned(),
    }
}

fn in_bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use serde_json::json;

    fn secret(value: &str) -> Value {
        let applied = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": value}}).to_string();
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "s", "annotations": {COPIES[0]: applied, "team": "web"}},
            "data": {"tls.key": STANDARD.encode(value), "broken": format!("%{value}")}, "stringData": {"password": value}})
    }

    #[test]
    fn keys_and_lengths_stay() {
        let veiled = veiled(&secret("hunter2"));
        assert_eq!(veiled["data"], json!({"tls.key": "7 bytes", "broken": "8 bytes, not base64"}));
        assert_eq!(veiled["stringData"], json!({"password": "7 bytes"}));
        let annotations = &veiled["metadata"]["annotations"];
        assert!(annotations[COPIES[0]].as_str().unwrap().ends_with(" bytes") && annotations["team"] == "web", "{annotations}");
        assert_eq!(
            super::veiled(&json!({"data": "x", "stringData": [1]})),
            json!({"data": "1 byte, not base64", "stringData": "not text"})
        );
    }

    #[test]
    fn revealed_it_reads_as_what_it_is() {
        let revealed = revealed(&secret("hunter2"));
        assert_eq!(revealed["data"], json!({"tls.key": "hunter2", "broken": "%hunter2"}));
        assert_eq!(revealed["metadata"], secret("hunter2")["metadata"]);
        assert_eq!(super::revealed(&json!({"data": {"bytes": "//79"}}))["data"]["bytes"], "//79", "what is no text stays base64");
    }

    #[test]
    fn only_secrets_are_secrets() {
        assert!(is_secret(&secret("x")));
        for (api_version, kind) in [("v1", "ConfigMap"), ("example.com/v1", "Secret"), ("v1", "secret")] {
            assert!(!is_secret(&json!({"apiVersion": api_version, "kind": kind})), "{api_version} {kind}");
        }
    }

    #[test]
    fn no_value_survives() {
        cases("no_value_survives", 500, |dice| {
            let canary = format!("cAnArY{}", dice.number());
            let mut object = secret(&canary);
            let field = *dice.of(&VALUES);
            object[field] = match dice.below(4) {
                0 => json!(canary),
                1 => json!([canary]),
                2 => json!({"a": {"b": canary}}),
                _ => json!({"a": null, "b": canary}),
            };
            let shown = veiled(&object).to_string();
            assert!(!shown.contains(&canary) && !shown.contains(&STANDARD.encode(&canary)), "{shown}");
        });
    }
}
