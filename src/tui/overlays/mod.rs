//! Windows over the screens: one file each.
//!
//! What lives here: what a window is, and the frame drawn around it. What does not: what the keys mean elsewhere.

pub(crate) mod help;
pub(crate) mod messages;
pub(crate) mod note;
pub(crate) mod operation;
pub(crate) mod palette;

use super::keys::{Binding, Verb};
use super::notices::{Log, Notice};
use super::pen::Pen;
use super::screens::View;
use super::theme::{Role, Theme};
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// What a window sees of the program.
pub(crate) struct Surroundings<'a> {
    /// The title and the keys of the screen below.
    pub(crate) screen: (&'static str, &'static [Binding]),
    /// Why a verb cannot work on the screen below.
    pub(crate) blocked: &'a dyn Fn(Verb) -> Option<&'static str>,
    pub(crate) log: &'a Log,
    /// What holds now.
    pub(crate) standing: &'a [Notice],
}

/// What a key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The window stays.
    Stay,
    /// The window closes.
    Close,
    /// The window closes and the program does this.
    Run(Verb),
}

/// A window.
pub(crate) trait Overlay {
    /// A key, with the verb it means elsewhere.
    fn key(&mut self, event: KeyEvent, verb: Option<Verb>, view: &View<'_>, around: &Surroundings<'_>) -> Outcome;

    /// Pasted text.
    fn paste(&mut self, _text: &str) {}

    /// The wheel: lines down, or up if negative.
    fn wheel(&mut self, lines: isize);

    /// Draws itself over `area`.
    fn draw(&mut self, view: &View<'_>, around: &Surroundings<'_>, area: Rect, buffer: &mut Buffer);
}

/// One line of a window.
pub(crate) type TextLine = Vec<(String, Role)>;

/// A window's frame with its title, centred in `area`; returns what is left inside.
///
/// ```text
/// ┌ Keys ──────────────────────────┐
/// │                                │
/// └────────────────────────────────┘
/// ```
pub(crate) fn window(title: &str, columns: u16, rows: u16, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Rect {
    framed(&vec![(title.to_owned(), Role::Strong)], Role::Accent, columns, rows, theme, area, buffer)
}

/// The same with a title in pieces, and an edge of any role.
pub(crate) fn framed(title: &TextLine, edge: Role, columns: u16, rows: u16, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Rect {
    let columns = columns.saturating_add(4).min(area.width);
    let rows = rows.saturating_add(2).min(area.height);
    let outer = Rect { x: area.x + (area.width - columns) / 2, y: area.y + (area.height - rows) / 2, width: columns, height: rows };
    let s = theme.symbols;
    let wide = usize::from(columns);
    for row in 0..rows {
        let mut pen = Pen::new(buffer, theme, outer, row);
        if row == 0 || row + 1 == rows {
            let (left, right) = if row == 0 { (s.corner_tl, s.corner_tr) } else { (s.corner_bl, s.corner_br) };
            pen.put(left, edge);
            if row == 0 {
                let blank = (" ".to_owned(), Role::Strong);
                for (text, role) in std::iter::once(&blank).chain(title).chain([&blank]) {
                    let room = pen.room().saturating_sub(1);
                    pen.put(&super::text::fit(text, room, s.cut), *role);
                }
            }
            let room = pen.room().saturating_sub(1);
            pen.put(&s.rule.repeat(room), edge).put(right, edge);
        } else {
            pen.put(s.side, edge);
            pen.skip(wide.saturating_sub(2)).put(s.side, edge);
        }
    }
    Rect { x: outer.x + 2.min(columns), y: outer.y + 1.min(rows), width: columns.saturating_sub(4), height: rows.saturating_sub(2) }
}

/// Draws lines into a window, scrolled; returns the scroll that was possible.
pub(crate) fn text(title: &str, lines: &[TextLine], scroll: usize, view: &View<'_>, area: Rect, buffer: &mut Buffer) -> usize {
    let columns = lines.iter().map(|l| l.iter().map(|(t, _)| super::text::width(t)).sum::<usize>()).max().unwrap_or(0).max(20);
    let as_u16 = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let inner = window(title, as_u16(columns), as_u16(lines.len()), view.theme, area, buffer);
    let height = usize::from(inner.height);
    let scroll = scroll.min(lines.len().saturating_sub(height));
    for (row, line) in lines.iter().skip(scroll).take(height).enumerate() {
        let mut pen = Pen::new(buffer, view.theme, inner, as_u16(row));
        for (text, role) in line {
            let room = pen.room();
            pen.put(&super::text::fit(text, room, view.theme.symbols.cut), *role);
        }
    }
    if lines.len() > height && area.height > 2 {
        let note = format!(" {} more ", lines.len().saturating_sub(scroll + height));
        let edge = Rect { y: inner.bottom(), height: 1, ..inner };
        Pen::new(buffer, view.theme, edge, 0).put(&note, Role::Accent);
    }
    scroll
}

/// Moves a scroll by a verb; `None` if the verb does not scroll.
pub(crate) fn scrolled(scroll: usize, verb: Option<Verb>) -> Option<usize> {
    Some(match verb? {
        Verb::Up => scroll.saturating_sub(1),
        Verb::Down => scroll.saturating_add(1),
        Verb::PageUp => scroll.saturating_sub(10),
        Verb::PageDown => scroll.saturating_add(10),
        Verb::First => 0,
        Verb::Last => usize::MAX / 2,
        _ => return None,
    })
}
