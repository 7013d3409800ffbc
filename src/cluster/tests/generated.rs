//! Lists, watches, Tables and refusals of any bytes, in pieces of any size: no panic, and what is wrong costs only itself.

use crate::cluster::reader::{News, Reader};
use crate::cluster::refusal::Refusal;
use crate::cluster::splitter::{Items, Lines, ObjectLimit, Piece};
use crate::cluster::table;
use crate::domain::Tally;
use crate::fleet::delta::Change;
use crate::testing::{Dice, Document, broken, cases, chunks, monster};
use bytes::Bytes;
use serde_json::{Value, json};

/// Objects as lists hold them; few, so that results of reports repeat themselves.
fn object(n: usize, dice: &mut Dice) -> Value {
    let result = |dice: &mut Dice| {
        let message = dice.pick(&["m", "m }]\\\"", ",\"timestamp\":{\"nanos\":0,\"seconds\":5}}"]);
        json!({"message": message, "policy": "p", "result": "fail", "timestamp": {"nanos": 0, "seconds": 1_700_000_000 + dice.below(3)}})
    };
    match dice.below(4) {
        0 => {
            json!({"metadata": {"name": format!("good-{n}"), "resourceVersion": "5", "labels": {"items": "[{"}}, "spec": [{"items": [1]}]})
        }
        1 => {
            json!({"metadata": {"name": format!("good-{n}"), "resourceVersion": "5", "l": [[[{"timestamp": {"nanos": 0, "seconds": 1}}]]]}})
        }
        _ => {
            json!({"kind": "R", "metadata": {"name": format!("good-{n}"), "resourceVersion": "5"}, "results": dice.some(3, result), "scope": {"uid": "u"}})
        }
    }
}

fn feed(bytes: &[u8], dice: &mut Dice) -> (Vec<Bytes>, Vec<u8>) {
    let (mut items, mut out) = (Items::default(), Vec::new());
    for chunk in chunks(bytes, dice) {
        items.feed(chunk, |piece| match piece {
            Piece::Whole(item) => out.push(item),
            Piece::TooBig => panic!("nothing here is too big"),
        });
    }
    (out, items.envelope())
}

/// The same, byte by byte and with all bytes there.
fn cut_slowly(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut out, mut depth, mut in_string, mut escaped, mut place, mut start) = (Vec::new(), 0usize, false, false, "envelope", 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                let named = || {
                    let key = bytes[start..at].trim_ascii_end().strip_suffix(b":");
                    key.is_some_and(|key| key.trim_ascii_end().ends_with(b"\"items\""))
                };
                match place {
                    "envelope" if *byte == b'[' && depth == 1 && named() => place = "items",
                    "items" => (place, start) = ("item", at),
                    _ => {}
                }
                depth += 1;
            }
            b'}' | b']' if !in_string => {
                depth = depth.saturating_sub(1);
                match (place, depth) {
                    ("item", 2) => {
                        out.push(&bytes[start..=at]);
                        place = "items";
                    }
                    ("items", 1) if *byte == b']' => (place, start) = ("envelope", at),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    out
}

#[test]
fn lists_are_cut_the_same_whatever_their_pieces() {
    cases("lists_are_cut", 10_000, |dice| {
        let items: Vec<Value> = (0..dice.below(6)).map(|n| if dice.one_in(5) { monster(dice) } else { object(n, dice) }).collect();
        let whole = json!({"kind": "L", "metadata": {"resourceVersion": "7", "continue": "x"}, "items": items}).to_string();
        let (cut, envelope) = feed(whole.as_bytes(), dice);
        let wanted: Vec<String> = items.iter().filter(|item| item.is_object() || item.is_array()).map(Value::to_string).collect();
        assert_eq!(cut, wanted);
        assert_eq!(serde_json::from_slice::<Value>(&envelope).unwrap()["metadata"]["resourceVersion"], "7");
        let bad = broken(&[whole.into_bytes()], dice);
        assert_eq!(feed(&bad, dice).0, cut_slowly(&bad));
    });
}

fn read(bytes: &[u8], listing: bool, dice: &mut Dice) -> (Vec<News>, Reader) {
    let mut reader = Reader::new(crate::cluster::requests::Arriving::empty(), listing, ObjectLimit::default());
    let news = chunks(bytes, dice).into_iter().map(|chunk| reader.take(chunk)).collect();
    (news, reader)
}

#[test]
fn a_bad_line_of_a_watch_costs_only_itself() {
    cases("a_bad_line_of_a_watch", 10_000, |dice| {
        let (mut lines, mut good, mut bad) = (Vec::new(), Vec::new(), 0);
        for n in 0..dice.below(8) {
            let object = object(n, dice);
            let word = dice.pick(&["ADDED", "MODIFIED", "DELETED"]);
            let line = match dice.below(3) {
                0 => json!({"object": object, "type": word}).to_string(),
                1 => format!("{{\"type\":\"{word}\",\"object\":{object}}}"),
                _ => {
                    let mut line = broken(
                        &[json!({"type": word, "object": {"kind": "bad"}}).to_string().into_bytes(), b"{\"type\":\"AD".to_vec()],
                        dice,
                    );
                    line.retain(|byte| *byte != b'\n');
                    bad += usize::from(!line.is_empty());
                    lines.push(line);
                    continue;
                }
            };
            lines.push(line.into_bytes());
            good.push((if word == "DELETED" { Change::Deleted } else { Change::Put }, Bytes::from(object.to_string())));
        }
        let mut bytes = lines.join(&b'\n');
        bytes.push(b'\n');
        let (news, mut reader) = read(&bytes, false, dice);
        let skipped: usize = news.iter().map(|news| news.skipped as usize).sum();
        let changed: Vec<(Change, Bytes)> = news.into_iter().flat_map(|news| news.changed).collect();
        let is_good = |(_, object): &&(Change, Bytes)| object.windows(5).any(|part| part == b"good-");
        assert_eq!(changed.iter().filter(is_good).cloned().collect::<Vec<_>>(), good);
        assert!(skipped <= bad, "{skipped} of {bad}");
        drop(reader.version());
    });
}

#[test]
fn objects_of_a_list_come_in_their_order() {
    cases("objects_of_a_list", 10_000, |dice| {
        // What is true at the end of the watch, for three names.
        let mut there = [false; 3];
        let mut bytes = Vec::new();
        let end = dice.below(8);
        for step in 0..8 {
            let name = dice.below(3);
            there[name] = !dice.one_in(3);
            let word = if there[name] { "ADDED" } else { "DELETED" };
            bytes.extend(format!("{{\"type\":\"{word}\",\"object\":{{\"n\":{name}}}}}\n").into_bytes());
            if step == end {
                let end = json!({"metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}});
                bytes.extend(format!("{{\"type\":\"BOOKMARK\",\"object\":{end}}}\n").into_bytes());
            }
        }
        // As it is folded in: what is listed, the end of the list, what has changed since.
        let (mut held, mut named) = ([false; 3], [false; 3]);
        for news in read(&bytes, true, dice).0 {
            let name = |object: &Bytes| serde_json::from_slice::<Value>(object).unwrap()["n"].as_u64().unwrap() as usize;
            for object in &news.listed {
                (held[name(object)], named[name(object)]) = (true, true);
            }
            if news.list_ended {
                held = [0, 1, 2].map(|n| held[n] && named[n]);
            }
            for (change, object) in &news.changed {
                (held[name(object)], named[name(object)]) = (*change == Change::Put, true);
            }
        }
        assert_eq!(held, there);
    });
}

#[test]
fn watches_of_any_bytes_are_read() {
    let lines = [
        json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "5", "annotations": {"k8s.io/initial-events-end": "true"}}}}),
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}),
        json!({"type": "ERROR", "object": {"code": 429, "details": {"retryAfterSeconds": 7}}}),
        json!({"type": "ADDED", "object": {"kind": "X", "metadata": {"name": "n", "resourceVersion": "5"}}}),
    ];
    let lines = lines.map(|line| [line.to_string().into_bytes(), b"\n".to_vec()].concat());
    cases("watches_of_any_bytes", 10_000, |dice| {
        let bytes: Vec<u8> = (0..dice.below(4)).flat_map(|_| broken(&lines, dice)).collect();
        let (_, mut reader) = read(&bytes, dice.one_in(2), dice);
        drop(reader.version());
        drop(Refusal::from_event(&broken(&lines, dice)));
    });
}

