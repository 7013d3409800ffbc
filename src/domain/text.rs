//! Text from clusters is not to be trusted: it may hold control characters that would drive the terminal.

use super::alike::{is_invisible, is_plain, reveal};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may reach a terminal or a log: no C0/C1 controls, no bidirectional overrides, no invisible line breaks.
fn is_safe(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
}

/// Whether a character drives no terminal and can be seen.
pub(super) fn is_visible(c: char) -> bool {
    is_safe(c) && !is_invisible(c)
}

/// `text` on one line as a person sees it, without anything that could drive a terminal: runs of white space become one blank, other controls
/// become `�`. What cannot be seen, marks that stack, and letters that only look like others become an escape, `\u{200b}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| is_safe(c) && is_plain(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if is_safe(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    if out.chars().all(is_plain) {
        return Cow::Owned(out);
    }
    let mut revealed = String::with_capacity(out.len() + 16);
    reveal(&out, &mut revealed);
    Cow::Owned(revealed)
}

/// The lines of `text`, each safe for a terminal; tabs become four blanks.
pub fn clean_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| clean(&line.replace('\t', "    ")).into_owned()).collect()
}

/// JSON that is the same value and drives no terminal: what may not reach one or cannot be seen is written as an escape. Line breaks of a layout
/// stay.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let stays = |c: char| c == '\n' || is_visible(c);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if stays(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(clean("Deployment/web: größer ▒"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_drives_a_terminal_is_replaced() {
        assert_eq!(clean("a\x1b[31mred\x07"), "a\u{fffd}[31mred\u{fffd}");
        assert_eq!(clean("one\r\n\ttwo"), "one two");
        assert_eq!(clean("abc\u{202e}def\u{9b}2J"), "abc\u{fffd}def\u{fffd}2J");
        assert_eq!(clean("p\u{430}y\u{200b}\u{1b}ments\n"), "p\\u{430}y\\u{200b}\u{fffd}ments ");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[2J\u{202e}\u{7f}\n größer \u{200b}\u{e0041}"});
        let text = value.to_string();
        let safe = escape_json(&text);
        assert!(safe.chars().all(is_visible), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(matches!(escape_json("{\n  \"a\": 1\n}"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(clean_lines("a:\n\tb: \x1b]0;x\x07"), vec!["a:", "    b: \u{fffd}]0;x\u{fffd}"]);
    }
}
