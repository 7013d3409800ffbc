//! Hostile situations: the tables in `tests/situations`, made in real clusters, and what the gate and the numbers have to say of each. A situation is a row.

use super::counting::ready;
use crate::support::cluster::{Cluster, Fleet, Need, Options, RUNNING, crds};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Reports take up to half a minute, what comes of a step another scan or two.
const SOON: Duration = Duration::from_secs(300);

/// Dev goes from audit to enforce, and from there to audit in production.
const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit", soak = "0s" }, { mode = "enforce", soak = "0s" }]

[[environments]]
name = "live"
context = "live"
tier = "production"
steps = [{ mode = "audit", soak = "0s" }, { mode = "enforce" }]

[exceptions]
expiry = "team/until"
"#;

/// A row of a table. `{ns}` is a namespace of its own in every cluster, `{policy}` the policy's name; both are replaced everywhere.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Situation {
    name: String,
    /// Which kind of fault it is an example of: the number of a heading in `tests/situations/README.md`.
    point: u8,
    #[serde(default)]
    #[expect(dead_code, reason = "for those who read the table")]
    about: String,
    /// What differs from the usual policy of its kind; null for none at all.
    #[serde(default = "empty")]
    policy: Value,
    /// The same for the second cluster; without it, the policy is not there.
    #[serde(default)]
    live: Value,
    /// Who is asked.
    #[serde(default)]
    asked: Asked,
    /// Made before the policy: manifests, or names of ConfigMaps, of which those that begin with `good` are good ones.
    #[serde(default)]
    objects: Vec<Value>,
    /// Made after the policy.
    #[serde(default)]
    later: Vec<Value>,
    /// Written by hand after the policy.
    #[serde(default)]
    reports: Vec<Report>,
    /// What has to be so before the next steps are taken.
    #[serde(default)]
    first: BTreeMap<String, String>,
    /// Arguments of kubectl, one step after the other; what begins with `!` has to fail.
    #[serde(default)]
    then: Vec<Vec<String>>,
    /// What holds at the end: a condition, `verdict`, `mode`, `from` or a number of `policies`, and its state, with a part of the reason after a colon.
    says: BTreeMap<String, String>,
}

/// A report as somebody wrote it.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Report {
    /// `PolicyReport`, `ClusterPolicyReport`, or of openreports.io `Report`, `ClusterReport`.
    #[serde(default = "policy_report")]
    kind: String,
    /// Its namespace; the situation's own where none is given.
    r#in: Option<String>,
    /// `VERSION KIND NAME` of what it is about, with a namespace as a fourth word where it is another one, `-` for none.
    about: Option<String>,
    /// `RULE RESULT AGO` in seconds, or the same as `rule`, `result` and `ago` with more fields of a result.
    results: Vec<Value>,
}

fn policy_report() -> String {
    "PolicyReport".to_owned()
}

/// `VERSION KIND NAME [NAMESPACE]` as a reference; a `-` stands for nothing at all.
fn reference(words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').collect();
    let [version, kind, name, namespace @ ..] = &words[..] else { panic!("{words:?}") };
    let namespace = namespace.first().copied().unwrap_or("{ns}");
    // Whatever the version, an object of a group has one UID.
    let group = version.split_once('/').map_or("core", |(group, _)| group);
    let mut reference = json!({"apiVersion": version, "kind": kind, "name": name, "uid": format!("{group}-{kind}-{namespace}-{name}")});
    if namespace != "-" {
        reference["namespace"] = namespace.into();
    }
    reference
}

impl Report {
    fn manifest(&self, number: usize) -> Value {
        let now = jiff::Timestamp::now().as_second();
        let results = self.results.iter().map(|written| {
            let mut words = written.as_str().unwrap_or_default().split(' ').map(str::to_owned);
            let mut result = json!({"policy": "{policy}", "source": "kyverno", "scored": true});
            let mut ago = words.clone().nth(2).and_then(|ago| ago.parse().ok());
            if written.is_string() {
                result["rule"] = words.next().into();
                result["result"] = words.next().into();
            } else {
                merge(&mut result, written);
                ago = result.as_object_mut().and_then(|result| result.remove("ago")).and_then(|ago| ago.as_i64());
            }
            if let Some(ago) = ago {
                result["timestamp"] = json!({"seconds": now - ago, "nanos": 0});
            }
            let about = result["resources"].as_array().cloned();
            if let Some(about) = about {
                result["resources"] = about.iter().map(|one| one.as_str().map_or_else(|| one.clone(), reference)).collect();
            }
            result
        });
        let group = if self.kind.contains("Policy") { "wgpolicyk8s.io/v1alpha2" } else { "openreports.io/v1alpha1" };
        let mut report = json!({"apiVersion": group, "kind": self.kind, "metadata": {"name": format!("{{policy}}-{number}")},
            "results": results.collect::<Value>(), "summary": {}});
        if !self.kind.starts_with("Cluster") {
            report["metadata"]["namespace"] = self.r#in.as_deref().unwrap_or("{ns}").into();
        }
        if let Some(about) = &self.about {
            report["scope"] = reference(about);
        }
        report
    }
}

