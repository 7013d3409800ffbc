//! Answers: rows become records, `domain::history` makes the rest of them.

use super::{History, HistoryError, fills, millis, time, unsigned};
use crate::domain::history::{
    Change, ChangeSource, Claimed, EVENTS_KEPT, EnvironmentKey, ExceptionChange, ExceptionState, Interval, Line, Made, Mark, Operation,
    PolicyState, Records, RevisionText, Road, Sample, Series, Standing, Timeline, Watched, beyond, blocked_series, cover, exception_marks,
    mode_marks, operation_mark, running, spans, standing, told_afterwards, told_once, violation_marks, violation_series,
};
use crate::domain::{EventSource, Mode, PolicyId, PolicyKey, Revision, Tally};
use flate2::read::ZlibDecoder;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::Arc;

/// How long after its end a watch still counts as going on: looks and beats are that far apart, and so are the clocks of those who ask.
const MOMENT: SignedDuration = SignedDuration::from_secs(2);

/// The most a recorded object may hold: what etcd takes, and some.
const MOST: u64 = 16 << 20;

impl History {
    pub(super) fn answer<T>(&self, answer: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        // One moment for all of it, whatever others write meanwhile.
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            let out = answer(&transaction)?;
            transaction.commit()?;
            Ok(out)
        };
        read().map_err(|error| self.failed("read", &error))
    }

    /// All environments on record, those last watched first.
    pub fn environments(&self) -> Result<Vec<EnvironmentKey>, HistoryError> {
        self.answer(|db| Ok(environments(db)?.into_iter().map(|(_, key)| key).collect()))
    }

    /// All policies on record in any environment, each once, sorted.
    pub fn policies(&self) -> Result<Vec<PolicyKey>, HistoryError> {
        self.answer(|db| {
            let mut statement = db.prepare_cached("SELECT DISTINCT source, api_group, kind, namespace, name FROM policies")?;
            let mut keys = statement.query_map([], |row| policy_key(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            keys.sort();
            Ok(keys)
        })
    }

    /// Since when a policy is what it is in an environment, and what happened since. `None` where nothing is on record or it is absent.
    /// `events_kept` is how long the cluster keeps events, where that is not the usual hour.
    pub fn standing(
        &self,
        environment: &EnvironmentKey,
        policy: &PolicyKey,
        events_kept: Option<SignedDuration>,
        now: Timestamp,
    ) -> Result<Option<Standing>, HistoryError> {
        self.answer(|db| {
            let Some(environment) = environment_number(db, environment)? else { return Ok(None) };
            let Some(number) = policy_number(db, environment, policy)? else { return Ok(None) };
            let changes = changes(db, number)?;
            let floor = floor(db, environment, Some(number))?;
            // What was before the oldest change that can matter is of no interest.
            let from = changes.first().map_or(now, |change| change.at);
            let since = Interval { from, to: now };
            let coverage = |family| covering(db, environment, policy, family, since, now);
            let records = Records {
                samples: samples(db, number, since)?,
                blocked: blocked(db, number, since)?,
                claims: claims(db, number, since)?,
                policies: [
                    last_watched_before(db, environment, from)?.into_iter().filter(|last| last.to > floor).collect(),
                    coverage(Watched::Policies)?,
                ]
                .concat(),
                reports: coverage(Watched::Reports)?,
                events: coverage(Watched::Events)?,
                events_kept,
                // What was told of times before the record begins is of interest where the object knows of an earlier beginning.
                fills: fills::fills(db, number, Interval { from: Timestamp::MIN, to: now })?,
                changes,
            };
            Ok(standing(&records, now))
        })
    }

    /// A policy over time. `now` is the clock; `width` the number of buckets, which the series have each.
    pub fn timeline(&self, policy: &PolicyKey, window: Interval, width: usize, now: Timestamp) -> Result<Timeline, HistoryError> {
        self.answer(|db| {
            let mut roads = Vec::new();
            for (environment, key) in environments(db)? {
                roads.extend(road(db, environment, key, policy, Frame { window, width, now })?);
            }
            Ok(Timeline { policy: policy.clone(), window, roads })
        })
    }

    /// What every policy did, in every environment: one line each, sorted by policy.
    pub fn overview(&self, window: Interval, now: Timestamp) -> Result<Vec<Line>, HistoryError> {
        self.answer(|db| {
            let mut lines = Vec::new();
            for (environment, key) in environments(db)? {
                let covered = coverage(db, environment, Watched::Policies, window, now)?;
                let mut statement =
                    db.prepare_cached("SELECT id, source, api_group, kind, namespace, name FROM policies WHERE environment = ?1")?;
                let policies = statement.query_map([environment], |row| Ok((row.get::<_, i64>(0)?, policy_key(row, 1)?)))?;
                for row in policies {
                    let (number, policy) = row?;
                    let covered = from(&covered, floor(db, environment, Some(number))?);
                    let spans = spans(&changes(db, number)?, &covered, window);
                    lines.push(Line { environment: key.clone(), policy, spans });
                }
            }
            lines.sort_by(|a, b| a.policy.cmp(&b.policy));
            Ok(lines)
        })
    }

    /// What a policy said in an environment, newest first.
    pub fn revisions(&self, environment: &EnvironmentKey, policy: &PolicyKey) -> Result<Vec<RevisionText>, HistoryError> {
        self.answer(|db| {
            let Some(environment) = environment_number(db, environment)? else { return Ok(Vec::new()) };
            let Some(number) = policy_number(db, environment, policy)? else { return Ok(Vec::new()) };
            revisions(db, number)
        })
    }
}

/// What of time is asked for.
#[derive(Clone, Copy)]
struct Frame {
    window: Interval,
    width: usize,
    now: Timestamp,
}

/// One environment of a timeline; `None` where nothing is known of it in the window.
fn road(db: &Connection, environment: i64, key: EnvironmentKey, policy: &PolicyKey, frame: Frame) -> rusqlite::Result<Option<Road>> {
    let Frame { window, width, now } = frame;
    let watched = |family| covering(db, environment, policy, family, window, now);
    let covered = watched(Watched::Policies)?;
    let number = policy_number(db, environment, policy)?;
    let changes = number.map_or(Ok(Vec::new()), |number| changes(db, number))?;
    let reports = watched(Watched::Reports)?;
    let operations = operations(db, environment, number, window)?;
    if covered.is_empty() && reports.is_empty() && changes.is_empty() && operations.is_empty() {
        return Ok(None);
    }
    let samples = number.map_or(Ok(Vec::new()), |number| samples(db, number, window))?;
    let blocked = number.map_or(Ok(Vec::new()), |number| blocked(db, number, window))?;
    let filled = number.map_or(Ok(Vec::new()), |number| fills::fills(db, number, window))?;
    let events = events_known(db, environment, policy, window, now)?;
    let known = cover(events.into_iter().chain(filled.iter().filter(|fill| fill.whole).map(|fill| fill.interval)).collect());
    let counts = [blocked.clone(), beyond(&blocked, &filled)].concat();
    let series =
        Series { violations: violation_series(&samples, &reports, window, width), blocked: blocked_series(&counts, &known, window, width) };
    let mut marks = told_once(mode_marks(&changes, window), operations);
    marks.extend(violation_marks(&samples, window));
    marks.extend(exception_marks(&exception_changes(db, environment, window)?, &policy.id.report_name(), window));
    marks.sort_by_key(|mark| mark.at);
    Ok(Some(Road { environment: key, spans: spans(&changes, &covered, window), marks, series, filled }))
}

/// Environments by when they were watched last.
pub(super) fn environments(db: &Connection) -> rusqlite::Result<Vec<(i64, EnvironmentKey)>> {
    let sql = "SELECT id, name, cluster_uid FROM environments
               ORDER BY (SELECT max(until) FROM coverage WHERE environment = environments.id) DESC, id DESC";
    let key = |row: &Row<'_>| Ok((row.get(0)?, EnvironmentKey { name: row.get(1)?, cluster_uid: row.get(2)? }));
    db.prepare_cached(sql)?.query_map([], key)?.collect()
}

pub(super) fn environment_number(db: &Connection, key: &EnvironmentKey) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM environments WHERE name = ?1 AND cluster_uid = ?2")?
        .query_row(params![key.name, key.cluster_uid], |row| row.get(0))
        .optional()
}

