//! A former release of Kyverno, where `POLICYDECK_KYVERNO` names one: the mode that policydeck gives is what that release does, and its numbers are those
//! of a recount. What a release does is observed, not looked up: the tables in `tests/modes` say it of the running release only.

use super::modes::{Case, IN_FORCE, OWN, Observed, STABLE, Send, dry_run, namespaces, table};
use crate::support::cluster::{Cluster, Fleet, Options, User, former};
use crate::support::product::Desk;
use crate::support::recount::{Count, recount};
use crate::support::{eventually, say};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

/// Policies of which every release since 1.13 takes most.
const MOST: usize = 30;
const REPORTED: Duration = Duration::from_secs(240);

const JUDGES: &str = "
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: labels}, spec: {background: true, rules: [
  {name: team, match: {any: [{resources: {kinds: [Pod], namespaces: [shop]}}]}, validate: {failureAction: Audit, message: no team, pattern: {metadata: {labels: {team: '?*'}}}}},
  {name: app, match: {any: [{resources: {kinds: [Pod], namespaces: [shop]}}]}, validate: {failureAction: Audit, message: no app, pattern: {metadata: {labels: {app: '?*'}}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: Policy, metadata: {name: labels, namespace: shop}, spec: {background: true, rules: [
  {name: tier, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {failureAction: Audit, message: no tier, pattern: {metadata: {labels: {tier: '?*'}}}}}]}}
---
{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: owned-namespaces}, spec: {background: true, rules: [
  {name: owner, match: {any: [{resources: {kinds: [Namespace], names: [shop]}}]}, validate: {failureAction: Audit, message: no owner, pattern: {metadata: {labels: {owner: '?*'}}}}}]}}
";

#[test]
fn a_former_release_does_what_is_said_of_it() {
    let Some(release) = former() else { return };
    let Some(fleet) = Fleet::start(&["dev"], Options { controllers: true, kyverno: true, ..Options::default() }) else { return };
    let (dev, desk) = (fleet.cluster("dev"), Desk::new(&fleet, User::Admin, ""));
    counted(&fleet, &desk);
    selectors(dev, &desk);
    namespaces(dev);
    modes(dev, &desk, &release);
}

/// Reports as this release writes them.
fn counted(fleet: &Fleet, desk: &Desk) {
    let dev = fleet.cluster("dev");
    dev.namespace("shop");
    dev.apply(JUDGES);
    dev.kubectl(&["create", "deployment", "web", "--image=registry.example/web:1", "--replicas=2", "-n", "shop"]);
    dev.kubectl(&["run", "bare", "--image=registry.example/bare:1", "-n", "shop"]);
    // Deployment, ReplicaSet, two Pods and the bare one, by three rules; `create deployment` and `run` set no `team` and no `tier`, and the namespace has no owner.
    eventually("everything is reported", REPORTED, || {
        let [pass, _, _, fail, _] = Count::total(&recount(&dev.api).findings);
        if fail >= 11 { Ok(()) } else { Err(format!("{pass} passed, {fail} failed")) }
    });
    desk.assert_true(fleet);
}

fn modes(dev: &Cluster, desk: &Desk, release: &str) {
    // Kyverno 1.18 names the webhooks of both kinds of image policies alike. Where both are there, the API server rejects the whole configuration, and nothing
    // that comes later is carried.
    let cases = OWN.iter().flat_map(|file| table(file)).filter(|case| !case.name.starts_with("nivpol")).collect::<Vec<_>>();
    let taken = cases.iter().filter(|case| is_taken(dev, case)).collect::<Vec<_>>();
    say(format_args!("Kyverno {release} takes {} of {} policies", taken.len(), cases.len()));
    assert!(taken.len() >= MOST, "{}", taken.len());
    let sends = taken.iter().flat_map(|case| case.sends.iter().map(|send| (*case, send))).collect::<Vec<(&Case, &Send)>>();
    // What this release does may change with each policy that comes or goes beside: Kyverno 1.18 gives all CEL policies of a webhook the selector of one of them.
    // So both are asked in one round, and have to agree for a while.
    let mut since = None;
    eventually("policydeck's modes are what this release does", IN_FORCE * 3, || {
        let done = sends.iter().map(|(case, send)| dry_run(dev, &case.resource(send))).collect::<Vec<_>>();
        let said = said(desk, &sends);
        let mut wrong = String::new();
        for (((case, send), done), said) in sends.iter().zip(&done).zip(&said).filter(|((_, done), said)| !said.fits(**done)) {
            write!(wrong, "\n  {} in {:?}: Kyverno {done:?}, policydeck {said}", case.name, send.r#in).unwrap();
        }
        let blocked = done.iter().filter(|done| **done == Observed::Blocked).count();
        if blocked < MOST {
            write!(wrong, "\n  only {blocked} requests are blocked").unwrap();
        }
        if !wrong.is_empty() {
            since = None;
            return Err(wrong);
        }
        if since.get_or_insert_with(Instant::now).elapsed() < STABLE * 2 { Err("they agree, for how long?".to_owned()) } else { Ok(()) }
    });
}

/// Two policies with selectors of their own. Kyverno 1.18 gives both one webhook with the selector of one, so that nothing meets the other.
const SELECTORS: &str = "
{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: t-deny}, spec: {validationActions: [Deny], validations: [{expression: \"'ok' in object.metadata.labels\", message: deny}],
  matchConstraints: {objectSelector: {matchLabels: {case: deny}}, resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}}}
---
{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {name: t-audit}, spec: {validationActions: [Audit], validations: [{expression: \"'ok' in object.metadata.labels\", message: audit}],
  matchConstraints: {objectSelector: {matchLabels: {case: audit}}, resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}}}
";

/// A policy is in force where a request that it forbids is blocked, whichever selector Kyverno gave its webhook.
fn selectors(dev: &Cluster, desk: &Desk) {
    if !dev.try_kubectl(&["apply", "-f", "-"], SELECTORS).status.success() {
        return; // Before 1.14 there are no such policies.
    }
    let forbidden = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forbidden", "namespace": "shop", "labels": {"case": "deny"}}, "data": {}});
    let ready = |name| {
        dev.kubectl(&["wait", "--for=jsonpath={.status.conditionStatus.ready}=true", &format!("validatingpolicy/{name}"), "--timeout=60s"])
    };
    ready("t-deny");
    ready("t-audit");
    let mut since = None;
    eventually("what is said of t-deny is what becomes of a forbidden request", IN_FORCE, || {
        let blocked = dry_run(dev, &forbidden) == Observed::Blocked;
        let (document, _) = desk.json(&["policies"]);
        let item =
            document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == "t-deny").cloned().unwrap_or_default();
        let in_force = &item["inForce"];
        let agree = match in_force["state"].as_str() {
            Some("yes") => blocked,
            Some("no" | "partly") => !blocked && in_force["reason"].as_str().is_some_and(|reason| reason.contains("object selector")),
            _ => false,
        };
        if !agree {
            since = None;
            return Err(format!("blocked {blocked}, said {in_force}"));
        }
        if since.get_or_insert_with(Instant::now).elapsed() < STABLE {
            return Err("they agree, for how long?".to_owned());
        }
        say(format_args!("t-deny beside t-audit: blocked {blocked}, in force {in_force}"));
        Ok(())
    });
    dev.kubectl(&["delete", "validatingpolicy", "t-deny", "t-audit"]);
}

/// Whether this release takes the policy.
fn is_taken(dev: &Cluster, case: &Case) -> bool {
    let namespace = case.namespace.as_deref().unwrap_or("default");
    let args = ["apply", "-f", "-", "--namespace", namespace];
    dev.try_kubectl(if namespace == "default" { &args[..3] } else { &args }, &case.complete().to_string()).status.success()
}

/// What policydeck gives for one request.
struct Said {
    mode: String,
    in_force: String,
}

impl Said {
    fn fits(&self, done: Observed) -> bool {
        match (done, self.in_force.as_str()) {
            (Observed::Passed, "yes") => done.fits(&self.mode),
            (Observed::Passed, _) => true,
            (Observed::Blocked | Observed::Warned, in_force) => matches!(in_force, "yes" | "partly") && done.fits(&self.mode),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, in force {}", self.mode, self.in_force)
    }
}

/// What policydeck says, for each request.
fn said(desk: &Desk, sends: &[(&Case, &Send)]) -> Vec<Said> {
    let mut documents = BTreeMap::new();
    let of = |(case, send): &(&Case, &Send)| {
        let scope = send.r#in.as_deref();
        let document = documents.entry(scope.map(str::to_owned)).or_insert_with(|| {
            let scope = scope.map_or(Vec::new(), |namespace| vec!["-n", namespace]);
            desk.json(&[&["policies"], scope.as_slice()].concat()).0
        });
        let name = case.policy_name.as_deref().unwrap_or(&case.name);
        let item = document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == name);
        let mode = item.map_or("absent", |item| item["mode"].as_str().unwrap_or("no mode")).to_owned();
        let in_force = item.and_then(|item| item["inForce"]["state"].as_str()).unwrap_or("not said").to_owned();
        Said { mode, in_force }
    };
    sends.iter().map(of).collect()
}