/// A user of policydeck.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Asked {
    /// One whose recorder runs.
    #[default]
    Recorded,
    /// One who has no history.
    Alone,
    /// One whose environments are limited to the namespaces of the situations that ask for it.
    Limited,
}

fn empty() -> Value {
    json!({})
}

fn table(file: &str) -> Vec<Situation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/situations").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Puts what differs into what is usual; null takes away, a list replaces.
fn merge(usual: &mut Value, differs: &Value) {
    match (usual, differs) {
        (Value::Object(usual), Value::Object(differs)) => {
            for (key, value) in differs {
                if value.is_null() {
                    usual.remove(key);
                } else {
                    merge(usual.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (usual, differs) => *usual = differs.clone(),
    }
}

const TEAM: &str = "has(object.metadata.labels) && 'team' in object.metadata.labels";

/// A rule about the ConfigMaps of the situation's namespace, all but what Kubernetes puts there.
fn usual_rule() -> Value {
    json!({
        "name": "team",
        "match": {"any": [{"resources": {"kinds": ["ConfigMap"], "namespaces": ["{ns}"], "names": ["good*", "bad*"]}}]},
        "validate": {"failureAction": "Audit", "message": "wants a team", "pattern": {"metadata": {"labels": {"team": "?*"}}}},
    })
}

/// The usual policy of a kind: it audits ConfigMaps without a label.
fn usual(kind: &str) -> Value {
    if matches!(kind, "ClusterPolicy" | "Policy") {
        return json!({"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": {"name": "{policy}"}, "spec": {"background": true, "rules": [usual_rule()]}});
    }
    json!({
        "apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "{policy}"},
        "spec": {
            "validationActions": ["Audit"],
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "{ns}"}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
            },
            "matchConditions": [{"name": "ours", "expression": "object.metadata.name.startsWith('good') || object.metadata.name.startsWith('bad')"}],
            "validations": [{"expression": TEAM, "message": "wants a team"}],
        },
    })
}

impl Situation {
    /// The policy of the first cluster.
    fn manifest(&self) -> Option<Value> {
        self.complete(&self.policy)
    }

    /// A policy, complete. Its `rules` differ from the usual rule one by one.
    fn complete(&self, differs: &Value) -> Option<Value> {
        let mut differs = differs.as_object()?.clone();
        let kind = self.kind();
        let rules = differs.remove("rules");
        let mut policy = usual(&kind);
        merge(&mut policy, &Value::Object(differs));
        if let Some(Value::Array(rules)) = rules {
            let whole = rules.iter().map(|differs| {
                let mut rule = usual_rule();
                if differs.pointer("/validate/pattern").is_some() {
                    rule["validate"]["pattern"] = Value::Null;
                }
                merge(&mut rule, differs);
                rule
            });
            policy["spec"]["rules"] = whole.collect();
        }
        if kind == "Policy" || kind.starts_with("Namespaced") {
            policy["metadata"]["namespace"] = "{ns}".into();
            // It reaches no other namespace, and may not speak of any.
            policy.pointer_mut("/spec/matchConstraints").and_then(Value::as_object_mut).map(|matches| matches.remove("namespaceSelector"));
            for rule in policy.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten() {
                rule.pointer_mut("/match/any/0/resources").and_then(Value::as_object_mut).map(|matches| matches.remove("namespaces"));
            }
        }
        Some(policy)
    }

    fn kind(&self) -> String {
        self.policy["kind"].as_str().unwrap_or("ClusterPolicy").to_owned()
    }
}

/// A manifest, or the ConfigMap of that name.
fn object(written: &Value) -> Value {
    let Some(name) = written.as_str() else { return written.clone() };
    let labels = if name.starts_with("good") { json!({"team": "a"}) } else { json!({}) };
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "{ns}", "labels": labels}})
}

/// A situation in its clusters.
struct Made {
    row: Situation,
    namespace: String,
    policy: String,
}

impl Made {
    fn filled(&self, text: &str) -> String {
        text.replace("{ns}", &self.namespace).replace("{policy}", &self.policy)
    }

    fn manifests<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> String {
        let texts = objects.into_iter().map(|written| self.filled(&object(written).to_string()));
        texts.collect::<Vec<_>>().join("\n---\n")
    }

