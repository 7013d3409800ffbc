//! Numbers, ages and states as a person reads them.
//!
//! What lives here: wording only. What does not: where it stands, in which colour.

use super::theme::{Role, Symbols};
use crate::domain::{Link, Mode, Sync, Tier, clean};
use crate::fleet::view::EnvironmentView;
use jiff::{Timestamp, tz::TimeZone};

/// `1004211` as `1 004 211`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `3 owners`, `1 owner`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_second().saturating_sub(earlier.as_second()).max(0)
}

/// The time from `then` to `now` in at most three columns, mostly: `12s`, `4m`, `3h`, `41d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let s = seconds_between(then, now);
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..172_800 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// The time from `then` to `now` in words, without `ago`: `11 min`, `3 h`, `41 days`.
pub(crate) fn span(then: Timestamp, now: Timestamp) -> String {
    let s = seconds_between(then, now);
    match s {
        0..60 => format!("{s} s"),
        60..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

/// When there was no Kyverno yet: an older result was written with a wrong clock, or with no time at all.
const BEFORE_KYVERNO: i64 = 1_420_070_400;

/// `11 min ago, Nov 23 14:32:07`; where that cannot be, why not.
pub(crate) fn evaluated(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    if at.as_second() < BEFORE_KYVERNO {
        return format!("time unknown: the report says {}", exactly(at, zone));
    }
    format!("{} ago, {}", span(at, now), date(at, zone))
}

/// `14:32:07` where the person is.
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// `Nov 23 14:32:07` where the person is.
pub(crate) fn date(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%b %d %H:%M:%S").to_string()
}

/// `Nov 18 2025 09:14:07 CET` where the person is.
pub(crate) fn exactly(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%b %d %Y %H:%M:%S %Z").to_string()
}

/// The word for a mode on screens.
pub(crate) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::NotReady => "not ready",
        other => other.as_str(),
    }
}

/// `Nov 25 09:14` where the person is.
pub(crate) fn minute(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%b %e %H:%M").to_string()
}

/// The name by which an environment is shown: production always carries the word.
pub(crate) fn label(environment: &EnvironmentView) -> String {
    label_of(&environment.name, environment.tier)
}

/// The same for an environment of which nothing is seen.
pub(crate) fn label_of(name: &str, tier: Tier) -> String {
    let name = clean(name);
    match tier {
        Tier::Production if name.eq_ignore_ascii_case("production") => "PRODUCTION".to_owned(),
        Tier::Production => format!("PRODUCTION {name}"),
        Tier::Normal => name.into_owned(),
    }
}

/// The same for a column that may be too narrow for it.
pub(crate) fn short_label(environment: &EnvironmentView, columns: usize) -> String {
    let long = label(environment);
    if environment.tier == Tier::Normal || long.chars().count() <= columns {
        return long;
    }
    long.replacen("PRODUCTION", "PROD", 1)
}

/// How much of a state's wording there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// `listing 8 200 of 12 500`
    Full,
    /// `listing 66%`
    Brief,
    /// Only the shape where all is well, brief otherwise.
    Shape,
}

/// The state of an environment: shape, words and role.
pub(crate) struct State {
    /// One column.
    pub(crate) shape: &'static str,
    /// May be empty with [`Wording::Shape`].
    pub(crate) words: String,
    /// How it is painted.
    pub(crate) role: Role,
}

/// What is being listed, over all kinds that count: seen, and the total where the server told it for every kind.
pub(crate) fn progress(environment: &EnvironmentView) -> Option<(u64, Option<u64>)> {
    let mut sum: Option<(u64, Option<u64>)> = None;
    for kind in &environment.kinds {
        if let Sync::Listing { seen, total } = &kind.sync {
            let (s, t) = sum.unwrap_or((0, Some(0)));
            sum = Some((s + seen, t.zip(*total).map(|(a, b)| a + b)));
        }
    }
    sum.filter(|(seen, total)| *seen > 0 || total.is_some_and(|t| t > 0))
}

/// Whether Kyverno itself seems to be missing: of the essential kinds none is served.
pub(crate) fn not_installed(environment: &EnvironmentView) -> bool {
    let mut essential = environment.kinds.iter().filter(|k| k.essential).peekable();
    essential.peek().is_some() && essential.all(|k| k.sync == Sync::NotInstalled)
}

/// The state of `environment` at `now`.
pub(crate) fn state(environment: &EnvironmentView, symbols: &Symbols, now: Timestamp, wording: Wording) -> State {
    let full = wording == Wording::Full;
    let (shape, words, role) = match &environment.link {
        Link::Connecting => (symbols.connecting, "connecting".to_owned(), Role::Muted),
        Link::Listing => {
            let words = match progress(environment) {
                Some((seen, Some(total))) if full => format!("listing {} of {}", number(seen), number(total)),
                Some((seen, Some(total))) if total > 0 => format!("listing {}%", seen.min(total) * 100 / total),
                Some((seen, _)) if full => format!("listing {}", number(seen)),
                _ => "listing".to_owned(),
            };
            (symbols.listing, words, Role::Accent)
        }
        Link::Live if not_installed(environment) => (symbols.absent, "no Kyverno".to_owned(), Role::Attention),
        Link::Live if !environment.complete => (symbols.listing, "live, incomplete".to_owned(), Role::Attention),
        Link::Live if wording == Wording::Shape => (symbols.live, String::new(), Role::Good),
        Link::Live => (symbols.live, "live".to_owned(), Role::Good),
        Link::Stale { since } => (symbols.lost, format!("silent {}", age(*since, now)), Role::Attention),
        Link::Retrying { since, next, .. } => {
            let lost = since.map_or_else(|| "not reached".to_owned(), |s| format!("lost {}", age(s, now)));
            let words = if full { format!("{lost}, retry in {}", age(now, *next)) } else { lost };
            (symbols.lost, words, Role::Fault)
        }
        Link::LoginNeeded { .. } => (symbols.login, "login needed".to_owned(), Role::Fault),
        Link::Denied { .. } => (symbols.denied, "denied".to_owned(), Role::Fault),
        Link::Unreachable { .. } => (symbols.lost, "unreachable".to_owned(), Role::Fault),
    };
    State { shape, words, role }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(7), "7");
        assert_eq!(number(12_500), "12 500");
        assert_eq!(number(1_004_211), "1 004 211");
        assert_eq!(counted(1, "owner", "owners"), "1 owner");
    }

    #[test]
    fn a_result_of_before_kyverno_has_no_time() {
        let (now, zone) = (Timestamp::from_second(1_700_000_000).unwrap(), TimeZone::UTC);
        let said = |second| evaluated(Timestamp::from_second(second).unwrap(), now, &zone);
        assert_eq!(said(42), "time unknown: the report says Jan 01 1970 00:00:42 UTC");
        assert_eq!(said(1_699_999_400), "10 min ago, Nov 14 22:03:20");
    }

    #[test]
    fn ages_are_short() {
        let at = |s: i64| Timestamp::from_second(1_000_000 + s).unwrap();
        let ages: Vec<_> = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(|s| age(at(0), at(s))).into();
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
        assert_eq!(age(at(9), at(0)), "0s", "a clock that runs behind the cluster's is no reason for a negative age");
        assert_eq!(span(at(0), at(660)), "11 min");
    }
}
