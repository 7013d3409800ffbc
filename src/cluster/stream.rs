//! One list-and-watch: a kind, in all namespaces or in one, kept up to date through everything a server does to it.
//!
//! ```text
//!            ┌────────────── 410, or a watch that cannot be resumed ─────────────┐
//!            ▼                                                                   │
//! wait ─▶ streaming list ──(initial-events-end)──▶ watch ──(ended)──▶ watch again ┘
//!   │        │ 422, or silence: this server has none
//!   │        └▶ list in pages ──────────────────▶ watch
//!   └(reports, where lists are sent while they are made)▶ list in one answer ─▶ watch
//! ```
//! A first list is what the API server has in its cache, as for every controller: what it may lack comes with the watch, a moment later. Asked for
//! the very newest (a list that is made again is), an idle server takes up to a tenth of a second to be sure of it (kubernetes/apiserver
//! pkg/storage/cacher, `progressRequestPeriod`).
//!
//! A new list never blanks what is held: `ListStarted` and `ListEnded` bracket it, and the state sweeps at the end.

use super::pages::read_page;
use super::portion::Portion;
use super::reader::{News, Reader};
use super::refusal::Refusal;
use super::subject::{Gone, StreamContext, Trouble, denied};
use super::table;
use crate::domain::Sync;
use crate::fleet::delta::StreamEvent;
use crate::kinds::Family;
use http_body_util::BodyExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// A streaming list answers at once, if only with the bookmark of an empty list. One that does not is no streaming list: the
/// reports-server ignores the parameter (kyverno/reports-server pkg/api/polr.go).
const FIRST_SIGN: Duration = Duration::from_secs(10);
/// A watch that lived for less is a failure, or a server that closes at once would be asked in a hot loop.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// A watch that lived for longer forgives the failures before it.
const HEALTHY: Duration = Duration::from_secs(2);
/// How soon something that is denied is asked for again.
const DENIED_AGAIN: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Objects on the first page, whose size is not known yet.
const FIRST_PAGE: usize = 100;
/// Pages are kept near this size, whatever the size of an object.
const PAGE_BYTES: usize = 4 << 20;
/// A server that always says version "1" keeps no history (the reports-server): its watch is only a hint, and lists are repeated.
const RELIST_HINTED: Duration = Duration::from_secs(60);

/// How long the small kinds wait for the Tables. Of a server that is slow with them, it is better to know something else soon.
const TABLES_FIRST: Duration = Duration::from_millis(500);

