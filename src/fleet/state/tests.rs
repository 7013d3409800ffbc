//! The state against small worlds.

pub(crate) mod generated;

use super::*;
use crate::domain::{Mode, Tally};
use crate::fleet::delta::Existence;
use crate::fleet::query::{FindingQuery, WouldBlock};
use crate::fleet::view::EnvironmentView;
use serde_json::json;

fn state() -> EnvironmentState {
    let mut state = EnvironmentState::new(Identity {
        name: "dev".into(),
        tier: Tier::Normal,
        context: "kind-dev".into(),
        namespaces: Vec::new().into(),
    });
    let kyverno = Kyverno::new(Release::exactly(19));
    state.apply(
        Delta::Kyverno(KyvernoFacts {
            installed: true,
            version: None,
            kyverno,
            scan_interval: None,
            makes_events: Some(true),
            notes: Vec::new(),
        }),
        now(),
    );
    state
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn stream(kind: &str) -> StreamId {
    let id = KindId::all().find(|id| id.kind().kind == kind).unwrap();
    StreamId { kind: id, namespace: "".into() }
}

fn list(state: &mut EnvironmentState, kind: &str, objects: &[serde_json::Value]) {
    let objects = objects.iter().map(|object| Bytes::from(object.to_string())).collect();
    for event in [StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }, StreamEvent::ListEnded] {
        state.apply(Delta::Stream(stream(kind), event), now());
    }
    state.settle();
}

fn change(state: &mut EnvironmentState, kind: &str, change: Change, object: &serde_json::Value) {
    state.apply(Delta::Stream(stream(kind), StreamEvent::Changed(vec![(change, Bytes::from(object.to_string()))])), now());
    state.settle();
}

/// All kinds live and empty, but for those given.
fn world(objects: &[(&str, serde_json::Value)]) -> EnvironmentState {
    let mut state = state();
    state.apply(Delta::Link(Link::Listing), now());
    for id in KindId::all() {
        let of_kind: Vec<_> = objects.iter().filter(|(kind, _)| *kind == id.kind().kind).map(|(_, object)| object.clone()).collect();
        let events = [
            StreamEvent::ListStarted,
            StreamEvent::Listed { objects: of_kind.iter().map(|o| Bytes::from(o.to_string())).collect(), total: None },
            StreamEvent::ListEnded,
        ];
        for event in events {
            state.apply(Delta::Stream(StreamId { kind: id, namespace: "".into() }, event), now());
        }
    }
    state.settle();
    state
}

