//! Operations on the policy under the cursor, in the environment of its cell.
//!
//! What lives here: which policy and which environment a key is meant for. What does not: what comes of it (`overlays::operation`).

use super::{Violations, operations};
use crate::fleet::view::FleetView;
use crate::tui::keys::Verb;
use crate::tui::screens::Done;
use crate::tui::screens::operations::{PROMOTE, UNBLOCK, is_ours, places};

impl Violations {
    /// Begins an operation; the row it is about stays selected and listed. With the cursor on all environments together, a promotion goes to the
    /// next step, wherever that is.
    pub(super) fn operate(&mut self, verb: Verb) -> Done {
        let board = &self.board;
        self.selection.pin(|key| board.place(key));
        let policy = self.policy().map(|key| &*key.id);
        operations::done(operations::wish(verb, policy, self.environment.clone()))
    }

    /// Why an operation cannot begin.
    pub(super) fn cannot_operate(&self, verb: Verb, fleet: &FleetView) -> Option<&'static str> {
        if verb == UNBLOCK {
            return None;
        }
        let Some(key) = self.policy() else { return Some("there is no policy to do that to") };
        if !is_ours(&key.id) {
            return Some("it is known from another tool's reports only: there is no policy to change");
        }
        match &self.environment {
            _ if verb == PROMOTE => None,
            None => Some("choose an environment first"),
            Some(here) if !places(&key.id, fleet).any(|(name, _)| name == *here) => Some("it is not in this environment"),
            Some(_) => None,
        }
    }
}
