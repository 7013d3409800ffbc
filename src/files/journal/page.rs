//! Reading a journal from its end: as much as somebody looks at, however many years there are.
//!
//! What lives here: pages backwards, what was written since, one entry in full. What does not: reading all of it in order, and the check (`read`).
//!
//! Nobody is locked out: a line that is being written has no end yet, and is read the next time.

use super::{Journal, files};
use crate::domain::journal::{Entry, Found, Mark, News, Page, Spot, Verified, Whole, unseal};
use crate::files::FileError;
use crate::files::atomic::open_regular;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

/// Bytes that are read at once, at least.
const BLOCK: u64 = 64 * 1024;
/// A line that is longer is none of ours.
const LONGEST: u64 = 16 * 1024 * 1024;
/// So many lines are looked at for the first time of the journal.
const FIRST: usize = 50;

impl Journal {
    /// The end of the journal: entries in about so many bytes. Nothing where there is no journal.
    pub fn newest(&self, bytes: u64) -> Result<Page, FileError> {
        let names = files(self.folder())?;
        let Some(name) = names.last() else { return Ok(Page::default()) };
        let length = self.length(name)?;
        let (mut page, end) = self.back(&names, Spot { file: name.as_str().into(), offset: length }, bytes)?;
        page.mark = Some(Mark { file: name.as_str().into(), length, end, files: names.len() });
        Ok(page)
    }

    /// The same of what is older than [`Page::before`].
    pub fn older(&self, before: &Spot, bytes: u64) -> Result<Page, FileError> {
        Ok(self.back(&files(self.folder())?, before.clone(), bytes)?.0)
    }

    /// What was written since the journal was so long. More than `most` bytes are for [`Journal::newest`].
    pub fn news(&self, mark: Option<&Mark>, most: u64) -> Result<News, FileError> {
        let names = files(self.folder())?;
        let Some(newest) = names.last() else { return Ok(if mark.is_none() { News::Nothing } else { News::Other }) };
        let place = mark.and_then(|mark| names.iter().position(|name| **name == *mark.file));
        let Some((mark, place)) = mark.zip(place).filter(|(mark, place)| place + 1 == mark.files) else { return Ok(News::Other) };
        let length = self.length(newest)?;
        if place + 1 == names.len() && length == mark.length {
            return Ok(News::Nothing);
        }
        let mut page = Page::default();
        let (mut left, mut end) = (most, mark.end);
        for name in names.iter().skip(place) {
            let from = if **name == *mark.file { mark.end } else { 0 };
            let to = if name == newest { length } else { self.length(name)? };
            let Some(size) = to.checked_sub(from).filter(|size| *size <= left) else { return Ok(News::Other) };
            left -= size;
            let bytes = self.bytes(name, from, to)?;
            let mut lines = Lines { file: name.as_str().into(), at: from, page: &mut page };
            end = from + lines.take(&bytes, name == newest);
        }
        page.found.reverse();
        page.mark = Some(Mark { file: newest.as_str().into(), length, end, files: names.len() });
        Ok(News::Grown(page))
    }

