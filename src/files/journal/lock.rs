//! One at a time: an advisory lock that the system takes back from processes that end, however they end.

use crate::files::FileError;
use crate::files::atomic::{open_private, open_regular};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The file that is locked. It stays: taking it away would let two in at once.
const NAME: &str = "lock";

/// How long to wait for others. They hold it for milliseconds, unless they are stopped or their disk hangs.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(2);

/// Waits until nobody else appends. The lock is gone when the file is dropped.
pub(super) fn exclusive(folder: &Path) -> Result<File, FileError> {
    let path = folder.join(NAME);
    let file = open_private(File::options().append(true).create(true), &path);
    let file = file.map_err(|error| FileError::new("open", &path, &error))?;
    wait(&path, || file.try_lock())?;
    Ok(file)
}

/// Waits until nobody appends, where there is anything to wait for.
pub(super) fn shared(folder: &Path) -> Result<Option<File>, FileError> {
    let path = folder.join(NAME);
    // Whoever may only read the folder reads all the same.
    let Ok(file) = open_regular(&path) else { return Ok(None) };
    wait(&path, || file.try_lock_shared())?;
    Ok(Some(file))
}

fn wait(path: &Path, mut attempt: impl FnMut() -> Result<(), TryLockError>) -> Result<(), FileError> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(FileError::new("lock", path, &error)),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => {
                let why = io::Error::new(io::ErrorKind::TimedOut, "another process has held it for ten seconds; is it stopped?");
                return Err(FileError::new("lock", path, &why));
            }
            Err(TryLockError::WouldBlock) => sleep(PAUSE),
        }
    }
}
