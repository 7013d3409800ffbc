//! Finding out about a cluster's Kyverno: its version, and what it leaves alone.
//!
//! Nothing of it is needed to read reports; modes depend on it. What may not be read is assumed to be a default installation, and said.

use super::discover::Served;
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use crate::domain::time::parse_duration;
use crate::fleet::delta::KyvernoFacts;
use crate::kinds::Release;
use crate::kinds::mode::Kyverno;
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;

/// Labels of the admission and reports controllers' Deployments, the same from Kyverno 1.10 on (`charts/kyverno/templates/*/_helpers.tpl`).
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments?resourceVersion=0&labelSelector=app.kubernetes.io%2Fcomponent%20in%20(admission-controller%2Creports-controller)";
/// The reports controller's flag, and what it is where it is not given (kyverno/kyverno `cmd/reports-controller/main.go`).
const SCAN_FLAG: &str = "--backgroundScanInterval=";
const SCAN_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kyverno-resource-validating-webhook-cfg";

/// What a look at the installation found.
pub(super) struct Looked {
    pub(super) facts: KyvernoFacts,
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
    let facts = facts(requests, served, &mut faults).await;
    Looked { facts, fault: faults.0 }
}

async fn facts(requests: &Requests, served: &Served, faults: &mut Faults) -> KyvernoFacts {
    if !served.has_kyverno() {
        let notes = vec![Arc::from("Kyverno is not installed (no kyverno.io API). Policies and reports will appear here when it is.")];
        return KyvernoFacts { installed: false, version: None, kyverno: Kyverno::new(Release::UNKNOWN), scan_interval: None, notes };
    }
    let mut notes: Vec<Arc<str>> = Vec::new();
    let deployments = match deployments(requests, faults).await {
        Ok(deployments) => deployments,
        Err(why) => {
            notes.push(Arc::from(format!("the Kyverno version is told from the API only: {why}")));
            Vec::new()
        }
    };
    let deployment = deployments.iter().find(|one| component(one) == Some("admission-controller")).cloned();
    let scan_interval = deployments.iter().find(|one| component(one) == Some("reports-controller")).and_then(scan_interval);
    let image = deployment.as_ref().and_then(image);
    let exact = image.as_deref().and_then(Release::from_text);
    let release = match exact {
        Some(release) => release,
        None => from_api(requests, served).await,
    };
    let version = match (exact, image.as_deref().and_then(tag)) {
        (Some(_), Some(tag)) => Some(Arc::from(tag)),
        _ if release == Release::UNKNOWN => None,
        _ => Some(Arc::from(release.to_string())),
    };
    let kyverno = exclusions(requests, deployment.as_ref(), Kyverno::new(release), &mut notes, faults).await;
    KyvernoFacts { installed: true, version, kyverno, scan_interval, notes }
}

async fn deployments(requests: &Requests, faults: &mut Faults) -> Result<Vec<Value>, String> {
    let list: Value = requests.json(DEPLOYMENTS, JSON).await.map_err(|refusal| {
        faults.note(&refusal);
        match refusal {
            Refusal::Forbidden(_) => "you may not list deployments".to_owned(),
            other => other.to_string(),
        }
    })?;
    let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_kyverno =
        |item: &&Value| text(item, &["metadata", "labels", "app.kubernetes.io/part-of"]).is_some_and(|v| v.contains("kyverno"));
    Ok(items.iter().filter(is_kyverno).cloned().collect())
}

fn component(deployment: &Value) -> Option<&str> {
    text(deployment, &["metadata", "labels", "app.kubernetes.io/component"])
}

/// How often everything is scanned again; `None` where it is not, or where the flag cannot be read. The last flag counts.
fn scan_interval(reports_controller: &Value) -> Option<SignedDuration> {
    let containers = reports_controller.pointer("/spec/template/spec/containers")?.as_array()?;
    let flags: Vec<&str> = containers.iter().filter_map(|one| one.get("args")?.as_array()).flatten().filter_map(Value::as_str).collect();
    if flags.contains(&"--backgroundScan=false") {
        return None;
    }
    match flags.iter().rev().find_map(|flag| flag.strip_prefix(SCAN_FLAG)) {
        Some(interval) => parse_duration(interval).ok(),
        None => Some(SCAN_INTERVAL),
    }
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
    let schema = requests.get("/openapi/v3/apis/kyverno.io/v1", JSON).await.ok();
    let knows = schema.map(|schema| memchr::memmem::find(&schema, b"\"failureAction\"").is_some());
    Release::from_served(&versions, knows)
}

/// What Kyverno leaves alone: its ConfigMap, and the live webhooks where they may be read.
async fn exclusions(
    requests: &Requests,
    deployment: Option<&Value>,
    kyverno: Kyverno,
    notes: &mut Vec<Arc<str>>,
    faults: &mut Faults,
) -> Kyverno {
    let namespace = deployment.and_then(|d| text(d, &["metadata", "namespace"])).unwrap_or("kyverno");
    let name = deployment.and_then(|d| text(d, &["metadata", "labels", "app.kubernetes.io/part-of"])).unwrap_or("kyverno");
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    let config: Result<Value, Refusal> = requests.json(&path, JSON).await;
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
    match requests.json::<Value>(WEBHOOKS, JSON).await {
        Ok(webhooks) => kyverno.with_webhooks(&webhooks),
        Err(refusal) => {
            faults.note(&refusal);
            kyverno
        }
    }
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |at, key| at.get(key))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{SCAN_INTERVAL, scan_interval, tag};
    use jiff::SignedDuration;
    use serde_json::json;

    #[test]
    fn the_scan_interval_is_the_reports_controllers_flag() {
        let of = |args: &[&str]| scan_interval(&json!({"spec": {"template": {"spec": {"containers": [{"args": args}]}}}}));
        assert_eq!(of(&[]), Some(SCAN_INTERVAL));
        assert_eq!(of(&["--v=2", "--backgroundScanInterval=30m"]), Some(SignedDuration::from_mins(30)));
        assert_eq!(of(&["--backgroundScanInterval=1h", "--backgroundScanInterval=1h30m0s"]), Some(SignedDuration::from_mins(90)));
        assert_eq!(of(&["--backgroundScanInterval=often"]), None);
        assert_eq!(of(&["--backgroundScan=false"]), None);
    }

    #[test]
    fn tags_are_read_from_any_image() {
        assert_eq!(tag("reg.kyverno.io/kyverno/kyverno:v1.19.1"), Some("v1.19.1"));
        assert_eq!(tag("localhost:5000/kyverno:v1.13.4@sha256:00"), Some("v1.13.4"));
        assert_eq!(tag("ghcr.io/kyverno/kyverno@sha256:00"), None);
    }
}
