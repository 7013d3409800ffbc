//! What a policy was, and can be put back to: from the archives of operations and from the history, in one list.
//!
//! What lives here: gathering it, and which one is meant. What does not: the plan of a rollback (`ops::rollback`), how the list looks (the faces).

use super::bound::Recorded;
use super::seen::Seen;
use super::{Declined, Operator, Request, kind_of};
use crate::domain::history::{EnvironmentKey, RevisionText};
use crate::domain::{Action, Mode, PolicyId, Revision};
use crate::files::archive::{Archive, newest_first, read_archive};
use crate::kinds::mode::Kyverno;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::{set_mode, written_mode};
use crate::kinds::{Kind, KindId, read_policy};
use crate::ops::plan::Plan;
use jiff::Timestamp;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a former state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the archive that an operation saved before it wrote.
    Archive {
        /// Its folder.
        folder: PathBuf,
        /// What was done then: `promote`, `demote`, …
        before: String,
    },
    /// In the history.
    History {
        /// When it ended, as far as was seen; `None` while nobody saw it end.
        until: Option<Timestamp>,
    },
}

/// A state in which a policy was.
#[derive(Debug, Clone, PartialEq)]
pub struct Former {
    /// Of an archive: when it was saved, which is when it was so last. Of the history: since when it was so.
    pub at: Timestamp,
    /// What it said.
    pub revision: Revision,
    /// What it did.
    pub mode: Mode,
    /// Of an archive: who was about to change it. Of the history: who made it so, where that is known.
    pub actor: Option<String>,
    /// Where it is kept.
    pub kept: Kept,
    /// It is what the policy is now.
    pub present: bool,
    /// The warning of a preview where its archive cannot be verified.
    pub doubt: Option<String>,
    /// The whole object; `None` where the history knows of the revision, but not what it said.
    pub object: Option<Value>,
}

impl Former {
    /// The last moment at which it is known to have been so; what is so now comes after everything.
    fn last(&self) -> Timestamp {
        match self.kept {
            _ if self.present => Timestamp::MAX,
            Kept::Archive { .. } | Kept::History { until: None } => self.at,
            Kept::History { until: Some(until) } => until,
        }
    }
}

/// Everything that a policy was, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Formers {
    /// The newest first.
    pub all: Vec<Former>,
    /// What could not be read, a sentence each: there may be more than is listed.
    pub troubles: Vec<String>,
}

impl Formers {
    /// The same state as the newest archive keeps it, if one does: the history has the text of a revision as it was read first, and labels may
    /// have changed since.
    fn most_faithful<'a>(&'a self, former: &'a Former) -> &'a Former {
        let same = |other: &&Former| other.revision == former.revision && other.mode == former.mode;
        self.all.iter().filter(same).find(|other| matches!(other.kept, Kept::Archive { .. })).unwrap_or(former)
    }

    /// The newest state with the revision that begins with `prefix`.
    ///
    /// # Errors
    /// Why there is none, or more than one, in words.
    pub fn revision(&self, prefix: &str) -> Result<&Former, String> {
        let fits = |former: &&Former| !prefix.is_empty() && former.revision.0.starts_with(prefix);
        let mut revisions: Vec<&str> = self.all.iter().filter(fits).map(|former| former.revision.0.as_str()).collect();
        revisions.sort_unstable();
        revisions.dedup();
        match revisions[..] {
            [] => {
                let unread = self.troubles.first().map_or_else(String::new, |trouble| format!(" ({trouble})"));
                Err(format!("no revision that is kept begins with `{prefix}`{unread}; --list shows them"))
            }
            [one] => {
                let mut same = self.all.iter().filter(|former| former.revision.0 == one);
                let whole = same.clone().find(|former| former.object.is_some());
                let found = whole.or_else(|| same.next()).ok_or_else(|| format!("there is no revision {one}"))?;
                Ok(self.most_faithful(found))
            }
            _ => Err(format!("`{prefix}` is the beginning of {}; write more of it", revisions.join(" and "))),
        }
    }
}

