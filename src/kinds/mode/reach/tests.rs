//! The table of reach: what `match` and `exclude` say, and the modes that follow in some namespaces and for cluster-scoped resources.

use crate::domain::{Mode, Policy};
use crate::kinds::mode::{Kyverno, mode_in, policy_mode, rule_mode};
use crate::kinds::{KindId, Namespace, Release, read_policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn read(group: &str, kind: &str, spec: &Value, status: &Value) -> Policy {
    let kind = KindId::find(group, kind).unwrap().kind();
    let object = json!({"metadata": {"name": "p", "namespace": "team-a"}, "spec": spec, "status": status});
    read_policy(kind, &object).unwrap()
}

fn cpol(rules: &Value) -> Policy {
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    read("kyverno.io", "ClusterPolicy", &json!({"validationFailureAction": "Enforce", "rules": rules}), &ready)
}

fn cel(kind: &str, spec: &Value) -> Policy {
    read("policies.kyverno.io", kind, spec, &json!({"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}))
}

/// `team-a` without labels, `team-b` with `tier: test`, `prod` with `tier: strict` and `env: prod`, and what is in no namespace.
fn places() -> [Namespace; 4] {
    let labels =
        |labels: &[(&str, &str)]| labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
    [
        Namespace::new("team-a", labels(&[])),
        Namespace::new("team-b", labels(&[("tier", "test")])),
        Namespace::new("prod", labels(&[("tier", "strict"), ("env", "prod")])),
        Namespace::cluster_scoped(),
    ]
}

fn on(minor: u16) -> Kyverno {
    Kyverno::new(Release::exactly(minor))
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::Audit => 'A',
        Mode::Enforce => 'E',
        Mode::Mixed => 'M',
        Mode::Off => '-',
        other => panic!("{other}"),
    }
}

/// The modes in [`places`], as a word of four letters; the same in all releases.
fn modes(policy: &Policy) -> String {
    let of = |minor: u16| places().map(|place| letter(mode_in(policy, &on(minor), &place))).iter().collect::<String>();
    let newest = of(19);
    assert!([12, 15, 17, 18].into_iter().all(|minor| of(minor) == newest));
    newest
}

/// A table whose rows are a `match` and an `exclude` of one rule, and the modes in [`places`].
fn table(rows: &[(&str, Value, Value, &str)]) {
    for (what, matching, exclude, expected) in rows {
        let policy = cpol(&json!([{"name": "r", "match": matching, "exclude": exclude, "validate": {"deny": {}}}]));
        assert_eq!(modes(&policy), *expected, "{what}: team-a, team-b, prod, cluster-scoped");
        assert_eq!(policy_mode(&policy, &on(19)), Mode::Enforce, "{what}: the summary does not look at it");
        let [rule] = policy.rules.as_slice() else { panic!("one rule") };
        let of_rule = places().map(|place| letter(rule_mode(&policy, rule, &on(19), Some(&place))));
        assert_eq!(of_rule.iter().collect::<String>(), *expected, "{what}: its rule");
    }
}

fn any(resources: &[Value]) -> Value {
    json!({"any": resources.iter().map(|resources| json!({"resources": resources})).collect::<Vec<_>>()})
}

fn all(resources: &[Value]) -> Value {
    json!({"all": resources.iter().map(|resources| json!({"resources": resources})).collect::<Vec<_>>()})
}

/// Pods in these namespaces.
fn pods(namespaces: &[&str]) -> Value {
    json!({"kinds": ["Pod"], "namespaces": namespaces})
}

fn strict() -> Value {
    json!({"matchLabels": {"tier": "strict"}})
}

#[test]
fn what_is_matched() {
    let none = Value::Null;
    let selected = |selector: Value| any(&[json!({"kinds": ["Pod"], "namespaceSelector": selector})]);
    table(&[
        ("no match", none.clone(), none.clone(), "EEEE"),
        ("an empty match, which no release takes", json!({}), none.clone(), "EEEE"),
        ("kinds only", any(&[json!({"kinds": ["Pod"]})]), none.clone(), "EEEE"),
        ("names and labels of resources", any(&[json!({"names": ["a"], "selector": strict()})]), none.clone(), "EEEE"),
        ("an empty list of namespaces", any(&[pods(&[])]), none.clone(), "EEEE"),
        ("a namespace", any(&[pods(&["team-a"])]), none.clone(), "E---"),
        ("two namespaces", any(&[pods(&["team-a", "prod"])]), none.clone(), "E-E-"),
        ("wildcards", any(&[pods(&["team-*"])]), none.clone(), "EE--"),
        ("a question mark", any(&[pods(&["tea?-b"])]), none.clone(), "-E--"),
        ("a star is also no namespace", any(&[pods(&["*"])]), none.clone(), "EEEE"),
        ("any namespace", any(&[pods(&["?*"])]), none.clone(), "EEE-"),
        ("a selector", selected(strict()), none.clone(), "--E-"),
        ("an empty selector", selected(json!({})), none.clone(), "EEEE"),
        ("expressions", selected(json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]})), none.clone(), "-EE-"),
        ("no label", selected(json!({"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]})), none.clone(), "EE-E"),
        ("wildcards in labels", selected(json!({"matchLabels": {"t*r": "str*"}})), none.clone(), "--E-"),
        ("the label that all have", selected(json!({"matchLabels": {"kubernetes.io/metadata.name": "team-a"}})), none.clone(), "E---"),
        ("both must fit", any(&[json!({"namespaces": ["prod", "team-a"], "namespaceSelector": strict()})]), none.clone(), "--E-"),
        ("any of two", any(&[pods(&["team-a"]), json!({"kinds": ["Pod"], "namespaceSelector": strict()})]), none.clone(), "E-E-"),
        ("any of two, one open", any(&[pods(&["team-a"]), json!({"kinds": ["ConfigMap"]})]), none.clone(), "EEEE"),
        ("all of two", all(&[pods(&["team-*"]), json!({"namespaces": ["*-a"]})]), none.clone(), "E---"),
        ("all of two that contradict", all(&[pods(&["team-a"]), json!({"namespaceSelector": strict()})]), none.clone(), "----"),
        ("all of two, one open", all(&[pods(&["team-a"]), json!({"selector": strict()})]), none.clone(), "E---"),
        ("the old form", json!({"resources": pods(&["team-a"])}), none.clone(), "E---"),
        (
            "the old form with users",
            json!({"resources": pods(&["team-a"]), "subjects": [{"kind": "User", "name": "u"}]}),
            none.clone(),
            "E---",
        ),
        ("users only", json!({"any": [{"clusterRoles": ["admin"]}]}), none.clone(), "EEEE"),
        ("any hides the rest", json!({"any": [{"resources": pods(&["prod"])}], "resources": pods(&["team-a"])}), none, "--E-"),
    ]);
}

#[test]
fn what_is_excluded() {
    let everything = any(&[json!({"kinds": ["Pod"]})]);
    let excluded = |what: &'static str, exclude: Value, expected: &'static str| (what, everything.clone(), exclude, expected);
    let of = |namespaces: &[&str]| json!({"namespaces": namespaces});
    let with = |key: &str, value: Value| {
        let mut resources = of(&["team-a"]);
        resources[key] = value;
        any(&[resources])
    };
    table(&[
        excluded("nothing", json!({}), "EEEE"),
        excluded("an empty entry", json!({"any": [{}]}), "EEEE"),
        excluded("a namespace", any(&[of(&["team-a"])]), "-EEE"),
        excluded("wildcards", any(&[of(&["team-*"])]), "--EE"),
        excluded("any namespace", any(&[of(&["?*"])]), "---E"),
        excluded("everything", any(&[of(&["*"])]), "----"),
        excluded("a selector", any(&[json!({"namespaceSelector": strict()})]), "EE-E"),
        excluded("a selector never excludes Namespaces", any(&[json!({"namespaceSelector": {}})]), "---E"),
        excluded("both must fit", any(&[json!({"namespaces": ["prod", "team-a"], "namespaceSelector": strict()})]), "EE-E"),
        excluded("any of two", any(&[of(&["team-a"]), json!({"namespaceSelector": strict()})]), "-E-E"),
        excluded("all of two", all(&[of(&["team-*"]), of(&["*-a", "prod"])]), "-EEE"),
        excluded("all of two, one a part", all(&[of(&["team-a"]), json!({"names": ["a"]})]), "EEEE"),
        excluded("all of two, one empty", json!({"all": [{"resources": of(&["team-a"])}, {}]}), "EEEE"),
        excluded("the old form", json!({"resources": of(&["team-a"])}), "-EEE"),
        excluded("the old form with users", json!({"resources": of(&["team-a"]), "clusterRoles": ["admin"]}), "EEEE"),
        excluded("names", with("names", json!(["a"])), "EEEE"),
        excluded("a name", with("name", json!("a")), "EEEE"),
        excluded("kinds", with("kinds", json!(["Pod"])), "EEEE"),
        excluded("a selector of resources", with("selector", strict()), "EEEE"),
        excluded("annotations", with("annotations", json!({"a": "b"})), "EEEE"),
        excluded("operations", with("operations", json!(["DELETE"])), "EEEE"),
        excluded("a field of a release to come", with("phases", json!(["Running"])), "EEEE"),
        excluded("empty lists say nothing", with("names", json!([])), "-EEE"),
        excluded("subjects", json!({"any": [{"resources": of(&["team-a"]), "subjects": [{"kind": "User", "name": "u"}]}]}), "EEEE"),
        excluded("roles", json!({"any": [{"resources": of(&["team-a"]), "roles": ["ns:r"]}]}), "EEEE"),
        excluded("a part, and the whole", any(&[json!({"names": ["a"]}), of(&["team-a"])]), "-EEE"),
        ("matched and excluded", any(&[pods(&["team-*"])]), any(&[of(&["*-b"])]), "E---"),
        ("all that is matched", any(&[pods(&["team-a"])]), any(&[of(&["team-?"])]), "----"),
    ]);
}

#[test]
fn namespaces_themselves() {
    let none = Value::Null;
    let in_team_a = |kind: &str| any(&[json!({"kinds": [kind], "namespaces": ["team-a"]})]);
    let strict_ones = any(&[json!({"kinds": ["Namespace"], "namespaceSelector": strict()})]);
    table(&[
        ("a Namespace's own name counts", in_team_a("Namespace"), none.clone(), "E--E"),
        ("with a version", in_team_a("v1/Namespace"), none.clone(), "E--E"),
        ("every kind", in_team_a("*"), none.clone(), "E--E"),
        ("another kind", in_team_a("NetworkPolicy"), none.clone(), "E---"),
        ("kinds are not said", any(&[json!({"namespaces": ["team-a"]})]), none.clone(), "E--E"),
        ("its own labels do not", strict_ones, none, "--E-"),
    ]);
}

#[test]
fn only_rules_that_look_count() {
    let rule = |name: &str, action: &str, matching: Value| json!({"name": name, "match": matching, "validate": {"failureAction": action}});
    let policy = cpol(&json!([
        rule("strict", "Enforce", any(&[pods(&["team-a", "prod"])])),
        rule("lenient", "Audit", any(&[pods(&["team-b", "prod"])])),
    ]));
    let modes = places().map(|place| letter(mode_in(&policy, &on(19), &place)));
    assert_eq!(modes.iter().collect::<String>(), "EAM-");
    assert_eq!(policy_mode(&policy, &on(19)), Mode::Mixed);
    let unready = Policy { ready: crate::domain::Readiness::NotReady, ..policy };
    let [team_a, .., nowhere] = places();
    assert_eq!(mode_in(&unready, &on(19), &team_a), Mode::NotReady);
    assert_eq!(mode_in(&unready, &on(19), &nowhere), Mode::Off, "it will not look there either");
}

#[test]
fn cel_policies() {
    let spec = |constraints: Value| json!({"validationActions": ["Deny"], "matchConstraints": constraints});
    for kind in ["ValidatingPolicy", "ImageValidatingPolicy"] {
        for (constraints, expected) in [
            (json!({"resourceRules": []}), "EEEE"),
            (json!({"namespaceSelector": {}}), "EEEE"),
            // Cluster-scoped resources are never kept out.
            (json!({"namespaceSelector": strict()}), "--EE"),
            (
                json!({"namespaceSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["strict", "test"]}]}}),
                "E--E",
            ),
            (json!({"objectSelector": strict()}), "EEEE"),
            (json!({"excludeResourceRules": [{"resources": ["*"]}]}), "EEEE"),
        ] {
            assert_eq!(modes(&cel(kind, &spec(constraints.clone()))), expected, "{kind} {constraints}");
        }
    }
    let namespaced = |selector: Value| cel("NamespacedValidatingPolicy", &spec(json!({"namespaceSelector": selector})));
    assert_eq!(modes(&namespaced(json!({}))), "E---");
    assert_eq!(modes(&namespaced(strict())), "----", "the selector holds in its own namespace too");
}

#[test]
fn native_twins_know_no_excluded_namespaces() {
    let rule = |exclude: Value| json!([{"name": "r", "match": any(&[pods(&["team-a"])]), "exclude": exclude, "validate": {"cel": {"generate": true}}}]);
    let native = |exclude: Value| Policy { native: true, ..cpol(&rule(exclude)) };
    assert_eq!(modes(&native(Value::Null)), "E--E");
    assert_eq!(modes(&native(any(&[json!({"namespaces": ["team-a"]})]))), "E--E");
}
