//! Holds: a policy that is to stay where it is; and rollbacks, which say that a revision was not to stay.
//!
//! Every operator must see a hold, so it lives in the cluster, as annotations of the policy (`kinds::hold`). What keeps a whole environment
//! as it is, are the freeze windows of the configuration.

use super::{Mode, Revision};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A hold. It stays until somebody releases it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Why; empty where nobody has said.
    pub reason: String,
    /// Who.
    pub by: Option<String>,
    /// Since when; none where it is not said or cannot be read.
    pub at: Option<Timestamp>,
}

impl Hold {
    /// `held by ana: INC-7`.
    pub fn in_words(&self) -> String {
        let by = self.by.as_ref().map_or_else(|| "held; by whom is not recorded".to_owned(), |by| format!("held by {by}"));
        if self.reason.is_empty() { by } else { format!("{by}: {}", self.reason) }
    }
}

/// A rollback that a policy remembers: this revision was taken away here. It concerns that revision only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The revision that was rolled back.
    pub revision: Revision,
    /// The mode it had.
    pub mode: Mode,
    /// Who rolled it back.
    pub by: Option<String>,
    /// When; none where it is not said or cannot be read.
    pub at: Option<Timestamp>,
    /// Why, where that was said.
    pub reason: Option<String>,
}

impl RolledBack {
    /// In words, for that environment.
    pub fn in_words(&self, environment: &str) -> String {
        let at = self.at.map(|at| at.strftime(" on %b %-d %H:%M UTC").to_string()).unwrap_or_default();
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or("no reason given");
        format!("revision {} was rolled back from {} in {environment}{at}{by}: {reason}", self.revision, self.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_told_with_what_is_recorded_of_it() {
        let told = |by: Option<&str>, reason: &str| Hold { reason: reason.to_owned(), by: by.map(str::to_owned), at: None }.in_words();
        assert_eq!(told(Some("ana"), "INC-7"), "held by ana: INC-7");
        assert_eq!(told(None, "INC-7"), "held; by whom is not recorded: INC-7");
        assert_eq!(told(None, ""), "held; by whom is not recorded");
    }

    #[test]
    fn a_rollback_says_what_where_when_by_whom_and_why() {
        let whole = RolledBack {
            revision: Revision("91c2e04ab613".to_owned()),
            mode: Mode::Enforce,
            by: Some("ana@laptop".to_owned()),
            at: Some("2026-11-30T09:05:00Z".parse().unwrap()),
            reason: Some("INC-7".to_owned()),
        };
        let expected = "revision 91c2e04ab613 was rolled back from enforce in live on Nov 30 09:05 UTC by ana@laptop: INC-7";
        assert_eq!(whole.in_words("live"), expected);
        let bare = RolledBack { by: None, at: None, reason: None, ..whole };
        assert_eq!(bare.in_words("live"), "revision 91c2e04ab613 was rolled back from enforce in live: no reason given");
    }
}
