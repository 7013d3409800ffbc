//! Whether requests really meet a policy: by Kyverno's webhook configurations, by a native twin, and by whether Kyverno answers.
//!
//! What lives here: the verdict over what was read. What does not: reading (`webhook`, `native`), and what the policy then does (`mode`).
//!
//! # How a policy gets into the admission path
//! - CEL kinds: webhooks of their kind whose path names the policy (`/vpol/a/b`), with the selectors and match conditions of the policies in it
//!   (Kyverno `pkg/controllers/webhook/validating.go`). Kyverno 1.18 folds policies with different selectors into one webhook, which has the
//!   selector of the last (seen on 1.18.2): the others' requests are never sent.
//! - ClusterPolicy and Policy: the rules of `validate.kyverno.svc-fail` or `-ignore` (images and mutations: `mutate.kyverno.svc-…`), or a
//!   webhook of their own (`/finegrained/`) where they have match conditions (`controller.go`).
//! - With a native twin: the API server itself, as soon as the twin has a binding. Kyverno then leaves the policy out of its webhooks.
//!   ValidatingAdmissionPolicies are read. Those that mutate are not: in place of a MutatingPolicy with `status.generated` stands
//!   `mpol-NAME`, in v1, v1beta1 or v1alpha1 (Kyverno `pkg/controllers/admissionpolicygenerator/generate-map.go`).
//!
//! What excludes whole namespaces by name as Kyverno's ConfigMap says (`kubernetes.io/metadata.name NotIn …`) belongs to Kyverno's settings: it
//! counts where a namespace is asked about, and not against the policy as a whole. Anybody else's exclusion is a gap.

mod carry;
mod selectors;
#[cfg(test)]
mod tests;
mod users;

use super::mode::{Kyverno, is_off, policy_mode};
use super::native::{Native, twin_names};
use super::served::ServedResources;
use super::webhook::{MUTATING, VALIDATING, WebhookConfiguration};
use super::{CEL, Namespace};
use crate::domain::{Force, Gap, InForce, Mode, Policy, Readiness, RuleType};

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seen<T> {
    /// Nobody has looked yet.
    #[default]
    NotYet,
    /// It cannot be read, and why.
    Denied(String),
    /// It does not exist.
    Missing,
    /// It is there.
    There(T),
}

/// Everything that stands between requests and policies in one cluster.
#[derive(Debug, Clone, Default)]
pub struct AdmissionPath<'a> {
    /// [`VALIDATING`].
    pub validating: Seen<&'a WebhookConfiguration>,
    /// [`MUTATING`].
    pub mutating: Seen<&'a WebhookConfiguration>,
    /// Native policies that Kyverno generated.
    pub natives: Seen<Vec<&'a Native>>,
    /// Their bindings.
    pub bindings: Seen<Vec<&'a Native>>,
    /// Whether Kyverno answers its webhooks.
    pub answers: InForce,
    /// Resources by kind, as far as discovery told.
    pub served: Option<&'a ServedResources>,
}

impl AdmissionPath<'_> {
    /// The native twin of a policy, if it has one: by the owner that it names, and by its name.
    pub fn twin(&self, policy: &Policy) -> Option<&Native> {
        let Seen::There(natives) = &self.natives else { return None };
        let names = twin_names(&policy.id);
        natives.iter().copied().find(|native| names.contains(&native.name) && native.owner.as_ref().is_none_or(|owner| *owner == policy.id))
    }
}

/// Whether requests meet the policy: in `namespace`, or anywhere.
pub fn in_force(policy: &Policy, path: &AdmissionPath<'_>, kyverno: &Kyverno, namespace: Option<&Namespace>) -> InForce {
    if is_off(policy) {
        return InForce::because(Force::No, Gap::NotMeant);
    }
    if policy.native && twin_names(&policy.id).is_empty() {
        return not_read_natively(policy);
    }
    let native = by_native(policy, path, kyverno);
    if policy.native {
        return native.unwrap_or_else(|| {
            let name = twin_names(&policy.id).into_iter().next().unwrap_or_default();
            InForce::because(Force::No, Gap::NoNative(name))
        });
    }
    let by_webhook = by_webhooks(policy, path, kyverno, namespace);
    // Kyverno takes it out of its webhooks before its status says so (seen on 1.19.1: up to two seconds).
    let is_missed = matches!(by_webhook.gap, Some(Gap::NotCarried | Gap::NoConfiguration(_)));
    let may_be_native = is_missed && policy.cel.as_ref().is_some_and(|cel| cel.generates);
    match native {
        None if may_be_native => not_read_natively(policy),
        // Both judge: one is enough.
        Some(native) if native.state == Force::Yes || by_webhook.state == Force::No => native,
        _ => by_webhook,
    }
}

fn not_read_natively(policy: &Policy) -> InForce {
    let why = format!("policydeck does not read what the API server applies in place of a {}", policy.id.kind);
    InForce::because(Force::Unknown, Gap::NotRead { what: "its native policy", why })
}

