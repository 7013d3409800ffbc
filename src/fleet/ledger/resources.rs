//! The resources that findings are about, and who owns whom.

use super::rows::ReportName;
use crate::domain::ResourceRef;
use crate::fleet::strings::{StrId, Strings};
use crate::kinds::report::{Reference, Text};
use crate::kinds::{KindId, REGISTRY, group_of};
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use std::hash::BuildHasher;

/// A resource in [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ResourceId(u32);

/// No resource.
const NONE: ResourceId = ResourceId(u32::MAX);

/// What makes a resource the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Identity {
    /// By namespace and UID, the usual case. The namespace is part of it, so that a report cannot speak for what is elsewhere.
    Uid(StrId, ReportName),
    /// By namespace, API group, kind and name, where a report names no UID.
    Named(StrId, StrId, StrId, StrId),
    /// By the report itself and the result's position, where a result names no resource.
    Report(u8, StrId, ReportName, u32),
    /// By the report (kind, namespace, name) and the words of the reference, where these lack API version or kind: in another report they may
    /// mean something else.
    Incomplete(u8, StrId, ReportName, StrId),
    /// By the report (kind, namespace, name) and the words of the reference, where it names what the report cannot speak for.
    Claimed(u8, StrId, ReportName, StrId),
    /// An owner guessed by name: kind, namespace and name.
    Guessed(StrId, StrId, StrId),
}

#[derive(Debug)]
struct Node {
    identity: Identity,
    api_version: StrId,
    kind: StrId,
    namespace: StrId,
    name: StrId,
    parent: ResourceId,
    first_child: ResourceId,
    next_sibling: ResourceId,
    /// Which owner kind's stream made the link to the parent, and in which round; see [`super::owners`].
    linked_by: u8,
    linked_in: u32,
    used: bool,
    reports: Vec<u32>,
}

/// All resources of an environment, as a forest of owners.
#[derive(Debug)]
pub(super) struct Resources {
    nodes: Vec<Node>,
    free: Vec<ResourceId>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Kinds that reports have named, ever.
    reported_kinds: HashSet<StrId>,
    /// Links made by each owner kind's stream.
    links: [u64; KindId::COUNT],
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            reported_kinds: HashSet::new(),
            links: [0; KindId::COUNT],
        }
    }
}

