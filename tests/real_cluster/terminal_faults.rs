//! What may happen to the terminal, the process and the machine under it while real clusters are followed: whatever it was, afterwards every kind is
//! live and every number equals a recount.

use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::product::{Desk, Watch, environment};
use crate::support::recount::{Count, recount};
use crate::support::screen::Session;
use crate::support::seed::{Seeded, Shape};
use crate::support::{eventually, say};
use portable_pty::CommandBuilder;
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const SOON: Duration = Duration::from_secs(30);
pub(super) const SIZE: (u16, u16) = (40, 120);
/// Longer than connections, pings and pauses last that could go wrong meanwhile.
const SLEEP: Duration = Duration::from_secs(70);

/// Faults of a cluster as the screen counts them: failing owners, and those with errors.
type Faults = (u64, u64);

fn faults(cluster: &Cluster) -> Faults {
    let [_, _, _, fail, error] = Count::total(&recount(&cluster.api).owners);
    (fail, error)
}

/// The same from the screen's line of all policies, by environment: `all 12 policies    17 !2    9`.
fn shown(screen: &str) -> Option<Vec<Faults>> {
    let line = screen.lines().find(|line| line.trim_start_matches(['▌', ' ']).starts_with("all "))?;
    let mut faults = Vec::new();
    for word in line.split("policies").nth(1)?.split_whitespace() {
        match word.strip_prefix('!') {
            Some(errors) => faults.last_mut().and_then(|(_, error): &mut Faults| errors.parse().ok().map(|n| *error = n))?,
            None => faults.push((if word == "·" { 0 } else { word.parse().ok()? }, 0)),
        }
    }
    Some(faults)
}

/// Whether the screen shows these numbers, and each environment live.
fn shows(screen: &str, faults: &[Faults]) -> bool {
    let live = screen.lines().next().is_some_and(|head| head.matches("● live").count() == faults.len());
    live && shown(screen).as_deref() == Some(faults)
}

/// The screen is right: live, and its numbers are those of a recount that is as new as it is.
pub(super) fn until_true(what: &str, within: Duration, session: &Session, fleet: &Fleet) {
    eventually(what, within, || {
        let faults: Vec<_> = fleet.clusters().iter().map(faults).collect();
        let screen = session.text();
        if shows(&screen, &faults) { Ok(()) } else { Err(format!("counted {faults:?}; the screen:\n{screen}")) }
    });
}

/// A screen with true numbers on it.
fn open(command: CommandBuilder, fleet: &Fleet) -> Session {
    let session = Session::start(command, SIZE);
    until_true("a screen to begin with", SOON, &session, fleet);
    session
}

/// Lets time pass, of which the test is about; what must hold meanwhile is asked all the time.
fn pass(until: Instant, mut holds: impl FnMut()) {
    eventually("time passes", SLEEP + SOON, || {
        holds();
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Ok(()),
            left => Err(left.as_secs()),
        }
    });
}

/// Kilobytes in memory.
fn memory(session: &Session) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time used so far, in hundredths of a second.
fn ticks(session: &Session) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", session.pid().as_raw_nonzero())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What a user has asked of a cluster so far, as `verb uri`, from its audit log.
fn asked_by(fleet: &Fleet, cluster: &str, user: &str) -> Vec<String> {
    let log = std::fs::read_to_string(fleet.run.join(format!("audit-{cluster}.log"))).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mine = events.filter(|event| event["user"]["username"] == user);
    mine.map(|event| format!("{} {}", event["verb"].as_str().unwrap(), event["requestURI"].as_str().unwrap())).collect()
}

fn seconds_of_day(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400).unwrap()
}

/// How far the clock in the screen's corner is from that of the machine, moved by `shift` hours. The screen shows UTC.
fn clock_is_off(screen: &str, shift: i64) -> Option<i64> {
    let clock = screen.lines().next()?.split_whitespace().last()?;
    let seconds = clock.split(':').try_fold(0, |sum, part| part.parse::<i64>().ok().map(|n| sum * 60 + n))?;
    let off = (seconds - seconds_of_day(SystemTime::now()) - shift * 3600).rem_euclid(86_400);
    Some(off.min(86_400 - off))
}

#[test]

