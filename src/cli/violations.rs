//! `violations`: an item per policy, with a cell per environment.

use super::document::Item;
use super::items::{CellItem, Cells, InForceItem, ViolationsItem};
use super::rows::{OWNER_COLUMNS, TALLY_COLUMNS, count, maybe, mode, tally, text_or};
use super::scope::Scoped;
use super::table::{Cell, Column, Role};
use crate::domain::{Force, Gap, InForce, Mode, PolicyKey, Readiness, Severity, Tally, Tier};
use crate::fleet::view::PolicyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The items of all environments, sorted by policy; `by_faults` puts the worst first, as the screen does.
pub fn items(environments: &[Scoped], by_faults: bool) -> Vec<ViolationsItem> {
    let mut policies: BTreeMap<&PolicyKey, Vec<Option<&PolicyCell>>> = BTreeMap::new();
    for (index, environment) in environments.iter().enumerate() {
        for cell in &environment.cells {
            policies.entry(&cell.key).or_insert_with(|| vec![None; environments.len()])[index] = Some(cell);
        }
    }
    let mut items: Vec<ViolationsItem> = policies.into_iter().map(|(key, cells)| item(key, &cells, environments)).collect();
    items.sort_by(|a, b| (&a.policy.name, &a.policy, &a.source).cmp(&(&b.policy.name, &b.policy, &b.source)));
    if by_faults {
        items.sort_by_key(|item| std::cmp::Reverse(faults(item)));
    }
    items
}

fn faults(item: &ViolationsItem) -> u64 {
    item.environments.0.iter().filter_map(|(_, cell)| cell.owners.as_ref()).map(Tally::faults).sum()
}

fn item(key: &PolicyKey, cells: &[Option<&PolicyCell>], environments: &[Scoped]) -> ViolationsItem {
    let named = environments.iter().zip(cells).map(|(environment, cell)| {
        let item = match cell {
            Some(cell) => present(cell, environment),
            None if environment.left_out.contains(key) => left_out(),
            None => absent(environment),
        };
        (Arc::clone(&environment.name), item)
    });
    ViolationsItem {
        policy: Arc::clone(&key.id),
        source: Arc::clone(&key.source),
        severity: cells.iter().flatten().filter_map(|cell| cell.severity).max(),
        environments: Cells(named.collect()),
    }
}

fn present(cell: &PolicyCell, environment: &Scoped) -> CellItem {
    // What is seen is there, even where nothing reports any more.
    let known = if cell.is_silent() { cell.findings.faults() > 0 } else { environment.reports_known || cell.findings.total() > 0 };
    CellItem {
        mode: cell.mode,
        ready: ready(cell.ready),
        in_force: InForceItem::from(&cell.in_force),
        native: cell.native,
        revision: cell.revision.clone(),
        findings: known.then_some(cell.findings),
        owners: known.then_some(cell.owners),
        blocked: cell.blocked,
        stale: known.then_some(cell.stale),
        foreign: known.then_some(cell.foreign),
        unverified: known.then_some(cell.unverified),
        disappeared: known.then(|| cell.disappeared.as_ref().map_or(0, |disappeared| disappeared.results)),
        evaluated_at: cell.evaluated_at,
        complete: cell.complete && environment.complete && !cell.is_silent(),
        left_out: false,
    }
}

/// What is there and out of scope: nothing is said of it.
fn left_out() -> CellItem {
    CellItem {
        mode: Mode::Unknown,
        ready: None,
        in_force: InForceItem { state: Force::Unknown, reason: "left out by namespace or filter".to_owned() },
        native: false,
        revision: None,
        findings: None,
        owners: None,
        blocked: None,
        stale: None,
        foreign: None,
        unverified: None,
        disappeared: None,
        evaluated_at: None,
        complete: false,
        left_out: true,
    }
}