impl Resources {
    fn node(&self, id: ResourceId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    fn node_mut(&mut self, id: ResourceId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    fn find(&self, identity: Identity) -> Option<ResourceId> {
        let hash = self.hasher.hash_one(identity);
        self.index.find(hash, |&id| self.nodes.get(id as usize).is_some_and(|n| n.identity == identity)).map(|&id| ResourceId(id))
    }

    /// The resource of a namespace with this UID.
    pub(super) fn find_uid(&self, namespace: &str, uid: &str, strings: &Strings) -> Option<ResourceId> {
        self.find(Identity::Uid(strings.find(namespace)?, ReportName::find(uid, strings)?))
    }

    /// The resource that is called so, if some report names it or its owner's stream does.
    pub(super) fn find_ref(&self, resource: &ResourceRef, strings: &Strings) -> Option<ResourceId> {
        let namespace = strings.find(&resource.namespace)?;
        if resource.uid.is_empty() {
            let [group, kind, name] = [group_of(&resource.api_version), &resource.kind, &resource.name].map(|text| strings.find(text));
            return self.find(Identity::Named(namespace, group?, kind?, name?));
        }
        self.find(Identity::Uid(namespace, ReportName::find(&resource.uid, strings)?))
    }

    /// The resource that a reference in a report (kind, namespace, name) names, new or known; without a namespace, it is in that of the report. A
    /// later reference that says more (a name to a bare UID) completes it.
    pub(super) fn named_in(&mut self, report: (u8, StrId, ReportName), reference: &Reference<'_>, strings: &mut Strings) -> ResourceId {
        let Reference { api_version, kind, namespace, name, uid } = reference;
        let is_complete = !uid.as_str().is_empty() || !(api_version.as_str().is_empty() || kind.as_str().is_empty());
        let (report_kind, home, report) = report;
        if is_complete {
            let elsewhere = home != StrId::EMPTY && !namespace.as_str().is_empty() && namespace.as_str() != strings.get(home);
            return self.intern_as(reference, home, !elsewhere, strings);
        }
        let words = [api_version, kind, namespace, name].map(Text::as_str);
        let id = self.get_or_add(Identity::Incomplete(report_kind, home, report, strings.intern(&words.join(" "))));
        self.call(id, if namespace.as_str().is_empty() { home } else { strings.intern(namespace.as_str()) }, reference, strings);
        id
    }

    /// What a report (kind, namespace, name) claims about something that is not in its namespace: never the resource itself, nor what another report claims.
    pub(super) fn claimed_in(&mut self, report: (u8, StrId, ReportName), reference: &Reference<'_>, strings: &mut Strings) -> ResourceId {
        let Reference { api_version, kind, namespace, name, uid } = reference;
        // What is elsewhere though its namespace is that of the report is in none.
        let namespace = Some(namespace.as_str()).filter(|namespace| *namespace != strings.get(report.1)).unwrap_or_default();
        let words = [api_version.as_str(), kind.as_str(), namespace, name.as_str(), uid.as_str()].join("\0");
        let (report_kind, home, report) = report;
        let id = self.get_or_add(Identity::Claimed(report_kind, home, report, strings.intern(&words)));
        self.call(id, strings.intern(namespace), reference, strings);
        id
    }

    /// Notes what a resource is called.
    fn call(&mut self, id: ResourceId, namespace: StrId, reference: &Reference<'_>, strings: &mut Strings) {
        let [api_version, kind, name] =
            [&reference.api_version, &reference.kind, &reference.name].map(|text| strings.intern(text.as_str()));
        if let Some(node) = self.node_mut(id) {
            (node.api_version, node.kind, node.namespace, node.name) = (api_version, kind, namespace, name);
        }
    }

    /// The resource a reference names by itself; without a namespace, it is in `home`.
    pub(super) fn intern(&mut self, reference: &Reference<'_>, home: StrId, strings: &mut Strings) -> ResourceId {
        self.intern_as(reference, home, true, strings)
    }

    /// The same; only who may speak for a resource says what it `is_called`, unless nothing else says so.
    fn intern_as(&mut self, reference: &Reference<'_>, home: StrId, is_called: bool, strings: &mut Strings) -> ResourceId {
        let kind = strings.intern(reference.kind.as_str());
        let namespace = if reference.namespace.as_str().is_empty() { home } else { strings.intern(reference.namespace.as_str()) };
        let name = strings.intern(reference.name.as_str());
        let identity = if reference.uid.as_str().is_empty() {
            Identity::Named(namespace, strings.intern(group_of(reference.api_version.as_str())), kind, name)
        } else {
            Identity::Uid(namespace, ReportName::new(reference.uid.as_str(), strings))
        };
        let id = self.get_or_add(identity);
        let api_version = strings.intern(reference.api_version.as_str());
        if let Some(node) = self.node_mut(id)
            && name != StrId::EMPTY
            && (is_called || node.name == StrId::EMPTY)
        {
            (node.api_version, node.kind, node.namespace, node.name) = (api_version, kind, namespace, name);
        }
        id
    }

    /// The stand-in for the resource of a result that names none.
    pub(super) fn of_report(&mut self, kind: u8, namespace: StrId, name: ReportName, position: usize, strings: &mut Strings) -> ResourceId {
        let id = self.get_or_add(Identity::Report(kind, namespace, name, position as u32));
        if self.node(id).is_some_and(|node| node.name != StrId::EMPTY) {
            return id;
        }
        let shown = strings.intern(&name.to_text(strings));
        // It is shown as the report that says so.
        let known = REGISTRY.get(usize::from(kind)).map(|kind| (kind.api_version(kind.versions.first().unwrap_or(&"")), kind.kind));
        let (version, kind) =
            known.map_or((StrId::EMPTY, StrId::EMPTY), |(version, kind)| (strings.intern(&version), strings.intern(kind)));
        if let Some(node) = self.node_mut(id) {
            (node.api_version, node.kind, node.namespace, node.name) = (version, kind, namespace, shown);
        }
        id
    }

    /// An owner guessed by name.
    pub(super) fn guessed(&mut self, kind: StrId, namespace: StrId, name: StrId) -> ResourceId {
        let id = self.get_or_add(Identity::Guessed(kind, namespace, name));
        if let Some(node) = self.node_mut(id) {
            (node.kind, node.namespace, node.name) = (kind, namespace, name);
        }
        id
    }

    fn get_or_add(&mut self, identity: Identity) -> ResourceId {
        if let Some(id) = self.find(identity) {
            return id;
        }
        let node = Node {
            identity,
            api_version: StrId::EMPTY,
            kind: StrId::EMPTY,
            namespace: StrId::EMPTY,
            name: StrId::EMPTY,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            linked_by: 0,
            linked_in: 0,
            used: true,
            reports: Vec::new(),
        };
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.node_mut(id) {
                *place = node;
            }
            id
        } else {
            self.nodes.push(node);
            ResourceId((self.nodes.len() - 1) as u32)
        };
        let hash = self.hasher.hash_one(identity);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.index.insert_unique(hash, id.0, |&id| nodes.get(id as usize).map_or(0, |n| hasher.hash_one(n.identity)));
        id
    }

    /// The reports that name it.
    pub(super) fn reports(&self, id: ResourceId) -> &[u32] {
        self.node(id).map_or(&[], |node| &node.reports)
    }

    pub(super) fn add_report(&mut self, id: ResourceId, report: u32) {
        let mut kind = StrId::EMPTY;
        if let Some(node) = self.node_mut(id) {
            kind = node.kind;
            if node.reports.is_empty() {
                // One report is the usual case; the next power of two would waste most of it.
                node.reports.reserve_exact(1);
            }
            node.reports.push(report);
        }
        self.reported_kinds.insert(kind);
    }

    pub(super) fn drop_report(&mut self, id: ResourceId, report: u32) {
        if let Some(node) = self.node_mut(id) {
            node.reports.retain(|&other| other != report);
        }
    }

    /// The owner at the top. Every chain has one, however long it is: [`Resources::link`] makes no circles.
    pub(super) fn top(&self, id: ResourceId) -> ResourceId {
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            at = parent;
        }
        at
    }

