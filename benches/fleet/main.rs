//! The bench of the whole: policydeck's screen on real API servers with a million findings, beside bare clients that throw the same bytes away.
//!
//! Machines are noisy, so nothing here is judged by its seconds alone: each number of time stands beside what a bare client needs for the same
//! bytes on the same servers in the same run, and limits are limits of ratios. Memory, latency and load at rest are absolute.
//!
//! ```text
//! cargo bench --profile fast --bench fleet                            # 4 clusters, 1,000,000 findings: the limits
//! cargo bench --profile fast --bench fleet -- --growth                # the same at other sizes: the curves in docs/speed.md; with --runs, then the limits
//! cargo bench --profile fast --bench fleet -- --reports 200 --quick   # a few seconds, without limits: does it still work?
//! ```
//! With `--again` it waits after each run and measures again with every line on its standard input, until that ends: build another policydeck meanwhile.
//! Needs the programs of `tests/envtest`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_sign_loss,
    reason = "a bench talks, and a surprise ends it"
)]
#![expect(clippy::indexing_slicing, reason = "a bench knows its own tables")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod bare;
mod echo;
mod outcome;
mod process;
mod screen;
mod seed;

use bare::Bare;
use echo::Echo;
use outcome::Outcome;
use screen::Screen;
use seed::{Churn, Filled, RESULTS, SENTINEL, set_sentinel};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, Fleet, Options, crds, kubectl};
use support::product::Desk;
use support::seed::Random;

/// The clusters that are filled, and a small one to start up on.
const NAMES: [&str; 4] = ["dev", "qac", "staging", "production"];
const SMALL: &str = "small";
/// What tells which Kyverno runs: without it the small cluster would be asked more than real ones are.
const KYVERNO: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: kyverno}}\n---\n\
    {apiVersion: v1, kind: ConfigMap, metadata: {name: kyverno, namespace: kyverno}, data: {resourceFilters: '[*/*,kyverno,*]'}}\n---\n\
    {apiVersion: apps/v1, kind: Deployment, metadata: {name: kyverno-admission-controller, namespace: kyverno, \
    labels: {app.kubernetes.io/component: admission-controller, app.kubernetes.io/part-of: kyverno}}, spec: {selector: {matchLabels: {a: b}}, \
    template: {metadata: {labels: {a: b}}, spec: {containers: [{name: kyverno, image: 'reg.kyverno.io/kyverno/kyverno:v1.19.1'}]}}}}";
const MINUTE: Duration = Duration::from_secs(60);

/// What is measured, as the command line says.
struct Plan {
    /// Reports in each cluster; each has twenty findings.
    reports: usize,
    environments: usize,
    runs: usize,
    effort: Effort,
    json: Option<PathBuf>,
    /// Measure again with every line on standard input.
    again: bool,
}

/// How long is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Long enough to hold against limits.
    Full,
    /// At many sizes, for curves.
    Growth,
    /// Only to see that it works.
    Quick,
}

impl Effort {
    fn pick<T>(self, full: T, growth: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Growth => growth,
            Self::Quick => quick,
        }
    }

    fn seconds(self, full: u64, growth: u64, quick: u64) -> Duration {
        Duration::from_secs(self.pick(full, growth, quick))
    }
}

/// Environments, and reports in each of them: 62,000, 250,000 and a million findings over 4, 16 and 40 environments, smaller clusters first.
const SIZES: [(usize, usize); 9] = [(40, 78), (16, 195), (40, 312), (4, 781), (16, 781), (40, 1_250), (4, 3_125), (16, 3_125), (4, 12_500)];

impl Plan {
    fn read(args: &[String]) -> Self {
        let after = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
        let number = |name: &str, otherwise| after(name).map_or(otherwise, |text| text.parse().expect("a number"));
        let has = |name: &str| args.iter().any(|arg| arg == name);
        let effort = if has("--growth") {
            Effort::Growth
        } else if has("--quick") {
            Effort::Quick
        } else {
            Effort::Full
        };
        Self {
            reports: number("--reports", 12_500),
            environments: number("--environments", NAMES.len()),
            runs: number("--runs", usize::from(effort != Effort::Growth)),
            effort,
            json: after("--json").map(PathBuf::from),
            again: has("--again"),
        }
    }
}

