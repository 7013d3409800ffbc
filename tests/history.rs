//! Recording against the demo's API servers: what is on record is what was done to them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "demo_server/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;

use client::{CPOL, ask};
use jiff::Timestamp;
use policydeck::cluster::ClusterSpec;
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use policydeck::domain::history::{ChangeSource, EnvironmentKey, Interval, MarkKind, Retention, SpanMode, Standing};
use policydeck::domain::{Mode, PolicyKey};
use policydeck::engine::recorder::{Recorder, RecorderOptions, record};
use policydeck::engine::{self, EngineHandle, HistoryReader};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    demo: Demo,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let pace = Pace { reports: Duration::from_millis(100), ready: Duration::from_millis(100), scan: Duration::from_secs(3600) };
        let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), demo.kubeconfig()).unwrap();
        Self { demo, folder }
    }

    fn engine(&self) -> EngineHandle {
        engine::start(vec![ClusterSpec {
            request_timeout: Duration::from_secs(5),
            ..ClusterSpec::of_context("dev", self.folder.path().join("kubeconfig"))
        }])
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data/history.db")
    }

    fn record(&self, engine: &EngineHandle, name: &str) -> Recorder {
        let options = RecorderOptions { file: self.file(), name: name.to_owned(), retention: Retention::default(), metrics: Vec::new() };
        record(engine, options).unwrap()
    }
}

async fn eventually<T>(what: &str, mut asked: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = asked().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen that {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every ClusterPolicy in audit that says so itself, with its standing.
async fn in_audit(history: &HistoryReader) -> Option<(EnvironmentKey, PolicyKey, Standing)> {
    let environment = history.environments().await.unwrap().into_iter().next()?;
    for policy in history.policies().await.unwrap().into_iter().filter(|key| key.id.kind == "ClusterPolicy") {
        let standing = history.standing(environment.clone(), policy.clone(), None, Timestamp::now()).await.unwrap();
        if let Some(standing) = standing
            .filter(|standing| standing.state.mode == Mode::Audit && !matches!(standing.source, ChangeSource::Found | ChangeSource::Seen))
        {
            return Some((environment, policy, standing));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_on_record() {
    let world = World::new();
    let engine = world.engine();
    let (one, two) = (world.record(&engine, "one"), world.record(&engine, "two"));
    let history = HistoryReader::new(world.file());
    let (environment, policy, standing) = eventually("a policy stands in audit", async || in_audit(&history).await).await;
    assert!(standing.source.is_inferred() && standing.since < Timestamp::now(), "{standing:?}");
    assert_eq!(standing.blocked, 0);

    let path = format!("{CPOL}/{}", policy.id.name);
    let (code, _) = tokio::task::block_in_place(|| {
        let rules = ask(&world.demo, "dev").get(&path)["spec"]["rules"].clone();
        let mut rules = rules.as_array().unwrap().clone();
        for rule in &mut rules {
            if let Some(validate) = rule.get_mut("validate").and_then(|validate| validate.as_object_mut()) {
                validate.remove("failureAction");
                validate.remove("failureActionOverrides");
            }
        }
        ask(&world.demo, "dev").merge(&path, &json!({"spec": {"validationFailureAction": "Enforce", "rules": rules}}))
    });
    assert_eq!(code, 200);
    let (key, name) = (environment.clone(), policy.clone());
    let standing = eventually("it stands in enforce", async || {
        let standing = history.standing(key.clone(), name.clone(), None, Timestamp::now()).await.unwrap()?;
        (standing.state.mode == Mode::Enforce && standing.actor.is_some()).then_some(standing)
    })
    .await;
    assert_eq!(standing.source, ChangeSource::Seen);
    let now = Timestamp::now();
    let window = Interval { from: now - jiff::SignedDuration::from_mins(2), to: now };
    let timeline = history.timeline(policy.clone(), window, 10, now).await.unwrap().unwrap();
    assert_eq!(timeline.roads[0].spans.last().unwrap().mode, SpanMode::Of(Mode::Enforce), "{timeline:?}");

    one.finish().await;
    two.finish().await;
    // A watch that ended a moment ago counts as going on.
    let now = Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let window = Interval { from: now - jiff::SignedDuration::from_mins(2), to: now };
    let timeline = history.timeline(policy.clone(), window, 10, now).await.unwrap().unwrap();
    let [road] = &timeline.roads[..] else { unreachable!("one environment: {timeline:?}") };
    assert_eq!(road.spans.last().unwrap().mode, SpanMode::Unwatched, "they say that they end: {:?}", road.spans);
    let promotions = road.marks.iter().filter(|mark| mark.kind == MarkKind::Promote).count();
    assert_eq!(promotions, 1, "two recorders record it once: {:?}", road.marks);
    let revisions = history.revisions(environment, policy.clone()).await.unwrap();
    let text: serde_json::Value = serde_json::from_str(revisions[0].object.as_deref().unwrap()).unwrap();
    assert_eq!(text["metadata"]["name"], policy.id.name.as_str());
    assert!(text["metadata"].get("managedFields").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_environment_is_a_gap() {
    let world = World::new();
    let engine = world.engine();
    let recorder = world.record(&engine, "one");
    let history = HistoryReader::new(world.file());
    let (environment, policy, _) = eventually("something is on record", async || in_audit(&history).await).await;
    let (key, name) = (environment.clone(), policy.clone());
    eventually("it has been watched for more than a second", async || {
        let now = Timestamp::now();
        let standing = history.standing(key.clone(), name.clone(), None, now).await.unwrap()?;
        let begun = standing.policy_gaps.first()?.to;
        (now.duration_since(begun) > jiff::SignedDuration::from_millis(1_500)).then_some(())
    })
    .await;
    tokio::task::block_in_place(|| world.demo.lose("dev")).unwrap();
    let mut fleet = engine.fleet();
    fleet.wait_for(|view| !view.environments[0].link.is_up()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    tokio::task::block_in_place(|| world.demo.find("dev")).unwrap();
    fleet.wait_for(|view| view.environments[0].complete).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    recorder.finish().await;
    let standing = history.standing(environment, policy, None, Timestamp::now()).await.unwrap().unwrap();
    let lost: Vec<_> = standing.policy_gaps.iter().filter(|gap| gap.length() >= jiff::SignedDuration::from_secs(1)).collect();
    // Before the recorder began, and while it was lost.
    assert_eq!(lost.len(), 2, "{:?}", standing.policy_gaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_is_told_and_tried_again() {
    let world = World::new();
    std::fs::write(world.folder.path().join("data"), "in the way").unwrap();
    let engine = world.engine();
    let recorder = world.record(&engine, "one");
    let mut status = recorder.status();
    let why = status.wait_for(|status| status.trouble.is_some()).await.unwrap().trouble.clone().unwrap();
    assert!(why.contains("data"), "{why}");
    std::fs::remove_file(world.folder.path().join("data")).unwrap();
    status.wait_for(|status| status.trouble.is_none() && status.last_write.is_some()).await.unwrap();
    recorder.finish().await;
    assert!(!HistoryReader::new(world.file()).policies().await.unwrap().is_empty());
}
