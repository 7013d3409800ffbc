//! The journal's words: what was meant to be done, what became of it, and how an entry is chained to the one before.
//!
//! What lives here: records and entries, the hash of an entry (`chain`), what is wrong with a sequence of lines (`check`), what comes of reading
//! it in parts (`page`), intents joined with their outcomes (`steps`), a check that is kept up to date (`verified`).
//! What does not: files, locks and what happens when a disk is full (`files::journal`).
//!
//! Every operation leaves two entries for each object: an *intent*, written before anything is sent, and an *outcome*. An intent without
//! an outcome means that nobody knows what became of it.

mod chain;
mod check;
mod page;
mod signer;
mod steps;
mod verified;

pub use chain::{Broken, GENESIS, Head, Link, link, seal, unseal};
pub use check::{Check, Checked, Flaw, FlawKind};
pub use page::{Found, Mark, News, Page, Spot, Whole};
pub use signer::Signer;
pub use steps::{Step, Steps};
pub use verified::Verified;

use super::{Mode, PolicyId, Revision};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The file that holds the [`Head`].
pub const HEAD_FILE: &str = "head.json";

/// Who did it, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Who {
    /// The user of the operating system.
    pub user: String,
    /// The user whom the cluster saw: that of the kubeconfig's context, or the one acted as. None where no cluster is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig_user: Option<String>,
    /// The machine's name.
    pub host: String,
}

impl fmt::Display for Who {
    /// `ana`, or `ana as oidc:ana@example.com` where the cluster knows her by another name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.user.is_empty() { "?" } else { &self.user };
        match self.kubeconfig_user.as_deref().filter(|name| !name.is_empty() && *name != self.user) {
            Some(name) => write!(f, "{user} as {name}"),
            None => f.write_str(user),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// To the next step of the road.
    Promote,
    /// From enforce to audit.
    Demote,
    /// To a revision of before.
    Rollback,
    /// Kept where it is.
    Hold,
    /// Free to go on.
    Release,
    /// Kyverno's webhook configurations taken away, so that workloads pass.
    Unblock,
    /// An archive written.
    Backup,
    /// An archive applied.
    Restore,
    /// An object deleted.
    Delete,
    /// An exception made.
    Except,
    /// An exception decided on in a review.
    Review,
    /// The journal itself put in order after an interruption.
    Recover,
    /// A word of a newer release.
    #[serde(untagged)]
    Other(String),
}

impl Verb {
    /// The word used in JSON and on screens.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Rollback => "rollback",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Unblock => "unblock",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::Except => "except",
            Self::Review => "review",
            Self::Recover => "recover",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is about to be done.
    Intent,
    /// What became of it.
    Outcome,
}

impl Phase {
    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
        }
    }
}

/// What became of a step of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    /// Done, and read back.
    Done,
    /// It was so already.
    Unchanged,
    /// Tried, and not done.
    Failed,
    /// Not tried: the server, a gate or a precondition said no.
    Refused,
    /// Sent, and nobody knows what became of it.
    Unknown,
    /// Not tried, because a step before it failed.
    Skipped,
}

impl StepResult {
    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a policy stands: what it says and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What it says; none where it does not exist or could not be read.
    pub revision: Option<Revision>,
    /// What it does.
    pub mode: Mode,
}

/// What is to be written down: an entry that has no place in the journal yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When, by the clock of the one who did it. The order of entries is that of `seq`, not of clocks.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// The environment's name; none where all of them or none is concerned.
    #[serde(default)]
    pub environment: Option<String>,
    /// The uid of the cluster's `kube-system`: names and addresses may move, this does not.
    #[serde(default)]
    pub cluster_uid: Option<String>,
    /// The server's URL.
    #[serde(default)]
    pub server: Option<String>,
    /// What.
    pub verb: Verb,
    /// On what: a policy, or another object named in the same way.
    #[serde(default)]
    pub object: Option<PolicyId>,
    /// The plan's id.
    #[serde(default)]
    pub plan: Option<String>,
    /// The gate as it was seen: its verdict with each condition's number and limit.
    #[serde(default)]
    pub gate: Option<Value>,
    /// Before or after.
    pub phase: Phase,
    /// Of an outcome: the `seq` of its intent.
    #[serde(default)]
    pub intent: Option<u64>,
    /// Of an outcome: what became of it.
    #[serde(default)]
    pub result: Option<StepResult>,
    /// Why it was done; of an outcome also why it was not.
    #[serde(default)]
    pub reason: Option<String>,
    /// The ticket that it belongs to.
    #[serde(default)]
    pub ticket: Option<String>,
    /// The archive that undoes it: a path on the machine that did it.
    #[serde(default)]
    pub undo: Option<String>,
    /// SHA-256 of that archive's manifest, which has the hashes of all its files; hex. None in entries of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_digest: Option<String>,
    /// Who signed the plan's file, where a signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// Where the policy stood before.
    #[serde(default)]
    pub before: Option<Standing>,
    /// Where it was meant to stand; of an outcome, where it stands.
    #[serde(default)]
    pub after: Option<Standing>,
}

impl Record {
    /// An intent that says nothing yet but who is about to do what and when.
    pub fn intent(at: Timestamp, who: Who, verb: Verb) -> Self {
        Self {
            at,
            who,
            environment: None,
            cluster_uid: None,
            server: None,
            verb,
            object: None,
            plan: None,
            gate: None,
            phase: Phase::Intent,
            intent: None,
            result: None,
            reason: None,
            ticket: None,
            undo: None,
            undo_digest: None,
            signer: None,
            before: None,
            after: None,
        }
    }
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number: 1 for the first one, without gaps.
    pub seq: u64,
    /// What was written down.
    #[serde(flatten)]
    pub record: Record,
    /// The hash of the entry before; [`GENESIS`] for the first one.
    pub prev: String,
    /// SHA-256 over `prev` and this entry's line without its hash; hex.
    pub hash: String,
}

impl Entry {
    /// The outcome that belongs to this intent, with everything the intent says; the gate and what was before need no repetition.
    pub fn outcome(&self, at: Timestamp, result: StepResult, reason: Option<String>) -> Record {
        let mut record = self.record.clone();
        record.at = at;
        record.phase = Phase::Outcome;
        record.intent = Some(self.seq);
        record.result = Some(result);
        record.reason = reason.or(record.reason);
        record.gate = None;
        record
    }
}

#[cfg(test)]
mod tests;
