//! The rows behind a number.

use super::Ledger;
use super::resources::ResourceId;
use super::rows::{ReportName, Row};
use crate::domain::{FindingResult, PolicyKey, ResourceRef};
use crate::fleet::query::{FindingQuery, FindingRow, OldestResult, ReportRef};
use crate::fleet::strings::StrId;
use crate::kinds::{REGISTRY, names_exceptions};
use hashbrown::HashMap;
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

/// Texts already shared by earlier rows of the same answer.
#[derive(Default)]
struct Shared {
    texts: HashMap<StrId, Arc<str>>,
    resources: HashMap<ResourceId, Arc<ResourceRef>>,
    properties: HashMap<u32, Properties>,
    reports: HashMap<u32, Arc<ReportRef>>,
}

/// When results were evaluated.
struct Times {
    /// The oldest: its second, what it is about, and its check.
    oldest: (u32, ResourceId, u32),
    /// How many are of which second. A scan goes over all resources in minutes, so seconds are few, however many results there are.
    counts: BTreeMap<u32, u64>,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.oldest = self.oldest.min(other.oldest);
        for (time, count) in other.counts {
            *self.counts.entry(time).or_default() += count;
        }
    }
}

/// Findings that exceptions excused.
#[derive(Debug)]
pub(crate) struct Excuse<'a> {
    /// Whose findings.
    pub(crate) policy: &'a PolicyKey,
    /// The exceptions' names in the properties; empty where only the message names them.
    pub(crate) names: &'a str,
    /// The findings' message.
    pub(crate) message: &'a str,
    /// How many.
    pub(crate) uses: u64,
}

/// The rows of one rule and one owner.
struct OwnerGroup<'r> {
    group: u32,
    stale: bool,
    worst: &'r Row,
    /// How many resources have a row.
    resources: u32,
    last: ResourceId,
    /// The owner is a Deployment and does not violate the rule itself.
    passes_itself: bool,
    /// One of its ReplicaSets that violates it.
    set: Option<ResourceId>,
    /// Something that is no ReplicaSet violates it.
    elsewhere: bool,
}

impl<'r> OwnerGroup<'r> {
    fn of(group: u32, stale: bool, row: &'r Row, id: ResourceId) -> Self {
        Self { group, stale, worst: row, resources: 1, last: id, passes_itself: false, set: None, elsewhere: false }
    }
}

type Properties = Arc<[(Arc<str>, Arc<str>)]>;

impl Ledger {
    /// The findings that `query` asks for, worst first, then by namespace, kind and name. Call it between batches.
    pub(crate) fn findings(&self, query: &FindingQuery) -> Vec<FindingRow> {
        let wanted = self.checks.wanted(query.policy.as_ref(), query.with_stale);
        let mut shared = Shared::default();
        let mut rows = Vec::new();
        if query.by_owner {
            for root in self.faulty(query).unwrap_or_else(|| self.resources.roots()) {
                self.owner_rows(root, query, &wanted, &mut shared, &mut rows);
            }
        } else if let Some(mut family) = self.faulty(query) {
            while let Some(id) = family.pop() {
                self.resources.push_children(id, &mut family);
                self.resource_rows(id, query, &wanted, &mut shared, &mut rows);
            }
        } else {
            for id in self.resources.all() {
                self.resource_rows(id, query, &wanted, &mut shared, &mut rows);
            }
        }
        rows.sort_by(|a, b| {
            let place = |row: &FindingRow| (Reverse(row.result), Reverse(row.severity));
            let (ra, rb) = (&a.resource, &b.resource);
            place(a)
                .cmp(&place(b))
                .then_with(|| (&ra.namespace, &ra.kind, &ra.name).cmp(&(&rb.namespace, &rb.kind, &rb.name)))
                .then_with(|| {
                    (&a.key, &a.rule, &ra.uid, &ra.api_version, a.stale).cmp(&(&b.key, &b.rule, &rb.uid, &rb.api_version, b.stale))
                })
                // Results that name no resource have nothing more to tell them apart than what they say.
                .then_with(|| (&a.message, &a.exception, a.evaluated_at).cmp(&(&b.message, &b.exception, b.evaluated_at)))
                .then_with(|| (&a.category, &a.properties, a.owner_guessed).cmp(&(&b.category, &b.properties, b.owner_guessed)))
        });
        rows
    }

