//! What screens and commands see of the fleet: immutable, complete for one moment, cheap to share.
//!
//! An environment publishes a new [`EnvironmentView`] when something visible changed, at most thirty times a second. Its size
//! grows with the number of policies, never with the number of findings; rows behind a number are asked for ([`super::query`]).

use crate::domain::history::{EVENTS_KEPT, Made};
use crate::domain::time::brief;
use crate::domain::{
    InForce, Insecure, Link, Mode, PolicyId, PolicyKey, Readiness, ResourceRef, Revision, Severity, Sync, Tally, Tier, clean,
};
use crate::fleet::delta::Existence;
use crate::fleet::query::ReportRef;
use crate::kinds::KindId;
use crate::kinds::report::source_of_kind;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Clocks that are further apart are reported.
const CLOCKS_AGREE: SignedDuration = SignedDuration::from_mins(1);

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

impl PolicyCell {
    /// Whether nothing reports on it: Kyverno does not on most policies that the API server judges by. What results a CEL policy of those has
    /// are from before.
    pub fn is_silent(&self) -> bool {
        self.native && (self.findings.total() == 0 || self.key.id.group == "policies.kyverno.io")
    }

    /// Findings by workload, with what would be blocked among the failures, whatever word reports have for it.
    pub fn by_workload(&self) -> Tally {
        let warned = if self.unscored { self.owners.warn } else { 0 };
        Tally { fail: self.owners.fail.saturating_add(warned), warn: self.owners.warn - warned, ..self.owners }
    }

    /// Blocked requests; `None` where it may have blocked some that no event shows. What cannot block has none.
    pub fn blocks(&self) -> Option<u64> {
        self.blocked.or((!self.mode.can_block()).then_some(0))
    }
}

impl EnvironmentView {
    /// Whether its numbers count everything, and everything surely.
    pub fn is_certain(&self) -> bool {
        self.complete && self.cells.iter().all(|cell| cell.doubt.is_none())
    }

    /// The same after the task behind it has ended because of an error of our own: nothing in it is of now any more.
    #[must_use]
    pub fn ended(&self, why: String, now: Timestamp) -> Self {
        let stale = |sync: &Sync| if *sync == Sync::Live { Sync::Stale { since: now } } else { sync.clone() };
        let kinds = self.kinds.iter().map(|kind| KindView { sync: stale(&kind.sync), ..kind.clone() }).collect();
        let cells = self.cells.iter().map(|cell| PolicyCell { complete: false, ..cell.clone() }).collect();
        Self { link: Link::Unreachable { why }, complete: false, kinds, cells, generation: self.generation + 1, ..self.clone() }
    }

    /// The cell of a policy by who reports on it; cells are sorted by that key.
    pub fn cell(&self, key: &PolicyKey) -> Option<&PolicyCell> {
        let at = self.cells.binary_search_by(|cell| cell.key.cmp(key)).ok()?;
        self.cells.get(at)
    }

    /// How far the clock here is from the API server's, where that is more than a minute, in words.
    pub fn clock_note(&self) -> Option<String> {
        let skew = self.skew.filter(|skew| skew.abs() > CLOCKS_AGREE)?;
        let where_it_is = if skew.is_negative() { "ahead of" } else { "behind" };
        Some(format!(
            "the clock of this machine is {} {where_it_is} the API server's; soak, freeze and ages are by the server's",
            brief(skew.abs())
        ))
    }

    /// How long an event is surely there: an hour, unless the cluster shows that it keeps them shorter.
    pub fn events_kept(&self) -> SignedDuration {
        self.events_kept.map_or(EVENTS_KEPT, |kept| kept.min(EVENTS_KEPT))
    }

    /// Blocked requests of a policy that is not there; `None` where one would not show.
    pub fn blocked_elsewhere(&self) -> Option<u64> {
        self.blocks_held.filter(|_| self.makes_events == Some(true)).map(|_| 0)
    }

    /// The cell of a policy, whoever reports on it.
    pub fn cell_of(&self, policy: &PolicyId) -> Option<&PolicyCell> {
        self.cells.iter().find(|cell| *cell.key.id == *policy)
    }
}

/// One environment at one moment.
#[derive(Debug, Clone, Default)]
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
    /// Whether blocked requests make events in Kyverno; `None` where that may not be read.
    pub makes_events: Option<bool>,
    /// Whether Kyverno answers its webhooks.
    pub answers: InForce,
    /// How long the cluster keeps events, as far as it shows.
    pub events_kept: Option<SignedDuration>,
    /// The namespaces that it is limited to, with wildcards; none where all are seen.
    pub namespaces: Arc<[String]>,
    /// What of the connection to its API server is open to others.
    pub insecure: Vec<Insecure>,
    /// Whether the server answers.
    pub link: Link,
    /// Whether every number below counts everything: all kinds that can exist are live.
    pub complete: bool,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    /// How far the server's clock is ahead of the one here; `None` where its answers carry no time.
    pub skew: Option<SignedDuration>,
    /// State of every kind that is streamed, in the order of the registry.
    pub kinds: Vec<KindView>,
    /// Findings, stale ones left out.
    pub findings: Tally,
    /// Findings collapsed to top owners.
    pub owners: Tally,
    /// What the reports' summaries add up to, known before their results are; `None` once those are complete.
    pub summaries: Option<Tally>,
    /// Blocked requests of all policies whose events the cluster still holds; `None` where there may be some that no event shows.
    pub blocked: Option<u64>,
    /// Blocked requests of which events are held, whether or not there may be others; `None` where events cannot be read.
    pub blocks_held: Option<u64>,
    /// Results and objects that could not be read, and were left out.
    pub malformed: u64,
    /// Results of policies or rules that no longer exist, and were left out.
    pub stale: u64,
    /// Results of Kyverno that speak for another namespace than their report's, and were left out.
    pub foreign: u64,
    /// Results of Kyverno that another client wrote last. They count.
    pub unverified: u64,
    /// Failing results of policies that no report has any more, see [`PolicyCell::disappeared`].
    pub disappeared: u64,
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

