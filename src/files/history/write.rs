//! Taking notes in: each batch is one transaction that compares with what is on record.

use super::read::CHANGE;
use super::{History, HistoryError, fills, millis, read, signed, unsigned};
use crate::domain::history::{
    Change, ChangeSource, Detail, EnvironmentKey, ExceptionState, Interval, News, Note, Operation, PolicyState, Refusal, Sample, Watched,
};
use crate::domain::{Mode, PolicyKey, Tally};
use flate2::{Compression, write::ZlibEncoder};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;

/// What two recorders see within this time may be the same thing, told in another order.
const ECHO: SignedDuration = SignedDuration::from_secs(10);
/// How far clocks may be apart before what an object tells is not believed.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Events are told of again after a restart while the cluster holds them; older ones than this are not taken in.
pub(super) const EVENTS_KNOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What became of a batch of notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Policies whose object should be read: they changed, or what they say is not on record.
    pub wanted: Vec<(Arc<EnvironmentKey>, PolicyKey)>,
}

impl History {
    /// Takes a batch of notes in, all of it or none. `recorder` tells who made them from all others that may run.
    ///
    /// # Errors
    /// Nothing was taken in; the same notes may be given again.
    pub fn take(&mut self, recorder: &str, notes: &[Note]) -> Result<Taken, HistoryError> {
        self.take_in(recorder, notes).map_err(|error| self.failed("write", &error))
    }

    fn take_in(&mut self, recorder: &str, notes: &[Note]) -> rusqlite::Result<Taken> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut writer = Writer { db: &transaction, recorder, environments: HashMap::new(), policies: HashMap::new() };
        let mut taken = Taken::default();
        for note in notes {
            writer.note(note, &mut taken)?;
        }
        transaction.commit()?;
        Ok(taken)
    }
}

/// One transaction, with the numbers of what it has met.
struct Writer<'t> {
    db: &'t Transaction<'t>,
    recorder: &'t str,
    environments: HashMap<Arc<EnvironmentKey>, i64>,
    policies: HashMap<(i64, PolicyKey), i64>,
}

