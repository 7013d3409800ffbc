//! The journal on the disk: JSON Lines, a file a month, only ever appended to; what its lines mean is in `domain::journal`.
//!
//! What lives here: appending so that an entry that was returned is on the disk, locks between processes (`lock`), putting the end in order
//! after an interruption (`tail`), reading and checking (`read`), reading from the end (`page`). What does not: what operations write down.
//!
//! ```text
//! journal/2026-11.jsonl   entries; a new file begins with the first entry of a month, the chain goes on
//! journal/head.json       where the journal ends, so that a missing end is found
//! journal/recovered/      ends of lines that were interrupted, as they were found
//! journal/lock            held while somebody appends
//! ```
//!
//! Months are those of UTC. Where a clock goes back, entries stay in the newest file: the order of files and lines is the order of `seq`.
//!
//! Everything here waits for the disk, and up to ten seconds for other processes: asynchronous code calls it on a thread that may block.

mod lock;
mod page;
mod read;
mod tail;
#[cfg(test)]
mod tests;

pub use read::Entries;

use super::FileError;
use super::atomic::{be_regular, open_private, open_regular, own_folder, write_atomic};
use crate::domain::journal::{Entry, HEAD_FILE, Head, Phase, Record, StepResult, Verb, seal};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use tail::Tail;

/// How a line is written; tests have disks that are full.
type Writer = fn(&mut File, &[u8]) -> io::Result<usize>;

/// The journal in a folder. Several of them, in several processes, may append to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    writer: Writer,
}

/// Where the next entry goes.
struct End {
    head: Head,
    /// The newest file's name, if there is one.
    file: Option<String>,
    /// What has to be noted before anything else.
    notes: Vec<String>,
}

