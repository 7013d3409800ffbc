//! Whether a file is still the one that was read.

use super::atomic::{is_null, open_regular, read_regular};
use std::path::Path;
use std::time::SystemTime;

/// Enough of a file's metadata to know that it was not touched; `None` where there is no such file.
pub type Stamp = Option<(SystemTime, u64)>;

/// A file's stamp as it is now.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The largest file that is looked into, in bytes.
const LARGEST: u64 = 64 << 20;

/// What is in a file; `None` where it cannot be read, or is no regular file.
pub fn content(path: &Path) -> Option<Vec<u8>> {
    read_regular(path, LARGEST).ok()
}

/// Whether a regular file is there that can be opened for reading; or the null device, which is empty.
///
/// # Errors
/// Why it cannot.
pub fn readable(path: &Path) -> std::io::Result<()> {
    if is_null(path) { Ok(()) } else { open_regular(path).map(|_| ()) }
}
