//! One list-and-watch: a kind, in all namespaces or in one, kept up to date through everything a server does to it.
//!
//! ```text
//!            ┌────────────── 410, or a watch that cannot be resumed ─────────────┐
//!            ▼                                                                   │
//! wait ─▶ streaming list ──(initial-events-end)──▶ watch ──(ended)──▶ watch again ┘
//!   │        │ 422, or silence: this server has none
//!   │        └▶ list in pages ──────────────────▶ watch
//!   └(reports, where lists are streamed)▶ list in one answer ─▶ watch
//! ```
//! A new list never blanks what is held: `ListStarted` and `ListEnded` bracket it, and the state sweeps at the end.

use super::reader::{News, Reader};
use super::refusal::Refusal;
use super::requests::{Arriving, JSON, METADATA, METADATA_LIST, Requests};
use super::splitter::{Items, Piece};
use super::table;
use crate::domain::Sync;
use crate::fleet::delta::{Delta, StreamEvent, StreamId};
use crate::kinds::Family;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A watch ends by itself after about this long, and is opened again.
const WATCH_SECONDS: u64 = 290;
/// A watch that is silent for longer is taken for dead. API servers send a bookmark every minute (kubernetes/apiserver
/// pkg/storage/cacher, `defaultBookmarkFrequency`); one that sends none is asked again from where it was, which costs one request.
const SILENCE: Duration = Duration::from_secs(95);
/// A streaming list answers at once, if only with the bookmark of an empty list. One that does not is no streaming list: the
/// reports-server ignores the parameter (kyverno/reports-server pkg/api/polr.go).
const FIRST_SIGN: Duration = Duration::from_secs(10);
/// A watch that lived for less is a failure, or a server that closes at once would be asked in a hot loop.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How soon something that is denied is asked for again.
const DENIED_AGAIN: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Objects on the first page, whose size is not known yet.
const FIRST_PAGE: usize = 100;
/// Pages are kept near this size, whatever the size of an object.
const PAGE_BYTES: usize = 4 << 20;
/// Objects of a list wait for each other up to this many bytes, so that whoever folds them in is not woken for every read of a socket…
const PORTION: usize = 128 << 10;
/// …but no longer than this.
const GATHERED: Duration = Duration::from_millis(20);
/// A server that always says version "1" keeps no history (the reports-server): its watch is only a hint, and lists are repeated.
const RELIST_HINTED: Duration = Duration::from_secs(60);

/// What a stream is about, and whom it tells.
#[derive(Clone)]
pub(super) struct StreamContext {
    pub(super) id: StreamId,
    pub(super) requests: Requests,
    /// URL path of the collection.
    pub(super) path: String,
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
}

/// How a stream ended for good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The kind is not served any more.
    NotServed,
    /// Nobody listens any more.
    Unwanted,
}

/// How one watch ended.
enum Watched {
    /// Go on from this version.
    Resume(String),
    /// List again.
    Relist,
}

/// The receiver of the deltas is gone: the environment is shutting down.
struct Gone;

/// What went wrong in a list or watch.
enum Trouble {
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

/// Runs a stream until its kind is not served any more or nobody listens.
pub(super) async fn run(mut context: StreamContext) -> Ended {
    let mut machine = Machine { resume: None, complete: false, failures: 0, paged: false, hinted: false, opened: Instant::now() };
    loop {
        if context.up.wait_for(|up| *up).await.is_err() {
            return Ended::Unwanted;
        }
        machine.opened = Instant::now();
        match machine.turn(&context).await {
            Ok(()) => {
                if machine.opened.elapsed() < SHORT_LIFE {
                    machine.failures += 1;
                    machine.pause(&context, None).await;
                } else {
                    machine.failures = 0;
                }
            }
            Err(Trouble::Gone) => return Ended::Unwanted,
            Err(Trouble::Refused(Refusal::NotFound(_))) => return Ended::NotServed,
            Err(Trouble::Refused(refusal)) => {
                if machine.refused(&context, refusal).await.is_err() {
                    return Ended::Unwanted;
                }
            }
        }
    }
}

struct Machine {
    /// The version to watch from; `None` asks for a list.
    resume: Option<String>,
    /// A list was complete once.
    complete: bool,
    failures: u32,
    /// This stream must list in pages, whatever others do.
    paged: bool,
    /// The server keeps no history.
    hinted: bool,
    opened: Instant,
}

impl Machine {
    /// One list or one watch.
    async fn turn(&mut self, context: &StreamContext) -> Result<(), Trouble> {
        let Some(version) = self.resume.take() else {
            return self.list(context).await;
        };
        match self.watch(context, &version).await {
            Ok(Watched::Resume(version)) => self.resume = Some(version),
            Ok(Watched::Relist) | Err(Trouble::Refused(Refusal::Gone)) => {}
            Err(trouble) => {
                // A fault on the way says nothing about the version: go on from there.
                self.resume.get_or_insert(version);
                return Err(trouble);
            }
        }
        Ok(())
    }

