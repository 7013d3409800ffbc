//! Claims in reports that nothing verifies, by policy and report.

use super::Ledger;
use super::rows::Row;
use crate::domain::{Claim, PolicyKey, Unverified};
use crate::kinds::revision::full_digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Ledger {
    /// What reports say about policies, about all or about one, that nothing verifies; those with most results first.
    pub(crate) fn claims(&self, policy: Option<&PolicyKey>) -> BTreeMap<PolicyKey, Vec<Claim>> {
        let wanted = self.checks.wanted(policy, true);
        let mut rows: BTreeMap<(&PolicyKey, u32, Unverified), Vec<&Row>> = BTreeMap::new();
        for (number, row) in self.reports.numbered_rows() {
            let is_wanted = wanted.get(row.check as usize).copied().unwrap_or_default();
            if let Some(why) = self.unverified(row).filter(|_| is_wanted)
                && let Some((key, ..)) = self.checks.names(row.check)
            {
                rows.entry((key, number, why)).or_default().push(row);
            }
        }
        let mut claims: BTreeMap<PolicyKey, Vec<Claim>> = BTreeMap::new();
        for ((key, number, why), rows) in rows {
            if let Some(claim) = self.claim(number, why, &rows) {
                claims.entry(key.clone()).or_default().push(claim);
            }
        }
        for claims in claims.values_mut() {
            claims.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.object.cmp(&b.object)));
        }
        claims
    }

    /// Why nothing verifies a row; `None` where something does.
    fn unverified(&self, row: &Row) -> Option<Unverified> {
        self.checks.is_foreign(row).then_some(Unverified::Foreign)
    }

    /// What the rows of a report add up to.
    fn claim(&self, number: u32, why: Unverified, rows: &[&Row]) -> Option<Claim> {
        let object = (&self.report(number)?).into();
        let mut says: Vec<String> = rows.iter().map(|row| self.says(row).to_string()).collect();
        // In whatever order the report has them.
        says.sort_unstable();
        Some(Claim {
            object,
            why,
            component: String::new(),
            by: None,
            at: rows.iter().filter_map(|row| super::seconds(row.time)).max(),
            count: rows.len() as u64,
            content: full_digest(&says.into()),
        })
    }

    /// What a row says, but for when: a scan that finds the same has said nothing else.
    fn says(&self, row: &Row) -> Value {
        let resource = self.resources.reference(row.resource, &self.strings);
        let rule = self.checks.names(row.check).map(|(_, rule, _)| self.text(rule));
        json!([
            rule,
            row.result.as_str(),
            self.text(row.message),
            resource.api_version,
            resource.kind,
            resource.namespace,
            resource.name,
            resource.uid
        ])
    }
}
