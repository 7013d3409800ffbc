//! The screen: one of two faces of the engine.
//!
//! What lives here: everything drawn and everything typed; ratatui, crossterm and tui-input occur nowhere else. What does not: I/O of
//! its own, clusters, files; the screen asks the [`EngineHandle`] and shows what it says.
//!
//! How the parts talk: `event_loop` turns what happens into [`Msg`]s, [`App::update`] changes the state and answers with
//! [`Effect`]s, the loop carries those out. `screens` are what one looks at, `overlays` lie over them, `frame` is around them;
//! `keys` is the one table of keys, `keymap` adds what a person has set, `theme` the one place for colours and shapes, `words` the one for wording.

mod acting;
mod app;
mod event_loop;
mod filter;
mod frame;
mod keymap;
mod keys;
mod msg;
mod notices;
mod outlet;
mod overlays;
mod pace;
pub mod past;
mod pen;
mod save;
mod screens;
mod source;
mod stage;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod words;

pub use acting::{Acting, Carried, Deed, Operations, Preparation, Prepared, Progress, Wish};
pub use app::App;
pub use event_loop::{Host, LoopError, run as run_loop};
pub use keymap::{Keymap, actions};
pub use keys::{Binding, Chord, GENERAL, MOVING, Verb, keys_markdown};
pub use msg::{Answer, Ask, Effect, Elsewhere, Msg};
pub use outlet::Taken;
pub use save::Saver;
pub use screens::{Entry, REGISTRY};
pub use source::Source;
pub use theme::{ColorDepth, Role, Theme};

use crate::engine::operations::Operator;
use crate::engine::{EngineHandle, HistoryReader, JournalReader};
use crate::ops::road::Road;
use jiff::{Timestamp, tz::TimeZone};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::fmt;
use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use tokio::sync::watch;

/// How the screen looks and what it says about the program.
#[derive(Debug, Clone)]
pub struct TuiOptions {
    /// Shapes from ASCII only.
    pub ascii: bool,
    /// Colours of the terminal ([`ColorDepth::detect`]).
    pub depth: ColorDepth,
    /// A sentence on the tab line, e.g. that this is a demo.
    pub banner: Option<String>,
    /// What to do next, for somebody who is guided; a newer sentence shows within a second.
    pub guide: Option<watch::Receiver<Arc<str>>>,
    /// Nothing may be changed; said in the header.
    pub read_only: bool,
    /// Where the person is.
    pub time_zone: TimeZone,
    /// Keys that a person has set.
    pub keys: Keymap,
    /// The road that policies go, for the gates on it.
    pub road: Road,
    /// Who observed policies over time, for the same.
    pub history: Option<HistoryReader>,
    /// Where what is done is written down.
    pub journal: Option<JournalReader>,
    /// Whether things can be changed.
    pub operations: Operations,
    /// Keeps what is on the screen in a file; `None` where there is no place for it.
    pub save: Option<Saver>,
    /// What is wrong with history or journal, as long as it is: gates and timelines are unknown for it.
    pub records: Option<watch::Receiver<Option<Arc<str>>>>,
    /// Tells a person when something beside the screen goes wrong, such as the log.
    pub trouble: Option<watch::Receiver<Option<Arc<str>>>>,
}

impl Default for TuiOptions {
    /// True colour, all shapes, the system's time zone.
    fn default() -> Self {
        Self {
            ascii: false,
            depth: ColorDepth::True,
            banner: None,
            guide: None,
            read_only: false,
            time_zone: TimeZone::system(),
            keys: Keymap::default(),
            road: Road::default(),
            history: None,
            journal: None,
            operations: Operations::default(),
            save: None,
            records: None,
            trouble: None,
        }
    }
}

/// Why the screen could not start or go on. The terminal is restored when this is returned.
#[derive(Debug)]
pub enum TuiError {
    /// Standard output is not a terminal.
    NotATerminal,
    /// The terminal failed.
    Terminal(io::Error),
    /// A task panicked; the panic itself was reported when it happened.
    Panicked(String),
}

impl fmt::Display for TuiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATerminal => {
                f.write_str("standard output is not a terminal: nothing can be drawn. Use a subcommand such as `policydeck status` in scripts and pipes")
            }
            Self::Terminal(error) => write!(f, "the terminal failed: {error}"),
            Self::Panicked(report) => write!(f, "a part of the program failed, so all of it ends: {report}"),
        }
    }
}

impl std::error::Error for TuiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Terminal(error) => Some(error),
            Self::NotATerminal | Self::Panicked(_) => None,
        }
    }
}

/// Shows the fleet until the person or a signal ends it. To be called on the main thread, within a tokio runtime: the terminal may
/// block when it stalls, and should then block nothing else. Whoever changes things for the person is the `operator`.
pub async fn run(engine: EngineHandle, operator: Option<Operator>, options: TuiOptions) -> Result<(), TuiError> {
    let mut failed = engine.failed();
    let failure = async move {
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
            // The engine is gone, and the screen says what it last knew.
            Err(_) => std::future::pending().await,
        }
    };
    // Mostly the panic hook is first; it knows where it happened. But a panic may come before the screen is taken.
    let shown = async {
        match operator {
            Some(operator) => run_on(Acting::new(engine, operator), options).await,
            None => run_on(engine, options).await,
        }
    };
    tokio::select! {
        biased;
        ended = shown => ended,
        why = failure => Err(TuiError::Panicked(why)),
    }
}

/// The same on any source of views and answers.
pub async fn run_on(source: impl Source, options: TuiOptions) -> Result<(), TuiError> {
    if !io::stdout().is_terminal() {
        return Err(TuiError::NotATerminal);
    }
    let mut guard = terminal::Guard::new().map_err(TuiError::Terminal)?;
    let mut terminal = Terminal::new(CrosstermBackend::new(guard.writer())).map_err(TuiError::Terminal)?;
    let mut app = App::new(options, Timestamp::now());
    let input = terminal::input().map_err(TuiError::Terminal)?;
    let ended = event_loop::run(&mut terminal, input, source, &mut app, &mut guard, Timestamp::now).await;
    let gone = guard.is_gone();
    // Its own last words come before the screen is left.
    drop(terminal);
    drop(guard);
    if let Some(words) = app.last_words() {
        tracing::info!(words, "after the screen was left");
        // Where nobody reads it, it stands in the journal.
        let _ = writeln!(io::stderr(), "policydeck: {words}");
    }
    match ended {
        Ok(()) => Ok(()),
        // Whoever closed the terminal wants nothing more, and there is nobody to tell.
        Err(LoopError::Terminal(what)) if gone => {
            tracing::info!(what, "the terminal is gone");
            Ok(())
        }
        Err(LoopError::Terminal(what)) => Err(TuiError::Terminal(io::Error::other(what))),
        Err(LoopError::Panicked(report)) => Err(TuiError::Panicked(report)),
    }
}
