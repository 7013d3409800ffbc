//! For any complete fleet and filter: what the matrix and the rows below it show equals an independent count of the objects.

use super::board::{Board, Count, Listing, SortBy, Unit};
use super::rows::Target;
use crate::domain::{FindingResult, PolicyKey};
use crate::fleet::state::EnvironmentState;
use crate::fleet::state::tests::generated::recount::{self, Numbers, by_word, expected, filters, typed};
use crate::fleet::view::FleetView;
use crate::testing::{Dice, cases};
use crate::tui::filter::Filter;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one environment, whatever is shown of it.
struct Known {
    name: &'static str,
    state: EnvironmentState,
    /// By policy, what passes the filter.
    passing: Numbers,
}

fn name_of(key: &PolicyKey) -> (String, String) {
    (key.source.to_string(), key.id.report_name())
}

/// Failures and errors of a policy that pass, by unit.
fn faults(known: &Known, key: &PolicyKey, unit: Unit) -> [u64; 2] {
    let sum = known.passing.get(&name_of(key)).cloned().unwrap_or_default();
    let words = if unit == Unit::Owners { sum.1 } else { sum.0 };
    ["fail", "error"].map(|word| words.get(word).copied().unwrap_or_default())
}

fn board_and_count(dice: &mut Dice) -> (Vec<Known>, Board, Listing) {
    let chosen = filters(dice);
    // On the screen a namespace is a filter, too.
    let namespace = *dice.of(&[None, Some("a"), Some("b")]);
    let words = [typed(&chosen), namespace.map_or_else(String::new, |name| format!("ns={name}"))].join(" ");
    let of = |(name, state, rows): (&'static str, EnvironmentState, Vec<_>)| {
        let passing = expected(name, &rows, namespace, &chosen);
        Known { name, state, passing }
    };
    let mut known: Vec<Known> = recount::fleet(dice).into_iter().map(of).collect();
    let fleet = FleetView { environments: known.iter_mut().map(|known| Arc::new(known.state.view())).collect() };
    let listing = Listing {
        by: SortBy::Faults,
        reverse: false,
        faults_only: dice.one_in(2),
        unit: if dice.one_in(2) { Unit::Owners } else { Unit::Raw },
        filter: Filter::parse(&words).unwrap(),
    };
    let mut board = Board::default();
    board.take(&fleet);
    board.list(&listing, None, now());
    (known, board, listing)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

/// A number in a cell is the number that passes; nothing is nothing; and what only rows can tell is unknown.
#[test]
fn cells_of_the_matrix_show_what_a_count_says() {
    let mut told = [0_u64; 2];
    cases("cells_of_the_matrix", 400, |dice| {
        let (known, board, listing) = board_and_count(dice);
        let at = || format!("{:?} by {:?}", listing.filter.source(), listing.unit);
        for place in 0..board.order.len() {
            let (row, key) = (board.listed(place).unwrap().0, board.key(place).unwrap());
            for (e, known) in known.iter().enumerate() {
                if board.is_out(row, e, &listing.filter, now()) {
                    assert_eq!(faults(known, &key, listing.unit), [0, 0], "{} {key:?} is out, {}", known.name, at());
                    continue;
                }
                let reading = board.filtered_reading(row, e, &listing, now());
                let [fail, error] = faults(known, &key, listing.unit);
                let number = match reading.count {
                    Count::Known(n) | Count::AtLeast(n) => Some(n),
                    Count::Nothing | Count::Absent => Some(0),
                    Count::Unknown => None,
                };
                if let Some(number) = number {
                    assert_eq!([number, reading.errors], [fail, error], "{} {key:?} {}", known.name, at());
                }
                told[usize::from(reading.count == Count::Unknown)] += 1;
            }
        }
        // What is not listed has no failures and no errors that pass.
        for known in &known {
            for (name, (findings, owners, _)) in &known.passing {
                let listed = (0..board.order.len()).any(|place| board.key(place).is_some_and(|key| name_of(&key) == *name));
                let fails = ["fail", "error"].iter().any(|word| findings.contains_key(*word) || owners.contains_key(*word));
                assert!(listed || !fails, "{} {name:?} is not listed, {}", known.name, at());
            }
        }
        // The heads of columns are the sums of what is below them.
        for (passing, known) in board.passing.iter().zip(&known).filter(|(passing, _)| passing.any && !passing.unknown) {
            let (findings, owners, _) = recount::total(&known.passing);
            let words = if listing.unit == Unit::Owners { owners } else { findings };
            let sum = ["fail", "error"].map(|word| words.get(word).copied().unwrap_or_default());
            assert_eq!([passing.tally.fail, passing.tally.error], sum, "{} in all, {}", known.name, at());
        }
    });
    assert!(told[0] > told[1], "most cells say something: {told:?}");
}

/// Below the matrix stands every result of the cell that passes, once.
#[test]
fn rows_below_a_cell_are_those_that_pass() {
    cases("rows_below_a_cell", 400, |dice| {
        let (mut known, board, listing) = board_and_count(dice);
        for at in 0..board.order.len() {
            let key = board.key(at).unwrap();
            for (known, environment) in known.iter_mut().zip(&board.environments) {
                let target = Target {
                    key: key.clone(),
                    environment: known.name.into(),
                    unit: Unit::Raw,
                    faults_only: listing.faults_only,
                    counted: false,
                };
                let rows = known.state.findings(&target.query(None));
                let passes = |row: &&crate::fleet::query::FindingRow| {
                    !listing.filter.has_fields() || listing.filter.allows_row_of_cell(environment, row, now())
                };
                let shown = by_word(rows.iter().filter(passes).map(|row| row.result));
                let sum = known.passing.get(&name_of(&key)).cloned().unwrap_or_default().0;
                let wanted = |word: &String| !listing.faults_only || ["fail", "error"].contains(&word.as_str());
                let expected: BTreeMap<String, u64> = sum.into_iter().filter(|(word, _)| wanted(word)).collect();
                assert_eq!(shown, expected, "{} {key:?} {:?}", known.name, listing.filter.source());
            }
        }
    });
}

/// What a gate's number leads to is what the gate counts, of every policy.
#[test]
fn rows_behind_a_gate_are_what_it_counts() {
    cases("rows_behind_a_gate", 400, |dice| {
        for (name, mut state, _) in recount::fleet(dice) {
            for cell in state.view().cells.iter() {
                let target =
                    Target { key: cell.key.clone(), environment: name.into(), unit: Unit::Owners, faults_only: true, counted: true };
                let rows = state.findings(&target.query(None));
                let judged = state.would_block(Some(&cell.key)).into_iter().next().map_or(0, |(_, judged)| judged.counted);
                assert_eq!(rows.len() as u64, judged, "{name} {:?}", cell.key);
                assert!(rows.iter().all(|row| row.result != FindingResult::Pass));
            }
        }
    });
}
