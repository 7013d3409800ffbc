//! Connections to an API server: one for everything small, and one for each stream of reports.
//!
//! What lives here: how requests travel. TLS, credentials and headers are made by kube from the kubeconfig. What does not: what is asked.
//!
//! kube's own client speaks HTTP/1.1 only, where each watch needs a connection, and each connection a handshake: some twenty-five for an environment.
//! Over HTTP/2, as kubectl speaks it, they share one, which is also asked for a sign of life while nothing arrives. Reports stay on connections of
//! their own: a Go server needs about a tenth more time to send a big list in the frames of HTTP/2, and a slow reader of one holds up nothing else.

use super::contained::{Executor, contain};
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::layer::layer_fn;
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::decompression::DecompressionLayer;

/// How soon a connection that carries many streams is asked whether it is alive when nothing arrives, and how long the answer may take. A dead one would
/// be used for every new attempt until then.
const PING: Duration = Duration::from_secs(5);
const PONG: Duration = Duration::from_secs(5);
/// Bytes that may be on their way for one stream, and for all streams of a connection.
const WINDOW: u32 = 1 << 20;
const WINDOWS: u32 = 8 << 20;
/// A server that answers a connection attempt sooner is so near that the line is faster than its compression.
const NEAR: Duration = Duration::from_millis(3);

/// The ways to one API server.
#[derive(Clone)]
pub(super) struct Clients {
    /// For small answers and quiet watches: HTTP/2 where the server speaks it.
    pub(super) shared: Client,
    /// For reports: HTTP/1.1, a connection for each stream.
    pub(super) bulk: Client,
    distance: Distance,
}

impl Clients {
    /// From a configuration whose credentials are at hand, for the environment of that name.
    pub(super) fn new(config: &Config, environment: &Arc<str>) -> kube::Result<Self> {
        let (distance, executor) = (Distance::default(), Executor(Arc::clone(environment)));
        if config.proxy_url.is_some() || config.tls_server_name.is_some() {
            // Tunnels and other names are kube's business.
            let client = ClientBuilder::try_from((config.clone(), executor))?.with_layer(&layer_fn(Careful)).build();
            return Ok(Self { shared: client.clone(), bulk: client, distance });
        }
        let tls = config.rustls_client_config()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(config.connect_timeout);
        let tcp = Timed { tcp, distance: distance.clone() };
        let connector = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let mut builder = legacy::Client::builder(executor);
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        builder.http2_initial_stream_window_size(WINDOW).http2_initial_connection_window_size(WINDOWS);
        builder.http2_keep_alive_interval(PING).http2_keep_alive_timeout(PONG);
        let shared = builder.build(connector().enable_all_versions().wrap_connector(tcp.clone()));
        let bulk = builder.build(connector().enable_http1().wrap_connector(tcp));
        Ok(Self { shared: layered(config, shared)?, bulk: layered(config, bulk)?, distance })
    }

    /// Whether compression would cost more time than it saves; `false` until a connection was made.
    pub(super) fn is_near(&self) -> bool {
        self.distance.is_near()
    }
}

type Http = legacy::Client<HttpsConnector<Timed>, Body>;

/// Address, credentials and headers around a client, and answers decompressed.
fn layered(config: &Config, http: Http) -> kube::Result<Client> {
    let service = ServiceBuilder::new()
        .layer_fn(Careful)
        .layer(config.base_uri_layer())
        .layer(DecompressionLayer::new())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// Takes requests for a service that may panic over them: kube calls it in a task of its own, which serves all requests of the client.
#[derive(Debug, Clone)]
struct Careful<S>(S);

impl<S, R> Service<R> for Careful<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        contain(|| self.0.poll_ready(cx)).unwrap_or_else(|error| Poll::Ready(Err(error.into())))
    }

    fn call(&mut self, request: R) -> Self::Future {
        match contain(|| self.0.call(request)) {
            Ok(answer) => Box::pin(answer),
            Err(error) => Box::pin(async move { Err(error.into()) }),
        }
    }
}

/// How long the fastest connection attempt took, in microseconds; the most there is before the first.
#[derive(Debug, Clone)]
struct Distance(Arc<AtomicU64>);

impl Default for Distance {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Distance {
    fn note(&self, took: Duration) {
        self.0.fetch_min(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_near(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) < NEAR.as_micros()
    }
}

/// Makes TCP connections and notes how long that took: the time of one round trip.
#[derive(Clone)]
struct Timed {
    tcp: HttpConnector,
    distance: Distance,
}

impl Service<Uri> for Timed {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (start, connecting, distance) = (Instant::now(), self.tcp.call(uri), self.distance.clone());
        Box::pin(async move {
            let connected = connecting.await?;
            distance.note(start.elapsed());
            Ok(connected)
        })
    }
}
