//! Every number of an environment, counted from whole objects.

use super::acts::now;
use super::model::{Model, Stream, Subject, controller, results, subjects, text};
use super::world::LONG;
use crate::domain::{FindingResult, Severity, Tally};
use crate::kinds::Family;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Source, and the policy as reports name it.
pub(super) type Policy = (String, String);

/// What one policy adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) findings: Tally,
    pub(super) owners: Tally,
    pub(super) stale: u64,
    pub(super) foreign: u64,
    pub(super) excepted: u64,
    pub(super) newest: i64,
    pub(super) severity: Option<Severity>,
    pub(super) category: String,
    pub(super) blocked: Option<u64>,
}

/// What an environment adds up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) policies: BTreeMap<Policy, Sum>,
    /// Rows by finding, and by owner, as text.
    pub(super) findings: Vec<String>,
    pub(super) owners: Vec<String>,
    pub(super) malformed: u64,
    pub(super) blocked: Option<u64>,
    /// Uses of exceptions that exist.
    pub(super) uses: BTreeMap<String, u64>,
}

/// What one result says: its time, how bad it is, and the exceptions that it names.
type Said = (i64, FindingResult, bool, String);

/// Policy, rule as the policy calls it, top owner, and whether it is stale.
type Group = (Policy, String, String, bool);

/// Policy, rule, and resource.
type Key = (Policy, String, String);

const VPOL: &str = "KyvernoValidatingPolicy";
const IVPOL: &str = "KyvernoImageValidatingPolicy";

pub(super) fn count(model: &Model) -> Count {
    let mut count = Count::default();
    let blocked = blocked(model);
    findings(model, &mut count);
    for (kind, policy) in model.of_family(Family::Policy) {
        let source = source_of(kind.kind());
        let (namespace, name) = (text(&policy["metadata"], "namespace"), text(&policy["metadata"], "name"));
        let written = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let sum = count.policies.entry((source.to_owned(), written)).or_default();
        let of_itself = |what: &str| text(&policy["metadata"]["annotations"], &format!("policies.kyverno.io/{what}"));
        sum.severity = severity(&of_itself("severity")).or(sum.severity);
        sum.category = of_itself("category");
    }
    for ((source, name), sum) in &mut count.policies {
        let of = blocked.get(&(source.clone(), name.clone())).copied().unwrap_or_default();
        sum.blocked = model.is_known("", "Event").then_some(of);
    }
    count.blocked = model.is_known("", "Event").then(|| blocked.values().sum());
    count.malformed += model.streams.values().map(Stream::left_out).sum::<u64>();
    count
}

/// One finding, counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) policy: Policy,
    /// The rule as it is written, and as its policy calls it.
    pub(crate) rule: String,
    pub(crate) own: String,
    pub(crate) subject: Subject,
    /// What makes the top owner the same one.
    pub(crate) top: String,
    pub(crate) result: FindingResult,
    pub(crate) stale: bool,
    said: Said,
    owner: (String, bool),
}

/// Every finding, and what results say of their policies by the way.
pub(super) fn rows(model: &Model, count: &mut Count) -> Vec<Counted> {
    let mut kept: BTreeMap<Key, (Said, Subject)> = BTreeMap::new();
    for (kind, report) in model.of_family(Family::Report) {
        count.malformed += (report["results"].as_array().map_or(0, Vec::len) - results(report).count()) as u64;
        for (place, result) in results(report) {
            let source = Some(text(result, "source")).filter(|s| !s.is_empty()).unwrap_or_else(|| text(report, "source"));
            let (policy, rule) = meant(model, &source, &text(result, "policy"), &text(result, "rule"));
            let exception = ["exception", "exceptions"].map(|key| text(&result["properties"], key)).concat();
            let time = result["timestamp"]["seconds"].as_i64().unwrap_or_default();
            let time = if time > now().as_second() + 60 { 0 } else { time.max(0) };
            let word = FindingResult::ALL.into_iter().find(|r| r.as_str() == text(result, "result")).unwrap();
            let bounded = ["kyverno", VPOL, IVPOL].contains(&policy.0.as_str());
            let mut speaks = false;
            for subject in subjects(kind, report, result, place) {
                if subject.elsewhere && bounded {
                    count.policies.entry(policy.clone()).or_default().foreign += 1;
                    continue;
                }
                speaks = true;
                let said = (time, word, !exception.is_empty(), exception.clone());
                let key = (policy.clone(), rule.clone(), subject.id.clone());
                let known = kept.entry(key).or_insert_with(|| (said.clone(), subject));
                known.0 = known.0.clone().max(said);
            }
            if !speaks {
                continue;
            }
            let sum = count.policies.entry(policy).or_default();
            sum.newest = sum.newest.max(time);
            sum.severity = sum.severity.max(severity(&text(result, "severity")));
            let category = text(result, "category");
            if !category.is_empty() && (sum.category.is_empty() || category < sum.category) {
                sum.category = category;
            }
        }
    }
    let tops = Tops::of(model);
    let counted = |((policy, rule, _), (said, subject)): (Key, (Said, Subject))| {
        let (own, stale) = own_rule(model, &policy, &rule, &subject.kind);
        let (shown, guessed, top) = tops.shown(&subject);
        Counted { policy, rule, own, top, result: said.1, stale, said, owner: (shown, guessed), subject }
    };
    kept.into_iter().map(counted).collect()
}

