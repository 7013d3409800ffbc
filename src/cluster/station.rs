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
use super::discover::{Discovery, Served, is_on_demand, path};
use super::kyverno;
use super::refusal::Refusal;
use super::requests::{JSON, METADATA_LIST, Requests};
use super::stream::{Ended, StreamContext, run};
use crate::domain::{Link, Sync};
use crate::fleet::delta::{Delta, ServerFacts, StreamEvent, StreamId};
use crate::kinds::{Family, KindId};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// How often a quiet server is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a sign of life may take.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// How often discovery is asked (mostly answered with "unchanged").
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How often Kyverno's installation is looked at.
const LOOK_AT_KYVERNO: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that answers, if only to say that it is starting, will be there soon.
const STARTING_PAUSE: Duration = Duration::from_secs(1);
/// How long a kind that was served must stay away before it counts as gone. An API server that restarts answers before it serves its
/// custom resources again, and must not make us forget a million findings.
const GONE_AFTER: Duration = Duration::from_secs(8);
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
    spec: ClusterSpec,
    deltas: mpsc::Sender<Delta>,
    signals: Signals,
    /// Streams that the state has been told of, by this client or an earlier one.
    known: BTreeSet<StreamId>,
    /// The last sign of life.
    seen: Option<Timestamp>,
    failures: u32,
    /// A client was rebuilt after a 401, and the next one means that a person has to log in.
    rebuilt: bool,
}

/// Why a session ended.
enum End {
    /// Build a new client.
    Rebuild,
    /// Nobody listens any more.
    Closed,
}

