//! Rows of reports: what each report says, as numbers.

use super::resources::ResourceId;
use super::writers::WriterId;
use crate::domain::{FindingResult, Severity};
use crate::fleet::strings::{StrId, Strings};
use crate::kinds::KindId;
use crate::kinds::report::Properties;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// One result about one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) check: u32,
    pub(super) resource: ResourceId,
    /// Seconds since 1970; 0 if unknown.
    pub(super) time: u32,
    pub(super) message: StrId,
    pub(super) detail: u32,
    pub(super) result: FindingResult,
    pub(super) severity: Option<Severity>,
    /// The resource is not in the namespace of the report.
    pub(super) elsewhere: bool,
}

impl Row {
    /// Equal but for the time of evaluation.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        Self { time: 0, ..*self } == Self { time: 0, ..*other }
    }
}

/// A report's or a resource's identity in few bytes: names of reports and UIDs nearly always are UUIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ReportName {
    /// A UUID in its usual lower-case form.
    Uuid(u128),
    /// Anything else.
    Text(StrId),
}

impl ReportName {
    pub(super) fn new(text: &str, strings: &mut Strings) -> Self {
        parse_uuid(text).map_or_else(|| Self::Text(strings.intern(text)), Self::Uuid)
    }

    /// As [`ReportName::new`], but `None` where the text was never seen.
    pub(super) fn find(text: &str, strings: &Strings) -> Option<Self> {
        parse_uuid(text).map(Self::Uuid).or_else(|| strings.find(text).map(Self::Text))
    }

    /// Shows the text's number to `visit`, if there is one.
    pub(super) fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        if let Self::Text(id) = self {
            visit(id);
        }
    }

    pub(super) fn to_text(self, strings: &Strings) -> String {
        match self {
            Self::Uuid(uuid) => {
                let hex = format!("{uuid:032x}");
                let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
                [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
            }
            Self::Text(id) => strings.get(id).to_owned(),
        }
    }
}

/// The number of a UUID written in lower case with dashes, and of nothing else (so that it prints as it came).
fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut number = 0u128;
    for (position, &byte) in bytes.iter().enumerate() {
        let digit = match (position, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        number = (number << 4) | u128::from(digit);
    }
    Some(number)
}

/// What a report holds.
#[derive(Debug, Default)]
pub(super) struct ReportEntry {
    /// Sorted by resource, then check.
    pub(super) rows: Box<[Row]>,
    pub(super) malformed: u32,
    /// The round ([`super::Ledger::start_list`]) in which it was last seen.
    pub(super) round: u32,
}

#[derive(Debug)]
struct Slot {
    kind: u8,
    used: bool,
    writer: WriterId,
    namespace: StrId,
    name: ReportName,
    entry: ReportEntry,
}

/// All reports of an environment.
#[derive(Debug)]
pub(super) struct Reports {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Reports of each kind.
    counts: [u64; KindId::COUNT],
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            counts: [0; KindId::COUNT],
        }
    }
}

impl Reports {
    fn hash(&self, kind: u8, namespace: StrId, name: ReportName) -> u64 {
        self.hasher.hash_one((kind, namespace, name))
    }

    pub(super) fn find(&self, kind: u8, namespace: StrId, name: ReportName) -> Option<u32> {
        let hash = self.hash(kind, namespace, name);
        let same = |&id: &u32| self.slots.get(id as usize).is_some_and(|s| s.kind == kind && s.namespace == namespace && s.name == name);
        self.index.find(hash, same).copied()
    }

