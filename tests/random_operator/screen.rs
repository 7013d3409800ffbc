//! The screen of one person, driven as the loop drives it, but a step at a time.

use crate::eyes::Eyes;
use crate::objects::{self, Place};
use crossterm::event::{KeyEvent, MouseEvent};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use policydeck::fleet::view::FleetView;
use policydeck::ops::plan::{Plan, Verb};
use policydeck::tui::{Acting, Answer, App, Ask, Chord, Effect, Msg, Progress, Source as _, TuiOptions};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// A write that somebody agreed to.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    /// How many changes there had been.
    pub(crate) at: usize,
    pub(crate) place: Place,
    pub(crate) verb: String,
    /// The object that was to be changed, and what was to become of it; `None` where only words told it (a command).
    pub(crate) objects: Option<(Option<Value>, Option<Value>)>,
    /// What was shown.
    pub(crate) shown: String,
    pub(crate) kept: bool,
}

/// What is over the screen, as far as its text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Nothing,
    /// Something is chosen from a list.
    List,
    /// A line is typed: a reason.
    Line,
    /// A plan whose end has not been in view.
    Unread,
    /// A plan that asks for a name to be typed, or for yes or no.
    Name,
    Question,
    Other,
}

/// Counts a question until it is answered or dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Screen {
    app: App,
    options: TuiOptions,
    source: Acting,
    on: Handle,
    area: Rect,
    fleet: watch::Receiver<Arc<FleetView>>,
    sender: mpsc::UnboundedSender<Msg>,
    messages: mpsc::UnboundedReceiver<Msg>,
    running: [Option<AbortHandle>; Ask::SLOTS],
    open: Arc<AtomicUsize>,
    writing: Arc<AtomicUsize>,
    progress: watch::Sender<Progress>,
    told: watch::Receiver<Progress>,
    /// How wrong this person's clock is.
    pub(crate) skew: SignedDuration,
    /// What was drawn last.
    pub(crate) frame: String,
    /// Something happened that is not drawn yet.
    undrawn: bool,
    /// The policy under the cursor when an operation was asked for.
    meant: Option<String>,
    /// Policies may be marked.
    marked: bool,
    eyes: Arc<Eyes>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) wrong: Vec<String>,
    pub(crate) confirmed: usize,
    /// How many plans were shown.
    pub(crate) previews: usize,
}

impl Screen {
    pub(crate) fn new(source: Acting, options: TuiOptions, on: Handle, eyes: Arc<Eyes>, size: (u16, u16)) -> Self {
        let options = TuiOptions { time_zone: TimeZone::UTC, ..options };
        let (sender, messages) = mpsc::unbounded_channel();
        let progress = watch::Sender::new(Progress::default());
        let mut fleet = source.fleet();
        fleet.mark_changed();
        let mut screen = Self {
            app: App::new(options.clone(), Timestamp::now()),
            options,
            fleet,
            source,
            on,
            area: Rect::new(0, 0, size.0, size.1),
            sender,
            messages,
            running: [const { None }; Ask::SLOTS],
            open: Arc::default(),
            writing: Arc::default(),
            told: progress.subscribe(),
            progress,
            skew: SignedDuration::ZERO,
            frame: String::new(),
            undrawn: false,
            meant: None,
            marked: false,
            eyes,
            promises: Vec::new(),
            wrong: Vec::new(),
            confirmed: 0,
            previews: 0,
        };
        screen.pump();
        screen.draw();
        screen
    }

    fn now(&self) -> Timestamp {
        Timestamp::now() + self.skew
    }

    pub(crate) fn send(&mut self, msg: Msg) {
        self.undrawn = true;
        let effects = self.app.update(self.now(), msg);
        for effect in effects {
            match effect {
                Effect::Ask(number, ask) => self.ask(number, ask),
                Effect::CarryOut(number, plans) => self.carry_out(number, plans),
                Effect::Reconnect(environment) => self.source.reconnect(&environment),
                Effect::Copy(_) | Effect::Save(_) | Effect::Suspend => {}
                Effect::Quit => self.begin_again(),
            }
        }
    }