#[test]
fn lines_are_cut_the_same_whatever_their_pieces() {
    cases("lines_are_cut", 10_000, |dice| {
        let bytes = broken(&[b"one\n\ntwo\nthree\n".to_vec(), b"\n\n".to_vec()], dice);
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in chunks(&bytes, dice) {
            lines.feed(chunk, |piece| match piece {
                Piece::Whole(line) => out.push(line),
                Piece::TooBig => panic!("nothing here is too big"),
            });
        }
        let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.len() > 1 && line.ends_with(b"\n"));
        assert_eq!(out, whole.collect::<Vec<_>>());
    });
}

#[test]
fn a_bad_row_of_a_table_costs_only_itself() {
    let columns = ["Name", "Pass", "Fail", "Warn", "Error", "Skip"].map(|name| json!({"name": name, "type": "string"}));
    cases("a_bad_row_of_a_table", 10_000, |dice| {
        let mut wanted = 0;
        let rows: Vec<Value> = dice.some(6, |dice| {
            if dice.one_in(3) {
                let mut row = Document(json!({"cells": ["bad", 0, 0, 0, 0, 0], "object": null}));
                row.twist(dice);
                // A number is a number, wherever it comes from.
                return if row.text().iter().any(|byte| (b'1'..=b'9').contains(byte)) { Value::Null } else { row.0 };
            }
            let fail = dice.below(5);
            wanted += fail as u64;
            json!({"cells": ["good", 0, fail, null, 0, 0], "object": {"metadata": {}}})
        });
        let table = json!({"kind": "Table", "columnDefinitions": columns, "rows": rows}).to_string().into_bytes();
        assert_eq!(table::read(&table).unwrap(), Some(Tally { fail: wanted, ..Tally::default() }));
        drop(table::read(&broken(&[table], dice)));
        let most =
            json!({"columnDefinitions": columns, "rows": [{"cells": ["", u64::MAX, 0, 0, 0, 1]}, {"cells": ["", u64::MAX, 0, 0, 0, 1]}]});
        let most = table::read(most.to_string().as_bytes()).unwrap().unwrap();
        assert_eq!((most.pass, most.total()), (u64::MAX, u64::MAX));
    });
}