fn findings(model: &Model, count: &mut Count) {
    let mut groups: BTreeMap<Group, (FindingResult, BTreeSet<String>)> = BTreeMap::new();
    for Counted { policy, rule, own, subject, top, result, stale, said: (time, _, excepted, exception), owner: (shown, guessed) } in
        rows(model, count)
    {
        let sum = count.policies.entry(policy.clone()).or_default();
        if stale {
            sum.stale += 1;
        } else {
            sum.findings.add(result);
            sum.excepted += u64::from(excepted);
            for name in exception.split(',').filter(|name| !name.is_empty()) {
                *count.uses.entry(name.to_owned()).or_default() += 1;
            }
        }
        let owner = if top == subject.id { "" } else { &shown };
        count.findings.push(format!(
            "{policy:?} {rule} {} {result} {stale} {time} {} {owner} {guessed}",
            subject.shown,
            exception.is_empty()
        ));
        let group = groups.entry((policy, own, top, stale)).or_insert_with(|| (result, BTreeSet::new()));
        group.0 = group.0.max(result);
        group.1.insert(subject.id);
    }
    for ((policy, rule, top, stale), (worst, resources)) in groups {
        if !stale {
            count.policies.entry(policy.clone()).or_default().owners.add(worst);
        }
        let shown = top.strip_prefix("report ").map_or(top.as_str(), |rest| rest.split(' ').next().unwrap_or(rest));
        let shown = shown.trim_start_matches("named ").trim_start_matches("guess ").split(" of ").next().unwrap_or(shown);
        let shown = shown.rsplit(' ').next().unwrap_or(shown);
        count.owners.push(format!("{policy:?} {rule} {shown} {worst} {stale} {}", resources.len()));
    }
    count.findings.sort();
    count.owners.sort();
}

/// Who is at the top of whom.
struct Tops {
    owners: BTreeMap<String, Subject>,
    guesses: bool,
}

impl Tops {
    fn of(model: &Model) -> Self {
        let link = |object: &Value| {
            let home = text(&object["metadata"], "namespace");
            Some((Subject::of(&object["metadata"], &home).id, Subject::of(controller(object)?, &home)))
        };
        Self { owners: model.of_family(Family::Owner).filter_map(|(_, object)| link(object)).collect(), guesses: model.guesses() }
    }

    /// The top owner as a row shows it, whether it is a guess, and what makes it the same one.
    fn shown(&self, subject: &Subject) -> (String, bool, String) {
        let mut top = subject;
        while let Some(owner) = self.owners.get(&top.id) {
            top = owner;
        }
        match &top.guess {
            Some(guess) if self.guesses => (guess.clone(), true, format!("guess {guess}")),
            _ => (top.shown.clone(), false, top.id.clone()),
        }
    }
}

fn severity(word: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.as_str() == word)
}

fn source_of(kind: &crate::kinds::Kind) -> &'static str {
    match (kind.group, kind.kind) {
        ("kyverno.io", _) => "kyverno",
        (_, kind) if kind.contains("Image") => IVPOL,
        _ => VPOL,
    }
}

/// The policies that exist under a source, with their rules.
fn find(model: &Model, source: &str, policy: &str) -> Option<Vec<String>> {
    let (namespace, name) = policy.split_once('/').unwrap_or(("", policy));
    let (_, found) = model.of_family(Family::Policy).find(|(id, object)| {
        let metadata = &object["metadata"];
        source_of(id.kind()) == source && text(metadata, "namespace") == namespace && text(metadata, "name") == name
    })?;
    Some(found["spec"]["rules"].as_array().into_iter().flatten().map(|rule| text(rule, "name")).collect())
}

