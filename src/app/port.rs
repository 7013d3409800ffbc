//! A port that answers probes and scrapes while other clients hold connections.
//!
//! What lives here: connections and their limits. What does not: what is answered (`super::observe`).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Bytes that the head of a request may have.
const LARGEST_HEAD: usize = 16 << 10;
/// Headers that a request may have.
const MOST_HEADERS: usize = 64;

/// How much a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections that are held at a time. One more ends the oldest, so that idle clients keep no probe out.
    pub(super) connections: usize,
    /// How long the head of a request may take.
    pub(super) ask: Duration,
    /// How long all of a connection may take, its answer included.
    pub(super) life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, ask: Duration::from_secs(5), life: Duration::from_secs(30) }
    }
}

/// Serves answers, one for each connection; never ends.
pub(super) async fn serve<A>(listener: TcpListener, limits: Limits, answer: A)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    while oldest_first.len() >= limits.connections
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(one(stream, limits, answer.clone())));
                }
                // Out of file descriptors, most likely: wait for some to come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn one<A>(stream: TcpStream, limits: Limits, answer: A)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>>,
{
    let service = service_fn(move |request| {
        let answer = answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.ask).max_buf_size(LARGEST_HEAD).max_headers(MOST_HEADERS).keep_alive(false);
    // A broken connection is the client's business, and so is one that takes too long.
    let _ = timeout(limits.life, http.serve_connection(TokioIo::new(stream), service)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Far more than anything here takes: it only ends a test that would hang.
    const AT_LAST: Duration = Duration::from_secs(60);
    const LIMITS: Limits = Limits { connections: 8, ask: Duration::from_millis(100), life: Duration::from_millis(400) };

    /// A port that answers with so many bytes.
    async fn start(limits: Limits, bytes: usize) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = Bytes::from(vec![b'x'; bytes]);
        tokio::spawn(serve(listener, limits, move |_: &Request<Incoming>| Response::new(Full::new(body.clone()))));
        address
    }

    async fn get(address: std::net::SocketAddr, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A server that ends it early may leave a reset; what came before it counts.
        let _ = timeout(AT_LAST, stream.read_to_end(&mut text)).await.expect("an answer");
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_probe_gets_through_where_others_hold_connections() {
        // Nothing ends by itself here.
        let limits = Limits { ask: AT_LAST * 10, life: AT_LAST * 10, ..LIMITS };
        let address = start(limits, 2).await;
        let mut idle = Vec::new();
        for n in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /metrics HT").await.unwrap();
            }
            idle.push(stream);
        }
        assert!(get(address, "").await.ends_with("\r\n\r\nxx"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_asks_is_let_go() {
        let address = start(LIMITS, 2).await;
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut rest = Vec::new();
            let ended = timeout(AT_LAST, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "the connection ends");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        // More than the buffers of both sides hold.
        let bytes = 64 << 20;
        let address = start(LIMITS, bytes).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(LIMITS.life * 3).await;
        let mut text = Vec::new();
        let _ = timeout(AT_LAST, stream.read_to_end(&mut text)).await.expect("the connection has ended");
        assert!(text.len() < bytes, "it did not wait: {}", text.len());
    }

    #[tokio::test]
    async fn a_connection_has_one_answer_and_a_head_has_a_limit() {
        let address = start(LIMITS, 2).await;
        assert!(get(address, "").await.to_lowercase().contains("connection: close"));
        let many = "x: y\r\n".repeat(MOST_HEADERS + 1);
        let long = format!("x: {}\r\n", "y".repeat(2 * LARGEST_HEAD));
        for headers in [many, long] {
            let answer = get(address, &headers).await;
            assert!(!answer.ends_with("xx") && !answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
}
