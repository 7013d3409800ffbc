//! The end of the newest file: the last entry, and what an interruption has left behind it.
//!
//! A line that is not whole is copied to `recovered/` first, and cut off when the copy is on the disk. Copies are called `….part` until an
//! entry tells of them, `….line` from then on. An interruption at any point leaves a copy too many at worst.

use super::{files, sync_folder};
use crate::domain::journal::{Link, link};
use crate::files::FileError;
use crate::files::atomic::{make_folder, open_private, open_regular};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

const FOLDER: &str = "recovered";
const FRESH: &str = "part";
const NOTED: &str = "line";

/// Bytes that are read at once, from the end backwards.
const BLOCK: u64 = 16 * 1024;

/// The end of the journal.
pub(super) struct Tail {
    /// The newest file's name.
    pub(super) file: Option<String>,
    /// The last entry, if there is any.
    pub(super) last: Option<Link>,
}

/// Finds the last entry; what stands behind it and is no entry is moved aside.
pub(super) fn settle(folder: &Path, at: Timestamp) -> Result<Tail, FileError> {
    let names = files(folder)?;
    let mut last = None;
    for name in names.iter().rev() {
        last = settle_file(folder, name, at)?;
        if last.is_some() {
            break;
        }
    }
    Ok(Tail { file: names.last().cloned(), last })
}

fn settle_file(folder: &Path, name: &str, at: Timestamp) -> Result<Option<Link>, FileError> {
    let path = folder.join(name);
    let told = |error: io::Error| FileError::new("read the end of", &path, &error);
    let mut file = open_regular(&path).map_err(told)?;
    let length = file.metadata().map_err(told)?.len();
    let (end, last) = last_entry(&mut file, length).map_err(told)?;
    if end < length {
        let mut rest = Vec::new();
        file.seek(SeekFrom::Start(end)).and_then(|_| file.read_to_end(&mut rest)).map_err(told)?;
        keep(folder, name, end, &rest, at)?;
        let cut = || {
            let file = File::options().write(true).open(&path)?;
            file.set_len(end)?;
            file.sync_all()
        };
        cut().map_err(|error| FileError::new("put in order", &path, &error))?;
    }
    Ok(last)
}

/// The last entry of a file, and where its line ends.
fn last_entry(file: &mut File, length: u64) -> io::Result<(u64, Option<Link>)> {
    let mut end = length;
    while let Some((start, line)) = last_line(file, end)? {
        // Only what chains it is asked for: a newer release may have written it. Whether it was changed is for the check to say.
        if let Some(link) = line.strip_suffix(b"\n").and_then(link) {
            return Ok((end, Some(link)));
        }
        end = start;
    }
    Ok((0, None))
}

/// The last line before `end`, with its line break if it has one, and where it begins.
fn last_line(file: &mut File, end: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    if end == 0 {
        return Ok(None);
    }
    let mut bytes: Vec<u8> = Vec::new();
    let mut start = end;
    while start > 0 {
        let from = start.saturating_sub(BLOCK);
        let mut block = vec![0; (start - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut block)?;
        block.append(&mut bytes);
        bytes = block;
        start = from;
        // The last byte may be the line's own break.
        let before = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
        if let Some(at) = memchr::memrchr(b'\n', before) {
            return Ok(Some((start + at as u64 + 1, bytes.split_off(at + 1))));
        }
    }
    Ok(Some((0, bytes)))
}

/// Keeps `bytes`, which stood in a file at `offset`.
fn keep(folder: &Path, name: &str, offset: u64, bytes: &[u8], at: Timestamp) -> Result<(), FileError> {
    let folder = folder.join(FOLDER);
    make_folder(&folder)?;
    let stem = format!("{}-at-{offset}-{}", name.trim_end_matches(".jsonl"), at.as_second());
    let path = free(&folder, &stem, FRESH);
    let write = || {
        let mut file = open_private(File::options().write(true).create_new(true), &path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(&folder)
    };
    write().map_err(|error| FileError::new("keep the end of an interrupted line in", &path, &error))
}

/// A path in `folder` that is not taken, neither fresh nor noted.
fn free(folder: &Path, stem: &str, extension: &str) -> PathBuf {
    let taken = |stem: &str| [FRESH, NOTED].iter().any(|extension| folder.join(format!("{stem}.{extension}")).exists());
    let mut name = stem.to_owned();
    let mut count = 1;
    while taken(&name) {
        count += 1;
        name = format!("{stem}-{count}");
    }
    folder.join(format!("{name}.{extension}"))
}

fn fresh(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let folder = folder.join(FOLDER);
    let told = |error: &io::Error| FileError::new("read the folder", &folder, error);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(&error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| told(&error))?.path();
        if path.extension().is_some_and(|extension| extension == FRESH) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What entries have to say of copies that no entry has told of.
pub(super) fn to_be_noted(folder: &Path) -> Result<Vec<String>, FileError> {
    let told = |path: PathBuf| {
        let noted = path.with_extension(NOTED);
        let name = noted.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("a line that was interrupted was moved to {FOLDER}/{name}")
    };
    Ok(fresh(folder)?.into_iter().map(told).collect())
}

/// Remembers that entries have told of all copies.
pub(super) fn mark_noted(folder: &Path) -> Result<(), FileError> {
    for path in fresh(folder)? {
        fs::rename(&path, path.with_extension(NOTED)).map_err(|error| FileError::new("rename", &path, &error))?;
    }
    Ok(())
}
