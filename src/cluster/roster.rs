//! Which streams run: one for each kind that is served and wanted, in each namespace that is watched.
//!
//! What lives here: starting and stopping them as discovery, namespaces and needs change. What does not: the connection itself
//! ([`super::station`]) and what a stream does ([`super::stream`]).

use super::address::Path;
use super::connect::Connection;
use super::contained::{InternalError, contained};
use super::discover::{Discovery, Served, is_on_demand, path};
use super::refusal::Refusal;
use super::requests::METADATA_LIST;
use super::station::{LOOK_LIMIT, Named, Station, now};
use super::stream::{Ended, Place, run};
use super::subject::StreamContext;
use crate::domain::{Link, Sync};
use crate::fleet::delta::{Delta, StreamEvent, StreamId};
use crate::kinds::{Family, KindId};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

/// How long a kind that was served must stay away before it counts as gone. An API server that restarts answers before it serves its
/// custom resources again, and must not make us forget a million findings.
const GONE_AFTER: Duration = Duration::from_secs(8);
/// Streams that run.
pub(super) struct Running {
    pub(super) tasks: JoinSet<(StreamId, Result<Ended, InternalError>)>,
    pub(super) handles: BTreeMap<StreamId, (AbortHandle, &'static str)>,
    /// Kinds that were found not served, and told so; with why, where they are served in other versions.
    pub(super) missing: BTreeMap<KindId, Option<String>>,
    /// Kinds that were served and are not at the moment, and since when.
    pub(super) vanished: BTreeMap<KindId, Instant>,
    /// Discovery was denied when it was last asked for, and that was told.
    denied: bool,
    pub(super) up: watch::Sender<bool>,
    pub(super) trouble: mpsc::Sender<Refusal>,
    pub(super) streaming: Arc<AtomicBool>,
    /// Whether big lists may be asked for in one answer.
    pub(super) whole: bool,
}

impl Running {
    /// Nothing runs yet.
    pub(super) fn new(trouble: mpsc::Sender<Refusal>, streaming: bool, whole: bool) -> Self {
        Self {
            tasks: JoinSet::new(),
            handles: BTreeMap::new(),
            missing: BTreeMap::new(),
            vanished: BTreeMap::new(),
            denied: false,
            up: watch::Sender::new(true),
            trouble,
            streaming: Arc::new(AtomicBool::new(streaming)),
            whole,
        }
    }
}

#[derive(Deserialize)]
struct NamedList {
    #[serde(default)]
    items: Vec<Named>,
}

impl Station {
    /// Starts streams of kinds that are served now, and stops those of kinds that are not.
    pub(super) async fn look_around(
        &mut self,
        connection: &Connection,
        discovery: &mut Discovery,
        served: &mut Option<Served>,
        running: &mut Running,
    ) -> Result<(), Refusal> {
        let now = match discovery.ask(&connection.requests.within(LOOK_LIMIT)).await {
            Ok(now) => now,
            // Discovery is open to every authenticated user; where it is closed, nothing else is open either.
            Err(Refusal::Forbidden(why)) => {
                running.denied = true;
                let _ = self.tell(Delta::Link(Link::Denied { why })).await;
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        // A server that has just started denies everything until it has read the roles.
        if std::mem::take(&mut running.denied) {
            let _ = self.tell(Delta::Link(Link::Live)).await;
        }
        let kyverno_changed = served.as_ref().is_none_or(|before| before.versions != now.versions);
        let scopes = self.scopes(connection).await;
        // Before the reports: what a report may speak for depends on the scopes of kinds.
        if served.as_ref().is_none_or(|before| before.resources != now.resources) {
            let _ = self.tell(Delta::Resources(Arc::clone(&now.resources))).await;
        }
        // Those that start now with a Table are ahead of all others that start now.
        let (ahead, tables) = watch::channel(());
        let (first, rest): (Vec<KindId>, Vec<KindId>) = KindId::all().partition(|id| self.begins_with_a_table(*id));
        for id in first {
            let place = || Place::Ahead(ahead.clone());
            self.look_at_kind(connection, id, &now, &scopes, running, &place).await;
        }
        drop(ahead);
        for id in rest {
            let place = || Place::Behind(tables.clone());
            self.look_at_kind(connection, id, &now, &scopes, running, &place).await;
        }
        self.signals.served.send_if_modified(|known| {
            let changed = *known != now.kinds;
            if changed {
                known.clone_from(&now.kinds);
            }
            changed
        });
        *served = Some(now);
        if kyverno_changed && let Some(now) = served.as_ref() {
            self.look_at_kyverno(connection, now).await?;
        }
        tracing::debug!(environment = %self.spec.name, streams = running.handles.len(), "looked around");
        Ok(())
    }

    /// Totals come from the summary columns of reports, long before the findings.
    fn begins_with_a_table(&self, id: KindId) -> bool {
        self.spec.summaries && id.kind().family == Family::Report
    }

    async fn look_at_kind(
        &mut self,
        connection: &Connection,
        id: KindId,
        now: &Served,
        scopes: &BTreeSet<Arc<str>>,
        running: &mut Running,
        place: &(dyn Fn() -> Place + Send + std::marker::Sync),
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
            let unread = now.unread.get(&id).cloned();
            if wanted && running.missing.get(&id) != Some(&unread) {
                self.known.insert(everywhere.clone());
                let event = unread.clone().map_or(StreamEvent::NotInstalled, |why| StreamEvent::Unread { why });
                let _ = self.tell(Delta::Stream(everywhere, event)).await;
                running.missing.insert(id, unread);
            }
            return;
        };
        running.missing.remove(&id);
        for namespace in mine {
            let stream = StreamId { kind: id, namespace };
            if !running.handles.contains_key(&stream) {
                self.known.insert(stream.clone());
                match path(id, version, &stream.namespace) {
                    Ok(path) => self.start(connection, stream, (version, path), running, place()),
                    Err(invalid) => {
                        let _ = self.tell(Delta::Stream(stream, StreamEvent::Unread { why: invalid.to_string() })).await;
                    }
                }
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
        let was_served = !running.missing.contains_key(&id) && self.known.iter().any(|stream| stream.kind == id);
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

    fn start(&self, connection: &Connection, id: StreamId, (version, path): (&'static str, Path), running: &mut Running, place: Place) {
        let context = StreamContext {
            path,
            id: id.clone(),
            requests: if id.kind.kind().family == Family::Report { connection.requests.in_bulk() } else { connection.requests.clone() },
            deltas: self.deltas.clone(),
            up: running.up.subscribe(),
            trouble: running.trouble.clone(),
            streaming: Arc::clone(&running.streaming),
            whole: running.whole,
            summaries: self.spec.summaries,
            timing: self.spec.timing,
            limit: self.spec.object_limit,
        };
        let (named, environment) = (id.clone(), Arc::clone(&self.spec.name));
        let handle = running.tasks.spawn(async move { (named, contained("stream", &environment, run(context, place)).await) });
        running.handles.insert(id, (handle, version));
    }

    /// A stream ended: its kind is not served any more, which discovery will confirm or correct.
    pub(super) async fn stream_ended(&mut self, running: &mut Running, ended: Result<(StreamId, Result<Ended, InternalError>), JoinError>) {
        match ended {
            Ok((id, Ok(Ended::NotServed))) => {
                running.handles.remove(&id);
                running.vanished.entry(id.kind).or_insert_with(Instant::now);
                let _ = self.tell(Delta::Stream(id, StreamEvent::State(Sync::Stale { since: now() }))).await;
            }
            Ok((_, Err(error))) => std::panic::resume_unwind(Box::new(error)),
            Ok((_, Ok(Ended::Unwanted))) | Err(_) => {}
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
            && let Ok(list) =
                connection.requests.within(LOOK_LIMIT).json::<NamedList>(&Path::fixed("/api/v1/namespaces"), METADATA_LIST).await
        {
            let matching = |name: &str| patterns.iter().any(|pattern| crate::kinds::matches_wildcard(pattern, name));
            scopes.extend(list.items.into_iter().map(|item| item.metadata.name).filter(|name| matching(name)).map(Arc::from));
        }
        scopes
    }
}
