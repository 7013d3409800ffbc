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

/// (source, policy, rule, resource): a resource is its uid, else kind, namespace and name, else its report.
type Key = (String, String, String, String);

pub(crate) fn recount(api: &Api) -> Count {
    let mut count = Count::default();
    let mut findings: BTreeMap<Key, ((i64, i64), usize)> = BTreeMap::new();
    for (group, plural) in REPORTS {
        for report in list(api, group, plural).unwrap_or_default() {
            for (index, result) in report["results"].as_array().into_iter().flatten().enumerate() {
                let bad = RESULTS.iter().position(|r| result["result"] == *r);
                let (Some(bad), Some(policy)) = (bad, result["policy"].as_str().filter(|p| !p.is_empty())) else {
                    count.malformed += 1;
                    continue;
                };
                let source = result["source"].as_str().or(report["source"].as_str()).unwrap_or_default();
                let time = &result["timestamp"];
                let stamp = (time["seconds"].as_i64().unwrap_or(0), time["nanos"].as_i64().unwrap_or(0));
                for resource in resources(&report, result, index) {
                    let key = (source.to_owned(), policy.to_owned(), text(&result["rule"]), resource);
                    let kept = findings.entry(key).or_insert((stamp, bad));
                    *kept = (*kept).max((stamp, bad));
                }
            }
        }
    }

    let policies = Policies::read(api);
    let owners = owners(api);
    let mut collapsed: BTreeMap<Key, usize> = BTreeMap::new();
    for ((source, policy, rule, resource), (_, bad)) in findings {
        if policies.stale(&source, &policy, &rule) {
            count.stale += 1;
            continue;
        }
        count.findings.entry((source.clone(), policy.clone())).or_default()[bad] += 1;
        let key = (source, policy, bare(&rule).to_owned(), top(&owners, resource));
        let kept = collapsed.entry(key).or_insert(bad);
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

/// The resources that a result speaks of.
fn resources(report: &Value, result: &Value, index: usize) -> Vec<String> {
    let name = |thing: &Value| match thing["uid"].as_str() {
        Some(uid) if !uid.is_empty() => format!("uid {uid}"),
        _ => format!("{}/{}/{}", text(&thing["kind"]), text(&thing["namespace"]), text(&thing["name"])),
    };
    match result["resources"].as_array() {
        Some(things) if !things.is_empty() => things.iter().map(name).collect(),
        _ if report["scope"].is_object() => vec![name(&report["scope"])],
        _ => vec![format!("report {} {index}", text(&report["metadata"]["uid"]))],
    }
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

/// The rule as its author wrote it: Kyverno prefixes the twins that it makes for pod controllers.
fn bare(rule: &str) -> &str {
    let rest = rule.strip_prefix("autogen-").unwrap_or(rule);
    if rest.len() == rule.len() { rule } else { rest.strip_prefix("cronjob-").unwrap_or(rest) }
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

    fn stale(&self, source: &str, policy: &str, rule: &str) -> bool {
        let Some(known) = self.0.get(source) else { return false };
        let Some(rules) = known.as_ref().and_then(|known| known.get(policy)) else { return true };
        // Kyverno cuts the names of the rules it makes to 63 characters (pkg/autogen/v1/rule.go).
        let written = |name: &String| name == rule || name == bare(rule) || (rule.len() >= 63 && name.starts_with(bare(rule)));
        rules.as_ref().is_some_and(|rules| !rule.is_empty() && !rules.iter().any(written))
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
            Some((format!("uid {}", text(&object["metadata"]["uid"])), format!("uid {}", text(&controller["uid"]))))
        })
        .collect()
}

fn top(owners: &HashMap<String, String>, mut resource: String) -> String {
    let mut seen = HashSet::new();
    while let Some(owner) = owners.get(&resource) {
        if !seen.insert(std::mem::replace(&mut resource, owner.clone())) {
            break;
        }
    }
    resource
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
