//! The only place that speaks to Kubernetes.
//!
//! What lives here: building a client for a context, plain requests and what their failures mean, discovery, and one list-and-watch
//! machine that all kinds share. What does not: what objects mean (`kinds`), what they add up to (`fleet`).
//!
//! The machine is our own, because the stock watcher holds whole objects, never relists on an HTTP 410, retries without delay when a
//! stream ends at once, and cannot fall back from streaming lists. Bytes are split here and parsed where they are folded in.

mod address;
mod answers;
mod client;
mod clock;
mod connect;
mod contained;
mod discover;
mod entries;
mod event_ttl;
mod flags;
mod kubeconfig;
mod kyverno;
mod object;
mod pages;
mod plugin;
mod portion;
mod prometheus;
mod reader;
mod recovery;
mod refusal;
mod replicas;
mod requests;
mod roster;
mod splitter;
mod station;
mod stream;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod usable;
mod write;

pub use address::Address;
pub use clock::ServerClock;
pub use contained::{AGAIN, InternalError, contain, contained, is_contained, watch};
pub use object::read_object;
pub use prometheus::{PrometheusClient, Unanswered};
pub use refusal::Refusal;
pub use replicas::replicas;
pub use splitter::ObjectLimit;
pub use station::Signals;
pub use timing::Timing;
pub use write::{Write, WriteError, Written, cluster_uid, read, schema, whoami, write};

use crate::domain::Tier;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a request may take where nothing else is configured: the time in which a big Table arrives over a slow line.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that is needed to watch one environment.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// The environment's name.
    pub name: Arc<str>,
    /// Tier.
    pub tier: Tier,
    /// kubeconfig context, pinned; `None` takes the current one (use without a configuration), or the Pod's own account in a cluster.
    pub context: Option<String>,
    /// kubeconfig file; `None` reads `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Only these namespaces, with `*` and `?`; empty means all.
    pub namespaces: Vec<String>,
    /// How long a single request other than a watch may take.
    pub request_timeout: Duration,
    /// User to act as.
    pub impersonate_user: Option<String>,
    /// Groups to act as.
    pub impersonate_groups: Vec<String>,
    /// Ask for summaries before results, so that totals are on the screen at once.
    pub summaries: bool,
    /// How long is waited for this environment.
    pub timing: Timing,
    /// How large an object may be.
    pub object_limit: ObjectLimit,
}

impl ClusterSpec {
    /// An environment named after its context, with defaults for everything else: 30 s for a request, all namespaces, no impersonation.
    pub fn of_context(context: &str, kubeconfig: PathBuf) -> Self {
        Self {
            name: Arc::from(context),
            tier: Tier::Normal,
            context: Some(context.to_owned()),
            kubeconfig: Some(kubeconfig),
            namespaces: Vec::new(),
            request_timeout: REQUEST_TIMEOUT,
            impersonate_user: None,
            impersonate_groups: Vec::new(),
            summaries: false,
            timing: Timing::default(),
            object_limit: ObjectLimit::default(),
        }
    }
}
