//! The loop: what happens next, and when to draw.
//!
//! What lives here: the select over signals, keys, views, answers and the clock; frame pacing; carrying out effects. It is generic
//! over the backend, the input and the source, so that tests drive the real one. What does not: what any of it means (`app`).
//!
//! Nothing in a turn awaits or blocks. Every queue is bounded: input is drained in portions, views are a `watch` that keeps only the
//! newest, there is at most one answer under way per kind of question, and nothing is drawn before the terminal has taken the last frame.

use super::acting::Progress;
use super::app::App;
use super::msg::{Answer, Ask, Effect, Msg};
use super::outlet::Taken;
use super::save::Saver;
use super::source::Source;
use crate::ops::plan::Plan;
use crossterm::event::{Event, KeyEventKind};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::Backend;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// No more than this much input is taken before the screen is looked at again.
const INPUT_PORTION: usize = 64;
/// Between two frames that answer keys, which may come in a flood. A frame that showed newer data keeps no key waiting.
const KEY_PACE: Duration = Duration::from_millis(4);
/// Between two frames that only show newer data.
const DATA_PACE: Duration = Duration::from_millis(33);
/// So long what becomes of a write is waited for after the terminal has gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(120);

/// The clock may call so much early or late.
const CLOCK_SLACK: Duration = Duration::from_millis(5);

/// When frames were drawn, and when the next one may be.
struct Frames {
    last: Instant,
    /// The last one that answered keys.
    last_for_keys: Instant,
    next: Option<Instant>,
    next_is_for_keys: bool,
}

impl Frames {
    /// The first one is due.
    fn new(start: Instant) -> Self {
        let long_ago = start.checked_sub(DATA_PACE).unwrap_or(start);
        Self { last: long_ago, last_for_keys: long_ago, next: Some(start), next_is_for_keys: false }
    }

    /// There is something to show.
    fn wanted(&mut self, by: Cause, now: Instant) {
        let earliest = match by {
            Cause::Keys => self.last_for_keys + KEY_PACE,
            Cause::Data => self.last + DATA_PACE,
        };
        self.next_is_for_keys |= by == Cause::Keys;
        self.next = Some(self.next.map_or(earliest, |at| at.min(earliest)).max(now));
    }

    fn drawn(&mut self, now: Instant) {
        self.last = now;
        self.next = None;
        if std::mem::take(&mut self.next_is_for_keys) {
            self.last_for_keys = now;
        }
    }
}

/// What a frame is drawn for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A person waits.
    Keys,
    /// Something is newer than what is shown.
    Data,
}

/// What the loop needs of the terminal beside drawing on it.
pub trait Host {
    /// Signals, as messages; pends for ever where there are none.
    fn signal(&mut self) -> impl Future<Output = Msg>;

    /// Leaves the screen and stops the process. A stop reaches a process with several threads a moment after the call that asks for
    /// it, so that this returns; the signal that continues the process comes as [`Msg::Redraw`], and until then nothing may be drawn.
    fn suspend(&mut self) -> io::Result<()>;

    /// Takes the screen again after somebody else may have had it.
    fn resume(&mut self) -> io::Result<()>;

    /// Puts text on the terminal's clipboard.
    fn copy(&mut self, text: &str) -> io::Result<()>;

    /// What became of what was drawn.
    fn taken(&self) -> watch::Receiver<Taken>;

    /// Whether a task has panicked; the screen is gone then and must not be drawn on.
    fn panicked(&self) -> Option<String>;
}

/// Why the loop ended badly.
#[derive(Debug)]
pub enum LoopError {
    /// The terminal failed.
    Terminal(String),
    /// A task panicked.
    Panicked(String),
}

/// Carries out questions: one task per kind, a newer question ends the older one. Nothing ends a write.
struct Asking<S> {
    source: S,
    tasks: JoinSet<()>,
    running: [Option<AbortHandle>; Ask::SLOTS],
    answers: mpsc::Sender<Msg>,
    /// Not among the tasks, which end with the loop.
    writing: Option<JoinHandle<()>>,
    progress: watch::Sender<Progress>,
}

