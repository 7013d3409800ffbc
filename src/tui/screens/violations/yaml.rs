//! A JSON value as lines of YAML, each knowing where in the object it stands.
//!
//! What lives here: writing YAML line by line, and finding the path that Kyverno's message names. What does not: drawing.

use crate::domain::{clean, clean_lines};
use serde_json::Value;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlLine {
    /// Blanks and dashes before the key.
    pub(super) lead: String,
    /// The key with its colon; empty in lists of scalars and in text blocks.
    pub(super) key: String,
    /// The value, as far as it fits on this line.
    pub(super) value: String,
    /// JSON pointer of what the line belongs to.
    pub(super) pointer: String,
}

/// The lines of an object, safe for a terminal.
pub(super) fn lines(value: &Value) -> Vec<YamlLine> {
    let mut out = Vec::new();
    write(value, "", "", "", &mut out);
    out
}

/// The lines as one text.
pub(super) fn text(lines: &[YamlLine]) -> String {
    let mut out = String::new();
    for line in lines {
        let blank = if line.key.is_empty() || line.value.is_empty() { "" } else { " " };
        for part in [&line.lead, &line.key, blank, &line.value, "\n"] {
            out.push_str(part);
        }
    }
    out
}

fn push(out: &mut Vec<YamlLine>, lead: &str, key: &str, value: &str, pointer: &str) {
    out.push(YamlLine { lead: lead.to_owned(), key: key.to_owned(), value: value.to_owned(), pointer: pointer.to_owned() });
}

/// Writes `value`; `lead` stands before its first line, `indent` before those that follow.
fn write(value: &Value, lead: &str, indent: &str, pointer: &str, out: &mut Vec<YamlLine>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (i, (key, value)) in map.iter().enumerate() {
                let lead = if i == 0 { lead } else { indent };
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                entry(&format!("{}:", scalar_text(key)), value, lead, indent, &pointer, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                let lead = if i == 0 { lead } else { indent };
                write(item, &format!("{lead}- "), &format!("{indent}  "), &format!("{pointer}/{i}"), out);
            }
        }
        other => push(out, lead, "", &scalar(other), pointer),
    }
}