fn whatever_happens_to_the_terminal_and_the_process() {
    let Some(fleet) = Fleet::start(&["dev", "qac"], Options { audit: true, ..Options::default() }) else { return };
    let (dev, qac) = (fleet.cluster("dev"), fleet.cluster("qac"));
    let mut seeds = Vec::new();
    for cluster in [dev, qac] {
        cluster.install_crds(&crds("kyverno-1.18.2"));
        cluster.kubectl(&["create", "clusterrolebinding", "sleeper", "--clusterrole=cluster-admin", "--group=viewers"]);
        let mut seeded = Seeded::new(cluster, 2, 3, 11);
        seeded.reports(Shape::Resource);
        seeds.push(seeded);
    }
    let desk = Desk::new(&fleet, User::Admin, "");
    // The one that sleeps is another user, so that its requests can be told from the others'.
    let sleepers = Desk::new(&fleet, User::Viewer, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("both are read", SOON, &[dev, qac]);

    // A minute asleep and a minute without anybody reading pass at the same time, and the other faults happen meanwhile.
    let sleeper = open(sleepers.in_terminal(&[]), &fleet);
    let stalled = stall(open(desk.in_terminal(&[]), &fleet));
    let asleep = Instant::now();
    sleeper.signal(Signal::STOP);
    qac.signal("api", "KILL");
    fleet.restart(&["qac"]);
    for seeded in &mut seeds {
        seeded.churn(40);
    }
    until_whole(&mut watch, &[dev, qac]);
    resized(open(desk.in_terminal(&[]), &fleet), &fleet);
    closed(&desk, &fleet);
    ended_while_nobody_reads(&desk, &fleet);
    signals(&desk, &fleet);
    clock_set(&desk, &fleet, &mut seeds[0]);
    let before = memory(&stalled);
    pass(asleep + SLEEP, || seeds[0].churn(19));
    let growth = memory(&stalled).saturating_sub(before);
    assert!(growth < 4 << 10, "{growth} kB more after frames that nobody read");

    resumed(stalled, &fleet);
    woken(sleeper, &fleet);
    full_disk(&desk, &fleet, &mut seeds[0]);
    watch.until_true("nothing was lost on the way", SOON, &[dev, qac]);
    until_whole(&mut watch, &[dev, qac]);
    desk.assert_recount(&fleet);
}

fn until_whole(watch: &mut Watch, clusters: &[&Cluster]) {
    for cluster in clusters {
        let kinds = |status: &Value| environment(status, &cluster.name)["kinds"].as_array().cloned().unwrap_or_default();
        let whole =
            |status: &Value| environment(status, &cluster.name)["complete"] == true && kinds(status).iter().any(|k| k["state"] == "live");
        let now = watch.latest().clone();
        if !whole(&now) {
            watch.until("every kind is live again", SOON, whole);
        }
    }
}

/// Reads no more, and has the program draw until the terminal takes nothing more: 8 kB on Linux.
fn stall(mut session: Session) -> Session {
    session.hold();
    session.keys(&"\u{c}".repeat(4));
    session.keys("??".repeat(8).as_str());
    session
}

/// The frames of a minute are not shown one after the other: the newest is there at once.
fn resumed(session: Session, fleet: &Fleet) {
    let faults: Vec<_> = fleet.clusters().iter().map(faults).collect();
    let before = session.written();
    session.release();
    session.until_within("the newest state after a minute", Duration::from_millis(1500), |screen| {
        let text = screen.contents();
        shows(&text, &faults) && clock_is_off(&text, 0).is_some_and(|off| off <= 2)
    });
    let written = session.written() - before;
    assert!(written < 64 << 10, "{written} bytes came: more than what the terminal held, the rest of one frame and the next");
    let mut session = session;
    session.keys(":q\r");
    assert_eq!(session.ended().status, 0);
}

/// After a minute of sleep, in which one cluster changed and the other's server was another: right within seconds, with few requests.
fn woken(sleeper: Session, fleet: &Fleet) {
    let names = ["dev", "qac"];
    let before = names.map(|name| asked_by(fleet, name, "viewer").len());
    let woke = Instant::now();
    sleeper.signal(Signal::CONT);
    until_true("the screen is right after the sleep", Duration::from_secs(15), &sleeper, fleet);
    sleeper.until_within("the clock too", Duration::from_secs(3), |screen| clock_is_off(&screen.contents(), 0).is_some_and(|off| off <= 2));
    // Reports of the cluster that changed were written until a moment ago; before the sleep they were older than a minute.
    sleeper.until("ages too", |screen| {
        let text = screen.contents();
        let ages = text.lines().filter(|line| line.contains(" › dev › ")).filter_map(|line| line.split(" evaluated ").nth(1));
        ages.filter_map(|age| age.split_once(" s ago")).any(|(seconds, _)| seconds.parse().is_ok_and(|n: u64| n < 60))
    });
    pass(woke + Duration::from_secs(12), || {});
    for (name, before) in names.iter().zip(before) {
        let asked = asked_by(fleet, name, "viewer").split_off(before);
        let of = |part: &str| asked.iter().filter(|request| request.contains(part)).count();
        // The same collection is listed once at most: a server that has started again may have forgotten the versions from before.
        let lists = asked.iter().filter(|request| request.contains("limit=") || request.contains("sendInitialEvents"));
        let mut lists: Vec<_> = lists.map(|request| request.split('?').next().unwrap_or_default().to_owned()).collect();
        let all = lists.len();
        lists.sort();
        lists.dedup();
        assert!(all <= lists.len() + 1, "{name} is listed over and over: {asked:#?}");
        // The recorder reads a dozen policies again: somebody may have changed them meanwhile.
        assert!(of("/version") <= 8 && asked.len() <= 110, "{name}: {} requests: {asked:#?}", asked.len());
    }
    let mut sleeper = sleeper;
    sleeper.keys(":q\r");
    assert_eq!(sleeper.ended().status, 0);
}

fn resized(mut session: Session, fleet: &Fleet) {
    for (rows, cols) in [(1, 1), (2, 300), (100, 1), (100, 300), (24, 80), SIZE] {
        session.resize(rows, cols);
    }
    until_true("the screen after all sizes", Duration::from_secs(5), &session, fleet);
    session.keys("\u{3}");
    assert_eq!(session.ended().status, 0);
}

/// The terminal is closed, with a key still under way; and once where no signal tells of it.
fn closed(desk: &Desk, fleet: &Fleet) {
    for controlling in [true, false] {
        let mut command = desk.in_terminal(&[]);
        command.set_controlling_tty(controlling);
        let mut session = open(command, fleet);
        session.keys("j");
        session.close();
        let (start, used) = (Instant::now(), ticks(&session));
        let status = session.exit_within(Duration::from_secs(5));
        // The longest of these seconds may be spent on crossterm's reading of a terminal that is gone.
        assert_eq!(status, 0, "quietly, after {:?} (controlling: {controlling}; {used})", start.elapsed());
    }
    // Where standard input is closed or no terminal, or standard output is none, one sentence says so.
    let mut command = desk.in_terminal(&[]);
    let argv = command.get_argv().clone();
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" <&-"].map(Into::into);
    *command.get_argv_mut() = shell.into_iter().chain(argv).collect();
    let end = Session::start(command, SIZE).ended();
    assert!(end.status == 2 && end.screen.contains("the screen needs a terminal"), "{end:?}");
    let answer = desk.run(&[]);
    assert!(answer.status == Some(2) && answer.stdout.is_empty() && answer.stderr.contains("the screen needs a terminal"), "{answer:?}");
}

