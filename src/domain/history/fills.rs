//! What was refused while nobody watched, as counters that somebody else collected tell it.
//!
//! Pure: when processes were looked at and what their counters said become stretches of time with a number each, and such stretches are
//! brought together with what a recorder saw. Counters are trusted only as far as they reach: where a process may have lived without being
//! looked at, something may have been refused that no counter tells, and that time stays a gap.

use super::{Interval, cover, gaps};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A stretch of time that nobody watched, with what was refused in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Fill {
    /// The stretch.
    #[serde(flatten)]
    pub interval: Interval,
    /// How many requests were refused in it; when exactly is not known.
    pub count: u64,
    /// Nothing else can have been refused in it. Otherwise the number is the least that there was, and the stretch remains a gap.
    pub whole: bool,
}

/// A process that may refuse, and when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// When it began; its counters were zero then.
    pub started: Timestamp,
    /// When it was looked at, in order; never empty.
    pub looks: Vec<Timestamp>,
    /// Until when it may have lived, however long ago it was looked at last.
    pub gone: Timestamp,
    /// Looks that are further apart have left something out.
    pub pace: SignedDuration,
    /// Whether it counts what is asked for at all. Where it does not, no number of it is a zero.
    pub counts: bool,
}

/// A counter of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Which of the processes.
    pub process: usize,
    /// What it said at the looks, in order. Before the first it did not exist, which is zero.
    pub samples: Vec<(Timestamp, u64)>,
    /// It counts what is asked for and nothing else. Otherwise it may have counted something else, too: then only that it stood still tells anything.
    pub sure: bool,
}

/// How long a process may have lived before it was looked at first: it has to be found.
const FOUND_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// Stretches in which something was refused are brought together up to this length.
const COARSE: SignedDuration = SignedDuration::from_hours(1);

/// How far the clock of who looked may be from that of who watched around the gap.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// What the counters tell of a gap, as stretches in order that do not overlap. What of the gap is in none of them that is whole, is not known.
///
/// `expected` is the number of processes that there are. Where fewer were looked at, another one may have blocked something.
pub fn fills(gap: Interval, expected: usize, processes: &[Process], counters: &[Counter]) -> Vec<Fill> {
    with_clocks(CLOCKS, gap, expected, processes, counters)
}

fn with_clocks(clocks: SignedDuration, gap: Interval, expected: usize, processes: &[Process], counters: &[Counter]) -> Vec<Fill> {
    let mut work = Work { clocks, gap, expected, alive: Vec::new(), holes: Vec::new(), counted: Vec::new() };
    for process in processes {
        work.process(process);
    }
    for counter in counters {
        if let Some(process) = processes.get(counter.process) {
            work.counter(process, counter);
        }
    }
    work.finish()
}

/// The same stretch, longer by `more` at both ends; shorter where that is negative.
fn widened(Interval { from, to }: Interval, more: SignedDuration) -> Interval {
    Interval { from: from.checked_sub(more).unwrap_or(from), to: to.checked_add(more).unwrap_or(to) }
}

/// How many processes were looked at at the same time in the gap: the fewest where any was, and the most. That the next look is still to come does not make
/// them fewer.
pub fn looked_at(gap: Interval, processes: &[Process]) -> (usize, usize) {
    let in_gap = |process: &Process| {
        let looked_at = looked_at_in(process, gap)?;
        Some((process.started, Interval { to: process.gone.max(looked_at.to), ..looked_at }.clip(gap)?))
    };
    let alive: Vec<(Timestamp, Interval)> = processes.iter().filter_map(in_gap).collect();
    let at_least: Vec<Vec<Interval>> = (1..=alive.len()).map(|count| at_once(&alive, count)).take_while(|all| !all.is_empty()).collect();
    let fewest = at_least.iter().take_while(|all| at_least.first() == Some(*all)).count();
    (fewest, at_least.len())
}

/// When at least `count` processes are there. A process has the same start wherever it is looked at, so those with one start are one.
fn at_once(alive: &[(Timestamp, Interval)], count: usize) -> Vec<Interval> {
    let mut by_start: BTreeMap<Timestamp, Vec<Interval>> = BTreeMap::new();
    for (started, interval) in alive {
        by_start.entry(*started).or_default().push(*interval);
    }
    // At the same moment, one begins before another ends.
    let mut edges: Vec<(Timestamp, bool)> =
        by_start.into_values().flat_map(cover).flat_map(|one| [(one.from, false), (one.to, true)]).collect();
    edges.sort_unstable();
    let (mut out, mut depth, mut since) = (Vec::new(), 0_usize, None);
    for (at, ends) in edges {
        depth = if ends { depth.saturating_sub(1) } else { depth + 1 };
        match since {
            None if depth >= count => since = Some(at),
            Some(from) if depth < count => {
                out.push(Interval { from, to: at });
                since = None;
            }
            _ => {}
        }
    }
    out.retain(|interval| interval.from < interval.to);
    out
}

