//! The mode that policydeck gives is what the running Kyverno does: the tables in `tests/modes`, sent to a cluster.

use crate::support::cluster::{Cluster, Fleet, Options, RUNNING, User, module};
use crate::support::product::Desk;
use crate::support::{beside, eventually};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Long enough for some hundred policies to be taken up, and for the slowest of Kyverno's webhooks to be written.
pub(super) const IN_FORCE: Duration = Duration::from_secs(60);

/// How long what Kyverno does must stay the same before it counts as what it does.
pub(super) const STABLE: Duration = Duration::from_secs(4);

const SOON: Duration = Duration::from_secs(20);

/// An image policy must name an attestor, even where it asks none; the private key to this was never kept.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEA0udm3Obypqs/4Idt2b4tzHYxeO7\n\
    0NKV1nHeDh+R3tpAwr26mKixbiF4p1xHbgV+P+Pak+wkQorkQkdlnVRlLQ==\n-----END PUBLIC KEY-----\n";

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(default)]
    about: String,
    policy: Option<Value>,
    fixture: Option<String>,
    beside: Option<String>,
    pub(super) policy_name: Option<String>,
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pod: bool,
    pub(super) sends: Vec<Send>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    /// None for a resource without a namespace.
    pub(super) r#in: Option<String>,
    resource: Option<Value>,
    observed: Observed,
    mode: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum Observed {
    Blocked,
    Warned,
    Passed,
}

impl Observed {
    /// Whether a policy of this mode does that to a bad resource.
    pub(super) fn fits(self, mode: &str) -> bool {
        match self {
            Self::Blocked => matches!(mode, "enforce" | "mixed"),
            Self::Warned => mode == "warn",
            Self::Passed => matches!(mode, "audit" | "off" | "absent" | "not-ready" | "mixed"),
        }
    }
}

pub(super) fn table(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modes").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Case {
    /// The manifest to apply; none where the file it should come from is not there.
    fn manifest(&self) -> Option<String> {
        let file: Option<PathBuf> = match (&self.fixture, &self.beside) {
            (Some(fixture), _) => Some(module(RUNNING).join(fixture)),
            (_, Some(file)) => Some(beside(file)?),
            _ => None,
        };
        Some(file.map_or_else(|| self.complete().to_string(), |f| std::fs::read_to_string(f).unwrap()))
    }

    /// The policy with what the table leaves out.
    pub(super) fn complete(&self) -> Value {
        let mut policy = self.policy.clone().expect("a case has a policy or a fixture");
        let kind = policy["kind"].as_str().unwrap().to_owned();
        let cel = !matches!(kind.as_str(), "ClusterPolicy" | "Policy");
        let version = if cel { "policies.kyverno.io/v1" } else { "kyverno.io/v1" };
        let object = policy.as_object_mut().unwrap();
        object.entry("apiVersion").or_insert_with(|| version.into());
        let namespace = object.remove("namespace");
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        metadata["name"] = self.name.as_str().into();
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace;
        }
        let labels = json!({"case": self.name});
        let spec = policy["spec"].as_object_mut().unwrap();
        if cel {
            let resources = if self.pod { "pods" } else { "configmaps" };
            spec.entry("matchConstraints").or_insert_with(|| {
                json!({"objectSelector": {"matchLabels": labels},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resources]}]})
            });
            let expression = if kind.contains("Image") { "images.containers.all(image, false)" } else { "false" };
            spec.entry("validations").or_insert_with(|| json!([{"expression": expression, "message": "a bad resource"}]));
            if kind.contains("Image") {
                spec.entry("matchImageReferences").or_insert_with(|| json!([{"glob": "registry.example/*"}]));
                spec.entry("attestors").or_insert_with(|| json!([{"name": "nobody", "cosign": {"key": {"data": PUBLIC_KEY}}}]));
                spec.entry("validationConfigurations")
                    .or_insert_with(|| json!({"mutateDigest": false, "required": false, "verifyDigest": false}));
            }
            return policy;
        }
        for rule in spec["rules"].as_array_mut().unwrap() {
            let rule = rule.as_object_mut().unwrap();
            let kinds = if self.pod { "Pod" } else { "ConfigMap" };
            rule.entry("match").or_insert_with(|| json!({"any": [{"resources": {"kinds": [kinds], "selector": {"matchLabels": labels}}}]}));
            let validate = rule.entry("validate").or_insert_with(|| json!({})).as_object_mut().unwrap();
            if !["deny", "pattern", "cel", "foreach", "podSecurity", "anyPattern"].iter().any(|check| validate.contains_key(*check)) {
                validate.insert("deny".to_owned(), json!({}));
            }
            if !validate.contains_key("cel") && !validate.contains_key("podSecurity") {
                validate.insert("message".to_owned(), "a bad resource".into());
            }
        }
        policy
    }

    pub(super) fn resource(&self, send: &Send) -> Value {
        let mut resource = send.resource.clone().unwrap_or_else(|| {
            let metadata = json!({"name": self.name, "labels": {"case": self.name}});
            if self.pod {
                let container = json!({"name": "c", "image": "registry.example/c:1", "securityContext": {"privileged": true}});
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
            } else {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"bad": "1"}})
            }
        });
        if let Some(namespace) = &send.r#in {
            resource["metadata"]["namespace"] = namespace.as_str().into();
        }
        resource
    }
}

