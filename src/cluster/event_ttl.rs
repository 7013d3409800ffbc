//! How long the cluster keeps events, from the API servers' own flags.
//!
//! They are visible where the control plane runs as Pods (kubeadm, kind). Elsewhere only events that are deleted early show it (`fleet::state`).

use super::address::Path;
use super::flags::Flags;
use super::requests::{JSON, Requests};
use crate::domain::history::EVENTS_KEPT;
use crate::domain::time::parse_duration;
use jiff::SignedDuration;
use serde_json::Value;

/// The label of kubeadm's static Pods.
const PODS: &str = "component=kube-apiserver";
const PROGRAM: &str = "kube-apiserver";

/// The shortest time of all API servers; `None` where they do not show it.
pub(super) async fn ask(requests: &Requests) -> Option<SignedDuration> {
    let pods = Path::list("", "v1", "kube-system", "pods").ok()?.with("resourceVersion", "0").with("labelSelector", PODS);
    of(&requests.json::<Value>(&pods, JSON).await.ok()?)
}

fn of(pods: &Value) -> Option<SignedDuration> {
    let containers = pods.get("items")?.as_array()?.iter().filter_map(|pod| pod.pointer("/spec/containers")?.as_array()).flatten();
    containers.filter_map(|container| kept(&Flags::of(container, PROGRAM)?)).min()
}

fn kept(flags: &Flags<'_>) -> Option<SignedDuration> {
    match flags.text("event-ttl", "")? {
        "" => Some(EVENTS_KEPT),
        given => parse_duration(given).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    #[test]
    fn events_are_kept_as_long_as_the_first_server_that_forgets_says() {
        let pods = |flags: &[&[&str]]| {
            let pod = |flags: &&[&str]| {
                let command: Vec<&str> = ["kube-apiserver", "--v", "2"].iter().chain(*flags).copied().collect();
                json!({"spec": {"containers": [{"command": command}]}})
            };
            json!({"items": flags.iter().map(pod).collect::<Vec<Value>>()})
        };
        let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
        assert_eq!(of(&pods(&[])), None);
        assert_eq!(of(&pods(&[&[]])), minutes(60));
        assert_eq!(of(&pods(&[&["--event-ttl=5m0s"], &["--event-ttl", "2h"]])), minutes(5));
        assert_eq!(of(&pods(&[&["--event-ttl=$(TTL)"]])), None);
        assert_eq!(of(&json!({"items": [{"spec": {"containers": [{"command": ["sh", "-c", "kube-apiserver"]}]}}]})), None);
    }
}
