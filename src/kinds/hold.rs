//! Holds as annotations of a policy.
//!
//! What lives here: their keys, reading them. What does not: setting and taking them away, which are operations.

use super::json;
use crate::domain::Hold;
use serde_json::Value;

/// The policy is held; the value says why.
pub const HOLD: &str = "policydeck.dev/hold";
/// Who holds it.
pub const HELD_BY: &str = "policydeck.dev/held-by";
/// Since when: RFC 3339.
pub const HELD_AT: &str = "policydeck.dev/held-at";

/// The hold on a policy of any kind. [`HOLD`] alone holds it, whatever its value, so that `kubectl annotate` can stop a rollout; the others
/// only say more, and without it nothing.
pub fn read_hold(object: &Value) -> Option<Hold> {
    let annotation = |key: &str| json::text(object, &["metadata", "annotations", key]).filter(|value| !value.is_empty());
    json::get(object, &["metadata", "annotations", HOLD])?;
    Some(Hold {
        reason: annotation(HOLD).unwrap_or_default().to_owned(),
        by: annotation(HELD_BY).map(str::to_owned),
        // A time that cannot be read makes no hold go away.
        at: json::time(object, &["metadata", "annotations", HELD_AT]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(annotations: &Value) -> Option<Hold> {
        read_hold(&json!({"metadata": {"name": "p", "annotations": annotations}}))
    }

    #[test]
    fn a_hold_says_why_who_and_when() {
        let hold = read(&json!({HOLD: "INC-7", HELD_BY: "ana", HELD_AT: "2026-11-25T23:26:49Z"})).unwrap();
        assert_eq!(hold, Hold { reason: "INC-7".into(), by: Some("ana".into()), at: Some("2026-11-25T23:26:49Z".parse().unwrap()) });
    }

    #[test]
    fn what_is_odd_about_it_makes_no_hold_go_away() {
        for annotations in [json!({HOLD: ""}), json!({HOLD: "", HELD_BY: "", HELD_AT: "yesterday"}), json!({HOLD: true})] {
            assert_eq!(read(&annotations), Some(Hold { reason: String::new(), by: None, at: None }), "{annotations}");
        }
    }

    #[test]
    fn who_and_when_alone_hold_nothing() {
        assert_eq!(read(&json!({HELD_BY: "ana", HELD_AT: "2026-11-25T23:26:49Z"})), None);
        assert_eq!(read(&json!({HOLD: null})), None, "as the API server has it: null is nothing");
        for object in [json!({}), json!(null), json!({"metadata": {"annotations": []}}), json!({"metadata": {"annotations": "x"}})] {
            assert_eq!(read_hold(&object), None, "{object}");
        }
    }

    /// A hold is no change of what a policy says.
    #[test]
    fn a_hold_changes_no_revision() {
        let kind = crate::kinds::KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let free = json!({"metadata": {"name": "p"}, "spec": {"rules": []}});
        let held = json!({"metadata": {"name": "p", "annotations": {HOLD: "x"}}, "spec": {"rules": []}});
        assert_eq!(crate::kinds::revision::revision(kind, &free), crate::kinds::revision::revision(kind, &held));
    }
}
