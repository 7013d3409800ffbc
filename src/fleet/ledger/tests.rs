//! The ledger against a count from scratch, by tables and by random histories.

use super::*;
use crate::fleet::query::FindingQuery;
use crate::kinds::KindId;
use proptest::prelude::*;
use std::collections::BTreeMap;

const POLICY_REPORT: u8 = 0;
const OPEN_REPORT: u8 = 1;
const PODS: u8 = 8;

fn uid(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
}

/// One result: policy number, rule name, result, time, index of the resource.
type Res = (u8, &'static str, FindingResult, u32, u8);

fn report_json(name: &str, scope: Option<u8>, results: &[Res]) -> String {
    let reference =
        |n: u8| serde_json::json!({"apiVersion": "v1", "kind": "Pod", "namespace": "a", "name": format!("pod-{n}"), "uid": uid(n)});
    let results: Vec<_> = results
        .iter()
        .map(|(policy, rule, result, time, resource)| {
            let mut one = serde_json::json!({"source": "kyverno", "policy": format!("p{policy}"), "rule": rule, "result": result, "timestamp": {"seconds": time}, "message": format!("m {rule}")});
            if scope.is_none() {
                one["resources"] = serde_json::json!([reference(*resource)]);
            }
            one
        })
        .collect();
    let mut report = serde_json::json!({"metadata": {"name": name, "namespace": "a", "uid": name}, "results": results});
    if let Some(scope) = scope {
        report["scope"] = reference(scope);
    }
    report.to_string()
}

fn existing(policies: &[(&str, &[&str])]) -> Existing {
    let rules = |names: &[&str]| Some(names.iter().map(|&r| r.to_owned()).collect());
    let policies = policies.iter().map(|(name, names)| ((*name).to_owned(), rules(names))).collect();
    Existing([("kyverno", Known { cluster_wide: true, namespaced: true, policies, ..Known::default() })].into())
}

/// Per policy: findings, owners, stale.
fn totals(ledger: &Ledger) -> BTreeMap<String, (Tally, Tally, u64)> {
    ledger.sums().into_iter().map(|sum| (sum.key.id.report_name(), (sum.findings, sum.owners, sum.stale))).collect()
}

fn tally(pairs: &[FindingResult]) -> Tally {
    let mut tally = Tally::default();
    for &result in pairs {
        tally.add(result);
    }
    tally
}

use FindingResult::{Error, Fail, Pass, Skip};

fn put(ledger: &mut Ledger, kind: u8, json: &str) {
    ledger.put(kind, json.as_bytes()).unwrap();
    ledger.settle();
}

fn link(ledger: &mut Ledger, child: u8, owner: Option<u8>) {
    let (child_uid, owner_uid) = (uid(child), uid(owner.unwrap_or_default()));
    let owner = owner.map(|_| Ledger::reference("apps/v1", "ReplicaSet", "a", "rs", &owner_uid));
    ledger.link(PODS, &Ledger::reference("v1", "Pod", "a", "pod", &child_uid), owner.as_ref());
    ledger.settle();
}

#[test]
fn every_kind_of_the_registry_is_counted() {
    for kind in KindId::all().map(|id| id.index() as u8) {
        let mut ledger = Ledger::default();
        put(&mut ledger, kind, &report_json("x", Some(1), &[(0, "r", Fail, 5, 1)]));
        let owner = Ledger::reference("apps/v1", "ReplicaSet", "a", "rs", "owner");
        ledger.link(kind, &Ledger::reference("v1", "Pod", "a", "pod", "child"), Some(&owner));
        assert_eq!((ledger.reports_of(kind), ledger.links_of(kind)), (1, 1), "kind number {kind}");
    }
}

#[test]
fn pods_collapse_to_their_owner_and_the_worst_counts() {
    let mut ledger = Ledger::default();
    put(&mut ledger, POLICY_REPORT, &report_json("a", Some(1), &[(0, "r", Pass, 5, 1)]));
    put(&mut ledger, POLICY_REPORT, &report_json("b", Some(2), &[(0, "r", Fail, 5, 2)]));
    put(&mut ledger, POLICY_REPORT, &report_json("c", Some(3), &[(0, "autogen-r", Pass, 5, 3)]));
    assert_eq!(totals(&ledger)["p0"], (tally(&[Pass, Fail, Pass]), tally(&[Pass, Fail, Pass]), 0));
    link(&mut ledger, 1, Some(3));
    link(&mut ledger, 2, Some(3));
    assert_eq!(totals(&ledger)["p0"], (tally(&[Pass, Fail, Pass]), tally(&[Fail]), 0));
    let rows = ledger.findings(&FindingQuery { by_owner: true, ..FindingQuery::default() });
    assert_eq!((rows.len(), rows[0].result, rows[0].resources, &*rows[0].rule), (1, Fail, 3, "r"));
    link(&mut ledger, 2, None);
    assert_eq!(totals(&ledger)["p0"].1, tally(&[Fail, Pass]));
}

#[test]
fn the_same_finding_in_two_groups_counts_once() {
    let mut ledger = Ledger::default();
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(1), &[(0, "r", Fail, 5, 1)]));
    put(&mut ledger, OPEN_REPORT, &report_json("y", Some(1), &[(0, "r", Pass, 6, 1)]));
    assert_eq!(totals(&ledger)["p0"].0, tally(&[Pass]), "the newest wins");
    put(&mut ledger, OPEN_REPORT, &report_json("y", Some(1), &[(0, "r", Pass, 5, 1)]));
    assert_eq!(totals(&ledger)["p0"].0, tally(&[Fail]), "then the worse");
    ledger.remove(POLICY_REPORT, "a", "x");
    ledger.settle();
    assert_eq!(totals(&ledger)["p0"].0, tally(&[Pass]));
}

