//! Reading the history without keeping anybody waiting: questions are answered on threads of their own.
//!
//! What lives here: the handle that faces hold. What does not: the file (`files::history`), the meaning (`domain::history`).

use super::Failure;
use crate::domain::PolicyKey;
use crate::domain::history::{Asked, EnvironmentKey, Interval, Line, News, Note, Operation, RevisionText, Standing, Timeline};
use crate::files::history::{History, HistoryError};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers from the history, as far as there is one. Cheap to clone; the file is opened with the first question.
#[derive(Debug, Clone)]
pub struct HistoryReader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    open: Mutex<Option<History>>,
}

/// Readers are the same where they share what is open.
impl PartialEq for HistoryReader {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl HistoryReader {
    /// Of the file at `path`, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, open: Mutex::new(None) }))
    }

    /// Asks; `None` where nothing has been recorded yet. After a failure the file is opened anew.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let shared = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || {
            let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
            // What was removed while it was open would go on answering.
            if open.is_some() && !shared.path.exists() {
                *open = None;
            }
            if open.is_none() {
                *open = History::open_existing(&shared.path)?;
            }
            let Some(history) = &mut *open else { return Ok(None) };
            let answer = question(history).map(Some);
            if answer.is_err() {
                *open = None;
            }
            answer
        });
        let stopped = |_| Failure { what: "the history is not read any more: the program ends".to_owned(), hint: String::new() };
        answer.await.map_err(stopped)?.map_err(|error: HistoryError| Failure { what: error.what, hint: String::new() })
    }

    /// Why it cannot be read; nothing where it can, or where none was ever begun.
    pub async fn trouble(&self) -> Option<String> {
        self.ask(|history| history.environments()).await.err().map(|failure| failure.what)
    }

    /// All environments on record, those last watched first.
    pub async fn environments(&self) -> Result<Vec<EnvironmentKey>, Failure> {
        Ok(self.ask(|history| history.environments()).await?.unwrap_or_default())
    }

    /// All policies on record, sorted.
    pub async fn policies(&self) -> Result<Vec<PolicyKey>, Failure> {
        Ok(self.ask(|history| history.policies()).await?.unwrap_or_default())
    }

    /// Since when a policy is what it is in an environment, and what happened since; `None` where nothing is on record or it is absent.
    /// `events_kept` is how long the cluster keeps events, where that is not the usual hour.
    pub async fn standing(
        &self,
        environment: EnvironmentKey,
        policy: PolicyKey,
        events_kept: Option<SignedDuration>,
        now: Timestamp,
    ) -> Result<Option<Standing>, Failure> {
        Ok(self.ask(move |history| history.standing(&environment, &policy, events_kept, now)).await?.flatten())
    }

    /// How it went to ask Prometheus about an environment last; `None` where that was never done.
    pub async fn asked(&self, environment: EnvironmentKey) -> Result<Option<Asked>, Failure> {
        Ok(self.ask(move |history| history.asked(&environment)).await?.flatten())
    }

    /// A policy over time, in `width` buckets; `None` where nothing has been recorded yet.
    pub async fn timeline(&self, policy: PolicyKey, window: Interval, width: usize, now: Timestamp) -> Result<Option<Timeline>, Failure> {
        self.ask(move |history| history.timeline(&policy, window, width, now)).await
    }

    /// What every policy did, in every environment, sorted by policy.
    pub async fn overview(&self, window: Interval, now: Timestamp) -> Result<Vec<Line>, Failure> {
        Ok(self.ask(move |history| history.overview(window, now)).await?.unwrap_or_default())
    }

    /// What a policy said in an environment, newest first.
    pub async fn revisions(&self, environment: EnvironmentKey, policy: PolicyKey) -> Result<Vec<RevisionText>, Failure> {
        Ok(self.ask(move |history| history.revisions(&environment, &policy)).await?.unwrap_or_default())
    }

    /// Records something that we did ourselves, at once and whether a recorder runs or not. The history is made where there is none.
    pub async fn operation(&self, environment: EnvironmentKey, operation: Operation, at: Timestamp) -> Result<(), Failure> {
        let shared = Arc::clone(&self.0);
        let note = Note { environment: Arc::new(environment), at, news: News::Operation(operation) };
        let written = tokio::task::spawn_blocking(move || History::open(&shared.path)?.take("operations", &[note]));
        let stopped = |_| Failure { what: "the history is not written any more: the program ends".to_owned(), hint: String::new() };
        written.await.map_err(stopped)?.map(drop).map_err(|error| Failure { what: error.what, hint: String::new() })
    }
}
