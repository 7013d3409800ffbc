//! A proxy between policydeck and an API server, which does to requests and answers what networks, load balancers and busy servers do.
//!
//! policydeck speaks plain HTTP to it, on loopback; it speaks to the real server and passes everything on as it arrives, the user's token too.
//! Faults are of two kinds: those that meet coming requests ([`Proxy::fault`]) and acts upon answers that are under way ([`Proxy::act`]).
//!
//! What they apply to is said in words that must stand in `GET /path?query`; a word behind `!` must not: `"policyreports watch=true !/version"`.

mod under_way;

use super::cluster::Fleet;
use bytes::Bytes;
use futures::stream::unfold;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use under_way::UnderWay;

/// What meets a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Another answer than the server's.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The connection is cut before any answer.
    Cut,
    /// No answer, ever; the connection stays open.
    Stall,
    /// The request waits until the fault is healed, and goes on then.
    Hold,
    /// The connection is cut at once; the server gets the request nevertheless, when the fault is healed.
    Late,
    /// The server gets the request and answers it; the connection is cut before the first byte of the answer.
    CutAnswer,
    /// The server gets the request and answers it ([`Asked::status`]); nothing of the answer comes, and the connection stays open.
    HoldAnswer,
    /// The connection is cut after so many bytes of the body.
    CutAfter(u64),
    /// The body ends after so many bytes, as if that were all.
    EndAfter(u64),
    /// Nothing comes after so many bytes of the body; the connection stays open.
    StallAfter(u64),
    /// So many bytes a second.
    Throttle(u64),
    /// The body is changed as a whole; not for watches, which never end.
    Edit(fn(Vec<u8>) -> Vec<u8>),
}

impl Fault {
    /// An answer with a `metav1.Status`, as an API server makes it.
    pub(crate) fn status(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": status});
        Self::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// Too many requests, with or without a time to wait.
    pub(crate) fn too_many(retry_after: Option<&str>) -> Self {
        let headers = retry_after.map(|value| ("retry-after", value.to_owned())).into_iter().collect();
        Self::Answer { status: 429, headers, body: "Too many requests, please try again later.".to_owned() }
    }

    /// What a load balancer says when it has nobody to ask.
    pub(crate) fn bad_gateway() -> Self {
        let headers = vec![("content-type", "text/html".to_owned())];
        Self::Answer { status: 502, headers, body: "<html><body><h1>502 Bad Gateway</h1></body></html>".to_owned() }
    }
}

/// What is done to an answer that is under way.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes come next, at the beginning of a line.
    Inject(Vec<u8>),
    /// The connection is cut.
    Cut,
    /// The body ends, as if that were all.
    End,
    /// The connection is cut in the middle of the next line.
    CutInLine,
    /// Nothing comes any more; the connection stays open.
    Stall,
}

/// One request that came.
pub(crate) struct Asked {
    pub(crate) at: Instant,
    /// `GET /path?query`.
    pub(crate) line: String,
    /// What was answered; 0 before.
    status: AtomicU16,
    /// Bytes of the body that were passed on.
    sent: AtomicU64,
    /// The answer is still under way.
    open: AtomicBool,
}

impl Asked {
    pub(crate) fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

struct Active {
    pattern: String,
    fault: Fault,
    /// How many requests it still meets.
    left: AtomicUsize,
    hits: AtomicUsize,
    healed: AtomicBool,
}

/// A fault that lasts as long as this value, or until it has met as many requests as it should.
pub(crate) struct Faulty {
    active: Arc<Active>,
    shared: Arc<Shared>,
}

impl Faulty {
    /// How many requests it met.
    pub(crate) fn hits(&self) -> usize {
        self.active.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn heal(self) {
        drop(self);
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.active.healed.store(true, Ordering::Relaxed);
        self.shared.state().faults.retain(|active| !Arc::ptr_eq(active, &self.active));
    }
}

#[derive(Default)]
struct State {
    faults: Vec<Arc<Active>>,
    asked: Vec<Arc<Asked>>,
    under_way: Vec<(Arc<Asked>, UnboundedSender<Act>)>,
    connections: Vec<AbortHandle>,
    accepted: usize,
    acceptor: Option<AbortHandle>,
}

struct Shared {
    upstream: Client,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The cluster it stands before.
    pub(crate) name: String,
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// Whether a request's line fits the words of a pattern.
fn fits(pattern: &str, line: &str) -> bool {
    pattern.split_whitespace().all(|word| word.strip_prefix('!').map_or_else(|| line.contains(word), |not| !line.contains(not)))
}

impl Proxy {
    /// Stands before a cluster of the fleet from now on.
    pub(crate) fn before(fleet: &Fleet, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let kubeconfig = Kubeconfig::read_from(fleet.kubeconfig()).expect("the harness writes a kubeconfig");
        let options = KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
        let upstream = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the context exists");
            // Whoever asks shows their own token, waits as long as they like, and unpacks what they asked for packed.
            config.auth_info = AuthInfo::default();
            (config.default_retry, config.disable_compression, config.read_timeout) = (false, true, None);
            Client::try_from(config).expect("a client for loopback")
        });
        let proxy = Self { port: 0, name: name.to_owned(), shared: Arc::new(Shared { upstream, state: Mutex::default() }), runtime };
        let port = proxy.listen(0);
        Self { port, ..proxy }
    }

