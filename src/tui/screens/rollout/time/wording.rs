//! What was on record, in words, with its shapes and roles.
//!
//! What lives here: wording. What does not: where it stands.

use super::super::wording::span_role;
use super::cells::Cell;
use super::lanes::{Lane, Lasting};
use crate::domain::history::{ChangeSource, Mark, MarkKind, SpanMode};
use crate::domain::{Mode, PolicyKey, clean};
use crate::tui::screens::{View, seen};
use crate::tui::theme::Role;
use crate::tui::words::{self, Wording};
use jiff::Timestamp;

/// How a mark is painted.
pub(super) fn role(kind: MarkKind) -> Role {
    match kind {
        MarkKind::Promote | MarkKind::Exception | MarkKind::Revision => Role::Accent,
        MarkKind::Demote => Role::Attention,
        MarkKind::Violations => Role::Fault,
        MarkKind::Clean => Role::Good,
        MarkKind::Created | MarkKind::Deleted | MarkKind::Mode | MarkKind::Ready | MarkKind::Operation => Role::Strong,
    }
}

/// A kind of mark in the legend; the many that have one shape have one word.
pub(super) fn kind(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Promote => "promoted",
        MarkKind::Demote => "demoted",
        MarkKind::Exception => "exception",
        MarkKind::Violations => "violations",
        MarkKind::Clean => "clean",
        MarkKind::Revision => "reworded",
        MarkKind::Created | MarkKind::Deleted | MarkKind::Mode | MarkKind::Ready | MarkKind::Operation => "other",
    }
}

/// How a stretch of a bar is painted: what nobody saw is dim.
pub(super) fn role_of(cell: Cell) -> Role {
    if cell.inferred { Role::Muted } else { span_role(cell.mode) }
}

/// `audit`, `nobody watched`.
pub(super) fn span(mode: SpanMode) -> &'static str {
    match mode {
        SpanMode::Of(mode) => words::mode_word(mode),
        SpanMode::Unwatched => "nobody watched",
    }
}

/// How it is now and for how long: `enforce 12d`, `audit ≥5d`; shape instead of word where there is no room.
pub(super) fn present(lane: &Lane<'_>, policy: &PolicyKey, room: usize, view: &View<'_>) -> (String, Role) {
    let symbols = view.theme.symbols;
    let Some(mode) = lane.mode(policy) else { return (if room >= 10 { "not any more" } else { "gone" }.to_owned(), Role::Muted) };
    let lasting = match lane.lasting(mode, view.now) {
        Lasting::For(held) => format!(" {held}"),
        Lasting::AtLeast(held) => format!(" {}{held}", symbols.at_least),
        Lasting::Unknown => String::new(),
    };
    let word = if room >= 10 { words::mode_word(mode) } else { symbols.span(SpanMode::Of(mode)) };
    let role = match mode {
        _ if seen::lost_since(lane.view).is_some() => Role::Muted,
        Mode::NotReady | Mode::Mixed | Mode::Unknown => Role::Attention,
        Mode::Absent | Mode::Off => Role::Muted,
        Mode::Audit | Mode::Enforce | Mode::Warn => Role::Text,
    };
    (format!("{word}{lasting}"), role)
}

/// Why nothing is on record.
pub(super) fn why_not_watched(lane: &Lane<'_>, view: &View<'_>) -> String {
    if lane.key.former.is_none() && !lane.view.link.is_up() {
        let state = words::state(lane.view, view.theme.symbols, view.now, Wording::Brief);
        return format!("not watched: {}", state.words);
    }
    if lane.key.former.is_none() && !lane.view.complete && !seen::once_complete(lane.view) {
        return "not watched: it is not known completely yet".to_owned();
    }
    "not watched: nobody recorded it in this time".to_owned()
}

/// A sentence of the history as a person reads it here: its times where the person is, its shapes as the terminal has them.
pub(super) fn said(text: &str, view: &View<'_>) -> String {
    let symbols = view.theme.symbols;
    let word = |word: &str| match word.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(view.zone.clone()).strftime("%b %d %Y %H:%M").to_string(),
        Err(_) => word.to_owned(),
    };
    let text: Vec<String> = clean(text).split(' ').map(word).collect();
    text.join(" ").replace('→', symbols.arrow).replace('·', symbols.middot)
}

/// How it is known when something happened.
pub(super) fn source(mark: &Mark) -> &'static str {
    match (mark.source, mark.kind) {
        (Some(ChangeSource::Seen), _) => "a recorder was watching when it happened",
        (Some(ChangeSource::Found), _) => "it was so when a recorder began to look; it may have been so before",
        (Some(ChangeSource::Annotation), _) => "inferred from the object's annotation policydeck.dev/at; nobody was watching",
        (Some(ChangeSource::ManagedFields), _) => {
            "inferred from managedFields, the last write to its spec; nobody was watching, and the change may be older"
        }
        (Some(ChangeSource::Creation), _) => "inferred from creationTimestamp: its spec is as it was made; nobody was watching",
        (None, MarkKind::Violations | MarkKind::Clean) => "counted from reports by a recorder",
        (None, MarkKind::Exception) => "a recorder saw the exception change",
        (None, _) => "noted by the operation itself, when it was done",
    }
}

/// Who did it, and how that is known.
pub(super) fn actor(mark: &Mark) -> Option<String> {
    let actor = clean(mark.actor.as_deref()?).into_owned();
    Some(match mark.source {
        // The recorder takes the annotation's name where there is one (`kinds::authorship`).
        Some(_) => format!("{actor} (as the object says: policydeck.dev/by, or the field manager of its spec)"),
        None => actor,
    })
}

/// Whether a mark is an operation of ours rather than something that was observed.
pub(super) fn is_operation(mark: &Mark) -> bool {
    mark.source.is_none() && matches!(mark.kind, MarkKind::Promote | MarkKind::Demote | MarkKind::Operation)
}
