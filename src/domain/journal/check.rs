//! What is wrong with a journal: every line is checked by itself, then numbers and hashes against each other and against the head.
//!
//! Somebody who may write all files can write another journal that is right in itself. Against that helps a last hash that is kept
//! elsewhere: an export has it in its first line.

use super::chain::{Broken, GENESIS, Head, Link, unseal};
use std::collections::BTreeSet;
use std::fmt;

/// What kind of flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlawKind {
    /// A line is not as it was written.
    Changed,
    /// Entries are missing between others.
    Removed,
    /// Lines stand in another order than they were written in, or twice.
    Swapped,
    /// A file is missing.
    MissingFile,
    /// Entries are missing at the end.
    Truncated,
    /// The last line has no end.
    NotWhole,
    /// The file that says where the journal ends is missing or cannot be read.
    NoHead,
}

impl FlawKind {
    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Swapped => "swapped",
            Self::MissingFile => "missing-file",
            Self::Truncated => "truncated",
            Self::NotWhole => "not-whole",
            Self::NoHead => "no-head",
        }
    }
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The file's name in the journal's folder.
    pub file: String,
    /// The line, the first being 1; none where a whole file is meant.
    pub line: Option<u64>,
    /// What kind.
    pub kind: FlawKind,
    /// What it means, in a sentence.
    pub means: String,
}

impl Flaw {
    /// `2026-11.jsonl:7`, or the file alone.
    pub fn place(&self) -> String {
        self.line.map_or_else(|| self.file.clone(), |line| format!("{}:{line}", self.file))
    }
}

/// What was found out about a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries that can be read.
    pub entries: u64,
    /// The files' names, oldest first.
    pub files: Vec<String>,
    /// Number and hash of the last entry.
    pub last: Option<(u64, String)>,
    /// What is wrong, in the order of files and lines.
    pub flaws: Vec<Flaw>,
}

/// A line that was looked at.
#[derive(Debug)]
struct Seen {
    file: usize,
    line: u64,
    /// None where it is no entry.
    link: Option<Link>,
    intact: bool,
}

/// Takes a journal's lines in their order and says what is wrong with them. Keeps some 200 bytes for each.
#[derive(Debug, Default)]
pub struct Check {
    files: Vec<String>,
    seen: Vec<Seen>,
    flaws: Vec<Flaw>,
}

impl Check {
    /// Begins the next file.
    pub fn file(&mut self, name: &str) {
        self.files.push(name.to_owned());
    }

    /// Takes the next line, which has this number, of the file that was begun last, without its line break; `whole` says whether it had one.
    pub fn line(&mut self, number: u64, text: &[u8], whole: bool) {
        let file = self.files.len().saturating_sub(1);
        if !whole {
            let means = "the last line is not whole: a write was interrupted; the next operation moves it aside".to_owned();
            return self.flaw(file, Some(number), FlawKind::NotWhole, means);
        }
        let (link, intact) = match unseal(text) {
            Ok(link) => (Some(link), true),
            Err(Broken::Changed(link)) => {
                let means = format!("entry {} is not as it was written: its text does not belong to its hash", link.seq);
                self.flaw(file, Some(number), FlawKind::Changed, means);
                (Some(link), false)
            }
            Err(Broken::NotAnEntry) => {
                self.flaw(file, Some(number), FlawKind::Changed, "the line is no entry of a journal".to_owned());
                (None, false)
            }
        };
        self.seen.push(Seen { file, line: number, link, intact });
    }

    /// Ends it. `head` is what stands beside the journal, if it can be read.
    pub fn finish(mut self, head: Option<&Head>) -> Checked {
        let seen = std::mem::take(&mut self.seen);
        self.order(&seen);
        let mut sorted: Vec<(&Link, usize)> = seen.iter().enumerate().filter_map(|(at, one)| Some((one.link.as_ref()?, at))).collect();
        sorted.sort_by_key(|(link, at)| (link.seq, *at));
        sorted.dedup_by_key(|(link, _)| link.seq);
        self.gaps(&seen, &sorted, head);
        self.links(&seen, &sorted);
        let last = sorted.last().map(|(link, _)| (link.seq, link.hash.clone()));
        self.end(&seen, &sorted, head);
        let place = |flaw: &Flaw| (flaw.file.clone(), flaw.line, flaw.kind);
        self.flaws.sort_by_key(place);
        Checked { entries: sorted.len() as u64, files: self.files, last, flaws: self.flaws }
    }

    fn flaw(&mut self, file: usize, line: Option<u64>, kind: FlawKind, means: String) {
        let file = self.files.get(file).cloned().unwrap_or_default();
        self.flaws.push(Flaw { file, line, kind, means });
    }

    fn order(&mut self, seen: &[Seen]) {
        let mut met = BTreeSet::new();
        for one in seen {
            let Some(link) = &one.link else { continue };
            let most = met.last().copied().unwrap_or_default();
            if !met.insert(link.seq) {
                self.flaw(one.file, Some(one.line), FlawKind::Swapped, format!("entry {} stands here a second time", link.seq));
            } else if link.seq < most {
                let means = format!("entry {} stands after entry {most}: lines were swapped", link.seq);
                self.flaw(one.file, Some(one.line), FlawKind::Swapped, means);
            }
        }
    }

