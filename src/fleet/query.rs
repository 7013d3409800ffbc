//! Questions for the rows behind a number, and their answers.
//!
//! An environment answers from its own state on its own task, so a question never blocks a screen and never copies more than it asks for.

use crate::domain::{
    EventSource, EvidenceRef, Exception, FindingResult, InForce, Mode, Policy, PolicyKey, ResourceRef, RuleType, Severity, clean,
};
use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Which findings are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FindingQuery {
    /// Only this policy.
    pub policy: Option<PolicyKey>,
    /// Only resources (or owners) in this namespace; `Some("")` means cluster-scoped ones.
    pub namespace: Option<String>,
    /// Only these results; empty means all.
    pub results: Vec<FindingResult>,
    /// One row per top owner with the worst result, instead of one per resource.
    pub by_owner: bool,
    /// Also results whose policy or rule no longer exists (marked `stale`).
    pub with_stale: bool,
    /// Also results that speak for another namespace than their report's (marked `foreign`); they count nowhere.
    pub with_foreign: bool,
    /// Also which report holds each result.
    pub with_report: bool,
    /// Only the violations of `policy` by workload that its gate counts, whatever word reports have for them: of the other fields, only `namespace` has
    /// a meaning then.
    pub counted: bool,
}

/// One finding, as rows and `findings -o json` show it.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingRow {
    /// Which policy, reported by which source.
    pub key: PolicyKey,
    /// The rule; with `by_owner`, as the policy calls it. Empty for CEL kinds.
    pub rule: Arc<str>,
    /// The rule as the policy calls it: Kyverno names those that it generates for controllers in another way.
    pub own_rule: Arc<str>,
    /// The result; with `by_owner`, the worst of the owner's resources.
    pub result: FindingResult,
    /// Severity.
    pub severity: Option<Severity>,
    /// Category; empty if none.
    pub category: Arc<str>,
    /// The engine's message, as written: clean it before it reaches a terminal.
    pub message: Arc<str>,
    /// The resource; with `by_owner`, the owner.
    pub resource: Arc<ResourceRef>,
    /// The top controlling owner, if the resource has one.
    pub owner: Option<Arc<ResourceRef>>,
    /// Whether the owner was guessed by name, because owners may not be read here.
    pub owner_guessed: bool,
    /// When the engine evaluated it. Not when the violation began: nobody knows that.
    pub evaluated_at: Option<Timestamp>,
    /// Names of the exceptions that excused it; empty if none.
    pub exception: Arc<str>,
    /// The policy or the rule no longer exists.
    pub stale: bool,
    /// A namespaced report of Kyverno's speaks for another namespace here: it counts nowhere.
    pub foreign: bool,
    /// The field manager of a result of Kyverno's that Kyverno has not written, as far as the report tells.
    pub written_by: Option<Arc<str>>,
    /// With `by_owner`: where a Deployment itself passes and only ReplicaSets of it violate, one of them. It is an old one, kept for a rollback, unless
    /// the rollout is still going on.
    pub idle: Option<Arc<ResourceRef>>,
    /// Properties of the result, sorted by key.
    pub properties: Arc<[(Arc<str>, Arc<str>)]>,
    /// How many resources stand behind the row (1 unless `by_owner`).
    pub resources: u32,
    /// The report that holds the result, where that was asked for.
    pub report: Option<Arc<ReportRef>>,
}

/// A report in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportRef {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for a report of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ReportRef {
    /// As kubectl takes it: `policyreport NAME -n NAMESPACE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.to_lowercase(), clean(&self.name))?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " -n {}", clean(&self.namespace)) }
    }
}

impl From<&ReportRef> for EvidenceRef {
    fn from(report: &ReportRef) -> Self {
        Self::new(report.kind, &report.namespace, &report.name)
    }
}

/// A report that holds results which count as violations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldingReport {
    /// The report.
    pub report: ReportRef,
    /// The field manager that wrote its results, where that is not Kyverno.
    pub by: Option<Arc<str>>,
    /// How many of the counted workloads it decides.
    pub count: u64,
    /// The worst of its results.
    pub worst: FindingResult,
    /// When the oldest of them was evaluated; `None` where one has no time.
    pub oldest: Option<Timestamp>,
}

