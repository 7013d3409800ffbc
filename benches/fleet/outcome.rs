//! The outcome of a run: numbers with what they are held against, as a table for people and as JSON for comparing two commits.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// One line of the table.
pub(crate) struct Line {
    key: &'static str,
    what: &'static str,
    value: f64,
    unit: &'static str,
    /// The bare client's number, where there is one.
    bare: Option<(&'static str, f64)>,
    /// The most that is allowed: of the ratio where there is a bare number, else of the value.
    limit: Option<f64>,
}

/// All lines of one run.
#[derive(Default)]
pub(crate) struct Outcome {
    lines: Vec<Line>,
}

impl Line {
    fn held(&self) -> f64 {
        self.bare.map_or(self.value, |(_, bare)| self.value / bare)
    }

    fn is_met(&self) -> bool {
        self.limit.is_none_or(|limit| self.held() <= limit)
    }
}

fn rounded(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        0.0..10.0 => format!("{number:.2}"),
        10.0..1000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

impl Outcome {
    /// A number that is held against nothing.
    pub(crate) fn note(&mut self, key: &'static str, what: &'static str, value: f64, unit: &'static str) {
        self.lines.push(Line { key, what, value, unit, bare: None, limit: None });
    }

    /// A number with a limit of its own.
    pub(crate) fn limited(&mut self, key: &'static str, what: &'static str, value: f64, unit: &'static str, limit: f64) {
        self.lines.push(Line { key, what, value, unit, bare: None, limit: Some(limit) });
    }

    /// A number with a limit to its ratio to a bare client's.
    pub(crate) fn against(&mut self, key: &'static str, what: &'static str, value: f64, bare: (&'static str, f64), limit: f64) {
        self.lines.push(Line { key, what, value, unit: "s", bare: Some(bare), limit: Some(limit) });
    }

    /// Whether every limit is met.
    pub(crate) fn is_met(&self) -> bool {
        self.lines.iter().all(Line::is_met)
    }

    pub(crate) fn table(&self, judged: bool) -> String {
        let mut out = format!("{:<44} {:>10} {:<5} {:>26} {:>7} {:>7}\n", "", "policydeck", "", "bare", "ratio", "limit");
        for line in &self.lines {
            let bare = line.bare.map_or_else(String::new, |(name, bare)| format!("{name} {} s", rounded(bare)));
            let ratio = line.bare.map_or_else(String::new, |_| rounded(line.held()));
            let limit = line.limit.map_or_else(String::new, rounded);
            let mark = match (judged, line.limit) {
                (false, _) | (_, None) => "",
                _ if line.is_met() => " met",
                _ => " NOT MET",
            };
            let _ = writeln!(out, "{:<44} {:>10} {:<5} {bare:>26} {ratio:>7} {limit:>7}{mark}", line.what, rounded(line.value), line.unit);
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| {
            let mut value = json!({"value": line.value, "unit": line.unit, "met": line.is_met()});
            if let Some((name, bare)) = line.bare {
                value["bare"] = json!({"what": name, "value": bare});
                value["ratio"] = json!(line.held());
            }
            if let Some(limit) = line.limit {
                value["limit"] = json!(limit);
            }
            (line.key.to_owned(), value)
        };
        Value::Object(self.lines.iter().map(line).collect())
    }
}
