//! The frame around every screen: header, tab line, message line, footer, and what a person is guided by.
//!
//! What lives here: what stands on these four lines and how it shrinks. What does not: the screens between them.

use super::keys::{self, Binding, Verb};
use super::notices::Notice;
use super::pen::Pen;
use super::screens::{REGISTRY, View};
use super::text::{width, wrap};
use super::theme::Role;
use super::words::{self, State, Wording};
use crate::domain::{Tier, clean};
use crate::fleet::view::EnvironmentView;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The lines of the frame, some of them without height on small terminals, and what they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Areas {
    pub(crate) header: Rect,
    pub(crate) tabs: Rect,
    pub(crate) guide: Rect,
    pub(crate) body: Rect,
    pub(crate) message: Rect,
    pub(crate) footer: Rect,
}

/// ```text
///  policydeck   dev ● live   qac ● live   PRODUCTION ◌ lost 4m, retry in 12s           14:32:07   <- header
///  Violations                                                        faults only · by owner       <- tabs
///  …                                                                                              <- body
///  PRODUCTION lost: connection refused by prod-eu:6443; numbers are from 14:28:01                 <- message
///  enter open  / filter  s sort  o all  u raw  ? help                                             <- footer
/// ```
/// The body has the first claim, then the header, the footer, the message, the tabs and at last the guide, which has `guide` lines to say.
pub(crate) fn divide(area: Rect, guide: u16) -> Areas {
    let has = |least: u16| u16::from(area.height >= least);
    let (header, footer, message, tabs) = (has(2), has(4), has(5), has(8));
    let line = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    let guide = if area.height >= LEAST_WITH_GUIDE { guide.min(MOST_OF_GUIDE) } else { 0 };
    let top = header + tabs + guide;
    let body = area.height - top - footer - message;
    Areas {
        header: line(0, header),
        tabs: line(header, tabs),
        guide: line(header + tabs, guide),
        body: line(top, body),
        message: line(top + body, message),
        footer: line(top + body + message, footer),
    }
}

/// Lines that a screen must have so that a guide has room on it.
const LEAST_WITH_GUIDE: u16 = 16;
/// Lines that a guide takes at most.
const MOST_OF_GUIDE: u16 = 3;

/// How a guide's sentence stands in `columns`.
pub(crate) fn guide_lines(said: &str, columns: u16) -> Vec<String> {
    if said.is_empty() { Vec::new() } else { wrap(said, usize::from(columns).saturating_sub(4)) }
}

/// Draws what a person is to do next.
pub(crate) fn guide(lines: &[String], view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let inner = usize::from(area.width).saturating_sub(4);
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        let row = Rect { y, height: 1, ..area };
        let mark = if y == area.top() { view.theme.symbols.point } else { " " };
        let mut pen = Pen::new(buffer, view.theme, row, 0);
        pen.put(" ", Role::Text).put(mark, Role::Accent).put(" ", Role::Text).put(&super::text::fit_clean(line, inner, ""), Role::Accent);
    }
}

/// What the header shows beside the environments.
pub(crate) struct Header<'a> {
    pub(crate) read_only: bool,
    /// What narrows the screen and that it is frozen, where no line below says it.
    pub(crate) narrowed: &'a str,
}

fn cells<'a>(view: &'a View<'_>, wording: Wording) -> Vec<(&'a EnvironmentView, State)> {
    view.fleet.environments.iter().map(|e| (&**e, words::state(e, view.theme.symbols, view.now, wording))).collect()
}

fn cell_width((environment, state): &(&EnvironmentView, State)) -> usize {
    let words = width(&state.words);
    width(&words::label(environment)) + 2 + if words > 0 { 1 + words } else { 0 }
}

