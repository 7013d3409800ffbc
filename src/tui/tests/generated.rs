//! Keys of any text.

use crate::testing::{broken_text, cases};
use crate::tui::keymap::{Keymap, actions};
use crate::tui::keys::Chord;
use std::collections::BTreeMap;

const PARTS: [&str; 24] = [
    "ctrl-",
    "alt-",
    "shift-",
    "enter",
    "esc",
    "tab",
    "shift-tab",
    "space",
    "up",
    "pgdn",
    "f1",
    "f12",
    "f13",
    "f",
    "a",
    "G",
    "-",
    " ",
    "ü",
    "ß",
    "\0",
    "\u{1b}",
    "ctrl",
    "0",
];

#[test]
fn keys_of_any_text_are_read_back() {
    cases("keys_of_any_text", 20_000, |dice| {
        let text = broken_text(&PARTS, 4, dice);
        let Ok(chord) = text.parse::<Chord>() else { return };
        assert_eq!(chord.to_string().parse(), Ok(chord), "{text:?} is printed as {chord}");
        // Most of it is needed already, which is said.
        if dice.one_in(50) {
            drop(Keymap::new(&BTreeMap::from([((*dice.of(actions())).to_owned(), text)])));
        }
    });
}
