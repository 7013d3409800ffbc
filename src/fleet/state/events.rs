//! Events of blocked requests: the newest ones, as many as are worth their memory.
//!
//! What lives here: which are held, and which are there all the same. What does not: what events say (`kinds::event`), and which of them are true.
//!
//! While any is left out, no number of blocked requests is known: a policy whose events are all older than the newest would have none.

use super::kept::{Kept, Key};
use crate::fleet::delta::StreamId;
use crate::kinds::{BlockedAdmission, KindId};
use hashbrown::{DefaultHashBuilder, HashSet};
use std::collections::BTreeMap;
use std::hash::BuildHasher;

/// Events that are held. Kyverno writes one for each blocked request, and the API server keeps them for an hour.
pub(super) const MOST: usize = 20_000;
/// Events that are remembered as left out, at eight bytes each. Beyond that, only a new list tells that they are gone.
const REMEMBERED: usize = 500_000;
/// The most bytes of a message. Kyverno writes no longer ones: the API of events takes 1,024 characters.
const LONGEST_MESSAGE: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct Events {
    kept: Kept<BlockedAdmission>,
    left_out: BTreeMap<StreamId, LeftOut>,
    most: usize,
    hasher: DefaultHashBuilder,
}

impl Default for Events {
    fn default() -> Self {
        Self::limited(MOST)
    }
}

/// Events of a stream that are not held.
#[derive(Debug, Default)]
struct LeftOut {
    all: Identities,
    /// Those that a list under way has named.
    listed: Option<Identities>,
}

/// Events by the hash of their names.
#[derive(Debug, Default)]
struct Identities {
    known: HashSet<u64>,
    /// Those that are only counted.
    more: u64,
}

impl Identities {
    fn add(&mut self, identity: u64) {
        if self.known.len() < REMEMBERED {
            self.known.insert(identity);
        } else if !self.known.contains(&identity) {
            self.more += 1;
        }
    }

    fn count(&self) -> u64 {
        self.known.len() as u64 + self.more
    }
}

impl LeftOut {
    fn remove(&mut self, identity: u64) -> bool {
        if let Some(listed) = &mut self.listed {
            listed.known.remove(&identity);
        }
        self.all.known.remove(&identity)
    }
}

impl Events {
    /// Events of which not more than an eighth above `most` are held.
    pub(super) fn limited(most: usize) -> Self {
        Self { kept: Kept::default(), left_out: BTreeMap::new(), most, hasher: DefaultHashBuilder::default() }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &BlockedAdmission> {
        self.kept.values()
    }

    /// Events that are held.
    pub(super) fn count(&self, kind: KindId) -> u64 {
        self.kept.count(kind)
    }

    /// Events that are there and not held.
    pub(super) fn left_out(&self, kind: KindId) -> u64 {
        self.left_out.iter().filter(|(id, _)| id.kind == kind).map(|(_, left)| left.all.count()).sum()
    }

    pub(super) fn start_list(&mut self, id: &StreamId) {
        self.kept.start_list(id);
        self.left_out.entry(id.clone()).or_default().listed = Some(Identities::default());
    }

    /// Forgets what the list did not name; returns whether there was any.
    pub(super) fn end_list(&mut self, id: &StreamId) -> bool {
        let left = self.left_out.entry(id.clone()).or_default();
        let before = left.all.count();
        if let Some(listed) = left.listed.take() {
            left.all = listed;
        }
        let changed = before != left.all.count();
        self.kept.end_list(id) || changed
    }

    /// Takes an event in; returns whether that is news.
    pub(super) fn put(&mut self, id: &StreamId, namespace: String, name: String, mut event: BlockedAdmission) -> bool {
        let identity = self.identity(&namespace, &name);
        self.left_out.entry(id.clone()).or_default().remove(identity);
        let end = (0..=LONGEST_MESSAGE).rev().find(|end| event.message.is_char_boundary(*end));
        event.message.truncate(end.unwrap_or_default());
        let changed = self.kept.put(id.kind, namespace, name, event);
        if self.kept.len() as usize > self.most + self.most / 8 {
            self.leave_out_the_oldest();
        }
        changed
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, id: &StreamId, namespace: &str, name: &str) -> bool {
        let identity = self.identity(namespace, name);
        let was_left_out = self.left_out.get_mut(id).is_some_and(|left| left.remove(identity));
        self.kept.remove(id.kind, namespace, name) || was_left_out
    }

    fn leave_out_the_oldest(&mut self) {
        let mut all: Vec<_> = self.kept.entries().map(|(key, event)| (event.at, key.clone())).collect();
        let surplus = all.len().saturating_sub(self.most);
        if surplus == 0 {
            return;
        }
        all.select_nth_unstable(surplus - 1);
        for (_, key) in all.into_iter().take(surplus) {
            self.leave_out(&key);
        }
    }

    fn leave_out(&mut self, key: &Key) {
        let (kind, namespace, name) = key;
        let identity = self.identity(namespace, name);
        let is_in = |id: &StreamId| id.kind == *kind && (id.namespace.is_empty() || *id.namespace == **namespace);
        if let Some((id, left)) = self.left_out.iter_mut().find(|(id, _)| is_in(id)) {
            left.all.add(identity);
            // One that the list has not named yet may be gone.
            if let Some(listed) = left.listed.as_mut().filter(|_| self.kept.is_named(id, namespace, name)) {
                listed.add(identity);
            }
        }
        self.kept.remove(*kind, namespace, name);
    }

    fn identity(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PolicyId, ResourceRef};
    use crate::kinds::Family;
    use crate::testing::cases;
    use jiff::Timestamp;

    fn event(policy: usize, second: i64, message: &str) -> BlockedAdmission {
        let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: format!("p{policy}") };
        BlockedAdmission {
            uid: String::new(),
            policy: id,
            resource: ResourceRef::default(),
            at: Some(Timestamp::from_second(second).unwrap()),
            count: 1,
            message: message.to_owned(),
            doubtful: false,
            source: crate::domain::EventSource::default(),
        }
    }

