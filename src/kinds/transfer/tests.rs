use super::*;
use crate::domain::{Mode, Revision};
use crate::kinds::edit::Edit;
use crate::kinds::{Family, KindId};
use crate::testing::documents;
use serde_json::json;

fn kind(group: &str, name: &str) -> &'static Kind {
    KindId::find(group, name).unwrap().kind()
}

fn cluster_policy() -> &'static Kind {
    kind("kyverno.io", "ClusterPolicy")
}

fn source() -> Value {
    json!({
        "apiVersion": "kyverno.io/v2beta1",
        "kind": "ClusterPolicy",
        "metadata": {
            "name": "p", "uid": "u", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-08-21T10:00:00Z",
            "managedFields": [{"manager": "helm"}], "finalizers": ["x/y"], "selfLink": "/x",
            "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": "policies", "helm.sh/chart": "c-1", "team": "a"},
            "annotations": {
                "meta.helm.sh/release-name": "policies", "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "policies.kyverno.io/severity": "high", "policydeck.dev/hold": "not in dev", "argocd.argoproj.io/tracking-id": "a:b:c",
            },
        },
        "spec": {"rules": []},
        "status": {"ready": true},
    })
}

#[test]
fn only_content_travels() {
    let transfer = manifest_for(cluster_policy(), &source(), None, &["v1", "v2beta1"]).unwrap();
    assert_eq!(
        transfer.object,
        json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", "labels": {"app.kubernetes.io/part-of": "policies", "team": "a"}, "annotations": {"policies.kyverno.io/severity": "high"}},
            "spec": {"rules": []},
        })
    );
    assert_eq!(
        transfer.left_behind,
        [
            "app.kubernetes.io/managed-by",
            "helm.sh/chart (Helm)",
            "argocd.argoproj.io/tracking-id (Argo CD)",
            "meta.helm.sh/release-name (Helm)",
            "policydeck.dev/hold",
        ]
    );
    assert_eq!(transfer.version, Some(("kyverno.io/v2beta1".to_owned(), "kyverno.io/v1".to_owned())));
    assert!(transfer.kept.is_empty());
}

#[test]
fn the_targets_own_stays() {
    let existing = json!({"metadata": {
        "name": "p", "resourceVersion": "9",
        "labels": {"kustomize.toolkit.fluxcd.io/name": "k", "team": "b", "zone": "eu"},
        "annotations": {"policydeck.dev/hold": "wait", "policies.kyverno.io/category": "old", "pod-policies.kyverno.io/autogen-controllers": "none"},
    }});
    let transfer = manifest_for(cluster_policy(), &source(), Some(&existing), &["v1"]).unwrap();
    assert_eq!(
        transfer.object["metadata"],
        json!({
            "name": "p",
            "labels": {"app.kubernetes.io/part-of": "policies", "kustomize.toolkit.fluxcd.io/name": "k", "team": "a", "zone": "eu"},
            "annotations": {"policies.kyverno.io/severity": "high", "policydeck.dev/hold": "wait"},
        })
    );
    assert_eq!(transfer.kept, ["kustomize.toolkit.fluxcd.io/name (Flux)", "zone", "policydeck.dev/hold"]);
}

#[test]
fn back_to_its_own_cluster_with_its_own_marks() {
    let transfer = manifest_for(cluster_policy(), &source(), Some(&source()), &["v1"]).unwrap();
    assert_eq!(transfer.object["metadata"]["annotations"]["meta.helm.sh/release-name"], json!("policies"));
    assert_eq!(transfer.object["metadata"].get("resourceVersion"), None);
    assert!(transfer.left_behind.is_empty());
}

#[test]
fn what_cannot_travel() {
    let refused = |change: &dyn Fn(&mut Value), served: &[&str]| {
        let mut object = source();
        change(&mut object);
        manifest_for(cluster_policy(), &object, None, served).unwrap_err()
    };
    let owned = refused(&|object| object["metadata"]["ownerReferences"] = json!([{"kind": "ClusterPolicy", "name": "parent"}]), &["v1"]);
    assert!(owned.word() == "owned" && owned.to_string().starts_with("ClusterPolicy/parent owns it"), "{owned}");
    let generated = refused(
        &|object| {
            object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "parent"});
        },
        &["v1"],
    );
    assert!(generated.word() == "generated" && generated.to_string().contains("parent"), "{generated}");
    let nowhere = refused(&|_| {}, &[]);
    assert!(nowhere.word() == "not-served" && nowhere.to_string().contains("does not serve ClusterPolicy (kyverno.io)"), "{nowhere}");
    assert!(refused(&|_| {}, &["v3"]).to_string().contains("only as v3"));
    assert_eq!(refused(&|object| object["metadata"]["name"] = json!(""), &["v1"]), CannotTransfer::Unnamed);
}

#[test]
fn stamps_are_clean_and_bounded() {
    let mut object = json!({"metadata": {"name": "p", "annotations": {"policydeck.dev/ticket": "OLD", "policydeck.dev/by": "sam"}}});
    let facts = Stamp {
        from: Some("staging@91c2e0".to_owned()),
        by: "jane\n\u{1b}[31m".to_owned(),
        at: "2026-11-25T10:00:00.5Z".parse().unwrap(),
        state: Some(StampState { revision: Revision("91c2e0aa11bb".into()), mode: Mode::Enforce, generation: 7 }),
        ticket: None,
        plan: Some("x".repeat(1_000)),
    };
    stamp(&mut object, &facts).unwrap();
    let annotations = object["metadata"]["annotations"].as_object().unwrap().clone();
    assert_eq!(annotations["policydeck.dev/promoted-from"], json!("staging@91c2e0"));
    assert_eq!(annotations["policydeck.dev/by"], json!("jane \u{fffd}[31m"));
    assert_eq!(annotations["policydeck.dev/at"], json!("2026-11-25T10:00:00Z"));
    assert_eq!(annotations["policydeck.dev/state"], json!("91c2e0aa11bb enforce 7"));
    assert_eq!(annotations["policydeck.dev/plan"].as_str().unwrap().len(), 256);
    assert!(!annotations.contains_key("policydeck.dev/ticket"));
    assert!(stamp(&mut json!({"metadata": "text"}), &facts).is_err());
    let before = json!({"metadata": {"name": "p"}});
    let mut edit = Edit::of(&before);
    stamp_edit(&mut edit, &facts).unwrap();
    assert_eq!(edit.finish().1["metadata"]["annotations"].as_object().unwrap().len(), 5);
}

