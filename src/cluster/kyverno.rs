//! Finding out about a cluster's Kyverno: its version, and what it leaves alone.
//!
//! Nothing of it is needed to read reports; modes depend on it. What may not be read is assumed to be a default installation, and said.

use super::address::Path;
use super::answers::{Location, Target, target_of};
use super::discover::Served;
use super::flags::Flags;
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use crate::domain::time::parse_duration;
use crate::fleet::delta::KyvernoFacts;
use crate::kinds::Release;
use crate::kinds::mode::Kyverno;
use crate::kinds::webhook::VALIDATING;
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;

/// Labels of the admission and reports controllers' Deployments, the same from Kyverno 1.10 on (`charts/kyverno/templates/*/_helpers.tpl`).
const DEPLOYMENTS: &str = "app.kubernetes.io/component in (admission-controller,reports-controller)";
/// How often the reports controller scans unless told otherwise (kyverno/kyverno `cmd/reports-controller/main.go`).
const SCAN_INTERVAL: &str = "1h";
/// The reason of events that tell of blocked requests: the admission controller's `--omitEvents` can name it (kyverno/kyverno `cmd/kyverno/main.go`).
const OF_BLOCKED: &str = "PolicyViolation";
/// How many events may wait in the admission controller unless told otherwise.
const QUEUED_EVENTS: &str = "1000";
/// Programs of Kyverno's, which are called like their images.
const ADMISSION: &str = "kyverno";
const REPORTS: &str = "reports-controller";
/// Another webhook configuration of Kyverno's, which it has also where it has no policies.
const OF_POLICIES: &str = "kyverno-policy-validating-webhook-cfg";
/// Where Kyverno is, if nothing tells (`charts/kyverno/values.yaml`).
const NAMESPACE: &str = "kyverno";

/// What a look at the installation found.
pub(super) struct Looked {
    pub(super) facts: KyvernoFacts,
    /// Where Kyverno is, if it is installed.
    pub(super) location: Option<Location>,
    /// Something could not be read because of a fault that may pass; it was assumed.
    pub(super) fault: Option<Refusal>,
}

/// Faults that say nothing about the installation, by the first that was met.
#[derive(Default)]
struct Faults(Option<Refusal>);

impl Faults {
    fn note(&mut self, refusal: &Refusal) {
        let passes = matches!(refusal, Refusal::Unauthorized(_) | Refusal::TooMany(_) | Refusal::Server(_) | Refusal::Unreachable(_));
        if passes && self.0.is_none() {
            self.0 = Some(refusal.clone());
        }
    }
}

/// Looks at the installation. What cannot be read is assumed and noted.
pub(super) async fn look(requests: &Requests, served: &Served) -> Looked {
    let mut faults = Faults::default();
    if !served.has_kyverno() {
        let notes = vec![Arc::from("Kyverno is not installed (no kyverno.io API). Policies and reports will appear here when it is.")];
        let kyverno = Kyverno::new(Release::UNKNOWN);
        let facts = KyvernoFacts { installed: false, version: None, kyverno, scan_interval: None, makes_events: None, notes };
        return Looked { facts, location: None, fault: None };
    }
    let (facts, location) = facts(requests, served, &mut faults).await;
    Looked { facts, location: Some(location), fault: faults.0 }
}

