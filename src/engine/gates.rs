//! Gates over a running engine: gathering what they are judged from.
//!
//! What lives here: the questions that are asked of environments, and whoever observed them over time. What does not: the verdict (`ops::gate`).
//! Nothing is asked of an API server: all of it is in what is streamed.

use super::{EngineHandle, HistoryReader};
use crate::domain::history::{
    Asked, Claimed, EnvironmentKey, Interval, Made, PolicyState, Refused, Standing as Recorded, Undated, began, cover, refused,
};
use crate::domain::{
    Claim, Disregard, EventSource, EvidenceRef, Exception, Expiry, Gate, Hold, Mode, Pending, PolicyId, PolicyKey, RolledBack, Unverified,
};
use crate::fleet::query::{BlockedRow, ExceptionRow, ExceptionUses, OldestResult, PolicyRow, WouldBlock};
use crate::fleet::view::{EnvironmentView, FleetView, KindView};
use crate::ops::gate::{Block, Evidence, Metrics, Observed, Question, Relied, Start, disregard, judge};
use crate::ops::position::{Differs, Drift, NoStep, Travel, unread};
use crate::ops::road::Road;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What is committed for each environment that goes through git; the error says why that is unknown.
pub type PendingByEnvironment = HashMap<Arc<str>, Result<Committed, String>>;

/// What a repository says of policies that its cluster does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// What is committed and not applied yet.
    pub pending: Vec<Pending>,
    /// Policies for which the files of the repository do not show the result, and why.
    pub unclear: Vec<(PolicyId, String)>,
}

impl Committed {
    /// How what is committed of a policy differs from what its cluster shows; `None` where it does not.
    pub fn of(&self, policy: &PolicyId) -> Option<Differs> {
        let pending = self.pending.iter().find(|one| one.policy == *policy).cloned().map(Differs::Pending);
        pending.or_else(|| self.unclear.iter().find(|(of, _)| of == policy).map(|(_, why)| Differs::Repository(why.clone())))
    }
}

/// After so many gates others get a turn on the thread.
const GATES_AT_ONCE: usize = 16;

/// The gate of every policy that has a pipeline, or why it has none, and what each policy would block.
#[derive(Debug, Clone, Default)]
pub struct AllGates {
    /// Each policy with its gate.
    pub gates: Vec<(PolicyId, Result<Gate, NoStep>)>,
    /// Violations by workload as gates count them, by environment and policy; nothing where that is not known.
    pub violations: HashMap<(Arc<str>, PolicyKey), u64>,
}

/// What was gathered of all environments for one moment.
#[derive(Debug)]
pub struct Gathered {
    fleet: Arc<FleetView>,
    environments: HashMap<Arc<str>, Known>,
    /// What was recorded of policies where they may leave from, or why that cannot be read.
    recorded: HashMap<(Arc<str>, PolicyKey), Result<Recorded, String>>,
    /// How far the clock of each environment's API server is ahead of the moment at which all this was gathered.
    clocks: HashMap<Arc<str>, SignedDuration>,
    /// How it went to ask Prometheus, by environment; nothing of an environment for which none is configured.
    metrics: HashMap<Arc<str>, Metrics>,
    /// What is committed and not applied yet, by environment; nothing of an environment that was not asked about.
    pending: PendingByEnvironment,
}

/// What one environment answered; `None` where it did not.
#[derive(Debug, Default)]
struct Known {
    policies: Option<Vec<PolicyRow>>,
    exceptions: Option<ExceptionUses>,
    oldest: HashMap<PolicyKey, OldestResult>,
    /// Blocked requests of which the cluster still holds events.
    blocks: Option<Vec<BlockedRow>>,
    /// What reports say and nothing verifies.
    claims: BTreeMap<PolicyKey, Vec<Claim>>,
    would_block: HashMap<PolicyKey, WouldBlock>,
}

