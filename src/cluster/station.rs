//! One environment's connection and everything that runs over it: connect, look around, keep every stream running, notice when the
//! server is gone, and come back.
//!
//! ```text
//! connecting ─▶ up ──(a stream or the heartbeat fails, and the server does not answer)──▶ down ─┐
//!     ▲          ▲                                                                              │
//!     │          └─────────────(it answers again, perhaps to new credentials)───────────────────┤
//!     └───────────────────────────(ctrl-r, or another server: new client)───────────────────────┘
//! ```
//! While the link is down, streams wait and keep the version they stopped at; nothing that is held is forgotten. What is done while it is
//! down is in [`super::recovery`].

use super::ClusterSpec;
use super::address::Path;
use super::answers::{self, Location};
use super::clock::ServerClock;
use super::connect::{Connection, connect};
use super::contained::contained;
use super::discover::{Discovery, Served};
use super::event_ttl;
use super::kubeconfig::{Concern, follow, is_in_cluster};
use super::kyverno;
use super::object;
use super::recovery::{News, jitter};
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use super::roster::Running;
use crate::domain::{Link, ResourceRef, Sync};
use crate::fleet::delta::{Delta, ServerFacts, StreamEvent, StreamId};
use crate::kinds::KindId;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// The namespace whose uid tells one cluster from another.
pub(super) const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
/// How often a quiet server is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a sign of life may take.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// How long the other small questions of a station may take together, on a server that is busy but alive.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// How much a clock has to be set to be news: dates have whole seconds.
const CLOCK_NEWS: SignedDuration = SignedDuration::from_secs(3);
/// How often discovery is asked (mostly answered with "unchanged").
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How often Kyverno's installation is looked at.
const LOOK_AT_KYVERNO: Duration = Duration::from_secs(30);
/// How often Kyverno's lease and endpoints are asked for.
const ASK_WHETHER_KYVERNO_ANSWERS: Duration = Duration::from_secs(5);
/// How long a throttled station is quiet where the server does not say.
const QUIET: Duration = Duration::from_secs(5);

/// Attempts, a second apart, after which a server that starts has read the roles, and a refusal is meant.
const ROLES_READ: u32 = 15;

/// What the outside may ask of a station.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Connect anew at once.
    pub reconnect: Arc<Notify>,
    /// Owner kinds that findings need.
    pub needed_owners: watch::Sender<BTreeSet<KindId>>,
    /// The version that each kind is served in, as of the last look around.
    pub served: watch::Sender<BTreeMap<KindId, &'static str>>,
    /// Resources of which it should be found out whether they exist.
    pub to_ask: watch::Sender<BTreeSet<Arc<ResourceRef>>>,
    /// The server's time.
    pub clock: ServerClock,
    pub(super) current: watch::Sender<Option<Requests>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            reconnect: Arc::new(Notify::new()),
            needed_owners: watch::Sender::new(BTreeSet::new()),
            served: watch::Sender::new(BTreeMap::new()),
            to_ask: watch::Sender::new(BTreeSet::new()),
            clock: ServerClock::default(),
            current: watch::Sender::new(None),
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requests")
    }
}

/// See the module.
pub(super) struct Station {
    pub(super) spec: ClusterSpec,
    pub(super) deltas: mpsc::Sender<Delta>,
    pub(super) signals: Signals,
    /// Streams that the state has been told of, by this client or an earlier one.
    pub(super) known: BTreeSet<StreamId>,
    /// What of the kubeconfig concerns this environment now; `None` until it was looked at.
    pub(super) kubeconfig: watch::Receiver<Option<Concern>>,
    /// The last sign of life.
    pub(super) seen: Option<Timestamp>,
    pub(super) failures: u32,
    /// When credentials were last got. A 401 soon after means that a person has to log in.
    pub(super) renewed: Option<Instant>,
    /// How many refusals of `/readyz` in a row are still those of a server that starts.
    roles_unread: u32,
    /// Who the server is.
    facts: ServerFacts,
    /// Kyverno's installation was read whole once.
    knows_kyverno: bool,
    /// How far the server's clock is ahead of the one here, as it was told last.
    skew: Option<SignedDuration>,
    /// Where Kyverno was found last.
    kyverno_at: Option<Location>,
}

