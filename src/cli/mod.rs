//! The command line: one face of the engine, for people without a screen and for scripts.
//!
//! What lives here: the grammar of the command line, documents and tables, waiting for completeness, exit statuses. What does
//! not: files, starting the engine (`app`), drawing a screen (`tui`).
//!
//! Documents are made by pure functions (`status::item`, `violations::items`, …) and written by `document`.

pub mod about;
pub mod args;
pub mod document;
pub mod fail_on;
pub mod findings;
pub mod flags;
pub mod formers;
pub mod gate;
pub mod items;
pub mod journal;
pub mod metrics;
pub mod outcome;
pub mod policies;
pub mod preview;
pub mod reason;
mod rows;
pub mod scope;
pub mod settle;
pub mod show;
pub mod source;
pub mod status;
pub mod table;
pub mod timeline;
pub mod violations;

#[cfg(test)]
mod tests;

use std::io;

/// How a command ended; the numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// A gate is closed, or `--fail-on` holds.
    Closed = 3,
    /// Unknown: something could not be seen.
    Unknown = 4,
    /// Partly done.
    Partly = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// Done when nothing is missing, unknown otherwise.
    pub fn of(complete: bool) -> Self {
        if complete { Self::Done } else { Self::Unknown }
    }
}

/// Why a command could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The exit status.
    pub exit: Exit,
    /// What happened and what to do; empty where nobody is left to read it.
    pub message: String,
}

impl Problem {
    /// Wrong usage or configuration.
    pub fn usage(message: String) -> Self {
        Self { exit: Exit::Usage, message }
    }

    /// Anything else.
    pub fn failed(message: String) -> Self {
        Self { exit: Exit::Failed, message }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has seen enough: `policydeck findings | head`.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, message: String::new() };
        }
        Self::failed(format!("cannot write the output: {error}"))
    }
}
