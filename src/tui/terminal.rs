//! The terminal: taken once, given back whatever happens.
//!
//! What lives here: the guard (raw mode, alternate screen, mouse, bracketed paste), synchronized output, the panic hook, signals,
//! suspending, the clipboard. What does not: what is drawn; how bytes get to the terminal (`outlet`).

use super::event_loop::Host;
use super::msg::Msg;
use super::outlet::{Outlet, Taken};
use crate::engine::is_contained;
use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use futures::Stream;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Whether the screen is ours now. Leaving swaps it, so that it happens once, whoever comes first: the guard or the panic hook.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The first panic of any task while the screen was ours.
static PANIC: Mutex<Option<String>> = Mutex::new(None);
static PANICKED: Notify = Notify::const_new();

/// How long a terminal that takes nothing may keep the program from leaving it.
const LEAVING: Duration = Duration::from_millis(800);
/// Events that may wait for the loop.
const INPUT: usize = 64;
/// How long the loop has to end when it was asked to, or when the terminal is gone.
const ENDING: Duration = Duration::from_millis(1500);

/// Takes the screen.
fn enter(outlet: &Outlet) -> io::Result<()> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    enable_raw_mode()?;
    outlet.send(&entering()?);
    Ok(())
}

/// What takes the screen. It is cleared, too: where there is no other screen (GNU screen as it comes, the Linux console) what the shell has written
/// would show through wherever a frame leaves blank what it takes for blank.
fn entering() -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    queue!(words, EnterAlternateScreen, Clear(ClearType::All), Hide, EnableMouseCapture, EnableBracketedPaste)?;
    Ok(words)
}

/// Gives it back; a second call does nothing.
fn leave(outlet: &Outlet) {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut words = Vec::new();
        // Nothing can be done about a terminal that is gone; what can be given back is.
        let _ = queue!(words, DisableBracketedPaste, DisableMouseCapture, Show, LeaveAlternateScreen);
        outlet.last_words(&words, LEAVING);
        let _ = disable_raw_mode();
    }
}

/// Collects what is written and sends it at every flush as one synchronized update, so that no half frame is ever seen.
#[derive(Debug)]
pub(super) struct FrameWriter {
    frame: Vec<u8>,
    outlet: Outlet,
}

const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.frame.is_empty() {
            self.frame.extend_from_slice(BEGIN);
        }
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.frame.extend_from_slice(END);
            self.outlet.send(&self.frame);
            self.frame.clear();
        }
        Ok(())
    }
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync + 'static>;

/// Holds the screen; dropping it gives the screen back and the old panic hook its place.
pub(super) struct Guard {
    signals: Signals,
    outlet: Outlet,
    watchman: JoinHandle<()>,
}

impl Guard {
    /// Sets the panic hook, then takes the screen.
    pub(super) fn new() -> io::Result<Self> {
        if let Ok(mut panic) = PANIC.lock() {
            *panic = None;
        }
        let outlet = Outlet::open()?;
        let before: Hook = std::panic::take_hook();
        let its = outlet.clone();
        std::panic::set_hook(Box::new(move |info| {
            // It ends one environment, which the screen goes on to show.
            if is_contained() {
                before(info);
                return;
            }
            let ours = TAKEN.load(Ordering::SeqCst);
            leave(&its);
            if ours {
                if let Ok(mut panic) = PANIC.lock() {
                    panic.get_or_insert_with(|| info.to_string());
                }
                PANICKED.notify_one();
            }
            before(info);
        }));
        let signals = Signals::new()?;
        let watchman = tokio::spawn(watch_over(outlet.clone(), Ending::new()?));
        let guard = Self { signals, outlet, watchman };
        enter(&guard.outlet)?;
        Ok(guard)
    }

    /// Whether there is no terminal any more.
    pub(super) fn is_gone(&self) -> bool {
        self.outlet.is_gone()
    }

    /// What frames are written to.
    pub(super) fn writer(&self) -> FrameWriter {
        FrameWriter { frame: Vec::with_capacity(64 * 1024), outlet: self.outlet.clone() }
    }
}

