//! What the servers received, and what goes wrong on the way.

use policydeck::demo::{Asked, Changed, Fate, Witness};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who writes as policydeck; a deletion is named by the user agent.
pub(crate) const OURS: &str = "policydeck";

/// What becomes of the next write that somebody confirmed.
#[derive(Debug)]
pub(crate) enum Trouble {
    AnswerLost,
    Lost,
    /// Says that it has come, then waits.
    Held(std::sync::mpsc::SyncSender<()>, oneshot::Receiver<bool>),
}

#[derive(Debug, Default)]
struct Seen {
    log: Vec<Changed>,
    trouble: Option<Trouble>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Eyes(Mutex<Seen>);

impl Eyes {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many changes there were.
    pub(crate) fn len(&self) -> usize {
        self.seen().log.len()
    }

    /// All changes since then.
    pub(crate) fn since(&self, start: usize) -> Vec<Changed> {
        self.seen().log[start..].to_vec()
    }

    /// What becomes of the next write of policydeck that is no rehearsal.
    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        self.seen().trouble = trouble;
    }
}

impl Witness for Eyes {
    fn asked(&self, request: &Asked) -> Fate {
        if request.dry_run || request.manager != OURS {
            return Fate::Answered;
        }
        match self.seen().trouble.take() {
            None => Fate::Answered,
            Some(Trouble::AnswerLost) => Fate::AnswerLost,
            Some(Trouble::Lost) => Fate::Lost,
            Some(Trouble::Held(came, released)) => {
                let _ = came.try_send(());
                Fate::Held(released)
            }
        }
    }

    fn changed(&self, change: Changed) {
        self.seen().log.push(change);
    }
}
