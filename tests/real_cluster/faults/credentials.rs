//! Credentials and addresses that change while policydeck runs: exec plugins, rewritten kubeconfigs, new certificates.

use super::{BACK, SOON, is, is_whole, let_pass, nothing_was_forgotten};
use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, environment};
use crate::support::proxy::{Fault, Proxy};
use crate::support::recount::{Count, recount};
use crate::support::seed::{Seeded, Shape};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files are looked at every 2 s, and read when they are at rest.
const PICKED_UP: Duration = Duration::from_secs(15);

/// A plugin is run again a minute after its credentials were refused, or a part of it by a hasty desk.
const LOGGED_IN: Duration = Duration::from_secs(80);

#[test]
fn credentials_that_change() {
    let Some(fleet) = Fleet::start(&["dev", "qac"], Options::default()) else { return };
    let (dev, qac) = (fleet.cluster("dev"), fleet.cluster("qac"));
    for (cluster, namespaces) in [(dev, 2), (qac, 1)] {
        cluster.install_crds(&crds("kyverno-1.18.2"));
        let mut seeded = Seeded::new(cluster, namespaces, 3, 5);
        seeded.reports(Shape::Resource);
    }
    let folder = tempfile::tempdir().unwrap();
    let late = Plugin::new(folder.path(), "late", "expired-token");
    let (_late_desk, mut logs_in) = a_login_that_comes_later(&fleet, &late);
    a_plugin_runs_once_and_in_silence(&fleet, folder.path());
    a_plugin_is_run_again_before_its_token_runs_out(&fleet, folder.path());
    a_kubeconfig_is_rewritten(&fleet, folder.path());
    another_cluster_takes_the_name(&fleet, folder.path());

    logs_in.until("the login is picked up by itself", LOGGED_IN, is_whole("dev"));
    logs_in.until_true("and everything is read", SOON, &[dev]);
    assert_eq!(late.runs(), 2, "once at first, and once after a minute");
    drop(logs_in);
    the_server_has_a_new_certificate(&fleet, folder.path());
}

/// An exec plugin that counts its runs, tries to talk and to listen, and gives what its file says.
struct Plugin {
    program: PathBuf,
    token: PathBuf,
    runs: PathBuf,
}

impl Plugin {
    fn new(folder: &Path, name: &str, token: &str) -> Self {
        let [program, token_file, runs] = ["plugin", "token", "runs"].map(|part| folder.join(format!("{name}-{part}")));
        let script = format!(
            "#!/bin/sh\necho run >> {}\necho 'Open your browser, NOISE' >&2\nread answer && exit 3\n\
             [ -s {} ] || {{ echo 'please log in first' >&2; exit 4; }}\n. {}\n",
            runs.display(),
            token_file.display(),
            token_file.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let plugin = Self { program, token: token_file, runs };
        plugin.gives(token, "");
        plugin
    }

    /// From now on the plugin gives this token, perhaps with a time of expiry (shell code that prints it).
    fn gives(&self, token: &str, expires: &str) {
        let expiry = if expires.is_empty() { String::new() } else { format!(",\"expirationTimestamp\":\"$({expires})\"") };
        let answer = format!(
            "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{{\"token\":\"{token}\"{expiry}}}}}"
        );
        fs::write(&self.token, format!("cat <<END\n{answer}\nEND\n")).unwrap();
    }

    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).unwrap_or_default().lines().count()
    }

    fn user(&self) -> Value {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": self.program, "interactiveMode": "IfAvailable", "provideClusterInfo": true}})
    }
}

/// A kubeconfig of the fleet, perhaps behind a proxy, in which `user` is who the context `dev` is.
fn kubeconfig(fleet: &Fleet, proxies: &[&Proxy], path: &Path, user: &Value) {
    Proxy::kubeconfig(fleet, proxies, path);
    edit(path, |kubeconfig| {
        let user = serde_json::from_value(json!({"name": "test", "user": user})).unwrap();
        kubeconfig.auth_infos.push(user);
        let context = kubeconfig.contexts.iter_mut().find(|named| named.name == "dev").unwrap();
        context.context.as_mut().unwrap().user = Some("test".to_owned());
    });
}

fn edit(path: &Path, change: impl FnOnce(&mut Kubeconfig)) {
    let mut kubeconfig = Kubeconfig::read_from(path).unwrap();
    change(&mut kubeconfig);
    fs::write(path, serde_json::to_vec(&kubeconfig).unwrap()).unwrap();
}

