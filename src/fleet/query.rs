//! Questions for the rows behind a number, and their answers.
//!
//! An environment answers from its own state on its own task, so a question never blocks a screen and never copies more than it asks for.

use crate::domain::{Exception, FindingResult, Mode, Policy, PolicyKey, ResourceRef, RuleType, Severity};
use jiff::Timestamp;
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
}

/// One finding, as rows and `findings -o json` show it.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingRow {
    /// Which policy, reported by which source.
    pub key: PolicyKey,
    /// The rule; with `by_owner`, without the `autogen-` prefixes. Empty for CEL kinds.
    pub rule: Arc<str>,
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
    /// Properties of the result, sorted by key.
    pub properties: Arc<[(Arc<str>, Arc<str>)]>,
    /// How many resources stand behind the row (1 unless `by_owner`).
    pub resources: u32,
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
    /// Each rule in order.
    pub rules: Vec<RuleRow>,
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
    /// Results that name it.
    pub uses: u64,
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
}
