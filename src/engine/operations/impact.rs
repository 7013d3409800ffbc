//! What a plan would mean for what runs in its environment: from the results that are there already.

use super::Operator;
use super::execute::policy_of;
use crate::domain::{FindingResult, Mode, Policy, Readiness};
use crate::fleet::query::FindingRow;
use crate::kinds::mode::Kyverno;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, KindId, read_policy};
use crate::ops::gate::{evaluated, in_scope, limits};
use crate::ops::impact::{Question, There, lines};
use crate::ops::plan::{Plan, Step};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
        // What the gate counts, whatever word the report has for it.
        let Ok(rows) = self.engine.violations(&step.environment, cell.key.clone()).await else { return there };
        let owner = |row: &FindingRow| (row.resource.namespace.clone(), row.resource.to_string());
        let owners = |errs: bool| -> BTreeSet<(String, String)> {
            rows.iter().filter(|row| (row.result == FindingResult::Error) == errs).map(owner).collect()
        };
        there.failing = owners(false);
        there.erring = owners(true).difference(&there.failing).count();
        let modes = self.modes_there(step, kind, (before, after), &there.failing).await;
        // Exclusions that are only assumed spare nobody.
        let no_block = |mode: &Mode| matches!(mode, Mode::Audit | Mode::Warn) || (*mode == Mode::Off && !kyverno.assumed);
        let milder = |namespace: &str| modes.get(namespace).copied().filter(no_block);
        there.spared = there.failing.iter().filter_map(|owner| Some((owner.clone(), milder(&owner.0)?))).collect();
        let spared = &there.spared;
        there.failing.retain(|owner| !spared.contains_key(owner));
        let tolerated = rows.iter().filter(|row| row.result == FindingResult::Skip).count();
        let apart = rows.iter().filter(|row| there.spared.contains_key(&owner(row))).count();
        there.evaluated = evaluated(cell, tolerated as u64, apart as u64);
        there.unseen = self.settings(&step.environment).ok().and_then(|settings| in_scope(limits(settings, &policy)).err());
        there.complete = view.link.is_up() && view.complete && cell.complete;
        there
    }
}

impl Operator {
    /// What the policy will do in each namespace in which something fails; nothing where that could not be found out.
    async fn modes_there(
        &self,
        step: &Step,
        kind: &Kind,
        (before, after): (&Value, &Value),
        failing: &BTreeSet<(String, String)>,
    ) -> BTreeMap<String, Mode> {
        let Ok(policy) = read_policy(kind, after) else { return BTreeMap::new() };
        // A native policy is carried by the API server, which knows nothing of what Kyverno leaves alone.
        let native = read_policy(kind, before).is_ok_and(|policy| policy.native);
        let policy = Policy { ready: Readiness::Ready, native, ..policy };
        let namespaces = failing.iter().map(|(namespace, _)| namespace.clone()).collect();
        self.engine.modes_in(&step.environment, policy, namespaces).await.unwrap_or_default()
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
