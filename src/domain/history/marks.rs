//! What happened, as points in time: made of changes, samples, exceptions and our own operations.

use super::{Change, ChangeSource, Interval, PolicyState, Sample};
use crate::domain::{Mode, PolicyKey, Revision};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// The policy came to be.
    Created,
    /// It went.
    Deleted,
    /// It does more on a violation than before: audit → enforce.
    Promote,
    /// It does less: enforce → audit, or it was rolled back.
    Demote,
    /// Its mode changed between others.
    Mode,
    /// It says something else.
    Revision,
    /// It came into force, or went out of it.
    Ready,
    /// Violations appeared.
    Violations,
    /// The last violation went.
    Clean,
    /// An exception came, changed or went.
    Exception,
    /// We did something else: undo, restore, hold, release.
    Operation,
}

impl MarkKind {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Mode => "mode",
            Self::Revision => "revision",
            Self::Ready => "ready",
            Self::Violations => "violations",
            Self::Clean => "clean",
            Self::Exception => "exception",
            Self::Operation => "operation",
        }
    }
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: MarkKind,
    /// Who did it, where that is known.
    pub actor: Option<String>,
    /// What happened, in words. It may hold names from a cluster: clean it before it reaches a terminal.
    pub text: String,
    /// How it is known when a policy changed; `None` of anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ChangeSource>,
    /// What a policy said before it changed; `None` where it did not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Revision>,
    /// What it said from then on; `None` where it no longer existed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Revision>,
}

impl Mark {
    /// A point in time of which nothing more is known.
    pub fn new(at: Timestamp, kind: MarkKind, text: String) -> Self {
        Self { at, kind, actor: None, text, source: None, before: None, after: None }
    }
}

/// An exception that came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionChange {
    /// When.
    pub at: Timestamp,
    /// `namespace/name`.
    pub name: String,
    /// The policies it names, as reports write them.
    pub policies: Vec<String>,
    /// Whether it exists from then on.
    pub present: bool,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Something that we did ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What tells it from all others: the plan and the step.
    pub identity: String,
    /// The policy it was done to; `None` for whole environments.
    pub policy: Option<PolicyKey>,
    /// What was done: `promote`, `demote`, `rollback`, `restore`, `hold`, `release`, …
    pub verb: String,
    /// Who did it.
    pub actor: String,
    /// In words, with the outcome.
    pub text: String,
}

/// How much a mode does on a violation.
fn rank(mode: Mode) -> Option<u8> {
    match mode {
        Mode::Off => Some(0),
        Mode::Audit => Some(1),
        Mode::Warn => Some(2),
        Mode::Mixed => Some(3),
        Mode::Enforce => Some(4),
        Mode::NotReady | Mode::Absent | Mode::Unknown => None,
    }
}

/// What a change from `before` to `after` is, in a mark's kind and words; nothing that somebody would look for, else `None`.
fn describe(before: &PolicyState, after: &PolicyState) -> Option<(MarkKind, String)> {
    let exists = |state: &PolicyState| state.mode != Mode::Absent;
    let revised = before.revision != after.revision && after.revision.is_some();
    let (kind, text) = match (exists(before), exists(after)) {
        (false, true) => (MarkKind::Created, format!("created: {}", after.mode)),
        (true, false) => (MarkKind::Deleted, "deleted".to_owned()),
        (true, true) if before.mode != after.mode => {
            let kind = match (rank(before.mode), rank(after.mode)) {
                (Some(from), Some(to)) if from < to => MarkKind::Promote,
                (Some(_), Some(_)) => MarkKind::Demote,
                // What comes into force or goes out of it was not promoted by that.
                _ if before.mode == Mode::NotReady || after.mode == Mode::NotReady => MarkKind::Ready,
                _ => MarkKind::Mode,
            };
            let also = if revised { ", and what it says" } else { "" };
            (kind, format!("{} → {}{also}", before.mode, after.mode))
        }
        (true, true) if revised => (MarkKind::Revision, "says something else".to_owned()),
        (true, true) if before.ready != after.ready => {
            let text = if after.ready == Some(true) { "in force" } else { "not in force" };
            (MarkKind::Ready, text.to_owned())
        }
        _ => return None,
    };
    Some((kind, text))
}