#[test]
fn results_of_what_no_longer_exists_are_stale() {
    let mut ledger = Ledger::default();
    let results = [(0, "r", Fail, 5, 1), (0, "autogen-r", Fail, 5, 1), (0, "old", Fail, 5, 1), (1, "r", Error, 5, 1)];
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(1), &results));
    ledger.set_existing(existing(&[("p0", &["r"])]));
    assert_eq!(totals(&ledger)["p0"], (tally(&[Fail, Fail]), tally(&[Fail]), 1));
    assert_eq!(totals(&ledger)["p1"], (Tally::default(), Tally::default(), 1));
    ledger.set_existing(existing(&[("p0", &["r", "old"]), ("p1", &["r"])]));
    assert_eq!(totals(&ledger)["p1"].1, tally(&[Error]));
    assert_eq!(ledger.findings(&FindingQuery::default()).len(), 4);
}

/// A report of namespace `a` (or of the cluster) with whatever results.
fn report_of(namespace: &str, name: &str, scope: &serde_json::Value, results: &serde_json::Value) -> String {
    let mut report = serde_json::json!({"metadata": {"name": name, "uid": name}, "results": results});
    if !namespace.is_empty() {
        report["metadata"]["namespace"] = namespace.into();
    }
    if !scope.is_null() {
        report["scope"] = scope.clone();
    }
    report.to_string()
}

fn result(policy: &str, rule: &str, result: &str, time: u32) -> serde_json::Value {
    serde_json::json!({"source": "kyverno", "policy": policy, "rule": rule, "result": result, "timestamp": {"nanos": 0, "seconds": time}})
}

fn about(mut result: serde_json::Value, resources: &serde_json::Value) -> serde_json::Value {
    result["resources"] = resources.clone();
    result
}

#[test]
fn a_rule_that_is_really_called_so_is_the_policys_own() {
    let scope = |kind: &str| serde_json::json!({"apiVersion": "apps/v1", "kind": kind, "namespace": "a", "name": "web", "uid": kind});
    let mut ledger = Ledger::default();
    ledger.set_existing(existing(&[("p", &["cronjob-limits", "limits"])]));
    for (kind, rule) in [("Deployment", "autogen-cronjob-limits"), ("CronJob", "autogen-cronjob-limits"), ("Pod", "cronjob-limits")] {
        put(&mut ledger, POLICY_REPORT, &report_of("a", kind, &scope(kind), &serde_json::json!([result("p", rule, "fail", 5)])));
    }
    assert_eq!(totals(&ledger)["p"], (tally(&[Fail, Fail, Fail]), tally(&[Fail, Fail, Fail]), 0));
    let own = |kind: &str| ledger.findings(&FindingQuery::default()).into_iter().find(|row| row.resource.kind == kind).unwrap().own_rule;
    assert_eq!((&*own("Deployment"), &*own("CronJob"), &*own("Pod")), ("cronjob-limits", "limits", "cronjob-limits"));
    ledger.set_existing(existing(&[("p", &["limits"])]));
    assert_eq!(totals(&ledger)["p"], (tally(&[Fail, Fail]), tally(&[Fail, Fail]), 1), "the Pod's rule is gone, the others can mean limits");
}

#[test]
fn empty_references_name_nothing_and_replace_nothing() {
    let scope = |name: &str| serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name});
    let empty = [serde_json::json!([{}]), serde_json::json!([]), serde_json::json!([{"kind": "Pod"}, {"namespace": "b"}])];
    for resources in empty {
        let mut ledger = Ledger::default();
        for (name, word, time) in [("web", "fail", 5), ("api", "pass", 6)] {
            let results = serde_json::json!([about(result("p", "r", word, time), &resources)]);
            put(&mut ledger, POLICY_REPORT, &report_of("a", name, &scope(name), &results));
        }
        assert_eq!(totals(&ledger)["p"].0, tally(&[Fail, Pass]), "{resources}");
        let rows = ledger.findings(&FindingQuery { namespace: Some("a".into()), ..FindingQuery::default() });
        assert_eq!(rows.len(), 2, "a missing namespace is the report's");
    }
    let mut ledger = Ledger::default();
    for (name, word) in [("one", "fail"), ("two", "pass")] {
        let results = serde_json::json!([about(result("p", "r", word, 5), &serde_json::json!([{}])), result("p", "r", word, 5)]);
        put(&mut ledger, POLICY_REPORT, &report_of("a", name, &serde_json::json!({"kind": "Pod"}), &results));
    }
    assert_eq!(totals(&ledger)["p"].0, tally(&[Fail, Fail, Pass, Pass]), "what names nothing is keyed by its report");
}

