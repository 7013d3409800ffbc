//! What is read of a journal that may be longer than memory: pages from its end backwards, and what was written since.
//!
//! What lives here: what comes of reading, as data. What does not: reading (`files::journal`), what belongs together (`steps`).

use super::Entry;
use std::sync::Arc;

/// Where a line begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The file's name in the journal's folder.
    pub file: Arc<str>,
    /// Bytes before it.
    pub offset: u64,
}

/// An entry, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Where.
    pub spot: Spot,
    /// What.
    pub entry: Entry,
    /// Whether the line is as it was written.
    pub intact: bool,
}

/// How long the journal was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The newest file's name.
    pub file: Arc<str>,
    /// Its bytes.
    pub length: u64,
    /// The bytes of its whole lines: a line behind them is being written, or its write was interrupted.
    pub end: u64,
    /// How many files there were.
    pub files: usize,
}

/// A part of the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Entries, the newest first.
    pub found: Vec<Found>,
    /// Lines that are no entries, or none that is understood here.
    pub unreadable: u64,
    /// Where what is older ends; none where nothing is.
    pub before: Option<Spot>,
    /// How long the journal was, where the page ends with it; none where there is no journal.
    pub mark: Option<Mark>,
}

/// What was written since somebody looked.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// This; nothing else is different.
    Grown(Page),
    /// It is no longer what it was, or there is more than is read at once: it has to be read anew.
    Other,
}

/// An entry in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Where.
    pub spot: Spot,
    /// Its line, the first of the file being 1.
    pub line: u64,
    /// What it says.
    pub entry: Entry,
    /// The line as it stands in the file, without its break: clean it before it reaches a terminal.
    pub text: String,
    /// Whether it is as it was written.
    pub intact: bool,
}
