//! Plans, what servers say of them, and what became of them: what an engine would answer to somebody who changes things.

use super::{ago, gates, now};
use policydeck::domain::journal::StepResult;
use policydeck::domain::{ConditionState, Gate, Mode, PolicyId, Revision, Stop, Verdict};
use policydeck::engine::operations::{Declined, Former, Kept, Outcome, StepOutcome};
use policydeck::fleet::view::FleetView;
use policydeck::ops::diff::diff;
use policydeck::ops::plan::{Basis, ConfirmLevel, Direction, Expect, ObjectRef, Operation, Plan, Step, Undo, Verb};
use policydeck::ops::{Commit, Refusal};
use policydeck::tui::{Deed, Preparation, Prepared, Wish};
use serde_json::{Value, json};

/// Of this policy, Kyverno refuses every change.
pub(crate) const REFUSED: &str = "disallow-default-namespace";
/// This one somebody holds.
pub(crate) const HELD: &str = "require-labels";

fn manifest(policy: &PolicyId, action: &str) -> Value {
    json!({"apiVersion": "kyverno.io/v1", "kind": policy.kind, "metadata": {"name": policy.name, "labels": {"team": "platform"}},
        "spec": {"validationFailureAction": action, "background": true, "rules": [{"name": "validate-image-tag",
            "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {"message": "Using a mutable image tag e.g. 'latest' is not allowed.",
            "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}}}}]}})
}

fn stamped(mut object: Value, from: Option<&str>, ticket: Option<&str>) -> Value {
    let mut annotations =
        json!({"policydeck.dev/at": "2025-11-23T14:32:07Z", "policydeck.dev/by": "jane@laptop", "policydeck.dev/plan": "5f0c2a91be44"});
    if let Some(from) = from {
        annotations["policydeck.dev/promoted-from"] = Value::from(format!("{from}@91c2e0a4f1aa"));
    }
    if let Some(ticket) = ticket {
        annotations["policydeck.dev/ticket"] = Value::from(ticket);
    }
    object["metadata"]["annotations"] = annotations;
    object
}

fn mode(fleet: &FleetView, environment: &str, policy: &PolicyId) -> Option<Mode> {
    let view = fleet.environments.iter().find(|view| &*view.name == environment)?;
    view.cells.iter().find(|cell| *cell.key.id == *policy).map(|cell| cell.mode)
}

fn action(mode: Mode) -> &'static str {
    if mode == Mode::Enforce { "Enforce" } else { "Audit" }
}

/// A plan that makes a policy so in an environment.
fn plan(fleet: &FleetView, policy: &PolicyId, environment: &str, operation: Operation, to: Mode, wish: &Wish, gate: &Value) -> Plan {
    let was = mode(fleet, environment, policy);
    let before = was.map(|was| manifest(policy, action(was)));
    let from = gate.pointer("/from/environment").and_then(Value::as_str);
    let after = stamped(manifest(policy, action(to)), from, wish.ticket.as_deref());
    let object = ObjectRef {
        group: policy.group.clone(),
        version: "v1".to_owned(),
        kind: policy.kind.clone(),
        plural: "clusterpolicies".to_owned(),
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
    };
    let expect = Expect { uid: "8f3c91d2".to_owned(), resource_version: "4711".to_owned() };
    let verb = match before {
        Some(_) => Verb::Replace { manifest: after.clone(), expect },
        None => Verb::Create { manifest: after.clone() },
    };
    let production = environment.starts_with("prod");
    let mut step = Step {
        environment: environment.to_owned(),
        object: object.clone(),
        verb,
        diff: diff(before.as_ref(), Some(&after)),
        before,
        after: Some(after),
        managers: Vec::new(),
        gives_back: Vec::new(),
    };
    if operation == Operation::Unblock {
        step.verb = Verb::Delete { expect: Expect { uid: "1".to_owned(), resource_version: "2".to_owned() } };
        (step.diff, step.after) = (Vec::new(), None);
    }
    let mut notes = Vec::new();
    if step.before.is_none() {
        notes.push("left behind: meta.helm.sh/release-name, app.kubernetes.io/managed-by (Helm owns it in staging)".to_owned());
    }
    let mut warnings = Vec::new();
    if to == Mode::Enforce {
        warnings
            .push("failurePolicy is Fail: while Kyverno does not answer, every request that this policy looks at is refused.".to_owned());
    }
    Plan {
        id: "5f0c2a91be44".to_owned(),
        operation,
        direction: if operation == Operation::Promote { Direction::Up } else { Direction::Down },
        made_at: now(),
        made_by: "jane@laptop".to_owned(),
        maker: None,
        signer: None,
        ticket: wish.ticket.clone(),
        reason: None,
        undoes: None,
        basis: vec![Basis {
            environment: environment.to_owned(),
            cluster_uid: "8f3c91d2-77aa-4c1e-9b53-0d6a3f2e9f10".to_owned(),
            server: format!("https://{environment}.example.com:6443"),
            object,
            content: was.map(|_| "c0ffee".to_owned()),
            revision: was.map(|_| Revision("91c2e0a4f1aa".to_owned())),
            mode: was,
            uid: was.map(|_| "8f3c91d2".to_owned()),
            resource_version: was.map(|_| "4711".to_owned()),
        }],
        steps: vec![step],
        warnings,
        notes,
        impact: if to == Mode::Enforce {
            vec![format!(
                "{environment}: 3 owners in 2 namespaces fail now and would be refused at their next change: checkout/web, checkout/nightly, search/index"
            )]
        } else {
            Vec::new()
        },
        undo: Undo::Plan(match was {
            Some(_) => format!("set {}/{} in {environment} back to what it is now", policy.kind, policy.name),
            None => format!("delete {}/{} in {environment} again", policy.kind, policy.name),
        }),
        confirm: if production || operation == Operation::Unblock {
            ConfirmLevel::TypeName(environment.to_owned())
        } else {
            ConfirmLevel::Yes
        },
        gate: gate.clone(),
    }
}

/// What became of every step of a plan, or of its rehearsal.
pub(crate) fn outcome(plan: &Plan, result: StepResult, reason: &str, dry_run: bool) -> Outcome {
    let step = |step: &Step| StepOutcome {
        environment: step.environment.clone(),
        verb: step.verb.as_str(),
        object: step.object.clone(),
        result,
        reason: reason.to_owned(),
        diff: step.diff.clone(),
        effect: None,
        warnings: vec!["ClusterPolicy is deprecated and will be removed in a future release".to_owned()],
    };
    let undo = (!dry_run)
        .then(|| format!("/home/jane/.local/share/policydeck/archives/20251123T143207Z-{}-{}", plan.steps[0].environment, plan.id).into());
    Outcome { plan: plan.id.clone(), undo, dry_run, steps: plan.steps.iter().map(step).collect() }
}

fn prepared(plan: Plan) -> Prepared {
    let rehearsed = if plan.steps[0].object.name == REFUSED {
        let why =
            "admission webhook \"validate-policy.kyverno.svc\" denied the request: path: spec.rules[0].validate: a rule needs a pattern";
        outcome(&plan, StepResult::Refused, why, true)
    } else {
        outcome(&plan, StepResult::Done, "dry run: accepted", true)
    };
    Prepared { plan, rehearsed, seen_as: Some("jane@example.com".to_owned()) }
}

/// A gate that is open, with what it would have said otherwise as the reason why it is.
fn opened(mut gate: Gate) -> Gate {
    for condition in &mut gate.conditions {
        condition.state = ConditionState::Met;
    }
    (gate.verdict, gate.opens_at) = (Verdict::Open, None);
    gate
}

/// What an engine would plan. `open` opens every gate.
pub(crate) fn prepare(fleet: &FleetView, wish: &Wish, open: bool) -> Preparation {
    let mut plans = Vec::new();
    let several = wish.policies.len() > 1;
    for policy in &wish.policies {
        let here = wish.environment.clone().unwrap_or_else(|| "".into());
        let declined = |why| Preparation::Declined { policy: several.then(|| policy.clone()), why };
        let made = |operation, to| plan(fleet, policy, &here, operation, to, wish, &Value::Null);
        let plan = match &wish.deed {
            Deed::Promote => {
                let judged = gates::gates(fleet, &gates::road()).into_iter().find(|(id, _)| id == policy);
                let gate = match judged {
                    Some((_, Ok(gate))) if open => opened(gate),
                    Some((_, Ok(gate))) => gate,
                    Some((_, Err(why))) => return declined(Declined::Usage(format!("{policy}: {why}"))),
                    None => return declined(Declined::Usage(format!("{policy} is nowhere"))),
                };
                let mut evidence = serde_json::to_value(&gate).unwrap();
                match (gate.verdict, &wish.acknowledge) {
                    (Verdict::Open, _) => {}
                    (Verdict::Unknown, Some(reason)) => evidence["acknowledged"] = Value::from(reason.as_str()),
                    _ => return declined(Declined::Gate(Box::new(gate))),
                }
                let Stop { environment, mode } = gate.to;
                plan(fleet, policy, &environment, Operation::Promote, mode, wish, &evidence)
            }
            Deed::Demote => made(Operation::Demote, Mode::Audit),
            Deed::Rollback(_) => made(Operation::Rollback, Mode::Audit),
            Deed::Hold(None) if policy.name != HELD => return Preparation::ReasonWanted,
            Deed::Hold(Some(_)) => made(Operation::Hold, Mode::Audit),
            Deed::Hold(None) => made(Operation::Release, Mode::Audit),
            Deed::Unblock => continue,
        };
        plans.push(prepared(plan));
    }
    if wish.deed == Deed::Unblock {
        let webhooks = PolicyId {
            group: "admissionregistration.k8s.io".to_owned(),
            kind: "ValidatingWebhookConfiguration".to_owned(),
            namespace: None,
            name: "kyverno-resource-validating-webhook-cfg".to_owned(),
        };
        let here = wish.environment.clone().unwrap_or_else(|| "".into());
        plans.push(prepared(plan(fleet, &webhooks, &here, Operation::Unblock, Mode::Audit, wish, &Value::Null)));
    }
    Preparation::Plans(plans)
}

/// What archives there would be: two, unless the policy is younger.
pub(crate) fn formers(policy: &PolicyId) -> Vec<Former> {
    let of = |hours: i64, mode: Mode, why: &str| Former {
        at: ago(hours * 3_600),
        revision: Revision("91c2e0".to_owned()),
        mode,
        actor: Some("jane as jane@example.com".to_owned()),
        kept: Kept::Archive { folder: format!("/home/jane/.local/share/policydeck/archives/{hours}").into(), before: why.to_owned() },
        present: false,
        doubt: None,
        object: Some(manifest(policy, action(mode))),
    };
    if policy.name == "require-probes" { Vec::new() } else { vec![of(29, Mode::Audit, "promote"), of(170, Mode::Enforce, "demote")] }
}

/// What is refused without a plan: an object that a GitOps tool keeps.
pub(crate) fn kept_by_git() -> Declined {
    let text = "Argo CD (policies) keeps ClusterPolicy/disallow-latest-tag and would put it back: commit the manifest to \
         git@example.com:platform/policies (main) instead. To write to the cluster all the same, set `gitops = \"warn\"` for staging in the \
         configuration.";
    let shown = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata:\n  name: disallow-latest-tag\nspec:\n  validationFailureAction: Enforce\n";
    let commit = Commit {
        repo: Some("git@example.com:platform/policies".to_owned()),
        branch: Some("main".to_owned()),
        folder: Some("staging".to_owned()),
        // What is copied and saved has the values of Secrets.
        manifest: format!("{shown}  # hunter2\n"),
        shown: shown.to_owned(),
    };
    Refusal { word: "gitops", text: text.to_owned(), commit: Some(Box::new(commit)) }.into()
}
