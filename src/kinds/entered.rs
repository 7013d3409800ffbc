//! Since when a policy is what it is, as far as the object itself tells: the answer that gates use.
//!
//! What lives here: which of an object's words counts. What does not: reading them (`authorship`), what was seen to happen (history), which goes first.

use super::authorship::{AT, Told};
use crate::domain::Entered;
use serde_json::Value;

/// When the spec may have changed last; `None` where nothing tells. It may be told as later than it was, never as earlier.
pub(super) fn entered(object: &Value) -> Option<Entered> {
    match Told::by(object) {
        Told { ours: Some((at, by)), .. } => {
            Some(Entered { at, source: format!("annotation {AT}"), actor: by.unwrap_or_else(|| "policydeck".to_owned()) })
        }
        Told { written: Some((at, manager)), .. } => {
            let actor = if manager.is_empty() { "somebody".to_owned() } else { manager };
            Some(Entered { at, source: format!("managedFields of {actor}"), actor })
        }
        Told { created, .. } => created.map(|at| Entered { at, source: "creationTimestamp".to_owned(), actor: String::new() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manager(name: &str, time: &str, fields: &Value) -> Value {
        json!({"manager": name, "operation": "Update", "time": time, "fieldsV1": fields})
    }

    fn of(metadata: &Value) -> Option<(String, String)> {
        entered(&json!({"metadata": metadata})).map(|entered| (entered.at.to_string(), entered.source))
    }

    fn said(at: &str, source: &str) -> (String, String) {
        (at.to_owned(), source.to_owned())
    }

    #[test]
    fn the_last_manager_of_the_spec_counts() {
        let spec = json!({"f:spec": {"f:validationFailureAction": {}}});
        let fields = [
            manager("helm", "2026-11-01T00:00:00Z", &spec),
            manager("kubectl-edit", "2026-11-05T00:00:00Z", &spec),
            manager("kyverno", "2026-11-09T00:00:00Z", &json!({"f:status": {}})),
            manager("labeller", "2026-11-08T00:00:00Z", &json!({"f:metadata": {}})),
        ];
        assert_eq!(of(&json!({"managedFields": fields})), Some(said("2026-11-05T00:00:00Z", "managedFields of kubectl-edit")));
    }

    #[test]
    fn our_annotation_counts_unless_somebody_wrote_after_it() {
        let with = |time: &str| {
            let fields = [manager("policydeck", time, &json!({"f:spec": {}}))];
            of(&json!({"managedFields": fields, "annotations": {AT: "2026-11-05T00:00:00Z"}}))
        };
        assert_eq!(with("2026-11-05T00:00:02Z"), Some(said("2026-11-05T00:00:00Z", "annotation policydeck.dev/at")));
        assert_eq!(with("2026-11-05T01:00:00Z"), Some(said("2026-11-05T01:00:00Z", "managedFields of policydeck")));
    }

    #[test]
    fn without_either_only_an_object_that_never_changed_tells() {
        let created = |generation: i64| of(&json!({"generation": generation, "creationTimestamp": "2026-11-01T00:00:00Z"}));
        assert_eq!(created(1), Some(said("2026-11-01T00:00:00Z", "creationTimestamp")));
        assert_eq!(created(2), None);
        assert_eq!(of(&json!({"annotations": {AT: "yesterday"}})), None);
    }
}
