//! The rows behind a number.

use super::Ledger;
use super::resources::ResourceId;
use super::rows::Row;
use crate::domain::{FindingResult, PolicyKey, ResourceRef};
use crate::fleet::query::{FindingQuery, FindingRow};
use crate::fleet::strings::StrId;
use hashbrown::HashMap;
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// Texts already shared by earlier rows of the same answer.
#[derive(Default)]
struct Shared {
    texts: HashMap<StrId, Arc<str>>,
    resources: HashMap<ResourceId, Arc<ResourceRef>>,
    properties: HashMap<u32, Properties>,
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
                .then_with(|| (&a.key, &a.rule, &ra.uid, a.stale).cmp(&(&b.key, &b.rule, &rb.uid, b.stale)))
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

    /// How many findings name each exception in their properties, by the text there (often one name, or several with commas).
    pub(crate) fn exception_uses(&self) -> HashMap<&str, u64> {
        let wanted = self.checks.wanted(None, false);
        let mut uses: HashMap<StrId, u64> = HashMap::new();
        for id in self.resources.all().filter(|&id| !self.resources.reports(id).is_empty()) {
            for row in self.winners(id, &wanted) {
                if let Some(detail) = self.details.get(row.detail).filter(|detail| detail.exception != StrId::EMPTY) {
                    *uses.entry(detail.exception).or_default() += 1;
                }
            }
        }
        uses.into_iter().map(|(names, uses)| (self.text(names), uses)).collect()
    }

    /// When the oldest result of each policy was evaluated, of all or of one; `None` where one of its results has no time. What is stale is left out.
    pub(crate) fn oldest(&self, policy: Option<&PolicyKey>) -> Vec<(PolicyKey, Option<Timestamp>)> {
        let wanted = self.checks.wanted(policy, false);
        let mut oldest: HashMap<u32, u32> = HashMap::new();
        for id in self.resources.all().filter(|&id| !self.resources.reports(id).is_empty()) {
            for row in self.winners(id, &wanted) {
                oldest.entry(row.check).and_modify(|time| *time = row.time.min(*time)).or_insert(row.time);
            }
        }
        let mut policies: HashMap<PolicyKey, u32> = HashMap::new();
        for (check, time) in oldest {
            if let Some((key, ..)) = self.checks.names(check) {
                policies.entry(key.clone()).and_modify(|known| *known = time.min(*known)).or_insert(time);
            }
        }
        policies.into_iter().map(|(key, time)| (key, seconds(time))).collect()
    }

    /// The row that counts for each check of a resource: the newest, then the worse.
    fn winners(&self, id: ResourceId, wanted: &[bool]) -> Vec<&Row> {
        let mut winners: Vec<&Row> = Vec::new();
        for row in self.reports.rows_about(id, self.resources.reports(id)) {
            if !wanted.get(row.check as usize).copied().unwrap_or_default() {
                continue;
            }
            match winners.iter_mut().find(|w| w.check == row.check) {
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
        for row in self.winners(id, wanted) {
            if !is_asked(query, row.result) {
                continue;
            }
            let Some((key, rule, _)) = self.checks.names(row.check) else { continue };
            let owner = (top != id).then(|| self.resource(top, shared));
            rows.push(self.row(row, key.clone(), rule, self.resource(id, shared), owner, 1, shared));
        }
    }

    fn owner_rows(&self, root: ResourceId, query: &FindingQuery, wanted: &[bool], shared: &mut Shared, rows: &mut Vec<FindingRow>) {
        if !self.is_in(root, query) {
            return;
        }
        // The worst row of each group, and how many resources have one in it.
        let mut groups: Vec<(u32, bool, &Row, u32, ResourceId)> = Vec::new();
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            self.resources.push_children(id, &mut stack);
            for row in self.winners(id, wanted) {
                let (group, stale) = (self.checks.group(row.check), self.checks.is_stale(row.check));
                match groups.iter_mut().find(|g| (g.0, g.1) == (group, stale)) {
                    Some(known) => {
                        let (known_rank, rank) = ((known.2.result, known.2.time), (row.result, row.time));
                        if known_rank.cmp(&rank).then_with(|| self.by_words(known.2, row)).is_lt() {
                            known.2 = row;
                        }
                        known.3 += u32::from(known.4 != id);
                        known.4 = id;
                    }
                    None => groups.push((group, stale, row, 1, id)),
                }
            }
        }
        for (_, _, row, resources, _) in groups {
            if !is_asked(query, row.result) {
                continue;
            }
            let Some((key, _, bare)) = self.checks.names(row.check) else { continue };
            rows.push(self.row(row, key.clone(), bare, self.resource(root, shared), None, resources, shared));
        }
    }

    fn is_in(&self, id: ResourceId, query: &FindingQuery) -> bool {
        query.namespace.as_ref().is_none_or(|namespace| self.text(self.resources.names(id).1) == namespace)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one row; a struct of them would be the row itself")]
    fn row(
        &self,
        row: &Row,
        key: crate::domain::PolicyKey,
        rule: StrId,
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
            properties: self.properties(row.detail, shared),
            resources,
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
