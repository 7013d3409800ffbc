//! The only place that knows a Kubernetes kind's fields: which kinds are streamed, and how their objects are read.
//!
//! What lives here: the registry, one reader per kind of object, revisions, modes and how they are set, and who keeps an object. What does not: network
//! and state. Objects travel as JSON values everywhere else, so a field that nobody here reads is never lost.
//!
//! A new kind is one file (or one function in its family's file) and one line in [`REGISTRY`].

mod authorship;
mod cel;
mod cleanup;
mod cluster_policy;
pub mod edit;
mod entered;
mod event;
mod exception;
pub mod hold;
pub mod in_force;
mod json;
pub mod managed_by;
mod matches;
mod meta;
pub mod metrics;
pub mod mode;
mod namespace;
pub mod native;
pub mod ownership;
mod reach;
mod release;
pub mod report;
pub mod revision;
pub mod rolled_back;
mod scoped;
pub mod secret;
mod selector;
pub mod served;
pub mod set_mode;
pub mod transfer;
pub mod webhook;
mod wildcard;

pub use authorship::{FIELD_MANAGER, author_of};
pub use event::{BlockedAdmission, event_time, read_event};
pub use exception::{ExcusedBy, excused_by, names_exceptions};
pub use namespace::Namespace;
pub use release::Release;
pub use scoped::is_cluster_scoped;

use crate::domain::{Exception, Policy};
use serde_json::Value;
use std::fmt;

/// What an object of a kind is to policydeck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A policy: [`read_policy`].
    Policy,
    /// An exception: [`read_exception`].
    Exception,
    /// A report with findings.
    Report,
    /// An event: [`read_event`].
    Event,
    /// A namespace: [`Namespace::read`].
    Namespace,
    /// Something that may own the resource of a finding; only its metadata is asked for.
    Owner,
    /// One of Kyverno's webhook configurations for resources: [`webhook::WebhookConfiguration`].
    Webhooks,
    /// A native policy that Kyverno generated: [`native::Native`].
    Native,
    /// A native policy's binding: [`native::Native`].
    Binding,
}

/// One kind that is streamed.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Versions that can be read, in order of preference: take the first that the server serves.
    pub versions: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What its objects are to us.
    pub family: Family,
    /// Narrows what is requested: a query parameter and its value; `None` for all objects.
    pub selector: Option<(&'static str, &'static str)>,
    reader: Reader,
}

/// How a kind's objects become words of the domain.
#[derive(Debug)]
enum Reader {
    Policy(fn(&Kind, &Value) -> Result<Policy, Unreadable>),
    Exception(fn(&Kind, &Value) -> Result<Exception, Unreadable>),
    /// Read elsewhere, or only by its metadata.
    None,
}

/// Why an object could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The object, as `Kind/[namespace/]name` as far as that could be read.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.why)
    }
}

impl std::error::Error for Unreadable {}

const CLUSTER: bool = false;
const NAMESPACED: bool = true;

const KYVERNO: &str = "kyverno.io";
const CEL: &str = "policies.kyverno.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
/// What Kyverno generates carries this label (Kyverno `pkg/admissionpolicy/builder.go`).
const GENERATED: &str = "app.kubernetes.io/managed-by=kyverno";

// `kyverno.io/v2beta1` of the policies lacks fields that v1 has, and none that v1 lacks: it is read only where nothing else is served.
const V1: &[&str] = &["v1", "v2beta1"];
const V2: &[&str] = &["v2", "v2beta1", "v2alpha1"];
// One schema in all versions of a release (Kyverno 1.19 `config/crds/policies.kyverno.io`), so any of them can be read.
const CEL_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha1"];