/// By the API server itself; `None` where there is no twin.
///
/// Kyverno writes the binding's actions by the policy's (`pkg/admissionpolicy/builder.go`). Where it did not, because it is down or somebody changed
/// the binding, the API server goes by the binding.
fn by_native(policy: &Policy, path: &AdmissionPath<'_>, kyverno: &Kyverno) -> Option<InForce> {
    const WHAT: &str = "native policies";
    if let Some(unknown) = not_read(&path.natives, WHAT).or_else(|| not_read(&path.bindings, WHAT)) {
        return policy.native.then_some(unknown);
    }
    let twin = path.twin(policy)?;
    let bindings = if let Seen::There(bindings) = &path.bindings { bindings.as_slice() } else { &[] };
    let mine: Vec<&Native> = bindings.iter().copied().filter(|binding| binding.binds.as_deref() == Some(twin.name.as_str())).collect();
    let because = |state, gap| Some(InForce::because(state, gap));
    let Some(any) = mine.first() else { return because(Force::No, Gap::NoBinding(twin.name.clone())) };
    let mode = policy_mode(policy, kyverno);
    if let (Mode::Audit | Mode::Warn, Some(denies)) = (mode, mine.iter().find(|binding| binding.denies)) {
        return because(Force::No, Gap::BindingDenies(denies.name.clone()));
    }
    let mut fitting = mine.iter().filter(|binding| mode != Mode::Enforce || binding.denies).peekable();
    let Some(first) = fitting.peek().copied() else { return because(Force::No, Gap::BindingOnlyAudits(any.name.clone())) };
    // Any binding that takes everything is enough: the first of them counts.
    let whole: Vec<_> = fitting.filter(|binding| !binding.selects).collect();
    if whole.is_empty() {
        return because(Force::Partly, Gap::BindingSelects(first.name.clone()));
    }
    let bound = whole.iter().filter_map(|binding| binding.created).min();
    Some(InForce::YES.not_before(bound.max(twin.created)))
}

fn by_webhooks(policy: &Policy, path: &AdmissionPath<'_>, kyverno: &Kyverno, namespace: Option<&Namespace>) -> InForce {
    if policy.ready == Readiness::NotReady {
        return InForce::because(Force::No, Gap::NotReady);
    }
    if namespace.is_some_and(|namespace| kyverno.leaves_alone(namespace)) {
        return InForce::because(Force::No, Gap::LeftAlone);
    }
    let mut types: Vec<RuleType> = policy.matches.resources.iter().map(|one| one.rule_type).collect();
    if types.is_empty() {
        types.extend(policy.rules.iter().map(|rule| rule.rule_type));
    }
    types.sort();
    types.dedup();
    let parts: Vec<InForce> =
        types.into_iter().filter_map(|rule_type| by_configuration(policy, path, kyverno, rule_type, namespace)).collect();
    if parts.is_empty() {
        return InForce::because(Force::No, Gap::NotMeant);
    }
    together(parts).and(path.answers.clone())
}

/// Of the parts of a policy, which stand beside each other: what holds for all, else partly.
pub(super) fn together(parts: Vec<InForce>) -> InForce {
    let none = parts.iter().all(|part| part.state == Force::No);
    let mut all = parts.into_iter().reduce(InForce::and).unwrap_or(InForce::YES);
    if all.state == Force::No && !none {
        all.state = Force::Partly;
    }
    all
}

/// The part of a policy that works through one configuration; `None` where it is no webhook's business.
fn by_configuration(
    policy: &Policy,
    path: &AdmissionPath<'_>,
    kyverno: &Kyverno,
    rule_type: RuleType,
    namespace: Option<&Namespace>,
) -> Option<InForce> {
    // Images of `kyverno.io` are verified where they are changed; those of the CEL kinds where they are checked.
    let mutates = match rule_type {
        RuleType::Validate | RuleType::Generate => false,
        RuleType::VerifyImages => policy.id.group != CEL,
        RuleType::Mutate => true,
        RuleType::Delete => return None,
    };
    let (configuration, name) = if mutates { (&path.mutating, MUTATING) } else { (&path.validating, VALIDATING) };
    if let Some(unknown) = not_read(configuration, name) {
        return Some(unknown);
    }
    let Seen::There(configuration) = configuration else { return Some(InForce::because(Force::No, Gap::NoConfiguration(name))) };
    let carried = carry::carried(policy, rule_type, configuration, path.served, carry::Asked { kyverno, namespace });
    Some(carried.not_before(configuration.created))
}

fn not_read<T>(seen: &Seen<T>, what: &'static str) -> Option<InForce> {
    match seen {
        Seen::NotYet => Some(InForce::because(Force::Unknown, Gap::NotLooked)),
        Seen::Denied(why) => Some(InForce::because(Force::Unknown, Gap::NotRead { what, why: why.clone() })),
        Seen::Missing | Seen::There(_) => None,
    }
}
