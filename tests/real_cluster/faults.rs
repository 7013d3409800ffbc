//! Servers that die, hang, lie or lose a kind while policydeck follows them: what was known stays, its age is told, and everything comes back by itself.

mod answers;
mod connections;
mod credentials;

use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, environment, state_of};
use crate::support::seed::{Seeded, Shape};
use serde_json::Value;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// A hung server is noticed by a heartbeat that does not return: every 5 s, and 5 s long.
const NOTICED: Duration = Duration::from_secs(15);

/// Long enough for the longest pause between two attempts, 10 s, and the lists after it.
const BACK: Duration = Duration::from_secs(40);

fn is(name: &str, state: &str) -> impl Fn(&Value) -> bool {
    move |status| environment(status, name)["state"] == state
}

fn is_whole(name: &str) -> impl Fn(&Value) -> bool {
    move |status| environment(status, name)["state"] == "live" && environment(status, name)["complete"] == true
}

/// Waits for a time in which something must *not* happen.
pub(super) fn let_pass(time: Duration) {
    let start = Instant::now();
    eventually("time passes", time * 2, || if start.elapsed() < time { Err(start.elapsed().as_secs()) } else { Ok(()) });
}

/// The newest document fits, now or within the deadline; a fault that was over in a blink has left no document of its own.
fn settled(watch: &mut Watch, what: &str, fits: impl Fn(&Value) -> bool) {
    eventually(what, BACK, || if fits(watch.latest()) { Ok(()) } else { Err(watch.latest().to_string()) });
}

/// Nothing that was known became unknown or smaller in the documents from `first` on: nothing was written to the cluster in that time.
fn nothing_was_forgotten(watch: &Watch, first: usize, name: &str) {
    let numbers = |status: &Value| ["findings", "owners", "policies", "malformed"].map(|key| environment(status, name)[key].clone());
    let known = numbers(&watch.seen[first].1);
    assert!(known[0]["fail"].as_u64().is_some_and(|fail| fail > 0), "{known:?}");
    for (_, status) in &watch.seen[first..] {
        assert_eq!(numbers(status), known, "numbers changed while nothing was written: {}", environment(status, name));
    }
}

/// The port of a cluster's API server.
fn port(cluster: &Cluster) -> u16 {
    let server = cluster.kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    server.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap()
}