/// The policy that a result can mean, and the rule, which for CEL policies is none.
fn meant(model: &Model, source: &str, policy: &str, rule: &str) -> (Policy, String) {
    let generated = [("cpol-", "kyverno"), ("vpol-", VPOL)].into_iter().filter(|_| source == "ValidatingAdmissionPolicy");
    for (before, of) in generated {
        if let Some(name) = policy.strip_prefix(before)
            && let Some(rules) = find(model, of, name)
        {
            let only = if rule == policy { if rules.len() == 1 { rules[0].clone() } else { String::new() } } else { rule.to_owned() };
            return ((of.to_owned(), name.to_owned()), if of == VPOL && only == "exception" { String::new() } else { only });
        }
    }
    let mut source = source;
    if source == "kyverno" && policy.contains('/') && model.is_known("kyverno.io", "Policy") && find(model, source, policy).is_none() {
        let others: Vec<&str> = [VPOL, IVPOL].into_iter().filter(|other| find(model, other, policy).is_some()).collect();
        if let [only] = others[..] {
            source = only;
        }
    }
    let is_cel = [VPOL, IVPOL].contains(&source);
    ((source.to_owned(), policy.to_owned()), if is_cel && rule == "exception" { String::new() } else { rule.to_owned() })
}

/// The rule as its policy calls it, and whether the policy or the rule does not exist.
fn own_rule(model: &Model, (source, policy): &Policy, rule: &str, kind: &str) -> (String, bool) {
    let rules = find(model, source, policy);
    let mut readings = Vec::new();
    if let Some(short) = rule.strip_prefix("autogen-") {
        readings.push(short);
        let shorter = short.strip_prefix("cronjob-").unwrap_or(short);
        readings.insert(usize::from(kind != "CronJob"), shorter);
    }
    let usual = readings.first().copied().unwrap_or(rule).to_owned();
    let is_workload = ["CronJob", "Deployment", "ReplicaSet", "StatefulSet", "Job"].contains(&kind);
    readings.insert(if is_workload { readings.len() } else { 0 }, rule);
    let is_cut = |reading: &str, name: &str| name == LONG && rule.len() == 63 && reading != rule && LONG.starts_with(reading);
    let has = |reading: &&&str| rules.iter().flatten().any(|name| name == **reading || is_cut(reading, name));
    let own = readings.iter().find(has).map(|own| (*own).to_owned());
    let stale = match (source.as_str(), &rules) {
        ("kyverno", Some(_)) => !rule.is_empty() && own.is_none(),
        ("kyverno", None) => model.is_known("kyverno.io", if policy.contains('/') { "Policy" } else { "ClusterPolicy" }),
        (VPOL | IVPOL, None) => {
            let kind = if *source == VPOL { "ValidatingPolicy" } else { "ImageValidatingPolicy" };
            let kind = if policy.contains('/') { format!("Namespaced{kind}") } else { kind.to_owned() };
            model.is_known("policies.kyverno.io", &kind)
        }
        _ => false,
    };
    (own.unwrap_or(usual), stale)
}

/// Refused admissions by policy, without those that cannot be true.
fn blocked(model: &Model) -> BTreeMap<Policy, u64> {
    let mut uids: BTreeSet<(String, String)> = BTreeSet::new();
    for (_, object) in model.of_family(Family::Owner) {
        if let Some(owner) = controller(object) {
            let namespace = text(&object["metadata"], "namespace");
            uids.extend([text(owner, "uid"), text(&object["metadata"], "uid")].map(|uid| (namespace.clone(), uid)));
        }
    }
    let mut blocked = BTreeMap::new();
    for (_, event) in model.of_family(Family::Event).filter(|(_, event)| event["action"] == "Resource Blocked") {
        let about = &event["involvedObject"];
        let (namespace, name) = (text(about, "namespace"), text(about, "name"));
        let place = if namespace.is_empty() { "default" } else { &namespace };
        if event["metadata"]["namespace"] != place {
            continue;
        }
        let cel = text(about, "kind").contains("ValidatingPolicy");
        let is_it = |object: &Value| {
            (text(&object["metadata"], "namespace"), text(&object["metadata"], "name")) == (namespace.clone(), name.clone())
        };
        let policy = model.of_family(Family::Policy).find(|(kind, object)| about["kind"] == kind.kind().kind && is_it(object));
        let harmless = policy.is_some_and(|(_, policy)| policy["spec"]["validationActions"][0] != "Deny");
        if cel && (harmless || uids.contains(&(text(&event["related"], "namespace"), text(&event["related"], "uid")))) {
            continue;
        }
        let source = if cel { "KyvernoValidatingPolicy" } else { "kyverno" };
        let written = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
        *blocked.entry((source.to_owned(), written)).or_default() += event["count"].as_u64().unwrap_or(1).max(1);
    }
    blocked
}
