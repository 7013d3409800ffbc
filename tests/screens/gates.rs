//! Policies on a road, and what an engine would judge of them.

use super::{ago, cell, environment, now};
use jiff::{SignedDuration, Timestamp};
use policydeck::domain::history::ChangeSource;
use policydeck::domain::{Gate, Hold, Mode, PolicyId, Severity, Tier};
use policydeck::engine::gates::AllGates;
use policydeck::fleet::query::WouldBlock;
use policydeck::fleet::view::{EnvironmentView, FleetView, KindView};
use policydeck::ops::gate::{Evidence, Observed, Question, Relied, Start, judge};
use policydeck::ops::position::NoStep;
use policydeck::ops::road::Road;
use policydeck::settings::{EnvironmentSettings, Step, StepMode};
use std::collections::BTreeSet;
use std::sync::Arc;

const DAY: i64 = 86_400;

/// dev audit → qac audit 7 d → staging audit 7 d, enforce 7 d → production audit 7 d, enforce.
pub(crate) fn road() -> Road {
    let week = SignedDuration::from_hours(168);
    let none = SignedDuration::ZERO;
    let of = |name: &str, steps: Vec<Step>| EnvironmentSettings {
        tier: if name.starts_with("prod") { Tier::Production } else { Tier::Normal },
        steps,
        ..EnvironmentSettings::of_context(name)
    };
    let (audit, enforce) = (|soak| Step::new(StepMode::Audit, soak), |soak| Step::new(StepMode::Enforce, soak));
    Road::new(vec![
        of("dev", vec![audit(none)]),
        of("qac", vec![audit(week)]),
        of("staging", vec![audit(week), enforce(week)]),
        of("production", vec![audit(week), enforce(none)]),
    ])
}