/// Four filled clusters.
struct World {
    fleet: Fleet,
    filled: Vec<Filled>,
    /// Failures of the sentinel; each change makes another number.
    sentinel: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "bare") {
        return bare::main(&args[1..]);
    }
    let mut plan = Plan::read(&args);
    let Some(fleet) = Fleet::start(&[&NAMES[..], &[SMALL]].concat(), Options { audit: true, ..Options::default() }) else { return };
    let mut world = World::new(fleet);
    println!("{}\ncommit {}", process::machine(), commit());
    let mut runs = Vec::new();
    let mut met = true;
    if plan.effort == Effort::Growth {
        for (environments, reports) in SIZES {
            let mut outcome = world.measure(&Plan { reports, environments, ..Plan::read(&args) });
            outcome.note("environments", "environments", environments as f64, "");
            outcome.note("findings", "findings", (environments * reports * RESULTS) as f64, "");
            println!("\n{}", outcome.table(false));
            runs.push(outcome.json());
        }
        plan.effort = Effort::Full;
    }
    let grown = runs.len();
    world.fill(plan.reports);
    while runs.len() - grown < plan.runs || (plan.again && std::io::stdin().read_line(&mut String::new()).is_ok_and(|read| read > 0)) {
        let outcome = world.measure(&plan);
        println!("\nrun {}\n{}", runs.len() - grown + 1, outcome.table(plan.effort == Effort::Full));
        met &= outcome.is_met();
        runs.push(outcome.json());
    }
    let document = json!({"apiVersion": "policydeck.dev/v1", "kind": "Bench", "commit": commit(), "machine": process::machine(),
        "reportsPerCluster": plan.reports, "environments": plan.environments, "runs": runs});
    match &plan.json {
        Some(path) => std::fs::write(path, format!("{document:#}\n")).expect("the file can be written"),
        None => println!("{document}"),
    }
    if plan.effort == Effort::Full && plan.runs > 0 {
        println!("{}", if met { "every limit is met" } else { "not every limit is met" });
    }
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]).output();
    output.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

impl World {
    fn new(fleet: Fleet) -> Self {
        let fill = |(n, cluster): (usize, &Cluster)| {
            cluster.install_crds(&crds(support::cluster::RUNNING));
            Filled::new(cluster, 7 + n as u64)
        };
        let filled = fleet.clusters().iter().take(NAMES.len()).enumerate().map(fill).collect();
        let small = fleet.cluster(SMALL);
        small.api.wait(fill((NAMES.len(), small)).grow(small, 50));
        small.apply(KYVERNO);
        Self { fleet, filled, sentinel: 0 }
    }

    fn clusters(&self) -> &[Cluster] {
        &self.fleet.clusters()[..NAMES.len()]
    }

    /// Brings every cluster to `reports` reports.
    fn fill(&mut self, reports: usize) {
        let start = Instant::now();
        let had = self.filled.first().map_or(0, |filled| filled.reports.len());
        let api = self.fleet.clusters()[0].api.clone();
        let all = self.fleet.clusters().iter().zip(self.filled.iter_mut()).map(|(cluster, filled)| filled.grow(cluster, reports));
        api.wait(futures::future::join_all(all));
        if had < reports {
            println!("seeded {} reports a cluster in {:.0} s", reports - had, start.elapsed().as_secs_f64());
        }
    }

    /// Environments over the clusters in turn; more environments than clusters are further views of the same clusters.
    fn desk(&self, environments: usize) -> Desk {
        let mut config = String::new();
        for n in 0..environments {
            let context = NAMES[n % NAMES.len()];
            let name = if n < NAMES.len() { context.to_owned() } else { format!("{context}-{}", n / NAMES.len()) };
            let _ = writeln!(config, "[[environments]]\nname = \"{name}\"\ncontext = \"{context}\"\nsteps = [{{ mode = \"audit\" }}]");
        }
        Desk::with_config(&self.fleet, &config)
    }