    /// The person ended the program, and starts it again.
    fn begin_again(&mut self) {
        for running in &mut self.running {
            if let Some(running) = running.take() {
                running.abort();
            }
        }
        while self.messages.try_recv().is_ok() {}
        self.app = App::new(self.options.clone(), self.now());
        self.meant = None;
        self.marked = false;
        self.fleet.mark_changed();
    }

    fn ask(&mut self, number: u64, ask: Ask) {
        let slot = ask.slot();
        if let Some(older) = self.running[slot].take() {
            older.abort();
        }
        // Gates are judged again and again: nobody waits for that.
        let open = matches!(ask, Ask::Prepare(_) | Ask::Formers { .. }).then(|| Open::new(&self.open));
        let (source, sender) = (self.source.clone(), self.sender.clone());
        let task = self.on.spawn(async move {
            let answer = source.answer(ask).await;
            let _ = sender.send(Msg::Answer(number, answer));
            drop(open);
        });
        self.running[slot] = Some(task.abort_handle());
    }

    fn carry_out(&mut self, number: u64, plans: Arc<[Plan]>) {
        self.confirm(&plans);
        let (source, sender, progress) = (self.source.clone(), self.sender.clone(), self.progress.clone());
        let writing = Open::new(&self.writing);
        self.on.spawn(async move {
            let carried = source.carry_out(plans, progress).await;
            let _ = sender.send(Msg::Answer(number, Answer::CarriedOut(carried)));
            drop(writing);
        });
    }

    /// What was agreed to, and whether that was what was on the screen.
    fn confirm(&mut self, plans: &[Plan]) {
        self.confirmed += 1;
        let Some(title) = title(&self.frame) else {
            self.wrong.push(format!("carried out while no preview was shown:\n{}", self.frame));
            return;
        };
        for plan in plans {
            for step in &plan.steps {
                if let Err(why) = shows(&title, plans.len(), &step.object.name, &step.environment, step.after.as_ref(), plan) {
                    self.wrong.push(format!("confirmed was `{title}`, carried out is plan {}: {why}\n{}", plan.id, self.frame));
                }
                let objects = (step.before.clone(), step.after.clone());
                self.promises.push(Promise {
                    at: self.eyes.len(),
                    place: Place {
                        environment: step.environment.clone(),
                        plural: step.object.plural.clone(),
                        namespace: step.object.namespace.clone().unwrap_or_default(),
                        name: step.object.name.clone(),
                    },
                    verb: match &step.verb {
                        Verb::Commit { .. } => "commit".to_owned(),
                        verb => verb.as_str().to_owned(),
                    },
                    objects: Some(objects),
                    shown: title.clone(),
                    kept: false,
                });
            }
        }
    }

    /// Takes what came in.
    pub(crate) fn pump(&mut self) {
        while let Ok(msg) = self.messages.try_recv() {
            self.send(msg);
        }
        if self.told.has_changed().unwrap_or(false) {
            let progress = *self.told.borrow_and_update();
            self.send(Msg::Progress(progress));
        }
        if self.fleet.has_changed().unwrap_or(false) {
            let view = Arc::clone(&self.fleet.borrow_and_update());
            self.send(Msg::Fleet(view));
        }
        self.send(Msg::Clock);
    }

    /// Takes what comes in until no plan is being made any more, but not until writes have ended.
    pub(crate) fn settle(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            self.pump();
            if self.open.load(Ordering::SeqCst) == 0 && self.messages.is_empty() || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether plans are being carried out.
    pub(crate) fn is_carrying_out(&self) -> bool {
        self.writing.load(Ordering::SeqCst) > 0
    }

    /// The same, or what became of them was not told yet.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::SeqCst) > 0 || !self.messages.is_empty()
    }

    pub(crate) fn key(&mut self, key: &str) {
        let chord: Chord = key.parse().unwrap();
        // Those that are marked are promoted instead, wherever the cursor is.
        self.marked |= key == "space";
        let verb = ["a", "r", "H"].contains(&key) || key == "p" && !self.marked;
        // One thing at a time: what is under way is shown instead, and it may end before that is drawn.
        if verb && !self.undrawn && self.over() == Over::Nothing && !self.is_writing() {
            self.meant = selected(&self.frame);
        } else if self.over() == Over::Nothing {
            self.meant = None;
        }
        self.send(Msg::Key(KeyEvent::from(chord)));
    }

