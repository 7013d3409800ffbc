//! Draws the dialog: its frame, the text that scrolls, and below it what is typed.

use super::page::Page;
use super::preview::{self, Focus, Preview, Sight};
use super::written::UNFOLD;
use super::{Dialog, State, environment_of, is_production, text_of};
use crate::domain::clean;
use crate::tui::overlays::{TextLine, framed};
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::screens::operations::ROLLBACK;
use crate::tui::screens::rollout::wording::{self, Spans};
use crate::tui::text::{fit, width, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tui_input::Input;

/// The text is no wider: longer lines are hard to read.
const WIDEST: u16 = 116;
/// From this height on the message line and the footer stay free.
const WITH_FRAME_FROM: u16 = 10;

impl Dialog {
    /// Draws itself over `area`.
    fn draw(&mut self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let window = (area.width, area.height);
        let area = if area.height >= WITH_FRAME_FROM { Rect { height: area.height - 2, ..area } } else { area };
        let columns = area.width.saturating_sub(4).min(WIDEST);
        let mut page = Page::new(view, usize::from(columns));
        self.page(&mut page);
        let foot = self.foot(view, usize::from(columns), self.sight_with(usize::MAX, window));
        let used = page.width().max(foot.iter().map(wording::columns).max().unwrap_or(0)).max(60);
        let below = if foot.is_empty() { 0 } else { foot.len() + 1 };
        let as_u16 = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        let title = self.title(view);
        let used = as_u16(used.max(wording::columns(&title) + 2)).min(columns);
        let edge = if self.production(view) { Role::Fault } else { Role::Accent };
        let inner = framed(&title, edge, used, as_u16(page.lines.len() + below), view.theme, area, buffer);
        // Where there is no room for everything, what is typed comes before what is read.
        let below = as_u16(below).min(inner.height);
        let body = Rect { height: inner.height - below, ..inner };
        let height = usize::from(body.height);
        let most = page.lines.len().saturating_sub(height);
        if let Some(selected) = page.selected {
            self.scroll = self.scroll.min(selected).max((selected + 1).saturating_sub(height));
        }
        self.scroll = self.scroll.min(most);
        self.height = height;
        // The end is in sight only where something of the text is.
        let left = if height == 0 { usize::MAX } else { page.lines.len().saturating_sub(self.scroll + height) };
        self.sight = self.sight_with(left, window);
        let foot = self.foot(view, usize::from(columns), self.sight);
        for (row, (place, line)) in page.lines.iter().enumerate().skip(self.scroll).take(height).enumerate() {
            put(line, page.selected == Some(place), view, body, as_u16(row), buffer);
        }
        let left = page.lines.len().saturating_sub(self.scroll + height);
        let foot_area = Rect { y: body.bottom(), height: below, ..inner };
        let line =
            if foot.is_empty() { Rect { y: inner.bottom(), height: 1, ..inner } } else { Rect { height: 1.min(below), ..foot_area } };
        let mut pen = Pen::new(buffer, view.theme, line, 0);
        if !foot.is_empty() {
            pen.put(view.theme.symbols.rule, Role::Muted);
        }
        if left > 0 && area.height > 2 {
            pen.put(&format!(" {left} more {} ", view.theme.symbols.down), Role::Accent);
        }
        if !foot.is_empty() {
            let room = pen.room();
            pen.put(&view.theme.symbols.rule.repeat(room), Role::Muted);
        }
        for (row, line) in (1_u16..).zip(&foot) {
            put(line, false, view, foot_area, row, buffer);
        }
    }

    /// Draws itself and its footer, which depends on how much of a preview could be drawn. A low window is covered by the dialog.
    pub(crate) fn draw_with_footer(&mut self, view: &View<'_>, area: Rect, footer: Rect, buffer: &mut Buffer) {
        if area.height < WITH_FRAME_FROM {
            self.footer(view, footer, buffer);
            self.draw(view, area, buffer);
        } else {
            self.draw(view, area, buffer);
            self.footer(view, footer, buffer);
        }
    }

    /// The keys that work now, instead of those of the screen below.
    fn footer(&self, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let save = view.keys.of(crate::tui::keys::Verb::Save);
        let keys: Vec<(&str, &str)> = match &self.state {
            State::Environments(_) => vec![("enter", "choose"), ("esc", "cancel")],
            State::Formers(list) if list.has_any() => vec![("enter", "choose"), ("esc", "cancel")],
            State::Formers(_) | State::Planning(_) => vec![("esc", "cancel")],
            State::Reason(input) => with_enter(input, "go on", "cancel"),
            State::Preview(preview) if preview.barred.is_some() => {
                let mut keys = vec![("esc", "close")];
                keys.extend(fold_key(preview));
                keys.push((save, "save the plan"));
                keys
            }
            State::Preview(preview) => {
                let mut keys = Vec::new();
                if matches!(preview.focus, Focus::No | Focus::Yes) && !preview.waits {
                    keys.extend([("y", "yes"), ("n", "no")]);
                }
                let sight = self.sight.unwrap_or(Sight::Part);
                keys.extend(preview.enter_at(sight).map(|word| ("enter", word)));
                keys.extend([("esc", "cancel"), ("tab", "next field"), ("pgdn", "more")]);
                if !preview.types_at(sight) {
                    keys.push(("end", "all"));
                }
                keys.extend(fold_key(preview));
                keys.push((save, "save the plan"));
                keys
            }
            State::Stopped(stopped) => match &stopped.reason {
                Some(input) => with_enter(input, "plan with this reason", "close"),
                None if stopped.manifest().is_some() => vec![("c", "copy the manifest"), (save, "save the manifest"), ("esc", "close")],
                None => vec![("c", "copy"), ("esc", "close")],
            },
            State::Running(_) => vec![("esc", "look at something else meanwhile")],
            State::Ended(ended) if ended.leaves_something() => {
                vec![(view.keys.of(ROLLBACK), "roll back"), ("c", "copy"), ("esc", "close")]
            }
            State::Ended(_) => vec![("c", "copy"), ("esc", "close")],
        };
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        pen.put(" ", Role::Text);
        for (key, word) in keys {
            if pen.room() > width(key) + width(word) + 3 {
                pen.put(key, Role::Accent).put(" ", Role::Text).put(word, Role::Text).put("  ", Role::Text);
            }
        }
        pen.finish();
    }

    fn page(&self, page: &mut Page<'_>) {
        if !matches!(self.state, State::Preview(_) | State::Running(_) | State::Ended(_)) {
            self.subject(page);
        }
        match &self.state {
            State::Environments(list) => list.page(page),
            State::Formers(list) => list.page(page),
            State::Reason(_) => {
                page.say("hold", "No gate opens for it until somebody releases it. Kyverno goes on with what it does now.", Role::Text);
            }
            State::Planning(since) => {
                page.say("planning", "what would be written, and what the server says of it", Role::Text);
                page.say("since", &words::span(*since, page.view().now), Role::Muted);
                page.say("", "Nothing is written before you agree.", Role::Muted);
            }
            State::Preview(preview) => preview.page(page),
            State::Stopped(stopped) => stopped.page(page, self.acknowledge),
            State::Running(running) => running.page(page),
            State::Ended(ended) => ended.page(page),
        }
    }

    /// Which policy it is about and where, before there is a plan that says so.
    fn subject(&self, page: &mut Page<'_>) {
        let view = page.view();
        for (place, policy) in self.wish.policies.iter().enumerate() {
            page.say(if place == 0 { "policy" } else { "" }, &policy.to_string(), Role::Strong);
        }
        let environment = match &self.state {
            State::Stopped(stopped) => stopped.gate().map(|gate| &gate.to.environment),
            _ => None,
        };
        if let Some(name) = environment.or(self.wish.environment.as_ref()) {
            let settings = view.road.environments().iter().find(|one| one.name == **name);
            let context = settings.map(|one| one.context.as_deref().unwrap_or("in cluster"));
            let mut pieces = vec![vec![wording::environment(name, view)]];
            pieces.extend(context.map(|context| vec![(format!("context {}", clean(context)), Role::Text)]));
            page.flow("where", pieces);
        }
        if !self.wish.policies.is_empty() {
            page.blank();
        }
    }

    /// How much of a preview is seen where so many lines are left below.
    fn sight_with(&self, left: usize, window: (u16, u16)) -> Option<Sight> {
        if let State::Preview(preview) = &self.state { Some(preview.sight_with(left, window)) } else { None }
    }

    /// What is typed, and what is chosen.
    fn foot(&self, view: &View<'_>, columns: usize, sight: Option<Sight>) -> Vec<TextLine> {
        match &self.state {
            State::Reason(input) => vec![field("why", input, true, columns, view)],
            State::Preview(preview) => confirmation(preview, self.word(), columns, sight.unwrap_or(Sight::Part), view),
            State::Stopped(stopped) => stopped.reason.iter().map(|input| field("reason", input, true, columns, view)).collect(),
            _ => Vec::new(),
        }
    }

    /// `Promote disallow-latest-tag to PRODUCTION · audit`.
    fn title(&self, view: &View<'_>) -> Spans {
        let mut spans = vec![(format!("{} ", self.word()), Role::Strong), (self.what(), Role::Strong)];
        let plans: Vec<_> = self.plans();
        let targets: Vec<Spans> = match (&self.state, plans.as_slice()) {
            (State::Stopped(stopped), []) if stopped.gate().is_some() => {
                stopped.gate().iter().map(|gate| wording::stop(&gate.to, view)).collect()
            }
            (_, [first, rest @ ..]) if rest.iter().all(|plan| environment_of(plan) == environment_of(first)) => {
                vec![preview::target(first, view)]
            }
            (_, []) => self.wish.environment.iter().map(|name| vec![wording::environment(name, view)]).collect(),
            _ => Vec::new(),
        };
        let promotes = matches!(self.wish.deed, crate::tui::acting::Deed::Promote);
        if let Some(target) = targets.into_iter().next() {
            spans.push((if promotes { " to " } else { " in " }.to_owned(), Role::Muted));
            spans.extend(target);
        } else if promotes {
            spans.push((" to its next step".to_owned(), Role::Muted));
        }
        let end = match &self.state {
            State::Running(_) => Some(("under way", Role::Accent)),
            State::Ended(ended) if ended.is_done() => Some(("done", Role::Good)),
            State::Ended(ended) if ended.is_unknown() => Some(("not known", Role::Attention)),
            State::Ended(_) => Some(("not done", Role::Fault)),
            _ => None,
        };
        if let Some((word, role)) = end {
            spans.push((": ".to_owned(), Role::Muted));
            spans.push((word.to_owned(), role));
        }
        spans
    }

    fn plans(&self) -> Vec<&crate::ops::plan::Plan> {
        match &self.state {
            State::Preview(preview) => preview.plans().collect(),
            State::Running(running) => running.plans.iter().collect(),
            State::Ended(ended) => ended.plans.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether production is concerned, as far as that is known.
    fn production(&self, view: &View<'_>) -> bool {
        let named = |name: &str| is_production(name, view.fleet);
        let gate = if let State::Stopped(stopped) = &self.state { stopped.gate() } else { None };
        self.plans().iter().any(|plan| named(environment_of(plan)))
            || self.wish.environment.as_deref().is_some_and(named)
            || gate.is_some_and(|gate| named(&gate.to.environment))
    }
}

/// The keys of a line that is typed: enter takes it once it says something.
fn with_enter(input: &Input, enter: &'static str, esc: &'static str) -> Vec<(&'static str, &'static str)> {
    text_of(input).map(|_| ("enter", enter)).into_iter().chain([("esc", esc)]).collect()
}

/// The key that folds our own annotations, where there are any to fold.
fn fold_key(preview: &Preview) -> Option<(&'static str, &'static str)> {
    preview.folds().then_some((UNFOLD, if preview.is_unfolded() { "fold" } else { "unfold" }))
}

/// A line that is typed, its end in sight.
fn field(about: &str, input: &Input, focused: bool, columns: usize, view: &View<'_>) -> TextLine {
    let mut line = vec![(crate::tui::text::pad(about, super::page::LEAD), Role::Muted)];
    line.extend(typed(input, focused, columns.saturating_sub(super::page::LEAD + 2), view));
    line
}

fn typed(input: &Input, focused: bool, room: usize, view: &View<'_>) -> Spans {
    let value = clean(input.value()).into_owned();
    if !focused {
        let (text, role) = if value.is_empty() { ("none", Role::Muted) } else { (value.as_str(), Role::Text) };
        return vec![(fit(text, room, view.theme.symbols.cut).into_owned(), role)];
    }
    let cursor = input.cursor().min(value.chars().count());
    let at = value.char_indices().nth(cursor).map_or(value.len(), |(at, _)| at);
    let (mut before, after) = (&value[..at], &value[at..]);
    while width(before) > room {
        let mut chars = before.chars();
        chars.next();
        before = chars.as_str();
    }
    let after = fit(after, room.saturating_sub(width(before)), view.theme.symbols.cut).into_owned();
    vec![(before.to_owned(), Role::Strong), (view.theme.symbols.caret.to_owned(), Role::Accent), (after, Role::Strong)]
}

/// The ticket, and what has to be done to go on.
fn confirmation(preview: &Preview, word: &str, columns: usize, sight: Sight, view: &View<'_>) -> Vec<TextLine> {
    if let Some(why) = &preview.barred {
        return vec![vec![(format!("Not possible: {}.", clean(why)), Role::Fault)]];
    }
    let ticket = field("ticket", &preview.ticket, preview.focus == Focus::Ticket, columns, view);
    let mut last: TextLine = Vec::new();
    if preview.waits {
        last.push(("planning again, with this ticket".to_owned(), Role::Accent));
        return vec![ticket, last];
    }
    if let (Some(_), Sight::TooSmall(columns_now, rows_now)) = (&preview.wanted, sight) {
        let lines = wrap(&preview::too_small(columns_now, rows_now), columns);
        return lines.into_iter().map(|line| vec![(line, Role::Fault)]).collect();
    }
    if let (Some(_), Sight::Part) = (&preview.wanted, sight) {
        last.push(("scroll to the end to confirm".to_owned(), Role::Attention));
        last.push((" (end or pgdn)".to_owned(), Role::Muted));
        return vec![ticket, last];
    }
    if let Some(name) = &preview.wanted {
        last.push(("type ".to_owned(), Role::Text));
        last.push((clean(name).into_owned(), Role::Production));
        last.push((" to confirm: ".to_owned(), Role::Text));
        let room = columns.saturating_sub(wording::columns(&last) + 2);
        last.extend(typed(&preview.name, preview.focus == Focus::Name, room, view));
    } else {
        last.push((format!("{word}?  "), Role::Text));
        for (focus, text) in [(Focus::No, " No "), (Focus::Yes, " Yes ")] {
            let here = preview.focus == focus;
            let (open, close) = if here { ("[", "]") } else { (" ", " ") };
            last.push((format!("{open}{text}{close}"), if here { Role::Strong } else { Role::Muted }));
            last.push((" ".to_owned(), Role::Text));
        }
    }
    vec![ticket, last]
}

fn put(line: &TextLine, selected: bool, view: &View<'_>, area: Rect, row: u16, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, view.theme, area, row);
    pen.shade(if selected { Shade::Strong } else { Shade::Plain });
    for (text, role) in line {
        let room = pen.room();
        pen.put(&fit(text, room, view.theme.symbols.cut), *role);
    }
    if selected {
        pen.finish();
    }
}
