//! Which column is which time.
//!
//! What lives here: arithmetic. Columns lie on multiples of their own length, so that time going on moves no bar by a part of a column and what is drawn
//! stands still until a whole column has passed. What does not: what is drawn in them.

use crate::domain::history::Interval;
use jiff::Timestamp;

/// How much time is in sight: in words, and in seconds.
pub(in super::super) const ZOOMS: [(&str, i64); 8] = [
    ("1 hour", 3_600),
    ("6 hours", 21_600),
    ("1 day", 86_400),
    ("3 days", 259_200),
    ("7 days", 604_800),
    ("14 days", 1_209_600),
    ("30 days", 2_592_000),
    ("90 days", 7_776_000),
];

/// Two weeks: most soaks are a week.
pub(in super::super) const USUAL_ZOOM: usize = 5;

/// See the module. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Scale {
    first: i64,
    step: i64,
    columns: usize,
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn time(milliseconds: i64) -> Timestamp {
    let end = if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(milliseconds).unwrap_or(end)
}

impl Scale {
    /// The columns at a zoom of which the last one holds `last`. There is always one.
    pub(in super::super) fn ending(zoom: usize, columns: usize, last: Timestamp) -> Self {
        let columns = columns.max(1);
        let seconds = ZOOMS[zoom.min(ZOOMS.len() - 1)].1;
        let step = (seconds + signed(columns) - 1) / signed(columns) * 1_000;
        let end = (last.as_millisecond().div_euclid(step) + 1) * step;
        Self { first: end - step * signed(columns), step, columns }
    }

    /// The same length, moved by columns; later is more.
    pub(super) fn moved(self, columns: i64) -> Self {
        Self { first: self.first.saturating_add(self.step.saturating_mul(columns)), ..self }
    }

    /// The same, moved so that `at` lies in it, and no further than needed.
    pub(super) fn around(self, at: Timestamp) -> Self {
        let place = self.place(at);
        let last = signed(self.columns) - 1;
        self.moved(if place > last { place - last } else { place.min(0) })
    }

    pub(super) fn columns(self) -> usize {
        self.columns
    }

    pub(in super::super) fn window(self) -> Interval {
        Interval { from: time(self.first), to: time(self.first.saturating_add(self.step.saturating_mul(signed(self.columns)))) }
    }

    /// The column of a time, counted from the first one in sight, before it and behind the last one as well.
    pub(super) fn place(self, at: Timestamp) -> i64 {
        at.as_millisecond().saturating_sub(self.first).div_euclid(self.step)
    }

    /// The column of a time, if it is in sight.
    pub(super) fn column(self, at: Timestamp) -> Option<usize> {
        usize::try_from(self.place(at)).ok().filter(|column| *column < self.columns)
    }

    /// The time of a column; one that is out of sight has one, too.
    pub(super) fn part(self, column: i64) -> Interval {
        let edge = |column: i64| time(self.first.saturating_add(self.step.saturating_mul(column)));
        Interval { from: edge(column), to: edge(column.saturating_add(1)) }
    }

    /// The middle of a column: where a cursor stands that was moved there.
    pub(super) fn middle(self, column: i64) -> Timestamp {
        time(self.first.saturating_add(self.step.saturating_mul(column)).saturating_add(self.step / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn columns_stand_still_while_time_goes_on() {
        // An hour in 60 columns: a minute each, on whole minutes.
        let scale = Scale::ending(0, 60, at(7_201));
        assert_eq!((scale.window().from, scale.window().to), (at(3_660), at(7_260)));
        assert_eq!(scale, Scale::ending(0, 60, at(7_259)));
        assert_eq!(scale.moved(1), Scale::ending(0, 60, at(7_260)));
        for (second, column) in [(3_659, None), (3_660, Some(0)), (3_720, Some(1)), (7_259, Some(59)), (7_260, None)] {
            assert_eq!(scale.column(at(second)), column, "{second}");
        }
    }

    #[test]
    fn it_follows_a_time_no_further_than_needed() {
        let scale = Scale::ending(0, 60, at(7_201));
        for (second, from) in [(3_660, 3_660), (7_259, 3_660), (3_659, 3_600), (0, 0), (7_260, 3_720), (9_999, 6_420)] {
            assert_eq!(scale.around(at(second)).window().from, at(from), "{second}");
        }
    }

    proptest! {
        /// Every time in the window is in one column, whose part holds it; parts fill the window.
        #[test]
        fn parts_and_columns_agree(zoom in 0usize..8, columns in 0usize..300, last in 0i64..4_000_000_000, ahead in 0i64..10_000_000) {
            let scale = Scale::ending(zoom, columns, at(last));
            prop_assert!(scale.column(at(last)) == Some(scale.columns() - 1));
            let window = scale.window();
            prop_assert!(window.length().as_secs() >= ZOOMS[zoom].1);
            let some = at(last - ahead);
            let place = scale.place(some);
            prop_assert!(scale.part(place).holds(some));
            prop_assert_eq!(scale.column(some).is_some(), window.holds(some));
            prop_assert_eq!(scale.column(scale.middle(place)), scale.column(some));
            prop_assert!(scale.around(some).column(some).is_some());
            prop_assert_eq!(scale.part(0).from, window.from);
            prop_assert_eq!(scale.part(signed(scale.columns()) - 1).to, window.to);
        }

        /// Any time at all has a place.
        #[test]
        fn no_time_is_too_far(zoom in 0usize..8, columns in 0usize..300, second in -377_000_000_000i64..253_000_000_000) {
            let scale = Scale::ending(zoom, columns, at(second));
            let far = scale.around(Timestamp::MIN).around(Timestamp::MAX);
            prop_assert!(far.window().from <= far.window().to);
            let _ = (scale.middle(i64::MIN), scale.middle(i64::MAX), scale.place(Timestamp::MAX));
        }
    }
}
