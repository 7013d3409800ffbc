//! Keys as data: one table feeds dispatch, help, footer, palette, the configuration and the README.
//!
//! What lives here: [`Chord`], [`Verb`], [`Binding`] and the bindings that hold everywhere. A screen brings its own table
//! (`screens`). What does not: what a verb does, keys that a person has set (`keymap`).

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

/// A key with its modifiers, as written in tables: `a`, `G`, `ctrl-r`, `enter`, `shift-tab`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const NAMED: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
];

impl From<KeyEvent> for Chord {
    /// Shift is part of a character, not a modifier of it.
    fn from(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        if matches!(event.code, KeyCode::Char(_) | KeyCode::BackTab) {
            modifiers.remove(KeyModifiers::SHIFT);
        }
        Self { code: event.code, modifiers }
    }
}

impl From<Chord> for KeyEvent {
    fn from(chord: Chord) -> Self {
        Self::new(chord.code, chord.modifiers)
    }
}

impl Chord {
    /// As terminals send it: with ctrl there are no capitals, and shift makes one.
    fn of_character(c: char, mut modifiers: KeyModifiers) -> Self {
        let c = if modifiers.contains(KeyModifiers::CONTROL) {
            c.to_ascii_lowercase()
        } else if modifiers.contains(KeyModifiers::SHIFT) {
            c.to_ascii_uppercase()
        } else {
            c
        };
        modifiers.remove(KeyModifiers::SHIFT);
        Self { code: KeyCode::Char(c), modifiers }
    }
}

impl Chord {
    /// As terminals send it, whatever the order in which a person writes it: shift and tab are one key, and shift is no part of a blank.
    fn of_name(code: KeyCode, mut modifiers: KeyModifiers) -> Self {
        match code {
            KeyCode::Char(c) => Self::of_character(c, modifiers),
            KeyCode::Tab | KeyCode::BackTab if code == KeyCode::BackTab || modifiers.contains(KeyModifiers::SHIFT) => {
                modifiers.remove(KeyModifiers::SHIFT);
                Self { code: KeyCode::BackTab, modifiers }
            }
            code => Self { code, modifiers },
        }
    }
}

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        loop {
            if let Some((_, code)) = NAMED.iter().find(|(name, _)| *name == rest) {
                return Ok(Self::of_name(*code, modifiers));
            }
            let mut chars = rest.chars();
            if let (Some(c), None) = (chars.next(), chars.next()) {
                return Ok(Self::of_character(c, modifiers));
            }
            if let Some(n) = rest.strip_prefix('f').and_then(|n| n.parse().ok()).filter(|n| (1..=12).contains(n)) {
                return Ok(Self { code: KeyCode::F(n), modifiers });
            }
            let (modifier, tail) = [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
                .into_iter()
                .find_map(|(name, modifier)| rest.strip_prefix(name).map(|tail| (modifier, tail)))
                .ok_or_else(|| "no such key".to_owned())?;
            modifiers |= modifier;
            rest = tail;
        }
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, modifier) in [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)] {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match NAMED.iter().find(|(_, code)| *code == self.code) {
            Some((name, _)) => f.write_str(name),
            None => match self.code {
                KeyCode::Char(c) => write!(f, "{c}"),
                KeyCode::F(n) => write!(f, "f{n}"),
                other => write!(f, "{other}"),
            },
        }
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One up.
    Up,
    /// One down.
    Down,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
    /// Open what is selected.
    Open,
    /// Close, or back to where one came from.
    Back,
    /// One level back.
    Leave,
    /// The next screen.
    NextScreen,
    /// The previous screen.
    PreviousScreen,
    /// Type a filter.
    Filter,
    /// The environment of this number; 0 means all of them.
    Environment(u8),
    /// Copy what is selected.
    Copy,
    /// Freeze the view, or let it go on.
    Pause,
    /// Connect anew.
    Reconnect,
    /// Show all messages.
    Messages,
    /// Show the command palette.
    Palette,
    /// Show the keys.
    Help,
    /// Save what is on the screen.
    Save,
    /// Draw everything again.
    Redraw,
    /// Stop the program until it is continued.
    Suspend,
    /// End the program.
    Quit,
    /// The screen of this place in the list of screens.
    Screen(u8),
    /// What only some screens know, by its action's name.
    Own(&'static str),
}

impl Verb {
    /// The name by which the configuration calls it, which never changes; `None` where the keys are what they are.
    pub fn action(self) -> Option<&'static str> {
        Some(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Left => "left",
            Self::Right => "right",
            Self::PageUp => "page-up",
            Self::PageDown => "page-down",
            Self::First => "first",
            Self::Last => "last",
            Self::Open => "open",
            Self::Back => "back",
            Self::Leave => "leave",
            Self::NextScreen => "next",
            Self::PreviousScreen => "previous",
            Self::Filter => "filter",
            Self::Environment(_) | Self::Screen(_) => return None,
            Self::Copy => "copy",
            Self::Pause => "pause",
            Self::Reconnect => "reconnect",
            Self::Messages => "messages",
            Self::Palette => "commands",
            Self::Help => "help",
            Self::Save => "save",
            Self::Redraw => "redraw",
            Self::Suspend => "suspend",
            Self::Quit => "quit",
            Self::Own(name) => name,
        })
    }
}