    async fn list(&mut self, context: &StreamContext) -> Result<(), Trouble> {
        if !self.complete {
            context.state(Sync::Listing { seen: 0, total: None }).await?;
            if context.summaries
                && context.id.kind.kind().family == Family::Report
                && let Ok(Some(tally)) = table::summaries(&context.requests, &context.path).await
            {
                context.tell(StreamEvent::Summaries(tally)).await?;
            }
        }
        if self.paged {
            return self.pages(context, Some(FIRST_PAGE)).await;
        }
        if context.lists_whole() {
            let done = self.pages(context, None).await;
            // It may have been too big for this line: API servers end a request after a minute.
            self.paged = matches!(done, Err(Trouble::Refused(Refusal::Unreachable(_))));
            return done;
        }
        if context.streaming.load(Ordering::Relaxed) {
            match self.streaming_list(context).await {
                Err(Trouble::Refused(Refusal::Invalid(_))) => context.streaming.store(false, Ordering::Relaxed),
                Err(Trouble::Refused(Refusal::Server(why))) if why == SILENT => self.paged = true,
                done => return done,
            }
        }
        self.pages(context, Some(FIRST_PAGE)).await
    }

    /// List and watch in one request (KEP-3157): the objects, a bookmark that says "that was all", then changes.
    async fn streaming_list(&mut self, context: &StreamContext) -> Result<(), Trouble> {
        let path = format!(
            "{}?{}watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=&allowWatchBookmarks=true&timeoutSeconds={}",
            context.path,
            context.selector(),
            context.watch_seconds()
        );
        let body = context.requests.open(&path, context.accept(false), false).await?;
        context.tell(StreamEvent::ListStarted).await?;
        let mut reader = Reader::new(body, true);
        match self.follow(context, &mut reader).await? {
            Watched::Resume(version) => self.resume = Some(version),
            Watched::Relist => {}
        }
        Ok(())
    }

    async fn watch(&mut self, context: &StreamContext, version: &str) -> Result<Watched, Trouble> {
        let path = format!(
            "{}?{}watch=true&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={}",
            context.path,
            context.selector(),
            context.watch_seconds()
        );
        let body = context.requests.open(&path, context.accept(false), false).await?;
        context.state(Sync::Live).await?;
        let mut reader = Reader::new(body, false);
        reader.version = Some(version.to_owned());
        self.follow(context, &mut reader).await
    }

    /// Reads a watch to its end.
    async fn follow(&mut self, context: &StreamContext, reader: &mut Reader) -> Result<Watched, Trouble> {
        let mut up = context.up.clone();
        let mut portion = Portion::default();
        loop {
            let patience = match (reader.listing, reader.silent, self.hinted) {
                (true, true, _) => FIRST_SIGN,
                (false, _, true) => RELIST_HINTED.saturating_sub(self.opened.elapsed()),
                _ => SILENCE,
            };
            let next = tokio::select! {
                frame = timeout(patience, reader.body.frame()) => Next::Frame(frame),
                () = sleep_until(portion.due), if !portion.objects.is_empty() => Next::Due,
                // The link is lost, even if this connection has not noticed: it may be half open.
                _ = up.wait_for(|up| !*up) => Next::Lost,
            };
            let frame = match next {
                Next::Frame(frame) => frame,
                Next::Due => {
                    portion.pass_on(context).await?;
                    continue;
                }
                Next::Lost => {
                    self.resume = if reader.listing || self.hinted { None } else { reader.version() };
                    return Err(Refusal::Unreachable("the link is lost".to_owned()).into());
                }
            };
            let frame = match frame {
                Err(_) if reader.listing && reader.silent => return Err(Refusal::Server(SILENT.to_owned()).into()),
                Err(_) if reader.listing => return Err(Refusal::Unreachable("the list stopped arriving".to_owned()).into()),
                Err(_) | Ok(None) if self.hinted => return Ok(Watched::Relist),
                Err(_) | Ok(None) if !reader.listing => return Ok(reader.version().map_or(Watched::Relist, Watched::Resume)),
                Err(_) | Ok(None) => return Err(Refusal::Unreachable("the list ended before it was complete".to_owned()).into()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    self.resume = if reader.listing || self.hinted { None } else { reader.version() };
                    return Err(Refusal::Unreachable(super::refusal::deepest(&error)).into());
                }
            };
            if let Ok(bytes) = frame.into_data() {
                let mut news = reader.take(&bytes);
                portion.gather(&mut news.listed);
                if portion.bytes >= PORTION || news.list_ended || news.error.is_some() || !news.changed.is_empty() {
                    portion.pass_on(context).await?;
                }
                self.pass_on(context, reader, news).await?;
            }
        }
    }