    /// Takes the steps that come once everything is reported.
    fn go_on(&self, cluster: &Cluster) {
        for step in &self.row.then {
            let words = step.iter().map(|word| self.filled(word)).collect::<Vec<_>>();
            let (fails, words) = match words.split_first() {
                Some((first, rest)) if first == "!" => (true, rest),
                _ => (false, &words[..]),
            };
            if words.first().is_some_and(|word| word == "wait-a-second") {
                // Times in managedFields have whole seconds.
                std::thread::sleep(Duration::from_millis(1_100));
                continue;
            }
            let words = words.iter().map(String::as_str).collect::<Vec<_>>();
            let output = cluster.try_kubectl(&words, "");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), !fails, "{}: kubectl {words:?}: {told}", self.row.name);
        }
    }

    /// What is not as the row says.
    fn wrong(&self, says: &BTreeMap<String, String>, gate: &Value, numbers: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        for (what, expected) in says {
            let (state, part) = expected.split_once(": ").map_or((expected.as_str(), ""), |(state, part)| (state, part));
            let part = self.filled(part);
            let (found, reason) = said(what, gate, numbers);
            let fits = match state.strip_prefix("not ") {
                Some(other) => found != other,
                None => found == state,
            };
            if !fits || !reason.contains(&part) {
                wrong.push(format!("{}: {what} is {found:?} ({reason}), not {expected:?}", self.row.name));
            }
        }
        wrong
    }
}

/// What the gate, or the list of policies, says of one thing: a word and a reason.
fn said(what: &str, gate: &Value, numbers: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match what {
        "verdict" => (text(&gate["verdict"]), String::new()),
        "from" => (format!("{} {}", text(&gate["from"]["environment"]), text(&gate["from"]["mode"])), String::new()),
        "mode" => (text(&numbers["mode"]), String::new()),
        "force" => (text(&numbers["inForce"]["state"]), text(&numbers["inForce"]["reason"])),
        "pass" | "fail" | "warn" | "error" | "skip" => (text(&numbers["findings"][what]), String::new()),
        "stale" | "foreign" => (text(&numbers[what]), String::new()),
        _ => {
            let conditions = gate["conditions"].as_array();
            let found = conditions.into_iter().flatten().find(|one| one["name"] == what).unwrap_or(&Value::Null);
            let value = if found["value"].is_null() { String::new() } else { format!("{} ", found["value"]) };
            (text(&found["state"]), format!("{value}{} ({})", text(&found["reason"]), text(&found["source"])))
        }
    }
}

/// What a user is told of everything at one moment, by kind and name of the policy.
struct Told {
    gates: BTreeMap<(String, String), Value>,
    numbers: BTreeMap<(String, String), Value>,
}

/// What all users are told.
fn ask(desks: &BTreeMap<Asked, Desk>) -> BTreeMap<Asked, Told> {
    desks.iter().map(|(who, desk)| (*who, Told::by(desk))).collect()
}

impl Told {
    fn by(desk: &Desk) -> Self {
        let items = |command: &str| desk.json(&[command]).0["items"].as_array().cloned().unwrap_or_default();
        let key = |item: &Value| {
            let part = |part: &str| item["policy"][part].as_str().unwrap_or_default().to_owned();
            (part("kind"), part("name"))
        };
        let gates = items("gate").into_iter().map(|item| (key(&item), item)).collect();
        let numbers = items("violations").into_iter().map(|item| (key(&item), item["environments"]["dev"].clone())).collect();
        Self { gates, numbers }
    }

    /// Gate and numbers of a situation.
    fn of<'a>(all: &'a BTreeMap<Asked, Self>, made: &Made) -> (&'a Value, &'a Value) {
        let (told, key) = (&all[&made.row.asked], (made.row.kind(), made.policy.clone()));
        (told.gates.get(&key).unwrap_or(&Value::Null), told.numbers.get(&key).unwrap_or(&Value::Null))
    }
}

/// Applies a part of every situation, all at once.
fn apply(cluster: &Cluster, all: &[Made], part: impl Fn(&Made) -> String) {
    let texts = all.iter().map(part).filter(|text| !text.is_empty()).collect::<Vec<_>>();
    if !texts.is_empty() {
        cluster.apply(&texts.join("\n---\n"));
    }
}

