//! The screen in a real pseudo-terminal: taken and given back, whatever happens.
//!
//! The program under test is this test program itself, started anew on the one ignored test that shows the fixture fleet, and then
//! policydeck's own binary with the demo's clusters.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "screens/fixture.rs"]
mod fixture;

use jiff::tz::TimeZone;
use policydeck::tui::{TuiOptions, run_on};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

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

fn size(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

struct Session {
    screen: Arc<Mutex<vt100::Parser>>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    reading: JoinHandle<()>,
    /// The program's home, if it is the real one.
    home: Option<TempDir>,
}

impl Session {
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "program", "--nocapture"]);
        for (key, value) in environment {
            command.env(key, value);
        }
        Self::run(command, (30, 100), None)
    }

    /// The real program on the demo's clusters, with a home of its own and its complaints in the file `complaints` there.
    fn demo(environment: &[(&str, &str)]) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", "exec \"$0\" demo 2> \"$HOME/complaints\"", env!("CARGO_BIN_EXE_policydeck")]);
        for name in ["KUBECONFIG", "NO_COLOR", "POLICYDECK_LOG", "POLICYDECK_REHEARSE_PANIC"] {
            command.env_remove(name);
        }
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
        Self::run(command, (40, 120), Some(home))
    }

    fn run(mut command: CommandBuilder, (rows, cols): (u16, u16), home: Option<TempDir>) -> Self {
        let pair = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        command.env("TERM", "xterm-256color");
        command.env("RUST_BACKTRACE", "0");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(cols), 0)));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let parser = screen.clone();
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..n]);
            }
        });
        Self { screen, writer: pair.master.take_writer().unwrap(), child, master: pair.master, reading, home }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self.screen.lock().unwrap().screen()) {
            assert!(Instant::now() < deadline, "{what} did not come; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn until_text(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    fn keys(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn resize(&self, rows: u16, cols: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(size(rows), size(cols));
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }

    /// Stops the program in one of two ways and lets it go on; meanwhile the screen must be the shell's.
    fn stop_and_continue(&mut self, by_key: bool, text: &str) {
        use rustix::process::Signal;
        if by_key {
            self.keys("\u{1a}");
        } else {
            self.signal(Signal::TSTP);
        }
        self.until(if by_key { "the shell's screen after ctrl-z" } else { "the shell's screen after SIGTSTP" }, |screen| {
            !screen.alternate_screen()
        });
        self.signal(Signal::CONT);
        self.until("the screen again", |screen| screen.alternate_screen() && screen.contents().contains(text));
    }

    /// Waits for the end; the screen must be the shell's again. What stands on it, and the exit status.
    fn ended(self) -> String {
        self.ended_with().0
    }

    fn ended_with(mut self) -> (String, u32, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the program did not end; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        // The terminal is closed once nobody holds its other end: then everything has been read.
        self.reading.join().unwrap();
        let complaints = self.home.map_or_else(String::new, |home| std::fs::read_to_string(home.path().join("complaints")).unwrap());
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(), "the terminal was not restored");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        (screen.contents(), status.exit_code(), complaints)
    }
}

fn showing(environment: &[(&str, &str)]) -> Session {
    let session = Session::start(environment);
    session.until_text("require-pod-requests-limits");
    session.until("the alternate screen", vt100::Screen::alternate_screen);
    session
}

#[test]
fn q_and_ctrl_c_give_the_terminal_back() {
    for key in ["q", "\u{3}", ":q\r"] {
        let mut session = showing(&[]);
        session.keys(key);
        assert!(session.ended().contains("ended well"));
    }
}

#[test]
fn signals_that_end_give_the_terminal_back() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let session = showing(&[]);
        session.signal(signal);
        assert!(session.ended().contains("ended well"));
    }
}

#[test]
fn a_panic_in_a_background_task_ends_the_program_with_a_report() {
    let session = Session::start(&[("POLICYDECK_TEST_PANIC", "1")]);
    let text = session.ended();
    assert!(text.contains("forced in a background task") && text.contains("all of it ends"), "{text}");
}

#[test]
fn stopped_and_continued_the_screen_comes_back_whole() {
    let mut session = showing(&[]);
    for by_key in [true, false] {
        session.stop_and_continue(by_key, "require-pod-requests-limits");
    }
    session.keys("q");
    session.ended();
}

#[test]
fn resized_to_almost_nothing_and_back() {
    let mut session = showing(&[]);
    for (rows, cols) in [(1, 1), (3, 7), (60, 200), (24, 80)] {
        session.resize(rows, cols);
    }
    session.until_text("require-pod-requests-limits");
    session.keys("q");
    session.ended();
}

#[test]
fn keys_are_answered_at_once() {
    let mut session = showing(&[]);
    session.keys("?");
    let start = Instant::now();
    session.until_text("Everywhere");
    // The clock draws once a second: only a key that is answered by itself is this fast.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    session.keys("?");
    session.until("help to go", |screen| !screen.contents().contains("Everywhere"));
    session.keys("q");
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

fn demo_showing(environment: &[(&str, &str)]) -> Session {
    let session = Session::demo(environment);
    session.until("four environments live", |screen| {
        let head = screen.contents();
        screen.alternate_screen() && head.lines().next().is_some_and(|line| line.matches("● live").count() == 4)
    });
    session
}

#[test]
fn the_demo_from_the_matrix_down_to_an_object_and_out() {
    let mut session = demo_showing(&[]);
    // On the first policy's first number: its rows, a finding, the object behind it.
    session.until("faults", |screen| screen.contents().contains("POLICY ↓ faults") && screen.contents().contains(" owners in "));
    session.keys("\r");
    session.until("the keys of the rows", |screen| screen.contents().lines().last().is_some_and(|line| line.contains("y yaml")));
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
    session.until_text("left out by the filter latest");
    session.keys("\u{1b}");
    session.until("the filter gone", |screen| !screen.contents().contains("left out by the filter"));
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
    let home = session.home.as_ref().unwrap().path();
    let saved = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "txt"));
    assert!(std::fs::read_to_string(saved.unwrap()).unwrap().contains("POLICY ↓ faults"));
    session.keys("q");
    let (_, status, complaints) = session.ended_with();
    assert_eq!((status, complaints.as_str()), (0, ""));
}

#[test]
fn whatever_ends_the_demo_the_terminal_is_given_back() {
    use rustix::process::Signal;
    let mut session = demo_showing(&[]);
    session.keys("\u{3}");
    let (_, status, complaints) = session.ended_with();
    assert_eq!((status, complaints.as_str()), (0, ""), "ctrl-c");
    for signal in [Signal::TERM, Signal::HUP] {
        let session = demo_showing(&[]);
        session.signal(signal);
        let (_, status, complaints) = session.ended_with();
        assert_eq!((status, complaints.as_str()), (0, ""), "{signal:?}");
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_in_the_engine_gives_the_terminal_back_and_is_reported() {
    let session = Session::demo(&[("POLICYDECK_REHEARSE_PANIC", "1500")]);
    session.until("the alternate screen", vt100::Screen::alternate_screen);
    let (screen, status, complaints) = session.ended_with();
    assert_ne!(status, 0);
    assert!(complaints.contains("a rehearsed panic in a background task"), "{complaints}");
    // The report came after the screen was left, and nothing of the screen came after it.
    assert!(!complaints.contains("\u{1b}[?") && !screen.contains("POLICY"), "{complaints}\n{screen}");
}