fn policy(name: &str, action: &str) -> serde_json::Value {
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"validationFailureAction": action, "rules": [{"name": "r", "match": {}, "validate": {"message": "no"}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

fn report(name: &str, kind: &str, uid: &str, result: &str) -> serde_json::Value {
    json!({"metadata": {"name": uid, "namespace": "a"}, "scope": {"apiVersion": "v1", "kind": kind, "name": name, "namespace": "a", "uid": uid},
        "results": [{"source": "kyverno", "policy": "p", "rule": "r", "result": result}]})
}

fn faults(view: &EnvironmentView) -> (u64, u64) {
    (view.findings.fail, view.owners.fail)
}

#[test]
fn nothing_is_complete_before_every_kind_is() {
    let mut state = state();
    state.apply(Delta::Link(Link::Listing), now());
    list(&mut state, "ClusterPolicy", &[policy("p", "Enforce")]);
    let view = state.view();
    assert!(!view.complete);
    assert_eq!((view.policies, view.blocked), (1, None), "unknown is never zero");
    let mut state = world(&[("ClusterPolicy", policy("p", "Enforce"))]);
    let view = state.view();
    assert_eq!((view.complete, view.blocked, view.cells[0].mode), (true, Some(0), Mode::Enforce));
}

fn blocks(policy: &str, ago: i64) -> serde_json::Value {
    let at = now() - SignedDuration::from_secs(ago);
    json!({"metadata": {"name": format!("{policy}.{ago}"), "namespace": "default", "uid": format!("e{ago}")}, "reason": "PolicyViolation",
        "action": "Resource Blocked", "eventTime": at.to_string(), "message": "Pod a/x: [r] fail (blocked); no",
        "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": policy}})
}

fn with_flags(mut state: EnvironmentState, makes_events: Option<bool>) -> EnvironmentView {
    let facts = KyvernoFacts { makes_events, ..state.facts.clone() };
    state.apply(Delta::Kyverno(facts), now());
    state.view()
}

#[test]
fn no_blocked_request_is_known_only_where_one_would_show() {
    let blocked = |objects: &[(&str, serde_json::Value)], makes_events| {
        let view = with_flags(world(objects), makes_events);
        (view.cells.iter().map(|cell| cell.blocked).collect::<Vec<_>>(), view.blocked, view.blocks_held)
    };
    let (p, q) = (("ClusterPolicy", policy("p", "Enforce")), ("ClusterPolicy", policy("q", "Enforce")));
    let event = ("Event", blocks("p", 60));
    for unknown in [None, Some(false)] {
        assert_eq!(blocked(std::slice::from_ref(&p), unknown), (vec![None], None, Some(0)), "{unknown:?}");
        assert_eq!(blocked(&[p.clone(), event.clone()], unknown), (vec![Some(1)], Some(1), Some(1)), "what is seen is there: {unknown:?}");
        assert_eq!(blocked(&[p.clone(), q.clone(), event.clone()], unknown), (vec![Some(1), None], None, Some(1)), "{unknown:?}");
    }
    assert_eq!(blocked(&[p.clone(), q, event.clone()], Some(true)), (vec![Some(1), Some(0)], Some(1), Some(1)));
    // The API server makes no events of what it blocks by itself.
    let native = |action| {
        let mut native = policy("native", action);
        native["status"]["validatingadmissionpolicy"] = json!({"generated": true});
        ("ClusterPolicy", native)
    };
    assert_eq!(blocked(&[p.clone(), event.clone(), native("Enforce")], Some(true)), (vec![None, Some(1)], None, Some(1)));
    assert_eq!(blocked(&[p, event, native("Audit")], Some(true)), (vec![None, Some(1)], Some(1), Some(1)), "it blocks nothing");
}

#[test]
fn with_more_events_than_are_held_no_number_of_blocked_requests_is_known() {
    let p = |name: &str| ("ClusterPolicy", policy(name, "Enforce"));
    let mut state = world(&[p("old"), p("new"), p("none")]);
    state.events = Events::limited(8);
    change(&mut state, "Event", Change::Put, &blocks("old", 60));
    for ago in 1..=9 {
        change(&mut state, "Event", Change::Put, &blocks("new", ago));
    }
    let blocked = |view: &EnvironmentView| view.cells.iter().map(|cell| cell.blocked).collect::<Vec<_>>();
    let view = state.view();
    assert_eq!((blocked(&view), view.blocked, view.complete), (vec![None; 3], None, false), "unknown is never zero");
    assert!(view.notes.iter().any(|note| note.starts_with("2 events of blocked requests are left out")), "{:?}", view.notes);
    let events = view.kinds.iter().find(|kind| kind.kind == "Event").unwrap();
    assert_eq!((events.objects, events.left_out), (8, 2));
    // They expire, the oldest first.
    change(&mut state, "Event", Change::Deleted, &blocks("old", 60));
    assert_eq!(state.view().blocked, None);
    change(&mut state, "Event", Change::Deleted, &blocks("new", 9));
    let view = state.view();
    assert_eq!((blocked(&view), view.blocked, view.complete), (vec![Some(8), Some(0), Some(0)], Some(8), true));
    list(&mut state, "Event", &[blocks("old", 60)]);
    assert_eq!(blocked(&state.view()), [Some(0), Some(0), Some(1)]);
}

#[test]
fn events_that_go_young_show_how_long_they_are_kept() {
    let kept = |held: &[i64], gone: &[i64], skew: Option<SignedDuration>| {
        let all: Vec<_> = held.iter().chain(gone).map(|ago| ("Event", blocks("p", *ago))).collect();
        let mut state = world(&all);
        state.apply(Delta::Clock(skew), now());
        for ago in gone {
            change(&mut state, "Event", Change::Deleted, &blocks("p", *ago));
        }
        state.view().events_kept.map(|kept| kept.as_secs())
    };
    let right = Some(SignedDuration::ZERO);
    assert_eq!(kept(&[200], &[300], right), Some(300));
    assert_eq!(kept(&[], &[310, 300], right), Some(300), "the shortest counts");
    assert_eq!(kept(&[], &[300], Some(SignedDuration::from_secs(60))), Some(360), "by the server's clock");
    assert_eq!(kept(&[400], &[300], right), None, "an older one stays: this one was deleted");
    assert_eq!(kept(&[], &[3_590, 3_700], right), None, "the usual hour");
    assert_eq!(kept(&[], &[300], None), None, "the time there is not known");
    let mut view = EnvironmentView::default();
    assert_eq!(view.events_kept(), SignedDuration::from_hours(1));
    view.events_kept = Some(SignedDuration::from_hours(3));
    assert_eq!(view.events_kept(), SignedDuration::from_hours(1), "an hour is what is relied on");
}

#[test]
fn a_lost_link_is_not_complete_but_keeps_its_numbers() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", report("x", "Pod", "u1", "fail"))]);
    assert_eq!(faults(&state.view()), (1, 1));
    state.apply(Delta::Link(Link::Retrying { since: Some(now()), next: now(), why: "connection refused".into() }), now());
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (false, (1, 1)));
}

#[test]
fn a_relist_shows_nothing_in_between() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", report("x", "Pod", "u1", "fail"))]);
    state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::ListStarted), now());
    state.settle();
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (true, (1, 1)));
    state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::ListEnded), now());
    state.settle();
    assert_eq!(faults(&state.view()), (0, 0));
}

#[test]
fn a_deleted_policy_leaves_stale_results() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", report("x", "Pod", "u1", "fail"))]);
    change(&mut state, "ClusterPolicy", Change::Deleted, &policy("p", "Audit"));
    let view = state.view();
    assert_eq!((faults(&view), view.stale, view.cells[0].mode), ((0, 0), 1, Mode::Absent));
    change(&mut state, "ClusterPolicy", Change::Put, &policy("p", "Audit"));
    assert_eq!((faults(&state.view()), state.view().stale), ((1, 1), 0));
}

