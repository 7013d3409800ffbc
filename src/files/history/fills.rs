//! What Prometheus told about gaps: the rows of `fills` and `asked`.

use super::read::policy_number;
use super::{History, HistoryError, millis, read, signed, time, unsigned};
use crate::domain::history::{Asked, EnvironmentKey, Fill, Filled, Interval};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

/// Who told, as the rows name it.
const PROMETHEUS: &str = "prometheus";

impl History {
    /// How it went to ask Prometheus about an environment last; `None` where that was never done.
    pub fn asked(&self, environment: &EnvironmentKey) -> Result<Option<Asked>, HistoryError> {
        self.answer(|db| {
            let Some(environment) = read::environment_number(db, environment)? else { return Ok(None) };
            let asked = |row: &Row<'_>| Ok(Asked { at: time(row.get(0)?), answered: row.get(1)?, why: row.get(2)? });
            db.prepare_cached("SELECT at, answered, why FROM asked WHERE environment = ?1 AND source = ?2")?
                .query_row(params![environment, PROMETHEUS], asked)
                .optional()
        })
    }
}

/// Takes an answer in, in place of what an earlier one told of the same gap. What was told of a policy that is not on record is of no use.
pub(super) fn put(db: &Transaction<'_>, environment: i64, filled: &Filled) -> rusqlite::Result<()> {
    let Some(policy) = policy_number(db, environment, &filled.policy)? else { return Ok(()) };
    db.prepare_cached("DELETE FROM fills WHERE policy = ?1 AND source = ?2 AND start >= ?3 AND until <= ?4")?.execute(params![
        policy,
        PROMETHEUS,
        millis(filled.gap.from),
        millis(filled.gap.to)
    ])?;
    let mut insert =
        db.prepare_cached("INSERT OR REPLACE INTO fills(policy, source, start, until, count, whole) VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?;
    for fill in &filled.fills {
        let Interval { from, to } = fill.interval;
        insert.execute(params![policy, PROMETHEUS, millis(from), millis(to), signed(fill.count), fill.whole])?;
    }
    Ok(())
}

pub(super) fn put_asked(db: &Transaction<'_>, environment: i64, asked: &Asked) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO asked(environment, source, at, answered, why) VALUES(?1, ?2, ?3, ?4, ?5)")?
        .execute(params![environment, PROMETHEUS, millis(asked.at), asked.answered, asked.why])?;
    Ok(())
}

/// A fill of the columns start, until, count, whole that begin with `first`.
pub(super) fn fill(row: &Row<'_>, first: usize) -> rusqlite::Result<Fill> {
    let interval = Interval { from: time(row.get(first)?), to: time(row.get(first + 1)?) };
    Ok(Fill { interval, count: unsigned(row.get(first + 2)?), whole: row.get(first + 3)? })
}

/// What reaches into the window, in order.
pub(super) fn fills(db: &Connection, policy: i64, window: Interval) -> rusqlite::Result<Vec<Fill>> {
    db.prepare_cached("SELECT start, until, count, whole FROM fills WHERE policy = ?1 AND until > ?2 AND start < ?3 ORDER BY start")?
        .query_map(params![policy, millis(window.from), millis(window.to)], |row| fill(row, 0))?
        .collect()
}
