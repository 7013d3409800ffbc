//! The rules of environments over plans: asked when one is made, and again, with whoever it is then, when it is carried out.

use super::{Declined, Operator};
use crate::files::signature::held_keys;
use crate::files::who;
use crate::ops::plan::Plan;
use crate::ops::rules::{Applier, allow, asks_enough, needs_second_eyes, second_eyes};
use crate::settings::EnvironmentSettings;
use std::collections::BTreeSet;

impl Operator {
    /// The plan with who made it, if the rules of its environments allow it.
    pub(super) async fn signed(&self, mut plan: Plan) -> Result<Plan, Declined> {
        self.allowed(&plan)?;
        let environment = plan.steps.first().map(|step| step.environment.clone()).unwrap_or_default();
        plan.maker = Some(who(self.seen_as(&environment).await));
        let fleet = self.engine.fleet().borrow().clone();
        let insecure = fleet.environment(&environment).map(|view| view.insecure.clone()).unwrap_or_default();
        // What was read and what will be written goes over this connection.
        plan.warnings.splice(0..0, insecure.into_iter().map(|insecure| format!("{environment}: {}.", insecure.in_words())));
        Ok(plan)
    }

    /// Whether the rules of a plan's environments allow it, whoever carries it out.
    pub(super) fn allowed(&self, plan: &Plan) -> Result<(), Declined> {
        self.targets(plan)?.into_iter().try_for_each(|settings| allow(plan, settings))?;
        Ok(())
    }

    /// Whether this user may carry a plan out now. It is asked again before anything is written; who asks before a confirmation spares somebody an
    /// answer that comes to nothing.
    ///
    /// # Errors
    /// The rule that it breaks, with its key in the configuration.
    pub async fn permitted(&self, plan: &Plan) -> Result<(), Declined> {
        self.allowed(plan)?;
        for settings in self.targets(plan)? {
            asks_enough(plan, settings)?;
            if needs_second_eyes(plan, settings) {
                let keys = if plan.signer.is_some() { held_keys().await } else { BTreeSet::new() };
                second_eyes(plan, settings, Applier { who: &who(self.seen_as(&settings.name).await), keys: &keys })?;
            }
        }
        Ok(())
    }

    /// The environments that a plan writes to.
    fn targets(&self, plan: &Plan) -> Result<Vec<&EnvironmentSettings>, Declined> {
        let names: BTreeSet<&str> = plan.steps.iter().map(|step| step.environment.as_str()).collect();
        names.into_iter().map(|name| self.settings(name)).collect()
    }
}
