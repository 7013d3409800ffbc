//! Readers, revisions and modes against real manifests and the CRDs as published.
//!
//! The data lies in a folder `shared` beside the repository. Where there is none, these tests say so and pass; what they hold is held by
//! the unit tests on hand-written manifests, too.

#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::panic, reason = "helpers of tests")]

use policydeck::domain::{Action, Mode, Policy, RuleType, Severity};
use policydeck::kinds::mode::{Kyverno, mode_in, overrides_in_words, policy_mode, rule_mode};
use policydeck::kinds::revision::revision;
use policydeck::kinds::{Family, KindId, Namespace, Release, read_exception, read_policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RELEASES: [&str; 3] = ["kyverno-1.12.7", "kyverno-1.15.3", "kyverno-1.19.0"];

/// A folder of shared data, or `None` with a word about it.
fn shared(folder: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("shared").join(folder)).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("left out: there is no shared/{folder} beside this repository");
    }
    found
}

/// All documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    // Roomy: a CRD of ClusterPolicy has tens of thousands of nodes.
    let options = serde_saphyr::options! { budget: None };
    serde_saphyr::from_multiple_with_options(&text, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixtures of one family, by file name without extension.
fn fixtures(family: Family) -> BTreeMap<String, (KindId, Value)> {
    let Some(folder) = shared("fixtures") else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        for (position, document) in documents(&file).into_iter().enumerate() {
            let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
            let name = if position == 0 { stem } else { format!("{stem}-{position}") };
            if let Some(id) = KindId::of_object(&document).filter(|id| id.kind().family == family) {
                found.insert(name, (id, document));
            }
        }
    }
    found
}

/// Reads a fixture as if its cluster had it in force: fixtures have no status.
fn in_force(id: KindId, object: &Value) -> Policy {
    let mut object = object.clone();
    object["status"] = json!({
        "conditions": [{"type": "Ready", "status": "True"}],
        "conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]},
    });
    read_policy(id.kind(), &object).unwrap()
}

fn on(minor: u16) -> Kyverno {
    Kyverno::new(Release::exactly(minor))
}

