//! The program's state on screen and how messages change it.
//!
//! What lives here: [`App`]: what is shown, what lies over it, what waits. `update` does no I/O and reads no clock: the time comes
//! in with each message, and what must happen outside goes out as [`Effect`]s. What does not: the loop, the terminal.

mod operating;
mod typing;

use super::frame::{self, Header, Tabs};
use super::keys::{Chord, Verb};
use super::msg::{Effect, Msg};
use super::notices::{self, Log, Notice};
use super::overlays::help::Help;
use super::overlays::messages::Messages;
use super::overlays::operation::Dialog;
use super::overlays::palette::Palette;
use super::overlays::{Outcome, Overlay, Surroundings};
use super::pace::due;
use super::pen::Pen;
use super::screens::{Cx, Done, Screen, View};
use super::stage::Stage;
use super::theme::{Role, Theme};
use super::{Saver, TuiOptions, save, words};
use crate::domain::clean;
use crate::fleet::view::FleetView;
use crossterm::event::{KeyEvent, MouseEvent, MouseEventKind};
use jiff::{SignedDuration, Timestamp};
use operating::Quitting;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;
use typing::Typing;

/// How long a passing sentence stays on the message line.
const SAID_FOR: SignedDuration = SignedDuration::from_secs(4);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A view that is frozen, and what came since.
struct Pause {
    since: Timestamp,
    waiting: Option<Arc<FleetView>>,
    updates: u64,
}

/// See the module.
pub struct App {
    options: TuiOptions,
    theme: Theme,
    fleet: Arc<FleetView>,
    pause: Option<Pause>,
    stage: Stage,
    overlay: Option<Box<dyn Overlay>>,
    /// An operation, over everything else unless it was put aside.
    operation: Option<Dialog>,
    quitting: Quitting,
    typing: Option<Typing>,
    log: Log,
    /// What holds now, of the fleet on the screen.
    standing: Vec<Notice>,
    said: Option<(String, Timestamp)>,
    last_number: u64,
    now: Timestamp,
    tick: Timestamp,
    /// What was drawn on last.
    area: Rect,
    dirty: bool,
    redraw: bool,
}

impl App {
    /// A program that knows nothing of the fleet yet.
    pub fn new(options: TuiOptions, now: Timestamp) -> Self {
        let theme = Theme::new(options.depth, options.ascii);
        Self {
            theme,
            options,
            fleet: Arc::default(),
            pause: None,
            stage: Stage::new(),
            overlay: None,
            operation: None,
            quitting: Quitting::default(),
            typing: None,
            log: Log::default(),
            standing: Vec::new(),
            said: None,
            last_number: 0,
            now,
            tick: now + SECOND,
            area: Rect::ZERO,
            dirty: true,
            redraw: false,
        }
    }

    /// Takes a message that arrived at `now`; what must happen outside comes back.
    pub fn update(&mut self, now: Timestamp, msg: Msg) -> Vec<Effect> {
        self.now = now;
        let mut effects = Vec::new();
        self.dirty |= !matches!(msg, Msg::Clock | Msg::Mouse(_));
        match msg {
            Msg::Key(event) => self.key(event, &mut effects),
            Msg::Paste(text) => self.paste(&text, &mut effects),
            Msg::Mouse(event) => self.mouse(event, &mut effects),
            Msg::Redraw => self.redraw = true,
            Msg::Fleet(fleet) => self.fleet(fleet, &mut effects),
            // Whoever asked may not be shown any more.
            Msg::Answer(number, answer) => {
                self.with_stage(&mut effects, |stage, cx| stage.all_mut().for_each(|screen| screen.answered(number, &answer, cx)));
                self.operation_answered(number, &answer, &mut effects);
            }
            Msg::Progress(progress) => self.operation_progress(progress),
            Msg::Saved(Ok(place)) => self.say(format!("saved as {}", clean(&place))),
            Msg::Saved(Err(why)) => self.tell(format!("not saved: {}", clean(&why))),
            Msg::Clock => self.clock(&mut effects),
            Msg::Terminate => self.quit(&mut effects),
            Msg::Suspend => self.suspend(&mut effects),
        }
        effects
    }

    /// When the clock should call: at the next second, or before it if a screen waits for something.
    pub fn wake(&self) -> Timestamp {
        self.stage.screen().wake().map_or(self.tick, |at| at.min(self.tick))
    }

