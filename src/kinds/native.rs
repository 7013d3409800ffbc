//! The API server's own policies that Kyverno generates from its policies, and their bindings.
//!
//! What lives here: reading them, and which policy one was generated from. What does not: what follows for that policy (`in_force`).
//!
//! Names: Kyverno `pkg/controllers/admissionpolicygenerator/generate-vap.go` (`cpol-NAME`, `vpol-NAME`, from 1.14; before that the policy's
//! own name); seen on 1.19.1.

use super::{CEL, KYVERNO, Unreadable, json};
use crate::domain::PolicyId;
use jiff::Timestamp;
use serde_json::Value;

/// A native policy or a binding, as far as it tells whether a policy is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    /// Its name.
    pub name: String,
    /// Of a binding: the policy that it binds.
    pub binds: Option<String>,
    /// Of a binding: it selects only some resources or namespaces.
    pub selects: bool,
    /// Of a binding: what becomes of a request that breaks it is a refusal.
    pub denies: bool,
    /// The Kyverno policy that it was generated from, by owner reference.
    pub owner: Option<PolicyId>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

impl Native {
    /// Reads a ValidatingAdmissionPolicy or a binding.
    pub fn read(object: &Value) -> Result<Self, Unreadable> {
        let name = json::text_or_empty(object, &["metadata", "name"]);
        if name.is_empty() {
            return Err(Unreadable { object: "ValidatingAdmissionPolicy/?".to_owned(), why: "it has no metadata.name".to_owned() });
        }
        let resources = json::get(object, &["spec", "matchResources"]).and_then(Value::as_object);
        Ok(Self {
            name,
            binds: json::text(object, &["spec", "policyName"]).map(str::to_owned),
            selects: resources.is_some_and(|resources| resources.iter().any(|(key, value)| key != "matchPolicy" && !is_empty(value))),
            denies: json::list(object, &["spec", "validationActions"]).iter().any(|action| action.as_str() == Some("Deny")),
            owner: json::list(object, &["metadata", "ownerReferences"]).iter().find_map(owner),
            created: json::time(object, &["metadata", "creationTimestamp"]),
        })
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Only policies of the whole cluster get native twins.
fn owner(reference: &Value) -> Option<PolicyId> {
    let api_version = json::text(reference, &["apiVersion"])?;
    let group = super::group_of(api_version);
    matches!(group, KYVERNO | CEL).then(|| PolicyId {
        group: group.to_owned(),
        kind: json::text_or_empty(reference, &["kind"]),
        namespace: None,
        name: json::text_or_empty(reference, &["name"]),
    })
}

/// The names that the native twin of a policy can have; none for kinds that get none, or one that is not read (MutatingAdmissionPolicy).
pub fn twin_names(policy: &PolicyId) -> Vec<String> {
    let prefix = match (policy.group.as_str(), policy.kind.as_str()) {
        (KYVERNO, "ClusterPolicy") => "cpol-",
        (CEL, "ValidatingPolicy") => "vpol-",
        _ => return Vec::new(),
    };
    let mut names = vec![format!("{prefix}{}", policy.name)];
    if prefix == "cpol-" {
        names.push(policy.name.clone());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_twin_names_its_policy() {
        let object = json!({"metadata": {"name": "cpol-a", "ownerReferences": [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "a"}]}});
        let read = Native::read(&object).unwrap();
        assert_eq!((read.owner.as_ref().map(ToString::to_string), read.binds), (Some("ClusterPolicy/a".to_owned()), None));
        assert_eq!(twin_names(&read.owner.unwrap()), ["cpol-a", "a"]);
        let binding = |resources: Value| {
            Native::read(&json!({"metadata": {"name": "b"}, "spec": {"policyName": "cpol-a", "matchResources": resources}})).unwrap()
        };
        assert!(binding(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})).selects);
        assert!(!binding(json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}})).selects);
        let acts =
            |actions: Value| Native::read(&json!({"metadata": {"name": "b"}, "spec": {"validationActions": actions}})).unwrap().denies;
        assert!(acts(json!(["Deny", "Audit"])) && !acts(json!(["Audit", "Warn"])) && !acts(json!(null)));
        assert!(Native::read(&json!({})).is_err());
    }
}
