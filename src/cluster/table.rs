//! Totals before results: the summary columns that the API server prints for reports (`kubectl get polr`), without the objects.
//!
//! A Table of 12,500 reports is 2.8 MB where the reports are 96 MB. The columns are the CRD's `additionalPrinterColumns`
//! (wgpolicyk8s.io v1alpha2 and openreports.io v1alpha1: PASS FAIL WARN ERROR SKIP).

use super::refusal::Refusal;
use super::requests::{Requests, TABLE};
use crate::domain::{FindingResult, Tally};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    cells: Vec<Cell>,
}

/// A cell, as far as it counts something: a Table of many reports holds many texts, and none of them is needed.
#[derive(Default)]
struct Cell(u64);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell of a table")
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Cell(number))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Cell(0))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Cell(0))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Cell(0))
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Cell(0))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cell(0))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell(0))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell(0))
    }
}

/// The sum of all reports' summaries under `path`; `None` if the server prints no such columns.
pub(super) async fn summaries(requests: &Requests, path: &str) -> Result<Option<Tally>, Refusal> {
    let table: Table = requests.json(&format!("{path}?includeObject=None"), TABLE).await?;
    Ok(sum(&table))
}

fn sum(table: &Table) -> Option<Tally> {
    let place = |result: FindingResult| table.column_definitions.iter().position(|c| c.name.eq_ignore_ascii_case(result.as_str()));
    let places: Vec<(FindingResult, usize)> = FindingResult::ALL.into_iter().filter_map(|r| Some((r, place(r)?))).collect();
    if places.len() < FindingResult::ALL.len() {
        return None;
    }
    let mut total = Tally::default();
    for row in table.rows.as_deref().unwrap_or_default() {
        for (result, place) in &places {
            total.add_many(*result, row.cells.get(*place).map_or(0, |cell| cell.0));
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let table = serde_json::json!({"columnDefinitions": [{"name": "Name"}, {"name": "Pass"}, {"name": "Fail"}, {"name": "Warn"}, {"name": "Error"}, {"name": "Skip"}],
            "rows": [{"cells": ["a", 5, 1, 0, 2, 0]}, {"cells": ["b", 1, null, 0, 0, 3]}]});
        let total = sum(&serde_json::from_value(table).unwrap()).unwrap();
        assert_eq!(total, Tally { pass: 6, fail: 1, warn: 0, error: 2, skip: 3 });
        assert_eq!(sum(&serde_json::from_str(r#"{"columnDefinitions":[{"name":"Name"}],"rows":[]}"#).unwrap()), None);
    }
}
