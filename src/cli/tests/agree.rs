//! For any complete fleet, filter and namespace: what `violations`, `status` and `findings` say, as JSON and as tables, equals an independent count of the
//! objects, and so do the views that screens draw.

use super::*;
use crate::cli::source::GateQuestion;
use crate::domain::{Gate, PolicyId, Tally};
use crate::engine::Failure;
use crate::fleet::query::{FindingQuery, FindingRow, PolicyRow};
use crate::fleet::state::EnvironmentState;
use crate::fleet::state::tests::generated::recount::{self, Numbers, Sum, expected, filters, total, typed};
use crate::fleet::view::{FleetView, PolicyCell};
use crate::ops::position::NoStep;
use crate::testing::cases;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The states of environments in the engine's place.
struct OfStates {
    states: BTreeMap<&'static str, EnvironmentState>,
    receiver: watch::Receiver<Arc<FleetView>>,
    _sender: watch::Sender<Arc<FleetView>>,
}

impl OfStates {
    fn new(mut states: Vec<(&'static str, EnvironmentState)>) -> Self {
        let view = FleetView { environments: states.iter_mut().map(|(_, state)| Arc::new(state.view())).collect() };
        let (sender, receiver) = watch::channel(Arc::new(view));
        Self { states: states.into_iter().collect(), receiver, _sender: sender }
    }
}

impl Source for OfStates {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.receiver.clone()
    }

    async fn findings(&self, environment: &str, query: FindingQuery) -> Result<Vec<FindingRow>, Failure> {
        Ok(self.states[environment].findings(&query))
    }

    async fn policies(&self, environment: &str, namespace: Option<String>) -> Result<Vec<PolicyRow>, Failure> {
        Ok(self.states[environment].policy_rows(namespace.as_deref()))
    }

    async fn has_namespace(&self, environment: &str, name: &str) -> Option<bool> {
        self.states[environment].has_namespace(name)
    }

    async fn gates(&self, _: GateQuestion<'_>, _: Timestamp) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
        Vec::new()
    }
}

/// What is said of each environment.
type ByEnvironment<T> = BTreeMap<String, T>;

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

fn items(document: &Value) -> impl Iterator<Item = &Value> {
    document["items"].as_array().into_iter().flatten()
}

fn violations(document: &Value) -> ByEnvironment<Numbers> {
    let mut numbers: ByEnvironment<Numbers> = BTreeMap::new();
    for item in items(document) {
        for (environment, cell) in item["environments"].as_object().into_iter().flatten() {
            let told = (tally(&cell["findings"]), tally(&cell["owners"]), cell["stale"].as_u64().unwrap_or_default());
            if told != Sum::default() {
                numbers.entry(environment.clone()).or_default().insert(name_of(item), told);
            }
        }
    }
    numbers
}

fn statuses(document: &Value) -> ByEnvironment<Sum> {
    let sum = |item: &Value| (tally(&item["findings"]), tally(&item["owners"]), item["stale"].as_u64().unwrap_or_default());
    items(document).map(|item| (item["name"].as_str().unwrap().to_owned(), sum(item))).collect()
}

/// Results by environment, policy as reports name it, and word.
type Listed = BTreeMap<(String, String, String), u64>;

fn listed(document: &Value) -> Listed {
    let mut listed = Listed::new();
    for item in items(document).filter(|item| item["stale"] == false) {
        let text = |name: &str| item[name].as_str().unwrap().to_owned();
        *listed.entry((text("environment"), name_of(item).1, text("result"))).or_default() += 1;
    }
    listed
}

/// The cells of a table that were printed without blanks in them, from the left.
fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What the table of `status` says: its last columns are numbers.
fn statuses_of_table(table: &str) -> ByEnvironment<(BTreeMap<String, u64>, u64)> {
    const NUMBERS: [&str; 7] = ["fail", "error", "warn", "skip", "pass", "blocked", "stale"];
    let headings = cells(table.lines().next().unwrap());
    assert_eq!(headings[headings.len() - NUMBERS.len()..].join(" ").to_lowercase(), NUMBERS.join(" "), "{table}");
    let mut told = BTreeMap::new();
    for line in table.lines().skip(1) {
        let cells = cells(line);
        let numbers = NUMBERS.iter().zip(&cells[cells.len() - NUMBERS.len()..]);
        // What may still grow is marked, and is the same number.
        let number = |text: &str| text.trim_start_matches('~').parse::<u64>().ok();
        let numbers: BTreeMap<String, u64> = numbers.filter_map(|(word, text)| Some(((*word).to_owned(), number(text)?))).collect();
        let stale = numbers["stale"];
        let tally = numbers.into_iter().filter(|(word, n)| *n > 0 && word != "stale" && word != "blocked").collect();
        told.insert(cells[0].to_owned(), (tally, stale));
    }
    told
}

