//! Fills a cluster with the company: namespaces, workloads, Kyverno itself, policies, exceptions, and some past.
//!
//! Everything is drawn from fixed seeds, so two starts differ only in their times. Not here: the description
//! (`super::fleet`) and what follows from it (`super::controllers`, `super::kyverno::reports`).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::{Cluster, hash, member, mix, rfc3339};
use super::controllers;
use super::fleet::{Environment, Fleet, Workloads};
use super::kyverno::{reports, status, webhooks};
use super::seed_kyverno;
use super::store::text;
use super::write::{self, Options};

const POLICIES: [&str; 3] = [
    include_str!("../../assets/demo/policies/classic.yaml"),
    include_str!("../../assets/demo/policies/cel.yaml"),
    include_str!("../../assets/demo/policies/others.yaml"),
];
const EXCEPTIONS: &str = include_str!("../../assets/demo/exceptions.yaml");
const EXTRAS: &str = include_str!("../../assets/demo/extras.yaml");

/// The past of one environment, written into its store.
pub(crate) struct Seeder<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) environment: &'a Environment,
    pub(crate) now: Timestamp,
}

/// What went wrong while seeding: a mistake in the assets.
pub(crate) type Mistake = String;

/// The documents of a YAML file.
pub(crate) fn documents(yaml: &str) -> Result<Vec<Value>, Mistake> {
    let mut out = Vec::new();
    for part in yaml.split("\n---") {
        let value: Value = serde_saphyr::from_str(part).map_err(|error| format!("{error} in {:.80}", part.trim()))?;
        if value.is_object() {
            out.push(value);
        }
    }
    Ok(out)
}

/// `40d`, `6h`, `30m`, `20s`; a leading `+` lies in the future.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, rest) = text.strip_prefix('+').map_or((1, text), |rest| (-1, rest));
    let (number, unit) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(SignedDuration::from_secs(sign * seconds * number.parse::<i64>().ok()?))
}

