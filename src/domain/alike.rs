//! Characters that cannot be seen, and letters that look like others: names that are not the same must not look the same.
//!
//! What lives here: which characters are shown as an escape, `\u{200b}`. What does not: what drives a terminal (`super::text`).
//!
//! Sources: Unicode 16, `DerivedCoreProperties.txt` (Default_Ignorable_Code_Point), `UnicodeData.txt` (canonical decompositions);
//! UTS #39, `confusables.txt`.

use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar as _;

/// Marks that may stand on one letter. Scripts that need them have two.
const MARKS: u32 = 2;

/// Whether a character leaves no trace on the screen.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What looks like a blank, and like a sign of ASCII.
fn is_twin(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}'
                | '\u{202f}'
                | '\u{205f}'
                | '\u{37e}'
                | '\u{387}'
                | '\u{2010}'
                | '\u{2011}'
                | '\u{2024}'
                | '\u{2044}'
                | '\u{2215}'
                | '\u{2236}'
                | '\u{a789}'
    )
}

/// What Unicode takes for the same as other characters: parts of letters that there are as one, and second copies.
fn is_canonical_twin(c: char) -> bool {
    is_general_mark(c)
        || matches!(c,
            '\u{653}'..='\u{655}' | '\u{93c}' | '\u{9bc}' | '\u{3099}' | '\u{309a}'
            | '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97f}' | '\u{d7b0}'..='\u{d7ff}'
            | '\u{1f71}' | '\u{1f73}' | '\u{1f75}' | '\u{1f77}' | '\u{1f79}' | '\u{1f7b}' | '\u{1f7d}' | '\u{1fbe}'
            | '\u{2126}' | '\u{212a}' | '\u{212b}' | '\u{f900}'..='\u{faff}' | '\u{fb1d}'..='\u{fb4f}' | '\u{2f800}'..='\u{2fa1f}')
}

/// Marks for letters of any script: they can be put on each other without end, and most letters with one exist as one character.
fn is_general_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// Letters that look just like Latin ones, in the two alphabets that whole texts are written in.
const CYRILLIC: &str = "АВЕЅІЈКМНОРСТУХҮҺԀԌԚԜӀаеѕіјорсухүһԁԛԝӏ";
const GREEK: &str = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹαγικμνορτυχωϲϳϱ";

/// An alphabet with letters like the Latin ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Cyrillic,
    Greek,
    /// Armenian, Georgian, Cherokee, Lisu, Coptic, phonetic, ancient, and letters of mathematics: hardly ever in these texts.
    Rare,
}

impl Alphabet {
    fn of(c: char) -> Option<Self> {
        let alphabet = match c {
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => Self::Cyrillic,
            '\u{250}'..='\u{2af}'
            | '\u{530}'..='\u{58f}'
            | '\u{10a0}'..='\u{10ff}'
            | '\u{13a0}'..='\u{13ff}'
            | '\u{1400}'..='\u{167f}'
            | '\u{1c90}'..='\u{1cbf}'
            | '\u{1d00}'..='\u{1dbf}'
            | '\u{2100}'..='\u{218f}'
            | '\u{2c80}'..='\u{2cff}'
            | '\u{2d00}'..='\u{2d2f}'
            | '\u{a4d0}'..='\u{a4ff}'
            | '\u{ab70}'..='\u{abbf}'
            | '\u{10280}'..='\u{105ff}'
            | '\u{1d400}'..='\u{1d7ff}' => Self::Rare,
            _ => return None,
        };
        c.is_alphabetic().then_some(alphabet)
    }

    /// Whether a letter of it cannot be told from a Latin one.
    fn looks_latin(self, c: char) -> bool {
        match self {
            Self::Cyrillic => CYRILLIC.contains(c),
            Self::Greek => GREEK.contains(c),
            Self::Rare => true,
        }
    }
}

/// Whether a character is shown as it is in any text.
pub(super) fn is_plain(c: char) -> bool {
    c.is_ascii()
        || !(is_invisible(c) || is_twin(c) || is_canonical_twin(c) || is_dash(c) || Alphabet::of(c).is_some() || c.width() == Some(0))
}

/// A dash that looks like a hyphen between letters.
fn is_dash(c: char) -> bool {
    matches!(c, '\u{2012}' | '\u{2013}' | '\u{2212}')
}

/// What is always an escape ends a word, so that a text that has its escapes is read as before.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() && !(is_invisible(c) || is_canonical_twin(c))
}

fn has_latin(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_alphabetic())
}