#[test]
fn policies_read_right() {
    let fixtures = fixtures(Family::Policy);
    // Kind, number of rules, type of the first, spec's action, and the mode on 1.12 and 1.19.
    let expected = [
        ("clustercleanuppolicy", "ClusterCleanupPolicy", 1, RuleType::Delete, Action::Audit, Mode::Off, Mode::Off),
        ("clusterpolicy-check-deprecated-apis", "ClusterPolicy", 5, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Audit),
        ("clusterpolicy-disallow-capabilities", "ClusterPolicy", 1, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Audit),
        (
            "clusterpolicy-ensure-production-matches-staging",
            "ClusterPolicy",
            3,
            RuleType::Validate,
            Action::Enforce,
            Mode::Enforce,
            Mode::Enforce,
        ),
        ("clusterpolicy-generate-add-network-policy", "ClusterPolicy", 1, RuleType::Generate, Action::Audit, Mode::Off, Mode::Off),
        ("clusterpolicy-lowercase-enforce", "ClusterPolicy", 1, RuleType::Validate, Action::Enforce, Mode::Enforce, Mode::Enforce),
        ("clusterpolicy-mixed-actions", "ClusterPolicy", 2, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Mixed),
        ("clusterpolicy-policy-for-exceptions", "ClusterPolicy", 6, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Audit),
        ("clusterpolicy-require-run-as-nonroot", "ClusterPolicy", 1, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Audit),
        ("clusterpolicy-selector-override", "ClusterPolicy", 1, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Mixed),
        ("clusterpolicy-verify-images", "ClusterPolicy", 1, RuleType::VerifyImages, Action::Audit, Mode::Warn, Mode::Enforce),
        ("imagevalidatingpolicy", "ImageValidatingPolicy", 1, RuleType::VerifyImages, Action::Enforce, Mode::Enforce, Mode::Enforce),
        ("mutatingpolicy-add-capabilities", "MutatingPolicy", 1, RuleType::Mutate, Action::Audit, Mode::Off, Mode::Off),
        ("namespacedvalidatingpolicy-audit", "NamespacedValidatingPolicy", 1, RuleType::Validate, Action::Audit, Mode::Audit, Mode::Audit),
        ("policy-admission-false-enforce", "Policy", 1, RuleType::Validate, Action::Audit, Mode::Off, Mode::Off),
        ("validatingpolicy-audit-warn", "ValidatingPolicy", 1, RuleType::Validate, Action::Audit, Mode::Warn, Mode::Warn),
        (
            "validatingpolicy-check-deprecated-apis",
            "ValidatingPolicy",
            1,
            RuleType::Validate,
            Action::Enforce,
            Mode::Enforce,
            Mode::Enforce,
        ),
        ("validatingpolicy-json-mode", "ValidatingPolicy", 1, RuleType::Validate, Action::Enforce, Mode::Off, Mode::Off),
    ];
    if fixtures.is_empty() {
        return;
    }
    assert_eq!(fixtures.keys().map(String::as_str).collect::<Vec<_>>(), expected.map(|row| row.0));
    for (name, kind, rules, first, action, old, new) in expected {
        let (id, object) = &fixtures[name];
        let policy = in_force(*id, object);
        let found = (policy.id.kind.as_str(), policy.rules.len(), policy.rules[0].rule_type, policy.action);
        assert_eq!(found, (kind, rules, first, action), "{name}");
        assert_eq!((policy_mode(&policy, &on(12)), policy_mode(&policy, &on(19))), (old, new), "{name}");
        let without_status = read_policy(id.kind(), object).unwrap();
        let expected = if new == Mode::Off { Mode::Off } else { Mode::NotReady };
        assert_eq!(policy_mode(&without_status, &on(19)), expected, "{name} without status");
    }
}

#[test]
fn details_of_single_fixtures() {
    let fixtures = fixtures(Family::Policy);
    if fixtures.is_empty() {
        return;
    }
    let policy = |name: &str| {
        let (id, object) = &fixtures[name];
        in_force(*id, object)
    };
    let capabilities = policy("clusterpolicy-disallow-capabilities");
    assert_eq!(
        (capabilities.severity, capabilities.category.as_deref()),
        (Some(Severity::Medium), Some("Pod Security Standards (Baseline)"))
    );
    assert_eq!(capabilities.rules[0].name, "adding-capabilities");
    assert!(!policy("clusterpolicy-policy-for-exceptions").background && !policy("validatingpolicy-audit-warn").background);
    assert!(!policy("policy-admission-false-enforce").admission);
    assert_eq!(policy("namespacedvalidatingpolicy-audit").id.report_name(), "test-namespace/check-deployment-labels");
    let mixed = policy("clusterpolicy-mixed-actions");
    let modes: Vec<_> = mixed.rules.iter().map(|rule| rule_mode(&mixed, rule, &on(19), None)).collect();
    assert_eq!(modes, [Mode::Enforce, Mode::Audit]);
    let selector = policy("clusterpolicy-selector-override");
    assert_eq!(overrides_in_words(&selector.rules[0], &selector), ["audit where kyverno-audit=true"]);
    let labelled = Namespace::new("dev", BTreeMap::from([("kyverno-audit".to_owned(), "true".to_owned())]));
    assert_eq!(mode_in(&selector, &on(19), &labelled), Mode::Audit);
    assert_eq!(mode_in(&selector, &on(19), &Namespace::new("dev", BTreeMap::new())), Mode::Enforce);
}

