//! Which kinds this server serves, at which version, right now.
//!
//! Always from discovery, never from CRDs: reports may be served by an aggregated API server without any CRD (kyverno/reports-server).

use super::address::{InvalidSegment, Path};
use super::refusal::Refusal;
use super::requests::Requests;
use crate::kinds::served::{ServedResource, ServedResources};
use crate::kinds::{Family, Kind, KindId, REGISTRY};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Aggregated discovery (KEP-3352), or the plain list of groups from servers that have none.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// What a server serves of what we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// The version to ask each kind in.
    pub(super) kinds: BTreeMap<KindId, &'static str>,
    /// Kinds that are served in versions only that cannot be read, with a sentence that names them.
    pub(super) unread: BTreeMap<KindId, String>,
    /// Groups and versions, for telling Kyverno's release.
    pub(super) versions: BTreeSet<(String, String)>,
    /// Groups whose server does not answer at the moment: what they serve is not known now.
    pub(super) silent: BTreeSet<String>,
    /// All resources by kind; nothing, where the server has no aggregated discovery.
    pub(super) resources: Arc<ServedResources>,
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
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
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
    /// An answer that nobody has taken yet.
    ahead: Option<Result<Served, Refusal>>,
}

impl Discovery {
    /// Asks now; the next [`Discovery::ask`] takes the answer.
    pub(super) async fn ask_ahead(&mut self, requests: &Requests) {
        self.ahead = Some(self.ask(requests).await);
    }

    /// What is served now. Groups that are silent keep what they served when they last answered.
    pub(super) async fn ask(&mut self, requests: &Requests) -> Result<Served, Refusal> {
        if let Some(answer) = self.ahead.take() {
            return answer;
        }
        let Some((body, tag)) = requests.if_changed(&Path::fixed("/apis"), AGGREGATED, self.tag.as_deref()).await? else {
            return Ok(self.last.clone());
        };
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| Refusal::Server(format!("discovery cannot be read: {error}")))?;
        // JSON from somebody else would read as a server without any kinds.
        if !matches!(answer.kind.as_str(), "APIGroupDiscoveryList" | "APIGroupList") {
            return Err(Refusal::Server("discovery cannot be read: it is no list of groups".to_owned()));
        }
        let (plurals, silent) = if answer.groups.is_empty() { aggregated(&answer) } else { plain(requests, &answer).await? };
        let served = whole(&answer, &plurals, silent, &self.last);
        self.tag = if served.silent.is_empty() { tag } else { None };
        self.last = served.clone();
        Ok(served)
    }
}

/// Plurals by group and version.
type Plurals = BTreeMap<(String, String), BTreeSet<String>>;

/// The resources that discovery lists, and the API groups whose server did not answer.
fn aggregated(answer: &Answer) -> (Plurals, BTreeSet<String>) {
    let (mut plurals, mut silent) = (Plurals::new(), BTreeSet::new());
    for group in &answer.items {
        for version in &group.versions {
            if version.freshness == "Stale" {
                silent.insert(group.metadata.name.clone());
            }
            let names = version.resources.iter().map(|resource| resource.plural.clone()).collect();
            plurals.insert((group.metadata.name.clone(), version.version.clone()), names);
        }
    }
    (plurals, silent)
}

/// What the cluster serves, with the last known resources of groups that do not answer now. Resources of a group that never answered are unread, not
/// "not installed".
fn whole(answer: &Answer, plurals: &Plurals, silent: BTreeSet<String>, last: &Served) -> Served {
    let mut served = read(plurals);
    let mut resources = by_kind(answer);
    for id in KindId::all().filter(|id| silent.contains(id.kind().group)) {
        if let Some(version) = last.kinds.get(&id) {
            served.kinds.entry(id).or_insert(version);
        }
        if !served.kinds.contains_key(&id) {
            served
                .unread
                .entry(id)
                .or_insert_with(|| format!("the API {} is served by a server that does not answer now", id.kind().group));
        }
    }
    resources.keep_silent(&last.resources, &silent);
    served.resources = Arc::new(resources);
    served.silent = silent;
    served
}

