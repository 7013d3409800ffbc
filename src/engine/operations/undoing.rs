//! Undo: which plan is meant, what of it was done, and whether anybody has changed it since.
//!
//! What lives here: reading journal and archive for it. What does not: the plan that takes it back (`ops::undo`).

use super::execute::{blocking, policy_of, stop_for};
use super::fate::carries;
use super::{Declined, Operator, Request, StepOutcome, kind_of, refused};
use crate::domain::Mode;
use crate::domain::journal::{Entry, Phase, Record, StepResult, Verb as Did};
use crate::files::archive::{Archive, read_archive};
use crate::files::journal::Journal;
use crate::kinds::mode::Kyverno;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::kinds::transfer::bare;
use crate::kinds::{Kind, KindId};
use crate::ops::plan::{Direction, Operation, Plan, Step, Verb, from_file};
use crate::ops::strength::refuses_more;
use crate::ops::undo;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which plan is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone<'a> {
    /// The one whose id begins so.
    Plan(&'a str),
    /// The newest that was carried out in the environment, has not been taken back, and does not take another one back itself.
    Last,
}

impl Operator {
    /// The plan that takes back one that was carried out: what it changed has to be as it left it. Where that makes a policy refuse more than it
    /// does now, its gate has to be open.
    ///
    /// # Errors
    /// There is no such plan, its archive is gone or damaged, somebody changed everything it wrote, or the gate is not open.
    pub async fn undo(&self, which: Undone<'_>, environment: &str, request: &Request) -> Result<(Plan, Vec<StepOutcome>), Declined> {
        let journal = self.keeping.journal.clone();
        let place = environment.to_owned();
        let carried = blocking(move || carried_out(&Journal::open(&journal), &place)).await?;
        let found = match which {
            Undone::Plan(prefix) => named(&carried, prefix, environment).map_err(Declined::Usage)?,
            Undone::Last => last(&carried, environment).await?,
        };
        let mut done = found.plan().await?;
        let doubt = self.check_archive(&done.folder, &done.archive).await?;
        done.plan.steps.retain(|step| step.environment == environment && found.concerns(step));
        let (mut plan, left_out) = self.taken_back(&done.plan, environment, request).await?;
        plan.warnings.extend(doubt);
        Ok((plan, left_out))
    }