impl Seeder<'_> {
    pub(crate) fn run(&self, fleet: &Fleet, workloads: &Workloads) -> Result<(), Mistake> {
        self.namespaces(workloads)?;
        seed_kyverno::install(self)?;
        self.workloads(workloads)?;
        controllers::settle(self.cluster, Some(self.ago("20d")));
        self.policies(fleet)?;
        self.exceptions(fleet)?;
        self.extras()?;
        status::settle(self.cluster, self.ago("1h"));
        webhooks::settle(self.cluster, self.ago("1h"));
        webhooks::renew_lease(self.cluster, self.now);
        reports::settle(self.cluster);
        // Nobody has watched yet: versions from before the start are compacted, as on a cluster of some age.
        self.cluster.store().compact();
        Ok(())
    }

    pub(crate) fn ago(&self, text: &str) -> Timestamp {
        duration(text).and_then(|d| self.now.checked_sub(d).ok()).unwrap_or(self.now)
    }

    /// Creates an object as `manager` did some time ago.
    pub(crate) fn put(&self, object: &Value, manager: &str, age: &str) -> Result<(), Mistake> {
        let of = || format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        let resource = self.cluster.catalog.of_manifest(object).ok_or_else(|| format!("{} is not served", of()))?;
        let mut options = Options::internal(resource, manager);
        options.now = self.ago(age);
        let mut object = object.clone();
        object["apiVersion"] = Value::from(resource.api_version(resource.preferred()));
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let written = write::create(self.cluster, resource, &namespace, object.clone(), &options);
        let written = written.map_err(|failure| format!("{}: {}", of(), failure.message))?;
        // A past status is part of the past.
        if let Some(past) = object.get("status") {
            options.status = true;
            let key = super::store::Key::new(namespace, text(&written.object.value, "/metadata/name"));
            let patch = json!({"status": past});
            write::patch(self.cluster, resource, &key, super::patch::PatchKind::Merge, &patch, &options)
                .map_err(|failure| failure.message)?;
        }
        Ok(())
    }

    fn namespaces(&self, workloads: &Workloads) -> Result<(), Mistake> {
        for name in ["kube-system", "default", "kube-public", "kube-node-lease", "kyverno"] {
            self.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}), "kube-apiserver", "400d")?;
        }
        for namespace in &workloads.namespace {
            let mut labels = json!(namespace.labels);
            if !namespace.team.is_empty() {
                labels["team"] = json!(namespace.team);
            }
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}});
            self.put(&object, "terraform", "300d")?;
        }
        Ok(())
    }

    fn workloads(&self, workloads: &Workloads) -> Result<(), Mistake> {
        for namespace in &workloads.namespace {
            for entry in &namespace.apps {
                let mut words = entry.split_whitespace();
                let name = words.next().unwrap_or_default();
                let (kind, name) = name.split_once('/').unwrap_or(("Deployment", name));
                let own: Vec<&str> = words.collect();
                let place = format!("{}/{}/{name}", self.environment.name, namespace.name);
                let flawed = |flaw: &str| {
                    let likely = workloads.flaws.get(flaw).copied().unwrap_or(0.0) * self.environment.flaws;
                    let drawn = mix(hash(&format!("{place}/{flaw}"))) % 10_000;
                    own.contains(&flaw) || (drawn as f64) < likely * 10_000.0
                };
                let app = App { kind, name, namespace: &namespace.name, team: &namespace.team, replicas: self.environment.replicas };
                let version = mix(hash(&format!("{}{name}", namespace.name))) % 40;
                let object = app.manifest(&workloads.registry, &workloads.foreign, version, &flawed);
                let age = format!("{}d", 3 + mix(hash(&place)) % 200);
                self.put(&object, "argocd-controller", &age)?;
                if kind == "Deployment" {
                    self.put(&app.service(), "argocd-controller", &age)?;
                }
                self.put(&app.config(), "argocd-controller", &age)?;
            }
        }
        Ok(())
    }

    fn policies(&self, fleet: &Fleet) -> Result<(), Mistake> {
        let mut known = Vec::new();
        for yaml in POLICIES {
            for manifest in documents(yaml)? {
                let name = text(&manifest, "/metadata/name").to_owned();
                if let Some(stage) = fleet.policy.get(&name).and_then(|stages| stages.get(&self.environment.name)) {
                    self.policy(manifest, stage)?;
                }
                known.push(name);
            }
        }
        match fleet.policy.keys().find(|name| !known.contains(name)) {
            Some(unknown) => Err(format!("fleet.toml places a policy that does not exist: {unknown}")),
            None => Ok(()),
        }
    }

    /// A policy at its stage: mode, age, then who manages it.
    fn policy(&self, mut manifest: Value, stage: &str) -> Result<(), Mistake> {
        let mut words = stage.split_whitespace();
        let (mode, age) = (words.next().unwrap_or("as-is"), words.next().unwrap_or("10d"));
        set_mode(&mut manifest, mode);
        let name = text(&manifest, "/metadata/name").to_owned();
        let manager = match words.next() {
            Some("argo") => {
                let (kind, group) =
                    (text(&manifest, "/kind").to_owned(), text(&manifest, "/apiVersion").split('/').next().unwrap_or_default().to_owned());
                member(member(&mut manifest, "metadata"), "annotations")["argocd.argoproj.io/tracking-id"] =
                    json!(format!("platform-policies:{group}/{kind}:/{name}"));
                "argocd-controller"
            }
            Some("helm") => {
                let metadata = member(&mut manifest, "metadata");
                member(metadata, "labels")["app.kubernetes.io/managed-by"] = json!("Helm");
                member(metadata, "annotations")["meta.helm.sh/release-name"] = json!("kyverno-policies");
                member(metadata, "annotations")["meta.helm.sh/release-namespace"] = json!("kyverno");
                "helm"
            }
            _ => {
                // As `kubectl apply` leaves it: with that, the object shows since when it is what it is.
                let applied = format!("{manifest}\n");
                let annotations = member(member(&mut manifest, "metadata"), "annotations");
                annotations["kubectl.kubernetes.io/last-applied-configuration"] = Value::from(applied);
                "kubectl-client-side-apply"
            }
        };
        self.put(&manifest, manager, age)
    }

    fn exceptions(&self, fleet: &Fleet) -> Result<(), Mistake> {
        for mut manifest in documents(EXCEPTIONS)? {
            let name = text(&manifest, "/metadata/name").to_owned();
            let Some(age) = fleet.exception.get(&name).and_then(|places| places.get(&self.environment.name)) else {
                continue;
            };
            // Fields a release does not know are left out, as its CRD would prune them.
            if let Some(when) = manifest["spec"]["expiresAt"].as_str().and_then(duration) {
                let expires = self.now.checked_sub(when).unwrap_or(self.now);
                manifest["spec"]["expiresAt"] = json!(rfc3339(expires));
            }
            self.put(&manifest, "kubectl-client-side-apply", age)?;
        }
        Ok(())
    }

    /// The odd things: foreign reports, leftovers, hostile text, blocked requests of the last hour.
    fn extras(&self) -> Result<(), Mistake> {
        for mut manifest in documents(EXTRAS)? {
            let wanted = text(&manifest, "/metadata/annotations/demo").to_owned();
            if !self.environment.extras.contains(&wanted) {
                continue;
            }
            if let Some(annotations) = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                annotations.remove("demo");
            }
            self.dress(&mut manifest);
            self.put(&manifest, "extras", "2d")?;
        }
        seed_kyverno::blocked_events(self);
        Ok(())
    }

    /// Placeholders of extras: `$LONG` a very long text, `$HOSTILE` control characters, scopes by name get a uid,
    /// timestamps some hours ago.
    fn dress(&self, manifest: &mut Value) {
        let seconds = self.ago("7h").as_second();
        for result in manifest["results"].as_array_mut().into_iter().flatten() {
            if result["timestamp"].is_null() {
                result["timestamp"] = json!({"seconds": seconds, "nanos": 0});
            }
            if let Some(message) = result["message"].as_str() {
                let long = "this sentence repeats until nobody reads it any more; ".repeat(120);
                let hostile = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} bell\u{7} back\u{8}space \r\nnew line \u{202e}reversed\u{0} end";
                result["message"] = json!(message.replace("$LONG", &long).replace("$HOSTILE", hostile));
            }
            for resource in result["resources"].as_array_mut().into_iter().flatten() {
                self.identify(resource);
            }
        }
        if manifest.get("scope").is_some() {
            self.identify(&mut manifest["scope"]);
        }
    }

    fn identify(&self, reference: &mut Value) {
        let Some(resource) = self.cluster.catalog.of_manifest(reference) else {
            return;
        };
        let key = super::store::Key::new(text(reference, "/namespace"), text(reference, "/name"));
        if let Some(object) = self.cluster.get(&resource.group, &resource.plural, &key) {
            reference["uid"] = json!(object.uid());
        }
    }
}

