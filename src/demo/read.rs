//! Get and list.
//!
//! Not here: watches (`super::watching`).

use std::fmt::Write as _;

use bytes::Bytes;

use super::catalog::Resource;
use super::cluster::Cluster;
use super::failure::Failure;
use super::request::{Query, Shape, Target};
use super::select::Selector;
use super::shape::{self, ListMeta};
use super::store::{Handle, Key, Store};

pub(crate) fn get(cluster: &Cluster, resource: &Resource, target: &Target, shape: Shape) -> Result<Bytes, Failure> {
    let key = target.key();
    let found = cluster.store().get(resource.index, &key).cloned();
    let found = found.ok_or_else(|| Failure::not_found(&resource.plural, &resource.group, &key.name))?;
    Ok(shape::object(resource, &target.version, shape, &found))
}

/// Where a list goes on: the snapshot's version and the last key sent.
#[derive(Debug, PartialEq, Eq)]
struct Continue {
    version: u64,
    after: Key,
}

impl Continue {
    fn encode(&self) -> String {
        let plain = format!("{}\n{}\n{}", self.version, self.after.namespace, self.after.name);
        plain.bytes().fold(String::new(), |mut token, byte| {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
            token
        })
    }

    fn decode(token: &str) -> Result<Self, Failure> {
        let refuse = || Failure::bad_request("continue key is not valid");
        let bytes: Option<Vec<u8>> =
            (0..token.len()).step_by(2).map(|at| token.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok())).collect();
        let plain = String::from_utf8(bytes.ok_or_else(refuse)?).map_err(|_| refuse())?;
        let mut parts = plain.split('\n');
        match (parts.next().and_then(|v| v.parse().ok()), parts.next(), parts.next()) {
            (Some(version), Some(namespace), Some(name)) => Ok(Self { version, after: Key::new(namespace, name) }),
            _ => Err(refuse()),
        }
    }
}

pub(crate) fn list(cluster: &Cluster, resource: &Resource, target: &Target, query: &Query, shape: Shape) -> Result<Bytes, Failure> {
    let selector = Selector::parse(query, &resource.plural)?;
    let limit = query.number("limit")?.unwrap_or(0);
    let from = query.get("continue").map(Continue::decode).transpose()?;
    let (meta, items) = {
        let store = cluster.store();
        let version = snapshot_version(&store, query, from.as_ref())?;
        choose(&store, resource, target, &selector, limit as usize, version, from.as_ref())?
    };
    Ok(shape::list(resource, &target.version, shape, &meta, &items))
}

/// The version a list is answered at (KEP-365, KEP-1904 and the API concepts page's table of semantics).
fn snapshot_version(store: &Store, query: &Query, from: Option<&Continue>) -> Result<u64, Failure> {
    let asked = query.number("resourceVersion")?;
    let matching = query.get("resourceVersionMatch");
    let current = store.version();
    if let Some(from) = from {
        if asked.is_some_and(|asked| asked != 0) {
            return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
        }
        return Ok(from.version);
    }
    match (asked, matching) {
        (None, Some(_)) => Err(Failure::invalid(
            "ListOptions",
            "meta.k8s.io",
            "",
            &[(
                "FieldValueForbidden",
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided".to_owned(),
                "resourceVersionMatch",
            )],
        )),
        (Some(asked), _) if asked > current => Err(Failure::too_large_version(asked, current)),
        (Some(asked), Some("Exact")) if asked > 0 => Ok(asked),
        _ => Ok(current),
    }
}

fn choose(
    store: &Store,
    resource: &Resource,
    target: &Target,
    selector: &Selector,
    limit: usize,
    version: u64,
    from: Option<&Continue>,
) -> Result<(ListMeta, Vec<Handle>), Failure> {
    let in_scope = |key: &Key| target.namespace.is_empty() || key.namespace == target.namespace;
    let wanted =
        |key: &Key, object: &Handle| in_scope(key) && from.is_none_or(|from| *key > from.after) && selector.matches(key, &object.value);
    let past;
    let rows: Box<dyn Iterator<Item = (&Key, &Handle)>> = if version == store.version() {
        Box::new(store.rows(resource.index))
    } else {
        past = store.rows_at(resource.index, version).ok_or_else(expired_token)?;
        Box::new(past.iter())
    };
    let mut meta = ListMeta { version, ..ListMeta::default() };
    let (mut items, mut last, mut left) = (Vec::new(), None, 0);
    for (key, object) in rows.filter(|(key, object)| wanted(key, object)) {
        if limit > 0 && items.len() == limit {
            left += 1;
        } else {
            items.push(object.clone());
            last = Some(key.clone());
        }
    }
    if left > 0 {
        meta.next = last.map(|after| Continue { version, after }.encode());
        // The real server cannot count what a selector would leave, so it says nothing then.
        meta.remaining = selector.is_empty().then_some(left);
    }
    Ok((meta, items))
}

fn expired_token() -> Failure {
    Failure::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_trip() {
        let token = Continue { version: 7, after: Key::new("a", "b.c") };
        assert_eq!(Continue::decode(&token.encode()).unwrap(), token);
        assert!(Continue::decode("zz").is_err());
    }
}
