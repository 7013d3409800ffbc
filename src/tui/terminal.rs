//! The terminal: taken once, given back whatever happens.
//!
//! What lives here: the guard (raw mode, alternate screen, mouse, bracketed paste), synchronized output, the panic hook, signals,
//! suspending, the clipboard. What does not: what is drawn.

use super::event_loop::Host;
use super::msg::Msg;
use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{execute, queue};
use std::io::{self, Stdout, Write, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Whether the screen is ours now. Leaving swaps it, so that it happens once, whoever comes first: the guard or the panic hook.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The first panic of any task while the screen was ours.
static PANIC: Mutex<Option<String>> = Mutex::new(None);
static PANICKED: Notify = Notify::const_new();

/// Takes the screen.
fn enter() -> io::Result<()> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide, EnableMouseCapture, EnableBracketedPaste)
}

/// Gives it back; a second call does nothing.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing can be done about a terminal that is gone; what can be given back is.
        let _ = execute!(stdout(), DisableBracketedPaste, DisableMouseCapture, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Collects what is written and sends it at every flush as one synchronized update, so that no half frame is ever seen.
#[derive(Debug)]
pub(super) struct FrameWriter {
    frame: Vec<u8>,
    out: Stdout,
}

impl FrameWriter {
    pub(super) fn new() -> Self {
        Self { frame: Vec::with_capacity(64 * 1024), out: stdout() }
    }
}

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            let mut out = self.out.lock();
            out.write_all(b"\x1b[?2026h")?;
            out.write_all(&self.frame)?;
            out.write_all(b"\x1b[?2026l")?;
            self.frame.clear();
        }
        self.out.flush()
    }
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync + 'static>;

/// Holds the screen; dropping it gives the screen back and the old panic hook its place.
pub(super) struct Guard {
    signals: Signals,
}

impl Guard {
    /// Sets the panic hook, then takes the screen.
    pub(super) fn new() -> io::Result<Self> {
        if let Ok(mut panic) = PANIC.lock() {
            *panic = None;
        }
        let before: Hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = TAKEN.load(Ordering::SeqCst);
            leave();
            if ours {
                if let Ok(mut panic) = PANIC.lock() {
                    panic.get_or_insert_with(|| info.to_string());
                }
                PANICKED.notify_one();
            }
            before(info);
        }));
        let signals = Signals::new()?;
        let guard = Self { signals };
        enter()?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

impl Host for Guard {
    async fn signal(&mut self) -> Msg {
        tokio::select! {
            msg = self.signals.next() => msg,
            // Wakes the loop, which then finds the report.
            () = PANICKED.notified() => Msg::Clock,
        }
    }

    fn suspend(&mut self) -> io::Result<()> {
        leave();
        stop()
    }

    fn resume(&mut self) -> io::Result<()> {
        // Somebody else may have had the terminal: set everything again, whatever we believe.
        TAKEN.store(false, Ordering::SeqCst);
        enter()
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        // Terminals drop what is too long for them; some stop at 74 kB.
        queue!(stdout(), CopyToClipboard::to_clipboard_from(text))?;
        stdout().flush()
    }

    fn panicked(&self) -> Option<String> {
        PANIC.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |panic| panic.clone())
    }
}

#[cfg(unix)]
use unix::{Signals, stop};

#[cfg(unix)]
mod unix {
    use super::Msg;
    use rustix::process::{Signal as Number, getpid, kill_process};
    use std::io;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Signals as messages.
    pub(super) struct Signals {
        ending: [Signal; 3],
        stop: Signal,
        go_on: Signal,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            let on = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
            Ok(Self { ending: [on(Number::TERM)?, on(Number::HUP)?, on(Number::INT)?], stop: on(Number::TSTP)?, go_on: on(Number::CONT)? })
        }

        pub(super) async fn next(&mut self) -> Msg {
            let [term, hup, int] = &mut self.ending;
            tokio::select! {
                _ = term.recv() => Msg::Terminate,
                _ = hup.recv() => Msg::Terminate,
                _ = int.recv() => Msg::Terminate,
                _ = self.stop.recv() => Msg::Suspend,
                _ = self.go_on.recv() => Msg::Redraw,
            }
        }
    }

    /// Stops this process until it is continued. SIGSTOP, because SIGTSTP is what we listen to.
    pub(super) fn stop() -> io::Result<()> {
        kill_process(getpid(), Number::STOP).map_err(io::Error::from)
    }
}

#[cfg(not(unix))]
use elsewhere::{Signals, stop};

#[cfg(not(unix))]
mod elsewhere {
    use super::Msg;
    use std::io;

    /// Ctrl-C only.
    pub(super) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn next(&mut self) -> Msg {
            match tokio::signal::ctrl_c().await {
                Ok(()) => Msg::Terminate,
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// There is no stopping here: the screen is taken again at once.
    pub(super) fn stop() -> io::Result<()> {
        super::enter()
    }
}
