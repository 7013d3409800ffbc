//! Our own annotations: what ties an object to the journal.

use super::super::edit::{Edit, Misshapen};
use crate::domain::clean;
use jiff::Timestamp;
use serde_json::Value;

/// Where the names of all our annotations begin.
pub const OURS: &str = "policydeck.dev/";

/// The annotations of a [`Stamp`].
pub const STAMPS: [&str; 5] =
    ["policydeck.dev/promoted-from", "policydeck.dev/by", "policydeck.dev/at", "policydeck.dev/ticket", "policydeck.dev/plan"];

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
    /// The ticket that allows it.
    pub ticket: Option<String>,
    /// The id of the plan.
    pub plan: Option<String>,
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
    let at = stamp.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let values = [stamp.from.as_deref(), Some(stamp.by.as_str()), Some(at.as_str()), stamp.ticket.as_deref(), stamp.plan.as_deref()];
    for (key, value) in STAMPS.into_iter().zip(values) {
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
