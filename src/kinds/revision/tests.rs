use super::*;
use crate::kinds::KindId;
use proptest::prelude::*;
use serde_json::json;

fn kind(group: &str, kind: &str) -> &'static Kind {
    KindId::find(group, kind).unwrap().kind()
}

fn cluster_policy() -> &'static Kind {
    kind("kyverno.io", "ClusterPolicy")
}

fn hash(kind: &Kind, spec: &Value) -> String {
    revision(kind, &json!({"metadata": {"name": "p"}, "spec": spec})).0
}

fn cpol(spec: &Value) -> String {
    hash(cluster_policy(), spec)
}

#[test]
fn twelve_hex_digits() {
    let revision = cpol(&json!({"rules": []}));
    assert!(revision.len() == 12 && revision.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()), "{revision}");
}

#[test]
fn what_a_cluster_adds_changes_nothing() {
    let written = json!({"rules": [
        {"name": "v", "validate": {"cel": {"expressions": []}, "foreach": [{"context": [{"name": "a", "apiCall": {"urlPath": "/x"}}]}]}},
        {"name": "i", "verifyImages": [{"attestors": [{"entries": [{"keys": {"publicKeys": "k"}}]}]}]},
        {"name": "m", "context": [{"name": "a", "apiCall": {"urlPath": "/x"}}], "mutate": {"targets": [{"kind": "Pod"}]}},
    ]});
    let served = json!({
        "admission": true, "background": true, "emitWarning": false, "validationFailureAction": "Audit",
        "rules": [
            {"name": "v", "skipBackgroundRequests": true, "validate": {
                "allowExistingViolations": true, "cel": {"generate": false, "expressions": []},
                "foreach": [{"context": [{"name": "a", "apiCall": {"method": "GET", "urlPath": "/x"}}]}],
            }},
            {"name": "i", "skipBackgroundRequests": true, "verifyImages": [{
                "mutateDigest": true, "required": true, "useCache": true, "verifyDigest": true,
                "attestors": [{"entries": [{"signatureAlgorithm": "sha256", "keys": {"signatureAlgorithm": "sha256", "publicKeys": "k"}}]}],
            }]},
            {"name": "m", "skipBackgroundRequests": true, "context": [{"name": "a", "apiCall": {"method": "GET", "urlPath": "/x"}}],
             "mutate": {"targets": [{"kind": "Pod"}]}},
        ],
    });
    assert_eq!(cpol(&written), cpol(&served));
}

#[test]
fn what_a_cluster_adds_to_cel_kinds_changes_nothing() {
    let vpol = |spec: &Value| hash(kind("policies.kyverno.io", "ValidatingPolicy"), spec);
    let bare = vpol(&json!({"validations": []}));
    assert_eq!(vpol(&json!({"validations": [], "evaluation": {"admission": {"enabled": true}, "background": {"enabled": true}}})), bare);
    assert_eq!(vpol(&json!({"validations": [], "evaluation": {}})), bare);
    assert_ne!(vpol(&json!({"validations": [], "evaluation": {"background": {"enabled": false}}})), bare);
    assert_ne!(vpol(&json!({"validations": [], "evaluation": {"mode": "JSON"}})), bare);
    let ivpol = |spec: &Value| hash(kind("policies.kyverno.io", "ImageValidatingPolicy"), spec);
    let filled = json!({"validationConfigurations": {"mutateDigest": true, "required": true, "verifyDigest": true}});
    assert_eq!(ivpol(&filled), ivpol(&json!({})));
    assert_ne!(ivpol(&json!({"validationConfigurations": {"mutateDigest": false}})), ivpol(&json!({})));
    let gpol = |spec: &Value| hash(kind("policies.kyverno.io", "GeneratingPolicy"), spec);
    let filled = json!({"evaluation": {
        "admission": {"enabled": true}, "generateExisting": {"enabled": false}, "orphanDownstreamOnPolicyDelete": {"enabled": false},
        "skipBackgroundRequests": true, "synchronize": {"enabled": false},
    }});
    assert_eq!(gpol(&filled), gpol(&json!({})));
    assert_ne!(gpol(&json!({"evaluation": {"synchronize": {"enabled": true}}})), gpol(&json!({})));
}

#[test]
fn the_mode_changes_nothing() {
    let audit = json!({"rules": [{"name": "v", "validate": {"pattern": {}}}, {"name": "i", "verifyImages": [{"imageReferences": ["*"]}]}]});
    let enforce = json!({
        "validationFailureAction": "Enforce",
        "validationFailureActionOverrides": [{"action": "Audit", "namespaces": ["dev"]}],
        "rules": [
            {"name": "v", "validate": {"failureAction": "Enforce", "failureActionOverrides": [{"action": "Audit"}], "pattern": {}}},
            {"name": "i", "verifyImages": [{"failureAction": "Enforce", "imageReferences": ["*"]}]},
        ],
    });
    assert_eq!(cpol(&audit), cpol(&enforce));
    let vpol = |spec: &Value| hash(kind("policies.kyverno.io", "ValidatingPolicy"), spec);
    assert_eq!(vpol(&json!({"validationActions": ["Deny"]})), vpol(&json!({"validationActions": ["Audit", "Warn"]})));
    assert_eq!(vpol(&json!({"validationActions": ["Audit"]})), vpol(&json!({})));
    // Only where the mode lives: a pattern that looks for a field of that name is content.
    let pattern = |action: &str| cpol(&json!({"rules": [{"validate": {"pattern": {"spec": {"validationFailureAction": action}}}}]}));
    assert_ne!(pattern("Audit"), pattern("Enforce"));
}