    fn measure(&mut self, plan: &Plan) -> Outcome {
        self.fill(plan.reports);
        // The API servers fill their watch caches, and their garbage collectors calm down.
        std::thread::sleep(plan.effort.seconds(5, 5, 1));
        let contexts: Vec<String> = (0..plan.environments).map(|n| NAMES[n % NAMES.len()].to_owned()).collect();
        let (before, after) = (self.bare(&contexts), |world: &Self| world.bare(&contexts));
        let mut outcome = Outcome::default();
        let faults: Vec<u64> = self.filled.iter().map(|filled| filled.faults().0).collect();
        let desk = self.desk(plan.environments);
        let (totals, tables) = totals(&self.fleet.kubeconfig(), &contexts, &desk, &faults, plan);
        let asked: usize = self.requests();
        let mut screen = Screen::start(&desk);
        let seconds = |at: Instant| at.duration_since(screen.started).as_secs_f64();
        let complete = seconds(screen.until("all live", MINUTE * 5, |text| is_live(text, plan.environments)));
        let cpu = process::cpu(&screen.pid());
        let requests = self.requests() - asked;
        // The bare clients run before and after, and the mean counts: whatever else the machine does then meets both.
        let after = if plan.effort == Effort::Full { after(self) } else { before.clone() };
        let mean = |name: &'static str, of: fn(&Bare) -> f64| f64::midpoint(of(&before[name]), of(&after[name]));
        let faster = if mean("lists", |bare| bare.wall) < mean("streams", |bare| bare.wall) { "lists" } else { "streams" };
        std::thread::sleep(plan.effort.seconds(10, 5, 1));
        let (steady, peak) = process::memory(&screen.pid());
        outcome.against("totals", "totals on the screen, median", totals, ("tables", tables), 1.3);
        outcome.against("complete", "complete picture", complete, (faster, mean(faster, |bare| bare.wall)), 1.15);
        outcome.against("cpu", "CPU until complete", cpu, (faster, mean(faster, |bare| bare.cpu)), 1.5);
        outcome.note("bare streams", "bare streams", mean("streams", |bare| bare.wall), "s");
        outcome.note("bare lists", "bare lists", mean("lists", |bare| bare.wall), "s");
        outcome.note("bare streams cpu", "CPU of bare streams", mean("streams", |bare| bare.cpu), "s");
        outcome.note("bare lists cpu", "CPU of bare lists", mean("lists", |bare| bare.cpu), "s");
        outcome.note("bytes", "bytes of the reports", before[faster].bytes as f64 / 1e6, "MB");
        outcome.note("requests", "requests until complete", requests as f64, "");
        outcome.limited("peak", "peak memory", peak, "MiB", 150.0);
        outcome.limited("steady", "steady memory", steady, "MiB", 100.0);
        self.under_churn(&mut screen, &mut outcome, plan);
        drop(screen);
        if plan.effort != Effort::Growth {
            start_up(&self.fleet, &mut outcome, plan);
        }
        outcome
    }

