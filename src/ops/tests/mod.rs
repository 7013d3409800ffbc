//! Operations by table, and what holds for every plan.

mod commits;
mod generated;
mod operations;
mod plans;
mod rules;

use super::plan::{Basis, ConfirmLevel, Plan, Verb};
use super::*;
use crate::domain::Tier;
use crate::kinds::mode::Kyverno;
use crate::kinds::{Kind, KindId, Release};
use crate::settings::{EnvironmentSettings, Git, GitOps, Push, StepMode};
use serde_json::{Value, json};

/// An environment with everything that a place borrows.
struct World {
    settings: EnvironmentSettings,
    kyverno: Kyverno,
    served: Vec<&'static str>,
    schema: Option<Value>,
}

impl World {
    fn new(name: &str, minor: u16) -> Self {
        Self {
            settings: EnvironmentSettings::of_context(name),
            kyverno: Kyverno::new(Release::exactly(minor)),
            served: vec!["v1", "v2beta1", "v1alpha1", "v2"],
            schema: None,
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            settings: &self.settings,
            cluster_uid: &self.settings.name,
            server: "https://api.example:6443",
            kyverno: &self.kyverno,
            served: &self.served,
            schema: self.schema.as_ref(),
            through_git: false,
        }
    }
}

static NO_GATE: Value = Value::Null;

fn facts() -> Facts<'static> {
    Facts { at: "2026-11-25T10:00:00Z".parse().unwrap(), by: "jane@example.com", ticket: Some("CHG-1"), reason: None, gate: &NO_GATE }
}

fn cluster_policy() -> &'static Kind {
    KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind()
}

/// A ClusterPolicy as a server has it.
fn live(action: &str) -> Value {
    json!({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
        "metadata": {"name": "p", "uid": "u-1", "resourceVersion": "41", "generation": 2, "creationTimestamp": "2026-08-21T10:00:00Z",
            "managedFields": [{"manager": "kubectl"}]},
        "spec": {"background": true, "validationFailureAction": action, "rules": [{"name": "a", "validate": {"message": "no", "deny": {}}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn marked(mut object: Value, labels: &Value, annotations: &Value) -> Value {
    object["metadata"]["labels"] = labels.clone();
    object["metadata"]["annotations"] = annotations.clone();
    object
}

/// A GitOps tool's object.
fn kept_by_flux(action: &str) -> Value {
    marked(
        live(action),
        &json!({"kustomize.toolkit.fluxcd.io/name": "policies", "kustomize.toolkit.fluxcd.io/namespace": "flux"}),
        &json!({"team": "a"}),
    )
}

fn in_place(world: &World, existing: &Value, mode: StepMode) -> Result<Plan, Refusal> {
    promote::plan(&promote::Input {
        kind: cluster_policy(),
        source: None,
        target: world.place(),
        existing: Some(existing),
        mode,
        facts: facts(),
    })
}

fn from_to(from: &World, source: &Value, to: &World, existing: Option<&Value>, mode: StepMode) -> Result<Plan, Refusal> {
    let source = Some(promote::Source { place: from.place(), object: source });
    promote::plan(&promote::Input { kind: cluster_policy(), source, target: to.place(), existing, mode, facts: facts() })
}

fn demoted(world: &World, existing: &Value) -> Result<Plan, Refusal> {
    demote::plan(&demote::Input { kind: cluster_policy(), place: world.place(), existing, facts: facts() })
}

fn rolled_back(world: &World, existing: Option<&Value>, former: &Value) -> Result<Plan, Refusal> {
    rollback::plan(&rollback::Input { kind: cluster_policy(), place: world.place(), existing, former, facts: facts() })
}

fn held(world: &World, existing: &Value, reason: &str) -> Result<Plan, Refusal> {
    hold::hold(&hold::Input { kind: cluster_policy(), place: world.place(), existing, reason, facts: facts() })
}

fn released(world: &World, existing: &Value) -> Result<Plan, Refusal> {
    hold::release(&hold::Input { kind: cluster_policy(), place: world.place(), existing, reason: "", facts: facts() })
}

fn configuration(name: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name, "uid": "w", "resourceVersion": "5"}, "webhooks": []})
}

fn unblocked(world: &World, configurations: [Option<&Value>; 2], answers: Option<bool>) -> Result<Plan, Refusal> {
    unblock::plan(&unblock::Input { place: world.place(), configurations, answers, facts: facts() })
}

/// What holds for every plan, whatever it does.
fn hold_to_the_rules(plan: &Plan, world: &World) {
    assert!(!plan.steps.is_empty() && !plan.basis.is_empty() && plan.id.len() == 12, "{plan:?}");
    for step in &plan.steps {
        let applied = step.applied_to(step.before.as_ref()).unwrap();
        assert_eq!(applied, step.after, "applying a step to what was there gives what it says");
        match step.expect() {
            Some(expect) => assert!(!expect.uid.is_empty() && !expect.resource_version.is_empty()),
            None => assert!(matches!(step.verb, Verb::Create { .. }) && step.before.is_none() || matches!(step.verb, Verb::Commit { .. })),
        }
        if let Verb::Create { manifest } | Verb::Replace { manifest, .. } = &step.verb {
            for field in ["uid", "resourceVersion", "managedFields"] {
                assert_eq!(manifest["metadata"].get(field), None, "{field}");
            }
            assert_eq!(manifest.get("status"), None);
        }
        assert!(plan.basis.iter().any(|basis| basis.object == step.object && basis.environment == step.environment));
        assert!(!step.diff.is_empty());
    }
    let file = super::plan::to_file(plan).unwrap();
    assert_eq!(&super::plan::from_file(&file).unwrap(), plan, "{file}");
    let typed = world.settings.tier == Tier::Production || plan.operation == super::plan::Operation::Unblock;
    assert_eq!(plan.confirm, if typed { ConfirmLevel::TypeName(world.settings.name.clone()) } else { ConfirmLevel::Yes });
    assert!(!plan.undo.words().is_empty());
}

/// The object after a step, as a server would answer: with an identity of its own and a newer resource version.
fn served(before: Option<&Value>, after: Option<&Value>) -> Option<Value> {
    let mut object = after?.clone();
    object["metadata"]["uid"] = before.map_or_else(|| json!("u-new"), |before| before["metadata"]["uid"].clone());
    object["metadata"]["resourceVersion"] = json!("99");
    Some(object)
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().flat_map(|step| &step.diff).map(ToString::to_string).collect()
}
