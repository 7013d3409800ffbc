//! Objects of kind Secret, also those that a policy generates: what of them may be shown.
//!
//! What lives here: the fields of a Secret that hold values, and the annotations in which tools keep a copy of the object. What does not: when values
//! are revealed (`tui`).

mod cel;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::HashMap;

/// Annotations that hold the object as it was applied, with its values: kubectl, kapp, Rancher.
const COPIES: [&str; 3] = ["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"];

/// The fields that hold values.
const VALUES: [&str; 2] = ["data", "stringData"];

/// An object with lengths in place of the values of a Secret (`tls.key: 1704 bytes`): the object itself, or one that it holds, as a generate rule does.
/// `None` where it holds none.
pub fn veiled(object: &Value) -> Option<Value> {
    walked(object, true, &mut |field, value| Value::from(length(field, value)))
}

/// The same object with the values of Secrets as they are used: base64 undone where they are text.
pub fn revealed(object: &Value) -> Value {
    let text = |field: &str, value: &Value| {
        let decoded = value.as_str().filter(|_| field == "data").and_then(|text| STANDARD.decode(text).ok());
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map_or_else(|| value.clone(), Value::from)
    };
    walked(object, false, &mut { text }).unwrap_or_else(|| object.clone())
}

/// Lengths in place of values for objects that are compared: values that differ are shown differently.
#[derive(Debug, Default)]
pub struct Veil {
    /// The values of each length, by their fields.
    seen: HashMap<String, Vec<(String, Value)>>,
}

impl Veil {
    /// The object without values of Secrets; as it is where it holds none.
    pub fn over(&mut self, object: &Value) -> Value {
        walked(object, true, &mut |field, value| Value::from(self.word(field, value))).unwrap_or_else(|| object.clone())
    }

    /// `7 bytes` for the first value of that length, `7 bytes (value 2)` for another.
    fn word(&mut self, field: &str, value: &Value) -> String {
        let length = length(field, value);
        let known = self.seen.entry(length.clone()).or_default();
        let place = known.iter().position(|(name, held)| name == field && held == value).unwrap_or_else(|| {
            known.push((field.to_owned(), value.clone()));
            known.len() - 1
        });
        if place == 0 { length } else { format!("{length} (value {})", place + 1) }
    }
}

/// What is put in place of a field's value.
type Put<'a> = &'a mut dyn FnMut(&str, &Value) -> Value;

/// The object with its Secrets' values, and those in CEL, replaced; `None` where there are none.
fn walked(object: &Value, in_cel: bool, put: Put<'_>) -> Option<Value> {
    let mut out = object.clone();
    let in_cel = in_cel && makes_secret(object);
    if !walk(&mut out, in_cel, put) {
        return None;
    }
    // Tools keep copies of the whole object. Those of a Secret have been replaced.
    if !is_secret(object) {
        of_copies(&mut out, put);
    }
    Some(out)
}

/// Whether something in it is a Secret's value.
fn walk(value: &mut Value, in_cel: bool, put: Put<'_>) -> bool {
    if let Value::Array(items) = value {
        return items.iter_mut().fold(false, |any, item| walk(item, in_cel, put) | any);
    }
    let is_secret = is_secret(value);
    let mut any = is_secret && of_manifest(value, put);
    let Value::Object(members) = value else { return false };
    for (name, member) in members.iter_mut().filter(|(name, _)| !is_secret || !VALUES.contains(&name.as_str())) {
        match member {
            Value::String(text) if in_cel && name == "expression" => {
                if let Some(veiled) = cel::veiled(text, put) {
                    (*text, any) = (veiled, true);
                }
            }
            member => any |= walk(member, in_cel, put),
        }
    }
    any
}

/// Whether this is a Secret, or a rule that makes one. Kyverno takes a rule without a version, too.
fn is_secret(object: &Value) -> bool {
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    text("kind") == Some("Secret") && matches!(text("apiVersion"), None | Some("" | "v1"))
}

/// Whether an expression in the object names the kind Secret.
fn makes_secret(object: &Value) -> bool {
    match object {
        Value::Array(items) => items.iter().any(makes_secret),
        Value::Object(members) => members.iter().any(|(name, member)| match member {
            Value::String(text) => name == "expression" && cel::names(text, "Secret"),
            member => makes_secret(member),
        }),
        _ => false,
    }
}

/// Replaces the values of a Secret; whether there are any.
fn of_manifest(object: &mut Value, put: Put<'_>) -> bool {
    let mut any = false;
    for field in VALUES {
        match object.get_mut(field) {
            // Of a generate rule, `data` is the manifest.
            Some(template) if field == "data" && is_template(template) => any |= of_manifest(template, put),
            Some(Value::Object(values)) => {
                any |= !values.is_empty();
                values.iter_mut().for_each(|(_, held)| *held = put(field, held));
            }
            // No API server serves this; what it holds is not known.
            Some(other) if !other.is_null() => (*other, any) = (put(field, other), true),
            _ => {}
        }
    }
    of_copies(object, put) | any
}

fn is_template(data: &Value) -> bool {
    ["data", "stringData", "metadata"].iter().any(|field| data.get(field).is_some_and(Value::is_object))
}

