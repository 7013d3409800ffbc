//! How a timeline shares the screen with the gate below it.
//!
//! What lives here: arithmetic. What stands where depends on the size and on how many rows there are, not on what is selected, so that nothing jumps.

use ratatui::layout::Rect;

/// From this height on the gate is always there; below, it opens over the whole screen.
const SPLIT_FROM: u16 = 17;
/// From this width on the gate stands beside the rows where there is no height for it below them.
const BESIDE_FROM: u16 = 160;
/// Below this height there is not.
const BELOW_FROM: u16 = 26;
/// Headline and some conditions: the others can be scrolled to.
const LEAST_GATE: u16 = 5;
/// Headline and all nine conditions.
const GATE: u16 = 10;
/// No gate needs more.
const MOST_GATE: u16 = 18;

/// The parts, from top to bottom; those for which there is no room are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) title: Rect,
    pub(super) axis: Rect,
    pub(super) lanes: Rect,
    pub(super) legend: Rect,
    /// What is under the cursor, and what happened.
    pub(super) moments: Rect,
    pub(super) gate: Rect,
    /// Whether there is room for a blank line between rows.
    pub(super) spaced: bool,
}

/// What has to be shared out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Rows, and the lines of all of them.
    pub(super) lanes: u16,
    pub(super) lines: u16,
    /// Lines of the gate; `None` where there is none to show.
    pub(super) gate: Option<u16>,
}

pub(super) fn divide(area: Rect, needs: Needs) -> Parts {
    let none = Rect { height: 0, ..area };
    let gate = needs.gate.filter(|_| area.height >= SPLIT_FROM || area.width >= BESIDE_FROM);
    let (area, beside) = match gate {
        Some(_) if area.width >= BESIDE_FROM && area.height < BELOW_FROM => {
            let left = area.width * 3 / 5;
            let right = Rect { x: area.x + left + 1, width: area.width - left - 1, ..area };
            (Rect { width: left, ..area }, Some(right))
        }
        _ => (area, None),
    };
    let below = gate.filter(|_| beside.is_none());
    let has = |least: u16, lines: u16| if area.height >= least { lines } else { 0 };
    let (axis, title, legend) = (has(3, 1), has(6, 1), has(12, 1));
    let mut moments = has(5, 1) + has(9, 1);
    let mut left = area.height - axis - title - legend - moments;
    let mut lanes = needs.lines.min(left.saturating_sub(below.map_or(0, |_| LEAST_GATE))).max(1).min(left);
    left -= lanes;
    let gate = below.map_or(0, |needed| needed.clamp(GATE, MOST_GATE).min(left));
    left -= gate;
    let gaps = needs.lanes.saturating_sub(1);
    let spaced = lanes == needs.lines && left >= gaps + 4;
    if spaced {
        lanes += gaps;
        left -= gaps;
    }
    moments += left;
    let mut y = area.y;
    let mut line = |height: u16| {
        let part = Rect { y, height, ..area };
        y += height;
        part
    };
    let parts = Parts {
        title: line(title),
        axis: line(axis),
        lanes: line(lanes),
        legend: line(legend),
        moments: line(moments),
        gate: line(gate),
        spaced,
    };
    Parts { gate: beside.or(Some(parts.gate).filter(|_| gate > 0)).unwrap_or(none), ..parts }
}

/// Columns of a row: a sign of selection, the name, the time itself, and how it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) label: usize,
    pub(super) bar: usize,
    pub(super) now: usize,
}

/// `label` is the longest name.
pub(super) fn columns(width: u16, label: usize) -> Columns {
    let wide = usize::from(width);
    // `violations` stands below each name.
    let label = label.clamp(10, if wide >= 100 { 20 } else { 12 });
    let now = if wide >= 70 { 13 } else { 7 };
    Columns { label, bar: wide.saturating_sub(1 + label + 1 + 1 + now).max(1), now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heights(width: u16, height: u16, lines: u16, gate: Option<u16>) -> (u16, u16, u16, bool) {
        let parts = divide(Rect::new(0, 0, width, height), Needs { lanes: 4, lines, gate });
        (parts.lanes.height, parts.moments.height, parts.gate.height, parts.spaced)
    }

    #[test]
    fn the_rows_come_first_then_the_gate_then_what_happened() {
        for ((width, height, lines, gate), expected) in [
            // 80x24, 120x40 and 200x60 without the frame.
            ((80, 20, 8, Some(12)), (8, 2, 7, false)),
            ((80, 20, 12, Some(12)), (10, 2, 5, false)),
            ((120, 36, 9, Some(11)), (12, 10, 11, true)),
            ((200, 56, 9, Some(10)), (12, 31, 10, true)),
            // Beside the rows: no height is lost to it.
            ((200, 20, 9, Some(9)), (9, 8, 20, false)),
            ((40, 8, 8, Some(9)), (5, 1, 0, false)),
            ((80, 20, 8, None), (11, 6, 0, true)),
            ((80, 2, 8, Some(9)), (2, 0, 0, false)),
        ] {
            assert_eq!(heights(width, height, lines, gate), expected, "{width}x{height} {lines} {gate:?}");
        }
    }

    proptest! {
        /// Parts lie within the area, one below the other, and leave nothing out.
        #[test]
        fn parts_fill_the_area(width in 0u16..300, height in 0u16..100, lanes in 0u16..60, each in 1u16..4, gate in prop::option::of(0u16..40)) {
            let area = Rect::new(3, 2, width, height);
            let parts = divide(area, Needs { lanes, lines: lanes * each, gate });
            let column = [parts.title, parts.axis, parts.lanes, parts.legend, parts.moments];
            let mut y = area.y;
            for part in column {
                prop_assert_eq!(part.y, y);
                y = part.bottom();
                prop_assert_eq!(part.intersection(area).height, part.height);
            }
            let below = parts.gate.x == area.x;
            prop_assert_eq!(y + if below { parts.gate.height } else { 0 }, area.bottom());
            prop_assert!(parts.gate.right() <= area.right() && parts.gate.bottom() <= area.bottom());
            let columns = columns(width, 11);
            prop_assert!(columns.bar >= 1);
        }
    }
}
