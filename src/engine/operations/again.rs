//! A plan from a file is a request: it is planned again from the live objects, and that plan is applied.
//!
//! What lives here: planning again, and rejecting a file that asks for anything else than its operation. What does not: reading the file
//! (`ops::plan`), the operations, applying them (`execute`).
//!
//! A file names its maker, time, ticket, reason, acknowledgement and what is disregarded. Its writes, diffs, warnings, gate, direction and confirmation are ignored: those of the
//! new plan count.

use super::execute::{policy_of, stop_for};
use super::undoing::Undone;
use super::{Declined, Operator, Request, StepOutcome, kind_of, refused};
use crate::domain::PolicyId;
use crate::kinds::hold::HOLD;
use crate::kinds::revision::revision;
use crate::kinds::transfer::bare;
use crate::ops::plan::{ObjectRef, Operation, Plan, Step};
use crate::ops::target::is_ours;
use serde_json::Value;
use std::collections::BTreeSet;

/// The prefix of annotations that operations write. Their times, names and plan ids differ with each plan.
const STAMPS: &str = "policydeck.dev/";

impl Operator {
    /// The plan that a file asks for, planned again, and the steps of the file that no longer apply.
    ///
    /// # Errors
    /// The file asks for something that no operation does, what it was made from has changed, or a gate is not open.
    pub async fn made_again(&self, file: &Plan) -> Result<(Plan, Vec<StepOutcome>), Declined> {
        let environment = shape(file)?;
        // Before anything is read for it.
        self.allowed(file)?;
        let (asked, left_out) = self.still_there(file).await?;
        let request = Request {
            ticket: file.ticket.clone(),
            reason: file.reason.clone(),
            given: file.gates().cloned().collect(),
            ..Request::default()
        };
        // Annotations say who made the plan, as they do where it is carried out at once.
        let maker = Self { by: file.made_by.clone(), ..self.clone() };
        let plans = match asked.operation {
            Operation::Unblock => vec![maker.unblock(environment, &request).await?],
            Operation::Undo => vec![maker.taken_back_again(&asked, environment, &request).await?],
            _ => {
                let mut plans = Vec::new();
                for step in &asked.steps {
                    plans.push(maker.step_again(asked.operation, step, &request).await?);
                }
                plans
            }
        };
        let made = maker.together(plans)?;
        same_writes(asked.operation, &asked.steps, &made.steps)?;
        Ok((
            Plan { made_at: file.made_at, made_by: file.made_by.clone(), maker: file.maker.clone(), signer: file.signer.clone(), ..made },
            left_out,
        ))
    }

    /// The steps of a file whose objects are unchanged, and the outcome of the others. Steps that go only together must all be unchanged.
    async fn still_there(&self, file: &Plan) -> Result<(Plan, Vec<StepOutcome>), Declined> {
        let going = self.pinned(file).await?;
        if going.plan.steps.is_empty()
            && let Some(first) = going.told.values().next()
        {
            return Err(refused("moved", first.reason.clone()));
        }
        Ok((going.plan, going.told.into_values().collect()))
    }

    /// One step of a promotion, demotion, rollback, hold or release.
    async fn step_again(&self, operation: Operation, step: &Step, request: &Request) -> Result<Plan, Declined> {
        let (policy, environment) = (policy_of(&step.object), step.environment.as_str());
        match operation {
            Operation::Promote => {
                let to = self.lands(step).await?.map_or_else(|| environment.to_owned(), |(_, mode)| stop_for(environment, mode));
                self.promote(&policy, Some(&to), request).await
            }
            Operation::Demote => self.demote(&policy, environment, request).await,
            Operation::Release => self.hold(&policy, environment, None, request).await,
            Operation::Hold => {
                let reason = step.after.as_ref().and_then(|after| after.get("metadata")?.get("annotations")?.get(HOLD)?.as_str());
                self.hold(&policy, environment, Some(reason.unwrap_or_default()), request).await
            }
            Operation::Rollback => self.rolled_back_again(step, &policy, request).await,
            Operation::Unblock | Operation::Undo => Err(forged(operation, step)),
        }
    }

    /// A rollback to an object from an archive or the history on this machine. The former object in the file is not used.
    async fn rolled_back_again(&self, step: &Step, policy: &PolicyId, request: &Request) -> Result<Plan, Declined> {
        let (kind, environment, operation) = (kind_of(policy)?, step.environment.as_str(), Operation::Rollback);
        let Some(after) = &step.after else { return Err(forged(operation, step)) };
        let wanted = revision(kind, after);
        let formers = self.formers(policy, environment).await?;
        for former in formers.all.iter().filter(|former| former.revision == wanted && former.object.is_some()) {
            if let Ok(plan) = self.rollback_to_former(policy, environment, former, request).await
                && same_writes(operation, std::slice::from_ref(step), &plan.steps).is_ok()
            {
                return Ok(plan);
            }
        }
        let name = &policy.name;
        let text = format!(
            "Neither an archive nor the history here has what this plan puts back (revision {wanted} of {policy} in {environment}). Roll back where it is known: \
             `rollback {name} -e {environment} --list` tells what is known here."
        );
        Err(refused("unproven", text))
    }

