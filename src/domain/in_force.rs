//! Whether requests really meet a policy now: what stands in the admission path, not what the policy's status says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a policy is in the admission path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Force {
    /// Every request that the policy matches reaches it.
    Yes,
    /// Some of them do not.
    Partly,
    /// None of them does.
    No,
    /// What would show it could not be read.
    Unknown,
}

impl Force {
    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }

    /// What decides where several things have to hold: one that does not hold counts, however little is known of the others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |force: Self| match force {
            Self::Yes => 0,
            Self::Unknown => 1,
            Self::Partly => 2,
            Self::No => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Whether a policy is in the admission path, and what is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Whether.
    pub state: Force,
    /// The first thing that keeps it out; `None` where nothing does.
    pub gap: Option<Gap>,
    /// Requests did not reach it before: what sends them was created then. `None` where that is not known.
    pub since: Option<Timestamp>,
}

impl InForce {
    /// Every request reaches it.
    pub const YES: Self = Self { state: Force::Yes, gap: None, since: None };

    /// Kept out as far as `state` says, by `gap`.
    pub fn because(state: Force, gap: Gap) -> Self {
        Self { state, gap: Some(gap), since: None }
    }

    /// The same, not before `created`.
    #[must_use]
    pub fn not_before(self, created: Option<Timestamp>) -> Self {
        Self { since: self.since.max(created), ..self }
    }

    /// Both have to hold. The reason is that of the one that decides.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let since = self.since.max(other.since);
        let decides = if self.state.and(other.state) == self.state { self } else { other };
        decides.not_before(since)
    }

    /// The reason in words; empty where nothing keeps it out.
    pub fn reason(&self) -> String {
        self.gap.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self::because(Force::Unknown, Gap::NotLooked)
    }
}

/// What keeps requests from a policy, or keeps that from being known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// Nothing has been read yet.
    NotLooked,
    /// Whether the policy exists is unknown.
    NotSeen,
    /// The policy does not exist; only results of it are left.
    NoPolicy,
    /// It does not take part in admission.
    NotMeant,
    /// Its status says that Kyverno has not taken it up.
    NotReady,
    /// The webhook configuration of that name does not exist.
    NoConfiguration(&'static str),
    /// No webhook names it.
    NotCarried,
    /// No rule of the webhooks that carry it covers these resources.
    Rules(Vec<String>),
    /// None of these kinds is served in the cluster.
    NothingServed(Vec<String>),
    /// The webhook's object selector leaves out what it matches.
    ObjectSelector(String),
    /// The webhook's namespace selector leaves out what it matches.
    NamespaceSelector(String),
    /// The webhook has a match condition of that name, which is not the policy's own.
    MatchCondition(String),
    /// Kyverno itself ignores requests of this namespace.
    LeftAlone,
    /// The webhooks' service has no ready endpoint.
    NoEndpoint {
        /// `namespace/name`.
        service: String,
    },
    /// Nothing listens where the webhooks point to.
    NoAnswer {
        /// Host and port.
        address: String,
    },
    /// Kyverno's lease does not exist.
    NoLease {
        /// `namespace/name`.
        lease: String,
    },
    /// Kyverno's lease was not renewed for longer than Kyverno itself allows.
    OldLease {
        /// `namespace/name`.
        lease: String,
        /// When it was renewed last. No age, which would be news at each look.
        renewed: Timestamp,
    },
    /// The native policy that its status speaks of does not exist.
    NoNative(String),
    /// The native policy has no binding, so it does nothing.
    NoBinding(String),
    /// The native policy's binding selects only a part.
    BindingSelects(String),
    /// The native policy's binding does not deny what the policy says is blocked.
    BindingOnlyAudits(String),
    /// The native policy's binding denies what the policy says is only audited.
    BindingDenies(String),
    /// What would show it may not be read, or could not be.
    NotRead {
        /// What.
        what: &'static str,
        /// Why, with the remedy.
        why: String,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLooked => f.write_str("the webhook configurations have not been read yet"),
            Self::NotSeen => f.write_str("the policy was not seen"),
            Self::NoPolicy => f.write_str("the policy does not exist"),
            Self::NotMeant => f.write_str("it does not take part in admission"),
            Self::NotReady => f.write_str("its status is not ready: Kyverno does not admit by it yet"),
            Self::NoConfiguration(name) => write!(f, "{name} is missing: no request reaches Kyverno"),
            Self::NotCarried => f.write_str("no webhook carries it"),
            Self::Rules(resources) => write!(f, "webhook does not send {}", resources.join(", ")),
            Self::NothingServed(kinds) if kinds.is_empty() => f.write_str("the policy names no resources"),
            Self::NothingServed(kinds) => write!(f, "this cluster does not serve {}", kinds.join(", ")),
            Self::ObjectSelector(selector) => write!(f, "webhook does not send it: object selector {selector}"),
            Self::NamespaceSelector(selector) => write!(f, "webhook does not send it: namespace selector {selector}"),
            Self::MatchCondition(name) => write!(f, "webhook may not send it: match condition {name} is not the policy's own"),
            Self::LeftAlone => f.write_str("Kyverno ignores this namespace"),
            Self::NoEndpoint { service } => write!(f, "Kyverno does not answer: service {service} has no ready endpoint"),
            Self::NoAnswer { address } => write!(f, "Kyverno does not answer at {address}"),
            Self::NoLease { lease } => write!(f, "Kyverno is not running: no lease {lease}"),
            Self::OldLease { lease, renewed } => {
                write!(f, "Kyverno is not running: lease {lease} last renewed {}", renewed.strftime("%b %e %H:%M:%S UTC"))
            }
            Self::NoNative(name) => write!(f, "ValidatingAdmissionPolicy {name} is missing, and Kyverno leaves the policy to it"),
            Self::NoBinding(name) => write!(f, "ValidatingAdmissionPolicy {name} has no binding"),
            Self::BindingSelects(name) => write!(f, "ValidatingAdmissionPolicyBinding {name} selects only a part"),
            Self::BindingOnlyAudits(name) => write!(f, "ValidatingAdmissionPolicyBinding {name} does not deny, unlike the policy"),
            Self::BindingDenies(name) => write!(f, "ValidatingAdmissionPolicyBinding {name} denies, unlike the policy"),
            Self::NotRead { what, why } => write!(f, "cannot read {what}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_counts_however_little_is_known_beside_it() {
        let all = [Force::Yes, Force::Unknown, Force::Partly, Force::No];
        for (i, one) in all.into_iter().enumerate() {
            for (j, other) in all.into_iter().enumerate() {
                assert_eq!(one.and(other), all[i.max(j)], "{one:?} {other:?}");
            }
        }
        let gone = InForce::because(Force::No, Gap::NotCarried);
        assert_eq!(InForce::default().and(gone.clone()).reason(), "no webhook carries it");
        assert_eq!(gone.clone().and(InForce::YES), gone);
        assert_eq!(InForce::YES.and(InForce::YES).reason(), "");
    }
}
