//! `gate`: one item per gate, with its conditions.

use super::document::Item;
use super::table::{Cell, Column, Role};
use crate::domain::{Amount, Condition, ConditionState, Gate, PolicyId, Stop, Verdict};
use jiff::Timestamp;
use serde::Serialize;

/// A gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateItem {
    /// Which policy.
    pub policy: PolicyId,
    /// Where it stands; null where it is nowhere on the road.
    pub from: Option<StopItem>,
    /// Where it would go.
    pub to: StopItem,
    /// Whether it may.
    pub verdict: &'static str,
    /// When a closed gate can open at the earliest.
    pub opens_at: Option<Timestamp>,
    /// Every condition.
    pub conditions: Vec<ConditionItem>,
}

/// A step of the road.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StopItem {
    /// Environment.
    pub environment: String,
    /// Mode.
    pub mode: &'static str,
}

/// A condition. Numbers of `soak` and `fresh` are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionItem {
    /// Its name.
    pub name: &'static str,
    /// met, unmet or unknown.
    pub state: &'static str,
    /// Its number.
    pub value: Option<i64>,
    /// What it may be.
    pub limit: Option<i64>,
    /// Where the number comes from.
    pub source: String,
    /// Why, in words.
    pub reason: String,
    #[serde(skip)]
    shown: (String, String),
}

/// The item of a gate.
pub fn item(gate: &Gate) -> GateItem {
    let stop = |stop: &Stop| StopItem { environment: stop.environment.to_string(), mode: stop.mode.as_str() };
    GateItem {
        policy: gate.policy.clone(),
        from: gate.from.as_ref().map(stop),
        to: stop(&gate.to),
        verdict: gate.verdict.as_str(),
        opens_at: gate.opens_at,
        conditions: gate.conditions.iter().map(condition).collect(),
    }
}

fn condition(condition: &Condition) -> ConditionItem {
    let shown = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
    ConditionItem {
        name: condition.name.as_str(),
        state: condition.state.as_str(),
        value: condition.value.map(Amount::number),
        limit: condition.limit.map(Amount::number),
        source: condition.source.clone(),
        reason: condition.reason.clone(),
        shown: (shown(condition.value), shown(condition.limit)),
    }
}

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
        vec![Cell::plain(&self.policy.to_string()), Cell::plain(self.verdict), Cell::plain(""), Cell::plain(""), Cell::plain("")]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["policy", "from", "to", "verdict", "opensAt", "condition", "state", "value", "limit", "source", "reason"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let stop = |stop: &StopItem| format!("{}:{}", stop.environment, stop.mode);
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let row = |condition: &ConditionItem| {
            vec![
                self.policy.to_string(),
                self.from.as_ref().map(stop).unwrap_or_default(),
                stop(&self.to),
                self.verdict.to_owned(),
                self.opens_at.map(|at| at.to_string()).unwrap_or_default(),
                condition.name.to_owned(),
                condition.state.to_owned(),
                number(condition.value),
                number(condition.limit),
                condition.source.clone(),
                condition.reason.clone(),
            ]
        };
        self.conditions.iter().map(row).collect()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.policy.to_string()]
    }
}

/// A condition as a row of its own: what the table of `gate` shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionRow(pub ConditionItem);

impl Item for ConditionRow {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        GateItem::columns(&())
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let (mark, plain, role) = match self.0.state {
            state if state == ConditionState::Met.as_str() => ("✓", "+", Role::Dim),
            state if state == ConditionState::Unmet.as_str() => ("✗", "x", Role::Fault),
            _ => ("?", "?", Role::Attention),
        };
        let state = format!("{} {}", if ascii { plain } else { mark }, self.0.state);
        let (value, limit) = &self.0.shown;
        vec![Cell::plain(self.0.name), Cell::new(&state, role), Cell::plain(value), Cell::plain(limit), Cell::plain(&self.0.reason)]
    }

    fn csv_columns() -> Vec<&'static str> {
        GateItem::csv_columns()
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.0.name.to_owned()]
    }
}
