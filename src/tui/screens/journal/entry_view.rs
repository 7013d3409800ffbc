//! Draws one step in full.
//!
//! What lives here: what is said of it, line by line. What does not: asking (`entry`), the gate's lines (`gate`).

use super::book::{Book, Chain};
use super::entry::{Fate, Opened};
use super::{gate, wording};
use crate::domain::journal::{Entry, Phase, Standing, Step, StepResult, Whole};
use crate::domain::{ConditionState, Revision, clean, escape_json};
use crate::tui::keys::Verb;
use crate::tui::pen::Pen;
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording::{Spans, environment};
use crate::tui::text::{fit, width, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of what a line is about.
const LEAD: usize = 11;
/// A blank that no line ends at.
const HARD: &str = "\u{a0}";

/// Everything that drawing it needs.
pub(super) struct Drawing<'a> {
    pub(super) step: &'a Step,
    pub(super) book: &'a Book,
    pub(super) checking: bool,
}

/// Lines on their way, each with what it is about.
struct Page<'a> {
    out: Vec<Spans>,
    room: usize,
    view: &'a View<'a>,
}

impl Page<'_> {
    fn say(&mut self, lead: &str, text: &str, role: Role) {
        let text = clean(text).replace('→', self.view.theme.symbols.arrow);
        for (i, line) in wrap(&text, self.room).into_iter().enumerate() {
            let lead = if i == 0 { lead } else { "" };
            self.out.push(vec![(format!("   {lead:LEAD$}"), Role::Muted), (line, role)]);
        }
    }

    fn maybe(&mut self, lead: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.say(lead, text, Role::Text);
        }
    }
}

/// ```text
///  promote › disallow-latest-tag › PRODUCTION › ✓ done
///   when       Nov 18 2025 09:14:07 UTC, 5 days ago
///   who        ana as oidc:ana@example.com
///   …
/// ```
pub(super) fn draw(opened: &mut Opened, drawing: &Drawing<'_>, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    title(opened, drawing.step, view, area, buffer);
    let body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    let room = usize::from(body.width).saturating_sub(LEAD + 4).max(10);
    let mut page = Page { out: Vec::new(), room, view };
    match &opened.entries {
        None => page.say("", if view.theme.symbols.cut.is_ascii() { "reading..." } else { "reading…" }, Role::Muted),
        Some(Err(why)) => page.say("", &format!("The entry cannot be read: {why}"), Role::Fault),
        Some(Ok(entries)) if opened.lines => lines(entries, &mut page),
        Some(Ok(entries)) => facts(opened, entries, drawing, &mut page),
    }
    let (count, height) = (page.out.len(), usize::from(body.height));
    let top = opened.top(count, height);
    for (row, line) in (0..body.height).zip(page.out.iter().skip(top)) {
        let mut pen = Pen::new(buffer, view.theme, body, row);
        for (text, role) in line {
            pen.put(text, *role);
        }
    }
    let below = count.saturating_sub(top + height);
    if below > 0 && body.height > 1 {
        let lines = if below == 1 { "line" } else { "lines" };
        let text = format!(" {} more {lines}, {} ", words::number(below as u64), view.keys.of(Verb::Down));
        let wide = u16::try_from(width(&text)).unwrap_or(0).min(body.width);
        let corner = Rect { x: body.right() - wide, y: body.bottom() - 1, width: wide, height: 1 };
        Pen::new(buffer, view.theme, corner, 0).put(&text, Role::Accent);
    }
}

fn title(opened: &Opened, step: &Step, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let symbols = view.theme.symbols;
    let crumb = format!(" {} ", symbols.crumb);
    let place = step.environment.as_deref().map(|name| environment(name, view));
    let (shape, role) = wording::result(step.result(), symbols);
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    pen.put(" ", Role::Text).put(&clean(step.verb.as_str()), Role::Strong).put(&crumb, Role::Muted);
    let rest = place.as_ref().map_or(0, |(label, _)| width(label) + 3) + 12 + if opened.lines { 9 } else { 0 };
    let room = pen.room().saturating_sub(rest).max(8);
    pen.put(&fit(&wording::object(step, symbols), room, symbols.cut), Role::Strong).put(&crumb, Role::Muted);
    if let Some((label, role)) = place {
        pen.put(&label, role).put(&crumb, Role::Muted);
    }
    pen.put(shape, role).put(" ", Role::Text).put(step.result().as_str(), role);
    if opened.lines {
        pen.put(&crumb, Role::Muted).put("lines", Role::Text);
    }
}

