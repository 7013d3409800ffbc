//! Everything that is on record, row by row, in words that outlive the tables.

use super::{History, HistoryError, fills, read, time};
use crate::domain::PolicyKey;
use crate::domain::history::EnvironmentKey;
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What takes one record; whether it wants more.
type Each<'e> = &'e mut dyn FnMut(&Value) -> bool;

impl History {
    /// Gives out every record, kind by kind, in order, until `each` wants no more. One moment for all of it.
    pub fn export(&self, each: Each<'_>) -> Result<(), HistoryError> {
        self.export_all(each).map_err(|error| self.failed("read", &error))
    }

    fn export_all(&self, each: Each<'_>) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        export(&transaction, each)?;
        transaction.commit()
    }
}

/// What the numbers of environments and policies stand for.
struct Names {
    environments: HashMap<i64, EnvironmentKey>,
    policies: HashMap<i64, (i64, PolicyKey)>,
}

impl Names {
    fn read(db: &Connection) -> rusqlite::Result<Self> {
        let environments = read::environments(db)?.into_iter().collect();
        let policy = |row: &Row<'_>| Ok((row.get(0)?, (row.get(1)?, read::policy_key(row, 2)?)));
        let policies = db
            .prepare("SELECT id, environment, source, api_group, kind, namespace, name FROM policies")?
            .query_map([], policy)?
            .collect::<Result<_, _>>()?;
        Ok(Self { environments, policies })
    }

    fn environment(&self, record: &mut Value, id: i64) {
        if let Some(key) = self.environments.get(&id) {
            record["environment"] = json!(key.name);
            record["clusterUid"] = json!(key.cluster_uid);
        }
    }

    fn policy(&self, record: &mut Value, id: i64) {
        if let Some((environment, key)) = self.policies.get(&id) {
            self.environment(record, *environment);
            record["policy"] = json!(*key.id);
            record["source"] = json!(&*key.source);
        }
    }
}

/// What a row is about.
enum About {
    Environment,
    Policy,
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// A row as a record, but for what it is about.
type Reader = fn(&Row<'_>) -> rusqlite::Result<Value>;

/// The first column of every row is the number of what it is about.
const RECORDS: [(&str, About, Reader); 10] = [
    ("SELECT environment, family, start, until, recorder FROM coverage ORDER BY environment, start", About::Environment, |row| {
        let (family, recorder): (String, String) = (row.get(1)?, row.get(4)?);
        Ok(json!({"record": "coverage", "family": family, "from": time(row.get(2)?), "to": time(row.get(3)?), "recorder": recorder}))
    }),
    ("SELECT policy, at, mode, ready, revision, actor, source, generation, created FROM changes ORDER BY id", About::Policy, |row| {
        let (mode, ready, revision): (String, Option<bool>, Option<String>) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let (actor, known): (Option<String>, String) = (row.get(5)?, row.get(6)?);
        let (generation, created): (Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?);
        Ok(json!({
            "record": "change", "at": time(row.get(1)?), "mode": mode, "ready": ready, "revision": revision, "actor": actor, "knownFrom": known,
            "generation": generation, "created": created.map(time),
        }))
    }),
    ("SELECT policy, revision, at, object FROM revisions ORDER BY policy, at", About::Policy, |row| {
        let object: Option<Value> = read::unpack(&row.get::<_, Vec<u8>>(3)?).and_then(|text| serde_json::from_str(&text).ok());
        let revision: String = row.get(1)?;
        Ok(json!({"record": "revision", "at": time(row.get(2)?), "revision": revision, "object": object}))
    }),
    ("SELECT policy, at, span, low, high, pass, fail, warn, error, skip FROM tallies ORDER BY policy, at", About::Policy, |row| {
        let count = |column: usize| row.get::<_, i64>(column);
        Ok(json!({"record": "tally", "at": second(count(1)?), "spanSeconds": count(2)?, "leastFaults": count(3)?, "mostFaults": count(4)?,
            "tally": {"pass": count(5)?, "fail": count(6)?, "warn": count(7)?, "error": count(8)?, "skip": count(9)?}}))
    }),
    ("SELECT policy, at, count FROM blocked ORDER BY policy, at", About::Policy, |row| {
        let count: i64 = row.get(2)?;
        Ok(json!({"record": "blocked", "at": second(row.get(1)?), "count": count}))
    }),
    ("SELECT policy, at, count, event, component, writer, content FROM claims ORDER BY policy, at, identity", About::Policy, |row| {
        let (count, event, component): (i64, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let (writer, content): (Option<String>, String) = (row.get(5)?, row.get(6)?);
        Ok(
            json!({"record": "claimed", "at": second(row.get(1)?), "count": count, "event": event, "component": component, "fieldManagers": writer,
            "content": content}),
        )
    }),
    ("SELECT policy, source, start, until, count, whole FROM fills ORDER BY policy, start", About::Policy, |row| {
        let (told_by, fill): (String, _) = (row.get(1)?, fills::fill(row, 2)?);
        Ok(
            json!({"record": "filled", "toldBy": told_by, "from": fill.interval.from, "to": fill.interval.to, "count": fill.count, "whole": fill.whole}),
        )
    }),
    (
        "SELECT environment, api_group, namespace, name, at, present, policies, expires FROM exceptions ORDER BY id",
        About::Environment,
        |row| {
            let (group, namespace, name): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let (present, policies, expires): (bool, String, Option<i64>) = (row.get(5)?, row.get(6)?, row.get(7)?);
            let policies: Value = serde_json::from_str(&policies).unwrap_or_default();
            Ok(
                json!({"record": "exception", "group": group, "namespace": namespace, "name": name, "at": time(row.get(4)?), "present": present,
            "policies": policies, "expires": expires.map(time)}),
            )
        },
    ),
    ("SELECT environment, everything, gone FROM dropped ORDER BY environment", About::Environment, |row| {
        let at = |column: usize| Ok(Some(row.get::<_, i64>(column)?).filter(|at| *at > 0).map(time));
        let (all, gone): (rusqlite::Result<_>, rusqlite::Result<_>) = (at(1), at(2));
        Ok(json!({"record": "dropped", "until": all?, "policiesNotOnRecordUntil": gone?}))
    }),
    ("SELECT environment, at, verb, actor, text, policy FROM operations ORDER BY at", About::Environment, |row| {
        let (verb, actor, text): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(json!({"record": "operation", "at": time(row.get(1)?), "verb": verb, "actor": actor, "text": text}))
    }),
];

fn export(db: &Connection, each: Each<'_>) -> rusqlite::Result<()> {
    let names = Names::read(db)?;
    for (sql, about, read) in RECORDS {
        let mut statement = db.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut record = read(row)?;
            match about {
                About::Environment => names.environment(&mut record, row.get(0)?),
                About::Policy => names.policy(&mut record, row.get(0)?),
            }
            if !each(&record) {
                return Ok(());
            }
        }
    }
    Ok(())
}