impl Journal {
    /// The journal in `folder`, conventionally `Paths.data/journal`. Nothing is made or read until somebody appends or reads.
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), writer: |file, bytes| file.write(bytes) }
    }

    /// Whether there is one: somebody has appended to it, or has cut off everything but its head.
    pub fn exists(&self) -> bool {
        files(&self.folder).is_ok_and(|files| !files.is_empty()) || self.folder.join(HEAD_FILE).exists()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends an entry; when this returns, it is on the disk. What an interruption has left at the end is moved aside first.
    ///
    /// Fails where the folder cannot be written, the disk is full, or another process holds the journal for too long. After a failure there is
    /// no such entry: the file is as it was.
    pub fn append(&mut self, record: Record) -> Result<Entry, FileError> {
        own_folder(&self.folder)?;
        let _lock = lock::exclusive(&self.folder)?;
        let mut end = self.end(record.at)?;
        for note in std::mem::take(&mut end.notes) {
            let mut noted = Record::intent(record.at, record.who.clone(), Verb::Recover);
            noted.phase = Phase::Outcome;
            noted.result = Some(StepResult::Done);
            noted.reason = Some(note);
            self.put(&mut end, noted)?;
        }
        tail::mark_noted(&self.folder)?;
        self.put(&mut end, record)
    }

    /// Finds the end, and puts it in order.
    fn end(&self, at: Timestamp) -> Result<End, FileError> {
        let (head, unreadable) = match read_head(&self.folder) {
            Ok(head) => (head, false),
            Err(error) if error.kind == io::ErrorKind::InvalidData => (None, true),
            Err(error) => return Err(error),
        };
        let Tail { file, last } = tail::settle(&self.folder, at)?;
        let mut notes: Vec<String> = tail::to_be_noted(&self.folder)?;
        let mut end = match (head, last) {
            (Some(head), None) => {
                if head.seq > 0 {
                    notes.push(format!("there was no entry left, although entry {} had been written", head.seq));
                }
                End { head, file, notes: Vec::new() }
            }
            (None, None) if !unreadable => {
                // Before the first entry, so that whoever finds entries without a head knows that it was taken away.
                write_head(&self.folder, &Head::default())?;
                End { head: Head::default(), file, notes: Vec::new() }
            }
            // A process that ended between line and head leaves the head behind.
            (Some(head), Some(last)) if last.seq > head.seq => {
                let mut files = head.files;
                files.extend(file.clone().map(|file| (file, last.seq)));
                End { head: Head { seq: last.seq, hash: last.hash, files }, file, notes: Vec::new() }
            }
            // A head that is ahead knows of entries that are gone. The chain goes on from there, so that the gap is found for ever.
            (Some(head), Some(last)) => {
                if last.seq < head.seq {
                    notes.push(format!("the journal ended with entry {}, although entry {} had been written", last.seq, head.seq));
                }
                End { head, file, notes: Vec::new() }
            }
            (None, last) => {
                notes.push(format!("{HEAD_FILE} was missing or could not be read; it is made anew"));
                let (seq, hash) = last.map_or_else(|| (0, Head::default().hash), |last| (last.seq, last.hash));
                let files = file.clone().map(|file| (file, seq)).into_iter().collect();
                End { head: Head { seq, hash, files }, file, notes: Vec::new() }
            }
        };
        end.notes = notes;
        Ok(end)
    }

    /// Writes one line after `end`, and moves `end` behind it.
    fn put(&self, end: &mut End, record: Record) -> Result<Entry, FileError> {
        let month = file_name(record.at);
        let name = end.file.clone().filter(|newest| *newest > month).unwrap_or(month);
        let path = self.folder.join(&name);
        let (entry, mut line) = seal(record, end.head.seq + 1, &end.head.hash)
            .map_err(|error| FileError::new("write an entry for", &path, &io::Error::from(error)))?;
        line.push('\n');
        self.line(&path, line.as_bytes()).map_err(|error| FileError::new("write the journal", &path, &error))?;
        end.head.seq = entry.seq;
        end.head.hash.clone_from(&entry.hash);
        end.head.files.insert(name.clone(), entry.seq);
        end.file = Some(name);
        // The entry is on the disk; a head that stays behind is caught up by the next one.
        if let Err(error) = write_head(&self.folder, &end.head) {
            tracing::warn!("{error}");
        }
        Ok(entry)
    }

    /// Appends a line to a file, all of it or nothing.
    fn line(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        let mut file = open_private(File::options().append(true).create(true), path)?;
        be_regular(&file)?;
        let before = file.metadata()?.len();
        let named = || if before == 0 { sync_folder(&self.folder) } else { Ok(()) };
        let written = self.write(&mut file, line).and_then(|()| file.sync_all()).and_then(|()| named());
        if let Err(error) = written {
            // What cannot be taken back either is half a line, and moved aside by the next one who appends.
            let _ = file.set_len(before).and_then(|()| file.sync_all());
            return Err(error);
        }
        Ok(())
    }

    fn write(&self, file: &mut File, mut line: &[u8]) -> io::Result<()> {
        // One call as a rule. A disk that fills up takes a part, and says why with the next call.
        while !line.is_empty() {
            match (self.writer)(file, line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => line = line.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The file of a time's month.
fn file_name(at: Timestamp) -> String {
    at.strftime("%Y-%m.jsonl").to_string()
}

/// Whether a file's name is one of the journal's: `2026-11.jsonl`.
fn is_ours(name: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() };
    name.strip_suffix(".jsonl").is_some_and(|month| month.len() == 7 && month.bytes().enumerate().all(shape))
}

/// The names of the journal's files, oldest first; none where there is no folder.
fn files(folder: &Path) -> Result<Vec<String>, FileError> {
    let told = |error: &io::Error| FileError::new("read the folder", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(&error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| told(&error))?.file_name();
        names.extend(name.to_str().filter(|name| is_ours(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// What stands beside the journal; `InvalidData` where it cannot be understood.
fn read_head(folder: &Path) -> Result<Option<Head>, FileError> {
    let path = folder.join(HEAD_FILE);
    let told = |error: io::Error| FileError::new("read", &path, &error);
    let mut text = Vec::new();
    match open_regular(&path).and_then(|mut file| file.read_to_end(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| told(io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn write_head(folder: &Path, head: &Head) -> Result<(), FileError> {
    let path = folder.join(HEAD_FILE);
    let text = serde_json::to_vec(head).map_err(|error| FileError::new("write", &path, &io::Error::from(error)))?;
    write_atomic(&path, &text)
}

/// New names in a folder are only safe from a power cut when the folder is on the disk, too. Windows cannot open folders, and need not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