impl Operator {
    /// What a policy of one environment was: from archives of that cluster, and from what was recorded of it.
    ///
    /// # Errors
    /// The environment cannot be asked what the policy is now.
    pub async fn formers(&self, policy: &PolicyId, environment: &str) -> Result<Formers, Declined> {
        let kind = kind_of(policy)?;
        let seen = self.see(environment).await?;
        let present = self.engine.policy_object(environment, policy).await?;
        let past = Past { kind, policy, seen: &seen, present: present.as_ref() };
        let mut formers = Formers::default();
        let folder = self.keeping.archives.clone();
        let recorded = self.recorded_archives().await.unwrap_or_else(|declined| {
            formers.troubles.push(declined.to_string());
            Recorded::default()
        });
        match tokio::task::spawn_blocking(move || archives(&folder)).await {
            Ok((archives, troubles)) => {
                formers.troubles.extend(troubles);
                for (folder, archive) in archives {
                    let doubt = recorded.check(&folder, &archive);
                    let Some(former) = past.archived(folder, archive) else { continue };
                    match doubt {
                        Ok(doubt) => formers.all.push(Former { doubt, ..former }),
                        Err(why) => formers.troubles.push(why),
                    }
                }
            }
            Err(_) => formers.troubles.push("the archives were not read".to_owned()),
        }
        match self.recorded(policy, environment, seen.place().cluster_uid).await {
            Ok(texts) => formers.all.extend(texts.into_iter().map(|text| past.recorded(text))),
            Err(failure) => formers.troubles.push(failure.what),
        }
        formers.all.sort_by_key(|former| Reverse(former.last()));
        Ok(formers)
    }

    /// Every policy that an archive of an environment or the history knows: those that are gone, too. What cannot be read is left out.
    pub async fn once_there(&self, environment: &str) -> BTreeSet<PolicyId> {
        let mut policies: BTreeSet<PolicyId> =
            self.history.policies().await.unwrap_or_default().into_iter().map(|key| (*key.id).clone()).collect();
        let folder = self.keeping.archives.clone();
        let archived = tokio::task::spawn_blocking(move || archives(&folder).0).await.unwrap_or_default();
        let here = archived.into_iter().filter(|(_, archive)| archive.manifest.environment == environment);
        let identified = |object: &Value| read_policy(KindId::of_object(object)?.kind(), object).ok().map(|read| read.id);
        policies.extend(here.flat_map(|(_, archive)| archive.objects).filter_map(|object| identified(&object)));
        policies
    }

    async fn recorded(&self, policy: &PolicyId, environment: &str, cluster_uid: &str) -> Result<Vec<RevisionText>, crate::engine::Failure> {
        let key = EnvironmentKey { name: environment.to_owned(), cluster_uid: cluster_uid.to_owned() };
        let mut texts = Vec::new();
        for known in self.history.policies().await?.into_iter().filter(|known| *known.id == *policy) {
            texts.extend(self.history.revisions(key.clone(), known).await?);
        }
        Ok(texts)
    }

    /// The plan that puts a policy back to what an archive says it was.
    ///
    /// # Errors
    /// The archive cannot be read, is of another environment or does not have the policy, or the rollback to it is refused.
    pub async fn rollback_from(&self, policy: &PolicyId, environment: &str, folder: &Path, request: &Request) -> Result<Plan, Declined> {
        let archive = read_archive(folder).map_err(|error| Declined::Usage(error.what))?;
        if archive.manifest.environment != environment {
            let of = &archive.manifest.environment;
            return Err(Declined::Usage(format!("{} is an archive of {of}, not of {environment}", folder.display())));
        }
        let doubt = self.check_archive(folder, &archive).await?;
        let former = archive.objects.into_iter().find(|object| is_policy(object, policy));
        let former = former.ok_or_else(|| Declined::Usage(format!("{} does not have {policy}", folder.display())))?;
        let mut plan = self.rollback(policy, environment, &former, request).await?;
        plan.warnings.extend(doubt);
        Ok(plan)
    }