/// Policies in every group of the board, except that of what needs attention.
pub(crate) fn rollout() -> Vec<EnvironmentView> {
    use Mode::{Audit, Enforce, Mixed};
    type Line = (&'static str, [Option<(Mode, u64)>; 4]);
    let on = |mode| Some((mode, 0));
    let policies: [Line; 14] = [
        ("check-deprecated-apis", [on(Audit), on(Audit), on(Audit), None]),
        ("disallow-default-namespace", [on(Audit), on(Audit), on(Mixed), None]),
        ("disallow-host-path", [on(Enforce), on(Enforce), on(Enforce), on(Audit)]),
        ("disallow-latest-tag", [on(Enforce), on(Enforce), Some((Audit, 3)), None]),
        ("disallow-privileged-containers", [on(Enforce), on(Enforce), on(Enforce), None]),
        ("require-labels", [on(Audit), on(Audit), on(Audit), None]),
        ("require-pod-requests-limits", [Some((Audit, 412)), Some((Audit, 118)), Some((Audit, 12)), Some((Audit, 9))]),
        ("require-probes", [on(Audit), on(Audit), None, None]),
        ("require-ro-rootfs", [on(Enforce), on(Audit), None, None]),
        ("restrict-image-registries", [on(Mixed), on(Audit), on(Audit), None]),
        ("restrict-sysctls", [on(Enforce), on(Enforce), on(Enforce), None]),
        ("disallow-capabilities", [on(Enforce), on(Enforce), on(Enforce), on(Enforce)]),
        ("disallow-host-namespaces", [on(Enforce), on(Enforce), on(Enforce), on(Enforce)]),
        ("team-a/require-owner", [Some((Audit, 6)), None, None, None]),
    ];
    let cells = |place: usize| {
        let here = policies.iter().filter_map(|(name, modes)| modes[place].map(|(mode, fail)| (name, mode, fail)));
        here.map(|(name, mode, fail)| cell(name, mode, Some(Severity::Medium), fail)).collect()
    };
    ["dev", "qac", "staging", "production"].iter().enumerate().map(|(place, name)| environment(name, cells(place))).collect()
}

/// What would be known of a policy in the environment it stands in.
fn evidence(policy: &PolicyId, view: &EnvironmentView) -> Evidence {
    let cell = view.cells.iter().find(|cell| *cell.key.id == *policy);
    let revision = cell.and_then(|cell| cell.revision.clone()).map(|revision| revision.0);
    let begun = |at: Timestamp, source: ChangeSource| {
        let by = (source == ChangeSource::ManagedFields).then(|| "kubectl".to_owned());
        Start { at, revision: revision.clone().unwrap_or_default(), source, by }
    };
    let long = Some(begun(ago(8 * DAY), ChangeSource::ManagedFields));
    let usual = Evidence {
        start: long.clone(),
        observed: None,
        oldest_result: Some(ago(1_500)),
        exceptions: Some(Vec::new()),
        lacking: Some(Vec::new()),
        would_block: cell.map(|cell| WouldBlock { counted: cell.by_workload().faults(), scans: true, ..WouldBlock::default() }),
        holds: Some(Vec::new()),
        ..Evidence::default()
    };
    match policy.name.as_str() {
        "check-deprecated-apis" => Evidence { start: None, exceptions: None, ..usual },
        "disallow-host-path" => Evidence { start: Some(begun(ago(6 * DAY), ChangeSource::Annotation)), ..usual },
        "disallow-latest-tag" => Evidence { start: Some(begun(ago(5 * DAY + 2 * 3_600), ChangeSource::Seen)), ..usual },
        "disallow-privileged-containers" => {
            let relied = Relied { name: "payments/legacy".to_owned(), expires_at: Some(ago(-38 * DAY)), uses: 4, ..Relied::default() };
            let observed = Observed { clean: SignedDuration::from_hours(8 * 24), blocked: 0, gaps: Vec::new(), ..Observed::default() };
            Evidence { observed: Some(observed), exceptions: Some(vec![relied]), ..usual }
        }
        "require-labels" => {
            let hold = Hold { reason: "until CHG-1042 is approved".to_owned(), by: Some("jane@example.com".to_owned()), at: None };
            Evidence { holds: Some(vec![hold]), ..usual }
        }
        "require-probes" => Evidence { start: Some(begun(ago(3 * DAY + 5 * 3_600), ChangeSource::Seen)), ..usual },
        "require-ro-rootfs" => Evidence { start: Some(begun(ago(6 * DAY + 23 * 3_600), ChangeSource::Seen)), ..usual },
        _ => usual,
    }
}

/// What an engine with this fleet would answer.
pub(crate) fn all(fleet: &FleetView, road: &Road) -> AllGates {
    let cells = fleet.environments.iter().flat_map(|view| view.cells.iter().map(move |cell| (view, cell)));
    let violations = cells.map(|(view, cell)| ((Arc::clone(&view.name), cell.key.clone()), cell.by_workload().faults())).collect();
    AllGates { gates: gates(fleet, road), violations }
}

/// What an engine with this fleet would judge.
pub(crate) fn gates(fleet: &FleetView, road: &Road) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
    let cells = fleet.environments.iter().flat_map(|view| view.cells.iter());
    let ids: BTreeSet<PolicyId> = cells.filter(|cell| cell.mode != Mode::Off).map(|cell| (*cell.key.id).clone()).collect();
    ids.into_iter().map(|id| (id.clone(), gate(&id, fleet, road))).collect()
}

fn gate(policy: &PolicyId, fleet: &FleetView, road: &Road) -> Result<Gate, NoStep> {
    let namespaced = |view: &Arc<EnvironmentView>| {
        let mut view = EnvironmentView::clone(view);
        view.kinds.extend(view.kinds.first().cloned().map(|kind| KindView { kind: "Policy", ..kind }));
        Arc::new(view)
    };
    let fleet = &FleetView { environments: fleet.environments.iter().map(namespaced).collect() };
    let travel = road.travel(policy, fleet, None)?;
    let view = travel.place().and_then(|place| fleet.environments.iter().find(|view| view.name == road.name(place)));
    let evidence = view.map(|view| evidence(policy, view)).unwrap_or_default();
    Ok(judge(
        road,
        &Question {
            policy,
            travel: &travel,
            environment: view.map(|view| &**view),
            evidence: &evidence,
            now: Some(now()),
            now_there: Some(now()),
        },
    ))
}
