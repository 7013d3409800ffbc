//! What is news in one environment: its views, one after the other, become notes.
//!
//! Pure: views and times come in, news goes out. It remembers what it has told. Whenever it cannot be sure to have seen everything (the link
//! was lost, a list is read again, the machine slept, the clock was set, a note could not be handed on) it begins anew: the intervals that
//! were watched end, and the next look is a first one.

use crate::domain::history::{EnvironmentKey, Interval, News, PolicyState, Watched};
use crate::domain::{Force, Link, Mode, PolicyKey, Tally};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use crate::kinds::{Family, KindId};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Numbers of one policy are told at most this often.
const TALLY: Duration = Duration::from_secs(15);
/// What is watched is told this often.
const BEAT: Duration = Duration::from_secs(10);
/// Refused admissions are asked for at most this often,
const REFUSALS: Duration = Duration::from_secs(2);
/// and this often even if their number is the same: some may have come while others ran out.
const AGAIN: Duration = Duration::from_secs(60);
/// Policies that are known from results alone and recorded. Users who write reports name as many as they like.
const BARE: usize = 1_000;
/// Looks that are further apart have missed something.
const LONGEST: Duration = Duration::from_secs(30);
/// The clock was set, or the machine slept, if it moved so much more or less than time passed.
const DRIFT: SignedDuration = SignedDuration::from_secs(5);

/// The two clocks at a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The clock on the wall.
    pub(super) wall: Timestamp,
    /// Time since the recorder began; it never jumps.
    pub(super) run: Duration,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What to write down, each with its time.
    pub(super) news: Vec<(Timestamp, News)>,
    /// Ask for the refused admissions.
    pub(super) refusals: bool,
    /// Ask for the exceptions.
    pub(super) exceptions: bool,
}

/// What has been told of a policy.
#[derive(Debug, Clone)]
struct Told {
    state: PolicyState,
    tally: Option<Tally>,
    at: Duration,
    /// The worst since then, with its time.
    peak: Option<(Timestamp, Tally)>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Watcher {
    key: Option<Arc<EnvironmentKey>>,
    /// Everything was there once since the link came up.
    settled: bool,
    last: Option<Moment>,
    generation: u64,
    told: HashMap<PolicyKey, Told>,
    watching: [Option<Interval>; Watched::ALL.len()],
    beat: Option<Duration>,
    blocked: Option<(u64, Duration)>,
    exceptions: Option<(u64, u64, Duration)>,
    /// Only some namespaces are looked at.
    in_part: bool,
    /// How long each family has been watched altogether.
    watched: [Duration; Watched::ALL.len()],
}

impl Watcher {
    /// The environment, once its cluster is known.
    pub(super) fn key(&self) -> Option<&Arc<EnvironmentKey>> {
        self.key.as_ref()
    }

    /// How long each family has been watched so far.
    pub(super) fn watched(&self) -> impl Iterator<Item = (Watched, Duration)> {
        Watched::ALL.into_iter().zip(self.watched)
    }

    /// Something may have been missed: begin anew.
    pub(super) fn lost(&mut self) {
        *self = Self { key: self.key.take(), watched: self.watched, settled: self.settled, ..Self::default() };
    }

    /// Looks at a view. The same one may be looked at again: time has passed.
    pub(super) fn look(&mut self, view: &EnvironmentView, now: Moment) -> Found {
        let mut found = Found::default();
        self.notice_leaps(now, &mut found);
        let Some(uid) = &view.cluster_uid else { return found };
        if self.key.as_ref().is_none_or(|key| *key.cluster_uid != **uid) {
            // What was told just now would be told of the wrong one.
            found.news.clear();
            self.lost();
            self.settled = false;
            self.key = Some(Arc::new(EnvironmentKey { name: view.name.to_string(), cluster_uid: uid.to_string() }));
        }
        self.settled |= view.link == Link::Live;
        self.in_part = !view.namespaces.is_empty();
        let step = self.last.map_or(Duration::ZERO, |last| now.run.saturating_sub(last.run));
        self.last = Some(now);
        let live = if self.settled && view.link.is_up() { live(view) } else { [false; Watched::ALL.len()] };
        let [policies, reports, events, exceptions] = live;
        let fresh = self.watching[0].is_none();
        if policies {
            self.policies(view, fresh, now, &mut found);
        }
        // What is stale hangs on the policies.
        if policies && reports {
            self.tallies(view, now, &mut found);
        }
        self.generation = view.generation;
        found.refusals = events && self.asks_for_refusals(view, now);
        found.exceptions = exceptions && self.asks_for_exceptions(view, now);
        self.beats([policies, policies && reports, events && speaks(view), exceptions], step, now, &mut found);
        found
    }

