//! The items of the documents, with the names that scripts rely on.
//!
//! What lives here: the shape of JSON and YAML. How they are made from views is in `status`, `violations`, `findings` and
//! `policies`; how they look as a table in `rows`.

use crate::domain::{Force, InForce, Insecure, ManagedBy, Mode, Pending, PolicyId, ResourceRef, Revision, Severity, Tally, Tier};
use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusItem {
    /// Name.
    pub name: String,
    /// Normal or production.
    pub tier: Tier,
    /// kubeconfig context.
    pub context: String,
    /// URL of the API server.
    pub server: Option<String>,
    /// UID of the namespace `kube-system`.
    pub cluster_uid: Option<String>,
    /// Kubernetes version.
    pub kubernetes: Option<String>,
    /// Kyverno version.
    pub kyverno: Option<String>,
    /// State of the link.
    pub state: &'static str,
    /// Whether every number counts everything.
    pub complete: bool,
    /// All, or the namespaces it is limited to: what is complete is complete for these.
    pub scope: Vec<String>,
    /// What of the connection is open to others: `tls` (not verified), `plainHttp` (carries credentials).
    pub insecure: Vec<Insecure>,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    /// How far the API server's clock is ahead of this machine's.
    pub clock_skew_seconds: Option<i64>,
    /// State of every kind.
    pub kinds: Vec<KindItem>,
    /// Findings.
    pub findings: Option<Tally>,
    /// Findings by top owner.
    pub owners: Option<Tally>,
    /// Refused admissions.
    pub blocked: Option<u64>,
    /// What could not be read.
    pub malformed: Option<u64>,
    /// Results whose policy or rule no longer exists.
    pub stale: Option<u64>,
    /// Results of Kyverno that speak for another namespace than their report's.
    pub foreign: Option<u64>,
    /// Results of Kyverno that another client wrote last. They count.
    pub unverified: Option<u64>,
    /// Failing results that no report has any more, although the resource was not deleted, as far as it shows.
    pub disappeared: Option<u64>,
    /// Policies.
    pub policies: Option<u64>,
    /// Exceptions.
    pub exceptions: Option<u64>,
    /// Why it is not complete, or what to know.
    pub message: Option<String>,
    /// Sentences about the numbers.
    pub notes: Vec<String>,
    /// What is committed and not applied yet; nothing where that is unknown, or the environment does not go through git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<Pending>>,
}

/// A kind's stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindItem {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// State.
    pub state: &'static str,
    /// Objects held; unknown before the first list.
    pub objects: Option<u64>,
}

/// A policy in all environments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViolationsItem {
    /// Which policy.
    pub policy: Arc<PolicyId>,
    /// Who reports on it.
    pub source: Arc<str>,
    /// The worst severity among the environments.
    pub severity: Option<Severity>,
    /// Every environment by name, in the order of the road.
    pub environments: Cells,
}

/// Environments by name; an object in JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells(pub Vec<(Arc<str>, CellItem)>);

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, cell) in &self.0 {
            map.serialize_entry(&**name, cell)?;
        }
        map.end()
    }
}

/// Whether requests really meet a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InForceItem {
    /// Whether.
    pub state: Force,
    /// What keeps them from it; empty where nothing does.
    pub reason: String,
}

impl From<&InForce> for InForceItem {
    fn from(in_force: &InForce) -> Self {
        Self { state: in_force.state, reason: in_force.reason() }
    }
}

/// A policy in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CellItem {
    /// What it does.
    pub mode: Mode,
    /// What its status says.
    pub ready: Option<bool>,
    /// Whether requests really meet it now.
    pub in_force: InForceItem,
    /// The API server judges by a native policy that was generated from it.
    pub native: bool,
    /// Hash of what it says.
    pub revision: Option<Revision>,
    /// Findings.
    pub findings: Option<Tally>,
    /// Findings by top owner.
    pub owners: Option<Tally>,
    /// Refused admissions.
    pub blocked: Option<u64>,
    /// Stale results.
    pub stale: Option<u64>,
    /// Results that speak for another namespace than their report's: in no tally.
    pub foreign: Option<u64>,
    /// Results that a client other than Kyverno wrote last. They count.
    pub unverified: Option<u64>,
    /// Failing results that no report has any more, although the resource was not deleted, as far as it shows.
    pub disappeared: Option<u64>,
    /// Newest evaluation.
    pub evaluated_at: Option<Timestamp>,
    /// Whether the numbers count everything.
    pub complete: bool,
    /// It is there, and out of scope.
    #[serde(skip)]
    pub left_out: bool,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingItem {
    /// Environment.
    pub environment: Arc<str>,
    /// Who reported it.
    pub source: Arc<str>,
    /// Which policy.
    pub policy: Arc<PolicyId>,
    /// Which rule; empty for CEL kinds.
    pub rule: Arc<str>,
    /// Result.
    pub result: crate::domain::FindingResult,
    /// Severity.
    pub severity: Option<Severity>,
    /// Category.
    pub category: Option<Arc<str>>,
    /// The engine's message.
    pub message: Arc<str>,
    /// The resource.
    pub resource: Arc<ResourceRef>,
    /// Its top owner.
    pub owner: Option<Arc<ResourceRef>>,
    /// Whether the owner was guessed by name.
    pub owner_guessed: bool,
    /// When it was evaluated.
    pub evaluated_at: Option<Timestamp>,
    /// Exceptions that excused it.
    pub exception: Option<Arc<str>>,
    /// The policy or rule no longer exists.
    pub stale: bool,
    /// Its report speaks for another namespace here: it counts nowhere.
    pub foreign: bool,
    /// The field manager of a result of Kyverno's that Kyverno has not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_by: Option<Arc<str>>,
    /// The old ReplicaSet, where only such violate and their Deployment itself passes.
    pub idle: Option<Arc<ResourceRef>>,
    /// The result's properties.
    pub properties: BTreeMap<Arc<str>, Arc<str>>,
}

/// A policy in one environment, with its rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyItem {
    /// Environment.
    pub environment: Arc<str>,
    /// Which policy.
    pub policy: Arc<PolicyId>,
    /// Who reports on it; empty for kinds that never report.
    pub source: Arc<str>,
    /// What it does.
    pub mode: Mode,
    /// What its status says.
    pub ready: Option<bool>,
    /// Whether requests really meet it now.
    pub in_force: InForceItem,
    /// The API server judges by a native policy that was generated from it.
    pub native: bool,
    /// Whether it looks at admission requests.
    pub admission: bool,
    /// Whether existing resources are scanned.
    pub background: bool,
    /// Hash of what it says.
    pub revision: Revision,
    /// Severity.
    pub severity: Option<Severity>,
    /// Category.
    pub category: Option<String>,
    /// Its rules.
    pub rules: Vec<RuleItem>,
    /// Which tool keeps it.
    pub managed_by: Option<ManagedBy>,
    /// The kind that replaces a deprecated one.
    pub deprecated: Option<&'static str>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleItem {
    /// Name; empty for CEL kinds.
    pub name: Arc<str>,
    /// What it does.
    #[serde(rename = "type")]
    pub rule_type: crate::domain::RuleType,
    /// What happens on a violation.
    pub mode: Mode,
    /// Overrides in words.
    pub overrides: Vec<String>,
}
