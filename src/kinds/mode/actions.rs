//! What a rule of a ClusterPolicy or Policy does to a violating request, release by release.
//!
//! Validate rules meet two decisions. First the policy cache sorts rules into a refusing and an auditing bucket, for the request's
//! namespace (`pkg/policycache/cache.go`, `checkValidationFailureActionOverrides`). Then, in the refusing bucket, the engine decides
//! whether a failure blocks (`pkg/engine/api/engineresponse.go`, `GetValidationFailureAction`, from 1.19 `HasEnforcedFailure`). Only if
//! both say enforce is a request refused. What fails in the refusing bucket without being refused comes back as a warning
//! (`pkg/webhooks/resource/validation/validation.go`, `HandleValidationEnforce`; seen on 1.19.1 for an override that matches by half).
//!
//! Image rules meet the engine only, and what fails there without being refused always comes back as a warning
//! (`pkg/webhooks/resource/imageverification/handler.go`; seen on 1.19.1). Where the entries of one image rule contradict each other, 1.13–1.17
//! went by the first of them; here enforce wins, as from 1.18 on.
//!
//! Read in 1.12, 1.13.2, 1.13.4, 1.17.2, 1.18.2 and 1.19.1.

use super::Kyverno;
use super::place::Place;
use crate::domain::{Action, Mode, Override, Policy, Rule, RuleType};

/// Releases that decide alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Era {
    /// Up to 1.12: one action per policy and namespace; rules have none of their own.
    UpTo12,
    /// 1.13.0–1.13.2: as 1.13, but rules with overrides are in neither bucket where no override names the namespace.
    Early13,
    /// 1.13–1.15: rules have actions; the cache does not see selectors.
    From13,
    /// 1.16–1.17: the cache sees selectors.
    From16,
    /// 1.18: an override without namespaces and selector holds everywhere.
    From18,
    /// 1.19: each failing rule is decided on its own; audited rules beside enforced ones can warn.
    From19,
}

impl Era {
    /// The eras that a release can belong to. Releases after the newest known one count as that.
    pub(super) fn of(kyverno: &Kyverno) -> impl Iterator<Item = Self> {
        let (release, broken) = (kyverno.release, kyverno.loses_overrides());
        let eras = [
            (Self::UpTo12, 0, Some(12)),
            (Self::From13, 13, Some(15)),
            (Self::From16, 16, Some(17)),
            (Self::From18, 18, Some(18)),
            (Self::From19, 19, None),
        ];
        eras.into_iter()
            .filter(move |(_, from, to)| release.overlaps(*from, *to))
            .map(move |(era, ..)| if broken && era == Self::From13 { Self::Early13 } else { era })
    }
}

/// The mode of a validate or image rule: audit, warn or enforce.
pub(super) fn mode(era: Era, policy: &Policy, rule: &Rule, place: &Place<'_>) -> Mode {
    if rule.rule_type == RuleType::VerifyImages {
        return refused_or_warned(image_action(era, policy, rule, place));
    }
    if era == Era::Early13 && is_in_no_bucket(policy, rule, place) {
        return Mode::Off;
    }
    if is_in_refusing_bucket(era, policy, rule, place) {
        return refused_or_warned(decided_action(era, policy, rule, place));
    }
    if warns_in_audit(era, policy) { Mode::Warn } else { Mode::Audit }
}

fn refused_or_warned(action: Action) -> Mode {
    match action {
        Action::Enforce => Mode::Enforce,
        Action::Audit => Mode::Warn,
    }
}

/// The first decision: where the cache puts a validate rule.
fn is_in_refusing_bucket(era: Era, policy: &Policy, rule: &Rule, place: &Place<'_>) -> bool {
    match era {
        Era::UpTo12 => can_enforce(era, policy) && is_kept_whole(policy, place),
        _ => cached_action(era, policy, rule, place) == Action::Enforce,
    }
}

/// Until 1.13.2 the base action counts only for cluster-scoped resources and for rules without overrides (`pkg/policycache/cache.go` there).
fn is_in_no_bucket(policy: &Policy, rule: &Rule, place: &Place<'_>) -> bool {
    let overrides = super::overrides_of(rule, policy);
    place.has_namespace() && !overrides.is_empty() && !overrides.iter().any(|entry| place.is_named_by(entry))
}

/// Up to 1.12 the refusing bucket keeps a policy unless its base action speaks against it (and no override could speak for it), or an
/// override with another action names the namespace.
fn is_kept_whole(policy: &Policy, place: &Place<'_>) -> bool {
    let only_base_counts = !place.has_namespace() || policy.overrides.is_empty();
    let base_audits = only_base_counts && policy.action == Action::Audit;
    let audited_here = policy.overrides.iter().any(|entry| entry.action == Action::Audit && place.is_named_by(entry));
    !base_audits && !audited_here
}

