//! What recording costs, measured: the looks at the views and the writing of what they found, on one thread.
//!
//! ```text
//! cargo test --profile fast --lib recorder::tests::cost -- --ignored --nocapture
//! ```
//! Two minutes of four environments with two hundred policies each, in which 2,000 findings change every second: a fifth of all policies has other
//! numbers at every look, a change of a mode comes every five seconds. The minutes are played as fast as they go, and each piece
//! of work is timed by the clock: the wait for the disk counts as work, so that the share of a core is less than what is printed.

use super::super::LOOK;
use super::super::watcher::{Moment, Watcher};
use crate::domain::history::Note;
use crate::domain::{Mode, Revision, Sync, Tally};
use crate::files::history::History;
use crate::fleet::view::{EnvironmentView, KindView, PolicyCell};
use crate::testing::fleet;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ENVIRONMENTS: usize = 4;
const POLICIES: usize = 200;
const MINUTES: u32 = 2;
/// Findings that change in an environment between two looks: 2,000 a second over four environments and four looks.
const CHANGED: u64 = 125;

fn view(environment: usize, cells: Vec<PolicyCell>, generation: u64) -> EnvironmentView {
    let kind = |group, kind| KindView { group, kind, sync: Sync::Live, objects: 1, essential: true, left_out: 0 };
    let kinds = vec![
        kind("kyverno.io", "ClusterPolicy"),
        kind("wgpolicyk8s.io", "PolicyReport"),
        kind("", "Event"),
        kind("kyverno.io", "PolicyException"),
    ];
    let name = format!("environment-{environment}");
    EnvironmentView {
        cluster_uid: Some(format!("uid-{environment}").into()),
        kinds,
        generation,
        content: 0,
        ..fleet::environment(&name, cells)
    }
}

/// The policies of one environment as they are at a look; a change lands on each policy in turn.
fn cells(look: u64) -> Vec<PolicyCell> {
    let cell = |n: usize| {
        let met = (look * CHANGED + n as u64 * 3) / POLICIES as u64;
        let enforced = n == 0 && (look / 20) % 2 == 1;
        let mode = if enforced { Mode::Enforce } else { Mode::Audit };
        let owners = Tally { pass: 1_200, fail: met % 50, ..Tally::default() };
        PolicyCell { revision: Some(Revision("r".into())), owners, ..fleet::cell(&format!("policy-{n:03}"), mode) }
    };
    (0..POLICIES).map(cell).collect()
}

#[test]
#[ignore = "a measurement: it needs a machine that does nothing else"]
fn what_recording_costs() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(&History::path(folder.path())).unwrap();
    let mut watchers: Vec<Watcher> = (0..ENVIRONMENTS).map(|_| Watcher::default()).collect();
    let looks = u64::from(MINUTES) * 60 * 4;
    let (mut looking, mut writing, mut notes) = (Duration::ZERO, Duration::ZERO, 0);
    for look in 0..looks {
        let run = LOOK * u32::try_from(look).unwrap();
        let now = Moment { wall: Timestamp::from_second(1_760_000_000).unwrap() + run, run };
        let mut batch = Vec::new();
        for (environment, watcher) in watchers.iter_mut().enumerate() {
            let view = view(environment, cells(look), look + 1);
            let begun = Instant::now();
            let found = watcher.look(&view, now);
            let key = watcher.key().cloned().unwrap();
            batch.extend(found.news.into_iter().map(|(at, news)| Note { environment: Arc::clone(&key), at, news }));
            looking += begun.elapsed();
        }
        if !batch.is_empty() {
            let begun = Instant::now();
            notes += batch.len();
            history.take("cost", &batch).unwrap();
            writing += begun.elapsed();
        }
    }
    let share = |cost: Duration| cost.as_secs_f64() / (f64::from(MINUTES) * 60.0) * 100.0;
    let bytes: u64 = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.metadata().unwrap().len()).sum();
    println!(
        "recording {} policies, 2,000 findings a second: looks {:.2} % of a core, writing {:.2} %, together {:.2} %; {notes} notes and {} kB in {MINUTES} minutes",
        ENVIRONMENTS * POLICIES,
        share(looking),
        share(writing),
        share(looking + writing),
        bytes / 1_000
    );
    assert!(share(looking + writing) < 1.0, "the limit is one per cent of a core");
}
