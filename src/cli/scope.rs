//! Narrowing an environment's cells to a namespace and a filter: numbers are counted anew from the rows that pass.

use super::reason;
use super::source::Source;
use super::status;
use crate::domain::{PolicyKey, ResourceRef, Tally, Tier, clean};
use crate::engine::Failure;
use crate::fleet::filter::{Filter, Verdict};
use crate::fleet::query::{FindingQuery, FindingRow};
use crate::fleet::view::{EnvironmentView, FleetView, PolicyCell};
use crate::kinds::{Family, KindId, group_of};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
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
    /// Nothing blocked, where a blocked request would show.
    pub blocked_known: Option<u64>,
    /// What is left.
    pub cells: Vec<PolicyCell>,
    /// Policies that are there, and out of scope.
    pub left_out: HashSet<PolicyKey>,
    /// Why it is not complete.
    pub reasons: Vec<String>,
}

impl Scope {
    /// What is left out by it, for people; nothing where all is shown.
    pub fn in_words(&self) -> Option<String> {
        let namespace = self.namespace.as_ref().map(|name| {
            let name = clean(name);
            format!("namespace {name}, with the Namespace itself; other cluster-scoped results are left out")
        });
        let filter = (!self.filter.is_empty()).then(|| format!("what passes the filter {}", clean(&self.filter.to_string())));
        let parts: Vec<String> = namespace.into_iter().chain(filter).collect();
        (!parts.is_empty()).then(|| format!("showing only {}", parts.join("; only ")))
    }
}

impl Scoped {
    /// A whole environment.
    pub fn whole(view: &EnvironmentView) -> Self {
        Self {
            name: Arc::clone(&view.name),
            tier: view.tier,
            complete: view.complete,
            reports_known: status::item(view).findings.is_some(),
            blocked_known: view.blocked_elsewhere(),
            cells: view.cells.to_vec(),
            left_out: HashSet::new(),
            reasons: reason::reasons(view),
        }
    }

    /// Whether every number counts everything, and is surely its policy's.
    pub fn is_certain(&self) -> bool {
        self.complete && self.cells.iter().all(|cell| cell.doubt.is_none())
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
                Verdict::Yes if scope.namespace.is_none() && !leaves_out_apart(&scope.filter, &cell) => scoped.cells.push(cell),
                _ => recount(source, &mut scoped, cell, scope, now).await,
            }
        }
        let left: HashSet<&PolicyKey> = scoped.cells.iter().map(|cell| &cell.key).collect();
        scoped.left_out = view.cells.iter().map(|cell| &cell.key).filter(|key| !left.contains(key)).cloned().collect();
        out.push(scoped);
    }
    out
}

/// Modes as they hold in a namespace; policies of other namespaces have nothing to do with it, unless results there say so.
async fn in_namespace(source: &impl Source, scoped: &mut Scoped, namespace: &str) {
    scoped.cells.retain(|cell| concerns(cell, namespace) || cell.findings.total() + cell.stale + cell.foreign > 0);
    // Which of the refused requests were for this namespace is not kept.
    scoped.blocked_known = None;
    let modes = match source.policies(&scoped.name, Some(namespace.to_owned())).await {
        Ok(rows) => rows.into_iter().map(|row| (row.key, (row.mode, row.in_force))).collect::<HashMap<_, _>>(),
        Err(failure) => return scoped.failed(&failure),
    };
    for cell in &mut scoped.cells {
        cell.blocked = None;
        if let Some((mode, in_force)) = modes.get(&cell.key) {
            (cell.mode, cell.in_force) = (*mode, in_force.clone());
        }
    }
}

/// Whether the filter leaves out results that are in no tally (`stale=no`): those have numbers of their own.
fn leaves_out_apart(filter: &Filter, cell: &PolicyCell) -> bool {
    (filter.wants_stale() && cell.stale > 0) || (filter.wants_foreign() && cell.foreign > 0)
}

/// Whether a policy can judge what is in a namespace.
fn concerns(cell: &PolicyCell, namespace: &str) -> bool {
    cell.key.id.namespace.as_deref().is_none_or(|own| own == namespace)
}

