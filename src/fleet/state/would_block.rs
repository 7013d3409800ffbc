//! What a policy would block, by its present results: whatever word the report has for it, and only where it would.

use super::EnvironmentState;
use crate::domain::{Action, FindingResult, Mode, Policy, PolicyKey, Readiness, ResourceRef, Tally};
use crate::fleet::query::{FindingQuery, FindingRow, HoldingReport, ReportRef, WouldBlock};
use crate::kinds::mode::{mode_in, policy_mode, rule_mode};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// What Kyverno says of a violation that existed before the policy (Kyverno 1.13 and later, `pkg/engine/handlers/validation/validate_resource.go`).
const TOLERATED: &str = "pre-existing violations are allowed";
/// Policies with more rows than this are not looked at one by one: where all are asked about, and where one is.
const MOST_ROWS: [u64; 2] = [20_000, 500_000];
/// Finding skipped results takes a walk over all; in bigger environments only where one policy is asked about.
const MOST_RESULTS: u64 = 50_000;
/// So many reports are named for a policy.
const MOST_REPORTS: usize = 5;

impl EnvironmentState {
    /// What policies would block, of one or of all; a policy with too many results to look at each is left out.
    pub fn would_block(&self, policy: Option<&PolicyKey>) -> Vec<(PolicyKey, WouldBlock)> {
        let sums = self.ledger.sums();
        let big = sums.iter().map(|sum| sum.findings.total()).sum::<u64>() > MOST_RESULTS;
        let owners: HashMap<&PolicyKey, _> = sums.iter().map(|sum| (&sum.key, sum.owners)).collect();
        let wanted = || self.policies.values().filter(|kept| policy.is_none_or(|key| *key == kept.key));
        let enforcing: HashMap<&PolicyKey, Policy> = wanted().map(|kept| (&kept.key, enforcing(&kept.policy))).collect();
        let place = |key: &PolicyKey, rule: &str, resource: &ResourceRef| self.place(enforcing.get(key)?, rule, resource);
        let apart = self.ledger.evaluated_in(policy, place);
        let judged = wanted().filter_map(|kept| {
            let owners = owners.get(&kept.key).copied().unwrap_or_default();
            let results = self.violating_results(&kept.policy, owners);
            let rows: u64 = results.iter().map(|result| owners.of(*result)).sum();
            let walks = results.contains(&FindingResult::Skip);
            let fits = rows <= MOST_ROWS[usize::from(policy.is_some())] && (policy.is_some() || !walks || !big);
            let apart = |place| apart.get(&(kept.key.clone(), place)).copied().unwrap_or_default();
            let (left_alone, audited) = (apart(Place::LeftAlone), apart(Place::Audited));
            let scans = kept.policy.background;
            let found = WouldBlock { left_alone, audited, scans, ..WouldBlock::default() };
            fits.then(|| Some((kept.key.clone(), self.judged(enforcing.get(&kept.key)?, &kept.key, results, found)))).flatten()
        });
        judged.collect()
    }

    /// The results of a policy among which violations can be; none where it has no such results.
    fn violating_results(&self, policy: &Policy, owners: Tally) -> Vec<FindingResult> {
        // Only what enforces tolerates, and only rules of `kyverno.io` do.
        let tolerates = policy.cel.is_none() && policy_mode(policy, &self.facts.kyverno).can_block();
        let can = |result: &FindingResult| match result {
            FindingResult::Fail | FindingResult::Error => true,
            FindingResult::Warn => !policy.scored,
            FindingResult::Skip => tolerates,
            FindingResult::Pass => false,
        };
        let all = [FindingResult::Fail, FindingResult::Error, FindingResult::Warn, FindingResult::Skip];
        all.into_iter().filter(can).filter(|result| owners.of(*result) > 0).collect()
    }

