//! What a check of the whole journal found, kept up to date while it grows.
//!
//! What lives here: whether new entries go on from the last one that was checked, and what is wrong before a line. What does not: the check itself (`check`).

use super::page::Found;
use super::{Checked, Flaw, FlawKind};
use jiff::Timestamp;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// What was found.
    pub checked: Checked,
    /// The time of the first entry that can be read.
    pub oldest: Option<Timestamp>,
}

impl Verified {
    /// Takes the entry after the last one; `false` where it does not go on from there, and everything has to be looked at again.
    pub fn goes_on(&mut self, found: &Found) -> bool {
        let entry = &found.entry;
        let follows = match &self.checked.last {
            Some((seq, hash)) => entry.seq == seq + 1 && entry.prev == *hash,
            None => entry.seq == 1 && entry.prev == super::GENESIS,
        };
        if !follows || !found.intact {
            return false;
        }
        self.checked.entries += 1;
        self.checked.last = Some((entry.seq, entry.hash.clone()));
        if !self.checked.files.iter().any(|name| **name == *found.spot.file) {
            self.checked.files.push(found.spot.file.to_string());
        }
        self.oldest.get_or_insert(entry.record.at);
        true
    }

    /// Whether what was written down holds: a last line that is not whole, or a missing head, take nothing from the lines that are there.
    pub fn holds(&self) -> bool {
        self.breaks().next().is_none()
    }

    /// What is wrong with lines that are there, or were.
    pub fn breaks(&self) -> impl Iterator<Item = &Flaw> {
        self.checked.flaws.iter().filter(|flaw| !matches!(flaw.kind, FlawKind::NotWhole | FlawKind::NoHead))
    }

    /// The first thing that is wrong with a line or with anything before it.
    pub fn first_up_to(&self, file: &str, line: u64) -> Option<&Flaw> {
        self.breaks().find(|flaw| match (flaw.line, flaw.kind) {
            (Some(at), _) => (flaw.file.as_str(), at) <= (file, line),
            // What was cut off stood behind every line that is there.
            (None, FlawKind::Truncated) => flaw.file.as_str() < file,
            (None, _) => flaw.file.as_str() <= file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::{GENESIS, Record, Spot, Verb, Who, seal};

    fn found(seq: u64, prev: &str) -> Found {
        let (entry, _) = seal(Record::intent(Timestamp::UNIX_EPOCH, Who::default(), Verb::Hold), seq, prev).unwrap();
        Found { spot: Spot { file: "1970-01.jsonl".into(), offset: 0 }, entry, intact: true }
    }

    #[test]
    fn only_what_goes_on_from_the_last_entry_needs_no_check() {
        let mut verified = Verified::default();
        let first = found(1, GENESIS);
        let second = found(2, &first.entry.hash);
        assert!(!verified.clone().goes_on(&second), "the first one is missing");
        assert!(verified.goes_on(&first) && verified.goes_on(&second));
        assert_eq!((verified.checked.entries, verified.checked.files.len(), verified.oldest), (2, 1, Some(Timestamp::UNIX_EPOCH)));
        let hash = second.entry.hash.clone();
        for other in [found(4, &hash), found(3, &first.entry.hash), second, Found { intact: false, ..found(3, &hash) }] {
            let before = verified.clone();
            assert!(!verified.goes_on(&other), "{other:?}");
            assert_eq!(verified, before);
        }
    }

    #[test]
    fn a_flaw_concerns_what_stands_at_it_and_behind_it() {
        let flaw = |file: &str, line, kind| Flaw { file: file.into(), line, kind, means: String::new() };
        for (flaw, file, line, concerns) in [
            (flaw("2026-11.jsonl", Some(7), FlawKind::Changed), "2026-11.jsonl", 6, false),
            (flaw("2026-11.jsonl", Some(7), FlawKind::Changed), "2026-11.jsonl", 7, true),
            (flaw("2026-11.jsonl", Some(7), FlawKind::Removed), "2026-12.jsonl", 1, true),
            (flaw("2026-11.jsonl", Some(7), FlawKind::Swapped), "2026-10.jsonl", 9, false),
            (flaw("2026-11.jsonl", None, FlawKind::MissingFile), "2026-10.jsonl", 9, false),
            (flaw("2026-11.jsonl", None, FlawKind::MissingFile), "2026-12.jsonl", 1, true),
            (flaw("2026-11.jsonl", None, FlawKind::Truncated), "2026-11.jsonl", 99, false),
            (flaw("2026-11.jsonl", None, FlawKind::Truncated), "2026-12.jsonl", 1, true),
            (flaw("2026-11.jsonl", Some(9), FlawKind::NotWhole), "2026-12.jsonl", 1, false),
            (flaw("head.json", None, FlawKind::NoHead), "2026-12.jsonl", 1, false),
        ] {
            let verified = Verified { checked: Checked { flaws: vec![flaw.clone()], ..Checked::default() }, oldest: None };
            assert_eq!(verified.first_up_to(file, line).is_some(), concerns, "{flaw:?} {file}:{line}");
        }
    }
}
