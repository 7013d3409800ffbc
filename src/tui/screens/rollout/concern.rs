//! What a row's gate does not say: whether a policy that has no further step is as it should be, and whether the next scan settles what is lacking.
//!
//! Holds facts from the fleet's view, typed. Not here: words for them (`wording`), the gate itself (`ops::gate`).

use crate::domain::{Amount, Condition, ConditionName, ConditionState, Force, Gate, Mode, PolicyKey, Readiness, Verdict};
use crate::engine::gates::AllGates;
use crate::fleet::view::{EnvironmentView, FleetView, PolicyCell};
use crate::ops::road::{Road, mode_of};
use crate::settings::StepMode;
use crate::tui::screens::seen;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Something about a policy at the end of the pipeline that a person should see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Concern {
    pub(super) environment: Arc<str>,
    pub(super) what: What,
}

/// What it is, in the order in which it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Workloads that it would block.
    Violations(u64),
    /// Kyverno does not apply it.
    NotReady,
    /// Requests do not reach it, or some do not.
    NotInForce {
        /// Some do.
        partly: bool,
    },
    /// Blocked requests.
    Blocked(u64),
    /// It says something else than at the end of the pipeline.
    Revision,
    /// It does less than the pipeline asks for there.
    Weaker(Mode),
    /// It is not there.
    Missing,
    /// Not everything was read, so nothing is known.
    NotRead,
    /// Kyverno has no result of it yet.
    NotScanned,
}

impl What {
    /// Whether a gate says the same as its condition *drift*.
    pub(super) fn is_drift(self) -> bool {
        matches!(self, Self::Revision | Self::Weaker(_) | Self::Missing)
    }

    /// Whether it is evidence that is missing, rather than something wrong.
    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Self::NotRead | Self::NotScanned)
    }
}

/// What concerns a policy that has no further step, the gravest first.
pub(super) fn concerns(key: &PolicyKey, fleet: &FleetView, road: &Road, judged: &AllGates) -> Vec<Concern> {
    let there = |view: &Arc<EnvironmentView>| view.cell(key).is_some_and(|cell| cell.mode != Mode::Absent);
    let Some(last) = fleet.environments.iter().rposition(there) else { return Vec::new() };
    let end = fleet.environments.get(last).and_then(|view| view.cell(key));
    let mut concerns = Vec::new();
    for (place, view) in fleet.environments.iter().enumerate().take(last + 1) {
        let mut add = |what| concerns.push(Concern { environment: Arc::clone(&view.name), what });
        let Some(cell) = view.cell(key).filter(|cell| cell.mode != Mode::Absent) else {
            if asked_for(road, view).is_some() && seen::mode(view, key) == Mode::Absent {
                add(What::Missing);
            }
            continue;
        };
        // As gates count them: a warning, or a skipped result, can be a violation.
        let counted = judged.violations.get(&(Arc::clone(&view.name), key.clone())).copied();
        here(cell, counted.unwrap_or_else(|| cell.by_workload().faults())).for_each(&mut add);
        if place == last {
            at_the_end(view, cell).for_each(&mut add);
        } else {
            before_the_end(road, view, cell, end).for_each(&mut add);
        }
    }
    concerns.sort_by_key(|concern| concern.what);
    concerns
}

/// Problems of another revision of the policy where it blocks further on: the next steps replace it, but it is the one in use now.
pub(super) fn replaced(key: &PolicyKey, gate: &Gate, fleet: &FleetView, judged: &AllGates) -> Vec<Concern> {
    let Some(from) = gate.from.as_ref().and_then(|from| fleet.environments.iter().position(|view| *view.name == *from.environment)) else {
        return Vec::new();
    };
    let revision = fleet.environments.get(from).and_then(|view| view.cell(key)?.revision.clone());
    let ahead = fleet.environments.iter().skip(from + 1);
    let mut concerns = Vec::new();
    for view in ahead {
        let other = |cell: &&PolicyCell| cell.mode.can_block() && cell.revision != revision;
        let Some(cell) = view.cell(key).filter(other) else { continue };
        let counted = judged.violations.get(&(Arc::clone(&view.name), key.clone())).copied();
        let blocked = cell.blocked.filter(|count| *count > 0).map(What::Blocked);
        let all = here(cell, counted.unwrap_or_else(|| cell.by_workload().faults())).chain(blocked);
        concerns.extend(all.map(|what| Concern { environment: Arc::clone(&view.name), what }));
    }
    concerns.sort_by_key(|concern| concern.what);
    concerns
}

/// Wherever it is, with its violations.
fn here(cell: &PolicyCell, violations: u64) -> impl Iterator<Item = What> {
    let dead = if cell.mode == Mode::NotReady || cell.ready == Readiness::NotReady {
        Some(What::NotReady)
    } else {
        seen::is_out_of_force(cell).then(|| What::NotInForce { partly: cell.in_force.state == Force::Partly })
    };
    (violations > 0).then_some(What::Violations(violations)).into_iter().chain(dead)
}

fn at_the_end(view: &EnvironmentView, cell: &PolicyCell) -> impl Iterator<Item = What> {
    let blocked = cell.blocked.filter(|count| *count > 0).map(What::Blocked);
    let unknown = if !(view.complete && cell.complete) {
        Some(What::NotRead)
    } else if seen::is_not_evaluated(cell) {
        Some(What::NotScanned)
    } else {
        None
    };
    blocked.into_iter().chain(unknown)
}