    fn listen(&self, port: u16) -> u16 {
        let listener = super::eventually("the proxy's port is free", Duration::from_secs(10), || {
            self.runtime.block_on(TcpListener::bind(("127.0.0.1", port)))
        });
        let port = listener.local_addr().expect("a bound socket").port();
        let accepting = self.runtime.spawn(accept(listener, Arc::clone(&self.shared)));
        self.shared.state().acceptor = Some(accepting.abort_handle());
        port
    }

    /// A kubeconfig whose contexts are those of the fleet, with proxies before the clusters that have one.
    pub(crate) fn kubeconfig(fleet: &Fleet, proxies: &[&Self], path: &Path) {
        let mut kubeconfig = Kubeconfig::read_from(fleet.kubeconfig()).expect("the harness writes a kubeconfig");
        for proxy in proxies {
            let mut named = kubeconfig.clusters.iter_mut().filter(|named| named.name == proxy.name);
            let cluster = named.next().and_then(|named| named.cluster.as_mut()).expect("a cluster of this fleet");
            (cluster.server, cluster.certificate_authority_data) = (Some(format!("http://127.0.0.1:{}", proxy.port)), None);
        }
        std::fs::write(path, serde_json::to_vec(&kubeconfig).expect("JSON, which is YAML")).expect("a file of the test");
    }

    /// Coming requests that fit meet this fault, until it is healed or dropped.
    pub(crate) fn fault(&self, pattern: &str, fault: Fault) -> Faulty {
        self.fault_times(usize::MAX, pattern, fault)
    }

    /// The next so many requests that fit meet this fault.
    pub(crate) fn fault_times(&self, times: usize, pattern: &str, fault: Fault) -> Faulty {
        let (left, pattern) = (AtomicUsize::new(times), pattern.to_owned());
        let active = Arc::new(Active { pattern, fault, left, hits: AtomicUsize::new(0), healed: AtomicBool::new(false) });
        self.shared.state().faults.push(Arc::clone(&active));
        Faulty { active, shared: Arc::clone(&self.shared) }
    }

    /// Does something to every answer under way whose request fits; how many there were.
    pub(crate) fn act(&self, pattern: &str, act: &Act) -> usize {
        let mut state = self.shared.state();
        state.under_way.retain(|(asked, acts)| asked.is_open() && !acts.is_closed());
        state.under_way.iter().filter(|(asked, acts)| fits(pattern, &asked.line) && acts.send(act.clone()).is_ok()).count()
    }

    /// Cuts every connection.
    pub(crate) fn drop_connections(&self) {
        self.shared.state().connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Cuts every connection and refuses new ones, until [`Proxy::accept`].
    pub(crate) fn refuse(&self) {
        let acceptor = self.shared.state().acceptor.take();
        acceptor.iter().for_each(AbortHandle::abort);
        self.drop_connections();
    }

    /// Takes connections again.
    pub(crate) fn accept(&self) {
        self.listen(self.port);
    }

    /// How many requests came; a place to count from later.
    pub(crate) fn mark(&self) -> usize {
        self.shared.state().asked.len()
    }

    /// The requests since a mark that fit.
    pub(crate) fn asked(&self, mark: usize, pattern: &str) -> Vec<Arc<Asked>> {
        let state = self.shared.state();
        state.asked.iter().skip(mark).filter(|asked| fits(pattern, &asked.line)).cloned().collect()
    }

    /// How many requests that fit came since a mark.
    pub(crate) fn count(&self, mark: usize, pattern: &str) -> usize {
        self.asked(mark, pattern).len()
    }

    /// How many connections were taken.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state().accepted
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        // An event of a few bytes must not wait for the next.
        let _ = stream.set_nodelay(true);
        let serving = Arc::clone(&shared);
        let connection = tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&serving), request));
            // A client that goes away, or a fault that cuts, ends a connection with an error; that is what happens.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        let mut state = shared.state();
        state.accepted += 1;
        state.connections.retain(|connection| !connection.is_finished());
        state.connections.push(connection.abort_handle());
    }
}

