//! Kyverno's metrics as Prometheus has them: what to ask for, and what series say of refused requests.
//!
//! Seen on a running Kyverno 1.19.1 (`/metrics` of its admission controller), and in its sources (kyverno/kyverno `pkg/metrics`):
//! * `kyverno_info` (since 1.14) is there from the start of every controller, `process_start_time_seconds` beside it.
//! * `kyverno_policy_results_total` counts results of rules of ClusterPolicy and Policy, by process since it began. A refused dry run is counted, too
//!   (`dry_run="true"`), as it is an event; so both are counted here.
//! * The CEL kinds have counters of their own since 1.19, without `dry_run` and rules.
//! * `metricsConfig` may leave out labels (the chart leaves out namespaces since 3.3), whole metrics, and policies of namespaces. A series without a label
//!   may be anything that has it; a policy that is named nowhere is not counted at all.
//! * Beyond a number of series (OpenTelemetry's cardinality limit) everything goes into one without labels.
//!
//! Where the API server judges by a native policy, Kyverno sees no request, and the API server counts itself
//! (`apiserver_validating_admission_policy_check_total`, Kubernetes `k8s.io/apiserver` `pkg/admission/plugin/policy/validating/metrics`; seen on 1.36.3): a
//! series appears with the first check of its kind, and counts each refusal as `enforcement_action="deny"`.

use super::native::twin_names;
use crate::domain::PolicyId;
use crate::domain::history::{Counter, Process};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Labels of a series, with `__name__`.
pub type Labels = BTreeMap<String, String>;

/// A series with its samples in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scraped {
    /// Its labels.
    pub labels: Labels,
    /// What it said when.
    pub samples: Vec<(Timestamp, f64)>,
}

/// What a Kyverno controller tells of itself.
pub const INFO: &str = "kyverno_info";
/// When a process began, in seconds since 1970.
pub const STARTED: &str = "process_start_time_seconds";
/// Prometheus' own word on whether a target could be scraped.
pub const UP: &str = "up";
/// Only who admits counts these.
pub const REQUESTS: &str = "kyverno_admission_requests_total";
/// Which rules there are; only of ClusterPolicy and Policy.
pub const RULES: &str = "kyverno_policy_rule_info_total";

/// Labels that only tell rules, resources and requests apart: without them a series is one of a process.
const DETAILS: &str = "policy_name, policy_namespace, policy_type, policy_validation_mode, policy_background_mode, rule_name, rule_result, \
    rule_type, rule_execution_cause, dry_run, result, execution_cause, resource_kind, resource_namespace, resource_request_operation, request_allowed, \
    request_webhook, status_ready";
/// Of those the ones that name a policy.
const NAMING: &str = "policy_name, policy_namespace, policy_type";

/// What the API server's own policies decided.
const CHECKS: &str = "apiserver_validating_admission_policy_check_total";
/// Every API server has it from its start, whatever it is asked (seen on 1.36.3).
const AUDITED: &str = "apiserver_audit_event_total";

/// Whose processes count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counting {
    /// Kyverno's admission controllers.
    #[default]
    Kyverno,
    /// API servers.
    Servers,
}

impl Counting {
    /// Who counts in a metric.
    pub fn of(metric: &str) -> Self {
        if metric == CHECKS { Self::Servers } else { Self::Kyverno }
    }

    /// What each process tells of itself from its start.
    pub fn info(self) -> &'static str {
        match self {
            Self::Kyverno => INFO,
            Self::Servers => AUDITED,
        }
    }

    /// What only processes tell that decide on requests.
    pub fn requests(self) -> &'static str {
        match self {
            Self::Kyverno => REQUESTS,
            Self::Servers => AUDITED,
        }
    }

    /// What is there from the start of a process that counts `metric`.
    pub fn exists(self, metric: &'static str) -> &'static str {
        match self {
            Self::Kyverno => metric,
            Self::Servers => AUDITED,
        }
    }

    /// What is counted as one, in the plural: `3 API servers`.
    pub fn each(self) -> &'static str {
        match self {
            Self::Kyverno => "replicas of Kyverno's admission controller",
            Self::Servers => "API servers",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Kyverno => "Kyverno",
            Self::Servers => "the API server",
        }
    }
}

