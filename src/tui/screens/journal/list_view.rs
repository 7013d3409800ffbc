//! Draws the list: whether the chain holds, headings, and a line per step.
//!
//! What lives here: pixels. What does not: where columns stand (`columns`), wording (`wording`, `banner`).

use super::banner::Banner;
use super::columns::Columns;
use super::{Journal, wording};
use crate::domain::clean;
use crate::domain::journal::{Step, StepResult};
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording::environment;
use crate::tui::text::{fit, fit_clean, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// What breaks the chain is said over so many lines; everything else on one.
const MOST_OF_BANNER: usize = 3;
/// Columns before the first: the cursor, and the mark of what is not as it was written.
pub(super) const LEAD: usize = 2;

/// Lines of the banner at a width.
pub(super) fn banner_lines(banner: &Banner, columns: u16) -> Vec<String> {
    let room = usize::from(columns).saturating_sub(4);
    let mut lines = wrap(&banner.text, room.max(8));
    let most = if banner.role == Role::Fault { MOST_OF_BANNER } else { 1 };
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(rest);
    }
    lines
}

/// Draws what is said of the chain.
pub(super) fn banner(banner: &Banner, lines: &[String], view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    for (i, text) in (0_u16..).zip(lines) {
        let mut pen = Pen::new(buffer, view.theme, area, i);
        pen.put(" ", Role::Text).put(if i == 0 { banner.shape } else { " " }, banner.role).put(" ", Role::Text);
        let room = pen.room().saturating_sub(1);
        pen.put(&fit(text, room, view.theme.symbols.cut), banner.role);
    }
}

/// ```text
///    TIME             WHO           VERB      POLICY                      ENVIRONMENT  RESULT       CHANGE
/// ▌  Nov 25 09:14:07  ana           promote   disallow-latest-tag         PRODUCTION   ✓ done       audit → enforce
/// ```
pub(super) fn headings(columns: &Columns, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.skip(LEAD);
    for (text, wide) in [
        ("TIME", columns.time),
        ("WHO", columns.who),
        ("HOST", columns.host),
        ("VERB", columns.verb),
        ("POLICY", columns.policy),
        ("ENVIRONMENT", columns.environment),
        ("RESULT", columns.result),
        ("CHANGE", columns.change),
        ("TICKET", columns.ticket),
        ("PLAN", columns.plan),
        ("WHY", columns.why),
    ] {
        if wide > 0 {
            let text = match (text, wide) {
                (_, ..3) => "",
                ("ENVIRONMENT", ..11) => "WHERE",
                (text, _) => text,
            };
            pen.field(text, wide, Role::Muted).skip(columns.gap);
        }
    }
}

impl Journal {
    /// Draws the rows that are in sight; where they are is noted for the mouse.
    pub(super) fn draw_rows(&mut self, columns: &Columns, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        for (line, (place, key)) in (0..area.height).zip(self.listed.iter().enumerate().skip(self.top)) {
            let Some(step) = self.book.steps().get(*key) else { continue };
            let selected = self.selection.place() == Some(place);
            let mut pen = Pen::new(buffer, view.theme, area, line);
            pen.shade(if selected { Shade::Strong } else { Shade::Plain });
            pen.put(if selected { view.theme.symbols.cursor } else { " " }, Role::Accent);
            pen.put(if step.intact { " " } else { view.theme.symbols.fail }, Role::Fault);
            row(step, columns, view, &mut pen);
            self.hits.add(area.x, area.y + line, area.right(), area.y + line + 1, place);
        }
    }

    /// What is not in the list, and why; empty if nothing is.
    pub(super) fn note(&self, view: &View<'_>) -> (String, Role) {
        let book = &self.book;
        if let Some(why) = &book.trouble {
            return (format!("nothing newer can be read, it is tried again: {why}"), Role::Fault);
        }
        if let Some(why) = &book.older_trouble {
            return (format!("nothing older can be read: {why}"), Role::Fault);
        }
        let mut parts = Vec::new();
        let dots = if view.theme.symbols.cut.is_ascii() { "..." } else { "…" };
        let left_out = book.steps().len() - self.listed.len();
        if left_out > 0 {
            parts.push(format!("{} left out by the filter {}", words::counted(left_out as u64, "step", "steps"), self.sieve.source()));
        }
        if book.has_older() && self.asking.is_reading() {
            parts.push(format!("reading older ones{dots}"));
        } else if book.has_older() {
            parts.push("older ones come when they are scrolled to".to_owned());
        }
        if book.unreadable > 0 {
            parts.push(format!("{} could not be read", words::counted(book.unreadable, "line", "lines")));
        }
        if book.altered {
            parts.push(format!("{} marks what is not as it was written", view.theme.symbols.fail));
        }
        if parts.is_empty() {
            (String::new(), Role::Muted)
        } else {
            (format!("{} {}", view.theme.symbols.dots, parts.join(", ")), Role::Muted)
        }
    }
}

fn row(step: &Step, columns: &Columns, view: &View<'_>, pen: &mut Pen<'_>) {
    let symbols = view.theme.symbols;
    let gap = columns.gap;
    let text = |text: &Option<Box<str>>| text.as_deref().map_or_else(String::new, |text| clean(text).into_owned());
    let mut field = |text: &str, wide: usize, role: Role| {
        if wide > 0 {
            pen.field(text, wide, role).skip(gap);
        }
    };
    // What nobody knows the outcome of is for a person.
    let weight = if step.result() == StepResult::Unknown { Role::Strong } else { Role::Text };
    field(&wording::when(step.at, view.now, columns.time, view.zone), columns.time, Role::Muted);
    let who = if step.user.is_empty() { symbols.unknown.to_owned() } else { clean(&step.user).into_owned() };
    field(&who, columns.who, weight);
    field(&clean(&step.host), columns.host, Role::Muted);
    field(&clean(step.verb.as_str()), columns.verb, weight);
    field(&wording::object(step, symbols), columns.policy, weight);
    match step.environment.as_deref().map(|name| environment(name, view)) {
        Some((label, role)) => field(&fit(&label, columns.environment, symbols.cut), columns.environment, role),
        None => field(symbols.none, columns.environment, Role::Muted),
    }
    let (shape, role) = wording::result(step.result(), symbols);
    if columns.result > 1 {
        field(&format!("{shape} {}", step.result()), columns.result, role);
    } else {
        field(shape, columns.result, role);
    }
    field(&wording::change(step, symbols), columns.change, Role::Muted);
    field(&text(&step.ticket), columns.ticket, Role::Text);
    field(&text(&step.plan), columns.plan, Role::Muted);
    field(&fit_clean(&text(&step.reason).replace('→', symbols.arrow), columns.why, symbols.cut), columns.why, Role::Muted);
    pen.finish();
}