/// One line of the key table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// What it asks for. For [`Verb::Environment`] the place of the pressed key among `keys` is the number.
    pub verb: Verb,
    /// The keys, the one to show first.
    pub keys: &'static [&'static str],
    /// The keys as shown where that is shorter than the list.
    pub shown: Option<&'static str>,
    /// One word for the footer.
    pub word: &'static str,
    /// A sentence for help, palette and README.
    pub help: &'static str,
}

impl Binding {
    /// A binding shown by its keys.
    pub const fn new(verb: Verb, keys: &'static [&'static str], word: &'static str, help: &'static str) -> Self {
        Self { verb, keys, shown: None, word, help }
    }

    /// The same, with its keys shown as `shown`.
    #[must_use]
    pub const fn shown(mut self, shown: &'static str) -> Self {
        self.shown = Some(shown);
        self
    }

    /// The keys as help shows them.
    pub fn keys_text(&self) -> String {
        self.shown.map_or_else(|| self.keys.join(" "), str::to_owned)
    }

    /// The key the footer shows.
    pub fn key(&self) -> &'static str {
        self.keys.first().copied().unwrap_or_default()
    }

    /// The verb for `chord`, if this binding holds it.
    pub(crate) fn verb_for(&self, chord: Chord) -> Option<Verb> {
        let at = self.keys.iter().position(|k| k.parse() == Ok(chord))?;
        Some(match self.verb {
            Verb::Environment(_) => Verb::Environment(u8::try_from(at).unwrap_or(u8::MAX)),
            verb => verb,
        })
    }
}

