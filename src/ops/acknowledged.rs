//! What an acknowledgement of an unknown gate was given for: those conditions, for those reasons, and no others.
//!
//! Reasons are compared as texts, because a plan in a file keeps them so: times move on by themselves, names do not, and a count may not get worse.

use crate::domain::{Condition, ConditionState, Gate};
use serde_json::{Value, json};

/// An acknowledgement as a plan keeps it, in the JSON of its gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Why the gate may be passed.
    pub reason: String,
    /// Name and reason of each condition that was unknown then.
    conditions: Vec<(String, String)>,
}

impl Acknowledged {
    /// Of everything that is unknown in this gate.
    pub fn for_all(gate: &Gate, reason: &str) -> Self {
        let conditions = unknown(gate).map(|condition| (condition.name.as_str().to_owned(), condition.reason.clone())).collect();
        Self { reason: reason.to_owned(), conditions }
    }

    /// The one in the gate of a plan.
    pub fn read(gate: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let reason = gate.get("acknowledged")?.as_str()?.to_owned();
        let conditions = gate.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let was_unknown = |condition: &&Value| condition.get("state").and_then(Value::as_str) == Some(ConditionState::Unknown.as_str());
        let conditions = conditions.filter(was_unknown).map(|condition| (text(condition, "name"), text(condition, "reason"))).collect();
        Some(Self { reason, conditions })
    }

    /// The gate as JSON, with this acknowledgement.
    pub fn evidence(&self, gate: &Gate) -> Value {
        let mut evidence = serde_json::to_value(gate).unwrap_or_default();
        let names: Vec<&str> = unknown(gate).map(|condition| condition.name.as_str()).collect();
        evidence["acknowledged"] = json!(self.reason);
        evidence["acknowledgedConditions"] = json!(names);
        evidence
    }

    /// What is unknown now and was not acknowledged.
    pub fn news<'g>(&self, gate: &'g Gate) -> Vec<&'g Condition> {
        let covers = |condition: &&Condition| {
            self.conditions.iter().any(|(name, reason)| name == condition.name.as_str() && is_covered(reason, &condition.reason))
        };
        unknown(gate).filter(|condition| !covers(condition)).collect()
    }

    /// The names of the conditions that it was given for.
    pub fn names(&self) -> Vec<&str> {
        self.conditions.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn unknown(gate: &Gate) -> impl Iterator<Item = &Condition> {
    gate.conditions.iter().filter(|condition| condition.state == ConditionState::Unknown)
}

/// A piece of a reason.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Times and lengths of time move on by themselves.
    Time,
    /// A count.
    Count(u64, More),
    /// Anything else; a digit of a name is part of the name.
    Word(&'a str),
}

/// What it means that a count rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// There is more that is not known.
    Worse,
    /// There is more evidence.
    Better,
    /// Neither: it is a total.
    Same,
}

/// Whether a reason that is given now was acknowledged with the one from before: it is the same apart from times, and no count of it is worse.
fn is_covered(before: &str, now: &str) -> bool {
    let (before, now) = (pieces(before), pieces(now));
    let fits = |(before, now): (&Piece<'_>, &Piece<'_>)| match (before, now) {
        (Piece::Count(before, more), Piece::Count(now, other)) if more == other => match more {
            More::Worse => now <= before,
            More::Better => now >= before,
            More::Same => true,
        },
        (before, now) => before == now,
    };
    before.len() == now.len() && before.iter().zip(&now).all(fits)
}

fn pieces(reason: &str) -> Vec<Piece<'_>> {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let next = words.get(at + 1).map(|word| bare(word));
        let day = next.filter(|next| MONTHS.contains(&bare(word)) && is_number(next, 2));
        at += 1 + usize::from(day.is_some());
        let last = pieces.last();
        if day.is_some() || is_time(bare(word)) || (last == Some(&Piece::Time) && bare(word) == "UTC") {
            if last != Some(&Piece::Time) {
                pieces.push(Piece::Time);
            }
            continue;
        }
        let count = is_number(bare(word), 9).then(|| bare(word).parse().ok()).flatten();
        pieces.push(count.map_or(Piece::Word(word), |count| {
            let more = match (at.checked_sub(2).and_then(|before| words.get(before)), next) {
                (Some(&"of"), _) => More::Same,
                (_, Some("workloads")) => More::Better,
                _ => More::Worse,
            };
            Piece::Count(count, more)
        }));
    }
    pieces
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A word without punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|letter: char| letter.is_ascii_punctuation())
}