/// The metric that counts the results of a policy, which the API server judges by itself where it is `native`; `None` of kinds that refuse nothing, or count
/// nothing.
pub fn results_of(policy: &PolicyId, native: bool) -> Option<&'static str> {
    if native {
        return (!twin_names(policy).is_empty()).then_some(CHECKS);
    }
    match (policy.group.as_str(), policy.kind.as_str()) {
        ("kyverno.io", "ClusterPolicy" | "Policy") => Some("kyverno_policy_results_total"),
        ("policies.kyverno.io", "ValidatingPolicy" | "NamespacedValidatingPolicy") => Some("kyverno_validating_policy_results_total"),
        ("policies.kyverno.io", "ImageValidatingPolicy" | "NamespacedImageValidatingPolicy") => {
            Some("kyverno_image_validating_policy_results_total")
        }
        _ => None,
    }
}

fn is_classic(metric: &str) -> bool {
    metric == "kyverno_policy_results_total"
}

/// A selector: a metric with the matchers of an environment and more.
pub fn selector(metric: &str, matchers: &str, more: &str) -> String {
    let all: Vec<&str> = [matchers, more].into_iter().filter(|part| !part.is_empty()).collect();
    format!("{metric}{{{}}}", all.join(","))
}

/// Whatever may be a refusal: all results but those that are certainly none.
pub fn refusals(metric: &str, matchers: &str) -> String {
    let more = if metric == CHECKS {
        r#"enforcement_action!~"allow|audit|warn""#
    } else if is_classic(metric) {
        r#"rule_result!~"pass|skip|warn",rule_execution_cause!="background_scan",policy_validation_mode!="audit""#
    } else {
        r#"result!~"pass|skip|warn",execution_cause!="background_scan",policy_validation_mode!="Audit""#
    };
    selector(metric, matchers, more)
}

/// A query that has a series for each process in which a metric exists.
pub fn existence(metric: &str, matchers: &str) -> String {
    format!("group without ({DETAILS}) ({})", selector(metric, matchers, ""))
}

/// A query that has a series for each policy that a metric names.
pub fn naming(metric: &str, matchers: &str) -> String {
    format!("group by ({NAMING}) ({})", selector(metric, matchers, ""))
}

/// A matcher that only the targets of these series fulfil, as far as `job` and `instance` tell them apart.
pub fn targets(info: &[Scraped]) -> String {
    let matcher = |label: &str| {
        let mut values: Vec<&str> = info.iter().filter_map(|series| series.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        let values: Vec<String> = values.into_iter().map(escaped).collect();
        (!values.is_empty()).then(|| format!("{label}=~\"{}\"", values.join("|")))
    };
    ["job", "instance"].into_iter().filter_map(matcher).collect::<Vec<_>>().join(",")
}

/// A text that a regular expression in a quoted string takes literally.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', '\\', '\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_ascii_punctuation()
                && !matches!(c, '-' | '_' | ':' | '/' | ',' | '=' | '@' | '%' | '<' | '>' | '~' | '#' | '&' | ';' | '\'' | '!') =>
            {
                out.extend(['\\', '\\', c]);
            }
            c => out.push(c),
        }
    }
    out
}

/// What was asked about a stretch of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrapes {
    /// Whose processes they are of.
    pub counting: Counting,
    /// [`Counting::info`].
    pub info: Vec<Scraped>,
    /// [`STARTED`] of the same targets.
    pub started: Vec<Scraped>,
    /// [`UP`] of the same targets.
    pub up: Vec<Scraped>,
    /// Where [`Counting::requests`] exists.
    pub serving: Vec<Scraped>,
    /// Policies that [`RULES`] or results name.
    pub named: Vec<Scraped>,
    /// By metric of results: where it exists, and what may be refusals.
    pub results: BTreeMap<&'static str, Results>,
}

/// What was asked about one metric of results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// Where it exists.
    pub exists: Vec<Scraped>,
    /// What [`refusals`] selects.
    pub refusals: Vec<Scraped>,
}

/// What is read of series about one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The processes that admit.
    pub processes: Vec<Process>,
    /// Counters of what they refused because of the policy.
    pub counters: Vec<Counter>,
}

/// How long a target may not have been scraped, at least and at most, however often it is scraped usually.
const PACE: [SignedDuration; 2] = [SignedDuration::from_secs(10), SignedDuration::from_mins(10)];

/// A target, with the processes that were behind it one after the other.
struct Target {
    labels: Labels,
    processes: Vec<Process>,
}

