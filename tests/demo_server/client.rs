//! A small HTTP client that shows everything, and what all tests of the demo's servers share.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const CPOL: &str = "/apis/kyverno.io/v1/clusterpolicies";

pub(crate) fn start() -> Demo {
    let pace = Pace { reports: Duration::from_millis(50), ready: Duration::from_millis(50), ..Pace::default() };
    Demo::start(DemoOptions { scenario: Scenario::none(), pace, ..DemoOptions::default() }).unwrap()
}

/// One demo for all tests that only read.
pub(crate) fn shared() -> &'static Demo {
    static DEMO: OnceLock<Demo> = OnceLock::new();
    DEMO.get_or_init(start)
}

pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An answer that may still be coming.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: String,
    pub(crate) body: BufReader<TcpStream>,
}

impl Answer {
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.headers.contains("transfer-encoding: chunked") {
            while let Some(chunk) = self.chunk() {
                out.extend(chunk);
            }
        } else {
            self.body.read_to_end(&mut out).unwrap();
        }
        out
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.body.read_line(&mut size).ok().filter(|read| *read > 0)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.body.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// All events until the stream ends or `enough` says so.
    pub(crate) fn events(mut self, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (mut events, mut rest) = (Vec::new(), Vec::new());
        while let Some(chunk) = self.chunk() {
            rest.extend(chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                let last = enough(&event);
                events.push(event);
                if last {
                    return events;
                }
            }
        }
        events
    }
}

pub(crate) struct Ask<'a> {
    pub(crate) demo: &'a Demo,
    pub(crate) environment: &'a str,
}

pub(crate) fn ask<'a>(demo: &'a Demo, environment: &'a str) -> Ask<'a> {
    Ask { demo, environment }
}

impl Ask<'_> {
    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        let url = self.demo.url(self.environment).unwrap();
        let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect().unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        let given = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !given("Host") {
            request.push_str("Host: localhost\r\n");
        }
        if !given("Authorization") {
            for part in ["Authorization: Bearer ", &self.demo.token("admin"), "\r\n"] {
                request.push_str(part);
            }
        }
        for (name, value) in headers {
            for part in [name, ": ", value, "\r\n"] {
                request.push_str(part);
            }
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut headers).unwrap() > 0, "connection closed in the headers");
        }
        let code = headers.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { code, headers: headers.to_lowercase(), body: reader }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, &[], "");
        assert_eq!(answer.code, 200, "{path}");
        answer.json()
    }

    pub(crate) fn write(&self, method: &str, path: &str, content: &str, body: &Value) -> (u16, Value) {
        let answer = self.send(method, path, &[("Content-Type", content), ("User-Agent", "tester/1")], &body.to_string());
        (answer.code, answer.json())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.write("POST", path, "application/json", body)
    }

    pub(crate) fn merge(&self, path: &str, body: &Value) -> (u16, Value) {
        self.write("PATCH", path, "application/merge-patch+json", body)
    }

    pub(crate) fn items(&self, path: &str) -> Vec<Value> {
        self.get(path)["items"].as_array().unwrap().clone()
    }
}

pub(crate) fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"validationFailureAction": "Audit", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "Must have an owner", "pattern": {"metadata": {"labels": {"owner": "?*"}}}},
        }]},
    })
}

pub(crate) fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{
            "name": "a", "image": "registry.hellebore.io/a:1", "resources": {"limits": {"memory": "1Gi"}},
            "securityContext": {"allowPrivilegeEscalation": false},
        }]},
    })
}
