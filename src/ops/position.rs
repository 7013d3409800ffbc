//! Position: which revision of a policy every environment has, and which of them may go where.
//!
//! What lives here: the one answer to "may this revision go from A to B" as far as the pipeline decides it: where it starts, what it replaces, and in what
//! earlier environments differ. What does not: the evidence of the step that it leaves ([`super::gate`]).
//!
//! A position is of a revision, not of a name. The revision that travels is the one of the first environment that has the policy: it has passed an
//! environment where that one is at its last step, and what lies further with another revision is what it replaces.

use super::road::{Road, RoadStep, Standing, mode_of, serves};
use crate::domain::{Mode, Pending, PolicyId, Revision};
use crate::fleet::view::{EnvironmentView, FleetView};
use std::fmt;
use std::sync::Arc;

/// What an environment has of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// What it does there.
    pub mode: Mode,
    /// What it says there; `None` where its manifest could not be read.
    pub revision: Option<Revision>,
}

/// How an environment differs from what a revision needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The environment.
    pub environment: Arc<str>,
    /// What it has instead.
    pub what: Differs,
}

/// See [`Drift`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differs {
    /// It cannot be read now, so what it has is unknown.
    Unread(String),
    /// Something is committed for it that is not applied yet.
    Pending(Pending),
    /// What its repository makes of the policy cannot be told, and why.
    Repository(String),
    /// Whether it is the same revision, or at least in the mode of its last step, is unknown.
    Unclear(There),
    /// The policy is not there.
    Missing,
    /// It has another revision.
    Other {
        /// What is there.
        there: There,
        /// Where that revision would go next.
        next: Arc<str>,
    },
    /// It has the same revision in a weaker mode than its last step.
    Weaker {
        /// What it does.
        mode: Mode,
        /// What the last step asks for.
        wanted: Mode,
    },
}

impl Differs {
    /// Whether it may be no difference at all.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unread(_) | Self::Unclear(_) | Self::Repository(_))
    }
}

/// A revision on its way: from where it is to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Travel {
    /// Where it is.
    pub from: Standing,
    /// Where it would go. At the end of the pipeline, where it is.
    pub to: RoadStep,
    /// Which revision; `None` where it is nowhere, or its manifest could not be read.
    pub revision: Option<Revision>,
    /// The revision that it would replace where it goes.
    pub replaces: Option<There>,
    /// How environments that it should have passed differ from it.
    pub drift: Vec<Drift>,
    /// Later environments that have the policy although it has not come there yet.
    pub ahead: Vec<(Arc<str>, There)>,
    /// There is no further step; the question is only whether the earlier environments agree.
    pub ended: bool,
}

impl Travel {
    /// Whether it only changes its mode in the environment where it is.
    pub fn stays(&self) -> bool {
        self.place() == Some(self.to.environment)
    }

    /// The environment it leaves, by its place in the pipeline.
    pub fn place(&self) -> Option<usize> {
        match self.from {
            Standing::Nowhere => None,
            Standing::On(step) => Some(step.environment),
            Standing::Beside { environment, .. } => Some(environment),
        }
    }
}

/// Why there is no step to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoStep {
    /// It is at the last step of the pipeline, and no earlier environment differs.
    Ended,
    /// What was asked for is no step, or cannot be decided so, in words.
    Invalid(String),
}

impl fmt::Display for NoStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it is fully rolled out: there is no further step"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl From<NoStep> for String {
    fn from(why: NoStep) -> Self {
        why.to_string()
    }
}

/// What one environment shows.
struct Sight {
    there: Option<There>,
    /// Why it cannot be read now, if so. What was seen before may be out of date.
    unread: Option<String>,
}

impl Sight {
    fn of(view: Option<&Arc<EnvironmentView>>, policy: &PolicyId) -> Self {
        let Some(view) = view else { return Self { there: None, unread: Some("it is not watched".to_owned()) } };
        let cell = view.cell_of(policy).filter(|cell| cell.mode != Mode::Absent);
        let there = cell.map(|cell| There { mode: cell.mode, revision: cell.revision.clone() });
        Self { there, unread: unread(view, policy) }
    }
}

