//! The screen in a real pseudo-terminal: taken and given back, whatever happens.
//!
//! The program under test is this test program itself, started anew on the one ignored test that shows the fixture fleet.
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
use std::time::{Duration, Instant};

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
}

impl Session {
    fn start(environment: &[(&str, &str)]) -> Self {
        let (rows, cols) = (30, 100);
        let pair = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "program", "--nocapture"]);
        command.env("TERM", "xterm-256color");
        command.env("RUST_BACKTRACE", "0");
        for (key, value) in environment {
            command.env(key, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(cols), 0)));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let parser = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..n]);
            }
        });
        Self { screen, writer: pair.master.take_writer().unwrap(), child, master: pair.master }
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

    /// Waits for the end; the screen must be the shell's again.
    fn ended(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the program did not end; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.until("the end of the output", |screen| screen.contents().contains("test result"));
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(), "the terminal was not restored");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        screen.contents()
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
    use rustix::process::Signal;
    let mut session = showing(&[]);
    for by_key in [true, false] {
        if by_key {
            session.keys("\u{1a}");
        } else {
            session.signal(Signal::TSTP);
        }
        session.until(if by_key { "the shell's screen after ctrl-z" } else { "the shell's screen after SIGTSTP" }, |screen| {
            !screen.alternate_screen()
        });
        session.signal(Signal::CONT);
        session.until("the screen again", |screen| screen.alternate_screen() && screen.contents().contains("require-pod-requests-limits"));
    }
    session.keys("q");
    session.ended();
}

#[test]
fn resized_to_almost_nothing_and_back() {
    let mut session = showing(&[]);
    for (rows, cols) in [(1, 1), (3, 7), (60, 200), (24, 80)] {
        session.screen.lock().unwrap().screen_mut().set_size(size(rows), size(cols));
        session.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        std::thread::sleep(Duration::from_millis(60));
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
