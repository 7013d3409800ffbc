//! ClusterPolicy and Policy of `kyverno.io`: many rules, each with an action of its own or that of the spec.
//!
//! Fields: Kyverno `api/kyverno/v1/{spec,rule,common,image_verification,policy_status}_types.go`, releases 1.10–1.19.

use super::{Kind, Unreadable, entered::entered, json, managed_by, matches, meta::Meta, reach, revision, selector};
use crate::domain::{Action, Override, Policy, Readiness, Rule, RuleType};
use serde_json::Value;

pub(super) fn read(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    let meta = Meta::read(kind, object)?;
    let revision = revision::revision(kind, object);
    Ok(Policy {
        id: meta.policy_id(kind),
        source: "kyverno",
        severity: meta.severity(),
        category: meta.category(),
        rules: json::list(object, &["spec", "rules"]).iter().map(rule).collect(),
        action: action(object, &["spec", "validationFailureAction"]).unwrap_or(Action::Audit),
        overrides: overrides(object, &["spec", "validationFailureActionOverrides"]),
        cel: None,
        admission: json::flag(object, &["spec", "admission"]).unwrap_or(true),
        background: json::flag(object, &["spec", "background"]).unwrap_or(true),
        emit_warning: warns(object),
        ready: readiness(object),
        scored: meta.scored(),
        native: json::flag(object, &["status", "validatingadmissionpolicy", "generated"]).unwrap_or(false),
        entered: entered(object, &revision),
        revision,
        matches: matches::of_rules(object),
        managed_by: managed_by::managed_by(object),
        // Kyverno `pkg/deprecations/deprecations.go`, since 1.19; announced with 1.17, removal planned for 1.20.
        deprecated: Some(if kind.namespaced {
            "NamespacedValidatingPolicy and the other namespaced policy types"
        } else {
            "ValidatingPolicy, MutatingPolicy, GeneratingPolicy or ImageValidatingPolicy"
        }),
        created_at: meta.created_at,
        generation: meta.generation,
        hold: meta.hold,
        rolled_back: meta.rolled_back,
    })
}

fn rule(value: &Value) -> Rule {
    let rule_type = rule_type(value);
    Rule {
        name: json::text_or_empty(value, &["name"]),
        rule_type,
        action: match rule_type {
            RuleType::Validate => action(value, &["validate", "failureAction"]),
            RuleType::VerifyImages => image_action(value),
            RuleType::Mutate | RuleType::Generate | RuleType::Delete => None,
        },
        overrides: match rule_type {
            RuleType::Validate => overrides(value, &["validate", "failureActionOverrides"]),
            // Image rules have none of their own; those of the spec hold for them.
            _ => Vec::new(),
        },
        reach: reach::of_rule(value),
    }
}

/// A rule has exactly one of these (Kyverno `pkg/validation/policy/validate.go`). One that has none, of a release to come perhaps, is
/// taken for a validating one: to believe that it can block errs on the careful side.
pub(super) fn rule_type(rule: &Value) -> RuleType {
    let has = |field: &str| json::get(rule, &[field]).is_some();
    if has("validate") {
        RuleType::Validate
    } else if has("verifyImages") {
        RuleType::VerifyImages
    } else if has("mutate") {
        RuleType::Mutate
    } else if has("generate") {
        RuleType::Generate
    } else {
        RuleType::Validate
    }
}

/// Everything but `Enforce` and `enforce` counts as audit (Kyverno `api/kyverno/v1/spec_types.go`, `ValidationFailureAction.Enforce`).
fn action(value: &Value, path: &[&str]) -> Option<Action> {
    Some(if matches!(json::text(value, path)?, "Enforce" | "enforce") { Action::Enforce } else { Action::Audit })
}

/// `verifyImages[].failureAction`: enforce if any entry says so (1.18 and later; before that the first entry spoke for all).
fn image_action(rule: &Value) -> Option<Action> {
    let actions = json::list(rule, &["verifyImages"]).iter().filter_map(|entry| action(entry, &["failureAction"]));
    actions.reduce(|one, other| if one == Action::Enforce { one } else { other })
}

fn overrides(value: &Value, path: &[&str]) -> Vec<Override> {
    let read = |entry: &Value| Override {
        action: action(entry, &["action"]).unwrap_or(Action::Audit),
        namespaces: json::texts(entry, &["namespaces"]),
        selector: json::get(entry, &["namespaceSelector"]).map(selector::read),
    };
    json::list(value, path).iter().map(read).collect()
}

/// `spec.emitWarning`; or match conditions of its own: such a policy has a webhook to itself, where everything goes down the refusing path,
/// and what fails there without being refused comes back as a warning (Kyverno `pkg/webhooks/resource/handlers.go`; seen on 1.19.1).
fn warns(object: &Value) -> bool {
    json::flag(object, &["spec", "emitWarning"]).unwrap_or(false)
        || !json::list(object, &["spec", "webhookConfiguration", "matchConditions"]).is_empty()
}

/// Condition `Ready`; where there is none, the boolean `status.ready` of 1.12 and before. Without either the policy is not in force:
/// Kyverno admits by its cache, which holds ready policies only (`pkg/controllers/policycache/controller.go`).
fn readiness(object: &Value) -> Readiness {
    let ready = match condition(object, &["status", "conditions"], "Ready") {
        Some(status) => status == "True",
        None => json::flag(object, &["status", "ready"]).unwrap_or(false),
    };
    if ready { Readiness::Ready } else { Readiness::NotReady }
}

/// `status` of the condition of that type.
pub(super) fn condition<'a>(object: &'a Value, path: &[&str], condition: &str) -> Option<&'a str> {
    let found = json::list(object, path).iter().find(|entry| json::text(entry, &["type"]) == Some(condition))?;
    json::text(found, &["status"])
}
