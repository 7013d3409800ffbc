//! A fleet made by hand.

use crate::cli::source::{GateQuestion, Source};
use crate::domain::{
    Action, FindingResult, Force, Gap, Gate, InForce, Link, Mode, Policy, PolicyId, PolicyKey, Readiness, ResourceRef, Revision, RuleType,
    Severity, Sync, Tally, Tier,
};
use crate::engine::Failure;
use crate::fleet::query::{FindingQuery, FindingRow, PolicyRow, RuleRow};
use crate::fleet::view::{EnvironmentView, FleetView, KindView, PolicyCell};
use crate::ops::gate::{Evidence, Question, judge};
use crate::ops::position::NoStep;
use crate::testing::fleet;
use jiff::Timestamp;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Stands for the engine.
pub(super) struct Fixture {
    sender: Arc<Mutex<Option<watch::Sender<Arc<FleetView>>>>>,
    receiver: watch::Receiver<Arc<FleetView>>,
    /// Every question fails.
    pub(super) broken: bool,
}

impl Fixture {
    pub(super) fn of(environments: Vec<EnvironmentView>) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(fleet(environments)));
        Self { sender: Arc::new(Mutex::new(Some(sender))), receiver, broken: false }
    }

    pub(super) fn two() -> Self {
        Self::of(vec![environment("dev"), environment("production")])
    }

    /// Publishes another view after a while.
    pub(super) fn later(&self, after: Duration, environments: Vec<EnvironmentView>) {
        let sender = Arc::clone(&self.sender);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(sender) = &*sender.lock().unwrap() {
                let _ = sender.send(Arc::new(fleet(environments)));
            }
        });
    }

    /// The engine ends after a while.
    pub(super) fn close(&self, after: Duration) {
        let sender = Arc::clone(&self.sender);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            sender.lock().unwrap().take();
        });
    }

    fn answer<T>(&self, rows: Vec<T>) -> Result<Vec<T>, Failure> {
        if self.broken { Err(Failure { what: "the connection was lost".into(), hint: "Try again".into() }) } else { Ok(rows) }
    }
}

impl Source for Fixture {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.receiver.clone()
    }

    fn findings(&self, environment: &str, query: FindingQuery) -> impl Future<Output = Result<Vec<FindingRow>, Failure>> {
        let mut rows = if environment == "production" { findings() } else { Vec::new() };
        rows.retain(|row| query.policy.as_ref().is_none_or(|key| *key == row.key));
        rows.retain(|row| query.namespace.as_ref().is_none_or(|namespace| *namespace == row.resource.namespace));
        rows.retain(|row| query.results.is_empty() || query.results.contains(&row.result));
        std::future::ready(self.answer(rows))
    }

    fn policies(&self, _environment: &str, namespace: Option<String>) -> impl Future<Output = Result<Vec<PolicyRow>, Failure>> {
        let of_fleet = policy("disallow-latest-tag", Mode::Mixed);
        let of_namespace =
            PolicyRow { in_force: InForce::because(Force::No, Gap::LeftAlone), ..policy("disallow-latest-tag", Mode::Enforce) };
        std::future::ready(self.answer(vec![if namespace.is_some() { of_namespace } else { of_fleet }]))
    }

    fn has_namespace(&self, _environment: &str, name: &str) -> impl Future<Output = Option<bool>> {
        std::future::ready(Some(name == "checkout"))
    }

    async fn gates(&self, question: GateQuestion<'_>, now: Timestamp) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
        let GateQuestion { road, policy, to, .. } = question;
        let fleet = Arc::clone(&self.receiver.borrow());
        let environment = fleet.environments.first().cloned();
        let all = || environment.iter().flat_map(|view| &*view.cells).map(|cell| PolicyId::clone(&cell.key.id)).collect();
        let judged = |policy: &PolicyId| {
            let travel = road.travel(policy, &fleet, to)?;
            let (evidence, environment) = (&Evidence::default(), environment.as_deref());
            Ok(judge(road, &Question { policy, travel: &travel, environment, evidence, now: Some(now), now_there: Some(now) }))
        };
        let policies: Vec<PolicyId> = policy.map_or_else(all, |policy| vec![policy.clone()]);
        policies.into_iter().map(|policy| (policy.clone(), judged(&policy))).collect()
    }
}

fn fleet(environments: Vec<EnvironmentView>) -> FleetView {
    FleetView { environments: environments.into_iter().map(Arc::new).collect() }
}

pub(super) fn key(kind: &str, namespace: Option<&str>, name: &str) -> PolicyKey {
    let id = PolicyId { group: "kyverno.io".into(), kind: kind.into(), namespace: namespace.map(Into::into), name: name.into() };
    PolicyKey { source: "kyverno".into(), id: Arc::new(id) }
}

pub(super) fn cell(name: &str, mode: Mode) -> PolicyCell {
    PolicyCell { revision: Some(Revision("91c2e0aa11bb".into())), severity: Some(Severity::Medium), ..fleet::cell(name, mode) }
}

