//! Gates over a running engine: gathering what they are judged from.
//!
//! What lives here: the questions that are asked of environments, and whoever observed them over time. What does not: the verdict (`ops::gate`).
//! Nothing is asked of an API server: all of it is in what is streamed.

use super::{EngineHandle, HistoryReader};
use crate::domain::history::{Asked, ChangeSource, EnvironmentKey, Interval, Refused, Standing as Recorded, cover, refused};
use crate::domain::{Gate, Hold, Mode, PolicyId, PolicyKey};
use crate::fleet::query::{ExceptionRow, PolicyRow};
use crate::fleet::view::{EnvironmentView, FleetView, KindView};
use crate::ops::gate::{Evidence, Metrics, Observed, Question, Relied, Start, judge};
use crate::ops::road::{Road, RoadStep, Standing};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What was gathered of all environments for one moment.
#[derive(Debug)]
pub struct Gathered {
    fleet: Arc<FleetView>,
    environments: HashMap<Arc<str>, Known>,
    /// What was recorded of policies where they stand.
    recorded: HashMap<(Arc<str>, PolicyKey), Recorded>,
    /// How it went to ask Prometheus, by environment; nothing of an environment for which none is configured.
    metrics: HashMap<Arc<str>, Metrics>,
}

/// What one environment answered; `None` where it did not.
#[derive(Debug, Default)]
struct Known {
    policies: Option<Vec<PolicyRow>>,
    exceptions: Option<Vec<ExceptionRow>>,
    oldest: HashMap<PolicyKey, Option<Timestamp>>,
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
            oldest: if here {
                engine.oldest_results(&view.name, key).await.unwrap_or_default().into_iter().collect()
            } else {
                HashMap::new()
            },
        };
        environments.insert(Arc::clone(&view.name), known);
    }
    let mut gathered = Gathered { fleet, environments, recorded: HashMap::new(), metrics: HashMap::new() };
    for environment in road.environments().iter().filter(|environment| environment.prometheus.is_some()) {
        let asked = gathered.asked(&environment.name, history).await;
        let metrics = asked.map_or(Metrics::NotAsked, |Asked { at, answered, why }| Metrics::Asked { at, answered, why });
        gathered.metrics.insert(Arc::from(environment.name.as_str()), metrics);
    }
    if let Some(history) = history {
        let policies = policy.map_or_else(|| gathered.with_action(), |policy| vec![policy.clone()]);
        for policy in policies {
            if let Some((environment, recorded)) = gathered.recorded(road, &policy, history, now).await {
                gathered.recorded.insert(environment, recorded);
            }
        }
    }
    gathered
}

fn exceptions_are_known(view: &EnvironmentView) -> bool {
    let readable = |kind: &KindView| kind.kind != "PolicyException" || kind.sync.is_complete();
    !view.kinds.is_empty() && view.kinds.iter().all(readable)
}

/// Whether every policy of this kind is seen: else one that is not there may only not have been read yet.
fn is_read(view: &EnvironmentView, policy: &PolicyId) -> bool {
    let kind = view.kinds.iter().find(|kind| kind.kind == policy.kind && kind.group == policy.group);
    view.link.is_up() && kind.is_some_and(|kind| kind.sync.is_complete())
}

impl Gathered {
    /// Every policy of any environment with an action on violations, in order: only such a policy has a road.
    pub fn with_action(&self) -> Vec<PolicyId> {
        let rows = self.environments.values().filter_map(|known| known.policies.as_ref()).flatten();
        let acting = rows.filter(|row| row.rules.iter().any(|rule| rule.rule_type.has_action()));
        let ids: BTreeSet<&PolicyId> = acting.map(|row| &*row.key.id).collect();
        ids.into_iter().cloned().collect()
    }

    /// The gate between where a policy stands and the step that `to` names (`ENV`, `ENV:MODE`; nothing names the next step).
    ///
    /// # Errors
    /// Why there is no such step, in words.
    pub fn gate(&self, road: &Road, policy: &PolicyId, to: Option<&str>, now: Timestamp) -> Result<Gate, String> {
        let standing = road.standing(policy, &self.fleet);
        let to = road.target(to, standing)?;
        Ok(self.gate_to(road, policy, standing, to, now))
    }

