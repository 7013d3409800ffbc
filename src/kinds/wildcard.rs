//! Kyverno's wildcards: `*` is any run of characters, `?` exactly one (Kyverno `ext/wildcard/match.go`, all releases; ≤1.12 `pkg/utils/wildcard`).

/// Whether `text` matches `pattern`. An empty pattern matches only empty text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go back to: just behind the last star, and the text position it has swallowed up to.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, swallowed)) => {
                    star = Some((after, swallowed + 1));
                    (p, t) = (after, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// Whether a text is a pattern at all.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "prod", true),
            ("", "", true),
            ("", "a", false),
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("prod-*", "prod-eu", true),
            ("prod-*", "prod", false),
            ("*-eu", "prod-eu", true),
            ("p*d-*u", "prod-eu", true),
            ("p*d-*x", "prod-eu", false),
            ("?", "", false),
            ("?", "a", true),
            ("?", "ab", false),
            ("prod-??", "prod-eu", true),
            ("prod-???", "prod-eu", false),
            ("**a**", "bab", true),
            ("a*a", "a", false),
            ("*aab", "aaab", true),
            ("?*", "", false),
            ("größe?", "größen", true),
            ("prod.*", "prodx", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }
}
