//! A history as somebody would have recorded it, in a real file: two weeks of some policies on the road of `gates`.

use super::{ago, gates, key, now};
use jiff::Timestamp;
use policydeck::domain::history::{
    Detail, EnvironmentKey, ExceptionState, Fill, Filled, Interval, News, Note, Operation, PolicyState, Refusal, Watched,
};
use policydeck::domain::{Entered, EnteredBy, Mode, Revision, Tally};
use policydeck::engine::HistoryReader;
use policydeck::files::history::History;
use policydeck::fleet::view::EnvironmentView;
use policydeck::tui::past::{compare, timeline};
use policydeck::tui::{Answer, Ask, TuiOptions};
use serde_json::json;
use std::future::Future;
use std::sync::{Arc, OnceLock};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The environments of the road, as clusters that history knows.
pub(crate) fn environments() -> Vec<EnvironmentView> {
    let of = |view: EnvironmentView| EnvironmentView { cluster_uid: Some(format!("{}-uid-0001", view.name).into()), ..view };
    gates::rollout().into_iter().map(of).collect()
}

/// Options with the history.
pub(crate) fn options() -> TuiOptions {
    TuiOptions { history: Some(reader()), ..TuiOptions::default() }
}

/// The history; the file is written once for all tests of a program.
pub(crate) fn reader() -> HistoryReader {
    static MADE: OnceLock<(tempfile::TempDir, HistoryReader)> = OnceLock::new();
    let (_, reader) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut history = History::open(&path).unwrap();
        history.take("made", &notes()).unwrap();
        (folder, HistoryReader::new(path))
    });
    reader.clone()
}

/// One in which nobody watched dev for three hours today, and Prometheus tells what was refused then.
pub(crate) fn filled() -> HistoryReader {
    static MADE: OnceLock<(tempfile::TempDir, HistoryReader)> = OnceLock::new();
    let (_, reader) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut dev = Made::new("dev", "dev-uid-0001");
        dev.is(10 * DAY, TAG, Mode::Enforce, A, true);
        dev.watched(12 * DAY, 4 * HOUR);
        let gap = Interval { from: ago(4 * HOUR), to: ago(HOUR) };
        let fill = Fill { interval: gap, count: 2, whole: true };
        dev.note(ago(HOUR), News::Filled(Box::new(Filled { policy: key(TAG), gap, fills: vec![fill] })));
        let mut history = History::open(&path).unwrap();
        history.take("before", &dev.notes).unwrap();
        dev.notes.clear();
        dev.watched(HOUR, 0);
        history.take("after", &dev.notes).unwrap();
        (folder, HistoryReader::new(path))
    });
    reader.clone()
}

/// A history in which nothing is on record.
pub(crate) fn empty() -> HistoryReader {
    HistoryReader::new("/nonexistent/policydeck/history.db".into())
}

/// One that cannot be read.
pub(crate) fn damaged() -> HistoryReader {
    static MADE: OnceLock<(tempfile::TempDir, HistoryReader)> = OnceLock::new();
    let (_, reader) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        std::fs::write(&path, "no database at all, but long enough to be taken for one by its size").unwrap();
        (folder, HistoryReader::new(path))
    });
    reader.clone()
}

/// What the history answers; `None` to any other question.
pub(crate) fn answer(ask: &Ask) -> Option<Answer> {
    Some(match ask.clone() {
        Ask::Timeline { history, policy, window, width } => Answer::Timeline(wait(timeline(&history, policy, window, width, now()))),
        Ask::Compare { history, moment } => Answer::Compared(wait(compare(&history, moment))),
        Ask::Overview { history, window } => Answer::Overview(wait(history.overview(window, now())).map(Arc::from)),
        _ => return None,
    })
}

pub(crate) fn wait<T: Send + 'static>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// One environment's records, in the order in which they were made.
struct Made {
    environment: Arc<EnvironmentKey>,
    notes: Vec<Note>,
}

impl Made {
    fn new(name: &str, uid: &str) -> Self {
        Self { environment: Arc::new(EnvironmentKey { name: name.to_owned(), cluster_uid: uid.to_owned() }), notes: Vec::new() }
    }