/// Ends the program where the loop does not, although it was asked to or has lost its terminal.
async fn watch_over(outlet: Outlet, mut ending: Ending) {
    let mut taken = outlet.taken();
    tokio::select! {
        () = ending.next() => {}
        Ok(_) = taken.wait_for(|taken| matches!(taken, Taken::Gone(_))) => {}
    }
    sleep(ENDING).await;
    leave(&outlet);
    std::process::exit(1);
}

/// Keys, the mouse and sizes, read by a thread of its own. Not in the loop: crossterm reads a terminal that is gone over and over and never returns
/// (0.29, `event/source/unix/mio.rs`). And not in a task: a key would wait there for whatever a worker is folding.
pub(super) fn input() -> io::Result<impl Stream<Item = io::Result<Event>> + Unpin> {
    let (sender, mut receiver) = mpsc::channel(INPUT);
    // It ends with the program, or at the next key after the screen was left.
    let read_on = move || while sender.blocking_send(event::read()).is_ok() {};
    thread::Builder::new().name("keys".to_owned()).spawn(read_on)?;
    Ok(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave(&self.outlet);
        self.watchman.abort();
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
        leave(&self.outlet);
        stop()?;
        // Where nothing stops, the screen is taken again at once.
        if cfg!(unix) { Ok(()) } else { enter(&self.outlet) }
    }

    fn resume(&mut self) -> io::Result<()> {
        // Somebody else may have had the terminal: set everything again, whatever we believe.
        TAKEN.store(false, Ordering::SeqCst);
        enter(&self.outlet)
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        // Terminals drop what is too long for them; some stop at 74 kB.
        let mut words = Vec::new();
        queue!(words, CopyToClipboard::to_clipboard_from(text))?;
        self.outlet.send(&words);
        Ok(())
    }

    fn taken(&self) -> watch::Receiver<Taken> {
        self.outlet.taken()
    }

    fn panicked(&self) -> Option<String> {
        PANIC.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |panic| panic.clone())
    }
}

#[cfg(unix)]
use unix::{Ending, Signals, stop};

#[cfg(unix)]
mod unix {
    use super::Msg;
    use rustix::process::{Signal as Number, getpid, kill_process};
    use std::io;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    fn on(number: Number) -> io::Result<Signal> {
        signal(SignalKind::from_raw(number.as_raw()))
    }

    /// The signals that end the program.
    pub(super) struct Ending([Signal; 3]);

    impl Ending {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self([on(Number::TERM)?, on(Number::HUP)?, on(Number::INT)?]))
        }

        pub(super) async fn next(&mut self) {
            let [term, hup, int] = &mut self.0;
            tokio::select! {
                _ = term.recv() => {}
                _ = hup.recv() => {}
                _ = int.recv() => {}
            }
        }
    }

    /// Signals as messages.
    pub(super) struct Signals {
        ending: Ending,
        stop: Signal,
        go_on: Signal,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self { ending: Ending::new()?, stop: on(Number::TSTP)?, go_on: on(Number::CONT)? })
        }

        pub(super) async fn next(&mut self) -> Msg {
            tokio::select! {
                () = self.ending.next() => Msg::Terminate,
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
use elsewhere::{Ending, Signals, stop};

#[cfg(not(unix))]
mod elsewhere {
    use super::Msg;
    use std::io;

    /// Ctrl-C only.
    pub(super) struct Ending;

    impl Ending {
        #[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn next(&mut self) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// The same as messages.
    pub(super) struct Signals(Ending);

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ending::new().map(Self)
        }

        pub(super) async fn next(&mut self) -> Msg {
            self.0.next().await;
            Msg::Terminate
        }
    }

    /// There is no stopping here.
    #[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
    pub(super) fn stop() -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_with_one_screen_only_shows_nothing_of_the_shells() {
        let words = String::from_utf8(entering().unwrap()).unwrap();
        let (entered, cleared) = (words.find("\x1b[?1049h"), words.find("\x1b[2J"));
        assert!(entered.is_some() && entered < cleared, "{words:?}");
    }
}
