//! The matrix as data: one row per policy of any environment, its readings, and the order in which rows are listed.
//!
//! What lives here: merging the environments' cells, reading one cell, sorting, hiding and filtering. It is rebuilt only when a
//! view changed; drawing asks for single rows. What does not: columns, colours, selection.

use crate::domain::{Mode, PolicyKey, Readiness, Severity, Sync, Tally, clean};
use crate::fleet::filter::Verdict;
use crate::fleet::view::{EnvironmentView, FleetView, PolicyCell};
use crate::tui::filter::Filter;
use crate::tui::screens::seen::{is_not_evaluated, is_out_of_force, lost_since, once_complete};
use crate::tui::theme::Symbols;
use crate::tui::words;
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const NO_CELL: u32 = u32::MAX;

/// One policy.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: PolicyKey,
    /// Worst severity that any environment gives it.
    pub(super) severity: Option<Severity>,
    category: Option<Arc<str>>,
    /// Another row has the same name: the kind must be shown to tell them apart.
    pub(super) twin: bool,
    /// Failures and errors of all environments.
    faults: u64,
    /// Something a person should see although nothing fails: refused admissions, a policy that is not in force.
    remarkable: bool,
    /// In some environment nothing is known of it.
    unknown: bool,
}

impl Row {
    /// Whether it is listed among faults.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.faults > 0 || self.remarkable
    }

    /// The name as reports write it, safe for a terminal.
    pub(super) fn name(&self) -> String {
        clean(&self.key.id.report_name()).into_owned()
    }
}

/// How many there are, and how far that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// The policy is not there and nothing was found.
    Absent,
    /// Nothing is wrong.
    Nothing,
    /// Nobody knows (yet).
    Unknown,
    /// So many.
    Known(u64),
    /// At least so many when last seen.
    AtLeast(u64),
}

/// What one cell says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// `None` where results are known, but no policy that could have a mode.
    pub(super) mode: Option<Mode>,
    /// Requests do not meet it, whatever its mode says.
    pub(super) out: bool,
    /// Failures.
    pub(super) count: Count,
    /// Errors.
    pub(super) errors: u64,
    /// Blocked requests; `None` where there may be some that are not seen.
    pub(super) refused: Option<u64>,
    /// Says something else than in the environment before.
    pub(super) differs: bool,
    /// The environment is lost, and this was last true then.
    pub(super) lost: Option<Timestamp>,
}

impl Reading {
    /// `⊘37`, `⊘?`; nothing where none was blocked.
    pub(super) fn refused_mark(&self, symbols: &Symbols) -> String {
        match self.refused {
            Some(0) => String::new(),
            Some(n) => format!("{}{}", symbols.refused, mark_number(n)),
            None => format!("{}?", symbols.refused),
        }
    }
}

/// Which results are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// One per top owner.
    Owners,
    /// One per resource.
    Raw,
}

impl Unit {
    pub(super) fn of(self, cell: &PolicyCell) -> Tally {
        match self {
            Self::Owners => cell.owners,
            Self::Raw => cell.findings,
        }
    }

    pub(super) fn of_environment(self, environment: &EnvironmentView) -> Tally {
        match self {
            Self::Owners => environment.owners,
            Self::Raw => environment.findings,
        }
    }
}

/// What rows are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SortBy {
    Faults,
    Name,
    Severity,
    Environment(Arc<str>),
}

/// How rows are listed.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) by: SortBy,
    pub(super) reverse: bool,
    pub(super) faults_only: bool,
    pub(super) unit: Unit,
    pub(super) filter: Filter,
}