    fn note(&mut self, at: Timestamp, news: News) {
        self.notes.push(Note { environment: Arc::clone(&self.environment), at, news });
    }

    fn watched(&mut self, from: i64, to: i64) {
        let interval = Interval { from: ago(from), to: ago(to) };
        self.note(interval.to, News::Watched(Watched::ALL.map(|family| (family, interval)).into()));
    }

    /// The policy became this, and somebody was watching if `seen`.
    fn is(&mut self, seconds: i64, policy: &str, mode: Mode, revision: &str, seen: bool) {
        let state = match mode {
            Mode::Absent => PolicyState::ABSENT,
            mode => PolicyState {
                mode,
                ready: Some(mode != Mode::NotReady),
                revision: Some(Revision(revision.to_owned())),
                made: policydeck::domain::history::Made { generation: Some(1), created: Some(ago(60 * DAY)) },
            },
        };
        self.note(ago(seconds), News::Policies { states: vec![(key(policy), state)], whole: false, seen });
    }

    /// What the object said.
    fn says(&mut self, seconds: i64, policy: &str, revision: &str, actor: &str, entered: Option<Entered>, message: &str) {
        let object = json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": policy, "labels": {"argocd.argoproj.io/instance": "guardrails"}, "annotations": {"policies.kyverno.io/severity": "medium"}},
            "spec": {"background": true, "rules": [
                {"name": "require-image-tag", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                 "validate": {"message": "An image tag is required.", "pattern": {"spec": {"containers": [{"image": "*:*"}]}}}},
                {"name": "validate-image-tag", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                 "validate": {"message": message, "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}}}},
            ]},
        });
        let detail = Detail {
            policy: key(policy),
            revision: Revision(revision.to_owned()),
            actor: Some(actor.to_owned()),
            entered,
            object: object.to_string(),
        };
        self.note(ago(seconds), News::Detail(Box::new(detail)));
    }

    fn fails(&mut self, seconds: i64, policy: &str, fail: u64) {
        self.note(ago(seconds), News::Tallies(vec![(key(policy), Tally { fail, pass: 300, ..Tally::default() })]));
    }

    fn refused(&mut self, seconds: i64, policy: &str, count: u64) {
        let refusal = Refusal { identity: format!("event-{policy}-{seconds}"), policy: key(policy), at: ago(seconds), count, claim: None };
        self.note(ago(seconds), News::Refusals(vec![refusal]));
    }

    fn exceptions(&mut self, seconds: i64, names: &[&str], policy: &str) {
        let state = |name: &&str| ExceptionState {
            group: "kyverno.io".to_owned(),
            namespace: "payments".to_owned(),
            name: (*name).to_owned(),
            policies: vec![policy.to_owned()],
            expires_at: Some(ago(-38 * DAY)),
            created_at: Some(ago(seconds)),
        };
        self.note(ago(seconds), News::Exceptions(names.iter().map(state).collect()));
    }

    fn operation(&mut self, seconds: i64, policy: &str, verb: &str, text: &str) {
        let operation = Operation {
            identity: format!("{verb}-{seconds}"),
            policy: Some(key(policy)),
            verb: verb.to_owned(),
            actor: "jane@example.com".to_owned(),
            text: text.to_owned(),
        };
        self.note(ago(seconds), News::Operation(operation));
    }
}

const TAG: &str = "disallow-latest-tag";
const A: &str = "91c2e0a4f1aa";
const B: &str = "0b77aa12cd34";

fn notes() -> Vec<Note> {
    [dev(), qac(), former_qac(), staging()].into_iter().flat_map(|made| made.notes).collect()
}

