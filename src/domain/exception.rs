//! Policy exceptions of both groups.

use jiff::Timestamp;

/// A PolicyException (`kyverno.io` or `policies.kyverno.io`), as far as watching needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// API group.
    pub group: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Policies it names, as reports would write them (`name`, or `namespace/name`), with the rule patterns it excuses; CEL exceptions name no rules.
    pub policies: Vec<(String, Vec<String>)>,
    /// `spec.expiresAt` of CEL exceptions, Kyverno 1.19 and later.
    pub expires_at: Option<Timestamp>,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
}