    fn gate_to(&self, road: &Road, policy: &PolicyId, standing: Standing, to: RoadStep, now: Timestamp) -> Gate {
        let place = match standing {
            Standing::Nowhere => None,
            Standing::On(step) => Some(step.environment),
            Standing::Beside { environment, .. } => Some(environment),
        };
        let name = place.map(|place| road.name(place));
        let view = name.as_ref().and_then(|name| self.fleet.environment(name));
        let mut evidence = view.map(|view| self.evidence(view, policy)).unwrap_or_default();
        let target = road.name(to.environment);
        // A hold where it would go counts as well as one where it is.
        evidence.holds = match (view, self.holds(&target, policy)) {
            (None, there) => there,
            (Some(_), there) if name.as_ref() == Some(&target) => there,
            (Some(_), there) => evidence.holds.zip(there).map(|(here, there)| [here, there].concat()),
        };
        judge(road, &Question { policy, standing: &standing, to, environment: view.map(|view| &**view), evidence: &evidence, now })
    }

    fn row(&self, environment: &str, policy: &PolicyId) -> Option<&PolicyRow> {
        self.environments.get(environment)?.policies.as_ref()?.iter().find(|row| *row.key.id == *policy)
    }

    /// Holds on a policy in an environment; none where it is not there, `None` where that is not known.
    fn holds(&self, environment: &str, policy: &PolicyId) -> Option<Vec<Hold>> {
        let view = self.fleet.environment(environment)?;
        self.environments.get(environment)?.policies.as_ref().filter(|_| is_read(view, policy))?;
        Some(self.row(environment, policy).and_then(|row| row.policy.hold.clone()).into_iter().collect())
    }

    fn evidence(&self, view: &EnvironmentView, policy: &PolicyId) -> Evidence {
        let Some(row) = self.row(&view.name, policy) else { return Evidence::default() };
        let known = self.environments.get(&view.name);
        let told = told(row);
        let recorded = self.recorded.get(&(Arc::clone(&view.name), row.key.clone()));
        let (start, observed) = match recorded {
            Some(recorded) => {
                let mode = view.cell(&row.key).map(|cell| cell.mode);
                weigh(recorded, told, row, mode)
            }
            None => (told, None),
        };
        let exceptions = known.and_then(|known| known.exceptions.as_ref());
        Evidence {
            start,
            observed,
            oldest_result: known.and_then(|known| known.oldest.get(&row.key).copied().flatten()),
            exceptions: exceptions.map(|rows| rows.iter().filter(|row| names(row, policy)).map(relied).collect()),
            holds: self.holds(&view.name, policy),
            metrics: self.metrics.get(&view.name).cloned().unwrap_or_default(),
        }
    }

    /// How it went to ask Prometheus about an environment last.
    async fn asked(&self, environment: &str, history: Option<&HistoryReader>) -> Option<Asked> {
        let cluster_uid = self.fleet.environment(environment)?.cluster_uid.as_deref()?.to_owned();
        history?.asked(EnvironmentKey { name: environment.to_owned(), cluster_uid }).await.ok().flatten()
    }

    /// What is on record of a policy where it stands.
    async fn recorded(
        &self,
        road: &Road,
        policy: &PolicyId,
        history: &HistoryReader,
        now: Timestamp,
    ) -> Option<((Arc<str>, PolicyKey), Recorded)> {
        let place = match road.standing(policy, &self.fleet) {
            Standing::Nowhere => return None,
            Standing::On(step) => step.environment,
            Standing::Beside { environment, .. } => environment,
        };
        let name = road.name(place);
        let view = self.fleet.environment(&name)?;
        let key = self.row(&name, policy)?.key.clone();
        let environment = EnvironmentKey { name: name.to_string(), cluster_uid: view.cluster_uid.as_deref()?.to_owned() };
        // What cannot be read is as if nobody had recorded it.
        let recorded = history.standing(environment, key.clone(), now).await.ok().flatten()?;
        Some(((name, key), recorded))
    }
}

