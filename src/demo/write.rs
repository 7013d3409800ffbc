//! Create, update, patch and delete, with everything the API server adds or refuses on the way.
//!
//! Not here: documents and owners (`super::patch`, `super::managed`) and what Kyverno's webhooks say
//! (`super::kyverno::admission`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalog::Resource;
use super::checks;
use super::cluster::{Cluster, member, rfc3339};
use super::failure::Failure;
use super::fields;
use super::kyverno::admission;
use super::managed::{self, Writer};
use super::patch::{self, PatchKind};
use super::store::{Handle, Key, Object, Store, text};

/// `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Validation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// How a write is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) version: String,
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
    pub(crate) status: bool,
    /// Seeds and reports are not asked about by Kyverno's webhooks.
    pub(crate) admitted: bool,
    pub(crate) now: Timestamp,
}

impl Options {
    /// A write of the cluster's own controllers.
    pub(crate) fn internal(resource: &Resource, manager: &str) -> Self {
        Self {
            version: resource.preferred().to_owned(),
            manager: manager.to_owned(),
            dry_run: false,
            validation: Validation::Ignore,
            force: true,
            status: false,
            admitted: true,
            now: Timestamp::now(),
        }
    }
}

/// The result of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Handle,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn create(
    cluster: &Cluster,
    resource: &Resource,
    namespace: &str,
    mut body: Value,
    options: &Options,
) -> Result<Written, Failure> {
    checks::kind(resource, &options.version, &body)?;
    let asked = text(&body, "/metadata/namespace");
    if !asked.is_empty() && asked != namespace {
        return Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    let mut name = text(&body, "/metadata/name").to_owned();
    let prefix = text(&body, "/metadata/generateName");
    if name.is_empty() && !prefix.is_empty() {
        name = format!("{prefix}{}", cluster.suffix(5));
        member(&mut body, "metadata")["name"] = Value::from(name.as_str());
    }
    checks::name(resource, &name)?;
    let mut store = cluster.store();
    checks::namespace(cluster, &store, resource, namespace, &name)?;
    let key = Key::new(namespace, name.as_str());
    if store.get(resource.index, &key).is_some() {
        return Err(Failure::already_exists(&resource.plural, &resource.group, &name));
    }
    commit(cluster, &mut store, resource, &key, None, body, options)
}

pub(crate) fn update(cluster: &Cluster, resource: &Resource, key: &Key, body: Value, options: &Options) -> Result<Written, Failure> {
    checks::kind(resource, &options.version, &body)?;
    if text(&body, "/metadata/name") != key.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            text(&body, "/metadata/name"),
            key.name
        )));
    }
    let mut store = cluster.store();
    let old = store.get(resource.index, key).cloned();
    let old = old.ok_or_else(|| Failure::not_found(&resource.plural, &resource.group, &key.name))?;
    commit(cluster, &mut store, resource, key, Some(&old), body, options)
}

