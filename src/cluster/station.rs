//! One environment's connection and everything that runs over it: connect, look around, keep every stream running, notice when the
//! server is gone, and come back.
//!
//! ```text
//! connecting ─▶ up ──(a stream or the heartbeat fails, and the server does not answer)──▶ down ─┐
//!     ▲          ▲                                                                              │
//!     │          └──────────────────────────(it answers again)──────────────────────────────────┤
//!     └────────────────────────────────(401, or ctrl-r: new client)─────────────────────────────┘
//! ```
//! While the link is down, streams wait and keep the version they stopped at; nothing that is held is forgotten.

use super::ClusterSpec;
use super::connect::{Connection, connect};
use super::discover::{Discovery, Served};
use super::kyverno;
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use super::roster::Running;
use crate::domain::Link;
use crate::fleet::delta::{Delta, ServerFacts, StreamId};
use crate::kinds::KindId;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How often a quiet server is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a sign of life may take.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// How long the other small questions of a station may take together, on a server that is busy but alive.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// How often discovery is asked (mostly answered with "unchanged").
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How often Kyverno's installation is looked at.
const LOOK_AT_KYVERNO: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that answers, if only to say that it is starting, will be there soon.
const STARTING_PAUSE: Duration = Duration::from_secs(1);
/// Attempts after which a server that never answered is called unreachable.
const PATIENCE: u32 = 3;

/// What the outside may ask of a station.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Connect anew at once.
    pub reconnect: Arc<Notify>,
    /// Owner kinds that findings need.
    pub needed_owners: watch::Sender<BTreeSet<KindId>>,
    pub(super) current: watch::Sender<Option<Requests>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self { reconnect: Arc::new(Notify::new()), needed_owners: watch::Sender::new(BTreeSet::new()), current: watch::Sender::new(None) }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requests")
    }
}

/// See the module.
pub struct Station {
    pub(super) spec: ClusterSpec,
    pub(super) deltas: mpsc::Sender<Delta>,
    pub(super) signals: Signals,
    /// Streams that the state has been told of, by this client or an earlier one.
    pub(super) known: BTreeSet<StreamId>,
    /// The last sign of life.
    seen: Option<Timestamp>,
    failures: u32,
    /// A client was rebuilt after a 401, and the next one means that a person has to log in.
    rebuilt: bool,
}

/// What failed while the link was up.
enum Doubt {
    /// A stream's request; the server may be well.
    OfAStream(Refusal),
    /// One of the station's own small questions.
    OfOurOwn(Refusal),
}

/// Why a session ended.
enum End {
    /// Build a new client.
    Rebuild,
    /// Nobody listens any more.
    Closed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    #[serde(default)]
    git_version: String,
    #[serde(default)]
    minor: String,
}

impl Station {
    /// A station that will tell `deltas`.
    pub fn new(spec: ClusterSpec, deltas: mpsc::Sender<Delta>, signals: Signals) -> Self {
        Self { spec, deltas, signals, known: BTreeSet::new(), seen: None, failures: 0, rebuilt: false }
    }

    /// Runs until nobody listens any more.
    ///
    /// # Panics
    /// A panic in a stream is passed on: it must end the program, not leave one kind silently dead.
    pub async fn run(mut self) {
        loop {
            match connect(&self.spec).await {
                Ok(connection) => {
                    self.signals.current.send_replace(Some(connection.requests.clone()));
                    let end = self.session(&connection).await;
                    self.signals.current.send_replace(None);
                    if matches!(end, End::Closed) {
                        return;
                    }
                }
                Err(refusal) => {
                    self.failures += 1;
                    let link = match refusal {
                        Refusal::Unauthorized(why) => Link::LoginNeeded { why: format!("{why}; log in, then ctrl-r") },
                        other => Link::Unreachable { why: other.to_string() },
                    };
                    if self.tell(Delta::Link(link)).await.is_err() {
                        return;
                    }
                    self.pause(LONGEST_PAUSE).await;
                }
            }
        }
    }

