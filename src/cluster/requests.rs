//! Plain requests: an answer as bytes or as a stream of bytes, or a [`Refusal`]. Nothing here waits for ever.

use super::address::Path;
use super::client::Clients;
use super::clock::ServerClock;
use super::refusal::{Refusal, retry_after};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, ETAG, HeaderName, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::client::Body;
use serde::de::DeserializeOwned;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Plain JSON.
pub(super) const JSON: &str = "application/json";
/// Only metadata, as a list.
pub(super) const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Only metadata, one object (the watch's form).
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Printed columns only.
pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Who asks, as the API server's audit log shows it.
pub(super) const AGENT: &str = concat!("policydeck/", env!("CARGO_PKG_VERSION"));

/// The most that an answer read as a whole may hold: a list page is near 4 MB, a Table of 100,000 reports near 25 MB.
const MOST: usize = 256 << 20;

/// A client with its time limit.
#[derive(Clone)]
pub(super) struct Requests {
    /// Shared by all clones: renewed credentials serve every stream, and what is under way is left alone.
    clients: Arc<RwLock<Clients>>,
    /// Asks over connections of its own.
    bulk: bool,
    limit: Duration,
    /// Learns the server's time from every answer.
    clock: ServerClock,
}

/// A body that is still arriving.
pub(super) type Arriving = Body;

impl Requests {
    pub(super) fn new(clients: Clients, limit: Duration) -> Self {
        Self { clients: Arc::new(RwLock::new(clients)), bulk: false, limit, clock: ServerClock::default() }
    }

    /// From now on asks with the client of another, which has newer credentials for the same server.
    pub(super) fn adopt(&self, newer: &Self) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = newer.clients();
    }

    /// From now on `clock` learns the server's time.
    pub(super) fn keep_time(&mut self, clock: ServerClock) {
        self.clock = clock;
    }

    fn clients(&self) -> Clients {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client for small requests.
    pub(super) fn client(&self) -> kube::Client {
        self.clients().shared
    }

    /// The same with a shorter limit, for questions whose answer is small: a server that does not answer them in time is gone.
    pub(super) fn within(&self, limit: Duration) -> Self {
        Self { limit: self.limit.min(limit), ..self.clone() }
    }

    /// The same for answers so big that they need a connection of their own.
    pub(super) fn in_bulk(&self) -> Self {
        Self { bulk: true, ..self.clone() }
    }

    /// Opens a GET and returns the body as it arrives. `whole` allows compression, where the server is not near; a stream of events must not be
    /// compressed, since Kubernetes 1.37 sends each event as a gzip member of its own and only the first would be read.
    pub(super) async fn open(&self, path: &Path, accept: &str, whole: bool) -> Result<Arriving, Refusal> {
        let mut request = Request::get(path.uri()?).header(ACCEPT, accept);
        if !whole || self.clients().is_near() {
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        Ok(self.send(request).await?.into_body())
    }

    /// The whole answer.
    pub(super) async fn get(&self, path: &Path, accept: &str) -> Result<Bytes, Refusal> {
        timeout(self.limit, async { collect(self.open(path, accept, true).await?).await }).await.map_err(|_| self.too_slow())?
    }

    /// The whole answer, read as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &Path, accept: &str) -> Result<T, Refusal> {
        let body = self.get(path, accept).await?;
        serde_json::from_slice(&body).map_err(|error| Refusal::Server(format!("{path}: the answer cannot be read: {error}")))
    }

    /// The time by the server's own clock; by the one here as long as no answer told it.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().unwrap_or_else(Timestamp::now)
    }

    /// The whole answer and its entity tag, or `None` if it is still the one with `tag`.
    pub(super) async fn if_changed(
        &self,
        path: &Path,
        accept: &str,
        tag: Option<&str>,
    ) -> Result<Option<(Bytes, Option<String>)>, Refusal> {
        let mut request = Request::get(path.uri()?).header(ACCEPT, accept);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = async {
            let response = self.send(request).await?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let tag = header(&response, &ETAG).map(str::to_owned);
            Ok(Some((collect(response.into_body()).await?, tag)))
        };
        timeout(self.limit, answer).await.map_err(|_| self.too_slow())?
    }

    async fn send(&self, request: http::request::Builder) -> Result<Response<Body>, Refusal> {
        let request = request.header(USER_AGENT, AGENT).body(Body::empty()).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let clients = self.clients();
        let client = if self.bulk { clients.bulk } else { clients.shared };
        let began = Instant::now();
        let sent = timeout(self.limit, client.send(request)).await.map_err(|_| self.too_slow())?;
        let response = sent.map_err(|error| Refusal::from_kube(&error))?;
        if let Some(date) = header(&response, &DATE) {
            self.clock.note(date, began, Instant::now());
        }
        let status = response.status();
        if status.is_success() && header(&response, &CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(Refusal::Server("a web page came instead of an answer: is there a proxy or a login page in between?".to_owned()));
        }
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let wait = header(&response, &RETRY_AFTER).and_then(|value| retry_after(value, Timestamp::now()));
        Err(Refusal::from_response(status, wait, &self.short(response).await))
    }

    /// The body of a refusal; what cannot be read of it does not matter.
    async fn short(&self, response: Response<Body>) -> Bytes {
        let body = timeout(self.limit, Limited::new(response.into_body(), 1 << 20).collect());
        body.await.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default()
    }

    fn too_slow(&self) -> Refusal {
        Refusal::Unreachable(format!("no answer within {} s", self.limit.as_secs()))
    }
}

fn header<'a>(response: &'a Response<Body>, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

pub(super) async fn collect(body: Body) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, MOST).collect().await.map_err(|error| Refusal::Unreachable(super::refusal::deepest(&*error)))?;
    Ok(collected.to_bytes())
}
