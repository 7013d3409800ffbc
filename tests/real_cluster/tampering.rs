//! What a tenant who may write reports in its namespace can hide, while Kyverno runs: nothing that is not marked.

use super::guard::Tenant;
use super::operators::{pod, policy};
use crate::support::cluster::{Fleet, Need, User};
use crate::support::product::{Desk, environment};
use std::time::Duration;

/// A report takes up to half a minute, its summary another scan.
const REPORTED: Duration = Duration::from_secs(180);

#[test]
fn a_tenant_hides_nothing_unmarked() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let (shop, name) = (fleet.own_namespace("shop"), fleet.name("no-latest"));
    dev.apply(&policy(&name, &shop, "Audit"));
    dev.apply(&pod("web", &shop, "nginx:latest"));
    let tenant = Tenant::of(dev, &shop, "admin");

    let desk = Desk::with_config(&fleet, &format!("[[environments]]\nname = \"dev\"\ncontext = \"{}\"\n", User::Admin.context("dev")));
    let filter = format!("policy={name}");
    let mut watch = desk.watch(&["status", "--watch", "--filter", &filter]);
    let mut until = |what: &str, fail: u64, unverified: bool, disappeared: bool| {
        watch.until(what, REPORTED, |status| {
            let item = environment(status, "dev");
            let marks = |name: &str| item[name].as_u64().is_some_and(|count| count > 0);
            item["findings"]["fail"] == fail && (marks("unverified"), marks("disappeared")) == (unverified, disappeared)
        });
    };
    until("Kyverno reports it", 1, false, false);
    let report = tenant.kubectl(&["get", "policyreports", "-o", "name"], "").trim().to_owned();

    // A scan every half minute puts right what is written over.
    tenant.kubectl(&["patch", &report, "--type=json", "-p", r#"[{"op": "replace", "path": "/results/0/result", "value": "pass"}]"#], "");
    until("a result that the tenant wrote, in place of a failure of a Pod that exists", 0, true, true);
    until("the next scan's", 1, false, false);

    tenant.kubectl(&["delete", &report], "");
    until("no report about a Pod that exists", 0, false, true);
    until("the next scan's", 1, false, false);

    // A report that goes with its resource leaves no question.
    dev.kubectl(&["delete", "pod", "web", "-n", &shop, "--force", "--grace-period=0"]);
    until("neither the Pod nor a report", 0, false, false);
}