pub(super) fn policy_number(db: &Connection, environment: i64, key: &PolicyKey) -> rusqlite::Result<Option<i64>> {
    let namespace = key.id.namespace.as_deref().unwrap_or_default();
    db.prepare_cached(
        "SELECT id FROM policies WHERE environment = ?1 AND source = ?2 AND api_group = ?3 AND kind = ?4 AND namespace = ?5 AND name = ?6",
    )?
    .query_row(params![environment, &*key.source, key.id.group, key.id.kind, namespace, key.id.name], |row| row.get(0))
    .optional()
}

/// The key in five columns that begin with `first`.
pub(super) fn policy_key(row: &Row<'_>, first: usize) -> rusqlite::Result<PolicyKey> {
    let source: String = row.get(first)?;
    let namespace: String = row.get(first + 3)?;
    let id = PolicyId {
        group: row.get(first + 1)?,
        kind: row.get(first + 2)?,
        namespace: (!namespace.is_empty()).then_some(namespace),
        name: row.get(first + 4)?,
    };
    Ok(PolicyKey { source: Arc::from(source), id: Arc::new(id) })
}

/// The columns of a [`change`].
pub(super) const CHANGE: &str = "at, mode, ready, revision, actor, source, generation, created";

/// A change of the columns [`CHANGE`].
pub(super) fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let (mode, source): (String, String) = (row.get(1)?, row.get(5)?);
    let revision: Option<String> = row.get(3)?;
    let object = Made { generation: row.get(6)?, created: row.get::<_, Option<i64>>(7)?.map(time) };
    Ok(Change {
        at: time(row.get(0)?),
        state: PolicyState { mode: mode_of(&mode), ready: row.get(2)?, revision: revision.map(Revision), made: object },
        actor: row.get(4)?,
        source: source.parse().unwrap_or(ChangeSource::Found),
    })
}