fn entry(key: &str, value: &Value, lead: &str, indent: &str, pointer: &str, out: &mut Vec<YamlLine>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            push(out, lead, key, "", pointer);
            let deeper = format!("{indent}  ");
            write(value, &deeper, &deeper, pointer, out);
        }
        // Lists stand at the key's own depth, as kubectl writes them.
        Value::Array(items) if !items.is_empty() => {
            push(out, lead, key, "", pointer);
            write(value, indent, indent, pointer, out);
        }
        Value::String(text) if text.contains('\n') => {
            push(out, lead, key, if text.ends_with('\n') { "|" } else { "|-" }, pointer);
            for line in clean_lines(text) {
                push(out, &format!("{indent}  "), "", &line, pointer);
            }
        }
        other => push(out, lead, key, &scalar(other), pointer),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => scalar_text(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// A string, quoted where YAML would read it as something else.
fn scalar_text(text: &str) -> String {
    let safe = clean(text);
    let plain_start = text.chars().next().is_some_and(|c| c.is_alphabetic() || matches!(c, '/' | '_' | '.'));
    let word =
        matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | ".inf" | ".nan");
    if plain_start && !word && !text.contains(": ") && !text.contains(" #") && !text.ends_with(':') && !text.ends_with(' ') && safe == text
    {
        return safe.into_owned();
    }
    format!("\"{}\"", safe.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The JSON pointer that a message names: `… failed at path /spec/containers/0/image/`.
pub(super) fn failing_path(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("at path ")?;
    let path = rest.split_whitespace().next()?.trim_end_matches(['.', ',', ';', '/', '"', '\'', ')']);
    path.starts_with('/').then(|| path.to_owned())
}

/// Where a path leads in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// The line: of the path itself, else of its nearest parent.
    pub(super) line: usize,
    /// What the parent lacks, where the path ends early; that may be the very fault.
    pub(super) missing: Option<String>,
}

/// The line at which `path` stands in the object. A message about a Pod is also looked for in the Pod template of its owner.
pub(super) fn spot_of(lines: &[YamlLine], path: &str) -> Option<Spot> {
    // An item of a list has no line of its own: its first field stands for it.
    let is = |l: &YamlLine, pointer: &str| l.pointer.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let find = |pointer: &str| lines.iter().position(|l| is(l, pointer));
    let tail = path.strip_prefix("/spec").unwrap_or(path);
    let candidates = [path.to_owned(), format!("/spec/template/spec{tail}"), format!("/spec/jobTemplate/spec/template/spec{tail}")];
    if let Some(at) = candidates.iter().find_map(|c| find(c)) {
        return Some(Spot { line: at, missing: None });
    }
    // The candidate of which the least is missing; among equals the path as it was named.
    let nearest = candidates.iter().filter_map(|candidate| {
        let mut pointer = candidate.as_str();
        let mut parts = 0;
        while let Some((parent, missing)) = pointer.rsplit_once('/') {
            parts += 1;
            pointer = parent;
            // Nearer than three steps to the root it would only say "somewhere in here".
            if pointer.matches('/').count() < 3 {
                return None;
            }
            if let Some(line) = find(pointer) {
                return Some((parts, Spot { line, missing: Some(part_words(missing)) }));
            }
        }
        None
    });
    nearest.min_by_key(|(parts, _)| *parts).map(|(_, spot)| spot)
}

/// A part of a path as a person names it: `resources`, or `item 3` of a list (the first being 1).
fn part_words(part: &str) -> String {
    match part.parse::<u32>() {
        Ok(index) => format!("item {}", u64::from(index) + 1),
        Err(_) => clean(&part.replace("~1", "/").replace("~0", "~")).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: &Value) -> String {
        super::text(&lines(value))
    }

    #[test]
    fn objects_read_as_kubectl_writes_them() {
        let pod = json!({"kind": "Pod", "metadata": {"labels": {}, "annotations": {"n": "1", "t": "a\nb\n", "e\u{1b}[2J": "x"}},
            "spec": {"containers": [{"image": "nginx:latest", "ports": [80, 443]}, {"image": ""}]}});
        let text = text(&pod);
        insta::assert_snapshot!(text, @r#"
        kind: Pod
        metadata:
          annotations:
            "e�[2J": x
            "n": "1"
            t: |
              a
              b
          labels: {}
        spec:
          containers:
          - image: nginx:latest
            ports:
            - 80
            - 443
          - image: ""
        "#);
    }

    #[test]
    fn what_is_written_is_yaml_that_says_the_same() {
        let value = json!({"a": "true", "b": "x: y", "c": ["- z", {"d": null, "e": [1.5, []]}], "f": "*ref", "g/h": "#no", "i": "~", "j": "2024-01-01"});
        let back: Value = serde_saphyr::from_str(&text(&value)).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn the_failing_path_is_found_in_pods_and_in_their_owners() {
        let message = "validation error: No latest. rule validate-image-tag failed at path /spec/containers/0/image/";
        let path = failing_path(message).unwrap();
        assert_eq!(path, "/spec/containers/0/image");
        let spec = json!({"containers": [{"name": "web", "image": "nginx:latest"}]});
        for object in [
            json!({"spec": spec}),
            json!({"spec": {"template": {"spec": spec}}}),
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
        ] {
            let lines = lines(&object);
            let spot = spot_of(&lines, &path).unwrap();
            assert_eq!((lines[spot.line].value.as_str(), spot.missing), ("nginx:latest", None));
        }
    }

    #[test]
    fn what_is_missing_is_named_at_its_nearest_parent() {
        let lines = lines(&json!({"spec": {"containers": [{"name": "web", "resources": {"limits": {}}}, {"name": "side"}]}}));
        let spot = |path: &str| spot_of(&lines, path).map(|s| (s.line, s.missing.unwrap_or_default()));
        assert_eq!(spot("/spec/containers/0/resources/limits/memory"), Some((4, "memory".to_owned())));
        assert_eq!(spot("/spec/containers/1/resources/limits/memory"), Some((5, "resources".to_owned())));
        assert_eq!(spot("/spec/containers/1/securityContext/a~1b"), Some((5, "securityContext".to_owned())));
        let pods = json!({"spec": {"containers": [{"name": "web"}]}});
        let deployment = super::lines(&json!({"spec": {"template": pods}}));
        for path in ["/spec/containers/0/resources/limits", "/spec/template/spec/containers/0/resources/limits"] {
            let spot = spot_of(&deployment, path).unwrap();
            assert_eq!((spot.line, spot.missing.as_deref()), (4, Some("resources")), "{path}");
        }
        assert_eq!(spot("/spec/volumes/0"), None, "`spec` would only say: somewhere in here");
    }

    #[test]
    fn messages_without_a_path_name_none() {
        assert_eq!(failing_path("no path here"), None);
    }
}
