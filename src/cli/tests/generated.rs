//! Expressions of `--fail-on` of any text.

use crate::cli::fail_on::FailOn;
use crate::cli::status::item;
use crate::domain::Tier;
use crate::fleet::state::{EnvironmentState, Identity};
use crate::testing::{broken_text, cases};

const PARTS: [&str; 28] = [
    "fail",
    "error",
    "warn",
    "owners.fail",
    "blocked",
    "stale",
    "malformed",
    "policies",
    "complete",
    "incomplete",
    ">",
    ">=",
    "<",
    "<=",
    "=",
    "==",
    "!=",
    "0",
    "1",
    "18446744073709551616",
    " and ",
    " or ",
    "not ",
    "(",
    ")",
    " ",
    "ü",
    "\0",
];

#[test]
fn expressions_of_any_text_are_read_or_refused() {
    let identity = Identity { name: "dev".into(), tier: Tier::Normal, context: "dev".into(), namespaces: Vec::new().into() };
    let item = item(&EnvironmentState::new(identity).view());
    cases("expressions_of_any_text", 20_000, |dice| {
        let text = broken_text(&PARTS, 14, dice);
        match FailOn::parse(&text) {
            Ok(expression) => assert_eq!(expression.holds(&item), expression.clone().holds(&item)),
            Err(error) => assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{text:?}: {error}"),
        }
    });
}

#[test]
fn expressions_as_long_as_a_command_line_do_not_end_the_stack() {
    let identity = Identity { name: "dev".into(), tier: Tier::Normal, context: "dev".into(), namespaces: Vec::new().into() };
    let item = item(&EnvironmentState::new(identity).view());
    for (start, more, end) in [("fail", " or fail", ""), ("fail", " and fail", ""), ("", "not ", "fail"), ("", "(", "fail")] {
        let text = format!("{start}{}{end}", more.repeat(128 * 1024 / more.len()));
        if let Ok(expression) = FailOn::parse(&text) {
            let holds = expression.holds(&item);
            assert_eq!(holds, expression.holds(&item));
        }
    }
}
