//! What a policy does to a request that violates it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The action a manifest asks for on a violation. Every value but `Enforce`/`enforce` counts as audit
/// (Kyverno `api/kyverno/v1/spec_types.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Report only.
    Audit,
    /// Refuse the request.
    Enforce,
}

/// What really happens on a violation, in one environment (and one namespace, where one is asked about).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Let through, reported.
    Audit,
    /// Refused.
    Enforce,
    /// Depends on the rule or the namespace.
    Mixed,
    /// Let through with a warning to the client.
    Warn,
    /// Nothing happens at admission: switched off, not meant for admission, or a namespace Kyverno never looks at.
    Off,
    /// Would enforce or audit, but is not in force yet.
    NotReady,
    /// The policy does not exist here.
    Absent,
    /// Could not be found out.
    #[default]
    Unknown,
}

impl Mode {
    /// The word used on screens and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
            Self::Mixed => "mixed",
            Self::Warn => "warn",
            Self::Off => "off",
            Self::NotReady => "not-ready",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a request can be refused in this mode.
    pub fn can_block(self) -> bool {
        matches!(self, Self::Enforce | Self::Mixed)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
