//! What single steps cost: reading, folding, asking, drawing. The bench of the whole is `fleet`.
//!
//! ```text
//! cargo bench --profile fast --bench micro               # all
//! cargo bench --profile fast --bench micro -- folding    # some
//! cargo test --bench micro                               # each once: do they still work?
//! ```
//! A change must cost the same whatever the size of the fleet: compare the lines of `folding::a_change`.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

#[path = "../tests/screens/deck.rs"]
mod deck;
#[path = "../tests/screens/fixture.rs"]
mod fixture;

use bytes::Bytes;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use policydeck::domain::{FindingResult, Tier};
use policydeck::fleet::delta::{Change, Delta, StreamEvent, StreamId};
use policydeck::fleet::filter::Filter;
use policydeck::fleet::query::FindingQuery;
use policydeck::fleet::state::{EnvironmentState, Identity};
use policydeck::kinds::KindId;
use policydeck::kinds::report::read_report;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// Results in a report, as a cluster with twenty policies has them.
const RESULTS: usize = 20;

/// Findings in a state; where nothing is measured, the smallest has to do.
fn sizes() -> &'static [usize] {
    if std::env::args().any(|argument| argument == "--bench") { &[10_000, 100_000, 1_000_000] } else { &[10_000] }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// The report of one Pod, as Kyverno writes it.
fn report(n: usize, fails: usize, seconds: usize) -> Bytes {
    let result = |policy: usize| {
        let result = if (n + policy) % 10 < fails { "fail" } else { "pass" };
        json!({"category": "Pod Security Standards (Baseline)", "message": format!("validation rule 'rule-{policy}' says {result}."),
            "policy": format!("policy-{policy:02}"), "properties": {"process": "background scan"}, "result": result, "rule": format!("rule-{policy}"),
            "scored": true, "severity": "medium", "source": "kyverno", "timestamp": {"nanos": 0, "seconds": seconds}})
    };
    let (uid, namespace) = (format!("00000000-0000-4000-8000-{n:012x}"), format!("namespace-{}", n % 50));
    let results: Vec<Value> = (0..RESULTS).map(result).collect();
    let report = json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport",
        "metadata": {"labels": {"app.kubernetes.io/managed-by": "kyverno"}, "name": uid, "namespace": namespace, "uid": format!("1{uid}")},
        "results": results, "scope": {"apiVersion": "v1", "kind": "Pod", "name": format!("pod-{n}"), "namespace": namespace, "uid": uid},
        "summary": {"error": 0, "fail": 1, "pass": 19, "skip": 0, "warn": 0}});
    Bytes::from(report.to_string())
}

fn reports() -> StreamId {
    StreamId { kind: KindId::find("wgpolicyk8s.io", "PolicyReport").unwrap(), namespace: "".into() }
}

fn empty() -> EnvironmentState {
    EnvironmentState::new(Identity { name: "dev".into(), tier: Tier::Normal, context: "dev".into(), namespaces: Vec::new().into() })
}

fn tell(state: &mut EnvironmentState, event: StreamEvent) {
    state.apply(Delta::Stream(reports(), event), now());
}

fn listed(objects: Vec<Bytes>) -> EnvironmentState {
    let mut state = empty();
    for event in [StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }, StreamEvent::ListEnded] {
        tell(&mut state, event);
    }
    state.settle();
    state
}

fn state(findings: usize) -> EnvironmentState {
    listed((0..findings / RESULTS).map(|n| report(n, 1, 1_700_000_000)).collect())
}

mod reading {
    use super::{Bencher, black_box, read_report, report};

    #[divan::bench]
    fn a_report(bencher: Bencher<'_, '_>) {
        let json = report(1, 1, 1_700_000_000);
        bencher.counter(divan::counter::BytesCount::of_slice(&json)).bench(|| read_report(black_box(&json)).unwrap().results.len());
    }
}

mod folding {
    use super::{Bencher, Bytes, Change, RESULTS, StreamEvent, listed, report, sizes, state, tell};

