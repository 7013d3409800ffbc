//! Objects, their versions, and the log of changes that watches read.
//!
//! The log is bounded per kind: a watch keeps nothing but its position in it, so a slow reader costs nothing and
//! is told `410 Expired` once its position has been dropped, as etcd's compaction does to it.
//! Not here: what a write means (`super::write`) and how objects are shown (`super::read`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

/// Changes kept per kind for watches to catch up on.
const LOG_LENGTH: usize = 4096;

/// Namespace (empty for cluster scope) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A stored object in its stored version. Shared by the table and the log; its JSON is made once.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
    pub(crate) version: u64,
    json: OnceLock<Bytes>,
}

impl Object {
    pub(crate) fn new(value: Value, version: u64) -> Self {
        Self { value, version, json: OnceLock::new() }
    }

    pub(crate) fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }

    pub(crate) fn uid(&self) -> &str {
        text(&self.value, "/metadata/uid")
    }
}

pub(crate) type Handle = Arc<Object>;

/// The string at a JSON pointer, or nothing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// One change: `now` is absent after a deletion, `before` absent at a creation.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) now: Option<Handle>,
    pub(crate) before: Option<Handle>,
    /// The deleted object as watches see it, with the version of its deletion.
    pub(crate) last: Option<Handle>,
}

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<Key, Handle>,
    log: VecDeque<Change>,
    /// The newest version that fell out of the log.
    dropped: u64,
}

/// All objects of one environment.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    compacted: u64,
    tables: Vec<Table>,
    wakers: Vec<watch::Sender<u64>>,
    any: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new(kinds: usize, first_version: u64) -> Self {
        Self {
            version: first_version,
            compacted: 0,
            tables: (0..kinds).map(|_| Table::default()).collect(),
            wakers: (0..kinds).map(|_| watch::Sender::new(0)).collect(),
            any: watch::Sender::new(0),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Wakes when the kind changes.
    pub(crate) fn waker(&self, kind: usize) -> watch::Receiver<u64> {
        self.wakers.get(kind).map_or_else(|| self.any.subscribe(), watch::Sender::subscribe)
    }

    /// Wakes when anything changes.
    pub(crate) fn any_waker(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    pub(crate) fn get(&self, kind: usize, key: &Key) -> Option<&Handle> {
        self.tables.get(kind)?.rows.get(key)
    }

    pub(crate) fn rows(&self, kind: usize) -> impl Iterator<Item = (&Key, &Handle)> {
        self.tables.get(kind).into_iter().flat_map(|table| table.rows.iter())
    }

    /// Stores an object under the next version and returns it.
    pub(crate) fn put(&mut self, kind: usize, key: Key, mut value: Value) -> Handle {
        self.version += 1;
        let version = self.version;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::from(version.to_string()));
        }
        let handle = Arc::new(Object::new(value, version));
        if let Some(table) = self.tables.get_mut(kind) {
            let before = table.rows.insert(key.clone(), handle.clone());
            table.record(Change { version, key, now: Some(handle.clone()), before, last: None });
        }
        self.wake(kind);
        handle
    }

    /// Deletes an object; the returned one carries the version of its deletion.
    pub(crate) fn remove(&mut self, kind: usize, key: &Key) -> Option<Handle> {
        let before = self.tables.get_mut(kind)?.rows.remove(key)?;
        self.version += 1;
        let version = self.version;
        let mut value = before.value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::from(version.to_string()));
        }
        let last = Arc::new(Object::new(value, version));
        let change = Change { version, key: key.clone(), now: None, before: Some(before), last: Some(last.clone()) };
        self.tables.get_mut(kind)?.record(change);
        self.wake(kind);
        Some(last)
    }

    /// Forgets the log: older watches and continue tokens are expired from now on.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        for table in &mut self.tables {
            table.log.clear();
        }
        for kind in 0..self.wakers.len() {
            self.wake(kind);
        }
    }

    /// The oldest version a watch of this kind may start from.
    pub(crate) fn oldest(&self, kind: usize) -> u64 {
        self.compacted.max(self.tables.get(kind).map_or(0, |table| table.dropped))
    }

    /// At most `most` changes after `version`; none of them is missing if `version >= oldest(kind)`.
    pub(crate) fn changes_after(&self, kind: usize, version: u64, most: usize) -> Vec<Change> {
        let Some(table) = self.tables.get(kind) else {
            return Vec::new();
        };
        let from = table.log.partition_point(|change| change.version <= version);
        table.log.range(from..).take(most).cloned().collect()
    }

    /// The rows as they were at `version`, by undoing the log: pages of one list stay one snapshot.
    pub(crate) fn rows_at(&self, kind: usize, version: u64) -> Option<BTreeMap<Key, Handle>> {
        if version < self.oldest(kind) {
            return None;
        }
        let table = self.tables.get(kind)?;
        let mut rows = table.rows.clone();
        for change in table.log.iter().rev().take_while(|change| change.version > version) {
            match &change.before {
                Some(before) => rows.insert(change.key.clone(), before.clone()),
                None => rows.remove(&change.key),
            };
        }
        Some(rows)
    }

    fn wake(&self, kind: usize) {
        if let Some(waker) = self.wakers.get(kind) {
            waker.send_replace(self.version);
        }
        self.any.send_replace(self.version);
    }
}

impl Table {
    fn record(&mut self, change: Change) {
        self.log.push_back(change);
        if self.log.len() > LOG_LENGTH
            && let Some(gone) = self.log.pop_front()
        {
            self.dropped = gone.version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(n: u64) -> Value {
        json!({"metadata": {"name": "a"}, "n": n})
    }

    #[test]
    fn a_snapshot_is_what_was_there() {
        let mut store = Store::new(1, 10);
        let key = Key::new("", "a");
        store.put(0, key.clone(), object(1));
        let then = store.version();
        store.put(0, key.clone(), object(2));
        store.put(0, Key::new("", "b"), object(3));
        store.remove(0, &key);
        let rows = store.rows_at(0, then).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[&key].value["n"], 1);
        store.compact();
        assert!(store.rows_at(0, then).is_none());
    }

    #[test]
    fn the_log_is_bounded() {
        let mut store = Store::new(1, 0);
        for n in 0..(LOG_LENGTH as u64 + 10) {
            store.put(0, Key::new("", "a"), object(n));
        }
        assert_eq!(store.oldest(0), 10);
        assert_eq!(store.changes_after(0, 10, 5).first().map(|c| c.version), Some(11));
    }
}
