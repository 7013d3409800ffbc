//! Which exceptions excuse an object from a rule.
//!
//! Not here: exceptions for parts of a check (`podSecurity`, `images`, `allowedValues`): they excuse nothing here.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{Outcome, Policy, Verdict, World};
use super::matching::{Subject, block_matches, strings, wildcard};
use super::{cel, cel_policy};
use crate::demo::store::text;

/// `namespace/name` of the kyverno.io exceptions that apply. Policy names compare exactly, rule names with wildcards.
pub(crate) fn classic(world: &World, policy: &Policy, rule: &str, subject: &Subject<'_>) -> Vec<String> {
    let reported = policy.reported();
    let names_rule = |exception: &Value| {
        exception["spec"]["exceptions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|entry| text(entry, "/policyName") == reported && strings(entry, "ruleNames").iter().any(|glob| wildcard(glob, rule)))
    };
    world
        .exceptions
        .iter()
        .filter(|(_, exception)| exception.value["spec"]["podSecurity"].is_null())
        .filter(|(_, exception)| names_rule(&exception.value))
        .filter(|(_, exception)| block_matches(&exception.value["spec"]["match"], subject, subject.kind))
        .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
        .collect()
}

/// The CEL exceptions that apply. Expiry counts only from the policy's last reading on: an exception that has run
/// out since goes on excusing until its policy is written (seen on Kyverno 1.19).
pub(crate) fn for_cel(world: &World, policy: &Policy, view: &Value, subject: &Subject<'_>) -> Vec<(String, bool)> {
    let scope = cel_policy::scope(view, subject);
    let refers = |spec: &Value| {
        spec["policyRefs"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|reference| text(reference, "/name") == policy.key.name && text(reference, "/kind") == policy.kind)
    };
    let alive = |spec: &Value| {
        let expires = spec["expiresAt"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        expires.is_none_or(|expires| expires > policy.read_at)
    };
    let partial = |spec: &Value| !strings(spec, "images").is_empty() || !strings(spec, "allowedValues").is_empty();
    world
        .cel_exceptions
        .iter()
        .filter(|(_, exception)| {
            let spec = &exception.value["spec"];
            let mut conditions = spec["matchConditions"].as_array().into_iter().flatten();
            refers(spec) && alive(spec) && !partial(spec) && conditions.all(|c| cel::truth(text(c, "/expression"), &scope).unwrap_or(false))
        })
        .map(|(key, exception)| (format!("{}/{}", key.namespace, key.name), text(&exception.value, "/spec/reportResult") == "pass"))
        .collect()
}

/// Puts the names into the result's properties: names only, without their namespaces (1.13+).
pub(crate) fn note(verdict: &mut Verdict, excuses: &[String]) {
    if excuses.is_empty() {
        return;
    }
    let names: Vec<&str> = excuses.iter().filter_map(|key| key.split_once('/')).map(|(_, name)| name).collect();
    verdict.properties.insert("exceptions".to_owned(), json!(names.join(",")));
    if verdict.outcome == Outcome::Skip {
        verdict.denies = false;
    }
}
