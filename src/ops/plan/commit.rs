//! A commit as a write of a plan: which files of which repository, word for word, and what is said of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A commit that is to be made and pushed. What is shown is what is committed: the files hold their whole new text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitPlan {
    /// The repository, as it may be shown: without a password.
    pub repo: String,
    /// The branch that the GitOps tool reads.
    pub branch: String,
    /// The branch that is pushed to: `branch` itself, or one of its own for a pull request.
    pub to: String,
    /// The commit that the plan was made on.
    pub base: String,
    /// The files that change.
    pub files: Vec<FileChange>,
    /// The commit's message.
    pub message: String,
    /// The policy's document as the repository had it before; `None` where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

impl CommitPlan {
    /// Whether somebody has to merge it before the tool sees it.
    pub fn is_proposal(&self) -> bool {
        self.to != self.branch
    }
}

impl FileChange {
    /// Its text afterwards; `None` where it is removed.
    pub fn content(&self) -> Option<&str> {
        (self.manner != Manner::Removed).then_some(self.text.as_str())
    }
}

/// How a file is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// There was none.
    New,
    /// Only the lines that say something else; comments and order stay.
    Edited,
    /// The policy's document is rewritten; the other documents of the file stay.
    Rewritten,
    /// The file is removed.
    Removed,
}

/// One file that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Its path in the repository.
    pub path: String,
    /// The text it has to have when the commit is made, as a digest; `None` where there must be no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Its text afterwards.
    pub text: String,
    /// How it changes.
    pub manner: Manner,
    /// What differs, as a unified diff that drives no terminal and has no value of a Secret.
    pub diff: String,
    /// Its whole text before, where undoing needs it: of a file that lists a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}
