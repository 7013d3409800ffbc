//! A preview shows all that is written, and production is confirmed only by somebody who could see its end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{gates, plans};
use super::rollout::{down_to, opened};
use policydeck::tui::{Answer, Ask, Effect, Msg, Operations, Saver, TuiOptions, Wish};
use std::sync::Arc;

/// Its gate is open, and leads from staging to production.
const OPEN: &str = "disallow-privileged-containers";

fn options() -> TuiOptions {
    TuiOptions { operations: Operations::Possible { acknowledge: true }, ..TuiOptions::default() }
}

fn previewed(size: (u16, u16), policy: &str, key: &str) -> Deck {
    previewed_with(options(), size, policy, key)
}

fn previewed_with(options: TuiOptions, size: (u16, u16), policy: &str, key: &str) -> Deck {
    // Selected where there is room, then seen in a window of that size.
    let mut deck = down_to(opened(Deck::with(options, gates::rollout(), (120, 40))), policy);
    deck.draw();
    let effects = deck.app.update(deck.now, Msg::Key(event(key)));
    let wished = |effect| if let Effect::Ask(number, Ask::Prepare(wish)) = effect { Some((number, wish)) } else { None };
    let (number, wish): (u64, Wish) = effects.into_iter().find_map(wished).unwrap();
    deck.send(Msg::Answer(number, Answer::Prepared(Arc::new(plans::prepare(&deck.fleet, &wish, true)))));
    deck.terminal.backend_mut().resize(size.0, size.1);
    deck.draw();
    deck
}

fn seen(mut deck: Deck, keys: &str) -> Deck {
    for key in keys.split_whitespace() {
        deck.press(key);
        deck.draw();
    }
    deck
}

fn named(mut deck: Deck) -> Deck {
    for c in "production".chars() {
        deck = seen(deck, &c.to_string());
    }
    seen(deck, "enter")
}

fn is_carried_out(deck: &Deck) -> bool {
    deck.effects.iter().any(|effect| matches!(effect, Effect::CarryOut(..)))
}

/// All of a preview, screen by screen.
fn whole(mut deck: Deck) -> String {
    let mut all = String::new();
    for _ in 0..60 {
        all.push_str(&deck.text());
        deck.press("down");
    }
    all
}

#[test]
fn all_that_is_written_is_shown() {
    for size in [(80, 24), (120, 40)] {
        let text = whole(previewed(size, OPEN, "p"));
        // The object as it will be, line by line, with nothing cut.
        for line in [
            "kind: ClusterPolicy",
            "  name: disallow-privileged-containers",
            "  validationFailureAction: Audit",
            "image: \"!*:latest\"",
            "- Pod",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("allowed.\",…"), "{text}");
        let flat = |text: &str| text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat(&text).contains("policydeck annotations: at, by, plan, promoted-from (ctrl-o shows them)"), "{text}");
        let text = whole(seen(previewed(size, OPEN, "p"), "ctrl-o"));
        assert!(text.contains("policydeck.dev/promoted-from: ") && !flat(&text).contains("ctrl-o shows them"), "{text}");
        let text = whole(previewed(size, "disallow-latest-tag", "p"));
        assert!(text.contains("-  validationFailureAction: Audit") && text.contains("+  validationFailureAction: Enforce"), "{text}");
    }
}

#[test]
fn production_is_confirmed_only_after_its_end_was_in_sight() {
    let deck = named(previewed((80, 24), OPEN, "p"));
    assert!(!is_carried_out(&deck));
    let mut deck = deck;
    assert!(deck.text().contains("scroll to the end to confirm"), "{}", deck.text());
    deck.send(Msg::Paste("production".to_owned()));
    assert!(!is_carried_out(&seen(deck, "enter")), "not by pasting, either");
    for keys in ["end", "pgdn pgdn pgdn pgdn pgdn pgdn", "pgdn end up up pgup"] {
        assert!(is_carried_out(&named(seen(previewed((80, 24), OPEN, "p"), keys))), "{keys}");
    }
    // Where it fits, all of it is in sight at once.
    assert!(is_carried_out(&named(previewed((120, 60), OPEN, "p"))));
    // A picture that is saved is none that anybody has seen.
    let saved = || {
        let options = TuiOptions { save: Some(Saver::new(|_| Ok(String::new()))), ..options() };
        let mut deck = previewed_with(options, (80, 24), OPEN, "p");
        deck.press("end");
        deck.press("ctrl-s");
        deck
    };
    let mut deck = saved();
    for c in "production".chars() {
        deck.press(&c.to_string());
    }
    deck.press("enter");
    assert!(!is_carried_out(&deck));
    let mut deck = saved();
    deck.draw();
    assert!(is_carried_out(&named(deck)));
}

