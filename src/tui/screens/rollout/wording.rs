//! Gates in words: verdicts, conditions, and what a gate waits for.
//!
//! What lives here: wording, with production named as production. What does not: where it stands.

use super::board::{Group, Row, lacking};
use super::concern::{Concern, Scan, What, is_time};
use crate::domain::history::SpanMode;
use crate::domain::{Amount, Condition, ConditionName, ConditionState, Gate, Mode, Stop, Tier, Verdict, clean};
use crate::tui::screens::View;
use crate::tui::text::{fit, width, wrap};
use crate::tui::theme::{Role, Symbols};
use crate::tui::words;
use jiff::SignedDuration;

/// Text in pieces of one role each.
pub(in crate::tui) type Spans = Vec<(String, Role)>;

/// The word and what it means, for the heading of a group.
pub(super) fn group(group: Group) -> (&'static str, &'static str) {
    match group {
        Group::Attention => ("needs attention", "rolled out, but something is wrong"),
        Group::Open => ("ready to promote", ""),
        Group::Waits => ("soaking", "will open without action"),
        Group::Stuck => ("blocked", "need a fix"),
        Group::Unknown => ("unknown", "evidence missing"),
        Group::End => ("fully rolled out", ""),
    }
}

/// The shape, word and role of a row's verdict.
pub(super) fn verdict(row: &Row, symbols: &Symbols) -> (&'static str, &'static str, Role) {
    match row.group {
        Group::Attention => ("!", "check", Role::Fault),
        Group::Open => (symbols.met, "open", Role::Accent),
        Group::Waits => (symbols.unmet, "closed", Role::Muted),
        Group::Stuck => (symbols.unmet, "closed", Role::Fault),
        Group::Unknown => ("?", "unknown", Role::Attention),
        Group::End => (symbols.none, "end", Role::Muted),
    }
}

/// How what a policy did over time is painted.
pub(super) fn span_role(mode: SpanMode) -> Role {
    match mode {
        SpanMode::Of(Mode::Mixed | Mode::NotReady | Mode::Unknown) => Role::Attention,
        SpanMode::Of(Mode::Audit | Mode::Enforce | Mode::Warn) => Role::Text,
        SpanMode::Of(Mode::Off | Mode::Absent) | SpanMode::Unwatched => Role::Muted,
    }
}

/// The tier of an environment, seen or not.
fn tier(name: &str, view: &View<'_>) -> Tier {
    let seen = view.fleet.environment(name).map(|one| one.tier);
    let configured = || view.road.environments().iter().find(|one| one.name == *name).map(|one| one.tier);
    seen.or_else(configured).unwrap_or(Tier::Normal)
}

/// An environment as it is named and painted.
pub(in crate::tui) fn environment(name: &str, view: &View<'_>) -> (String, Role) {
    match tier(name, view) {
        Tier::Production => (words::label_of(name, Tier::Production), Role::Production),
        Tier::Normal => (words::label_of(name, Tier::Normal), Role::Text),
    }
}

/// `staging · enforce`.
pub(in crate::tui) fn stop(stop: &Stop, view: &View<'_>) -> Spans {
    let rest = format!(" {} {}", view.theme.symbols.middot, words::mode_word(stop.mode));
    vec![environment(&stop.environment, view), (rest, Role::Text)]
}

/// Marks the names of production environments in a sentence; commands (in backticks) stay as they have to be typed.
pub(in crate::tui) fn marked(text: &str, role: Role, view: &View<'_>) -> Spans {
    let mut out: Spans = Vec::new();
    let mut plain = String::new();
    // Sentences are made where nobody knows what the terminal can show.
    let text = &text.replace('·', view.theme.symbols.middot);
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let mut in_command = false;
    for piece in text.split_inclusive(|c: char| !is_inside(c)) {
        let word = piece.trim_end_matches(|c: char| !is_inside(c));
        let was_in_command = in_command;
        in_command ^= piece.ends_with('`');
        if !word.is_empty() && !was_in_command && tier(word, view) == Tier::Production {
            out.push((std::mem::take(&mut plain), role));
            out.push(environment(word, view));
            plain.push_str(&piece[word.len()..]);
        } else {
            plain.push_str(piece);
        }
    }
    out.push((plain, role));
    out.retain(|(text, _)| !text.is_empty());
    out
}

/// The columns of a text in pieces.
pub(in crate::tui) fn columns(spans: &Spans) -> usize {
    spans.iter().map(|(text, _)| width(text)).sum()
}

