//! Commands by name: every verb of the key table, every screen and every environment.
//!
//! Part of a name is enough to look at something else. What changes something or ends the program runs by its full name only, or where a person
//! selected it in the list; and enter on an empty line runs nothing.

use super::{Outcome, Overlay, Surroundings, window};
use crate::tui::keymap::Keymap;
use crate::tui::keys::{Binding, GENERAL, MOVING, Verb};
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::operations::is_operation;
use crate::tui::screens::{MARK, REGISTRY, View};
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
    /// Whether a person moved the cursor since something was typed.
    selected: bool,
}

struct Item {
    name: String,
    key: String,
    help: String,
    verb: Verb,
}

/// Whether a verb does more than show something.
fn is_weighty(verb: Verb) -> bool {
    is_operation(verb) || verb == MARK || matches!(verb, Verb::Reconnect | Verb::Save | Verb::Copy)
}

fn of_binding(binding: &Binding, keys: &Keymap) -> Item {
    // A colon would sit before every name; typed names work with and without it.
    Item { name: binding.word.to_owned(), key: keys.key(binding).to_owned(), help: binding.help.to_owned(), verb: binding.verb }
}

impl Palette {
    fn typed(&self) -> String {
        self.input.value().trim().to_lowercase()
    }

    /// Why enter does not run an item; `None` where it does.
    fn held_back(&self, item: &Item) -> Option<String> {
        let typed = self.typed();
        // Nothing asks again before the program ends or stops.
        let by_name_only = matches!(item.verb, Verb::Quit | Verb::Suspend);
        if item.name.to_lowercase() == typed || (self.selected && !by_name_only) {
            None
        } else {
            (by_name_only || is_weighty(item.verb)).then(|| format!("type its full name to run it: {}", item.name))
        }
    }

    /// Whether nothing was typed or selected yet: enter runs nothing.
    fn is_untouched(&self) -> bool {
        !self.selected && self.typed().is_empty()
    }

    fn at_cursor(&self, view: &View<'_>, around: &Surroundings<'_>) -> Option<Item> {
        let mut items = self.items(view, around);
        (!items.is_empty()).then(|| items.swap_remove(self.place.min(items.len() - 1)))
    }

    /// What matches the typed text: names that begin with it, then names that hold it, then sentences that hold it.
    fn items(&self, view: &View<'_>, around: &Surroundings<'_>) -> Vec<Item> {
        let typed = self.typed();
        let mut items = Vec::new();
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
        items.push(Item {
            name: "q".to_owned(),
            key: view.keys.of(Verb::Quit).to_owned(),
            help: "End the program.".to_owned(),
            verb: Verb::Quit,
        });
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
        // Among names that begin alike, what only shows something comes first: enter runs it.
        items.sort_by_key(|item| (rank(item), is_weighty(item.verb)));
        items
    }
}

impl Overlay for Palette {
    fn key(&mut self, event: KeyEvent, verb: Option<Verb>, view: &View<'_>, around: &Surroundings<'_>) -> Outcome {
        let plain = event.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match event.code {
            KeyCode::Esc => Outcome::Close,
            KeyCode::Enter => match self.at_cursor(view, around) {
                Some(item) if !self.is_untouched() && self.held_back(&item).is_none() => Outcome::Run(item.verb),
                _ => Outcome::Stay,
            },
            KeyCode::Up => {
                (self.place, self.selected) = (self.place.saturating_sub(1), true);
                Outcome::Stay
            }
            KeyCode::Down | KeyCode::Tab => {
                // The first press selects the first of an untouched list.
                let next = if self.is_untouched() { self.place } else { self.place + 1 };
                self.place = next.min(self.items(view, around).len().saturating_sub(1));
                self.selected = true;
                Outcome::Stay
            }
            KeyCode::Backspace if self.input.value().is_empty() => Outcome::Close,
            _ if !plain && matches!(verb, Some(Verb::Quit | Verb::Suspend)) => Outcome::Run(verb.unwrap_or(Verb::Quit)),
            _ => {
                self.input.handle_event(&Event::Key(event));
                (self.place, self.selected) = (0, false);
                Outcome::Stay
            }
        }
    }

    fn paste(&mut self, text: &str) {
        let value = format!("{}{}", self.input.value(), crate::domain::clean(text));
        self.input = Input::new(value);
        (self.place, self.selected) = (0, false);
    }

    fn wheel(&mut self, lines: isize) {
        (self.place, self.selected) = (self.place.saturating_add_signed(lines.signum()), true);
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
            let here = at == self.place && !self.is_untouched();
            if here {
                pen.shade(Shade::Strong);
            }
            let held_back = self.held_back(item).filter(|_| here);
            let blocked = (around.blocked)(item.verb).or(held_back.as_deref());
            let role = if blocked.is_some() { Role::Muted } else { Role::Text };
            let name = if item.name.starts_with("PRODUCTION") { Role::Production } else { Role::Strong };
            pen.put(" ", Role::Text).field(&item.name, 22, name).field(&item.key, 11, Role::Accent);
            pen.rest_clean(blocked.unwrap_or(&item.help), role).finish();
        }
    }
}
