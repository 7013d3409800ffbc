//! The board as data: one row per policy that has a road, in groups by who has to do something.
//!
//! What lives here: grouping, sorting, hiding, filtering. What does not: columns, colours, selection.

use super::concern::{Concern, Scan, awaits_scan, concerns, is_time, replaced};
use super::sieve::Sieve;
use crate::domain::{Condition, ConditionState, Gate, PolicyId, PolicyKey, Stop, Verdict, clean};
use crate::engine::gates::AllGates;
use crate::fleet::view::FleetView;
use crate::ops::position::NoStep;
use crate::ops::road::Road;
use crate::tui::text::width;
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// What has to happen next, in the order in which groups are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// It has no further step, and something is wrong with it.
    Attention,
    /// It may move.
    Open,
    /// Time or the next scan opens it.
    Waits,
    /// Something has to be fixed.
    Stuck,
    /// Evidence is missing.
    Unknown,
    /// There is no further step.
    End,
}

/// One policy with the gate before its next step, or why there is none.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: PolicyKey,
    pub(super) gate: Result<Gate, NoStep>,
    pub(super) group: Group,
    /// What is wrong, or not known, where there is no further step.
    pub(super) concerns: Vec<Concern>,
    /// The scan that it waits for.
    pub(super) scan: Option<Scan>,
    /// Another row has the same name: the kind must be shown to tell them apart.
    pub(super) twin: bool,
}

/// What rows are sorted by within their groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SortBy {
    /// Soonest first, then by name.
    #[default]
    Soonest,
    Name,
    /// The next step, along the road.
    Next,
}

impl SortBy {
    /// In the order in which a key goes through them.
    pub(super) const ALL: [Self; 3] = [Self::Soonest, Self::Name, Self::Next];
}

/// How rows are listed.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    pub(super) by: SortBy,
    pub(super) reverse: bool,
    /// Also what has reached the end of the road.
    pub(super) all: bool,
    pub(super) filter: Sieve,
}

/// A line of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A group, with how many rows it has.
    Heading(Group, usize),
    /// A row, by its place in the order.
    Row(usize),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: Vec<Row>,
    order: Vec<usize>,
    pub(super) lines: Vec<Line>,
    /// Rows left out because they are at the end of the road.
    pub(super) hidden: usize,
    /// Rows left out by the filter.
    pub(super) filtered: usize,
    /// Whether a row is listed only because it is kept.
    pub(super) keeps: bool,
    /// The columns of the longest name.
    pub(super) widest_name: usize,
    /// The steps that rows would go to, each once.
    pub(super) stops: Vec<Stop>,
}

fn is_unmet(condition: &Condition) -> bool {
    condition.state == ConditionState::Unmet
}

/// Whether there is no further step, and the gate only says in what the environments differ.
fn is_ended(gate: &Gate) -> bool {
    gate.from.as_ref() == Some(&gate.to)
}

/// Where a row belongs.
fn group(gate: &Result<Gate, NoStep>, concerns: &[Concern], scan: Option<Scan>) -> Group {
    let gate = match gate {
        Ok(gate) if !is_ended(gate) && !concerns.is_empty() => return Group::Attention,
        Ok(gate) if !is_ended(gate) => gate,
        ended => {
            let differs = ended.as_ref().is_ok_and(|gate| gate.conditions.iter().any(is_unmet));
            return if differs || concerns.iter().any(|concern| !concern.what.is_unknown()) {
                Group::Attention
            } else if ended.is_err() && concerns.is_empty() {
                Group::End
            } else {
                Group::Unknown
            };
        }
    };
    let mut unmet = gate.conditions.iter().filter(|condition| is_unmet(condition)).peekable();
    // Without a time at which it opens, nobody can say that time opens it.
    let opens = unmet.peek().is_some() && unmet.all(|condition| if is_time(condition) { gate.opens_at.is_some() } else { scan.is_some() });
    match gate.verdict {
        Verdict::Open => Group::Open,
        Verdict::Closed if opens => Group::Waits,
        Verdict::Closed => Group::Stuck,
        Verdict::Unknown if scan.is_some() => Group::Waits,
        Verdict::Unknown => Group::Unknown,
    }
}