    /// Carries out [`Effect::Save`].
    pub(crate) fn saver(&self) -> Option<Saver> {
        self.options.save.clone()
    }

    /// Whether there is something new to draw; asking resets it.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Whether the terminal's content can no longer be trusted; asking resets it.
    pub fn take_redraw(&mut self) -> bool {
        std::mem::take(&mut self.redraw)
    }

    /// Calls the current screen with its surroundings, and takes what it said.
    fn with_screen<T>(&mut self, effects: &mut Vec<Effect>, act: impl FnOnce(&mut dyn Screen, &mut Cx<'_>) -> T) -> T {
        self.with_stage(effects, |stage, cx| act(stage.screen_mut(), cx))
    }

    fn with_stage<T>(&mut self, effects: &mut Vec<Effect>, act: impl FnOnce(&mut Stage, &mut Cx<'_>) -> T) -> T {
        let mut say = None;
        let mut cx = Cx {
            fleet: &self.fleet,
            now: self.now,
            effects,
            last_number: &mut self.last_number,
            road: &self.options.road,
            history: self.options.history.as_ref(),
            journal: self.options.journal.as_ref(),
            paused: self.pause.is_some(),
            say: &mut say,
        };
        let out = act(&mut self.stage, &mut cx);
        if let Some(text) = say {
            self.say(text);
        }
        out
    }

    /// Does what came out of a verb or a click.
    fn done(&mut self, done: Done, verb: Option<Verb>, effects: &mut Vec<Effect>) {
        match done {
            Done::Outermost if verb == Some(Verb::Leave) => {
                self.say(format!("nothing left to close; :q or {} ends policydeck", self.options.keys.of(Verb::Quit)));
            }
            Done::Yes | Done::Outermost => {}
            Done::Operate(wish) => self.operate(*wish, effects),
            Done::Window(note) => self.overlay = Some(Box::new(note)),
            Done::GoTo(place) => self.with_stage(effects, |stage, cx| stage.send(|screen| screen.go_to(&place, cx))),
            Done::Return => self.show(effects, Stage::give_back),
            Done::NextScreen => self.show(effects, |stage| stage.step(verb != Some(Verb::PreviousScreen))),
        }
    }

    fn show(&mut self, effects: &mut Vec<Effect>, which: impl FnOnce(&mut Stage)) {
        which(&mut self.stage);
        self.with_screen(effects, |screen, cx| screen.shown(cx));
    }

    fn say(&mut self, text: String) {
        self.said = Some((text, self.now + SAID_FOR));
    }

    /// Says it, and keeps it among the messages for whoever did not look.
    fn tell(&mut self, text: String) {
        self.log.note(&text, self.now);
        self.say(text);
    }

    fn fleet(&mut self, fleet: Arc<FleetView>, effects: &mut Vec<Effect>) {
        if let Some(operation) = &mut self.operation {
            // Also while the view is frozen: what is about to be changed is looked at as it is.
            operation.fleet_changed(&fleet);
        }
        if let Some(pause) = &mut self.pause {
            pause.waiting = Some(fleet);
            pause.updates += 1;
            return;
        }
        self.log.compare(&self.fleet, &fleet, self.now);
        self.fleet = fleet;
        self.tell_standing();
        self.with_screen(effects, |screen, cx| screen.fleet_changed(cx));
    }

    /// Puts what holds now into words.
    fn tell_standing(&mut self) {
        self.standing = notices::standing(&self.fleet, &self.options.time_zone, &self.options.keys);
        let records = self.options.records.as_mut().and_then(|records| records.borrow_and_update().clone());
        self.standing.extend(records.map(|why| Notice::of_nowhere(&why)));
        notices::gravest_first(&mut self.standing);
    }

    fn clock(&mut self, effects: &mut Vec<Effect>) {
        if due(self.tick, SECOND, self.now) {
            // The header's clock and the ages.
            self.tick = self.now + SECOND;
            self.dirty = true;
        }
        if let Some(why) = self.options.trouble.as_ref().and_then(|trouble| trouble.borrow().clone()) {
            // Once is enough: it stays among the messages.
            self.options.trouble = None;
            self.tell(clean(&why).into_owned());
            self.dirty = true;
        }
        if self.options.records.as_ref().is_some_and(|records| records.has_changed().unwrap_or_default()) {
            self.tell_standing();
            self.dirty = true;
        }
        if self.said.as_ref().is_some_and(|(_, until)| due(*until, SAID_FOR, self.now)) {
            self.said = None;
        }
        if self.stage.screen().wake().is_some_and(|at| at <= self.now) {
            self.dirty = true;
        }
        self.with_screen(effects, |screen, cx| screen.clock(cx));
        self.operation_clock(effects);
    }

    fn key(&mut self, event: KeyEvent, effects: &mut Vec<Effect>) {
        let own = self.stage.entry().keys;
        let verb = self.options.keys.lookup(own, Chord::from(event));
        if self.operation_key(event, verb, effects) {
        } else if let Some(mut overlay) = self.overlay.take() {
            let outcome = self.look(|view, around| overlay.key(event, verb, view, around));
            match outcome {
                Outcome::Stay => self.overlay = Some(overlay),
                Outcome::Close => {}
                Outcome::Run(verb) => self.run(verb, effects),
            }
        } else if self.typing.is_some() {
            self.type_filter(event, effects);
        } else if let Some(verb) = verb {
            self.run(verb, effects);
        }
    }

    fn run(&mut self, verb: Verb, effects: &mut Vec<Effect>) {
        self.said = None;
        if let Some(why) = self.blocked(verb) {
            self.say(why.to_owned());
            return;
        }
        match verb {
            Verb::Quit => self.quit(effects),
            Verb::Suspend => self.suspend(effects),
            Verb::Redraw => self.redraw = true,
            Verb::Help => self.overlay = Some(Box::<Help>::default()),
            Verb::Messages => self.overlay = Some(Box::<Messages>::default()),
            Verb::Palette => self.overlay = Some(Box::<Palette>::default()),
            Verb::Filter => self.typing = Some(Typing::new(self.stage.screen().filter())),
            Verb::Pause => self.pause(effects),
            Verb::Save if self.options.save.is_none() => self.say("cannot save: no home folder".to_owned()),
            Verb::Save if self.stage.screen().reveals() => {
                self.say("not saved: the values of a Secret are on the screen; hide them first".to_owned());
            }
            Verb::Save => {
                let mut picture = Buffer::empty(self.area);
                self.paint(self.area, &mut picture);
                effects.push(Effect::Save(save::text(&picture)));
            }
            Verb::Reconnect => self.reconnect(effects),
            Verb::Screen(place) => self.show(effects, |stage| stage.show(usize::from(place))),
            verb => {
                let done = self.with_screen(effects, |screen, cx| screen.run(verb, cx));
                self.done(done, Some(verb), effects);
            }
        }
    }

    fn pause(&mut self, effects: &mut Vec<Effect>) {
        match self.pause.take() {
            None => self.pause = Some(Pause { since: self.now, waiting: None, updates: 0 }),
            Some(Pause { waiting: Some(fleet), .. }) => self.fleet(fleet, effects),
            Some(_) => {}
        }
    }

    /// The selected environment; while none is, all that are lost.
    fn reconnect(&mut self, effects: &mut Vec<Effect>) {
        let selected = self.stage.screen().environment();
        let names: Vec<_> = match selected {
            Some(name) => vec![name],
            None => self.fleet.environments.iter().filter(|e| !e.link.is_up()).map(|e| e.name.clone()).collect(),
        };
        if names.is_empty() {
            self.say("no environment is lost; select one to connect it anew".to_owned());
            return;
        }
        let shown: Vec<_> = names.iter().map(|n| clean(n).into_owned()).collect();
        self.say(format!("connecting anew: {}", shown.join(", ")));
        effects.extend(names.into_iter().map(Effect::Reconnect));
    }

    fn mouse(&mut self, event: MouseEvent, effects: &mut Vec<Effect>) {
        // Movement alone changes nothing: no frame for it.
        let wheel = match event.kind {
            MouseEventKind::ScrollDown => 3,
            MouseEventKind::ScrollUp => -3,
            MouseEventKind::Down(_) => 0,
            _ => return,
        };
        self.dirty = true;
        if let Some(operation) = self.operation.as_mut().filter(|operation| !operation.is_aside()) {
            // A click beside it must not throw away what was typed.
            operation.wheel(wheel);
            return;
        }
        if let Some(overlay) = &mut self.overlay {
            if wheel == 0 {
                self.overlay = None;
            } else {
                overlay.wheel(wheel);
            }
            return;
        }
        let done = self.with_screen(effects, |screen, cx| screen.mouse(event, cx));
        self.done(done, None, effects);
    }

    /// Calls `act` with what drawing and windows may see.
    fn look<T>(&self, act: impl FnOnce(&View<'_>, &Surroundings<'_>) -> T) -> T {
        let options = &self.options;
        let view = View {
            fleet: &self.fleet,
            now: self.now,
            theme: &self.theme,
            zone: &options.time_zone,
            road: &options.road,
            keys: &options.keys,
        };
        let blocked = |verb| self.blocked(verb);
        let entry = self.stage.entry();
        act(&view, &Surroundings { screen: (entry.title, entry.keys), blocked: &blocked, log: &self.log, standing: &self.standing })
    }

    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        self.draw_into(area, frame.buffer_mut());
    }

    /// Draws everything into a part of a buffer that somebody will see.
    pub fn draw_into(&mut self, area: Rect, buffer: &mut Buffer) {
        self.paint(area, buffer);
        if let Some(operation) = self.operation.as_mut().filter(|operation| !operation.is_aside()) {
            operation.drawn();
        }
    }

    fn paint(&mut self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        self.area = area;
        let said = self.options.guide.as_ref().map(|guide| frame::guide_lines(&guide.borrow(), area.width)).unwrap_or_default();
        let areas = frame::divide(area, u16::try_from(said.len()).unwrap_or(u16::MAX));
        let (fleet, theme, options) = (&self.fleet, &self.theme, &self.options);
        let (zone, keys) = (&options.time_zone, &options.keys);
        let view = View { fleet, now: self.now, theme, zone, road: &options.road, keys };
        self.stage.screen_mut().draw(&view, areas.body, buffer);
        let narrowed = frame::narrowed(&self.stage.screen().filters(), &view);
        let mut said_above = Vec::new();
        if areas.tabs.is_empty() {
            said_above.extend(self.pause.as_ref().map(|_| frame::PAUSED));
            said_above.extend(Some(narrowed.as_str()).filter(|narrowed| !narrowed.is_empty()));
        }
        let header = Header { read_only: self.options.read_only, narrowed: &said_above.join("  ") };
        frame::header(&header, &view, areas.header, buffer);
        let paused = self.pause.as_ref().map(|p| {
            let waits = if p.updates == 1 { "1 update waits" } else { &format!("{} updates wait", words::number(p.updates)) };
            format!("PAUSED since {}: {waits} ({} goes on)", words::clock(p.since, zone), keys.of(Verb::Pause))
        });
        let status = self.stage.screen().status(&view);
        let (banner, paused) = (self.options.banner.as_deref(), paused.as_deref());
        let tabs = Tabs { current: self.stage.place(), banner, narrowed: &narrowed, status: &status, paused };
        frame::tabs(&tabs, &view, areas.tabs, buffer);
        frame::guide(&said, &view, areas.guide, buffer);
        self.message(&view, areas.message, buffer);
        let blocked = |verb| self.blocked(verb).is_some();
        frame::footer(self.stage.entry().keys, self.stage.screen().hints(), &blocked, &view, areas.footer, buffer);
        if let Some(mut overlay) = self.overlay.take() {
            self.look(|view, around| overlay.draw(view, around, area, buffer));
            self.overlay = Some(overlay);
        }
        if let Some(mut operation) = self.operation.take() {
            if !operation.is_aside() {
                self.look(|view, _| operation.draw_with_footer(view, area, areas.footer, buffer));
            }
            self.operation = Some(operation);
        }
    }

    /// The line above the footer: the filter being typed, else what was just said, else the gravest of what holds now.
    fn message(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        if let Some(typing) = &self.typing {
            let mut pen = Pen::new(buffer, view.theme, area, 0);
            pen.put(" /", Role::Accent).put(&clean(typing.input.value()), Role::Strong).put(view.theme.symbols.caret, Role::Accent);
            match &typing.problem {
                Some(problem) => pen.put("   ", Role::Text).rest_clean(problem, Role::Attention),
                None => pen.put("   ", Role::Text).rest_clean(self.stage.screen().filter_hint(), Role::Muted),
            };
        } else if let Some((text, _)) = &self.said {
            Pen::new(buffer, view.theme, area, 0).put(" ", Role::Text).rest_clean(text, Role::Accent);
        } else if let [first, more @ ..] = self.standing.as_slice() {
            frame::notice(first, more.len(), view, area, buffer);
        }
    }
}