/// Asks every environment, and the history of where policies stand: about one policy, or about all.
pub async fn gather(
    engine: &EngineHandle,
    road: &Road,
    policy: Option<&PolicyId>,
    history: Option<&HistoryReader>,
    now: Timestamp,
) -> Gathered {
    let fleet = Arc::clone(&engine.fleet().borrow());
    let mut environments = HashMap::new();
    for view in &fleet.environments {
        let key = policy.and_then(|policy| view.cell_of(policy)).map(|cell| cell.key.clone());
        let here = policy.is_none() || key.is_some();
        let known = Known {
            policies: engine.policies(&view.name, None).await.ok(),
            exceptions: if exceptions_are_known(view) { engine.exceptions(&view.name).await.ok() } else { None },
            would_block: if here {
                engine.would_block(&view.name, key.clone()).await.unwrap_or_default().into_iter().collect()
            } else {
                HashMap::new()
            },
            oldest: if here {
                let oldest = engine.oldest_results(&view.name, key.clone()).await.unwrap_or_default();
                oldest.into_iter().map(|oldest| (oldest.key.clone(), oldest)).collect()
            } else {
                HashMap::new()
            },
            claims: if here { engine.claims(&view.name, key.clone()).await.unwrap_or_default() } else { BTreeMap::new() },
            // Where nothing is blocked there is nothing to be told apart.
            blocks: if here && view.blocks_held.is_some_and(|held| held > 0) { engine.blocked(&view.name, key).await.ok() } else { None },
        };
        environments.insert(Arc::clone(&view.name), known);
    }
    let ahead = |view: &Arc<EnvironmentView>| Some((Arc::clone(&view.name), engine.server_time(&view.name)?.duration_since(now)));
    let clocks = fleet.environments.iter().filter_map(ahead).collect();
    let (recorded, pending) = (HashMap::new(), HashMap::new());
    let mut gathered = Gathered { fleet, environments, recorded, clocks, metrics: HashMap::new(), pending };
    for environment in road.environments().iter().filter(|environment| environment.prometheus.is_some()) {
        let asked = gathered.asked(&environment.name, history).await;
        let metrics = asked.map_or(Metrics::NotAsked, |Asked { at, answered, why }| Metrics::Asked { at, answered, why });
        gathered.metrics.insert(Arc::from(environment.name.as_str()), metrics);
    }
    if let Some(history) = history {
        let policies = policy.map_or_else(|| gathered.with_action(), |policy| vec![policy.clone()]);
        for id in policies {
            // Where one is asked about, any of its environments may be the one that it would leave.
            let places = match policy {
                Some(_) => (0..road.environments().len()).collect(),
                None => road.travel(&id, &gathered.fleet, None).ok().and_then(|travel| travel.place()).into_iter().collect::<Vec<_>>(),
            };
            for place in places {
                if let Some((environment, recorded)) = gathered.recorded(&road.name(place), &id, history, now).await {
                    gathered.recorded.insert(environment, recorded);
                }
            }
        }
    }
    gathered
}

fn exceptions_are_known(view: &EnvironmentView) -> bool {
    let readable = |kind: &KindView| kind.kind != "PolicyException" || kind.is_whole();
    !view.kinds.is_empty() && view.kinds.iter().all(readable)
}

impl Gathered {
    /// Every policy of any environment with an action on violations, in order: only such a policy has a road.
    pub fn with_action(&self) -> Vec<PolicyId> {
        let rows = self.environments.values().filter_map(|known| known.policies.as_ref()).flatten();
        let acting = rows.filter(|row| row.rules.iter().any(|rule| rule.rule_type.has_action()));
        let ids: BTreeSet<&PolicyId> = acting.map(|row| &*row.key.id).collect();
        ids.into_iter().cloned().collect()
    }

    /// The gate between a revision of a policy and the step that `to` names (`ENV`, `ENV:MODE`; nothing names the next step).
    ///
    /// # Errors
    /// Why there is no such step, in words.
    pub fn gate(&self, road: &Road, policy: &PolicyId, to: Option<&str>, now: Timestamp) -> Result<Gate, NoStep> {
        self.gate_without(road, policy, to, now, &[])
    }

