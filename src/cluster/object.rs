//! Fetching one live object behind a finding.
//!
//! A report or an event says what the object is called. Where that is comes from discovery alone, and what arrives is compared with what was requested.

use super::address::{Expected, Path, shown};
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use crate::domain::ResourceRef;
use serde::Deserialize;
use serde_json::Value;

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

/// The object as it is now, whole but for `managedFields`.
pub(super) async fn fetch(requests: &Requests, reference: &ResourceRef) -> Result<Value, Refusal> {
    let unserved = || {
        let version = if reference.api_version.is_empty() { "v1" } else { &reference.api_version };
        Refusal::Invalid(format!("the cluster does not serve {} in {}", shown(&reference.kind), shown(version)))
    };
    let (group, version) = version(requests, &reference.api_version).await?.ok_or_else(unserved)?;
    let list: ResourceList = match requests.json(&Path::version(&group, &version)?, JSON).await {
        Err(Refusal::NotFound(_)) => return Err(unserved()),
        list => list?,
    };
    let resource = list.resources.iter().find(|resource| resource.kind == reference.kind && !resource.name.contains('/'));
    let resource = resource.ok_or_else(unserved)?;
    if resource.namespaced && reference.namespace.is_empty() {
        return Err(Refusal::Invalid(format!("{} is namespaced, and no namespace is named", shown(&reference.kind))));
    }
    let namespace = if resource.namespaced { reference.namespace.as_str() } else { "" };
    let path = Path::list(&group, &version, namespace, &resource.name)?.name(&reference.name)?;
    let mut object: Value = requests.json(&path, JSON).await?;
    let expected = Expected { group: &group, kind: Some(&resource.kind), namespace, name: &reference.name, uid: &reference.uid };
    if let Some(why) = expected.mismatch(&object) {
        return Err(Refusal::Server(why));
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
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
