//! How the screen answers to the frame around it, and how it divides its area.
//!
//! What lives here: the [`Screen`] of the rollout. What does not: what its verbs change (`super`).

use super::board::Group;
use super::time::{self, NEXT_MARK, PREVIOUS_MARK, Timeline, ZOOM_IN, ZOOM_OUT};
use super::{Focus, Hit, OVERVIEW, Rollout, TIMELINE, board_view, columns, panel, states};
use crate::domain::clean;
use crate::fleet::view::FleetView;
use crate::tui::keys::Verb;
use crate::tui::msg::Answer;
use crate::tui::pen::Pen;
use crate::tui::screens::lists::{is_double_click, scrolled};
use crate::tui::screens::operations::{DEMOTE, HOLD, PROMOTE, ROLLBACK, is_operation};
use crate::tui::screens::selection::Because;
use crate::tui::screens::{ALL, Cx, Done, MARK, Place, REVERSE, SORT, SORT_BACK, Screen, View};
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;

/// From this height on the panel is always there; below, it opens over the whole screen.
const SPLIT_FROM: u16 = 17;
/// From this width on it stands beside the board.
const BESIDE_FROM: u16 = 160;
/// The board keeps this many lines.
const LEAST_BOARD: u16 = 7;

impl Screen for Rollout {
    fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Done {
        if let Some(done) = self.run_timeline(verb, cx) {
            return done;
        }
        match verb {
            Verb::Up | Verb::Down | Verb::PageUp | Verb::PageDown | Verb::First | Verb::Last => self.move_cursor(verb, cx),
            Verb::Left => self.first = self.first.saturating_sub(1),
            Verb::Right => self.first = (self.first + 1).min(cx.fleet.environments.len().saturating_sub(1)),
            Verb::Open => return self.open(),
            Verb::Back => return self.back(true, cx),
            Verb::Leave => return self.back(false, cx),
            Verb::NextScreen | Verb::PreviousScreen => return self.next_pane(verb == Verb::NextScreen),
            Verb::Environment(number) => self.only_environment(number, cx),
            Verb::Copy => self.copy(cx),
            MARK => self.mark(cx),
            verb if is_operation(verb) => return self.operate(verb, cx),
            Verb::Own(_) => self.own(verb, cx),
            Verb::Filter
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
        if is_operation(verb) {
            return self.cannot_operate(verb, fleet);
        }
        if let Some(timeline) = self.timeline.as_ref().filter(|_| self.focus == Focus::Board) {
            return timeline.blocked(verb, fleet);
        }
        match verb {
            NEXT_MARK | PREVIOUS_MARK => Some("that is for a timeline"),
            ZOOM_IN | ZOOM_OUT => self.over_time.blocked(verb),
            TIMELINE if self.timeline.is_some() => Some("it is open; tab leads to it"),
            TIMELINE if self.subject().is_none() => Some("there is no policy to show over time"),
            Verb::Open if self.subject().is_none() => Some("there is nothing to open"),
            Verb::Open if self.focus == Focus::Panel && self.condition_place().is_none() => Some("there is no next step, and no condition"),
            Verb::Copy if self.subject().is_none() => Some("there is nothing to copy"),
            MARK if self.timeline.is_some() => Some("marks are for the board: one level back"),
            MARK if self.selected().is_none_or(|row| row.step().is_none()) => Some("only what has a next step can be marked"),
            SORT | SORT_BACK | REVERSE if self.board.rows().is_empty() => Some("there is nothing to sort yet"),
            _ => None,
        }
    }

    fn hints(&self) -> &'static [Verb] {
        if let Some(timeline) = self.timeline.as_ref().filter(|_| self.focus == Focus::Board) {
            return timeline.hints();
        }
        match self.focus {
            Focus::Board => &[
                Verb::Open,
                TIMELINE,
                PROMOTE,
                DEMOTE,
                ROLLBACK,
                HOLD,
                MARK,
                Verb::Filter,
                OVERVIEW,
                SORT,
                ALL,
                Verb::NextScreen,
                Verb::Messages,
                Verb::Palette,
            ],
            Focus::Panel => &[Verb::Open, Verb::Back, PROMOTE, DEMOTE, ROLLBACK, HOLD, Verb::Copy, Verb::NextScreen],
        }
    }

    /// `1 attention · 2 ready · 1 soaking · 3 blocked · 1 unknown · judged 14:32:05`
    fn status(&self, view: &View<'_>) -> String {
        if let Some(timeline) = &self.timeline {
            return timeline.status(view);
        }
        let Some(judged) = self.judged.filter(|_| !self.board.rows().is_empty()) else { return String::new() };
        let of = |group, word: &str| (self.board.count(group), word.to_owned());
        let counts = [
            of(Group::Attention, "attention"),
            of(Group::Open, "ready"),
            of(Group::Waits, "soaking"),
            of(Group::Stuck, "blocked"),
            of(Group::Unknown, "unknown"),
        ];
        let said = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", words::number(n as u64)));
        let over = self.over_time.words();
        let parts: Vec<String> = over.into_iter().chain(said).chain([format!("judged {}", words::clock(judged, view.zone))]).collect();
        parts.join(&format!(" {} ", view.theme.symbols.middot))
    }

