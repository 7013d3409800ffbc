//! The CEL kinds of `policies.kyverno.io` that meet admission: validating, image validating, mutating, generating, and their namespaced twins.
//!
//! Fields: kyverno/api `api/policies.kyverno.io/v1beta1/{validating,imagevalidating,mutating,generating}_policy.go`, Kyverno 1.14–1.19.
//! The deleting kinds work on a schedule and live in `cleanup`.

use super::{Kind, Unreadable, cluster_policy::condition, entered::entered, json, managed_by, matches, meta::Meta, reach, revision};
use crate::domain::{Action, Cel, Policy, Readiness, Rule, RuleType};
use serde_json::Value;

pub(super) fn read_validating(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    read(kind, object, "KyvernoValidatingPolicy", RuleType::Validate)
}

pub(super) fn read_image_validating(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    read(kind, object, "KyvernoImageValidatingPolicy", RuleType::VerifyImages)
}

pub(super) fn read_mutating(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    read(kind, object, "KyvernoMutatingPolicy", RuleType::Mutate)
}

pub(super) fn read_generating(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    read(kind, object, "KyvernoGeneratingPolicy", RuleType::Generate)
}

/// `source` is what the kind's results carry in reports (Kyverno `pkg/utils/report/source.go`).
fn read(kind: &Kind, object: &Value, source: &'static str, rule_type: RuleType) -> Result<Policy, Unreadable> {
    let meta = Meta::read(kind, object)?;
    let revision = revision::revision(kind, object);
    let cel = facts(object, rule_type);
    Ok(Policy {
        id: meta.policy_id(kind),
        source,
        severity: meta.severity(),
        category: meta.category(),
        rules: vec![Rule { name: String::new(), rule_type, action: None, overrides: Vec::new(), reach: reach::of_constraints(object) }],
        action: if cel.deny { Action::Enforce } else { Action::Audit },
        overrides: Vec::new(),
        cel: Some(cel),
        admission: json::flag(object, &["spec", "evaluation", "admission", "enabled"]).unwrap_or(true),
        background: json::flag(object, &["spec", "evaluation", "background", "enabled"]).unwrap_or(true),
        emit_warning: false,
        ready: readiness(object),
        scored: meta.scored(),
        native: json::flag(object, &["status", "generated"]).unwrap_or(false),
        entered: entered(object, &revision),
        revision,
        matches: matches::of_constraints(object, rule_type),
        managed_by: managed_by::managed_by(object),
        deprecated: None,
        created_at: meta.created_at,
        generation: meta.generation,
        hold: meta.hold,
        rolled_back: meta.rolled_back,
    })
}

fn facts(object: &Value, rule_type: RuleType) -> Cel {
    let actions = json::list(object, &["spec", "validationActions"]);
    let has = |action: &str| rule_type.has_action() && actions.iter().any(|value| value.as_str() == Some(action));
    Cel {
        // None at all means deny (`ValidatingPolicySpec.ValidationActions`).
        deny: has("Deny") || (rule_type.has_action() && actions.is_empty()),
        warn: has("Warn"),
        audit: has("Audit"),
        kubernetes: json::text(object, &["spec", "evaluation", "mode"]).is_none_or(|mode| mode.is_empty() || mode == "Kubernetes"),
        generates: json::flag(object, &["spec", "autogen", "mutatingAdmissionPolicy", "enabled"]).unwrap_or(false),
    }
}

/// `WebhookConfigured`, which is what blocks. `conditionStatus.ready` also turns false for want of report rights, while admission goes on;
/// it is believed only where that condition was never written. (Seen on 1.19.1; Kyverno `pkg/controllers/policystatus/controller.go`.)
fn readiness(object: &Value) -> Readiness {
    let ready = match condition(object, &["status", "conditionStatus", "conditions"], "WebhookConfigured") {
        Some(status) => status == "True",
        None => json::flag(object, &["status", "conditionStatus", "ready"]).unwrap_or(false),
    };
    if ready { Readiness::Ready } else { Readiness::NotReady }
}
