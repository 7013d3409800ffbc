//! Results of policy evaluation and how they are counted.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::str::FromStr;

/// What a policy engine said about one resource and one rule, in the words of the PolicyReport API (`results[].result`).
///
/// The order is from best to worst, as counting needs it: of two results for the same finding the worse one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FindingResult {
    /// The resource conforms.
    Pass,
    /// The rule was not evaluated: a precondition, an exception, or an old object.
    Skip,
    /// A failure of a policy annotated `policies.kyverno.io/scored: "false"`.
    Warn,
    /// The resource violates the rule.
    Fail,
    /// The rule could not be evaluated.
    Error,
}

impl FindingResult {
    /// All results, best first.
    pub const ALL: [Self; 5] = [Self::Pass, Self::Skip, Self::Warn, Self::Fail, Self::Error];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }

    /// Whether a person has to look at it: failures and errors.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Fail | Self::Error)
    }
}

impl fmt::Display for FindingResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingResult {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|r| r.as_str() == text).ok_or(())
    }
}

/// How bad a finding is, from the policy's annotation `policies.kyverno.io/severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Severity {
    /// `info`
    Info,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl Severity {
    /// All severities, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// At most four letters, for narrow columns.
    pub fn short(self) -> &'static str {
        match self {
            Self::Medium => "med",
            Self::Critical => "crit",
            other => other.as_str(),
        }
    }
}

impl FromStr for Severity {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|s| s.as_str() == text || s.short() == text).ok_or(())
    }
}

/// Counts by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tally {
    /// Conforming results.
    pub pass: u64,
    /// Violations.
    pub fail: u64,
    /// Violations of unscored policies.
    pub warn: u64,
    /// Rules that could not be evaluated.
    pub error: u64,
    /// Rules that were not evaluated.
    pub skip: u64,
}

impl Tally {
    /// The count of one result.
    pub fn of(&self, result: FindingResult) -> u64 {
        match result {
            FindingResult::Pass => self.pass,
            FindingResult::Skip => self.skip,
            FindingResult::Warn => self.warn,
            FindingResult::Fail => self.fail,
            FindingResult::Error => self.error,
        }
    }

    fn slot(&mut self, result: FindingResult) -> &mut u64 {
        match result {
            FindingResult::Pass => &mut self.pass,
            FindingResult::Skip => &mut self.skip,
            FindingResult::Warn => &mut self.warn,
            FindingResult::Fail => &mut self.fail,
            FindingResult::Error => &mut self.error,
        }
    }

    /// Counts one more `result`.
    pub fn add(&mut self, result: FindingResult) {
        *self.slot(result) += 1;
    }

    /// Counts `n` more of `result`; stops at the biggest number there is.
    pub fn add_many(&mut self, result: FindingResult, n: u64) {
        let slot = self.slot(result);
        *slot = slot.saturating_add(n);
    }

    /// Takes one `result` away; never goes below zero.
    pub fn take(&mut self, result: FindingResult) {
        let slot = self.slot(result);
        *slot = slot.saturating_sub(1);
    }

    /// Failures and errors: what a person has to look at.
    pub fn faults(&self) -> u64 {
        self.fail.saturating_add(self.error)
    }

    /// All results together.
    pub fn total(&self) -> u64 {
        FindingResult::ALL.into_iter().fold(0, |total: u64, result| total.saturating_add(self.of(result)))
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for result in FindingResult::ALL {
            self.add_many(result, other.of(result));
        }
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        for result in FindingResult::ALL {
            let slot = self.slot(result);
            *slot = slot.saturating_sub(other.of(result));
        }
    }
}
