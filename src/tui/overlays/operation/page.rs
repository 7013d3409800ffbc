//! Text with words at its left that say what it is about.

use crate::domain::clean;
use crate::tui::overlays::TextLine;
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording::{self, Spans};
use crate::tui::text::{pad, pieces, width, wrap};
use crate::tui::theme::Role;

/// Columns of the words at the left.
pub(super) const LEAD: usize = 10;

/// See the module.
pub(super) struct Page<'a> {
    view: &'a View<'a>,
    columns: usize,
    pub(super) lines: Vec<TextLine>,
    /// The line under the cursor.
    pub(super) selected: Option<usize>,
}

impl<'a> Page<'a> {
    pub(super) fn new(view: &'a View<'a>, columns: usize) -> Self {
        Self { view, columns, lines: Vec::new(), selected: None }
    }

    pub(super) fn view(&self) -> &'a View<'a> {
        self.view
    }

    fn room(&self) -> usize {
        self.columns.saturating_sub(LEAD).max(10)
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    /// A sentence over as many lines as it needs, names of production as such.
    pub(super) fn say(&mut self, about: &str, text: &str, role: Role) {
        let text = self.plain(text);
        for (i, line) in wrap(&text, self.room()).into_iter().enumerate() {
            self.line(if i == 0 { about } else { "" }, wording::marked(&line, role, self.view));
        }
    }

    /// Pieces on one line, cut where there is no room for them.
    pub(super) fn line(&mut self, about: &str, spans: Spans) {
        let mut line = vec![(pad(about, LEAD), Role::Muted)];
        let spans = self.known(spans);
        line.extend(wording::cut(spans, self.room(), self.view.theme.symbols.cut));
        self.lines.push(line);
    }

    /// Pieces one after the other, as many on a line as fit, none torn apart.
    pub(super) fn flow(&mut self, about: &str, pieces: Vec<Spans>) {
        let (mut line, mut used, mut about) = (Spans::new(), 0, about);
        for piece in pieces {
            let wide = wording::columns(&piece) + 2;
            if used > 0 && used + wide > self.room() {
                self.line(about, std::mem::take(&mut line));
                (about, used) = ("", 0);
            }
            if used > 0 {
                line.push(("  ".to_owned(), Role::Text));
            }
            line.extend(piece);
            used += wide;
        }
        self.line(about, line);
    }

    /// A long line without blanks to break at, further lines a little further in.
    pub(super) fn code(&mut self, text: &str, role: Role) {
        let text = self.plain(text);
        let room = self.room().saturating_sub(2);
        for (i, line) in wrap(&text, room).into_iter().enumerate() {
            let indent = if i == 0 { "" } else { "  " };
            self.line("", vec![(format!("{indent}{line}"), role)]);
        }
    }

    /// A line of text as it is, blanks and all, over as many lines as it needs.
    pub(super) fn verbatim(&mut self, text: &str, role: Role) {
        let text = clean(text).into_owned();
        let further = format!("{:>1$}", self.view.theme.symbols.crumb, LEAD - 1);
        for (i, piece) in pieces(&text, self.room()).into_iter().enumerate() {
            let mut line = vec![(pad(if i == 0 { "" } else { &further }, LEAD), Role::Muted)];
            line.push((piece.to_owned(), role));
            self.lines.push(line);
        }
    }

    /// Something that can be chosen.
    pub(super) fn choice(&mut self, spans: Spans, selected: bool) {
        if selected {
            self.selected = Some(self.lines.len());
        }
        let mark = if selected { self.view.theme.symbols.cursor } else { " " };
        let mut line = vec![(format!("{mark} "), Role::Accent)];
        let spans = self.known(spans);
        line.extend(wording::cut(spans, self.columns.saturating_sub(2), self.view.theme.symbols.cut));
        self.lines.push(line);
    }

    /// Sentences are made where nobody knows what the terminal can show.
    fn plain(&self, text: &str) -> String {
        let symbols = self.view.theme.symbols;
        clean(text).replace('·', symbols.middot).replace('→', symbols.becomes).replace('…', symbols.cut)
    }

    fn known(&self, spans: Spans) -> Spans {
        let symbols = self.view.theme.symbols;
        spans.into_iter().map(|(text, role)| (text.replace('·', symbols.middot), role)).collect()
    }

    /// The widest line.
    pub(super) fn width(&self) -> usize {
        self.lines.iter().map(|line| line.iter().map(|(text, _)| width(text)).sum::<usize>()).max().unwrap_or(0)
    }
}
