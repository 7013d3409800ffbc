//! `policies`: an item per policy and environment, with its rules.

use super::document::Item;
use super::items::{InForceItem, PolicyItem, RuleItem};
use super::rows::{maybe, mode};
use super::table::{Cell, Column, Role};
use super::violations::ready;
use crate::domain::{Force, Mode, Severity};
use crate::fleet::query::PolicyRow;
use std::sync::Arc;

/// The item of one policy.
pub fn item(environment: &Arc<str>, row: &PolicyRow) -> PolicyItem {
    let policy = &row.policy;
    let rules = row.rules.iter().map(|rule| RuleItem {
        name: Arc::clone(&rule.name),
        rule_type: rule.rule_type,
        mode: rule.mode,
        overrides: rule.overrides.clone(),
    });
    PolicyItem {
        environment: Arc::clone(environment),
        policy: Arc::clone(&row.key.id),
        source: Arc::clone(&row.key.source),
        mode: row.mode,
        ready: ready(policy.ready),
        in_force: InForceItem::from(&row.in_force),
        native: row.native,
        admission: policy.admission,
        background: policy.background,
        revision: policy.revision.clone(),
        severity: policy.severity,
        category: policy.category.clone(),
        rules: rules.collect(),
        managed_by: policy.managed_by.clone(),
        deprecated: policy.deprecated,
    }
}

impl Item for PolicyItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        let mut columns: Vec<Column> = ["environment", "kind", "policy", "mode", "in force"].map(Column::text).into();
        columns.push(Column::number("rules"));
        columns.extend(["background", "revision", "managed by"].map(Column::text));
        columns
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let yes = |yes: bool| Cell::new(if yes { "yes" } else { "no" }, Role::Plain);
        let managed = self.managed_by.as_ref().map_or_else(String::new, |by| format!("{} {}", by.tool, by.reference));
        vec![
            Cell::plain(&self.environment),
            Cell::plain(&self.policy.kind),
            Cell::plain(&self.policy.report_name()),
            mode(self.mode, ascii),
            match self.in_force.state {
                Force::Yes if self.native => Cell::new("native", Role::Dim),
                Force::Yes => Cell::new("yes", Role::Dim),
                // A policy that has nothing to do with admission is no cause for concern.
                Force::No if self.mode == Mode::Off => Cell::new("no", Role::Dim),
                Force::No | Force::Partly => Cell::new(self.in_force.state.as_str(), Role::Attention),
                Force::Unknown => Cell::new("?", Role::Dim),
            },
            Cell::plain(&self.rules.len().to_string()),
            yes(self.background),
            Cell::plain(&self.revision.0),
            Cell::plain(&managed),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        let mut columns = vec!["environment", "group", "kind", "namespace", "name", "mode", "ready", "admission", "background", "revision"];
        columns.extend([
            "severity",
            "category",
            "rules",
            "managedByTool",
            "managedByReference",
            "deprecated",
            "inForce",
            "inForceReason",
            "native",
        ]);
        columns
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let id = &self.policy;
        let mut row = vec![self.environment.to_string(), id.group.clone(), id.kind.clone(), maybe(id.namespace.as_ref()), id.name.clone()];
        row.extend([self.mode.to_string(), maybe(self.ready), self.admission.to_string(), self.background.to_string()]);
        row.extend([self.revision.to_string(), maybe(self.severity.map(Severity::as_str)), maybe(self.category.as_ref())]);
        row.push(self.rules.iter().map(|rule| format!("{}={}", rule.name, rule.mode)).collect::<Vec<_>>().join(" "));
        row.extend([maybe(self.managed_by.as_ref().map(|by| &by.tool)), maybe(self.managed_by.as_ref().map(|by| &by.reference))]);
        row.push(maybe(self.deprecated));
        row.extend([self.in_force.state.as_str().to_owned(), self.in_force.reason.clone(), self.native.to_string()]);
        vec![row]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.policy.to_string()]
    }
}
