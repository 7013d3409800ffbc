//! Operations from the screen: what is shown at every point on the way, and what keys come to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{self, ago, gates, plans};
use super::rollout::{down_to, opened};
use jiff::SignedDuration;
use policydeck::domain::journal::StepResult;
use policydeck::domain::{Amount, ConditionName, ConditionState, Mode, Proof, Revision, Verdict};
use policydeck::engine::operations::{Declined, Effect as Seen, Outcome, Stage};
use policydeck::fleet::view::{EnvironmentView, PolicyCell};
use policydeck::ops::plan::Plan;
use policydeck::tui::{Answer, Ask, Deed, Effect, Msg, Operations, Preparation, Progress, TuiOptions, Wish};
use std::sync::Arc;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];
/// Its gate is open, and leads from staging to production.
const OPEN: &str = "disallow-privileged-containers";

/// What happens to a policy while somebody looks at the preview, and what is said of it.
type Move<'a> = (&'a dyn Fn(&PolicyCell) -> PolicyCell, Option<&'a str>);

fn options() -> TuiOptions {
    TuiOptions { operations: Operations::Possible { acknowledge: true }, ..TuiOptions::default() }
}

fn rollout_with(options: TuiOptions, size: (u16, u16), policy: &str) -> Deck {
    down_to(opened(Deck::with(options, gates::rollout(), size)), policy)
}

fn rollout(size: (u16, u16), policy: &str) -> Deck {
    rollout_with(options(), size, policy)
}

/// A key that somebody pressed who sees what is there.
fn seen(mut deck: Deck, keys: &str) -> Deck {
    for key in keys.split_whitespace() {
        deck.draw();
        deck.press(key);
    }
    deck.draw();
    deck
}

/// Text by somebody who sees what is there.
fn typed(mut deck: Deck, text: &str) -> Deck {
    deck.draw();
    deck.typed(text)
}

/// The plans that the program was told to carry out, with the number that the answer needs; at most one, whenever asked.
fn carried_out(deck: &Deck) -> Option<(u64, Arc<[Plan]>)> {
    let mut all = deck.effects.iter().filter_map(|effect| match effect {
        Effect::CarryOut(number, plans) => Some((*number, Arc::clone(plans))),
        _ => None,
    });
    let first = all.next();
    assert!(all.next().is_none(), "carried out twice");
    first
}

/// Says what became of the plans that are under way.
fn answered(deck: &mut Deck, of: impl Fn(&Plan) -> Vec<Result<Outcome, Declined>>) {
    let (number, plans) = carried_out(deck).unwrap();
    let results: Vec<_> = plans.iter().flat_map(of).collect();
    deck.send(Msg::Answer(number, Answer::CarriedOut(results.into())));
}

/// A write that was done, with what the operation saw of it.
fn effective(plan: &Plan, effect: Seen) -> Vec<Result<Outcome, Declined>> {
    let mut outcome = plans::outcome(plan, StepResult::Done, &effect.to_string(), false);
    outcome.steps.iter_mut().for_each(|step| step.effect = Some(effect));
    vec![Ok(outcome)]
}

fn ended(plan: &Plan, result: StepResult, reason: &str) -> Vec<Result<Outcome, Declined>> {
    vec![Ok(plans::outcome(plan, result, reason, false))]
}

/// The questions that a key comes to, answered by nobody.
fn wishes(deck: &mut Deck, key: &str) -> Vec<(u64, Wish)> {
    deck.draw();
    let effects = deck.app.update(deck.now, Msg::Key(event(key)));
    effects
        .into_iter()
        .filter_map(|effect| if let Effect::Ask(number, Ask::Prepare(wish)) = effect { Some((number, wish)) } else { None })
        .collect()
}

/// What production would show after a promotion.
fn promoted(mode: Mode) -> Vec<EnvironmentView> {
    let mut environments = gates::rollout();
    let cells = environments[3].cells.iter().cloned().chain([fixture::cell(OPEN, mode, None, 2)]).collect();
    environments[3] = fixture::environment("production", cells);
    environments
}

