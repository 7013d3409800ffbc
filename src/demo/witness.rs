//! Somebody who stands beside the API servers, sees every change a client asks for, and may let it go wrong.
//!
//! Not here: what the cluster's own controllers write, which no client asked for.

use std::fmt;
use std::sync::Arc;

use hyper::Method;
use serde_json::Value;
use tokio::sync::oneshot;

/// A client's request to change an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Name of the environment.
    pub environment: String,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural of the kind.
    pub plural: String,
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// Name; empty for a creation.
    pub name: String,
    /// Field manager; where none is named, the first word of the user agent.
    pub manager: String,
    /// Whether it is only a rehearsal.
    pub dry_run: bool,
}

/// An object that a client changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Name of the environment.
    pub environment: String,
    /// API group.
    pub group: String,
    /// Plural of the kind.
    pub plural: String,
    /// Field manager; of a deletion, the first word of the user agent.
    pub manager: String,
    /// The object before; `None` for a creation.
    pub before: Option<Value>,
    /// The object afterwards; `None` for a deletion.
    pub after: Option<Value>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is carried out, and the connection ends before the answer.
    AnswerLost,
    /// The connection ends before it is carried out.
    Lost,
    /// It waits. Then it is carried out and answered if `true` comes, and lost otherwise, whether the client is still there or not.
    Held(oneshot::Receiver<bool>),
}

/// See the module. Both are called on the servers' threads and must not block.
pub trait Witness: Send + Sync + fmt::Debug {
    /// A request that may change something came in; what is to become of it.
    fn asked(&self, request: &Asked) -> Fate;

    /// A client changed something; called in the order of the changes of each object.
    fn changed(&self, change: Changed);
}

/// Whether a method may change something.
pub(crate) fn changes(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// Waits as long as the request is to wait; whether it is carried out, and whether it is answered.
pub(crate) async fn waited(fate: Fate) -> (bool, bool) {
    match fate {
        Fate::Answered => (true, true),
        Fate::AnswerLost => (true, false),
        Fate::Lost => (false, false),
        Fate::Held(released) => {
            let goes_on = released.await.unwrap_or(false);
            (goes_on, goes_on)
        }
    }
}

/// The witness of a cluster, if there is one.
pub(crate) type Present = std::sync::OnceLock<Arc<dyn Witness>>;