fn mode_of(word: &str) -> Mode {
    use Mode::{Absent, Audit, Enforce, Mixed, NotReady, Off, Unknown, Warn};
    [Audit, Enforce, Mixed, Warn, Off, NotReady, Absent].into_iter().find(|mode| mode.as_str() == word).unwrap_or(Unknown)
}

/// A sample of the columns at, span, low, high, pass, fail, warn, error, skip.
pub(super) fn sample(row: &Row<'_>) -> rusqlite::Result<Sample> {
    let count = |column: usize| row.get(column).map(unsigned);
    Ok(Sample {
        at: Timestamp::from_second(row.get(0)?).unwrap_or(Timestamp::MAX),
        span: SignedDuration::from_secs(row.get(1)?),
        low: count(2)?,
        high: count(3)?,
        last: Tally { pass: count(4)?, fail: count(5)?, warn: count(6)?, error: count(7)?, skip: count(8)? },
    })
}

pub(super) fn changes(db: &Connection, policy: i64) -> rusqlite::Result<Vec<Change>> {
    db.prepare_cached(&format!("SELECT {CHANGE} FROM changes WHERE policy = ?1 ORDER BY id"))?.query_map([policy], change)?.collect()
}

/// The samples of a window, with the last one before it.
fn samples(db: &Connection, policy: i64, window: Interval) -> rusqlite::Result<Vec<Sample>> {
    db.prepare_cached(
        "SELECT at, span, low, high, pass, fail, warn, error, skip FROM tallies WHERE policy = ?1 AND at <= ?3
         AND at >= coalesce((SELECT max(at) FROM tallies WHERE policy = ?1 AND at < ?2), ?2) ORDER BY at",
    )?
    .query_map(params![policy, window.from.as_second(), window.to.as_second()], sample)?
    .collect()
}

fn blocked(db: &Connection, policy: i64, window: Interval) -> rusqlite::Result<Vec<(Timestamp, u64)>> {
    let count = |row: &Row<'_>| Ok((Timestamp::from_second(row.get(0)?).unwrap_or(Timestamp::MAX), unsigned(row.get(1)?)));
    db.prepare_cached(
        "SELECT at, sum(count) FROM (SELECT at, count FROM blocked WHERE policy = ?1 UNION ALL SELECT at, count FROM claims WHERE policy = ?1)
         WHERE at BETWEEN ?2 AND ?3 GROUP BY at ORDER BY at",
    )?
    .query_map(params![policy, window.from.as_second(), window.to.as_second()], count)?
    .collect()
}

/// Those of them that nothing verifies.
fn claims(db: &Connection, policy: i64, window: Interval) -> rusqlite::Result<Vec<Claimed>> {
    let claimed = |row: &Row<'_>| {
        let source = EventSource {
            object: row.get::<_, String>(3)?.parse().unwrap_or_default(),
            component: row.get(4)?,
            by: row.get(5)?,
            verified: false,
            content: row.get(6)?,
        };
        let at = Timestamp::from_second(row.get(1)?).unwrap_or(Timestamp::MAX);
        Ok(Claimed { identity: row.get(0)?, at, count: unsigned(row.get(2)?), source })
    };
    db.prepare_cached(
        "SELECT identity, at, count, event, component, writer, content FROM claims WHERE policy = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at, identity",
    )?
    .query_map(params![policy, window.from.as_second(), window.to.as_second()], claimed)?
    .collect()
}

