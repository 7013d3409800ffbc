//! Journals of any bytes: pages tell of every line once, whatever is in it.

use super::*;
use crate::testing::{broken, many_cases};

/// Lines in a file that are whole, and whether something stands behind them.
fn lines(bytes: &[u8]) -> (u64, bool) {
    (memchr::memchr_iter(b'\n', bytes).count() as u64, bytes.last().is_some_and(|byte| *byte != b'\n'))
}

#[test]
fn pages_of_any_bytes_tell_of_every_line_once() {
    let (_root, journal) = months();
    let seeds = [text(&journal, "2026-10.jsonl").into_bytes()];
    // Each is a folder of files, with hundreds of lines in it.
    many_cases("pages_of_any_bytes", 60_000, 500, |dice| {
        let root = tempfile::tempdir().unwrap();
        let names = ["2026-09.jsonl", "2026-10.jsonl", "2026-11.jsonl"];
        let files: Vec<Vec<u8>> = names.iter().map(|_| if dice.one_in(5) { Vec::new() } else { broken(&seeds, dice) }).collect();
        for (name, bytes) in names.iter().zip(&files) {
            fs::write(root.path().join(name), bytes).unwrap();
        }
        let journal = Journal::open(root.path());
        let pages = pages(&journal, 1 << dice.below(20));
        let told: u64 = pages.iter().map(|page| page.found.len() as u64 + page.unreadable).sum();
        let torn = files[..2].iter().filter(|bytes| lines(bytes).1).count() as u64;
        assert_eq!(told, files.iter().map(|bytes| lines(bytes).0).sum::<u64>() + torn);
        let found: Vec<_> = pages.iter().flat_map(|page| &page.found).collect();
        assert_eq!(found.iter().map(|found| &found.spot).collect::<BTreeSet<_>>().len(), found.len());
        if !found.is_empty() {
            let found = dice.of(&found);
            assert_eq!(journal.whole(&found.spot).unwrap().entry, found.entry);
        }
    });
}
