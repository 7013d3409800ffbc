//! `preconditions` and `deny.conditions`: variables in a reduced JMESPath, and the operators between them.
//!
//! Reduced: paths, `[]`, `[*]`, `[n]`, multiselect lists, `||`, literals and `length(…)`. Anything else is an
//! error that becomes the rule's result.

use serde_json::{Value, json};

use super::matching::wildcard;
use super::pattern::quantity;

/// What cannot be interpreted, in words.
pub(crate) type Unread = String;

/// `any`/`all` conditions; a bare list means all (the old form).
pub(crate) fn hold(conditions: &Value, context: &Value) -> Result<bool, Unread> {
    if let Some(list) = conditions.as_array() {
        return all(list, context);
    }
    let mut holds = true;
    if let Some(list) = conditions.get("any").and_then(Value::as_array).filter(|list| !list.is_empty()) {
        let mut any = false;
        for condition in list {
            any = any || condition_holds(condition, context)?;
        }
        holds = any;
    }
    if let Some(list) = conditions.get("all").and_then(Value::as_array) {
        holds = holds && all(list, context)?;
    }
    Ok(holds)
}

fn all(list: &[Value], context: &Value) -> Result<bool, Unread> {
    for condition in list {
        if !condition_holds(condition, context)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn condition_holds(condition: &Value, context: &Value) -> Result<bool, Unread> {
    let key = resolve(&condition["key"], context)?;
    let value = resolve(&condition["value"], context)?;
    let keys = many(&key);
    let listed = |item: &Value| many(&value).iter().any(|wanted| same(item, wanted));
    Ok(match condition["operator"].as_str().unwrap_or_default() {
        "Equals" | "Equal" => same(&key, &value),
        "NotEquals" | "NotEqual" => !same(&key, &value),
        "In" | "AllIn" => keys.iter().all(listed),
        "AnyIn" => keys.iter().any(listed),
        "NotIn" | "AllNotIn" => !keys.iter().any(listed),
        "AnyNotIn" => keys.iter().any(|item| !listed(item)),
        "GreaterThan" => number(&key)? > number(&value)?,
        "GreaterThanOrEquals" => number(&key)? >= number(&value)?,
        "LessThan" => number(&key)? < number(&value)?,
        "LessThanOrEquals" => number(&key)? <= number(&value)?,
        other => return Err(format!("operator {other} is not interpreted here")),
    })
}

fn many(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => wildcard(b, a),
        (Value::Number(_), Value::Number(_)) => a.as_f64() == b.as_f64(),
        // `"true"` and `true`, `"3"` and `3` are the same to Kyverno's operators.
        (Value::String(text), scalar @ (Value::Bool(_) | Value::Number(_)))
        | (scalar @ (Value::Bool(_) | Value::Number(_)), Value::String(text)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|read| read == *scalar)
        }
        _ => a == b,
    }
}

fn number(value: &Value) -> Result<f64, Unread> {
    let found = match value {
        Value::String(text) => quantity(text),
        other => other.as_f64(),
    };
    found.ok_or_else(|| format!("{value} is not a number"))
}

/// Puts variables into a value: a lone `{{ … }}` keeps its type, others become text.
pub(crate) fn resolve(value: &Value, context: &Value) -> Result<Value, Unread> {
    match value {
        Value::String(text) => resolve_text(text, context),
        Value::Array(items) => Ok(Value::Array(items.iter().map(|item| resolve(item, context)).collect::<Result<_, _>>()?)),
        other => Ok(other.clone()),
    }
}

