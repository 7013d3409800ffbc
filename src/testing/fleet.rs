//! An environment and a policy of which there is nothing to say, for tests that say what matters to them.

use crate::domain::{InForce, Link, Mode, PolicyId, PolicyKey, Readiness};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use std::sync::Arc;

/// A ClusterPolicy that is in force and has no results.
pub(crate) fn cell(name: &str, mode: Mode) -> PolicyCell {
    let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: name.into() };
    PolicyCell {
        key: PolicyKey { source: "kyverno".into(), id: Arc::new(id) },
        mode,
        ready: Readiness::Ready,
        in_force: InForce::YES,
        blocked: Some(0),
        complete: true,
        ..PolicyCell::default()
    }
}

/// A live and complete environment with these policies.
pub(crate) fn environment(name: &str, cells: Vec<PolicyCell>) -> EnvironmentView {
    EnvironmentView {
        name: name.into(),
        context: name.into(),
        makes_events: Some(true),
        answers: InForce::YES,
        skew: Some(jiff::SignedDuration::ZERO),
        link: Link::Live,
        complete: true,
        blocked: Some(0),
        blocks_held: Some(0),
        policies: cells.len() as u64,
        cells: cells.into(),
        generation: 1,
        content: 1,
        ..EnvironmentView::default()
    }
}