/// Counts a cell's rows that are in scope; without any, the cell stays only where the filter says nothing of rows.
async fn recount(source: &impl Source, scoped: &mut Scoped, mut cell: PolicyCell, scope: &Scope, now: Timestamp) {
    let whole_filter = scope.filter.matches_cell(&scoped.name, scoped.tier, &cell, now) == Verdict::Yes
        && scope.namespace.as_ref().is_none_or(|namespace| concerns(&cell, namespace));
    if whole_filter && cell.findings.total() == 0 && cell.stale == 0 && cell.foreign == 0 {
        scoped.cells.push(cell);
        return;
    }
    let query = FindingQuery {
        policy: Some(cell.key.clone()),
        namespace: scope.namespace.clone(),
        results: results(&scope.filter),
        by_owner: false,
        with_stale: true,
        with_foreign: true,
        with_report: false,
        counted: false,
    };
    let rows = match source.findings(&scoped.name, query).await {
        Ok(rows) => rows,
        Err(failure) => return scoped.failed(&failure),
    };
    let passing = rows.iter().filter(|row| scope.filter.matches_finding(&scoped.name, scoped.tier, row, now));
    let (foreign, own): (Vec<&FindingRow>, Vec<&FindingRow>) = passing.partition(|row| row.foreign);
    let (stale, counted): (Vec<&FindingRow>, Vec<&FindingRow>) = own.into_iter().partition(|row| row.stale);
    if counted.is_empty() && stale.is_empty() && foreign.is_empty() && !whole_filter {
        return;
    }
    cell.findings = Tally::default();
    for row in &counted {
        cell.findings.add(row.result);
    }
    cell.owners = by_owner(&counted);
    (cell.stale, cell.foreign) = (stale.len() as u64, foreign.len() as u64);
    cell.unverified = counted.iter().filter(|row| row.written_by.is_some()).count() as u64;
    cell.evaluated_at = counted.iter().filter_map(|row| row.evaluated_at).max();
    cell.blocked = cell.blocked.filter(|_| whole_filter);
    scoped.cells.push(cell);
}

/// The results to ask for: all of them where that is the same.
pub(super) fn results(filter: &Filter) -> Vec<crate::domain::FindingResult> {
    let results = filter.results();
    if results.len() == crate::domain::FindingResult::ALL.len() { Vec::new() } else { results }
}

/// Per rule of the policy and per top owner, the worst result once.
fn by_owner(rows: &[&FindingRow]) -> Tally {
    let mut worst: HashMap<(&PolicyKey, &str, Identity<'_>), crate::domain::FindingResult> = HashMap::new();
    for row in rows {
        let owner = row.owner.as_ref().unwrap_or(&row.resource);
        let result = worst.entry((&row.key, &*row.own_rule, identity(owner, row.owner_guessed))).or_insert(row.result);
        *result = (*result).max(row.result);
    }
    let mut tally = Tally::default();
    for result in worst.values() {
        tally.add(*result);
    }
    tally
}

#[derive(PartialEq, Eq, Hash)]
enum Identity<'r> {
    Uid(&'r str, &'r str),
    Name(&'r str, &'r str, &'r str, &'r str),
    /// What names no resource, or not all of it, is the same only in one report: the rows of an answer share what is the same.
    Itself(*const ResourceRef),
}

fn identity(resource: &Arc<ResourceRef>, is_guessed: bool) -> Identity<'_> {
    let is_report = KindId::of_family(Family::Report).any(|kind| kind.kind().kind == resource.kind);
    let is_incomplete = !is_guessed && (resource.api_version.is_empty() || resource.kind.is_empty());
    if resource.uid.is_empty() && (is_report || is_incomplete) {
        Identity::Itself(Arc::as_ptr(resource))
    } else if resource.uid.is_empty() {
        Identity::Name(&resource.namespace, group_of(&resource.api_version), &resource.kind, &resource.name)
    } else {
        Identity::Uid(&resource.namespace, &resource.uid)
    }
}
