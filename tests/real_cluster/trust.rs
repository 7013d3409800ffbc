//! What others may write, and what it cannot make policydeck do: on real API servers, with what these really take.

use super::faults::let_pass;
use super::guard::{create, tenant_may_write_evidence};
use super::operators;
use super::terminal_faults::{self, SIZE};
use crate::support::api::Reply;
use crate::support::cluster::{Cluster, Fleet, Need, Options, RUNNING, User, crds};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, end, environment};
use crate::support::screen::Session;
use crate::support::seed::{Seeded, Shape};
use policydeck::cluster::ClusterSpec;
use policydeck::domain::ResourceRef;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);
const REPORTED: Duration = Duration::from_secs(180);
const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2";

fn policy(name: &str, message: &str) -> Value {
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"validationFailureAction": "Audit", "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"]}}]},
            "validate": {"message": message, "pattern": {"metadata": {"labels": {"team": "?*"}}}}}]}})
}

fn result(policy: &str, result: &str, resource: &Value) -> Value {
    json!({"source": "kyverno", "policy": policy, "rule": "r", "result": result, "message": "m", "resources": [resource]})
}

/// A report of a namespace, or of the whole cluster.
fn report(namespace: Option<&str>, name: &str, results: &Value) -> Value {
    let kind = if namespace.is_some() { "PolicyReport" } else { "ClusterPolicyReport" };
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "results": results})
}

fn post(cluster: &Cluster, path: &str, object: &Value) -> Value {
    cluster.api.post(path, object).unwrap().ok()
}

fn post_report(cluster: &Cluster, namespace: &str, name: &str, results: &Value) {
    post(cluster, &format!("{REPORTS}/namespaces/{namespace}/policyreports"), &report(Some(namespace), name, results));
}

fn post_policy(cluster: &Cluster, name: &str, message: &str) {
    post(cluster, "/apis/kyverno.io/v1/clusterpolicies", &policy(name, message));
}

/// A cluster with Kyverno's CRDs and nothing else of it.
fn ready(fleet: &Fleet) -> &Cluster {
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds(RUNNING));
    dev.namespace("team-a");
    dev
}

#[test]
fn what_a_report_names_leads_nowhere_else() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = ready(&fleet);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": "hunter2"}});
    let secret = post(dev, "/api/v1/namespaces/team-a/secrets", &secret);
    let uid = secret["metadata"]["uid"].as_str().unwrap().to_owned();
    paths_and_other_objects(&fleet, dev, &uid);

    post_policy(dev, "has-team", "no team");
    let reference = json!({"apiVersion": "v1", "kind": "Secret", "namespace": "team-a", "name": "db", "uid": uid});
    post_report(dev, "team-a", "db", &json!([result("has-team", "fail", &reference)]));
    a_secret_behind_a_finding(&Desk::new(&fleet, User::Admin, ""));

    letters_that_look_alike(&fleet, dev);
    idle_connections(&Desk::new(&fleet, User::Admin, ""));
}

/// What reports may name: the API server takes any text in a reference.
fn paths_and_other_objects(fleet: &Fleet, dev: &Cluster, uid: &str) {
    let spec = ClusterSpec { request_timeout: Duration::from_secs(10), ..ClusterSpec::of_context("dev", fleet.kubeconfig()) };
    let engine = dev.api.wait(async { policydeck::engine::start(vec![spec]) });
    dev.api.wait(async { engine.fleet().wait_for(|fleet| fleet.environments[0].complete).await.map(drop) }).unwrap();
    let ask = |api_version: &str, kind: &str, namespace: &str, name: &str, uid: &str| {
        let [api_version, kind, namespace, name, uid] = [api_version, kind, namespace, name, uid].map(str::to_owned);
        let reference = ResourceRef { api_version, kind, namespace, name, uid };
        dev.api.wait(engine.object("dev", reference)).map_err(|failure| failure.what)
    };
    assert_eq!(ask("v1", "Secret", "team-a", "db", uid).unwrap()["metadata"]["name"], "db");
    for (api_version, kind, namespace, name, uid, why) in [
        ("example.com/v1", "Widget", "team-a", "w", "", "does not serve"),
        ("v7", "Secret", "team-a", "db", "", "does not serve"),
        ("v1/namespaces/team-a", "Secret", "team-a", "db", "", "does not serve"),
        ("v1", "secrets/db", "team-a", "x", "", "does not serve"),
        ("v1", "ConfigMap", "team-a", "../secrets/db", "", "is not a valid name"),
        ("v1", "ConfigMap", "team-a/secrets", "db", "", "is not a valid namespace"),
        ("v1", "ConfigMap", "../team-a", "db", "", "is not a valid namespace"),
        ("v1", "ConfigMap", "team-a", "db?watch=true", "", "no longer exists"),
        ("v1", "Secret", "team-a", "db", "another-uid", "another object of that name"),
    ] {
        let told = ask(api_version, kind, namespace, name, uid).map(|object| object["metadata"].clone());
        assert!(told.as_ref().is_err_and(|told| told.contains(why)), "{api_version} {kind} {namespace} {name}: {told:?}");
    }
}

