//! The reference of all keys, as Markdown, from the same types that read the file.

use super::check::{allowed_words, description, unwrap_optional, wanted};
use super::schema::json_schema;
use serde_json::Value as Schema;
use std::fmt::Write as _;

/// A Markdown table of every key: name, what it takes, default, meaning.
pub fn reference_table() -> String {
    let mut out = String::from("| key | takes | default | meaning |\n|---|---|---|---|\n");
    let schema = json_schema();
    rows(&mut out, &schema, "");
    out
}

/// The sections in the order in which a file is written; keys within them follow by need, then alphabet.
const ORDER: [&str; 6] = ["environments", "gates", "ui", "keys", "exceptions", "history"];

fn rows(out: &mut String, schema: &Schema, prefix: &str) {
    let Some(properties) = schema.get("properties").and_then(Schema::as_object) else { return };
    let required = |name: &str| schema.get("required").and_then(Schema::as_array).is_some_and(|all| all.iter().any(|one| one == name));
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort_by_key(|name| (ORDER.iter().position(|section| section == name), !required(name)));
    for name in names {
        let property = &properties[name];
        let inner = unwrap_optional(property);
        let element = inner.get("items").unwrap_or(inner);
        let nested = element.get("properties").is_some();
        let key = match (wanted(inner), inner.get("additionalProperties").is_some_and(Schema::is_object)) {
            ("array", _) if nested => format!("{prefix}{name}[]"),
            (_, true) => format!("{prefix}{name}.ACTION"),
            _ => format!("{prefix}{name}"),
        };
        let _ = writeln!(out, "| `{key}` | {} | {} | {} |", takes(inner), default(property, required(name)), meaning(property, inner));
        if nested {
            rows(out, element, &format!("{key}."));
        }
    }
}

fn takes(schema: &Schema) -> String {
    if let Some(words) = allowed_words(schema) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match wanted(schema) {
        "string" if schema.get("format").and_then(Schema::as_str) == Some("instant") => "day or time".into(),
        "string" => "text".into(),
        "integer" => "number".into(),
        "boolean" => "`true`, `false`".into(),
        "array" if schema.get("items").is_some_and(|items| items.get("properties").is_some()) => "tables".into(),
        "array" => match schema.get("items").and_then(allowed_words) {
            Some(words) => format!("list of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
            None => "list of text".into(),
        },
        "object" if schema.get("additionalProperties").is_some_and(Schema::is_object) => "text".into(),
        _ => "table".into(),
    }
}

fn default(schema: &Schema, required: bool) -> String {
    match schema.get("default") {
        _ if required => "required".into(),
        None | Some(Schema::Null | Schema::Object(_) | Schema::Array(_)) => String::new(),
        Some(value) => format!("`{value}`"),
    }
}

/// The field's comment, and those of the words it takes.
fn meaning(property: &Schema, inner: &Schema) -> String {
    let mut text = [property, inner].map(description).into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned();
    for choice in inner.get("oneOf").and_then(Schema::as_array).into_iter().flatten() {
        if let Some(word) = choice.get("const").and_then(Schema::as_str) {
            let _ = write!(text, " `{word}`: {}", description(choice));
        }
    }
    text.replace('|', "\\|")
}
