//! A policy as every kind of it is read: identity, rules, what it does, and who keeps it.

use super::{Action, Hold, Mode, RolledBack, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Identity of a policy within an environment: API group, kind, namespace (if namespaced) and name.
///
/// For a policy that is known only from another tool's reports, group and kind are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyId {
    /// API group, e.g. `kyverno.io`.
    pub group: String,
    /// Kind, e.g. `ClusterPolicy`.
    pub kind: String,
    /// Namespace of a namespaced policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl PolicyId {
    /// The name as reports write it: `name`, or `namespace/name` for namespaced policies.
    pub fn report_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.kind.is_empty() {
            write!(f, "{}/", self.kind)?;
        }
        f.write_str(&self.report_name())
    }
}

/// What a row of the violations screen is about: a policy and the source that reports on it.
///
/// One policy name may exist under several sources (a ClusterPolicy and the ValidatingAdmissionPolicy of the same name), so the source belongs to the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The `source` of its results; empty where a kind never reports (cleanup, deleting).
    pub source: Arc<str>,
    /// The policy.
    pub id: Arc<PolicyId>,
}

/// First twelve hex digits of the SHA-256 of the normalised spec without the mode: equal revisions say the same, whatever their mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether the policy is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// In force. ClusterPolicy/Policy: condition `Ready`. CEL kinds: `WebhookConfigured`, which is what blocks (`ready` may be false for want of report rights).
    Ready,
    /// Not in force (yet).
    NotReady,
    /// This kind has no such condition, or nothing has been written yet that would tell.
    #[default]
    Unknown,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleType {
    /// Checks resources.
    Validate,
    /// Checks image signatures and attestations.
    VerifyImages,
    /// Changes resources.
    Mutate,
    /// Creates resources.
    Generate,
    /// Deletes resources on a schedule.
    Delete,
}

impl RuleType {
    /// Whether violations of such a rule have an action (audit or enforce).
    pub fn has_action(self) -> bool {
        matches!(self, Self::Validate | Self::VerifyImages)
    }

    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::VerifyImages => "verify-images",
            Self::Mutate => "mutate",
            Self::Generate => "generate",
            Self::Delete => "delete",
        }
    }
}

/// One entry of `…failureActionOverrides` (Kyverno `api/kyverno/v1`): another action in some namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The action there.
    pub action: Action,
    /// Namespace names with `*` and `?` wildcards.
    pub namespaces: Vec<String>,
    /// Selector over namespace labels.
    pub selector: Option<LabelSelector>,
}

/// A Kubernetes label selector (`metav1.LabelSelector`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// All of these must hold.
    pub requirements: Vec<Requirement>,
}

/// The label that repeats a namespace's name; the API server adds it to each (Kubernetes ≥ 1.21).
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// One requirement of a label selector; `matchLabels` are read as `In` with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of the values.
    In(String, Vec<String>),
    /// The label is missing or has none of the values.
    NotIn(String, Vec<String>),
    /// The label exists.
    Exists(String),
    /// The label does not exist.
    DoesNotExist(String),
}

impl LabelSelector {
    /// Whether it looks at any label but the one that repeats the namespace's name, which every namespace has.
    pub fn asks_for_labels(&self) -> bool {
        self.requirements.iter().any(|requirement| {
            let (Requirement::In(key, _) | Requirement::NotIn(key, _) | Requirement::Exists(key) | Requirement::DoesNotExist(key)) =
                requirement;
            key != NAMESPACE_NAME
        })
    }

    /// Whether `labels` satisfy the selector; an empty selector matches everything.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

/// One rule of a policy. CEL kinds have one rule without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's name; empty for CEL kinds.
    pub name: String,
    /// What it does.
    pub rule_type: RuleType,
    /// The rule's own action (`validate.failureAction`, `verifyImages[].failureAction`: enforce if any entry says so), Kyverno 1.13 and later.
    pub action: Option<Action>,
    /// The rule's own overrides.
    pub overrides: Vec<Override>,
    /// The namespaces that it looks at.
    pub reach: Reach,
}

/// The namespaces that a rule looks at: all but the excluded ones, or only some (Kyverno `api/kyverno/v1/match_resources_types.go`; CEL kinds:
/// `spec.matchConstraints`). What a rule says besides about kinds, names, labels and users is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// It looks where all filters of one of these groups fit; everywhere, if there is none. `any` makes a group of each entry, `all` one of
    /// all entries.
    pub within: Vec<Vec<NamespaceFilter>>,
    /// It looks at nothing where all filters of one of these groups fit. What excludes only a part of a namespace's resources is left out.
    pub except: Vec<Vec<NamespaceFilter>>,
}

impl Rule {
    /// Whether it depends on a namespace's labels, beyond its name, where it looks and what it does there.
    pub fn asks_for_labels(&self) -> bool {
        let reach = self.reach.within.iter().chain(&self.reach.except).flatten().filter_map(|filter| filter.selector.as_ref());
        let overrides = self.overrides.iter().filter_map(|one| one.selector.as_ref());
        reach.chain(overrides).any(LabelSelector::asks_for_labels)
    }
}

impl Policy {
    /// Whether its mode in a namespace depends on the namespace's labels, beyond its name.
    pub fn asks_for_labels(&self) -> bool {
        let overrides = self.overrides.iter().filter_map(|one| one.selector.as_ref());
        self.rules.iter().any(Rule::asks_for_labels) || overrides.into_iter().any(LabelSelector::asks_for_labels)
    }
}