    fn bare(&self, contexts: &[String]) -> BTreeMap<&'static str, Bare> {
        let kubeconfig = self.fleet.kubeconfig();
        bare::Ask::ALL.iter().map(|(_, name)| (*name, bare::run(name, &kubeconfig, contexts))).collect()
    }

    /// How much clients other than this bench and the servers themselves have asked.
    fn requests(&self) -> usize {
        self.clusters().iter().map(|cluster| cluster.requests("policydeck").len()).sum()
    }

    fn under_churn(&mut self, screen: &mut Screen, outcome: &mut Outcome, plan: &Plan) {
        let pid = screen.pid();
        let churn = Churn::start(self.clusters(), &self.filled, 2_000);
        let (keys, changes) = plan.effort.pick((300_u16, 60), (120, 30), (20, 5));
        let (start, cpu, (bytes, _)) = (Instant::now(), process::cpu(&pid), screen.received());
        let (latencies, echoes) = key_to_frame(screen, keys);
        let window = start.elapsed().as_secs_f64();
        let (received, load) = (screen.received().0 - bytes, (process::cpu(&pid) - cpu) / window);
        outcome.limited("key p50", "key to frame under churn, p50", percentile(&latencies, 0.5), "ms", 16.0);
        outcome.limited("key p99", "key to frame under churn, p99", percentile(&latencies, 0.99), "ms", 16.0);
        outcome.note("echo p50", "bare echo of a key, p50", percentile(&echoes, 0.5), "ms");
        outcome.note("echo p99", "bare echo of a key, p99", percentile(&echoes, 0.99), "ms");
        let ages = self.ages(screen, changes);
        outcome.note("age p50", "age of data on the screen, p50", percentile(&ages, 0.5), "ms");
        outcome.limited("age p99", "age of data on the screen, p99", percentile(&ages, 0.99), "ms", 100.0);
        let quiet = process::load(&pid, plan.effort.seconds(10, 10, 1));
        outcome.note("update", "CPU for each finding rewritten", quiet / 2_000.0 * 1e6, "µs");
        outcome.note("key", "CPU for each key", (load - quiet).max(0.0) * window / f64::from(keys) * 1000.0, "ms");
        outcome.note("churn", "findings rewritten a second", churn.stop(&mut self.filled), "");
        outcome.note("churn cpu", "CPU under churn and keys", load * 100.0, "%");
        outcome.note("terminal", "bytes to the terminal a second", received as f64 / window / 1000.0, "kB");
        let (now, peak) = process::memory(&pid);
        outcome.limited("churned", "steady memory after churn", now, "MiB", 100.0);
        outcome.limited("peak churned", "peak memory with churn", peak, "MiB", 150.0);
        std::thread::sleep(plan.effort.seconds(12, 11, 1));
        let idle = process::load(&pid, plan.effort.seconds(30, 15, 5));
        outcome.limited("idle", "CPU at rest", idle * 100.0, "%", 1.0);
    }

    /// How long after the API server's answer a change stands on the screen, in milliseconds.
    fn ages(&mut self, screen: &mut Screen, changes: usize) -> Vec<f64> {
        screen.keys(&format!("/policy={SENTINEL}\r"));
        let row = |text: &str| text.lines().find(|line| line.contains(&format!("▌{SENTINEL}"))).map(str::to_owned);
        screen.until("the sentinel's row", MINUTE, |text| row(text).is_some());
        let cluster = &self.fleet.clusters()[0];
        let mut ages = Vec::new();
        let mut random = Random(5);
        for _ in 0..changes {
            self.sentinel = self.sentinel % (RESULTS - 1) + 1;
            let answered = set_sentinel(cluster, self.sentinel);
            let first = |row: String| row.split_whitespace().find_map(|word| word.parse::<usize>().ok());
            let shown = screen.until("the change is shown", MINUTE, |text| row(text).and_then(first) == Some(self.sentinel));
            ages.push(shown.saturating_duration_since(answered).as_secs_f64() * 1000.0);
            std::thread::sleep(Duration::from_millis(50 + random.below(100)));
        }
        screen.keys("\x1b");
        // As it was, so that the totals of the next run are known.
        self.sentinel = 0;
        set_sentinel(cluster, 0);
        ages
    }
}

/// How long until the totals stand on the screen, and bare Tables beside it. Both take less than half a second, in which a garbage collection in one
/// API server is a lot: they take turns, and the medians count.
fn totals(kubeconfig: &Path, contexts: &[String], desk: &Desk, faults: &[u64], plan: &Plan) -> (f64, f64) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.effort.pick(9, 3, 1) {
        theirs.push(bare::run("tables", kubeconfig, contexts).wall);
        let screen = Screen::start(desk);
        let shown = screen.until("totals on the screen", MINUTE * 3, |text| shows_totals(text, faults, contexts.len()));
        ours.push(shown.duration_since(screen.started).as_secs_f64());
        drop(screen);
        // The servers notice that nobody wants the rest any more.
        std::thread::sleep(Duration::from_millis(500));
    }
    theirs.push(bare::run("tables", kubeconfig, contexts).wall);
    (percentile(&ours, 0.5), percentile(&theirs, 0.5))
}

