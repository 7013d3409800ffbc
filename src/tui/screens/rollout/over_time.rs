//! What every policy did over time, on the board in place of what it waits for.
//!
//! What lives here: when it is read, which environments there is room for, and how a line is drawn. What does not: one policy in full (`time`).

use super::OVERVIEW;
use super::board::Row;
use super::time::pull::Pull;
use super::time::scale::{Scale, USUAL_ZOOM, ZOOMS};
use super::time::{ZOOM_IN, ZOOM_OUT};
use super::wording;
use crate::domain::PolicyKey;
use crate::domain::history::{Interval, Line, Span, columns};
use crate::fleet::view::EnvironmentView;
use crate::tui::keys::Verb;
use crate::tui::msg::{Answer, Ask};
use crate::tui::pace::due;
use crate::tui::pen::Pen;
use crate::tui::screens::{Cx, View, seen};
use crate::tui::text::fit;
use crate::tui::theme::Role;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The window is asked for on whole hundredths of its length, so that it is not another one with each second.
const PARTS: usize = 100;
/// Fewer columns tell nothing.
const LEAST: usize = 8;
/// More of them for one environment tell nothing new.
const MOST: usize = 40;

/// See the module.
pub(super) struct OverTime {
    shown: bool,
    zoom: usize,
    at: Timestamp,
    lines: Arc<[Line]>,
    /// The lines of each policy.
    places: HashMap<PolicyKey, Range<usize>>,
    read: Option<Timestamp>,
    trouble: Option<String>,
    pull: Pull<Interval>,
}

impl Default for OverTime {
    fn default() -> Self {
        Self {
            shown: false,
            zoom: USUAL_ZOOM,
            at: Timestamp::UNIX_EPOCH,
            lines: Arc::from([]),
            places: HashMap::new(),
            read: None,
            trouble: None,
            pull: Pull::default(),
        }
    }
}

impl OverTime {
    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    pub(super) fn zoom(&self) -> usize {
        self.zoom
    }

    pub(super) fn set_zoom(&mut self, zoom: usize) {
        self.zoom = zoom;
    }

