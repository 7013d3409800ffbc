//! What narrows a screen is named on it, at every size.

use super::deck::Deck;
use super::fixture::{self, gates, journals};
use super::rollout::opened;
use policydeck::tui::TuiOptions;

/// The lines above the screen itself.
fn head(deck: &mut Deck) -> String {
    deck.text().lines().take(2).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_filter_is_in_the_header_of_every_screen() {
    let journal = || TuiOptions { journal: Some(journals::reader()), ..TuiOptions::default() };
    for (columns, rows) in [(80, 24), (120, 40), (200, 60), (40, 12), (40, 7)] {
        for screen in ["violations", "rollout", "journal"] {
            let at = || Deck::with(journal(), gates::rollout(), (columns, rows)).keys(":").typed(screen).keys("enter");
            assert!(!head(&mut at()).contains("filter"), "{screen}");
            let mut deck = at().keys("/").typed("policy=x*").keys("enter");
            assert!(head(&mut deck).contains("filter policy=x"), "{screen} {columns}x{rows}\n{}", deck.text());
            assert!(!head(&mut deck.keys("esc")).contains("filter"));
        }
        // One that is typed on the rows of a policy, too.
        let mut deck = Deck::new(fixture::sketch(), (columns, rows)).keys("enter /").typed("kind=Pod").keys("enter");
        assert!(head(&mut deck).contains("filter kind=Pod"), "{}", deck.text());
    }
    snapshot!("header_filter_80x24", opened(Deck::new(gates::rollout(), (80, 24))).keys("/").typed("verdict=open").keys("enter").text());
}

#[test]
fn namespaces_that_environments_are_limited_to_are_in_it() {
    let limited = |places: &[usize]| {
        let mut environments = gates::rollout();
        for place in places {
            environments[*place].namespaces = vec!["shop".to_owned(), "team-*".to_owned()].into();
        }
        environments
    };
    let mut deck = Deck::new(limited(&[0, 1, 2, 3]), (120, 40));
    assert!(head(&mut deck).contains("only namespaces shop, team-*"), "{}", deck.text());
    let mut deck = Deck::new(limited(&[0, 3]), (120, 40));
    assert!(head(&mut deck).contains("only some namespaces in dev, production"), "{}", deck.text());
    // What the screen does not show is no matter.
    let mut deck = Deck::new(limited(&[0, 3]).split_off(1), (120, 40));
    assert!(head(&mut deck).contains("only some namespaces in production"), "{}", deck.text());
    let mut deck = Deck::new(limited(&[0]).split_off(1), (120, 40));
    assert!(!head(&mut deck).contains("namespaces"), "{}", deck.text());
    let mut deck = Deck::new(limited(&[0]).into_iter().take(1).collect(), (120, 40));
    assert!(head(&mut deck).contains("only namespaces shop, team-*"), "{}", deck.text());
}

#[test]
fn that_the_view_is_frozen_is_in_it_whatever_narrows_it() {
    for (columns, rows) in [(80, 24), (120, 40), (200, 60), (40, 12), (40, 7), (20, 7), (20, 12)] {
        for filter in ["", "x", "policy=disallow-privileged-containers"] {
            let mut deck = Deck::new(gates::rollout(), (columns, rows));
            if !filter.is_empty() {
                deck = deck.keys("/").typed(filter).keys("enter");
            }
            assert!(!head(&mut deck).contains("PAUSED"), "{}", deck.text());
            let mut deck = deck.keys("P");
            let text = head(&mut deck);
            assert!(
                text.contains("PAUSED") && (filter.is_empty() || columns < 40 || text.contains("filter ")),
                "{columns}x{rows} {filter}\n{text}"
            );
            assert!(!head(&mut deck.keys("P")).contains("PAUSED"));
        }
    }
}
