//! What is true after some news, kept the simplest way: whole objects by name, and everything counted again each time.
//!
//! Nothing here asks the code under test; what is counted follows docs/counting.md.

use super::acts::now;
use super::world::RESOURCES;
use crate::domain::{Link, Sync};
use crate::fleet::delta::{Change, Delta, StreamEvent, StreamId};
use crate::kinds::{Family, KindId};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Namespace and name.
pub(super) type Name = (String, String);

/// A stream, as its news tell it.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) sync: Sync,
    pub(super) complete: bool,
    /// What the list that is under way has named.
    pub(super) named: Option<BTreeSet<Name>>,
    pub(super) skipped: u64,
    pub(super) skipped_in_list: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) held: BTreeMap<(KindId, String, String), Value>,
    /// Owner kinds that anything ever hinted at.
    pub(super) needed: BTreeSet<&'static str>,
    pub(super) link: Option<Link>,
    pub(super) kyverno: Option<Delta>,
}

impl Model {
    /// What a stream holds, in order.
    pub(super) fn held_by(&self, id: &StreamId) -> Vec<Value> {
        let of = |(kind, namespace, _): &(KindId, String, String)| *kind == id.kind && is_in(id, namespace);
        self.held.iter().filter(|(key, _)| of(key)).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn apply(&mut self, delta: &Delta) {
        match delta {
            Delta::Link(link) => self.link = Some(link.clone()),
            Delta::Ended { why } => {
                self.link = Some(Link::Unreachable { why: why.clone() });
                let live = self.streams.values_mut().filter(|stream| stream.sync == Sync::Live);
                live.for_each(|stream| stream.set(&Sync::Stale { since: now() }));
            }
            Delta::Kyverno(_) => self.kyverno = Some(delta.clone()),
            Delta::Alive | Delta::Server(_) | Delta::Clock(_) | Delta::Answers(_) | Delta::Resources(_) | Delta::Existence(_) => {}
            Delta::Stream(id, event) => self.stream(id, event),
        }
    }

    fn stream(&mut self, id: &StreamId, event: &StreamEvent) {
        let fresh = Stream { sync: Sync::Connecting, complete: false, named: None, skipped: 0, skipped_in_list: None };
        let stream = self.streams.entry(id.clone()).or_insert(fresh);
        match event {
            StreamEvent::State(sync) => stream.set(sync),
            StreamEvent::ListStarted => {
                stream.set(&Sync::Listing { seen: 0, total: None });
                (stream.named, stream.skipped_in_list) = (Some(BTreeSet::new()), Some(0));
            }
            StreamEvent::Listed { objects, .. } => objects.iter().for_each(|object| self.put(id, object)),
            StreamEvent::ListEnded => {
                if let Some(named) = stream.named.take() {
                    self.sweep(id, &named);
                }
                self.streams.entry(id.clone()).and_modify(|stream| stream.set(&Sync::Live));
            }
            StreamEvent::Changed(changes) => {
                for (change, object) in changes {
                    match change {
                        Change::Put => self.put(id, object),
                        Change::Deleted => self.delete(id, object),
                    }
                }
            }
            StreamEvent::Skipped => stream.skip(),
            StreamEvent::Summaries(_) => {}
            StreamEvent::NotInstalled => {
                stream.set(&Sync::NotInstalled);
                (stream.named, stream.skipped) = (None, 0);
                self.sweep(id, &BTreeSet::new());
            }
            StreamEvent::Unread { why } => {
                stream.set(&Sync::Unread { why: why.clone() });
                (stream.named, stream.skipped, stream.skipped_in_list, stream.complete) = (None, 0, None, false);
                self.sweep(id, &BTreeSet::new());
            }
            StreamEvent::Dropped => {
                self.streams.remove(id);
                self.sweep(id, &BTreeSet::new());
            }
        }
    }

    fn sweep(&mut self, id: &StreamId, named: &BTreeSet<Name>) {
        self.held.retain(|(kind, namespace, name), _| {
            *kind != id.kind || !is_in(id, namespace) || named.contains(&(namespace.clone(), name.clone()))
        });
    }

    fn put(&mut self, id: &StreamId, object: &Bytes) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Ok(object) = serde_json::from_slice::<Value>(object) else { return stream.skip() };
        let (namespace, name) = name_of(&object);
        if let Some(named) = &mut stream.named {
            named.insert((namespace.clone(), name.clone()));
        }
        self.needs(id.kind, &object);
        self.held.insert((id.kind, namespace, name), object);
    }

