//! One mark in full: what happened, when, by whom, how that is known, and what the policy said before and after.
//!
//! What lives here: asking for both texts, wording, drawing. What does not: how they are compared (`tui::past`).

use super::super::wording::{Spans, environment};
use super::lanes::LaneKey;
use super::wording;
use crate::domain::history::{Mark, Road};
use crate::domain::{PolicyKey, Revision, clean};
use crate::engine::Failure;
use crate::tui::keys::Verb;
use crate::tui::msg::Ask;
use crate::tui::past::{Compared, Moment, Side, Told};
use crate::tui::pen::Pen;
use crate::tui::screens::lists::moved;
use crate::tui::screens::{Cx, View};
use crate::tui::text::{fit, width, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;
use std::sync::Arc;

/// Columns of what a line is about.
const LEAD: usize = 11;
/// A change and the operation that made it are noted within this time of each other.
const TOGETHER: SignedDuration = SignedDuration::from_secs(120);

/// What is known of what the policy said.
#[derive(Debug, Clone)]
enum Texts {
    /// No revision is on record of that time.
    None,
    Reading(u64),
    Known(Arc<Compared>),
    Unreadable(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Detail {
    lane: LaneKey,
    mark: Mark,
    texts: Texts,
    /// Whether what the policy said is that of one moment, as nothing of it changed.
    still: bool,
    scroll: usize,
    /// Lines, and how many of them were in sight when drawn last.
    lines: usize,
    height: usize,
}

impl Detail {
    /// Opens a mark of a road, and asks what the policy said then.
    pub(super) fn open(lane: LaneKey, road: &Road, mark: Mark, policy: &PolicyKey, cx: &mut Cx<'_>) -> Self {
        let (before, after) = match (&mark.before, &mark.after) {
            (None, None) => {
                let then = revision_at(road, mark.at);
                (then.clone(), then)
            }
            (before, after) => (before.clone(), after.clone()),
        };
        let still = before == after;
        let texts = match cx.history.cloned().filter(|_| before.is_some() || after.is_some()) {
            Some(history) => {
                let moment = Moment { environment: road.environment.clone(), policy: policy.clone(), before, after };
                Texts::Reading(cx.ask(Ask::Compare { history, moment }))
            }
            None => Texts::None,
        };
        Self { lane, mark, texts, still, scroll: 0, lines: 0, height: 0 }
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Result<Arc<Compared>, Failure>) {
        if matches!(self.texts, Texts::Reading(asked) if asked == number) {
            self.texts = match answer {
                Ok(compared) => Texts::Known(Arc::clone(compared)),
                Err(failure) => Texts::Unreadable(clean(&failure.what).into_owned()),
            };
        }
    }

    pub(super) fn scroll(&mut self, verb: Verb) {
        let last = self.lines.saturating_sub(self.height);
        if let Some(to) = moved(self.scroll.min(last), last, self.height.saturating_sub(1).max(1), verb) {
            self.scroll = to;
        }
    }

    pub(super) fn copy(&self, policy: &PolicyKey, cx: &mut Cx<'_>) {
        let mark = &self.mark;
        let mut text = format!("{} in {}: {}\n", clean(&policy.id.report_name()), clean(&self.lane.name), clean(&mark.text));
        let actor = wording::actor(mark).map(|actor| format!("by {actor}; ")).unwrap_or_default();
        let _ = writeln!(text, "{}; {actor}{}", mark.at, wording::source(mark));
        if let Texts::Known(compared) = &self.texts {
            compared.text.iter().for_each(|line| {
                text.push_str(line);
                text.push('\n');
            });
        }
        cx.copy("what happened", text);
    }

    /// ```text
    ///  disallow-latest-tag › staging › ▲ audit → enforce
    ///   when       Nov 18 2025 09:14:07 UTC, 5 days ago
    ///   known      a recorder was watching when it happened
    ///   …
    /// ── what it said before and says since ─────────────
    ///   --- before/…
    /// ```
    pub(super) fn draw(&mut self, policy: &PolicyKey, told: Option<&Told>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
        let symbols = view.theme.symbols;
        let mut pen = Pen::new(buffer, view.theme, area, 0);
        let crumb = format!(" {} ", symbols.crumb);
        let (label, role) = environment(&self.lane.name, view);
        let name = clean(&policy.id.report_name()).into_owned();
        let room = pen.room().saturating_sub(width(&label) + 8) / 2;
        pen.put(" ", Role::Text).put(&fit(&name, room.max(8), symbols.cut), Role::Strong).put(&crumb, Role::Muted);
        pen.put(&label, role)
            .put(&crumb, Role::Muted)
            .put(symbols.mark(self.mark.kind), wording::role(self.mark.kind))
            .put(" ", Role::Text);
        let text = wording::said(&self.mark.text, view);
        let room = pen.room();
        pen.put(&fit(&text, room, symbols.cut), Role::Text);
        let body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
        let facts = self.facts(told, view, usize::from(body.width));
        let diff: &[String] = if let Texts::Known(compared) = &self.texts { &compared.text } else { &[] };
        (self.lines, self.height) = (facts.len() + diff.len(), usize::from(body.height));
        self.scroll = self.scroll.min(self.lines.saturating_sub(self.height));
        for (row, line) in (0..body.height).zip(self.scroll..self.lines) {
            let mut pen = Pen::new(buffer, view.theme, body, row);
            if let Some(fact) = facts.get(line) {
                for (text, role) in fact {
                    pen.put(text, *role);
                }
            } else if let Some(text) = diff.get(line - facts.len()) {
                let room = pen.room().saturating_sub(3);
                pen.put("   ", Role::Text).put(&fit(text, room, symbols.cut), self.role_of_line(text));
            }
        }
        let below = self.lines.saturating_sub(self.scroll + self.height);
        if below > 0 && body.height > 1 {
            let text = format!(" {} more lines, {} ", words::number(below as u64), view.keys.of(Verb::Down));
            let wide = u16::try_from(width(&text)).unwrap_or(0).min(body.width);
            let corner = Rect { x: body.right() - wide, y: body.bottom() - 1, width: wide, height: 1 };
            Pen::new(buffer, view.theme, corner, 0).put(&text, Role::Accent);
        }
    }

    /// A text as it was is no diff.
    fn role_of_line(&self, text: &str) -> Role {
        let Texts::Known(compared) = &self.texts else { return Role::Text };
        let lost = matches!(compared.before, Side::Lost(_)) || matches!(compared.after, Side::Lost(_));
        match text.as_bytes() {
            _ if lost || self.still => Role::Text,
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Role::Muted,
            [b'@', ..] => Role::Accent,
            [b'+', ..] => Role::Good,
            [b'-', ..] => Role::Fault,
            _ => Role::Muted,
        }
    }

    fn facts(&self, told: Option<&Told>, view: &View<'_>, columns: usize) -> Vec<Spans> {
        let mark = &self.mark;
        let mut out = Vec::new();
        let room = columns.saturating_sub(LEAD + 3).max(10);
        let mut say = |lead: &str, text: &str, role: Role| {
            for (i, line) in wrap(text, room).into_iter().enumerate() {
                let lead = if i == 0 { lead } else { "" };
                out.push(vec![(format!("   {lead:LEAD$}"), Role::Muted), (line, role)]);
            }
        };
        let when = format!("{}, {} ago", words::exactly(mark.at, view.zone), words::span(mark.at, view.now));
        say("when", &when, Role::Text);
        say("known", wording::source(mark), Role::Text);
        match wording::actor(mark) {
            Some(actor) => say("by", &actor, Role::Text),
            None => say("by", "nobody on record", Role::Muted),
        }
        for operation in self.operations(told) {
            let actor = operation.actor.as_deref().map(|actor| format!(", by {}", clean(actor))).unwrap_or_default();
            say("operation", &format!("{}{actor}", wording::said(&operation.text, view)), Role::Text);
        }
        match &self.texts {
            Texts::None => say("revision", "none is on record of this time", Role::Muted),
            Texts::Reading(_) => say("revision", if view.theme.symbols.cut.is_ascii() { "reading..." } else { "reading…" }, Role::Muted),
            Texts::Unreadable(why) => say("revision", &format!("it cannot be read: {why}"), Role::Attention),
            Texts::Known(compared) => {
                match &compared.owner {
                    Some(owner) if owner.reference.is_empty() => say("kept by", &clean(&owner.tool), Role::Text),
                    Some(owner) => say("kept by", &format!("{}, {}", clean(&owner.tool), clean(&owner.reference)), Role::Text),
                    None if compared.text.is_empty() => say("kept by", "not known: its text is not on record", Role::Muted),
                    None => say("kept by", "no tool: nothing in the object names one", Role::Muted),
                }
                say("revision", &self.revisions(compared, view), Role::Text);
                for text in lost(compared) {
                    say("", &text, Role::Attention);
                }
            }
        }
        if let Texts::Known(compared) = &self.texts
            && !compared.text.is_empty()
        {
            let title = self.heading(compared);
            let rule = view.theme.symbols.rule;
            let end = columns.saturating_sub(width(title) + 4);
            out.push(vec![
                (format!("{} ", rule.repeat(2)), Role::Muted),
                (title.to_owned(), Role::Text),
                (format!(" {}", rule.repeat(end)), Role::Muted),
            ]);
        }
        out
    }

    /// What we did about the same time: it tells more of who and why than what was observed of it.
    fn operations<'a>(&'a self, told: Option<&'a Told>) -> impl Iterator<Item = &'a Mark> {
        let roads = told.into_iter().flat_map(|told| &told.timeline.roads);
        let here = roads.filter(|road| *road.environment.name == *self.lane.name).filter(|_| self.mark.source.is_some());
        let near = |mark: &&Mark| wording::is_operation(mark) && mark.at.duration_since(self.mark.at).abs() <= TOGETHER;
        here.flat_map(|road| &road.marks).filter(near)
    }

    fn revisions(&self, compared: &Compared, view: &View<'_>) -> String {
        let name = |side: &Side| match side {
            Side::Absent => "none".to_owned(),
            Side::Recorded(revision) | Side::Lost(revision) => clean(&revision.0).into_owned(),
        };
        if !self.still {
            return format!("{} {} {}", name(&compared.before), view.theme.symbols.arrow, name(&compared.after));
        }
        let why = if self.mark.source.is_some() { "before and after: it says the same" } else { "it was this then" };
        format!("{}, {why}", name(&compared.after))
    }

    fn heading(&self, compared: &Compared) -> &'static str {
        match (&compared.before, &compared.after) {
            _ if self.still => "what it said then",
            (Side::Lost(_), _) => "what it said from then on",
            (_, Side::Lost(_)) => "what it said before",
            (Side::Absent, _) => "what it said when it was made",
            (_, Side::Absent) => "what it said until then",
            _ => "what changed",
        }
    }
}

/// Which texts are missing.
fn lost(compared: &Compared) -> Vec<String> {
    let sides = [(&compared.before, "before"), (&compared.after, "from then on")];
    let missing = sides.into_iter().filter_map(|(side, when)| match side {
        Side::Lost(revision) => Some((revision, when)),
        _ => None,
    });
    let mut out: Vec<String> = missing
        .map(|(revision, when)| {
            format!(
                "what it said {when} ({}) is not on record: it could not be read before it changed, or was forgotten since",
                clean(&revision.0)
            )
        })
        .collect();
    // The same revision twice is one text.
    if compared.before == compared.after {
        out.truncate(1);
    }
    out
}

/// What a policy said at a time.
fn revision_at(road: &Road, at: Timestamp) -> Option<Revision> {
    road.spans.iter().find(|span| span.from <= at && at < span.to)?.revision.clone()
}
