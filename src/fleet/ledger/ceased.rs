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
use crate::kinds::REGISTRY;

/// A failing row that its report ceased to have. Numbers are those of the present batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    check: u32,
    resource: ResourceId,
    report: (u8, StrId, ReportName),
}

/// A failing result that no report has any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ceased {
    pub(crate) policy: PolicyKey,
    /// The rule as the policy calls it.
    pub(crate) rule: String,
    pub(crate) resource: ResourceRef,
    /// The report that had it.
    pub(crate) report: ReportRef,
}

impl Ledger {
    /// Notes the failures of a report that are not among its new rows.
    pub(super) fn note_dropped(&mut self, id: u32, new: &[Row]) {
        let Some(report) = self.reports.names(id) else { return };
        let is_left = |row: &Row| new.binary_search_by_key(&(row.resource, row.check), |new| (new.resource, new.check)).is_ok();
        for row in &self.reports.entry(id).rows {
            // A warning is how Kyverno reports a violation of a policy that is not scored.
            let fails = row.result.is_fault() || row.result == FindingResult::Warn;
            if fails && !self.checks.is_foreign(row) && !is_left(row) {
                self.dropped_faults.push(Dropped { check: row.check, resource: row.resource, report });
            }
        }
    }

    /// Finds those of the noted failures that no other report has; call it before resources are freed.
    pub(super) fn find_ceased(&mut self) {
        for dropped in std::mem::take(&mut self.dropped_faults) {
            let Dropped { check, resource, report } = dropped;
            if self.checks.is_stale(check) || !self.checks.is_bounded(check) || self.still_says(check, resource) {
                continue;
            }
            let Some((policy, _, rule)) = self.checks.names(check) else { continue };
            self.ceased.push(Ceased {
                policy: policy.clone(),
                rule: self.strings.get(rule).to_owned(),
                resource: self.resources.reference(resource, &self.strings),
                report: self.report_ref(report),
            });
        }
    }

    /// What was found since the last call.
    pub(crate) fn take_ceased(&mut self) -> Vec<Ceased> {
        std::mem::take(&mut self.ceased)
    }

    /// Whether some report has a result of this rule about this resource.
    pub(crate) fn has_result(&self, policy: &PolicyKey, rule: &str, resource: &ResourceRef) -> bool {
        let Some(id) = self.resources.find_ref(resource, &self.strings) else { return false };
        self.reports.rows_about(id, self.resources.reports(id)).any(|row| {
            let names = self.checks.names(row.check);
            !self.checks.is_foreign(row) && names.is_some_and(|(key, _, own)| key == policy && self.strings.get(own) == rule)
        })
    }

    fn still_says(&self, check: u32, resource: ResourceId) -> bool {
        let means = self.checks.meaning(check);
        let mut rows = self.reports.rows_about(resource, self.resources.reports(resource));
        rows.any(|row| !self.checks.is_foreign(row) && self.checks.meaning(row.check) == means)
    }

    fn report_ref(&self, (kind, namespace, name): (u8, StrId, ReportName)) -> ReportRef {
        let kind = REGISTRY.get(usize::from(kind)).map_or("Report", |kind| kind.kind);
        ReportRef { kind, namespace: self.strings.get(namespace).to_owned(), name: name.to_text(&self.strings) }
    }
}