    /// The owners that can have rows, where only faults of one policy are asked for: the usual question, which must not cost a walk over the fleet.
    fn faulty(&self, query: &FindingQuery) -> Option<Vec<ResourceId>> {
        let only_faults = !query.results.is_empty() && query.results.iter().all(|result| result.is_fault());
        let policy = query.policy.as_ref().filter(|_| only_faults && !query.with_stale)?;
        Some(self.checks.faulty(policy).collect())
    }

    /// How many findings of each policy name exceptions, by the texts that name them: few differ, however many findings there are.
    pub(crate) fn excuses(&self) -> Vec<Excuse<'_>> {
        let wanted = self.checks.wanted(None, false);
        let mut uses: HashMap<(u32, StrId, StrId), u64> = HashMap::new();
        // Up to 1.11 only the message says so.
        let mut messages: HashMap<StrId, bool> = HashMap::new();
        for id in self.resources.all().filter(|&id| !self.resources.reports(id).is_empty()) {
            for row in self.winners(id, &wanted) {
                let names = self.details.get(row.detail).map_or(StrId::EMPTY, |detail| detail.exception);
                let excused = names != StrId::EMPTY
                    || (row.result == FindingResult::Skip
                        && *messages.entry(row.message).or_insert_with(|| names_exceptions(self.text(row.message))));
                if excused {
                    *uses.entry((row.check, names, row.message)).or_default() += 1;
                }
            }
        }
        let excuse = |((check, names, message), uses)| {
            let (policy, ..) = self.checks.names(check)?;
            Some(Excuse { policy, names: self.text(names), message: self.text(message), uses })
        };
        uses.into_iter().filter_map(excuse).collect()
    }

    /// The oldest result of each policy, of all or of one, and how many are of which second. What is stale is left out.
    pub(crate) fn oldest(&self, policy: Option<&PolicyKey>) -> Vec<OldestResult> {
        let wanted = self.checks.wanted(policy, false);
        let mut checks: HashMap<u32, Times> = HashMap::new();
        for id in self.resources.all().filter(|&id| !self.resources.reports(id).is_empty()) {
            for row in self.winners(id, &wanted) {
                let check = self.checks.meaning(row.check);
                let oldest = (row.time, id, check);
                let times = checks.entry(check).or_insert_with(|| Times { oldest, counts: BTreeMap::new() });
                times.oldest = oldest.min(times.oldest);
                *times.counts.entry(row.time).or_default() += 1;
            }
        }
        let mut policies: HashMap<PolicyKey, Times> = HashMap::new();
        for (check, times) in checks {
            let Some((key, ..)) = self.checks.names(check) else { continue };
            match policies.get_mut(key) {
                Some(known) => known.add(times),
                None => drop(policies.insert(key.clone(), times)),
            }
        }
        let result = |(key, Times { oldest: (time, id, check), counts }): (PolicyKey, Times)| OldestResult {
            key,
            at: seconds(time),
            report: self.report_of(id, |row| (self.checks.meaning(row.check), row.time) == (check, time)),
            times: counts.into_iter().filter_map(|(time, count)| Some((seconds(time)?, count))).collect(),
        };
        policies.into_iter().map(result).collect()
    }

    /// How many workloads of each policy, of all or of one, have results in a place of interest, as the tallies by owner count them, without those
    /// whose results are all skipped. `place` is asked once for each check and namespace.
    pub(crate) fn evaluated_in<P: Copy + Eq + Hash>(
        &self,
        policy: Option<&PolicyKey>,
        place: impl Fn(&PolicyKey, &str, &ResourceRef) -> Option<P>,
    ) -> HashMap<(PolicyKey, P), u64> {
        let wanted = self.checks.wanted(policy, false);
        let mut places: HashMap<(u32, StrId, StrId), Option<P>> = HashMap::new();
        let mut worst: HashMap<(u32, ResourceId), (FindingResult, u32, P)> = HashMap::new();
        for id in self.resources.all().filter(|&id| !self.resources.reports(id).is_empty()) {
            let (_, namespace, name) = self.resources.names(id);
            let own = if namespace == StrId::EMPTY { name } else { StrId::EMPTY };
            let mut place_of = |check: u32| {
                let ask = || {
                    let (key, _, rule) = self.checks.names(check)?;
                    place(key, self.text(rule), &self.resources.reference(id, &self.strings))
                };
                let is_wanted = wanted.get(check as usize).copied().unwrap_or_default();
                if is_wanted { *places.entry((check, namespace, own)).or_insert_with(ask) } else { None }
            };
            if !self.reports.rows_about(id, self.resources.reports(id)).any(|row| place_of(row.check).is_some()) {
                continue;
            }
            for row in self.winners(id, &wanted) {
                let Some(place) = place_of(row.check) else { continue };
                let group = (self.checks.group(row.check), self.resources.top(id));
                let known = worst.entry(group).or_insert((row.result, row.check, place));
                known.0 = known.0.max(row.result);
            }
        }
        let mut counts = HashMap::new();
        for (result, check, place) in worst.into_values() {
            if let Some((key, ..)) = self.checks.names(check).filter(|_| result != FindingResult::Skip) {
                *counts.entry((key.clone(), place)).or_default() += 1;
            }
        }
        counts
    }

    /// The report that holds a row about a resource.
    fn report_of(&self, id: ResourceId, is_it: impl Fn(&Row) -> bool) -> Option<ReportRef> {
        self.report(self.number_of_report(id, is_it)?)
    }

    fn number_of_report(&self, id: ResourceId, is_it: impl Fn(&Row) -> bool) -> Option<u32> {
        let holds = |report: &&u32| self.reports.rows_about(id, std::slice::from_ref(*report)).any(&is_it);
        self.resources.reports(id).iter().find(holds).copied()
    }

    /// The report of a number.
    pub(super) fn report(&self, number: u32) -> Option<ReportRef> {
        self.reports.names(number).and_then(|named| self.report_named(named))
    }

    /// The report of this kind, namespace and name.
    pub(super) fn report_named(&self, (kind, namespace, name): (u8, StrId, ReportName)) -> Option<ReportRef> {
        let kind = REGISTRY.get(usize::from(kind))?.kind;
        Some(ReportRef { kind, namespace: self.text(namespace).to_owned(), name: name.to_text(&self.strings) })
    }

    /// Who wrote a row of Kyverno's, where that is not Kyverno.
    fn other_writer(&self, row: &Row) -> Option<Arc<str>> {
        if self.writers.are_all_kyverno() || !self.checks.is_bounded(row.check) {
            return None;
        }
        let report = self.number_of_report(row.resource, |held| std::ptr::eq(held, row))?;
        self.writers.other(self.reports.writer(report)).map(Arc::from)
    }

    /// The row that counts for each check of a resource: the newest, then the worse.
    fn winners(&self, id: ResourceId, wanted: &[bool]) -> Vec<&Row> {
        let mut winners: Vec<&Row> = Vec::new();
        for row in self.reports.rows_about(id, self.resources.reports(id)) {
            if !wanted.get(row.check as usize).copied().unwrap_or_default() || self.checks.is_foreign(row) {
                continue;
            }
            let check = self.checks.meaning(row.check);
            match winners.iter_mut().find(|w| self.checks.meaning(w.check) == check) {
                Some(winner)
                    if (winner.time, winner.result).cmp(&(row.time, row.result)).then_with(|| self.by_words(winner, row)).is_lt() =>
                {
                    *winner = row;
                }
                Some(_) => {}
                None => winners.push(row),
            }
        }
        winners
    }

    /// Which of two rows is told where neither is newer or worse: their words decide, so that the order in which they came does not.
    fn by_words(&self, a: &Row, b: &Row) -> Ordering {
        if (a.message, a.detail, a.severity) == (b.message, b.detail, b.severity) {
            return Ordering::Equal;
        }
        let (one, other) = (self.details.get(a.detail), self.details.get(b.detail));
        let text = |id: Option<StrId>| id.map_or("", |id| self.text(id));
        let properties = |row: &Row| {
            let pairs = self.details.get(row.detail).map(|d| d.properties.iter()).unwrap_or_default();
            pairs.map(|&(key, value)| (self.text(key), self.text(value)))
        };
        // First the exception: the tallies count a result as excused if either is.
        text(one.map(|d| d.exception))
            .cmp(text(other.map(|d| d.exception)))
            .then_with(|| (a.severity, self.text(a.message)).cmp(&(b.severity, self.text(b.message))))
            .then_with(|| text(one.map(|d| d.category)).cmp(text(other.map(|d| d.category))))
            .then_with(|| properties(a).cmp(properties(b)))
    }

    fn resource_rows(&self, id: ResourceId, query: &FindingQuery, wanted: &[bool], shared: &mut Shared, rows: &mut Vec<FindingRow>) {
        if self.resources.reports(id).is_empty() || !self.is_in(id, query) {
            return;
        }
        let top = self.resources.top(id);
        let mut told = self.winners(id, wanted);
        if query.with_foreign {
            let about = self.reports.rows_about(id, self.resources.reports(id));
            let is_wanted = |row: &&Row| wanted.get(row.check as usize).copied().unwrap_or_default() && self.checks.is_foreign(row);
            told.extend(about.filter(is_wanted));
        }
        for row in told {
            if !is_asked(query, row.result) {
                continue;
            }
            let Some((key, rule, own)) = self.checks.names(row.check) else { continue };
            let owner = (top != id).then(|| self.resource(top, shared));
            let report = if query.with_report { self.holding(row, shared) } else { None };
            let row = self.row(row, key.clone(), (rule, own), self.resource(id, shared), owner, 1, shared);
            rows.push(FindingRow { report, ..row });
        }
    }

    fn owner_rows(&self, root: ResourceId, query: &FindingQuery, wanted: &[bool], shared: &mut Shared, rows: &mut Vec<FindingRow>) {
        if !self.is_in(root, query) {
            return;
        }
        let mut groups: Vec<OwnerGroup<'_>> = Vec::new();
        let kind_of = |id: ResourceId| self.text(self.resources.names(id).0);
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            self.resources.push_children(id, &mut stack);
            for row in self.winners(id, wanted) {
                let (group, stale) = (self.checks.group(row.check), self.checks.is_stale(row.check));
                let known = if let Some(known) = groups.iter_mut().find(|g| (g.group, g.stale) == (group, stale)) {
                    let (known_rank, rank) = ((known.worst.result, known.worst.time), (row.result, row.time));
                    if known_rank.cmp(&rank).then_with(|| self.by_words(known.worst, row)).is_lt() {
                        known.worst = row;
                    }
                    known.resources += u32::from(known.last != id);
                    known.last = id;
                    known
                } else {
                    groups.push(OwnerGroup::of(group, stale, row, id));
                    let Some(known) = groups.last_mut() else { continue };
                    known
                };
                match (row.result.is_fault(), kind_of(id)) {
                    // Guessed owners stand for the real one, which is below.
                    (false, "Deployment") if id == root || (self.resources.is_guessed(root) && self.resources.parent(id) == Some(root)) => {
                        known.passes_itself = true;
                    }
                    (true, "ReplicaSet") if id != root => known.set = Some(known.set.map_or(id, |set| set.min(id))),
                    (true, _) => known.elsewhere = true,
                    _ => {}
                }
            }
        }
        for group in groups {
            if !is_asked(query, group.worst.result) {
                continue;
            }
            let Some((key, _, own)) = self.checks.names(group.worst.check) else { continue };
            let idle = group.set.filter(|_| group.passes_itself && !group.elsewhere).map(|set| self.resource(set, shared));
            let row = self.row(group.worst, key.clone(), (own, own), self.resource(root, shared), None, group.resources, shared);
            let report = if query.with_report { self.holding(group.worst, shared) } else { None };
            rows.push(FindingRow { idle, report, ..row });
        }
    }

    /// The report that holds a row.
    fn holding(&self, row: &Row, shared: &mut Shared) -> Option<Arc<ReportRef>> {
        let number = self.number_of_report(row.resource, |other| std::ptr::eq(other, row))?;
        if let Some(known) = shared.reports.get(&number) {
            return Some(Arc::clone(known));
        }
        let report = Arc::new(self.report(number)?);
        shared.reports.insert(number, Arc::clone(&report));
        Some(report)
    }

    /// Whether a resource is in the namespace that is asked about, or is that namespace.
    fn is_in(&self, id: ResourceId, query: &FindingQuery) -> bool {
        let (kind, place, name) = self.resources.names(id);
        query.namespace.as_ref().is_none_or(|namespace| {
            self.text(place) == namespace
                || (place == StrId::EMPTY
                    && self.text(name) == namespace
                    && self.text(kind) == "Namespace"
                    && self.resources.reference(id, &self.strings).is_namespace())
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one row; a struct of them would be the row itself")]
    fn row(
        &self,
        row: &Row,
        key: crate::domain::PolicyKey,
        (rule, own_rule): (StrId, StrId),
        resource: Arc<ResourceRef>,
        owner: Option<Arc<ResourceRef>>,
        resources: u32,
        shared: &mut Shared,
    ) -> FindingRow {
        let top = self.resources.top(row.resource);
        let detail = self.details.get(row.detail);
        FindingRow {
            key,
            rule: self.shared_text(rule, shared),
            own_rule: self.shared_text(own_rule, shared),
            result: row.result,
            severity: row.severity,
            category: self.shared_text(detail.map_or(StrId::EMPTY, |d| d.category), shared),
            message: self.shared_text(row.message, shared),
            resource,
            owner,
            owner_guessed: self.resources.is_guessed(top),
            evaluated_at: seconds(row.time),
            exception: self.shared_text(detail.map_or(StrId::EMPTY, |d| d.exception), shared),
            stale: self.checks.is_stale(row.check),
            foreign: self.checks.is_foreign(row),
            written_by: self.other_writer(row),
            idle: None,
            properties: self.properties(row.detail, shared),
            resources,
            report: None,
        }
    }

    fn shared_text(&self, id: StrId, shared: &mut Shared) -> Arc<str> {
        Arc::clone(shared.texts.entry(id).or_insert_with(|| Arc::from(self.text(id))))
    }

    fn resource(&self, id: ResourceId, shared: &mut Shared) -> Arc<ResourceRef> {
        Arc::clone(shared.resources.entry(id).or_insert_with(|| Arc::new(self.resources.reference(id, &self.strings))))
    }

    fn properties(&self, detail: u32, shared: &mut Shared) -> Properties {
        if let Some(known) = shared.properties.get(&detail) {
            return Arc::clone(known);
        }
        let pairs = self.details.get(detail).map(|d| d.properties.clone()).unwrap_or_default();
        let texts: Properties =
            pairs.iter().map(|&(key, value)| (self.shared_text(key, shared), self.shared_text(value, shared))).collect();
        shared.properties.insert(detail, Arc::clone(&texts));
        texts
    }
}

/// Whether the query asks for this result.
fn is_asked(query: &FindingQuery, result: FindingResult) -> bool {
    query.results.is_empty() || query.results.contains(&result)
}

/// A time of evaluation as a timestamp; unknown where it is zero.
pub(crate) fn seconds(time: u32) -> Option<Timestamp> {
    if time == 0 { None } else { Timestamp::from_second(i64::from(time)).ok() }
}
