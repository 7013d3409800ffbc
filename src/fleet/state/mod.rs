//! One environment's state: who owns it is the engine's environment task; how it changes is here.
//!
//! What lives here: folding [`Delta`]s, completeness, and the questions that views and commands ask. What does not: I/O and clocks (the
//! time comes in with each delta), counting findings (`super::ledger`), reading manifests (`crate::kinds`).

mod admission;
mod answers;
mod disappeared;
mod events;
mod kept;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod would_block;

use super::delta::{Change, Delta, KyvernoFacts, ServerFacts, StreamEvent, StreamId};
use super::ledger::{Existing, Known, Ledger};
use crate::domain::history::EVENTS_KEPT;
use crate::domain::{Exception, InForce, Link, Policy, PolicyKey, ResourceRef, Sync, Tier};
use crate::kinds::mode::{Kyverno, mode_in};
use crate::kinds::report::{Reference, read_metadata};
use crate::kinds::{BlockedAdmission, Family, KindId, Namespace, Release, event_time, read_event, read_exception, read_policy};
use admission::Admission;
use bytes::Bytes;
use disappeared::Missed;
use events::Events;
use hashbrown::HashMap;
use jiff::{SignedDuration, Timestamp};
use kept::Kept;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use streams::Streams;

/// How far the clock of who writes an event may be from the API server's.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// What never changes about an environment.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name from the configuration.
    pub name: Arc<str>,
    /// Tier.
    pub tier: Tier,
    /// kubeconfig context.
    pub context: Arc<str>,
    /// The namespaces that it is limited to, with wildcards; none where all are seen.
    pub namespaces: Arc<[String]>,
}

/// A policy as it is kept.
#[derive(Debug, Clone, PartialEq)]
struct KeptPolicy {
    key: PolicyKey,
    policy: Arc<Policy>,
}

/// What stands between requests and a policy.
#[derive(Debug, Clone, Default)]
struct Judged {
    /// Whether they reach it.
    in_force: InForce,
    /// The API server judges by a native policy.
    native: bool,
}

/// See the module.
#[derive(Debug)]
pub struct EnvironmentState {
    identity: Identity,
    link: Link,
    last_seen: Option<Timestamp>,
    skew: Option<SignedDuration>,
    /// The time there, as of the last news; `None` where the server does not tell it.
    there: Option<Timestamp>,
    server: ServerFacts,
    facts: KyvernoFacts,
    /// Kyverno's installation has been looked at; before that, modes are not known.
    looked_at_kyverno: bool,
    streams: Streams,
    policies: Kept<KeptPolicy>,
    exceptions: Kept<Arc<Exception>>,
    namespaces: Kept<Namespace>,
    events: Events,
    /// The lowest age at which an event went that was the oldest one: the server keeps none for longer.
    events_went: Option<SignedDuration>,
    admission: Admission,
    /// What stands between requests and each policy; rebuilt when policies or what stands before them change.
    judged: HashMap<PolicyKey, Judged>,
    in_force_changed: bool,
    /// Refused admissions by policy; rebuilt when events, policies or modes change.
    blocked: HashMap<crate::domain::PolicyId, u64>,
    ledger: Ledger,
    missed: Missed,
    needed_owners: BTreeSet<KindId>,
    /// What exists has changed since the ledger was told.
    existing_changed: bool,
    /// Events, or what decides whether they count, have changed.
    blocked_changed: bool,
    changes: Changes,
    generation: u64,
    content: u64,
}

/// What has changed since somebody looked last, by how soon it should be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Something that can be seen.
    pub visible: bool,
    /// Only the first list of a kind, which grows.
    pub filling: bool,
    /// Only times of evaluation.
    pub retimed: bool,
}

/// `metadata` of an object of an owner kind.
#[derive(Deserialize)]
struct Owned {
    metadata: OwnedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    #[serde(default)]
    controller: bool,
}

impl EnvironmentState {
    /// An environment of which nothing is known yet.
    pub fn new(identity: Identity) -> Self {
        let facts = KyvernoFacts {
            installed: true,
            version: None,
            kyverno: Kyverno::new(Release::UNKNOWN),
            scan_interval: None,
            makes_events: None,
            notes: Vec::new(),
        };
        Self {
            identity,
            link: Link::Connecting,
            last_seen: None,
            skew: None,
            there: None,
            server: ServerFacts::default(),
            facts,
            looked_at_kyverno: false,
            streams: Streams::default(),
            policies: Kept::default(),
            exceptions: Kept::default(),
            namespaces: Kept::default(),
            events: Events::default(),
            events_went: None,
            admission: Admission::default(),
            judged: HashMap::new(),
            in_force_changed: true,
            blocked: HashMap::new(),
            ledger: Ledger::default(),
            missed: Missed::default(),
            needed_owners: BTreeSet::new(),
            existing_changed: false,
            blocked_changed: false,
            changes: Changes { visible: true, ..Changes::default() },
            generation: 0,
            content: 0,
        }
    }

