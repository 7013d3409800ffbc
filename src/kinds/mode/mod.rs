//! What really happens on a violation: by policy, rule and namespace, in a given release of Kyverno.
//!
//! What lives here: what a cluster's Kyverno leaves alone ([`Kyverno`]), and the mode that follows. What does not: reading policies
//! (their own files), counting anything by mode (`fleet`).
//!
//! # What the words mean here
//! - **enforce**: a violating request is refused. **audit**: let through and reported. **warn**: let through, and the client is told.
//!   Warn is also what Kyverno does where its two looks at a policy disagree: the cache sends the rule down the refusing path, the decision
//!   there says audit, and what it found comes back as a warning. A `verifyImages` rule in audit always warns (see `actions`).
//! - **off**: nothing is refused, reported or warned about at admission. That is so where admission is switched off or not meant
//!   (`evaluation.mode: JSON`), where Kyverno leaves the namespace alone, in every other namespace than a namespaced policy's own, where the
//!   rule's own `match` and `exclude` keep it out of the namespace (see `reach`), and for rules and kinds without an action: a mutate,
//!   generate or delete rule never refuses and never audits, however active it is.
//! - **not-ready**: has an action, but Kyverno does not admit by it yet.
//! - **unknown**: the releases that this Kyverno can be do not agree.
//!
//! The summary of several modes is the one they share; enforce beside anything else is **mixed**; audit beside warn is **warn**, because
//! nothing is refused and *mixed* would say that something may be. In a namespace only the rules that look at it count.
//!
//! # Not looked at
//! - Kyverno's flags and rights, exclusions by user or by single kinds (`resourceFilters` like `[Pod,dev,*]`), and what the policy's
//!   own `match` and `exclude` say of anything but namespaces: kinds, names, labels, users.
//! - `failurePolicy`: it decides on errors, not on violations.
//! - Whether a ValidatingPolicy has a native twin that Kyverno does not own up to: 1.19.1 generates one and leaves `status.generated` false
//!   (seen). It matters only in namespaces that Kyverno leaves alone, where the API server then refuses nevertheless.

mod actions;
mod kyverno;
mod place;
mod reach;

pub use kyverno::Kyverno;

use super::Namespace;
use crate::domain::{Action, Cel, Mode, Override, Policy, Readiness, Rule};
use actions::Era;
use place::Place;

/// The mode of one rule of `policy`: in `namespace`, or over all namespaces where none is given (then what namespaces override shows as
/// mixed, and what Kyverno leaves alone is not looked at).
pub fn rule_mode(policy: &Policy, rule: &Rule, kyverno: &Kyverno, namespace: Option<&Namespace>) -> Mode {
    mode_of(policy, std::slice::from_ref(&rule), kyverno, namespace)
}

/// The mode of a policy over all its rules and all namespaces.
pub fn policy_mode(policy: &Policy, kyverno: &Kyverno) -> Mode {
    mode_of(policy, &policy.rules.iter().collect::<Vec<_>>(), kyverno, None)
}

/// The mode of a policy in one namespace, or for cluster-scoped resources ([`Namespace::cluster_scoped`]), over all its rules.
pub fn mode_in(policy: &Policy, kyverno: &Kyverno, namespace: &Namespace) -> Mode {
    mode_of(policy, &policy.rules.iter().collect::<Vec<_>>(), kyverno, Some(namespace))
}

/// The overrides that hold for a rule, in their order, e.g. `enforce in prod-*` or `audit where tier in (dev,qa)`.
pub fn overrides_in_words(rule: &Rule, policy: &Policy) -> Vec<String> {
    overrides_of(rule, policy).iter().map(in_words).collect()
}

/// The rule's own overrides; if it has none, those of the spec (Kyverno `pkg/policycache/cache.go`). Rules without an action have none.
fn overrides_of<'a>(rule: &'a Rule, policy: &'a Policy) -> &'a [Override] {
    if !rule.rule_type.has_action() {
        &[]
    } else if rule.overrides.is_empty() {
        &policy.overrides
    } else {
        &rule.overrides
    }
}

fn in_words(entry: &Override) -> String {
    let action = match entry.action {
        Action::Audit => "audit",
        Action::Enforce => "enforce",
    };
    let names = (!entry.namespaces.is_empty()).then(|| format!(" in {}", entry.namespaces.join(", ")));
    let labels = entry.selector.as_ref().map(|selector| match super::selector::in_words(selector) {
        // A selector without requirements selects everything.
        words if words.is_empty() => " everywhere".to_owned(),
        words => format!(" where {words}"),
    });
    match (names, labels) {
        (None, None) => format!("{action} everywhere"),
        (names, labels) => format!("{action}{}{}", names.unwrap_or_default(), labels.unwrap_or_default()),
    }
}

