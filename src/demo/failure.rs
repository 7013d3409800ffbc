//! What the API server refuses, as Kubernetes says it: a `Status` object with code and reason.
//!
//! Not here: errors of starting the demo itself (`super::DemoError`).

use serde_json::{Value, json};

/// A refused request; becomes a `Status` body.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    reason: &'static str,
    pub(crate) message: String,
    details: Value,
    /// Seconds for a `Retry-After` header.
    pub(crate) retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, retry_after: None }
    }

    fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// 404 for an object.
    pub(crate) fn not_found(plural: &str, group: &str, name: &str) -> Self {
        let of = qualified(plural, group);
        Self::new(404, "NotFound", format!("{of} \"{name}\" not found")).with(json!({"name": name, "group": group, "kind": plural}))
    }

    /// 404 for a path or a kind that is not served, in the words kubectl and clients look for.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn already_exists(plural: &str, group: &str, name: &str) -> Self {
        let of = qualified(plural, group);
        Self::new(409, "AlreadyExists", format!("{of} \"{name}\" already exists"))
            .with(json!({"name": name, "group": group, "kind": plural}))
    }

    pub(crate) fn conflict(plural: &str, group: &str, name: &str, why: &str) -> Self {
        let of = qualified(plural, group);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {of} \"{name}\": {why}"))
            .with(json!({"name": name, "group": group, "kind": plural}))
    }

    /// The optimistic lock's refusal.
    pub(crate) fn modified(plural: &str, group: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(plural, group, name, why)
    }

    /// 409 of server-side apply: `causes` are (message, field).
    pub(crate) fn apply_conflicts(causes: &[(String, String)]) -> Self {
        let listed: Vec<String> = causes.iter().map(|(who, field)| format!("{who}: {field}")).collect();
        let plural = if causes.len() == 1 { "" } else { "s" };
        let message = format!("Apply failed with {} conflict{plural}: {}", causes.len(), listed.join(", "));
        let causes: Vec<Value> =
            causes.iter().map(|(who, field)| json!({"reason": "FieldManagerConflict", "message": who, "field": field})).collect();
        Self::new(409, "Conflict", message).with(json!({"causes": causes}))
    }

    /// 422 with its causes: (reason, message, field).
    pub(crate) fn invalid(kind: &str, group: &str, name: &str, causes: &[(&str, String, &str)]) -> Self {
        let listed: Vec<String> = causes.iter().map(|(_, message, field)| format!("{field}: {message}")).collect();
        let shown = if listed.len() == 1 { listed.join("") } else { format!("[{}]", listed.join(", ")) };
        let of = qualified(kind, group);
        let causes: Vec<Value> =
            causes.iter().map(|(reason, message, field)| json!({"reason": reason, "message": message, "field": field})).collect();
        Self::new(422, "Invalid", format!("{of} \"{name}\" is invalid: {shown}"))
            .with(json!({"name": name, "group": group, "kind": kind, "causes": causes}))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", message)
    }

    /// 410 for versions and continue tokens that were compacted away.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// A webhook's refusal: the API server sends 400 without a reason (apiserver
    /// `pkg/admission/plugin/webhook/errors/statuserror.go`, `ToStatusErr`).
    pub(crate) fn denied(webhook: &str, why: &str) -> Self {
        Self::new(400, "", format!("admission webhook \"{webhook}\" denied the request: {why}"))
    }

    /// The version asked for is ahead of the server (seen after a restore, or when clusters are mixed up).
    pub(crate) fn too_large_version(asked: u64, current: u64) -> Self {
        let mut failure = Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {current}")).with(
            json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}),
        );
        failure.retry_after = Some(1);
        failure
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if let Value::Object(map) = &mut status {
            if !self.reason.is_empty() {
                map.insert("reason".to_owned(), Value::from(self.reason));
            }
            if !self.details.is_null() {
                map.insert("details".to_owned(), self.details.clone());
            }
        }
        status
    }
}

fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
