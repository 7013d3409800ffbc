//! Rules of environments over plans.

use super::*;
use crate::domain::journal::{Signer, Who};
use crate::ops::plan::{Operation, from_file, join, to_file};
use crate::ops::rules::{Applier, allow, asks_enough, confirmation, second_eyes};
use crate::settings::{Deniable, Rules};
use std::collections::BTreeSet;

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

/// Somebody without a key.
fn without_keys(who: &Who) -> Applier<'_> {
    static NONE: BTreeSet<String> = BTreeSet::new();
    Applier { who, keys: &NONE }
}

fn signed_by(principal: &str) -> Signer {
    Signer { principal: principal.to_owned(), key: "SHA256:ana".to_owned() }
}

/// An environment that wants four eyes and knows whose signatures count.
fn four_eyed() -> World {
    ruled(Rules { four_eyes: true, allowed_signers: Some("signers".into()), ..Rules::default() })
}

#[test]
fn four_eyes_are_two_people() {
    let world = four_eyed();
    let mut plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    plan.signer = Some(signed_by("maker@example.com"));
    let bob = somebody("bob", None);
    assert!(second_eyes(&plan, &world.settings, without_keys(&bob)).unwrap_err().text.contains("does not say who made it"));
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
        let judged = second_eyes(&plan, &world.settings, without_keys(&who));
        assert_eq!(judged.is_ok(), may, "{maker:?} {who:?}: {judged:?}");
        if let Err(refusal) = judged {
            assert!(refusal.word == "four-eyes" && refusal.text.contains("`rules.four_eyes` of the environment staging"), "{refusal}");
        }
        assert_eq!(second_eyes(&plan, &ruled(Rules::default()).settings, without_keys(&who)), Ok(()), "nobody asked for it");
    }
    let ana = somebody("ana", None);
    plan.maker = Some(ana.clone());
    let refusal = second_eyes(&plan, &world.settings, without_keys(&ana)).unwrap_err();
    assert!(refusal.text.contains("--plan-out FILE") && refusal.text.contains("--plan FILE"), "{refusal}");
    // A bad rollout is stopped by who is there.
    let mut down = demoted(&world, &live("Enforce")).unwrap();
    down.maker = Some(ana.clone());
    assert_eq!(second_eyes(&down, &world.settings, without_keys(&ana)), Ok(()));
}

#[test]
fn the_maker_is_proven_by_a_signature_of_another_person() {
    let world = four_eyed();
    let (ana, bob) = (somebody("ana", Some("ana@example.com")), somebody("bob", Some("oidc:bob@example.com")));
    let mut plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    plan.maker = Some(ana);
    let key = |name: &str| BTreeSet::from([format!("SHA256:{name}")]);
    for (signer, keys, says) in [
        (Some(signed_by("ana@example.com")), key("bob"), None),
        (None, key("bob"), Some("this plan is not signed")),
        // Who writes another name into a file and signs it is still who signed it.
        (Some(signed_by("bob@example.com")), key("bob"), Some("bob@example.com (SHA256:ana) signed this plan, and you are bob")),
        (Some(signed_by("bob")), key("bob"), Some("signed this plan, and you are bob")),
        (Some(signed_by("ana@example.com,bob")), key("bob"), Some("signed this plan")),
        (Some(signed_by("ana@example.com")), key("ana"), Some("and you hold that key")),
    ] {
        plan.signer = signer.clone();
        let judged = second_eyes(&plan, &world.settings, Applier { who: &bob, keys: &keys });
        match says {
            None => assert_eq!(judged, Ok(())),
            Some(says) => {
                let refusal = judged.unwrap_err();
                assert!(refusal.word == "four-eyes" && refusal.text.contains(says), "{signer:?}: {refusal}");
            }
        }
    }
    plan.signer = Some(signed_by("ana@example.com"));
    let unproven = ruled(Rules { four_eyes: true, ..Rules::default() });
    let refusal = second_eyes(&plan, &unproven.settings, without_keys(&bob)).unwrap_err();
    assert!(refusal.text.contains("Add `allowed_signers = \"FILE\"`"), "{refusal}");
    let mut down = demoted(&world, &live("Enforce")).unwrap();
    down.maker = Some(somebody("ana", None));
    assert_eq!(second_eyes(&down, &unproven.settings, without_keys(&bob)), Ok(()), "down needs no signature");
}

#[test]
fn a_plan_file_says_nothing_of_who_signed_it() {
    let world = four_eyed();
    let mut plan = in_place(&world, &live("Audit"), StepMode::Enforce).unwrap();
    plan.signer = Some(signed_by("ana@example.com"));
    let text = to_file(&plan).unwrap();
    assert!(!text.contains("SHA256:ana"));
    assert_eq!(from_file(&text).unwrap().signer, None);
}
