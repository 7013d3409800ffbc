//! Why there is no plan, in words that help at three in the morning.

use crate::kinds::set_mode::CannotSet;
use crate::kinds::transfer::CannotTransfer;
use serde::Serialize;
use std::fmt;

/// What to commit to git instead of writing to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// URL or path of the repository, where the configuration names it.
    pub repo: Option<String>,
    /// The branch, likewise.
    pub branch: Option<String>,
    /// The folder of the policies in it, likewise.
    pub folder: Option<String>,
    /// The manifest, as YAML.
    pub manifest: String,
    /// The same without the values of Secrets, for a screen.
    #[serde(skip)]
    pub shown: String,
}

/// Why an operation is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// One word for machines: `read-only`, `gitops`, `not-served`, `unknown-fields`, `no-mode`, `overrides`, `mode-differs`, `owned`, `generated`,
    /// `unreadable`, `unchanged`, `absent`, `kyverno-answers`, `changed`, `several`, `moved`, `denied`, `bulk`, `typed-name`, `four-eyes`, `unacknowledged`,
    /// `held`, `not-ours`, `forged`, `unproven`; through git
    /// also `not-applied`, `not-in-repository`, `list`, `template`, `kustomize`, `in-the-way`.
    pub word: &'static str,
    /// What is the matter, on what, and what to do.
    pub text: String,
    /// What to commit instead, where a GitOps tool keeps the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Box<Commit>>,
}

/// The word of a refusal because nothing has to be done.
const UNCHANGED: &str = "unchanged";

impl Refusal {
    pub(super) fn new(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, text: text.into(), commit: None }
    }

    /// An undo after which everything would be as it is.
    pub(super) fn undone_already(plan: &str) -> Self {
        Self::new(UNCHANGED, format!("Everything is as it was before plan {plan}."))
    }

    /// Whether nothing has to be done.
    pub fn needs_nothing(&self) -> bool {
        self.word == UNCHANGED
    }

    /// A mode that cannot be set on `what`.
    pub(super) fn of_mode(what: &str, why: &CannotSet) -> Self {
        Self::new(why.word(), format!("The mode of {what} cannot be set: {why}."))
    }

    /// An object that cannot be brought there.
    pub(super) fn of_transfer(what: &str, why: &CannotTransfer) -> Self {
        Self::new(why.word(), format!("{what} cannot be brought there: {why}."))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
