//! The rows behind one number: asked for, kept by identity, grouped by namespace.
//!
//! What lives here: when to ask again and what the answer means; the lines to list; which one is selected. What does not: drawing.

use super::board::Unit;
use super::refused::{Refused, as_finding};
use crate::domain::{FindingResult, PolicyKey, ResourceRef};
use crate::engine::Failure;
use crate::fleet::query::{BlockedRow, FindingQuery, FindingRow};
use crate::fleet::view::EnvironmentView;
use crate::tui::filter::Filter;
use crate::tui::msg::Ask;
use crate::tui::pace::due;
use crate::tui::screens::Cx;
use crate::tui::words;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Rows are asked for again at most this often.
pub(super) const PACE: SignedDuration = SignedDuration::from_millis(100);
/// Rows of the cell before stay on screen this long while new ones are under way: shorter than anybody could misread, long enough not to flash.
const LINGER: SignedDuration = SignedDuration::from_millis(250);
/// Beyond this many rows, namespaces start folded.
const FOLD_ABOVE: usize = 60;

/// Which rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) key: PolicyKey,
    pub(super) environment: Arc<str>,
    pub(super) unit: Unit,
    pub(super) faults_only: bool,
    /// Only what a gate counts.
    pub(super) counted: bool,
}

impl Target {
    pub(super) fn query(&self, namespace: Option<String>) -> FindingQuery {
        FindingQuery {
            policy: Some(self.key.clone()),
            namespace,
            results: if self.faults_only { vec![FindingResult::Fail, FindingResult::Error] } else { Vec::new() },
            by_owner: self.unit == Unit::Owners,
            with_stale: false,
            with_foreign: false,
            with_report: false,
            counted: self.counted,
        }
    }
}

/// Identity of a finding within a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RowId {
    rule: Arc<str>,
    resource: Arc<ResourceRef>,
}

impl RowId {
    pub(super) fn of(row: &FindingRow) -> Self {
        Self { rule: row.rule.clone(), resource: row.resource.clone() }
    }
}

/// What a line of the list stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LineId {
    Namespace(String),
    Finding(RowId),
    Refusals,
    Refusal(Arc<ResourceRef>, Arc<str>),
}

/// One line of the list.
#[derive(Debug, Clone)]
pub(super) enum Line {
    /// A namespace, with how many rows it has.
    Namespace { name: String, rows: usize, folded: bool },
    /// A finding, by its place in the answer.
    Finding(usize),
    /// All refused admissions.
    Refusals { folded: bool },
    /// A refused admission, by its place in its answer.
    Refusal(usize),
}

#[derive(Debug)]
struct Pending {
    number: u64,
    target: Target,
    content: u64,
    since: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rows {
    wanted: Option<(Target, u64)>,
    pending: Option<Pending>,
    due: Option<Timestamp>,
    last_asked: Option<Timestamp>,
    /// What is on screen: the target it belongs to, and the answer.
    shown: Option<(Target, u64, Result<Vec<FindingRow>, Failure>)>,
    pub(super) lines: Vec<Line>,
    /// Groups that are folded or unfolded against the rule.
    toggled: HashSet<LineId>,
    refused: Refused,
    pub(super) filter: Filter,
    /// The filter of the matrix, as far as it asks about rows.
    outer: Filter,
    pub(super) cursor: Option<LineId>,
    pinned: bool,
    pub(super) place: usize,
    pub(super) top: usize,
    /// Rows that pass the filters, by their places in the answer.
    passing: Vec<usize>,
    /// The same for refused admissions.
    passing_refusals: Vec<usize>,
}

impl Rows {
    /// Says which rows are wanted and as of which content; asks if that is news.
    pub(super) fn want(&mut self, wanted: Option<(Target, u64)>, cx: &mut Cx<'_>) {
        self.refused.want(wanted.as_ref().map(|(target, _)| target), cx);
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        self.ask(cx);
    }

    fn ask(&mut self, cx: &mut Cx<'_>) {
        self.due = None;
        let Some((target, content)) = &self.wanted else { return };
        let newest = self.pending.as_ref().map(|p| (&p.target, p.content)).or(self.shown.as_ref().map(|(t, c, _)| (t, *c)));
        if newest == Some((target, *content)) {
            return;
        }
        // One question for the same rows at a time: on a busy fleet the next would only push the last one aside, for ever.
        if self.pending.as_ref().is_some_and(|p| p.target == *target) {
            return;
        }
        if let Some(earliest) = self.last_asked.map(|last| last + PACE).filter(|earliest| !due(*earliest, PACE, cx.now)) {
            self.due = Some(earliest);
            return;
        }
        let ask = Ask::Findings { environment: target.environment.clone(), query: target.query(None) };
        let pending = Pending { number: cx.ask(ask), target: target.clone(), content: *content, since: cx.now };
        self.last_asked = Some(cx.now);
        self.pending = Some(pending);
    }