fn by_kind(answer: &Answer) -> ServedResources {
    let mut served = ServedResources::default();
    for group in &answer.items {
        for version in &group.versions {
            for resource in &version.resources {
                let Some(kind) = &resource.response_kind else { continue };
                let (group, version) = (group.metadata.name.clone(), version.version.clone());
                if resource.scope == "Cluster" {
                    served.add_cluster_scoped(&group, &kind.kind);
                }
                served.add(&kind.kind, ServedResource { group, version, plural: resource.plural.clone() });
            }
        }
    }
    served
}

async fn plain(requests: &Requests, answer: &Answer) -> Result<(Plurals, BTreeSet<String>), Refusal> {
    let ours: BTreeSet<&str> = REGISTRY.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    let (mut plurals, mut silent) = (Plurals::new(), BTreeSet::new());
    for group in answer.groups.iter().filter(|group| ours.contains(group.name.as_str())) {
        for version in &group.versions {
            // A version that no API server can have is not one of ours.
            let Ok(path) = Path::version(&group.name, &version.version) else { continue };
            let list: ResourceList = match requests.json(&path, super::requests::JSON).await {
                Ok(list) => list,
                Err(Refusal::NotFound(_)) => continue,
                // The API server answers for a group of which the server behind it is gone.
                Err(Refusal::Server(_)) => {
                    silent.insert(group.name.clone());
                    continue;
                }
                Err(refusal) => return Err(refusal),
            };
            plurals.insert((group.name.clone(), version.version.clone()), list.resources.into_iter().map(|r| r.name).collect());
        }
    }
    Ok((plurals, silent))
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
        match kind.versions.iter().find(has) {
            Some(version) => _ = served.kinds.insert(id, *version),
            None => served.unread.extend(unread(plurals, kind).map(|why| (id, why))),
        }
    }
    served.versions = plurals.keys().cloned().collect();
    served
}

/// Why a kind cannot be read that is served all the same; nothing where it is not served.
fn unread(plurals: &Plurals, kind: &Kind) -> Option<String> {
    let here = plurals.iter().filter(|((group, _), names)| group == kind.group && names.contains(kind.plural));
    let versions: Vec<&str> = here.map(|((_, version), _)| version.as_str()).collect();
    let (served, verb) = (versions.join(", "), if versions.len() == 1 { "is" } else { "are" });
    (!versions.is_empty()).then(|| format!("{} serves {served}, which {verb} not read ({} can be)", kind.group, kind.versions.join(", ")))
}

