//! Checks a TOML tree against the JSON Schema of the file and remembers where every key stands.
//!
//! serde stops at the first error and does not know the nearest key; this walk reports all of them at once.

use super::problem::{Places, Problem};
use crate::domain::near::nearest;
use serde_json::Value as Schema;
use std::collections::HashMap;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Byte ranges of keys and values by their path.
#[derive(Debug, Default)]
pub(super) struct Spans {
    keys: HashMap<String, Range<usize>>,
    values: HashMap<String, Range<usize>>,
}

impl Spans {
    /// Where the value at `path` stands; the nearest parent's place where it is not written.
    pub(super) fn value(&self, path: &str) -> Range<usize> {
        find(&self.values, path)
    }

    /// Whether the file says something at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// Where the key at `path` stands; the nearest parent's place where it is not written.
    pub(super) fn key(&self, path: &str) -> Range<usize> {
        self.keys.get(path).cloned().unwrap_or_else(|| self.value(path))
    }
}

fn find(spans: &HashMap<String, Range<usize>>, path: &str) -> Range<usize> {
    let mut path = path;
    loop {
        if let Some(span) = spans.get(path) {
            return span.clone();
        }
        match path.rfind(['.', '[']) {
            Some(cut) => path = &path[..cut],
            None => return 0..0,
        }
    }
}

/// What the walk found.
pub(super) struct Checked {
    pub(super) spans: Spans,
    pub(super) problems: Vec<Problem>,
    /// A value has the wrong type or is missing: the typed reading would fail, too.
    pub(super) unreadable: bool,
}

/// Walks the tree.
pub(super) fn check(table: &DeTable<'_>, schema: &Schema, places: &Places<'_>) -> Checked {
    let mut walk = Walk { places, out: Checked { spans: Spans::default(), problems: Vec::new(), unreadable: false } };
    walk.table(table, schema, "", 0..0);
    walk.out
}

struct Walk<'p, 't> {
    places: &'p Places<'t>,
    out: Checked,
}

impl Walk<'_, '_> {
    fn wrong(&mut self, span: &Range<usize>, path: &str, message: String, remedy: String) {
        self.out.unreadable = true;
        self.out.problems.push(self.places.error(span, path, message, remedy));
    }

