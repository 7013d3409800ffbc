//! The kinds a demo server serves, read from `assets/demo/resources.toml`.
//!
//! Not here: anything a kind *means*. The server treats all of them alike; `super::kyverno` knows policies.

use serde::Deserialize;
use serde_json::Value;

const RESOURCES: &str = include_str!("../../assets/demo/resources.toml");

/// A column of `kubectl get`.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "(String, String, String)")]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) path: String,
}

impl From<(String, String, String)> for Column {
    fn from((name, kind, path): (String, String, String)) -> Self {
        Self { name, kind, path }
    }
}

/// One served kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resource {
    /// Position in the catalog, which is its table in the store.
    #[serde(skip)]
    pub(crate) index: usize,
    pub(crate) group: String,
    /// Served versions, the stored and preferred one first.
    pub(crate) versions: Vec<String>,
    pub(crate) kind: String,
    pub(crate) plural: String,
    #[serde(default)]
    pub(crate) short: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) namespaced: bool,
    #[serde(default)]
    pub(crate) builtin: bool,
    #[serde(default)]
    pub(crate) status: bool,
    /// Has the `scale` subresource.
    #[serde(default)]
    pub(crate) scale: bool,
    /// Served only where the environment has this feature.
    #[serde(default)]
    feature: Option<String>,
    #[serde(default)]
    pub(crate) top: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) spec: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    #[serde(default)]
    pub(crate) columns: Vec<Column>,
    #[serde(default)]
    pub(crate) defaults: Vec<(String, Value)>,
    #[serde(default)]
    pub(crate) enums: Vec<Vec<String>>,
}

fn yes() -> bool {
    true
}

impl Resource {
    /// The stored version, always present in a loaded catalog.
    pub(crate) fn preferred(&self) -> &str {
        self.versions.first().map_or("", String::as_str)
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    pub(crate) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }
}

/// All kinds of one environment.
#[derive(Debug)]
pub(crate) struct Catalog {
    resources: Vec<Resource>,
}

impl Catalog {
    /// The kinds served with this minor release of Kyverno and these features.
    pub(crate) fn load(minor: u32, features: &[String]) -> Result<Self, toml::de::Error> {
        #[derive(Deserialize)]
        struct File {
            resource: Vec<Resource>,
        }
        let file: File = toml::from_str(RESOURCES)?;
        let mut resources = Vec::new();
        for mut resource in file.resource {
            resource.versions = available(&resource.versions, minor);
            resource.spec = resource.spec.map(|fields| available(&fields, minor));
            let wanted = resource.feature.as_ref().is_none_or(|feature| features.contains(feature));
            if wanted && !resource.versions.is_empty() {
                resource.index = resources.len();
                resources.push(resource);
            }
        }
        Ok(Self { resources })
    }

    pub(crate) fn all(&self) -> &[Resource] {
        &self.resources
    }

    /// The kind behind a path's group, version and plural.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.group == group && r.plural == plural && r.versions.iter().any(|v| v == version))
    }

    pub(crate) fn plural(&self, group: &str, plural: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.group == group && r.plural == plural)
    }

    pub(crate) fn kind(&self, group: &str, kind: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.group == group && r.kind == kind)
    }

    /// The kind a manifest names by `apiVersion` and `kind`, and the version it names.
    pub(crate) fn of_manifest(&self, manifest: &Value) -> Option<&Resource> {
        let api_version = manifest.get("apiVersion")?.as_str()?;
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kind(group, manifest.get("kind")?.as_str()?)
    }

    /// The groups in order of first mention, without the core group.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for resource in &self.resources {
            if !resource.group.is_empty() && !groups.contains(&resource.group.as_str()) {
                groups.push(&resource.group);
            }
        }
        groups
    }

    /// The versions a group serves, preferred first.
    pub(crate) fn versions(&self, group: &str) -> Vec<&str> {
        let mut versions: Vec<&str> = Vec::new();
        for resource in self.resources.iter().filter(|r| r.group == group) {
            for version in &resource.versions {
                if !versions.contains(&version.as_str()) {
                    versions.push(version);
                }
            }
        }
        // GA before beta before alpha, higher before lower: what real discovery prefers.
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        versions
    }
}

/// Sorts `v2` above `v1` above `v2beta1` above `v1alpha2`.
fn rank(version: &str) -> (u8, u32, u32) {
    let rest = version.trim_start_matches('v');
    let digits = |text: &str| text.parse::<u32>().unwrap_or(0);
    if let Some((major, minor)) = rest.split_once("beta") {
        (1, digits(major), digits(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (0, digits(major), digits(minor))
    } else {
        (2, digits(rest), 0)
    }
}

/// Keeps the entries whose `>= minor` holds, without that suffix.
fn available(entries: &[String], minor: u32) -> Vec<String> {
    entries
        .iter()
        .filter_map(|entry| match entry.split_once(" >= ") {
            Some((name, since)) => (since.parse::<u32>().ok()? <= minor).then(|| name.to_owned()),
            None => Some(entry.clone()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_releases_serve_less() {
        let new = Catalog::load(19, &[]).unwrap();
        let old = Catalog::load(15, &[]).unwrap();
        assert!(new.find("policies.kyverno.io", "v1", "namespacedvalidatingpolicies").is_some());
        assert!(old.kind("policies.kyverno.io", "NamespacedValidatingPolicy").is_none());
        assert_eq!(old.versions("policies.kyverno.io"), ["v1alpha1"]);
        assert_eq!(new.versions("policies.kyverno.io"), ["v1", "v1beta1", "v1alpha1"]);
        assert!(new.kind("openreports.io", "Report").is_none());
        assert!(Catalog::load(19, &["openreports".to_owned()]).unwrap().kind("openreports.io", "Report").is_some());
    }
}