    fn shown(&mut self, cx: &mut Cx<'_>) {
        self.asking.anew();
        self.over_time.shown_again(cx);
        if let Some(timeline) = &mut self.timeline {
            timeline.shown(cx);
        }
        self.fleet_changed(cx);
    }

    fn fleet_changed(&mut self, cx: &mut Cx<'_>) {
        self.asking.want(self.board.opens(cx.now), cx);
        match &mut self.timeline {
            Some(timeline) => timeline.want(cx),
            None => self.over_time.want(cx),
        }
    }

    fn go_to(&mut self, place: &Place, cx: &mut Cx<'_>) -> bool {
        let Place::Moment { policy, environment, at } = place else { return false };
        self.visit(policy, environment.as_ref(), *at, cx);
        self.asking.want(self.board.opens(cx.now), cx);
        true
    }

    fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        if let Answer::Gates(gates) = answer
            && self.asking.is_answered(number)
        {
            self.judged = Some(cx.now);
            self.list_after(Because::News, |board| board.take(gates, cx.fleet, cx.road), cx);
            self.asking.want(self.board.opens(cx.now), cx);
        }
        if matches!(answer, Answer::CarriedOut(_)) {
            // Left on, they would take the same policies another step further the next time.
            self.marks.clear();
            self.asking.anew();
            self.asking.want(self.board.opens(cx.now), cx);
        }
        self.over_time.answered(number, answer, cx);
        if let Some(timeline) = &mut self.timeline {
            timeline.answered(number, answer, cx);
        }
    }

    fn mouse(&mut self, event: MouseEvent, cx: &mut Cx<'_>) -> Done {
        let hit = self.hits.at(event.column, event.row).copied();
        match (event.kind, hit) {
            (MouseEventKind::Down(MouseButton::Left), Some(hit)) => {
                let again = self.last_click.take().is_some_and(|(at, before)| before == hit && is_double_click(at, cx.now));
                if !again {
                    self.last_click = Some((cx.now, hit));
                }
                if let (Hit::Lane(place), Some(timeline)) = (hit, &mut self.timeline) {
                    self.focus = Focus::Board;
                    timeline.click(place, event.column, cx);
                    return if again { self.run(Verb::Open, cx) } else { Done::Yes };
                }
                return self.click(hit, again, cx);
            }
            (MouseEventKind::ScrollDown | MouseEventKind::ScrollUp, _) => self.wheel(event.kind == MouseEventKind::ScrollDown, cx),
            _ => {}
        }
        Done::Yes
    }

    fn clock(&mut self, cx: &mut Cx<'_>) {
        if self.asking.is_due(cx.now) {
            self.asking.want(self.board.opens(cx.now), cx);
        }
        match &mut self.timeline {
            Some(timeline) => timeline.clock(cx),
            None => self.over_time.clock(cx),
        }
    }

    fn wake(&self) -> Option<Timestamp> {
        let of_time = self.timeline.as_ref().map_or_else(|| self.over_time.wake(), Timeline::wake);
        self.asking.wake().into_iter().chain(of_time).min()
    }

    fn filter(&self) -> &str {
        self.listing.filter.source()
    }

    fn filters(&self) -> Vec<&str> {
        // The timeline of a policy leaves nothing out.
        if self.timeline.is_some() { Vec::new() } else { vec![self.filter()] }
    }

    fn filter_hint(&self) -> &'static str {
        "policy  verdict=open  env=production (where it is or goes)  mode=audit  sev>=high  !word leaves out"
    }

    fn set_filter(&mut self, text: &str, cx: &mut Cx<'_>) -> Result<(), String> {
        self.listing.filter = super::Sieve::parse(text)?;
        self.list(Because::Filter, cx);
        Ok(())
    }

    fn environment(&self) -> Option<Arc<str>> {
        self.timeline.as_ref()?.environment()
    }

    /// ```text
    ///  POLICY            dev qac …  NEXT STEP          VERDICT   WAITS FOR                 <- board
    ///  …
    /// ── next step: staging · enforce ──────────── CLOSED, Nov 25 09:14 at the earliest ── <- panel, or beside the board
    ///  …
    /// ```
    fn draw(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        self.hits.clear();
        self.bar_columns = time::bar_columns(area.width, view);
        if area.is_empty() || self.draw_timeline(view, area, buffer) {
            return;
        }
        if states::draw(&self.board, &self.listing, self.judged.is_some(), view, area, buffer) {
            return;
        }
        let (board, panel) = self.divide(view, area);
        if !board.is_empty() {
            self.hits.add(board.x, board.y, board.right(), board.bottom(), Hit::Board);
            self.draw_board(view, board, buffer);
        }
        if !panel.is_empty() {
            self.hits.add(panel.x, panel.y, panel.right(), panel.bottom(), Hit::Panel);
            self.draw_panel(view, panel, board.is_empty(), buffer);
        }
    }
}

