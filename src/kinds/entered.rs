//! Since when a policy is what it is, as far as the object itself can prove it. The one place that weighs an object's own evidence: gates, timelines and the
//! history ask here.
//!
//! What lives here: which of an object's words prove a start. What does not: reading them (`authorship`), what was recorded (`domain::history`), which goes
//! first.
//!
//! # What an object can prove
//! `managedFields` show that a field was *set* by some time. They never show that nothing happened since: a write that only removes fields changes no time
//! (`kubernetes/apimachinery`, `managedfieldsupdater.go`: a manager gets a new time only for fields that it takes). `metadata.generation` counts every change of
//! the spec, also a removal, and no change of annotations or labels. So a start is believed only where
//! - our own stamp names the revision, mode and generation that the object still has: it was written when the manager `policydeck` last wrote; or
//! - every change that the generation counts is accounted for by a field manager of its own, and the last applied configuration shows that no annotation or
//!   label that is part of the revision was removed. It began with the newest of these writes.
//!
//! Each time is that of the API server's clock, and may be later than the change, never earlier.

use super::authorship::{AT, Author, BY, FIELD_MANAGER, STATE, Writes};
use super::json;
use super::revision::{ANNOTATIONS, UNREPORTED};
use super::transfer::LAST_APPLIED;
use crate::domain::{Entered, EnteredBy, Revision};
use jiff::Timestamp;
use serde_json::Value;

/// The start that the object proves; `None` where it proves none. It may be later than the change, never earlier.
pub(super) fn entered(object: &Value, revision: &Revision) -> Option<Entered> {
    let writes = Writes::of(object);
    stamped(object, &writes, revision).or_else(|| accounted(object, &writes))
}

/// By our stamp, where it is of what the object is now.
fn stamped(object: &Value, writes: &Writes, revision: &Revision) -> Option<Entered> {
    let annotation = |key: &str| json::text(object, &["metadata", "annotations", key]);
    annotation(AT)?;
    let (of, mode, generation) = read_state(annotation(STATE)?)?;
    if of != revision.0 || Some(generation) != json::get(object, &["metadata", "generation"])?.as_i64() {
        return None;
    }
    let ours = writes.0.iter().find(|write| write.manager == FIELD_MANAGER && write.owns_annotation(STATE) && write.owns_annotation(AT))?;
    let actor = annotation(BY).unwrap_or(FIELD_MANAGER).to_owned();
    Some(Entered { at: ours.at, by: EnteredBy::Stamp { mode }, actor })
}

/// The words of `policydeck.dev/state`: revision, mode and generation that an operation was to lead to.
fn read_state(text: &str) -> Option<(String, String, i64)> {
    let mut words = text.split(' ');
    let (revision, mode, generation) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then(|| (revision.to_owned(), mode.to_owned(), generation))
}

/// By field managers, where they account for everything that may have changed.
fn accounted(object: &Value, writes: &Writes) -> Option<Entered> {
    let created = json::time(object, &["metadata", "creationTimestamp"])?;
    let generation = json::get(object, &["metadata", "generation"])?.as_i64()?;
    // Each of them took fields of the spec with a write of its own; one of these writes may have been the creation.
    let of_spec: Vec<_> = writes.0.iter().filter(|write| write.is_update() && write.of_spec).collect();
    let are_accounted = generation == 1 || usize::try_from(generation).is_ok_and(|changes| changes <= of_spec.len());
    if generation < 1 || !are_accounted || writes.is_merged() {
        return None;
    }
    let applied_at = content_is_as_applied(object, writes)?;
    let of_content =
        writes.0.iter().filter(|write| ANNOTATIONS.iter().any(|key| write.owns_annotation(key)) || write.owns_label(UNREPORTED));
    let of_spec = of_spec.into_iter().filter(|_| generation > 1);
    let newest = of_spec.chain(of_content).max_by_key(|write| write.at).filter(|write| write.at.max(applied_at) > created);
    Some(match newest {
        None if applied_at <= created => Entered { at: created, by: EnteredBy::Creation, actor: String::new() },
        Some(write) if write.at >= applied_at => Entered { at: write.at, by: EnteredBy::FieldManager, actor: Author::name(&write.manager) },
        _ => Entered { at: applied_at, by: EnteredBy::FieldManager, actor: "kubectl apply".to_owned() },
    })
}

