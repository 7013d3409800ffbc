//! Rollbacks as annotations of a policy: which revision was rolled back here, when, by whom and why.
//!
//! What lives here: their keys, reading and writing them. What does not: rolling back, which is an operation, and what a gate makes of it.
//!
//! They are annotations so that every operator sees them, whatever machine the rollback was made on and whether or not a recorder was running.

use super::edit::{Edit, Misshapen};
use super::json;
use super::transfer::annotate;
use crate::domain::time::rfc3339;
use crate::domain::{Mode, Revision, RolledBack};
use serde_json::Value;

/// The revision that was rolled back.
pub const REVISION: &str = "policydeck.dev/rolled-back";
/// The mode it had then.
const MODE: &str = "policydeck.dev/rolled-back-mode";
/// By whom.
const BY: &str = "policydeck.dev/rolled-back-by";
/// When: RFC 3339.
const AT: &str = "policydeck.dev/rolled-back-at";
/// Why.
const REASON: &str = "policydeck.dev/rolled-back-reason";
/// All of them.
pub const KEYS: [&str; 5] = [REVISION, MODE, BY, AT, REASON];

/// The rollback that a policy remembers. Without a revision it remembers none, whatever else is there.
pub fn read_rolled_back(object: &Value) -> Option<RolledBack> {
    let annotation = |key: &str| json::text(object, &["metadata", "annotations", key]).filter(|value| !value.is_empty());
    Some(RolledBack {
        revision: Revision(annotation(REVISION)?.to_owned()),
        // What cannot be read may have been enforce.
        mode: annotation(MODE).and_then(|word| serde_json::from_value(Value::from(word)).ok()).unwrap_or(Mode::Enforce),
        by: annotation(BY).map(str::to_owned),
        at: json::time(object, &["metadata", "annotations", AT]),
        reason: annotation(REASON).map(str::to_owned),
    })
}

/// Writes a rollback into a change that is under way, in place of an older one; none takes it away.
pub fn remember(edit: &mut Edit<'_>, rolled_back: Option<&RolledBack>) -> Result<(), Misshapen> {
    let at = rolled_back.and_then(|one| one.at).map(rfc3339);
    let values = rolled_back
        .map(|one| [Some(one.revision.0.as_str()), Some(one.mode.as_str()), one.by.as_deref(), at.as_deref(), one.reason.as_deref()]);
    annotate(edit, KEYS.into_iter().zip(values.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let policy = json!({"metadata": {"name": "p"}, "spec": {}});
        let rolled_back = RolledBack {
            revision: Revision("91c2e04ab613".into()),
            mode: Mode::Audit,
            by: Some("ana@laptop".to_owned()),
            at: Some("2026-11-30T09:00:00Z".parse().unwrap()),
            reason: Some("INC-7".to_owned()),
        };
        let mut edit = Edit::of(&policy);
        remember(&mut edit, Some(&rolled_back)).unwrap();
        let (_, with) = edit.finish();
        assert_eq!(read_rolled_back(&with), Some(rolled_back));
        let mut edit = Edit::of(&with);
        remember(&mut edit, None).unwrap();
        assert_eq!(read_rolled_back(&edit.finish().1), None);
        assert_eq!(read_rolled_back(&policy), None);
    }

    #[test]
    fn what_is_odd_about_it_makes_it_no_milder() {
        let odd = json!({"metadata": {"annotations": {REVISION: "abc", MODE: "soft", AT: "yesterday", BY: ""}}});
        let read = read_rolled_back(&odd).unwrap();
        assert_eq!((read.mode, read.at, read.by), (Mode::Enforce, None, None));
        assert_eq!(read_rolled_back(&json!({"metadata": {"annotations": {MODE: "audit", REASON: "x"}}})), None, "of no revision");
    }
}