struct Work {
    clocks: SignedDuration,
    gap: Interval,
    /// How many processes there are.
    expected: usize,
    /// When a process was there and looked at, with its start.
    alive: Vec<(Timestamp, Interval)>,
    /// When one was, and was not looked at; and what cannot be attributed.
    holes: Vec<Interval>,
    counted: Vec<(Interval, u64)>,
}

/// Whether the first look at a process tells what it did since it began.
fn is_told_from_its_start(process: &Process, gap: Interval) -> bool {
    let first = process.looks.first().copied().unwrap_or(process.gone);
    process.started >= gap.from && process.started <= first && first.duration_since(process.started) <= FOUND_WITHIN.max(process.pace)
}

/// When a process was there and looked at.
fn looked_at_in(process: &Process, gap: Interval) -> Option<Interval> {
    let (first, last) = (process.looks.first().copied()?, process.looks.last().copied()?);
    Some(Interval { from: if is_told_from_its_start(process, gap) { process.started } else { first }, to: last })
}

impl Work {
    fn process(&mut self, process: &Process) {
        let (Some(first), Some(last)) = (process.looks.first().copied(), process.looks.last().copied()) else { return };
        let hole = |holes: &mut Vec<Interval>, from, to| holes.push(Interval { from, to });
        let from_start = is_told_from_its_start(process, self.gap);
        if !process.counts {
            hole(&mut self.holes, process.started.min(first), process.gone);
        }
        if !from_start {
            hole(&mut self.holes, process.started.min(first), first);
        }
        for pair in process.looks.windows(2).filter(|pair| pair[1].duration_since(pair[0]) > process.pace) {
            hole(&mut self.holes, pair[0], pair[1]);
        }
        hole(&mut self.holes, last, process.gone);
        self.alive.extend(looked_at_in(process, self.gap).map(|interval| (process.started, interval)));
    }

    fn counter(&mut self, process: &Process, counter: &Counter) {
        let (Some((first, value)), Some((last, _))) = (counter.samples.first().copied(), counter.samples.last().copied()) else { return };
        let before = process.looks.partition_point(|look| *look < first);
        if before > 0 {
            self.rise(Interval { from: process.looks[before - 1], to: first }, value, counter.sure);
        } else if is_told_from_its_start(process, self.gap) {
            self.rise(Interval { from: process.started, to: first }, value, counter.sure);
        }
        for pair in counter.samples.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let between = Interval { from: from.0, to: to.0 };
            match to.1.checked_sub(from.1) {
                Some(more) => self.rise(between, more, counter.sure),
                // The same process never counts backwards: these are several behind one address.
                None => self.holes.push(between),
            }
        }
        if let Some(end) = process.looks.last().filter(|end| **end > last) {
            self.holes.push(Interval { from: last, to: *end });
        }
    }

    fn rise(&mut self, between: Interval, more: u64, sure: bool) {
        if more == 0 {
            return;
        }
        // What happened on the edge may have been seen by whoever watched there.
        let inner = widened(self.gap, -self.clocks);
        let inside = inner.from <= between.from && between.to <= inner.to;
        if sure && inside { self.counted.push((between, more)) } else { self.holes.push(between) }
    }

    fn finish(mut self) -> Vec<Fill> {
        let holes = cover(self.holes.into_iter().map(|hole| widened(hole, self.clocks)).collect());
        let alive = at_once(&self.alive, self.expected.max(1)).into_iter().map(|interval| widened(interval, -self.clocks));
        let alive: Vec<Interval> = alive.filter_map(|interval| interval.clip(self.gap)).collect();
        let known: Vec<Interval> = alive.iter().flat_map(|interval| gaps(&holes, *interval)).collect();
        let mut out: Vec<Fill> = Vec::new();
        self.counted.sort_unstable();
        for (interval, count) in self.counted {
            match out.last_mut() {
                Some(last) if interval.from < last.interval.to => {
                    last.interval.to = last.interval.to.max(interval.to);
                    last.count = last.count.saturating_add(count);
                }
                _ => out.push(Fill { interval, count, whole: false }),
            }
        }
        for fill in &mut out {
            fill.whole = gaps(&known, fill.interval).is_empty();
        }
        let taken = cover(out.iter().map(|fill| fill.interval).collect());
        let quiet = known.iter().flat_map(|interval| gaps(&taken, *interval));
        out.extend(quiet.map(|interval| Fill { interval, count: 0, whole: true }));
        out.sort_unstable_by_key(|fill| fill.interval);
        coarse(out)
    }
}

