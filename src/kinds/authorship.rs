//! Who wrote what a policy says and does: what an object says of its writers.
//!
//! What lives here: our annotations and `managedFields`. What does not: since when a policy is what it is (`entered`), what was recorded (`domain::history`).

use super::json;
use jiff::Timestamp;
use serde_json::Value;

/// Our annotation with the time of the operation that wrote the object last.
pub(super) const AT: &str = "policydeck.dev/at";
/// Our annotation with who did that.
pub(super) const BY: &str = "policydeck.dev/by";
/// Our annotation with what that led to: revision, mode and generation. The time counts only for these.
pub(super) const STATE: &str = "policydeck.dev/state";

/// The name under which all our writes appear in managedFields.
pub const FIELD_MANAGER: &str = "policydeck";

/// Where the API server merges the oldest managers when there are too many, and what it calls those of objects that had none.
const MERGED: [&str; 2] = ["ancient-changes", "before-first-apply"];

/// Whether an entry of `managedFields` is of the object itself, not of a subresource.
pub(super) fn is_of_object(entry: &Value) -> bool {
    json::text(entry, &["subresource"]).is_none_or(str::is_empty)
}

/// One entry of `managedFields` of the object itself, not of a subresource.
pub(super) struct Author {
    pub(super) manager: String,
    /// When it took a field last.
    pub(super) at: Timestamp,
    apply: bool,
    /// It owns something of the spec.
    pub(super) of_spec: bool,
    annotations: Vec<String>,
    labels: Vec<String>,
}

impl Author {
    pub(super) fn name(manager: &str) -> String {
        if manager.is_empty() { "an unnamed field manager".to_owned() } else { manager.to_owned() }
    }

    /// An ordinary write: it owns what it changed. Server-side apply also owns what was so already.
    pub(super) fn is_update(&self) -> bool {
        !self.apply
    }

    pub(super) fn owns_annotation(&self, key: &str) -> bool {
        self.annotations.iter().any(|owned| owned == key)
    }

    pub(super) fn owns_label(&self, key: &str) -> bool {
        self.labels.iter().any(|owned| owned == key)
    }
}

/// The entries of `managedFields` that have a time.
pub(super) struct Writes(pub(super) Vec<Author>);

impl Writes {
    /// Reads them.
    pub(super) fn of(object: &Value) -> Self {
        let entries = json::list(object, &["metadata", "managedFields"]).iter();
        let own = entries.filter(|entry| is_of_object(entry));
        Self(own.filter_map(author).collect())
    }

    /// Whether some entries stand for several managers.
    pub(super) fn is_merged(&self) -> bool {
        self.0.iter().any(|write| MERGED.contains(&write.manager.as_str()))
    }

    /// The manager of the newest write to the spec.
    fn newest_of_spec(&self) -> Option<&Author> {
        self.0.iter().filter(|write| write.of_spec).max_by(|a, b| (a.at, &a.manager).cmp(&(b.at, &b.manager)))
    }
}

fn author(entry: &Value) -> Option<Author> {
    let owned = |of: &str| -> Vec<String> {
        let fields = json::get(entry, &["fieldsV1", "f:metadata", of]).and_then(Value::as_object);
        fields.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("f:").map(str::to_owned)).collect()
    };
    Some(Author {
        manager: json::text_or_empty(entry, &["manager"]),
        at: json::time(entry, &["time"])?,
        apply: json::text(entry, &["operation"]) == Some("Apply"),
        of_spec: json::get(entry, &["fieldsV1", "f:spec"]).is_some(),
        annotations: owned("f:annotations"),
        labels: owned("f:labels"),
    })
}

/// Who wrote the spec last, as far as the object shows: whom our annotation names, where the last write was ours, else the field manager.
pub fn author_of(object: &Value) -> Option<String> {
    let writes = Writes::of(object);
    let newest = writes.newest_of_spec();
    let by =
        json::text(object, &["metadata", "annotations", BY]).filter(|_| json::time(object, &["metadata", "annotations", AT]).is_some());
    match (newest, by) {
        (Some(write), Some(by)) if write.manager == FIELD_MANAGER => Some(by.to_owned()),
        (Some(write), _) => Some(write.manager.clone()),
        (None, by) => by.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_writer_of_the_spec() {
        let object = |annotations: &Value, managers: &[(&str, &str, &str)]| {
            let entry = |(manager, time, field): &(&str, &str, &str)| {
                let subresource = if *field == "f:status" { "status" } else { "" };
                json!({"manager": manager, "operation": "Update", "time": time, "subresource": subresource, "fieldsV1": {*field: {"f:x": {}}}})
            };
            json!({"metadata": {"annotations": annotations, "managedFields": managers.iter().map(entry).collect::<Vec<_>>()}})
        };
        let none = json!({});
        let ours = json!({AT: "2026-03-01T12:00:00Z", BY: "jane"});
        let spec = |time| ("argocd-controller", time, "f:spec");
        let status = ("kyverno", "2026-09-09T09:00:00Z", "f:status");
        let label = ("kubectl-label", "2026-05-05T00:00:00Z", "f:metadata");
        for (object, expected) in [
            (object(&none, &[spec("2026-02-02T00:00:00Z"), status, label]), Some("argocd-controller")),
            (object(&ours, &[("policydeck", "2026-03-01T12:00:01Z", "f:spec")]), Some("jane")),
            (object(&ours, &[("policydeck", "2026-03-01T12:00:01Z", "f:spec"), spec("2026-03-01T12:00:09Z")]), Some("argocd-controller")),
            (object(&ours, &[]), Some("jane")),
            (object(&none, &[label]), None),
            (object(&json!({AT: "yesterday", BY: "jane"}), &[]), None),
            (json!("nonsense"), None),
        ] {
            assert_eq!(author_of(&object).as_deref(), expected, "{object:#}");
        }
    }
}
