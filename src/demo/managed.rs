//! Who owns which field: `metadata.managedFields` and server-side apply (KEP-555).
//!
//! Reduced in one way: every list is atomic, which is what Kyverno's CRDs declare for `rules` and its like.
//! Not here: storing the result (`super::write`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::failure::Failure;

/// A field by the names on the way to it.
type Path = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: String,
    fields: BTreeSet<Path>,
}

/// Who writes, and how it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) time: &'a str,
}

/// Metadata the server owns; it never shows up as anybody's field.
const SERVER_METADATA: [&str; 8] =
    ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"];

fn leaves(object: &Value) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (field, value) in value.as_object().into_iter().flatten() {
                    if !SERVER_METADATA.contains(&field.as_str()) {
                        collect(value, vec![name.clone(), field.clone()], &mut out);
                    }
                }
            }
            _ => collect(value, vec![name.clone()], &mut out),
        }
    }
    out
}

fn collect(value: &Value, path: Path, out: &mut BTreeSet<Path>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let mut path = path.clone();
                path.push(name.clone());
                collect(value, path, out);
            }
        }
        _ => {
            out.insert(path);
        }
    }
}

fn at<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

fn set(object: &mut Value, path: &[String], value: Value) {
    let Some((head, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(map) = object.as_object_mut() {
        set(map.entry(head.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Removes a field and the maps that it leaves empty.
fn unset(object: &mut Value, path: &[String]) {
    let Some((head, rest)) = path.split_first() else {
        return;
    };
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if let Some(inner) = map.get_mut(head).filter(|_| !rest.is_empty()) {
        unset(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            map.remove(head);
        }
    } else {
        map.remove(head);
    }
}

/// Equal, or one inside the other: both cannot be owned in peace.
fn overlaps(a: &Path, b: &Path) -> bool {
    a.iter().zip(b).all(|(x, y)| x == y)
}

fn shown(path: &Path) -> String {
    format!(".{}", path.join("."))
}

fn read(object: &Value) -> Vec<Entry> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let string = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let mut fields = BTreeSet::new();
            from_fields(&entry["fieldsV1"], &Vec::new(), &mut fields);
            Entry {
                manager: string(entry, "manager"),
                apply: entry.get("operation").and_then(Value::as_str) == Some("Apply"),
                api_version: string(entry, "apiVersion"),
                subresource: string(entry, "subresource"),
                time: string(entry, "time"),
                fields,
            }
        })
        .collect()
}

fn from_fields(fields: &Value, path: &Path, out: &mut BTreeSet<Path>) {
    let Some(map) = fields.as_object().filter(|map| !map.is_empty()) else {
        if !path.is_empty() {
            out.insert(path.clone());
        }
        return;
    };
    for (name, inner) in map {
        if let Some(name) = name.strip_prefix("f:") {
            let mut path = path.clone();
            path.push(name.to_owned());
            from_fields(inner, &path, out);
        }
    }
}

fn write(object: &mut Value, entries: &[Entry]) {
    let list: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(|entry| {
            let mut fields = json!({});
            for path in &entry.fields {
                let path: Path = path.iter().map(|name| format!("f:{name}")).collect();
                set(&mut fields, &path, json!({}));
            }
            let mut shown = json!({
                "manager": entry.manager, "operation": if entry.apply { "Apply" } else { "Update" },
                "apiVersion": entry.api_version, "time": entry.time, "fieldsType": "FieldsV1", "fieldsV1": fields,
            });
            if !entry.subresource.is_empty() {
                shown["subresource"] = Value::from(entry.subresource.as_str());
            }
            shown
        })
        .collect();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if list.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(list));
        }
    }
}

impl Entry {
    fn of(writer: &Writer<'_>, apply: bool) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            apply,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: writer.time.to_owned(),
            fields: BTreeSet::new(),
        }
    }

    fn is(&self, writer: &Writer<'_>, apply: bool) -> bool {
        self.manager == writer.manager && self.apply == apply && self.subresource == writer.subresource
    }
}

