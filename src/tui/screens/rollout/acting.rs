//! Operations on the policy under the cursor, or on those that are marked.
//!
//! What lives here: which policies and which environment a key is meant for. What does not: what comes of it (`overlays::operation`).
//!
//! A promotion goes to the next step, wherever that is. Everything else acts where the policy stands: in the furthest environment that has it;
//! back to audit, in the furthest in which it can refuse anything.

use super::Rollout;
use crate::domain::PolicyId;
use crate::fleet::view::FleetView;
use crate::tui::acting::{Deed, Wish};
use crate::tui::keys::Verb;
use crate::tui::screens::operations::{self, DEMOTE, HOLD, PROMOTE, ROLLBACK, UNBLOCK, is_ours, places};
use crate::tui::screens::{Cx, Done};
use std::sync::Arc;

/// Where an operation acts on a policy.
fn place(verb: Verb, policy: &PolicyId, fleet: &FleetView) -> Option<Arc<str>> {
    let refuses = || places(policy, fleet).rev().find(|(_, mode)| mode.can_block());
    let furthest = || places(policy, fleet).next_back();
    let found = if verb == DEMOTE { refuses().or_else(furthest) } else { furthest() };
    found.map(|(name, _)| name)
}

impl Rollout {
    /// Begins an operation; the row it is about stays selected and listed.
    pub(super) fn operate(&mut self, verb: Verb, cx: &Cx<'_>) -> Done {
        self.pin();
        if verb == UNBLOCK {
            return operations::done(operations::wish(verb, None, None));
        }
        let marked: Vec<PolicyId> = if verb == PROMOTE { self.marked().cloned().collect() } else { Vec::new() };
        if !marked.is_empty() {
            return operations::done(Some(Wish::new(Deed::Promote, marked, None)));
        }
        let Some(row) = self.subject() else { return Done::Yes };
        let policy = &*row.key.id;
        let environment = if verb == PROMOTE { None } else { place(verb, policy, cx.fleet) };
        operations::done(operations::wish(verb, Some(policy), environment))
    }

    /// The marked policies that are still on the board, in its order. In a timeline, keys are about its policy alone.
    fn marked(&self) -> impl Iterator<Item = &PolicyId> {
        let count = if self.timeline.is_some() { 0 } else { self.board.listed_len() };
        let listed = (0..count).filter_map(|place| self.board.listed(place));
        listed.filter(|row| row.step().is_some() && self.marks.contains(&*row.key.id)).map(|row| &*row.key.id)
    }

    /// Marks the policy under the cursor for a promotion, or takes its mark away, and goes on to the next.
    pub(super) fn mark(&mut self, cx: &Cx<'_>) {
        self.stay();
        let Some(row) = self.selected().filter(|row| row.step().is_some()) else { return };
        let id = (*row.key.id).clone();
        if !self.marks.remove(&id) {
            self.marks.insert(id);
        }
        self.choose(self.selection.start() + 1, cx);
    }

    /// Why an operation cannot begin.
    pub(super) fn cannot_operate(&self, verb: Verb, fleet: &FleetView) -> Option<&'static str> {
        if verb == UNBLOCK {
            return None;
        }
        let Some(row) = self.subject() else { return Some("there is no policy to do that to") };
        if !is_ours(&row.key.id) {
            return Some("it is known from another tool's reports only: there is no policy to change");
        }
        match verb {
            PROMOTE if self.marked().next().is_none() && row.step().is_none() => Some("there is no further step for it"),
            DEMOTE | ROLLBACK | HOLD if place(verb, &row.key.id, fleet).is_none() => Some("it is in no environment"),
            _ => None,
        }
    }
}