/// When the last applied configuration was written, if it shows that no annotation or label that is content was removed since. One that says something else
/// than was applied has an owner, whose time counts.
fn content_is_as_applied(object: &Value, writes: &Writes) -> Option<Timestamp> {
    let applied: Value = serde_json::from_str(json::text(object, &["metadata", "annotations", LAST_APPLIED])?).ok()?;
    let kept = |path: &[&str], owned: &dyn Fn(&Author) -> bool| {
        let (live, applied) = (json::get(object, path), json::get(&applied, path));
        live == applied || (live.is_some() && writes.0.iter().any(|write| write.is_update() && owned(write)))
    };
    let annotations = ANNOTATIONS.iter().all(|key| kept(&["metadata", "annotations", key], &|write| write.owns_annotation(key)));
    let alike = annotations && kept(&["metadata", "labels", UNREPORTED], &|write| write.owns_label(UNREPORTED));
    let at = writes.0.iter().find(|write| write.owns_annotation(LAST_APPLIED))?.at;
    alike.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPEC: &str = "f:spec";
    const SCORED: &str = "policies.kyverno.io/scored";

    fn at(day: i64) -> Timestamp {
        let noon: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        noon + jiff::SignedDuration::from_hours(24 * (day - 1))
    }

    /// A manager that owns something of the spec, or annotations.
    fn manager(name: &str, operation: &str, day: i64, owns: &[&str]) -> Value {
        let mut fields = json!({});
        for owned in owns {
            if *owned == SPEC {
                fields[SPEC] = json!({"f:rules": {}});
            } else {
                fields["f:metadata"]["f:annotations"][format!("f:{owned}")] = json!({});
            }
        }
        json!({"manager": name, "operation": operation, "apiVersion": "kyverno.io/v1", "time": at(day).to_string(), "fieldsV1": fields})
    }

    fn apply(day: i64) -> Value {
        manager("kubectl-client-side-apply", "Update", day, &[SPEC, LAST_APPLIED])
    }

    /// Created on the first of November, with these annotations in what was applied last.
    fn object(generation: i64, managers: &[Value], applied: &Value, live: &Value) -> Value {
        let mut annotations = live.clone();
        if !applied.is_null() {
            annotations[LAST_APPLIED] = json!({"metadata": {"annotations": applied}}).to_string().into();
        }
        json!({"metadata": {"creationTimestamp": at(1).to_string(), "generation": generation, "managedFields": managers, "annotations": annotations}})
    }

    fn says(object: &Value) -> Option<(i64, &'static str)> {
        let entered = entered(object, &Revision("r".into()))?;
        let word = match entered.by {
            EnteredBy::Stamp { .. } => "stamp",
            EnteredBy::FieldManager => "fields",
            EnteredBy::Creation => "creation",
        };
        Some((entered.at.duration_since(at(1)).as_hours() / 24 + 1, word))
    }

    #[test]
    fn what_an_object_can_prove() {
        let none = json!({});
        let patch = |day| manager("kubectl-patch", "Update", day, &[SPEC]);
        let scored = json!({SCORED: "false"});
        let annotate = |day| manager("kubectl-annotate", "Update", day, &[SCORED]);
        let cases = [
            ("never changed", object(1, &[apply(1)], &none, &none), Some((1, "creation"))),
            ("set by one who owns nothing else", object(2, &[apply(1), patch(5)], &none, &none), Some((5, "fields"))),
            ("a field was removed: nobody got a new time", object(2, &[apply(1)], &none, &none), None),
            ("set and then removed", object(3, &[apply(1), patch(5)], &none, &none), None),
            ("written twice by one manager", object(3, &[apply(1), patch(5)], &none, &none), None),
            ("applied again: a removal may hide behind it", object(2, &[apply(6)], &none, &none), None),
            ("an annotation that is content was set", object(1, &[apply(1), annotate(7)], &none, &scored), Some((7, "fields"))),
            ("an annotation that is content was removed", object(1, &[apply(1)], &scored, &none), None),
            ("an annotation is as it was applied, later", object(1, &[apply(7)], &scored, &scored), Some((7, "fields"))),
            ("somebody else owns it by now", object(1, &[apply(1), annotate(7)], &scored, &scored), Some((7, "fields"))),
            (
                "not applied: whether an annotation was removed is unknown",
                object(1, &[manager("helm", "Update", 1, &[SPEC])], &Value::Null, &none),
                None,
            ),
            (
                "taken over by server-side apply, which changes nothing",
                object(2, &[apply(1), manager("flux", "Apply", 9, &[SPEC])], &none, &none),
                None,
            ),
            (
                "too many managers: some were merged",
                object(2, &[apply(1), patch(5), manager("ancient-changes", "Update", 2, &[SPEC])], &none, &none),
                None,
            ),
            ("managers were taken away", object(1, &[], &none, &none), None),
            ("no generation", json!({"metadata": {"creationTimestamp": at(1).to_string()}}), None),
            ("nonsense", json!("nonsense"), None),
        ];
        for (what, object, expected) in cases {
            assert_eq!(says(&object), expected, "{what}: {object:#}");
        }
    }

    #[test]
    fn a_stamp_counts_for_what_it_was_written_for() {
        let ours = |day| manager(FIELD_MANAGER, "Update", day, &[SPEC, AT, STATE]);
        let stamp = |state: &str| json!({AT: "2026-11-02T00:00:00Z", STATE: state, BY: "jane"});
        let of = |managers: &[Value], state: &str| says(&object(4, managers, &Value::Null, &stamp(state)));
        assert_eq!(of(&[ours(5)], "r enforce 4"), Some((5, "stamp")), "when the server saw it written, whatever our clock said");
        assert_eq!(
            of(&[ours(5), manager("kubectl-edit", "Update", 6, &[SPEC])], "r enforce 4"),
            Some((5, "stamp")),
            "the generation is the same"
        );
        for (what, state) in [
            ("another revision", "q enforce 4"),
            ("the spec changed since", "r enforce 3"),
            ("nonsense", "r enforce"),
            ("more", "r enforce 4 5"),
        ] {
            assert_eq!(of(&[ours(5)], state), None, "{what}");
        }
        assert_eq!(of(&[manager("kubectl-edit", "Update", 5, &[SPEC, AT, STATE])], "r enforce 4"), None, "written by somebody else");
        assert_eq!(of(&[], "r enforce 4"), None, "nothing shows when it was written");
        let old = json!({AT: "2026-11-02T00:00:00Z", BY: "jane"});
        assert_eq!(says(&object(4, &[ours(5)], &Value::Null, &old)), None, "of an older release, which did not say for what");
    }
}