    /// A new, empty report.
    pub(super) fn add(&mut self, kind: u8, namespace: StrId, name: ReportName) -> u32 {
        let slot = Slot { kind, used: true, writer: WriterId::default(), namespace, name, entry: ReportEntry::default() };
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(id as usize) {
                *place = slot;
            }
            id
        } else {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        let hash = self.hash(kind, namespace, name);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, id, |&id| slots.get(id as usize).map_or(0, |s| hasher.hash_one((s.kind, s.namespace, s.name))));
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
        id
    }

    /// Forgets a report whose rows have been taken.
    pub(super) fn free(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        slot.used = false;
        slot.entry = ReportEntry::default();
        let (kind, namespace, name) = (slot.kind, slot.namespace, slot.name);
        let hash = self.hash(kind, namespace, name);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count -= 1;
        }
    }

    pub(super) fn count(&self, kind: u8) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or_default()
    }

    pub(super) fn entry(&self, id: u32) -> &ReportEntry {
        static NONE: std::sync::LazyLock<ReportEntry> = std::sync::LazyLock::new(ReportEntry::default);
        self.slots.get(id as usize).map_or(&*NONE, |slot| &slot.entry)
    }

    pub(super) fn take(&mut self, id: u32) -> ReportEntry {
        self.slots.get_mut(id as usize).map(|slot| std::mem::take(&mut slot.entry)).unwrap_or_default()
    }

    pub(super) fn set(&mut self, id: u32, entry: ReportEntry) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.entry = entry;
        }
    }

    /// Who wrote its results.
    pub(super) fn writer(&self, id: u32) -> WriterId {
        self.slots.get(id as usize).map(|slot| slot.writer).unwrap_or_default()
    }

    pub(super) fn set_writer(&mut self, id: u32, writer: WriterId) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.writer = writer;
        }
    }

    /// In which round a report was named last.
    pub(super) fn set_round(&mut self, id: u32, round: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.entry.round = round;
        }
    }

    /// Kind, namespace and name of a report.
    pub(super) fn names(&self, id: u32) -> Option<(u8, StrId, ReportName)> {
        self.slots.get(id as usize).filter(|slot| slot.used).map(|slot| (slot.kind, slot.namespace, slot.name))
    }

    /// The reports that are in a namespace.
    pub(super) fn namespaced(&self) -> Vec<u32> {
        self.slots.iter().zip(0..).filter(|(slot, _)| slot.used && slot.namespace != StrId::EMPTY).map(|(_, id)| id).collect()
    }

    /// Every row there is.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.slots.iter().flat_map(|slot| slot.entry.rows.iter())
    }

    /// Every row there is, with the number of its report.
    pub(super) fn numbered_rows(&self) -> impl Iterator<Item = (u32, &Row)> {
        self.slots.iter().enumerate().flat_map(|(id, slot)| slot.entry.rows.iter().map(move |row| (id as u32, row)))
    }

    /// Every row there is, to be numbered anew; what rows are sorted by must keep its order.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.slots.iter_mut().flat_map(|slot| slot.entry.rows.iter_mut())
    }

    /// Shows every text's number to `visit`. Call [`Reports::reindex`] after changing them.
    pub(super) fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        for slot in self.slots.iter_mut().filter(|slot| slot.used) {
            visit(&mut slot.namespace);
            slot.name.texts(visit);
            for row in &mut slot.entry.rows {
                visit(&mut row.message);
            }
        }
    }

    pub(super) fn reindex(&mut self) {
        let Self { slots, index, hasher, .. } = self;
        let hash = |id: u32| slots.get(id as usize).map_or(0, |s| hasher.hash_one((s.kind, s.namespace, s.name)));
        index.clear();
        for (id, _) in slots.iter().enumerate().filter(|(_, slot)| slot.used) {
            index.insert_unique(hash(id as u32), id as u32, |&id| hash(id));
        }
    }

    /// Reports of a kind (in one namespace, unless the scope is empty) that were not seen since `round`.
    pub(super) fn older_than(&self, kind: u8, scope: StrId, round: u32) -> Vec<u32> {
        let old = |s: &Slot| s.used && s.kind == kind && (scope == StrId::EMPTY || s.namespace == scope) && s.entry.round < round;
        self.slots.iter().enumerate().filter(|(_, slot)| old(slot)).map(|(id, _)| id as u32).collect()
    }

    /// The rows about one resource in the reports that name it, each with whether a client other than Kyverno wrote it.
    pub(super) fn rows_with_writers<'a>(&'a self, resource: ResourceId, reports: &'a [u32]) -> impl Iterator<Item = (&'a Row, bool)> {
        let of = move |id: &'a u32| {
            let by_other = self.writer(*id).is_other();
            self.rows_about(resource, std::slice::from_ref(id)).map(move |row| (row, by_other))
        };
        reports.iter().flat_map(of)
    }

    /// The rows about one resource in the reports that name it.
    pub(super) fn rows_about<'a>(&'a self, resource: ResourceId, reports: &'a [u32]) -> impl Iterator<Item = &'a Row> {
        reports.iter().flat_map(move |&id| {
            let rows = &self.entry(id).rows;
            let whole = rows.first().is_some_and(|r| r.resource == resource) && rows.last().is_some_and(|r| r.resource == resource);
            if whole {
                return rows.iter();
            }
            let start = rows.partition_point(|row| row.resource < resource);
            let end = rows.partition_point(|row| row.resource <= resource);
            rows.get(start..end).unwrap_or_default().iter()
        })
    }
}

