//! How objects are shown: whole, metadata only, or as rows of a table; one by one or as a list.
//!
//! Not here: choosing the objects (`super::read`).

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalog::{Column, Resource};
use super::request::{Include, Shape};
use super::store::Handle;

/// What a list says about itself.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) version: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn json(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.version.to_string()});
        if let Some(next) = &self.next {
            meta["continue"] = Value::from(next.as_str());
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = Value::from(remaining);
        }
        meta
    }
}

/// One object for a client that asked for `version`.
pub(crate) fn object(resource: &Resource, version: &str, shape: Shape, value: &Handle) -> Bytes {
    match shape {
        Shape::Whole if version == resource.preferred() => value.json(),
        Shape::Whole => Bytes::from(relabelled(resource, version, &value.value).to_string()),
        Shape::Partial => Bytes::from(partial(&value.value).to_string()),
        Shape::Table(include) => {
            let meta = ListMeta { version: value.version, ..ListMeta::default() };
            let rows = vec![row(resource, version, include, &value.value)];
            Bytes::from(table(resource, &meta, &rows).to_string())
        }
    }
}

/// A value that is not stored (a dry run's result).
pub(crate) fn loose(resource: &Resource, version: &str, shape: Shape, value: &Value) -> Bytes {
    let handle = std::sync::Arc::new(super::store::Object::new(value.clone(), 0));
    object(resource, version, shape, &handle)
}

/// A whole list.
pub(crate) fn list(resource: &Resource, version: &str, shape: Shape, meta: &ListMeta, items: &[Handle]) -> Bytes {
    match shape {
        Shape::Whole => whole_list(resource, version, meta, items),
        Shape::Partial => {
            let items: Vec<Value> = items.iter().map(|item| partial(&item.value)).collect();
            Bytes::from(
                json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": meta.json(), "items": items,
                })
                .to_string(),
            )
        }
        Shape::Table(include) => {
            let rows: Vec<Value> = items.iter().map(|item| row(resource, version, include, &item.value)).collect();
            Bytes::from(table(resource, meta, &rows).to_string())
        }
    }
}

/// Joins the objects' ready-made JSON. Kinds from CRDs list their items before kind and metadata, as the real
/// server's unstructured lists do: a streaming reader must not count on the version coming first.
fn whole_list(resource: &Resource, version: &str, meta: &ListMeta, items: &[Handle]) -> Bytes {
    let (kind, api, meta) = (format!("{}List", resource.kind), resource.api_version(version), meta.json().to_string());
    let mut out = BytesMut::new();
    if resource.builtin {
        out.extend_from_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api}\",\"metadata\":{meta},\"items\":[").as_bytes());
    } else {
        out.extend_from_slice(format!("{{\"apiVersion\":\"{api}\",\"items\":[").as_bytes());
    }
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(&object(resource, version, Shape::Whole, item));
    }
    if resource.builtin {
        out.extend_from_slice(b"]}\n");
    } else {
        out.extend_from_slice(format!("],\"kind\":\"{kind}\",\"metadata\":{meta}}}\n").as_bytes());
    }
    out.freeze()
}

/// The object under another served version: conversion "None" only relabels it.
pub(crate) fn relabelled(resource: &Resource, version: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["apiVersion"] = Value::from(resource.api_version(version));
    value
}

fn partial(value: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]})
}

fn default_columns() -> Vec<Column> {
    vec![Column::from(("Age".to_owned(), "date".to_owned(), ".metadata.creationTimestamp".to_owned()))]
}

fn columns(resource: &Resource) -> Vec<Column> {
    if resource.columns.is_empty() { default_columns() } else { resource.columns.clone() }
}

fn table(resource: &Resource, meta: &ListMeta, rows: &[Value]) -> Value {
    let mut definitions = vec![json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0, "description": "Name of the object",
    })];
    for column in columns(resource) {
        // Ages are rendered by the server, so the column's type is what the cell holds.
        let kind = if column.kind == "date" { "string" } else { column.kind.as_str() };
        definitions.push(json!({
            "name": column.name, "type": kind, "format": "", "priority": 0, "description": column.path,
        }));
    }
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta.json(),
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn row(resource: &Resource, version: &str, include: Include, value: &Value) -> Value {
    let mut cells = vec![value["metadata"]["name"].clone()];
    for column in columns(resource) {
        let found = at_path(value, &column.path).cloned().unwrap_or(Value::Null);
        cells.push(match (column.kind.as_str(), found) {
            ("date", Value::String(time)) => Value::from(age(&time)),
            ("string", Value::Bool(yes)) => Value::from(yes.to_string()),
            (_, found) => found,
        });
    }
    let mut row = json!({"cells": cells});
    match include {
        Include::Nothing => row["object"] = Value::Null,
        Include::Metadata => row["object"] = partial(value),
        Include::Object => row["object"] = relabelled(resource, version, value),
    }
    row
}

/// The JSONPath subset of printer columns: `.a.b` and `[?(@.k == "v")]`.
fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = value;
    for part in path.split_inclusive(']') {
        if let Some((head, filter)) = part.split_once("[?(@.") {
            let (key, wanted) = filter.split_once(" == ")?;
            let wanted = wanted.trim_end_matches(")]").trim_matches('"');
            for name in head.split('.').filter(|name| !name.is_empty()) {
                at = at.get(name)?;
            }
            at = at.as_array()?.iter().find(|item| item.get(key).and_then(Value::as_str) == Some(wanted))?;
        } else {
            for name in part.split('.').filter(|name| !name.is_empty()) {
                at = at.get(name)?;
            }
        }
    }
    Some(at)
}

/// `5m`, `3h`, `12d`: short enough for a table.
fn age(time: &str) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = Timestamp::now().duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A bookmark in the shape of the watch it is sent on.
pub(crate) fn bookmark(resource: &Resource, version: &str, shape: Shape, at: u64, initial_end: bool) -> Value {
    let mut metadata = json!({"resourceVersion": at.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    match shape {
        Shape::Whole => {
            json!({"kind": resource.kind, "apiVersion": resource.api_version(version), "metadata": metadata})
        }
        Shape::Partial => partial(&json!({"metadata": metadata})),
        Shape::Table(_) => {
            let meta = ListMeta { version: at, ..ListMeta::default() };
            table(resource, &meta, &[json!({"cells": [], "object": partial(&json!({"metadata": metadata}))})])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_paths() {
        let value =
            json!({"status": {"conditions": [{"type": "A", "status": "x"}, {"type": "Ready", "status": "True"}]}, "summary": {"fail": 3}});
        assert_eq!(at_path(&value, ".status.conditions[?(@.type == \"Ready\")].status"), Some(&json!("True")));
        assert_eq!(at_path(&value, ".summary.fail"), Some(&json!(3)));
        assert_eq!(at_path(&value, ".summary.pass"), None);
    }
}