/// The screen shows keys and lengths, and the values by a key.
fn a_secret_behind_a_finding(desk: &Desk) {
    let mut session = Session::start(desk.in_terminal(&[]), SIZE);
    session.until_text("● live");
    session.until_text("has-team");
    session.keys("\u{1b}[C\u{1b}[B\r");
    session.until_text("Secret/db");
    session.keys("\u{1b}[F");
    session.keys("y");
    session.until_text("password: \"7 bytes\"");
    let shows = |text: &str| ["hunter2", "aHVudGVyMg"].iter().any(|value| text.contains(value));
    assert!(!shows(&session.text()), "{}", session.text());
    session.keys("x");
    session.until_text("password: hunter2");
    session.keys("x");
    session.until("hidden again", |screen| !shows(&screen.contents()));
    session.keys("\u{3}");
    assert_eq!(session.ended().status, 0);
}

/// Names are those of DNS; what a report says, and what annotations hold, is any text.
fn letters_that_look_alike(fleet: &Fleet, dev: &Cluster) {
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": name});
    let mut results = [result("titled", "fail", &pod("payments")), result("titled", "pass", &pod("p\u{430}yments"))];
    results[0]["message"] = json!("use the \u{440}latform\u{200b}team's image");
    post_report(dev, "team-a", "alike", &json!(results));
    let mut titled = policy("titled", "m");
    titled["metadata"]["annotations"] = json!({"policies.kyverno.io/category": "S\u{435}curity\u{202e}"});
    post(dev, "/apis/kyverno.io/v1/clusterpolicies", &titled);
    let odd = post(dev, "/apis/kyverno.io/v1/clusterpolicies", &policy("plain", "m"));
    assert_eq!(odd["metadata"]["name"], "plain");
    let refused: Reply = dev.api.post("/apis/kyverno.io/v1/clusterpolicies", &policy("pl\u{430}in", "m")).unwrap();
    assert_eq!(refused.status, 422, "a name is one of DNS: {}", refused.body);
    let desk = Desk::new(fleet, User::Admin, "");
    for format in ["table", "csv"] {
        let findings = desk.run(&["findings", "-o", format]);
        let text = findings.stdout;
        assert!(text.contains("p\\u{430}yments") && text.contains("\\u{440}latform\\u{200b}team"), "{format}: {text}");
        assert!(text.contains("payments") && !text.contains(['\u{430}', '\u{440}', '\u{200b}']), "{format}: {text}");
    }
    let policies = desk.run(&["policies", "-o", "csv"]).stdout;
    assert!(policies.contains("S\\u{435}curity") && !policies.contains(['\u{435}', '\u{202e}']), "{policies}");
    let (findings, _) = desk.json(&["findings"]);
    assert!(findings.to_string().contains("p\u{430}yments"), "data have the text itself: {findings}");
}

