use super::*;
use crate::kinds::revision::revision;
use crate::kinds::{Family, KindId, Release};
use crate::testing::{Dice, cases, documents};
use serde_json::json;

const AUDIT: Action = Action::Audit;
const ENFORCE: Action = Action::Enforce;

fn kind(name: &str) -> &'static Kind {
    let group = if matches!(name, "ClusterPolicy" | "Policy" | "ClusterCleanupPolicy" | "CleanupPolicy") { "kyverno.io" } else { CEL };
    KindId::find(group, name).unwrap().kind()
}

fn on(minor: u16) -> Kyverno {
    Kyverno::new(Release::exactly(minor))
}

fn object(spec: &Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "team-a", "resourceVersion": "7"}, "spec": spec})
}

/// Sets a mode and holds what holds for all: the patch leads to `after`, the mode is the one asked for, and setting it again changes nothing.
fn set(kind: &Kind, object: &Value, target: Action, kyverno: &Kyverno) -> Result<ModeChange, CannotSet> {
    let change = set_mode(kind, object, target, kyverno)?;
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &change.patch).unwrap();
    assert_eq!(patched, change.after, "the patch leads to what it says");
    let mode = written_mode(kind, &change.after, kyverno).unwrap();
    let acts = read_policy(kind, object).unwrap().rules.iter().all(|rule| !rule.rule_type.has_action());
    assert!(satisfies(mode, target) || (acts && mode == Mode::Off), "{mode} for {target:?}");
    assert!(set_mode(kind, &change.after, target, kyverno).unwrap().is_empty(), "once is enough");
    let operations = serde_json::to_value(&change.patch).unwrap();
    let is_test = |operation: &&Value| operation["op"] == "test";
    let tests = operations.as_array().unwrap().iter().take_while(is_test).count();
    assert_eq!(tests, operations.as_array().unwrap().iter().filter(is_test).count(), "tests come first");
    Ok(change)
}

/// The places that change, with what stands there afterwards.
fn changes(name: &str, spec: &Value, target: Action, minor: u16) -> Vec<(String, Value)> {
    let change = set(kind(name), &object(spec), target, &on(minor)).unwrap_or_else(|why| panic!("{spec}: {why}"));
    let operations = serde_json::to_value(&change.patch).unwrap();
    let operations = operations.as_array().unwrap().iter().filter(|operation| operation["op"] != "test");
    operations.map(|operation| (operation["path"].as_str().unwrap().to_owned(), operation["value"].clone())).collect()
}

fn refused(name: &str, spec: &Value, target: Action, minor: u16) -> (&'static str, String) {
    let why = set(kind(name), &object(spec), target, &on(minor)).unwrap_err();
    (why.word(), why.to_string())
}

fn plain(name: &str) -> Value {
    json!({"name": name, "validate": {"deny": {}}})
}

fn acting(name: &str, action: &str) -> Value {
    json!({"name": name, "validate": {"failureAction": action, "deny": {}}})
}

fn at(path: &str, value: impl Into<Value>) -> (String, Value) {
    (path.to_owned(), value.into())
}

#[test]
fn the_authors_style_is_kept() {
    let by_spec = json!({"validationFailureAction": "Audit", "rules": [plain("a"), plain("b")]});
    let by_default = json!({"rules": [plain("a")]});
    let by_rule =
        json!({"validationFailureAction": "Audit", "rules": [acting("a", "Audit"), acting("b", "Audit"), {"name": "m", "mutate": {}}]});
    let by_both = json!({"validationFailureAction": "Audit", "rules": [acting("a", "Audit"), plain("b")]});
    let by_most = json!({"validationFailureAction": "Audit", "rules": [acting("a", "Enforce"), acting("b", "Audit")]});
    let spec = "/spec/validationFailureAction";
    let rule = |index: usize| format!("/spec/rules/{index}/validate/failureAction");
    for minor in [13, 16, 18, 19] {
        let enforce = |spec: &Value| changes("ClusterPolicy", spec, ENFORCE, minor);
        assert_eq!(enforce(&by_spec), [at(spec, "Enforce")]);
        assert_eq!(enforce(&by_default), [at(spec, "Enforce")]);
        assert_eq!(enforce(&by_rule), [at(&rule(0), "Enforce"), at(&rule(1), "Enforce")]);
        assert_eq!(enforce(&by_both), [at(&rule(0), "Enforce"), at(spec, "Enforce")]);
        assert_eq!(enforce(&by_most), [at(&rule(1), "Enforce")]);
        assert_eq!(changes("Policy", &by_spec, ENFORCE, minor), [at(spec, "Enforce")]);
    }
    // Rules have no say up to 1.12.
    assert_eq!(changes("ClusterPolicy", &by_spec, ENFORCE, 12), [at(spec, "Enforce")]);
    assert_eq!(changes("ClusterPolicy", &by_rule, ENFORCE, 12), [at(spec, "Enforce")]);
}

