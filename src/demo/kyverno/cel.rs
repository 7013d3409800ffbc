//! What CEL expressions mean, for the subset policies of the demo need.
//!
//! Macros `has all exists exists_one map filter`; functions `size startsWith endsWith contains split trim
//! lowerAscii string int orValue hasValue value`; `verifyImageSignatures` against the made-up registry. Anything
//! else (`matches`, `quantity`, API calls …) is an error, which becomes the result. Not here: parsing
//! (`super::cel_parse`).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::cel_parse::{Expr, parse};
use super::matching::wildcard;

/// Names an expression may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    names: HashMap<String, Value>,
    variables: HashMap<String, Result<Value, String>>,
    pub(crate) unsigned: Vec<String>,
}

impl Scope {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.names.insert(name.to_owned(), value);
    }

    /// A policy variable; its error counts only when it is used.
    pub(crate) fn set_variable(&mut self, name: &str, value: Result<Value, String>) {
        self.variables.insert(name.to_owned(), value);
    }
}

/// A value, or an optional one on its way to `orValue`.
#[derive(Debug, Clone)]
enum Held {
    Plain(Value),
    Optional(Option<Value>),
}

type Result<T, E = String> = std::result::Result<T, E>;

/// An expression that must be a yes or a no.
pub(crate) fn truth(text: &str, scope: &Scope) -> Result<bool> {
    match value(text, scope)? {
        Value::Bool(yes) => Ok(yes),
        other => Err(format!("{text:?} is {other}, not a boolean")),
    }
}

/// Any expression.
pub(crate) fn value(text: &str, scope: &Scope) -> Result<Value> {
    plain(&parse(text)?, scope)
}

fn plain(expression: &Expr, scope: &Scope) -> Result<Value> {
    match eval(expression, scope)? {
        Held::Plain(value) => Ok(value),
        Held::Optional(value) => value.ok_or_else(|| "an optional value is absent".to_owned()),
    }
}

fn boolean(expression: &Expr, scope: &Scope) -> Result<bool> {
    plain(expression, scope)?.as_bool().ok_or_else(|| "expected a boolean".to_owned())
}

fn eval(expression: &Expr, scope: &Scope) -> Result<Held> {
    Ok(Held::Plain(match expression {
        Expr::Literal(value) => value.clone(),
        Expr::Name(name) => scope.names.get(name).cloned().ok_or_else(|| format!("undeclared reference to '{name}'"))?,
        Expr::Field(of, name, optional) => return field(of, name, *optional, scope),
        Expr::Index(of, index, optional) => return at_index(of, index, *optional, scope),
        Expr::Call(receiver, name, arguments) => {
            return call(receiver.as_deref(), name, arguments, scope);
        }
        Expr::List(items) => Value::Array(items.iter().map(|item| plain(item, scope)).collect::<Result<_>>()?),
        Expr::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                map.insert(text_of(&plain(key, scope)?), plain(value, scope)?);
            }
            Value::Object(map)
        }
        Expr::Unary("!", inner) => json!(!boolean(inner, scope)?),
        Expr::Unary(_, inner) => arithmetic("-", &json!(0), &plain(inner, scope)?)?,
        Expr::Binary(operator, left, right) => binary(operator, left, right, scope)?,
        Expr::Choice(condition, yes, no) => {
            return eval(if boolean(condition, scope)? { yes } else { no }, scope);
        }
    }))
}

fn field(of: &Expr, name: &str, optional: bool, scope: &Scope) -> Result<Held> {
    if matches!(of, Expr::Name(root) if root == "variables") {
        let found = scope.variables.get(name).cloned();
        return found.unwrap_or_else(|| Err(format!("undeclared variable '{name}'"))).map(Held::Plain);
    }
    match eval(of, scope)? {
        Held::Optional(value) => Ok(Held::Optional(value.and_then(|value| value.get(name).cloned()))),
        Held::Plain(value) if optional => Ok(Held::Optional(value.get(name).cloned())),
        Held::Plain(value) => value.get(name).cloned().map(Held::Plain).ok_or_else(|| format!("no such key: {name}")),
    }
}

fn at_index(of: &Expr, index: &Expr, optional: bool, scope: &Scope) -> Result<Held> {
    let index = plain(index, scope)?;
    let find = |value: &Value| match &index {
        Value::String(key) => value.get(key).cloned(),
        number => number.as_u64().and_then(|n| value.get(n as usize).cloned()),
    };
    match eval(of, scope)? {
        Held::Optional(value) => Ok(Held::Optional(value.as_ref().and_then(find))),
        Held::Plain(value) if optional => Ok(Held::Optional(find(&value))),
        Held::Plain(value) => find(&value).map(Held::Plain).ok_or_else(|| format!("no such key: {index}")),
    }
}

