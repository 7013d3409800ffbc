//! The tables, and their version.

use super::{History, HistoryError, HistoryFault, explain};
use rusqlite::TransactionBehavior;

/// The version of the tables. Raise it with a step in [`STEPS`].
const VERSION: i64 = 6;
/// Marks the file as ours: `pdhs`.
const APPLICATION: i64 = 0x7064_6873;

/// What leads from each version to the next, the first from nothing.
const STEPS: [&str; 6] = [TABLES, ENDS, FILLS, MADE, DROPPED, CLAIMS];

// Times are milliseconds since 1970, of tallies and refusals (of which there are many) whole seconds; their `span` are the seconds that a
// row sums up, 0 for one that came as it is.
const TABLES: &str = "
CREATE TABLE environments(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, cluster_uid TEXT NOT NULL, UNIQUE(name, cluster_uid));
CREATE TABLE policies(
    id INTEGER PRIMARY KEY, environment INTEGER NOT NULL REFERENCES environments, source TEXT NOT NULL, api_group TEXT NOT NULL,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, UNIQUE(environment, source, api_group, kind, namespace, name));
CREATE INDEX policies_by_name ON policies(name);
CREATE TABLE changes(
    id INTEGER PRIMARY KEY AUTOINCREMENT, policy INTEGER NOT NULL REFERENCES policies, at INTEGER NOT NULL, mode TEXT NOT NULL, ready INTEGER,
    revision TEXT, actor TEXT, source TEXT NOT NULL, recorder TEXT NOT NULL);
CREATE INDEX changes_of_policy ON changes(policy, id);
CREATE TABLE revisions(
    policy INTEGER NOT NULL REFERENCES policies, revision TEXT NOT NULL, at INTEGER NOT NULL, object BLOB NOT NULL,
    PRIMARY KEY(policy, revision));
CREATE TABLE tallies(
    policy INTEGER NOT NULL REFERENCES policies, at INTEGER NOT NULL, span INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
    pass INTEGER NOT NULL, fail INTEGER NOT NULL, warn INTEGER NOT NULL, error INTEGER NOT NULL, skip INTEGER NOT NULL,
    PRIMARY KEY(policy, at)) WITHOUT ROWID;
CREATE TABLE refusals(
    environment INTEGER NOT NULL REFERENCES environments, identity TEXT NOT NULL, at INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY(environment, identity)) WITHOUT ROWID;
CREATE TABLE blocked(
    policy INTEGER NOT NULL REFERENCES policies, at INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(policy, at)) WITHOUT ROWID;
CREATE TABLE exceptions(
    id INTEGER PRIMARY KEY AUTOINCREMENT, environment INTEGER NOT NULL REFERENCES environments, api_group TEXT NOT NULL,
    namespace TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, present INTEGER NOT NULL, policies TEXT NOT NULL, expires INTEGER);
CREATE INDEX exceptions_of_environment ON exceptions(environment, id);
CREATE TABLE operations(
    identity TEXT PRIMARY KEY, environment INTEGER NOT NULL REFERENCES environments, policy INTEGER REFERENCES policies,
    at INTEGER NOT NULL, verb TEXT NOT NULL, actor TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX operations_of_environment ON operations(environment, at);
CREATE TABLE coverage(
    environment INTEGER NOT NULL REFERENCES environments, family TEXT NOT NULL, start INTEGER NOT NULL, recorder TEXT NOT NULL,
    until INTEGER NOT NULL, PRIMARY KEY(environment, family, start, recorder)) WITHOUT ROWID;
";

// Whether a recorder said that it no longer watches. Without that it may just be between two signs of life.
const ENDS: &str = "ALTER TABLE coverage ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;";

// What others told about times in which nobody watched, and how it went to ask them. Times are milliseconds; `source` says who (`prometheus`).
const FILLS: &str = "
CREATE TABLE fills(
    policy INTEGER NOT NULL REFERENCES policies, source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, count INTEGER NOT NULL,
    whole INTEGER NOT NULL, PRIMARY KEY(policy, source, start)) WITHOUT ROWID;
CREATE TABLE asked(
    environment INTEGER NOT NULL REFERENCES environments, source TEXT NOT NULL, at INTEGER NOT NULL, answered INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY(environment, source)) WITHOUT ROWID;
";

// Which object and which of its specs a change is of. Records without it do not show that nothing happened while nobody watched.
const MADE: &str = "ALTER TABLE changes ADD COLUMN generation INTEGER; ALTER TABLE changes ADD COLUMN created INTEGER;";

// Until when records were dropped: those of everything, and those of policies that are no longer on record. `since` is that of a policy when its
// first record was made. Before these times nothing is known, whether or not it was watched. Times are milliseconds.
const DROPPED: &str = "
CREATE TABLE dropped(environment INTEGER PRIMARY KEY REFERENCES environments, everything INTEGER NOT NULL, gone INTEGER NOT NULL);
ALTER TABLE policies ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
";

// Refused admissions of events whose writer is not known to be Kyverno: they are in no other table. `identity` is the event's UID; `content` is the digest of
// what it said last. Times are whole seconds.
const CLAIMS: &str = "
CREATE TABLE claims(
    policy INTEGER NOT NULL REFERENCES policies, identity TEXT NOT NULL, at INTEGER NOT NULL, count INTEGER NOT NULL, event TEXT NOT NULL,
    component TEXT NOT NULL, writer TEXT, content TEXT NOT NULL, PRIMARY KEY(policy, identity, at)) WITHOUT ROWID;
";

/// What the first version made of an empty file.
#[cfg(test)]
pub(super) fn version_1() -> String {
    format!("{TABLES} PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION}")
}

impl History {
    /// Brings the tables to this version; refuses those of a newer one, and files of others.
    pub(super) fn prepare(&mut self) -> Result<(), HistoryError> {
        let path = self.path.clone();
        let failed = |error: rusqlite::Error| explain("open", &path, &error);
        let (version, application, tables) = self.version().map_err(failed)?;
        if application != APPLICATION && tables > 0 {
            let what = format!("{} is a database of another program. Name another data folder, or move it away", path.display());
            return Err(HistoryError { what, fault: HistoryFault::Damaged });
        }
        if version > VERSION {
            let what = format!(
                "{} was written by a newer policydeck (its version is {version}, this one knows {VERSION}). Use the newer one, or move the file away and a new one is begun",
                path.display()
            );
            return Err(HistoryError { what, fault: HistoryFault::Newer });
        }
        // A kill -9 loses nothing that was committed, a power cut at most the last moments; neither damages the file.
        self.connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864",
            )
            .map_err(failed)?;
        if version < VERSION { self.upgrade().map_err(failed) } else { Ok(()) }
    }

    fn version(&self) -> Result<(i64, i64, i64), rusqlite::Error> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get(0));
        Ok((number("PRAGMA user_version")?, number("PRAGMA application_id")?, number("SELECT count(*) FROM sqlite_schema")?))
    }

    fn upgrade(&mut self) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Somebody else may have been faster.
        let from: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for step in STEPS.iter().skip(usize::try_from(from).unwrap_or_default()) {
            transaction.execute_batch(step)?;
        }
        transaction.execute_batch(&format!("PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION}"))?;
        transaction.commit()
    }
}
