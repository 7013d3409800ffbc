//! `findings`: an item per finding, written as they are asked for, policy by policy.

use super::document::Item;
use super::items::FindingItem;
use super::rows::maybe;
use super::source::Source;
use super::table::{Cell, Column, Role};
use crate::domain::near::nearest;
use crate::domain::{FindingResult, PolicyId, ResourceRef, Severity};
use crate::fleet::query::{FindingQuery, FindingRow};
use crate::fleet::view::PolicyCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The item of one row.
pub fn item(environment: &Arc<str>, row: FindingRow) -> FindingItem {
    let unless_empty = |text: Arc<str>| Some(text).filter(|text| !text.is_empty());
    FindingItem {
        environment: Arc::clone(environment),
        source: row.key.source,
        policy: row.key.id,
        rule: row.rule,
        result: row.result,
        severity: row.severity,
        category: unless_empty(row.category),
        message: row.message,
        resource: row.resource,
        owner: row.owner,
        owner_guessed: row.owner_guessed,
        evaluated_at: row.evaluated_at,
        exception: unless_empty(row.exception),
        stale: row.stale,
        foreign: row.foreign,
        written_by: row.written_by,
        idle: None,
        properties: row.properties.iter().cloned().collect(),
    }
}

/// Old ReplicaSets that alone violate, by rule and owner.
pub type Idle = HashMap<(Arc<str>, Arc<ResourceRef>), Arc<ResourceRef>>;

/// The old ReplicaSets of a policy in one environment: a question only where something violates it.
pub async fn idle(source: &impl Source, environment: &str, cell: &PolicyCell) -> Idle {
    if cell.owners.faults() == 0 {
        return Idle::new();
    }
    let query = FindingQuery {
        policy: Some(cell.key.clone()),
        results: vec![FindingResult::Fail, FindingResult::Error],
        by_owner: true,
        ..FindingQuery::default()
    };
    let rows = source.findings(environment, query).await.unwrap_or_default();
    rows.into_iter().filter_map(|row| Some(((row.own_rule, row.resource), row.idle?))).collect()
}

/// Why `POLICY` names no policy, or not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOne {
    /// Nothing is called so; the nearest name.
    None(Option<String>),
    /// Several are; their full names.
    Several(Vec<String>),
}

/// The policy that `argument` means: `name`, `kind/name`, `kind/namespace/name`, or `namespace/name` as reports write it.
pub fn find<'p>(argument: &str, policies: impl IntoIterator<Item = &'p PolicyId>) -> Result<&'p PolicyId, NotOne> {
    let all: BTreeSet<&PolicyId> = policies.into_iter().collect();
    let hits: Vec<&PolicyId> = all.iter().copied().filter(|id| names(argument, id)).collect();
    match hits[..] {
        [one] => Ok(one),
        [] => Err(NotOne::None(nearest(argument, all.iter().map(|id| id.name.as_str())).map(str::to_owned))),
        // The group tells apart what kind, namespace and name do not.
        _ => Err(NotOne::Several(
            hits.iter()
                .map(|id| if id.group.is_empty() { format!("{id} (of another tool)") } else { format!("{id} ({})", id.group) })
                .collect(),
        )),
    }
}

/// Whether `argument` is a name of the policy, in any of the forms above.
pub(super) fn names(argument: &str, id: &PolicyId) -> bool {
    let kind = |kind: &str| kind.eq_ignore_ascii_case(&id.kind);
    match argument.split('/').collect::<Vec<_>>()[..] {
        [name] => id.name == name,
        [first, name] => id.name == name && (kind(first) || id.namespace.as_deref() == Some(first)),
        [first, namespace, name] => id.name == name && id.namespace.as_deref() == Some(namespace) && kind(first),
        _ => false,
    }
}

impl Item for FindingItem {
    type Context = ();
    const LONG: bool = true;

    fn columns((): &()) -> Vec<Column> {
        ["environment", "result", "sev", "policy", "rule", "namespace", "resource", "owner", "message"].map(Column::text).into()
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let role = match self.result {
            FindingResult::Fail | FindingResult::Error => Role::Fault,
            FindingResult::Warn => Role::Attention,
            FindingResult::Pass | FindingResult::Skip => Role::Dim,
        };
        let dash = if ascii { "-" } else { "–" };
        let owner = self.owner.as_ref().map_or_else(String::new, |owner| format!("{}{owner}", if self.owner_guessed { "~" } else { "" }));
        vec![
            Cell::plain(&self.environment),
            Cell::new(
                if self.stale {
                    "stale"
                } else if self.foreign {
                    "foreign"
                } else {
                    self.result.as_str()
                },
                role,
            ),
            Cell::plain(self.severity.map_or(dash, Severity::short)),
            Cell::plain(&self.policy.report_name()),
            Cell::plain(&self.rule),
            Cell::plain(&self.resource.namespace),
            Cell::plain(&self.resource.to_string()),
            Cell::plain(&owner),
            Cell::plain(&self.message),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        let mut columns =
            vec!["environment", "source", "group", "kind", "policyNamespace", "policy", "rule", "result", "severity", "category"];
        columns.extend(["message", "resourceApiVersion", "resourceKind", "resourceNamespace", "resourceName", "resourceUid"]);
        columns.extend([
            "ownerApiVersion",
            "ownerKind",
            "ownerNamespace",
            "ownerName",
            "ownerUid",
            "evaluatedAt",
            "exception",
            "stale",
            "foreign",
            "writtenBy",
        ]);
        columns
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let mut row = vec![self.environment.to_string(), self.source.to_string(), self.policy.group.clone(), self.policy.kind.clone()];
        row.extend([maybe(self.policy.namespace.as_ref()), self.policy.name.clone(), self.rule.to_string(), self.result.to_string()]);
        row.extend([maybe(self.severity.map(Severity::as_str)), maybe(self.category.as_ref()), self.message.to_string()]);
        row.extend(reference(Some(&self.resource)));
        row.extend(reference(self.owner.as_deref()));
        row.extend([maybe(self.evaluated_at), maybe(self.exception.as_ref()), self.stale.to_string(), self.foreign.to_string()]);
        row.push(maybe(self.written_by.as_ref()));
        vec![row]
    }

    fn identifiers(&self) -> Vec<String> {
        let resource = &self.resource;
        let place = if resource.namespace.is_empty() { String::new() } else { format!("{}/", resource.namespace) };
        vec![format!("{}/{}/{}/{}/{place}{}", self.environment, self.policy, self.rule, resource.kind, resource.name)]
    }
}

fn reference(resource: Option<&ResourceRef>) -> [String; 5] {
    let Some(resource) = resource else { return Default::default() };
    [&resource.api_version, &resource.kind, &resource.namespace, &resource.name, &resource.uid].map(Clone::clone)
}
