//! ValidatingPolicy, ImageValidatingPolicy and their namespaced twins (kyverno/kyverno `pkg/cel/policies`).
//!
//! Not here: the expressions (`super::cel`).

use serde_json::{Value, json};

use super::cel::{self, Scope};
use super::engine::{Outcome, Policy, Verdict, World, images, pod_template};
use super::exceptions;
use super::matching::{Subject, constraints_match, strings, wildcard};
use crate::demo::store::text;

/// The actions; none means Deny.
pub(crate) fn actions(spec: &Value) -> Vec<&str> {
    let listed = strings(spec, "validationActions");
    if listed.is_empty() { vec!["Deny"] } else { listed }
}

pub(crate) fn judge(world: &World, policy: &Policy, subject: &Subject<'_>) -> Vec<Verdict> {
    let spec = policy.spec();
    let kubernetes = matches!(text(spec, "/evaluation/mode"), "" | "Kubernetes");
    let Some(view) = view(spec, subject).filter(|_| kubernetes) else {
        return Vec::new();
    };
    let image = policy.kind.ends_with("ImageValidatingPolicy");
    let source = if image { "KyvernoImageValidatingPolicy" } else { "KyvernoValidatingPolicy" };
    // Image policies name themselves as the rule, the others name none (pkg/cel/policies/{ivpol,vpol}).
    let rule = image.then(|| policy.key.name.clone());
    let excuses = exceptions::for_cel(world, policy, &view, subject);
    let mut verdict = if excuses.is_empty() {
        let Some((outcome, message)) = evaluate(world, policy, &view, subject, image) else {
            return Vec::new();
        };
        policy.verdict(source, rule, outcome, message)
    } else {
        let all_pass = excuses.iter().all(|(_, reports_pass)| *reports_pass);
        let names: Vec<String> = excuses.iter().map(|(excuse, _)| excuse.clone()).collect();
        let (outcome, said) = if all_pass { (Outcome::Pass, "passed") } else { (Outcome::Skip, "skipped") };
        let message = format!("rule is {said} due to policy exception: {}", names.join(", "));
        let mut verdict = policy.verdict(source, Some("exception".to_owned()), outcome, message);
        exceptions::note(&mut verdict, &names);
        verdict
    };
    let actions = actions(spec);
    verdict.denies = actions.contains(&"Deny");
    verdict.warns = actions.contains(&"Warn");
    vec![verdict]
}

/// The object, or the Pod inside a controller when the policy matches Pods only (autogen).
fn view(spec: &Value, subject: &Subject<'_>) -> Option<Value> {
    let constraints = &spec["matchConstraints"];
    if constraints_match(constraints, subject, subject.group, subject.plural) {
        return Some(subject.object.clone());
    }
    let rules = constraints["resourceRules"].as_array()?;
    let pods_only = rules.iter().all(|rule| strings(rule, "resources") == ["pods"]);
    let listed = spec.pointer("/autogen/podControllers/controllers").and_then(Value::as_array);
    let wanted = listed.is_none_or(|list| list.iter().any(|plural| plural == subject.plural));
    let (view, ..) = pod_template(subject.kind, subject.object)?;
    (pods_only && wanted && constraints_match(constraints, subject, "", "pods")).then_some(view)
}

/// What expressions see.
pub(crate) fn scope(view: &Value, subject: &Subject<'_>) -> Scope {
    let mut scope = Scope::default();
    scope.set("object", view.clone());
    scope.set("oldObject", Value::Null);
    scope.set(
        "request",
        json!({
            "operation": subject.operation, "namespace": subject.namespace, "name": subject.name,
            "kind": {"group": subject.group, "version": subject.version, "kind": subject.kind},
        }),
    );
    scope.set("namespaceObject", json!({"metadata": {"name": subject.namespace, "labels": subject.namespace_labels}}));
    scope
}

/// Named expressions, in order; each may use those before it.
pub(crate) fn variables(list: &Value, scope: &mut Scope) {
    for variable in list.as_array().into_iter().flatten() {
        let value = cel::value(text(variable, "/expression"), scope);
        scope.set_variable(text(variable, "/name"), value);
    }
}

fn evaluate(world: &World, policy: &Policy, view: &Value, subject: &Subject<'_>, image: bool) -> Option<(Outcome, String)> {
    let spec = policy.spec();
    let mut scope = scope(view, subject);
    for condition in spec["matchConditions"].as_array().into_iter().flatten() {
        if !cel::truth(text(condition, "/expression"), &scope).unwrap_or(false) {
            return None;
        }
    }
    if image {
        let globs: Vec<&str> = spec["matchImageReferences"].as_array().into_iter().flatten().map(|entry| text(entry, "/glob")).collect();
        let matched: Vec<String> = images(view).into_iter().filter(|image| globs.iter().any(|glob| wildcard(glob, image))).collect();
        if matched.is_empty() {
            return None;
        }
        scope.set("images", json!({"containers": matched, "initContainers": [], "ephemeralContainers": []}));
        let attestors = spec["attestors"].as_array().into_iter().flatten();
        scope.set("attestors", attestors.map(|entry| (text(entry, "/name").to_owned(), entry.clone())).collect());
        scope.unsigned.clone_from(&world.unsigned);
    }
    variables(&spec["variables"], &mut scope);
    for validation in spec["validations"].as_array().into_iter().flatten() {
        let expression = text(validation, "/expression");
        match cel::truth(expression, &scope) {
            Ok(true) => {}
            Ok(false) => return Some((Outcome::Fail, failure(validation, expression, &scope))),
            Err(unread) => return Some((Outcome::Error, format!("failed to evaluate: {unread}"))),
        }
    }
    Some((Outcome::Pass, "success".to_owned()))
}

fn failure(validation: &Value, expression: &str, scope: &Scope) -> String {
    let computed = validation["messageExpression"].as_str().and_then(|text| cel::value(text, scope).ok());
    if let Some(Value::String(message)) = computed {
        return message;
    }
    match text(validation, "/message") {
        "" => format!("failed expression: {expression}"),
        message => message.trim().to_owned(),
    }
}