/// What failed while the link was up.
pub(super) enum Doubt {
    /// A stream's request; the server may be well.
    OfAStream(Refusal),
    /// One of the station's own small questions.
    OfOurOwn(Refusal),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Build a new client.
    Rebuild,
    /// The environment is another cluster now: build a new client, and believe nothing that is held until it was listed.
    Moved,
    /// Nobody listens any more.
    Closed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    #[serde(default)]
    git_version: String,
    #[serde(default)]
    minor: String,
}

impl Station {
    /// A station that will tell `deltas`.
    pub(super) fn new(spec: ClusterSpec, deltas: mpsc::Sender<Delta>, signals: Signals) -> Self {
        Self {
            spec,
            deltas,
            signals,
            known: BTreeSet::new(),
            kubeconfig: watch::Sender::new(None).subscribe(),
            seen: None,
            failures: 0,
            renewed: None,
            roles_unread: 0,
            facts: ServerFacts::default(),
            knows_kyverno: false,
            skew: None,
            kyverno_at: None,
        }
    }

    /// Runs until nobody listens any more.
    ///
    /// # Panics
    /// A panic in a stream is passed on: it must end the environment, not leave one kind silently dead.
    pub(super) async fn run(mut self) {
        let mut looking = JoinSet::new();
        if !is_in_cluster(&self.spec) {
            let concern = watch::Sender::new(None);
            self.kubeconfig = concern.subscribe();
            let (spec, name) = (self.spec.clone(), Arc::clone(&self.spec.name));
            looking.spawn(async move {
                if let Err(error) = contained("kubeconfig", &name, follow(spec, concern)).await {
                    tracing::error!(environment = %name, %error, "the kubeconfig is not followed any more");
                }
            });
            // The first look is no news. Where it hangs, so does what comes next, which says so.
            let _ = timeout(Duration::from_secs(1), self.kubeconfig.changed()).await;
        }
        loop {
            self.renewed = Some(Instant::now());
            let end = match connect(&self.spec).await {
                Ok(mut connection) => {
                    connection.requests.keep_time(self.signals.clock.clone());
                    // From now on the context is pinned, whatever becomes the current one.
                    self.spec.context = self.spec.context.take().or_else(|| connection.context.clone());
                    self.signals.current.send_replace(Some(connection.requests.clone()));
                    let end = self.session(&mut connection).await;
                    self.signals.current.send_replace(None);
                    end
                }
                Err(refusal) => self.not_connected(refusal).await,
            };
            match end {
                End::Closed => return,
                End::Moved => self.believe_nothing().await,
                End::Rebuild => {}
            }
        }
    }

    /// No client could be built.
    async fn not_connected(&mut self, refusal: Refusal) -> End {
        self.failures += 1;
        let (link, pause) = match refusal {
            Refusal::Unauthorized(why) => (Link::LoginNeeded { why: format!("{why}; log in") }, self.spec.timing.login_again),
            other => (Link::Unreachable { why: other.to_string() }, self.next_pause(&other)),
        };
        if self.tell(Delta::Link(link)).await.is_err() {
            return End::Closed;
        }
        match self.pause(pause).await {
            Ok(_) => End::Rebuild,
            Err(end) => end,
        }
    }

    /// The environment is another cluster now: what is held stays on the screen, as something old.
    async fn believe_nothing(&mut self) {
        (self.seen, self.facts, self.knows_kyverno, self.skew) = (None, ServerFacts::default(), false, None);
        self.kyverno_at = None;
        self.signals.clock.forget();
        for stream in &self.known {
            // If nobody listens, the next session notices.
            let _ = self.tell(Delta::Stream(stream.clone(), StreamEvent::State(Sync::Stale { since: now() }))).await;
        }
    }

