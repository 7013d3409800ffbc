//! Words and numbers in tables and CSV, the same in every command.

use super::table::{Cell, Role};
use crate::domain::{Mode, Tally, Tier};
use std::fmt::Display;

/// CSV headings of a tally of findings.
pub(super) const TALLY_COLUMNS: [&str; 5] = ["pass", "fail", "warn", "error", "skip"];
/// CSV headings of a tally of owners.
pub(super) const OWNER_COLUMNS: [&str; 5] = ["ownersPass", "ownersFail", "ownersWarn", "ownersError", "ownersSkip"];

/// A number: `?` where it is unknown, `~7` where it may still grow, dim where it is nothing.
pub(super) fn count(number: Option<u64>, complete: bool, role: Role) -> Cell {
    match number {
        None => Cell::new("?", Role::Attention),
        Some(number) if !complete => Cell::new(&format!("~{number}"), if number == 0 { Role::Attention } else { role }),
        Some(0) => Cell::new("0", Role::Dim),
        Some(number) => Cell::new(&number.to_string(), role),
    }
}

/// An environment's name; production says so.
pub(super) fn production_name(name: &str, tier: Tier) -> Cell {
    match tier {
        Tier::Normal => Cell::plain(name),
        Tier::Production if name.eq_ignore_ascii_case("production") => Cell::new("PRODUCTION", Role::Production),
        Tier::Production => Cell::new(&format!("{name} PRODUCTION"), Role::Production),
    }
}

/// A mode as shape and word.
pub(super) fn mode(mode: Mode, ascii: bool) -> Cell {
    let (shape, plain, role) = match mode {
        Mode::Audit => ("▒", "-", Role::Plain),
        Mode::Enforce => ("█", "#", Role::Plain),
        Mode::Mixed => ("▚", "%", Role::Plain),
        Mode::Warn => ("░", "w", Role::Plain),
        Mode::Off => ("□", "0", Role::Dim),
        Mode::NotReady => ("○", "o", Role::Attention),
        Mode::Absent => ("╱", "/", Role::Dim),
        Mode::Unknown => ("?", "?", Role::Attention),
    };
    Cell::new(&format!("{} {}", if ascii { plain } else { shape }, mode.as_str()), role)
}

/// `text`, or what stands for none.
pub(super) fn text_or<'t>(text: Option<&'t str>, none: &'t str) -> &'t str {
    text.filter(|text| !text.is_empty()).unwrap_or(none)
}

/// A CSV field; empty where it is unknown.
pub(super) fn maybe(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// CSV fields of a tally.
pub(super) fn tally(tally: Option<&Tally>) -> [String; 5] {
    let field = |number: fn(&Tally) -> u64| maybe(tally.map(number));
    [field(|t| t.pass), field(|t| t.fail), field(|t| t.warn), field(|t| t.error), field(|t| t.skip)]
}
