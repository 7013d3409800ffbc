//! Whether a policy refuses more after a write than before, whatever the write is called.

use crate::domain::{Action, Mode};
use crate::kinds::mode::{Kyverno, overrides_in_words};
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, read_policy};
use serde_json::Value;

/// Whether `then` can refuse what `now` does not, by mode alone: what rules say is not compared. Where both refuse in some places only, any other places count as
/// more. What is not there, or is no policy, refuses nothing.
pub fn refuses_more(kind: &Kind, now: Option<&Value>, then: Option<&Value>, kyverno: &Kyverno) -> bool {
    let mode = |object: Option<&Value>| object.map_or(Mode::Absent, |object| written_mode(kind, object, kyverno).unwrap_or(Mode::Unknown));
    let (is, will) = (mode(now), mode(then));
    strength(will) > strength(is)
        || (is, will) == (Mode::Mixed, Mode::Mixed) && now.map(|now| places(kind, now)) != then.map(|then| places(kind, then))
}

fn strength(mode: Mode) -> u8 {
    match mode {
        Mode::Enforce | Mode::Unknown => 2,
        Mode::Mixed => 1,
        Mode::Audit | Mode::Warn | Mode::Off | Mode::NotReady | Mode::Absent => 0,
    }
}

/// Where the policy enforces: its action, and those of each rule with their overrides.
type Places = (Action, Vec<(String, Option<Action>, Vec<String>)>);

fn places(kind: &Kind, object: &Value) -> Option<Places> {
    let policy = read_policy(kind, object).ok()?;
    let rules = policy.rules.iter().map(|rule| (rule.name.clone(), rule.action, overrides_in_words(rule, &policy))).collect();
    Some((policy.action, rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{KindId, Release};
    use serde_json::json;

    #[test]
    fn more_is_a_stronger_mode_or_other_places() {
        let kind = KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let kyverno = Kyverno::new(Release::exactly(19));
        let policy = |action: &str, namespaces: &[&str]| {
            let overrides = if namespaces.is_empty() { json!([]) } else { json!([{"action": "Enforce", "namespaces": namespaces}]) };
            json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
                "spec": {"validationFailureAction": action, "validationFailureActionOverrides": overrides, "rules": [{"name": "r", "validate": {"deny": {}}}]}})
        };
        let (audit, enforce) = (policy("Audit", &[]), policy("Enforce", &[]));
        let (some, others) = (policy("Audit", &["a"]), policy("Audit", &["a", "kube-*"]));
        for (now, then, expected) in [
            (Some(&audit), Some(&enforce), true),
            (Some(&enforce), Some(&audit), false),
            (Some(&enforce), Some(&enforce), false),
            (Some(&audit), Some(&some), true),
            (Some(&enforce), Some(&some), false),
            (Some(&some), Some(&some), false),
            (Some(&some), Some(&others), true),
            (Some(&others), Some(&some), true),
            (None, Some(&enforce), true),
            (None, Some(&audit), false),
            (Some(&enforce), None, false),
        ] {
            assert_eq!(refuses_more(kind, now, then, &kyverno), expected, "{now:?} {then:?}");
        }
    }
}