    /// Everything that happens with one client.
    async fn session(&mut self, connection: &mut Connection) -> End {
        // All that has to be known before anything is listed is asked at once.
        let mut discovery = Discovery::default();
        let limited = connection.requests.within(LOOK_LIMIT);
        let ahead = async { tokio::join!(ask_uid(&limited), discovery.ask_ahead(&limited)).0 };
        let (asked, uid) = tokio::join!(self.ask_version(connection), ahead);
        let version = match asked {
            Ok(version) => version,
            Err(refusal) => match self.until_alive(connection, refusal).await {
                Ok(version) => version,
                Err(end) => return end,
            },
        };
        let (trouble, mut troubled) = mpsc::channel(16);
        let mut running = Running::new(trouble, serves_streaming_lists(&version.minor), streams_lists(&version.minor));
        let mut needed = self.signals.needed_owners.subscribe();
        if self.introduce(connection, &version, uid).await.is_err() {
            return End::Closed;
        }
        let mut served = None;
        let mut beat = ticks(HEARTBEAT);
        let mut around = ticks(LOOK_AROUND);
        // The first look comes with the first look around.
        let mut at_kyverno = ticks(LOOK_AT_KYVERNO);
        at_kyverno.reset();
        let mut at_webhooks = ticks(ASK_WHETHER_KYVERNO_ANSWERS);
        at_webhooks.reset();
        let mut to_ask = self.signals.to_ask.subscribe();
        to_ask.mark_changed();
        let mut asking: JoinSet<()> = JoinSet::new();
        let mut renewals: JoinSet<Result<Connection, Refusal>> = JoinSet::new();
        loop {
            let doubt = tokio::select! {
                () = self.deltas.closed() => return End::Closed,
                () = self.signals.reconnect.notified() => return End::Rebuild,
                Ok(()) = self.kubeconfig.changed() => match self.news_of_kubeconfig(connection) {
                    News::None => None,
                    News::Credentials => {
                        self.renew_behind(&mut renewals);
                        None
                    }
                    News::Cluster => return End::Moved,
                },
                () = due(connection.renew_at), if renewals.is_empty() => {
                    self.renew_behind(&mut renewals);
                    None
                }
                Some(Ok(renewal)) = renewals.join_next() => match self.take_over(connection, renewal) {
                    Ok(_) => None,
                    Err(end) => return end,
                },
                Some(refusal) = troubled.recv() => Some(Doubt::OfAStream(refusal)),
                Some(ended) = running.tasks.join_next() => {
                    self.stream_ended(&mut running, ended).await;
                    None
                }
                Ok(()) = to_ask.changed(), if asking.is_empty() => {
                    self.ask_for(connection, to_ask.borrow_and_update().clone(), &mut asking);
                    None
                }
                Some(_) = asking.join_next() => None,
                _ = around.tick() => self.look_around(connection, &mut discovery, &mut served, &mut running).await.err().map(Doubt::OfOurOwn),
                Ok(()) = needed.changed() => {
                    self.look_around(connection, &mut discovery, &mut served, &mut running).await.err().map(Doubt::OfOurOwn)
                }
                _ = at_kyverno.tick(), if served.is_some() => match &served {
                    Some(served) => self.look_at_kyverno(connection, served).await.err().map(Doubt::OfOurOwn),
                    None => None,
                },
                _ = at_webhooks.tick(), if served.is_some() => self.ask_whether_kyverno_answers(connection).await.err().map(Doubt::OfOurOwn),
                _ = beat.tick() => self.heartbeat(connection).await.err().map(Doubt::OfOurOwn),
            };
            match doubt {
                None => {}
                // A server that asks for fewer questions is alive, and gets fewer.
                Some(Doubt::OfOurOwn(Refusal::TooMany(asked))) => {
                    let quiet = asked.unwrap_or(QUIET).max(Duration::from_secs(1));
                    let quiet = quiet + jitter(quiet / 4);
                    for ticks in [&mut beat, &mut around, &mut at_kyverno, &mut at_webhooks] {
                        ticks.reset_after(quiet);
                    }
                }
                Some(doubt) => {
                    if let Some(end) = self.doubt(connection, doubt, &running).await {
                        return end;
                    }
                    // What streams complained of until now is over.
                    while troubled.try_recv().is_ok() {}
                }
            }
        }
    }

