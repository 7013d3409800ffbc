//! Steps in words: when, who, what became of them.
//!
//! What lives here: wording. What does not: where it stands.

use super::columns::TIMES;
use crate::domain::clean;
use crate::domain::journal::{Step, StepResult};
use crate::engine::operations::Shown;
use crate::tui::screens::View;
use crate::tui::theme::{Role, Symbols};
use crate::tui::words;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `Nov 25 09:14:07`; without seconds where there is no room, as a date where it was in another year.
pub(super) fn when(at: Timestamp, now: Timestamp, room: usize, zone: &TimeZone) -> String {
    let (then, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    if then.year() != now.year() {
        return then.strftime("%Y-%m-%d").to_string();
    }
    if room >= TIMES[0] { words::date(at, zone) } else { words::minute(at, zone) }
}

/// Shape and role of a result; its word is that of JSON.
pub(super) fn result(result: StepResult, symbols: &Symbols) -> (&'static str, Role) {
    match result {
        StepResult::Done => (symbols.met, Role::Good),
        StepResult::Unchanged => (symbols.nothing, Role::Muted),
        StepResult::Failed => (symbols.fail, Role::Fault),
        StepResult::Refused => (symbols.refused, Role::Attention),
        StepResult::Skipped => (symbols.skip, Role::Attention),
        StepResult::Unknown => (symbols.unknown, Role::Fault),
    }
}

/// Shape and role of what a cluster shows.
pub(super) fn shown(shown: Shown, symbols: &Symbols) -> (&'static str, Role) {
    match shown {
        Shown::CarriedOut => (symbols.met, Role::Good),
        Shown::NotCarriedOut => (symbols.nothing, Role::Text),
        Shown::Other => (symbols.differs, Role::Attention),
        Shown::Unreadable => (symbols.unknown, Role::Attention),
    }
}

/// On what: the policy's name, or a dash.
pub(super) fn object(step: &Step, symbols: &Symbols) -> String {
    step.object.as_ref().map_or_else(|| symbols.none.to_owned(), |object| clean(&object.report_name()).into_owned())
}

/// `audit → enforce`, or what is known of it.
pub(super) fn change(step: &Step, symbols: &Symbols) -> String {
    match (step.before.map(words::mode_word), step.after.map(words::mode_word)) {
        (Some(before), Some(after)) if before != after => format!("{before} {} {after}", symbols.arrow),
        (None, Some(after)) => format!("{} {after}", symbols.arrow),
        (Some(mode), _) => mode.to_owned(),
        (None, None) => String::new(),
    }
}

/// A time as somebody would ask for it: `Nov 18 2025 09:14:07 UTC, 5 days ago`.
pub(super) fn exactly(at: Timestamp, view: &View<'_>) -> String {
    format!("{}, {} ago", words::exactly(at, view.zone), words::span(at, view.now))
}

/// One step as a line of text, for the clipboard.
pub(super) fn sentence(step: &Step) -> String {
    let mut parts = vec![step.at.to_string()];
    parts.push(match &step.seen_as {
        Some(seen_as) => format!("{} as {seen_as}", step.user),
        None => step.user.to_string(),
    });
    parts.push(step.verb.to_string());
    parts.extend(step.object.as_ref().map(ToString::to_string));
    parts.extend(step.environment.as_ref().map(|name| format!("in {name}")));
    parts.push(step.result().to_string());
    parts.extend(step.ticket.as_ref().map(|ticket| format!("ticket {ticket}")));
    parts.extend(step.plan.as_ref().map(|plan| format!("plan {plan}")));
    parts.extend(step.reason.as_ref().map(ToString::to_string));
    clean(&parts.join("  ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_year_is_a_date() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-02T00:00:00Z");
        for (then, room, expected) in [
            ("2026-01-01T09:14:07Z", 15, "Jan 01 09:14:07"),
            ("2026-01-01T09:14:07Z", 12, "Jan  1 09:14"),
            ("2025-12-31T23:14:07Z", 15, "2025-12-31"),
        ] {
            assert_eq!(when(at(then), now, room, &TimeZone::UTC), expected);
        }
    }
}
