//! All policies against one object.
//!
//! Not here: what one kind of policy says (`super::classic`, `super::cel_policy`) and what becomes of it
//! (`super::admission`, `super::reports`).

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::matching::{Subject, labels};
use super::{cel_policy, classic};
use crate::demo::catalog::Resource;
use crate::demo::cluster::Cluster;
use crate::demo::store::{Handle, Key, Store, text};

/// Every kind of policy: group and plural.
pub(crate) const POLICY_KINDS: [(&str, &str); 14] = [
    ("kyverno.io", "clusterpolicies"),
    ("kyverno.io", "policies"),
    ("kyverno.io", "cleanuppolicies"),
    ("kyverno.io", "clustercleanuppolicies"),
    ("policies.kyverno.io", "validatingpolicies"),
    ("policies.kyverno.io", "namespacedvalidatingpolicies"),
    ("policies.kyverno.io", "imagevalidatingpolicies"),
    ("policies.kyverno.io", "namespacedimagevalidatingpolicies"),
    ("policies.kyverno.io", "mutatingpolicies"),
    ("policies.kyverno.io", "namespacedmutatingpolicies"),
    ("policies.kyverno.io", "generatingpolicies"),
    ("policies.kyverno.io", "namespacedgeneratingpolicies"),
    ("policies.kyverno.io", "deletingpolicies"),
    ("policies.kyverno.io", "namespaceddeletingpolicies"),
];

/// Namespaces Kyverno does not look at by default (its ConfigMap's resourceFilters and webhook selectors).
const EXEMPT: [&str; 4] = ["kyverno", "kube-system", "kube-public", "kube-node-lease"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Fail,
    Skip,
    Error,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Error => "error",
        }
    }
}

/// When policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A request: policies with a webhook in place.
    Admission,
    /// A scan.
    Background,
    /// An object just admitted: its report also holds what only admission asks.
    Both,
}

/// What one rule says about one object.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// As reports name it: `name` or `namespace/name`.
    pub(crate) policy: String,
    pub(crate) object: Handle,
    pub(crate) source: &'static str,
    pub(crate) rule: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
    /// A failure refuses the request.
    pub(crate) denies: bool,
    /// A failure is told to the client as a warning.
    pub(crate) warns: bool,
    /// An existing violation may be updated without being refused.
    pub(crate) tolerates_existing: bool,
    pub(crate) properties: Map<String, Value>,
}

/// A policy that judges.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) object: Handle,
    pub(crate) kind: String,
    pub(crate) classic: bool,
    pub(crate) key: Key,
    /// When Kyverno last read it: what exceptions' expiry is measured against.
    pub(crate) read_at: Timestamp,
}

impl Policy {
    pub(crate) fn reported(&self) -> String {
        if self.key.namespace.is_empty() { self.key.name.clone() } else { format!("{}/{}", self.key.namespace, self.key.name) }
    }

    pub(crate) fn spec(&self) -> &Value {
        &self.object.value["spec"]
    }

    /// Whether scans ask it too.
    pub(crate) fn background(&self) -> bool {
        let pointer = if self.classic { "/spec/background" } else { "/spec/evaluation/background/enabled" };
        self.object.value.pointer(pointer).and_then(Value::as_bool).unwrap_or(true)
    }

    fn admission(&self) -> bool {
        let pointer = if self.classic { "/spec/admission" } else { "/spec/evaluation/admission/enabled" };
        self.object.value.pointer(pointer).and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether its webhook is in place: the condition Ready for classic kinds, `WebhookConfigured` for CEL kinds.
    fn in_force(&self) -> bool {
        let (pointer, kind) =
            if self.classic { ("/status/conditions", "Ready") } else { ("/status/conditionStatus/conditions", "WebhookConfigured") };
        let conditions = self.object.value.pointer(pointer).and_then(Value::as_array);
        conditions.into_iter().flatten().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
    }

    pub(crate) fn verdict(&self, source: &'static str, rule: Option<String>, outcome: Outcome, message: String) -> Verdict {
        let mut properties = Map::new();
        let process = if self.background() { "background scan" } else { "admission review" };
        properties.insert("process".to_owned(), json!(process));
        Verdict {
            policy: self.reported(),
            object: self.object.clone(),
            source,
            rule,
            outcome,
            message,
            denies: false,
            warns: false,
            tolerates_existing: false,
            properties,
        }
    }
}

/// Everything a judgement depends on besides the object: taken at once, used without the lock.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) policies: Vec<Policy>,
    pub(crate) exceptions: Vec<(Key, Handle)>,
    pub(crate) cel_exceptions: Vec<(Key, Handle)>,
    pub(crate) unsigned: Vec<String>,
    namespaces: HashMap<String, Map<String, Value>>,
}