fn binary(operator: &str, left: &Expr, right: &Expr, scope: &Scope) -> Result<Value> {
    if operator == "&&" || operator == "||" {
        // Either side decides alone, whatever became of the other (CEL's error absorption).
        let decides = operator == "||";
        let first = boolean(left, scope);
        if first == Ok(decides) {
            return Ok(json!(decides));
        }
        let second = boolean(right, scope)?;
        return if second == decides { Ok(json!(decides)) } else { first.map(|_| json!(!decides)) };
    }
    let (a, b) = (plain(left, scope)?, plain(right, scope)?);
    Ok(match operator {
        "==" => json!(equal(&a, &b)),
        "!=" => json!(!equal(&a, &b)),
        "in" => json!(match &b {
            Value::Array(items) => items.iter().any(|item| equal(item, &a)),
            Value::Object(map) => map.contains_key(a.as_str().unwrap_or_default()),
            _ => return Err("'in' needs a list or a map".to_owned()),
        }),
        "<" | "<=" | ">" | ">=" => json!(compare(operator, &a, &b)?),
        _ => arithmetic(operator, &a, &b)?,
    })
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON,
        _ => a == b,
    }
}

fn compare(operator: &str, a: &Value, b: &Value) -> Result<bool> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    let order = order.ok_or_else(|| format!("cannot compare {a} with {b}"))?;
    Ok(match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn arithmetic(operator: &str, a: &Value, b: &Value) -> Result<Value> {
    let overflow = || "integer overflow".to_owned();
    match (operator, a, b) {
        ("+", Value::String(a), Value::String(b)) => Ok(json!(format!("{a}{b}"))),
        ("+", Value::Array(a), Value::Array(b)) => Ok(Value::Array(a.iter().chain(b).cloned().collect())),
        (_, Value::Number(x), Value::Number(y)) => {
            let (Some(x), Some(y)) = (x.as_i64(), y.as_i64()) else {
                return Err("only whole numbers are added here".to_owned());
            };
            let result = match operator {
                "+" => x.checked_add(y),
                "-" => x.checked_sub(y),
                "*" => x.checked_mul(y),
                "/" => x.checked_div(y),
                _ => x.checked_rem(y),
            };
            result.map(|n| json!(n)).ok_or_else(overflow)
        }
        _ => Err(format!("no {operator} between {a} and {b}")),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn call(receiver: Option<&Expr>, name: &str, arguments: &[Expr], scope: &Scope) -> Result<Held> {
    match (name, receiver, arguments) {
        ("has", None, [Expr::Field(of, field, _)]) => {
            let found = match eval(of, scope)? {
                Held::Plain(value) => value.get(field).is_some(),
                Held::Optional(value) => value.is_some_and(|value| value.get(field).is_some()),
            };
            Ok(Held::Plain(json!(found)))
        }
        ("orValue", Some(of), [default]) => match eval(of, scope)? {
            Held::Optional(Some(value)) | Held::Plain(value) => Ok(Held::Plain(value)),
            Held::Optional(None) => eval(default, scope),
        },
        ("hasValue", Some(of), []) => Ok(Held::Plain(json!(!matches!(eval(of, scope)?, Held::Optional(None))))),
        ("all" | "exists" | "exists_one" | "map" | "filter", Some(of), [Expr::Name(each), rest @ ..]) => {
            over(name, &plain(of, scope)?, each, rest, scope).map(Held::Plain)
        }
        ("verifyImageSignatures", None, [image, _]) => {
            let image = text_of(&plain(image, scope)?);
            let signed = !scope.unsigned.iter().any(|glob| wildcard(glob, &image));
            Ok(Held::Plain(json!(i64::from(signed))))
        }
        _ => {
            let mut values = Vec::new();
            for expression in receiver.into_iter().chain(arguments) {
                values.push(plain(expression, scope)?);
            }
            function(name, &values).map(Held::Plain)
        }
    }
}

/// The comprehensions.
fn over(name: &str, of: &Value, each: &str, body: &[Expr], scope: &Scope) -> Result<Value> {
    let items: Vec<Value> = match of {
        Value::Array(items) => items.clone(),
        Value::Object(map) => map.keys().map(|key| json!(key)).collect(),
        other => return Err(format!("{name} needs a list or a map, not {other}")),
    };
    let last = body.last().ok_or_else(|| format!("{name} needs an expression"))?;
    let mut inner = scope.clone();
    let (mut kept, mut count, mut failed) = (Vec::new(), 0_usize, None);
    for item in items {
        inner.set(each, item.clone());
        match name {
            "map" => {
                if body.len() < 2 || body.first().map(|test| boolean(test, &inner)).transpose()? == Some(true) {
                    kept.push(plain(last, &inner)?);
                }
            }
            "filter" => {
                if boolean(last, &inner)? {
                    kept.push(item);
                }
            }
            _ => match boolean(last, &inner) {
                Ok(true) if name == "exists" => return Ok(json!(true)),
                Ok(false) if name == "all" => return Ok(json!(false)),
                Ok(yes) => count += usize::from(yes),
                Err(error) => failed = Some(error),
            },
        }
    }
    match (name, failed) {
        ("map" | "filter", _) => Ok(Value::Array(kept)),
        (_, Some(error)) => Err(error),
        ("all", None) => Ok(json!(true)),
        ("exists", None) => Ok(json!(false)),
        _ => Ok(json!(count == 1)),
    }
}

fn function(name: &str, values: &[Value]) -> Result<Value> {
    let string = |n: usize| values.get(n).and_then(Value::as_str).ok_or_else(|| format!("{name} needs text"));
    Ok(match (name, values) {
        ("size", [Value::Array(items)]) => json!(items.len()),
        ("size", [Value::Object(map)]) => json!(map.len()),
        ("size", [Value::String(text)]) => json!(text.chars().count()),
        ("startsWith", [_, _]) => json!(string(0)?.starts_with(string(1)?)),
        ("endsWith", [_, _]) => json!(string(0)?.ends_with(string(1)?)),
        ("contains", [_, _]) => json!(string(0)?.contains(string(1)?)),
        ("split", [_, _]) => json!(string(0)?.split(string(1)?).collect::<Vec<_>>()),
        ("trim", [_]) => json!(string(0)?.trim()),
        ("lowerAscii", [_]) => json!(string(0)?.to_ascii_lowercase()),
        ("string", [value]) => json!(text_of(value)),
        ("int", [value]) => {
            let text = text_of(value);
            json!(text.parse::<i64>().map_err(|_| format!("{text} is not a number"))?)
        }
        ("value", [value]) => value.clone(),
        _ => {
            return Err(format!("the function {name} with {} arguments is not interpreted by the demo", values.len()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_as_policies_write_them() {
        let mut scope = Scope::default();
        scope.set(
            "object",
            json!({
                "metadata": {"labels": {"team": "pay", "a.b/c": "x"}},
                "spec": {"replicas": 3, "containers": [
                    {"name": "a", "image": "reg/a:1", "resources": {"limits": {"memory": "1Gi"}}},
                    {"name": "b", "image": "reg/b:latest", "securityContext": {"privileged": true}},
                ]},
            }),
        );
        scope.set_variable("all", value("object.spec.containers + object.spec.?initContainers.orValue([])", &scope));
        scope.set_variable("broken", Err("no".to_owned()));
        for (expression, wanted) in [
            ("has(object.metadata.labels) && 'team' in object.metadata.labels", true),
            ("object.metadata.labels['a.b/c'] == \"x\"", true),
            ("object.metadata.?labels[?'cost'].orValue('') == ''", true),
            ("object.metadata.?annotations.?x.hasValue()", false),
            ("variables.all.all(c, !c.image.endsWith(':latest'))", false),
            ("variables.all.exists(c, c.?securityContext.?privileged.orValue(false))", true),
            ("variables.all.all(c, has(c.resources) && has(c.resources.limits))", false),
            ("object.spec.containers.map(c, c.name) == ['a', 'b']", true),
            ("object.spec.containers.filter(c, c.image.startsWith('reg/')).size() == 2", true),
            ("object.spec.replicas >= 2 ? true : variables.broken", true),
            ("variables.broken == 1 || size(object.spec.containers) + 1 == 3", true),
            ("!has(object.spec.hostNetwork) || object.spec.hostNetwork == false", true),
        ] {
            assert_eq!(truth(expression, &scope), Ok(wanted), "{expression}");
        }
        for unread in ["object.metadata.name.matches('a.*')", "object.spec.nope == 1", "quantity('1')", "(1", "variables.broken"] {
            assert!(truth(unread, &scope).is_err(), "{unread}");
        }
    }
}
