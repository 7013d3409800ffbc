//! Draws the rows behind a number, and the policy's overview.
//!
//! What lives here: the lower pane while it lists. What does not: a single finding (`finding_view`).

use super::board::{Board, Count, Unit};
use super::hits::{Hit, Hits};
use super::rows::{Line, Rows, Target, headline};
use crate::domain::{FindingResult, PolicyKey, Severity, Tier, clean};
use crate::fleet::query::{BlockedRow, FindingRow};
use crate::fleet::view::EnvironmentView;
use crate::ops::gate::silent;
use crate::tui::filter::Filter;
use crate::tui::keys::Verb;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::lists::scrolled;
use crate::tui::screens::seen::{is_not_evaluated, once_complete};
use crate::tui::text::{width, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;

/// The pane the rows are drawn in.
pub(super) struct Pane<'a> {
    pub(super) board: &'a Board,
    /// Whether the keys go here.
    pub(super) focused: bool,
    /// Whether the view follows the cursor.
    pub(super) follow: bool,
}

/// Writes `policy › PRODUCTION › …`, production in its own style.
pub(super) fn crumbs(pen: &mut Pen<'_>, view: &View<'_>, key: &PolicyKey, environment: Option<&EnvironmentView>, further: &[&str]) {
    let crumb = view.theme.symbols.crumb;
    let name = clean(&key.id.report_name()).into_owned();
    let room = (pen.room() / 2).max(12);
    pen.put(" ", Role::Text).put(&crate::tui::text::fit(&name, room, view.theme.symbols.cut), Role::Strong);
    if let Some(environment) = environment {
        let role = if environment.tier == Tier::Production { Role::Production } else { Role::Accent };
        pen.put(&format!(" {crumb} "), Role::Muted).put(&words::label(environment), role);
    }
    for part in further {
        pen.put(&format!(" {crumb} "), Role::Muted).put(part, Role::Text);
    }
}

/// How a result is painted.
pub(super) fn result_role(row: &FindingRow, production: bool) -> Role {
    match row.result {
        FindingResult::Error => Role::Fault,
        FindingResult::Fail if production || row.severity >= Some(Severity::High) => Role::Fault,
        FindingResult::Fail | FindingResult::Warn => Role::Attention,
        FindingResult::Skip => Role::Muted,
        FindingResult::Pass => Role::Good,
    }
}

/// ```text
///  disallow-latest-tag › staging › 3 failing owners in 2 namespaces          evaluated 11 min ago
///  ▾ checkout                                                                            2 owners
///    ✖ Deployment/web      validate-image-tag  Using a mutable image tag e.g. 'latest' is not …
///  ▌ ✖ CronJob/nightly ×4  validate-image-tag  Using a mutable image tag e.g. 'latest' is not …
///  ▸ ⊘ refused  37
/// ```
pub(super) fn draw(rows: &mut Rows, pane: &Pane<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    let board = pane.board;
    let Some(wanted) = rows.target() else { return };
    let (target, answer) = match rows.shown(view.now) {
        Some((target, answer)) => (target, Some(answer)),
        None => (wanted, None),
    };
    let (target, answer) = (target.clone(), answer.cloned_shape());
    let environment = board.environments.iter().find(|e| e.name == target.environment).cloned();
    let head = match &answer {
        Shape::Waiting => "asking".to_owned(),
        Shape::Failed(_) => "unknown".to_owned(),
        Shape::Rows => {
            // Where nothing is shown, a sentence of its own says so below.
            let matching = if rows.hidden_by().is_some() { rows.rows().len() } else { rows.matching() };
            let head = match count(board, &target, environment.as_deref()) {
                Count::Unknown if rows.rows().is_empty() => "unknown".to_owned(),
                Count::AtLeast(_) if !rows.rows().is_empty() => format!("at least {}", headline(&target, rows.rows(), matching)),
                _ => headline(&target, rows.rows(), matching),
            };
            match rows.refusals().0 {
                0 => head,
                n => format!("{head}, {} refused", words::number(n)),
            }
        }
    };
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    crumbs(&mut pen, view, &target.key, environment.as_deref(), &[&head]);
    if let Some(at) = rows.rows().iter().filter_map(|r| r.evaluated_at).max().filter(|_| matches!(answer, Shape::Rows)) {
        pen.tail(&format!(" evaluated {} ago ", words::span(at, view.now)), Role::Muted);
    }
    let body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    match answer {
        Shape::Waiting => {}
        Shape::Failed((what, hint)) => {
            Pen::new(buffer, view.theme, body, 0).put(" ", Role::Text).rest_clean(&what, Role::Fault);
            Pen::new(buffer, view.theme, body, 1).put(" ", Role::Text).rest_clean(&hint, Role::Text);
        }
        Shape::Rows => {
            let mut body = body;
            if let (true, Some(environment)) = (rows.rows().is_empty(), &environment) {
                let sentence = nothing_words(board, &target.key, environment, target.unit);
                Pen::new(buffer, view.theme, body, 0).put("   ", Role::Text).rest_clean(&sentence, Role::Muted);
                body = Rect { y: body.y.saturating_add(1), height: body.height.saturating_sub(1), ..body };
            }
            if let Some((filter, here)) = rows.hidden_by() {
                let sentences = hidden_words(rows.rows().len(), filter, here, view);
                // Under the middle of an empty pane nothing else stands; where refusals are listed, it goes above them.
                let middle = if rows.lines.is_empty() { body.height.saturating_sub(2) / 2 } else { 0 };
                body = hidden(&sentences, middle, view, body, buffer);
            }
            let production = environment.is_some_and(|e| e.tier == Tier::Production);
            list(rows, pane, production, view, body, buffer, hits);
        }
    }
}

