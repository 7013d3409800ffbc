//! What reaches an environment's state: news of its server and of its streams, as they came from the wire.
//!
//! Objects are bytes here, so that they are parsed once, where they are folded in, and off every screen's thread.

use crate::domain::{InForce, Insecure, Link, ResourceRef, Sync, Tally};
use crate::kinds::KindId;
use crate::kinds::mode::Kyverno;
use crate::kinds::served::ServedResources;
use bytes::Bytes;
use jiff::SignedDuration;
use std::sync::Arc;

/// One list-and-watch: a kind, in all namespaces (empty) or in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The kind.
    pub kind: KindId,
    /// The namespace; empty for all.
    pub namespace: Arc<str>,
}

/// One piece of news.
#[derive(Debug, Clone)]
pub enum Delta {
    /// The state of the link changed.
    Link(Link),
    /// A sign of life, with nothing else to tell.
    Alive,
    /// How far the server's clock is ahead of the one here; `None` where its answers carry no time.
    Clock(Option<SignedDuration>),
    /// What the server said of itself.
    Server(ServerFacts),
    /// What could be found out about the cluster's Kyverno.
    Kyverno(KyvernoFacts),
    /// Whether Kyverno answers its webhooks.
    Answers(InForce),
    /// Which resources the server serves.
    Resources(Arc<ServedResources>),
    /// Whether resources that were asked for exist.
    Existence(Vec<(Arc<ResourceRef>, Existence)>),
    /// Watching ended because of an error of our own: nothing that is held is of now any more.
    Ended {
        /// What happened, in words.
        why: String,
    },
    /// News of one stream.
    Stream(StreamId, StreamEvent),
}

/// Whether a resource exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existence {
    /// It does, or one of that name where its uid is not known.
    Exists,
    /// It does not (any more).
    Gone,
    /// The API server does not say.
    NotRead {
        /// In words.
        why: Arc<str>,
    },
}

/// Identity of an API server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its URL.
    pub server: Option<Arc<str>>,
    /// UID of the namespace `kube-system`.
    pub cluster_uid: Option<Arc<str>>,
    /// Version, e.g. `v1.36.3`.
    pub kubernetes: Option<Arc<str>>,
    /// How long it keeps events, where its flags show it.
    pub events_kept: Option<SignedDuration>,
    /// What of the connection to it is open to others.
    pub insecure: Vec<Insecure>,
}

/// What could be found out about a cluster's Kyverno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KyvernoFacts {
    /// Whether any of Kyverno's APIs is served.
    pub installed: bool,
    /// Version in words, e.g. `v1.19.1`, or `≥1.17` where it could only be told from the API.
    pub version: Option<Arc<str>>,
    /// What modes depend on.
    pub kyverno: Kyverno,
    /// How often Kyverno scans everything again; `None` where it does not, or where that may not be read.
    pub scan_interval: Option<SignedDuration>,
    /// Whether blocked requests make events; `None` where that may not be read.
    pub makes_events: Option<bool>,
    /// What had to be assumed because it could not be read, in sentences.
    pub notes: Vec<Arc<str>>,
}

/// News of one stream.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// Its state changed, but not what it holds.
    State(Sync),
    /// A new list starts; what is held stays until the list is complete.
    ListStarted,
    /// Objects of the list.
    Listed {
        /// Whole objects as JSON.
        objects: Vec<Bytes>,
        /// Objects there are, where the server told.
        total: Option<u64>,
    },
    /// The list is complete; the watch begins.
    ListEnded,
    /// Changes since, in order.
    Changed(Vec<(Change, Bytes)>),
    /// An object was too big to be read, and was left out.
    Skipped,
    /// What the summaries of all reports add up to.
    Summaries(Tally),
    /// The kind is not served (any more): nothing of it exists.
    NotInstalled,
    /// The kind is served, but in no version that can be read: nothing is known of it (any more).
    Unread {
        /// Group and versions, in a sentence.
        why: String,
    },
    /// The stream is not wanted any more: what it held is forgotten.
    Dropped,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Created or changed.
    Put,
    /// Deleted.
    Deleted,
}
