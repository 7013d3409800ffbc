//! Kubeconfigs with an entry of any content: nothing panics, and the other contexts are as they were.

use super::super::*;
use crate::cluster::address::Path as Asked;
use crate::cluster::connect::connect;
use crate::testing::{Dice, broken, cases, monster};
use serde_json::{Value, json};

/// Fields of the bad entries.
const FIELDS: [&str; 38] = [
    "/clusters/1/name",
    "/clusters/1/cluster",
    "/clusters/1/cluster/server",
    "/clusters/1/cluster/server",
    "/clusters/1/cluster/certificate-authority",
    "/clusters/1/cluster/certificate-authority-data",
    "/clusters/1/cluster/insecure-skip-tls-verify",
    "/clusters/1/cluster/proxy-url",
    "/clusters/1/cluster/tls-server-name",
    "/clusters/1/cluster/disable-compression",
    "/clusters/1/cluster/extensions",
    "/users/1",
    "/users/1/name",
    "/users/1/user",
    "/users/1/user/token",
    "/users/1/user/token",
    "/users/1/user/tokenFile",
    "/users/1/user/username",
    "/users/1/user/password",
    "/users/1/user/client-certificate",
    "/users/1/user/client-certificate-data",
    "/users/1/user/client-key",
    "/users/1/user/client-key-data",
    "/users/1/user/as",
    "/users/1/user/as-uid",
    "/users/1/user/as-groups",
    "/users/1/user/as-user-extra",
    "/users/1/user/exec",
    "/users/1/user/exec/command",
    "/users/1/user/exec/args",
    "/users/1/user/exec/env",
    "/users/1/user/exec/interactiveMode",
    "/users/1/user/auth-provider",
    "/users/1/user/auth-provider/name",
    "/users/1/user/auth-provider/config",
    "/contexts/1/context/cluster",
    "/contexts/1/context/user",
    "/contexts/1/context/namespace",
];

/// Texts that mean something to some reader. All hosts are on this machine, where nothing listens at port 1.
const TEXTS: [&str; 36] = [
    "",
    " ",
    "t",
    "\n",
    "t\n",
    "t\r\nX-Evil: 1",
    "\u{0}",
    "\u{7f}",
    "größer",
    "\u{202e}",
    "localhost",
    "localhost:6443",
    "https://",
    "https:///x",
    "http://127.0.0.1:1",
    "https://127.0.0.1:1",
    "https://127.0.0.1:1/%2f/../?a=b#c",
    "https://127.0.0.1:99999",
    "https://127.0.0.1:",
    "https://u:p@127.0.0.1:1",
    "https://[::1]:1",
    "https://[::1",
    "//127.0.0.1:1",
    "/x",
    "*",
    "socks5://127.0.0.1:1",
    "aGVsbG8K",
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "../x",
    "/dev/null",
    "./none",
    "gcp",
    "oidc",
    "a.b.c",
    "bad",
];

fn text(dice: &mut Dice) -> String {
    if dice.one_in(60) { "x".repeat(1 << 20) } else { (*dice.of(&TEXTS)).to_owned() }
}

/// How deep the parser goes is a limit of the whole file.
fn is_deep(value: &Value, left: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(all) => Box::new(all.iter()),
        Value::Object(all) => Box::new(all.values()),
        _ => return false,
    };
    left == 0 || inner.any(|value| is_deep(value, left - 1))
}

fn anything(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => Some(monster(dice)).filter(|value| !is_deep(value, 40)).unwrap_or_default(),
        1 => json!([text(dice)]),
        2 => json!([{"name": text(dice), "value": text(dice)}]),
        3 => json!({*dice.of(&TEXTS): [text(dice)]}),
        4 => {
            json!({"id-token": text(dice), "cmd-path": text(dice), "idp-issuer-url": text(dice), "refresh-token": "r", "client-id": "", "client-secret": ""})
        }
        _ => json!(text(dice)),
    }
}