/// Streams that run.
struct Running {
    tasks: JoinSet<(StreamId, Ended)>,
    handles: BTreeMap<StreamId, (AbortHandle, &'static str)>,
    /// Kinds that were found not served, and told so.
    missing: BTreeSet<KindId>,
    /// Kinds that were served and are not at the moment, and since when.
    vanished: BTreeMap<KindId, Instant>,
    up: watch::Sender<bool>,
    trouble: mpsc::Sender<Refusal>,
    streaming: Arc<AtomicBool>,
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
        let streaming = Arc::new(AtomicBool::new(serves_streaming_lists(&version.minor)));
        let mut running = Running {
            tasks: JoinSet::new(),
            handles: BTreeMap::new(),
            missing: BTreeSet::new(),
            vanished: BTreeMap::new(),
            up: watch::Sender::new(true),
            trouble,
            streaming,
        };
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
            let refusal = tokio::select! {
                () = self.deltas.closed() => return End::Closed,
                () = self.signals.reconnect.notified() => return End::Rebuild,
                Some(refusal) = troubled.recv() => Some(refusal),
                Some(ended) = running.tasks.join_next() => {
                    self.stream_ended(&mut running, ended).await;
                    None
                }
                _ = around.tick() => self.look_around(connection, &mut discovery, &mut served, &mut running).await.err(),
                Ok(()) = needed.changed() => self.look_around(connection, &mut discovery, &mut served, &mut running).await.err(),
                _ = at_kyverno.tick(), if served.is_some() => {
                    if let Some(served) = &served {
                        let facts = kyverno::look(&connection.requests, served).await;
                        if self.tell(Delta::Kyverno(facts)).await.is_err() {
                            return End::Closed;
                        }
                    }
                    None
                }
                _ = beat.tick() => self.heartbeat(connection).await.err(),
            };
            if let Some(refusal) = refusal
                && let Some(end) = self.doubt(connection, refusal, &running).await
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

    async fn heartbeat(&mut self, connection: &Connection) -> Result<(), Refusal> {
        self.ask_version(connection).await?;
        // If nobody listens, the session's next turn notices.
        let _ = self.tell(Delta::Alive).await;
        Ok(())
    }

    /// Something failed. Is the server gone, or only that request? Returns how the session ends, if it does.
    async fn doubt(&mut self, connection: &Connection, refusal: Refusal, running: &Running) -> Option<End> {
        if let Refusal::Unauthorized(why) = &refusal {
            running.up.send_replace(false);
            return Some(self.unauthorized(connection, why).await);
        }
        let Err(mut refusal) = self.ask_version(connection).await else { return None };
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

    /// Starts streams of kinds that are served now, and stops those of kinds that are not.
    async fn look_around(
        &mut self,
        connection: &Connection,
        discovery: &mut Discovery,
        served: &mut Option<Served>,
        running: &mut Running,
    ) -> Result<(), Refusal> {
        let now = match discovery.ask(&connection.requests).await {
            Ok(now) => now,
            // Discovery is open to every authenticated user; where it is closed, nothing else is open either.
            Err(Refusal::Forbidden(why)) => {
                let _ = self.tell(Delta::Link(Link::Denied { why })).await;
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        let kyverno_changed = served.as_ref().is_none_or(|before| before.versions != now.versions);
        let scopes = self.scopes(connection).await;
        for id in KindId::all() {
            self.look_at_kind(connection, id, &now, &scopes, running).await;
        }
        *served = Some(now);
        if kyverno_changed && let Some(now) = served.as_ref() {
            let facts = kyverno::look(&connection.requests, now).await;
            let _ = self.tell(Delta::Kyverno(facts)).await;
        }
        tracing::debug!(environment = %self.spec.name, streams = running.handles.len(), "looked around");
        Ok(())
    }

    async fn look_at_kind(
        &mut self,
        connection: &Connection,
        id: KindId,
        now: &Served,
        scopes: &BTreeSet<Arc<str>>,
        running: &mut Running,
    ) {
        let wanted = !is_on_demand(id) || self.signals.needed_owners.borrow().contains(&id);
        let version = now.kinds.get(&id).copied().filter(|_| wanted);
        if self.may_come_back(id, version.is_some(), running) {
            return;
        }
        let mine: BTreeSet<Arc<str>> = match (version, id.kind().namespaced) {
            (None, _) => BTreeSet::new(),
            (Some(_), false) => BTreeSet::from([Arc::from("")]),
            // Events about cluster-wide policies are in namespace default (kyverno/kyverno pkg/event).
            (Some(_), true) if id.kind().family == Family::Event && !scopes.contains("") => {
                scopes.iter().cloned().chain([Arc::from("default")]).collect()
            }
            (Some(_), true) => scopes.clone(),
        };
        self.stop_unwanted(id, version, &mine, running).await;
        let everywhere = StreamId { kind: id, namespace: Arc::from("") };
        let Some(version) = version else {
            if wanted && running.missing.insert(id) {
                self.known.insert(everywhere.clone());
                let _ = self.tell(Delta::Stream(everywhere, StreamEvent::NotInstalled)).await;
            }
            return;
        };
        running.missing.remove(&id);
        for namespace in mine {
            let stream = StreamId { kind: id, namespace };
            if !running.handles.contains_key(&stream) {
                self.known.insert(stream.clone());
                self.start(connection, stream, version, running);
            }
        }
    }

    /// Stops streams of namespaces that are not watched any more, and of versions that are not served any more.
    async fn stop_unwanted(&mut self, id: KindId, version: Option<&'static str>, mine: &BTreeSet<Arc<str>>, running: &mut Running) {
        let mut outdated = Vec::new();
        running.handles.retain(|stream, (handle, served)| {
            let keep = stream.kind != id || (version == Some(*served) && mine.contains(&stream.namespace));
            if !keep {
                outdated.push(handle.clone());
            }
            keep
        });
        outdated.iter().for_each(AbortHandle::abort);
        let unwanted: Vec<StreamId> = self.known.iter().filter(|s| s.kind == id && !mine.contains(&s.namespace)).cloned().collect();
        for stream in unwanted {
            // The stream of all namespaces stands for a kind that is not served.
            if version.is_none() && stream.namespace.is_empty() {
                continue;
            }
            self.known.remove(&stream);
            let _ = self.tell(Delta::Stream(stream, StreamEvent::Dropped)).await;
        }
    }

    /// Whether a kind that was served has vanished so recently that it may come back.
    fn may_come_back(&self, id: KindId, served: bool, running: &mut Running) -> bool {
        let was_served = !running.missing.contains(&id) && self.known.iter().any(|stream| stream.kind == id);
        if served || !was_served {
            running.vanished.remove(&id);
            return false;
        }
        let since = *running.vanished.entry(id).or_insert_with(Instant::now);
        let gone = since.elapsed() >= GONE_AFTER;
        if gone {
            running.vanished.remove(&id);
        }
        !gone
    }

    fn start(&self, connection: &Connection, id: StreamId, version: &'static str, running: &mut Running) {
        let context = StreamContext {
            path: path(id.kind, version, &id.namespace),
            id: id.clone(),
            requests: connection.requests.clone(),
            deltas: self.deltas.clone(),
            up: running.up.subscribe(),
            trouble: running.trouble.clone(),
            streaming: Arc::clone(&running.streaming),
            summaries: self.spec.summaries,
        };
        let named = id.clone();
        let handle = running.tasks.spawn(async move { (named, run(context).await) });
        running.handles.insert(id, (handle, version));
    }

    /// A stream ended: its kind is not served any more, which discovery will confirm or correct.
    async fn stream_ended(&mut self, running: &mut Running, ended: Result<(StreamId, Ended), tokio::task::JoinError>) {
        match ended {
            Ok((id, Ended::NotServed)) => {
                running.handles.remove(&id);
                running.vanished.entry(id.kind).or_insert_with(Instant::now);
                let _ = self.tell(Delta::Stream(id, StreamEvent::State(Sync::Stale { since: now() }))).await;
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok((_, Ended::Unwanted)) | Err(_) => {}
        }
    }

    /// The namespaces that are watched: `""` for all.
    async fn scopes(&mut self, connection: &Connection) -> BTreeSet<Arc<str>> {
        if self.spec.namespaces.is_empty() {
            return BTreeSet::from([Arc::from("")]);
        }
        let is_pattern = |name: &&String| name.contains(['*', '?']);
        let mut scopes: BTreeSet<Arc<str>> =
            self.spec.namespaces.iter().filter(|name| !is_pattern(name)).map(|name| Arc::from(name.as_str())).collect();
        let patterns: Vec<&String> = self.spec.namespaces.iter().filter(is_pattern).collect();
        if !patterns.is_empty()
            && let Ok(list) = connection.requests.json::<NamedList>("/api/v1/namespaces", METADATA_LIST).await
        {
            let matching = |name: &str| patterns.iter().any(|pattern| crate::kinds::matches_wildcard(pattern, name));
            scopes.extend(list.items.into_iter().map(|item| item.metadata.name).filter(|name| matching(name)).map(Arc::from));
        }
        scopes
    }

    async fn tell(&self, delta: Delta) -> Result<(), ()> {
        self.deltas.send(delta).await.map_err(|_| ())
    }
}

#[derive(Deserialize)]
struct NamedList {
    #[serde(default)]
    items: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
struct NamedMetadata {
    #[serde(default)]
    name: String,
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

/// Streaming lists (feature gate WatchList) are on in 1.32 and from 1.34, off in 1.33 (kubernetes pkg/features); a server that has them
/// switched off answers 422, and is then asked for pages.
fn serves_streaming_lists(minor: &str) -> bool {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().is_ok_and(|minor| minor == 32 || minor >= 34)
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
