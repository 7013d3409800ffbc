//! PolicyException of both groups.
//!
//! Fields: Kyverno `api/kyverno/v2/policy_exception_types.go` (1.10–1.19), `config/crds/policies.kyverno.io/…_policyexceptions.yaml` (1.14–1.19).

use super::{CEL, Kind, KindId, Unreadable, json, meta::Meta};
use crate::domain::Exception;
use serde_json::Value;

/// `kyverno.io`: names policies as reports do, and patterns of rule names. It has no expiry of its own.
pub(super) fn read(kind: &Kind, object: &Value) -> Result<Exception, Unreadable> {
    let read = |entry: &Value| Some((json::text(entry, &["policyName"])?.to_owned(), json::texts(entry, &["ruleNames"])));
    let policies = json::list(object, &["spec", "exceptions"]).iter().filter_map(read).collect();
    build(kind, object, policies, None)
}

/// `policies.kyverno.io`: names policies by kind and name, and no rules. `spec.expiresAt` since 1.19.
pub(super) fn read_cel(kind: &Kind, object: &Value) -> Result<Exception, Unreadable> {
    let policies = json::list(object, &["spec", "policyRefs"]).iter().filter_map(policy_ref).collect();
    build(kind, object, policies, Some(&["spec", "expiresAt"]))
}

/// A reference has no namespace, so one to a namespaced kind hits every policy of that name (Kyverno `pkg/cel/engine/exception.go`):
/// it is read as `*/name`.
fn policy_ref(entry: &Value) -> Option<(String, Vec<String>)> {
    let name = json::text(entry, &["name"])?;
    let kind = json::text(entry, &["kind"]).and_then(|kind| KindId::find(CEL, kind));
    let namespaced = kind.is_some_and(|id| id.kind().namespaced);
    Some((if namespaced { format!("*/{name}") } else { name.to_owned() }, Vec::new()))
}

fn build(kind: &Kind, object: &Value, policies: Vec<(String, Vec<String>)>, expires_at: Option<&[&str]>) -> Result<Exception, Unreadable> {
    let meta = Meta::read(kind, object)?;
    Ok(Exception {
        group: kind.group.to_owned(),
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name,
        policies,
        expires_at: expires_at.and_then(|path| json::time(object, path)),
        created_at: meta.created_at,
    })
}
