//! What design §4 implies, situation by situation; and that nothing opens a gate by not being known.

use super::*;
use crate::domain::{Link, Readiness, Revision, Sync, Tally};
use crate::fleet::view::{FleetView, KindView};
use crate::settings::{self, EnvironmentSettings, Step};
use crate::testing::fleet;
use proptest::prelude::*;

const NOW: &str = "2026-11-25T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at(NOW)
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn minutes_ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// Everything a situation is made of; the first is one in which the gate is open.
#[derive(Clone)]
struct Situation {
    road: Vec<EnvironmentSettings>,
    views: Vec<EnvironmentView>,
    evidence: Evidence,
    to: Option<&'static str>,
    now: Timestamp,
}

fn environment(name: &str, steps: Vec<Step>) -> EnvironmentSettings {
    EnvironmentSettings { name: name.to_owned(), steps, ..EnvironmentSettings::of_context(name) }
}

fn policy() -> PolicyId {
    PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "p".into() }
}

fn cell(mode: Mode) -> PolicyCell {
    PolicyCell {
        revision: Some(Revision("r1".into())),
        findings: Tally { pass: 40, ..Tally::default() },
        owners: Tally { pass: 12, ..Tally::default() },
        evaluated_at: Some(now() - SignedDuration::from_mins(20)),
        ..fleet::cell("p", mode)
    }
}

fn view(name: &str, mode: Option<Mode>) -> EnvironmentView {
    let kind = KindView { group: "wgpolicyk8s.io", kind: "PolicyReport", sync: Sync::Live, objects: 9, essential: true };
    EnvironmentView {
        scan_interval: Some(SignedDuration::from_hours(1)),
        last_seen: Some(now()),
        kinds: vec![kind],
        policies: 1,
        ..fleet::environment(name, mode.map(cell).into_iter().collect())
    }
}

/// dev audit → qac audit 7 d → staging audit, enforce 7 d → production audit 7 d, enforce; the policy stands in qac for eight days.
fn open() -> Situation {
    let (audit, week) = (settings::StepMode::Audit, SignedDuration::from_hours(168));
    let step = |mode, soak| Step::new(mode, soak);
    let none = SignedDuration::ZERO;
    Situation {
        road: vec![
            environment("dev", vec![step(audit, none)]),
            environment("qac", vec![step(audit, week)]),
            environment("staging", vec![step(audit, none), step(StepMode::Enforce, week)]),
            environment("production", vec![step(audit, week), step(StepMode::Enforce, none)]),
        ],
        views: vec![view("dev", Some(Mode::Audit)), view("qac", Some(Mode::Audit)), view("staging", None), view("production", None)],
        evidence: Evidence {
            start: Some(Start { at: ago(24 * 8), revision: "r1".into(), source: "seen by the recorder".into() }),
            observed: Some(Observed { clean: SignedDuration::from_hours(24 * 8), blocked: 0, gaps: Vec::new(), ..Observed::default() }),
            oldest_result: Some(now() - SignedDuration::from_mins(50)),
            exceptions: Some(Vec::new()),
            holds: Some(Vec::new()),
            metrics: Metrics::NotConfigured,
        },
        to: None,
        now: now(),
    }
}

/// The same with the policy enforced in staging for eight days.
fn enforcing() -> Situation {
    let mut situation = open();
    situation.views[2] = view("staging", Some(Mode::Enforce));
    situation
}

impl Situation {
    fn standing(&self) -> Standing {
        Road::new(self.road.clone()).standing(&policy(), &self.fleet())
    }

    fn fleet(&self) -> FleetView {
        FleetView { environments: self.views.iter().cloned().map(Arc::new).collect() }
    }

