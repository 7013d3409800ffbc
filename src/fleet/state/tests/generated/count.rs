//! Every number of an environment, counted from whole objects.

use super::model::{Model, Subject, controller, results, subjects, text};
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

/// Policy, rule without `autogen-`, top owner, and whether it is stale.
type Group = (Policy, String, String, bool);

/// Policy, rule, and resource.
type Key = (Policy, String, String);

pub(super) fn count(model: &Model) -> Count {
    let mut count = Count::default();
    let blocked = blocked(model);
    findings(model, &mut count);
    for (kind, policy) in model.of_family(Family::Policy) {
        let source = if kind.kind().group == "kyverno.io" { "kyverno" } else { "KyvernoValidatingPolicy" };
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
    count.malformed += model.streams.values().map(|stream| stream.skipped.max(stream.skipped_in_list.unwrap_or_default())).sum::<u64>();
    count
}

fn findings(model: &Model, count: &mut Count) {
    let mut kept: BTreeMap<Key, (Said, Subject)> = BTreeMap::new();
    for (kind, report) in model.of_family(Family::Report) {
        count.malformed += (report["results"].as_array().map_or(0, Vec::len) - results(report).count()) as u64;
        for (place, result) in results(report) {
            let source = Some(text(result, "source")).filter(|s| !s.is_empty()).unwrap_or_else(|| text(report, "source"));
            let policy = (source, text(result, "policy"));
            let exception = ["exception", "exceptions"].map(|key| text(&result["properties"], key)).concat();
            let time = result["timestamp"]["seconds"].as_i64().unwrap_or_default().clamp(0, i64::from(u32::MAX));
            let word = FindingResult::ALL.into_iter().find(|r| r.as_str() == text(result, "result")).unwrap();
            for subject in subjects(kind, report, result, place) {
                let said = (time, word, !exception.is_empty(), exception.clone());
                let key = (policy.clone(), text(result, "rule"), subject.id.clone());
                let known = kept.entry(key).or_insert_with(|| (said.clone(), subject));
                known.0 = known.0.clone().max(said);
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
    let mut groups: BTreeMap<Group, (FindingResult, BTreeSet<String>)> = BTreeMap::new();
    for ((policy, rule, _), ((time, result, excepted, exception), subject)) in kept {
        let stale = is_stale(model, &policy, &rule);
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
        let top = tops.shown(&subject);
        let owner = if top.0 == subject.shown { "" } else { &top.0 };
        count.findings.push(format!(
            "{policy:?} {rule} {} {result} {stale} {time} {} {owner} {}",
            subject.shown,
            exception.is_empty(),
            top.1
        ));
        let group = groups.entry((policy, bare(&rule).to_owned(), top.2, stale)).or_insert_with(|| (result, BTreeSet::new()));
        group.0 = group.0.max(result);
        group.1.insert(subject.id);
    }
    for ((policy, rule, top, stale), (worst, resources)) in groups {
        if !stale {
            count.policies.entry(policy.clone()).or_default().owners.add(worst);
        }
        let shown = top.strip_prefix("report ").map_or(top.as_str(), |rest| rest.split(' ').next().unwrap_or(rest));
        let shown = shown.trim_start_matches("named ").trim_start_matches("guess ");
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
            let mut owner = controller(object)?.clone();
            owner["namespace"] = object["metadata"]["namespace"].clone();
            Some((text(&object["metadata"], "uid"), Subject::of(&owner)))
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

fn bare(rule: &str) -> &str {
    let rest = rule.strip_prefix("autogen-").unwrap_or(rule);
    if rest.len() == rule.len() { rule } else { rest.strip_prefix("cronjob-").unwrap_or(rest) }
}

fn is_stale(model: &Model, (source, policy): &Policy, rule: &str) -> bool {
    let (group, wide, narrow) = match source.as_str() {
        "kyverno" => ("kyverno.io", "ClusterPolicy", "Policy"),
        "KyvernoValidatingPolicy" => ("policies.kyverno.io", "ValidatingPolicy", "NamespacedValidatingPolicy"),
        _ => return false,
    };
    let (kind, namespace, name) = match policy.split_once('/') {
        Some((namespace, name)) => (narrow, namespace, name),
        None => (wide, "", policy.as_str()),
    };
    let found = model.of_family(Family::Policy).find(|(id, object)| {
        let metadata = &object["metadata"];
        id.kind().kind == kind && id.kind().group == group && text(metadata, "namespace") == namespace && text(metadata, "name") == name
    });
    let Some((_, found)) = found else { return model.is_known(group, kind) };
    let rules = found["spec"]["rules"].as_array().into_iter().flatten().map(|rule| text(rule, "name"));
    let is_cut = |name: &str| name == LONG && rule.len() == 63 && LONG.starts_with(bare(rule));
    group == "kyverno.io" && !rule.is_empty() && !rules.into_iter().any(|name| name == rule || name == bare(rule) || is_cut(&name))
}

/// Refused admissions by policy, without those that cannot be true.
fn blocked(model: &Model) -> BTreeMap<Policy, u64> {
    let reports = model.of_family(Family::Report);
    let in_reports = reports
        .flat_map(|(kind, report)| results(report).flat_map(move |(place, result)| subjects(kind, report, result, place)).map(|s| s.uid));
    let mut uids: BTreeSet<String> = in_reports.filter(|uid| !uid.is_empty()).collect();
    for (_, object) in model.of_family(Family::Owner) {
        if let Some(owner) = controller(object) {
            uids.extend([text(owner, "uid"), text(&object["metadata"], "uid")]);
        }
    }
    let mut blocked = BTreeMap::new();
    for (_, event) in model.of_family(Family::Event).filter(|(_, event)| event["action"] == "Resource Blocked") {
        let name = text(&event["involvedObject"], "name");
        let cel = event["involvedObject"]["kind"] == "ValidatingPolicy";
        let policy = model
            .of_family(Family::Policy)
            .find(|(kind, object)| kind.kind().kind == "ValidatingPolicy" && object["metadata"]["name"] == name);
        let harmless = policy.is_some_and(|(_, policy)| policy["spec"]["validationActions"][0] != "Deny");
        if cel && (harmless || uids.contains(&text(&event["related"], "uid"))) {
            continue;
        }
        let source = if cel { "KyvernoValidatingPolicy" } else { "kyverno" };
        *blocked.entry((source.to_owned(), name)).or_default() += event["count"].as_u64().unwrap_or(1).max(1);
    }
    blocked
}
