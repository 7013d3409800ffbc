use super::*;
use crate::ops::plan::{Direction, Operation, basis_moved, from_file, join, pin_again, to_file, too_old};

fn plan() -> (World, Plan) {
    let world = World::new("staging", 19);
    let plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    (world, plan)
}

fn now(world: &World, plan: &Plan, object: Option<&Value>) -> Vec<Basis> {
    vec![Basis::of(&world.place(), plan.steps[0].object.clone(), object)]
}

#[test]
fn a_basis_holds_while_nobody_writes_anything() {
    let (mut world, plan) = plan();
    let mut later = live("Audit");
    later["metadata"]["resourceVersion"] = json!("77");
    later["metadata"]["managedFields"] = json!([]);
    later["status"] = json!({"conditions": []});
    assert_eq!(basis_moved(&plan, &now(&world, &plan, Some(&later))), None);
    let pinned = pin_again(&plan, &now(&world, &plan, Some(&later))).unwrap();
    assert_eq!(pinned.steps[0].expect().unwrap().resource_version, "77");
    assert_eq!(pinned.basis[0].resource_version.as_deref(), Some("77"));
    let moved = |object: Option<&Value>| basis_moved(&plan, &now(&world, &plan, object)).unwrap_or_default();
    assert!(moved(None).contains("ClusterPolicy/p in staging was deleted since"), "{}", moved(None));
    assert!(moved(Some(&live("Enforce"))).contains("went from audit to enforce"));
    let mut other = live("Audit");
    other["spec"]["background"] = json!(false);
    assert!(moved(Some(&other)).contains("changed from revision"));
    let mut labelled = live("Audit");
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(moved(Some(&labelled)).contains("labels, annotations or overrides"));
    let mut again = live("Audit");
    again["metadata"]["uid"] = json!("u-2");
    assert!(moved(Some(&again)).contains("deleted and created again"));
    assert!(basis_moved(&plan, &[]).unwrap().contains("could not be read"));
    assert!(pin_again(&plan, &now(&world, &plan, None)).is_err());
    world.settings.name = "staging".to_owned();
    let mut elsewhere = now(&world, &plan, Some(&live("Audit")));
    elsewhere[0].cluster_uid = "another".to_owned();
    assert!(basis_moved(&plan, &elsewhere).unwrap().contains("is in another cluster"));
}

#[test]
fn a_basis_of_nothing_moves_when_something_appears() {
    let (dev, staging) = (World::new("dev", 19), World::new("staging", 19));
    let plan = from_to(&dev, &live("Audit"), &staging, None, StepMode::Audit).unwrap();
    let of = |existing: Option<&Value>| {
        vec![
            Basis::of(&staging.place(), plan.steps[0].object.clone(), existing),
            Basis::of(&dev.place(), plan.steps[0].object.clone(), Some(&live("Audit"))),
        ]
    };
    assert_eq!(basis_moved(&plan, &of(None)), None);
    assert!(basis_moved(&plan, &of(Some(&live("Audit")))).unwrap().contains("was created since"));
}

#[test]
fn age() {
    let (_, plan) = plan();
    let at = |text: &str| text.parse().unwrap();
    assert_eq!(too_old(&plan, at("2026-11-25T10:10:00Z")), None);
    assert_eq!(too_old(&plan, at("2026-11-25T09:00:00Z")), None);
    assert!(too_old(&plan, at("2026-11-25T10:11:00Z")).unwrap().contains("made 11m ago"));
}

