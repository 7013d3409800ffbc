//! Keeping the file within a size. Users of a cluster decide how much there is to record, so what is kept has a limit: the oldest records go
//! first, and the time that they were about becomes a gap.

use super::write::EVENTS_KNOWN;
use super::{History, HistoryError, keep, millis};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

/// Policies that no longer exist and keep their records, in each environment: those that something was recorded of last.
pub(super) const GONE: i64 = 2_000;
/// What a policy said is kept this often, besides what it says now.
pub(super) const TEXTS: i64 = 100;
/// How often what is left of the recorded time is cut by a quarter, before all of it goes.
const CUTS: u32 = 16;
/// Identities of events that a cluster may still hold: without them it would count the same ones again.
const EVENTS_HELD: SignedDuration = SignedDuration::from_hours(2);

impl History {
    /// Bytes that the records take. Room that was freed counts no more: the file uses it again.
    pub fn size(&self) -> Result<u64, HistoryError> {
        self.pages().map_err(|error| self.failed("read", &error))
    }

    fn pages(&self) -> rusqlite::Result<u64> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(super::unsigned);
        let used = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(used.saturating_mul(number("PRAGMA page_size")?))
    }

    /// Drops records, the oldest first, where they take nearly `most` bytes. What policies are now is never dropped. Returns whether there is room
    /// afterwards.
    pub fn keep_within(&mut self, most: u64, now: Timestamp) -> Result<bool, HistoryError> {
        self.fit(most, now).map_err(|error| self.failed("prune", &error))
    }

    fn fit(&mut self, most: u64, now: Timestamp) -> rusqlite::Result<bool> {
        if self.pages()? <= most / 10 * 9 {
            return Ok(true);
        }
        let now = newest(&self.connection, now)?;
        // So much that it is not full again with the next batch.
        let enough = most / 4 * 3;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        drop_gone(&transaction)?;
        drop_texts(&transaction)?;
        transaction.commit()?;
        let mut left = now.duration_since(self.oldest()?.unwrap_or(now));
        for cut in 0..=CUTS {
            if self.pages()? <= enough {
                break;
            }
            left = if cut == CUTS { SignedDuration::ZERO } else { left / 4 * 3 };
            let cutoff = now.checked_sub(left).unwrap_or(Timestamp::MIN);
            let before = |span: SignedDuration| now.checked_sub(span).unwrap_or(Timestamp::MIN);
            let events = cutoff.min(before(EVENTS_HELD)).max(before(EVENTS_KNOWN + EVENTS_KNOWN));
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            keep::forget(&transaction, cutoff, events)?;
            transaction.commit()?;
            tracing::info!(%cutoff, "the history is near its size: older records are dropped");
        }
        Ok(self.pages()? <= most / 10 * 9)
    }

    /// The time of the oldest record.
    fn oldest(&self) -> rusqlite::Result<Option<Timestamp>> {
        let sql = "SELECT min(at) FROM (SELECT min(start) AS at FROM coverage UNION ALL SELECT min(at) FROM changes
                   UNION ALL SELECT min(at) * 1000 FROM tallies UNION ALL SELECT min(at) * 1000 FROM blocked
                   UNION ALL SELECT min(at) * 1000 FROM claims)";
        let oldest: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(oldest.map(super::time))
    }
}

/// The newest time that records are about. A clock that is ahead must not drop what is recorded next.
pub(super) fn newest(db: &Connection, now: Timestamp) -> rusqlite::Result<Timestamp> {
    let until: Option<i64> = db.query_row("SELECT max(until) FROM coverage", [], |row| row.get(0))?;
    Ok(until.map_or(now, |until| super::time(until).min(now)))
}

/// Drops everything of policies that no longer exist, but for so many in each environment. Returns how many rows that were.
///
/// Of a policy that is not on record it is unknown from then on whether it was: see `floor` in `read`.
pub(super) fn drop_gone(db: &Transaction<'_>) -> rusqlite::Result<u64> {
    let now = newest(db, Timestamp::MAX)?;
    // Operations are our own, and few.
    let sql = "SELECT id, environment FROM (
                   SELECT id, environment, row_number() OVER (PARTITION BY environment ORDER BY newest DESC, id DESC) AS place FROM (
                       SELECT id, environment, max(
                           coalesce((SELECT max(at) FROM changes WHERE policy = policies.id), 0),
                           coalesce((SELECT max(at) FROM tallies WHERE policy = policies.id), 0) * 1000,
                           coalesce((SELECT max(at) FROM blocked WHERE policy = policies.id), 0) * 1000,
                           coalesce((SELECT max(at) FROM claims WHERE policy = policies.id), 0) * 1000) AS newest
                       FROM policies WHERE NOT EXISTS (SELECT 1 FROM operations WHERE policy = policies.id)
                       AND coalesce((SELECT mode FROM changes WHERE policy = policies.id ORDER BY changes.id DESC LIMIT 1), 'absent') = 'absent'))
               WHERE place > ?1";
    let gone: Vec<(i64, i64)> =
        db.prepare_cached(sql)?.query_map([GONE], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut rows = 0;
    for (policy, environment) in gone {
        for table in ["changes", "revisions", "tallies", "blocked", "claims", "fills"] {
            rows += db.prepare_cached(&format!("DELETE FROM {table} WHERE policy = ?1"))?.execute([policy])?;
        }
        rows += db.prepare_cached("DELETE FROM policies WHERE id = ?1")?.execute([policy])?;
        db.prepare_cached(
            "INSERT INTO dropped(environment, everything, gone) VALUES(?1, 0, ?2) ON CONFLICT DO UPDATE SET gone = max(gone, excluded.gone)",
        )?
        .execute(params![environment, millis(now)])?;
    }
    Ok(rows as u64)
}

/// Drops what policies once said, but for the newest of each.
pub(super) fn drop_texts(db: &Transaction<'_>) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM revisions WHERE rowid IN (
                   SELECT number FROM (
                       SELECT rowid AS number, policy, revision, row_number() OVER (PARTITION BY policy ORDER BY at DESC, rowid DESC) AS place
                       FROM revisions) AS text
                   WHERE place > ?1
                   AND revision IS NOT (SELECT revision FROM changes WHERE policy = text.policy ORDER BY changes.id DESC LIMIT 1))";
    Ok(db.prepare_cached(sql)?.execute([TEXTS])? as u64)
}
