//! Changing an object by JSON Patch, so that only what is meant changes and only where it was expected.
//!
//! What lives here: a patch (RFC 6902) and the object it leads to, made together. What does not: which fields to change.
//!
//! Lists of Kyverno's kinds (`spec.rules` above all) are atomic: a merge patch or an apply replaces them whole. A JSON Patch reaches into
//! them, and its `test` operations, which come first, refuse if somebody changed the place in the meantime.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use serde_json::{Map, Value};
use std::fmt;

/// A path that leads through something that is neither an object nor a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The path, as a JSON pointer.
    pub path: String,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be changed: what is above it has another shape than Kubernetes gives it", self.path)
    }
}

impl std::error::Error for Misshapen {}

/// A change of one object under way.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    before: &'a Value,
    after: Value,
    tests: Vec<PatchOperation>,
    changes: Vec<PatchOperation>,
}

impl<'a> Edit<'a> {
    /// Begins with the object as it is.
    pub fn of(object: &'a Value) -> Self {
        Self { before: object, after: object.clone(), tests: Vec::new(), changes: Vec::new() }
    }

    /// The object with all changes so far.
    pub fn after(&self) -> &Value {
        &self.after
    }

    /// The value at `path` as it is by now; the path may lead through lists. `null` counts as missing.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        find(&self.after, path).filter(|value| !value.is_null())
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Lets the patch hold only where the value at `path` is still what it was. What was missing cannot be tested for: there the object's
    /// `resourceVersion` has to hold.
    pub fn pin(&mut self, path: &[&str]) {
        let Some(value) = find(self.before, path) else { return };
        let test = PatchOperation::Test(TestOperation { path: pointer(path), value: value.clone() });
        if !self.tests.contains(&test) {
            self.tests.push(test);
        }
    }

    /// Puts `value` at `path`, making the objects above it where there are none. Does nothing where it already stands there.
    pub fn put(&mut self, path: &[&str], value: Value) -> Result<(), Misshapen> {
        if find(&self.after, path) == Some(&value) {
            return Ok(());
        }
        self.pin(path);
        let present = deepest(&self.after, path);
        if present == path.len() {
            self.apply(PatchOperation::Replace(ReplaceOperation { path: pointer(path), value }))
        } else {
            // From the inside out: what is missing above becomes an object that holds the rest.
            let missing = path.get(present + 1..).unwrap_or_default();
            let whole = missing.iter().rev().fold(value, |inner, key| Value::Object(Map::from_iter([((*key).to_owned(), inner)])));
            let top = path.get(..=present).unwrap_or(path);
            self.apply(PatchOperation::Add(AddOperation { path: pointer(top), value: whole }))
        }
    }

    /// Removes the value at `path`, if there is one.
    pub fn remove(&mut self, path: &[&str]) -> Result<(), Misshapen> {
        if find(&self.after, path).is_none() {
            return Ok(());
        }
        self.pin(path);
        self.apply(PatchOperation::Remove(RemoveOperation { path: pointer(path) }))
    }

    /// The patch, tests first, and the object it leads to.
    pub fn finish(self) -> (Patch, Value) {
        if self.changes.is_empty() {
            return (Patch(Vec::new()), self.after);
        }
        (Patch(self.tests.into_iter().chain(self.changes).collect()), self.after)
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), Misshapen> {
        let path = operation.path().to_string();
        json_patch::patch(&mut self.after, std::slice::from_ref(&operation)).map_err(|_| Misshapen { path })?;
        self.changes.push(operation);
        Ok(())
    }
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

/// The value at `path`. `null` is there: a test has to name it.
fn find<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(elements) => elements.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

/// How many steps of `path` exist. A `null` above the end counts as missing, as it does for the API server.
fn deepest(value: &Value, path: &[&str]) -> usize {
    let exists = |length: &usize| {
        let found = path.get(..*length).and_then(|part| find(value, part));
        found.is_some_and(|found| *length == path.len() || !found.is_null())
    };
    (0..=path.len()).rev().find(exists).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edited(before: &Value, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Misshapen>) -> (Value, Value) {
        let mut edit = Edit::of(before);
        change(&mut edit).unwrap();
        let (patch, after) = edit.finish();
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, after, "the patch leads to what it says");
        (serde_json::to_value(&patch).unwrap(), after)
    }

    #[test]
    fn what_stands_there_is_tested_and_replaced() {
        let before = json!({"spec": {"rules": [{"name": "a", "x/y": 1}]}});
        let (patch, after) = edited(&before, |edit| {
            edit.pin(&["spec", "rules", "0", "name"]);
            edit.put(&["spec", "rules", "0", "x/y"], json!(2))
        });
        assert_eq!(after, json!({"spec": {"rules": [{"name": "a", "x/y": 2}]}}));
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/spec/rules/0/name", "value": "a"},
                {"op": "test", "path": "/spec/rules/0/x~1y", "value": 1},
                {"op": "replace", "path": "/spec/rules/0/x~1y", "value": 2},
            ])
        );
    }

    #[test]
    fn what_is_missing_above_is_made() {
        for before in [json!({"spec": {}}), json!({"spec": {"evaluation": null}})] {
            let (patch, after) = edited(&before, |edit| edit.put(&["spec", "evaluation", "admission", "enabled"], json!(false)));
            assert_eq!(after, json!({"spec": {"evaluation": {"admission": {"enabled": false}}}}));
            assert_eq!(patch, json!([{"op": "add", "path": "/spec/evaluation", "value": {"admission": {"enabled": false}}}]));
        }
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_for_nothing() {
        let before = json!({"a": 1, "b": 2});
        let (patch, after) = edited(&before, |edit| {
            edit.pin(&["b"]);
            edit.put(&["a"], json!(1))?;
            edit.remove(&["c"])
        });
        assert_eq!((patch, &after), (json!([]), &before));
        let (patch, after) = edited(&before, |edit| {
            edit.put(&["a"], json!(2))?;
            edit.put(&["a"], json!(3))?;
            edit.remove(&["b"])
        });
        assert_eq!(after, json!({"a": 3}));
        assert_eq!(patch.as_array().unwrap().len(), 5, "{patch}");
        assert_eq!(patch[0], json!({"op": "test", "path": "/a", "value": 1}));
    }

    #[test]
    fn a_text_where_an_object_belongs_is_refused() {
        let before = json!({"spec": "text"});
        let refused = Edit::of(&before).put(&["spec", "admission"], json!(true)).unwrap_err();
        assert_eq!(refused.path, "/spec/admission");
    }
}
