//! Stretches of time, and what is missing between them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// From `from` up to, not including, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Interval {
    /// How long it is.
    pub fn length(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// Whether `at` lies in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// What of it lies in `window`; nothing if that is empty.
    pub fn clip(&self, window: Self) -> Option<Self> {
        let clipped = Self { from: self.from.max(window.from), to: self.to.min(window.to) };
        (clipped.from < clipped.to).then_some(clipped)
    }
}

/// The same time as disjoint intervals in order; those that touch or overlap become one, and empty ones go.
pub fn cover(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|interval| interval.from < interval.to);
    intervals.sort_unstable();
    let mut out: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match out.last_mut() {
            Some(last) if interval.from <= last.to => last.to = last.to.max(interval.to),
            _ => out.push(interval),
        }
    }
    out
}

/// What of `window` is in none of the intervals, which are as [`cover`] returns them.
pub fn gaps(covered: &[Interval], window: Interval) -> Vec<Interval> {
    let mut out = Vec::new();
    let mut from = window.from;
    for interval in covered.iter().filter_map(|interval| interval.clip(window)) {
        if from < interval.from {
            out.push(Interval { from, to: interval.from });
        }
        from = from.max(interval.to);
    }
    if from < window.to {
        out.push(Interval { from, to: window.to });
    }
    out
}

/// How much of `window` the intervals cover, which are as [`cover`] returns them.
pub fn within(covered: &[Interval], window: Interval) -> SignedDuration {
    let parts = covered.iter().filter_map(|interval| interval.clip(window));
    parts.fold(SignedDuration::ZERO, |sum, part| sum.saturating_add(part.length()))
}

/// Longest pause between two signs of life of a recorder that still runs, with room for a busy machine.
const PULSE: SignedDuration = SignedDuration::from_secs(30);

/// The intervals with those that end shortly before `now` going on to `now`: their recorder is just between two signs of life.
pub fn running(mut intervals: Vec<Interval>, now: Timestamp) -> Vec<Interval> {
    for interval in &mut intervals {
        if interval.to < now && now.duration_since(interval.to) <= PULSE {
            interval.to = now;
        }
    }
    cover(intervals)
}

/// How long API servers keep events unless told otherwise (kube-apiserver `--event-ttl`).
pub const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The intervals in which events were watched, with the time before each of them of which they told, too: who begins to look is given every event
/// that the server still keeps, which are those of the time `kept`.
pub fn told_afterwards(mut intervals: Vec<Interval>, kept: SignedDuration) -> Vec<Interval> {
    for interval in &mut intervals {
        interval.from = interval.from.checked_sub(kept).unwrap_or(Timestamp::MIN);
    }
    cover(intervals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::made::{at, of};
    use proptest::prelude::*;

    #[test]
    fn what_touches_becomes_one() {
        assert_eq!(cover(vec![of(5, 9), of(0, 3), of(3, 4), of(8, 12), of(7, 7)]), [of(0, 4), of(5, 12)]);
    }

    #[test]
    fn gaps_are_what_is_left() {
        for (covered, expected) in [
            (vec![], vec![of(0, 10)]),
            (vec![of(-5, 20)], vec![]),
            (vec![of(-5, 2), of(4, 6), of(9, 30)], vec![of(2, 4), of(6, 9)]),
            (vec![of(2, 10)], vec![of(0, 2)]),
            (vec![of(20, 30)], vec![of(0, 10)]),
        ] {
            assert_eq!(gaps(&covered, of(0, 10)), expected, "{covered:?}");
        }
    }

    #[test]
    fn a_recorder_between_two_signs_of_life_is_still_watching() {
        assert_eq!(running(vec![of(0, 90), of(0, 40)], at(100)), [of(0, 100)]);
        assert_eq!(running(vec![of(0, 60)], at(100)), [of(0, 60)]);
        assert_eq!(running(vec![of(0, 160)], at(100)), [of(0, 160)], "a clock that was set back takes nothing away");
    }

    #[test]
    fn events_are_told_of_for_an_hour() {
        let hour = EVENTS_KEPT.as_secs();
        assert_eq!(told_afterwards(vec![of(0, 10), of(hour + 9, hour + 20)], EVENTS_KEPT), [of(-hour, hour + 20)], "they lap over");
        assert_eq!(told_afterwards(vec![of(0, 10), of(hour + 50, hour + 50)], EVENTS_KEPT), [of(-hour, 10), of(50, hour + 50)]);
        let short = told_afterwards(vec![of(0, 10), of(500, 600)], SignedDuration::from_secs(300));
        assert_eq!(short, [of(-300, 10), of(200, 600)], "the cluster keeps them for five minutes");
    }

    proptest! {
        /// Second by second: covered, or in a gap, never both.
        #[test]
        fn cover_and_gaps_share_the_window(raw in prop::collection::vec((0i64..60, 0i64..20), 0..12)) {
            let intervals: Vec<Interval> = raw.iter().map(|(from, length)| of(*from, from + length)).collect();
            let covered = cover(intervals.clone());
            prop_assert!(covered.windows(2).all(|pair| pair[0].to < pair[1].from));
            let missing = gaps(&covered, of(0, 80));
            for second in 0..80 {
                let watched = intervals.iter().any(|interval| interval.holds(at(second)));
                prop_assert_eq!(watched, covered.iter().any(|interval| interval.holds(at(second))));
                prop_assert_eq!(watched, !missing.iter().any(|interval| interval.holds(at(second))));
            }
            let seconds = within(&covered, of(0, 80)).as_secs() + missing.iter().map(|gap| gap.length().as_secs()).sum::<i64>();
            prop_assert_eq!(seconds, 80);
        }
    }
}