    async fn pass_on(&mut self, context: &StreamContext, reader: &mut Reader, news: News) -> Result<(), Trouble> {
        for _ in 0..news.skipped {
            context.tell(StreamEvent::Skipped).await?;
        }
        if news.list_ended {
            context.tell(StreamEvent::ListEnded).await?;
            (self.complete, self.failures) = (true, 0);
        }
        if !news.changed.is_empty() {
            context.tell(StreamEvent::Changed(news.changed)).await?;
        }
        match news.error {
            Some(refusal) => {
                if refusal != Refusal::Gone && !reader.listing {
                    self.resume = reader.version();
                }
                Err(refusal.into())
            }
            None => Ok(()),
        }
    }

    /// The list in pages, the first of `limit` objects; without a limit, in one.
    async fn pages(&mut self, context: &StreamContext, mut limit: Option<usize>) -> Result<(), Trouble> {
        context.tell(StreamEvent::ListStarted).await?;
        let mut token = String::new();
        loop {
            let page = limit.map(|limit| format!("limit={limit}&continue={token}")).unwrap_or_default();
            let path = format!("{}?{}{page}", context.path, context.selector());
            let body = context.requests.open(&path, context.accept(true), true).await?;
            let page = read_page(context, body).await?;
            if let Some(each) = page.bytes.checked_div(page.objects) {
                limit = limit.map(|_| (PAGE_BYTES / each.max(1)).clamp(20, 2000));
            }
            if page.metadata.next.is_empty() {
                context.tell(StreamEvent::ListEnded).await?;
                (self.complete, self.failures) = (true, 0);
                self.hinted = matches!(page.metadata.resource_version.as_str(), "" | "0" | "1");
                self.resume = Some(page.metadata.resource_version);
                return Ok(());
            }
            token = percent(&page.metadata.next);
        }
    }

    /// Says what went wrong and waits.
    async fn refused(&mut self, context: &StreamContext, refusal: Refusal) -> Result<(), Gone> {
        self.failures += 1;
        match &refusal {
            Refusal::Forbidden(words) => {
                context.state(Sync::Denied { why: denied(context, words) }).await?;
                sleep(DENIED_AGAIN + context.jitter(DENIED_AGAIN / 4)).await;
                return Ok(());
            }
            Refusal::Unreachable(_) | Refusal::Unauthorized(_) => {
                // Nobody listens only at shutdown, which the next send notices.
                let _ = context.trouble.try_send(refusal.clone());
            }
            _ => {}
        }
        let why = refusal.to_string();
        context.state(if self.complete { Sync::Stale { since: super::station::now() } } else { Sync::Retrying { why } }).await?;
        let asked = if let Refusal::TooMany(after) = refusal { after } else { None };
        self.pause(context, asked).await;
        Ok(())
    }

    /// Waits longer after each failure in a row.
    async fn pause(&self, context: &StreamContext, asked: Option<Duration>) {
        let pause = Duration::from_millis(250) * 2u32.saturating_pow(self.failures.saturating_sub(1).min(8));
        let pause = pause.min(LONGEST_PAUSE);
        sleep(asked.unwrap_or_default().max(pause + context.jitter(pause / 4))).await;
    }
}

const SILENT: &str = "no streaming list";

/// What happens next to a watch.
enum Next<T> {
    Frame(T),
    /// What has been gathered is passed on.
    Due,
    Lost,
}

/// Objects of a list that are passed on together.
struct Portion {
    objects: Vec<Bytes>,
    bytes: usize,
    /// When they are passed on, however few they are.
    due: Instant,
}

impl Default for Portion {
    fn default() -> Self {
        Self { objects: Vec::new(), bytes: 0, due: Instant::now() }
    }
}

impl Portion {
    fn gather(&mut self, objects: &mut Vec<Bytes>) {
        if self.objects.is_empty() && !objects.is_empty() {
            self.due = Instant::now() + GATHERED;
        }
        self.bytes += objects.iter().map(Bytes::len).sum::<usize>();
        self.objects.append(objects);
    }

