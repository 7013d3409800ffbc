//! However long something is, no more of it is held than the cap and one read.

use crate::cluster::splitter::{Items, Lines, ObjectLimit, Piece};

const BIGGEST: usize = 1 << 20;
const LIMIT: ObjectLimit = ObjectLimit(BIGGEST);
const READ: usize = 64 << 10;

/// A start, and what goes on for ever after it.
const ENDLESS: [(&str, &str); 9] = [
    ("", "x"),
    ("\"", "x"),
    ("", "["),
    ("", "{\"a\":"),
    ("{\"kind\":\"", "x"),
    ("{\"metadata\":{\"a\":", "[1],"),
    ("{\"items\":[", " "),
    ("{\"items\":[\"", "\\\""),
    ("{\"items\":[{\"a\":", "{\"a\":[\"x\"]},"),
];

#[test]
fn a_list_without_an_end_is_not_held() {
    for (start, more) in ENDLESS {
        let mut items = Items::new(LIMIT);
        items.feed(start.as_bytes(), |_| {});
        let block = more.repeat(READ / more.len());
        for _ in 0..(3 * BIGGEST / READ) {
            items.feed(block.as_bytes(), |_| {});
            assert!(items.held() <= BIGGEST + READ, "{start}{more}…: {} bytes", items.held());
        }
    }
}

#[test]
fn what_is_too_long_beside_the_items_costs_the_list_and_not_the_items() {
    let mut items = Items::new(LIMIT);
    let mut out = Vec::new();
    items.feed(b"{\"metadata\":{\"annotations\":{\"x\":\"", |piece| out.push(piece));
    let block = "x".repeat(READ);
    (0..(BIGGEST / READ + 2)).for_each(|_| items.feed(block.as_bytes(), |piece| out.push(piece)));
    items.feed(b"\"}},\"items\":[{\"a\":1},{\"b\":2}]}", |piece| out.push(piece));
    assert_eq!(out, [Piece::Whole("{\"a\":1}".into()), Piece::Whole("{\"b\":2}".into())]);
    assert!(serde_json::from_slice::<serde_json::Value>(&items.envelope()).is_err(), "a list whose version was lost is not complete");
}

#[test]
fn a_line_without_an_end_is_not_held() {
    let mut lines = Lines::new(LIMIT);
    let block = "x".repeat(READ);
    for _ in 0..(3 * BIGGEST / READ) {
        lines.feed(block.as_bytes(), |_| {});
        assert!(lines.held() <= BIGGEST + READ, "{} bytes", lines.held());
    }
}
