//! Archives and the journal: the entry of an operation has the digest of the archive that was saved before it, so an archive that was rewritten since,
//! with all its hashes, is recognized.
//!
//! What lives here: comparing the two. What does not: whether an archive fits its own manifest (`files::archive`), and the journal its own chain.

use super::{Declined, Operator, refused};
use crate::engine::operations::execute::blocking;
use crate::files::FileError;
use crate::files::archive::Archive;
use crate::files::journal::Journal;
use std::path::Path;

/// What the journal recorded of archives.
#[derive(Debug, Default)]
pub(super) struct Recorded(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    folder: String,
    plan: Option<String>,
    /// None in entries of earlier releases.
    digest: Option<String>,
}

impl Recorded {
    /// Everything that a journal recorded of archives. Unreadable lines are skipped; `audit verify` reports them.
    pub(super) fn read(journal: &Journal) -> Result<Self, FileError> {
        let records = journal.read(..)?.flatten().map(|entry| entry.record);
        let entry =
            |record: crate::domain::journal::Record| Some(Entry { folder: record.undo?, plan: record.plan, digest: record.undo_digest });
        Ok(Self(records.filter_map(entry).collect()))
    }

    /// The warning for an archive that the journal cannot verify; `None` where its digest is that of the journal.
    ///
    /// # Errors
    /// The archive is another one than the journal recorded, in words.
    pub(super) fn check(&self, folder: &Path, archive: &Archive) -> Result<Option<String>, String> {
        let shown = folder.display().to_string();
        let here: Vec<&Entry> = self.0.iter().filter(|entry| entry.folder == shown).collect();
        let of_plan = || self.0.iter().filter(|entry| entry.plan.is_some() && entry.plan == archive.manifest.plan).collect();
        // An archive may be moved, and a plan may be applied twice, each time with an archive of its own.
        let entries: Vec<&Entry> = if here.is_empty() { of_plan() } else { here };
        let digests: Vec<&str> = entries.iter().filter_map(|entry| entry.digest.as_deref()).collect();
        if digests.contains(&archive.digest.as_str()) {
            return Ok(None);
        }
        if !digests.is_empty() {
            return Err(format!(
                "cannot trust the archive {shown}: it was changed since it was saved (SHA-256 of its manifest is {}, and the journal recorded {}). \
                 Use another archive or the history (`rollback --list`)",
                archive.digest,
                digests.join(", ")
            ));
        }
        Ok(Some(if entries.is_empty() {
            format!("The journal on this machine has no entry for the archive {shown}: its content cannot be verified.")
        } else {
            format!("The journal has no digest of the archive {shown}, which an earlier release saved: its content cannot be verified.")
        }))
    }
}

impl Operator {
    /// What the journal recorded of archives.
    pub(super) async fn recorded_archives(&self) -> Result<Recorded, Declined> {
        let journal = self.keeping.journal.clone();
        blocking(move || Recorded::read(&Journal::open(&journal))).await
    }

    /// The same as [`Recorded::check`], with the journal read for it.
    pub(super) async fn check_archive(&self, folder: &Path, archive: &Archive) -> Result<Option<String>, Declined> {
        let recorded = self.recorded_archives().await?;
        recorded.check(folder, archive).map_err(|why| refused("archive", format!("{why}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::{Record, Verb, Who};
    use crate::files::archive::{UndoArchive, read_archive, write_undo};
    use jiff::Timestamp;
    use serde_json::json;
    use std::path::PathBuf;

    fn saved(folder: &Path, plan: &str, message: &str) -> PathBuf {
        let undo = UndoArchive {
            created_at: Timestamp::UNIX_EPOCH,
            environment: "dev".into(),
            server: "https://dev".into(),
            cluster_uid: "uid".into(),
            kyverno: None,
            who: Who::default(),
            why: "promote".into(),
            plan: plan.into(),
            objects: vec![
                json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"message": message}}),
            ],
        };
        write_undo(folder, &undo, None).unwrap()
    }

    #[test]
    fn a_rewritten_archive_is_recognized() {
        let root = tempfile::tempdir().unwrap();
        let (journal, archives) = (root.path().join("journal"), root.path().join("archives"));
        let noted = |plan: &str, folder: &Path, digest: Option<String>| {
            let mut intent = Record::intent(Timestamp::UNIX_EPOCH, Who::default(), Verb::Promote);
            (intent.plan, intent.undo, intent.undo_digest) = (Some(plan.into()), Some(folder.display().to_string()), digest);
            Journal::open(&journal).append(intent).unwrap();
        };
        let digest = |folder: &Path| Some(read_archive(folder).unwrap().digest);
        let check = |folder: &Path| Recorded::read(&Journal::open(&journal)).unwrap().check(folder, &read_archive(folder).unwrap());

        let good = saved(&archives, "one", "as it was");
        assert!(check(&good).unwrap().unwrap().contains("has no entry for the archive"), "before anything is noted");
        noted("one", &good, digest(&good));
        assert_eq!(check(&good), Ok(None));
        let recorded = std::fs::read_to_string(journal.join("1970-01.jsonl")).unwrap();
        assert!(recorded.contains(&format!("\"undoDigest\":\"{}\"", digest(&good).unwrap())) && digest(&good).unwrap().len() == 64);
        // Moved, it is known by its plan.
        let moved = root.path().join("moved");
        std::fs::rename(&good, &moved).unwrap();
        assert_eq!(check(&moved), Ok(None));
        // Another one in its place, with all hashes right.
        std::fs::rename(saved(&root.path().join("theirs"), "one", "allow all"), &good).unwrap();
        let why = check(&good).unwrap_err();
        assert!(why.contains("it was changed since it was saved") && why.contains(&digest(&moved).unwrap()), "{why}");
        // Under another plan's name it is still at that place.
        std::fs::remove_dir_all(&good).unwrap();
        std::fs::rename(saved(&root.path().join("theirs"), "nine", "allow all"), &good).unwrap();
        assert!(check(&good).is_err());

        // The same plan, applied again: each archive is its own.
        let again = saved(&archives, "one", "as it was then");
        noted("one", &again, digest(&again));
        assert_eq!((check(&again), check(&moved)), (Ok(None), Ok(None)));
        // What an earlier release noted.
        let old = saved(&archives, "two", "as it was");
        noted("two", &old, None);
        assert!(check(&old).unwrap().unwrap().contains("which an earlier release saved"));
    }
}
