use super::*;
use crate::kinds::Family;
use crate::kinds::revision::revision;
use crate::ops::plan::{Direction, Operation};
use crate::testing::documents;

fn production(minor: u16) -> World {
    let mut world = World::new("production", minor);
    world.settings.tier = Tier::Production;
    world
}

#[test]
fn promote_in_place() {
    let world = World::new("staging", 19);
    let plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    hold_to_the_rules(&plan, &world);
    let revision = plan.basis[0].revision.clone().unwrap();
    assert_eq!(
        lines(&plan),
        [
            "+ metadata.annotations.policydeck.dev/at: 2026-11-25T10:00:00Z".to_owned(),
            "+ metadata.annotations.policydeck.dev/by: jane@example.com".to_owned(),
            format!("+ metadata.annotations.policydeck.dev/plan: {}", plan.id),
            format!("+ metadata.annotations.policydeck.dev/promoted-from: staging@{revision}"),
            format!("+ metadata.annotations.policydeck.dev/state: {revision} enforce 3"),
            "+ metadata.annotations.policydeck.dev/ticket: CHG-1".to_owned(),
            "spec.validationFailureAction: Audit → Enforce".to_owned(),
        ]
    );
    assert_eq!((plan.operation, plan.direction, plan.steps[0].verb.as_str()), (Operation::Promote, Direction::Up, "patch"));
    assert!(plan.warnings.iter().any(|warning| warning.starts_with("failurePolicy is Fail")), "{:?}", plan.warnings);
    let expect = plan.steps[0].expect().unwrap();
    assert_eq!((expect.uid.as_str(), expect.resource_version.as_str()), ("u-1", "41"));
}

#[test]
fn promote_to_an_environment_without_it() {
    let (staging, production) = (World::new("staging", 19), production(17));
    let source = marked(
        live("Enforce"),
        &json!({"app.kubernetes.io/managed-by": "Helm", "team": "a"}),
        &json!({"meta.helm.sh/release-name": "policies", "policydeck.dev/hold": "x"}),
    );
    let plan = from_to(&staging, &source, &production, None, StepMode::Audit).unwrap();
    hold_to_the_rules(&plan, &production);
    let Verb::Create { manifest } = &plan.steps[0].verb else { panic!("{plan:?}") };
    assert_eq!(manifest["spec"]["validationFailureAction"], json!("Audit"));
    assert_eq!(manifest["metadata"]["labels"], json!({"team": "a"}));
    assert!(manifest["metadata"]["annotations"]["policydeck.dev/promoted-from"].as_str().unwrap().starts_with("staging@"));
    assert_eq!(plan.notes, ["left behind: app.kubernetes.io/managed-by, meta.helm.sh/release-name (Helm), policydeck.dev/hold"]);
    assert_eq!(plan.basis.len(), 2, "target and source");
    assert_eq!(plan.confirm, ConfirmLevel::TypeName("production".to_owned()));
    assert_eq!(plan.undo.words(), "delete ClusterPolicy/p in production again");
}

#[test]
fn promote_over_another_revision_and_over_the_same() {
    let (staging, production) = (World::new("staging", 19), production(19));
    let mut old = live("Audit");
    old["spec"]["rules"][0]["validate"]["message"] = json!("old");
    old["metadata"]["labels"] = json!({"zone": "eu"});
    let plan = from_to(&staging, &live("Enforce"), &production, Some(&old), StepMode::Audit).unwrap();
    hold_to_the_rules(&plan, &production);
    assert_eq!(plan.steps[0].verb.as_str(), "replace");
    let mut refusing = old.clone();
    refusing["spec"]["validationFailureAction"] = json!("Enforce");
    let down = from_to(&staging, &live("Enforce"), &production, Some(&refusing), StepMode::Audit).unwrap();
    let [ends, ..] = down.warnings.as_slice() else { panic!("{down:?}") };
    let revisions = [revision(cluster_policy(), &refusing), revision(cluster_policy(), &live("Enforce"))];
    assert!(ends.starts_with(&format!("Protection ends: revision {} enforces in production now.", revisions[0])), "{ends}");
    assert!(ends.contains(&format!("until {} is promoted to enforce", revisions[1])), "{ends}");
    assert_eq!(down.confirm, ConfirmLevel::TypeName("production".to_owned()), "production asks for its name");
    assert!(lines(&plan).contains(&"spec.rules[0 a].validate.message: old → no".to_owned()), "{:?}", lines(&plan));
    assert_eq!(plan.steps[0].after.as_ref().unwrap()["metadata"]["labels"], json!({"zone": "eu"}));
    let same = from_to(&staging, &live("Enforce"), &production, Some(&live("Audit")), StepMode::Enforce).unwrap();
    hold_to_the_rules(&same, &production);
    assert_eq!((same.steps[0].verb.as_str(), same.basis.len()), ("patch", 2), "the same revision: only the mode");
    let again = from_to(&staging, &live("Enforce"), &production, Some(&live("Audit")), StepMode::Audit).unwrap_err();
    assert_eq!((again.word, again.text.as_str()), ("unchanged", "ClusterPolicy/p in production is at audit already, and says the same."));
}