async fn facts(requests: &Requests, served: &Served, faults: &mut Faults) -> (KyvernoFacts, Location) {
    let mut notes: Vec<Arc<str>> = Vec::new();
    let validating = configuration(requests, VALIDATING, faults).await;
    let mut target = validating.as_ref().map_or(Target::Unknown, target_of);
    if target == Target::Unknown {
        target = configuration(requests, OF_POLICIES, faults).await.as_ref().map_or(Target::Unknown, target_of);
    }
    let namespace = if let Target::Service { namespace, .. } = &target { Some(namespace.clone()) } else { None };
    let deployments = match deployments(requests, namespace.as_deref(), faults).await {
        Ok(deployments) => deployments,
        Err(why) => {
            notes.push(Arc::from(format!("the Kyverno version is told from the API only: {why}")));
            Vec::new()
        }
    };
    let deployment = deployments.iter().find(|one| is_controller(one, "admission-controller", ADMISSION)).cloned();
    let scan_interval = deployments.iter().find(|one| is_controller(one, "reports-controller", REPORTS)).and_then(scan_interval);
    let makes_events = deployment.as_ref().and_then(makes_events);
    let image = deployment.as_ref().and_then(image);
    let exact = image.as_deref().and_then(Release::from_text);
    let release = match exact {
        Some(release) => release,
        None => from_api(requests, served).await,
    };
    let version: Option<Arc<str>> = match (exact, image.as_deref().and_then(tag)) {
        (Some(_), Some(tag)) => Some(Arc::from(tag)),
        _ if release == Release::UNKNOWN => None,
        _ => Some(Arc::from(release.to_string())),
    };
    let (namespace, is_guess) = place(namespace, &deployments);
    let kyverno = Kyverno::new(release).with_version(version.as_deref());
    let settings = settings_of(&namespace, deployment.as_ref());
    let kyverno = exclusions(requests, &settings, validating.as_ref(), kyverno, &mut notes, faults).await;
    notes.extend(kyverno.broken().map(|what| Arc::from(what.to_owned())));
    (KyvernoFacts { installed: true, version, kyverno, scan_interval, makes_events, notes }, Location { namespace, is_guess, target })
}

/// Kyverno's namespace, and whether that is only a guess: its webhooks show it, or else the only admission controller that there is.
fn place(of_webhooks: Option<String>, deployments: &[Value]) -> (String, bool) {
    let mut controllers = deployments.iter().filter(|one| is_controller(one, "admission-controller", ADMISSION));
    let (first, more) = (controllers.next(), controllers.next());
    let of_deployment = first.and_then(|d| text(d, &["metadata", "namespace"])).map(str::to_owned);
    let is_guess = of_webhooks.is_none() && (of_deployment.is_none() || more.is_some());
    (of_webhooks.or(of_deployment).unwrap_or_else(|| NAMESPACE.to_owned()), is_guess)
}

/// A webhook configuration, if it exists and may be read.
async fn configuration(requests: &Requests, name: &str, faults: &mut Faults) -> Option<Value> {
    let path = Path::list("admissionregistration.k8s.io", "v1", "", "validatingwebhookconfigurations").and_then(|list| list.name(name));
    requests.json(&path.ok()?, JSON).await.map_err(|refusal| faults.note(&refusal)).ok()
}

/// Kyverno's Deployments: in the namespace that its webhooks lead to, under whatever name and labels; else wherever the chart's labels are.
async fn deployments(requests: &Requests, namespace: Option<&str>, faults: &mut Faults) -> Result<Vec<Value>, String> {
    let mut list = async |namespace: &str, label: Option<&str>| -> Result<Vec<Value>, String> {
        let path = Path::list("apps", "v1", namespace, "deployments").map_err(|invalid| invalid.to_string())?.with("resourceVersion", "0");
        let path = label.map_or_else(|| path.clone(), |label| path.clone().with("labelSelector", label));
        let list: Value = requests.json(&path, JSON).await.map_err(|refusal| {
            faults.note(&refusal);
            match refusal {
                Refusal::Forbidden(_) => "you may not list deployments".to_owned(),
                other => other.to_string(),
            }
        })?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    };
    if let Some(namespace) = namespace {
        let there = list(namespace, None).await?;
        if there.iter().any(|one| is_controller(one, "admission-controller", ADMISSION)) {
            return Ok(there);
        }
    }
    let labelled = list("", Some(DEPLOYMENTS)).await?;
    let is_kyverno = |item: &Value| {
        text(item, &["metadata", "labels", "app.kubernetes.io/part-of"]).is_some_and(|v| v.contains("kyverno"))
            || image(item).is_some_and(|image| image.contains("kyverno"))
    };
    Ok(labelled.into_iter().filter(is_kyverno).collect())
}

