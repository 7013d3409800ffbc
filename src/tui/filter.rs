//! What a filter typed on a screen means for policies, cells and rows.
//!
//! What lives here: how the screens use the grammar of [`crate::fleet::filter`]. A plain word looks for policies on the matrix (a
//! message may hold it too, but hardly anybody who types `latest` there wants every policy that has findings); on rows it looks
//! where the grammar says. What does not: the grammar, editing the line.

use crate::domain::{Tier, clean};
use crate::fleet::filter::{Filter as Terms, FilterError, Verdict};
use crate::fleet::query::FindingRow;
use crate::fleet::view::{EnvironmentView, PolicyCell};
use jiff::Timestamp;

/// A filter that was understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    source: String,
    /// Everything.
    all: Terms,
    /// Everything but plain words.
    fields: Terms,
    /// Plain words in lower case, and whether they are wanted.
    words: Vec<(bool, String)>,
}

impl Filter {
    /// Understands `text`, or says why not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let all = Terms::parse(text).map_err(|error| why_not(&error))?;
        let is_plain = |token: &&str| Terms::parse(token).is_ok_and(|t| t.fields().next() == Some(None));
        let (words, fields): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(is_plain);
        // What only makes sense as a whole (a quoted blank, say) stays whole.
        let fields = Terms::parse(&fields.join(" ")).unwrap_or_else(|_| all.clone());
        let words = words.into_iter().map(|w| w.strip_prefix('!').map_or((true, w), |rest| (false, rest)));
        let words = words.map(|(wanted, w)| (wanted, w.trim_matches('"').to_lowercase())).collect();
        Ok(Self { source: text.trim().to_owned(), all, fields, words })
    }

    /// As typed.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it lets everything through.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a policy, described by `texts`, has all words that are wanted and none that are not.
    pub(crate) fn names(&self, texts: &[&str]) -> bool {
        self.words.iter().all(|(wanted, word)| *wanted == texts.iter().any(|text| contains(text, word)))
    }

    /// Whether it asks for more than words.
    pub(crate) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Whether a cell may hold anything that passes.
    pub(crate) fn allows_cell(&self, environment: &EnvironmentView, cell: &PolicyCell, now: Timestamp) -> bool {
        self.allows_cell_at(&environment.name, environment.tier, cell, now)
    }

    /// The same for a cell that is looked at as if it were in another environment.
    pub(crate) fn allows_cell_at(&self, environment: &str, tier: Tier, cell: &PolicyCell, now: Timestamp) -> bool {
        self.fields.matches_cell(environment, tier, cell, now) != Verdict::No
    }

    /// Whether only a cell's rows can tell what of its numbers passes.
    pub(crate) fn asks_rows(&self, environment: &EnvironmentView, cell: &PolicyCell, now: Timestamp) -> bool {
        self.fields.matches_cell(&environment.name, environment.tier, cell, now) == Verdict::Unknown
    }

    /// Whether the failures and errors of a cell pass; unknown where only its rows can tell which of them do.
    pub(crate) fn allows_faults(&self, environment: &EnvironmentView, cell: &PolicyCell, now: Timestamp) -> Verdict {
        self.fields.matches_faults(&environment.name, environment.tier, cell, now)
    }

    /// Whether a row passes.
    pub(crate) fn allows_row(&self, environment: &EnvironmentView, row: &FindingRow, now: Timestamp) -> bool {
        self.all.matches_finding(&environment.name, environment.tier, row, now)
    }

    /// The same for a filter typed on the matrix, where words have found the policy already.
    pub(crate) fn allows_row_of_cell(&self, environment: &EnvironmentView, row: &FindingRow, now: Timestamp) -> bool {
        self.fields.matches_finding(&environment.name, environment.tier, row, now)
    }
}

/// Why a text was not understood, and what to write instead, for the line it was typed on.
pub(crate) fn why_not(error: &FilterError) -> String {
    clean(format!("{} {}", error.message, error.hint).trim()).into_owned()
}

/// The text of a filter with another environment, or with none.
pub(crate) fn of_environment(source: &str, name: Option<&str>) -> String {
    let asks = |word: &&str| {
        let word = word.trim_start_matches('!');
        ["env", "environment"].iter().any(|field| word.strip_prefix(field).is_some_and(|rest| rest.starts_with(['=', '!', '~'])))
    };
    let kept = source.split_whitespace().filter(|word| !asks(word)).map(str::to_owned);
    kept.chain(name.map(|name| format!("env={name}"))).collect::<Vec<_>>().join(" ")
}

/// Case does not matter; most names are lower case already, and are not copied.
fn contains(text: &str, lower: &str) -> bool {
    text.contains(lower) || (text.chars().any(char::is_uppercase) && text.to_lowercase().contains(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_look_for_policies_and_fields_for_findings() {
        let texts = ["disallow-latest-tag", "Best Practices"];
        let passes = |text: &str| Filter::parse(text).unwrap().names(&texts);
        assert!(passes("") && passes("latest best") && passes("LATEST !root") && passes("ns=checkout latest"));
        assert!(!passes("latest root") && !passes("!latest"));
        let filter = Filter::parse("latest ns=checkout").unwrap();
        assert_eq!((filter.words.len(), filter.has_fields()), (1, true));
        assert!(Filter::parse("sev>=enormous").is_err());
    }
}
