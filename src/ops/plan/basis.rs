//! What a plan was made from, and whether it still holds.

use super::super::place::Place;
use super::{Expect, ObjectRef, Plan, Verb};
use crate::domain::{Mode, Revision, time};
use crate::kinds::transfer::bare;
use crate::kinds::{KindId, revision, set_mode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How old a plan may be that somebody looks at; a plan in a file may be older, as long as its basis holds.
pub const INTERACTIVE_AGE: SignedDuration = SignedDuration::from_mins(10);

/// One object as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// Where.
    pub environment: String,
    /// UID of that cluster's namespace `kube-system`.
    pub cluster_uid: String,
    /// URL of its API server.
    pub server: String,
    /// The object.
    pub object: ObjectRef,
    /// Hash of everything that somebody wrote into it, the mode included; `None` where it does not exist.
    #[serde(default)]
    pub content: Option<String>,
    /// What it says without its mode; `None` where it does not exist or is no policy.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Its mode once in force; `None` where it does not exist or is no policy.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// `metadata.uid`.
    #[serde(default)]
    pub uid: Option<String>,
    /// `metadata.resourceVersion`. It moves with every status, and is not compared.
    #[serde(default)]
    pub resource_version: Option<String>,
}

impl Basis {
    /// The object in that place, as it is.
    pub fn of(place: &Place<'_>, object: ObjectRef, live: Option<&Value>) -> Self {
        let kind = KindId::find(&object.group, &object.kind).map(KindId::kind);
        let text = |path: &str| live.and_then(|live| live.pointer(path)).and_then(Value::as_str).map(str::to_owned);
        Self {
            environment: place.settings.name.clone(),
            cluster_uid: place.cluster_uid.to_owned(),
            server: place.server.to_owned(),
            content: live.map(|live| revision::full_digest(&bare(live))),
            revision: kind.zip(live).map(|(kind, live)| revision::revision(kind, live)),
            mode: kind.zip(live).and_then(|(kind, live)| set_mode::written_mode(kind, live, place.kyverno).ok()),
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
            object,
        }
    }

    /// What a write to it may expect, if it exists and came from a server.
    pub fn expect(&self) -> Option<Expect> {
        Some(Expect { uid: self.uid.clone()?, resource_version: self.resource_version.clone()? })
    }

    fn is_same_object(&self, other: &Self) -> bool {
        self.environment == other.environment
            && (&self.object.group, &self.object.kind, &self.object.namespace, &self.object.name)
                == (&other.object.group, &other.object.kind, &other.object.namespace, &other.object.name)
    }
}

/// Why a plan's basis no longer holds, as a sentence; `None` while it does. `now` has one entry for each object of the basis.
///
/// What counts is what was written: status and resource version move all the time.
pub fn basis_moved(plan: &Plan, now: &[Basis]) -> Option<String> {
    plan.basis.iter().find_map(|then| {
        let what = format!("{} in {}", then.object, then.environment);
        let Some(now) = now.iter().find(|now| now.is_same_object(then)) else {
            return Some(format!("{what} could not be read, so nobody knows whether this plan still fits it."));
        };
        moved(then, now).map(|how| format!("{what} {how} since this plan was made. Make it again."))
    })
}

fn moved(then: &Basis, now: &Basis) -> Option<String> {
    if now.cluster_uid != then.cluster_uid {
        return Some(format!("is in another cluster ({} instead of {})", now.cluster_uid, then.cluster_uid));
    }
    match (&then.content, &now.content) {
        (one, other) if one == other && then.uid == now.uid => None,
        (None, Some(_)) => Some("was created".to_owned()),
        (Some(_), None) => Some("was deleted".to_owned()),
        _ if then.uid != now.uid => Some("was deleted and created again".to_owned()),
        _ => Some(changed(then, now)),
    }
}

fn changed(then: &Basis, now: &Basis) -> String {
    match (&then.revision, &now.revision, then.mode, now.mode) {
        (Some(one), Some(other), ..) if one != other => format!("changed from revision {one} to {other}"),
        (.., Some(one), Some(other)) if one != other => format!("went from {one} to {other}"),
        _ => "had labels, annotations or overrides changed".to_owned(),
    }
}

/// Why a plan is too old for somebody who looks at it, as a sentence.
pub fn too_old(plan: &Plan, now: Timestamp) -> Option<String> {
    let age = now.duration_since(plan.made_at);
    (age > INTERACTIVE_AGE).then(|| format!("This plan was made {} ago; the gate may look different now. Make it again.", time::brief(age)))
}

/// The plan with the resource versions of `now` in its preconditions: for a plan whose basis holds although statuses moved on.
///
/// The error is the sentence of [`basis_moved`].
pub fn pin_again(plan: &Plan, now: &[Basis]) -> Result<Plan, String> {
    if let Some(why) = basis_moved(plan, now) {
        return Err(why);
    }
    let mut pinned = plan.clone();
    for basis in &mut pinned.basis {
        if let Some(now) = now.iter().find(|now| now.is_same_object(basis)) {
            basis.resource_version.clone_from(&now.resource_version);
        }
    }
    for step in &mut pinned.steps {
        let expected = now.iter().find(|now| now.environment == step.environment && now.object == step.object).and_then(Basis::expect);
        if let (Some(now), Verb::Patch { expect, .. } | Verb::Replace { expect, .. } | Verb::Delete { expect }) = (expected, &mut step.verb)
        {
            *expect = now;
        }
    }
    Ok(pinned)
}
