//! A secret of its own in every place where one can be: none is shown, written, logged or kept.
//!
//! Here the binary runs from outside, against the demo's servers and against contexts that fail in every way. What is shown of a Secret object is in
//! `screens.rs`, the command lines and the words of git are in `src/files/git/tests.rs`, the forms in text in `src/domain/secret.rs`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "demo_server/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{CPOL, ask, policy, until};
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A place where a secret can be. Its canary is made of its name.
fn canary(place: &str) -> String {
    format!("cAnArY7{}x9", place.replace(['-', ' '], ""))
}

/// The users of contexts that cannot log in, with the secret in it: the name, and YAML in which `CANARY` is the secret and `BASE64` the same in base64.
const USERS: [(&str, &str); 13] = [
    ("token", "{token: CANARY}"),
    ("token with an odd character", "{token: \"CANARY\\u0001\"}"),
    ("tokenFile", "{tokenFile: HOME/token}"),
    ("password", "{username: jane, password: CANARY}"),
    ("client-key-data", "{client-certificate-data: BASE64, client-key-data: BASE64}"),
    ("client-key-data, not base64", "{client-certificate-data: BASE64, client-key-data: \"%CANARY\"}"),
    ("client-key", "{client-certificate: HOME/key, client-key: HOME/key}"),
    (
        "exec env",
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo \"no login for $LOGIN\" >&2; exit 1'], env: [{name: LOGIN, value: CANARY}]}}",
    ),
    ("exec args", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo \"$0: no\" >&2; exit 1', CANARY]}}"),
    ("exec program", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-program, args: [--password, CANARY]}}"),
    (
        "exec stdout",
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{\"status\": {\"token\": [\"CANARY\"]}}']}}",
    ),
    (
        "exec stderr",
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'printf \"password=cAnA%s\" rY7execstderrx9 >&2; exit 1']}}",
    ),
    ("auth provider", "{auth-provider: {name: oidc, config: {id-token: CANARY, refresh-token: CANARY, client-secret: CANARY}}}"),
];

/// Clusters, likewise.
const CLUSTERS: [(&str, &str); 5] = [
    ("server userinfo", "{server: 'http://jane:CANARY@127.0.0.1:1'}"),
    ("server that is no URL", "{server: 'https://jane:CANARY@ x'}"),
    ("proxy userinfo", "{server: 'https://127.0.0.1:1', proxy-url: 'http://jane:CANARY@127.0.0.1:1'}"),
    ("proxy that is no URL", "{server: 'https://127.0.0.1:1', proxy-url: 'http://jane:CANARY@ x'}"),
    ("certificate-authority-data", "{server: 'https://127.0.0.1:1', certificate-authority-data: BASE64}"),
];

/// What `environments` are configured with besides, likewise.
const SETTINGS: [(&str, &str); 4] = [
    ("prometheus token_file", "prometheus = { url = \"http://127.0.0.1:1\", token_file = \"HOME/prometheus\" }"),
    ("prometheus token_env", "prometheus = { url = \"http://127.0.0.1:1\", token_env = \"PROMETHEUS\" }"),
    ("git password", "git = { repo = \"http://jane:CANARY@127.0.0.1:1/p.git\" }"),
    ("git user", "git = { repo = \"http://CANARY@127.0.0.1:1/p.git\" }"),
];

/// Files that cannot be read as what they are: the name, whether it is the configuration (else the kubeconfig), and the text.
const BROKEN: [(&str, bool, &str); 7] = [
    (
        "kubeconfig type",
        false,
        "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nusers:\n- {name: u, user: {token: [CANARY]}}\n",
    ),
    ("kubeconfig syntax", false, "users:\n- {name: u, user: {token: CANARY\n"),
    ("kubeconfig top", false, "CANARY\n"),
    ("configuration word", true, "[[environments]]\nname = \"a\"\ncontext = \"c\"\ntier = \"CANARY\"\n"),
    ("configuration syntax", true, "[[environments]]\nname = \"a\"\ncontext = \"CANARY\" CANARY\n"),
    ("prometheus userinfo", true, "[[environments]]\nname = \"a\"\ncontext = \"c\"\nprometheus = { url = \"https://u:CANARY@h\" }\n"),
    ("configuration key", true, "[keys]\nquit = \"CANARY\"\n"),
];

