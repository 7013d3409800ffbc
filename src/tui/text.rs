//! Text that fits: widths, cutting, padding and wrapping by what a terminal really shows.
//!
//! What lives here: measuring and shaping of single strings. What does not: colours, positions, meaning.

use crate::domain::clean;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns `text` takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// `text` in at most `columns` columns, ending in `mark` where something had to be left out.
pub(crate) fn fit<'a>(text: &'a str, columns: usize, mark: &str) -> Cow<'a, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(width(mark));
    let (head, _) = split_at_width(text, room);
    let mut out = head.to_owned();
    if columns >= width(mark) {
        out.push_str(mark);
    }
    Cow::Owned(out)
}

/// `text` from a cluster, safe for a terminal and cut to `columns`.
pub(crate) fn fit_clean(text: &str, columns: usize, mark: &str) -> String {
    fit(&clean(text), columns, mark).into_owned()
}

/// Splits behind as many characters as fit into `columns`.
fn split_at_width(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let w = c.width().unwrap_or(0);
        if used + w > columns {
            return text.split_at(at);
        }
        used += w;
    }
    (text, "")
}

/// `text` in pieces of at most `columns`, every character of it: blanks count, and words are torn.
pub(crate) fn pieces(text: &str, columns: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while width(rest) > columns.max(1) {
        let (head, tail) = split_at_width(rest, columns.max(1));
        // A character wider than the line takes one of its own rather than none.
        let at = if head.is_empty() { rest.chars().next().map_or(rest.len(), char::len_utf8) } else { rest.len() - tail.len() };
        pieces.push(&rest[..at]);
        rest = &rest[at..];
    }
    pieces.push(rest);
    pieces
}

/// `text` with blanks behind it up to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` broken at blanks into lines of at most `columns`; words longer than a line are cut.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let mut word = word;
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        while line.is_empty() && width(word) > columns {
            let (head, tail) = split_at_width(word, columns);
            // A character wider than the line would never fit: leave it out rather than loop.
            if head.is_empty() {
                word = tail.char_indices().nth(1).map_or("", |(at, _)| &tail[at..]);
                continue;
            }
            lines.push(head.to_owned());
            word = tail;
        }
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns_not_bytes() {
        assert_eq!(fit("漢字漢字", 5, "…"), "漢字…");
        assert_eq!(fit("漢字漢字", 4, "…"), "漢…");
        assert_eq!(fit("plain", 5, "…"), "plain");
        assert_eq!(fit("plain", 0, "…"), "");
        assert_eq!(fit("plain", 1, "…"), "…");
    }

    #[test]
    fn pieces_lose_nothing() {
        assert_eq!(pieces("    - name: x", 6), vec!["    - ", "name: ", "x"]);
        assert_eq!(pieces("", 4), vec![""]);
        assert_eq!(pieces("漢字 a", 1), vec!["漢", "字", " ", "a"]);
        assert_eq!(pieces("abc", 0), vec!["a", "b", "c"]);
    }

    #[test]
    fn wrapping_breaks_at_blanks_and_cuts_what_is_too_long() {
        assert_eq!(wrap("one two three", 7), vec!["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), vec!["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 4), vec![""]);
        assert_eq!(wrap("漢字 a", 1), vec!["a"]);
    }
}
