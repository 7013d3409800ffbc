//! The board as data: one row per policy that has a road, in groups by who has to do something.
//!
//! What lives here: grouping, sorting, hiding, filtering. What does not: columns, colours, selection.

use super::sieve::Sieve;
use crate::domain::{Condition, ConditionName, ConditionState, Gate, PolicyId, PolicyKey, Verdict};
use crate::fleet::view::FleetView;
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Who has to do something, in the order in which groups are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// It may move: whoever rolls out.
    Open,
    /// Only time is lacking: nobody.
    Waits,
    /// Something else is lacking: whoever can mend it.
    Stuck,
    /// What would tell could not be seen: whoever can make it seen.
    Unknown,
    /// There is no further step.
    End,
}

/// One policy with the gate before its next step, or why there is none.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: PolicyKey,
    pub(super) gate: Result<Gate, String>,
    pub(super) group: Group,
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
}

/// Conditions that time alone will meet.
fn is_time(condition: &Condition) -> bool {
    matches!(condition.name, ConditionName::Soak | ConditionName::Freeze)
}

fn is_unmet(condition: &Condition) -> bool {
    condition.state == ConditionState::Unmet
}

/// Where a gate belongs.
pub(super) fn group(gate: &Result<Gate, String>) -> Group {
    let Ok(gate) = gate else { return Group::End };
    let only_time = gate.opens_at.is_some() && gate.conditions.iter().filter(|condition| is_unmet(condition)).all(is_time);
    match gate.verdict {
        Verdict::Open => Group::Open,
        Verdict::Closed if only_time => Group::Waits,
        Verdict::Closed => Group::Stuck,
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

impl Board {
    /// Takes what was judged.
    pub(super) fn take(&mut self, gates: &[(PolicyId, Result<Gate, String>)], fleet: &FleetView) {
        let cells = fleet.environments.iter().flat_map(|environment| environment.cells.iter());
        let keys: HashMap<&PolicyId, &PolicyKey> = cells.map(|cell| (&*cell.key.id, &cell.key)).collect();
        let mut names: HashMap<(Option<&str>, &str), usize> = HashMap::new();
        for (id, _) in gates {
            *names.entry((id.namespace.as_deref(), &id.name)).or_default() += 1;
        }
        let row = |(id, gate): &(PolicyId, Result<Gate, String>)| Row {
            // A policy that has just gone has no cell any more.
            key: keys.get(id).map_or_else(|| PolicyKey { source: Arc::from(""), id: Arc::new(id.clone()) }, |key| (*key).clone()),
            gate: gate.clone(),
            group: group(gate),
            twin: names.get(&(id.namespace.as_deref(), id.name.as_str())).is_some_and(|count| *count > 1),
        };
        self.rows = gates.iter().map(row).collect();
    }

    /// Works out which rows are listed and in which order.
    pub(super) fn list(&mut self, listing: &Listing, fleet: &FleetView, now: Timestamp) {
        (self.hidden, self.filtered) = (0, 0);
        self.order.clear();
        for (at, row) in self.rows.iter().enumerate() {
            if !listing.filter.is_empty() && !listing.filter.passes(row, fleet, now) {
                self.filtered += 1;
            } else if row.group == Group::End && !listing.all {
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
    let to = &row.gate.as_ref().ok()?.to;
    let place = fleet.environments.iter().position(|environment| environment.name == to.environment);
    Some((place.unwrap_or(usize::MAX), to.mode.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Mode, Stop};

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
            assert_eq!(group(&Ok(gate(conditions, opens))), expected, "{conditions:?}");
        }
        assert_eq!(group(&Err("it has reached the end of the road".to_owned())), Group::End);
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