fn is_number(word: &str, most: usize) -> bool {
    !word.is_empty() && word.len() <= most && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `11:02`, `11:02:33`, `2026-11-25`, `2026-11-25T11:02:33Z`, `41m`, `1h30m`.
fn is_time(word: &str) -> bool {
    let clock = || word.contains(':') && word.split(':').all(|part| part.len() == 2 && is_number(part, 2));
    let date = || word.parse::<jiff::Timestamp>().is_ok() || (word.len() == 10 && word.parse::<jiff::civil::Date>().is_ok());
    let span = || {
        let mut units = word.split(|letter: char| letter.is_ascii_digit()).filter(|unit| !unit.is_empty());
        word.starts_with(|letter: char| letter.is_ascii_digit())
            && word.ends_with(|letter: char| letter.is_ascii_alphabetic())
            && units.all(|unit| matches!(unit, "w" | "d" | "h" | "m" | "s" | "ms"))
    };
    clock() || date() || span()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConditionName, Mode, PolicyId, Stop, Verdict};

    fn gate(unknown: &[(ConditionName, &str)]) -> Gate {
        let stop = |mode| Stop { environment: "dev".into(), mode };
        let condition = |name, state, reason: &str| Condition {
            name,
            state,
            value: None,
            limit: None,
            source: String::new(),
            evidence: Vec::new(),
            more_evidence: 0,
            reason: reason.to_owned(),
        };
        let mut conditions = vec![condition(ConditionName::Freeze, ConditionState::Met, "none")];
        conditions.extend(unknown.iter().map(|(name, reason)| condition(*name, ConditionState::Unknown, reason)));
        let policy = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "p".into() };
        let verdict = Verdict::of(&conditions);
        Gate {
            policy,
            from: Some(stop(Mode::Audit)),
            to: stop(Mode::Enforce),
            verdict,
            opens_at: None,
            conditions,
            disregarded: Vec::new(),
        }
    }

    #[test]
    fn it_holds_for_what_it_was_given_for_and_for_nothing_else() {
        use ConditionName::{Blocked, Fresh, Soak};
        let fresh = (Fresh, "no results yet");
        let given = Acknowledged::for_all(&gate(&[fresh, (Blocked, "not recorded 11:02 to 12:40")]), "nothing matches");
        let read = Acknowledged::read(&given.evidence(&gate(&[fresh, (Blocked, "not recorded 11:02 to 12:40")]))).unwrap();
        assert_eq!(read, given, "as the plan keeps it");
        for (now, news) in [
            (&[fresh][..], &[][..]),
            (&[], &[]),
            (&[(Blocked, "not recorded 11:02 to 13:05")], &[]),
            (&[(Fresh, "policyreports are denied")], &[Fresh]),
            (&[fresh, (Soak, "no results yet")], &[Soak]),
            (&[(Soak, "x"), (Fresh, "y"), (Blocked, "z")], &[Soak, Fresh, Blocked]),
        ] {
            let gate = gate(now);
            let found: Vec<ConditionName> = given.news(&gate).iter().map(|condition| condition.name).collect();
            assert_eq!(found, news, "{now:?}");
        }
        assert_eq!(given.names(), ["fresh", "blocked"]);
    }

    #[test]
    fn times_move_on_and_names_and_counts_do_not() {
        for (before, now, expected) in [
            ("not recorded Nov  9 11:02 to Nov 20 17:40 UTC", "not recorded Nov 9 11:02 to Nov 21 08:00 UTC", true),
            (
                "it began in the future (2026-11-25T12:00:00Z, annotation)",
                "it began in the future (2026-11-25T12:00:07Z, annotation)",
                true,
            ),
            ("dev is retrying: no answer for 41m", "dev is retrying: no answer for 2h", true),
            ("relies on 2, the next expires Nov 30", "relies on 2, the next expires Dec  1", true),
            ("stg1 cannot be read: it is retrying", "stg2 cannot be read: it is retrying", false),
            ("the expiry of team/ex-1 is no date: soon", "the expiry of team/ex-2 is no date: soon", false),
            ("the expiry of team/ex is no date: 2026-13-45", "the expiry of team/ex is no date: 2026-13-46", false),
            ("the revision is 1234567890ab now", "the revision is 1234567890ac now", false),
            ("connection refused: 10.0.0.1:6443", "connection refused: 10.0.0.2:6443", false),
            ("between 0 and 1 were refused", "between 0 and 5000 were refused", false),
            ("between 0 and 2 were refused", "between 0 and 1 were refused", true),
            ("3 skipped results were not looked at one by one", "4 skipped results were not looked at one by one", false),
            (
                "0 of 12 workloads were evaluated: all results are skipped",
                "0 of 14 workloads were evaluated: all results are skipped",
                true,
            ),
            (
                "not scanned (background: false): 5 workloads were evaluated",
                "not scanned (background: false): 6 workloads were evaluated",
                true,
            ),
            (
                "not scanned (background: false): 5 workloads were evaluated",
                "not scanned (background: false): 4 workloads were evaluated",
                false,
            ),
            ("staging lacks a", "staging lacks a and more", false),
        ] {
            assert_eq!(is_covered(before, now), expected, "{before} / {now}: {:?} {:?}", pieces(before), pieces(now));
            assert!(is_covered(now, now), "{now}");
        }
    }

    #[test]
    fn a_gate_without_an_acknowledgement_has_none() {
        let open = serde_json::to_value(gate(&[(ConditionName::Fresh, "x")])).unwrap();
        assert_eq!((Acknowledged::read(&open), Acknowledged::read(&Value::Null)), (None, None));
    }
}