/// What the filter leaves of an environment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passing {
    pub(super) tally: Tally,
    pub(super) refused: Option<u64>,
    /// Any cell is looked at.
    pub(super) any: bool,
    /// Some cells have numbers of which only their rows can tell what passes.
    pub(super) unknown: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) environments: Vec<Arc<EnvironmentView>>,
    rows: Vec<Row>,
    /// For row r and environment e, at `r * environments.len() + e`: index into that environment's cells.
    cells: Vec<u32>,
    /// Rows that are listed, in order.
    pub(super) order: Vec<u32>,
    /// Rows left out because nothing is known to be wrong with them.
    pub(super) hidden: usize,
    /// Those of them of which something is not known.
    pub(super) hidden_unknown: usize,
    /// Rows left out by the filter.
    pub(super) filtered: usize,
    /// What passes the filter, by environment; none where nothing is filtered.
    pub(super) passing: Vec<Passing>,
    /// Whether a row is listed only because it is kept.
    pub(super) keeps: bool,
    /// The largest numbers that columns must hold; they only grow, so that nothing jumps.
    pub(super) widest_count: usize,
    pub(super) widest_marks: usize,
    pub(super) widest_name: usize,
}

/// Every policy of every environment, by merging lists that are sorted already.
fn merge(environments: &[Arc<EnvironmentView>]) -> (Vec<PolicyKey>, Vec<u32>) {
    let mut at = vec![0_usize; environments.len()];
    let (mut keys, mut cells) = (Vec::new(), Vec::new());
    while let Some(least) = environments.iter().zip(&at).filter_map(|(e, i)| e.cells.get(*i)).map(|c| &c.key).min().cloned() {
        for (environment, i) in environments.iter().zip(&mut at) {
            if environment.cells.get(*i).is_some_and(|c| c.key == least) {
                cells.push(u32::try_from(*i).unwrap_or(NO_CELL));
                *i += 1;
            } else {
                cells.push(NO_CELL);
            }
        }
        keys.push(least);
    }
    (keys, cells)
}

impl Board {
    /// Takes a newer view; `true` if rows or numbers may have changed, so that [`Self::list`] is due.
    pub(super) fn take(&mut self, fleet: &FleetView) -> bool {
        let same = self.environments.len() == fleet.environments.len()
            && self.environments.iter().zip(&fleet.environments).all(|(a, b)| a.name == b.name && Arc::ptr_eq(&a.cells, &b.cells));
        // Mostly it is numbers that change: then rows and cells stand where they stood.
        let same_key = |a: &PolicyKey, b: &PolicyKey| (Arc::ptr_eq(&a.id, &b.id) && a.source == b.source) || a == b;
        let same_policies = self.environments.len() == fleet.environments.len()
            && self.environments.iter().zip(&fleet.environments).all(|(a, b)| {
                a.name == b.name
                    && a.cells.len() == b.cells.len()
                    && a.cells.iter().zip(b.cells.iter()).all(|(a, b)| same_key(&a.key, &b.key))
            });
        self.environments.clone_from(&fleet.environments);
        if same {
            return false;
        }
        if same_policies {
            return true;
        }
        let (keys, cells) = merge(&self.environments);
        self.cells = cells;
        let mut names: HashMap<(Option<&str>, &str), u32> = HashMap::with_capacity(keys.len());
        for key in &keys {
            *names.entry((key.id.namespace.as_deref(), key.id.name.as_str())).or_default() += 1;
        }
        let twins: HashSet<usize> = (0..keys.len())
            .filter(|i| names.get(&(keys[*i].id.namespace.as_deref(), keys[*i].id.name.as_str())).is_some_and(|n| *n > 1))
            .collect();
        drop(names);
        self.rows = keys
            .into_iter()
            .enumerate()
            .map(|(i, key)| Row {
                key,
                severity: None,
                category: None,
                twin: twins.contains(&i),
                faults: 0,
                remarkable: false,
                unknown: false,
            })
            .collect();
        true
    }

    /// The cell of a row in the environment at `e`.
    pub(super) fn cell(&self, row: usize, e: usize) -> Option<&PolicyCell> {
        let at = *self.cells.get(row * self.environments.len() + e)?;
        self.environments.get(e)?.cells.get(usize::try_from(at).ok()?)
    }