/// The marks of changes in order. The first one that was only found so is no event: nobody saw it happen.
pub fn mode_marks(changes: &[Change], window: Interval) -> Vec<Mark> {
    let mut last = &PolicyState::ABSENT;
    let mut out = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let before = std::mem::replace(&mut last, &change.state);
        let described = describe(before, &change.state);
        let found_first = index == 0 && !matches!(change.source, ChangeSource::Seen | ChangeSource::Creation);
        let Some((kind, text)) = described.filter(|_| !found_first && window.from <= change.at && change.at <= window.to) else { continue };
        let how = match change.source {
            ChangeSource::Seen => "",
            ChangeSource::Found => " (found so, may be older)",
            _ => " (as the object tells)",
        };
        let revision = |state: &PolicyState| state.revision.clone().filter(|_| state.mode != Mode::Absent);
        out.push(Mark {
            actor: change.actor.clone(),
            source: Some(change.source),
            before: revision(before),
            after: revision(&change.state),
            ..Mark::new(change.at, kind, format!("{text}{how}"))
        });
    }
    out
}

/// Where violations appeared and where the last one went. `samples` are in order and begin with the last one before the window.
pub fn violation_marks(samples: &[Sample], window: Interval) -> Vec<Mark> {
    let mut before: Option<u64> = None;
    let mut out = Vec::new();
    for sample in samples {
        let (held, now) = (before.replace(sample.last.faults()), sample.last.faults());
        if sample.at < window.from || sample.at > window.to {
            continue;
        }
        let mark = |kind, text| Mark::new(sample.at, kind, text);
        match held {
            Some(0) if sample.high > 0 => out.push(mark(MarkKind::Violations, violations(sample.high))),
            Some(held) if held > 0 && now == 0 => out.push(mark(MarkKind::Clean, "no violations any more".to_owned())),
            _ => {}
        }
    }
    out
}

fn violations(count: u64) -> String {
    if count == 1 { "1 violation".to_owned() } else { format!("{count} violations") }
}

/// The marks of the exceptions that name a policy, called as reports do. A CEL exception names a namespaced policy as `*/name`.
pub fn exception_marks(changes: &[ExceptionChange], policy: &str, window: Interval) -> Vec<Mark> {
    let base = policy.rsplit_once('/').map_or(policy, |(_, name)| name);
    let concerns =
        |change: &&ExceptionChange| change.policies.iter().any(|named| named == policy || named.strip_prefix("*/") == Some(base));
    let in_window = changes.iter().filter(concerns).filter(|change| window.from <= change.at && change.at <= window.to);
    let mark = |change: &ExceptionChange| {
        let text = match (change.present, change.expires_at) {
            (true, Some(expires)) => format!("exception {} until {expires}", change.name),
            (true, None) => format!("exception {}", change.name),
            (false, _) => format!("exception {} is gone", change.name),
        };
        Mark::new(change.at, MarkKind::Exception, text)
    };
    in_window.map(mark).collect()
}

/// The mark of an operation of ours.
pub fn operation_mark(at: Timestamp, operation: &Operation) -> Mark {
    let kind = match operation.verb.as_str() {
        "promote" => MarkKind::Promote,
        "demote" | "rollback" => MarkKind::Demote,
        _ => MarkKind::Operation,
    };
    let text = if operation.text.is_empty() { operation.verb.clone() } else { format!("{}: {}", operation.verb, operation.text) };
    Mark { actor: Some(operation.actor.clone()), ..Mark::new(at, kind, text) }
}

/// How far apart an operation of ours and what was recorded of the policy may be and still be the same event: clocks differ, and the cluster shows
/// a change some time after the write.
const SAME: SignedDuration = SignedDuration::from_secs(60);