    /// Folds one piece of news in. Call [`EnvironmentState::settle`] after a batch of them.
    pub fn apply(&mut self, delta: Delta, now: Timestamp) {
        match delta {
            Delta::Link(mut link) => {
                // A stream may have seen a sign of life after the station did.
                if let Link::Retrying { since, .. } = &mut link {
                    *since = self.last_seen.or(*since);
                }
                self.changes.visible |= self.link != link;
                if matches!(link, Link::Listing | Link::Live | Link::Denied { .. }) {
                    self.last_seen = Some(now);
                }
                self.link = link;
            }
            Delta::Ended { why } => {
                self.link = Link::Unreachable { why };
                self.changes.visible = true;
                for id in self.streams.live() {
                    self.set_sync(&id, Sync::Stale { since: now });
                }
            }
            Delta::Alive => self.last_seen = Some(now),
            Delta::Clock(skew) => {
                self.changes.visible |= self.skew != skew;
                self.skew = skew;
            }
            Delta::Server(facts) => {
                self.changes.visible |= self.server != facts;
                if self.server.cluster_uid != facts.cluster_uid {
                    self.events_went = None;
                }
                self.server = facts;
            }
            Delta::Kyverno(facts) => {
                self.changes.visible |= !std::mem::replace(&mut self.looked_at_kyverno, true);
                if self.facts != facts {
                    self.facts = facts;
                    self.blocked_changed = true;
                    self.content_changed();
                }
            }
            Delta::Answers(answers) => {
                if self.admission.set_answers(answers) {
                    self.content_changed();
                }
            }
            Delta::Resources(served) => {
                self.ledger.set_served(&served);
                if self.admission.set_served(served) {
                    self.content_changed();
                }
            }
            Delta::Existence(answers) => {
                self.changes.visible = true;
                self.missed.answered(&answers, now);
            }
            Delta::Stream(id, event) => {
                self.last_seen = Some(now);
                // The server writes what it writes by its own clock.
                self.there = self.skew.and_then(|skew| now.checked_add(skew).ok());
                self.ledger.set_time(self.there.unwrap_or(now).as_second());
                self.stream(&id, event);
            }
        }
    }

    fn stream(&mut self, id: &StreamId, event: StreamEvent) {
        if self.streams.is_new(id) {
            self.sync_changed(id);
        }
        match event {
            StreamEvent::State(sync) => {
                self.set_sync(id, sync);
            }
            StreamEvent::ListStarted => {
                if self.streams.list_started(id) {
                    self.sync_changed(id);
                }
                self.start_list(id);
                self.changes.visible = true;
            }
            StreamEvent::Listed { objects, total } => {
                self.streams.listed(id, objects.len() as u64, total);
                for object in &objects {
                    self.put(id, object);
                }
                self.changes.filling = true;
            }
            StreamEvent::ListEnded => {
                self.end_list(id);
                self.set_sync(id, Sync::Live);
            }
            StreamEvent::Changed(changes) => {
                for (change, object) in &changes {
                    match change {
                        Change::Put => self.put(id, object),
                        Change::Deleted => self.delete(id, object),
                    }
                }
            }
            StreamEvent::Skipped => {
                self.streams.skipped(id);
                self.sync_changed(id);
            }
            StreamEvent::Summaries(tally) => {
                self.streams.summaries(id, tally);
                self.changes.visible = true;
            }
            StreamEvent::NotInstalled => {
                self.start_list(id);
                self.drop_list(id);
                self.set_sync(id, Sync::NotInstalled);
            }
            StreamEvent::Unread { why } => {
                self.start_list(id);
                self.drop_list(id);
                if self.streams.unread(id, why) {
                    self.sync_changed(id);
                }
            }
            StreamEvent::Dropped => {
                self.start_list(id);
                self.drop_list(id);
                self.streams.remove(id);
                self.existing_changed = true;
                self.sync_changed(id);
            }
        }
    }

    fn set_sync(&mut self, id: &StreamId, sync: Sync) {
        if self.streams.set(id, sync) {
            self.sync_changed(id);
        }
    }

