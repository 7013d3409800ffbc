//! The report of a soak, as people read it: what went wrong on purpose, how long it took to mend, and what the programs held all the while.

use crate::Round;
use crate::counted::Counted;
use crate::samples::{Held, quarters};
use crate::support::recount::Count;
use crate::support::say;
use crate::verdict::{Outcome, PROGRAMS};
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

/// Rows of the table of measures, and columns of a line of blocks.
const ROWS: usize = 13;
const COLUMNS: usize = 60;

/// One fault in one line, for whoever waits.
pub(crate) fn line(round: &Round) -> String {
    let Round { at, fault, place, what, said, .. } = round;
    let (live, shown, counted) = times(round);
    format!("{} {fault:?} {place}: {what}; said: {said}; live after {live}, shown after {shown}, true after {counted}", clock(*at))
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "**never**".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()))
}

fn times(round: &Round) -> (String, String, String) {
    let recovery = round.recovery;
    (seconds(recovery.map(|r| r.status)), seconds(recovery.map(|r| r.screen)), seconds(round.truth))
}

/// Says how it went, and writes it where `POLICYDECK_SOAK_REPORT` names a file.
pub(crate) fn write(outcome: &Outcome<'_>) {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, outcome).and_then(|()| measures(&mut text, outcome)).and_then(|()| faults(&mut text, outcome));
    let _ = numbers(&mut text, outcome);
    say(&text);
    if let Some(path) = std::env::var_os("POLICYDECK_SOAK_REPORT") {
        std::fs::write(&path, text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    }
}

fn head(text: &mut String, outcome: &Outcome<'_>) -> std::fmt::Result {
    let plan = outcome.plan;
    let findings = outcome.counts.iter().map(|(_, counted)| found(counted)).sum::<u64>();
    let each_second = outcome.findings_written as f64 / outcome.lasted.as_secs_f64();
    writeln!(text, "# Soak\n")?;
    writeln!(
        text,
        "Four real API servers that live, policydeck twice before them (the screen, read by a terminal emulator, and `status --watch`), and a fault a \
         minute. After each fault, once it is healed, both must say by themselves that everything is followed again; then nothing changes for a moment, \
         and the numbers of both must be those of an independent recount. [CONTRIBUTING](../CONTRIBUTING.md#soak) says how to run it. This is what the \
         run wrote.\n"
    )?;
    writeln!(text, "| | |\n|---|---|")?;
    let mut row = |name: &str, value: String| writeln!(text, "| {name} | {value} |");
    row("result", if outcome.wrong.is_empty() { "passed".to_owned() } else { format!("**{} wrong**, see below", outcome.wrong.len()) })?;
    row("date", jiff::Timestamp::now().strftime("%Y-%m-%d").to_string())?;
    row("commit", commit())?;
    row("machine", machine())?;
    row("build", if cfg!(debug_assertions) { "with debug assertions".to_owned() } else { "optimised".to_owned() })?;
    row("length", format!("{} min, seed {}", outcome.lasted.as_secs() / 60, plan.seed))?;
    row("findings", format!("{} in four clusters", grouped(findings)))?;
    row("churn", format!("{each_second:.0} findings a second, {} in all", grouped(outcome.findings_written as u64)))?;
    row(
        "faults",
        format!("{}, {} mended by themselves", outcome.rounds.len(), outcome.rounds.iter().filter(|r| r.truth.is_some()).count()),
    )?;
    let thorough = format!("after each fault; {} times also with `violations` and all that stands beside", outcome.thorough);
    row("recounts", thorough)?;
    let (requests, most) = (grouped(outcome.requests as u64), grouped(outcome.most_requests() as u64));
    row(
        "requests",
        format!("{requests} of both programs over {} connections ({most} would be too many)", grouped(outcome.connections as u64)),
    )?;
    for wrong in &outcome.wrong {
        writeln!(text, "\n```text\n{wrong}\n```")?;
    }
    Ok(())
}

type Measure = fn(&Held) -> f64;

fn measures(text: &mut String, outcome: &Outcome<'_>) -> std::fmt::Result {
    let columns: [(&str, Measure); 3] = [("memory, MB", |h| h.memory), ("open files", |h| h.files), ("threads", |h| h.threads)];
    writeln!(text, "\n## What they held\n")?;
    writeln!(text, "| | | before | second quarter | last quarter | at the end | most |\n|---|---|--:|--:|--:|--:|--:|")?;
    for (which, program) in PROGRAMS.iter().enumerate() {
        for (name, measure) in columns {
            let values = outcome.samples.iter().map(|sample| measure(&sample.held[which])).collect::<Vec<_>>();
            let ((second, last), most) = (quarters(&values), values.iter().copied().fold(0.0, f64::max));
            let (before, after) = (measure(&outcome.before[which]), measure(&outcome.after[which]));
            writeln!(text, "| {program} | {name} | {before:.0} | {second:.0} | {last:.0} | {after:.0} | {most:.0} |")?;
        }
    }
    writeln!(text, "\nQuarters are medians. By time:\n\n```text")?;
    for (which, program) in PROGRAMS.iter().enumerate() {
        for (name, measure) in columns {
            let values = outcome.samples.iter().map(|sample| measure(&sample.held[which])).collect::<Vec<_>>();
            writeln!(text, "{program:<7} {name:<11} {}", blocks(&values))?;
        }
    }
    writeln!(text, "```\n")?;
    writeln!(
        text,
        "| min | screen MB | files | threads | CPU | status MB | files | threads | CPU |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    let mut before: Option<crate::samples::Sample> = None;
    let step = (outcome.samples.len() / (ROWS - 1)).max(1);
    for sample in outcome.samples.iter().step_by(step) {
        write!(text, "| {} ", clock(sample.at))?;
        for (which, held) in sample.held.iter().enumerate() {
            let share = before.map(|b| (held.cpu - b.held[which].cpu) / sample.at.saturating_sub(b.at).as_secs_f64() * 100.0);
            let share = share.map_or_else(String::new, |share| format!("{share:.0} %"));
            write!(text, "| {:.0} | {} | {} | {share} ", held.memory, held.files, held.threads)?;
        }
        writeln!(text, "|")?;
        before = Some(*sample);
    }
    let peaks = outcome.after.iter().map(|held| format!("{:.0} MB", held.peak)).collect::<Vec<_>>().join(" and ");
    writeln!(text, "\nCPU is that of one core since the row before. Peaks of memory, as the kernel saw them: {peaks}.")
}

fn faults(text: &mut String, outcome: &Outcome<'_>) -> std::fmt::Result {
    writeln!(text, "\n## What went wrong on purpose\n")?;
    writeln!(
        text,
        "`live` and `shown` count from the last mend until `status --watch` and the screen say that every kind of every environment is followed; \
         `true` from the last write until all numbers of both are a recount's, the recount itself included.\n"
    )?;
    writeln!(text, "| at | where | what | lasted | said meanwhile | live | shown | true |\n|--:|---|---|--:|---|--:|--:|--:|")?;
    for round in &outcome.rounds {
        let (live, shown, counted) = times(round);
        let place = if round.place.is_empty() { "the desk" } else { &round.place };
        let (at, lasted, what) = (clock(round.at), round.lasted.as_secs(), round.what.replace('|', "\\|"));
        writeln!(text, "| {at} | {place} | {what} | {lasted} s | {} | {live} | {shown} | {counted} |", round.said)?;
    }
    Ok(())
}

fn numbers(text: &mut String, outcome: &Outcome<'_>) -> std::fmt::Result {
    writeln!(text, "\n## The last recount\n")?;
    writeln!(text, "| | pass | skip | warn | fail | error | stale | owners fail | policies | exceptions | blocked | said the same |")?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")?;
    for (name, counted) in &outcome.counts {
        let tally = Count::total(&counted.count.findings).map(grouped).join(" | ");
        let (stale, owners) = (grouped(counted.count.stale), grouped(Count::total(&counted.count.owners)[3]));
        let Counted { policies, exceptions, blocked, .. } = counted;
        writeln!(text, "| {name} | {tally} | {stale} | {owners} | {policies} | {exceptions} | {blocked} | status, screen |")?;
    }
    Ok(())
}

fn found(counted: &Counted) -> u64 {
    Count::total(&counted.count.findings).iter().sum::<u64>() + counted.count.stale
}

/// A line of blocks as high as the values, from nothing to the most.
fn blocks(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(1.0, f64::max);
    let chunk = values.len().div_ceil(COLUMNS).max(1);
    let mean = |chunk: &[f64]| chunk.iter().sum::<f64>() / chunk.len() as f64;
    // The highest block that the share reaches, to the nearest seventh.
    let block = |share: f64| BLOCKS.iter().zip(0_u8..).filter(|(_, n)| share * 7.0 + 0.5 >= f64::from(*n)).map(|(b, _)| *b).last();
    let line = values.chunks(chunk).filter_map(|chunk| block(mean(chunk) / most)).collect::<String>();
    format!("{line} most {most:.0}")
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(" ")
}

fn commit() -> String {
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok();
    let words = |args: &[&str]| git(args).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let changed = if words(&["status", "--porcelain", "-uno"]).is_empty() { "" } else { ", and changes" };
    format!("{}{changed}", words(&["rev-parse", "--short=10", "HEAD"]))
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).map_or("", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let kilobytes = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores ({model}), {:.0} GB, Linux {}; servers, churn and both programs share it",
        kilobytes / 1e6,
        read("/proc/sys/kernel/osrelease").trim()
    )
}