/// A stream's place at the start. The API server shares its cores among all that is asked: what the totals need comes first.
pub(super) enum Place {
    /// Lets the others wait until this is dropped.
    Ahead(watch::Sender<()>),
    /// Waits until all that are ahead have dropped theirs.
    Behind(watch::Receiver<()>),
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

/// What happens next to a watch.
enum Next<T> {
    Frame(T),
    /// What has been gathered is passed on.
    Due,
    Lost,
}

/// What a turn did.
enum Turned {
    /// A list in pages.
    Listed,
    /// A watch, to its end.
    Watched,
    /// The version was too old: there will be a new list.
    Outdated,
}

/// Runs a stream until its kind is not served any more or nobody listens.
pub(super) async fn run(mut context: StreamContext, place: Place) -> Ended {
    let ahead = match place {
        Place::Ahead(ahead) => Some(ahead),
        Place::Behind(mut tables) => {
            // Whether they came, or took too long.
            let _ = timeout(TABLES_FIRST, async { while tables.changed().await.is_ok() {} }).await;
            None
        }
    };
    let mut machine = Machine::new(ahead);
    loop {
        if context.up.wait_for(|up| *up).await.is_err() {
            return Ended::Unwanted;
        }
        (machine.opened, machine.watching) = (Instant::now(), None);
        let turned = machine.turn(&context).await;
        let watched = machine.watching.map(|since| since.elapsed());
        if watched.is_some_and(|lived| lived >= HEALTHY) {
            machine.failures = 0;
        }
        match turned {
            Ok(Turned::Listed) => {}
            Ok(Turned::Watched) if watched.is_none_or(|lived| lived >= SHORT_LIFE) => machine.outdated = 0,
            Ok(Turned::Watched) => {
                machine.failures += 1;
                machine.wait_for_turn(&context, machine.failures).await;
            }
            // A new list is all it takes, and what is held is old until then: only one that is of no use is asked for later and later.
            Ok(Turned::Outdated) => {
                machine.outdated += 1;
                machine.wait_for_turn(&context, machine.outdated - 1).await;
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
    /// The small kinds wait while this is held.
    ahead: Option<watch::Sender<()>>,
    /// The version to watch from; `None` asks for a list.
    resume: Option<String>,
    /// A list was complete once.
    complete: bool,
    failures: u32,
    /// Versions in a row that were too old, without a watch that lived.
    outdated: u32,
    /// This stream must list in pages, whatever others do.
    paged: bool,
    /// The server keeps no history.
    hinted: bool,
    opened: Instant,
    /// Since when changes are followed; `None` while listing.
    watching: Option<Instant>,
    /// A line of the watch was garbled: list again at this time.
    doubtful: Option<Instant>,
    /// When the last list because of that began.
    cleared: Option<Instant>,
}

impl Machine {
    fn new(ahead: Option<watch::Sender<()>>) -> Self {
        Self {
            ahead,
            resume: None,
            complete: false,
            failures: 0,
            outdated: 0,
            paged: false,
            hinted: false,
            opened: Instant::now(),
            watching: None,
            doubtful: None,
            cleared: None,
        }
    }

    /// One list or one watch.
    async fn turn(&mut self, context: &StreamContext) -> Result<Turned, Trouble> {
        if self.doubtful.is_some_and(|at| at <= Instant::now()) {
            self.resume = None;
        }
        let Some(version) = self.resume.take() else {
            return match self.list(context).await {
                // A streaming list goes on as a watch, and may end as one.
                Err(Trouble::Refused(Refusal::Gone)) => Ok(Turned::Outdated),
                listed => listed,
            };
        };
        match self.watch(context, &version).await {
            Ok(Watched::Resume(version)) => self.resume = Some(version),
            Ok(Watched::Relist) => {}
            Err(Trouble::Refused(Refusal::Gone)) => return Ok(Turned::Outdated),
            Err(trouble) => {
                // A fault on the way says nothing about the version: go on from there. A version that is not understood is of no use.
                if !matches!(trouble, Trouble::Refused(Refusal::Invalid(_))) {
                    self.resume.get_or_insert(version);
                }
                return Err(trouble);
            }
        }
        Ok(Turned::Watched)
    }

    async fn list(&mut self, context: &StreamContext) -> Result<Turned, Trouble> {
        if self.doubtful.take().is_some() {
            self.cleared = Some(Instant::now());
        }
        if !self.complete {
            context.state(Sync::Listing { seen: 0, total: None }).await?;
            if context.summaries
                && context.id.kind.kind().family == Family::Report
                && let Ok(Some(tally)) = table::summaries(&context.requests, &context.path).await
            {
                context.tell(StreamEvent::Summaries(tally)).await?;
            }
        }
        self.ahead = None;
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
    async fn streaming_list(&mut self, context: &StreamContext) -> Result<Turned, Trouble> {
        let path = context.wanted().with("watch", "true").with("sendInitialEvents", "true").with("resourceVersionMatch", "NotOlderThan");
        let path = path.with("resourceVersion", if self.complete { "" } else { "0" }).with("allowWatchBookmarks", "true");
        let path = path.with("timeoutSeconds", &context.watch_seconds().to_string());
        let body = context.requests.open(&path, context.accept(false), false).await?;
        context.tell(StreamEvent::ListStarted).await?;
        let mut reader = Reader::new(body, true, context.limit);
        match self.follow(context, &mut reader).await? {
            Watched::Resume(version) => self.resume = Some(version),
            Watched::Relist => {}
        }
        Ok(Turned::Watched)
    }

    async fn watch(&mut self, context: &StreamContext, version: &str) -> Result<Watched, Trouble> {
        let path = context.wanted().with("watch", "true").with("resourceVersion", version).with("allowWatchBookmarks", "true");
        let path = path.with("timeoutSeconds", &context.watch_seconds().to_string());
        let body = context.requests.open(&path, context.accept(false), false).await?;
        context.state(Sync::Live).await?;
        self.watching = Some(Instant::now());
        let mut reader = Reader::new(body, false, context.limit);
        reader.version = Some(version.to_owned());
        self.follow(context, &mut reader).await
    }

    /// Reads a watch to its end.
    async fn follow(&mut self, context: &StreamContext, reader: &mut Reader) -> Result<Watched, Trouble> {
        let mut up = context.up.clone();
        let mut portion = Portion::new();
        loop {
            let patience = match (reader.listing, reader.silent, self.hinted) {
                (true, true, _) => FIRST_SIGN,
                (true, false, _) => context.timing.list_silence,
                (false, _, true) => RELIST_HINTED.saturating_sub(self.opened.elapsed()),
                (false, _, false) => context.timing.silence,
            };
            let left = self.doubtful.filter(|_| !reader.listing).map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Watched::Relist);
            }
            let patience = left.map_or(patience, |left| patience.min(left));
            let next = tokio::select! {
                frame = timeout(patience, reader.body.frame()) => Next::Frame(frame),
                () = portion.due() => Next::Due,
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
                if portion.is_enough() || news.list_ended || news.error.is_some() || !news.changed.is_empty() {
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
        if news.garbled {
            // What it would have said is in a list, which is not asked for over and over.
            let now = Instant::now();
            self.doubtful.get_or_insert(self.cleared.map_or(now, |at| now.max(at + context.timing.garbled_again)));
        }
        if news.list_ended {
            context.tell(StreamEvent::ListEnded).await?;
            (self.complete, self.watching) = (true, Some(Instant::now()));
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
    async fn pages(&mut self, context: &StreamContext, mut limit: Option<usize>) -> Result<Turned, Trouble> {
        context.tell(StreamEvent::ListStarted).await?;
        let mut token = String::new();
        loop {
            let path = match limit {
                Some(limit) => context.wanted().with("limit", &limit.to_string()).with("continue", &token),
                None if self.complete => context.wanted(),
                None => context.wanted().with("resourceVersion", "0"),
            };
            let body = context.requests.open(&path, context.accept(true), true).await?;
            let page = read_page(context, body).await?;
            if let Some(each) = page.bytes.checked_div(page.objects) {
                limit = limit.map(|_| (PAGE_BYTES / each.max(1)).clamp(20, 2000));
            }
            if page.metadata.next.is_empty() {
                context.tell(StreamEvent::ListEnded).await?;
                self.complete = true;
                self.hinted = matches!(page.metadata.resource_version.as_str(), "" | "0" | "1");
                self.resume = Some(page.metadata.resource_version);
                return Ok(Turned::Listed);
            }
            token = page.metadata.next;
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

    /// Waits before a watch or list that is not asked for because of a refusal. What is held grows old meanwhile, which is said if it takes long.
    async fn wait_for_turn(&self, context: &StreamContext, failures: u32) {
        let pause = pause_after(failures);
        if pause > SHORT_LIFE && self.complete {
            // If nobody listens, the next turn notices.
            let _ = context.state(Sync::Stale { since: super::station::now() }).await;
        }
        sleep(pause + context.jitter(pause / 4)).await;
    }

    /// Waits longer after each failure in a row.
    async fn pause(&self, context: &StreamContext, asked: Option<Duration>) {
        let pause = pause_after(self.failures);
        // Streams that were throttled together must not come back together.
        let asked = asked.map_or(Duration::ZERO, |asked| asked + context.jitter((asked / 4).min(LONGEST_PAUSE)));
        sleep(asked.max(pause + context.jitter(pause / 4))).await;
    }
}

/// Longer after each failure in a row; nothing where there was none.
fn pause_after(failures: u32) -> Duration {
    let pause = Duration::from_millis(250) * 2u32.saturating_pow(failures.saturating_sub(1).min(8));
    if failures == 0 { Duration::ZERO } else { pause.min(LONGEST_PAUSE) }
}

const SILENT: &str = "no streaming list";
