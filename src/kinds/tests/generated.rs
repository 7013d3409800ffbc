//! Reports, policies, exceptions, events and namespaces that are wrong in any way: no panic, and what is wrong costs only itself.

use crate::domain::{Action, Mode};
use crate::kinds::mode::{Kyverno, mode_in, overrides_in_words, policy_mode, rule_mode};
use crate::kinds::report::{RawResult, Repeated, read_metadata, read_report};
use crate::kinds::set_mode::{satisfies, set_mode, written_mode};
use crate::kinds::transfer::{Stamp, manifest_for, stamp, unknown_fields};
use crate::kinds::{Family, KindId, Namespace, Release, read_event, read_exception, read_policy};
use crate::testing::{Dice, Document, broken, cases, deep, many_cases, monster};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Manifests of every kind of policy and exception.
const MANIFESTS: [&str; 5] = [
    include_str!("../../../assets/demo/policies/classic.yaml"),
    include_str!("../../../assets/demo/policies/cel.yaml"),
    include_str!("../../../assets/demo/policies/others.yaml"),
    include_str!("../../../assets/demo/exceptions.yaml"),
    include_str!("../../../assets/demo/extras.yaml"),
];

/// The manifests that can be read, with their kinds.
static OBJECTS: LazyLock<Vec<(KindId, Value)>> = LazyLock::new(|| {
    let documents = MANIFESTS.iter().flat_map(|text| text.split("\n---"));
    let values = documents.filter_map(|text| serde_saphyr::from_str::<Value>(text).ok());
    let known = values.filter_map(|value| Some((KindId::of_object(&value)?, value)));
    known.filter(|(kind, _)| matches!(kind.kind().family, Family::Policy | Family::Exception)).collect()
});

fn result(n: usize, dice: &mut Dice) -> Value {
    let mut result = json!({"message": format!("good {n}"), "policy": "p", "result": "fail", "rule": "r", "source": "kyverno"});
    if dice.one_in(2) {
        result["properties"] = json!({"exceptions": "e", "process": "background scan"});
        (result["severity"], result["category"]) = (json!("high"), json!("Best Practices"));
    }
    if !dice.one_in(3) {
        result["timestamp"] = json!({"nanos": 0, "seconds": 1_700_000_000 + dice.below(3)});
    }
    if dice.one_in(4) {
        result["resources"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "namespace": "a", "uid": "u"}]);
    }
    result
}

fn report(dice: &mut Dice) -> Value {
    let results: Vec<Value> = (0..dice.below(4)).map(|n| result(n % 2, dice)).collect();
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"labels": {"a": "b"}, "name": "r", "namespace": "a"},
        "results": results, "scope": {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "a", "uid": "u"}, "source": "trivy",
        "summary": {"fail": 1}})
}

/// What a result says, apart from what it is about and when.
type Said = Vec<String>;

fn said(result: &RawResult<'_>) -> Said {
    let texts = [&result.source, &result.policy, &result.rule, &result.severity, &result.category, &result.message];
    let pairs = result.properties.0.iter().map(|(key, value)| format!("{}={}", key.as_str(), value.as_str()));
    texts.iter().map(|text| text.as_str().to_owned()).chain([format!("{:?}", result.result())]).chain(pairs).collect()
}