/// The requests that a policy asks for, as far as webhooks can leave any of them out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// Resources and operations.
    pub resources: Vec<MatchedResource>,
    /// CEL kinds: `matchConstraints.objectSelector`.
    pub object_selector: Option<LabelSelector>,
    /// CEL kinds: `matchConstraints.namespaceSelector`.
    pub namespace_selector: Option<LabelSelector>,
    /// Match conditions of its own, as (name, expression); such a policy has a webhook to itself.
    pub conditions: Vec<(String, String)>,
    /// `failurePolicy` is `Ignore`: the webhook that carries it is another one than for `Fail`.
    pub ignores_failures: bool,
}

/// Resources that a policy matches, and what has to happen to them. Each part may be `*`, and those of `kyverno.io` may have wildcards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchedResource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural of CEL kinds, kind of `kyverno.io`.
    pub name: String,
    /// `name` is a kind.
    pub is_kind: bool,
    /// Subresource; empty for the resource itself.
    pub subresource: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`; empty where the policy names none.
    pub operations: Vec<String>,
    /// What the rule does: verifying and changing happen in other webhooks than checking.
    pub rule_type: RuleType,
}

/// What one entry of `match` or `exclude` says about namespaces; both parts must fit (Kyverno `pkg/engine/utils/match.go`,
/// `doesResourceMatchConditionBlock`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceFilter {
    /// Namespace names with `*` and `?` wildcards; none means any.
    pub namespaces: Vec<String>,
    /// Selector over namespace labels.
    pub selector: Option<LabelSelector>,
    /// Whether its kinds leave room for Namespaces themselves, whose own name then counts as the namespace.
    pub namespaces_themselves: bool,
}

/// What only the CEL kinds of `policies.kyverno.io` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cel {
    /// `validationActions` holds `Deny`, or is missing (missing means deny).
    pub deny: bool,
    /// `validationActions` holds `Warn`.
    pub warn: bool,
    /// `validationActions` holds `Audit`.
    pub audit: bool,
    /// `evaluation.mode` is `Kubernetes` (or missing); `JSON`, `HTTP` and `Envoy` never meet admission.
    pub kubernetes: bool,
    /// Kyverno is to generate a MutatingAdmissionPolicy from it (`autogen.mutatingAdmissionPolicy.enabled`).
    pub generates: bool,
}

/// Which tool keeps an object and would put it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedBy {
    /// `Argo CD`, `Flux`, `Helm`, `Fleet`, `Config Sync`, `kapp`, `Kyverno`.
    pub tool: String,
    /// The tool's own name for it: application, kustomization, release.
    pub reference: String,
}

/// The moment from which on a policy is what it is, as the object itself proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// When, by the API server's clock. It may be later than the change, never earlier.
    pub at: Timestamp,
    /// What proves it.
    pub by: EnteredBy,
    /// Who wrote it: the field manager, or whom our annotation names; empty where the object was created so.
    pub actor: String,
}

/// What proves a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnteredBy {
    /// Our own annotations, written for the revision and generation that the object has.
    Stamp {
        /// The mode that they were written for.
        mode: String,
    },
    /// `managedFields`, where they account for every change of the spec.
    FieldManager,
    /// `metadata.creationTimestamp`, where nothing changed since.
    Creation,
}

impl EnteredBy {
    /// Whether it is of that mode: a stamp counts for the one that it was written for. A policy that is not in force has the one that it will have.
    pub fn is_of(&self, mode: Mode) -> bool {
        match self {
            Self::Stamp { mode: written } => written == mode.as_str() || mode == Mode::NotReady,
            Self::FieldManager | Self::Creation => true,
        }
    }
}

/// A policy of any kind, as read from its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Identity.
    pub id: PolicyId,
    /// The `source` that its results carry in reports; empty for kinds that never report.
    pub source: &'static str,
    /// Annotation `policies.kyverno.io/severity`.
    pub severity: Option<Severity>,
    /// Annotation `policies.kyverno.io/category`.
    pub category: Option<String>,
    /// Rules in the order of the spec.
    pub rules: Vec<Rule>,
    /// Action of the spec (`spec.validationFailureAction`); CEL kinds: enforce where `Deny` is among the actions.
    pub action: Action,
    /// Overrides of the spec.
    pub overrides: Vec<Override>,
    /// CEL kinds only.
    pub cel: Option<Cel>,
    /// Whether it looks at admission requests at all.
    pub admission: bool,
    /// Whether existing resources are scanned.
    pub background: bool,
    /// `spec.emitWarning` (1.13 and later): an audited violation warns the client.
    pub emit_warning: bool,
    /// Whether it is in force.
    pub ready: Readiness,
    /// Annotation `policies.kyverno.io/scored` is not `"false"`; with that, reports call a failure a warning.
    pub scored: bool,
    /// A native ValidatingAdmissionPolicy was generated: the API server refuses, Kyverno's webhook does not.
    pub native: bool,
    /// The requests that it asks for.
    pub matches: Matches,
    /// Hash of what it says, without its mode.
    pub revision: Revision,
    /// Which tool keeps it.
    pub managed_by: Option<ManagedBy>,
    /// The kind that replaces a deprecated kind.
    pub deprecated: Option<&'static str>,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when it may be what it is; `None` where nothing tells.
    pub entered: Option<Entered>,
    /// Whether somebody holds it.
    pub hold: Option<Hold>,
    /// Which revision was rolled back here last, if that is remembered.
    pub rolled_back: Option<RolledBack>,
}
