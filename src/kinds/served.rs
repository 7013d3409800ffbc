//! Which resources an API server serves, by kind: policies of `kyverno.io` name kinds, webhooks name resources.
//!
//! What lives here: that table, and what Kubernetes guesses where discovery does not tell. What does not: asking (`cluster::discover`).

use super::wildcard;
use std::collections::{BTreeMap, BTreeSet};

/// Resources by kind, from discovery. The core group is not part of it: its kinds never change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedResources {
    by_kind: BTreeMap<String, Vec<ServedResource>>,
    /// Groups of which nobody has told what they serve.
    silent: BTreeSet<String>,
    /// Kinds that live in no namespace, by group.
    cluster_scoped: BTreeMap<String, BTreeSet<String>>,
}

/// One resource of one group and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServedResource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural.
    pub plural: String,
}

const CORE: [&str; 17] = [
    "Binding",
    "ComponentStatus",
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "Service",
    "ServiceAccount",
];

impl ServedResources {
    /// Adds a resource.
    pub fn add(&mut self, kind: &str, resource: ServedResource) {
        self.by_kind.entry(kind.to_owned()).or_default().push(resource);
    }

    /// Notes that objects of a kind live in no namespace.
    pub fn add_cluster_scoped(&mut self, group: &str, kind: &str) {
        self.cluster_scoped.entry(group.to_owned()).or_default().insert(kind.to_owned());
    }

    /// Whether objects of this kind live in no namespace of this cluster.
    pub fn is_cluster_scoped(&self, group: &str, kind: &str) -> bool {
        self.cluster_scoped.get(group).is_some_and(|kinds| kinds.contains(kind))
    }

    /// Kinds (group and kind) of which one says that they live in no namespace, and the other does not.
    pub fn other_scopes(&self, other: &Self) -> BTreeSet<(String, String)> {
        let only = |one: &Self, other: &Self| {
            let all = one.cluster_scoped.iter().flat_map(|(group, kinds)| kinds.iter().map(move |kind| (group.clone(), kind.clone())));
            all.filter(|(group, kind)| !other.is_cluster_scoped(group, kind)).collect::<BTreeSet<_>>()
        };
        only(self, other).union(&only(other, self)).cloned().collect()
    }

    /// Takes over what groups served that are silent now, as far as they do not tell themselves.
    pub fn keep_silent(&mut self, last: &Self, silent: &BTreeSet<String>) {
        for (kind, resources) in &last.by_kind {
            for one in resources.iter().filter(|one| silent.contains(&one.group)) {
                let known = self.by_kind.entry(kind.clone()).or_default();
                if !known.contains(one) {
                    known.push(one.clone());
                }
            }
        }
        for (group, kinds) in last.cluster_scoped.iter().filter(|(group, _)| silent.contains(*group)) {
            self.cluster_scoped.entry(group.clone()).or_default().extend(kinds.iter().cloned());
        }
        let is_told = |group: &str| self.by_kind.values().flatten().any(|one| one.group == group);
        self.silent = silent.iter().filter(|group| !is_told(group)).cloned().collect();
    }

    /// Whether something may be served in the group, which may have wildcards, that nobody has told of.
    pub fn may_hide(&self, group: &str) -> bool {
        self.silent.iter().any(|silent| wildcard::matches(group, silent))
    }

    /// Whether discovery told anything.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// Whether a resource of that name is served in a group and version, which may have wildcards.
    pub(super) fn serves(&self, group: &str, version: &str, name: &str) -> bool {
        let fits =
            |one: &ServedResource| one.plural == name && wildcard::matches(group, &one.group) && wildcard::matches(version, &one.version);
        let core = CORE.iter().map(|kind| ServedResource { group: String::new(), version: "v1".into(), plural: plural(kind) });
        core.chain(self.by_kind.values().flatten().cloned()).any(|one| fits(&one))
    }

    /// What is served under a kind, group and version, each of which may have wildcards.
    pub(super) fn find(&self, group: &str, version: &str, kind: &str) -> Vec<ServedResource> {
        let fits = |one: &&ServedResource| wildcard::matches(group, &one.group) && wildcard::matches(version, &one.version);
        let core = |kind: &str| ServedResource { group: String::new(), version: "v1".into(), plural: plural(kind) };
        if !kind.contains(['*', '?']) {
            let core = CORE.contains(&kind).then(|| core(kind)).filter(|one| fits(&one));
            return core.into_iter().chain(self.by_kind.get(kind).into_iter().flatten().filter(fits).cloned()).collect();
        }
        let core = CORE.into_iter().filter(|name| wildcard::matches(kind, name)).map(core).filter(|one| fits(&one));
        let told = self.by_kind.iter().filter(|(name, _)| wildcard::matches(kind, name)).flat_map(|(_, all)| all.iter());
        core.chain(told.filter(fits).cloned()).collect()
    }
}

/// The plural that Kubernetes guesses (apimachinery `meta.UnsafeGuessKindToResource`).
pub(super) fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower.ends_with("endpoints") {
        lower
    } else if lower.ends_with('s') {
        format!("{lower}es")
    } else if let Some(stem) = lower.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        format!("{lower}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_known_by_group_and_outlive_a_silent_server() {
        let mut served = ServedResources::default();
        served.add_cluster_scoped("example.com", "Region");
        let knows = |served: &ServedResources| served.is_cluster_scoped("example.com", "Region");
        assert!(knows(&served) && !served.is_cluster_scoped("example.org", "Region") && !served.is_cluster_scoped("", "Region"));
        let mut silent = ServedResources::default();
        assert_eq!(served.other_scopes(&silent), BTreeSet::from([("example.com".to_owned(), "Region".to_owned())]));
        assert_eq!(served.other_scopes(&silent), silent.other_scopes(&served));
        silent.keep_silent(&served, &BTreeSet::from(["example.org".to_owned()]));
        assert!(!knows(&silent), "the kind is gone");
        silent.keep_silent(&served, &BTreeSet::from(["example.com".to_owned()]));
        assert!(knows(&silent) && silent.other_scopes(&served).is_empty());
    }

    #[test]
    fn kinds_are_found_by_name_and_by_wildcard() {
        let mut served = ServedResources::default();
        let one = |group: &str, plural: &str| ServedResource { group: group.into(), version: "v1".into(), plural: plural.into() };
        served.add("Deployment", one("apps", "deployments"));
        served.add("Pod", one("metrics.k8s.io", "pods"));
        served.add("PodMonitor", one("monitoring.coreos.com", "podmonitors"));
        let found = |group: &str, kind: &str| {
            let found = served.find(group, "*", kind).into_iter();
            found.map(|one| format!("{}/{}", one.group, one.plural)).collect::<Vec<_>>()
        };
        assert_eq!(found("*", "Deployment"), ["apps/deployments"]);
        assert_eq!(found("*", "Pod"), ["/pods", "metrics.k8s.io/pods"]);
        assert_eq!(found("", "Pod"), ["/pods"]);
        assert_eq!(found("*", "PodM*"), ["monitoring.coreos.com/podmonitors"]);
        assert_eq!(found("*.coreos.com", "*"), ["monitoring.coreos.com/podmonitors"]);
        assert_eq!(found("", "Pod?emplate"), ["/podtemplates"]);
        assert!(found("*", "Rollout").is_empty() && served.find("*", "v2", "Pod").is_empty());
        assert!(
            served.serves("apps", "v1", "deployments") && served.serves("", "*", "configmaps") && served.serves("*", "v1", "podmonitors")
        );
        assert!(!served.serves("", "v1", "deployments") && !served.serves("example.com", "*", "widgets"));
    }
}
