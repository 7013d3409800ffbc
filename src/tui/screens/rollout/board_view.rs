//! Draws the board: groups, and a line per policy.
//!
//! What lives here: pixels. What does not: which lines there are (`board`), where columns stand (`columns`), wording (`wording`).

use super::Hit;
use super::board::{Board, Group, Line, Listing, Row, SortBy};
use super::columns::{Columns, Needs, UNTIL};
use super::over_time::{Bars, OverTime};
use super::wording::{self, Spans};
use crate::domain::{Mode, PolicyId, Stop, clean};
use crate::fleet::view::EnvironmentView;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::lists::Hits;
use crate::tui::screens::{ALL, View, seen};
use crate::tui::text::{fit, width};
use crate::tui::theme::{Role, Symbols};
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::collections::BTreeSet;

/// Everything that drawing the board needs.
pub(super) struct Drawing<'a> {
    pub(super) board: &'a Board,
    pub(super) listing: &'a Listing,
    pub(super) columns: &'a Columns,
    /// The place of the selected row.
    pub(super) place: Option<usize>,
    /// Policies that are marked.
    pub(super) marks: &'a BTreeSet<PolicyId>,
    /// Whether the keys go to the board.
    pub(super) focused: bool,
    /// First line in sight.
    pub(super) top: usize,
    pub(super) over_time: &'a OverTime,
}

impl Drawing<'_> {
    /// The bars that stand in place of what is waited for, where that is wanted.
    fn bars(&self) -> Option<Bars> {
        self.over_time.is_shown().then(|| Bars::of(self.columns.rest, self.columns.environments.clone()))
    }
}

/// Lines around the rows: the headings, what is hidden, and what shapes over time mean.
pub(super) fn frame_rows(board: &Board, over_time: &OverTime) -> usize {
    1 + usize::from(board.hidden + board.filtered > 0) + usize::from(over_time.is_shown())
}

/// What the columns have to hold.
pub(super) fn needs(board: &Board, view: &View<'_>) -> Needs {
    let widest = |of: &dyn Fn(&Stop) -> usize| board.stops.iter().map(of).max().unwrap_or(0);
    let brief = |to: &Stop| width(&wording::environment(&to.environment, view).0) + 3;
    Needs {
        name: board.widest_name,
        next: [widest(&|to| brief(to) + width(words::mode_word(to.mode))), widest(&brief)],
        labels: view.fleet.environments.iter().map(|environment| width(&words::label(environment))).collect(),
    }
}

/// ```text
///  POLICY                         dev qac staging PRODUCTION NEXT STEP           VERDICT   WAITS FOR                    UNTIL
///  ready to promote  1
/// ▌disallow-privileged-containers █e  █e  █e      ▒a         PRODUCTION · enforce ✓ open
///  soaking  1  will open without action
///  disallow-latest-tag            █e  █e  ▒a      ╱          staging · enforce   ✗ closed  soak 5d 02h of 7d   Nov 25 09:14
///  ┄ 41 fully rolled-out policies hidden (o: show)
/// ```
pub(super) fn draw(drawing: &Drawing<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits<Hit>) {
    headings(drawing, view, area, buffer, hits);
    let room = usize::from(area.height).saturating_sub(frame_rows(drawing.board, drawing.over_time));
    let mut line = 1;
    for what in drawing.board.lines.iter().skip(drawing.top).take(room) {
        match what {
            Line::Heading(group, rows) => heading(*group, *rows, view, area, line, buffer),
            Line::Row(place) => {
                row(drawing, *place, view, area, line, buffer);
                hits.add(area.x, area.y + line, area.right(), area.y + line + 1, Hit::Row(*place));
            }
        }
        line += 1;
    }
    let hidden = hidden_words(drawing.board, drawing.listing, view);
    if !hidden.is_empty() && area.height > line {
        Pen::new(buffer, view.theme, area, line).put(" ", Role::Muted).rest_clean(&hidden, Role::Muted);
        line += 1;
    }
    if drawing.over_time.is_shown() && area.height > line {
        drawing.over_time.legend(view, area, line, buffer);
    }
}

