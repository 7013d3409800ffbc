//! The pipeline: every step of every environment in order. Where a policy is in it is worked out in `position`.

use crate::domain::{Mode, Stop};
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

/// Where a policy is in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It exists in no environment, as far as is known.
    Nowhere,
    /// On a step: the last one of its environment whose mode it has.
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
    /// The annotation that says until when an exception is meant to hold; empty for none.
    expiry_key: String,
}

impl Road {
    /// The road of a configuration.
    pub fn new(environments: Vec<EnvironmentSettings>) -> Self {
        Self { environments, expiry_key: String::new() }
    }

    /// The same where exceptions carry their expiry in that annotation.
    #[must_use]
    pub fn with_expiry_key(self, expiry_key: String) -> Self {
        Self { expiry_key, ..self }
    }

    /// The annotation that says until when an exception is meant to hold; empty for none.
    pub fn expiry_key(&self) -> &str {
        &self.expiry_key
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

    /// The environment that `ENV` or `ENV:MODE` names, and the mode in it. The error says what there is.
    pub(super) fn named<'t>(&self, to: &'t str) -> Result<(usize, Option<&'t str>), String> {
        let (name, mode) = to.split_once(':').map_or((to, None), |(name, mode)| (name, Some(mode)));
        let place = self.environments.iter().position(|one| one.name == name);
        place.map(|place| (place, mode)).ok_or_else(|| {
            let known: Vec<&str> = self.environments.iter().map(|one| one.name.as_str()).collect();
            format!("there is no environment `{name}`; there are {}", known.join(", "))
        })
    }

    /// The step of an environment that asks for that mode. The error says what there is.
    pub(super) fn step_of(&self, place: usize, mode: &str) -> Result<usize, String> {
        let environment = self.environments.get(place);
        let steps = environment.map_or(&[][..], |environment| &environment.steps);
        steps.iter().position(|step| step.mode.as_str() == mode).ok_or_else(|| {
            let modes: Vec<&str> = steps.iter().map(|step| step.mode.as_str()).collect();
            format!("{} has no step `{mode}`; its steps are {}", self.name(place), modes.join(", "))
        })
    }
}

/// Whether a policy in `mode` is at a step that asks for `step`: `warn` is an audit that also tells the client. Kyverno gives that mode to image
/// rules in audit, to `emitWarning` and to `[Audit, Warn]`, so it is what a demotion of those leads to.
pub fn serves(step: StepMode, mode: Mode) -> bool {
    match step {
        StepMode::Audit => matches!(mode, Mode::Audit | Mode::Warn),
        StepMode::Enforce => mode == Mode::Enforce,
    }
}

/// The step that a policy in `mode` has to be let through to: whatever can block is as much as enforce. `None` where the mode is of no step.
pub fn step_for(mode: Mode) -> Option<StepMode> {
    match mode {
        Mode::Audit | Mode::Warn => Some(StepMode::Audit),
        Mode::Enforce | Mode::Mixed => Some(StepMode::Enforce),
        Mode::Off | Mode::NotReady | Mode::Absent | Mode::Unknown => None,
    }
}

/// The mode that a step asks for.
pub fn mode_of(step: StepMode) -> Mode {
    match step {
        StepMode::Audit => Mode::Audit,
        StepMode::Enforce => Mode::Enforce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Action;
    use crate::kinds::set_mode::satisfies;

    #[test]
    fn every_mode_is_at_the_step_it_is_let_through_to_or_at_none() {
        use Mode::{Absent, Audit, Enforce, Mixed, NotReady, Off, Unknown, Warn};
        for mode in [Audit, Enforce, Mixed, Warn, Off, NotReady, Absent, Unknown] {
            let at: Vec<StepMode> = [StepMode::Audit, StepMode::Enforce].into_iter().filter(|step| serves(*step, mode)).collect();
            let (expected, gated): (&[StepMode], _) = match mode {
                Audit | Warn => (&[StepMode::Audit], Some(StepMode::Audit)),
                Enforce => (&[StepMode::Enforce], Some(StepMode::Enforce)),
                Mixed => (&[], Some(StepMode::Enforce)),
                Off | NotReady | Absent | Unknown => (&[], None),
            };
            assert_eq!((at.as_slice(), step_for(mode)), (expected, gated), "{mode}");
            // A demotion or promotion writes nothing that its step does not serve.
            for (step, action) in [(StepMode::Audit, Action::Audit), (StepMode::Enforce, Action::Enforce)] {
                assert_eq!(serves(step, mode), satisfies(mode, action), "{mode}");
            }
        }
    }
}
