//! Draws the matrix: policies × environments.
//!
//! What lives here: pixels of single rows and cells. What does not: which rows there are (`board`), where columns stand (`columns`).

use super::board::{Board, Count, Listing, Passing, Reading, SortBy, mark_number, refused_in_all};
use super::columns::{Columns, WORD};
use super::hits::{Hit, Hits};
use crate::domain::{Mode, Severity, Tier};
use crate::fleet::view::EnvironmentView;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::seen::{lost_since, once_complete};
use crate::tui::text::{fit, width};
use crate::tui::theme::{Role, Symbols};
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;

/// What is selected, as drawing needs it.
pub(super) struct Cursor {
    /// Place of the selected row in the order.
    pub(super) place: Option<usize>,
    /// Environment of the selected cell; `None` is the policy itself.
    pub(super) column: Option<usize>,
    /// Whether the keys go to the matrix.
    pub(super) focused: bool,
}

/// Everything that drawing the matrix needs.
pub(super) struct Matrix<'a> {
    pub(super) board: &'a Board,
    pub(super) listing: &'a Listing,
    pub(super) columns: &'a Columns,
    pub(super) cursor: &'a Cursor,
    /// First row in sight.
    pub(super) top: usize,
}

/// Rows of an area of `height` that are left for policies.
pub(super) fn body_rows(height: u16, board: &Board) -> usize {
    usize::from(height).saturating_sub(2 + usize::from(board.hidden + board.filtered > 0))
}

/// ```text
///  POLICY ↓ faults             SEV   dev                   qac                   PRODUCTION  4m old
///  all 47 policies                           418                   149 !2                ~9
/// ▌require-pod-requests-limits med   ▒ audit     412       ▒ audit     118  ≠    ▒ audit      ~9
///  restrict-image-registries   high  ▚ mixed      17 !2    ▒ audit      31       ╱
///  ┄ 41 policies without faults hidden (o shows them)
/// ```
pub(super) fn draw(matrix: &Matrix<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    headings(matrix, view, area, buffer, hits);
    totals(matrix, view, area, buffer);
    let rows = body_rows(area.height, matrix.board);
    let mut line = 2;
    for place in matrix.top..matrix.board.order.len().min(matrix.top + rows) {
        policy(matrix, view, place, Rect { y: area.y + line, height: 1.min(area.height.saturating_sub(line)), ..area }, buffer, hits);
        line += 1;
    }
    let hidden = hidden_words(matrix.board, matrix.listing, view);
    if !hidden.is_empty() && area.height > line {
        Pen::new(buffer, view.theme, area, line).put(" ", Role::Muted).rest_clean(&hidden, Role::Muted);
    }
}

/// `┄ 41 policies without faults hidden (o shows them)`; empty if none are.
fn hidden_words(board: &Board, listing: &Listing, view: &View<'_>) -> String {
    let mut parts = Vec::new();
    if board.hidden > 0 {
        let what = words::counted(board.hidden as u64, "policy", "policies");
        let known = match board.hidden_unknown as u64 {
            0 => "without faults hidden".to_owned(),
            unknown => format!("without known faults hidden, {} unknown", words::number(unknown)),
        };
        parts.push(format!("{what} {known} ({} shows them)", view.keys.of(super::ALL)));
    }
    if board.filtered > 0 {
        let what = words::counted(board.filtered as u64, "policy", "policies");
        parts.push(format!("{what} hidden by the filter {}", listing.filter.source()));
    }
    if parts.is_empty() { String::new() } else { format!("{} {}", view.theme.symbols.dots, parts.join(", ")) }
}

fn arrow(listing: &Listing, symbols: &Symbols, by: &SortBy) -> &'static str {
    if listing.by != *by {
        ""
    } else if listing.reverse {
        symbols.up
    } else {
        symbols.down
    }
}

