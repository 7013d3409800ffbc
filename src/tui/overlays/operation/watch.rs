//! Whether what a plan was made from still stands, as far as the fleet shows it.
//!
//! What lives here: a cheap look at what is on the screen anyway. What does not: the look at the objects themselves, which whoever carries a plan
//! out takes before each write (`engine::operations`).

use crate::domain::{Mode, PolicyId, Revision};
use crate::fleet::view::FleetView;
use crate::ops::plan::{Basis, Plan};
use jiff::Timestamp;

/// A policy in an environment, as the fleet shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mode: Mode,
    pub(super) revision: Option<Revision>,
    /// Failures and errors by owner; `None` where not everything is known.
    pub(super) faults: Option<u64>,
    /// When Kyverno evaluated it last.
    pub(super) evaluated_at: Option<Timestamp>,
}

/// What the fleet shows of a policy; `None` where there is none.
pub(super) fn seen(fleet: &FleetView, environment: &str, policy: &PolicyId) -> Option<Seen> {
    let view = fleet.environment(environment)?;
    let cell = view.cells.iter().find(|cell| *cell.key.id == *policy && cell.mode != Mode::Absent)?;
    let faults = (view.complete && cell.complete).then(|| cell.owners.fail + cell.owners.error);
    Some(Seen { mode: cell.mode, revision: cell.revision.clone(), faults, evaluated_at: cell.evaluated_at })
}

fn policy(basis: &Basis) -> PolicyId {
    let object = &basis.object;
    PolicyId { group: object.group.clone(), kind: object.kind.clone(), namespace: object.namespace.clone(), name: object.name.clone() }
}

/// What the fleet shows of everything a plan was made from.
pub(super) fn basis(plan: &Plan, fleet: &FleetView) -> Vec<Option<Seen>> {
    plan.basis.iter().map(|basis| seen(fleet, &basis.environment, &policy(basis))).collect()
}

/// Why a plan no longer fits, as a sentence. `then` is what the fleet showed when it was made, which may have lagged behind the objects.
pub(super) fn moved(plan: &Plan, then: &[Option<Seen>], fleet: &FleetView) -> Option<String> {
    plan.basis.iter().zip(then).find_map(|(basis, then)| {
        let view = fleet.environment(&basis.environment)?;
        if !view.link.is_up() || basis.revision.is_none() && basis.content.is_some() {
            return None;
        }
        let now = seen(fleet, &basis.environment, &policy(basis));
        let how = how(basis, then.as_ref(), now.as_ref(), view.complete)?;
        Some(format!("{} in {} {how} since this plan was made. Make it again.", basis.object, basis.environment))
    })
}

fn how(basis: &Basis, then: Option<&Seen>, now: Option<&Seen>, complete: bool) -> Option<String> {
    match (&basis.content, now) {
        (None, Some(_)) if then.is_none() => Some("was created".to_owned()),
        (Some(_), None) if then.is_some() && complete => Some("was deleted".to_owned()),
        (Some(_), Some(now)) => {
            let other = |one: &Option<Revision>| one.is_some() && now.revision.is_some() && *one != now.revision;
            if other(&basis.revision) && then.is_none_or(|then| then.revision != now.revision) {
                return Some("changed".to_owned());
            }
            // What is not in force yet, or not known, says nothing about what was written.
            let told = !matches!(now.mode, Mode::NotReady | Mode::Unknown);
            let was = basis.mode.filter(|was| *was != now.mode && told && then.is_none_or(|then| then.mode != now.mode))?;
            Some(format!("went from {was} to {}", now.mode))
        }
        _ => None,
    }
}