/// Whether a Deployment is the controller with that label, or runs that image.
fn is_controller(deployment: &Value, label: &str, name: &str) -> bool {
    let runs = || image(deployment).is_some_and(|image| image_name(&image) == name);
    component(deployment).map_or_else(runs, |component| component == label)
}

/// The last part of an image's name, without tag and digest.
fn image_name(image: &str) -> &str {
    let last = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// Kyverno's ConfigMap, as (namespace, name): the container's `INIT_CONFIG` (Kyverno `pkg/config/config.go`); where the Deployment cannot be read
/// or says nothing, the name that the chart gives.
fn settings_of(namespace: &str, deployment: Option<&Value>) -> (String, String) {
    let containers = deployment.and_then(|d| d.pointer("/spec/template/spec/containers")?.as_array());
    let mut env = containers.into_iter().flatten().filter_map(|one| one.get("env")?.as_array()).flatten();
    let configured = env.find(|one| text(one, &["name"]) == Some("INIT_CONFIG")).and_then(|one| text(one, &["value"]));
    let part_of = deployment.and_then(|d| text(d, &["metadata", "labels", "app.kubernetes.io/part-of"]));
    (namespace.to_owned(), configured.or(part_of).unwrap_or("kyverno").to_owned())
}

fn component(deployment: &Value) -> Option<&str> {
    text(deployment, &["metadata", "labels", "app.kubernetes.io/component"])
}

/// How often everything is scanned again; `None` where it is not, or where the flag cannot be read.
fn scan_interval(reports_controller: &Value) -> Option<SignedDuration> {
    let flags = flags(reports_controller, REPORTS)?;
    flags.switch("backgroundScan", true)?.then(|| parse_duration(flags.text("backgroundScanInterval", SCAN_INTERVAL)?).ok())?
}

/// The flags of a Deployment's container that runs `program`.
fn flags<'a>(deployment: &'a Value, program: &str) -> Option<Flags<'a>> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let of_image = |fits: &dyn Fn(&str) -> bool| containers.iter().find(|one| text(one, &["image"]).is_some_and(fits));
    let own = of_image(&|image| image_name(image) == program).or_else(|| of_image(&|image| image.contains("kyverno")));
    let only = || containers.first().filter(|_| containers.len() == 1);
    Flags::of(own.or_else(only)?, program)
}

/// Whether blocked requests make events; `None` where the flags cannot be read.
fn makes_events(admission_controller: &Value) -> Option<bool> {
    let flags = flags(admission_controller, ADMISSION)?;
    let omitted = flags.text("omitEvents", "")?;
    // Where none may wait, none is made (Kyverno `pkg/event/controller.go`).
    let queued: i64 = flags.text("maxQueuedEvents", QUEUED_EVENTS)?.parse().ok()?;
    Some(queued > 0 && !omitted.split(',').any(|reason| reason.trim().trim_matches('"') == OF_BLOCKED))
}

/// The image of Kyverno's own container.
fn image(deployment: &Value) -> Option<String> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let images: Vec<&str> = containers.iter().filter_map(|container| text(container, &["image"])).collect();
    images.iter().find(|image| image.contains("kyverno")).or(images.first()).map(|image| (*image).to_owned())
}

