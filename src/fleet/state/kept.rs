//! Objects that are kept whole or nearly so (policies, exceptions, namespaces, events): hundreds, not a million.

use crate::fleet::delta::StreamId;
use crate::kinds::KindId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kind, namespace (empty if none) and name.
pub(super) type Key = (KindId, String, String);

/// Objects by identity, swept by complete lists only.
#[derive(Debug)]
pub(super) struct Kept<T> {
    objects: BTreeMap<Key, (T, u64)>,
    round: u64,
    lists: BTreeMap<(KindId, Arc<str>), u64>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), round: 0, lists: BTreeMap::new() }
    }
}

impl<T> Kept<T> {
    pub(super) fn get(&self, kind: KindId, namespace: &str, name: &str) -> Option<&T> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned())).map(|(object, _)| object)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.objects.values().map(|(object, _)| object)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.objects.iter().map(|(key, (object, _))| (key, object))
    }

    /// Whether the list of a stream that is under way has named an object.
    pub(super) fn is_named(&self, id: &StreamId, namespace: &str, name: &str) -> bool {
        let Some(round) = self.lists.get(&(id.kind, Arc::clone(&id.namespace))) else { return false };
        self.objects.get(&(id.kind, namespace.to_owned(), name.to_owned())).is_some_and(|(_, seen)| seen >= round)
    }

    pub(super) fn of_kind(&self, kind: KindId) -> impl Iterator<Item = &T> {
        self.objects.iter().filter(move |((of, ..), _)| *of == kind).map(|(_, (object, _))| object)
    }

    pub(super) fn len(&self) -> u64 {
        self.objects.len() as u64
    }

    pub(super) fn count(&self, kind: KindId) -> u64 {
        self.objects.keys().filter(|key| key.0 == kind).count() as u64
    }

    pub(super) fn start_list(&mut self, id: &StreamId) {
        self.round += 1;
        self.lists.insert((id.kind, Arc::clone(&id.namespace)), self.round);
    }

    /// Forgets what the list did not name; returns whether there was any.
    pub(super) fn end_list(&mut self, id: &StreamId) -> bool {
        let Some(round) = self.lists.remove(&(id.kind, Arc::clone(&id.namespace))) else { return false };
        let before = self.objects.len();
        let in_scope = |namespace: &str| id.namespace.is_empty() || namespace == &*id.namespace;
        self.objects.retain(|(kind, namespace, _), (_, seen)| *kind != id.kind || !in_scope(namespace) || *seen >= round);
        before != self.objects.len()
    }

    pub(super) fn remove(&mut self, kind: KindId, namespace: &str, name: &str) -> bool {
        self.objects.remove(&(kind, namespace.to_owned(), name.to_owned())).is_some()
    }
}

impl<T: PartialEq> Kept<T> {
    /// Keeps an object; returns whether it is another than before.
    pub(super) fn put(&mut self, kind: KindId, namespace: String, name: String, object: T) -> bool {
        let round = self.round;
        match self.objects.entry((kind, namespace, name)) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((object, round));
                true
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let changed = place.get().0 != object;
                place.insert((object, round));
                changed
            }
        }
    }
}
