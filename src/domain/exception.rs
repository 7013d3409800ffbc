//! Policy exceptions of both groups.

use super::PolicyId;
use jiff::Timestamp;
use std::collections::BTreeMap;

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
    /// The kinds of these policies, in the same order; empty for `kyverno.io`, which tells kinds apart by the name alone.
    pub kinds: Vec<String>,
    /// `spec.expiresAt` of CEL exceptions, Kyverno 1.19 and later.
    pub expires_at: Option<Timestamp>,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// `metadata.annotations`: which of them carries the expiry is configured.
    pub annotations: BTreeMap<String, String>,
    /// Hash of what it excuses: its spec without the expiry and without defaults.
    pub content: String,
}

/// Until when an exception is meant to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing says that it ends.
    Never,
    /// It ends at that moment.
    At(Timestamp),
    /// Its annotation is neither a date nor a time: this is what it says.
    Unreadable(String),
}

impl Exception {
    /// Whether it names that policy, as Kyverno compares (`pkg/cel/engine/exception.go`: name and kind, never the namespace; kyverno.io: the name that
    /// reports have).
    pub fn names(&self, policy: &PolicyId) -> bool {
        let is_named = |(at, (name, _)): (usize, &(String, Vec<String>))| match self.kinds.get(at) {
            Some(kind) => *kind == policy.kind && name.strip_prefix("*/").unwrap_or(name) == policy.name,
            None => *name == policy.report_name(),
        };
        self.group == policy.group && self.policies.iter().enumerate().any(is_named)
    }

    /// Until when it holds: `spec.expiresAt` or the annotation of that key, whichever comes first. A date alone is its first moment in UTC.
    pub fn expiry(&self, key: &str) -> Expiry {
        let own = self.expires_at;
        let Some(text) = self.annotations.get(key).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
            return own.map_or(Expiry::Never, Expiry::At);
        };
        let midnight = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>();
        match text.parse::<Timestamp>().or_else(|_| midnight(text)) {
            Ok(at) => Expiry::At(own.map_or(at, |own| own.min(at))),
            Err(_) => Expiry::Unreadable(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(group: &str, policies: &[&str], kinds: &[&str]) -> Exception {
        Exception {
            group: group.to_owned(),
            namespace: "team".to_owned(),
            name: "e".to_owned(),
            policies: policies.iter().map(|name| ((*name).to_owned(), Vec::new())).collect(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            expires_at: None,
            created_at: None,
            annotations: BTreeMap::new(),
            content: String::new(),
        }
    }

    fn policy(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> PolicyId {
        PolicyId { group: group.to_owned(), kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn policies_are_named_as_kyverno_compares_them() {
        const CEL: &str = "policies.kyverno.io";
        let plain = exception("kyverno.io", &["p", "team-a/q"], &[]);
        let cel = exception(CEL, &["p", "*/q"], &["ValidatingPolicy", "NamespacedValidatingPolicy"]);
        for (exception, policy, expected) in [
            (&plain, policy("kyverno.io", "ClusterPolicy", None, "p"), true),
            (&plain, policy("kyverno.io", "Policy", Some("team-a"), "p"), false),
            (&plain, policy("kyverno.io", "Policy", Some("team-a"), "q"), true),
            (&plain, policy("kyverno.io", "Policy", Some("team-b"), "q"), false),
            (&plain, policy("kyverno.io", "ClusterPolicy", None, "q"), false),
            (&plain, policy(CEL, "ValidatingPolicy", None, "p"), false),
            (&cel, policy(CEL, "ValidatingPolicy", None, "p"), true),
            (&cel, policy(CEL, "NamespacedValidatingPolicy", Some("team-a"), "p"), false),
            (&cel, policy(CEL, "ImageValidatingPolicy", None, "p"), false),
            (&cel, policy(CEL, "NamespacedValidatingPolicy", Some("team-a"), "q"), true),
            (&cel, policy(CEL, "NamespacedValidatingPolicy", Some("team-b"), "q"), true),
            (&cel, policy(CEL, "ValidatingPolicy", None, "q"), false),
            (&cel, policy("kyverno.io", "ClusterPolicy", None, "p"), false),
        ] {
            assert_eq!(exception.names(&policy), expected, "{policy} by {exception:?}");
        }
    }

    #[test]
    fn an_exception_ends_when_the_first_of_both_says() {
        let at = |text: &str| Expiry::At(text.parse().unwrap());
        let own = "2026-12-31T00:00:00Z";
        for (own, annotation, expected) in [
            (None, None, Expiry::Never),
            (Some(own), None, at(own)),
            (None, Some("2026-10-01"), at("2026-10-01T00:00:00Z")),
            (None, Some(" 2026-10-01T09:30:00+02:00 "), at("2026-10-01T07:30:00Z")),
            (Some(own), Some("2026-10-01"), at("2026-10-01T00:00:00Z")),
            (Some(own), Some("2027-10-01"), at(own)),
            (None, Some(""), Expiry::Never),
            (None, Some("next spring"), Expiry::Unreadable("next spring".to_owned())),
            (Some(own), Some("next spring"), Expiry::Unreadable("next spring".to_owned())),
        ] {
            let mut exception = exception("kyverno.io", &["p"], &[]);
            exception.expires_at = own.map(|text| text.parse().unwrap());
            exception.annotations.extend(annotation.map(|text| ("until".to_owned(), text.to_owned())));
            assert_eq!(exception.expiry("until"), expected, "{own:?} {annotation:?}");
        }
    }
}
