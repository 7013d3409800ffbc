//! What is worth saying about the environments: what holds now, with remedies, and what happened, with times.
//!
//! What lives here: sentences made from views, and a bounded log of changes. What does not: where they are drawn.

use super::keymap::Keymap;
use super::keys::Verb;
use super::theme::Role;
use super::words::{self, not_installed};
use crate::domain::{Link, Sync, Tier, clean};
use crate::fleet::view::{EnvironmentView, FleetView};
use jiff::{Timestamp, tz::TimeZone};
use std::collections::VecDeque;

const KEPT: usize = 500;
const VIEWER: &str = "Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml";

/// One sentence about one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) role: Role,
    pub(crate) production: bool,
    /// The environment as it is shown.
    pub(crate) label: String,
    /// What follows the label, beginning with a blank or a colon.
    pub(crate) text: String,
}

impl Notice {
    /// Of something that no environment has to do with.
    pub(crate) fn of_nowhere(text: &str) -> Self {
        Self { role: Role::Attention, production: false, label: String::new(), text: clean(text).into_owned() }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) notice: Notice,
    /// How often in a row.
    pub(crate) times: u32,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
}

impl Log {
    /// Newest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    /// Notes what is different in `new`.
    pub(crate) fn compare(&mut self, old: &FleetView, new: &FleetView, now: Timestamp) {
        for environment in &new.environments {
            let before = old.environment(&environment.name);
            if before.is_some_and(|b| b.generation == environment.generation) {
                continue;
            }
            for (role, text) in changes(before.map(AsRef::as_ref), environment) {
                self.push(Entry { at: now, notice: notice(environment, role, text), times: 1 });
            }
        }
    }

    /// Notes something that no environment has to do with.
    pub(crate) fn note(&mut self, text: &str, now: Timestamp) {
        self.push(Entry { at: now, notice: Notice::of_nowhere(text), times: 1 });
    }