/// Draws the header: a cell per environment in the longest wording that fits, else a summary by state.
pub(crate) fn header(header: &Header<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    let clock = format!(" {} ", words::clock(view.now, view.zone));
    if !header.narrowed.is_empty() {
        // On a screen of few lines it counts more than the states of environments.
        let room = pen.room().saturating_sub(width(&clock) + 1);
        pen.put(" ", Role::Text).put(&super::text::fit(header.narrowed, room, view.theme.symbols.cut), Role::Attention);
        pen.tail(&clock, Role::Muted).finish();
        return;
    }
    let read_only = if header.read_only { " [read-only]" } else { "" };
    let gap = |wording| if wording == Wording::Full { 3 } else { 2 };
    let product = 1 + width("policydeck") + width(read_only);
    let room = pen.room().saturating_sub(width(&clock));
    let fitting = [Wording::Full, Wording::Brief, Wording::Shape].into_iter().find_map(|wording| {
        let cells = cells(view, wording);
        let needed: usize = cells.iter().map(|c| cell_width(c) + gap(wording)).sum();
        (needed <= room).then(|| (cells, gap(wording), needed + product <= room))
    });
    if fitting.as_ref().is_none_or(|(.., with_product)| *with_product) {
        pen.put(" policydeck", Role::Accent).put(read_only, Role::Attention);
    }
    match fitting {
        Some((cells, gap, with_product)) => {
            for (i, (environment, state)) in cells.into_iter().enumerate() {
                pen.skip(if i == 0 && !with_product { 1 } else { gap });
                environment_cell(&mut pen, environment, &state);
            }
        }
        None => summary(&mut pen, view, width(&clock)),
    }
    pen.tail(&clock, Role::Muted).finish();
}

fn environment_cell(pen: &mut Pen<'_>, environment: &EnvironmentView, state: &State) {
    let role = if environment.tier == Tier::Production { Role::Production } else { Role::Text };
    pen.put(&words::label(environment), role).put(" ", Role::Text).put(state.shape, state.role);
    if !state.words.is_empty() {
        pen.put(" ", Role::Text).put(&state.words, state.role);
    }
}

/// `37 ● live   2 ◌ lost: PRODUCTION eu, PRODUCTION us`: how many are in which state, and those that are not live by name.
fn summary(pen: &mut Pen<'_>, view: &View<'_>, reserved: usize) {
    let mut cells = cells(view, Wording::Brief);
    let live = cells.iter().filter(|(e, _)| e.link.is_up() && e.complete).count();
    let symbols = view.theme.symbols;
    pen.put("  ", Role::Text).put(&format!("{live} {} live", symbols.live), Role::Good);
    cells.retain(|(e, _)| !(e.link.is_up() && e.complete));
    cells.sort_by_key(|(e, s)| (s.role != Role::Fault, e.tier != Tier::Production));
    let mut left = cells.len();
    for cell in &cells {
        let more = width("  and 999 more");
        if pen.room() < cell_width(cell) + 2 + more + reserved {
            break;
        }
        pen.put("  ", Role::Text);
        environment_cell(pen, cell.0, &cell.1);
        left -= 1;
    }
    if left == cells.len() && left > 0 {
        pen.put(&format!("  {left} not live"), Role::Attention);
    } else if left > 0 {
        pen.put(&format!("  and {left} more"), Role::Attention);
    }
}

/// What the tab line says beside the names of the screens.
pub(crate) struct Tabs<'a> {
    /// The place of the screen in front.
    pub(crate) current: usize,
    /// A sentence about the program.
    pub(crate) banner: Option<&'a str>,
    /// The filter and the namespaces that narrow what is shown; empty if nothing does.
    pub(crate) narrowed: &'a str,
    /// How the screen lists.
    pub(crate) status: &'a str,
    /// That the view is frozen.
    pub(crate) paused: Option<&'a str>,
}

/// That the view is frozen, where there is no room for more.
pub(crate) const PAUSED: &str = "PAUSED";

