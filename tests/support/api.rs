//! Raw HTTP to an API server as one user: a path in, status, headers and JSON out.

use http_body_util::BodyExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// One user's connection to one cluster.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    runtime: Arc<Runtime>,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Texts of the `Warning` headers, without code and agent (RFC 9110 no longer defines the header, Kubernetes keeps to RFC 7234's form).
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

impl Reply {
    /// The body of a success; anything else ends the test.
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.body);
        self.body
    }
}

impl Api {
    pub(crate) fn new(runtime: &Arc<Runtime>, kubeconfig: &Path, context: &str) -> Self {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the harness writes a kubeconfig");
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the context exists");
            Client::try_from(config).expect("a client for loopback")
        });
        Self { client, runtime: Arc::clone(runtime) }
    }

    /// One request; `Err` is for connections that fail, not for statuses.
    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, body: Option<&Value>) -> Result<Reply, kube::Error> {
        let bytes = body.map(|b| serde_json::to_vec(b).expect("JSON")).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", content_type)
            .header("Accept", "application/json")
            .body(kube::client::Body::from(bytes))
            .expect("a request");
        let response = self.client.send(request).await?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let warnings = head.headers.get_all("warning").iter().filter_map(|h| h.to_str().ok()).map(warning_text).collect();
        Ok(Reply { status: head.status.as_u16(), warnings, body })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Reply, kube::Error> {
        self.wait(self.send("GET", path, "application/json", None))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Reply, kube::Error> {
        self.wait(self.send("POST", path, "application/json", Some(body)))
    }

    pub(crate) fn merge_patch(&self, path: &str, body: &Value) -> Result<Reply, kube::Error> {
        self.wait(self.send("PATCH", path, "application/merge-patch+json", Some(body)))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Reply, kube::Error> {
        self.wait(self.send("DELETE", path, "application/json", None))
    }

    /// All items of a list, page by page; `None` where the resource is not served.
    pub(crate) fn list(&self, path: &str) -> Option<Vec<Value>> {
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let continued = if token.is_empty() { String::new() } else { format!("&continue={token}") };
            let reply = self.get(&format!("{path}?limit=500{continued}")).expect("the API server answers");
            if reply.status == 404 {
                return None;
            }
            let mut page = reply.ok();
            if let Value::Array(more) = page["items"].take() {
                items.extend(more);
            }
            match page["metadata"]["continue"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => return Some(items),
            }
        }
    }
}

/// The text in `299 - "text"`.
fn warning_text(header: &str) -> String {
    let text = header.splitn(3, ' ').nth(2).unwrap_or(header);
    text.trim_matches('"').replace("\\\"", "\"")
}
