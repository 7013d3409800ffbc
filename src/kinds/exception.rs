//! PolicyException of both groups.
//!
//! Fields: Kyverno `api/kyverno/v2/policy_exception_types.go` (1.10–1.19), `config/crds/policies.kyverno.io/…_policyexceptions.yaml` (1.14–1.19).

use super::revision::digest;
use super::{CEL, Kind, KindId, Unreadable, json, meta::Meta};
use crate::domain::Exception;
use serde_json::Value;

/// `kyverno.io`: names policies as reports do, and patterns of rule names. It has no expiry of its own.
pub(super) fn read(kind: &Kind, object: &Value) -> Result<Exception, Unreadable> {
    let read = |entry: &Value| Some((json::text(entry, &["policyName"])?.to_owned(), json::texts(entry, &["ruleNames"])));
    let policies = json::list(object, &["spec", "exceptions"]).iter().filter_map(read).collect();
    build(kind, object, (policies, Vec::new()), None)
}

/// `policies.kyverno.io`: names policies by kind and name, and no rules. `spec.expiresAt` since 1.19.
pub(super) fn read_cel(kind: &Kind, object: &Value) -> Result<Exception, Unreadable> {
    let refs: Vec<_> = json::list(object, &["spec", "policyRefs"]).iter().filter_map(policy_ref).collect();
    build(kind, object, refs.into_iter().unzip(), Some(&["spec", "expiresAt"]))
}

/// A reference has no namespace, so one to a namespaced kind hits every policy of that name (Kyverno `pkg/cel/engine/exception.go`):
/// it is read as `*/name`.
fn policy_ref(entry: &Value) -> Option<(Named, String)> {
    let name = json::text(entry, &["name"])?;
    let kind = json::text(entry, &["kind"]).unwrap_or_default();
    let namespaced = KindId::find(CEL, kind).is_some_and(|id| id.kind().namespaced);
    Some(((if namespaced { format!("*/{name}") } else { name.to_owned() }, Vec::new()), kind.to_owned()))
}

/// A policy as reports write it, with the rule patterns.
type Named = (String, Vec<String>);

fn build(
    kind: &Kind,
    object: &Value,
    (policies, kinds): (Vec<Named>, Vec<String>),
    expires_at: Option<&[&str]>,
) -> Result<Exception, Unreadable> {
    let meta = Meta::read(kind, object)?;
    Ok(Exception {
        group: kind.group.to_owned(),
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name,
        policies,
        kinds,
        expires_at: expires_at.and_then(|path| json::time(object, path)),
        created_at: meta.created_at,
        annotations: meta.annotations,
        content: content(object),
    })
}

/// What an exception excuses. `reportResult` is filled in by the CRD; when it expires is looked at where it is.
fn content(object: &Value) -> String {
    let mut spec = json::get(object, &["spec"]).cloned().unwrap_or_default();
    if let Some(members) = spec.as_object_mut() {
        members.retain(|key, value| !(value.is_null() || key == "expiresAt" || (key == "reportResult" && *value == "skip")));
    }
    digest(&spec)
}

/// An exception as a result names it; without a namespace where only `properties` name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcusedBy<'a> {
    /// Its namespace.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

/// The words before the names in a result's message (Kyverno `pkg/engine/handlers`, 1.10–1.19; some releases leave out the blank after them).
const BY: &str = "due to policy exception";

/// The exceptions that excuse a result: names from its properties (1.12 and later), their namespaces from the message, which has both.
///
/// An author's own message names nothing; then the names stay without namespaces.
pub fn excused_by<'a>(names: &'a str, message: &'a str) -> Vec<ExcusedBy<'a>> {
    let written = message.split_once(BY).map_or("", |(_, rest)| rest.strip_prefix('s').unwrap_or(rest).trim_start_matches([':', ' ']));
    let keys: Vec<(&str, &str)> = written.split(',').filter_map(|key| key.trim().split_once('/')).collect();
    let listed = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut found: Vec<ExcusedBy<'a>> = Vec::new();
    let mut used = vec![false; keys.len()];
    for name in listed {
        // Two of one name stand twice in either list.
        let at = keys.iter().zip(&used).position(|((_, key), used)| *key == name && !used);
        let namespace = at.map(|at| {
            used[at] = true;
            keys[at].0
        });
        found.push(ExcusedBy { namespace, name });
    }
    if found.is_empty() {
        found.extend(keys.into_iter().map(|(namespace, name)| ExcusedBy { namespace: Some(namespace), name }));
    }
    found
}

/// Whether a message says that an exception excused its result: up to 1.11 nothing else does.
pub fn names_exceptions(message: &str) -> bool {
    message.contains(BY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_names_its_exceptions() {
        for (names, message, expected) in [
            ("", "validation rule 'a' passed", &[][..]),
            ("", "rule skipped due to policy exception team/a", &[(Some("team"), "a")]),
            ("a", "rule skipped due to policy exception team/a", &[(Some("team"), "a")]),
            ("a,b", "rule is skipped due to policy exceptionsteam/a, other/b", &[(Some("team"), "a"), (Some("other"), "b")]),
            ("a", "rule is skipped due to policy exceptions system/a", &[(Some("system"), "a")]),
            ("a", "rule is skipped due to policy exceptionssystem/a", &[(Some("system"), "a")]),
            ("q3", "rule is skipped due to policy exception: old/q3", &[(Some("old"), "q3")]),
            ("q3,q3", "rule is passed due to policy exception: old/q3, red/q3", &[(Some("old"), "q3"), (Some("red"), "q3")]),
            ("q3", "an author's own message", &[(None, "q3")]),
            ("a, b", "rule is skipped due to policy exception: team/a", &[(Some("team"), "a"), (None, "b")]),
        ] {
            let found = excused_by(names, message);
            let found: Vec<_> = found.iter().map(|one| (one.namespace, one.name)).collect();
            assert_eq!(found, expected, "{names} | {message}");
        }
    }
}