impl<S: Source> Asking<S> {
    fn ask(&mut self, number: u64, ask: Ask) {
        let slot = ask.slot();
        if let Some(older) = self.running[slot].take() {
            older.abort();
        }
        let (source, answers) = (self.source.clone(), self.answers.clone());
        self.running[slot] = Some(self.tasks.spawn(async move {
            let answer = source.answer(ask).await;
            // The loop is gone when nobody listens: nothing is lost.
            let _ = answers.send(Msg::Answer(number, answer)).await;
        }));
    }

    /// Carries plans out, in a task that nothing ends. There is one at a time: the screen sees to that.
    fn carry_out(&mut self, number: u64, plans: Arc<[Plan]>) {
        let (source, answers, progress) = (self.source.clone(), self.answers.clone(), self.progress.clone());
        self.writing = Some(tokio::spawn(async move {
            let carried = source.carry_out(plans, progress).await;
            // Nobody listens any more where the terminal is gone; the journal has it.
            let _ = answers.send(Msg::Answer(number, Answer::CarriedOut(carried))).await;
        }));
    }

    /// Waits until it is known what became of a write, for a while.
    async fn finish(mut self) {
        if let Some(writing) = self.writing.take() {
            // A panic in it has been reported, and one that takes too long has left its intent in the journal.
            let _ = timeout(WRITE_PATIENCE, writing).await;
        }
    }

    /// Keeps a text, on a thread that may block.
    fn save(&mut self, saver: Saver, text: String) {
        let answers = self.answers.clone();
        self.tasks.spawn_blocking(move || {
            let outcome = saver.save(&text);
            let _ = answers.blocking_send(Msg::Saved(outcome));
        });
    }
}

/// Runs until the program is asked to end. `now` is the clock.
///
/// A terminal that goes away while plans are carried out does not end that: what becomes of them is waited for.
pub async fn run<B, I, S, H>(
    terminal: &mut Terminal<B>,
    input: I,
    source: S,
    app: &mut App,
    host: &mut H,
    now: fn() -> Timestamp,
) -> Result<(), LoopError>
where
    B: Backend,
    I: Stream<Item = io::Result<Event>> + Unpin,
    S: Source,
    H: Host,
{
    let (sender, answers) = mpsc::channel(Ask::SLOTS + 2);
    let progress = watch::Sender::new(Progress::default());
    let mut asking =
        Asking { source, tasks: JoinSet::new(), running: [const { None }; Ask::SLOTS], answers: sender, writing: None, progress };
    let ended = turns(terminal, input, &mut asking, answers, app, host, now).await;
    if !app.has_given_up() && !matches!(ended, Err(LoopError::Panicked(_))) {
        asking.finish().await;
    }
    ended
}

