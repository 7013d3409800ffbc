//! Fetching one live object behind a finding.
//!
//! A report or an event says what the object is called. Where that is comes from discovery alone, and what arrives is compared with what was requested.

use super::address::{Expected, Path, shown};
use super::refusal::Refusal;
use super::requests::{JSON, METADATA, Requests};
use super::station::Named;
use crate::domain::ResourceRef;
use crate::fleet::delta::Existence;
use serde::Deserialize;
use serde_json::Value;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
}

/// Where objects of a kind are.
struct Place {
    group: String,
    version: String,
    plural: String,
    namespaced: bool,
}

/// Where the objects are that a reference calls so.
async fn locate(requests: &Requests, reference: &ResourceRef) -> Result<Place, Refusal> {
    let unserved = || {
        let version = if reference.api_version.is_empty() { "v1" } else { &reference.api_version };
        Refusal::Invalid(format!("the cluster does not serve {} in {}", shown(&reference.kind), shown(version)))
    };
    let (group, version) = version(requests, &reference.api_version).await?.ok_or_else(unserved)?;
    let list: ResourceList = match requests.json(&Path::version(&group, &version)?, JSON).await {
        Err(Refusal::NotFound(_)) => return Err(unserved()),
        list => list?,
    };
    let resource = list.resources.into_iter().find(|resource| resource.kind == reference.kind && !resource.name.contains('/'));
    let Resource { name, namespaced, .. } = resource.ok_or_else(unserved)?;
    Ok(Place { group, version, plural: name, namespaced })
}

impl Place {
    /// The object of that name as it is now.
    async fn get(&self, requests: &Requests, reference: &ResourceRef) -> Result<Value, Refusal> {
        let namespace = self.namespace_of(reference)?;
        let object: Value = requests.json(&self.path(reference)?, JSON).await?;
        let (group, kind) = (self.group.as_str(), Some(reference.kind.as_str()));
        let expected = Expected { group, kind, namespace, name: &reference.name, uid: &reference.uid };
        expected.mismatch(&object).map_or(Ok(object), |why| Err(Refusal::Server(why)))
    }

    /// Whether it exists; another object of its name is not it.
    async fn existence(&self, requests: &Requests, reference: &ResourceRef) -> Result<Existence, Refusal> {
        let Named { metadata } = requests.json(&self.path(reference)?, METADATA).await?;
        if metadata.name != reference.name {
            return Err(Refusal::Server(format!("the API server answered with another object: name \"{}\"", shown(&metadata.name))));
        }
        let is_another = !reference.uid.is_empty() && reference.uid != metadata.uid;
        Ok(if is_another { Existence::Gone } else { Existence::Exists })
    }

    fn path(&self, reference: &ResourceRef) -> Result<Path, Refusal> {
        Ok(Path::list(&self.group, &self.version, self.namespace_of(reference)?, &self.plural)?.name(&reference.name)?)
    }

    fn namespace_of<'a>(&self, reference: &'a ResourceRef) -> Result<&'a str, Refusal> {
        match (self.namespaced, reference.namespace.as_str()) {
            (true, "") => Err(Refusal::Invalid(format!("{} is namespaced, and no namespace is named", shown(&reference.kind)))),
            (true, namespace) => Ok(namespace),
            (false, _) => Ok(""),
        }
    }
}

/// The object as it is now, whole but for `managedFields`.
pub(super) async fn fetch(requests: &Requests, reference: &ResourceRef) -> Result<Value, Refusal> {
    let mut object = locate(requests, reference).await?.get(requests, reference).await?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
}

/// Whether resources exist, one after the other.
pub(super) async fn existence(requests: &Requests, resources: BTreeSet<Arc<ResourceRef>>) -> Vec<(Arc<ResourceRef>, Existence)> {
    let mut places: HashMap<(String, String), Place> = HashMap::new();
    let mut all = Vec::with_capacity(resources.len());
    for resource in resources {
        let existence = match exists(requests, &resource, &mut places).await {
            Ok(existence) => existence,
            Err(Refusal::NotFound(_)) => Existence::Gone,
            Err(refusal) => Existence::NotRead { why: Arc::from(refusal.to_string()) },
        };
        all.push((resource, existence));
    }
    all
}

/// Whether one exists; `places` are those that are known.
async fn exists(requests: &Requests, resource: &ResourceRef, places: &mut HashMap<(String, String), Place>) -> Result<Existence, Refusal> {
    let kind = (resource.api_version.clone(), resource.kind.clone());
    let place = match places.entry(kind) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(locate(requests, resource).await?),
    };
    place.existence(requests, resource).await
}

/// The group and version that the server calls so; `None` where it serves none of that name. An empty one is the core group's.
async fn version(requests: &Requests, api_version: &str) -> Result<Option<(String, String)>, Refusal> {
    if matches!(api_version, "" | "v1") {
        return Ok(Some((String::new(), "v1".to_owned())));
    }
    let served: GroupList = requests.json(&Path::fixed("/apis"), JSON).await?;
    let all = served.groups.into_iter().flat_map(|group| {
        let name = group.name;
        group.versions.into_iter().map(move |version| (name.clone(), version.version))
    });
    Ok(all.into_iter().find(|(group, version)| api_version.split_once('/') == Some((group.as_str(), version.as_str()))))
}

/// Reads one object as it is now, through the environment's current connection.
///
/// # Errors
/// A [`Refusal`], also while the environment is not connected.
pub async fn read_object(signals: &super::Signals, reference: &ResourceRef) -> Result<Value, Refusal> {
    let requests = signals.current.borrow().clone();
    match requests {
        Some(requests) => fetch(&requests, reference).await,
        None => Err(Refusal::Unreachable("not connected".to_owned())),
    }
}

#[cfg(test)]
mod tests;