fn headings(matrix: &Matrix<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    let (columns, listing, symbols) = (matrix.columns, matrix.listing, view.theme.symbols);
    let by_name = arrow(listing, symbols, &SortBy::Name);
    let by_faults = arrow(listing, symbols, &SortBy::Faults);
    let sorted = if !by_name.is_empty() {
        format!("POLICY {by_name} name")
    } else if !by_faults.is_empty() {
        format!("POLICY {by_faults} faults")
    } else {
        "POLICY".to_owned()
    };
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.put(" ", Role::Muted);
    let from = pen.x();
    pen.field(&sorted, columns.policy, Role::Muted).put(" ", Role::Muted);
    hits.add(from, area.y, pen.x(), area.y + 1, Hit::Heading(SortBy::Name));
    if columns.severity > 0 {
        let from = pen.x();
        pen.field(&format!("SEV{}", arrow(listing, symbols, &SortBy::Severity)), columns.severity, Role::Muted);
        hits.add(from, area.y, pen.x(), area.y + 1, Hit::Heading(SortBy::Severity));
    }
    let all = matrix.board.environments.len();
    for e in columns.environments.clone() {
        let Some(environment) = matrix.board.environments.get(e) else { continue };
        let from = pen.x();
        let more = more_words(columns, e, all, symbols);
        let mark = arrow(listing, symbols, &SortBy::Environment(environment.name.clone()));
        let room = columns.cell().saturating_sub(1 + width(&more) + width(mark));
        let label = words::short_label(environment, room);
        let role = if environment.tier == Tier::Production {
            Role::Production
        } else if matrix.cursor.column == Some(e) {
            Role::Accent
        } else {
            Role::Strong
        };
        let shown = fit(&label, room, symbols.cut);
        pen.put(&shown, role).put(mark, Role::Accent);
        pen.put(&age_words(environment, room.saturating_sub(width(&shown)), view), Role::Muted);
        let used = usize::from(pen.x().saturating_sub(from));
        pen.skip(columns.cell().saturating_sub(used + width(&more))).put(&more, Role::Accent);
        hits.add(from, area.y, pen.x(), area.y + 1, Hit::Heading(SortBy::Environment(environment.name.clone())));
    }
}

/// `  4m old` behind the name of an environment that is lost, as far as there is room: the header says it in any case.
fn age_words(environment: &EnvironmentView, room: usize, view: &View<'_>) -> String {
    let Some(since) = lost_since(environment) else { return String::new() };
    let age = words::age(since, view.now);
    [format!("  {age} old"), format!(" {age} old"), format!(" {age}")].into_iter().find(|text| width(text) <= room).unwrap_or_default()
}

/// `‹3` or `3›`: how many environments are out of sight beside this column.
fn more_words(columns: &Columns, e: usize, all: usize, symbols: &Symbols) -> String {
    let mut out = String::new();
    if e == columns.environments.start && e > 0 {
        let _ = write!(out, " {}{e}", symbols.left);
    }
    if e + 1 == columns.environments.end && columns.environments.end < all {
        let _ = write!(out, " {}{}", all - columns.environments.end, symbols.right);
    }
    if !out.is_empty() {
        out.push(' ');
    }
    out
}

/// The first line: all policies together, from the reports' summaries until the results themselves are complete.
fn totals(matrix: &Matrix<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let columns = matrix.columns;
    let mut pen = Pen::new(buffer, view.theme, area, 1);
    let all = words::counted(matrix.board.len() as u64, "policy", "policies");
    let what = match matrix.board.filtered {
        0 => format!("all {all}"),
        filtered => format!("{} of {all}", words::number((matrix.board.len() - filtered) as u64)),
    };
    pen.put(" ", Role::Muted).field(&what, columns.policy, Role::Muted).skip(1 + columns.severity);
    for e in columns.environments.clone() {
        let Some(environment) = matrix.board.environments.get(e) else { continue };
        let mut reading = total(environment, matrix.listing, matrix.board.passing.get(e));
        let shape = 1 + if columns.words { 1 + WORD } else { 0 };
        // Where errors and refusals do not both fit behind the count, the refusals go where other rows have the mode, and the blanks before the count.
        let refused = reading.refused_mark(view.theme.symbols);
        let both = reading.errors > 0 && !refused.is_empty();
        let blanks = columns.count.saturating_sub(width(&count_words(&reading, view).0) + 1);
        let taken = shape.max(width(&refused));
        if both && 2 + mark_number(reading.errors).len() + width(&refused) > columns.marks && taken <= shape + blanks {
            let role = if reading.lost.is_some() { Role::Muted } else { Role::Attention };
            pen.field(&refused, taken, role);
            reading.refused = Some(0);
            let columns = Columns { count: columns.count + shape - taken, ..columns.clone() };
            numbers(&mut pen, &reading, &columns, environment, None, view);
        } else {
            pen.skip(shape);
            numbers(&mut pen, &reading, columns, environment, None, view);
        }
    }
    pen.finish();
}