impl Rollout {
    fn wheel(&mut self, down: bool, cx: &mut Cx<'_>) {
        match &mut self.timeline {
            Some(timeline) => timeline.wheel(down, cx),
            None if down => (self.top, self.follow) = (self.top.saturating_add(3), false),
            None => (self.top, self.follow) = (self.top.saturating_sub(3), false),
        }
    }

    /// Draws the timeline over the board, if one is open.
    fn draw_timeline(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) -> bool {
        let cursor = self.condition_place().map(|(place, _)| place).filter(|_| self.focus == Focus::Panel);
        let Some(mut timeline) = self.timeline.take() else { return false };
        let mut hits = std::mem::take(&mut self.hits);
        let row = self.board.row(&timeline.policy.id);
        let gate = row.map(|row| time::Gate { row, cursor, focused: self.focus == Focus::Panel });
        timeline.draw(gate.as_ref(), view, area, buffer, &mut hits);
        self.hits = hits;
        self.timeline = Some(timeline);
        true
    }

    /// The board and the panel: beside each other, one below the other, or the one with the keys alone.
    fn divide(&self, view: &View<'_>, area: Rect) -> (Rect, Rect) {
        let none = Rect { height: 0, ..area };
        if area.height < SPLIT_FROM {
            return if self.focus == Focus::Panel { (none, area) } else { (area, none) };
        }
        if area.width >= BESIDE_FROM {
            let left = area.width * 3 / 5;
            let right = Rect { x: area.x + left + 1, width: area.width - left - 1, ..area };
            return (Rect { width: left, ..area }, right);
        }
        let board = u16::try_from(self.board.lines.len() + board_view::frame_rows(&self.board, &self.over_time)).unwrap_or(u16::MAX);
        // A headline and eight conditions: where a gate stands does not depend on what it says, unless there is room for all of that.
        let needed = self.selected().map_or(0, |row| panel::needed(row, view, area.width));
        let panel = u16::try_from(needed).ok().filter(|needed| (9..=area.height / 2).contains(needed)).unwrap_or(9);
        let upper = board.clamp(LEAST_BOARD, area.height.saturating_sub(panel).max(LEAST_BOARD));
        (Rect { height: upper, ..area }, Rect { y: area.y + upper, height: area.height - upper, ..area })
    }

    fn draw_board(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let needs = board_view::needs(&self.board, view);
        let columns = columns::lay_out(usize::from(area.width).saturating_sub(1), &needs, self.first);
        self.first = columns.environments.start;
        self.board_rows = usize::from(area.height).saturating_sub(board_view::frame_rows(&self.board, &self.over_time));
        let line = self.board.line(self.selection.start());
        // The heading of a group stays with its first row.
        let line = if line == 1 || line == self.top { line.saturating_sub(usize::from(self.is_first(line))) } else { line };
        self.top = scrolled(self.top, line, self.board.lines.len(), self.board_rows, self.follow || !self.selection.is_chosen());
        let drawing = board_view::Drawing {
            board: &self.board,
            listing: &self.listing,
            columns: &columns,
            place: self.selection.place(),
            marks: &self.marks,
            focused: self.focus == Focus::Board,
            top: self.top,
            over_time: &self.over_time,
        };
        board_view::draw(&drawing, view, area, buffer, &mut self.hits);
        self.selection.drawn();
    }

    /// Whether a line follows the heading of its group.
    fn is_first(&self, line: usize) -> bool {
        line.checked_sub(1)
            .and_then(|before| self.board.lines.get(before))
            .is_some_and(|before| matches!(before, super::board::Line::Heading(..)))
    }

    fn draw_panel(&mut self, view: &View<'_>, area: Rect, alone: bool, buffer: &mut Buffer) {
        let Some(row) = self.selection.place().and_then(|place| self.board.listed(place)) else {
            if let Some(gone) = self.selection.gone() {
                let text = format!("{} no longer exists; select another policy", clean(&gone.report_name()));
                Pen::new(buffer, view.theme, area, 0).put("   ", Role::Text).rest_clean(&text, Role::Attention);
            }
            return;
        };
        let cursor = self.condition_place().filter(|_| self.focus == Focus::Panel).map(|(place, _)| place);
        let panel = panel::Panel { row, cursor, named: alone };
        panel::draw(&panel, view, area, buffer, &mut self.hits);
    }
}
