//! The engine against the demo's API servers: what is shown is what is there, live, through losses and back.
//!
//! What only these servers do for us is to be lost and found on command; the same against real API servers is in `real_cluster`.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use policydeck::cluster::ClusterSpec;
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use policydeck::domain::{ConditionName, ConditionState, FindingResult, Gate, Link, Mode, PolicyId, ResourceRef};
use policydeck::engine::operations::{Keeping, Operator, Request};
use policydeck::engine::{self, EngineHandle, HistoryReader};
use policydeck::fleet::query::FindingQuery;
use policydeck::fleet::view::{EnvironmentView, FleetView};
use policydeck::ops::plan::Operation;
use policydeck::ops::position::NoStep;
use policydeck::ops::road::Road;
use policydeck::settings::EnvironmentSettings;
use policydeck::tui::{Acting, Answer, Ask, Deed, Preparation, Source, Wish};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    demo: Demo,
    _folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

fn world() -> World {
    let pace = Pace { reports: Duration::from_millis(100), ready: Duration::from_millis(100), scan: Duration::from_secs(3600) };
    let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, demo.kubeconfig()).unwrap();
    World { demo, _folder: folder, kubeconfig }
}

fn spec(kubeconfig: &Path, name: &str, context: &str) -> ClusterSpec {
    ClusterSpec {
        name: Arc::from(name),
        request_timeout: Duration::from_secs(5),
        summaries: true,
        ..ClusterSpec::of_context(context, kubeconfig.to_owned())
    }
}

/// The first view in which `wanted` holds.
async fn until(engine: &EngineHandle, what: &str, wanted: impl Fn(&FleetView) -> bool) -> Arc<FleetView> {
    let mut fleet = engine.fleet();
    match timeout(PATIENCE, fleet.wait_for(|view| wanted(view))).await {
        Ok(view) => Arc::clone(&view.unwrap()),
        Err(_) => unreachable!("it did not happen that {what}; the last view: {:#?}", engine.fleet().borrow().environments),
    }
}