#[test]
fn files_that_are_refused() {
    let (_, plan) = plan();
    let file = to_file(&plan).unwrap();
    assert_eq!(from_file(&file).unwrap(), plan);
    for (text, why) in [
        ("nothing".to_owned(), "it is not JSON"),
        ("{}".to_owned(), "its kind is ``"),
        (file.replace("policydeck.dev/v1", "policydeck.dev/v9"), "has version `policydeck.dev/v9`"),
        (file.replace("CHG-1", "CHG-2"), "was changed after it was made"),
        (file.replace("\"kind\": \"Plan\"", "\"kind\": \"Pod\""), "its kind is `Pod`"),
    ] {
        let found = from_file(&text).unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    let mut document: Value = serde_json::from_str(&file).unwrap();
    document["plan"]["onlyOn"] = json!("Sundays");
    document["digest"] = json!(crate::kinds::revision::full_digest(&document["plan"]));
    assert!(from_file(&document.to_string()).unwrap_err().contains("things that this program does not know"));
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let ((_, one), (_, other)) = (plan(), plan());
    assert_eq!(one, other);
    let world = World::new("staging", 19);
    let later = Facts { at: "2026-11-25T10:00:01Z".parse().unwrap(), ..facts() };
    let input = promote::Input {
        kind: cluster_policy(),
        source: None,
        target: world.place(),
        existing: Some(&live("Audit")),
        mode: StepMode::Enforce,
        facts: later,
    };
    assert_ne!(promote::plan(&input).unwrap().id, one.id);
}

#[test]
fn undo_and_undo_of_undo() {
    let world = World::new("staging", 19);
    let done = demoted(&world, &live("Enforce")).unwrap();
    let after = served(done.steps[0].before.as_ref(), done.steps[0].after.as_ref()).unwrap();
    let back = undo(&done, &[world.place()], &[Some(&after)], &facts()).unwrap();
    hold_to_the_rules(&back, &world);
    assert_eq!((back.operation, back.direction, back.undoes.as_deref()), (Operation::Undo, Direction::Up, Some(done.id.as_str())));
    assert_eq!(back.warnings, Vec::<String>::new(), "nobody wrote in between");
    let mut changed = after.clone();
    changed["spec"]["background"] = json!(false);
    assert!(undo(&done, &[world.place()], &[Some(&changed)], &facts()).unwrap().warnings[0].contains("was changed after that plan"));
    assert_eq!(undo(&done, &[world.place()], &[Some(&live("Enforce"))], &facts()).unwrap_err().word, "unchanged");
    assert_eq!(undo(&done, &[], &[Some(&after)], &facts()).unwrap_err().word, "absent");
    let [validating, mutating] = [0, 1].map(|which| configuration(unblock::CONFIGURATIONS[which].2));
    let done = unblocked(&world, [Some(&validating), Some(&mutating)], Some(false)).unwrap();
    let back = undo(&done, &[world.place()], &[None, None], &facts()).unwrap();
    hold_to_the_rules(&back, &world);
    assert_eq!(back.steps.iter().map(|step| step.verb.as_str()).collect::<Vec<_>>(), ["create", "create"]);
    assert_eq!(back.steps[0].object, done.steps[1].object, "the last first");
}

/// A plan for a policy of that name in an environment, with a gate of its own.
fn named(world: &World, name: &str, mode: &str) -> Plan {
    let mut object = live(mode);
    object["metadata"]["name"] = json!(name);
    let gate = json!({"verdict": "open", "policy": {"group": "kyverno.io", "kind": "ClusterPolicy", "name": name}, "conditions": []});
    let facts = Facts { gate: &gate, ..facts() };
    let input = promote::Input {
        kind: cluster_policy(),
        source: None,
        target: world.place(),
        existing: Some(&object),
        mode: StepMode::Enforce,
        facts,
    };
    promote::plan(&input).unwrap()
}

#[test]
fn several_plans_are_one() {
    let mut world = World::new("staging", 19);
    let (one, other) = (named(&world, "p", "Audit"), named(&world, "q", "Audit"));
    assert_eq!(join(vec![one.clone()]).unwrap(), one, "one alone stays what it is");
    let both = join(vec![one.clone(), other.clone()]).unwrap();
    hold_to_the_rules(&both, &world);
    assert_eq!((both.steps.len(), both.basis.len(), both.direction), (2, 2, Direction::Up));
    assert!(both.id != one.id && both.id != other.id);
    assert_eq!(both.warnings, one.warnings, "what holds for all is said once");
    // What is written names the plan that is carried out, and the journal finds each gate.
    for (step, name) in both.steps.iter().zip(["p", "q"]) {
        assert_eq!(step.after.as_ref().unwrap()["metadata"]["annotations"]["policydeck.dev/plan"], json!(both.id));
        assert!(step.diff.iter().any(|line| line.to_string().contains(&both.id)), "{:?}", step.diff);
        assert_eq!(both.gate_of(step).unwrap()["policy"]["name"], json!(name));
    }
    assert!(!to_file(&both).unwrap().contains(&one.id));
    assert_eq!((both.gates().count(), one.gates().count(), plan().1.gates().count()), (2, 1, 0));
    assert_eq!(one.gate_of(&one.steps[0]), one.gates().next());

    let elsewhere = named(&World::new("dev", 19), "q", "Audit");
    assert!(join(vec![one.clone(), elsewhere]).unwrap_err().text.contains("ClusterPolicy/p goes to staging, ClusterPolicy/q to dev"));
    let down = demoted(&world, &live("Enforce")).unwrap();
    assert!(join(vec![one, down]).unwrap_err().text.contains("promote and demote are two"));
    assert_eq!(join(Vec::new()).unwrap_err().word, "absent");
    world.settings.tier = Tier::Production;
    let typed = join(vec![other, named(&world, "p", "Audit")]).unwrap();
    assert_eq!(typed.confirm, ConfirmLevel::TypeName("staging".to_owned()), "the stricter counts");
}

#[test]
fn an_undo_gives_fields_back_and_keeps_what_kubectl_remembers() {
    const REMEMBERED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let world = World::new("staging", 19);
    let helm = json!({"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:validationFailureAction": {}}}});
    let status = json!({"manager": "kyverno", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}});
    let mut applied = live("Audit");
    applied["metadata"]["managedFields"] = json!([helm, status]);
    applied["metadata"]["annotations"] = json!({REMEMBERED: "{}"});
    let done = in_place(&world, &applied, StepMode::Enforce).unwrap();
    assert_eq!(done.steps[0].managers, std::slice::from_ref(&helm));
    let warned = "helm owns .spec.validationFailureAction by server-side apply: its next apply fails with a conflict";
    assert!(done.warnings.iter().any(|warning| warning.starts_with(warned)), "{:?}", done.warnings);
    assert!(in_place(&world, &live("Audit"), StepMode::Enforce).unwrap().warnings.iter().all(|warning| !warning.contains("conflict")));
    let mut after = served(done.steps[0].before.as_ref(), done.steps[0].after.as_ref()).unwrap();
    after["metadata"]["managedFields"] =
        json!([{"manager": "policydeck", "operation": "Update", "fieldsV1": {"f:spec": {"f:validationFailureAction": {}}}}]);
    let back = undo(&done, &[world.place()], &[Some(&after)], &facts()).unwrap();
    hold_to_the_rules(&back, &world);
    assert_eq!((back.steps[0].gives_back.as_slice(), back.warnings.as_slice()), (&[helm][..], &[][..]));
    let Verb::Replace { manifest, .. } = &back.steps[0].verb else { panic!("{back:?}") };
    assert_eq!(manifest["metadata"]["annotations"][REMEMBERED], "{}");
    assert_eq!(from_file(&to_file(&back).unwrap()).unwrap(), back, "a file keeps it");
}

#[test]
fn one_of_several_steps_alone() {
    let (world, plan) = plan();
    let mut other = live("Audit");
    other["metadata"]["name"] = json!("q");
    let both = join(vec![plan.clone(), in_place(&world, &other, StepMode::Enforce).unwrap()]).unwrap();
    let second = both.only(&[1]);
    assert_eq!((second.steps.len(), second.basis.len(), second.steps[0].object.name.as_str()), (1, 1, "q"));
    assert_eq!((second.basis[0].object.name.as_str(), &second.id), ("q", &both.id));
    assert!(!both.goes_one_by_one() && demoted(&world, &live("Enforce")).unwrap().goes_one_by_one());
    assert!(
        held(&world, &live("Audit"), "x").unwrap().goes_one_by_one()
            && !released(&world, &marked(live("Audit"), &json!({}), &json!({"policydeck.dev/hold": "x"}))).unwrap().goes_one_by_one()
    );
}