    /// Numbers that are missing.
    fn gaps(&mut self, seen: &[Seen], sorted: &[(&Link, usize)], head: Option<&Head>) {
        let mut expected = 1;
        // The position after the last entry that was found.
        let mut from = 0;
        for (link, at) in sorted {
            if link.seq > expected {
                self.gap(seen, from..*at, expected..=link.seq - 1, Some(*at), head);
            }
            (expected, from) = (link.seq.saturating_add(1), at + 1);
        }
        if let Some(head) = head.filter(|head| head.seq >= expected) {
            self.gap(seen, from..seen.len(), expected..=head.seq, None, Some(head));
        }
    }

    /// Says where the entries `missing` were, which come before the line at `next`.
    fn gap(
        &mut self,
        seen: &[Seen],
        between: std::ops::Range<usize>,
        missing: std::ops::RangeInclusive<u64>,
        next: Option<usize>,
        head: Option<&Head>,
    ) {
        // Lines that are no entries any more have been named; they are what is missing.
        let ruined = seen.get(between).into_iter().flatten().filter(|one| one.link.is_none()).count() as u64;
        let (mut first, last) = missing.into_inner();
        first = first.saturating_add(ruined);
        let mut begins = 1;
        let ends: Vec<(String, u64)> = head.into_iter().flat_map(|head| &head.files).map(|(file, end)| (file.clone(), *end)).collect();
        for (file, end) in ends {
            let (from, to) = (first.max(begins), last.min(end));
            begins = end.saturating_add(1);
            if from > to {
                continue;
            }
            let entries = entries(from, to);
            first = to.saturating_add(1);
            let flaw = if !self.files.contains(&file) {
                Flaw { file, line: None, kind: FlawKind::MissingFile, means: format!("the file is missing, with {entries}") }
            } else if to == end {
                Flaw {
                    file,
                    line: None,
                    kind: FlawKind::Truncated,
                    means: format!("{entries} {} cut off at the end of the file", were(from, to)),
                }
            } else {
                self.removed(seen, next, file, (from, to))
            };
            self.flaws.push(flaw);
        }
        if first <= last {
            let newest = self.files.last().cloned().unwrap_or_default();
            let flaw = self.removed(seen, next, newest, (first, last));
            self.flaws.push(flaw);
        }
    }

    fn removed(&self, seen: &[Seen], next: Option<usize>, otherwise: String, (from, to): (u64, u64)) -> Flaw {
        let missing = format!("{} {}", entries(from, to), were(from, to));
        match next.and_then(|at| seen.get(at)) {
            Some(one) => {
                let file = self.files.get(one.file).cloned().unwrap_or_default();
                let means = format!("{missing} removed before this line");
                Flaw { file, line: Some(one.line), kind: FlawKind::Removed, means }
            }
            None => Flaw { file: otherwise, line: None, kind: FlawKind::Truncated, means: format!("{missing} cut off at the end") },
        }
    }

    /// Each entry names the hash of the one before; a line whose text fits its hash may have been written anew with both.
    fn links(&mut self, seen: &[Seen], sorted: &[(&Link, usize)]) {
        if let Some((first, at)) = sorted.first()
            && first.seq == 1
            && first.prev != GENESIS
            && let Some(one) = seen.get(*at).filter(|one| one.intact)
        {
            self.flaw(one.file, Some(one.line), FlawKind::Changed, "the first entry names one before it".to_owned());
        }
        for pair in sorted.windows(2) {
            let [(before, at), (after, next)] = pair else { continue };
            let (Some(one), Some(follower)) = (seen.get(*at), seen.get(*next)) else { continue };
            if after.seq == before.seq + 1 && after.prev != before.hash && one.intact && follower.intact {
                let means = format!("entry {} was written anew: entry {} names another hash for it", before.seq, after.seq);
                self.flaw(one.file, Some(one.line), FlawKind::Changed, means);
            }
        }
    }

    fn end(&mut self, seen: &[Seen], sorted: &[(&Link, usize)], head: Option<&Head>) {
        let Some(head) = head else {
            if !self.files.is_empty() {
                let means = "it is missing or cannot be read: whether entries were cut off at the end cannot be told".to_owned();
                self.flaws.push(Flaw { file: super::HEAD_FILE.to_owned(), line: None, kind: FlawKind::NoHead, means });
            }
            return;
        };
        let found = sorted.iter().find(|(link, _)| link.seq == head.seq);
        if let Some((link, at)) = found
            && link.hash != head.hash
            && let Some(one) = seen.get(*at).filter(|one| one.intact)
        {
            let means = format!("entry {} was written anew: {} has another hash for it", link.seq, super::HEAD_FILE);
            self.flaw(one.file, Some(one.line), FlawKind::Changed, means);
        }
    }
}

fn entries(from: u64, to: u64) -> String {
    if from == to { format!("entry {from}") } else { format!("entries {from} to {to}") }
}

fn were(from: u64, to: u64) -> &'static str {
    if from == to { "was" } else { "were" }
}
