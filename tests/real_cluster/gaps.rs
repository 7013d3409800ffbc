//! What nobody saw: an API server that dies under two recorders, and recorders that die. And how little recorders ask.

use super::operators::{pod, policy};
use super::record::{blocked, condition, list, marks, patch, spans, time, timeline, until};
use crate::support::cluster::{Cluster, Fleet, Options};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A recorder notes what it watches every ten seconds; a server that is killed is missed at once.
const A_BEAT: SignedDuration = SignedDuration::from_secs(15);

const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce", max_blocked = 9 }]

[[environments]]
name = "live"
context = "live"
steps = [{ mode = "audit" }]
"#;

/// What was asked of the server in this way, e.g. `get /apis/…/p`.
fn asked(cluster: &Cluster, what: &str) -> usize {
    cluster.requests("policydeck").iter().filter(|request| request.starts_with(what)).count()
}

fn object(name: &str) -> String {
    format!("get /apis/kyverno.io/v1/clusterpolicies/{name}")
}

/// Has Kyverno refuse a Pod, once.
fn refuse(cluster: &Cluster, name: &str) {
    eventually("it is refused", SOON, || {
        let made = cluster.try_kubectl(&["create", "-f", "-"], &pod(name, "shop", "nginx:latest"));
        if made.status.success() {
            cluster.kubectl(&["delete", "pod", name, "-n", "shop", "--now"]);
            return Err("it was let through".to_owned());
        }
        let words = String::from_utf8_lossy(&made.stderr).into_owned();
        // An API server that has just come back may not reach Kyverno yet, and that is no refusal of Kyverno's.
        if words.contains("denied the request") { Ok(()) } else { Err(words) }
    });
}

fn unwatched(timeline: &Value) -> Vec<(Timestamp, Timestamp)> {
    let spans = list(timeline, "spans").iter().filter(|span| span["mode"] == "unwatched");
    spans.map(|span| (time(&span["from"]), time(&span["to"]))).collect()
}

fn last_mode(timeline: &Value) -> String {
    spans(timeline).last().cloned().unwrap_or_default()
}

#[test]
fn what_nobody_saw_is_a_gap_and_recorders_ask_little() {
    let Some(fleet) = Fleet::start(&["dev", "live"], Options { audit: true, ..Options::default() }) else { return };
    fleet.start_kyverno(&["dev"], false);
    let dev = fleet.cluster("dev");
    dev.namespace("shop");
    for (name, action) in [("p", "Enforce"), ("q", "Audit")] {
        dev.apply(&policy(name, "shop", action));
        dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{name}"), "--timeout=60s"]);
    }
    let desk = Desk::with_config(&fleet, CONFIG);
    let mut recorders = [desk.start(&["observe"]), desk.start(&["observe"])];
    for (name, mode) in [("p", "enforce"), ("q", "audit")] {
        until(&desk, "it is on record", name, "dev", |timeline| last_mode(timeline).starts_with(mode));
        eventually("its text is read", SOON, || if asked(dev, &object(name)) > 0 { Ok(()) } else { Err("not yet") });
    }
    refuse(dev, "bad-1");
    until(&desk, "the refusal is on record", "p", "dev", |timeline| blocked(timeline) == 1);

    // Everything is followed; what comes is told, and nothing is asked but what one policy says now.
    let lists = asked(dev, "list ");
    dev.kubectl(&["patch", "clusterpolicy", "q", "--type=merge", "-p", r#"{"spec": {"failurePolicy": "Ignore"}}"#]);
    until(&desk, "the new revision is on record", "q", "dev", |timeline| {
        marks(timeline, "revision").first().is_some_and(|mark| !mark["actor"].is_null())
    });
    assert_eq!(asked(dev, "list "), lists, "{:#?}", dev.requests("policydeck"));
    let (of_p, of_q) = (asked(dev, &object("p")), asked(dev, &object("q")));
    assert!(of_p <= 2 && of_q <= 4, "each recorder reads what is new to it, once: {of_p}, {of_q}");

    // The API server dies. From then on nothing is known, and that is on record while it is dead.
    let killed = Timestamp::now();
    dev.signal("api", "KILL");
    let dead = until(&desk, "it is on record that nobody can watch", "p", "dev", |timeline| last_mode(timeline) == "unwatched");
    let gaps = unwatched(&dead);
    let (from, _) = gaps[gaps.len() - 1];
    assert!(from.duration_since(killed).abs() < A_BEAT, "it begins when the server died: {from}, {killed}");
    fleet.restart(&["dev"]);
    fleet.start_kyverno(&["dev"], false);
    let back = until(&desk, "it is watched again", "p", "dev", |timeline| last_mode(timeline).starts_with("enforce"));
    let gaps = unwatched(&back);
    let (gone, again) = gaps[gaps.len() - 1];
    assert!(gone == from && again > killed && again <= Timestamp::now(), "one gap, which has an end: {gaps:?}");
    let since: Vec<_> = list(&back, "marks").iter().filter(|mark| time(&mark["at"]) > killed).collect();
    let changes = since.iter().filter(|mark| !matches!(mark["kind"].as_str(), Some("not-ready" | "ready")));
    assert_eq!(changes.count(), 0, "nothing became of the policy: {back:#}");
    assert_eq!(asked(dev, &object("p")), of_p, "what it says is on record");
    assert_eq!(blocked(&back), 1, "{back:#}");

    // The recorders die. What is refused meanwhile is told of when one is back; a mode that went and came is not seen, but its generation shows it.
    for recorder in &mut recorders {
        recorder.kill().unwrap();
        recorder.wait().unwrap();
    }
    refuse(dev, "bad-2");
    patch(dev, "p", "Audit", "rescue-script");
    let (_, flapped) = patch(dev, "p", "Enforce", "rescue-script");
    let recorder = desk.start(&["observe"]);
    // Who is killed says nothing: for half a minute it may be between two signs of life.
    let missed = |(from, to): (Timestamp, Timestamp)| from <= flapped && flapped <= to;
    until(&desk, "the gap is on record, and what was refused in it", "p", "dev", |timeline| {
        let gap = unwatched(timeline).into_iter().any(missed);
        gap && last_mode(timeline).starts_with("enforce") && blocked(timeline) == 2
    });
    let soak = condition(&desk, "p", "soak");
    assert_eq!(soak["source"], "found so by the recorder", "the generation shows that it was something else meanwhile: {soak:#}");
    assert!(soak["value"].as_i64().is_some_and(|seconds| seconds <= Timestamp::now().duration_since(flapped).as_secs() + 1), "{soak:#}");
    let refused = condition(&desk, "p", "blocked");
    assert_eq!((&refused["state"], &refused["limit"]), (&"met".into(), &9.into()), "{refused:#}");
    assert_eq!(last_mode(&timeline(&desk, "p", "live")), "absent", "where there is no Kyverno there is no policy");
    end(recorder);
}
