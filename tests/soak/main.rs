//! Four clusters that live, and something going wrong every minute, for as long as somebody likes: whatever happens, policydeck comes back by itself,
//! its numbers are those of a recount, and it does not grow.
//!
//! `POLICYDECK_SOAK_MINUTES` says for how long, half a minute if nothing does; `POLICYDECK_SOAK_SEED` which faults in which order; `POLICYDECK_SOAK_REPORT` where a
//! report is written. Without the programs of real clusters the test says that it is left out.
#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, clippy::panic, reason = "tests: a surprise ends the test where it happens")]

#[path = "../support/mod.rs"]
mod support;

mod counted;
mod etcd;
mod faults;
mod ground;
mod plan;
mod report;
mod samples;
mod verdict;

use faults::{Deal, Fault, Played};
use ground::{Ground, Recovery};
use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, Fleet, Options, RUNNING, User, crds};
use support::product::Desk;
use support::proxy::Proxy;
use support::say;
use support::seed::{Seeded, Shape};

const NAMES: [&str; 4] = ["dev", "qac", "staging", "prod"];

/// Whose CRDs each of them has.
const RELEASES: [&str; 4] = ["kyverno-1.18.2", "kyverno-1.13.4", RUNNING, RUNNING];

/// Reports in each of them.
const SHAPES: [&[Shape]; 4] =
    [&[Shape::Resource, Shape::Foreign], &[Shape::Resource], &[Shape::OpenReports], &[Shape::Resource, Shape::Policy]];

/// The place of the one whose reports are in openreports.io.
const OPENREPORTS: usize = 2;

/// Until everything is well again. A watch that hangs alone takes 75 s to be found out.
const PATIENCE: Duration = Duration::from_secs(150);

/// How often each cluster is written to.
const BEAT: Duration = Duration::from_millis(500);

/// One fault, as it went.
struct Round {
    at: Duration,
    fault: Fault,
    place: String,
    what: String,
    /// From the first break to the last mend.
    lasted: Duration,
    /// What `status` said of environments meanwhile.
    said: String,
    /// From the last mend on.
    recovery: Option<Recovery>,
    /// From the last write until the numbers were a recount's.
    truth: Option<Duration>,
}

#[test]
fn churn_and_faults_for_a_while() {
    let plan = Plan::asked();
    let Some(fleet) = Fleet::start(&NAMES, Options::default()) else { return };
    say(format_args!("soak of {} s, POLICYDECK_SOAK_SEED={}", plan.length.as_secs(), plan.seed));
    let fill = |place| Mutex::new(seeded(&plan, &fleet, place));
    let lives = std::thread::scope(|scope| {
        let seeding = (0..NAMES.len()).map(|place| scope.spawn(move || fill(place))).collect::<Vec<_>>();
        seeding.into_iter().map(|thread| thread.join().expect("a cluster is filled")).collect::<Vec<_>>()
    });
    let proxies = NAMES.map(|name| Proxy::before(&fleet, name));
    let desk = Desk::new(&fleet, User::Viewer, "tier = \"normal\"").through(&fleet, &proxies.each_ref());
    let mut ground = Ground::new(&plan, &fleet, &lives, proxies.into(), desk);
    let begun = Instant::now();
    ground.recovered(PATIENCE).unwrap_or_else(|why| panic!("the first lists: {why}"));
    say(format_args!("all four are read {:.1} s after the start", begun.elapsed().as_secs_f32()));
    ground.assert_true().unwrap_or_else(|why| panic!("before any fault: {why}"));
    ground.remember();
    let mut soak = verdict::Soak::begin(&plan, &ground);
    let (end, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for life in &lives {
            scope.spawn(|| churn(life, &plan, &end, &written));
        }
        // Whatever happens in a round, the churn must end, or nobody leaves this scope.
        let rounds = catch_unwind(AssertUnwindSafe(|| rounds(&mut ground, &mut soak)));
        end.store(true, Ordering::Relaxed);
        if rounds.is_err() {
            ground.wrong.push("the rounds were not played to their end".to_owned());
        }
    });
    soak.findings_written = written.into_inner();
    soak.end(&plan, ground);
}