/// Of all policies, or of what passes the filter.
fn total(environment: &EnvironmentView, listing: &Listing, passing: Option<&Passing>) -> Reading {
    let known = environment.complete || once_complete(environment);
    let tally = match (passing, environment.summaries) {
        (Some(passing), _) => passing.tally,
        (None, Some(summaries)) if !known => summaries,
        (None, _) => listing.unit.of_environment(environment),
    };
    let count = match (tally.fail, environment.complete) {
        _ if passing.is_some_and(|passing| passing.unknown) => Count::Unknown,
        _ if known && passing.is_some_and(|passing| !passing.any) => Count::Absent,
        (0, _) if passing.is_some() && !known => Count::Unknown,
        (0, _) if known => Count::Nothing,
        (0, _) if environment.summaries.is_none_or(|s| s.total() == 0) => Count::Unknown,
        (n, true) => Count::Known(n),
        (n, false) => Count::AtLeast(n),
    };
    Reading {
        mode: None,
        out: false,
        count,
        errors: tally.error,
        refused: passing.map_or_else(|| refused_in_all(environment), |passing| passing.refused),
        differs: false,
        lost: lost_since(environment),
    }
}

fn policy(matrix: &Matrix<'_>, view: &View<'_>, place: usize, area: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    let Some((at, row)) = matrix.board.listed(place) else { return };
    if area.height == 0 {
        return;
    }
    let (columns, cursor, symbols) = (matrix.columns, matrix.cursor, view.theme.symbols);
    let selected = cursor.place == Some(place);
    let shade = match (selected, cursor.focused) {
        (true, true) => Shade::Strong,
        (true, false) => Shade::Weak,
        (false, _) => Shade::Plain,
    };
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.shade(shade).put(if selected { symbols.cursor } else { " " }, Role::Accent);
    let from = pen.x();
    if selected && cursor.column.is_none() && cursor.focused {
        pen.shade(Shade::Cursor);
    }
    let name = row.name();
    let severe = row.severity >= Some(Severity::High);
    pen.put(&fit(&name, columns.policy, symbols.cut), if severe { Role::Strong } else { Role::Text });
    let used = usize::from(pen.x().saturating_sub(from));
    pen.shade(shade);
    if row.twin && columns.policy > used + 3 {
        let kind = if row.key.id.kind.is_empty() { &*row.key.source } else { row.key.id.kind.as_str() };
        pen.put(" ", Role::Muted).field_clean(kind, columns.policy - used - 1, Role::Muted);
    } else {
        pen.skip(columns.policy.saturating_sub(used));
    }
    pen.put(" ", Role::Text);
    if columns.severity > 0 {
        let (word, role) = match row.severity {
            Some(s @ (Severity::High | Severity::Critical)) => (s.short(), Role::Text),
            Some(s) => (s.short(), Role::Muted),
            None => (symbols.none, Role::Muted),
        };
        pen.field(word, columns.severity, role);
    }
    hits.add(area.x, area.y, pen.x(), area.y + 1, Hit::Policy(place));
    for e in columns.environments.clone() {
        let Some(environment) = matrix.board.environments.get(e) else { continue };
        let from = pen.x();
        if selected && cursor.focused && cursor.column == Some(e) {
            pen.shade(Shade::Cursor);
        }
        let reading = matrix.board.filtered_reading(at, e, matrix.listing, view.now);
        mode(&mut pen, &reading, columns, view);
        if matrix.board.is_out(at, e, &matrix.listing.filter, view.now) {
            pen.skip(columns.count + columns.marks + 1);
        } else {
            numbers(&mut pen, &reading, columns, environment, row.severity, view);
        }
        pen.shade(shade);
        hits.add(from, area.y, pen.x(), area.y + 1, Hit::Cell(place, e));
    }
    pen.finish();
}