    /// The same without the claims that are to be disregarded.
    ///
    /// # Errors
    /// Also why something that is to be disregarded now cannot be.
    pub fn gate_without(
        &self,
        road: &Road,
        policy: &PolicyId,
        to: Option<&str>,
        now: Timestamp,
        asked: &[Disregard],
    ) -> Result<Gate, NoStep> {
        let mut travel = road.travel(policy, &self.fleet, to)?;
        self.add_pending(road, policy, &mut travel);
        let evidence = self.evidence_of(road, policy, &travel, asked);
        // What was decided earlier and no longer holds is in the gate; what is decided now has to mean something.
        let new: Vec<Disregard> = asked.iter().filter(|one| one.content.is_none()).cloned().collect();
        if let Some(why) = disregard::impossible(&evidence.claims, evidence.blocks.as_deref().unwrap_or_default(), &new) {
            return Err(NoStep::Invalid(why));
        }
        Ok(self.judged(road, policy, &travel, &evidence, now))
    }

    /// The gate of every policy that has a pipeline, or why it has none.
    pub async fn all(&self, road: &Road, to: Option<&str>, now: Timestamp) -> Vec<(PolicyId, Result<Gate, NoStep>)> {
        let mut out = Vec::new();
        for policy in self.with_action() {
            let gate = self.gate(road, &policy, to, now);
            out.push((policy, gate));
            if out.len().is_multiple_of(GATES_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        out
    }

    /// Violations of every policy by workload as gates count them.
    pub fn violations(&self) -> HashMap<(Arc<str>, PolicyKey), u64> {
        let mut violations = HashMap::new();
        for view in &self.fleet.environments {
            let Some(known) = self.environments.get(&view.name) else { continue };
            for row in known.policies.iter().flatten() {
                // With too many to look at each, all of them may be where it blocks.
                let all = || view.cell(&row.key).map_or(0, |cell| cell.by_workload().faults());
                let count = known.would_block.get(&row.key).map_or_else(all, |judged| judged.counted);
                violations.insert((Arc::clone(&view.name), row.key.clone()), count);
            }
        }
        violations
    }

    /// The same with what is committed and not applied yet.
    #[must_use]
    pub fn with_pending(self, pending: PendingByEnvironment) -> Self {
        Self { pending, ..self }
    }

    /// What is pending where a revision is, or where it goes, is not what either shows: it differs until it is applied.
    fn add_pending(&self, road: &Road, policy: &PolicyId, travel: &mut Travel) {
        let places: BTreeSet<usize> = travel.place().into_iter().chain([travel.to.environment]).collect();
        for environment in places.into_iter().map(|place| road.name(place)) {
            let differs = match self.pending.get(&environment) {
                None => continue,
                Some(Err(why)) => Some(Differs::Unread(why.clone())),
                Some(Ok(committed)) => committed.of(policy),
            };
            travel.drift.extend(differs.map(|what| Drift { environment, what }));
        }
    }

    fn evidence_of(&self, road: &Road, policy: &PolicyId, travel: &Travel, asked: &[Disregard]) -> Evidence {
        let name = travel.place().map(|place| road.name(place));
        let view = name.as_ref().and_then(|name| self.fleet.environment(name));
        let mut evidence = view.map(|view| self.evidence(view, policy, road.expiry_key(), asked)).unwrap_or_default();
        let target = road.name(travel.to.environment);
        evidence.lacking = name.as_ref().and_then(|from| self.lacking(policy, from, &target, road.expiry_key()));
        // A hold where it would go counts as well as one where it is.
        evidence.holds = match (view, self.holds(&target, policy)) {
            (None, there) => there,
            (Some(_), there) if name.as_ref() == Some(&target) => there,
            (Some(_), there) => both(evidence.holds, there),
        };
        evidence.rolled_back = self.rolled_back(name.as_ref(), &target, policy);
        evidence
    }

    fn judged(&self, road: &Road, policy: &PolicyId, travel: &Travel, evidence: &Evidence, now: Timestamp) -> Gate {
        let name = travel.place().map(|place| road.name(place));
        let environment = name.as_ref().and_then(|name| self.fleet.environment(name)).map(|view| &**view);
        let target = road.name(travel.to.environment);
        let (here, there) = (name.as_deref().and_then(|name| self.time(name, now)), self.time(&target, now));
        judge(road, &Question { policy, travel, environment, evidence, now: here, now_there: there })
    }

    /// The time by the clock of an environment's API server when the one here shows `now`.
    fn time(&self, environment: &str, now: Timestamp) -> Option<Timestamp> {
        now.checked_add(*self.clocks.get(environment)?).ok()
    }

    fn row(&self, environment: &str, policy: &PolicyId) -> Option<&PolicyRow> {
        self.environments.get(environment)?.policies.as_ref()?.iter().find(|row| *row.key.id == *policy)
    }

    /// Holds on a policy in an environment; none where it is not there, `None` where that is not known. A hold that was seen last counts while the policy
    /// cannot be read: an outage releases nothing.
    fn holds(&self, environment: &str, policy: &PolicyId) -> Option<Vec<Hold>> {
        let view = self.fleet.environment(environment)?;
        let hold = self.row(environment, policy).and_then(|row| row.policy.hold.clone());
        if hold.is_none() {
            self.environments.get(environment)?.policies.as_ref().filter(|_| unread(view, policy).is_none())?;
        }
        Some(hold.into_iter().collect())
    }

    /// The rollbacks of the revision that would go, where it is and where it would go.
    fn rolled_back(&self, from: Option<&Arc<str>>, to: &Arc<str>, policy: &PolicyId) -> Vec<(Arc<str>, RolledBack)> {
        let Some(goes) = from.and_then(|from| self.row(from, policy)).map(|row| &row.policy.revision) else { return Vec::new() };
        let places = from.into_iter().chain([to].into_iter().filter(|to| Some(*to) != from));
        let remembered = places.filter_map(|place| {
            let rolled_back = self.row(place, policy)?.policy.rolled_back.clone()?;
            (rolled_back.revision == *goes).then(|| (Arc::clone(place), rolled_back))
        });
        remembered.collect()
    }

    /// Exceptions in use in one environment that another one does not have, or has with another content; `None` where that is not known.
    pub fn lacking(&self, policy: &PolicyId, from: &str, to: &str, expiry: &str) -> Option<Vec<Relied>> {
        let of = |environment: &str| self.environments.get(environment)?.exceptions.as_ref().map(|exceptions| &exceptions.rows);
        let (here, there) = (of(from)?, of(to)?);
        let naming = |rows: &'_ Vec<ExceptionRow>| rows.iter().filter(|row| row.exception.names(policy)).cloned().collect::<Vec<_>>();
        Some(compared(&naming(here), &naming(there), |row| relied(row, policy, expiry)))
    }

    fn evidence(&self, view: &EnvironmentView, policy: &PolicyId, expiry: &str, asked: &[Disregard]) -> Evidence {
        let Some(row) = self.row(&view.name, policy) else { return Evidence::default() };
        let known = self.environments.get(&view.name);
        let mode = view.cell(&row.key).map(|cell| cell.mode);
        let recorded = self.recorded.get(&(Arc::clone(&view.name), row.key.clone()));
        let history = recorded.and_then(|recorded| recorded.as_ref().err()).cloned();
        let recorded = recorded.and_then(|recorded| recorded.as_ref().ok());
        let native = view.cell(&row.key).is_some_and(|cell| cell.native);
        let blocks = known.and_then(|known| known.blocks.as_ref()).map(|blocks| blocks_of(blocks, &row.key));
        let began = weigh(recorded, row, mode, native).0.ok().map(|start| start.at);
        let mut claims = known.and_then(|known| known.claims.get(&row.key)).cloned().unwrap_or_default();
        if !native {
            claims.extend(claimed(blocks.as_deref().unwrap_or_default(), recorded, began));
        }
        let left_out = disregard::disregarded(&claims, asked);
        let is_left_out = |claim: &Claimed| left_out.iter().any(|one| one.object == claim.source.object);
        let without = recorded.filter(|_| !left_out.is_empty()).map(|recorded| recorded.without(is_left_out));
        let (start, observed) = weigh(without.as_ref().or(recorded), row, mode, native);
        let (start, undated) = (start.as_ref().ok().cloned(), start.err());
        let exceptions = known.and_then(|known| known.exceptions.as_ref());
        let oldest = known.and_then(|known| known.oldest.get(&row.key));
        Evidence {
            start,
            undated,
            history,
            observed,
            oldest_result: oldest.and_then(|oldest| oldest.at),
            oldest_report: oldest.and_then(|oldest| oldest.report.clone()),
            evaluated: oldest.map(|oldest| oldest.times.clone()).unwrap_or_default(),
            blocks,
            claims,
            disregard: asked.to_vec(),
            would_block: known.and_then(|known| known.would_block.get(&row.key).cloned()),
            exceptions: exceptions.map(|exceptions| {
                let naming = exceptions.rows.iter().filter(|row| row.exception.names(policy));
                naming.map(|row| relied(row, policy, expiry)).collect()
            }),
            unseen: exceptions
                .into_iter()
                .flat_map(|exceptions| &exceptions.unseen)
                .filter(|one| *one.policy.id == *policy)
                .cloned()
                .collect(),
            lacking: None,
            holds: self.holds(&view.name, policy),
            rolled_back: Vec::new(),
            metrics: self.metrics.get(&view.name).cloned().unwrap_or_default(),
        }
    }

    /// How it went to ask Prometheus about an environment last.
    async fn asked(&self, environment: &str, history: Option<&HistoryReader>) -> Option<Asked> {
        let cluster_uid = self.fleet.environment(environment)?.cluster_uid.as_deref()?.to_owned();
        history?.asked(EnvironmentKey { name: environment.to_owned(), cluster_uid }).await.ok().flatten()
    }

    /// What is on record of a policy in an environment.
    async fn recorded(
        &self,
        name: &Arc<str>,
        policy: &PolicyId,
        history: &HistoryReader,
        now: Timestamp,
    ) -> Option<((Arc<str>, PolicyKey), Result<Recorded, String>)> {
        let view = self.fleet.environment(name)?;
        let key = self.row(name, policy)?.key.clone();
        let environment = EnvironmentKey { name: name.to_string(), cluster_uid: view.cluster_uid.as_deref()?.to_owned() };
        let now = self.time(name, now).unwrap_or(now);
        let recorded =
            history.standing(environment, key.clone(), Some(view.events_kept()), now).await.map_err(|failure| failure.what).transpose()?;
        Some(((Arc::clone(name), key), recorded))
    }
}

/// The start that counts, and what was seen since: of a record of this very step only.
///
/// Where the API server enforces by a `native` policy there are no events of blocked requests: only its metrics count them.
pub(super) fn weigh(
    recorded: Option<&Recorded>,
    row: &PolicyRow,
    mode: Option<Mode>,
    native: bool,
) -> (Result<Start, Undated>, Option<Observed>) {
    let policy = &row.policy;
    let object = Made { generation: (policy.generation > 0).then_some(policy.generation), created: policy.created_at };
    let mode = mode.unwrap_or(Mode::Unknown);
    let present = PolicyState { mode, ready: None, revision: Some(policy.revision.clone()), made: object };
    let began = match began(recorded, policy.entered.as_ref(), &present) {
        Ok(began) => began,
        Err(undated) => return (Err(undated), None),
    };
    let start = Start { at: began.at, revision: policy.revision.0.clone(), source: began.source, by: began.actor };
    let observed = recorded.filter(|_| began.recorded).map(|recorded| observed(recorded, &start, native));
    (Ok(start), observed)
}

fn observed(recorded: &Recorded, start: &Start, native: bool) -> Observed {
    let told = if native { counted(recorded, start) } else { watched(recorded, start) };
    let pairs = |intervals: &[Interval]| intervals.iter().map(|interval| (interval.from, interval.to)).collect();
    Observed {
        clean: recorded.observed(),
        blocked: told.blocked,
        blocked_by_prometheus: told.by_fills,
        gaps: pairs(&told.gaps),
        filled: pairs(&told.filled),
        out_of_force: pairs(&recorded.out_of_force),
    }
}

/// Blocked requests since the start: from events, and from Prometheus where no recorder ran.
fn watched(recorded: &Recorded, start: &Start) -> Refused {
    let before = before(recorded, start);
    // Adjacent gaps are one gap.
    let both = |before: &[Interval], since: &[Interval]| cover([before, since].concat());
    Refused {
        blocked: recorded.blocked.saturating_add(before.blocked),
        by_fills: recorded.blocked_by_fills.saturating_add(before.by_fills),
        gaps: both(&before.gaps, &recorded.event_gaps),
        filled: both(&before.filled, &recorded.filled),
        last: recorded.blocked_last,
    }
}

/// What is known of refused admissions before the record began: nobody watched, but Prometheus may have told.
fn before(recorded: &Recorded, start: &Start) -> Refused {
    let before = (start.at < recorded.since).then_some(Interval { from: start.at, to: recorded.since });
    before.map(|before| refused(&[], &[], &recorded.fills, before)).unwrap_or_default()
}

/// What counters alone tell since the start.
fn counted(recorded: &Recorded, start: &Start) -> Refused {
    refused(&[], &[], &recorded.fills, Interval { from: start.at.min(recorded.now), to: recorded.now })
}

/// When counters do not tell since the start what was refused.
pub(super) fn untold(recorded: &Recorded, start: &Start) -> Vec<Interval> {
    counted(recorded, start).gaps
}

/// When nobody watched events since the start and Prometheus did not tell either, whether events told of it afterwards or not: one can be lost, so it is
/// worth asking.
pub(super) fn unwatched(recorded: &Recorded, start: &Start) -> Vec<Interval> {
    cover([before(recorded, start).gaps, recorded.unwatched.clone()].concat())
}

/// Holds in two environments; where one of them is unknown, only those that are known.
fn both(here: Option<Vec<Hold>>, there: Option<Vec<Hold>>) -> Option<Vec<Hold>> {
    match (here, there) {
        (Some(here), Some(there)) => Some([here, there].concat()),
        (one, other) => one.or(other).filter(|known| !known.is_empty()),
    }
}

/// When requests were blocked by a policy, and how many.
fn blocks_of(blocks: &[BlockedRow], policy: &PolicyKey) -> Vec<Block> {
    let own = blocks.iter().filter(|row| row.key == *policy);
    own.map(|row| Block { at: row.at, count: row.count, source: Arc::clone(&row.source) }).collect()
}

/// What events say that nothing verifies, since the step began: what the cluster still holds, and what is on record of it or of others. One event may be both.
fn claimed(held: &[Block], recorded: Option<&Recorded>, began: Option<Timestamp>) -> Vec<Claim> {
    let mut events: BTreeMap<EvidenceRef, (Claim, BTreeSet<String>)> = BTreeMap::new();
    let mut add = |source: &EventSource, at: Option<Timestamp>, count: u64| {
        let first = || Claim {
            object: source.object.clone(),
            why: Unverified::Event,
            component: source.component.clone(),
            by: source.by.clone(),
            at: None,
            count: 0,
            content: String::new(),
        };
        let (claim, contents) = events.entry(source.object.clone()).or_insert_with(|| (first(), BTreeSet::new()));
        claim.at = claim.at.max(at);
        claim.count = claim.count.max(count);
        contents.insert(source.content.clone());
    };
    // Events have the time of another clock, and of another moment of the same request.
    let since = began.map(|began| began.checked_sub(SignedDuration::from_secs(1)).unwrap_or(began));
    for block in held.iter().filter(|block| !block.source.verified && since.is_none_or(|since| block.at.is_none_or(|at| at >= since))) {
        add(&block.source, block.at, block.count);
    }
    let mut on_record: BTreeMap<&EvidenceRef, u64> = BTreeMap::new();
    for claim in recorded.into_iter().flat_map(|recorded| &recorded.claims) {
        let count = on_record.entry(&claim.source.object).or_default();
        *count = count.saturating_add(claim.count);
        add(&claim.source, Some(claim.at), *count);
    }
    let whole = |(claim, contents): (Claim, BTreeSet<String>)| {
        // Usually one; several where an event was deleted and made again under its name.
        let content = contents.into_iter().collect::<Vec<_>>().join(" ");
        Claim { content, ..claim }
    };
    let mut claims: Vec<Claim> = events.into_values().map(whole).collect();
    claims.sort_by(|a, b| (b.at, &a.object).cmp(&(a.at, &b.object)));
    claims
}

/// Those of `here` in use that `there` does not have, or has with another content.
fn compared(here: &[ExceptionRow], there: &[ExceptionRow], relied: impl Fn(&ExceptionRow) -> Relied) -> Vec<Relied> {
    let same_name = |one: &Exception, other: &Exception| (&one.namespace, &one.name) == (&other.namespace, &other.name);
    let lacks = |row: &ExceptionRow| {
        let other = there.iter().find(|other| same_name(&row.exception, &other.exception));
        let differs = other.is_some_and(|other| other.exception.content != row.exception.content);
        (other.is_none() || differs).then(|| Relied { differs, ..relied(row) })
    };
    here.iter().filter_map(lacks).filter(|one| one.uses > 0).collect()
}

fn relied(row: &ExceptionRow, policy: &PolicyId, expiry: &str) -> Relied {
    let exception = &row.exception;
    let (expires_at, unreadable) = match exception.expiry(expiry) {
        Expiry::Never => (None, None),
        Expiry::At(at) => (Some(at), None),
        Expiry::Unreadable(says) => (exception.expires_at, Some(says)),
    };
    let uses = row.uses_by.iter().filter(|(key, _)| *key.id == *policy).map(|(_, uses)| uses).sum();
    Relied { name: format!("{}/{}", exception.namespace, exception.name), expires_at, unreadable, uses, differs: false }
}

#[cfg(test)]
mod tests {
    mod evidence;

    use super::*;
    use crate::domain::history::{Change, ChangeSource, Interval, PolicyState, Records, standing};
    use crate::domain::{Entered, EnteredBy, InForce};
    use crate::kinds::{KindId, read_policy};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    #[test]
    fn an_exception_of_the_same_name_is_the_same_only_if_it_says_the_same() {
        let row = |name: &str, content: &str, uses| {
            let kind = KindId::find("kyverno.io", "PolicyException").unwrap().kind();
            let object = json!({"metadata": {"name": name, "namespace": "team"},
                "spec": {"exceptions": [{"policyName": "p", "ruleNames": [content]}]}});
            let policy = PolicyKey { source: "kyverno".into(), id: Arc::new(id()) };
            let exception = Arc::new(crate::kinds::read_exception(kind, &object).unwrap());
            ExceptionRow { exception, uses, uses_by: vec![(policy, uses)] }
        };
        let here = [row("same", "*", 1), row("narrow", "*", 2), row("gone", "*", 3), row("unused", "*", 0)];
        let there = [row("same", "*", 0), row("narrow", "r", 0)];
        let found = compared(&here, &there, |row| relied(row, &id(), ""));
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.uses, one.differs)).collect();
        assert_eq!(found, [("team/narrow", 2, true), ("team/gone", 3, false)]);
    }

