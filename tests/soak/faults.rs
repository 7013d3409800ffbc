//! What goes wrong, one thing at a time: each breaks something, holds it for a while, and has healed it when it returns.

use crate::etcd;
use crate::ground::{Ground, SIZE};
use crate::support::cluster::{Cluster, crds};
use crate::support::eventually;
use crate::support::product::{environment, state_of};
use crate::support::proxy::{Act, Fault as Meets};
use crate::support::seed::Random;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Killed,
    Hung,
    Compacted,
    KindGone,
    Denied,
    Dropped,
    Refused,
    Busy,
    Failing,
    Slow,
    StuckStream,
    StuckServer,
    Malformed,
    Truncated,
    LoginExpired,
    KubeconfigRewritten,
    Stopped,
    Resized,
    Unread,
    Suspended,
}

const ALL: [Fault; 20] = [
    Fault::Killed,
    Fault::Hung,
    Fault::Compacted,
    Fault::KindGone,
    Fault::Denied,
    Fault::Dropped,
    Fault::Refused,
    Fault::Busy,
    Fault::Failing,
    Fault::Slow,
    Fault::StuckStream,
    Fault::StuckServer,
    Fault::Malformed,
    Fault::Truncated,
    Fault::LoginExpired,
    Fault::KubeconfigRewritten,
    Fault::Stopped,
    Fault::Resized,
    Fault::Unread,
    Fault::Suspended,
];

/// What was done, for the report.
pub(crate) struct Played {
    /// Which environments it was about; empty for policydeck itself.
    pub(crate) place: String,
    pub(crate) what: String,
}

/// All faults in random order, again and again.
#[derive(Default)]
pub(crate) struct Deal(Vec<Fault>);

impl Deal {
    pub(crate) fn next(&mut self, random: &mut Random, long: bool) -> Fault {
        if self.0.is_empty() {
            // A watch that hangs alone is found out after a minute and a half, and a refused login is tried again after a minute.
            self.0.extend(ALL.into_iter().filter(|fault| long || !matches!(fault, Fault::StuckStream | Fault::LoginExpired)));
        }
        let chosen = random.index(self.0.len());
        self.0.swap_remove(chosen)
    }
}

/// How soon what was done to a server shows.
const SHOWS: Duration = Duration::from_secs(40);

/// A watch that is silent for 95 s is opened again.
const FOUND_OUT: Duration = Duration::from_secs(120);

impl Fault {
    /// Breaks and heals.
    pub(crate) fn play(self, ground: &mut Ground<'_>) -> Played {
        let place = ground.somewhere();
        let cluster = ground.cluster(place);
        let what = match self {
            Self::Killed => killed(ground, cluster, (1, 15)),
            Self::Hung => hung(ground, cluster),
            Self::Compacted => compacted(ground, place),
            Self::KindGone => kind_gone(ground, place),
            Self::Denied => denied(ground, place),
            Self::Dropped => return dropped(ground),
            Self::Refused => refused(ground, place),
            Self::Busy | Self::Failing => answered(ground, place, self == Self::Busy),
            Self::Slow => slow(ground, place),
            Self::StuckStream => stuck_stream(ground, place),
            Self::StuckServer => stuck_server(ground, place),
            Self::Malformed => malformed(ground, place),
            Self::Truncated => truncated(ground, place),
            Self::LoginExpired => login_expired(ground, place),
            Self::KubeconfigRewritten | Self::Stopped | Self::Resized | Self::Unread | Self::Suspended => {
                return Played { place: String::new(), what: self.at_the_desk(ground) };
            }
        };
        Played { place: cluster.name.clone(), what }
    }

