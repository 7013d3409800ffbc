//! The reports controller: one report per resource, recomputed some time after a policy, workload, namespace or
//! exception changed, and rewritten with nothing but new timestamps at each scan.
//!
//! Not here: judging (`super::engine`); deleting reports of deleted resources, which is garbage collection.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::admission::{Occasion, record};
use super::engine::{Outcome, Phase, Policy, Verdict, World};
use crate::demo::catalog::Resource;
use crate::demo::cluster::{Cluster, hash};
use crate::demo::controllers::Cursor;
use crate::demo::store::{Handle, Key, text};
use crate::demo::write::{self, Options};

/// Events one round of scanning makes at most, so that a new policy does not flood the log.
const MOST_SCAN_EVENTS: usize = 20;

/// What has to be looked at again.
#[derive(Debug, PartialEq, Eq)]
enum Dirty {
    Nothing,
    Some(BTreeSet<(usize, Key)>),
    Everything,
}

/// What a round of reporting does besides bringing reports up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// The cluster's past: no events.
    Seed,
    Changes,
    /// All reports get new timestamps.
    Scan,
}

/// Runs until the demo ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut cursor = Cursor::now(&cluster);
    let mut waker = cluster.store().any_waker();
    let mut next_scan = Instant::now() + cluster.pace.scan;
    loop {
        tokio::select! {
            changed = waker.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(next_scan) => {
                next_scan = Instant::now() + cluster.pace.scan;
                refresh(&cluster, &Dirty::Everything, Round::Scan);
                continue;
            }
        }
        let first = dirty(&cluster, &mut cursor);
        if first == Dirty::Nothing {
            continue;
        }
        tokio::time::sleep(cluster.pace.reports).await;
        let all = both(first, dirty(&cluster, &mut cursor));
        refresh(&cluster, &all, Round::Changes);
    }
}

/// Brings all reports up to date at once.
pub(crate) fn settle(cluster: &Cluster) {
    refresh(cluster, &Dirty::Everything, Round::Seed);
}

fn both(a: Dirty, b: Dirty) -> Dirty {
    match (a, b) {
        (Dirty::Everything, _) | (_, Dirty::Everything) => Dirty::Everything,
        (Dirty::Nothing, other) | (other, Dirty::Nothing) => other,
        (Dirty::Some(mut a), Dirty::Some(b)) => {
            a.extend(b);
            Dirty::Some(a)
        }
    }
}

fn reportable(resource: &Resource) -> bool {
    resource.builtin
        && !matches!(
            resource.plural.as_str(),
            "events"
                | "leases"
                | "endpointslices"
                | "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "secrets"
                | "serviceaccounts"
                | "clusterroles"
                | "clusterrolebindings"
        )
}

fn dirty(cluster: &Cluster, cursor: &mut Cursor) -> Dirty {
    let Some(changes) = cursor.changes(cluster) else {
        return Dirty::Everything;
    };
    let mut some = BTreeSet::new();
    for (kind, change) in changes {
        let Some(resource) = cluster.catalog.all().get(kind) else {
            continue;
        };
        if matches!(resource.group.as_str(), "kyverno.io" | "policies.kyverno.io") || resource.plural == "namespaces" {
            return Dirty::Everything;
        }
        if reportable(resource) && change.now.is_some() {
            some.insert((kind, change.key));
        }
    }
    if some.is_empty() { Dirty::Nothing } else { Dirty::Some(some) }
}

/// The group and plural of the reports this environment uses: with openreports on, Kyverno writes only those.
fn report_kind(cluster: &Cluster, namespaced: bool) -> Option<&Resource> {
    let (group, plural) = match (cluster.profile.has("openreports"), namespaced) {
        (true, true) => ("openreports.io", "reports"),
        (true, false) => ("openreports.io", "clusterreports"),
        (false, true) => ("wgpolicyk8s.io", "policyreports"),
        (false, false) => ("wgpolicyk8s.io", "clusterpolicyreports"),
    };
    cluster.resource(group, plural)
}

fn refresh(cluster: &Cluster, dirty: &Dirty, round: Round) {
    let (world, subjects) = {
        let store = cluster.store();
        let world = World::gather(cluster, &store);
        let mut subjects: Vec<(usize, Key, Handle)> = Vec::new();
        for resource in cluster.catalog.all().iter().filter(|resource| reportable(resource)) {
            for (key, object) in store.rows(resource.index) {
                let wanted = match dirty {
                    Dirty::Nothing => false,
                    Dirty::Everything => true,
                    Dirty::Some(some) => some.contains(&(resource.index, key.clone())),
                };
                if wanted {
                    subjects.push((resource.index, key.clone(), object.clone()));
                }
            }
        }
        (world, subjects)
    };
    // Kyverno evaluates anew what a policy that says something else looks at, and the results have the time of that, whatever they are.
    let said =
        |policy: &Policy| format!("{} {}", text(&policy.object.value, "/metadata/uid"), policy.object.value["metadata"]["generation"]);
    let all = world.policies.iter().fold(0_u64, |all, policy| all.wrapping_add(hash(&said(policy))));
    let anew = cluster.judges_by(all) && round == Round::Changes;
    let admitted = round == Round::Seed || matches!(dirty, Dirty::Some(_));
    let mut events = 0;
    for (kind, key, object) in subjects {
        let Some(resource) = cluster.catalog.all().get(kind) else {
            continue;
        };
        let phase = if admitted { Phase::Both } else { Phase::Background };
        let mut verdicts = world.judge(resource, &key, &object.value, "CREATE", phase);
        verdicts.sort_by(|a, b| (a.source, &a.policy, &a.rule).cmp(&(b.source, &b.policy, &b.rule)));
        let new = report(cluster, resource, &key, &object, &verdicts, &world, admitted, round, anew);
        for verdict in new.into_iter().filter(|_| round == Round::Changes) {
            if events < MOST_SCAN_EVENTS {
                let occasion = Occasion { resource, key: &key, object: &object.value, component: "kyverno-scan" };
                let event = occasion.event(cluster, verdict, false);
                record(cluster, &mut cluster.store(), event);
                events += 1;
            }
        }
    }
}

