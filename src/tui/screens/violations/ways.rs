//! Ways in and out: from a gate's number to its rows, back, and on to the next pane or screen.
//!
//! What lives here: what a visit changes and gives back. What does not: moving within the panes (`super`).

use super::board::{Listing, Unit};
use super::{Focus, Violations};
use crate::domain::PolicyKey;
use crate::tui::filter::Filter;
use crate::tui::screens::selection::Because;
use crate::tui::screens::{Cx, Done};
use std::sync::Arc;

/// What a person who was sent here came for, and how things were listed before.
pub(super) struct Guest {
    policy: PolicyKey,
    environment: Arc<str>,
    before: Listing,
}

impl Violations {
    /// Shows the faults of a policy in an environment, as many rows as the number that led here.
    pub(super) fn visit(&mut self, policy: &PolicyKey, environment: &Arc<str>, cx: &mut Cx<'_>) {
        let before = self.guest.take().map_or_else(|| self.listing.clone(), |guest| guest.before);
        self.guest = Some(Guest { policy: policy.clone(), environment: Arc::clone(environment), before });
        // That number counts workloads, and knows of no filter.
        (self.listing.unit, self.listing.faults_only, self.listing.filter) = (Unit::Owners, true, Filter::default());
        self.rows.set_filter(Filter::default(), cx);
        self.selection.set(policy.clone());
        self.environment = Some(Arc::clone(environment));
        (self.follow, self.finding, self.focus) = (true, None, Focus::Lower);
        self.board.take(cx.fleet);
        self.list(Because::News, cx);
        self.rows.pin();
    }

    /// Whether a gate's number led to these rows.
    pub(super) fn is_visited(&self, policy: &PolicyKey, environment: &Arc<str>) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.policy == *policy && guest.environment == *environment)
    }

    /// Whether one leaves what one was sent to; then things are listed as before.
    fn leave_visit(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(guest) = self.guest.take() else { return false };
        let still = self.policy() == Some(&guest.policy) && self.environment.as_ref() == Some(&guest.environment);
        if still {
            self.listing = guest.before;
            self.list(Because::Filter, cx);
        }
        still
    }

    /// Matrix, lower pane, next screen; or the other way round.
    pub(super) fn next_pane(&mut self, forward: bool) -> Done {
        let lower = self.focus == Focus::Lower;
        if self.finding.is_none() && self.policy().is_some() && lower != forward {
            self.focus = if forward { Focus::Lower } else { Focus::Matrix };
            self.rows.pin();
            return Done::Yes;
        }
        if self.finding.is_none() {
            self.focus = Focus::Matrix;
        }
        self.guest = None;
        Done::NextScreen
    }

    /// Closes what is open, else clears the filter, else goes one level back.
    pub(super) fn back(&mut self, clears_filter: bool, cx: &mut Cx<'_>) -> Done {
        if self.focus == Focus::Lower {
            if let Some(finding) = &mut self.finding {
                if finding.showing_object {
                    finding.close_object();
                } else {
                    self.finding = None;
                    self.want(cx);
                }
                return Done::Yes;
            }
            if clears_filter && !self.rows.filter.is_empty() {
                self.rows.set_filter(Filter::default(), cx);
            } else {
                self.focus = Focus::Matrix;
                if self.leave_visit(cx) {
                    return Done::Return;
                }
            }
            return Done::Yes;
        }
        if clears_filter && !self.listing.filter.is_empty() {
            self.listing.filter = Filter::default();
            self.list(Because::Filter, cx);
            return Done::Yes;
        }
        Done::Outermost
    }
}
