//! Moments and intervals for tests, by the second.

use super::Interval;
use jiff::Timestamp;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn of(from: i64, to: i64) -> Interval {
    Interval { from: at(from), to: at(to) }
}
