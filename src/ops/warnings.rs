//! What somebody should know before a policy begins to refuse, or to act.

use super::place::Place;
use crate::domain::time::brief;
use crate::domain::{Action, Mode, Policy, RuleType};
use crate::kinds::mode::overrides_in_words;
use crate::kinds::ownership::{Conflict, conflicts};
use crate::kinds::revision::revision;
use crate::kinds::rolled_back::read_rolled_back;
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, Release, read_policy};
use crate::settings::StepMode;
use serde_json::Value;

/// Of `after`, in that place. `action` is the mode that is set, where one is; `replaces` is the object that it takes the place of.
pub(super) fn of(kind: &Kind, place: &Place<'_>, after: &Value, action: Option<Action>, replaces: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    let Ok(policy) = read_policy(kind, after) else { return warnings };
    if action == Some(Action::Enforce) || written_mode(kind, after, place.kyverno).is_ok_and(Mode::can_block) {
        warnings.extend(of_enforcing(&policy, after));
    }
    warnings.extend(of_acting(&policy, after));
    if let Some(replaced) = replaces {
        warnings.extend(of_replacing(kind, &policy, replaced));
        let can_refuse = |object: &Value| written_mode(kind, object, place.kyverno).is_ok_and(Mode::can_block);
        if can_refuse(replaced) && !can_refuse(after) {
            // What matters most is read first.
            warnings.insert(0, of_ending(kind, place, replaced, after));
        }
    }
    warnings.extend(too_old(place, after));
    warnings
}

/// That the revision which is written was rolled back before, there or where it comes from.
pub(super) fn of_rollbacks(kind: &Kind, after: &Value, places: &[(&str, &Value)]) -> Vec<String> {
    let goes = revision(kind, after);
    let remembered = places.iter().filter_map(|(name, object)| Some((name, read_rolled_back(object)?)));
    let of_this = remembered.filter(|(_, rolled_back)| rolled_back.revision == goes);
    of_this.map(|(name, rolled_back)| format!("This {}.", rolled_back.in_words(name))).collect()
}

/// Whose next server-side apply will conflict with this write.
pub(super) fn of_conflicts(live: &Value, after: &Value) -> Vec<String> {
    let in_words = |one: Conflict| {
        format!(
            "{} owns {} by server-side apply: its next apply fails with a conflict with \"policydeck\" (Helm 4, kubectl apply --server-side), or sets it \
             back where it forces conflicts (Flux, Argo CD). `undo` gives the fields back.",
            one.manager,
            one.fields.join(", ")
        )
    };
    conflicts(live, after).into_iter().map(in_words).collect()
}

fn flag(object: &Value, path: &str) -> Option<bool> {
    object.pointer(path).and_then(Value::as_bool)
}

fn rules(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten()
}

