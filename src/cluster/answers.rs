//! Whether Kyverno answers its webhooks: what they point to, and the lease that Kyverno renews while it lives.
//!
//! What lives here: asking, every few seconds, and what the answers mean together. What does not: which webhooks there are (`kinds::webhook`).
//!
//! One sign that it is gone is enough; so is one sign of life where the other cannot be read.

use super::address::Path;
use super::refusal::Refusal;
use super::requests::{JSON, Requests};
use crate::domain::{Force, Gap, InForce};
use http::Uri;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Kyverno renews its lease every ten seconds and does not believe one that is older than this (Kyverno `pkg/controllers/webhook/controller.go`,
/// `IdleDeadline`).
const IDLE: SignedDuration = SignedDuration::from_secs(100);
const LEASE: &str = "kyverno-health";
/// How long a connection to the webhooks' address may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Where Kyverno is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// Its namespace.
    pub(super) namespace: String,
    /// Nothing showed the namespace; it is the chart's.
    pub(super) is_guess: bool,
    /// What its webhooks point to.
    pub(super) target: Target,
}

/// What webhooks point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A service.
    Service { namespace: String, name: String },
    /// An address, as (host, port).
    Url(String, u16),
    /// No webhook tells.
    Unknown,
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sign {
    Alive,
    Gone(Gap),
    /// It says nothing, and why not.
    Silent(String),
}

/// Asks. `server` is the API server's own address.
pub(super) async fn ask(requests: &Requests, location: &Location, server: &str) -> Result<InForce, Refusal> {
    let (target, lease) = tokio::join!(ask_target(requests, &location.target, server), ask_lease(requests, &location.namespace));
    let lease = lease?;
    Ok(together(target?, if location.is_guess { at_a_guess(lease, &location.namespace) } else { lease }))
}

/// Of a namespace that nothing showed: Kyverno may live in another one, whatever an earlier installation left here.
fn at_a_guess(lease: Sign, namespace: &str) -> Sign {
    match lease {
        Sign::Gone(_) => Sign::Silent(format!("nothing shows where Kyverno is, and no lease in namespace {namespace} says that it lives")),
        other => other,
    }
}

fn together(target: Sign, lease: Sign) -> InForce {
    // Older releases may have no lease; endpoints that are ready say enough.
    let lease = match lease {
        Sign::Gone(Gap::NoLease { .. }) if target == Sign::Alive => Sign::Alive,
        other => other,
    };
    match (target, lease) {
        (Sign::Gone(gap), _) | (_, Sign::Gone(gap)) => InForce::because(Force::No, gap),
        (Sign::Alive, _) | (_, Sign::Alive) => InForce::YES,
        (Sign::Silent(why), Sign::Silent(_)) => {
            InForce::because(Force::Unknown, Gap::NotRead { what: "Kyverno's endpoints and lease", why })
        }
    }
}

async fn ask_target(requests: &Requests, target: &Target, server: &str) -> Result<Sign, Refusal> {
    match target {
        Target::Service { namespace, name } => {
            let slices: Result<Value, Refusal> = async {
                let slices = Path::list("discovery.k8s.io", "v1", namespace, "endpointslices")?.with("resourceVersion", "0");
                requests.json(&slices.with("labelSelector", &format!("kubernetes.io/service-name={name}")), JSON).await
            }
            .await;
            said(slices.map(|slices| {
                if has_ready_endpoint(&slices) {
                    Sign::Alive
                } else {
                    Sign::Gone(Gap::NoEndpoint { service: format!("{namespace}/{name}") })
                }
            }))
        }
        // From here an address says something only if it is where the API server is, too.
        Target::Url(host, port) if host_of(server).is_some_and(|(of_server, _)| of_server == *host) => {
            Ok(match timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await {
                Ok(Ok(_)) => Sign::Alive,
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                    Sign::Gone(Gap::NoAnswer { address })
                }
                Ok(Err(error)) => Sign::Silent(error.to_string()),
                Err(_) => Sign::Silent(format!("no connection to {host}:{port} within {} s", CONNECT.as_secs())),
            })
        }
        Target::Url(host, _) => Ok(Sign::Silent(format!("the webhooks point to {host}, which only the API server can reach"))),
        Target::Unknown => Ok(Sign::Silent("no webhook configuration shows where Kyverno is".to_owned())),
    }
}

