//! Commands by name: every verb of the key table, every screen and every environment.

use super::{Outcome, Overlay, Surroundings, window};
use crate::tui::keymap::Keymap;
use crate::tui::keys::{Binding, GENERAL, MOVING, Verb};
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::{REGISTRY, View};
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

const ROWS: usize = 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Palette {
    input: Input,
    place: usize,
}

struct Item {
    name: String,
    key: String,
    help: String,
    verb: Verb,
}

fn of_binding(binding: &Binding, keys: &Keymap) -> Item {
    // A colon would sit before every name; typed names work with and without it.
    Item { name: binding.word.to_owned(), key: keys.key(binding).to_owned(), help: binding.help.to_owned(), verb: binding.verb }
}

impl Palette {
    /// What matches the typed text: names that begin with it, then names that hold it, then sentences that hold it.
    fn items(&self, view: &View<'_>, around: &Surroundings<'_>) -> Vec<Item> {
        let typed = self.input.value().trim().to_lowercase();
        let mut items = vec![Item {
            name: "q".to_owned(),
            key: view.keys.of(Verb::Quit).to_owned(),
            help: "End the program.".to_owned(),
            verb: Verb::Quit,
        }];
        let here = around.screen.1.iter().chain(GENERAL).filter(|b| !matches!(b.verb, Verb::Palette | Verb::Leave));
        let moving = MOVING.iter().filter(|b| matches!(b.verb, Verb::First | Verb::Last));
        items.extend(here.chain(moving).map(|binding| of_binding(binding, view.keys)));
        for (i, screen) in (0_u8..).zip(REGISTRY) {
            items.push(Item {
                name: screen.title.to_lowercase(),
                key: String::new(),
                help: format!("Show the screen {}.", screen.title),
                verb: Verb::Screen(i),
            });
        }
        for (i, environment) in view.fleet.environments.iter().enumerate() {
            let Ok(number) = u8::try_from(i + 1) else { break };
            let key = if number < 10 { number.to_string() } else { String::new() };
            items.push(Item {
                name: words::label(environment),
                key,
                help: "Go to this environment.".to_owned(),
                verb: Verb::Environment(number),
            });
        }
        let rank = |item: &Item| {
            let name = item.name.to_lowercase();
            if name == typed {
                Some(0)
            } else if name.starts_with(&typed) {
                Some(1)
            } else if name.contains(&typed) {
                Some(2)
            } else {
                item.help.to_lowercase().contains(&typed).then_some(3)
            }
        };
        items.retain(|item| rank(item).is_some());
        items.sort_by_key(rank);
        items
    }
}

impl Overlay for Palette {
    fn key(&mut self, event: KeyEvent, verb: Option<Verb>, view: &View<'_>, around: &Surroundings<'_>) -> Outcome {
        let plain = event.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match event.code {
            KeyCode::Esc => Outcome::Close,
            KeyCode::Enter => {
                let items = self.items(view, around);
                items.get(self.place.min(items.len().saturating_sub(1))).map_or(Outcome::Stay, |item| Outcome::Run(item.verb))
            }
            KeyCode::Up => {
                self.place = self.place.saturating_sub(1);
                Outcome::Stay
            }
            KeyCode::Down | KeyCode::Tab => {
                self.place = (self.place + 1).min(self.items(view, around).len().saturating_sub(1));
                Outcome::Stay
            }
            KeyCode::Backspace if self.input.value().is_empty() => Outcome::Close,
            _ if !plain && matches!(verb, Some(Verb::Quit | Verb::Suspend)) => Outcome::Run(verb.unwrap_or(Verb::Quit)),
            _ => {
                self.input.handle_event(&Event::Key(event));
                self.place = 0;
                Outcome::Stay
            }
        }
    }

    fn paste(&mut self, text: &str) {
        let value = format!("{}{}", self.input.value(), crate::domain::clean(text));
        self.input = Input::new(value);
    }

    fn wheel(&mut self, lines: isize) {
        self.place = self.place.saturating_add_signed(lines.signum());
    }

    fn draw(&mut self, view: &View<'_>, around: &Surroundings<'_>, area: Rect, buffer: &mut Buffer) {
        let items = self.items(view, around);
        self.place = self.place.min(items.len().saturating_sub(1));
        let columns = area.width.saturating_sub(8).min(90);
        let inner = window("Commands", columns, u16::try_from(ROWS + 2).unwrap_or(16), view.theme, area, buffer);
        Pen::new(buffer, view.theme, inner, 0)
            .put(":", Role::Accent)
            .put(self.input.value(), Role::Strong)
            .put(view.theme.symbols.caret, Role::Accent);
        let height = usize::from(inner.height.saturating_sub(1));
        if items.is_empty() {
            Pen::new(buffer, view.theme, inner, 1).put("no such command", Role::Attention);
        }
        let top = (self.place + 1).saturating_sub(height);
        for (line, (at, item)) in items.iter().enumerate().skip(top).take(height).enumerate() {
            let mut pen = Pen::new(buffer, view.theme, inner, u16::try_from(line + 1).unwrap_or(u16::MAX));
            if at == self.place {
                pen.shade(Shade::Strong);
            }
            let blocked = (around.blocked)(item.verb);
            let role = if blocked.is_some() { Role::Muted } else { Role::Text };
            let name = if item.name.starts_with("PRODUCTION") { Role::Production } else { Role::Strong };
            pen.put(" ", Role::Text).field(&item.name, 22, name).field(&item.key, 11, Role::Accent);
            pen.rest_clean(blocked.unwrap_or(&item.help), role).finish();
        }
    }
}