#[test]
fn a_promotion_into_production_from_the_key_to_the_outcome() {
    for (columns, rows) in SIZES {
        let narrow = columns == 80;
        let mut deck = rollout((columns, rows), OPEN);
        let (number, wish) = wishes(&mut deck, "p").pop().unwrap();
        assert_eq!(wish.policies.len(), 1);
        if narrow {
            snapshot!("operation_planning_80x24", deck.text());
        }
        deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
        if narrow {
            snapshot!("operation_production_80x24", deck.text());
        }
        let deck = seen(deck, "end");
        let mut deck = typed(deck, "prod");
        if narrow {
            snapshot!("operation_production_typing_80x24", deck.text());
        }
        assert!(carried_out(&deck).is_none());
        let mut deck = seen(deck, "enter");
        assert!(carried_out(&deck).is_none() && deck.text().contains("\"prod\" does not match. Type production"), "{}", deck.text());
        let mut deck = seen(typed(deck, "uction"), "enter");
        let (_, plans) = carried_out(&deck).unwrap();
        assert_eq!((plans.len(), plans[0].steps[0].environment.as_str()), (1, "production"));
        deck.send(Msg::Progress(Progress { plan: 0, stage: Some(Stage::Archive) }));
        deck.later(2_000);
        if narrow {
            snapshot!("operation_running_80x24", deck.text());
        }
        deck.send(Msg::Progress(Progress { plan: 0, stage: Some(Stage::FindOut { step: 0 }) }));
        assert!(deck.text().contains("The answer to the write was lost"), "{}", deck.text());
        deck.replace(promoted(Mode::Audit));
        // The fleet's results are older than the write; the operation knows that they hold, as the policy says the same.
        let effect = Seen { mode: Mode::Audit, violations: Some(2), before: None, evaluated: 60 };
        answered(&mut deck, |plan| effective(plan, effect));
        if narrow {
            snapshot!("operation_done_80x24", deck.text());
        }
        assert!(deck.text().contains("now       ▒ audit, 2 failing"), "{}", deck.text());
        // It stays until somebody has seen it, and is among the messages afterwards.
        deck.later(60_000);
        assert!(deck.text().contains("audit now, 2 of 60 evaluated workloads fail"));
        let mut deck = seen(deck, "esc");
        assert!(!deck.text().contains("audit now"), "{}", deck.text());
        let text = seen(deck, "m").text();
        let told = ["promote ClusterPolicy/disallow-privileged-containers in", "done: audit now, 2 of 60"];
        assert!(told.iter().all(|part| text.contains(part)), "{text}");
    }
}

/// An open gate for a policy of the normal tier.
fn previewed(size: (u16, u16), policy: &str, key: &str) -> Deck {
    let mut deck = rollout(size, policy);
    let (number, wish) = wishes(&mut deck, key).pop().unwrap();
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    deck
}

#[test]
fn no_is_focused_and_down_takes_two_keys() {
    let mut deck = previewed((120, 40), "disallow-latest-tag", "p");
    snapshot!("operation_normal_120x40", deck.text());
    let mut deck = seen(deck, "enter");
    assert!(carried_out(&deck).is_none() && !deck.text().contains("Promote?"), "enter on No: {}", deck.text());
    for keys in ["y", "tab enter", "right enter", "left enter", "tab shift-tab right enter"] {
        let deck = seen(previewed((120, 40), "disallow-latest-tag", "p"), keys);
        assert!(carried_out(&deck).is_some(), "{keys}");
    }
    for keys in ["n", "q", "esc", "right left enter", "tab n"] {
        let deck = seen(previewed((120, 40), "disallow-latest-tag", "p"), keys);
        assert!(carried_out(&deck).is_none(), "{keys}");
    }
    // Where it refuses, down is `a` and `y`. It acts where the policy can refuse anything.
    let deck = seen(rollout((120, 40), "disallow-latest-tag"), "a y");
    let (_, plans) = carried_out(&deck).unwrap();
    assert_eq!((plans[0].operation.as_str(), plans[0].steps[0].environment.as_str()), ("demote", "qac"));
}

