//! API servers, and what stands before them, that answer with something else than what was asked for.
//!
//! A proxy gives the answers; behind it is a real API server. Each fault says how many requests it may cost at most.

use super::{BACK, SOON, is, is_whole, let_pass, nothing_was_forgotten, settled};
use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, environment, state_of};
use crate::support::proxy::{Act, Fault, Proxy};
use crate::support::seed::{Seeded, Shape};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The stream of reports, whichever way it is asked for.
const REPORTS: &str = "/policyreports";
/// Its lists, and its watches from a version.
const LISTS: &str = "/policyreports !watch=true";
const WATCHES: &str = "/policyreports watch=true !sendInitialEvents";

struct Site<'a> {
    dev: &'a Cluster,
    proxy: &'a Proxy,
    watch: Watch,
    seeded: Seeded<'a>,
}

fn reports(status: &Value) -> String {
    state_of(environment(status, "dev"), "wgpolicyk8s.io", "PolicyReport").to_owned()
}

fn message(status: &Value) -> String {
    environment(status, "dev")["message"].as_str().unwrap_or_default().to_owned()
}

impl Site<'_> {
    /// Where this fault begins: in the requests and in the documents.
    fn begin(&mut self) -> (usize, usize) {
        self.watch.latest();
        (self.proxy.mark(), self.watch.seen.len() - 1)
    }

    /// What was known stayed, and what changes now is followed.
    fn end(&mut self, first: usize) {
        settled(&mut self.watch, "everything is followed again", is_whole("dev"));
        nothing_was_forgotten(&self.watch, first, "dev");
        self.seeded.churn(20);
        self.watch.until_true("and what changes afterwards", SOON, &[self.dev]);
    }

    fn counted(&self, mark: usize, pattern: &str, enough: usize) {
        eventually(pattern, BACK, || match self.proxy.count(mark, pattern) {
            count if count < enough => Err(count),
            _ => Ok(()),
        });
    }
}

#[test]
fn answers_that_are_none() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.18.2"));
    let mut seeded = Seeded::new(dev, 2, 3, 5);
    seeded.reports(Shape::Resource);
    seeded.reports(Shape::Foreign);
    let proxy = Proxy::before(&fleet, "dev");
    let desk = Desk::new(&fleet, User::Admin, "").through(&fleet, &[&proxy]);
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("it is read", SOON, &[dev]);
    let mut site = Site { dev, proxy: &proxy, watch, seeded };

    versions_that_are_too_old(&mut site);
    lines_that_are_no_events(&mut site);
    a_kind_that_fails(&mut site);
    a_kind_that_may_not_be_read_any_more(&mut site);
    a_server_that_is_too_busy(&mut site);
    a_gateway_without_a_server(&mut site);
    somebody_else_answers(&mut site);
    credentials_that_are_refused(&mut site);
    desk.assert_true(&fleet);
}

/// 410 in a watch, and as a status; HTTP 500 in a watch, which is no reason to list.
fn versions_that_are_too_old(site: &mut Site<'_>) {
    let event = |code: u16| {
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "told by a test", "code": code});
        format!("{}\n", json!({"type": "ERROR", "object": status})).into_bytes()
    };
    let (mark, first) = site.begin();
    assert_eq!(site.proxy.act(REPORTS, &Act::Inject(event(410))), 1);
    site.counted(mark, LISTS, 1);
    site.end(first);
    assert_eq!((site.proxy.count(mark, LISTS), site.proxy.count(mark, WATCHES)), (1, 1), "one list, and a watch from there");

    let (mark, first) = site.begin();
    let gone = site.proxy.fault_times(1, WATCHES, Fault::status(410, "Expired", "too old resource version: 1 (2)"));
    assert_eq!(site.proxy.act(REPORTS, &Act::Cut), 1);
    site.counted(mark, LISTS, 1);
    site.end(first);
    assert_eq!((gone.hits(), site.proxy.count(mark, LISTS), site.proxy.count(mark, WATCHES)), (1, 1, 2));
    drop(gone);

    let (mark, first) = site.begin();
    assert_eq!(site.proxy.act(REPORTS, &Act::Inject(event(500))), 1);
    site.counted(mark, WATCHES, 1);
    site.end(first);
    assert_eq!((site.proxy.count(mark, LISTS), site.proxy.count(mark, WATCHES)), (0, 1), "it goes on from its version");
}