#[test]
fn owners_that_are_needed_are_waited_for() {
    let mut state = state();
    state.apply(Delta::Link(Link::Listing), now());
    for id in KindId::all().filter(|id| id.kind().family != Family::Owner) {
        list(&mut state, id.kind().kind, &[]);
        state.apply(Delta::Stream(StreamId { kind: id, namespace: "".into() }, StreamEvent::NotInstalled), now());
    }
    list(&mut state, "ClusterPolicy", &[policy("p", "Audit")]);
    list(&mut state, "PolicyReport", &[report("web-1", "Pod", "u1", "fail"), report("web-2", "Pod", "u2", "fail")]);
    assert!(!state.view().complete, "pods may have owners");
    let pod = |uid: &str| {
        json!({"metadata": {"name": uid, "namespace": "a", "uid": uid,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true}]}})
    };
    list(&mut state, "Pod", &[pod("u1"), pod("u2")]);
    assert!(!state.view().complete, "the replica set may have an owner");
    list(&mut state, "ReplicaSet", &[]);
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (true, (2, 1)));
}

#[test]
fn denied_owners_are_guessed_and_said_so() {
    let mut state = world(&[
        ("ClusterPolicy", policy("p", "Audit")),
        ("PolicyReport", report("web-7d4b9c6f5d-x2x9z", "Pod", "u1", "fail")),
        ("PolicyReport", report("web-7d4b9c6f5d-bbbbb", "Pod", "u2", "fail")),
    ]);
    state.apply(Delta::Stream(stream("Pod"), StreamEvent::State(Sync::Denied { why: "no".into() })), now());
    state.settle();
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (true, (2, 1)));
    assert!(view.notes.iter().any(|note| note.contains("guessed by name")), "{:?}", view.notes);
}

fn blocked_event(name: &str, kind: &str, group: &str, uid: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "reason": "PolicyViolation", "action": "Resource Blocked",
        "reportingComponent": "kyverno-admission", "involvedObject": {"apiVersion": format!("{group}/v1"), "kind": kind, "name": "p"},
        "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "a", "name": "x", "uid": uid}, "message": "Pod a/x: [r] fail (blocked); no"})
}

#[test]
fn refused_admissions_are_counted_without_the_false_ones() {
    let vpol = |action: &str| {
        json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"}, "spec": {"validationActions": [action]},
            "status": {"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}})
    };
    let event = blocked_event("e1", "ValidatingPolicy", "policies.kyverno.io", "never-existed");
    let mut state = world(&[("ValidatingPolicy", vpol("Audit")), ("Event", event.clone())]);
    assert_eq!(state.view().blocked, Some(0), "an audit policy of the CEL kinds cannot have blocked");
    let mut state = world(&[("ValidatingPolicy", vpol("Deny")), ("Event", event.clone())]);
    assert_eq!(state.view().blocked, Some(1));
    change(&mut state, "Event", Change::Put, &event);
    assert_eq!(state.view().blocked, Some(1), "an event counts once");
    change(&mut state, "PolicyReport", Change::Put, &report("x", "Pod", "never-existed", "fail"));
    assert_eq!(state.view().blocked, Some(1), "a report proves no resource: a tenant may have written it");
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "set", "controller": true}]);
    let pod = json!({"metadata": {"name": "x", "namespace": "a", "uid": "never-existed", "ownerReferences": owner}});
    change(&mut state, "Pod", Change::Put, &pod);
    assert_eq!(state.view().blocked, Some(0), "the resource exists, so nothing was refused");
    let cluster_policy = blocked_event("e2", "ClusterPolicy", "kyverno.io", "u");
    change(&mut state, "Event", Change::Put, &cluster_policy);
    assert_eq!(state.view().blocked, Some(1));
    let rows = state.blocked_rows(None);
    assert_eq!((rows.len(), rows[0].count, rows[0].resource.name.as_str()), (1, 1, "x"), "the rows behind the number");
    change(&mut state, "Event", Change::Deleted, &cluster_policy);
    assert_eq!(state.view().blocked, Some(0), "what the cluster has forgotten is forgotten");
}

#[test]
fn unreadable_objects_are_counted_and_cost_no_neighbour() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit"))]);
    let objects =
        vec![Bytes::from("{\"metadata\":{}}"), Bytes::from("not json"), Bytes::from(report("x", "Pod", "u1", "fail").to_string())];
    for event in [StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }, StreamEvent::Skipped, StreamEvent::ListEnded] {
        state.apply(Delta::Stream(stream("PolicyReport"), event), now());
    }
    state.settle();
    let view = state.view();
    assert_eq!((view.malformed, faults(&view)), (3, (1, 1)));
    assert!(!view.complete && view.cells.iter().all(|cell| !cell.complete), "what they say is not known");
    list(&mut state, "PolicyReport", &[]);
    let view = state.view();
    assert_eq!((view.malformed, view.complete), (0, true), "a new list counts anew");
}