    /// A row by its place in the order.
    pub(super) fn listed(&self, place: usize) -> Option<(usize, &Row)> {
        let at = usize::try_from(*self.order.get(place)?).ok()?;
        Some((at, self.rows.get(at)?))
    }

    /// The policy at a place of the order.
    pub(super) fn key(&self, place: usize) -> Option<PolicyKey> {
        self.listed(place).map(|(_, row)| row.key.clone())
    }

    /// The place of a policy in the order.
    pub(super) fn place(&self, key: &PolicyKey) -> Option<usize> {
        let at = self.row(key)?;
        self.order.iter().position(|o| usize::try_from(*o) == Ok(at))
    }

    /// The row of a policy, listed or not.
    pub(super) fn row(&self, key: &PolicyKey) -> Option<usize> {
        self.rows.binary_search_by(|r| r.key.cmp(key)).ok()
    }

    /// Policies of all environments.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What one cell says.
    pub(super) fn reading(&self, row: usize, e: usize, unit: Unit) -> Reading {
        let nothing = Reading {
            mode: Some(Mode::Unknown),
            out: false,
            count: Count::Unknown,
            errors: 0,
            refused: Some(0),
            differs: false,
            lost: None,
        };
        let Some(environment) = self.environments.get(e) else { return nothing };
        let lost = lost_since(environment);
        let known = environment.complete || once_complete(environment);
        let Some(cell) = self.cell(row, e) else {
            return if known {
                Reading { mode: Some(Mode::Absent), count: Count::Absent, lost, ..nothing }
            } else {
                Reading { lost, ..nothing }
            };
        };
        let tally = unit.of(cell);
        let mode = match cell.mode {
            Mode::Unknown | Mode::Absent if cell.key.id.kind.is_empty() => None,
            mode => Some(mode),
        };
        let count = match (tally.fail, cell.complete) {
            (0, true) if mode == Some(Mode::Absent) => Count::Absent,
            (0, true) if is_not_evaluated(cell) => Count::Unknown,
            (0, true) => Count::Nothing,
            (0, false) if known && lost.is_some() => Count::Nothing,
            (0, false) => Count::Unknown,
            (n, true) if !cell.is_silent() => Count::Known(n),
            (n, _) => Count::AtLeast(n),
        };
        let out = is_out_of_force(cell);
        Reading { mode, out, count, errors: tally.error, refused: refused(environment, cell), differs: self.differs(row, e), lost }
    }

    /// What one cell says of what passes the filter; a number of which only the rows can tell is unknown.
    pub(super) fn filtered_reading(&self, row: usize, e: usize, listing: &Listing, now: Timestamp) -> Reading {
        let reading = self.reading(row, e, listing.unit);
        let Some((environment, cell)) = self.environments.get(e).zip(self.cell(row, e)) else { return reading };
        if !listing.filter.has_fields() {
            return reading;
        }
        // Which of the refused requests pass is not kept.
        let refused = reading.refused.filter(|count| *count == 0 || !listing.filter.asks_rows(environment, cell, now));
        match listing.filter.allows_faults(environment, cell, now) {
            Verdict::Yes => Reading { refused, ..reading },
            Verdict::No if cell.complete && reading.count != Count::Unknown => {
                Reading { count: Count::Nothing, errors: 0, refused, ..reading }
            }
            _ if matches!(reading.count, Count::Nothing | Count::Absent) && reading.errors == 0 => Reading { refused, ..reading },
            _ => Reading { count: Count::Unknown, errors: 0, refused, ..reading },
        }
    }

