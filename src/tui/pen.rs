//! A pen that writes on one line, from left to right, in roles, and never over its right edge.
//!
//! What lives here: placing text in a buffer. What does not: what to write.

use super::text::{fit, fit_clean, width};
use super::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// How a line stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shade {
    /// It does not.
    #[default]
    Plain,
    /// The selected row of a pane without the keys.
    Weak,
    /// The selected row of the pane with the keys.
    Strong,
    /// The cell under the cursor.
    Cursor,
}

/// See the module.
pub(crate) struct Pen<'a> {
    buffer: &'a mut Buffer,
    theme: &'a Theme,
    x: u16,
    y: u16,
    right: u16,
    shade: Shade,
}

impl<'a> Pen<'a> {
    /// A pen for line `row` of `area`, counted from its top; it writes nothing if there is no such line.
    pub(crate) fn new(buffer: &'a mut Buffer, theme: &'a Theme, area: Rect, row: u16) -> Self {
        let area = area.intersection(buffer.area);
        let inside = row < area.height;
        let right = if inside { area.right() } else { area.x };
        Self { buffer, theme, x: area.x, y: area.y.saturating_add(row), right, shade: Shade::Plain }
    }

    /// Gives what follows another shade.
    pub(crate) fn shade(&mut self, shade: Shade) -> &mut Self {
        self.shade = shade;
        self
    }

    /// Begins from nothing, so that what lies below does not shine through.
    fn style(&self, role: Role) -> Style {
        Style::reset().patch(match self.shade {
            Shade::Plain => self.theme.style(role),
            Shade::Weak => self.theme.selected(role, false),
            Shade::Strong => self.theme.selected(role, true),
            Shade::Cursor => self.theme.cursor(),
        })
    }

    /// Columns left.
    pub(crate) fn room(&self) -> usize {
        usize::from(self.right.saturating_sub(self.x))
    }

    /// Where the pen stands.
    pub(crate) fn x(&self) -> u16 {
        self.x
    }

    /// Writes `text`, which must be safe for a terminal, as far as there is room.
    pub(crate) fn put(&mut self, text: &str, role: Role) -> &mut Self {
        let room = self.room();
        if room > 0 {
            let style = self.style(role);
            let (x, _) = self.buffer.set_stringn(self.x, self.y, text, room, style);
            self.x = x.min(self.right);
        }
        self
    }

    /// Writes `text` cut and padded to exactly `columns`.
    pub(crate) fn field(&mut self, text: &str, columns: usize, role: Role) -> &mut Self {
        let end = self.x.saturating_add(u16::try_from(columns).unwrap_or(u16::MAX)).min(self.right);
        let cut = fit(text, columns.min(self.room()), self.theme.symbols.cut).into_owned();
        self.put(&cut, role);
        self.to(end)
    }

    /// The same for text from a cluster.
    pub(crate) fn field_clean(&mut self, text: &str, columns: usize, role: Role) -> &mut Self {
        let cut = fit_clean(text, columns.min(self.room()), self.theme.symbols.cut);
        self.field(&cut, columns, role)
    }

    /// Writes `text` at the right end of `columns`.
    pub(crate) fn right(&mut self, text: &str, columns: usize, role: Role) -> &mut Self {
        self.skip(columns.saturating_sub(width(text)));
        self.put(text, role)
    }

    /// Writes text from a cluster into what is left, cut with a mark.
    pub(crate) fn rest_clean(&mut self, text: &str, role: Role) -> &mut Self {
        let room = self.room();
        self.field_clean(text, room, role)
    }

    /// Goes on `columns` further right, painting blanks.
    pub(crate) fn skip(&mut self, columns: usize) -> &mut Self {
        let end = self.x.saturating_add(u16::try_from(columns).unwrap_or(u16::MAX)).min(self.right);
        self.to(end)
    }

    /// Paints blanks up to column `x`.
    pub(crate) fn to(&mut self, x: u16) -> &mut Self {
        let style = self.style(Role::Text);
        while self.x < x.min(self.right) {
            self.buffer[(self.x, self.y)].set_symbol(" ").set_style(style);
            self.x += 1;
        }
        self
    }

    /// Paints the rest of the line, so that a shade reaches its end.
    pub(crate) fn finish(&mut self) {
        self.to(self.right);
    }

    /// Writes `text` so that it ends at the right edge, if it does not touch what stands on the left.
    pub(crate) fn tail(&mut self, text: &str, role: Role) -> &mut Self {
        let w = width(text);
        if w < self.room() {
            let x = self.right - u16::try_from(w).unwrap_or(0);
            self.to(x).put(text, role);
        }
        self
    }
}
