//! The palette runs nothing that a person did not name.

use super::deck::Deck;
use super::fixture::{self, gates};
use super::rollout::opened;
use policydeck::tui::{Effect, GENERAL, MOVING, Operations, REGISTRY, TuiOptions};

fn options() -> TuiOptions {
    TuiOptions { operations: Operations::Possible { acknowledge: true }, ..TuiOptions::default() }
}

/// Whether nothing was changed, ended or begun.
fn is_calm(deck: &mut Deck) -> bool {
    let text = deck.text();
    deck.effects.is_empty() && !text.contains("Promote ") && !text.contains("Demote ") && !text.contains("Unblock ")
}

#[test]
fn an_empty_line_runs_nothing() {
    let mut deck = Deck::with(options(), fixture::sketch(), (120, 40)).keys(": enter enter");
    assert!(is_calm(&mut deck) && deck.text().contains("Commands"), "{}", deck.text());
}

/// The beginnings and the ends of all names.
#[test]
fn no_part_of_a_name_changes_anything() {
    let words = REGISTRY.iter().flat_map(|screen| screen.keys).chain(MOVING).chain(GENERAL).map(|binding| binding.word);
    let words: std::collections::BTreeSet<&str> = words.chain(["q"]).collect();
    let mut parts = std::collections::BTreeSet::new();
    for word in &words {
        for at in 1..word.len() {
            parts.extend([&word[..at], &word[at..]]);
        }
    }
    parts.extend(["end the program", "kyverno is down", "road", "remove", "stop"]);
    for part in parts.into_iter().filter(|part| !words.contains(part)) {
        let mut deck = opened(Deck::with(options(), gates::rollout(), (80, 24))).keys(":").typed(part).keys("enter");
        let text = deck.text();
        assert!(is_calm(&mut deck), "{part}: {:?}\n{text}", deck.effects);
    }
    let mut deck = Deck::with(options(), fixture::one_lost(), (80, 24)).keys(":").typed("reco").keys("enter");
    assert!(is_calm(&mut deck), "{:?}", deck.effects);
}

#[test]
fn its_full_name_or_its_row_runs_it() {
    for quit in ["q", "quit", "QUIT"] {
        assert_eq!(Deck::new(fixture::sketch(), (120, 40)).keys(":").typed(quit).keys("enter").effects, [Effect::Quit], "{quit}");
    }
    let mut deck = opened(Deck::with(options(), gates::rollout(), (120, 40))).keys(":").typed("promote").keys("enter");
    assert!(deck.text().contains("Promote "), "{}", deck.text());
    // What can still be refused may be selected; the end of the program needs its name.
    let mut deck = opened(Deck::with(options(), gates::rollout(), (120, 40))).keys(":").typed("promo").keys("up enter");
    assert!(deck.text().contains("Promote "), "{}", deck.text());
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys(":").typed("qui").keys("up enter");
    assert!(deck.effects.is_empty() && deck.text().contains("type its full name to run it: quit"), "{}", deck.text());
    // The way to a screen or an environment is as short as before.
    assert!(Deck::new(fixture::sketch(), (120, 40)).keys(":").typed("roll").keys("enter").text().contains("NEXT STEP"));
}
