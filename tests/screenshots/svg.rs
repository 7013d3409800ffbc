//! A buffer as a picture: one `<rect>` per run of a background, one `<text>` per run of a style.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

const FONT: &str = "'DejaVu Sans Mono', Menlo, Consolas, monospace";
/// Of a cell, in pixels. Whole, because some programs round widths; DejaVu Sans Mono is 0.602 of its size wide.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 17.0;
const SIZE: f64 = 13.3;
const BASELINE: f64 = 12.8;
const MARGIN: f64 = 10.0;
const BACKGROUND: &str = "#11151c";
const FOREGROUND: &str = "#d5dae2";

/// xterm's sixteen.
const SIXTEEN: [&str; 16] = [
    "#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5", "#666666", "#f14c4c", "#23d18b", "#f5f543",
    "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
];

fn hex(color: Color, default: &str) -> String {
    let sixteen = |n: usize| SIXTEEN[n].to_owned();
    match color {
        Color::Reset => default.to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(n @ 0..16) => sixteen(usize::from(n)),
        Color::Indexed(n @ 16..232) => {
            let n = n - 16;
            let level = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
            format!("#{:02x}{:02x}{:02x}", level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        Color::Indexed(n) => format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232)),
        Color::Black => sixteen(0),
        Color::Red => sixteen(1),
        Color::Green => sixteen(2),
        Color::Yellow => sixteen(3),
        Color::Blue => sixteen(4),
        Color::Magenta => sixteen(5),
        Color::Cyan => sixteen(6),
        Color::Gray => sixteen(7),
        Color::DarkGray => sixteen(8),
        Color::LightRed => sixteen(9),
        Color::LightGreen => sixteen(10),
        Color::LightYellow => sixteen(11),
        Color::LightBlue => sixteen(12),
        Color::LightMagenta => sixteen(13),
        Color::LightCyan => sixteen(14),
        Color::White => sixteen(15),
    }
}

/// How a cell looks.
#[derive(PartialEq, Eq, Clone)]
struct Look {
    front: String,
    back: String,
    bold: bool,
    underlined: bool,
    dim: bool,
}

fn look(cell: &Cell) -> Look {
    let (mut front, mut back) = (hex(cell.fg, FOREGROUND), hex(cell.bg, BACKGROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut front, &mut back);
    }
    let has = |modifier| cell.modifier.contains(modifier);
    Look { front, back, bold: has(Modifier::BOLD), underlined: has(Modifier::UNDERLINED), dim: has(Modifier::DIM) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Some neighbouring cells of one look. Characters beyond ASCII stand alone, so that another font's widths move nothing.
struct Run {
    column: usize,
    columns: usize,
    text: String,
    look: Look,
}

fn runs(row: &[Cell]) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    let mut column = 0;
    while let Some(cell) = row.get(column) {
        let (symbol, look) = (cell.symbol(), look(cell));
        let columns = symbol.width().max(1);
        match out.last_mut() {
            Some(run) if run.look == look && run.text.is_ascii() && symbol.is_ascii() => {
                run.text.push_str(symbol);
                run.columns += columns;
            }
            _ => out.push(Run { column, columns, text: symbol.to_owned(), look }),
        }
        column += columns;
    }
    out
}

/// The picture, with `title` for those who cannot see it.
pub(crate) fn draw(buffer: &Buffer, title: &str) -> String {
    let (columns, lines) = (f64::from(buffer.area.width), f64::from(buffer.area.height));
    let (width, height) = ((columns * WIDTH + 2.0 * MARGIN).ceil(), (lines * HEIGHT + 2.0 * MARGIN).ceil());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"{FONT}\" font-size=\"{SIZE}\" xml:space=\"preserve\">\n",
        escaped(title)
    );
    for (line, row) in buffer.content.chunks(usize::from(buffer.area.width)).enumerate() {
        let top = MARGIN + line as f64 * HEIGHT;
        let runs = runs(row);
        for run in runs.iter().filter(|run| run.look.back != BACKGROUND) {
            let (x, width) = (MARGIN + run.column as f64 * WIDTH, run.columns as f64 * WIDTH);
            let _ =
                writeln!(out, "<rect x=\"{x:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{HEIGHT}\" fill=\"{}\"/>", run.look.back);
        }
        for run in runs.iter().filter(|run| !run.text.trim().is_empty()) {
            let before = run.text.len() - run.text.trim_start().len();
            let text = run.text.trim();
            let (x, y) = (MARGIN + (run.column + before) as f64 * WIDTH, top + BASELINE);
            let _ = write!(out, "<text x=\"{x:.2}\" y=\"{y:.1}\" fill=\"{}\"", run.look.front);
            // Where the font is another one, runs keep their length.
            if text.len() > 1 && text.is_ascii() {
                let _ = write!(out, " textLength=\"{:.2}\"", text.len() as f64 * WIDTH);
            }
            for (holds, attribute) in [
                (run.look.bold, " font-weight=\"bold\""),
                (run.look.underlined, " text-decoration=\"underline\""),
                (run.look.dim, " opacity=\"0.6\""),
            ] {
                out.push_str(if holds { attribute } else { "" });
            }
            let _ = writeln!(out, ">{}</text>", escaped(text));
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}