/// From 1.13 on: the first override that matches, of the rule or else of the spec; else the rule's action, else the spec's.
fn cached_action(era: Era, policy: &Policy, rule: &Rule, place: &Place<'_>) -> Action {
    let overrides = super::overrides_of(rule, policy);
    let matching = overrides.iter().find(|entry| cache_matches(era, entry, place));
    matching.map_or_else(|| rule.action.unwrap_or(policy.action), |entry| entry.action)
}

/// To the cache, namespaces and selector are alternatives.
fn cache_matches(era: Era, entry: &Override, place: &Place<'_>) -> bool {
    let everywhere = era >= Era::From18 && entry.namespaces.is_empty() && entry.selector.is_none();
    let here = place.is_named_by(entry) || (era >= Era::From16 && place.is_plainly_selected_by(entry));
    everywhere || (place.has_namespace() && here)
}

/// The second decision, for a validate rule in the refusing bucket.
fn decided_action(era: Era, policy: &Policy, rule: &Rule, place: &Place<'_>) -> Action {
    match era {
        Era::UpTo12 => spec_action(era, policy, place),
        Era::From19 => own_action(era, rule, place).unwrap_or_else(|| spec_action(era, policy, place)),
        // The engine sees the policy as the cache cut it: with the rules of this bucket only.
        _ => {
            let bucket = policy
                .rules
                .iter()
                .filter(|other| other.rule_type == RuleType::Validate && cached_action(era, policy, other, place) == Action::Enforce);
            policy_wide_action(era, policy, bucket, place)
        }
    }
}

/// An image rule's action: 1.13–1.18 that of the whole policy, since it is not cut.
fn image_action(era: Era, policy: &Policy, rule: &Rule, place: &Place<'_>) -> Action {
    match era {
        Era::UpTo12 => spec_action(era, policy, place),
        Era::From19 => own_action(era, rule, place).unwrap_or_else(|| spec_action(era, policy, place)),
        _ => policy_wide_action(era, policy, policy.rules.iter(), place),
    }
}

/// 1.13–1.18: the first rule that has anything to say speaks for all.
fn policy_wide_action<'a>(era: Era, policy: &Policy, mut rules: impl Iterator<Item = &'a Rule>, place: &Place<'_>) -> Action {
    rules.find_map(|rule| own_action(era, rule, place)).unwrap_or_else(|| spec_action(era, policy, place))
}

/// What a rule itself says: its overrides, then its action.
fn own_action(era: Era, rule: &Rule, place: &Place<'_>) -> Option<Action> {
    overridden_action(era, &rule.overrides, place).or(rule.action)
}

/// What the spec says: its overrides, then its action.
fn spec_action(era: Era, policy: &Policy, place: &Place<'_>) -> Action {
    overridden_action(era, &policy.overrides, place).unwrap_or(policy.action)
}

/// The first override that matches for the engine, to which namespaces and selector both have to fit.
fn overridden_action(era: Era, overrides: &[Override], place: &Place<'_>) -> Option<Action> {
    let matches = |entry: &&Override| match (entry.namespaces.is_empty(), &entry.selector) {
        (true, None) => era >= Era::From18,
        (true, Some(_)) => place.is_selected_by(entry),
        (false, None) => place.is_named_by(entry),
        (false, Some(_)) => place.is_named_by(entry) && place.is_selected_by(entry),
    };
    overrides.iter().find(matches).map(|entry| entry.action)
}

/// `spec.emitWarning` (1.13 and later). Until 1.18 a policy that could refuse anything anywhere was never looked up for warnings
/// (`pkg/policycache/store.go`, `ValidateAuditWarn`).
fn warns_in_audit(era: Era, policy: &Policy) -> bool {
    policy.emit_warning && era >= Era::Early13 && (era >= Era::From19 || !can_enforce(era, policy))
}

/// Whether the policy says enforce anywhere (`pkg/policycache/store.go`, `computeEnforcePolicy`, and the same for its rules).
fn can_enforce(era: Era, policy: &Policy) -> bool {
    let enforces = |overrides: &[Override]| overrides.iter().any(|entry| entry.action == Action::Enforce);
    let rules = || policy.rules.iter().filter(|rule| rule.rule_type == RuleType::Validate);
    policy.action == Action::Enforce
        || enforces(&policy.overrides)
        || (era >= Era::Early13 && rules().any(|rule| rule.action == Some(Action::Enforce) || enforces(&rule.overrides)))
}
