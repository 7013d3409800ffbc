//! The screen in a real pseudo-terminal: taken and given back, whatever happens.
//!
//! The program under test is this test program itself, started anew on the one ignored test that shows the fixture fleet, and then
//! policydeck's own binary with the demo's clusters.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "screens/fixture.rs"]
mod fixture;
#[path = "support/screen.rs"]
mod screen;

use jiff::tz::TimeZone;
use policydeck::tui::{TuiOptions, run_on};
use screen::{End, Session, command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Shows the fixture fleet; `POLICYDECK_TEST_PANIC` makes a background task panic.
#[test]
#[ignore = "the program that the other tests start in a pseudo-terminal"]
fn program() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, receiver) = tokio::sync::watch::channel(fixture::fleet(fixture::one_lost()));
    let options = TuiOptions { time_zone: TimeZone::UTC, ..TuiOptions::default() };
    let ended = runtime.block_on(async {
        if std::env::var_os("POLICYDECK_TEST_PANIC").is_some() {
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                panic!("forced in a background task");
            });
        }
        run_on(fixture::FakeEngine { fleet: receiver }, options).await
    });
    drop(sender);
    match ended {
        Ok(()) => println!("ended well"),
        Err(error) => println!("ended: {error}"),
    }
}

/// This test program, showing the fixture fleet.
fn fixture(environment: &[(&str, &str)]) -> Session {
    let mut command = command(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "program", "--nocapture"]);
    for (key, value) in environment {
        command.env(key, value);
    }
    Session::start(command, (30, 100))
}

/// The real program on the demo's clusters, with a home of its own and its complaints in the file `complaints` there.
struct Demo {
    session: Session,
    home: TempDir,
}

impl Demo {
    fn start(environment: &[(&str, &str)]) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = command("sh");
        command.args(["-c", "exec \"$0\" demo 2> \"$HOME/complaints\"", env!("CARGO_BIN_EXE_policydeck")]);
        command.env("HOME", home.path());
        command.cwd(home.path());
        for (name, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")]
        {
            command.env(name, home.path().join(folder));
        }
        for (key, value) in environment {
            command.env(key, value);
        }
        Self { session: Session::start(command, (40, 120)), home }
    }

    /// Waits for the end; the screen must be the shell's again. What stands on it, the exit status and the complaints.
    fn ended(self) -> (String, u32, String) {
        let End { screen, status } = self.session.ended();
        (screen, status, std::fs::read_to_string(self.home.path().join("complaints")).unwrap())
    }
}

fn showing(environment: &[(&str, &str)]) -> Session {
    let session = fixture(environment);
    session.until_text("require-pod-requests-limits");
    session.until("the alternate screen", vt100::Screen::alternate_screen);
    session
}

#[test]
fn ctrl_c_and_the_command_to_quit_give_the_terminal_back() {
    for key in ["\u{3}", ":q\r", "q:quit\r"] {
        let mut session = showing(&[]);
        session.keys(key);
        assert!(session.ended().screen.contains("ended well"));
    }
}

#[test]
fn signals_that_end_give_the_terminal_back() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let session = showing(&[]);
        session.signal(signal);
        assert!(session.ended().screen.contains("ended well"));
    }
}

#[test]
fn a_panic_in_a_background_task_ends_the_program_with_a_report() {
    let session = fixture(&[("POLICYDECK_TEST_PANIC", "1")]);
    let text = session.ended().screen;
    assert!(text.contains("forced in a background task") && text.contains("all of it ends"), "{text}");
}

#[test]
fn stopped_and_continued_the_screen_comes_back_whole() {
    let mut session = showing(&[]);
    for by_key in [true, false] {
        session.stop_and_continue(by_key, "require-pod-requests-limits");
    }
    session.keys(":q\r");
    session.ended();
}

#[test]
fn resized_to_almost_nothing_and_back() {
    let mut session = showing(&[]);
    for (rows, cols) in [(1, 1), (3, 7), (60, 200), (24, 80)] {
        session.resize(rows, cols);
    }
    session.until_text("require-pod-requests-limits");
    session.keys(":q\r");
    session.ended();
}

#[test]
fn keys_are_answered_at_once() {
    let mut session = showing(&[]);
    session.keys("?");
    let start = Instant::now();
    session.until_text("Moving");
    // The clock draws once a second: only a key that is answered by itself is this fast.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    session.keys("?");
    session.until("help to go", |screen| !screen.contents().contains("Moving"));
    session.keys(":q\r");
    session.ended();
}

#[test]
fn without_a_terminal_it_says_so() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "program", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not a terminal") && !text.contains('\u{1b}'), "{text}");
}

fn demo_showing(environment: &[(&str, &str)]) -> Demo {
    let demo = Demo::start(environment);
    demo.session.until("four environments live", |screen| {
        let head = screen.contents();
        screen.alternate_screen() && head.lines().next().is_some_and(|line| line.matches("● live").count() == 4)
    });
    demo
}