    pub(crate) fn mouse(&mut self, event: MouseEvent) {
        self.meant = None;
        self.send(Msg::Mouse(event));
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.area = Rect::new(0, 0, columns, rows);
        self.send(Msg::Redraw);
    }

    pub(crate) fn draw(&mut self) {
        self.undrawn = false;
        if !self.app.take_dirty() {
            return;
        }
        let mut buffer = Buffer::empty(self.area);
        self.app.draw_into(self.area, &mut buffer);
        let mut text = String::with_capacity(buffer.content.len() * 2);
        for row in buffer.content.chunks(usize::from(self.area.width)) {
            for cell in row {
                text.push_str(cell.symbol());
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        let planned = |frame: &str| matches!(over(frame), Over::Question | Over::Name | Over::Unread);
        self.previews += usize::from(planned(&text) && !planned(&self.frame));
        self.frame = text;
        // The dialog that an operation opens is about the policy that was under the cursor.
        if let (Some(meant), Some(title)) = (&self.meant, title(&self.frame)) {
            let short = meant.trim_end_matches(['…', '.']);
            if !title.contains(short) && !title.ends_with('…') && !title.contains(" policies") {
                self.wrong.push(format!("asked for {meant}, which was under the cursor, and got `{title}`\n{}", self.frame));
            }
            self.meant = None;
        }
    }

    pub(crate) fn over(&self) -> Over {
        over(&self.frame)
    }

    /// The policy and the environment that the dialog is about.
    pub(crate) fn about(&self) -> Option<String> {
        title(&self.frame)
    }
}

/// The words that titles of operations begin with.
const WORDS: [&str; 8] = ["Promote ", "Demote ", "Roll back ", "Hold or release ", "Hold ", "Release ", "Unblock ", "Undo "];

/// The title of the operation's dialog.
pub(crate) fn title(frame: &str) -> Option<String> {
    frame.lines().find_map(|line| {
        let (_, begun) = line.split_once(['┌', '╭'])?;
        let title = begun.split(['┐', '╮']).next()?.split(" ─").next()?.trim_matches(['─', ' ']);
        WORDS.iter().any(|word| title.starts_with(word)).then(|| title.to_owned())
    })
}

fn over(frame: &str) -> Over {
    if title(frame).is_none() {
        return Over::Nothing;
    }
    let has = |text: &str| frame.contains(text);
    if has("scroll to the end to confirm") {
        Over::Unread
    } else if has(" to confirm: ") {
        Over::Name
    } else if has("[ No ]") || has("[ Yes ]") {
        Over::Question
    } else if has("enter choose") {
        Over::List
    } else if has("enter plan with this reason") || has("enter go on") {
        Over::Line
    } else {
        Over::Other
    }
}

/// The policy in the row under the cursor of a list of policies.
fn selected(frame: &str) -> Option<String> {
    let mut list = frame.lines().skip_while(|line| !line.starts_with(" POLICY")).take_while(|line| !line.starts_with("──"));
    let name = list.find_map(|line| line.strip_prefix('▌'))?.split_whitespace().next()?;
    name.contains(['-', '/']).then(|| name.to_owned())
}

/// Whether a title shows what is about to be written.
fn shows(title: &str, plans: usize, name: &str, environment: &str, after: Option<&Value>, plan: &Plan) -> Result<(), String> {
    let cut = title.ends_with('…');
    if plans == 1 && plan.steps.len() == 1 && !title.starts_with("Unblock") && !title.contains(name) && !cut {
        return Err(format!("it is about {name}"));
    }
    let lower = title.to_lowercase();
    if !lower.contains(environment) && !cut {
        return Err(format!("it writes to {environment}"));
    }
    let mode = after.map(objects::mode).unwrap_or_default();
    if let Some((_, word)) = title.rsplit_once(" · ")
        && ["audit", "enforce"].contains(&word)
        && ![word, "mixed", ""].contains(&mode)
    {
        return Err(format!("it makes it {mode}"));
    }
    Ok(())
}
