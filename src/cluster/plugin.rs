//! Credentials from a kubeconfig's exec plugin.
//!
//! The client library would run the plugin three times for a client, let it read the terminal's keys and write over the screen, and wait for it as
//! long as it likes. Here it runs once, in a session of its own (without a terminal to write to or read from), without input, its
//! output caught, within a time limit.

use super::refusal::Refusal;
use crate::domain::clean;
use crate::domain::secret::{mask, mask_values};
use crate::files::child::{self, Group};
use jiff::Timestamp;
use kube::config::ExecConfig;
use serde::Deserialize;
use serde_json::json;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::time::timeout;

/// How long a plugin may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The most that is read of its output.
const MOST: u64 = 1 << 20;

/// What a plugin gives. There is no `Debug`: these are secrets.
pub(super) struct Credentials {
    pub(super) token: Option<String>,
    /// Certificate and key, as PEM.
    pub(super) identity: Option<(String, String)>,
    /// When they run out, where the plugin tells.
    pub(super) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// The plugin's program, for people. Its arguments stay out: they may hold a password, and the kubeconfig has them.
pub(super) fn program(exec: &ExecConfig) -> String {
    mask(&clean(exec.command.as_deref().unwrap_or_default())).into_owned()
}

/// What the kubeconfig gives to the plugin that may be a secret: the values of variables, and of the arguments all that is more than a word.
fn given(exec: &ExecConfig) -> Vec<&str> {
    let is_more = |word: &&str| word.len() >= 6 && word.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
    let words = |argument| str::split(argument, |c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\'' | ';' | ',')).filter(is_more);
    let values = exec.env.iter().flatten().filter_map(|variable| variable.get("value")).map(String::as_str);
    values.chain(exec.args.iter().flatten().map(String::as_str).flat_map(words)).collect()
}

/// Runs the plugin once.
pub(super) async fn run(exec: &ExecConfig) -> Result<Credentials, Refusal> {
    run_within(LIMIT, exec).await
}

async fn run_within(limit: Duration, exec: &ExecConfig) -> Result<Credentials, Refusal> {
    let program = program(exec);
    let refuse = |why: String| Refusal::Unauthorized(format!("no credentials: the exec plugin ({program}) {why}"));
    let (mut child, group) = start(exec).map_err(|error| {
        let hint = exec.install_hint.as_ref().map(|hint| format!(". {}", mask(&clean(hint.trim())))).unwrap_or_default();
        refuse(format!("cannot be run: {}{hint}", super::refusal::deepest(&error)))
    })?;
    let ended = timeout(limit, output(&mut child)).await;
    if ended.is_ok() {
        group.let_go();
    } else {
        drop(group);
    }
    let (status, out, err) = match ended {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(refuse(format!("was lost: {error}"))),
        Err(_) => return Err(refuse(format!("gave none within {} s; it was ended", limit.as_secs()))),
    };
    if !status.success() {
        return Err(refuse(format!("failed ({status}){}", last_words(&err, &given(exec)))));
    }
    read(&out).map_err(refuse)
}

fn start(exec: &ExecConfig) -> std::io::Result<(Child, Group)> {
    let mut command = child::detached(exec.command.as_deref().unwrap_or_default())?;
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info) {
        spec["cluster"] = json!(cluster);
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Group::start(command)
}

/// How the plugin ended, and what it wrote.
async fn output(child: &mut Child) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let pipes = async {
        tokio::join!(read_all(stdout, &mut out), read_all(stderr, &mut err));
    };
    let status = child::wait(child, pipes).await?;
    Ok((status, out, err))
}

async fn read_all(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(from) = from {
        // What cannot be read was not said.
        let _ = from.take(MOST).read_to_end(into).await;
    }
}

