//! Kyverno's own installation as its chart leaves it: Deployments with flags, ConfigMap, leases, webhooks, Helm's
//! release Secrets; and the blocked requests of the last hour.
//!
//! Names and labels: kyverno/kyverno `charts/kyverno/templates/*/_helpers.tpl`. Helm's storage: helm/helm
//! `pkg/storage/driver/secrets.go`. Not here: the policies (`super::seed`).

use std::io::Write as _;

use serde_json::{Value, json};

use super::cluster::{rfc3339, rfc3339_micro};
use super::kyverno::admission;
use super::seed::{Mistake, Seeder};
use super::store::{Key, text};

pub(crate) fn install(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    let (kyverno, chart) = (&seeder.environment.kyverno, &seeder.environment.chart);
    let open = seeder.cluster.profile.has("openreports");
    let exceptions = ["--enablePolicyException=true".to_owned(), "--exceptionNamespace=*".to_owned()];
    for component in ["admission", "background", "cleanup", "reports"] {
        let mut flags = vec!["--omitEvents=PolicyApplied,PolicySkipped".to_owned(), "--v=2".to_owned()];
        if component != "cleanup" {
            flags.extend(exceptions.clone());
        }
        if component == "reports" {
            flags.extend(["--backgroundScan=true", "--backgroundScanInterval=1h", "--skipResourceFilters=true"].map(str::to_owned));
            if open {
                flags.push("--openreportsEnabled=true".to_owned());
            }
        }
        let name = format!("kyverno-{component}-controller");
        let labels = json!({
            "app.kubernetes.io/component": format!("{component}-controller"), "app.kubernetes.io/instance": "kyverno",
            "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": "kyverno",
            "app.kubernetes.io/version": chart, "helm.sh/chart": format!("kyverno-{chart}"),
        });
        let container = if component == "admission" { "kyverno" } else { "controller" };
        let image = match component {
            "admission" => format!("reg.kyverno.io/kyverno/kyverno:v{kyverno}"),
            other => format!("reg.kyverno.io/kyverno/{other}-controller:v{kyverno}"),
        };
        let replicas = if component == "admission" { 3 } else { 1 };
        seeder.put(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "kyverno", "labels": labels, "annotations": {"meta.helm.sh/release-name": "kyverno", "meta.helm.sh/release-namespace": "kyverno"}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app.kubernetes.io/component": format!("{component}-controller")}},
                "template": {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [{"name": container, "image": image, "args": flags, "resources": {"limits": {"memory": "384Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}}]}}},
        }), "helm", "60d")?;
        seeder.put(
            &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "kyverno"}}),
            "helm",
            "60d",
        )?;
    }
    settings(seeder)?;
    leases(seeder)?;
    endpoints(seeder)?;
    webhooks(seeder)?;
    roles(seeder)?;
    for (release, chart, app) in [
        ("kyverno", format!("kyverno-{chart}"), kyverno.clone()),
        ("kyverno-policies", format!("kyverno-policies-{chart}"), kyverno.clone()),
        ("policy-reporter", "policy-reporter-3.9.1".to_owned(), "3.9.0".to_owned()),
    ] {
        helm_release(seeder, release, &chart, &app)?;
    }
    Ok(())
}

fn settings(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    let filters = [
        "[Event,*,*]",
        "[*/*,kube-system,*]",
        "[*/*,kube-public,*]",
        "[*/*,kube-node-lease,*]",
        "[*/*,kyverno,*]",
        "[PolicyReport,*,*]",
        "[ClusterPolicyReport,*,*]",
    ];
    seeder.put(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kyverno", "namespace": "kyverno", "labels": {"app.kubernetes.io/component": "config", "app.kubernetes.io/part-of": "kyverno"}, "annotations": {"helm.sh/resource-policy": "keep"}},
        "data": {
            "enableDefaultRegistryMutation": "true", "defaultRegistry": "docker.io", "generateSuccessEvents": "false",
            "excludeGroups": "system:nodes", "resourceFilters": filters.join(" "),
            "webhooks": "{\"namespaceSelector\":{\"matchExpressions\":[{\"key\":\"kubernetes.io/metadata.name\",\"operator\":\"NotIn\",\"values\":[\"kube-system\",\"kyverno\"]}]}}",
        },
    }), "helm", "60d")
}

