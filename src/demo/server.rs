//! One environment's socket: listening, losing everything, listening again on the same port.
//!
//! Not here: what requests mean (`super::route`).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::access::Secret;
use super::cluster::Cluster;
use super::route;

/// Connections one server holds at a time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 512;
/// How long losing may take before the caller goes on regardless.
const LOSE_WITHIN: Duration = Duration::from_secs(2);
/// How long a port may take to come back: another process can sit on it for a moment.
const FIND_WITHIN: Duration = Duration::from_secs(5);

/// An environment that can be reached, until it is lost.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) address: SocketAddr,
    secret: Secret,
    runtime: Handle,
    serving: Mutex<Option<Serving>>,
}

#[derive(Debug)]
struct Serving {
    stop: CancellationToken,
    /// Says that the listener and all connections are gone.
    stopped: std::sync::mpsc::Receiver<()>,
}

impl Server {
    /// Binds and serves. Port 0 takes a free one.
    pub(crate) fn start(cluster: Arc<Cluster>, port: u16, secret: Secret, runtime: &Handle) -> io::Result<Self> {
        let listener = bind(port)?;
        let address = listener.local_addr()?;
        let server = Self { cluster, address, secret, runtime: runtime.clone(), serving: Mutex::new(None) };
        server.serve(listener)?;
        Ok(server)
    }

    fn serve(&self, listener: StdListener) -> io::Result<()> {
        let listener = {
            let _inside = self.runtime.enter();
            TcpListener::from_std(listener)?
        };
        let stop = CancellationToken::new();
        let (done, stopped) = std::sync::mpsc::sync_channel(1);
        let (cluster, secret, token) = (self.cluster.clone(), self.secret.clone(), stop.clone());
        self.runtime.spawn(async move {
            accept(listener, cluster, secret, token).await;
            // Nobody may be waiting any more.
            let _ = done.try_send(());
        });
        *self.slot() = Some(Serving { stop, stopped });
        Ok(())
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the listener and cuts every connection. Returns when both are gone.
    pub(crate) fn lose(&self) {
        let serving = self.slot().take();
        if let Some(serving) = serving {
            serving.stop.cancel();
            let _ = serving.stopped.recv_timeout(LOSE_WITHIN);
        }
    }

    /// Listens again on the same port.
    pub(crate) fn find(&self) -> io::Result<()> {
        if self.slot().is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + FIND_WITHIN;
        loop {
            match bind(self.address.port()) {
                Ok(listener) => return self.serve(listener),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn bind(port: u16) -> io::Result<StdListener> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener, cluster: Arc<Cluster>, secret: Secret, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, cluster.clone(), secret.clone()));
                }
                // Out of file descriptors, most likely: wait for some to come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, cluster: Arc<Cluster>, secret: Secret) {
    // Small watch events must not wait for more to come.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (cluster, secret) = (cluster.clone(), secret.clone());
        async move { route::answer(cluster, &secret, request).await }
    });
    // A broken connection is the client's business; there is nobody here to tell.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}