/// Draws the tab line: the screens, the banner, and at its end what narrows the screen, and how it lists or that it is paused. That it is paused and
/// what narrows it have the first claim: numbers that are old or leave something out are never shown without it.
pub(crate) fn tabs(tabs: &Tabs<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    let names: usize = REGISTRY.iter().map(|entry| width(entry.title) + 2).sum();
    let claims = [tabs.narrowed, tabs.paused.map_or("", |_| PAUSED)].into_iter().filter(|claim| !claim.is_empty());
    let claimed: usize = claims.map(|claim| width(claim) + 3).sum();
    let all = names + claimed <= pen.room() || claimed == 0;
    for (i, entry) in REGISTRY.iter().enumerate().filter(|(i, _)| all || *i == tabs.current) {
        let gap = if i == 0 || !all { " " } else { "  " };
        pen.put(gap, Role::Text).put(entry.title, if i == tabs.current { Role::Strong } else { Role::Muted });
    }
    let wanted = if tabs.narrowed.is_empty() { 0 } else { width(tabs.narrowed) + 2 };
    let full = format!(" {} ", tabs.paused.unwrap_or(tabs.status));
    let least = match tabs.paused {
        Some(_) => format!(" {PAUSED} "),
        None if wanted > 0 => " ".to_owned(),
        None => String::new(),
    };
    let end = if wanted + width(&full) < pen.room() { full } else { least };
    let narrowed = super::text::fit(tabs.narrowed, pen.room().saturating_sub(width(&end) + 1), view.theme.symbols.cut).into_owned();
    let taken = if narrowed.is_empty() { 0 } else { width(&narrowed) + 2 };
    if let Some(banner) = tabs.banner.filter(|b| pen.room() > width(b) + 5 + taken + width(&end)) {
        pen.put("   ", Role::Text).put(banner, Role::Accent);
    }
    if taken > 0 {
        pen.skip(pen.room().saturating_sub(width(&narrowed) + width(&end))).put(&narrowed, Role::Attention);
    }
    let role = if tabs.paused.is_some() { Role::Attention } else { Role::Muted };
    if taken > 0 {
        pen.put(&end, role)
    } else {
        pen.tail(&end, role)
    };
}

/// `filter env=dev  namespaces team-*`: what leaves something out of every number on a screen.
pub(crate) fn narrowed(filters: &[&str], view: &View<'_>) -> String {
    let mut parts: Vec<String> =
        filters.iter().filter(|filter| !filter.is_empty()).map(|filter| format!("filter {}", clean(filter))).collect();
    parts.extend(scope(view));
    parts.join("  ")
}

/// The namespaces that the environments on the screen are limited to.
fn scope(view: &View<'_>) -> Option<String> {
    let environments = &view.fleet.environments;
    let limited: Vec<_> = environments.iter().filter(|one| !one.namespaces.is_empty()).collect();
    let first = limited.first()?;
    let alike = limited.iter().all(|one| one.namespaces == first.namespaces);
    let names = clean(&first.namespaces.join(", ")).into_owned();
    Some(if alike && limited.len() == environments.len() {
        format!("only namespaces {names}")
    } else {
        let places: Vec<&str> = limited.iter().map(|one| &*one.name).collect();
        format!("only some namespaces in {}", clean(&places.join(", ")))
    })
}

/// Draws a sentence about an environment, its name in its own style.
pub(crate) fn notice(notice: &Notice, more: usize, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    let tail = if more > 0 { format!("  +{more} ({}) ", view.keys.of(Verb::Messages)) } else { String::new() };
    pen.put(" ", Role::Text).put(&notice.label, if notice.production { Role::Production } else { notice.role });
    let role = if notice.role == Role::Text { Role::Muted } else { notice.role };
    let room = pen.room().saturating_sub(width(&tail));
    pen.field_clean(&notice.text, room, role).put(&tail, Role::Muted);
}

/// Draws the keys that work here: those that cannot work now are dim. `? help` always has room.
pub(crate) fn footer(
    own: &'static [Binding],
    hints: &[Verb],
    blocked: &dyn Fn(Verb) -> bool,
    view: &View<'_>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.put(" ", Role::Text);
    let help = format!("{} help", view.keys.of(Verb::Help));
    for verb in hints {
        let Some(binding) = keys::binding(own, *verb) else { continue };
        let key = view.keys.key(binding);
        let needed = width(key) + 1 + width(binding.word) + 2;
        if pen.room() < needed + width(&help) + 1 {
            break;
        }
        let dim = blocked(*verb);
        pen.put(key, if dim { Role::Muted } else { Role::Accent }).put(" ", Role::Text);
        pen.put(binding.word, if dim { Role::Muted } else { Role::Text }).put("  ", Role::Text);
    }
    pen.put(view.keys.of(Verb::Help), Role::Accent).put(" help", Role::Text);
}
