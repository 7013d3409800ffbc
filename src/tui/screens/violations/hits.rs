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

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hits {
    areas: Vec<(u16, u16, u16, u16, Hit)>,
}

impl Hits {
    /// Forgets the last frame.
    pub(super) fn clear(&mut self) {
        self.areas.clear();
    }

    /// Notes that `hit` covers columns `left..right` of lines `top..bottom`.
    pub(super) fn add(&mut self, left: u16, top: u16, right: u16, bottom: u16, hit: Hit) {
        self.areas.push((left, top, right, bottom, hit));
    }

    /// What is at a position: the last that was noted wins.
    pub(super) fn at(&self, x: u16, y: u16) -> Option<&Hit> {
        let inside =
            |(left, top, right, bottom, _): &&(u16, u16, u16, u16, Hit)| (*left..*right).contains(&x) && (*top..*bottom).contains(&y);
        self.areas.iter().rev().find(inside).map(|(.., hit)| hit)
    }
}
