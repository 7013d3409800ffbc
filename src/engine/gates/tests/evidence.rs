//! Evidence that is taken away, aged or silenced where it comes from makes no gate better: from the objects of two clusters to the verdict.
//!
//! Two environments are built from news as clusters send it. Some of them are in order, others have a fault or two; then one piece of evidence after the
//! other goes. The same for what a gate is judged by, one level further up, is in `ops/gate/tests.rs`.

use super::*;
use crate::domain::history::Standing as Recorded;
use crate::domain::{Condition, ConditionName, ConditionState, Force, Link, Sync, Tier, Verdict};
use crate::fleet::delta::{Change as Happened, Delta, KyvernoFacts, ServerFacts, StreamEvent, StreamId};
use crate::fleet::state::{EnvironmentState, Identity};
use crate::kinds::Release;
use crate::kinds::mode::Kyverno;
use crate::settings::{EnvironmentSettings, Step, StepMode};
use crate::testing::{Dice, many_cases};
use bytes::Bytes;
use serde_json::{Value, json};

/// Now.
const NOW: i64 = 100_000;
/// The kinds whose streams are silenced.
const KINDS: [(&str, &str); 12] = [
    ("kyverno.io", "ClusterPolicy"),
    ("policies.kyverno.io", "ValidatingPolicy"),
    ("wgpolicyk8s.io", "PolicyReport"),
    ("wgpolicyk8s.io", "ClusterPolicyReport"),
    ("kyverno.io", "PolicyException"),
    ("policies.kyverno.io", "PolicyException"),
    ("", "Event"),
    ("", "Namespace"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("", "Pod"),
];

/// What is wrong in the environment that the policy would leave, or in the one that it would enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Failing,
    Erring,
    Warned,
    Blocked,
    NoWebhook,
    NotReady,
    Expired,
    Lacking,
    Held,
    Young,
    OldResult,
    OtherRevision,
    Foreign,
    BlockedBefore,
}

const FAULTS: [Fault; 14] = [
    Fault::Failing,
    Fault::Erring,
    Fault::Warned,
    Fault::Blocked,
    Fault::NoWebhook,
    Fault::NotReady,
    Fault::Expired,
    Fault::Lacking,
    Fault::Held,
    Fault::Young,
    Fault::OldResult,
    Fault::OtherRevision,
    Fault::Foreign,
    Fault::BlockedBefore,
];

/// What happens to evidence, in one of the environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The stream is in this state now; what is held stays or goes, as the state decides.
    Stream(usize, StreamLoss),
    /// It is not known whether, or known that no, blocked requests make events.
    Events(Option<bool>),
    /// How often Kyverno scans is unknown.
    ScanInterval,
    /// Kyverno's release is unknown, and with it what it leaves alone.
    Release,
    /// Whether Kyverno answers is unknown.
    Answers,
    /// The server's answers carry no time.
    Clock,
    /// The cluster tells nothing of itself.
    Server,
    /// Events are kept for some minutes only.
    EventsKept,
    /// The link is down, in some way.
    Link(u8),
    /// Watching ended because of an error of ours.
    Ended,
    /// Nothing is recorded, or it cannot be read.
    History(bool),
    /// Reports are older, or have no time.
    Reports(bool),
    /// Reports are gone, and it is said that something could not be read.
    FewerReports,
    /// Only some namespaces are looked at.
    Part,
    /// The repository cannot be read.
    Git,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamLoss {
    Denied,
    Stale,
    Retrying,
    Unread,
    Dropped,
    Skipped,
    Junk,
    NeverListed,
    /// A new list has begun and is not at its end.
    Listing,
}

impl StreamLoss {
    const ALL: [Self; 9] = [
        Self::Denied,
        Self::Stale,
        Self::Retrying,
        Self::Unread,
        Self::Dropped,
        Self::Skipped,
        Self::Junk,
        Self::NeverListed,
        Self::Listing,
    ];
}

impl Loss {
    /// What it is lost of.
    fn source(self) -> (std::mem::Discriminant<Self>, Option<usize>) {
        let kind = if let Self::Stream(kind, _) = self { Some(kind) } else { None };
        (std::mem::discriminant(&self), kind)
    }
}