/// The end of what a plugin complained about, on one line, without what it was given in confidence.
fn last_words(err: &[u8], given: &[&str]) -> String {
    let text = String::from_utf8_lossy(err);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = mask(&mask_values(&clean(line), given)).chars().take(200).collect();
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

fn read(out: &[u8]) -> Result<Credentials, String> {
    // Plugins may answer in YAML, of which JSON is a part.
    let credential: ExecCredential =
        serde_saphyr::from_slice(out).map_err(|_| "answered with something that is no ExecCredential".to_owned())?;
    let Some(status) = credential.status else { return Err("answered without a status".to_owned()) };
    let expires = match status.expiration_timestamp.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| "told a time of expiry that cannot be read".to_owned())?),
        None => None,
    };
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (token, identity) = (some(status.token), some(status.client_certificate_data).zip(some(status.client_key_data)));
    if token.is_none() && identity.is_none() {
        return Err("gave neither a token nor a certificate with its key".to_owned());
    }
    Ok(Credentials { token, identity, expires })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A plugin that is a shell script.
    fn script(text: &str) -> ExecConfig {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", text],
            "env": [{"name": "FROM_CONFIG", "value": "yes"}], "provideClusterInfo": true});
        let mut exec: ExecConfig = serde_json::from_value(exec).unwrap();
        exec.cluster = serde_json::from_value(json!({"server": "https://there"})).ok();
        exec
    }

    async fn why(exec: &ExecConfig) -> String {
        run_within(Duration::from_secs(1), exec).await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_plugin_is_asked_as_kubectl_asks() {
        let exec = script(
            "read line && exit 9; echo noise >&2; \
             printf '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s %s\",\"expirationTimestamp\":\"2030-01-01T00:00:00Z\"}}' \
             \"$FROM_CONFIG\" \"$(printf '%s' \"$KUBERNETES_EXEC_INFO\" | tr -d '\"')\"",
        );
        let credentials = run(&exec).await.ok().unwrap();
        assert_eq!(
            credentials.token.unwrap(),
            "yes {apiVersion:client.authentication.k8s.io/v1,kind:ExecCredential,spec:{cluster:{server:https://there},interactive:false}}"
        );
        assert_eq!(credentials.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
    }

    #[tokio::test]
    async fn a_plugin_has_no_terminal() {
        let own = std::process::Command::new("sh").args(["-c", "command -v setsid"]).output().is_ok_and(|found| found.status.success());
        if !own {
            return;
        }
        // In a session of its own it leads it, and there is no controlling terminal.
        let session = "read -r _ _ _ _ group session terminal _ < /proc/$$/stat; [ $session = $$ ] && [ $group = $$ ] && [ $terminal = 0 ]";
        let exec = script(&format!("{session} && echo '{{\"status\":{{\"token\":\"t\"}}}}'"));
        assert_eq!(run(&exec).await.ok().and_then(|credentials| credentials.token).as_deref(), Some("t"));
        let said = why(&script("(: > /dev/tty) 2>/dev/null && exit 0; echo 'session expired; run: login-tool' >&2; exit 1")).await;
        assert!(said.ends_with("failed (exit status: 1): session expired; run: login-tool"), "{said}");
    }

    #[tokio::test]
    async fn a_certificate_may_come_as_yaml() {
        let exec = script("echo 'status: {clientCertificateData: cert, clientKeyData: key}'");
        let credentials = run(&exec).await.ok().unwrap();
        assert!(credentials.token.is_none() && credentials.identity == Some(("cert".to_owned(), "key".to_owned())));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said() {
        let table = [
            ("echo first >&2; printf '\\033[31mlog in\\n\\n' >&2; exit 3", "failed (exit status: 3): \u{fffd}[31mlog in"),
            ("echo hello", "answered with something that is no ExecCredential"),
            ("echo '{}'", "answered without a status"),
            ("echo '{\"status\":{\"token\":\"\"}}'", "gave neither a token nor a certificate with its key"),
            ("echo '{\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}}'", "told a time of expiry that cannot be read"),
        ];
        for (text, expected) in table {
            let said = why(&script(text)).await;
            assert!(said.starts_with("no credentials: the exec plugin (sh) ") && said.ends_with(expected), "{said}");
        }
        let mut missing = script("");
        (missing.command, missing.install_hint) = (Some("no-such-plugin".to_owned()), Some("Install it from there.\n".to_owned()));
        let said = why(&missing).await;
        assert!(said.ends_with("cannot be run: no such file or directory. Install it from there."), "{said}");
    }

    #[tokio::test]
    async fn what_a_plugin_was_given_is_not_said() {
        let text = "printf '%s' \"secret-is hunTer3; $FROM_CONFIG --token hunter4 eyJhbGciOi.x\" >&2; exit 1";
        let mut exec = script(text);
        exec.env = serde_json::from_value(json!([{"name": "FROM_CONFIG", "value": "hunter1"}])).ok();
        let said = why(&exec).await;
        assert!(said.ends_with("failed (exit status: 1): secret-is …; … --token … …"), "{said}");
        let mut missing = script("hunTer3");
        missing.command = Some("no-such-plugin".to_owned());
        assert!(!why(&missing).await.contains("hunTer3"));
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let said = why(&script(&format!("sleep 60 & echo $! > {}; wait", file.display()))).await;
        assert!(said.ends_with("gave none within 1 s; it was ended"), "{said}");
        let pid = std::fs::read_to_string(file).unwrap();
        let start = Instant::now();
        let is_there = || std::process::Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success();
        let is_dead = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| stat.contains(") Z "));
        while is_there() && !is_dead() {
            assert!(start.elapsed() < Duration::from_secs(5), "the plugin's child is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_stays_behind_holds_nothing_up() {
        let start = Instant::now();
        let credentials = run(&script("echo '{\"status\":{\"token\":\"t\"}}'; sleep 60 &")).await.ok().unwrap();
        assert!(credentials.token.is_some() && start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