async fn ask_lease(requests: &Requests, namespace: &str) -> Result<Sign, Refusal> {
    let lease = format!("{namespace}/{LEASE}");
    let object: Result<Value, Refusal> = async {
        let path = Path::list("coordination.k8s.io", "v1", namespace, "leases")?.name(LEASE)?;
        requests.json(&path, JSON).await
    }
    .await;
    match object {
        Ok(object) => Ok(of_lease(&object, lease, requests.now())),
        Err(Refusal::NotFound(_)) => Ok(Sign::Gone(Gap::NoLease { lease })),
        Err(refusal) => said(Err(refusal)),
    }
}

/// What a refusal leaves unknown; faults that pass are passed on.
fn said(answer: Result<Sign, Refusal>) -> Result<Sign, Refusal> {
    match answer {
        Ok(sign) => Ok(sign),
        Err(Refusal::Forbidden(_)) => {
            Ok(Sign::Silent("not allowed in Kyverno's namespace. Bind Role policydeck-viewer (assets/rbac/viewer.yaml)".to_owned()))
        }
        Err(refusal @ (Refusal::Unauthorized(_) | Refusal::TooMany(_) | Refusal::Server(_) | Refusal::Unreachable(_))) => Err(refusal),
        Err(other) => Ok(Sign::Silent(other.to_string())),
    }
}

/// A missing condition means ready (Kubernetes `EndpointConditions`).
fn has_ready_endpoint(slices: &Value) -> bool {
    let slices = slices.get("items").and_then(Value::as_array).into_iter().flatten();
    let mut endpoints = slices.filter_map(|slice| slice.get("endpoints")?.as_array()).flatten();
    endpoints.any(|endpoint| endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true))
}

fn of_lease(object: &Value, lease: String, now: Timestamp) -> Sign {
    let annotated = object.pointer("/metadata/annotations/kyverno.io~1last-request-time");
    let times =
        [annotated, object.pointer("/spec/renewTime")].into_iter().flatten().filter_map(|time| time.as_str()?.parse::<Timestamp>().ok());
    let Some(last) = times.max() else { return Sign::Silent(format!("lease {lease} has no time")) };
    if now.duration_since(last) > IDLE { Sign::Gone(Gap::OldLease { lease, renewed: last }) } else { Sign::Alive }
}

/// Host and port of a URL; the address of the sixth version without its brackets, as sockets take it.
fn host_of(url: &str) -> Option<(String, u16)> {
    let url: Uri = url.parse().ok()?;
    let host = url.host().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), url.port_u16().unwrap_or(443)))
}