/// As much as fits, with a mark where something had to be left out.
pub(in crate::tui) fn cut(spans: Spans, room: usize, mark: &str) -> Spans {
    if columns(&spans) <= room {
        return spans;
    }
    let mut left = room;
    let mut out = Spans::new();
    for (text, role) in spans {
        let wide = width(&text);
        // What is cut ends in the mark, so that the piece before must leave room for it.
        if wide < left {
            left -= wide;
            out.push((text, role));
            continue;
        }
        out.push((fit(&format!("{text}{mark}{mark}"), left, mark).into_owned(), role));
        break;
    }
    out
}

/// A sentence over as many lines as it needs.
pub(in crate::tui) fn wrapped(text: &str, room: usize, role: Role, view: &View<'_>) -> Vec<Spans> {
    wrap(text, room).into_iter().map(|line| marked(&line, role, view)).collect()
}

/// A number as a person reads it.
fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(count) => words::number(count),
        time @ Amount::Time(_) => time.to_string(),
    }
}

/// `5d 02h of 7d`, `3, limit 0`, `not known`.
pub(in crate::tui) fn value(condition: &Condition) -> String {
    match (condition.value.map(amount), condition.limit.map(amount)) {
        (Some(_), Some(_)) if condition.name == ConditionName::Soak && condition.limit == Some(Amount::Time(SignedDuration::ZERO)) => {
            "none required".to_owned()
        }
        (Some(value), Some(limit)) if condition.name == ConditionName::Soak => format!("{value} of {limit}"),
        (Some(value), Some(limit)) => format!("{value}, limit {limit}"),
        (Some(value), None) => value,
        (None, _) if condition.state == ConditionState::Unknown => "not known".to_owned(),
        (None, _) => String::new(),
    }
}

/// A condition's state: shape, word and role. What time will mend is nobody's fault.
pub(in crate::tui) fn state(condition: &Condition, symbols: &Symbols) -> (&'static str, &'static str, Role) {
    match condition.state {
        ConditionState::Met => (symbols.met, "met", Role::Good),
        ConditionState::Unknown => ("?", "not known", Role::Attention),
        ConditionState::Unmet if matches!(condition.name, ConditionName::Soak | ConditionName::Freeze) => {
            (symbols.unmet, "not met yet", Role::Attention)
        }
        ConditionState::Unmet => (symbols.unmet, "not met", Role::Fault),
    }
}

/// Whether enter on a condition shows rows on another screen rather than a window.
pub(super) fn has_rows(condition: &Condition) -> bool {
    matches!(condition.name, ConditionName::Violations | ConditionName::Blocked)
        && matches!(condition.value, Some(Amount::Count(count)) if count > 0)
}

/// Why a condition is as it is, with the key as the person has set it.
pub(super) fn reason(condition: &Condition, open: &str) -> String {
    let rows = match condition.value {
        Some(Amount::Count(1)) => "the row".to_owned(),
        Some(Amount::Count(count)) => format!("the {} rows", words::number(count)),
        _ => "the rows".to_owned(),
    };
    if condition.name == ConditionName::Violations && condition.state == ConditionState::Unmet {
        return format!("{open} shows {rows}");
    }
    clean(&condition.reason).into_owned()
}

/// What a gate waits for, the longest wording that fits into `room`; the last is cut.
pub(super) fn waits_for(row: &Row, room: usize, view: &View<'_>) -> Spans {
    let gate = match &row.gate {
        Ok(gate) if row.group != Group::Open => gate,
        Ok(_) => return Spans::new(),
        Err(_) => return cut(concern_words(row, view), room, view.theme.symbols.cut),
    };
    if !row.concerns.is_empty() {
        return cut(concern_words(row, view), room, view.theme.symbols.cut);
    }
    if let (Some(scan), true) = (row.scan, gate.conditions.iter().all(|one| one.state == ConditionState::Met || !is_time(one))) {
        return cut(vec![(scan_words(scan, view), Role::Muted)], room, view.theme.symbols.cut);
    }
    let lacking = lacking(gate);
    let Some(first) = lacking.first() else { return Spans::new() };
    let unseen =
        gate.conditions.iter().filter(|condition| condition.state == ConditionState::Unknown).map(|condition| condition.name.as_str());
    let more = match (lacking.len(), unseen.collect::<Vec<_>>().as_slice()) {
        // When the time has come, these will still keep it shut.
        (1, [first, rest @ ..]) if row.group == Group::Waits => {
            let rest = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("; {first}{rest} not known")
        }
        (1, _) => String::new(),
        (n, _) => format!("; {} more", n - 1),
    };
    let role = if row.group == Group::Waits { Role::Muted } else { Role::Text };
    let wordings = wordings(first, gate).into_iter().flat_map(|text| [format!("{text}{more}"), text]);
    let mut last = Spans::new();
    for text in wordings {
        last = marked(&text, role, view);
        if columns(&last) <= room {
            return last;
        }
    }
    cut(last, room, view.theme.symbols.cut)
}

