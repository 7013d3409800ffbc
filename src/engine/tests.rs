//! A panic in one environment's work ends that environment with words, and nothing else.

use super::*;
use crate::demo::{Demo, DemoOptions, Pace, Scenario};
use crate::domain::Link;
use std::time::Duration;
use tokio::time::timeout;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The demo's servers, and a kubeconfig for them.
struct World {
    _demo: Demo,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let hour = Duration::from_secs(3600);
        let pace = Pace { reports: Duration::from_millis(100), ready: Duration::from_millis(100), scan: hour };
        let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), demo.kubeconfig()).unwrap();
        Self { _demo: demo, folder }
    }

    fn spec(&self, name: &str) -> ClusterSpec {
        ClusterSpec {
            name: Arc::from(name),
            request_timeout: Duration::from_secs(5),
            ..ClusterSpec::of_context("dev", self.folder.path().join("kubeconfig"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_environment() {
    let world = World::new();
    // What follows the kubeconfig is missed only when that changes.
    let (dead, alive) = (["station", "stream", "login", "state"], ["panics-in-kubeconfig", "fine"]);
    let names = dead.iter().map(|part| format!("panics-in-{part}")).chain(alive.map(str::to_owned));
    let engine = start(names.map(|name| world.spec(&name)).collect());
    let ended = |view: &FleetView, part: &str| {
        let view = view.environment(&format!("panics-in-{part}")).unwrap();
        let why = view.link.why().unwrap_or_default();
        matches!(view.link, Link::Unreachable { .. }) && why.contains("internal error in src/cluster/contained.rs:") && !view.complete
    };
    let settled =
        |view: &FleetView| dead.iter().all(|part| ended(view, part)) && alive.iter().all(|name| view.environment(name).unwrap().complete);
    let mut fleet = engine.fleet();
    let seen = timeout(PATIENCE, fleet.wait_for(|view| settled(view))).await.map(drop);
    let links: Vec<_> =
        engine.fleet().borrow().environments.iter().map(|view| (view.name.clone(), view.link.clone(), view.complete)).collect();
    assert!(seen.is_ok(), "{links:?}");
    assert_eq!(*engine.failed().borrow(), None, "the program goes on");
    for name in alive {
        assert!(!engine.findings(name, FindingQuery::default()).await.unwrap().is_empty());
    }
    // What an environment held before the others' panics is still told; what its own task held is gone, and that is said.
    assert!(engine.findings("panics-in-stream", FindingQuery::default()).await.is_ok());
    let gone = engine.findings("panics-in-state", FindingQuery::default()).await.unwrap_err().what;
    assert!(gone.starts_with("panics-in-state: internal error in "), "{gone}");
    assert!(gone.ends_with("; please report it. Start policydeck again"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_recording_of_one_environment() {
    let world = World::new();
    let names = ["panics-in-recorder", "panics-in-lookup", "panics-in-filler", "fine"];
    let engine = start(names.map(|name| world.spec(name)).into());
    let file = world.folder.path().join("data/history.db");
    let (url, matchers) = ("http://127.0.0.1:1".to_owned(), String::new());
    let prometheus = crate::settings::Prometheus { url, matchers, token: None, ca_file: None, tenant: None };
    let metrics = vec![recorder::MetricSource { environment: Arc::from("panics-in-filler"), prometheus }];
    let options = recorder::RecorderOptions {
        file: file.clone(),
        name: "test".to_owned(),
        retention: crate::domain::history::Retention::default(),
        metrics,
    };
    let recorder = recorder::record(&engine, options).unwrap();
    let mut status = recorder.status();
    let words = |status: &recorder::RecorderStatus| {
        let ended = status.ended.get("panics-in-recorder").cloned()?;
        let unasked = status.unanswered.get("panics-in-filler").filter(|why| why.starts_with("is not asked")).cloned()?;
        Some([ended, unasked])
    };
    let told = timeout(PATIENCE, status.wait_for(|status| words(status).is_some())).await.expect("it is said").unwrap().clone();
    for words in words(&told).unwrap() {
        assert!(words.contains("internal error in src/cluster/contained.rs:") && words.ends_with("; please report it"), "{words}");
    }
    // The others are recorded: of each, that it was watched and since when.
    let history = HistoryReader::new(file);
    let on_record = async || {
        let mut watched = BTreeSet::new();
        for environment in history.environments().await.unwrap() {
            for policy in history.policies().await.unwrap() {
                if history.standing(environment.clone(), policy, None, Timestamp::now()).await.unwrap().is_some() {
                    watched.insert(environment.name.clone());
                }
            }
        }
        watched
    };
    let all = BTreeSet::from(["fine", "panics-in-filler", "panics-in-lookup"].map(str::to_owned));
    let seen = timeout(PATIENCE, async {
        while on_record().await != all {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(seen.await.is_ok(), "{:?}", on_record().await);
    recorder.finish().await;
    assert_eq!(on_record().await, all, "of the time after the panic there is no record");
    assert_eq!(*engine.failed().borrow(), None, "the program goes on");
}
