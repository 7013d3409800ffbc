//! ClusterPolicy and Policy: rules, autogen, actions (kyverno/kyverno `pkg/engine`, release 1.19).
//!
//! Not here: patterns and conditions (`super::pattern`, `super::conditions`) and the CEL inside rules (`super::cel`).

use serde_json::{Map, Value, json};

use super::conditions;
use super::engine::{Outcome, Policy, Verdict, World, images, pod_template};
use super::exceptions;
use super::matching::{Subject, block_matches, filters, kinds, selects, strings, wildcard};
use super::pattern::{Fit, fits};
use super::{cel, cel_policy};
use crate::demo::store::text;

const SOURCE: &str = "kyverno";
const AUTOGEN: &str = "DaemonSet,Deployment,Job,ReplicaSet,ReplicationController,StatefulSet,CronJob";

pub(crate) fn judge(world: &World, policy: &Policy, subject: &Subject<'_>) -> Vec<Verdict> {
    let rules = policy.spec()["rules"].as_array();
    rules.into_iter().flatten().filter_map(|rule| rule_verdict(world, policy, rule, subject)).collect()
}

/// A rule seen on this object: its name, the object or the Pod in it, and where that Pod stands.
struct Seen {
    name: String,
    view: Value,
    path: &'static str,
}

fn seen(policy: &Policy, rule: &Value, subject: &Subject<'_>) -> Option<Seen> {
    let name = text(rule, "/name");
    let applies = |as_kind: &str| {
        let excluded = rule.get("exclude").is_some_and(|exclude| block_matches(exclude, subject, as_kind));
        block_matches(&rule["match"], subject, as_kind) && !excluded
    };
    if applies(subject.kind) {
        return Some(Seen { name: name.to_owned(), view: subject.object.clone(), path: "/" });
    }
    let controllers = text(&policy.object.value, "/metadata/annotations/pod-policies.kyverno.io~1autogen-controllers");
    let controllers = if controllers.is_empty() { AUTOGEN } else { controllers };
    let (view, path, prefix) = pod_template(subject.kind, subject.object)?;
    let wanted = controllers.split(',').any(|kind| kind.trim() == subject.kind);
    if !wanted || !can_autogen(rule) || !applies("Pod") {
        return None;
    }
    // Kubernetes names end at 63 characters; so do Kyverno's generated rules (pkg/autogen/v1/rule.go).
    let name: String = format!("{prefix}{name}").chars().take(63).collect();
    Some(Seen { name, view, path })
}

/// Rules for Pods alone, chosen by nothing that a controller would not share (pkg/autogen `CanAutoGen`).
pub(crate) fn can_autogen(rule: &Value) -> bool {
    let plain = |block: &Value| {
        kinds(block).iter().all(|kind| *kind == "Pod" || kind.ends_with("/Pod"))
            && filters(block)
                .iter()
                .all(|filter| ["name", "names", "selector", "annotations"].iter().all(|field| filter.get(field).is_none()))
    };
    !kinds(&rule["match"]).is_empty() && plain(&rule["match"]) && rule.get("exclude").is_none_or(plain)
}

fn rule_verdict(world: &World, policy: &Policy, rule: &Value, subject: &Subject<'_>) -> Option<Verdict> {
    if rule.get("validate").is_none() && rule.get("verifyImages").is_none() {
        return None;
    }
    let seen = seen(policy, rule, subject)?;
    let excuses = exceptions::classic(world, policy, &seen.name, subject);
    let (outcome, message) = if excuses.is_empty() {
        evaluate(world, rule, &seen, subject)?
    } else {
        // No space before the first name: that is how Kyverno writes it (pkg/engine/handlers/validation).
        (Outcome::Skip, format!("rule is skipped due to policy exceptions{}", excuses.join(", ")))
    };
    let mut verdict = policy.verdict(SOURCE, Some(seen.name), outcome, message);
    verdict.denies = enforces(policy.spec(), rule, subject);
    verdict.warns = policy.spec()["emitWarning"].as_bool().unwrap_or(false);
    verdict.tolerates_existing = rule["validate"]["allowExistingViolations"].as_bool().unwrap_or(true);
    exceptions::note(&mut verdict, &excuses);
    Some(verdict)
}

fn context(view: &Value, subject: &Subject<'_>) -> Value {
    json!({"request": {"object": view, "operation": subject.operation, "namespace": subject.namespace, "name": subject.name}})
}

fn evaluate(world: &World, rule: &Value, seen: &Seen, subject: &Subject<'_>) -> Option<(Outcome, String)> {
    let context = context(&seen.view, subject);
    if let Some(conditions) = rule.get("preconditions") {
        match conditions::hold(conditions, &context) {
            Ok(true) => {}
            Ok(false) => return Some((Outcome::Skip, "preconditions not met".to_owned())),
            Err(unread) => return Some(error(&unread)),
        }
    }
    if let Some(verify) = rule.get("verifyImages").and_then(Value::as_array) {
        return verify_images(world, verify, &seen.view);
    }
    let validate = &rule["validate"];
    let message = conditions::message(text(validate, "/message"), &context);
    Some(if let Some(pattern) = validate.get("pattern") {
        by_pattern(seen, pattern, &message)
    } else if let Some(patterns) = validate.get("anyPattern").and_then(Value::as_array) {
        by_any_pattern(seen, patterns, &message)
    } else if let Some(deny) = validate.get("deny") {
        match conditions::hold(&deny["conditions"], &context) {
            Ok(true) => (Outcome::Fail, message),
            Ok(false) => passed(seen),
            Err(unread) => error(&unread),
        }
    } else if let Some(rule_cel) = validate.get("cel") {
        by_cel(seen, rule_cel, &message, subject)
    } else {
        let form = validate
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .find(|key| !matches!(key.as_str(), "message" | "failureAction" | "failureActionOverrides" | "allowExistingViolations"));
        error(&format!("validate.{} is not interpreted by the demo", form.map_or("?", String::as_str)))
    })
}

