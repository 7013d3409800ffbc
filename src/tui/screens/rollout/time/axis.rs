//! What is written along the axis: days and hours where the person is, and the time under the cursor.
//!
//! What lives here: which labels there are and where they begin; none touches another. What does not: drawing.

use super::scale::Scale;
use crate::domain::history::Interval;
use crate::tui::text::width;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Between two labels of which the first ends where the second begins, they could not be told apart.
const GAP: usize = 2;
/// Columns of `Nov 18`, the longest label of an hour or a day.
const LONGEST: usize = 6;

/// A text that begins at a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) column: usize,
    pub(super) text: String,
    pub(super) is_cursor: bool,
}

impl Label {
    fn end(&self) -> usize {
        self.column + width(&self.text)
    }

    fn touches(&self, other: &Self) -> bool {
        self.column < other.end() + GAP && other.column < self.end() + GAP
    }
}

/// How far labels are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Minutes(i64),
    Days(i64),
}

const UNITS: [Unit; 16] = [
    Unit::Minutes(1),
    Unit::Minutes(2),
    Unit::Minutes(5),
    Unit::Minutes(10),
    Unit::Minutes(15),
    Unit::Minutes(30),
    Unit::Minutes(60),
    Unit::Minutes(120),
    Unit::Minutes(180),
    Unit::Minutes(360),
    Unit::Minutes(720),
    Unit::Days(1),
    Unit::Days(2),
    Unit::Days(7),
    Unit::Days(14),
    Unit::Days(28),
];

impl Unit {
    fn seconds(self) -> i64 {
        match self {
            Self::Minutes(minutes) => minutes * 60,
            Self::Days(days) => days * 86_400,
        }
    }
}

/// The labels from left to right: of the cursor, and as many dates and hours as have room beside it. `pointer` is one column.
pub(super) fn labels(scale: Scale, zone: &TimeZone, cursor: Option<(usize, &str)>, pointer: &str) -> Vec<Label> {
    let mut out: Vec<Label> = cursor.map(|(column, text)| at_cursor(column, text, pointer, scale.columns())).into_iter().collect();
    let part = scale.part(0).length().as_secs().max(1);
    let least = i64::try_from(LONGEST + GAP).unwrap_or(i64::MAX).saturating_mul(part);
    let unit = UNITS.into_iter().find(|unit| unit.seconds() >= least).unwrap_or(Unit::Days(28));
    for (at, text) in ticks(scale.window(), unit, zone) {
        let Some(column) = scale.column(at) else { continue };
        let label = Label { column, text, is_cursor: false };
        if label.end() <= scale.columns() && out.iter().all(|other| !label.touches(other)) {
            out.push(label);
        }
    }
    out.sort_by_key(|label| label.column);
    out
}

/// The pointer stands in the cursor's column, its time where there is room for it.
fn at_cursor(column: usize, text: &str, pointer: &str, columns: usize) -> Label {
    let wide = width(text);
    let label = |column, text| Label { column, text, is_cursor: true };
    if column + 1 + wide <= columns {
        label(column, format!("{pointer}{text}"))
    } else if let Some(start) = column.checked_sub(wide) {
        label(start, format!("{text}{pointer}"))
    } else {
        label(column, pointer.to_owned())
    }
}

/// Whole minutes, hours or days of the window, where the person is.
fn ticks(window: Interval, unit: Unit, zone: &TimeZone) -> Vec<(Timestamp, String)> {
    let mut out = Vec::new();
    let first = window.from.to_zoned(zone.clone());
    let mut day = first.start_of_day().ok();
    while let Some(midnight) = day.filter(|midnight| midnight.timestamp() < window.to) {
        let next = midnight.tomorrow().and_then(|next| next.start_of_day()).ok();
        match unit {
            Unit::Days(days) if number(midnight.date()).rem_euclid(days) == 0 => out.push((midnight.timestamp(), date(&midnight))),
            Unit::Days(_) => {}
            Unit::Minutes(minutes) => out.extend(within_day(&midnight, next.as_ref(), minutes, window)),
        }
        day = next;
    }
    out.retain(|(at, _)| window.holds(*at));
    out
}

