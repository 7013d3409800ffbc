//! Carrying a plan out, so that at every moment it is known, or can be found out, what was done.
//!
//! What lives here: rehearsal, the last look, the order of archive, intent, write and outcome, finding out what became of a write that got no
//! answer. What does not: the plan, following the effect (`effect`).

use super::fate::{Look, changed};
use super::outcome::{Outcome, StepOutcome};
use super::stage::{Stage, Told};
use super::undoing::more_after;
use super::{Declined, Operator, kind_of, refused};
use crate::cluster::{self, Address, Refusal, Write, WriteError, Written};
use crate::domain::journal::{Record, Standing, StepResult, Verb as Done};
use crate::domain::{Link, Mode, PolicyId};
use crate::engine::Failure;
use crate::files::archive::{UndoArchive, digest, write_undo};
use crate::files::journal::Journal;
use crate::files::who;
use crate::kinds::KindId;
use crate::kinds::hold::HOLD;
use crate::kinds::set_mode::written_mode;
use crate::ops::acknowledged::Acknowledged;
use crate::ops::gate::disregard;
use crate::ops::plan::{Basis, Direction, Expect, ObjectRef, Operation, Plan, Step, Verb, pin_again, to_file};
use crate::ops::road::step_for;
use crate::settings::StepMode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::time::Instant;

/// What a write that was answered is noted with.
const WRITTEN: &str = "written";
/// How often a write is tried again where only the status had moved on.
const TRIES: usize = 3;

/// The archive of what was there before.
struct Saved {
    folder: PathBuf,
    /// SHA-256 of its manifest, for the journal.
    digest: String,
}

/// What of a plan goes.
pub(super) struct Going {
    /// The steps that go.
    pub(super) plan: Plan,
    /// Their places in the whole plan.
    places: Vec<usize>,
    /// What is known already of the others.
    pub(super) told: BTreeMap<usize, StepOutcome>,
}

impl Going {
    /// Leaves out the steps that their servers refused, as the rehearsal of all of them says.
    fn leave_out(&mut self, rehearsed: Vec<StepOutcome>) {
        if rehearsed.iter().all(|step| step.result == StepResult::Done) {
            return;
        }
        let mut go = Vec::new();
        for (at, step) in rehearsed.into_iter().enumerate() {
            if step.result == StepResult::Done {
                go.push(at);
            } else {
                self.told.insert(self.places[at], step);
            }
        }
        self.plan = self.plan.only(&go);
        self.places = go.into_iter().map(|at| self.places[at]).collect();
    }
}

impl Operator {
    /// Has the servers and their webhooks check every write of a plan, without writing.
    pub async fn rehearse(&self, plan: &Plan) -> Outcome {
        let mut steps = Vec::new();
        for step in &plan.steps {
            let (result, reason, warnings) = match &step.verb {
                Verb::Commit { .. } => self.rehearse_commit(step).await,
                _ => self.write(step, true, &|| ()).await,
            };
            steps.push(telling(step, result, reason, warnings));
        }
        Outcome { plan: plan.id.clone(), undo: None, dry_run: true, steps }
    }

    /// Carries a confirmed plan out. Everything that may have changed since it was made is looked at again first; the first write that does not
    /// succeed is the last one.
    pub async fn carry_out(&self, plan: &Plan) -> Result<Outcome, Declined> {
        self.carry_out_telling(plan, &|_| ()).await
    }

    /// The same, telling how far it is.
    pub async fn carry_out_telling(&self, plan: &Plan, tell: Told<'_>) -> Result<Outcome, Declined> {
        self.permitted(plan).await?;
        // First what someone else may have done: the gate before a step that is taken already would only say that it is closed.
        tell(Stage::Basis);
        let mut going = self.pinned(plan).await?;
        if going.plan.direction == Direction::Up {
            tell(Stage::Gate);
            going.plan.gate = self.gate_again(&going.plan).await?;
        }
        tell(Stage::Rehearsal);
        let rehearsed = self.rehearse(&going.plan).await;
        if !rehearsed.is_done() && !going.plan.goes_one_by_one() {
            return Ok(Outcome { dry_run: false, ..rehearsed });
        }
        going.leave_out(rehearsed.steps);
        if going.plan.steps.is_empty() {
            return Ok(Outcome { plan: plan.id.clone(), undo: None, dry_run: false, steps: going.told.into_values().collect() });
        }
        tell(Stage::Archive);
        let undo = self.archive(&going.plan).await?;
        let Going { plan, places, mut told } = going;
        let mut stopped = false;
        for (at, place) in places.into_iter().enumerate() {
            let step = &plan.steps[at];
            let done = if stopped {
                telling(step, StepResult::Skipped, "a write before it did not succeed".to_owned(), Vec::new())
            } else {
                // What was done before is told, whatever keeps this one from being tried.
                let done = self.step(&plan, at, &undo, tell).await;
                done.unwrap_or_else(|declined| telling(step, StepResult::Failed, declined.to_string(), Vec::new()))
            };
            stopped |= !matches!(done.result, StepResult::Done | StepResult::Unchanged) && !plan.goes_one_by_one();
            told.insert(place, done);
        }
        Ok(Outcome { plan: plan.id, undo: Some(undo.folder), dry_run: false, steps: told.into_values().collect() })
    }

