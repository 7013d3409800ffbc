//! Cutting a body into objects while it arrives: a watch into its lines, a list into its items.

use crate::kinds::report::Repeated;
use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr3};

/// How large an object may be, in bytes; one that is larger is left out and counted. etcd takes 1.5 MB by default, so the default of 16 MiB is far beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLimit(pub usize);

impl Default for ObjectLimit {
    fn default() -> Self {
        Self(16 << 20)
    }
}

/// One thing cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole line, or a whole item.
    Whole(Bytes),
    /// Something too big; its bytes are gone.
    TooBig,
}

/// Cuts at line feeds.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// Everything before this place has been looked at.
    looked: usize,
    skipping: bool,
    limit: ObjectLimit,
}

impl Lines {
    pub(super) fn new(limit: ObjectLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes bytes in and hands every complete line out.
    pub(super) fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(Piece)) {
        self.buffer.extend_from_slice(bytes);
        while let Some(at) = memchr(b'\n', self.buffer.get(self.looked..).unwrap_or_default()) {
            let line = self.buffer.split_to(self.looked + at + 1);
            self.looked = 0;
            if std::mem::take(&mut self.skipping) || line.len() > self.limit.0 {
                out(Piece::TooBig);
            } else if line.len() > 1 {
                out(Piece::Whole(line.freeze()));
            }
        }
        self.looked = self.buffer.len();
        if self.buffer.len() > self.limit.0 {
            self.skipping = true;
        }
        if self.skipping {
            self.buffer.clear();
            self.looked = 0;
        }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }
}

/// How deep a result of a report in a list stands: in the list, its items, a report, its results.
const RESULT: u32 = 4;

/// More than the key `items` is long, with the blanks around it.
const KEY: usize = 64;

/// Where in a list the splitter is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside of `items`; the bytes belong to the envelope.
    #[default]
    Envelope,
    /// Between items.
    Items,
    /// In an item that began at the start of the buffer.
    Item,
    /// In an item that is too big.
    Skipped,
}

/// Cuts a list (`{"kind":…,"metadata":{…},"items":[…]}`) into its items without waiting for its end, and keeps the rest.
///
/// It knows strings, escapes and nesting, and nothing else of JSON; items are parsed, and refused if they are bad, where they are used. Results of
/// reports that it has seen before it steps over ([`Repeated`]): of a list of reports, that leaves little to look at.
#[derive(Debug, Default)]
pub(super) struct Items {
    seen: Repeated<()>,
    /// Where in the buffer the result began that is being looked at.
    result: Option<usize>,
    buffer: BytesMut,
    looked: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    place: Place,
    envelope: Vec<u8>,
    /// The envelope was too big, and is gone.
    lost: bool,
    limit: ObjectLimit,
}