fn within_day(midnight: &Zoned, next: Option<&Zoned>, minutes: i64, window: Interval) -> Vec<(Timestamp, String)> {
    let end = next.map_or(window.to, Zoned::timestamp).min(window.to);
    let step = SignedDuration::from_secs(minutes * 60);
    // A day begins many labels before the window when that is an hour long.
    let ahead = window.from.duration_since(midnight.timestamp()).as_secs().max(0) / step.as_secs().max(1);
    let start = midnight.timestamp().checked_add(SignedDuration::from_secs(ahead * step.as_secs()));
    let mut out = Vec::new();
    let mut at = start.ok();
    while let Some(now) = at.filter(|at| *at < end) {
        let there = now.to_zoned(midnight.time_zone().clone());
        let text = if there.time() == Time::midnight() { date(&there) } else { there.strftime("%H:%M").to_string() };
        out.push((now, text));
        at = now.checked_add(step).ok();
    }
    out
}

/// Days since a Monday, so that weeks begin with one.
fn number(date: Date) -> i64 {
    let monday = Date::constant(1970, 1, 5);
    date.duration_since(monday).as_hours().div_euclid(24)
}

fn date(at: &Zoned) -> String {
    at.strftime("%b %d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn drawn(zoom: usize, columns: usize, last: &str, zone: &str, cursor: Option<(usize, &str)>) -> String {
        let scale = Scale::ending(zoom, columns, at(last));
        let mut line = String::new();
        for label in labels(scale, &TimeZone::get(zone).unwrap(), cursor, "v") {
            line.push_str(&" ".repeat(label.column - width(&line)));
            line.push_str(&label.text);
        }
        line
    }

    #[test]
    fn dates_and_hours_where_the_person_is() {
        let now = "2025-11-23T14:32:07Z";
        let found = |zoom, columns, zone| drawn(zoom, columns, now, zone, None).split_whitespace().collect::<Vec<_>>().join(" ");
        for (zoom, columns, zone, expected) in [
            (5, 96, "UTC", "Nov 10 Nov 12 Nov 14 Nov 16 Nov 18 Nov 20 Nov 22"),
            // Weeks begin on Mondays.
            (5, 54, "UTC", "Nov 10 Nov 17"),
            (2, 96, "UTC", "16:00 18:00 20:00 22:00 Nov 23 02:00 04:00 06:00 08:00 10:00 12:00"),
            // Half an hour off, and still on whole hours of the clock on the wall.
            (2, 96, "Asia/Kolkata", "22:00 Nov 23 02:00 04:00 06:00 08:00 10:00 12:00 14:00 16:00 18:00"),
            (0, 60, "UTC", "13:40 13:50 14:00 14:10 14:20"),
        ] {
            assert_eq!(found(zoom, columns, zone), expected, "{zoom} {columns} {zone}");
        }
        let line = drawn(5, 96, now, "UTC", None);
        assert!(line.contains("Nov 10        Nov 12") || line.contains("Nov 10       Nov 12"), "{line}");
    }

    #[test]
    fn the_time_under_the_cursor_has_room_first() {
        let now = "2025-11-23T14:32:07Z";
        let line = drawn(5, 96, now, "UTC", Some((58, "Nov 18 09:14")));
        assert!(line.contains("vNov 18 09:14") && !line.contains("Nov 20") && line.contains("Nov 22"), "{line}");
        let line = drawn(5, 96, now, "UTC", Some((95, "now")));
        assert!(line.ends_with("nowv"), "{line}");
        assert_eq!(drawn(5, 3, now, "UTC", Some((1, "Nov 18 09:14"))), " v");
    }

    proptest! {
        /// Labels are in order, within the columns, and none touches another, wherever the person is.
        #[test]
        fn labels_never_touch(zoom in 0usize..8, columns in 1usize..260, last in 0i64..4_000_000_000, cursor in 0usize..260, zone in 0usize..4) {
            let zone = TimeZone::get(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"][zone]).unwrap();
            let scale = Scale::ending(zoom, columns, Timestamp::from_second(last).unwrap());
            let cursor = (cursor < columns).then_some((cursor, "Nov 18 09:14"));
            let labels = labels(scale, &zone, cursor, "v");
            prop_assert!(labels.windows(2).all(|pair| pair[0].end() + GAP <= pair[1].column), "{:?}", labels);
            prop_assert!(labels.iter().all(|label| label.end() <= columns));
            prop_assert_eq!(labels.iter().any(|label| label.is_cursor), cursor.is_some());
        }
    }
}