fn of_enforcing(policy: &Policy, object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    // Kyverno `api/kyverno/v1/spec_types.go` and `webhookConfiguration`: what happens on errors, not on violations; default Fail.
    let failure = ["/spec/webhookConfiguration/failurePolicy", "/spec/failurePolicy"];
    let ignores = failure.iter().find_map(|path| object.pointer(path)).and_then(Value::as_str) == Some("Ignore");
    warnings.push(if ignores {
        "failurePolicy is Ignore: while Kyverno does not answer, violations pass.".to_owned()
    } else {
        "failurePolicy is Fail: while Kyverno does not answer, every request that this policy looks at is refused.".to_owned()
    });
    if replaces_tags(policy, object) {
        warnings.push("mutateDigest is on: image tags of what passes are replaced by digests.".to_owned());
    }
    for rule in policy.rules.iter().filter(|rule| rule.rule_type.has_action()) {
        for text in overrides_in_words(rule, policy) {
            let warning = format!("An override holds: {text}.");
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    if policy.native {
        warnings
            .push("The API server itself refuses for this policy: its refusals leave no event, and are not counted as blocked.".to_owned());
    }
    warnings
}

/// `mutateDigest` is true by default (Kyverno `api/kyverno/v1/image_verification_types.go`, `api/policies.kyverno.io`, `validationConfigurations`).
fn replaces_tags(policy: &Policy, object: &Value) -> bool {
    if policy.cel.is_some() {
        let verifies = policy.rules.iter().any(|rule| rule.rule_type == RuleType::VerifyImages);
        return verifies && flag(object, "/spec/validationConfigurations/mutateDigest").unwrap_or(true);
    }
    let entries = rules(object).filter_map(|rule| rule.get("verifyImages")?.as_array()).flatten();
    entries.into_iter().any(|entry| flag(entry, "/mutateDigest").unwrap_or(true))
}

/// Rules that touch what exists, as soon as they are there (kyverno.io: `generateExisting`,
/// `generateExistingOnPolicyUpdate`, `mutateExistingOnPolicyUpdate`; CEL: `evaluation`).
fn of_acting(policy: &Policy, object: &Value) -> Vec<String> {
    let on = |path: &str| flag(object, path) == Some(true);
    let in_rules = |path: &str| rules(object).any(|rule| flag(rule, path) == Some(true));
    let mut warnings = Vec::new();
    if on("/spec/generateExisting")
        || on("/spec/generateExistingOnPolicyUpdate")
        || in_rules("/generate/generateExisting")
        || on("/spec/evaluation/generateExisting/enabled")
    {
        warnings.push("generateExisting is on: it creates resources for what exists already, at once.".to_owned());
    }
    let updates = on("/spec/mutateExistingOnPolicyUpdate") || in_rules("/mutate/mutateExistingOnPolicyUpdate");
    if updates || on("/spec/evaluation/mutateExisting/enabled") {
        warnings.push("It changes resources that exist already, at once (mutateExisting).".to_owned());
    }
    if policy.rules.iter().any(|rule| rule.rule_type == RuleType::Delete) {
        warnings.push("It deletes resources on its schedule, from the next time on.".to_owned());
    }
    warnings
}

/// The protection that ends.
fn of_ending(kind: &Kind, place: &Place<'_>, replaced: &Value, after: &Value) -> String {
    let (name, was, is) = (&place.settings.name, revision(kind, replaced), revision(kind, after));
    let until = match place.settings.steps.iter().find(|step| step.mode == StepMode::Audit).map(|step| step.soak) {
        Some(soak) if soak.is_positive() => format!(", after {} in audit at the earliest", brief(soak)),
        _ => String::new(),
    };
    format!(
        "Protection ends: revision {was} enforces in {name} now. Revision {is} replaces it in audit, so {name} blocks nothing for this policy until \
         {is} is promoted to enforce{until}."
    )
}

fn of_replacing(kind: &Kind, policy: &Policy, replaced: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    // Kyverno `pkg/validation/policy/generate.go`, `immutableGenerateFields`.
    if rules(replaced).any(|rule| flag(rule, "/generate/synchronize") == Some(true)) {
        warnings.push("A generate rule with synchronize may not be changed in place: Kyverno refuses it, and deleting the policy would delete what it generated.".to_owned());
    }
    if let Ok(old) = read_policy(kind, replaced) {
        let words = |policy: &Policy| policy.rules.iter().flat_map(|rule| overrides_in_words(rule, policy)).collect::<Vec<_>>();
        let (was, is) = (words(&old), words(policy));
        if was != is && !was.is_empty() {
            warnings.push(format!("Its overrides here are replaced, too; they were: {}.", was.join("; ")));
        }
    }
    warnings
}

/// The annotation that kyverno/policies gives its policies.
fn too_old(place: &Place<'_>, object: &Value) -> Option<String> {
    let text = object.pointer("/metadata/annotations/policies.kyverno.io~1minversion")?.as_str()?;
    let needed = Release::from_text(text)?.minor()?;
    let here = place.kyverno.release.minor()?;
    (here < needed).then(|| format!("It says that it needs Kyverno 1.{needed}; here is {}.", place.kyverno.release))
}
