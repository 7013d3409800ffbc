//! Draws a timeline: the axis, a row per environment, what is under the cursor, and what happened.
//!
//! What lives here: pixels. What does not: which column is which time (`scale`), wording (`wording`), the gate (`panel`).

use super::super::Hit;
use super::super::board::Row;
use super::super::panel::{self, Panel};
use super::super::wording::environment;
use super::cells::{self, Cell};
use super::lanes::{Lane, lanes};
use super::layout::{Columns, Needs, Parts, columns, divide};
use super::scale::{Scale, ZOOMS};
use super::{Lack, Timeline, axis, wording};
use crate::domain::clean;
use crate::domain::history::{Interval, level};
use crate::tui::keys::Verb;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::lists::Hits;
use crate::tui::screens::{View, seen};
use crate::tui::text::{self, fit, width, wrap};
use crate::tui::theme::{HEIGHTS, Role};
use crate::tui::words;
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The gate below, and the place of the selected condition where the keys go there.
pub(in super::super) struct Gate<'a> {
    pub(in super::super) row: &'a Row,
    pub(in super::super) cursor: Option<usize>,
    pub(in super::super) focused: bool,
}

/// Columns of time on a screen of this width.
pub(in super::super) fn bar_columns(width: u16, view: &View<'_>) -> usize {
    let labels = view.fleet.environments.iter().map(|environment| text::width(&words::label(environment)));
    columns(width, labels.max().unwrap_or(0)).bar
}

/// Everything that drawing rows needs.
pub(super) struct Look<'a> {
    pub(super) timeline: &'a Timeline,
    pub(super) lanes: &'a [Lane<'a>],
    pub(super) selected: usize,
    pub(super) scale: Scale,
    columns: Columns,
    /// The column of the cursor.
    pub(super) cursor: Option<usize>,
    pub(super) focused: bool,
}

impl Timeline {
    /// Draws it, with the gate where there is room or where the keys go there.
    pub(in super::super) fn draw(
        &mut self,
        gate: Option<&Gate<'_>>,
        view: &View<'_>,
        area: Rect,
        buffer: &mut Buffer,
        hits: &mut Hits<Hit>,
    ) {
        let told = self.told.clone();
        let lanes = lanes(view.fleet, told.as_deref());
        let label = lanes.iter().map(|lane| width(&words::label(lane.view))).max().unwrap_or(0);
        let each: Vec<u16> = lanes.iter().map(|lane| lines(lane, told.is_some())).collect();
        let focused = gate.is_none_or(|gate| !gate.focused);
        let total =
            if self.lacks.is_some() && told.is_none() { 4 } else { each.iter().fold(0, |sum: u16, lines| sum.saturating_add(*lines)) };
        let needs = Needs {
            lanes: u16::try_from(lanes.len()).unwrap_or(u16::MAX),
            lines: total,
            // A text needs all the room that there is.
            gate: gate
                .filter(|gate| self.detail.is_none() || gate.focused)
                .map(|gate| u16::try_from(panel::needed(gate.row, view, area.width)).unwrap_or(u16::MAX)),
        };
        let parts = divide(area, needs);
        if let Some(gate) = gate.filter(|gate| gate.focused || !parts.gate.is_empty()) {
            // Where there is no room for both, the keys say which.
            let (part, alone) = if parts.gate.is_empty() { (area, true) } else { (parts.gate, false) };
            hits.add(part.x, part.y, part.right(), part.bottom(), Hit::Panel);
            panel::draw(&Panel { row: gate.row, cursor: gate.cursor, named: alone }, view, part, buffer, hits);
            if alone {
                return;
            }
        }
        if let Some(detail) = &mut self.detail {
            let shown = Rect { height: parts.moments.bottom() - parts.title.y, ..parts.title };
            detail.draw(&self.policy, told.as_deref(), view, shown, buffer);
            return;
        }
        let columns = columns(parts.title.width, label);
        self.bar = columns.bar;
        self.left = parts.lanes.x.saturating_add(u16::try_from(2 + columns.label).unwrap_or(u16::MAX));
        let selected = self.place(&lanes);
        let heights: Vec<u16> = each.iter().map(|lines| lines + u16::from(parts.spaced)).collect();
        self.top = top_lane(self.top, selected, &heights, parts.lanes.height + u16::from(parts.spaced));
        let scale = self.scale();
        let look =
            Look { timeline: self, lanes: &lanes, selected, scale, columns, cursor: scale.column(self.cursor.unwrap_or(self.at)), focused };
        look.title(view, parts.title, buffer);
        if let Some(lack) = self.lacks.as_ref().filter(|_| told.is_none()) {
            Look::lack(lack, view, parts, buffer);
            return;
        }
        look.axis(view, parts.axis, buffer);
        look.rows(&heights, view, parts.lanes, buffer, hits);
        look.legend(view, parts.legend, buffer);
        look.moments(view, parts.moments, buffer);
    }
}