/// A terminal that takes nothing does not keep the program from ending, and gets the screen back if it is ever read again.
fn ended_while_nobody_reads(desk: &Desk, fleet: &Fleet) {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut session = stall(open(desk.in_terminal(&[]), fleet));
        session.signal(signal);
        let status = session.exit_within(Duration::from_secs(3));
        session.release();
        assert_eq!((session.ended().status, status), (0, 0), "{signal:?}");
    }
}

fn signals(desk: &Desk, fleet: &Fleet) {
    let mut session = open(desk.in_terminal(&[]), fleet);
    for by_key in [true, false] {
        session.stop_and_continue(by_key, "POLICY ↓ faults");
        until_true("the screen after a stop", Duration::from_secs(5), &session, fleet);
    }
    session.signal(Signal::TERM);
    assert_eq!(session.ended().status, 0);
}

/// The machine's clock is set while the program runs: five hours back, then nine forward.
fn clock_set(desk: &Desk, fleet: &Fleet, seeded: &mut Seeded<'_>) {
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|arch| format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1"));
    let Some(library) = library.iter().find(|path| Path::new(path).exists()) else {
        say("LEFT OUT: a clock that is set while the program runs; libfaketime is not there (Debian: faketime)");
        return;
    };
    let offset = desk.home().join("offset");
    let set = |hours: i64| {
        // Renamed, so that it is never read half.
        std::fs::write(desk.home().join("offset.new"), format!("{hours:+}h\n")).unwrap();
        std::fs::rename(desk.home().join("offset.new"), &offset).unwrap();
    };
    // The servers' certificates are valid from an hour before the test on: what is hours back is hours back from a start that lies ahead.
    set(5);
    let mut command = desk.in_terminal(&[]);
    command.env("LD_PRELOAD", library);
    command.env("FAKETIME_TIMESTAMP_FILE", &offset);
    for name in ["FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"] {
        command.env(name, "1");
    }
    command.env("TZ", "UTC");
    let mut session = open(command, fleet);
    assert!(clock_is_off(&session.text(), 5).is_some_and(|off| off <= 2), "the clock is set at all: {}", session.text());
    for hours in [0, 9] {
        set(hours);
        let (start, used) = (Instant::now(), ticks(&session));
        session.until_within("the clock goes with it", Duration::from_secs(3), |screen| {
            clock_is_off(&screen.contents(), hours).is_some_and(|off| off <= 2)
        });
        seeded.churn(20);
        until_true("links live and numbers true", Duration::from_secs(5), &session, fleet);
        same_above_and_below(&session);
        pass(start + Duration::from_secs(6), || {
            let screen = session.text();
            let negative = |word: &str| word.strip_prefix('-').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
            assert!(!screen.split_whitespace().any(negative), "no age is negative: {screen}");
            assert!(screen.lines().next().unwrap().matches("● live").count() == 2, "no link is doubted: {screen}");
        });
        let (used, passed) = (ticks(&session) - used, start.elapsed());
        assert!(used < 200, "{used} hundredths of a second of processor time in {passed:?}");
    }
    session.keys(":q\r");
    assert_eq!(session.ended().status, 0);
}

