//! Reading the journal without keeping anybody waiting: questions are answered on threads that may block.
//!
//! What lives here: the handle that faces hold, questions and answers. What does not: the files (`files::journal`), the meaning (`domain::journal`),
//! what clusters show of an intent (`operations::compare`).

use super::Failure;
use crate::domain::journal::{Mark, News, Page, Spot, Verified, Whole};
use crate::files::FileError;
use crate::files::journal::Journal;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read at first: some hundred entries.
const FIRST: u64 = 256 * 1024;
/// What is read at once of what is older, at most.
const MOST: u64 = 4 * 1024 * 1024;

/// Answers from a journal. Cheap to clone; nothing is opened before somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalReader(Arc<Path>);

/// A question to a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalQuestion {
    /// The newest entries.
    Newest,
    /// What is older than this; with how many questions of this kind were asked before: who goes on gets more at once.
    Older(Spot, u32),
    /// What was written since the journal was so long.
    News(Option<Mark>),
    /// These entries in full.
    Whole(Vec<Spot>),
    /// Whether all of it is as it was written.
    Check,
}

/// An answer to a [`JournalQuestion`].
#[derive(Debug, Clone)]
pub enum JournalAnswer {
    /// To [`JournalQuestion::Newest`].
    Newest(Result<Arc<Page>, Failure>),
    /// To [`JournalQuestion::Older`].
    Older(Result<Arc<Page>, Failure>),
    /// To [`JournalQuestion::News`].
    News(Result<Arc<News>, Failure>),
    /// To [`JournalQuestion::Whole`], in the order asked.
    Whole(Result<Arc<[Whole]>, Failure>),
    /// To [`JournalQuestion::Check`].
    Checked(Result<Arc<Verified>, Failure>),
}

impl JournalReader {
    /// Of the journal in a folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder.into())
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Answers a question.
    pub async fn answer(&self, question: JournalQuestion) -> JournalAnswer {
        match question {
            JournalQuestion::Newest => JournalAnswer::Newest(self.ask(|journal| journal.newest(FIRST).map(Arc::new)).await),
            JournalQuestion::Older(before, asked) => {
                let bytes = FIRST.saturating_mul(1 << asked.min(8)).min(MOST);
                JournalAnswer::Older(self.ask(move |journal| journal.older(&before, bytes).map(Arc::new)).await)
            }
            JournalQuestion::News(mark) => {
                JournalAnswer::News(self.ask(move |journal| journal.news(mark.as_ref(), MOST).map(Arc::new)).await)
            }
            JournalQuestion::Whole(spots) => {
                JournalAnswer::Whole(self.ask(move |journal| spots.iter().map(|spot| journal.whole(spot)).collect()).await)
            }
            JournalQuestion::Check => JournalAnswer::Checked(self.ask(|journal| journal.verified().map(Arc::new)).await),
        }
    }

    /// What is missing of it, in one sentence: nothing as a rule.
    pub async fn trouble(&self) -> Option<String> {
        let folder = self.0.display().to_string();
        match self.ask(Journal::missing).await {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => Some(format!(
                "the journal {folder} is not whole: {}; what was done then is unknown. `policydeck audit verify` says more",
                missing.join(", ")
            )),
            Err(failure) => Some(failure.what),
        }
    }

    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Journal) -> Result<T, FileError> + Send + 'static) -> Result<T, Failure> {
        let folder = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || question(&Journal::open(&folder)));
        let stopped = |_| Failure { what: "the journal is not read any more: the program ends".to_owned(), hint: String::new() };
        answer.await.map_err(stopped)?.map_err(failure)
    }
}

fn failure(error: FileError) -> Failure {
    let hint = match error.kind {
        ErrorKind::PermissionDenied => "it belongs to whoever did the operations; look as that user, or ask for an export",
        ErrorKind::TimedOut => "end the process that holds it",
        _ => "",
    };
    Failure { what: error.what, hint: hint.to_owned() }
}
