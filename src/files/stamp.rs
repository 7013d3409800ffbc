//! Whether a file is still the one that was read.

use std::path::Path;
use std::time::SystemTime;

/// Enough of a file's metadata to know that it was not touched; `None` where there is no such file.
pub type Stamp = Option<(SystemTime, u64)>;

/// A file's stamp as it is now.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// What is in a file; `None` where it cannot be read.
pub fn content(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

/// Whether a file can be opened for reading.
///
/// # Errors
/// Why it cannot.
pub fn readable(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path).map(|_| ())
}
