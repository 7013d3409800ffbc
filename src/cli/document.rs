//! Writing documents: one envelope, five formats, item by item, so that a million findings never stand in memory as text.

use super::args::Format;
use super::table::{Cell, Column, Table};
use crate::domain::{clean, escape_json};
use jiff::Timestamp;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write};
use std::marker::PhantomData;

/// The version of the documents.
pub const API_VERSION: &str = "policydeck.dev/v1";

/// What stands at the top of a document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    api_version: &'static str,
    /// What the items are.
    pub kind: &'static str,
    /// When.
    pub generated_at: Timestamp,
    /// Whether nothing is missing.
    pub complete: bool,
    /// What stands beside the items.
    #[serde(skip)]
    beside: Vec<(&'static str, serde_json::Value)>,
}

impl Head {
    /// The same with something beside the items.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: serde_json::Value) -> Self {
        self.beside.push((name, value));
        self
    }

    /// A head of the current version.
    pub fn new(kind: &'static str, generated_at: Timestamp, complete: bool) -> Self {
        // Finer than a millisecond is noise.
        let generated_at = generated_at.round(jiff::Unit::Millisecond).unwrap_or(generated_at);
        Self { api_version: API_VERSION, kind, generated_at, complete, beside: Vec::new() }
    }
}

/// CSV rows that are gathered before they are written.
const ROWS_HELD: u64 = 1_000;

/// How to print, decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// Tables only.
    pub color: bool,
    /// Only ASCII characters in tables.
    pub ascii: bool,
    /// One line per JSON document, for streams of documents.
    pub compact: bool,
}

/// What can be an item of a document.
pub trait Item: Serialize {
    /// What rows depend on beside the item.
    type Context;
    /// Lists of a million items have one line each; short ones are laid out for people.
    const LONG: bool = false;
    /// Headings of the table.
    fn columns(context: &Self::Context) -> Vec<Column>;
    /// The row of the table.
    fn row(&self, context: &Self::Context, ascii: bool) -> Vec<Cell>;
    /// Headings of the CSV.
    fn csv_columns() -> Vec<&'static str>;
    /// Rows of the CSV; unknown is empty.
    fn csv_rows(&self) -> Vec<Vec<String>>;
    /// What `-o name` prints.
    fn identifiers(&self) -> Vec<String>;
}

/// Writes one document.
pub struct Document<'o, T: Item> {
    out: &'o mut dyn Write,
    style: Style,
    context: T::Context,
    head: Head,
    body: Body,
    items: u64,
    _items: PhantomData<T>,
}

enum Body {
    Text,
    Table(Table),
    /// Boxed: a writer carries its whole state machine along.
    Csv(Box<csv::Writer<Vec<u8>>>),
}

impl<'o, T: Item> Document<'o, T> {
    /// Begins a document.
    pub fn begin(out: &'o mut dyn Write, style: Style, head: Head, context: T::Context) -> io::Result<Self> {
        let body = match style.format {
            Format::Table => Body::Table(Table::new(T::columns(&context), style.color, style.ascii)),
            Format::Csv => Body::Csv(Box::new(csv::Writer::from_writer(Vec::new()))),
            Format::Json | Format::Yaml | Format::Name => Body::Text,
        };
        let mut document = Self { out, style, context, head, body, items: 0, _items: PhantomData };
        document.write_head()?;
        Ok(document)
    }

    fn write_head(&mut self) -> io::Result<()> {
        let Head { api_version, kind, generated_at, complete, beside } = &self.head;
        // JSON's scalars are YAML's, too.
        let beside = |before: &str, colon: &str, after: &str| -> String {
            let each = |(name, value): &(&str, serde_json::Value)| {
                let name = if colon == ": " && before.is_empty() { (*name).to_owned() } else { format!("\"{name}\"") };
                format!("{before}{name}{colon}{}{after}", escape_json(&value.to_string()))
            };
            beside.iter().map(each).collect()
        };
        match (&mut self.body, self.style.format, self.style.compact) {
            (Body::Csv(csv), ..) => csv.write_record(T::csv_columns()).map_err(io::Error::other),
            (_, Format::Json, true) => write!(
                self.out,
                r#"{{"apiVersion":"{api_version}","kind":"{kind}","generatedAt":"{generated_at}","complete":{complete},{}"items":["#,
                beside("", ":", ",")
            ),
            (_, Format::Json, false) => write!(
                self.out,
                "{{\n  \"apiVersion\": \"{api_version}\",\n  \"kind\": \"{kind}\",\n  \"generatedAt\": \"{generated_at}\",\n  \"complete\": {complete},\n{}  \"items\": [",
                beside("  ", ": ", ",\n")
            ),
            (_, Format::Yaml, compact) => {
                // Several documents in a row need a separator.
                let separator = if compact { "---\n" } else { "" };
                write!(
                    self.out,
                    "{separator}apiVersion: {api_version}\nkind: {kind}\ngeneratedAt: \"{generated_at}\"\ncomplete: {complete}\n{}items:",
                    beside("", ": ", "\n")
                )
            }
            _ => Ok(()),
        }
    }

