//! The way to the terminal: what it has no room for at once is written by a thread of its own, so that it keeps nobody else waiting.
//!
//! What lives here: [`Outlet`], which holds what waits to be written and says when all of it was taken; how to write to a terminal
//! without being caught in it. What does not: what is written, when to draw.
//!
//! A terminal may stop reading for a minute: flow control, a line that hangs, a window that is dragged. The loop draws the next
//! frame only when the last one was taken, so what waits is one frame and never a minute of them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// More than this is not kept for a terminal that takes nothing: a big frame and a big piece of clipboard.
const MOST: usize = 1 << 20;
/// What is written at a time, so that the rest can be dropped.
const PORTION: usize = 4096;
/// How long a frame that is under way may take before its rest is dropped for the last words.
const COURTESY: Duration = Duration::from_millis(200);
/// CAN: ends whatever sequence was cut off (ECMA-48), and the synchronized update it was part of.
const CUT: &[u8] = b"\x18\x1b[?2026l";

/// What became of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The terminal has taken everything.
    All,
    /// It has not, yet.
    NotYet,
    /// It is gone.
    Gone(Arc<str>),
}

/// Clones lead to the same terminal.
#[derive(Debug, Clone)]
pub(super) struct Outlet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    line: Line,
    state: Mutex<State>,
    /// Something is to be written.
    news: Condvar,
    /// Something was written, or will not be.
    done: Condvar,
    taken: watch::Sender<Taken>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
    /// What waits is the rest of something that the terminal has begun to read.
    begun: bool,
    /// Counts the times that the rest of what was being written was dropped.
    drops: u64,
}