/// Lines that are cut, garbled, very long, and too long.
fn lines_that_are_no_events(site: &mut Site<'_>) {
    // The connection goes in the middle of a line: the whole line comes again.
    let (mark, first) = site.begin();
    assert_eq!(site.proxy.act(REPORTS, &Act::CutInLine), 1);
    site.seeded.churn(20);
    site.watch.until_true("half a line is no event, and none is missed", SOON, &[site.dev]);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "it goes on from its version");
    assert!(site.watch.seen[first..].iter().all(|(_, status)| environment(status, "dev")["malformed"] == 0), "and nothing is malformed");

    // A line that says something that nobody can read is counted; a list has what it said.
    let (mark, first) = site.begin();
    for line in [
        "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":}}}\n",
        "{\"type\":\"DELETED\",\"object\":{\"metadata\" \"name\"}}\n",
        "{\"type\":\"MODIFIED\",\"object\":{\"kind\"\n",
    ] {
        site.proxy.act(REPORTS, &Act::Inject(line.as_bytes().to_vec()));
    }
    site.counted(mark, LISTS, 1);
    site.watch.until_true("a list has what a garbled line said", SOON, &[site.dev]);
    let findings = |status: &Value| environment(status, "dev")["findings"].clone();
    let known = findings(&site.watch.seen[first].1);
    assert!(site.watch.seen[first..].iter().all(|(_, status)| findings(status) == known), "nothing was forgotten");
    site.proxy.act(REPORTS, &Act::Inject(b"what\n".to_vec()));
    site.watch.until("it is counted, and shown", SOON, |status| environment(status, "dev")["malformed"] == 1);
    assert_eq!(site.proxy.count(mark, LISTS), 1, "not every garbled line is worth a list");

    // 3 MB in one line, as an aggregated server may send them, and more than anybody should.
    let (mark, _) = site.begin();
    let fails = environment(site.watch.latest(), "dev")["findings"]["fail"].as_u64().unwrap();
    let big = big_report(10_000);
    assert!(big.len() > 3 << 20 && big.len() < 4 << 20, "{}", big.len());
    let line = |kind: &str, object: &str| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into_bytes();
    site.proxy.act(REPORTS, &Act::Inject(line("ADDED", &big)));
    site.watch.until("3 MB are read", SOON, |status| environment(status, "dev")["findings"]["fail"] == fails + 10_000);
    site.proxy.act(REPORTS, &Act::Inject(line("ADDED", &big_report(60_000))));
    site.watch.until("17 MB are left out and counted", SOON, |status| environment(status, "dev")["malformed"] == 2);
    let item = environment(site.watch.latest(), "dev");
    assert!(item["findings"]["fail"] == fails + 10_000 && item["notes"].to_string().contains("policyreports"), "{item}");
    site.proxy.act(REPORTS, &Act::Inject(line("DELETED", &big)));
    site.watch.until("and goes again", SOON, |status| environment(status, "dev")["findings"]["fail"] == fails);
    assert_eq!(site.proxy.count(mark, REPORTS), 0, "all of it in one watch");

    // As much as the real one takes: etcd's 1.5 MB.
    let mut report: Value = serde_json::from_str(&big_report(3_000)).unwrap();
    report["metadata"] = json!({"name": "big"});
    site.dev.api.post("/apis/wgpolicyk8s.io/v1alpha2/namespaces/team-00/policyreports", &report).unwrap().ok();
    site.watch.until("1 MB from etcd", SOON, |status| environment(status, "dev")["findings"]["fail"] == fails + 3_000);
    site.dev.kubectl(&["delete", "policyreport", "-n", "team-00", "big"]);
    site.watch.until("and it goes", SOON, |status| environment(status, "dev")["findings"]["fail"] == fails);
    // What was left out is forgotten with the next list.
    let gone = site.proxy.fault_times(1, WATCHES, Fault::status(410, "Expired", "too old"));
    site.proxy.act(REPORTS, &Act::Cut);
    site.watch.until_true("the next list has everything", BACK, &[site.dev]);
    drop(gone);
}

/// A report with so many failures, each for a resource of its own, of about 330 bytes a failure.
fn big_report(failures: usize) -> String {
    let result = |i: usize| {
        json!({"source": "big", "policy": "big", "rule": "r", "result": "fail", "severity": "low", "scored": true,
            "message": "m".repeat(60), "timestamp": {"seconds": 1_790_000_000, "nanos": 0},
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "team-00", "name": format!("thing-{i}"), "uid": format!("{i:036}")}]})
    };
    let results = (0..failures).map(result).collect::<Vec<_>>();
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "big", "namespace": "team-00", "resourceVersion": "1"},
        "results": results, "summary": {"pass": 0, "fail": failures, "warn": 0, "error": 0, "skip": 0}})
    .to_string()
}