/// Makes all rows at once, takes each one's steps when it is ready for them, and waits until everything is as the rows say at one moment.
fn play(fleet: &Fleet, desks: &BTreeMap<Asked, Desk>, all: &[Made], made: impl Fn(&Cluster, &Value)) {
    let dev = fleet.cluster("dev");
    let policy =
        |made: &Made, differs: &Value| made.row.complete(differs).map(|policy| made.filled(&policy.to_string())).unwrap_or_default();
    let reports = |made: &Made| {
        let reports = made.row.reports.iter().enumerate().map(|(number, report)| report.manifest(number)).collect::<Vec<_>>();
        made.manifests(&reports)
    };
    apply(dev, all, |made| made.manifests(&made.row.objects));
    apply(dev, all, |made| policy(made, &made.row.policy));
    apply(fleet.cluster("live"), all, |made| policy(made, &made.row.live));
    for one in all {
        for (cluster, differs) in [(dev, &one.row.policy), (fleet.cluster("live"), &one.row.live)] {
            if let Some(policy) = one.row.complete(differs) {
                made(cluster, &serde_json::from_str(&one.filled(&policy.to_string())).unwrap());
            }
        }
    }
    apply(dev, all, |made| made.manifests(&made.row.later));
    apply(dev, all, reports);
    let mut waiting: BTreeSet<usize> = (0..all.len()).collect();
    eventually("everything is as the rows say", SOON, || {
        let told = ask(desks);
        let mut wrong = Vec::new();
        for (at, made) in all.iter().enumerate() {
            let (gate, numbers) = Told::of(&told, made);
            if waiting.contains(&at) {
                let differs = made.wrong(&made.row.first, gate, numbers);
                if !differs.is_empty() {
                    wrong.extend(differs.into_iter().map(|line| format!("first, {line}")));
                    continue;
                }
                made.go_on(dev);
                waiting.remove(&at);
                if !made.row.then.is_empty() {
                    wrong.push(format!("{}: it has only begun", made.row.name));
                    continue;
                }
            }
            wrong.extend(made.wrong(&made.row.says, gate, numbers));
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
    });
}

const TABLES: [&str; 2] = ["kyverno.yaml", "written.yaml"];

/// The kinds of faults that the tables tell of, as their README names them.
const POINTS: [u8; 12] = [10, 11, 12, 13, 14, 15, 17, 18, 20, 21, 22, 26];

#[test]
fn the_tables_of_situations_read_and_cover_every_point() {
    let rows = TABLES.map(table);
    let all = rows.concat();
    let names = all.iter().map(|row| row.name.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), all.len(), "names are unique");
    assert!(all.iter().all(|row| !row.says.is_empty() && row.manifest().is_none_or(|policy| policy["metadata"]["name"].is_string())));
    let mut counts: BTreeMap<u8, usize> = POINTS.map(|point| (point, 0)).into();
    for row in &all {
        *counts.entry(row.point).or_default() += 1;
    }
    let thin = counts.iter().filter(|(_, count)| **count < 4).collect::<Vec<_>>();
    assert!(thin.is_empty(), "each kind has its example and three neighbors: {thin:?}");
    assert!(all.len() >= 200, "{}", all.len());
}

/// What happens with the running Kyverno.
#[test]
fn kyverno_and_what_the_gate_says_of_it() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let made = |row: Situation| {
        let namespace = fleet.own_namespace(&row.name);
        let policy = fleet.name(&row.name);
        Made { row, namespace, policy }
    };
    let all = table("kyverno.yaml").into_iter().map(made).collect::<Vec<_>>();
    let limited = fleet.name("scope-*");
    let limited = CONFIG.replace("context =", &format!("namespaces = [\"{limited}\"]\ncontext ="));
    let desks = [(Asked::Recorded, CONFIG), (Asked::Alone, CONFIG), (Asked::Limited, limited.as_str())];
    let desks: BTreeMap<Asked, Desk> = desks.map(|(who, config)| (who, Desk::with_config(&fleet, config))).into();
    let recorder = desks[&Asked::Recorded].start(&["observe"]);
    play(&fleet, &desks, &all, |_, _| ());
    end(recorder);
}

/// What is written by hand: reports, events and policies as no Kyverno would write them today, and others do.
#[test]
fn what_is_written_and_what_it_counts_as() {
    let Some(fleet) = Fleet::start(&["dev", "live"], Options::default()) else { return };
    for cluster in fleet.clusters() {
        cluster.install_crds(&crds(RUNNING));
        cluster.install_crds(&crds("openreports"));
    }
    let made = |row: Situation| {
        for cluster in fleet.clusters() {
            cluster.namespace(&row.name);
        }
        Made { namespace: row.name.clone(), policy: row.name.clone(), row }
    };
    let all = table("written.yaml").into_iter().map(made).collect::<Vec<_>>();
    play(&fleet, &BTreeMap::from([(Asked::Recorded, Desk::with_config(&fleet, CONFIG))]), &all, ready);
}
