//! Intents and outcomes joined: one step of an operation is one thing for whoever asks who did what.
//!
//! What lives here: joining, in whatever order entries are read, and what a list needs of a step. What does not: the entries in full (`Whole`), which
//! are read again when somebody wants to see them: all years of a journal would be too much to hold.

use super::page::{Found, Spot};
use super::{Phase, StepResult, Verb};
use crate::domain::{Mode, PolicyId};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// One step of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The number of its intent; of what has none, its own.
    pub key: u64,
    /// Where its intent stands; none where there is none, or it was not read yet.
    pub intent: Option<Spot>,
    /// Where its outcome stands; none where nobody knows what became of it.
    pub outcome: Option<Spot>,
    /// When it began, by the clock of the one who did it.
    pub at: Timestamp,
    /// The user of the operating system.
    pub user: Box<str>,
    /// The user whom the cluster saw, where that is another name.
    pub seen_as: Option<Box<str>>,
    /// The machine.
    pub host: Box<str>,
    /// Where.
    pub environment: Option<Box<str>>,
    /// What.
    pub verb: Verb,
    /// On what.
    pub object: Option<Box<PolicyId>>,
    /// The plan's id.
    pub plan: Option<Box<str>>,
    /// The ticket.
    pub ticket: Option<Box<str>>,
    /// Why it was done, or not.
    pub reason: Option<Box<str>>,
    /// What the policy did before.
    pub before: Option<Mode>,
    /// What it was meant to do; with an outcome, what it does.
    pub after: Option<Mode>,
    /// What became of it, as its outcome says.
    told: Option<StepResult>,
    /// Whether all of it is as it was written.
    pub intact: bool,
}

impl Step {
    fn of(key: u64, found: &Found) -> Self {
        let record = &found.entry.record;
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Box::from);
        let who = &record.who;
        Self {
            key,
            intent: None,
            outcome: None,
            at: record.at,
            user: who.user.as_str().into(),
            seen_as: who.kubeconfig_user.as_deref().filter(|name| !name.is_empty() && *name != who.user).map(Box::from),
            host: who.host.as_str().into(),
            environment: text(&record.environment),
            verb: record.verb.clone(),
            object: record.object.clone().map(Box::new),
            plan: text(&record.plan),
            ticket: text(&record.ticket),
            reason: text(&record.reason),
            before: record.before.as_ref().map(|standing| standing.mode),
            after: record.after.as_ref().map(|standing| standing.mode),
            told: None,
            intact: true,
        }
    }

    /// What became of it: without an outcome, unknown.
    pub fn result(&self) -> StepResult {
        self.told.unwrap_or(StepResult::Unknown)
    }

    /// Where its entries stand, the intent first.
    pub fn spots(&self) -> Vec<Spot> {
        self.intent.iter().chain(&self.outcome).cloned().collect()
    }

    fn take(&mut self, found: &Found) {
        let record = &found.entry.record;
        self.intact &= found.intact;
        match record.phase {
            Phase::Intent => {
                let after = Self::of(self.key, found);
                let before = std::mem::replace(self, after);
                self.intent = Some(found.spot.clone());
                self.intact = before.intact && found.intact;
                if before.outcome.is_some() {
                    (self.outcome, self.told) = (before.outcome, before.told);
                    self.reason = before.reason.or(self.reason.take());
                    self.after = before.after.or(self.after);
                }
            }
            // Of several, which only other people's hands can make, the last one tells.
            Phase::Outcome if self.outcome.as_ref().is_none_or(|before| *before <= found.spot) => {
                let outcome = Self::of(self.key, found);
                (self.outcome, self.told) = (Some(found.spot.clone()), record.result);
                self.reason = outcome.reason.or(self.reason.take());
                self.after = outcome.after.or(self.after);
            }
            Phase::Outcome => {}
        }
    }
}

/// Steps by their keys, as far as entries were read.
#[derive(Debug, Clone, Default)]
pub struct Steps(BTreeMap<u64, Step>);

impl Steps {
    /// Takes an entry.
    pub fn take(&mut self, found: &Found) {
        let record = &found.entry.record;
        let key = record.intent.filter(|_| record.phase == Phase::Outcome).unwrap_or(found.entry.seq);
        self.0.entry(key).or_insert_with(|| Step::of(key, found)).take(found);
    }

