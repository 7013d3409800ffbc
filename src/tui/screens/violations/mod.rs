//! What is wrong, where? Policies × environments, and the rows behind every number.
//!
//! What lives here: the screen's state, its keys, and how they change it. Its parts: `board` (the matrix as data), `columns` and
//! `matrix` (drawing it), `rows`, `refused` and `rows_view` (behind a number), `overview` (a policy in all environments), `finding` and
//! `finding_view` (one result), `yaml` (its object), `states` (instead of an empty table), `ways`
//! (from and to other screens), `acting` (what is done to a policy).

mod acting;
mod board;
mod columns;
mod finding;
mod finding_view;
mod hits;
mod layout;
mod matrix;
mod overview;
mod refused;
mod rows;
mod rows_view;
mod states;
#[cfg(test)]
mod tests;
mod ways;
mod yaml;

use super::lists::moved;
use super::operations::{self, DEMOTE_KEY, HOLD_KEY, PROMOTE_KEY, ROLLBACK_KEY, UNBLOCK_KEY};
use super::selection::{Because, Selection};
use super::{ALL, Cx, REVERSE, SORT, SORT_BACK, Screen};
use crate::domain::PolicyKey;
use crate::fleet::view::FleetView;
use crate::tui::filter::Filter;
use crate::tui::keys::{Binding, Verb};
use board::{Board, Listing, SortBy, Unit};
use finding::Finding;
use hits::{Hit, Hits};
use jiff::Timestamp;
use rows::{Rows, Target};
use std::sync::Arc;

const RAW: Verb = Verb::Own("raw");
const OBJECT: Verb = Verb::Own("object");
const REVEAL: Verb = Verb::Own("reveal");

/// The screen's own keys.
pub(super) const KEYS: &[Binding] = &[
    Binding::new(ALL, &["o"], "all", "All policies and results, or only those with faults."),
    Binding::new(RAW, &["u"], "raw", "Count every result, or one per top owner (a Pod, its ReplicaSet and its Deployment are one)."),
    Binding::new(SORT, &["s", ">"], "sort", "Sort by the next column."),
    Binding::new(SORT_BACK, &["<"], "sort back", "Sort by the previous column."),
    Binding::new(REVERSE, &["S"], "reverse", "Reverse the order."),
    Binding::new(OBJECT, &["y"], "yaml", "The live object behind the finding, fetched now, with the failing path marked."),
    Binding::new(REVEAL, &["x"], "reveal", "Show the values of a Secret, or hide them; they are never copied or saved."),
    PROMOTE_KEY,
    DEMOTE_KEY,
    ROLLBACK_KEY,
    HOLD_KEY,
    UNBLOCK_KEY,
];

/// Makes the screen.
pub(super) fn make() -> Box<dyn Screen> {
    Box::new(Violations::default())
}

/// Where the keys go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Focus {
    #[default]
    Matrix,
    Lower,
}

/// See the module.
struct Violations {
    board: Board,
    listing: Listing,
    selection: Selection<PolicyKey>,
    /// The selected environment; `None` is all of them together.
    environment: Option<Arc<str>>,
    top: usize,
    first: usize,
    /// Whether the views follow their cursors; the wheel moves them away.
    follow: bool,
    focus: Focus,
    rows: Rows,
    finding: Option<Finding>,
    overview_place: usize,
    hits: Hits,
    last_click: Option<(Timestamp, Hit)>,
    guest: Option<ways::Guest>,
    /// Lines of the panes when drawn last, for paging.
    matrix_rows: usize,
    lower_rows: usize,
    lower_shown: bool,
}

impl Default for Violations {
    fn default() -> Self {
        Self {
            board: Board::default(),
            listing: Listing { by: SortBy::Faults, reverse: false, faults_only: true, unit: Unit::Owners, filter: Filter::default() },
            selection: Selection::default(),
            environment: None,
            top: 0,
            first: 0,
            follow: true,
            focus: Focus::Matrix,
            rows: Rows::default(),
            finding: None,
            overview_place: 0,
            hits: Hits::default(),
            last_click: None,
            guest: None,
            matrix_rows: 10,
            lower_rows: 10,
            lower_shown: false,
        }
    }
}

impl Violations {
    fn column(&self) -> Option<usize> {
        let name = self.environment.as_ref()?;
        self.board.environments.iter().position(|e| e.name == *name)
    }

    /// The selected policy.
    fn policy(&self) -> Option<&PolicyKey> {
        self.selection.key()
    }

    /// Works out the order again; the selected policy keeps its line on screen even if it moved in the order.
    fn list(&mut self, because: Because, cx: &mut Cx<'_>) {
        let line = self.selection.place().filter(|_| self.selection.is_chosen()).map(|place| place.saturating_sub(self.top));
        let Self { board, listing, selection, .. } = self;
        board.list(listing, selection.kept(because), cx.now);
        selection.settle(because, |key| board.place(key), |place| board.key(place));
        if let (Some(line), Some(place)) = (line, selection.place()) {
            self.top = place.saturating_sub(line);
        }
        self.want(cx);
    }

