//! How many processes decide on requests: API servers, and replicas of Kyverno's admission controller.
//!
//! Metrics of some of them say nothing of what the others blocked. Every address of their Service counts, ready or not: one that is not ready now may have
//! been. API servers keep the `EndpointSlice` of the Service `kubernetes` themselves (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>,
//! `--endpoint-reconciler-type`; with `none` nothing lists them).

use super::address::Path;
use super::answers::{Target, target_of};
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use super::station::Signals;
use crate::kinds::metrics::Counting;
use crate::kinds::webhook::VALIDATING;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::timeout;

/// How long the questions may take together.
const LIMIT: Duration = Duration::from_secs(8);
/// The Service of the API servers, with its namespace.
const SERVERS: (&str, &str) = ("default", "kubernetes");

/// How many processes count what Prometheus is asked for, as the cluster lists them now.
///
/// # Errors
/// Why that is unknown, in words.
pub async fn replicas(signals: &Signals, counting: Counting) -> Result<usize, String> {
    let requests = signals.current.borrow().clone().ok_or("there is no connection to the API server")?;
    let counted = timeout(LIMIT, count(&requests, counting)).await;
    counted.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?
}

async fn count(requests: &Requests, counting: Counting) -> Result<usize, String> {
    match counting {
        Counting::Servers => addresses(requests, SERVERS.0, SERVERS.1).await,
        Counting::Kyverno => match target(requests).await? {
            Target::Service { namespace, name } => addresses(requests, &namespace, &name).await,
            Target::Url(..) => Ok(1),
            Target::Unknown => Err("no webhook configuration shows where Kyverno is".to_owned()),
        },
    }
}

/// What Kyverno's webhooks point to.
async fn target(requests: &Requests) -> Result<Target, String> {
    let path =
        Path::list("admissionregistration.k8s.io", "v1", "", "validatingwebhookconfigurations").and_then(|list| list.name(VALIDATING));
    let path = path.map_err(|invalid| invalid.to_string())?;
    match requests.json::<Value>(&path, JSON).await {
        Ok(configuration) => Ok(target_of(&configuration)),
        Err(Refusal::NotFound(_)) => Ok(Target::Unknown),
        Err(Refusal::Forbidden(_)) => Err(denied("read Kyverno's webhook configuration")),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// The addresses of a Service.
async fn addresses(requests: &Requests, namespace: &str, service: &str) -> Result<usize, String> {
    let path = Path::list("discovery.k8s.io", "v1", namespace, "endpointslices").map_err(|invalid| invalid.to_string())?;
    let path = path.with("resourceVersion", "0").with("labelSelector", &format!("kubernetes.io/service-name={service}"));
    match requests.json::<Value>(&path, JSON).await {
        Ok(slices) => match listed(&slices) {
            0 => Err(format!("the EndpointSlices of Service {namespace}/{service} list no address")),
            count => Ok(count),
        },
        Err(Refusal::Forbidden(_)) => Err(denied(&format!("list endpointslices in namespace {namespace}"))),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn denied(what: &str) -> String {
    format!("you may not {what} (assets/rbac/viewer.yaml has the right)")
}

/// How many addresses slices list. Where a Service has both IP families, each process is listed once in each.
fn listed(slices: &Value) -> usize {
    let mut by_family: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for slice in slices.get("items").and_then(Value::as_array).into_iter().flatten() {
        let family = slice.get("addressType").and_then(Value::as_str).unwrap_or_default();
        let endpoints = slice.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        // The addresses of one endpoint are all of the same process.
        let first = endpoints.filter_map(|endpoint| endpoint.pointer("/addresses/0")?.as_str());
        by_family.entry(family).or_default().extend(first);
    }
    by_family.values().map(BTreeSet::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_address_of_a_family_counts_once() {
        let slice = |family: &str, addresses: &[&str]| {
            let endpoints: Vec<Value> =
                addresses.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": *address != "10.0.0.2"}})).collect();
            json!({"addressType": family, "endpoints": endpoints})
        };
        for (what, slices, expected) in [
            ("one", vec![slice("IPv4", &["10.0.0.1"])], 1),
            ("one that is not ready", vec![slice("IPv4", &["10.0.0.1", "10.0.0.2"])], 2),
            ("several slices", vec![slice("IPv4", &["10.0.0.1"]), slice("IPv4", &["10.0.0.2", "10.0.0.1"])], 2),
            ("two families", vec![slice("IPv4", &["10.0.0.1", "10.0.0.2"]), slice("IPv6", &["fd00::1", "fd00::2"])], 2),
            ("none", vec![json!({"addressType": "IPv4", "endpoints": null}), json!({})], 0),
        ] {
            assert_eq!(listed(&json!({"items": slices})), expected, "{what}");
        }
    }
}