#[test]
fn what_a_target_does_not_know_is_refused() {
    let Some((_, crd)) = documents("crds/kyverno-1.12.7").into_iter().find(|(name, _)| name == "kyverno.io_clusterpolicies") else {
        return;
    };
    let (staging, mut old) = (World::new("staging", 19), World::new("production", 12));
    old.schema = Some(crd);
    let mut source = live("Audit");
    source["spec"]["rules"][0]["validate"]["failureAction"] = json!("Enforce");
    let refusal = from_to(&staging, &source, &old, None, StepMode::Audit).unwrap_err();
    assert_eq!(refusal.word, "unknown-fields");
    assert!(refusal.text.contains("spec.rules[0].validate.failureAction") && refusal.text.contains("1.12"), "{refusal}");
    assert!(from_to(&staging, &live("Enforce"), &old, None, StepMode::Audit).is_ok());
    old.served = vec![];
    assert_eq!(from_to(&staging, &live("Enforce"), &old, None, StepMode::Audit).unwrap_err().word, "not-served");
}

#[test]
fn gitops_refuses_or_warns() {
    let mut world = World::new("staging", 19);
    world.settings.git = Some(Git {
        repo: "git@example.com:policies".to_owned(),
        path: "staging".to_owned(),
        branch: "main".to_owned(),
        push: Push::Branch,
    });
    let refusals = [
        in_place(&world, &kept_by_flux("Audit"), StepMode::Enforce).unwrap_err(),
        demoted(&world, &kept_by_flux("Enforce")).unwrap_err(),
        rolled_back(&world, Some(&kept_by_flux("Enforce")), &live("Audit")).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.word, "gitops");
        assert!(refusal.text.starts_with("Flux (Kustomization flux/policies) keeps ClusterPolicy/p in staging"), "{refusal}");
        let commit = refusal.commit.unwrap();
        assert_eq!((commit.repo.as_deref(), commit.folder.as_deref()), (Some("git@example.com:policies"), Some("staging")));
        for absent in ["fluxcd", "policydeck.dev", "uid", "status", "managedFields"] {
            assert!(!commit.manifest.contains(absent), "{absent}: {}", commit.manifest);
        }
        assert!(commit.manifest.contains("validationFailureAction: "), "{}", commit.manifest);
    }
    world.settings.gitops = GitOps::Warn;
    let plan = in_place(&world, &kept_by_flux("Audit"), StepMode::Enforce).unwrap();
    hold_to_the_rules(&plan, &world);
    assert!(plan.warnings[0].contains("may put it back within minutes"), "{:?}", plan.warnings);
    let new = from_to(&World::new("dev", 19), &live("Audit"), &world, None, StepMode::Audit).unwrap();
    assert!(new.warnings[0].contains("is fed from git@example.com:policies (main)"), "{:?}", new.warnings);
}

#[test]
fn helm_names_the_value() {
    let world = World::new("staging", 19);
    let release = json!({"meta.helm.sh/release-name": "kp", "meta.helm.sh/release-namespace": "kyverno"});
    let theirs = marked(live("Audit"), &json!({"helm.sh/chart": "kyverno-policies-3.9.0"}), &release);
    let plan = in_place(&world, &theirs, StepMode::Enforce).unwrap();
    assert_eq!(
        plan.warnings[0],
        "Helm (kyverno/kp) overwrites this with the next `helm upgrade`: set validationFailureActionByPolicy.p: Enforce in the values of the release, too."
    );
    let own = marked(live("Audit"), &json!({"helm.sh/chart": "ours-1"}), &release);
    assert!(in_place(&world, &own, StepMode::Enforce).unwrap().warnings[0].contains("make the change in the values"));
}