/// The lines of the file as they are.
fn lines(entries: &[Whole], page: &mut Page<'_>) {
    for (i, whole) in entries.iter().enumerate() {
        if i > 0 {
            page.out.push(Vec::new());
        }
        page.out.push(vec![(format!("   {}:{}", clean(&whole.spot.file), whole.line), Role::Muted)]);
        let room = page.room + LEAD;
        // One line of the file is cut wherever the screen ends: a blank in it is none between words.
        let text = clean(&escape_json(&whole.text)).replace(' ', HARD);
        page.out.extend(wrap(&text, room).into_iter().map(|line| vec![(format!("   {}", line.replace(HARD, " ")), Role::Text)]));
    }
}

fn facts(opened: &Opened, entries: &[Whole], drawing: &Drawing<'_>, page: &mut Page<'_>) {
    let (step, view) = (drawing.step, page.view);
    let symbols = view.theme.symbols;
    let of = |phase| entries.iter().map(|whole| &whole.entry).find(|entry: &&Entry| entry.record.phase == phase);
    let (intent, outcome) = (of(Phase::Intent), of(Phase::Outcome));
    let Some(first) = intent.or(outcome).map(|entry| &entry.record) else { return };
    if step.result() == StepResult::Unknown {
        let what = if outcome.is_none() { "nobody wrote down what became of it" } else { "it was sent, and the answer did not come" };
        page.say("outcome", &format!("{} unknown: {what}", symbols.unknown), Role::Fault);
        fate(&opened.fate, page);
    }
    page.say("when", &wording::exactly(first.at, view), Role::Text);
    if let Some(ended) = outcome.filter(|_| intent.is_some()) {
        let lasted = words::span(first.at, ended.record.at);
        page.say("ended", &format!("{}, {lasted} later", words::clock(ended.record.at, view.zone)), Role::Text);
    }
    page.say("who", &first.who.to_string(), Role::Text);
    page.maybe("host", Some(&first.who.host));
    page.maybe("signed", first.signer.as_ref().map(ToString::to_string).as_deref());
    if let Some(name) = &first.environment {
        let (label, role) = environment(name, view);
        page.out.push(vec![(format!("   {:LEAD$}", "where"), Role::Muted), (label, role)]);
    }
    page.maybe("server", first.server.as_deref());
    page.maybe("cluster", first.cluster_uid.as_deref());
    page.maybe("object", first.object.as_ref().map(ToString::to_string).as_deref());
    let after = outcome.and_then(|entry| entry.record.after.as_ref()).or(first.after.as_ref());
    page.maybe("change", change(first.before.as_ref(), after).as_deref());
    page.maybe("ticket", first.ticket.as_deref());
    page.maybe("reason", intent.and_then(|entry| entry.record.reason.as_deref()));
    if let Some(outcome) = outcome.filter(|_| step.result() != StepResult::Unknown) {
        let (shape, role) = wording::result(step.result(), symbols);
        let why = outcome.record.reason.as_deref().filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default();
        let role = if role == Role::Good { Role::Text } else { role };
        page.say("outcome", &format!("{shape} {}{why}", step.result()), role);
    } else if let Some(why) = outcome.and_then(|entry| entry.record.reason.as_deref()) {
        page.say("noted", why, Role::Text);
    }
    page.maybe("plan", first.plan.as_deref());
    if let Some(path) = &first.undo {
        page.say("undo", path, Role::Text);
        if let (StepResult::Done, Some(plan), Some(place)) = (step.result(), &first.plan, &first.environment) {
            page.say("", &format!("`policydeck undo {plan} -e {place}` takes the plan back"), Role::Muted);
        }
    }
    for (i, (state, text)) in first.gate.iter().flat_map(|seen| gate::lines(seen, symbols)).enumerate() {
        let (shape, role) = match state {
            Some(ConditionState::Met) => (symbols.met, Role::Muted),
            Some(ConditionState::Unmet) => (symbols.unmet, Role::Attention),
            Some(ConditionState::Unknown) => (symbols.unknown, Role::Attention),
            None => ("", Role::Text),
        };
        page.say(if i == 0 { "gate" } else { "" }, format!("{shape} {text}").trim_start(), role);
    }
    chain(entries, drawing, page);
}