/// The path of a kind's collection.
pub(super) fn path(id: KindId, version: &str, namespace: &str) -> Result<Path, InvalidSegment> {
    let kind = id.kind();
    Path::list(kind.group, version, if kind.namespaced { namespace } else { "" }, kind.plural)
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
        let served = read(&aggregated(&serde_json::from_value(answer).unwrap()).0);
        let version = |kind: &str| KindId::all().find(|id| id.kind().kind == kind).and_then(|id| served.kinds.get(&id).copied());
        assert_eq!(
            (version("ClusterPolicy"), version("PolicyException"), version("ValidatingPolicy")),
            (Some("v1"), Some("v2beta1"), Some("v1alpha1"))
        );
        assert_eq!((version("PolicyReport"), version("Event")), (None, Some("v1")));
        assert!(served.has_kyverno());
    }

    #[test]
    fn what_is_served_in_other_versions_only_is_unread() {
        let answer = |items: serde_json::Value| {
            read(&aggregated(&serde_json::from_value(serde_json::json!({"kind": "APIGroupDiscoveryList", "items": items})).unwrap()).0)
        };
        let group = |name: &str, versions: &[&str], plural: &str| {
            let versions: Vec<_> =
                versions.iter().map(|version| serde_json::json!({"version": version, "resources": [{"resource": plural}]})).collect();
            serde_json::json!({"metadata": {"name": name}, "versions": versions})
        };
        let id = |group: &str, kind: &str| KindId::find(group, kind).unwrap();
        let reports = id("wgpolicyk8s.io", "PolicyReport");
        let table = [
            (
                group("wgpolicyk8s.io", &["v1beta1"], "policyreports"),
                reports,
                Some("wgpolicyk8s.io serves v1beta1, which is not read (v1alpha2 can be)"),
            ),
            (
                group("wgpolicyk8s.io", &["v1beta1", "v1beta2"], "policyreports"),
                reports,
                Some("wgpolicyk8s.io serves v1beta1, v1beta2, which are not read (v1alpha2 can be)"),
            ),
            (group("wgpolicyk8s.io", &["v1alpha2", "v1beta1"], "policyreports"), reports, None),
            (group("wgpolicyk8s.io", &["v1beta1"], "clusterpolicyreports"), reports, None),
            (
                group("kyverno.io", &["v3"], "clusterpolicies"),
                id("kyverno.io", "ClusterPolicy"),
                Some("kyverno.io serves v3, which is not read (v1, v2beta1 can be)"),
            ),
            (
                group("openreports.io", &["v1"], "reports"),
                id("openreports.io", "Report"),
                Some("openreports.io serves v1, which is not read (v1alpha1 can be)"),
            ),
        ];
        for (group, kind, expected) in table {
            let served = answer(serde_json::json!([group]));
            assert_eq!(served.unread.get(&kind).map(String::as_str), expected, "{group}");
            assert!(!(served.unread.contains_key(&kind) && served.kinds.contains_key(&kind)));
        }
    }

    #[test]
    fn discovery_says_what_lives_in_no_namespace() {
        let resource =
            |plural: &str, kind: &str, scope: &str| serde_json::json!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope});
        let resources = [resource("regions", "Region", "Cluster"), resource("zones", "Zone", "Namespaced")];
        let answer = serde_json::json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": resources}]}]});
        let served = by_kind(&serde_json::from_value(answer).unwrap());
        assert!(served.is_cluster_scoped("example.com", "Region") && !served.is_cluster_scoped("example.com", "Zone"));
    }

    /// An API group whose server is down, as the aggregator lists it: by name, without resources.
    #[test]
    fn what_a_silent_group_serves_is_not_missing() {
        let told = |items: serde_json::Value, last: &Served| {
            let answer: Answer = serde_json::from_value(serde_json::json!({"kind": "APIGroupDiscoveryList", "items": items})).unwrap();
            let (plurals, silent) = aggregated(&answer);
            whole(&answer, &plurals, silent, last)
        };
        let reports = KindId::find("wgpolicyk8s.io", "PolicyReport").unwrap();
        let cluster_wide = KindId::find("wgpolicyk8s.io", "ClusterPolicyReport").unwrap();
        let silent =
            serde_json::json!([{"metadata": {"name": "wgpolicyk8s.io"}, "versions": [{"version": "v1alpha2", "freshness": "Stale"}]}]);
        let first = told(silent.clone(), &Served::default());
        assert_eq!(first.unread[&reports], "the API wgpolicyk8s.io is served by a server that does not answer now");
        assert!(
            first.unread.contains_key(&cluster_wide) && !first.kinds.contains_key(&reports) && first.resources.may_hide("wgpolicyk8s.io")
        );
        assert!(!first.unread.contains_key(&KindId::find("openreports.io", "Report").unwrap()), "of other groups it says nothing");
        let resource = serde_json::json!([{"resource": "policyreports", "responseKind": {"kind": "PolicyReport"}}]);
        let well = told(
            serde_json::json!([{"metadata": {"name": "wgpolicyk8s.io"}, "versions": [{"version": "v1alpha2", "resources": resource, "freshness": "Current"}]}]),
            &first,
        );
        assert!(well.unread.is_empty() && well.kinds.contains_key(&reports) && !well.resources.may_hide("wgpolicyk8s.io"));
        let lost = told(silent, &well);
        assert!(lost.kinds.contains_key(&reports) && !lost.unread.contains_key(&reports), "it serves what it served");
        assert!(lost.unread.contains_key(&cluster_wide), "what it did not tell of may have come since");
        assert!(first.resources.may_hide("*") && !first.resources.may_hide("apps") && lost.resources == well.resources);
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let id = |kind: &str| KindId::all().find(|id| id.kind().kind == kind).unwrap();
        let path = |id, version, namespace| path(id, version, namespace).unwrap().to_string();
        assert_eq!(path(id("Pod"), "v1", "a"), "/api/v1/namespaces/a/pods");
        assert_eq!(path(id("ClusterPolicy"), "v1", "a"), "/apis/kyverno.io/v1/clusterpolicies");
        assert_eq!(path(id("PolicyReport"), "v1alpha2", ""), "/apis/wgpolicyk8s.io/v1alpha2/policyreports");
    }
}
