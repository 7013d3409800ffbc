//! Label and field selectors.
//!
//! Not here: the selectors inside policies, which are objects and not strings (`super::kyverno::matching`).

use serde_json::Value;

use super::failure::Failure;
use super::request::Query;
use super::store::{Key, text};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// What a list or watch is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<(String, Test)>,
    /// (field, wanted value, equal or not)
    fields: Vec<(String, String, bool)>,
}

/// Fields of events that `kubectl get events --field-selector` may name (`pkg/registry/core/event/strategy.go`).
const EVENT_FIELDS: [&str; 12] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
    "action",
];

impl Selector {
    pub(crate) fn parse(query: &Query, plural: &str) -> Result<Self, Failure> {
        Ok(Self {
            labels: labels(query.get("labelSelector").unwrap_or_default())?,
            fields: fields(query.get("fieldSelector").unwrap_or_default(), plural)?,
        })
    }

    /// One object by name, as `get` on a watch path means it.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, key: &Key, object: &Value) -> bool {
        let own = object.pointer("/metadata/labels");
        self.labels.iter().all(|(name, test)| {
            let value = own.and_then(|labels| labels.get(name)).and_then(Value::as_str);
            match test {
                Test::In(wanted) => value.is_some_and(|value| wanted.iter().any(|w| w == value)),
                Test::NotIn(refused) => !value.is_some_and(|value| refused.iter().any(|w| w == value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        }) && self.fields.iter().all(|(field, wanted, equal)| (field_value(key, object, field) == *wanted) == *equal)
    }
}

fn field_value(key: &Key, object: &Value, field: &str) -> String {
    match field {
        "metadata.name" => key.name.clone(),
        "metadata.namespace" => key.namespace.clone(),
        "source" => text(object, "/source/component").to_owned(),
        other => text(object, &format!("/{}", other.replace('.', "/"))).to_owned(),
    }
}

fn labels(text: &str) -> Result<Vec<(String, Test)>, Failure> {
    let mut tests = Vec::new();
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        if !part.is_empty() {
            tests.push(label(part)?);
        }
    }
    Ok(tests)
}

fn label(part: &str) -> Result<(String, Test), Failure> {
    let refuse = || Failure::bad_request(format!("unable to parse requirement: found '{part}'"));
    if let Some((name, value)) = part.split_once("!=") {
        return Ok((name.trim().to_owned(), Test::NotIn(vec![value.trim().to_owned()])));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok((name.trim().to_owned(), Test::In(vec![value.trim().to_owned()])));
    }
    if let Some(name) = part.strip_prefix('!') {
        return Ok((name.trim().to_owned(), Test::Absent));
    }
    if let Some((head, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(refuse)?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next()) {
            (Some(name), Some("in")) => Ok((name.to_owned(), Test::In(values))),
            (Some(name), Some("notin")) => Ok((name.to_owned(), Test::NotIn(values))),
            _ => Err(refuse()),
        };
    }
    if part.contains(char::is_whitespace) {
        return Err(refuse());
    }
    Ok((part.to_owned(), Test::Exists))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

fn fields(text: &str, plural: &str) -> Result<Vec<(String, String, bool)>, Failure> {
    let mut tests = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (field, value, true)
        } else {
            return Err(Failure::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'")));
        };
        let known = matches!(field, "metadata.name" | "metadata.namespace")
            || (plural == "events" && EVENT_FIELDS.contains(&field))
            || (plural == "pods" && matches!(field, "spec.nodeName" | "status.phase" | "spec.serviceAccountName"))
            || (plural == "secrets" && field == "type");
        if !known {
            return Err(Failure::bad_request(format!(
                "Unable to find \"{plural}\" that match label selector \"\", field selector \"{text}\": field label not supported: {field}"
            )));
        }
        tests.push((field.to_owned(), value.to_owned(), equal));
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selected(query: &str, object: &Value) -> bool {
        let selector = Selector::parse(&Query::parse(query), "events").unwrap();
        selector.matches(&Key::new("n", "x"), object)
    }

    #[test]
    fn selectors() {
        let object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "reason": "R", "involvedObject": {"name": "p"}});
        for (query, wanted) in [
            ("labelSelector=a%3D1", true),
            ("labelSelector=a%3D%3D1,b!%3D2", false),
            ("labelSelector=a+in+(1,2),b", true),
            ("labelSelector=a+notin+(1,2)", false),
            ("labelSelector=!c", true),
            ("fieldSelector=metadata.name%3Dx", true),
            ("fieldSelector=metadata.namespace!%3Dn", false),
            ("fieldSelector=reason%3DR,involvedObject.name%3Dp", true),
        ] {
            assert_eq!(selected(query, &object), wanted, "{query}");
        }
        assert!(Selector::parse(&Query::parse("fieldSelector=spec.x%3Dy"), "pods").is_err());
    }
}
