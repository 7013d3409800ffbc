//! Something said in full, because there was no room for it where it stands.

use super::{Outcome, Overlay, Surroundings, TextLine, scrolled, text};
use crate::tui::keys::Verb;
use crate::tui::screens::View;
use crate::tui::text::wrap;
use crate::tui::theme::Role;
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of the words before the colon.
const LEAD: usize = 9;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    title: String,
    /// What is said, and what about; safe for a terminal.
    parts: Vec<(&'static str, String, Role)>,
    scroll: usize,
}

impl Note {
    /// A note that says nothing yet.
    pub(crate) fn new(title: String) -> Self {
        Self { title, parts: Vec::new(), scroll: 0 }
    }

    /// Says something about something.
    pub(crate) fn say(mut self, about: &'static str, text: String, role: Role) -> Self {
        if !text.is_empty() {
            self.parts.push((about, text, role));
        }
        self
    }

    fn lines(&self, columns: usize) -> Vec<TextLine> {
        let mut lines = Vec::new();
        for (about, text, role) in &self.parts {
            for (i, part) in wrap(text, columns.saturating_sub(LEAD)).into_iter().enumerate() {
                let lead = if i == 0 { *about } else { "" };
                lines.push(vec![(format!("{lead:LEAD$}"), Role::Muted), (part, *role)]);
            }
        }
        lines
    }
}

impl Overlay for Note {
    fn key(&mut self, _event: KeyEvent, verb: Option<Verb>, _view: &View<'_>, _around: &Surroundings<'_>) -> Outcome {
        match (scrolled(self.scroll, verb), verb) {
            (Some(scroll), _) => {
                self.scroll = scroll;
                Outcome::Stay
            }
            (None, Some(Verb::Back | Verb::Leave | Verb::Open)) => Outcome::Close,
            (None, Some(verb @ (Verb::Quit | Verb::Help | Verb::Messages | Verb::Palette | Verb::Suspend | Verb::Copy))) => {
                Outcome::Run(verb)
            }
            _ => Outcome::Stay,
        }
    }

    fn wheel(&mut self, lines: isize) {
        self.scroll = self.scroll.saturating_add_signed(lines);
    }

    fn draw(&mut self, view: &View<'_>, _around: &Surroundings<'_>, area: Rect, buffer: &mut Buffer) {
        let columns = usize::from(area.width).saturating_sub(8).clamp(20, 90);
        let mut lines = self.lines(columns);
        // Sentences are made where nobody knows what the terminal can show.
        lines.iter_mut().flatten().for_each(|(text, _)| *text = text.replace('·', view.theme.symbols.middot));
        self.scroll = text(&self.title, &lines, self.scroll, view, area, buffer);
    }
}
