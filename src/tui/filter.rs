//! What a filter typed on a screen means, until the grammar of `fleet::filter` is there: words that all must occur, `!word` that must not.
//!
//! What lives here: the seam between the input line and whatever decides. What does not: editing the line.

/// What one row offers to a filter.
pub(crate) struct Facts<'a> {
    /// Texts of the row: any of them may hold a word.
    pub(crate) texts: &'a [&'a str],
}

/// A filter that was understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    source: String,
    words: Vec<(bool, String)>,
}

impl Filter {
    /// Understands `text`, or says why not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let (wanted, word) = word.strip_prefix('!').map_or((true, word), |rest| (false, rest));
            if word.is_empty() {
                return Err("a word is missing after !".to_owned());
            }
            words.push((wanted, word.to_lowercase()));
        }
        Ok(Self { source: text.trim().to_owned(), words })
    }

    /// As typed.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it lets everything through.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a row passes.
    pub(crate) fn matches(&self, facts: &Facts<'_>) -> bool {
        self.words.iter().all(|(wanted, word)| *wanted == facts.texts.iter().any(|text| contains(text, word)))
    }
}

/// Case does not matter; most names are lower case already, and are not copied.
fn contains(text: &str, lower: &str) -> bool {
    text.contains(lower) || (text.chars().any(char::is_uppercase) && text.to_lowercase().contains(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_occur_and_denied_ones_must_not() {
        let facts = Facts { texts: &["disallow-latest-tag", "Best Practices"] };
        let passes = |text: &str| Filter::parse(text).unwrap().matches(&facts);
        assert!(passes("") && passes("latest best") && passes("LATEST !root"));
        assert!(!passes("latest root") && !passes("!latest"));
        assert!(Filter::parse("a !").is_err());
    }
}
