//! Values of Secrets in CEL: the literals that a GeneratingPolicy has for `data` and `stringData`.
//!
//! What lives here: finding string literals, and which of them are values. What does not: evaluating CEL. What an expression computes, or takes from a
//! variable that is no map of literals, is not found.
//!
//! Source: the grammar of literals in cel-spec `doc/langdef.md`.

use super::{Put, VALUES};
use serde_json::Value;
use std::ops::Range;

/// A string literal.
struct Literal {
    /// With its quotes.
    whole: Range<usize>,
    /// Between the quotes.
    content: Range<usize>,
}

/// Whether an expression has this text as a literal.
pub(super) fn names(text: &str, word: &str) -> bool {
    literals(text).iter().any(|literal| text.get(literal.content.clone()) == Some(word))
}

/// The expression with other words in place of the literals in a map `"data"` or `"stringData"`; `None` where there are none.
pub(super) fn veiled(text: &str, put: Put<'_>) -> Option<String> {
    let all = literals(text);
    let mut out = String::new();
    let (mut done, mut place) = (0, 0);
    while let Some(key) = all.get(place) {
        place += 1;
        let name = text.get(key.content.clone()).unwrap_or_default();
        if !VALUES.contains(&name) {
            continue;
        }
        let Some(start) = after_colon(text, key.whole.end) else { continue };
        let end = end_of_value(text, &all, start);
        while let Some(literal) = all.get(place).filter(|literal| literal.whole.start < end) {
            place += 1;
            if is_key(text, &literal.whole) {
                continue;
            }
            out.push_str(text.get(done..literal.content.start).unwrap_or_default());
            out.push_str(&word(put("expression", &Value::from(text.get(literal.content.clone()).unwrap_or_default()))));
            done = literal.content.end;
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    (done > 0).then_some(out)
}

fn word(put: Value) -> String {
    if let Value::String(word) = put { word } else { put.to_string() }
}

/// Where what follows a colon begins, if a colon is next.
fn after_colon(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let after = rest.trim_start().strip_prefix(':')?;
    Some(text.len() - after.len())
}

/// `{"key": …` or `, "key": …`: what stands before a key of a map, and after it.
fn is_key(text: &str, whole: &Range<usize>) -> bool {
    let before = text.get(..whole.start).unwrap_or_default().trim_end();
    before.ends_with(['{', ',']) && after_colon(text, whole.end).is_some()
}

/// Where the value that begins at `start` ends: at a comma or a bracket that is not its own.
fn end_of_value(text: &str, literals: &[Literal], start: usize) -> usize {
    let mut depth = 0_u32;
    let mut at = start;
    while let Some(byte) = text.as_bytes().get(at) {
        if let Some(literal) = literals.get(literals.partition_point(|literal| literal.whole.end <= at)).filter(|it| it.whole.start <= at) {
            at = literal.whole.end;
            continue;
        }
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' | b',' if depth == 0 => break,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// All string literals of an expression. One without an end goes to the end of the text.
fn literals(text: &str) -> Vec<Literal> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = memchr::memchr(b'\n', bytes.get(at..).unwrap_or_default()).map_or(bytes.len(), |end| at + end);
            }
            b'"' | b'\'' => {
                let is_raw = at > 0 && matches!(bytes.get(at - 1), Some(b'r' | b'R'));
                let literal = literal(bytes, at, *byte, is_raw);
                at = literal.whole.end;
                found.push(literal);
            }
            _ => at += 1,
        }
    }
    found
}

fn literal(bytes: &[u8], start: usize, quote: u8, is_raw: bool) -> Literal {
    let is_triple = bytes.get(start..start + 3) == Some(&[quote; 3]);
    let quotes = if is_triple { 3 } else { 1 };
    let mut at = start + quotes;
    while let Some(byte) = bytes.get(at) {
        let ends = if is_triple { bytes.get(at..at + 3) == Some(&[quote; 3]) } else { *byte == quote };
        if ends {
            return Literal { whole: start..at + quotes, content: start + quotes..at };
        }
        at += if *byte == b'\\' && !is_raw { 2 } else { 1 };
    }
    Literal { whole: start..bytes.len(), content: (start + quotes).min(bytes.len())..bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;

    fn shown(text: &str) -> Option<String> {
        veiled(text, &mut |_, value| Value::from(format!("({})", value.as_str().unwrap().len())))
    }

    #[test]
    fn literals_of_data_are_values() {
        let cases = [
            (
                r#"[{"kind": dyn("Secret"), "data": dyn({"a": dyn("hunter2")})}]"#,
                r#"[{"kind": dyn("Secret"), "data": dyn({"a": dyn("(7)")})}]"#,
            ),
            (
                "{'stringData': {'a': 'x' + v.b, 'c': 'zz'}, 'type': 'Opaque'}",
                "{'stringData': {'a': '(1)' + v.b, 'c': '(2)'}, 'type': 'Opaque'}",
            ),
            (
                r#"{"data": {"a": v ? "one" : "two", "b": r"\", "c": """x"y"""}}"#,
                r#"{"data": {"a": v ? "(3)" : "(3)", "b": r"(1)", "c": """(3)"""}}"#,
            ),
            ("{\"data\": // \"a\"\n {\"a\": \"}\"}, \"b\": \"c\"}", "{\"data\": // \"a\"\n {\"a\": \"(1)\"}, \"b\": \"c\"}"),
            (r#"{"data": {"data": {"a": "bc"}}}"#, r#"{"data": {"data": {"a": "(2)"}}}"#),
            (r#"{"data" : "xyz"#, r#"{"data" : "(3)"#),
        ];
        for (text, says) in cases {
            assert_eq!(shown(text).as_deref(), Some(says), "{text}");
        }
        for text in ["", "\"", "{\"data\": variables.x}", "object.data == \"a\"", "'data' in object", "{\"b\": \"data\"}"] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert!(names("[{'kind': 'Secret'}]", "Secret") && !names("Secret{}", "Secret") && !names("// 'Secret'", "Secret"));
    }

    #[test]
    fn any_text_is_read() {
        cases("any_text_is_read", 2000, |dice| {
            let parts = ["\"", "'", "\"\"\"", "\\", "r", "data", "\"data\"", ":", "{", "}", "(", ")", ",", "é", "//", "\n", " "];
            let text: String = (0..dice.below(30)).map(|_| *dice.of(&parts)).collect();
            let _ = shown(&text);
        });
    }
}