#[test]
fn a_policy_that_could_not_be_read_exists() {
    let mut state = world(&[("PolicyReport", report("x", "Pod", "u1", "fail"))]);
    assert_eq!(state.view().stale, 1, "there is no policy p");
    state.apply(Delta::Stream(stream("ClusterPolicy"), StreamEvent::Skipped), now());
    state.settle();
    let view = state.view();
    assert_eq!((view.stale, faults(&view).0, view.complete), (0, 1, false), "it may be the one that was left out");
}

#[test]
fn policies_that_only_results_name_are_counted_and_not_all_listed() {
    let mut flood = report("x", "Pod", "u1", "fail");
    let result = flood["results"][0].clone();
    let named = |n: usize| {
        let mut one = result.clone();
        one["policy"] = json!(format!("made-up-{n:05}"));
        one
    };
    flood["results"] = (0..12_000).map(named).collect();
    let view = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", flood)]).view();
    assert_eq!((view.cells.len(), view.stale), (10_001, 12_000), "the numbers count all");
    assert!(view.cells.iter().any(|cell| cell.key.id.name == "p"), "what exists is listed");
    assert!(view.notes.iter().any(|note| note.contains("2000 policies that only results name")), "{:?}", view.notes);
}

#[test]
fn an_event_that_could_not_be_read_may_be_of_a_blocked_request() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Enforce"))]);
    assert_eq!(state.view().blocked, Some(0));
    state.apply(Delta::Stream(stream("Event"), StreamEvent::Skipped), now());
    state.settle();
    assert_eq!(state.view().blocked, None);
}

#[test]
fn texts_without_room_make_it_incomplete_and_change_no_other_text() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit"))]);
    state.ledger = Ledger::with_text_limit(64 << 10);
    let large = |name: &str| {
        let mut report = report(name, "Pod", name, "fail");
        report["results"][0]["message"] = json!(format!("{name} {}", "m".repeat(12_000)));
        report
    };
    let names = ["a", "b", "c", "d", "e", "f"];
    list(&mut state, "PolicyReport", &names.map(large));
    let view = state.view();
    let rows = state.findings(&FindingQuery::default());
    assert!((1..6).contains(&rows.len()), "{} have room", rows.len());
    assert!(rows.iter().all(|row| row.message.starts_with(&format!("{} m", row.resource.name))), "each has its own text");
    assert_eq!((view.complete, view.malformed), (false, 6 - rows.len() as u64));
    assert!(view.notes.iter().any(|note| note.contains("no room")), "{:?}", view.notes);

    // Room that comes back is used by the next list.
    list(&mut state, "PolicyReport", &[]);
    state.tidy();
    list(&mut state, "PolicyReport", &[large("a")]);
    let view = state.view();
    assert_eq!((view.complete, view.malformed, faults(&view).0), (true, 0, 1), "{:?}", view.notes);
}

#[test]
fn rows_behind_a_number_are_as_many_as_the_number() {
    let state = world(&[
        ("ClusterPolicy", policy("p", "Audit")),
        ("PolicyReport", report("x", "Service", "u1", "fail")),
        ("PolicyReport", report("y", "Service", "u2", "pass")),
    ]);
    assert_eq!(state.findings(&FindingQuery::default()).len(), 2);
    assert_eq!(state.policy_rows(Some("kube-system"))[0].mode, Mode::Off);
    assert_eq!(state.policy_rows(None)[0].mode, Mode::Audit);
}

/// `p` in audit with annotations, and what each of some Pods has as a result: the word, and the message.
fn reported(annotations: &serde_json::Value, action: &str, results: &[(&str, &str)]) -> EnvironmentState {
    let mut made = policy("p", action);
    made["metadata"]["annotations"] = annotations.clone();
    let mut objects = vec![("ClusterPolicy", made)];
    for (at, (result, message)) in results.iter().enumerate() {
        let mut report = report(&format!("x{at}"), "Pod", &format!("u{at}"), result);
        report["results"][0]["message"] = json!(message);
        objects.push(("PolicyReport", report));
    }
    world(&objects)
}