    fn stream() -> StreamId {
        StreamId { kind: KindId::of_family(Family::Event).next().unwrap(), namespace: "".into() }
    }

    #[test]
    fn the_newest_are_held_and_the_others_counted() {
        let (mut events, id) = (Events::limited(8), stream());
        events.start_list(&id);
        for second in 0..20 {
            events.put(&id, "default".into(), format!("e{second}"), event(0, second, &"é".repeat(1_000)));
        }
        events.end_list(&id);
        let held = |events: &Events| events.values().filter_map(|event| event.at).map(Timestamp::as_second).collect::<Vec<_>>();
        assert!((8..=9).contains(&held(&events).len()) && held(&events).contains(&19), "{:?}", held(&events));
        assert_eq!(events.left_out(id.kind) + events.count(id.kind), 20);
        assert!(events.values().all(|event| event.message.len() == LONGEST_MESSAGE));
        // They expire one after the other.
        for second in 0..20_u64 {
            assert!(events.remove(&id, "default", &format!("e{second}")), "{second}");
            assert_eq!(events.left_out(id.kind) + events.count(id.kind), 19 - second);
        }
    }

    #[test]
    fn nothing_is_known_to_be_whole_that_is_not() {
        cases("nothing_is_known_to_be_whole", 2_000, |dice| {
            let (mut events, id) = (Events::limited(1 + dice.below(6)), stream());
            let most = events.most + events.most / 8;
            let mut there: BTreeMap<String, i64> = BTreeMap::new();
            for step in 0..40 {
                let name = format!("e{}", dice.below(12));
                match dice.below(8) {
                    0 => {
                        // A list, during which one event comes and another goes.
                        events.start_list(&id);
                        let listed = there.clone();
                        for (at, (name, second)) in listed.iter().enumerate() {
                            if at == listed.len() / 2 && dice.one_in(2) {
                                there.remove(name);
                                continue;
                            }
                            events.put(&id, "default".into(), name.clone(), event(0, *second, ""));
                        }
                        events.end_list(&id);
                    }
                    1 | 2 => {
                        there.remove(&name);
                        events.remove(&id, "default", &name);
                    }
                    _ => {
                        there.insert(name.clone(), step);
                        events.put(&id, "default".into(), name, event(0, step, ""));
                        let is_held = events.values().any(|event| event.at.map(Timestamp::as_second) == Some(step));
                        assert!(is_held, "the newest of {there:?}");
                    }
                }
                let held = events.values().count();
                assert!(held <= most.max(1), "{held} of {most}");
                assert_eq!(held as u64 + events.left_out(id.kind), there.len() as u64, "{there:?}");
            }
        });
    }
}