/// Whether a warning is a verdict on the resource: Kyverno and the API server also warn of kinds that will go (kyverno.io's exceptions, for one).
fn is_verdict(warning: &str) -> bool {
    !warning.contains("is deprecated")
}

/// Where objects like this one are.
fn collection(resource: &Value) -> String {
    let api = resource["apiVersion"].as_str().unwrap();
    let prefix = if api == "v1" { "/api/v1".to_owned() } else { format!("/apis/{api}") };
    let namespace = resource["metadata"]["namespace"].as_str().map(|n| format!("/namespaces/{n}")).unwrap_or_default();
    format!("{prefix}{namespace}/{}s", resource["kind"].as_str().unwrap().to_lowercase())
}

/// Sends a resource as a dry run, which passes through Kyverno's webhooks like any other request.
pub(super) fn dry_run(cluster: &Cluster, resource: &Value) -> Observed {
    let reply = cluster.api.post(&format!("{}?dryRun=All", collection(resource)), resource).unwrap();
    match reply.status {
        // 400 is how Kyverno's webhooks refuse, 422 how a ValidatingAdmissionPolicy does; both name themselves.
        400 | 403 | 422 => {
            let message = reply.body["message"].as_str().unwrap_or_default();
            assert!(message.contains("kyverno") || message.contains("ValidatingAdmissionPolicy"), "refused by somebody else: {message}");
            Observed::Blocked
        }
        201 if reply.warnings.iter().any(|warning| is_verdict(warning)) => Observed::Warned,
        201 => Observed::Passed,
        status => panic!("{status}: {}", reply.body),
    }
}

/// Sends it with kubectl, as a person would, and takes it away again.
fn create(cluster: &Cluster, resource: &Value) -> Observed {
    let text = resource.to_string();
    let output = cluster.try_kubectl(&["create", "-f", "-"], &text);
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(words.contains("kyverno") || words.contains("ValidatingAdmissionPolicy"), "refused by somebody else: {words}");
        return Observed::Blocked;
    }
    let path = format!("{}/{}", collection(resource), resource["metadata"]["name"].as_str().unwrap());
    cluster.api.delete(&path).unwrap().ok();
    if words.lines().any(|line| line.contains("Warning:") && is_verdict(line)) { Observed::Warned } else { Observed::Passed }
}