/// Why an environment's policies of that kind are not all seen, if so: one that is not there may only not have been read yet.
pub fn unread(view: &EnvironmentView, policy: &PolicyId) -> Option<String> {
    if !view.link.is_up() {
        let why = view.link.why().map(|why| format!(": {why}")).unwrap_or_default();
        return Some(format!("it is {}{why}", view.link.as_str()));
    }
    match view.kinds.iter().find(|kind| kind.kind == policy.kind && kind.group == policy.group) {
        Some(kind) => kind.lack().map(|lack| format!("{} is {lack}", kind.kind)),
        None => Some(format!("{} is not read", policy.kind)),
    }
}

impl Road {
    /// The way of a policy to the step that `to` names (`ENV`, `ENV:MODE`). Without one: the next step of the revision that travels, which is the one of the
    /// first environment that has the policy.
    ///
    /// `--to ENV` is the first step of ENV that the revision before it does not hold there. A step that is not the first of its environment is reached by
    /// what is in that environment already.
    ///
    /// # Errors
    /// Why there is no such step, in words.
    pub fn travel(&self, policy: &PolicyId, fleet: &FleetView, to: Option<&str>) -> Result<Travel, NoStep> {
        let environments = self.environments().iter();
        let sights = environments.map(|environment| Sight::of(fleet.environment(&environment.name), policy)).collect();
        let line = Line { road: self, sights };
        match to {
            None => line.next(),
            Some(to) => line.toward(to).map_err(NoStep::Invalid),
        }
    }
}

/// A policy along the pipeline.
struct Line<'a> {
    road: &'a Road,
    sights: Vec<Sight>,
}