/// Adds `text` to `out`, with an escape for everything that cannot be seen or looks like something else.
pub(super) fn reveal(text: &str, out: &mut String) {
    // A text that is really written in another alphabet has words that might be Latin by their looks.
    let own = |word: &str| !has_latin(word) && word.chars().any(|c| Alphabet::of(c).is_some_and(|alphabet| !alphabet.looks_latin(c)));
    let is_foreign = text.split(|c| !is_word(c)).any(own);
    let mut before = ' ';
    let mut marks = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (run, later) = rest.split_at(end);
        rest = later;
        let is_latin = has_latin(run);
        let all_alike = run.chars().filter(|c| c.is_alphabetic()).all(|c| Alphabet::of(c).is_some_and(|alphabet| alphabet.looks_latin(c)));
        let mut run = run.chars().peekable();
        while let Some(c) = run.next() {
            marks = if !c.is_ascii() && c.width() == Some(0) { marks + 1 } else { 0 };
            let after = run.peek().copied().or_else(|| rest.chars().next()).unwrap_or(' ');
            let alike = match Alphabet::of(c) {
                Some(Alphabet::Cyrillic | Alphabet::Rare) if is_latin => true,
                Some(alphabet) => alphabet.looks_latin(c) && (is_latin || (all_alike && !is_foreign)),
                None => false,
            };
            let dash = is_dash(c) && before.is_ascii_alphabetic() && after.is_ascii_alphabetic();
            // As a picture in colours: what it stands after is a picture anyway.
            let invisible = is_invisible(c) && !(c == '\u{fe0f}' && matches!(before, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}'));
            if invisible || alike || dash || is_twin(c) || is_canonical_twin(c) || marks > MARKS {
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", c.escape_unicode());
            } else {
                out.push(c);
            }
            before = c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;

    fn shown(text: &str) -> String {
        let mut out = String::new();
        reveal(text, &mut out);
        out
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, says) in [
            ("pay\u{200b}ments", "pay\\u{200b}ments"),
            ("pay\u{ad}ments", "pay\\u{ad}ments"),
            ("a\u{fe0f}", "a\\u{fe0f}"),
            ("\u{26a0}\u{fe0f} soon", "\u{26a0}\u{fe0f} soon"),
            ("x\u{e0041}y", "x\\u{e0041}y"),
            ("a\u{200d}b\u{2060}", "a\\u{200d}b\\u{2060}"),
            ("team\u{a0}a", "team\\u{a0}a"),
            ("\u{3164}", "\\u{3164}"),
        ] {
            assert_eq!(shown(text), says);
        }
    }

    #[test]
    fn marks_do_not_stack_and_composed_letters_differ_from_those_in_parts() {
        assert_eq!(shown("caf\u{e9}"), "caf\u{e9}");
        assert_eq!(shown("cafe\u{301}"), "cafe\\u{301}");
        assert_eq!(shown("Z\u{335}\u{321}\u{30d}"), "Z\\u{335}\\u{321}\\u{30d}");
        assert_eq!(shown("ที่"), "ที่", "Thai has two");
        assert_eq!(shown("ก\u{e49}\u{e49}\u{e49}\u{e49}"), "ก\u{e49}\u{e49}\\u{e49}\\u{e49}");
        assert_eq!((shown("한"), shown("\u{1112}\u{1161}\u{11ab}")), ("한".into(), "\\u{1112}\\u{1161}\\u{11ab}".into()));
        assert_eq!((shown("\u{c5}"), shown("\u{212b}")), ("\u{c5}".into(), "\\u{212b}".into()));
    }

    #[test]
    fn letters_that_look_latin_are_shown_where_they_pretend() {
        for (text, says) in [
            ("p\u{430}yments", "p\\u{430}yments"),
            ("\u{430}dmin", "\\u{430}dmin"),
            ("\u{440}\u{430}\u{443}", "\\u{440}\\u{430}\\u{443}"),
            ("\u{39a}yverno", "\\u{39a}yverno"),
            ("t\u{585}p", "t\\u{585}p"),
            ("\u{1d41a}dmin", "\\u{1d41a}dmin"),
            ("team\u{2010}a", "team\\u{2010}a"),
            ("team\u{2013}a", "team\\u{2013}a"),
            ("a\u{2215}b", "a\\u{2215}b"),
        ] {
            assert_eq!(shown(text), says);
        }
    }

    #[test]
    fn texts_of_all_languages_stay_as_they_are() {
        for text in [
            "größer, naïve, Ærø, İstanbul, Łódź",
            "Нет метки «owner» у ресурса с именем web",
            "Λείπει η ετικέτα owner και το όνομα",
            "标签 owner 不能为空：Kyverno策略",
            "ラベルがありません。",
            "라벨이 없습니다",
            "חסרה תווית",
            "التسمية مفقودة",
            "ป้ายกำกับหายไป",
            "लेबल",
            "3–5 replicas – not more, “quoted”, don’t, 10 € ✅ ● │ ▒ Δ = 4 ½ ™ №",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn it_says_the_same_of_what_it_has_said() {
        let some: Vec<char> = "aZ0- .\u{301}\u{430}\u{436}\u{3b1}\u{200b}\u{fe0f}\u{26a0}\u{e49}\u{2013}\u{585}é中".chars().collect();
        cases("alike", 2_000, |dice| {
            let text: String = dice.some(12, |dice| *dice.of(&some)).into_iter().collect();
            assert_eq!(shown(&shown(&text)), shown(&text), "{text:?}");
        });
    }
}
