//! A window in as many parts as there are columns to draw it in.

use super::series::bucket;
use super::{Interval, Span};
use jiff::{SignedDuration, Timestamp};

/// Of each of `width` equal parts of the window the span that holds longest in it, as far as it lies before `until` (the end of what is known);
/// `None` where no span does. Of two that hold equally long it is the later one.
pub fn columns(spans: &[Span], window: Interval, width: usize, until: Timestamp) -> Vec<Option<&Span>> {
    let longest = |index: usize| {
        let part = bucket(window, index, width);
        let part = Interval { to: part.to.min(until), ..part };
        let inside =
            |span: &Span| Interval { from: span.from, to: span.to }.clip(part).map_or(SignedDuration::ZERO, |inside| inside.length());
        let of_part = spans.iter().map(|span| (inside(span), span)).filter(|(length, _)| length.is_positive());
        of_part.max_by_key(|(length, _)| *length).map(|(_, span)| span)
    };
    (0..width).map(longest).collect()
}

/// How high a value stands among `levels` steps where `most` is the highest: 0 for nothing only, so that a single one of many is still seen.
pub fn level(value: u64, most: u64, levels: usize) -> usize {
    let highest = u128::try_from(levels).unwrap_or_default();
    let step = (u128::from(value) * highest).div_ceil(u128::from(most.max(1)));
    usize::try_from(step.min(highest)).unwrap_or(levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use crate::domain::history::SpanMode;
    use crate::domain::history::made::{at, of};

    fn span(from: i64, to: i64, mode: SpanMode) -> Span {
        Span { from: at(from), to: at(to), mode, inferred: false, revision: None }
    }

    #[test]
    fn each_part_shows_what_held_longest() {
        let (audit, enforce) = (SpanMode::Of(Mode::Audit), SpanMode::Of(Mode::Enforce));
        let spans = [span(0, 14, SpanMode::Unwatched), span(14, 35, audit), span(35, 100, enforce)];
        let words = |window: Interval, width, until| {
            let of = |span: Option<&Span>| span.map_or(' ', |span| span.mode.as_str().chars().next().unwrap_or(' '));
            columns(&spans, window, width, at(until)).into_iter().map(of).collect::<String>()
        };
        assert_eq!(words(of(0, 40), 4, 100), "uaae");
        assert_eq!(words(of(0, 40), 2, 100), "ua");
        // What has not come yet is no reason for what was not watched.
        assert_eq!(words(of(0, 40), 4, 33), "uaaa");
        assert_eq!(words(of(0, 40), 4, 30), "uaa ");
        assert_eq!(words(of(-20, 20), 4, 100), "  ua");
        assert_eq!(words(of(0, 40), 0, 100), "");
    }

    #[test]
    fn one_of_many_is_still_seen() {
        for (value, most, expected) in [(0, 9, 0), (1, 1_000_000, 1), (9, 9, 8), (5, 10, 4), (0, 0, 0), (7, 0, 8), (u64::MAX, u64::MAX, 8)]
        {
            assert_eq!(level(value, most, 8), expected, "{value} of {most}");
        }
    }
}