#[test]
fn the_oldest_result_is_found_with_its_report_among_the_counts_of_all() {
    let scope = |name: &str| serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name});
    let mut ledger = Ledger::default();
    for (name, results) in [
        ("web", serde_json::json!([result("p", "r", "fail", 5), result("p", "s", "pass", 7)])),
        ("api", serde_json::json!([result("p", "r", "pass", 7), result("other", "r", "pass", 1)])),
        ("old", serde_json::json!([result("p", "r", "pass", 4)])),
    ] {
        put(&mut ledger, POLICY_REPORT, &report_of("a", name, &scope(name), &results));
    }
    // A newer report about the same resource: what it replaces is of no weight.
    put(&mut ledger, POLICY_REPORT, &report_of("a", "anew", &scope("old"), &serde_json::json!([result("p", "r", "pass", 8)])));
    let key = ledger.sums().into_iter().find(|sum| sum.key.id.name == "p").unwrap().key;
    let oldest = ledger.oldest(Some(&key)).remove(0);
    let times: Vec<_> = oldest.times.iter().map(|(at, count)| (at.as_second(), *count)).collect();
    assert_eq!((oldest.at.unwrap().as_second(), times), (5, vec![(5, 1), (7, 2), (8, 1)]));
    let report = oldest.report.unwrap();
    assert_eq!((report.namespace.as_str(), report.name.as_str()), ("a", "web"));
}

#[test]
fn resources_of_one_name_differ_in_group_and_namespace() {
    let service = |version: &str, namespace: &str| serde_json::json!([{"apiVersion": version, "kind": "Service", "name": "web", "namespace": namespace}]);
    let table = [
        (service("v1", "a"), service("serving.knative.dev/v1", "a"), tally(&[Fail, Pass])),
        (service("v1", "a"), service("v1", "a"), tally(&[Pass])),
        (service("example.com/v1", "a"), service("example.com/v2", "a"), tally(&[Pass])),
        (service("v1", "a"), service("v1", ""), tally(&[Pass])),
        (service("", "a"), service("v1", "a"), tally(&[Fail, Pass])),
    ];
    for (first, second, expected) in table {
        let mut ledger = Ledger::default();
        for (name, word, time, resources) in [("one", "fail", 5, &first), ("two", "pass", 6, &second)] {
            let results = serde_json::json!([about(result("p", "r", word, time), resources)]);
            put(&mut ledger, POLICY_REPORT, &report_of("a", name, &serde_json::Value::Null, &results));
        }
        assert_eq!(totals(&ledger)["p"].0, expected, "{first} {second}");
    }
}

#[test]
fn references_that_say_less_than_the_scope_mean_it_and_others_only_their_own_report() {
    let service = |version: &str, uid: &str| serde_json::json!({"apiVersion": version, "kind": "Service", "namespace": "a", "name": "web", "uid": uid});
    let scopes = [service("v1", "one"), service("serving.knative.dev/v1", "two")];
    let named = [service("v1", ""), service("serving.knative.dev/v1", "")];
    let none = [serde_json::Value::Null, serde_json::Value::Null];
    let both = tally(&[Fail, Pass]);
    let table = [
        (&scopes, serde_json::json!({"kind": "Service", "name": "web"}), both),
        (&scopes, serde_json::json!({"name": "web"}), both),
        (&scopes, serde_json::json!({"name": "web", "namespace": "a"}), both),
        (&scopes, serde_json::json!({"name": "other"}), both),
        (&scopes, serde_json::json!({"kind": "Pod", "name": "web"}), both),
        (&named, serde_json::json!({"kind": "Service", "name": "web"}), both),
        (&named, serde_json::json!({"name": "web"}), both),
        (&none, serde_json::json!({"name": "web"}), both),
        (&none, serde_json::json!({"kind": "Service", "name": "web"}), both),
        (&none, serde_json::json!({"apiVersion": "v1", "name": "web"}), both),
        (&scopes, serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}), tally(&[Pass])),
    ];
    for (scopes, reference, expected) in table {
        let mut ledger = Ledger::default();
        for (place, word) in ["fail", "pass"].into_iter().enumerate() {
            let results = serde_json::json!([about(result("p", "r", word, 5 + place as u32), &serde_json::json!([reference]))]);
            put(&mut ledger, POLICY_REPORT, &report_of("a", word, &scopes[place], &results));
        }
        assert_eq!(totals(&ledger)["p"].0, expected, "{scopes:?} {reference}");
    }
}