/// `┄ 41 fully rolled-out policies hidden (o: show)`; empty if none are.
fn hidden_words(board: &Board, listing: &Listing, view: &View<'_>) -> String {
    let mut parts = Vec::new();
    if board.hidden > 0 {
        let what = words::counted(board.hidden as u64, "fully rolled-out policy", "fully rolled-out policies");
        parts.push(format!("{what} hidden ({}: show)", view.keys.of(ALL)));
    }
    if board.filtered > 0 {
        let what = words::counted(board.filtered as u64, "policy", "policies");
        parts.push(format!("{what} hidden by the filter {}", listing.filter.source()));
    }
    if parts.is_empty() { String::new() } else { format!("{} {}", view.theme.symbols.dots, parts.join(", ")) }
}

fn headings(drawing: &Drawing<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits<Hit>) {
    let (columns, symbols) = (drawing.columns, view.theme.symbols);
    let mark = |by: SortBy, word: &str| {
        let arrow = if drawing.listing.reverse { symbols.up } else { symbols.down };
        if drawing.listing.by == by { format!("{word} {arrow}") } else { word.to_owned() }
    };
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.put(" ", Role::Muted);
    let mut heading = |pen: &mut Pen<'_>, text: &str, columns: usize, by: SortBy| {
        let from = pen.x();
        pen.field(text, columns, Role::Muted);
        hits.add(from, area.y, pen.x(), area.y + 1, Hit::Heading(by));
    };
    heading(&mut pen, &mark(SortBy::Name, "POLICY"), columns.policy, SortBy::Name);
    pen.put(" ", Role::Muted);
    let all = view.fleet.environments.len();
    for (e, wide) in columns.environments.clone().zip(&columns.strip) {
        let Some(environment) = view.fleet.environments.get(e) else { continue };
        let (label, role) = wording::environment(&environment.name, view);
        let room = wide - 1;
        // Two letters of a name need no mark that there are more.
        let shown = if *wide > 3 { fit(&label, room, symbols.cut).into_owned() } else { fit(&label, room, "").into_owned() };
        pen.put(&shown, role).skip(room.saturating_sub(width(&shown)));
        let more = (e + 1 == columns.environments.end && e + 1 < all) || (e == columns.environments.start && e > 0);
        pen.put(if more { if e > 0 && e == columns.environments.start { symbols.left } else { symbols.right } } else { " " }, Role::Accent);
    }
    pen.put(" ", Role::Muted);
    heading(&mut pen, &mark(SortBy::Next, if columns.words { "NEXT STEP" } else { "NEXT" }), columns.next, SortBy::Next);
    pen.field(if columns.words { "VERDICT" } else { "" }, columns.verdict, Role::Muted);
    if let Some(bars) = drawing.bars() {
        drawing.over_time.headings(&mut pen, &bars, columns.rest, view);
        return;
    }
    let until = mark(SortBy::Soonest, "UNTIL");
    if columns.rest > width(&until) + 10 {
        pen.field("WAITS FOR", columns.rest.saturating_sub(UNTIL), Role::Muted);
        let from = pen.x();
        pen.right(&until, UNTIL, Role::Muted);
        hits.add(from, area.y, pen.x(), area.y + 1, Hit::Heading(SortBy::Soonest));
    }
}

fn heading(group: Group, rows: usize, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
    let (word, meaning) = wording::group(group);
    let role = if matches!(group, Group::End) { Role::Muted } else { Role::Strong };
    let mut pen = Pen::new(buffer, view.theme, area, line);
    pen.put(" ", Role::Text).put(word, role).put(&format!("  {}", words::number(rows as u64)), Role::Muted);
    if pen.room() > width(meaning) + 3 && !meaning.is_empty() {
        pen.put(&format!("  {meaning}"), Role::Muted);
    }
}