/// An admission controller that makes events: without one nothing shows how many requests were blocked. Its image names no release: the CRDs show it.
const ADMISSION: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: kyverno-admission-controller, namespace: kyverno, labels: \
    {app.kubernetes.io/part-of: kyverno, app.kubernetes.io/component: admission-controller}}, spec: {replicas: 0, selector: {matchLabels: {app: kyverno}}, \
    template: {metadata: {labels: {app: kyverno}}, spec: {containers: [{name: kyverno, image: \"reg.kyverno.io/kyverno/kyverno\"}]}}}}";

/// A cluster with the kinds of its release, what the viewers may do, and findings.
fn seeded<'a>(plan: &Plan, fleet: &'a Fleet, place: usize) -> Seeded<'a> {
    let cluster = fleet.cluster(NAMES[place]);
    cluster.install_crds(&crds(RELEASES[place]));
    if place == OPENREPORTS {
        cluster.install_crds(&crds("openreports"));
    }
    cluster.namespace("kyverno");
    cluster.apply(ADMISSION);
    give_rights(cluster);
    let mut seeded = Seeded::new(cluster, plan.namespaces, plan.workloads, plan.seed + place as u64);
    SHAPES[place].iter().for_each(|shape| seeded.reports(*shape));
    seeded.oddities();
    seeded
}

/// The role that policydeck ships, bound to its user.
fn give_rights(cluster: &Cluster) {
    cluster.apply(include_str!("../../assets/rbac/viewer.yaml"));
    let binding = |kind: &str, namespace: &str, role: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: {kind}, metadata: {{name: soak{namespace}}}, roleRef: {{apiGroup: \
             rbac.authorization.k8s.io, kind: {role}, name: policydeck-viewer}}, subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: viewers}}]}}\n"
        )
    };
    let bindings = binding("ClusterRoleBinding", "", "ClusterRole") + "---\n" + &binding("RoleBinding", ", namespace: kyverno", "Role");
    cluster.apply(&bindings);
}

/// Keeps a cluster alive until the end.
fn churn(life: &Mutex<Seeded<'_>>, plan: &Plan, end: &AtomicBool, written: &AtomicUsize) {
    while !end.load(Ordering::Relaxed) {
        let next = Instant::now() + BEAT;
        let taken = life.lock().unwrap_or_else(PoisonError::into_inner).live(plan.rate / 2);
        written.fetch_add(taken, Ordering::Relaxed);
        // However late it is, whoever wants the cluster to be still has a moment to say so.
        std::thread::sleep(next.saturating_duration_since(Instant::now()).max(Duration::from_millis(5)));
    }
}

/// A fault a round, until the time is over.
fn rounds(ground: &mut Ground<'_>, soak: &mut verdict::Soak) {
    let (start, length) = (Instant::now(), ground.plan.length);
    let (mut deal, mut thorough) = (Deal::default(), ground.plan.thorough);
    while start.elapsed() < length {
        let fault = deal.next(&mut ground.random, ground.plan.long);
        let next = Instant::now() + ground.plan.every;
        let round = play(ground, fault, start);
        say(format_args!("{}", report::line(&round)));
        soak.rounds.push(round);
        if start.elapsed() >= thorough && thorough < length {
            thorough += ground.plan.thorough;
            thoroughly(ground, start, soak);
        }
        ground.wander(next.min(start + length));
    }
    thoroughly(ground, start, soak);
}

fn play(ground: &mut Ground<'_>, fault: Fault, start: Instant) -> Round {
    ground.said();
    let (at, begun) = (start.elapsed(), Instant::now());
    let played = catch_unwind(AssertUnwindSafe(|| fault.play(ground)));
    let lasted = begun.elapsed();
    let Played { place, what } = played.unwrap_or_else(|_| {
        ground.wrong.push(format!("{fault:?} could not be played"));
        Played { place: "?".to_owned(), what: "could not be played".to_owned() }
    });
    let recovery = ground.recovered(PATIENCE);
    let said = ground.said();
    let truth = if recovery.is_ok() { ground.assert_true().map(|(took, _)| took) } else { Err(String::new()) };
    ground.may_forget.clear();
    for why in [recovery.as_ref().err(), truth.as_ref().err()].into_iter().flatten().filter(|why| !why.is_empty()) {
        say(format_args!("WRONG after {fault:?} ({what}): {why}"));
        ground.wrong.push(format!("after {fault:?} ({what}): {why}"));
    }
    Round { at, fault, place, what, lasted, said, recovery: recovery.ok(), truth: truth.ok() }
}

fn thoroughly(ground: &mut Ground<'_>, start: Instant, soak: &mut verdict::Soak) {
    let (at, begun) = (start.elapsed(), Instant::now());
    match ground.assert_thoroughly() {
        Ok(()) => {
            say(format_args!("{} min: the commands equal the recounts ({:.0} s)", at.as_secs() / 60, begun.elapsed().as_secs_f32()));
            soak.thorough += 1;
        }
        Err(why) => ground.wrong.push(why),
    }
}
