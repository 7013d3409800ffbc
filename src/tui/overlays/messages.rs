//! All messages: what holds now, with remedies, and what happened, newest first.

use super::{Outcome, Overlay, Surroundings, TextLine, scrolled, text};
use crate::tui::keys::Verb;
use crate::tui::notices::Notice;
use crate::tui::screens::View;
use crate::tui::text::wrap;
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    scroll: usize,
}

impl Overlay for Messages {
    fn key(&mut self, _event: KeyEvent, verb: Option<Verb>, _view: &View<'_>, _around: &Surroundings<'_>) -> Outcome {
        match scrolled(self.scroll, verb) {
            Some(scroll) => {
                self.scroll = scroll;
                Outcome::Stay
            }
            None => match verb {
                Some(Verb::Messages | Verb::Back | Verb::Leave | Verb::Open) => Outcome::Close,
                Some(verb @ (Verb::Quit | Verb::Help | Verb::Palette | Verb::Suspend | Verb::Reconnect)) => Outcome::Run(verb),
                _ => Outcome::Stay,
            },
        }
    }

    fn wheel(&mut self, lines: isize) {
        self.scroll = self.scroll.saturating_add_signed(lines);
    }

    fn draw(&mut self, view: &View<'_>, around: &Surroundings<'_>, area: Rect, buffer: &mut Buffer) {
        let columns = usize::from(area.width).saturating_sub(6).clamp(20, 140);
        let mut lines = vec![vec![("Now".to_owned(), Role::Strong)]];
        if around.standing.is_empty() {
            lines.push(vec![("Nothing to say: every environment is read and watched.".to_owned(), Role::Good)]);
        }
        for notice in around.standing {
            lines.extend(sentence("", notice, columns));
        }
        lines.push(Vec::new());
        lines.push(vec![("Earlier".to_owned(), Role::Strong)]);
        let before = lines.len();
        for entry in around.log.entries() {
            let times = if entry.times > 1 { format!("{}{} ", view.theme.symbols.times, entry.times) } else { String::new() };
            lines.extend(sentence(&format!("{}  {times}", words::date(entry.at, view.zone)), &entry.notice, columns));
        }
        if lines.len() == before {
            lines.push(vec![("Nothing yet.".to_owned(), Role::Muted)]);
        }
        self.scroll = text("Messages", &lines, self.scroll, view, area, buffer);
    }
}

/// A notice over as many lines as it needs, the environment in its own style.
fn sentence(lead: &str, notice: &Notice, columns: usize) -> Vec<TextLine> {
    let label = if notice.production { Role::Production } else { notice.role };
    let used = crate::tui::text::width(lead);
    let whole = format!("{}{}", notice.label, notice.text);
    let blank = " ".repeat(used);
    let mut lines = Vec::new();
    for (i, line) in wrap(&whole, columns.saturating_sub(used).max(10)).into_iter().enumerate() {
        let first = if i == 0 { line.strip_prefix(notice.label.as_str()) } else { None };
        lines.push(match first {
            Some(rest) => vec![(lead.to_owned(), Role::Muted), (notice.label.clone(), label), (rest.to_owned(), notice.role)],
            None => vec![(blank.clone(), Role::Text), (line, notice.role)],
        });
    }
    lines
}
