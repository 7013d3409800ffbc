//! What `promote`, `demote`, `rollback`, `hold`, `release` and `unblock` print: an item per write.

use super::document::Item;
use super::table::{Cell, Column, Role};
use super::{Exit, rows::text_or};
use crate::domain::journal::StepResult;
use crate::domain::{Mode, clean};
use crate::engine::operations::{Outcome, StepOutcome};
use crate::ops::plan::ObjectRef;
use serde::Serialize;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeItem {
    /// Where.
    pub environment: String,
    /// What was sent.
    pub verb: &'static str,
    /// To what.
    pub object: ObjectRef,
    /// done, unchanged, failed, refused, unknown or skipped.
    pub result: StepResult,
    /// Why, or what was seen afterwards.
    pub reason: String,
    /// What differs, a line each.
    pub diff: Vec<String>,
    /// What the policy does now, where the environment shows it.
    pub mode: Option<Mode>,
    /// Failing workloads now; null until the first scan after the write.
    pub violations: Option<u64>,
    /// Failing workloads before the write, where that is the last number there is.
    pub violations_before: Option<u64>,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

/// The item of a write.
pub fn item(step: &StepOutcome) -> OutcomeItem {
    OutcomeItem {
        environment: step.environment.clone(),
        verb: step.verb,
        object: step.object.clone(),
        result: step.result,
        reason: step.reason.clone(),
        diff: step.diff.iter().map(ToString::to_string).collect(),
        mode: step.effect.map(|effect| effect.mode),
        violations: step.effect.and_then(|effect| effect.violations),
        violations_before: step.effect.and_then(|effect| effect.before),
        warnings: step.warnings.clone(),
    }
}

/// The exit status of what became of a plan.
pub fn exit(outcome: &Outcome) -> Exit {
    if outcome.is_unknown() {
        Exit::Unknown
    } else if outcome.is_done() {
        Exit::Done
    } else if outcome.is_partly_done() {
        Exit::Partly
    } else {
        Exit::Failed
    }
}

impl Item for OutcomeItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["environment", "object", "verb", "result", "outcome"].map(Column::text).into()
    }

    fn row(&self, (): &(), _: bool) -> Vec<Cell> {
        let role = match self.result {
            StepResult::Done => Role::Plain,
            StepResult::Unchanged | StepResult::Skipped => Role::Dim,
            StepResult::Unknown => Role::Attention,
            StepResult::Failed | StepResult::Refused => Role::Fault,
        };
        vec![
            Cell::plain(&self.environment),
            Cell::plain(&self.object.to_string()),
            Cell::plain(self.verb),
            Cell::new(self.result.as_str(), role),
            Cell::plain(text_or(Some(&clean(&self.reason)), "-")),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["environment", "object", "verb", "result", "reason"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let result = self.result.as_str().to_owned();
        vec![vec![self.environment.clone(), self.object.to_string(), self.verb.to_owned(), result, self.reason.clone()]]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![format!("{}/{}", self.environment, self.object)]
    }
}