#[test]
fn what_would_be_blocked_counts_whatever_word_the_report_has() {
    let tolerated = "rule skipped as pre-existing violations are allowed";
    let results = [("fail", ""), ("error", ""), ("warn", ""), ("skip", tolerated), ("skip", "preconditions not met"), ("pass", "")];
    let unscored = json!({"policies.kyverno.io/scored": "false"});
    for (annotations, action, expected) in [
        (json!({}), "Audit", &["error", "fail"][..]),
        (unscored, "Audit", &["error", "fail", "warn"]),
        (json!({}), "Enforce", &["error", "fail", "skip"]),
    ] {
        let mut state = reported(&annotations, action, &results);
        let key = state.view().cells[0].key.clone();
        let mut found: Vec<&str> = state.violations(&key).iter().map(|row| row.result.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{annotations} {action}");
        assert_eq!(state.would_block(Some(&key))[0].1.counted, expected.len() as u64);
        let query = FindingQuery { policy: Some(key.clone()), counted: true, ..FindingQuery::default() };
        assert_eq!(state.findings(&query).len(), expected.len(), "the rows behind the gate's number are as many as the number");
        let scored = !expected.contains(&"warn");
        let by_workload = state.view().cells[0].by_workload();
        assert_eq!((by_workload.fail, by_workload.warn), if scored { (1, 1) } else { (2, 0) }, "{annotations}");
    }
}

#[test]
fn what_a_policy_would_not_block_is_not_behind_its_number() {
    let mut ignored = report("x", "Pod", "u1", "fail");
    ignored["metadata"]["namespace"] = json!("kube-system");
    ignored["scope"]["namespace"] = json!("kube-system");
    let mut state =
        world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", ignored), ("PolicyReport", report("y", "Pod", "u2", "fail"))]);
    let key = state.view().cells[0].key.clone();
    let query = FindingQuery { policy: Some(key.clone()), counted: true, ..FindingQuery::default() };
    let names = |query: &FindingQuery| state.findings(query).iter().map(|row| row.resource.name.clone()).collect::<Vec<_>>();
    let (counted, all) = (names(&query), names(&FindingQuery { counted: false, ..query.clone() }));
    assert_eq!((counted.len(), all.len()), (1, 2), "{counted:?} {all:?}");
    assert_eq!(state.would_block(Some(&key))[0].1.counted, 1);
    assert_eq!(names(&FindingQuery { namespace: Some("kube-system".into()), ..query }), Vec::<String>::new());
}

#[test]
fn exceptions_that_only_results_name_are_not_seen() {
    let exception = json!({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "known", "namespace": "team"},
        "spec": {"exceptions": [{"policyName": "p", "ruleNames": ["r"]}]}});
    let by = |name: &str| format!("rule is skipped due to policy exception: {name}");
    let (known, gone) = (by("team/known"), by("kyverno/gone"));
    let mut objects = vec![("ClusterPolicy", policy("p", "Audit"))];
    for (at, message) in [&known, &known, &gone].into_iter().enumerate() {
        let mut report = report(&format!("x{at}"), "Pod", &format!("u{at}"), "skip");
        report["results"][0]["message"] = json!(message);
        objects.push(("PolicyReport", report));
    }
    let mut state = world(&objects);
    let id = KindId::find("kyverno.io", "PolicyException").unwrap();
    let events = [
        StreamEvent::ListStarted,
        StreamEvent::Listed { objects: vec![Bytes::from(exception.to_string())], total: None },
        StreamEvent::ListEnded,
    ];
    for event in events {
        state.apply(Delta::Stream(StreamId { kind: id, namespace: "".into() }, event), now());
    }
    state.settle();
    let found = state.exception_uses();
    assert_eq!(found.rows.iter().map(|row| (row.exception.name.as_str(), row.uses)).collect::<Vec<_>>(), [("known", 2)]);
    assert_eq!(found.unseen.iter().map(|one| (one.name.as_str(), one.uses)).collect::<Vec<_>>(), [("kyverno/gone", 1)]);
}

#[test]
fn modes_that_hang_on_labels_are_unknown_where_labels_are() {
    let by_label = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
        "spec": {"validationFailureAction": "Enforce", "rules": [{"name": "r", "validate": {"message": "no"},
            "match": {"any": [{"resources": {"kinds": ["Pod"], "namespaceSelector": {"matchLabels": {"tier": "gold"}}}}]}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let mut state = world(&[("ClusterPolicy", by_label)]);
    assert_eq!(state.policy_rows(Some("a"))[0].mode, Mode::Off, "the namespace has no such label");
    state.apply(Delta::Stream(stream("Namespace"), StreamEvent::State(Sync::Denied { why: "no".into() })), now());
    state.settle();
    assert_eq!(state.policy_rows(Some("a"))[0].mode, Mode::Unknown);
}

fn cel_policy(kind: &str, namespace: &str, name: &str) -> serde_json::Value {
    json!({"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "spec": {"validationActions": ["Audit"]}, "status": {"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}})
}

fn cell_of<'v>(view: &'v EnvironmentView, kind: &str) -> &'v crate::fleet::view::PolicyCell {
    view.cells.iter().find(|cell| cell.key.id.kind == kind).unwrap()
}

#[test]
fn a_result_that_may_be_of_two_policies_makes_both_unknown() {
    let mut of_any = report("x", "Pod", "u1", "fail");
    of_any["results"] = json!([{"source": "kyverno", "policy": "a/check", "result": "fail"}]);
    let validating = || ("NamespacedValidatingPolicy", cel_policy("NamespacedValidatingPolicy", "a", "check"));
    let images = || ("NamespacedImageValidatingPolicy", cel_policy("NamespacedImageValidatingPolicy", "a", "check"));
    let mut state = world(&[validating(), ("PolicyReport", of_any.clone())]);
    let view = state.view();
    let cell = cell_of(&view, "NamespacedValidatingPolicy");
    assert_eq!((cell.findings.fail, cell.complete, view.stale, view.cells.len()), (1, true, 0, 1), "it can mean one policy only");
    let mut state = world(&[validating(), images(), ("PolicyReport", of_any)]);
    let view = state.view();
    for kind in ["NamespacedValidatingPolicy", "NamespacedImageValidatingPolicy"] {
        let cell = cell_of(&view, kind);
        assert_eq!((cell.findings.fail, cell.complete), (0, false), "{kind}");
        assert!(cell.doubt.as_ref().is_some_and(|doubt| doubt.contains("a/check")), "{kind}: {:?}", cell.doubt);
    }
    change(&mut state, "NamespacedImageValidatingPolicy", Change::Deleted, &images().1);
    let view = state.view();
    let cell = cell_of(&view, "NamespacedValidatingPolicy");
    assert_eq!((cell.findings.fail, cell.complete, view.stale), (1, true, 0), "it is certain again");
}

