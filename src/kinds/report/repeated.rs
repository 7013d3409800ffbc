//! Reading reports whose results have nearly all been read before.
//!
//! A million results say a few thousand different things. API servers write the keys of custom resources in the order of the alphabet
//! (Go's encoding/json of maps), so that `timestamp` comes last in a result without resources of its own, and two results that differ in nothing
//! but their time have the same bytes up to there. [`Repeated`] remembers what those bytes meant: most results are then found, not read.
//!
//! What lives here: finding results by their bytes. What does not: what a result means (the caller's `learn`), and reports of any other shape or
//! spelling, which [`super::read_report`] reads.
//!
//! # Why equal bytes are enough
//! Bytes are remembered only after a JSON parser took them, with a time behind them, for a whole result. The same bytes with another time are a whole
//! result again. The mark that is looked for cannot stand inside a text: there its quotes would be escaped.

use super::{Metadata, RawResult, Reference};
use hashbrown::{DefaultHashBuilder, HashTable};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::hash::BuildHasher;

/// What stands between the rest of a result and its time.
const MARK: &[u8] = b",\"timestamp\":{\"nanos\":0,\"seconds\":";
/// What stands behind the time.
const END: &[u8] = b"}}";
/// A result that is longer than this is read each time: a search for its mark must not walk through a whole report.
const LONGEST: usize = 4096;
/// Bytes that are remembered; beyond, everything is forgotten and learned anew.
const MOST: usize = 1 << 20;

/// What results meant. `T` is a copy of numbers, valid until [`Repeated::forget`].
#[derive(Debug)]
pub(crate) struct Repeated<T> {
    index: HashTable<Meaning<T>>,
    arena: Vec<u8>,
    hasher: DefaultHashBuilder,
    mark: Finder<'static>,
}

#[derive(Debug, Clone, Copy)]
struct Meaning<T> {
    start: u32,
    end: u32,
    means: T,
}

/// A report all of whose results are about its scope.
pub(crate) struct PlainReport<'a, T> {
    /// Metadata, with a name.
    pub(crate) metadata: Metadata<'a>,
    /// What the results are about.
    pub(crate) scope: Option<Reference<'a>>,
    /// What each result means, and its time in seconds since 1970 (0 if unknown).
    pub(crate) results: Vec<(T, i64)>,
}

impl<T> Default for Repeated<T> {
    fn default() -> Self {
        Self { index: HashTable::new(), arena: Vec::new(), hasher: DefaultHashBuilder::default(), mark: Finder::new(MARK) }
    }
}

