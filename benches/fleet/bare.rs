//! Bare clients: they ask for the same bytes as policydeck and throw them away. What they need is what cannot be saved.
//!
//! Each runs as a process of its own (this program again), so that its CPU time is its alone.

use super::process;
use futures::future::join_all;
use http_body_util::BodyExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const COLLECTION: &str = "/apis/wgpolicyk8s.io/v1alpha2/policyreports";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The summary columns of all reports.
    Tables,
    /// A streaming list, up to the bookmark that ends it.
    Streams,
    /// The list in one answer.
    Lists,
}

impl Ask {
    pub(crate) const ALL: [(Self, &'static str); 3] = [(Self::Tables, "tables"), (Self::Streams, "streams"), (Self::Lists, "lists")];

    fn path(self) -> String {
        match self {
            Self::Tables => format!("{COLLECTION}?includeObject=None"),
            Self::Streams => format!(
                "{COLLECTION}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=&allowWatchBookmarks=true&timeoutSeconds=290"
            ),
            Self::Lists => format!("{COLLECTION}?resourceVersion=0"),
        }
    }
}

/// How a bare client fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bare {
    /// Seconds until everything had arrived, connections included.
    pub(crate) wall: f64,
    /// Seconds of CPU.
    pub(crate) cpu: f64,
    pub(crate) bytes: u64,
}

/// Runs a bare client against these contexts, all at once.
pub(crate) fn run(name: &str, kubeconfig: &Path, contexts: &[String]) -> Bare {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["bare", name])
        .arg(kubeconfig)
        .args(contexts)
        .output()
        .expect("this program starts");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(output.status.success(), "bare {name}: {}", String::from_utf8_lossy(&output.stderr));
    let number = |key: &str| said[key].as_f64().expect("a number");
    Bare { wall: number("wall"), cpu: number("cpu"), bytes: number("bytes") as u64 }
}

/// The bare client itself.
pub(crate) fn main(args: &[String]) {
    let [name, kubeconfig, contexts @ ..] = args else { panic!("bare NAME KUBECONFIG CONTEXT...") };
    let ask = Ask::ALL.iter().find(|(_, known)| known == name).expect("a known name").0;
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bytes: u64 =
        runtime.block_on(async { join_all(contexts.iter().map(|context| fetch(ask, Path::new(kubeconfig), context))).await }).iter().sum();
    println!("{}", json!({"wall": start.elapsed().as_secs_f64(), "cpu": process::cpu("self"), "bytes": bytes}));
}

async fn fetch(ask: Ask, kubeconfig: &Path, context: &str) -> u64 {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a context")).expect("a client");
    let accept = if ask == Ask::Tables { "application/json;as=Table;v=v1;g=meta.k8s.io" } else { "application/json" };
    let request = http::Request::get(ask.path()).header("accept", accept).header("accept-encoding", "identity");
    let response = client.send(request.body(kube::client::Body::empty()).expect("a request")).await.expect("an answer");
    assert!(response.status().is_success(), "{context}: {}", response.status());
    let mut body = response.into_body();
    let (mut bytes, mut end) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.expect("a whole answer").into_data() else { continue };
        bytes += data.len() as u64;
        if ask == Ask::Streams && is_end(&mut end, &data) {
            break;
        }
    }
    bytes
}

/// Whether the bookmark after the initial events has come; only the last bytes of what arrives are looked at.
fn is_end(tail: &mut Vec<u8>, data: &[u8]) -> bool {
    tail.extend_from_slice(&data[data.len().saturating_sub(600)..]);
    let excess = tail.len().saturating_sub(600);
    tail.drain(..excess);
    memchr::memmem::find(tail, b"k8s.io/initial-events-end").is_some()
}