/// Why violations are unknown where Kyverno cannot report any.
pub const NO_REPORTS: &str =
    "Kyverno is installed, but no report API is served (wgpolicyk8s.io v1alpha2 or openreports.io v1alpha1): violations are unknown";

/// Whether Kyverno is there and no report API: what it found cannot be seen, which is not the same as nothing.
pub fn lacks_reports(kinds: &[KindView]) -> bool {
    let of = |groups: [&'static str; 2]| kinds.iter().filter(move |kind| groups.contains(&kind.group));
    let mut reports = of(["wgpolicyk8s.io", "openreports.io"]).peekable();
    let installed = of(["kyverno.io", "policies.kyverno.io"]).any(|kind| kind.sync != Sync::NotInstalled);
    installed && reports.peek().is_some() && reports.all(|kind| kind.sync == Sync::NotInstalled)
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
    /// Objects that exist and are left out: too big, not readable, or without room.
    pub left_out: u64,
}

impl KindView {
    /// Whether nothing of this kind is missing.
    pub fn is_whole(&self) -> bool {
        self.sync.is_complete() && self.left_out == 0
    }

    /// Why something of it is missing, as a predicate of the kind; `None` where nothing is.
    pub fn lack(&self) -> Option<String> {
        match (self.sync.is_complete(), self.left_out) {
            (true, 0) => None,
            (true, 1) => Some("incomplete: 1 object could not be read".to_owned()),
            (true, count) => Some(format!("incomplete: {count} objects could not be read")),
            (false, _) => Some(self.sync.as_str().to_owned()),
        }
    }
}

/// Failing results that no report has any more. A report is deleted with its resource; where the resource stays, nothing was evaluated, and nothing passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Disappeared {
    /// How many.
    pub results: u64,
    /// The first of them.
    pub resource: Arc<ResourceRef>,
    /// The report that had it.
    pub report: ReportRef,
    /// When it disappeared.
    pub since: Timestamp,
    /// Whether its resource exists; `None` where that is being read.
    pub existence: Option<Existence>,
    /// When Kyverno will have evaluated all of them again, if they still violate; `None` where it does not scan.
    pub until: Option<Timestamp>,
}

impl Disappeared {
    /// For people, without a full stop.
    pub fn in_words(&self) -> String {
        let results = if self.results == 1 { "a failing result".to_owned() } else { format!("{} failing results", self.results) };
        let at = self.since.strftime("%H:%M UTC");
        let place = Some(&self.resource.namespace).filter(|namespace| !namespace.is_empty());
        let place = place.map_or_else(String::new, |namespace| format!(" in {}", clean(namespace)));
        let resource = format!("{}{place}", clean(&self.resource.to_string()));
        let report = &self.report;
        match &self.existence {
            None => format!("{results} disappeared at {at}; whether {resource} still exists is being read"),
            Some(Existence::NotRead { why }) => {
                format!("{results} disappeared from {report} at {at}, and whether {resource} still exists cannot be read: {}", clean(why))
            }
            // One that is gone is none of these.
            Some(Existence::Exists | Existence::Gone) => {
                let scan =
                    self.until.map_or_else(String::new, |until| format!("; the next scan shows, by {}", until.strftime("%H:%M UTC")));
                format!("{results} disappeared from {report} at {at}, and {resource} still exists{scan}")
            }
        }
    }
}

/// One policy in one environment: a cell of the violations screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyCell {
    /// Which policy, reported by which source.
    pub key: PolicyKey,
    /// What it does here; `Absent` where only results remain (then all are stale or of another tool: `Unknown`).
    pub mode: Mode,
    /// What its status says.
    pub ready: Readiness,
    /// Whether requests really meet it now.
    pub in_force: InForce,
    /// The API server judges by a native policy that was generated from it.
    pub native: bool,
    /// Hash of what it says; `None` for policies known only from reports.
    pub revision: Option<Revision>,
    /// Which object it is, and which of its specs.
    pub made: Made,
    /// Severity of the policy, else the worst among its findings.
    pub severity: Option<Severity>,
    /// Category.
    pub category: Option<Arc<str>>,
    /// Findings, stale ones left out.
    pub findings: Tally,
    /// Findings collapsed to top owners.
    pub owners: Tally,
    /// Reports call its failures warnings (annotation `policies.kyverno.io/scored: "false"`).
    pub unscored: bool,
    /// Blocked requests; `None` where there may be some that no event shows.
    pub blocked: Option<u64>,
    /// Results of this policy that are stale: it, or the rule, no longer exists.
    pub stale: u64,
    /// Results of this policy that speak for another namespace than their report's: they are in no tally.
    pub foreign: u64,
    /// Results of this policy that a client other than Kyverno wrote last, according to their reports. They count.
    pub unverified: u64,
    /// Failing results of this policy that no report has any more, although what they were about was not deleted, as far as it shows.
    pub disappeared: Option<Arc<Disappeared>>,
    /// Newest evaluation among its results.
    pub evaluated_at: Option<Timestamp>,
    /// Results that an exception excused.
    pub excepted: u64,
    /// Whether these numbers count everything.
    pub complete: bool,
    /// Why they may not, although everything was read: results that may be this policy's or another's.
    pub doubt: Option<Arc<str>>,
}