/// The tag of an image, without its digest.
fn tag(image: &str) -> Option<&str> {
    image.split('@').next()?.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

/// The release as far as the served APIs tell it.
async fn from_api(requests: &Requests, served: &Served) -> Release {
    let versions: Vec<(&str, &str)> = served.versions.iter().map(|(group, version)| (group.as_str(), version.as_str())).collect();
    // The rule's own action came with 1.13 (kyverno/kyverno `config/crds`, measured over all releases).
    let schema = match Path::schema("kyverno.io", "v1") {
        Ok(path) => requests.get(&path, JSON).await.ok(),
        Err(_) => None,
    };
    let knows = schema.map(|schema| memchr::memmem::find(&schema, b"\"failureAction\"").is_some());
    Release::from_served(&versions, knows)
}

/// What Kyverno leaves alone: its ConfigMap, and the live webhooks where they may be read.
async fn exclusions(
    requests: &Requests,
    (namespace, name): &(String, String),
    webhooks: Option<&Value>,
    kyverno: Kyverno,
    notes: &mut Vec<Arc<str>>,
    faults: &mut Faults,
) -> Kyverno {
    let config: Result<Value, Refusal> = async {
        let path = Path::list("", "v1", namespace, "configmaps")?.name(name)?;
        requests.json(&path, JSON).await
    }
    .await;
    let kyverno = match config.map(|config| kyverno.clone().with_config_map(&config)) {
        Ok(Ok(configured)) => configured,
        Ok(Err(unreadable)) => {
            notes.push(Arc::from(format!("namespaces that Kyverno leaves alone are assumed to be the usual ones: {unreadable}")));
            kyverno
        }
        Err(refusal) => {
            faults.note(&refusal);
            let why = match refusal {
                Refusal::Forbidden(_) => format!("you may not read the ConfigMap {namespace}/{name}"),
                Refusal::NotFound(_) => format!("there is no ConfigMap {namespace}/{name}"),
                other => other.to_string(),
            };
            notes.push(Arc::from(format!("namespaces that Kyverno leaves alone are assumed to be the usual ones: {why}")));
            kyverno
        }
    };
    match webhooks {
        Some(webhooks) => kyverno.with_webhooks(webhooks),
        None => kyverno,
    }
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |at, key| at.get(key))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{ADMISSION, REPORTS, image_name, is_controller, makes_events, place, scan_interval, settings_of, tag};
    use jiff::SignedDuration;
    use serde_json::json;

    #[test]
    fn the_scan_interval_is_the_reports_controllers_flag() {
        let of = |args: &[&str]| scan_interval(&json!({"spec": {"template": {"spec": {"containers": [{"args": args}]}}}}));
        assert_eq!(of(&[]), Some(SignedDuration::from_hours(1)));
        assert_eq!(of(&["--v=2", "--backgroundScanInterval=30m"]), Some(SignedDuration::from_mins(30)));
        assert_eq!(of(&["--backgroundScanInterval=1h", "--backgroundScanInterval=1h30m0s"]), Some(SignedDuration::from_mins(90)));
        assert_eq!(of(&["--backgroundScanInterval=often"]), None);
        assert_eq!(of(&["--backgroundScanInterval", "2h"]), Some(SignedDuration::from_hours(2)));
        assert_eq!(of(&["--backgroundScanInterval=$(INTERVAL)"]), None);
        assert_eq!(of(&["--backgroundScan=false"]), None);
        assert_eq!(of(&["-backgroundScan=False"]), None);
    }

    #[test]
    fn events_of_blocked_requests_can_be_switched_off() {
        let of = |args: &[&str]| makes_events(&json!({"spec": {"template": {"spec": {"containers": [{"args": args}]}}}}));
        assert_eq!(of(&[]), Some(true));
        assert_eq!(of(&["--omitEvents=PolicyApplied,PolicySkipped"]), Some(true));
        assert_eq!(of(&["--omitEvents=PolicyApplied,PolicyViolation"]), Some(false));
        assert_eq!(of(&["--omitEvents=PolicyViolation", "--omitEvents="]), Some(true));
        assert_eq!(of(&["-omitEvents=PolicyViolation"]), Some(false));
        assert_eq!(of(&["--omitEvents", "PolicyViolation"]), Some(false));
        assert_eq!(of(&["--omitEvents=$(OMIT)"]), None);
        assert_eq!(of(&["--maxQueuedEvents=1000"]), Some(true));
        assert_eq!(of(&["--maxQueuedEvents=0"]), Some(false));
        assert_eq!(of(&["--maxQueuedEvents", "-1"]), Some(false));
        assert_eq!(of(&["--maxQueuedEvents=some"]), None);
        assert_eq!(makes_events(&json!({})), None);
    }

    #[test]
    fn flags_are_those_of_kyvernos_own_container() {
        let of = |containers: serde_json::Value| makes_events(&json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        let silent = |image: &str| json!({"image": image, "args": ["--omitEvents=PolicyViolation"]});
        let proxy = json!({"image": "istio/proxyv2:1", "args": ["proxy"]});
        assert_eq!(of(json!([proxy, silent("mirror/kyverno:1")])), Some(false));
        assert_eq!(of(json!([silent("other:1"), {"image": "mirror/kyverno:1"}])), Some(true));
        assert_eq!(of(json!([proxy, silent("mirror/renamed:1")])), None);
        assert_eq!(of(json!([{"image": "mirror/kyverno:1", "command": ["/ko-app/kyverno", "-omitEvents=PolicyViolation"]}])), Some(false));
    }

    #[test]
    fn controllers_are_known_by_label_or_image() {
        let labelled = json!({"metadata": {"labels": {"app.kubernetes.io/component": "admission-controller"}}});
        assert!(is_controller(&labelled, "admission-controller", ADMISSION) && !is_controller(&labelled, "reports-controller", REPORTS));
        let bare = json!({"spec": {"template": {"spec": {"containers": [{"image": "mirror:5000/x/kyverno:v1.18.2"}]}}}});
        assert!(is_controller(&bare, "admission-controller", ADMISSION) && !is_controller(&bare, "reports-controller", REPORTS));
        assert_eq!(image_name("mirror:5000/a/reports-controller@sha256:00"), "reports-controller");
    }

    #[test]
    fn a_namespace_that_nothing_shows_is_a_guess() {
        let controller = |namespace: &str| json!({"metadata": {"namespace": namespace, "labels": {"app.kubernetes.io/component": "admission-controller"}}});
        let other = json!({"metadata": {"namespace": "x", "labels": {"app.kubernetes.io/component": "reports-controller"}}});
        let at = |name: &str| name.to_owned();
        for (webhooks, deployments, expected) in [
            (None, vec![], (at("kyverno"), true)),
            (None, vec![other.clone()], (at("kyverno"), true)),
            (None, vec![other, controller("policy-system")], (at("policy-system"), false)),
            (None, vec![controller("old"), controller("new")], (at("old"), true)),
            (Some(at("new")), vec![controller("old"), controller("new")], (at("new"), false)),
            (Some(at("new")), vec![], (at("new"), false)),
        ] {
            assert_eq!(place(webhooks.clone(), &deployments), expected, "{webhooks:?} {deployments:?}");
        }
    }

    #[test]
    fn the_config_map_is_the_containers_own() {
        let deployment = |env: serde_json::Value| json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "guardrails"}}, "spec": {"template": {"spec": {"containers": [{"env": env}]}}}});
        let name = |env| settings_of("policy-system", Some(&deployment(env))).1;
        assert_eq!(name(json!([{"name": "INIT_CONFIG", "value": "custom-config"}])), "custom-config");
        assert_eq!((name(json!([])), settings_of("kyverno", None).1), ("guardrails".to_owned(), "kyverno".to_owned()));
    }

    #[test]
    fn tags_are_read_from_any_image() {
        assert_eq!(tag("reg.kyverno.io/kyverno/kyverno:v1.19.1"), Some("v1.19.1"));
        assert_eq!(tag("localhost:5000/kyverno:v1.13.4@sha256:00"), Some("v1.13.4"));
        assert_eq!(tag("ghcr.io/kyverno/kyverno@sha256:00"), None);
    }
}
