//! What an environment's name tells: its place on the road and its usual steps.

use super::model::{Step, StepMode};
use crate::domain::Tier;
use jiff::SignedDuration;

/// An environment, as far as its default steps depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop<'a> {
    pub(super) name: &'a str,
    pub(super) tier: Tier,
}

/// Stages in the order of the road, with the words they go by.
const STAGES: [(Stage, &[&str]); 4] = [
    (Stage::Dev, &["dev", "development", "develop", "local", "sandbox", "kind", "minikube", "k3d", "desktop"]),
    (Stage::Qa, &["qac", "qa", "test", "testing", "tst", "int", "integration", "ci", "uat"]),
    (Stage::Staging, &["staging", "stage", "stg", "preprod", "preproduction", "pre", "acc", "acceptance"]),
    (Stage::Production, &["production", "prod", "prd", "live"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Dev,
    Qa,
    /// Nothing in the name tells: between test and staging, where it harms least.
    Other,
    Staging,
    Production,
}

/// The stage a name or a context tells of; the last telling word counts (`kind-prod-eu` is production).
pub(super) fn stage(name: &str) -> Stage {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphabetic()).collect::<Vec<_>>();
    // `pre-prod` is two words that mean another one.
    if words.windows(2).any(|pair| matches!(pair, ["pre", "prod" | "production" | "prd"]))
        || words.windows(2).any(|pair| pair == ["non", "prod"])
    {
        return Stage::Staging;
    }
    let named = |word: &str| STAGES.iter().find(|(_, names)| names.contains(&word)).map(|(stage, _)| *stage);
    words.iter().filter_map(|word| named(word)).max().unwrap_or(Stage::Other)
}

/// Whether a name says production.
pub(super) fn looks_like_production(name: &str) -> bool {
    stage(name) == Stage::Production
}

/// The steps of an environment that names none.
pub(super) fn default_steps(stop: Stop<'_>) -> Vec<Step> {
    let week = SignedDuration::from_hours(7 * 24);
    let audit = |soak| Step::new(StepMode::Audit, soak);
    let enforce = |soak| Step::new(StepMode::Enforce, soak);
    let stage = if stop.tier == Tier::Production { Stage::Production } else { stage(stop.name) };
    match stage {
        Stage::Dev => vec![audit(SignedDuration::ZERO)],
        Stage::Qa | Stage::Other => vec![audit(week)],
        Stage::Staging => vec![audit(SignedDuration::ZERO), enforce(week)],
        Stage::Production => vec![audit(week), enforce(SignedDuration::ZERO)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_from_names_and_contexts() {
        for (name, expected) in [
            ("dev", Stage::Dev),
            ("kind-dev", Stage::Dev),
            ("kind-prod-eu", Stage::Production),
            ("qac", Stage::Qa),
            ("arn:aws:eks:eu-west-1:123:cluster/staging-2", Stage::Staging),
            ("gke_acme_europe-west1_production", Stage::Production),
            ("pre-prod", Stage::Staging),
            ("nonprod", Stage::Other),
            ("non-prod", Stage::Staging),
            ("product-team", Stage::Other),
        ] {
            assert_eq!(stage(name), expected, "{name}");
        }
    }
}