fn row(drawing: &Drawing<'_>, place: usize, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
    let Some(row) = drawing.board.listed(place) else { return };
    let (columns, symbols) = (drawing.columns, view.theme.symbols);
    let selected = drawing.place == Some(place);
    let shade = match (selected, drawing.focused) {
        (true, true) => Shade::Strong,
        (true, false) => Shade::Weak,
        (false, _) => Shade::Plain,
    };
    let quiet = row.group == Group::End;
    let mut pen = Pen::new(buffer, view.theme, area, line);
    pen.shade(shade).put(if selected { symbols.cursor } else { " " }, Role::Accent);
    if drawing.marks.contains(&*row.key.id) {
        pen.put(symbols.marked, Role::Accent).put(" ", Role::Text);
        name(&mut pen, row, columns.policy.saturating_sub(2), quiet, symbols);
    } else {
        name(&mut pen, row, columns.policy, quiet, symbols);
    }
    pen.put(" ", Role::Text);
    let stands = row.gate.as_ref().ok().and_then(|gate| gate.from.as_ref());
    for (e, wide) in columns.environments.clone().zip(&columns.strip) {
        let Some(environment) = view.fleet.environments.get(e) else { continue };
        strip(&mut pen, row, environment, stands, symbols);
        pen.skip(wide - 2);
    }
    pen.put(" ", Role::Text);
    let from = pen.x();
    if let Some(gate) = row.step() {
        spans(&mut pen, &wording::cut(next(&gate.to, columns, view), columns.next - 1, symbols.cut));
    }
    pen.skip(columns.next.saturating_sub(usize::from(pen.x() - from)));
    let (mark, word, role) = wording::verdict(row, symbols);
    if columns.words {
        pen.put(mark, role).put(" ", role).field(word, columns.verdict - 2, role);
    } else {
        pen.field(mark, columns.verdict, role);
    }
    match drawing.bars() {
        Some(bars) => drawing.over_time.draw(&mut pen, row, &bars, view),
        None => waits(&mut pen, row, columns.rest, view),
    }
    pen.finish();
}

fn name(pen: &mut Pen<'_>, row: &Row, columns: usize, quiet: bool, symbols: &Symbols) {
    let from = pen.x();
    let role = if quiet { Role::Muted } else { Role::Text };
    pen.put(&fit(&clean(&row.key.id.report_name()), columns, symbols.cut), role);
    let used = usize::from(pen.x() - from);
    if row.twin && columns > used + 3 {
        pen.put(" ", Role::Muted).field_clean(&row.key.id.kind, columns - used - 1, Role::Muted);
    } else {
        pen.skip(columns.saturating_sub(used));
    }
}

/// The letter beside the shape of a mode; what is not there, or not known, has none.
fn letter(mode: Mode) -> &'static str {
    match mode {
        Mode::Audit => "a",
        Mode::Enforce => "e",
        Mode::Mixed => "m",
        Mode::Warn => "w",
        Mode::Off => "o",
        Mode::NotReady => "n",
        Mode::Absent | Mode::Unknown => " ",
    }
}

/// Shape and letter of one environment; where it is, is brighter.
fn strip(pen: &mut Pen<'_>, row: &Row, environment: &EnvironmentView, stands: Option<&Stop>, symbols: &Symbols) {
    let mode = seen::mode(environment, &row.key);
    let here = stands.is_some_and(|stop| stop.environment == environment.name);
    let out = environment.cell(&row.key).is_some_and(seen::is_out_of_force);
    // The mark of what is not ready: the letter beside it is only what the policy says.
    let shape = symbols.mode(if out { Mode::NotReady } else { mode });
    let role = match mode {
        _ if seen::lost_since(environment).is_some() => Role::Muted,
        _ if out => Role::Attention,
        Mode::NotReady | Mode::Unknown => Role::Attention,
        _ if here => Role::Strong,
        _ => Role::Muted,
    };
    pen.put(shape, role).put(letter(mode), role);
}

/// `staging · enforce`, or `staging █e` where there is no room for it.
fn next(to: &Stop, columns: &Columns, view: &View<'_>) -> Spans {
    if columns.words {
        return wording::stop(to, view);
    }
    let (label, role) = wording::environment(&to.environment, view);
    vec![(label, role), (format!(" {}{}", view.theme.symbols.mode(to.mode), letter(to.mode)), Role::Text)]
}

/// What it waits for; and, of what only waits, until when at the end of the line.
fn waits(pen: &mut Pen<'_>, row: &Row, room: usize, view: &View<'_>) {
    let until = row.gate.as_ref().ok().filter(|_| row.group == Group::Waits).and_then(|gate| gate.opens_at);
    let Some(until) = until else {
        spans(pen, &wording::waits_for(row, room, view));
        return;
    };
    let words = room.saturating_sub(UNTIL + 1);
    let from = pen.x();
    spans(pen, &wording::waits_for(row, words, view));
    pen.skip((words + 1).min(room).saturating_sub(usize::from(pen.x() - from)));
    pen.right(&words::minute(until, view.zone), UNTIL.min(room), Role::Text);
}

/// Writes text in pieces.
pub(super) fn spans(pen: &mut Pen<'_>, spans: &Spans) {
    for (text, role) in spans {
        pen.put(text, *role);
    }
}
