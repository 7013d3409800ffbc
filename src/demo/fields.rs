//! What a schema does to an object: unknown fields, defaults, enumerations, required fields.
//!
//! Not here: the schemas, which are lines of `assets/demo/resources.toml`.

use serde_json::{Map, Value};

use super::catalog::Resource;
use super::failure::Failure;

/// The fields a schema does not know, two levels deep, removed from the object as pruning does.
pub(crate) fn prune(resource: &Resource, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let Some(map) = object.as_object_mut() else {
        return unknown;
    };
    if let Some(top) = &resource.top {
        let known = |name: &str| matches!(name, "apiVersion" | "kind" | "metadata") || top.iter().any(|field| field == name);
        remove_unless(map, known, "", &mut unknown);
    }
    if let (Some(fields), Some(spec)) = (&resource.spec, map.get_mut("spec").and_then(Value::as_object_mut)) {
        remove_unless(spec, |name| fields.iter().any(|field| field == name), "spec.", &mut unknown);
    }
    unknown
}

fn remove_unless(map: &mut Map<String, Value>, known: impl Fn(&str) -> bool, prefix: &str, unknown: &mut Vec<String>) {
    map.retain(|name, _| {
        let keep = known(name);
        if !keep {
            unknown.push(format!("{prefix}{name}"));
        }
        keep
    });
}

/// Fills in the schema's defaults where the parent is present.
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    for (path, default) in &resource.defaults {
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        visit(object, parents, &mut |parent| {
            if let Some(map) = parent.as_object_mut()
                && !map.contains_key(name)
            {
                map.insert(name.to_owned(), default.clone());
            }
        });
    }
}

/// Required fields and enumerations.
pub(crate) fn check(resource: &Resource, name: &str, object: &mut Value) -> Result<(), Failure> {
    let mut causes: Vec<(&str, String, &str)> = Vec::new();
    for path in &resource.required {
        if object.pointer(&format!("/{}", path.replace('.', "/"))).is_none() {
            causes.push(("FieldValueRequired", "Required value".to_owned(), path));
        }
    }
    for rule in &resource.enums {
        let Some((path, allowed)) = rule.split_first() else {
            continue;
        };
        visit(object, path, &mut |value| {
            let shown = value.as_str().unwrap_or_default();
            if !allowed.iter().any(|a| a == shown) {
                let allowed = allowed.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", ");
                let message = format!("Unsupported value: {value}: supported values: {allowed}");
                causes.push(("FieldValueNotSupported", message, path));
            }
        });
    }
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(&resource.kind, &resource.group, name, &causes)) }
}

/// Calls `act` on every value at a dotted path; `[]` after a name goes through a list.
fn visit(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Value)) {
    if path.is_empty() {
        return act(value);
    }
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, many) = head.strip_suffix("[]").map_or((head, false), |name| (name, true));
    let Some(inner) = value.get_mut(name) else {
        return;
    };
    if many {
        for item in inner.as_array_mut().into_iter().flatten() {
            visit(item, rest, act);
        }
    } else {
        visit(inner, rest, act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::catalog::Catalog;
    use serde_json::json;

    #[test]
    fn schema_lines_do_what_crds_do() {
        let catalog = Catalog::load(19, &[]).unwrap();
        let resource = catalog.kind("kyverno.io", "ClusterPolicy").unwrap();
        let mut policy = json!({"kind": "ClusterPolicy", "spec": {"odd": 1, "rules": [{"name": "r", "validate": {"failureAction": "enforce"}}]}, "more": 2});
        assert_eq!(prune(resource, &mut policy), ["more", "spec.odd"]);
        fill(resource, &mut policy);
        assert_eq!(policy["spec"]["background"], true);
        assert_eq!(policy["spec"]["rules"][0]["validate"]["allowExistingViolations"], true);
        let refused = check(resource, "p", &mut policy).unwrap_err();
        assert_eq!(refused.code, 422);
        assert!(refused.message.contains("Unsupported value: \"enforce\""), "{}", refused.message);
    }
}