/// Everything that is streamed, policies first: groups, versions and scopes of Kyverno 1.10–1.19 (`config/crds`), of the Policy WG's and
/// OpenReports' report kinds, and of the Kubernetes kinds that own resources.
pub static REGISTRY: &[Kind] = &[
    policy(KYVERNO, "ClusterPolicy", "clusterpolicies", V1, CLUSTER, cluster_policy::read),
    policy(KYVERNO, "Policy", "policies", V1, NAMESPACED, cluster_policy::read),
    policy(CEL, "ValidatingPolicy", "validatingpolicies", CEL_VERSIONS, CLUSTER, cel::read_validating),
    policy(CEL, "NamespacedValidatingPolicy", "namespacedvalidatingpolicies", CEL_VERSIONS, NAMESPACED, cel::read_validating),
    policy(CEL, "ImageValidatingPolicy", "imagevalidatingpolicies", CEL_VERSIONS, CLUSTER, cel::read_image_validating),
    policy(
        CEL,
        "NamespacedImageValidatingPolicy",
        "namespacedimagevalidatingpolicies",
        CEL_VERSIONS,
        NAMESPACED,
        cel::read_image_validating,
    ),
    policy(CEL, "MutatingPolicy", "mutatingpolicies", CEL_VERSIONS, CLUSTER, cel::read_mutating),
    policy(CEL, "NamespacedMutatingPolicy", "namespacedmutatingpolicies", CEL_VERSIONS, NAMESPACED, cel::read_mutating),
    policy(CEL, "GeneratingPolicy", "generatingpolicies", CEL_VERSIONS, CLUSTER, cel::read_generating),
    policy(CEL, "NamespacedGeneratingPolicy", "namespacedgeneratingpolicies", CEL_VERSIONS, NAMESPACED, cel::read_generating),
    policy(CEL, "DeletingPolicy", "deletingpolicies", CEL_VERSIONS, CLUSTER, cleanup::read),
    policy(CEL, "NamespacedDeletingPolicy", "namespaceddeletingpolicies", CEL_VERSIONS, NAMESPACED, cleanup::read),
    policy(KYVERNO, "ClusterCleanupPolicy", "clustercleanuppolicies", V2, CLUSTER, cleanup::read),
    policy(KYVERNO, "CleanupPolicy", "cleanuppolicies", V2, NAMESPACED, cleanup::read),
    exception(KYVERNO, "PolicyException", "policyexceptions", V2, exception::read),
    exception(CEL, "PolicyException", "policyexceptions", CEL_VERSIONS, exception::read_cel),
    other("wgpolicyk8s.io", "PolicyReport", "policyreports", &["v1alpha2"], NAMESPACED, Family::Report),
    other("wgpolicyk8s.io", "ClusterPolicyReport", "clusterpolicyreports", &["v1alpha2"], CLUSTER, Family::Report),
    other("openreports.io", "Report", "reports", &["v1alpha1"], NAMESPACED, Family::Report),
    other("openreports.io", "ClusterReport", "clusterreports", &["v1alpha1"], CLUSTER, Family::Report),
    // Of events only Kyverno's admission controller's: they tell refused admissions.
    other("", "Event", "events", &["v1"], NAMESPACED, Family::Event).only("fieldSelector", "reportingComponent=kyverno-admission"),
    other("", "Namespace", "namespaces", &["v1"], CLUSTER, Family::Namespace),
    // Each by its name, so that a right to that one object is enough.
    other(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &["v1"], CLUSTER, Family::Webhooks)
        .only("fieldSelector", "metadata.name=kyverno-resource-validating-webhook-cfg"),
    other(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &["v1"], CLUSTER, Family::Webhooks)
        .only("fieldSelector", "metadata.name=kyverno-resource-mutating-webhook-cfg"),
    other(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &["v1"], CLUSTER, Family::Native)
        .only("labelSelector", GENERATED),
    other(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &["v1"], CLUSTER, Family::Binding)
        .only("labelSelector", GENERATED),
    other("", "Pod", "pods", &["v1"], NAMESPACED, Family::Owner),
    other("apps", "ReplicaSet", "replicasets", &["v1"], NAMESPACED, Family::Owner),
    other("batch", "Job", "jobs", &["v1"], NAMESPACED, Family::Owner),
    other("apps", "Deployment", "deployments", &["v1"], NAMESPACED, Family::Owner),
    other("apps", "StatefulSet", "statefulsets", &["v1"], NAMESPACED, Family::Owner),
    other("apps", "DaemonSet", "daemonsets", &["v1"], NAMESPACED, Family::Owner),
    other("batch", "CronJob", "cronjobs", &["v1"], NAMESPACED, Family::Owner),
];

