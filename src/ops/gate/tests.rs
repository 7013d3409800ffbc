//! What design §4 implies, situation by situation; and that nothing opens a gate by not being known.

use super::*;
use crate::domain::{EvidenceRef, Force, Gap, InForce, Link, Readiness, ResourceRef, Revision, Sync, Tally, Unverified};
use crate::fleet::delta::Existence;
use crate::fleet::query::{HoldingReport, ReportRef, UnseenException, WouldBlock};
use crate::fleet::view::{Disappeared, FleetView, KindView};
use crate::ops::position::NoStep;
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
    now: Option<Timestamp>,
    /// Nobody looked at the results one by one.
    unjudged: bool,
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

fn disappeared() -> Disappeared {
    let resource = ResourceRef { kind: "Pod".into(), namespace: "shop".into(), name: "web".into(), ..ResourceRef::default() };
    Disappeared {
        results: 1,
        resource: Arc::new(resource),
        report: ReportRef { kind: "PolicyReport", namespace: "shop".into(), name: "web".into() },
        since: minutes_ago(5),
        existence: Some(Existence::Exists),
        until: Some(now() + SignedDuration::from_hours(1)),
    }
}

fn view(name: &str, mode: Option<Mode>) -> EnvironmentView {
    let kind = |group, kind| KindView { group, kind, sync: Sync::Live, objects: 9, essential: true, left_out: 0 };
    EnvironmentView {
        scan_interval: Some(SignedDuration::from_hours(1)),
        last_seen: Some(now()),
        kinds: vec![kind("wgpolicyk8s.io", "PolicyReport"), kind("kyverno.io", "ClusterPolicy")],
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
            start: Some(Start { at: ago(24 * 8), revision: "r1".into(), source: ChangeSource::Seen, by: None }),
            observed: Some(Observed { clean: SignedDuration::from_hours(24 * 8), blocked: 0, gaps: Vec::new(), ..Observed::default() }),
            oldest_result: Some(now() - SignedDuration::from_mins(50)),
            would_block: None,
            exceptions: Some(Vec::new()),
            lacking: Some(Vec::new()),
            holds: Some(Vec::new()),
            ..Evidence::default()
        },
        to: None,
        now: Some(now()),
        unjudged: false,
    }
}

/// The same with the policy enforced in staging for eight days.
fn enforcing() -> Situation {
    let mut situation = open();
    situation.views[2] = view("staging", Some(Mode::Enforce));
    situation
}

impl Situation {
    fn travel(&self) -> Result<Travel, NoStep> {
        Road::new(self.road.clone()).travel(&policy(), &self.fleet(), self.to)
    }

    fn fleet(&self) -> FleetView {
        FleetView { environments: self.views.iter().cloned().map(Arc::new).collect() }
    }

