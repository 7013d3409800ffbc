//! Policies as the servers have them, read in the oracle's own way.

use serde_json::{Map, Value};
use std::fmt;

/// An object in an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) environment: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}/{}", self.environment, self.plural, self.namespace, self.name)
    }
}

pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

impl Place {
    pub(crate) fn of(environment: &str, plural: &str, object: &Value) -> Self {
        Self {
            environment: environment.to_owned(),
            plural: plural.to_owned(),
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
        }
    }
}

/// What somebody wrote into an object: without what servers and controllers add.
pub(crate) fn written(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(all) = object.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"] {
            metadata.remove(field);
        }
        for marks in ["annotations", "labels"] {
            if metadata.get(marks).is_some_and(|marks| marks.as_object().is_some_and(Map::is_empty)) {
                metadata.remove(marks);
            }
        }
    }
    object
}

/// The same without what policydeck notes in annotations.
pub(crate) fn said(object: &Value) -> Value {
    let mut object = written(object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.starts_with("policydeck.dev/"));
        }
        if metadata.get("annotations").is_some_and(|marks| marks.as_object().is_some_and(Map::is_empty)) {
            metadata.remove("annotations");
        }
    }
    object
}

/// Whether everything that is in `less` is in `more`, at the same place.
pub(crate) fn holds(more: &Value, less: &Value) -> bool {
    match (more, less) {
        (Value::Object(more), Value::Object(less)) => less.iter().all(|(key, less)| more.get(key).is_some_and(|more| holds(more, less))),
        (Value::Array(more), Value::Array(less)) => more.len() == less.len() && more.iter().zip(less).all(|(more, less)| holds(more, less)),
        (more, less) => more == less,
    }
}

/// What a policy says that it does: `audit`, `enforce`, or `mixed`; of kinds that refuse nothing, nothing.
pub(crate) fn mode(object: &Value) -> &'static str {
    let mut actions: Vec<bool> = Vec::new();
    match text(object, "/kind") {
        "ClusterPolicy" | "Policy" => {
            let refuses = |word: &str| word.eq_ignore_ascii_case("enforce");
            let default = refuses(text(object, "/spec/validationFailureAction"));
            for rule in object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
                let images = rule.get("verifyImages").and_then(Value::as_array).into_iter().flatten();
                let parts = rule.get("validate").into_iter().chain(images);
                actions.extend(parts.map(|part| match part.get("failureAction").and_then(Value::as_str) {
                    Some(word) => refuses(word),
                    None => default,
                }));
                let overrides = rule.pointer("/validate/failureActionOverrides").and_then(Value::as_array).into_iter().flatten();
                actions.extend(overrides.map(|one| refuses(text(one, "/action"))));
            }
            let overrides = object.pointer("/spec/validationFailureActionOverrides").and_then(Value::as_array).into_iter().flatten();
            actions.extend(overrides.map(|one| refuses(text(one, "/action"))));
        }
        "ValidatingPolicy" | "NamespacedValidatingPolicy" | "ImageValidatingPolicy" | "NamespacedImageValidatingPolicy" => {
            let words = object.pointer("/spec/validationActions").and_then(Value::as_array).filter(|words| !words.is_empty());
            actions.push(words.is_none_or(|words| words.iter().any(|word| word == "Deny")));
        }
        _ => return "",
    }
    match (actions.contains(&true), actions.contains(&false)) {
        (true, true) => "mixed",
        (true, false) => "enforce",
        (false, true) => "audit",
        (false, false) => "",
    }
}

/// How much of it can refuse something.
pub(crate) fn strength(object: Option<&Value>) -> u8 {
    match object.map(mode) {
        Some("enforce") => 2,
        Some("mixed") => 1,
        _ => 0,
    }
}

/// The plural of the kinds that operations know.
pub(crate) fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    }
}
