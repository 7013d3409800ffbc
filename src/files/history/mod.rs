//! The history of the fleet: one SQLite file, the only place that knows SQL.
//!
//! What lives here: opening the file (`schema`), taking notes in (`write`), answering (`read`), rolling up and forgetting (`keep`), keeping it
//! within a size (`room`), giving everything out (`export`). What does not: what the records mean (`domain::history`), who makes them (`engine::recorder`).
//!
//! Any number of programs may have the file open. Each batch of notes is one IMMEDIATE transaction that compares with the last state on
//! record, and identities are unique keys: two recorders that see the same thing record it once.

mod export;
mod fills;
mod keep;
mod read;
mod room;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use keep::Pruned;
pub use write::Taken;

use super::FileError;
use super::atomic::{be_regular, open_private, own_folder};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file's name in the data folder.
const NAME: &str = "history.db";
/// What stands beside it, so that a history that was removed is missed.
const WITNESS: &str = "history.begun";
/// How long to wait while another program writes.
const BUSY: Duration = Duration::from_secs(5);

/// What kind of thing went wrong with the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryFault {
    /// The file is damaged, or no history at all.
    Damaged,
    /// There was one, and it is gone.
    Removed,
    /// A newer version wrote it.
    Newer,
    /// It has reached its size, and holds nothing that may be dropped.
    Full,
    /// The disk is full, or may not be written.
    Disk,
    /// Another program holds it for too long.
    Busy,
    /// Anything else.
    Other,
}

/// Why the history could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryError {
    /// What was tried on which file, what happened, and what to do.
    pub what: String,
    /// What kind of thing it is.
    pub fault: HistoryFault,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for HistoryError {}

impl From<FileError> for HistoryError {
    fn from(error: FileError) -> Self {
        Self { what: error.what, fault: HistoryFault::Disk }
    }
}

/// The open history. Every call blocks: keep it off the threads that serve others.
pub struct History {
    connection: Connection,
    path: PathBuf,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("path", &self.path).finish_non_exhaustive()
    }
}

impl History {
    /// Where the history is kept in a data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join(NAME)
    }

    /// Opens the history to write, and makes it where there is none: readable by its owner only, in a folder that only its owner enters.
    ///
    /// # Errors
    /// A damaged file and one of a newer version are refused and left as they are.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if let Some(folder) = path.parent() {
            own_folder(folder)?;
        }
        // SQLite gives the files beside it the permissions of this one.
        let file = open_private(File::options().append(true).create(true), path).and_then(|file| be_regular(&file).map(|()| file));
        let file = file.map_err(|error| FileError::new("open the history", path, &error))?;
        let is_new = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        let mut history = Self::connect(path)?;
        history.prepare()?;
        // The history itself is what matters; where its witness cannot be written it is as before.
        let begun = witness(path);
        if (is_new || !begun.exists())
            && let Err(error) = write_witness(&begun)
        {
            tracing::warn!("cannot write {}: {error}", begun.display());
        }
        Ok(history)
    }

    /// Opens the history to read; `None` where nothing has been recorded yet.
    ///
    /// # Errors
    /// As [`History::open`]; and where one was begun that is gone.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, HistoryError> {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                let why = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file");
                return Err(FileError::new("open the history", path, &why).into());
            }
            Ok(metadata) if metadata.len() > 0 => {}
            Ok(_) => return removed(path).map_or(Ok(None), Err),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return removed(path).map_or(Ok(None), Err),
            Err(error) => return Err(FileError::new("open the history", path, &error).into()),
        }
        let mut history = Self::connect(path)?;
        history.prepare()?;
        Ok(Some(history))
    }

    fn connect(path: &Path) -> Result<Self, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| explain("open", path, &error))?;
        connection.busy_timeout(BUSY).map_err(|error| explain("open", path, &error))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection, path: path.to_owned() })
    }

    fn failed(&self, verb: &str, error: &rusqlite::Error) -> HistoryError {
        explain(verb, &self.path, error)
    }
}

fn write_witness(path: &Path) -> std::io::Result<()> {
    writeln!(open_private(File::options().write(true).create(true).truncate(true), path)?, "{}", Timestamp::now())
}

fn witness(path: &Path) -> PathBuf {
    path.with_file_name(WITNESS)
}

/// That a history was begun which is gone; `None` where none was.
fn removed(path: &Path) -> Option<HistoryError> {
    let begun = std::fs::read_to_string(witness(path)).ok()?;
    let what = format!(
        "the history {} is gone, although one was begun at {}; what it knew is lost. Restore it, or begin a new one: open the screen or run `policydeck observe`",
        path.display(),
        begun.trim()
    );
    Some(HistoryError { what, fault: HistoryFault::Removed })
}

/// An error in words, with the file and the remedy.
fn explain(verb: &str, path: &Path, error: &rusqlite::Error) -> HistoryError {
    let file = path.display();
    let (fault, remedy) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            HistoryFault::Damaged,
            format!(
                ". It is damaged or no history; nothing was changed in it. Move it away (with {NAME}-wal and {NAME}-shm) and a new one is begun; `sqlite3 … .recover` may save what is in it"
            ),
        ),
        Some(ErrorCode::DiskFull) => (HistoryFault::Disk, ". Make room on the disk; it is tried again".to_owned()),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
            (HistoryFault::Disk, String::new())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (HistoryFault::Busy, ". Another program writes to it for too long".to_owned())
        }
        _ => (HistoryFault::Other, String::new()),
    };
    HistoryError { what: format!("cannot {verb} the history {file}: {error}{remedy}"), fault }
}

/// Whole milliseconds, as times are kept.
fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The time of whole milliseconds; what no clock can show becomes the nearest that can.
fn time(millis: i64) -> Timestamp {
    let limit = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(limit)
}

/// A count as SQLite keeps it.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as it was kept.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