/// The marks of changes and those of our own operations, each event once: where both tell the same, the operation stays, which knows who did it and
/// why, at the time at which the change was seen.
pub fn told_once(changes: Vec<Mark>, operations: Vec<Mark>) -> Vec<Mark> {
    let mut changes: Vec<Option<Mark>> = changes.into_iter().map(Some).collect();
    let mut out = Vec::with_capacity(changes.len() + operations.len());
    for mut operation in operations {
        let apart = |change: &Mark| change.at.duration_since(operation.at).abs();
        let same = |change: &Mark| apart(change) <= SAME && can_be(&operation, change.kind);
        let nearest = changes.iter_mut().filter(|change| change.as_ref().is_some_and(same)).min_by_key(|change| change.as_ref().map(apart));
        if let Some(change) = nearest.and_then(Option::take) {
            operation.at = change.at;
            operation.source = change.source;
            (operation.before, operation.after) = (change.before, change.after);
        }
        out.push(operation);
    }
    out.extend(changes.into_iter().flatten());
    out
}

/// Whether a change of that kind can be what an operation did.
fn can_be(operation: &Mark, change: MarkKind) -> bool {
    let other_words = matches!(change, MarkKind::Mode | MarkKind::Revision);
    match operation.kind {
        MarkKind::Promote => other_words || matches!(change, MarkKind::Promote | MarkKind::Created),
        MarkKind::Demote => other_words || matches!(change, MarkKind::Demote | MarkKind::Created),
        // A hold changes nothing that is recorded.
        _ if operation.text.starts_with("hold") || operation.text.starts_with("release") => false,
        _ => other_words || matches!(change, MarkKind::Promote | MarkKind::Demote | MarkKind::Created | MarkKind::Deleted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::Made;
    use crate::domain::history::made::at;
    use crate::domain::{Revision, Tally};

    const WINDOW: Interval = Interval { from: Timestamp::UNIX_EPOCH, to: Timestamp::MAX };

    fn state(mode: Mode, revision: &str) -> PolicyState {
        PolicyState { mode, ready: Some(true), revision: (mode != Mode::Absent).then(|| Revision(revision.into())), made: Made::UNKNOWN }
    }

    #[test]
    fn changes_in_words() {
        use Mode::{Absent, Audit, Enforce, Mixed, NotReady};
        let not_ready = PolicyState { ready: Some(false), ..state(Audit, "a") };
        for (before, after, expected) in [
            (state(Absent, ""), state(Audit, "a"), Some((MarkKind::Created, "created: audit"))),
            (state(Audit, "a"), state(Enforce, "a"), Some((MarkKind::Promote, "audit → enforce"))),
            (state(Mixed, "a"), state(Audit, "a"), Some((MarkKind::Demote, "mixed → audit"))),
            (state(Audit, "a"), state(Enforce, "b"), Some((MarkKind::Promote, "audit → enforce, and what it says"))),
            (state(Audit, "a"), state(Audit, "b"), Some((MarkKind::Revision, "says something else"))),
            (state(NotReady, "a"), state(Enforce, "a"), Some((MarkKind::Ready, "not-ready → enforce"))),
            (state(Audit, "a"), not_ready, Some((MarkKind::Ready, "not in force"))),
            (state(Enforce, "a"), state(Absent, ""), Some((MarkKind::Deleted, "deleted"))),
            (state(Audit, "a"), state(Audit, "a"), None),
        ] {
            let described = describe(&before, &after);
            assert_eq!(described.as_ref().map(|(kind, text)| (*kind, text.as_str())), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_was_found_first_is_no_event() {
        let change = |second, mode, source| Change { at: at(second), state: state(mode, "a"), actor: Some("jane".into()), source };
        let changes = [change(1, Mode::Audit, ChangeSource::Found), change(5, Mode::Enforce, ChangeSource::ManagedFields)];
        let marks = mode_marks(&changes, WINDOW);
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].text, "audit → enforce (as the object tells)");
        assert_eq!((marks[0].source, marks[0].before.is_some()), (Some(ChangeSource::ManagedFields), true));
        assert_eq!(mode_marks(&changes[..1], WINDOW), []);
        assert_eq!(mode_marks(&[change(1, Mode::Audit, ChangeSource::Creation)], WINDOW)[0].kind, MarkKind::Created);
    }

    #[test]
    fn what_we_did_and_a_recorder_saw_is_told_once() {
        use MarkKind::{Created, Deleted, Demote, Operation as Ours, Promote, Revision};
        let seen = |second, kind| Mark {
            at: at(second),
            kind,
            actor: None,
            text: "seen".into(),
            source: Some(ChangeSource::Seen),
            before: None,
            after: None,
        };
        let ours = |second, verb: &str| {
            let operation =
                Operation {
                    identity: "p/0".into(), policy: None, verb: verb.into(), actor: "jane".into(), text: "audit → enforce".into()
                };
            operation_mark(at(second), &operation)
        };
        let told = |changes: Vec<Mark>, operations: Vec<Mark>| {
            let marks = told_once(changes, operations);
            let mut words: Vec<_> = marks.iter().map(|mark| (mark.at.as_second(), mark.kind, mark.actor.is_some())).collect();
            words.sort_by_key(|(at, ..)| *at);
            words
        };
        for (changes, operations, expected) in [
            (vec![seen(102, Promote)], vec![ours(100, "promote")], vec![(102, Promote, true)]),
            (vec![seen(102, Created)], vec![ours(100, "promote")], vec![(102, Promote, true)]),
            (vec![seen(102, Revision)], vec![ours(100, "rollback")], vec![(102, Demote, true)]),
            (vec![seen(102, Deleted)], vec![ours(100, "undo")], vec![(102, Ours, true)]),
            // What somebody else did at the same time stays.
            (
                vec![seen(99, Demote), seen(101, Promote), seen(130, Promote)],
                vec![ours(100, "promote")],
                vec![(99, Demote, false), (101, Promote, true), (130, Promote, false)],
            ),
            (vec![seen(102, Promote)], vec![ours(100, "hold")], vec![(100, Ours, true), (102, Promote, false)]),
            (vec![seen(200, Promote)], vec![ours(100, "promote")], vec![(100, Promote, true), (200, Promote, false)]),
            // Each change is one event.
            (vec![seen(102, Promote)], vec![ours(100, "promote"), ours(103, "promote")], vec![(102, Promote, true), (103, Promote, true)]),
        ] {
            assert_eq!(told(changes.clone(), operations.clone()), expected, "{changes:?} {operations:?}");
        }
    }

    #[test]
    fn violations_come_and_go() {
        let raw = |second, fail| Sample::raw(at(second), Tally { fail, ..Tally::default() });
        let marks = violation_marks(&[raw(1, 0), raw(2, 3), raw(3, 4), raw(4, 0)], WINDOW);
        let words: Vec<_> = marks.iter().map(|mark| (mark.at.as_second(), mark.kind, mark.text.as_str())).collect();
        assert_eq!(words, [(2, MarkKind::Violations, "3 violations"), (4, MarkKind::Clean, "no violations any more")]);
        assert_eq!(violation_marks(&[raw(1, 3)], WINDOW), [], "they were there before");
    }

    #[test]
    fn exceptions_of_this_policy() {
        let change = |policies: &[&str], present| ExceptionChange {
            at: at(7),
            name: "team-a/allow".into(),
            policies: policies.iter().map(|&name| name.into()).collect(),
            present,
            expires_at: None,
        };
        let changes = [change(&["p"], true), change(&["*/p"], false), change(&["q"], true)];
        let texts = |policy| exception_marks(&changes, policy, WINDOW).into_iter().map(|mark| mark.text).collect::<Vec<_>>();
        assert_eq!(texts("p"), ["exception team-a/allow", "exception team-a/allow is gone"]);
        assert_eq!(texts("team-a/p"), ["exception team-a/allow is gone"]);
    }
}
