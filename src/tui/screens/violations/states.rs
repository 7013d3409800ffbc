//! What stands in place of an empty matrix: first start, nothing wrong, nothing there.
//!
//! What lives here: sentences and a line per environment. What does not: standing problems' remedies (`notices`).

use super::board::{Board, Listing};
use crate::tui::pen::Pen;
use crate::tui::screens::{View, environments};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;

/// Whether the matrix would be an empty table.
pub(super) fn applies(board: &Board, listing: &Listing) -> bool {
    board.order.is_empty() && (board.len() == 0 || (listing.faults_only && listing.filter.is_empty()))
}

/// ```text
///
///   No faults in 4 environments: 1 004 211 results pass, the oldest evaluated 58 min ago.
///
///   dev         ● live    47 policies   251 002 pass   evaluated 11 min ago
///   PRODUCTION  ● live    44 policies   502 110 pass   evaluated 58 min ago
/// ```
pub(super) fn draw(board: &Board, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let (sentence, role) = sentence(board, view);
    let mut line = u16::from(area.height > 6);
    for text in crate::tui::text::wrap(&sentence, usize::from(area.width).saturating_sub(6)) {
        Pen::new(buffer, view.theme, area, line).put("   ", Role::Text).put(&text, role);
        line += 1;
    }
    line += 1;
    environments::draw(&board.environments, view, area, line, buffer);
}

fn sentence(board: &Board, view: &View<'_>) -> (String, Role) {
    let all = board.environments.len() as u64;
    let complete: Vec<_> = board.environments.iter().filter(|e| e.complete).collect();
    let environments = |n| words::counted(n, "environment", "environments");
    if all == 0 {
        return ("No environment to show.".to_owned(), Role::Attention);
    }
    if complete.is_empty() && board.len() == 0 {
        let answering = board.environments.iter().any(|e| e.link.is_up());
        let verb = if answering { "reading" } else { "connecting to" };
        return (format!("{verb} {}", words::counted(all, "cluster", "clusters")), Role::Strong);
    }
    let pass: u64 = complete.iter().map(|e| e.findings.pass).sum();
    let total: u64 = complete.iter().map(|e| e.findings.total()).sum();
    let oldest = complete.iter().flat_map(|e| e.cells.iter().filter_map(|c| c.evaluated_at)).min();
    let evaluated = oldest.map_or_else(String::new, |at| format!(", every policy evaluated within the last {}", words::span(at, view.now)));
    let whole = complete.len() as u64 == all;
    let (of, role) =
        if whole { (environments(all), Role::Good) } else { (format!("{} of {}", complete.len(), environments(all)), Role::Attention) };
    let mut out = if board.len() == 0 {
        format!("No policies and no results in {of}.")
    } else if total == 0 {
        format!("No results in {of} yet; {}.", words::counted(board.len() as u64, "policy", "policies"))
    } else {
        format!("No faults in {of}: {} results pass{evaluated}.", words::number(pass))
    };
    // Where environments are not known, that is said of them.
    let unknown = if whole { board.hidden_unknown as u64 } else { 0 };
    if unknown > 0 {
        let _ = write!(out, " {} unknown: no results.", words::counted(unknown, "policy", "policies"));
    }
    let role = if unknown > 0 { Role::Attention } else { role };
    if !whole {
        out.push_str(" The others are not known completely.");
    }
    (out, role)
}