fn leases(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    for name in ["kyverno", "kyverno-health", "kyverno-background-controller", "kyverno-cleanup-controller", "kyverno-reports-controller"] {
        let now = rfc3339(seeder.now);
        seeder.put(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kyverno", "annotations": if name == "kyverno-health" { json!({"kyverno.io/last-request-time": now}) } else { json!({}) }},
            "spec": {"holderIdentity": format!("{name}-6f8d7c9b5-q4z7k"), "leaseDurationSeconds": 15, "renewTime": rfc3339_micro(seeder.now), "acquireTime": rfc3339_micro(seeder.ago("3d")), "leaseTransitions": 4},
        }), "kyverno", "60d")?;
    }
    Ok(())
}

/// Where the webhooks' service leads: to the three Pods of the admission controller.
fn endpoints(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    let endpoint =
        |n: u8| json!({"addresses": [format!("10.0.0.{n}")], "conditions": {"ready": true, "serving": true, "terminating": false}});
    seeder.put(
        &json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "kyverno-svc-x7k2p", "namespace": "kyverno", "labels": {"kubernetes.io/service-name": "kyverno-svc"}},
            "endpoints": [endpoint(11), endpoint(12), endpoint(13)], "ports": [{"name": "https", "port": 9443, "protocol": "TCP"}],
        }),
        "kube-controller-manager",
        "60d",
    )
}

/// Those that check policies themselves; those for resources follow from the policies (`super::kyverno::webhooks`).
fn webhooks(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    let rule = |groups: &[&str], resources: &[&str]| json!({"apiGroups": groups, "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources, "scope": "*"});
    let webhook = |name: &str, path: &str, rules: Value| {
        json!({
            "name": name, "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
            "clientConfig": {"service": {"name": "kyverno-svc", "namespace": "kyverno", "path": path, "port": 443}}, "rules": rules,
            "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "kyverno"]}]},
        })
    };
    let policies = json!([rule(&["kyverno.io", "policies.kyverno.io"], &["*"])]);
    for (kind, name, hook, path, rules) in [
        (
            "ValidatingWebhookConfiguration",
            "kyverno-policy-validating-webhook-cfg",
            "validate-policy.kyverno.svc",
            "/policyvalidate",
            &policies,
        ),
        ("MutatingWebhookConfiguration", "kyverno-policy-mutating-webhook-cfg", "mutate-policy.kyverno.svc", "/policymutate", &policies),
    ] {
        seeder.put(
            &json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": name, "labels": {"webhook.kyverno.io/managed-by": "kyverno"}},
                "webhooks": [webhook(hook, path, rules.clone())],
            }),
            "kyverno",
            "60d",
        )?;
    }
    Ok(())
}

fn roles(seeder: &Seeder<'_>) -> Result<(), Mistake> {
    let read = json!(["get", "list", "watch"]);
    for (name, groups, resources) in [
        ("kyverno:rbac:view:policies", "kyverno.io", json!(["clusterpolicies", "policies", "cleanuppolicies", "clustercleanuppolicies"])),
        ("kyverno:rbac:view:policyreports", "wgpolicyk8s.io", json!(["policyreports", "clusterpolicyreports"])),
    ] {
        seeder.put(
            &json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name, "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
                "rules": [{"apiGroups": [groups], "resources": resources, "verbs": read}],
            }),
            "helm",
            "60d",
        )?;
    }
    Ok(())
}

/// Two revisions of a release: base64 of base64 of gzipped JSON.
fn helm_release(seeder: &Seeder<'_>, release: &str, chart: &str, app: &str) -> Result<(), Mistake> {
    let (name, version) = chart.rsplit_once('-').unwrap_or((chart, ""));
    for (revision, status, age) in [(1, "superseded", "200d"), (2, "deployed", "60d")] {
        let when = rfc3339(seeder.ago(age));
        let body = json!({
            "name": release, "namespace": "kyverno", "version": revision, "manifest": "", "hooks": [],
            "info": {"first_deployed": rfc3339(seeder.ago("200d")), "last_deployed": when, "deleted": "", "description": "Upgrade complete", "status": status, "notes": ""},
            "chart": {"metadata": {"name": name, "version": version, "appVersion": app, "apiVersion": "v2"}, "templates": [], "values": {}},
            "config": values(release, &seeder.environment.name),
        });
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body.to_string().as_bytes()).map_err(|error| error.to_string())?;
        let zipped = encoder.finish().map_err(|error| error.to_string())?;
        let modified = seeder.ago(age).as_second().to_string();
        seeder.put(
            &json!({
                "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
                "metadata": {
                    "name": format!("sh.helm.release.v1.{release}.v{revision}"), "namespace": "kyverno",
                    "labels": {"owner": "helm", "name": release, "status": status, "version": revision.to_string(), "modifiedAt": modified},
                },
                "data": {"release": base64(base64(&zipped).as_bytes())},
            }),
            "Helm",
            age,
        )?;
    }
    Ok(())
}