    fn sync_changed(&mut self, id: &StreamId) {
        self.changes.visible = true;
        self.existing_changed |= id.kind.kind().family == Family::Policy;
        self.blocked_changed |= id.kind.kind().family == Family::Event;
        if Admission::is_about(id.kind) {
            self.content_changed();
        }
    }

    fn start_list(&mut self, id: &StreamId) {
        match id.kind.kind().family {
            Family::Report | Family::Owner => self.ledger.start_list(index(id.kind), &id.namespace),
            Family::Policy => self.policies.start_list(id),
            Family::Exception => self.exceptions.start_list(id),
            Family::Namespace => self.namespaces.start_list(id),
            Family::Event => self.events.start_list(id),
            Family::Webhooks | Family::Native | Family::Binding => self.admission.start_list(id),
        }
    }

    fn end_list(&mut self, id: &StreamId) {
        match id.kind.kind().family {
            Family::Report => self.ledger.end_list(index(id.kind), &id.namespace),
            Family::Owner => self.ledger.end_links(index(id.kind), &id.namespace),
            Family::Policy => {
                if self.policies.end_list(id) {
                    self.policies_changed();
                }
                self.existing_changed = true;
            }
            Family::Exception => {
                if self.exceptions.end_list(id) {
                    self.content_changed();
                }
            }
            Family::Namespace => self.blocked_changed |= self.namespaces.end_list(id),
            Family::Event => self.blocked_changed |= self.events.end_list(id),
            Family::Webhooks | Family::Native | Family::Binding => {
                if self.admission.end_list(id) {
                    self.admission_changed(id);
                }
            }
        }
    }

    /// What the stream held is not read any more.
    fn drop_list(&mut self, id: &StreamId) {
        if id.kind.kind().family == Family::Report {
            self.ledger.drop_list(index(id.kind), &id.namespace);
        }
        self.end_list(id);
    }

    fn put(&mut self, id: &StreamId, object: &Bytes) {
        let kind = id.kind.kind();
        let read = match kind.family {
            Family::Report => self.ledger.put(index(id.kind), object).is_ok(),
            Family::Owner => self.put_owned(id, object),
            Family::Policy => self.put_policy(id, object),
            Family::Exception => value(object).and_then(|v| read_exception(kind, &v).ok()).is_some_and(|exception| {
                let (namespace, name) = (exception.namespace.clone(), exception.name.clone());
                self.exceptions.put(id.kind, namespace, name, Arc::new(exception));
                self.content_changed();
                true
            }),
            Family::Namespace => value(object).and_then(|v| Namespace::read(&v).ok()).is_some_and(|namespace| {
                self.blocked_changed |= self.namespaces.put(id.kind, String::new(), namespace.name.clone(), namespace);
                true
            }),
            Family::Webhooks | Family::Native | Family::Binding => {
                let read = value(object).and_then(|v| self.admission.put(id.kind, &v));
                if read == Some(true) {
                    self.admission_changed(id);
                }
                read.is_some()
            }
            Family::Event => value(object).is_some_and(|v| {
                let (namespace, name) = (text(&v, "namespace"), text(&v, "name"));
                self.blocked_changed |= match read_event(&v) {
                    Some(mut event) => {
                        // One that is counted up may name any time as its last; one that is not yet is no time.
                        event.at = event.at.filter(|at| self.there.is_none_or(|there| at.duration_since(there) <= CLOCKS_DIFFER));
                        self.events.put(id, namespace, name, event)
                    }
                    None => self.events.remove(id, &namespace, &name),
                };
                true
            }),
        };
        if !read {
            self.streams.skipped(id);
            self.sync_changed(id);
        }
    }

    fn put_policy(&mut self, id: &StreamId, object: &Bytes) -> bool {
        let Some(policy) = value(object).and_then(|v| read_policy(id.kind.kind(), &v).ok()) else { return false };
        let key = PolicyKey { source: Arc::from(policy.source), id: Arc::new(policy.id.clone()) };
        let (namespace, name) = (policy.id.namespace.clone().unwrap_or_default(), policy.id.name.clone());
        let old = self.policies.get(id.kind, &namespace, &name);
        // Kyverno writes a policy's status over and over; only what is read counts as a change.
        if old.is_none_or(|old| *old.policy != policy) {
            self.policies_changed();
        }
        self.policies.put(id.kind, namespace, name, KeptPolicy { key, policy: Arc::new(policy) });
        true
    }