    fn gate(&self) -> Gate {
        let road = Road::new(self.road.clone());
        let travel = self.travel().unwrap();
        let place = match travel.from {
            Standing::Nowhere => None,
            Standing::On(step) => Some(step.environment),
            Standing::Beside { environment, .. } => Some(environment),
        };
        let environment = place.and_then(|place| self.views.iter().find(|view| *view.name == *road.name(place)));
        let mut evidence = self.evidence.clone();
        if !self.unjudged && evidence.would_block.is_none() {
            let counted = environment.and_then(|view| view.cell_of(&policy())).map_or(0, |cell| cell.owners.faults());
            evidence.would_block = Some(WouldBlock { counted, scans: true, ..WouldBlock::default() });
        }
        judge(&road, &Question { policy: &policy(), travel: &travel, environment, evidence: &evidence, now: self.now, now_there: self.now })
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

/// Blocked requests of an event of Kyverno's.
fn block(at: Option<Timestamp>, count: u64) -> Block {
    let object = EvidenceRef::new("Event", "default", "p.1");
    let source =
        EventSource { object, component: "kyverno-admission".into(), by: Some("kyverno".into()), verified: true, content: String::new() };
    Block { at, count, source: Arc::new(source) }
}

fn rolled_back(situation: &mut Situation) {
    let rolled_back = RolledBack {
        revision: Revision("r1".into()),
        mode: Mode::Enforce,
        by: Some("ana".into()),
        at: Some(now()),
        reason: Some("INC-7".into()),
    };
    situation.evidence.rolled_back = vec![("qac".into(), rolled_back)];
}

const QAC: usize = 1;
const STAGING: usize = 2;

/// A situation with what is expected of it: the verdict, and one condition that decides it.
type Row = (&'static str, Verdict, ConditionName, ConditionState, Situation);

#[test]
fn fresh_tells_how_many_results_hold_it_back() {
    let old = open().with(|s| {
        s.evidence.oldest_result = Some(ago(3));
        s.evidence.oldest_report = Some(ReportRef { kind: "PolicyReport", namespace: "shop".into(), name: "web".into() });
        s.evidence.evaluated = vec![(ago(3), 2), (ago(1), 40)];
    });
    let reason = |situation: &Situation| {
        situation.gate().conditions.into_iter().find(|condition| condition.name == ConditionName::Fresh).unwrap().reason
    };
    let table = [
        (
            old.clone().with(|s| s.evidence.evaluated.clear()),
            "results older than two scan intervals, the oldest of Nov 25 09:00 UTC, in policyreport web -n shop; if the next scan does not renew \
             it, `kubectl delete policyreport web -n shop`",
        ),
        (
            old,
            "2 of 42 results older than two scan intervals, the oldest of Nov 25 09:00 UTC, in policyreport web -n shop; if the next scan does \
             not renew it, `kubectl delete policyreport web -n shop`",
        ),
        (open().with(|s| s.evidence.evaluated = vec![(ago(1), 40)]), "the oldest result of 40 is of Nov 25 11:10 UTC"),
    ];
    for (situation, expected) in table {
        assert_eq!(reason(&situation), expected);
    }
}

fn relied(expires: Option<Timestamp>, uses: u64) -> Vec<Relied> {
    vec![Relied { name: "team/legacy".into(), expires_at: expires, uses, ..Relied::default() }]
}

fn unseen(name: &str) -> Vec<UnseenException> {
    vec![UnseenException { policy: cell(Mode::Audit).key, name: name.to_owned(), uses: 3 }]
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
        (
            "the revision changed, nobody saw when",
            Unknown,
            Soak,
            Dark,
            on(|s| {
                for place in [0, QAC] {
                    s.cell(place, |c| c.revision = Some(Revision("r2".into())));
                }
            }),
        ),
        ("the revision is not known", Unknown, Soak, Dark, in_qac(|c| c.revision = None)),
        ("the mode flapped an hour ago", Closed, Soak, Unmet, on(|s| s.evidence.start.as_mut().unwrap().at = ago(1))),
        ("nobody knows since when", Unknown, Soak, Dark, on(|s| s.evidence.start = None)),
        ("it began in the future", Unknown, Soak, Dark, on(|s| s.evidence.start.as_mut().unwrap().at = ago(-1))),
        ("the server's time is not known", Unknown, Soak, Dark, on(|s| s.now = None)),
        ("the history cannot be read", Unknown, Soak, Dark, on(|s| s.evidence.history = Some("it is damaged".into()))),
        (
            "something else was recorded last",
            Unknown,
            Soak,
            Dark,
            on(|s| (s.evidence.start, s.evidence.undated) = (None, Some(Undated::OtherUntil(ago(1))))),
        ),
        ("only a namespace is looked at", Unknown, Violations, Dark, on(|s| s.road[QAC].namespaces = vec!["shop".into()])),
        ("results beyond it may be older", Unknown, Fresh, Dark, on(|s| s.road[QAC].namespaces = vec!["shop".into()])),
        (
            "only a namespace is looked at, and something fails there",
            Closed,
            Violations,
            Unmet,
            on(|s| {
                s.road[QAC].namespaces = vec!["shop".into()];
                s.cell(QAC, |c| c.owners.fail = 1);
            }),
        ),
        ("our clock is a day behind", Unknown, Fresh, Dark, on(|s| s.now = Some(ago(24)))),
        ("our clock is a day ahead", Closed, Fresh, Unmet, on(|s| s.now = Some(ago(-24)))),
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
        (
            "it was out of force for two days of its soak",
            Closed,
            Soak,
            Unmet,
            on(|s| {
                let observed = s.evidence.observed.as_mut().unwrap();
                observed.out_of_force = vec![(ago(72), ago(24))];
            }),
        ),
        (
            "it was out of force before the step, and for an hour",
            Open,
            Soak,
            Met,
            on(|s| {
                let observed = s.evidence.observed.as_mut().unwrap();
                observed.out_of_force = vec![(ago(24 * 30), ago(24 * 9)), (ago(2), ago(1))];
            }),
        ),
        (
            "violations are reported as warnings or skipped",
            Closed,
            Violations,
            Unmet,
            on(|s| s.evidence.would_block = Some(WouldBlock { counted: 30, tolerated: 10, scans: true, ..WouldBlock::default() })),
        ),
        (
            "what fails is where Kyverno does not look, or an override keeps audit",
            Open,
            Violations,
            Met,
            on(|s| {
                s.evidence.would_block = Some(WouldBlock { left_alone: 20, audited: 10, scans: true, ..WouldBlock::default() });
                s.cell(QAC, |c| c.owners.fail = 30);
            }),
        ),
        (
            "all that was evaluated is where Kyverno does not look, or an override keeps audit",
            Unknown,
            Violations,
            Dark,
            on(|s| {
                s.evidence.would_block = Some(WouldBlock { left_alone: 20, audited: 10, scans: true, ..WouldBlock::default() });
                s.cell(QAC, |c| c.owners = Tally { fail: 30, ..Tally::default() });
            }),
        ),
        ("a result could not be read", Unknown, Violations, Dark, on(|s| s.views[QAC].malformed = 1)),
        ("a report of another namespace speaks about it", Unknown, Violations, Dark, on(|s| s.cell(QAC, |c| c.foreign = 1))),
        (
            "it violates, whatever reports of other namespaces say",
            Closed,
            Violations,
            Unmet,
            on(|s| s.cell(QAC, |c| (c.foreign, c.owners.fail) = (1, 1))),
        ),
        (
            "a failing result disappeared, and its resource did not",
            Unknown,
            Violations,
            Dark,
            on(|s| s.cell(QAC, |c| c.disappeared = Some(Arc::new(disappeared())))),
        ),
        (
            "it violates, and more disappeared",
            Closed,
            Violations,
            Unmet,
            on(|s| s.cell(QAC, |c| (c.disappeared, c.owners.fail) = (Some(Arc::new(disappeared())), 1))),
        ),
        (
            "results may be warnings that it would block, and nobody looked",
            Unknown,
            Violations,
            Dark,
            on(|s| {
                s.unjudged = true;
                s.cell(QAC, |c| c.owners = Tally { pass: 3, warn: 20_001, ..Tally::default() });
            }),
        ),
        ("all results are skipped", Unknown, Violations, Dark, in_qac(|c| c.owners = Tally { skip: 12, ..Tally::default() })),
        ("what exists is not scanned", Unknown, Violations, Dark, on(|s| s.evidence.would_block = Some(WouldBlock::default()))),
        (
            "the API server judges, and nothing reports",
            Unknown,
            Violations,
            Dark,
            in_qac(|c| (c.native, c.owners, c.findings) = (true, Tally::default(), Tally::default())),
        ),
        (
            "the webhooks that carry it were created an hour ago",
            Closed,
            Soak,
            Unmet,
            in_qac(|c| c.in_force = InForce::YES.not_before(Some(ago(1)))),
        ),
        (
            "the webhooks that carry it are older than the step",
            Open,
            Soak,
            Met,
            in_qac(|c| c.in_force = InForce::YES.not_before(Some(ago(24 * 30)))),
        ),
        ("it is not ready", Closed, Ready, Unmet, in_qac(|c| c.in_force = InForce::because(Force::No, Gap::NotReady))),
        ("no webhook carries it", Closed, Ready, Unmet, in_qac(|c| c.in_force = InForce::because(Force::No, Gap::NotCarried))),
        (
            "its webhook sends a part of what it matches",
            Closed,
            Ready,
            Unmet,
            in_qac(|c| c.in_force = InForce::because(Force::Partly, Gap::ObjectSelector("a=b".into()))),
        ),
        ("nothing shows whether it is in force", Unknown, Ready, Dark, in_qac(|c| c.in_force = InForce::default())),
        ("its status is silent, but requests meet it", Open, Ready, Met, in_qac(|c| c.ready = Readiness::Unknown)),
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
        (
            "results name an exception that is gone, or where nothing is looked at",
            Unknown,
            Exceptions,
            Dark,
            on(|s| s.evidence.unseen = unseen("kyverno/legacy")),
        ),
        (
            "staging, where it enforces at once, has one of that name that says something else",
            Unknown,
            Exceptions,
            Dark,
            on(|s| {
                s.road[STAGING].steps.remove(0);
                let differing = Relied { differs: true, ..relied(None, 3).remove(0) };
                (s.evidence.exceptions, s.evidence.lacking) = (Some(relied(None, 3)), Some(vec![differing]));
            }),
        ),
        (
            "only a namespace was recorded, for long enough",
            Unknown,
            Soak,
            Dark,
            on(|s| {
                s.road[QAC].steps[0].evidence = settings::Evidence::Observed;
                s.road[QAC].namespaces = vec!["shop".into()];
            }),
        ),
        ("exceptions may not be read", Unknown, Exceptions, Dark, on(|s| s.evidence.exceptions = None)),
        (
            "the expiry of one it relies on is no date",
            Unknown,
            Exceptions,
            Dark,
            on(|s| s.evidence.exceptions = Some(vec![Relied { unreadable: Some("soon".into()), ..relied(None, 3).remove(0) }])),
        ),
        (
            "staging, where it goes in audit, lacks one it relies on",
            Open,
            Exceptions,
            Met,
            on(|s| (s.evidence.exceptions, s.evidence.lacking) = (Some(relied(None, 3)), Some(relied(None, 3)))),
        ),
        (
            "staging, where it enforces at once, lacks one it relies on",
            Closed,
            Exceptions,
            Unmet,
            on(|s| {
                s.road[STAGING].steps.remove(0);
                (s.evidence.exceptions, s.evidence.lacking) = (Some(relied(None, 3)), Some(relied(None, 3)));
            }),
        ),
        (
            "exceptions of staging may not be read, and it relies on one",
            Unknown,
            Exceptions,
            Dark,
            on(|s| (s.evidence.exceptions, s.evidence.lacking) = (Some(relied(None, 3)), None)),
        ),
        ("exceptions of staging may not be read, and it relies on none", Open, Exceptions, Met, on(|s| s.evidence.lacking = None)),
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
        ("Kyverno makes no events", Unknown, Blocked, Dark, on(|s| s.views[STAGING].makes_events = Some(false))),
        ("whether Kyverno makes events is not known", Unknown, Blocked, Dark, on(|s| s.views[STAGING].makes_events = None)),
        (
            "Kyverno does not answer",
            Unknown,
            Blocked,
            Dark,
            on(|s| s.views[STAGING].answers = InForce::because(Force::No, Gap::NoEndpoint { service: "kyverno/kyverno-svc".into() })),
        ),
        ("whether Kyverno answers is not known", Unknown, Blocked, Dark, on(|s| s.views[STAGING].answers = InForce::default())),
        (
            "the cluster keeps events for a shorter time than the step took",
            Unknown,
            Blocked,
            Dark,
            enforcing().with(just_begun).with(|s| {
                s.evidence.observed = None;
                s.views[STAGING].events_kept = Some(SignedDuration::from_mins(5));
            }),
        ),
        (
            "nobody watched, and the cluster keeps events for a shorter time",
            Unknown,
            Blocked,
            Dark,
            on(|s| {
                s.evidence.observed.as_mut().unwrap().gaps = vec![(minutes_ago(40), now())];
                s.views[STAGING].events_kept = Some(SignedDuration::from_mins(5));
            }),
        ),
        ("events of other namespaces are not seen", Unknown, Blocked, Dark, on(|s| s.road[STAGING].namespaces = vec!["shop".into()])),
        (
            "the history cannot be read, and what it counted",
            Unknown,
            Blocked,
            Dark,
            on(|s| s.evidence.history = Some("it is damaged".into())),
        ),
        (
            "one was blocked before the step began",
            Open,
            Blocked,
            Met,
            on(|s| {
                s.cell(STAGING, |c| c.blocked = Some(1));
                s.evidence.blocks = Some(vec![block(Some(ago(24 * 8 + 1)), 1)]);
            }),
        ),
        (
            "one was blocked, when is not known",
            Closed,
            Blocked,
            Unmet,
            on(|s| {
                s.cell(STAGING, |c| c.blocked = Some(1));
                s.evidence.blocks = Some(vec![block(None, 1)]);
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
        ("the revision was rolled back in qac", Unknown, ConditionName::Hold, Dark, open().with(rolled_back)),
        (
            "it was rolled back and is held",
            Closed,
            ConditionName::Hold,
            Unmet,
            open().with(rolled_back).with(|s| {
                s.evidence.holds = Some(vec![Hold { reason: "x".into(), by: None, at: None }]);
            }),
        ),
        ("qac warns, which is audit", Open, Soak, Met, beside(Mode::Warn)),
        (
            "staging warns, so its audit step has been reached",
            Closed,
            Soak,
            Unmet,
            on(|s| {
                (s.views[STAGING], s.to) = (view("staging", Some(Mode::Warn)), Some("staging:audit"));
            }),
        ),
        ("qac is mixed", Closed, Ready, Unmet, beside(Mode::Mixed)),
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

fn of_other_environments() -> Vec<Row> {
    use ConditionName::{Drift, Soak};
    use ConditionState::{Met, Unknown as Dark, Unmet};
    use Verdict::{Closed, Open, Unknown};
    let on = |change: fn(&mut Situation)| open().with(change);
    let to_staging = |change: fn(&mut Situation)| open().with(change).with(|s| s.to = Some("staging"));
    let revision = |s: &mut Situation, place: usize, text: &str| s.cell(place, |c| c.revision = Some(Revision(text.into())));
    let everywhere = |s: &mut Situation| {
        (s.views[STAGING], s.views[3]) = (view("staging", Some(Mode::Enforce)), view("production", Some(Mode::Enforce)));
    };
    vec![
        ("all that came before agrees", Open, Drift, Met, open()),
        ("dev has another revision", Closed, Drift, Unmet, to_staging(|s| s.cell(0, |c| c.revision = Some(Revision("r9".into()))))),
        ("dev does not have it", Closed, Drift, Unmet, on(|s| s.views[0] = view("dev", None))),
        ("dev warns, which is an audit, too", Open, Drift, Met, to_staging(|s| s.views[0] = view("dev", Some(Mode::Warn)))),
        ("it is switched off in dev", Closed, Drift, Unmet, to_staging(|s| s.views[0] = view("dev", Some(Mode::Off)))),
        ("dev was demoted", Closed, Drift, Unmet, to_staging(|s| s.road[0].steps.push(Step::new(StepMode::Enforce, SignedDuration::ZERO)))),
        ("dev is lost", Unknown, Drift, Dark, on(|s| s.views[0].link = Link::Connecting)),
        ("policies of dev may not be read", Unknown, Drift, Dark, on(|s| s.views[0].kinds[1].sync = Sync::Denied { why: "no".into() })),
        ("what it says in dev is unknown", Unknown, Drift, Dark, on(|s| s.cell(0, |c| c.revision = None))),
        ("what it does in dev is unknown", Unknown, Drift, Dark, on(|s| s.cell(0, |c| c.mode = Mode::Unknown))),
        ("staging, where it goes, is lost", Unknown, Drift, Dark, on(|s| s.views[STAGING].link = Link::Connecting)),
        (
            "it replaces another revision that enforces",
            Open,
            Drift,
            Met,
            on(|s| s.views[STAGING] = view("staging", Some(Mode::Enforce))).with(|s| revision(s, STAGING, "r0")),
        ),
        (
            "the older revision in staging stays where it is",
            Closed,
            Drift,
            Unmet,
            on(|s| s.to = Some("staging:enforce"))
                .with(|s| s.views[STAGING] = view("staging", Some(Mode::Audit)))
                .with(|s| revision(s, STAGING, "r0")),
        ),
        (
            "only production has it, at its end",
            Closed,
            Drift,
            Unmet,
            on(|s| {
                (s.views[0], s.views[QAC], s.views[3]) = (view("dev", None), view("qac", None), view("production", Some(Mode::Enforce)));
            }),
        ),
        ("it is at its end, and dev is lost", Unknown, Drift, Dark, open().with(everywhere).with(|s| s.views[0].link = Link::Connecting)),
        (
            "it is nowhere as far as is known, and production is lost",
            Unknown,
            Drift,
            Dark,
            on(|s| (s.views[0], s.views[QAC], s.views[3].link) = (view("dev", None), view("qac", None), Link::Connecting)),
        ),
        ("it is there already", Closed, Soak, Unmet, on(|s| s.to = Some("qac"))),
    ]
}

#[test]
fn drift_says_the_way_out() {
    let said = |situation: Situation| {
        let gate = situation.gate();
        gate.conditions.into_iter().find(|one| one.name == ConditionName::Drift).unwrap().reason
    };
    let to_staging = || open().with(|s| s.to = Some("staging"));
    let other = to_staging().with(|s| s.cell(0, |c| c.revision = Some(Revision("r9".into()))));
    assert_eq!(said(other), "dev has revision r9 (audit), not revision r1: promote that one with --to qac, or roll dev back");
    let demoted = to_staging().with(|s| s.road[0].steps.push(Step::new(StepMode::Enforce, SignedDuration::ZERO)));
    assert_eq!(said(demoted), "dev is at audit: promote it there first with --to dev:enforce");
    assert_eq!(said(open().with(|s| s.views[0] = view("dev", None))), "dev does not have it: apply revision r1 there first");
    assert_eq!(said(open()), "earlier environments have this revision");
    let replaced = open().with(|s| s.views[STAGING] = view("staging", Some(Mode::Enforce)));
    let replaced = replaced.with(|s| s.cell(STAGING, |c| c.revision = Some(Revision("r0".into()))));
    assert_eq!(said(replaced), "replaces revision r0 (enforce)");
}

#[test]
fn situations_have_the_verdicts_that_the_design_implies() {
    let rows: Vec<Row> = from_audit().into_iter().chain(from_enforce_and_elsewhere()).chain(of_other_environments()).collect();
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
        11 => situation.cell(place, |cell| cell.in_force = InForce::default()),
        12 => situation.views[place].link = Link::Connecting,
        13 => situation.now = None,
        14 => situation.evidence.history = Some("damaged".into()),
        15 => situation.views[place].makes_events = None,
        16 => situation.views[place].makes_events = Some(false),
        17 => situation.road[place].namespaces = vec!["shop".into()],
        18 => situation.evidence.oldest_report = None,
        19 => (situation.evidence.start, situation.evidence.undated) = (None, Some(Undated::NotRecorded)),
        20 => situation.evidence.blocks = None,
        21 => situation.evidence.oldest_result = situation.evidence.oldest_result.map(|at| at - SignedDuration::from_hours(100)),
        23 => situation.views[0].link = Link::Connecting,
        24 => situation.views[0].kinds.clear(),
        25 => situation.cell(0, |cell| cell.revision = None),
        26 => situation.cell(0, |cell| cell.mode = Mode::Unknown),
        27 => situation.views[place + 1].link = Link::Connecting,
        28 => situation.evidence.lacking = None,
        29 => situation.views[place].malformed = 7,
        30 => situation.views[place].answers = InForce::default(),
        31 => situation.views[place].events_kept = Some(SignedDuration::from_mins(5)),
        32 => situation.cell(place, |cell| cell.foreign = 1),
        33 => situation.cell(place, |cell| cell.disappeared = Some(Arc::new(disappeared()))),
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
        // Another kind of forgetting leaves numbers behind that say zero: it is only allowed where it also says that they are not complete.
        forgotten in proptest::collection::vec((0_u8..33).prop_map(|what| if what < 22 { what } else { what + 1 }), 1..5),
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
        let better = |before: &Gate, after: &Gate| {
            let state = |gate: &Gate, name| gate.conditions.iter().find(|one| one.name == name).map(|one| one.state);
            let names = before.conditions.iter().map(|one| one.name);
            names.into_iter().find(|name| state(after, *name) == Some(ConditionState::Met) && state(before, *name) != Some(ConditionState::Met))
        };
        let mut before = situation.gate();
        for what in forgotten {
            forget(&mut situation, what);
            let after = situation.gate();
            prop_assert!(before.verdict == Verdict::Open || after.verdict != Verdict::Open, "{before:?} became open by forgetting {what}");
            prop_assert_eq!(better(&before, &after), None, "forgetting {}", what);
            before = after;
        }
    }

    /// Numbers that are zero because nothing was read yet come with the word that they are not complete.
    #[test]
    fn nothing_that_is_not_complete_opens_a_gate(enforced in any::<bool>(), forgotten in 6_u8..8) {
        let mut situation = if enforced { enforcing() } else { open() };
        forget(&mut situation, forgotten);
        forget(&mut situation, 99);
        prop_assert_ne!(situation.gate().verdict, Verdict::Open);
    }
}

/// An event in `default` that claims blocked requests.
fn forged(name: &str, count: u64) -> Claim {
    Claim {
        object: EvidenceRef::new("Event", "default", name),
        why: Unverified::Event,
        component: "kyverno-admission".into(),
        by: Some("kubectl-create".into()),
        at: Some(ago(2)),
        count,
        content: format!("{name} {count}"),
    }
}

/// A report of another namespace about something here.
fn foreign(name: &str, count: u64) -> Claim {
    Claim {
        object: EvidenceRef::new("PolicyReport", "shop", name),
        why: Unverified::Foreign,
        by: None,
        component: String::new(),
        ..forged(name, count)
    }
}

fn disregard(object: &str, content: Option<&str>) -> Disregard {
    Disregard { object: object.parse().unwrap(), content: content.map(str::to_owned), by: "ana".into(), reason: "forged".into() }
}

/// The cluster holds an event for each of these claims, and events of Kyverno's for `real` requests. `observed` is as the history has it without what is
/// disregarded.
fn blocked_by(situation: &mut Situation, claims: &[Claim], real: u64, observed: u64) {
    let event = |claim: &Claim| {
        let source =
            EventSource { object: claim.object.clone(), by: claim.by.clone(), content: claim.content.clone(), ..EventSource::default() };
        Block { at: claim.at, count: claim.count, source: Arc::new(source) }
    };
    let mut blocks: Vec<Block> = claims.iter().filter(|claim| claim.why == Unverified::Event).map(event).collect();
    if real > 0 {
        blocks.push(block(Some(ago(1)), real));
    }
    let all = blocks.iter().map(|block| block.count).sum();
    situation.cell(STAGING, |cell| {
        cell.blocked = Some(all);
        cell.foreign = claims.iter().filter(|claim| claim.why == Unverified::Foreign).map(|claim| claim.count).sum();
    });
    situation.evidence.blocks = Some(blocks);
    situation.evidence.claims = claims.to_vec();
    situation.evidence.observed.as_mut().unwrap().blocked = observed;
}

/// What is claimed, requests that Kyverno's events tell of, what the history has, workloads that fail, what is disregarded; the state of violations and
/// of blocked, and a part of what they say.
type Decided<'a> = (&'a [Claim], u64, u64, u64, Vec<Disregard>, ConditionState, ConditionState, &'a str);

#[test]
fn what_nothing_verifies_can_be_disregarded_and_nothing_else() {
    use ConditionState::{Met, Unknown as Dark, Unmet};
    let (event, other, report) = (forged("x", 2), forged("y", 1), foreign("web", 3));
    let (x, y, web) = ("event/default/x", "event/default/y", "policyreport/shop/web");
    let table: [Decided<'_>; 12] = [
        (std::slice::from_ref(&event), 0, 0, 0, vec![], Met, Unmet, "requests were blocked"),
        (std::slice::from_ref(&event), 0, 0, 0, vec![disregard(x, None)], Met, Met, "; 2 requests disregarded (by ana: forged)"),
        (std::slice::from_ref(&event), 0, 0, 0, vec![disregard(x, Some("x 2"))], Met, Met, "; 2 requests disregarded (by ana: forged)"),
        (
            std::slice::from_ref(&event),
            0,
            0,
            0,
            vec![disregard(x, Some("x 1"))],
            Met,
            Unmet,
            "; event/default/x has changed since it was disregarded",
        ),
        (&[event.clone(), other.clone()], 0, 0, 0, vec![disregard(x, None)], Met, Unmet, "; 2 requests disregarded"),
        (
            &[event.clone(), other],
            0,
            0,
            0,
            vec![disregard(x, None), disregard(y, None)],
            Met,
            Met,
            "; 3 requests disregarded (by ana: forged)",
        ),
        (std::slice::from_ref(&event), 1, 0, 0, vec![disregard(x, None)], Met, Unmet, "requests were blocked"),
        (std::slice::from_ref(&event), 0, 1, 0, vec![disregard(x, None)], Met, Unmet, "requests were blocked"),
        (&[], 1, 0, 0, vec![disregard("event/default/p.1", None)], Met, Unmet, "requests were blocked"),
        (std::slice::from_ref(&report), 0, 0, 0, vec![], Dark, Met, "3 results about it are in reports of other namespaces"),
        (std::slice::from_ref(&report), 0, 0, 0, vec![disregard(web, None)], Met, Met, "; 3 results disregarded (by ana: forged)"),
        (
            &[report.clone(), event.clone()],
            0,
            0,
            1,
            vec![disregard(web, None), disregard(x, None)],
            Unmet,
            Met,
            "; 3 results disregarded (by ana: forged)",
        ),
    ];
    for (place, (claims, real, observed, fail, disregard, violations, blocked, says)) in table.into_iter().enumerate() {
        let gate = enforcing()
            .with(|s| {
                s.evidence.start.as_mut().unwrap().at = ago(24 * 8);
                blocked_by(s, claims, real, observed);
                s.evidence.disregard = disregard;
                s.cell(STAGING, |cell| cell.owners.fail = fail);
            })
            .gate();
        let of = |name| gate.conditions.iter().find(|one| one.name == name).unwrap();
        let (found, also) = (of(ConditionName::Violations), of(ConditionName::Blocked));
        assert_eq!((found.state, also.state), (violations, blocked), "{place}: {gate:#?}");
        assert!(found.reason.contains(says) || also.reason.contains(says), "{place}: {says}: {gate:#?}");
        let closed = gate.verdict == Verdict::Closed;
        assert_eq!(closed, violations == Unmet || blocked == Unmet, "{place}");
        // What is left out is in the gate, and holds there for what it was decided for.
        let again = disregard::read(&serde_json::to_value(&gate).unwrap());
        assert_eq!(disregard::disregarded(claims, &again).len(), gate.disregarded.len(), "{place}");
        assert!(again.iter().all(|one| one.content.is_some()), "{place}");
    }
}

#[test]
fn evidence_names_who_wrote_it() {
    let claims = [forged("x", 2), foreign("web", 3)];
    let gate = enforcing()
        .with(|s| {
            blocked_by(s, &claims, 4, 0);
            let holding = |name: &str, by: Option<&str>, count: u64| HoldingReport {
                report: ReportRef { kind: "PolicyReport", namespace: "shop".into(), name: name.into() },
                by: by.map(Arc::from),
                count,
                worst: crate::domain::FindingResult::Fail,
                oldest: Some(ago(3)),
            };
            let reports = vec![holding("api", Some("kubectl-edit"), 2), holding("web", None, 7)];
            let judged = WouldBlock { counted: 9, scans: true, reports, more_reports: 2, ..WouldBlock::default() };
            s.evidence.would_block = Some(judged);
        })
        .gate();
    let of = |name| gate.conditions.iter().find(|one| one.name == name).unwrap();
    let said = |proof: &Proof| {
        let reference = proof.reference.as_ref().map(ToString::to_string);
        [reference, proof.object.clone(), Some(proof.says()), Some(proof.author())].into_iter().flatten().collect::<Vec<_>>().join(" | ")
    };
    let all = |name| of(name).evidence.iter().map(said).collect::<Vec<_>>();
    assert_eq!(
        all(ConditionName::Violations),
        [
            "policyreport/shop/web | policyreport web -n shop | 3 results, last Nov 25 10:00 UTC | not verified: about something outside its namespace",
            "policyreport api -n shop | 2 workloads, oldest Nov 25 09:00 UTC | written by kubectl-edit; not verified",
            "policyreport web -n shop | 7 workloads, oldest Nov 25 09:00 UTC | "
        ]
    );
    assert_eq!(of(ConditionName::Violations).more_evidence, 2);
    assert_eq!(
        all(ConditionName::Blocked),
        [
            "event/default/x | event x -n default | 2 requests, last Nov 25 10:00 UTC | written by kubectl-create as kyverno-admission; not verified",
            "event p.1 -n default | 4 requests, last Nov 25 11:00 UTC | written by kyverno as kyverno-admission"
        ]
    );
}

#[test]
fn what_cannot_be_disregarded_is_said() {
    let (claims, blocks) = ([forged("x", 2)], [block(Some(ago(1)), 1)]);
    let said = |object: &str| disregard::impossible(&claims, &blocks, &[disregard(object, None)]);
    assert_eq!(said("event/default/x"), None);
    let kyvernos = said("event/default/p.1").unwrap();
    assert_eq!(kyvernos, "event/default/p.1 cannot be disregarded: Kyverno wrote it (field manager kyverno)");
    assert!(
        said("policyreport/shop/web")
            .unwrap()
            .starts_with("policyreport/shop/web cannot be disregarded: it is no report about another namespace")
    );
}

proptest! {
    /// Whatever is disregarded: a gate that is not open for what is verified does not open.
    #[test]
    fn no_gate_opens_by_disregarding_what_is_verified(
        (real, on_record, fail) in (0_u64..2, 0_u64..2, 0_u64..2),
        events in proptest::collection::vec(1_u64..4, 0..3),
        reports in proptest::collection::vec(1_u64..4, 0..3),
        decided in proptest::collection::vec((0_usize..7, any::<bool>()), 0..8),
        forgotten in proptest::option::of(0_u8..32),
    ) {
        let claims: Vec<Claim> = events.iter().enumerate().map(|(n, count)| forged(&format!("e{n}"), *count))
            .chain(reports.iter().enumerate().map(|(n, count)| foreign(&format!("r{n}"), *count)))
            .collect();
        let mut situation = enforcing().with(|s| {
            blocked_by(s, &claims, real, on_record);
            s.cell(STAGING, |cell| cell.owners.fail = fail);
        });
        // The same without anything that nothing verifies.
        let mut honest = enforcing().with(|s| {
            blocked_by(s, &[], real, on_record);
            s.cell(STAGING, |cell| cell.owners.fail = fail);
        });
        let mut names: Vec<String> = claims.iter().map(|claim| claim.object.to_string()).collect();
        names.push("event/default/p.1".into());
        situation.evidence.disregard = decided
            .iter()
            .filter_map(|(place, fits)| {
                let name = names.get(*place)?;
                let content = claims.iter().find(|claim| claim.object.to_string() == *name).map_or("", |claim| &claim.content);
                Some(disregard(name, (!fits || *place % 2 == 0).then_some(if *fits { content } else { "something else" })))
            })
            .collect();
        if let Some(what) = forgotten.filter(|what| *what != 22) {
            forget(&mut situation, what);
            forget(&mut honest, what);
        }
        let (with, without) = (situation.gate(), honest.gate());
        prop_assert!(with.verdict != Verdict::Open || without.verdict == Verdict::Open, "{:#?} {:#?}", with, situation.evidence.disregard);
        if real + on_record + fail > 0 && forgotten.is_none() {
            prop_assert_eq!(with.verdict, Verdict::Closed);
        }
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
fn what_a_native_policy_refuses_only_the_api_servers_count() {
    let asked = Metrics::Asked { at: now(), answered: true, why: String::new() };
    let (began, scraped) = (ago(24 * 8), minutes_ago(1));
    // Metrics, what they do not tell, what they count; the state, and a part of the reason.
    let cases = [
        (Metrics::NotConfigured, vec![], 0, ConditionState::Unknown, "Prometheus is not configured"),
        (Metrics::NotAsked, vec![(began, now())], 0, ConditionState::Unknown, "not told"),
        (asked.clone(), vec![(began, now())], 0, ConditionState::Unknown, "does not cover all of it"),
        (asked.clone(), vec![(scraped, now())], 0, ConditionState::Met, "by the API server's own count, until "),
        (asked.clone(), vec![(minutes_ago(40), now())], 0, ConditionState::Unknown, "not told"),
        (
            Metrics::Asked { at: minutes_ago(1), answered: true, why: "has metrics of 1 of 3 API servers".into() },
            vec![(began, now())],
            0,
            ConditionState::Unknown,
            "; Prometheus has metrics of 1 of 3 API servers",
        ),
        (
            Metrics::Asked { at: minutes_ago(50), answered: true, why: String::new() },
            vec![(minutes_ago(40), now())],
            0,
            ConditionState::Unknown,
            "Prometheus has not been asked yet",
        ),
        (asked.clone(), vec![(minutes_ago(4), minutes_ago(3)), (scraped, now())], 0, ConditionState::Unknown, "not told"),
        (
            asked,
            vec![(scraped, now())],
            2,
            ConditionState::Unmet,
            "requests were blocked by its native policy, by the API server's own count",
        ),
    ];
    for (metrics, gaps, count, state, part) in cases {
        let gate = enforcing()
            .with(|situation| {
                situation.cell(STAGING, |cell| cell.native = true);
                let evidence = &mut situation.evidence;
                let observed = evidence.observed.as_mut().unwrap();
                (observed.gaps, observed.blocked, observed.blocked_by_prometheus) = (gaps.clone(), count, count);
                evidence.metrics = metrics.clone();
            })
            .gate();
        let blocked = gate.conditions.into_iter().find(|one| one.name == ConditionName::Blocked).unwrap();
        assert!(blocked.state == state && blocked.reason.contains(part), "{metrics:?} {gaps:?} {count}: {blocked:?}");
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
    assert_eq!(refused, ("Prometheus".into(), "requests were blocked while no recorder ran, from Prometheus".into()));
    assert_eq!(told(vec![(ago(30), ago(26))], 3, 2).0, "events", "it is closed without Prometheus, too");
}

#[test]
fn exceptions_are_named_where_they_are_not_seen_lack_or_differ() {
    let reason = |change: fn(&mut Situation)| {
        let gate = open().with(change).gate();
        gate.conditions.into_iter().find(|one| one.name == ConditionName::Exceptions).unwrap().reason
    };
    assert_eq!(reason(|s| s.evidence.unseen = unseen("kyverno/legacy")), "3 results are excused by kyverno/legacy, which is not seen");
    assert_eq!(reason(|s| s.evidence.unseen = unseen("")), "3 results are excused by an exception, which is not seen");
    let both = reason(|s| {
        let differing = Relied { name: "team/narrow".into(), differs: true, uses: 1, ..Relied::default() };
        (s.evidence.exceptions, s.evidence.lacking) = (Some(relied(None, 3)), Some([relied(None, 3), vec![differing]].concat()));
    });
    assert_eq!(both, "staging lacks team/legacy (excuses 3); team/narrow (excuses 1) differs in staging");
}

#[test]
fn only_what_was_evaluated_and_would_be_blocked_counts() {
    let cel = "policies.kyverno.io";
    let of = |pass, skip, native, group: &str| {
        let mut cell = PolicyCell { owners: Tally { pass, skip, ..Tally::default() }, native, ..cell(Mode::Audit) };
        let id = PolicyId { group: group.to_owned(), ..policy() };
        cell.key.id = Arc::new(id);
        cell
    };
    for (cell, tolerated, apart, expected) in [
        (of(5, 4, false, "kyverno.io"), 0, 0, Ok(5)),
        (of(5, 4, false, "kyverno.io"), 3, 2, Ok(6)),
        (of(5, 0, true, "kyverno.io"), 0, 0, Ok(5)),
        (of(0, 9, false, "kyverno.io"), 0, 0, Err("0 of 9 workloads were evaluated: all results are skipped")),
        (of(0, 0, false, "kyverno.io"), 0, 0, Err("no workload was evaluated: there are no results")),
        (of(0, 0, true, cel), 0, 0, Err("the API server judges by a native policy, and Kyverno reports nothing for it")),
        (
            of(5, 0, true, cel),
            0,
            0,
            Err("the API server judges by a native policy, and Kyverno no longer evaluates it: its 5 results may be out of date"),
        ),
        (of(5, 0, false, cel), 0, 5, Err("nothing that it would block was evaluated")),
    ] {
        assert_eq!(evaluated(&cell, tolerated, apart), expected.map_err(str::to_owned));
    }
}

#[test]
fn violations_of_old_replica_sets_are_in_the_reason() {
    let judged = WouldBlock { counted: 3, by_old_sets: 2, scans: true, ..WouldBlock::default() };
    let gate = open().with(|s| s.evidence.would_block = Some(judged)).gate();
    let violations = gate.conditions.into_iter().find(|one| one.name == ConditionName::Violations).unwrap();
    assert!(violations.reason.contains("; 2 only by an old ReplicaSet"), "{violations:?}");
}
