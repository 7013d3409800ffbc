//! Which policy and which rule of it a result is about, where the result's own words do not say so outright.
//!
//! What lives here: what names can mean. What does not: which policies exist (the caller knows).

use super::SOURCES;
use crate::domain::PolicyId;

/// Policies that the API server carries itself, as Kyverno generates them: the source of their results, what is put before the name of Kyverno's
/// policy, and that policy's source (kyverno/kyverno `pkg/admissionpolicy/builder.go`, 1.14 and later).
const GENERATED: [(&str, &str, &str); 3] = [
    ("ValidatingAdmissionPolicy", "cpol-", "kyverno"),
    ("ValidatingAdmissionPolicy", "vpol-", "KyvernoValidatingPolicy"),
    ("MutatingAdmissionPolicy", "mpol-", "KyvernoMutatingPolicy"),
];

/// What Kyverno puts before the name of a rule for Pods to name its twins for controllers and for CronJobs, and how long the result may be
/// (kyverno/kyverno `pkg/autogen/v1/rule.go`).
const AUTOGEN: &str = "autogen-";
const AUTOGEN_CRONJOB: &str = "autogen-cronjob-";
const LONGEST: usize = 63;

/// What CEL policies report under the name of a rule: what an exception excuses, and the steps that can fail (kyverno/kyverno
/// `pkg/cel/policies/*/engine`). Kyverno itself takes them for the one result of the policy (`pkg/controllers/report/aggregate/utils.go`).
const STEPS: [&str; 4] = ["exception", "match", "evaluation", "mutateDigest"];

/// What kind of resource a result is about, as far as the names of generated rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Twin {
    /// No rule is generated for it.
    None,
    /// `autogen-NAME`.
    Controller,
    /// `autogen-cronjob-NAME`.
    CronJob,
}

impl Twin {
    /// Of a kind.
    pub fn of(kind: &str) -> Self {
        match kind {
            "CronJob" => Self::CronJob,
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => Self::Controller,
            _ => Self::None,
        }
    }
}

/// Whether a source is one of Kyverno's own policies.
pub fn is_kyverno(source: &str) -> bool {
    SOURCES.iter().any(|entry| entry.0 == source)
}

/// Whether a source is one of Kyverno's CEL kinds, whose policies are one rule each.
pub fn is_cel(source: &str) -> bool {
    source != "kyverno" && is_kyverno(source)
}

/// The sources whose namespaced policies reports call `namespace/name`, without those of `kyverno`.
pub fn cel_sources() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|entry| entry.0).filter(|source| is_cel(source))
}

/// The source and the name of the Kyverno policy that a native policy was generated from, if its name says so.
pub fn generated_from<'a>(source: &str, policy: &'a str) -> Option<(&'static str, &'a str)> {
    GENERATED.iter().filter(|entry| entry.0 == source).find_map(|(_, before, of)| Some((*of, policy.strip_prefix(before)?)))
}

/// Whether a rule is written so that its meaning depends on the resource's kind.
pub fn may_be_generated(rule: &str) -> bool {
    rule.starts_with(AUTOGEN)
}

/// The rule as its policy calls it, and whether that policy has it: of the readings that `has` knows, the one that fits the kind. `has(name, cut)`
/// says whether the policy has a rule of that name, or, for a name that was cut, one that begins so.
pub fn own_rule(rule: &str, twin: Twin, has: impl Fn(&str, bool) -> bool) -> (&str, bool) {
    let cut = rule.len() >= LONGEST;
    let Some(short) = rule.strip_prefix(AUTOGEN) else { return (rule, has(rule, cut)) };
    let shorter = rule.strip_prefix(AUTOGEN_CRONJOB).unwrap_or(short);
    let readings = match twin {
        Twin::None => [(rule, false), (short, cut), (shorter, cut)],
        Twin::Controller => [(short, cut), (shorter, cut), (rule, false)],
        Twin::CronJob => [(shorter, cut), (short, cut), (rule, false)],
    };
    if let Some((own, _)) = readings.into_iter().find(|(name, cut)| has(name, *cut)) {
        return (own, true);
    }
    (if twin == Twin::CronJob { shorter } else { short }, false)
}

/// The rule of a CEL policy's result. Such a policy is one rule: reports leave its name out, or call it as the policy, or `exception` where it is
/// excused.
pub fn cel_rule<'a>(policy: &str, rule: &'a str) -> &'a str {
    let name = policy.rsplit('/').next().unwrap_or(policy);
    if rule == name || STEPS.contains(&rule) { "" } else { rule }
}