#[test]
fn names_and_old_values_are_tested() {
    let spec = json!({"validationFailureAction": "Audit", "rules": [acting("a", "Enforce"), acting("b", "Audit")]});
    let change = set(kind("ClusterPolicy"), &object(&spec), ENFORCE, &on(19)).unwrap();
    assert_eq!(
        serde_json::to_value(&change.patch).unwrap(),
        json!([
            {"op": "test", "path": "/spec/rules/1/name", "value": "b"},
            {"op": "test", "path": "/spec/rules/1/validate/failureAction", "value": "Audit"},
            {"op": "replace", "path": "/spec/rules/1/validate/failureAction", "value": "Enforce"},
        ])
    );
    assert!(change.notes[0].contains("spec.validationFailureAction stays Audit"), "{:?}", change.notes);
}

#[test]
fn spelling_is_no_change() {
    for word in ["enforce", "Enforce"] {
        let spec = json!({"validationFailureAction": word, "rules": [plain("a")]});
        assert_eq!(changes("ClusterPolicy", &spec, ENFORCE, 19), []);
        assert_eq!(changes("ClusterPolicy", &spec, AUDIT, 19), [at("/spec/validationFailureAction", "Audit")]);
    }
    let spec = json!({"validationFailureAction": "audit", "rules": [plain("a")]});
    assert_eq!(changes("ClusterPolicy", &spec, AUDIT, 19), []);
}

#[test]
fn image_rules() {
    let entry = |action: &str, digest: bool| json!({"imageReferences": ["*"], "failureAction": action, "mutateDigest": digest});
    let rule = |entries: Value| json!({"validationFailureAction": "Audit", "rules": [{"name": "i", "verifyImages": entries}]});
    let place = |index: usize, field: &str| format!("/spec/rules/0/verifyImages/{index}/{field}");
    let two = rule(json!([entry("Enforce", true), entry("Audit", false)]));
    assert_eq!(changes("ClusterPolicy", &two, ENFORCE, 19), [at(&place(1, "failureAction"), "Enforce")]);
    assert_eq!(changes("ClusterPolicy", &two, AUDIT, 19), [at(&place(0, "failureAction"), "Audit"), at(&place(0, "mutateDigest"), false)]);
    let by_spec = json!({"validationFailureAction": "Enforce", "rules": [{"name": "i", "verifyImages": [{"imageReferences": ["*"]}]}]});
    for minor in [12, 19] {
        let change = set(kind("ClusterPolicy"), &object(&by_spec), AUDIT, &on(minor)).unwrap();
        assert_eq!(change.after["spec"]["rules"][0]["verifyImages"][0]["mutateDigest"], json!(false), "the default is true");
        assert!(change.notes.iter().any(|note| note.starts_with("mutateDigest becomes false")), "{:?}", change.notes);
    }
}