    fn gate(&self) -> Gate {
        let road = Road::new(self.road.clone());
        let standing = self.standing();
        let to = road.target(self.to, standing).unwrap();
        let place = match standing {
            Standing::Nowhere => None,
            Standing::On(step) => Some(step.environment),
            Standing::Beside { environment, .. } => Some(environment),
        };
        let environment = place.and_then(|place| self.views.iter().find(|view| *view.name == *road.name(place)));
        judge(&road, &Question { policy: &policy(), standing: &standing, to, environment, evidence: &self.evidence, now: self.now })
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The cell in the environment the policy stands in.
    fn cell(&mut self, place: usize, change: impl FnOnce(&mut PolicyCell)) {
        let mut cells = self.views[place].cells.to_vec();
        change(&mut cells[0]);
        self.views[place].cells = cells.into();
    }
}

const QAC: usize = 1;
const STAGING: usize = 2;

/// A situation with what is expected of it: the verdict, and one condition that decides it.
type Row = (&'static str, Verdict, ConditionName, ConditionState, Situation);

fn relied(expires: Option<Timestamp>, uses: u64) -> Vec<Relied> {
    vec![Relied { name: "team/legacy".into(), expires_at: expires, uses }]
}

fn from_audit() -> Vec<Row> {
    use ConditionName::{Blocked, Exceptions, Freeze, Fresh, Hold as Held, Ready, Soak, Violations};
    use ConditionState::{Met, Unknown as Dark, Unmet};
    use Verdict::{Closed, Open, Unknown};
    let on = |change: fn(&mut Situation)| open().with(change);
    let in_qac = |change: fn(&mut PolicyCell)| open().with(|s| s.cell(QAC, change));
    vec![
        ("everything holds", Open, Soak, Met, open()),
        ("one hour is lacking", Closed, Soak, Unmet, on(|s| s.evidence.start.as_mut().unwrap().at = ago(167))),
        ("exactly long enough", Open, Soak, Met, on(|s| s.evidence.start.as_mut().unwrap().at = ago(168))),
        ("the revision changed, nobody saw when", Unknown, Soak, Dark, in_qac(|c| c.revision = Some(Revision("r2".into())))),
        ("the revision is not known", Unknown, Soak, Dark, in_qac(|c| c.revision = None)),
        ("the mode flapped an hour ago", Closed, Soak, Unmet, on(|s| s.evidence.start.as_mut().unwrap().at = ago(1))),
        ("nobody knows since when", Unknown, Soak, Dark, on(|s| s.evidence.start = None)),
        ("it began in the future", Unknown, Soak, Dark, on(|s| s.evidence.start.as_mut().unwrap().at = ago(-1))),
        ("our clock is a day behind", Unknown, Fresh, Dark, on(|s| s.now = ago(24))),
        ("our clock is a day ahead", Closed, Fresh, Unmet, on(|s| s.now = ago(-24))),
        ("one owner fails", Closed, Violations, Unmet, in_qac(|c| c.owners.fail = 1)),
        ("one owner errs", Closed, Violations, Unmet, in_qac(|c| c.owners.error = 1)),
        ("a warning is no violation", Open, Violations, Met, in_qac(|c| c.owners.warn = 7)),
        ("a skip is no violation", Open, Violations, Met, in_qac(|c| c.owners.skip = 7)),
        (
            "two fail where two may",
            Open,
            Violations,
            Met,
            on(|s| {
                s.road[QAC].steps[0].max_violations = 2;
                s.cell(QAC, |c| c.owners.fail = 2);
            }),
        ),
        (
            "one fails and two err where two may",
            Closed,
            Violations,
            Unmet,
            on(|s| {
                s.road[QAC].steps[0].max_violations = 2;
                s.cell(QAC, |c| (c.owners.fail, c.owners.error) = (1, 2));
            }),
        ),
        (
            "reports are still listed",
            Unknown,
            Violations,
            Dark,
            on(|s| {
                s.views[QAC].complete = false;
                s.views[QAC].kinds[0].sync = Sync::Listing { seen: 3, total: None };
            }),
        ),
        (
            "reports are still listed, and one fails already",
            Closed,
            Violations,
            Unmet,
            on(|s| {
                s.views[QAC].complete = false;
                s.cell(QAC, |c| c.owners.fail = 1);
            }),
        ),
        (
            "reports may not be read",
            Unknown,
            Violations,
            Dark,
            on(|s| {
                s.views[QAC].complete = false;
                s.views[QAC].kinds[0].sync = Sync::Denied { why: "no".into() };
            }),
        ),
        ("the cell is not complete", Unknown, Violations, Dark, in_qac(|c| c.complete = false)),
        (
            "the environment is lost",
            Unknown,
            Violations,
            Dark,
            on(|s| {
                s.views[QAC].link = Link::Retrying { since: None, next: now(), why: "refused".into() };
            }),
        ),
        (
            "the environment is lost: time does not count unseen",
            Unknown,
            Soak,
            Dark,
            on(|s| {
                s.views[QAC].link = Link::Stale { since: ago(1) };
            }),
        ),
        ("the login has run out", Unknown, Ready, Dark, on(|s| s.views[QAC].link = Link::LoginNeeded { why: "expired".into() })),
        (
            "no results at all",
            Unknown,
            Fresh,
            Dark,
            on(|s| {
                s.evidence.oldest_result = None;
                s.cell(QAC, |c| (c.evaluated_at, c.findings, c.owners) = (None, Tally::default(), Tally::default()));
            }),
        ),
        (
            "all results are three hours old",
            Closed,
            Fresh,
            Unmet,
            on(|s| {
                s.evidence.oldest_result = Some(ago(3));
                s.cell(QAC, |c| c.evaluated_at = Some(ago(3)));
            }),
        ),
        ("one result is three hours old", Closed, Fresh, Unmet, on(|s| s.evidence.oldest_result = Some(ago(3)))),
        (
            "results of a cluster that scans every six hours",
            Open,
            Fresh,
            Met,
            on(|s| {
                (s.views[QAC].scan_interval, s.evidence.oldest_result) = (Some(SignedDuration::from_hours(6)), Some(ago(11)));
            }),
        ),
        ("the scan interval is not known", Unknown, Fresh, Dark, on(|s| s.views[QAC].scan_interval = None)),
        ("nobody looked at every result", Unknown, Fresh, Dark, on(|s| s.evidence.oldest_result = None)),
        (
            "results are of before the step",
            Closed,
            Fresh,
            Unmet,
            on(|s| {
                s.road[QAC].steps[0].soak = SignedDuration::ZERO;
                s.evidence.start.as_mut().unwrap().at = now() - SignedDuration::from_mins(10);
            }),
        ),
        (
            "results of the second in which a recorder saw the step begin",
            Open,
            Fresh,
            Met,
            on(|s| {
                s.road[QAC].steps[0].soak = SignedDuration::ZERO;
                let began = now() - SignedDuration::from_mins(10);
                s.evidence.start.as_mut().unwrap().at = began + SignedDuration::from_millis(412);
                s.evidence.oldest_result = Some(began);
            }),
        ),
        (
            "results are of the future",
            Unknown,
            Fresh,
            Dark,
            on(|s| {
                s.evidence.oldest_result = Some(ago(-1));
                s.cell(QAC, |c| c.evaluated_at = Some(ago(-1)));
            }),
        ),
        ("audit refuses nothing", Open, Blocked, Met, in_qac(|c| c.blocked = None)),
        ("it is not ready", Closed, Ready, Unmet, in_qac(|c| c.ready = Readiness::NotReady)),
        ("nobody says whether it is ready", Unknown, Ready, Dark, in_qac(|c| c.ready = Readiness::Unknown)),
        ("it relies on an exception that holds", Open, Exceptions, Met, on(|s| s.evidence.exceptions = Some(relied(Some(ago(-240)), 3)))),
        ("it relies on an exception without an end", Open, Exceptions, Met, on(|s| s.evidence.exceptions = Some(relied(None, 3)))),
        (
            "it relies on an exception that has expired",
            Closed,
            Exceptions,
            Unmet,
            on(|s| s.evidence.exceptions = Some(relied(Some(ago(1)), 3))),
        ),
        (
            "an expired exception that excuses nothing any more",
            Closed,
            Exceptions,
            Unmet,
            on(|s| {
                s.evidence.exceptions = Some(relied(Some(ago(1)), 0));
            }),
        ),
        ("exceptions may not be read", Unknown, Exceptions, Dark, on(|s| s.evidence.exceptions = None)),
        (
            "somebody holds it",
            Closed,
            Held,
            Unmet,
            on(|s| {
                s.evidence.holds = Some(vec![Hold { reason: "audit".into(), by: Some("jane".into()), at: None }]);
            }),
        ),
        ("holds may not be read", Unknown, Held, Dark, on(|s| s.evidence.holds = None)),
        ("the target is frozen", Closed, Freeze, Unmet, on(|s| s.road[STAGING].freeze = vec![window(-1, 5)])),
        ("the freeze is over", Open, Freeze, Met, on(|s| s.road[STAGING].freeze = vec![window(-9, 0)])),
        ("the freeze comes later", Open, Freeze, Met, on(|s| s.road[STAGING].freeze = vec![window(1, 5)])),
        ("where it stands is frozen, not where it goes", Open, Freeze, Met, on(|s| s.road[QAC].freeze = vec![window(-1, 5)])),
        ("only watched time counts, and enough was", Open, Soak, Met, on(|s| s.road[QAC].steps[0].evidence = settings::Evidence::Observed)),
        (
            "only watched time counts, and a violation came and went",
            Closed,
            Soak,
            Unmet,
            on(|s| {
                s.road[QAC].steps[0].evidence = settings::Evidence::Observed;
                s.evidence.observed.as_mut().unwrap().clean = SignedDuration::from_hours(30);
            }),
        ),
        (
            "only watched time counts, and nobody recorded",
            Unknown,
            Soak,
            Dark,
            on(|s| {
                s.road[QAC].steps[0].evidence = settings::Evidence::Observed;
                s.evidence.observed = None;
            }),
        ),
        (
            "watched time cannot be longer than the step",
            Closed,
            Soak,
            Unmet,
            on(|s| {
                s.road[QAC].steps[0].evidence = settings::Evidence::Observed;
                s.evidence.start.as_mut().unwrap().at = ago(5);
            }),
        ),
        (
            "a violation came and went unwatched, the clock counts",
            Open,
            Soak,
            Met,
            on(|s| {
                s.evidence.observed.as_mut().unwrap().clean = SignedDuration::from_hours(1);
            }),
        ),
        ("straight to enforce in staging", Closed, Soak, Unmet, on(|s| s.to = Some("staging:enforce"))),
        ("straight to production", Closed, Soak, Unmet, on(|s| s.to = Some("production"))),
        ("back to where it is", Closed, Soak, Unmet, on(|s| s.to = Some("qac"))),
        ("back to dev", Closed, Soak, Unmet, on(|s| s.to = Some("dev"))),
    ]
}

fn window(from: i64, until: i64) -> Freeze {
    Freeze { from: ago(-from), until: ago(-until), reason: "year end".into() }
}

fn from_enforce_and_elsewhere() -> Vec<Row> {
    use ConditionName::{Blocked, Ready, Soak};
    use ConditionState::{Met, Unknown as Dark, Unmet};
    use Verdict::{Closed, Open, Unknown};
    let on = |change: fn(&mut Situation)| enforcing().with(change);
    let just_begun = |s: &mut Situation| {
        s.road[STAGING].steps[1].soak = SignedDuration::ZERO;
        s.evidence.start.as_mut().unwrap().at = now() - SignedDuration::from_mins(55);
    };
    let beside = |mode| open().with(|s| s.views[QAC] = view("qac", Some(mode)));
    let nowhere = || open().with(|s| (s.views[0], s.views[QAC]) = (view("dev", None), view("qac", None)));
    vec![
        ("enforced, recorded, nothing refused", Open, Blocked, Met, enforcing()),
        ("events say that one was refused", Closed, Blocked, Unmet, on(|s| s.cell(STAGING, |c| c.blocked = Some(1)))),
        ("the recorder saw one refused last week", Closed, Blocked, Unmet, on(|s| s.evidence.observed.as_mut().unwrap().blocked = 1)),
        (
            "one was refused where one may be",
            Open,
            Blocked,
            Met,
            on(|s| {
                s.road[STAGING].steps[1].max_blocked = 1;
                s.cell(STAGING, |c| c.blocked = Some(1));
            }),
        ),
        ("events may not be read", Unknown, Blocked, Dark, on(|s| s.cell(STAGING, |c| c.blocked = None))),
        (
            "events may not be read, but one was seen refused",
            Closed,
            Blocked,
            Unmet,
            on(|s| {
                s.cell(STAGING, |c| c.blocked = None);
                s.evidence.observed.as_mut().unwrap().blocked = 1;
            }),
        ),
        (
            "nobody watched for an afternoon",
            Unknown,
            Blocked,
            Dark,
            on(|s| s.evidence.observed.as_mut().unwrap().gaps = vec![(ago(30), ago(26))]),
        ),
        (
            "nobody watched, and one was refused before",
            Closed,
            Blocked,
            Unmet,
            on(|s| {
                let observed = s.evidence.observed.as_mut().unwrap();
                (observed.gaps, observed.blocked) = (vec![(ago(30), ago(26))], 1);
            }),
        ),
        (
            "nobody watches just now, and the cluster holds what happens",
            Open,
            Blocked,
            Met,
            on(|s| s.evidence.observed.as_mut().unwrap().gaps = vec![(minutes_ago(40), now())]),
        ),
        (
            "nobody has watched for longer than the cluster holds",
            Unknown,
            Blocked,
            Dark,
            on(|s| s.evidence.observed.as_mut().unwrap().gaps = vec![(minutes_ago(70), now())]),
        ),
        (
            "some are on record, some the cluster holds, and they may be the same",
            Unknown,
            Blocked,
            Dark,
            on(|s| {
                s.road[STAGING].steps[1].max_blocked = 3;
                s.cell(STAGING, |c| c.blocked = Some(2));
                let observed = s.evidence.observed.as_mut().unwrap();
                (observed.gaps, observed.blocked) = (vec![(minutes_ago(40), now())], 2);
            }),
        ),
        (
            "as many as may be, if all are counted twice",
            Open,
            Blocked,
            Met,
            on(|s| {
                s.road[STAGING].steps[1].max_blocked = 4;
                s.cell(STAGING, |c| c.blocked = Some(2));
                let observed = s.evidence.observed.as_mut().unwrap();
                (observed.gaps, observed.blocked) = (vec![(minutes_ago(40), now())], 2);
            }),
        ),
        (
            "nobody watched for an afternoon, but Prometheus tells that nothing was refused",
            Open,
            Blocked,
            Met,
            on(|s| s.evidence.observed.as_mut().unwrap().filled = vec![(ago(30), ago(26))]),
        ),
        (
            "nobody watched for an afternoon, and Prometheus tells of a refusal",
            Closed,
            Blocked,
            Unmet,
            on(|s| {
                let observed = s.evidence.observed.as_mut().unwrap();
                (observed.filled, observed.blocked, observed.blocked_by_prometheus) = (vec![(ago(30), ago(26))], 1, 1);
            }),
        ),
        ("nobody recorded, the step is old", Unknown, Blocked, Dark, on(|s| s.evidence.observed = None)),
        ("nobody recorded, but the cluster still has all events", Open, Blocked, Met, on(|s| s.evidence.observed = None).with(just_begun)),
        ("enforced for six days of seven", Closed, Soak, Unmet, on(|s| s.evidence.start.as_mut().unwrap().at = ago(24 * 6))),
        ("staging is mixed", Closed, Ready, Unmet, on(|s| s.views[STAGING] = view("staging", Some(Mode::Mixed)))),
        ("qac only warns", Closed, Ready, Unmet, beside(Mode::Warn)),
        ("it is switched off in qac", Closed, Ready, Unmet, beside(Mode::Off)),
        ("it is not in force in qac", Closed, Ready, Unmet, beside(Mode::NotReady)),
        ("what it does in qac is not known", Unknown, Ready, Dark, beside(Mode::Unknown)),
        ("it is nowhere and enters", Open, Soak, Met, nowhere()),
        ("it is nowhere and would begin in the middle", Closed, Soak, Unmet, nowhere().with(|s| s.to = Some("staging"))),
        ("it is nowhere and would begin enforced", Closed, Soak, Unmet, nowhere().with(|s| s.to = Some("production:enforce"))),
        (
            "it is nowhere, and the first step is frozen",
            Closed,
            ConditionName::Freeze,
            Unmet,
            nowhere().with(|s| s.road[0].freeze = vec![window(-1, 1)]),
        ),
    ]
}

#[test]
fn situations_have_the_verdicts_that_the_design_implies() {
    let rows: Vec<Row> = from_audit().into_iter().chain(from_enforce_and_elsewhere()).collect();
    assert!(rows.len() >= 60, "{}", rows.len());
    for (what, verdict, name, state, situation) in rows {
        let gate = situation.gate();
        let condition =
            gate.conditions.iter().find(|condition| condition.name == name).unwrap_or_else(|| panic!("{what}: no {name:?} in {gate:#?}"));
        assert_eq!((gate.verdict, condition.state), (verdict, state), "{what}: {gate:#?}");
        let says = gate.conditions.iter().all(|condition| !condition.reason.is_empty() && !condition.reason.ends_with('.'));
        assert!(says, "{what}: every condition says why, as the rest of a sentence: {gate:#?}");
    }
}

#[test]
fn a_closed_gate_tells_when_it_can_open() {
    let soaking = open().with(|s| s.evidence.start.as_mut().unwrap().at = ago(100));
    assert_eq!(soaking.gate().opens_at, Some(now() + SignedDuration::from_hours(68)));
    let both = soaking.with(|s| s.road[STAGING].freeze = vec![window(-1, 90), window(80, 100)]);
    assert_eq!(both.gate().opens_at, Some(ago(-100)), "windows that meet are one");
    let failing = open().with(|s| s.cell(QAC, |c| c.owners.fail = 1));
    assert_eq!(failing.gate().opens_at, None, "no date makes a violation go away");
    assert_eq!(open().gate().opens_at, None);
    let far = open().with(|s| s.to = Some("production"));
    assert_eq!(far.gate().opens_at, Some(now() + SignedDuration::from_hours(168)), "staging's week comes on top");
}

#[test]
fn the_furthest_step_counts() {
    let both = open().with(|s| s.views[3] = view("production", Some(Mode::Audit)));
    assert_eq!(both.standing(), Standing::On(RoadStep { environment: 3, step: 0 }));
    let done = open().with(|s| s.views[3] = view("production", Some(Mode::Enforce)));
    assert!(Road::new(done.road.clone()).target(None, done.standing()).unwrap_err().contains("end of the road"));
}

#[test]
fn targets_are_named_as_they_are_typed() {
    let road = Road::new(open().road);
    let standing = open().standing();
    let target = |to| road.target(Some(to), standing).map(|step| road.stop(step).to_string());
    assert_eq!(target("staging"), Ok("staging · audit".to_owned()));
    assert_eq!(target("staging:enforce"), Ok("staging · enforce".to_owned()));
    assert_eq!(road.target(None, standing).map(|step| road.stop(step).to_string()), Ok("staging · audit".to_owned()));
    assert!(target("stage").unwrap_err().contains("there are dev, qac, staging, production"));
    assert!(target("qac:enforce").unwrap_err().contains("its steps are audit"));
}

/// Takes one piece of knowledge away.
fn forget(situation: &mut Situation, what: u8) {
    let place = [QAC, STAGING][usize::from(situation.views[STAGING].cells.len() == 1)];
    match what {
        0 => situation.evidence.start = None,
        1 => situation.evidence.observed = None,
        2 => situation.evidence.oldest_result = None,
        3 => situation.views[place].scan_interval = None,
        4 => situation.evidence.exceptions = None,
        5 => situation.evidence.holds = None,
        6 => situation.views[place].complete = false,
        7 => situation.cell(place, |cell| cell.complete = false),
        8 => situation.cell(place, |cell| cell.blocked = None),
        9 => situation.cell(place, |cell| cell.evaluated_at = None),
        10 => situation.cell(place, |cell| cell.revision = None),
        11 => situation.cell(place, |cell| cell.ready = Readiness::Unknown),
        12 => situation.views[place].link = Link::Connecting,
        _ => situation.cell(place, |cell| (cell.owners, cell.findings) = (Tally::default(), Tally::default())),
    }
}

proptest! {
    /// Whatever is forgotten, in whatever order: what was not open does not open.
    #[test]
    fn no_gate_opens_by_forgetting(
        enforced in any::<bool>(),
        hours in 0_i64..400,
        (fail, blocked, gap) in (0_u64..2, 0_u64..2, any::<bool>()),
        (expired, held, observed) in (any::<bool>(), any::<bool>(), any::<bool>()),
        old in 0_i64..300,
        interval in proptest::sample::select(vec![10_i64, 60, 360]),
        // The last kind of forgetting leaves numbers behind that say zero: it is only allowed where it also says that they are not complete.
        forgotten in proptest::collection::vec(0_u8..13, 1..5),
    ) {
        let mut situation = if enforced { enforcing() } else { open() };
        let place = if enforced { STAGING } else { QAC };
        situation.evidence.start.as_mut().unwrap().at = ago(hours);
        situation.evidence.oldest_result = Some(now() - SignedDuration::from_mins(old));
        situation.views[place].scan_interval = Some(SignedDuration::from_mins(interval));
        situation.cell(place, |cell| (cell.owners.fail, cell.blocked) = (fail, Some(blocked)));
        if observed {
            let step = usize::from(enforced);
            situation.road[place].steps[step].evidence = settings::Evidence::Observed;
        }
        if gap {
            situation.evidence.observed.as_mut().unwrap().gaps = if hours % 2 == 0 { vec![(ago(9), ago(8))] } else { vec![(minutes_ago(40), now())] };
        }
        if expired {
            situation.evidence.exceptions = Some(relied(Some(ago(1)), 1));
        }
        if held {
            situation.evidence.holds = Some(vec![Hold { reason: "r".into(), by: None, at: None }]);
        }
        let before = situation.gate().verdict;
        for what in forgotten {
            forget(&mut situation, what);
            let after = situation.gate().verdict;
            prop_assert!(before == Verdict::Open || after != Verdict::Open, "{before:?} became open by forgetting {what}");
        }
    }

    /// Numbers that are zero because nothing was read yet come with the word that they are not complete.
    #[test]
    fn nothing_that_is_not_complete_opens_a_gate(enforced in any::<bool>(), forgotten in 6_u8..8) {
        let mut situation = if enforced { enforcing() } else { open() };
        forget(&mut situation, forgotten);
        forget(&mut situation, 13);
        prop_assert_ne!(situation.gate().verdict, Verdict::Open);
    }
}

/// What the condition `blocked` says of the policy that enforces in staging.
fn blocked(change: impl FnOnce(&mut Evidence)) -> (String, String) {
    let gate = enforcing().with(|situation| change(&mut situation.evidence)).gate();
    let condition = gate.conditions.into_iter().find(|one| one.name == ConditionName::Blocked).unwrap();
    (condition.source, condition.reason)
}

#[test]
fn a_gap_says_what_prometheus_has_to_do_with_it() {
    let gap = (ago(30), ago(26));
    let asked = |hours, answered, why: &str| Metrics::Asked { at: ago(hours), answered, why: why.to_owned() };
    let cases = [
        (Metrics::NotConfigured, "Prometheus is not configured"),
        (Metrics::NotAsked, "Prometheus has not been asked yet: the screen and `policydeck observe` do so"),
        (asked(28, true, ""), "Prometheus has not been asked yet: the screen and `policydeck observe` do so"),
        (asked(1, false, "does not answer: connection refused"), "Prometheus does not answer: connection refused"),
        (asked(1, true, "has no kyverno_info\u{7}"), "Prometheus has no kyverno_info\u{fffd}"),
        (asked(1, true, ""), "Prometheus does not cover all of it"),
    ];
    for (metrics, expected) in cases {
        let (source, reason) = blocked(|evidence| {
            evidence.metrics = metrics;
            evidence.observed.as_mut().unwrap().gaps = vec![gap];
        });
        let start = format!("not watched {} to ", gap.0.strftime("%b %e %H:%M"));
        assert!(reason.starts_with(&start) && reason.ends_with(&format!(" UTC; {expected}")), "{reason}");
        assert_eq!(source, "events");
    }
}

#[test]
fn what_prometheus_tells_is_marked_so() {
    let told = |filled: Vec<(Timestamp, Timestamp)>, blocked, by_prometheus| {
        self::blocked(|evidence| {
            let observed = evidence.observed.as_mut().unwrap();
            (observed.filled, observed.blocked, observed.blocked_by_prometheus) = (filled, blocked, by_prometheus);
        })
    };
    let span = |from: i64, to: i64| format!("{} to {}", ago(from).strftime("%b %e %H:%M"), ago(to).strftime("%b %e %H:%M UTC"));
    let one = told(vec![(ago(30), ago(26))], 0, 0);
    assert_eq!(one, ("events, Prometheus".into(), format!("recorded; a gap filled from Prometheus ({})", span(30, 26))));
    let two = told(vec![(ago(30), ago(26)), (ago(9), ago(8))], 0, 0);
    assert_eq!(two.1, format!("recorded; 2 gaps filled from Prometheus, the last {}", span(9, 8)));
    let refused = told(vec![(ago(30), ago(26))], 3, 3);
    assert_eq!(refused, ("Prometheus".into(), "requests were refused while nobody watched, as Prometheus tells".into()));
    assert_eq!(told(vec![(ago(30), ago(26))], 3, 2).0, "events", "it is closed without Prometheus, too");
}
