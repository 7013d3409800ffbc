//! The little of kube-controller-manager that a rollout needs: workloads get their ReplicaSets and Pods, owners take
//! their dependants with them, namespaces end.
//!
//! Not here: anything about policies (`super::kyverno`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::{Cluster, hash, member, rfc3339, suffix};
use super::kyverno::admission;
use super::patch::PatchKind;
use super::store::{Change, Handle, Key, text};
use super::write::{self, Options};

/// How long changes gather before the controllers look: real ones are not instant either.
const SETTLE: Duration = Duration::from_millis(100);
/// Where StatefulSet and DaemonSet pods say which template they were made from.
const REVISION: &str = "/metadata/labels/controller-revision-hash";
/// Pods made for a DaemonSet: one per node.
const NODES: [&str; 2] = ["node-a", "node-b"];

/// A position in every kind's log.
#[derive(Debug)]
pub(crate) struct Cursor(u64);

impl Cursor {
    pub(crate) fn now(cluster: &Cluster) -> Self {
        Self(cluster.store().version())
    }

    /// What happened since; `None` when some of it has been forgotten, so that everything has to be looked at.
    pub(crate) fn changes(&mut self, cluster: &Cluster) -> Option<Vec<(usize, Change)>> {
        let store = cluster.store();
        let (from, kinds) = (self.0, 0..cluster.catalog.all().len());
        self.0 = store.version();
        if kinds.clone().any(|kind| store.oldest(kind) > from) {
            return None;
        }
        Some(kinds.flat_map(|kind| store.changes_after(kind, from, usize::MAX).into_iter().map(move |c| (kind, c))).collect())
    }
}

/// Runs until the demo ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut cursor = Cursor::now(&cluster);
    let mut waker = cluster.store().any_waker();
    while waker.changed().await.is_ok() {
        tokio::time::sleep(SETTLE).await;
        waker.borrow_and_update();
        match cursor.changes(&cluster) {
            Some(changes) => {
                collect_garbage(&cluster, &changes);
                for (kind, change) in &changes {
                    if let Some(now) = &change.now {
                        reconcile(&cluster, *kind, &change.key, now);
                    }
                }
            }
            None => settle(&cluster, None),
        }
        end_namespaces(&cluster);
    }
}

/// Brings all workloads to what they ask for. With `past`, as if it had happened then and without admission.
pub(crate) fn settle(cluster: &Cluster, past: Option<Timestamp>) {
    for (group, plural) in
        [("apps", "deployments"), ("apps", "statefulsets"), ("apps", "daemonsets"), ("batch", "jobs"), ("apps", "replicasets")]
    {
        let Some(resource) = cluster.resource(group, plural) else {
            continue;
        };
        let rows: Vec<(Key, Handle)> = cluster.store().rows(resource.index).map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in rows {
            let then = past.and_then(|_| text(&object.value, "/metadata/creationTimestamp").parse().ok());
            Workload { cluster, key: &key, object: &object.value, past: then.or(past) }.reconcile(plural);
        }
    }
}

fn reconcile(cluster: &Cluster, kind: usize, key: &Key, object: &Handle) {
    let Some(resource) = cluster.catalog.all().get(kind) else {
        return;
    };
    if matches!(resource.group.as_str(), "apps" | "batch") {
        // Only the newest version counts: older changes of the same object are in the past.
        let current = cluster.get(&resource.group, &resource.plural, key);
        if current.is_some_and(|current| current.version == object.version) {
            Workload { cluster, key, object: &object.value, past: None }.reconcile(&resource.plural);
        }
    }
}

/// A workload and when to pretend to act.
struct Workload<'a> {
    cluster: &'a Cluster,
    key: &'a Key,
    object: &'a Value,
    past: Option<Timestamp>,
}