#[test]
fn a_kind_in_another_version_is_unread_and_not_complete() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", report("x", "Pod", "u1", "fail"))]);
    assert!(state.view().complete);
    state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::Unread { why: "v1beta1 only".into() }), now());
    state.settle();
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (false, (0, 0)), "what was read is not what is there now");
    list(&mut state, "PolicyReport", &[report("x", "Pod", "u1", "fail")]);
    let view = state.view();
    assert_eq!((view.complete, faults(&view)), (true, (1, 1)));
}

#[test]
fn kyverno_without_any_report_api_is_not_complete() {
    let reports = ["PolicyReport", "ClusterPolicyReport", "Report", "ClusterReport"];
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit"))]);
    for kind in &reports[..3] {
        state.apply(Delta::Stream(stream(kind), StreamEvent::NotInstalled), now());
    }
    assert!(state.view().complete, "one report API is enough");
    state.apply(Delta::Stream(stream(reports[3]), StreamEvent::NotInstalled), now());
    let view = state.view();
    assert_eq!((view.complete, view.cells[0].complete), (false, false));
    assert!(view.notes.iter().any(|note| note.contains("no report API")), "{:?}", view.notes);
    for id in KindId::all().filter(|id| id.kind().group.ends_with("kyverno.io")) {
        state.apply(Delta::Stream(StreamId { kind: id, namespace: "".into() }, StreamEvent::NotInstalled), now());
    }
    assert!(state.view().complete, "without Kyverno nothing is missing");
}

#[test]
fn summaries_stand_in_until_results_are_complete() {
    let mut state = state();
    let tally = Tally { pass: 7, fail: 3, ..Tally::default() };
    state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::Summaries(tally)), now());
    assert_eq!(state.view().summaries, Some(tally));
    list(&mut state, "PolicyReport", &[]);
    assert_eq!(state.view().summaries, None);
}

#[test]
fn webhooks_that_are_not_read_say_why() {
    let mut state = world(&[("ClusterPolicy", policy("p", "Enforce"))]);
    let why = "admissionregistration.k8s.io serves v2, which is not read (v1 can be)";
    state.apply(Delta::Stream(stream("ValidatingWebhookConfiguration"), StreamEvent::Unread { why: why.into() }), now());
    state.settle();
    let judged = state.view().cells[0].in_force.clone();
    assert_eq!(judged.reason(), format!("cannot read kyverno-resource-validating-webhook-cfg: {why}"));
}

#[test]
fn the_worst_and_oldest_reports_are_named_first() {
    let report = |name: &str, word: &str, seconds: Option<i64>| {
        let mut result = json!({"source": "kyverno", "policy": "p", "rule": "r", "result": word});
        if let Some(seconds) = seconds {
            result["timestamp"] = json!({"seconds": seconds, "nanos": 0});
        }
        let report = json!({"metadata": {"name": name, "namespace": "a"},
            "scope": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "a", "uid": name}, "results": [result]});
        ("PolicyReport", report)
    };
    let mut objects = vec![("ClusterPolicy", policy("p", "Audit"))];
    objects.extend([report("new", "fail", Some(900)), report("old", "fail", Some(100)), report("timeless", "fail", None)]);
    objects.extend([report("worst", "error", Some(999)), report("fine", "pass", Some(1))]);
    objects.extend((0..4).map(|n| report(&format!("more-{n}"), "fail", Some(500 + n))));
    let state = world(&objects);
    let found = state.would_block(None).remove(0).1;
    let names: Vec<&str> = found.reports.iter().map(|holding| holding.report.name.as_str()).collect();
    assert_eq!((names, found.more_reports), (vec!["worst", "timeless", "old", "more-0", "more-1"], 3));
}

#[test]
fn claims_of_other_namespaces_reports_are_listed_by_report() {
    let claim = |name: &str, about: &[(&str, &str)]| {
        let results: Vec<_> = about
            .iter()
            .map(|(namespace, result)| {
                json!({"source": "kyverno", "policy": "p", "rule": "r", "result": result,
                    "resources": [{"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": namespace, "uid": format!("{namespace}-web")}]})
            })
            .collect();
        ("PolicyReport", json!({"metadata": {"name": name, "namespace": "evil"}, "results": results}))
    };
    let claims = |reports: Vec<(&str, serde_json::Value)>| {
        let objects = [vec![("ClusterPolicy", policy("p", "Audit"))], reports].concat();
        let found = world(&objects).claims(None);
        found.into_values().flatten().map(|claim| (claim.object.to_string(), claim.count, claim.content)).collect::<Vec<_>>()
    };
    assert_eq!(claims(vec![claim("own", &[("evil", "fail")])]), []);
    let two = claims(vec![claim("one", &[("b", "pass")]), claim("two", &[("b", "pass"), ("c", "fail"), ("evil", "pass")])]);
    let named: Vec<_> = two.iter().map(|(object, count, _)| (object.as_str(), *count)).collect();
    assert_eq!(named, [("policyreport/evil/two", 2), ("policyreport/evil/one", 1)]);
    let again = claims(vec![claim("two", &[("evil", "fail"), ("c", "fail"), ("b", "pass")])]);
    assert_eq!(again[0].2, two[0].2, "in another order, with another result of its own");
    assert_ne!(claims(vec![claim("two", &[("b", "fail"), ("c", "fail")])])[0].2, two[0].2);
}

