//! The contract that every entry of the registry keeps, and what readers make of hand-written manifests.

mod generated;

use super::*;
use crate::domain::{Action, Mode, Readiness, RuleType, Severity};
use serde_json::json;
use std::collections::BTreeSet;

fn kind(group: &str, name: &str) -> &'static Kind {
    KindId::find(group, name).unwrap().kind()
}

#[test]
fn identities_are_unique() {
    assert!(REGISTRY.len() < 128 && KindId::COUNT == REGISTRY.len());
    let by_kind: BTreeSet<_> = REGISTRY.iter().map(|kind| (kind.group, kind.kind)).collect();
    let by_plural: BTreeSet<_> = REGISTRY.iter().map(|kind| (kind.group, kind.plural)).collect();
    assert_eq!((by_kind.len(), by_plural.len()), (REGISTRY.len(), REGISTRY.len()));
    for id in KindId::all() {
        let kind = id.kind();
        assert_eq!(KindId::find(kind.group, kind.kind), Some(id));
        assert_eq!(KindId::find_plural(kind.group, kind.plural), Some(id));
        assert!(!kind.versions.is_empty() && kind.plural.chars().all(|c| c.is_ascii_lowercase()), "{kind:?}");
    }
    assert_eq!(KindId::find("", "PolicyException"), None, "the group is part of the identity");
}

#[test]
fn readers_fit_families() {
    let object = json!({"metadata": {"name": "p", "namespace": "n"}});
    for kind in KindId::all().map(KindId::kind) {
        assert_eq!(read_policy(kind, &object).is_ok(), kind.family == Family::Policy, "{kind:?}");
        assert_eq!(read_exception(kind, &object).is_ok(), kind.family == Family::Exception, "{kind:?}");
    }
}

#[test]
fn every_policy_kind_reads_its_identity() {
    let object = json!({"metadata": {"name": "p", "namespace": "n", "generation": 3, "creationTimestamp": "2026-08-21T10:00:00Z"}});
    for kind in KindId::of_family(Family::Policy).map(KindId::kind) {
        let policy = read_policy(kind, &object).unwrap();
        assert_eq!((policy.id.group.as_str(), policy.id.kind.as_str(), policy.id.name.as_str()), (kind.group, kind.kind, "p"));
        assert_eq!(policy.id.namespace.as_deref(), kind.namespaced.then_some("n"), "{kind:?}");
        assert_eq!((policy.generation, policy.created_at), (3, "2026-08-21T10:00:00Z".parse().ok()));
        assert_eq!(policy.deprecated.is_some(), kind.group == KYVERNO, "{kind:?}");
    }
}

#[test]
fn a_missing_name_fails_and_nothing_else_does() {
    let wrong = [json!(null), json!(7), json!("text"), json!([1]), json!({"x": 1})];
    for kind in KindId::all().map(KindId::kind).filter(|kind| matches!(kind.family, Family::Policy | Family::Exception)) {
        let read = |object: &Value| match kind.family {
            Family::Policy => read_policy(kind, object).map(drop),
            _ => read_exception(kind, object).map(drop),
        };
        for value in &wrong {
            assert!(read(value).is_err(), "{kind:?} {value}");
            assert!(read(&json!({"metadata": {"name": "p", "annotations": value, "labels": value, "managedFields": value}})).is_ok());
            assert!(read(&json!({"metadata": {"name": "p"}, "spec": value, "status": value})).is_ok(), "{kind:?} {value}");
            let deep = json!({
                "rules": [value, {"name": value, "validate": value, "verifyImages": value}], "validationFailureAction": value,
                "validationFailureActionOverrides": [value], "validationActions": value, "evaluation": value, "exceptions": [value],
                "policyRefs": [value], "expiresAt": value, "admission": value,
            });
            assert!(read(&json!({"metadata": {"name": "p"}, "spec": deep, "status": {"conditions": [value]}})).is_ok(), "{kind:?} {value}");
        }
        let nameless = read(&json!({"metadata": {"namespace": "n"}})).unwrap_err();
        assert!(nameless.object.starts_with(kind.kind) && nameless.to_string().contains("metadata.name"), "{nameless}");
    }
}

