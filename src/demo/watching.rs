//! Watches: a stream that pulls from the store's bounded log.
//!
//! A watch holds a position, never a buffer: a client that reads slowly simply is not asked for more, and when the
//! log has moved past its position it gets `410 Expired` in the stream and has to list again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::Instant;

use super::catalog::Resource;
use super::cluster::Cluster;
use super::failure::Failure;
use super::request::{Query, Shape, Target};
use super::select::Selector;
use super::shape;
use super::store::{Change, Handle, Key, Object};

/// Events put into one chunk at most.
const BATCH: usize = 128;
/// How often a quiet watch is told the current version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` lives this long (the real default is 30 to 60 minutes).
const DEFAULT_TIMEOUT: u64 = 1_800;

struct Watch {
    cluster: Arc<Cluster>,
    kind: usize,
    version: String,
    namespace: String,
    selector: Selector,
    shape: Shape,
    /// Everything up to this version has been sent.
    cursor: u64,
    /// Objects still to be sent as the initial state.
    initial: VecDeque<Handle>,
    /// A bookmark must close the initial state.
    announce_end: bool,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    waker: tokio::sync::watch::Receiver<u64>,
    over: bool,
}

/// The body of a watch.
pub(crate) fn stream(
    cluster: &Arc<Cluster>,
    resource: &Resource,
    target: &Target,
    query: &Query,
    shape: Shape,
) -> Result<StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>>, Failure> {
    let watch = Watch::new(cluster, resource, target, query, shape)?;
    Ok(StreamBody::new(futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok(Frame::data(chunk)), watch))
    })))
}

impl Watch {
    fn new(cluster: &Arc<Cluster>, resource: &Resource, target: &Target, query: &Query, shape: Shape) -> Result<Self, Failure> {
        let mut selector_query = query.clone();
        if let Some(name) = &target.name {
            selector_query = Query::parse(&format!("fieldSelector=metadata.name%3D{name}"));
        }
        let selector = Selector::parse(&selector_query, &resource.plural)?;
        let asked = query.number("resourceVersion")?.unwrap_or(0);
        let send_initial = initial_events(query)?;
        let seconds = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_TIMEOUT);
        let now = Instant::now();
        let mut watch = Self {
            cluster: cluster.clone(),
            kind: resource.index,
            version: target.version.clone(),
            namespace: target.namespace.clone(),
            selector,
            shape,
            cursor: asked,
            initial: VecDeque::new(),
            announce_end: send_initial == Some(true),
            bookmarks: query.is_true("allowWatchBookmarks"),
            deadline: now + Duration::from_secs(seconds),
            next_bookmark: now + BOOKMARK_EVERY,
            waker: cluster.store().waker(resource.index),
            over: false,
        };
        let store = cluster.store();
        if asked > store.version() {
            return Err(Failure::too_large_version(asked, store.version()));
        }
        if send_initial.unwrap_or(asked == 0) {
            watch.cursor = store.version();
            let rows = store.rows(resource.index).filter(|(key, object)| watch.wants(key, object));
            watch.initial = rows.map(|(_, object)| object.clone()).collect();
        } else if asked == 0 {
            watch.cursor = store.version();
        }
        drop(store);
        Ok(watch)
    }

    fn wants(&self, key: &Key, object: &Handle) -> bool {
        (self.namespace.is_empty() || key.namespace == self.namespace) && self.selector.matches(key, &object.value)
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            if let Some(chunk) = self.initial_chunk() {
                return Some(chunk);
            }
            self.waker.borrow_and_update();
            if let Some(chunk) = self.changes() {
                if chunk.is_empty() {
                    continue;
                }
                return Some(chunk);
            }
            let until = if self.bookmarks { self.deadline.min(self.next_bookmark) } else { self.deadline };
            tokio::select! {
                changed = self.waker.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(until) => {
                    self.over = Instant::now() >= self.deadline;
                    if self.bookmarks {
                        return Some(self.bookmark(false));
                    }
                }
            }
        }
    }

    fn initial_chunk(&mut self) -> Option<Bytes> {
        if self.initial.is_empty() {
            return std::mem::take(&mut self.announce_end).then(|| self.bookmark(true));
        }
        let mut out = BytesMut::new();
        for _ in 0..BATCH {
            let Some(object) = self.initial.pop_front() else {
                break;
            };
            self.event(&mut out, "ADDED", &object);
        }
        Some(out.freeze())
    }

    /// What happened since the cursor: `None` when nothing did, empty when nothing of it is for this watch.
    fn changes(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let changes = {
            let store = self.cluster.store();
            let oldest = store.oldest(self.kind);
            if self.cursor < oldest {
                let gone = Failure::expired(format!("too old resource version: {} ({oldest})", self.cursor));
                self.over = true;
                out.extend_from_slice(b"{\"type\":\"ERROR\",\"object\":");
                out.extend_from_slice(gone.status().to_string().as_bytes());
                out.extend_from_slice(b"}\n");
                return Some(out.freeze());
            }
            store.changes_after(self.kind, self.cursor, BATCH)
        };
        self.cursor = changes.last()?.version;
        for change in &changes {
            if let Some((kind, object)) = self.translate(change) {
                self.event(&mut out, kind, &object);
            }
        }
        Some(out.freeze())
    }

    /// The event a change is for this selector: leaving it is a deletion, entering it an addition.
    fn translate(&self, change: &Change) -> Option<(&'static str, Handle)> {
        let now = change.now.as_ref().filter(|object| self.wants(&change.key, object));
        let before = change.before.as_ref().filter(|object| self.wants(&change.key, object));
        match (before, now) {
            (None, Some(now)) => Some(("ADDED", now.clone())),
            (Some(_), Some(now)) => Some(("MODIFIED", now.clone())),
            (Some(before), None) => {
                let gone = change.last.clone().unwrap_or_else(|| {
                    let mut value = before.value.clone();
                    value["metadata"]["resourceVersion"] = Value::from(change.version.to_string());
                    Arc::new(Object::new(value, change.version))
                });
                Some(("DELETED", gone))
            }
            (None, None) => None,
        }
    }

    fn resource(&self) -> Option<&Resource> {
        self.cluster.catalog.all().get(self.kind)
    }

    fn event(&self, out: &mut BytesMut, kind: &str, object: &Handle) {
        let Some(resource) = self.resource() else {
            return;
        };
        out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        out.extend_from_slice(&shape::object(resource, &self.version, self.shape, object));
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&mut self, initial_end: bool) -> Bytes {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        let Some(resource) = self.resource() else {
            return Bytes::new();
        };
        let object = shape::bookmark(resource, &self.version, self.shape, self.cursor, initial_end);
        Bytes::from(format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n"))
    }
}

/// `sendInitialEvents`, checked as the API server checks it (KEP-3157).
fn initial_events(query: &Query) -> Result<Option<bool>, Failure> {
    let asked = query.get("sendInitialEvents").map(|_| query.is_true("sendInitialEvents"));
    let matching = query.get("resourceVersionMatch");
    let forbid = |why: &str, field: &'static str| {
        Failure::invalid("ListOptions", "meta.k8s.io", "", &[("FieldValueForbidden", format!("Forbidden: {why}"), field)])
    };
    match (asked, matching) {
        (Some(_), Some("NotOlderThan")) | (None, None) => Ok(asked),
        (Some(_), _) => Err(forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan", "resourceVersionMatch")),
        (None, Some(_)) => {
            Err(forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided", "resourceVersionMatch"))
        }
    }
}
