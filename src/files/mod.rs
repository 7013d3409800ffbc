//! The only place that touches the disk.
//!
//! What lives here: where things are kept, reading, writing so that a crash leaves the old or the new file and nothing between,
//! temporary folders, the log. What does not: what the files mean.

mod atomic;
pub mod log;
mod paths;

pub use atomic::{exists, read_text, write_atomic};
pub use paths::{Paths, expand, kubeconfigs};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a file, in words.
#[derive(Debug)]
pub struct FileError {
    /// What was tried, on which file, and what happened.
    pub what: String,
    /// The cause, for callers that tell a missing file from others.
    pub kind: io::ErrorKind,
}

impl FileError {
    fn new(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self { what: format!("cannot {verb} {}: {error}", path.display()), kind: error.kind() }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for FileError {}

/// A folder only its owner may enter, deleted with the value.
#[derive(Debug)]
pub struct TemporaryFolder(tempfile::TempDir);

impl TemporaryFolder {
    /// Makes one.
    pub fn new() -> Result<Self, FileError> {
        let made = tempfile::Builder::new().prefix("policydeck-").tempdir();
        made.map(Self).map_err(|error| FileError::new("make a folder in", &std::env::temp_dir(), &error))
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, FileError> {
        let path = self.0.path().join(name);
        write_atomic(&path, text.as_bytes())?;
        Ok(path)
    }
}