/// Keeps the items that are marked in `live`, in their order; returns the new place of each old one (that of a dropped one is
/// meaningless).
pub(super) fn keep_marked<T>(items: &mut Vec<T>, live: &[bool]) -> Vec<u32> {
    let mut kept = 0;
    let mut place = |live: bool| {
        kept += u32::from(live);
        kept - u32::from(live)
    };
    let places = live.iter().map(|&live| place(live)).collect();
    let mut live = live.iter();
    items.retain(|_| live.next().copied().unwrap_or(true));
    items.shrink_to_fit();
    places
}

/// Category and properties of a result: few kinds of them exist, so they are kept once.
#[derive(Debug, Default)]
pub(super) struct Details {
    all: Vec<Detail>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// See [`Details`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Detail {
    pub(super) category: StrId,
    /// Sorted by key text.
    pub(super) properties: Box<[(StrId, StrId)]>,
    /// Value of `properties.exceptions` (1.13 and later) or `properties.exception` (1.12).
    pub(super) exception: StrId,
}

impl Details {
    pub(super) fn intern(&mut self, category: StrId, properties: &Properties<'_>, strings: &mut Strings) -> u32 {
        let mut pairs: Vec<(StrId, StrId)> =
            properties.0.iter().map(|(key, value)| (strings.intern(key.as_str()), strings.intern(value.as_str()))).collect();
        pairs.sort_unstable_by(|a, b| strings.get(a.0).cmp(strings.get(b.0)));
        let exception = pairs.iter().find(|(key, _)| matches!(strings.get(*key), "exceptions" | "exception")).map_or(StrId::EMPTY, |p| p.1);
        let detail = Detail { category, properties: pairs.into_boxed_slice(), exception };
        let hash = self.hasher.hash_one(&detail);
        if let Some(&id) = self.index.find(hash, |&id| self.all.get(id as usize) == Some(&detail)) {
            return id;
        }
        let id = self.all.len() as u32;
        self.all.push(detail);
        let (all, hasher) = (&self.all, &self.hasher);
        self.index.insert_unique(hash, id, |&id| all.get(id as usize).map_or(0, |d| hasher.hash_one(d)));
        id
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Keeps what is marked in `live`, in its order, and returns the new number of each old one. Call [`Details::reindex`] afterwards.
    pub(super) fn keep(&mut self, live: &[bool]) -> Vec<u32> {
        keep_marked(&mut self.all, live)
    }

    /// Shows every text's number to `visit`. Call [`Details::reindex`] after changing them.
    pub(super) fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        for detail in &mut self.all {
            visit(&mut detail.category);
            visit(&mut detail.exception);
            for (key, value) in &mut detail.properties {
                visit(key);
                visit(value);
            }
        }
    }

    pub(super) fn reindex(&mut self) {
        let Self { all, index, hasher } = self;
        let hash = |id: u32| all.get(id as usize).map_or(0, |detail| hasher.hash_one(detail));
        index.clear();
        for id in 0..all.len() as u32 {
            index.insert_unique(hash(id), id, |&id| hash(id));
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Detail> {
        self.all.get(id as usize)
    }

    pub(super) fn names_exception(&self, id: u32) -> bool {
        self.get(id).is_some_and(|detail| detail.exception != StrId::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 24, "{}", size_of::<Row>());
    }

    #[test]
    fn uuids_print_as_they_came() {
        let mut strings = Strings::default();
        for text in ["123e4567-e89b-12d3-a456-426614174000", "cpol-x", "123E4567-e89b-12d3-a456-426614174000", ""] {
            assert_eq!(ReportName::new(text, &mut strings).to_text(&strings), text);
        }
        assert!(matches!(ReportName::new("123e4567-e89b-12d3-a456-426614174000", &mut strings), ReportName::Uuid(_)));
    }
}