impl<T: Copy> Repeated<T> {
    /// Reads a report. `learn` says what a result means that is not known; `None` from it, as for a result with resources of its own, means
    /// that the report is no plain one. `None` is no error: [`super::read_report`] reads what is not read here.
    pub(crate) fn read<'a>(&mut self, json: &'a [u8], mut learn: impl FnMut(&RawResult<'_>) -> Option<T>) -> Option<PlainReport<'a, T>> {
        let mut at = Cursor(json.trim_ascii());
        let (mut metadata, mut scope, mut results, mut source) = (None, None, None, None);
        at.take(b'{')?;
        loop {
            match at.key()? {
                b"metadata" if metadata.is_none() => metadata = Some(at.value::<Metadata<'a>>()?),
                b"scope" if scope.is_none() => scope = Some(at.value::<Option<Reference<'a>>>()?),
                b"results" if results.is_none() => results = Some(self.results(&mut at, &mut learn)?),
                b"source" if source.is_none() => source = Some(at.value::<IgnoredAny>()?),
                // Twice the same key is for the long way to judge.
                b"metadata" | b"scope" | b"results" | b"source" => return None,
                _ => drop(at.value::<IgnoredAny>()?),
            }
            if at.more(b'}')? {
                continue;
            }
            let metadata = metadata.filter(|metadata| at.0.is_empty() && !metadata.name.as_str().is_empty())?;
            return Some(PlainReport { metadata, scope: scope.flatten(), results: results.unwrap_or_default() });
        }
    }

    fn results(&mut self, at: &mut Cursor<'_>, learn: &mut impl FnMut(&RawResult<'_>) -> Option<T>) -> Option<Vec<(T, i64)>> {
        let mut all = Vec::new();
        at.take(b'[')?;
        if at.take(b']').is_some() {
            return Some(all);
        }
        loop {
            let (found, length) = match self.find(at.0) {
                Some(found) => found,
                None => self.learn(at.0, learn)?,
            };
            all.push(found);
            at.skip(length)?;
            if !at.more(b']')? {
                return Some(all);
            }
        }
    }

    /// What the result at the start of `json` means, if it is known, with its time and its length.
    fn find(&self, json: &[u8]) -> Option<((T, i64), usize)> {
        let (said, time, length) = self.cut(json)?;
        let hash = self.hasher.hash_one(said);
        let known = self.index.find(hash, |known| self.said(known) == said)?;
        Some(((known.means, time), length))
    }

    fn learn(&mut self, json: &[u8], learn: &mut impl FnMut(&RawResult<'_>) -> Option<T>) -> Option<((T, i64), usize)> {
        let mut values = serde_json::Deserializer::from_slice(json).into_iter::<RawResult<'_>>();
        let result = values.next()?.ok()?;
        let length = values.byte_offset();
        let means = learn(&result)?;
        if let Some((said, time, cut)) = self.cut(json)
            && (cut, time) == (length, result.seconds())
        {
            self.remember(said, means);
        }
        Some(((means, result.seconds()), length))
    }

    /// Cuts what may be a result into what it says, its time, and its length.
    fn cut<'a>(&self, json: &'a [u8]) -> Option<(&'a [u8], i64, usize)> {
        let near = json.get(..LONGEST.min(json.len()))?;
        let mark = self.mark.find(near)?;
        let behind = json.get(mark + MARK.len()..)?;
        let digits = behind.iter().take(11).take_while(|byte| byte.is_ascii_digit()).count();
        let number = behind.get(..digits)?;
        // JSON has no numbers with leading zeros.
        if number.is_empty() || (digits > 1 && number.first() == Some(&b'0')) || !behind.get(digits..)?.starts_with(END) {
            return None;
        }
        let time = number.iter().fold(0, |time, digit| time * 10 + i64::from(digit - b'0'));
        Some((json.get(..mark)?, time, mark + MARK.len() + digits + END.len()))
    }

    /// How long the result at the start of `json` is, if it is known.
    pub(crate) fn length(&self, json: &[u8]) -> Option<usize> {
        self.find(json).map(|(_, length)| length)
    }

    /// Remembers a result that the caller has seen the end of.
    pub(crate) fn note(&mut self, result: &[u8], means: T) {
        if let Some((said, _, length)) = self.cut(result)
            && length == result.len()
            && self.length(result).is_none()
        {
            self.remember(said, means);
        }
    }

    fn remember(&mut self, said: &[u8], means: T) {
        if self.arena.len() + said.len() > MOST {
            self.forget();
        }
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(said);
        let known = Meaning { start, end: self.arena.len() as u32, means };
        let Self { index, arena, hasher, .. } = self;
        index.insert_unique(hasher.hash_one(said), known, |known| hasher.hash_one(slice(arena, known)));
    }

    fn said(&self, known: &Meaning<T>) -> &[u8] {
        slice(&self.arena, known)
    }

    /// Forgets everything; needed when the numbers in `T` change their meaning.
    pub(crate) fn forget(&mut self) {
        self.index.clear();
        self.arena.clear();
    }
}

fn slice<'a, T>(arena: &'a [u8], known: &Meaning<T>) -> &'a [u8] {
    arena.get(known.start as usize..known.end as usize).unwrap_or_default()
}