fn resolve_text(text: &str, context: &Value) -> Result<Value, Unread> {
    let whole = text.trim();
    if let Some(inner) = whole.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("}}")
    {
        return query(inner, context);
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inner, after)) = after.split_once("}}") else {
            break;
        };
        out.push_str(before);
        match query(inner, context)? {
            Value::String(text) => out.push_str(&text),
            other => out.push_str(&other.to_string()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(Value::from(out))
}

/// A message with its variables put in; what cannot be read stays as written.
pub(crate) fn message(text: &str, context: &Value) -> String {
    match resolve_text(text, context) {
        Ok(Value::String(text)) => text.trim().to_owned(),
        _ => text.trim().to_owned(),
    }
}

/// Alternatives of one expression: the first that is neither null nor empty.
pub(crate) fn query(expression: &str, context: &Value) -> Result<Value, Unread> {
    let mut found = Value::Null;
    for alternative in expression.split("||") {
        found = single(alternative.trim(), context)?;
        let empty = match &found {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(yes) => !yes,
            _ => false,
        };
        if !empty {
            break;
        }
    }
    Ok(found)
}

fn single(expression: &str, context: &Value) -> Result<Value, Unread> {
    let quoted = |mark: char| expression.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    if let Some(text) = quoted('\'') {
        return Ok(Value::from(text));
    }
    if let Some(literal) = quoted('`') {
        return Ok(serde_json::from_str(literal).unwrap_or_else(|_| Value::from(literal)));
    }
    if let Some(inner) = expression.strip_prefix("length(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(match query(inner, context)? {
            Value::Array(items) => json!(items.len()),
            Value::Object(map) => json!(map.len()),
            Value::String(text) => json!(text.chars().count()),
            _ => json!(0),
        });
    }
    if expression.contains(['(', '|', '?', '&', '=', '>', '<']) {
        return Err(format!("the expression {{{{ {expression} }}}} is not interpreted here"));
    }
    Ok(walk(&segments(expression)?, context))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(String),
    Index(usize),
    /// `[]` and `[*]`: the rest applies to each element.
    Each,
    Fields(Vec<String>),
}

fn segments(expression: &str) -> Result<Vec<Segment>, Unread> {
    let unread = || format!("the path {expression} is not interpreted here");
    let mut out = Vec::new();
    let mut rest = expression.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inner, after) = after.split_once(']').ok_or_else(unread)?;
            out.push(match inner.trim() {
                "" | "*" => Segment::Each,
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => Segment::Index(number.parse().map_err(|_| unread())?),
                names => Segment::Fields(names.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()),
            });
            rest = after;
        } else if let Some(after) = rest.strip_prefix('"') {
            let (name, after) = after.split_once('"').ok_or_else(unread)?;
            out.push(Segment::Field(name.to_owned()));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).ok_or_else(unread)?;
            if name != "@" {
                out.push(Segment::Field(name.trim().to_owned()));
            }
            rest = after;
        }
    }
    Ok(out)
}

fn walk(segments: &[Segment], value: &Value) -> Value {
    let Some((first, rest)) = segments.split_first() else {
        return value.clone();
    };
    match first {
        Segment::Field(name) => value.get(name).map_or(Value::Null, |inner| walk(rest, inner)),
        Segment::Index(n) => value.get(n).map_or(Value::Null, |inner| walk(rest, inner)),
        Segment::Fields(names) => {
            let found = names.iter().map(|name| value.get(name).cloned().unwrap_or(Value::Null)).collect();
            walk(rest, &Value::Array(found))
        }
        Segment::Each => {
            let mut out = Vec::new();
            // `[]` flattens one level of lists.
            let items = value.as_array().into_iter().flatten().flat_map(many);
            for item in items {
                match walk(rest, &item) {
                    Value::Null => {}
                    Value::Array(inner) => out.extend(inner),
                    other => out.push(other),
                }
            }
            Value::Array(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_the_policy_library() {
        let context = json!({"request": {"object": {"metadata": {"labels": {"a.b/c": "1"}}, "spec": {"containers": [
            {"securityContext": {"capabilities": {"add": ["X", "Y"]}}}, {"ports": [{"p": 1}, {"p": 2}]}]}}}});
        for (expression, wanted) in [
            ("request.operation || 'BACKGROUND'", json!("BACKGROUND")),
            (
                "request.object.spec.[ephemeralContainers, initContainers, containers][].securityContext.capabilities.add[]",
                json!(["X", "Y"]),
            ),
            ("request.object.spec.containers[].ports[].p", json!([1, 2])),
            ("request.object.metadata.labels.\"a.b/c\"", json!("1")),
            ("length(request.object.spec.containers)", json!(2)),
            ("request.object.spec.hostNetwork || `false`", json!(false)),
        ] {
            assert_eq!(query(expression, &context).unwrap(), wanted, "{expression}");
        }
        assert!(query("to_upper('x')", &context).is_err());
        let deny = json!({"any": [{"key": "{{ request.object.spec.containers[].securityContext.capabilities.add[] }}", "operator": "AnyNotIn", "value": ["X"]}]});
        assert!(hold(&deny, &context).unwrap());
        assert_eq!(message("has {{ request.object.metadata.labels.\"a.b/c\" }}", &context), "has 1");
    }
}
