use super::search::has_templates;
use super::*;
use crate::testing::{Dice, cases};

const POLICY: &str = r#"# What everybody has to keep to.
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: p   # as in dev
  annotations:
    team: "a"
spec:
  # watching, so far
  validationFailureAction: Audit  # until CHG-1
  rules:
    - name: one
      validate:
        message: >-
          no
          latest
        failureAction: 'Audit'
    - {name: two, validate: {failureAction: Audit}}
---
apiVersion: v1
kind: ConfigMap # another document
metadata: {name: p}
data:
  on: "no"
"#;

/// The file after `change` of its first document.
fn edited_by(text: &str, change: impl FnOnce(&mut Value)) -> (String, Manner) {
    let mut is = yaml::read(text).unwrap().remove(0).value;
    change(&mut is);
    let (new, manner) = edit::edited(text, 0, &is).unwrap();
    assert_eq!(yaml::read(&new).unwrap()[0].value, is, "{new}");
    (new, manner)
}

#[test]
fn only_the_lines_that_say_something_else_change() {
    type Change = fn(&mut Value);
    let table: [(Change, &str, &str); 9] = [
        (|p| p["spec"]["validationFailureAction"] = json!("Enforce"), "Action: Audit  # until", "Action: Enforce  # until"),
        (|p| p["spec"]["rules"][0]["validate"]["failureAction"] = json!("Enforce"), "'Audit'", "'Enforce'"),
        (|p| p["spec"]["rules"][1]["validate"]["failureAction"] = json!("Enforce"), "failureAction: Audit}", "failureAction: Enforce}"),
        (|p| p["metadata"]["annotations"]["team"] = json!("b"), "\"a\"", "\"b\""),
        (
            |p| p["metadata"]["annotations"]["policydeck.dev/hold"] = json!("INC-1: no"),
            "    team: \"a\"\n",
            "    team: \"a\"\n    policydeck.dev/hold: \"INC-1: no\"\n",
        ),
        (|p| drop(p["metadata"].as_object_mut().unwrap().remove("annotations")), "  annotations:\n    team: \"a\"\n", ""),
        (|p| p["spec"]["background"] = json!(true), "{failureAction: Audit}}\n", "{failureAction: Audit}}\n  background: true\n"),
        (
            |p| p["spec"]["rules"][0]["validate"]["message"] = json!("one\ntwo"),
            "message: >-\n          no\n          latest",
            "message: |-\n          one\n          two",
        ),
        (
            |p| p["spec"]["rules"].as_array_mut().unwrap().push(json!({"name": "three", "x": [1]})),
            "{failureAction: Audit}}\n",
            "{failureAction: Audit}}\n    - name: three\n      x:\n      - 1\n",
        ),
    ];
    for (change, was, is) in table {
        let expected = POLICY.replacen(was, is, 1);
        assert_ne!(expected, POLICY, "{was}");
        assert_eq!(edited_by(POLICY, change), (expected, Manner::Edited));
        // The same on another system.
        let windows = POLICY.replace('\n', "\r\n");
        let expected = windows.replacen(&was.replace('\n', "\r\n"), &is.replace('\n', "\r\n"), 1);
        assert_eq!(edited_by(&windows, change), (expected, Manner::Edited));
    }
}

#[test]
fn a_document_that_cannot_be_changed_line_by_line_is_written_anew_alone() {
    let text = "# kept\na: &x {b: 1} # gone\nc: *x\n---\n# kept, too\nother: [1]\n";
    let (new, manner) = edited_by(text, |value| value["a"]["b"] = json!(2));
    assert_eq!((new.as_str(), manner), ("# kept\na:\n  b: 2\nc:\n  b: 1\n---\n# kept, too\nother: [1]\n", Manner::Rewritten));
    assert!(edit::edited("a: 1\n", 1, &json!({})).is_err());
    let (new, _) = edited_by("--- {a: 1}\n--- {b: 1}\n", |value| value["c"] = json!([1, 2]));
    assert_eq!(yaml::read(&new).unwrap()[1].value, json!({"b": 1}));
}

/// Whatever one document says and is to say: it says it then, and the others what they said.
#[test]
fn any_change_of_any_document() {
    cases("ops::commit::tests::any_change_of_any_document", 400, |dice| {
        let documents: Vec<Value> = (0..=dice.below(2)).map(|_| json!({"a": any(dice, 3), "b": any(dice, 3)})).collect();
        let texts: Vec<String> = documents.iter().map(crate::domain::yaml::write).collect();
        let text = texts.join("---\n");
        let at = dice.below(documents.len());
        let mut is = documents[at].clone();
        is["a"] = any(dice, 3);
        let (new, _) = edit::edited(&text, at, &is).unwrap();
        let read: Vec<Value> = yaml::read(&new).unwrap().into_iter().map(|document| document.value).collect();
        for (place, (was, now)) in documents.iter().zip(&read).enumerate() {
            assert_eq!(now, if place == at { &is } else { was }, "{text}\n{new}");
        }
        assert_eq!(read.len(), documents.len());
    });
}

fn any(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 4 } else { 6 }) {
        0 => Value::from(dice.pick(&["Audit", "Enforce", "no", "a: b", "{{ request.object }}", "one\ntwo\n", "", " x"])),
        1 => json!(dice.below(3)),
        2 => json!(dice.below(2) == 0),
        3 => Value::Null,
        4 => Value::Array((0..dice.below(4)).map(|_| any(dice, depth - 1)).collect()),
        _ => Value::Object((0..dice.below(4)).map(|at| (["k", "no", "x/y", "z"][at].to_owned(), any(dice, depth - 1))).collect()),
    }
}

#[test]
fn helms_templates_are_told_from_kyvernos_variables() {
    for text in [
        "{{ .Values.action }}",
        "{{- if .Values.x }}",
        "a: {{ include \"x\" . }}",
        "{{/* comment */}}",
        "{{ end }}",
        "m: {{`{{`}} request.object }}",
        "{{ $x }}",
        "{{- end -}}",
    ] {
        assert!(has_templates(text), "{text}");
    }
    for text in [
        "message: \"{{ request.object.metadata.name }}\"",
        "{{request.operation}}",
        "{{ images.containers.*.registry }}",
        "{{ element.name }} {{elementIndex}}",
        "{{ iftrue }} {{ endpoint }} {{ ends_with(a, 'b') }}",
        "{ {a: b} }",
    ] {
        assert!(!has_templates(text), "{text}");
    }
}

#[test]
fn a_new_file_is_called_after_what_is_in_it() {
    let policy = |namespace: Option<&str>| PolicyId {
        group: "kyverno.io".to_owned(),
        kind: "Policy".to_owned(),
        namespace: namespace.map(str::to_owned),
        name: "no-latest".to_owned(),
    };
    assert_eq!(new_path("clusters/prod", &policy(Some("shop"))), "clusters/prod/policy-shop-no-latest.yaml");
    assert_eq!(new_path("", &policy(None)), "policy-no-latest.yaml");
}