#[test]
fn a_namespaced_report_speaks_for_its_own_namespace() {
    let victim = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web", "uid": "u"});
    let mut ledger = Ledger::default();
    put(&mut ledger, POLICY_REPORT, &report_of("shop", "u", &victim, &serde_json::json!([result("p", "r", "fail", 5)])));
    put(&mut ledger, POLICY_REPORT, &report_of("evil", "x", &victim, &serde_json::json!([result("p", "r", "pass", 9)])));
    let mut bare = victim.clone();
    bare.as_object_mut().unwrap().remove("namespace");
    put(&mut ledger, POLICY_REPORT, &report_of("evil", "y", &bare, &serde_json::json!([result("p", "r", "pass", 9)])));
    assert_eq!((totals(&ledger)["p"].0, ledger.sums()[0].foreign), (tally(&[Fail, Pass]), 1), "neither replaces what the namespace says");
    let rows = |with_foreign| ledger.findings(&FindingQuery { with_foreign, ..FindingQuery::default() });
    assert_eq!((rows(false).len(), rows(true).len(), rows(true).iter().filter(|row| row.foreign).count()), (2, 3, 1));
    put(&mut ledger, POLICY_REPORT, &report_of("", "z", &victim, &serde_json::json!([result("p", "r", "pass", 10)])));
    assert_eq!(totals(&ledger)["p"].0, tally(&[Pass, Pass]), "a report of the cluster may speak for all");
    ledger.remove(POLICY_REPORT, "evil", "x");
    ledger.settle();
    assert_eq!(ledger.sums()[0].foreign, 0);
    let mut other = result("cve", "r", "fail", 5);
    other["source"] = "trivy".into();
    put(&mut ledger, POLICY_REPORT, &report_of("trivy", "t", &victim, &serde_json::json!([other])));
    assert_eq!(totals(&ledger)["cve"].0, tally(&[Fail]), "other tools' reports may be about any namespace");
}

#[test]
fn what_an_exception_excuses_replaces_it_and_back() {
    let cel = |rule: &str, word: &str, time: u32| {
        let mut one = result("v", rule, word, time);
        one["source"] = "KyvernoValidatingPolicy".into();
        one
    };
    let scope = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "namespace": "a", "name": "x", "uid": "u"});
    let table = [
        ([cel("", "fail", 5), cel("exception", "skip", 6)], Skip),
        ([cel("", "fail", 7), cel("exception", "skip", 6)], Fail),
        ([cel("", "fail", 6), cel("exception", "skip", 6)], Fail),
        ([cel("v", "fail", 5), cel("exception", "pass", 6)], Pass),
        ([cel("evaluation", "error", 5), cel("", "pass", 6)], Pass),
    ];
    for (results, expected) in table {
        let mut ledger = Ledger::default();
        put(&mut ledger, POLICY_REPORT, &report_of("a", "u", &scope, &serde_json::json!(results)));
        assert_eq!(totals(&ledger)["v"].0, tally(&[expected]), "{results:?}");
    }
    // The same report again, with other times only.
    let mut ledger = Ledger::default();
    for (fail, skip, expected) in [(5, 6, Skip), (8, 6, Fail), (8, 9, Skip)] {
        let results = serde_json::json!([cel("", "fail", fail), cel("exception", "skip", skip)]);
        put(&mut ledger, POLICY_REPORT, &report_of("a", "u", &scope, &results));
        assert_eq!(totals(&ledger)["v"].0, tally(&[expected]), "fail at {fail}, skip at {skip}");
    }
}

#[test]
fn a_time_of_the_future_wins_over_nothing() {
    let mut ledger = Ledger::default();
    ledger.set_time(1_000);
    let scope = serde_json::json!({"kind": "Pod", "namespace": "a", "name": "x", "uid": "u"});
    put(&mut ledger, POLICY_REPORT, &report_of("a", "one", &scope, &serde_json::json!([result("p", "r", "pass", 5_000)])));
    put(&mut ledger, POLICY_REPORT, &report_of("a", "two", &scope, &serde_json::json!([result("p", "r", "fail", 990)])));
    assert_eq!((totals(&ledger)["p"].0, ledger.sums()[0].newest), (tally(&[Fail]), 990));
    put(&mut ledger, POLICY_REPORT, &report_of("a", "one", &scope, &serde_json::json!([result("p", "r", "pass", 1_060)])));
    assert_eq!(totals(&ledger)["p"].0, tally(&[Pass]), "a minute ahead is a clock that is not quite right");
}