    /// An entry in full.
    pub fn whole(&self, spot: &Spot) -> Result<Whole, FileError> {
        let path = self.folder().join(&*spot.file);
        let told = |error: &io::Error| FileError::new("read", &path, error);
        let mut reader = BufReader::new(open_regular(&path).map_err(|error| told(&error))?);
        let mut line = 1;
        let mut left = spot.offset;
        while left > 0 {
            let block = reader.fill_buf().map_err(|error| told(&error))?;
            let size = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if size == 0 {
                return Err(told(&io::ErrorKind::UnexpectedEof.into()));
            }
            line += memchr::memchr_iter(b'\n', &block[..size]).count() as u64;
            reader.consume(size);
            left -= size as u64;
        }
        let mut text = Vec::new();
        reader.take(LONGEST).read_until(b'\n', &mut text).map_err(|error| told(&error))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        let entry = serde_json::from_slice(text).map_err(|_| {
            told(&io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {line} is not the entry that was there: it was written to meanwhile"),
            ))
        })?;
        Ok(Whole { spot: spot.clone(), line, entry, text: String::from_utf8_lossy(text).into_owned(), intact: unseal(text).is_ok() })
    }

    /// Checks the whole journal, which waits for the disk as long as that takes; operations wait meanwhile.
    pub fn verified(&self) -> Result<Verified, FileError> {
        let checked = self.verify()?;
        let oldest = self.read(..)?.take(FIRST).find_map(Result::ok).map(|entry| entry.record.at);
        Ok(Verified { checked, oldest })
    }

    fn length(&self, name: &str) -> Result<u64, FileError> {
        let path = self.folder().join(name);
        fs::metadata(&path).map(|metadata| metadata.len()).map_err(|error| FileError::new("read", &path, &error))
    }

    fn bytes(&self, name: &str, from: u64, to: u64) -> Result<Vec<u8>, FileError> {
        let path = self.folder().join(name);
        let read = || {
            let mut file = open_regular(&path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = vec![0; to.saturating_sub(from) as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| FileError::new("read", &path, &error))
    }

    /// Lines backwards from a place, and where the whole lines of that file end.
    fn back(&self, names: &[String], from: Spot, bytes: u64) -> Result<(Page, u64), FileError> {
        let mut page = Page::default();
        let (mut spot, mut left, mut whole) = (from, bytes.max(1), None);
        loop {
            let newest = names.last().is_some_and(|name| **name == *spot.file);
            let (start, block) = self.lines_before(&spot, left)?;
            let mut lines = Lines { file: Arc::clone(&spot.file), at: start, page: &mut page };
            let known = lines.page.found.len();
            let end = start + lines.take(&block, newest);
            whole.get_or_insert(end);
            page.found[known..].reverse();
            left = left.saturating_sub(spot.offset - start);
            spot.offset = start;
            if start == 0 {
                let Some(name) = names.iter().rev().find(|name| ***name < *spot.file) else { break };
                spot = Spot { file: name.as_str().into(), offset: self.length(name)? };
            }
            if left == 0 {
                page.before = Some(spot);
                break;
            }
        }
        Ok((page, whole.unwrap_or_default()))
    }

    /// About so many bytes before a place, beginning with the beginning of a line.
    fn lines_before(&self, spot: &Spot, bytes: u64) -> Result<(u64, Vec<u8>), FileError> {
        let mut size = bytes.max(BLOCK);
        loop {
            let from = spot.offset.saturating_sub(size);
            let mut block = self.bytes(&spot.file, from, spot.offset)?;
            if from == 0 {
                return Ok((0, block));
            }
            match memchr::memchr(b'\n', &block).map(|at| at + 1).filter(|at| *at < block.len()) {
                Some(at) => {
                    block.drain(..at);
                    return Ok((from + at as u64, block));
                }
                None if size >= LONGEST => return Ok((from, block)),
                None => size *= 4,
            }
        }
    }
}

/// Lines on their way into a page, in the order in which they stand.
struct Lines<'a> {
    file: Arc<str>,
    /// Where the next one begins.
    at: u64,
    page: &'a mut Page,
}

impl Lines<'_> {
    /// Takes all lines; returns how many bytes of them are whole. A last one that is not is left out where it may still become whole.
    fn take(&mut self, bytes: &[u8], may_become: bool) -> u64 {
        let from = self.at;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => self.line(text),
                None if may_become => break,
                None => self.page.unreadable += 1,
            }
            self.at += line.len() as u64;
        }
        self.at - from
    }

    fn line(&mut self, text: &[u8]) {
        match serde_json::from_slice::<Entry>(text) {
            Ok(entry) => {
                let spot = Spot { file: Arc::clone(&self.file), offset: self.at };
                self.page.found.push(Found { spot, entry, intact: unseal(text).is_ok() });
            }
            Err(_) => self.page.unreadable += 1,
        }
    }
}