/// The line of totals holds each environment's number of failures. Where there are more environments than clusters, those in sight.
fn shows_totals(text: &str, faults: &[u64], environments: usize) -> bool {
    let in_sight = if environments > NAMES.len() { 2 } else { environments };
    let line = text.lines().find(|line| line.starts_with(" all "));
    line.is_some_and(|line| faults.iter().take(in_sight).all(|faults| line.contains(&grouped(*faults))))
}

/// `20134` as `20 134`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// The header says that every environment is live, one by one or together.
fn is_live(text: &str, environments: usize) -> bool {
    let header = text.lines().next().unwrap_or_default();
    let each = header.matches("● live").count().max(header.matches('●').count());
    header.contains(&format!("{environments} ● live")) || each == environments
}

/// Presses a key `count` times at odd moments; milliseconds until the cursor is on another policy (rows may change places meanwhile), and until a
/// bare echo has come back, in turns.
fn key_to_frame(screen: &mut Screen, count: u16) -> (Vec<f64>, Vec<f64>) {
    let marked = |text: &str| {
        let mut lines = text.lines().enumerate();
        lines.find_map(|(place, line)| Some((place, line.strip_prefix('▌')?.split_whitespace().next()?.to_owned())))
    };
    let mut random = Random(3);
    let mut echo = Echo::start();
    let (mut all, mut echoes) = (Vec::new(), Vec::new());
    let mut down = true;
    for _ in 0..count {
        let Some((place, policy)) = marked(&screen.text()) else { panic!("no cursor on the screen:\n{}", screen.text()) };
        // The first of some twenty policies stands on the fifth line.
        down = place < 6 || (down && place < 12);
        let pressed = screen.keys(if down { "j" } else { "k" });
        let shown = screen.until("the cursor moves", MINUTE, |text| marked(text).is_some_and(|(_, now)| now != policy));
        all.push(shown.saturating_duration_since(pressed).as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(20 + random.below(60)));
        echoes.push(echo.press());
        std::thread::sleep(Duration::from_millis(10 + random.below(20)));
    }
    (all, echoes)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// What a command line waits for: `--version`, and the status of one small cluster beside kubectl.
fn start_up(fleet: &Fleet, outcome: &mut Outcome, plan: &Plan) {
    let desk = Desk::with_config(fleet, "[[environments]]\nname = \"small\"\ncontext = \"small\"\nsteps = [{ mode = \"audit\" }]\n");
    let runs = plan.effort.pick(21, 0, 3);
    let mut version = Vec::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let timed = |command: &mut Command| {
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
        assert!(status.success(), "{command:?}: {status}");
        start.elapsed().as_secs_f64()
    };
    // Clusters in use are written to all the time, and what was just written must be in what is read: API servers wait for it.
    let mut writes = 0;
    let mut write = || {
        writes += 1;
        let body = json!({"data": {"writes": writes.to_string()}});
        fleet.cluster(SMALL).api.merge_patch("/api/v1/namespaces/kyverno/configmaps/kyverno", &body).expect("an answer").ok();
    };
    for _ in 0..runs {
        version.push(timed(Command::new(env!("CARGO_BIN_EXE_policydeck")).arg("--version")) * 1000.0);
        write();
        ours.push(timed(&mut desk.command(&["status"])));
        write();
        theirs.push(timed(kubectl().arg("--kubeconfig").arg(fleet.kubeconfig()).env("HOME", &fleet.run).args([
            "--context",
            SMALL,
            "get",
            "polr",
            "-A",
        ])));
    }
    outcome.limited("version", "policydeck --version, median", percentile(&version, 0.5), "ms", 10.0);
    outcome.against(
        "status",
        "policydeck status, small cluster",
        percentile(&ours, 0.5),
        ("kubectl get polr -A", percentile(&theirs, 0.5)),
        1.2,
    );
}
