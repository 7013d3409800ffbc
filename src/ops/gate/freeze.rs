//! Whether the environment that a policy would go to is frozen.

use super::{met, unknown, unmet};
use crate::domain::{Condition, ConditionName, Proof};
use crate::settings::Freeze;
use jiff::Timestamp;

/// The condition, and when the freeze ends: windows that follow each other without a break are one.
pub(super) fn freeze(freezes: &[Freeze], now: Option<Timestamp>) -> (Condition, Option<Timestamp>) {
    const NAME: ConditionName = ConditionName::Freeze;
    if freezes.is_empty() {
        return (met(NAME, "configuration", "none"), None);
    }
    let Some(now) = now else {
        return (unknown(NAME, "configuration", "the time of the API server is not known: its answers carry no Date"), None);
    };
    // Each window that is reached in turn goes on longer than the one before; the last one says why it lasts until then.
    let mut last: Option<&Freeze> = None;
    let end = |last: Option<&Freeze>| last.map_or(now, |one| one.until);
    while let Some(next) = freezes.iter().filter(|one| one.holds_at(end(last)) && one.until > end(last)).max_by_key(|one| one.until) {
        last = Some(next);
    }
    if let Some(last) = last {
        let why = format!("frozen until {}: {}", last.until.strftime("%b %e %H:%M UTC"), last.reason);
        let proof = Proof { source: "freeze", at: Some(last.until), ..Proof::default() };
        return (unmet(NAME, "configuration", &why).by(vec![proof]), Some(last.until));
    }
    let next = freezes.iter().map(|one| one.from).filter(|from| *from > now).min();
    let why = next.map_or_else(|| "none".to_owned(), |from| format!("none before {}", from.strftime("%b %e %H:%M UTC")));
    (met(NAME, "configuration", &why), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ConditionState;

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}:00Z").parse().unwrap()
    }

    fn window(from: &str, until: &str, reason: &str) -> Freeze {
        Freeze { from: at(from), until: at(until), reason: reason.to_owned() }
    }

    #[test]
    fn the_window_that_ends_it_says_why() {
        let short = || window("11-30T00:00", "12-01T00:00", "short");
        let long = || window("11-30T00:00", "12-06T00:00", "long");
        let next = || window("12-01T00:00", "12-03T00:00", "next");
        for (windows, now, state, reason) in [
            (vec![], "11-30T12:00", ConditionState::Met, "none"),
            (vec![short(), long()], "11-30T12:00", ConditionState::Unmet, "frozen until Dec  6 00:00 UTC: long"),
            (vec![long(), short()], "11-30T12:00", ConditionState::Unmet, "frozen until Dec  6 00:00 UTC: long"),
            (vec![short(), next()], "11-30T12:00", ConditionState::Unmet, "frozen until Dec  3 00:00 UTC: next"),
            (vec![short()], "12-01T00:00", ConditionState::Met, "none"),
            (vec![window("11-30T18:00", "12-01T00:00", "late")], "11-30T12:00", ConditionState::Met, "none before Nov 30 18:00 UTC"),
        ] {
            let (condition, _) = freeze(&windows, Some(at(now)));
            assert_eq!((condition.state, condition.reason.as_str()), (state, reason));
        }
        assert_eq!(freeze(&[short()], None).0.state, ConditionState::Unknown, "a clock that is not known ends no freeze");
    }
}