/// The start that counts, and what was seen since. What a recorder saw happen goes first; where it only found the policy as it is, the object itself may
/// know of an earlier moment. Where it was away while somebody wrote, it does not know what was written.
///
/// A record of another revision or mode is of another step: the recorder has not written down yet what is `mode` now.
pub(super) fn weigh(recorded: &Recorded, told: Option<Start>, row: &PolicyRow, mode: Option<Mode>) -> (Option<Start>, Option<Observed>) {
    let same_mode = mode.is_some_and(|mode| mode == recorded.state.mode || mode == Mode::NotReady);
    let is_this = same_mode && recorded.state.revision.as_ref() == Some(&row.policy.revision);
    if !is_this {
        return (told, None);
    }
    let missed = |at: Timestamp| recorded.policy_gaps.iter().any(|gap| gap.from <= at && at <= gap.to);
    let seen = Start { at: recorded.since, revision: row.policy.revision.0.clone(), source: "seen by the recorder".to_owned() };
    let start = match told {
        Some(told) if recorded.source != ChangeSource::Seen || missed(told.at) => told,
        _ => seen,
    };
    let before = before(recorded, &start);
    let both = |before: &[Interval], since: &[Interval]| {
        // What touches is one gap to whoever reads it.
        cover([before, since].concat()).iter().map(|gap| (gap.from, gap.to)).collect()
    };
    let observed = Observed {
        clean: recorded.observed(),
        blocked: recorded.blocked.saturating_add(before.blocked),
        blocked_by_prometheus: recorded.blocked_by_fills.saturating_add(before.by_fills),
        gaps: both(&before.gaps, &recorded.event_gaps),
        filled: both(&before.filled, &recorded.filled),
    };
    (Some(start), Some(observed))
}

/// What is known of refused admissions before the record began: nobody watched, but Prometheus may have told.
fn before(recorded: &Recorded, start: &Start) -> Refused {
    let before = (start.at < recorded.since).then_some(Interval { from: start.at, to: recorded.since });
    before.map(|before| refused(&[], &[], &recorded.fills, before)).unwrap_or_default()
}

/// When nobody watched events since the start and Prometheus did not tell either, whether events told of it afterwards or not: one can be lost, so it is
/// worth asking.
pub(super) fn unwatched(recorded: &Recorded, start: &Start) -> Vec<Interval> {
    cover([before(recorded, start).gaps, recorded.unwatched.clone()].concat())
}

/// What the object itself tells of its start.
pub(super) fn told(row: &PolicyRow) -> Option<Start> {
    let entered = row.policy.entered.clone()?;
    Some(Start { at: entered.at, revision: row.policy.revision.0.clone(), source: entered.source })
}

fn names(row: &ExceptionRow, policy: &PolicyId) -> bool {
    let exception = &row.exception;
    exception.group == policy.group && exception.policies.iter().any(|(name, _)| *name == policy.report_name() || *name == policy.name)
}

fn relied(row: &ExceptionRow) -> Relied {
    let exception = &row.exception;
    Relied { name: format!("{}/{}", exception.namespace, exception.name), expires_at: exception.expires_at, uses: row.uses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::{Change, Interval, PolicyState, Records, standing};
    use crate::kinds::{KindId, read_policy};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    #[test]
    fn a_record_of_another_mode_is_not_of_this_step() {
        let kind = KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let object = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"validationFailureAction": "Enforce", "rules": []}});
        let policy = Arc::new(read_policy(kind, &object).unwrap());
        let key = PolicyKey { source: "kyverno".into(), id: Arc::new(policy.id.clone()) };
        let row = PolicyRow { key, policy: Arc::clone(&policy), mode: Mode::Enforce, rules: Vec::new() };
        let state = PolicyState { mode: Mode::Audit, ready: Some(true), revision: Some(policy.revision.clone()) };
        let change = Change { at: at(0), state, actor: None, source: ChangeSource::Seen };
        let watched = vec![Interval { from: at(0), to: at(900) }];
        let records = Records { changes: vec![change], policies: watched.clone(), events: watched, ..Records::default() };
        let recorded = standing(&records, at(900)).unwrap();
        let told = Start { at: at(899), revision: policy.revision.0.clone(), source: "annotation".to_owned() };
        // It was made to enforce a second ago; the recorder still has it in audit, for a quarter of an hour.
        let (start, observed) = weigh(&recorded, Some(told.clone()), &row, Some(Mode::Enforce));
        assert_eq!((start.map(|start| start.at), observed.is_some()), (Some(at(899)), false));
        let (start, observed) = weigh(&recorded, Some(told), &row, Some(Mode::Audit));
        assert_eq!((start.map(|start| start.at), observed.is_some()), (Some(at(0)), true));
    }
}
