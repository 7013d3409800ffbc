//! What a tenant who may write reports in its namespace can hide, while Kyverno runs: nothing that is not marked.

use crate::support::cluster::{Fleet, Need, User};
use crate::support::product::{Desk, environment};
use std::time::Duration;

/// A report takes up to half a minute, its summary another scan.
const REPORTED: Duration = Duration::from_secs(180);

/// What Kyverno's chart lets admins of namespaces do with reports.
fn rights(shop: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: List, items: [\
         {{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: reports, namespace: {shop}}}, rules: [{{apiGroups: \
         [wgpolicyk8s.io], resources: [policyreports], verbs: ['*']}}]}}, \
         {{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: reports, namespace: {shop}}}, roleRef: {{apiGroup: \
         rbac.authorization.k8s.io, kind: Role, name: reports}}, subjects: [{{kind: ServiceAccount, name: admin, namespace: {shop}}}]}}]}}"
    )
}

fn objects(policy: &str, shop: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: List, items: [\
         {{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {policy}}}, spec: {{validationFailureAction: Audit, background: true, \
         rules: [{{name: tag, match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}, validate: {{message: no latest, pattern: \
         {{spec: {{containers: [{{image: '!*:latest'}}]}}}}}}}}]}}}}, \
         {{apiVersion: v1, kind: Pod, metadata: {{name: web, namespace: {shop}}}, spec: {{containers: [{{name: c, image: 'nginx:latest'}}]}}}}]}}"
    )
}

#[test]
fn a_tenant_hides_nothing_unmarked() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let (shop, policy) = (fleet.own_namespace("shop"), fleet.name("no-latest"));
    dev.apply(&rights(&shop));
    dev.apply(&objects(&policy, &shop));
    let tenant = format!("system:serviceaccount:{shop}:admin");
    let as_tenant = |args: &[&str]| {
        let output = dev.try_kubectl(&[&["--as", tenant.as_str(), "-n", shop.as_str()][..], args].concat(), "");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    let desk = Desk::with_config(&fleet, &format!("[[environments]]\nname = \"dev\"\ncontext = \"{}\"\n", User::Admin.context("dev")));
    let filter = format!("policy={policy}");
    let mut watch = desk.watch(&["status", "--watch", "--filter", &filter]);
    let mut until = |what: &str, fail: u64, unverified: bool, disappeared: bool| {
        watch.until(what, REPORTED, |status| {
            let item = environment(status, "dev");
            let marks = |name: &str| item[name].as_u64().is_some_and(|count| count > 0);
            item["findings"]["fail"] == fail && (marks("unverified"), marks("disappeared")) == (unverified, disappeared)
        });
    };
    until("Kyverno reports it", 1, false, false);
    let report = as_tenant(&["get", "policyreports", "-o", "name"]).trim().to_owned();

    // A scan every half minute puts right what is written over.
    as_tenant(&["patch", &report, "--type=json", "-p", r#"[{"op": "replace", "path": "/results/0/result", "value": "pass"}]"#]);
    until("a result that the tenant wrote, in place of a failure of a Pod that exists", 0, true, true);
    until("the next scan's", 1, false, false);

    as_tenant(&["delete", &report]);
    until("no report about a Pod that exists", 0, false, true);
    until("the next scan's", 1, false, false);

    // A report that goes with its resource leaves no question.
    dev.kubectl(&["delete", "pod", "web", "-n", &shop, "--force", "--grace-period=0"]);
    until("neither the Pod nor a report", 0, false, false);
}
