//! What a write came to, followed until the environment shows it.
//!
//! What lives here: waiting for it, and which of its numbers are of now. What does not: the write (`execute`).

use super::Operator;
use crate::domain::{Mode, PolicyId};
use crate::fleet::view::PolicyCell;
use crate::kinds::KindId;
use crate::kinds::revision::revision;
use crate::ops::gate::evaluated;
use crate::ops::plan::Step;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;
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
    /// Failing workloads.
    violations: u64,
    /// Evaluated workloads.
    evaluated: u64,
    /// Every report has been read.
    complete: bool,
    /// When the oldest of all results was evaluated, where all of them tell.
    oldest: Option<Timestamp>,
}

impl Operator {
    /// Waits until the environment shows the mode; what it shows in the end of a step that was sent at `sent`, or that it does not show it.
    pub(super) async fn follow(&self, step: &Step, policy: &PolicyId, mode: Mode, sent: Timestamp) -> Result<Effect, String> {
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
                let results = self.results(environment, cell).await;
                Ok(Effect::of(mode, results, change(step), sent))
            }
            (_, Some(cell)) if cell.mode == Mode::NotReady => {
                let seconds = FOLLOW.as_secs();
                Err(format!("written, but not in force after {seconds} s: Kyverno has not admitted it; look at its status, or roll back"))
            }
            (_, Some(cell)) => Err(format!("written, but {environment} shows {} after {} s", cell.mode, FOLLOW.as_secs())),
            (_, None) => Err(format!("written, but {environment} does not show it after {} s", FOLLOW.as_secs())),
        }
    }

    /// The results of a policy in the numbers of its gate.
    async fn results(&self, environment: &str, cell: &PolicyCell) -> Results {
        let key = || Some(cell.key.clone());
        let oldest = self.engine.oldest_results(environment, key()).await.unwrap_or_default();
        let judged = self.engine.would_block(environment, key()).await.unwrap_or_default().into_iter().next();
        let (violations, evaluated) = match judged {
            Some((_, judged)) => (judged.counted, evaluated(cell, judged.tolerated, judged.left_alone + judged.audited).unwrap_or(0)),
            // With too many to look at each, all of them may be where it blocks.
            None => (cell.by_workload().faults(), cell.owners.total()),
        };
        Results { violations, evaluated, complete: cell.complete, oldest: oldest.first().and_then(|oldest| oldest.at) }
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

/// What an environment shows after a write, as far as its numbers are of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// What the policy does now.
    pub mode: Mode,
    /// Failing workloads, where results of what it says now tell; `None` until the first scan.
    pub violations: Option<u64>,
    /// Failing workloads before the write, where there were results of what it said then and those are all there is.
    pub before: Option<u64>,
    /// How many workloads were evaluated.
    pub evaluated: u64,
}

impl Effect {
    /// Where the policy says something else, results that are not newer than the write tell of what it said before. Where it says the same, what failed
    /// still fails; but that nothing fails is known only from a scan after the write.
    fn of(mode: Mode, results: Results, change: Change, sent: Timestamp) -> Self {
        // Results know no fractions of a second.
        let is_new = results.oldest.is_some_and(|oldest| oldest.as_second() > sent.as_second());
        let still = change == Change::None && results.violations > 0;
        let told = results.complete && (is_new || still);
        let had_results = change != Change::Made && results.evaluated > 0;
        Self {
            mode,
            violations: told.then_some(results.violations),
            before: (!told && had_results).then_some(results.violations),
            evaluated: results.evaluated,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, violations, before, evaluated } = self;
        match (violations, before) {
            (Some(failing), _) => write!(f, "{mode} now, {failing} of {evaluated} evaluated workloads fail"),
            (None, Some(before)) => write!(f, "{mode} now, violations unknown until the first scan ({before} of {evaluated} before)"),
            (None, None) => write!(f, "{mode} now, violations unknown until the first scan"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_before_are_never_those_of_now() {
        let at = |second: i64| Timestamp::from_second(1_795_000_000 + second).unwrap();
        let sent = at(0) + jiff::SignedDuration::from_millis(700);
        let unknown = "enforce now, violations unknown until the first scan";
        let before = |count: u64| format!("{unknown} ({count} of 60 before)");
        let failing = "enforce now, 52 of 60 evaluated workloads fail".to_owned();
        for (change, violations, oldest, expected) in [
            (Change::None, 52, Some(at(-60)), failing.clone()),
            (Change::None, 52, None, failing.clone()),
            (Change::None, 0, Some(at(-60)), before(0)),
            (Change::None, 0, None, before(0)),
            (Change::None, 0, Some(at(1)), "enforce now, 0 of 60 evaluated workloads fail".to_owned()),
            (Change::Revised, 52, Some(at(-60)), before(52)),
            (Change::Revised, 52, Some(at(0)), before(52)),
            (Change::Revised, 52, Some(at(1)), failing.clone()),
            (Change::Revised, 52, None, before(52)),
            (Change::Made, 0, None, unknown.to_owned()),
            (Change::Made, 52, Some(at(2)), failing),
        ] {
            let results = Results { violations, evaluated: 60, complete: true, oldest };
            assert_eq!(Effect::of(Mode::Enforce, results, change, sent).to_string(), expected, "{change:?} {violations} {oldest:?}");
        }
        let nothing = Results { violations: 0, evaluated: 0, complete: true, oldest: None };
        let partly = Results { violations: 3, evaluated: 9, complete: false, oldest: Some(at(5)) };
        for (change, results, expected) in [
            (Change::None, nothing, unknown),
            (Change::Revised, nothing, unknown),
            (Change::None, partly, "enforce now, violations unknown until the first scan (3 of 9 before)"),
        ] {
            assert_eq!(Effect::of(Mode::Enforce, results, change, sent).to_string(), expected, "{change:?} {results:?}");
        }
    }
}