/// The policy that a result names: its kind is told by the `source` and by whether the name holds a namespace. Other tools' policies have
/// neither group nor kind.
pub fn policy_of_source(source: &str, policy: &str) -> PolicyId {
    let id = |group: &str, kind: &str, namespace: Option<&str>, name: &str| PolicyId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    match (SOURCES.iter().find(|entry| entry.0 == source), policy.split_once('/')) {
        (Some((_, group, _, namespaced)), Some((namespace, name))) => id(group, namespaced, Some(namespace), name),
        (Some((_, group, cluster_wide, _)), None) => id(group, cluster_wide, None, policy),
        (None, _) if matches!(source, "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            id("admissionregistration.k8s.io", source, None, policy)
        }
        (None, _) => id("", "", None, policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule in a result, the kind of resource, the policy's rules; which is meant, and whether there is one.
    type Line<'a> = (&'a str, Twin, &'a [&'a str], (&'a str, bool));

    #[test]
    fn the_kind_and_the_policys_rules_say_which_rule_is_meant() {
        use Twin::{Controller, CronJob, None};
        let long = "a-rule-with-a-name-so-long-that-it-is-cut-where-autogen-is-before-it";
        let cut = &format!("autogen-{long}")[..63];
        let table: [Line<'_>; 17] = [
            ("r", None, &["r"], ("r", true)),
            ("r", None, &["s"], ("r", false)),
            ("autogen-r", Controller, &["r"], ("r", true)),
            ("autogen-r", Controller, &["s"], ("r", false)),
            ("autogen-cronjob-r", CronJob, &["r"], ("r", true)),
            ("autogen-cronjob-limits", Controller, &["cronjob-limits"], ("cronjob-limits", true)),
            ("autogen-cronjob-limits", Controller, &["cronjob-limits", "limits"], ("cronjob-limits", true)),
            ("autogen-cronjob-limits", CronJob, &["cronjob-limits", "limits"], ("limits", true)),
            ("autogen-cronjob-limits", CronJob, &["cronjob-limits"], ("cronjob-limits", true)),
            ("autogen-cronjob-cronjob-limits", CronJob, &["cronjob-limits"], ("cronjob-limits", true)),
            ("autogen-r", None, &["autogen-r"], ("autogen-r", true)),
            ("autogen-r", None, &["autogen-r", "r"], ("autogen-r", true)),
            ("autogen-r", Controller, &["autogen-r", "r"], ("r", true)),
            ("autogen-autogen-r", Controller, &["autogen-r"], ("autogen-r", true)),
            (cut, Controller, &[long], (&cut["autogen-".len()..], true)),
            ("autogen-cronjob-x", Controller, &[], ("cronjob-x", false)),
            ("autogen-cronjob-x", CronJob, &[], ("x", false)),
        ];
        for (rule, twin, rules, expected) in table {
            let has = |name: &str, cut: bool| rules.iter().any(|rule| *rule == name || (cut && rule.starts_with(name)));
            assert_eq!(own_rule(rule, twin, has), expected, "{rule} of {twin:?}, rules {rules:?}");
        }
    }

    #[test]
    fn native_policies_are_named_after_what_they_were_generated_from() {
        let table = [
            ("ValidatingAdmissionPolicy", "cpol-x", Some(("kyverno", "x"))),
            ("ValidatingAdmissionPolicy", "vpol-x", Some(("KyvernoValidatingPolicy", "x"))),
            ("MutatingAdmissionPolicy", "mpol-x", Some(("KyvernoMutatingPolicy", "x"))),
            ("MutatingAdmissionPolicy", "vpol-x", None),
            ("ValidatingAdmissionPolicy", "mpol-x", None),
            ("ValidatingAdmissionPolicy", "x", None),
            ("kyverno", "cpol-x", None),
        ];
        for (source, policy, expected) in table {
            assert_eq!(generated_from(source, policy), expected, "{source} {policy}");
        }
    }

    #[test]
    fn a_cel_policy_is_one_rule() {
        let table = [("", ""), ("exception", ""), ("evaluation", ""), ("p", ""), ("other", "other")];
        for (rule, expected) in table {
            assert_eq!((cel_rule("p", rule), cel_rule("a/p", rule)), (expected, expected), "{rule}");
        }
    }
}
