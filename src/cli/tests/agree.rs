//! For any complete environment, filter and namespace: what `violations`, `status` and `findings` say equals an independent count of the objects, and so
//! do the views that screens draw.

use super::*;
use crate::cli::source::GateQuestion;
use crate::domain::Gate;
use crate::domain::PolicyId;
use crate::engine::Failure;
use crate::fleet::query::{FindingQuery, FindingRow, PolicyRow};
use crate::fleet::state::EnvironmentState;
use crate::fleet::state::tests::generated::complete;
use crate::fleet::state::tests::generated::count::Counted;
use crate::fleet::view::FleetView;
use crate::ops::position::NoStep;
use crate::testing::cases;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// One environment's state in the engine's place.
struct OfState {
    state: EnvironmentState,
    receiver: watch::Receiver<Arc<FleetView>>,
    _sender: watch::Sender<Arc<FleetView>>,
}

impl OfState {
    fn new(mut state: EnvironmentState) -> Self {
        let view = FleetView { environments: vec![Arc::new(state.view())] };
        let (sender, receiver) = watch::channel(Arc::new(view));
        Self { state, receiver, _sender: sender }
    }
}

impl Source for OfState {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.receiver.clone()
    }

    async fn findings(&self, _: &str, query: FindingQuery) -> Result<Vec<FindingRow>, Failure> {
        Ok(self.state.findings(&query))
    }

    async fn policies(&self, _: &str, namespace: Option<String>) -> Result<Vec<PolicyRow>, Failure> {
        Ok(self.state.policy_rows(namespace.as_deref()))
    }

    async fn has_namespace(&self, _: &str, name: &str) -> Option<bool> {
        self.state.has_namespace(name)
    }

    async fn gates(&self, _: GateQuestion<'_>, _: Timestamp) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
        Vec::new()
    }
}

/// Findings, owners and stale results.
type Sum = (BTreeMap<String, u64>, BTreeMap<String, u64>, u64);

/// Source and name of a policy to what it adds up to.
type Numbers = BTreeMap<(String, String), Sum>;

fn is_in(row: &Counted, namespace: &str) -> bool {
    let subject = &row.subject;
    subject.namespace == namespace || (subject.kind == "Namespace" && subject.namespace.is_empty() && subject.name == namespace)
}

/// A filter, and what passes it, by a rule of its own.
type Passing = (&'static str, fn(&Counted) -> bool);

const FILTERS: [Passing; 12] = [
    ("", |_| true),
    ("ns=a", |row| is_in(row, "a")),
    ("!ns=a", |row| !is_in(row, "a")),
    ("result=fail", |row| row.result == FindingResult::Fail),
    ("result=fail,error", |row| row.result.is_fault()),
    ("result>=warn", |row| row.result >= FindingResult::Warn),
    ("kind=Pod", |row| row.subject.kind == "Pod"),
    ("kind=CronJob,Deployment", |row| ["CronJob", "Deployment"].contains(&row.subject.kind.as_str())),
    ("rule=autogen-r", |row| row.rule == "autogen-r"),
    ("policy=v1", |row| row.policy.1.rsplit('/').next() == Some("v1")),
    ("source=kyverno", |row| row.policy.0 == "kyverno"),
    ("stale=yes", |row| row.stale),
];

fn by_word(results: impl IntoIterator<Item = FindingResult>) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for result in results {
        *words.entry(result.as_str().to_owned()).or_insert(0) += 1;
    }
    words
}

/// What is to be said of the findings that pass.
fn expected(rows: &[&Counted]) -> Numbers {
    let mut policies: BTreeMap<(String, String), Vec<&Counted>> = BTreeMap::new();
    for row in rows {
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

/// A tally without what is zero.
fn tally(value: &Value) -> BTreeMap<String, u64> {
    let words = value.as_object().into_iter().flatten();
    words.filter_map(|(word, n)| Some((word.clone(), n.as_u64().filter(|n| *n > 0)?))).collect()
}

fn name_of(item: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (policy, source) = (&item["policy"], text(&item["source"]));
    let name = policy["namespace"].as_str().map_or_else(|| text(&policy["name"]), |ns| format!("{ns}/{}", text(&policy["name"])));
    (source, name)
}

fn told(violations: &Value) -> Numbers {
    let mut numbers = Numbers::new();
    for item in violations["items"].as_array().into_iter().flatten() {
        let cell = &item["environments"]["dev"];
        let told = (tally(&cell["findings"]), tally(&cell["owners"]), cell["stale"].as_u64().unwrap_or_default());
        if told != Default::default() {
            numbers.insert(name_of(item), told);
        }
    }
    numbers
}

fn total(numbers: &Numbers) -> Sum {
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

#[test]
fn every_command_says_what_a_count_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    cases("every_command_says", 400, |dice| {
        let (state, rows) = complete(dice);
        let source = OfState::new(state);
        let namespace = *dice.of(&[None, Some("a"), Some("b")]);
        let chosen: Vec<&Passing> = (0..=dice.below(2)).map(|_| dice.of(&FILTERS)).collect();
        let words = chosen.iter().map(|filter| filter.0).collect::<Vec<_>>().join(" ");
        let passes = |row: &&Counted| namespace.is_none_or(|ns| is_in(row, ns)) && chosen.iter().all(|filter| filter.1(row));
        let expected = expected(&rows.iter().filter(passes).collect::<Vec<_>>());
        let scope = Scope { namespace: namespace.map(str::to_owned), filter: Filter::parse(&words).unwrap() };
        let request = Request { scope, wait: Duration::ZERO, environments: 1, ..request(Format::Json) };
        let ask = |command: Show| runtime.block_on(run(&command, &source, &request)).json();
        let at = format!("-n {namespace:?} --filter {words:?}");

        let violations = ask(Show::Violations);
        assert_eq!(told(&violations), expected, "violations {at}");
        let status = ask(status(None));
        let item = &status["items"][0];
        let summed = (tally(&item["findings"]), tally(&item["owners"]), item["stale"].as_u64().unwrap_or_default());
        assert_eq!(summed, total(&expected), "status {at}");
        let mut listed: BTreeMap<(String, String), BTreeMap<String, u64>> = BTreeMap::new();
        let findings = ask(Show::Findings { policy: None });
        for item in findings["items"].as_array().into_iter().flatten().filter(|item| item["stale"] == false) {
            *listed.entry(name_of(item)).or_default().entry(item["result"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let counted =
            expected.iter().filter(|(_, numbers)| !numbers.0.is_empty()).map(|(policy, numbers)| (policy.clone(), numbers.0.clone()));
        assert_eq!(listed, counted.collect::<BTreeMap<_, _>>(), "findings {at}");
        if namespace.is_none() && words.trim().is_empty() {
            let drawn: Numbers =
                source.receiver.borrow().environments[0].cells.iter().map(drawn).filter(|(_, n)| *n != Default::default()).collect();
            assert_eq!(drawn, expected, "cells of screens");
        }
    });
}

/// What a screen draws of a policy.
fn drawn(cell: &crate::fleet::view::PolicyCell) -> ((String, String), Sum) {
    let words = |tally: &crate::domain::Tally| {
        FindingResult::ALL.into_iter().filter(|word| tally.of(*word) > 0).map(|word| (word.as_str().to_owned(), tally.of(word))).collect()
    };
    ((cell.key.source.to_string(), cell.key.id.report_name()), (words(&cell.findings), words(&cell.owners), cell.stale))
}
