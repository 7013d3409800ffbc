//! Rules of environments over plans.

use super::*;
use crate::domain::journal::Who;
use crate::ops::plan::{Operation, join};
use crate::ops::rules::{allow, asks_enough, confirmation, second_eyes};
use crate::settings::{Deniable, Rules};

fn ruled(rules: Rules) -> World {
    let mut world = World::new("staging", 19);
    world.settings.rules = rules;
    world
}

fn somebody(user: &str, seen: Option<&str>) -> Who {
    Who { user: user.to_owned(), kubeconfig_user: seen.map(str::to_owned), host: "desk".to_owned() }
}

#[test]
fn what_is_denied_names_the_rule() {
    let world = ruled(Rules { deny: vec![Deniable::Hold, Deniable::Promote], ..Rules::default() });
    let promotion = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    let refusal = allow(&promotion, &world.settings).unwrap_err();
    assert_eq!(
        (refusal.word, refusal.text.as_str()),
        ("denied", "staging denies promote: `rules.deny` of the environment staging in the configuration lists it.")
    );
    assert_eq!(allow(&demoted(&world, &live("Enforce")).unwrap(), &world.settings), Ok(()));
    let mut still = ruled(Rules::default());
    still.settings.read_only = true;
    assert_eq!(allow(&promotion, &still.settings).unwrap_err().word, "read-only", "a plan of another configuration");
}

/// The words of both are the same; nothing else holds them together.
#[test]
fn every_operation_can_be_denied() {
    use Deniable as D;
    use Operation as O;
    for (denied, operation) in [
        (D::Promote, O::Promote),
        (D::Demote, O::Demote),
        (D::Rollback, O::Rollback),
        (D::Undo, O::Undo),
        (D::Hold, O::Hold),
        (D::Release, O::Release),
        (D::Unblock, O::Unblock),
    ] {
        assert_eq!(denied.as_str(), operation.as_str());
    }
}

#[test]
fn the_most_policies_in_one_plan() {
    let plan = |world: &World, name: &str| {
        let mut object = live("Enforce");
        object["metadata"]["name"] = json!(name);
        demoted(world, &object).unwrap()
    };
    let world = ruled(Rules { bulk: Some(2), ..Rules::default() });
    let of = |names: &[&str]| join(names.iter().map(|name| plan(&world, name)).collect()).unwrap();
    assert_eq!(allow(&of(&["a", "b"]), &world.settings), Ok(()));
    let refusal = allow(&of(&["a", "b", "c"]), &world.settings).unwrap_err();
    assert!(refusal.word == "bulk" && refusal.text.contains("3 objects in staging, and one may change 2 at most"), "{refusal}");
    assert!(refusal.text.contains("`rules.bulk` of the environment staging"), "{refusal}");
}

#[test]
fn a_name_is_typed_where_that_is_asked_for() {
    let (plain, typed) = (ruled(Rules::default()), ruled(Rules { typed_name: true, ..Rules::default() }));
    let name = ConfirmLevel::TypeName("staging".to_owned());
    let made = |world: &World| demoted(world, &live("Enforce")).unwrap();
    assert_eq!((made(&plain).confirm, made(&typed).confirm), (ConfirmLevel::Yes, name.clone()));
    assert_eq!(confirmation(Operation::Unblock, &plain.settings), name);
    let refusal = asks_enough(&made(&plain), &typed.settings).unwrap_err();
    assert!(refusal.word == "typed-name" && refusal.text.contains("`rules.typed_name` of the environment staging"), "{refusal}");
    let mut production = ruled(Rules::default());
    production.settings.tier = Tier::Production;
    assert!(asks_enough(&made(&plain), &production.settings).unwrap_err().text.contains("the tier of staging"));
    assert_eq!(asks_enough(&made(&typed), &production.settings), Ok(()));
}

#[test]
fn four_eyes_are_two_people() {
    let world = ruled(Rules { four_eyes: true, ..Rules::default() });
    let mut plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    assert!(second_eyes(&plan, &world.settings, &somebody("bob", None)).unwrap_err().text.contains("does not say who made it"));
    for (maker, who, may) in [
        (somebody("ana", Some("ana@x")), somebody("bob", Some("bob@x")), true),
        (somebody("ana", None), somebody("bob", Some("bob@x")), true),
        (somebody("ana", Some("ana@x")), somebody("ana", Some("bob@x")), false),
        (somebody("ana", Some("admin")), somebody("bob", Some("admin")), false),
        (somebody("ana", Some("")), somebody("bob", Some("")), true),
        (somebody("", None), somebody("bob", None), false),
        (somebody("ana", None), somebody("", None), false),
    ] {
        plan.maker = Some(maker.clone());
        let judged = second_eyes(&plan, &world.settings, &who);
        assert_eq!(judged.is_ok(), may, "{maker:?} {who:?}: {judged:?}");
        if let Err(refusal) = judged {
            assert!(refusal.word == "four-eyes" && refusal.text.contains("`rules.four_eyes` of the environment staging"), "{refusal}");
        }
        assert_eq!(second_eyes(&plan, &ruled(Rules::default()).settings, &who), Ok(()), "nobody asked for it");
    }
    plan.maker = Some(somebody("ana", None));
    let refusal = second_eyes(&plan, &world.settings, &somebody("ana", None)).unwrap_err();
    assert!(refusal.text.contains("--plan-out FILE") && refusal.text.contains("--plan FILE"), "{refusal}");
    // A bad rollout is stopped by whoever is there.
    let mut down = demoted(&world, &live("Enforce")).unwrap();
    down.maker = Some(somebody("ana", None));
    assert_eq!(second_eyes(&down, &world.settings, &somebody("ana", None)), Ok(()));
}

#[test]
fn who_made_a_plan_cannot_be_changed_in_its_file() {
    let world = ruled(Rules::default());
    let mut plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    plan.maker = Some(somebody("ana", Some("ana@x")));
    let file = plan::to_file(&plan).unwrap();
    assert_eq!(plan::from_file(&file).unwrap(), plan);
    for (was, is) in [("\"ana\"", "\"eve\""), ("ana@x", "eve@x"), ("jane@example.com", "eve@example.com")] {
        assert!(file.contains(was), "{was}: {file}");
        assert!(plan::from_file(&file.replacen(was, is, 1)).unwrap_err().contains("was changed after it was made"), "{was}");
    }
    let mut document: Value = serde_json::from_str(&file).unwrap();
    document["plan"].as_object_mut().unwrap().remove("maker");
    assert!(plan::from_file(&document.to_string()).unwrap_err().contains("was changed after it was made"), "nor be left out");
}
