//! What became of an operation.

use super::effect::Effect;
use crate::domain::journal::StepResult;
use crate::ops::diff::Line;
use crate::ops::plan::ObjectRef;
use std::path::PathBuf;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The plan's id.
    pub plan: String,
    /// The archive of what was there before; `None` where nothing was written.
    pub undo: Option<PathBuf>,
    /// Nothing was meant to be written.
    pub dry_run: bool,
    /// Each write, in order.
    pub steps: Vec<StepOutcome>,
}

/// What became of one write.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// Where.
    pub environment: String,
    /// What was sent: create, patch, replace, delete.
    pub verb: &'static str,
    /// To what.
    pub object: ObjectRef,
    /// What became of it.
    pub result: StepResult,
    /// Why, or what was seen afterwards; a sentence without a full stop.
    pub reason: String,
    /// What differs.
    pub diff: Vec<Line>,
    /// What the environment shows since; `None` where nothing was written or it does not show it.
    pub effect: Option<Effect>,
    /// What the server and its webhooks warn of, as written: clean it before it reaches a terminal.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Whether every write was done, or was so already.
    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.result, StepResult::Done | StepResult::Unchanged))
    }

    /// Whether something was done, or was so already, although not everything.
    pub fn is_partly_done(&self) -> bool {
        !self.is_done() && self.steps.iter().any(|step| matches!(step.result, StepResult::Done | StepResult::Unchanged))
    }

    /// Whether something was sent of which nobody knows what became.
    pub fn is_unknown(&self) -> bool {
        self.steps.iter().any(|step| step.result == StepResult::Unknown)
    }
}