#[test]
fn overrides_are_left_alone() {
    let overridden = json!([{"action": "Audit", "namespaces": ["dev"]}]);
    let by_spec = json!({"validationFailureAction": "Audit", "validationFailureActionOverrides": overridden, "rules": [plain("a")]});
    let (word, why) = refused("ClusterPolicy", &by_spec, ENFORCE, 19);
    assert_eq!(word, "overrides");
    assert_eq!(why, "it would be mixed, because its overrides stay as they are: audit in dev. Change or remove them first");
    assert_eq!(changes("ClusterPolicy", &by_spec, AUDIT, 19), [], "they agree with an audit");
    let by_rule = json!({"rules": [{"name": "a", "validate": {"failureAction": "Enforce", "failureActionOverrides": overridden}}]});
    let (word, why) = refused("ClusterPolicy", &by_rule, ENFORCE, 19);
    assert!(word == "overrides" && why.contains("audit in dev (rule a)"), "{why}");
    assert_eq!(changes("ClusterPolicy", &by_rule, AUDIT, 19), [at("/spec/rules/0/validate/failureAction", "Audit")]);
}

#[test]
fn another_mode_is_refused() {
    let off = json!({"admission": false, "validationFailureAction": "Audit", "rules": [plain("a")]});
    let (word, why) = refused("ClusterPolicy", &off, ENFORCE, 19);
    assert!(word == "mode-differs" && why.contains("it would be off") && why.contains("spec.admission"), "{why}");
    let (word, why) = refused("ValidatingPolicy", &json!({"evaluation": {"mode": "JSON"}}), ENFORCE, 19);
    assert!(word == "mode-differs" && why.contains("JSON"), "{why}");
    let by_rule = object(&json!({"rules": [acting("a", "Audit")]}));
    let why = set(kind("ClusterPolicy"), &by_rule, ENFORCE, &Kyverno::new(Release::UNKNOWN)).unwrap_err();
    assert!(matches!(&why, CannotSet::Differs { would_be: Mode::Unknown, .. }) && why.to_string().contains("do not agree"), "{why}");
    let by_spec = object(&json!({"rules": [plain("a")]}));
    assert!(set(kind("ClusterPolicy"), &by_spec, ENFORCE, &Kyverno::new(Release::UNKNOWN)).is_ok());
}

#[test]
fn readiness_does_not_matter() {
    let mut not_ready = object(&json!({"validationFailureAction": "Audit", "rules": [plain("a")]}));
    not_ready["status"] = json!({"conditions": [{"type": "Ready", "status": "False"}], "validatingadmissionpolicy": {"generated": true}});
    assert_eq!(set(kind("ClusterPolicy"), &not_ready, ENFORCE, &on(19)).unwrap().patch.0.len(), 2);
    assert_eq!(written_mode(kind("ClusterPolicy"), &not_ready, &on(19)), Ok(Mode::Audit));
}

#[test]
fn validation_actions() {
    let place = "/spec/validationActions";
    for name in ["ValidatingPolicy", "NamespacedValidatingPolicy", "ImageValidatingPolicy", "NamespacedImageValidatingPolicy"] {
        for (actions, audit, enforce) in [
            (Some(json!(["Audit"])), None, Some("Deny")),
            (Some(json!(["Warn"])), None, Some("Deny")),
            (Some(json!(["Warn", "Audit"])), None, Some("Deny")),
            (Some(json!(["Deny"])), Some("Audit"), None),
            (Some(json!(["Deny", "Audit"])), Some("Audit"), None),
            (Some(json!(["Deny", "Warn"])), Some("Audit"), Some("Deny")),
            (Some(json!([])), Some("Audit"), None),
            (None, Some("Audit"), None),
        ] {
            let spec = actions.map_or_else(|| json!({}), |actions| json!({"validationActions": actions}));
            let expected = |word: Option<&str>| word.map(|word| at(place, json!([word]))).into_iter().collect::<Vec<_>>();
            assert_eq!(changes(name, &spec, AUDIT, 17), expected(audit), "{name} {spec}");
            assert_eq!(changes(name, &spec, ENFORCE, 17), expected(enforce), "{name} {spec}");
        }
    }
}

#[test]
fn kinds_that_act_are_switched_at_admission() {
    for name in ["MutatingPolicy", "NamespacedMutatingPolicy", "GeneratingPolicy", "NamespacedGeneratingPolicy"] {
        assert_eq!(changes(name, &json!({}), ENFORCE, 19), []);
        assert_eq!(changes(name, &json!({}), AUDIT, 19), [at("/spec/evaluation", json!({"admission": {"enabled": false}}))]);
        let off = json!({"evaluation": {"admission": {"enabled": false}}});
        assert_eq!(changes(name, &off, ENFORCE, 19), [at("/spec/evaluation/admission/enabled", true)]);
        assert_eq!(changes(name, &off, AUDIT, 19), []);
    }
}