#[test]
fn what_was_typed_before_it_could_be_seen_is_dropped() {
    // `py` in one go: the `y` was meant for something else.
    let mut deck = rollout((120, 40), "disallow-latest-tag");
    deck.draw();
    deck.press("a");
    deck.press("y");
    deck.press("enter");
    assert!(carried_out(&deck).is_none());
    deck.draw();
    deck.press("y");
    assert!(carried_out(&deck).is_some());
    // Into production: neither keys nor pasted text, not even before an answer and after it.
    let mut deck = rollout((120, 40), OPEN);
    let (number, wish) = wishes(&mut deck, "p").pop().unwrap();
    deck.send(Msg::Paste("production".to_owned()));
    deck.draw();
    deck.send(Msg::Paste("production".to_owned()));
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    deck.send(Msg::Paste("production".to_owned()));
    for key in ["p", "r", "enter"] {
        deck.press(key);
    }
    let mut deck = seen(deck, "end");
    assert!(deck.text().contains("type production to confirm: ▏"), "{}", deck.text());
    let mut deck = seen(deck, "enter");
    assert!(carried_out(&deck).is_none() && deck.text().contains("Type production, or esc to cancel."));
    deck.send(Msg::Paste("production\n".to_owned()));
    assert!(carried_out(&seen(deck, "enter")).is_some(), "what is pasted where it can be seen counts");
    // A picture that is saved is none that anybody has seen.
    let mut deck = rollout((120, 40), "disallow-latest-tag");
    deck.draw();
    deck.press("a");
    deck.press("ctrl-s");
    deck.press("y");
    assert!(carried_out(&deck).is_none());
}

#[test]
fn a_gate_that_is_not_open_says_why_and_lets_nobody_on() {
    for (columns, rows) in SIZES {
        let mut deck = seen(rollout((columns, rows), "disallow-latest-tag"), "p");
        snapshot!(format!("operation_closed_{columns}x{rows}"), deck.text());
        let mut deck = seen(typed(deck, "yy"), "enter");
        assert!(carried_out(&deck).is_none() && !deck.text().contains("A closed gate"), "{}", deck.text());
    }
    for (columns, rows) in SIZES {
        let mut deck = seen(rollout((columns, rows), "check-deprecated-apis"), "p");
        snapshot!(format!("operation_unknown_{columns}x{rows}"), deck.text());
        // Without a reason nothing happens; with one, plans are made with it.
        let mut deck = typed(seen(deck, "enter"), "seen by hand");
        let (_, wish) = wishes(&mut deck, "enter").pop().unwrap();
        assert_eq!((wish.acknowledge.as_deref(), &wish.deed), (Some("seen by hand"), &Deed::Promote));
    }
    let deck = typed(seen(rollout((120, 40), "check-deprecated-apis"), "p"), "seen by hand");
    let mut deck = seen(deck, "enter");
    snapshot!("operation_acknowledged_120x40", deck.text());
    let forbidden = TuiOptions { operations: Operations::Possible { acknowledge: false }, ..TuiOptions::default() };
    let mut deck = typed(seen(rollout_with(forbidden, (120, 40), "check-deprecated-apis"), "p"), "reason");
    assert!(deck.text().contains("acknowledge_unknown = false") && wishes(&mut deck, "enter").is_empty(), "{}", deck.text());
}