impl Scrapes {
    /// What these series say of a policy by that metric, or why they say nothing.
    ///
    /// # Errors
    /// What is missing, in words that follow "Prometheus".
    pub fn read(&self, policy: &PolicyId, metric: &str) -> Result<Reading, String> {
        let (info, who) = (self.counting.info(), self.counting.words());
        if self.info.is_empty() {
            return Err(format!("has no {info} of this time: is {who} scraped, and do the matchers fit?"));
        }
        let targets = self.targets()?;
        let results = self.results.get(metric).filter(|results| !results.exists.is_empty());
        let results = results.ok_or_else(|| format!("has no {metric} of this time"))?;
        if is_classic(metric) && !self.named.iter().any(|series| names(&series.labels, policy)) {
            return Err("has no series of this policy: Kyverno's metricsConfig may leave it out".to_owned());
        }
        let mut processes = Vec::new();
        // Where each target's processes begin among all.
        let mut places = Vec::new();
        for target in &targets {
            places.push(processes.len());
            let exists: Vec<&Scraped> = results.exists.iter().filter(|series| is_of(&target.labels, &series.labels)).collect();
            processes.extend(target.processes.iter().map(|process| {
                let counts = exists.iter().flat_map(|series| &series.samples).any(|(at, _)| lives(process, *at));
                Process { counts, ..process.clone() }
            }));
        }
        let mut counters = Vec::new();
        for series in &results.refusals {
            let Some(sure) = belongs(&series.labels, policy, metric) else { continue };
            let Some(place) = targets.iter().position(|target| is_of(&target.labels, &series.labels)) else {
                // Of a process that is not known.
                return Err(format!("has {metric} of targets without {info}"));
            };
            for (index, process) in targets[place].processes.iter().enumerate() {
                let samples: Vec<(Timestamp, u64)> =
                    series.samples.iter().filter(|(at, _)| lives(process, *at)).map(|(at, value)| (*at, count(*value))).collect();
                if !samples.is_empty() {
                    counters.push(Counter { process: places[place] + index, samples, sure });
                }
            }
        }
        Ok(Reading { processes, counters })
    }

    /// The targets that admit: those that count requests, and all others of the same job, which may only not have been asked yet.
    fn targets(&self) -> Result<Vec<Target>, String> {
        let mut looks: BTreeMap<Labels, Vec<Timestamp>> = BTreeMap::new();
        for series in &self.info {
            looks.entry(identity(&series.labels)).or_default().extend(series.samples.iter().map(|(at, _)| *at));
        }
        let serves = |labels: &Labels| {
            let mut serving = self.serving.iter().map(|series| &series.labels);
            serving.any(|serving| is_of(labels, serving) || labels.get("job") == serving.get("job"))
        };
        if self.serving.is_empty() {
            return Err(format!("has no {} of this time", self.counting.requests()));
        }
        let mut out = Vec::new();
        for (labels, mut looks) in looks.into_iter().filter(|(labels, _)| serves(labels)) {
            looks.sort_unstable();
            looks.dedup();
            let of_it = |all: &[Scraped]| -> BTreeMap<Timestamp, f64> {
                all.iter().filter(|series| is_of(&labels, &series.labels)).flat_map(|series| series.samples.iter().copied()).collect()
            };
            let (started, up) = (of_it(&self.started), of_it(&self.up));
            out.push(Target { processes: processes(self.counting, &looks, &started, &up)?, labels });
        }
        Ok(out)
    }
}

/// What stays of a target's labels whatever the metric.
fn identity(labels: &Labels) -> Labels {
    let own = |label: &str| label == "__name__" || label == "version" || label.starts_with("otel_");
    labels.iter().filter(|(label, _)| !own(label)).map(|(label, value)| (label.clone(), value.clone())).collect()
}

/// Whether a series is of the target.
fn is_of(target: &Labels, series: &Labels) -> bool {
    target.iter().all(|(label, value)| series.get(label) == Some(value))
}

fn lives(process: &Process, at: Timestamp) -> bool {
    process.looks.first().is_some_and(|first| *first <= at) && process.looks.last().is_some_and(|last| at <= *last)
}

