//! What a person does next, by what is in front of them and by chance.

use crate::dice::Dice;
use crate::screen::{Over, Screen};

/// Something to press or to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Press {
    Key(&'static str),
    Text(String),
}

const MOVES: [&str; 18] =
    ["down", "down", "down", "down", "up", "up", "pgdn", "pgup", "home", "end", "left", "right", "tab", "shift-tab", "1", "2", "3", "4"];
const VERBS: [&str; 9] = ["p", "p", "p", "a", "a", "r", "r", "H", "space"];
const OTHERS: [&str; 24] = [
    "/", "o", "s", "S", "<", "w", "t", ":", "esc", "enter", "m", "?", "P", "ctrl-r", "ctrl-l", "ctrl-s", "ctrl-z", "q", "u", "0", "n", "y",
    "x", "c",
];
const TYPED: [&str; 12] =
    ["latest", "env=dev", "mode=audit", "require", "q", "promote", "roll", "unblock", "production", "hold", "fail>0", "zz"];

fn key(key: &'static str) -> Press {
    Press::Key(key)
}

fn text(text: &str) -> Press {
    Press::Text(text.to_owned())
}

/// The name that is asked for.
fn wanted(frame: &str) -> Option<String> {
    let at = frame.find(" to confirm: ")?;
    frame[..at].rsplit(|c: char| c.is_whitespace()).next().map(str::to_owned)
}

/// One or several things. Who has a dialog in front mostly follows it: a run in which nothing is written tries little.
pub(crate) fn next(screen: &Screen, dice: &mut Dice) -> Vec<Press> {
    if dice.one_in(20) {
        return vec![key(dice.pick(&OTHERS))];
    }
    match screen.over() {
        Over::Unread => match dice.below(8) {
            0..=5 => vec![key("end")],
            6 => vec![key("pgdn"), text("production"), key("enter")],
            _ => vec![key("esc")],
        },
        Over::Question => match dice.below(12) {
            0..=6 => vec![key("y")],
            7 => vec![key("right"), key("enter")],
            8 => vec![key("enter")],
            9 => vec![key("tab"), text("CHG-7"), key("enter")],
            10 => vec![key("pgdn")],
            _ => vec![key(if dice.one_in(2) { "esc" } else { "n" })],
        },
        Over::Name => match dice.below(10) {
            0..=6 => vec![text(&wanted(&screen.frame).unwrap_or_default()), key("enter")],
            7 => vec![text("prod"), key("enter")],
            8 => vec![key("y"), key("enter")],
            _ => vec![key("esc")],
        },
        Over::Line => match dice.below(8) {
            0..=6 => vec![text("looked at it"), key("enter")],
            _ => vec![key("esc")],
        },
        Over::List => match dice.below(8) {
            0 => vec![key("esc")],
            1 => vec![key("down")],
            2 => vec![key("down"), key("enter")],
            _ => vec![key("enter")],
        },
        Over::Other => match dice.below(8) {
            0..=4 => vec![key("esc")],
            5 => vec![key("enter")],
            6 => vec![key("r")],
            _ => vec![key("pgdn")],
        },
        Over::Nothing if screen.frame.contains("Commands") && screen.frame.contains(':') && dice.one_in(2) => {
            vec![text(dice.pick(&TYPED)), key(if dice.one_in(2) { "enter" } else { "esc" })]
        }
        Over::Nothing => match dice.below(10) {
            0..=3 => (0..=dice.below(4)).map(|_| key(dice.pick(&MOVES))).collect(),
            4..=7 => vec![key(dice.pick(&VERBS))],
            8 => vec![key("/"), text(dice.pick(&TYPED)), key(if dice.one_in(3) { "esc" } else { "enter" })],
            _ => vec![key(dice.pick(&OTHERS))],
        },
    }
}
