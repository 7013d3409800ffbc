//! A key press is about the row a person sees: what was chosen or operated on does not give way to another row.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{self, answer, cell, environment, gates, plans};
use super::rollout::{down_to, opened, selected};
use policydeck::domain::journal::StepResult;
use policydeck::domain::{Mode, PolicyId};
use policydeck::fleet::view::{EnvironmentView, PolicyCell};
use policydeck::tui::{Answer, Ask, Effect, Msg, Operations, TuiOptions, Wish};
use std::sync::Arc;

/// Its gate is open, and leads from staging to production.
const OPEN: &str = "disallow-privileged-containers";

fn options() -> TuiOptions {
    TuiOptions { operations: Operations::Possible { acknowledge: true }, ..TuiOptions::default() }
}

/// What a key asks for; everything else that it asks is answered.
fn wish(deck: &mut Deck, key: &str) -> Option<(u64, Wish)> {
    deck.draw();
    let mut messages = vec![Msg::Key(event(key))];
    let mut found = None;
    while let Some(msg) = messages.pop() {
        for effect in deck.app.update(deck.now, msg) {
            match effect {
                Effect::Ask(number, Ask::Prepare(wish)) => found = Some((number, wish)),
                Effect::Ask(number, ask) => messages.push(Msg::Answer(number, answer(&deck.fleet, &ask))),
                other => deck.effects.push(other),
            }
        }
    }
    found
}

/// The fleet once the policy is at a mode in production, and everywhere before it enforces.
fn at_the_end() -> Vec<EnvironmentView> {
    let mut environments = gates::rollout();
    let cells = environments[3].cells.iter().cloned().chain([cell(OPEN, Mode::Enforce, None, 0)]).collect();
    environments[3] = environment("production", cells);
    environments
}

/// Promotes what is under the cursor into production, up to the outcome, which is closed.
fn promote(deck: &mut Deck, after: Vec<EnvironmentView>) {
    let (number, wish) = wish(deck, "p").unwrap();
    assert_eq!(wish.policies.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), [OPEN]);
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    for key in ["end", "p", "r", "o", "d", "u", "c", "t", "i", "o", "n", "enter"] {
        deck.draw();
        deck.press(key);
    }
    let carried = deck.effects.iter().rev().find_map(|effect| match effect {
        Effect::CarryOut(number, plans) => Some((*number, Arc::clone(plans))),
        _ => None,
    });
    let (number, plans) = carried.unwrap();
    deck.replace(after);
    let outcomes: Vec<_> = plans.iter().map(|plan| Ok(plans::outcome(plan, StepResult::Done, "enforce now", false))).collect();
    deck.send(Msg::Answer(number, Answer::CarriedOut(outcomes.into())));
    deck.draw();
    deck.press("enter");
    deck.later(6_000);
}

#[test]
fn what_was_promoted_stays_under_the_cursor_whatever_would_hide_it() {
    // At the end of the pipeline it would be hidden; with these filters it would be dropped.
    for filter in ["", "verdict=open", "env=staging", "mode=enforce env=production", "!privileged"] {
        for also in ["", "s", "S", "o", "o o", "w"] {
            let mut deck = down_to(opened(Deck::with(options(), gates::rollout(), (120, 40))), OPEN);
            let early = filter == "verdict=open";
            if early {
                deck = deck.keys("/").typed(filter).keys("enter");
            }
            promote(&mut deck, at_the_end());
            if !early && !filter.is_empty() {
                deck = deck.keys("/").typed(filter).keys("enter");
            }
            let mut deck = deck.keys(also);
            let text = deck.text();
            assert_eq!(selected(&mut deck), OPEN, "{filter:?} {also:?}\n{text}");
            assert!(text.contains("fully rolled out"), "with its new verdict: {text}");
            // Another press is about it, or about nothing.
            assert_eq!(wish(&mut deck, "p").map(|(_, wish)| wish.policies), None, "{}", deck.text());
            assert!(deck.text().contains("there is no further step for it"), "{}", deck.text());
            let (_, wish) = wish(&mut deck, "a").unwrap();
            assert_eq!((wish.policies[0].name.as_str(), wish.environment.as_deref()), (OPEN, Some("production")));
            deck.draw();
            deck.press("esc");
            assert_eq!(selected(&mut deck), OPEN);
        }
    }
}

#[test]
fn it_goes_when_the_cursor_moves() {
    let mut deck = down_to(opened(Deck::with(options(), gates::rollout(), (120, 40))), OPEN);
    promote(&mut deck, at_the_end());
    let deck = deck.keys("up");
    let mut deck = deck;
    assert_ne!(selected(&mut deck), OPEN);
    let text = deck.text();
    assert!(text.lines().all(|line| !line.starts_with(&format!(" {OPEN}"))), "{text}");
}