type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

/// One request and its answer; an error cuts the connection.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    let (open, status, sent) = (AtomicBool::new(true), AtomicU16::new(0), AtomicU64::new(0));
    let asked = Arc::new(Asked { at: Instant::now(), line, status, sent, open });
    let (acts, acting) = unbounded_channel();
    let met = {
        let mut state = shared.state();
        state.asked.push(Arc::clone(&asked));
        state.under_way.retain(|(asked, _)| asked.is_open());
        state.under_way.push((Arc::clone(&asked), acts));
        let met = state.faults.iter().find(|active| fits(&active.pattern, &asked.line) && take_one(&active.left)).cloned();
        if let Some(active) = &met {
            active.hits.fetch_add(1, Ordering::Relaxed);
        }
        met
    };
    let (answered, meeting) = (Arc::clone(&asked), met.clone());
    let mut under_way = UnderWay::new(asked, acting, met);
    match under_way.fault().cloned() {
        Some(Fault::Cut) => return Err(cut()),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Hold) => healed(meeting.as_deref()).await,
        Some(Fault::Late) => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| cut())?.to_bytes();
            tokio::spawn(async move {
                healed(meeting.as_deref()).await;
                // Nobody waits for what becomes of it.
                if let Ok(response) = send(&shared.upstream, head, body, true).await {
                    answered.status.store(response.status().as_u16(), Ordering::Relaxed);
                }
            });
            return Err(cut());
        }
        Some(Fault::Answer { status, headers, body }) => {
            under_way.answered(status);
            let mut reply = Response::builder().status(status);
            for (name, value) in headers {
                reply = reply.header(name, value);
            }
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
            return Ok(reply.body(body).expect("a response"));
        }
        _ => {}
    }
    let response = forward(&shared.upstream, request, under_way.fault().is_some()).await?;
    let (head, mut body) = response.into_parts();
    under_way.answered(head.status.as_u16());
    match under_way.fault() {
        Some(Fault::CutAnswer) => return Err(cut()),
        Some(Fault::HoldAnswer) => return std::future::pending().await,
        _ => {}
    }
    if let Some(Fault::Edit(edit)) = under_way.fault() {
        let whole = body.collect().await.map_err(|_| cut())?.to_bytes();
        body = kube::client::Body::from(edit(whole.to_vec()));
    }
    under_way.upstream = Some(body);
    let frames = unfold(under_way, |mut under_way| async move { Some((under_way.next().await?.map(Frame::data), under_way)) });
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    (*reply.status_mut(), *reply.headers_mut()) = (head.status, head.headers);
    for header in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        reply.headers_mut().remove(header);
    }
    Ok(reply)
}

/// Waits until a fault is healed.
async fn healed(fault: Option<&Active>) {
    while fault.is_some_and(|fault| !fault.healed.load(Ordering::Relaxed)) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| if left == usize::MAX { Some(left) } else { left.checked_sub(1) })
        .is_ok()
}

/// Asks the real server; `plain` if the bytes must be the server's own, not packed ones.
async fn forward(upstream: &Client, request: Request<Incoming>, plain: bool) -> Result<Response<kube::client::Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| cut())?.to_bytes();
    send(upstream, head, body, plain).await
}

async fn send(upstream: &Client, mut head: Parts, body: Bytes, plain: bool) -> Result<Response<kube::client::Body>, io::Error> {
    head.headers.remove(HOST);
    head.headers.remove(CONNECTION);
    if plain {
        head.headers.remove(ACCEPT_ENCODING);
    }
    let request = Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    upstream.send(request).await.map_err(|_| cut())
}