/// When a family was watched, as disjoint intervals that reach into the window.
fn coverage(db: &Connection, environment: i64, family: Watched, window: Interval, now: Timestamp) -> rusqlite::Result<Vec<Interval>> {
    let interval = |row: &Row<'_>| Ok((Interval { from: time(row.get(0)?), to: time(row.get(1)?) }, row.get(2)?));
    let all: rusqlite::Result<Vec<(Interval, bool)>> = db
        .prepare_cached(
            "SELECT start, until, NOT ended AND start = (SELECT max(start) FROM coverage AS other
                 WHERE other.environment = ?1 AND other.family = ?2 AND other.recorder = coverage.recorder)
             FROM coverage WHERE environment = ?1 AND family = ?2 AND start <= ?4 AND until >= ?3 ORDER BY start",
        )?
        .query_map(params![environment, family.as_str(), millis(window.from) - 60_000, millis(window.to)], interval)?
        .collect();
    // What ended a moment ago was read in that moment: an answer that looked first goes up to now.
    let close = |mut interval: Interval| {
        if interval.to < now && now.duration_since(interval.to) <= MOMENT {
            interval.to = now;
        }
        interval
    };
    // A recorder that was killed says nothing; but if it began to watch again, it had stopped before.
    let (going, ended): (Vec<_>, Vec<_>) = all?.into_iter().partition(|(_, going)| *going);
    let only = |intervals: Vec<(Interval, bool)>| intervals.into_iter().map(|(interval, _)| interval).collect::<Vec<_>>();
    Ok(cover([running(only(going), now), only(ended).into_iter().map(close).collect()].concat()))
}

/// Since when everything that was recorded of a policy is on record. Of one that is not on record it was perhaps dropped.
fn floor(db: &Connection, environment: i64, policy: Option<i64>) -> rusqlite::Result<Timestamp> {
    let floor: Option<i64> = match policy {
        Some(number) => db.prepare_cached("SELECT since FROM policies WHERE id = ?1")?.query_row([number], |row| row.get(0)).optional()?,
        None => {
            db.prepare_cached("SELECT gone FROM dropped WHERE environment = ?1")?.query_row([environment], |row| row.get(0)).optional()?
        }
    };
    Ok(floor.filter(|floor| *floor > 0).map_or(Timestamp::MIN, time))
}

/// What of the intervals lies after a time.
fn from(intervals: &[Interval], floor: Timestamp) -> Vec<Interval> {
    let later = intervals.iter().filter(|interval| interval.to > floor);
    later.map(|interval| Interval { from: interval.from.max(floor), ..*interval }).collect()
}

/// The same for one policy. A recorder of some namespaces only sees all of a policy that lives in one of them, and of no other.
fn covering(
    db: &Connection,
    environment: i64,
    policy: &PolicyKey,
    family: Watched,
    window: Interval,
    now: Timestamp,
) -> rusqlite::Result<Vec<Interval>> {
    let floor = floor(db, environment, policy_number(db, environment, policy)?)?;
    let whole = coverage(db, environment, family, window, now)?;
    if policy.id.namespace.is_none() || family.in_part() == family {
        return Ok(from(&whole, floor));
    }
    let all = cover([whole, coverage(db, environment, family.in_part(), window, now)?].concat());
    Ok(from(&all, floor))
}

/// The last moment before `from` at which policies were watched, as the shortest interval there is: what began later cannot have been there.
fn last_watched_before(db: &Connection, environment: i64, from: Timestamp) -> rusqlite::Result<Option<Interval>> {
    let until: Option<i64> = db
        .prepare_cached("SELECT max(until) FROM coverage WHERE environment = ?1 AND family = ?2 AND until < ?3")?
        .query_row(params![environment, Watched::Policies.as_str(), millis(from)], |row| row.get(0))?;
    Ok(until.map(|until| Interval { from: time(until - 1), to: time(until) }))
}

/// When refused admissions are known of: while events were watched, and in the time before of which they told, too.
fn events_known(
    db: &Connection,
    environment: i64,
    policy: &PolicyKey,
    window: Interval,
    now: Timestamp,
) -> rusqlite::Result<Vec<Interval>> {
    let to = window.to.checked_add(EVENTS_KEPT).unwrap_or(Timestamp::MAX);
    let watched = covering(db, environment, policy, Watched::Events, Interval { to, ..window }, now)?;
    Ok(told_afterwards(watched, EVENTS_KEPT))
}

