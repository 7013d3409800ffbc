//! Failing results that no report has any more, until it is known why.
//!
//! Kyverno deletes a result when its resource is deleted, when the policy changes, or when the resource no longer matches. Other users who may write
//! reports can delete one as well. So such a result counts as a pass only once its resource is gone, the resource was evaluated again, or a scan has had
//! the time to report it again.

use crate::domain::{PolicyKey, ResourceRef, Revision};
use crate::fleet::delta::Existence;
use crate::fleet::ledger::{Ceased, Ledger};
use crate::fleet::view::Disappeared;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Results that are looked at one by one; of more only the policy is remembered.
const MOST: usize = 1_000;
/// Resources that are asked for at once.
const AT_ONCE: usize = 64;
/// How often a resource that exists is asked for again: once it is deleted, nothing more is to be known.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// How much later than its interval a scan may reach a resource.
const SCANS_TAKE: SignedDuration = SignedDuration::from_mins(5);

/// One of them.
#[derive(Debug)]
struct Missing {
    found: Ceased,
    resource: Arc<ResourceRef>,
    revision: Option<Revision>,
    since: Timestamp,
    existence: Option<Existence>,
    asked: Option<Timestamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Missed {
    all: Vec<Missing>,
    /// How many there are beyond [`MOST`], and since when at the latest, with the last of them.
    beyond: BTreeMap<PolicyKey, (u64, Missing)>,
}

impl Missed {
    /// Takes up what has disappeared by `now`.
    pub(super) fn add<'a>(&mut self, found: Vec<Ceased>, revision: impl Fn(&PolicyKey) -> Option<&'a Revision>, now: Timestamp) {
        for found in found {
            let (resource, revision) = (Arc::new(found.resource.clone()), revision(&found.policy).cloned());
            let missing = Missing { found, resource, revision, since: now, existence: None, asked: None };
            if self.all.len() < MOST {
                self.all.push(missing);
                continue;
            }
            let count = self.beyond.get(&missing.found.policy).map_or(0, |(count, _)| *count);
            self.beyond.insert(missing.found.policy.clone(), (count + 1, missing));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.beyond.is_empty()
    }

    /// Forgets what is settled by `now`: what a report has again, what a scan should have reported again, and what another revision would judge. Returns
    /// whether that was anything.
    pub(super) fn settle<'a>(
        &mut self,
        ledger: &Ledger,
        revision: impl Fn(&PolicyKey) -> Option<&'a Revision>,
        scan: Option<SignedDuration>,
        now: Timestamp,
    ) -> bool {
        let before = (self.all.len(), self.beyond.len());
        let is_open = |missing: &Missing| {
            let waits = until(missing.since, scan).is_none_or(|until| now < until);
            waits && missing.revision.is_some() && missing.revision.as_ref() == revision(&missing.found.policy)
        };
        self.all.retain(|missing| is_open(missing) && !ledger.has_later_result(&missing.found));
        self.beyond.retain(|_, (_, missing)| is_open(missing));
        before != (self.all.len(), self.beyond.len())
    }

    /// The resources to ask for now, as many as are asked for at once.
    pub(super) fn to_ask(&self, now: Timestamp) -> BTreeSet<Arc<ResourceRef>> {
        let is_due = |missing: &&Missing| missing.asked.is_none_or(|asked| now.duration_since(asked) >= AGAIN);
        let mut due: Vec<&Missing> = self.all.iter().filter(is_due).collect();
        due.sort_by_key(|missing| missing.asked);
        due.into_iter().take(AT_ONCE).map(|missing| Arc::clone(&missing.resource)).collect()
    }

    /// Takes in what was answered by `now`.
    pub(super) fn answered(&mut self, answers: &[(Arc<ResourceRef>, Existence)], now: Timestamp) {
        let answers: BTreeMap<&Arc<ResourceRef>, &Existence> = answers.iter().map(|(resource, answer)| (resource, answer)).collect();
        self.all.retain_mut(|missing| {
            let Some(answer) = answers.get(&missing.resource) else { return true };
            (missing.existence, missing.asked) = (Some((*answer).clone()), Some(now));
            **answer != Existence::Gone
        });
    }

    /// What is missing of each policy.
    pub(super) fn by_policy(&self, scan: Option<SignedDuration>) -> BTreeMap<PolicyKey, Arc<Disappeared>> {
        let mut all: BTreeMap<PolicyKey, Disappeared> = BTreeMap::new();
        let beyond = self.beyond.values().map(|(count, missing)| (*count, missing));
        for (count, missing) in self.all.iter().map(|missing| (1, missing)).chain(beyond) {
            let until = until(missing.since, scan);
            let known = all.entry(missing.found.policy.clone()).or_insert_with(|| Disappeared {
                results: 0,
                resource: Arc::clone(&missing.resource),
                report: missing.found.report.clone(),
                since: missing.since,
                existence: missing.existence.clone(),
                until,
            });
            known.results += count;
            known.until = known.until.max(until);
            // What is certain is shown before what is not.
            if missing.existence == Some(Existence::Exists) && known.existence != Some(Existence::Exists) {
                (known.resource, known.report) = (Arc::clone(&missing.resource), missing.found.report.clone());
                (known.since, known.existence) = (missing.since, missing.existence.clone());
            }
        }
        all.into_iter().map(|(key, one)| (key, Arc::new(one))).collect()
    }
}

/// When a scan has reported it again, if there is anything to report; `None` where nothing scans.
fn until(since: Timestamp, scan: Option<SignedDuration>) -> Option<Timestamp> {
    since.checked_add(scan?.saturating_add(SCANS_TAKE)).ok()
}