    async fn taken_back(&self, done: &Plan, environment: &str, request: &Request) -> Result<(Plan, Vec<StepOutcome>), Declined> {
        let kind = done.steps.iter().find_map(|step| KindId::find(&step.object.group, &step.object.kind)).map(KindId::kind);
        let seen = match kind {
            Some(kind) => self.see_for(environment, kind).await?,
            None => self.see(environment).await?,
        };
        let (mut now, mut free, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (place, step) in done.steps.iter().enumerate() {
            let live = self.read(environment, &step.object).await?;
            let basis = done.basis.iter().find(|basis| basis.environment == environment && basis.object == step.object);
            if basis.is_some_and(|basis| basis.cluster_uid != seen.place().cluster_uid) {
                let why = format!("Plan {} was carried out in another cluster that was called {environment}, too.", done.id);
                return Err(refused("absent", why));
            }
            // Of what went through git, the repository says whether it was changed since.
            if let Some(how) = changed_since(step, live.as_ref()).filter(|_| !matches!(step.verb, Verb::Commit { .. })) {
                let what = format!("{} in {environment}", step.object);
                let remedy = match KindId::find(&step.object.group, &step.object.kind) {
                    Some(_) => {
                        format!("look at it, and roll back to what it is to be (`rollback {} -e {environment} --list`)", step.object.name)
                    }
                    None => "look at it first".to_owned(),
                };
                let text = format!("{what} {how} since plan {} was carried out, and that would be lost: {remedy}.", done.id);
                left_out.push((policy_of(&step.object), refused("changed", text)));
                continue;
            }
            free.push(place);
            now.push(live);
        }
        let done = &done.only(&free);
        let live: Vec<Option<&Value>> = now.iter().map(Option::as_ref).collect();
        let at = Timestamp::now();
        let direction = direction(done, &live, seen.place().kyverno);
        // What makes policies block less is not kept back by what someone has changed since; what makes them block more goes as a whole or not at all.
        if (free.is_empty() || direction != Direction::Down)
            && let Some((_, why)) = left_out.pop()
        {
            return Err(why);
        }
        let left_out = left_out.iter().map(|(policy, why)| StepOutcome::left_out(policy, environment, why)).collect();
        let gate =
            if direction == Direction::Up { self.gates_back(done, &live, seen.place().kyverno, request).await? } else { Value::Null };
        let facts = self.facts(at, request, &gate);
        let mut plan = match done.steps.as_slice() {
            [step] if matches!(step.verb, Verb::Commit { .. }) && self.goes_through_git(seen.place().settings) => {
                let live = live.first().copied().flatten();
                let plan = self.reverted(done, step, seen.place(), live, direction, &facts).await?;
                return Ok((self.signed(self.gated(plan, done, step, &seen, live, request).await?).await?, left_out));
            }
            _ => undo(done, &[seen.place()], &live, &facts)?,
        };
        plan.direction = direction;
        plan.impact = self.impact(&plan, seen.place().kyverno).await;
        Ok((self.signed(plan).await?, left_out))
    }

    /// A commit that takes another one back, with the gate where it makes the cluster refuse more. What the repository said before may be more than what the
    /// cluster showed then: a promotion that was committed and never applied.
    async fn gated(
        &self,
        plan: Plan,
        done: &Plan,
        step: &Step,
        seen: &super::Seen,
        live: Option<&Value>,
        request: &Request,
    ) -> Result<Plan, Declined> {
        let kyverno = seen.place().kyverno;
        let after = plan.steps.first().and_then(|step| step.after.clone());
        let mut plan = plan;
        if plan.gate.is_null() && more_after(step, live, after.as_ref(), kyverno) {
            let back = Plan { steps: vec![Step { before: after, ..step.clone() }], ..done.clone() };
            let gate = self.gates_back(&back, &[live], kyverno, request).await?;
            let facts = self.facts(Timestamp::now(), request, &gate);
            plan = self.reverted(done, step, seen.place(), live, Direction::Up, &facts).await?;
            plan.direction = Direction::Up;
        }
        plan.impact = self.impact(&plan, kyverno).await;
        Ok(plan)
    }

    /// The gates before what the policies come back to, where they come back to refusing more.
    async fn gates_back(&self, done: &Plan, live: &[Option<&Value>], kyverno: &Kyverno, request: &Request) -> Result<Value, Declined> {
        if done.steps.len() > 1 && !request.disregard.is_empty() {
            let why = format!("Plan {} is about several policies, and --disregard is about the gate of one.", done.id);
            return Err(Declined::Usage(why));
        }
        let mut passed = Vec::new();
        for (step, live) in done.steps.iter().zip(live) {
            if !more_after(step, *live, step.before.as_ref(), kyverno) {
                continue;
            }
            let policy = policy_of(&step.object);
            let kind = kind_of(&policy)?;
            if let Some(why) = another_revision(done, step, *live, kind) {
                return Err(refused("revision", why));
            }
            let mode = written_mode(kind, step.before.as_ref().unwrap_or(&Value::Null), kyverno).unwrap_or(Mode::Unknown);
            let left_out = self.disregards(&policy, request)?;
            let gate = self.gate(&policy, Some(&stop_for(&step.environment, mode)), &left_out, Timestamp::now()).await?;
            passed.push(self.pass(&gate, request)?);
        }
        Ok(if passed.len() == 1 { passed.remove(0) } else { Value::from(passed) })
    }
}

/// Why a policy does not come back to enforce at once: what is there now says something else, so nothing that its gate is judged by is about what comes back.
fn another_revision(done: &Plan, step: &Step, live: Option<&Value>, kind: &Kind) -> Option<String> {
    let before = revision(kind, step.before.as_ref()?);
    let now = revision(kind, live?);
    // A demotion may have to change more than the mode (`mutateDigest` of image rules): what it made itself is no other revision.
    let made = step.after.as_ref().map(|after| revision(kind, after));
    if done.operation == Operation::Demote && made.as_ref() == Some(&now) {
        return None;
    }
    let (name, place) = (&step.object.name, &step.environment);
    (before != now).then(|| {
        format!(
            "Undoing plan {} would enforce revision {before} of {} in {} again, but the gate knows only revision {now}, which is there now. Roll back \
             instead (`rollback {name} -e {place} --to-revision {before}`): it returns in audit, and is promoted to enforce through its own gate.",
            done.id, step.object, place
        )
    })
}

/// A plan as the journal has it, in one environment.
#[derive(Debug, Clone, Default)]
struct Carried {
    id: String,
    /// The entry that says most, and last, of each object.
    entries: BTreeMap<String, (u64, Record)>,
}

impl Carried {
    fn newest(&self) -> u64 {
        self.entries.values().map(|(seq, _)| *seq).max().unwrap_or_default()
    }

