//! Who signed a plan file, and whether that is the person who applies it.

use super::Who;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The signer of a plan file, as `allowed_signers` names the owner of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// The principals of the key, separated by commas as in `allowed_signers`: `ana@example.com`.
    pub principal: String,
    /// The key's fingerprint, as `ssh-keygen -l` prints it: `SHA256:…`.
    pub key: String,
}

impl Signer {
    /// Whether one of the principals names this person: their account, or the user whom the cluster sees.
    ///
    /// Where only one of two names has a domain, the names before it are compared: `ana@example.com` is taken for the account `ana`. A prefix such as `oidc:`
    /// does not count. Taking two people for one only asks for a third; taking one for two would be no second pair of eyes.
    pub fn is(&self, who: &Who) -> bool {
        let users: Vec<&str> = [Some(who.user.as_str()), who.kubeconfig_user.as_deref()].into_iter().flatten().collect();
        self.principal.split(',').any(|principal| users.iter().any(|user| same_person(principal.trim(), user)))
    }
}

fn same_person(principal: &str, user: &str) -> bool {
    let bare = |name: &str| name.rsplit(':').next().unwrap_or_default().to_lowercase();
    let (one, other) = (bare(principal), bare(user));
    if one.is_empty() || other.is_empty() {
        return false;
    }
    match (one.split_once('@'), other.split_once('@')) {
        (Some((name, _)), None) => name == other,
        (None, Some((name, _))) => name == one,
        _ => one == other,
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.principal, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_compared_with_account_and_cluster_user() {
        let who = |user: &str, seen: Option<&str>| Who { user: user.into(), kubeconfig_user: seen.map(Into::into), host: "lap".into() };
        for (principal, who, same) in [
            ("ana@example.com", who("ana", None), true),
            ("ana@example.com", who("bob", Some("oidc:ana@example.com")), true),
            ("ana@example.com", who("bob", Some("ana@other.com")), false),
            ("Ana", who("bob", Some("ana@example.com")), true),
            ("ana", who("bob", Some("system:serviceaccount:team:ana")), true),
            ("maria@example.com,ana", who("ana", None), true),
            ("ana@example.com", who("bob", Some("bob@example.com")), false),
            ("ana@example.com", who("anastasia", None), false),
            ("ana", who("", Some("")), false),
            ("", who("", None), false),
        ] {
            let signer = Signer { principal: principal.into(), key: "SHA256:x".into() };
            assert_eq!(signer.is(&who), same, "{principal} {who:?}");
        }
    }
}