fn mode_of(policy: &Policy, rules: &[&Rule], kyverno: &Kyverno, namespace: Option<&Namespace>) -> Mode {
    let looks = |rule: &&Rule| namespace.is_none_or(|namespace| reach::looks_at(policy, rule, namespace));
    let rules: Vec<&Rule> = rules.iter().copied().filter(|rule| rule.rule_type.has_action()).filter(looks).collect();
    if rules.is_empty() || is_off(policy) || namespace.is_some_and(|namespace| leaves_alone(policy, kyverno, namespace)) {
        return Mode::Off;
    }
    // A native ValidatingAdmissionPolicy is the API server's business; Kyverno's readiness no longer matters.
    if policy.ready == Readiness::NotReady && !policy.native {
        return Mode::NotReady;
    }
    match &policy.cel {
        Some(cel) => cel_mode(cel),
        None if policy.native => summary(rules.iter().map(|rule| native_mode(policy, rule))),
        None => agreed(Era::of(kyverno).map(|era| summary(modes(era, policy, &rules, namespace)))),
    }
}

/// Whether the policy has nothing to do with admission requests.
pub(super) fn is_off(policy: &Policy) -> bool {
    !policy.admission || policy.cel.as_ref().is_some_and(|cel| !cel.kubernetes)
}

/// Whether requests in that namespace never meet the policy.
fn leaves_alone(policy: &Policy, kyverno: &Kyverno, namespace: &Namespace) -> bool {
    let elsewhere = policy.id.namespace.as_ref().is_some_and(|own| *own != namespace.name);
    // Kyverno's exclusions are Kyverno's; they are not carried into the API server's own policies.
    elsewhere || (!policy.native && kyverno.leaves_alone(namespace))
}

/// kyverno/api `ValidatingPolicySpec.ValidationActions`, Kyverno `pkg/webhooks/resource/vpol/handler.go`: Deny refuses, whatever stands beside it.
fn cel_mode(cel: &Cel) -> Mode {
    if cel.deny {
        Mode::Enforce
    } else if cel.warn {
        Mode::Warn
    } else {
        Mode::Audit
    }
}

/// The binding of a generated ValidatingAdmissionPolicy gets `[Deny]`, or `[Audit, Warn]` (Kyverno `pkg/admissionpolicy/builder.go`; it is
/// generated only for policies with one rule and no overrides).
fn native_mode(policy: &Policy, rule: &Rule) -> Mode {
    match rule.action.unwrap_or(policy.action) {
        Action::Enforce => Mode::Enforce,
        Action::Audit => Mode::Warn,
    }
}

/// The rules' modes in a namespace, or in every kind of place that an override can tell apart.
fn modes(era: Era, policy: &Policy, rules: &[&Rule], namespace: Option<&Namespace>) -> Vec<Mode> {
    let places = match namespace {
        Some(namespace) => vec![Place::In(namespace)],
        None => places(policy, rules),
    };
    places.iter().flat_map(|place| rules.iter().map(move |rule| actions::mode(era, policy, rule, place))).collect()
}

/// A namespace that no override names, and for each override one that only this names.
fn places<'a>(policy: &'a Policy, rules: &[&'a Rule]) -> Vec<Place<'a>> {
    // Until 1.18 the engine lets one rule speak for others, so other rules' overrides count too.
    let own = policy.rules.iter().chain(rules.iter().copied()).flat_map(|rule| &rule.overrides);
    std::iter::once(Place::Nowhere).chain(policy.overrides.iter().chain(own).map(Place::Only)).collect()
}

fn summary(modes: impl IntoIterator<Item = Mode>) -> Mode {
    modes.into_iter().reduce(together).unwrap_or(Mode::Off)
}

fn together(one: Mode, other: Mode) -> Mode {
    match (one, other) {
        _ if one == other => one,
        (Mode::Audit, Mode::Warn) | (Mode::Warn, Mode::Audit) => Mode::Warn,
        _ => Mode::Mixed,
    }
}

/// What all releases say that this Kyverno can be.
fn agreed(mut modes: impl Iterator<Item = Mode>) -> Mode {
    let Some(first) = modes.next() else { return Mode::Unknown };
    if modes.all(|mode| mode == first) { first } else { Mode::Unknown }
}

#[cfg(test)]
mod tests;
