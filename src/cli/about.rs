//! What the program says of itself: version and paths.

use super::document::Item;
use super::table::{Cell, Column};
use serde::Serialize;

/// A folder or file of the program.
#[derive(Debug, Clone, Serialize)]
pub struct PathItem {
    /// What is kept there.
    pub name: &'static str,
    /// Where.
    pub path: String,
}

impl Item for PathItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["what", "path"].map(Column::text).into()
    }

    fn row(&self, (): &(), _ascii: bool) -> Vec<Cell> {
        [self.name, &self.path].map(Cell::plain).into()
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["name", "path"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.to_owned(), self.path.clone()]]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.path.clone()]
    }
}

/// The program's version.
#[derive(Debug, Clone, Serialize)]
pub struct VersionItem {
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
}

impl VersionItem {
    /// Of this build.
    pub const CURRENT: Self = Self { name: "policydeck", version: env!("CARGO_PKG_VERSION") };
}

impl Item for VersionItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["name", "version"].map(Column::text).into()
    }

    fn row(&self, (): &(), _ascii: bool) -> Vec<Cell> {
        [self.name, self.version].map(Cell::plain).into()
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["name", "version"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.to_owned(), self.version.to_owned()]]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.version.to_owned()]
    }
}