    fn delete(&mut self, id: &StreamId, object: &Bytes) {
        match serde_json::from_slice::<Value>(object) {
            Ok(object) => {
                let (namespace, name) = name_of(&object);
                self.held.remove(&(id.kind, namespace, name));
            }
            // What went is not known.
            Err(_) => drop(self.streams.get_mut(id).map(Stream::skip)),
        }
    }

    /// Owner kinds that have to be read, once anything of that kind was seen.
    fn needs(&mut self, kind: KindId, object: &Value) {
        let owners = || KindId::of_family(Family::Owner).map(|kind| kind.kind().kind);
        match kind.kind().family {
            Family::Report => {
                let kinds: Vec<String> =
                    results(object).flat_map(|(_, result)| subjects(kind, object, result, 0)).map(|s| s.kind).collect();
                self.needed.extend(owners().filter(|kind| kinds.iter().any(|k| k == kind)));
            }
            Family::Owner => {
                let owner = controller(object).map(|owner| text(owner, "kind"));
                self.needed.extend(owners().filter(|kind| owner.as_deref() == Some(*kind)));
            }
            _ => {}
        }
    }

    /// Whether everything of a kind was known once, and nothing is left out.
    pub(super) fn is_known(&self, group: &str, kind: &str) -> bool {
        let mut streams = self.streams.iter().filter(|(id, _)| id.kind.kind().group == group && id.kind.kind().kind == kind).peekable();
        streams.peek().is_some()
            && streams.all(|(_, stream)| stream.complete && stream.left_out() == 0 && !matches!(stream.sync, Sync::Denied { .. }))
    }

    /// Whether owners are guessed, because those that are needed may not be read.
    pub(super) fn guesses(&self) -> bool {
        let denied = |(id, stream): (&StreamId, &Stream)| {
            matches!(stream.sync, Sync::Denied { .. })
                && id.kind.kind().family == Family::Owner
                && self.needed.contains(id.kind.kind().kind)
        };
        self.streams.iter().any(denied)
    }

    pub(super) fn of_family(&self, family: Family) -> impl Iterator<Item = (KindId, &Value)> {
        self.held.iter().filter(move |((kind, ..), _)| kind.kind().family == family).map(|((kind, ..), object)| (*kind, object))
    }
}

impl Stream {
    fn set(&mut self, sync: &Sync) {
        let starts = matches!(sync, Sync::Connecting | Sync::Listing { .. });
        if starts && self.sync == Sync::NotInstalled {
            self.complete = false;
        }
        if starts && self.complete {
            return;
        }
        if sync.is_complete() {
            self.complete = true;
            self.skipped = self.skipped_in_list.take().unwrap_or(self.skipped);
        }
        self.sync = sync.clone();
    }

    /// Objects that exist and are not held.
    pub(super) fn left_out(&self) -> u64 {
        self.skipped.max(self.skipped_in_list.unwrap_or_default())
    }

    fn skip(&mut self) {
        *self.skipped_in_list.as_mut().unwrap_or(&mut self.skipped) += 1;
    }
}

fn is_in(id: &StreamId, namespace: &str) -> bool {
    id.namespace.is_empty() || *id.namespace == *namespace
}

pub(super) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn name_of(object: &Value) -> Name {
    (text(&object["metadata"], "namespace"), text(&object["metadata"], "name"))
}

/// The results that can be counted, with their places among these.
pub(super) fn results(report: &Value) -> impl Iterator<Item = (usize, &Value)> {
    let words = ["pass", "skip", "warn", "fail", "error"];
    let readable = move |result: &&Value| !text(result, "policy").is_empty() && words.contains(&text(result, "result").as_str());
    report["results"].as_array().into_iter().flatten().filter(readable).enumerate()
}

