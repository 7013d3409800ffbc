//! The program on a screen of its own, driven as the loop would drive it.
#![allow(dead_code, reason = "each test program uses its own part of the deck")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

use super::fixture::{answer, fleet, now};
use crossterm::event::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use policydeck::fleet::view::{EnvironmentView, FleetView};
use policydeck::ops::road::Road;
use policydeck::tui::{App, Chord, Effect, Msg, Theme, TuiOptions};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use std::sync::Arc;

/// The program on a screen of its own, with an engine that answers at once.
pub(crate) struct Deck {
    pub(crate) app: App,
    pub(crate) theme: Theme,
    pub(crate) terminal: Terminal<TestBackend>,
    pub(crate) fleet: Arc<FleetView>,
    pub(crate) now: Timestamp,
    pub(crate) effects: Vec<Effect>,
}

impl Deck {
    pub(crate) fn with(options: TuiOptions, environments: Vec<EnvironmentView>, (columns, rows): (u16, u16)) -> Self {
        let theme = Theme::new(options.depth, options.ascii);
        let road = if options.road == Road::default() { super::fixture::gates::road() } else { options.road.clone() };
        let options = TuiOptions { time_zone: TimeZone::UTC, road, ..options };
        let terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let mut deck = Self { app: App::new(options, now()), theme, terminal, fleet: fleet(environments), now: now(), effects: Vec::new() };
        deck.send(Msg::Fleet(deck.fleet.clone()));
        deck
    }

    pub(crate) fn new(environments: Vec<EnvironmentView>, size: (u16, u16)) -> Self {
        Self::with(TuiOptions::default(), environments, size)
    }

    /// Sends a message and, as the loop would, everything that follows from it.
    pub(crate) fn send(&mut self, msg: Msg) {
        let mut messages = vec![msg];
        while let Some(msg) = messages.pop() {
            for effect in self.app.update(self.now, msg) {
                match effect {
                    Effect::Ask(number, ask) => messages.push(Msg::Answer(number, answer(&self.fleet, &ask))),
                    other => self.effects.push(other),
                }
            }
        }
    }

    pub(crate) fn replace(&mut self, environments: Vec<EnvironmentView>) {
        self.fleet = fleet(environments);
        self.send(Msg::Fleet(self.fleet.clone()));
        self.later(200);
    }

    pub(crate) fn later(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.send(Msg::Clock);
    }

    /// The quickest of some keys, each with its frame; what they ask is not answered.
    pub(crate) fn quickest(&mut self) -> std::time::Duration {
        self.draw();
        let frame = |deck: &mut Self| {
            let start = std::time::Instant::now();
            deck.app.update(deck.now, Msg::Key(event("down")));
            deck.draw();
            start.elapsed()
        };
        (0..30).map(|_| frame(self)).min().unwrap_or_default()
    }

    /// Presses keys as the key table writes them, with a moment for what was throttled between them.
    pub(crate) fn keys(mut self, keys: &str) -> Self {
        for key in keys.split_whitespace() {
            self.press(key);
        }
        self
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.send(Msg::Key(event(key)));
        self.later(110);
    }

    pub(crate) fn typed(mut self, text: &str) -> Self {
        for c in text.chars() {
            self.send(Msg::Key(KeyEvent::new(crossterm::event::KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self
    }

    pub(crate) fn click(&mut self, column: u16, row: u16) {
        self.draw();
        self.send(Msg::Mouse(MouseEvent { kind: MouseEventKind::Down(MouseButton::Left), column, row, modifiers: KeyModifiers::NONE }));
    }

    pub(crate) fn draw(&mut self) -> Buffer {
        self.terminal.draw(|frame| self.app.draw(frame)).unwrap();
        self.terminal.backend().buffer().clone()
    }

    pub(crate) fn text(&mut self) -> String {
        lines(&self.draw(), |cell| cell.symbol().to_owned())
    }

    pub(crate) fn roles(&mut self) -> String {
        let theme = self.theme.clone();
        lines(&self.draw(), |cell| {
            if cell.symbol() == " " && cell.bg == ratatui::style::Color::Reset {
                " ".to_owned()
            } else {
                theme.letter(cell.style()).to_string()
            }
        })
    }

    /// Column and row of the first occurrence of `text`.
    pub(crate) fn find(&mut self, text: &str) -> (u16, u16) {
        let screen = self.text();
        let (row, line) =
            screen.lines().enumerate().find(|(_, l)| l.contains(text)).unwrap_or_else(|| panic!("{text} is not on the screen:\n{screen}"));
        let column = line[..line.find(text).unwrap()].chars().count();
        (u16::try_from(column).unwrap(), u16::try_from(row).unwrap())
    }
}

pub(crate) fn event(key: &str) -> KeyEvent {
    let chord: Chord = key.parse().unwrap();
    KeyEvent::from(chord)
}

pub(crate) fn lines(buffer: &Buffer, letter: impl Fn(&ratatui::buffer::Cell) -> String) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            line.push_str(&letter(cell));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