    /// Sums up what passes the filter, of one environment.
    fn passing(&self, e: usize, listing: &Listing, now: Timestamp) -> Passing {
        let mut sum = Passing { refused: Some(0), ..Passing::default() };
        for at in (0..self.rows.len()).filter(|at| self.rows.get(*at).is_some_and(|row| self.passes(*at, row, &listing.filter, now))) {
            let Some(cell) = self.cell(at, e).filter(|_| !self.is_out(at, e, &listing.filter, now)) else { continue };
            let reading = self.filtered_reading(at, e, listing, now);
            sum.any = true;
            match reading.count {
                Count::Known(fail) | Count::AtLeast(fail) => sum.tally.fail += fail,
                Count::Unknown if listing.unit.of(cell).faults() > 0 => sum.unknown = true,
                Count::Nothing | Count::Absent | Count::Unknown => {}
            }
            sum.tally.error += reading.errors;
            sum.refused = sum.refused.zip(reading.refused).map(|(sum, more)| sum + more);
        }
        sum
    }

    /// Whether the policy says something else here than in the nearest environment before that has it.
    fn differs(&self, row: usize, e: usize) -> bool {
        let revision = |e| self.cell(row, e).and_then(|c| c.revision.as_ref());
        (0..e).rev().find_map(revision).zip(revision(e)).is_some_and(|(a, b)| a != b)
    }

    /// Works out which rows are listed and in which order; `keep` is listed whatever would hide it.
    pub(super) fn list(&mut self, listing: &Listing, keep: Option<&PolicyKey>, now: Timestamp) {
        self.weigh(listing.unit);
        (self.hidden, self.hidden_unknown, self.filtered, self.keeps) = (0, 0, 0, false);
        let mut order = Vec::with_capacity(self.rows.len());
        for (at, row) in self.rows.iter().enumerate() {
            let filtered = !listing.filter.is_empty() && !self.passes(at, row, &listing.filter, now);
            let hidden = listing.faults_only && !row.is_worth_a_look();
            if keep == Some(&row.key) {
                self.keeps = filtered || hidden;
            } else if filtered {
                self.filtered += 1;
                continue;
            } else if hidden {
                self.hidden += 1;
                self.hidden_unknown += usize::from(row.unknown);
                continue;
            }
            order.push(u32::try_from(at).unwrap_or(NO_CELL));
        }
        self.sort(&mut order, listing);
        self.order = order;
        let environments = 0..if listing.filter.is_empty() { 0 } else { self.environments.len() };
        self.passing = environments.map(|e| self.passing(e, listing, now)).collect();
    }

    fn passes(&self, at: usize, row: &Row, filter: &Filter, now: Timestamp) -> bool {
        let id = &row.key.id;
        let texts = [&id.name, id.namespace.as_deref().unwrap_or_default(), &id.kind, row.category.as_deref().unwrap_or_default()];
        filter.names(&texts)
            && (!filter.has_fields()
                || (0..self.environments.len()).any(|e| self.cell(at, e).is_some() && !self.is_out(at, e, filter, now)))
    }

    /// Whether the filter shuts a cell out, so that its number is not what is asked for.
    pub(super) fn is_out(&self, row: usize, e: usize, filter: &Filter, now: Timestamp) -> bool {
        let cell = self.environments.get(e).zip(self.cell(row, e));
        filter.has_fields() && cell.is_some_and(|(environment, cell)| !filter.allows_cell(environment, cell, now))
    }

    fn sort(&self, order: &mut [u32], listing: &Listing) {
        let row = |at: u32| &self.rows[at as usize];
        let column = match &listing.by {
            SortBy::Environment(name) => self.environments.iter().position(|e| e.name == *name),
            _ => None,
        };
        let faults_in = |at: u32, e: usize| self.cell(at as usize, e).map_or(0, |c| listing.unit.of(c).faults());
        order.sort_by(|a, b| {
            let (x, y) = (row(*a), row(*b));
            let by_name = || (&x.key.id.namespace, &x.key.id.name, &x.key).cmp(&(&y.key.id.namespace, &y.key.id.name, &y.key));
            let first = match (&listing.by, column) {
                (SortBy::Name, _) => by_name(),
                (SortBy::Severity, _) => y.severity.cmp(&x.severity),
                (SortBy::Environment(_), Some(e)) => Reverse(faults_in(*a, e)).cmp(&Reverse(faults_in(*b, e))),
                (SortBy::Faults | SortBy::Environment(_), _) => y.faults.cmp(&x.faults),
            };
            let first = if listing.reverse { first.reverse() } else { first };
            let rest = || y.faults.cmp(&x.faults).then(y.severity.cmp(&x.severity)).then_with(by_name);
            if first == Ordering::Equal { rest() } else { first }
        });
    }