#[test]
fn exceptions_read_right() {
    let fixtures = fixtures(Family::Exception);
    if fixtures.is_empty() {
        return;
    }
    let read = |name: &str| {
        let (id, object) = &fixtures[name];
        read_exception(id.kind(), object).unwrap()
    };
    let baseline = vec![("psp-baseline".to_owned(), vec!["baseline".to_owned()])];
    assert_eq!(read("policyexception-podsecurity").policies, baseline);
    assert_eq!(
        (read("policyexception-podsecurity-1").name.as_str(), read("policyexception-podsecurity-1").policies),
        ("init2-exception-baseline", baseline)
    );
    let patterns = vec!["another-rule".to_owned(), "require-*".to_owned()];
    assert_eq!(read("policyexception-wildcard").policies, [("require-labels".to_owned(), patterns)]);
    let cel = read("policyexception-cel");
    assert_eq!((cel.group.as_str(), cel.policies), ("policies.kyverno.io", vec![("exclude-images-multiple-cel".to_owned(), vec![])]));
    assert_eq!(fixtures.len(), 4);
}

/// The CRDs of a release, by group and kind.
fn crds(release: &str) -> BTreeMap<(String, String), Value> {
    let Some(folder) = shared("crds") else { return BTreeMap::new() };
    let files = std::fs::read_dir(folder.join(release)).unwrap().map(|entry| entry.unwrap().path());
    let crds = files.flat_map(|file| documents(&file));
    let key = |crd: &Value| (crd["spec"]["group"].as_str().unwrap().to_owned(), crd["spec"]["names"]["kind"].as_str().unwrap().to_owned());
    crds.map(|crd| (key(&crd), crd)).collect()
}

/// Fills in defaults as an API server does (structural defaulting): where a member is missing, or null without being allowed to.
fn fill_in(schema: &Value, value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let missing = members.get(name).is_none_or(|value| value.is_null() && schema["nullable"] != true);
            if missing && let Some(default) = schema.get("default") {
                members.insert(name.clone(), default.clone());
            }
            if let Some(member) = members.get_mut(name) {
                fill_in(schema, member);
            }
        }
    }
    for element in value.as_array_mut().into_iter().flatten() {
        fill_in(&schema["items"], element);
    }
}

#[test]
fn what_crds_fill_in_changes_no_revision() {
    let fixtures = fixtures(Family::Policy);
    let mut compared = 0;
    for release in RELEASES.iter().filter(|_| !fixtures.is_empty()) {
        let crds = crds(release);
        for (name, (id, object)) in &fixtures {
            let kind = id.kind();
            let Some(crd) = crds.get(&(kind.group.to_owned(), kind.kind.to_owned())) else { continue };
            for version in crd["spec"]["versions"].as_array().unwrap() {
                let mut served = object.clone();
                fill_in(&version["schema"]["openAPIV3Schema"], &mut served);
                assert_eq!(revision(kind, &served), revision(kind, object), "{name} as {release} {} serves it", version["name"]);
                compared += usize::from(served != *object);
            }
        }
    }
    assert!(fixtures.is_empty() || compared > 30, "defaults were filled in {compared} times");
}

#[test]
fn the_registry_names_what_the_crds_name() {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    for release in RELEASES.into_iter().chain(["openreports"]) {
        for ((group, kind), crd) in crds(release) {
            let Some(known) = KindId::find(&group, &kind).map(KindId::kind) else { continue };
            assert_eq!(
                (known.plural, scope(known.namespaced)),
                (crd["spec"]["names"]["plural"].as_str().unwrap(), crd["spec"]["scope"].as_str().unwrap())
            );
            let versions = crd["spec"]["versions"].as_array().unwrap().iter().filter(|version| version["served"] == true);
            let served: Vec<_> = versions.map(|version| version["name"].as_str().unwrap()).collect();
            assert!(known.preferred(&served).is_some(), "{release} serves {kind} as {served:?}");
        }
    }
    let newest = crds("kyverno-1.19.0");
    for kind in KindId::all().map(KindId::kind).filter(|kind| !newest.is_empty() && kind.group.ends_with("kyverno.io")) {
        assert!(newest.contains_key(&(kind.group.to_owned(), kind.kind.to_owned())), "{}", kind.kind);
    }
}
