//! An independent count of a cluster's findings, straight from its lists, by the rules that the machine interface states under "What is counted".
//!
//! It keeps plain JSON and text keys and reads everything anew each time: slow, short and easy to check. Nothing of policydeck's library is in it.

use super::api::Api;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// From harmless to bad: of equal age, the worse of two results for one key counts.
const RESULTS: [&str; 5] = ["pass", "skip", "warn", "fail", "error"];

/// Numbers by result, in the order of [`RESULTS`].
pub(crate) type Tally = [u64; 5];

/// Source, and the policy as reports name it (`namespace/name` for namespaced ones).
pub(crate) type Row = (String, String);

/// What the lists of one cluster add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) findings: BTreeMap<Row, Tally>,
    pub(crate) owners: BTreeMap<Row, Tally>,
    pub(crate) stale: u64,
    pub(crate) malformed: u64,
    /// Results of Kyverno that speak for another namespace than their report's.
    pub(crate) foreign: u64,
}

/// Which of Kyverno's kinds write under which source, and whether their rules have names (kyverno.md §2.5).
const SOURCES: [(&str, &str, &[&str]); 5] = [
    ("kyverno", "kyverno.io", &["clusterpolicies", "policies"]),
    ("KyvernoValidatingPolicy", "policies.kyverno.io", &["validatingpolicies", "namespacedvalidatingpolicies"]),
    ("KyvernoImageValidatingPolicy", "policies.kyverno.io", &["imagevalidatingpolicies", "namespacedimagevalidatingpolicies"]),
    ("KyvernoMutatingPolicy", "policies.kyverno.io", &["mutatingpolicies", "namespacedmutatingpolicies"]),
    ("KyvernoGeneratingPolicy", "policies.kyverno.io", &["generatingpolicies", "namespacedgeneratingpolicies"]),
];

const REPORTS: [(&str, &str); 4] = [
    ("wgpolicyk8s.io", "policyreports"),
    ("wgpolicyk8s.io", "clusterpolicyreports"),
    ("openreports.io", "reports"),
    ("openreports.io", "clusterreports"),
];

const CONTROLLED: [&str; 7] = [
    "/api/v1/pods",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/batch/v1/jobs",
    "/apis/batch/v1/cronjobs",
];

/// (source, policy, rule, resource): a resource is its namespace and uid; else its namespace, API group, kind and name; else its report, with the
/// words of that.
type Key = (String, String, String, Vec<String>);