#[test]
fn what_is_unfolded_has_to_be_seen_to_its_end_too() {
    for keys in ["end ctrl-o", "end p r o d ctrl-o"] {
        let mut deck = named(seen(previewed((80, 24), OPEN, "p"), keys));
        assert!(!is_carried_out(&deck), "{keys}");
        assert!(deck.text().contains("scroll to the end"), "{keys}: {}", deck.text());
    }
    assert!(is_carried_out(&named(seen(previewed((80, 24), OPEN, "p"), "end ctrl-o end"))));
    assert!(is_carried_out(&named(seen(previewed((80, 24), OPEN, "p"), "ctrl-o ctrl-o end"))));
}

#[test]
fn keys_are_named_where_they_work() {
    let keys = |deck: &mut Deck| deck.text().lines().last().unwrap().to_owned();
    let all = |keys: &str, named: &[&str], unnamed: &[&str]| {
        for word in named {
            assert!(keys.contains(word), "{word}: {keys}");
        }
        for word in unnamed {
            assert!(!keys.contains(word), "{word}: {keys}");
        }
    };
    let size = (120, 30);
    let mut deck = previewed(size, OPEN, "p");
    all(&keys(&mut deck), &["end all", "ctrl-o unfold"], &["enter"]);
    // Seen to its end, the name is typed: the key `end` moves within it.
    let mut deck = seen(deck, "end");
    all(&keys(&mut deck), &["enter go on", "ctrl-o unfold"], &["end all"]);
    let mut deck = seen(deck, "ctrl-o");
    all(&keys(&mut deck), &["end all", "ctrl-o fold"], &["enter"]);
    let mut deck = previewed(size, "disallow-latest-tag", "p");
    all(&keys(&mut deck), &["y yes", "enter no", "end all", "ctrl-o unfold"], &[]);
    let mut deck = seen(deck, "tab tab");
    all(&keys(&mut deck), &["enter take the ticket"], &["end all", "y yes"]);
    let mut deck = seen(deck, "1");
    let effects = deck.app.update(deck.now, Msg::Key(event("enter")));
    assert_eq!(effects.len(), 1);
    all(&keys(&mut deck), &["esc cancel"], &["enter", "y yes"]);
    // A hold's reason is taken once there is one.
    let mut deck = held();
    all(&keys(&mut deck), &["esc cancel"], &["enter"]);
    all(&keys(&mut seen(deck, "x")), &["enter go on"], &[]);
}

/// A hold that asks for its reason.
fn held() -> Deck {
    seen(down_to(opened(Deck::with(options(), gates::rollout(), (120, 30))), "disallow-latest-tag"), "H")
}

#[test]
fn in_a_window_too_small_to_read_it_nothing_is_confirmed() {
    for size in [(30, 8), (39, 24), (80, 11), (10, 3)] {
        let mut deck = seen(named(seen(previewed(size, OPEN, "p"), "end")), "enter");
        assert!(!is_carried_out(&deck), "{size:?}");
        let flat = deck.text().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(size.0 < 30 || flat.contains("40x12 or more is needed to confirm"), "{size:?}: {flat}");
        // Enlarged, it is read and confirmed.
        deck.terminal.backend_mut().resize(80, 24);
        deck.draw();
        assert!(is_carried_out(&named(seen(deck, "end"))), "{size:?}");
    }
    snapshot!("operation_production_30x8", previewed((30, 8), OPEN, "p").text());
}

#[test]
fn policy_environment_and_context_come_first() {
    let text = previewed((80, 24), OPEN, "p").text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("Promote disallow-privileged-containers to PRODUCTION"), "{text}");
    assert!(lines[1].contains("policy") && lines[1].contains("ClusterPolicy/disallow-privileged-containers"), "{text}");
    assert!(lines[2].contains("where") && lines[2].contains("PRODUCTION") && lines[2].contains("context production"), "{text}");
}
