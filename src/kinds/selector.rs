//! Label selectors as manifests write them (`metav1.LabelSelector`).
//!
//! What lives here: reading them, and saying them in words. What does not: which release of Kyverno looks at them (`mode`).

use super::json;
use crate::domain::{LabelSelector, Requirement};
use serde_json::Value;

/// Reads `matchLabels` and `matchExpressions`; an expression with an unknown operator is left out.
pub(super) fn read(value: &Value) -> LabelSelector {
    let labels = json::text_map(value, &["matchLabels"]).into_iter().map(|(key, value)| Requirement::In(key, vec![value]));
    let expressions = json::list(value, &["matchExpressions"]).iter().filter_map(expression);
    LabelSelector { requirements: labels.chain(expressions).collect() }
}

fn expression(value: &Value) -> Option<Requirement> {
    let key = json::text(value, &["key"])?.to_owned();
    match json::text(value, &["operator"])? {
        "In" => Some(Requirement::In(key, json::texts(value, &["values"]))),
        "NotIn" => Some(Requirement::NotIn(key, json::texts(value, &["values"]))),
        "Exists" => Some(Requirement::Exists(key)),
        "DoesNotExist" => Some(Requirement::DoesNotExist(key)),
        _ => None,
    }
}

/// The selector as kubectl would write it: `env=prod,tier in (a,b),!legacy`.
pub(super) fn in_words(selector: &LabelSelector) -> String {
    let words = selector.requirements.iter().map(|requirement| match requirement {
        Requirement::In(key, values) => match values.as_slice() {
            [value] => format!("{key}={value}"),
            values => format!("{key} in ({})", values.join(",")),
        },
        Requirement::NotIn(key, values) => match values.as_slice() {
            [value] => format!("{key}!={value}"),
            values => format!("{key} notin ({})", values.join(",")),
        },
        Requirement::Exists(key) => key.clone(),
        Requirement::DoesNotExist(key) => format!("!{key}"),
    });
    words.collect::<Vec<_>>().join(",")
}