#[test]
fn only_what_is_evaluated_where_a_policy_blocks_counts() {
    type Rows<'a> = &'a [(&'a str, &'a str)];
    let in_namespace = |place: usize, (namespace, word): &(&str, &str)| {
        let name = format!("{namespace}-{place}");
        json!({"metadata": {"name": name, "namespace": namespace},
            "scope": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": namespace, "uid": name},
            "results": [{"source": "kyverno", "policy": "p", "rule": "r", "result": word}]})
    };
    // (rows, counted, in namespaces that Kyverno ignores, where the override keeps audit)
    let table: [(Rows<'_>, [u64; 3]); 7] = [
        (&[("a", "pass")], [0, 0, 0]),
        (&[("kube-system", "pass")], [0, 1, 0]),
        (&[("kept", "pass"), ("kept", "warn"), ("kept", "fail")], [0, 0, 3]),
        (&[("kube-system", "skip"), ("kept", "skip")], [0, 0, 0]),
        (&[("kube-system", "fail"), ("a", "fail"), ("a", "pass")], [1, 1, 0]),
        (&[("kept", "pass"), ("kube-system", "pass"), ("kube-system", "error"), ("a", "error")], [1, 2, 1]),
        (&[], [0, 0, 0]),
    ];
    for (rows, [counted, left_alone, audited]) in table {
        let mut overridden = policy("p", "Audit");
        overridden["spec"]["validationFailureActionOverrides"] = json!([{"action": "Audit", "namespaces": ["kept"]}]);
        let mut objects = vec![("ClusterPolicy", overridden)];
        objects.extend(rows.iter().enumerate().map(|(place, row)| ("PolicyReport", in_namespace(place, row))));
        let state = world(&objects);
        let expected = WouldBlock { counted, left_alone, audited, scans: true, ..WouldBlock::default() };
        let found: Vec<_> = state.would_block(None).into_iter().map(|(_, found)| found).collect();
        let held: u64 = found.iter().flat_map(|found| &found.reports).map(|holding| holding.count).sum();
        assert_eq!(held, counted, "{rows:?}: reports hold what is counted");
        let found: Vec<_> = found.into_iter().map(|found| WouldBlock { reports: Vec::new(), ..found }).collect();
        assert_eq!(found, [expected], "{rows:?}");
    }
}

/// The failures that disappeared of the only policy, and whether their resource is known to exist.
fn disappeared(state: &mut EnvironmentState) -> Option<(u64, Option<Existence>)> {
    let view = state.view();
    let disappeared = view.cells[0].disappeared.as_deref()?;
    Some((disappeared.results, disappeared.existence.clone()))
}

fn answer(state: &mut EnvironmentState, existence: &Existence) {
    let answers = state.to_ask().into_iter().map(|resource| (resource, existence.clone())).collect();
    state.apply(Delta::Existence(answers), now());
    state.settle();
}

#[test]
fn a_failure_that_disappears_is_no_pass_until_its_resource_is_gone() {
    let failing = report("x", "Pod", "u1", "fail");
    let with_failure = || world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", failing.clone())]);
    let unread = Existence::NotRead { why: "pods is forbidden".into() };
    for (answered, expected) in [
        (None, Some((1, None))),
        (Some(Existence::Exists), Some((1, Some(Existence::Exists)))),
        (Some(unread.clone()), Some((1, Some(unread)))),
        (Some(Existence::Gone), None),
    ] {
        let mut state = with_failure();
        assert_eq!((disappeared(&mut state), state.to_ask().len()), (None, 0), "nothing is asked while it is reported");
        change(&mut state, "PolicyReport", Change::Deleted, &failing);
        assert_eq!(state.to_ask().iter().map(|resource| resource.uid.as_str()).collect::<Vec<_>>(), ["u1"]);
        if let Some(answered) = &answered {
            answer(&mut state, answered);
            assert!(state.to_ask().is_empty(), "it was asked a moment ago");
        }
        assert_eq!(disappeared(&mut state), expected, "{answered:?}");
        let mut again = report("x", "Pod", "u1", "pass");
        change(&mut state, "PolicyReport", Change::Put, &again);
        assert_eq!(disappeared(&mut state), expected, "a pass that is not newer was there before, or may have been");
        again["results"][0]["timestamp"] = json!({"seconds": 1_699_999_000});
        change(&mut state, "PolicyReport", Change::Put, &again);
        assert_eq!(disappeared(&mut state), None, "it was evaluated again");
    }
}

/// What happens, and how many failures have disappeared then.
type Disappearance<'a> = (&'a str, fn(&mut EnvironmentState), Option<u64>);

