//! How far what is seen of an environment can be believed.
//!
//! What lives here: the same answers for all screens. What does not: what they make of them.

use crate::domain::{Force, Link, Mode, PolicyKey, Sync};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use jiff::Timestamp;

/// Whether all that can be seen of an environment was seen once, even if the link is gone now.
pub(super) fn once_complete(environment: &EnvironmentView) -> bool {
    !environment.kinds.is_empty()
        && environment.kinds.iter().filter(|k| k.essential).all(|k| matches!(k.sync, Sync::Live | Sync::NotInstalled | Sync::Stale { .. }))
}

/// When an environment was lost, if it is: the moment from which the header counts, too.
pub(super) fn lost_since(environment: &EnvironmentView) -> Option<Timestamp> {
    match &environment.link {
        link if link.is_up() => None,
        Link::Retrying { since: Some(since), .. } | Link::Stale { since } => Some(*since),
        _ => environment.last_seen,
    }
}

/// What a policy does in an environment, as far as that is known.
pub(super) fn mode(environment: &EnvironmentView, key: &PolicyKey) -> Mode {
    match environment.cell(key) {
        Some(cell) => cell.mode,
        None if environment.complete || once_complete(environment) => Mode::Absent,
        None => Mode::Unknown,
    }
}

/// Whether a policy that looks for violations has no result of its own, not even one that passes: nothing evaluated is not nothing wrong.
pub(super) fn is_not_evaluated(cell: &PolicyCell) -> bool {
    let looks = matches!(cell.mode, Mode::Audit | Mode::Enforce | Mode::Mixed | Mode::Warn | Mode::NotReady);
    looks && (cell.is_silent() || (cell.findings.total() == 0 && cell.excepted == 0))
}

/// Whether a policy that would act on requests is not in the admission path, or only partly.
pub(super) fn is_out_of_force(cell: &PolicyCell) -> bool {
    let acts = matches!(cell.mode, Mode::Audit | Mode::Enforce | Mode::Mixed | Mode::Warn);
    acts && matches!(cell.in_force.state, Force::No | Force::Partly)
}
