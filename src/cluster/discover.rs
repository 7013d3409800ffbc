//! Which kinds this server serves, at which version, right now.
//!
//! Always from discovery, never from CRDs: reports may be served by an aggregated API server without any CRD (kyverno/reports-server).

use super::refusal::Refusal;
use super::requests::Requests;
use crate::kinds::{Family, KindId, REGISTRY};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Aggregated discovery (KEP-3352), or the plain list of groups from servers that have none.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// What a server serves of what we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// The version to ask each kind in.
    pub(super) kinds: BTreeMap<KindId, &'static str>,
    /// Groups and versions, for telling Kyverno's release.
    pub(super) versions: BTreeSet<(String, String)>,
    /// Groups whose server does not answer at the moment: what they serve is not known now.
    pub(super) silent: BTreeSet<String>,
}

impl Served {
    /// Whether any of Kyverno's own APIs is there.
    pub(super) fn has_kyverno(&self) -> bool {
        self.versions.iter().any(|(group, _)| matches!(group.as_str(), "kyverno.io" | "policies.kyverno.io"))
    }
}

#[derive(Deserialize)]
struct Answer {
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
    #[serde(default)]
    groups: Vec<PlainGroup>,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupMetadata,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupMetadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
struct Resource {
    resource: String,
}

#[derive(Deserialize)]
struct PlainGroup {
    name: String,
    #[serde(default)]
    versions: Vec<PlainVersion>,
}

#[derive(Deserialize)]
struct PlainVersion {
    version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<PlainResource>,
}

#[derive(Deserialize)]
struct PlainResource {
    name: String,
}

/// Asks again only as much as has changed.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    tag: Option<String>,
    last: Served,
}

impl Discovery {
    /// What is served now. Groups that are silent keep what they served when they last answered.
    pub(super) async fn ask(&mut self, requests: &Requests) -> Result<Served, Refusal> {
        let Some((body, tag)) = requests.if_changed("/apis", AGGREGATED, self.tag.as_deref()).await? else { return Ok(self.last.clone()) };
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| Refusal::Server(format!("discovery cannot be read: {error}")))?;
        // JSON from somebody else would read as a server without any kinds.
        if !matches!(answer.kind.as_str(), "APIGroupDiscoveryList" | "APIGroupList") {
            return Err(Refusal::Server("discovery cannot be read: it is no list of groups".to_owned()));
        }
        let plural_by_version = if answer.groups.is_empty() { aggregated(&answer) } else { plain(requests, &answer).await? };
        let mut served = read(&plural_by_version);
        for group in answer.items.iter().filter(|group| group.versions.iter().any(|v| v.freshness == "Stale")) {
            served.silent.insert(group.metadata.name.clone());
        }
        for (kind, version) in &self.last.kinds {
            if served.silent.contains(kind.kind().group) {
                served.kinds.entry(*kind).or_insert(version);
            }
        }
        self.tag = if served.silent.is_empty() { tag } else { None };
        self.last = served.clone();
        Ok(served)
    }
}

/// Plurals by group and version.
type Plurals = BTreeMap<(String, String), BTreeSet<String>>;

fn aggregated(answer: &Answer) -> Plurals {
    let mut plurals = Plurals::new();
    for group in &answer.items {
        for version in &group.versions {
            let names = version.resources.iter().map(|resource| resource.resource.clone()).collect();
            plurals.insert((group.metadata.name.clone(), version.version.clone()), names);
        }
    }
    plurals
}

async fn plain(requests: &Requests, answer: &Answer) -> Result<Plurals, Refusal> {
    let ours: BTreeSet<&str> = REGISTRY.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    let mut plurals = Plurals::new();
    for group in answer.groups.iter().filter(|group| ours.contains(group.name.as_str())) {
        for version in &group.versions {
            let path = format!("/apis/{}/{}", group.name, version.version);
            let list: ResourceList = match requests.json(&path, super::requests::JSON).await {
                Ok(list) => list,
                Err(Refusal::NotFound(_)) => continue,
                Err(refusal) => return Err(refusal),
            };
            plurals.insert((group.name.clone(), version.version.clone()), list.resources.into_iter().map(|r| r.name).collect());
        }
    }
    Ok(plurals)
}

fn read(plurals: &Plurals) -> Served {
    let mut served = Served::default();
    for id in KindId::all() {
        let kind = id.kind();
        // The core group is always served, and is not part of `/apis`.
        if kind.group.is_empty() {
            served.kinds.extend(kind.versions.first().map(|version| (id, *version)));
            continue;
        }
        let has = |version: &&&'static str| {
            plurals.get(&(kind.group.to_owned(), (**version).to_owned())).is_some_and(|names| names.contains(kind.plural))
        };
        served.kinds.extend(kind.versions.iter().find(has).map(|version| (id, *version)));
    }
    served.versions = plurals.keys().cloned().collect();
    served
}

/// The URL path of a kind's collection.
pub(super) fn path(id: KindId, version: &str, namespace: &str) -> String {
    let kind = id.kind();
    let root = if kind.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", kind.group) };
    let namespace = if namespace.is_empty() || !kind.namespaced { String::new() } else { format!("/namespaces/{namespace}") };
    format!("{root}{namespace}/{}", kind.plural)
}

/// Whether a kind is only asked for when findings need its owners.
pub(super) fn is_on_demand(id: KindId) -> bool {
    id.kind().family == Family::Owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_served_version_is_taken() {
        let answer = serde_json::json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "kyverno.io"}, "versions": [
                {"version": "v1", "resources": [{"resource": "clusterpolicies"}, {"resource": "policies"}]},
                {"version": "v2beta1", "resources": [{"resource": "policyexceptions"}]}]},
            {"metadata": {"name": "policies.kyverno.io"}, "versions": [{"version": "v1alpha1", "resources": [{"resource": "validatingpolicies"}]}]}]});
        let served = read(&aggregated(&serde_json::from_value(answer).unwrap()));
        let version = |kind: &str| KindId::all().find(|id| id.kind().kind == kind).and_then(|id| served.kinds.get(&id).copied());
        assert_eq!(
            (version("ClusterPolicy"), version("PolicyException"), version("ValidatingPolicy")),
            (Some("v1"), Some("v2beta1"), Some("v1alpha1"))
        );
        assert_eq!((version("PolicyReport"), version("Event")), (None, Some("v1")));
        assert!(served.has_kyverno());
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let id = |kind: &str| KindId::all().find(|id| id.kind().kind == kind).unwrap();
        assert_eq!(path(id("Pod"), "v1", "a"), "/api/v1/namespaces/a/pods");
        assert_eq!(path(id("ClusterPolicy"), "v1", "a"), "/apis/kyverno.io/v1/clusterpolicies");
        assert_eq!(path(id("PolicyReport"), "v1alpha2", ""), "/apis/wgpolicyk8s.io/v1alpha2/policyreports");
    }
}