    /// Asks what had to wait.
    pub(super) fn clock(&mut self, cx: &mut Cx<'_>) {
        self.refused.clock(cx);
        if self.due.is_some_and(|at| due(at, PACE, cx.now)) {
            self.ask(cx);
        }
    }

    /// When to be called again.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let lingering =
            self.pending.as_ref().filter(|p| self.shown.as_ref().is_some_and(|(t, ..)| *t != p.target)).map(|p| p.since + LINGER);
        self.due.into_iter().chain(lingering).chain(self.refused.wake()).min()
    }

    /// Takes an answer if it is the one waited for.
    pub(super) fn answered(&mut self, number: u64, answer: &Result<Vec<FindingRow>, Failure>, cx: &mut Cx<'_>) -> bool {
        let Some(pending) = self.pending.take_if(|p| p.number == number) else { return false };
        if self.shown.as_ref().is_none_or(|(target, ..)| *target != pending.target) {
            self.toggled.clear();
            (self.cursor, self.pinned) = (None, false);
            (self.place, self.top) = (0, 0);
        }
        let mut answer = answer.clone();
        if let Ok(rows) = &mut answer {
            // Grouped by namespace; within one, as the engine ordered them: worst first.
            rows.sort_by(|a, b| a.resource.namespace.cmp(&b.resource.namespace));
        }
        self.shown = Some((pending.target, pending.content, answer));
        self.sift(cx);
        self.ask(cx);
        true
    }

    /// Takes the refused admissions, if they are what was waited for.
    pub(super) fn refusals_answered(&mut self, number: u64, answer: &Result<Vec<BlockedRow>, Failure>, cx: &mut Cx<'_>) {
        if self.refused.answered(number, answer, cx) {
            self.sift(cx);
        }
    }

    /// The refused admissions of the rows on screen: how many, and how many lines of them pass the filters.
    pub(super) fn refusals(&self) -> (u64, usize, Option<&Failure>) {
        let Some((target, ..)) = &self.shown else { return (0, 0, None) };
        let failure = self.refused.rows(target).and_then(Result::err);
        (self.refused.count(target), self.passing_refusals.len(), failure)
    }

    /// How many lines of refused admissions there are, whatever the filters.
    pub(super) fn refusal_rows(&self) -> usize {
        let rows = self.shown.as_ref().and_then(|(target, ..)| self.refused.rows(target));
        rows.and_then(Result::ok).map_or(0, <[BlockedRow]>::len)
    }

    /// A refused admission by its place in the answer.
    pub(super) fn refusal(&self, place: usize) -> Option<&BlockedRow> {
        self.refused.row(place)
    }

    /// The selected refused admission.
    pub(super) fn selected_refusal(&self) -> Option<&BlockedRow> {
        match self.lines.get(self.place)? {
            Line::Refusal(i) => self.refusal(*i),
            Line::Namespace { .. } | Line::Finding(_) | Line::Refusals { .. } => None,
        }
    }

    /// What is on screen at `now`: the target, and its rows or what went wrong; `None` while there is nothing to show yet.
    pub(super) fn shown(&self, now: Timestamp) -> Option<(&Target, &Result<Vec<FindingRow>, Failure>)> {
        let (target, _, answer) = self.shown.as_ref()?;
        let (wanted, _) = self.wanted.as_ref()?;
        let lingers = self.pending.as_ref().is_some_and(|p| !due(p.since + LINGER, LINGER, now)) || self.due.is_some();
        (target == wanted || lingers).then_some((target, answer))
    }

    /// The wanted target.
    pub(super) fn target(&self) -> Option<&Target> {
        self.wanted.as_ref().map(|(target, _)| target)
    }

    /// The rows, if they are there.
    pub(super) fn rows(&self) -> &[FindingRow] {
        match &self.shown {
            Some((_, _, Ok(rows))) => rows,
            _ => &[],
        }
    }

    /// How many rows pass the filter.
    pub(super) fn matching(&self) -> usize {
        self.passing.len()
    }

    /// The filter that leaves nothing of rows that are there, and whether it was typed here; the one typed here is named first.
    pub(super) fn hidden_by(&self) -> Option<(&Filter, bool)> {
        let nothing = self.passing.is_empty() && self.passing_refusals.is_empty() && !self.rows().is_empty();
        nothing.then_some(if self.filter.is_empty() { (&self.outer, false) } else { (&self.filter, true) })
    }