fn values(release: &str, environment: &str) -> Value {
    match release {
        "kyverno" => json!({
            "admissionController": {"replicas": 3, "container": {"resources": {"limits": {"memory": "768Mi"}}}},
            "backgroundController": {"resources": {"limits": {"memory": "256Mi"}}},
            "features": {"policyExceptions": {"enabled": true, "namespace": "*"}, "backgroundScan": {"backgroundScanInterval": "1h"}},
            "config": {"excludeGroups": ["system:nodes"]},
        }),
        "kyverno-policies" => {
            json!({"podSecurityStandard": "baseline", "validationFailureAction": "Audit"})
        }
        _ => json!({
            "ui": {"enabled": true}, "plugin": {"kyverno": {"enabled": true}},
            "target": {"slack": {"webhook": "https://hooks.example.com/T000/B000/demo", "minimumSeverity": "high", "customFields": {"environment": environment}}},
        }),
    }
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4_usize {
            let letter = LETTERS.get((word >> (18 - 6 * n)) as usize & 63).copied().unwrap_or(b'A');
            out.push(if n > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

/// Requests refused in the last hour, as events still tell.
pub(crate) fn blocked_events(seeder: &Seeder<'_>) {
    const REFUSED: [(&str, &str, &str, &str, &str, &str); 5] = [
        (
            "require-team-label",
            "check-team",
            "Pod",
            "checkout",
            "debug-shell",
            "validation error: Pods must name their team. rule check-team failed at path /metadata/labels/team/",
        ),
        (
            "require-team-label",
            "autogen-check-team",
            "Deployment",
            "search",
            "reindex-once",
            "validation error: Pods must name their team. rule autogen-check-team failed at path /spec/template/metadata/labels/team/",
        ),
        (
            "disallow-latest-tag",
            "validate-image-tag",
            "Pod",
            "catalog",
            "try-latest",
            "validation error: Using a mutable image tag such as 'latest' is not allowed. rule validate-image-tag failed at path /spec/containers/0/image/",
        ),
        (
            "disallow-privileged",
            "privileged-containers",
            "Pod",
            "platform",
            "node-debugger",
            "validation error: Privileged mode is not allowed. rule privileged-containers failed at path /spec/containers/0/securityContext/privileged/",
        ),
        (
            "disallow-host-namespaces",
            "host-namespaces",
            "Pod",
            "payments",
            "tcpdump",
            "validation error: Sharing the host's namespaces is not allowed. rule host-namespaces failed at path /spec/hostNetwork/",
        ),
    ];
    let cluster = seeder.cluster;
    for (n, (policy, rule, kind, namespace, name, message)) in REFUSED.into_iter().enumerate() {
        let Some(found) = cluster.get("kyverno.io", "clusterpolicies", &Key::new("", policy)) else {
            continue;
        };
        if text(&found.value, "/spec/validationFailureAction") != "Enforce" {
            continue;
        }
        let when = seeder.ago(&format!("{}m", 7 + 9 * n));
        let api = if kind == "Pod" { "v1" } else { "apps/v1" };
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{policy}.{:016x}", cluster.draw()), "namespace": "default", "uid": cluster.uid(), "creationTimestamp": rfc3339(when),
                "managedFields": admission::written_by("kyverno-admission", when)},
            "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": policy, "uid": found.uid()},
            "related": {"apiVersion": api, "kind": kind, "namespace": namespace, "name": name, "uid": cluster.uid()},
            "reason": "PolicyViolation", "action": "Resource Blocked", "type": "Warning", "source": {},
            "message": format!("{kind} {namespace}/{name}: [{rule}] fail (blocked); {message}"),
            "reportingComponent": "kyverno-admission", "reportingInstance": "kyverno-admission-controller-7d9c5b6f4-x2k8p",
            "eventTime": rfc3339_micro(when), "firstTimestamp": Value::Null, "lastTimestamp": Value::Null,
        });
        admission::record(cluster, &mut cluster.store(), event);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        assert_eq!(super::base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(super::base64(b"abc"), "YWJj");
    }
}
