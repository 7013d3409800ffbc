//! Kyverno's overlay patterns: anchors, wildcards, operators (kyverno/kyverno `pkg/engine/validate`).
//!
//! Reduced: ranges (`1-5`) and references (`$(../x)`) are not read. Not here: messages (`super::classic`).

use serde_json::Value;

use super::matching::wildcard;

/// How an object compares with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fit {
    Yes,
    /// A conditional anchor did not hold, so the pattern says nothing here.
    Skip,
    /// The path at which it fails, with slashes.
    No(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Condition,
    Global,
    Equality,
    Negation,
    Existence,
}

fn anchor(key: &str) -> (Option<Anchor>, &str) {
    let inner = |prefix: &str| key.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    for (prefix, kind) in
        [("=(", Anchor::Equality), ("X(", Anchor::Negation), ("^(", Anchor::Existence), ("<(", Anchor::Global), ("(", Anchor::Condition)]
    {
        if let Some(name) = inner(prefix) {
            return (Some(kind), name);
        }
    }
    (None, key)
}

/// Compares an object with a pattern; `path` is where it stands.
pub(crate) fn fits(object: &Value, pattern: &Value, path: &str) -> Fit {
    match pattern {
        Value::Object(fields) => {
            let Some(own) = object.as_object() else {
                return Fit::No(path.to_owned());
            };
            // Conditions come first: they decide whether the rest is asked at all.
            let mut ordered: Vec<_> = fields.iter().collect();
            ordered.sort_by_key(|(key, _)| !matches!(anchor(key).0, Some(Anchor::Condition | Anchor::Global)));
            for (key, wanted) in ordered {
                let (kind, name) = anchor(key);
                let found = named(own, name);
                match field(found, wanted, kind, &format!("{path}{name}/")) {
                    Fit::Yes => {}
                    other => return other,
                }
            }
            Fit::Yes
        }
        Value::Array(patterns) => list(object, patterns, path),
        scalar => {
            if scalar_fits(object, scalar) {
                Fit::Yes
            } else {
                Fit::No(path.to_owned())
            }
        }
    }
}

/// A field by name; names in patterns may hold wildcards, as in `container.apparmor.*/x`.
fn named<'a>(own: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    own.get(name).or_else(|| name.contains(['*', '?']).then(|| own.iter().find(|(key, _)| wildcard(name, key)).map(|(_, value)| value))?)
}

fn field(found: Option<&Value>, wanted: &Value, kind: Option<Anchor>, path: &str) -> Fit {
    match (kind, found) {
        (Some(Anchor::Negation), Some(_)) => Fit::No(path.to_owned()),
        (Some(Anchor::Negation | Anchor::Equality), None) => Fit::Yes,
        (Some(Anchor::Condition | Anchor::Global), found) => match found.map(|value| fits(value, wanted, path)) {
            Some(Fit::Yes) => Fit::Yes,
            _ => Fit::Skip,
        },
        (Some(Anchor::Existence), found) => {
            let wanted = wanted.as_array().and_then(|list| list.first()).unwrap_or(wanted);
            let items = found.and_then(Value::as_array);
            if items.into_iter().flatten().any(|item| fits(item, wanted, path) == Fit::Yes) { Fit::Yes } else { Fit::No(path.to_owned()) }
        }
        (_, Some(value)) => fits(value, wanted, path),
        (None, None) if wanted.is_null() => Fit::Yes,
        (None, None) => match wanted {
            // A map of nothing but optional fields is satisfied by a missing one.
            Value::Object(fields)
                if !fields.is_empty() && fields.keys().all(|key| matches!(anchor(key).0, Some(Anchor::Equality | Anchor::Negation))) =>
            {
                Fit::Yes
            }
            _ => Fit::No(path.to_owned()),
        },
    }
}