/// A recorder with a port, and its address.
fn observing(desk: &Desk, args: &[&str]) -> (Child, String) {
    let mut child = desk.command(&[&["observe", "--listen", "127.0.0.1:0"], args].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("http://")?.strip_suffix("/metrics")?.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

/// Status and body of a page.
fn page(address: &str, path: &str) -> Result<(u16, String), String> {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().map_err(|error| error.to_string())?;
    let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| answer.clone())?;
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// More idle and half-open connections than the port holds: probes and scrapes get their answers.
fn idle_connections(desk: &Desk) {
    let (recorder, address) = observing(desk, &[]);
    eventually("it records", SOON, || match page(&address, "/readyz")? {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let mut idle = Vec::new();
    for count in 0..200 {
        let mut stream = TcpStream::connect(&address).unwrap();
        if count % 2 == 0 {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
        }
        idle.push(stream);
        if count % 50 == 49 {
            for path in ["/healthz", "/readyz", "/metrics"] {
                assert_eq!(page(&address, path).unwrap().0, 200, "{path} beside {} idle connections", idle.len());
            }
        }
    }
    assert!(page(&address, "/metrics").unwrap().1.contains("policydeck_"), "the page is whole");
    drop(idle);
    end(recorder);
}

/// The fleet's kubeconfig as JSON.
fn kubeconfig(fleet: &Fleet) -> Value {
    let text = std::fs::read_to_string(fleet.kubeconfig()).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn named<'a>(kubeconfig: &'a mut Value, list: &str, name: &str) -> &'a mut Value {
    kubeconfig[list].as_array_mut().unwrap().iter_mut().find(|entry| entry["name"] == name).unwrap()
}

#[test]
fn a_broken_entry_of_a_kubeconfig_stops_one_environment() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = ready(&fleet);
    let mut seeded = Seeded::new(dev, 1, 2, 7);
    seeded.reports(Shape::Resource);
    let good = kubeconfig(&fleet);
    beside_good_ones(&fleet, &good, dev);
    rewritten_while_the_screen_runs(&fleet, &good, &mut seeded);
}

/// Entries that cannot be used, each with an environment of its own.
fn beside_good_ones(fleet: &Fleet, good: &Value, dev: &Cluster) {
    let broken = [
        ("token", json!({"token": "c\u{1}anary"}), json!({"server": "https://127.0.0.1:1"})),
        ("server", json!({"token": "t"}), json!({"server": "//canary user@host"})),
        ("proxy", json!({"token": "t"}), json!({"server": "https://127.0.0.1:1", "proxy-url": "canary://\n"})),
        ("type", json!({"token": ["canary"]}), json!({"server": "https://127.0.0.1:1"})),
        (
            "exec",
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": 7, "args": "canary"}}),
            json!({"server": "https://127.0.0.1:1"}),
        ),
    ];
    let mut all = good.clone();
    let mut config = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n".to_owned();
    for (name, user, cluster) in &broken {
        for (list, field, value) in [("users", "user", user), ("clusters", "cluster", cluster)] {
            let entry = json!({"name": name, field: value});
            all[list].as_array_mut().unwrap().push(entry);
        }
        all["contexts"].as_array_mut().unwrap().push(json!({"name": name, "context": {"cluster": name, "user": name}}));
        for part in ["[[environments]]\nname = \"", name, "\"\ncontext = \"", name, "\"\n"] {
            config.push_str(part);
        }
    }
    let desk = Desk::with_config(fleet, &config);
    let path = desk.home().join("kubeconfig");
    std::fs::write(&path, all.to_string()).unwrap();
    let desk = desk.with_kubeconfig(path.clone());
    let (status, code) = desk.json(&["status", "--wait", "20s"]);
    assert_eq!(code, Some(4), "not all of it is known: {status:#}");
    let counted = crate::support::recount::recount(&dev.api);
    assert_eq!(counted.status_differences("dev", &status), Vec::<String>::new(), "the good one is whole");
    let mut said = Vec::new();
    for (name, ..) in &broken {
        let one = environment(&status, name);
        let message = one["message"].as_str().unwrap_or_default();
        assert!(one["complete"] == false && one["state"] != "live" && !message.is_empty(), "{name}: {one:#}");
        said.push(format!("{name}: {message}"));
    }
    assert!(!status.to_string().contains("anary"), "{status:#}");
    let file = path.display().to_string();
    for (name, part) in [("token", "the token holds"), ("server", "cluster url"), ("proxy", "proxy url"), ("type", &file), ("exec", &file)]
    {
        assert!(said.iter().any(|line| line.starts_with(&format!("{name}: ")) && line.contains(part)), "{name}: {said:#?}");
    }
}

/// The screen goes on with what it has, says what is wrong, and takes up what is right again.
fn rewritten_while_the_screen_runs(fleet: &Fleet, good: &Value, seeded: &mut Seeded<'_>) {
    let desk = Desk::new(fleet, User::Admin, "");
    let path = desk.home().join("kubeconfig");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(&good.to_string());
    let desk = desk.with_kubeconfig(path.clone());
    let mut session = Session::start(desk.in_terminal(&[]), SIZE);
    terminal_faults::until_true("to begin with", SOON, &session, fleet);
    let user = good["contexts"].as_array().unwrap().iter().find(|entry| entry["name"] == "dev").unwrap()["context"]["user"].clone();
    let user = user.as_str().unwrap();
    let mut broken = good.clone();
    *named(&mut broken, "users", user) = json!({"name": user, "user": {"token": "c\u{1}anary"}});
    let mut absent = good.clone();
    absent["users"] = json!([]);
    for text in ["users: [{name: canary", "canary", "", &broken.to_string(), &absent.to_string(), &"[".repeat(100_000)] {
        write(text);
        seeded.churn(10);
        // The file is looked at every two seconds. What runs with the former credentials runs on, or says why it does not.
        let_pass(Duration::from_secs(4));
        let screen = session.text();
        assert!(screen.contains("dev") && !screen.contains("anary"), "{screen}");
        assert_eq!(session.status(), None, "{screen}");
        write(&good.to_string());
        terminal_faults::until_true("with the good one again", SOON, &session, fleet);
    }
    session.keys(":q\r");
    assert_eq!(session.ended().status, 0);
}

/// Everything below a folder with its mode.
fn modes(folder: &Path, out: &mut Vec<(PathBuf, u32)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, mode) = (entry.path(), entry.metadata().unwrap().permissions().mode() & 0o7777);
        if path.is_dir() {
            modes(&path, out);
        }
        out.push((path, mode));
    }
}