    fn put_owned(&mut self, id: &StreamId, object: &Bytes) -> bool {
        let Ok(Owned { metadata }) = serde_json::from_slice::<Owned>(object) else { return false };
        if self.ledger.has_room(object.len()).is_err() {
            return false;
        }
        let (kind, version) = (id.kind.kind(), id.kind.kind().versions.first().copied().unwrap_or_default());
        let api_version = kind.api_version(version);
        let child = Ledger::reference(&api_version, kind.kind, &metadata.namespace, &metadata.name, &metadata.uid);
        let owner = metadata.owner_references.iter().find(|owner| owner.controller);
        let reference: Option<Reference<'_>> =
            owner.map(|owner| Ledger::reference(&owner.api_version, &owner.kind, &metadata.namespace, &owner.name, &owner.uid));
        self.ledger.link(index(id.kind), &child, reference.as_ref());
        if let Some(needed) = owner.and_then(|owner| owner_kind(&owner.kind)) {
            self.changes.visible |= self.needed_owners.insert(needed);
        }
        true
    }

    fn delete(&mut self, id: &StreamId, object: &Bytes) {
        let Ok(metadata) = read_metadata(object) else {
            // What went is not known.
            self.streams.skipped(id);
            self.sync_changed(id);
            return;
        };
        let (namespace, name) = (metadata.namespace.as_str(), metadata.name.as_str());
        match id.kind.kind().family {
            Family::Report => self.ledger.remove(index(id.kind), namespace, name),
            Family::Owner => self.ledger.unlink(namespace, metadata.uid.as_str()),
            Family::Policy => {
                if self.policies.remove(id.kind, namespace, name) {
                    self.policies_changed();
                }
            }
            Family::Exception => {
                if self.exceptions.remove(id.kind, namespace, name) {
                    self.content_changed();
                }
            }
            Family::Namespace => self.blocked_changed |= self.namespaces.remove(id.kind, namespace, name),
            Family::Event => {
                self.blocked_changed |= self.events.remove(id, namespace, name);
                self.event_went(object);
            }
            Family::Webhooks | Family::Native | Family::Binding => {
                if self.admission.remove(id.kind, name) {
                    self.admission_changed(id);
                }
            }
        }
    }

    /// An event that goes young shows that the server keeps events for less than an hour; unless older ones stay, so that this one was deleted.
    fn event_went(&mut self, object: &Bytes) {
        let Some((at, there)) = value(object).and_then(|event| event_time(&event)).zip(self.there) else { return };
        let age = there.duration_since(at);
        let is_young = !age.is_negative() && age < EVENTS_KEPT.saturating_sub(CLOCKS_DIFFER);
        if is_young && self.events.values().all(|other| other.at.is_none_or(|other| other >= at)) {
            self.events_went = Some(self.events_went.map_or(age, |before| before.min(age)));
            self.changes.visible = true;
        }
    }

    fn policies_changed(&mut self) {
        (self.existing_changed, self.blocked_changed) = (true, true);
        self.content_changed();
    }

    fn admission_changed(&mut self, id: &StreamId) {
        // Which native policy was generated from what says whose its results are.
        self.existing_changed |= id.kind.kind().family == Family::Native;
        self.content_changed();
    }

    fn content_changed(&mut self) {
        (self.changes.visible, self.in_force_changed) = (true, true);
        self.content += 1;
    }