/// The number that the rows are behind.
fn count(board: &Board, target: &Target, environment: Option<&EnvironmentView>) -> Count {
    let e = environment.and_then(|environment| board.environments.iter().position(|other| other.name == environment.name));
    let row = board.row(&target.key);
    e.zip(row).map_or(Count::Absent, |(e, row)| board.reading(row, e, target.unit).count)
}

/// What is behind an empty list, so that nothing and unknown never look alike.
fn nothing_words(board: &Board, key: &PolicyKey, environment: &EnvironmentView, unit: Unit) -> String {
    let Some(e) = board.environments.iter().position(|x| x.name == environment.name) else { return String::new() };
    let Some(row) = board.row(key) else { return "The policy is gone from every environment.".to_owned() };
    let label = words::label(environment);
    match (board.reading(row, e, unit).count, board.cell(row, e)) {
        (Count::Unknown, Some(cell)) if cell.is_silent() && environment.complete => {
            format!("Unknown: {}.", silent(unit.of(cell).total()))
        }
        (Count::Unknown, Some(cell)) if is_not_evaluated(cell) && environment.complete => {
            "No results yet: Kyverno has not evaluated this policy, or nothing here matches it.".to_owned()
        }
        (Count::Unknown, _) => format!("Unknown: {label} is not read completely."),
        (Count::Absent, _) | (_, None) => format!("The policy does not exist in {label}."),
        (_, Some(cell)) if !environment.complete && !once_complete(environment) => {
            format!("Nothing failing so far; {} pass, and {label} is still being read.", words::number(unit.of(cell).pass))
        }
        (_, Some(cell)) => {
            let tally = unit.of(cell);
            let mut out = format!("Nothing fails here: {} pass", words::number(tally.pass));
            for (n, word) in [(tally.warn, "warn"), (tally.skip, "are skipped"), (cell.excepted, "are excused by exceptions")] {
                if n > 0 {
                    let _ = write!(out, ", {} {word}", words::number(n));
                }
            }
            out.push('.');
            out
        }
    }
}

/// What a filter hides, and the way back.
fn hidden_words(rows: usize, filter: &Filter, here: bool, view: &View<'_>) -> [String; 2] {
    let what = if rows == 1 {
        "The only row here does not pass".to_owned()
    } else {
        format!("None of {} rows passes", words::number(rows as u64))
    };
    let (clear, change) = (view.keys.of(Verb::Back), view.keys.of(Verb::Filter));
    let (of, way) = if here {
        ("", format!("{clear} clears it, {change} changes it."))
    } else {
        (" of the matrix", format!("{clear} goes back to it."))
    };
    [format!("{what} the filter{of}: {}", filter.source()), way]
}

/// Writes the sentences in the middle of each line, from line `first` on; what is left below them.
fn hidden(sentences: &[String], first: u16, view: &View<'_>, body: Rect, buffer: &mut Buffer) -> Rect {
    let columns = usize::from(body.width).saturating_sub(4);
    let mut line = first;
    for text in sentences.iter().flat_map(|sentence| wrap(&clean(sentence), columns)) {
        let mut pen = Pen::new(buffer, view.theme, body, line);
        pen.skip((usize::from(body.width).saturating_sub(width(&text))) / 2).put(&text, Role::Attention);
        line += 1;
    }
    Rect { y: body.y.saturating_add(line), height: body.height.saturating_sub(line), ..body }
}

enum Shape {
    Waiting,
    Failed((String, String)),
    Rows,
}

trait ClonedShape {
    fn cloned_shape(&self) -> Shape;
}

impl ClonedShape for Option<&Result<Vec<FindingRow>, crate::engine::Failure>> {
    /// The rows themselves are not copied: there may be many.
    fn cloned_shape(&self) -> Shape {
        match self {
            None => Shape::Waiting,
            Some(Err(failure)) => Shape::Failed((failure.what.clone(), failure.hint.clone())),
            Some(Ok(_)) => Shape::Rows,
        }
    }
}