/// The same with neighbours brought together, so that there are few.
fn coarse(fills: Vec<Fill>) -> Vec<Fill> {
    let mut out: Vec<Fill> = Vec::new();
    for fill in fills {
        let short = |last: &Fill| fill.interval.to.duration_since(last.interval.from) <= COARSE;
        match out.last_mut() {
            Some(last)
                if last.whole
                    && fill.whole
                    && last.interval.to == fill.interval.from
                    && (last.count == 0) == (fill.count == 0)
                    && (fill.count == 0 || short(last)) =>
            {
                last.interval.to = fill.interval.to;
                last.count = last.count.saturating_add(fill.count);
            }
            _ => out.push(fill),
        }
    }
    out
}

/// What is known of refused requests in a window: what a recorder saw, and what fills its gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Refused requests.
    pub blocked: u64,
    /// How many of them only the fills tell of.
    pub by_fills: u64,
    /// When the last of them was; of those that only fills tell of, the end of the stretch.
    pub last: Option<Timestamp>,
    /// What nobody watched and nothing fills.
    pub gaps: Vec<Interval>,
    /// What nobody watched and something fills.
    pub filled: Vec<Interval>,
}

/// Brings together what was seen (`seen`: when, how many; `watched`: when somebody looked) and what fills the rest. Nothing is counted twice: in
/// a filled stretch the greater of both numbers counts, since an event may be told of afterwards, too.
pub fn refused(seen: &[(Timestamp, u64)], watched: &[Interval], fills: &[Fill], window: Interval) -> Refused {
    let watched = cover(watched.to_vec());
    let inside = |fill: &Fill| window.from <= fill.interval.from && fill.interval.to <= window.to;
    // Of a stretch on the edge nobody knows on which side of it something was refused.
    let usable = fills.iter().filter(|fill| fill.count == 0 || inside(fill));
    let usable: Vec<Fill> = usable.filter_map(|fill| fill.interval.clip(window).map(|interval| Fill { interval, ..*fill })).collect();
    let whole = cover(usable.iter().filter(|fill| fill.whole).map(|fill| fill.interval).collect());
    let partly = usable.iter().filter(|fill| !fill.whole).map(|fill| fill.interval);
    let stretches: Vec<Interval> = whole.iter().copied().chain(partly).collect();
    let in_window = |at: Timestamp| window.from <= at && at <= window.to;
    let seen: Vec<(Timestamp, u64)> = seen.iter().copied().filter(|(at, _)| in_window(*at)).collect();
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0u64, u64::saturating_add);
    let mut out = Refused {
        last: seen.iter().map(|(at, _)| *at).max(),
        gaps: gaps(&cover([watched.clone(), whole.clone()].concat()), window),
        filled: whole.iter().flat_map(|interval| gaps(&watched, *interval)).collect(),
        blocked: sum(&mut seen.iter().filter(|(at, _)| !stretches.iter().any(|one| one.holds(*at))).map(|(_, count)| *count)),
        by_fills: 0,
    };
    for stretch in &stretches {
        let events = sum(&mut seen.iter().filter(|(at, _)| stretch.holds(*at)).map(|(_, count)| *count));
        let of_it = || usable.iter().filter(|fill| stretch.from <= fill.interval.from && fill.interval.to <= stretch.to);
        let counted = sum(&mut of_it().map(|fill| fill.count));
        out.blocked = out.blocked.saturating_add(events.max(counted));
        if counted > events {
            out.by_fills = out.by_fills.saturating_add(counted - events);
            out.last = out.last.max(of_it().filter(|fill| fill.count > 0).map(|fill| fill.interval.to).max());
        }
    }
    out
}

/// The series of refused requests has these beside what was seen: the number that fills tell beyond what was seen in each stretch, at its end.
pub fn beyond(seen: &[(Timestamp, u64)], fills: &[Fill]) -> Vec<(Timestamp, u64)> {
    let just_before = |at: Timestamp| at.checked_sub(SignedDuration::from_millis(1)).unwrap_or(at);
    let more = |fill: &Fill| {
        let events = seen.iter().filter(|(at, _)| fill.interval.holds(*at)).fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        (just_before(fill.interval.to), fill.count.saturating_sub(events))
    };
    fills.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests;
