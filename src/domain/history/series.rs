//! Numbers over time, in as many buckets as there is room for.

use super::{Interval, within};
use crate::domain::Tally;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Findings of a policy, from `at` until the next sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When they became so; of a sample that sums up a time, its beginning.
    pub at: Timestamp,
    /// The time that it sums up; zero for one that came as it is.
    pub span: SignedDuration,
    /// Fewest failures and errors in that time.
    pub low: u64,
    /// Most.
    pub high: u64,
    /// What it was at its end.
    pub last: Tally,
}

impl Sample {
    /// A sample as it came.
    pub fn raw(at: Timestamp, tally: Tally) -> Self {
        Self { at, span: SignedDuration::ZERO, low: tally.faults(), high: tally.faults(), last: tally }
    }

    /// One sample for two of the same time, `later` being the later one.
    #[must_use]
    pub fn join(self, later: Self) -> Self {
        Self { low: self.low.min(later.low), high: self.high.max(later.high), last: later.last, ..self }
    }
}

/// Failures and errors in a bucket of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Fewest.
    pub low: u64,
    /// Most: a violation that came and went in between is in it.
    pub high: u64,
    /// At its end.
    pub last: u64,
}

/// Numbers of a window, in equal buckets; `None` where nobody watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Series {
    /// Failures and errors.
    pub violations: Vec<Option<Range>>,
    /// Refused admissions.
    pub blocked: Vec<Option<u64>>,
}

/// The bucket `index` of `width` equal ones.
pub(super) fn bucket(window: Interval, index: usize, width: usize) -> Interval {
    let edge = |index: usize| {
        let length = i128::from(window.length().as_secs()) * 1_000 + i128::from(window.length().subsec_millis());
        let offset = length * index as i128 / width.max(1) as i128;
        let offset = SignedDuration::from_millis(i64::try_from(offset).unwrap_or(i64::MAX));
        window.from.checked_add(offset).unwrap_or(window.to)
    };
    Interval { from: edge(index), to: if index + 1 == width { window.to } else { edge(index + 1) } }
}

/// Violations in `width` buckets. `samples` are in order and begin with the last one before the window, where there is one; `covered` is when
/// reports were watched.
pub fn violation_series(samples: &[Sample], covered: &[Interval], window: Interval, width: usize) -> Vec<Option<Range>> {
    let mut next = 0;
    // What held when the bucket began.
    let mut held: Option<u64> = None;
    let mut out = Vec::with_capacity(width);
    for index in 0..width {
        let bucket = bucket(window, index, width);
        while let Some(sample) = samples.get(next).filter(|sample| ends(sample) <= bucket.from && sample.at < bucket.from) {
            held = Some(sample.last.faults());
            next += 1;
        }
        let mut range = held.map(|value| Range { low: value, high: value, last: value });
        for sample in samples[next..].iter().take_while(|sample| sample.at < bucket.to) {
            // A sample that sits on the edge leaves nothing of what was before.
            let fresh = sample.at <= bucket.from && sample.span.is_zero();
            let last = if ends(sample) <= bucket.to { sample.last.faults() } else { range.map_or(sample.high, |range| range.last) };
            range = Some(match range {
                Some(range) if !fresh => Range { low: range.low.min(sample.low), high: range.high.max(sample.high), last },
                _ => Range { low: sample.low, high: sample.high, last },
            });
        }
        let watched = within(covered, bucket).is_positive();
        out.push(range.filter(|_| watched));
    }
    out
}

fn ends(sample: &Sample) -> Timestamp {
    sample.at.checked_add(sample.span).unwrap_or(sample.at)
}

/// Refused admissions in `width` buckets, from `(when, how many)`. Nothing is known of buckets in which nobody watched and nothing was told
/// of afterwards.
pub fn blocked_series(counts: &[(Timestamp, u64)], covered: &[Interval], window: Interval, width: usize) -> Vec<Option<u64>> {
    let sum = |bucket: Interval| {
        let inside = counts.iter().filter(|(at, _)| bucket.holds(*at)).fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        (inside > 0 || within(covered, bucket).is_positive()).then_some(inside)
    };
    (0..width).map(|index| sum(bucket(window, index, width))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::made::{at, of};
    use proptest::prelude::*;

    fn raw(second: i64, fail: u64) -> Sample {
        Sample::raw(at(second), Tally { fail, ..Tally::default() })
    }

    fn words(samples: &[Sample], covered: &[Interval]) -> Vec<String> {
        let series = violation_series(samples, covered, of(0, 40), 4);
        series.iter().map(|range| range.map_or("?".into(), |r| format!("{}-{} {}", r.low, r.high, r.last))).collect()
    }

    #[test]
    fn a_value_holds_until_the_next_one() {
        let all = [of(0, 40)];
        assert_eq!(words(&[raw(-5, 3)], &all), ["3-3 3", "3-3 3", "3-3 3", "3-3 3"]);
        assert_eq!(words(&[raw(-5, 3), raw(12, 0)], &all), ["3-3 3", "0-3 0", "0-0 0", "0-0 0"]);
        assert_eq!(words(&[raw(-5, 3), raw(10, 0)], &all), ["3-3 3", "0-0 0", "0-0 0", "0-0 0"]);
        // A violation in between is not lost.
        assert_eq!(words(&[raw(-5, 0), raw(12, 7), raw(13, 0)], &all), ["0-0 0", "0-7 0", "0-0 0", "0-0 0"]);
        assert_eq!(words(&[raw(25, 2)], &all), ["?", "?", "2-2 2", "2-2 2"], "nothing is known before the first");
        assert_eq!(words(&[raw(-5, 3)], &[of(12, 15)]), ["?", "3-3 3", "?", "?"]);
    }

    #[test]
    fn a_sum_counts_for_all_of_its_time() {
        let sum = Sample { span: SignedDuration::from_secs(20), low: 0, high: 9, ..raw(0, 1) };
        assert_eq!(words(&[sum], &[of(0, 40)]), ["0-9 9", "0-9 1", "1-1 1", "1-1 1"]);
    }

    #[test]
    fn refusals_are_counted_where_they_happened() {
        let counts = [(at(5), 2), (at(9), 1), (at(35), 4)];
        assert_eq!(blocked_series(&counts, &[of(0, 15)], of(0, 40), 4), [Some(3), Some(0), None, Some(4)]);
    }

    proptest! {
        /// The series says what a look at every second says.
        #[test]
        fn buckets_equal_a_recount(values in prop::collection::vec((0i64..40, 0u64..5), 0..20), width in 1usize..9) {
            let mut values = values;
            values.sort_unstable();
            values.dedup_by_key(|(second, _)| *second);
            let samples: Vec<Sample> = values.iter().map(|(second, fail)| raw(*second, *fail)).collect();
            let series = violation_series(&samples, &[of(0, 40)], of(0, 40), width);
            for (index, range) in series.iter().enumerate() {
                let bucket = bucket(of(0, 40), index, width);
                // Times are whole seconds, edges need not be.
                let begin = values.iter().rev().find(|(second, _)| at(*second) <= bucket.from).map(|(_, fail)| *fail);
                let inside = values.iter().filter(|(second, _)| bucket.from < at(*second) && at(*second) < bucket.to).map(|(_, fail)| *fail);
                let seen: Vec<u64> = begin.into_iter().chain(inside).collect();
                let expected = (!seen.is_empty()).then(|| Range {
                    low: *seen.iter().min().unwrap(), high: *seen.iter().max().unwrap(), last: seen[seen.len() - 1],
                });
                prop_assert_eq!(*range, expected);
            }
        }
    }
}
