//! What is left out of an operation on several policies, because it needs nothing or cannot go: one outcome each, so that nothing is lost.

use super::{Declined, StepOutcome};
use crate::domain::PolicyId;
use crate::domain::journal::StepResult;
use crate::ops::plan::ObjectRef;

impl StepOutcome {
    /// The outcome of a policy for which there is no plan, and why.
    pub fn left_out(policy: &PolicyId, environment: &str, declined: &Declined) -> Self {
        let result = match declined {
            Declined::Refused(refusal) if refusal.needs_nothing() => StepResult::Unchanged,
            Declined::Refused(_) | Declined::Gate(_) => StepResult::Refused,
            Declined::Failed(_) | Declined::Usage(_) => StepResult::Failed,
        };
        let object = ObjectRef {
            group: policy.group.clone(),
            version: String::new(),
            kind: policy.kind.clone(),
            plural: String::new(),
            namespace: policy.namespace.clone(),
            name: policy.name.clone(),
        };
        Self {
            environment: environment.to_owned(),
            verb: "none",
            object,
            result,
            reason: declined.to_string().trim_end_matches('.').to_owned(),
            diff: Vec::new(),
            effect: None,
            warnings: Vec::new(),
        }
    }
}