/// Applies a batch of cases that do not get into each other's way and waits until Kyverno does with every resource what the table says, for a while; then sends
/// each once with kubectl.
fn run(cluster: &Cluster, desk: &Desk, cases: &[Case]) {
    let there = cases.iter().filter_map(|case| Some((case, case.manifest()?))).collect::<Vec<_>>();
    let namespaces = there.iter().map(|(case, _)| case.namespace.as_deref().unwrap_or("default")).collect::<BTreeSet<_>>();
    for namespace in namespaces {
        let here = there.iter().filter(|(case, _)| case.namespace.as_deref().unwrap_or("default") == namespace);
        let manifests = here.map(|(_, manifest)| manifest.as_str()).collect::<Vec<_>>().join("\n---\n");
        // Without --namespace, which would contradict the manifests that name theirs.
        let args = ["apply", "-f", "-", "--namespace", namespace];
        cluster.kubectl_with(if namespace == "default" { &args[..3] } else { &args }, &manifests);
    }
    let sends = there
        .iter()
        .map(|(case, _)| *case)
        .flat_map(|case| case.sends.iter().map(move |send| (case, send, case.resource(send))))
        .collect::<Vec<_>>();
    let mut since = None;
    eventually("what Kyverno does is as the table says", IN_FORCE, || {
        let mut other = String::new();
        for (case, send, resource) in &sends {
            let done = dry_run(cluster, resource);
            if done != send.observed {
                write!(other, "\n  {} in {:?}: {done:?}, not {:?}", case.name, send.r#in, send.observed).unwrap();
            }
        }
        if !other.is_empty() {
            since = None;
            return Err(other);
        }
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() < STABLE { Err("as it says, for how long?".to_owned()) } else { Ok(()) }
    });
    for (case, send, resource) in &sends {
        assert_eq!(create(cluster, resource), send.observed, "{} in {:?}, sent with kubectl", case.name, send.r#in);
    }
    let sends = sends.iter().map(|(case, send, _)| (*case, *send)).collect::<Vec<_>>();
    // A policy becomes Ready a moment after its webhook works, so the words may come a little after the deeds.
    eventually("policydeck's modes are what Kyverno does", SOON, || {
        let wrong = differences(desk, &sends);
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
    });
}

/// Where the mode that policydeck gives in a namespace is not what was observed there, or not the table's.
fn differences(desk: &Desk, sends: &[(&Case, &Send)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let namespaces = sends.iter().map(|(_, send)| send.r#in.as_deref()).collect::<BTreeSet<_>>();
    for namespace in namespaces {
        let scope = namespace.map_or(Vec::new(), |n| vec!["-n", n]);
        let (document, _) = desk.json(&[&["policies"], scope.as_slice()].concat());
        for (case, send) in sends.iter().filter(|(_, send)| send.r#in.as_deref() == namespace) {
            let name = case.policy_name.as_deref().unwrap_or(&case.name);
            let item = document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == name);
            let said = item.map_or("absent", |item| item["mode"].as_str().unwrap_or("no mode"));
            let in_force = item.map_or("no", |item| item["inForce"]["state"].as_str().unwrap_or("not said"));
            let reached = matches!(in_force, "yes" | "partly");
            let fits = match send.observed {
                Observed::Passed => !reached || send.observed.fits(said),
                Observed::Blocked | Observed::Warned => reached && send.observed.fits(said),
            };
            if !fits || send.mode.as_deref().is_some_and(|mode| mode != said) {
                let (observed, mode) = (send.observed, &send.mode);
                wrong
                    .push(format!("{name} in {namespace:?}: Kyverno {observed:?}, table {mode:?}, policydeck {said}, in force {in_force}"));
            }
        }
    }
    wrong
}

/// The namespaces that the tables speak of.
pub(super) fn namespaces(cluster: &Cluster) {
    for (name, label) in [
        ("plain", ""),
        ("team-a", ""),
        ("team-b", ""),
        ("pods-only", ""),
        ("strict", "tier: strict"),
        ("strict-2", "tier: strict"),
        ("audited", "kyverno-audit: 'true'"),
        ("test-namespace", ""),
    ] {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{label}}}}}}}"));
    }
}

fn delete_policies(cluster: &Cluster) {
    let kinds = "clusterpolicies.kyverno.io,policies.kyverno.io,validatingpolicies.policies.kyverno.io,namespacedvalidatingpolicies.policies.kyverno.io,\
                 imagevalidatingpolicies.policies.kyverno.io,namespacedimagevalidatingpolicies.policies.kyverno.io";
    cluster.kubectl(&["delete", kinds, "--all", "-A"]);
}

pub(super) const OWN: [&str; 4] = ["clusterpolicy-actions.yaml", "clusterpolicy-overrides.yaml", "namespaced-policy.yaml", "cel.yaml"];

