//! Configurations and kubeconfigs of any text.

use crate::settings::{Contexts, first_config, parse};
use crate::testing::{broken, cases, deep, many_cases};

/// A configuration that says everything.
const CONFIG: &str = r#"
gates = { max_violations = 0, max_blocked = 0, evidence = "clock", acknowledge_unknown = true }
keys = { quit = "ctrl-q" }
ui = { ascii = false, color = "auto" }
history = { record = true, keep = "400d" }
[[environments]]
name = "dev"
context = "kind-dev"
[[environments]]
name = "prod"
context = "kind-prod"
kubeconfig = "~/.kube/prod"
namespaces = ["web-*", "api"]
tier = "production"
read_only = true
gitops = "refuse"
git = { repo = "https://example.com/x.git", path = "policies", branch = "main", push = "branch" }
freeze = [{ from = 2026-12-20T00:00:00Z, until = "2027-01-04T00:00:00Z", reason = "holidays" }]
prometheus = { url = "https://prom.example.com:9090/x", matchers = "cluster=\"prod\",a!~'b|c'", token_env = "TOKEN", ca_file = "ca.pem", tenant = "t" }
steps = [{ mode = "audit", soak = "7d" }, { mode = "enforce", soak = "1d", max_violations = 3 }]
"#;

const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncontexts:\n- {name: dev, context: {cluster: c, user: u, namespace: web}}\n- name: \"x\"\n  context: &a\n    cluster: 7\n- name: y\n  context: *a\nclusters:\n- {name: c, cluster: {server: 'https://one:6443'}}\nusers: null\ncurrent-context: dev\n";

#[test]
fn the_configuration_that_is_broken_is_good() {
    let loaded = parse("config.toml", CONFIG, &["quit"]).unwrap();
    assert_eq!(loaded.settings.environments.len(), 2);
}

#[test]
fn configurations_of_any_text_are_read_or_refused_with_a_place() {
    let seeds = [CONFIG.as_bytes().to_vec(), include_bytes!("../../../assets/config.example.toml").to_vec()];
    cases("configurations_of_any_text", 500, |dice| {
        let text = String::from_utf8_lossy(&broken(&seeds, dice)).into_owned();
        let lines = text.lines().count() + 1;
        if let Err(problems) = parse("config.toml", &text, &["quit"]) {
            assert!(!problems.0.is_empty(), "{text}");
            assert!(problems.0.iter().all(|problem| (1..=lines).contains(&problem.line)), "{problems}");
        }
    });
}

#[test]
fn kubeconfigs_of_any_text_are_read_or_refused() {
    let json =
        r#"{"apiVersion":"v1","kind":"Config","contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],"current-context":"a"}"#;
    let seeds = [KUBECONFIG.as_bytes().to_vec(), json.as_bytes().to_vec()];
    assert!(seeds.iter().all(|seed| Contexts::parse([("k", std::str::from_utf8(seed).unwrap())]).is_ok()));
    cases("kubeconfigs_of_any_text", 3_000, |dice| {
        let text = String::from_utf8_lossy(&broken(&seeds, dice)).into_owned();
        match Contexts::parse([("k", text.as_str()), ("good", KUBECONFIG)]) {
            // What it offers can be written into a configuration.
            Ok(contexts) => drop(parse("config.toml", &first_config(&contexts), &[])),
            Err(error) => assert!(error.starts_with("k:") && error.contains(": not a kubeconfig"), "{error}"),
        }
    });
}

#[test]
fn texts_that_are_deeper_than_any_stack_or_bigger_than_they_look_are_refused() {
    // Each is a thousand times as long as what the other tests make, and takes as long.
    many_cases("texts_that_are_deeper", 60_000, 1_000, |dice| {
        let deep = String::from_utf8_lossy(&deep(dice)).into_owned();
        drop(parse("config.toml", &format!("a = {deep}"), &[]));
        drop(parse("config.toml", &"[a.b]\nx.y.".repeat(2_000), &[]));
        drop(Contexts::parse([("k", format!("contexts: {deep}").as_str())]));
    });
    let bomb: Vec<String> = (1..40).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}]", m = n - 1)).collect();
    assert!(Contexts::parse([("k", format!("a0: &a0 [x]\n{}\ncontexts: *a39\n", bomb.join("\n")).as_str())]).is_err());
}