fn error(unread: &str) -> (Outcome, String) {
    (Outcome::Error, format!("failed to evaluate: {unread}"))
}

fn passed(seen: &Seen) -> (Outcome, String) {
    (Outcome::Pass, format!("validation rule '{}' passed.", seen.name))
}

fn sentence(message: &str) -> String {
    if message.is_empty() || message.ends_with('.') { message.to_owned() } else { format!("{message}.") }
}

fn by_pattern(seen: &Seen, pattern: &Value, message: &str) -> (Outcome, String) {
    match fits(&seen.view, pattern, seen.path) {
        Fit::Yes => passed(seen),
        Fit::Skip => (Outcome::Skip, "rule skipped: conditional anchor mismatch".to_owned()),
        Fit::No(path) => {
            let said = format!("validation error: {} rule {} failed at path {path}", sentence(message), seen.name);
            (Outcome::Fail, said)
        }
    }
}

fn by_any_pattern(seen: &Seen, patterns: &[Value], message: &str) -> (Outcome, String) {
    let mut failed = Vec::new();
    for (n, pattern) in patterns.iter().enumerate() {
        match fits(&seen.view, pattern, seen.path) {
            Fit::Yes => {
                return (Outcome::Pass, format!("validation rule '{}' anyPattern[{n}] passed.", seen.name));
            }
            Fit::Skip => {}
            Fit::No(path) => failed.push(format!("rule {}[{n}] failed at path {path}", seen.name)),
        }
    }
    if failed.is_empty() {
        return (Outcome::Skip, "rule skipped: conditional anchor mismatch".to_owned());
    }
    (Outcome::Fail, format!("validation error: {} {}", sentence(message), failed.join(" ")))
}

fn by_cel(seen: &Seen, rule_cel: &Value, message: &str, subject: &Subject<'_>) -> (Outcome, String) {
    let mut scope = cel_policy::scope(&seen.view, subject);
    cel_policy::variables(&rule_cel["variables"], &mut scope);
    for expression in rule_cel["expressions"].as_array().into_iter().flatten() {
        match cel::truth(text(expression, "/expression"), &scope) {
            Ok(true) => {}
            Ok(false) => {
                let own = text(expression, "/message");
                return (Outcome::Fail, if own.is_empty() { message.to_owned() } else { own.to_owned() });
            }
            Err(unread) => return error(&unread),
        }
    }
    passed(seen)
}

/// Against the made-up registry: images named in `fleet.toml` as unsigned fail, all others verify.
fn verify_images(world: &World, verify: &[Value], view: &Value) -> Option<(Outcome, String)> {
    let mut verified = Vec::new();
    for entry in verify {
        let references = strings(entry, "imageReferences");
        for image in images(view).iter().filter(|image| references.iter().any(|glob| wildcard(glob, image))) {
            if world.unsigned.iter().any(|glob| wildcard(glob, image)) {
                let why = format!("failed to verify image {image}: .attestors[0].entries[0].keys: no signatures found");
                return Some((Outcome::Fail, why));
            }
            verified.push(image.clone());
        }
    }
    (!verified.is_empty()).then(|| (Outcome::Pass, format!("verified image signatures for {}", verified.join(", "))))
}

/// Whether a failure of this rule here refuses the request: rule overrides, the rule's action, image actions,
/// spec overrides, the spec's action, in this order (`HasEnforcedFailure`, 1.19).
fn enforces(spec: &Value, rule: &Value, subject: &Subject<'_>) -> bool {
    let enforce = |action: &str| action.eq_ignore_ascii_case("enforce");
    if let Some(action) = overridden(&rule["validate"]["failureActionOverrides"], subject) {
        return enforce(action);
    }
    if let Some(action) = rule["validate"]["failureAction"].as_str() {
        return enforce(action);
    }
    let images = rule["verifyImages"].as_array();
    let mut image_actions = images.into_iter().flatten().filter_map(|entry| entry["failureAction"].as_str()).peekable();
    if image_actions.peek().is_some() {
        return image_actions.any(enforce);
    }
    if let Some(action) = overridden(&spec["validationFailureActionOverrides"], subject) {
        return enforce(action);
    }
    enforce(spec["validationFailureAction"].as_str().unwrap_or("Audit"))
}

/// The first override that matches; one with both namespaces and a selector needs both.
fn overridden<'a>(overrides: &'a Value, subject: &Subject<'_>) -> Option<&'a str> {
    overrides.as_array()?.iter().find_map(|entry| {
        let namespaces = strings(entry, "namespaces");
        let named = namespaces.is_empty() || namespaces.iter().any(|glob| wildcard(glob, subject.namespace));
        (named && selects(entry.get("namespaceSelector"), subject.namespace_labels)).then(|| entry["action"].as_str())?
    })
}