/// A good context and one whose entries hold anything.
fn kubeconfig(dice: &mut Dice) -> Value {
    let user = match dice.below(4) {
        0 => json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "args": [], "env": []}}),
        1 => json!({"auth-provider": {"name": "oidc", "config": {}}}),
        _ => json!({"token": "t"}),
    };
    let mut config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "good",
        "clusters": [{"name": "good", "cluster": {"server": "https://127.0.0.1:1"}}, {"name": "bad", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "good", "user": {"token": "t"}}, {"name": "bad", "user": user}],
        "contexts": [{"name": "good", "context": {"cluster": "good", "user": "good"}}, {"name": "bad", "context": {"cluster": "bad", "user": "bad"}}]});
    for _ in 0..=dice.below(3) {
        let (parent, field) = dice.of(&FIELDS).rsplit_once('/').unwrap();
        match config.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.insert(field.to_owned(), anything(dice))),
            Some(Value::Array(entries)) => {
                if let Some(entry) = entries.get_mut(1) {
                    *entry = anything(dice);
                }
            }
            _ => {}
        }
    }
    let section = dice.pick(&["clusters", "users", "contexts"]);
    if let Some(entries) = config[section].as_array_mut() {
        match dice.below(12) {
            0 => entries.truncate(1),
            1 => entries.extend(entries.clone()),
            2 => entries.push(anything(dice)),
            3 => entries.swap(0, 1),
            _ => {}
        }
    }
    config
}

fn spec(path: &Path, context: &str) -> ClusterSpec {
    ClusterSpec { request_timeout: Duration::from_secs(5), ..ClusterSpec::of_context(context, path.to_owned()) }
}

/// What asking the server of a context gives; it must not be that something of ours broke.
fn ask(runtime: &tokio::runtime::Runtime, spec: &ClusterSpec) -> String {
    let asked = runtime.block_on(async {
        let connection = connect(spec).await?;
        connection.requests.get(&Asked::fixed("/version"), "*/*").await
    });
    let said = asked.map_or_else(|refusal| refusal.to_string(), |_| "an answer".to_owned());
    // The second is what a client says whose own task is gone.
    assert!(!said.contains("internal error") && !said.contains("closed unexpectedly"), "{said}");
    assert!(said.len() < 10_000, "{} bytes", said.len());
    said
}

#[test]
fn an_entry_of_any_content_stops_no_other_context_and_panics_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut looker = Looker { spec: spec(&path, "good"), named: Vec::new(), stamps: None, at_rest: false };
    let mut known = None;
    cases("an_entry_of_any_content", 150, |dice| {
        let config = crate::domain::escape_json(&kubeconfig(dice).to_string()).into_owned();
        std::fs::write(&path, &config).unwrap();
        let good = choose(&spec(&path, "good")).unwrap_or_else(|why| panic!("{why}\n{config:.2000}"));
        let concern = *known.get_or_insert(good.concern());
        assert_eq!(good.concern(), concern, "{config:.2000}");
        ask(&runtime, &spec(&path, "bad"));
        // The file is rewritten while it is followed, and read in the middle of that.
        let cut = broken(&[config.clone().into_bytes()], dice);
        for content in [cut.as_slice(), config.as_bytes()] {
            std::fs::write(&path, content).unwrap();
            let seen = [looker.look(), looker.look(), looker.look()];
            assert!(content == cut || seen.into_iter().flatten().all(|seen| seen == concern), "{config:.2000}");
        }
    });
}

#[test]
fn what_is_no_text_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    for bytes in [&[0xff, 0xfe, 0x41][..], &[0xfe, 0xff, 0x41], &[0xff], &[0xff, 0xfe, 0x00, 0xd8]] {
        std::fs::write(&path, bytes).unwrap();
        let why = choose(&spec(&path, "good")).err().unwrap();
        assert!(why.starts_with(&format!("{}: ", path.display())), "{why}");
    }
}

#[test]
fn an_environment_whose_entry_is_not_valid_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let text = "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: [s3cret]}}, {name: v, user: {token: t}}]\n\
                contexts: [{name: bad, context: {cluster: c, user: u}}, {name: good, context: {cluster: c, user: v}}]\n";
    std::fs::write(&path, text).unwrap();
    let why = choose(&spec(&path, "bad")).err().unwrap();
    assert_eq!(why, format!("{}: the entry \"u\" of users is not valid (token)", path.display()));
    assert!(choose(&spec(&path, "good")).is_ok());
}
