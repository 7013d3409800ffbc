//! What a write is refused for before it is looked at closely: kinds, names, namespaces.
//!
//! Not here: fields (`super::fields`) and versions (`super::write`).

use serde_json::Value;

use super::catalog::Resource;
use super::cluster::Cluster;
use super::failure::Failure;
use super::store::{Key, Store, text};

/// The body is of the kind and version its path names.
pub(crate) fn kind(resource: &Resource, version: &str, body: &Value) -> Result<(), Failure> {
    let wanted = resource.api_version(version);
    let (api, kind) = (text(body, "/apiVersion"), text(body, "/kind"));
    if !body.is_object() {
        return Err(Failure::bad_request("the object provided is unrecognized: it is not a JSON object"));
    }
    if (!api.is_empty() && api != wanted) || (!kind.is_empty() && kind != resource.kind) {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({api}, Kind={kind}) does not match the expected API version ({wanted}, Kind={})",
            resource.kind
        )));
    }
    Ok(())
}

/// The name is one Kubernetes would take.
pub(crate) fn name(resource: &Resource, name: &str) -> Result<(), Failure> {
    let bad = |reason: &'static str, message: String| {
        Err(Failure::invalid(&resource.kind, &resource.group, name, &[(reason, message, "metadata.name")]))
    };
    if name.is_empty() {
        return bad("FieldValueRequired", "Required value: name or generateName is required".to_owned());
    }
    let rbac = resource.group == "rbac.authorization.k8s.io";
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    if !rbac && (!letters || name.len() > 253 || name.starts_with(['-', '.']) || name.ends_with(['-', '.'])) {
        return bad(
            "FieldValueInvalid",
            format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            ),
        );
    }
    Ok(())
}

/// The namespace exists and is not going away.
pub(crate) fn namespace(cluster: &Cluster, store: &Store, resource: &Resource, namespace: &str, name: &str) -> Result<(), Failure> {
    if !resource.namespaced {
        return Ok(());
    }
    let Some(namespaces) = cluster.resource("", "namespaces") else {
        return Ok(());
    };
    let found = store.get(namespaces.index, &Key::new("", namespace));
    let found = found.ok_or_else(|| Failure::not_found("namespaces", "", namespace))?;
    if found.value.pointer("/metadata/deletionTimestamp").is_some() {
        return Err(Failure::forbidden(format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            resource.plural
        )));
    }
    Ok(())
}
