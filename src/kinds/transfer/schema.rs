//! Fields that a server would not know, found before anything is sent.
//!
//! An unknown field is pruned without a word (unless `fieldValidation=Strict` is asked for), and what is left may mean something else: a rule's
//! `failureAction: Enforce` of Kyverno 1.13 leaves an auditing policy behind in 1.12.
//!
//! Schemas are those of CRDs (`openAPIV3Schema`, structural: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>)
//! or of `/openapi/v3`, where parts of them are references.

use super::super::Kind;
use serde_json::Value;

/// References may lead to references, but not for ever.
const DEEPEST_REFERENCE: usize = 16;

/// The schema of a version of a kind in a CRD, or in a document of `/openapi/v3`.
pub fn schema_of<'a>(document: &'a Value, kind: &Kind, version: &str) -> Option<&'a Value> {
    if let Some(versions) = document.pointer("/spec/versions").and_then(Value::as_array) {
        let found = versions.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(version))?;
        return found.pointer("/schema/openAPIV3Schema");
    }
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    let is_ours = |entry: &Value| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        text("group") == Some(kind.group) && text("kind") == Some(kind.kind) && text("version") == Some(version)
    };
    schemas.values().find(|schema| {
        let names = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(is_ours))
    })
}

/// The fields of `object` that `schema` does not know, as `spec.rules[0].validate.failureAction`, in the order of the object. `document` is
/// where the schema's references lead to.
///
/// `apiVersion`, `kind` and `metadata` are every object's, and never looked at; nor is `status`, which is not sent.
pub fn unknown_fields(object: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let members = object.as_object().into_iter().flatten();
    for (key, value) in members.filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status")) {
        walk_member(key, value, &[schema], document, key, &mut unknown);
    }
    unknown
}

/// One member of an object that `schemas` describe together.
fn walk_member(key: &str, value: &Value, schemas: &[&Value], document: &Value, path: &str, unknown: &mut Vec<String>) {
    let schemas: Vec<&Value> = schemas.iter().flat_map(|schema| resolved(schema, document, 0)).collect();
    let known: Vec<&Value> = schemas.iter().filter_map(|schema| member(schema, key)).collect();
    if !known.is_empty() {
        walk(value, &known, document, path, unknown);
    } else if !schemas.iter().any(|schema| takes_anything(schema)) {
        unknown.push(path.to_owned());
    }
}

/// A value that `schemas` describe together.
fn walk(value: &Value, schemas: &[&Value], document: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                walk_member(key, value, schemas, document, &format!("{path}.{key}"), unknown);
            }
        }
        Value::Array(elements) => {
            let schemas: Vec<&Value> = schemas.iter().flat_map(|schema| resolved(schema, document, 0)).collect();
            let items: Vec<&Value> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
            if items.is_empty() {
                return;
            }
            for (position, element) in elements.iter().enumerate() {
                walk(element, &items, document, &format!("{path}[{position}]"), unknown);
            }
        }
        _ => {}
    }
}

/// What describes that member of an object: its property, or what is said of all others. An `additionalProperties: true` says nothing about
/// them, so the answer is the same schema that allows everything.
fn member<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    static ANYTHING: Value = Value::Bool(true);
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(key)) {
        return Some(property);
    }
    if is_embedded(schema) && matches!(key, "apiVersion" | "kind" | "metadata") {
        return Some(&ANYTHING);
    }
    schema.get("additionalProperties").filter(|additional| additional.as_bool() != Some(false))
}

fn is_embedded(schema: &Value) -> bool {
    schema.get("x-kubernetes-embedded-resource").and_then(Value::as_bool) == Some(true)
}

/// Whether members that are not named are kept. A schema without a type, or one for `int-or-string`, says nothing about members; one that is
/// `true` or cannot be followed allows everything.
fn takes_anything(schema: &Value) -> bool {
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true);
    let either = schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true);
    let says_nothing = schema.get("type").is_none() && schema.get("properties").is_none();
    preserves || either || says_nothing
}

/// A schema with its references followed, and what `allOf` adds beside it (`/openapi/v3` writes references with a description so).
fn resolved<'a>(schema: &'a Value, document: &'a Value, depth: usize) -> Vec<&'a Value> {
    if depth > DEEPEST_REFERENCE {
        return vec![schema];
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let found = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        return found.map_or_else(|| vec![schema], |found| resolved(found, document, depth + 1));
    }
    let parts = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let described = schema.get("type").is_some() || schema.get("properties").is_some() || parts.is_empty();
    let own = described.then_some(schema);
    // In a structural schema `allOf` only adds conditions; what it describes without a type is no description of its own.
    let added = parts.iter().filter(|part| part.get("$ref").is_some() || part.get("type").is_some());
    own.into_iter().chain(added.flat_map(|part| resolved(part, document, depth + 1))).collect()
}
