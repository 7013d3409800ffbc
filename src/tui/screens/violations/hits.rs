//! What was drawn where, for the mouse.

use super::board::SortBy;

/// Something that can be clicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hit {
    /// A heading: sorts by it.
    Heading(SortBy),
    /// A policy's name, by its place in the order.
    Policy(usize),
    /// A cell: place, environment.
    Cell(usize, usize),
    /// A line of the lower pane, by its place.
    Line(usize),
    /// The matrix, wherever nothing more special is.
    Matrix,
    /// The lower pane, wherever nothing more special is.
    Lower,
}

/// What was drawn last.
pub(super) type Hits = crate::tui::screens::lists::Hits<Hit>;