/// What the table of `findings` lists: environment, result, severity and policy come first, and none of them is empty.
fn listed_in_table(table: &str) -> Listed {
    let mut listed = Listed::new();
    for line in table.lines().skip(1) {
        let [environment, result, _, policy, ..] = cells(line)[..] else { panic!("{line}") };
        if result != "stale" {
            *listed.entry((environment.to_owned(), policy.to_owned(), result.to_owned())).or_default() += 1;
        }
    }
    listed
}

#[test]
fn every_command_says_what_a_count_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    cases("every_command_says", 400, |dice| {
        let fleet = recount::fleet(dice);
        let namespace = *dice.of(&[None, Some("a"), Some("b")]);
        let chosen = filters(dice);
        let (mut by_policy, mut states): (ByEnvironment<Numbers>, _) = (BTreeMap::new(), Vec::new());
        for (name, state, rows) in fleet {
            by_policy.insert(name.to_owned(), expected(name, &rows, namespace, &chosen));
            states.push((name, state));
        }
        let source = OfStates::new(states);
        let words = typed(&chosen);
        let scope = Scope { namespace: namespace.map(str::to_owned), filter: Filter::parse(&words).unwrap() };
        let asks = |format| Request { scope: scope.clone(), wait: Duration::ZERO, environments: source.states.len(), ..request(format) };
        let json = |command: Show| runtime.block_on(run(&command, &source, &asks(Format::Json))).json();
        let table = |command: Show| runtime.block_on(run(&command, &source, &asks(Format::Table))).out;
        let at = format!("{} environments, -n {namespace:?} --filter {words:?}", source.states.len());

        let found: ByEnvironment<Numbers> =
            by_policy.iter().filter(|(_, numbers)| !numbers.is_empty()).map(|(e, n)| (e.clone(), n.clone())).collect();
        assert_eq!(violations(&json(Show::Violations)), found, "violations {at}");

        // An environment that the filter names away is not listed.
        let summed: ByEnvironment<Sum> = by_policy.iter().map(|(environment, numbers)| (environment.clone(), total(numbers))).collect();
        let told = statuses(&json(status(None)));
        assert!(told.iter().all(|(environment, sum)| summed[environment] == *sum), "status {at}: {told:?} {summed:?}");
        assert!(summed.iter().all(|(environment, sum)| told.contains_key(environment) || *sum == Sum::default()), "status {at}");
        let in_table = statuses_of_table(&table(status(None)));
        let short: ByEnvironment<_> =
            told.into_iter().map(|(environment, (findings, _, stale))| (environment, (findings, stale))).collect();
        assert_eq!(in_table, short, "the table of status {at}");

        let findings = || Show::Findings { policy: None };
        let mut counted = Listed::new();
        for (environment, numbers) in &by_policy {
            for ((_, policy), (words, ..)) in numbers {
                for (word, n) in words {
                    *counted.entry((environment.clone(), policy.clone(), word.clone())).or_default() += n;
                }
            }
        }
        assert_eq!(listed(&json(findings())), counted, "findings {at}");
        assert_eq!(listed_in_table(&table(findings())), counted, "the table of findings {at}");

        if namespace.is_none() && words.trim().is_empty() {
            for view in &source.receiver.borrow().environments {
                let drawn: Numbers = view.cells.iter().map(drawn).filter(|(_, n)| *n != Sum::default()).collect();
                assert_eq!(drawn, by_policy[&*view.name], "cells of screens");
            }
        }
    });
}

/// What a screen draws of a policy.
fn drawn(cell: &PolicyCell) -> ((String, String), Sum) {
    let words = |tally: &Tally| {
        FindingResult::ALL.into_iter().filter(|word| tally.of(*word) > 0).map(|word| (word.as_str().to_owned(), tally.of(word))).collect()
    };
    ((cell.key.source.to_string(), cell.key.id.report_name()), (words(&cell.findings), words(&cell.owners), cell.stale))
}
