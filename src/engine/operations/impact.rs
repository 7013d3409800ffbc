//! What a plan would mean for what runs in its environment: from the results that are there already.

use super::Operator;
use super::execute::policy_of;
use crate::domain::{FindingResult, Mode};
use crate::fleet::query::FindingQuery;
use crate::kinds::mode::Kyverno;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, KindId, read_policy};
use crate::ops::impact::{Question, There, lines};
use crate::ops::plan::{Plan, Step};
use serde_json::Value;
use std::collections::BTreeSet;

impl Operator {
    /// What somebody should know about the resources of the environment before this plan is carried out. Asks no API server.
    pub(super) async fn impact(&self, plan: &Plan, kyverno: &Kyverno) -> Vec<String> {
        let mut impact = Vec::new();
        for step in &plan.steps {
            let kind = KindId::find(&step.object.group, &step.object.kind).map(KindId::kind);
            let Some((kind, after)) = kind.zip(step.after.as_ref()) else { continue };
            let there = match &step.before {
                Some(before) => Some(self.there(step, kind, (before, after), kyverno).await),
                None => None,
            };
            let becomes = written_mode(kind, after, kyverno).unwrap_or(Mode::Unknown);
            let policy = policy_of(&step.object).to_string();
            impact.extend(lines(&Question { policy: &policy, environment: &step.environment, becomes, there }));
        }
        impact
    }

    async fn there(&self, step: &Step, kind: &Kind, (before, after): (&Value, &Value), kyverno: &Kyverno) -> There {
        let policy = policy_of(&step.object);
        let mut there = There {
            refuses: written_mode(kind, before, kyverno).is_ok_and(Mode::can_block),
            same: revision(kind, before) == revision(kind, after),
            scans: read_policy(kind, before).is_ok_and(|read| read.background),
            tolerant: is_tolerant(kind, after, kyverno),
            ..There::default()
        };
        let Some(view) = self.view(&step.environment) else { return there };
        let Some(cell) = view.cell_of(&policy) else { return there };
        let query = FindingQuery {
            policy: Some(cell.key.clone()),
            results: vec![FindingResult::Fail, FindingResult::Error],
            by_owner: true,
            ..FindingQuery::default()
        };
        let Ok(rows) = self.engine.findings(&step.environment, query).await else { return there };
        let owners = |result: FindingResult| -> BTreeSet<(String, String)> {
            let of_it = rows.iter().filter(|row| row.result == result);
            of_it.map(|row| (row.resource.namespace.clone(), row.resource.to_string())).collect()
        };
        there.failing = owners(FindingResult::Fail);
        there.erring = owners(FindingResult::Error).difference(&there.failing).count();
        there.evaluated = cell.owners.total();
        there.complete = view.link.is_up() && view.complete && cell.complete;
        there
    }
}

/// Whether a change of what violates already is let through: `allowExistingViolations` of rules, true unless it says otherwise, since Kyverno 1.13
/// (`pkg/engine/handlers/validation/validate_resource.go`). The CEL kinds have no such thing.
fn is_tolerant(kind: &Kind, object: &Value, kyverno: &Kyverno) -> bool {
    let knows = kind.group == "kyverno.io" && kyverno.release.minor().is_some_and(|minor| minor >= 13);
    let rules = object.pointer("/spec/rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let strict = |rule: &Value| rule.pointer("/validate/allowExistingViolations").and_then(Value::as_bool) == Some(false);
    knows && rules.iter().any(|rule| rule.get("validate").is_some()) && !rules.iter().any(strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Release;
    use serde_json::json;

    #[test]
    fn what_violates_already_may_be_changed_or_not() {
        let kind = |group, kind| KindId::find(group, kind).unwrap().kind();
        let classic = kind("kyverno.io", "ClusterPolicy");
        let rules = |existing: Value| json!({"spec": {"rules": [{"validate": existing}, {"mutate": {}}]}});
        for (kind, object, minor, expected) in [
            (classic, rules(json!({})), 19, true),
            (classic, rules(json!({"allowExistingViolations": true})), 13, true),
            (classic, rules(json!({"allowExistingViolations": false})), 19, false),
            (classic, rules(json!({})), 11, false),
            (classic, json!({"spec": {"rules": [{"verifyImages": []}]}}), 19, false),
            (kind("policies.kyverno.io", "ValidatingPolicy"), rules(json!({})), 19, false),
        ] {
            assert_eq!(is_tolerant(kind, &object, &Kyverno::new(Release::exactly(minor))), expected, "{object} {minor}");
        }
    }
}
