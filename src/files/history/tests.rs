//! The file: what two recorders, a bad clock, a damaged file and a long time make of it.

use super::*;
use crate::domain::history::{
    Asked, Detail, EVENTS_KEPT, EnvironmentKey, ExceptionState, Fill, Filled, Interval, Made, MarkKind, News, Note, Operation, PolicyState,
    Refusal, Retention, SpanMode, Watched,
};
use crate::domain::{Entered, EnteredBy, Mode, PolicyId, PolicyKey, Revision, Tally};
use jiff::SignedDuration;
use std::sync::Arc;

const START: i64 = 1_760_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn of(from: i64, to: i64) -> Interval {
    Interval { from: at(from), to: at(to) }
}

fn dev() -> Arc<EnvironmentKey> {
    Arc::new(EnvironmentKey { name: "dev".into(), cluster_uid: "u1".into() })
}

fn key(name: &str) -> PolicyKey {
    let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: name.into() };
    PolicyKey { source: "kyverno".into(), id: Arc::new(id) }
}

fn state(mode: Mode, revision: &str) -> PolicyState {
    PolicyState {
        mode,
        ready: Some(true),
        revision: Some(Revision(revision.into())),
        made: Made { generation: Some(1), created: Some(at(-1_000_000)) },
    }
}

fn note(second: i64, news: News) -> Note {
    Note { environment: dev(), at: at(second), news }
}

fn are(second: i64, states: &[(&str, PolicyState)], whole: bool, seen: bool) -> Note {
    let states = states.iter().map(|(name, state)| (key(name), state.clone())).collect();
    note(second, News::Policies { states, whole, seen })
}

fn is(second: i64, mode: Mode, revision: &str) -> Note {
    are(second, &[("p", state(mode, revision))], false, true)
}

fn fails(second: i64, fail: u64) -> Note {
    note(second, News::Tallies(vec![(key("p"), Tally { fail, ..Tally::default() })]))
}

fn watched(from: i64, to: i64) -> Note {
    note(to, News::Watched(Watched::ALL.map(|family| (family, of(from, to))).into()))
}

fn refused(second: i64, identity: &str, count: u64) -> Note {
    note(second, News::Refusals(vec![Refusal { identity: identity.into(), policy: key("p"), at: at(second), count, claim: None }]))
}

/// The same of an event that nothing verifies.
fn claimed(second: i64, identity: &str, count: u64, content: &str) -> Note {
    let source = crate::domain::EventSource {
        object: format!("event/default/{identity}").parse().unwrap(),
        component: "kyverno-admission".into(),
        by: Some("curl".into()),
        verified: false,
        content: content.into(),
    };
    let claim = Some(std::sync::Arc::new(source));
    note(second, News::Refusals(vec![Refusal { identity: identity.into(), policy: key("p"), at: at(second), count, claim }]))
}

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        History::path(&self.folder.path().join("data"))
    }

    fn open(&self) -> History {
        History::open(&self.path()).unwrap()
    }
}

#[test]
fn a_history_that_is_gone_is_missed() {
    let file = File::new();
    assert!(History::open_existing(&file.path()).unwrap().is_none(), "none was begun");
    drop(file.open());
    assert!(History::open_existing(&file.path()).unwrap().is_some());
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(file.path().with_file_name(name));
    }
    let gone = History::open_existing(&file.path()).unwrap_err();
    assert_eq!(gone.fault, HistoryFault::Removed);
    assert!(gone.what.contains("although one was begun at 20"), "{gone}");
    let witness = file.path().with_file_name("history.begun");
    std::fs::write(&witness, "2020-01-01T00:00:00Z\n").unwrap();
    let begun = || std::fs::read_to_string(&witness).unwrap();
    drop(file.open());
    assert!(History::open_existing(&file.path()).unwrap().is_some(), "a new one is begun");
    let second = begun();
    assert!(!second.starts_with("2020"), "its own date counts, not that of the one before: {second}");
    drop(file.open());
    assert_eq!(begun(), second, "a history begins once");
}

/// The mode changes on record, as `second mode source`.
fn changes(history: &History) -> Vec<String> {
    let mut out = Vec::new();
    history
        .export(&mut |record| {
            if record["record"] == "change" {
                let at: Timestamp = record["at"].as_str().unwrap().parse().unwrap();
                out.push(format!(
                    "{} {} {}",
                    at.as_second() - START,
                    record["mode"].as_str().unwrap(),
                    record["knownFrom"].as_str().unwrap()
                ));
            }
            true
        })
        .unwrap();
    out
}

