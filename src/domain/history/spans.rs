//! What a policy did from when to when: changes and coverage become spans without holes.

use super::{Change, Interval, PolicyState, cover};
use crate::domain::{Mode, Revision};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// What is known of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanMode {
    /// The policy did this.
    Of(Mode),
    /// Nobody watched, and nothing tells.
    Unwatched,
}

impl SpanMode {
    /// The word used on screens and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Of(mode) => mode.as_str(),
            Self::Unwatched => "unwatched",
        }
    }
}

impl Serialize for SpanMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A stretch of time in which a policy did one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// What the policy did.
    pub mode: SpanMode,
    /// Nobody watched; the object itself told afterwards since when it was so.
    pub inferred: bool,
    /// What it said.
    pub revision: Option<Revision>,
}

/// The spans of a window, in order, without holes.
///
/// `changes` are in order. Where somebody watched (`covered`), the last change before tells the mode; before the first one the policy was
/// absent. Where nobody watched nothing is known, with one exception: from a time that the object tells until somebody watched again.
pub fn spans(changes: &[Change], covered: &[Interval], window: Interval) -> Vec<Span> {
    let covered = cover(covered.to_vec());
    let mut edges: Vec<Timestamp> = vec![window.from];
    edges.extend(changes.iter().map(|change| change.at));
    edges.extend(covered.iter().flat_map(|interval| [interval.from, interval.to]));
    edges.push(window.to);
    edges.retain(|edge| window.from <= *edge && *edge <= window.to);
    edges.sort_unstable();
    edges.dedup();
    let mut out: Vec<Span> = Vec::new();
    for pair in edges.windows(2) {
        let (mode, inferred, revision) = piece(changes, &covered, pair[0]);
        match out.last_mut() {
            Some(last) if last.mode == mode && last.inferred == inferred && last.revision == revision => last.to = pair[1],
            _ => out.push(Span { from: pair[0], to: pair[1], mode, inferred, revision }),
        }
    }
    out
}

/// What is known of the piece that begins at `at`; no edge lies in it.
fn piece(changes: &[Change], covered: &[Interval], at: Timestamp) -> (SpanMode, bool, Option<Revision>) {
    let governing = changes[..changes.partition_point(|change| change.at <= at)].last();
    // Covered intervals are disjoint and in order: only the last that began can hold `at`.
    let begun = covered[..covered.partition_point(|interval| interval.from <= at)].last();
    if begun.is_some_and(|interval| interval.holds(at)) {
        let state = governing.map_or(&PolicyState::ABSENT, |change| &change.state);
        return (SpanMode::Of(state.mode), false, state.revision.clone());
    }
    match governing {
        Some(change) if change.source.is_inferred() && begun.is_none_or(|interval| interval.to <= change.at) => {
            (SpanMode::Of(change.state.mode), true, change.state.revision.clone())
        }
        _ => (SpanMode::Unwatched, false, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::made::{at, of};
    use crate::domain::history::{ChangeSource, Made};
    use proptest::prelude::*;

    fn change(second: i64, mode: Mode, source: ChangeSource) -> Change {
        let revision = (mode != Mode::Absent).then(|| Revision("r1".into()));
        Change { at: at(second), state: PolicyState { mode, ready: Some(true), revision, made: Made::UNKNOWN }, actor: None, source }
    }

    fn words(changes: &[Change], covered: &[Interval]) -> String {
        let spans = spans(changes, covered, of(0, 100));
        let word = |span: &Span| {
            let sure = if span.inferred { "?" } else { "" };
            format!("{}-{} {}{sure}", span.from.as_second(), span.to.as_second(), span.mode.as_str())
        };
        spans.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn changes_and_coverage_become_spans() {
        use ChangeSource::{Found, ManagedFields, Seen};
        let cases: [(&[Change], &[Interval], &str); 9] = [
            (&[], &[], "0-100 unwatched"),
            (&[], &[of(20, 60)], "0-20 unwatched, 20-60 absent, 60-100 unwatched"),
            (&[change(30, Mode::Audit, Seen)], &[of(20, 100)], "0-20 unwatched, 20-30 absent, 30-100 audit"),
            (&[change(20, Mode::Audit, Found)], &[of(20, 100)], "0-20 unwatched, 20-100 audit"),
            (&[change(5, Mode::Audit, ManagedFields)], &[of(20, 100)], "0-5 unwatched, 5-20 audit?, 20-100 audit"),
            (&[change(-5, Mode::Audit, ManagedFields)], &[of(20, 100)], "0-20 audit?, 20-100 audit"),
            // A gap stays one, although it was audit before and after.
            (&[change(-5, Mode::Audit, Seen)], &[of(0, 20), of(40, 100)], "0-20 audit, 20-40 unwatched, 40-100 audit"),
            // What happened in a gap, as the object tells afterwards.
            (
                &[change(-5, Mode::Audit, Seen), change(30, Mode::Enforce, ManagedFields)],
                &[of(0, 20), of(40, 60)],
                "0-20 audit, 20-30 unwatched, 30-40 enforce?, 40-60 enforce, 60-100 unwatched",
            ),
            (
                &[change(10, Mode::Audit, Seen), change(30, Mode::Enforce, Seen), change(60, Mode::Absent, Seen)],
                &[of(0, 100)],
                "0-10 absent, 10-30 audit, 30-60 enforce, 60-100 absent",
            ),
        ];
        for (changes, covered, expected) in cases {
            assert_eq!(words(changes, covered), expected);
        }
    }

    proptest! {
        /// No holes, no overlaps, no two alike in a row; nothing is claimed that nobody watched.
        #[test]
        fn spans_fill_the_window(times in prop::collection::vec((0i64..100, 0usize..3), 0..8), raw in prop::collection::vec((0i64..100, 0i64..30), 0..5)) {
            let mut times = times;
            times.sort_unstable();
            let modes = [Mode::Audit, Mode::Enforce, Mode::Absent];
            let changes: Vec<Change> = times.iter().map(|(second, mode)| change(*second, modes[*mode], ChangeSource::Seen)).collect();
            let covered: Vec<Interval> = raw.iter().map(|(from, length)| of(*from, from + length)).collect();
            let spans = spans(&changes, &covered, of(0, 100));
            prop_assert_eq!(spans[0].from, at(0));
            prop_assert_eq!(spans[spans.len() - 1].to, at(100));
            prop_assert!(spans.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].mode != pair[1].mode || pair[0].revision != pair[1].revision));
            for second in 0..100 {
                let span = spans.iter().find(|span| span.from <= at(second) && at(second) < span.to).unwrap();
                let watched = covered.iter().any(|interval| interval.holds(at(second)));
                prop_assert_eq!(watched, span.mode != SpanMode::Unwatched);
            }
        }
    }
}
