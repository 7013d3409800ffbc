//! A line per environment, for screens that have nothing else to show.

use super::View;
use crate::domain::{Sync, Tier};
use crate::fleet::view::EnvironmentView;
use crate::tui::pen::Pen;
use crate::tui::text::width;
use crate::tui::theme::Role;
use crate::tui::words::{self, Wording};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;

/// Draws the lines from `line` on, as many as there is room for.
///
/// ```text
///   dev         ● live    47 policies   251 002 pass   evaluated 11 min ago
///   PRODUCTION  ● live    44 policies   502 110 pass   evaluated 58 min ago
/// ```
pub(super) fn draw(environments: &[Arc<EnvironmentView>], view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
    let mut line = line;
    let names = environments.iter().map(|e| width(&words::label(e))).max().unwrap_or(0).min(32);
    let (all, room) = (environments.len(), usize::from(area.height.saturating_sub(line)));
    let shown = if all > room { room.saturating_sub(1) } else { all };
    for environment in environments.iter().take(shown) {
        self::environment(environment, names, view, area, line, buffer);
        line += 1;
    }
    if shown < all {
        let more = format!("and {} more", words::counted((all - shown) as u64, "environment", "environments"));
        Pen::new(buffer, view.theme, area, line).put("   ", Role::Text).put(&more, Role::Muted);
    }
}

fn environment(environment: &EnvironmentView, names: usize, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
    let state = words::state(environment, view.theme.symbols, view.now, Wording::Full);
    let mut pen = Pen::new(buffer, view.theme, area, line);
    let from = pen.x();
    pen.put("   ", Role::Text);
    let label = words::label(environment);
    let role = if environment.tier == Tier::Production { Role::Production } else { Role::Text };
    pen.put(&crate::tui::text::fit(&label, names, view.theme.symbols.cut), role);
    let used = usize::from(pen.x() - from);
    pen.skip((names + 5).saturating_sub(used)).put(state.shape, state.role).put(" ", Role::Text);
    let listed = environment.kinds.iter().find_map(|k| match &k.sync {
        Sync::Listing { seen, total } if *seen > 0 || total.is_some() => Some((k.kind, *seen, *total)),
        _ => None,
    });
    let words = match listed {
        Some((kind, seen, Some(total))) => format!("listing {kind} {} of {}", words::number(seen), words::number(total)),
        Some((kind, seen, None)) => format!("listing {kind} {}", words::number(seen)),
        None => state.words,
    };
    if environment.complete {
        pen.field(&words, 8, state.role);
        pen.right(&words::counted(environment.policies, "policy", "policies"), 14, Role::Muted);
        pen.right(&format!("{} pass", words::number(environment.findings.pass)), 17, Role::Muted);
        if let Some(at) = environment.cells.iter().filter_map(|c| c.evaluated_at).max() {
            pen.put(&format!("   evaluated {} ago", words::span(at, view.now)), Role::Muted);
        }
    } else {
        pen.put(&words, state.role);
        if let Some(why) = environment.link.why() {
            pen.put("   ", Role::Text).rest_clean(why, Role::Muted);
        } else if let Some(totals) = environment.summaries {
            pen.put(&format!("   ~{} fail, ~{} pass", words::number(totals.fail), words::number(totals.pass)), Role::Muted);
        }
    }
}
