//! Draws the gate before a policy's next step, condition by condition.
//!
//! What lives here: pixels. What does not: wording (`wording`), the verdict (`ops::gate`).

use super::Hit;
use super::board::{Group, Row};
use super::board_view::spans;
use super::wording::{self, Spans};
use crate::domain::{Condition, ConditionName, ConditionState, Gate, Verdict, clean};
use crate::tui::keys::Verb;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::lists::{Hits, scrolled};
use crate::tui::text::width;
use crate::tui::theme::Role;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of a condition's name.
const NAME: usize = 12;

/// Everything that drawing the panel needs.
pub(super) struct Panel<'a> {
    pub(super) row: &'a Row,
    /// The place of the selected condition, where the keys go here.
    pub(super) cursor: Option<usize>,
    /// Whether the policy has to be named: nothing else on the screen does.
    pub(super) named: bool,
}

/// A condition's lines: its reason may need several.
struct Block<'a> {
    place: usize,
    condition: &'a Condition,
    reason: Vec<Spans>,
}

/// The lines the panel needs at a width, its headline with them.
pub(super) fn needed(row: &Row, view: &View<'_>, columns: u16) -> usize {
    match &row.gate {
        Ok(gate) => 1 + blocks(gate, view, columns, true).iter().map(|block| block.reason.len()).sum::<usize>() + row.concerns.len(),
        Err(_) => 1 + row.concerns.len().max(1),
    }
}

/// Columns of a condition's value.
fn value_columns(columns: u16) -> usize {
    if columns >= 100 { 17 } else { 15 }
}

fn blocks<'a>(gate: &'a Gate, view: &View<'_>, columns: u16, wraps: bool) -> Vec<Block<'a>> {
    let room = usize::from(columns).saturating_sub(4 + NAME + value_columns(columns) + 1);
    let block = |(place, condition): (usize, &'a Condition)| {
        let text = sentence(condition, view);
        // What holds needs nobody.
        let role = if condition.state == ConditionState::Met { Role::Muted } else { Role::Text };
        let reason = if wraps && room >= 20 {
            wording::wrapped(&text, room, role, view)
        } else {
            vec![wording::cut(wording::marked(&text, role, view), room, view.theme.symbols.cut)]
        };
        Block { place, condition, reason }
    };
    gate.conditions.iter().enumerate().map(block).collect()
}

/// The reason, and where it is from if it does not say so itself.
fn sentence(condition: &Condition, view: &View<'_>) -> String {
    let reason = wording::reason(condition, view.keys.of(Verb::Open));
    let source = clean(&condition.source);
    let reason = format!("{reason}{}", from(condition));
    if source.is_empty() || reason.contains(&*source) || condition.reason.contains(&*source) {
        reason
    } else {
        format!("{reason} ({source})")
    }
}

