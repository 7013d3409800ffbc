use super::*;
use crate::kinds::transfer::bare;
use crate::testing::{Dice, many_cases};

fn policy(dice: &mut Dice) -> Value {
    let mut object = live(dice.pick(&["Audit", "Enforce"]));
    let rules: Vec<Value> = (0..=dice.below(3))
        .map(|number| {
            let mut rule = json!({"name": format!("r{number}"), "validate": {"message": dice.pick(&["one", "two"])}});
            if dice.one_in(3) {
                rule["validate"]["failureAction"] = json!(dice.pick(&["Audit", "Enforce"]));
            }
            rule
        })
        .collect();
    object["spec"]["rules"] = json!(rules);
    if dice.one_in(5) {
        object["spec"]["validationFailureActionOverrides"] = json!([{"action": dice.pick(&["Audit", "Enforce"]), "namespaces": ["x"]}]);
    }
    if dice.one_in(2) {
        object["metadata"]["annotations"] = json!({"policydeck.dev/by": "sam", "policies.kyverno.io/severity": "low"});
    }
    if dice.one_in(3) {
        object["metadata"]["labels"] = json!({"team": "a", "helm.sh/chart": "c-1"});
    }
    object["metadata"]["resourceVersion"] = json!(dice.below(1_000).to_string());
    object
}

/// Any operation on anything, and the object that it is about as it is.
fn anything(dice: &mut Dice, from: &World, to: &World) -> (Option<Value>, Result<Plan, Refusal>) {
    let (source, target) = (policy(dice), policy(dice));
    let existing = (!dice.one_in(3)).then_some(target.clone());
    let mode = *dice.of(&[StepMode::Audit, StepMode::Enforce]);
    match dice.below(5) {
        0 => (Some(target.clone()), in_place(to, &target, mode)),
        1 => (existing.clone(), from_to(from, &source, to, existing.as_ref(), mode)),
        2 => (Some(target.clone()), demoted(to, &target)),
        3 => (existing.clone(), rolled_back(to, existing.as_ref(), &source)),
        _ => (Some(target.clone()), held(to, &target, "because")),
    }
}

#[test]
fn generated_plans_keep_the_rules_and_can_be_taken_back() {
    let mut made = 0;
    many_cases("generated_plans_keep_the_rules_and_can_be_taken_back", 1_000, 200, |dice| {
        let (from, mut to) = (World::new("staging", *dice.of(&[12, 15, 19])), World::new("production", *dice.of(&[12, 13, 17, 18, 19])));
        if dice.one_in(2) {
            to.settings.tier = Tier::Production;
        }
        to.settings.read_only = dice.one_in(8);
        let (existing, plan) = anything(dice, &from, &to);
        let Ok(plan) = plan else { return };
        made += 1;
        assert!(!to.settings.read_only, "no plan for a read-only environment exists");
        hold_to_the_rules(&plan, &to);
        let step = &plan.steps[0];
        let done = served(existing.as_ref(), step.after.as_ref());
        let back = undo(&plan, &[to.place()], &[done.as_ref()], &facts()).unwrap();
        hold_to_the_rules(&back, &to);
        let was = served(done.as_ref(), back.steps[0].after.as_ref());
        assert_eq!(was.as_ref().map(bare), existing.as_ref().map(bare), "undo leads to what it was");
        let again = undo(&back, &[to.place()], &[was.as_ref()], &facts()).unwrap();
        hold_to_the_rules(&again, &to);
        assert_eq!(again.steps[0].after.as_ref().map(bare), step.after.as_ref().map(bare), "undo of undo leads to what the plan led to");
        assert_eq!(again.direction, plan.direction);
    });
    assert!(made > 0 || std::env::var_os("POLICYDECK_SEED").is_some(), "some of them are plans");
}