async fn turns<B, I, S, H>(
    terminal: &mut Terminal<B>,
    mut input: I,
    asking: &mut Asking<S>,
    mut answers: mpsc::Receiver<Msg>,
    app: &mut App,
    host: &mut H,
    now: fn() -> Timestamp,
) -> Result<(), LoopError>
where
    B: Backend,
    I: Stream<Item = io::Result<Event>> + Unpin,
    S: Source,
    H: Host,
{
    let mut fleet = asking.source.fleet();
    fleet.mark_changed();
    let mut progress = asking.progress.subscribe();
    let start = Instant::now();
    let mut frames = Frames::new(start);
    let mut taken = host.taken();
    let mut engine_gone = false;
    let mut away = false;
    let clock = sleep_until(start);
    tokio::pin!(clock);
    loop {
        let wake = Instant::now() + until(now(), app.wake());
        // Setting a timer wakes the thread that keeps them: only where it is another one.
        if clock.is_elapsed() || wake.max(clock.deadline()) - wake.min(clock.deadline()) > CLOCK_SLACK {
            clock.as_mut().reset(wake);
        }
        let mut effects = Vec::new();
        let cause = tokio::select! {
            biased;
            msg = host.signal() => {
                if matches!(msg, Msg::Redraw) {
                    away = false;
                    host.resume().map_err(|e| terminal_error(&e))?;
                }
                effects.extend(app.update(now(), msg));
                Cause::Keys
            }
            event = input.next(), if !away => {
                let mut event = event;
                for _ in 0..INPUT_PORTION {
                    match event {
                        None => return Ok(()),
                        Some(Err(e)) => return Err(terminal_error(&e)),
                        Some(Ok(e)) => effects.extend(translate(e).map(|msg| app.update(now(), msg)).unwrap_or_default()),
                    }
                    match ready(&mut input).await {
                        Poll::Ready(more) => event = more,
                        Poll::Pending => break,
                    }
                }
                Cause::Keys
            }
            gone = time_to_draw(frames.next.unwrap_or(start), &mut taken), if frames.next.is_some() && !away => {
                if let Some(why) = gone {
                    return Err(LoopError::Terminal(why));
                }
                if let Some(report) = host.panicked() {
                    return Err(LoopError::Panicked(report));
                }
                if app.take_redraw() {
                    // Not `clear`, which asks the terminal where its cursor is and waits for the answer among the keys.
                    let size = terminal.size().map_err(|e| terminal_error(&e))?;
                    terminal.resize(size.into()).map_err(|e| terminal_error(&e))?;
                }
                terminal.draw(|frame| app.draw(frame)).map_err(|e| terminal_error(&e))?;
                frames.drawn(Instant::now());
                continue;
            }
            Some(answer) = answers.recv() => {
                effects.extend(app.update(now(), answer));
                Cause::Data
            }
            // The other end is ours, so that this never fails.
            Ok(()) = progress.changed() => {
                let progress = *progress.borrow_and_update();
                effects.extend(app.update(now(), Msg::Progress(progress)));
                Cause::Data
            }
            changed = fleet.changed(), if !engine_gone => {
                if changed.is_ok() {
                    let view = Arc::clone(&fleet.borrow_and_update());
                    effects.extend(app.update(now(), Msg::Fleet(view)));
                } else {
                    engine_gone = true;
                }
                Cause::Data
            }
            () = clock.as_mut() => {
                effects.extend(app.update(now(), Msg::Clock));
                Cause::Data
            }
        };
        if let Some(report) = host.panicked() {
            return Err(LoopError::Panicked(report));
        }
        while asking.tasks.try_join_next().is_some() {}
        for effect in effects {
            match effect {
                Effect::Ask(number, ask) => asking.ask(number, ask),
                Effect::CarryOut(number, plans) => asking.carry_out(number, plans),
                Effect::Reconnect(environment) => asking.source.reconnect(&environment),
                Effect::Copy(text) => host.copy(&text).map_err(|e| terminal_error(&e))?,
                Effect::Save(text) => {
                    if let Some(saver) = app.saver() {
                        asking.save(saver, text);
                    }
                }
                Effect::Suspend => {
                    // Elsewhere nothing stops, and nothing would say that it goes on.
                    away = cfg!(unix);
                    host.suspend().map_err(|e| terminal_error(&e))?;
                }
                Effect::Quit => return Ok(()),
            }
        }
        if app.take_dirty() {
            frames.wanted(cause, Instant::now());
        }
    }
}

/// Waits until it is time, and until the terminal has taken the last frame. Says why if it never will.
async fn time_to_draw(at: Instant, taken: &mut watch::Receiver<Taken>) -> Option<String> {
    // A timer that is due is a timer still: it is rounded up to the next millisecond, and another thread has to wake for it.
    if at > Instant::now() {
        sleep_until(at).await;
    }
    match taken.wait_for(|taken| *taken != Taken::NotYet).await.as_deref() {
        Ok(Taken::Gone(why)) => Some(why.to_string()),
        // Nobody says any more: there is nothing to wait for.
        _ => None,
    }
}

/// What the input has ready now. It is polled with the loop's own waker: a throw-away one (`now_or_never`) would let keys lie until
/// something else wakes the loop.
async fn ready<I: Stream + Unpin>(input: &mut I) -> Poll<Option<I::Item>> {
    std::future::poll_fn(|cx| Poll::Ready(input.poll_next_unpin(cx))).await
}

/// How long from `now` to `at`; a little more than nothing for what is past, so that a wrong clock cannot spin the loop.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().clamp(Duration::from_millis(1), Duration::from_secs(1))
}

fn terminal_error(error: &dyn std::fmt::Display) -> LoopError {
    LoopError::Terminal(error.to_string())
}

/// What a terminal event means; releases and focus changes mean nothing.
fn translate(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Msg::Key(key)),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Mouse(mouse) => Some(Msg::Mouse(mouse)),
        Event::Resize(..) => Some(Msg::Redraw),
        Event::Key(_) | Event::FocusGained | Event::FocusLost => None,
    }
}

#[cfg(test)]
mod tests;