#[test]
fn the_demo_from_the_matrix_down_to_an_object_and_out() {
    let mut demo = demo_showing(&[]);
    let session = &mut demo.session;
    // On the first policy's first number: its rows, a finding, the object behind it.
    session.until("faults", |screen| screen.contents().contains("POLICY ↓ faults") && screen.contents().contains(" owners in "));
    // Until owners are known there are so many rows that they are folded, and the cursor would stand on a namespace.
    session.until("rows that are not folded", |screen| screen.contents().contains("✖"));
    session.keys("\r");
    session.until("the keys of the rows", |screen| screen.contents().lines().last().is_some_and(|line| line.contains("y yaml")));
    session.until("the cursor on a row", |screen| screen.contents().lines().any(|line| line.starts_with("▌  ✖")));
    session.keys("\r");
    session.until("the finding", |screen| screen.contents().contains("message ") && screen.contents().contains("elsewhere"));
    session.keys("y");
    session
        .until("the object", |screen| screen.contents().contains("live object") && screen.contents().contains("resources is missing here"));
    session.keys("\u{1b}");
    session.until("the finding again", |screen| !screen.contents().contains("live object"));
    session.keys("qq");
    session.until("the keys of the matrix", |screen| screen.contents().lines().last().is_some_and(|line| line.contains("s sort")));
    session.keys("/latest\r");
    session.until_text("hidden by the filter latest");
    session.keys("\u{1b}");
    session.until("the filter gone", |screen| !screen.contents().contains("hidden by the filter"));
    session.keys("?");
    session.until_text("Everywhere");
    session.keys("?");
    for (rows, cols) in [(1, 1), (40, 120)] {
        session.resize(rows, cols);
    }
    session.until("the whole screen again", |screen| {
        screen.contents().contains("POLICY ↓ faults") && !screen.contents().contains("Everywhere")
    });
    for by_key in [true, false] {
        session.stop_and_continue(by_key, "POLICY ↓ faults");
    }
    session.keys("\u{13}");
    session.until_text("saved as ");
    let files = std::fs::read_dir(demo.home.path().join("data/policydeck/saved")).unwrap();
    let saved = files.map(|entry| entry.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "txt"));
    assert!(std::fs::read_to_string(saved.unwrap()).unwrap().contains("POLICY ↓ faults"));
    session.keys(":q\r");
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""));
}

/// The name in the row under the cursor.
fn selected(screen: &vt100::Screen) -> Option<String> {
    screen.contents().lines().find_map(|line| Some(line.strip_prefix('▌')?.split(' ').next()?.to_owned()))
}

/// Presses ↓ or ↑ until this policy is under the cursor, as a person would: one row after the other, looking. Rows may change places meanwhile.
fn walk_to(session: &mut Session, policy: &str) {
    let is_above = |screen: &vt100::Screen| {
        let line =
            |start: &str| screen.contents().lines().position(|line| line.strip_prefix(['▌', ' ']).unwrap_or(line).starts_with(start));
        let cursor = screen.contents().lines().position(|line| line.starts_with('▌'));
        line(&format!("{policy} ")).zip(cursor).is_some_and(|(policy, cursor)| policy < cursor)
    };
    for _ in 0..80 {
        let before = session.look(selected);
        if before.as_deref() == Some(policy) {
            return;
        }
        let above = session.look(is_above);
        session.keys(if above { "\u{1b}[A" } else { "\u{1b}[B" });
        session.until("the cursor moves, or the policy does", |screen| selected(screen) != before || is_above(screen) != above);
    }
    assert_eq!(session.look(selected).as_deref(), Some(policy), "it is not in the list");
}

#[test]
fn a_policy_is_promoted_with_the_keys_and_only_the_demo_remembers() {
    let mut demo = demo_showing(&[]);
    let session = &mut demo.session;
    session.keys(":rollout\r");
    session.until("an open gate", |screen| {
        screen.contents().lines().any(|line| line.contains("disallow-host-process") && line.contains("✓ open"))
    });
    walk_to(session, "disallow-host-process");
    session.keys("p");
    session.until_text("ClusterPolicy/disallow-host-process");
    session.until_text("ticket");
    session.keys("y");
    session.until_text("archives");
    session.keys("\u{1b}");
    session.until("the board, with the cursor on it, and its new mode", |screen| {
        !screen.contents().contains("archives")
            && screen.contents().lines().any(|line| line.starts_with("▌disallow-host-process") && line.contains("█e ╱  ╱  ╱"))
    });
    session.keys("m");
    session.until_text("promote ClusterPolicy/disallow-host-process in dev: done");
    session.keys("\u{3}");
    let home = demo.home.path().to_path_buf();
    let data =
        std::fs::read_dir(home.join("data/policydeck")).map(|found| found.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    assert!(
        data.is_err() || data.is_ok_and(|names| !names.iter().any(|name| name == "journal" || name == "archives")),
        "nothing of it is kept"
    );
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""));
}