/// A command with umask 0.
fn open_handed(desk: &Desk, args: &[&str]) -> Command {
    let plain = desk.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn what_a_promotion_leaves_behind_belongs_to_its_owner_alone() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, shop) = (fleet.cluster("dev"), fleet.own_namespace("shop"));
    let name = fleet.name("private");
    dev.apply(&operators::policy(&name, &shop, "Audit"));
    dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", &name, "--timeout=60s"]);
    dev.apply(&operators::pod("web", &shop, "nginx:1.27"));
    let config =
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\", max_blocked = 99 }]\n";
    let desk = Desk::with_config(&fleet, config);
    let recorder = open_handed(&desk, &["observe"]).stderr(Stdio::null()).spawn().unwrap();
    let plan = desk.home().join("data/plan.json");
    eventually("the promotion", REPORTED, || {
        let done = open_handed(&desk, &["promote", &name, "--yes", "-v"]).output().unwrap();
        if done.status.code() == Some(0) { Ok(()) } else { Err(format!("{done:?}")) }
    });
    assert_eq!(operators::action(dev, &name), "Enforce");
    let planned = open_handed(&desk, &["demote", &name, "--plan-out", &plan.display().to_string()]).output().unwrap();
    assert_eq!(planned.status.code(), Some(0), "{planned:?}");
    end(recorder);
    let mut all = Vec::new();
    for folder in ["data", "state", "cache", "config"] {
        modes(&desk.home().join(folder), &mut all);
    }
    let has = |part: &str| all.iter().any(|(path, _)| path.is_file() && path.to_string_lossy().contains(part));
    for part in ["/archives/", "/journal/", "history.db", "plan.json", "/logs/"] {
        assert!(has(part), "{part}: {all:?}");
    }
    for (path, mode) in &all {
        assert_eq!(*mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

/// A cluster-scoped kind of its own.
fn crd(kind: &str, plural: &str) -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string()
}

#[test]
fn a_tenant_speaks_for_its_namespace_and_for_so_much() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = ready(&fleet);
    tenant_may_write_evidence(dev);
    custom_kinds(&fleet, dev);
    objects_that_are_too_large(&fleet, dev);
    policies_that_fill_the_history(&fleet, dev);
}

