//! Recording the fleet's history while it is watched.
//!
//! What lives here: following the views (`watcher`), asking for what they do not hold (`lookup`), and handing notes to the thread that writes
//! (`writer`), and asking Prometheus about what nobody watched (`filler`). What does not: the file (`files::history`), what records mean (`domain::history`).
//!
//! ```text
//! FleetView ──look, four times a second──▶ watcher ──notes──▶ writer (its own thread) ──▶ history.db
//!                                             ▲ refused admissions, exceptions    │ policies whose object is wanted
//!                                           engine ◀──────── lookup ◀─────────────┘
//! ```
//! The cost hangs on the number of policies, never on that of findings. Nobody waits for the disk: what cannot be handed on is not told, and
//! counts as not watched.
//!
//! A panic ends the recording of one environment for a while. What it had not handed on is a gap in the coverage, and the others go on.

mod filler;
mod lookup;
mod watcher;
mod writer;

pub use filler::MetricSource;

use super::{EngineHandle, HistoryReader};
use crate::cluster::{AGAIN, contained};
use crate::domain::history::{ExceptionState, News, Note, Refusal, Retention, Watched};
use crate::fleet::query::BlockedRow;
use crate::fleet::view::EnvironmentView;
use futures::future::join_all;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use watcher::{Found, Moment, Watcher};
use writer::Writer;

/// How often the views are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Parcels of notes that may wait for the disk.
const WAITING: usize = 64;
/// Objects that may wait to be read: all policies of a big fleet.
const WANTED: usize = 16_384;
/// How long the engine may take for an answer from its own state.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the last notes may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a recorder is started with.
#[derive(Debug, Clone)]
pub struct RecorderOptions {
    /// The history's file (`History::path`).
    pub file: PathBuf,
    /// What kind of recorder it is, e.g. `screen` or `observe`; process and time are added.
    pub name: String,
    /// How long records are kept.
    pub retention: Retention,
    /// Who knows what was refused while nobody watched.
    pub metrics: Vec<MetricSource>,
}

/// How a recorder fares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecorderStatus {
    /// Why nothing can be written, in words; nothing while all is well. It is tried again.
    pub trouble: Option<Arc<str>>,
    /// When something was written last.
    pub last_write: Option<Timestamp>,
    /// Notes that were written.
    pub notes: u64,
    /// Policies whose objects are still to be read.
    pub objects_wanted: usize,
    /// Environments whose Prometheus gives no answer, and why, in words that follow its name. It is asked again.
    pub unanswered: BTreeMap<Arc<str>, Arc<str>>,
    /// Environments that are not recorded because of an internal error, and which. They are tried again.
    pub ended: BTreeMap<Arc<str>, Arc<str>>,
    /// How long each family was watched, by environment.
    pub watched: Vec<(Arc<str>, Watched, Duration)>,
}

/// A running recorder. Dropping it ends it without a farewell: what was watched in the last seconds is then not on record.
#[derive(Debug)]
pub struct Recorder {
    status: watch::Receiver<RecorderStatus>,
    stop: watch::Sender<bool>,
    follow: JoinHandle<()>,
    lookup: JoinHandle<()>,
    filler: JoinHandle<()>,
    written: oneshot::Receiver<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.follow.abort();
        self.lookup.abort();
        self.filler.abort();
    }
}

/// Starts recording what `engine` sees. Call it inside a runtime.
///
/// # Errors
/// Only where no thread can be started; a file that cannot be written shows in the status, and is tried again.
pub fn record(engine: &EngineHandle, options: RecorderOptions) -> std::io::Result<Recorder> {
    let (notes, received) = mpsc::channel(WAITING);
    let (wanted, asked) = mpsc::channel(WANTED);
    let status = watch::Sender::new(RecorderStatus::default());
    let name = format!("{} {} {}", options.name, std::process::id(), Timestamp::now().as_millisecond());
    let reader = HistoryReader::new(options.file.clone());
    let writer = Writer { path: options.file, name, retention: options.retention, notes: received, wanted, status: status.clone() };
    let (done, written) = oneshot::channel();
    std::thread::Builder::new().name("history".to_owned()).spawn(move || {
        writer.run();
        // Nobody may be waiting any more.
        let _ = done.send(());
    })?;
    let (stop, stopped) = watch::channel(false);
    let told = status.subscribe();
    let lookup = tokio::spawn(lookup::look_up(engine.clone(), asked, notes.clone(), status.clone()));
    let filler = tokio::spawn(filler::run(engine.clone(), reader, notes.clone(), status.clone(), options.metrics));
    let started = Instant::now();
    let names: Vec<Arc<str>> = engine.fleet().borrow().environments.iter().map(|view| Arc::clone(&view.name)).collect();
    let follower = |name: Arc<str>| Follower {
        engine: engine.clone(),
        name,
        watcher: Watcher::default(),
        notes: notes.clone(),
        status: status.clone(),
        started,
    };
    let all: Vec<_> = names.into_iter().map(|name| follow(follower(name), stopped.clone())).collect();
    let follow = tokio::spawn(async move { drop(join_all(all).await) });
    Ok(Recorder { status: told, stop, follow, lookup, filler, written })
}

impl Recorder {
    /// How it fares, and the news of that.
    pub fn status(&self) -> watch::Receiver<RecorderStatus> {
        self.status.clone()
    }