    /// Puts the cursor there because a person asked for it.
    fn choose(&mut self, place: usize, cx: &mut Cx<'_>) {
        self.follow = true;
        let board = &self.board;
        self.selection.choose(place.min(board.order.len().saturating_sub(1)), |place| board.key(place));
        if self.board.keeps {
            // The row that was left was listed only because the cursor was on it.
            self.list(Because::News, cx);
        } else {
            self.want(cx);
        }
    }

    /// The selected policy is the one that a person means: it stays selected.
    fn stay(&mut self) {
        let board = &self.board;
        self.selection.stay(|key| board.place(key));
    }

    /// Tells the lower pane what is selected.
    fn want(&mut self, cx: &mut Cx<'_>) {
        self.rows.set_outer(&self.listing.filter, cx);
        if self.finding.is_some() && self.focus == Focus::Lower {
            // An opened finding stays what it is, and keeps its rows current.
            let target = self.finding.as_ref().map(|f| f.target.clone());
            let content = target.as_ref().and_then(|t| content(cx.fleet, &t.environment));
            self.rows.want(target.zip(content), cx);
            return;
        }
        let wanted = self.policy().cloned().zip(self.environment.clone()).and_then(|(key, environment)| {
            let content = content(cx.fleet, &environment)?;
            let Listing { unit, faults_only, .. } = self.listing;
            let counted = faults_only && unit == Unit::Owners && self.is_visited(&key, &environment);
            Some((Target { key, environment, unit, faults_only, counted }, content))
        });
        self.rows.want(wanted, cx);
    }

    fn move_matrix(&mut self, verb: Verb, cx: &mut Cx<'_>) {
        let last = self.board.order.len().saturating_sub(1);
        let page = self.matrix_rows.saturating_sub(1).max(1);
        if let Some(place) = moved(self.selection.start(), last, page, verb) {
            self.choose(place, cx);
        }
    }

    fn move_lower(&mut self, verb: Verb) {
        self.follow = true;
        let page = self.lower_rows.saturating_sub(1).max(1);
        if let Some(finding) = &mut self.finding {
            let scroll = &mut finding.scroll[usize::from(finding.showing_object)];
            // The end is found while drawing, which knows how many lines there are.
            if let Some(line) = moved(*scroll, usize::MAX / 2, page, verb) {
                *scroll = line;
            }
        } else if self.environment.is_none() {
            let last = self.board.environments.len().saturating_sub(1);
            self.overview_place = moved(self.overview_place, last, page, verb).unwrap_or(self.overview_place);
        } else if let Some(place) = moved(self.rows.place, self.rows.lines.len().saturating_sub(1), page, verb) {
            self.rows.select(place);
        }
    }

    fn go_to_environment(&mut self, number: u8, cx: &mut Cx<'_>) {
        self.stay();
        self.finding = None;
        self.follow = true;
        self.environment = match usize::from(number).checked_sub(1) {
            None => None,
            Some(e) => {
                let Some(environment) = self.board.environments.get(e) else {
                    *cx.say = Some(format!("there is no environment {number}"));
                    return;
                };
                Some(environment.name.clone())
            }
        };
        self.want(cx);
    }

    fn sideways(&mut self, right: bool, cx: &mut Cx<'_>) {
        // 0 is the policy itself, to the left of all environments.
        let now = self.column().map_or(0, |c| c + 1);
        let next = if right { (now + 1).min(self.board.environments.len()) } else { now.saturating_sub(1) };
        self.environment = next.checked_sub(1).and_then(|e| self.board.environments.get(e)).map(|e| e.name.clone());
        self.stay();
        self.follow = true;
        self.want(cx);
    }

    fn open(&mut self, cx: &mut Cx<'_>) {
        if self.focus == Focus::Matrix {
            self.stay();
            self.want(cx);
            if self.policy().is_some() {
                self.focus = Focus::Lower;
                self.rows.pin();
                self.overview_place = self.overview_place.min(self.board.environments.len().saturating_sub(1));
            }
        } else if let Some(finding) = &mut self.finding {
            if !finding.showing_object && finding.refused.is_none() {
                finding.ask_object(cx);
            }
        } else if self.environment.is_none() {
            let number = u8::try_from(self.overview_place + 1).unwrap_or(u8::MAX);
            self.go_to_environment(number, cx);
        } else if !self.rows.fold_if_group() {
            self.open_finding(cx);
        }
    }

    fn open_finding(&mut self, cx: &mut Cx<'_>) {
        // Rows that only linger belong to another cell than the one that is selected.
        let Some((target, _)) = self.rows.shown(cx.now).filter(|(t, _)| Some(*t) == self.rows.target()) else { return };
        if let Some(row) = self.rows.selected() {
            self.finding = Some(Finding::open(target.clone(), row.clone(), cx));
            self.focus = Focus::Lower;
        } else if let Some(row) = self.rows.selected_refusal() {
            self.finding = Some(Finding::open_refusal(target.clone(), row.clone()));
            self.focus = Focus::Lower;
        }
    }