/// A complete environment; `production` has findings and a namespaced policy.
pub(super) fn environment(name: &str) -> EnvironmentView {
    let production = name == "production";
    let mut cells = vec![cell("disallow-latest-tag", if production { Mode::Mixed } else { Mode::Enforce })];
    if production {
        cells[0].findings = Tally { pass: 7, fail: 3, error: 1, ..Tally::default() };
        cells[0].owners = Tally { pass: 4, fail: 2, error: 1, ..Tally::default() };
        cells[0].blocked = Some(37);
        cells[0].evaluated_at = Some("2026-11-23T11:00:00Z".parse().unwrap());
        cells.push(PolicyCell { key: key("Policy", Some("team-a"), "require-owner"), ..cell("", Mode::Audit) });
    }
    let kind = |group, kind, objects| KindView { group, kind, sync: Sync::Live, objects, essential: true, left_out: 0 };
    EnvironmentView {
        name: name.into(),
        tier: if production { Tier::Production } else { Tier::Normal },
        context: format!("kind-{name}").into(),
        server: Some(format!("https://{name}.example.com:6443").into()),
        cluster_uid: Some(format!("uid-{name}").into()),
        kubernetes: Some("v1.36.3".into()),
        kyverno: Some("v1.19.1".into()),
        makes_events: Some(true),
        answers: InForce::YES,
        namespaces: Vec::new().into(),
        link: Link::Live,
        complete: true,
        last_seen: Some("2026-11-23T12:00:00Z".parse().unwrap()),
        skew: Some(jiff::SignedDuration::ZERO),
        kinds: vec![
            kind("kyverno.io", "ClusterPolicy", 2),
            kind("wgpolicyk8s.io", "PolicyReport", 5),
            kind("kyverno.io", "PolicyException", 0),
        ],
        findings: cells[0].findings,
        owners: cells[0].owners,
        blocked: Some(if production { 37 } else { 0 }),
        blocks_held: Some(if production { 37 } else { 0 }),
        policies: cells.len() as u64,
        cells: cells.into(),
        generation: 1,
        content: 1,
        ..EnvironmentView::default()
    }
}

/// Nothing may be read.
pub(super) fn denied(name: &str) -> EnvironmentView {
    let mut view = empty(name);
    view.link = Link::Denied { why: "you may not list policyreports (user jane, verb list)".into() };
    view.kinds.iter_mut().for_each(|kind| kind.sync = Sync::Denied { why: "you may not list clusterpolicies".into() });
    view
}

/// Reports are still being read, policies are there.
pub(super) fn partial(name: &str) -> EnvironmentView {
    let mut view = EnvironmentView { complete: false, link: Link::Listing, ..environment(name) };
    view.kinds[1].sync = Sync::Listing { seen: 8_200, total: Some(12_500) };
    view
}

fn empty(name: &str) -> EnvironmentView {
    let mut view =
        EnvironmentView { complete: false, cells: Arc::new([]), blocked: None, blocks_held: None, policies: 0, ..environment(name) };
    (view.findings, view.owners) = (Tally::default(), Tally::default());
    view.kinds.iter_mut().for_each(|kind| kind.objects = 0);
    view
}

pub(super) fn finding(result: FindingResult, namespace: &str, name: &str, uid: &str) -> FindingRow {
    let reference = |kind: &str, name: &str, uid: &str| ResourceRef {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    };
    FindingRow {
        key: key("ClusterPolicy", None, "disallow-latest-tag"),
        rule: "validate-image-tag".into(),
        own_rule: "validate-image-tag".into(),
        result,
        severity: Some(Severity::Medium),
        category: "".into(),
        message: "Using a mutable image tag e.g. 'latest' is not allowed.".into(),
        resource: Arc::new(reference("Pod", name, uid)),
        owner: (namespace == "checkout").then(|| Arc::new(reference("Deployment", "web", "d1"))),
        owner_guessed: false,
        evaluated_at: Some("2026-11-23T11:00:00Z".parse().unwrap()),
        exception: "".into(),
        stale: false,
        foreign: false,
        written_by: None,
        idle: None,
        properties: Arc::new([("process".into(), "background scan".into())]),
        resources: 1,
        report: None,
    }
}

fn findings() -> Vec<FindingRow> {
    let mut rows = vec![
        finding(FindingResult::Fail, "checkout", "web-1", "u1"),
        FindingRow { rule: "autogen-validate-image-tag".into(), ..finding(FindingResult::Fail, "checkout", "web", "d1") },
        finding(FindingResult::Fail, "search", "index-0", "u3"),
        finding(FindingResult::Error, "search", "index-1", "u4"),
    ];
    rows.extend((0..7).map(|n| finding(FindingResult::Pass, "search", &format!("ok-{n}"), &format!("p{n}"))));
    rows
}

pub(super) fn policy(name: &str, mode: Mode) -> PolicyRow {
    let key = key("ClusterPolicy", None, name);
    let policy = Policy {
        id: (*key.id).clone(),
        source: "kyverno",
        severity: Some(Severity::Medium),
        category: None,
        rules: Vec::new(),
        action: Action::Audit,
        overrides: Vec::new(),
        cel: None,
        admission: true,
        background: true,
        emit_warning: false,
        ready: Readiness::Ready,
        scored: true,
        native: false,
        matches: crate::domain::Matches::default(),
        revision: Revision("91c2e0aa11bb".into()),
        managed_by: None,
        deprecated: Some("ValidatingPolicy"),
        created_at: None,
        generation: 1,
        entered: None,
        hold: None,
        rolled_back: None,
    };
    let rule =
        RuleRow { name: "validate-image-tag".into(), rule_type: RuleType::Validate, mode, overrides: vec!["enforce in checkout".into()] };
    PolicyRow { key, policy: Arc::new(policy), mode, in_force: InForce::YES, native: false, rules: vec![rule] }
}
