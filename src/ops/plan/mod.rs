//! A plan: everything that will be written, from what, and how it is taken back.
//!
//! What lives here: the plan's types, its file, and whether what it was made from still holds. What does not: making plans (one file per
//! operation) and carrying them out.

mod basis;
mod commit;
mod file;
mod join;

pub use basis::{Basis, INTERACTIVE_AGE, basis_moved, pin_again, too_old};
pub use commit::{CommitPlan, FileChange, Manner};
pub use file::{API_VERSION, KIND, from_file, to_file};
pub use join::join;

use super::diff::Line;
use crate::domain::PolicyId;
use crate::domain::journal::{Signer, Who};
use crate::kinds::Kind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// To the next step of the road.
    Promote,
    /// From enforce to audit.
    Demote,
    /// To what it was before.
    Rollback,
    /// No gate opens any more.
    Hold,
    /// Gates may open again.
    Release,
    /// Kyverno's resource webhooks are removed.
    Unblock,
    /// An earlier plan is taken back.
    Undo,
}

impl Operation {
    /// The word used on screens, in JSON and as a command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Rollback => "rollback",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Unblock => "unblock",
            Self::Undo => "undo",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether more or less can be refused afterwards. Up needs an open gate; down and level never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More can be refused, or a policy comes to an environment: gated.
    Up,
    /// Less can be refused.
    Down,
    /// Nothing changes about that.
    Level,
}

impl Direction {
    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            Self::Level => Self::Level,
        }
    }
}

/// What somebody has to do before a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConfirmLevel {
    /// Say yes.
    Yes,
    /// Type the name of the environment.
    TypeName(String),
}

/// An object by its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// API group; empty for the core group.
    pub group: String,
    /// Version to speak.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural, as in URLs.
    pub plural: String,
    /// Namespace of a namespaced object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// A policy's address in a cluster that serves that version of its kind.
    pub fn of(kind: &Kind, version: &str, id: &PolicyId) -> Self {
        Self {
            group: kind.group.to_owned(),
            version: version.to_owned(),
            kind: kind.kind.to_owned(),
            plural: kind.plural.to_owned(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
        }
    }
}

impl fmt::Display for ObjectRef {
    /// `Kind/[namespace/]name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None if self.kind.is_empty() => f.write_str(&self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// Which state of an object a write is meant for. The server refuses it for any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What is sent. Each has a precondition: a create holds only where nothing is (409), the others only for what they expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Verb {
    /// POST.
    Create {
        /// The object.
        manifest: Value,
    },
    /// PATCH with a JSON Patch.
    Patch {
        /// RFC 6902; whoever sends it puts tests of uid and resource version in front.
        patch: json_patch::Patch,
        /// What it is meant for.
        expect: Expect,
    },
    /// PUT.
    Replace {
        /// The object, without uid and resource version; whoever sends it puts those in.
        manifest: Value,
        /// What it is meant for.
        expect: Expect,
    },
    /// DELETE with preconditions.
    Delete {
        /// What it is meant for.
        expect: Expect,
    },
    /// A commit to the repository that a GitOps tool reads; the object is what that tool is to make of it.
    Commit {
        /// The commit.
        commit: Box<CommitPlan>,
    },
}

impl Verb {
    /// The word used on screens and in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Patch { .. } => "patch",
            Self::Replace { .. } => "replace",
            Self::Delete { .. } => "delete",
            Self::Commit { .. } => "commit",
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Where.
    pub environment: String,
    /// What is written to.
    pub object: ObjectRef,
    /// What is sent.
    #[serde(flatten)]
    pub verb: Verb,
    /// The object before; `None` where there is none.
    pub before: Option<Value>,
    /// The object afterwards, as far as that is known before its server filled in defaults; `None` where there is none.
    pub after: Option<Value>,
    /// What differs, for a preview.
    pub diff: Vec<Line>,
    /// Who owned which fields before, as `managedFields` said (`kinds::ownership`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<Value>,
    /// To whom the fields are given back after the write, in the same form; of an undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gives_back: Vec<Value>,
}