impl Outlet {
    /// Starts the thread.
    pub(super) fn open() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            line: Line::open()?,
            state: Mutex::default(),
            news: Condvar::new(),
            done: Condvar::new(),
            taken: watch::Sender::new(Taken::All),
        });
        let its = Arc::clone(&shared);
        thread::Builder::new().name("terminal".to_owned()).spawn(move || its.write_on())?;
        Ok(Self(shared))
    }

    /// Has these bytes written after what waits. They are dropped where too much waits already, and where the terminal is gone;
    /// [`Self::taken`] tells.
    pub(super) fn send(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        let gone = matches!(*self.0.taken.borrow(), Taken::Gone(_));
        if !gone && state.waiting.len() + bytes.len() <= MOST {
            // A terminal that has room takes it at once; only what it has no room for needs the thread, and the time to wake it.
            let idle = !state.writing && state.waiting.is_empty();
            let written = if idle { self.0.line.write_now(bytes) } else { 0 };
            if written == bytes.len() {
                return;
            }
            state.begun |= written > 0;
            state.waiting.extend_from_slice(&bytes[written..]);
            self.0.taken.send_if_modified(|taken| std::mem::replace(taken, Taken::NotYet) != Taken::NotYet);
            self.0.news.notify_one();
        }
    }

    /// Whether everything was taken, and the news of it.
    pub(super) fn taken(&self) -> watch::Receiver<Taken> {
        self.0.taken.subscribe()
    }

    /// Whether there is no terminal any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(*self.0.taken.borrow(), Taken::Gone(_)) || self.0.line.is_gone()
    }

    /// Writes these bytes instead of everything that waits, and returns when they are out, or after `patience`: a terminal that takes
    /// nothing loses what it had not read.
    pub(super) fn last_words(&self, bytes: &[u8], patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.0.wait(self.0.lock(), Instant::now() + COURTESY.min(patience / 2));
        state.waiting.clear();
        if state.writing || std::mem::take(&mut state.begun) {
            state.drops += 1;
            state.waiting.extend_from_slice(CUT);
            self.0.line.discard();
        }
        state.waiting.extend_from_slice(bytes);
        self.0.news.notify_one();
        state = self.0.wait(state, Instant::now() + patience / 2);
        if state.writing {
            // It was the room that was lacking: what the terminal has not read goes, and the words take its place.
            self.0.line.discard();
        }
        drop(self.0.wait(state, end));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing waits any more, until the terminal is gone, or until then.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        let patience = until.saturating_duration_since(Instant::now());
        let pending = |state: &mut State| (state.writing || !state.waiting.is_empty()) && !matches!(*self.taken.borrow(), Taken::Gone(_));
        self.done.wait_timeout_while(state, patience, pending).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The thread.
    fn write_on(&self) {
        let mut state = self.lock();
        loop {
            state = self.news.wait_while(state, |state| state.waiting.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let (bytes, drops) = (std::mem::take(&mut state.waiting), state.drops);
            (state.writing, state.begun) = (true, false);
            drop(state);
            let written = self.line.write(&bytes, || self.lock().drops != drops);
            state = self.lock();
            state.writing = false;
            if let Err(error) = written {
                self.taken.send_replace(Taken::Gone(Arc::from(error.to_string())));
                self.done.notify_all();
                return;
            }
            if state.waiting.is_empty() {
                // The room is kept for the next frame.
                state.waiting = bytes;
                state.waiting.clear();
                self.taken.send_replace(Taken::All);
            }
            self.done.notify_all();
        }
    }
}

#[cfg(unix)]
use unix::Line;

#[cfg(unix)]
mod unix {
    use super::PORTION;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
    use rustix::io::Errno;
    use rustix::termios::{QueueSelector, tcflush, tcgetattr, ttyname};
    use std::io::{self, stdout};
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    /// How often a terminal that takes nothing is looked at again, and whether its rest is still wanted.
    const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

    /// The terminal behind standard output, without blocking where that can be had.
    #[derive(Debug)]
    pub(super) struct Line(OwnedFd);

    impl Line {
        /// Opens the terminal anew: not to block is a property of the open file, and the one we were given is shared with the shell.
        /// Where that is not allowed (after `su`), a second handle of it has to do; then only this thread may block.
        pub(super) fn open() -> io::Result<Self> {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let anew = ttyname(stdout(), Vec::new()).and_then(|name| open(name, flags, Mode::empty()));
            match anew {
                Ok(own) => Ok(Self(own)),
                Err(_) => stdout().as_fd().try_clone_to_owned().map(Self),
            }
        }

        /// Writes what there is room for now, and says how much. What fails is found out by [`Self::write`].
        pub(super) fn write_now(&self, bytes: &[u8]) -> usize {
            let mut written = 0;
            // The handle that had to do in place of an own one may block.
            if fcntl_getfl(&self.0).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
                while written < bytes.len() {
                    let end = bytes.len().min(written + PORTION);
                    match rustix::io::write(&self.0, &bytes[written..end]) {
                        Ok(more @ 1..) => written += more,
                        Err(Errno::INTR) => {}
                        _ => break,
                    }
                }
            }
            written
        }

        /// Writes all of it, or until the rest is unwanted.
        pub(super) fn write(&self, mut bytes: &[u8], unwanted: impl Fn() -> bool) -> io::Result<()> {
            let mut in_vain = 0;
            while !bytes.is_empty() && !unwanted() {
                match rustix::io::write(&self.0, &bytes[..bytes.len().min(PORTION)]) {
                    Ok(written) => (bytes, in_vain) = (&bytes[written..], 0),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        in_vain += 1;
                        // An interruption is a look like any other.
                        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], Some(&LOOK));
                        if in_vain > 1 {
                            // Room that is promised and not there must not keep a processor busy.
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }

        /// Whether nobody is at the other end: then nothing can be asked of it.
        pub(super) fn is_gone(&self) -> bool {
            tcgetattr(&self.0).is_err_and(|error| error == Errno::IO)
        }

        /// Throws away what was written and not read.
        pub(super) fn discard(&self) {
            // A terminal that cannot do so keeps it.
            let _ = tcflush(&self.0, QueueSelector::OFlush);
        }
    }
}

#[cfg(not(unix))]
use elsewhere::Line;

#[cfg(not(unix))]
mod elsewhere {
    use super::PORTION;
    use std::io::{self, Write as _, stdout};

    /// Standard output. It may block; then only this thread does.
    #[derive(Debug)]
    pub(super) struct Line;

    impl Line {
        #[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
        pub(super) fn open() -> io::Result<Self> {
            Ok(Self)
        }

        /// Nothing: it might block.
        pub(super) fn write_now(&self, _: &[u8]) -> usize {
            0
        }

        pub(super) fn write(&self, bytes: &[u8], unwanted: impl Fn() -> bool) -> io::Result<()> {
            for portion in bytes.chunks(PORTION) {
                if unwanted() {
                    break;
                }
                stdout().write_all(portion)?;
            }
            stdout().flush()
        }

        pub(super) fn is_gone(&self) -> bool {
            false
        }

        pub(super) fn discard(&self) {}
    }
}