    /// Takes another filter.
    pub(super) fn set_filter(&mut self, filter: Filter, cx: &Cx<'_>) {
        self.filter = filter;
        self.sift(cx);
    }

    /// Takes the filter of the matrix, if it is another.
    pub(super) fn set_outer(&mut self, filter: &Filter, cx: &Cx<'_>) {
        if self.outer.source() != filter.source() {
            self.outer = filter.clone();
            self.sift(cx);
        }
    }

    /// Finds the rows that pass both filters, and lists them.
    fn sift(&mut self, cx: &Cx<'_>) {
        let environment = self.shown.as_ref().and_then(|(t, ..)| cx.fleet.environment(&t.environment));
        self.passing = match (environment, &self.shown) {
            (Some(environment), Some((_, _, Ok(rows)))) => {
                (0..rows.len()).filter(|i| self.passes(environment, &rows[*i], cx.now)).collect()
            }
            (None, Some((_, _, Ok(rows)))) => (0..rows.len()).collect(),
            _ => Vec::new(),
        };
        let refusals = self.shown.as_ref().and_then(|(target, ..)| self.refused.rows(target)).and_then(Result::ok).unwrap_or_default();
        self.passing_refusals = (0..refusals.len())
            .filter(|i| environment.is_none_or(|environment| self.passes(environment, &as_finding(&refusals[*i]), cx.now)))
            .collect();
        self.list();
    }

    fn passes(&self, environment: &EnvironmentView, row: &FindingRow, now: Timestamp) -> bool {
        (self.filter.is_empty() || self.filter.allows_row(environment, row, now))
            && (!self.outer.has_fields() || self.outer.allows_row_of_cell(environment, row, now))
    }

    /// A person is among the rows now: from here on the cursor stays with its row. Before, it stays on the first one while rows come in.
    pub(super) fn pin(&mut self) {
        self.pinned = true;
    }

    /// Works out the lines, and where the selected one is now.
    fn list(&mut self) {
        if !self.pinned {
            (self.cursor, self.place) = (None, 0);
        }
        let rows = match &self.shown {
            Some((_, _, Ok(rows))) => rows.as_slice(),
            _ => &[],
        };
        let passing = &self.passing;
        let folds = passing.len() > FOLD_ABOVE;
        let mut lines = Vec::with_capacity(passing.len() + 8);
        for group in passing.chunk_by(|a, b| rows[*a].resource.namespace == rows[*b].resource.namespace) {
            let name = &rows[group[0]].resource.namespace;
            let folded = folds != self.toggled.contains(&LineId::Namespace(name.clone()));
            lines.push(Line::Namespace { name: name.clone(), rows: group.len(), folded });
            if !folded {
                lines.extend(group.iter().copied().map(Line::Finding));
            }
        }
        if self.shown.as_ref().is_some_and(|(target, ..)| self.refused.count(target) > 0) {
            // Folded under findings; where there are none, they are what one came for.
            let folded = rows.is_empty() == self.toggled.contains(&LineId::Refusals);
            lines.push(Line::Refusals { folded });
            if !folded {
                lines.extend(self.passing_refusals.iter().copied().map(Line::Refusal));
            }
        }
        let place = self.cursor.as_ref().and_then(|id| lines.iter().position(|line| self.is(rows, line, id)));
        // The first finding rather than the heading above it: that is what enter should open.
        let start = if self.cursor.is_none() && matches!(lines.get(1), Some(Line::Finding(_) | Line::Refusal(_))) { 1 } else { self.place };
        self.lines = lines;
        self.place = place.unwrap_or(start).min(self.lines.len().saturating_sub(1));
        self.cursor = self.id(self.place);
    }

    fn is(&self, rows: &[FindingRow], line: &Line, id: &LineId) -> bool {
        match (line, id) {
            (Line::Namespace { name, .. }, LineId::Namespace(wanted)) => name == wanted,
            (Line::Finding(i), LineId::Finding(wanted)) => {
                rows.get(*i).is_some_and(|row| row.rule == wanted.rule && row.resource == wanted.resource)
            }
            (Line::Refusals { .. }, LineId::Refusals) => true,
            (Line::Refusal(i), LineId::Refusal(resource, message)) => {
                self.refusal(*i).is_some_and(|row| row.resource == *resource && row.message == *message)
            }
            _ => false,
        }
    }