    #[divan::bench(args = sizes(), max_time = 5)]
    fn a_list(bencher: Bencher<'_, '_>, findings: usize) {
        let objects: Vec<Bytes> = (0..findings / RESULTS).map(|n| report(n, 1, 1_700_000_000)).collect();
        bencher.counter(divan::counter::ItemsCount::new(findings)).with_inputs(|| objects.clone()).bench_values(listed);
    }

    /// One report in turn says something else.
    #[divan::bench(args = sizes())]
    fn a_change(bencher: Bencher<'_, '_>, findings: usize) {
        let news = |n: usize| report(n % 500, 1 + n % 2, 1_700_000_000);
        changes(bencher, findings, news);
    }

    /// One report in turn comes with new times, as Kyverno's scan writes them.
    #[divan::bench(args = sizes())]
    fn times_alone(bencher: Bencher<'_, '_>, findings: usize) {
        changes(bencher, findings, |n| report(n % 500, 1, 1_700_000_000 + n));
    }

    fn changes(bencher: Bencher<'_, '_>, findings: usize, news: impl Fn(usize) -> Bytes) {
        let mut state = state(findings);
        let mut n = 0;
        let next = || {
            n += 1;
            news(n)
        };
        bencher.with_inputs(next).bench_local_values(|json| {
            tell(&mut state, StreamEvent::Changed(vec![(Change::Put, json)]));
            state.settle();
        });
    }

    #[divan::bench(args = sizes())]
    fn a_view(bencher: Bencher<'_, '_>, findings: usize) {
        let mut state = state(findings);
        bencher.bench_local(|| state.view().cells.len());
    }

    #[divan::bench(args = sizes(), max_time = 5)]
    fn tidying(bencher: Bencher<'_, '_>, findings: usize) {
        let mut state = state(findings);
        bencher.bench_local(|| state.tidy());
    }
}

mod asking {
    use super::{Bencher, Filter, FindingQuery, FindingResult, now, sizes, state};
    use policydeck::domain::Tier;

    /// All failures of one policy, sorted.
    #[divan::bench(args = sizes(), max_time = 5)]
    fn rows_of_a_policy(bencher: Bencher<'_, '_>, findings: usize) {
        let mut state = state(findings);
        let policy = state.view().cells.first().map(|cell| cell.key.clone());
        let query = FindingQuery { policy, results: vec![FindingResult::Fail], ..FindingQuery::default() };
        bencher.bench_local(|| state.findings(&query).len());
    }

    /// A filter on ten thousand rows.
    #[divan::bench]
    fn a_filter(bencher: Bencher<'_, '_>) {
        let rows = state(10_000).findings(&FindingQuery::default());
        let filter: Filter = "ns=namespace-1* sev>=medium !result=pass rule".parse().unwrap();
        bencher.bench_local(|| rows.iter().filter(|row| filter.matches_finding("dev", Tier::Normal, row, now())).count());
    }
}

mod drawing {
    use super::{Bencher, deck::Deck, fixture};

    const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

    #[divan::bench(args = SIZES)]
    fn the_matrix(bencher: Bencher<'_, '_>, size: (u16, u16)) {
        draws(bencher, Deck::new(fixture::sketch(), size));
    }

    #[divan::bench(args = SIZES)]
    fn rows(bencher: Bencher<'_, '_>, size: (u16, u16)) {
        draws(bencher, Deck::new(fixture::sketch(), size).keys("enter"));
    }

    fn draws(bencher: Bencher<'_, '_>, mut deck: Deck) {
        bencher.bench_local(|| deck.terminal.draw(|frame| deck.app.draw(frame)).unwrap().area);
    }
}

/// Ninety days of four environments with two hundred policies, as they are on record after rolling up.
mod history {
    use super::{Bencher, Timestamp, black_box};
    use policydeck::domain::history::{EnvironmentKey, Interval, News, Note, PolicyState, Watched};
    use policydeck::domain::{Mode, PolicyId, PolicyKey, Revision, Tally};
    use policydeck::files::history::History;
    use std::path::PathBuf;
    use std::sync::{Arc, OnceLock};
    use tempfile::TempDir;

    const HOUR: i64 = 3_600;
    const DAYS: i64 = 90;

