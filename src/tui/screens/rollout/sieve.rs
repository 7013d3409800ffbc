//! The filter of the board: the grammar of all screens, and `verdict=open`.
//!
//! What lives here: which rows pass. What does not: the grammar itself (`fleet::filter`).

use super::board::Row;
use crate::domain::{Tier, Verdict};
use crate::fleet::view::{EnvironmentView, FleetView};
use crate::tui::filter::{Filter, of_environment};
use jiff::Timestamp;

/// A filter that was understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Sieve {
    source: String,
    filter: Filter,
    /// Verdicts, of which a row's has to be one, or none.
    verdicts: Vec<(bool, Vec<Verdict>)>,
}

/// What a word asks of verdicts, if it does: whether they are wanted, and which.
fn verdicts(word: &str) -> Option<Result<(bool, Vec<Verdict>), String>> {
    let (turned, rest) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
    let rest = rest.strip_prefix("verdict")?;
    let (not, list) = match (rest.strip_prefix("!="), rest.strip_prefix('=')) {
        (Some(list), _) => (true, list),
        (_, Some(list)) => (false, list),
        // A plain word that begins like the field.
        _ => return None,
    };
    let verdict = |text: &str| match text.to_lowercase().as_str() {
        "open" => Ok(Verdict::Open),
        "closed" => Ok(Verdict::Closed),
        "unknown" => Ok(Verdict::Unknown),
        other => Err(format!("a verdict is open, closed or unknown, not `{other}`")),
    };
    Some(list.split(',').map(verdict).collect::<Result<_, _>>().map(|list| (turned == not, list)))
}

impl Sieve {
    /// Understands `text`, or says why not.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut asked, mut rest) = (Vec::new(), Vec::new());
        for word in text.split_whitespace() {
            match verdicts(word) {
                Some(found) => asked.push(found?),
                None => rest.push(word),
            }
        }
        // Blanks within quotes matter: only a text from which something was taken is put together anew.
        let rest = if asked.is_empty() { text.to_owned() } else { rest.join(" ") };
        Ok(Self { source: text.trim().to_owned(), filter: Filter::parse(&rest)?, verdicts: asked })
    }

    /// The same with another environment, or with none.
    pub(super) fn with_environment(&self, name: Option<&str>) -> Result<Self, String> {
        Self::parse(&of_environment(&self.source, name))
    }

    /// As typed.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it lets everything through.
    pub(super) fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Whether a row passes. What is asked of an environment is asked of the one it stands in and of the one it would go to.
    pub(super) fn passes(&self, row: &Row, fleet: &FleetView, now: Timestamp) -> bool {
        let id = &row.key.id;
        let verdict = row.gate.as_ref().ok().map(|gate| gate.verdict);
        let of_verdicts = self.verdicts.iter().all(|(wanted, list)| *wanted == verdict.is_some_and(|verdict| list.contains(&verdict)));
        of_verdicts
            && self.filter.names(&[&id.name, id.namespace.as_deref().unwrap_or_default(), &id.kind])
            && (!self.filter.has_fields() || Self::around(row, fleet).any(|(at, cell)| self.allows(at, cell, row, now)))
    }

    /// Where a row stands and where it would go; at the end of the road, wherever it is. With the environment to ask about cells, as it may not be
    /// where it would go.
    fn around<'a>(row: &'a Row, fleet: &'a FleetView) -> impl Iterator<Item = (&'a EnvironmentView, &'a EnvironmentView)> {
        let of = |name: &str| fleet.environment(name).map(|environment| &**environment);
        let (from, to) = match &row.gate {
            Ok(gate) => (gate.from.as_ref().and_then(|from| of(&from.environment)), of(&gate.to.environment)),
            Err(_) => (fleet.environments.iter().rev().map(|e| &**e).find(|e| e.cell(&row.key).is_some()), None),
        };
        let there = from.or(to);
        [from, to].into_iter().flatten().filter_map(move |at| Some((at, there?)))
    }

    fn allows(&self, at: &EnvironmentView, stands: &EnvironmentView, row: &Row, now: Timestamp) -> bool {
        let (name, tier): (&str, Tier) = (&at.name, at.tier);
        stands.cell(&row.key).is_some_and(|cell| self.filter.allows_cell_at(name, tier, cell, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_beside_the_grammar() {
        for (text, expected) in [
            ("verdict=open", Ok(vec![(true, vec![Verdict::Open])])),
            ("latest verdict=open,unknown env=dev", Ok(vec![(true, vec![Verdict::Open, Verdict::Unknown])])),
            ("!verdict=closed", Ok(vec![(false, vec![Verdict::Closed])])),
            ("verdict!=closed", Ok(vec![(false, vec![Verdict::Closed])])),
            ("!verdict!=CLOSED", Ok(vec![(true, vec![Verdict::Closed])])),
            ("verdicts", Ok(vec![])),
            ("", Ok(vec![])),
            ("verdict=shut", Err("a verdict is open, closed or unknown, not `shut`")),
            ("verdict=", Err("a verdict is open, closed or unknown, not ``")),
        ] {
            assert_eq!(Sieve::parse(text).map(|sieve| sieve.verdicts), expected.map_err(str::to_owned), "{text}");
        }
        assert!(Sieve::parse("nosuchfield=1").is_err());
    }

    #[test]
    fn a_digit_replaces_the_environment_and_nothing_else() {
        for (text, name, expected) in [
            ("", Some("dev"), "env=dev"),
            ("latest !env=qac verdict=open environment=x", Some("dev"), "latest verdict=open env=dev"),
            ("env=dev latest envelope", None, "latest envelope"),
        ] {
            assert_eq!(Sieve::parse(text).unwrap().with_environment(name).unwrap().source(), expected);
        }
    }
}
