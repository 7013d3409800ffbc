//! `gate`: one item per gate, with its conditions.

use super::document::Item;
use super::rows::maybe;
use super::table::{Cell, Column, Role};
use crate::domain::{Amount, Condition, ConditionState, Gate, Stop, Verdict};
use serde::Serialize;

/// A gate, as an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct GateItem(pub Gate);

/// The exit status of a verdict.
pub fn exit(verdict: Verdict) -> super::Exit {
    match verdict {
        Verdict::Open => super::Exit::Done,
        Verdict::Closed => super::Exit::Closed,
        Verdict::Unknown => super::Exit::Unknown,
    }
}

/// `qac · audit → staging · audit: CLOSED, Nov 25 09:14 UTC at the earliest`.
pub fn sentence(gate: &Gate) -> String {
    let from = gate.from.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
    let when = gate.opens_at.map(|at| format!(", {} at the earliest", at.strftime("%b %e %H:%M UTC"))).unwrap_or_default();
    format!("{}: {from} → {}: {}{when}", gate.policy, gate.to, gate.verdict.as_str().to_uppercase())
}

impl Item for GateItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        vec![Column::text("condition"), Column::text("state"), Column::number("value"), Column::number("limit"), Column::text("why")]
    }

    fn row(&self, (): &(), _: bool) -> Vec<Cell> {
        vec![Cell::plain(&self.0.policy.to_string()), Cell::plain(self.0.verdict.as_str()), Cell::empty(), Cell::empty(), Cell::empty()]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["policy", "from", "to", "verdict", "opensAt", "condition", "state", "value", "limit", "source", "reason"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let gate = &self.0;
        let stop = |stop: &Stop| format!("{}:{}", stop.environment, stop.mode);
        let row = |condition: &Condition| {
            vec![
                gate.policy.to_string(),
                gate.from.as_ref().map(stop).unwrap_or_default(),
                stop(&gate.to),
                gate.verdict.as_str().to_owned(),
                maybe(gate.opens_at),
                condition.name.as_str().to_owned(),
                condition.state.as_str().to_owned(),
                maybe(condition.value.map(Amount::number)),
                maybe(condition.limit.map(Amount::number)),
                condition.source.clone(),
                condition.reason.clone(),
            ]
        };
        gate.conditions.iter().map(row).collect()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.0.policy.to_string()]
    }
}

/// A condition as a row of its own: what the table of `gate` shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ConditionRow(pub Condition);

impl Item for ConditionRow {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        GateItem::columns(&())
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let condition = &self.0;
        let (mark, plain, role) = match condition.state {
            ConditionState::Met => ("✓", "+", Role::Dim),
            ConditionState::Unmet => ("✗", "x", Role::Fault),
            ConditionState::Unknown => ("?", "?", Role::Attention),
        };
        let state = format!("{} {}", if ascii { plain } else { mark }, condition.state.as_str());
        let shown = |number: Option<Amount>| Cell::plain(&maybe(number));
        vec![
            Cell::plain(condition.name.as_str()),
            Cell::new(&state, role),
            shown(condition.value),
            shown(condition.limit),
            Cell::plain(&condition.reason),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        GateItem::csv_columns()
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.0.name.as_str().to_owned()]
    }
}
