//! An environment and a policy of which there is nothing to say, for tests that say what matters to them.

use crate::domain::{Link, Mode, PolicyId, PolicyKey, Readiness, Tally, Tier};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use std::sync::Arc;

/// A ClusterPolicy that is in force and has no results.
pub(crate) fn cell(name: &str, mode: Mode) -> PolicyCell {
    let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: name.into() };
    PolicyCell {
        key: PolicyKey { source: "kyverno".into(), id: Arc::new(id) },
        mode,
        ready: Readiness::Ready,
        revision: None,
        severity: None,
        category: None,
        findings: Tally::default(),
        owners: Tally::default(),
        blocked: Some(0),
        stale: 0,
        evaluated_at: None,
        excepted: 0,
        complete: true,
    }
}

/// A live and complete environment with these policies.
pub(crate) fn environment(name: &str, cells: Vec<PolicyCell>) -> EnvironmentView {
    EnvironmentView {
        name: name.into(),
        tier: Tier::Normal,
        context: name.into(),
        server: None,
        cluster_uid: None,
        kubernetes: None,
        kyverno: None,
        scan_interval: None,
        link: Link::Live,
        complete: true,
        last_seen: None,
        kinds: Vec::new(),
        findings: Tally::default(),
        owners: Tally::default(),
        summaries: None,
        blocked: Some(0),
        malformed: 0,
        stale: 0,
        policies: cells.len() as u64,
        exceptions: 0,
        notes: Vec::new(),
        cells: cells.into(),
        generation: 1,
        content: 1,
    }
}