    async fn pass_on(&mut self, context: &StreamContext) -> Result<(), Gone> {
        let objects = std::mem::take(&mut self.objects);
        self.bytes = 0;
        if objects.is_empty() { Ok(()) } else { context.tell(StreamEvent::Listed { objects, total: None }).await }
    }
}

impl StreamContext {
    async fn tell(&self, event: StreamEvent) -> Result<(), Gone> {
        self.deltas.send(Delta::Stream(self.id.clone(), event)).await.map_err(|_| Gone)
    }

    async fn state(&self, sync: Sync) -> Result<(), Gone> {
        self.tell(StreamEvent::State(sync)).await
    }

    /// Reports are the bulk; everything else is small and better off with one request for list and watch.
    fn lists_whole(&self) -> bool {
        self.whole && self.id.kind.kind().family == Family::Report
    }

    /// Of events only Kyverno's admission controller's are asked for: they tell refused admissions.
    fn selector(&self) -> &'static str {
        if self.id.kind.kind().family == Family::Event { "fieldSelector=reportingComponent%3Dkyverno-admission&" } else { "" }
    }

    fn accept(&self, list: bool) -> &'static str {
        match (self.id.kind.kind().family, list) {
            (Family::Owner | Family::Namespace, true) => METADATA_LIST,
            (Family::Owner | Family::Namespace, false) => METADATA,
            _ => JSON,
        }
    }

    /// Watches of one environment should not all end in the same second.
    fn watch_seconds(&self) -> u64 {
        WATCH_SECONDS - self.jitter(Duration::from_secs(60)).as_secs()
    }

    /// Something between nothing and `most`, different for each stream and moment.
    fn jitter(&self, most: Duration) -> Duration {
        use std::hash::BuildHasher;
        let random = std::hash::RandomState::new().hash_one(&self.id);
        most.mul_f64((random % 1000) as f64 / 1000.0)
    }
}

/// The server's words for a denial, in ours: what may not be read, by whom, and what to ask for.
fn denied(context: &StreamContext, words: &str) -> String {
    let user = words.split("User \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let kind = context.id.kind.kind();
    let place = if context.id.namespace.is_empty() { String::new() } else { format!(" in namespace {}", context.id.namespace) };
    let who = if user.is_empty() { String::new() } else { format!("user {}, ", crate::domain::clean(user)) };
    format!("you may not list {}{place} ({who}verb list). Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml", kind.plural)
}

/// One page of a list.
struct Page {
    objects: usize,
    bytes: usize,
    metadata: PageMetadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: PageMetadata,
}

async fn read_page(context: &StreamContext, mut body: Arriving) -> Result<Page, Trouble> {
    let mut items = Items::default();
    let mut portion = Portion::default();
    let (mut objects, mut bytes) = (0, 0);
    loop {
        let frame = tokio::select! {
            frame = timeout(SILENCE, body.frame()) => frame,
            () = sleep_until(portion.due), if !portion.objects.is_empty() => {
                portion.pass_on(context).await?;
                continue;
            }
        };
        let frame = match frame {
            Err(_) => return Err(Refusal::Unreachable("the list stopped arriving".to_owned()).into()),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(Refusal::Unreachable(super::refusal::deepest(&error)).into()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        let (mut whole, mut too_big) = (Vec::new(), 0);
        items.feed(&data, |piece| match piece {
            Piece::Whole(item) => whole.push(item),
            Piece::TooBig => too_big += 1,
        });
        objects += whole.len() + too_big;
        for _ in 0..too_big {
            context.tell(StreamEvent::Skipped).await?;
        }
        portion.gather(&mut whole);
        if portion.bytes >= PORTION {
            portion.pass_on(context).await?;
        }
    }
    portion.pass_on(context).await?;
    let envelope: Envelope = serde_json::from_slice(&items.envelope())
        .map_err(|error| Refusal::Unreachable(format!("the list ended before it was complete: {error}")))?;
    Ok(Page { objects, bytes, metadata: envelope.metadata })
}

/// A value as part of a query string.
pub(super) fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(percent("a/b=c+d~"), "a%2Fb%3Dc%2Bd~");
    }
}