    /// Ends a batch: brings everything that follows from it up to date.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.existing_changed) {
            let existing = self.existing();
            self.ledger.set_existing(existing);
        }
        let before = self.needed_owners.len();
        self.needed_owners.extend(self.ledger.resource_kinds().filter_map(owner_kind));
        let guessing = KindId::of_family(Family::Owner).any(|kind| self.needed_owners.contains(&kind) && self.streams.is_denied(kind));
        self.changes.visible |= self.ledger.set_guessing(guessing) || before != self.needed_owners.len();
        self.ledger.settle();
        self.look_for_missed();
        let (changed, retimed) = self.ledger.take_changes();
        if changed {
            self.content += 1;
            if self.streams.is_filling() {
                self.changes.filling = true;
            } else {
                self.changes.visible = true;
            }
            self.blocked_changed |= self.events.values().any(|event| event.doubtful);
        }
        self.changes.retimed |= retimed;
        self.changes.visible |= self.blocked_changed;
    }

    /// Takes up the failing results that no report has any more, and forgets those of which it is known by now what they mean.
    fn look_for_missed(&mut self) {
        let found = self.ledger.take_ceased();
        let Some(now) = self.there.or(self.last_seen) else { return };
        if found.is_empty() && self.missed.is_empty() {
            return;
        }
        let revisions: HashMap<&PolicyKey, _> = self.policies.values().map(|kept| (&kept.key, &kept.policy.revision)).collect();
        let revision = |key: &PolicyKey| revisions.get(key).copied();
        let is_new = !found.is_empty();
        self.missed.add(found, revision, now);
        self.changes.visible |= self.missed.settle(&self.ledger, revision, self.facts.scan_interval, now) || is_new;
    }

    /// Resources that should be asked for: whether they exist decides what it means that nothing is reported about them.
    pub fn to_ask(&self) -> BTreeSet<Arc<ResourceRef>> {
        self.last_seen.map(|now| self.missed.to_ask(now)).unwrap_or_default()
    }

    /// Gives back what churn has left behind, and makes exact what only grows meanwhile (newest evaluation, worst severity of a policy that is
    /// known from results alone). Call it every few seconds, between batches.
    pub fn tidy(&mut self) {
        self.settle();
        self.ledger.tidy();
        if self.ledger.take_changes().0 {
            self.content_changed();
        }
    }

    /// Owner kinds whose metadata is needed to collapse what is reported.
    pub fn needed_owners(&self) -> &BTreeSet<KindId> {
        &self.needed_owners
    }

    /// What has changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    fn existing(&self) -> Existing {
        let mut existing = HashMap::new();
        for kind in KindId::of_family(Family::Policy) {
            let Some(source) = crate::kinds::report::source_of_kind(kind.kind().group, kind.kind().kind) else { continue };
            let known: &mut Known = existing.entry(source).or_default();
            let complete = self.streams.was_complete(kind);
            if kind.kind().namespaced {
                known.namespaced = complete;
            } else {
                known.cluster_wide = complete;
            }
        }
        for kept in self.policies.values() {
            let Some(known) = existing.get_mut(kept.policy.source) else { continue };
            let named = kept.policy.cel.is_none() && kept.policy.id.group == "kyverno.io";
            let rules = named.then(|| kept.policy.rules.iter().map(|rule| rule.name.clone()).collect());
            known.policies.insert(kept.policy.id.report_name(), rules);
        }
        if let Some(known) = existing.get_mut("kyverno") {
            known.namesakes = self.admission.namesakes("ClusterPolicy").filter(|(name, _)| known.policies.contains_key(name)).collect();
        }
        Existing(existing)
    }

    /// Counts refused admissions by policy.
    fn count_blocked(&mut self) {
        let mut blocked: HashMap<crate::domain::PolicyId, u64> = HashMap::new();
        for event in self.true_blocks() {
            *blocked.entry(event.policy.clone()).or_default() += event.count;
        }
        self.blocked = blocked;
    }

    /// The events of refused admissions without those that are not true: of CEL policies that cannot block where the resource is, or
    /// whose resource exists all the same (seen on Kyverno 1.19.1: any policy with `Deny` marks the others' events too).
    fn true_blocks(&self) -> impl Iterator<Item = &BlockedAdmission> {
        let by_id: BTreeMap<_, _> = self.policies.values().map(|kept| (&*kept.key.id, &kept.policy)).collect();
        self.events.values().filter(move |event| {
            let namespace = || self.namespace(&event.resource.namespace);
            let harmless =
                || by_id.get(&event.policy).is_some_and(|policy| !mode_in(policy, &self.facts.kyverno, &namespace()).can_block());
            !event.doubtful || !(harmless() || self.ledger.knows_uid(&event.resource.namespace, &event.resource.uid))
        })
    }

    /// Whether all namespaces have been listed, with their labels.
    fn labels_are_known(&self) -> bool {
        KindId::of_family(Family::Namespace).all(|kind| self.streams.was_complete(kind))
    }

    /// Whether there is a namespace of this name; `None` where not all are known.
    pub fn has_namespace(&self, name: &str) -> Option<bool> {
        let is_there = KindId::of_family(Family::Namespace).any(|kind| self.namespaces.get(kind, "", name).is_some());
        (is_there || self.labels_are_known()).then_some(is_there)
    }

    fn namespace(&self, name: &str) -> Namespace {
        KindId::of_family(Family::Namespace)
            .find_map(|kind| self.namespaces.get(kind, "", name).cloned())
            .unwrap_or_else(|| Namespace::new(name, BTreeMap::new()))
    }
}

/// A kind as the ledger numbers it.
fn index(kind: KindId) -> u8 {
    kind.index() as u8
}

fn value(object: &Bytes) -> Option<serde_json::Value> {
    serde_json::from_slice(object).ok()
}

fn text(object: &serde_json::Value, field: &str) -> String {
    object.get("metadata").and_then(|m| m.get(field)).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The owner kind of that name. Names are enough: no two owner kinds share one.
fn owner_kind(kind: &str) -> Option<KindId> {
    KindId::of_family(Family::Owner).find(|id| id.kind().kind == kind)
}