#[test]
fn a_gate_that_only_a_claim_closes_can_be_opened_with_a_reason() {
    let claim = Proof {
        source: "event",
        by: Some("curl".to_owned()),
        at: Some(ago(600)),
        object: Some("event forged -n default".to_owned()),
        reference: "event/default/forged".parse().ok(),
        component: Some("kyverno-admission".to_owned()),
        count: Some(2),
        verified: Some(false),
    };
    let stopped = |value: u64, size: (u16, u16)| {
        let mut deck = rollout(size, "disallow-privileged-containers");
        let (number, _) = wishes(&mut deck, "p").pop().unwrap();
        let mut gate = gates::gates(&deck.fleet, &gates::road())
            .into_iter()
            .find_map(|(id, gate)| (id.name == "disallow-privileged-containers").then_some(gate))
            .unwrap()
            .unwrap();
        gate.verdict = Verdict::Closed;
        for condition in &mut gate.conditions {
            if condition.name == ConditionName::Blocked {
                (condition.state, condition.value) = (ConditionState::Unmet, Some(Amount::Count(value)));
                (condition.evidence, condition.reason) = (vec![claim.clone()], "requests were blocked".to_owned());
            } else if condition.state == ConditionState::Unmet {
                condition.state = ConditionState::Met;
            }
        }
        let declined = Preparation::Declined { policy: None, why: Declined::Gate(Box::new(gate)) };
        deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(declined))));
        deck.draw();
        deck
    };
    for size in SIZES {
        let mut deck = stopped(2, size);
        snapshot!(format!("operation_disregard_{}x{}", size.0, size.1), deck.text());
        let mut deck = typed(deck, "INC-7");
        let (_, wish) = wishes(&mut deck, "enter").pop().unwrap();
        let objects: Vec<String> = wish.disregard.iter().map(ToString::to_string).collect();
        assert_eq!((objects, wish.reason.as_deref(), wish.acknowledge), (vec!["event/default/forged".to_owned()], Some("INC-7"), None));
    }
    // One more request is Kyverno's own word.
    let mut deck = typed(stopped(3, (120, 40)), "INC-7");
    assert!(wishes(&mut deck, "enter").is_empty() && !deck.text().contains("can be disregarded"), "{}", deck.text());
}

#[test]
fn what_a_server_or_a_rule_refuses_is_said_in_its_words() {
    let mut deck = previewed((120, 40), "require-ro-rootfs", "p");
    assert!(deck.text().contains("dry run: accepted"));
    let mut deck = previewed((120, 40), plans::REFUSED, "a");
    snapshot!("operation_refused_by_server_120x40", deck.text());
    let deck = seen(deck, "y enter");
    assert!(carried_out(&deck).is_none());
    for (columns, rows) in SIZES {
        let mut deck = rollout((columns, rows), "disallow-latest-tag");
        let (number, _) = wishes(&mut deck, "a").pop().unwrap();
        let declined = Preparation::Declined { policy: None, why: plans::kept_by_git() };
        deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(declined))));
        snapshot!(format!("operation_gitops_{columns}x{rows}"), deck.text());
        let deck = seen(deck, "c");
        assert!(
            matches!(deck.effects.last(), Some(Effect::Copy(text)) if text.contains("hunter2")),
            "it is copied whole: {:?}",
            deck.effects
        );
    }
}

