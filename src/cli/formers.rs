//! `rollback POLICY --list`: what a policy was, and where that is kept.

use super::document::Item;
use super::rows::maybe;
use super::table::{Cell, Column, Role};
use crate::domain::{Mode, Revision};
use crate::engine::operations::{Former, Kept};
use jiff::Timestamp;
use serde::Serialize;

/// A state in which a policy was.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerItem {
    /// Of an archive: when it was so last. Of the history: since when it was so.
    pub at: Timestamp,
    /// Of the history: until when, as far as was seen.
    pub until: Option<Timestamp>,
    /// What it said.
    pub revision: Revision,
    /// What it did.
    pub mode: Mode,
    /// `archive` or `history`.
    pub source: &'static str,
    /// The archive's folder.
    pub archive: Option<String>,
    /// Of an archive: the operation that was about to change it.
    pub before: Option<String>,
    /// Of an archive: who was about to change it. Of the history: who made it so.
    pub actor: Option<String>,
    /// It is what the policy is now.
    pub present: bool,
    /// Whether what it said is kept, so that it can be put back.
    pub whole: bool,
}

/// The item of a former state.
pub fn item(former: &Former) -> FormerItem {
    let (source, until, archive, before) = match &former.kept {
        Kept::Archive { folder, before } => ("archive", None, Some(folder.display().to_string()), Some(before.clone())),
        Kept::History { until } => ("history", *until, None, None),
    };
    FormerItem {
        at: former.at,
        until,
        revision: former.revision.clone(),
        mode: former.mode,
        source,
        archive,
        before,
        actor: former.actor.clone(),
        present: former.present,
        whole: former.object.is_some(),
    }
}

impl FormerItem {
    /// Where it is kept, in words.
    fn place(&self) -> String {
        match (&self.archive, &self.before) {
            (Some(folder), Some(before)) => format!("before {before}: {folder}"),
            _ if self.whole => "history".to_owned(),
            _ => "history, without its text".to_owned(),
        }
    }
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

impl Item for FormerItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["time (utc)", "revision", "mode", "actor", "", "kept"].map(Column::text).into()
    }

    fn row(&self, (): &(), _: bool) -> Vec<Cell> {
        let role = if self.whole { Role::Plain } else { Role::Dim };
        vec![
            Cell::plain(&minute(self.at)),
            Cell::plain(&self.revision.0),
            Cell::plain(self.mode.as_str()),
            Cell::plain(self.actor.as_deref().unwrap_or("-")),
            Cell::plain(if self.present { "now" } else { "" }),
            Cell::new(&self.place(), role),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["at", "until", "revision", "mode", "source", "archive", "before", "actor", "present", "whole"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let text = |text: &Option<String>| maybe(text.as_ref());
        vec![vec![
            self.at.to_string(),
            maybe(self.until),
            self.revision.to_string(),
            self.mode.to_string(),
            self.source.to_owned(),
            text(&self.archive),
            text(&self.before),
            text(&self.actor),
            self.present.to_string(),
            self.whole.to_string(),
        ]]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.revision.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_kept_is_said() {
        let former = |kept, whole: bool| Former {
            at: Timestamp::UNIX_EPOCH,
            revision: Revision("ab".into()),
            mode: Mode::Audit,
            actor: None,
            kept,
            present: false,
            doubt: None,
            object: whole.then_some(serde_json::Value::Null),
        };
        let archive = Kept::Archive { folder: "/a/b".into(), before: "promote".into() };
        for (kept, whole, expected) in [
            (archive, true, "before promote: /a/b"),
            (Kept::History { until: None }, true, "history"),
            (Kept::History { until: None }, false, "history, without its text"),
        ] {
            let item = item(&former(kept, whole));
            assert_eq!(item.place(), expected);
            assert_eq!(item.csv_rows()[0].len(), FormerItem::csv_columns().len());
            assert_eq!(item.row(&(), false).len(), FormerItem::columns(&()).len());
        }
    }
}