impl Items {
    pub(super) fn new(limit: ObjectLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes bytes in and hands every complete item out.
    pub(super) fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(Piece)) {
        self.buffer.extend_from_slice(bytes);
        while let Some(&byte) = self.buffer.get(self.looked) {
            if self.in_string {
                self.in_string();
                continue;
            }
            if byte == b'{' && self.depth == RESULT && self.steps_over() {
                continue;
            }
            self.looked += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.opens(byte),
                b'}' | b']' => self.closes(byte, &mut out),
                _ => {}
            }
        }
        self.tidy();
    }

    /// Steps over a result that was seen before. One that was not begins here.
    fn steps_over(&mut self) -> bool {
        let Some(length) = self.seen.length(self.buffer.get(self.looked..).unwrap_or_default()) else {
            self.result = Some(self.looked);
            return false;
        };
        self.looked += length;
        true
    }

    /// Runs to the end of the string, or of the bytes.
    fn in_string(&mut self) {
        let rest = self.buffer.get(self.looked..).unwrap_or_default();
        if std::mem::take(&mut self.escaped) {
            self.looked += 1;
            return;
        }
        match memchr3(b'"', b'\\', b'\\', rest) {
            Some(at) => {
                let quote = rest.get(at) == Some(&b'"');
                self.looked += at + 1;
                (self.in_string, self.escaped) = (!quote, !quote);
            }
            None => self.looked = self.buffer.len(),
        }
    }

    fn opens(&mut self, byte: u8) {
        match self.place {
            Place::Envelope if byte == b'[' && self.depth == 1 && self.names_items() => {
                let part = self.buffer.split_to(self.looked);
                self.envelope.extend_from_slice(&part);
                self.looked = 0;
                self.place = Place::Items;
            }
            Place::Items => {
                // Commas and blanks between items are nobody's.
                let _ = self.buffer.split_to(self.looked - 1);
                self.looked = 1;
                self.place = Place::Item;
            }
            Place::Envelope | Place::Item | Place::Skipped => {}
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn closes(&mut self, byte: u8, out: &mut impl FnMut(Piece)) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == RESULT
            && let Some(result) = self.result.take().and_then(|start| self.buffer.get(start..self.looked))
        {
            self.seen.note(result, ());
        }
        match (self.place, self.depth) {
            (Place::Item, 2) => {
                let item = self.buffer.split_to(self.looked).freeze();
                self.looked = 0;
                self.place = Place::Items;
                out(if item.len() > self.limit.0 { Piece::TooBig } else { Piece::Whole(item) });
            }
            (Place::Skipped, 2) => {
                self.place = Place::Items;
                out(Piece::TooBig);
            }
            (Place::Items, 1) if byte == b']' => {
                let _ = self.buffer.split_to(self.looked - 1);
                self.looked = 1;
                self.place = Place::Envelope;
            }
            _ => {}
        }
    }

    /// Whether the bytes before the bracket end in the key `items`.
    fn names_items(&self) -> bool {
        let before = self.buffer.get(..self.looked - 1).unwrap_or_default().trim_ascii_end();
        before.strip_suffix(b":").is_some_and(|key| key.trim_ascii_end().ends_with(b"\"items\""))
    }

    fn tidy(&mut self) {
        if self.place == Place::Item && self.buffer.len() > self.limit.0 {
            self.place = Place::Skipped;
        }
        if matches!(self.place, Place::Skipped | Place::Items) {
            self.buffer.clear();
            (self.looked, self.result) = (0, None);
        }
        if self.place == Place::Envelope && self.envelope.len() + self.buffer.len() > self.limit.0 {
            self.lost = true;
            self.envelope = Vec::new();
            // What may still become the key of the items is kept.
            let gone = self.buffer.len().saturating_sub(KEY);
            let _ = self.buffer.split_to(gone);
            (self.looked, self.result) = (self.looked.saturating_sub(gone), None);
        }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len() + self.envelope.len()
    }

    /// The list without its items, as JSON; call it at the end of the body. An envelope that was too big is no JSON.
    pub(super) fn envelope(mut self) -> Vec<u8> {
        if self.lost {
            return Vec::new();
        }
        self.envelope.extend_from_slice(&self.buffer);
        self.envelope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str, sizes: &[usize]) -> (Vec<String>, String) {
        let mut items = Items::default();
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).clamp(1, rest.len().max(1)).min(rest.len()));
            items.feed(now, |piece| {
                if let Piece::Whole(bytes) = piece {
                    out.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
            });
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        (out, String::from_utf8(items.envelope()).unwrap())
    }

    #[test]
    fn a_list_is_cut_into_items_and_its_envelope_is_kept() {
        let list = r#"{"kind":"L","metadata":{"resourceVersion":"7","x":["items",[1]]},"items":[{"a":"]}\"\\"},{"b":[{"items":[1,2]}]} , {}],"z":1}"#;
        for size in 1..20 {
            let (items, envelope) = cut(list, &[size]);
            assert_eq!(items, [r#"{"a":"]}\"\\"}"#, r#"{"b":[{"items":[1,2]}]}"#, "{}"], "{size}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&envelope).unwrap()["metadata"]["resourceVersion"], "7");
        }
        assert_eq!(cut(r#"{"items":[]}"#, &[3]).0.len(), 0);
        assert_eq!(cut(r#"{"items":null,"metadata":{}}"#, &[3]).0.len(), 0);
    }

    #[test]
    fn results_seen_before_are_stepped_over_wherever_the_bytes_break() {
        let result = |message: &str, time: u32| serde_json::json!({"message": message, "policy": "p", "properties": {"x": "}]"}, "result": "fail", "timestamp": {"nanos": 0, "seconds": time}});
        let report = |n: u32| {
            let results = [result("a", n), result("b {\"", n), result(&format!("own {n}"), n), result("a", n + 1)];
            serde_json::json!({"kind": "R", "metadata": {"name": n, "l": [{"a": [{"timestamp": {"nanos": 0, "seconds": 1}}]}]}, "results": results, "scope": {"uid": "u"}})
        };
        let reports: Vec<_> = (0..30).map(report).collect();
        let list = serde_json::json!({"items": reports, "metadata": {"resourceVersion": "7"}}).to_string();
        for size in [1, 2, 3, 7, 64, 100, 1_000, 5_000, 1 << 20] {
            let (items, envelope) = cut(&list, &[size]);
            let read: Vec<serde_json::Value> = items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            assert!(read == reports, "{size}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&envelope).unwrap()["metadata"]["resourceVersion"], "7");
        }
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_break() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for byte in b"one\n\ntwo\nthr" {
            lines.feed(&[*byte], |piece| out.push(piece));
        }
        assert_eq!(out, [Piece::Whole(Bytes::from("one\n")), Piece::Whole(Bytes::from("two\n"))]);
    }

    #[test]
    fn what_is_too_big_is_skipped_without_being_held() {
        let limit = ObjectLimit(16 << 10);
        let mut lines = Lines::new(limit);
        let mut out = Vec::new();
        let block = vec![b'x'; 1 << 10];
        for _ in 0..20 {
            lines.feed(&block, |piece| out.push(piece));
            assert!(lines.buffer.len() <= limit.0);
        }
        lines.feed(b"\nafter\n", |piece| out.push(piece));
        assert_eq!(out, [Piece::TooBig, Piece::Whole(Bytes::from("after\n"))]);
        let mut items = Items::new(limit);
        let mut out = Vec::new();
        items.feed(br#"{"items":[{"a":""#, |piece| out.push(piece));
        for _ in 0..20 {
            items.feed(&block, |piece| out.push(piece));
            assert!(items.buffer.len() <= limit.0 + block.len());
        }
        items.feed(br#""},{"b":1}]}"#, |piece| out.push(piece));
        assert_eq!(out, [Piece::TooBig, Piece::Whole(Bytes::from(r#"{"b":1}"#))]);
    }

    #[test]
    fn the_limit_holds_to_the_byte_however_much_arrives_at_once() {
        let object = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        let [fits, too_big] = [100, 101].map(object);
        assert_eq!((fits.len(), too_big.len()), (100, 101));
        for size in [1, 7, 99, 100, 101, 1 << 20] {
            let mut out = Vec::new();
            let mut items = Items::new(ObjectLimit(100));
            for bytes in format!("{{\"items\":[{fits},{too_big},{fits}]}}").as_bytes().chunks(size) {
                items.feed(bytes, |piece| out.push(piece));
            }
            let whole = Piece::Whole(Bytes::from(fits.clone()));
            assert_eq!(out, [whole.clone(), Piece::TooBig, whole], "a list in pieces of {size}");
            let mut out = Vec::new();
            let mut lines = Lines::new(ObjectLimit(101));
            for bytes in format!("{fits}\n{too_big}\n{fits}\n").as_bytes().chunks(size) {
                lines.feed(bytes, |piece| out.push(piece));
            }
            let whole = Piece::Whole(Bytes::from(format!("{fits}\n")));
            assert_eq!(out, [whole.clone(), Piece::TooBig, whole], "a watch in pieces of {size}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_list_survives_any_cuts(texts in proptest::collection::vec(".{0,12}", 0..6), sizes in proptest::collection::vec(1usize..9, 1..5)) {
            let items: Vec<serde_json::Value> = texts.iter().map(|text| serde_json::json!({"k": text, "n": [{"items": [text]}]})).collect();
            let list = serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": items});
            let (cut, envelope) = cut(&list.to_string(), &sizes);
            let read: Vec<serde_json::Value> = cut.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(read, items);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&envelope).is_ok());
        }
    }
}