/// Kind, name and result of each resource.
type Said<'a> = &'a [(&'a str, &'a str, &'a str)];

#[test]
fn a_violation_of_old_replica_sets_only_names_one() {
    let of = |kind: &str, name: &str, word: &str| {
        let scope = serde_json::json!({"apiVersion": "apps/v1", "kind": kind, "namespace": "a", "name": name, "uid": name});
        let rule = if kind == "Pod" { "r" } else { "autogen-r" };
        report_of("a", name, &scope, &serde_json::json!([result("p", rule, word, 5)]))
    };
    let table: [(Said<'_>, Option<&str>); 6] = [
        (&[("Deployment", "web", "pass"), ("ReplicaSet", "new", "pass"), ("ReplicaSet", "old", "fail")], Some("old")),
        (&[("Deployment", "web", "pass"), ("ReplicaSet", "old", "fail"), ("Pod", "new-1", "pass")], Some("old")),
        (&[("Deployment", "web", "fail"), ("ReplicaSet", "old", "fail")], None),
        (&[("Deployment", "web", "pass"), ("ReplicaSet", "old", "fail"), ("Pod", "old-1", "fail")], None),
        (&[("ReplicaSet", "new", "pass"), ("ReplicaSet", "old", "fail")], None),
        (&[("Deployment", "web", "pass"), ("ReplicaSet", "new", "pass")], None),
    ];
    for ((reports, expected), guessing) in table.into_iter().zip([false; 6]).chain(table.into_iter().zip([true; 6])) {
        let mut ledger = Ledger::default();
        ledger.set_guessing(guessing);
        for (child, kind, owner) in
            [("new", "ReplicaSet", "web"), ("old", "ReplicaSet", "web"), ("new-1", "Pod", "new"), ("old-1", "Pod", "old")]
        {
            let owner_kind = if owner == "web" { "Deployment" } else { "ReplicaSet" };
            let owner = Ledger::reference("apps/v1", owner_kind, "a", owner, owner);
            ledger.link(PODS, &Ledger::reference("apps/v1", kind, "a", child, child), Some(&owner));
        }
        for (kind, name, word) in reports {
            put(&mut ledger, POLICY_REPORT, &of(kind, name, word));
        }
        let rows = ledger.findings(&FindingQuery { by_owner: true, ..FindingQuery::default() });
        let idle: Vec<_> = rows.iter().filter_map(|row| row.idle.as_ref().map(|set| set.name.as_str())).collect();
        assert_eq!((rows.len(), idle), (1, expected.into_iter().collect()), "{reports:?} {guessing}");
        assert_eq!(totals(&ledger)["p"].1.total(), 1, "it counts all the same");
    }
}

#[test]
fn a_namespace_is_part_of_what_concerns_it() {
    let mut ledger = Ledger::default();
    let scopes = [
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "name": "team-x", "uid": "n1"}),
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "name": "other", "uid": "n2"}),
        serde_json::json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "team-x", "uid": "c1"}),
    ];
    for scope in &scopes {
        put(
            &mut ledger,
            POLICY_REPORT,
            &report_of("", scope["uid"].as_str().unwrap(), scope, &serde_json::json!([result("p", "r", "fail", 5)])),
        );
    }
    for by_owner in [false, true] {
        let rows = ledger.findings(&FindingQuery { namespace: Some("team-x".into()), by_owner, ..FindingQuery::default() });
        assert_eq!(rows.iter().map(|row| row.resource.to_string()).collect::<Vec<_>>(), ["Namespace/team-x"]);
    }
}

#[test]
fn a_rewrite_of_times_alone_changes_nothing() {
    let mut ledger = Ledger::default();
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(1), &[(0, "r", Fail, 5, 1), (0, "s", Pass, 5, 1)]));
    assert_eq!(ledger.take_changes(), (true, false));
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(1), &[(0, "s", Pass, 9, 1), (0, "r", Fail, 9, 1)]));
    assert_eq!(ledger.take_changes(), (false, true));
    assert_eq!(ledger.sums()[0].newest, 9);
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(1), &[(0, "s", Pass, 9, 1), (0, "r", Skip, 9, 1)]));
    assert_eq!(ledger.take_changes(), (true, false));
}

#[test]
fn a_list_sweeps_what_it_did_not_name() {
    let mut ledger = Ledger::default();
    for n in 1..4 {
        put(&mut ledger, POLICY_REPORT, &report_json(&uid(n), Some(n), &[(0, "r", Fail, 5, n)]));
    }
    ledger.start_list(POLICY_REPORT, "");
    put(&mut ledger, POLICY_REPORT, &report_json(&uid(2), Some(2), &[(0, "r", Fail, 5, 2)]));
    assert_eq!(totals(&ledger)["p0"].0.fail, 3, "nothing goes before the list is complete");
    ledger.end_list(POLICY_REPORT, "");
    ledger.settle();
    assert_eq!((totals(&ledger)["p0"].0.fail, ledger.reports_of(POLICY_REPORT)), (1, 1));
    ledger.start_list(POLICY_REPORT, "");
    ledger.end_list(POLICY_REPORT, "");
    ledger.settle();
    assert!(totals(&ledger).is_empty());
}