fn before_the_end(road: &Road, view: &EnvironmentView, cell: &PolicyCell, end: Option<&PolicyCell>) -> impl Iterator<Item = What> {
    let other = cell.revision.as_ref().zip(end.and_then(|end| end.revision.as_ref())).is_some_and(|(here, end)| here != end);
    let asked = asked_for(road, view).map(mode_of);
    let weaker = asked == Some(Mode::Enforce) && matches!(cell.mode, Mode::Audit | Mode::Mixed | Mode::Warn | Mode::Off);
    other.then_some(What::Revision).into_iter().chain(weaker.then_some(What::Weaker(cell.mode)))
}

/// What the pipeline asks for in an environment at last.
fn asked_for(road: &Road, view: &EnvironmentView) -> Option<StepMode> {
    let environment = road.environments().iter().find(|one| one.name == *view.name)?;
    environment.steps.last().map(|step| step.mode)
}

/// What lacks, apart from time, is settled by the next scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// When it is due at the latest, where that is known.
    pub(super) by: Option<Timestamp>,
}

/// Conditions that time alone will meet.
pub(super) fn is_time(condition: &Condition) -> bool {
    matches!(condition.name, ConditionName::Soak | ConditionName::Freeze)
}

/// Whether the next scan settles all that a gate lacks in addition to time.
pub(super) fn awaits_scan(gate: &Gate, key: &PolicyKey, fleet: &FleetView) -> Option<Scan> {
    let lacking = match gate.verdict {
        Verdict::Open => return None,
        Verdict::Closed => ConditionState::Unmet,
        Verdict::Unknown => ConditionState::Unknown,
    };
    let view = fleet.environment(&gate.from.as_ref()?.environment)?;
    let cell = view.cell(key)?;
    let mut lacking = gate.conditions.iter().filter(|condition| condition.state == lacking && !is_time(condition)).peekable();
    lacking.peek()?;
    let soaked = gate.conditions.iter().find(|condition| condition.name == ConditionName::Soak).and_then(|soak| time(soak.value));
    lacking
        .all(|condition| settles(condition, view, cell, soaked))
        .then(|| Scan { by: cell.evaluated_at.zip(view.scan_interval).and_then(|(at, interval)| at.checked_add(interval).ok()) })
}

fn time(amount: Option<Amount>) -> Option<SignedDuration> {
    if let Some(Amount::Time(time)) = amount { Some(time) } else { None }
}

/// Whether the next scan settles a condition: results that are older than the step, but no older than scans make them; or none at all, so soon after
/// the policy came that there cannot be any.
fn settles(condition: &Condition, view: &EnvironmentView, cell: &PolicyCell, soaked: Option<SignedDuration>) -> bool {
    let (value, limit) = (time(condition.value), time(condition.limit));
    match (condition.name, condition.state) {
        (ConditionName::Fresh, ConditionState::Unmet) => value.zip(limit).is_some_and(|(age, limit)| age <= limit),
        (ConditionName::Fresh | ConditionName::Violations, ConditionState::Unknown) => {
            let soon = soaked.zip(view.scan_interval).is_some_and(|(soaked, interval)| soaked <= interval.saturating_mul(2));
            view.complete && cell.complete && cell.evaluated_at.is_none() && soon
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Revision, Stop, Tally};
    use crate::settings::EnvironmentSettings;
    use crate::testing::fleet;

    #[test]
    fn violations_are_counted_as_gates_count_them() {
        let tally = Tally { warn: 3, pass: 1, ..Tally::default() };
        let cell = PolicyCell { owners: tally, findings: tally, ..fleet::cell("p", Mode::Enforce) };
        let key = cell.key.clone();
        let fleet = FleetView { environments: vec![Arc::new(fleet::environment("live", vec![cell]))] };
        let road = Road::new(vec![EnvironmentSettings::of_context("live")]);
        let found = |judged: &AllGates| concerns(&key, &fleet, &road, judged).iter().map(|one| one.what).collect::<Vec<_>>();
        let judged = AllGates { violations: [(("live".into(), key.clone()), 3)].into(), ..AllGates::default() };
        assert_eq!(found(&judged), [What::Violations(3)]);
        assert_eq!(found(&AllGates::default()), []);
    }

    #[test]
    fn another_revision_further_on_concerns_where_it_blocks() {
        let failing = Tally { fail: 2, ..Tally::default() };
        let cell =
            |mode, revision: &str, owners| PolicyCell { revision: Some(Revision(revision.into())), owners, ..fleet::cell("p", mode) };
        let stop = |environment: &str| Stop { environment: environment.into(), mode: Mode::Audit };
        let found = |live: PolicyCell| {
            let dev = cell(Mode::Audit, "new", Tally::default());
            let key = dev.key.clone();
            let environments = vec![Arc::new(fleet::environment("dev", vec![dev])), Arc::new(fleet::environment("live", vec![live]))];
            let gate = Gate {
                policy: (*key.id).clone(),
                from: Some(stop("dev")),
                to: stop("live"),
                verdict: Verdict::Open,
                opens_at: None,
                conditions: Vec::new(),
                disregarded: Vec::new(),
            };
            let concerns = replaced(&key, &gate, &FleetView { environments }, &AllGates::default());
            concerns.into_iter().map(|one| (one.environment.to_string(), one.what)).collect::<Vec<_>>()
        };
        assert_eq!(found(cell(Mode::Enforce, "old", failing)), [("live".to_owned(), What::Violations(2))]);
        assert_eq!(found(cell(Mode::Enforce, "old", Tally::default())), []);
        assert_eq!(found(cell(Mode::Enforce, "new", failing)), [], "the gate is about it");
        assert_eq!(found(cell(Mode::Audit, "old", failing)), [], "it blocks nothing");
    }
}
