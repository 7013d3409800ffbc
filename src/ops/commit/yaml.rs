//! YAML files as trees that know where each thing stands in the text.

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};
use serde_json::Value;

/// A document of a file that says something.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    pub(super) value: Value,
}

/// A thing and the bytes it takes.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) start: usize,
    /// Where its last sign ends.
    pub(super) end: usize,
    pub(super) shape: Shape,
    /// It has an anchor or a tag, or is an alias: it means more than it says.
    pub(super) odd: bool,
}

#[derive(Debug)]
pub(super) enum Shape {
    Scalar(ScalarStyle),
    Sequence { flow: bool, items: Vec<Node> },
    Mapping { flow: bool, entries: Vec<Entry> },
}

/// A member of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key begins.
    pub(super) start: usize,
    /// Where key and value end.
    pub(super) end: usize,
    pub(super) value: Node,
}

/// The documents of a file. The error says what is wrong.
pub(super) fn read(text: &str) -> Result<Vec<Document>, String> {
    let mut reader = Reader { text, open: Vec::new(), done: Vec::new() };
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| crate::domain::clean(&error.to_string()).into_owned())?;
        reader.take(event, &span)?;
    }
    let mut documents = Vec::new();
    for root in reader.done {
        let value: Value =
            serde_saphyr::from_str(source(text, &root)).map_err(|error| crate::domain::clean(&error.to_string()).into_owned())?;
        if !value.is_null() {
            documents.push(Document { root, value });
        }
    }
    Ok(documents)
}

/// A document's text alone, its last line break included: a block of text needs it.
fn source<'a>(text: &'a str, root: &Node) -> &'a str {
    let line = line_start(text, root.start);
    let blank = text.get(line..root.start).is_some_and(|before| before.trim().is_empty());
    text.get(if blank { line } else { root.start }..next_line(text, root.end)).unwrap_or_default()
}

/// Where the line after a place begins.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |found| at + found + 1)
}

/// Where the line of a place begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |found| found + 1)
}

/// Where the line of a place ends, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |found| at + found);
    if text.get(..end).is_some_and(|before| before.ends_with('\r')) && end > at { end - 1 } else { end }
}

enum Open {
    Sequence { start: usize, flow: bool, odd: bool, items: Vec<Node> },
    Mapping { start: usize, flow: bool, odd: bool, entries: Vec<Entry>, key: Option<(String, usize, usize)> },
}

struct Reader<'a> {
    text: &'a str,
    open: Vec<Open>,
    done: Vec<Node>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let range = span.byte_range().ok_or_else(|| "places are not told".to_owned())?;
        match event {
            Event::Alias(_) => {
                self.put(Node { start: range.start, end: range.end, shape: Shape::Scalar(ScalarStyle::Plain), odd: true }, None)
            }
            Event::Scalar(value, style, anchor, tag) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let end = if block { self.trimmed(&range) } else { range.end };
                let odd = anchor != 0 || tag.is_some();
                self.put(Node { start: range.start, end, shape: Shape::Scalar(style), odd }, Some(&value))
            }
            Event::SequenceStart(style, anchor, tag) => {
                let (flow, odd) = (style == StructureStyle::Flow, anchor != 0 || tag.is_some());
                self.open.push(Open::Sequence { start: range.start, flow, odd, items: Vec::new() });
                Ok(())
            }
            Event::MappingStart(style, anchor, tag) => {
                let (flow, odd) = (style == StructureStyle::Flow, anchor != 0 || tag.is_some());
                self.open.push(Open::Mapping { start: range.start, flow, odd, entries: Vec::new(), key: None });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            _ => Ok(()),
        }
    }

    /// A block of text ends with its last line that has something on it.
    fn trimmed(&self, range: &std::ops::Range<usize>) -> usize {
        self.text.get(range.clone()).map_or(range.end, |part| range.start + part.trim_end().len())
    }

    fn close(&mut self, end: usize) -> Result<(), String> {
        let node = match self.open.pop() {
            Some(Open::Sequence { start, flow, odd, items }) => {
                let last = items.last().map_or(start, |item| item.end);
                Node { start, end: if flow { end } else { last }, shape: Shape::Sequence { flow, items }, odd }
            }
            Some(Open::Mapping { start, flow, odd, entries, .. }) => {
                let start = if flow { start } else { entries.first().map_or(start, |entry| entry.start) };
                let last = entries.last().map_or(start, |entry| entry.end);
                Node { start, end: if flow { end } else { last }, shape: Shape::Mapping { flow, entries }, odd }
            }
            None => return Err("it ends before it began".to_owned()),
        };
        self.put(node, None)
    }

    fn put(&mut self, node: Node, text: Option<&str>) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.done.push(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                None => {
                    let text = text.ok_or_else(|| "a key is no text".to_owned())?;
                    *key = Some((text.to_owned(), node.start, node.end));
                }
                Some((key, start, end)) => entries.push(Entry { key, start, end: end.max(node.end.min(self.text.len())), value: node }),
            },
        }
        Ok(())
    }
}
