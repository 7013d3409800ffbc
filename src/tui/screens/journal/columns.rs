//! Where the list's columns stand.
//!
//! What lives here: arithmetic. What does not: what is written into the columns. A column without width is not shown.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    /// Blanks between two of them.
    pub(super) gap: usize,
    pub(super) time: usize,
    pub(super) who: usize,
    pub(super) host: usize,
    pub(super) verb: usize,
    pub(super) policy: usize,
    pub(super) environment: usize,
    pub(super) result: usize,
    pub(super) change: usize,
    pub(super) ticket: usize,
    pub(super) plan: usize,
    /// Why; what is left.
    pub(super) why: usize,
}

/// Columns of `Nov 25 09:14:07`, and without seconds.
pub(super) const TIMES: [usize; 2] = [15, 12];
/// A result as shape and word, and as a shape alone.
const RESULTS: [usize; 2] = [11, 1];
const LONGEST_POLICY: usize = 36;

/// Lays out `width` columns, what stands before the first one taken off already; `label` is the longest name of an environment. Why, plan, ticket and host
/// go first when room is short, then what changed, the seconds, who did it, and at last the word for what became of it.
pub(super) fn lay_out(width: usize, label: usize) -> Columns {
    let wide = width >= 150;
    let (gap, time, who, host, result) = match width {
        150.. => (2, TIMES[0], 16, 14, RESULTS[0]),
        100.. => (2, TIMES[0], 12, 0, RESULTS[0]),
        70.. => (1, TIMES[1], 10, 0, RESULTS[0]),
        46.. => (1, TIMES[1], 0, 0, RESULTS[1]),
        _ => (1, 0, 0, 0, RESULTS[1]),
    };
    let environment = match width {
        70.. => label.clamp(11, 14),
        30.. => label.clamp(4, 10),
        _ => 4,
    };
    let (ticket, plan) = if wide { (12, 12) } else { (0, 0) };
    let mut columns = Columns { gap, time, who, host, verb: 8, policy: 0, environment, result, change: 0, ticket, plan, why: 0 };
    let mut left = width.saturating_sub(columns.used() + gap);
    if width >= 118 && left >= 24 + gap + 16 {
        columns.change = 16;
        left -= gap + 16;
    }
    columns.policy = left.min(if wide { LONGEST_POLICY } else { usize::MAX });
    left -= columns.policy;
    if left >= gap + 12 {
        columns.why = left - gap;
    }
    columns
}

impl Columns {
    /// Columns in use, the gaps between them with them.
    fn used(&self) -> usize {
        let all = [
            self.time,
            self.who,
            self.host,
            self.verb,
            self.policy,
            self.environment,
            self.result,
            self.change,
            self.ticket,
            self.plan,
            self.why,
        ];
        let shown = all.iter().filter(|columns| **columns > 0);
        (shown.clone().sum::<usize>() + shown.count() * self.gap).saturating_sub(self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_the_screen_and_what_matters_least_goes_first() {
        for (width, who, seconds, change, plan, why) in [
            (198, true, true, true, true, true),
            (150, true, true, false, true, false),
            (118, true, true, true, false, false),
            (100, true, true, false, false, false),
            (78, true, false, false, false, false),
            (50, false, false, false, false, false),
        ] {
            let columns = lay_out(width, 10);
            let shown = (columns.who > 0, columns.time == TIMES[0], columns.change > 0, columns.plan > 0, columns.why > 0);
            assert_eq!(shown, (who, seconds, change, plan, why), "{width}: {columns:?}");
        }
        for width in 0..300 {
            let columns = lay_out(width, 99);
            assert!(columns.used() <= width.max(20), "{width}: {columns:?}");
            assert!(width < 78 || columns.policy >= 18, "{width}: {columns:?}");
        }
    }
}