#[test]
fn only_failures_that_nothing_explains_have_disappeared() {
    let failing = report("x", "Pod", "u1", "fail");
    let cases: [Disappearance<'_>; 10] = [
        (
            "a report that names it no more",
            |state| {
                let mut emptied = report("x", "Pod", "u1", "fail");
                emptied["results"] = json!([]);
                change(state, "PolicyReport", Change::Put, &emptied);
            },
            Some(1),
        ),
        ("a list without it", |state| list(state, "PolicyReport", &[]), Some(1)),
        (
            "a pass that another client wrote over it",
            |state| {
                let mut forged = report("x", "Pod", "u1", "pass");
                forged["metadata"]["managedFields"] = json!([{"manager": "kubectl-edit", "fieldsV1": {"f:results": {}}}]);
                forged["results"][0]["timestamp"] = json!({"seconds": 1_699_999_000});
                change(state, "PolicyReport", Change::Put, &forged);
            },
            Some(1),
        ),
        (
            "an older pass in another report",
            |state| {
                change(state, "Report", Change::Put, &report("x", "Pod", "u1", "pass"));
                change(state, "PolicyReport", Change::Deleted, &report("x", "Pod", "u1", "fail"));
            },
            Some(1),
        ),
        ("another result", |state| change(state, "PolicyReport", Change::Put, &report("x", "Pod", "u1", "skip")), None),
        (
            "a report of another name in the same batch",
            |state| {
                let mut other = report("x", "Pod", "u1", "fail");
                other["metadata"]["name"] = json!("other");
                let news = [(Change::Deleted, report("x", "Pod", "u1", "fail")), (Change::Put, other)];
                let news = news.into_iter().map(|(change, object)| (change, Bytes::from(object.to_string()))).collect();
                state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::Changed(news)), now());
                state.settle();
            },
            None,
        ),
        (
            "reports are not read any more",
            |state| {
                state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::Dropped), now());
                state.settle();
            },
            None,
        ),
        (
            "their API was removed",
            |state| {
                state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::NotInstalled), now());
                state.settle();
            },
            None,
        ),
        (
            "the policy changes",
            |state| {
                change(state, "PolicyReport", Change::Deleted, &report("x", "Pod", "u1", "fail"));
                let mut other = policy("p", "Audit");
                other["spec"]["rules"][0]["match"] = json!({"any": [{"resources": {"kinds": ["Service"]}}]});
                change(state, "ClusterPolicy", Change::Put, &other);
            },
            None,
        ),
        (
            "a scan later",
            |state| {
                state.facts.scan_interval = Some(SignedDuration::from_hours(1));
                change(state, "PolicyReport", Change::Deleted, &report("x", "Pod", "u1", "fail"));
                assert_eq!(disappeared(state), Some((1, None)), "the scan has not reached it");
                state.apply(Delta::Stream(stream("ClusterPolicy"), StreamEvent::State(Sync::Live)), now() + SignedDuration::from_mins(66));
                state.settle();
            },
            None,
        ),
    ];
    for (name, happens, expected) in cases {
        let mut state = world(&[("ClusterPolicy", policy("p", "Audit")), ("PolicyReport", failing.clone())]);
        happens(&mut state);
        assert_eq!(disappeared(&mut state).map(|(results, _)| results), expected, "{name}");
    }
}

#[test]
fn more_failures_than_can_be_looked_at_are_counted() {
    let reports: Vec<_> = (0..1_200).map(|n| report(&format!("x{n}"), "Pod", &format!("u{n}"), "fail")).collect();
    let mut state = world(&[("ClusterPolicy", policy("p", "Audit"))]);
    list(&mut state, "PolicyReport", &reports);
    list(&mut state, "PolicyReport", &[]);
    assert_eq!((disappeared(&mut state), state.to_ask().len()), (Some((1_200, None)), 64));
    for _ in 0..20 {
        answer(&mut state, &Existence::Gone);
    }
    assert_eq!(disappeared(&mut state).map(|(results, _)| results), Some(200), "those beyond the limit stay unknown");
}

#[test]
fn what_kyverno_did_not_write_is_counted_where_it_counts() {
    let by = |manager: &str, policy: &str, uid: &str| {
        let mut report = report("x", "Pod", uid, "fail");
        report["metadata"]["managedFields"] = json!([{"manager": manager, "fieldsV1": {"f:results": {}}}]);
        report["results"][0]["policy"] = json!(policy);
        ("PolicyReport", report)
    };
    let objects = [by("reports-controller", "p", "u1"), by("kubectl-edit", "p", "u2"), by("kubectl-edit", "gone", "u3")];
    let mut state = world(&[vec![("ClusterPolicy", policy("p", "Audit"))], objects.to_vec()].concat());
    let view = state.view();
    assert_eq!((view.unverified, view.stale), (1, 1), "a stale result counts nowhere");
    let rows = state.findings(&FindingQuery::default());
    let written_by: Vec<_> = rows.iter().map(|row| (row.resource.uid.as_str(), row.written_by.as_deref())).collect();
    assert_eq!(written_by, [("u1", None), ("u2", Some("kubectl-edit"))]);
    // The next scan puts it right, although it finds the same.
    change(&mut state, "PolicyReport", Change::Put, &by("reports-controller", "p", "u2").1);
    assert_eq!(state.view().unverified, 0);
}
