//! The table of modes: one policy, one place, and the outcome in each era of Kyverno.
//!
//! The column for 1.19 is what a running 1.19.1 did, wherever that could be tried; the others follow from the code of those releases.

use super::*;
use crate::kinds::{KindId, Release, read_policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One release of each era.
const RELEASES: [u16; 5] = [12, 15, 17, 18, 19];

fn read(group: &str, kind: &str, spec: &Value, status: &Value) -> Policy {
    let kind = KindId::find(group, kind).unwrap().kind();
    let object = json!({"metadata": {"name": "p", "namespace": "team-a"}, "spec": spec, "status": status});
    read_policy(kind, &object).unwrap()
}

/// A ClusterPolicy that is ready.
fn cpol(spec: &Value) -> Policy {
    read("kyverno.io", "ClusterPolicy", spec, &json!({"conditions": [{"type": "Ready", "status": "True"}]}))
}

/// A CEL policy whose webhook is configured.
fn cel(kind: &str, spec: &Value) -> Policy {
    read("policies.kyverno.io", kind, spec, &json!({"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}))
}

/// A validate rule without an action of its own.
fn plain() -> Value {
    json!({"name": "r", "validate": {"deny": {}}})
}

/// A validate rule with an action of its own.
fn acting(action: &str) -> Value {
    json!({"name": "r", "validate": {"failureAction": action, "deny": {}}})
}

/// A validate rule with an action and overrides of its own.
fn overridden(action: &str, overrides: &Value) -> Value {
    json!({"name": "r", "validate": {"failureAction": action, "failureActionOverrides": overrides, "deny": {}}})
}

/// An image rule with these actions of its entries.
fn images(actions: &[&str]) -> Value {
    let entries: Vec<_> = actions.iter().map(|action| json!({"imageReferences": ["*"], "failureAction": action})).collect();
    json!({"name": "i", "verifyImages": entries})
}

/// An image rule without an action of its own.
fn plain_images() -> Value {
    json!({"name": "i", "verifyImages": [{"imageReferences": ["*"]}]})
}

fn dev() -> Namespace {
    Namespace::new("dev", BTreeMap::from([("tier".to_owned(), "test".to_owned())]))
}

fn prod() -> Namespace {
    Namespace::new("prod-eu", BTreeMap::from([("tier".to_owned(), "prod-eu".to_owned()), ("env".to_owned(), "prod".to_owned())]))
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::Audit => 'A',
        Mode::Enforce => 'E',
        Mode::Mixed => 'M',
        Mode::Warn => 'W',
        Mode::Off => 'o',
        Mode::NotReady => 'n',
        Mode::Absent => 'x',
        Mode::Unknown => '?',
    }
}

/// The outcomes in each era, as a word of five letters.
fn outcomes(mode: impl Fn(&Kyverno) -> Mode) -> String {
    RELEASES.map(|minor| letter(mode(&Kyverno::new(Release::exactly(minor))))).iter().collect()
}

/// Checks a policy in `dev`, in `prod-eu`, for cluster-scoped resources, and as a summary.
fn check(what: &str, policy: &Policy, expected: [&str; 4]) {
    let found = [
        outcomes(|kyverno| mode_in(policy, kyverno, &dev())),
        outcomes(|kyverno| mode_in(policy, kyverno, &prod())),
        outcomes(|kyverno| mode_in(policy, kyverno, &Namespace::cluster_scoped())),
        outcomes(|kyverno| policy_mode(policy, kyverno)),
    ];
    let wide = |short: &str| if short.len() == 1 { short.repeat(5) } else { short.to_owned() };
    assert_eq!(found, expected.map(wide), "{what}: dev, prod-eu, cluster-scoped, summary; each ≤1.12 1.13 1.16 1.18 1.19");
}

#[test]
fn base_actions() {
    let spec = |action: &str| json!({"validationFailureAction": action, "rules": [plain()]});
    check("spec audits", &cpol(&spec("Audit")), ["A", "A", "A", "A"]);
    check("spec enforces", &cpol(&spec("Enforce")), ["E", "E", "E", "E"]);
    check("old spelling enforces", &cpol(&spec("enforce")), ["E", "E", "E", "E"]);
    check("old spelling audits", &cpol(&spec("audit")), ["A", "A", "A", "A"]);
    check("other spellings audit", &cpol(&spec("ENFORCE")), ["A", "A", "A", "A"]);
    check("nothing said", &cpol(&json!({"rules": [plain()]})), ["A", "A", "A", "A"]);
    check(
        "background only in name",
        &cpol(&json!({"background": false, "validationFailureAction": "Enforce", "rules": [plain()]})),
        ["E"; 4],
    );
    check(
        "failures ignored",
        &cpol(&json!({"failurePolicy": "Ignore", "validationFailureAction": "Enforce", "rules": [plain()]})),
        ["E"; 4],
    );
}

#[test]
fn actions_of_rules() {
    let spec = |action: &str, rules: &Value| cpol(&json!({"validationFailureAction": action, "rules": rules}));
    // Up to 1.12 the fields of rules do not exist.
    let enforced = ["AEEEE"; 4];
    check("the rule beats the spec: enforce", &spec("Audit", &json!([acting("Enforce")])), enforced);
    check("the rule beats the spec: audit", &spec("Enforce", &json!([acting("Audit")])), ["EAAAA"; 4]);
    check("one of each", &spec("Audit", &json!([acting("Enforce"), acting("Audit")])), ["AMMMM"; 4]);
    check("enforce and the spec's audit", &spec("Audit", &json!([acting("Enforce"), plain()])), ["AMMMM"; 4]);
    check("audit and the spec's enforce", &spec("Enforce", &json!([acting("Audit"), plain()])), ["EMMMM"; 4]);
    let mutate = json!({"name": "m", "mutate": {"patchStrategicMerge": {}}});
    check("a mutate rule does not count", &spec("Audit", &json!([mutate, acting("Enforce")])), enforced);
}

#[test]
fn overrides_of_the_spec() {
    let spec = |action: &str, overrides: &Value| {
        cpol(&json!({"validationFailureAction": action, "validationFailureActionOverrides": overrides, "rules": [plain()]}))
    };
    let audit_in = |namespaces: &[&str]| json!([{"action": "Audit", "namespaces": namespaces}]);
    let enforce_in = |namespaces: &[&str]| json!([{"action": "Enforce", "namespaces": namespaces}]);
    // Up to 1.12 a policy with overrides stays in the refusing bucket where none matches: an audited violation warns.
    check("enforce in prod", &spec("Audit", &enforce_in(&["prod-*"])), ["WAAAA", "E", "A", "M"]);
    check("enforce in prod, by question mark", &spec("Audit", &enforce_in(&["prod-??"])), ["WAAAA", "E", "A", "M"]);
    check("a question mark is one character", &spec("Audit", &enforce_in(&["prod-?"])), ["WAAAA", "WAAAA", "A", "M"]);
    check("audit in dev", &spec("Enforce", &audit_in(&["dev"])), ["A", "E", "E", "M"]);
    check("audit in dev, old spelling", &spec("enforce", &json!([{"action": "audit", "namespaces": ["dev"]}])), ["A", "E", "E", "M"]);
    // A star names the empty namespace of cluster-scoped resources to the engine and to the old cache, not to the cache since 1.13.
    check("audit everywhere by a star", &spec("Enforce", &audit_in(&["*"])), ["A", "A", "AWWWW", "M"]);
    check("enforce everywhere by a star", &spec("Audit", &enforce_in(&["*"])), ["E", "E", "A", "M"]);
    check("an override that repeats the base", &spec("Enforce", &enforce_in(&["dev"])), ["E", "E", "E", "E"]);
    let both_ways = json!([{"action": "Enforce", "namespaces": ["prod-eu"]}, {"action": "Audit", "namespaces": ["prod-*"]}]);
    // Later entries with another action count in the old cache, too.
    check("the first one wins", &spec("Audit", &both_ways), ["WAAAA", "AEEEE", "A", "M"]);
    let other_way = json!([{"action": "Audit", "namespaces": ["prod-*"]}, {"action": "Enforce", "namespaces": ["prod-eu"]}]);
    check("the first one wins, the other way", &spec("Enforce", &other_way), ["E", "A", "E", "M"]);
    check("empty overrides", &spec("Enforce", &json!([])), ["E", "E", "E", "E"]);
}

#[test]
fn overrides_of_rules() {
    let rule = |action: &str, overrides: &Value| cpol(&json!({"rules": [overridden(action, overrides)]}));
    let one = |action: &str, namespaces: &[&str]| json!([{"action": action, "namespaces": namespaces}]);
    check("enforce in prod", &rule("Audit", &one("Enforce", &["prod-*"])), ["A", "AEEEE", "A", "AMMMM"]);
    check("audit in dev", &rule("Enforce", &one("Audit", &["dev"])), ["A", "AEEEE", "AEEEE", "AMMMM"]);
    let spec_too = cpol(&json!({
        "validationFailureAction": "Audit",
        "validationFailureActionOverrides": one("Enforce", &["dev"]),
        "rules": [overridden("Audit", &one("Enforce", &["prod-*"]))],
    }));
    check("those of the rule replace those of the spec", &spec_too, ["EAAAA", "WEEEE", "A", "M"]);
}

#[test]
fn overrides_of_the_spec_against_actions_of_rules() {
    let spec = |override_action: &str, rule: &Value| {
        cpol(&json!({"validationFailureActionOverrides": [{"action": override_action, "namespaces": ["prod-*"]}], "rules": [rule]}))
    };
    // The cache lets the override win, the engine the rule: nobody is refused, but warned.
    check("enforce does not beat the rule's audit", &spec("Enforce", &acting("Audit")), ["WAAAA", "EWWWW", "A", "MWWWW"]);
    check("audit beats the rule's enforce", &spec("Audit", &acting("Enforce")), ["AEEEE", "A", "AEEEE", "AMMMM"]);
}

#[test]
fn overrides_by_selector() {
    let selector = json!({"matchLabels": {"env": "prod"}});
    let rule = |action: &str, entry: &Value| cpol(&json!({"rules": [overridden(action, &json!([entry]))]}));
    let spec = |action: &str, entry: &Value| {
        cpol(&json!({"validationFailureAction": action, "validationFailureActionOverrides": [entry], "rules": [plain()]}))
    };
    let enforce = json!({"action": "Enforce", "namespaceSelector": selector});
    let audit = json!({"action": "Audit", "namespaceSelector": selector});
    // 1.13–1.15: the cache does not see selectors, so enforce never comes to pass, and audit comes with a warning.
    check("enforce where labelled", &rule("Audit", &enforce), ["A", "AAEEE", "A", "AAMMM"]);
    check("audit where labelled", &rule("Enforce", &audit), ["AEEEE", "AWAAA", "AEEEE", "AMMMM"]);
    check("the spec's enforce where labelled", &spec("Audit", &enforce), ["WAAAA", "EAEEE", "A", "MAMMM"]);
    check("the spec's audit where labelled", &spec("Enforce", &audit), ["E", "WWAAA", "E", "M"]);
    let expressions = |operator: &str, values: &[&str]| {
        let expression = json!({"key": "env", "operator": operator, "values": values});
        rule("Audit", &json!({"action": "Enforce", "namespaceSelector": {"matchExpressions": [expression]}}))
    };
    check("In", &expressions("In", &["prod", "live"]), ["A", "AAEEE", "A", "AAMMM"]);
    check("Exists", &expressions("Exists", &[]), ["A", "AAEEE", "A", "AAMMM"]);
    check("NotIn", &expressions("NotIn", &["prod"]), ["AAEEE", "A", "A", "AAMMM"]);
    check("DoesNotExist", &expressions("DoesNotExist", &[]), ["AAEEE", "A", "A", "AAMMM"]);
    // Wildcards: the engine takes them, to the cache the selector is invalid.
    let wild = json!({"matchLabels": {"tier": "prod-*"}});
    check("wild enforce", &rule("Audit", &json!({"action": "Enforce", "namespaceSelector": wild})), ["A", "A", "A", "A"]);
    check("wild audit", &rule("Enforce", &json!({"action": "Audit", "namespaceSelector": wild})), ["AEEEE", "AWWWW", "AEEEE", "AMMMM"]);
}

#[test]
fn overrides_by_both() {
    let rule = |action: &str, entry: &Value| cpol(&json!({"rules": [overridden(action, &json!([entry]))]}));
    let both = |action: &str, namespace: &str| json!({"action": action, "namespaces": [namespace], "namespaceSelector": {"matchLabels": {"env": "prod"}}});
    // Alternatives to the cache, both needed by the engine.
    check("enforce, both fit", &rule("Audit", &both("Enforce", "prod-*")), ["A", "AEEEE", "A", "AMMMM"]);
    check("enforce, half fits", &rule("Audit", &both("Enforce", "dev")), ["AWWWW", "AAWWW", "A", "AMMMM"]);
    check("audit, both fit", &rule("Enforce", &both("Audit", "prod-*")), ["AEEEE", "A", "AEEEE", "AMMMM"]);
    check("audit, half fits", &rule("Enforce", &both("Audit", "dev")), ["A", "AEAAA", "AEEEE", "AMMMM"]);
    let spec = cpol(
        &json!({"validationFailureAction": "Enforce", "validationFailureActionOverrides": [both("Audit", "dev")], "rules": [plain()]}),
    );
    check("the spec's audit, half fits", &spec, ["A", "EEAAA", "E", "M"]);
}

#[test]
fn overrides_that_name_nothing() {
    let rule = cpol(&json!({"rules": [overridden("Audit", &json!([{"action": "Enforce"}]))]}));
    check("ignored until 1.17, everywhere from 1.18", &rule, ["AAAEE"; 4]);
    let spec =
        cpol(&json!({"validationFailureAction": "Enforce", "validationFailureActionOverrides": [{"action": "Audit"}], "rules": [plain()]}));
    check("of the spec", &spec, ["EEEAA"; 4]);
}

#[test]
fn until_1_18_one_rule_speaks_for_others() {
    // The engine asks the first rule of the refusing bucket. It got there by the spec's override, and itself says audit.
    let policy = cpol(&json!({
        "validationFailureActionOverrides": [{"action": "Enforce", "namespaces": ["prod-*"]}],
        "rules": [acting("Audit"), acting("Enforce")],
    }));
    check("audit first", &policy, ["WMMMM", "EWWWM", "AMMMM", "M"]);
    let [first, second] = policy.rules.as_slice() else { panic!("two rules") };
    let of = |rule: &Rule, place: &Namespace| outcomes(|kyverno| rule_mode(&policy, rule, kyverno, Some(place)));
    assert_eq!((of(first, &prod()), of(second, &prod())), ("EWWWW".to_owned(), "EWWWE".to_owned()));
    assert_eq!((of(first, &dev()), of(second, &dev())), ("WAAAA".to_owned(), "WEEEE".to_owned()));
}

#[test]
fn image_rules() {
    let spec = |action: &str, rules: &Value| cpol(&json!({"validationFailureAction": action, "rules": rules}));
    check("the spec's audit warns", &spec("Audit", &json!([plain_images()])), ["W"; 4]);
    check("the spec's enforce", &spec("Enforce", &json!([plain_images()])), ["E"; 4]);
    check("enforce of its own", &spec("Audit", &json!([images(&["Enforce"])])), ["WEEEE"; 4]);
    check("audit of its own", &spec("Enforce", &json!([images(&["Audit"])])), ["EWWWW"; 4]);
    check("any entry enforces", &spec("Audit", &json!([images(&["Audit", "Enforce"])])), ["WEEEE"; 4]);
    let overridden = json!({
        "validationFailureAction": "Audit",
        "validationFailureActionOverrides": [{"action": "Enforce", "namespaces": ["prod-*"]}],
        "rules": [plain_images()],
    });
    check("overrides of the spec", &cpol(&overridden), ["W", "E", "W", "M"]);
    // Until 1.18 a validate rule before it speaks for it.
    check("after a validate rule that audits", &spec("Audit", &json!([acting("Audit"), images(&["Enforce"])])), ["WWWWM"; 4]);
    check("after a validate rule that enforces", &spec("Audit", &json!([acting("Enforce"), images(&["Audit"])])), ["WEEEM"; 4]);
}

#[test]
fn warnings() {
    let spec = |emit: bool, rules: &Value| cpol(&json!({"emitWarning": emit, "rules": rules}));
    check("emitWarning", &spec(true, &json!([acting("Audit")])), ["AWWWW"; 4]);
    check("emitWarning off", &spec(false, &json!([acting("Audit")])), ["A"; 4]);
    check("emitWarning and enforce", &spec(true, &json!([acting("Enforce")])), ["AEEEE"; 4]);
    let mixed = spec(true, &json!([acting("Enforce"), acting("Audit")]));
    let audited = |place: &Namespace| outcomes(|kyverno| rule_mode(&mixed, &mixed.rules[1], kyverno, Some(place)));
    assert_eq!(audited(&dev()), "AAAAW", "beside an enforced rule it was never looked up before 1.19");
    let conditions = json!({"matchConditions": [{"name": "here", "expression": "true"}]});
    check("own match conditions", &cpol(&json!({"webhookConfiguration": conditions, "rules": [acting("Audit")]})), ["AWWWW"; 4]);
    check("audit beside warn", &spec(false, &json!([acting("Audit"), images(&["Audit"])])), ["W"; 4]);
}

#[test]
fn what_is_not_in_force() {
    let enforce = json!({"validationFailureAction": "Enforce", "rules": [plain()]});
    let with = |status: &Value| read("kyverno.io", "ClusterPolicy", &enforce, status);
    check("not ready", &with(&json!({"conditions": [{"type": "Ready", "status": "False"}]})), ["n"; 4]);
    check("unknown", &with(&json!({"conditions": [{"type": "Ready", "status": "Unknown"}]})), ["n"; 4]);
    check("no status yet", &with(&Value::Null), ["n"; 4]);
    check("another condition", &with(&json!({"conditions": [{"type": "Other", "status": "True"}]})), ["n"; 4]);
    check("ready by the old field", &with(&json!({"ready": true})), ["E"; 4]);
    check("not ready by the old field", &with(&json!({"ready": false})), ["n"; 4]);
    check("the condition wins", &with(&json!({"ready": true, "conditions": [{"type": "Ready", "status": "False"}]})), ["n"; 4]);
    check("admission off", &cpol(&json!({"admission": false, "validationFailureAction": "Enforce", "rules": [plain()]})), ["o"; 4]);
    let mutating = json!({"rules": [{"name": "m", "mutate": {}}, {"name": "g", "generate": {}}]});
    check("nothing but mutate and generate", &cpol(&mutating), ["o"; 4]);
    check("no rules", &cpol(&json!({})), ["o"; 4]);
    let not_ready_mutating = read("kyverno.io", "ClusterPolicy", &mutating, &Value::Null);
    check("off comes before not ready", &not_ready_mutating, ["o"; 4]);
}

#[test]
fn cel_actions() {
    let vpol = |spec: &Value| cel("ValidatingPolicy", spec);
    let acting = |actions: &[&str]| vpol(&json!({"validationActions": actions}));
    check("missing means deny", &vpol(&json!({})), ["E"; 4]);
    check("empty means deny", &acting(&[]), ["E"; 4]);
    check("deny", &acting(&["Deny"]), ["E"; 4]);
    check("deny beside audit", &acting(&["Deny", "Audit"]), ["E"; 4]);
    check("deny beside warn", &acting(&["Warn", "Deny"]), ["E"; 4]);
    check("audit beside warn", &acting(&["Audit", "Warn"]), ["W"; 4]);
    check("warn", &acting(&["Warn"]), ["W"; 4]);
    check("audit", &acting(&["Audit"]), ["A"; 4]);
    check("JSON", &vpol(&json!({"evaluation": {"mode": "JSON"}})), ["o"; 4]);
    check("HTTP", &vpol(&json!({"evaluation": {"mode": "HTTP"}})), ["o"; 4]);
    check("Kubernetes", &vpol(&json!({"evaluation": {"mode": "Kubernetes"}})), ["E"; 4]);
    check("admission off", &vpol(&json!({"evaluation": {"admission": {"enabled": false}}})), ["o"; 4]);
    check("background off", &vpol(&json!({"evaluation": {"background": {"enabled": false}}})), ["E"; 4]);
    check("images", &cel("ImageValidatingPolicy", &json!({"validationActions": ["Audit"]})), ["A"; 4]);
    for kind in ["MutatingPolicy", "GeneratingPolicy", "DeletingPolicy", "NamespacedMutatingPolicy"] {
        check(kind, &cel(kind, &json!({"validationActions": ["Deny"]})), ["o"; 4]);
    }
    let cleanup = read("kyverno.io", "ClusterCleanupPolicy", &json!({"schedule": "0 0 * * *"}), &Value::Null);
    check("cleanup", &cleanup, ["o"; 4]);
}

#[test]
fn cel_readiness_is_the_webhook() {
    let with = |status: &Value| read("policies.kyverno.io", "ValidatingPolicy", &json!({}), status);
    let conditions = |webhook: &str, rights: &str, ready: bool| {
        let conditions = json!([{"type": "WebhookConfigured", "status": webhook}, {"type": "RBACPermissionsGranted", "status": rights}]);
        with(&json!({"conditionStatus": {"ready": ready, "conditions": conditions}}))
    };
    check("report rights are missing", &conditions("True", "False", false), ["E"; 4]);
    check("the webhook is missing", &conditions("False", "True", true), ["n"; 4]);
    check("no status", &with(&Value::Null), ["n"; 4]);
    check("only `ready`", &with(&json!({"conditionStatus": {"ready": true}})), ["E"; 4]);
}

#[test]
fn namespaces_that_are_left_alone() {
    let enforce = json!({"validationFailureAction": "Enforce", "rules": [plain()]});
    let kyverno = Kyverno::new(Release::exactly(19));
    let place = |name: &str| Namespace::new(name, BTreeMap::new());
    for name in ["kyverno", "kube-system", "kube-public", "kube-node-lease"] {
        assert_eq!(mode_in(&cpol(&enforce), &kyverno, &place(name)), Mode::Off, "{name}");
        assert_eq!(mode_in(&cel("ValidatingPolicy", &json!({})), &kyverno, &place(name)), Mode::Off, "{name}");
    }
    assert_eq!(mode_in(&cpol(&enforce), &kyverno, &place("default")), Mode::Enforce);
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let own = read("kyverno.io", "Policy", &enforce, &ready);
    assert_eq!(mode_in(&own, &kyverno, &place("team-a")), Mode::Enforce);
    assert_eq!(mode_in(&own, &kyverno, &place("team-b")), Mode::Off);
    assert_eq!(mode_in(&own, &kyverno, &Namespace::cluster_scoped()), Mode::Off);
    assert_eq!(policy_mode(&own, &kyverno), Mode::Enforce);
    assert_eq!(mode_in(&cel("NamespacedValidatingPolicy", &json!({})), &kyverno, &place("team-b")), Mode::Off);
}

#[test]
fn native_policies_are_the_api_servers() {
    let with = |action: &str| {
        let spec = json!({"rules": [{"name": "r", "validate": {"failureAction": action, "cel": {"generate": true}}}]});
        read("kyverno.io", "ClusterPolicy", &spec, &json!({"validatingadmissionpolicy": {"generated": true}}))
    };
    check("enforce", &with("Enforce"), ["E"; 4]);
    check("audit warns", &with("Audit"), ["W"; 4]);
    let kube_system = Namespace::new("kube-system", BTreeMap::new());
    assert_eq!(outcomes(|kyverno| mode_in(&with("Enforce"), kyverno, &kube_system)), "EEEEE", "Kyverno's exclusions do not reach it");
    let vpol = read("policies.kyverno.io", "ValidatingPolicy", &json!({"validationActions": ["Deny"]}), &json!({"generated": true}));
    check("vpol", &vpol, ["E"; 4]);
}

#[test]
fn releases_that_disagree_say_unknown() {
    let by_rule = cpol(&json!({"rules": [acting("Enforce")]}));
    let by_spec = cpol(&json!({"validationFailureAction": "Enforce", "rules": [plain()]}));
    let of = |policy: &Policy, release: Release| policy_mode(policy, &Kyverno::new(release));
    assert_eq!(of(&by_rule, Release::UNKNOWN), Mode::Unknown);
    assert_eq!(of(&by_rule, Release::at_least(13)), Mode::Enforce);
    assert_eq!(of(&by_rule, Release::between(10, 12)), Mode::Audit);
    assert_eq!(of(&by_spec, Release::UNKNOWN), Mode::Enforce);
    assert_eq!(of(&by_spec, Release::exactly(25)), Mode::Enforce, "a release to come counts as the newest known");
    assert_eq!(of(&cel("ValidatingPolicy", &json!({})), Release::UNKNOWN), Mode::Enforce);
}

#[test]
fn words_for_overrides() {
    let policy = cpol(&json!({
        "validationFailureActionOverrides": [{"action": "enforce", "namespaces": ["prod-*", "live"]}],
        "rules": [
            plain(),
            overridden("Enforce", &json!([
                {"action": "Audit", "namespaceSelector": {
                    "matchLabels": {"tier": "test"},
                    "matchExpressions": [
                        {"key": "team", "operator": "In", "values": ["a", "b"]},
                        {"key": "legacy", "operator": "DoesNotExist"},
                        {"key": "zone", "operator": "NotIn", "values": ["eu", "us"]},
                    ],
                }},
                {"action": "Audit", "namespaces": ["dev"], "namespaceSelector": {"matchLabels": {"env": "x"}}},
                {"action": "Audit"},
            ])),
            {"name": "m", "mutate": {}},
        ],
    }));
    let words: Vec<_> = policy.rules.iter().map(|rule| overrides_in_words(rule, &policy)).collect();
    assert_eq!(words[0], ["enforce in prod-*, live"]);
    assert_eq!(
        words[1],
        ["audit where tier=test,team in (a,b),!legacy,zone notin (eu,us)", "audit in dev where env=x", "audit everywhere"]
    );
    assert!(words[2].is_empty());
}

/// As 1.13.2 did it: the base action counts in no namespace that an override leaves unnamed (kyverno/kyverno#11808).
#[test]
fn early_1_13_loses_rules_with_overrides() {
    let policy = cpol(&json!({"rules": [overridden("Enforce", &json!([{"action": "Audit", "namespaces": ["default"]}]))]}));
    let kyverno = |version: &str| Kyverno::new(Release::exactly(13)).with_version(Some(version));
    let default = Namespace::new("default", BTreeMap::new());
    for version in ["v1.13.0", "v1.13.1", "1.13.2", "v1.13.2-rc.1"] {
        let kyverno = kyverno(version);
        assert_eq!((mode_in(&policy, &kyverno, &dev()), mode_in(&policy, &kyverno, &default)), (Mode::Off, Mode::Audit), "{version}");
        assert_eq!(mode_in(&policy, &kyverno, &Namespace::cluster_scoped()), Mode::Enforce, "{version}");
        assert_ne!(policy_mode(&policy, &kyverno), Mode::Enforce, "{version}");
        assert!(kyverno.broken().is_some());
        let simple = cpol(&json!({"rules": [acting("Enforce")]}));
        assert_eq!(mode_in(&simple, &kyverno, &dev()), Mode::Enforce, "{version}: rules without overrides are not concerned");
        let named = cpol(&json!({"rules": [overridden("Audit", &json!([{"action": "Enforce", "namespaces": ["d*"]}]))]}));
        assert_eq!(mode_in(&named, &kyverno, &dev()), Mode::Enforce, "{version}: an override that names the namespace counts");
        let of_spec = cpol(&json!({"validationFailureAction": "Enforce", "rules": [plain()],
            "validationFailureActionOverrides": [{"action": "Audit", "namespaces": ["default"]}]}));
        assert_eq!(mode_in(&of_spec, &kyverno, &dev()), Mode::Off, "{version}: overrides of the spec, too");
    }
    for version in ["v1.13.3", "v1.13.4", "v1.14.0", "v1.12.1"] {
        assert_eq!(mode_in(&policy, &kyverno(version), &dev()), Mode::Enforce, "{version}");
        assert_eq!(kyverno(version).broken(), None);
    }
}
