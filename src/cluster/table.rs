//! Totals before results: the summary columns that the API server prints for reports (`kubectl get polr`), without the objects.
//!
//! A Table of 12,500 reports is 2.8 MB where the reports are 96 MB. The columns are the CRD's `additionalPrinterColumns`
//! (wgpolicyk8s.io v1alpha2 and openreports.io v1alpha1: PASS FAIL WARN ERROR SKIP).

use super::address::Path;
use super::refusal::Refusal;
use super::requests::{Requests, TABLE};
use crate::domain::{FindingResult, Tally};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Option<Vec<Part<Row>>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// One row, as far as it counts something.
#[derive(Default)]
struct Row {
    cells: Cells,
}

#[derive(Default)]
struct Cells(Vec<Cell>);

/// A cell, as far as it counts something: a Table of many reports holds many texts, and none of them is needed.
#[derive(Default)]
struct Cell(u64);

/// Something of which a wrong shape costs only itself: it then is as if it were not there.
trait Loose: Default {
    fn number(_: u64) -> Self {
        Self::default()
    }
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
    fn map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Loose for Cell {
    fn number(number: u64) -> Self {
        Self(number)
    }
}

impl Loose for Cells {
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(Part(cell)) = list.next_element()? {
            all.push(cell);
        }
        Ok(Self(all))
    }
}

impl Loose for Row {
    fn map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut row = Self::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "cells" {
                Part(row.cells) = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(row)
    }
}

/// Reads something [`Loose`].
struct Part<T>(T);

impl<'de, T: Loose> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor(PhantomData)).map(Self)
    }
}

struct PartVisitor<T>(PhantomData<T>);

impl<'de, T: Loose> Visitor<'de> for PartVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a table")
    }
    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::number(number))
    }
    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
}

/// The sum of all reports' summaries under `path`; `None` if the server prints no such columns.
pub(super) async fn summaries(requests: &Requests, path: &Path) -> Result<Option<Tally>, Refusal> {
    let path = path.clone().with("resourceVersion", "0").with("includeObject", "None");
    let body = requests.get(&path, TABLE).await?;
    read(&body).map_err(|error| Refusal::Server(format!("{path}: the answer cannot be read: {error}")))
}

/// The sum of a Table's rows; a row that cannot be read counts nothing.
pub(super) fn read(json: &[u8]) -> Result<Option<Tally>, serde_json::Error> {
    serde_json::from_slice(json).map(|table| sum(&table))
}

fn sum(table: &Table) -> Option<Tally> {
    let place = |result: FindingResult| table.column_definitions.iter().position(|c| c.name.eq_ignore_ascii_case(result.as_str()));
    let places: Vec<(FindingResult, usize)> = FindingResult::ALL.into_iter().filter_map(|r| Some((r, place(r)?))).collect();
    if places.len() < FindingResult::ALL.len() {
        return None;
    }
    let mut total = Tally::default();
    for Part(row) in table.rows.as_deref().unwrap_or_default() {
        for (result, place) in &places {
            total.add_many(*result, row.cells.0.get(*place).map_or(0, |cell| cell.0));
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
