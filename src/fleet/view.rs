//! What screens and commands see of the fleet: immutable, complete for one moment, cheap to share.
//!
//! An environment publishes a new [`EnvironmentView`] when something visible changed, at most thirty times a second. Its size
//! grows with the number of policies, never with the number of findings; rows behind a number are asked for ([`super::query`]).

use crate::domain::{Link, Mode, PolicyId, PolicyKey, Readiness, Revision, Severity, Sync, Tally, Tier};
use crate::kinds::KindId;
use crate::kinds::report::source_of_kind;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// All environments, in the order of the configuration (the road).
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    /// One view per environment.
    pub environments: Vec<Arc<EnvironmentView>>,
}

impl FleetView {
    /// A policy as those who report on it call it; in the environment that is named, if it is there, else anywhere. Nothing for what is no policy.
    pub fn key_of(&self, environment: &str, policy: &PolicyId) -> Option<PolicyKey> {
        KindId::find(&policy.group, &policy.kind)?;
        let seen = self.environment(environment).and_then(|view| view.cell_of(policy));
        let seen = seen.or_else(|| self.environments.iter().find_map(|view| view.cell_of(policy)));
        Some(seen.map_or_else(
            || PolicyKey {
                source: Arc::from(source_of_kind(&policy.group, &policy.kind).unwrap_or_default()),
                id: Arc::new(policy.clone()),
            },
            |cell| cell.key.clone(),
        ))
    }

    /// An environment by its name.
    pub fn environment(&self, name: &str) -> Option<&Arc<EnvironmentView>> {
        self.environments.iter().find(|environment| *environment.name == *name)
    }
}

impl EnvironmentView {
    /// The cell of a policy by who reports on it; cells are sorted by that key.
    pub fn cell(&self, key: &PolicyKey) -> Option<&PolicyCell> {
        let at = self.cells.binary_search_by(|cell| cell.key.cmp(key)).ok()?;
        self.cells.get(at)
    }

    /// The cell of a policy, whoever reports on it.
    pub fn cell_of(&self, policy: &PolicyId) -> Option<&PolicyCell> {
        self.cells.iter().find(|cell| *cell.key.id == *policy)
    }
}

/// One environment at one moment.
#[derive(Debug, Clone)]
pub struct EnvironmentView {
    /// Name from the configuration.
    pub name: Arc<str>,
    /// Normal or production.
    pub tier: Tier,
    /// kubeconfig context.
    pub context: Arc<str>,
    /// URL of the API server, once known.
    pub server: Option<Arc<str>>,
    /// UID of the namespace `kube-system`, which identifies the cluster.
    pub cluster_uid: Option<Arc<str>>,
    /// Kubernetes version, e.g. `v1.36.3`.
    pub kubernetes: Option<Arc<str>>,
    /// Kyverno version, e.g. `v1.19.1`, or what could be told of it from the API (`≥1.17`).
    pub kyverno: Option<Arc<str>>,
    /// How often Kyverno scans everything again; `None` where it does not, or where that may not be read.
    pub scan_interval: Option<SignedDuration>,
    /// Whether the server answers.
    pub link: Link,
    /// Whether every number below counts everything: all kinds that can exist are live.
    pub complete: bool,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    /// State of every kind that is streamed, in the order of the registry.
    pub kinds: Vec<KindView>,
    /// Findings, stale ones left out.
    pub findings: Tally,
    /// Findings collapsed to top owners.
    pub owners: Tally,
    /// What the reports' summaries add up to, known before their results are; `None` once those are complete.
    pub summaries: Option<Tally>,
    /// Refused admissions whose events the cluster still holds; `None` where events cannot be read.
    pub blocked: Option<u64>,
    /// Results and objects that could not be read, and were left out.
    pub malformed: u64,
    /// Results of policies or rules that no longer exist, and were left out.
    pub stale: u64,
    /// Policies of all kinds.
    pub policies: u64,
    /// Exceptions of both groups.
    pub exceptions: u64,
    /// Sentences worth knowing about these numbers: owners guessed by name, reports skipped, defaults assumed.
    pub notes: Vec<Arc<str>>,
    /// One cell per policy that exists here or has findings here, sorted by key.
    pub cells: Arc<[PolicyCell]>,
    /// Rises with every published view of this environment.
    pub generation: u64,
    /// Rises when findings, policies or exceptions changed: rows asked for earlier are out of date.
    pub content: u64,
}

/// State of one kind's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct KindView {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// State.
    pub sync: Sync,
    /// Objects held.
    pub objects: u64,
    /// Whether numbers are incomplete while this kind is (owners and namespaces only refine them).
    pub essential: bool,
}

/// One policy in one environment: a cell of the violations screen.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyCell {
    /// Which policy, reported by which source.
    pub key: PolicyKey,
    /// What it does here; `Absent` where only results remain (then all are stale or of another tool: `Unknown`).
    pub mode: Mode,
    /// Whether it is in force.
    pub ready: Readiness,
    /// Hash of what it says; `None` for policies known only from reports.
    pub revision: Option<Revision>,
    /// Severity of the policy, else the worst among its findings.
    pub severity: Option<Severity>,
    /// Category.
    pub category: Option<Arc<str>>,
    /// Findings, stale ones left out.
    pub findings: Tally,
    /// Findings collapsed to top owners.
    pub owners: Tally,
    /// Refused admissions; `None` where events cannot be read.
    pub blocked: Option<u64>,
    /// Results of this policy that are stale: it, or the rule, no longer exists.
    pub stale: u64,
    /// Newest evaluation among its results.
    pub evaluated_at: Option<Timestamp>,
    /// Results that an exception excused.
    pub excepted: u64,
    /// Whether these numbers count everything.
    pub complete: bool,
}
