//! policydeck in a pseudo-terminal, read as a person reads it: what stands on the screen, and since when.

use crate::process;
use crate::support::product::Desk;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read as _, Write};
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const ROWS: u16 = 40;
const COLUMNS: u16 = 120;

/// The screen as it is, and when it last changed.
struct Shown {
    parser: vt100::Parser,
    at: Instant,
    bytes: u64,
    frames: u64,
}

/// A running policydeck.
pub(crate) struct Screen {
    shown: Arc<(Mutex<Shown>, Condvar)>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    reader: Option<JoinHandle<()>>,
    _master: Box<dyn MasterPty + Send>,
    pub(crate) started: Instant,
}

impl Screen {
    /// Starts it on the desk's configuration.
    pub(crate) fn start(desk: &Desk) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let command = desk.command(&[]);
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(name, value),
                None => builder.env_remove(name),
            }
        }
        builder.env("TERM", "xterm-256color");
        let nonzero = |n| NonZero::new(n).expect("a size");
        let started = Instant::now();
        let shown = Shown { parser: vt100::Parser::new(nonzero(ROWS), nonzero(COLUMNS), 0), at: started, bytes: 0, frames: 0 };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let child = pair.slave.spawn_command(builder).expect("policydeck starts");
        drop(pair.slave);
        let mut input = pair.master.try_clone_reader().expect("a reader");
        let told = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            process::run_first();
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = input.read(&mut buffer) {
                let at = Instant::now();
                let mut shown = told.0.lock().expect("no panic");
                shown.at = at;
                shown.parser.process(&buffer[..read]);
                shown.bytes += read as u64;
                shown.frames += 1;
                told.1.notify_all();
            }
        });
        let writer = pair.master.take_writer().expect("a writer");
        Self { shown, writer, child, reader: Some(reader), _master: pair.master, started }
    }

    pub(crate) fn pid(&self) -> String {
        self.child.process_id().map(|pid| pid.to_string()).unwrap_or_default()
    }

    /// Waits until the text on the screen fits; the moment the terminal received it.
    pub(crate) fn until(&self, what: &str, patience: Duration, fits: impl Fn(&str) -> bool) -> Instant {
        let deadline = Instant::now() + patience;
        let mut shown = self.shown.0.lock().expect("no panic");
        loop {
            let text = shown.parser.screen().contents();
            if fits(&text) {
                return shown.at;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not within {patience:?}; the screen:\n{text}");
            shown = self.shown.1.wait_timeout(shown, left).expect("no panic").0;
        }
    }

    pub(crate) fn text(&self) -> String {
        self.shown.0.lock().expect("no panic").parser.screen().contents()
    }

    /// Bytes and writes that the terminal has received.
    pub(crate) fn received(&self) -> (u64, u64) {
        let shown = self.shown.0.lock().expect("no panic");
        (shown.bytes, shown.frames)
    }

    /// Types; returns when the keys are with the terminal.
    pub(crate) fn keys(&mut self, keys: &str) -> Instant {
        self.writer.write_all(keys.as_bytes()).and_then(|()| self.writer.flush()).expect("the terminal takes keys");
        Instant::now()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}
