//! How the screen answers to the frame around it, and how it divides its area.
//!
//! What lives here: the [`Screen`] of violations. What does not: what its verbs change (`super`).

use super::columns;
use super::finding::Finding;
use super::{Focus, OBJECT, RAW, REVEAL, Violations, finding_view, hits::Hit, matrix, overview, rows_view, states};
use crate::domain::PolicyKey;
use crate::fleet::view::FleetView;
use crate::tui::filter::Filter;
use crate::tui::keys::Verb;
use crate::tui::msg::Answer;
use crate::tui::screens::operations::{DEMOTE, PROMOTE, is_operation};
use crate::tui::screens::selection::Because;
use crate::tui::screens::violations::board::Unit;
use crate::tui::screens::{ALL, Cx, Done, Place, REVERSE, SORT, SORT_BACK, Screen, View, lists};
use crate::tui::theme::Role;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;

/// From this height on the lower pane is always there; below, it opens over the whole screen.
const SPLIT_FROM: u16 = 25;

impl Screen for Violations {
    fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Done {
        let lower = self.focus == Focus::Lower;
        match verb {
            Verb::Up | Verb::Down | Verb::PageUp | Verb::PageDown | Verb::First | Verb::Last if lower => self.move_lower(verb),
            Verb::Up | Verb::Down | Verb::PageUp | Verb::PageDown | Verb::First | Verb::Last => self.move_matrix(verb, cx),
            Verb::Left | Verb::Right if lower && self.finding.is_none() && self.environment.is_some() && verb_folds(&self.rows, verb) => {
                self.rows.fold();
            }
            Verb::Left | Verb::Right if !lower => self.sideways(verb == Verb::Right, cx),
            Verb::Open => self.open(cx),
            Verb::Back => return self.back(true, cx),
            Verb::Leave => return self.back(false, cx),
            Verb::NextScreen | Verb::PreviousScreen => return self.next_pane(verb == Verb::NextScreen),
            Verb::Environment(number) => self.go_to_environment(number, cx),
            Verb::Copy => self.copy(cx),
            verb if is_operation(verb) => return self.operate(verb),
            Verb::Own(name) => self.own(name, cx),
            Verb::Left
            | Verb::Right
            | Verb::Filter
            | Verb::Screen(_)
            | Verb::Pause
            | Verb::Reconnect
            | Verb::Messages
            | Verb::Palette
            | Verb::Help
            | Verb::Save
            | Verb::Redraw
            | Verb::Suspend
            | Verb::Quit => {}
        }
        Done::Yes
    }