/// What lives in no namespace is none of a tenant's, whenever its CRD comes.
fn custom_kinds(fleet: &Fleet, dev: &Cluster) {
    dev.apply(&crd("Region", "regions"));
    dev.kubectl(&["wait", "--for=condition=Established", "crd/regions.example.com", "--timeout=60s"]);
    post_policy(dev, "regional", "m");
    let of = |kind: &str, uid: &str| json!({"apiVersion": "example.com/v1", "kind": kind, "name": "eu", "uid": uid});
    let cluster_wide = report(None, "regions", &json!([result("regional", "fail", &of("Region", "u1"))]));
    post(dev, &format!("{REPORTS}/clusterpolicyreports"), &cluster_wide);
    let claims = [result("regional", "pass", &of("Region", "u1")), result("regional", "pass", &of("Zone", "u2"))];
    create(dev, super::guard::TENANT, &report(Some("team-a"), "claims", &json!(claims))).expect("a tenant may write it");
    let desk = Desk::new(fleet, User::Admin, "");
    let mut watch = desk.watch(&["status", "--watch"]);
    let counts = |status: &Value| {
        let dev = environment(status, "dev");
        let number = |path: &str| dev.pointer(path).and_then(Value::as_u64);
        (number("/findings/pass"), number("/findings/fail"), number("/foreign"), dev["complete"] == true)
    };
    let mut until = |what: &str, wanted: (u64, u64, u64)| {
        let (pass, fail, foreign) = wanted;
        watch.until(what, SOON, |status| counts(status) == (Some(pass), Some(fail), Some(foreign), true));
    };
    // Nobody knows yet what a Zone is; a Region is in no namespace.
    until("a claim about a cluster-scoped kind is foreign", (1, 1, 1));
    dev.apply(&crd("Zone", "zones"));
    until("also about one that comes later", (0, 1, 2));
    dev.kubectl(&["delete", "crd", "zones.example.com", "regions.example.com"]);
    until("and not about one that is gone", (2, 1, 0));
    dev.apply(&crd("Region", "regions"));
    until("and again when it is back", (1, 1, 1));
    let listed = desk.json(&["findings", "--filter", "foreign=yes"]).0;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed:#}");
    dev.kubectl(&["delete", "policyreport", "claims", "-n", "team-a"]);
    until("it goes with its report", (0, 1, 0));
}

/// One object that is larger than is read makes its environment incomplete, in a list and in a watch.
fn objects_that_are_too_large(fleet: &Fleet, dev: &Cluster) {
    let large = |count: usize| {
        let one = |n: usize| {
            result("regional", "fail", &json!({"apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": format!("p{n}")}))
        };
        Value::from((0..count).map(one).collect::<Vec<_>>())
    };
    post_report(dev, "team-a", "listed", &large(1_000));
    let desk = Desk::new(fleet, User::Admin, "");
    let start = |limit: &str| {
        let mut command = desk.command(&["status", "--watch", "-o", "json"]);
        command.env("POLICYDECK_OBJECT_LIMIT", limit).stdout(Stdio::piped());
        Watch::of(command.spawn().unwrap())
    };
    let malformed = |count: u64| {
        move |status: &Value| {
            let dev = environment(status, "dev");
            dev["malformed"] == count && dev["complete"] == (count == 0) && dev["findings"]["fail"] == 1
        }
    };
    let mut watch = start("65536");
    let (_, status) = watch.until("a list with an object that is too large", SOON, malformed(1));
    assert!(environment(&status, "dev")["notes"].to_string().contains("policyreports"), "{status:#}");
    post_report(dev, "team-a", "watched", &large(900));
    watch.until("a watch with one", SOON, malformed(2));
    let known = start("16777216").until("with the usual limit", SOON, |status| environment(status, "dev")["complete"] == true).1;
    assert_eq!(environment(&known, "dev")["findings"]["fail"], 1_001);
    dev.kubectl(&["delete", "policyreport", "listed", "watched", "-n", "team-a"]);
    start("65536").until("without them it is complete", SOON, malformed(0));
}

/// More text than the history may hold: the file stays near its size, and the port says so.
fn policies_that_fill_the_history(fleet: &Fleet, dev: &Cluster) {
    const MOST: u64 = 16 << 20;
    let mut dice = crate::support::seed::Random(11);
    let mut text = || {
        (0..700_000).map(|_| char::from(b'!' + u8::try_from(dice.below(90)).unwrap())).filter(|c| !"{}$\\".contains(*c)).collect::<String>()
    };
    for number in 0..36 {
        post_policy(dev, &format!("large-{number}"), &text());
    }
    let config = "[history]\nmax_size = \"16MiB\"\n\n[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n";
    let desk = Desk::with_config(fleet, config);
    let (recorder, address) = observing(&desk, &[]);
    eventually("the history is full", REPORTED, || match page(&address, "/readyz")? {
        (503, why) if why.contains("history.max_size (16 MiB)") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(page(&address, "/healthz").unwrap().0, 200, "it goes on");
    // How much of the last writes is still in the write-ahead log depends on the moment: it is merged into the file at the end.
    end(recorder);
    let mut files = Vec::new();
    modes(&desk.home().join("data"), &mut files);
    let size: u64 = files.iter().filter(|(path, _)| path.is_file()).map(|(path, _)| std::fs::metadata(path).unwrap().len()).sum();
    assert!(size > MOST / 2 && size < MOST + (8 << 20), "{size} bytes: {files:?}");
    let (status, code) = desk.json(&["status"]);
    assert_eq!((code, &environment(&status, "dev")["complete"]), (Some(0), &json!(true)), "{status:#}");
}
