//! Reading a watch while it arrives: which objects came, whether the list is complete, and from which version to go on.

use super::refusal::Refusal;
use super::requests::Arriving;
use super::splitter::{Lines, ObjectLimit, Piece};
use crate::fleet::delta::Change;
use bytes::Bytes;
use serde::Deserialize;

/// One line of a watch.
enum Line<'a> {
    Object(Change, &'a [u8]),
    Bookmark(&'a [u8]),
    Error(&'a [u8]),
    Unknown,
}

/// What a chunk of a watch said.
#[derive(Default)]
pub(super) struct News {
    /// Objects of the list that is under way.
    pub(super) listed: Vec<Bytes>,
    /// The list is complete.
    pub(super) list_ended: bool,
    /// Changes after it.
    pub(super) changed: Vec<(Change, Bytes)>,
    /// Objects that were left out: too big, or half a line.
    pub(super) skipped: u32,
    /// A line was no event, or its object no JSON: what it said is not known.
    pub(super) garbled: bool,
    /// The watch ended with an error.
    pub(super) error: Option<Refusal>,
}

impl News {
    fn lose(&mut self) {
        self.skipped += 1;
        self.garbled = true;
    }
}

/// A watch as it arrives.
pub(super) struct Reader {
    pub(super) body: Arriving,
    lines: Lines,
    /// Still in the initial events of a streaming list.
    pub(super) listing: bool,
    /// Nothing has arrived yet.
    pub(super) silent: bool,
    /// The version to go on from.
    pub(super) version: Option<String>,
    /// The last object, whose version is only read if it is needed.
    last: Option<Bytes>,
}

impl Reader {
    pub(super) fn new(body: Arriving, listing: bool, limit: ObjectLimit) -> Self {
        Self { body, lines: Lines::new(limit), listing, silent: true, version: None, last: None }
    }

    /// Reads what has arrived.
    pub(super) fn take(&mut self, bytes: &[u8]) -> News {
        self.silent = false;
        let mut pieces = Vec::new();
        self.lines.feed(bytes, |piece| pieces.push(piece));
        let mut news = News::default();
        for piece in pieces {
            match piece {
                Piece::TooBig => news.skipped += 1,
                Piece::Whole(line) => self.line(&line, &mut news),
            }
        }
        news
    }

    fn line(&mut self, line: &Bytes, news: &mut News) {
        match read_line(line) {
            // A change comes once. In a list, which would have to be read twice for this, it is counted where it is used.
            Line::Object(_, object) if !self.listing && !is_json(object) => news.lose(),
            Line::Object(change, object) => {
                let object = line.slice_ref(object);
                self.last = Some(object.clone());
                // While a list arrives things already change: what comes after a deletion stays after it, or an object that was made anew would go.
                if self.listing && change == Change::Put && news.changed.is_empty() {
                    news.listed.push(object);
                } else {
                    news.changed.push((change, object));
                }
            }
            Line::Bookmark(object) => {
                let Ok(mark) = serde_json::from_slice::<Marked>(object) else { return };
                if self.listing && mark.metadata.annotations.get("k8s.io/initial-events-end").is_some_and(|v| v == "true") {
                    (self.listing, news.list_ended) = (false, true);
                }
                (self.version, self.last) = (Some(mark.metadata.resource_version), None);
            }
            Line::Error(status) => news.error = Some(Refusal::from_event(status)),
            // Half a line, or something that is no event: left out and counted, like an object that is too big.
            Line::Unknown => news.lose(),
        }
    }

    /// The newest version that was seen.
    pub(super) fn version(&mut self) -> Option<String> {
        if let Some(object) = self.last.take()
            && let Ok(marked) = serde_json::from_slice::<Marked>(&object)
        {
            self.version = Some(marked.metadata.resource_version);
        }
        self.version.clone()
    }
}

#[derive(Deserialize)]
struct Marked {
    metadata: MarkedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkedMetadata {
    resource_version: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Whether the bytes of an object can be read at all.
fn is_json(object: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(object).is_ok()
}

/// One line of a watch, in any spelling.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    word: &'a str,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

/// Reads one line: `{"type":"ADDED","object":{…}}`. API servers write it just so (kubernetes/apimachinery `metav1.WatchEvent`), which
/// saves reading every object twice; another order or spacing takes the long way.
fn read_line(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii_end();
    let short = line.strip_prefix(b"{\"type\":\"").and_then(|rest| {
        let end = memchr::memchr(b'"', rest)?;
        let (word, rest) = rest.split_at(end);
        let object = rest.strip_prefix(b"\",\"object\":")?.strip_suffix(b"}")?;
        let whole = object.starts_with(b"{") && object.ends_with(b"}");
        Some((std::str::from_utf8(word).ok()?, object)).filter(|_| whole)
    });
    let (word, object) = if let Some(found) = short {
        found
    } else {
        match serde_json::from_slice::<Event<'_>>(line) {
            Ok(event) => (event.word, event.object.get().as_bytes()),
            Err(_) => return Line::Unknown,
        }
    };
    match word {
        "ADDED" | "MODIFIED" => Line::Object(Change::Put, object),
        "DELETED" => Line::Object(Change::Deleted, object),
        "BOOKMARK" => Line::Bookmark(object),
        "ERROR" => Line::Error(object),
        _ => Line::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_any_spelling() {
        let usual = br#"{"type":"MODIFIED","object":{"kind":"X"}}"#;
        assert!(matches!(read_line(usual), Line::Object(Change::Put, br#"{"kind":"X"}"#)));
        let other = br#"{ "object": {"kind":"X"}, "type": "DELETED" }"#;
        assert!(matches!(read_line(other), Line::Object(Change::Deleted, br#"{"kind":"X"}"#)));
        assert!(matches!(read_line(b"{\"type\":\"ADDED\",\"obj"), Line::Unknown));
        assert!(matches!(read_line(br#"{"type":"ERROR","object":{"code":410}}"#), Line::Error(_)));
    }

    #[test]
    fn a_change_whose_object_is_garbled_is_known_to_be_lost() {
        let good = r#"{"type":"MODIFIED","object":{"metadata":{"name":"a"}}}"#;
        for bad in [
            r#"{"type":"MODIFIED","object":{"metadata":{"name":}}}"#,
            r#"{"type":"DELETED","object":{"metadata":{"name":"a}}}"#,
            r#"{"type":"ADDED","object":{"metadata" {"name":"a"}}}"#,
            r#"{"type":"MODIFIED","object":{"kind""#,
            "what",
        ] {
            let mut reader = Reader::new(Arriving::empty(), false, ObjectLimit::default());
            let news = reader.take(format!("{good}\n{bad}\n{good}\n").as_bytes());
            assert_eq!((news.changed.len(), news.skipped, news.garbled), (2, 1, true), "{bad}");
        }
        let mut reader = Reader::new(Arriving::empty(), false, ObjectLimit(60));
        let news = reader.take(format!("{good}\n{}\n", good.replace("\"a\"", "\"aaaaaaaaaa\"")).as_bytes());
        assert_eq!((news.changed.len(), news.skipped, news.garbled), (1, 1, false), "a list would hold it, too");
    }
}
