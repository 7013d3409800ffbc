//! Since when a policy is what it is, as far as the object itself tells.
//!
//! What lives here: reading our annotation, managedFields and the creation time. What does not: what was seen to happen (history), which goes first.

use super::json;
use crate::domain::Entered;
use jiff::SignedDuration;
use serde_json::Value;

/// When an operation of ours wrote the policy; RFC 3339.
const AT: &str = "policydeck.dev/at";
/// managedFields have whole seconds, and the annotation is made before the write.
const SAME_WRITE: SignedDuration = SignedDuration::from_secs(60);

/// When the spec may have changed last; `None` where nothing tells.
///
/// A field manager's time is that of its last write of anything it owns (kubernetes apimachinery `managedfields`), so this may be later than the last
/// change of the mode, and is never earlier. Who forced a field away from another manager owns it now and counts.
pub(super) fn entered(object: &Value) -> Option<Entered> {
    let written = last_write_of_spec(object);
    let ours = annotated(object);
    match (ours, written) {
        (Some(ours), Some(written)) if written.at.duration_since(ours.at) > SAME_WRITE => Some(written),
        (Some(ours), _) => Some(ours),
        (None, Some(written)) => Some(written),
        (None, None) => created(object),
    }
}

fn last_write_of_spec(object: &Value) -> Option<Entered> {
    let entries = json::get(object, &["metadata", "managedFields"])?.as_array()?;
    let spec = |entry: &&Value| {
        json::get(entry, &["fieldsV1", "f:spec"]).is_some() && json::text(entry, &["subresource"]).is_none_or(str::is_empty)
    };
    let read = |entry: &Value| {
        let manager = json::text(entry, &["manager"]).unwrap_or("somebody").to_owned();
        let at = json::text(entry, &["time"])?.parse().ok()?;
        Some(Entered { at, source: format!("managedFields of {manager}"), actor: manager })
    };
    entries.iter().filter(spec).filter_map(read).max_by_key(|entered| entered.at)
}

fn annotated(object: &Value) -> Option<Entered> {
    let annotation = |key: &str| json::text(object, &["metadata", "annotations", key]);
    let at = annotation(AT)?.parse().ok()?;
    let actor = annotation("policydeck.dev/by").unwrap_or("policydeck").to_owned();
    Some(Entered { at, source: format!("annotation {AT}"), actor })
}

/// The creation time of an object that was never changed.
fn created(object: &Value) -> Option<Entered> {
    let generation = json::get(object, &["metadata", "generation"]).and_then(Value::as_i64);
    let at = json::text(object, &["metadata", "creationTimestamp"])?.parse().ok()?;
    (generation == Some(1)).then(|| Entered { at, source: "creationTimestamp".to_owned(), actor: String::new() })
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