    /// Everything that happens with one client.
    async fn session(&mut self, connection: &Connection) -> End {
        let version = match self.reach(connection).await {
            Ok(version) => version,
            Err(end) => return end,
        };
        let (trouble, mut troubled) = mpsc::channel(16);
        let mut running = Running::new(trouble, serves_streaming_lists(&version.minor), streams_lists(&version.minor));
        let mut discovery = Discovery::default();
        let mut needed = self.signals.needed_owners.subscribe();
        if self.introduce(connection, &version).await.is_err() {
            return End::Closed;
        }
        let mut served = None;
        let mut beat = ticks(HEARTBEAT);
        let mut around = ticks(LOOK_AROUND);
        let mut at_kyverno = ticks(LOOK_AT_KYVERNO);
        loop {
            let doubts = tokio::select! {
                () = self.deltas.closed() => return End::Closed,
                () = self.signals.reconnect.notified() => return End::Rebuild,
                Some(refusal) = troubled.recv() => Some(Doubt::OfAStream(refusal)),
                Some(ended) = running.tasks.join_next() => {
                    self.stream_ended(&mut running, ended).await;
                    None
                }
                _ = around.tick() => self.look_around(connection, &mut discovery, &mut served, &mut running).await.err().map(Doubt::OfOurOwn),
                Ok(()) = needed.changed() => {
                    self.look_around(connection, &mut discovery, &mut served, &mut running).await.err().map(Doubt::OfOurOwn)
                }
                _ = at_kyverno.tick(), if served.is_some() => match &served {
                    Some(served) => self.look_at_kyverno(connection, served).await.err().map(Doubt::OfOurOwn),
                    None => None,
                },
                _ = beat.tick() => self.heartbeat(connection).await.err().map(Doubt::OfOurOwn),
            };
            if let Some(doubt) = doubts
                && let Some(end) = self.doubt(connection, doubt, &running).await
            {
                return end;
            }
        }
    }

    /// The first answer, however long it takes.
    async fn reach(&mut self, connection: &Connection) -> Result<Version, End> {
        loop {
            match self.ask_version(connection).await {
                Ok(version) => return Ok(version),
                Err(Refusal::Unauthorized(why)) => return Err(self.unauthorized(connection, &why).await),
                Err(refusal) => {
                    self.lost(connection, &refusal).await?;
                    if self.pause(longest(&refusal)).await {
                        return Err(End::Rebuild);
                    }
                }
            }
        }
    }

    async fn ask_version(&mut self, connection: &Connection) -> Result<Version, Refusal> {
        let asked = timeout(HEARTBEAT_LIMIT, connection.requests.json::<Version>("/version", JSON)).await;
        let answer = asked.unwrap_or_else(|_| Err(Refusal::Unreachable(format!("no answer within {} s", HEARTBEAT_LIMIT.as_secs()))));
        if self.seen.is_none() || self.failures > 0 {
            self.ask_ready(connection).await?;
        }
        let version = match answer {
            // A server that answers is alive, even if it does not tell its version.
            Err(Refusal::Forbidden(_) | Refusal::NotFound(_)) => Version { git_version: String::new(), minor: String::new() },
            other => other?,
        };
        (self.failures, self.rebuilt, self.seen) = (0, false, Some(now()));
        Ok(version)
    }

    /// After a start, a server answers before it serves everything; `/readyz` says when it does. Whoever may not ask takes it as ready.
    async fn ask_ready(&self, connection: &Connection) -> Result<(), Refusal> {
        match timeout(HEARTBEAT_LIMIT, connection.requests.get("/readyz", "*/*")).await {
            Ok(Err(Refusal::Server(_))) => Err(Refusal::Server("the API server is starting (not ready)".to_owned())),
            Ok(Err(Refusal::Unreachable(why))) => Err(Refusal::Unreachable(why)),
            _ => Ok(()),
        }
    }

    /// Tells who the server is, and starts.
    async fn introduce(&mut self, connection: &Connection, version: &Version) -> Result<(), ()> {
        let kube_system = connection.requests.json::<Named>("/api/v1/namespaces/kube-system", JSON).await;
        let facts = ServerFacts {
            server: Some(Arc::from(connection.server.as_str())),
            cluster_uid: kube_system.ok().map(|named| Arc::from(named.metadata.uid.as_str())),
            kubernetes: (!version.git_version.is_empty()).then(|| Arc::from(version.git_version.as_str())),
        };
        self.tell(Delta::Server(facts)).await?;
        self.tell(Delta::Link(Link::Live)).await
    }

    /// Looks at Kyverno's installation and tells.
    pub(super) async fn look_at_kyverno(&self, connection: &Connection, served: &Served) -> Result<(), Refusal> {
        let looked = timeout(LOOK_LIMIT, kyverno::look(&connection.requests, served)).await;
        let facts = looked.map_err(|_| Refusal::Unreachable(format!("no answer within {} s", LOOK_LIMIT.as_secs())))?;
        // If nobody listens, the session's next turn notices.
        let _ = self.tell(Delta::Kyverno(facts)).await;
        Ok(())
    }

