//! Who owns which fields of an object, as `managedFields` says: whose server-side apply a write would make conflict, and how fields are given back.
//!
//! What lives here: reading and rebuilding `managedFields`. What does not: who keeps an object there (`managed_by`), who wrote it last (`authorship`).
//!
//! A write moves every field that it changes from its owner to the writer (kubernetes/kubernetes `structured-merge-diff`, `merge.Updater.Update`), and
//! writing the former value does not move it back. A server-side apply then conflicts even with its own value where the server filled in defaults:
//! `spec.rules` is one field, and with the defaults it differs from what was applied (seen on 1.36).

use super::authorship::{FIELD_MANAGER, is_of_object};
use super::json;
use crate::domain::time::rfc3339;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A manager whose next server-side apply will conflict, and the fields that it will conflict on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The manager, as it calls itself: `helm`, `kustomize-controller`.
    pub manager: String,
    /// The fields, as the server names them: `.spec.rules`.
    pub fields: Vec<String>,
}

/// The entries of `managedFields` for the object itself; what controllers write into its status is not among them.
pub fn entries(object: &Value) -> Vec<Value> {
    let all = json::list(object, &["metadata", "managedFields"]).iter();
    all.filter(|entry| is_of_object(entry)).cloned().collect()
}

/// Whose server-side apply will conflict once `live` has become `after` by a write of ours.
pub fn conflicts(live: &Value, after: &Value) -> Vec<Conflict> {
    let entries = entries(live);
    let (ours, theirs): (Vec<&Value>, Vec<&Value>) = entries.iter().partition(|entry| manager(entry) == FIELD_MANAGER);
    // What an earlier write of ours took and nobody gave back.
    let mut taken = Vec::new();
    for entry in ours {
        if let Some(fields) = entry.pointer("/fieldsV1/f:spec") {
            leaves(fields, ".spec", &mut taken);
        }
    }
    let applied = theirs.into_iter().filter(|entry| json::text(entry, &["operation"]) == Some("Apply"));
    let of = |entry: &Value| {
        let mut fields = Vec::new();
        if let Some(owned) = entry.get("fieldsV1") {
            changed(owned, Some(live), Some(after), "", &mut fields);
        }
        let applies_spec = entry.pointer("/fieldsV1/f:spec").is_some() || !fields.is_empty();
        fields.extend(taken.iter().filter(|_| applies_spec).cloned());
        fields.sort();
        fields.dedup();
        (!fields.is_empty()).then(|| Conflict { manager: manager(entry).to_owned(), fields })
    };
    applied.filter_map(of).collect()
}

/// The `managedFields` that give everything back to those who had it, as `former` ([`entries`] of before) says; `None` where there is nothing to give
/// back. What is given back counts from `at`: its value has been there only since then, and soak goes by it.
pub fn given_back(live: &Value, former: &[Value], at: Timestamp) -> Option<Vec<Value>> {
    let now = json::list(live, &["metadata", "managedFields"]);
    let same = |one: &Value, other: &Value| {
        is_of_object(one)
            && is_of_object(other)
            && ["manager", "operation", "apiVersion"].iter().all(|part| one.get(part) == other.get(part))
    };
    let mut back: Vec<Value> = former
        .iter()
        .map(|entry| match now.iter().find(|one| same(one, entry)) {
            Some(unchanged) if unchanged.get("fieldsV1") == entry.get("fieldsV1") => unchanged.clone(),
            _ => dated(entry, at),
        })
        .collect();
    let others = now.iter().filter(|entry| !former.iter().any(|one| same(one, entry)));
    back.extend(others.filter(|entry| !is_of_object(entry) || manager(entry) != FIELD_MANAGER).cloned());
    let is_same = back.len() == now.len() && now.iter().all(|entry| back.contains(entry));
    (!is_same && !former.is_empty()).then_some(back)
}

fn manager(entry: &Value) -> &str {
    json::text(entry, &["manager"]).unwrap_or_default()
}

fn dated(entry: &Value, at: Timestamp) -> Value {
    let mut entry = entry.clone();
    if let Some(members) = entry.as_object_mut() {
        members.insert("time".to_owned(), Value::from(rfc3339(at)));
    }
    entry
}

/// The fields below `path`, without those that contain others.
fn leaves(fields: &Value, path: &str, out: &mut Vec<String>) {
    if fields.as_object().is_some_and(Map::is_empty) {
        out.push(path.to_owned());
    }
    for (name, fields) in named(fields) {
        leaves(fields, &format!("{path}.{name}"), out);
    }
}