/// Watched all the time: violations go down, then it enforces, and requests are refused.
fn dev() -> Made {
    let mut dev = Made::new("dev", "dev-uid-0001");
    dev.exceptions(20 * DAY, &[], TAG);
    dev.is(13 * DAY + 9 * HOUR, TAG, Mode::Audit, A, true);
    dev.says(13 * DAY + 9 * HOUR - 5, TAG, A, "kubectl-client-side-apply", None, "Using a mutable image tag is not allowed.");
    for (n, fail) in [412, 390, 301, 188, 97, 41, 12, 3, 1, 0].into_iter().enumerate() {
        dev.fails(13 * DAY + 8 * HOUR - i64::try_from(n).unwrap() * 3 * HOUR, TAG, fail);
    }
    dev.is(12 * DAY, TAG, Mode::Enforce, A, true);
    dev.operation(12 * DAY - 3, TAG, "promote", "dev audit → enforce, ticket CHG-1042: done");
    for (n, count) in [9, 4, 0, 1, 0, 12, 3, 0, 0, 1, 7].into_iter().enumerate() {
        if count > 0 {
            dev.refused(11 * DAY - i64::try_from(n).unwrap() * 19 * HOUR, TAG, count);
        }
    }
    // Somebody tries things: more than fits into a column.
    for n in 0..8 {
        let (mode, at) = (if n % 2 == 0 { Mode::Audit } else { Mode::Enforce }, 30 * HOUR - n * 7 * MINUTE);
        dev.is(at, "require-labels", mode, if n < 4 { A } else { B }, true);
        dev.fails(at - MINUTE, "require-labels", if n % 3 == 0 { 5 } else { 0 });
    }
    dev.watched(20 * DAY, 0);
    dev
}

/// Watched for ten days; what it was before, the object told.
fn qac() -> Made {
    let mut qac = Made::new("qac", "qac-uid-0001");
    qac.is(10 * DAY, TAG, Mode::Audit, A, false);
    let entered = Entered { at: ago(13 * DAY + 2 * HOUR), by: EnteredBy::FieldManager, actor: "argocd-controller".to_owned() };
    qac.says(10 * DAY - 5, TAG, A, "argocd-controller", Some(entered), "Using a mutable image tag is not allowed.");
    for (n, fail) in [31, 31, 22, 14, 9, 9, 2, 0].into_iter().enumerate() {
        qac.fails(10 * DAY - MINUTE - i64::try_from(n).unwrap() * 8 * HOUR, TAG, fail);
    }
    qac.is(7 * DAY, TAG, Mode::Enforce, A, true);
    qac.watched(10 * DAY, 0);
    qac
}

/// The cluster that was called qac before.
fn former_qac() -> Made {
    let mut former = Made::new("qac", "qac-uid-0000");
    former.is(40 * DAY, TAG, Mode::Audit, A, true);
    former.is(25 * DAY, TAG, Mode::Enforce, A, true);
    former.watched(60 * DAY, 20 * DAY);
    former
}

/// Promoted there five days ago; nobody watched for a while; it says something else since two days, and an exception came.
fn staging() -> Made {
    let mut staging = Made::new("staging", "staging-uid-0001");
    staging.exceptions(8 * DAY, &[], TAG);
    let entered = 5 * DAY + 2 * HOUR;
    staging.operation(entered + 4, TAG, "promote", "staging absent → audit, ticket CHG-1042: done");
    staging.is(entered, TAG, Mode::Audit, A, true);
    staging.says(entered - 5, TAG, A, "jane@example.com", None, "Using a mutable image tag is not allowed.");
    for (n, fail) in [12, 12, 9, 9, 7].into_iter().enumerate() {
        staging.fails(entered - 600 - i64::try_from(n).unwrap() * 6 * HOUR, TAG, fail);
    }
    staging.watched(8 * DAY, 3 * DAY + 3 * HOUR);
    staging.fails(2 * DAY + 20 * HOUR, TAG, 7);
    staging.is(2 * DAY, TAG, Mode::Audit, B, true);
    staging.says(2 * DAY - 5, TAG, B, "kubectl-edit", None, "Using a mutable image tag e.g. 'latest' is not allowed.");
    staging.fails(2 * DAY - 600, TAG, 3);
    staging.exceptions(26 * HOUR, &["legacy"], TAG);
    // What it said then could not be read in time.
    staging.is(9 * HOUR, TAG, Mode::Audit, "5e5e5e5e5e5e", true);
    staging.is(8 * HOUR + 58 * MINUTE, TAG, Mode::Audit, B, true);
    staging.watched(2 * DAY + 20 * HOUR, 0);
    staging
}