fn exception_changes(db: &Connection, environment: i64, window: Interval) -> rusqlite::Result<Vec<ExceptionChange>> {
    let change = |row: &Row<'_>| {
        let (namespace, name, policies): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(4)?);
        Ok(ExceptionChange {
            at: time(row.get(0)?),
            name: format!("{namespace}/{name}"),
            policies: serde_json::from_str(&policies).unwrap_or_default(),
            present: row.get(3)?,
            expires_at: row.get::<_, Option<i64>>(5)?.map(time),
        })
    };
    db.prepare_cached(
        "SELECT at, namespace, name, present, policies, expires FROM exceptions WHERE environment = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY id",
    )?
    .query_map(params![environment, millis(window.from), millis(window.to)], change)?
    .collect()
}

/// Group, namespace and name of an exception.
type ExceptionId = (String, String, String);

/// The exceptions that exist, as far as is on record.
pub(super) fn exceptions_now(db: &Connection, environment: i64) -> rusqlite::Result<BTreeMap<ExceptionId, ExceptionState>> {
    let state = |row: &Row<'_>| {
        let policies: String = row.get(3)?;
        let state = ExceptionState {
            group: row.get(0)?,
            namespace: row.get(1)?,
            name: row.get(2)?,
            policies: serde_json::from_str(&policies).unwrap_or_default(),
            expires_at: row.get::<_, Option<i64>>(4)?.map(time),
            created_at: None,
        };
        Ok(((state.group.clone(), state.namespace.clone(), state.name.clone()), state))
    };
    db.prepare_cached(
        "SELECT api_group, namespace, name, policies, expires FROM exceptions WHERE present AND id IN
         (SELECT max(id) FROM exceptions WHERE environment = ?1 GROUP BY api_group, namespace, name)",
    )?
    .query_map([environment], state)?
    .collect()
}

/// The operations on a policy, and those on its whole environment.
fn operations(db: &Connection, environment: i64, policy: Option<i64>, window: Interval) -> rusqlite::Result<Vec<Mark>> {
    let mark = |row: &Row<'_>| {
        let operation = Operation { identity: String::new(), policy: None, verb: row.get(1)?, actor: row.get(2)?, text: row.get(3)? };
        Ok(operation_mark(time(row.get(0)?), &operation))
    };
    db.prepare_cached(
        "SELECT at, verb, actor, text FROM operations WHERE environment = ?1 AND at BETWEEN ?3 AND ?4 AND (policy IS NULL OR policy = ?2) ORDER BY at",
    )?
    .query_map(params![environment, policy, millis(window.from), millis(window.to)], mark)?
    .collect()
}

/// What a policy said, newest first, from its changes and the texts that are kept.
fn revisions(db: &Connection, policy: i64) -> rusqlite::Result<Vec<RevisionText>> {
    let text = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, unpack(&row.get::<_, Vec<u8>>(1)?)));
    let mut texts: HashMap<String, Option<String>> = db
        .prepare_cached("SELECT revision, object FROM revisions WHERE policy = ?1")?
        .query_map([policy], text)?
        .collect::<Result<_, _>>()?;
    let mut out: Vec<RevisionText> = Vec::new();
    let mut current: Option<Revision> = None;
    for change in changes(db, policy)? {
        // Out of force for a while, it does what it did.
        let mode = Some(change.state.mode).filter(|mode| !matches!(mode, Mode::NotReady | Mode::Absent | Mode::Unknown));
        if change.state.revision == current {
            let now = out.iter_mut().filter(|known| Some(&known.revision) == current.as_ref());
            now.for_each(|known| known.mode = mode.unwrap_or(known.mode));
            continue;
        }
        if let Some(before) = current.take() {
            out.iter_mut().filter(|known| known.revision == before).for_each(|known| known.until = Some(change.at));
        }
        if let Some(revision) = &change.state.revision {
            if let Some(known) = out.iter_mut().find(|known| known.revision == *revision) {
                // It says again what it said before.
                known.until = None;
                known.mode = mode.unwrap_or(known.mode);
            } else {
                let object = texts.remove(&revision.0).flatten();
                let (revision, mode) = (revision.clone(), mode.unwrap_or(Mode::Unknown));
                out.push(RevisionText { revision, at: change.at, until: None, mode, actor: change.actor.clone(), object });
            }
        }
        current = change.state.revision;
    }
    out.sort_by_key(|known| (known.until.is_some(), std::cmp::Reverse(known.until), std::cmp::Reverse(known.at)));
    Ok(out)
}

/// A text that was made small; `None` where it is damaged.
pub(super) fn unpack(packed: &[u8]) -> Option<String> {
    let mut text = String::new();
    ZlibDecoder::new(packed).take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}