/// One pattern for all elements, or several for scalars.
fn list(object: &Value, patterns: &[Value], path: &str) -> Fit {
    let Some(items) = object.as_array() else {
        return Fit::No(path.to_owned());
    };
    let mut met = items.is_empty();
    for (n, item) in items.iter().enumerate() {
        let here = format!("{path}{n}/");
        let mut verdict = Fit::No(here.clone());
        for pattern in patterns {
            verdict = fits(item, pattern, &here);
            if !matches!(verdict, Fit::No(_)) {
                break;
            }
        }
        match verdict {
            Fit::Yes => met = true,
            Fit::Skip => {}
            no @ Fit::No(_) => return no,
        }
    }
    if met { Fit::Yes } else { Fit::Skip }
}

fn scalar_fits(value: &Value, pattern: &Value) -> bool {
    match pattern {
        Value::String(pattern) => match value {
            Value::Object(_) | Value::Array(_) => pattern == "*" || pattern == "?*",
            Value::Null => pattern.is_empty() || pattern == "null",
            Value::String(own) => text_fits(own, pattern),
            other => text_fits(&other.to_string(), pattern),
        },
        Value::Null => value.is_null(),
        Value::Number(wanted) => value.as_f64() == wanted.as_f64(),
        other => value == other,
    }
}

/// `a | b`, `a & b`, `!x`, `>=1Gi`, wildcards.
pub(crate) fn text_fits(own: &str, pattern: &str) -> bool {
    pattern.split('|').any(|part| part.split('&').all(|part| term_fits(own, part.trim())))
}

fn term_fits(own: &str, term: &str) -> bool {
    for (operator, test) in [
        (">=", (|o| o != std::cmp::Ordering::Less) as fn(std::cmp::Ordering) -> bool),
        ("<=", |o| o != std::cmp::Ordering::Greater),
        (">", |o| o == std::cmp::Ordering::Greater),
        ("<", |o| o == std::cmp::Ordering::Less),
    ] {
        if let Some(limit) = term.strip_prefix(operator) {
            return match (quantity(own), quantity(limit.trim())) {
                (Some(own), Some(limit)) => own.partial_cmp(&limit).is_some_and(test),
                _ => false,
            };
        }
    }
    match term.strip_prefix('!') {
        Some(refused) => !wildcard(refused.trim(), own),
        None => wildcard(term, own),
    }
}

/// `100m`, `1Gi`, `0.5`: a Kubernetes quantity as a number.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_of_the_policy_library() {
        let pod = json!({"metadata": {"labels": {"team": "a"}}, "spec": {"containers": [
            {"name": "x", "image": "reg/x:1", "resources": {"limits": {"memory": "1Gi"}}},
            {"name": "y", "image": "reg/y:latest", "securityContext": {"privileged": true}},
        ]}});
        for (pattern, wanted) in [
            (json!({"metadata": {"labels": {"team": "?*"}}}), Fit::Yes),
            (json!({"metadata": {"labels": {"cost": "?*"}}}), Fit::No("/metadata/labels/cost/".into())),
            (json!({"spec": {"containers": [{"image": "!*:latest"}]}}), Fit::No("/spec/containers/1/image/".into())),
            (json!({"spec": {"containers": [{"image": "reg/* | other/*"}]}}), Fit::Yes),
            (json!({"spec": {"containers": [{"(name)": "x", "resources": {"limits": {"memory": "<=2Gi"}}}]}}), Fit::Yes),
            (json!({"spec": {"containers": [{"(name)": "z", "image": "q"}]}}), Fit::Skip),
            (json!({"spec": {"=(hostNetwork)": "false"}}), Fit::Yes),
            (json!({"spec": {"=(initContainers)": [{"image": "reg/*"}]}}), Fit::Yes),
            (
                json!({"spec": {"containers": [{"=(securityContext)": {"=(privileged)": "false"}}]}}),
                Fit::No("/spec/containers/1/securityContext/privileged/".into()),
            ),
            (json!({"spec": {"X(hostPID)": "*"}}), Fit::Yes),
            (json!({"spec": {"^(containers)": [{"name": "y"}]}}), Fit::Yes),
        ] {
            assert_eq!(fits(&pod, &pattern, "/"), wanted, "{pattern}");
        }
        assert!(text_fits("200m", "<1"));
        assert_eq!(quantity("1Gi"), Some(1_073_741_824.0));
    }
}