/// The conditions that keep a gate from opening, the one to name first: what time does not mend before what it does.
pub(super) fn lacking(gate: &Gate) -> Vec<&Condition> {
    let wanted = if gate.verdict == Verdict::Unknown { ConditionState::Unknown } else { ConditionState::Unmet };
    let mut lacking: Vec<&Condition> = gate.conditions.iter().filter(|condition| condition.state == wanted).collect();
    if gate.verdict == Verdict::Closed {
        lacking.sort_by_key(|condition| is_time(condition));
    }
    lacking
}

impl Row {
    /// The gate before its next step, if there is one.
    pub(super) fn step(&self) -> Option<&Gate> {
        self.gate.as_ref().ok().filter(|gate| !is_ended(gate))
    }
}

impl Board {
    /// Takes what was judged.
    pub(super) fn take(&mut self, judged: &AllGates, fleet: &FleetView, road: &Road) {
        let gates = &judged.gates;
        let cells = fleet.environments.iter().flat_map(|environment| environment.cells.iter());
        let keys: HashMap<&PolicyId, &PolicyKey> = cells.map(|cell| (&*cell.key.id, &cell.key)).collect();
        let mut names: HashMap<(Option<&str>, &str), usize> = HashMap::new();
        for (id, _) in gates {
            *names.entry((id.namespace.as_deref(), &id.name)).or_default() += 1;
        }
        let row = |(id, gate): &(PolicyId, Result<Gate, NoStep>)| {
            // A policy that has just gone has no cell any more.
            let key = keys.get(id).map_or_else(|| PolicyKey { source: Arc::from(""), id: Arc::new(id.clone()) }, |key| (*key).clone());
            let mut concerns = match gate {
                Ok(gate) if !is_ended(gate) => replaced(&key, gate, fleet, judged),
                _ => concerns(&key, fleet, road, judged),
            };
            // The gate says where it drifts, in its own words.
            concerns.retain(|concern| gate.is_err() || !concern.what.is_drift());
            let scan = gate.as_ref().ok().and_then(|gate| awaits_scan(gate, &key, fleet));
            let twin = names.get(&(id.namespace.as_deref(), id.name.as_str())).is_some_and(|count| *count > 1);
            Row { group: group(gate, &concerns, scan), key, gate: gate.clone(), concerns, scan, twin }
        };
        self.rows = gates.iter().map(row).collect();
        self.widest_name = self.rows.iter().map(|row| width(&clean(&row.key.id.report_name()))).max().unwrap_or(0);
        self.stops.clear();
        for to in self.rows.iter().filter_map(|row| Some(&row.step()?.to)) {
            if !self.stops.contains(to) {
                self.stops.push(to.clone());
            }
        }
    }

    /// Works out which rows are listed and in which order; `keep` is listed whatever would hide it.
    pub(super) fn list(&mut self, listing: &Listing, keep: Option<&PolicyId>, fleet: &FleetView, now: Timestamp) {
        (self.hidden, self.filtered, self.keeps) = (0, 0, false);
        self.order.clear();
        for (at, row) in self.rows.iter().enumerate() {
            let filtered = !listing.filter.is_empty() && !listing.filter.passes(row, fleet, now);
            let hidden = row.group == Group::End && !listing.all;
            if keep == Some(&*row.key.id) {
                self.keeps = filtered || hidden;
                self.order.push(at);
            } else if filtered {
                self.filtered += 1;
            } else if hidden {
                self.hidden += 1;
            } else {
                self.order.push(at);
            }
        }
        let rows = &self.rows;
        self.order.sort_by(|a, b| compare(&rows[*a], &rows[*b], listing, fleet));
        self.lines.clear();
        for (place, at) in self.order.iter().enumerate() {
            let group = rows[*at].group;
            if place == 0 || rows[self.order[place - 1]].group != group {
                self.lines.push(Line::Heading(group, self.order.iter().filter(|at| rows[**at].group == group).count()));
            }
            self.lines.push(Line::Row(place));
        }
    }