    fn table(&mut self, table: &DeTable<'_>, schema: &Schema, path: &str, span: Range<usize>) {
        let properties = schema.get("properties").and_then(Schema::as_object);
        for (key, value) in table {
            let inner = join(path, key.get_ref());
            self.out.spans.keys.insert(inner.clone(), key.span());
            self.out.spans.values.insert(inner.clone(), value.span());
            if let Some(known) = properties.and_then(|all| all.get(key.get_ref().as_ref())) {
                self.value(value.get_ref(), known, &inner, value.span());
            } else if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
                self.value(value.get_ref(), any, &inner, value.span());
            } else {
                self.unknown_key(key.get_ref(), key.span(), properties, &inner);
            }
        }
        for required in schema.get("required").and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str) {
            if !table.contains_key(required) {
                let meaning = properties.and_then(|all| all.get(required)).map(description).unwrap_or_default();
                self.wrong(&span, &join(path, required), "is missing".into(), format!("Add `{required} = …`: {meaning}"));
            }
        }
    }

    fn unknown_key(&mut self, key: &str, span: Range<usize>, properties: Option<&serde_json::Map<String, Schema>>, path: &str) {
        let valid: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut problem = self.places.error(&span, path, "unknown key", "");
        problem.nearest = nearest(key, valid.iter().copied()).map(str::to_owned);
        if problem.nearest.is_none() {
            problem.remedy = format!("Valid here: {}.", valid.join(", "));
        }
        self.out.problems.push(problem);
    }

    fn value(&mut self, value: &DeValue<'_>, schema: &Schema, path: &str, span: Range<usize>) {
        let schema = unwrap_optional(schema);
        if let Some(words) = allowed_words(schema) {
            return self.word(value, &words, path, span);
        }
        match (wanted(schema), value) {
            ("object", DeValue::Table(table)) => self.table(table, schema, path, span),
            ("array", DeValue::Array(items)) => {
                let item_schema = schema.get("items").unwrap_or(&Schema::Null);
                for (index, item) in items.iter().enumerate() {
                    let inner = format!("{path}[{index}]");
                    self.out.spans.values.insert(inner.clone(), item.span());
                    self.value(item.get_ref(), item_schema, &inner, item.span());
                }
            }
            ("string", DeValue::String(_)) | ("boolean", DeValue::Boolean(_)) => {}
            ("string", DeValue::Datetime(_)) if schema.get("format").and_then(Schema::as_str) == Some("instant") => {}
            ("integer", DeValue::Integer(number)) => {
                if u64::from_str_radix(number.as_str(), number.radix()).is_err() {
                    self.wrong(&span, path, "is not a whole number from 0 up".into(), "Write 0 or more.".into());
                }
            }
            (wanted, other) => {
                let message = format!("is {}, but has to be {}", article(type_name(other)), article(wanted));
                self.wrong(&span, path, message, example(wanted, path));
            }
        }
    }

    fn word(&mut self, value: &DeValue<'_>, words: &[&str], path: &str, span: Range<usize>) {
        let valid = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        match value.as_str() {
            Some(text) if words.contains(&text) => {}
            Some(text) => {
                self.wrong(&span, path, "is not valid".into(), format!("Write {valid}."));
                if let Some(problem) = self.out.problems.last_mut() {
                    problem.nearest = nearest(text, words.iter().copied()).map(str::to_owned);
                }
            }
            None => self.wrong(&span, path, format!("is {}, but has to be a word", article(type_name(value))), format!("Write {valid}.")),
        }
    }
}

/// `a.b`, or `b` at the top.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The schema of `T` where `Option<T>` is asked for.
pub(super) fn unwrap_optional(schema: &Schema) -> &Schema {
    let choices = schema.get("anyOf").and_then(Schema::as_array);
    choices.and_then(|all| all.iter().find(|one| one.get("type").and_then(Schema::as_str) != Some("null"))).unwrap_or(schema)
}

/// The words of an enumeration.
pub(super) fn allowed_words(schema: &Schema) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Schema::as_array) {
        return Some(words.iter().filter_map(Schema::as_str).collect());
    }
    let choices = schema.get("oneOf")?.as_array()?;
    Some(choices.iter().filter_map(|choice| choice.get("const").and_then(Schema::as_str)).collect())
}

/// The JSON type a schema asks for; `null` beside it only says that the key may be left out.
pub(super) fn wanted(schema: &Schema) -> &str {
    match schema.get("type") {
        Some(Schema::String(name)) => name,
        Some(Schema::Array(names)) => names.iter().filter_map(Schema::as_str).find(|name| *name != "null").unwrap_or(""),
        _ => "",
    }
}

/// The description, without what markdown needs.
pub(super) fn description(schema: &Schema) -> &str {
    schema.get("description").and_then(Schema::as_str).unwrap_or_default()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "decimal",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn article(name: &str) -> &'static str {
    match name {
        "string" => "a string",
        "integer" => "a whole number",
        "decimal" => "a decimal number",
        "boolean" => "true or false",
        "date" => "a date",
        "array" => "a list",
        _ => "a table",
    }
}

fn example(wanted: &str, path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    match wanted {
        "string" => format!("Put it in quotes: `{key} = \"…\"`."),
        "boolean" => "Write `true` or `false` without quotes.".into(),
        "integer" => "Write a number without quotes.".into(),
        "array" if path == "environments" => "Write `[[environments]]` with two brackets.".into(),
        "array" => format!("Put it in brackets: `{key} = [ … ]`."),
        "object" => format!("Write `{key} = {{ … }}` or a section `[{path}]`."),
        _ => String::new(),
    }
}
