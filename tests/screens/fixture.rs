//! A fleet made by hand: four environments as one would meet them, and answers that fit their numbers.
#![allow(dead_code, reason = "each test program uses its own part of the fixture")]
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a bug of the test")]

#[path = "gates.rs"]
pub(crate) mod gates;
#[path = "journals.rs"]
pub(crate) mod journals;
#[path = "past.rs"]
pub(crate) mod past;
#[path = "plans.rs"]
pub(crate) mod plans;

use jiff::{SignedDuration, Timestamp};
use policydeck::domain::{
    FindingResult, InForce, Link, Mode, PolicyId, PolicyKey, Readiness, ResourceRef, Revision, Severity, Sync, Tally, Tier,
};
use policydeck::engine::Failure;
use policydeck::fleet::query::{BlockedRow, FindingRow};
use policydeck::fleet::view::{EnvironmentView, FleetView, KindView, PolicyCell};
use policydeck::tui::{Answer, Ask, Source};
use std::sync::Arc;
use tokio::sync::watch;

/// The moment at which everything happens.
pub(crate) fn now() -> Timestamp {
    "2025-11-23T14:32:07Z".parse().unwrap()
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub(crate) fn key(name: &str) -> PolicyKey {
    let (namespace, name) = name.split_once('/').map_or((None, name), |(a, b)| (Some(a.to_owned()), b));
    let kind = if namespace.is_some() { "Policy" } else { "ClusterPolicy" };
    let id = PolicyId { group: "kyverno.io".to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() };
    PolicyKey { source: "kyverno".into(), id: Arc::new(id) }
}

pub(crate) fn cell(name: &str, mode: Mode, severity: Option<Severity>, fail: u64) -> PolicyCell {
    let owners = Tally { fail, pass: 310, ..Tally::default() };
    PolicyCell {
        key: key(name),
        mode,
        ready: Readiness::Ready,
        in_force: InForce::YES,
        native: false,
        revision: Some(Revision("91c2e0a4f1aa".to_owned())),
        made: policydeck::domain::history::Made::UNKNOWN,
        severity,
        category: Some("Best Practices".into()),
        findings: Tally { fail: fail * 3, pass: 902, ..Tally::default() },
        owners,
        blocked: Some(0),
        evaluated_at: Some(ago(660)),
        complete: true,
        ..PolicyCell::default()
    }
}

fn kind(group: &'static str, kind: &'static str, sync: Sync, objects: u64) -> KindView {
    KindView { group, kind, sync, objects, essential: true, left_out: 0 }
}

pub(crate) fn environment(name: &str, cells: Vec<PolicyCell>) -> EnvironmentView {
    let mut cells = cells;
    cells.sort_by(|a, b| a.key.cmp(&b.key));
    let mut view = EnvironmentView {
        name: name.into(),
        tier: if name.starts_with("prod") { Tier::Production } else { Tier::Normal },
        context: format!("kind-{name}").into(),
        server: Some(format!("https://{name}:6443").into()),
        kubernetes: Some("v1.33.1".into()),
        kyverno: Some("v1.15.3".into()),
        scan_interval: Some(SignedDuration::from_hours(1)),
        makes_events: Some(true),
        answers: InForce::YES,
        namespaces: Vec::new().into(),
        link: Link::Live,
        complete: true,
        last_seen: Some(ago(1)),
        skew: Some(jiff::SignedDuration::ZERO),
        kinds: vec![kind("kyverno.io", "ClusterPolicy", Sync::Live, 47), kind("wgpolicyk8s.io", "PolicyReport", Sync::Live, 12_500)],
        blocked: Some(0),
        blocks_held: Some(0),
        policies: cells.len() as u64,
        generation: 1,
        content: 1,
        ..EnvironmentView::default()
    };
    for cell in &cells {
        view.findings += cell.findings;
        view.owners += cell.owners;
        view.blocked = view.blocked.map(|n| n + cell.blocked.unwrap_or(0));
    }
    view.cells = cells.into();
    view
}

pub(crate) fn fleet(environments: Vec<EnvironmentView>) -> Arc<FleetView> {
    Arc::new(FleetView { environments: environments.into_iter().map(Arc::new).collect() })
}

/// The environment is lost since four minutes.
pub(crate) fn lose(view: &mut EnvironmentView) {
    view.link = Link::Retrying { since: Some(ago(246)), next: ago(-12), why: "connection refused by prod-eu:6443".to_owned() };
    view.last_seen = Some(ago(246));
    view.complete = false;
    for kind in &mut view.kinds {
        kind.sync = Sync::Stale { since: ago(246) };
    }
    view.cells = view.cells.iter().cloned().map(|c| PolicyCell { complete: false, ..c }).collect();
}

const HIGH: Option<Severity> = Some(Severity::High);
const MED: Option<Severity> = Some(Severity::Medium);
const LOW: Option<Severity> = Some(Severity::Low);

fn quiet_policies() -> Vec<PolicyCell> {
    (1..=41).map(|n| cell(&format!("require-label-{n:02}"), Mode::Audit, LOW, 0)).collect()
}

/// The environments of the sketch.
pub(crate) fn sketch() -> Vec<EnvironmentView> {
    let mut dev = quiet_policies();
    dev.extend([
        cell("require-pod-requests-limits", Mode::Audit, MED, 412),
        PolicyCell { blocked: Some(37), ..cell("disallow-latest-tag", Mode::Enforce, MED, 0) },
        cell("disallow-privileged-containers", Mode::Enforce, HIGH, 0),
        PolicyCell {
            owners: Tally { fail: 17, error: 2, pass: 40, ..Tally::default() },
            ..cell("restrict-image-registries", Mode::Mixed, HIGH, 17)
        },
        PolicyCell { ready: Readiness::NotReady, complete: false, ..cell("check-deprecated-apis", Mode::NotReady, LOW, 0) },
        cell("team-a/require-owner", Mode::Audit, None, 6),
    ]);
    let mut qac = quiet_policies();
    qac.extend([
        PolicyCell { revision: Some(Revision("0b77aa12cd34".to_owned())), ..cell("require-pod-requests-limits", Mode::Audit, MED, 118) },
        PolicyCell { blocked: Some(4), ..cell("disallow-latest-tag", Mode::Enforce, MED, 0) },
        cell("disallow-privileged-containers", Mode::Enforce, HIGH, 0),
        cell("restrict-image-registries", Mode::Audit, HIGH, 31),
        cell("check-deprecated-apis", Mode::Audit, LOW, 0),
    ]);
    let mut staging = quiet_policies();
    staging.extend([
        PolicyCell { revision: Some(Revision("0b77aa12cd34".to_owned())), ..cell("require-pod-requests-limits", Mode::Audit, MED, 12) },
        cell("disallow-latest-tag", Mode::Audit, MED, 3),
        cell("disallow-privileged-containers", Mode::Enforce, HIGH, 1),
        cell("restrict-image-registries", Mode::Audit, HIGH, 0),
        cell("check-deprecated-apis", Mode::Audit, LOW, 0),
    ]);
    let production = vec![
        PolicyCell { revision: Some(Revision("0b77aa12cd34".to_owned())), ..cell("require-pod-requests-limits", Mode::Audit, MED, 9) },
        cell("disallow-privileged-containers", Mode::Audit, HIGH, 2),
    ];
    vec![environment("dev", dev), environment("qac", qac), environment("staging", staging), environment("production", production)]
}

/// The sketch with production lost.
pub(crate) fn one_lost() -> Vec<EnvironmentView> {
    let mut environments = sketch();
    lose(&mut environments[3]);
    environments
}

/// Four environments of which nothing is known yet, at different points of their start.
pub(crate) fn starting() -> Vec<EnvironmentView> {
    let mut all: Vec<_> = ["dev", "qac", "staging", "production"].map(|name| environment(name, Vec::new())).into();
    for view in &mut all {
        view.complete = false;
        view.link = Link::Connecting;
        view.last_seen = None;
        view.kinds.iter_mut().for_each(|k| k.sync = Sync::Connecting);
    }
    all[1].link = Link::Listing;
    all[1].kinds[1].sync = Sync::Listing { seen: 8_200, total: Some(12_500) };
    all[1].summaries = Some(Tally { fail: 1_204, pass: 250_113, ..Tally::default() });
    all[2].link = Link::LoginNeeded { why: "token expired; run  aws sso login  (from the kubeconfig's exec plugin)".to_owned() };
    all[3].link = Link::Retrying { since: None, next: ago(-3), why: "no route to host prod-eu".to_owned() };
    all
}

/// What can be wrong with rights and installations.
pub(crate) fn troubled() -> Vec<EnvironmentView> {
    let mut all = sketch();
    all[0].kinds.iter_mut().for_each(|k| k.sync = Sync::NotInstalled);
    all[0].cells = Arc::new([]);
    all[0].owners = Tally::default();
    all[1].link = Link::Denied { why: "you may not list policyreports (user jane, verb list)".to_owned() };
    all[1].complete = false;
    all[1].cells = Arc::new([]);
    (all[1].owners, all[1].findings, all[1].blocked) = (Tally::default(), Tally::default(), None);
    all[1].kinds.iter_mut().for_each(|k| k.sync = Sync::Denied { why: "user jane, verb list".to_owned() });
    all[2].kinds[1].sync = Sync::Denied { why: "user jane, verb list".to_owned() };
    all[2].complete = false;
    all[2].malformed = 3;
    all[2].notes = vec!["owners of 12 resources were guessed by name: replicasets may not be read".into()];
    all[3].link = Link::LoginNeeded { why: "token expired; run  aws sso login  (from the kubeconfig's exec plugin)".to_owned() };
    all[3].complete = false;
    all
}

/// The sketch while dev is still being listed: totals are known from summaries, rows come in.
pub(crate) fn listing() -> Vec<EnvironmentView> {
    let mut all = sketch();
    let dev = &mut all[0];
    dev.link = Link::Listing;
    dev.complete = false;
    dev.kinds[1].sync = Sync::Listing { seen: 8_200, total: Some(12_500) };
    dev.summaries = Some(Tally { fail: 1_204, error: 2, pass: 250_113, ..Tally::default() });
    dev.cells = dev.cells.iter().cloned().map(|c| PolicyCell { complete: false, ..c }).collect();
    all
}

/// No policy fails anywhere.
pub(crate) fn nothing_wrong() -> Vec<EnvironmentView> {
    ["dev", "qac", "staging", "production"].map(|name| environment(name, quiet_policies())).into()
}

fn row(key: &PolicyKey, namespace: &str, kind: &str, name: &str, result: FindingResult) -> FindingRow {
    let resource = |kind: &str, name: &str, version: &str| ResourceRef {
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{namespace}-{name}"),
    };
    FindingRow {
        key: key.clone(),
        rule: "validate-image-tag".into(),
        own_rule: "validate-image-tag".into(),
        result,
        severity: Some(Severity::Medium),
        category: "Best Practices".into(),
        message: "validation error: Using a mutable image tag e.g. 'latest' is not allowed. rule validate-image-tag failed at path /spec/containers/0/image/".into(),
        resource: Arc::new(resource(kind, name, "apps/v1")),
        owner: None,
        owner_guessed: false,
        evaluated_at: Some(ago(660)),
        exception: "".into(),
        stale: false,
        foreign: false,
        written_by: None,
        idle: None,
        properties: vec![("process".into(), "background scan".into())].into(),
        resources: if name == "nightly" { 4 } else { 1 },
        report: None,
    }
}

/// As many rows as the cell's number says.
pub(crate) fn rows(key: &PolicyKey, fail: u64, error: u64) -> Vec<FindingRow> {
    const NAMES: [(&str, &str, &str); 3] =
        [("checkout", "Deployment", "web"), ("checkout", "CronJob", "nightly"), ("search", "StatefulSet", "index")];
    let mut out = Vec::new();
    for n in 0..fail + error {
        let (namespace, kind, name) = NAMES[usize::try_from(n % 3).unwrap()];
        let name = if n < 3 { name.to_owned() } else { format!("{name}-{n}") };
        let namespace = if n < 3 { namespace.to_owned() } else { format!("team-{}", n % 7) };
        out.push(row(key, &namespace, kind, &name, if n < fail { FindingResult::Fail } else { FindingResult::Error }));
    }
    out
}

/// Refused admissions that add up to `count`, newest first; the first was tried several times.
pub(crate) fn refusals(key: &PolicyKey, count: u64) -> Vec<BlockedRow> {
    let mut out = Vec::new();
    let mut left = count;
    while left > 0 {
        let n = out.len() as u64;
        let times = if n == 0 { left.min(3) } else { 1 };
        left -= times;
        let (namespace, name) = if n.is_multiple_of(2) { ("checkout", format!("web-{n}")) } else { ("search", format!("index-{n}")) };
        let resource =
            ResourceRef { api_version: "v1".to_owned(), kind: "Pod".to_owned(), namespace: namespace.to_owned(), name, uid: String::new() };
        out.push(BlockedRow {
            event: format!("event-{n}").into(),
            key: key.clone(),
            resource: Arc::new(resource),
            at: Some(ago(40 + 95 * i64::try_from(n).unwrap())),
            count: times,
            message: format!(
                "Pod {namespace}: [validate-image-tag] fail (blocked); Using a mutable image tag e.g. 'latest' is not allowed."
            )
            .into(),
            source: Arc::default(),
        });
    }
    out
}

/// What an engine with this fleet would answer.
pub(crate) fn answer(fleet: &FleetView, ask: &Ask) -> Answer {
    let tally = |environment: &str, key: Option<&PolicyKey>, by_owner: bool| {
        let view = fleet.environments.iter().find(|e| &*e.name == environment)?;
        let cell = view.cells.iter().find(|c| Some(&c.key) == key)?;
        Some(if by_owner { cell.owners } else { cell.findings })
    };
    if let Some(answer) = past::answer(ask).or_else(|| journals::answer(ask)) {
        return answer;
    }
    match ask {
        Ask::Timeline { .. } | Ask::Compare { .. } | Ask::Overview { .. } => unreachable!("the past answers"),
        Ask::Journal { .. } | Ask::Fate(_) => unreachable!("a journal answers"),
        Ask::Findings { environment, query } => {
            let tally = tally(environment, query.policy.as_ref(), query.by_owner).unwrap_or_default();
            if let Some(key) = query.policy.as_ref().filter(|_| query.counted && tally.warn > 0) {
                let warned = |row: FindingRow| FindingRow { result: FindingResult::Warn, ..row };
                return Answer::Findings(Ok(rows(key, tally.warn, 0).into_iter().map(warned).collect()));
            }
            Answer::Findings(Ok(query.policy.as_ref().map(|key| rows(key, tally.fail, tally.error)).unwrap_or_default()))
        }
        Ask::Elsewhere { environments, query, resource, .. } => Answer::Elsewhere(
            environments
                .iter()
                .map(|name| {
                    let found = tally(name, query.policy.as_ref(), true).filter(|t| t.total() > 0).map(|t| {
                        let result = if t.fail > 0 { FindingResult::Fail } else { FindingResult::Pass };
                        row(query.policy.as_ref().unwrap(), &resource.namespace, &resource.kind, &resource.name, result)
                    });
                    (name.clone(), Ok(found))
                })
                .collect(),
        ),
        Ask::Prepare(wish) => Answer::Prepared(Arc::new(plans::prepare(fleet, wish, false))),
        Ask::Formers { policy, .. } => Answer::Formers(Arc::new(Ok(plans::formers(policy)))),
        Ask::Gates { road, .. } => Answer::Gates(gates::all(fleet, road)),
        Ask::Blocked { environment, policy } => {
            let view = fleet.environments.iter().find(|e| e.name == *environment);
            let count = view.and_then(|view| view.cells.iter().find(|c| c.key == *policy)?.blocked).unwrap_or(0);
            Answer::Blocked(Ok(refusals(policy, count)))
        }
        Ask::Object { reference, .. } if reference.name == "nightly" => Answer::Object(Err(Failure {
            what: "CronJob checkout/nightly no longer exists in the cluster".to_owned(),
            hint: "its results go away with the next report".to_owned(),
        })),
        Ask::Object { reference, .. } if reference.name == "index" => Answer::Object(Ok(serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": reference.name, "namespace": reference.namespace,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":{\"password\":\"hunter2\"}}"}},
            "data": {"password": "aHVudGVyMg=="}, "stringData": {"other": "hunter2"},
        }))),
        Ask::Object { reference, .. } => Answer::Object(Ok(serde_json::json!({
            "apiVersion": reference.api_version, "kind": reference.kind,
            "metadata": {"name": reference.name, "namespace": reference.namespace, "uid": reference.uid, "labels": {"app": "web", "team": "checkout"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:latest", "args": ["--port", "8080"], "resources": {}}]}}},
        }))),
    }
}

/// Stands in for the engine.
#[derive(Clone)]
pub(crate) struct FakeEngine {
    pub(crate) fleet: watch::Receiver<Arc<FleetView>>,
}

impl Source for FakeEngine {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.fleet.clone()
    }

    async fn answer(&self, ask: Ask) -> Answer {
        let fleet = self.fleet.borrow().clone();
        answer(&fleet, &ask)
    }

    fn reconnect(&self, _environment: &str) {}
}
