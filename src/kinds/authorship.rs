//! Who wrote what a policy says and does, and when: what an object tells of its own past.
//!
//! What lives here: our annotations, `managedFields`, generation and creation. What does not: what was seen (`domain::history`).

use super::json;
use crate::domain::history::{ChangeSource, Evidence};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Our annotation with the time of the operation that wrote the object last.
pub(super) const AT: &str = "policydeck.dev/at";
/// Our annotation with who did that.
const BY: &str = "policydeck.dev/by";

/// The name under which all our writes appear in managedFields.
pub const FIELD_MANAGER: &str = "policydeck";

/// The API server writes managedFields a moment after we have written the annotation.
const MOMENT: SignedDuration = SignedDuration::from_secs(60);

/// What an object tells of its last writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorship {
    /// Who: the annotation's name, else the field manager.
    pub actor: Option<String>,
    /// Since when spec and mode are as they are, at the latest.
    pub evidence: Option<Evidence>,
}

/// The pieces of an object's past, as it tells them.
pub(super) struct Told {
    /// When an operation of ours wrote it, unless somebody wrote to the spec after that; and who.
    pub(super) ours: Option<(Timestamp, Option<String>)>,
    /// The newest write to the spec, and the manager that made it.
    pub(super) written: Option<(Timestamp, String)>,
    /// When it was made, if its spec was never changed since.
    pub(super) created: Option<Timestamp>,
}

impl Told {
    /// Reads them from an object with its `managedFields`. A manager has one time for all its fields (Kubernetes `ManagedFieldsEntry.time`), so that what
    /// was written may be told as later than it was, never as earlier.
    pub(super) fn by(object: &Value) -> Self {
        let annotation = |key: &str| json::text(object, &["metadata", "annotations", key]);
        let written = newest_of_spec(object);
        let ours = annotation(AT).and_then(|at| at.parse::<Timestamp>().ok());
        // The annotation stays when somebody else writes afterwards, be it a moment later.
        let is_ours =
            |at: Timestamp, (written, manager): &(Timestamp, String)| manager == FIELD_MANAGER && written.duration_since(at) <= MOMENT;
        let ours = ours.filter(|at| written.as_ref().is_none_or(|written| is_ours(*at, written)));
        let is_new = json::get(object, &["metadata", "generation"]).and_then(Value::as_i64) == Some(1);
        Self {
            ours: ours.map(|at| (at, annotation(BY).map(str::to_owned))),
            created: is_new.then(|| json::time(object, &["metadata", "creationTimestamp"])).flatten(),
            written,
        }
    }
}

/// Reads it from an object with its `managedFields`. A generation of 1 says more than any other: the spec is as it was made.
pub fn authorship(object: &Value) -> Authorship {
    let Told { ours, written, created } = Told::by(object);
    let actor = ours.as_ref().and_then(|(_, by)| by.clone()).or_else(|| written.as_ref().map(|(_, manager)| manager.clone()));
    let evidence = |at, source| Evidence { at, source };
    let evidence = created
        .map(|at| evidence(at, ChangeSource::Creation))
        .or_else(|| ours.map(|(at, _)| evidence(at, ChangeSource::Annotation)))
        .or_else(|| written.map(|(at, _)| evidence(at, ChangeSource::ManagedFields)));
    Authorship { actor, evidence }
}

/// The newest write to anything in `spec`, and the manager that made it.
fn newest_of_spec(object: &Value) -> Option<(Timestamp, String)> {
    let entries = json::list(object, &["metadata", "managedFields"]).iter();
    let of_spec = entries.filter(|entry| {
        json::text(entry, &["subresource"]).is_none_or(str::is_empty) && json::get(entry, &["fieldsV1", "f:spec"]).is_some()
    });
    of_spec.filter_map(|entry| Some((json::time(entry, &["time"])?, json::text_or_empty(entry, &["manager"])))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(generation: i64, annotations: &Value, managers: &[(&str, &str, &str)]) -> Value {
        let entry = |(manager, time, field): &(&str, &str, &str)| {
            let subresource = if *field == "f:status" { "status" } else { "" };
            json!({"manager": manager, "operation": "Update", "time": time, "subresource": subresource, "fieldsV1": {*field: {"f:x": {}}}})
        };
        let managers: Vec<Value> = managers.iter().map(entry).collect();
        json!({"metadata": {"generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations, "managedFields": managers}})
    }

    fn words(object: &Value) -> String {
        let Authorship { actor, evidence } = authorship(object);
        let evidence = evidence.map_or("nothing".into(), |evidence| format!("{} {}", evidence.source.as_str(), evidence.at));
        format!("{}: {evidence}", actor.unwrap_or_default())
    }

    #[test]
    fn the_past_as_the_object_tells_it() {
        let none = json!({});
        let ours = json!({AT: "2026-03-01T12:00:00Z", BY: "jane"});
        let spec = |time| ("argocd-controller", time, "f:spec");
        let status = ("kyverno", "2026-09-09T09:00:00Z", "f:status");
        for (object, expected) in [
            (object(1, &none, &[spec("2026-01-02T00:00:00Z"), status]), "argocd-controller: creation 2026-01-01T00:00:00Z"),
            (object(3, &none, &[spec("2026-02-02T00:00:00Z"), status]), "argocd-controller: managedFields 2026-02-02T00:00:00Z"),
            (object(3, &ours, &[("policydeck", "2026-03-01T12:00:01Z", "f:spec")]), "jane: annotation 2026-03-01T12:00:00Z"),
            (object(3, &ours, &[spec("2026-03-01T12:00:09Z")]), "argocd-controller: managedFields 2026-03-01T12:00:09Z"),
            (object(3, &ours, &[spec("2026-03-02T12:00:01Z")]), "argocd-controller: managedFields 2026-03-02T12:00:01Z"),
            (object(3, &none, &[("kubectl-label", "2026-05-05T00:00:00Z", "f:metadata")]), ": nothing"),
            (object(3, &json!({AT: "yesterday"}), &[]), ": nothing"),
            (json!("nonsense"), ": nothing"),
        ] {
            assert_eq!(words(&object), expected);
        }
    }
}