    /// Sums up each row over its environments, and notes how wide the columns must be.
    fn weigh(&mut self, unit: Unit) {
        let (mut count, mut marks, mut name) = (0, 0, 0);
        let known: Vec<bool> = self.environments.iter().map(|view| view.complete || once_complete(view)).collect();
        for at in 0..self.rows.len() {
            let (mut faults, mut severity, mut category, mut remarkable, mut unknown) = (0, None, None, false, false);
            for (e, known) in known.iter().enumerate() {
                let Some(cell) = self.cell(at, e) else {
                    unknown |= !known;
                    continue;
                };
                unknown |= !known || is_not_evaluated(cell);
                let tally = unit.of(cell);
                faults += tally.faults();
                severity = severity.max(cell.severity);
                category = category.or_else(|| cell.category.clone());
                let refused = refused(&self.environments[e], cell);
                unknown |= refused.is_none();
                remarkable |= refused.is_some_and(|n| n > 0)
                    || cell.mode == Mode::NotReady
                    || cell.ready == Readiness::NotReady
                    || is_out_of_force(cell);
                count = count.max(tally.fail);
                // Errors and refusals share one blank before them; `≠` brings its own.
                let counted = digits(tally.error) + refused_digits(refused);
                marks = marks.max(counted + usize::from(counted > 0) + 2 * usize::from(self.differs(at, e)));
            }
            let row = &mut self.rows[at];
            (row.faults, row.severity, row.category) = (faults, severity, category);
            (row.remarkable, row.unknown) = (remarkable, unknown);
            name = name.max(row.key.id.name.len() + row.key.id.namespace.as_ref().map_or(0, |n| n.len() + 1));
        }
        for environment in &self.environments {
            let tally = unit.of_environment(environment);
            count = count.max(tally.fail).max(environment.summaries.map_or(0, |t| t.fail));
            // Of the totals one mark must fit; refusals have another place where both do not.
            let mark = digits(tally.error).max(refused_digits(refused_in_all(environment)));
            marks = marks.max(mark + usize::from(mark > 0));
        }
        self.widest_count = self.widest_count.max(words::number(count).len());
        self.widest_marks = self.widest_marks.max(marks);
        self.widest_name = name;
    }
}

/// Columns of a mark with number `n`: its shape and digits, or nothing.
fn digits(n: u64) -> usize {
    if n == 0 { 0 } else { mark_number(n).len() + 1 }
}

/// The same of blocked requests, whose number may be unknown.
fn refused_digits(refused: Option<u64>) -> usize {
    refused.map_or(2, digits)
}

/// Blocked requests of a policy; `None` where there may be some that are not seen, as soon as everything else is there.
fn refused(environment: &EnvironmentView, cell: &PolicyCell) -> Option<u64> {
    cell.blocks().or(is_filling(environment).then_some(0))
}

/// The same of all policies of an environment.
pub(super) fn refused_in_all(environment: &EnvironmentView) -> Option<u64> {
    let nothing_blocks = !environment.cells.iter().any(|cell| cell.mode.can_block());
    environment.blocked.or((nothing_blocks || is_filling(environment)).then_some(0))
}

/// Whether first lists are still read.
fn is_filling(environment: &EnvironmentView) -> bool {
    environment.kinds.iter().any(|kind| kind.essential && matches!(kind.sync, Sync::Connecting | Sync::Listing { .. }))
}

/// A number beside a mark, where room is short: `37`, `12k`.
pub(super) fn mark_number(n: u64) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=9_999_999 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}