fn of_copies(object: &mut Value, put: Put<'_>) -> bool {
    let mut any = false;
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    for (name, held) in annotations.into_iter().flatten().filter(|(name, _)| COPIES.contains(&name.as_str())) {
        (*held, any) = (put(name, held), true);
    }
    any
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
        let shown = veiled(&secret("hunter2")).unwrap();
        assert_eq!(shown["data"], json!({"tls.key": "7 bytes", "broken": "8 bytes, not base64"}));
        assert_eq!(shown["stringData"], json!({"password": "7 bytes"}));
        let annotations = &shown["metadata"]["annotations"];
        assert!(annotations[COPIES[0]].as_str().unwrap().ends_with(" bytes") && annotations["team"] == "web", "{annotations}");
        let odd = veiled(&json!({"kind": "Secret", "data": "x", "stringData": [1]})).unwrap();
        assert_eq!(odd, json!({"kind": "Secret", "data": "1 byte, not base64", "stringData": "not text"}));
    }

    #[test]
    fn revealed_it_reads_as_what_it_is() {
        let shown = revealed(&secret("hunter2"));
        assert_eq!(shown["data"], json!({"tls.key": "hunter2", "broken": "%hunter2"}));
        assert_eq!(shown["metadata"], secret("hunter2")["metadata"]);
        let bytes = revealed(&json!({"kind": "Secret", "apiVersion": "v1", "data": {"bytes": "//79"}}));
        assert_eq!(bytes["data"]["bytes"], "//79", "what is no text stays base64");
    }

    #[test]
    fn only_secrets_are_secrets() {
        assert!(veiled(&secret("x")).is_some());
        for (api_version, kind) in [("v1", "ConfigMap"), ("example.com/v1", "Secret"), ("v1", "secret")] {
            let object =
                json!({"apiVersion": api_version, "kind": kind, "data": {"a": "b"}, "spec": {"expression": "{\"data\": {\"a\": \"b\"}}"}});
            assert_eq!(veiled(&object), None, "{api_version} {kind}");
            assert_eq!(revealed(&object), object);
        }
        let report = json!({"kind": "PolicyReport", "results": [{"resources": [{"apiVersion": "v1", "kind": "Secret", "name": "s"}]}]});
        assert_eq!(veiled(&report), None, "a reference holds no values");
    }

    /// A policy with a generate rule, as it was applied.
    fn policy(generate: &Value) -> Value {
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p", "annotations": {COPIES[0]: generate.to_string()}},
            "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Namespace"]}}]}, "generate": generate}]}})
    }

    #[test]
    fn the_secret_of_a_generate_rule_is_one() {
        let values = json!({"data": {"a": STANDARD.encode("hunter2")}, "stringData": {"b": "hunter2"}});
        let manifest = json!({"kind": "Secret", "metadata": {"labels": {"team": "web"}}, "type": "Opaque", "data": values["data"], "stringData": values["stringData"]});
        for generate in [
            json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "data": manifest}),
            json!({"kind": "Secret", "name": "s", "data": values}),
            json!({"foreach": [{"list": "x", "apiVersion": "v1", "kind": "Secret", "name": "s", "data": manifest}]}),
        ] {
            let shown = veiled(&policy(&generate)).unwrap();
            let text = shown.to_string();
            assert!(!text.contains("hunter2") && !text.contains(&STANDARD.encode("hunter2")), "{text}");
            assert_eq!(text.matches("\"7 bytes\"").count(), 2, "{text}");
            let keeps = |part: &str| text.contains(part) == policy(&generate).to_string().contains(part);
            assert!(keeps("\"team\":\"web\"") && keeps("\"name\":\"s\"") && keeps("\"type\":\"Opaque\""), "{text}");
            assert!(shown["metadata"]["annotations"][COPIES[0]].as_str().unwrap().ends_with(" bytes"), "{text}");
            assert!(revealed(&policy(&generate)).to_string().contains("\"a\":\"hunter2\""));
        }
        let clone = json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "clone": {"namespace": "default", "name": "s"}});
        assert_eq!(veiled(&policy(&clone)), None, "a clone names a Secret and holds none");
    }

    #[test]
    fn values_that_differ_are_shown_differently() {
        let of = |a: &str, b: &str| json!({"kind": "Secret", "apiVersion": "v1", "stringData": {"a": a, "b": b}});
        let mut veil = Veil::default();
        assert_eq!(veil.over(&of("one", "two"))["stringData"], json!({"a": "3 bytes", "b": "3 bytes (value 2)"}));
        assert_eq!(veil.over(&of("two", "one"))["stringData"], json!({"a": "3 bytes (value 2)", "b": "3 bytes"}));
        assert_eq!(veil.over(&of("six", "four"))["stringData"], json!({"a": "3 bytes (value 3)", "b": "4 bytes"}));
        assert_eq!(veil.over(&json!({"kind": "Pod"})), json!({"kind": "Pod"}));
    }

    #[test]
    fn no_value_survives() {
        cases("no_value_survives", 500, |dice| {
            let canary = format!("cAnArY{}", dice.number());
            let mut object = secret(&canary);
            let field = *dice.of(&VALUES);
            object[field] = match dice.below(5) {
                0 => json!(canary),
                1 => json!([canary]),
                2 => json!({"a": {"b": canary}}),
                3 => json!({"data": {"a": canary}, "stringData": {"b": [canary]}}),
                _ => json!({"a": null, "b": canary}),
            };
            let object = match dice.below(4) {
                0 => object,
                1 => json!({"kind": "List", "items": [{"kind": "Pod"}, object]}),
                2 => policy(&json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "data": object})),
                _ => policy(&object),
            };
            let shown = veiled(&object).unwrap().to_string();
            assert!(!shown.contains(&canary) && !shown.contains(&STANDARD.encode(&canary)), "{shown}");
        });
    }
}
