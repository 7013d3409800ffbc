//! What stands in place of an empty board, in words.
//!
//! What lives here: sentences. What does not: standing problems' remedies (`notices`).

use super::board::{Board, Group, Listing};
use super::board_view::spans;
use super::wording;
use crate::domain::clean;
use crate::tui::keys::Verb;
use crate::tui::pen::Pen;
use crate::tui::screens::{ALL, View, environments};
use crate::tui::text::wrap;
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws why there is no row, where there is none; `false` if there are rows.
pub(super) fn draw(board: &Board, listing: &Listing, judged: bool, view: &View<'_>, area: Rect, buffer: &mut Buffer) -> bool {
    if board.listed_len() > 0 {
        return false;
    }
    let (sentences, role) = sentences(board, listing, judged, view);
    let mut line = u16::from(area.height > 6);
    let columns = usize::from(area.width).saturating_sub(6);
    for (i, text) in sentences.iter().enumerate() {
        for part in wrap(&clean(text), columns) {
            let mut pen = Pen::new(buffer, view.theme, area, line);
            pen.put("   ", Role::Text);
            spans(&mut pen, &wording::marked(&part, if i == 0 { role } else { Role::Muted }, view));
            line += 1;
        }
    }
    if board.rows().is_empty() {
        environments::draw(&view.fleet.environments, view, area, line + 1, buffer);
    }
    true
}

/// What is so, and what may be done about it.
fn sentences(board: &Board, listing: &Listing, judged: bool, view: &View<'_>) -> (Vec<String>, Role) {
    let fleet = &view.fleet.environments;
    let all = fleet.len() as u64;
    let complete = fleet.iter().filter(|environment| environment.complete).count() as u64;
    let rows = board.rows().len() as u64;
    let policies = |n| words::counted(n, "policy", "policies");
    let environments = words::counted(all, "environment", "environments");
    if all == 0 {
        return (vec!["No environment to show.".to_owned()], Role::Attention);
    }
    if rows == 0 && complete == 0 && fleet.iter().all(|environment| environment.cells.is_empty()) {
        let answering = fleet.iter().any(|environment| environment.link.is_up());
        let verb = if answering { "reading" } else { "connecting to" };
        return (vec![format!("{verb} {}", words::counted(all, "cluster", "clusters"))], Role::Strong);
    }
    if !judged {
        return (vec![format!("judging{}", if view.theme.symbols.cut.is_ascii() { "..." } else { "…" })], Role::Strong);
    }
    if rows == 0 && complete < all {
        let what = format!("No policy to roll out in {complete} of {environments}. The others are not read completely.");
        return (vec![what], Role::Attention);
    }
    if rows == 0 {
        return (vec![format!("No policy to roll out in {environments}.")], Role::Text);
    }
    if board.filtered > 0 {
        let filter = listing.filter.source();
        let way = format!("{} clears it, {} changes it.", view.keys.of(Verb::Back), view.keys.of(Verb::Filter));
        let what = match board.hidden as u64 {
            0 if rows == 1 => format!("The only policy does not pass the filter: {filter}"),
            0 => format!("None of {} passes the filter: {filter}", policies(rows)),
            ended => {
                format!("What passes the filter {filter} is fully rolled out: {} ({}: show).", policies(ended), view.keys.of(ALL))
            }
        };
        (vec![what, way], Role::Attention)
    } else {
        (at_the_end(board, view), Role::Good)
    }
}

fn at_the_end(board: &Board, view: &View<'_>) -> Vec<String> {
    let count = board.count(Group::End) as u64;
    let shows = format!("{} shows {}.", view.keys.of(ALL), if count == 1 { "it" } else { "them" });
    let mut steps = view.road.steps();
    if steps.next().is_some() && steps.next().is_none() {
        let what = "The pipeline has one step: there is nothing to promote to.".to_owned();
        return vec![what, format!("Environments and steps are named in the configuration. {shows}")];
    }
    let what = if count == 1 {
        "The only policy is fully rolled out".to_owned()
    } else {
        format!("All {} are fully rolled out", words::counted(count, "policy", "policies"))
    };
    let last = view.road.steps().next_back().map(|step| view.road.stop(step));
    let end = last.map(|stop| format!(": {stop}")).unwrap_or_default();
    vec![format!("{what}{end}."), shows]
}
