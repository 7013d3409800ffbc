//! What keeps a rollout in hand, on a real API server with the real Kyverno: back to any revision, plans taken back, several policies in one plan that
//! fails halfway, four eyes.

use super::rollouts::{document, run};
use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::{Answer, Desk};
use policydeck::domain::journal::Who;
use policydeck::ops::plan::{from_file, to_file};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\", max_violations = 9 }, { mode = \"enforce\", max_blocked = 99 }]\n";

fn rule(name: &str, shop: &str, pattern: &str) -> String {
    format!(
        "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}}}, spec: {{validationFailureAction: Audit, background: true, rules: [{{name: r, \
         match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}, validate: {{message: as it was, pattern: {pattern}}}}}]}}}}"
    )
}

/// The real API server refuses to write this policy, and lets its dry run pass: what only a race does otherwise. Named `name`.
fn only_dry(name: &str, policy: &str) -> String {
    format!(
        "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {{name: {name}}}, spec: {{matchConstraints: \
         {{resourceRules: [{{apiGroups: [kyverno.io], apiVersions: ['*'], operations: [UPDATE], resources: [clusterpolicies]}}]}}, validations: [{{expression: \
         \"request.dryRun || request.name != '{policy}'\", message: not today}}]}}}}\n---\n{{apiVersion: admissionregistration.k8s.io/v1, kind: \
         ValidatingAdmissionPolicyBinding, metadata: {{name: {name}}}, spec: {{policyName: {name}, validationActions: [Deny]}}}}"
    )
}

fn policy(cluster: &Cluster, name: &str) -> Value {
    cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{name}")).unwrap().ok()
}

fn actions(cluster: &Cluster, names: [&str; 2]) -> [String; 2] {
    names.map(|name| policy(cluster, name)["spec"]["validationFailureAction"].as_str().unwrap().to_owned())
}

fn message(cluster: &Cluster, name: &str) -> Value {
    policy(cluster, name)["spec"]["rules"][0]["validate"]["message"].clone()
}