    /// Ends it: what was seen until now is written, if the disk lets it be within two seconds.
    pub async fn finish(mut self) {
        self.stop.send_replace(true);
        let _ = timeout(FAREWELL, async {
            let _ = (&mut self.follow).await;
            // They hold senders; the thread ends when all are gone.
            self.lookup.abort();
            self.filler.abort();
            let _ = (&mut self.written).await;
        })
        .await;
    }
}

/// Follows the views of one environment.
#[derive(Clone)]
struct Follower {
    engine: EngineHandle,
    name: Arc<str>,
    watcher: Watcher,
    notes: mpsc::Sender<Vec<Note>>,
    status: watch::Sender<RecorderStatus>,
    started: Instant,
}

/// Follows an environment until it is stopped. After a panic it says so, and begins again later with nothing told: what happened meanwhile is a gap.
async fn follow(fresh: Follower, mut stopped: watch::Receiver<bool>) {
    loop {
        let Err(error) = contained("recorder", &fresh.name, fresh.clone().run(stopped.clone())).await else { return };
        tracing::error!(environment = %fresh.name, %error, "the recording ended");
        fresh.status.send_modify(|status| drop(status.ended.insert(Arc::clone(&fresh.name), Arc::from(error.to_string()))));
        tokio::select! {
            () = sleep(AGAIN) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        fresh.status.send_modify(|status| drop(status.ended.remove(&fresh.name)));
    }
}

impl Follower {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let fleet = self.engine.fleet();
        let mut beat = interval(LOOK);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            let view = fleet.borrow().environment(&self.name).cloned();
            if let Some(view) = view {
                self.look(&view).await;
            }
            self.tell_watched();
        }
        let (Some(environment), Some(news)) = (self.watcher.key().cloned(), self.watcher.close()) else { return };
        let at = self.engine.server_time(&self.name).unwrap_or_else(Timestamp::now);
        // Where the disk hangs the last seconds are lost.
        let _ = self.notes.try_send(vec![Note { environment, at, news }]);
    }

    async fn look(&mut self, view: &EnvironmentView) {
        // By the server's clock: what is recorded here is compared with what objects say, and with what other machines recorded.
        let Some(wall) = self.engine.server_time(&self.name).map(whole) else { return };
        let now = Moment { wall, run: self.started.elapsed() };
        let mut found = self.watcher.look(view, now);
        let Some(environment) = self.watcher.key().cloned() else { return };
        if self.ask(view, &mut found, now.wall).await.is_none() {
            self.watcher.lost();
            return;
        }
        if found.news.is_empty() {
            return;
        }
        let note = |(at, news)| Note { environment: Arc::clone(&environment), at, news };
        let parcel = found.news.into_iter().map(note).collect();
        if self.notes.try_send(parcel).is_err() {
            // The disk does not keep up. What is not handed on has not been watched.
            self.watcher.lost();
            self.tell_behind();
        }
    }

    /// Asks for what the view does not hold. `None` without an answer: what was to be told with it has not been watched.
    async fn ask(&self, view: &EnvironmentView, found: &mut Found, at: Timestamp) -> Option<()> {
        if found.refusals {
            let rows = timeout(ANSWER, self.engine.blocked(&view.name, None)).await.ok()?.ok()?;
            let refusals: Vec<Refusal> = rows.iter().filter_map(|row| refusal(row, at)).collect();
            if !refusals.is_empty() {
                found.news.insert(0, (at, News::Refusals(refusals)));
            }
        }
        if found.exceptions {
            let all = timeout(ANSWER, self.engine.exceptions_alone(&view.name)).await.ok()?.ok()?;
            found.news.insert(0, (at, News::Exceptions(all.iter().map(|exception| exception_state(exception)).collect())));
        }
        Some(())
    }

    /// Keeps the status up to date for whoever looks; nobody is woken for it.
    fn tell_watched(&self) {
        let Some(key) = self.watcher.key() else { return };
        let name: Arc<str> = Arc::from(key.name.as_str());
        self.status.send_if_modified(|status| {
            status.watched.retain(|(other, ..)| *other != name);
            status.watched.extend(self.watcher.watched().map(|(family, time)| (Arc::clone(&name), family, time)));
            status.watched.sort_by(|(one, ..), (other, ..)| one.cmp(other));
            false
        });
    }

    fn tell_behind(&self) {
        self.status.send_if_modified(|status| {
            let news = status.trouble.is_none();
            let why = || Arc::from("the history is not being written: the disk does not keep up");
            status.trouble.get_or_insert_with(why);
            news
        });
    }
}

/// In whole milliseconds, as records have them.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// An event without an identity cannot be told from itself later, so it is left out.
fn refusal(row: &BlockedRow, now: Timestamp) -> Option<Refusal> {
    let identity = (!row.event.is_empty()).then(|| row.event.to_string())?;
    let claim = (!row.source.verified).then(|| Arc::clone(&row.source));
    Some(Refusal { identity, policy: row.key.clone(), at: row.at.unwrap_or(now), count: row.count, claim })
}

fn exception_state(exception: &crate::domain::Exception) -> ExceptionState {
    ExceptionState {
        group: exception.group.clone(),
        namespace: exception.namespace.clone(),
        name: exception.name.clone(),
        policies: exception.policies.iter().map(|(policy, _)| policy.clone()).collect(),
        expires_at: exception.expires_at,
        created_at: exception.created_at,
    }
}

#[cfg(test)]
mod tests;
