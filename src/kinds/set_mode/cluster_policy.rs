//! ClusterPolicy and Policy of `kyverno.io`.

use super::super::edit::{Edit, Misshapen};
use super::super::{Release, json};
use crate::domain::{Action, Policy};
use serde_json::Value;

const SPEC_ACTION: [&str; 2] = ["spec", "validationFailureAction"];

/// Rules have actions of their own from 1.13 on (Kyverno `config/crds` at each tag).
const RULES_HAVE_ACTIONS: u16 = 13;

pub(super) fn set(
    edit: &mut Edit<'_>,
    policy: &Policy,
    target: Action,
    release: Release,
    notes: &mut Vec<String>,
) -> Result<(), Misshapen> {
    let by_rule = release.overlaps(RULES_HAVE_ACTIONS, None);
    let decided_by_spec = policy.rules.iter().any(|rule| rule.rule_type.has_action() && !(by_rule && rule.action.is_some()));
    if by_rule {
        set_rules(edit, target)?;
    } else if policy.rules.iter().any(|rule| rule.action.is_some()) {
        notes.push(format!("Kyverno {release} does not know actions of rules; they are left as they are."));
    }
    if decided_by_spec {
        set_action(edit, &SPEC_ACTION, target)?;
    } else if action_at(edit, &SPEC_ACTION).unwrap_or(Action::Audit) != target {
        notes.push(format!(
            "spec.validationFailureAction stays {}: every rule has an action of its own, and that counts.",
            json::text(edit.after(), &SPEC_ACTION).unwrap_or("Audit (the default)")
        ));
    }
    if target == Action::Audit {
        leave_digests(edit, notes)?;
    }
    Ok(())
}

/// The actions that stand at rules.
fn set_rules(edit: &mut Edit<'_>, target: Action) -> Result<(), Misshapen> {
    for rule in 0..json::list(edit.after(), &["spec", "rules"]).len() {
        let rule = rule.to_string();
        let mut places = vec![vec!["spec", "rules", &rule, "validate", "failureAction"]];
        let entries: Vec<String> = (0..images(edit, &rule)).map(|entry| entry.to_string()).collect();
        places.extend(entries.iter().map(|entry| vec!["spec", "rules", &rule, "verifyImages", entry, "failureAction"]));
        for place in places {
            if action_at(edit, &place).is_some_and(|action| action != target) {
                edit.pin(&["spec", "rules", &rule, "name"]);
                set_action(edit, &place, target)?;
            }
        }
    }
    Ok(())
}

/// Under audit Kyverno refuses image rules that replace tags by digests, and that is their default ("mutateDigest must be set to false for
/// 'Audit' failure action", `api/kyverno/v1/image_verification_types.go`).
fn leave_digests(edit: &mut Edit<'_>, notes: &mut Vec<String>) -> Result<(), Misshapen> {
    let mut changed = false;
    for rule in 0..json::list(edit.after(), &["spec", "rules"]).len() {
        let rule = rule.to_string();
        for entry in 0..images(edit, &rule) {
            let entry = entry.to_string();
            let place = ["spec", "rules", &rule, "verifyImages", &entry, "mutateDigest"];
            if edit.get(&place).and_then(Value::as_bool).unwrap_or(true) {
                edit.pin(&["spec", "rules", &rule, "name"]);
                edit.put(&place, Value::Bool(false))?;
                changed = true;
            }
        }
    }
    if changed {
        notes.push(
            "mutateDigest becomes false, because Kyverno refuses it under audit: image tags are no longer replaced by digests, and the \
             revision changes. Enforcing again does not turn it on."
                .to_owned(),
        );
    }
    Ok(())
}

fn images(edit: &Edit<'_>, rule: &str) -> usize {
    edit.get(&["spec", "rules", rule, "verifyImages"]).and_then(Value::as_array).map_or(0, Vec::len)
}

/// Writes an action unless that very action stands there, in whatever spelling.
fn set_action(edit: &mut Edit<'_>, place: &[&str], target: Action) -> Result<(), Misshapen> {
    if action_at(edit, place) == Some(target) {
        return Ok(());
    }
    let word = match target {
        Action::Audit => "Audit",
        Action::Enforce => "Enforce",
    };
    edit.put(place, Value::from(word))
}

/// As the reader sees it: everything but `Enforce` and `enforce` is audit.
fn action_at(edit: &Edit<'_>, place: &[&str]) -> Option<Action> {
    let text = edit.get(place)?.as_str()?;
    Some(if matches!(text, "Enforce" | "enforce") { Action::Enforce } else { Action::Audit })
}