/// `next scan, at most 41m`.
fn scan_words(scan: Scan, view: &View<'_>) -> String {
    match scan.by {
        None => "first scan".to_owned(),
        Some(by) if by > view.now => format!("next scan, at most {}", words::age(view.now, by)),
        Some(_) => "next scan, due now".to_owned(),
    }
}

/// What is wrong with a policy that has no further step, or that nothing is: the gravest first, and how much more there is.
fn concern_words(row: &Row, view: &View<'_>) -> Spans {
    let Some(first) = row.concerns.first() else { return vec![("fully rolled out".to_owned(), Role::Muted)] };
    let mut spans = concern(first, view);
    // A gate that has ended says where it drifts.
    let drifts = usize::from(row.gate.is_ok() && row.step().is_none());
    if let Some(more) = (row.concerns.len() + drifts).checked_sub(1).filter(|more| *more > 0) {
        spans.push((format!("; {more} more"), Role::Text));
    }
    spans
}

/// `52 violations in PRODUCTION`.
pub(super) fn concern(concern: &Concern, view: &View<'_>) -> Spans {
    let in_it = |text: String| vec![(format!("{text} in "), Role::Text), environment(&concern.environment, view)];
    match concern.what {
        What::Violations(count) => in_it(words::counted(count, "violation", "violations")),
        What::Blocked(count) => in_it(words::counted(count, "blocked request", "blocked requests")),
        What::NotReady => in_it("not ready".to_owned()),
        What::NotInForce { partly } => in_it(if partly { "only partly in force" } else { "not in force" }.to_owned()),
        What::Revision => in_it("drift: another revision".to_owned()),
        What::Weaker(mode) => in_it(format!("drift: only {}", words::mode_word(mode))),
        What::Missing => in_it("drift: missing".to_owned()),
        What::NotRead => in_it("violations unknown: not everything is read".to_owned()),
        What::NotScanned => in_it("violations unknown until the first scan".to_owned()),
    }
}

/// One condition that is lacking, in ever fewer words.
fn wordings(condition: &Condition, gate: &Gate) -> Vec<String> {
    let from = gate.from.as_ref().map(|from| format!(" in {}", clean(&from.environment))).unwrap_or_default();
    let name = condition.name.as_str();
    let reason = clean(&condition.reason).into_owned();
    let limit = condition.limit.map(|limit| format!(", limit {}", amount(limit))).unwrap_or_default();
    match (condition.name, condition.state, condition.value) {
        (_, ConditionState::Unknown, _) => vec![format!("{name}: {reason}"), format!("{name} not known")],
        (ConditionName::Violations, _, Some(Amount::Count(n))) => {
            let what = words::counted(n, "violation", "violations");
            vec![format!("{what}{from}{limit}"), format!("{what}{limit}"), what]
        }
        (ConditionName::Blocked, _, Some(Amount::Count(n))) => {
            let what = format!("{} refused", words::counted(n, "request", "requests"));
            vec![format!("{what}{from}{limit}"), format!("{what}{limit}"), what]
        }
        (ConditionName::Soak, _, Some(_)) => vec![format!("{name} {}", value(condition)), name.to_owned()],
        (ConditionName::Freeze, ..) => vec![reason, "frozen".to_owned()],
        _ => vec![reason],
    }
}

/// `CLOSED · opens in 3 h (Nov 25 09:14) at the earliest`.
pub(in crate::tui) fn verdict_sentence(gate: &Gate, view: &View<'_>) -> String {
    let when = |at| {
        let (middot, left) = (view.theme.symbols.middot, words::span(view.now, at));
        let soon = at.duration_since(view.now) < SignedDuration::from_hours(1);
        let at = if soon { words::clock(at, view.zone) } else { words::minute(at, view.zone) };
        format!(" {middot} opens in {left} ({at}) at the earliest")
    };
    let when = gate.opens_at.map(when).unwrap_or_default();
    match gate.verdict {
        Verdict::Closed => format!("CLOSED{when}"),
        other => other.as_str().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_is_never_wider_than_its_room() {
        let spans = vec![
            ("9 violations in ".to_owned(), Role::Text),
            ("PRODUCTION".to_owned(), Role::Production),
            (", limit 0".to_owned(), Role::Text),
        ];
        for (room, expected) in [
            (35, "9 violations in PRODUCTION, limit 0"),
            (34, "9 violations in PRODUCTION, limit…"),
            (27, "9 violations in PRODUCTION…"),
            (26, "9 violations in PRODUCTIO…"),
            (17, "9 violations in …"),
            (16, "9 violations in…"),
            (1, "…"),
            (0, ""),
        ] {
            let cut = cut(spans.clone(), room, "…");
            assert_eq!(cut.iter().map(|(text, _)| text.as_str()).collect::<String>(), expected);
        }
    }
}