    fn own(&mut self, name: &'static str, cx: &mut Cx<'_>) {
        match Verb::Own(name) {
            ALL => self.listing.faults_only = !self.listing.faults_only,
            RAW => {
                self.listing.unit = if self.listing.unit == Unit::Owners { Unit::Raw } else { Unit::Owners };
                self.finding = None;
            }
            SORT => self.sort_by_next(1),
            SORT_BACK => self.sort_by_next(-1),
            REVERSE => self.listing.reverse = !self.listing.reverse,
            OBJECT => {
                if self.finding.is_none() {
                    self.open_finding(cx);
                }
                if let Some(finding) = self.finding.as_mut().filter(|finding| finding.refused.is_none()) {
                    finding.ask_object(cx);
                }
                return;
            }
            REVEAL => {
                if let Some(finding) = &mut self.finding {
                    finding.reveal();
                }
                return;
            }
            _ => return,
        }
        self.list(Because::News, cx);
    }

    fn sort_by_next(&mut self, step: isize) {
        let mut all = vec![SortBy::Faults, SortBy::Name, SortBy::Severity];
        all.extend(self.board.environments.iter().map(|e| SortBy::Environment(e.name.clone())));
        let now = all.iter().position(|by| *by == self.listing.by).unwrap_or(0);
        let len = all.len().cast_signed();
        let next = (now.cast_signed() + step).rem_euclid(len).unsigned_abs();
        self.listing.by = all.swap_remove(next);
        self.listing.reverse = false;
    }

    fn copy(&self, cx: &mut Cx<'_>) {
        if let Some(finding) = self.finding.as_ref().filter(|_| self.focus == Focus::Lower) {
            match &finding.object {
                finding::Object::Here { lines, secret, .. } if finding.showing_object => {
                    let what = if secret.is_some() { "the object without the values" } else { "the object" };
                    cx.copy(what, yaml::text(lines));
                }
                _ => cx.copy("the message", crate::domain::clean(&finding.row.message).into_owned()),
            }
        } else if self.focus == Focus::Lower
            && let Some(resource) = self.rows.selected().map(|row| &row.resource).or(self.rows.selected_refusal().map(|row| &row.resource))
        {
            let path = if resource.namespace.is_empty() { resource.to_string() } else { format!("{}/{resource}", resource.namespace) };
            let path = crate::domain::clean(&path).into_owned();
            cx.copy(&path, path.clone());
        } else if let Some(key) = self.policy() {
            let name = crate::domain::clean(&key.id.report_name()).into_owned();
            cx.copy(&name, name.clone());
        }
    }

    fn click(&mut self, hit: &Hit, double: bool, cx: &mut Cx<'_>) {
        match hit {
            Hit::Heading(by) => {
                if self.listing.by == *by {
                    self.listing.reverse = !self.listing.reverse;
                } else {
                    (self.listing.by, self.listing.reverse) = (by.clone(), false);
                }
                self.list(Because::News, cx);
            }
            Hit::Policy(_) | Hit::Cell(..) => {
                let (place, column) = if let Hit::Cell(place, e) = hit {
                    (*place, Some(*e))
                } else if let Hit::Policy(place) = hit {
                    (*place, None)
                } else {
                    return;
                };
                self.focus = Focus::Matrix;
                self.finding = None;
                self.environment = column.and_then(|e| self.board.environments.get(e)).map(|e| e.name.clone());
                self.choose(place, cx);
                if double {
                    self.open(cx);
                }
            }
            Hit::Line(place) => {
                self.focus = Focus::Lower;
                if self.environment.is_none() {
                    self.overview_place = *place;
                } else {
                    self.rows.select(*place);
                }
                if double {
                    self.open(cx);
                }
            }
            Hit::Lower => self.focus = Focus::Lower,
            Hit::Matrix => self.focus = Focus::Matrix,
        }
    }

    fn wheel(&mut self, hit: Option<&Hit>, down: bool) {
        const STEP: usize = 3;
        let step = |n: usize| if down { n.saturating_add(STEP) } else { n.saturating_sub(STEP) };
        self.follow = false;
        match hit {
            Some(Hit::Line(_) | Hit::Lower) => match &mut self.finding {
                Some(finding) => {
                    let scroll = &mut finding.scroll[usize::from(finding.showing_object)];
                    *scroll = step(*scroll);
                }
                None => self.rows.top = step(self.rows.top),
            },
            Some(Hit::Heading(_) | Hit::Policy(_) | Hit::Cell(..) | Hit::Matrix) | None => self.top = step(self.top),
        }
    }
}

/// Rises with what the rows of an environment are made from.
fn content(fleet: &FleetView, environment: &str) -> Option<u64> {
    fleet.environment(environment).map(|e| e.content)
}