/// What the cluster shows of it.
fn fate(fate: &Fate, page: &mut Page<'_>) {
    match fate {
        Fate::NotAsked => page.say("cluster", "there is no object of an environment to look at", Role::Muted),
        Fate::Asked(_) => page.say("cluster", "it is asked what it shows", Role::Muted),
        Fate::Known(compared) => {
            let (shape, role) = wording::shown(compared.shown, page.view.theme.symbols);
            page.say("cluster", &format!("{shape} {}: {}", compared.shown.as_str(), compared.text), role);
        }
    }
}

/// `audit → enforce, revision 91c2e0 → 0b77aa`.
fn change(before: Option<&Standing>, after: Option<&Standing>) -> Option<String> {
    let pair = |before: &str, after: &str| if before == after { after.to_owned() } else { format!("{before} → {after}") };
    let of = |word: &str, revision: &Option<Revision>| {
        revision.as_ref().map_or_else(String::new, |revision| format!(", revision {word}{revision}"))
    };
    match (before, after) {
        (None, None) => None,
        (Some(before), None) => Some(format!("{} → gone{}", words::mode_word(before.mode), of("was ", &before.revision))),
        (None, Some(after)) => Some(format!("made: {}{}", words::mode_word(after.mode), of("", &after.revision))),
        (Some(before), Some(after)) => {
            let revision = match (&before.revision, &after.revision) {
                (Some(was), Some(is)) => format!(", revision {}", pair(&was.0, &is.0)),
                (None, is) => of("", is),
                (was, None) => of("was ", was),
            };
            Some(format!("{}{revision}", pair(words::mode_word(before.mode), words::mode_word(after.mode))))
        }
    }
}

/// Where it stands in the files, and whether everything up to it is as it was written.
fn chain(entries: &[Whole], drawing: &Drawing<'_>, page: &mut Page<'_>) {
    for (i, whole) in entries.iter().enumerate() {
        let Entry { seq, record, prev, hash } = &whole.entry;
        let place = format!("{seq}, {}, in {} line {}", record.phase.as_str(), whole.spot.file, whole.line);
        page.say(if i == 0 { "entries" } else { "" }, &place, Role::Text);
        page.say("", &format!("hash {hash}"), Role::Muted);
        page.say("", &format!("prev {prev}"), Role::Muted);
    }
    let (text, role) = match (&drawing.book.chain, entries.iter().max_by_key(|whole| &whole.spot)) {
        _ if entries.iter().any(|whole| !whole.intact) => ("broken here: this is not as it was written".to_owned(), Role::Fault),
        (Chain::Known(verified), Some(last)) => match verified.first_up_to(&last.spot.file, last.line) {
            None => ("holds from the first entry up to here".to_owned(), Role::Good),
            Some(flaw) => (format!("broken at {}: {}", flaw.place(), flaw.means), Role::Fault),
        },
        (Chain::Unreadable(why), _) => (format!("not known: {why}"), Role::Attention),
        _ => (if drawing.checking { "being checked" } else { "not checked yet" }.to_owned(), Role::Muted),
    };
    page.say("chain", &text, role);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;

    #[test]
    fn changes_in_words() {
        let standing = |mode, revision: Option<&str>| Standing { revision: revision.map(|text| Revision(text.into())), mode };
        let (audit, enforce) = (standing(Mode::Audit, Some("a")), standing(Mode::Enforce, Some("a")));
        let unread = standing(Mode::Audit, None);
        for (before, after, expected) in [
            (Some(&audit), Some(&enforce), Some("audit → enforce, revision a")),
            (Some(&enforce), Some(&standing(Mode::Enforce, Some("b"))), Some("enforce, revision a → b")),
            (None, Some(&audit), Some("made: audit, revision a")),
            (Some(&audit), None, Some("audit → gone, revision was a")),
            (Some(&unread), Some(&unread), Some("audit")),
            (None, None, None),
        ] {
            assert_eq!(change(before, after).as_deref(), expected);
        }
    }
}