    fn blocked(&self, verb: Verb, fleet: &FleetView) -> Option<&'static str> {
        let lower = self.focus == Focus::Lower;
        match verb {
            OBJECT
                if self.finding.as_ref().is_some_and(|f| f.refused.is_some())
                    || (self.finding.is_none() && self.rows.selected_refusal().is_some()) =>
            {
                Some("what was refused never existed: there is no object to show")
            }
            OBJECT if self.finding.is_none() && self.rows.selected().is_none() => {
                Some("select a finding first: then its object can be shown")
            }
            REVEAL if !self.finding.as_ref().is_some_and(Finding::shows_secret) => {
                Some("there is no Secret here whose values could be shown")
            }
            Verb::Open if !lower && self.policy().is_none() => Some("there is nothing to open"),
            Verb::Open if lower && self.finding.is_none() && self.environment.is_some() && self.rows.lines.is_empty() => {
                Some("there are no rows behind this number")
            }
            Verb::Copy if self.policy().is_none() => Some("there is nothing to copy"),
            verb if is_operation(verb) => self.cannot_operate(verb, fleet),
            SORT | SORT_BACK | REVERSE if self.board.len() == 0 => Some("there is nothing to sort yet"),
            _ => None,
        }
    }

    fn reveals(&self) -> bool {
        self.finding.as_ref().is_some_and(Finding::reveals)
    }

    fn hints(&self) -> &'static [Verb] {
        match (self.focus, &self.finding) {
            (Focus::Matrix, _) => &[Verb::Open, Verb::Filter, SORT, ALL, RAW, Verb::Messages, PROMOTE, DEMOTE, Verb::Pause, Verb::Palette],
            (Focus::Lower, None) if self.environment.is_none() => &[Verb::Open, Verb::Back, ALL, RAW, Verb::Copy],
            (Focus::Lower, None) => &[Verb::Open, Verb::Back, OBJECT, Verb::Filter, ALL, RAW, Verb::Copy],
            (Focus::Lower, Some(f)) if f.refused.is_some() => &[Verb::Back, Verb::Copy],
            (Focus::Lower, Some(f)) if f.shows_secret() => &[Verb::Back, OBJECT, REVEAL, Verb::Copy],
            (Focus::Lower, Some(f)) if f.showing_object => &[Verb::Back, OBJECT, Verb::Copy],
            (Focus::Lower, Some(_)) => &[OBJECT, Verb::Back, Verb::Copy],
        }
    }

    fn status(&self, view: &View<'_>) -> String {
        let what = if self.listing.faults_only { "faults only" } else { "all results" };
        let unit = if self.listing.unit == Unit::Owners { "by owner" } else { "every resource" };
        format!("{what} {} {unit}", view.theme.symbols.middot)
    }

    fn fleet_changed(&mut self, cx: &mut Cx<'_>) {
        if self.board.take(cx.fleet) {
            self.list(Because::News, cx);
        } else {
            self.want(cx);
        }
        if self.environment.is_none() && !self.selection.is_chosen() {
            // A number is what one comes for: begin on the first environment rather than on the policy itself.
            self.environment = self.board.environments.first().map(|e| e.name.clone());
            self.want(cx);
        }
    }

    fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        if let Answer::Findings(result) = answer
            && self.rows.answered(number, result, cx)
            && let Some(finding) = self.finding.as_mut().filter(|finding| finding.refused.is_none())
            && self.rows.shown(cx.now).is_some_and(|(target, answer)| *target == finding.target && answer.is_ok())
        {
            let row = self.rows.find(&finding.id()).cloned();
            finding.refresh(row.as_ref());
        }
        if let Answer::Blocked(result) = answer {
            self.rows.refusals_answered(number, result, cx);
        }
        if let Some(finding) = &mut self.finding {
            finding.answered(number, answer);
        }
    }

    fn go_to(&mut self, place: &Place, cx: &mut Cx<'_>) -> bool {
        let Place::Faults { policy, environment } = place else { return false };
        self.visit(policy, environment, cx);
        true
    }

    fn mouse(&mut self, event: MouseEvent, cx: &mut Cx<'_>) -> Done {
        let hit = self.hits.at(event.column, event.row).cloned();
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                let Some(hit) = hit else { return Done::Yes };
                let again = self.last_click.take().is_some_and(|(at, before)| before == hit && lists::is_double_click(at, cx.now));
                self.click(&hit, again, cx);
                if !again {
                    self.last_click = Some((cx.now, hit));
                }
            }
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                self.wheel(hit.as_ref(), event.kind == MouseEventKind::ScrollDown);
            }
            _ => {}
        }
        Done::Yes
    }

    fn clock(&mut self, cx: &mut Cx<'_>) {
        self.rows.clock(cx);
    }

    fn wake(&self) -> Option<Timestamp> {
        self.rows.wake()
    }

    fn filter(&self) -> &str {
        if self.focus == Focus::Lower { self.rows.filter.source() } else { self.listing.filter.source() }
    }

    fn filters(&self) -> Vec<&str> {
        vec![self.listing.filter.source(), self.rows.filter.source()]
    }

    fn filter_hint(&self) -> &'static str {
        match self.focus {
            Focus::Matrix => "policy  env=production  sev>=high  mode=audit  ns=team-*  age<2h  !word leaves out",
            Focus::Lower => "text  ns=team-*  kind=Pod  rule~image  result=error  age<2h  !word leaves out",
        }
    }

    fn set_filter(&mut self, text: &str, cx: &mut Cx<'_>) -> Result<(), String> {
        let filter = Filter::parse(text)?;
        if self.focus == Focus::Lower {
            self.rows.set_filter(filter, cx);
        } else {
            self.listing.filter = filter;
            self.list(Because::Filter, cx);
        }
        Ok(())
    }

    fn environment(&self) -> Option<Arc<str>> {
        self.environment.clone()
    }

    /// ```text
    ///  POLICY ↓ faults           SEV  dev              qac              PRODUCTION       <- matrix
    ///  …
    /// ────────────────────────────────────────────────────────────────────────────
    ///  disallow-latest-tag › staging › 3 failing owners in 2 namespaces                 <- lower pane: rows, overview,
    ///  …                                                                                   finding or object
    /// ```
    fn draw(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        self.hits.clear();
        if area.is_empty() {
            return;
        }
        if self.focus == Focus::Matrix && states::applies(&self.board, &self.listing) {
            states::draw(&self.board, view, area, buffer);
            self.lower_shown = false;
            return;
        }
        let (upper, lower) = self.divide(area);
        self.lower_shown = lower.height > 0;
        if upper.height > 0 {
            self.hits.add(upper.x, upper.y, upper.right(), upper.bottom(), Hit::Matrix);
            self.draw_matrix(view, upper, buffer);
        }
        if lower.height > 0 {
            self.hits.add(lower.x, lower.y, lower.right(), lower.bottom(), Hit::Lower);
            self.draw_lower(view, lower, upper.height > 0, buffer);
        }
    }
}