impl Writer<'_> {
    fn note(&mut self, note: &Note, taken: &mut Taken) -> rusqlite::Result<()> {
        let environment = self.environment(&note.environment)?;
        match &note.news {
            News::Policies { states, whole, seen } => {
                let moment = Moment { at: note.at, seen: *seen };
                for (key, state) in states {
                    if self.policy_is(environment, key, state, moment)? {
                        taken.wanted.push((Arc::clone(&note.environment), key.clone()));
                    }
                }
                if *whole { self.others_are_gone(environment, states, moment) } else { Ok(()) }
            }
            News::Tallies(tallies) => tallies.iter().try_for_each(|(key, tally)| self.tally(environment, key, *tally, note.at)),
            News::Refusals(refusals) => refusals.iter().try_for_each(|refusal| self.refusal(environment, refusal, note.at)),
            News::Exceptions(all) => self.exceptions(environment, all, note.at),
            News::Watched(times) => times.iter().try_for_each(|(family, time)| self.watched(environment, *family, *time, false)),
            News::Ended(times) => times.iter().try_for_each(|(family, time)| self.watched(environment, *family, *time, true)),
            News::Detail(detail) => self.detail(environment, detail, note.at),
            News::Operation(operation) => self.operation(environment, operation, note.at),
            News::Filled(filled) => fills::put(self.db, environment, filled),
            News::Asked(asked) => fills::put_asked(self.db, environment, asked),
        }
    }

    fn environment(&mut self, key: &Arc<EnvironmentKey>) -> rusqlite::Result<i64> {
        if let Some(id) = self.environments.get(key) {
            return Ok(*id);
        }
        self.db
            .prepare_cached("INSERT INTO environments(name, cluster_uid) VALUES(?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![key.name, key.cluster_uid])?;
        let id = self
            .db
            .prepare_cached("SELECT id FROM environments WHERE name = ?1 AND cluster_uid = ?2")?
            .query_row(params![key.name, key.cluster_uid], |row| row.get(0))?;
        self.environments.insert(Arc::clone(key), id);
        Ok(id)
    }

    fn policy(&mut self, environment: i64, key: &PolicyKey) -> rusqlite::Result<i64> {
        if let Some(id) = self.policies.get(&(environment, key.clone())) {
            return Ok(*id);
        }
        let namespace = key.id.namespace.as_deref().unwrap_or_default();
        let id = if let Some(id) = read::policy_number(self.db, environment, key)? {
            id
        } else {
            self.db
                .prepare_cached(
                    "INSERT INTO policies(environment, source, api_group, kind, namespace, name, since)
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT gone FROM dropped WHERE environment = ?1), 0))",
                )?
                .insert(params![environment, &*key.source, key.id.group, key.id.kind, namespace, key.id.name])?
        };
        self.policies.insert((environment, key.clone()), id);
        Ok(id)
    }

    /// Records what a policy is, if that is news. Whether its object should be read.
    fn policy_is(&mut self, environment: i64, key: &PolicyKey, state: &PolicyState, moment: Moment) -> rusqlite::Result<bool> {
        let policy = self.policy(environment, key)?;
        let last = self.last_change(policy)?;
        let before = last.as_ref().map_or(&PolicyState::ABSENT, |(change, _)| &change.state);
        if before == state {
            return Ok(state.revision.is_some() && !self.has_text(policy, state)?);
        }
        Ok(self.change(policy, state, last.as_ref(), moment)? && state.revision.is_some())
    }

    fn has_text(&self, policy: i64, state: &PolicyState) -> rusqlite::Result<bool> {
        let revision = state.revision.as_ref().map(|revision| revision.0.as_str());
        self.db.prepare_cached("SELECT 1 FROM revisions WHERE policy = ?1 AND revision = ?2")?.exists(params![policy, revision])
    }

    fn last_change(&self, policy: i64) -> rusqlite::Result<Option<(Change, String)>> {
        self.db
            .prepare_cached(&format!("SELECT {CHANGE}, recorder FROM changes WHERE policy = ?1 ORDER BY id DESC LIMIT 1"))?
            .query_row([policy], |row| Ok((read::change(row)?, row.get(8)?)))
            .optional()
    }

    /// Adds a change after the last one. A clock that was set back cannot put it before that. Whether it was added.
    fn change(
        &self,
        policy: i64,
        state: &PolicyState,
        last: Option<&(Change, String)>,
        Moment { at, seen }: Moment,
    ) -> rusqlite::Result<bool> {
        if let Some((last, recorder)) = last {
            let behind = last.at.duration_since(at);
            // Another recorder was faster, and has seen more since.
            if seen && *recorder != *self.recorder && !behind.is_negative() && behind < ECHO {
                return Ok(false);
            }
        }
        let at = last.map_or(at, |(last, _)| at.max(last.at));
        let source = if seen { ChangeSource::Seen } else { ChangeSource::Found };
        self.db
            .prepare_cached(
                "INSERT INTO changes(policy, at, mode, ready, revision, source, recorder, generation, created)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                policy,
                millis(at),
                state.mode.as_str(),
                state.ready,
                state.revision.as_ref().map(|revision| revision.0.as_str()),
                source.as_str(),
                self.recorder,
                state.made.generation,
                state.made.created.map(millis)
            ])?;
        Ok(true)
    }

    /// Policies that are on record and not in `states` have gone.
    fn others_are_gone(&mut self, environment: i64, states: &[(PolicyKey, PolicyState)], moment: Moment) -> rusqlite::Result<()> {
        let mut there = HashSet::with_capacity(states.len());
        for (key, _) in states {
            there.insert(self.policy(environment, key)?);
        }
        let known: Vec<i64> = self
            .db
            .prepare_cached(
                "SELECT id FROM policies WHERE environment = ?1
                 AND (SELECT mode FROM changes WHERE policy = policies.id ORDER BY changes.id DESC LIMIT 1) <> ?2",
            )?
            .query_map(params![environment, Mode::Absent.as_str()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for policy in known.into_iter().filter(|policy| !there.contains(policy)) {
            let last = self.last_change(policy)?;
            self.change(policy, &PolicyState::ABSENT, last.as_ref(), moment)?;
        }
        Ok(())
    }

    /// Adds a sample after the last one, if it says something else.
    fn tally(&mut self, environment: i64, key: &PolicyKey, tally: Tally, at: Timestamp) -> rusqlite::Result<()> {
        let policy = self.policy(environment, key)?;
        let last = self
            .db
            .prepare_cached(
                "SELECT at, span, low, high, pass, fail, warn, error, skip FROM tallies WHERE policy = ?1 ORDER BY at DESC LIMIT 1",
            )?
            .query_row([policy], read::sample)
            .optional()?;
        let mut sample = Sample::raw(at, tally);
        if let Some(last) = last {
            if last.last == tally {
                return Ok(());
            }
            let floor = last.at.as_second() + last.span.as_secs();
            if at.as_second() <= floor {
                // Within the same second, or after the clock was set back.
                sample = Sample { at: last.at, span: last.span, ..last.join(sample) };
            }
        }
        put_sample(self.db, policy, &sample)
    }

    /// Counts what an event tells beyond what it told before.
    fn refusal(&mut self, environment: i64, refusal: &Refusal, now: Timestamp) -> rusqlite::Result<()> {
        if now.duration_since(refusal.at) > EVENTS_KNOWN {
            return Ok(());
        }
        let known: Option<i64> = self
            .db
            .prepare_cached("SELECT count FROM refusals WHERE environment = ?1 AND identity = ?2")?
            .query_row(params![environment, refusal.identity], |row| row.get(0))
            .optional()?;
        let more = refusal.count.saturating_sub(unsigned(known.unwrap_or_default()));
        if more == 0 && (known.is_none() || refusal.claim.is_none()) {
            return Ok(());
        }
        let policy = self.policy(environment, &refusal.policy)?;
        if more == 0 {
            return self.claim_says(policy, refusal);
        }
        self.db
            .prepare_cached(
                "INSERT INTO refusals(environment, identity, at, count) VALUES(?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET at = excluded.at, count = excluded.count",
            )?
            .execute(params![environment, refusal.identity, refusal.at.as_second(), signed(refusal.count)])?;
        if let Some(source) = &refusal.claim {
            self.db
                .prepare_cached(
                    "INSERT INTO claims(policy, identity, at, count, event, component, writer, content) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     ON CONFLICT DO UPDATE SET count = count + excluded.count",
                )?
                .execute(params![
                    policy,
                    refusal.identity,
                    refusal.at.as_second(),
                    signed(more),
                    source.object.to_string(),
                    source.component,
                    source.by,
                    source.content
                ])?;
            return self.claim_says(policy, refusal);
        }
        self.db
            .prepare_cached(
                "INSERT INTO blocked(policy, at, count) VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![policy, refusal.at.as_second(), signed(more)])?;
        Ok(())
    }

    /// Notes what an event says now, and who wrote it, with all that it claimed before.
    fn claim_says(&self, policy: i64, refusal: &Refusal) -> rusqlite::Result<()> {
        let Some(source) = &refusal.claim else { return Ok(()) };
        self.db
            .prepare_cached(
                "UPDATE claims SET component = ?3, writer = ?4, content = ?5
                 WHERE policy = ?1 AND identity = ?2 AND (component, writer, content) IS NOT (?3, ?4, ?5)",
            )?
            .execute(params![policy, refusal.identity, source.component, source.by, source.content])?;
        Ok(())
    }

    /// Records the exceptions that are new, say something else, or have gone.
    fn exceptions(&self, environment: i64, all: &[ExceptionState], at: Timestamp) -> rusqlite::Result<()> {
        let mut known = read::exceptions_now(self.db, environment)?;
        for exception in all {
            let identity = (exception.group.clone(), exception.namespace.clone(), exception.name.clone());
            let before = known.remove(&identity);
            if before.as_ref().is_some_and(|before| before.policies == exception.policies && before.expires_at == exception.expires_at) {
                continue;
            }
            // The server knows best when something was made; when it was changed only the clock here tells.
            let at = if before.is_some() { at } else { exception.created_at.map_or(at, |created| created.min(at)) };
            self.exception(environment, exception, at, true)?;
        }
        for gone in known.into_values() {
            self.exception(environment, &gone, at, false)?;
        }
        Ok(())
    }

    fn exception(&self, environment: i64, exception: &ExceptionState, at: Timestamp, present: bool) -> rusqlite::Result<()> {
        let policies = serde_json::Value::from(exception.policies.clone()).to_string();
        self.db
            .prepare_cached(
                "INSERT INTO exceptions(environment, api_group, namespace, name, at, present, policies, expires)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                environment,
                exception.group,
                exception.namespace,
                exception.name,
                millis(at),
                present,
                policies,
                exception.expires_at.map(millis)
            ])?;
        Ok(())
    }

    fn watched(&self, environment: i64, family: Watched, interval: Interval, ended: bool) -> rusqlite::Result<()> {
        // What was recorded in the part before this was dropped.
        let dropped: Option<i64> = self
            .db
            .prepare_cached("SELECT everything FROM dropped WHERE environment = ?1")?
            .query_row([environment], |row| row.get(0))
            .optional()?;
        let from = millis(interval.from).max(dropped.unwrap_or(i64::MIN));
        if from > millis(interval.to) {
            return Ok(());
        }
        self.db
            .prepare_cached(
                "INSERT INTO coverage(environment, family, start, recorder, until, ended) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET until = max(until, excluded.until), ended = max(ended, excluded.ended)",
            )?
            .execute(params![environment, family.as_str(), from, self.recorder, millis(interval.to), ended])?;
        Ok(())
    }

    /// Keeps what a policy says, and what its object tells about the last change.
    fn detail(&mut self, environment: i64, detail: &Detail, at: Timestamp) -> rusqlite::Result<()> {
        let policy = self.policy(environment, &detail.policy)?;
        self.db
            .prepare_cached("INSERT INTO revisions(policy, revision, at, object) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?
            .execute(params![policy, detail.revision.0, millis(at), pack(&detail.object)])?;
        let (newest, before) = self.two_last(policy)?;
        let Some((id, newest)) = newest.filter(|(_, change)| change.state.revision.as_ref() == Some(&detail.revision)) else {
            return Ok(());
        };
        if newest.actor.is_none() && detail.actor.is_some() {
            self.db.prepare_cached("UPDATE changes SET actor = ?2 WHERE id = ?1")?.execute(params![id, detail.actor])?;
        }
        if before.as_ref().is_some_and(|before| differ_in_force_only(&before.state, &newest.state)) {
            return Ok(());
        }
        let entered = detail.entered.as_ref().filter(|entered| newest.source == ChangeSource::Found && entered.by.is_of(newest.state.mode));
        let Some(entered) = entered else { return Ok(()) };
        // Who began to watch a moment earlier saw the same, and was only slower to write it down.
        let earlier = newest.at.checked_sub(ECHO).unwrap_or(Timestamp::MIN);
        let watched: Option<i64> = self
            .db
            .prepare_cached("SELECT max(until) FROM coverage WHERE environment = ?1 AND family = ?2 AND until <= ?3 AND start < ?4")?
            .query_row(params![environment, Watched::Policies.as_str(), millis(newest.at), millis(earlier)], |row| row.get(0))?;
        // It cannot have happened while somebody watched and saw something else.
        let floor = watched.map(super::time).into_iter().chain(before.map(|change| change.at)).max().unwrap_or(Timestamp::MIN);
        if entered.at > newest.at || floor.duration_since(entered.at) > SKEW {
            return Ok(());
        }
        self.db.prepare_cached("UPDATE changes SET at = ?2, source = ?3 WHERE id = ?1")?.execute(params![
            id,
            millis(entered.at.max(floor)),
            ChangeSource::of(&entered.by).as_str()
        ])?;
        Ok(())
    }

    /// The newest change with its number, and the one before it.
    fn two_last(&self, policy: i64) -> rusqlite::Result<TwoLast> {
        let mut statement =
            self.db.prepare_cached(&format!("SELECT {CHANGE}, id FROM changes WHERE policy = ?1 ORDER BY id DESC LIMIT 2"))?;
        let mut rows = statement.query_map([policy], |row| Ok((row.get(8)?, read::change(row)?)))?;
        let newest = rows.next().transpose()?;
        let before = rows.next().transpose()?.map(|(_, change)| change);
        Ok((newest, before))
    }

    fn operation(&mut self, environment: i64, operation: &Operation, at: Timestamp) -> rusqlite::Result<()> {
        let policy = operation.policy.as_ref().map(|key| self.policy(environment, key)).transpose()?;
        self.db
            .prepare_cached(
                "INSERT INTO operations(identity, environment, policy, at, verb, actor, text) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![operation.identity, environment, policy, millis(at), operation.verb, operation.actor, operation.text])?;
        Ok(())
    }
}

/// The newest change with its number, and the one before it.
type TwoLast = (Option<(i64, Change)>, Option<Change>);

/// When something was noticed, and whether what went before was watched.
#[derive(Clone, Copy)]
struct Moment {
    at: Timestamp,
    seen: bool,
}

/// Writes a sample; one of the same time is replaced.
pub(super) fn put_sample(db: &Transaction<'_>, policy: i64, sample: &Sample) -> rusqlite::Result<()> {
    let Tally { pass, fail, warn, error, skip } = sample.last;
    let [low, high, pass, fail, warn, error, skip] = [sample.low, sample.high, pass, fail, warn, error, skip].map(signed);
    db.prepare_cached(
        "INSERT OR REPLACE INTO tallies(policy, at, span, low, high, pass, fail, warn, error, skip) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![policy, sample.at.as_second(), sample.span.as_secs(), low, high, pass, fail, warn, error, skip])?;
    Ok(())
}

/// A text, made small.
fn pack(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// Whether only what requests meet is another, by the same spec of the same object: when that changed the object cannot show.
fn differ_in_force_only(before: &PolicyState, now: &PolicyState) -> bool {
    let same_mode = before.mode == now.mode || [before.mode, now.mode].contains(&Mode::NotReady);
    same_mode && before.revision == now.revision && before.made.is_surely(&now.made)
}
