//! How the screen answers to the frame around it, and how it divides its area.
//!
//! What lives here: the [`Screen`] of the journal. What does not: what its verbs change (`super`).

use super::book::{Chain, Then};
use super::columns::lay_out;
use super::entry_view::Drawing;
use super::{Journal, LINES, Sieve, TIMELINE, banner, entry_view, list_view, states};
use crate::engine::JournalAnswer;
use crate::fleet::view::FleetView;
use crate::kinds::KindId;
use crate::tui::keys::Verb;
use crate::tui::msg::Answer;
use crate::tui::pen::Pen;
use crate::tui::screens::lists::{is_double_click, scrolled};
use crate::tui::screens::selection::Because;
use crate::tui::screens::{Cx, Done, Screen, View};
use crate::tui::text::{fit, width};
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;

impl Screen for Journal {
    fn run(&mut self, verb: Verb, cx: &mut Cx<'_>) -> Done {
        match verb {
            Verb::Up | Verb::Down | Verb::PageUp | Verb::PageDown | Verb::First | Verb::Last => match &mut self.opened {
                Some(opened) => opened.scroll(verb),
                None => self.move_cursor(verb, cx),
            },
            Verb::Open => self.open(false, cx),
            LINES => self.open(true, cx),
            TIMELINE => return self.timeline(cx),
            Verb::Back => return self.back(true, cx),
            Verb::Leave => return self.back(false, cx),
            Verb::NextScreen | Verb::PreviousScreen => return Done::NextScreen,
            Verb::Environment(number) => self.only_environment(number, cx),
            Verb::Copy => self.copy(cx),
            Verb::Left
            | Verb::Right
            | Verb::Own(_)
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

    fn blocked(&self, verb: Verb, _fleet: &FleetView) -> Option<&'static str> {
        let policy = || self.selected().and_then(|step| step.object.as_deref());
        match verb {
            Verb::Open | LINES if self.selected().is_none() => Some("there is nothing to open"),
            Verb::Copy if self.selected().is_none() => Some("there is nothing to copy"),
            Verb::Filter | Verb::Environment(_) if self.opened.is_some() => Some("that is for the list: one level back"),
            TIMELINE if self.selected().is_none() => Some("there is no policy to show over time"),
            TIMELINE if policy().is_none_or(|policy| KindId::find(&policy.group, &policy.kind).is_none()) => {
                Some("this was done to no policy")
            }
            _ => None,
        }
    }

    fn hints(&self) -> &'static [Verb] {
        if self.opened.is_some() {
            return &[Verb::Back, TIMELINE, LINES, Verb::Copy, Verb::PageDown, Verb::NextScreen];
        }
        &[Verb::Open, TIMELINE, LINES, Verb::Filter, Verb::Copy, Verb::Last, Verb::NextScreen, Verb::Messages, Verb::Palette]
    }

    fn status(&self, view: &View<'_>) -> String {
        self.book.status(view.theme.symbols.middot)
    }

    /// Nothing of it is in the list: the tiers of environments, which a filter may ask about, do not change.
    fn fleet_changed(&mut self, _cx: &mut Cx<'_>) {}

    fn shown(&mut self, cx: &mut Cx<'_>) {
        self.has_place = cx.journal.is_some();
        self.book.older_trouble = None;
        self.asking.shown(&self.book, cx);
    }

    fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        match answer {
            Answer::Journal(JournalAnswer::Newest(answer)) if self.asking.is_page(number) => {
                self.book.take_newest(answer.as_deref());
                self.has_more(cx);
            }
            Answer::Journal(JournalAnswer::Older(answer)) if self.asking.is_page(number) => {
                self.book.take_older(answer.as_deref());
                self.has_more(cx);
            }
            Answer::Journal(JournalAnswer::News(answer)) if self.asking.is_news(number) => match self.book.take_news(answer.as_deref()) {
                Then::Nothing => {}
                Then::List => self.has_more(cx),
                Then::Check => {
                    self.has_more(cx);
                    self.asking.check(cx);
                }
                Then::Anew => self.asking.anew(cx),
            },
            Answer::Journal(JournalAnswer::Checked(answer)) if self.asking.is_check(number) => self.book.take_check(answer.as_deref()),
            Answer::CarriedOut(_) => self.asking.soon(cx.now),
            answer => {
                if let Some(opened) = &mut self.opened {
                    opened.answered(number, answer, cx);
                }
            }
        }
    }