    /// The plan that puts a policy back to a former state.
    ///
    /// # Errors
    /// What it said is not on record, or the rollback to it is refused.
    pub async fn rollback_to_former(
        &self,
        policy: &PolicyId,
        environment: &str,
        former: &Former,
        request: &Request,
    ) -> Result<Plan, Declined> {
        let object = former.object.as_ref();
        let object = object.ok_or_else(|| Declined::Usage(format!("what revision {} said is not on record", former.revision)))?;
        let mut plan = self.rollback(policy, environment, object, request).await?;
        plan.warnings.extend(former.doubt.clone());
        Ok(plan)
    }

    /// The plan that puts a policy back to a revision, or, without one, to the newest state that differs from what it is.
    ///
    /// # Errors
    /// No such state is kept, or the rollback to it is refused.
    pub async fn rollback_to(
        &self,
        policy: &PolicyId,
        environment: &str,
        prefix: Option<&str>,
        request: &Request,
    ) -> Result<Plan, Declined> {
        let formers = self.formers(policy, environment).await?;
        if let Some(prefix) = prefix {
            let former = formers.revision(prefix).map_err(|why| Declined::Usage(format!("{policy} in {environment}: {why}")))?;
            if former.object.is_none() {
                return Err(Declined::Usage(format!(
                    "{policy} in {environment}: revision {} is on record, but what it said could not be read in time; choose another one",
                    former.revision
                )));
            }
            return self.rollback_to_former(policy, environment, former, request).await;
        }
        if self.goes_through_git(self.settings(environment)?)
            && let Some(live) = self.engine.policy_object(environment, policy).await?
        {
            // What is pushed and not applied yet goes back to what the cluster still shows.
            match self.rollback(policy, environment, &live, request).await {
                Err(Declined::Refused(refusal)) if refusal.needs_nothing() => {}
                planned => return planned,
            }
        }
        // What says the same, or would come back as the same, is no way back.
        let others = formers.all.iter().filter(|former| !former.present).map(|former| formers.most_faithful(former));
        for former in others.filter(|former| former.object.is_some()) {
            match self.rollback_to_former(policy, environment, former, request).await {
                Err(Declined::Refused(refusal)) if refusal.needs_nothing() => {}
                planned => return planned,
            }
        }
        let unread = formers.troubles.first().map_or_else(String::new, |trouble| format!(" ({trouble})"));
        Err(Declined::Usage(format!(
            "neither an archive nor the history has another state of {policy} in {environment}{unread}; name an archive with --archive"
        )))
    }
}

/// The archives that can be read, the newest first, and what is wrong with the others.
fn archives(folder: &Path) -> (Vec<(PathBuf, Archive)>, Vec<String>) {
    let folders = match newest_first(folder) {
        Ok(folders) => folders,
        Err(error) => return (Vec::new(), vec![error.what]),
    };
    let (mut archives, mut troubles) = (Vec::new(), Vec::new());
    for folder in folders {
        match read_archive(&folder) {
            Ok(archive) => archives.push((folder, archive)),
            Err(error) => troubles.push(error.what),
        }
    }
    (archives, troubles)
}

/// What all former states of a policy are compared with.
struct Past<'a> {
    kind: &'static Kind,
    policy: &'a PolicyId,
    seen: &'a Seen,
    present: Option<&'a Value>,
}