    /// Asks for a sign of life.
    pub(super) async fn ask_version(&mut self, connection: &Connection) -> Result<Version, Refusal> {
        let is_new = self.seen.is_none() || self.failures > 0;
        let version = Path::fixed("/version");
        let version = timeout(HEARTBEAT_LIMIT, connection.requests.json::<Version>(&version, JSON));
        let ready = async { if is_new { self.ask_ready(connection).await } else { Ok(()) } };
        let (asked, ready) = tokio::join!(version, ready);
        let answer = asked.unwrap_or_else(|_| Err(Refusal::Unreachable(format!("no answer within {} s", HEARTBEAT_LIMIT.as_secs()))));
        let refused = matches!(answer, Err(Refusal::Forbidden(_)));
        let version = match answer {
            // A server that answers is alive, even if it does not tell its version.
            Err(Refusal::Forbidden(_) | Refusal::NotFound(_)) => Version { git_version: String::new(), minor: String::new() },
            other => other?,
        };
        ready?;
        if refused && !is_new {
            self.ask_ready(connection).await?;
        }
        (self.failures, self.seen) = (0, Some(now()));
        Ok(version)
    }

    /// After a start, a server answers before it serves everything; `/readyz` says when it does. Whoever may not ask takes it as ready. But to
    /// whoever could ask before it is refused, as all else is, until the server has read the roles.
    async fn ask_ready(&mut self, connection: &Connection) -> Result<(), Refusal> {
        let starting = || Refusal::Server("the API server is starting (not ready)".to_owned());
        match timeout(HEARTBEAT_LIMIT, connection.requests.get(&Path::fixed("/readyz"), "*/*")).await {
            Ok(Err(Refusal::Server(_))) => Err(starting()),
            Ok(Err(Refusal::Unreachable(why))) => Err(Refusal::Unreachable(why)),
            Ok(Err(Refusal::Forbidden(_))) if self.roles_unread > 0 => {
                self.roles_unread -= 1;
                Err(starting())
            }
            Ok(Ok(_)) => {
                self.roles_unread = ROLES_READ;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells who the server is, and starts.
    async fn introduce(&mut self, connection: &Connection, version: &Version, uid: Option<Arc<str>>) -> Result<(), ()> {
        let requests = connection.requests.within(LOOK_LIMIT);
        let ask_uid = async {
            match uid {
                Some(uid) => Some(uid),
                None => ask_uid(&requests).await,
            }
        };
        let (uid, events_kept) = tokio::join!(ask_uid, event_ttl::ask(&requests));
        self.facts = ServerFacts {
            server: Some(Arc::from(connection.server.as_str())),
            cluster_uid: uid.or(self.facts.cluster_uid.take()),
            kubernetes: (!version.git_version.is_empty()).then(|| Arc::from(version.git_version.as_str())),
            events_kept: events_kept.or(self.facts.events_kept),
            insecure: connection.insecure.clone(),
        };
        self.tell(Delta::Server(self.facts.clone())).await?;
        self.tell_clock().await?;
        self.tell(Delta::Link(Link::Live)).await
    }

    /// Whether the server that answers again is another cluster than before, at the same address.
    pub(super) async fn is_another(&self, connection: &Connection) -> bool {
        let Some(before) = &self.facts.cluster_uid else { return false };
        ask_uid(&connection.requests.within(LOOK_LIMIT)).await.is_some_and(|uid| uid != *before)
    }

    /// Looks at Kyverno's installation and tells. A fault in passing does not replace what is known.
    pub(super) async fn look_at_kyverno(&mut self, connection: &Connection, served: &Served) -> Result<(), Refusal> {
        let looked = timeout(LOOK_LIMIT, kyverno::look(&connection.requests, served)).await;
        let looked = looked.map_err(|_| Refusal::Unreachable(format!("no answer within {} s", LOOK_LIMIT.as_secs())))?;
        // A look that met a fault may have guessed where the last one saw.
        if looked.fault.is_none() || !self.knows_kyverno {
            self.kyverno_at = looked.location;
        }
        // Before modes are shown it is known whether they count.
        let answers = self.ask_whether_kyverno_answers(connection).await;
        match looked.fault {
            Some(fault) if self.knows_kyverno => return Err(fault),
            fault => self.knows_kyverno = fault.is_none(),
        }
        // If nobody listens, the session's next turn notices.
        let _ = self.tell(Delta::Kyverno(looked.facts)).await;
        answers
    }

    /// Asks whether Kyverno answers its webhooks, and tells. A fault in passing does not replace what is known.
    async fn ask_whether_kyverno_answers(&self, connection: &Connection) -> Result<(), Refusal> {
        let Some(location) = &self.kyverno_at else { return Ok(()) };
        let asked = answers::ask(&connection.requests.within(LOOK_LIMIT), location, &connection.server).await?;
        // If nobody listens, the session's next turn notices.
        let _ = self.tell(Delta::Answers(asked)).await;
        Ok(())
    }

    /// Requests in the background whether resources exist, and reports it.
    fn ask_for(&self, connection: &Connection, resources: BTreeSet<Arc<ResourceRef>>, asking: &mut JoinSet<()>) {
        if resources.is_empty() {
            return;
        }
        let (requests, deltas, name) = (connection.requests.within(LOOK_LIMIT), self.deltas.clone(), Arc::clone(&self.spec.name));
        asking.spawn(async move {
            let asked = async {
                let answers = object::existence(&requests, resources).await;
                // A closed channel ends the session at its next turn.
                let _ = deltas.send(Delta::Existence(answers)).await;
            };
            if let Err(error) = contained("existence", &name, asked).await {
                tracing::error!(environment = %name, %error, "whether resources exist is not known");
            }
        });
    }

    /// Tells how far the server's clock is from the one here, where that is news.
    async fn tell_clock(&mut self) -> Result<(), ()> {
        let skew = self.signals.clock.now().map(|server| server.duration_since(Timestamp::now()));
        let is_news = match (self.skew, skew) {
            (Some(before), Some(now)) => before.saturating_sub(now).abs() >= CLOCK_NEWS,
            (None, None) => false,
            _ => true,
        };
        if is_news {
            self.skew = skew;
            self.tell(Delta::Clock(skew)).await?;
        }
        Ok(())
    }

    async fn heartbeat(&mut self, connection: &Connection) -> Result<(), Refusal> {
        let asked = self.ask_version(connection).await;
        if matches!(asked, Ok(_) | Err(Refusal::TooMany(_))) {
            // If nobody listens, the session's next turn notices.
            let _ = self.tell(Delta::Alive).await;
            let _ = self.tell_clock().await;
        }
        asked.map(|_| ())
    }

    pub(super) async fn tell(&self, delta: Delta) -> Result<(), ()> {
        self.deltas.send(delta).await.map_err(|_| ())
    }
}

/// Returns at a time; never, if there is none.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) metadata: NamedMetadata,
}

#[derive(Deserialize)]
pub(super) struct NamedMetadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) uid: String,
}

