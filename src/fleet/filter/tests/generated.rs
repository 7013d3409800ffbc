//! Filters of any text.

use super::{cell, key, now, row};
use crate::domain::Tier;
use crate::fleet::filter::{Filter, Verdict};
use crate::testing::{broken_text, cases};

const PARTS: [&str; 43] = [
    "env",
    "tier",
    "ns",
    "kind",
    "name",
    "policy",
    "rule",
    "sev",
    "severity",
    "result",
    "source",
    "mode",
    "owner",
    "exception",
    "category",
    "message",
    "age",
    "stale",
    "foreign",
    "=",
    "!=",
    ">=",
    "<=",
    ">",
    "<",
    "~",
    "!",
    ",",
    " ",
    "  ",
    "\"",
    "\\",
    "*",
    "?",
    "fail",
    "high",
    "2h",
    "99999999999d",
    "yes",
    "production",
    "checkout",
    "web*",
    "ü",
];

#[test]
fn filters_of_any_text_are_read_back_and_answer() {
    let (cell, row) = (cell(), row());
    cases("filters_of_any_text", 20_000, |dice| {
        let text = broken_text(&PARTS, 12, dice);
        let Ok(filter) = text.parse::<Filter>() else { return };
        let printed = filter.to_string();
        assert_eq!(printed.parse::<Filter>().as_ref(), Ok(&filter), "{text:?} is printed as {printed:?}");
        let passes = filter.matches_finding("dev", Tier::Normal, &row, now());
        let verdict = filter.matches_cell("dev", Tier::Normal, &cell, now());
        assert!(!(passes && verdict == Verdict::No && key() == row.key), "{text:?}: a finding passes in a cell that does not");
        drop(filter.results());
    });
}
