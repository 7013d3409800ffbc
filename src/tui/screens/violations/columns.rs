//! Where the matrix' columns stand, for a width and a number of environments.
//!
//! What lives here: arithmetic. What does not: what is written into the columns.

use super::board::Board;
use std::ops::Range;

/// Columns of the word of a mode, `not ready` being the longest.
pub(super) const WORD: usize = 9;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// Policy names.
    pub(super) policy: usize,
    /// Severity; 0 where there is no room for it.
    pub(super) severity: usize,
    /// Whether modes are words beside their shapes.
    pub(super) words: bool,
    /// Counts, right-aligned.
    pub(super) count: usize,
    /// Marks behind the count.
    pub(super) marks: usize,
    /// The environments that are in sight.
    pub(super) environments: Range<usize>,
}

impl Columns {
    /// Columns of one environment, with the gap behind it.
    pub(super) fn cell(&self) -> usize {
        cell(self.words, self.count, self.marks)
    }
}

fn cell(words: bool, count: usize, marks: usize) -> usize {
    1 + if words { 1 + WORD } else { 0 } + count + marks + 1
}

/// Lays out `width` columns (the cursor's own taken off already). `first` is the environment scrolled to, `wanted` the one that must be in
/// sight. Words go first when room is short, then the severity, then environments go out of sight.
pub(super) fn lay_out(width: usize, board: &Board, first: usize, wanted: Option<usize>) -> Columns {
    let all = board.environments.len();
    // The widest number, `~` before it, and a blank before that.
    let count = (board.widest_count + 2).max(5);
    // `⊘37` with its blank always has a place: the first refusal, or the first spec that differs, moves nothing.
    let marks = board.widest_marks.max(4);
    let names = board.widest_name.clamp(15, 60);
    let severity = if width >= 60 { 5 } else { 0 };
    let least = if width >= 60 { 20.min(names) } else { (width / 3).max(8) };
    // The gap behind the last column is not needed.
    let room = |policy: usize| (width + 1).saturating_sub(policy + 1 + severity);
    let fits = |policy: usize, words: bool| all * cell(words, count, marks) <= room(policy);
    // A few letters of the longest names are worth less than the words.
    let words = fits(names.min(24), true);
    let each = cell(words, count, marks);
    let shown = if fits(least, words) { all } else { (room(least) / each).max(1).min(all) };
    // What is left over goes to the names, as far as they need it.
    let policy = room(0).saturating_sub(shown * each).clamp(least.min(width), names.max(least));
    let mut first = first.min(all.saturating_sub(shown));
    if let Some(wanted) = wanted {
        first = first.clamp((wanted + 1).saturating_sub(shown), wanted);
    }
    Columns { policy, severity, words, count, marks, environments: first..(first + shown).min(all) }
}