pub(crate) fn recount(api: &Api) -> Count {
    let mut count = Count::default();
    let policies = Policies::read(api);
    // A clock may be a minute ahead.
    let latest = jiff::Timestamp::now().as_second() + 60;
    let mut findings: BTreeMap<Key, ((i64, usize), String)> = BTreeMap::new();
    for (group, plural) in REPORTS {
        for report in list(api, group, plural).unwrap_or_default() {
            let home = text(&report["metadata"]["namespace"]);
            for (index, result) in report["results"].as_array().into_iter().flatten().enumerate() {
                let bad = RESULTS.iter().position(|r| result["result"] == *r);
                let (Some(bad), Some(policy)) = (bad, result["policy"].as_str().filter(|p| !p.is_empty())) else {
                    count.malformed += 1;
                    continue;
                };
                let source = result["source"].as_str().filter(|s| !s.is_empty()).or(report["source"].as_str()).unwrap_or_default();
                let (source, policy, rule) = policies.meant(source, policy, &text(&result["rule"]));
                let seconds = result["timestamp"]["seconds"].as_i64().filter(|seconds| *seconds <= latest).unwrap_or(0);
                for thing in things(&report, result) {
                    let (resource, kind) = match thing {
                        Some(thing) => {
                            let said = text(&thing["namespace"]);
                            if !home.is_empty() && !said.is_empty() && said != home && SOURCES.iter().any(|known| known.0 == source) {
                                count.foreign += 1;
                                continue;
                            }
                            (identity(thing, &home, &report["metadata"]["uid"]), text(&thing["kind"]))
                        }
                        None => (vec!["report".to_owned(), text(&report["metadata"]["uid"]), index.to_string()], String::new()),
                    };
                    let kept = findings.entry((source.clone(), policy.clone(), rule.clone(), resource)).or_insert(((seconds, bad), kind));
                    kept.0 = kept.0.max((seconds, bad));
                }
            }
        }
    }

    let owners = owners(api);
    let mut collapsed: BTreeMap<Key, usize> = BTreeMap::new();
    for ((source, policy, rule, resource), ((_, bad), kind)) in findings {
        let (own, stale) = policies.own_rule(&source, &policy, &rule, &kind);
        if stale {
            count.stale += 1;
            continue;
        }
        count.findings.entry((source.clone(), policy.clone())).or_default()[bad] += 1;
        let kept = collapsed.entry((source, policy, own, top(&owners, resource))).or_insert(bad);
        *kept = (*kept).max(bad);
    }
    for ((source, policy, ..), bad) in collapsed {
        count.owners.entry((source, policy)).or_default()[bad] += 1;
    }
    count
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a result speaks of: its own resources, else what the report is about, else nothing but the report.
fn things<'a>(report: &'a Value, result: &'a Value) -> Vec<Option<&'a Value>> {
    let named = |thing: &&Value| ["name", "uid"].iter().any(|field| thing[*field].as_str().is_some_and(|text| !text.is_empty()));
    let scope = Some(&report["scope"]).filter(named);
    let home = text(&report["metadata"]["namespace"]);
    let meant = |thing| Some(scope.filter(|scope| is_short_for(thing, scope, &home)).unwrap_or(thing));
    let own = result["resources"].as_array().into_iter().flatten().filter(named).map(meant).collect::<Vec<_>>();
    if own.is_empty() { vec![scope] } else { own }
}

/// Whether what a result names is the scope in fewer words.
fn is_short_for(thing: &Value, scope: &Value, home: &str) -> bool {
    let plain = |field: &str| {
        let (said, whole) = (text(&thing[field]), text(&scope[field]));
        said.is_empty() || said == whole || (field == "namespace" && whole.is_empty() && said == home)
    };
    let group = |of: &Value| text(&of["apiVersion"]).split_once('/').map(|(group, _)| group.to_owned());
    ["kind", "namespace", "name", "uid"].into_iter().all(plain) && (text(&thing["apiVersion"]).is_empty() || group(thing) == group(scope))
}

fn identity(thing: &Value, home: &str, report: &Value) -> Vec<String> {
    let namespace = thing["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(home).to_owned();
    if let Some(uid) = thing["uid"].as_str().filter(|uid| !uid.is_empty()) {
        return vec![namespace, uid.to_owned()];
    }
    let version = text(&thing["apiVersion"]);
    if version.is_empty() || text(&thing["kind"]).is_empty() {
        // Another report may mean something else by it.
        return vec!["in report".to_owned(), text(report), version, text(&thing["kind"]), text(&thing["namespace"]), text(&thing["name"])];
    }
    let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
    vec![namespace, group, text(&thing["kind"]), text(&thing["name"])]
}

/// Everything of a resource, in whichever version is served; `None` where none is.
fn list(api: &Api, group: &str, plural: &str) -> Option<Vec<Value>> {
    let served = api.get(&format!("/apis/{group}")).expect("the API server answers");
    if served.status != 200 {
        return None;
    }
    let versions = served.body["versions"].as_array()?.iter().map(|v| text(&v["version"])).collect::<Vec<_>>();
    versions.iter().find_map(|version| api.list(&format!("/apis/{group}/{version}/{plural}")))
}

/// The policies of one source by name, with their rules where rules have names.
type Known = HashMap<String, Option<BTreeSet<String>>>;

/// The policies that exist, by source; `None` where a source's kinds are not served at all.
struct Policies(HashMap<&'static str, Option<Known>>);

impl Policies {
    fn read(api: &Api) -> Self {
        let of = |group: &str, plurals: &[&str]| {
            let lists = plurals.iter().filter_map(|plural| list(api, group, plural)).collect::<Vec<_>>();
            (!lists.is_empty()).then(|| lists.into_iter().flatten().map(|policy| entry(group, &policy)).collect())
        };
        Self(SOURCES.iter().map(|(source, group, plurals)| (*source, of(group, plurals))).collect())
    }

    fn has(&self, source: &str, policy: &str) -> bool {
        self.0.get(source).and_then(Option::as_ref).is_some_and(|known| known.contains_key(policy))
    }

    /// What a result is about: the policy that a native one was generated from; a namespaced CEL policy that is reported under `kyverno`; no rule of
    /// its own where an exception excuses.
    fn meant(&self, source: &str, policy: &str, rule: &str) -> (String, String, String) {
        let (mut source, mut policy, mut rule) = (source, policy, rule);
        let generated = [
            ("ValidatingAdmissionPolicy", "cpol-", "kyverno"),
            ("ValidatingAdmissionPolicy", "vpol-", "KyvernoValidatingPolicy"),
            ("MutatingAdmissionPolicy", "mpol-", "KyvernoMutatingPolicy"),
        ];
        for (native, before, of) in generated {
            match policy.strip_prefix(before) {
                Some(name) if native == source && self.has(of, name) => {
                    // The API server's only rule is called as its policy.
                    let rules = self.0[of].as_ref().and_then(|known| known[name].as_ref());
                    if rule == policy {
                        rule = rules.filter(|rules| rules.len() == 1).and_then(|rules| rules.first()).map_or("", String::as_str);
                    }
                    (source, policy) = (of, name);
                    break;
                }
                _ => {}
            }
        }
        if source == "kyverno" && policy.contains('/') && !self.has(source, policy) {
            let others =
                SOURCES.iter().map(|known| known.0).filter(|other| *other != "kyverno" && self.has(other, policy)).collect::<Vec<_>>();
            if let [only] = others[..] {
                source = only;
            }
        }
        let is_cel = source != "kyverno" && SOURCES.iter().any(|known| known.0 == source);
        let name = policy.rsplit('/').next().unwrap_or_default();
        if is_cel && (rule == name || ["exception", "match", "evaluation", "mutateDigest"].contains(&rule)) {
            rule = "";
        }
        (source.to_owned(), policy.to_owned(), rule.to_owned())
    }

    /// The rule as its author wrote it, and whether the policy or the rule does not exist. Kyverno calls the twins that it makes `autogen-NAME`, for
    /// CronJobs `autogen-cronjob-NAME`, and cuts these names to 63 characters (pkg/autogen/v1/rule.go).
    fn own_rule(&self, source: &str, policy: &str, rule: &str, kind: &str) -> (String, bool) {
        let listed = self.0.get(source);
        let rules = listed.and_then(Option::as_ref).and_then(|known| known.get(policy));
        let written =
            |name: &str, is_cut: bool| rules.into_iter().flatten().flatten().any(|rule| rule == name || (is_cut && rule.starts_with(name)));
        let is_cut = rule.len() >= 63;
        let mut readings = Vec::new();
        if let Some(short) = rule.strip_prefix("autogen-") {
            readings.push((short, is_cut));
            if let Some(shorter) = short.strip_prefix("cronjob-") {
                readings.insert(usize::from(kind != "CronJob"), (shorter, is_cut));
            }
        }
        let usual = readings.first().map_or(rule, |(name, _)| *name);
        let has_twins = ["CronJob", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"].contains(&kind);
        let literally = (rule, is_cut && readings.is_empty());
        readings.insert(if has_twins { readings.len() } else { 0 }, literally);
        let own = readings.iter().find(|(name, is_cut)| written(name, *is_cut)).map(|(name, _)| *name);
        let stale = match (listed, rules) {
            (None, _) | (_, Some(None)) => false,
            (Some(_), None) => true,
            (_, Some(Some(_))) => !rule.is_empty() && own.is_none(),
        };
        (own.unwrap_or(usual).to_owned(), stale)
    }
}

/// A policy's name as reports write it, and its rules where they have names.
fn entry(group: &str, policy: &Value) -> (String, Option<BTreeSet<String>>) {
    let name = text(&policy["metadata"]["name"]);
    let name = policy["metadata"]["namespace"].as_str().map(|n| format!("{n}/{name}")).unwrap_or(name);
    let rules = policy["spec"]["rules"].as_array().into_iter().flatten().map(|rule| text(&rule["name"])).collect();
    (name, (group == "kyverno.io").then_some(rules))
}

/// Uid of a controlled object to the uid of its controller.
fn owners(api: &Api) -> HashMap<String, String> {
    let objects = CONTROLLED.iter().filter_map(|path| api.list(path)).flatten();
    objects
        .filter_map(|object| {
            let controller = object["metadata"]["ownerReferences"].as_array()?.iter().find(|o| o["controller"] == true)?;
            Some((text(&object["metadata"]["uid"]), text(&controller["uid"])))
        })
        .collect()
}

/// The resource at the top, in the same namespace. Only what has a uid (a pair of namespace and uid) is owned.
fn top(owners: &HashMap<String, String>, resource: Vec<String>) -> Vec<String> {
    let [namespace, uid] = &resource[..] else { return resource };
    let (mut uid, mut seen) = (uid, HashSet::new());
    while let Some(owner) = owners.get(uid) {
        if !seen.insert(uid) {
            break;
        }
        uid = owner;
    }
    vec![namespace.clone(), uid.clone()]
}

impl Count {
    pub(crate) fn total(tallies: &BTreeMap<Row, Tally>) -> Tally {
        tallies.values().fold(Tally::default(), |sum, tally| std::array::from_fn(|i| sum[i] + tally[i]))
    }

    /// Where what policydeck says of an environment (`violations -o json`, `status -o json`) differs, in words.
    pub(crate) fn differences(&self, environment: &str, violations: &Value, status: &Value) -> Vec<String> {
        let mut said: BTreeMap<Row, (Tally, Tally)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for item in violations["items"].as_array().into_iter().flatten() {
            let cell = &item["environments"][environment];
            if cell.is_null() {
                continue;
            }
            let name = text(&item["policy"]["name"]);
            let name = item["policy"]["namespace"].as_str().map(|n| format!("{n}/{name}")).unwrap_or(name);
            let row = (text(&item["source"]), name);
            match (tally(&cell["findings"]), tally(&cell["owners"])) {
                (Some(findings), Some(owners)) => _ = said.insert(row, (findings, owners)),
                _ => wrong.push(format!("{environment} {row:?}: no numbers: {cell}")),
            }
        }
        let rows: BTreeSet<&Row> = self.findings.keys().chain(said.keys()).collect();
        for row in rows {
            let counted = (self.findings.get(row).copied().unwrap_or_default(), self.owners.get(row).copied().unwrap_or_default());
            let said = said.get(row).copied().unwrap_or_default();
            if counted != said {
                wrong.push(format!("{environment} {row:?}: counted {counted:?}, policydeck says {said:?}"));
            }
        }
        wrong.extend(self.status_differences(environment, status));
        wrong
    }

    /// Where what `status -o json` says of an environment differs, in words.
    pub(crate) fn status_differences(&self, environment: &str, status: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |what: &str, counted: Value, said: &Value| {
            if counted != *said {
                wrong.push(format!("{environment} {what}: counted {counted}, policydeck says {said}"));
            }
        };
        let row = status["items"].as_array().into_iter().flatten().find(|e| e["name"] == environment);
        let row = row.unwrap_or(&Value::Null);
        check("all findings", named(Self::total(&self.findings)), &row["findings"]);
        check("all owners", named(Self::total(&self.owners)), &row["owners"]);
        check("malformed", self.malformed.into(), &row["malformed"]);
        check("foreign", self.foreign.into(), &row["foreign"]);
        check("complete", true.into(), &row["complete"]);
        wrong
    }
}

/// `{"pass": n, …}` as [`Tally`]; nothing where a number is missing.
fn tally(value: &Value) -> Option<Tally> {
    let mut tally = Tally::default();
    for (number, name) in tally.iter_mut().zip(RESULTS) {
        *number = value[name].as_u64()?;
    }
    Some(tally)
}

fn named(tally: Tally) -> Value {
    RESULTS.iter().zip(tally).map(|(name, number)| ((*name).to_owned(), Value::from(number))).collect::<serde_json::Map<_, _>>().into()
}