    /// After a leap of time nobody knows what was missed.
    fn notice_leaps(&mut self, now: Moment, found: &mut Found) {
        let Some(last) = self.last else { return };
        let run = now.run.saturating_sub(last.run);
        let wall = now.wall.duration_since(last.wall);
        let drift = wall.checked_sub(SignedDuration::try_from(run).unwrap_or(SignedDuration::MAX)).unwrap_or(SignedDuration::MAX);
        if run > LONGEST || drift.abs() > DRIFT {
            let open: Vec<_> = self.open().collect();
            if !open.is_empty() {
                found.news.push((last.wall, News::Ended(open)));
            }
            self.lost();
        }
    }

    fn open(&self) -> impl Iterator<Item = (Watched, Interval)> {
        Watched::ALL.into_iter().zip(self.watching).filter_map(|(family, interval)| Some((self.noted(family), interval?)))
    }

    /// What is noted of a family: what is seen of some namespaces is no evidence for all.
    fn noted(&self, family: Watched) -> Watched {
        if self.in_part { family.in_part() } else { family }
    }

    /// Modes, readiness and revisions that are other than was told.
    fn policies(&mut self, view: &EnvironmentView, fresh: bool, now: Moment, found: &mut Found) {
        if !fresh && view.generation == self.generation {
            return;
        }
        let mut states: Vec<(PolicyKey, PolicyState)> = Vec::new();
        let mut bare = self.told.values().filter(|told| told.state.mode == Mode::Absent).count();
        let mut left_out = 0;
        for cell in view.cells.iter() {
            let state = state(cell);
            if state.mode == Mode::Absent && !self.told.contains_key(&cell.key) {
                if bare >= BARE {
                    left_out += 1;
                    continue;
                }
                bare += 1;
            }
            match self.told.get_mut(&cell.key) {
                Some(told) if told.state == state => {
                    if fresh && state.mode != Mode::Absent {
                        states.push((cell.key.clone(), state));
                    }
                }
                told => {
                    let was_absent = told.as_ref().is_none_or(|told| told.state.mode == Mode::Absent);
                    if !(was_absent && state.mode == Mode::Absent) {
                        states.push((cell.key.clone(), state.clone()));
                    }
                    match told {
                        Some(told) => told.state = state,
                        None => drop(self.told.insert(cell.key.clone(), Told { state, tally: None, at: now.run, peak: None })),
                    }
                }
            }
        }
        if self.told.len() + left_out > view.cells.len() {
            self.gone(view, now, &mut states, found);
        }
        if fresh || !states.is_empty() {
            found.news.push((now.wall, News::Policies { states, whole: fresh, seen: !fresh }));
        }
    }

    /// Policies that have no cell any more: neither they nor findings of theirs exist.
    fn gone(&mut self, view: &EnvironmentView, now: Moment, states: &mut Vec<(PolicyKey, PolicyState)>, found: &mut Found) {
        let mut tallies = Vec::new();
        self.told.retain(|key, told| {
            // Cells are sorted by key.
            if view.cell(key).is_some() {
                return true;
            }
            if told.state.mode != Mode::Absent {
                states.push((key.clone(), PolicyState::ABSENT));
            }
            if told.tally.is_some_and(|tally| tally.total() > 0) {
                tallies.push((key.clone(), Tally::default()));
            }
            false
        });
        if !tallies.is_empty() {
            found.news.push((now.wall, News::Tallies(tallies)));
        }
    }

    /// Numbers by workload, as gates count, that are other than was told, each policy's every so often; the worst in between is told, too.
    fn tallies(&mut self, view: &EnvironmentView, now: Moment, found: &mut Found) {
        let mut peaks: Vec<(Timestamp, News)> = Vec::new();
        let mut tallies = Vec::new();
        for cell in view.cells.iter() {
            // The numbers of a policy that reaches further are not those that are seen.
            if self.in_part && cell.key.id.namespace.is_none() {
                continue;
            }
            let Some(told) = self.told.get_mut(&cell.key) else { continue };
            let tally = cell.by_workload();
            let Some(before) = told.tally else {
                told.tally = Some(tally);
                told.at = now.run;
                tallies.push((cell.key.clone(), tally));
                continue;
            };
            if told.peak.is_none_or(|(_, peak)| peak.faults() < tally.faults()) && tally.faults() > before.faults() {
                told.peak = Some((now.wall, tally));
            }
            if now.run.saturating_sub(told.at) < TALLY {
                continue;
            }
            match told.peak.take().filter(|(_, peak)| *peak != tally) {
                Some((at, peak)) => peaks.push((at, News::Tallies(vec![(cell.key.clone(), peak)]))),
                None if before == tally => continue,
                None => {}
            }
            told.tally = Some(tally);
            told.at = now.run;
            tallies.push((cell.key.clone(), tally));
        }
        found.news.append(&mut peaks);
        if !tallies.is_empty() {
            found.news.push((now.wall, News::Tallies(tallies)));
        }
    }