pub(crate) fn patch(
    cluster: &Cluster,
    resource: &Resource,
    key: &Key,
    kind: PatchKind,
    body: &Value,
    options: &Options,
) -> Result<Written, Failure> {
    if kind == PatchKind::Strategic && !resource.builtin {
        return Err(Failure::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    let mut store = cluster.store();
    let old = store.get(resource.index, key).cloned();
    if kind == PatchKind::Apply {
        return apply(cluster, &mut store, resource, key, old.as_ref(), body, options);
    }
    let old = old.ok_or_else(|| Failure::not_found(&resource.plural, &resource.group, &key.name))?;
    let mut live = old.value.clone();
    live["apiVersion"] = Value::from(resource.api_version(&options.version));
    let mut next = patch::patched(kind, &live, body)?;
    if next["metadata"]["name"] != live["metadata"]["name"] {
        return Err(Failure::bad_request("the name of the object cannot be changed by a patch"));
    }
    if next.pointer("/metadata/managedFields").is_none() {
        next["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
    }
    commit(cluster, &mut store, resource, key, Some(&old), next, options)
}

fn apply(
    cluster: &Cluster,
    store: &mut Store,
    resource: &Resource,
    key: &Key,
    old: Option<&Handle>,
    body: &Value,
    options: &Options,
) -> Result<Written, Failure> {
    checks::kind(resource, &options.version, body)?;
    if options.manager.is_empty() {
        return Err(Failure::invalid(
            "PatchOptions",
            "meta.k8s.io",
            "",
            &[("FieldValueRequired", "Required value: is required for apply patch".to_owned(), "fieldManager")],
        ));
    }
    if body.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let mut body = body.clone();
    member(&mut body, "metadata")["name"] = Value::from(key.name.as_str());
    let asked = text(&body, "/metadata/resourceVersion").to_owned();
    if old.is_none() {
        if !asked.is_empty() {
            return Err(Failure::not_found(&resource.plural, &resource.group, &key.name));
        }
        checks::name(resource, &key.name)?;
        checks::namespace(cluster, store, resource, &key.namespace, &key.name)?;
    }
    let (time, version) = (rfc3339(options.now), resource.api_version(&options.version));
    let subresource = if options.status { "status" } else { "" };
    let writer = Writer { manager: &options.manager, api_version: &version, subresource, time: &time };
    let unknown = if options.validation == Validation::Ignore { Vec::new() } else { fields::prune(resource, &mut body) };
    let mut warnings = field_warnings(resource, options, &unknown)?;
    let mut merged = managed::apply(old.map(|old| &old.value), &body, &writer, options.force)?;
    if !asked.is_empty() {
        merged["metadata"]["resourceVersion"] = Value::from(asked);
    }
    let mut written = settle(cluster, store, resource, key, old, merged, options, None)?;
    warnings.append(&mut written.warnings);
    written.warnings = warnings;
    Ok(written)
}

/// An ordinary write: checks fields, then settles with the fields recorded as the writer's.
fn commit(
    cluster: &Cluster,
    store: &mut Store,
    resource: &Resource,
    key: &Key,
    old: Option<&Handle>,
    mut next: Value,
    options: &Options,
) -> Result<Written, Failure> {
    let unknown = fields::prune(resource, &mut next);
    let mut warnings = field_warnings(resource, options, &unknown)?;
    let (time, version) = (rfc3339(options.now), resource.api_version(&options.version));
    let subresource = if options.status { "status" } else { "" };
    let writer = Writer { manager: &options.manager, api_version: &version, subresource, time: &time };
    let mut written = settle(cluster, store, resource, key, old, next, options, Some(&writer))?;
    warnings.append(&mut written.warnings);
    written.warnings = warnings;
    Ok(written)
}

fn field_warnings(resource: &Resource, options: &Options, unknown: &[String]) -> Result<Vec<String>, Failure> {
    if unknown.is_empty() || options.validation == Validation::Ignore {
        return Ok(Vec::new());
    }
    let listed: Vec<String> = unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
    if options.validation == Validation::Warn {
        return Ok(listed);
    }
    Err(Failure::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {errors}",
        kind = resource.kind,
        version = options.version,
        errors = listed.join(", ")
    )))
}

/// The common end of all writes: metadata, defaults, generation, admission, owners, the store.
#[expect(clippy::too_many_arguments, reason = "one write's whole context; a struct would only rename the list")]
fn settle(
    cluster: &Cluster,
    store: &mut Store,
    resource: &Resource,
    key: &Key,
    old: Option<&Handle>,
    mut next: Value,
    options: &Options,
    writer: Option<&Writer<'_>>,
) -> Result<Written, Failure> {
    let before = old.map(|old| &old.value);
    let version = text(&next, "/metadata/resourceVersion");
    if let Some(old) = before
        && !version.is_empty()
        && version != text(old, "/metadata/resourceVersion")
    {
        return Err(Failure::modified(&resource.plural, &resource.group, &key.name));
    }
    let asked_uid = text(&next, "/metadata/uid");
    if let Some(old) = before
        && !asked_uid.is_empty()
        && asked_uid != text(old, "/metadata/uid")
    {
        let why = format!("Precondition failed: UID in precondition: {asked_uid}, UID in object meta: {}", text(old, "/metadata/uid"));
        return Err(Failure::conflict(&resource.plural, &resource.group, &key.name, &why));
    }
    own_status(resource, before, &mut next, options.status);
    next["kind"] = Value::from(resource.kind.as_str());
    next["apiVersion"] = Value::from(resource.api_version(resource.preferred()));
    server_metadata(cluster, key, before, &mut next, options);
    fields::fill(resource, &mut next);
    fields::check(resource, &key.name, &mut next)?;
    if resource.group.is_empty() && resource.kind == "Namespace" {
        namespace_defaults(&key.name, before, &mut next);
    }
    generation(resource, before, &mut next);
    let mut warnings = Vec::new();
    if !options.admitted && !options.status {
        let review = admission::review(cluster, store, resource, key, before, &next);
        for event in review.events {
            admission::record(cluster, store, event);
        }
        if let Some(refusal) = review.refusal {
            return Err(refusal);
        }
        warnings = review.warnings;
    }
    if let Some(writer) = writer {
        managed::record(before, &mut next, writer);
    }
    let created = before.is_none();
    if let Some(old) = old
        && unchanged(&old.value, &next)
    {
        return Ok(Written { object: old.clone(), created, warnings });
    }
    if options.dry_run {
        let version = old.map_or(0, |old| old.version);
        return Ok(Written { object: std::sync::Arc::new(Object::new(next, version)), created, warnings });
    }
    let finished = before.is_some()
        && next.pointer("/metadata/deletionTimestamp").is_some()
        && next.pointer("/metadata/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty)
        && resource.kind != "Namespace";
    let object = store.put(resource.index, key.clone(), next);
    if finished {
        store.remove(resource.index, key);
    }
    if !options.admitted {
        cluster.tell(resource, &options.manager, old, (!finished).then_some(&object));
    }
    Ok(Written { object, created, warnings })
}

/// A status write changes the status only, any other write everything else.
fn own_status(resource: &Resource, before: Option<&Value>, next: &mut Value, status: bool) {
    if status {
        if let Some(before) = before {
            let mut kept = before.clone();
            kept["status"] = next["status"].take();
            // Owners travel with the write: server-side apply has put the new ones here.
            kept["metadata"]["managedFields"] = next["metadata"]["managedFields"].take();
            *next = kept;
        }
    } else if resource.status
        && let Some(map) = next.as_object_mut()
    {
        match before.and_then(|before| before.get("status")) {
            Some(kept) => map.insert("status".to_owned(), kept.clone()),
            None => map.remove("status"),
        };
    }
}

fn server_metadata(cluster: &Cluster, key: &Key, before: Option<&Value>, next: &mut Value, options: &Options) {
    let metadata = member(next, "metadata");
    metadata["name"] = Value::from(key.name.as_str());
    if !key.namespace.is_empty() {
        metadata["namespace"] = Value::from(key.namespace.as_str());
    }
    let Some(map) = metadata.as_object_mut() else {
        return;
    };
    map.remove("selfLink");
    if let Some(before) = before {
        for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion", "generateName"] {
            match before["metadata"].get(field) {
                Some(kept) => map.insert(field.to_owned(), kept.clone()),
                None => map.remove(field),
            };
        }
    } else {
        map.remove("resourceVersion");
        map.remove("deletionTimestamp");
        map.insert("uid".to_owned(), Value::from(cluster.uid()));
        map.insert("creationTimestamp".to_owned(), Value::from(rfc3339(options.now)));
    }
    if map.get("managedFields").is_some_and(Value::is_null) {
        map.remove("managedFields");
    }
}

fn namespace_defaults(name: &str, before: Option<&Value>, next: &mut Value) {
    member(member(next, "metadata"), "labels")["kubernetes.io/metadata.name"] = Value::from(name);
    if before.is_none() {
        member(next, "spec")["finalizers"] = json!(["kubernetes"]);
        member(next, "status")["phase"] = Value::from("Active");
    }
}

/// 1 at creation, one more when something besides metadata and status changes.
fn generation(resource: &Resource, before: Option<&Value>, next: &mut Value) {
    let counted = !resource.builtin || next.get("spec").is_some();
    if !counted {
        return;
    }
    let now = match before {
        None => 1,
        Some(before) => {
            let old = before["metadata"]["generation"].as_u64().unwrap_or(1);
            old + u64::from(!same_beside(before, next, &["metadata", "status"]))
        }
    };
    next["metadata"]["generation"] = Value::from(now);
}

fn same_beside(a: &Value, b: &Value, ignored: &[&str]) -> bool {
    let rest = |value: &Value| -> Vec<(String, Value)> {
        let map = value.as_object().cloned().unwrap_or_default();
        map.into_iter().filter(|(name, _)| !ignored.contains(&name.as_str())).collect()
    };
    rest(a) == rest(b)
}

/// A write that changes nothing is not a write: no new version, no event.
fn unchanged(old: &Value, next: &Value) -> bool {
    let plain = |value: &Value| {
        let mut value = value.clone();
        for entry in value.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        value
    };
    same_beside(old, next, &["metadata"]) && plain(old) == plain(next)
}