/// One kind's requests fail while the server is well.
fn a_kind_that_fails(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let fault = site.proxy.fault(REPORTS, Fault::status(500, "InternalError", "etcdserver: no leader"));
    assert_eq!(site.proxy.act(REPORTS, &Act::Cut), 1);
    site.watch.until("the kind is stale", SOON, |status| reports(status) == "stale");
    let_pass(Duration::from_secs(8));
    let status = site.watch.latest().clone();
    assert!(environment(&status, "dev")["complete"] == false, "{status}");
    assert_eq!(state_of(environment(&status, "dev"), "kyverno.io", "ClusterPolicy"), "live", "its neighbours are followed: {status}");
    assert!((3..=8).contains(&fault.hits()), "{} requests in 8 s", fault.hits());
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "it goes on from its version");
    assert!(
        site.watch.seen[first..].iter().all(|(_, status)| environment(status, "dev")["state"] != "retrying"),
        "the server was never lost"
    );
}

/// Rights that are taken away in the middle of a session, and given back.
fn a_kind_that_may_not_be_read_any_more(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let forbidden = Fault::status(403, "Forbidden", "policyreports.wgpolicyk8s.io is forbidden: User \"admin\" cannot list resource");
    let fault = site.proxy.fault(REPORTS, forbidden);
    assert_eq!(site.proxy.act(REPORTS, &Act::End), 1);
    let (_, status) = site.watch.until("the kind is denied", SOON, |status| reports(status) == "denied");
    assert!(message(&status).contains("policyreports") && message(&status).contains("user admin"), "{status}");
    let_pass(Duration::from_secs(5));
    assert_eq!(fault.hits(), 1, "one question, and a long pause");
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "it goes on from its version");
}

/// 429 for everything, with a time to wait: for streams and for the station's own questions.
fn a_server_that_is_too_busy(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let fault = site.proxy.fault("", Fault::too_many(Some("4")));
    assert!(site.proxy.act("watch=true", &Act::Cut) >= 10);
    site.watch.until("the kind is stale", SOON, |status| reports(status) == "stale");
    let_pass(Duration::from_secs(13));
    let mut by_path: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for asked in site.proxy.asked(mark, "") {
        by_path.entry(asked.line.split('?').next().unwrap().to_owned()).or_default().push(asked.at);
    }
    for (path, times) in &by_path {
        assert!(times.len() <= 6, "{path}: {} requests in 13 s", times.len());
        let soonest = times.windows(2).map(|pair| pair[1] - pair[0]).min();
        let is_stream = path.contains("policyreports");
        assert!(!is_stream || soonest.is_none_or(|soonest| soonest >= Duration::from_secs(4)), "{path}: asked again after {soonest:?}");
    }
    assert!(fault.hits() >= 10);
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "it goes on from its version");
    assert!(site.watch.seen[first..].iter().all(|(_, status)| environment(status, "dev")["state"] == "live"), "a busy server is not lost");
}

/// A load balancer without a server behind it.
fn a_gateway_without_a_server(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let fault = site.proxy.fault("", Fault::bad_gateway());
    site.proxy.drop_connections();
    // The first word may be of a connection that went with the others.
    site.watch.until("it is lost, and why", SOON, |status| is("dev", "retrying")(status) && message(status).contains("502"));
    let_pass(Duration::from_secs(8));
    assert!(fault.hits() <= 60, "{} requests in 8 s", fault.hits());
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "streams go on from their versions");
}

/// 200, but not from an API server: a login page, and JSON that somebody else speaks.
fn somebody_else_answers(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let page =
        |kind: &str, body: &str| Fault::Answer { status: 200, headers: vec![("content-type", kind.to_owned())], body: body.to_owned() };
    let fault = site.proxy.fault("", page("text/html; charset=utf-8", "<html>\n<body>\nLog in\n</body>\n</html>\n"));
    site.proxy.drop_connections();
    site.watch.until("it is no answer", SOON, |status| is("dev", "retrying")(status) && message(status).contains("a web page came"));
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "streams go on from their versions");

    // Without a discovery that says otherwise, all kinds are served; nothing goes because somebody says `{}`.
    let (mark, first) = site.begin();
    let fault = site.proxy.fault("/apis !/apis/", page("application/json", "{}"));
    site.counted(mark, "/apis !/apis/", 3);
    assert!(fault.hits() >= 3);
    fault.heal();
    site.end(first);
    assert!(site.proxy.count(mark, "") <= 60, "{} requests", site.proxy.count(mark, ""));
}

/// 401 for everything, for a while.
fn credentials_that_are_refused(site: &mut Site<'_>) {
    let (mark, first) = site.begin();
    let fault = site.proxy.fault("", Fault::status(401, "Unauthorized", "Unauthorized"));
    site.proxy.drop_connections();
    let (_, status) = site.watch.until("a person has to log in", SOON, is("dev", "login-needed"));
    assert!(message(&status).contains("401") && message(&status).contains("token"), "{}", message(&status));
    let_pass(Duration::from_secs(5));
    assert!(fault.hits() <= 40, "{} requests", fault.hits());
    fault.heal();
    site.end(first);
    assert_eq!(site.proxy.count(mark, LISTS), 0, "streams go on from their versions");
}
