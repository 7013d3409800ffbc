//! The condition `drift`: earlier environments have this revision, in the mode of their last step.

use super::{met, unknown, unmet};
use crate::domain::{Condition, ConditionName};
use crate::ops::position::{Differs, Drift, There, Travel};

const SOURCE: &str = "policies";

/// Whether the environments before agree with what travels.
pub(super) fn drift(travel: &Travel) -> Condition {
    let told = |drift: &[&Drift]| drift.iter().map(|one| sentence(one, travel)).collect::<Vec<_>>().join("; ");
    let (unseen, differing): (Vec<&Drift>, Vec<&Drift>) = travel.drift.iter().partition(|one| one.what.is_unknown());
    if !differing.is_empty() {
        return unmet(ConditionName::Drift, SOURCE, &told(&differing));
    }
    if !unseen.is_empty() {
        return unknown(ConditionName::Drift, SOURCE, &told(&unseen));
    }
    let mut reasons = Vec::new();
    if let Some(replaced) = &travel.replaces {
        reasons.push(format!("replaces {}", described(replaced)));
    }
    for (environment, there) in &travel.ahead {
        let how = if same(there, travel) { format!("is at {}", there.mode) } else { format!("has {}", described(there)) };
        reasons.push(format!("{environment} {how} already"));
    }
    let reason = if reasons.is_empty() { "earlier environments have this revision".to_owned() } else { reasons.join("; ") };
    met(ConditionName::Drift, SOURCE, &reason)
}

/// `revision 91c2e04ab613 (enforce)`.
fn described(there: &There) -> String {
    let revision = there.revision.as_ref().map_or_else(|| "an unknown revision".to_owned(), |revision| format!("revision {revision}"));
    format!("{revision} ({})", there.mode)
}

fn same(there: &There, travel: &Travel) -> bool {
    there.revision.is_some() && there.revision == travel.revision
}

/// What differs, and the way out.
fn sentence(drift: &Drift, travel: &Travel) -> String {
    let place = &drift.environment;
    let this = travel.revision.as_ref().map_or_else(|| "this revision".to_owned(), |revision| format!("revision {revision}"));
    match &drift.what {
        Differs::Unread(why) => format!("{place} cannot be read: {why}"),
        Differs::Unclear(there) => format!("{place} has {}: whether that is {this} is unknown", described(there)),
        Differs::Pending(pending) => {
            let short: String = pending.commit.chars().take(10).collect();
            let mode = pending.mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
            let since = pending.since.map(|at| format!(" since {}", at.strftime("%b %e %H:%M UTC"))).unwrap_or_default();
            format!("commit {short}{mode} is pending in {place}{since}: wait until it is applied, or undo it")
        }
        Differs::Repository(why) => format!("whether a commit is pending in {place} is unknown: {why}"),
        Differs::Missing => format!("{place} does not have it: apply {this} there first"),
        Differs::Other { there, next } => {
            format!("{place} has {}, not {this}: promote that one with --to {next}, or roll {place} back", described(there))
        }
        Differs::Weaker { mode, wanted } => format!("{place} is at {mode}: promote it there first with --to {place}:{wanted}"),
    }
}
