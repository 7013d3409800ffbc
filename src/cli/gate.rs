//! `gate`: one item per gate, with its conditions.

use super::document::Item;
use super::rows::maybe;
use super::table::{Cell, Column, Role};
use crate::domain::{Amount, Condition, ConditionName, ConditionState, Gate, Proof, Stop, Verdict};
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

/// The exit status of several gates: that of the worst, closed before unknown.
pub fn exit_of_all(gates: &[GateItem]) -> super::Exit {
    let any = |verdict| gates.iter().any(|item| item.0.verdict == verdict);
    exit([Verdict::Closed, Verdict::Unknown].into_iter().find(|verdict| any(*verdict)).unwrap_or(Verdict::Open))
}

/// `✓ met`: a mark and a word, so that no state depends on color alone.
fn marked(state: ConditionState, word: &str, ascii: bool) -> Cell {
    let (mark, plain, role) = match state {
        ConditionState::Met => ("✓", "+", Role::Dim),
        ConditionState::Unmet => ("✗", "x", Role::Fault),
        ConditionState::Unknown => ("?", "?", Role::Attention),
    };
    Cell::new(&format!("{} {word}", if ascii { plain } else { mark }), role)
}

/// `qac · audit → staging · audit: CLOSED, Nov 25 09:14 UTC at the earliest`.
pub fn sentence(gate: &Gate) -> String {
    let from = gate.from.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
    let when = gate.opens_at.map(|at| format!(", {} at the earliest", at.strftime("%b %e %H:%M UTC"))).unwrap_or_default();
    format!("{}: {from} → {}: {}{when}", gate.policy, gate.to, gate.verdict.as_str().to_uppercase())
}

/// Who wrote what decides `violations` and `blocked`, in lines below the conditions.
pub fn evidence(gate: &Gate) -> Vec<String> {
    let shown = |condition: &&Condition| {
        matches!(condition.name, ConditionName::Violations | ConditionName::Blocked) && !condition.evidence.is_empty()
    };
    let mut out = Vec::new();
    for condition in gate.conditions.iter().filter(shown) {
        out.push(String::new());
        out.push(format!("{}, from", condition.name.as_str()));
        out.extend(condition.evidence.iter().flat_map(lines));
        if condition.more_evidence > 0 {
            out.push(format!("  and {} more", condition.more_evidence));
        }
    }
    if gate.can_disregard() {
        out.push(String::new());
        out.push("--disregard OBJECT --reason TEXT leaves out what is not verified.".to_owned());
    }
    out
}

/// The object, then what it says and who wrote it, so that what can be disregarded can be copied.
fn lines(proof: &Proof) -> Vec<String> {
    let object = proof.reference.as_ref().map(ToString::to_string).or_else(|| proof.object.clone());
    let mut out = vec![format!("  {}", object.unwrap_or_default())];
    out.extend([proof.says(), proof.author()].into_iter().filter(|line| !line.is_empty()).map(|line| format!("    {line}")));
    out
}

impl Item for GateItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["policy", "from", "to", "verdict", "why", "until"].map(Column::text).into()
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let gate = &self.0;
        let state = match gate.verdict {
            Verdict::Open => ConditionState::Met,
            Verdict::Closed => ConditionState::Unmet,
            Verdict::Unknown => ConditionState::Unknown,
        };
        let mut why = gate.conditions.iter().filter(|condition| condition.state == state && state != ConditionState::Met);
        let first = why.next().map_or_else(String::new, |condition| format!("{}: {}", condition.name.as_str(), condition.reason));
        let more = why.count();
        let why = if more > 0 { format!("{first}; {more} more") } else { first };
        vec![
            Cell::plain(&gate.policy.to_string()),
            Cell::plain(&gate.from.as_ref().map(ToString::to_string).unwrap_or_default()),
            Cell::plain(&gate.to.to_string()),
            marked(state, gate.verdict.as_str(), ascii),
            Cell::plain(&why),
            Cell::plain(&maybe(gate.opens_at)),
        ]
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
        vec![Column::text("condition"), Column::text("state"), Column::number("value"), Column::number("limit"), Column::text("why")]
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let condition = &self.0;
        let shown = |number: Option<Amount>| Cell::plain(&maybe(number));
        vec![
            Cell::plain(condition.name.as_str()),
            marked(condition.state, condition.state.as_str(), ascii),
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
