//! Connections that are cut, slow, stuck or half open, and lists that do not come whole.
//!
//! A proxy stands before a real API server, which is killed for real where that is the fault.

use super::{BACK, NOTICED, SOON, is, is_whole, let_pass, nothing_was_forgotten, settled};
use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::eventually;
use crate::support::product::{Desk, Watch, environment, state_of};
use crate::support::proxy::{Act, Fault, Proxy};
use crate::support::seed::{Seeded, Shape};
use serde_json::Value;
use std::time::{Duration, Instant};

const REPORTS: &str = "/policyreports";
/// Lists from their beginning, pages of lists, later pages of them, and watches from a version.
const LISTS: &str = "/policyreports !watch=true !continue=ey";
const PAGES: &str = "/policyreports limit=";
const LATER_PAGES: &str = "/policyreports continue=ey";
const WATCHES: &str = "/policyreports watch=true !sendInitialEvents";

/// A watch that is silent is opened again after 75 s.
const SILENT_FOR_TOO_LONG: Duration = Duration::from_secs(150);
/// Reports come after four attempts; a list that is stuck is given up after half a minute, or a part of it by a hasty desk.
const AFTER_FOUR: Duration = Duration::from_secs(90);

fn reports(status: &Value) -> String {
    state_of(environment(status, "dev"), "wgpolicyk8s.io", "PolicyReport").to_owned()
}

#[test]
fn connections_that_fail() {
    let Some(fleet) = Fleet::start(&["dev", "qac"], Options::default()) else { return };
    let (dev, qac) = (fleet.cluster("dev"), fleet.cluster("qac"));
    let mut seeds = Vec::new();
    for cluster in [dev, qac] {
        cluster.install_crds(&crds("kyverno-1.18.2"));
        // More reports than a first page has.
        let mut seeded = Seeded::new(cluster, 3, 9, 5);
        seeded.reports(Shape::Resource);
        seeds.push(seeded);
    }
    let (before_dev, before_qac) = (Proxy::before(&fleet, "dev"), Proxy::before(&fleet, "qac"));
    let desk = Desk::new(&fleet, User::Admin, "").through(&fleet, &[&before_dev, &before_qac]);
    let hasty = Desk::new(&fleet, User::Admin, "").through(&fleet, &[&before_dev, &before_qac]).hasty();
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until_true("both are read", SOON, &[dev, qac]);

    // One watch of qac hangs from now on, as behind a router that forgot it; nobody is told.
    let (hung, mark) = (Instant::now(), before_qac.mark());
    assert_eq!(before_qac.act(REPORTS, &Act::Stall), 1);
    seeds[1].churn(20);

    everything_is_cut_at_once(&before_dev, &mut watch, &mut seeds[0], dev);
    nothing_answers(&before_dev, &mut watch, &mut seeds[0], dev);
    connections_are_refused(&before_dev, &mut watch, &mut seeds[0], dev);
    lists_that_do_not_come_whole(&hasty, &before_dev, dev);
    pages(&desk, &before_dev, dev, &mut seeds[0]);
    killed_in_the_middle_of_a_list(&fleet, &desk, &before_dev, &mut watch);

    watch.until_true("the hung watch was opened again", SILENT_FOR_TOO_LONG.saturating_sub(hung.elapsed()), &[qac]);
    // Four other programs have listed and watched since.
    // One that is hasty may find a quiet watch silent, and opens it again, too.
    let (lists, watches) = (before_qac.count(mark, LISTS), before_qac.count(mark, WATCHES));
    assert!(lists == 4 && (5..=6).contains(&watches), "once, from its version: {lists} lists, {watches} watches");
    watch.until_true("and dev, after all of it", SOON, &[dev]);
}

fn begin(proxy: &Proxy, watch: &mut Watch) -> (usize, usize) {
    watch.latest();
    (proxy.mark(), watch.seen.len() - 1)
}

fn end(watch: &mut Watch, first: usize, seeded: &mut Seeded<'_>, dev: &Cluster) {
    settled(watch, "everything is followed again", is_whole("dev"));
    nothing_was_forgotten(watch, first, "dev");
    seeded.churn(20);
    watch.until_true("and what changes afterwards", SOON, &[dev]);
}

