//! Which kinds live in no namespace: a report of a namespace does not speak for them.
//!
//! Discovery tells it, and tells something else when a CRD comes or goes. What reports said before is then judged again, as if they came now.

use super::rows::Row;
use super::{Ledger, ReportEntry};
use crate::domain::ResourceRef;
use crate::fleet::strings::StrId;
use crate::kinds::report::is_kyverno;
use crate::kinds::served::ServedResources;
use crate::kinds::{group_of, is_cluster_scoped};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Kinds by group and kind.
type Kinds = BTreeSet<(String, String)>;

impl Ledger {
    pub(super) fn is_cluster_scoped(&self, api_version: &str, kind: &str) -> bool {
        is_cluster_scoped(api_version, kind) || self.served.is_cluster_scoped(group_of(api_version), kind)
    }

    /// Says what the cluster serves. Call it between batches.
    pub(crate) fn set_served(&mut self, served: &Arc<ServedResources>) {
        let before = std::mem::replace(&mut self.served, Arc::clone(served));
        let changed = before.other_scopes(served);
        let are_reported =
            changed.iter().any(|(_, kind)| self.strings.find(kind).is_some_and(|kind| self.resources.kinds().contains(&kind)));
        if !are_reported {
            return;
        }
        self.settle();
        for report in self.reports.namespaced() {
            self.judge_again(report, &changed);
        }
    }

    /// Gives what a report says of these kinds to the resources that it can mean now.
    fn judge_again(&mut self, id: u32, changed: &Kinds) {
        let Some(report) = self.reports.names(id) else { return };
        let ReportEntry { rows, malformed, round } = self.reports.entry(id);
        if !rows.iter().any(|row| self.is_about(row, changed)) {
            return;
        }
        let (old, malformed, round) = (rows.to_vec(), *malformed, *round);
        let mut rows = Vec::with_capacity(old.len());
        for row in old {
            rows.push(if self.is_about(&row, changed) { self.subject_again(row, report) } else { row });
        }
        if self.guessing {
            for row in &rows {
                self.guess_owner(row.resource);
            }
        }
        rows.sort_unstable_by_key(|row| (row.resource, row.check, row.time, row.result));
        self.exchange(id, rows, u64::from(malformed));
        // A list that is under way has not named it again.
        self.reports.set_round(id, round);
    }

    fn is_about(&self, row: &Row, kinds: &Kinds) -> bool {
        let (api_version, kind) = self.resources.kind_of(row.resource);
        let kind = (group_of(self.strings.get(api_version)).to_owned(), self.strings.get(kind).to_owned());
        kinds.contains(&kind)
    }

    fn subject_again(&mut self, row: Row, report: (u8, StrId, super::ReportName)) -> Row {
        let ResourceRef { api_version, kind, namespace, name, uid } = self.resources.reference(row.resource, &self.strings);
        let reference = Self::reference(&api_version, &kind, &namespace, &name, &uid);
        let bounded = is_kyverno(self.strings.get(self.checks.source(row.check)));
        let subject = self.subject(&reference, report, bounded);
        let row = Row { resource: subject.resource, elsewhere: subject.elsewhere, ..row };
        if !self.checks.is_foreign(&row) {
            let category = self.details.get(row.detail).map_or(StrId::EMPTY, |detail| detail.category);
            self.checks.saw(row.check, row.time);
            self.checks.describe(row.check, row.severity, category, &self.strings);
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FindingResult, ResourceRef};
    use crate::fleet::query::FindingQuery;
    use serde_json::{Value, json};

    fn scopes(kinds: &[(&str, &str)]) -> Arc<ServedResources> {
        let mut served = ServedResources::default();
        for (group, kind) in kinds {
            served.add_cluster_scoped(group, kind);
        }
        Arc::new(served)
    }

    fn reports() -> Vec<Value> {
        let reference = |kind: &str, namespace: &str, uid: &str| json!({"apiVersion": "example.com/v1", "kind": kind, "namespace": namespace, "name": "eu", "uid": uid});
        let result = |source: &str, result: &str| json!({"source": source, "policy": "p", "rule": "r", "result": result, "timestamp": {"seconds": 9}});
        let about = |resource: &Value, mut result: Value| {
            result["resources"] = json!([resource]);
            result
        };
        let report = |name: &str, namespace: &str, scope: Value, results: Value| json!({"metadata": {"name": name, "namespace": namespace}, "scope": scope, "results": results});
        let (bare, here, there) = (reference("Region", "", ""), reference("Region", "a", "u1"), reference("Region", "b", "u1"));
        vec![
            report("whole", "", reference("Region", "", "u1"), json!([result("kyverno", "fail")])),
            report("scope", "a", here.clone(), json!([result("kyverno", "pass"), result("trivy", "fail")])),
            report("each", "a", Value::Null, json!([about(&bare, result("kyverno", "fail")), about(&there, result("kyverno", "pass"))])),
            report("other", "a", Value::Null, json!([about(&reference("Zone", "", "z1"), result("kyverno", "pass"))])),
            report("last", "b", bare, json!([result("kyverno", "warn")])),
        ]
    }

    /// What is counted and listed.
    fn seen(ledger: &mut Ledger) -> (Vec<String>, Vec<(FindingResult, bool, ResourceRef)>) {
        ledger.tidy();
        let mut sums: Vec<_> = ledger.sums().iter().map(|sum| format!("{sum:?}")).collect();
        sums.sort();
        let rows = ledger.findings(&FindingQuery { with_foreign: true, ..FindingQuery::default() });
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.result, row.foreign, (*row.resource).clone())).collect();
        rows.sort_by_key(|row| format!("{row:?}"));
        (sums, rows)
    }

    fn told(order: &[Result<&[(&str, &str)], &Value>]) -> Ledger {
        let mut ledger = Ledger::default();
        for news in order {
            match news {
                Ok(kinds) => ledger.set_served(&scopes(kinds)),
                Err(report) => ledger.put(0, report.to_string().as_bytes()).unwrap(),
            }
            ledger.settle();
        }
        ledger
    }

    #[test]
    fn a_report_is_judged_by_what_is_served_whenever_that_is_told() {
        let reports = reports();
        let all: Vec<_> = reports.iter().map(Err).collect();
        let region: &[(&str, &str)] = &[("example.com", "Region")];
        let both: &[(&str, &str)] = &[("example.com", "Region"), ("example.com", "Zone")];
        for (kinds, foreign) in [(region, 4), (&[][..], 1), (both, 5)] {
            let wanted = seen(&mut told(&[&[Ok(kinds)][..], &all].concat()));
            assert_eq!(wanted.1.iter().filter(|row| row.1).count(), foreign, "{wanted:#?}");
            for before in [&[][..], region, both] {
                for at in 0..=all.len() {
                    let order = [&[Ok(before)][..], &all[..at], &[Ok(kinds)], &all[at..]].concat();
                    assert_eq!(seen(&mut told(&order)), wanted, "{before:?}, then {kinds:?} after {at}");
                }
            }
        }
    }

    #[test]
    fn what_a_list_does_not_name_goes_all_the_same() {
        let reports = reports();
        let mut ledger = told(&reports.iter().map(Err).collect::<Vec<_>>());
        ledger.start_list(0, "");
        ledger.set_served(&scopes(&[("example.com", "Region")]));
        ledger.end_list(0, "");
        ledger.settle();
        assert_eq!(seen(&mut ledger), (Vec::new(), Vec::new()));
    }
}