fn list(rows: &mut Rows, pane: &Pane<'_>, production: bool, view: &View<'_>, body: Rect, buffer: &mut Buffer, hits: &mut Hits) {
    let height = usize::from(body.height);
    rows.top = scrolled(rows.top, rows.place, rows.lines.len(), height, pane.follow);
    let visible = rows.top..rows.lines.len().min(rows.top + height);
    // Columns are as wide as what is in sight needs, within reason.
    let widest = |text: &dyn Fn(&FindingRow) -> usize| {
        rows.lines[visible.clone()]
            .iter()
            .filter_map(|l| if let Line::Finding(i) = l { rows.rows().get(*i).map(text) } else { None })
            .max()
            .unwrap_or(0)
    };
    let total = usize::from(body.width);
    let resource = widest(&|r| width(&resource_words(r, "x"))).clamp(12, (total * 2 / 5).max(12));
    let rule = if total >= 90 { widest(&|r| width(&r.rule)).min(total / 4) } else { 0 };
    let refusals = rows.lines[visible.clone()].iter().filter_map(|l| if let Line::Refusal(i) = l { rows.refusal(*i) } else { None });
    let refusal = refusals.map(|r| width(&refusal_words(r, "x"))).max().unwrap_or(0).clamp(12, (total * 2 / 5).max(12));
    let symbols = view.theme.symbols;
    for (line, place) in visible.enumerate() {
        let line = u16::try_from(line).unwrap_or(u16::MAX);
        let selected = pane.focused && rows.place == place;
        let mut pen = Pen::new(buffer, view.theme, body, line);
        pen.shade(if selected { Shade::Strong } else { Shade::Plain }).put(if selected { symbols.cursor } else { " " }, Role::Accent);
        match &rows.lines[place] {
            Line::Namespace { name, rows: n, folded } => {
                pen.put(if *folded { symbols.folded } else { symbols.unfolded }, Role::Accent).put(" ", Role::Text);
                let name = if name.is_empty() { "(cluster-scoped)" } else { name };
                let room = pen.room().saturating_sub(8);
                let name = crate::tui::text::fit_clean(name, room, symbols.cut);
                pen.put(&name, Role::Strong).put(&format!("  {}", words::number(*n as u64)), Role::Muted);
            }
            Line::Finding(i) => {
                let Some(row) = rows.rows().get(*i) else { continue };
                pen.put("  ", Role::Text).put(symbols.result(row.result), result_role(row, production)).put(" ", Role::Text);
                pen.field_clean(&resource_words(row, symbols.times), resource, Role::Text).put("  ", Role::Text);
                if rule > 0 {
                    pen.field_clean(&row.rule, rule, Role::Muted).put("  ", Role::Text);
                }
                if let Some(set) = &row.idle {
                    pen.put(&clean(&format!("old {set} only: ")), Role::Attention);
                }
                let text = if row.message.is_empty() { row.result.as_str() } else { &*row.message };
                pen.rest_clean(text, Role::Text);
            }
            Line::Refusals { folded } => {
                pen.put(if *folded { symbols.folded } else { symbols.unfolded }, Role::Accent).put(" ", Role::Text);
                pen.put(&format!("{} refused", symbols.refused), Role::Strong);
                refusals_tail(&mut pen, rows, *folded);
            }
            Line::Refusal(i) => {
                let Some(row) = rows.refusal(*i) else { continue };
                let at = row
                    .at
                    .map_or_else(String::new, |at| if total >= 90 { words::date(at, view.zone) } else { words::clock(at, view.zone) });
                pen.put("  ", Role::Text).put(symbols.refused, Role::Attention).put(" ", Role::Text);
                pen.field(&at, if total >= 90 { 15 } else { 8 }, Role::Muted).put("  ", Role::Text);
                pen.field_clean(&refusal_words(row, symbols.times), refusal, Role::Text).put("  ", Role::Text);
                pen.rest_clean(&row.message, Role::Text);
            }
        }
        pen.finish();
        hits.add(body.x, body.y + line, body.right(), body.y + line + 1, Hit::Line(place));
    }
}

/// The number behind `⊘ refused`, and what is worth knowing about the lines below it.
fn refusals_tail(pen: &mut Pen<'_>, rows: &Rows, folded: bool) {
    let (count, passing, failure) = rows.refusals();
    pen.put(&format!("  {}", words::number(count)), Role::Muted);
    if let Some(failure) = failure {
        pen.put("  ", Role::Text).rest_clean(&failure.what, Role::Fault);
    } else if passing < rows.refusal_rows() {
        pen.put(&format!(", {} shown by the filter", words::number(passing as u64)), Role::Muted);
    } else if !folded && passing > 1 {
        pen.put("  newest first", Role::Muted);
    }
}

/// `checkout Pod/web ×4`
fn refusal_words(row: &BlockedRow, times: &str) -> String {
    let mut out = row.resource.to_string();
    if !row.resource.namespace.is_empty() {
        out = format!("{} {out}", row.resource.namespace);
    }
    if row.count > 1 {
        let _ = write!(out, " {times}{}", row.count);
    }
    out
}

/// `CronJob/nightly ×4`
fn resource_words(row: &FindingRow, times: &str) -> String {
    let mut out = row.resource.to_string();
    if row.resources > 1 {
        let _ = write!(out, " {times}{}", row.resources);
    }
    out
}
