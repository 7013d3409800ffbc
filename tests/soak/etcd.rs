//! The fleet's etcd, by its JSON gateway.

use crate::support::cluster::Fleet;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Forgets everything before the newest revision; that revision.
pub(crate) fn compact(fleet: &Fleet) -> u64 {
    // The key is "policydeck" in base64; whatever it is, the header has the revision.
    let revision = ask(fleet, "/v3/kv/range", &json!({"key": "cG9saWN5ZGVjaw=="}))["header"]["revision"].clone();
    ask(fleet, "/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    revision.as_str().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("etcd has no revision: {revision}"))
}

fn ask(fleet: &Fleet, path: &str, body: &Value) -> Value {
    // The last ten of a run's hundred ports are etcd's: see tests/envtest/up.
    let first = std::fs::read_to_string(fleet.run.join("ports")).expect("the harness claims ports");
    let port = first.trim().parse::<u16>().expect("a port") + 90;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("etcd listens");
    let body = body.to_string();
    write!(stream, "POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("etcd reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("etcd answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.contains(" 200 "), "{path}: {answer}");
    serde_json::from_str(body).expect("JSON")
}