    fn asks_for_refusals(&mut self, view: &EnvironmentView, now: Moment) -> bool {
        let Some(blocked) = view.blocks_held else { return false };
        let due = match self.blocked {
            None => true,
            Some((before, at)) => {
                let since = now.run.saturating_sub(at);
                (before != blocked && since >= REFUSALS) || (blocked > 0 && since >= AGAIN)
            }
        };
        if due {
            self.blocked = Some((blocked, now.run));
        }
        due
    }

    fn asks_for_exceptions(&mut self, view: &EnvironmentView, now: Moment) -> bool {
        let due = self.exceptions.is_none_or(|(count, content, at)| {
            count != view.exceptions || (content != view.content && now.run.saturating_sub(at) >= AGAIN)
        });
        if due {
            self.exceptions = Some((view.exceptions, view.content, now.run));
        }
        due
    }

    /// What is watched: told when it begins, when it ends, and every so often.
    fn beats(&mut self, live: [bool; Watched::ALL.len()], step: Duration, now: Moment, found: &mut Found) {
        let mut turned = false;
        let mut ended = Vec::new();
        for (index, family) in Watched::ALL.into_iter().enumerate() {
            match (self.watching[index], live[index]) {
                (Some(interval), true) => {
                    self.watching[index] = Some(Interval { to: now.wall, ..interval });
                    self.watched[index] += step;
                }
                (None, true) => {
                    self.watching[index] = Some(Interval { from: now.wall, to: now.wall });
                    turned = true;
                }
                (Some(interval), false) => {
                    self.watching[index] = None;
                    ended.push((self.noted(family), interval));
                    turned = true;
                }
                (None, false) => {}
            }
        }
        if !ended.is_empty() {
            found.news.push((now.wall, News::Ended(ended)));
        }
        if turned || self.beat.is_none_or(|beat| now.run.saturating_sub(beat) >= BEAT) {
            let open: Vec<_> = self.open().collect();
            if !open.is_empty() {
                self.beat = Some(now.run);
                found.news.push((now.wall, News::Watched(open)));
            }
        }
    }

    /// The end: what was watched until now.
    pub(super) fn close(&mut self) -> Option<News> {
        let open: Vec<_> = self.open().collect();
        self.lost();
        (!open.is_empty()).then_some(News::Ended(open))
    }
}

/// What a cell says a policy is. A policy of which only results are left does not exist.
fn state(cell: &PolicyCell) -> PolicyState {
    match &cell.revision {
        None => PolicyState::ABSENT,
        Some(revision) => PolicyState {
            mode: cell.mode,
            ready: match cell.in_force.state {
                Force::Yes => Some(true),
                Force::No | Force::Partly => Some(false),
                Force::Unknown => None,
            },
            revision: Some(revision.clone()),
            made: cell.made,
        },
    }
}

/// Whether a blocked request would make an event: without that nothing is seen, however closely it is watched.
fn speaks(view: &EnvironmentView) -> bool {
    view.makes_events == Some(true) && view.answers.state == Force::Yes
}

/// Of which families nothing can be missing, in the order of [`Watched::ALL`].
fn live(view: &EnvironmentView) -> [bool; Watched::ALL.len()] {
    let mut live = [true; Watched::ALL.len()];
    for kind in view.kinds.iter().filter(|kind| !kind.is_whole()) {
        let family = KindId::find(kind.group, kind.kind).map(|id| id.kind().family);
        let index = match family {
            Some(Family::Policy) => 0,
            Some(Family::Report) => 1,
            Some(Family::Event) => 2,
            Some(Family::Exception) => 3,
            Some(Family::Namespace | Family::Owner | Family::Webhooks | Family::Native | Family::Binding) | None => continue,
        };
        live[index] = false;
    }
    live
}

#[cfg(test)]
mod tests;