/// A user's machine, the canaries on it, and everything that was printed.
struct Machine {
    home: tempfile::TempDir,
    canaries: Vec<(String, String)>,
    printed: String,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self { home: tempfile::tempdir().unwrap(), canaries: Vec::new(), printed: String::new() };
        for (file, place) in [("token", "tokenFile"), ("key", "client-key"), ("prometheus", "prometheus token_file")] {
            let canary = machine.canary(place);
            machine.write(file, &format!("{canary}\u{1}\n"));
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn canary(&mut self, place: &str) -> String {
        let canary = canary(place);
        self.canaries.push((place.to_owned(), canary.clone()));
        canary
    }

    /// A text with the canary of a place in it.
    fn fill(&mut self, place: &str, text: &str) -> String {
        let canary = self.canary(place);
        let home = self.home.path().display().to_string();
        text.replace("CANARY", &canary).replace("BASE64", &STANDARD.encode(&canary)).replace("HOME", &home)
    }

    fn run(&mut self, args: &[&str]) -> i32 {
        let home = self.home.path().to_owned();
        let mut command = Command::new(env!("CARGO_BIN_EXE_policydeck"));
        command.env_clear().env("HOME", &home).env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("POLICYDECK_LOG", "trace");
        for (name, folder) in [("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, home.join(folder));
        }
        for (name, place) in [("PROMETHEUS", "prometheus token_env"), ("GITHUB_TOKEN", "environment variable")] {
            command.env(name, self.canary(place));
        }
        command.args(args).arg("--config").arg(home.join("config.toml")).arg("--kubeconfig").arg(home.join("kubeconfig"));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let _ = write!(self.printed, "{args:?}\n{}\n{}\n", text(&output.stdout), text(&output.stderr));
        output.status.code().unwrap()
    }

    /// Looks for every canary in what was printed and in every file that the program wrote; the printed text, and the files' texts together.
    fn looked_through(&self) -> (String, String) {
        self.looked_through_without("nothing")
    }

    /// The same, without the folders of a name.
    fn looked_through_without(&self, whole: &str) -> (String, String) {
        let mut files = Vec::new();
        // The private copies of repositories hold the passwords that git needs; they are in `git::tests`.
        for folder in ["data", "state"] {
            gather(&self.path(folder), &mut files);
        }
        files.retain(|path| !path.components().any(|part| part.as_os_str() == whole));
        assert!(!files.is_empty(), "nothing was written");
        let mut all = String::new();
        for path in &files {
            all.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
        }
        for (place, canary) in &self.canaries {
            for form in [canary.clone(), STANDARD.encode(canary).trim_end_matches('=').to_owned()] {
                assert!(!self.printed.contains(&form), "{place} was printed:\n{}", around(&self.printed, &form));
                assert!(!all.contains(&form), "{place} was written:\n{}", around(&all, &form));
            }
        }
        (self.printed.clone(), all)
    }
}

fn around(text: &str, canary: &str) -> String {
    text.lines().filter(|line| line.contains(canary)).collect::<Vec<_>>().join("\n")
}

fn gather(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { gather(&entry.path(), out) } else { out.push(entry.path()) }
    }
}

#[test]
fn contexts_that_fail_say_why_without_their_secrets() {
    let mut machine = Machine::new();
    let (mut clusters, mut users, mut contexts, mut config) = (String::new(), String::new(), String::new(), String::new());
    let plain = "https://127.0.0.1:1";
    let all = USERS.iter().map(|(place, text)| (*place, None, Some(*text)));
    let all = all.chain(CLUSTERS.iter().map(|(place, text)| (*place, Some(*text), None)));
    for (n, (place, cluster, user)) in all.enumerate() {
        let cluster = cluster.map_or_else(|| format!("{{server: '{plain}'}}"), |text| machine.fill(place, text));
        let user = user.map_or_else(|| "{token: t}".to_owned(), |text| machine.fill(place, text));
        let _ = writeln!(clusters, "- {{name: c{n}, cluster: {cluster}}}");
        let _ = writeln!(users, "- name: u{n}\n  user: {user}");
        let _ = writeln!(contexts, "- {{name: x{n}, context: {{cluster: c{n}, user: u{n}}}}}");
        let settings = SETTINGS.get(n).map(|(place, text)| machine.fill(place, text)).unwrap_or_default();
        let _ = writeln!(config, "[[environments]]\nname = \"e{n}\"\ncontext = \"x{n}\"\n{settings}");
    }
    machine.write(
        "kubeconfig",
        &format!("apiVersion: v1\nkind: Config\ncurrent-context: x0\nclusters:\n{clusters}users:\n{users}contexts:\n{contexts}"),
    );
    machine.write("config.toml", &config);
    for args in [
        &["status", "--wait", "4s", "-o", "json", "-vv"][..],
        &["status", "--wait", "2s"],
        &["gate", "--wait", "1s"],
        &["timeline", "p", "--wait", "1s"],
        &["demote", "p", "-e", "e2", "--wait", "1s", "--yes"],
        &["audit", "show", "--compare", "--wait", "1s"],
        &["config", "check"],
    ] {
        assert_ne!(machine.run(args), 101, "{args:?}: {}", machine.printed);
    }
    fs::remove_file(machine.path("config.toml")).unwrap();
    machine.run(&["config", "init"]);
    machine.printed += &fs::read_to_string(machine.path("config.toml")).unwrap();
    let (printed, _) = machine.looked_through();
    // They were tried, and say what is wrong.
    for part in [
        "the exec plugin (sh) failed",
        "the exec plugin (no-such-program) cannot be run",
        "answered with something that is no ExecCredential",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_place_and_without_their_text() {
    let mut machine = Machine::new();
    for (place, is_config, text) in BROKEN {
        let text = machine.fill(place, text);
        machine.write("config.toml", if is_config { &text } else { "" });
        machine.write("kubeconfig", if is_config { "" } else { &text });
        for args in [&["status", "--wait", "1s"][..], &["config", "check"], &["config", "init", "--force"]] {
            if args[1] != "init" || !is_config {
                machine.run(args);
            }
        }
        let file = machine.path(if is_config { "config.toml" } else { "kubeconfig" }).display().to_string();
        let named = machine.printed.contains(&format!("{file}:")) || machine.printed.contains("keys.quit: ");
        assert!(named, "{place}: {}", machine.printed);
    }
    machine.run(&["status", "--wait", "1s", "--context", "none"]);
    machine.looked_through();
}

#[test]
fn what_operations_keep_holds_no_secret() {
    let pace = Pace { reports: Duration::from_millis(50), ready: Duration::from_millis(50), scan: Duration::from_secs(3600) };
    let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
    let mut machine = Machine::new();
    let kubeconfig = machine.fill("live server userinfo", &demo.kubeconfig().replace("http://", "http://jane:CANARY@"));
    machine.write("kubeconfig", &kubeconfig);
    // It opens the demo's servers, so it is a secret.
    machine.canaries.push(("live token".to_owned(), "admin-token".to_owned()));
    let settings = machine.fill("prometheus token_file", SETTINGS[0].1);
    machine.write("config.toml", &format!("[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n{settings}\n"));
    let (code, answer) = ask(&demo, "dev").post(CPOL, &policy("p"));
    assert_eq!(code, 201, "{answer}");
    until("it is in force", || {
        let object = ask(&demo, "dev").send("GET", &format!("{CPOL}/p"), &[], "").json();
        let conditions = object["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|condition| condition["type"] == json!("Ready") && condition["status"] == json!("True")).then_some(())
    });
    let plan = machine.path("data/plan.json").display().to_string();
    for (status, args) in [
        (0, &["hold", "p", "-e", "dev", "--reason", "x", "--plan-out", &plan][..]),
        (0, &["hold", "p", "-e", "dev", "--reason", "x", "--yes"]),
        (0, &["timeline", "p"]),
        (0, &["history", "export"]),
        (0, &["audit", "show", "-o", "json"]),
        (0, &["status", "-o", "json", "-vv"]),
    ] {
        assert_eq!(machine.run(args), status, "{args:?}: {}", machine.printed);
    }
    let (printed, written) = machine.looked_through();
    assert!(printed.contains("\"http://127.0.0.1:") && written.contains("http://127.0.0.1:"), "the server is named without its userinfo");
}

#[test]
fn the_secret_of_a_generate_rule_is_whole_only_where_it_is_written() {
    let pace = Pace { reports: Duration::from_millis(50), ready: Duration::from_millis(50), scan: Duration::from_secs(3600) };
    let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
    let mut machine = Machine::new();
    machine.write("kubeconfig", &demo.kubeconfig());
    machine.write("config.toml", "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n");
    let rules = |machine: &mut Machine, state: &str| {
        let values = ["data", "stringData", "literal"].map(|place| machine.canary(&format!("{state} {place}")));
        json!({"rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Namespace"]}}]},
            "generate": {"apiVersion": "v1", "kind": "Secret", "name": "s", "namespace": "default", "synchronize": true,
                "data": {"kind": "Secret", "type": "Opaque", "data": {"a": STANDARD.encode(&values[0])}, "stringData": {"b": values[1]}}},
        }, {
            "name": "cel", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"cel": {"expressions": [{"expression": format!("[{{'kind': 'Secret', 'data': {{'c': '{}'}}}}] != []", values[2])}]}},
        }]})
    };
    let (before, after) = (rules(&mut machine, "old"), rules(&mut machine, "new"));
    let object = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": before});
    let (code, answer) = ask(&demo, "dev").post(CPOL, &object);
    assert_eq!(code, 201, "{answer}");
    // The archive of this has the former state.
    assert_eq!(machine.run(&["hold", "p", "-e", "dev", "--reason", "x", "--yes"]), 0, "{}", machine.printed);
    let (code, answer) = ask(&demo, "dev").merge(&format!("{CPOL}/p"), &json!({"spec": after}));
    assert_eq!(code, 200, "{answer}");
    let plan = machine.path("plan.json").display().to_string();
    for args in [
        &["rollback", "p", "-e", "dev", "--reason", "x", "--plan-out", &plan][..],
        &["rollback", "p", "-e", "dev", "--reason", "x", "--dry-run=client"],
        &["rollback", "p", "-e", "dev", "--list"],
    ] {
        assert_eq!(machine.run(args), 0, "{args:?}: {}", machine.printed);
    }
    assert_eq!(machine.run(&["rollback", "p", "-e", "dev", "--reason", "x", "--yes"]), 0, "{}", machine.printed);
    machine.run(&["audit", "show", "-o", "json"]);
    let (printed, _) = machine.looked_through_without("archives");
    assert!(printed.contains(" bytes (value 2)"), "a value that changes is seen to change: {printed}");
    let spec = ask(&demo, "dev").get(&format!("{CPOL}/p"))["spec"].to_string();
    let mut archives = Vec::new();
    gather(&machine.path("data/policydeck/archives"), &mut archives);
    let kept: String = archives.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let value = canary("old stringData");
    assert!(spec.contains(&value) && kept.contains(&value), "it is written whole");
}
