//! The keys, from the table, and what the shapes mean.

use super::{Outcome, Overlay, Surroundings, TextLine, scrolled, text};
use crate::domain::Mode;
use crate::tui::keys::{GENERAL, MOVING, Verb};
use crate::tui::screens::View;
use crate::tui::text::{pad, width};
use crate::tui::theme::Role;
use crate::tui::words::mode_word;
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

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
        let mut lines = Vec::new();
        for (title, bindings) in [around.screen, ("Moving", MOVING), ("Everywhere", GENERAL)] {
            if !lines.is_empty() {
                lines.push(Vec::new());
            }
            lines.push(vec![(title.to_owned(), Role::Strong)]);
            for binding in bindings {
                let mut line: TextLine = vec![(pad(&binding.keys_text(), 14), Role::Accent)];
                match (around.blocked)(binding.verb) {
                    Some(why) => line.push((format!("{} Not now: {why}.", binding.help), Role::Muted)),
                    None => line.push((binding.help.to_owned(), Role::Text)),
                }
                lines.push(line);
            }
        }
        lines.push(Vec::new());
        lines.push(vec![("What the shapes mean".to_owned(), Role::Strong)]);
        lines.extend(legend(view));
        self.scroll = text("Keys", &lines, self.scroll, view, area, buffer);
    }
}

fn legend(view: &View<'_>) -> Vec<TextLine> {
    let s = view.theme.symbols;
    let modes = [Mode::Audit, Mode::Enforce, Mode::Mixed, Mode::Warn, Mode::Off, Mode::NotReady, Mode::Absent].map(|m| (s.mode(m), mode_word(m)));
    let states = [(s.live, "live"), (s.listing, "listing"), (s.lost, "lost"), (s.denied, "denied"), (s.login, "login needed"), (s.connecting, "connecting")];
    let row = |items: &[(&str, &str)]| vec![(items.iter().map(|(shape, word)| format!("{shape} {word}   ")).collect::<String>(), Role::Text)];
    let refused = format!("{}37", s.refused);
    let marks = [
        ("412", "failing"),
        ("~412", "failing so far, not complete"),
        (s.nothing, "nothing wrong"),
        ("?", "not known"),
        ("!2", "errors"),
        (refused.as_str(), "admissions refused"),
    ];
    let more = [(s.differs, "says something else than in the environment before"), ("4m", "lost since, numbers are of then"), (s.reported, "known from reports only")];
    debug_assert!(width(s.live) == 1);
    vec![row(&modes), row(&states), row(&marks), row(&more)]
}