    /// The gate as it is now, for a plan that makes a policy refuse more: a plan may lie in a file for days. What lets it through goes into the journal.
    async fn gate_again(&self, plan: &Plan) -> Result<Value, Declined> {
        let mut passed = Vec::new();
        for step in &plan.steps {
            let Some((policy, mode)) = self.lands(step).await? else { continue };
            if plan.operation == Operation::Undo && !self.strengthens(step).await? {
                continue;
            }
            let before = plan.gate_of(step);
            let left_out = self.may_disregard(before.map(disregard::read).unwrap_or_default())?;
            let gate = self.gate(&policy, Some(&stop_for(&step.environment, mode)), &left_out, Timestamp::now()).await?;
            passed.push(self.pass_with(&gate, before.and_then(Acknowledged::read).as_ref())?);
        }
        Ok(match passed.len() {
            0 => plan.gate.clone(),
            1 => passed.remove(0),
            _ => Value::from(passed),
        })
    }

    /// Whether a policy refuses more after a step.
    async fn strengthens(&self, step: &Step) -> Result<bool, Declined> {
        let kyverno = self.engine.kyverno(&step.environment).await?;
        Ok(more_after(step, step.before.as_ref(), step.after.as_ref(), &kyverno))
    }

    /// The policy that a step writes, and the mode it will have.
    pub(super) async fn lands(&self, step: &Step) -> Result<Option<(PolicyId, Mode)>, Declined> {
        let Some(after) = &step.after else { return Ok(None) };
        let policy = policy_of(&step.object);
        let kind = kind_of(&policy)?;
        let kyverno = self.engine.kyverno(&step.environment).await?;
        let mode = written_mode(kind, after, &kyverno);
        Ok(mode.ok().map(|mode| (policy, mode)))
    }

    /// The plan with its preconditions on the objects as they are now, if they still say what they said. Of a plan whose steps go one by one, those
    /// that can go.
    pub(super) async fn pinned(&self, plan: &Plan) -> Result<Going, Declined> {
        let mut now = Vec::new();
        for basis in &plan.basis {
            let seen = self.see(&basis.environment).await?;
            let live = self.read(&basis.environment, &basis.object).await?;
            now.push(Basis::of(&seen.place(), basis.object.clone(), live.as_ref()));
        }
        let moved = |text: String| refused("moved", text);
        if plan.steps.len() < 2 || !plan.goes_one_by_one() {
            let plan = pin_again(plan, &now).map_err(moved)?;
            return Ok(Going { places: (0..plan.steps.len()).collect(), plan, told: BTreeMap::new() });
        }
        let mut told = BTreeMap::new();
        for (place, step) in plan.steps.iter().enumerate() {
            if let Err(text) = pin_again(&plan.only(&[place]), &now) {
                told.insert(place, telling(step, StepResult::Refused, text, Vec::new()));
            }
        }
        let places: Vec<usize> = (0..plan.steps.len()).filter(|place| !told.contains_key(place)).collect();
        let plan = pin_again(&plan.only(&places), &now).map_err(moved)?;
        Ok(Going { plan, places, told })
    }

    /// Saves what is there before anything is written.
    async fn archive(&self, plan: &Plan) -> Result<Saved, Declined> {
        let first = plan.basis.first().ok_or_else(|| Declined::Usage("the plan says nothing of what it was made from".to_owned()))?;
        let view = self.view(&first.environment);
        let undo = UndoArchive {
            created_at: Timestamp::now(),
            environment: first.environment.clone(),
            server: first.server.clone(),
            cluster_uid: first.cluster_uid.clone(),
            kyverno: view.and_then(|view| view.kyverno.as_deref().map(str::to_owned)),
            who: who(self.seen_as(&first.environment).await),
            why: plan.operation.to_string(),
            plan: plan.id.clone(),
            objects: plan.steps.iter().filter_map(|step| step.before.clone()).collect(),
        };
        let folder = self.keeping.archives.clone();
        let plan = to_file(plan).map_err(Declined::Usage)?;
        blocking(move || {
            let folder = write_undo(&folder, &undo, Some(&plan))?;
            Ok(Saved { digest: digest(&folder)?, folder })
        })
        .await
    }