pub(super) fn controller(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// A resource as findings name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    /// What makes it the same one.
    pub(super) id: String,
    /// How a row shows it.
    pub(super) shown: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(super) uid: String,
    /// The owner that its name suggests.
    pub(super) guess: Option<String>,
    /// It is not in the namespace of the report that names it.
    pub(super) elsewhere: bool,
}

impl Subject {
    /// What a reference names in a report (or beside an owned object) of that namespace.
    pub(super) fn of(reference: &Value, home: &str) -> Self {
        let [kind, said, name, uid] = ["kind", "namespace", "name", "uid"].map(|field| text(reference, field));
        let namespace = if said.is_empty() { home.to_owned() } else { said.clone() };
        let path = format!("{kind}/{namespace}/{name}");
        let known = RESOURCES.iter().find(|r| r.kind == kind && r.name == name);
        let guess = known.and_then(|known| known.guess).map(|(kind, name)| format!("{kind}/{namespace}/{name}"));
        let version = text(reference, "apiVersion");
        let group = if version.contains('/') { version.split('/').next().unwrap_or_default() } else { "" };
        let id = if uid.is_empty() { format!("named {path} of {group}") } else { format!("{namespace} {uid}") };
        let in_none = [("", "Namespace"), ("rbac.authorization.k8s.io", "ClusterRole")].contains(&(group, kind.as_str()));
        let elsewhere = !home.is_empty() && (!said.is_empty() && said != home || in_none);
        Self { id, shown: if uid.is_empty() { path } else { uid.clone() }, kind, namespace, name, uid, guess, elsewhere }
    }

    /// What does not say its group and kind is the same one only in the same report, in the same words.
    fn in_report(mut self, report: &str, reference: &Value) -> Self {
        if self.uid.is_empty() && ["apiVersion", "kind"].iter().any(|field| text(reference, field).is_empty()) {
            let words = ["apiVersion", "kind", "namespace", "name"].map(|field| text(reference, field));
            self.id = format!("{} {words:?} in {report}", self.id);
        }
        self
    }
}

/// Whether a reference says nothing that the scope does not say, too; the namespace of both may be the report's.
fn is_short_for(reference: &Value, scope: &Value, home: &str) -> bool {
    let group = |of: &Value| text(of, "apiVersion").rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    let said = |of: &Value, field: &str| match (field, text(of, field)) {
        ("namespace", none) if none.is_empty() => home.to_owned(),
        ("apiVersion", version) if !version.is_empty() => format!("group {}", group(of)),
        (_, said) => said,
    };
    let fits = |field: &str| text(reference, field).is_empty() || said(reference, field) == said(scope, field);
    ["apiVersion", "kind", "namespace", "name", "uid"].into_iter().all(fits)
}

/// The resources that a result is about; `kind` is that of the report.
pub(super) fn subjects(kind: KindId, report: &Value, result: &Value, place: usize) -> Vec<Subject> {
    let names_something = |reference: &&Value| ["name", "uid"].iter().any(|field| !text(reference, field).is_empty());
    let (namespace, name) = name_of(report);
    let (report_id, scope) = (format!("{} {namespace}/{name}", kind.index()), Some(&report["scope"]).filter(names_something));
    let own: Vec<&Value> = result["resources"].as_array().into_iter().flatten().filter(names_something).collect();
    if !own.is_empty() {
        let meant = |reference| scope.filter(|scope| is_short_for(reference, scope, &namespace)).unwrap_or(reference);
        return own
            .into_iter()
            .map(|reference| Subject::of(meant(reference), &namespace).in_report(&report_id, meant(reference)))
            .collect();
    }
    if let Some(scope) = scope {
        return vec![Subject::of(scope, &namespace).in_report(&report_id, scope)];
    }
    let shown = format!("{}/{namespace}/{name}", kind.kind().kind);
    let id = format!("report {shown} {place} {}", kind.index());
    let (empty, kind) = (String::new, kind.kind().kind.to_owned());
    vec![Subject { id, shown, kind, namespace, name, uid: empty(), guess: None, elsewhere: false }]
}