impl World {
    pub(crate) fn gather(cluster: &Cluster, store: &Store) -> Self {
        let now = Timestamp::now();
        let mut policies = Vec::new();
        let judging = [
            "clusterpolicies",
            "policies",
            "validatingpolicies",
            "namespacedvalidatingpolicies",
            "imagevalidatingpolicies",
            "namespacedimagevalidatingpolicies",
        ];
        for (group, plural) in POLICY_KINDS {
            let Some(resource) = cluster.resource(group, plural).filter(|_| judging.contains(&plural)) else {
                continue;
            };
            for (key, object) in store.rows(resource.index) {
                policies.push(Policy {
                    object: object.clone(),
                    kind: resource.kind.clone(),
                    classic: group == "kyverno.io",
                    key: key.clone(),
                    read_at: cluster.read_at(object, now),
                });
            }
        }
        cluster.forget_unread(&policies.iter().map(|policy| policy.object.version).collect::<Vec<_>>());
        let listed = |group: &str| -> Vec<(Key, Handle)> {
            let resource = cluster.resource(group, "policyexceptions");
            let rows = resource.into_iter().flat_map(|resource| store.rows(resource.index));
            rows.map(|(key, object)| (key.clone(), object.clone())).collect()
        };
        let namespaces = cluster.resource("", "namespaces").into_iter().flat_map(|r| store.rows(r.index));
        Self {
            policies,
            exceptions: listed("kyverno.io"),
            cel_exceptions: listed("policies.kyverno.io"),
            unsigned: cluster.profile.unsigned.clone(),
            namespaces: namespaces.map(|(key, object)| (key.name.clone(), labels(&object.value))).collect(),
        }
    }

    /// What the policies say about an object in this phase.
    pub(crate) fn judge(&self, resource: &Resource, key: &Key, object: &Value, operation: &str, phase: Phase) -> Vec<Verdict> {
        let none = Map::new();
        let home = if resource.kind == "Namespace" { &key.name } else { &key.namespace };
        if EXEMPT.contains(&home.as_str()) {
            return Vec::new();
        }
        let subject = Subject {
            object,
            group: &resource.group,
            version: resource.preferred(),
            kind: &resource.kind,
            plural: &resource.plural,
            namespace: &key.namespace,
            name: &key.name,
            namespace_labels: self.namespaces.get(home).unwrap_or(&none),
            operation,
        };
        let mut verdicts = Vec::new();
        for policy in &self.policies {
            let here = policy.key.namespace.is_empty() || policy.key.namespace == key.namespace;
            let asked = match phase {
                Phase::Admission => policy.admission() && policy.in_force(),
                Phase::Background => policy.background(),
                Phase::Both => policy.background() || policy.admission(),
            };
            if here && asked {
                let said = if policy.classic { classic::judge(self, policy, &subject) } else { cel_policy::judge(self, policy, &subject) };
                verdicts.extend(said);
            }
        }
        verdicts
    }

    /// Whether any ValidatingPolicy denies at all: then Kyverno 1.19 calls every audited failure "blocked".
    pub(crate) fn some_cel_denies(&self) -> bool {
        self.policies.iter().any(|policy| policy.kind == "ValidatingPolicy" && cel_policy::actions(policy.spec()).contains(&"Deny"))
    }
}

/// The Pod inside a controller, and where it stands in it.
pub(crate) fn pod_template(kind: &str, object: &Value) -> Option<(Value, &'static str, &'static str)> {
    let (pointer, path, prefix) = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => ("/spec/template", "/spec/template/", "autogen-"),
        "CronJob" => ("/spec/jobTemplate/spec/template", "/spec/jobTemplate/spec/template/", "autogen-cronjob-"),
        _ => return None,
    };
    let template = object.pointer(pointer)?;
    let mut view = template.clone();
    view["kind"] = json!("Pod");
    view["apiVersion"] = json!("v1");
    if view.get("metadata").is_none() {
        view["metadata"] = json!({});
    }
    Some((view, path, prefix))
}

/// The images of a pod spec with the path of each.
pub(crate) fn images(pod: &Value) -> Vec<String> {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .filter_map(|list| pod["spec"][*list].as_array())
        .flatten()
        .filter_map(|container| container["image"].as_str().map(str::to_owned))
        .collect()
}