    /// A step.
    pub fn get(&self, key: u64) -> Option<&Step> {
        self.0.get(&key)
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Step> {
        self.0.values().rev()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::{Entry, GENESIS, Record, Standing, Who, seal};

    fn found(seq: u64, record: Record) -> Found {
        let (entry, _) = seal(record, seq, GENESIS).unwrap();
        Found { spot: Spot { file: "2026-11.jsonl".into(), offset: seq * 100 }, entry, intact: true }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn intent(seq: u64) -> Entry {
        let who = Who { user: "ana".into(), kubeconfig_user: Some("ana".into()), host: "lap".into() };
        let mut record = Record::intent(at(seq.cast_signed()), who, Verb::Promote);
        record.reason = Some("why".to_owned());
        record.before = Some(Standing { revision: None, mode: Mode::Audit });
        record.after = Some(Standing { revision: None, mode: Mode::Enforce });
        found(seq, record).entry
    }

    fn outcome(seq: u64, of: u64, result: StepResult) -> Found {
        found(seq, intent(of).outcome(at(seq.cast_signed()), result, Some(format!("told by {seq}"))))
    }

    fn meant(seq: u64) -> Found {
        found(seq, intent(seq).record)
    }

    fn noted(seq: u64) -> Found {
        let mut record = Record::intent(at(seq.cast_signed()), Who::default(), Verb::Recover);
        (record.phase, record.result) = (Phase::Outcome, Some(StepResult::Done));
        found(seq, record)
    }

    /// Key, result and reason of each, newest first.
    fn joined(found: &[&Found]) -> Vec<(u64, StepResult, String)> {
        let mut steps = Steps::default();
        for found in found {
            steps.take(found);
        }
        let told = |step: &Step| (step.key, step.result(), step.reason.as_deref().unwrap_or_default().to_owned());
        steps.newest_first().map(told).collect()
    }

    #[test]
    fn one_step_is_one_line_in_whatever_order_it_is_read() {
        use StepResult::{Done, Failed, Unknown};
        let said = |key: u64, result, reason: &str| (key, result, reason.to_owned());
        let (a, b, done, failed) = (meant(1), meant(2), outcome(3, 1, Done), outcome(4, 2, Failed));
        let recovered = noted(5);
        let lost = outcome(6, 1, Unknown);
        for (entries, expected) in [
            (vec![&a], vec![said(1, Unknown, "why")]),
            (vec![&a, &done], vec![said(1, Done, "told by 3")]),
            (vec![&a, &b, &done, &failed], vec![said(2, Failed, "told by 4"), said(1, Done, "told by 3")]),
            (vec![&a, &b, &done], vec![said(2, Unknown, "why"), said(1, Done, "told by 3")]),
            // Its intent is on a page that was not read yet.
            (vec![&done], vec![said(1, Done, "told by 3")]),
            (vec![&recovered, &b], vec![said(5, Done, ""), said(2, Unknown, "why")]),
            // Sent, and nobody knows: an outcome that says so; and a second outcome, which nothing of ours writes.
            (vec![&a, &lost], vec![said(1, Unknown, "told by 6")]),
            (vec![&a, &done, &lost], vec![said(1, Unknown, "told by 6")]),
        ] {
            assert_eq!(joined(&entries), expected, "forwards");
            assert_eq!(joined(&entries.iter().rev().copied().collect::<Vec<_>>()), expected, "backwards");
        }
    }

    #[test]
    fn a_step_has_the_time_of_its_intent_and_says_which_lines_are_its_own() {
        let (intent, outcome) = (meant(1), Found { intact: false, ..outcome(9, 1, StepResult::Done) });
        for pair in [[&intent, &outcome], [&outcome, &intent]] {
            let mut steps = Steps::default();
            for found in pair {
                steps.take(found);
            }
            let step = steps.get(1).unwrap();
            assert_eq!((steps.len(), step.at, step.intact), (1, at(1), false));
            assert_eq!(step.spots().iter().map(|spot| spot.offset).collect::<Vec<_>>(), [100, 900]);
            assert_eq!((step.before, step.after, step.seen_as.as_deref()), (Some(Mode::Audit), Some(Mode::Enforce), None));
        }
    }
}