/// Puts a policy into audit, enforce or warn where its manifest says it: at the rules that name an action, else in
/// the spec; CEL kinds in their validation actions. `as-is` leaves it.
pub(crate) fn set_mode(manifest: &mut Value, mode: &str) {
    let (classic, cel) = match mode {
        "audit" => ("Audit", "Audit"),
        "enforce" => ("Enforce", "Deny"),
        "warn" => ("Audit", "Warn"),
        _ => return,
    };
    if text(manifest, "/apiVersion").starts_with("policies.kyverno.io") {
        manifest["spec"]["validationActions"] = if mode == "warn" { json!(["Warn", "Audit"]) } else { json!([cel]) };
        return;
    }
    let mut at_rules = false;
    for rule in manifest["spec"]["rules"].as_array_mut().into_iter().flatten() {
        if rule["validate"].get("failureAction").is_some() {
            rule["validate"]["failureAction"] = json!(classic);
            at_rules = true;
        }
    }
    if !at_rules {
        manifest["spec"]["validationFailureAction"] = json!(classic);
    }
}

/// One application.
pub(crate) struct App<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) team: &'a str,
    pub(crate) replicas: u64,
}

impl App<'_> {
    /// The workload's manifest with these flaws.
    pub(crate) fn manifest(&self, registry: &str, foreign: &str, version: u64, flawed: &dyn Fn(&str) -> bool) -> Value {
        let host = if flawed("foreign-registry") { foreign } else { registry };
        let tag = if flawed("latest-tag") { "latest".to_owned() } else { format!("2.{}.{}", version / 4, version % 4) };
        let mut container = json!({"name": self.name, "image": format!("{host}/{}/{}:{tag}", self.namespace, self.name), "ports": [{"containerPort": 8080}]});
        container["securityContext"] = if flawed("privileged") {
            json!({"privileged": true})
        } else if flawed("runs-as-root") {
            json!({"allowPrivilegeEscalation": false})
        } else {
            json!({"runAsNonRoot": true, "allowPrivilegeEscalation": false})
        };
        if !flawed("no-limits") {
            container["resources"] = json!({"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}});
        }
        if !flawed("no-probes") {
            container["livenessProbe"] = json!({"httpGet": {"path": "/live", "port": 8080}});
            container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 8080}});
        }
        let mut labels = json!({"app.kubernetes.io/name": self.name});
        if !flawed("no-team-label") && !self.team.is_empty() {
            labels["team"] = json!(self.team);
        }
        if !flawed("no-cost-center") {
            labels["cost-center"] = json!(format!("cc-{}", 100 + hash(self.namespace) % 900));
        }
        let mut pod = json!({"containers": [container]});
        if flawed("host-network") {
            pod["hostNetwork"] = json!(true);
        }
        let template = json!({"metadata": {"labels": labels}, "spec": pod});
        let selector = json!({"matchLabels": {"app.kubernetes.io/name": self.name}});
        let metadata = json!({"name": self.name, "namespace": self.namespace, "labels": labels});
        let (api, spec) = match self.kind {
            "CronJob" => ("batch/v1", json!({"schedule": "*/30 * * * *", "jobTemplate": {"spec": {"template": once(template)}}})),
            "Job" => ("batch/v1", json!({"template": once(template)})),
            "DaemonSet" => ("apps/v1", json!({"selector": selector, "template": template})),
            "StatefulSet" => {
                ("apps/v1", json!({"replicas": self.replicas, "serviceName": self.name, "selector": selector, "template": template}))
            }
            _ => ("apps/v1", json!({"replicas": self.replicas, "revisionHistoryLimit": 0, "selector": selector, "template": template})),
        };
        json!({"apiVersion": api, "kind": self.kind, "metadata": metadata, "spec": spec})
    }

    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {"app.kubernetes.io/name": self.name}},
            "spec": {"type": "ClusterIP", "selector": {"app.kubernetes.io/name": self.name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        })
    }

    fn config(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("{}-config", self.name), "namespace": self.namespace},
            "data": {"LOG_LEVEL": "info", "REGION": "eu-central-1"},
        })
    }
}

fn once(mut template: Value) -> Value {
    template["spec"]["restartPolicy"] = json!("OnFailure");
    template
}