#[test]
fn owners_are_guessed_only_where_asked_for() {
    let mut ledger = Ledger::default();
    let report = |name: &str, kind: &str, resource: &str, uid_: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"a"}},"scope":{{"kind":"{kind}","namespace":"a","name":"{resource}","uid":"{uid_}"}},"results":[{{"source":"kyverno","policy":"p0","rule":"r","result":"fail"}}]}}"#
        )
    };
    put(&mut ledger, POLICY_REPORT, &report("1", "Pod", "web-7d4b9c6f5d-x2x9z", "u1"));
    put(&mut ledger, POLICY_REPORT, &report("2", "Deployment", "web", "u2"));
    ledger.set_guessing(true);
    put(&mut ledger, POLICY_REPORT, &report("3", "ReplicaSet", "web-7d4b9c6f5d", "u3"));
    ledger.settle();
    assert_eq!(totals(&ledger)["p0"].1.fail, 1);
    assert!(ledger.findings(&FindingQuery { by_owner: true, ..FindingQuery::default() })[0].owner_guessed);
    ledger.set_guessing(false);
    ledger.settle();
    assert_eq!(totals(&ledger)["p0"].1.fail, 3);
}

#[test]
fn a_guess_follows_whatever_comes_first_and_holds_nothing() {
    let rs = |ledger: &mut Ledger, owner: Option<&str>| {
        let reference = owner.map(|uid| Ledger::reference("apps/v1", "Deployment", "a", "web", uid));
        ledger.link(PODS, &Ledger::reference("apps/v1", "ReplicaSet", "a", "web-7d4b9c6f5d", "rs"), reference.as_ref());
        ledger.settle();
    };
    let report = |name: &str, kind: &str, uid: &str| {
        format!(
            r#"{{"metadata":{{"name":"{uid}","namespace":"a"}},"scope":{{"kind":"{kind}","namespace":"a","name":"{name}","uid":"{uid}"}},"results":[{{"source":"kyverno","policy":"p0","rule":"r","result":"fail"}}]}}"#
        )
    };
    let mut ledger = Ledger::default();
    ledger.set_guessing(true);
    put(&mut ledger, POLICY_REPORT, &report("web-7d4b9c6f5d-x2x9z", "Pod", "pod"));
    put(&mut ledger, POLICY_REPORT, &report("web-7d4b9c6f5d", "ReplicaSet", "rs"));
    assert_eq!(totals(&ledger)["p0"].1.fail, 1, "both are guessed to be web's");
    rs(&mut ledger, Some("deployment"));
    assert_eq!(totals(&ledger)["p0"].1.fail, 1, "the Deployment that was not known meets what is guessed to be its");
    rs(&mut ledger, None);
    assert_eq!(totals(&ledger)["p0"].1.fail, 1, "without an owner it is guessed again");
    for uid in ["pod", "rs"] {
        ledger.remove(POLICY_REPORT, "a", uid);
    }
    ledger.settle();
    assert_eq!(ledger.resources.all().count(), 0, "nothing is kept for the sake of a guess");
}

#[test]
fn owners_may_be_a_long_chain_but_no_circle() {
    let mut ledger = Ledger::default();
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(0), &[(0, "r", Fail, 5, 0)]));
    put(&mut ledger, POLICY_REPORT, &report_json("y", Some(99), &[(0, "r", Fail, 5, 99)]));
    for child in 0..99 {
        link(&mut ledger, child, Some(child + 1));
    }
    assert_eq!(totals(&ledger)["p0"].1.fail, 1, "what is at the bottom and at the top of a hundred is one");
    link(&mut ledger, 99, Some(0));
    link(&mut ledger, 50, Some(20));
    put(&mut ledger, POLICY_REPORT, &report_json("x", Some(0), &[(0, "r", Error, 5, 0)]));
    assert_eq!(totals(&ledger)["p0"].0.total(), 2);
}

#[test]
fn of_equal_results_the_words_decide_and_not_who_came_first() {
    let report = |name: &str, properties: &str, message: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"a"}},"scope":{{"kind":"Service","namespace":"a","name":"s","uid":"u"}},"results":[{{"source":"kyverno","policy":"p0","rule":"r","result":"skip","message":"{message}","properties":{{{properties}}},"timestamp":{{"seconds":5}}}}]}}"#
        )
    };
    let (plain, excused) = (report("1", "", "z"), report("2", r#""exceptions":"e""#, "a"));
    for order in [[&plain, &excused], [&excused, &plain]] {
        let mut ledger = Ledger::default();
        for json in order {
            put(&mut ledger, POLICY_REPORT, json);
        }
        assert_eq!(ledger.sums()[0].excepted, 1);
        let rows = [false, true].map(|by_owner| ledger.findings(&FindingQuery { by_owner, ..FindingQuery::default() }));
        assert!(rows.iter().flatten().all(|row| (&*row.exception, &*row.message) == ("e", "a")), "{rows:?}");
    }
}

/// What may happen to a ledger.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, Option<u8>, Vec<Res>),
    Remove(u8, u8),
    Link(u8, Option<u8>),
    Existing(bool, bool),
    Relist(u8, Vec<u8>),
}

