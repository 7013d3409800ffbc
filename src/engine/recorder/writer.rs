//! Writing notes down, on a thread of its own: a disk that hangs or is full stops nobody.

use super::RecorderStatus;
use crate::cluster::{InternalError, contain};
use crate::domain::PolicyKey;
use crate::domain::history::{EnvironmentKey, News, Note, Retention};
use crate::domain::size::in_words;
use crate::files::history::{History, HistoryError, HistoryFault, Taken};
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Notes that are written together,
const BATCH: usize = 64;
/// with what policies say of at most so many bytes, and one more: the file exceeds its size by no more than that.
const BATCH_BYTES: usize = 4 << 20;
/// After how long it is tried again, where that may help soon,
const SOON: Duration = Duration::from_secs(5);
/// and where somebody has to do something first.
const LATE: Duration = Duration::from_secs(60);
/// How often old records are rolled up,
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);
/// for the first time when a clock that was wrong at the start of the machine is probably right.
const FIRST_HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Policies whose objects are to be read.
pub(super) type Wanted = (Arc<EnvironmentKey>, PolicyKey);

/// What the thread works with.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) retention: Retention,
    pub(super) notes: mpsc::Receiver<Vec<Note>>,
    pub(super) wanted: mpsc::Sender<Wanted>,
    pub(super) status: watch::Sender<RecorderStatus>,
}

impl Writer {
    /// Writes until nobody has anything to tell any more.
    pub(super) fn run(mut self) {
        let mut history: Option<History> = None;
        let mut housekeeping = Instant::now() + FIRST_HOUSEKEEPING;
        while let Some(first) = self.notes.blocking_recv() {
            let mut batch = first;
            while batch.len() < BATCH
                && batch.iter().map(bytes).sum::<usize>() < BATCH_BYTES
                && let Ok(more) = self.notes.try_recv()
            {
                batch.extend(more);
            }
            self.write_at_last(&mut history, &batch);
            if Instant::now() >= housekeeping {
                housekeeping = Instant::now() + HOUSEKEEPING;
                let pruned = contain(|| history.as_mut().map(|history| history.prune(self.retention, Timestamp::now())));
                match pruned.unwrap_or_else(|error| Some(Err(panicked(&error)))) {
                    Some(Ok(pruned)) => tracing::debug!(?pruned, "old records are rolled up"),
                    Some(Err(error)) => self.tell(&error),
                    None => {}
                }
            }
        }
    }

    /// Writes a batch, however often that has to be tried, unless the program ends.
    fn write_at_last(&self, history: &mut Option<History>, batch: &[Note]) {
        loop {
            match contain(|| self.write(history, batch)).unwrap_or_else(|error| Err(panicked(&error))) {
                Ok(taken) => {
                    self.written(batch.len(), taken.wanted.len());
                    self.want(taken.wanted);
                    return;
                }
                Err(error) => {
                    self.tell(&error);
                    if error.fault != HistoryFault::Busy {
                        *history = None;
                    }
                    let pause =
                        if matches!(error.fault, HistoryFault::Damaged | HistoryFault::Newer | HistoryFault::Full) { LATE } else { SOON };
                    if !self.wait(pause) {
                        return;
                    }
                }
            }
        }
    }

    fn write(&self, history: &mut Option<History>, batch: &[Note]) -> Result<Taken, HistoryError> {
        // What was removed while it was open would take everything to nowhere.
        let open = match history.take().filter(|_| self.path.exists()) {
            Some(open) => open,
            None => History::open(&self.path)?,
        };
        let open = history.insert(open);
        let most = self.retention.most;
        if !open.keep_within(most, Timestamp::now())? {
            let what = format!(
                "the history {} has reached history.max_size ({}), and all that is left in it is what policies are now. Raise history.max_size; until then nothing is recorded",
                self.path.display(),
                in_words(most)
            );
            return Err(HistoryError { what, fault: HistoryFault::Full });
        }
        open.take(&self.name, batch)
    }

    fn written(&self, notes: usize, wanted: usize) {
        self.status.send_modify(|status| {
            status.trouble = None;
            status.last_write = Some(Timestamp::now());
            status.notes += notes as u64;
            status.objects_wanted = status.objects_wanted.saturating_add(wanted);
        });
    }

    /// Hands on what is to be read. Where too many wait, the others are asked for with the next first look.
    fn want(&self, wanted: Vec<Wanted>) {
        let refused = wanted.into_iter().filter_map(|wanted| self.wanted.try_send(wanted).err()).count();
        if refused > 0 {
            self.status.send_modify(|status| status.objects_wanted = status.objects_wanted.saturating_sub(refused));
        }
    }

    fn tell(&self, error: &HistoryError) {
        self.status.send_if_modified(|status| {
            let news = status.trouble.as_deref() != Some(&error.what);
            if news {
                tracing::warn!("{error}");
                status.trouble = Some(Arc::from(error.what.as_str()));
            }
            news
        });
    }

    /// Waits; whether the program still runs.
    fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.notes.is_closed() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    }
}

/// What was not written is written with the next try; what does not fit in until then is not handed on, and a gap.
fn panicked(error: &InternalError) -> HistoryError {
    HistoryError { what: format!("the history is not being written: {error}"), fault: HistoryFault::Other }
}

/// Bytes of what a note brings along that others wrote.
fn bytes(note: &Note) -> usize {
    if let News::Detail(detail) = &note.news { detail.object.len() } else { 0 }
}