impl Step {
    /// What the write makes of `object`, as a server would: for tests and previews. The error is a sentence.
    pub fn applied_to(&self, object: Option<&Value>) -> Result<Option<Value>, String> {
        match (&self.verb, object) {
            (Verb::Create { manifest }, None) | (Verb::Replace { manifest, .. }, Some(_)) => Ok(Some(manifest.clone())),
            (Verb::Commit { .. }, _) => Ok(self.after.clone()),
            (Verb::Create { .. }, Some(_)) => Err(format!("{} exists already in {}", self.object, self.environment)),
            (_, None) => Err(format!("{} does not exist in {}", self.object, self.environment)),
            (Verb::Delete { .. }, Some(_)) => Ok(None),
            (Verb::Patch { patch, .. }, Some(live)) => {
                let mut patched = live.clone();
                json_patch::patch(&mut patched, patch).map_err(|error| format!("the patch does not fit {}: {error}", self.object))?;
                Ok(Some(patched))
            }
        }
    }

    /// What the write expects; `None` for a create, which expects nothing to be there, and for a commit, which has its own terms.
    pub fn expect(&self) -> Option<&Expect> {
        match &self.verb {
            Verb::Create { .. } | Verb::Commit { .. } => None,
            Verb::Patch { expect, .. } | Verb::Replace { expect, .. } | Verb::Delete { expect } => Some(expect),
        }
    }
}

/// How a plan is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undo {
    /// By the plan that [`super::undo()`] makes; here it is in words.
    Plan(String),
    /// By something else, or not at all; the words say.
    Otherwise(String),
}

impl Undo {
    /// The words, for a preview.
    pub fn words(&self) -> &str {
        match self {
            Self::Plan(words) | Self::Otherwise(words) => words,
        }
    }
}

/// Everything that will be written, from what, why it may be, and how it is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Short hash of what it does and when it was made.
    pub id: String,
    /// What is done.
    pub operation: Operation,
    /// Whether more or less can be refused afterwards.
    pub direction: Direction,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// The same for those who have to tell people apart: the account, the user whom the cluster saw, and the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<Who>,
    /// Who signed the file that the plan comes from. Only a verified signature sets it: it is never read from a file.
    #[serde(skip)]
    pub signer: Option<Signer>,
    /// The ticket that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Why, where that was said: it goes into the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The plan that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// What it was made from. It may be carried out only while this holds ([`basis_moved`]).
    pub basis: Vec<Basis>,
    /// The writes, in order.
    pub steps: Vec<Step>,
    /// What somebody should know before.
    pub warnings: Vec<String>,
    /// What of the environment would begin to fail or to be refused, as far as is known; a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub impact: Vec<String>,
    /// What is said beside the diff: what was left behind, what was changed besides.
    pub notes: Vec<String>,
    /// How it is taken back.
    pub undo: Undo,
    /// What somebody has to do before.
    pub confirm: ConfirmLevel,
    /// The gate as it was when the plan was made, as its own JSON; of several policies a list with one for each; `null` where none is needed.
    #[serde(default)]
    pub gate: Value,
}

impl Plan {
    /// Whether each step goes without the others: what makes policies block less, or stops them, is never kept back by one that cannot go.
    pub fn goes_one_by_one(&self) -> bool {
        self.direction == Direction::Down || self.operation == Operation::Hold
    }

    /// The same plan with only these of its steps, by their places, and what those were made from.
    #[must_use]
    pub fn only(&self, places: &[usize]) -> Self {
        let steps: Vec<Step> = places.iter().filter_map(|place| self.steps.get(*place)).cloned().collect();
        let concerns = |basis: &Basis| steps.iter().any(|step| step.environment == basis.environment && step.object == basis.object);
        let basis = self.basis.iter().filter(|basis| concerns(basis)).cloned().collect();
        Self { basis, steps, ..self.clone() }
    }

    /// The gates that were passed.
    pub fn gates(&self) -> impl Iterator<Item = &Value> {
        let several = self.gate.as_array().map(Vec::as_slice);
        several.unwrap_or(std::slice::from_ref(&self.gate)).iter().filter(|gate| !gate.is_null())
    }

    /// The gate of what a step writes.
    pub fn gate_of(&self, step: &Step) -> Option<&Value> {
        self.gates().find(|gate| {
            let text = |path: &str| gate.pointer(path).and_then(Value::as_str);
            let object = &step.object;
            let is_of_one = !self.gate.is_array() && gate.get("policy").is_none();
            is_of_one
                || text("/policy/kind") == Some(&object.kind)
                    && text("/policy/name") == Some(&object.name)
                    && text("/policy/group") == Some(&object.group)
                    && text("/policy/namespace") == object.namespace.as_deref()
        })
    }
}