fn say(cluster: &Cluster, name: &str, message: &str) {
    let patch = format!(r#"[{{"op": "replace", "path": "/spec/rules/0/validate/message", "value": "{message}"}}]"#);
    cluster.kubectl(&["patch", "clusterpolicy", name, "--type=json", "-p", &patch]);
}

/// A promotion once its gates are open.
fn when_open(desk: &Desk, args: &[&str]) -> Answer {
    let mut last = None;
    eventually("the gates open", REPORTED, || {
        let answer = desk.run(args);
        let open = !matches!(answer.status, Some(3 | 4));
        let said = format!("{answer:?}");
        last = Some(answer);
        if open { Ok(()) } else { Err(said) }
    });
    last.unwrap()
}

struct Recorder(std::process::Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn back_and_forth_several_at_once_and_by_two_people() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let shop = fleet.own_namespace("shop");
    let [no_latest, team_label, binding] = ["no-latest", "team-label", "only-dry"].map(|stem| fleet.name(stem));
    let both_policies = [no_latest.as_str(), team_label.as_str()];
    let [no_latest, team_label] = both_policies;
    dev.apply(&rule(no_latest, &shop, "{spec: {containers: [{image: '!*:latest'}]}}"));
    dev.apply(&rule(team_label, &shop, "{metadata: {labels: {team: '?*'}}}"));
    dev.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &format!("clusterpolicy/{no_latest}"),
        &format!("clusterpolicy/{team_label}"),
        "--timeout=60s",
    ]);
    let pod = |name: &str, image: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {shop}}}, spec: {{containers: [{{name: c, image: '{image}'}}]}}}}"
        )
    };
    dev.apply(&pod("web", "nginx:latest"));
    let desk = Desk::with_config(&fleet, CONFIG);

    // To a revision of the history, while nothing has been archived; and that is taken back by its plan.
    run(&desk, &["timeline", no_latest], 0);
    say(dev, no_latest, "broken");
    let listed = document(&run(&desk, &["rollback", no_latest, "-e", "dev", "--list", "-o", "json"], 0));
    let former = &listed["items"][0];
    assert_eq!((&former["source"], &former["present"], &former["mode"]), (&"history".into(), &false.into(), &"audit".into()), "{listed:#}");
    let revision = former["revision"].as_str().unwrap();
    let back = document(&run(&desk, &["rollback", no_latest, "-e", "dev", "--to-revision", &revision[..6], "--yes", "-o", "json"], 0));
    assert_eq!(message(dev, no_latest), "as it was", "{back:#}");
    run(&desk, &["undo", back["plan"].as_str().unwrap(), "-e", "dev", "--yes"], 0);
    assert_eq!(message(dev, no_latest), "broken");
    run(&desk, &["rollback", no_latest, "-e", "dev", "--yes"], 0);
    assert_eq!(message(dev, no_latest), "as it was", "the newest state that differs");

    // What would be refused is told before.
    eventually("the violation shows in the plan", REPORTED, || {
        let told = desk.run(&["promote", no_latest, "--dry-run"]);
        let shown = told.stderr.contains(&format!("ClusterPolicy/{no_latest}: 1 owner fails in 1 namespace of dev now"))
            && told.stderr.contains(&format!("Pod/web in {shop}"));
        if told.status == Some(0) && shown { Ok(()) } else { Err(format!("{told:?}")) }
    });

    // Two in one plan: the second write fails, the first was done, and is taken back alone.
    dev.apply(&only_dry(&binding, team_label));
    eventually("the API server refuses", SOON, || {
        let tried = dev.try_kubectl(&["annotate", "clusterpolicy", team_label, "tried=yes", "--overwrite"], "");
        if tried.status.success() { Err(format!("{tried:?}")) } else { Ok(()) }
    });
    let both = ["promote", no_latest, team_label, "--yes", "-o", "json"];
    // Others change policies here, in ways that leave no trace on them: a recorder dates that.
    let _recorder = Recorder(desk.start(&["observe"]));
    let half = when_open(&desk, &both);
    assert_eq!(half.status, Some(5), "{half:?}");
    let results = document(&half)["items"].as_array().unwrap().iter().map(|item| item["result"].clone()).collect::<Vec<_>>();
    assert_eq!(results, ["done", "refused"], "{half:?}");
    assert_eq!(actions(dev, both_policies), ["Enforce", "Audit"]);
    dev.kubectl(&["delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", &binding]);
    let undone = document(&run(&desk, &["undo", "--last", "-e", "dev", "--yes", "-o", "json"], 0));
    assert_eq!(undone["items"].as_array().unwrap().len(), 1, "only what was done: {undone:#}");
    assert_eq!(actions(dev, both_policies), ["Audit", "Audit"]);

    // The same without a hitch: one plan, one archive, both in force.
    let whole = when_open(&desk, &both);
    assert_eq!(whole.status, Some(0), "{whole:?}");
    assert_eq!(actions(dev, both_policies), ["Enforce", "Enforce"]);
    for name in both_policies {
        assert_eq!(policy(dev, name)["metadata"]["annotations"]["policydeck.dev/plan"], document(&whole)["plan"], "{name}");
    }
    for image in ["nginx:latest", "nginx:1.27"] {
        eventually("both refuse", SOON, || {
            let made = dev.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &pod("bad", image));
            if made.status.success() { Err(format!("{made:?}")) } else { Ok(()) }
        });
    }

    // Four eyes: down is nobody's to hold up, up is somebody else's to apply. With two people: `four_eyes.rs`.
    std::fs::write(desk.config(), format!("{CONFIG}[environments.rules]\nfour_eyes = true\n")).unwrap();
    run(&desk, &["demote", no_latest, team_label, "-e", "dev", "--yes"], 0);
    assert_eq!(actions(dev, both_policies), ["Audit", "Audit"]);
    let file = desk.home().join("plan.json");
    let file = file.to_str().unwrap();
    let made = when_open(&desk, &["promote", team_label, "--plan-out", file]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let alone = run(&desk, &["promote", "--plan", file, "--yes"], 1);
    assert!(alone.stderr.contains("dev wants four eyes") && alone.stderr.contains("made this plan, and you are"), "{alone:?}");
    let mut plan = from_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    plan.maker = Some(Who { user: "somebody-else".into(), kubeconfig_user: Some("somebody-else".into()), host: "elsewhere".into() });
    std::fs::write(file, to_file(&plan).unwrap()).unwrap();
    let unproven = run(&desk, &["promote", "--plan", file, "--yes"], 1);
    assert!(unproven.stderr.contains("no `allowed_signers` is configured"), "{unproven:?}");
    std::fs::write(desk.config(), CONFIG).unwrap();
    run(&desk, &["promote", "--plan", file, "--yes"], 0);
    assert_eq!(actions(dev, both_policies), ["Audit", "Enforce"]);

    // All of it is told once, with who did it.
    let timeline = document(&run(&desk, &["timeline", team_label, "-o", "json"], 0));
    let marks = timeline["items"][0]["marks"].as_array().unwrap();
    let of = |kind: &str| marks.iter().filter(|mark| mark["kind"] == kind && mark["actor"].is_string()).count();
    assert_eq!((of("promote"), of("demote")), (2, 1), "{timeline:#}");
    run(&desk, &["audit", "verify"], 0);
}