#[test]
fn reports_of_any_bytes_are_read_or_refused() {
    cases("reports_of_any_bytes", 20_000, |dice| {
        let mut repeated: Repeated<usize> = Repeated::default();
        let mut sayings: Vec<Said> = Vec::new();
        let whole = [report(dice), report(dice)].map(|report| Document(report).text());
        let mut twisted = Document(report(dice));
        twisted.twist(dice);
        let bad = broken(&whole, dice);
        for json in whole.iter().chain([&twisted.text(), &bad]) {
            // As the ledger learns: results that can be counted, about the report's scope, with a source of their own.
            let plain = repeated.read(json, |raw| {
                let plain = raw.is_readable() && raw.resources().is_empty() && !raw.source.as_str().is_empty();
                plain.then(|| {
                    sayings.push(said(raw));
                    sayings.len() - 1
                })
            });
            let long = read_report(json);
            // Bytes that are no text are no JSON: the long way refuses them wherever they stand.
            if let Some(short) = plain.filter(|_| std::str::from_utf8(json).is_ok()) {
                let long = long.expect("the short way reads nothing that the long way does not");
                assert_eq!((long.malformed, &long.scope), (0, &short.scope));
                assert_eq!((long.metadata.name, long.metadata.namespace), (short.metadata.name, short.metadata.namespace));
                let short: Vec<(Said, i64)> = short.results.iter().map(|&(place, time)| (sayings[place].clone(), time)).collect();
                let long: Vec<(Said, i64)> = long.results.iter().map(|result| (said(result), result.seconds())).collect();
                assert_eq!(short, long);
            }
            drop(read_metadata(json));
        }
    });
}

#[test]
fn a_bad_result_costs_only_itself() {
    cases("a_bad_result_costs", 20_000, |dice| {
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut good: Vec<String> = Vec::new();
        for n in 0..dice.below(6) {
            let mut entry = Document(result(n, dice));
            match dice.below(6) {
                0 => entry.0["message"] = json!("twisted"),
                1 => entry.0 = monster(dice),
                _ => {
                    good.push(format!("good {n}"));
                    entries.push(entry.text());
                    continue;
                }
            }
            entry.twist(dice);
            entries.push(entry.text());
        }
        if dice.one_in(500) {
            let depth = 20_000;
            entries.push([b"{\"x\":".repeat(depth), b"1".to_vec(), b"}".repeat(depth)].concat());
        }
        let json = [b"{\"metadata\":{\"name\":\"n\"},\"results\":[".as_slice(), &entries.join(&b','), b"]}"].concat();
        let report = read_report(&json).unwrap();
        assert_eq!(report.results.len() + report.malformed as usize, entries.len());
        let kept: Vec<&str> = report.results.iter().map(|r| r.message.as_str()).filter(|m| m.starts_with("good ")).collect();
        assert_eq!(kept, good);
    });
}

#[test]
fn policies_and_exceptions_are_read_if_they_have_a_name() {
    let namespaces = ["", "default", "kube-system", "prod-eu"].map(|name| Namespace::new(name, BTreeMap::new()));
    cases("policies_and_exceptions", 20_000, |dice| {
        let (kind, object) = dice.of(&OBJECTS);
        let mut document = Document(object.clone());
        (0..=dice.below(3)).for_each(|_| document.twist(dice));
        let named = document.0.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        if kind.kind().family == Family::Exception {
            assert_eq!(read_exception(kind.kind(), &document.0).is_ok(), named);
            return;
        }
        let read = read_policy(kind.kind(), &document.0);
        assert_eq!(read.is_ok(), named, "{read:?}");
        let Ok(policy) = read else { return };
        let kyverno = Kyverno::new(Release::exactly(10 + dice.below(11) as u16));
        let modes = namespaces.iter().map(|namespace| mode_in(&policy, &kyverno, namespace));
        assert!(modes.chain([policy_mode(&policy, &kyverno)]).all(|mode| mode != Mode::Absent));
        for rule in &policy.rules {
            drop(overrides_in_words(rule, &policy));
            assert_ne!(rule_mode(&policy, rule, &kyverno, Some(dice.of(&namespaces))), Mode::Absent);
        }
    });
}

#[test]
fn modes_are_set_as_asked_or_refused() {
    many_cases("modes_are_set_as_asked_or_refused", 10_000, 50, |dice| {
        let (kind, object) = dice.of(&OBJECTS);
        if kind.kind().family == Family::Exception {
            return;
        }
        let mut document = Document(object.clone());
        dice.some(3, |_| ()).iter().for_each(|()| document.twist(dice));
        let kyverno = Kyverno::new(Release::exactly(10 + dice.below(11) as u16));
        let target = *dice.of(&[Action::Audit, Action::Enforce]);
        let Ok(change) = set_mode(kind.kind(), &document.0, target, &kyverno) else { return };
        let mut patched = document.0.clone();
        json_patch::patch(&mut patched, &change.patch).unwrap();
        assert_eq!(patched, change.after);
        let mode = written_mode(kind.kind(), &change.after, &kyverno).unwrap();
        let acts = kind.kind().kind.ends_with("MutatingPolicy") || kind.kind().kind.ends_with("GeneratingPolicy");
        assert!(satisfies(mode, target) || acts, "{mode}: {}", document.0);
    });
}