    fn push(&mut self, entry: Entry) {
        if let Some(last) = self.entries.back_mut().filter(|last| last.notice == entry.notice) {
            last.times = last.times.saturating_add(1);
            last.at = entry.at;
            return;
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

fn notice(environment: &EnvironmentView, role: Role, text: String) -> Notice {
    Notice { role, production: environment.tier == Tier::Production, label: words::label(environment), text }
}

/// What is news in an environment.
fn changes(before: Option<&EnvironmentView>, now: &EnvironmentView) -> Vec<(Role, String)> {
    let mut out = Vec::new();
    let was_up = before.is_none_or(|b| b.link.is_up() || b.link == Link::Connecting);
    match &now.link {
        Link::Retrying { why, .. } if was_up => out.push((Role::Fault, format!(" lost: {}", clean(why)))),
        Link::Stale { .. } if was_up => out.push((Role::Attention, " gives no sign of life".to_owned())),
        Link::Unreachable { why } if was_up => out.push((Role::Fault, format!(" unreachable: {}", clean(why)))),
        Link::LoginNeeded { why } if was_up => out.push((Role::Fault, format!(": {}", clean(why)))),
        Link::Denied { why } if before.is_none_or(|b| !matches!(b.link, Link::Denied { .. })) => {
            out.push((Role::Fault, format!(": {}", clean(why))));
        }
        Link::Live | Link::Listing if before.is_some_and(|b| !b.link.is_up() && b.link != Link::Connecting) => {
            out.push((Role::Good, " is back".to_owned()));
        }
        _ => {}
    }
    if now.complete && before.is_some_and(|b| !b.complete) {
        out.push((Role::Good, format!(" complete: {}", words::counted(now.findings.total(), "result", "results"))));
    }
    for kind in &now.kinds {
        let old = before.and_then(|b| b.kinds.iter().find(|k| k.group == kind.group && k.kind == kind.kind)).map(|k| &k.sync);
        match &kind.sync {
            Sync::Denied { why } if !matches!(old, Some(Sync::Denied { .. })) => {
                out.push((Role::Attention, format!(": you may not list {} ({})", kind.kind, clean(why))));
            }
            Sync::Live if matches!(old, Some(Sync::NotInstalled | Sync::Denied { .. })) => {
                out.push((Role::Good, format!(": {} can be read now", kind.kind)));
            }
            _ => {}
        }
    }
    for note in &now.notes {
        if before.is_none_or(|b| !b.notes.contains(note)) {
            out.push((Role::Text, format!(": {}", clean(note))));
        }
    }
    out
}

/// What holds now, the gravest first; within the same gravity production first, then the order of the road.
pub(crate) fn standing(fleet: &FleetView, zone: &TimeZone, keys: &Keymap) -> Vec<Notice> {
    let mut out: Vec<_> = fleet.environments.iter().flat_map(|e| of_environment(e, zone, keys)).collect();
    gravest_first(&mut out);
    out
}

/// The order in which notices are told: those of equal weight stay as they are.
pub(crate) fn gravest_first(notices: &mut [Notice]) {
    notices.sort_by_key(|notice| (notice.role != Role::Fault, notice.role != Role::Attention, !notice.production));
}

fn of_environment(environment: &EnvironmentView, zone: &TimeZone, keys: &Keymap) -> Vec<Notice> {
    let mut out = Vec::new();
    let mut say = |role, text: String| out.push(notice(environment, role, text));
    let from = |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!("; numbers are from {}", words::clock(at, zone)));
    match &environment.link {
        Link::Retrying { since: None, why, .. } => say(Role::Fault, format!(" not reached: {}", clean(why))),
        Link::Retrying { why, .. } => say(Role::Fault, format!(" lost: {}{}", clean(why), from(environment.last_seen))),
        Link::Unreachable { why } => say(Role::Fault, format!(" unreachable: {}{}", clean(why), from(environment.last_seen))),
        Link::LoginNeeded { why } => {
            say(Role::Fault, format!(": {}; then {}", clean(why).trim_end_matches('.'), keys.of(Verb::Reconnect)));
        }
        Link::Denied { why } if why.contains("ClusterRole") => say(Role::Fault, format!(": {}", clean(why))),
        Link::Denied { why } => say(Role::Fault, format!(": {}. {VIEWER}", clean(why).trim_end_matches('.'))),
        Link::Stale { since } => say(Role::Attention, format!(" gives no sign of life since {}", words::clock(*since, zone))),
        Link::Live if not_installed(environment) => {
            say(
                Role::Attention,
                ": Kyverno is not installed (no kyverno.io API). Policies and reports will appear here when it is.".to_owned(),
            );
        }
        Link::Connecting | Link::Listing | Link::Live => {}
    }
    if !matches!(environment.link, Link::Denied { .. }) {
        denied_kinds(environment, &mut say);
    }
    for kind in &environment.kinds {
        if let Sync::Retrying { why } = &kind.sync
            && environment.link.is_up()
        {
            say(Role::Attention, format!(": {} could not be read, trying again: {}", kind.kind, clean(why)));
        }
    }
    if environment.malformed > 0 {
        let what = words::counted(environment.malformed, "result or object", "results or objects");
        say(Role::Attention, format!(": {what} could not be read and stayed out of the numbers"));
    }
    for note in &environment.notes {
        say(Role::Text, format!(": {}", clean(note)));
    }
    if environment.stale > 0 {
        let what = words::counted(environment.stale, "result", "results");
        say(Role::Text, format!(": {what} of policies or rules that no longer exist stayed out of the numbers"));
    }
    if environment.foreign > 0 {
        let what = words::counted(environment.foreign, "result", "results");
        say(Role::Attention, format!(": {what} not counted: their reports are in another namespace than the resources they are about"));
    }
    if environment.unverified > 0 {
        let what = words::counted(environment.unverified, "result was", "results were");
        say(Role::Attention, format!(": {what} not written by Kyverno (filter unverified=yes)"));
    }
    let mut disappeared = environment.cells.iter().filter_map(|cell| Some((cell, cell.disappeared.as_ref()?)));
    if let Some((cell, first)) = disappeared.next() {
        let others = match disappeared.count() {
            0 => String::new(),
            1 => "; the same for another policy".to_owned(),
            more => format!("; the same for {more} other policies"),
        };
        say(Role::Attention, format!(": {}: {}{others}", clean(&cell.key.id.to_string()), first.in_words()));
    }
    for cell in environment.cells.iter() {
        if let Some(doubt) = &cell.doubt {
            say(Role::Attention, format!(": the numbers of {} are unknown: {}", clean(&cell.key.id.to_string()), clean(doubt)));
        }
    }
    out
}

/// One sentence for all kinds that may not be read for the same reason.
fn denied_kinds(environment: &EnvironmentView, say: &mut impl FnMut(Role, String)) {
    let denied: Vec<_> = environment
        .kinds
        .iter()
        .filter_map(|k| if let Sync::Denied { why } = &k.sync { Some((k.kind, why.as_str(), k.essential)) } else { None })
        .collect();
    let Some((_, why, _)) = denied.first() else { return };
    let kinds: Vec<_> = denied.iter().map(|(kind, ..)| *kind).collect();
    let list = match kinds.as_slice() {
        [one] => (*one).to_owned(),
        [first, .., last] if kinds.len() > 4 => format!("{} kinds from {first} to {last}", kinds.len()),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
        [] => return,
    };
    let role = if denied.iter().any(|(.., essential)| *essential) { Role::Fault } else { Role::Attention };
    say(role, format!(": you may not list {list} ({}). {VIEWER}", clean(why).trim_end_matches('.')));
}
