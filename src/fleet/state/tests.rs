//! The state against small worlds.

mod generated;

use super::*;
use crate::domain::{Mode, Tally};
use crate::fleet::query::FindingQuery;
use crate::fleet::view::EnvironmentView;
use serde_json::json;

fn state() -> EnvironmentState {
    let mut state = EnvironmentState::new(Identity { name: "dev".into(), tier: Tier::Normal, context: "kind-dev".into() });
    let kyverno = Kyverno::new(Release::exactly(19));
    state.apply(Delta::Kyverno(KyvernoFacts { installed: true, version: None, kyverno, scan_interval: None, notes: Vec::new() }), now());
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
    list(&mut state, "PolicyReport", &[]);
    assert_eq!(state.view().malformed, 0, "a new list counts anew");
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

#[test]
fn summaries_stand_in_until_results_are_complete() {
    let mut state = state();
    let tally = Tally { pass: 7, fail: 3, ..Tally::default() };
    state.apply(Delta::Stream(stream("PolicyReport"), StreamEvent::Summaries(tally)), now());
    assert_eq!(state.view().summaries, Some(tally));
    list(&mut state, "PolicyReport", &[]);
    assert_eq!(state.view().summaries, None);
}
