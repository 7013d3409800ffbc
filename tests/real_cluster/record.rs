//! What two recorders write down of real clusters with the real Kyverno: each thing once, with who did it.

use super::operators::{pod, policy};
use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(180);

const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce" }]

[[environments]]
name = "live"
context = "live"
steps = [{ mode = "audit" }, { mode = "enforce" }]
"#;

/// A policy's timeline in an environment, from the records alone; `null` where there is none, words where it could not be told.
pub(super) fn timeline(desk: &Desk, policy: &str, environment: &str) -> Value {
    let answer = desk.run(&["timeline", policy, "--no-look", "--last", "1h", "-o", "json"]);
    let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    if document.is_null() {
        return Value::from(answer.stderr);
    }
    let items = document["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().find(|item| item["name"] == environment).unwrap_or(Value::Null)
}

pub(super) fn list<'a>(timeline: &'a Value, field: &str) -> &'a [Value] {
    timeline[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The modes one after the other, as `audit`, or `audit?` where that was inferred.
pub(super) fn spans(timeline: &Value) -> Vec<String> {
    let mark = |span: &Value| if span["inferred"] == true { "?" } else { "" };
    list(timeline, "spans").iter().map(|span| format!("{}{}", span["mode"].as_str().unwrap(), mark(span))).collect()
}

pub(super) fn marks<'a>(timeline: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(timeline, "marks").iter().filter(|mark| mark["kind"] == kind).collect()
}

/// Waits until a timeline fits.
pub(super) fn until(desk: &Desk, what: &str, policy: &str, environment: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(what, LATER, || {
        let timeline = timeline(desk, policy, environment);
        if fits(&timeline) { Ok(timeline) } else { Err(format!("{timeline:#}")) }
    })
}

pub(super) fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

pub(super) fn patch(cluster: &Cluster, name: &str, action: &str, manager: &str) -> (Timestamp, Timestamp) {
    let before = Timestamp::now();
    let patch = format!("{{\"spec\": {{\"validationFailureAction\": \"{action}\"}}}}");
    cluster.kubectl(&["patch", "clusterpolicy", name, "--type=merge", "--field-manager", manager, "-p", &patch]);
    (before, Timestamp::now())
}

/// Admissions that were refused, as far as is on record.
pub(super) fn blocked(timeline: &Value) -> u64 {
    list(&timeline["series"], "blocked").iter().filter_map(Value::as_u64).sum()
}

/// The gate's condition.
pub(super) fn condition(desk: &Desk, policy: &str, name: &str) -> Value {
    let (gates, _) = desk.json(&["gate", policy]);
    let conditions = gates["items"][0]["conditions"].as_array().unwrap_or_else(|| panic!("{gates:#}"));
    conditions.iter().find(|condition| condition["name"] == name).unwrap().clone()
}