fn loss(dice: &mut Dice) -> Loss {
    match dice.below(30) {
        0 => Loss::Events(None),
        1 => Loss::Events(Some(false)),
        2 => Loss::ScanInterval,
        3 => Loss::Release,
        4 => Loss::Answers,
        5 => Loss::Clock,
        6 => Loss::Server,
        7 => Loss::EventsKept,
        8 => Loss::Link(dice.below(5) as u8),
        9 => Loss::Ended,
        10 => Loss::History(dice.one_in(2)),
        11 => Loss::Reports(dice.one_in(2)),
        12 => Loss::FewerReports,
        13 => Loss::Part,
        14 => Loss::Git,
        _ => Loss::Stream(dice.below(KINDS.len()), *dice.of(&StreamLoss::ALL)),
    }
}

fn stream(group: &str, kind: &str) -> StreamId {
    StreamId { kind: KindId::find(group, kind).unwrap(), namespace: "".into() }
}

/// Two environments, the faults in them, and what was lost in which of them.
#[derive(Debug, Clone)]
struct World {
    enforces: bool,
    faults: Vec<Fault>,
    lost: Vec<(usize, Loss)>,
}

const NAMES: [&str; 2] = ["dev", "live"];

impl World {
    fn is(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn lost(&self, place: usize) -> impl Iterator<Item = Loss> {
        self.lost.iter().filter(move |(of, _)| *of == place).map(|(_, loss)| *loss)
    }

    /// Two hours in the present mode, or some minutes.
    fn since(&self) -> i64 {
        NOW - if self.is(Fault::Young) { 600 } else { 7_200 }
    }

    fn policy(&self, place: usize) -> Value {
        let message = if self.is(Fault::OtherRevision) && place == 1 { "other" } else { "no" };
        let ready = if self.is(Fault::NotReady) && place == 0 { "False" } else { "True" };
        let mut annotations = json!({});
        if self.is(Fault::Warned) {
            annotations["policies.kyverno.io/scored"] = json!("false");
        }
        if self.is(Fault::Held) && place == 0 {
            annotations["policydeck.dev/hold"] = json!("wait");
        }
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", "uid": "of-p", "generation": 1, "creationTimestamp": at(self.since()).to_string(), "annotations": annotations},
            "spec": {"validationFailureAction": if self.enforces { "Enforce" } else { "Audit" }, "rules": [{"name": "r",
                "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {"message": message, "pattern": {}}}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn report(&self, number: i64, result: &str, message: &str, lost: &[Loss]) -> Value {
        let name = format!("pod-{number}");
        let mut timestamp = json!({"seconds": at(NOW - 300 - number).as_second(), "nanos": 0});
        if self.is(Fault::OldResult) && number == 0 {
            timestamp = json!({"seconds": at(NOW - 90_000).as_second(), "nanos": 0});
        }
        for loss in lost {
            match loss {
                Loss::Reports(true) => timestamp = json!({"seconds": at(NOW - 80_000).as_second(), "nanos": 0}),
                Loss::Reports(false) => timestamp = Value::Null,
                _ => {}
            }
        }
        json!({"metadata": {"name": format!("u{number}"), "namespace": "shop", "uid": format!("of-u{number}")},
            "scope": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "shop", "uid": format!("u{number}")},
            "results": [{"source": "kyverno", "policy": "p", "rule": "r", "result": result, "message": message, "timestamp": timestamp}]})
    }

    fn reports(&self, lost: &[Loss]) -> Vec<Value> {
        let excused = "rule is skipped due to policy exception: shop/legacy";
        let mut all: Vec<Value> = (0..4).map(|number| self.report(number, "pass", "", lost)).collect();
        all.push(self.report(4, "skip", excused, lost));
        let bad = [(Fault::Failing, 5, "fail"), (Fault::Erring, 6, "error"), (Fault::Warned, 7, "warn")];
        all.extend(bad.into_iter().filter(|(fault, ..)| self.is(*fault)).map(|(_, number, word)| self.report(number, word, "", lost)));
        if self.is(Fault::Foreign) {
            let mut foreign = self.report(8, "fail", "", lost);
            foreign["metadata"]["namespace"] = json!("other");
            all.push(foreign);
        }
        if lost.contains(&Loss::FewerReports) {
            all.truncate(2);
        }
        all
    }

    fn exceptions(&self, place: usize) -> Vec<Value> {
        let expires = if self.is(Fault::Expired) { at(NOW - 60) } else { at(NOW + 90_000) };
        let exception = json!({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "legacy", "namespace": "shop",
            "annotations": {"expires": expires.to_string()}},
            "spec": {"exceptions": [{"policyName": "p", "ruleNames": ["r"]}], "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}});
        if self.is(Fault::Lacking) && place == 1 { Vec::new() } else { vec![exception] }
    }

    fn objects(&self, place: usize, id: &StreamId, lost: &[Loss]) -> Vec<Value> {
        // The policy comes to the second environment from the first.
        let kind = id.kind.kind();
        match (kind.group, kind.kind) {
            ("kyverno.io", "ClusterPolicy") if place == 0 || self.is(Fault::OtherRevision) => vec![self.policy(place)],
            ("wgpolicyk8s.io", "PolicyReport") => self.reports(lost),
            ("kyverno.io", "PolicyException") => self.exceptions(place),
            ("", "Namespace") => ["shop", "other"].map(|name| json!({"metadata": {"name": name}})).into(),
            ("", "Pod") => (0..9)
                .map(|number| json!({"metadata": {"name": format!("pod-{number}"), "namespace": "shop", "uid": format!("u{number}")}}))
                .collect(),
            ("", "Event") if self.is(Fault::Blocked) && self.enforces => vec![json!({
                "metadata": {"name": "p.1", "namespace": "default", "uid": "e1", "creationTimestamp": at(NOW - 120).to_string()},
                "reason": "PolicyViolation", "action": "Resource Blocked", "reportingComponent": "kyverno-admission",
                "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "p"}, "message": "Pod shop/x: [r] fail (blocked); no",
                "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "x", "uid": "never"}})],
            (_, "ValidatingWebhookConfiguration") if !self.is(Fault::NoWebhook) => vec![json!({
                "metadata": {"name": "kyverno-resource-validating-webhook-cfg", "creationTimestamp": at(NOW - 90_000).to_string()},
                "webhooks": [{"name": "validate.kyverno.svc-fail", "failurePolicy": "Fail", "clientConfig": {"service": {"namespace": "kyverno",
                    "name": "kyverno-svc", "path": "/validate/fail"}}, "rules": [{"apiGroups": ["*"], "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["*"]}]}]})],
            _ => Vec::new(),
        }
    }

    /// The news of a stream whose list is complete, unless it never was.
    fn list(&self, place: usize, id: &StreamId, lost: &[Loss]) -> Vec<StreamEvent> {
        let is = |loss: StreamLoss| lost.iter().any(|one| matches!(one, Loss::Stream(kind, what) if is_of(*kind, id) && *what == loss));
        if is(StreamLoss::NeverListed) {
            return Vec::new();
        }
        let objects = self.objects(place, id, lost).iter().map(|object| Bytes::from(object.to_string())).collect();
        let fewer = lost.contains(&Loss::FewerReports) && id.kind.kind().kind == "PolicyReport";
        let mut events = vec![StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }];
        events.extend((is(StreamLoss::Skipped) || fewer).then_some(StreamEvent::Skipped));
        events.push(StreamEvent::ListEnded);
        events
    }

    fn state(&self, place: usize) -> EnvironmentState {
        let lost: Vec<Loss> = self.lost(place).collect();
        let has = |loss: Loss| lost.contains(&loss);
        let mut state = EnvironmentState::new(Identity {
            name: NAMES[place].into(),
            tier: Tier::Normal,
            context: NAMES[place].into(),
            namespaces: Vec::new().into(),
        });
        let mut tell = |delta: Delta| state.apply(delta, at(NOW));
        let makes_events = lost.iter().find_map(|loss| if let Loss::Events(makes) = loss { Some(*makes) } else { None });
        let release = if has(Loss::Release) { Release::UNKNOWN } else { Release::exactly(19) };
        let kept = if has(Loss::EventsKept) { 5 } else { 60 };
        if !has(Loss::Server) {
            tell(Delta::Server(ServerFacts {
                cluster_uid: Some(NAMES[place].into()),
                events_kept: Some(SignedDuration::from_mins(kept)),
                ..ServerFacts::default()
            }));
        }
        tell(Delta::Clock((!has(Loss::Clock)).then_some(SignedDuration::ZERO)));
        tell(Delta::Kyverno(KyvernoFacts {
            installed: true,
            version: None,
            kyverno: Kyverno::new(release),
            scan_interval: (!has(Loss::ScanInterval)).then_some(SignedDuration::from_hours(1)),
            makes_events: makes_events.unwrap_or(Some(true)),
            notes: Vec::new(),
        }));
        if !has(Loss::Answers) {
            tell(Delta::Answers(InForce::YES));
        }
        tell(Delta::Link(Link::Live));
        for id in KindId::all().map(|kind| StreamId { kind, namespace: "".into() }) {
            for event in self.list(place, &id, &lost) {
                tell(Delta::Stream(id.clone(), event));
            }
        }
        for loss in &lost {
            silence(*loss, &mut tell);
        }
        state.settle();
        state
    }

    fn road(&self) -> Road {
        let of = |place: usize, steps: Vec<Step>| {
            let namespaces = if self.lost(place).any(|loss| loss == Loss::Part) { vec!["shop".to_owned()] } else { Vec::new() };
            EnvironmentSettings { namespaces, steps, ..EnvironmentSettings::of_context(NAMES[place]) }
        };
        let hour = SignedDuration::from_hours(1);
        let mut first = vec![Step::new(StepMode::Audit, hour)];
        if self.enforces {
            first.push(Step::new(StepMode::Enforce, hour));
        }
        Road::new(vec![of(0, first), of(1, vec![Step::new(StepMode::Audit, hour), Step::new(StepMode::Enforce, hour)])])
            .with_expiry_key("expires".to_owned())
    }

    /// What was recorded of the policy since it is what it is.
    fn recorded(&self, row: &PolicyRow, mode: Mode) -> Option<Result<Recorded, String>> {
        for loss in self.lost(0) {
            if let Loss::History(damaged) = loss {
                return damaged.then(|| Err("damaged".to_owned()));
            }
        }
        let object = Made { generation: Some(1), created: Some(at(self.since())) };
        let state = PolicyState { mode, ready: Some(true), revision: Some(row.policy.revision.clone()), made: object };
        let change = Change { at: at(self.since()), state, actor: None, source: ChangeSource::Seen };
        let watched = vec![Interval { from: at(self.since()), to: at(NOW) }];
        let mut records =
            Records { changes: vec![change], policies: watched.clone(), reports: watched.clone(), events: watched, ..Records::default() };
        if self.is(Fault::BlockedBefore) {
            records.blocked = vec![(at(NOW - 5_000), 1)];
        }
        standing(&records, at(NOW)).map(Ok)
    }

    fn gate(&self) -> Gate {
        self.gate_after(&[])
    }

    /// The gate after something else has happened in the environments.
    fn gate_after(&self, news: &[(usize, Delta)]) -> Gate {
        let road = self.road();
        let mut states = [self.state(0), self.state(1)];
        for (place, delta) in news {
            states[*place].apply(delta.clone(), at(NOW));
            states[*place].settle();
        }
        let views: Vec<Arc<EnvironmentView>> = states.iter_mut().map(|state| Arc::new(state.view())).collect();
        let mut gathered = Gathered {
            fleet: Arc::new(FleetView { environments: views.clone() }),
            environments: HashMap::new(),
            recorded: HashMap::new(),
            clocks: HashMap::new(),
            metrics: HashMap::new(),
            pending: HashMap::new(),
        };
        for (place, (view, state)) in views.iter().zip(&states).enumerate() {
            let key = view.cell_of(&id()).map(|cell| cell.key.clone());
            let known = Known {
                policies: Some(state.policy_rows(None)),
                exceptions: exceptions_are_known(view).then(|| state.exception_uses()),
                oldest: state.oldest_results(key.as_ref()).into_iter().map(|oldest| (oldest.key.clone(), oldest)).collect(),
                blocks: view.blocks_held.is_some_and(|held| held > 0).then(|| state.blocked_rows(key.as_ref())),
                claims: state.claims(key.as_ref()),
                would_block: state.would_block(key.as_ref()).into_iter().collect(),
            };
            // The environment's name is the key of all that was gathered.
            if let Some(skew) = view.skew {
                gathered.clocks.insert(Arc::clone(&view.name), skew);
            }
            if self.lost(place).any(|loss| loss == Loss::Git) {
                gathered.pending.insert(Arc::clone(&view.name), Err("the repository cannot be read".to_owned()));
            }
            gathered.environments.insert(Arc::clone(&view.name), known);
        }
        let row = gathered.row(NAMES[0], &id()).cloned();
        if let Some(row) = row.filter(|_| views[0].cluster_uid.is_some()) {
            let mode = views[0].cell(&row.key).map_or(Mode::Unknown, |cell| cell.mode);
            if let Some(recorded) = self.recorded(&row, mode) {
                gathered.recorded.insert((Arc::from(NAMES[0]), row.key.clone()), recorded);
            }
        }
        gathered.gate(&road, &id(), Some("live"), at(NOW)).unwrap()
    }
}

fn is_of(kind: usize, id: &StreamId) -> bool {
    let (group, name) = KINDS[kind];
    *id == stream(group, name)
}

/// What happens after everything was there.
fn silence(loss: Loss, tell: &mut impl FnMut(Delta)) {
    let why = || "no".to_owned();
    match loss {
        Loss::Stream(kind, what) => {
            let (group, name) = KINDS[kind];
            let event = match what {
                StreamLoss::Denied => StreamEvent::State(Sync::Denied { why: why() }),
                StreamLoss::Stale => StreamEvent::State(Sync::Stale { since: at(NOW - 60) }),
                StreamLoss::Retrying => StreamEvent::State(Sync::Retrying { why: why() }),
                StreamLoss::Unread => StreamEvent::Unread { why: why() },
                StreamLoss::Dropped => StreamEvent::Dropped,
                StreamLoss::Junk => StreamEvent::Changed(vec![(Happened::Put, Bytes::from("{\"metadata\":"))]),
                StreamLoss::Listing => StreamEvent::State(Sync::Listing { seen: 0, total: None }),
                StreamLoss::Skipped | StreamLoss::NeverListed => return,
            };
            tell(Delta::Stream(stream(group, name), event));
        }
        Loss::Link(0) => tell(Delta::Link(Link::Connecting)),
        Loss::Link(1) => tell(Delta::Link(Link::Retrying { since: None, next: at(NOW), why: why() })),
        Loss::Link(2) => tell(Delta::Link(Link::LoginNeeded { why: why() })),
        Loss::Link(3) => tell(Delta::Link(Link::Unreachable { why: why() })),
        Loss::Link(_) => tell(Delta::Link(Link::Stale { since: at(NOW - 60) })),
        Loss::Ended => tell(Delta::Ended { why: why() }),
        _ => {}
    }
}

fn condition(gate: &Gate, name: ConditionName) -> Option<&Condition> {
    gate.conditions.iter().find(|one| one.name == name)
}

/// A condition that is met and was not, of a policy that is still seen where it was.
fn better(before: &Gate, after: &Gate) -> Option<ConditionName> {
    if before.from != after.from {
        return None;
    }
    let met = |gate: &Gate, name| condition(gate, name).is_some_and(|one| one.state == ConditionState::Met);
    ConditionName::ALL.into_iter().find(|name| condition(before, *name).is_some() && met(after, *name) && !met(before, *name))
}

/// Whether what was held before is still held: then what is seen is there, whatever else there may be.
fn keeps(loss: Loss) -> bool {
    match loss {
        Loss::Stream(kind, what) => {
            let is_needed = matches!(KINDS[kind].1, "ClusterPolicy" | "PolicyReport" | "Event");
            !is_needed || matches!(what, StreamLoss::Stale | StreamLoss::Retrying | StreamLoss::Skipped | StreamLoss::Junk)
        }
        Loss::ScanInterval | Loss::Answers | Loss::Events(_) | Loss::EventsKept | Loss::Part | Loss::Git => true,
        _ => false,
    }
}

#[test]
fn a_world_in_order_is_open_and_each_fault_shows() {
    for enforces in [false, true] {
        let world = World { enforces, faults: Vec::new(), lost: Vec::new() };
        let gate = world.gate();
        assert_eq!(gate.verdict, Verdict::Open, "{gate:#?}");
        for fault in FAULTS {
            let only_blocks = matches!(fault, Fault::Blocked | Fault::BlockedBefore);
            let gate = World { faults: vec![fault], ..world.clone() }.gate();
            // Into audit, what is lacking is listed; another revision is replaced.
            let shows = !(matches!(fault, Fault::Lacking | Fault::OtherRevision) || only_blocks && !enforces);
            assert_eq!(gate.verdict != Verdict::Open, shows, "{fault:?}: {gate:#?}");
        }
    }
}

#[test]
fn a_gate_depends_on_every_source() {
    let kind = |name: &str| KINDS.iter().position(|(group, kind)| *kind == name && *group != "policies.kyverno.io").unwrap();
    let mut losses = vec![
        Loss::Events(None),
        Loss::Events(Some(false)),
        Loss::ScanInterval,
        Loss::Answers,
        Loss::Clock,
        Loss::Ended,
        Loss::Reports(true),
        Loss::Reports(false),
        Loss::FewerReports,
        Loss::Part,
        Loss::Git,
        Loss::History(true),
        Loss::EventsKept,
    ];
    losses.extend((0..5).map(Loss::Link));
    for name in ["ClusterPolicy", "PolicyReport", "ClusterPolicyReport", "PolicyException", "Event", "ValidatingWebhookConfiguration"] {
        // A new list behind a complete one takes nothing away until it is at its end.
        let lasting = StreamLoss::ALL.into_iter().filter(|what| *what != StreamLoss::Listing);
        losses.extend(lasting.map(|what| Loss::Stream(kind(name), what)));
    }
    let mut still_open = Vec::new();
    for loss in losses {
        // Without a recorder only the cluster's own events tell what was blocked.
        let lost = if loss == Loss::EventsKept { vec![(0, loss), (0, Loss::History(false))] } else { vec![(0, loss)] };
        let gate = World { enforces: true, faults: Vec::new(), lost }.gate();
        still_open.extend((gate.verdict == Verdict::Open).then_some(loss));
    }
    assert_eq!(still_open, []);
}

#[test]
fn no_gate_gets_better_by_losing_evidence() {
    many_cases("no_gate_gets_better", 1_000, 10, |dice| {
        let faults = (0..dice.below(3)).map(|_| *dice.of(&FAULTS)).collect();
        let mut world = World { enforces: dice.one_in(2), faults, lost: Vec::new() };
        let mut before = world.gate();
        for _ in 0..=dice.below(4) {
            let lost = (dice.below(2), loss(dice));
            // Another state of the same source would take the place of the first.
            if world.lost.iter().any(|(place, loss)| *place == lost.0 && loss.source() == lost.1.source()) {
                continue;
            }
            world.lost.push(lost);
            let after = world.gate();
            assert!(before.verdict == Verdict::Open || after.verdict != Verdict::Open, "{world:?} opened it:\n{before:#?}\n{after:#?}");
            assert_eq!(better(&before, &after), None, "{world:?}:\n{before:#?}\n{after:#?}");
            if keeps(lost.1) && before.from == after.from {
                for name in [ConditionName::Violations, ConditionName::Blocked, ConditionName::Hold] {
                    let state = |gate: &Gate| condition(gate, name).map(|one| one.state);
                    let forgot = state(&before) == Some(ConditionState::Unmet) && state(&after) == Some(ConditionState::Unknown);
                    assert!(!forgot, "{world:?} hides what is seen:\n{before:#?}\n{after:#?}");
                }
            }
            before = after;
        }
    });
}

/// The force of a policy is part of the evidence, too: nothing that is lost makes it stronger.
#[test]
fn no_policy_is_more_in_force_by_losing_evidence() {
    many_cases("no_policy_is_more_in_force", 1_000, 10, |dice| {
        let faults = if dice.one_in(2) { vec![Fault::NoWebhook] } else { Vec::new() };
        let mut world = World { enforces: true, faults, lost: Vec::new() };
        let force = |world: &World| world.state(0).view().cell_of(&id()).map(|cell| cell.in_force.state);
        let mut before = force(&world);
        for _ in 0..=dice.below(3) {
            let lost = loss(dice);
            if world.lost.iter().any(|(_, loss)| loss.source() == lost.source()) {
                continue;
            }
            world.lost.push((0, lost));
            let after = force(&world);
            assert!(after != Some(Force::Yes) || before == Some(Force::Yes), "{world:?}: {before:?} {after:?}");
            before = after;
        }
    });
}

/// A namespace in which nothing is wrong.
const TENANT: &str = "other";

/// Something that a tenant may write in its namespace, about whatever it likes.
fn written(dice: &mut Dice) -> Delta {
    let name = format!("t{}", dice.below(3));
    let namespace = *dice.of(&[TENANT, TENANT, "shop", ""]);
    let number = dice.below(9);
    let uids = [format!("u{number}"), "of-tenant".to_owned(), String::new()];
    let uid = dice.of(&uids);
    let seconds = dice.of(&[NOW - 90_000, NOW - 300, NOW + 90_000]);
    let seconds = at(*seconds).as_second();
    let annotation = |dice: &mut Dice| dice.of(&[at(NOW - 60), at(NOW + 60), Timestamp::MAX]).to_string();
    let (group, kind, object) = match dice.below(4) {
        0 => {
            let result = *dice.of(&["pass", "fail", "warn", "error", "skip"]);
            let report = json!({"metadata": {"name": name, "namespace": TENANT, "uid": format!("of-{name}"),
                    "managedFields": [{"manager": *dice.of(&["kubectl-create", "reports-controller"]), "fieldsV1": {"f:results": {}}}]},
                "scope": {"apiVersion": "v1", "kind": *dice.of(&["Pod", "Node"]), "name": format!("pod-{number}"), "namespace": namespace, "uid": uid},
                "results": [{"source": "kyverno", "policy": *dice.of(&["p", "q"]), "rule": "r", "result": result, "message": "", "timestamp": {"seconds": seconds, "nanos": 0}}]});
            ("wgpolicyk8s.io", "PolicyReport", report)
        }
        1 => {
            let event = json!({"metadata": {"name": name, "namespace": TENANT, "uid": format!("e-{name}"), "creationTimestamp": at(NOW - 120).to_string()},
                "reason": "PolicyViolation", "action": "Resource Blocked", "reportingComponent": "kyverno-admission", "eventTime": at(NOW + 500).to_string(),
                "series": {"count": 1_000_000, "lastObservedTime": at(NOW - 60).to_string()},
                "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "p"}, "message": "Pod shop/x: [r] fail (blocked); no"});
            ("", "Event", event)
        }
        2 => {
            let exception = json!({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": *dice.of(&["legacy", "mine"]),
                    "namespace": TENANT, "annotations": {"expires": annotation(dice), "policydeck.dev/hold": "forged"}},
                "spec": {"exceptions": [{"policyName": "p", "ruleNames": ["r"]}], "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}});
            ("kyverno.io", "PolicyException", exception)
        }
        _ => {
            let pod = json!({"metadata": {"name": name, "namespace": TENANT, "uid": uid, "labels": {"a": "b"}, "annotations": {"policydeck.dev/at": annotation(dice)}}});
            ("", "Pod", pod)
        }
    };
    let change = if dice.one_in(4) { Happened::Deleted } else { Happened::Put };
    Delta::Stream(stream(group, kind), StreamEvent::Changed(vec![(change, Bytes::from(object.to_string()))]))
}

/// A tenant who may write reports, events, exceptions, annotations and labels in one namespace opens no gate of a policy of the cluster, and closes none
/// without being named.
#[test]
fn a_tenant_opens_no_gate_and_closes_none_unnamed() {
    let mut closed = 0;
    many_cases("a_tenant_at_a_gate", 1_000, 10, |dice| {
        let faults = (0..dice.below(3)).map(|_| *dice.of(&FAULTS)).collect();
        let world = World { enforces: dice.one_in(2), faults, lost: Vec::new() };
        let before = world.gate();
        let writes: Vec<(usize, Delta)> = (0..=dice.below(6)).map(|_| (dice.below(2), written(dice))).collect();
        let after = world.gate_after(&writes);
        assert!(before.verdict == Verdict::Open || after.verdict != Verdict::Open, "{world:?} {writes:?}:\n{before:#?}\n{after:#?}");
        assert_eq!(better(&before, &after), None, "{world:?} {writes:?}:\n{before:#?}\n{after:#?}");
        for condition in &after.conditions {
            let was = self::condition(&before, condition.name).map(|before| before.state);
            if condition.state == ConditionState::Met || was != Some(ConditionState::Met) {
                continue;
            }
            closed += 1;
            let names = condition.evidence.iter().any(|proof| proof.object.as_ref().is_some_and(|object| object.contains(TENANT)));
            assert!(names || condition.reason.contains(TENANT), "{world:?} {writes:?}: {condition:#?}");
        }
    });
    assert!(closed > 0, "no tenant closed a gate");
}