fn mode(pen: &mut Pen<'_>, reading: &Reading, columns: &Columns, view: &View<'_>) {
    let symbols = view.theme.symbols;
    let (shape, word, role) = match reading.mode {
        None => (symbols.reported, "reports", Role::Muted),
        Some(mode) => {
            let role = match mode {
                _ if reading.out => Role::Attention,
                Mode::NotReady => Role::Attention,
                Mode::Enforce | Mode::Mixed => Role::Text,
                Mode::Audit | Mode::Warn | Mode::Off | Mode::Absent | Mode::Unknown => Role::Muted,
            };
            // The mark of what is not ready: the mode beside it is only what the policy says.
            let shape = if reading.out { symbols.mode(Mode::NotReady) } else { symbols.mode(mode) };
            (shape, words::mode_word(mode), role)
        }
    };
    let role = if reading.lost.is_some() { Role::Muted } else { role };
    pen.put(shape, role);
    if columns.words {
        // What is not there, or not known, says so by its shape; a word in every such cell would be noise.
        let quiet = matches!(reading.mode, Some(Mode::Absent | Mode::Unknown));
        pen.put(" ", role).field(if quiet { "" } else { word }, WORD, role);
    }
}

/// The count as it is shown, and whether there is anything to count.
fn count_words(reading: &Reading, view: &View<'_>) -> (String, bool) {
    let (symbols, lost) = (view.theme.symbols, reading.lost.is_some());
    match reading.count {
        Count::Absent => (String::new(), false),
        Count::Nothing if lost => (format!("~{}", symbols.nothing), false),
        Count::Nothing => (symbols.nothing.to_owned(), false),
        Count::Unknown if reading.mode == Some(Mode::Unknown) => (String::new(), false),
        Count::Unknown => ("?".to_owned(), false),
        Count::Known(n) if !lost => (words::number(n), true),
        Count::Known(n) | Count::AtLeast(n) => (format!("~{}", words::number(n)), true),
    }
}

/// The count, right-aligned, and the marks behind it: `!2` errors, `⊘37` refused (`⊘?` unknown), `≠` other than before. Where the environment is lost
/// all of it is grey and the count carries `~`; how old it is stands in the column's head, so that nothing moves when it happens.
fn numbers(
    pen: &mut Pen<'_>,
    reading: &Reading,
    columns: &Columns,
    environment: &EnvironmentView,
    severity: Option<Severity>,
    view: &View<'_>,
) {
    let symbols = view.theme.symbols;
    let lost = reading.lost.is_some();
    let serious = environment.tier == Tier::Production || severity >= Some(Severity::High);
    let (text, some) = count_words(reading, view);
    let role = match (some, serious) {
        (false, _) => Role::Muted,
        (true, true) => Role::Fault,
        (true, false) => Role::Attention,
    };
    pen.right(&text, columns.count, if lost { Role::Muted } else { role });
    let mut left = columns.marks;
    let mut mark = |pen: &mut Pen<'_>, text: &str, role: Role| {
        if width(text) <= left {
            left -= width(text);
            pen.put(text, if lost { Role::Muted } else { role });
        }
    };
    let mut blank = " ";
    if reading.errors > 0 {
        mark(pen, &format!("{blank}!{}", mark_number(reading.errors)), Role::Fault);
        blank = "";
    }
    let refused = reading.refused_mark(symbols);
    if !refused.is_empty() {
        mark(pen, &format!("{blank}{refused}"), if reading.refused.is_some() { Role::Attention } else { Role::Muted });
    }
    if reading.differs {
        mark(pen, &format!(" {}", symbols.differs), Role::Accent);
    }
    pen.skip(left + 1);
}