/// A desk with only `dev`.
fn desk(fleet: &Fleet, kubeconfig: &Path) -> Desk {
    let config = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }]\n";
    Desk::with_config(fleet, config).with_kubeconfig(kubeconfig.to_owned())
}

fn message(status: &Value) -> String {
    environment(status, "dev")["message"].as_str().unwrap_or_default().to_owned()
}

/// What the environment `dev` says is true of this cluster.
fn true_of(watch: &mut Watch, what: &str, cluster: &Cluster) {
    let api = cluster.api_as(User::Admin);
    eventually(what, BACK, || {
        let wrong = recount(&api).status_differences("dev", watch.latest());
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
}

/// A person logs in after the program was started: nobody has to tell it.
fn a_login_that_comes_later(fleet: &Fleet, plugin: &Plugin) -> (Desk, Watch) {
    let path = plugin.program.with_extension("kubeconfig");
    kubeconfig(fleet, &[], &path, &plugin.user());
    let desk = desk(fleet, &path).hasty();
    let mut watch = desk.watch(&["status", "--watch"]);
    let (_, status) = watch.until("a person has to log in", SOON, is("dev", "login-needed"));
    assert!(message(&status).contains("late-plugin") && message(&status).contains("401"), "{}", message(&status));
    plugin.gives("admin-token", "");
    (desk, watch)
}

fn a_plugin_runs_once_and_in_silence(fleet: &Fleet, folder: &Path) {
    let (plugin, path) = (Plugin::new(folder, "once", "admin-token"), folder.join("once"));
    kubeconfig(fleet, &[], &path, &plugin.user());
    let desk = desk(fleet, &path);
    let answer = desk.run(&["status", "-o", "json"]);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    assert_eq!(plugin.runs(), 1, "one client, one run");
    assert!(!answer.stderr.contains("NOISE") && !answer.stdout.contains("NOISE"), "{answer:?}");

    // What it complains about is said, on one line and in our words; it is not tried over and over.
    fs::write(&plugin.token, "").unwrap();
    let answer = desk.run(&["status"]);
    assert_eq!(answer.status, Some(4), "{answer:?}");
    assert!(answer.stderr.contains("please log in first") && !answer.stderr.contains("NOISE"), "{answer:?}");
    let before = plugin.runs();
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("a person has to log in", SOON, is("dev", "login-needed"));
    let_pass(Duration::from_secs(6));
    assert_eq!(plugin.runs() - before, 1, "a plugin may open a browser each time");
}

/// Streams go on while credentials are renewed, and while a server refuses what is new.
fn a_plugin_is_run_again_before_its_token_runs_out(fleet: &Fleet, folder: &Path) {
    let (plugin, path) = (Plugin::new(folder, "short", "admin-token"), folder.join("short"));
    plugin.gives("admin-token", "date -u -d '+22 seconds' +%Y-%m-%dT%H:%M:%SZ");
    let proxy = Proxy::before(fleet, "dev");
    kubeconfig(fleet, &[&proxy], &path, &plugin.user());
    let desk = desk(fleet, &path);
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("it is read", SOON, &[fleet.cluster("dev")]);
    let (mark, first) = (proxy.mark(), watch.seen.len() - 1);
    assert_eq!(plugin.runs(), 1);
    eventually("it runs again before the token runs out", Duration::from_secs(20), || {
        if plugin.runs() == 2 { Ok(()) } else { Err(plugin.runs()) }
    });
    // A server that refuses new credentials does not make for more of them.
    let runs = plugin.runs();
    let refused = proxy.fault("", Fault::status(401, "Unauthorized", "Unauthorized"));
    proxy.drop_connections();
    watch.until("a person has to log in", SOON, is("dev", "login-needed"));
    let_pass(Duration::from_secs(8));
    assert!(plugin.runs() - runs <= 1, "{} runs", plugin.runs() - runs);
    assert!(refused.hits() <= 40, "{} requests", refused.hits());
    refused.heal();
    watch.until("it is back", BACK, is_whole("dev"));
    nothing_was_forgotten(&watch, first, "dev");
    watch.until_true("and true", SOON, &[fleet.cluster("dev")]);
    assert_eq!(proxy.count(mark, "sendInitialEvents"), 0, "streams went on from their versions");
}

/// A token, then an address: both are picked up, and what concerns others is not.
fn a_kubeconfig_is_rewritten(fleet: &Fleet, folder: &Path) {
    let (dev, path) = (fleet.cluster("dev"), folder.join("rewritten"));
    let (old, new) = (Proxy::before(fleet, "dev"), Proxy::before(fleet, "dev"));
    kubeconfig(fleet, &[&old], &path, &json!({"token": "expired-token"}));
    let desk = desk(fleet, &path);
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("the token is refused", SOON, is("dev", "login-needed"));
    kubeconfig(fleet, &[&old], &path, &json!({"token": "admin-token"}));
    watch.until("a new token is picked up", PICKED_UP, is_whole("dev"));
    watch.until_true("and everything is read", SOON, &[dev]);

    // Another token for the same user: nothing is read again.
    let (mark, first) = (old.mark(), watch.seen.len() - 1);
    edit(&path, |kubeconfig| kubeconfig.current_context = Some("qac".to_owned()));
    edit(&path, |kubeconfig| kubeconfig.auth_infos.retain(|user| user.name == "test"));
    let_pass(Duration::from_secs(6));
    assert_eq!(old.count(mark, "watch=true"), 0, "what concerns others is no news");

    old.refuse();
    watch.until("the old address is dead", SOON, is("dev", "retrying"));
    kubeconfig(fleet, &[&new], &path, &json!({"token": "admin-token"}));
    watch.until("the new address is picked up", PICKED_UP, is_whole("dev"));
    nothing_was_forgotten(&watch, first, "dev");
    watch.until_true("and everything is true", SOON, &[dev]);
    assert!(new.count(0, "/policyreports") >= 1 && new.count(0, "/policyreports") <= 3, "{}", new.count(0, "/policyreports"));
}

/// The context is of another cluster from now on: its numbers are shown when they are whole, and nothing of the old one is called true meanwhile.
fn another_cluster_takes_the_name(fleet: &Fleet, folder: &Path) {
    let (dev, qac, path) = (fleet.cluster("dev"), fleet.cluster("qac"), folder.join("moved"));
    kubeconfig(fleet, &[], &path, &json!({"token": "admin-token"}));
    let desk = desk(fleet, &path);
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("dev is read", SOON, &[dev]);
    let (of_dev, of_qac) = (recount(&dev.api), recount(&qac.api));
    assert_ne!(Count::total(&of_dev.findings), Count::total(&of_qac.findings));
    let server = |name: &str| {
        let kubeconfig = Kubeconfig::read_from(fleet.kubeconfig()).unwrap();
        kubeconfig.clusters.into_iter().find(|named| named.name == name).unwrap().cluster
    };
    edit(&path, |kubeconfig| {
        kubeconfig.clusters.iter_mut().filter(|named| named.name == "dev").for_each(|named| named.cluster = server("qac"));
    });
    let (old, other) = (environment(watch.latest(), "dev")["server"].clone(), server("qac").unwrap().server.unwrap());
    assert_ne!(old, other.as_str());
    watch.until("the other server is asked", PICKED_UP, |status| environment(status, "dev")["server"] == other.as_str());
    true_of(&mut watch, "its numbers are there", qac);
    for (_, status) in &watch.seen {
        let item = environment(status, "dev");
        let is_old_news = item["server"] == other.as_str()
            && item["complete"] == true
            && item["findings"] != watch.seen.last().unwrap().1["items"][0]["findings"];
        assert!(!is_old_news, "the old cluster's numbers under the new one's name: {item}");
    }
}

/// The server has a new certificate, and the kubeconfig the old authority; then it has the new one.
fn the_server_has_a_new_certificate(fleet: &Fleet, folder: &Path) {
    let (dev, path) = (fleet.cluster("dev"), folder.join("certificate"));
    kubeconfig(fleet, &[], &path, &json!({"token": "admin-token"}));
    let desk = desk(fleet, &path);
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("it is read", SOON, &[dev]);
    let first = watch.seen.len() - 1;
    dev.signal("api", "KILL");
    for file in ["apiserver.crt", "apiserver.key"] {
        fs::remove_file(fleet.run.join("certs-dev").join(file)).unwrap();
    }
    fleet.restart(&["dev"]);
    let (_, status) = watch.until("it is not the server that was known", BACK, |status| message(status).contains("certificate"));
    assert_eq!(environment(&status, "dev")["state"], "retrying", "{status}");
    assert!(message(&status).contains("authority") && message(&status).contains("kubeconfig"), "{}", message(&status));
    kubeconfig(fleet, &[], &path, &json!({"token": "admin-token"}));
    watch.until("the new authority is picked up", PICKED_UP, is_whole("dev"));
    nothing_was_forgotten(&watch, first, "dev");
    true_of(&mut watch, "and everything is true", dev);
}