#[test]
fn what_travels_has_no_trace_of_where_it_was() {
    many_cases("what_travels_has_no_trace", 10_000, 50, |dice| {
        let (kind, object) = dice.of(&OBJECTS);
        let mut documents = [Document(object.clone()), Document(object.clone())];
        for document in &mut documents {
            document.0["metadata"]["uid"] = json!("u");
            document.0["metadata"]["labels"] = json!({"app.kubernetes.io/instance": "x", "team": "a"});
            dice.some(3, |_| ()).iter().for_each(|()| document.twist(dice));
        }
        let [source, existing] = documents;
        drop(unknown_fields(&source.0, &existing.0, &source.0));
        let existing = dice.one_in(2).then_some(&existing.0);
        let Ok(mut transfer) = manifest_for(kind.kind(), &source.0, existing, kind.kind().versions) else { return };
        let metadata = transfer.object["metadata"].as_object().unwrap();
        assert!(!metadata.contains_key("uid") && transfer.object.get("status").is_none());
        let kept = existing.and_then(|existing| existing.pointer("/metadata/labels/app.kubernetes.io~1instance"));
        assert_eq!(transfer.object.pointer("/metadata/labels/app.kubernetes.io~1instance"), kept);
        assert_eq!(KindId::of_object(&transfer.object), Some(*kind));
        let facts = Stamp { by: "jane".to_owned(), ..Stamp::default() };
        stamp(&mut transfer.object, &facts).unwrap();
        assert_eq!(transfer.object["metadata"]["annotations"]["policydeck.dev/by"], json!("jane"));
    });
}

#[test]
fn events_and_namespaces_of_any_shape_are_read_or_left() {
    let events = [
        json!({"metadata": {"name": "e", "namespace": "default", "uid": "e1", "creationTimestamp": "2026-08-21T10:00:00Z"}, "reason": "PolicyViolation",
            "action": "Resource Blocked", "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "p", "uid": "p1"},
            "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "dev", "name": "web", "uid": "r1"}, "eventTime": "2026-08-21T10:00:01.123456Z",
            "count": 2, "series": {"count": 4, "lastObservedTime": "2026-08-21T11:00:00.000000Z"}, "message": "Pod dev/web: [r] fail (blocked); no"}),
        json!({"metadata": {"name": "e"}, "reason": "PolicyViolation", "regarding": {"kind": "Policy", "namespace": "a", "name": "p"},
            "note": "Pod dev/web: [r] fail (blocked); no", "deprecatedCount": 7}),
        json!({"metadata": {"name": "a", "labels": {"tier": "gold"}}}),
    ];
    cases("events_and_namespaces", 20_000, |dice| {
        let mut document = Document(dice.of(&events).clone());
        (0..=dice.below(3)).for_each(|_| document.twist(dice));
        if let Some(blocked) = read_event(&document.0) {
            assert!(!blocked.policy.name.is_empty() && (1..=u64::from(u32::MAX)).contains(&blocked.count), "{blocked:?}");
        }
        drop(Namespace::read(&document.0));
    });
}

#[test]
fn objects_that_are_deeper_than_any_stack_are_refused() {
    cases("objects_that_are_deeper", 200, |dice| {
        let deep = deep(dice);
        drop(read_report(&deep));
        drop(serde_json::from_slice::<Value>(&deep));
        let inside = [b"{\"metadata\":{\"name\":\"n\"},\"spec\":".as_slice(), &deep, b"}"].concat();
        drop(read_report(&inside));
        drop(Repeated::<u8>::default().read(&inside, |_| None));
        drop(read_metadata(&inside));
    });
}