#[test]
fn kinds_without_a_mode() {
    for name in ["DeletingPolicy", "NamespacedDeletingPolicy", "ClusterCleanupPolicy", "CleanupPolicy"] {
        let (word, why) = refused(name, &json!({"schedule": "0 0 * * *"}), ENFORCE, 19);
        assert!(word == "no-mode" && why.contains("deletes on a schedule"), "{why}");
    }
    for rules in [json!([{"name": "m", "mutate": {}}, {"name": "g", "generate": {}}]), json!([])] {
        assert_eq!(refused("ClusterPolicy", &json!({"rules": rules}), ENFORCE, 19).0, "no-mode");
    }
    assert_eq!(refused("ClusterPolicy", &json!("text"), ENFORCE, 19).0, "no-mode");
    let why = set_mode(kind("ClusterPolicy"), &json!({}), AUDIT, &on(19)).unwrap_err();
    assert_eq!(why.word(), "unreadable");
}

#[test]
fn generated_policies_are_their_owners_business() {
    let mut generated = object(&json!({"rules": [plain("a")]}));
    generated["metadata"]["labels"] = json!({
        "app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "spread", "generate.kyverno.io/policy-namespace": "ops",
    });
    let why = set(kind("ClusterPolicy"), &generated, ENFORCE, &on(19)).unwrap_err();
    assert_eq!(why.to_string(), "the policy ops/spread generated it and would put it back: change ops/spread");
}

#[test]
fn published_policies() {
    // What audit and enforce change, on 1.19; `-` for refused.
    let expected = [
        ("clustercleanuppolicy", "-", "-"),
        ("clusterpolicy-check-deprecated-apis", "", "spec"),
        ("clusterpolicy-disallow-capabilities", "", "spec"),
        ("clusterpolicy-ensure-production-matches-staging", "spec", ""),
        ("clusterpolicy-generate-add-network-policy", "-", "-"),
        ("clusterpolicy-lowercase-enforce", "spec", ""),
        ("clusterpolicy-mixed-actions", "rule 0", "rule 1"),
        ("clusterpolicy-policy-for-exceptions", "", "spec"),
        ("clusterpolicy-require-run-as-nonroot", "", "spec"),
        ("clusterpolicy-selector-override", "rule 0", "-"),
        ("clusterpolicy-verify-images", "images 0, digest 0", ""),
        ("imagevalidatingpolicy", "actions", ""),
        ("mutatingpolicy-add-capabilities", "admission", ""),
        ("namespacedvalidatingpolicy-audit", "", "actions"),
        ("policy-admission-false-enforce", "-", "-"),
        ("validatingpolicy-audit-warn", "", "actions"),
        ("validatingpolicy-check-deprecated-apis", "actions", ""),
        ("validatingpolicy-json-mode", "-", "-"),
    ];
    let found: Vec<_> = documents("fixtures")
        .into_iter()
        .filter_map(|(name, object)| Some((name, KindId::of_object(&object)?.kind(), object)))
        .filter(|(_, kind, _)| kind.family == Family::Policy)
        .map(|(name, kind, object)| (name, words(kind, &object, AUDIT), words(kind, &object, ENFORCE)))
        .collect();
    let found: Vec<_> = found.iter().map(|(name, audit, enforce)| (name.as_str(), audit.as_str(), enforce.as_str())).collect();
    if !found.is_empty() {
        assert_eq!(found, expected);
    }
}