/// The guide of the demo, followed to the letter: no filter, no key that it does not name, each of them once the screen shows what it asks for.
#[test]
#[cfg(debug_assertions)]
fn the_guide_followed_literally_changes_its_own_policy_and_no_other() {
    const POLICY: &str = "disallow-host-process";
    let mut demo = demo_showing(&[("POLICYDECK_REHEARSE_SOAK", "1s")]);
    let session = &mut demo.session;
    let says = |n: usize| move |screen: &vt100::Screen| screen.contents().contains(&format!("{n}/8 "));
    let under_the_cursor = |screen: &vt100::Screen| screen.contents().lines().any(|line| line.starts_with(&format!("▌{POLICY} ")));
    let open = |to: &'static str| {
        move |screen: &vt100::Screen| {
            let row = |line: &str| line.starts_with(&format!("▌{POLICY} ")) && line.contains(to) && line.contains("✓ open");
            screen.contents().lines().any(row)
        }
    };
    session.until("the guide", says(1));
    session.keys(":rollout\r");
    session.until("the policy is listed", |screen| screen.contents().contains(POLICY) && screen.contents().contains("NEXT STEP"));
    session.until("a gate that is open", |screen| screen.contents().lines().any(|line| line.contains(POLICY) && line.contains("✓ open")));
    walk_to(session, POLICY);
    let steps = [
        (1, "dev · enforce", false),
        (2, "qac · audit", false),
        (3, "staging · audit", false),
        (4, "staging · enforce", false),
        (5, "PRODUCTION · audit", true),
        (6, "PRODUCTION · enforce", true),
    ];
    for (n, to, production) in steps {
        session.until("what to do", says(n));
        if n > 1 {
            session.keys("\r");
        }
        session.until_within("the cursor on the policy, its gate open", Duration::from_secs(60), open(to));
        session.keys("p");
        session.until("the preview", |screen| {
            screen.contents().contains(&format!("Promote {POLICY} to {to}")) && screen.contents().contains("ticket")
        });
        if production {
            session.keys("\u{1b}[F");
            session.until_text("type production to confirm");
            session.keys("production\r");
        } else {
            session.keys("y");
        }
        session.until_within("the result", Duration::from_secs(60), |screen| {
            screen.contents().contains(&format!("Promote {POLICY} to {to}: done"))
        });
    }
    session.until_within("the colleague", Duration::from_secs(60), says(7));
    session.keys("\r");
    session.until("the cursor on it although it is at the end", under_the_cursor);
    session.keys("r");
    session.until("earlier versions", |screen| {
        screen.contents().contains(&format!("Roll back {POLICY} in PRODUCTION")) && screen.contents().contains("back to")
    });
    session.keys("\r");
    session.until_text("ticket");
    session.keys("\u{1b}[F");
    session.until_text("type production to confirm");
    session.keys("production\r");
    session.until_within("the end of the tour", Duration::from_secs(60), says(8));
    session.keys("\r");
    session.keys("t");
    session.until("its timeline", |screen| screen.contents().contains(POLICY) && screen.contents().contains("now"));
    session.keys(":journal\r");
    session.until("seven operations", |screen| screen.contents().lines().filter(|line| line.contains(" done")).count() >= 7);
    for line in session.text().lines().filter(|line| line.contains("promote ") || line.contains("rollback ")) {
        assert!(line.contains(POLICY) || !line.contains("✓ done"), "another policy was changed: {line}");
    }
    session.keys(":q\r");
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""));
}

#[test]
fn whatever_ends_the_demo_the_terminal_is_given_back() {
    use rustix::process::Signal;
    let mut demo = demo_showing(&[]);
    demo.session.keys("\u{3}");
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""), "ctrl-c");
    for signal in [Signal::TERM, Signal::HUP] {
        let demo = demo_showing(&[]);
        demo.session.signal(signal);
        let (_, status, complaints) = demo.ended();
        assert_eq!((status, complaints.as_str()), (0, ""), "{signal:?}");
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_in_the_engine_gives_the_terminal_back_and_is_reported() {
    let demo = Demo::start(&[("POLICYDECK_REHEARSE_PANIC", "1500")]);
    demo.session.until("the alternate screen", vt100::Screen::alternate_screen);
    let (screen, status, complaints) = demo.ended();
    assert_ne!(status, 0);
    assert!(complaints.contains("a rehearsed panic in a background task"), "{complaints}");
    // The report came after the screen was left, and nothing of the screen came after it.
    assert!(!complaints.contains("\u{1b}[?") && !screen.contains("POLICY"), "{complaints}\n{screen}");
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_in_one_environment_is_shown_and_leaves_the_screen_and_the_others() {
    let mut demo = Demo::start(&[("POLICYDECK_REHEARSE_PANIC", "1500@station/dev")]);
    demo.session.until("dev has ended", |screen| screen.contents().contains("internal error in src/cluster/contained.rs"));
    demo.session.keys(":q\r");
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""));
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_while_an_environment_is_recorded_is_shown_and_leaves_the_screen() {
    let mut demo = Demo::start(&[("POLICYDECK_REHEARSE_PANIC", "1500@recorder/dev")]);
    demo.session.until("dev is not recorded", |screen| screen.contents().contains("dev is not recorded: internal error in"));
    demo.session.keys(":q\r");
    let (_, status, complaints) = demo.ended();
    assert_eq!((status, complaints.as_str()), (0, ""));
}
