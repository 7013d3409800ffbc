//! The road: every step of every environment in order, and where a policy stands on it.

use crate::domain::{Mode, PolicyId, Stop};
use crate::fleet::view::FleetView;
use crate::settings::{EnvironmentSettings, Freeze, Step, StepMode};
use std::sync::Arc;

/// A step of the road, by its place in the configuration. Further along is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoadStep {
    /// The environment's place on the road.
    pub environment: usize,
    /// The step's place in the environment.
    pub step: usize,
}

impl RoadStep {
    /// Where the road begins.
    pub const FIRST: Self = Self { environment: 0, step: 0 };
}

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It exists in no environment, as far as is known.
    Nowhere,
    /// On a step: the furthest whose mode it has.
    On(RoadStep),
    /// It is in that environment, but does what no step of it asks for.
    Beside {
        /// The environment's place on the road.
        environment: usize,
        /// What it does.
        mode: Mode,
    },
}

/// The environments in order, with their steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Road {
    environments: Vec<EnvironmentSettings>,
}

impl Road {
    /// The road of a configuration.
    pub fn new(environments: Vec<EnvironmentSettings>) -> Self {
        Self { environments }
    }

    /// All environments in order.
    pub fn environments(&self) -> &[EnvironmentSettings] {
        &self.environments
    }

    /// All steps in order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = RoadStep> + '_ {
        let steps = |(environment, settings): (usize, &EnvironmentSettings)| {
            (0..settings.steps.len()).map(move |step| RoadStep { environment, step })
        };
        self.environments.iter().enumerate().flat_map(steps)
    }

    /// What a step asks for. A step that is not on the road asks for audit without end, which nothing can leave.
    pub fn step(&self, at: RoadStep) -> &Step {
        const NOWHERE: Step = Step {
            mode: StepMode::Audit,
            soak: jiff::SignedDuration::MAX,
            max_violations: 0,
            max_blocked: 0,
            evidence: crate::settings::Evidence::Observed,
        };
        self.environments.get(at.environment).and_then(|environment| environment.steps.get(at.step)).unwrap_or(&NOWHERE)
    }

    /// A step in words.
    pub fn stop(&self, at: RoadStep) -> Stop {
        Stop { environment: self.name(at.environment), mode: mode_of(self.step(at).mode) }
    }

    /// An environment's name.
    pub fn name(&self, environment: usize) -> Arc<str> {
        self.environments.get(environment).map_or_else(|| Arc::from(""), |one| Arc::from(one.name.as_str()))
    }

    /// When nothing may be promoted into an environment.
    pub fn freezes(&self, environment: usize) -> &[Freeze] {
        self.environments.get(environment).map_or(&[], |one| &one.freeze)
    }

    /// The step after this one.
    pub fn next(&self, at: RoadStep) -> Option<RoadStep> {
        self.steps().find(|step| *step > at)
    }

    /// The steps that lie between two.
    pub fn between(&self, from: RoadStep, to: RoadStep) -> Vec<RoadStep> {
        self.steps().filter(|step| *step > from && *step < to).collect()
    }

    /// Where a policy stands: on the furthest step whose mode it has. Where it is further along than that with a mode of no step, it stands beside.
    pub fn standing(&self, policy: &PolicyId, fleet: &FleetView) -> Standing {
        for (place, environment) in self.environments.iter().enumerate().rev() {
            let Some(view) = fleet.environment(&environment.name) else { continue };
            let Some(cell) = view.cell_of(policy) else { continue };
            if cell.mode == Mode::Absent {
                continue;
            }
            let step = environment.steps.iter().rposition(|step| mode_of(step.mode) == cell.mode);
            return match step {
                Some(step) => Standing::On(RoadStep { environment: place, step }),
                None => Standing::Beside { environment: place, mode: cell.mode },
            };
        }
        Standing::Nowhere
    }

    /// The step that `--to ENV[:MODE]` names; without a mode, the first step of ENV that lies beyond where the policy stands. The error says what
    /// there is.
    pub fn target(&self, to: Option<&str>, standing: Standing) -> Result<RoadStep, String> {
        let on = match standing {
            Standing::Nowhere => None,
            Standing::On(step) => Some(step),
            Standing::Beside { environment, .. } => {
                environment.checked_sub(1).map(|environment| RoadStep { environment, step: usize::MAX })
            }
        };
        let beyond = |step: &RoadStep| on.is_none_or(|on| *step > on);
        let Some(to) = to else {
            return self.steps().find(beyond).ok_or_else(|| "it has reached the end of the road".to_owned());
        };
        let (name, mode) = to.split_once(':').map_or((to, None), |(name, mode)| (name, Some(mode)));
        let Some(environment) = self.environments.iter().position(|one| one.name == name) else {
            let known: Vec<&str> = self.environments.iter().map(|one| one.name.as_str()).collect();
            return Err(format!("there is no environment `{name}`; there are {}", known.join(", ")));
        };
        let steps: Vec<RoadStep> = self.steps().filter(|step| step.environment == environment).collect();
        let named = match mode {
            Some(mode) => steps.iter().find(|step| self.step(**step).mode.as_str() == mode),
            None => steps.iter().find(|step| beyond(step)).or(steps.last()),
        };
        named.copied().ok_or_else(|| {
            let modes: Vec<&str> = steps.iter().map(|step| self.step(*step).mode.as_str()).collect();
            format!("{name} has no step `{}`; its steps are {}", mode.unwrap_or_default(), modes.join(", "))
        })
    }
}

/// The mode that a step asks for.
pub fn mode_of(step: StepMode) -> Mode {
    match step {
        StepMode::Audit => Mode::Audit,
        StepMode::Enforce => Mode::Enforce,
    }
}