/// The binding of a verb.
pub(crate) fn binding(own: &'static [Binding], verb: Verb) -> Option<&'static Binding> {
    own.iter().chain(MOVING).chain(GENERAL).find(|b| b.verb == verb)
}

/// Keys that move, on every screen.
pub const MOVING: &[Binding] = &[
    Binding::new(Verb::Up, &["up", "k"], "up", "One row up; in text, one line."),
    Binding::new(Verb::Down, &["down", "j"], "down", "One row down; in text, one line."),
    Binding::new(Verb::Left, &["left", "h"], "left", "One environment to the left; over time, one column back."),
    Binding::new(Verb::Right, &["right", "l"], "right", "One environment to the right; over time, one column on."),
    Binding::new(Verb::PageUp, &["pgup", "ctrl-b"], "page up", "One page up."),
    Binding::new(Verb::PageDown, &["pgdn", "ctrl-f"], "page down", "One page down."),
    Binding::new(Verb::First, &["home", "g"], "first", "To the first row."),
    Binding::new(Verb::Last, &["end", "G"], "last", "To the last row."),
    Binding::new(
        Verb::Environment(0),
        &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        "environment",
        "Environment 1 to 9 in the order of the pipeline; 0 is all of them together.",
    )
    .shown("0-9"),
];

/// Keys that mean the same on every screen.
pub const GENERAL: &[Binding] = &[
    Binding::new(Verb::Open, &["enter"], "open", "Open what is selected: the rows behind a number, a finding, an object."),
    Binding::new(Verb::Back, &["esc"], "back", "Close what is open; else clear the filter; else one level back."),
    Binding::new(Verb::Leave, &["q"], "back", "One level back; it never ends the program."),
    Binding::new(Verb::NextScreen, &["tab"], "next", "The next pane or screen."),
    Binding::new(Verb::PreviousScreen, &["shift-tab"], "previous", "The previous pane or screen."),
    Binding::new(Verb::Filter, &["/"], "filter", "Filter what is listed; enter keeps the filter, esc clears it."),
    Binding::new(Verb::Copy, &["c"], "copy", "Copy what is selected to the clipboard (OSC 52, works over ssh)."),
    Binding::new(Verb::Pause, &["P"], "pause", "Freeze the view and count the updates that wait; again to go on."),
    Binding::new(Verb::Reconnect, &["ctrl-r"], "reconnect", "Connect the selected environment anew, or all that are lost."),
    Binding::new(Verb::Messages, &["m"], "messages", "All messages of all environments, with their times and remedies."),
    Binding::new(
        Verb::Palette,
        &[":"],
        "commands",
        "Type a command, or the name of an environment; :q ends the program. A command that changes something must be typed in full, or selected in the list.",
    ),
    Binding::new(Verb::Help, &["?"], "help", "These keys."),
    Binding::new(Verb::Save, &["ctrl-s"], "save", "Save what is on the screen as a text file; the message line says where."),
    Binding::new(Verb::Redraw, &["ctrl-l"], "redraw", "Draw the screen anew."),
    Binding::new(Verb::Suspend, &["ctrl-z"], "suspend", "Stop the program and give the shell back; fg continues."),
    Binding::new(Verb::Quit, &["ctrl-c"], "quit", "End the program."),
];

/// The key table for the README, made from the same tables as everything else.
pub fn keys_markdown() -> String {
    let mut out = String::from("| where | keys | action | what they do |\n|---|---|---|---|\n");
    let own = super::screens::REGISTRY.iter().map(|s| (s.title, s.keys));
    for (place, bindings) in [("moving", MOVING), ("everywhere", GENERAL)].into_iter().chain(own) {
        for binding in bindings {
            let keys = match binding.shown {
                Some(shown) => format!("`{shown}`"),
                None => binding.keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" "),
            };
            let action = binding.verb.action().map_or_else(String::new, |action| format!("`{action}`"));
            let _ = writeln!(out, "| {place} | {keys} | {action} | {} |", binding.help);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_of_every_table_parses_and_prints_the_same() {
        let tables = [MOVING, GENERAL].into_iter().chain(crate::tui::screens::REGISTRY.iter().map(|s| s.keys));
        for key in tables.flatten().flat_map(|b| b.keys) {
            let chord: Chord = key.parse().unwrap();
            assert_eq!(chord.to_string(), *key);
        }
    }

    #[test]
    fn no_key_means_two_things_on_one_screen() {
        for screen in crate::tui::screens::REGISTRY {
            let mut seen = HashSet::new();
            for key in [MOVING, GENERAL, screen.keys].into_iter().flatten().flat_map(|b| b.keys) {
                assert!(seen.insert(key), "{key} is bound twice on {}", screen.title);
            }
        }
    }

    #[test]
    fn shift_belongs_to_the_character() {
        let event = KeyEvent::new(KeyCode::Char('S'), KeyModifiers::SHIFT);
        assert_eq!(Chord::from(event), "S".parse().unwrap());
        assert!("ctrl-nothing".parse::<Chord>().is_err());
        assert_eq!("shift-s".parse::<Chord>(), "S".parse());
        assert_eq!("ctrl-R".parse::<Chord>(), "ctrl-r".parse());
        assert_eq!("shift-ctrl-tab".parse::<Chord>(), "ctrl-shift-tab".parse());
        assert_eq!("shift-space".parse::<Chord>(), "space".parse());
        assert_eq!("shift-f5".parse::<Chord>().unwrap().to_string(), "shift-f5");
    }
}
