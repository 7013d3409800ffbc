//! Journals as operations would have left them, in real files.

use super::{ago, past};
use jiff::Timestamp;
use policydeck::domain::journal::{GENESIS, Head, Record, Standing, StepResult, Verb, Who, seal};
use policydeck::domain::{Mode, PolicyId, Revision};
use policydeck::engine::JournalReader;
use policydeck::engine::operations::{Compared, Shown};
use policydeck::tui::{Answer, Ask, TuiOptions};
use serde_json::json;
use std::path::Path;
use std::sync::OnceLock;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Options with the journal and the history.
pub(crate) fn options() -> TuiOptions {
    with(reader())
}

/// The same with another journal.
pub(crate) fn with(journal: JournalReader) -> TuiOptions {
    TuiOptions { journal: Some(journal), ..past::options() }
}

/// A journal of some weeks.
pub(crate) fn reader() -> JournalReader {
    static MADE: OnceLock<(tempfile::TempDir, JournalReader)> = OnceLock::new();
    made(&MADE, |folder| write(folder, &records()))
}

/// The same after somebody has written into it.
pub(crate) fn broken() -> JournalReader {
    static MADE: OnceLock<(tempfile::TempDir, JournalReader)> = OnceLock::new();
    made(&MADE, |folder| {
        write(folder, &records());
        let path = folder.join("2025-11.jsonl");
        let text = std::fs::read_to_string(&path).unwrap().replacen("CHG-1042", "CHG-9999", 1);
        let without_one: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != 5).map(|(_, line)| line).collect();
        std::fs::write(&path, without_one.join("\n") + "\nno entry\n").unwrap();
    })
}

/// So many steps, of which the newest are of now.
pub(crate) fn long(steps: i64) -> (tempfile::TempDir, JournalReader) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for n in 0..steps {
        let mut record = record(
            (steps - n) * 7 * MINUTE,
            ["ana", "bob", "jane"][usize::try_from(n % 3).unwrap()],
            Verb::Promote,
            "dev",
            &format!("policy-{n:05}"),
        );
        record.gate = Some(gate("dev"));
        all.push((record, Some((StepResult::Done, "written"))));
    }
    write(folder.path(), &all);
    let reader = JournalReader::new(folder.path().to_owned());
    (folder, reader)
}

/// One in which nothing was written.
pub(crate) fn empty() -> JournalReader {
    JournalReader::new("/nonexistent/policydeck/journal".into())
}

/// One that cannot be read.
pub(crate) fn unreadable() -> JournalReader {
    JournalReader::new("/dev/null/journal".into())
}

fn made(cell: &OnceLock<(tempfile::TempDir, JournalReader)>, write: impl FnOnce(&Path)) -> JournalReader {
    let (_, reader) = cell.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let reader = JournalReader::new(folder.path().to_owned());
        (folder, reader)
    });
    reader.clone()
}

/// What a journal answers; `None` to any other question.
pub(crate) fn answer(ask: &Ask) -> Option<Answer> {
    Some(match ask.clone() {
        Ask::Journal { journal, question } => Answer::Journal(past::wait(async move { journal.answer(question).await })),
        Ask::Fate(record) => {
            let (shown, text) = match record.environment.as_deref() {
                Some("production") => (Shown::CarriedOut, "it names this plan, and is at audit"),
                Some("qac") => (Shown::NotCarriedOut, "it is as it was: at audit"),
                _ => (Shown::Unreadable, "dev could not be asked: connection refused"),
            };
            Answer::Fate(Compared { shown, text: text.to_owned() })
        }
        _ => return None,
    })
}

