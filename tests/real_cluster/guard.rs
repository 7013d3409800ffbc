//! What `assets/guard` keeps a tenant from writing, and what it lets through.

use crate::support::cluster::{Cluster, Fleet, Options};
use crate::support::eventually;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TENANT: &str = "system:serviceaccount:team-a:admin";
const SCANNER: &str = "system:serviceaccount:kyverno:kyverno-reports-controller";
const ADMISSION: &str = "system:serviceaccount:kyverno:kyverno-admission-controller";

/// What Kyverno's chart gives to admins of namespaces, and what every admin of a namespace may do.
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: writes-evidence}
rules:
- {apiGroups: [wgpolicyk8s.io], resources: [policyreports], verbs: ['*']}
- {apiGroups: ['', events.k8s.io], resources: [events], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writes-evidence, namespace: team-a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writes-evidence}
subjects:
- {kind: ServiceAccount, name: admin, namespace: team-a}
- {kind: ServiceAccount, name: kyverno-reports-controller, namespace: kyverno}
- {kind: ServiceAccount, name: kyverno-admission-controller, namespace: kyverno}
";

fn report(name: &str) -> Value {
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": name, "namespace": "team-a"},
        "results": [{"policy": "p", "rule": "r", "result": "pass", "source": "kyverno"}]})
}

fn event(name: &str, component: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "team-a"}, "reason": "PolicyViolation", "type": "Warning",
        "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "Policy", "namespace": "team-a", "name": "p"},
        "message": "no", "source": {"component": component}, "reportingComponent": component})
}

/// Writes as a user; the error is the API server's refusal.
fn write(cluster: &Cluster, user: &str, args: &[&str], object: &Value) -> Result<(), String> {
    let output = cluster.try_kubectl(&[&["--as", user][..], args].concat(), &object.to_string());
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

pub(super) fn create(cluster: &Cluster, user: &str, object: &Value) -> Result<(), String> {
    write(cluster, user, &["create", "-f", "-"], object)
}

/// A ServiceAccount that may write reports and events in one namespace, where a role and a binding have its name.
pub(super) struct Tenant<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Tenant<'a> {
    pub(super) fn of(cluster: &'a Cluster, namespace: &'a str, name: &'a str) -> Self {
        let api = "rbac.authorization.k8s.io";
        let metadata = json!({"name": name, "namespace": namespace});
        let rules = json!([{"apiGroups": ["wgpolicyk8s.io"], "resources": ["policyreports"], "verbs": ["*"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["*"]}]);
        let role = json!({"apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata, "rules": rules});
        let binding = json!({"apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name}, "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]});
        for object in [role, binding] {
            cluster.apply(&object.to_string());
        }
        Self { cluster, namespace, name }
    }

    /// What kubectl prints when the tenant runs it.
    pub(super) fn kubectl(&self, args: &[&str], input: &str) -> String {
        let user = format!("system:serviceaccount:{}:{}", self.namespace, self.name);
        let output = self.cluster.try_kubectl(&[&["--as", user.as_str(), "-n", self.namespace][..], args].concat(), input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Lets the tenant write reports and events in its namespace, `team-a`.
pub(super) fn tenant_may_write_evidence(cluster: &Cluster) {
    cluster.namespace("team-a");
    cluster.apply(RIGHTS);
}

#[test]
fn only_kyverno_writes_evidence_where_the_guard_is() {
    let Some(fleet) = Fleet::start(&["guarded"], Options::default()) else { return };
    let cluster = fleet.cluster("guarded");
    cluster.install_crds(&crate::support::cluster::crds(crate::support::cluster::RUNNING));
    tenant_may_write_evidence(cluster);
    create(cluster, TENANT, &report("before")).expect("without the guard a tenant may");

    for file in [include_str!("../../assets/guard/reports.yaml"), include_str!("../../assets/guard/events.yaml")] {
        cluster.apply(file);
    }
    let mut tries = 0;
    let refusal = |object: &dyn Fn(usize) -> Value, tries: &mut usize| {
        // A policy takes a moment until it is in force.
        eventually("the guard", Duration::from_secs(60), || {
            *tries += 1;
            create(cluster, TENANT, &object(*tries)).err().ok_or("it is let through")
        })
    };
    let refused = refusal(&|n| report(&format!("forged-{n}")), &mut tries);
    assert!(refused.contains("only Kyverno writes policy reports here"), "{refused}");
    let refused = refusal(&|n| event(&format!("forged-{n}"), "kyverno-admission"), &mut tries);
    assert!(refused.contains("only Kyverno writes events in Kyverno's name here"), "{refused}");

    // Neither may be changed into one, nor may what is there be taken away.
    create(cluster, TENANT, &event("own", "my-controller")).expect("other events stay allowed");
    let change = write(cluster, TENANT, &["apply", "--server-side", "--force-conflicts", "-f", "-"], &event("own", "kyverno-admission"));
    assert!(change.is_err_and(|why| why.contains("in Kyverno's name")));
    let gone = write(cluster, TENANT, &["delete", "policyreport", "-n", "team-a", "before"], &Value::Null);
    assert!(gone.is_err_and(|why| why.contains("only Kyverno writes policy reports here")));

    create(cluster, SCANNER, &report("scanned")).expect("Kyverno writes reports");
    create(cluster, ADMISSION, &event("blocked", "kyverno-admission")).expect("Kyverno writes events");
    cluster.kubectl(&["delete", "policyreport", "-n", "team-a", "before"]);
}
