//! Kinds that delete on a schedule: CleanupPolicy and ClusterCleanupPolicy (`kyverno.io`), DeletingPolicy and its namespaced twin
//! (`policies.kyverno.io`).
//!
//! They never meet admission and never report. Fields: Kyverno `api/kyverno/v2/cleanup_policy_types.go`, kyverno/api
//! `api/policies.kyverno.io/v1beta1/deleting_policy.go`.

use super::{KYVERNO, Kind, Unreadable, entered::entered, json, managed_by, meta::Meta, reach, revision};
use crate::domain::{Action, Matches, Policy, Readiness, Rule, RuleType};
use serde_json::Value;

pub(super) fn read(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    let meta = Meta::read(kind, object)?;
    let revision = revision::revision(kind, object);
    let reach = if kind.group == KYVERNO {
        // `match` and `exclude` are the spec's own, and like those of a rule.
        json::get(object, &["spec"]).map(reach::of_rule).unwrap_or_default()
    } else {
        reach::of_constraints(object)
    };
    Ok(Policy {
        id: meta.policy_id(kind),
        source: "",
        severity: meta.severity(),
        category: meta.category(),
        rules: vec![Rule { name: String::new(), rule_type: RuleType::Delete, action: None, overrides: Vec::new(), reach }],
        action: Action::Audit,
        overrides: Vec::new(),
        cel: None,
        admission: false,
        background: true,
        emit_warning: false,
        // No condition of theirs says whether the schedule runs.
        ready: Readiness::Unknown,
        scored: meta.scored(),
        native: false,
        entered: entered(object, &revision),
        revision,
        matches: Matches::default(),
        managed_by: managed_by::managed_by(object),
        // Kyverno `pkg/deprecations/deprecations.go`, since 1.19.
        deprecated: match (kind.group == KYVERNO, kind.namespaced) {
            (true, true) => Some("NamespacedDeletingPolicy"),
            (true, false) => Some("DeletingPolicy"),
            (false, _) => None,
        },
        created_at: meta.created_at,
        generation: meta.generation,
        hold: meta.hold,
        rolled_back: meta.rolled_back,
    })
}
