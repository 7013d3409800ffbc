//! Rolling up and forgetting, so that the file stays small.
//!
//! A time that is rolled up keeps its fewest, its most and its last number. Samples before and after a change of the policy are never
//! brought together: what happened since then must stay tellable.

use super::write::{EVENTS_KNOWN, put_sample};
use super::{History, HistoryError, fills, millis, read, room};
use crate::domain::history::{EVENTS_KEPT, Interval, Retention, Sample};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Transaction, TransactionBehavior, params};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// What was rolled up and forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that became part of others.
    pub rolled_up: u64,
    /// Rows that were older than what is kept.
    pub forgotten: u64,
}

/// Moments before which something is done, in seconds.
#[derive(Clone, Copy)]
struct Limits {
    raw: i64,
    hourly: i64,
}

impl History {
    /// Rolls up what is old and forgets what is older than `retention.keep`; what is still so is kept however old it is.
    pub fn prune(&mut self, retention: Retention, now: Timestamp) -> Result<Pruned, HistoryError> {
        self.prune_all(retention, now).map_err(|error| self.failed("prune", &error))
    }

    /// Gives the room of what was forgotten back to the disk. It needs as much room again while it works.
    pub fn compact(&mut self) -> Result<(), HistoryError> {
        self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").map_err(|error| self.failed("compact", &error))
    }

