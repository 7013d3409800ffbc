//! Changing what one document of a YAML file says, and as little else as possible.
//!
//! Single values are exchanged where they stand, members are added and removed by lines; comments, order and quotes of everything else stay. Whatever
//! comes of it is read again: it counts only if the document then says what it should and no other says anything else. Otherwise the whole document is
//! written anew.

use super::yaml::{Document, Entry, Node, Shape, line_end, line_start, next_line, read};
use crate::domain::yaml::write;
use crate::ops::plan::Manner;
use granit_parser::ScalarStyle;
use serde_json::{Map, Value};
use std::ops::Range;

struct Edit {
    range: Range<usize>,
    text: String,
}

/// The file with its document `at` saying `is`. The error says why that cannot be.
pub(super) fn edited(text: &str, at: usize, is: &Value) -> Result<(String, Manner), String> {
    let documents = read(text)?;
    let document = documents.get(at).ok_or_else(|| "the document is not there".to_owned())?;
    let mut edits = Vec::new();
    if change(text, &document.root, &document.value, is, &mut edits)
        && let Some(new) = applied(text, edits)
        && holds(&documents, &new, at, is)
    {
        return Ok((new, Manner::Edited));
    }
    let root = &document.root;
    let (start, end) = (root.start, line_end(text, root.end));
    let begins = text.get(line_start(text, start)..start).is_some_and(|before| !before.trim().is_empty());
    let body = write(is);
    let body = format!("{}{}", if begins { "\n" } else { "" }, body.trim_end_matches('\n'));
    let new = applied(text, vec![Edit { range: start..end, text: body }]).filter(|new| holds(&documents, new, at, is));
    new.map(|new| (new, Manner::Rewritten)).ok_or_else(|| "its documents cannot be told apart safely".to_owned())
}

/// Whether `new` says `is` in that document and in the others what they said.
fn holds(before: &[Document], new: &str, at: usize, is: &Value) -> bool {
    let Ok(after) = read(new) else { return false };
    let same =
        |(place, (one, other)): (usize, (&Document, &Document))| if place == at { other.value == *is } else { one.value == other.value };
    before.len() == after.len() && before.iter().zip(&after).enumerate().all(same)
}

/// The text with all edits, with its own line breaks; `None` where two of them touch the same place.
fn applied(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let windows = text.contains("\r\n");
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.range.start)?);
        if windows {
            out.push_str(&edit.text.replace('\n', "\r\n"));
        } else {
            out.push_str(&edit.text);
        }
        at = edit.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// The edits that make a thing say `is`; false where it takes more than these.
fn change(text: &str, node: &Node, was: &Value, is: &Value, edits: &mut Vec<Edit>) -> bool {
    if was == is {
        return true;
    }
    if node.odd {
        return false;
    }
    match (&node.shape, was, is) {
        (Shape::Mapping { flow: false, entries }, Value::Object(was), Value::Object(is)) => members(text, entries, was, is, edits),
        (Shape::Mapping { flow: true, entries }, Value::Object(was), Value::Object(is)) => {
            let each = |entry: &Entry| match (was.get(&entry.key), is.get(&entry.key)) {
                (Some(was), Some(is)) => change(text, &entry.value, was, is, edits),
                _ => false,
            };
            entries.len() == was.len() && was.len() == is.len() && entries.iter().all(each)
        }
        (Shape::Sequence { items, .. }, Value::Array(was), Value::Array(is)) if was.len() == is.len() && items.len() == was.len() => {
            items.iter().zip(was.iter().zip(is)).all(|(item, (was, is))| change(text, item, was, is, edits))
        }
        (Shape::Sequence { flow: false, items }, Value::Array(was), Value::Array(is))
            if is.starts_with(was) && items.len() == was.len() =>
        {
            items.last().is_some_and(|last| appended(text, last, is.get(was.len()..).unwrap_or_default(), edits))
        }
        (Shape::Scalar(style), _, _) => scalar(node, *style, is, edits),
        _ => false,
    }
}

/// A value on one line, in the quotes of the one it takes the place of.
fn scalar(node: &Node, style: ScalarStyle, is: &Value, edits: &mut Vec<Edit>) -> bool {
    let single = matches!(style, ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    if !single || node.start == node.end || is.is_object() || is.is_array() || is.as_str().is_some_and(|text| text.contains('\n')) {
        return false;
    }
    let plain = write(is).trim_end_matches('\n').to_owned();
    let quoted = plain.starts_with('"');
    let text = match style {
        ScalarStyle::DoubleQuoted if is.is_string() && !quoted => format!("\"{plain}\""),
        ScalarStyle::SingleQuoted if is.is_string() && !quoted => format!("'{}'", plain.replace('\'', "''")),
        _ => plain,
    };
    edits.push(Edit { range: node.start..node.end, text });
    true
}

/// The members of a mapping that has a line for each.
fn members(text: &str, entries: &[Entry], was: &Map<String, Value>, is: &Map<String, Value>, edits: &mut Vec<Edit>) -> bool {
    if entries.len() != was.len() || !entries.iter().all(|entry| was.contains_key(&entry.key)) {
        return false;
    }
    let Some(last) = entries.iter().rfind(|entry| is.contains_key(&entry.key)) else { return false };
    let column = |entry: &Entry| entry.start - line_start(text, entry.start);
    for entry in entries {
        let was = was.get(&entry.key).unwrap_or(&Value::Null);
        match is.get(&entry.key) {
            None => {
                let line = line_start(text, entry.start);
                if text.get(line..entry.start).is_none_or(|before| !before.trim().is_empty()) {
                    return false;
                }
                edits.push(Edit { range: line..next_line(text, entry.end), text: String::new() });
            }
            Some(is) => {
                let so_far = edits.len();
                if !change(text, &entry.value, was, is, edits) {
                    edits.truncate(so_far);
                    edits.push(Edit { range: entry.start..line_end(text, entry.end), text: member(&entry.key, is, column(entry)) });
                }
            }
        }
    }
    let at = line_end(text, last.end);
    for (key, value) in is.iter().filter(|(key, _)| !was.contains_key(*key)) {
        let column = column(last);
        edits.push(Edit { range: at..at, text: format!("\n{}{}", " ".repeat(column), member(key, value, column)) });
    }
    true
}

/// More items after the last one of a list.
fn appended(text: &str, last: &Node, more: &[Value], edits: &mut Vec<Edit>) -> bool {
    let line = line_start(text, last.start);
    let Some(column) = text.get(line..last.start).and_then(|before| before.rfind('-')) else { return false };
    let at = line_end(text, last.end);
    for value in more {
        let item = indented(&write(&Value::Array(vec![value.clone()])), column);
        edits.push(Edit { range: at..at, text: format!("\n{}{item}", " ".repeat(column)) });
    }
    true
}

/// A member whose key stands at that column.
fn member(key: &str, value: &Value, column: usize) -> String {
    let mut alone = Map::new();
    alone.insert(key.to_owned(), value.clone());
    indented(&write(&Value::Object(alone)), column)
}

/// All lines but the first moved to the right.
fn indented(text: &str, column: usize) -> String {
    let blanks = " ".repeat(column);
    let line = |(at, line): (usize, &str)| if at == 0 || line.is_empty() { line.to_owned() } else { format!("{blanks}{line}") };
    text.trim_end_matches('\n').split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n")
}
