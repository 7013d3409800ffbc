//! What the server says about itself: discovery (legacy and aggregated), version, and enough OpenAPI for kubectl.
//!
//! Not here: the kinds themselves (`super::catalog`).

use serde_json::{Map, Value, json};

use super::catalog::Resource;
use super::cluster::Cluster;

/// Content type of aggregated discovery (KEP-3352).
pub(crate) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(crate) fn version(cluster: &Cluster) -> Value {
    let full = cluster.profile.kubernetes.as_str();
    let mut numbers = full.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("36"));
    json!({
        "major": major, "minor": minor, "gitVersion": full, "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25", "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// Groups served besides those of the catalog: reviews, which store nothing.
const REVIEW_GROUPS: [(&str, &[(&str, &str)]); 2] = [
    (
        "authorization.k8s.io",
        &[("selfsubjectaccessreviews", "SelfSubjectAccessReview"), ("selfsubjectrulesreviews", "SelfSubjectRulesReview")],
    ),
    ("authentication.k8s.io", &[("selfsubjectreviews", "SelfSubjectReview")]),
];

/// `/apis`.
pub(crate) fn groups(cluster: &Cluster) -> Value {
    let entry = |group: &str, versions: &[&str]| {
        let shown = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"name": group, "versions": versions.iter().map(shown).collect::<Vec<_>>(), "preferredVersion": versions.first().map(shown)})
    };
    let mut list: Vec<Value> = cluster.catalog.groups().into_iter().map(|group| entry(group, &cluster.catalog.versions(group))).collect();
    list.extend(REVIEW_GROUPS.iter().map(|(group, _)| entry(group, &["v1"])));
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// `/apis/G`.
pub(crate) fn group(cluster: &Cluster, wanted: &str) -> Option<Value> {
    let groups = groups(cluster);
    let mut found = groups["groups"].as_array()?.iter().find(|entry| entry["name"] == wanted)?.clone();
    found["kind"] = json!("APIGroup");
    found["apiVersion"] = json!("v1");
    Some(found)
}

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn served<'a>(cluster: &'a Cluster, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Resource> {
    cluster.catalog.all().iter().filter(move |r| r.group == group && r.versions.iter().any(|v| v == version))
}

/// `/api/v1` and `/apis/G/V`.
pub(crate) fn resources(cluster: &Cluster, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in served(cluster, group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular(), "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": VERBS, "storageVersionHash": "",
        });
        if !resource.short.is_empty() {
            entry["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        if resource.scale {
            list.push(json!({
                "name": format!("{}/scale", resource.plural), "singularName": "", "namespaced": true,
                "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
            }));
        }
        if resource.status {
            list.push(json!({
                "name": format!("{}/status", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    for (_, kinds) in REVIEW_GROUPS.iter().filter(|(name, _)| *name == group && version == "v1") {
        for (plural, kind) in *kinds {
            list.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"]}));
        }
    }
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!list.is_empty()).then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": list}))
}

/// `/api` or `/apis` as one aggregated document.
pub(crate) fn aggregated(cluster: &Cluster, core: bool) -> Value {
    let mut items = Vec::new();
    let names: Vec<&str> = if core { vec![""] } else { cluster.catalog.groups() };
    for name in names {
        let versions: Vec<Value> = cluster
            .catalog
            .versions(name)
            .into_iter()
            .map(|version| json!({"version": version, "freshness": "Current", "resources": served(cluster, name, version).map(|r| described(r, version)).collect::<Vec<_>>()}))
            .collect();
        items.push(json!({"metadata": if name.is_empty() { json!({}) } else { json!({"name": name}) }, "versions": versions}));
    }
    if !core {
        for (name, kinds) in REVIEW_GROUPS {
            let resources: Vec<Value> = kinds
                .iter()
                .map(|(plural, kind)| {
                    json!({
                        "resource": plural, "scope": "Cluster", "singularResource": kind.to_lowercase(), "verbs": ["create"],
                        "responseKind": {"group": name, "version": "v1", "kind": kind},
                    })
                })
                .collect();
            items
                .push(json!({"metadata": {"name": name}, "versions": [{"version": "v1", "freshness": "Current", "resources": resources}]}));
        }
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn described(resource: &Resource, version: &str) -> Value {
    let kind = json!({"group": resource.group, "version": version, "kind": resource.kind});
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind, "verbs": VERBS,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": resource.singular(),
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let verbs = ["get", "patch", "update"];
    let mut subresources = Vec::new();
    if resource.scale {
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        subresources.push(json!({"subresource": "scale", "responseKind": scale, "verbs": verbs}));
    }
    if resource.status {
        subresources.push(json!({"subresource": "status", "responseKind": kind, "verbs": verbs}));
    }
    if !subresources.is_empty() {
        entry["subresources"] = Value::Array(subresources);
    }
    entry
}

/// `/openapi/v3`.
pub(crate) fn openapi_index(cluster: &Cluster) -> Value {
    let mut paths = Map::new();
    paths.insert("api/v1".to_owned(), json!({"serverRelativeURL": "/openapi/v3/api/v1?hash=demo"}));
    for group in cluster.catalog.groups() {
        for version in cluster.catalog.versions(group) {
            let path = format!("apis/{group}/{version}");
            let url = format!("/openapi/v3/{path}?hash=demo");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// `/openapi/v3/api/v1` and `/openapi/v3/apis/G/V`: operations with their kind and the `fieldValidation` parameter,
/// which is what kubectl looks for before it leaves validation to the server.
pub(crate) fn openapi(cluster: &Cluster, group: &str, version: &str) -> Option<Value> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    for resource in served(cluster, group, version) {
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let operation = json!({
            "parameters": [
                {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
                {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
                {"name": "fieldManager", "in": "query", "schema": {"type": "string"}},
            ],
            "responses": {"200": {"description": "OK"}}, "x-kubernetes-group-version-kind": kind,
        });
        paths.insert(format!("{root}{scope}/{}", resource.plural), json!({"post": operation}));
        paths.insert(format!("{root}{scope}/{}/{{name}}", resource.plural), json!({"patch": operation, "put": operation}));
        let object = |fields: &[String]| -> Value {
            let fields: Map<String, Value> = fields.iter().map(|field| (field.clone(), json!({}))).collect();
            json!({"type": "object", "properties": fields})
        };
        let mut schema = object(resource.top.as_deref().unwrap_or_default());
        for (name, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            schema["properties"][name] = json!({"type": kind});
        }
        if let Some(fields) = &resource.spec {
            schema["properties"]["spec"] = object(fields);
        }
        if resource.top.is_none() {
            schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
        }
        schema["x-kubernetes-group-version-kind"] = json!([kind]);
        schemas.insert(format!("{}.{version}.{}", if group.is_empty() { "core" } else { group }, resource.kind), schema);
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": cluster.profile.kubernetes}, "paths": paths,
            "components": {"schemas": schemas},
        })
    })
}
