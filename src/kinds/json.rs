//! Tolerant access to JSON values: what is missing or of another type reads as absent.
//!
//! What lives here: paths into values. What does not: any knowledge of a kind.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// The value at `path`; `null` counts as missing, as it does for the API server.
pub(super) fn get<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

/// The string at `path`.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    get(value, path)?.as_str()
}

/// The string at `path`, empty where there is none.
pub(super) fn text_or_empty(value: &Value, path: &[&str]) -> String {
    text(value, path).unwrap_or_default().to_owned()
}

/// The boolean at `path`.
pub(super) fn flag(value: &Value, path: &[&str]) -> Option<bool> {
    get(value, path)?.as_bool()
}

/// The elements of the list at `path`.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings in the list at `path`; anything else in it is left out.
pub(super) fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    list(value, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The string members of the object at `path`; anything else in it is left out.
pub(super) fn text_map(value: &Value, path: &[&str]) -> BTreeMap<String, String> {
    let members = get(value, path).and_then(Value::as_object);
    members.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The time at `path` (RFC 3339, with or without fractions).
pub(super) fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path)?.parse().ok()
}