    /// A row by its place in the order.
    pub(super) fn listed(&self, place: usize) -> Option<&Row> {
        self.rows.get(*self.order.get(place)?)
    }

    /// The policy at a place of the order.
    pub(super) fn id(&self, place: usize) -> Option<PolicyId> {
        self.listed(place).map(|row| (*row.key.id).clone())
    }

    /// A row by its policy, listed or not.
    pub(super) fn row(&self, id: &PolicyId) -> Option<&Row> {
        self.rows.iter().find(|row| *row.key.id == *id)
    }

    /// How many rows are listed.
    pub(super) fn listed_len(&self) -> usize {
        self.order.len()
    }

    /// The place of a policy in the order.
    pub(super) fn place(&self, id: &PolicyId) -> Option<usize> {
        self.order.iter().position(|at| self.rows.get(*at).is_some_and(|row| *row.key.id == *id))
    }

    /// The line of a place.
    pub(super) fn line(&self, place: usize) -> usize {
        self.lines.iter().position(|line| *line == Line::Row(place)).unwrap_or(0)
    }

    /// All policies with a road, listed or not.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many rows are in a group, listed or not.
    pub(super) fn count(&self, group: Group) -> usize {
        self.rows.iter().filter(|row| row.group == group).count()
    }

    /// When the next gate can open that only waits.
    pub(super) fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        self.rows.iter().filter_map(|row| row.gate.as_ref().ok()?.opens_at).filter(|at| *at > now).min()
    }
}

fn compare(a: &Row, b: &Row, listing: &Listing, fleet: &FleetView) -> Ordering {
    let (x, y) = (&a.key.id, &b.key.id);
    let by_name = || (&x.namespace, &x.name, &x.kind, &x.group).cmp(&(&y.namespace, &y.name, &y.kind, &y.group));
    let first = match listing.by {
        SortBy::Name => by_name(),
        SortBy::Next => next(a, fleet).cmp(&next(b, fleet)),
        SortBy::Soonest => opens(a).cmp(&opens(b)),
    };
    let first = if listing.reverse { first.reverse() } else { first };
    a.group.cmp(&b.group).then(first).then_with(by_name)
}

/// Only among those that wait does the time say anything: elsewhere it is not what they lack.
fn opens(row: &Row) -> Option<Timestamp> {
    row.gate.as_ref().ok().filter(|_| row.group == Group::Waits)?.opens_at
}

