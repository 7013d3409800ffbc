//! What any face says of a fleet, by a count of its own: for fleets, filters and namespaces by dice.
//!
//! What lives here: the fleets, the filters with what passes them by rules that share nothing with the filters' own, and the sums. What does not: the
//! faces, which are compared with it where they live (`cli/tests/agree.rs`, `tui/screens/violations/tests.rs`).

use super::complete;
use super::count::Counted;
use crate::domain::FindingResult;
use crate::fleet::state::EnvironmentState;
use crate::testing::Dice;
use std::collections::BTreeMap;

/// Names of environments, in the order of the pipeline.
const NAMES: [&str; 3] = ["dev", "qac", "live"];

/// One to three complete environments, each with every finding of it.
pub(crate) fn fleet(dice: &mut Dice) -> Vec<(&'static str, EnvironmentState, Vec<Counted>)> {
    let count = dice.below(NAMES.len()) + 1;
    let environment = |name: &'static str, dice: &mut Dice| {
        let (state, rows) = complete(name, dice);
        (name, state, rows)
    };
    NAMES.into_iter().take(count).map(|name| environment(name, dice)).collect()
}

/// Findings, owners and stale results.
pub(crate) type Sum = (BTreeMap<String, u64>, BTreeMap<String, u64>, u64);

/// Source and name of a policy to what it adds up to.
pub(crate) type Numbers = BTreeMap<(String, String), Sum>;

/// Whether a finding is in a namespace; the Namespace itself is in it, too.
pub(crate) fn is_in(row: &Counted, namespace: &str) -> bool {
    let subject = &row.subject;
    subject.namespace == namespace || (subject.kind == "Namespace" && subject.namespace.is_empty() && subject.name == namespace)
}

/// A filter, and what of an environment passes it, by a rule of its own.
pub(crate) type Passing = (&'static str, fn(&str, &Counted) -> bool);

/// Some of everything that filters can ask for.
pub(crate) const FILTERS: [Passing; 17] = [
    ("", |_, _| true),
    ("env=dev", |environment, _| environment == "dev"),
    ("!env=dev", |environment, _| environment != "dev"),
    ("tier=normal", |_, _| true),
    ("ns=a", |_, row| is_in(row, "a")),
    ("!ns=a", |_, row| !is_in(row, "a")),
    ("result=fail", |_, row| row.result == FindingResult::Fail),
    ("result=fail,error", |_, row| row.result.is_fault()),
    ("result>=warn", |_, row| row.result >= FindingResult::Warn),
    ("kind=Pod", |_, row| row.subject.kind == "Pod"),
    ("kind=CronJob,Deployment", |_, row| ["CronJob", "Deployment"].contains(&row.subject.kind.as_str())),
    ("name~web", |_, row| row.subject.name.contains("web")),
    ("rule=autogen-r", |_, row| row.rule == "autogen-r"),
    ("policy=v1", |_, row| row.policy.1.rsplit('/').next() == Some("v1")),
    ("source=kyverno", |_, row| row.policy.0 == "kyverno"),
    ("stale=yes", |_, row| row.stale),
    ("stale=no", |_, row| !row.stale),
];

/// One filter or two at once.
pub(crate) fn filters(dice: &mut Dice) -> Vec<&'static Passing> {
    (0..=dice.below(2)).map(|_| dice.of(&FILTERS)).collect()
}

/// The filters as typed.
pub(crate) fn typed(filters: &[&Passing]) -> String {
    filters.iter().map(|filter| filter.0).collect::<Vec<_>>().join(" ")
}

/// How many results there are of each word.
pub(crate) fn by_word(results: impl IntoIterator<Item = FindingResult>) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for result in results {
        *words.entry(result.as_str().to_owned()).or_insert(0) += 1;
    }
    words
}

/// What is to be said of the findings of an environment that pass.
pub(crate) fn expected(environment: &str, rows: &[Counted], namespace: Option<&str>, filters: &[&Passing]) -> Numbers {
    let passes =
        |row: &&Counted| namespace.is_none_or(|namespace| is_in(row, namespace)) && filters.iter().all(|filter| filter.1(environment, row));
    let mut policies: BTreeMap<(String, String), Vec<&Counted>> = BTreeMap::new();
    for row in rows.iter().filter(passes) {
        policies.entry(row.policy.clone()).or_default().push(row);
    }
    let numbers = |rows: Vec<&Counted>| {
        let counted: Vec<&Counted> = rows.iter().copied().filter(|row| !row.stale).collect();
        let mut worst: BTreeMap<(&str, &str), FindingResult> = BTreeMap::new();
        for row in &counted {
            let at = worst.entry((&row.own, &row.top)).or_insert(row.result);
            *at = (*at).max(row.result);
        }
        (by_word(counted.iter().map(|row| row.result)), by_word(worst.into_values()), (rows.len() - counted.len()) as u64)
    };
    policies.into_iter().map(|(policy, rows)| (policy, numbers(rows))).collect()
}

/// All policies of an environment together.
pub(crate) fn total(numbers: &Numbers) -> Sum {
    let mut sum = (BTreeMap::new(), BTreeMap::new(), 0);
    for (findings, owners, stale) in numbers.values() {
        for (word, n) in findings {
            *sum.0.entry(word.clone()).or_insert(0) += n;
        }
        for (word, n) in owners {
            *sum.1.entry(word.clone()).or_insert(0) += n;
        }
        sum.2 += stale;
    }
    sum
}
