//! What a step writes to an object, all of it: a created object as YAML, an updated one as a unified diff.
//!
//! Holds the text that every preview shows; of the values of Secrets, the lengths. Not here: drawing it, comparing objects ([`super::diff`]).

use super::diff::{self, unified};
use super::plan::{Step, Verb};
use crate::kinds::transfer::OURS;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where a plan may write annotations of its own.
const PLACES: [&str; 2] = ["annotations", "labels"];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How the text is to be read.
    pub form: Form,
    /// Line by line; empty where nothing changes.
    pub full: Vec<String>,
    /// The same without our own annotations; `None` where that leaves nothing out.
    pub folded: Option<Folded>,
}

/// How the text of a step is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole object as YAML.
    Created,
    /// A unified diff, without the names of both sides.
    Updated,
}

/// The text without our own annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Line by line.
    pub lines: Vec<String>,
    /// What is left out: `policydeck annotations: at, by, plan`.
    pub left_out: String,
}

impl Written {
    /// What a step writes; `None` where there is no object afterwards, or it goes into a commit's files.
    pub fn of(step: &Step) -> Option<Self> {
        match (&step.verb, &step.before, &step.after) {
            (Verb::Create { manifest }, ..) => Some(Self::created(manifest)),
            (Verb::Patch { .. } | Verb::Replace { .. }, Some(before), Some(after)) => Some(Self::updated(before, after)),
            _ => None,
        }
    }

    fn created(manifest: &Value) -> Self {
        let shown = |manifest: &Value| diff::shown(manifest).lines().map(str::to_owned).collect();
        let ours = ours(None, Some(manifest));
        let folded = (!ours.is_empty()).then(|| Folded { lines: shown(&without_ours(manifest)), left_out: left_out(&ours) });
        Self { form: Form::Created, full: shown(manifest), folded }
    }

    fn updated(before: &Value, after: &Value) -> Self {
        let shown = |before: &Value, after: &Value| -> Vec<String> {
            unified(Some(before), Some(after), "").lines().skip(2).map(str::to_owned).collect()
        };
        let ours = ours(Some(before), Some(after));
        let rest = if ours.is_empty() { Vec::new() } else { shown(&without_ours(before), &without_ours(after)) };
        // Where nothing else changes, ours is what there is to see.
        let folded = (!rest.is_empty()).then(|| Folded { lines: rest, left_out: left_out(&ours) });
        Self { form: Form::Updated, full: shown(before, after), folded }
    }
}

fn left_out(ours: &BTreeSet<String>) -> String {
    let names: Vec<&str> = ours.iter().map(String::as_str).collect();
    format!("policydeck annotations: {}", names.join(", "))
}

fn members<'a>(object: Option<&'a Value>, place: &str) -> Option<&'a Map<String, Value>> {
    object?.get("metadata")?.get(place)?.as_object()
}

/// What of ours differs, without the part of the names that is the same for all.
fn ours(before: Option<&Value>, after: Option<&Value>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for place in PLACES {
        let (old, new) = (members(before, place), members(after, place));
        let keys = old.into_iter().chain(new).flat_map(Map::keys).filter(|key| key.starts_with(OURS));
        let differs = |key: &&String| old.and_then(|old| old.get(*key)) != new.and_then(|new| new.get(*key));
        names.extend(keys.filter(differs).map(|key| key[OURS.len()..].to_owned()));
    }
    names
}

fn without_ours(object: &Value) -> Value {
    let mut object = object.clone();
    for place in PLACES {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { continue };
        let Some(members) = metadata.get_mut(place).and_then(Value::as_object_mut) else { continue };
        members.retain(|key, _| !key.starts_with(OURS));
        if members.is_empty() {
            metadata.remove(place);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ours_is_what_differs_and_nothing_of_it_is_left() {
        let before = json!({"metadata": {"annotations": {"policydeck.dev/by": "ana", "policydeck.dev/at": "1", "team": "a"}}});
        let after =
            json!({"metadata": {"annotations": {"policydeck.dev/by": "ana", "policydeck.dev/at": "2", "policydeck.dev/plan": "x"}}});
        assert_eq!(ours(Some(&before), Some(&after)), BTreeSet::from(["at".to_owned(), "plan".to_owned()]));
        assert_eq!(ours(None, Some(&after)).len(), 3);
        assert_eq!(without_ours(&before), json!({"metadata": {"annotations": {"team": "a"}}}));
        assert_eq!(without_ours(&after), json!({"metadata": {}}));
        assert_eq!(without_ours(&json!(null)), json!(null));
    }

    #[test]
    fn a_long_value_is_whole_and_only_ours_is_folded() {
        let long = format!("{} tail", "deny ".repeat(80));
        let object = |message: &str| {
            json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p",
                "annotations": {"policydeck.dev/by": message, "team": "a"}}, "spec": {"rules": [{"name": "r", "validate": {"message": message}}]}})
        };
        let words =
            |lines: &[String]| lines.join(" ").split_whitespace().filter(|word| *word == "deny" || word.starts_with("tail")).count();
        let created = Written::created(&object(&long));
        let folded = created.folded.unwrap();
        assert_eq!((words(&folded.lines), words(&created.full)), (81, 162));
        assert_eq!(folded.left_out, "policydeck annotations: by");
        let updated = Written::updated(&object("short"), &object(&long));
        assert_eq!(words(&updated.folded.unwrap().lines), 81);
        assert!(Written::updated(&object("a"), &object("a")).full.is_empty());
    }
}