#[test]
fn versions_in_order_of_preference() {
    assert_eq!(kind("kyverno.io", "ClusterPolicy").preferred(&["v2beta1", "v1"]), Some("v1"));
    assert_eq!(kind("kyverno.io", "ClusterPolicy").preferred(&["v2beta1"]), Some("v2beta1"));
    assert_eq!(kind("kyverno.io", "PolicyException").preferred(&["v2alpha1", "v2beta1"]), Some("v2beta1"));
    assert_eq!(kind("policies.kyverno.io", "ValidatingPolicy").preferred(&["v1alpha1", "v1beta1"]), Some("v1beta1"));
    assert_eq!(kind("policies.kyverno.io", "ValidatingPolicy").preferred(&["v3"]), None);
    assert_eq!(kind("", "Pod").api_version("v1"), "v1");
    assert_eq!(kind("apps", "Deployment").api_version("v1"), "apps/v1");
}

#[test]
fn kinds_of_objects() {
    let of =
        |api_version: &str, name: &str| KindId::of_object(&json!({"apiVersion": api_version, "kind": name})).map(|id| id.kind().plural);
    assert_eq!(of("v1", "Pod"), Some("pods"));
    assert_eq!(of("policies.kyverno.io/v1", "PolicyException"), Some("policyexceptions"));
    assert_eq!(of("networking.example/v1", "Policy"), None);
    assert_eq!(KindId::of_object(&json!({})), None);
}

#[test]
fn a_cluster_policy() {
    let object = json!({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
        "metadata": {"name": "p", "annotations": {
            "policies.kyverno.io/severity": "high", "policies.kyverno.io/category": "Best Practices",
            "meta.helm.sh/release-name": "kyverno-policies", "meta.helm.sh/release-namespace": "kyverno",
        }},
        "spec": {
            "validationFailureAction": "enforce", "background": false, "emitWarning": true,
            "validationFailureActionOverrides": [{"action": "Audit", "namespaces": ["dev-*"], "namespaceSelector": {"matchLabels": {"a": "b"}}}],
            "rules": [
                {"name": "one", "validate": {"failureAction": "Audit", "failureActionOverrides": [{"action": "Enforce", "namespaces": ["prod"]}]}},
                {"name": "two", "verifyImages": [{"failureAction": "Audit"}, {"failureAction": "Enforce"}, {}]},
                {"name": "three", "mutate": {}},
                {"name": "four", "generate": {}},
                {"name": "five", "somethingNew": {}},
            ],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "validatingadmissionpolicy": {"generated": false}},
    });
    let policy = read_policy(kind("kyverno.io", "ClusterPolicy"), &object).unwrap();
    assert_eq!((policy.source, policy.severity, policy.category.as_deref()), ("kyverno", Some(Severity::High), Some("Best Practices")));
    assert_eq!((policy.action, policy.admission, policy.background, policy.emit_warning), (Action::Enforce, true, false, true));
    assert_eq!((policy.ready, policy.native, policy.cel.is_none()), (Readiness::Ready, false, true));
    assert_eq!(policy.managed_by.as_ref().map(|keeper| keeper.reference.as_str()), Some("kyverno/kyverno-policies"));
    let rules: Vec<_> = policy.rules.iter().map(|rule| (rule.name.as_str(), rule.rule_type, rule.action, rule.overrides.len())).collect();
    assert_eq!(
        rules,
        [
            ("one", RuleType::Validate, Some(Action::Audit), 1),
            ("two", RuleType::VerifyImages, Some(Action::Enforce), 0),
            ("three", RuleType::Mutate, None, 0),
            ("four", RuleType::Generate, None, 0),
            ("five", RuleType::Validate, None, 0),
        ]
    );
    let [entry] = policy.overrides.as_slice() else { panic!("one override") };
    assert_eq!(
        (entry.action, entry.namespaces.as_slice(), entry.selector.is_some()),
        (Action::Audit, ["dev-*".to_owned()].as_slice(), true)
    );
}

#[test]
fn a_misspelt_severity_counts_as_none() {
    let read = |severity: &str| {
        let object = json!({"metadata": {"name": "p", "annotations": {"policies.kyverno.io/severity": severity}}});
        read_policy(kind("kyverno.io", "ClusterPolicy"), &object).unwrap().severity
    };
    assert_eq!((read("critical"), read("crit"), read("High"), read("")), (Some(Severity::Critical), None, None, None));
}