#[test]
fn generated_and_owned_policies_are_refused() {
    let world = World::new("staging", 19);
    let labels = json!({"app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "parent"});
    let generated = marked(live("Audit"), &labels, &json!({}));
    assert_eq!(in_place(&world, &generated, StepMode::Enforce).unwrap_err().word, "generated");
    assert_eq!(from_to(&world, &generated, &World::new("production", 19), None, StepMode::Audit).unwrap_err().word, "generated");
    let mut owned = live("Audit");
    owned["metadata"]["ownerReferences"] = json!([{"kind": "ClusterPolicy", "name": "parent"}]);
    assert_eq!(from_to(&world, &owned, &World::new("production", 19), None, StepMode::Audit).unwrap_err().word, "owned");
}

#[test]
fn what_has_no_mode_travels_as_it_is() {
    let (staging, production) = (World::new("staging", 19), World::new("production", 19));
    let mut object = live("Audit");
    object["spec"] = json!({"rules": [{"name": "g", "generate": {"kind": "NetworkPolicy"}}]});
    let plan = from_to(&staging, &object, &production, None, StepMode::Enforce).unwrap();
    hold_to_the_rules(&plan, &production);
    assert_eq!(
        plan.notes,
        ["It has no mode (its rules change or create resources, and never refuse any): it acts as soon as it is there."]
    );
    assert_eq!(from_to(&staging, &object, &production, Some(&object), StepMode::Enforce).unwrap_err().word, "unchanged");
    assert_eq!(in_place(&staging, &object, StepMode::Enforce).unwrap_err().word, "no-mode");
}

#[test]
fn warnings_before_enforcing() {
    let world = World::new("staging", 12);
    let mut object = live("Audit");
    object["spec"]["failurePolicy"] = json!("Ignore");
    object["spec"]["rules"] =
        json!([{"name": "i", "verifyImages": [{"imageReferences": ["*"]}]}, {"name": "g", "generate": {"synchronize": true}}]);
    object["spec"]["generateExisting"] = json!(true);
    object["spec"]["validationFailureActionOverrides"] = json!([{"action": "Enforce", "namespaces": ["prod"]}]);
    object["metadata"]["annotations"] = json!({"policies.kyverno.io/minversion": "1.13.0"});
    let plan = in_place(&world, &object, StepMode::Enforce).unwrap();
    for expected in [
        "failurePolicy is Ignore",
        "mutateDigest is on",
        "An override holds: enforce in prod.",
        "generateExisting is on",
        "It says that it needs Kyverno 1.13",
    ] {
        assert!(plan.warnings.iter().any(|warning| warning.starts_with(expected)), "{expected}: {:?}", plan.warnings);
    }
    let mut other = object.clone();
    other["spec"]["background"] = json!(false);
    other["spec"].as_object_mut().unwrap().remove("validationFailureActionOverrides");
    let plan = from_to(&world, &other, &world, Some(&object), StepMode::Enforce).unwrap();
    for expected in ["A generate rule with synchronize", "Its overrides here are replaced, too; they were: enforce in prod."] {
        assert!(plan.warnings.iter().any(|warning| warning.starts_with(expected)), "{expected}: {:?}", plan.warnings);
    }
}

#[test]
fn demote() {
    let world = production(19);
    let plan = demoted(&world, &live("Enforce")).unwrap();
    hold_to_the_rules(&plan, &world);
    assert_eq!((plan.operation, plan.direction), (Operation::Demote, Direction::Down));
    assert!(lines(&plan).contains(&"spec.validationFailureAction: Enforce → Audit".to_owned()));
    assert!(plan.gate.is_null());
    let refusal = demoted(&world, &live("Audit")).unwrap_err();
    assert_eq!(refusal.text, "ClusterPolicy/p in production does not refuse anything: it is at audit already.");
    let mut overridden = live("Enforce");
    overridden["spec"]["validationFailureActionOverrides"] = json!([{"action": "Enforce", "namespaces": ["prod"]}]);
    let refusal = demoted(&world, &overridden).unwrap_err();
    assert!(refusal.word == "overrides" && refusal.text.contains("enforce in prod"), "{refusal}");
}

#[test]
fn rollback_never_makes_it_refuse_more() {
    let world = production(19);
    let mut former = live("Enforce");
    former["spec"]["rules"][0]["validate"]["message"] = json!("former");
    former["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "kp", "policydeck.dev/ticket": "OLD"});
    for (existing, action) in [(Some(live("Enforce")), "Enforce"), (Some(live("Audit")), "Audit"), (None, "Audit")] {
        let plan = rolled_back(&world, existing.as_ref(), &former).unwrap();
        hold_to_the_rules(&plan, &world);
        let after = plan.steps[0].after.as_ref().unwrap();
        assert_eq!(after["spec"]["validationFailureAction"], json!(action));
        assert_eq!(after["spec"]["rules"][0]["validate"]["message"], json!("former"));
        assert_eq!(after["metadata"]["annotations"]["policydeck.dev/ticket"], json!("CHG-1"));
        assert_eq!(plan.direction, Direction::Down);
        assert_eq!(plan.warnings.iter().any(|warning| warning.starts_with("It comes back in audit")), action == "Audit");
        let helm = after["metadata"]["annotations"].get("meta.helm.sh/release-name").is_some();
        assert_eq!(helm, existing.is_none(), "its own marks come back where nothing is left of it");
    }
    assert_eq!(rolled_back(&world, Some(&live("Audit")), &live("Audit")).unwrap_err().word, "unchanged");
    let mut other = live("Audit");
    other["metadata"]["name"] = json!("q");
    assert!(rolled_back(&world, Some(&live("Audit")), &other).unwrap_err().text.contains("is no former state of"));
}

#[test]
fn a_rollback_is_remembered_for_its_revision() {
    let world = World::new("staging", 19);
    let (mut bad, good) = (live("Enforce"), live("Audit"));
    bad["spec"]["rules"][0]["validate"]["message"] = json!("bad");
    let revision = crate::kinds::revision::revision(cluster_policy(), &bad).0;
    let plan = rolled_back(&world, Some(&bad), &good).unwrap();
    let after = plan.steps[0].after.clone().unwrap();
    let remembered = |object: &Value| {
        let text = |key: &str| object["metadata"]["annotations"][format!("policydeck.dev/rolled-back{key}")].as_str().map(str::to_owned);
        (text(""), text("-mode"), text("-by"), text("-at"), text("-reason"))
    };
    let some = |text: &str| Some(text.to_owned());
    // The ticket is the reason where no other is given.
    let all = (some(&revision), some("enforce"), some("jane@example.com"), some("2026-11-25T10:00:00Z"), some("CHG-1"));
    assert_eq!(remembered(&after), all);

    // The bad revision returns by another hand, the annotations stay.
    let mut again = served(Some(&bad), Some(&after)).unwrap();
    again["spec"]["rules"][0]["validate"]["message"] = json!("bad");
    let warns =
        |plan: &Plan| plan.warnings.iter().any(|warning| warning.contains("was rolled back from enforce in staging on Nov 25 10:00 UTC"));
    let promoted = in_place(&world, &again, StepMode::Enforce).unwrap();
    hold_to_the_rules(&promoted, &world);
    assert!(warns(&promoted), "{:?}", promoted.warnings);
    assert_eq!(remembered(promoted.steps[0].after.as_ref().unwrap()), (None, None, None, None, None), "it is back where it was");
    // Another revision is no matter, and forgets nothing.
    let promoted = in_place(&world, &served(Some(&bad), Some(&after)).unwrap(), StepMode::Enforce).unwrap();
    assert!(!warns(&promoted));
    assert_eq!(remembered(promoted.steps[0].after.as_ref().unwrap()), all);
    // From elsewhere it is as bad; in audit it has not come back yet.
    let (mut dev, there) = (bad.clone(), served(Some(&bad), Some(&after)).unwrap());
    dev["metadata"]["annotations"] = json!({});
    let brought = from_to(&World::new("dev", 19), &dev, &world, Some(&there), StepMode::Audit).unwrap();
    assert!(warns(&brought), "{:?}", brought.warnings);
    assert_eq!(remembered(brought.steps[0].after.as_ref().unwrap()), all);
    // A release ends it.
    let release = released(&world, &again).unwrap();
    assert_eq!(remembered(release.steps[0].after.as_ref().unwrap()), (None, None, None, None, None));
    // What changes neither revision nor mode is no rollback of a revision.
    let relabeled = marked(live("Audit"), &json!({"team": "b"}), &json!({}));
    let plan = rolled_back(&world, Some(&live("Audit")), &relabeled).unwrap();
    assert_eq!(remembered(plan.steps[0].after.as_ref().unwrap()).0, None);
}

#[test]
fn hold_and_release() {
    let world = World::new("staging", 19);
    let plan = held(&world, &live("Audit"), "waits for\nCHG-7").unwrap();
    hold_to_the_rules(&plan, &world);
    assert_eq!(
        lines(&plan),
        [
            "+ metadata.annotations.policydeck.dev/held-at: 2026-11-25T10:00:00Z",
            "+ metadata.annotations.policydeck.dev/held-by: jane@example.com",
            "+ metadata.annotations.policydeck.dev/hold: waits for CHG-7",
        ]
    );
    let object = served(plan.steps[0].before.as_ref(), plan.steps[0].after.as_ref()).unwrap();
    let release = released(&world, &object).unwrap();
    hold_to_the_rules(&release, &world);
    assert!(lines(&release).iter().all(|line| line.starts_with("- metadata.annotations.policydeck.dev/h")), "{:?}", lines(&release));
    assert_eq!(released(&world, &live("Audit")).unwrap_err().word, "unchanged");
    assert_eq!(held(&world, &live("Audit"), " ").unwrap_err().word, "unreadable");
}

#[test]
fn unblock() {
    let world = World::new("staging", 19);
    let [validating, mutating] = [0, 1].map(|which| configuration(unblock::CONFIGURATIONS[which].2));
    let plan = unblocked(&world, [Some(&validating), Some(&mutating)], Some(false)).unwrap();
    hold_to_the_rules(&plan, &world);
    assert_eq!(
        plan.steps.iter().map(|step| (step.verb.as_str(), step.object.name.as_str())).collect::<Vec<_>>(),
        [("delete", "kyverno-resource-validating-webhook-cfg"), ("delete", "kyverno-resource-mutating-webhook-cfg"),]
    );
    assert_eq!(plan.confirm, ConfirmLevel::TypeName("staging".to_owned()), "typed whatever the tier");
    assert!(plan.warnings[0].contains("no policy holds in staging"));
    assert_eq!(unblocked(&world, [Some(&validating), None], None).unwrap().warnings.len(), 2);
    assert_eq!(unblocked(&world, [Some(&validating), None], Some(true)).unwrap_err().word, "kyverno-answers");
    assert_eq!(unblocked(&world, [None, None], Some(false)).unwrap_err().word, "absent");
}

#[test]
fn nothing_is_planned_where_nothing_may_be_written() {
    let mut world = World::new("staging", 19);
    world.settings.read_only = true;
    let configuration = configuration("x");
    let other = World::new("dev", 19);
    for refusal in [
        in_place(&world, &live("Audit"), StepMode::Enforce),
        from_to(&other, &live("Audit"), &world, None, StepMode::Audit),
        demoted(&world, &live("Enforce")),
        rolled_back(&world, None, &live("Audit")),
        held(&world, &live("Audit"), "x"),
        released(&world, &live("Audit")),
        unblocked(&world, [Some(&configuration), None], Some(false)),
    ] {
        assert_eq!(refusal.unwrap_err().word, "read-only");
    }
    let mut writable = World::new("staging", 19);
    let plan = demoted(&writable, &live("Enforce")).unwrap();
    writable.settings.read_only = true;
    assert_eq!(undo(&plan, &[writable.place()], &[Some(&live("Audit"))], &facts()).unwrap_err().word, "read-only");
}

#[test]
fn an_object_that_no_server_sent_is_refused() {
    let world = World::new("staging", 19);
    let mut object = live("Audit");
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(in_place(&world, &object, StepMode::Enforce).unwrap_err().word, "unreadable");
}

#[test]
fn published_policies_are_promoted() {
    let crds = documents("crds/kyverno-1.19.0");
    let mut refused = Vec::new();
    let fixtures: Vec<_> =
        documents("fixtures").into_iter().filter_map(|(name, object)| Some((name, KindId::of_object(&object)?.kind(), object))).collect();
    for (name, kind, mut object) in fixtures.into_iter().filter(|(_, kind, _)| kind.family == Family::Policy) {
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["resourceVersion"] = json!("1");
        let plural = format!("{}_{}", kind.group, kind.plural);
        let schema = crds.iter().find(|(name, _)| *name == plural).map(|(_, crd)| crd.clone());
        let (staging, production) =
            (World::new("staging", 19), World { served: kind.versions.to_vec(), schema, ..World::new("production", 19) });
        let source = Some(promote::Source { place: Place { served: kind.versions, ..staging.place() }, object: &object });
        let input = promote::Input { kind, source, target: production.place(), existing: None, mode: StepMode::Audit, facts: facts() };
        match promote::plan(&input) {
            Ok(plan) => hold_to_the_rules(&plan, &production),
            Err(refusal) => refused.push((name, refusal.word)),
        }
    }
    if !crds.is_empty() {
        let refused: Vec<_> = refused.iter().map(|(name, word)| (name.as_str(), *word)).collect();
        assert_eq!(
            refused,
            [
                // It names no namespace, and so comes from no server.
                ("policy-admission-false-enforce", "unreadable"),
                ("validatingpolicy-json-mode", "mode-differs"),
            ]
        );
    }
}