    fn mouse(&mut self, event: MouseEvent, cx: &mut Cx<'_>) -> Done {
        let hit = self.hits.at(event.column, event.row).copied();
        match (event.kind, hit) {
            (MouseEventKind::Down(MouseButton::Left), Some(place)) => {
                let again = self.last_click.take().is_some_and(|(at, before)| before == place && is_double_click(at, cx.now));
                self.choose(place, cx);
                if again {
                    self.open(false, cx);
                } else {
                    self.last_click = Some((cx.now, place));
                }
            }
            (MouseEventKind::ScrollDown | MouseEventKind::ScrollUp, _) => {
                let down = event.kind == MouseEventKind::ScrollDown;
                if let Some(opened) = &mut self.opened {
                    (0..3).for_each(|_| opened.scroll(if down { Verb::Down } else { Verb::Up }));
                } else {
                    self.top = if down { self.top.saturating_add(3) } else { self.top.saturating_sub(3) };
                    self.top = self.top.min(self.listed.len().saturating_sub(self.rows));
                    self.follow = false;
                    self.stay();
                    self.want_older(cx);
                }
            }
            _ => {}
        }
        Done::Yes
    }

    fn clock(&mut self, cx: &mut Cx<'_>) {
        if self.asking.is_due(cx.now) {
            self.asking.look(&self.book, cx);
        }
    }

    fn wake(&self) -> Option<Timestamp> {
        self.asking.wake()
    }

    fn filter(&self) -> &str {
        self.sieve.source()
    }

    fn filter_hint(&self) -> &'static str {
        "text  who=ana  verb=promote  result=failed,unknown  policy=name  env=production  ticket=CHG-*  !word leaves out"
    }

    fn set_filter(&mut self, text: &str, cx: &mut Cx<'_>) -> Result<(), String> {
        self.sieve = Sieve::parse(text)?;
        self.list(Because::Filter, cx);
        self.want_older(cx);
        Ok(())
    }

    fn environment(&self) -> Option<Arc<str>> {
        self.selected()?.environment.as_deref().map(Arc::from)
    }

    /// ```text
    ///  ✓ chain verified: 42 entries in 2 files, the oldest of Nov 18 2025                    <- banner
    ///    TIME             WHO           VERB      POLICY                ENVIRONMENT  RESULT  <- list, or one step in full
    ///  …
    ///  ┄ 12 steps left out by the filter env=dev                                             <- note
    /// ```
    fn draw(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        self.hits.clear();
        if area.is_empty() || self.draw_opened(view, area, buffer) {
            return;
        }
        let area = self.draw_banner(view, area, buffer);
        if self.listed.is_empty() {
            self.rows = usize::from(area.height);
            states::draw(self, view, area, buffer);
            return;
        }
        let (note, role) = self.note(view);
        let foot = u16::from(!note.is_empty() && area.height > 4);
        let head = u16::from(area.height > 3);
        let label = |name: &str| width(&crate::tui::screens::rollout::wording::environment(name, view).0);
        let longest = view.fleet.environments.iter().map(|environment| label(&environment.name)).max().unwrap_or(0);
        let columns = lay_out(usize::from(area.width).saturating_sub(list_view::LEAD), longest);
        if head > 0 {
            list_view::headings(&columns, view, area, buffer);
        }
        let rows = Rect { y: area.y + head, height: area.height - head - foot, ..area };
        self.rows = usize::from(rows.height);
        self.top = scrolled(self.top, self.selection.start(), self.listed.len(), self.rows, self.follow || !self.selection.is_chosen());
        self.draw_rows(&columns, view, rows, buffer);
        self.selection.drawn();
        if foot > 0 {
            let mut pen = Pen::new(buffer, view.theme, area, area.height - 1);
            pen.put(" ", Role::Text);
            let room = pen.room();
            pen.put(&fit(&note, room, view.theme.symbols.cut), role);
        }
    }
}

impl Journal {
    fn draw_opened(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) -> bool {
        let Some(mut opened) = self.opened.take() else { return false };
        if let Some(step) = self.book.steps().get(opened.key) {
            let drawing = Drawing { step, book: &self.book, checking: self.asking.is_checking() };
            entry_view::draw(&mut opened, &drawing, view, area, buffer);
        } else {
            let text = format!("Entry {} is no longer in the journal.", words::number(opened.key));
            Pen::new(buffer, view.theme, area, u16::from(area.height > 6)).put("   ", Role::Text).put(&text, Role::Fault);
        }
        self.opened = Some(opened);
        true
    }

    /// Draws what is said of the chain; what is left of the area comes back.
    fn draw_banner(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) -> Rect {
        let worth = match &self.book.chain {
            Chain::Known(verified) => verified.checked.entries > 0 || !verified.checked.flaws.is_empty(),
            Chain::Unreadable(_) => self.book.trouble.is_none(),
            Chain::Unchecked => !self.book.steps().is_empty(),
        };
        let banner = banner::banner(&self.book, self.asking.is_checking(), view);
        let lines = list_view::banner_lines(&banner, area.width);
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        if !worth || area.height < height + 4 {
            return area;
        }
        list_view::banner(&banner, &lines, view, area, buffer);
        Rect { y: area.y + height, height: area.height - height, ..area }
    }
}