/// Lines of a row: its bar, its violations or why nothing is known, and refused requests where there were some.
fn lines(lane: &Lane<'_>, told: bool) -> u16 {
    2 + u16::from(told && lane.refused() > 0)
}

/// The first row in sight, so that the selected one is seen whole.
fn top_lane(top: usize, selected: usize, heights: &[u16], room: u16) -> usize {
    let mut first = top.min(selected).min(heights.len().saturating_sub(1));
    let needed = |first: usize| heights[first..=selected].iter().fold(0u16, |sum, lines| sum.saturating_add(*lines));
    while first < selected && needed(first) > room {
        first += 1;
    }
    // What is above comes back when there is room for it.
    let all = |first: usize| heights[first..].iter().fold(0u16, |sum, lines| sum.saturating_add(*lines));
    while first > 0 && all(first - 1) <= room {
        first -= 1;
    }
    first
}

impl Look<'_> {
    pub(super) fn told_until(&self) -> Option<Timestamp> {
        self.timeline.told.as_ref().map(|told| told.at)
    }

    pub(super) fn window(&self) -> Option<Interval> {
        self.timeline.told.as_ref().map(|told| told.timeline.window)
    }

    /// ` disallow-latest-tag › timeline             14 days, Nov  9 16:00 – now`
    fn title(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let symbols = view.theme.symbols;
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        let window = self.scale.window();
        let to = if self.scale.column(self.timeline.at).is_some() { "now".to_owned() } else { words::minute(window.to, view.zone) };
        let keys =
            if area.width < 100 { String::new() } else { format!("{} {} move  ", view.keys.of(Verb::Left), view.keys.of(Verb::Right)) };
        let end = format!(" {keys}{}, {} {} {to} ", ZOOMS[self.timeline.zoom].0, words::minute(window.from, view.zone), symbols.none);
        let name = clean(&self.timeline.policy.id.report_name()).into_owned();
        let room = pen.room().saturating_sub(width(&end) + 14);
        pen.put(" ", Role::Text).put(&fit(&name, room.max(8), symbols.cut), Role::Strong);
        pen.put(&format!(" {} ", symbols.crumb), Role::Muted).put("timeline", Role::Text);
        match &self.timeline.lacks {
            Some(Lack::Unreadable(_)) if self.timeline.told.is_some() => pen.put("  not read anew", Role::Attention),
            None if self.timeline.told.is_none() => pen.put("  reading", Role::Muted).put(symbols.cut, Role::Muted),
            _ => &mut pen,
        };
        pen.tail(&end, Role::Muted).finish();
    }

    /// Why there is nothing to draw, and what can be done.
    fn lack(lack: &Lack, view: &View<'_>, parts: Parts, buffer: &mut Buffer) {
        let area = Rect { height: parts.moments.bottom() - parts.axis.y, ..parts.axis };
        let (what, remedy) = match lack {
            Lack::NoHistory => (
                "No history is recorded: there is no folder to keep it in.".to_owned(),
                "Set HOME or XDG_DATA_HOME, and start again; policydeck paths says where it would be. What only this session saw is not kept.",
            ),
            Lack::Nothing => (
                "Nothing has been recorded yet.".to_owned(),
                "The screen records while it is open, unless the configuration says [history] record = false; policydeck observe records without a screen.",
            ),
            Lack::Unreadable(why) => (format!("The history cannot be read: {why}"), "It is tried again every half minute."),
        };
        let room = usize::from(area.width).saturating_sub(6);
        let mut line = 1;
        for (text, role) in [(what.as_str(), Role::Attention), (remedy, Role::Muted)] {
            for part in wrap(text, room) {
                Pen::new(buffer, view.theme, area, line).put("   ", Role::Text).put(&part, role);
                line += 1;
            }
        }
    }

    fn axis(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let timeline = self.timeline;
        let text = timeline.cursor.map_or_else(|| "now".to_owned(), |cursor| words::minute(cursor, view.zone));
        let cursor = self.cursor.map(|column| (column, text.as_str()));
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        pen.skip(2 + self.columns.label);
        let start = usize::from(pen.x());
        for label in axis::labels(self.scale, view.zone, cursor, view.theme.symbols.unfolded) {
            pen.to(u16::try_from(start + label.column).unwrap_or(u16::MAX));
            pen.put(&label.text, if label.is_cursor { Role::Accent } else { Role::Muted });
        }
        pen.to(u16::try_from(start + self.columns.bar + 1).unwrap_or(u16::MAX))
            .put(if timeline.cursor.is_some() { "now" } else { "" }, Role::Muted)
            .finish();
    }

    fn rows(&self, heights: &[u16], view: &View<'_>, area: Rect, buffer: &mut Buffer, hits: &mut Hits<Hit>) {
        let mut y = 0;
        for (place, lane) in self.lanes.iter().enumerate().skip(self.timeline.top) {
            if y >= area.height {
                break;
            }
            let height = heights.get(place).copied().unwrap_or(0);
            let part = Rect { y: area.y + y, height: height.min(area.height - y), ..area };
            self.row(lane, place == self.selected, view, part, buffer);
            hits.add(part.x, part.y, part.right(), part.bottom(), Hit::Lane(place));
            y = y.saturating_add(height);
        }
    }

    /// ```text
    /// ▌staging     ····▲▒▒▒▒▒▒▒▒▒▒┄┄┄▒▒▒▒▒◆▒▒▒▒▒▒ audit 5d
    ///   violations     ▃▃▃▂▂▂     ▁▁▁▁▁▁▁▁▁▁      most 12
    /// ```
    fn row(&self, lane: &Lane<'_>, selected: bool, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let symbols = view.theme.symbols;
        let lost = seen::lost_since(lane.view).is_some();
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        let mark = selected && self.focused;
        pen.put(if selected { symbols.cursor } else { " " }, if mark { Role::Accent } else { Role::Muted });
        self.label(&mut pen, lane, selected, lost, view);
        pen.put(" ", Role::Text);
        self.bar(&mut pen, lane, selected, lost, view);
        let (text, role) = wording::present(lane, &self.timeline.policy, self.columns.now, view);
        pen.put(" ", Role::Text).field(&text, self.columns.now, role);
        if self.timeline.told.is_none() || area.height < 2 {
            return;
        }
        let mut pen = Pen::new(buffer, view.theme, area, 1);
        if !lane.tells() {
            let why = wording::why_not_watched(lane, view);
            pen.skip(2 + self.columns.label).put(&fit(&why, self.columns.bar + self.columns.now, symbols.cut), Role::Muted);
            return;
        }
        let tail = match (seen::lost_since(lane.view).filter(|_| lane.key.former.is_none()), lane.most()) {
            (Some(since), _) => (format!("lost {}", words::age(since, view.now)), Role::Attention),
            (_, Some(0)) => ("none".to_owned(), Role::Muted),
            (_, Some(most)) if self.columns.now < 10 => (words::number(most), Role::Muted),
            (_, Some(most)) => (format!("most {}", words::number(most)), Role::Muted),
            (_, None) => (if self.columns.now < 10 { "?" } else { "not counted" }.to_owned(), Role::Muted),
        };
        let highs: Vec<Option<u64>> =
            lane.road.map_or(&[][..], |road| &road.series.violations).iter().map(|range| range.map(|range| range.high)).collect();
        self.spark(&mut pen, "violations", &highs, Role::Text, lost, view);
        pen.put(" ", Role::Text).field(&tail.0, self.columns.now, tail.1);
        if lane.refused() > 0 {
            let mut pen = Pen::new(buffer, view.theme, area, 2);
            let counts = lane.road.map_or(&[][..], |road| &road.series.blocked);
            self.spark(&mut pen, "refused", counts, Role::Attention, lost, view);
            pen.put(" ", Role::Text).field(
                &format!("{} {}", symbols.refused, words::number(lane.refused())),
                self.columns.now,
                Role::Muted,
            );
        }
    }

    fn label(&self, pen: &mut Pen<'_>, lane: &Lane<'_>, selected: bool, lost: bool, view: &View<'_>) {
        let room = self.columns.label;
        if let Some(uid) = &lane.key.former {
            // The name stands above; the cluster that had it before is another one.
            let text = format!("was {}", fit(uid, room.saturating_sub(4).min(8), ""));
            pen.field_clean(&text, room, if selected { Role::Strong } else { Role::Muted });
            return;
        }
        let label = words::short_label(lane.view, room);
        let role = match environment(&lane.view.name, view).1 {
            Role::Production => Role::Production,
            _ if selected => Role::Strong,
            _ if lost => Role::Muted,
            role => role,
        };
        let shown = fit(&label, room, view.theme.symbols.cut).into_owned();
        pen.put(&shown, role).skip(room - width(&shown));
    }

    fn bar(&self, pen: &mut Pen<'_>, lane: &Lane<'_>, selected: bool, lost: bool, view: &View<'_>) {
        let symbols = view.theme.symbols;
        let until = self.told_until();
        let bar: Vec<Option<Cell>> = match until {
            Some(until) => cells::bar(lane.spans(), self.scale, until),
            None => vec![None; self.columns.bar],
        };
        let marks = cells::marks(lane.marks(), self.scale);
        let unknown = until.is_some() && !lane.tells();
        for (column, cell) in bar.into_iter().enumerate() {
            let shade = match self.cursor {
                Some(cursor) if cursor == column && selected && self.focused => Shade::Cursor,
                Some(cursor) if cursor == column => Shade::Weak,
                _ => Shade::Plain,
            };
            pen.shade(shade);
            match (marks.get(&column), cell) {
                (Some((kind, _)), _) => pen.put(symbols.mark(*kind), if lost { Role::Muted } else { wording::role(*kind) }),
                _ if unknown => pen.put(symbols.no_record, Role::Muted),
                (None, Some(cell)) => pen.put(symbols.span(cell.mode), if lost { Role::Muted } else { wording::role_of(cell) }),
                (None, None) => pen.put(" ", Role::Text),
            };
        }
        pen.shade(Shade::Plain);
    }

    /// Numbers as heights: nothing where nobody counted, a dot for none.
    fn spark(&self, pen: &mut Pen<'_>, name: &str, values: &[Option<u64>], role: Role, lost: bool, view: &View<'_>) {
        pen.put(" ", Role::Text).field(name, self.columns.label, Role::Muted).put(" ", Role::Text);
        let values = self.window().map_or_else(Vec::new, |window| cells::highest(values, window, self.scale));
        let most = values.iter().flatten().max().copied().unwrap_or(0);
        for value in values {
            match value {
                None => pen.put(" ", Role::Text),
                Some(0) => pen.put(view.theme.symbols.nothing, Role::Muted),
                Some(value) => pen.put(view.theme.symbols.height(level(value, most, HEIGHTS)), if lost { Role::Muted } else { role }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_seen_whole() {
        let heights = [2, 2, 3, 2, 2, 2];
        for (top, selected, room, expected) in
            [(0, 0, 4, 0), (0, 1, 4, 0), (0, 2, 4, 2), (0, 5, 4, 4), (5, 5, 99, 0), (5, 1, 4, 1), (3, 4, 4, 3), (0, 3, 1, 3)]
        {
            assert_eq!(top_lane(top, selected, &heights, room), expected, "{top} {selected} {room}");
        }
        assert_eq!(top_lane(3, 0, &[], 4), 0);
    }
}
