//! Narrowing an environment's cells to a namespace and a filter: numbers are counted anew from the rows that pass.

use super::reason;
use super::source::Source;
use super::status;
use crate::domain::{PolicyKey, ResourceRef, Tally, Tier};
use crate::engine::Failure;
use crate::fleet::filter::{Filter, Verdict};
use crate::fleet::query::{FindingQuery, FindingRow};
use crate::fleet::view::{EnvironmentView, FleetView, PolicyCell};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// What is wanted of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only what passes.
    pub filter: Filter,
}

/// One environment, narrowed.
#[derive(Debug, Clone)]
pub struct Scoped {
    /// Name.
    pub name: Arc<str>,
    /// Tier.
    pub tier: Tier,
    /// Whether the numbers count everything.
    pub complete: bool,
    /// Whether reports have been read at all.
    pub reports_known: bool,
    /// Nothing blocked, where that can be told.
    pub blocked_known: Option<u64>,
    /// What is left.
    pub cells: Vec<PolicyCell>,
    /// Why it is not complete.
    pub reasons: Vec<String>,
}

impl Scoped {
    /// A whole environment.
    pub fn whole(view: &EnvironmentView) -> Self {
        Self {
            name: Arc::clone(&view.name),
            tier: view.tier,
            complete: view.complete,
            reports_known: status::item(view).findings.is_some(),
            blocked_known: view.blocked.map(|_| 0),
            cells: view.cells.to_vec(),
            reasons: reason::reasons(view),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.complete = false;
        let hint = if failure.hint.is_empty() { String::new() } else { format!(". {}", failure.hint) };
        self.reasons.push(format!("{}{hint}", failure.what));
    }
}

/// All environments that can have anything in scope, narrowed.
pub async fn narrow(source: &impl Source, fleet: &FleetView, scope: &Scope, now: Timestamp) -> Vec<Scoped> {
    let mut out = Vec::with_capacity(fleet.environments.len());
    for view in &fleet.environments {
        if !scope.filter.matches_environment(&view.name, view.tier) {
            continue;
        }
        let mut scoped = Scoped::whole(view);
        if let Some(namespace) = &scope.namespace {
            in_namespace(source, &mut scoped, namespace).await;
        }
        let cells = std::mem::take(&mut scoped.cells);
        for cell in cells {
            match scope.filter.matches_cell(&view.name, view.tier, &cell, now) {
                Verdict::No => {}
                Verdict::Yes if scope.namespace.is_none() => scoped.cells.push(cell),
                _ => recount(source, &mut scoped, cell, scope, now).await,
            }
        }
        out.push(scoped);
    }
    out
}

/// Modes as they hold in a namespace; policies of other namespaces have nothing to do with it.
async fn in_namespace(source: &impl Source, scoped: &mut Scoped, namespace: &str) {
    scoped.cells.retain(|cell| cell.key.id.namespace.as_deref().is_none_or(|own| own == namespace));
    // Which of the refused requests were for this namespace is not kept.
    scoped.blocked_known = None;
    let modes = match source.policies(&scoped.name, Some(namespace.to_owned())).await {
        Ok(rows) => rows.into_iter().map(|row| (row.key, row.mode)).collect::<HashMap<_, _>>(),
        Err(failure) => return scoped.failed(&failure),
    };
    for cell in &mut scoped.cells {
        cell.blocked = None;
        if let Some(mode) = modes.get(&cell.key) {
            cell.mode = *mode;
        }
    }
}

/// Counts a cell's rows that are in scope; without any, the cell stays only where the filter says nothing of rows.
async fn recount(source: &impl Source, scoped: &mut Scoped, mut cell: PolicyCell, scope: &Scope, now: Timestamp) {
    let whole_filter = scope.filter.matches_cell(&scoped.name, scoped.tier, &cell, now) == Verdict::Yes;
    if whole_filter && cell.findings.total() == 0 && cell.stale == 0 {
        scoped.cells.push(cell);
        return;
    }
    let query = FindingQuery {
        policy: Some(cell.key.clone()),
        namespace: scope.namespace.clone(),
        results: results(&scope.filter),
        by_owner: false,
        with_stale: true,
    };
    let rows = match source.findings(&scoped.name, query).await {
        Ok(rows) => rows,
        Err(failure) => return scoped.failed(&failure),
    };
    let passing = rows.iter().filter(|row| scope.filter.matches_finding(&scoped.name, scoped.tier, row, now));
    let (stale, counted): (Vec<&FindingRow>, Vec<&FindingRow>) = passing.partition(|row| row.stale);
    if counted.is_empty() && stale.is_empty() && !whole_filter {
        return;
    }
    cell.findings = Tally::default();
    counted.iter().for_each(|row| cell.findings.add(row.result));
    cell.owners = by_owner(&counted);
    cell.stale = stale.len() as u64;
    cell.evaluated_at = counted.iter().filter_map(|row| row.evaluated_at).max();
    cell.blocked = cell.blocked.filter(|_| whole_filter);
    scoped.cells.push(cell);
}

/// The results to ask for: all of them where that is the same.
pub(super) fn results(filter: &Filter) -> Vec<crate::domain::FindingResult> {
    let results = filter.results();
    if results.len() == crate::domain::FindingResult::ALL.len() { Vec::new() } else { results }
}

/// Per rule without `autogen-` and per top owner, the worst result once.
fn by_owner(rows: &[&FindingRow]) -> Tally {
    let mut worst: HashMap<(&PolicyKey, &str, Identity<'_>), crate::domain::FindingResult> = HashMap::new();
    for row in rows {
        let owner = row.owner.as_ref().unwrap_or(&row.resource);
        let key = (&row.key, bare_rule(&row.rule), identity(owner));
        let result = worst.entry(key).or_insert(row.result);
        *result = (*result).max(row.result);
    }
    let mut tally = Tally::default();
    worst.values().for_each(|result| tally.add(*result));
    tally
}

#[derive(PartialEq, Eq, Hash)]
enum Identity<'r> {
    Uid(&'r str),
    Name(&'r str, &'r str, &'r str),
}

fn identity(resource: &ResourceRef) -> Identity<'_> {
    if resource.uid.is_empty() { Identity::Name(&resource.kind, &resource.namespace, &resource.name) } else { Identity::Uid(&resource.uid) }
}

fn bare_rule(rule: &str) -> &str {
    rule.strip_prefix("autogen-cronjob-").or_else(|| rule.strip_prefix("autogen-")).unwrap_or(rule)
}