/// `; from event/default/x, written by curl; not verified, and 2 more`; nothing where the condition is met or says it itself.
fn from(condition: &Condition) -> String {
    let shows = condition.state != ConditionState::Met && matches!(condition.name, ConditionName::Violations | ConditionName::Blocked);
    let Some(first) = condition.evidence.first().filter(|_| shows) else { return String::new() };
    let object = first.reference.as_ref().map(ToString::to_string).or_else(|| first.object.clone()).unwrap_or_default();
    let author = first.author();
    let author = if author.is_empty() { author } else { format!(" ({author})") };
    let more = match condition.evidence.len() as u64 - 1 + condition.more_evidence {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    clean(&format!("; from {object}{author}{more}")).into_owned()
}

/// ```text
/// ── next step: staging · enforce ───────────────────── CLOSED, Nov 25 09:14 at the earliest ──
///   ✗ soak        5d 02h of 7d     audit in staging since Nov 18 09:14 (seen by the recorder)
///   ✗ violations  3, limit 0       enter shows the 3 rows
///   ? blocked     not known        events live an hour, and nobody recorded them
/// ```
pub(super) fn draw(panel: &Panel<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits<Hit>) {
    if area.is_empty() {
        return;
    }
    headline(panel, view, area, buffer);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let Ok(gate) = &panel.row.gate else {
        ended(panel.row, view, body, buffer);
        return;
    };
    let wraps = needed(panel.row, view, area.width) <= usize::from(area.height);
    let blocks = blocks(gate, view, area.width, wraps);
    let height = usize::from(body.height);
    let top = scrolled(0, panel.cursor.unwrap_or(0), blocks.len(), height, true);
    let mut line = 0;
    for block in blocks.iter().skip(if wraps { 0 } else { top }) {
        let lines = u16::try_from(block.reason.len()).unwrap_or(1);
        if line >= body.height {
            break;
        }
        draw_block(block, panel.cursor == Some(block.place), view, body, line, buffer);
        hits.add(body.x, body.y + line, body.right(), (body.y + line + lines).min(body.bottom()), Hit::Condition(block.place));
        line += lines;
    }
    let line = line.min(body.height);
    concerns(panel.row, view, Rect { y: body.y + line, height: body.height - line, ..body }, buffer);
}

/// What concerns a policy that has no further step, or that nothing does.
fn ended(row: &Row, view: &View<'_>, body: Rect, buffer: &mut Buffer) {
    if row.concerns.is_empty() {
        Pen::new(buffer, view.theme, body, 0).put("   ", Role::Text).put("fully rolled out", Role::Muted);
    }
    concerns(row, view, body, buffer);
}

fn concerns(row: &Row, view: &View<'_>, body: Rect, buffer: &mut Buffer) {
    for (line, concern) in (0..body.height).zip(&row.concerns) {
        let mut pen = Pen::new(buffer, view.theme, body, line);
        let (shape, role) = if concern.what.is_unknown() { ("?", Role::Attention) } else { ("!", Role::Fault) };
        pen.put("  ", Role::Text).put(shape, role).put(" ", Role::Text);
        spans(&mut pen, &wording::concern(concern, view));
    }
}

fn headline(panel: &Panel<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let symbols = view.theme.symbols;
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.put(&symbols.rule.repeat(2), Role::Muted).put(" ", Role::Text);
    if panel.named {
        let name = clean(&panel.row.key.id.report_name()).into_owned();
        let room = pen.room() / 3;
        pen.put(&crate::tui::text::fit(&name, room, symbols.cut), Role::Strong).put(&format!(" {} ", symbols.crumb), Role::Muted);
    }
    let (end, role) = if let Some(gate) = panel.row.step() {
        pen.put(if panel.named && area.width < 60 { "next: " } else { "next step: " }, Role::Muted);
        spans(&mut pen, &wording::stop(&gate.to, view));
        (wording::verdict_sentence(gate, view), role(panel.row, gate))
    } else {
        pen.put("no next step", Role::Muted);
        (String::new(), Role::Muted)
    };
    pen.put(" ", Role::Text);
    let tail = if end.is_empty() { 0 } else { width(&end) + 4 };
    if pen.room() >= tail {
        pen.put(&symbols.rule.repeat(pen.room() - tail), Role::Muted);
        if tail > 0 {
            pen.put(" ", Role::Text).put(&end, role).put(" ", Role::Text).put(&symbols.rule.repeat(2), Role::Muted);
        }
    } else {
        // The verdict before the date, the date before nothing.
        pen.put(&end, role);
    }
}

fn role(row: &Row, gate: &Gate) -> Role {
    match gate.verdict {
        Verdict::Open => Role::Accent,
        Verdict::Unknown => Role::Attention,
        Verdict::Closed if row.group == Group::Waits => Role::Attention,
        Verdict::Closed => Role::Fault,
    }
}

fn draw_block(block: &Block<'_>, selected: bool, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
    let symbols = view.theme.symbols;
    for (i, reason) in (0_u16..).zip(&block.reason) {
        let mut pen = Pen::new(buffer, view.theme, area, line.saturating_add(i));
        pen.shade(if selected { Shade::Strong } else { Shade::Plain });
        pen.put(if selected { symbols.cursor } else { " " }, Role::Accent).put(" ", Role::Text);
        if i == 0 {
            let (shape, _, role) = wording::state(block.condition, symbols);
            pen.put(shape, role).put(" ", Role::Text).field(block.condition.name.as_str(), NAME, Role::Text);
            pen.field(&wording::value(block.condition), value_columns(area.width), role_of_value(block.condition, role));
        } else {
            pen.skip(2 + NAME + value_columns(area.width));
        }
        spans(&mut pen, reason);
        pen.finish();
    }
}

fn role_of_value(condition: &Condition, state: Role) -> Role {
    if condition.state == ConditionState::Met { Role::Muted } else { state }
}
