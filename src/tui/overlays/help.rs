//! The keys, from the table, and what the shapes mean.

use super::{Outcome, Overlay, Surroundings, TextLine, scrolled, text};
use crate::domain::Mode;
use crate::tui::keys::{GENERAL, MOVING, Verb};
use crate::tui::screens::View;
use crate::tui::text::{pad, wrap};
use crate::tui::theme::Role;
use crate::tui::words::mode_word;
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of the keys.
const KEYS: usize = 15;
/// Columns of the actions' names, by which the configuration calls them.
const ACTIONS: usize = 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Help {
    scroll: usize,
}

impl Overlay for Help {
    fn key(&mut self, _event: KeyEvent, verb: Option<Verb>, _view: &View<'_>, _around: &Surroundings<'_>) -> Outcome {
        match scrolled(self.scroll, verb) {
            Some(scroll) => {
                self.scroll = scroll;
                Outcome::Stay
            }
            None => match verb {
                Some(Verb::Help | Verb::Back | Verb::Leave | Verb::Open) => Outcome::Close,
                Some(verb @ (Verb::Quit | Verb::Messages | Verb::Palette | Verb::Suspend)) => Outcome::Run(verb),
                _ => Outcome::Stay,
            },
        }
    }

    fn wheel(&mut self, lines: isize) {
        self.scroll = self.scroll.saturating_add_signed(lines);
    }

    fn draw(&mut self, view: &View<'_>, around: &Surroundings<'_>, area: Rect, buffer: &mut Buffer) {
        let columns = usize::from(area.width).saturating_sub(4).min(110);
        let mut lines: Vec<TextLine> = Vec::new();
        for (title, bindings) in [around.screen, ("Moving", MOVING), ("Everywhere", GENERAL)] {
            if !lines.is_empty() {
                lines.push(Vec::new());
            }
            lines.push(vec![(title.to_owned(), Role::Strong)]);
            for binding in bindings {
                let (text, role) = match (around.blocked)(binding.verb) {
                    Some(why) => (format!("{} Not now: {why}.", binding.help), Role::Muted),
                    None => (binding.help.to_owned(), Role::Text),
                };
                let keys = view.keys.keys_text(binding);
                let action = binding.verb.action().unwrap_or_default();
                for (i, part) in wrap(&text, columns.saturating_sub(KEYS + ACTIONS)).into_iter().enumerate() {
                    let first = |text| if i == 0 { text } else { "" };
                    let lead = [(pad(first(&keys), KEYS), Role::Accent), (pad(first(action), ACTIONS), Role::Muted)];
                    lines.push(lead.into_iter().chain([(part, role)]).collect());
                }
            }
        }
        lines.push(Vec::new());
        lines.push(vec![("What the shapes mean".to_owned(), Role::Strong)]);
        lines.extend(legend(view, columns));
        self.scroll = text("Keys", &lines, self.scroll, view, area, buffer);
    }
}

fn legend(view: &View<'_>, columns: usize) -> Vec<TextLine> {
    let s = view.theme.symbols;
    let modes =
        [Mode::Audit, Mode::Enforce, Mode::Mixed, Mode::Warn, Mode::Off, Mode::NotReady, Mode::Absent].map(|m| (s.mode(m), mode_word(m)));
    let states = [
        (s.live, "live"),
        (s.listing, "listing"),
        (s.lost, "lost"),
        (s.denied, "denied"),
        (s.login, "login needed"),
        (s.connecting, "connecting"),
    ];
    let refused = format!("{}37", s.refused);
    let marks = [
        ("412", "failing"),
        ("~412", "failing so far, not complete"),
        (s.nothing, "nothing wrong"),
        ("?", "not known"),
        ("!2", "errors"),
        (refused.as_str(), "admissions refused"),
    ];
    let more = [
        (s.differs, "the policy has another spec here than in the previous environment of the pipeline that has it"),
        ("4m old", "in a column's head: lost, and its grey numbers are of then"),
        (s.reported, "known from reports only"),
        (s.met, "open, or met"),
        (s.unmet, "closed, or not met"),
    ];
    [&modes[..], &states, &marks, &more].into_iter().flat_map(|items| flow(items, columns)).collect()
}

/// Shapes and their words, as many on a line as fit; no pair is torn apart.
fn flow(items: &[(&str, &str)], columns: usize) -> Vec<TextLine> {
    let mut lines: Vec<TextLine> = Vec::new();
    let mut used = columns;
    for (shape, word) in items {
        let needed = crate::tui::text::width(shape) + 1 + crate::tui::text::width(word) + 3;
        if used + needed > columns + 3 || lines.is_empty() {
            lines.push(Vec::new());
            used = 0;
        }
        used += needed;
        if let Some(line) = lines.last_mut() {
            line.push(((*shape).to_owned(), Role::Accent));
            line.push((format!(" {word}   "), Role::Text));
        }
    }
    lines
}