/// The place of the next step on the road.
fn next(row: &Row, fleet: &FleetView) -> Option<(usize, &'static str)> {
    let to = &row.step()?.to;
    let place = fleet.environments.iter().position(|environment| environment.name == to.environment);
    Some((place.unwrap_or(usize::MAX), to.mode.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::concern::What;
    use super::*;
    use crate::domain::{ConditionName, Mode};

    /// A gate with these conditions; it can open in an hour, if anything says so.
    fn gate(conditions: &[(ConditionName, ConditionState)], opens: bool) -> Gate {
        let conditions: Vec<Condition> = conditions
            .iter()
            .map(|(name, state)| Condition {
                name: *name,
                state: *state,
                value: None,
                limit: None,
                source: String::new(),
                evidence: Vec::new(),
                more_evidence: 0,
                reason: String::new(),
            })
            .collect();
        Gate {
            policy: PolicyId { group: String::new(), kind: String::new(), namespace: None, name: "one".to_owned() },
            from: None,
            to: Stop { environment: Arc::from("qac"), mode: Mode::Audit },
            verdict: Verdict::of(&conditions),
            opens_at: opens.then(|| Timestamp::from_second(1_000_000).unwrap()),
            conditions,
            disregarded: Vec::new(),
        }
    }

    #[test]
    fn groups_tell_who_has_to_do_something() {
        use ConditionName::{Blocked, Freeze, Ready, Soak, Violations};
        use ConditionState::{Met, Unknown, Unmet};
        for (conditions, opens, expected) in [
            (&[(Soak, Met), (Violations, Met)][..], false, Group::Open),
            (&[(Soak, Unmet), (Violations, Met)], true, Group::Waits),
            (&[(Soak, Unmet), (Freeze, Unmet)], true, Group::Waits),
            // Until then somebody may see to what cannot be seen now.
            (&[(Soak, Unmet), (Blocked, Unknown)], true, Group::Waits),
            (&[(Soak, Unmet), (Violations, Unmet)], true, Group::Stuck),
            (&[(Soak, Met), (Ready, Unmet)], false, Group::Stuck),
            // Nobody can say when.
            (&[(Soak, Unmet)], false, Group::Stuck),
            (&[(Soak, Met), (Blocked, Unknown)], false, Group::Unknown),
            (&[], false, Group::Unknown),
        ] {
            assert_eq!(group(&Ok(gate(conditions, opens)), &[], None), expected, "{conditions:?}");
        }
        let ended = |what: &[What]| {
            let concerns: Vec<_> = what.iter().map(|what| Concern { environment: Arc::from("production"), what: *what }).collect();
            group(&Err(NoStep::Ended), &concerns, None)
        };
        for (what, expected) in [
            (&[][..], Group::End),
            (&[What::NotRead], Group::Unknown),
            (&[What::NotScanned], Group::Unknown),
            (&[What::Violations(52)], Group::Attention),
            (&[What::Blocked(1), What::NotRead], Group::Attention),
            (&[What::Missing], Group::Attention),
            (&[What::NotInForce { partly: true }], Group::Attention),
        ] {
            assert_eq!(ended(what), expected, "{what:?}");
        }
        // At the end of the pipeline with something that differs, or may.
        let drifting = |state| {
            let gate = gate(&[(ConditionName::Drift, state)], false);
            Ok(Gate { from: Some(gate.to.clone()), ..gate })
        };
        let failing = [Concern { environment: Arc::from("production"), what: What::Violations(3) }];
        assert_eq!(group(&drifting(Unmet), &[], None), Group::Attention);
        assert_eq!(group(&drifting(Unknown), &failing, None), Group::Attention);
        assert_eq!(group(&drifting(Unknown), &[], None), Group::Unknown);
        // What the next scan settles opens on its own; what it does not settle does not.
        let scan = Some(Scan { by: None });
        for (conditions, opens, scan, expected) in [
            (&[(Soak, Met), (ConditionName::Fresh, Unmet)][..], false, scan, Group::Waits),
            (&[(Soak, Met), (ConditionName::Fresh, Unmet)], false, None, Group::Stuck),
            (&[(Soak, Unmet), (ConditionName::Fresh, Unmet)], true, scan, Group::Waits),
            (&[(Soak, Unmet), (ConditionName::Fresh, Unmet)], false, scan, Group::Stuck),
            (&[(Soak, Met), (ConditionName::Fresh, Unknown)], false, scan, Group::Waits),
        ] {
            assert_eq!(group(&Ok(gate(conditions, opens)), &[], scan), expected, "{conditions:?}");
        }
    }

    #[test]
    fn what_time_does_not_mend_is_named_first() {
        use ConditionName::{Blocked, Fresh, Soak, Violations};
        use ConditionState::{Met, Unknown, Unmet};
        for (conditions, expected) in [
            (&[(Soak, Unmet), (Violations, Unmet), (Blocked, Unknown)][..], &[Violations, Soak][..]),
            (&[(Soak, Unknown), (Violations, Met), (Fresh, Unknown)], &[Soak, Fresh]),
            (&[(Soak, Met)], &[]),
        ] {
            let gate = gate(conditions, false);
            assert_eq!(lacking(&gate).iter().map(|condition| condition.name).collect::<Vec<_>>(), expected, "{conditions:?}");
        }
    }
}
