//! What stands in each column: what a policy did, how many violations there were, what happened.
//!
//! What lives here: records as columns of a scale. What does not: shapes and colours.

use super::scale::Scale;
use crate::domain::history::{Interval, Mark, MarkKind, Span, SpanMode, columns};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a policy did for most of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) mode: SpanMode,
    /// Nobody watched; the object told afterwards.
    pub(super) inferred: bool,
}

/// The columns of spans that are known until `until`; `None` where nothing was read (yet).
pub(super) fn bar(spans: &[Span], scale: Scale, until: Timestamp) -> Vec<Option<Cell>> {
    let cell = |span: &Span| Cell { mode: span.mode, inferred: span.inferred };
    columns(spans, scale.window(), scale.columns(), until).into_iter().map(|span| span.map(cell)).collect()
}

/// The highest of the values that reach into each column, of values in equal parts of `window`: while an answer is awaited, what is drawn was read for
/// other columns.
pub(super) fn highest(values: &[Option<u64>], window: Interval, scale: Scale) -> Vec<Option<u64>> {
    if window == scale.window() && values.len() == scale.columns() {
        return values.to_vec();
    }
    let (first, length) = (window.from.as_millisecond(), window.length().as_millis());
    let place = |at: Timestamp, up: bool| {
        let offset = i128::from(at.as_millisecond() - first) * values.len() as i128;
        let place = if up { offset + length - 1 } else { offset }.div_euclid(length.max(1));
        usize::try_from(place.max(0)).unwrap_or(usize::MAX).min(values.len())
    };
    let of = |column: i64| {
        let part = scale.part(column);
        values.get(place(part.from, false)..place(part.to, true)).and_then(|inside| inside.iter().flatten().max().copied())
    };
    (0..).take(scale.columns()).map(of).collect()
}

/// How grave a mark is: of several in one column the gravest is seen.
fn gravity(kind: MarkKind) -> u8 {
    match kind {
        MarkKind::Violations => 10,
        MarkKind::Demote => 9,
        MarkKind::Promote => 8,
        MarkKind::Deleted => 7,
        MarkKind::Created => 6,
        MarkKind::Exception => 5,
        MarkKind::Mode => 4,
        MarkKind::Revision => 3,
        MarkKind::Operation => 2,
        MarkKind::Ready => 1,
        MarkKind::Clean => 0,
    }
}

/// Columns with something in them: the gravest kind, and how many there are.
pub(super) fn marks(marks: &[Mark], scale: Scale) -> BTreeMap<usize, (MarkKind, usize)> {
    let mut out: BTreeMap<usize, (MarkKind, usize)> = BTreeMap::new();
    for mark in marks {
        let Some(column) = scale.column(mark.at) else { continue };
        let seen = out.entry(column).or_insert((mark.kind, 0));
        seen.1 += 1;
        if gravity(mark.kind) > gravity(seen.0) {
            seen.0 = mark.kind;
        }
    }
    out
}

/// The mark that a cursor at `at` means: the gravest in its column, else the nearest in time (the earlier one of two).
pub(super) fn meant(marks: &[Mark], scale: Scale, at: Timestamp) -> Option<usize> {
    let column = scale.place(at);
    let distance = |mark: &Mark| mark.at.duration_since(at).abs();
    let numbered = || marks.iter().enumerate();
    let in_column = numbered().filter(|(_, mark)| scale.place(mark.at) == column);
    in_column
        .max_by_key(|(_, mark)| (gravity(mark.kind), std::cmp::Reverse(distance(mark))))
        .or_else(|| numbered().min_by_key(|(_, mark)| distance(mark)))
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn mark(second: i64, kind: MarkKind) -> Mark {
        Mark::new(at(second), kind, String::new())
    }

    /// An hour in sixty columns, from second 0.
    fn hour() -> Scale {
        Scale::ending(0, 60, at(3_599))
    }

    #[test]
    fn what_was_not_read_is_blank() {
        let span = |from, to, mode| Span { from: at(from), to: at(to), mode, inferred: false, revision: None };
        let spans = [span(600, 1_210, SpanMode::Unwatched), span(1_210, 3_600, SpanMode::Of(Mode::Audit))];
        let bar = bar(&spans, hour(), at(3_000));
        assert_eq!((bar[9], bar[10].map(|cell| cell.mode)), (None, Some(SpanMode::Unwatched)));
        assert_eq!(bar[20].map(|cell| cell.mode), Some(SpanMode::Of(Mode::Audit)));
        assert_eq!((bar[49].is_some(), bar[50]), (true, None), "the future is blank");
    }

    #[test]
    fn values_of_other_columns_are_not_lost() {
        let half = Interval { from: at(0), to: at(1_800) };
        let values = vec![Some(1), None, Some(7), Some(0)];
        let over = highest(&values, half, hour());
        assert_eq!((over[0], over[8], over[15], over[29], over[30]), (Some(1), None, Some(7), Some(0), None));
        let narrow = Scale::ending(0, 4, at(3_599));
        assert_eq!(highest(&values, half, narrow), [Some(1), Some(7), None, None]);
    }

    #[test]
    fn of_many_marks_the_gravest_is_seen_and_opened() {
        let list = [mark(61, MarkKind::Created), mark(70, MarkKind::Violations), mark(75, MarkKind::Clean), mark(900, MarkKind::Exception)];
        let columns = marks(&list, hour());
        assert_eq!(columns.into_iter().collect::<Vec<_>>(), [(1, (MarkKind::Violations, 3)), (15, (MarkKind::Exception, 1))]);
        for (second, expected) in [(119, Some(1)), (120, Some(2)), (700, Some(3)), (0, Some(0)), (9_999, Some(3))] {
            assert_eq!(meant(&list, hour(), at(second)), expected, "{second}");
        }
        assert_eq!(meant(&[], hour(), at(0)), None);
    }

    proptest! {
        /// Whatever columns values were read for, the highest of all that is in sight is seen.
        #[test]
        fn nothing_high_is_lost(values in prop::collection::vec(prop::option::of(0u64..9), 0..80), columns in 1usize..90, from in -4_000i64..4_000, length in 1i64..9_000) {
            let scale = Scale::ending(0, columns, at(3_599));
            let window = Interval { from: at(from), to: at(from + length) };
            let drawn = highest(&values, window, scale);
            prop_assert_eq!(drawn.len(), columns);
            let inside = scale.window().from <= window.from && window.to <= scale.window().to;
            if inside {
                prop_assert_eq!(drawn.iter().flatten().max(), values.iter().flatten().max());
            }
        }
    }
}