impl Past<'_> {
    fn kyverno(&self) -> &Kyverno {
        self.seen.place().kyverno
    }

    fn mode(&self, object: &Value) -> Mode {
        written_mode(self.kind, object, self.kyverno()).unwrap_or(Mode::Unknown)
    }

    /// Whether the policy says and does that now.
    fn is_present(&self, said: &Revision, mode: Mode) -> bool {
        self.present.is_some_and(|present| revision(self.kind, present) == *said && self.mode(present) == mode)
    }

    /// The state that an archive of this environment and cluster keeps.
    fn archived(&self, folder: PathBuf, archive: Archive) -> Option<Former> {
        let place = self.seen.place();
        let manifest = archive.manifest;
        if manifest.environment != place.settings.name || manifest.cluster_uid != place.cluster_uid {
            return None;
        }
        let object = archive.objects.into_iter().find(|object| is_policy(object, self.policy))?;
        let (said, mode) = (revision(self.kind, &object), self.mode(&object));
        Some(Former {
            at: manifest.created_at,
            present: self.is_present(&said, mode),
            revision: said,
            mode,
            actor: Some(manifest.who.to_string()),
            kept: Kept::Archive { folder, before: manifest.why },
            doubt: None,
            object: Some(object),
        })
    }

    /// A revision as the history has it. Its text is that of the mode in which it was seen first; the mode it had last is set in it.
    fn recorded(&self, text: RevisionText) -> Former {
        let object = text.object.as_deref().and_then(|object| serde_json::from_str::<Value>(object).ok());
        let action = match text.mode {
            Mode::Audit => Some(Action::Audit),
            Mode::Enforce => Some(Action::Enforce),
            _ => None,
        };
        let object = object.map(|object| {
            let set = action.filter(|_| self.mode(&object) != text.mode);
            let changed = set.and_then(|action| set_mode(self.kind, &object, action, self.kyverno()).ok());
            changed.map_or(object, |change| change.after)
        });
        let mode = object.as_ref().map_or(text.mode, |object| self.mode(object));
        Former {
            at: text.at,
            present: self.is_present(&text.revision, mode),
            revision: text.revision,
            mode,
            actor: text.actor,
            kept: Kept::History { until: text.until },
            doubt: None,
            object,
        }
    }
}

/// Whether an object is that policy, as its reader identifies it.
fn is_policy(object: &Value, policy: &PolicyId) -> bool {
    let kind = KindId::of_object(object).map(KindId::kind);
    kind.is_some_and(|kind| read_policy(kind, object).is_ok_and(|read| read.id == *policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn former(minute: i64, revision: &str, whole: bool) -> Former {
        Former {
            at: at(minute),
            revision: Revision(revision.to_owned()),
            mode: Mode::Audit,
            actor: None,
            kept: Kept::History { until: None },
            doubt: None,
            present: false,
            object: whole.then_some(Value::Null),
        }
    }

    #[test]
    fn a_revision_is_found_by_a_beginning_that_only_it_has() {
        let formers = Formers {
            all: vec![former(4, "ab12", false), former(3, "ab12", true), former(2, "ab99", true), former(1, "c000", false)],
            troubles: vec!["an archive is damaged".to_owned()],
        };
        assert_eq!(formers.revision("ab1").unwrap().at, at(3), "of several that say the same, one whose text is kept");
        assert_eq!(formers.revision("c").unwrap().at, at(1));
        let archived = Former { kept: Kept::Archive { folder: "f".into(), before: "promote".into() }, ..former(1, "ab12", true) };
        let both = Formers { all: vec![former(3, "ab12", true), archived], troubles: Vec::new() };
        assert_eq!(both.revision("ab12").unwrap().at, at(1), "an archive is as it was last");
        for (prefix, says) in [
            ("", "begins with ``"),
            ("d", "no revision that is kept begins with `d` (an archive is damaged)"),
            ("ab", "`ab` is the beginning of ab12 and ab99; write more of it"),
        ] {
            let why = formers.revision(prefix).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn the_last_moment_counts() {
        let ended = |minute| Former { kept: Kept::History { until: Some(at(minute)) }, ..former(1, "a", true) };
        let archived = Former { kept: Kept::Archive { folder: "f".into(), before: "promote".into() }, ..former(5, "b", true) };
        assert!(ended(4).last() < archived.last() && archived.last() < ended(6).last());
        assert!(Former { present: true, ..ended(4) }.last() > ended(1_000_000).last());
        assert_eq!(former(7, "a", true).last(), at(7), "nobody saw it end: then it is as old as its beginning");
    }
}