#[test]
fn the_target_is_frozen() {
    let changed = |change: &dyn Fn(&PolicyCell) -> PolicyCell| {
        let mut environments = gates::rollout();
        let is_it = |cell: &PolicyCell| cell.key.id.name == "disallow-latest-tag";
        let cells = environments[2].cells.iter().map(|cell| if is_it(cell) { change(cell) } else { cell.clone() }).collect();
        environments[2] = fixture::environment("staging", cells);
        environments
    };
    let other = |cell: &PolicyCell| PolicyCell { revision: Some(Revision("0b77aa12cd34".to_owned())), ..cell.clone() };
    let enforced = |cell: &PolicyCell| PolicyCell { mode: Mode::Enforce, ..cell.clone() };
    let restless = |cell: &PolicyCell| PolicyCell { mode: Mode::NotReady, ..cell.clone() };
    let failing = |cell: &PolicyCell| {
        let mut cell = cell.clone();
        cell.owners.fail += 9;
        cell
    };
    let moves: [Move<'_>; 4] =
        [(&other, Some("changed since")), (&enforced, Some("went from audit to enforce")), (&restless, None), (&failing, None)];
    for (change, expected) in moves {
        for frozen in [false, true] {
            let mut deck = rollout((120, 40), "disallow-latest-tag");
            if frozen {
                deck.press("P");
            }
            let (number, wish) = wishes(&mut deck, "p").pop().unwrap();
            deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
            deck.draw();
            deck.replace(changed(change));
            let text = deck.text();
            let deck = seen(deck, "y");
            match expected {
                Some(words) => assert!(text.contains(words) && carried_out(&deck).is_none(), "{text}"),
                None => assert!(carried_out(&deck).is_some(), "{text}"),
            }
        }
    }
    // It is gone; and what is looked at for too long is made again.
    let mut deck = previewed((120, 40), "disallow-latest-tag", "p");
    let mut environments = gates::rollout();
    let cells = environments[2].cells.iter().filter(|cell| cell.key.id.name != "disallow-latest-tag").cloned().collect();
    environments[2] = fixture::environment("staging", cells);
    deck.replace(environments);
    assert!(deck.text().contains("was deleted since"), "{}", deck.text());
    let mut deck = previewed((120, 40), "disallow-latest-tag", "p");
    deck.now += SignedDuration::from_mins(11);
    deck.send(Msg::Clock);
    snapshot!("operation_old_120x40", deck.text());
    assert!(carried_out(&seen(deck, "y")).is_none());
}

#[test]
fn a_ticket_is_in_the_plan_that_is_confirmed() {
    let mut deck = typed(seen(previewed((120, 40), "disallow-latest-tag", "p"), "tab tab"), "CHG-1042");
    let (number, wish) = wishes(&mut deck, "enter").pop().unwrap();
    assert_eq!(wish.ticket.as_deref(), Some("CHG-1042"));
    assert!(deck.text().contains("planning again"), "{}", deck.text());
    let mut deck = seen(deck, "y enter");
    assert!(carried_out(&deck).is_none(), "what is shown is about to be replaced");
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    assert!(
        deck.text().contains("ticket CHG-1042") && deck.text().contains("promoted-from, ticket (ctrl-o shows them)"),
        "{}",
        deck.text()
    );
    let mut deck = seen(deck, "ctrl-o");
    assert!(deck.text().contains("+    policydeck.dev/ticket: CHG-1042"), "{}", deck.text());
    let deck = seen(deck, "y");
    assert_eq!(carried_out(&deck).unwrap().1[0].ticket.as_deref(), Some("CHG-1042"));
}

#[test]
fn while_it_is_carried_out_nothing_else_is_and_the_end_waits() {
    let under_way = || seen(rollout((120, 40), "disallow-latest-tag"), "a y");
    // Put aside, it goes on; a second one is the first one again.
    let mut deck = seen(under_way(), "esc");
    assert!(!deck.text().contains("under way"), "{}", deck.text());
    let mut deck = seen(deck, "shift-tab p");
    assert!(deck.text().contains("one thing at a time") && deck.text().contains("Demote disallow-latest-tag"), "{}", deck.text());
    let mut deck = seen(deck, "esc");
    answered(&mut deck, |plan| ended(plan, StepResult::Done, "audit now, 0 failures and errors"));
    assert!(deck.text().contains("audit now"), "what became of it is shown by itself: {}", deck.text());
    // Neither the key nor a signal ends or stops the program before its outcome.
    for ending in [Msg::Key(event("ctrl-c")), Msg::Terminate] {
        let mut deck = under_way();
        deck.send(ending.clone());
        deck.send(ending);
        assert!(deck.text().contains("A write is in progress") && !deck.effects.contains(&Effect::Quit), "{}", deck.text());
        answered(&mut deck, |plan| ended(plan, StepResult::Done, "audit now, 0 failures and errors"));
        assert_eq!(deck.effects.last(), Some(&Effect::Quit));
    }
    let mut deck = under_way();
    deck.send(Msg::Suspend);
    deck.send(Msg::Key(event("ctrl-z")));
    assert!(!deck.effects.contains(&Effect::Suspend));
    // But not for ever.
    deck.send(Msg::Terminate);
    deck.now += SignedDuration::from_secs(119);
    deck.send(Msg::Clock);
    assert!(!deck.effects.contains(&Effect::Quit));
    deck.now += SignedDuration::from_secs(2);
    deck.send(Msg::Clock);
    assert!(deck.effects.contains(&Effect::Quit));
    // Without a write the end is at once, whatever is open.
    for keys in ["a", "p", "r", "H"] {
        let mut deck = seen(rollout((120, 40), "disallow-latest-tag"), keys);
        deck.send(Msg::Key(event("ctrl-c")));
        assert!(deck.effects.contains(&Effect::Quit), "{keys}");
    }
}

#[test]
fn what_became_of_it() {
    for (columns, rows) in SIZES {
        let under_way = || seen(rollout((columns, rows), "disallow-latest-tag"), "a y");
        let name = |what: &str| format!("operation_{what}_{columns}x{rows}");
        let mut deck = under_way();
        let lost = "the answer was lost (connection reset), and the cluster could not be read since";
        answered(&mut deck, |plan| ended(plan, StepResult::Unknown, lost));
        snapshot!(name("not_known"), deck.text());
        let mut deck = under_way();
        let moved = "somebody else changed ClusterPolicy/disallow-latest-tag in qac meanwhile: look at it and plan again";
        answered(&mut deck, |plan| ended(plan, StepResult::Refused, moved));
        snapshot!(name("failed"), deck.text());
        let mut deck = under_way();
        answered(&mut deck, |_| {
            vec![Err(Declined::Usage(
                "ClusterPolicy/disallow-latest-tag in qac changed since this plan was made. Make it again.".to_owned(),
            ))]
        });
        snapshot!(name("declined"), deck.text());
    }
    // The key that is named goes back from there, whatever the cursor is on by then.
    let mut deck = seen(rollout((120, 40), "disallow-latest-tag"), "a y");
    answered(&mut deck, |plan| ended(plan, StepResult::Done, "audit now, 0 failures and errors"));
    let text = seen(deck, "r").text();
    assert!(text.contains("Roll back disallow-latest-tag in qac") && text.contains("before promote"), "{text}");
}

#[test]
fn back_to_what_is_chosen_from_what_is_kept() {
    let mut deck = seen(rollout((120, 40), "disallow-latest-tag"), "r");
    snapshot!("operation_formers_120x40", deck.text());
    deck.press("down");
    let (_, wish) = wishes(&mut deck, "enter").pop().unwrap();
    let Deed::Rollback(Some(former)) = &wish.deed else { panic!("{wish:?}") };
    assert_eq!((former.mode, wish.environment.as_deref()), (Mode::Enforce, Some("staging")));
    let mut deck = seen(rollout((120, 40), "require-probes"), "r");
    assert!(deck.text().contains("nothing to go back to"), "{}", deck.text());
    assert!(wishes(&mut deck, "enter").is_empty());
}

#[test]
fn held_with_a_reason_and_released() {
    let mut deck = seen(rollout((120, 40), "disallow-latest-tag"), "H");
    assert!(deck.text().contains("No gate opens for it"), "{}", deck.text());
    assert!(wishes(&mut deck, "enter").is_empty(), "a hold needs a reason");
    let mut deck = typed(deck, "until CHG-7");
    let (_, wish) = wishes(&mut deck, "enter").pop().unwrap();
    assert_eq!(wish.deed, Deed::Hold(Some("until CHG-7".to_owned())));
    let text = seen(rollout((120, 40), plans::HELD), "H").text();
    assert!(text.contains("Release require-labels in staging"), "{text}");
}

#[test]
fn unblock_is_a_command_and_asks_where() {
    let mut deck = seen(rollout((120, 40), "disallow-latest-tag"), ":");
    deck = seen(typed(deck, "unblock"), "enter");
    snapshot!("operation_unblock_120x40", deck.text());
    let mut deck = seen(deck, "down down enter");
    let text = deck.text();
    assert!(text.contains("Unblock workloads in staging") && text.contains("type staging to confirm"), "{text}");
    let deck = seen(typed(deck, "staging"), "enter");
    assert_eq!(carried_out(&deck).unwrap().1[0].operation.as_str(), "unblock");
}

#[test]
fn marked_policies_go_together_under_one_confirmation() {
    let deck = down_to(seen(rollout((120, 40), "require-ro-rootfs"), "space"), "require-probes");
    let mut deck = seen(deck, "space");
    assert_eq!(deck.text().matches('◉').count(), 2, "{}", deck.text());
    let (number, wish) = wishes(&mut deck, "p").pop().unwrap();
    assert_eq!(wish.policies.len(), 2);
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    snapshot!("operation_several_120x40", deck.text());
    let mut deck = seen(deck, "y");
    deck.send(Msg::Progress(Progress { plan: 1, stage: Some(Stage::Follow { step: 0 }) }));
    snapshot!("operation_several_running_120x40", deck.text());
    // The first that does not succeed is the last.
    let (number, plans) = carried_out(&deck).unwrap();
    let failed = Ok(plans::outcome(&plans[0], StepResult::Refused, "refused by Kyverno", false));
    deck.send(Msg::Answer(number, Answer::CarriedOut(Arc::from([failed]))));
    snapshot!("operation_several_failed_120x40", deck.text());
    // One of them is not open: nothing is done for any.
    let deck = down_to(seen(rollout((120, 40), "require-probes"), "space"), "disallow-latest-tag");
    let text = seen(deck, "space p").text();
    assert!(text.contains("nothing was done for any of them"), "{text}");
}

#[test]
fn what_cannot_be_done_here_is_dim_and_says_why() {
    let impossible = TuiOptions { operations: Operations::Impossible("there is no data folder"), ..TuiOptions::default() };
    for options in [impossible, TuiOptions { read_only: true, ..options() }] {
        let expected = if options.read_only { "--read-only" } else { "there is no data folder" };
        for key in ["p", "a", "r", "H"] {
            let mut deck = rollout_with(options.clone(), (120, 40), "disallow-latest-tag");
            assert!(wishes(&mut deck, key).is_empty() && deck.text().contains(expected), "{key}: {}", deck.text());
        }
        let mut dim = rollout_with(options, (120, 40), "disallow-latest-tag");
        let mut bright = rollout((120, 40), "disallow-latest-tag");
        assert_ne!(dim.roles().lines().last(), bright.roles().lines().last());
        assert_eq!(dim.text().lines().last(), bright.text().lines().last());
    }
    // Without the whole road nobody knows what the next step is; down is another matter.
    let mut deck = down_to(opened(Deck::with(options(), gates::rollout().split_off(1), (120, 40))), "disallow-latest-tag");
    assert!(wishes(&mut deck, "p").is_empty() && deck.text().contains("only a part of the pipeline is shown"), "{}", deck.text());
    assert_eq!(wishes(&mut deck, "a").len(), 1);
    let mut deck = opened(Deck::with(options(), Vec::new(), (120, 40)));
    assert!(wishes(&mut deck, "a").is_empty() && deck.text().contains("there is no policy"), "{}", deck.text());
}

#[test]
fn on_violations_the_cell_says_where() {
    let at = |keys: &str| Deck::with(options(), gates::rollout(), (120, 40)).keys("/").typed("latest-tag").keys("enter o").keys(keys);
    let mut deck = at("right right");
    let (_, wish) = wishes(&mut deck, "p").pop().unwrap();
    assert_eq!((wish.environment.as_deref(), wish.policies[0].name.as_str()), (Some("staging"), "disallow-latest-tag"));
    let mut deck = at("right");
    let (_, wish) = wishes(&mut deck, "a").pop().unwrap();
    assert_eq!((wish.environment.as_deref(), &wish.deed), (Some("qac"), &Deed::Demote));
    let mut deck = at("right right right");
    assert!(wishes(&mut deck, "a").is_empty() && deck.text().contains("it is not in this environment"), "{}", deck.text());
    let mut deck = at("0");
    assert!(wishes(&mut deck, "a").is_empty() && deck.text().contains("choose an environment first"), "{}", deck.text());
    assert_eq!(wishes(&mut deck, "p").pop().unwrap().1.environment, None, "the next step, wherever that is");
}

#[test]
fn it_fits_everywhere() {
    for ascii in [false, true] {
        let options = TuiOptions { ascii, ..options() };
        for (columns, rows) in [(40, 12), (30, 6), (10, 3), (1, 1), (200, 60)] {
            let mut deck = rollout_with(options.clone(), (120, 40), OPEN);
            let (number, wish) = wishes(&mut deck, "p").pop().unwrap();
            deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
            deck.terminal.backend_mut().resize(columns, rows);
            let text = deck.text();
            let flat = text.replace(['│', '|', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
            let expected = match rows {
                60 => "type production to confirm:",
                12 => "scroll to the end to confirm",
                6 => "this window (30x6) is too small to read the preview",
                _ => "",
            };
            assert!(flat.contains(expected), "what has to be done is always in sight: {text}");
            if ascii {
                assert!(text.is_ascii(), "{text}");
            }
        }
    }
    let text = previewed((40, 12), OPEN, "p").text();
    assert!(text.contains("scroll to the end to confirm"), "{text}");
}
