//! A tenant who may write reports and events in one namespace changes nothing that is not in it.

use super::acts::{bytes, now, streams};
use super::{complete, world};
use crate::domain::{FindingResult, PolicyKey};
use crate::fleet::delta::{Change, Delta, StreamEvent, StreamId};
use crate::fleet::query::{BlockedRow, FindingQuery, FindingRow};
use crate::fleet::state::EnvironmentState;
use crate::fleet::view::EnvironmentView;
use crate::kinds::Family;
use crate::kinds::report::is_kyverno;
use crate::testing::{Dice, cases};
use serde_json::json;
use std::collections::BTreeSet;

const OWN: &str = "a";

/// What is not the tenant's: findings of Kyverno, and what it refused.
fn of_others(state: &EnvironmentState) -> (Vec<FindingRow>, Vec<FindingRow>, Vec<BlockedRow>) {
    let rows = |by_owner| {
        let all = state.findings(&FindingQuery { by_owner, with_stale: true, with_foreign: false, ..FindingQuery::default() });
        all.into_iter().filter(|row| row.resource.namespace != OWN && is_kyverno(&row.key.source)).collect()
    };
    let blocks = state.blocked_rows(None).into_iter().filter(|row| row.key.id.namespace.as_deref() != Some(OWN)).collect();
    (rows(false), rows(true), blocks)
}

fn write(own: &[StreamId], dice: &mut Dice) -> Option<Delta> {
    let id = dice.of(own).clone();
    let mut object = world::object(id.kind, OWN, dice)?;
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl-edit", "fieldsV1": {"f:results": {}}}]);
    let change = if dice.one_in(4) { Change::Deleted } else { Change::Put };
    Some(Delta::Stream(id, StreamEvent::Changed(vec![(change, bytes(&object))])))
}

/// Failures of Kyverno in the tenant's namespace, of policies that exist.
fn own_failures(state: &mut EnvironmentState) -> Vec<FindingRow> {
    let exists: BTreeSet<PolicyKey> =
        state.view().cells.iter().filter(|cell| cell.revision.is_some()).map(|cell| cell.key.clone()).collect();
    let results = vec![FindingResult::Fail, FindingResult::Error, FindingResult::Warn];
    let rows = state.findings(&FindingQuery { results, namespace: Some(OWN.to_owned()), ..FindingQuery::default() });
    rows.into_iter().filter(|row| is_kyverno(&row.key.source) && exists.contains(&row.key)).collect()
}

/// What is left of a failure: the same, or a mark.
fn is_left_or_marked(failure: &FindingRow, now: &[FindingRow], view: &EnvironmentView) -> bool {
    let is_it = |row: &&FindingRow| (&row.key, &row.own_rule, &row.resource) == (&failure.key, &failure.own_rule, &failure.resource);
    let is_left = now.iter().filter(is_it).any(|row| row.result == failure.result || row.written_by.is_some());
    is_left || view.cells.iter().any(|cell| cell.key == failure.key && cell.disappeared.is_some())
}

#[test]
fn a_tenant_hides_no_failure_of_its_own_unmarked() {
    let is_own = |id: &StreamId| id.kind.kind().namespaced && id.kind.kind().family == Family::Report;
    let own: Vec<StreamId> = streams(true).into_iter().filter(is_own).collect();
    let (mut hidden, mut failures) = (0, 0);
    cases("a_tenant_of_its_own", 10_000, |dice| {
        let (mut state, _) = complete("dev", dice);
        let before = own_failures(&mut state);
        for delta in (0..=dice.below(8)).filter_map(|_| write(&own, dice)) {
            state.apply(delta, now());
        }
        state.settle();
        let (view, after) = (state.view(), state.findings(&FindingQuery { with_stale: true, ..FindingQuery::default() }));
        failures += before.len();
        for failure in &before {
            assert!(is_left_or_marked(failure, &after, &view), "{failure:?}");
            hidden += u64::from(!after.iter().any(|row| (&row.key, &row.resource) == (&failure.key, &failure.resource)));
        }
    });
    assert!(hidden > 0 || failures < 1_000, "no tenant took any of {failures} failures away");
}

#[test]
fn a_tenant_changes_nothing_of_others() {
    let family = |id: &StreamId| id.kind.kind().family;
    let is_own = |id: &StreamId| id.kind.kind().namespaced && matches!(family(id), Family::Report | Family::Event);
    let own: Vec<StreamId> = streams(true).into_iter().filter(is_own).collect();
    let (mut foreign, mut wrote) = (0, 0);
    cases("a_tenant", 10_000, |dice| {
        let (mut state, _) = complete("dev", dice);
        let before = of_others(&state);
        for delta in (0..=dice.below(8)).filter_map(|_| write(&own, dice)) {
            state.apply(delta, now());
            wrote += 1;
        }
        state.settle();
        assert_eq!(of_others(&state), before);
        let claims = state.findings(&FindingQuery { with_stale: true, with_foreign: true, ..FindingQuery::default() });
        let claims = claims.iter().filter(|row| row.foreign).count() as u64;
        // What it claims about others is not lost: it is counted by policy, and listed.
        assert_eq!(state.view().cells.iter().map(|cell| cell.foreign).sum::<u64>(), claims);
        foreign += claims;
    });
    assert!(wrote == 0 || foreign > 0, "a tenant of {wrote} writes never spoke of others");
}
