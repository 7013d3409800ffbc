//! Reading a journal: entries as they were written, and whether they still are.

use super::{Journal, file_name, files, lock, read_head};
use crate::domain::journal::{Check, Checked, Entry, HEAD_FILE, Phase, unseal};
use crate::files::FileError;
use crate::files::atomic::open_regular;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};

impl Journal {
    /// The entries whose time is in `range`, in the order in which they were written; none where there is no journal.
    ///
    /// A line that is no entry, or not as it was written, is an error in its place; the entries after it follow.
    pub fn read(&self, range: impl RangeBounds<Timestamp>) -> Result<Entries, FileError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        // An entry's file is that of its month or, where a clock went back, a later one.
        let first = match range.0 {
            Bound::Included(from) | Bound::Excluded(from) => file_name(from),
            Bound::Unbounded => String::new(),
        };
        let names = files(&self.folder)?.into_iter().filter(|name| *name >= first);
        Ok(Entries { files: names.map(|name| self.folder.join(name)).collect(), open: None, range })
    }

    /// Intents without an outcome: of these nobody knows what became of them, unless they are being carried out right now.
    ///
    /// Lines that cannot be read are left out; [`Journal::verify`] names them.
    pub fn open_intents(&self) -> Result<Vec<Entry>, FileError> {
        let mut open = BTreeMap::new();
        for entry in self.read(..)?.flatten() {
            match (entry.record.phase, entry.record.intent) {
                (Phase::Intent, _) => drop(open.insert(entry.seq, entry)),
                (Phase::Outcome, Some(intent)) => drop(open.remove(&intent)),
                (Phase::Outcome, None) => {}
            }
        }
        Ok(open.into_values().collect())
    }

    /// What is missing of the journal, as a quick look shows it: months that were written and are gone, or what says where it ends. [`Journal::verify`] reads
    /// every entry.
    pub fn missing(&self) -> Result<Vec<String>, FileError> {
        let present = files(&self.folder)?;
        let head = match read_head(&self.folder) {
            Ok(head) => head,
            Err(error) if error.kind == io::ErrorKind::InvalidData => return Ok(vec![format!("{HEAD_FILE} cannot be understood")]),
            Err(error) => return Err(error),
        };
        Ok(match head {
            None if present.is_empty() => Vec::new(),
            None => vec![format!("{HEAD_FILE} is gone")],
            Some(head) => head.files.into_keys().filter(|name| !present.contains(name)).map(|name| format!("{name} is gone")).collect(),
        })
    }

    /// Says what is wrong with the journal: see [`crate::domain::journal::FlawKind`].
    pub fn verify(&self) -> Result<Checked, FileError> {
        self.walk(|_| Ok(()))
    }

    /// Checks the journal, and hands every line to `each` as it is, without its line break. Nobody appends meanwhile.
    pub fn walk(&self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> Result<Checked, FileError> {
        let _lock = lock::shared(&self.folder)?;
        let mut check = Check::default();
        for name in files(&self.folder)? {
            check.file(&name);
            let path = self.folder.join(&name);
            let mut lines = Lines::open(&path)?;
            while let Some(text) = lines.next()? {
                let whole = text.strip_suffix(b"\n");
                let text = whole.unwrap_or(&text);
                check.line(lines.line, text, whole.is_some());
                each(text).map_err(|error| FileError::new("hand on", &path, &error))?;
            }
        }
        let head = match read_head(&self.folder) {
            Ok(head) => head,
            Err(error) if error.kind == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        Ok(check.finish(head.as_ref()))
    }
}

/// The lines of a file, one after the other.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, FileError> {
        let file = open_regular(path).map_err(|error| FileError::new("read", path, &error))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), line: 0 })
    }

    /// The next line, with its line break if it has one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        let mut text = Vec::new();
        self.reader.read_until(b'\n', &mut text).map_err(|error| FileError::new("read", &self.path, &error))?;
        self.line += u64::from(!text.is_empty());
        Ok((!text.is_empty()).then_some(text))
    }

    fn entry(&self, text: &[u8]) -> Result<Entry, FileError> {
        let told = |kind, why: &str| {
            let what = format!("{}:{}: {why}", self.path.display(), self.line);
            FileError { what, kind }
        };
        let Some(text) = text.strip_suffix(b"\n") else {
            return Err(told(
                io::ErrorKind::UnexpectedEof,
                "the last line is not whole: it is being written, or its write was interrupted",
            ));
        };
        unseal(text)
            .map_err(|_| told(io::ErrorKind::InvalidData, "the line is not as it was written; `policydeck audit verify` says more"))?;
        serde_json::from_slice(text)
            .map_err(|_| told(io::ErrorKind::InvalidData, "the entry cannot be understood: a newer release may have written it"))
    }
}

/// Entries on their way from the disk; see [`Journal::read`].
#[derive(Debug)]
pub struct Entries {
    files: VecDeque<PathBuf>,
    open: Option<Lines>,
    range: (Bound<Timestamp>, Bound<Timestamp>),
}

impl Iterator for Entries {
    type Item = Result<Entry, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(lines) = &mut self.open else {
                match Lines::open(&self.files.pop_front()?) {
                    Ok(lines) => self.open = Some(lines),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            match lines.next() {
                Ok(Some(text)) => match lines.entry(&text) {
                    Ok(entry) if !self.range.contains(&entry.record.at) => {}
                    found => return Some(found),
                },
                Ok(None) => self.open = None,
                Err(error) => {
                    // The same error would come for ever.
                    self.open = None;
                    return Some(Err(error));
                }
            }
        }
    }
}