/// Takes the place of a dead server, drops every connection, and counts them until it is dropped.
struct Dead {
    count: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Dead {
    fn listen(port: u16) -> Self {
        let listener = eventually("the dead server's port is free", SOON, || TcpListener::bind(("127.0.0.1", port)));
        listener.set_nonblocking(true).unwrap();
        let (count, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&count), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok(_) => _ = counted.fetch_add(1, Ordering::Relaxed),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        });
        Self { count, end, thread: Some(thread) }
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn what_is_known_outlives_every_fault() {
    let Some(fleet) = Fleet::start(&["dev", "qac"], Options { audit: true, ..Options::default() }) else { return };
    let (dev, qac) = (fleet.cluster("dev"), fleet.cluster("qac"));
    let mut seeds = Vec::new();
    for (cluster, release) in [(dev, "kyverno-1.18.2"), (qac, "kyverno-1.13.4")] {
        cluster.install_crds(&crds(release));
        let mut seeded = Seeded::new(cluster, 2, 3, 5);
        seeded.reports(Shape::Resource);
        seeded.reports(Shape::Foreign);
        seeds.push(seeded);
    }
    let desk = Desk::new(&fleet, User::Admin, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("both are read", SOON, &[dev, qac]);

    killed_and_restarted(&fleet, &mut watch, &mut seeds[0]);
    desk.assert_true(&fleet);
    stopped_and_continued(dev, qac, &mut watch, &mut seeds);
    crd_deleted_and_made_again(dev, &mut watch, &mut seeds[0]);
    desk.assert_true(&fleet);
    let others = watch.seen.iter().filter(|(_, status)| environment(status, "qac")["state"] == "retrying").count();
    assert_eq!(others, 0, "qac was never lost");
}

fn killed_and_restarted(fleet: &Fleet, watch: &mut Watch, seeded: &mut Seeded<'_>) {
    let dev = fleet.cluster("dev");
    let (port, first) = (port(dev), watch.seen.len() - 1);
    dev.signal("api", "KILL");
    let dead = Dead::listen(port);
    let (_, status) = watch.until("the dead server is noticed", NOTICED, is("dev", "retrying"));
    let item = environment(&status, "dev");
    assert!(item["complete"] == false && item["message"].as_str().is_some_and(|m| m.starts_with("lost: ")), "{item}");
    assert!(item["lastSeen"].is_string(), "{item}");
    assert!(item["kinds"].as_array().unwrap().iter().all(|kind| kind["state"] != "live"), "nothing is followed: {item}");
    assert_eq!(environment(&status, "qac")["state"], "live", "the others live on");
    // No hot loop: some fifteen streams that fail at once, then one question with growing pauses.
    let start = Instant::now();
    let until = |seconds: u64| {
        eventually("half a minute without a server", Duration::from_secs(40), || match start.elapsed() {
            gone if gone < Duration::from_secs(seconds) => Err(gone.as_secs()),
            _ => Ok(()),
        });
    };
    until(5);
    let before = dead.count.load(Ordering::Relaxed);
    until(30);
    let attempts = dead.count.load(Ordering::Relaxed) - before;
    assert!((2..=12).contains(&attempts) && before <= 60, "{before} attempts at first, {attempts} in 25 s");
    drop(dead);

    fleet.restart(&["dev"]);
    watch.until("the server is back, without being asked", BACK, is_whole("dev"));
    nothing_was_forgotten(watch, first, "dev");
    seeded.churn(60);
    watch.until_true("what changes after the restart is followed", SOON, &[dev]);
}

fn stopped_and_continued(dev: &Cluster, qac: &Cluster, watch: &mut Watch, seeds: &mut [Seeded<'_>]) {
    let (first, asked, stopped) = (watch.seen.len() - 1, dev.requests("").len(), Instant::now());
    dev.signal("api", "STOP");
    watch.until("the hung server is noticed", NOTICED, |status| environment(status, "dev")["state"] != "live");
    // Its neighbour is followed all the while.
    seeds[1].churn(40);
    watch.until_true("the other lives on", SOON, &[qac]);
    eventually("twenty seconds of silence", Duration::from_secs(25), || match stopped.elapsed() {
        gone if gone < Duration::from_secs(20) => Err(gone.as_secs()),
        _ => Ok(()),
    });
    dev.signal("api", "CONT");
    watch.until("the server answers again", BACK, is_whole("dev"));
    nothing_was_forgotten(watch, first, "dev");
    // All that was asked while it hung, answered late, and what it takes to follow everything again.
    let asked = dev.requests("").split_off(asked);
    let mine = asked.iter().filter(|r| r.contains("policyreports") || r.contains("/version") || r.contains("readyz")).collect::<Vec<_>>();
    assert!(mine.len() <= 30, "{} requests: {mine:?}", mine.len());
    seeds[0].churn(40);
    watch.until_true("what changes afterwards is followed", SOON, &[dev]);
}

fn crd_deleted_and_made_again(dev: &Cluster, watch: &mut Watch, seeded: &mut Seeded<'_>) {
    let state = |status: &Value| state_of(environment(status, "dev"), "wgpolicyk8s.io", "PolicyReport").to_owned();
    let findings = |status: &Value| environment(status, "dev")["findings"].clone();
    dev.kubectl(&["delete", "crd", "policyreports.wgpolicyk8s.io"]);
    watch.until("a kind that is gone is said to be", BACK, |status| state(status) == "not-installed");
    watch.until_true("its objects are gone with it", SOON, &[dev]);
    dev.install_crds(&crds("kyverno-1.18.2"));
    watch.until("a kind that is back is followed", SOON, |status| state(status) == "live");
    seeded.reports_are_gone();
    seeded.reports(Shape::Resource);
    watch.until_true("and counted", SOON, &[dev]);
    assert!(findings(watch.latest())["fail"].as_u64().is_some_and(|fail| fail > 0), "{}", watch.latest());

    // Policies too: their results are stale while the kind is gone, and count again with the same names.
    let before = findings(watch.latest());
    dev.kubectl(&["delete", "crd", "clusterpolicies.kyverno.io"]);
    watch.until("policies are gone", BACK, |status| state_of(environment(status, "dev"), "kyverno.io", "ClusterPolicy") == "not-installed");
    watch.until_true("and results of policies that do not exist are stale", SOON, &[dev]);
    dev.install_crds(&crds("kyverno-1.18.2"));
    seeded.policies();
    watch.until_true("policies are back", SOON, &[dev]);
    watch.until_true("with all their results", SOON, &[dev]);
    assert_eq!(findings(watch.latest()), before);
}
