//! What was carried out, as the history tells it: the same step once, however many see it.

use super::Operator;
use crate::domain::history::{EnvironmentKey, Operation};
use crate::domain::journal::{Entry, Standing};
use crate::domain::{Mode, PolicyId, PolicyKey};
use crate::engine::Failure;
use crate::kinds::hold::HOLD;
use crate::ops::plan::{Operation as Planned, Plan, Step};
use serde_json::Value;

impl Operator {
    /// Notes a step that was done, with the journal's words for who did it.
    pub(super) async fn note(&self, plan: &Plan, step: &Step, intent: &Entry) -> Result<(), Failure> {
        let record = &intent.record;
        let (true, Some(cluster_uid)) = (self.noting, &record.cluster_uid) else { return Ok(()) };
        let place = plan.steps.iter().position(|one| one == step).unwrap_or_default();
        let operation = Operation {
            identity: format!("{}/{place}", plan.id),
            policy: record.object.as_ref().and_then(|policy| self.key(&step.environment, policy)),
            verb: plan.operation.to_string(),
            actor: record.who.to_string(),
            text: text(plan, step, intent),
        };
        let environment = EnvironmentKey { name: step.environment.clone(), cluster_uid: cluster_uid.clone() };
        // When it was sent: what a recorder sees of it, and what the object tells, is close to that.
        self.history.operation(environment, operation, record.at).await
    }

    /// The policy as the history calls it: by who reports on it. Nothing for what is no policy: that concerns the whole environment.
    fn key(&self, environment: &str, policy: &PolicyId) -> Option<PolicyKey> {
        let fleet = self.engine.fleet().borrow().clone();
        fleet.key_of(environment, policy)
    }
}

/// What was done to it: `audit → enforce, ticket CHG-1, plan 0a1b2c3d4e5f`.
fn text(plan: &Plan, step: &Step, intent: &Entry) -> String {
    let record = &intent.record;
    let mut parts = vec![change(record.before.as_ref(), record.after.as_ref())];
    let held = step
        .after
        .as_ref()
        .filter(|_| plan.operation == Planned::Hold)
        .and_then(|after| after.get("metadata")?.get("annotations")?.get(HOLD))
        .and_then(Value::as_str);
    parts.extend(held.map(|reason| format!("held: {reason}")));
    parts.extend(record.ticket.as_ref().map(|ticket| format!("ticket {ticket}")));
    parts.extend(plan.undoes.as_ref().map(|undone| format!("takes back plan {undone}")));
    parts.push(format!("plan {}", plan.id));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn change(before: Option<&Standing>, after: Option<&Standing>) -> String {
    match (before, after) {
        (None, None) => String::new(),
        (None, Some(after)) => format!("created: {}", after.mode),
        (Some(_), None) => "deleted".to_owned(),
        (Some(before), Some(after)) if before.mode == Mode::Absent => format!("created: {}", after.mode),
        (Some(before), Some(after)) => {
            let revised = before.revision != after.revision;
            match (before.mode != after.mode, revised) {
                (true, true) => format!("{} → {}, and what it says", before.mode, after.mode),
                (true, false) => format!("{} → {}", before.mode, after.mode),
                (false, true) => "says something else".to_owned(),
                (false, false) => String::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Revision;

    #[test]
    fn changes_in_words() {
        let standing = |mode, revision: &str| Standing { revision: Some(Revision(revision.into())), mode };
        let (audit, enforce, other) = (standing(Mode::Audit, "a"), standing(Mode::Enforce, "a"), standing(Mode::Audit, "b"));
        for (before, after, expected) in [
            (None, Some(&audit), "created: audit"),
            (Some(&audit), None, "deleted"),
            (Some(&audit), Some(&enforce), "audit → enforce"),
            (Some(&enforce), Some(&other), "enforce → audit, and what it says"),
            (Some(&audit), Some(&other), "says something else"),
            (Some(&audit), Some(&audit), ""),
            (None, None, ""),
        ] {
            assert_eq!(change(before, after), expected, "{before:?} {after:?}");
        }
    }
}