/// When a policy's results were evaluated, and the oldest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestResult {
    /// Which policy.
    pub key: PolicyKey,
    /// When it was evaluated; `None` where one of the policy's results has no time.
    pub at: Option<Timestamp>,
    /// The report that holds it.
    pub report: Option<ReportRef>,
    /// How many results are of which second, oldest first; without those that have no time.
    pub times: Vec<(Timestamp, u64)>,
}

/// One policy with its rules' modes.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    /// Which policy.
    pub key: PolicyKey,
    /// As read.
    pub policy: Arc<Policy>,
    /// What it does: in the namespace asked about, else as a summary.
    pub mode: Mode,
    /// Whether requests really meet it now: in the namespace asked about, else anywhere.
    pub in_force: InForce,
    /// The API server judges by a native policy that was generated from it.
    pub native: bool,
    /// Each rule in order.
    pub rules: Vec<RuleRow>,
}

/// What a policy would block if it enforced, by its present results.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WouldBlock {
    /// Workloads that would be blocked, one per rule, as the tallies by owner count them.
    pub counted: u64,
    /// How many of them are reported as skipped, because their violations existed before and are tolerated.
    pub tolerated: u64,
    /// How many of them violate only by an old ReplicaSet, while the Deployment itself passes.
    pub by_old_sets: u64,
    /// Workloads that were evaluated in namespaces of which Kyverno ignores requests.
    pub left_alone: u64,
    /// Workloads that were evaluated where an override keeps audit.
    pub audited: u64,
    /// Existing resources are scanned (`background`).
    pub scans: bool,
    /// A few of the reports that hold the results of those workloads, the worst first, then the oldest.
    pub reports: Vec<HoldingReport>,
    /// How many more there are.
    pub more_reports: u64,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleRow {
    /// Name; empty for CEL kinds.
    pub name: Arc<str>,
    /// What it does.
    pub rule_type: RuleType,
    /// What happens on a violation of this rule, or `Off` for rules without an action.
    pub mode: Mode,
    /// Overrides in words, e.g. `enforce in prod-*`.
    pub overrides: Vec<String>,
}

/// One exception with what is known of its use.
#[derive(Debug, Clone, PartialEq)]
pub struct ExceptionRow {
    /// As read.
    pub exception: Arc<Exception>,
    /// Results that it excuses.
    pub uses: u64,
    /// The same by policy.
    pub uses_by: Vec<(PolicyKey, u64)>,
}

/// All exceptions of an environment with their uses, and the uses of those that are not seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExceptionUses {
    /// Those that are seen.
    pub rows: Vec<ExceptionRow>,
    /// Those that results name although they are not seen: they are gone, or where nothing is looked at.
    pub unseen: Vec<UnseenException>,
}

/// An exception that results name and that is not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnseenException {
    /// The policy of the results.
    pub policy: PolicyKey,
    /// `namespace/name`, `name`, or nothing: as the results have it.
    pub name: String,
    /// Results that it excuses.
    pub uses: u64,
}

impl ExceptionRow {
    /// Counts results of a policy that it excuses.
    pub fn add(&mut self, policy: &PolicyKey, uses: u64) {
        self.uses += uses;
        match self.uses_by.iter_mut().find(|(known, _)| known == policy) {
            Some((_, count)) => *count += uses,
            None => self.uses_by.push((policy.clone(), uses)),
        }
    }
}

/// Refused admissions of one policy, as one event tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockedRow {
    /// UID of the event: the same one with a higher count is the same event.
    pub event: Arc<str>,
    /// Which policy refused.
    pub key: PolicyKey,
    /// What was refused. It never existed, so its UID names nothing.
    pub resource: Arc<ResourceRef>,
    /// When it happened last.
    pub at: Option<Timestamp>,
    /// How often; the rows' counts add up to the number they stand behind.
    pub count: u64,
    /// Kyverno's note, as written: clean it before it reaches a terminal.
    pub message: Arc<str>,
    /// Who wrote the event.
    pub source: Arc<EventSource>,
}