fn acts() -> impl Strategy<Value = Act> {
    let results = prop_oneof![Just(Pass), Just(Fail), Just(Skip), Just(Error)];
    let rules = prop_oneof![Just("r"), Just("autogen-r"), Just("s"), Just("autogen-cronjob-s")];
    let res = (0..2u8, rules, results, 0..3u32, 0..5u8);
    prop_oneof![
        4 => (0..2u8, 0..5u8, proptest::option::of(0..5u8), proptest::collection::vec(res, 0..5)).prop_map(|(k, n, s, r)| Act::Put(k, n, s, r)),
        1 => (0..2u8, 0..5u8).prop_map(|(k, n)| Act::Remove(k, n)),
        2 => (0..5u8, proptest::option::of(0..5u8)).prop_map(|(c, o)| Act::Link(c, o)),
        1 => any::<(bool, bool)>().prop_map(|(a, b)| Act::Existing(a, b)),
        1 => (0..2u8, proptest::collection::vec(0..5u8, 0..3)).prop_map(|(k, n)| Act::Relist(k, n)),
    ]
}

/// What is true now, kept the simplest way.
#[derive(Default)]
struct Model {
    reports: BTreeMap<(u8, u8), (Option<u8>, Vec<Res>)>,
    owners: BTreeMap<u8, u8>,
    existing: Option<(bool, bool)>,
}

impl Model {
    fn top(&self, mut n: u8) -> u8 {
        while let Some(&owner) = self.owners.get(&n) {
            n = owner;
        }
        n
    }

    fn is_under(&self, mut n: u8, above: u8) -> bool {
        while n != above {
            let Some(&owner) = self.owners.get(&n) else { return false };
            n = owner;
        }
        true
    }

    /// The rules of a policy that are known to exist.
    fn rules(&self, policy: u8) -> &[&'static str] {
        match (policy, self.existing) {
            (0, Some((true, _))) => &["r", "s"],
            (1, Some((_, true))) => &["r"],
            _ => &[],
        }
    }

