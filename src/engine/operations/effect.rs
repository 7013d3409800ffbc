//! What a write came to, followed until the environment shows it.
//!
//! What lives here: waiting for it, and which of its numbers are of now. What does not: the write (`execute`).

use super::Operator;
use crate::domain::{Mode, PolicyId};
use crate::kinds::KindId;
use crate::kinds::revision::revision;
use crate::ops::plan::Step;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// How long a policy is followed until it is in force.
const FOLLOW: Duration = Duration::from_secs(30);

/// What a step does to what the policy says, and with it to what becomes of what it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It says the same.
    None,
    /// It says something else.
    Revised,
    /// It was not there.
    Made,
}

/// What reports say of a policy.
#[derive(Debug, Clone, Copy)]
struct Results {
    /// Failures and errors.
    faults: u64,
    /// When the oldest of all results was evaluated, where all of them tell.
    oldest: Option<Timestamp>,
}

impl Operator {
    /// Waits until the environment shows the mode; what it shows in the end of a step that was sent at `sent`.
    pub(super) async fn follow(&self, step: &Step, policy: &PolicyId, mode: Mode, sent: Timestamp) -> String {
        let environment = &step.environment;
        let mut fleet = self.engine.fleet();
        let reached = fleet.wait_for(|fleet| {
            let view = fleet.environment(environment);
            view.is_some_and(|view| view.cells.iter().any(|cell| *cell.key.id == *policy && cell.mode == mode))
        });
        let reached = timeout(FOLLOW, reached).await.is_ok_and(|reached| reached.is_ok());
        let view = self.view(environment);
        let cell = view.as_ref().and_then(|view| view.cell_of(policy));
        match (reached, cell) {
            (true, Some(cell)) => {
                let oldest = self.engine.oldest_results(environment, Some(cell.key.clone())).await.unwrap_or_default();
                let of = Results { faults: cell.owners.fail + cell.owners.error, oldest: oldest.first().and_then(|(_, at)| *at) };
                effect(mode, of, change(step), sent)
            }
            (_, Some(cell)) if cell.mode == Mode::NotReady => {
                format!(
                    "written, but not in force after {} s: Kyverno has not admitted it; look at its status, or roll back",
                    FOLLOW.as_secs()
                )
            }
            (_, Some(cell)) => format!("written, but {environment} shows {} after {} s", cell.mode, FOLLOW.as_secs()),
            (_, None) => format!("written, but {environment} does not show it after {} s", FOLLOW.as_secs()),
        }
    }
}

fn change(step: &Step) -> Change {
    let Some(kind) = KindId::find(&step.object.group, &step.object.kind).map(KindId::kind) else { return Change::None };
    let said = |object: &Value| revision(kind, object);
    match (&step.before, &step.after) {
        (None, _) => Change::Made,
        (Some(before), Some(after)) if said(before) == said(after) => Change::None,
        _ => Change::Revised,
    }
}

/// What an environment shows. Where the policy says something else, results that are not newer than the write tell of what it said before.
fn effect(mode: Mode, results: Results, change: Change, sent: Timestamp) -> String {
    // Results know no fractions of a second.
    let is_new = results.oldest.is_some_and(|oldest| oldest.as_second() > sent.as_second());
    let faults = results.faults;
    match change {
        Change::Made if !is_new => format!("{mode} now, not evaluated yet"),
        Change::Revised if !is_new => format!("{mode} now, not evaluated anew yet ({faults} failures and errors before)"),
        _ => format!("{mode} now, {faults} failures and errors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_what_the_policy_said_before_are_not_told_as_its_own() {
        let at = |second: i64| Timestamp::from_second(1_795_000_000 + second).unwrap();
        let sent = at(0) + jiff::SignedDuration::from_millis(700);
        for (change, oldest, expected) in [
            (Change::None, Some(at(-60)), "enforce now, 52 failures and errors"),
            (Change::None, None, "enforce now, 52 failures and errors"),
            (Change::Revised, Some(at(-60)), "enforce now, not evaluated anew yet (52 failures and errors before)"),
            (Change::Revised, Some(at(0)), "enforce now, not evaluated anew yet (52 failures and errors before)"),
            (Change::Revised, Some(at(1)), "enforce now, 52 failures and errors"),
            (Change::Revised, None, "enforce now, not evaluated anew yet (52 failures and errors before)"),
            (Change::Made, None, "enforce now, not evaluated yet"),
            (Change::Made, Some(at(2)), "enforce now, 52 failures and errors"),
        ] {
            assert_eq!(effect(Mode::Enforce, Results { faults: 52, oldest }, change, sent), expected, "{change:?} {oldest:?}");
        }
    }
}