#[test]
fn two_recorders_tell_once_what_happened() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, live) = (fleet.cluster("dev"), fleet.cluster("live"));
    let shop = fleet.own_namespace("shop");
    let [p, q] = ["p", "q"].map(|stem| fleet.name(stem));
    let (p, q) = (p.as_str(), q.as_str());
    for (cluster, name) in [(dev, p), (live, q)] {
        cluster.apply(&policy(name, &shop, "Audit"));
        cluster.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", name, "--timeout=60s"]);
    }
    dev.apply(&pod("web", &shop, "nginx:1.27"));

    let desk = Desk::with_config(&fleet, CONFIG);
    let started = Timestamp::now();
    let recorders = [desk.start(&["observe"]), desk.start(&["observe"])];
    for (name, environment) in [(p, "dev"), (q, "live")] {
        let found = until(&desk, "it is on record", name, environment, |timeline| spans(timeline).iter().any(|span| span == "audit"));
        assert_eq!(marks(&found, "promote").len() + marks(&found, "deleted").len(), 0, "{found:#}");
    }

    // A change of the mode, by somebody who has never heard of us.
    let (before, after) = patch(dev, p, "Enforce", "rescue-script");
    let promoted = until(&desk, "the change is on record", p, "dev", |timeline| {
        marks(timeline, "promote").first().is_some_and(|mark| !mark["actor"].is_null())
    });
    let promotion = marks(&promoted, "promote");
    assert_eq!((promotion.len(), &promotion[0]["actor"]), (1, &"rescue-script".into()), "{promoted:#}");
    let at = time(&promotion[0]["at"]);
    assert!(before <= at && at.duration_since(after) < jiff::SignedDuration::from_secs(5), "seen as it happened: {at} {before} {after}");
    assert_eq!(spans(&promoted).iter().filter(|span| *span == "enforce").count(), 1, "seen, not inferred: {promoted:#}");
    let soak = condition(&desk, p, "soak");
    assert_eq!(soak["source"], "seen by the recorder", "the gate says the same: {soak:#}");

    // Admissions that Kyverno refuses: each once, however many look.
    // (A refused dry run would be an event, too.)
    let (mut tried, mut refusals) = (0, 0);
    eventually("three are refused", SOON, || {
        tried += 1;
        let name = format!("bad-{tried}");
        let made = dev.try_kubectl(&["create", "-f", "-"], &pod(&name, &shop, "nginx:latest"));
        if made.status.success() {
            dev.kubectl(&["delete", "pod", &name, "-n", &shop, "--now"]);
        } else {
            refusals += 1;
        }
        if refusals == 3 { Ok(()) } else { Err(format!("{made:?}")) }
    });
    let refused = until(&desk, "the refusals are on record", p, "dev", |timeline| blocked(timeline) >= 3);
    assert_eq!(blocked(&refused), 3, "{refused:#}");
    let judged = condition(&desk, p, "blocked");
    assert!(judged["value"] == 3 || judged["limit"].is_null(), "the gate counts the same: {judged:#}");

    // Deleted, and made again.
    live.kubectl(&["delete", "clusterpolicy", q]);
    until(&desk, "it is gone", q, "live", |timeline| marks(timeline, "deleted").len() == 1);
    live.apply(&policy(q, &shop, "Audit"));
    let again = until(&desk, "it is back", q, "live", |timeline| {
        let created = marks(timeline, "created");
        let modes = spans(timeline);
        created.iter().any(|mark| time(&mark["at"]) > started)
            && modes.iter().rev().find(|mode| *mode != "unwatched").is_some_and(|mode| mode == "audit")
    });
    let kinds: Vec<&str> =
        list(&again, "marks").iter().filter(|mark| time(&mark["at"]) > started).map(|mark| mark["kind"].as_str().unwrap()).collect();
    let of = |kind: &str| kinds.iter().filter(|other| **other == kind).count();
    assert_eq!((of("deleted"), of("created"), of("promote"), of("demote"), of("revision")), (1, 1, 0, 0, 0), "{again:#}");
    assert!(spans(&again).contains(&"absent".to_owned()), "{again:#}");
    for mut recorder in recorders {
        assert!(recorder.try_wait().unwrap().is_none(), "it still records");
        end(recorder);
    }
    // What is on record stays what it was, and a look at the clusters adds nothing to it.
    let looked = desk.json(&["timeline", p, "--last", "1h"]).0;
    let of_dev = looked["items"].as_array().unwrap().iter().find(|item| item["name"] == "dev").unwrap().clone();
    assert_eq!((blocked(&of_dev), marks(&of_dev, "promote").len()), (3, 1), "{of_dev:#}");
}

#[test]
fn what_we_do_ourselves_is_on_record_once() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let name = fleet.name("p");
    let p = name.as_str();
    dev.apply(&policy(p, &fleet.own_namespace("shop"), "Enforce"));
    dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", p, "--timeout=60s"]);
    let config = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\" }]\n";
    let desk = Desk::with_config(&fleet, config);
    let recorder = desk.start(&["observe"]);
    until(&desk, "it is on record", p, "dev", |timeline| spans(timeline).iter().any(|span| span == "enforce"));
    for operation in [&["hold", p, "--reason", "audit week", "--yes"][..], &["release", p, "--yes"], &["demote", p, "--yes"]] {
        let done = desk.run(operation);
        assert_eq!(done.status, Some(0), "{operation:?}: {done:?}");
    }
    let told = until(&desk, "the demotion is seen", p, "dev", |timeline| {
        marks(timeline, "demote").first().is_some_and(|mark| !mark["actor"].is_null())
    });
    let (demotions, own) = (marks(&told, "demote"), marks(&told, "operation"));
    assert_eq!((demotions.len(), own.len()), (1, 2), "{told:#}");
    assert!(own[0]["text"].as_str().unwrap().contains("audit week"), "{told:#}");
    let entries = super::operators::journal(&desk);
    let who = entries[0]["who"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    for mark in [demotions[0], own[0], own[1]] {
        assert!(mark["actor"].as_str().unwrap().starts_with(&who), "the timeline and the journal name the same: {mark:#}");
    }
    end(recorder);
}