#[test]
fn metadata_that_changes_behaviour_counts() {
    let with = |metadata: &Value| revision(cluster_policy(), &json!({"metadata": metadata, "spec": {}})).0;
    let bare = with(&json!({"name": "p"}));
    for key in ANNOTATIONS {
        assert_ne!(with(&json!({"name": "p", "annotations": {key: "none"}})), bare, "{key}");
    }
    assert_ne!(with(&json!({"name": "p", "labels": {UNREPORTED: ""}})), bare);
    let noise = json!({
        "name": "another", "namespace": "n", "uid": "u", "resourceVersion": "9", "generation": 4, "managedFields": [{}],
        "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [{}],
        "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "kyverno-policies-3.9.0"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "argocd.argoproj.io/tracking-id": "a:b:c",
            "kyverno.io/kyverno-version": "1.19", "policies.kyverno.io/title": "Title", "policydeck.dev/ticket": "T-1",
        },
    });
    assert_eq!(with(&noise), bare);
    let status = json!({"metadata": {"name": "p"}, "spec": {}, "status": {"conditions": []}});
    assert_eq!(revision(cluster_policy(), &status).0, bare);
}

#[test]
fn numbers_as_the_api_server_writes_them() {
    assert_eq!(cpol(&json!({"webhookTimeoutSeconds": 30})), cpol(&json!({"webhookTimeoutSeconds": 30.0})));
    assert_ne!(cpol(&json!({"webhookTimeoutSeconds": 30})), cpol(&json!({"webhookTimeoutSeconds": 30.5})));
    assert_ne!(cpol(&json!({"webhookTimeoutSeconds": 30})), cpol(&json!({"webhookTimeoutSeconds": "30"})));
}

#[test]
fn objects_that_are_no_policies_have_revisions_too() {
    for object in [json!(null), json!([]), json!({"spec": 3}), json!({"spec": {"rules": {"validate": 1}}}), json!({"spec": {"rules": [7]}})]
    {
        assert_eq!(revision(cluster_policy(), &object).0.len(), 12, "{object}");
    }
}

/// Any JSON, a few levels deep.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A policy's spec with a validate and an image rule, and anything else beside the fields that the CRD and the mode know.
fn spec() -> impl Strategy<Value = Value> {
    (anything(), anything(), anything(), any::<bool>()).prop_map(|(pattern, matching, beside, existing)| {
        json!({
            "background": false,
            "xbeside": beside,
            "rules": [
                {"name": "v", "match": matching, "validate": {"pattern": pattern, "allowExistingViolations": existing}},
                {"name": "i", "verifyImages": [{"imageReferences": ["*"]}, {"imageReferences": ["a"]}]},
            ],
        })
    })
}

/// Every place in a value that can be changed, as JSON pointers.
fn leaves(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => members.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), out)),
        Value::Array(elements) if !elements.is_empty() => {
            elements.iter().enumerate().for_each(|(position, value)| leaves(value, &format!("{at}/{position}"), out));
        }
        _ => out.push(at.to_owned()),
    }
}

/// The same JSON with the members of every object in the opposite order of insertion.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect()),
        Value::Array(elements) => elements.iter().map(reversed).collect(),
        scalar => scalar.clone(),
    }
}

proptest! {
    #[test]
    fn insensitive_to_order(spec in spec()) {
        prop_assert_eq!(cpol(&spec), cpol(&reversed(&spec)));
    }

    #[test]
    fn insensitive_to_defaults(spec in spec(), chosen in proptest::collection::vec(any::<bool>(), 6)) {
        let mut filled = spec.clone();
        let defaults = [
            ("/admission", json!(true)),
            ("/emitWarning", json!(false)),
            ("/rules/0/skipBackgroundRequests", json!(true)),
            ("/rules/1/verifyImages/0/required", json!(true)),
            ("/rules/1/verifyImages/1/useCache", json!(true)),
            ("/rules/1/verifyImages/1/mutateDigest", json!(true)),
        ];
        for ((pointer, value), _) in defaults.into_iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            filled.pointer_mut(parent).unwrap()[name] = value;
        }
        prop_assert_eq!(cpol(&spec), cpol(&filled));
    }

    #[test]
    fn insensitive_to_the_mode(spec in spec(), action in "Audit|Enforce|enforce", namespace in "[a-z*]{1,5}") {
        let mut moded = spec.clone();
        moded["validationFailureAction"] = json!(action);
        moded["validationFailureActionOverrides"] = json!([{"action": action, "namespaces": [namespace]}]);
        moded["rules"][0]["validate"]["failureAction"] = json!(action);
        moded["rules"][0]["validate"]["failureActionOverrides"] = json!([{"action": action, "namespaces": [namespace]}]);
        moded["rules"][1]["verifyImages"][1]["failureAction"] = json!(action);
        prop_assert_eq!(cpol(&spec), cpol(&moded));
    }

    #[test]
    fn sensitive_to_every_other_change(spec in spec(), position in any::<prop::sample::Index>()) {
        let mut places = Vec::new();
        leaves(&spec, "", &mut places);
        let place: &String = position.get(&places);
        let mut changed = spec.clone();
        *changed.pointer_mut(place).unwrap() = json!("CHANGED");
        prop_assert_ne!(cpol(&spec), cpol(&changed), "{}", place);
    }
}
