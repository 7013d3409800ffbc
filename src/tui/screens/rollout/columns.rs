//! Where the board's columns stand.
//!
//! What lives here: arithmetic. What does not: what is written into the columns.

use std::ops::Range;

/// Columns of `Nov 25 09:14`.
pub(super) const UNTIL: usize = 12;

/// What the columns have to hold.
pub(super) struct Needs {
    /// The longest name of a policy.
    pub(super) name: usize,
    /// The longest next step in words, and as environment, shape and letter.
    pub(super) next: [usize; 2],
    /// The names of the environments.
    pub(super) labels: Vec<usize>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) policy: usize,
    /// The environments in sight, and the columns of each with its gap.
    pub(super) environments: Range<usize>,
    pub(super) strip: Vec<usize>,
    /// Whether modes and verdicts are words beside their shapes.
    pub(super) words: bool,
    pub(super) next: usize,
    pub(super) verdict: usize,
    /// What it waits for, and until when.
    pub(super) rest: usize,
}

/// Columns of shape, letter and gap.
const SHORT: usize = 3;

/// Lays out `width` columns (the cursor's own taken off already); `first` is the environment scrolled to. Words go first when room is short, then the
/// names of the environments, then environments go out of sight.
pub(super) fn lay_out(width: usize, needs: &Needs, first: usize) -> Columns {
    let words = width >= 95;
    let (verdict, least_rest, most_names) = if words { (10, 34, 60) } else { (2, if width >= 60 { 22 } else { 8 }, 40) };
    let next = if words { needs.next[0].clamp(9, 26) } else { needs.next[1].clamp(9, 16) } + 1;
    let all = needs.labels.len();
    let wide: Vec<usize> = needs.labels.iter().map(|label| (*label).clamp(2, 14) + 1).collect();
    let left = |policy: usize| width.saturating_sub(policy + 1 + next + verdict + least_rest);
    let least = needs.name.clamp(8, if width >= 60 { 18 } else { 8 });
    let fits_wide = wide.iter().sum::<usize>() < left(needs.name.clamp(8, 44));
    let (environments, strip) = if fits_wide {
        (0..all, wide)
    } else {
        let shown = (left(least).saturating_sub(1) / SHORT).clamp(1, all.max(1)).min(all);
        let first = first.min(all - shown);
        (first..first + shown, vec![SHORT; shown])
    };
    let strip_columns = strip.iter().sum::<usize>() + 1;
    let policy = width.saturating_sub(1 + strip_columns + next + verdict + least_rest).clamp(least, needs.name.clamp(least, most_names));
    let rest = width.saturating_sub(policy + 1 + strip_columns + next + verdict);
    Columns { policy, environments, strip, words, next, verdict, rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_the_screen_and_names_of_environments_give_way_first() {
        let needs = |environments: usize| Needs { name: 31, next: [20, 13], labels: vec![10; environments] };
        for (width, environments, strip, words) in
            [(199, 4, 11, true), (119, 4, 3, true), (79, 4, 3, false), (119, 40, 3, true), (39, 4, 3, false)]
        {
            let columns = lay_out(width, &needs(environments), 0);
            assert_eq!((columns.strip[0], columns.words), (strip, words), "{width}");
            let used = columns.policy + 1 + columns.strip.iter().sum::<usize>() + 1 + columns.next + columns.verdict + columns.rest;
            assert!(used == width || (width < 60 && columns.rest == 0), "{width}: {columns:?}");
        }
        assert_eq!(lay_out(79, &needs(40), 39).environments.end, 40, "the last ones can be scrolled to");
    }
}