/// Records an ordinary write: the changed fields are the writer's, and nobody else's any more.
pub(crate) fn record(old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let mut entries = old.map(read).unwrap_or_default();
    let now = leaves(new);
    let changed: BTreeSet<Path> = match old {
        None => now.clone(),
        Some(old) => now.iter().filter(|path| at(old, path) != at(new, path)).cloned().collect(),
    };
    for entry in &mut entries {
        let own = entry.is(writer, false);
        entry.fields.retain(|path| at(new, path).is_some() && (own || !changed.iter().any(|c| overlaps(c, path))));
    }
    if !changed.is_empty() {
        if !entries.iter().any(|entry| entry.is(writer, false)) {
            entries.push(Entry::of(writer, false));
        }
        for entry in entries.iter_mut().filter(|entry| entry.is(writer, false)) {
            entry.fields.retain(|path| !changed.iter().any(|c| overlaps(c, path)));
            entry.fields.extend(changed.iter().cloned());
            writer.time.clone_into(&mut entry.time);
            writer.api_version.clone_into(&mut entry.api_version);
        }
    }
    write(new, &entries);
}

/// Server-side apply: the object after it, or the conflicts with other managers.
pub(crate) fn apply(live: Option<&Value>, applied: &Value, writer: &Writer<'_>, force: bool) -> Result<Value, Failure> {
    let mut entries = live.map(read).unwrap_or_default();
    let mut merged = live.cloned().unwrap_or_else(|| applied.clone());
    let wanted = leaves(applied);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !entry.is(writer, true)) {
        let (manager, by) = (entry.manager.clone(), entry.api_version.clone());
        let operation = if entry.apply { String::new() } else { format!(" using {by}") };
        entry.fields.retain(|owned| {
            let lost = wanted.iter().any(|path| overlaps(path, owned) && at(&merged, path) != at(applied, path));
            if lost {
                conflicts.push((format!("conflict with \"{manager}\"{operation}"), shown(owned)));
            }
            !lost
        });
    }
    if !conflicts.is_empty() && !force {
        return Err(Failure::apply_conflicts(&conflicts));
    }
    let owned_before: BTreeSet<Path> =
        entries.iter().filter(|entry| entry.is(writer, true)).flat_map(|entry| entry.fields.clone()).collect();
    for path in owned_before.difference(&wanted) {
        let shared = entries.iter().any(|entry| !entry.is(writer, true) && entry.fields.contains(path));
        let covered = wanted.iter().any(|other| overlaps(other, path));
        if !shared && !covered {
            unset(&mut merged, path);
        }
    }
    for path in &wanted {
        if let Some(value) = at(applied, path) {
            set(&mut merged, path, value.clone());
        }
    }
    let before = entries.iter().find(|entry| entry.is(writer, true)).cloned();
    entries.retain(|entry| !entry.is(writer, true));
    let mut own = Entry::of(writer, true);
    own.fields = wanted;
    // An apply that changes nothing keeps its old time, so that it does not become a write.
    if let Some(before) = before.filter(|before| before.fields == own.fields && live == Some(&merged)) {
        own.time = before.time;
    }
    entries.push(own);
    write(&mut merged, &entries);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &str) -> Writer<'_> {
        Writer { manager, api_version: "kyverno.io/v1", subresource: "", time: "2026-01-01T00:00:00Z" }
    }

    #[test]
    fn owners_conflict_and_yield() {
        let mut live = json!({"metadata": {"name": "p"}, "spec": {"a": 1, "b": 2}});
        record(None, &mut live, &writer("kubectl"));
        let wish = json!({"metadata": {"name": "p"}, "spec": {"a": 5}});
        let refused = apply(Some(&live), &wish, &writer("argocd"), false).unwrap_err();
        assert_eq!(refused.code, 409);
        assert!(refused.message.contains("conflict with \"kubectl\" using kyverno.io/v1: .spec.a"), "{}", refused.message);
        let forced = apply(Some(&live), &wish, &writer("argocd"), true).unwrap();
        assert_eq!(forced["spec"], json!({"a": 5, "b": 2}));
        // Leaving a field out of the next apply removes it, since nobody else owns it.
        let gone = apply(Some(&forced), &json!({"metadata": {"name": "p"}, "spec": {"c": 1}}), &writer("argocd"), false).unwrap();
        assert_eq!(gone["spec"], json!({"b": 2, "c": 1}));
    }

    #[test]
    fn the_same_apply_twice_is_no_change() {
        let wish = json!({"metadata": {"name": "p", "labels": {"x": "y"}}, "spec": {"a": [1]}});
        let first = apply(None, &wish, &writer("m"), false).unwrap();
        let mut later = writer("m");
        later.time = "2026-01-02T00:00:00Z";
        assert_eq!(apply(Some(&first), &wish, &later, false).unwrap(), first);
    }
}
