//! What a step would change, for a preview line by line, and as a unified diff of YAML.
//!
//! What lives here: comparing two JSON objects as somebody reads them. What does not: drawing.
//!
//! What a server writes (`status`, `metadata.managedFields`, …) is left out on both sides. Lists whose elements have names (`rules`,
//! `variables`, `matchConditions`) are compared by name, so that a rule in the middle does not change all that follow.

mod text;

pub use text::{shown, unified, yaml};

use crate::domain::clean;
use crate::kinds::secret::Veil;
use crate::kinds::transfer::bare;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The most characters of a value on one line.
const LONGEST: usize = 160;

/// What happens to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It was something else.
    Changed,
}

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What happens.
    pub change: Change,
    /// The place, e.g. `spec.rules[1 require-tag].validate.message`.
    pub path: String,
    /// What stood there, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What will stand there, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl fmt::Display for Line {
    /// `path: before → after`, `+ path: after`, `- path: before`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before.as_deref().unwrap_or_default(), self.after.as_deref().unwrap_or_default());
        match self.change {
            Change::Added => write!(f, "+ {}: {after}", self.path),
            Change::Removed => write!(f, "- {}: {before}", self.path),
            Change::Changed => write!(f, "{}: {before} → {after}", self.path),
        }
    }
}

/// How many places differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Added.
    pub added: usize,
    /// Removed.
    pub removed: usize,
    /// Changed.
    pub changed: usize,
}

/// Counts lines by what happens.
pub fn counts(lines: &[Line]) -> Counts {
    let of = |change: Change| lines.iter().filter(|line| line.change == change).count();
    Counts { added: of(Change::Added), removed: of(Change::Removed), changed: of(Change::Changed) }
}

/// The places in which two objects differ; `None` for an object that does not exist. Long values are cut. Of the values of Secrets, the lengths are shown.
pub fn diff(before: Option<&Value>, after: Option<&Value>) -> Vec<Line> {
    let mut lines = Vec::new();
    let nothing = Value::Object(Map::new());
    let mut veil = Veil::default();
    let mut side = |object: Option<&Value>| object.map_or_else(|| nothing.clone(), |object| veil.over(&bare(object)));
    compare(&side(before), &side(after), "", &mut lines);
    lines
}

fn compare(before: &Value, after: &Value, path: &str, lines: &mut Vec<Line>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(one), Value::Object(other)) => compare_members(one, other, path, lines),
        (Value::Array(one), Value::Array(other)) => compare_elements(one, other, path, lines),
        _ => lines.push(Line { change: Change::Changed, path: path.to_owned(), before: Some(short(before)), after: Some(short(after)) }),
    }
}

fn compare_members(before: &Map<String, Value>, after: &Map<String, Value>, path: &str, lines: &mut Vec<Line>) {
    let mut keys: Vec<&String> = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect();
    keys.sort();
    for key in keys {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(one), Some(other)) => compare(one, other, &place, lines),
            (None, Some(added)) => whole(Change::Added, added, &place, lines),
            (Some(removed), None) => whole(Change::Removed, removed, &place, lines),
            (None, None) => {}
        }
    }
}

fn compare_elements(before: &[Value], after: &[Value], path: &str, lines: &mut Vec<Line>) {
    if let (Some(old), Some(new)) = (names(before), names(after)) {
        compare_named(before, after, &old, &new, path, lines);
    } else if before.iter().chain(after).all(|element| !element.is_object() && !element.is_array()) {
        // Short lists of words read best whole.
        lines.push(Line {
            change: Change::Changed,
            path: path.to_owned(),
            before: Some(short(&Value::from(before))),
            after: Some(short(&Value::from(after))),
        });
    } else {
        for position in 0..before.len().max(after.len()) {
            let place = format!("{path}[{position}]");
            match (before.get(position), after.get(position)) {
                (Some(one), Some(other)) => compare(one, other, &place, lines),
                (None, Some(added)) => whole(Change::Added, added, &place, lines),
                (Some(removed), None) => whole(Change::Removed, removed, &place, lines),
                (None, None) => {}
            }
        }
    }
}

/// Elements are the same where their names are; what changes places besides is said once.
fn compare_named(before: &[Value], after: &[Value], old: &[&str], new: &[&str], path: &str, lines: &mut Vec<Line>) {
    let place = |position: usize, name: &str| format!("{path}[{position} {}]", clean(name));
    for (position, (element, name)) in after.iter().zip(new).enumerate() {
        match old.iter().position(|other| other == name).and_then(|found| before.get(found)) {
            Some(was) => compare(was, element, &place(position, name), lines),
            None => whole(Change::Added, element, &place(position, name), lines),
        }
    }
    for (position, (element, name)) in before.iter().zip(old).enumerate() {
        if !new.contains(name) {
            whole(Change::Removed, element, &place(position, name), lines);
        }
    }
    let kept = |names: &[&str], others: &[&str]| names.iter().filter(|name| others.contains(name)).copied().collect::<Vec<_>>().join(", ");
    let (was, is) = (kept(old, new), kept(new, old));
    if was != is {
        let order = |names: String| Some(cut(&clean(&names)));
        lines.push(Line { change: Change::Changed, path: format!("{path} (order)"), before: order(was), after: order(is) });
    }
}

/// The names of a list's elements, if each has one of its own.
fn names(elements: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = elements.iter().map(|element| element.get("name").and_then(Value::as_str)).collect::<Option<_>>()?;
    let unique = names.iter().enumerate().all(|(position, name)| !names.iter().skip(position + 1).any(|other| other == name));
    (unique && !names.is_empty()).then_some(names)
}

/// Something that exists on one side only: the members of an object one by one as long as these are few levels down, anything else on one line.
fn whole(change: Change, value: &Value, path: &str, lines: &mut Vec<Line>) {
    let inside = path.matches(['.', '[']).count() < 2;
    match value {
        Value::Object(members) if inside && !members.is_empty() => {
            for (key, member) in members {
                whole(change, member, &format!("{path}.{key}"), lines);
            }
        }
        Value::Array(elements) if inside && names(elements).is_some() => {
            for (position, element) in elements.iter().enumerate() {
                let name = element.get("name").and_then(Value::as_str).unwrap_or_default();
                whole(change, element, &format!("{path}[{position} {}]", clean(name)), lines);
            }
        }
        _ => {
            let text = Some(short(value));
            let (before, after) = if change == Change::Added { (None, text) } else { (text, None) };
            lines.push(Line { change, path: path.to_owned(), before, after });
        }
    }
}

/// A value on one line: texts without quotes, anything else as JSON.
fn short(value: &Value) -> String {
    match value {
        Value::String(text) => cut(&clean(text)),
        other => cut(&clean(&other.to_string())),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