/// An intent and, if it has one, its outcome.
pub(crate) type Deed = (Record, Option<(StepResult, &'static str)>);

/// Writes them as a program would have: an intent, then its outcome two seconds later.
pub(crate) fn write(folder: &Path, deeds: &[Deed]) {
    let mut head = Head::default();
    let mut files: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let mut append = |record: Record| {
        let (entry, line) = seal(record, head.seq + 1, &head.hash).unwrap();
        let name = entry.record.at.strftime("%Y-%m.jsonl").to_string();
        files.entry(name.clone()).or_default().push_str(&(line + "\n"));
        (head.seq, head.hash) = (entry.seq, entry.hash.clone());
        head.files.insert(name, entry.seq);
        entry
    };
    assert_eq!(Head::default().hash, GENESIS);
    for (record, outcome) in deeds {
        let intent = append(record.clone());
        if let Some((result, reason)) = outcome {
            append(intent.outcome(record.at + jiff::SignedDuration::from_secs(2), *result, Some((*reason).to_owned())));
        }
    }
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    std::fs::write(folder.join("head.json"), serde_json::to_vec(&head).unwrap()).unwrap();
}

/// An intent of so many seconds ago.
pub(crate) fn record(seconds: i64, user: &str, verb: Verb, environment: &str, policy: &str) -> Record {
    at(ago(seconds), user, verb, environment, policy)
}

fn at(at: Timestamp, user: &str, verb: Verb, environment: &str, policy: &str) -> Record {
    let who = Who { user: user.into(), kubeconfig_user: Some(format!("oidc:{user}@example.com")), host: format!("{user}-laptop") };
    let mut record = Record::intent(at, who, verb);
    record.environment = Some(environment.to_owned());
    record.cluster_uid = Some(format!("{environment}-uid-0001"));
    record.server = Some(format!("https://{environment}.example.com:6443"));
    record.object = Some(PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: policy.to_owned() });
    record.plan = Some(format!("{:012x}", 0x0a1b_2c3d_0000_i64 + at.as_second() % 65_536));
    record.undo = Some(format!("/home/{user}/.local/share/policydeck/archives/undo-{}", at.as_second()));
    record
}

fn standing(mode: Mode) -> Standing {
    Standing { revision: Some(Revision("91c2e0a4f1aa".to_owned())), mode }
}

/// The gate as a plan keeps it.
fn gate(environment: &str) -> serde_json::Value {
    json!({"policy": {"group": "kyverno.io", "kind": "ClusterPolicy", "namespace": null, "name": "disallow-latest-tag"},
        "from": {"environment": environment, "mode": "audit"}, "to": {"environment": environment, "mode": "enforce"},
        "verdict": "open", "opensAt": null, "conditions": [
            {"name": "soak", "state": "met", "value": 604_860, "limit": 604_800, "source": "the recorder", "reason": "audit since Nov 4 09:14"},
            {"name": "violations", "state": "met", "value": 0, "limit": 0, "source": "reports", "reason": "nothing fails"},
            {"name": "blocked", "state": "unknown", "value": null, "limit": 0, "source": "events", "reason": "events live an hour"}]})
}

/// Some weeks on the road: done, refused, failed, and two of which nobody knows.
fn records() -> Vec<Deed> {
    use StepResult::{Done, Failed, Refused, Unchanged, Unknown};
    let of = |mut record: Record, before: Option<Mode>, after: Option<Mode>, ticket: &str| {
        (record.before, record.after) = (before.map(standing), after.map(standing));
        record.ticket = Some(ticket.to_owned()).filter(|ticket| !ticket.is_empty());
        record
    };
    let tag = "disallow-latest-tag";
    let mut out = vec![
        (of(record(40 * DAY, "ana", Verb::Promote, "dev", tag), None, Some(Mode::Audit), "CHG-0990"), Some((Done, "written"))),
        (
            of(record(30 * DAY, "bob", Verb::Hold, "dev", "restrict-image-registries"), Some(Mode::Audit), Some(Mode::Audit), ""),
            Some((Done, "written")),
        ),
    ];
    let mut enforce = of(record(12 * DAY + 3, "ana", Verb::Promote, "dev", tag), Some(Mode::Audit), Some(Mode::Enforce), "CHG-1042");
    enforce.gate = Some(gate("dev"));
    enforce.reason = Some("agreed in the platform meeting".to_owned());
    out.push((enforce, Some((Done, "enforce now, 0 failures and errors"))));
    out.extend([
        (
            of(record(11 * DAY, "ana", Verb::Promote, "qac", tag), Some(Mode::Audit), Some(Mode::Enforce), "CHG-1042"),
            Some((Done, "written")),
        ),
        (
            of(record(6 * DAY, "jane", Verb::Promote, "staging", tag), None, Some(Mode::Audit), "CHG-1042"),
            Some((Refused, "somebody created it first: jane@laptop, at Nov 17 14:31")),
        ),
        (
            of(record(6 * DAY - 5 * MINUTE, "jane", Verb::Promote, "staging", tag), None, Some(Mode::Audit), "CHG-1042"),
            Some((Failed, "the server could not be reached; nothing was written")),
        ),
        (
            of(record(5 * DAY + 2 * HOUR + 4, "jane", Verb::Promote, "staging", tag), None, Some(Mode::Audit), "CHG-1042"),
            Some((Done, "audit now, 12 failures and errors")),
        ),
        (
            of(record(4 * DAY, "bob", Verb::Release, "dev", "restrict-image-registries"), Some(Mode::Audit), Some(Mode::Audit), ""),
            Some((Unchanged, "nobody held it")),
        ),
        (
            of(
                record(2 * DAY, "e\u{1b}[2Jve", Verb::Other("undo".to_owned()), "qac", "require-pod-requests-limits"),
                Some(Mode::Enforce),
                Some(Mode::Audit),
                "\u{202e}RTL",
            ),
            Some((Done, "written \u{1b}]0;x\u{7}")),
        ),
    ]);
    let mut recovered =
        Record::intent(ago(DAY), Who { user: "bob".into(), kubeconfig_user: None, host: "bob-laptop".into() }, Verb::Recover);
    recovered.phase = policydeck::domain::journal::Phase::Outcome;
    recovered.result = Some(Done);
    recovered.reason = Some("a line that was interrupted was moved to recovered/2025-11-at-7-1.line".to_owned());
    out.push((recovered, None));
    out.extend([
        (
            of(record(5 * HOUR, "bob", Verb::Demote, "qac", tag), Some(Mode::Enforce), Some(Mode::Audit), "INC-7"),
            Some((Unknown, "the connection was lost after it was sent, and the object could not be read for 60 s")),
        ),
        (
            of(
                record(90, "ana", Verb::Promote, "production", "disallow-privileged-containers"),
                Some(Mode::Audit),
                Some(Mode::Enforce),
                "CHG-1050",
            ),
            None,
        ),
        (
            of(record(20, "ana", Verb::Demote, "production", tag), Some(Mode::Enforce), Some(Mode::Audit), ""),
            Some((Done, "audit now, 0 failures and errors")),
        ),
    ]);
    out
}