    /// The direct owner.
    pub(super) fn parent(&self, id: ResourceId) -> Option<ResourceId> {
        self.node(id).map(|node| node.parent).filter(|&parent| parent != NONE)
    }

    /// Whether the owner was guessed by name.
    pub(super) fn is_guessed(&self, id: ResourceId) -> bool {
        self.node(id).is_some_and(|node| matches!(node.identity, Identity::Guessed(..)))
    }

    /// Whether the API server shows an owner of it, or something that it owns.
    pub(super) fn is_linked(&self, id: ResourceId) -> bool {
        let owns = self.node(id).is_some_and(|node| node.first_child != NONE);
        owns || self.parent(id).is_some_and(|parent| !self.is_guessed(parent))
    }

    /// Whether a report only claims it.
    pub(super) fn is_claimed(&self, id: ResourceId) -> bool {
        self.node(id).is_some_and(|node| matches!(node.identity, Identity::Claimed(..)))
    }

    /// Puts `child` under `parent`; the caller has opened both families. Refuses to make a circle: API servers let anybody write one.
    pub(super) fn link(&mut self, child: ResourceId, parent: ResourceId, by: u8, round: u32) {
        if std::iter::successors(Some(parent), |&at| self.parent(at)).any(|above| above == child) {
            return;
        }
        self.unlink(child);
        let sibling = self.node(parent).map_or(NONE, |node| node.first_child);
        if let Some(node) = self.node_mut(child) {
            (node.parent, node.next_sibling, node.linked_by, node.linked_in) = (parent, sibling, by, round);
        }
        if let Some(node) = self.node_mut(parent) {
            node.first_child = child;
        }
        self.count_link(by, true);
    }