/// The fields of a set (`FieldsV1`) whose values differ between two objects.
fn changed(fields: &Value, before: Option<&Value>, after: Option<&Value>, path: &str, out: &mut Vec<String>) {
    // Items of a list are compared as a whole. Who owns a map (`.`) and no member of it loses nothing to new members.
    let is_whole = fields.as_object().is_some_and(Map::is_empty) || [before, after].into_iter().flatten().any(Value::is_array);
    if is_whole {
        if before != after {
            out.push(path.to_owned());
        }
        return;
    }
    for (name, fields) in named(fields) {
        let member = |object: Option<&Value>| object.and_then(|object| object.get(name)).cloned();
        let (before, after) = (member(before), member(after));
        changed(fields, before.as_ref(), after.as_ref(), &format!("{path}.{name}"), out);
    }
}

/// The named members of a set: `f:spec` is `spec`.
fn named(fields: &Value) -> Vec<(&str, &Value)> {
    let members = fields.as_object().map(Map::iter);
    members.into_iter().flatten().filter_map(|(key, value)| Some((key.strip_prefix("f:")?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "callers write the fields down in place")]
    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "kyverno.io/v1", "time": "2026-11-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(action: &str, message: &str, managers: &[Value]) -> Value {
        json!({"metadata": {"name": "p", "labels": {"team": "a"}, "managedFields": managers},
            "spec": {"validationFailureAction": action, "rules": [{"name": "r", "validate": {"message": message}}]}})
    }

    fn rules() -> Value {
        json!({"f:metadata": {"f:labels": {"f:team": {}}}, "f:spec": {"f:rules": {}}})
    }

    #[test]
    fn a_write_to_what_was_applied_conflicts() {
        let action = json!({"f:spec": {"f:validationFailureAction": {}}});
        let status = json!({"manager": "kyverno", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:spec": {"f:rules": {}}}});
        let helm = || entry("helm", "Apply", rules());
        for (what, managers, after, expected) in [
            ("helm applied the rules", vec![helm()], object("Audit", "new", &[]), &["helm .spec.rules"][..]),
            ("helm applied the rules only", vec![helm()], object("Enforce", "old", &[]), &[]),
            (
                "two applied",
                vec![helm(), entry("flux", "Apply", action.clone())],
                object("Enforce", "new", &[]),
                &["helm .spec.rules", "flux .spec.validationFailureAction"],
            ),
            ("kubectl create", vec![entry("kubectl-create", "Update", rules())], object("Audit", "new", &[]), &[]),
            ("a status is no matter", vec![status], object("Audit", "new", &[]), &[]),
            (
                "taken before and changed again",
                vec![entry("helm", "Apply", json!({"f:spec": {".": {}}})), entry("policydeck", "Update", rules())],
                object("Audit", "new", &[]),
                &["helm .spec.rules"],
            ),
            ("nobody", vec![], object("Audit", "new", &[]), &[]),
        ] {
            let said: Vec<String> = conflicts(&object("Audit", "old", &managers), &after)
                .into_iter()
                .map(|one| format!("{} {}", one.manager, one.fields.join(", ")))
                .collect();
            assert_eq!(said, expected, "{what}");
        }
        let relabeled = json!({"metadata": {"name": "p", "labels": {"team": "b"}}, "spec": object("Audit", "old", &[])["spec"]});
        assert_eq!(conflicts(&object("Audit", "old", &[helm()]), &relabeled)[0].fields, [".metadata.labels.team"]);
    }

    #[test]
    fn what_was_taken_is_given_back_and_counts_from_then_on() {
        let at: Timestamp = "2026-11-30T09:00:00.7Z".parse().unwrap();
        let status = json!({"manager": "kyverno", "operation": "Update", "subresource": "status", "time": "2026-11-30T08:59:00Z", "fieldsV1": {"f:status": {}}});
        let (helm, kubectl) =
            (entry("helm", "Apply", rules()), entry("kubectl-label", "Update", json!({"f:metadata": {"f:labels": {"f:x": {}}}})));
        let (less, ours) =
            (entry("helm", "Apply", json!({"f:metadata": {"f:labels": {"f:team": {}}}})), entry("policydeck", "Update", rules()));
        let back = dated(&helm, at);
        assert_eq!(back["time"], "2026-11-30T09:00:00Z");
        let with = |managers: &[Value]| object("Audit", "old", managers);
        for (what, now, former, expected) in [
            (
                "helm gets its rules",
                vec![less.clone(), ours.clone(), status.clone()],
                vec![helm.clone()],
                Some(vec![back.clone(), status.clone()]),
            ),
            ("helm lost everything", vec![ours.clone(), status.clone()], vec![helm.clone()], Some(vec![back.clone(), status.clone()])),
            ("others keep theirs", vec![less, kubectl.clone(), ours.clone()], vec![helm.clone()], Some(vec![back, kubectl.clone()])),
            ("ours of before stays ours", vec![ours.clone()], vec![ours.clone()], None),
            ("nothing was taken", vec![helm.clone(), status.clone()], vec![helm], None),
            ("nothing is known of before", vec![ours, kubectl, status], vec![], None),
        ] {
            assert_eq!(given_back(&with(&now), &former, at), expected, "{what}");
        }
    }
}