const fn policy(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    namespaced: bool,
    read: fn(&Kind, &Value) -> Result<Policy, Unreadable>,
) -> Kind {
    Kind { group, kind, plural, versions, namespaced, family: Family::Policy, selector: None, reader: Reader::Policy(read) }
}

const fn exception(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    read: fn(&Kind, &Value) -> Result<Exception, Unreadable>,
) -> Kind {
    Kind {
        group,
        kind,
        plural,
        versions,
        namespaced: NAMESPACED,
        family: Family::Exception,
        selector: None,
        reader: Reader::Exception(read),
    }
}

const fn other(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    namespaced: bool,
    family: Family,
) -> Kind {
    Kind { group, kind, plural, versions, namespaced, family, selector: None, reader: Reader::None }
}

/// A kind of the registry, as one byte: its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindId(u8);

impl KindId {
    /// How many kinds there are: sizes arrays that are indexed by [`KindId::index`].
    pub const COUNT: usize = REGISTRY.len();

    /// All kinds, in the order of the registry.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator + Clone {
        // The registry is far shorter than 256: the contract test holds it so.
        (0..REGISTRY.len() as u8).map(Self)
    }

    /// The kinds of one family, in the order of the registry.
    pub fn of_family(family: Family) -> impl Iterator<Item = Self> {
        Self::all().filter(move |id| id.kind().family == family)
    }

    /// The kind of that group and name. The group is part of the question: two groups have a PolicyException, many a Policy.
    pub fn find(group: &str, kind: &str) -> Option<Self> {
        Self::all().find(|id| id.kind().group == group && id.kind().kind == kind)
    }

    /// The kind of that group and plural.
    pub fn find_plural(group: &str, plural: &str) -> Option<Self> {
        Self::all().find(|id| id.kind().group == group && id.kind().plural == plural)
    }

    /// The kind that an object says it is (`apiVersion` and `kind`).
    pub fn of_object(object: &Value) -> Option<Self> {
        let kind = json::text(object, &["kind"])?;
        Self::find(group_of(json::text(object, &["apiVersion"])?), kind)
    }

    /// The registry's entry.
    pub fn kind(self) -> &'static Kind {
        &REGISTRY[self.index()]
    }

    /// Its place in the registry.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Kind {
    /// The same, narrowed to some objects.
    const fn only(mut self, parameter: &'static str, value: &'static str) -> Self {
        self.selector = Some((parameter, value));
        self
    }

    /// The version to ask for, of those a server serves.
    pub fn preferred(&self, served: &[&str]) -> Option<&'static str> {
        self.versions.iter().copied().find(|version| served.contains(version))
    }

    /// `apiVersion` of one of its versions: `group/version`, or `version` in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }
}

/// Reads a policy of any kind. Unknown fields and wrong types in fields that nobody asks for do not matter; a missing name does.
pub fn read_policy(kind: &Kind, object: &Value) -> Result<Policy, Unreadable> {
    match kind.reader {
        Reader::Policy(read) => read(kind, object),
        Reader::Exception(_) | Reader::None => Err(not_a(kind, "policy")),
    }
}

/// Reads an exception of either group, as tolerantly as [`read_policy`].
pub fn read_exception(kind: &Kind, object: &Value) -> Result<Exception, Unreadable> {
    match kind.reader {
        Reader::Exception(read) => read(kind, object),
        Reader::Policy(_) | Reader::None => Err(not_a(kind, "policy exception")),
    }
}

fn not_a(kind: &Kind, what: &str) -> Unreadable {
    Unreadable { object: kind.kind.to_owned(), why: format!("a {} is no {what}", kind.kind) }
}

/// Whether `text` matches a pattern with `*` (anything) and `?` (one character), as Kyverno matches names.
pub fn matches_wildcard(pattern: &str, text: &str) -> bool {
    wildcard::matches(pattern, text)
}

/// The group of an `apiVersion`; empty for the core group.
pub fn group_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests;
