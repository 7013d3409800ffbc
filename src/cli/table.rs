//! Columns of text: aligned by what a terminal shows, not by bytes; nothing trails.

use crate::domain::clean;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What a cell means, for its colour. The text says the same without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Plain,
    /// Somebody has to look.
    Fault,
    /// Somebody should know.
    Attention,
    /// All is well, or nothing is there.
    Dim,
    /// Concerns production.
    Production,
}

impl Role {
    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Fault => Some("1;31"),
            Self::Attention => Some("33"),
            Self::Dim => Some("2"),
            Self::Production => Some("1;7;31"),
        }
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    role: Role,
}

impl Cell {
    /// A cell of text from anywhere: it is cleaned here.
    pub fn new(text: &str, role: Role) -> Self {
        Self { text: clean(text).into_owned(), role }
    }

    /// Plain text.
    pub fn plain(text: &str) -> Self {
        Self::new(text, Role::Plain)
    }

    /// An empty cell.
    pub fn empty() -> Self {
        Self::plain("")
    }
}

/// A column's heading; numbers stand to the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub title: String,
    /// Right-aligned.
    pub number: bool,
}

impl Column {
    /// A column of text.
    pub fn text(title: &str) -> Self {
        Self { title: clean(title).to_uppercase(), number: false }
    }

    /// A column of numbers.
    pub fn number(title: &str) -> Self {
        Self { number: true, ..Self::text(title) }
    }
}

/// The widest cell: a namespace and a name of the usual length.
const WIDEST: usize = 128;
/// The last column has room for a message.
const WIDEST_LAST: usize = 512;

/// Rows that are held back to measure the columns; later ones are printed at once, as wide as they are.
const MEASURED: usize = 2_000;

/// Prints rows as they come.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    held: Vec<Vec<Cell>>,
    started: bool,
    color: bool,
    ascii: bool,
}

impl Table {
    /// An empty table.
    pub fn new(columns: Vec<Column>, color: bool, ascii: bool) -> Self {
        let widths = columns.iter().map(|column| column.title.width()).collect();
        Self { columns, widths, held: Vec::new(), started: false, color, ascii }
    }

    /// Adds a row. Cells that are very wide are cut: the other formats have all of them.
    pub fn row(&mut self, out: &mut dyn Write, mut row: Vec<Cell>) -> io::Result<()> {
        let last = self.columns.len().saturating_sub(1);
        for (at, cell) in row.iter_mut().enumerate() {
            cut(&mut cell.text, if at == last { WIDEST_LAST } else { WIDEST }, self.ascii);
        }
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.text.width());
        }
        if self.started {
            return self.line(out, &row);
        }
        self.held.push(row);
        if self.held.len() >= MEASURED { self.start(out) } else { Ok(()) }
    }

    /// Prints what was held back.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.started { Ok(()) } else { self.start(out) }
    }

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.started = true;
        let heading: Vec<Cell> = self.columns.iter().map(|column| Cell::plain(&column.title)).collect();
        self.line(out, &heading)?;
        for row in std::mem::take(&mut self.held) {
            self.line(out, &row)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut dyn Write, row: &[Cell]) -> io::Result<()> {
        let mut line = String::new();
        // Blanks are owed until something follows them, so that nothing trails.
        let mut owed = 0;
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(&self.widths) {
            let blank = width.saturating_sub(cell.text.width());
            if column.number {
                owed += blank;
            }
            if !cell.text.is_empty() {
                line.extend(std::iter::repeat_n(' ', owed));
                owed = 0;
                match cell.role.sgr().filter(|_| self.color) {
                    Some(sgr) => line.extend(["\x1b[", sgr, "m", &cell.text, "\x1b[0m"]),
                    None => line.push_str(&cell.text),
                }
            }
            owed += if column.number { 0 } else { blank } + 3;
        }
        line.push('\n');
        out.write_all(line.as_bytes())
    }
}

/// Cuts a text that is wider than `most` columns, and marks where.
fn cut(text: &mut String, most: usize, ascii: bool) {
    // Hardly any text has so many bytes, and fewer bytes are never wider.
    if text.len() <= most || text.width() <= most {
        return;
    }
    let mark = if ascii { "..." } else { "…" };
    let mut width = mark.width();
    let fits = |(_, c): &(usize, char)| {
        width += c.width().unwrap_or_default();
        width > most
    };
    if let Some((end, _)) = text.char_indices().find(fits) {
        text.truncate(end);
        text.push_str(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(color: bool, rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new(vec![Column::text("name"), Column::number("fail"), Column::text("note")], color, false);
        let mut out = Vec::new();
        for row in rows {
            table.row(&mut out, row).unwrap();
        }
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align_by_width_and_nothing_trails() {
        let rows = vec![
            vec![Cell::plain("größer"), Cell::plain("7"), Cell::empty()],
            vec![Cell::plain("日本"), Cell::plain("~12345"), Cell::plain("x\x1b[2J\n")],
        ];
        assert_eq!(print(false, rows), "NAME       FAIL   NOTE\ngrößer        7\n日本     ~12345   x\u{fffd}[2J \n");
    }

    #[test]
    fn a_cell_that_is_very_wide_is_cut() {
        let line = |ascii, cells: [&str; 2]| {
            let mut table = Table::new(vec![Column::text("name"), Column::text("message")], false, ascii);
            let mut out = Vec::new();
            table.row(&mut out, cells.map(Cell::plain).into()).unwrap();
            table.finish(&mut out).unwrap();
            String::from_utf8(out).unwrap().lines().nth(1).unwrap().to_owned()
        };
        let (name, message) = ("n".repeat(253), "m".repeat(1 << 20));
        let cut = line(false, [&name, &message]);
        assert_eq!(cut.width(), WIDEST + 3 + WIDEST_LAST);
        assert!(cut.starts_with(&format!("{}…   m", "n".repeat(WIDEST - 1))) && cut.ends_with("m…"), "{cut}");
        assert!(line(true, [&name, &message]).is_ascii());
        let wide = line(false, [&"日".repeat(100), "x"]);
        assert_eq!(wide, format!("{}…   x", "日".repeat(63)));
        let fits = "n".repeat(WIDEST);
        assert!(line(false, [&fits, "x"]).starts_with(&fits));
    }

    #[test]
    fn colour_stays_inside_the_cell() {
        let rows = vec![vec![Cell::plain("a"), Cell::new("7", Role::Fault), Cell::empty()]];
        assert_eq!(print(true, rows), "NAME   FAIL   NOTE\na         \x1b[1;31m7\x1b[0m\n");
    }

    #[test]
    fn long_tables_are_printed_as_they_come() {
        let mut table = Table::new(vec![Column::text("a")], false, false);
        let mut out = Vec::new();
        for _ in 0..=MEASURED {
            table.row(&mut out, vec![Cell::plain("x")]).unwrap();
        }
        assert_eq!(out.len(), "A\n".len() + (MEASURED + 1) * 2);
    }
}