#[test]
fn fields_by_schema() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "anything": {"x-kubernetes-preserve-unknown-fields": true},
            "some": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"strict": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "free": {"type": "object", "additionalProperties": true},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "referred": {"allOf": [{"$ref": "#/components/schemas/one"}], "default": {}},
        }},
    }});
    let document = json!({"components": {"schemas": {"one": {"type": "object", "properties": {"a": {"type": "string"}}}}}});
    let found = |spec: &Value| {
        unknown_fields(&json!({"apiVersion": "x", "metadata": {"odd": 1}, "status": {"odd": 1}, "spec": spec}), &schema, &document)
    };
    for known in [
        json!({"known": "x", "anything": {"a": [{"b": 1}]}, "some": {"b": {"c": 1}}, "free": {"a": {"b": 1}}, "port": 8080}),
        json!({"labels": {"x": {"a": "1"}}, "list": [{"a": "1"}, null], "template": {"metadata": {"name": "x"}, "kind": "Pod"}, "referred": {"a": "1"}}),
        json!(null),
        json!("text"),
    ] {
        assert_eq!(found(&known), Vec::<String>::new(), "{known}");
    }
    assert_eq!(
        found(&json!({
            "new": 1, "some": {"strict": {"b": 1}}, "labels": {"x": {"b": "1"}}, "list": [{}, {"b": {"c": 1}}],
            "template": {"spec": {"x": 1}, "data": {}}, "referred": {"b": 1},
        })),
        [
            "spec.labels.x.b",
            "spec.list[1].b",
            "spec.new",
            "spec.referred.b",
            "spec.some.strict.b",
            "spec.template.data",
            "spec.template.spec.x",
        ]
    );
    assert_eq!(unknown_fields(&json!({"spec": {}, "extra": 1}), &schema, &document), ["extra"]);
}

#[test]
fn an_openapi_document_is_searched_by_group_version_and_kind() {
    let name = json!([{"group": "kyverno.io", "kind": "ClusterPolicy", "version": "v1"}]);
    let document =
        json!({"components": {"schemas": {"x": {"type": "object"}, "y": {"x-kubernetes-group-version-kind": name, "type": "object"}}}});
    assert_eq!(schema_of(&document, cluster_policy(), "v1"), document.pointer("/components/schemas/y"));
    assert_eq!(schema_of(&document, cluster_policy(), "v2"), None);
}

/// The CRDs of one release, by kind.
fn crds(release: &str) -> Vec<Value> {
    documents(&format!("crds/kyverno-{release}")).into_iter().map(|(_, crd)| crd).collect()
}

fn crd<'a>(crds: &'a [Value], kind: &Kind) -> Option<&'a Value> {
    let is =
        |crd: &&Value| crd.pointer("/spec/group") == Some(&json!(kind.group)) && crd.pointer("/spec/names/kind") == Some(&json!(kind.kind));
    crds.iter().find(is)
}

#[test]
fn published_policies_against_published_crds() {
    let fixtures: Vec<_> =
        documents("fixtures").into_iter().filter_map(|(name, object)| Some((name, KindId::of_object(&object)?.kind(), object))).collect();
    for (release, expected) in [
        (
            "1.12.7",
            [
                ("clusterpolicy-mixed-actions", "spec.rules[0].validate.failureAction, spec.rules[1].validate.failureAction"),
                ("clusterpolicy-selector-override", "spec.rules[0].validate.failureAction, spec.rules[0].validate.failureActionOverrides"),
                (
                    "clusterpolicy-verify-images",
                    "spec.rules[0].verifyImages[0].attestors[0].entries[0].keys.ctlog.tsaCertChain, spec.rules[0].verifyImages[0].failureAction",
                ),
                ("policy-admission-false-enforce", "spec.rules[0].validate.failureAction"),
            ]
            .as_slice(),
        ),
        ("1.15.3", &[("policyexception-cel", "spec.images")]),
        ("1.19.0", &[]),
    ] {
        let crds = crds(release);
        let mut found = Vec::new();
        for (name, kind, object) in fixtures.iter().filter(|(_, kind, _)| matches!(kind.family, Family::Policy | Family::Exception)) {
            let Some(crd) = crd(&crds, kind) else { continue };
            let served: Vec<&str> = crd
                .pointer("/spec/versions")
                .unwrap()
                .as_array()
                .unwrap()
                .iter()
                .map(|version| version["name"].as_str().unwrap())
                .collect();
            let version = kind.preferred(&served).unwrap();
            let unknown = unknown_fields(object, schema_of(crd, kind, version).unwrap(), crd);
            if !unknown.is_empty() {
                found.push((name.clone(), unknown.join(", ")));
            }
        }
        let found: Vec<_> = found.iter().map(|(name, unknown)| (name.as_str(), unknown.as_str())).collect();
        if !crds.is_empty() && !fixtures.is_empty() {
            assert_eq!(found, expected, "{release}");
        }
    }
}