    /// Something of it was done, or may have been.
    fn is_done(&self) -> bool {
        self.entries.values().any(|(_, record)| may_be_done(record))
    }

    fn is_undo(&self) -> bool {
        self.entries.values().any(|(_, record)| record.verb == Did::Other("undo".to_owned()))
    }

    fn concerns(&self, step: &Step) -> bool {
        self.entries.get(&policy_of(&step.object).to_string()).is_some_and(|(_, record)| may_be_done(record))
    }

    /// The plan, from its archive.
    async fn plan(&self) -> Result<Archived, Declined> {
        let id = &self.id;
        let Some(folder) = self.entries.values().find_map(|(_, record)| record.undo.clone()) else {
            return Err(Declined::Usage(format!("the journal names no archive of plan {id}: roll back instead")));
        };
        let folder = Path::new(&folder).to_owned();
        let archive = blocking({
            let folder = folder.clone();
            move || read_archive(&folder)
        });
        let archive = archive.await.map_err(|declined| Declined::Usage(format!("plan {id} cannot be taken back: {declined}")))?;
        let Some(text) = &archive.plan else {
            let why = format!("the archive {} does not hold plan {id}; roll back to what it holds: --archive {0}", folder.display());
            return Err(Declined::Usage(why));
        };
        let plan = from_file(text).map_err(|why| Declined::Usage(format!("{}: {why}", folder.display())))?;
        if plan.id == *id {
            Ok(Archived { plan, archive, folder })
        } else {
            Err(Declined::Usage(format!("the archive {} is of plan {}", folder.display(), plan.id)))
        }
    }
}

/// A plan with the archive that it comes from.
struct Archived {
    plan: Plan,
    archive: Archive,
    folder: PathBuf,
}

/// An intent without an outcome may have been carried out as well.
fn may_be_done(record: &Record) -> bool {
    matches!(record.result, None | Some(StepResult::Done | StepResult::Unknown))
}

/// Every plan of an environment that the journal tells of. Lines that cannot be read tell nothing.
fn carried_out(journal: &Journal, environment: &str) -> Result<Vec<Carried>, crate::files::FileError> {
    let mut plans: BTreeMap<String, Carried> = BTreeMap::new();
    for entry in journal.read(..)?.flatten() {
        let Entry { seq, record, .. } = entry;
        let (Some(id), Some(object)) = (record.plan.clone(), record.object.as_ref()) else { continue };
        if record.environment.as_deref() != Some(environment) {
            continue;
        }
        let plan = plans.entry(id.clone()).or_insert_with(|| Carried { id, ..Carried::default() });
        let key = object.to_string();
        let told = plan.entries.get(&key).is_some_and(|(_, known)| known.phase == Phase::Outcome && known.result == Some(StepResult::Done));
        // What was done stays done, whatever a second try of the same plan came to.
        if !told || record.result == Some(StepResult::Done) {
            plan.entries.insert(key, (seq, record));
        }
    }
    let mut plans: Vec<Carried> = plans.into_values().filter(Carried::is_done).collect();
    plans.sort_by_key(|plan| std::cmp::Reverse(plan.newest()));
    Ok(plans)
}

fn named<'a>(plans: &'a [Carried], prefix: &str, environment: &str) -> Result<&'a Carried, String> {
    let fits: Vec<&Carried> = plans.iter().filter(|plan| !prefix.is_empty() && plan.id.starts_with(prefix)).collect();
    match fits[..] {
        [one] => Ok(one),
        [] => Err(format!("the journal knows of no plan `{prefix}` that was carried out in {environment}; `audit show` lists them")),
        _ => {
            Err(format!("several plans begin with `{prefix}`: {}", fits.iter().map(|plan| plan.id.as_str()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The newest that has not been taken back.
async fn last<'a>(plans: &'a [Carried], environment: &str) -> Result<&'a Carried, Declined> {
    let mut undone = BTreeSet::new();
    for plan in plans {
        if plan.is_undo() {
            // Which one it took back stands in its archive; without that, nobody knows which one is the last.
            undone.extend(plan.plan().await?.plan.undoes);
        } else if !undone.contains(&plan.id) {
            return Ok(plan);
        }
    }
    Err(Declined::Usage(format!("the journal knows of nothing that was carried out in {environment} and not taken back")))
}

/// How an object differs from what a step made of it, as a part of a sentence; `None` where nobody wrote to it. What it was before the step is no
/// difference: then there is nothing to take back.
fn changed_since(step: &Step, live: Option<&Value>) -> Option<&'static str> {
    let (after, before) = (step.after.as_ref().map(bare), step.before.as_ref().map(bare));
    let now = live.map(bare);
    match (&after, &now) {
        _ if now == before => None,
        (None, None) => None,
        (Some(_), None) => Some("was deleted"),
        (None, Some(_)) => Some("was created"),
        // A patch leaves nothing for a server to fill in.
        (Some(after), Some(now)) if matches!(step.verb, Verb::Patch { .. }) => (after != now).then_some("was changed"),
        (Some(after), Some(now)) => (!carries(live, step) || marks(after) != marks(now)).then_some("was changed"),
    }
}

/// Labels and annotations. Kyverno up to 1.10 adds annotations of its own to what is created (`pod-policies.kyverno.io/autogen-controllers`).
fn marks(object: &Value) -> [Map<String, Value>; 2] {
    ["labels", "annotations"].map(|part| {
        let mut members = object.get("metadata").and_then(|metadata| metadata.get(part)?.as_object()).cloned().unwrap_or_default();
        members.retain(|key, _| !key.starts_with("pod-policies.kyverno.io/"));
        members
    })
}

/// Whether taking a plan back makes any policy refuse more than it does now.
fn direction(done: &Plan, live: &[Option<&Value>], kyverno: &Kyverno) -> Direction {
    if done.direction == Direction::Level {
        return Direction::Level;
    }
    let mut both = done.steps.iter().zip(live);
    let stronger = both.any(|(step, live)| more_after(step, *live, step.before.as_ref(), kyverno));
    if stronger { Direction::Up } else { Direction::Down }
}

/// Whether what a step writes refuses more as `then` than as `now`; what is no policy refuses nothing by itself.
pub(super) fn more_after(step: &Step, now: Option<&Value>, then: Option<&Value>, kyverno: &Kyverno) -> bool {
    let kind = KindId::find(&step.object.group, &step.object.kind).map(KindId::kind);
    kind.is_some_and(|kind| refuses_more(kind, now, then, kyverno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::plan::{Expect, ObjectRef};
    use serde_json::json;

    fn step(verb: &str, before: Option<Value>, after: Option<Value>) -> Step {
        let expect = Expect { uid: "u".into(), resource_version: "1".into() };
        let object = ObjectRef {
            group: "kyverno.io".into(),
            version: "v1".into(),
            kind: "ClusterPolicy".into(),
            plural: "clusterpolicies".into(),
            namespace: None,
            name: "p".into(),
        };
        let verb = match verb {
            "patch" => Verb::Patch { patch: json_patch::Patch(Vec::new()), expect },
            "replace" => Verb::Replace { manifest: Value::Null, expect },
            _ => Verb::Delete { expect },
        };
        Step { environment: "dev".into(), object, verb, before, after, diff: Vec::new(), managers: Vec::new(), gives_back: Vec::new() }
    }

    #[test]
    fn what_somebody_wrote_since_is_seen() {
        let object = |message: &str, labels: Value| json!({"metadata": {"name": "p", "labels": labels}, "spec": {"message": message}});
        let (was, is) = (object("was", json!({})), object("is", json!({"a": "b"})));
        let mut status = is.clone();
        status["status"] = json!({"ready": true});
        status["metadata"]["resourceVersion"] = json!("9");
        let mut filled = is.clone();
        filled["spec"]["background"] = json!(true);
        let held = object("is", json!({"a": "b", "held": "yes"}));
        for (verb, after, live, expected) in [
            ("patch", Some(&is), Some(&is), None),
            ("patch", Some(&is), Some(&status), None),
            ("patch", Some(&is), Some(&filled), Some("was changed")),
            ("replace", Some(&is), Some(&filled), None),
            ("replace", Some(&is), Some(&held), Some("was changed")),
            ("replace", Some(&is), Some(&object("other", json!({"a": "b"}))), Some("was changed")),
            ("replace", Some(&is), Some(&was), None),
            ("patch", Some(&is), None, Some("was deleted")),
            ("delete", None, None, None),
            ("delete", None, Some(&is), Some("was created")),
        ] {
            let step = step(verb, Some(was.clone()), after.cloned());
            assert_eq!(changed_since(&step, live), expected, "{verb} {live:?}");
        }
    }

    #[test]
    fn only_what_was_done_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path());
        let mut note = |plan: &str, environment: &str, verb: Did, result: Option<StepResult>| {
            let mut record = Record::intent(Timestamp::UNIX_EPOCH, crate::domain::journal::Who::default(), verb);
            record.plan = Some(plan.to_owned());
            record.environment = Some(environment.to_owned());
            record.object = Some(policy_of(&step("patch", None, None).object));
            let entry = journal.append(record).unwrap();
            if let Some(result) = result {
                journal.append(entry.outcome(Timestamp::UNIX_EPOCH, result, None)).unwrap();
            }
        };
        note("aa11", "dev", Did::Promote, Some(StepResult::Done));
        note("aa22", "dev", Did::Demote, Some(StepResult::Refused));
        note("aa33", "live", Did::Demote, Some(StepResult::Done));
        note("bb44", "dev", Did::Demote, None);
        note("aa11", "dev", Did::Promote, Some(StepResult::Failed));
        let plans = carried_out(&Journal::open(folder.path()), "dev").unwrap();
        assert_eq!(plans.iter().map(|plan| plan.id.as_str()).collect::<Vec<_>>(), ["bb44", "aa11"], "the newest first");
        assert!(plans.iter().all(|plan| plan.concerns(&step("patch", None, None))));
        assert_eq!(named(&plans, "aa", "dev").unwrap().id, "aa11");
        assert!(named(&plans, "", "dev").is_err() && named(&plans, "aa22", "dev").unwrap_err().contains("no plan `aa22`"));
    }
}
