//! What a stream is about and whom it tells: what all of [`super::stream`] and [`super::pages`] share.

use super::address::Path;
use super::refusal::Refusal;
use super::requests::{JSON, METADATA, METADATA_LIST, Requests};
use super::splitter::ObjectLimit;
use super::timing::Timing;
use crate::domain::Sync;
use crate::fleet::delta::{Delta, StreamEvent, StreamId};
use crate::kinds::Family;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A watch ends by itself after about this long, and is opened again.
const WATCH_SECONDS: u64 = 290;

/// What a stream is about, and whom it tells.
#[derive(Clone)]
pub(super) struct StreamContext {
    pub(super) id: StreamId,
    pub(super) requests: Requests,
    /// Path of the collection.
    pub(super) path: Path,
    pub(super) deltas: mpsc::Sender<Delta>,
    /// Whether the link is up; streams wait while it is not.
    pub(super) up: watch::Receiver<bool>,
    /// Tells the station that a connection failed.
    pub(super) trouble: mpsc::Sender<Refusal>,
    /// Whether this server knows streaming lists; shared by its streams.
    pub(super) streaming: Arc<AtomicBool>,
    /// Whether this server sends a list while it makes it (KEP-5116, on from Kubernetes 1.34), so that a big one in one answer costs it no more memory
    /// than a streaming list, and less time.
    pub(super) whole: bool,
    /// Ask for summaries first.
    pub(super) summaries: bool,
    pub(super) timing: Timing,
    pub(super) limit: ObjectLimit,
}

/// The receiver of the deltas is gone: the environment is shutting down.
pub(super) struct Gone;

/// What went wrong in a list or watch.
pub(super) enum Trouble {
    Refused(Refusal),
    Gone,
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl StreamContext {
    pub(super) async fn tell(&self, event: StreamEvent) -> Result<(), Gone> {
        self.deltas.send(Delta::Stream(self.id.clone(), event)).await.map_err(|_| Gone)
    }

    pub(super) async fn state(&self, sync: Sync) -> Result<(), Gone> {
        self.tell(StreamEvent::State(sync)).await
    }

    /// Reports are the bulk; everything else is small and better off with one request for list and watch.
    pub(super) fn lists_whole(&self) -> bool {
        self.whole && self.id.kind.kind().family == Family::Report
    }

    /// Path of the objects that are wanted of the collection.
    pub(super) fn wanted(&self) -> Path {
        let path = self.path.clone();
        match self.id.kind.kind().selector {
            Some((parameter, value)) => path.with(parameter, value),
            None => path,
        }
    }

    pub(super) fn accept(&self, list: bool) -> &'static str {
        match (self.id.kind.kind().family, list) {
            (Family::Owner | Family::Namespace, true) => METADATA_LIST,
            (Family::Owner | Family::Namespace, false) => METADATA,
            _ => JSON,
        }
    }

    /// Watches of one environment should not all end in the same second.
    pub(super) fn watch_seconds(&self) -> u64 {
        WATCH_SECONDS - self.jitter(Duration::from_secs(60)).as_secs()
    }

    /// Something between nothing and `most`, different for each stream and moment.
    pub(super) fn jitter(&self, most: Duration) -> Duration {
        use std::hash::BuildHasher;
        let random = std::hash::RandomState::new().hash_one(&self.id);
        most.mul_f64((random % 1000) as f64 / 1000.0)
    }
}

/// The server's words for a denial, in ours: what may not be read, by whom, and what to ask for.
pub(super) fn denied(context: &StreamContext, words: &str) -> String {
    let user = words.split("User \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let kind = context.id.kind.kind();
    let place = if context.id.namespace.is_empty() { String::new() } else { format!(" in namespace {}", context.id.namespace) };
    let who = if user.is_empty() { String::new() } else { format!("user {}, ", crate::domain::clean(user)) };
    format!("you may not list {}{place} ({who}verb list). Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml", kind.plural)
}