    fn at_the_desk(self, ground: &mut Ground<'_>) -> String {
        match self {
            Self::KubeconfigRewritten => kubeconfig_rewritten(ground),
            Self::Stopped => stopped(ground),
            Self::Resized => resized(ground),
            Self::Unread => unread(ground),
            _ => suspended(ground),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Holds for a while, and says how long.
fn hold(ground: &mut Ground<'_>, between: (u64, u64)) -> String {
    let time = ground.plan.hold(&mut ground.random, between);
    sleep(time);
    seconds(time)
}

fn killed(ground: &mut Ground<'_>, cluster: &Cluster, between: (u64, u64)) -> String {
    cluster.signal("api", "KILL");
    let held = hold(ground, between);
    ground.fleet.restart(&[&cluster.name]);
    format!("API server killed, started {held} later")
}

fn hung(ground: &mut Ground<'_>, cluster: &Cluster) -> String {
    cluster.signal("api", "STOP");
    let held = hold(ground, (5, 25));
    cluster.signal("api", "CONT");
    format!("API server stopped for {held}")
}

/// The version that watches would go on from is gone from server and etcd: a real 410.
fn compacted(ground: &mut Ground<'_>, place: usize) -> String {
    let (cluster, mark) = (ground.cluster(place), ground.proxies[place].mark());
    cluster.signal("api", "KILL");
    // The other clusters share the etcd and go on: its revision runs away from what was last seen here.
    hold(ground, (3, 8));
    let revision = etcd::compact(ground.fleet);
    ground.fleet.restart(&[&cluster.name]);
    let lists = || ground.proxies[place].count(mark, "sendInitialEvents=true");
    eventually("old versions are gone, so lists begin again", SHOWS, || if lists() > 0 { Ok(()) } else { Err("no list yet") });
    format!("API server killed, etcd compacted to revision {revision}, API server started")
}

fn kind_gone(ground: &mut Ground<'_>, place: usize) -> String {
    let cluster = ground.cluster(place);
    let release = crate::RELEASES[place];
    let (reports, openreports) = (("wgpolicyk8s.io", "policyreports", "PolicyReport"), ("openreports.io", "reports", "Report"));
    let reports = if crate::OPENREPORTS == place { openreports } else { reports };
    let policies = ("kyverno.io", "clusterpolicies", "ClusterPolicy");
    let (group, plural, kind) = *ground.random.pick(&[reports, policies]);
    ground.may_forget.insert(cluster.name.clone());
    let mut seeded = ground.still(place);
    cluster.kubectl(&["delete", "crd", &format!("{plural}.{group}")]);
    until(ground, &cluster.name, |item| state_of(item, group, kind) == "not-installed");
    let folder = if group == "openreports.io" { "openreports" } else { release };
    cluster.install_crds(&crds(folder));
    if kind == "ClusterPolicy" {
        seeded.policies();
    } else {
        seeded.restore();
    }
    drop(seeded);
    format!("CRD {plural}.{group} deleted, made again with its objects")
}

fn denied(ground: &mut Ground<'_>, place: usize) -> String {
    let cluster = ground.cluster(place);
    let kinds = [
        ("wgpolicyk8s.io", "policyreports", "PolicyReport"),
        ("kyverno.io", "clusterpolicies", "ClusterPolicy"),
        ("", "pods", "Pod"),
        ("", "events", "Event"),
    ];
    let (group, plural, kind) = *ground.random.pick(&kinds);
    ground.may_forget.insert(cluster.name.clone());
    take_right(cluster, group, plural);
    // Rights are looked at when a watch begins.
    sleep(Duration::from_secs(1));
    ground.proxies[place].drop_connections();
    until(ground, &cluster.name, |item| state_of(item, group, kind) == "denied");
    let held = hold(ground, (5, 15));
    crate::give_rights(cluster);
    format!("the right to read {plural} taken for {held}")
}

/// Takes a kind out of the role that the viewers are bound to.
fn take_right(cluster: &Cluster, group: &str, plural: &str) {
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/policydeck-viewer";
    let mut role = cluster.api.get(path).expect("the API server answers").ok();
    for rule in role["rules"].as_array_mut().into_iter().flatten() {
        let here = rule["apiGroups"].as_array().is_some_and(|groups| groups.contains(&group.into()));
        if let Some(resources) = rule["resources"].as_array_mut().filter(|_| here) {
            resources.retain(|resource| resource != plural);
        }
    }
    let rules = role["rules"].as_array().into_iter().flatten().filter(|rule| rule["resources"] != json!([])).cloned().collect::<Vec<_>>();
    cluster.api.merge_patch(path, &json!({"rules": rules})).expect("the API server answers").ok();
}

fn dropped(ground: &mut Ground<'_>) -> Played {
    for _ in 0..3 {
        ground.proxies.iter().for_each(crate::support::proxy::Proxy::drop_connections);
        sleep(Duration::from_millis(700));
    }
    Played { place: "all".to_owned(), what: "all connections cut, three times".to_owned() }
}

fn refused(ground: &mut Ground<'_>, place: usize) -> String {
    ground.proxies[place].refuse();
    let held = hold(ground, (5, 25));
    ground.proxies[place].accept();
    format!("connections refused for {held}")
}

fn answered(ground: &mut Ground<'_>, place: usize, busy: bool) -> String {
    let (meets, what) = match (busy, ground.random.below(2)) {
        (true, _) => (Meets::too_many(Some("1")), "429, wait a second"),
        (false, 0) => (Meets::status(500, "InternalError", "etcdserver: leader changed"), "500"),
        _ => (Meets::bad_gateway(), "502 with a page of HTML"),
    };
    let faulty = ground.proxies[place].fault("GET", meets);
    ground.proxies[place].drop_connections();
    let held = hold(ground, (5, 20));
    let hits = faulty.hits();
    faulty.heal();
    format!("every request answered {what} for {held}: {hits} requests")
}

fn slow(ground: &mut Ground<'_>, place: usize) -> String {
    let rate = 20_000 + ground.random.below(60_000);
    let faulty = ground.proxies[place].fault("GET !/version", Meets::Throttle(rate));
    ground.proxies[place].drop_connections();
    let held = hold(ground, (10, 25));
    faulty.heal();
    format!("{} kB a second on each connection for {held}", rate / 1000)
}

/// Nothing tells of it but the bookmark that does not come, for a minute and a half; until then nobody can know, and numbers may be old.
fn stuck_stream(ground: &mut Ground<'_>, place: usize) -> String {
    const WATCHES: &str = "reports watch=true";
    let mut hanging = ground.proxies[place].asked(0, WATCHES);
    hanging.retain(|asked| asked.is_open());
    let (stuck, start) = (ground.proxies[place].act(WATCHES, &Act::Stall), Instant::now());
    while hanging.iter().any(|asked| asked.is_open()) {
        if start.elapsed() > FOUND_OUT {
            ground.wrong.push(format!("watches that hang were not found out within {FOUND_OUT:?}"));
            break;
        }
        ground.see();
        sleep(Duration::from_millis(200));
    }
    format!("{stuck} watches of reports hang, nothing else: found out after {}", seconds(start.elapsed()))
}

fn stuck_server(ground: &mut Ground<'_>, place: usize) -> String {
    let faulty = ground.proxies[place].fault("GET", Meets::Stall);
    let stuck = ground.proxies[place].act("GET", &Act::Stall);
    // Noticed by a sign of life that does not come: every 5 s, 5 s long.
    let held = ground.plan.hold(&mut ground.random, (12, 25)).max(Duration::from_secs(12));
    sleep(held);
    faulty.heal();
    ground.proxies[place].drop_connections();
    format!("{stuck} answers and every new request hang for {}", seconds(held))
}

fn malformed(ground: &mut Ground<'_>, place: usize) -> String {
    let lines: [(&str, &[u8]); 3] = [
        ("a line that is no JSON", b"this is no JSON\n"),
        ("half an event", b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\n"),
        ("bytes that are no text", b"\xff\xfe\x00\n"),
    ];
    let (what, line) = *ground.random.pick(&lines);
    let watches = ground.proxies[place].act("watch=true", &Act::Inject(line.to_vec()));
    hold(ground, (2, 5));
    format!("{what} put into {watches} watches")
}

fn truncated(ground: &mut Ground<'_>, place: usize) -> String {
    let watches = ground.proxies[place].act("watch=true", &Act::CutInLine);
    hold(ground, (3, 8));
    format!("{watches} watches cut in the middle of their next line")
}

/// The server refuses the token, and for a while there is no kubeconfig to get another from.
fn login_expired(ground: &mut Ground<'_>, place: usize) -> String {
    let kubeconfig = ground.desk.kubeconfig().to_owned();
    let good = std::fs::read(&kubeconfig).expect("the desk's kubeconfig");
    std::fs::write(&kubeconfig, &good[..good.len() / 2]).expect("the desk's folder");
    let faulty = ground.proxies[place].fault("GET", Meets::status(401, "Unauthorized", "Unauthorized"));
    ground.proxies[place].drop_connections();
    let held = hold(ground, (5, 20));
    faulty.heal();
    replace(&kubeconfig, &good);
    format!("401 and half a kubeconfig for {held}")
}

fn kubeconfig_rewritten(ground: &mut Ground<'_>) -> String {
    let kubeconfig = ground.desk.kubeconfig().to_owned();
    let good = std::fs::read(&kubeconfig).expect("the desk's kubeconfig");
    std::fs::remove_file(&kubeconfig).expect("the desk's folder");
    let held = hold(ground, (2, 8));
    std::fs::write(&kubeconfig, &good[..good.len() / 3]).expect("the desk's folder");
    ground.proxies.iter().for_each(crate::support::proxy::Proxy::drop_connections);
    sleep(Duration::from_secs(1));
    replace(&kubeconfig, &good);
    format!("kubeconfig gone for {held}, then half written with all connections cut, then whole")
}

fn replace(path: &std::path::Path, contents: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, contents).expect("the desk's folder");
    std::fs::rename(&new, path).expect("the desk's folder");
}

fn stopped(ground: &mut Ground<'_>) -> String {
    let status = rustix::process::Pid::from_child(&ground.watch.child);
    for signal in [Signal::STOP, Signal::CONT] {
        ground.screen.signal(signal);
        rustix::process::kill_process(status, signal).expect("the process is ours");
        if signal == Signal::STOP {
            sleep(ground.plan.hold(&mut ground.random, (20, 20)));
        }
    }
    "policydeck stopped and continued, the screen and the status".to_owned()
}

fn resized(ground: &mut Ground<'_>) -> String {
    for (rows, cols) in [(1, 1), (3, 7), (24, 80), (100, 300), (1, 200), SIZE] {
        ground.screen.resize(rows, cols);
        sleep(Duration::from_millis(300));
    }
    "terminal resized to 1×1, 7×3, 80×24, 300×100, 200×1 and back".to_owned()
}

fn unread(ground: &mut Ground<'_>) -> String {
    ground.screen.hold();
    let held = hold(ground, (20, 20));
    ground.screen.release();
    format!("the terminal not read for {held}")
}

fn suspended(ground: &mut Ground<'_>) -> String {
    let by_key = ground.random.below(2) == 0;
    if by_key {
        ground.screen.keys("\u{1a}");
    } else {
        ground.screen.signal(Signal::TSTP);
    }
    ground.screen.until("the shell's screen", |screen| !screen.alternate_screen());
    let held = hold(ground, (5, 20));
    ground.screen.signal(Signal::CONT);
    ground.screen.until("the screen again", vt100::Screen::alternate_screen);
    format!("suspended by {} for {held}", if by_key { "ctrl-z" } else { "SIGTSTP" })
}

/// Waits until `status` says this of an environment.
fn until(ground: &mut Ground<'_>, name: &str, holds: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    while !holds(environment(&ground.see(), name)) {
        if start.elapsed() > SHOWS {
            let item = environment(&ground.see(), name).to_string();
            ground.wrong.push(format!("{name}: what was done to it does not show within {SHOWS:?}: {item}"));
            return;
        }
        sleep(Duration::from_millis(50));
    }
}
