//! The policy itself, in all environments: the lower pane while no single environment is selected.
//!
//! What lives here: a table made from the view alone, without asking anybody. What does not: findings.

use super::board::{Board, Count, Listing};
use super::hits::{Hit, Hits};
use super::rows_view::crumbs;
use crate::domain::{Force, Mode, PolicyKey, Tier, clean};
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::text::width;
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// What the pane needs beside the board.
pub(super) struct Overview<'a> {
    pub(super) key: &'a PolicyKey,
    pub(super) listing: &'a Listing,
    /// Selected environment, if the keys go here.
    pub(super) place: Option<usize>,
    pub(super) top: usize,
}

const NUMBER: usize = 9;

/// ```text
///  disallow-latest-tag › in 4 environments              ClusterPolicy · source kyverno · Best Practices
///                  MODE         REVISION          FAIL   ERROR    WARN    PASS    SKIP REFUSED  EVALUATED
///    dev           █ enforce    91c2e0a4f1aa         ·       ·       ·     310       ·      37  11 min ago
///    staging       ▒ audit      91c2e0a4f1aa         3       ·       ·     204       1       ·  11 min ago
///    PRODUCTION    ╱ absent
/// ```
pub(super) fn draw(overview: &Overview<'_>, board: &Board, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    let symbols = view.theme.symbols;
    let Some(row) = board.row(overview.key) else { return };
    let all = board.environments.len();
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    crumbs(&mut pen, view, overview.key, None, &[&format!("in {}", words::counted(all as u64, "environment", "environments"))]);
    let mut facts = Vec::new();
    if !overview.key.id.kind.is_empty() {
        facts.push(clean(&overview.key.id.kind).into_owned());
    }
    if !overview.key.source.is_empty() {
        facts.push(format!("source {}", clean(&overview.key.source)));
    }
    facts.extend((0..all).find_map(|e| board.cell(row, e)?.category.as_deref().map(|c| clean(c).into_owned())));
    pen.tail(&format!(" {} ", facts.join(&format!(" {} ", symbols.middot))), Role::Muted);

    let names = board.environments.iter().map(|e| width(&words::label(e))).max().unwrap_or(0).clamp(8, 24);
    let wide = usize::from(area.width) >= 4 + names + 13 + 14 + 6 * NUMBER + 14;
    let mut pen = Pen::new(buffer, view.theme, area, 1);
    pen.skip(4 + names).field("MODE", 13, Role::Muted);
    if wide {
        pen.field("REVISION", 14, Role::Muted);
    }
    let titles: &[&str] = if wide { &["FAIL", "ERROR", "WARN", "PASS", "SKIP", "REFUSED"] } else { &["FAIL", "ERROR", "PASS", "REFUSED"] };
    for title in titles {
        pen.right(title, NUMBER, Role::Muted);
    }
    if wide {
        pen.put("  EVALUATED", Role::Muted);
    }
    let body = Rect { y: area.y.saturating_add(2), height: area.height.saturating_sub(2), ..area };
    for (line, e) in (overview.top..all).take(usize::from(body.height)).enumerate() {
        let line = u16::try_from(line).unwrap_or(u16::MAX);
        environment(overview, board, (row, e), (names, wide), view, body, line, buffer);
        hits.add(body.x, body.y + line, body.right(), body.y + line + 1, Hit::Line(e));
    }
}

#[expect(clippy::too_many_arguments, reason = "one line of one table; a struct would only be taken apart again")]
fn environment(
    overview: &Overview<'_>,
    board: &Board,
    (row, e): (usize, usize),
    (names, wide): (usize, bool),
    view: &View<'_>,
    body: Rect,
    line: u16,
    buffer: &mut Buffer,
) {
    let symbols = view.theme.symbols;
    let Some(environment) = board.environments.get(e) else { return };
    let reading = board.reading(row, e, overview.listing.unit);
    let selected = overview.place == Some(e);
    let mut pen = Pen::new(buffer, view.theme, body, line);
    pen.shade(if selected { Shade::Strong } else { Shade::Plain });
    pen.put(if selected { symbols.cursor } else { " " }, Role::Accent).put("  ", Role::Text);
    let from = pen.x();
    pen.put(
        &crate::tui::text::fit(&words::label(environment), names, symbols.cut),
        if environment.tier == Tier::Production { Role::Production } else { Role::Text },
    );
    let used = usize::from(pen.x() - from);
    pen.skip(names + 1 - used.min(names));
    let quiet = if reading.lost.is_some() { Role::Muted } else { Role::Text };
    let (shape, word) = reading.mode.map_or((symbols.reported, "reports"), |m| (symbols.mode(m), words::mode_word(m)));
    let (shape, role) = if reading.out { (symbols.mode(Mode::NotReady), Role::Attention) } else { (shape, quiet) };
    pen.put(shape, role).put(" ", role).field(word, 11, role);
    let Some(cell) = board.cell(row, e) else {
        pen.finish();
        return;
    };
    if wide {
        let revision = cell.revision.as_ref().map_or_else(|| symbols.none.to_owned(), |r| clean(&r.0).into_owned());
        pen.field(&revision, 12, Role::Muted).put(if reading.differs { symbols.differs } else { " " }, Role::Accent).put(" ", Role::Text);
    }
    let tally = overview.listing.unit.of(cell);
    let filter = &overview.listing.filter;
    let (unknown, filtered) = (reading.count == Count::Unknown, filter.has_fields() && filter.asks_rows(environment, cell, view.now));
    let mark = if matches!(reading.count, Count::AtLeast(_)) { "~" } else { "" };
    let number = |pen: &mut Pen<'_>, n: u64, role: Role| {
        let text = match n {
            0 if unknown => "?".to_owned(),
            // Only the rows tell how many of them pass the filter.
            1.. if filtered => "?".to_owned(),
            0 => symbols.nothing.to_owned(),
            n => format!("{mark}{}", words::number(n)),
        };
        pen.right(&text, NUMBER, if n == 0 || reading.lost.is_some() { Role::Muted } else { role });
    };
    number(&mut pen, tally.fail, Role::Attention);
    number(&mut pen, tally.error, Role::Fault);
    if wide {
        number(&mut pen, tally.warn, Role::Attention);
    }
    number(&mut pen, tally.pass, Role::Good);
    if wide {
        number(&mut pen, tally.skip, Role::Text);
    }
    match cell.blocked {
        Some(n) => number(&mut pen, n, Role::Attention),
        None => {
            pen.right("?", NUMBER, Role::Muted);
        }
    }
    if let Some(at) = cell.evaluated_at.filter(|_| wide) {
        pen.put(&format!("  {} ago", words::span(at, view.now)), Role::Muted);
    }
    if reading.out {
        let how = if cell.in_force.state == Force::Partly { "partly in force" } else { "not in force" };
        pen.put(&format!("  {how}: {}", clean(&cell.in_force.reason())), Role::Attention);
    } else if cell.native {
        pen.put("  native policy", Role::Muted);
    }
    pen.finish();
}