/// The rows below are those of the number above that is selected: they are asked for again after each change.
fn same_above_and_below(session: &Session) {
    session.until("the rows of the selected number", |screen| {
        let text = screen.contents();
        let selected =
            text.lines().find(|line| line.starts_with('▌')).and_then(|line| line.split_whitespace().find_map(|w| w.parse::<u64>().ok()));
        let below = text.lines().find(|line| line.contains(" › dev › "));
        let rows =
            below.and_then(|line| line.split(" › dev › ").nth(1)).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        selected.is_some() && selected == rows
    });
}

/// A full disk under the log and under the folder of saved screens.
fn full_disk(desk: &Desk, fleet: &Fleet, seeded: &mut Seeded<'_>) {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let logs = desk.home().join("state/policydeck/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let log = logs.join(format!("policydeck.{day}.log"));
    let _ = std::fs::remove_file(&log);
    symlink("/dev/full", &log).unwrap();

    let answer = desk.run(&["status", "-o", "json"]);
    let told = answer.stderr.matches("policydeck: the log cannot be written: No space left on device").count();
    assert!(answer.status == Some(0) && told == 1, "a command says so once, at its end: {answer:?}");

    let mut command = desk.in_terminal(&["-vv"]);
    let full = in_full_folder(&mut command, desk);
    let mut session = Session::start(command, SIZE);
    session.until_text("the log cannot be written: No space left on device");
    until_true("the screen goes on without a log", SOON, &session, fleet);
    let before = memory(&session);
    seeded.churn(60);
    until_true("and follows", SOON, &session, fleet);
    let growth = memory(&session).saturating_sub(before);
    assert!(growth < 8 << 10, "{growth} kB more with lines that cannot be written");
    if full {
        session.keys("\u{13}");
        session.until_text("not saved: no storage space in ");
    }
    session.keys("m");
    session.until("it is kept among the messages", |screen| screen.contents().matches("the log cannot be written").count() == 1);
    session.keys("\u{3}");
    let end = session.ended();
    assert!(end.status == 0 && end.screen.matches("the log cannot be written").count() == 1, "{end:?}");
    std::fs::remove_file(&log).unwrap();
}

/// Gives the command a folder of saved screens on a disk without room, where that can be made: a file system of its own in a name space of its own.
fn in_full_folder(command: &mut CommandBuilder, desk: &Desk) -> bool {
    let mount = "mount -t tmpfs -o size=16k,mode=700 none \"$1\" && cd \"$1\" && shift && { head -c 64k /dev/zero > filler 2> /dev/null; ! echo x > more; } 2> /dev/null";
    let folder = desk.home().join("data/policydeck/saved");
    std::fs::create_dir_all(&folder).unwrap();
    let try_out = Command::new("unshare").args(["-rm", "sh", "-c", mount, "sh"]).arg(&folder).stdout(Stdio::null()).status();
    if !try_out.is_ok_and(|status| status.success()) {
        say("LEFT OUT: saving to a full disk; unshare may not mount here");
        return false;
    }
    let argv = command.get_argv().clone();
    let script = format!("{mount} && exec \"$@\"");
    let shell = ["unshare", "-rm", "sh", "-c", &script, "sh"].map(Into::into);
    *command.get_argv_mut() = shell.into_iter().chain([folder.into_os_string()]).chain(argv).collect();
    true
}