#[test]
fn tables_read_and_names_are_unique() {
    let cases = OWN.iter().flat_map(|file| table(file)).collect::<Vec<_>>();
    assert!(cases.len() >= 45, "{}", cases.len());
    let names = cases.iter().map(|case| (case.name.as_str(), case.about.as_str())).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), cases.len());
    assert!(cases.iter().all(|case| !case.sends.is_empty() && case.complete()["apiVersion"].is_string()));
}

#[test]
fn the_mode_is_what_kyverno_does() {
    let Some(fleet) = Fleet::start(&["dev"], Options { controllers: true, kyverno: true, ..Options::default() }) else { return };
    let dev = fleet.cluster("dev");
    namespaces(dev);
    let desk = Desk::new(&fleet, User::Admin, "");
    run(dev, &desk, &OWN.iter().flat_map(|file| table(file)).collect::<Vec<_>>());
    for file in ["fixtures.yaml", "fixtures-alone.yaml", "fixtures-beside.yaml"] {
        delete_policies(dev);
        run(dev, &desk, &table(file));
    }
    delete_policies(dev);
    without_rights_to_report(dev, &desk);
    delete_policies(dev);
    before_kyverno_takes_them_up(&fleet, dev, &desk);
}

/// The mode that policydeck gives a policy in namespace `plain`.
fn said(desk: &Desk, name: &str) -> String {
    let (document, _) = desk.json(&["policies", "-n", "plain"]);
    let item = document["items"].as_array().into_iter().flatten().find(|item| item["policy"]["name"] == name);
    item.map_or("absent", |item| item["mode"].as_str().unwrap()).to_owned()
}

fn case(name: &str, kind: &str, spec: &Value) -> Case {
    let send = Send { r#in: Some("plain".to_owned()), resource: None, observed: Observed::Blocked, mode: Some("enforce".to_owned()) };
    let (about, policy) = (String::new(), Some(json!({"kind": kind, "spec": spec})));
    Case {
        name: name.to_owned(),
        about,
        policy,
        fixture: None,
        beside: None,
        policy_name: None,
        namespace: None,
        pod: false,
        sends: vec![send],
    }
}

/// A CEL policy whose `ready` is false because Kyverno may not report on what it matches: it blocks all the same.
fn without_rights_to_report(dev: &Cluster, desk: &Desk) {
    dev.kubectl(&["patch", "clusterrolebinding", "kyverno", "--type=json", "-p", "[{\"op\": \"remove\", \"path\": \"/subjects/2\"}]"]);
    let case = case("vpol-no-rights", "ValidatingPolicy", &json!({"validationActions": ["Deny"]}));
    dev.apply(&case.complete().to_string());
    let path = "/apis/policies.kyverno.io/v1/validatingpolicies/vpol-no-rights";
    eventually("Kyverno misses rights", IN_FORCE, || {
        let status = dev.api.get(path).unwrap().ok()["status"]["conditionStatus"].take();
        let condition =
            |name: &str| status["conditions"].as_array()?.iter().find(|c| c["type"] == name)?["status"].as_str().map(str::to_owned);
        let fits =
            condition("RBACPermissionsGranted").as_deref() == Some("False") && condition("WebhookConfigured").as_deref() == Some("True");
        if fits && status["ready"] != true { Ok(()) } else { Err(status.to_string()) }
    });
    run(dev, desk, &[case]);
}

/// Policies that Kyverno has not taken up yet: it is down, and its webhooks are gone. Then it comes back.
fn before_kyverno_takes_them_up(fleet: &Fleet, dev: &Cluster, desk: &Desk) {
    dev.signal("kyverno-admission", "KILL");
    dev.kubectl(&["delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all"]);
    let rules = json!({"rules": [{"name": "r", "validate": {"failureAction": "Enforce"}}]});
    let cases =
        [case("cpol-not-yet", "ClusterPolicy", &rules), case("vpol-not-yet", "ValidatingPolicy", &json!({"validationActions": ["Deny"]}))];
    for case in &cases {
        dev.apply(&case.complete().to_string());
        assert_eq!(dry_run(dev, &case.resource(&case.sends[0])), Observed::Passed, "{}", case.name);
        assert_eq!(said(desk, &case.name), "not-ready", "{}", case.name);
    }
    fleet.start_kyverno(&["dev"], false);
    run(dev, desk, &cases);
}