    /// What the rows with these results add to what was found.
    fn judged(&self, enforcing: &Policy, key: &PolicyKey, results: Vec<FindingResult>, mut found: WouldBlock) -> WouldBlock {
        let mut reports: HashMap<Arc<ReportRef>, HoldingReport> = HashMap::new();
        for row in self.violating(key, results, true) {
            if self.place(enforcing, &row.rule, &row.resource).is_none() {
                found.counted += 1;
                found.tolerated += u64::from(row.result == FindingResult::Skip);
                found.by_old_sets += u64::from(row.idle.is_some());
                let holds = row.report.as_ref().map(|report| {
                    let first = || HoldingReport {
                        report: ReportRef::clone(report),
                        by: row.written_by.clone(),
                        count: 0,
                        worst: row.result,
                        oldest: row.evaluated_at,
                    };
                    reports.entry(Arc::clone(report)).or_insert_with(first)
                });
                if let Some(holds) = holds {
                    holds.count += 1;
                    holds.worst = holds.worst.max(row.result);
                    holds.oldest = holds.oldest.min(row.evaluated_at);
                }
            }
        }
        let mut reports: Vec<HoldingReport> = reports.into_values().collect();
        // What Kyverno has not written is named whatever else there is.
        let place = |one: &HoldingReport| (one.by.is_none(), Reverse(one.worst), one.oldest);
        reports.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.report.cmp(&b.report)));
        found.more_reports = reports.len().saturating_sub(MOST_REPORTS) as u64;
        reports.truncate(MOST_REPORTS);
        WouldBlock { reports, ..found }
    }

    /// The violations of a policy by workload, whatever word the report has for them.
    pub fn violations(&self, policy: &PolicyKey) -> Vec<FindingRow> {
        let Some(kept) = self.policies.values().find(|kept| kept.key == *policy) else { return Vec::new() };
        let owners = self.ledger.sums().into_iter().find(|sum| sum.key == *policy).map(|sum| sum.owners);
        self.violating(policy, self.violating_results(&kept.policy, owners.unwrap_or_default()), false)
    }

    /// Those of them that a gate counts: not where the policy would block nothing.
    pub(super) fn counted(&self, policy: &PolicyKey, namespace: Option<&str>) -> Vec<FindingRow> {
        let Some(kept) = self.policies.values().find(|kept| kept.key == *policy) else { return Vec::new() };
        let enforcing = enforcing(&kept.policy);
        let mut rows = self.violations(policy);
        rows.retain(|row| {
            namespace.is_none_or(|name| row.resource.namespace == name) && self.place(&enforcing, &row.rule, &row.resource).is_none()
        });
        rows
    }

    fn violating(&self, policy: &PolicyKey, results: Vec<FindingResult>, with_report: bool) -> Vec<FindingRow> {
        if results.is_empty() {
            return Vec::new();
        }
        let query = FindingQuery { policy: Some(policy.clone()), results, by_owner: true, with_report, ..FindingQuery::default() };
        let violates = |row: &FindingRow| row.result != FindingResult::Skip || row.message.contains(TOLERATED);
        self.ledger.findings(&query).into_iter().filter(violates).collect()
    }

    /// Why nothing would happen to the resource if the policy enforced; `None` where it would be blocked.
    fn place(&self, enforcing: &Policy, rule: &str, resource: &ResourceRef) -> Option<Place> {
        let own = resource.is_namespace();
        let namespace = self.namespace(resource.own_namespace());
        let kyverno = &self.facts.kyverno;
        if !enforcing.native && !own && kyverno.leaves_alone(&namespace) {
            return Some(Place::LeftAlone);
        }
        let rule = enforcing.rules.iter().find(|one| !one.name.is_empty() && one.name == rule);
        let mode =
            rule.map_or_else(|| mode_in(enforcing, kyverno, &namespace), |rule| rule_mode(enforcing, rule, kyverno, Some(&namespace)));
        // Only what is certain is left out of the count.
        matches!(mode, Mode::Audit | Mode::Warn).then_some(Place::Audited)
    }
}

/// Where a policy blocks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    LeftAlone,
    Audited,
}

/// The policy as it would be with enforce wherever it says audit; its overrides stay.
fn enforcing(policy: &Policy) -> Policy {
    let mut enforcing = policy.clone();
    (enforcing.action, enforcing.ready) = (Action::Enforce, Readiness::Ready);
    for rule in &mut enforcing.rules {
        rule.action = rule.action.map(|_| Action::Enforce);
    }
    if let Some(cel) = &mut enforcing.cel {
        cel.deny = true;
    }
    enforcing
}
