//! Making custom resources older than they are: the API server lets nobody do that, so they are written in etcd, where they lie as JSON.

use super::cluster::Fleet;
use super::eventually;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// The object as if it had been created at that time, and every field been written then.
pub(crate) fn made_at(fleet: &Fleet, cluster: &str, (group, plural, name): (&str, &str, &str), at: Timestamp) {
    let first: u16 = std::fs::read_to_string(fleet.run.join("ports")).unwrap().trim().parse().unwrap();
    let ask = |verb: &str, body: &Value| -> Value {
        let url = format!("http://127.0.0.1:{}/v3/{verb}", first + 90);
        let answer = Command::new("curl").args(["-sf", &url, "-d", &body.to_string()]).output().unwrap();
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    };
    let key = STANDARD.encode(format!("/{cluster}/{group}/{plural}/{name}"));
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    // Its controllers may write it in the same moment.
    eventually("it is written in etcd", Duration::from_secs(10), || {
        let found = ask("kv/range", &json!({"key": key}));
        let (stored, revision) = (&found["kvs"][0]["value"], &found["kvs"][0]["mod_revision"]);
        let mut object: Value = serde_json::from_slice(&STANDARD.decode(stored.as_str().ok_or("not there")?).unwrap()).unwrap();
        object["metadata"]["creationTimestamp"] = at.as_str().into();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = at.as_str().into();
        }
        let value = STANDARD.encode(object.to_string());
        let unchanged = json!({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision});
        let put = json!({"request_put": {"key": key, "value": value}});
        let answer = ask("kv/txn", &json!({"compare": [unchanged], "success": [put]}));
        if answer["succeeded"] == true { Ok(()) } else { Err("changed meanwhile") }
    });
}