    /// One write: intent on the disk, write, outcome on the disk, effect.
    async fn step(&self, plan: &Plan, place: usize, undo: &Saved, tell: Told<'_>) -> Result<StepOutcome, Declined> {
        let step = &plan.steps[place];
        tell(Stage::Write { step: place });
        let mut intent = Record::intent(Timestamp::now(), who(self.seen_as(&step.environment).await), verb_of(plan.operation));
        let basis = plan.basis.iter().find(|basis| basis.environment == step.environment && basis.object == step.object);
        intent.environment = Some(step.environment.clone());
        intent.cluster_uid = basis.map(|basis| basis.cluster_uid.clone());
        intent.server = basis.map(|basis| basis.server.clone());
        intent.object = Some(policy_of(&step.object));
        intent.plan = Some(plan.id.clone());
        intent.gate = plan.gate_of(step).cloned();
        intent.ticket.clone_from(&plan.ticket);
        intent.undo = Some(undo.folder.display().to_string());
        intent.undo_digest = Some(undo.digest.clone());
        intent.signer.clone_from(&plan.signer);
        intent.reason = why(plan, step);
        intent.before = basis.and_then(|basis| basis.mode.map(|mode| Standing { revision: basis.revision.clone(), mode }));
        let landing = self.lands(step).await.ok().flatten();
        if let Verb::Commit { commit } = &step.verb {
            let through = format!("as a commit to {} of {}", commit.to, commit.repo);
            intent.reason = Some(intent.reason.map_or_else(|| through.clone(), |why| format!("{why}; {through}")));
        }
        intent.after = landing.as_ref().map(|(_, mode)| Standing { revision: revision_of(step), mode: *mode });
        let journal = self.keeping.journal.clone();
        let entry = blocking(move || Journal::open(&journal).append(intent)).await?;

        let (result, mut reason, warnings) = match &step.verb {
            Verb::Commit { commit } => {
                let (result, reason) = self.carry_out_commit(step, commit, landing.as_ref()).await;
                (result, reason, Vec::new())
            }
            _ => self.write(step, false, &|| tell(Stage::FindOut { step: place })).await,
        };
        // At once: whoever is stopped while they follow the effect has written it down.
        let outcome = entry.outcome(Timestamp::now(), result, Some(reason.clone()));
        let journal = self.keeping.journal.clone();
        let noted = blocking(move || Journal::open(&journal).append(outcome)).await;
        let remembered = if result == StepResult::Done { self.note(plan, step, &entry).await } else { Ok(()) };
        let kept = if result == StepResult::Done && !step.gives_back.is_empty() { self.give_back(step).await.err() } else { None };
        let mut effect = None;
        if result == StepResult::Done
            && !matches!(step.verb, Verb::Commit { .. })
            && let Some((policy, mode)) = &landing
        {
            tell(Stage::Follow { step: place });
            let followed = self.follow(step, policy, *mode, entry.record.at).await;
            effect = followed.as_ref().ok().copied();
            let seen = followed.map_or_else(|why| why, |effect| effect.to_string());
            reason = if reason == WRITTEN { seen } else { format!("{reason}; {seen}") };
        }
        if let Some(why) = kept {
            reason = format!("{reason}; its fields were not given back to their owners: {why}");
        }
        if let Err(error) = noted {
            // What was done is done; that the journal lacks its outcome is said, and shows there as unknown.
            reason = format!("{reason}; the journal lacks this outcome: {error}");
        }
        if let Err(failure) = remembered {
            reason = format!("{reason}; the history lacks it: {}", failure.what);
        }
        Ok(StepOutcome { effect, ..telling(step, result, reason, warnings) })
    }

