//! What a policy was: what there is to go back to.
//!
//! What lives here: [`Former`], and finding them. What does not: choosing one (the faces), the plan that goes back (`ops::rollback`).

use super::execute::blocking;
use super::{Declined, Operator, kind_of};
use crate::domain::{Mode, PolicyId};
use crate::files::archive::{Archive, newest_first, read_archive};
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, KindId, read_policy};
use jiff::Timestamp;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a policy of one environment was, and where that is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Former {
    /// In the archive of what was there before an operation.
    Archive {
        /// The archive's folder.
        path: PathBuf,
        /// When it was written: until then the policy was so.
        at: Timestamp,
        /// Who was about to change it.
        by: String,
        /// Why: the operation's word.
        why: String,
        /// What the policy did, once in force; `None` where that could not be told.
        mode: Option<Mode>,
        /// The policy, without what an API server fills in.
        object: Value,
    },
}

impl Former {
    /// Until when the policy was so.
    pub fn at(&self) -> Timestamp {
        let Self::Archive { at, .. } = self;
        *at
    }

    /// What it did, once in force; `None` where that could not be told.
    pub fn mode(&self) -> Option<Mode> {
        let Self::Archive { mode, .. } = self;
        *mode
    }

    /// The policy.
    pub fn object(&self) -> &Value {
        let Self::Archive { object, .. } = self;
        object
    }

    /// Who changed it then; empty where that is not known.
    pub fn by(&self) -> &str {
        let Self::Archive { by, .. } = self;
        by
    }

    /// Where this is from, in words: `before promote`.
    pub fn words(&self) -> String {
        let Self::Archive { why, .. } = self;
        format!("before {why}")
    }
}

impl Operator {
    /// What the policy was in that environment, the newest first, no more than `at_most`. Archives that are damaged are left out: one says so when it
    /// is named.
    pub async fn formers(&self, policy: &PolicyId, environment: &str, at_most: usize) -> Result<Vec<Former>, Declined> {
        let (folder, wanted, here) = (self.keeping.archives.clone(), policy.clone(), environment.to_owned());
        let found = blocking(move || {
            let archives = newest_first(&folder)?.into_iter();
            let read = archives.filter_map(|path| read_archive(&path).ok().map(|archive| (path, archive)));
            Ok(read.filter_map(|(path, archive)| Found::of(path, archive, &wanted, &here)).take(at_most).collect::<Vec<_>>())
        });
        let found = found.await.map_err(|declined| Declined::Usage(declined.to_string()))?;
        self.with_modes(found, policy, environment).await
    }

    /// What the policy was according to one archive.
    pub async fn former_in(&self, policy: &PolicyId, environment: &str, archive: &Path) -> Result<Former, Declined> {
        let path = archive.to_path_buf();
        let read = blocking(move || read_archive(&path)).await.map_err(|declined| Declined::Usage(declined.to_string()))?;
        let found = Found::of(archive.to_path_buf(), read, policy, environment);
        let found = found.ok_or_else(|| Declined::Usage(format!("{} has no {policy} of {environment}", archive.display())))?;
        let former = self.with_modes(vec![found], policy, environment).await?.pop();
        former.ok_or_else(|| Declined::Usage(format!("{} could not be read", archive.display())))
    }

    /// What a policy's mode is depends on the Kyverno that it is for.
    async fn with_modes(&self, found: Vec<Found>, policy: &PolicyId, environment: &str) -> Result<Vec<Former>, Declined> {
        let kind = kind_of(policy)?;
        let kyverno = self.engine.kyverno(environment).await.ok();
        let former = |found: Found| {
            let mode = kyverno.as_ref().and_then(|kyverno| written_mode(kind, &found.object, kyverno).ok());
            Former::Archive { path: found.path, at: found.at, by: found.by, why: found.why, mode, object: found.object }
        };
        Ok(found.into_iter().map(former).collect())
    }
}

/// A policy in an archive.
struct Found {
    path: PathBuf,
    at: Timestamp,
    by: String,
    why: String,
    object: Value,
}

impl Found {
    fn of(path: PathBuf, archive: Archive, policy: &PolicyId, environment: &str) -> Option<Self> {
        if archive.manifest.environment != environment {
            return None;
        }
        let is_it = |object: &Value| {
            let kind: Option<&'static Kind> = KindId::of_object(object).map(KindId::kind);
            kind.is_some_and(|kind| read_policy(kind, object).is_ok_and(|read| read.id == *policy))
        };
        let object = archive.objects.into_iter().find(is_it)?;
        Some(Self { path, at: archive.manifest.created_at, by: archive.manifest.who.to_string(), why: archive.manifest.why, object })
    }
}
