//! What is measured from beginning to end, and what of it may not be.

use crate::Round;
use crate::counted::Counted;
use crate::ground::Ground;
use crate::plan::Plan;
use crate::report;
use crate::samples::{Held, Sample, Sampler, quarters};
use crate::support::proxy::Proxy;
use std::time::{Duration, Instant};

/// Memory of the last quarter over that of the second: so much more, and so many MB.
const GROWTH: (f64, f64) = (1.15, 8.0);

/// Files and threads more than before that may be open at the end: connections that are kept for the next request, threads that wait for work.
const FILES: f64 = 16.0;
const THREADS: f64 = 4.0;

/// Until what faults left open is closed: connections nobody uses are kept for 90 s.
const CLOSED: Duration = Duration::from_secs(120);

/// Requests of one program to one environment: a second, and for each fault.
const REQUESTS: (u64, usize) = (1, 150);

pub(crate) const PROGRAMS: [&str; 2] = ["screen", "status"];

pub(crate) struct Soak {
    sampler: Sampler,
    begun: Instant,
    before: [Held; 2],
    pub(crate) rounds: Vec<Round>,
    pub(crate) findings_written: usize,
    /// How often the commands and the acceptance recount were compared.
    pub(crate) thorough: usize,
}

/// Everything that a report needs.
pub(crate) struct Outcome<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) lasted: Duration,
    pub(crate) rounds: Vec<Round>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) before: [Held; 2],
    pub(crate) after: [Held; 2],
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    pub(crate) findings_written: usize,
    pub(crate) thorough: usize,
    /// By environment; empty if the numbers were not true at the end.
    pub(crate) counts: Vec<(String, Counted)>,
    pub(crate) wrong: Vec<String>,
}

impl Soak {
    pub(crate) fn begin(plan: &Plan, ground: &Ground<'_>) -> Self {
        let pids = pids(ground);
        let sampler = Sampler::start(pids, plan.sample);
        let (begun, before) = (Instant::now(), held(pids));
        Self { sampler, begun, before, rounds: Vec::new(), findings_written: 0, thorough: 0 }
    }

    /// The last comparison, the measure of everything, the report, and the end of both programs; panics if anything was wrong.
    pub(crate) fn end(self, plan: &Plan, mut ground: Ground<'_>) {
        let (lasted, samples) = (self.begun.elapsed(), self.sampler.samples());
        let counts = match ground.assert_true() {
            Ok((_, counts)) => ground.fleet.clusters().iter().map(|c| c.name.clone()).zip(counts).collect(),
            Err(why) => {
                ground.wrong.push(format!("at the end: {why}"));
                Vec::new()
            }
        };
        let after = self.closed(pids(&ground));
        let mut outcome = Outcome {
            plan,
            lasted,
            rounds: self.rounds,
            samples,
            before: self.before,
            after,
            requests: ground.proxies.iter().map(Proxy::mark).sum(),
            connections: ground.proxies.iter().map(Proxy::connections).sum(),
            findings_written: self.findings_written,
            thorough: self.thorough,
            counts,
            wrong: std::mem::take(&mut ground.wrong),
        };
        outcome.wrong.extend(words_of_the_log(&ground));
        outcome.wrong.extend(left(ground));
        outcome.judge();
        report::write(&outcome);
        assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    }

    /// Waits, not for ever, until files and threads are down to what they were.
    fn closed(&self, pids: [u32; 2]) -> [Held; 2] {
        let start = Instant::now();
        loop {
            let after = held(pids);
            let closed = after.iter().zip(&self.before).all(|(after, before)| too_many(before, after).is_none());
            if closed || start.elapsed() > CLOSED {
                return after;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Outcome<'_> {
    fn judge(&mut self) {
        for (which, program) in PROGRAMS.iter().enumerate() {
            let memory = self.samples.iter().map(|sample| sample.held[which].memory).collect::<Vec<_>>();
            let (second, last) = quarters(&memory);
            if last > second * GROWTH.0 + GROWTH.1 {
                self.wrong.push(format!("the {program}'s memory grows: {second:.1} MB in the second quarter, {last:.1} MB in the last"));
            }
            if let Some(why) = too_many(&self.before[which], &self.after[which]) {
                self.wrong.push(format!("{program}: {why}"));
            }
        }
        let most = self.most_requests();
        if self.requests > most {
            self.wrong.push(format!("{} requests, {most} at most", self.requests));
        }
    }

    pub(crate) fn most_requests(&self) -> usize {
        let seconds = usize::try_from(REQUESTS.0 * self.lasted.as_secs()).expect("a number of requests");
        // Both programs, four environments; a fault is about one of them, or about all and short.
        8 * (seconds + REQUESTS.1 * self.rounds.len())
    }
}

fn too_many(before: &Held, after: &Held) -> Option<String> {
    let table = [("open files", before.files, after.files, FILES), ("threads", before.threads, after.threads, THREADS)];
    let (what, before, after, _) = table.into_iter().find(|(_, before, after, more)| *after > before + more)?;
    Some(format!("{before} {what} before, {after} at the end"))
}

fn pids(ground: &Ground<'_>) -> [u32; 2] {
    let screen = ground.screen.pid().as_raw_nonzero().get().unsigned_abs();
    [screen, ground.watch.child.id()]
}

fn held(pids: [u32; 2]) -> [Held; 2] {
    pids.map(|pid| Held::by(pid).unwrap_or_else(|| panic!("policydeck is gone (process {pid})")))
}

/// Lines of the log that speak of a panic, or of an error of ours (the client library logs every request that fails as one).
fn words_of_the_log(ground: &Ground<'_>) -> Vec<String> {
    let folder = ground.desk.home().join("state/policydeck/logs");
    let logs = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let text = logs.filter_map(|log| std::fs::read_to_string(log.ok()?.path()).ok()).collect::<String>();
    let bad = text.lines().filter(|line| line.contains("panic") || line.contains(" ERROR policydeck"));
    let mut bad = bad.map(|line| format!("the log: {line}")).collect::<Vec<_>>();
    bad.truncate(20);
    bad
}

/// Leaves the screen with its key and ends the status; what was not as it should be.
fn left(mut ground: Ground<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Ok(Some(status)) = ground.watch.child.try_wait() {
        wrong.push(format!("`status --watch` ended by itself: {status}"));
    }
    ground.screen.keys(":q\r");
    let end = ground.screen.ended();
    if end.status != 0 {
        wrong.push(format!("the screen ended with {}:\n{}", end.status, end.screen));
    }
    wrong
}