    /// Takes `child` from its owner; the caller has opened the family. Returns the former owner.
    pub(super) fn unlink(&mut self, child: ResourceId) -> Option<ResourceId> {
        let parent = self.parent(child)?;
        let next = self.node(child).map_or(NONE, |node| node.next_sibling);
        let first = self.node(parent).map_or(NONE, |node| node.first_child);
        if first == child {
            if let Some(node) = self.node_mut(parent) {
                node.first_child = next;
            }
        } else {
            let mut at = first;
            while at != NONE {
                let following = self.node(at).map_or(NONE, |node| node.next_sibling);
                if following == child {
                    if let Some(node) = self.node_mut(at) {
                        node.next_sibling = next;
                    }
                    break;
                }
                at = following;
            }
        }
        let mut by = u8::MAX;
        if let Some(node) = self.node_mut(child) {
            (node.parent, node.next_sibling) = (NONE, NONE);
            by = node.linked_by;
        }
        self.count_link(by, false);
        Some(parent)
    }

    /// Marks a link as still named by its stream.
    pub(super) fn saw_link(&mut self, child: ResourceId, by: u8, round: u32) {
        let mut before = by;
        if let Some(node) = self.node_mut(child) {
            before = std::mem::replace(&mut node.linked_by, by);
            node.linked_in = round;
        }
        self.count_link(before, false);
        self.count_link(by, true);
    }

    /// Children whose link was made by a kind's stream (in one namespace, unless the scope is empty) and not seen since `round`.
    pub(super) fn links_older_than(&self, by: u8, scope: StrId, round: u32) -> Vec<ResourceId> {
        let old = |n: &Node| {
            n.used && n.parent != NONE && n.linked_by == by && n.linked_in < round && (scope == StrId::EMPTY || n.namespace == scope)
        };
        self.nodes.iter().enumerate().filter(|(_, node)| old(node)).map(|(id, _)| ResourceId(id as u32)).collect()
    }

    /// How many links a kind's stream made.
    pub(super) fn links_by(&self, by: u8) -> u64 {
        self.links.get(by as usize).copied().unwrap_or_default()
    }

    fn count_link(&mut self, by: u8, made: bool) {
        if let Some(links) = self.links.get_mut(by as usize) {
            *links = if made { *links + 1 } else { links.saturating_sub(1) };
        }
    }

    /// Children whose owner was guessed.
    pub(super) fn guessed_links(&self) -> Vec<ResourceId> {
        self.all().filter(|&id| self.parent(id).is_some_and(|parent| self.is_guessed(parent))).collect()
    }

    pub(super) fn push_children(&self, id: ResourceId, stack: &mut Vec<ResourceId>) {
        let mut at = self.node(id).map_or(NONE, |node| node.first_child);
        while at != NONE {
            stack.push(at);
            at = self.node(at).map_or(NONE, |node| node.next_sibling);
        }
    }