/// The processes behind one target, from when it was scraped, when its process began at each time, and when Prometheus had it on its list.
///
/// # Errors
/// When they began is not told, or they are several at a time; in words that follow "Prometheus".
fn processes(
    counting: Counting,
    looks: &[Timestamp],
    started: &BTreeMap<Timestamp, f64>,
    up: &BTreeMap<Timestamp, f64>,
) -> Result<Vec<Process>, String> {
    let untold = || format!("does not tell when the processes of {} began ({STARTED})", counting.words());
    let mut apart: Vec<SignedDuration> = looks.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    apart.sort_unstable();
    let usual = apart.get(apart.len() / 2).copied().unwrap_or(PACE[1]);
    let pace = usual.saturating_mul(5).checked_div(2).unwrap_or(PACE[1]).clamp(PACE[0], PACE[1]);
    let mut out: Vec<(i64, Process)> = Vec::new();
    for look in looks {
        let began = millis(*started.get(look).ok_or_else(untold)?);
        match out.last_mut() {
            // Clocks of the kernel tell it to a hundredth of a second, and the same each time.
            Some((last, process)) if *last == began => process.looks.push(*look),
            _ => {
                if out.iter().any(|(other, _)| *other == began) {
                    let who = counting.words();
                    return Err(format!("scrapes several processes of {who} at one address: each has to be a target of its own"));
                }
                let started = Timestamp::from_millisecond(began).map_err(|_| untold())?;
                out.push((began, Process { started, looks: vec![*look], gone: *look, pace, counts: false }));
            }
        }
    }
    let mut processes: Vec<Process> = out.into_iter().map(|(_, process)| process).collect();
    for index in 0..processes.len() {
        // Another one took its place, at the latest when that was scraped: its own word on when it began is of another machine's clock.
        let next = processes.get(index + 1).and_then(|next| next.looks.first().copied());
        let process = &mut processes[index];
        let last = process.looks.last().copied().unwrap_or(process.gone);
        // On the list and not scraped: it may have lived. Off the list: it was about to end.
        let listed = up.range(last..).next_back().map_or(last, |(at, _)| *at);
        process.gone = next.unwrap_or_else(|| listed.checked_add(pace).unwrap_or(listed));
    }
    Ok(processes)
}

fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// A counter's value; anything that is no count is the most, which is never less than the one before it.
fn count(value: f64) -> u64 {
    if value.is_nan() || value < 0.0 {
        return u64::MAX;
    }
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    let count = value.round() as u64;
    count
}

/// Whether the labels of [`naming`] mean the policy. What does not name one means none.
fn names(labels: &Labels, policy: &PolicyId) -> bool {
    labels.get("policy_name") == Some(&policy.name) && namespace(labels, policy) != Some(false)
}

/// Whether a series counts refusals because of a policy: certainly, perhaps (`Some(false)`), or certainly not.
fn belongs(labels: &Labels, policy: &PolicyId, metric: &str) -> Option<bool> {
    if metric == CHECKS {
        let ours = labels.get("policy").map(|name| twin_names(policy).contains(name));
        let denies = labels.get("enforcement_action").map(|action| action == "deny");
        let is_other = ours == Some(false) || denies == Some(false);
        return (!is_other).then_some(ours.is_some() && denies.is_some());
    }
    let classic = is_classic(metric);
    let [result, cause] = if classic { ["rule_result", "rule_execution_cause"] } else { ["result", "execution_cause"] };
    let enforces = if classic { "enforce" } else { "Deny" };
    let name = match labels.get("policy_name") {
        Some(name) if *name == policy.name => true,
        Some(_) => return None,
        None => false,
    };
    let namespace = match namespace(labels, policy) {
        Some(false) => return None,
        known => known.is_some(),
    };
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|said| said == value);
    Some(name && namespace && is(result, "fail") && is(cause, "admission_request") && is("policy_validation_mode", enforces))
}

/// Whether a series is of the policy's namespace, or of none like the policy; `None` where its labels do not tell.
fn namespace(labels: &Labels, policy: &PolicyId) -> Option<bool> {
    let of_series = labels.get("policy_namespace").map(String::as_str);
    let kind = labels.get("policy_type").map(String::as_str);
    match (&policy.namespace, of_series, kind) {
        // An empty label is none to Prometheus: so are the CEL kinds' without a namespace.
        (None, Some("" | "-"), _) | (None, None, Some("cluster") | None) => Some(true),
        (None, Some(_), _) | (None, None, Some(_)) | (Some(_), None, Some("cluster")) => Some(false),
        (Some(own), Some(said), _) => Some(own == said),
        (Some(_), None, _) => None,
    }
}

#[cfg(test)]
mod tests;
