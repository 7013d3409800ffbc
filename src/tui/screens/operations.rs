//! The verbs of operations, which screens share.
//!
//! What lives here: their keys, and what a policy's cells say about where they act. What does not: what comes of them (`overlays::operation`).

use super::super::keys::{Binding, Verb};
use super::Done;
use crate::domain::{Mode, PolicyId};
use crate::fleet::view::FleetView;
use crate::kinds::KindId;
use crate::tui::acting::{Deed, Wish};
use std::sync::Arc;

/// To the next step.
pub(crate) const PROMOTE: Verb = Verb::Own("promote");
/// Back to audit.
pub(crate) const DEMOTE: Verb = Verb::Own("demote");
/// Back to what it was.
pub(crate) const ROLLBACK: Verb = Verb::Own("rollback");
/// Keep it where it is, or let it go.
pub(crate) const HOLD: Verb = Verb::Own("hold");
/// Let workloads through while Kyverno is down.
pub(crate) const UNBLOCK: Verb = Verb::Own("unblock");

/// Whether a verb changes something.
pub(crate) fn is_operation(verb: Verb) -> bool {
    [PROMOTE, DEMOTE, ROLLBACK, HOLD, UNBLOCK].contains(&verb)
}

pub(super) const PROMOTE_KEY: Binding =
    Binding::new(PROMOTE, &["p"], "promote", "To the next step of the pipeline, if its gate is open: previewed, confirmed, applied.");
pub(super) const DEMOTE_KEY: Binding = Binding::new(DEMOTE, &["a"], "audit", "Make it only audit again; no gate is asked.");
pub(super) const ROLLBACK_KEY: Binding = Binding::new(ROLLBACK, &["r"], "roll back", "Back to what it was, chosen from the archives.");
pub(super) const HOLD_KEY: Binding =
    Binding::new(HOLD, &["H"], "hold", "Hold it where it is, with a reason, so that no gate opens; or release it.");
pub(super) const UNBLOCK_KEY: Binding =
    Binding::new(UNBLOCK, &[], "unblock", "While Kyverno is down: remove its resource webhooks, so that workloads get through.")
        .shown(":unblock");

/// The wish behind a verb for one policy in one environment.
pub(super) fn wish(verb: Verb, policy: Option<&PolicyId>, environment: Option<Arc<str>>) -> Option<Wish> {
    let policies = policy.cloned().into_iter().collect();
    let deed = match verb {
        PROMOTE => Deed::Promote,
        DEMOTE => Deed::Demote,
        ROLLBACK => Deed::Rollback(None),
        HOLD => Deed::Hold(None),
        UNBLOCK => return Some(Wish::new(Deed::Unblock, Vec::new(), environment)),
        _ => return None,
    };
    Some(Wish::new(deed, policies, environment))
}

/// The same as what came of the verb.
pub(super) fn done(wish: Option<Wish>) -> Done {
    wish.map_or(Done::Yes, |wish| Done::Operate(Box::new(wish)))
}

/// Whether this is a policy that anything can be done to; others are known from reports of other tools only.
pub(super) fn is_ours(policy: &PolicyId) -> bool {
    KindId::find(&policy.group, &policy.kind).is_some()
}

/// What a policy does in the environments that have it, along the road.
pub(super) fn places<'a>(policy: &'a PolicyId, fleet: &'a FleetView) -> impl DoubleEndedIterator<Item = (Arc<str>, Mode)> + 'a {
    fleet.environments.iter().filter_map(|view| {
        let cell = view.cell_of(policy)?;
        (cell.mode != Mode::Absent).then(|| (Arc::clone(&view.name), cell.mode))
    })
}