    /// Forgets a resource that nothing names any more. A guess names nothing: it goes with the resource that it was made for.
    pub(super) fn free_if_unused(&mut self, id: ResourceId) {
        let Some(node) = self.node(id) else { return };
        let (parent, is_named) = (node.parent, !node.reports.is_empty() || node.first_child != NONE);
        if !node.used || is_named || (parent != NONE && !self.is_guessed(parent)) {
            return;
        }
        self.unlink(id);
        let Some(node) = self.node_mut(id) else { return };
        node.used = false;
        node.reports = Vec::new();
        let identity = node.identity;
        let hash = self.hasher.hash_one(identity);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id.0) {
            entry.remove();
        }
        self.free.push(id);
        if parent != NONE {
            self.free_if_unused(parent);
        }
    }

    /// Shows every text's number to `visit`. Call [`Resources::reindex`] after changing them.
    pub(super) fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        for node in self.nodes.iter_mut().filter(|node| node.used) {
            match &mut node.identity {
                Identity::Named(namespace, group, kind, name) => [namespace, group, kind, name].into_iter().for_each(&mut *visit),
                Identity::Guessed(kind, namespace, name) => [kind, namespace, name].into_iter().for_each(&mut *visit),
                Identity::Uid(namespace, uid) => {
                    visit(namespace);
                    uid.texts(visit);
                }
                Identity::Report(_, namespace, name, _) => {
                    visit(namespace);
                    name.texts(visit);
                }
                Identity::Incomplete(_, home, report, words) | Identity::Claimed(_, home, report, words) => {
                    [home, words].into_iter().for_each(&mut *visit);
                    report.texts(visit);
                }
            }
            for id in [&mut node.api_version, &mut node.kind, &mut node.namespace, &mut node.name] {
                visit(id);
            }
        }
        self.reported_kinds = self.reported_kinds.drain().map(|mut kind| (visit(&mut kind), kind).1).collect();
    }

    pub(super) fn reindex(&mut self) {
        let Self { nodes, index, hasher, .. } = self;
        let hash = |id: u32| nodes.get(id as usize).map_or(0, |node| hasher.hash_one(node.identity));
        index.clear();
        for (id, _) in nodes.iter().enumerate().filter(|(_, node)| node.used) {
            index.insert_unique(hash(id as u32), id as u32, |&id| hash(id));
        }
    }

    /// All resources.
    pub(super) fn all(&self) -> impl Iterator<Item = ResourceId> + '_ {
        self.nodes.iter().enumerate().filter(|(_, node)| node.used).map(|(id, _)| ResourceId(id as u32))
    }

    /// All resources without an owner.
    pub(super) fn roots(&self) -> Vec<ResourceId> {
        self.all().filter(|&id| self.parent(id).is_none()).collect()
    }

    /// Kinds of the resources that reports name, or have named.
    pub(super) fn kinds(&self) -> &HashSet<StrId> {
        &self.reported_kinds
    }

    /// (API version, kind) of a resource.
    pub(super) fn kind_of(&self, id: ResourceId) -> (StrId, StrId) {
        self.node(id).map_or((StrId::EMPTY, StrId::EMPTY), |node| (node.api_version, node.kind))
    }

    /// (kind, namespace, name) of a resource.
    pub(super) fn names(&self, id: ResourceId) -> (StrId, StrId, StrId) {
        self.node(id).map_or((StrId::EMPTY, StrId::EMPTY, StrId::EMPTY), |node| (node.kind, node.namespace, node.name))
    }

    /// The reference as reports write it.
    pub(super) fn reference(&self, id: ResourceId, strings: &Strings) -> ResourceRef {
        let Some(node) = self.node(id) else { return ResourceRef::default() };
        let uid = match node.identity {
            Identity::Uid(_, uid) => uid.to_text(strings),
            Identity::Claimed(.., words) => strings.get(words).rsplit('\0').next().unwrap_or_default().to_owned(),
            Identity::Named(..) | Identity::Report(..) | Identity::Incomplete(..) | Identity::Guessed(..) => String::new(),
        };
        let text = |id| strings.get(id).to_owned();
        ResourceRef {
            api_version: text(node.api_version),
            kind: text(node.kind),
            namespace: text(node.namespace),
            name: text(node.name),
            uid,
        }
    }
}