impl Workload<'_> {
    fn reconcile(&self, plural: &str) {
        let uid = text(self.object, "/metadata/uid");
        let replicas = self.object["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
        match plural {
            "deployments" => self.deployment(uid, replicas),
            "replicasets" => self.replica_set(uid, replicas),
            "statefulsets" => {
                let names = (0..replicas).map(|n| format!("{}-{n}", self.key.name)).collect();
                self.pods("StatefulSet", uid, names);
                self.status(plural, &json!({"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}));
            }
            "daemonsets" => {
                let names = NODES.map(|node| format!("{}-{}", self.key.name, suffix(hash(&format!("{uid}{node}")), 5))).to_vec();
                self.pods("DaemonSet", uid, names);
                self.status(plural, &json!({"numberReady": NODES.len(), "desiredNumberScheduled": NODES.len(), "currentNumberScheduled": NODES.len(), "numberMisscheduled": 0}));
            }
            "jobs" => {
                self.pods("Job", uid, vec![format!("{}-{}", self.key.name, suffix(hash(uid), 5))]);
                self.status(plural, &json!({"active": 1}));
            }
            _ => {}
        }
    }

    fn deployment(&self, uid: &str, replicas: usize) {
        let template = &self.object["spec"]["template"];
        let name_hash = suffix(hash(&template.to_string()), 10);
        let name = format!("{}-{name_hash}", self.key.name);
        let mut labelled = template.clone();
        member(member(&mut labelled, "metadata"), "labels")["pod-template-hash"] = json!(name_hash);
        let mut selector = self.object["spec"]["selector"].clone();
        member(&mut selector, "matchLabels")["pod-template-hash"] = json!(name_hash);
        let wanted = json!({
            "metadata": {
                "name": name, "namespace": self.key.namespace, "labels": labelled["metadata"]["labels"],
                "ownerReferences": [self.owner("apps/v1", "Deployment", uid)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": labelled},
        });
        let set_key = Key::new(self.key.namespace.clone(), name.as_str());
        let old = self.cluster.get("apps", "replicasets", &set_key);
        let made = match &old {
            Some(_) => {
                self.scale(&set_key, replicas);
                true
            }
            None => self.create("apps", "replicasets", wanted),
        };
        if !made {
            return;
        }
        if let Some(set) = self.cluster.get("apps", "replicasets", &set_key) {
            Workload { cluster: self.cluster, key: &set_key, object: &set.value, past: self.past }.replica_set(set.uid(), replicas);
        }
        self.retire(uid, &name);
        self.status("deployments", &json!({
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            "observedGeneration": self.object["metadata"]["generation"],
            "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."}],
        }));
    }

    /// Scales the deployment's other ReplicaSets down and keeps as many of them as it wants to remember.
    fn retire(&self, uid: &str, current: &str) {
        let Some(resource) = self.cluster.resource("apps", "replicasets") else {
            return;
        };
        let kept = self.object["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10) as usize;
        let mut old: Vec<(u64, Key)> = Vec::new();
        for key in self.owned("apps", "replicasets", uid) {
            if let Some(set) = self.cluster.get("apps", "replicasets", &key).filter(|_| key.name != current) {
                old.push((set.version, key));
            }
        }
        old.sort();
        for (n, (_, key)) in old.into_iter().rev().enumerate() {
            if n < kept {
                self.scale(&key, 0);
            } else {
                self.cluster.store().remove(resource.index, &key);
            }
        }
    }

    fn replica_set(&self, uid: &str, replicas: usize) {
        let names = (0..replicas).map(|n| format!("{}-{}", self.key.name, suffix(hash(&format!("{uid}{n}")), 5))).collect();
        self.pods("ReplicaSet", uid, names);
        self.status(
            "replicasets",
            &json!({
                "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas, "fullyLabeledReplicas": replicas,
            }),
        );
    }

    fn scale(&self, set: &Key, replicas: usize) {
        let Some(resource) = self.cluster.resource("apps", "replicasets") else {
            return;
        };
        let options = Options::internal(resource, "kube-controller-manager");
        // Gone is as good as scaled.
        let _ = write::patch(self.cluster, resource, set, PatchKind::Merge, &json!({"spec": {"replicas": replicas}}), &options);
    }

    fn owner(&self, api: &str, kind: &str, uid: &str) -> Value {
        json!({"apiVersion": api, "kind": kind, "name": self.key.name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
    }

    fn owned(&self, group: &str, plural: &str, uid: &str) -> Vec<Key> {
        let Some(resource) = self.cluster.resource(group, plural) else {
            return Vec::new();
        };
        let store = self.cluster.store();
        let mine = store
            .rows(resource.index)
            .filter(|(key, object)| key.namespace == self.key.namespace && text(&object.value, "/metadata/ownerReferences/0/uid") == uid);
        mine.map(|(key, _)| key.clone()).collect()
    }

    /// Makes the pods of these names and removes the owner's others.
    fn pods(&self, kind: &str, uid: &str, names: Vec<String>) {
        let Some(resource) = self.cluster.resource("", "pods") else {
            return;
        };
        for extra in self.owned("", "pods", uid).into_iter().filter(|key| !names.contains(&key.name)) {
            self.cluster.store().remove(resource.index, &extra);
        }
        let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let template = &self.object["spec"]["template"];
        for (n, name) in names.into_iter().enumerate() {
            let key = Key::new(self.key.namespace.clone(), name.as_str());
            // Only these two give a changed pod its old name.
            let reuses = matches!(kind, "StatefulSet" | "DaemonSet");
            let revision = self.cluster.get("", "pods", &key).map(|pod| text(&pod.value, REVISION).to_owned());
            if reuses && revision.is_some_and(|revision| revision != template_mark(template)) {
                self.cluster.store().remove(resource.index, &key);
            }
            if self.cluster.get("", "pods", &key).is_some() {
                continue;
            }
            let mut spec = template["spec"].clone();
            spec["nodeName"] = json!(NODES.get(n % NODES.len()));
            let mut metadata = template["metadata"].clone();
            if reuses {
                member(&mut metadata, "labels")["controller-revision-hash"] = json!(template_mark(template));
            }
            let pod = json!({
                "metadata": {
                    "name": name, "namespace": self.key.namespace, "labels": metadata["labels"],
                    "annotations": metadata["annotations"],
                    "ownerReferences": [self.owner(api, kind, uid)],
                },
                "spec": spec,
            });
            if !self.create("", "pods", pod) {
                return;
            }
            self.write_status(
                "pods",
                &key,
                &json!({"phase": "Running", "podIP": format!("10.{}.{}.{}", n + 1, hash(&name) % 250, hash(uid) % 250)}),
            );
        }
    }

    /// Creates through admission; a refusal becomes an event at the owner, as the real controllers do.
    fn create(&self, group: &str, plural: &str, object: Value) -> bool {
        let Some(resource) = self.cluster.resource(group, plural) else {
            return false;
        };
        let mut options = Options::internal(resource, "kube-controller-manager");
        options.admitted = self.past.is_some();
        options.now = self.past.unwrap_or(options.now);
        match write::create(self.cluster, resource, &self.key.namespace, object, &options) {
            Ok(_) => true,
            Err(failure) => {
                self.failed_create(&failure.message);
                false
            }
        }
    }

    fn failed_create(&self, message: &str) {
        let now = Timestamp::now();
        let name = format!("{}.{:016x}", self.key.name, self.cluster.draw());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": self.key.namespace, "uid": self.cluster.uid(), "creationTimestamp": rfc3339(now)},
            "involvedObject": {"apiVersion": self.object["apiVersion"], "kind": self.object["kind"], "namespace": self.key.namespace, "name": self.key.name, "uid": self.object["metadata"]["uid"]},
            "reason": "FailedCreate", "message": format!("Error creating: {message}"), "type": "Warning",
            "source": {"component": "replicaset-controller"}, "reportingComponent": "replicaset-controller", "reportingInstance": "",
            "firstTimestamp": rfc3339(now), "lastTimestamp": rfc3339(now), "count": 1, "eventTime": Value::Null,
        });
        admission::record(self.cluster, &mut self.cluster.store(), event);
    }

    fn status(&self, plural: &str, status: &Value) {
        self.write_status(plural, self.key, status);
    }

    fn write_status(&self, plural: &str, key: &Key, status: &Value) {
        let group = match plural {
            "pods" => "",
            "jobs" => "batch",
            _ => "apps",
        };
        let Some(resource) = self.cluster.resource(group, plural) else {
            return;
        };
        let mut options = Options::internal(resource, "kube-controller-manager");
        options.status = true;
        options.now = self.past.unwrap_or(options.now);
        let _ = write::patch(self.cluster, resource, key, PatchKind::Merge, &json!({"status": status}), &options);
    }
}

/// Tells pods of an older template from those of this one.
fn template_mark(template: &Value) -> String {
    suffix(hash(&template.to_string()), 8)
}

/// Deletes what the deleted owned, unless another owner is left.
fn collect_garbage(cluster: &Cluster, changes: &[(usize, Change)]) {
    let mut gone: HashSet<String> = HashSet::new();
    for (_, change) in changes {
        if change.now.is_none()
            && let Some(last) = &change.last
        {
            gone.insert(last.uid().to_owned());
        }
    }
    if gone.is_empty() {
        return;
    }
    let mut store = cluster.store();
    let mut orphans = Vec::new();
    for resource in cluster.catalog.all() {
        for (key, object) in store.rows(resource.index) {
            let owners = object.value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let Some(owners) = owners.filter(|owners| !owners.is_empty()) else {
                continue;
            };
            if owners.iter().all(|owner| gone.contains(text(owner, "/uid"))) {
                orphans.push((resource.index, key.clone()));
            }
        }
    }
    for (kind, key) in orphans {
        store.remove(kind, &key);
    }
}

/// Empties namespaces that are being deleted, then lets them go.
fn end_namespaces(cluster: &Cluster) {
    let Some(namespaces) = cluster.resource("", "namespaces") else {
        return;
    };
    let mut store = cluster.store();
    let ending: Vec<Key> = store
        .rows(namespaces.index)
        .filter(|(_, object)| object.value.pointer("/metadata/deletionTimestamp").is_some())
        .map(|(key, _)| key.clone())
        .collect();
    for namespace in ending {
        for resource in cluster.catalog.all().iter().filter(|resource| resource.namespaced) {
            let inside: Vec<Key> =
                store.rows(resource.index).map(|(key, _)| key.clone()).filter(|key| key.namespace == namespace.name).collect();
            for key in inside {
                store.remove(resource.index, &key);
            }
        }
        store.remove(namespaces.index, &namespace);
    }
}