    fn id() -> PolicyId {
        PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "p".into() }
    }

    #[test]
    fn a_record_of_another_mode_is_not_of_this_step() {
        let kind = KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let object = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p", "generation": 2,
            "creationTimestamp": at(-9).to_string()}, "spec": {"validationFailureAction": "Enforce", "rules": []}});
        let mut policy = read_policy(kind, &object).unwrap();
        policy.entered = Some(Entered { at: at(899), by: EnteredBy::FieldManager, actor: "kubectl".into() });
        let policy = Arc::new(policy);
        let key = PolicyKey { source: "kyverno".into(), id: Arc::new(policy.id.clone()) };
        let row =
            PolicyRow { key, policy: Arc::clone(&policy), mode: Mode::Enforce, in_force: InForce::YES, native: false, rules: Vec::new() };
        let made = Made { generation: Some(2), created: Some(at(-9)) };
        let state = PolicyState { mode: Mode::Audit, ready: Some(true), revision: Some(policy.revision.clone()), made };
        let change = Change { at: at(0), state, actor: None, source: ChangeSource::Seen };
        let watched = vec![Interval { from: at(0), to: at(900) }];
        let records = Records { changes: vec![change], policies: watched.clone(), events: watched, ..Records::default() };
        let recorded = standing(&records, at(900)).unwrap();
        // It was made to enforce a second ago; the recorder still has it in audit, for a quarter of an hour.
        let (start, observed) = weigh(Some(&recorded), &row, Some(Mode::Enforce), false);
        assert_eq!((start.map(|start| start.at), observed.is_some()), (Ok(at(900)), false), "watched in audit until then");
        let (start, observed) = weigh(Some(&recorded), &row, Some(Mode::Audit), false);
        assert_eq!((start.map(|start| start.at), observed.is_some()), (Ok(at(0)), true));
    }
}
