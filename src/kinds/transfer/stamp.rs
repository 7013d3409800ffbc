//! Our own annotations: what ties an object to the journal.

use super::super::edit::{Edit, Misshapen};
use crate::domain::time::rfc3339;
use crate::domain::{Mode, Revision, clean};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

/// Where the names of all our annotations begin.
pub const OURS: &str = "policydeck.dev/";

/// The annotations of a [`Stamp`].
pub const STAMPS: [&str; 6] = [
    "policydeck.dev/promoted-from",
    "policydeck.dev/by",
    "policydeck.dev/at",
    "policydeck.dev/state",
    "policydeck.dev/ticket",
    "policydeck.dev/plan",
];

/// The most characters of a value that are written. Annotations share 256 KiB (Kubernetes `apimachinery`, `TotalAnnotationSizeLimitB`) with
/// everybody else's.
const LONGEST: usize = 256;

/// Who put an object where it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Where it came from: an environment, with `@` and the revision.
    pub from: Option<String>,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What the object is then: only while it is that, the time counts.
    pub state: Option<StampState>,
    /// The ticket that allows it.
    pub ticket: Option<String>,
    /// The id of the plan.
    pub plan: Option<String>,
}

/// What an object is once a stamp is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampState {
    /// Its revision.
    pub revision: Revision,
    /// Its mode.
    pub mode: Mode,
    /// Its `metadata.generation`.
    pub generation: i64,
}

impl fmt::Display for StampState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.revision, self.mode, self.generation)
    }
}

/// Writes a stamp into an object's annotations, in place of an older one: what this one does not say, the object no longer says.
pub fn stamp(object: &mut Value, stamp: &Stamp) -> Result<(), Misshapen> {
    let mut edit = Edit::of(object);
    stamp_edit(&mut edit, stamp)?;
    let (_, stamped) = edit.finish();
    *object = stamped;
    Ok(())
}

/// The same as a part of a change that is under way.
pub fn stamp_edit(edit: &mut Edit<'_>, stamp: &Stamp) -> Result<(), Misshapen> {
    let at = rfc3339(stamp.at);
    let state = stamp.state.as_ref().map(ToString::to_string);
    let values = [
        stamp.from.as_deref(),
        Some(stamp.by.as_str()),
        Some(at.as_str()),
        state.as_deref(),
        stamp.ticket.as_deref(),
        stamp.plan.as_deref(),
    ];
    annotate(edit, STAMPS.into_iter().zip(values))
}

/// Writes values as annotations, and takes those away that are not given or empty.
pub fn annotate<'v>(edit: &mut Edit<'_>, values: impl IntoIterator<Item = (&'static str, Option<&'v str>)>) -> Result<(), Misshapen> {
    for (key, value) in values {
        match value.map(stamp_value).filter(|value| !value.is_empty()) {
            Some(value) => edit.put(&["metadata", "annotations", key], Value::String(value))?,
            None => edit.remove(&["metadata", "annotations", key])?,
        }
    }
    Ok(())
}

/// A text as the value of an annotation: one line, nothing that drives a terminal, not too long.
pub fn stamp_value(text: &str) -> String {
    clean(text.trim()).chars().take(LONGEST).collect()
}