    fn id(&self, place: usize) -> Option<LineId> {
        match self.lines.get(place)? {
            Line::Namespace { name, .. } => Some(LineId::Namespace(name.clone())),
            Line::Finding(i) => self.rows().get(*i).map(|row| LineId::Finding(RowId::of(row))),
            Line::Refusals { .. } => Some(LineId::Refusals),
            Line::Refusal(i) => self.refusal(*i).map(|row| LineId::Refusal(row.resource.clone(), row.message.clone())),
        }
    }

    /// Selects a line.
    pub(super) fn select(&mut self, place: usize) {
        self.pinned = true;
        self.place = place.min(self.lines.len().saturating_sub(1));
        self.cursor = self.id(self.place);
    }

    /// The selected finding.
    pub(super) fn selected(&self) -> Option<&FindingRow> {
        match self.lines.get(self.place)? {
            Line::Finding(i) => self.rows().get(*i),
            Line::Namespace { .. } | Line::Refusals { .. } | Line::Refusal(_) => None,
        }
    }

    /// The finding of an identity, if it is still there.
    pub(super) fn find(&self, id: &RowId) -> Option<&FindingRow> {
        self.rows().iter().find(|row| row.rule == id.rule && row.resource == id.resource)
    }

    /// Folds or unfolds the group of the selected line; `true` if there was one to fold.
    pub(super) fn fold(&mut self) -> bool {
        let Some(group) = self.group() else { return false };
        self.pinned = true;
        if !self.toggled.remove(&group) {
            self.toggled.insert(group.clone());
        }
        self.cursor = Some(group);
        self.list();
        true
    }

    /// The same, but only if the selected line is that of a group.
    pub(super) fn fold_if_group(&mut self) -> bool {
        matches!(self.lines.get(self.place), Some(Line::Namespace { .. } | Line::Refusals { .. })) && self.fold()
    }

    fn group(&self) -> Option<LineId> {
        match self.lines.get(self.place)? {
            Line::Namespace { name, .. } => Some(LineId::Namespace(name.clone())),
            Line::Finding(i) => self.rows().get(*i).map(|row| LineId::Namespace(row.resource.namespace.clone())),
            Line::Refusals { .. } | Line::Refusal(_) => Some(LineId::Refusals),
        }
    }
}

/// `3 failing owners in 2 namespaces`, or `26 failures of 13 owners in 7 namespaces`: what stands below; the number is that of the rows.
pub(super) fn headline(target: &Target, rows: &[FindingRow], matching: usize) -> String {
    let of = |result| rows.iter().filter(|r| r.result == result).count() as u64;
    let (one, many) = match target.unit {
        Unit::Owners => ("owner", "owners"),
        Unit::Raw => ("resource", "resources"),
    };
    let mut parts = Vec::new();
    let (fail, error) = (of(FindingResult::Fail), of(FindingResult::Error));
    // One of them may fail several rules: then there are more rows than owners, and the number is that of the rows.
    let failing: HashSet<_> = rows.iter().filter(|r| r.result == FindingResult::Fail).map(|r| &r.resource).collect();
    let distinct = failing.len() as u64;
    if fail > distinct {
        parts.push(format!("{} failures of {}", words::number(fail), words::counted(distinct, one, many)));
    } else if fail > 0 {
        parts.push(words::counted(fail, &format!("failing {one}"), &format!("failing {many}")));
    }
    if error > 0 {
        parts.push(words::counted(error, "error", "errors"));
    }
    let reported = [
        (FindingResult::Warn, "warning", "reported as warnings"),
        (FindingResult::Skip, "skipped", "reported as skipped"),
        (FindingResult::Pass, "passing", "reported as passing"),
    ];
    for (result, word, as_word) in reported.into_iter().filter(|(result, ..)| of(*result) > 0) {
        // What a gate counts are violations, whatever reports call them.
        parts.push(if target.counted {
            format!("{} {as_word}", words::counted(of(result), one, many))
        } else {
            format!("{} {word}", words::number(of(result)))
        });
    }
    if parts.is_empty() {
        return if target.faults_only { format!("no failing {many}") } else { "no results".to_owned() };
    }
    let namespaces =
        rows.chunk_by(|a, b| a.resource.namespace == b.resource.namespace).filter(|g| !g[0].resource.namespace.is_empty()).count() as u64;
    let mut out = parts.join(", ");
    if namespaces > 0 {
        let _ = write!(out, " in {}", words::counted(namespaces, "namespace", "namespaces"));
    }
    if matching < rows.len() {
        let _ = write!(out, ", {} shown by the filter", words::number(matching as u64));
    }
    out
}