    /// An undo by the archive of the undone plan, which must be on this machine. The former object in the file is not used.
    async fn taken_back_again(&self, file: &Plan, environment: &str, request: &Request) -> Result<Plan, Declined> {
        let Some(undone) = file.undoes.as_deref().filter(|id| is_id(id)) else {
            return Err(refused("forged", "This plan does not say which plan it takes back. Make it again.".to_owned()));
        };
        let (plan, left_out) = self.undo(Undone::Plan(undone), environment, request).await.map_err(|declined| match declined {
            Declined::Usage(why) => refused("unproven", format!("Plan {undone} is taken back where its archive is: {why}.")),
            declined => declined,
        })?;
        match left_out.into_iter().next() {
            Some(left) if file.steps.iter().any(|step| policy_of(&step.object).to_string() == left.object.to_string()) => {
                Err(refused("changed", left.reason))
            }
            _ => Ok(plan),
        }
    }
}

/// Whether a text is the id of a plan.
fn is_id(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// The one environment that a file writes to, where it has the form of a plan that this program makes.
fn shape(file: &Plan) -> Result<&str, Declined> {
    let malformed = |why: String| Err(refused("forged", format!("This is no plan that policydeck makes: {why}.")));
    let Some(first) = file.steps.first() else { return malformed("it writes nothing".to_owned()) };
    let environment = first.environment.as_str();
    let mut seen: BTreeSet<&ObjectRef> = BTreeSet::new();
    for step in &file.steps {
        is_ours(&step.object)?;
        if step.environment != environment {
            return malformed(format!("it writes to {environment} and to {}", step.environment));
        }
        if !seen.insert(&step.object) {
            return malformed(format!("it writes {} twice", step.object));
        }
        if !file.basis.iter().any(|basis| basis.environment == step.environment && basis.object == step.object) {
            return malformed(format!("it does not say what {} was when it was made", step.object));
        }
    }
    let mut bases: BTreeSet<(&str, &ObjectRef)> = BTreeSet::new();
    for basis in &file.basis {
        is_ours(&basis.object)?;
        let is_written = seen.iter().any(|object| policy_of(object) == policy_of(&basis.object));
        if !bases.insert((basis.environment.as_str(), &basis.object)) || !is_written {
            return malformed(format!("it was made from {} in {}, which it has nothing to do with", basis.object, basis.environment));
        }
    }
    Ok(environment)
}

/// Whether the new steps write what the steps of the file write.
fn same_writes(operation: Operation, asked: &[Step], made: &[Step]) -> Result<(), Declined> {
    let differs = |step: &&Step| {
        let same = |other: &Step| {
            (&other.object, &other.environment, other.verb.as_str()) == (&step.object, &step.environment, step.verb.as_str())
                && unstamped(other.after.as_ref()) == unstamped(step.after.as_ref())
        };
        !made.iter().any(same)
    };
    if let Some(step) = asked.iter().find(differs) {
        return Err(forged(operation, step));
    }
    if made.len() != asked.len() {
        let more: Vec<String> = made.iter().map(|step| step.object.to_string()).collect();
        return Err(refused(
            "forged",
            format!("This plan leaves out what belongs to it: {operation} of {}. Make it again.", more.join(", ")),
        ));
    }
    Ok(())
}

/// An object without what says who wrote it, when and in which plan.
fn unstamped(object: Option<&Value>) -> Option<Value> {
    let mut bare = bare(object?);
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.retain(|key, _| !key.starts_with(STAMPS));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    Some(bare)
}

fn forged(operation: Operation, step: &Step) -> Declined {
    let text = format!(
        "This plan writes something else to {} in {} than `{operation}` does there now. Make it again.",
        step.object, step.environment
    );
    refused("forged", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stamps_and_what_a_server_writes_are_no_difference() {
        let object = |annotations: &Value| json!({"metadata": {"name": "p", "annotations": annotations, "resourceVersion": "7"}, "spec": {}, "status": {"ready": true}});
        let bare = Some(json!({"metadata": {"name": "p"}, "spec": {}}));
        assert_eq!(unstamped(Some(&object(&json!({"policydeck.dev/plan": "x", "policydeck.dev/at": "y"})))), bare);
        let kept = json!({"metadata": {"name": "p", "annotations": {"team": "a"}}, "spec": {}});
        assert_eq!(unstamped(Some(&object(&json!({"team": "a", "policydeck.dev/by": "z"})))), Some(kept));
        assert_eq!(unstamped(None), None);
    }
}