    /// Sends a write until it is known what became of it.
    async fn write(&self, step: &Step, dry_run: bool, lost: &(dyn Fn() + Sync)) -> (StepResult, String, Vec<String>) {
        let mut step = step.clone();
        for _ in 0..TRIES {
            let sent = Instant::now();
            let error = match self.send(&step, dry_run).await {
                Ok(written) if dry_run => return (StepResult::Done, "dry run: accepted".to_owned(), written.warnings),
                Ok(written) => return (StepResult::Done, WRITTEN.to_owned(), written.warnings),
                Err(error) => error,
            };
            match &error {
                WriteError::Unknown(why) if dry_run => {
                    return (StepResult::Failed, format!("the dry run got no answer ({why}); nothing was written"), Vec::new());
                }
                WriteError::Unknown(why) => {
                    lost();
                    let (result, reason) = self.find_out(&step, why, sent).await;
                    return (result, reason, Vec::new());
                }
                // A status moves the resource version, and a failed test of it is answered like any invalid patch.
                WriteError::Moved(_) | WriteError::Refused(Refusal::Invalid(_) | Refusal::NotFound(_)) => match self.look(&step).await {
                    Look::Pinned(pinned) => step = *pinned,
                    Look::Ours => return (StepResult::Done, "the cluster shows the change".to_owned(), Vec::new()),
                    Look::Changed(how) => return (StepResult::Refused, changed(&step, &how), Vec::new()),
                    Look::Same => return (result_of(&error), words(&step, &error), Vec::new()),
                },
                _ => return (result_of(&error), words(&step, &error), Vec::new()),
            }
        }
        (StepResult::Refused, format!("{} changes all the time", step.object), Vec::new())
    }

    async fn send(&self, step: &Step, dry_run: bool) -> Result<Written, WriteError> {
        let environment = self.engine.environment(&step.environment).map_err(|failure| WriteError::NotSent(failure.what))?;
        let write = match &step.verb {
            Verb::Create { manifest } => Write::Create(manifest.clone()),
            Verb::Patch { patch, expect } => Write::Patch(guarded(patch, expect)),
            Verb::Replace { manifest, expect } => Write::Replace(identified(manifest, expect)),
            Verb::Delete { expect } => Write::Delete { uid: expect.uid.clone(), resource_version: expect.resource_version.clone() },
            Verb::Commit { .. } => return Err(WriteError::NotSent("a commit is not written to a cluster".to_owned())),
        };
        cluster::write(&environment.signals, &address(&step.object), &write, dry_run).await
    }

    pub(super) async fn read(&self, environment: &str, object: &ObjectRef) -> Result<Option<Value>, Failure> {
        let signals = &self.engine.environment(environment)?.signals;
        let read = cluster::read(signals, &address(object)).await;
        read.map_err(|refusal| Failure { what: format!("{environment}: {object}: {refusal}"), hint: String::new() })
    }

    /// Whether Kyverno answers its webhooks: a dry run of a policy passes through them. `None` where that could not be told.
    pub(super) async fn kyverno_answers(&self, environment: &str) -> Option<bool> {
        let signals = &self.engine.environment(environment).ok()?.signals;
        let address = Address {
            group: "kyverno.io".into(),
            version: signals.served.borrow().get(&KindId::find("kyverno.io", "ClusterPolicy")?).copied()?.into(),
            plural: "clusterpolicies".into(),
            namespace: String::new(),
            name: "policydeck-probe".into(),
        };
        let probe = json!({"apiVersion": format!("kyverno.io/{}", address.version), "kind": "ClusterPolicy", "metadata": {"name": address.name},
            "spec": {"rules": [{"name": "probe", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}, "validate": {"message": "probe", "pattern": {"kind": "ConfigMap"}}}]}});
        match cluster::write(signals, &address, &Write::Create(probe), true).await {
            Err(WriteError::Refused(refusal)) if refusal.to_string().contains("failed calling webhook") => Some(false),
            Err(WriteError::Refused(Refusal::Server(_) | Refusal::Forbidden(_)) | WriteError::NotSent(_) | WriteError::Unknown(_)) => None,
            // Accepted, or refused by Kyverno itself: it answers.
            Ok(_) | Err(_) => Some(true),
        }
    }

    pub(super) fn view(&self, environment: &str) -> Option<std::sync::Arc<crate::fleet::view::EnvironmentView>> {
        let fleet = self.engine.fleet().borrow().clone();
        fleet.environment(environment).filter(|view| !matches!(view.link, Link::Connecting)).cloned()
    }

    /// The user whom the cluster sees, where it tells.
    pub async fn seen_as(&self, environment: &str) -> Option<String> {
        let signals = &self.engine.environment(environment).ok()?.signals;
        cluster::whoami(signals).await
    }
}