fn words(kind: &Kind, object: &Value, target: Action) -> String {
    let Ok(change) = set(kind, object, target, &on(19)) else { return "-".to_owned() };
    let mut words = Vec::new();
    for operation in change.patch.0.iter().filter(|operation| !matches!(operation, json_patch::PatchOperation::Test(_))) {
        let path = operation.path().to_string();
        let parts: Vec<&str> = path.split('/').collect();
        words.push(match parts.as_slice() {
            [.., "validationFailureAction"] => "spec".to_owned(),
            [.., "validationActions"] => "actions".to_owned(),
            [.., rule, "validate", "failureAction"] => format!("rule {rule}"),
            [.., entry, "failureAction"] => format!("images {entry}"),
            [.., entry, "mutateDigest"] => format!("digest {entry}"),
            [.., "admission" | "evaluation"] | [.., "admission", "enabled"] => "admission".to_owned(),
            _ => path,
        });
    }
    words.join(", ")
}

fn dice_action(dice: &mut Dice) -> &'static str {
    dice.pick(&["Audit", "Enforce", "audit", "enforce"])
}

fn dice_rule(dice: &mut Dice, number: usize) -> Value {
    let mut rule = match dice.below(5) {
        0 | 1 => plain("r"),
        2 => acting("r", dice_action(dice)),
        3 => {
            let entries = dice.some(3, |dice| {
                let mut entry = json!({"imageReferences": ["*"]});
                if dice.one_in(2) {
                    entry["failureAction"] = json!(dice_action(dice));
                }
                if dice.one_in(2) {
                    entry["mutateDigest"] = json!(dice.one_in(2));
                }
                entry
            });
            json!({"verifyImages": entries})
        }
        _ => json!({"mutate": {}}),
    };
    rule["name"] = json!(format!("r{number}"));
    rule
}

fn dice_policy(dice: &mut Dice) -> (&'static Kind, Value) {
    let mut spec = json!({});
    let name = dice.pick(&["ClusterPolicy", "ClusterPolicy", "Policy", "ValidatingPolicy", "ImageValidatingPolicy", "MutatingPolicy"]);
    if matches!(name, "ClusterPolicy" | "Policy") {
        spec["rules"] = (0..=dice.below(4)).map(|number| dice_rule(dice, number)).collect();
        if dice.one_in(2) {
            spec["validationFailureAction"] = json!(dice_action(dice));
        }
        if dice.one_in(4) {
            spec["validationFailureActionOverrides"] = json!([{"action": dice_action(dice), "namespaces": ["dev"]}]);
        }
        if dice.one_in(4) {
            spec["emitWarning"] = json!(dice.one_in(2));
        }
    } else if dice.one_in(2) {
        spec["validationActions"] = json!(dice.some(3, |dice| dice.pick(&["Deny", "Audit", "Warn"]).to_owned()));
    } else {
        spec["evaluation"] = json!({"admission": {"enabled": dice.one_in(2)}});
    }
    (kind(name), object(&spec))
}

#[test]
fn generated_there_and_back_is_the_same_revision() {
    cases("generated_there_and_back_is_the_same_revision", 2_000, |dice| {
        let (kind, object) = dice_policy(dice);
        let kyverno = on(*dice.of(&[10, 12, 13, 15, 17, 18, 19]));
        // What Kyverno would not have taken under audit is put right first: there digests are not replaced.
        let needed = |change: Result<ModeChange, CannotSet>| match change {
            Ok(change) => Some(change),
            Err(why) => {
                let overridden = object["spec"].get("validationFailureActionOverrides").is_some();
                let off = object.pointer("/spec/evaluation/admission/enabled") == Some(&json!(false));
                let expected = if off {
                    "mode-differs"
                } else if overridden {
                    "overrides"
                } else {
                    "no-mode"
                };
                assert!([expected, "no-mode"].contains(&why.word()), "refused for nothing: {why}: {object}");
                None
            }
        };
        let Some(audited) = needed(set(kind, &object, AUDIT, &kyverno)) else { return };
        let Some(enforced) = needed(set(kind, &audited.after, ENFORCE, &kyverno)) else { return };
        let back = set(kind, &enforced.after, AUDIT, &kyverno).unwrap();
        assert_eq!(revision(kind, &back.after), revision(kind, &audited.after), "{object}");
        let acts = kind.kind == "MutatingPolicy";
        assert!(acts || revision(kind, &enforced.after) == revision(kind, &audited.after), "{object}");
    });
}
