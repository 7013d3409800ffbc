//! The refused admissions behind a `⊘37`: asked for with the rows of the same cell, and kept until newer ones come.
//!
//! What lives here: when to ask again, and what came. What does not: how they are listed (`rows`) and drawn (`rows_view`).

use super::rows::{PACE, Target};
use crate::domain::{FindingResult, PolicyKey};
use crate::engine::Failure;
use crate::fleet::query::{BlockedRow, FindingRow};
use crate::fleet::view::FleetView;
use crate::tui::msg::Ask;
use crate::tui::pace::due;
use crate::tui::screens::Cx;
use jiff::Timestamp;
use std::sync::Arc;

/// Whose refusals are wanted, and what they were made from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    key: PolicyKey,
    environment: Arc<str>,
    /// The number that the rows stand behind.
    count: u64,
    content: u64,
}

impl Wanted {
    fn is_of(&self, target: &Target) -> bool {
        self.key == target.key && self.environment == target.environment
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refused {
    wanted: Option<Wanted>,
    pending: Option<(u64, Wanted)>,
    shown: Option<(Wanted, Result<Vec<BlockedRow>, Failure>)>,
    due: Option<Timestamp>,
    last_asked: Option<Timestamp>,
}

impl Refused {
    /// Says whose refusals are wanted; asks if there are any and that is news.
    pub(super) fn want(&mut self, target: Option<&Target>, cx: &mut Cx<'_>) {
        let wanted = target.and_then(|target| wanted(target, cx.fleet));
        if self.wanted != wanted {
            self.wanted = wanted;
            self.ask(cx);
        }
    }

    fn ask(&mut self, cx: &mut Cx<'_>) {
        self.due = None;
        let Some(wanted) = self.wanted.as_ref().filter(|w| w.count > 0) else { return };
        let same_cell = |other: &Wanted| other.key == wanted.key && other.environment == wanted.environment;
        let newest = self.pending.as_ref().map(|(_, w)| w).or(self.shown.as_ref().map(|(w, _)| w));
        if newest == Some(wanted) || self.pending.as_ref().is_some_and(|(_, w)| same_cell(w)) {
            return;
        }
        if let Some(earliest) = self.last_asked.map(|last| last + PACE).filter(|earliest| !due(*earliest, PACE, cx.now)) {
            self.due = Some(earliest);
            return;
        }
        let number = cx.ask(Ask::Blocked { environment: wanted.environment.clone(), policy: wanted.key.clone() });
        self.last_asked = Some(cx.now);
        self.pending = Some((number, wanted.clone()));
    }

    /// Asks what had to wait.
    pub(super) fn clock(&mut self, cx: &mut Cx<'_>) {
        if self.due.is_some_and(|at| due(at, PACE, cx.now)) {
            self.ask(cx);
        }
    }

    /// When to be called again.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.due
    }

    /// Takes an answer if it is the one waited for.
    pub(super) fn answered(&mut self, number: u64, answer: &Result<Vec<BlockedRow>, Failure>, cx: &mut Cx<'_>) -> bool {
        let Some((_, wanted)) = self.pending.take_if(|(n, _)| *n == number) else { return false };
        self.shown = Some((wanted, answer.clone()));
        self.ask(cx);
        true
    }

    /// The number behind which the refusals of `target` stand: what the rows add up to, until they are there what the view says.
    pub(super) fn count(&self, target: &Target) -> u64 {
        match &self.shown {
            Some((of, Ok(rows))) if of.is_of(target) && self.wanted.as_ref().is_none_or(|w| w.is_of(target) && w.count > 0) => {
                rows.iter().map(|row| row.count).sum()
            }
            _ => self.wanted.as_ref().filter(|w| w.is_of(target)).map_or(0, |w| w.count),
        }
    }

    /// The refusals of `target`, newest first; `None` while they are under way.
    pub(super) fn rows(&self, target: &Target) -> Option<Result<&[BlockedRow], &Failure>> {
        let (of, answer) = self.shown.as_ref()?;
        of.is_of(target).then(|| answer.as_ref().map(Vec::as_slice))
    }

    /// One refusal by its place.
    pub(super) fn row(&self, place: usize) -> Option<&BlockedRow> {
        self.shown.as_ref().and_then(|(_, answer)| answer.as_ref().ok()?.get(place))
    }
}

/// What is to be asked about a cell; `None` where events cannot be read.
fn wanted(target: &Target, fleet: &FleetView) -> Option<Wanted> {
    let environment = fleet.environment(&target.environment)?;
    let count = environment.cell(&target.key)?.blocked?;
    Some(Wanted { key: target.key.clone(), environment: target.environment.clone(), count, content: environment.content })
}

/// A refusal in the shape of a finding, for what both have in common: filters, and the window of a single one.
pub(super) fn as_finding(row: &BlockedRow) -> FindingRow {
    FindingRow {
        key: row.key.clone(),
        rule: Arc::default(),
        own_rule: Arc::default(),
        result: FindingResult::Fail,
        severity: None,
        category: Arc::default(),
        message: row.message.clone(),
        resource: row.resource.clone(),
        owner: None,
        owner_guessed: false,
        evaluated_at: row.at,
        exception: Arc::default(),
        stale: false,
        foreign: false,
        written_by: None,
        idle: None,
        properties: Arc::default(),
        resources: u32::try_from(row.count).unwrap_or(u32::MAX),
        report: None,
    }
}
