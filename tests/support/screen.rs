//! A program in a pseudo-terminal: keys in, the screen out, and whatever may happen to a terminal meanwhile.
//!
//! Nothing here knows what the program is, and nothing else of `support` is used, so that any test binary can have it.
#![allow(dead_code, reason = "each test binary uses its part of the shared support")]
#![allow(clippy::unwrap_used, reason = "support of tests: a surprise ends the test where it happens")]

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take that is waited for, unless a test says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of what the program writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    On,
    /// Nobody reads: the pseudo-terminal fills, and the program's writes block.
    Held,
    /// The terminal is to be closed.
    Over,
}

struct Gate {
    reading: Mutex<Reading>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, reading: Reading) {
        *self.reading.lock().unwrap() = reading;
        self.changed.notify_all();
    }
}

/// A running program and its terminal. Dropping it kills the program.
pub(crate) struct Session {
    screen: Arc<Mutex<vt100::Parser>>,
    gate: Arc<Gate>,
    written: Arc<AtomicU64>,
    escapes: Arc<AtomicU64>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    reading: Option<JoinHandle<()>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    /// What stands on the screen; the terminal was given back.
    pub(crate) screen: String,
    pub(crate) status: u32,
}

/// A program to be started in a terminal, with what every such program gets. The caller adds arguments and environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> CommandBuilder {
    let mut command = CommandBuilder::new(program);
    command.env("TERM", "xterm-256color");
    command.env("RUST_BACKTRACE", "0");
    for name in ["KUBECONFIG", "NO_COLOR", "COLORTERM", "POLICYDECK_LOG", "POLICYDECK_REHEARSE_PANIC", "POLICYDECK_REHEARSE_SOAK"] {
        command.env_remove(name);
    }
    command
}

fn size(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

impl Session {
    /// Starts a command in a terminal of this many rows and columns.
    pub(crate) fn start(command: CommandBuilder, (rows, cols): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(cols), 0)));
        let gate = Arc::new(Gate { reading: Mutex::new(Reading::On), changed: Condvar::new() });
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (written, escapes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (parser, open) = (Arc::clone(&screen), Arc::clone(&gate));
        let (count, count_escapes) = (Arc::clone(&written), Arc::clone(&escapes));
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..n]);
                count.fetch_add(n as u64, Ordering::Relaxed);
                count_escapes.fetch_add(buffer[..n].split(|byte| *byte == 0x1b).skip(1).count() as u64, Ordering::Relaxed);
                let held = open.changed.wait_while(open.reading.lock().unwrap(), |reading| *reading == Reading::Held).unwrap();
                if *held == Reading::Over {
                    return;
                }
            }
        });
        let writer = Some(pair.master.take_writer().unwrap());
        Self { screen, gate, written, escapes, writer, child, master: Some(pair.master), reading: Some(reading) }
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap()).unwrap()
    }

    /// What stands on the screen.
    pub(crate) fn text(&self) -> String {
        self.look(vt100::Screen::contents)
    }

    /// The line of the screen that begins with this, blanks aside.
    pub(crate) fn line(&self, begins: &str) -> Option<String> {
        self.text().lines().find(|line| line.trim_start_matches([' ', '▌']).starts_with(begins)).map(str::to_owned)
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    /// Waits until the screen is so.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        self.until_within(what, PATIENCE, holds);
    }

    pub(crate) fn until_within(&self, what: &str, patience: Duration, holds: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + patience;
        while !self.look(&holds) {
            assert!(Instant::now() < deadline, "{what}: not within {patience:?}; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn until_text(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    /// How many escape sequences were among them.
    pub(crate) fn escapes(&self) -> u64 {
        self.escapes.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Another size, and waits until the program has drawn on it.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(size(rows), size(cols));
        let before = self.written();
        self.master.as_ref().unwrap().resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        self.until("something drawn", |_| self.written() > before);
    }

    /// How many bytes the program has written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Stops the program in one of two ways and lets it go on; meanwhile the screen must be the shell's.
    pub(crate) fn stop_and_continue(&mut self, by_key: bool, text: &str) {
        if by_key {
            self.keys("\u{1a}");
        } else {
            self.signal(Signal::TSTP);
        }
        let what = if by_key { "the shell's screen after ctrl-z" } else { "the shell's screen after SIGTSTP" };
        self.until(what, |screen| !screen.alternate_screen());
        self.signal(Signal::CONT);
        self.until("the screen again", |screen| screen.alternate_screen() && screen.contents().contains(text));
    }

    /// Reads no more of what the program writes, as a terminal that is stopped or a line that hangs. The read that is under way is the last.
    pub(crate) fn hold(&self) {
        self.gate.set(Reading::Held);
    }

    /// Reads again.
    pub(crate) fn release(&self) {
        self.gate.set(Reading::On);
    }

    /// Closes the terminal, as a window that is closed; the program finds out.
    pub(crate) fn close(&mut self) {
        self.gate.set(Reading::Over);
        // The thread that reads holds the terminal open until the program has written once more.
        let _ = self.reading.take().map(JoinHandle::join);
        (self.writer, self.master) = (None, None);
    }

    /// The exit status, once the program has ended.
    pub(crate) fn status(&mut self) -> Option<u32> {
        self.child.try_wait().unwrap().map(|status| status.exit_code())
    }

    /// Waits for the end, however the terminal looks then.
    pub(crate) fn exit_within(&mut self, patience: Duration) -> u32 {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program did not end within {patience:?}; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end; the screen must be the shell's again.
    pub(crate) fn ended(mut self) -> End {
        let status = self.exit_within(PATIENCE);
        // The terminal is closed once nobody holds its other end: then everything has been read.
        self.reading.take().unwrap().join().unwrap();
        self.look(|screen| {
            assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(), "the terminal was not restored");
            assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        });
        End { screen: self.text(), status }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.gate.set(Reading::Over);
    }
}