/// A router restarts: every connection goes at once, and the server is there all the while.
fn everything_is_cut_at_once(proxy: &Proxy, watch: &mut Watch, seeded: &mut Seeded<'_>, dev: &Cluster) {
    let (mark, first) = begin(proxy, watch);
    proxy.drop_connections();
    eventually("it watches again", BACK, || if proxy.count(mark, WATCHES) > 0 { Ok(()) } else { Err("not yet") });
    end(watch, first, seeded, dev);
    assert_eq!(proxy.count(mark, "sendInitialEvents"), 0, "streams go on from their versions");
    let asked = proxy.count(mark, "");
    assert!(asked <= 80, "{asked} requests");
}

/// Everything is taken in and nothing comes back: half-open connections, and new ones that get no answer.
fn nothing_answers(proxy: &Proxy, watch: &mut Watch, seeded: &mut Seeded<'_>, dev: &Cluster) {
    let (mark, first) = begin(proxy, watch);
    let fault = proxy.fault("", Fault::Stall);
    proxy.act("", &Act::Stall);
    let (_, status) = watch.until("the silence is noticed", NOTICED, |status| {
        is("dev", "retrying")(status)
            && environment(status, "dev")["message"].as_str().is_some_and(|words| words.contains("no answer within"))
    });
    assert_eq!(environment(&status, "qac")["state"], "live", "the others live on: {status}");
    let_pass(Duration::from_secs(8));
    assert!(fault.hits() <= 12, "{} requests while nothing answers", fault.hits());
    fault.heal();
    end(watch, first, seeded, dev);
    assert_eq!(proxy.count(mark, "sendInitialEvents"), 0, "streams go on from their versions");
}

fn connections_are_refused(proxy: &Proxy, watch: &mut Watch, seeded: &mut Seeded<'_>, dev: &Cluster) {
    let (mark, first) = begin(proxy, watch);
    proxy.refuse();
    watch.until("it is lost", NOTICED, |status| {
        let item = environment(status, "dev");
        item["state"] == "retrying" && item["message"].as_str().is_some_and(|words| words.contains("connection refused"))
    });
    let connections = proxy.connections();
    proxy.accept();
    end(watch, first, seeded, dev);
    assert_eq!(proxy.count(mark, "sendInitialEvents"), 0, "streams go on from their versions");
    assert!(proxy.connections() - connections <= 60, "{} connections", proxy.connections() - connections);
}

/// A first list that is slow, stuck, cut or ended early: never taken for the whole, and asked for again.
fn lists_that_do_not_come_whole(desk: &Desk, proxy: &Proxy, dev: &Cluster) {
    let mark = proxy.mark();
    let faults = [
        proxy.fault_times(1, LISTS, Fault::CutAfter(60_000)),
        proxy.fault_times(1, LISTS, Fault::EndAfter(60_000)),
        proxy.fault_times(1, LISTS, Fault::StallAfter(60_000)),
        proxy.fault_times(1, LISTS, Fault::Throttle(150_000)),
    ];
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("reports are read", AFTER_FOUR, |status| environment(status, "dev")["complete"] == true);
    assert!(faults.iter().all(|fault| fault.hits() == 1));
    for (_, status) in &watch.seen {
        let is_whole = faults.len() == proxy.count(mark, LISTS) && reports(status) == "live";
        assert!(is_whole || environment(status, "dev")["complete"] == false, "half a list is no list: {status}");
    }
    watch.until_true("and are true", SOON, &[dev]);
    assert_eq!(proxy.count(mark, LISTS), 4);
}

