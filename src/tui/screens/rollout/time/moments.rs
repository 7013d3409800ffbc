//! Draws what stands below the rows: what the shapes mean, what is under the cursor, and what happened in the selected environment.
//!
//! What lives here: pixels. What does not: the rows (`view`), one mark in full (`detail`).

use super::super::wording::{Spans, columns as width_of, cut, environment};
use super::cells::{self, Cell};
use super::lanes::Lane;
use super::view::Look;
use super::{NEXT_MARK, wording};
use crate::domain::history::{Mark, MarkKind, Range, SpanMode};
use crate::domain::{Mode, clean};
use crate::tui::keys::Verb;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::lists::scrolled;
use crate::tui::text::{fit, width};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

impl Look<'_> {
    /// The shapes that are in sight, with their words.
    pub(super) fn legend(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let symbols = view.theme.symbols;
        let Some(until) = self.told_until() else { return };
        let in_sight: Vec<Cell> =
            self.lanes.iter().filter(|lane| lane.tells()).flat_map(|lane| cells::bar(lane.spans(), self.scale, until)).flatten().collect();
        let mut items: Vec<(&str, Role, &str)> = Vec::new();
        let modes = [Mode::Audit, Mode::Enforce, Mode::Mixed, Mode::Warn, Mode::Off, Mode::NotReady, Mode::Unknown, Mode::Absent];
        for mode in modes.into_iter().map(SpanMode::Of).chain([SpanMode::Unwatched]) {
            if in_sight.iter().any(|cell| cell.mode == mode) {
                items.push((
                    symbols.span(mode),
                    wording::role_of(Cell { mode, inferred: false }),
                    if mode == SpanMode::Unwatched { "unwatched" } else { wording::span(mode) },
                ));
            }
        }
        if self.lanes.iter().any(|lane| !lane.tells()) {
            items.push((symbols.no_record, Role::Muted, "no record"));
        }
        if let Some(cell) = in_sight.iter().find(|cell| cell.inferred) {
            items.push((symbols.span(cell.mode), Role::Muted, "dim: inferred"));
        }
        let kinds = [
            MarkKind::Promote,
            MarkKind::Demote,
            MarkKind::Exception,
            MarkKind::Violations,
            MarkKind::Clean,
            MarkKind::Revision,
            MarkKind::Created,
        ];
        let all: Vec<MarkKind> =
            self.lanes.iter().flat_map(|lane| cells::marks(lane.marks(), self.scale).into_values()).map(|(kind, _)| kind).collect();
        for kind in kinds {
            if all.iter().any(|one| symbols.mark(*one) == symbols.mark(kind)) {
                items.push((symbols.mark(kind), wording::role(kind), wording::kind(kind)));
            }
        }
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        let needed: usize = items.iter().map(|(_, _, word)| width(word) + 4).sum();
        let gap = if needed < pen.room() { "  " } else { " " };
        for (shape, role, word) in items {
            if pen.room() < width(word) + 4 {
                break;
            }
            pen.put(gap, Role::Text).put(shape, role).put(" ", Role::Text).put(word, Role::Muted);
        }
    }

    /// What is under the cursor; below it what happened in the selected environment, around it.
    pub(super) fn moments(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let Some(lane) = self.lanes.get(self.selected) else { return };
        let symbols = view.theme.symbols;
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        pen.put(&symbols.rule.repeat(2), Role::Muted).put(" ", Role::Text);
        let said = cut(self.under_cursor(lane, view), pen.room().saturating_sub(1), symbols.cut);
        for (text, role) in &said {
            pen.put(text, *role);
        }
        pen.put(" ", Role::Text);
        let rest = pen.room();
        pen.put(&symbols.rule.repeat(rest), Role::Muted);
        let marks = lane.marks();
        let meant = self.timeline.meant(marks);
        let height = usize::from(area.height.saturating_sub(1));
        if marks.is_empty() {
            let what = if self.timeline.told.is_none() { "" } else { "nothing is on record to have happened here in this time" };
            Pen::new(buffer, view.theme, area, 1).put("   ", Role::Text).put(what, Role::Muted);
            return;
        }
        // The one that enter opens is in the middle.
        let top = scrolled(meant.unwrap_or(0).saturating_sub(height / 2), meant.unwrap_or(0), marks.len(), height, true);
        for (line, (place, mark)) in (1..area.height).zip(marks.iter().enumerate().skip(top)) {
            self.moment(mark, meant == Some(place), view, area, line, buffer);
        }
        let below = marks.len().saturating_sub(top + height);
        let edge = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        if (below > 0 || top > 0) && height > 0 {
            let text = format!(" {} of {}, {} next ", meant.map_or(0, |place| place + 1), marks.len(), view.keys.of(NEXT_MARK));
            let wide = u16::try_from(width(&text)).unwrap_or(u16::MAX).min(edge.width);
            let corner = Rect { x: edge.right() - wide, width: wide, ..edge };
            Pen::new(buffer, view.theme, corner, 0).put(&text, Role::Muted);
        }
    }

    fn moment(&self, mark: &Mark, meant: bool, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
        let symbols = view.theme.symbols;
        let mut pen = Pen::new(buffer, view.theme, area, line);
        pen.shade(if meant && self.focused { Shade::Strong } else { Shade::Plain });
        pen.put(if meant { symbols.cursor } else { " " }, Role::Accent).put(" ", Role::Text);
        pen.put(symbols.mark(mark.kind), wording::role(mark.kind)).put(" ", Role::Text);
        pen.put(&words::date(mark.at, view.zone), Role::Muted).put("  ", Role::Text);
        let actor = mark.actor.as_deref().map(|actor| format!("  by {}", clean(actor))).unwrap_or_default();
        let text = wording::said(&mark.text, view);
        let room = pen.room();
        let text = fit(&text, room.saturating_sub(width(&actor).min(room / 2)), symbols.cut).into_owned();
        pen.put(&text, Role::Text);
        let room = pen.room();
        pen.put(&fit(&actor, room, symbols.cut), Role::Muted).finish();
    }

    /// `Nov 18 08:00 – 12:00  staging  audit  3 violations  2 refused`
    fn under_cursor(&self, lane: &Lane<'_>, view: &View<'_>) -> Spans {
        let (label, role) = environment(&lane.view.name, view);
        let mut out: Spans = vec![(label, role)];
        let mut say = |text: String, role: Role| out.extend([("  ".to_owned(), Role::Text), (text, role)]);
        let Some(column) = self.cursor else { return out };
        let part = self.scale.part(i64::try_from(column).unwrap_or(0));
        let (from, to) = (words::minute(part.from, view.zone), words::minute(part.to, view.zone));
        let is_now = self.scale.column(self.timeline.at) == Some(column);
        // The day is not said twice, and no time that is still to come.
        let to = if is_now {
            "now".to_owned()
        } else if from.get(..6) == to.get(..6) {
            to.get(7..).unwrap_or_default().to_owned()
        } else {
            to
        };
        say(format!("{from} {} {to}", view.theme.symbols.none), Role::Accent);
        let Some(until) = self.told_until() else { return out };
        match cells::bar(lane.spans(), self.scale, until).get(column).copied().flatten() {
            Some(cell) => {
                say(wording::span(cell.mode).to_owned(), Role::Strong);
                if cell.inferred {
                    say("as the object told later; nobody watched".to_owned(), Role::Muted);
                }
            }
            None if lane.tells() => say("not read yet".to_owned(), Role::Muted),
            None => say("not watched".to_owned(), Role::Muted),
        }
        // Numbers that were read for other columns would be told of the wrong time.
        let Some(road) =
            lane.road.filter(|road| self.window() == Some(self.scale.window()) && road.series.violations.len() == self.scale.columns())
        else {
            return out;
        };
        match road.series.violations.get(column).copied().flatten() {
            Some(range) => say(violations(range), if range.high > 0 { Role::Text } else { Role::Muted }),
            None => say("violations not known".to_owned(), Role::Muted),
        }
        let filled = road.filled.iter().any(|fill| fill.interval.clip(part).is_some());
        let told = if filled { ", as Prometheus tells; nobody watched" } else { "" };
        match road.series.blocked.get(column).copied().flatten() {
            Some(0) if filled => say(format!("none refused{told}"), Role::Muted),
            Some(0) => {}
            Some(count) => say(format!("{} refused{told}", words::number(count)), Role::Attention),
            None if lane.refused() > 0 => say("refused not known".to_owned(), Role::Muted),
            None => {}
        }
        if width_of(&out) > 100 {
            return out;
        }
        let opens = self.timeline.meant(lane.marks()).and_then(|place| lane.marks().get(place));
        if opens.is_some_and(|mark| self.scale.column(mark.at) == Some(column)) {
            out.extend([
                ("  ".to_owned(), Role::Text),
                (view.keys.of(Verb::Open).to_owned(), Role::Accent),
                (" tells more".to_owned(), Role::Muted),
            ]);
        }
        out
    }
}

/// `3 violations`, `2 violations, 0 to 7 in between`.
fn violations(range: Range) -> String {
    let last = words::counted(range.last, "violation", "violations");
    if range.low == range.high { last } else { format!("{last}, {} to {} meanwhile", words::number(range.low), words::number(range.high)) }
}