#[test]
fn claims_are_on_record_beside_what_is_verified() {
    let file = File::new();
    let mut history = file.open();
    let notes = [
        is(10, Mode::Enforce, "r1"),
        watched(0, 100),
        refused(20, "real", 3),
        claimed(20, "forged", 2, "a"),
        claimed(30, "forged", 5, "b"),
        claimed(31, "forged", 5, "c"),
        claimed(5, "early", 9, "d"),
    ];
    history.take("a", &notes).unwrap();
    drop(history);
    let standing = file.open().standing(&dev(), &key("p"), None, at(100)).unwrap().unwrap();
    assert_eq!(standing.blocked, 8, "all of it counts");
    let claims: Vec<_> = standing.claims.iter().map(|one| (one.at.as_second() - START, one.count, one.source.content.as_str())).collect();
    assert_eq!(claims, [(20, 2, "c"), (30, 3, "c")], "with what the event says now");
    assert_eq!(standing.claims[0].source.object.to_string(), "event/default/forged");
    let left = standing.without(|claim| claim.identity == "forged");
    assert_eq!((left.blocked, left.claims.len()), (3, 0), "what is real in the same second stays");
}

#[test]
fn it_is_private_and_kept() {
    let file = File::new();
    assert!(History::open_existing(&file.path()).unwrap().is_none(), "nothing is made by looking");
    file.open().take("a", &[is(1, Mode::Audit, "r1")]).unwrap();
    let history = History::open_existing(&file.path()).unwrap().unwrap();
    assert_eq!(changes(&history), ["1 audit seen"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
    }
}

#[test]
fn only_changes_are_recorded() {
    let file = File::new();
    let mut history = file.open();
    let taken = history.take("a", &[is(1, Mode::Audit, "r1"), is(2, Mode::Audit, "r1"), is(3, Mode::Enforce, "r1")]).unwrap();
    assert_eq!(changes(&history), ["1 audit seen", "3 enforce seen"]);
    assert_eq!(taken.wanted.len(), 3, "what it says is not on record yet");
    history.take("a", &[are(9, &[("q", state(Mode::Audit, "r9"))], true, false)]).unwrap();
    assert_eq!(changes(&history)[2..], ["9 audit found", "9 absent found"]);
}

#[test]
fn two_recorders_record_once() {
    let file = File::new();
    let (mut one, mut two) = (file.open(), file.open());
    for (recorder, history) in [("one", &mut one), ("two", &mut two)] {
        history.take(recorder, &[is(1, Mode::Audit, "r1"), fails(1, 3), refused(1, "e1", 2), refused(2, "e2", 1), watched(0, 10)]).unwrap();
    }
    // One has seen there and back again before the other tells of the first step.
    one.take("one", &[is(5, Mode::Enforce, "r1"), is(6, Mode::Audit, "r1"), refused(7, "e1", 5)]).unwrap();
    two.take("two", &[is(5, Mode::Enforce, "r1"), is(6, Mode::Audit, "r1"), refused(7, "e1", 5)]).unwrap();
    assert_eq!(changes(&one), ["1 audit seen", "5 enforce seen", "6 audit seen"]);
    let standing = one.standing(&dev(), &key("p"), None, at(10)).unwrap().unwrap();
    assert_eq!((standing.since, standing.blocked), (at(6), 3));
    let timeline = two.timeline(&key("p"), of(0, 10), 1, at(10)).unwrap();
    assert_eq!(timeline.roads[0].series.blocked, [Some(6)]);
    assert_eq!(timeline.roads[0].series.violations[0].unwrap().high, 3);
}

#[test]
fn a_recorder_of_some_namespaces_is_no_evidence_for_a_policy_that_reaches_others() {
    let file = File::new();
    let mut history = file.open();
    let id = PolicyId { kind: "Policy".into(), namespace: Some("shop".into()), ..(*key("own").id).clone() };
    let own = PolicyKey { source: "kyverno".into(), id: Arc::new(id) };
    let states = [key("p"), own.clone()].map(|key| (key, state(Mode::Audit, "r1"))).into();
    let began = note(0, News::Policies { states, whole: true, seen: false });
    let part = note(100, News::Watched(Watched::ALL.map(|family| (family.in_part(), of(0, 100))).into()));
    let tallies = [key("p"), own.clone()].map(|key| (key, Tally { pass: 1, ..Tally::default() })).into();
    history.take("a", &[began, note(0, News::Tallies(tallies)), part]).unwrap();
    for (policy, clean) in [(key("p"), 0), (own, 100)] {
        let standing = history.standing(&dev(), &policy, None, at(100)).unwrap().unwrap();
        assert_eq!(standing.observed().as_secs(), clean, "{policy:?}");
        assert_eq!(standing.event_gaps.is_empty(), clean > 0, "{policy:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_keeps_the_order() {
    let file = File::new();
    let mut history = file.open();
    history
        .take("a", &[is(5_000, Mode::Audit, "r1"), fails(5_000, 1), is(100, Mode::Enforce, "r1"), fails(100, 0), fails(101, 7)])
        .unwrap();
    assert_eq!(changes(&history), ["5000 audit seen", "5000 enforce seen"]);
    history.take("a", &[watched(5_000, 5_100)]).unwrap();
    let standing = history.standing(&dev(), &key("p"), None, at(5_100)).unwrap().unwrap();
    assert_eq!(standing.state.mode, Mode::Enforce);
    assert_eq!(standing.violations.unwrap().most, 7);
}

#[test]
fn what_the_object_tells_is_believed_where_nobody_watched() {
    let told = |second: i64| {
        let file = File::new();
        let mut history = file.open();
        history.take("a", &[is(0, Mode::Audit, "r1"), watched(0, 1_000)]).unwrap();
        history.take("b", &[are(2_000, &[("p", state(Mode::Enforce, "r1"))], true, false)]).unwrap();
        let entered = Some(Entered { at: at(second), by: EnteredBy::FieldManager, actor: "kubectl".into() });
        let detail =
            Detail { policy: key("p"), revision: Revision("r1".into()), actor: Some("kubectl".into()), entered, object: "{}".into() };
        let taken = history.take("b", &[note(2_000, News::Detail(Box::new(detail))), is(2_001, Mode::Enforce, "r1")]).unwrap();
        assert_eq!(taken.wanted, [], "its text is on record now");
        changes(&history)[1].clone()
    };
    assert_eq!(told(1_500), "1500 enforce managedFields");
    assert_eq!(told(990), "1000 enforce managedFields", "clocks differ a little");
    assert_eq!(told(500), "2000 enforce found", "somebody watched, and it was not so");
    assert_eq!(told(3_000), "2000 enforce found", "the future");
}

/// After an outage a policy is found in force again. Its object shows since when it says what it says, and nothing of the outage.
#[test]
fn that_it_is_in_force_again_is_not_dated_by_the_object() {
    let file = File::new();
    let mut history = file.open();
    let enforce = |ready| PolicyState { ready, ..state(Mode::Enforce, "r1") };
    history.take("a", &[are(0, &[("p", enforce(Some(true)))], true, false), watched(0, 20)]).unwrap();
    history.take("a", &[note(20, News::Ended(vec![(Watched::Policies, of(0, 20))]))]).unwrap();
    history.take("a", &[are(40, &[("p", enforce(None))], true, false), watched(40, 100)]).unwrap();
    let entered = Some(Entered { at: at(-10), by: EnteredBy::Creation, actor: String::new() });
    let detail = Detail { policy: key("p"), revision: Revision("r1".into()), actor: None, entered, object: "{}".into() };
    history.take("a", &[note(41, News::Detail(Box::new(detail)))]).unwrap();
    assert_eq!(changes(&history), ["0 enforce found", "40 enforce found"]);
    let timeline = history.timeline(&key("p"), of(0, 100), 10, at(100)).unwrap();
    let gaps: Vec<_> = timeline.roads[0].spans.iter().filter(|span| span.mode == SpanMode::Unwatched).collect();
    assert_eq!(gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>(), [(at(20), at(40))], "{:?}", timeline.roads[0].spans);
}

#[test]
fn a_recorder_that_began_a_moment_earlier_saw_nothing_else() {
    let file = File::new();
    let mut history = file.open();
    // Both begin at once; the second to look is the first to write.
    history.take("b", &[are(2_001, &[("p", state(Mode::Audit, "r1"))], true, false), watched(2_001, 2_001)]).unwrap();
    history.take("a", &[are(2_000, &[("p", state(Mode::Audit, "r1"))], true, false), watched(2_000, 2_000)]).unwrap();
    let entered = Some(Entered { at: at(500), by: EnteredBy::FieldManager, actor: "kubectl".into() });
    let detail = Detail { policy: key("p"), revision: Revision("r1".into()), actor: None, entered, object: "{}".into() };
    history.take("a", &[note(2_002, News::Detail(Box::new(detail)))]).unwrap();
    assert_eq!(changes(&history), ["500 audit managedFields"]);
}

#[test]
fn a_timeline_of_everything() {
    use MarkKind::{Deleted, Demote, Exception, Promote, Violations};
    let file = File::new();
    let mut history = file.open();
    let exception = ExceptionState {
        group: "kyverno.io".into(),
        namespace: "team-a".into(),
        name: "allow".into(),
        policies: vec!["p".into()],
        expires_at: None,
        created_at: None,
    };
    let operation = Operation {
        identity: "plan-1/0".into(),
        policy: Some(key("p")),
        verb: "rollback".into(),
        actor: "jane".into(),
        text: "to r1".into(),
    };
    let notes = [
        are(10, &[("p", state(Mode::Audit, "r1"))], true, false),
        fails(10, 0),
        is(30, Mode::Enforce, "r1"),
        fails(40, 2),
        note(50, News::Exceptions(vec![exception])),
        note(60, News::Exceptions(vec![])),
        note(61, News::Operation(operation.clone())),
        note(62, News::Operation(operation)),
        are(70, &[], true, true),
        watched(10, 90),
    ];
    history.take("a", &notes).unwrap();
    let timeline = history.timeline(&key("p"), of(0, 100), 10, at(200)).unwrap();
    let [road] = &timeline.roads[..] else { panic!("{timeline:?}") };
    let spans: Vec<_> = road.spans.iter().map(|span| (span.from.as_second() - START, span.mode.as_str())).collect();
    assert_eq!(spans, [(0, "unwatched"), (10, "audit"), (30, "enforce"), (70, "absent"), (90, "unwatched")]);
    let marks: Vec<_> = road.marks.iter().map(|mark| (mark.at.as_second() - START, mark.kind)).collect();
    assert_eq!(marks, [(30, Promote), (40, Violations), (50, Exception), (60, Exception), (61, Demote), (70, Deleted)]);
    let violations: Vec<_> = road.series.violations.iter().map(|range| range.map(|range| range.high)).collect();
    assert_eq!(violations, [None, Some(0), Some(0), Some(0), Some(2), Some(2), Some(2), Some(2), Some(2), None]);
    let lines = history.overview(of(0, 100), at(200)).unwrap();
    assert_eq!((lines.len(), lines[0].spans[1].mode), (1, SpanMode::Of(Mode::Audit)));
    assert_eq!(history.policies().unwrap(), [key("p")]);
    // Somewhere else it was never.
    assert_eq!(history.timeline(&key("q"), of(0, 100), 1, at(200)).unwrap().roads[0].spans[1].mode, SpanMode::Of(Mode::Absent));
}

#[test]
fn an_operation_is_told_once_and_without_a_recorder_too() {
    let file = File::new();
    let mut history = file.open();
    let ours = |step: u32| {
        let identity = format!("plan-1/{step}");
        let text = "audit → enforce".into();
        News::Operation(Operation { identity, policy: Some(key("p")), verb: "promote".into(), actor: "jane".into(), text })
    };
    history.take("operations", &[note(10, ours(0))]).unwrap();
    let marks = |history: &History| {
        let timeline = history.timeline(&key("p"), of(0, 100), 1, at(200)).unwrap();
        let marks = timeline.roads.into_iter().flat_map(|road| road.marks);
        marks.map(|mark| (mark.kind, mark.actor.unwrap_or_default())).collect::<Vec<_>>()
    };
    assert_eq!(marks(&history), [(MarkKind::Promote, "jane".to_owned())], "nobody else was watching");
    let seen = [are(5, &[("p", state(Mode::Audit, "r1"))], true, false), is(11, Mode::Enforce, "r1"), note(11, ours(0)), watched(5, 90)];
    history.take("a", &seen).unwrap();
    assert_eq!(marks(&history), [(MarkKind::Promote, "jane".to_owned())], "a recorder saw it, too");
}

#[test]
fn revisions_are_kept_with_their_text() {
    let file = File::new();
    let mut history = file.open();
    let text = |revision: &str| Detail {
        policy: key("p"),
        revision: Revision(revision.into()),
        actor: None,
        entered: None,
        object: format!("{{\"r\":\"{revision}\"}}"),
    };
    let notes = [
        is(1, Mode::Audit, "r1"),
        note(1, News::Detail(Box::new(text("r1")))),
        is(2, Mode::Audit, "r2"),
        is(3, Mode::Enforce, "r2"),
        is(4, Mode::Enforce, "r3"),
        note(4, News::Detail(Box::new(text("r3")))),
    ];
    history.take("a", &notes).unwrap();
    let revisions = history.revisions(&dev(), &key("p")).unwrap();
    let words: Vec<_> =
        revisions.iter().map(|r| (r.revision.0.as_str(), r.until.map(|u| u.as_second() - START), r.object.as_deref())).collect();
    assert_eq!(words, [("r3", None, Some("{\"r\":\"r3\"}")), ("r2", Some(4), None), ("r1", Some(2), Some("{\"r\":\"r1\"}"))]);
    let modes: Vec<_> = revisions.iter().map(|r| r.mode).collect();
    assert_eq!(modes, [Mode::Enforce, Mode::Enforce, Mode::Audit], "the mode that each had last");
    history.take("a", &[is(5, Mode::NotReady, "r3"), is(6, Mode::Audit, "r1")]).unwrap();
    let again = history.revisions(&dev(), &key("p")).unwrap();
    let words: Vec<_> = again.iter().map(|r| (r.revision.0.as_str(), r.mode)).collect();
    assert_eq!(words, [("r1", Mode::Audit), ("r3", Mode::Enforce), ("r2", Mode::Enforce)], "out of force is no mode");
}

#[test]
fn damaged_and_foreign_files_are_left_alone() {
    let file = File::new();
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    std::fs::write(file.path(), "not a database at all, but long enough to look like one".repeat(100)).unwrap();
    let before = std::fs::read(file.path()).unwrap();
    let error = History::open(&file.path()).unwrap_err();
    assert_eq!(error.fault, HistoryFault::Damaged, "{error}");
    assert!(error.what.contains("history.db") && error.what.contains("Move it away"), "{error}");
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
    std::fs::remove_file(file.path()).unwrap();
    Connection::open(file.path()).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    let error = History::open(&file.path()).unwrap_err();
    assert!(error.what.contains("another program"), "{error}");
}

#[test]
fn who_says_that_it_ended_is_not_taken_to_be_between_two_signs_of_life() {
    let gap = |last: News| {
        let file = File::new();
        let mut history = file.open();
        let notes = [is(0, Mode::Audit, "r1"), watched(0, 90), note(95, last)];
        history.take("a", &notes).unwrap();
        let standing = history.standing(&dev(), &key("p"), None, at(100)).unwrap().unwrap();
        standing.event_gaps.iter().map(|gap| (gap.from.as_second() - START, gap.to.as_second() - START)).collect::<Vec<_>>()
    };
    let all = Watched::ALL.map(|family| (family, of(0, 95))).to_vec();
    assert_eq!(gap(News::Watched(all.clone())), [], "killed, or about to tell more");
    assert_eq!(gap(News::Ended(all)), [(95, 100)]);
    let events = vec![(Watched::Events, of(0, 95))];
    assert_eq!(gap(News::Ended(events)), [(95, 100)], "the others go on");
}

#[test]
fn a_newer_file_is_refused() {
    let file = File::new();
    drop(file.open());
    Connection::open(file.path()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = History::open(&file.path()).unwrap_err();
    assert_eq!(error.fault, HistoryFault::Newer);
    assert!(error.what.contains("newer policydeck") && error.what.contains("99"), "{error}");
}

#[test]
fn old_samples_are_rolled_up_and_nothing_that_matters_is_lost() {
    let file = File::new();
    let mut history = file.open();
    let day = 86_400;
    let mut notes = vec![is(0, Mode::Audit, "r1"), watched(0, 40 * day)];
    // Every ten minutes for forty days, with one violation in the middle of an hour of the second day.
    for n in 0..40 * 144 {
        notes.push(fails(n * 600, u64::from(n % 2 == 0)));
    }
    notes.push(fails(day + 5 * 3_600 + 601, 77));
    notes.sort_by_key(|note| note.at);
    // In the middle of an hour it was promoted.
    notes.push(is(20 * day + 1_800, Mode::Enforce, "r1"));
    history.take("a", &notes).unwrap();
    let pruned = history.prune(Retention::default(), at(40 * day)).unwrap();
    assert!(pruned.rolled_up > 5_000 && pruned.forgotten == 0, "{pruned:?}");
    assert_eq!(history.prune(Retention::default(), at(40 * day)).unwrap(), Pruned::default());
    let rows: i64 = history.connection.query_row("SELECT count(*) FROM tallies", [], |row| row.get(0)).unwrap();
    assert!((144 + 13 * 24..700).contains(&rows), "{rows}");
    let timeline = history.timeline(&key("p"), of(day, 2 * day), 1, at(40 * day)).unwrap();
    assert_eq!(timeline.roads[0].series.violations[0].unwrap().high, 77);
    let standing = history.standing(&dev(), &key("p"), None, at(40 * day)).unwrap().unwrap();
    assert_eq!((standing.since, standing.violations.unwrap().most), (at(20 * day + 1_800), 1), "77 was before");
    let keep = Retention::of(SignedDuration::from_hours(24 * 10));
    let pruned = history.prune(keep, at(40 * day)).unwrap();
    assert!(pruned.forgotten > 0);
    assert_eq!(changes(&history), ["1728000 enforce seen".replace("1728000", &(20 * day + 1_800).to_string())], "what still holds is kept");
    history.compact().unwrap();
}

/// Ninety days of four environments with two hundred policies stay below 200 MB: a fortieth of it, below a fortieth.
#[test]
fn ninety_days_fit() {
    let file = File::new();
    let mut history = file.open();
    let policies: Vec<PolicyKey> = (0..20).map(|n| key(&format!("some-policy-with-a-name-{n:03}"))).collect();
    let mut now = 0;
    for day in 0..90_i64 {
        let mut notes = Vec::new();
        // The numbers of each policy change sixty times a day: with every roll-out.
        for beat in 0..60_i64 {
            now = day * 86_400 + beat * 1_440;
            let tallies = policies.iter().enumerate().map(|(n, key)| {
                let faults = (beat.unsigned_abs() * 7 + n as u64) % 40;
                (key.clone(), Tally { pass: 12_000 + faults, fail: faults, skip: 30, ..Tally::default() })
            });
            notes.push(note(now, News::Tallies(tallies.collect())));
        }
        for n in 0..5 {
            notes.push(refused(day * 86_400 + n * 60, &format!("00000000-0000-4000-8000-{day:06x}{n:06x}"), 1));
        }
        notes.push(watched(day * 86_400, day * 86_400 + 80_000));
        history.take("a", &notes).unwrap();
        history.prune(Retention::default(), at(now)).unwrap();
    }
    let size = |suffix: &str| std::fs::metadata(format!("{}{suffix}", file.path().display())).map_or(0, |metadata| metadata.len());
    let bytes = size("") + size("-wal");
    assert!(bytes < 5_000_000, "{bytes} bytes");
    let started = std::time::Instant::now();
    let timeline = history.timeline(&policies[7], Interval { from: at(0), to: at(now) }, 300, at(now)).unwrap();
    // Far from the limit even in a debug build on a busy machine; the bench measures it.
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    assert!(timeline.roads[0].series.violations.iter().filter(|range| range.is_some()).count() > 250);
}

fn filled(second: i64, gap: Interval, fills: &[(i64, i64, u64, bool)]) -> Note {
    let fills = fills.iter().map(|(from, to, count, whole)| Fill { interval: of(*from, *to), count: *count, whole: *whole }).collect();
    note(second, News::Filled(Box::new(Filled { policy: key("p"), gap, fills })))
}

#[test]
fn what_prometheus_told_fills_gaps() {
    let file = File::new();
    let mut history = file.open();
    history.take("a", &[is(0, Mode::Enforce, "r1"), watched(0, 100), refused(50, "e1", 1)]).unwrap();
    // Whoever begins to watch is told of an hour.
    let back = 400 + EVENTS_KEPT.as_secs();
    history.take("b", &[watched(back, back + 600)]).unwrap();
    let standing = |history: &History| history.standing(&dev(), &key("p"), None, at(back + 600)).unwrap().unwrap();
    assert_eq!((standing(&history).event_gaps, standing(&history).blocked), (vec![of(100, 400)], 1));
    let short = history.standing(&dev(), &key("p"), Some(SignedDuration::from_secs(300)), at(back + 600)).unwrap().unwrap();
    assert_eq!(short.event_gaps, [of(100, back - 300)], "the cluster keeps events for five minutes");
    assert_eq!(history.asked(&dev()).unwrap(), None);

    let asked = |answered, why: &str| Asked { at: at(401), answered, why: why.into() };
    history.take("b", &[note(401, News::Asked(asked(false, "does not answer: connection refused")))]).unwrap();
    assert_eq!(history.asked(&dev()).unwrap(), Some(asked(false, "does not answer: connection refused")));
    history.take("b", &[note(402, News::Asked(asked(true, ""))), filled(402, of(100, 400), &[(100, 300, 0, true)])]).unwrap();
    assert_eq!(standing(&history).event_gaps, [of(300, 400)]);
    // Asked again it told more; what it told before of the same gap goes, and saying so twice changes nothing.
    for _ in 0..2 {
        history.take("b", &[filled(403, of(100, 400), &[(100, 200, 0, true), (200, 210, 2, true), (210, 400, 0, true)])]).unwrap();
        let told = standing(&history);
        assert_eq!((told.event_gaps, told.filled, told.blocked, told.blocked_by_fills), (vec![], vec![of(100, 400)], 3, 2));
        assert_eq!(history.asked(&dev()).unwrap(), Some(asked(true, "")));
    }
    // Reports have their own gap: counters of evaluations fill none of it.
    assert_eq!(standing(&history).report_gaps, [of(100, back)]);
    // An event that is told of afterwards is one of those that were counted.
    history.take("b", &[refused(205, "e2", 1)]).unwrap();
    assert_eq!((standing(&history).blocked, standing(&history).blocked_by_fills), (3, 1));

    let road = history.timeline(&key("p"), of(0, 1_000), 10, at(1_000)).unwrap().roads.remove(0);
    assert_eq!(road.series.blocked, [Some(1), Some(0), Some(2), Some(0), Some(0), Some(0), Some(0), Some(0), Some(0), Some(0)]);
    assert_eq!(road.filled.len(), 3);
    let mut told = Vec::new();
    history
        .export(&mut |record| {
            if record["record"] == "filled" {
                told.push(record.clone());
            }
            true
        })
        .unwrap();
    assert_eq!(
        (told.len(), &told[1]["toldBy"], &told[1]["count"], &told[1]["policy"]["name"]),
        (3, &"prometheus".into(), &2.into(), &"p".into())
    );
    history.prune(Retention::of(SignedDuration::from_secs(700)), at(1_000)).unwrap();
    assert_eq!(history.timeline(&key("p"), of(0, 1_000), 10, at(1_000)).unwrap().roads[0].filled.len(), 1, "the others are too old");
}

/// A file as the first version left it, with these rows in it.
fn of_the_first_version(rows: &str) -> File {
    let file = File::new();
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    let old = Connection::open(file.path()).unwrap();
    old.execute_batch(&schema::version_1()).unwrap();
    old.execute_batch(&format!("INSERT INTO environments VALUES(1, 'dev', 'u1'); {rows}")).unwrap();
    file
}

#[test]
fn what_a_file_of_the_first_version_says_of_watching_still_holds() {
    let row = "INSERT INTO coverage(environment, family, start, recorder, until) VALUES(1, 'policies', ";
    let file = of_the_first_version(&format!("{row} {}, 'old', {})", super::millis(at(0)), super::millis(at(90))));
    let mut history = file.open();
    history.take("a", &[are(95, &[("p", state(Mode::Audit, "r1"))], true, false)]).unwrap();
    let timeline = history.timeline(&key("p"), of(0, 100), 1, at(200)).unwrap();
    let spans: Vec<_> = timeline.roads[0].spans.iter().map(|span| (span.from.as_second() - START, span.mode.as_str())).collect();
    assert_eq!(spans, [(0, "absent"), (90, "unwatched")]);
}

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    let file = of_the_first_version(&format!(
        "INSERT INTO policies VALUES(1, 1, 'kyverno', 'kyverno.io', 'ClusterPolicy', '', 'p');
         INSERT INTO changes VALUES(1, 1, {}, 'enforce', 1, 'r1', NULL, 'seen', 'a');
         INSERT INTO blocked VALUES(1, {}, 4)",
        START * 1_000,
        START + 5
    ));
    let mut history = file.open();
    let standing = history.standing(&dev(), &key("p"), None, at(100)).unwrap().unwrap();
    assert_eq!((standing.blocked, standing.event_gaps), (4, vec![of(0, 100)]), "what is on record is still there");
    history.take("b", &[filled(90, of(0, 100), &[(0, 100, 4, true)])]).unwrap();
    assert_eq!(history.standing(&dev(), &key("p"), None, at(100)).unwrap().unwrap().event_gaps, []);
    drop(history);
    assert!(History::open(&file.path()).is_ok(), "once");
}

#[test]
fn rolling_up_moves_nothing_into_a_stretch_that_prometheus_told_of() {
    let file = File::new();
    let mut history = file.open();
    let day = 86_400;
    // START is 26 minutes before a whole hour: these are of one hour.
    history.take("a", &[is(0, Mode::Enforce, "r1"), watched(0, 300), refused(10, "e1", 1), refused(400, "e2", 1)]).unwrap();
    history.take("a", &[watched(600, 2 * day), filled(700, of(300, 600), &[(300, 600, 5, true)])]).unwrap();
    let blocked = |history: &History| history.standing(&dev(), &key("p"), None, at(2 * day)).unwrap().unwrap().blocked;
    assert_eq!(blocked(&history), 6);
    history.prune(Retention::default(), at(2 * day)).unwrap();
    assert_eq!(blocked(&history), 6, "the one that was seen is not one of those that were told");
}

/// What a policy says, which no compression makes small.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + u8::try_from(state % 94).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

fn says(second: i64, name: &str, revision: &str, object: String) -> Note {
    note(
        second,
        News::Detail(Box::new(Detail { policy: key(name), revision: Revision(revision.into()), actor: None, entered: None, object })),
    )
}

fn rows(history: &History, table: &str) -> i64 {
    history.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn modes(history: &History, name: &str, window: Interval, now: i64) -> Vec<String> {
    let timeline = history.timeline(&key(name), window, 1, at(now)).unwrap();
    timeline.roads.iter().flat_map(|road| &road.spans).map(|span| span.mode.as_str().to_owned()).collect()
}

#[test]
fn a_policy_that_changes_a_thousand_times_does_not_fill_the_disk() {
    let file = File::new();
    let mut history = file.open();
    let most = 4 << 20;
    history.take("a", &[are(0, &[("quiet", state(Mode::Audit, "r"))], false, true), watched(0, 10)]).unwrap();
    for n in 1..=1_000_i64 {
        let revision = format!("r{n}");
        assert!(history.keep_within(most, at(n * 60)).unwrap(), "{n}");
        // It has watched since the beginning, and says so each time.
        let notes = [is(n * 60, Mode::Audit, &revision), says(n * 60, "p", &revision, noise(n.unsigned_abs(), 20_000)), watched(0, n * 60)];
        history.take("a", &notes).unwrap();
        assert!(history.size().unwrap() <= most + 100_000, "{n}: {} bytes", history.size().unwrap());
    }
    assert_eq!(changes(&history).last().unwrap(), "60000 audit seen", "what it is now stays");
    let texts = history.revisions(&dev(), &key("p")).unwrap();
    assert!(texts[0].object.is_some() && rows(&history, "revisions") < 250, "{} texts", rows(&history, "revisions"));
    // Its former texts made the room: the records of others are all there.
    let now = 1_000 * 60;
    assert_eq!(modes(&history, "quiet", of(0, now), now), ["audit"]);
}

#[test]
fn time_that_was_dropped_is_a_gap_and_stays_one() {
    let file = File::new();
    let mut history = file.open();
    history.take("a", &[is(0, Mode::Audit, "r1"), fails(10, 3), refused(20, "e1", 1), watched(0, 7 * 86_400)]).unwrap();
    let size = history.size().unwrap();
    // Nothing is left to drop but what is so now.
    assert!(!history.keep_within(size / 4, at(8 * 86_400)).unwrap());
    let end = 7 * 86_400;
    assert_eq!(changes(&history), ["0 audit seen"]);
    assert_eq!(modes(&history, "p", of(0, end), end), ["unwatched"]);
    let blocked = |history: &History, window| history.timeline(&key("p"), window, 1, at(end)).unwrap().roads[0].series.blocked[0];
    assert_eq!(blocked(&history, of(0, end - 7_200)), None, "that one was blocked is forgotten, not denied");
    // The same recorder goes on, and says since when it watches.
    history.take("a", &[watched(0, end + 60)]).unwrap();
    assert_eq!(modes(&history, "p", of(0, end + 60), end + 60), ["unwatched", "audit"]);
    let standing = history.standing(&dev(), &key("p"), None, at(end + 60)).unwrap().unwrap();
    assert!(!standing.policy_gaps.is_empty() && !standing.event_gaps.is_empty(), "{standing:?}");
}

#[test]
fn policies_made_and_deleted_by_the_thousand_leave_room_and_a_gap() {
    let file = File::new();
    let mut history = file.open();
    history.take("a", &[is(0, Mode::Audit, "r1"), watched(0, 10)]).unwrap();
    for n in 0..30_i64 {
        let (begins, ends) = (n * 600, n * 600 + 300);
        let names: Vec<String> = (0..100).map(|m| format!("made-{n:02}-{m:02}")).collect();
        let there: Vec<_> = names.iter().map(|name| (name.as_str(), state(Mode::Enforce, "r"))).collect();
        let gone: Vec<_> = names.iter().map(|name| (name.as_str(), PolicyState::ABSENT)).collect();
        history.take("a", &[are(begins, &there, false, true), are(ends, &gone, false, true), watched(0, ends)]).unwrap();
    }
    let now = 30 * 600;
    history.take("a", &[watched(0, now)]).unwrap();
    let pruned = history.prune(Retention::default(), at(now)).unwrap();
    assert!(pruned.forgotten >= 3_000, "{pruned:?}");
    assert_eq!(rows(&history, "policies"), room::GONE + 1);
    assert_eq!(modes(&history, "p", of(0, now), now), ["audit"], "what exists keeps everything");
    assert_eq!(modes(&history, "made-29-00", of(0, now), now), ["absent", "enforce", "absent"], "and so do those that went last");
    assert!(modes(&history, "made-00-00", of(0, now), now).is_empty(), "of the others it is not said that nothing was");
    // It comes again: what was before is not known, and what is now is.
    history.take("a", &[are(now + 60, &[("made-00-00", state(Mode::Audit, "r"))], false, true), watched(0, now + 120)]).unwrap();
    assert_eq!(modes(&history, "made-00-00", of(0, now + 120), now + 120), ["unwatched", "absent", "audit"]);
}
