//! Entries as lines, each chained to the one before by a hash.
//!
//! An entry's line is its canonical form: compact JSON, fields in the order of [`Record`], keys of the gate sorted, control characters
//! escaped, `hash` last. The hash is that of `prev` followed by the line as it is without `,"hash":"…"`. It is the text that is hashed and
//! not the values, so that numbers that print differently in another release, and fields that this release does not know, do no harm:
//!
//! ```sh
//! line=$(head -n 1 2026-11.jsonl); body=$(printf %s "$line" | sed 's/,"hash":"[0-9a-f]*"}$/}/')
//! printf %s%s "$(printf %s "$line" | jq -r .prev)" "$body" | sha256sum
//! ```

use super::{Entry, Record};
use crate::domain::escape_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What stands for the hash before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What comes between an entry's text and its hash.
const HASH: &str = ",\"hash\":\"";
const HASH_END: &str = "\"}";

/// Of an entry, what chains it: enough to check a line that a newer release has written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// The entry's number.
    pub seq: u64,
    /// The hash before.
    pub prev: String,
    /// Its hash.
    pub hash: String,
}

/// Where the journal ends, kept beside it: without it, lines that were cut off at the end would leave no trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last entry's number; 0 where there is none.
    pub seq: u64,
    /// The last entry's hash.
    pub hash: String,
    /// Each file's last entry.
    #[serde(default)]
    pub files: BTreeMap<String, u64>,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned(), files: BTreeMap::new() }
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// It is no entry at all.
    NotAnEntry,
    /// It is an entry whose text does not belong to its hash.
    Changed(Link),
}

#[derive(Serialize)]
struct Unsealed<'a> {
    seq: u64,
    #[serde(flatten)]
    record: &'a Record,
    prev: &'a str,
}

/// Gives a record its place after the entry that has the number `seq - 1` and the hash `prev`; also returns its line, without a line break.
///
/// Fails only where a value cannot be written as JSON.
pub fn seal(record: Record, seq: u64, prev: &str) -> Result<(Entry, String), serde_json::Error> {
    let text = serde_json::to_string(&Unsealed { seq, record: &record, prev })?;
    let text = escape_json(&text);
    let hash = digest(prev, &text);
    let line = format!("{}{HASH}{hash}{HASH_END}", text.strip_suffix('}').unwrap_or(&text));
    Ok((Entry { seq, record, prev: prev.to_owned(), hash }, line))
}

/// Reads what chains a line, whether its hash is right or not.
pub fn link(line: &[u8]) -> Option<Link> {
    serde_json::from_slice(line).ok()
}

/// Checks a line, which has no line break, against its hash.
pub fn unseal(line: &[u8]) -> Result<Link, Broken> {
    let found = link(line).ok_or(Broken::NotAnEntry)?;
    let text = std::str::from_utf8(line).map_err(|_| Broken::NotAnEntry)?;
    let own = text.rsplit_once(HASH).and_then(|(text, hash)| Some((text, hash.strip_suffix(HASH_END)?)));
    match own {
        Some((text, hash)) if hash == found.hash && digest(&found.prev, &format!("{text}}}")) == hash => Ok(found),
        _ => Err(Broken::Changed(found)),
    }
}

/// SHA-256 over both texts, in hex.
fn digest(prev: &str, text: &str) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(prev.as_bytes());
    context.update(text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in context.finish().as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