    fn prune_all(&mut self, retention: Retention, now: Timestamp) -> rusqlite::Result<Pruned> {
        let before = |span: SignedDuration| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        let raw = before(retention.raw);
        let limits = Limits { raw: raw.as_second(), hourly: raw.checked_sub(retention.hourly).unwrap_or(Timestamp::MIN).as_second() };
        let policies: Vec<i64> =
            self.connection.prepare("SELECT id FROM policies")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut pruned = Pruned::default();
        // Many short transactions: others want to write, too.
        for policy in policies {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let epochs: Vec<i64> = read::changes(&transaction, policy)?.iter().map(|change| change.at.as_second()).collect();
            pruned.rolled_up += roll_tallies(&transaction, policy, &epochs, limits)?
                + roll_blocked(&transaction, policy, &parts(&transaction, policy, &epochs)?, limits.raw)?;
            transaction.commit()?;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        pruned.forgotten = forget(&transaction, before(retention.keep), before(EVENTS_KNOWN + EVENTS_KNOWN))?
            + room::drop_gone(&transaction)?
            + room::drop_texts(&transaction)?;
        transaction.commit()?;
        Ok(pruned)
    }
}

/// The edges across which refused admissions are not brought together: changes, and the stretches of which others told, where the greater number counts.
fn parts(db: &Transaction<'_>, policy: i64, epochs: &[i64]) -> rusqlite::Result<Vec<i64>> {
    let told = fills::fills(db, policy, Interval { from: Timestamp::MIN, to: Timestamp::MAX })?;
    // Events have whole seconds.
    let edges = told.iter().flat_map(|fill| [fill.interval.from, fill.interval.to]).map(|edge| (millis(edge) + 999).div_euclid(1_000));
    let mut parts: Vec<i64> = epochs.iter().copied().chain(edges).collect();
    parts.sort_unstable();
    Ok(parts)
}

/// Which of the times between changes a second lies in.
fn epoch(epochs: &[i64], second: i64) -> usize {
    epochs.partition_point(|change| *change <= second)
}

/// Brings samples of one hour, or of one day, together. Returns how many rows that saved.
fn roll_tallies(db: &Transaction<'_>, policy: i64, epochs: &[i64], limits: Limits) -> rusqlite::Result<u64> {
    let samples: Vec<Sample> = db
        .prepare_cached("SELECT at, span, low, high, pass, fail, warn, error, skip FROM tallies WHERE policy = ?1 AND at < ?2 ORDER BY at")?
        .query_map(params![policy, limits.raw], read::sample)?
        .collect::<Result<_, _>>()?;
    let place = |sample: &Sample| {
        let second = sample.at.as_second();
        let width = if second < limits.hourly { DAY } else { HOUR };
        (width, second.div_euclid(width), epoch(epochs, second))
    };
    let mut saved = 0;
    for group in samples.chunk_by(|a, b| place(a) == place(b)).filter(|group| group.len() > 1) {
        let Some(sum) = sum(group) else { continue };
        for sample in group {
            db.prepare_cached("DELETE FROM tallies WHERE policy = ?1 AND at = ?2")?.execute(params![policy, sample.at.as_second()])?;
        }
        put_sample(db, policy, &sum)?;
        saved += group.len() as u64 - 1;
    }
    Ok(saved)
}

/// One sample for several in order.
pub(super) fn sum(group: &[Sample]) -> Option<Sample> {
    let (first, last) = (group.first()?, group.last()?);
    let sum = group.iter().skip(1).fold(*first, |sum, sample| sum.join(*sample));
    Some(Sample { span: last.at.duration_since(first.at) + last.span, ..sum })
}

/// Brings refused admissions of one hour together, at the time of the last.
fn roll_blocked(db: &Transaction<'_>, policy: i64, epochs: &[i64], until: i64) -> rusqlite::Result<u64> {
    let rows: Vec<(i64, i64)> = db
        .prepare_cached("SELECT at, count FROM blocked WHERE policy = ?1 AND at < ?2 ORDER BY at")?
        .query_map(params![policy, until], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let place = |row: &(i64, i64)| (row.0.div_euclid(HOUR), epoch(epochs, row.0));
    let mut saved = 0;
    for group in rows.chunk_by(|a, b| place(a) == place(b)).filter(|group| group.len() > 1) {
        let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else { continue };
        let count = group.iter().fold(0i64, |sum, (_, count)| sum.saturating_add(*count));
        db.prepare_cached("DELETE FROM blocked WHERE policy = ?1 AND at >= ?2 AND at < ?3")?.execute(params![policy, first, last])?;
        db.prepare_cached("UPDATE blocked SET count = ?3 WHERE policy = ?1 AND at = ?2")?.execute(params![policy, last, count])?;
        saved += group.len() as u64 - 1;
    }
    Ok(saved)
}

/// Forgets what ended before `cutoff`; what was watched before it is not watched any more. Returns how many rows that were.
pub(super) fn forget(db: &Transaction<'_>, cutoff: Timestamp, events: Timestamp) -> rusqlite::Result<u64> {
    let (second, milli) = (cutoff.as_second(), millis(cutoff));
    let until = millis(room::newest(db, cutoff)?);
    let mut rows = 0;
    // The last of each before the cutoff still holds after it.
    rows += db.execute(
        "DELETE FROM tallies WHERE at < (SELECT max(at) FROM tallies AS t WHERE t.policy = tallies.policy AND at < ?1)",
        [second],
    )?;
    rows += db.execute(
        "DELETE FROM changes WHERE id < (SELECT max(id) FROM changes AS c WHERE c.policy = changes.policy AND at < ?1)",
        [milli],
    )?;
    // Events tell of the hour before they are watched.
    rows += db.execute("DELETE FROM blocked WHERE at < ?1", [second.saturating_sub(EVENTS_KEPT.as_secs())])?;
    rows += db.execute("DELETE FROM claims WHERE at < ?1", [second.saturating_sub(EVENTS_KEPT.as_secs())])?;
    rows += db.execute("DELETE FROM fills WHERE until < ?1", [milli])?;
    rows += db.execute("DELETE FROM refusals WHERE at < ?1", [events.as_second()])?;
    rows += db.execute("DELETE FROM coverage WHERE until < ?1", [milli])?;
    // A recorder that began earlier and goes on is held to the same by `dropped`.
    let cut = db.execute("UPDATE OR REPLACE coverage SET start = ?1 WHERE start < ?1", [milli])?;
    if rows > 0 || cut > 0 {
        db.execute(
            "INSERT INTO dropped(environment, everything, gone) SELECT id, ?1, 0 FROM environments WHERE true
             ON CONFLICT DO UPDATE SET everything = max(everything, excluded.everything)",
            [until],
        )?;
    }
    rows += db.execute("DELETE FROM operations WHERE at < ?1", [milli])?;
    rows += db.execute(
        "DELETE FROM exceptions WHERE at < ?1 AND (NOT present OR id < (SELECT max(id) FROM exceptions AS e WHERE
         (e.environment, e.api_group, e.namespace, e.name) = (exceptions.environment, exceptions.api_group, exceptions.namespace, exceptions.name)))",
        [milli],
    )?;
    rows += db.execute(
        "DELETE FROM revisions WHERE at < ?1 AND NOT EXISTS
         (SELECT 1 FROM changes WHERE changes.policy = revisions.policy AND changes.revision = revisions.revision)",
        [milli],
    )?;
    // What has gone for so long that nothing else is left of it.
    rows += db.execute(
        "DELETE FROM changes WHERE at < ?1 AND mode = 'absent' AND id = (SELECT max(id) FROM changes AS c WHERE c.policy = changes.policy)",
        [milli],
    )?;
    Ok(rows as u64)
}