    async fn heartbeat(&mut self, connection: &Connection) -> Result<(), Refusal> {
        self.ask_version(connection).await?;
        // If nobody listens, the session's next turn notices.
        let _ = self.tell(Delta::Alive).await;
        Ok(())
    }

    /// Something failed. Is the server gone, or only that request? Returns how the session ends, if it does.
    async fn doubt(&mut self, connection: &Connection, doubt: Doubt, running: &Running) -> Option<End> {
        let mut refusal = match doubt {
            Doubt::OfAStream(Refusal::Unauthorized(why)) | Doubt::OfOurOwn(Refusal::Unauthorized(why)) => {
                running.up.send_replace(false);
                return Some(self.unauthorized(connection, &why).await);
            }
            // A small question of our own that got no answer needs no second one: a server that hangs should be known to within seconds.
            Doubt::OfOurOwn(refusal @ Refusal::Unreachable(_)) => refusal,
            Doubt::OfAStream(_) | Doubt::OfOurOwn(_) => match self.ask_version(connection).await {
                Ok(_) => return None,
                Err(refusal) => refusal,
            },
        };
        running.up.send_replace(false);
        loop {
            if let Refusal::Unauthorized(why) = &refusal {
                return Some(self.unauthorized(connection, why).await);
            }
            if let Err(end) = self.lost(connection, &refusal).await {
                return Some(end);
            }
            if self.pause(longest(&refusal)).await {
                return Some(End::Rebuild);
            }
            match self.ask_version(connection).await {
                Ok(_) => break,
                Err(again) => refusal = again,
            }
        }
        running.up.send_replace(true);
        if self.tell(Delta::Link(Link::Live)).await.is_err() { Some(End::Closed) } else { None }
    }

    /// Tells that the server does not answer, and when it is asked again.
    async fn lost(&mut self, connection: &Connection, refusal: &Refusal) -> Result<(), End> {
        self.failures += 1;
        let host = connection.server.split("://").last().unwrap_or_default();
        let why = if let Refusal::Unreachable(why) = refusal { format!("{why}: {host}") } else { refusal.to_string() };
        let link = if self.seen.is_none() && self.failures > PATIENCE {
            Link::Unreachable { why }
        } else {
            let pause = SignedDuration::try_from(self.backoff(longest(refusal))).unwrap_or_default();
            Link::Retrying { since: self.seen, next: now() + pause, why }
        };
        self.tell(Delta::Link(link)).await.map_err(|()| End::Closed)
    }

    /// The credentials are refused: a new client may get new ones; if it does not, a person has to log in.
    async fn unauthorized(&mut self, connection: &Connection, why: &str) -> End {
        if !std::mem::replace(&mut self.rebuilt, true) {
            return End::Rebuild;
        }
        self.failures += 1;
        let why = match &connection.plugin {
            Some(plugin) => format!("{why}; log in again for the kubeconfig's exec plugin ({}), then ctrl-r", crate::domain::clean(plugin)),
            None => format!("{why}: the token may have expired; renew it in the kubeconfig, then ctrl-r"),
        };
        if self.tell(Delta::Link(Link::LoginNeeded { why })).await.is_err() {
            return End::Closed;
        }
        self.pause(Duration::from_secs(60)).await;
        End::Rebuild
    }

    fn backoff(&self, most: Duration) -> Duration {
        (SHORTEST_PAUSE * 2u32.saturating_pow(self.failures.saturating_sub(1).min(10))).min(most)
    }

    /// Waits before the next attempt; returns at once, and true, when somebody asks to reconnect.
    async fn pause(&self, most: Duration) -> bool {
        tokio::select! {
            () = sleep(self.backoff(most)) => false,
            () = self.signals.reconnect.notified() => true,
            () = self.deltas.closed() => true,
        }
    }

    pub(super) async fn tell(&self, delta: Delta) -> Result<(), ()> {
        self.deltas.send(delta).await.map_err(|_| ())
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
    uid: String,
}

/// Now, in whole seconds: nobody wants to read more of a link's age.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The longest pause after such a failure.
fn longest(refusal: &Refusal) -> Duration {
    if matches!(refusal, Refusal::Server(_)) { STARTING_PAUSE } else { LONGEST_PAUSE }
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