/// Where the webhooks of a configuration point to.
pub(super) fn target_of(configuration: &Value) -> Target {
    let Some(client) = configuration.pointer("/webhooks/0/clientConfig") else { return Target::Unknown };
    let text = |path: &str| client.pointer(path).and_then(Value::as_str);
    if let (Some(namespace), Some(name)) = (text("/service/namespace"), text("/service/name")) {
        return Target::Service { namespace: namespace.to_owned(), name: name.to_owned() };
    }
    let Some(url) = text("/url") else { return Target::Unknown };
    host_of(url).map_or(Target::Unknown, |(host, port)| Target::Url(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gone() -> Sign {
        Sign::Gone(Gap::NoEndpoint { service: "kyverno/kyverno-svc".into() })
    }

    #[test]
    fn one_sign_of_death_is_enough_and_one_of_life_where_the_other_is_silent() {
        let silent = || Sign::Silent("denied".into());
        let old = || Sign::Gone(Gap::OldLease { lease: "kyverno/kyverno-health".into(), renewed: Timestamp::UNIX_EPOCH });
        let none = || Sign::Gone(Gap::NoLease { lease: "kyverno/kyverno-health".into() });
        for (target, lease, expected) in [
            (Sign::Alive, Sign::Alive, Force::Yes),
            (Sign::Alive, silent(), Force::Yes),
            (silent(), Sign::Alive, Force::Yes),
            (silent(), silent(), Force::Unknown),
            (gone(), Sign::Alive, Force::No),
            (gone(), silent(), Force::No),
            (Sign::Alive, old(), Force::No),
            (silent(), old(), Force::No),
            (Sign::Alive, none(), Force::Yes),
            (silent(), none(), Force::No),
        ] {
            assert_eq!(together(target.clone(), lease.clone()).state, expected, "{target:?} {lease:?}");
        }
    }

    #[test]
    fn nothing_is_missed_where_it_was_only_guessed_to_be() {
        let nowhere = || Sign::Silent("no webhook configuration shows where Kyverno is".into());
        let none = Sign::Gone(Gap::NoLease { lease: "kyverno/kyverno-health".into() });
        let judged = together(nowhere(), at_a_guess(none, "kyverno"));
        assert_eq!(judged.state, Force::Unknown);
        assert_eq!(judged.reason(), "cannot read Kyverno's endpoints and lease: no webhook configuration shows where Kyverno is");
        assert_eq!(together(nowhere(), at_a_guess(Sign::Alive, "kyverno")), InForce::YES, "a lease that is renewed says enough");
    }

    #[test]
    fn leases_age_by_the_servers_clock() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let at = |annotation: &str| {
            let object = json!({"metadata": {"annotations": {"kyverno.io/last-request-time": annotation}}});
            of_lease(&object, "k/kyverno-health".into(), now)
        };
        assert_eq!(at("2026-11-30T11:59:50Z"), Sign::Alive);
        assert_eq!(at("2026-11-30T13:59:50+02:00"), Sign::Alive);
        assert_eq!(at("2026-11-30T11:58:20Z"), Sign::Alive);
        let Sign::Gone(old) = at("2026-11-30T11:58:19Z") else { panic!("it is too old") };
        assert_eq!(old.to_string(), "Kyverno is not running: lease k/kyverno-health last renewed Nov 30 11:58:19 UTC");
        let later = of_lease(&json!({"spec": {"renewTime": "2026-11-30T11:58:19.000000Z"}}), "k/kyverno-health".into(), now + IDLE);
        assert_eq!(later, Sign::Gone(old), "that it grows older is no news");
        assert!(matches!(at("soon"), Sign::Silent(_)));
    }

    #[test]
    fn endpoints_and_addresses() {
        let slices = |ready: Value| json!({"items": [{"endpoints": []}, {"endpoints": [{"conditions": {"ready": ready}}]}]});
        assert!(has_ready_endpoint(&slices(json!(true))) && has_ready_endpoint(&slices(Value::Null)));
        assert!(!has_ready_endpoint(&slices(json!(false))) && !has_ready_endpoint(&json!({"items": []})));
        let at = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!((host_of("https://127.0.0.1:6443/x"), host_of("https://[::1]:6443")), (at("127.0.0.1", 6443), at("::1", 6443)));
        assert_eq!((host_of("https://[2001:db8::1]/x"), host_of("https://")), (at("2001:db8::1", 443), None));
        let target = |client: Value| target_of(&json!({"webhooks": [{"clientConfig": client}]}));
        assert_eq!(target(json!({"url": "https://127.0.0.1:9443/validate/fail"})), Target::Url("127.0.0.1".into(), 9443));
        assert_eq!(target(json!({"url": "https://k.example/validate"})), Target::Url("k.example".into(), 443));
        assert_eq!(target(json!({"url": "https://[::1]:9443/validate/fail"})), Target::Url("::1".into(), 9443));
        let service = target(json!({"service": {"namespace": "policy-system", "name": "guardrails-svc"}}));
        assert_eq!(service, Target::Service { namespace: "policy-system".into(), name: "guardrails-svc".into() });
        assert_eq!((target(json!({})), target_of(&json!({}))), (Target::Unknown, Target::Unknown));
    }
}