/// JSON without blanks between its parts, from some place on.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    /// Whether another entry follows; `None` if neither a comma nor `end` does.
    fn more(&mut self, end: u8) -> Option<bool> {
        if self.take(b',').is_some() { Some(true) } else { self.take(end).map(|()| false) }
    }

    /// A key of plain characters, and the colon behind it.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let end = memchr::memchr2(b'"', b'\\', self.0)?;
        let (key, rest) = self.0.split_at_checked(end)?;
        if !key.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return None;
        }
        self.0 = rest;
        self.take(b'"')?;
        self.take(b':')?;
        Some(key)
    }

    fn value<V: Deserialize<'a>>(&mut self) -> Option<V> {
        let mut values = serde_json::Deserializer::from_slice(self.0).into_iter::<V>();
        let value = values.next()?.ok()?;
        let length = values.byte_offset();
        self.skip(length)?;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(message: &str, seconds: i64) -> serde_json::Value {
        json!({"message": message, "policy": "p", "result": "fail", "source": "kyverno", "timestamp": {"nanos": 0, "seconds": seconds}})
    }

    fn report(results: &[serde_json::Value]) -> String {
        json!({"kind": "PolicyReport", "metadata": {"name": "n", "managedFields": [{"x": "]}"}]}, "results": results, "scope": {"uid": "u"}}).to_string()
    }

    /// Reads with a meaning that is the length of the message; returns the results and how many were learned.
    fn read(repeated: &mut Repeated<usize>, json: &str) -> Option<(Vec<(usize, i64)>, usize)> {
        let mut learned = 0;
        let report = repeated.read(json.as_bytes(), |result| {
            learned += 1;
            result.resources().is_empty().then(|| result.message.as_str().len())
        })?;
        assert_eq!(report.metadata.name.as_str(), "n");
        Some((report.results, learned))
    }

    #[test]
    fn what_was_read_once_is_found_with_any_time() {
        let mut repeated = Repeated::default();
        let first = report(&[result("a", 5), result("bb", 5), result("a", 1_700_000_000)]);
        assert_eq!(read(&mut repeated, &first), Some((vec![(1, 5), (2, 5), (1, 1_700_000_000)], 2)));
        assert_eq!(read(&mut repeated, &report(&[result("bb", 0), result("a", 7)])), Some((vec![(2, 0), (1, 7)], 0)));
        repeated.forget();
        assert_eq!(read(&mut repeated, &report(&[result("a", 7)])), Some((vec![(1, 7)], 1)));
    }

    #[test]
    fn texts_that_look_like_the_mark_are_texts() {
        let mut repeated = Repeated::default();
        let sly = r#"x,"timestamp":{"nanos":0,"seconds":3}}"#;
        for _ in 0..2 {
            let read = read(&mut repeated, &report(&[result(sly, 9), result("a", 4)])).unwrap();
            assert_eq!(read.0, [(sly.len(), 9), (1, 4)]);
        }
    }

    #[test]
    fn a_result_without_a_time_does_not_borrow_its_neighbours() {
        let mut repeated = Repeated::default();
        let mut bare = result("a", 0);
        bare.as_object_mut().unwrap().remove("timestamp");
        for _ in 0..2 {
            let (results, _) = read(&mut repeated, &report(&[bare.clone(), result("bb", 4), bare.clone()])).unwrap();
            assert_eq!(results, [(1, 0), (2, 4), (1, 0)]);
        }
    }

    #[test]
    fn other_shapes_are_left_to_the_long_way() {
        let good = report(&[result("a", 5)]);
        let own = report(&[json!({"policy": "p", "result": "pass", "resources": [{"uid": "u"}]})]);
        let odd = [
            own.as_str(),
            "",
            "{}",
            "[]",
            r#"{"metadata":{"name":"n"},"results":null}"#,
            r#"{"metadata":{"name":"n"},"results":[7]}"#,
            r#"{"metadata":{"name":"n"},"metadata":{"name":"m"}}"#,
            r#"{"metadata":{"name":"n"},"source":"a","source":"b"}"#,
            r#"{"metadata":{"name":"n"}}}"#,
            "{\"metadata\":{\"name\":\"n\"},\"ki\nnd\":7}",
            r#"{"metadata":{"name":"n"},"results":[{"policy":"p","timestamp":{"nanos":0,"seconds":007}}]}"#,
            &good[..good.len() - 1],
        ];
        for json in odd {
            assert_eq!(read(&mut Repeated::default(), json), None, "{json}");
        }
        assert_eq!(read(&mut Repeated::default(), r#"{"metadata":{"name":"n"}}"#), Some((vec![], 0)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeated = Repeated::default();
        for n in 0..2_000 {
            let json = report(&[result(&format!("{n} {}", "x".repeat(1_000)), 5)]);
            assert!(read(&mut repeated, &json).is_some());
        }
        assert!(repeated.arena.len() <= MOST && repeated.index.len() <= MOST / 1_000);
    }
}