/// Where the environment is complete, nothing is known to be there; else nothing is known.
fn absent(environment: &Scoped) -> CellItem {
    let complete = environment.complete;
    CellItem {
        mode: if complete { Mode::Absent } else { Mode::Unknown },
        ready: None,
        in_force: InForceItem::from(&if complete {
            InForce::because(Force::No, Gap::NoPolicy)
        } else {
            InForce::because(Force::Unknown, Gap::NotSeen)
        }),
        native: false,
        revision: None,
        findings: complete.then(Tally::default),
        owners: complete.then(Tally::default),
        blocked: environment.blocked_known.filter(|_| complete),
        stale: complete.then_some(0),
        foreign: complete.then_some(0),
        unverified: complete.then_some(0),
        disappeared: complete.then_some(0),
        evaluated_at: None,
        complete,
        left_out: false,
    }
}

/// Whether it is in force; unknown is neither.
pub(super) fn ready(readiness: Readiness) -> Option<bool> {
    match readiness {
        Readiness::Ready => Some(true),
        Readiness::NotReady => Some(false),
        Readiness::Unknown => None,
    }
}

/// Environments with their tiers: the table has columns for each.
pub type Road = Vec<(Arc<str>, Tier)>;

impl Item for ViolationsItem {
    type Context = Road;

    fn columns(road: &Road) -> Vec<Column> {
        let mut columns = vec![Column::text("policy"), Column::text("sev")];
        for (name, tier) in road {
            let marked = *tier == Tier::Production && !name.eq_ignore_ascii_case("production");
            columns.push(Column::text(&if marked { format!("{name} PRODUCTION") } else { name.to_string() }));
            columns.push(Column::number("faults"));
            columns.push(Column::number("blocked"));
        }
        columns
    }

    fn row(&self, _: &Road, ascii: bool) -> Vec<Cell> {
        let severity = match self.severity {
            Some(severity) => Cell::new(severity.short(), if severity >= Severity::High { Role::Attention } else { Role::Plain }),
            None => Cell::new(if ascii { "-" } else { "–" }, Role::Dim),
        };
        let mut row = vec![Cell::plain(&self.policy.report_name()), severity];
        for (_, cell) in &self.environments.0 {
            if cell.left_out {
                row.extend([Cell::new("left out", Role::Dim), Cell::empty(), Cell::empty()]);
                continue;
            }
            row.push(mode(cell.mode, ascii));
            if cell.mode == Mode::Absent && cell.findings.is_some_and(|tally| tally.total() == 0) {
                row.extend([Cell::empty(), Cell::empty()]);
                continue;
            }
            // Nothing evaluated is not nothing wrong.
            let looks = !matches!(cell.mode, Mode::Absent | Mode::Off);
            let evaluated = cell.owners.as_ref().filter(|tally| !looks || tally.total() > 0 || cell.evaluated_at.is_some());
            row.push(count(evaluated.map(Tally::faults), cell.complete, Role::Fault));
            row.push(count(cell.blocked, cell.complete, Role::Attention));
        }
        row
    }

    fn csv_columns() -> Vec<&'static str> {
        let mut columns = vec!["group", "kind", "namespace", "name", "source", "severity", "environment", "mode", "ready", "revision"];
        columns.extend(TALLY_COLUMNS);
        columns.extend(OWNER_COLUMNS);
        columns.extend(["blocked", "stale", "evaluatedAt", "complete", "inForce", "inForceReason", "native"]);
        columns
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let id = &self.policy;
        let row = |(environment, cell): &(Arc<str>, CellItem)| {
            let mut row = vec![id.group.clone(), id.kind.clone(), text_or(id.namespace.as_deref(), "").to_owned(), id.name.clone()];
            row.extend([
                self.source.to_string(),
                maybe(self.severity.map(Severity::as_str)),
                environment.to_string(),
                cell.mode.to_string(),
            ]);
            row.extend([maybe(cell.ready), maybe(cell.revision.as_ref())]);
            row.extend(tally(cell.findings.as_ref()));
            row.extend(tally(cell.owners.as_ref()));
            row.extend([maybe(cell.blocked), maybe(cell.stale), maybe(cell.evaluated_at), cell.complete.to_string()]);
            row.extend([cell.in_force.state.as_str().to_owned(), cell.in_force.reason.clone(), cell.native.to_string()]);
            row
        };
        self.environments.0.iter().map(row).collect()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.policy.to_string()]
    }
}