    /// Writes one item.
    pub fn item(&mut self, item: &T) -> io::Result<()> {
        self.items += 1;
        match (&mut self.body, self.style.format) {
            (Body::Table(table), _) => table.row(self.out, item.row(&self.context, self.style.ascii)),
            (Body::Csv(csv), _) => {
                for row in item.csv_rows() {
                    csv.write_record(row.iter().map(|field| csv_field(field))).map_err(io::Error::other)?;
                }
                if self.items.is_multiple_of(ROWS_HELD) { self.drain_csv() } else { Ok(()) }
            }
            (_, Format::Name) => item.identifiers().iter().try_for_each(|name| writeln!(self.out, "{}", clean(name))),
            (_, Format::Yaml) => {
                let yaml = yaml_item(item)?;
                if self.items == 1 {
                    self.out.write_all(b"\n")?;
                }
                self.out.write_all(yaml.as_bytes())
            }
            _ => self.json_item(item),
        }
    }

    fn json_item(&mut self, item: &T) -> io::Result<()> {
        let comma = if self.items > 1 { "," } else { "" };
        if self.style.compact || T::LONG {
            let json = serde_json::to_string(item)?;
            let glue = if self.style.compact { "" } else { "\n    " };
            return write!(self.out, "{comma}{glue}{}", escape_json(&json));
        }
        let json = serde_json::to_string_pretty(item)?;
        // Strings hold no line breaks in JSON, so every line is one of the layout.
        write!(self.out, "{comma}\n    {}", escape_json(&json).replace('\n', "\n    "))
    }

    fn drain_csv(&mut self) -> io::Result<()> {
        let Body::Csv(csv) = std::mem::replace(&mut self.body, Body::Text) else { return Ok(()) };
        let buffer = csv.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        self.out.write_all(&buffer)?;
        self.body = Body::Csv(Box::new(csv::Writer::from_writer(Vec::new())));
        Ok(())
    }

    /// Ends the document.
    pub fn finish(mut self) -> io::Result<()> {
        match self.style.format {
            Format::Table => {
                if let Body::Table(table) = &mut self.body {
                    table.finish(self.out)?;
                }
            }
            Format::Csv => self.drain_csv()?,
            Format::Json if self.style.compact => self.out.write_all(b"]}\n")?,
            Format::Json if self.items == 0 => self.out.write_all(b"]\n}\n")?,
            Format::Json => self.out.write_all(b"\n  ]\n}\n")?,
            Format::Yaml if self.items == 0 => self.out.write_all(b" []\n")?,
            Format::Yaml | Format::Name => {}
        }
        self.out.flush()
    }
}

/// Writes a whole document.
pub fn write<T: Item>(out: &mut dyn Write, style: Style, head: Head, context: T::Context, items: &[T]) -> io::Result<()> {
    let mut document = Document::begin(out, style, head, context)?;
    for item in items {
        document.item(item)?;
    }
    document.finish()
}

/// A field as spreadsheets keep it: what they would take for a formula gets an apostrophe before it, as OWASP advises (CSV Injection). Numbers stay.
fn csv_field(field: &str) -> String {
    let text = clean(field);
    let calculates = text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let is_number =
        text.strip_prefix('-').unwrap_or(&text).split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if calculates && !is_number { format!("'{text}") } else { text.into_owned() }
}

/// `- …`, one item of a YAML list.
fn yaml_item<T: Serialize>(item: &T) -> io::Result<String> {
    let json = serde_json::to_string(item)?;
    // What would drive a terminal, and lines that begin with a tab (which other readers refuse in blocks), go in as JSON: it is YAML, too.
    let awkward = json.contains("\\t") || json.contains("\\u") || matches!(escape_json(&json), Cow::Owned(_));
    if awkward {
        return Ok(format!("- {}\n", escape_json(&json)));
    }
    let yaml = serde_saphyr::to_string(&[item]).map_err(io::Error::other)?;
    Ok(if yaml.ends_with('\n') { yaml } else { yaml + "\n" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreadsheets_calculate_nothing() {
        for (field, says) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "' =1"),
            ("\r=1", "' =1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("-c is missing", "'-c is missing"),
            ("-", "'-"),
            ("12", "12"),
            ("-12", "-12"),
            ("-1.5", "-1.5"),
            ("1.2.3", "1.2.3"),
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(csv_field(field), says);
        }
    }
}
