//! Claims that an operator wants left out of a gate: which of them may be, and what a gate says of them.
//!
//! Only what nothing verifies can be disregarded, so that no decision opens a gate that verified evidence closes. A decision is about an object and what it
//! says: if that changes, it no longer holds.

use super::Block;
use crate::domain::{Claim, ConditionName, Disregard, Disregarded, Proof, Unverified, clean};
use serde_json::Value;
use std::collections::BTreeMap;

/// The claims that are left out.
pub fn disregarded(claims: &[Claim], asked: &[Disregard]) -> Vec<Disregarded> {
    let left_out = |claim: &Claim| {
        let fits = |one: &&Disregard| one.object == claim.object && one.content.as_ref().is_none_or(|content| *content == claim.content);
        let decision = asked.iter().find(fits)?;
        Some(Disregarded {
            object: claim.object.clone(),
            condition: ConditionName::decided_by(claim.why),
            count: claim.count,
            content: claim.content.clone(),
            written_by: claim.by.clone(),
            by: decision.by.clone(),
            reason: decision.reason.clone(),
        })
    };
    claims.iter().filter_map(left_out).collect()
}

/// Why the first of these objects that has nothing to be left out cannot be disregarded; `None` where all can. `blocks` are the verified events with others.
pub fn impossible(claims: &[Claim], blocks: &[Block], asked: &[Disregard]) -> Option<String> {
    let one = asked.iter().find(|one| !claims.iter().any(|claim| claim.object == one.object))?;
    let object = clean(&one.object.to_string()).into_owned();
    let verified = blocks.iter().find(|block| block.source.verified && block.source.object == one.object);
    Some(match verified {
        Some(block) => {
            let by = block.source.by.as_deref().unwrap_or_default();
            format!("{object} cannot be disregarded: Kyverno wrote it (field manager {})", clean(by))
        }
        None => format!(
            "{object} cannot be disregarded: it is no report about another namespace, and no event that Kyverno has not written; the gate lists those"
        ),
    })
}

/// `; 2 requests disregarded (by ana: forged)`, for each decision; nothing where there is none.
pub(super) fn in_words(all: &[Disregarded], asked: &[Disregard], claims: &[Claim], name: ConditionName, why: Unverified) -> String {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for one in all.iter().filter(|one| one.condition == name) {
        *counts.entry((&one.by, &one.reason)).or_default() += one.count;
    }
    let said = counts
        .into_iter()
        .map(|((by, reason), count)| format!("; {count} {} disregarded (by {}: {})", why.counts(count), clean(by), clean(reason)));
    // It was decided about something else.
    let changed = claims.iter().filter(|claim| {
        claim.why == why && asked.iter().any(|one| one.object == claim.object) && !all.iter().any(|one| one.object == claim.object)
    });
    let changed = changed.map(|claim| format!("; {} has changed since it was disregarded", clean(&claim.object.to_string())));
    said.chain(changed).collect()
}

/// The decisions in the gate of a plan, to be judged again.
pub fn read(gate: &Value) -> Vec<Disregard> {
    let all: Vec<Disregarded> = gate.get("disregarded").and_then(|all| serde_json::from_value(all.clone()).ok()).unwrap_or_default();
    all.into_iter().filter(|one| !one.reason.trim().is_empty()).map(Disregarded::again).collect()
}

/// A claim as evidence that can be disregarded.
pub(super) fn proof(claim: &Claim) -> Proof {
    Proof {
        source: claim.why.as_str(),
        by: claim.by.as_deref().map(|by| clean(by).into_owned()),
        at: claim.at,
        object: Some(claim.object.for_kubectl()),
        reference: Some(claim.object.clone()),
        component: (!claim.component.is_empty()).then(|| clean(&claim.component).into_owned()),
        count: Some(claim.count),
        verified: Some(false),
    }
}
