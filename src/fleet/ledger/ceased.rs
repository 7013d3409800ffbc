//! Failing results that no report has any more.
//!
//! A report goes with the resource that it is about. One that goes, or ceases to name a failure, while its resource stays is no pass: nothing was
//! evaluated. The ledger only notes that it happened; whether the resource is still there is asked elsewhere.

use super::Ledger;
use super::resources::ResourceId;
use super::rows::{ReportName, Row};
use crate::domain::{FindingResult, PolicyKey, ResourceRef};
use crate::fleet::query::ReportRef;
use crate::fleet::strings::StrId;

/// A failing row that its report ceased to have. Numbers are those of the present batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    check: u32,
    resource: ResourceId,
    time: u32,
    report: (u8, StrId, ReportName),
}

/// A failing result that no report has any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ceased {
    pub(crate) policy: PolicyKey,
    /// The rule as the policy calls it.
    pub(crate) rule: String,
    pub(crate) resource: ResourceRef,
    /// When it was evaluated, in seconds since 1970; 0 if unknown.
    pub(crate) time: u32,
    /// The report that had it.
    pub(crate) report: ReportRef,
}

/// A warning is how Kyverno reports a violation of a policy that is not scored.
fn fails(row: &Row) -> bool {
    row.result.is_fault() || row.result == FindingResult::Warn
}

impl Ledger {
    /// Notes the failures of a report that are not among its new rows. A pass that another client than Kyverno writes over a failure is no evaluation.
    pub(super) fn note_dropped(&mut self, id: u32, new: &[Row], by_other: bool) {
        let Some(report) = self.reports.names(id) else { return };
        let is_left = |row: &Row| {
            let place = |new: &Row| (new.resource, new.check);
            let found = new.binary_search_by_key(&place(row), place).ok().and_then(|at| new.get(at));
            found.is_some_and(|found| fails(found) || !by_other)
        };
        for row in &self.reports.entry(id).rows {
            if fails(row) && !self.checks.is_foreign(row) && !is_left(row) {
                self.dropped_faults.push(Dropped { check: row.check, resource: row.resource, time: row.time, report });
            }
        }
    }

    /// Finds those of the noted failures that no other report has; call it before resources are freed.
    pub(super) fn find_ceased(&mut self) {
        for dropped in std::mem::take(&mut self.dropped_faults) {
            let Dropped { check, resource, time, report } = dropped;
            if self.checks.is_stale(check) || !self.checks.is_bounded(check) || self.has_result_since(check, resource, time) {
                continue;
            }
            let Some(((policy, _, rule), report)) = self.checks.names(check).zip(self.report_named(report)) else { continue };
            self.ceased.push(Ceased {
                policy: policy.clone(),
                rule: self.strings.get(rule).to_owned(),
                resource: self.resources.reference(resource, &self.strings),
                time,
                report,
            });
        }
    }

    /// What was found since the last call.
    pub(crate) fn take_ceased(&mut self) -> Vec<Ceased> {
        std::mem::take(&mut self.ceased)
    }

    /// Whether some report has a later result of it: it still fails, or Kyverno evaluated it again.
    pub(crate) fn has_later_result(&self, ceased: &Ceased) -> bool {
        let Some(id) = self.resources.find_ref(&ceased.resource, &self.strings) else { return false };
        self.reports.rows_with_writers(id, self.resources.reports(id)).any(|(row, by_other)| {
            let names = self.checks.names(row.check);
            let is_it = names.is_some_and(|(key, _, own)| *key == ceased.policy && self.strings.get(own) == ceased.rule);
            is_it && self.replaces(row, by_other, ceased.time)
        })
    }

    fn has_result_since(&self, check: u32, resource: ResourceId, time: u32) -> bool {
        let means = self.checks.meaning(check);
        let mut rows = self.reports.rows_with_writers(resource, self.resources.reports(resource));
        rows.any(|(row, by_other)| self.checks.meaning(row.check) == means && self.replaces(row, by_other, time))
    }

    /// Whether a row replaces one that failed at `time`. A pass in another report that is not newer did not count before either.
    fn replaces(&self, row: &Row, by_other: bool, time: u32) -> bool {
        !self.checks.is_foreign(row) && (fails(row) || !by_other && row.time > time)
    }
}
