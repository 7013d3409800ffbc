//! JSON values as YAML that every reader understands in the same way: YAML 1.1 readers such as kubectl's, YAML 1.2 readers such as ours.
//!
//! What lives here: writing. A string stands plain only where no reader could take it for anything else, as a block where it has lines, in
//! quotes everywhere else. That is why no general writer is used: in YAML 1.1 `no`, `1_000`, `0o7` and `12:30` are no strings.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Words that some reader takes for a boolean, for nothing or for a number.
const WORDS: [&str; 13] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity", "none"];

/// Writes one document, without `---`.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(all) if !all.is_empty() => object(all, 0, &mut out),
        Value::Array(all) if !all.is_empty() => array(all, 0, &mut out),
        _ => {
            scalar(value, 2, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Members, each on a line of its own; the first one stands where `out` ends.
fn object(all: &Map<String, Value>, indent: usize, out: &mut String) {
    for (at, (key, member)) in all.iter().enumerate() {
        if at > 0 {
            blanks(indent, out);
        }
        text(key, out);
        out.push(':');
        match member {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                blanks(indent + 2, out);
                object(inner, indent + 2, out);
            }
            // As kubectl writes them: a list stands as far left as its key.
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                blanks(indent, out);
                array(inner, indent, out);
            }
            _ => {
                out.push(' ');
                scalar(member, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn array(all: &[Value], indent: usize, out: &mut String) {
    for (at, item) in all.iter().enumerate() {
        if at > 0 {
            blanks(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => object(inner, indent + 2, out),
            Value::Array(inner) if !inner.is_empty() => array(inner, indent + 2, out),
            _ => {
                scalar(item, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

/// Anything that has nothing inside. Lines of a block stand at `indent`.
fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(string) if is_block(string) => block(string, indent, out),
        Value::String(string) => text(string, out),
        // Null, booleans, numbers, `{}` and `[]` are the same in both languages.
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// A string or key on one line.
fn text(string: &str, out: &mut String) {
    if is_plain(string) { out.push_str(string) } else { quoted(string, out) }
}

/// In double quotes, as JSON has them; what is not printable in YAML is escaped besides.
fn quoted(string: &str, out: &mut String) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) > 0xffff => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
}

/// Lines after `|`. The caller has asked [`is_block`].
fn block(string: &str, indent: usize, out: &mut String) {
    out.push_str(if string.ends_with('\n') { "|" } else { "|-" });
    for line in string.strip_suffix('\n').unwrap_or(string).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            blanks(indent, out);
            out.push_str(line);
        }
    }
}

/// Whether a string has lines that come back from a block exactly as they are: no odd beginnings and ends.
fn is_block(string: &str) -> bool {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let begins = |c: char| !c.is_whitespace() && c != '#' && c != '%';
    let odd = |line: &str| line.ends_with(char::is_whitespace) || line.starts_with('\t') || !line.chars().all(is_printable);
    body.contains('\n') && body.starts_with(begins) && !body.ends_with('\n') && !body.split('\n').any(odd)
}

/// Whether a string means itself to every reader without quotes.
fn is_plain(string: &str) -> bool {
    let begins = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ' | ',' | '(' | ')' | '=' | '+' | '@' | '$' | '\'');
    // A colon means something only before a blank or at the end.
    let colons = string.char_indices().all(|(at, c)| c != ':' || string[at + 1..].starts_with(|c: char| !c.is_whitespace()));
    begins
        && string.chars().all(|c| harmless(c) || c == ':')
        && colons
        && !string.ends_with(' ')
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}

/// What may stand in YAML as it is, and drives no terminal.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) && super::text::is_visible(c)
}

fn blanks(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dice, cases};
    use serde_json::json;

    #[test]
    fn it_reads_as_people_write_it() {
        let value = json!({
            "kind": "ClusterPolicy",
            "metadata": {"name": "n", "labels": {}, "annotations": {"a/b": "no", "on": "x: y", "t": "12:30"}},
            "spec": {"rules": [{"match": {"any": [{"kinds": ["Pod", "1e3"]}]}, "message": "one\n\n  two\n"}, [[1, 2.5], []]], "background": true},
        });
        let expected = "kind: ClusterPolicy\nmetadata:\n  annotations:\n    a/b: \"no\"\n    \"on\": \"x: y\"\n    t: \"12:30\"\n  labels: {}\n  name: \"n\"\nspec:\n  background: true\n  rules:\n  - match:\n      any:\n      - kinds:\n        - Pod\n        - \"1e3\"\n    message: |\n      one\n\n        two\n  - - - 1\n      - 2.5\n    - []\n";
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn strings_that_some_reader_takes_for_something_else_are_quoted() {
        let odd = [
            "",
            " ",
            "a ",
            " a",
            "~",
            "no",
            "NO",
            "y",
            "Off",
            "null",
            "1",
            "1e3",
            "0x10",
            "0o7",
            "1_000",
            "12:30:00",
            ".inf",
            "-",
            "- a",
            "? a",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "2026-11-01",
            "=",
            "<<",
            "\u{feff}a",
            "a\u{85}b",
            "a\u{2028}b",
            "\u{1b}[2J",
        ];
        for string in odd {
            let mut out = String::new();
            text(string, &mut out);
            assert!(out.starts_with('"') && out.ends_with('"') && !out.chars().any(char::is_control), "{out}");
        }
        for plain in ["Pod", "policies.kyverno.io/v1", "image:tag", "a b, c (d)", "/spec/x", "https://x.y/z", "Don't"] {
            assert!(is_plain(plain), "{plain}");
        }
    }

    fn string(dice: &mut Dice) -> String {
        let parts = [
            "",
            "a",
            "no",
            "yes",
            "n",
            "null",
            "~",
            "1e3",
            "0x10",
            "1_0",
            "-",
            "- ",
            ":",
            ": ",
            " #",
            "#",
            "\n",
            "\n\n",
            "\r",
            "\t",
            " ",
            "  ",
            "|",
            ">",
            "%",
            "---",
            "\n---\n",
            "...",
            "{",
            "}",
            "[",
            "]",
            "&",
            "*",
            "!",
            "\"",
            "'",
            "\\",
            "\\n",
            "größer",
            "日本",
            "\u{1f600}",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "\u{0}",
            "\u{1b}",
            "\u{7f}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{10ffff}",
            "{{ request.object }}",
            "$(x)",
            "<<",
            "=",
            "2026-11-01",
            "true",
            ".5",
            "+1",
            "name: n",
        ];
        dice.some(5, |dice| *dice.of(&parts)).concat()
    }

    fn value(dice: &mut Dice, depth: usize) -> Value {
        match dice.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(dice.one_in(2)),
            2 => json!(dice.number().cast_signed()),
            3 => dice.of(&[json!(0.5), json!(-0.1), json!(1e300), json!(u64::MAX), json!(i64::MIN), json!(0)]).clone(),
            4 | 5 => json!(string(dice)),
            6 => Value::Array(dice.some(4, |dice| value(dice, depth - 1))),
            _ => Value::Object(dice.some(4, |dice| (string(dice), value(dice, depth - 1))).into_iter().collect()),
        }
    }

    #[test]
    fn generated_values_come_back_as_they_were() {
        cases("generated_values_come_back_as_they_were", 3_000, |dice| {
            let value = value(dice, 4);
            let yaml = write(&value);
            let back: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{value}\n{yaml}"));
            assert_eq!(back, value, "{yaml}");
            assert!(!yaml.contains("\n---"), "a document has no end inside: {yaml}");
        });
    }
}