/// A server without streaming lists: pages that end early, that are somebody else's, whose token expires, that have a bad item.
fn pages(desk: &Desk, proxy: &Proxy, dev: &Cluster, seeded: &mut Seeded<'_>) {
    let mark = proxy.mark();
    let old = proxy.fault(
        "sendInitialEvents",
        Fault::status(422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"),
    );
    let page = |status: u16, body: &str| Fault::Answer {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_owned(),
    };
    let faults = [
        // Lists of reports come in one answer, and in pages when that failed.
        proxy.fault_times(1, &format!("{LISTS} !limit="), Fault::CutAfter(30_000)),
        proxy.fault_times(1, PAGES, page(200, "{\"error\":\"not today\"}")),
        proxy.fault_times(1, PAGES, Fault::EndAfter(30_000)),
        proxy.fault_times(1, PAGES, Fault::CutAfter(30_000)),
        proxy.fault_times(
            1,
            LATER_PAGES,
            Fault::status(410, "Expired", "The provided continue parameter is too old to display a consistent list result."),
        ),
        proxy.fault_times(1, LATER_PAGES, Fault::EndAfter(3_000)),
    ];
    let mut watch = desk.watch(&["status", "--watch"]);
    watch.until("reports are read", BACK, |status| environment(status, "dev")["complete"] == true);
    assert!(faults.iter().all(|fault| fault.hits() == 1), "{:?}", faults.each_ref().map(crate::support::proxy::Faulty::hits));
    watch.until_true("and are true", SOON, &[dev]);
    drop(faults);
    // Five attempts with two pages at most, and the last.
    assert!(proxy.count(mark, PAGES) <= 10, "{} pages", proxy.count(mark, PAGES));

    // A server that calls every version too old makes for lists, but not for a storm of them.
    let (mark, first) = begin(proxy, &mut watch);
    let gone = proxy.fault(WATCHES, Fault::status(410, "Expired", "too old resource version"));
    assert!(proxy.act(REPORTS, &Act::Cut) >= 1);
    let_pass(Duration::from_secs(10));
    let lists = proxy.count(mark, LISTS);
    // Two programs run by now: this one and the first.
    assert!((2..=16).contains(&lists), "{lists} lists in 10 s");
    gone.heal();
    end(&mut watch, first, seeded, dev);

    // A page with an item that is no JSON: it is left out, counted and named, and the rest is there.
    let edit = proxy.fault_times(1, LISTS, Fault::Edit(spoil_one));
    let mut bad = desk.watch(&["status", "--watch"]);
    bad.until("it is counted", SOON, |status| {
        environment(status, "dev")["malformed"] == 1 && environment(status, "dev")["complete"] == false
    });
    assert!(environment(bad.latest(), "dev")["notes"].to_string().contains("policyreports"), "{}", bad.latest());
    drop((edit, old));
    let gone = proxy.fault_times(3, WATCHES, Fault::status(410, "Expired", "too old"));
    proxy.act(REPORTS, &Act::Cut);
    bad.until_true("the next list has everything", BACK, &[dev]);
    drop(gone);
}

/// Makes the first results of a page's last report something that is no JSON.
fn spoil_one(page: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(page).unwrap();
    let at = text.rfind("\"results\":[").unwrap() + "\"results\":".len();
    format!("{}{{{}", &text[..at], &text[at + 1..]).into_bytes()
}

/// kill -9 while a list is on its way: what was known by one program stays, what was half known by the other is never called whole.
fn killed_in_the_middle_of_a_list(fleet: &Fleet, desk: &Desk, proxy: &Proxy, watch: &mut Watch) {
    let dev = fleet.cluster("dev");
    // After many versions that were too old in a row the first program may still be waiting for its next list.
    watch.until_true("everything until now is followed", BACK, &[dev]);
    let (mark, first) = begin(proxy, watch);
    let slow = proxy.fault_times(1, LISTS, Fault::Throttle(50_000));
    let mut second = desk.watch(&["status", "--watch"]);
    eventually("the list is on its way", SOON, || match proxy.asked(mark, LISTS).first().map_or(0, |asked| asked.sent()) {
        sent if sent > 50_000 => Ok(()),
        sent => Err(sent),
    });
    dev.signal("api", "KILL");
    second.until("it is lost in the middle", NOTICED, is("dev", "retrying"));
    watch.until("the first one lost it too", NOTICED, is("dev", "retrying"));
    assert!(second.seen.iter().all(|(_, status)| environment(status, "dev")["complete"] == false), "half a list is no list");
    slow.heal();
    fleet.restart(&["dev"]);
    watch.until("the first one is back", BACK, is_whole("dev"));
    nothing_was_forgotten(watch, first, "dev");
    second.until("and the second", BACK, is_whole("dev"));
    second.until_true("with the whole list", SOON, &[dev]);
}