/// `ENV:MODE` of the step whose gate a policy passes that will be in `mode` there.
pub(super) fn stop_for(environment: &str, mode: Mode) -> String {
    let step = step_for(mode).map_or(mode.as_str(), StepMode::as_str);
    format!("{environment}:{step}")
}

/// Why a step is done: what the operator said, or the reason of the hold that it sets.
fn why(plan: &Plan, step: &Step) -> Option<String> {
    let held = || {
        let annotation = step.after.as_ref()?.get("metadata")?.get("annotations")?.get(HOLD)?.as_str()?;
        (plan.operation == Operation::Hold && !annotation.is_empty()).then(|| annotation.to_owned())
    };
    let said = plan.reason.clone().or_else(held);
    let left_out: Vec<String> =
        plan.gate_of(step).map(disregard::read).unwrap_or_default().iter().map(|one| one.object.to_string()).collect();
    if left_out.is_empty() {
        return said;
    }
    let left_out = format!("disregarded {}", left_out.join(", "));
    Some(said.map_or_else(|| left_out.clone(), |said| format!("{said}; {left_out}")))
}

fn revision_of(step: &Step) -> Option<crate::domain::Revision> {
    let kind = KindId::find(&step.object.group, &step.object.kind)?.kind();
    Some(crate::kinds::revision::revision(kind, step.after.as_ref()?))
}

pub(super) fn policy_of(object: &ObjectRef) -> PolicyId {
    PolicyId { group: object.group.clone(), kind: object.kind.clone(), namespace: object.namespace.clone(), name: object.name.clone() }
}

pub(super) fn address(object: &ObjectRef) -> Address {
    Address {
        group: object.group.clone(),
        version: object.version.clone(),
        plural: object.plural.clone(),
        namespace: object.namespace.clone().unwrap_or_default(),
        name: object.name.clone(),
    }
}

/// The patch with tests in front that hold only for the object it is meant for.
pub(super) fn guarded(patch: &json_patch::Patch, expect: &Expect) -> Value {
    let test = |path: &str, value: &str| json!({"op": "test", "path": path, "value": value});
    let mut operations = vec![test("/metadata/uid", &expect.uid), test("/metadata/resourceVersion", &expect.resource_version)];
    if let Ok(Value::Array(rest)) = serde_json::to_value(patch) {
        operations.extend(rest);
    }
    Value::Array(operations)
}

/// The object with the identity it is to replace.
pub(super) fn identified(manifest: &Value, expect: &Expect) -> Value {
    let mut object = manifest.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(expect.uid.as_str()));
        metadata.insert("resourceVersion".to_owned(), Value::from(expect.resource_version.as_str()));
    }
    object
}

fn telling(step: &Step, result: StepResult, reason: String, warnings: Vec<String>) -> StepOutcome {
    StepOutcome {
        environment: step.environment.clone(),
        verb: step.verb.as_str(),
        object: step.object.clone(),
        result,
        reason,
        diff: step.diff.clone(),
        warnings,
        effect: None,
    }
}

fn result_of(error: &WriteError) -> StepResult {
    match error {
        WriteError::Refused(_) | WriteError::Moved(_) => StepResult::Refused,
        WriteError::NotSent(_) => StepResult::Failed,
        WriteError::Unknown(_) => StepResult::Unknown,
    }
}

/// What a failed write means, and what to do.
fn words(step: &Step, error: &WriteError) -> String {
    let said = error.to_string();
    match error {
        WriteError::Moved(_) => changed(step, &said),
        WriteError::Refused(_) if said.contains("failed calling webhook") => {
            format!(
                "Kyverno is down in {}, and no policy can be changed until it is back; `unblock` lets workloads through meanwhile ({said})",
                step.environment
            )
        }
        _ => said,
    }
}

fn verb_of(operation: Operation) -> Done {
    match operation {
        Operation::Promote => Done::Promote,
        Operation::Demote => Done::Demote,
        Operation::Rollback => Done::Rollback,
        Operation::Hold => Done::Hold,
        Operation::Release => Done::Release,
        Operation::Unblock => Done::Unblock,
        Operation::Undo => Done::Other("undo".to_owned()),
    }
}

/// Does what may block on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::files::FileError> + Send + 'static,
) -> Result<T, Declined> {
    let failed = |what: String| Declined::Failed(Failure { what, hint: "nothing more was written".to_owned() });
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(error.what)),
        Err(_) => Err(failed("a task was ended".to_owned())),
    }
}