    /// Why a verb cannot work.
    pub(super) fn blocked(&self, verb: Verb) -> Option<&'static str> {
        match verb {
            ZOOM_IN | ZOOM_OUT if !self.shown => Some("nothing is shown over time here"),
            ZOOM_IN if self.zoom == 0 => Some("closer than an hour there is nothing to see"),
            ZOOM_OUT if self.zoom + 1 == ZOOMS.len() => Some("90 days are the longest time in sight"),
            _ => None,
        }
    }

    pub(super) fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) {
        match verb {
            OVERVIEW if cx.history.is_none() => {
                *cx.say = Some("no history is recorded: there is no folder to keep it in (set HOME or XDG_DATA_HOME)".to_owned());
                return;
            }
            OVERVIEW => self.shown = !self.shown,
            ZOOM_IN => self.zoom = self.zoom.saturating_sub(1),
            ZOOM_OUT => self.zoom = (self.zoom + 1).min(ZOOMS.len() - 1),
            _ => return,
        }
        self.want(cx);
    }

    fn window(&self) -> Interval {
        Scale::ending(self.zoom, PARTS, self.at).window()
    }

    /// Reads what is on record, if it is shown and it is time.
    pub(super) fn want(&mut self, cx: &mut Cx<'_>) {
        let Some(history) = cx.history.cloned().filter(|_| self.shown) else { return };
        if !cx.paused || self.read.is_none() {
            self.at = cx.now;
        }
        let window = self.window();
        if self.pull.wants(&window, cx) {
            let number = cx.ask(Ask::Overview { history, window });
            self.pull.asked(number, window, cx);
        }
    }

    /// The board is shown again.
    pub(super) fn shown_again(&mut self, cx: &mut Cx<'_>) {
        self.pull.anew();
        self.want(cx);
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        if let Answer::Overview(answer) = answer
            && self.pull.is_answered(number)
        {
            match answer {
                Ok(lines) => self.take(lines, cx.now),
                // What was read before stays to be seen.
                Err(failure) => self.trouble = Some(failure.what.clone()),
            }
            self.want(cx);
        }
    }

    fn take(&mut self, lines: &Arc<[Line]>, now: Timestamp) {
        (self.lines, self.read, self.trouble) = (Arc::clone(lines), Some(now), None);
        self.places.clear();
        let mut start = 0;
        for part in self.lines.chunk_by(|a, b| a.policy == b.policy) {
            if let Some(first) = part.first() {
                self.places.insert(first.policy.clone(), start..start + part.len());
            }
            start += part.len();
        }
    }

    pub(super) fn clock(&mut self, cx: &mut Cx<'_>) {
        if self.wake().is_some_and(|at| due(at, SignedDuration::from_secs(60), cx.now)) {
            self.want(cx);
        }
    }

    /// How much time is in sight, if any is.
    pub(super) fn words(&self) -> Option<String> {
        self.shown.then(|| format!("over {}", ZOOMS[self.zoom].0))
    }

    /// What the shapes mean.
    pub(super) fn legend(&self, view: &View<'_>, area: Rect, line: u16, buffer: &mut Buffer) {
        let mut pen = Pen::new(buffer, view.theme, area, line);
        let symbols = view.theme.symbols;
        pen.put(" ", Role::Text);
        let words = [
            (symbols.audit, "audit"),
            (symbols.enforce, "enforce"),
            (symbols.mixed, "mixed"),
            (symbols.gone, "absent"),
            (symbols.unwatched, "not on record"),
        ];
        for (shape, word) in words {
            if pen.room() > word.len() + 4 {
                pen.put(shape, Role::Text).put(&format!(" {word}  "), Role::Muted);
            }
        }
        if let Some(why) = &self.trouble {
            pen.put("not read anew: ", Role::Attention).rest_clean(why, Role::Attention);
        }
    }

    pub(super) fn wake(&self) -> Option<Timestamp> {
        if self.shown { self.pull.wake() } else { None }
    }

    /// `FURTHEST, 14 DAYS`
    fn title(&self) -> String {
        let reading = if self.read.is_none() { ", reading" } else { "" };
        format!("FURTHEST, {}{reading}", ZOOMS[self.zoom].0.to_uppercase())
    }

    /// What is on record of a policy in an environment.
    fn spans(&self, policy: &PolicyKey, environment: &EnvironmentView) -> Option<&[Span]> {
        let lines = self.lines.get(self.places.get(policy)?.clone())?;
        let is_this = |line: &&Line| {
            *line.environment.name == *environment.name
                && environment.cluster_uid.as_deref().is_none_or(|uid| uid == line.environment.cluster_uid)
        };
        lines.iter().find(is_this).map(|line| line.spans.as_slice())
    }

    /// Draws the bars of a row: one for each of the environments, where there is room for all of them; else the one of the furthest it has come to.
    pub(super) fn draw(&self, pen: &mut Pen<'_>, row: &Row, bars: &Bars, view: &View<'_>) {
        let all = &view.fleet.environments;
        match bars {
            Bars::Each { environments, columns } => {
                for environment in all.get(environments.clone()).unwrap_or_default() {
                    self.bar(pen, row, environment, *columns, view);
                    pen.skip(1);
                }
            }
            Bars::Furthest { columns } => {
                let there = |environment: &&Arc<EnvironmentView>| environment.cell(&row.key).is_some();
                let known = all.iter().rev().find(there).or_else(|| all.first());
                if let Some(environment) = known {
                    self.bar(pen, row, environment, *columns, view);
                }
            }
        }
    }

    fn bar(&self, pen: &mut Pen<'_>, row: &Row, environment: &EnvironmentView, width: usize, view: &View<'_>) {
        let symbols = view.theme.symbols;
        let lost = seen::lost_since(environment).is_some();
        let Some(read) = self.read else {
            pen.skip(width);
            return;
        };
        let Some(spans) = self.spans(&row.key, environment) else {
            // Nobody ever saw it there.
            pen.put(&symbols.unwatched.repeat(width), Role::Muted);
            return;
        };
        for span in columns(spans, self.window(), width, read) {
            match span {
                Some(span) if lost || span.inferred => pen.put(symbols.span(span.mode), Role::Muted),
                Some(span) => pen.put(symbols.span(span.mode), wording::span_role(span.mode)),
                None => pen.put(" ", Role::Text),
            };
        }
    }

    /// The names above the bars.
    pub(super) fn headings(&self, pen: &mut Pen<'_>, bars: &Bars, room: usize, view: &View<'_>) {
        match bars {
            Bars::Each { environments, columns } => {
                for environment in view.fleet.environments.get(environments.clone()).unwrap_or_default() {
                    let (label, role) = wording::environment(&environment.name, view);
                    let shown = fit(&label, *columns, view.theme.symbols.cut).into_owned();
                    let used = crate::tui::text::width(&shown);
                    pen.put(&shown, role).skip(columns + 1 - used.min(*columns));
                }
            }
            Bars::Furthest { .. } => {
                pen.field(&self.title(), room, Role::Muted);
            }
        }
    }
}

/// Which bars there is room for; the same for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bars {
    /// One for each of these environments.
    Each { environments: Range<usize>, columns: usize },
    /// One for the furthest environment that a policy has come to.
    Furthest { columns: usize },
}

impl Bars {
    /// Shares out `room` among the environments in sight.
    pub(super) fn of(room: usize, environments: Range<usize>) -> Self {
        let columns = (room + 1) / environments.len().max(1);
        if columns > LEAST && !environments.is_empty() {
            Self::Each { environments, columns: (columns - 1).min(MOST) }
        } else {
            Self::Furthest { columns: room.min(MOST) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_share_the_room_or_the_furthest_has_it() {
        for (room, environments, expected) in [
            (43, 0..4, Bars::Each { environments: 0..4, columns: 10 }),
            (35, 0..4, Bars::Each { environments: 0..4, columns: 8 }),
            (34, 0..4, Bars::Furthest { columns: 34 }),
            (400, 2..4, Bars::Each { environments: 2..4, columns: 40 }),
            (22, 0..0, Bars::Furthest { columns: 22 }),
            (0, 0..4, Bars::Furthest { columns: 0 }),
        ] {
            assert_eq!(Bars::of(room, environments), expected, "{room}");
        }
    }
}