/// What tells one cluster from another: the uid of its namespace kube-system; `None` where it is not told.
async fn ask_uid(requests: &Requests) -> Option<Arc<str>> {
    let kube_system = requests.json::<Named>(&Path::fixed(KUBE_SYSTEM), JSON).await;
    kube_system.ok().map(|named| Arc::from(named.metadata.uid.as_str()))
}

/// Now, in whole seconds: nobody wants to read more of a link's age.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A clock that does not catch up after a laptop's sleep.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Lists that are sent while they are made (StreamingCollectionEncodingToJSON) are on from 1.33 as beta and from 1.34 for good (KEP-5116).
fn streams_lists(minor: &str) -> bool {
    minor_of(minor).is_some_and(|minor| minor >= 34)
}

fn minor_of(minor: &str) -> Option<u32> {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Streaming lists (feature gate WatchList) are on in 1.32 and from 1.34, off in 1.33 (kubernetes pkg/features); a server that has them
/// switched off answers 422, and is then asked for pages.
fn serves_streaming_lists(minor: &str) -> bool {
    minor_of(minor).is_some_and(|minor| minor == 32 || minor >= 34)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_lists_are_known_by_release() {
        let table = [("31", false), ("32", true), ("33", false), ("34+", true), ("36", true), ("", false)];
        for (minor, expected) in table {
            assert_eq!(serves_streaming_lists(minor), expected, "{minor}");
        }
    }
}
