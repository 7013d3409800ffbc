use super::*;
use serde_json::json;

fn lines(before: &Value, after: &Value) -> Vec<String> {
    diff(Some(before), Some(after)).iter().map(Line::to_string).collect()
}

#[test]
fn lines_of_a_change() {
    let before = json!({"metadata": {"name": "p", "resourceVersion": "1", "labels": {"a": "b"}}, "spec": {"validationFailureAction": "Audit", "x": 1}, "status": {"ready": true}});
    let after =
        json!({"metadata": {"name": "p", "annotations": {"policydeck.dev/by": "jane"}}, "spec": {"validationFailureAction": "Enforce"}});
    assert_eq!(
        lines(&before, &after),
        [
            "+ metadata.annotations.policydeck.dev/by: jane",
            "- metadata.labels.a: b",
            "spec.validationFailureAction: Audit → Enforce",
            "- spec.x: 1",
        ]
    );
    assert_eq!(counts(&diff(Some(&before), Some(&after))), Counts { added: 1, removed: 2, changed: 1 });
    assert!(lines(&before, &before).is_empty());
}

#[test]
fn named_elements_are_compared_by_name() {
    let rule = |name: &str, message: &str| json!({"name": name, "validate": {"message": message}});
    let before = json!({"spec": {"rules": [rule("a", "1"), rule("b", "2"), rule("c", "3")]}});
    let after = json!({"spec": {"rules": [rule("new", "0"), rule("c", "3"), rule("a", "9")]}});
    assert_eq!(
        lines(&before, &after),
        [
            "+ spec.rules[0 new]: {\"name\":\"new\",\"validate\":{\"message\":\"0\"}}",
            "spec.rules[2 a].validate.message: 1 → 9",
            "- spec.rules[1 b]: {\"name\":\"b\",\"validate\":{\"message\":\"2\"}}",
            "spec.rules (order): a, c → c, a",
        ]
    );
}

#[test]
fn other_lists() {
    assert_eq!(lines(&json!({"a": ["Audit"]}), &json!({"a": ["Deny", "Warn"]})), ["a: [\"Audit\"] → [\"Deny\",\"Warn\"]"]);
    assert_eq!(
        lines(
            &json!({"a": [{"name": "x", "v": 1}, {"name": "x", "v": 2}]}),
            &json!({"a": [{"name": "x", "v": 1}, {"name": "x", "v": 3}, {}]})
        ),
        ["a[1].v: 2 → 3", "+ a[2]: {}"]
    );
    assert_eq!(lines(&json!({"a": {"b": 1}}), &json!({"a": "text"})), ["a: {\"b\":1} → text"]);
}

#[test]
fn a_new_object_is_shown_by_its_parts() {
    let object = json!({"apiVersion": "kyverno.io/v1", "metadata": {"name": "p"}, "spec": {"background": true, "rules": [{"name": "a"}]}});
    let found: Vec<_> = diff(None, Some(&object)).iter().map(Line::to_string).collect();
    assert_eq!(
        found,
        ["+ apiVersion: kyverno.io/v1", "+ metadata.name: p", "+ spec.background: true", "+ spec.rules[0 a]: {\"name\":\"a\"}"]
    );
    assert_eq!(counts(&diff(Some(&object), None)).removed, 4);
}

#[test]
fn nothing_drives_a_terminal_and_nothing_is_endless() {
    let found = lines(&json!({"a": "x"}), &json!({"a": format!("\u{1b}[31m{}\nnext", "y".repeat(500))}));
    assert!(!found[0].contains('\u{1b}') && found[0].chars().count() < 200 && found[0].ends_with('…'), "{found:?}");
    let text = unified(Some(&json!({"a": "x"})), Some(&json!({"a": "\u{1b}[31m"})), "p");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn unified_text() {
    let before = json!({"kind": "ClusterPolicy", "spec": {"validationFailureAction": "Audit"}, "status": {"ready": true}});
    let after = json!({"kind": "ClusterPolicy", "spec": {"validationFailureAction": "Enforce"}});
    assert_eq!(
        unified(Some(&before), Some(&after), "ClusterPolicy/p"),
        "--- before/ClusterPolicy/p\n+++ after/ClusterPolicy/p\n@@ -1,3 +1,3 @@\n kind: ClusterPolicy\n spec:\n-  validationFailureAction: Audit\n+  validationFailureAction: Enforce\n"
    );
    assert!(unified(None, Some(&after), "p").starts_with("--- /dev/null\n+++ after/p\n"));
    assert_eq!(unified(Some(&before), Some(&before), "p"), "");
}

#[test]
fn a_line_travels() {
    let line = Line { change: Change::Added, path: "a".to_owned(), before: None, after: Some("b".to_owned()) };
    let text = serde_json::to_string(&line).unwrap();
    assert_eq!(text, r#"{"change":"added","path":"a","after":"b"}"#);
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
}

/// A policy that generates a Secret.
fn generates(one: &str, other: &str) -> Value {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "data": {"stringData": {"one": one, "other": other}}});
    json!({"kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [{"name": "r", "generate": secret}]}})
}

#[test]
fn values_of_secrets_are_not_shown_and_their_changes_are() {
    let (before, after) = (generates("hunter2", "hunter3"), generates("hunter3", "hunter2"));
    let of = |key: &str| format!("spec.rules[0 r].generate.data.stringData.{key}");
    assert_eq!(
        lines(&before, &after),
        [format!("{}: 7 bytes → 7 bytes (value 2)", of("one")), format!("{}: 7 bytes (value 2) → 7 bytes", of("other"))]
    );
    let text = unified(Some(&before), Some(&after), "p");
    assert!(!text.contains("hunter") && text.contains("one: 7 bytes (value 2)"), "{text}");
    assert!(!diff(None, Some(&after)).iter().any(|line| line.to_string().contains("hunter")));
    assert!(shown(&after).contains("one: 7 bytes\n") && yaml(&after).contains("one: hunter3\n"));
    assert_eq!((lines(&before, &before).len(), unified(Some(&before), Some(&before), "p").as_str()), (0, ""));
}