/// Writes one object's report; returns the failures that were not in it before.
#[expect(clippy::too_many_arguments, reason = "the whole context of one report")]
fn report<'a>(
    cluster: &Cluster,
    resource: &Resource,
    key: &Key,
    object: &Handle,
    verdicts: &'a [Verdict],
    world: &World,
    admitted: bool,
    round: Round,
    anew: bool,
) -> Vec<&'a Verdict> {
    let Some(kind) = report_kind(cluster, resource.namespaced) else {
        return Vec::new();
    };
    let report_key = Key::new(key.namespace.clone(), object.uid());
    let old = cluster.store().get(kind.index, &report_key).cloned();
    let now = Timestamp::now();
    let mut results: Vec<Value> = verdicts.iter().map(|verdict| result(verdict, now)).collect();
    let before = old.as_ref().and_then(|old| old.value["results"].as_array()).cloned().unwrap_or_default();
    if !admitted {
        // What only admission asks stays as it was: Kyverno has nothing newer to say.
        let kept = |result: &&Value| {
            let policy = world.policies.iter().find(|policy| policy.reported() == text(result, "/policy"));
            policy.is_some_and(|policy| !policy.background())
        };
        results.extend(before.iter().filter(kept).cloned());
    }
    if results.is_empty() {
        if old.is_some() {
            cluster.store().remove(kind.index, &report_key);
        }
        return Vec::new();
    }
    if round != Round::Scan && !anew && timeless(&before) == timeless(&results) {
        return Vec::new();
    }
    let failed_before = |verdict: &Verdict| {
        before.iter().any(|result| {
            text(result, "/policy") == verdict.policy
                && text(result, "/rule") == verdict.rule.as_deref().unwrap_or("")
                && text(result, "/result") == "fail"
        })
    };
    let new = verdicts.iter().filter(|v| v.outcome == Outcome::Fail && !failed_before(v)).collect();
    store(cluster, kind, &report_key, old.as_ref(), &body(cluster, kind, resource, key, object, &results));
    new
}

fn body(cluster: &Cluster, kind: &Resource, resource: &Resource, key: &Key, object: &Handle, results: &[Value]) -> Value {
    let api = resource.api_version(resource.preferred());
    let count = |word: &str| results.iter().filter(|result| text(result, "/result") == word).count();
    let summary =
        json!({"pass": count("pass"), "fail": count("fail"), "warn": count("warn"), "error": count("error"), "skip": count("skip")});
    let mut scope = json!({"apiVersion": api, "kind": resource.kind, "name": key.name, "uid": object.uid()});
    if resource.namespaced {
        scope["namespace"] = json!(key.namespace);
    }
    let mut report = json!({
        "apiVersion": kind.api_version(kind.preferred()), "kind": kind.kind,
        "metadata": {
            "name": object.uid(),
            "labels": {"app.kubernetes.io/managed-by": "kyverno"},
            "ownerReferences": [{"apiVersion": api, "kind": resource.kind, "name": key.name, "uid": object.uid()}],
        },
        "scope": scope, "results": results, "summary": summary,
    });
    if resource.namespaced {
        report["metadata"]["namespace"] = json!(key.namespace);
    }
    if cluster.profile.has("openreports") {
        report["source"] = json!("kyverno");
    }
    report
}

fn store(cluster: &Cluster, kind: &Resource, key: &Key, old: Option<&Handle>, report: &Value) {
    let options = Options::internal(kind, "reports-controller");
    // A report whose resource or namespace went away meanwhile is not worth keeping.
    let _ = match old {
        None => write::create(cluster, kind, &key.namespace, report.clone(), &options),
        Some(_) => write::update(cluster, kind, key, report.clone(), &options),
    };
}

fn timeless(results: &[Value]) -> Vec<Value> {
    let mut results = results.to_vec();
    for result in &mut results {
        result["timestamp"] = Value::Null;
    }
    results
}

fn result(verdict: &Verdict, now: Timestamp) -> Value {
    let annotation = |name: &str| text(&verdict.object.value, &format!("/metadata/annotations/policies.kyverno.io~1{name}"));
    let scored = annotation("scored") != "false";
    let word = if verdict.outcome == Outcome::Fail && !scored { "warn" } else { verdict.outcome.word() };
    let mut result = json!({
        "source": verdict.source, "policy": verdict.policy, "result": word, "message": verdict.message,
        "timestamp": {"seconds": now.as_second(), "nanos": 0}, "properties": verdict.properties,
    });
    if let Some(rule) = &verdict.rule {
        result["rule"] = json!(rule);
    }
    // `scored` is omitted when false, and severities that are no severities are dropped (pkg/utils/report).
    if scored {
        result["scored"] = json!(true);
    }
    if ["critical", "high", "medium", "low", "info"].contains(&annotation("severity")) {
        result["severity"] = json!(annotation("severity"));
    }
    if !annotation("category").is_empty() {
        result["category"] = json!(annotation("category"));
    }
    result
}