impl Line<'_> {
    fn there(&self, place: usize) -> Option<&There> {
        self.sights.get(place)?.there.as_ref()
    }

    /// Where the policy of an environment is.
    fn standing(&self, place: usize) -> Standing {
        let Some(there) = self.there(place) else { return Standing::Nowhere };
        let steps = self.road.environments().get(place).map_or(&[][..], |environment| &environment.steps);
        match steps.iter().rposition(|step| serves(step.mode, there.mode)) {
            Some(step) => Standing::On(RoadStep { environment: place, step }),
            None => Standing::Beside { environment: place, mode: there.mode },
        }
    }

    /// Whether both environments have the same revision; one that is not known may be.
    fn same(&self, one: usize, other: usize) -> bool {
        match (self.there(one), self.there(other)) {
            (Some(one), Some(other)) => one.revision.is_none() || other.revision.is_none() || one.revision == other.revision,
            _ => false,
        }
    }

    /// The mode of an environment's last step.
    fn wanted(&self, place: usize) -> Mode {
        let last = self.road.environments().get(place).and_then(|environment| environment.steps.last());
        last.map_or(Mode::Audit, |step| mode_of(step.mode))
    }

    /// Whether the policy is at least at the last step of an environment; what it does there may be unknown.
    fn has_passed(&self, place: usize) -> bool {
        self.there(place).is_some_and(|there| there.mode == Mode::Unknown || strength(there.mode) >= strength(self.wanted(place)))
    }

    fn next(&self) -> Result<Travel, NoStep> {
        let places = self.sights.len();
        let Some(mut at) = (0..places).find(|place| self.there(*place).is_some()) else { return Ok(self.way(None, RoadStep::FIRST)) };
        while at + 1 < places && self.has_passed(at) && self.same(at, at + 1) {
            at += 1;
        }
        let next = match self.standing(at) {
            Standing::On(step) => self.road.next(step),
            Standing::Nowhere | Standing::Beside { .. } => Some(RoadStep { environment: at, step: 0 }),
        };
        if let Some(to) = next {
            return Ok(self.way(Some(at), to));
        }
        let Standing::On(to) = self.standing(at) else { return Err(NoStep::Ended) };
        let way = Travel { ended: true, ..self.way(Some(at), to) };
        if way.drift.is_empty() { Err(NoStep::Ended) } else { Ok(way) }
    }

    fn toward(&self, to: &str) -> Result<Travel, String> {
        let (place, mode) = self.road.named(to)?;
        let before = (0..place).rev().find(|place| self.there(*place).is_some());
        let there = self.there(place).map(|_| place);
        let is_its_own = there.is_some() && before.is_none_or(|before| self.same(before, place));
        let step = match mode {
            Some(mode) => self.road.step_of(place, mode)?,
            None if is_its_own => {
                let beyond = match self.standing(place) {
                    Standing::On(at) => at.step + 1,
                    Standing::Nowhere | Standing::Beside { .. } => 0,
                };
                let last = self.road.environments().get(place).map_or(0, |environment| environment.steps.len().saturating_sub(1));
                beyond.min(last)
            }
            None => 0,
        };
        let from = if step > 0 || is_its_own { there.or(before) } else { before };
        Ok(self.way(from, RoadStep { environment: place, step }))
    }

    fn way(&self, from: Option<usize>, to: RoadStep) -> Travel {
        let origin = from.and_then(|from| self.there(from));
        let arrives = from.is_none_or(|from| from != to.environment);
        let replaced = from.filter(|from| arrives && !self.same(*from, to.environment)).and_then(|_| self.there(to.environment));
        let end = from.unwrap_or(0).max(to.environment);
        let mut drift: Vec<Drift> = match from {
            Some(from) => (0..from).filter_map(|place| self.differs(place, from)).collect(),
            None => (0..self.sights.len()).filter_map(|place| self.unseen(place)).collect(),
        };
        if from.is_some() {
            // What is where it goes decides what is replaced; what is where it is decides what travels.
            let both = [from.filter(|from| *from != to.environment), Some(to.environment)];
            drift.extend(both.into_iter().flatten().filter_map(|place| self.unseen(place)));
        }
        let later = (end + 1..self.sights.len()).filter_map(|place| Some((self.road.name(place), self.there(place)?.clone())));
        Travel {
            from: from.map_or(Standing::Nowhere, |from| self.standing(from)),
            to,
            revision: origin.and_then(|there| there.revision.clone()),
            replaces: replaced.cloned(),
            drift,
            ahead: later.collect(),
            ended: false,
        }
    }

    fn unseen(&self, place: usize) -> Option<Drift> {
        let why = self.sights.get(place)?.unread.clone()?;
        Some(Drift { environment: self.road.name(place), what: Differs::Unread(why) })
    }

    /// How an earlier environment differs from the one that a revision leaves.
    fn differs(&self, place: usize, from: usize) -> Option<Drift> {
        if let Some(unseen) = self.unseen(place) {
            return Some(unseen);
        }
        let what = match self.there(place) {
            None => Differs::Missing,
            Some(there) if !self.same(place, from) => Differs::Other { there: there.clone(), next: self.road.name(place + 1) },
            Some(there) if there.mode != Mode::Unknown && !self.has_passed(place) => {
                Differs::Weaker { mode: there.mode, wanted: self.wanted(place) }
            }
            Some(there) if there.mode == Mode::Unknown || there.revision.is_none() || self.there(from)?.revision.is_none() => {
                Differs::Unclear(there.clone())
            }
            Some(_) => return None,
        };
        Some(Drift { environment: self.road.name(place), what })
    }
}

/// How much a mode does, for comparing it with the one of a step.
fn strength(mode: Mode) -> u8 {
    match mode {
        Mode::Enforce => 3,
        Mode::Mixed => 2,
        Mode::Audit | Mode::Warn => 1,
        Mode::Off | Mode::NotReady | Mode::Absent | Mode::Unknown => 0,
    }
}

#[cfg(test)]
mod tests;