    /// The rule as its policy calls it: all resources are Pods.
    fn own(&self, policy: u8, rule: &'static str) -> &'static str {
        match rule {
            "autogen-r" => "r",
            "autogen-cronjob-s" if self.rules(policy).contains(&"s") => "s",
            "autogen-cronjob-s" => "cronjob-s",
            _ => rule,
        }
    }

    fn stale(&self, policy: u8, rule: &'static str) -> bool {
        self.existing.is_some() && !self.rules(policy).contains(&self.own(policy, rule))
    }

    fn totals(&self) -> BTreeMap<String, (Tally, Tally, u64)> {
        let mut keys: BTreeMap<(u8, &'static str, u8), (u32, FindingResult)> = BTreeMap::new();
        for (scope, results) in self.reports.values() {
            for &(policy, rule, result, time, resource) in results {
                let at = keys.entry((policy, rule, scope.unwrap_or(resource))).or_insert((time, result));
                *at = (*at).max((time, result));
            }
        }
        let mut out: BTreeMap<String, (Tally, Tally, u64)> = BTreeMap::new();
        let mut tops: BTreeMap<(u8, &str, u8), FindingResult> = BTreeMap::new();
        for ((policy, rule, resource), (_, result)) in keys {
            let sum = out.entry(format!("p{policy}")).or_default();
            if self.stale(policy, rule) {
                sum.2 += 1;
                continue;
            }
            sum.0.add(result);
            let worst = tops.entry((policy, self.own(policy, rule), self.top(resource))).or_insert(result);
            *worst = (*worst).max(result);
        }
        for ((policy, _, _), result) in tops {
            out.entry(format!("p{policy}")).or_default().1.add(result);
        }
        out
    }
}

fn apply(ledger: &mut Ledger, model: &mut Model, act: &Act) {
    match act {
        Act::Put(kind, name, scope, results) => {
            ledger.put(*kind, report_json(&uid(*name), *scope, results).as_bytes()).unwrap();
            model.reports.insert((*kind, *name), (*scope, results.clone()));
        }
        Act::Remove(kind, name) => {
            ledger.remove(*kind, "a", &uid(*name));
            model.reports.remove(&(*kind, *name));
        }
        Act::Link(child, owner) => {
            // A child's owners are fixed in Kubernetes; circles cannot be made.
            if owner.is_some_and(|owner| model.is_under(owner, *child)) {
                return;
            }
            let (child_uid, owner_uid) = (uid(*child), uid(owner.unwrap_or_default()));
            let reference = owner.map(|_| Ledger::reference("", "ReplicaSet", "a", "o", &owner_uid));
            ledger.link(PODS, &Ledger::reference("v1", "Pod", "a", "p", &child_uid), reference.as_ref());
            match owner {
                Some(owner) => model.owners.insert(*child, *owner),
                None => model.owners.remove(child),
            };
        }
        Act::Existing(first, rule_r) => {
            let mut policies: Vec<(&str, &[&str])> = Vec::new();
            if *first {
                policies.push(("p0", &["r", "s"]));
            }
            if *rule_r {
                policies.push(("p1", &["r"]));
            }
            ledger.set_existing(existing(&policies));
            model.existing = Some((*first, *rule_r));
        }
        Act::Relist(kind, names) => {
            ledger.start_list(*kind, "");
            for name in names {
                if let Some((scope, results)) = model.reports.get(&(*kind, *name)) {
                    ledger.put(*kind, report_json(&uid(*name), *scope, results).as_bytes()).unwrap();
                }
            }
            ledger.end_list(*kind, "");
            model.reports.retain(|(k, n), _| k != kind || names.contains(n));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// After any history, in batches of any size, the running tallies equal a count from scratch, and so do the rows behind them.
    #[test]
    fn running_tallies_equal_a_count_from_scratch(history in proptest::collection::vec((acts(), any::<bool>(), proptest::bool::weighted(0.1)), 1..60)) {
        let (mut ledger, mut model) = (Ledger::default(), Model::default());
        for (act, settle, compact) in &history {
            apply(&mut ledger, &mut model, act);
            if *settle || *compact {
                ledger.settle();
            }
            if *compact {
                ledger.compact();
            }
        }
        ledger.settle();
        let expected: BTreeMap<_, _> = model.totals().into_iter().filter(|(_, (f, _, s))| f.total() + s > 0).collect();
        prop_assert_eq!(totals(&ledger), expected.clone());
        for by_owner in [false, true] {
            let rows = ledger.findings(&FindingQuery { by_owner, ..FindingQuery::default() });
            let counted: u64 = expected.values().map(|(f, o, _)| if by_owner { o.total() } else { f.total() }).sum();
            prop_assert_eq!(rows.len() as u64, counted);
            faults_are_found_without_a_walk(&ledger, by_owner);
        }
    }
}

/// The faults of each policy, which have an index, are those among all rows, which have none.
pub(in crate::fleet) fn faults_are_found_without_a_walk(ledger: &Ledger, by_owner: bool) {
    let all = ledger.findings(&FindingQuery { by_owner, ..FindingQuery::default() });
    for sum in ledger.sums() {
        let faults = FindingQuery { policy: Some(sum.key.clone()), results: vec![Fail, Error], by_owner, ..FindingQuery::default() };
        let expected: Vec<_> = all.iter().filter(|row| row.key == sum.key && row.result.is_fault()).cloned().collect();
        assert_eq!(ledger.findings(&faults), expected, "{:?}", sum.key);
    }
}

/// Everything that can be asked of a ledger.
fn everything(ledger: &Ledger) -> (Vec<crate::fleet::query::FindingRow>, Vec<String>) {
    let rows = [false, true].map(|by_owner| ledger.findings(&FindingQuery { by_owner, with_stale: true, ..FindingQuery::default() }));
    let mut sums: Vec<String> = ledger
        .sums()
        .iter()
        .map(|s| {
            format!(
                "{:?} {:?} {:?} {} {} {} {:?} {}",
                s.key,
                s.findings,
                s.owners,
                s.stale,
                s.excepted,
                s.newest,
                s.severity,
                ledger.text(s.category)
            )
        })
        .collect();
    sums.sort();
    (rows.concat(), sums)
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut ledger = Ledger::default();
    let report = |n: u32| {
        let text = "long enough to be noticed ".repeat(40);
        serde_json::json!({"metadata": {"name": format!("report-{n}"), "namespace": format!("ns-{}", n % 7)},
            "scope": {"apiVersion": "v1", "kind": "Pod", "namespace": "a", "name": format!("pod-{n}"), "uid": format!("uid-{n}")},
            "results": [{"source": "trivy", "policy": format!("cve-{n}"), "rule": "r", "result": "fail", "severity": if n == 3 { "critical" } else { "low" },
                "category": format!("category {}", n % 5), "message": format!("{text}{n}"), "properties": {"n": n.to_string()}, "timestamp": {"seconds": 1_000_000 - n}},
                {"source": "trivy", "policy": "all", "rule": "r", "result": "fail", "severity": if n == 3 { "critical" } else { "low" },
                "category": format!("category {}", n % 5), "message": "m", "timestamp": {"seconds": 1_000_000 - n}}]})
        .to_string()
    };
    for n in 0..5000 {
        put(&mut ledger, POLICY_REPORT, &report(n));
        if n >= 10 {
            ledger.remove(POLICY_REPORT, &format!("ns-{}", (n - 10) % 7), &format!("report-{}", n - 10));
            ledger.settle();
        }
        if n % 50 == 0 {
            ledger.tidy();
        }
    }
    assert!(ledger.strings.bytes() < 2 * tidy::ROOM, "{} bytes of text for ten reports", ledger.strings.bytes());
    assert!(ledger.checks.len() < 500 && ledger.details.len() < 500, "{} {}", ledger.checks.len(), ledger.details.len());
    // What is left is told as if nothing else had ever been.
    let mut fresh = Ledger::default();
    for n in 4990..5000 {
        put(&mut fresh, POLICY_REPORT, &report(n));
    }
    ledger.tidy();
    assert_eq!(everything(&ledger), everything(&fresh));
    ledger.compact();
    assert_eq!(everything(&ledger), everything(&fresh));
    assert_eq!((ledger.strings.len(), ledger.strings.bytes()), (fresh.strings.len(), fresh.strings.bytes()));
}
