//! Setting a policy's mode: the smallest change that makes it audit or enforce, in the style its author chose.
//!
//! What lives here: which fields hold the mode of each kind, as a JSON Patch. What does not: whether it may be set (gates), who may, and
//! sending it.
//!
//! # How
//! - ClusterPolicy and Policy: an action that stands at a rule is changed at the rule, else that of the spec. Nothing moves from one level to
//!   the other. Up to Kyverno 1.12 rules have no action of their own.
//! - ValidatingPolicy, ImageValidatingPolicy and their namespaced twins: `validationActions` becomes `[Deny]` or `[Audit]`.
//! - MutatingPolicy, GeneratingPolicy and their twins never refuse and never audit. What comes nearest is to let them act at admission or not.
//! - Overrides are never touched: they are somebody's decision about single namespaces.
//!
//! Afterwards the mode is worked out anew by [`mode`]; a change that would not lead to the mode that was asked for is refused.

mod cel;
mod cluster_policy;

use super::edit::{Edit, Misshapen};
use super::mode::{self, Kyverno};
use super::{CEL, Kind, Unreadable, json, managed_by, read_policy};
use crate::domain::{Action, Mode, Policy, Readiness, RuleType};
use json_patch::Patch;
use serde_json::Value;
use std::fmt;

/// A change of mode.
#[derive(Debug, Clone, PartialEq)]
pub struct ModeChange {
    /// RFC 6902, tests first; empty where the policy does already what is asked for. It does not test `/metadata/resourceVersion`: whoever
    /// sends it adds that.
    pub patch: Patch,
    /// The object with the patch applied.
    pub after: Value,
    /// Sentences that belong beside the change.
    pub notes: Vec<String>,
}

impl ModeChange {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.patch.0.is_empty()
    }
}

/// Why a mode cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannotSet {
    /// The policy neither audits nor enforces.
    NoMode {
        /// What it does instead.
        why: String,
    },
    /// A rule of another policy generated it, and would put it back (Kyverno `pkg/background/generate`, `synchronize`).
    Generated {
        /// That policy, `[namespace/]name`.
        by: String,
    },
    /// Overrides would leave another mode in some namespaces.
    Overrides {
        /// The mode that would be the result.
        would_be: Mode,
        /// The overrides, in words.
        overrides: Vec<String>,
    },
    /// The result would be another mode for another reason.
    Differs {
        /// That mode.
        would_be: Mode,
        /// Why.
        why: String,
    },
    /// It is not shaped like its kind.
    Unreadable {
        /// What is wrong.
        why: String,
    },
}

