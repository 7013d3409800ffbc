//! The only place that touches the disk.
//!
//! What lives here: where things are kept, reading, writing so that a crash leaves the old or the new file and nothing between,
//! temporary folders, the log, the journal, archives, repositories through the user's git, signatures
//! through the user's ssh-keygen. What does not: what the files mean.

pub mod archive;
mod atomic;
pub mod child;
mod daily;
pub mod git;
pub mod history;
pub mod journal;
pub mod log;
mod owned;
mod paths;
pub mod signature;
mod stamp;
mod who;

pub use atomic::{LARGEST_PLAN, exists, read_regular, read_text, save_new, write_atomic};
pub use daily::Trouble;
pub use owned::check_own;
pub use paths::{Paths, expand, kubeconfigs};
pub use stamp::{Stamp, content, readable, stamp};
pub use who::who;

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
        let mut builder = tempfile::Builder::new();
        builder.prefix("policydeck-");
        let made = builder.tempdir().and_then(|folder| atomic::close_folder(folder.path()).map(|()| folder));
        made.map(Self).map_err(|error| FileError::new("make a folder in", &std::env::temp_dir(), &error))
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, FileError> {
        let path = self.0.path().join(name);
        write_atomic(&path, content.as_ref())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_private_and_goes_away() {
        let folder = TemporaryFolder::new().unwrap();
        let path = folder.write("kubeconfig", "x").unwrap();
        assert_eq!(read_text(&path).unwrap(), "x");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }
        drop(folder);
        assert!(!exists(&path));
    }
}