/// Right unfolds, left folds: only where that is what the line is not yet.
fn verb_folds(rows: &super::rows::Rows, verb: Verb) -> bool {
    use super::rows::Line;
    match rows.lines.get(rows.place) {
        Some(Line::Namespace { folded, .. } | Line::Refusals { folded }) => *folded == (verb == Verb::Right),
        Some(Line::Finding(_) | Line::Refusal(_)) => verb == Verb::Left,
        None => false,
    }
}

impl Violations {
    /// The matrix takes what it needs up to its share, the lower pane the rest; the share depends on where the keys go.
    fn divide(&self, area: Rect) -> (Rect, Rect) {
        let none = Rect { height: 0, ..area };
        if area.height < SPLIT_FROM {
            return if self.focus == Focus::Lower { (none, area) } else { (area, none) };
        }
        let share = if self.focus == Focus::Lower { area.height * 2 / 5 } else { area.height * 3 / 5 };
        let needed = self.board.order.len() + 2 + usize::from(self.board.hidden + self.board.filtered > 0);
        let upper = u16::try_from(needed).unwrap_or(u16::MAX).clamp(8, share.max(8)).min(area.height);
        (Rect { height: upper, ..area }, Rect { y: area.y + upper, height: area.height - upper, ..area })
    }

    fn draw_matrix(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let column = self.column();
        let columns = columns::lay_out(usize::from(area.width).saturating_sub(1), &self.board, self.first, column);
        self.first = columns.environments.start;
        self.matrix_rows = matrix::body_rows(area.height, &self.board);
        self.top = lists::scrolled(self.top, self.selection.start(), self.board.order.len(), self.matrix_rows, self.follow);
        let cursor = matrix::Cursor { place: self.selection.place(), column, focused: self.focus == Focus::Matrix };
        let drawing = matrix::Matrix { board: &self.board, listing: &self.listing, columns: &columns, cursor: &cursor, top: self.top };
        matrix::draw(&drawing, view, area, buffer, &mut self.hits);
        self.selection.drawn();
    }

    fn draw_lower(&mut self, view: &View<'_>, area: Rect, rule: bool, buffer: &mut Buffer) {
        let mut area = area;
        if rule {
            let line = view.theme.symbols.rule.repeat(usize::from(area.width));
            crate::tui::pen::Pen::new(buffer, view.theme, area, 0).put(&line, Role::Muted);
            area = Rect { y: area.y + 1, height: area.height - 1, ..area };
        }
        self.lower_rows = usize::from(area.height.saturating_sub(1));
        let focused = self.focus == Focus::Lower;
        let key: Option<&PolicyKey> = self.selection.key();
        if let Some(finding) = self.finding.as_mut().filter(|_| focused) {
            finding_view::draw(finding, &self.board, view, area, buffer);
        } else if self.environment.is_some() {
            let pane = rows_view::Pane { board: &self.board, focused, follow: self.follow };
            rows_view::draw(&mut self.rows, &pane, view, area, buffer, &mut self.hits);
        } else if let Some(key) = key {
            let height = usize::from(area.height.saturating_sub(2));
            let top = lists::scrolled(0, if focused { self.overview_place } else { 0 }, self.board.environments.len(), height, true);
            let overview = overview::Overview { key, listing: &self.listing, place: focused.then_some(self.overview_place), top };
            overview::draw(&overview, &self.board, view, area, buffer, &mut self.hits);
        }
    }
}
