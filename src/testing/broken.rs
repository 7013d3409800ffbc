//! Documents that are wrong: valid ones, changed where it hurts.

use super::Dice;
use serde_json::{Map, Value, json};

/// Bytes that mean something to some reader.
const TOKENS: [&[u8]; 34] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x1b[31m",
    b"\x7f",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\\u202e",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"-0.0",
    b"18446744073709551615",
    b"99999999999999999999999999999999",
    b"\"items\":[",
    b"\"metadata\":{",
    b"\"results\":[",
    b"\"type\":\"",
    "größer".as_bytes(),
    b"/**/",
];

/// A document of which any part may be changed.
#[derive(Debug, Clone)]
pub(crate) struct Document(pub(crate) Value);

impl Document {
    /// Changes one place into something of another type, or takes it away, or puts something beside it.
    pub(crate) fn twist(&mut self, dice: &mut Dice) {
        let places = size(&self.0);
        let mut place = dice.below(places);
        twist_at(&mut self.0, &mut place, dice);
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }
}

/// Values in a document, with itself.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(size).sum(),
        Value::Object(all) => all.values().map(size).sum(),
        _ => 0,
    }
}

fn twist_at(value: &mut Value, place: &mut usize, dice: &mut Dice) -> bool {
    if *place == 0 {
        match value {
            Value::Object(all) if dice.one_in(2) => twist_members(all, dice),
            Value::Array(all) if dice.one_in(2) => twist_items(all, dice),
            other => *other = monster(dice),
        }
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(all) => all.iter_mut().any(|one| twist_at(one, place, dice)),
        Value::Object(all) => all.values_mut().any(|one| twist_at(one, place, dice)),
        _ => false,
    }
}

fn twist_members(all: &mut Map<String, Value>, dice: &mut Dice) {
    let keys: Vec<String> = all.keys().cloned().collect();
    let key = keys.get(dice.below(keys.len())).cloned().unwrap_or_default();
    match dice.below(3) {
        0 => drop(all.remove(&key)),
        1 => drop(all.insert(key, monster(dice))),
        _ => drop(all.insert(text(dice), monster(dice))),
    }
}

fn twist_items(all: &mut Vec<Value>, dice: &mut Dice) {
    let place = dice.below(all.len() + 1);
    match (all.get(place).cloned(), dice.below(3)) {
        (Some(_), 0) => drop(all.remove(place)),
        (Some(again), 1) => all.insert(place, again),
        _ => all.insert(place, monster(dice)),
    }
}

/// A value that nobody expects.
pub(crate) fn monster(dice: &mut Dice) -> Value {
    match dice.below(16) {
        0 => Value::Null,
        1 => json!(dice.one_in(2)),
        2 => json!(dice.number()),
        3 => json!(-(dice.below(1000) as i64)),
        4 => json!(i64::MIN),
        5 => json!(1.5e300),
        6 => json!([]),
        7 => json!({}),
        8 => json!([monster(dice)]),
        9 => json!({ text(dice): monster(dice) }),
        10 => nested(dice.below(100)),
        11 => json!("*".repeat(dice.below(50))),
        _ => json!(text(dice)),
    }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("deep"), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) })
}

/// A short text with what texts should not hold.
fn text(dice: &mut Dice) -> String {
    let parts = [
        "",
        "a",
        "kyverno",
        "a/b",
        "/",
        "\0",
        "\u{1b}[2J",
        "\u{202e}",
        "ü",
        "\u{1f600}",
        "\n",
        "\"",
        "*?",
        "2026-01-01T00:00:00Z",
        "-1",
        "autogen-",
    ];
    dice.some(4, |dice| *dice.of(&parts)).concat()
}

/// Brackets, far deeper than any reader's stack, closed or not.
pub(crate) fn deep(dice: &mut Dice) -> Vec<u8> {
    let depth = *dice.of(&[100, 127, 128, 129, 1_000, 20_000]);
    let (open, close): (&[u8], &[u8]) = *dice.of(&[(b"[" as &[u8], b"]" as &[u8]), (b"{\"a\":", b"}")]);
    let mut out = open.repeat(depth);
    out.extend_from_slice(b"1");
    if !dice.one_in(3) {
        out.extend(close.repeat(depth));
    }
    out
}

/// One of `seeds`, changed byte by byte: flipped, cut, doubled, spliced with another, stuffed.
pub(crate) fn broken(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.of(seeds).clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let most = 1 << dice.below(9);
        let end = (at + dice.below(most)).min(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            3 => {
                let other = dice.of(seeds);
                let from = dice.below(other.len() + 1);
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            5 if dice.one_in(200) => drop(bytes.splice(at..end, deep(dice))),
            _ => drop(bytes.splice(at..end, dice.of(&TOKENS).iter().copied())),
        }
    }
    bytes
}

/// The bytes in pieces of any size, as a network brings them; none is empty.
pub(crate) fn chunks<'a>(mut bytes: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    let most = *dice.of(&[1, 3, 17, 200, 5_000]);
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (now, later) = bytes.split_at((dice.below(most) + 1).min(bytes.len()));
        out.push(now);
        bytes = later;
    }
    out
}
