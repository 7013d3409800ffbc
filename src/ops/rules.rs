//! Rules of an environment: what its configuration asks for beside gates. Judged when a plan is made, and again before it is carried out.
//!
//! What lives here: whether a plan may be, whether somebody may carry it out, and how it is confirmed. What does not: gates ([`super::gate`]), asking.

use super::plan::{ConfirmLevel, Direction, Operation, Plan};
use super::refusal::Refusal;
use crate::domain::Tier;
use crate::domain::journal::Who;
use crate::settings::EnvironmentSettings;
use std::collections::BTreeSet;

/// Whether a plan may be carried out in an environment at all, whoever does it.
///
/// # Errors
/// The rule that it breaks, with the key of the configuration.
pub fn allow(plan: &Plan, settings: &EnvironmentSettings) -> Result<(), Refusal> {
    let (name, rules) = (&settings.name, &settings.rules);
    if settings.read_only {
        let text = format!("{name} is read-only (`read_only = true` in the configuration, or --read-only): nothing is changed there.");
        return Err(Refusal::new("read-only", text));
    }
    if rules.deny.iter().any(|denied| denied.as_str() == plan.operation.as_str()) {
        let text = format!("{name} denies {}: {} lists it.", plan.operation, key("deny", name));
        return Err(Refusal::new("denied", text));
    }
    let objects: BTreeSet<_> = plan.steps.iter().filter(|step| step.environment == *name).map(|step| &step.object).collect();
    if let Some(most) = rules.bulk.filter(|most| objects.len() as u64 > *most) {
        let text = format!(
            "This plan changes {} objects in {name}, and one may change {most} at most: {}. Make several plans.",
            objects.len(),
            key("bulk", name)
        );
        return Err(Refusal::new("bulk", text));
    }
    Ok(())
}

/// What somebody has to do before a plan is carried out in an environment.
pub fn confirmation(operation: Operation, settings: &EnvironmentSettings) -> ConfirmLevel {
    let typed = operation == Operation::Unblock || settings.tier == Tier::Production || settings.rules.typed_name;
    if typed { ConfirmLevel::TypeName(settings.name.clone()) } else { ConfirmLevel::Yes }
}

/// Whether a plan asks for what the environment wants to be asked for: it may have been made under another configuration.
///
/// # Errors
/// It does not.
pub fn asks_enough(plan: &Plan, settings: &EnvironmentSettings) -> Result<(), Refusal> {
    if plan.confirm == ConfirmLevel::Yes && confirmation(plan.operation, settings) != ConfirmLevel::Yes {
        let name = &settings.name;
        let why = if settings.rules.typed_name { key("typed_name", name) } else { format!("the tier of {name}") };
        return Err(Refusal::new(
            "typed-name",
            format!("{name} wants its name typed ({why}), and this plan does not ask for it. Make it again."),
        ));
    }
    Ok(())
}

/// Whether an environment requires a second person for a plan. What makes policies block less never does: a bad rollout is stopped by who is there.
pub fn needs_second_eyes(plan: &Plan, settings: &EnvironmentSettings) -> bool {
    settings.rules.four_eyes && plan.direction != Direction::Down
}

/// Who applies a plan.
#[derive(Debug, Clone, Copy)]
pub struct Applier<'a> {
    /// The account, the user whom the cluster sees, and the machine.
    pub who: &'a Who,
    /// The fingerprints of the SSH keys that this person holds, as far as is known.
    pub keys: &'a BTreeSet<String>,
}

/// Whether a plan that needs a second person says that someone else made it.
///
/// # Errors
/// The maker and this person are the same, or who they are is unknown.
pub fn another_person(plan: &Plan, settings: &EnvironmentSettings, who: &Who) -> Result<(), Refusal> {
    if !needs_second_eyes(plan, settings) {
        return Ok(());
    }
    let refused = |why: &str| four_eyes(settings, why);
    let Some(maker) = &plan.maker else {
        return Err(refused("this plan does not say who made it. Make it again."));
    };
    if maker.user.is_empty() || who.user.is_empty() {
        return Err(refused("who made this plan, or who you are, is unknown."));
    }
    let cluster_user = |who: &Who| who.kubeconfig_user.clone().filter(|user| !user.is_empty());
    let same_in_cluster = cluster_user(maker).is_some_and(|user| Some(user) == cluster_user(who));
    if maker.user == who.user || same_in_cluster {
        return Err(refused(&format!(
            "{maker} made this plan, and you are {who}. Write it to a file with --plan-out FILE and sign it (`policydeck plan sign FILE --key KEY`); \
             someone else, on an account and with a user of the cluster of their own, applies it with --plan FILE."
        )));
    }
    Ok(())
}

/// Whether this person may apply a plan: a plan that needs a second person has to be signed by its maker, and applied by someone else.
///
/// # Errors
/// The maker and the applier are the same person, or who they are is unknown, or nothing proves who the maker is.
pub fn second_eyes(plan: &Plan, settings: &EnvironmentSettings, applier: Applier<'_>) -> Result<(), Refusal> {
    if !needs_second_eyes(plan, settings) {
        return Ok(());
    }
    let who = applier.who;
    another_person(plan, settings, who)?;
    let refused = |why: &str| four_eyes(settings, why);
    if settings.rules.allowed_signers.is_none() {
        return Err(refused(&format!(
            "no `allowed_signers` is configured, so the maker's signature cannot be verified. Add `allowed_signers = \"FILE\"` next to {}, with the keys \
             of the people who may make plans.",
            key("four_eyes", &settings.name)
        )));
    }
    let Some(signer) = &plan.signer else {
        return Err(refused("this plan is not signed. Its maker signs the plan file: `policydeck plan sign FILE --key KEY`."));
    };
    if signer.is(who) || applier.keys.contains(&signer.key) {
        let held = if applier.keys.contains(&signer.key) { ", and you hold that key" } else { "" };
        return Err(refused(&format!("{signer} signed this plan, and you are {who}{held}. Someone else applies it with --plan FILE.")));
    }
    Ok(())
}

/// The refusal of a plan that needs a second person.
pub fn four_eyes(settings: &EnvironmentSettings, why: &str) -> Refusal {
    Refusal::new("four-eyes", format!("{} wants four eyes ({}): {why}", settings.name, key("four_eyes", &settings.name)))
}

/// A rule's key, as somebody finds it in the configuration.
fn key(rule: &str, environment: &str) -> String {
    format!("`rules.{rule}` of the environment {environment} in the configuration")
}