    fn policies() -> usize {
        if std::env::args().any(|argument| argument == "--bench") { 200 } else { 10 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    fn environment(n: usize) -> EnvironmentKey {
        EnvironmentKey { name: format!("environment-{n}"), cluster_uid: format!("uid-{n}") }
    }

    fn policy(n: usize) -> PolicyKey {
        let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: format!("policy-{n:03}") };
        PolicyKey { source: "kyverno".into(), id: Arc::new(id) }
    }

    /// One sample a day, then one an hour for two weeks, then one every five minutes for a day.
    fn samples() -> Vec<i64> {
        let days = (0..DAYS - 15).map(|day| day * 24 * HOUR);
        let hours = ((DAYS - 15) * 24..(DAYS - 1) * 24).map(|hour| hour * HOUR);
        let minutes = ((DAYS - 1) * 288..DAYS * 288).map(|beat| beat * 300);
        days.chain(hours).chain(minutes).collect()
    }

    fn fill(history: &mut History) {
        for n in 0..4 {
            let environment = Arc::new(environment(n));
            let note = |at, news| Note { environment: Arc::clone(&environment), at, news };
            for (index, second) in samples().into_iter().enumerate() {
                let tally = |n: usize| Tally { pass: 900, fail: ((index + n) % 7) as u64, ..Tally::default() };
                let state = |n: usize| PolicyState {
                    made: policydeck::domain::history::Made::default(),
                    mode: if (index / 40 + n).is_multiple_of(2) { Mode::Audit } else { Mode::Enforce },
                    ready: Some(true),
                    revision: Some(Revision(format!("{:012x}", index / 80))),
                };
                let states = (0..policies()).map(|n| (policy(n), state(n))).collect();
                let tallies = (0..policies()).map(|n| (policy(n), tally(n))).collect();
                let watched = Watched::ALL.map(|family| (family, Interval { from: at(second), to: at(second + 5 * HOUR) }));
                let notes = [
                    note(at(second), News::Policies { states, whole: true, seen: true }),
                    note(at(second), News::Tallies(tallies)),
                    note(at(second), News::Watched(watched.into())),
                ];
                history.take("bench", &notes).unwrap();
            }
        }
    }

    fn file() -> &'static PathBuf {
        static FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
        let (_, path) = FILE.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = History::path(folder.path());
            fill(&mut History::open(&path).unwrap());
            (folder, path)
        });
        path
    }

    fn window() -> Interval {
        Interval { from: at(0), to: at(DAYS * 24 * HOUR) }
    }

    /// The limit is 100 ms, opening the file included.
    #[divan::bench]
    fn opening_a_timeline(bencher: Bencher<'_, '_>) {
        let path = file();
        bencher.bench_local(|| {
            let history = History::open_existing(path).unwrap().unwrap();
            history.timeline(black_box(&policy(7)), window(), 300, window().to).unwrap()
        });
    }

    #[divan::bench]
    fn a_standing(bencher: Bencher<'_, '_>) {
        let history = History::open_existing(file()).unwrap().unwrap();
        bencher.bench_local(|| history.standing(black_box(&environment(2)), &policy(7), None, window().to).unwrap());
    }

    #[divan::bench]
    fn all_policies(bencher: Bencher<'_, '_>) {
        let history = History::open_existing(file()).unwrap().unwrap();
        bencher.bench_local(|| history.overview(black_box(window()), window().to).unwrap().len());
    }

    /// What a look takes that found ten policies changed.
    #[divan::bench]
    fn taking_notes_in(bencher: Bencher<'_, '_>) {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(&History::path(folder.path())).unwrap();
        let environment = Arc::new(environment(0));
        let mut second = 0_i64;
        bencher.bench_local(|| {
            second += 15;
            let tally = |n: usize| (policy(n), Tally { fail: second.unsigned_abs(), ..Tally::default() });
            let note = Note { environment: Arc::clone(&environment), at: at(second), news: News::Tallies((0..10).map(tally).collect()) };
            history.take("bench", &[note]).unwrap()
        });
    }
}