#[test]
fn sources_of_cel_kinds() {
    let source = |name: &str| read_policy(kind("policies.kyverno.io", name), &json!({"metadata": {"name": "p"}})).unwrap().source;
    assert_eq!(source("ValidatingPolicy"), "KyvernoValidatingPolicy");
    assert_eq!(source("NamespacedValidatingPolicy"), "KyvernoValidatingPolicy");
    assert_eq!(source("NamespacedImageValidatingPolicy"), "KyvernoImageValidatingPolicy");
    assert_eq!(source("MutatingPolicy"), "KyvernoMutatingPolicy");
    assert_eq!(source("NamespacedGeneratingPolicy"), "KyvernoGeneratingPolicy");
    assert_eq!(source("DeletingPolicy"), "");
}

#[test]
fn an_exception_of_kyverno_io() {
    let object = json!({
        "metadata": {"name": "e", "namespace": "team", "creationTimestamp": "2026-08-21T10:00:00Z"},
        "spec": {"expiresAt": "2027-01-01T00:00:00Z", "exceptions": [
            {"policyName": "require-labels", "ruleNames": ["check-*", "autogen-check-*"]}, {"policyName": "team/own"}, {"ruleNames": ["x"]},
        ]},
    });
    let exception = read_exception(kind("kyverno.io", "PolicyException"), &object).unwrap();
    let check = vec!["check-*".to_owned(), "autogen-check-*".to_owned()];
    assert_eq!(exception.policies, [("require-labels".to_owned(), check), ("team/own".to_owned(), vec![])]);
    assert_eq!((exception.group.as_str(), exception.namespace.as_str(), exception.name.as_str()), ("kyverno.io", "team", "e"));
    assert_eq!(exception.expires_at, None, "that group has no such field");
    assert!(exception.created_at.is_some());
}

#[test]
fn an_exception_of_policies_kyverno_io() {
    let object = json!({
        "metadata": {"name": "e", "namespace": "team"},
        "spec": {"expiresAt": "2027-01-01T00:00:00Z", "policyRefs": [
            {"name": "a", "kind": "ValidatingPolicy"}, {"name": "b", "kind": "NamespacedValidatingPolicy"}, {"kind": "ValidatingPolicy"},
        ]},
    });
    let exception = read_exception(kind("policies.kyverno.io", "PolicyException"), &object).unwrap();
    assert_eq!(exception.policies, [("a".to_owned(), vec![]), ("*/b".to_owned(), vec![])]);
    assert_eq!(exception.expires_at, "2027-01-01T00:00:00Z".parse().ok());
}

#[test]
fn what_an_exception_excuses_is_compared_without_expiry_and_defaults() {
    let content = |spec: serde_json::Value| {
        let object = json!({"metadata": {"name": "e", "namespace": "team"}, "spec": spec});
        read_exception(kind("policies.kyverno.io", "PolicyException"), &object).unwrap().content
    };
    let refs = json!([{"name": "a", "kind": "ValidatingPolicy"}]);
    let plain = content(json!({"policyRefs": refs}));
    assert_eq!(content(json!({"policyRefs": refs, "expiresAt": "2027-01-01T00:00:00Z", "reportResult": "skip", "images": null})), plain);
    let narrow = json!({"policyRefs": refs, "matchConditions": [{"name": "own", "expression": "object.metadata.name == 'x'"}]});
    assert_ne!(content(narrow), plain);
}

#[test]
fn a_namespace_carries_its_own_name_as_a_label() {
    let namespace = Namespace::read(&json!({"metadata": {"name": "dev", "labels": {"env": "test", "n": 1}}})).unwrap();
    assert_eq!(namespace.labels.get("kubernetes.io/metadata.name").map(String::as_str), Some("dev"));
    assert_eq!(namespace.labels.len(), 2);
    assert!(Namespace::read(&json!({"metadata": {}})).is_err());
    assert!(Namespace::cluster_scoped().is_cluster_scoped() && !namespace.is_cluster_scoped());
}

#[test]
fn a_policy_from_a_file_without_namespace_has_none() {
    let object = json!({"metadata": {"name": "p"}, "spec": {"rules": [{"validate": {}}]}, "status": {"ready": true}});
    let policy = read_policy(kind("kyverno.io", "Policy"), &object).unwrap();
    assert_eq!(policy.id.namespace, None);
    assert_eq!(mode::policy_mode(&policy, &mode::Kyverno::new(Release::exactly(19))), Mode::Audit);
}