impl CannotSet {
    /// One word for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoMode { .. } => "no-mode",
            Self::Generated { .. } => "generated",
            Self::Overrides { .. } => "overrides",
            Self::Differs { .. } => "mode-differs",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for CannotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMode { why } => write!(f, "it has no mode: {why}"),
            Self::Generated { by } => write!(f, "the policy {by} generated it and would put it back: change {by}"),
            Self::Overrides { would_be, overrides } => write!(
                f,
                "it would be {would_be}, because its overrides stay as they are: {}. Change or remove them first",
                overrides.join("; ")
            ),
            Self::Differs { would_be, why } => write!(f, "it would be {would_be}: {why}"),
            Self::Unreadable { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for CannotSet {}

impl From<Misshapen> for CannotSet {
    fn from(misshapen: Misshapen) -> Self {
        Self::Unreadable { why: misshapen.to_string() }
    }
}

impl From<Unreadable> for CannotSet {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable { why: unreadable.to_string() }
    }
}

/// The change that makes `object` audit or enforce on the cluster that `kyverno` describes.
///
/// Audit is also reached by a policy that lets through and warns: nothing is refused. Whether the policy is ready does not matter; the mode
/// is the one that it will have in force.
pub fn set_mode(kind: &Kind, object: &Value, target: Action, kyverno: &Kyverno) -> Result<ModeChange, CannotSet> {
    if let Some(keeper) = managed_by::managed_by(object).filter(|keeper| keeper.tool == "Kyverno") {
        return Err(CannotSet::Generated { by: keeper.reference });
    }
    let policy = read_policy(kind, object)?;
    let acts = !policy.rules.iter().any(|rule| rule.rule_type.has_action());
    if acts && kind.group != CEL || policy.rules.iter().any(|rule| rule.rule_type == RuleType::Delete) {
        return Err(CannotSet::NoMode { why: doing(&policy).to_owned() });
    }
    let mut edit = Edit::of(object);
    let mut notes = Vec::new();
    if acts {
        cel::switch(&mut edit, kind, target, &mut notes)?;
    } else if kind.group == CEL {
        cel::set(&mut edit, &policy, target, &mut notes)?;
    } else {
        cluster_policy::set(&mut edit, &policy, target, kyverno.release, &mut notes)?;
    }
    check(kind, edit.after(), target, kyverno)?;
    let (patch, after) = edit.finish();
    Ok(ModeChange { patch, after, notes })
}

/// The mode that a policy has once it is in force, whatever its status says now.
///
/// `Off` for kinds without a mode.
pub fn written_mode(kind: &Kind, object: &Value, kyverno: &Kyverno) -> Result<Mode, Unreadable> {
    Ok(mode::policy_mode(&in_force(kind, object)?, kyverno))
}

/// Whether a mode is what a step of that action asks for: `warn` is an audit that tells the client.
pub fn satisfies(mode: Mode, target: Action) -> bool {
    match target {
        Action::Audit => matches!(mode, Mode::Audit | Mode::Warn),
        Action::Enforce => mode == Mode::Enforce,
    }
}

/// The policy as if its cluster had it in force by Kyverno's webhooks.
fn in_force(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    Ok(Policy { ready: Readiness::Ready, native: false, ..read_policy(kind, object)? })
}

/// Refuses what would not do what was asked for.
fn check(kind: &Kind, after: &Value, target: Action, kyverno: &Kyverno) -> Result<(), CannotSet> {
    let policy = in_force(kind, after)?;
    let meets_admission = policy.cel.as_ref().is_none_or(|cel| cel.kubernetes);
    if policy.rules.iter().all(|rule| !rule.rule_type.has_action()) {
        return if meets_admission { Ok(()) } else { Err(not_at_admission(after)) };
    }
    let would_be = mode::policy_mode(&policy, kyverno);
    if satisfies(would_be, target) {
        return Ok(());
    }
    if would_be == Mode::Off {
        return Err(not_at_admission(after));
    }
    let mut plain = policy.clone();
    plain.overrides.clear();
    plain.rules.iter_mut().for_each(|rule| rule.overrides.clear());
    if plain != policy && satisfies(mode::policy_mode(&plain, kyverno), target) {
        return Err(CannotSet::Overrides { would_be, overrides: overrides(&policy) });
    }
    Err(CannotSet::Differs { would_be, why: difference(&policy, would_be, kyverno) })
}

fn not_at_admission(object: &Value) -> CannotSet {
    let why = match json::text(object, &["spec", "evaluation", "mode"]) {
        Some(mode) if mode != "Kubernetes" => format!("its evaluation mode is {mode}, so it never meets admission requests"),
        _ => "it is switched off at admission and only looks at what exists (spec.admission or spec.evaluation.admission)".to_owned(),
    };
    CannotSet::Differs { would_be: Mode::Off, why }
}

/// The overrides of the policy, each once, with the rule where it is a rule's own.
fn overrides(policy: &Policy) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for rule in policy.rules.iter().filter(|rule| rule.rule_type.has_action()) {
        for text in mode::overrides_in_words(rule, policy) {
            let text = if rule.overrides.is_empty() { text } else { format!("{text} (rule {})", rule.name) };
            if !words.contains(&text) {
                words.push(text);
            }
        }
    }
    words
}

/// Which rule would do what.
fn difference(policy: &Policy, would_be: Mode, kyverno: &Kyverno) -> String {
    if would_be == Mode::Unknown {
        return format!("the releases that this Kyverno can be ({}) do not agree about it", kyverno.release);
    }
    let rules = policy.rules.iter().filter(|rule| rule.rule_type.has_action());
    let words: Vec<_> = rules.map(|rule| format!("rule {} {}", rule.name, mode::rule_mode(policy, rule, kyverno, None))).collect();
    format!("{} on Kyverno {}", words.join(", "), kyverno.release)
}

/// What a policy without a mode does.
fn doing(policy: &Policy) -> &'static str {
    match policy.rules.first().map(|rule| rule.rule_type) {
        Some(RuleType::Delete) => "it deletes on a schedule",
        Some(RuleType::Mutate | RuleType::Generate) => "its rules change or create resources, and never refuse any",
        _ => "it has no rule that could refuse anything",
    }
}

#[cfg(test)]
mod tests;