#[test]
fn what_changes_by_itself_under_the_cursor_stays_there() {
    let mut deck = down_to(opened(Deck::with(options(), gates::rollout(), (120, 40))), OPEN).keys("down up");
    deck.replace(at_the_end());
    deck.later(6_000);
    assert_eq!(selected(&mut deck), OPEN, "{}", deck.text());
    // A policy that is gone leaves no other one in its place.
    let gone = at_the_end().into_iter().map(|view| {
        let cells = view.cells.iter().filter(|cell| cell.key.id.name != OPEN).cloned().collect();
        EnvironmentView { generation: 9, content: 9, ..environment(&view.name, cells) }
    });
    deck.replace(gone.collect());
    deck.later(6_000);
    assert!(wish(&mut deck, "p").is_none() && wish(&mut deck, "a").is_none(), "{}", deck.text());
    assert!(deck.text().contains("no longer exists"), "{}", deck.text());
    let mut deck = deck.keys("down");
    assert!(!selected(&mut deck).is_empty());
}

/// Another policy takes the top while a key is on its way.
fn with_another_on_top() -> Vec<EnvironmentView> {
    let mut newer = gates::rollout();
    for view in newer.iter_mut().take(3) {
        let cells = view.cells.iter().cloned().chain([cell("aaa-first", Mode::Audit, None, 0)]).collect();
        *view = EnvironmentView { generation: 2, content: 2, ..environment(&view.name, cells) };
    }
    newer
}

#[test]
fn a_verb_is_about_the_row_that_was_drawn() {
    let mut deck = opened(Deck::with(options(), gates::rollout(), (120, 40)));
    let before = selected(&mut deck);
    deck.replace(with_another_on_top());
    deck.later(6_000);
    let effects = deck.app.update(deck.now, Msg::Key(event("a")));
    let meant: Vec<PolicyId> = effects
        .into_iter()
        .filter_map(|effect| if let Effect::Ask(_, Ask::Prepare(wish)) = effect { wish.policies.into_iter().next() } else { None })
        .collect();
    assert_eq!(meant.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), [before.as_str()]);
}

#[test]
fn a_mark_is_on_the_row_that_was_drawn() {
    let mut deck = opened(Deck::with(options(), gates::rollout(), (120, 40)));
    let before = selected(&mut deck);
    deck.replace(with_another_on_top());
    deck.later(6_000);
    let mut deck = deck.keys("space");
    let text = deck.text();
    let marked: Vec<&str> = text.lines().filter(|line| line.contains('◉')).collect();
    assert!(marked.len() == 1 && marked[0].contains(&before[..20]), "{before}\n{text}");
}

#[test]
fn a_timeline_from_another_screen_leaves_the_board_as_it_is() {
    let options = TuiOptions { history: Some(fixture::past::reader()), journal: Some(fixture::journals::reader()), ..options() };
    let mut deck = opened(Deck::with(options, gates::rollout(), (120, 40)));
    let before = selected(&mut deck);
    // Seen from the journal, a policy is operated on; then the board is looked at again.
    let mut deck = deck.keys(":").typed("journal").keys("enter /").typed("policy=disallow-latest-tag").keys("enter t");
    assert!(deck.text().contains("disallow-latest-tag"), "{}", deck.text());
    let (_, wish) = wish(&mut deck, "a").unwrap();
    assert_eq!(wish.policies[0].name, "disallow-latest-tag");
    deck.draw();
    let mut deck = opened(deck.keys("esc esc"));
    assert_eq!(selected(&mut deck), before);
    // Nobody chose that row: what comes before it is on top.
    deck.replace(with_another_on_top());
    deck.later(6_000);
    assert_eq!(selected(&mut deck), "aaa-first", "{}", deck.text());
}

#[test]
fn on_violations_too() {
    let calm = |environments: Vec<EnvironmentView>| -> Vec<EnvironmentView> {
        let quiet = |c: &PolicyCell| cell(&c.key.id.report_name(), c.mode, c.severity, 0);
        environments
            .into_iter()
            .map(|view| EnvironmentView { generation: 7, content: 7, ..environment(&view.name, view.cells.iter().map(quiet).collect()) })
            .collect()
    };
    for filter in ["", "sev=critical"] {
        let mut deck = Deck::with(options(), gates::rollout(), (120, 40)).keys("down down");
        let before = selected(&mut deck);
        let (_, wished) = wish(&mut deck, "p").unwrap();
        assert_eq!(wished.policies[0].name, before);
        deck.draw();
        deck.press("esc");
        deck.replace(calm(gates::rollout()));
        let mut deck = if filter.is_empty() { deck } else { deck.keys("/").typed(filter).keys("enter") };
        assert_eq!(selected(&mut deck), before, "{}", deck.text());
        assert_eq!(wish(&mut deck, "p").unwrap().1.policies[0].name, before);
    }
}

#[test]
fn a_timeline_is_about_its_own_policy() {
    let options = TuiOptions { history: Some(fixture::past::reader()), ..options() };
    let mut deck = down_to(opened(Deck::with(options, gates::rollout(), (120, 40))), OPEN).keys("t");
    deck.replace(at_the_end());
    deck.later(6_000);
    let (_, wish) = wish(&mut deck, "a").unwrap();
    assert_eq!((wish.policies[0].name.as_str(), wish.environment.as_deref()), (OPEN, Some("production")));
}