fn first(view: &FleetView) -> &EnvironmentView {
    &view.environments[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_as_many_as_the_numbers_in_every_environment() {
    let world = world();
    let names: Vec<String> = world.demo.environments().map(str::to_owned).collect();
    let engine = engine::start(names.iter().map(|name| spec(&world.kubeconfig, name, name)).collect());
    let view = until(&engine, "all are complete", |view| view.environments.iter().all(|e| e.complete)).await;
    for environment in &view.environments {
        for by_owner in [false, true] {
            let rows = engine.findings(&environment.name, FindingQuery { by_owner, ..FindingQuery::default() }).await.unwrap();
            let tally = if by_owner { environment.owners } else { environment.findings };
            assert_eq!(rows.len() as u64, tally.total(), "{} by owner {by_owner}", environment.name);
            let failing = rows.iter().filter(|row| row.result == FindingResult::Fail).count() as u64;
            assert_eq!(failing, tally.fail, "{}", environment.name);
        }
        assert!(environment.findings.total() > 500, "{} has findings", environment.name);
        assert!(environment.owners.total() < environment.findings.total(), "{} collapses owners", environment.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_environment_keeps_its_numbers_and_comes_back_by_itself() {
    let world = world();
    let engine = engine::start(vec![spec(&world.kubeconfig, "dev", "dev"), spec(&world.kubeconfig, "qac", "qac")]);
    let before = until(&engine, "both are complete", |view| view.environments.iter().all(|e| e.complete)).await;
    world.demo.lose("dev").unwrap();
    let lost = until(&engine, "dev is lost", |view| matches!(first(view).link, Link::Retrying { .. })).await;
    assert_eq!(first(&lost).findings, first(&before).findings, "what was known is kept");
    assert!(!first(&lost).complete);
    assert!(lost.environments[1].complete, "the other lives on");
    world.demo.find("dev").unwrap();
    engine.reconnect("dev");
    let found = until(&engine, "dev is back", |view| first(view).complete).await;
    assert_eq!(first(&found).findings, first(&before).findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_nothing_is_told_so() {
    let world = world();
    let engine = engine::start(vec![spec(&world.kubeconfig, "dev", "dev-nobody")]);
    let view = until(&engine, "it is denied", |view| matches!(first(view).link, Link::Denied { .. })).await;
    let why = first(&view).link.why().unwrap();
    assert!(why.contains("you may not list") && why.contains("policydeck-viewer"), "{why}");
    assert!(!first(&view).complete);
    assert_eq!(first(&view).blocked, None, "unknown is never zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_does_not_exist_is_unreachable_and_names_those_there_are() {
    let world = world();
    let engine = engine::start(vec![spec(&world.kubeconfig, "dev", "no-such-context")]);
    let view = until(&engine, "it is unreachable", |view| matches!(first(view).link, Link::Unreachable { .. })).await;
    let why = first(&view).link.why().unwrap();
    assert!(why.contains("no-such-context") && why.contains("staging"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_have_modes_and_objects_can_be_fetched() {
    let world = world();
    let engine = engine::start(vec![spec(&world.kubeconfig, "dev", "dev")]);
    until(&engine, "it is complete", |view| first(view).complete).await;
    let policies = engine.policies("dev", None).await.unwrap();
    assert!(policies.iter().any(|row| row.mode == Mode::Enforce) && policies.iter().any(|row| row.mode == Mode::Mixed));
    assert!(policies.iter().filter(|row| row.key.source.starts_with("kyverno")).all(|row| !row.rules.is_empty()));
    let rows = engine.findings("dev", FindingQuery { by_owner: true, ..FindingQuery::default() }).await.unwrap();
    let deployment = rows.iter().find(|row| row.resource.kind == "Deployment").expect("a deployment has findings");
    let object = engine.object("dev", (*deployment.resource).clone()).await.unwrap();
    assert_eq!(object["metadata"]["name"], deployment.resource.name.as_str());
    let gone = ResourceRef { name: "gone".to_owned(), ..(*deployment.resource).clone() };
    assert!(engine.object("dev", gone).await.unwrap_err().what.contains("no longer exists"));
}

/// The gates before all next steps on the road of the demo's own configuration.
async fn gates(world: &World, engine: &EngineHandle) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
    let settings = policydeck::settings::parse("config.toml", &world.demo.config_toml(), policydeck::tui::actions()).unwrap().settings;
    let ask = Ask::Gates { road: Road::new(settings.environments), history: None };
    match Source::answer(engine, ask).await {
        Answer::Gates(gates) => gates.gates,
        other => unreachable!("that is no answer about gates: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_reason_never_becomes_a_release() {
    let world = world();
    let engine = engine::start(vec![spec(&world.kubeconfig, "dev", "dev")]);
    let view = until(&engine, "it is complete", |view| first(view).complete).await;
    let policy = (*first(&view).cells.iter().find(|cell| cell.key.id.kind == "ClusterPolicy").unwrap().key.id).clone();
    let data = world.kubeconfig.parent().unwrap();
    let road = Road::new(vec![EnvironmentSettings::of_context("dev")]);
    let keeping = Keeping { journal: data.join("journal"), archives: data.join("archives") };
    let operator = Operator::new(engine.clone(), road, keeping, true, HistoryReader::new(data.join("history.db")), "ana".to_owned());
    let screen = Acting::new(engine.clone(), operator.clone());
    let prepared = async |reason: Option<&str>| {
        let deed = Deed::Hold(reason.map(str::to_owned));
        let wish = Wish::new(deed, vec![policy.clone()], Some("dev".into()));
        match Source::answer(&screen, Ask::Prepare(wish)).await {
            Answer::Prepared(prepared) => (*prepared).clone(),
            other => unreachable!("that is no plan: {other:?}"),
        }
    };
    assert!(matches!(prepared(None).await, Preparation::ReasonWanted));
    // While the reason is typed someone else holds it.
    let plan = operator.hold(&policy, "dev", Some("INC-7"), &Request::default()).await.unwrap();
    assert!(operator.carry_out(&plan).await.unwrap().is_done());
    let Preparation::Declined { why, .. } = prepared(Some("CHG-1")).await else { unreachable!("it is held already") };
    assert!(why.to_string().contains("in dev is already held by ana: INC-7"), "{why}");
    let Preparation::Plans(plans) = prepared(None).await else { unreachable!("a release needs no reason") };
    assert_eq!(plans[0].plan.operation, Operation::Release);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_with_an_action_has_a_gate_and_what_is_not_read_opens_none() {
    let world = world();
    let names: Vec<String> = world.demo.environments().map(str::to_owned).collect();
    let engine = engine::start(names.iter().map(|name| spec(&world.kubeconfig, name, name)).collect());
    let view = until(&engine, "all are complete", |view| view.environments.iter().all(|e| e.complete)).await;
    let judged = gates(&world, &engine).await;
    let kind = |id: &PolicyId| id.kind.clone();
    assert!(judged.iter().any(|(id, _)| kind(id) == "ClusterPolicy") && judged.iter().any(|(id, _)| kind(id) == "ValidatingPolicy"));
    assert!(judged.iter().all(|(id, _)| !["Mutat", "Generat", "Delet", "Cleanup"].iter().any(|word| id.kind.contains(word))));
    let everywhere = |id: &PolicyId| view.environments.iter().filter(|e| e.cells.iter().any(|cell| *cell.key.id == *id)).count();
    assert!(judged.iter().all(|(id, _)| everywhere(id) > 0));
    world.demo.lose("production").unwrap();
    until(&engine, "production is lost", |view| view.environments.iter().any(|e| &*e.name == "production" && !e.link.is_up())).await;
    let into: Vec<Gate> = gates(&world, &engine).await.into_iter().filter_map(|(_, gate)| gate.ok()).collect();
    let into: Vec<&Gate> = into.iter().filter(|gate| &*gate.to.environment == "production").collect();
    assert!(!into.is_empty(), "something is on its way there");
    for gate in into {
        let hold = gate.conditions.iter().find(|condition| condition.name == ConditionName::Hold);
        assert!(hold.is_none_or(|hold| hold.state != ConditionState::Met), "{gate:?}");
    }
}
