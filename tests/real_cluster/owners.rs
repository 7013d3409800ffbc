//! What an operation leaves behind, on a real API server with the real Kyverno: fields that go back to their owners, archives that restore objects of any
//! size, demotions of every kind that can be undone and promoted again, acknowledgements that hold for what they were given for, and an impact that knows
//! where nothing is blocked.

use super::rollouts::{document, run};
use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::{Answer, Desk};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);
const KNOWN: [&str; 2] = ["--acknowledge-unknown", "nothing matches"];

const CONFIG: &str = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\ngitops = \"warn\"\nsteps = [{ mode = \"audit\", max_violations = 9 }, { mode = \
                      \"enforce\", max_blocked = 99 }]\n";

fn policy(name: &str, namespace: &str, spec: &str, rule: &str) -> String {
    format!(
        "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}, annotations: {{pod-policies.kyverno.io/autogen-controllers: none}}}}, spec: \
         {{background: false, {spec} rules: [{{name: r, match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{namespace}]}}}}]}}, {rule}}}]}}}}"
    )
}

const TEAM: &str = "validate: {failureAction: Audit, message: wanted, pattern: {metadata: {labels: {team: '?*'}}}}";

/// A promotion or an undo that is acknowledged, once its gate is not closed.
fn acknowledged(desk: &Desk, args: &[&str]) -> Answer {
    let args = [args, &["--yes", KNOWN[0], KNOWN[1], "-o", "json"]].concat();
    let mut last = None;
    eventually("the gate lets it through", SOON, || {
        let answer = desk.run(&args);
        let said = format!("{answer:?}");
        let done = answer.status == Some(0);
        last = Some(answer);
        if done { Ok(()) } else { Err(said) }
    });
    last.unwrap()
}

/// The managers of an object's own fields, without those of its status.
fn managers(cluster: &Cluster, name: &str) -> Vec<(String, String)> {
    let object = cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{name}")).unwrap().ok();
    let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = entries.iter().filter(|entry| entry["subresource"].is_null());
    own.map(|entry| (text(&entry["manager"]), text(&entry["operation"]))).collect()
}

#[test]
fn what_was_undone_belongs_to_its_owner_again() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let shop = fleet.own_namespace("shop");
    let (caps, upd) = (fleet.name("caps"), fleet.name("upd"));
    let desk = Desk::with_config(&fleet, CONFIG);
    let manifest = policy(&caps, &shop, "", TEAM);
    let apply = || dev.try_kubectl(&["apply", "--server-side", "--field-manager=helm", "-f", "-"], &manifest);
    assert!(apply().status.success());
    dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{caps}"), "--timeout=60s"]);

    // The preview says what will happen to the owner's next apply, and it does.
    let promoted = acknowledged(&desk, &["promote", &caps]);
    for part in ["helm owns .spec.rules by server-side apply", "fails with a conflict with \"policydeck\"", "Helm 4"] {
        assert!(promoted.stderr.contains(part), "{part}: {promoted:?}");
    }
    let conflict = apply();
    let said = String::from_utf8_lossy(&conflict.stderr);
    assert!(!conflict.status.success() && said.contains("conflict with \"policydeck\"") && said.contains(".spec.rules"), "{said}");

    let undone = document(&run(&desk, &["undo", "--last", "-e", "dev", "--yes", "-o", "json"], 0));
    assert!(!undone["items"][0]["reason"].as_str().unwrap().contains("given back"), "{undone:#}");
    assert_eq!(managers(dev, &caps), [("helm".to_owned(), "Apply".to_owned())]);
    let again = apply();
    assert!(again.status.success(), "{again:?}");
    // What it owns again it can take away again.
    let less = manifest.replace("background: false, ", "");
    assert!(dev.try_kubectl(&["apply", "--server-side", "--field-manager=helm", "-f", "-"], &less).status.success());

    // An owner that updates finds its fields and its memory.
    let manifest = policy(&upd, &shop, "", TEAM);
    dev.apply(&manifest);
    dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{upd}"), "--timeout=60s"]);
    acknowledged(&desk, &["promote", &upd]);
    run(&desk, &["undo", "--last", "-e", "dev", "--yes"], 0);
    assert_eq!(managers(dev, &upd), [("kubectl-client-side-apply".to_owned(), "Update".to_owned())]);
    let applied = dev.try_kubectl(&["apply", "-f", "-"], &manifest);
    let said = format!("{}{}", String::from_utf8_lossy(&applied.stdout), String::from_utf8_lossy(&applied.stderr));
    assert!(applied.status.success() && !said.contains("missing"), "{said}");
}

#[test]
fn an_archive_restores_objects_of_any_size() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let (big, desk) = (fleet.name("big-list"), Desk::with_config(&fleet, CONFIG));
    let images: Vec<String> = (0..9000).map(|n| format!("registry.example.com/a{n:06}:*")).collect();
    let rule = json!({"name": "images", "match": {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["nowhere"]}}]},
        "validate": {"failureAction": "Enforce", "message": "wanted", "pattern": {"spec": {"containers": [{"image": images.join(" | ")}]}}}});
    let manifest = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": big}, "spec": {"background": false, "rules": [rule]}});
    // Kyverno has ten seconds to look at it, which a busy machine may not give it.
    eventually("it is created", SOON, || {
        let made = dev.try_kubectl(&["create", "-f", "-"], &manifest.to_string());
        if made.status.success() { Ok(()) } else { Err(format!("{made:?}")) }
    });
    let demoted = document(&run(&desk, &["demote", &big, "-e", "dev", "--yes", "-o", "json"], 0));
    let file = Path::new(demoted["undo"].as_str().unwrap()).join("backup-policies.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let action = || {
        let live = dev.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{big}")).unwrap().ok();
        live["spec"]["rules"][0]["validate"]["failureAction"].as_str().unwrap().to_owned()
    };
    assert_eq!(action(), "Audit");
    // The commands of its first line, word for word.
    let first = text.lines().next().unwrap();
    let commands: Vec<&str> = first.split('`').skip(1).step_by(2).collect();
    assert_eq!(commands.len(), 2, "{first}");
    for (command, before) in commands.iter().zip([None, Some(["delete", "clusterpolicy", big.as_str()])]) {
        if let Some(args) = before {
            dev.kubectl(&args);
        }
        let args: Vec<&str> =
            command.split(' ').skip(1).map(|word| if word == "backup-policies.yaml" { file.to_str().unwrap() } else { word }).collect();
        // Kyverno writes its status at any moment; kubectl then says that it is to be tried again.
        eventually(command, SOON, || {
            let restored = dev.try_kubectl(&args, "");
            if restored.status.success() { Ok(()) } else { Err(format!("{restored:?}")) }
        });
        assert_eq!(action(), "Enforce", "{command}");
    }
}

#[test]
fn every_demotion_can_be_undone_and_promoted_again() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let shop = fleet.own_namespace("shop");
    let desk = Desk::with_config(&fleet, CONFIG);
    let key = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM\\n5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==\\n-----END PUBLIC KEY-----";
    let image = format!(
        "verifyImages: [{{imageReferences: ['registry.example.com/nowhere/*'], attestors: [{{entries: [{{keys: {{publicKeys: \"{key}\"}}}}]}}]}}]"
    );
    let enforced = TEAM.replace("Audit", "Enforce");
    let cel = |name: &str, actions: &str| {
        format!(
            "{{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {{name: {name}}}, spec: {{validationActions: {actions}, evaluation: {{background: {{enabled: \
             false}}}}, matchConstraints: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {shop}}}}}, resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: \
             [CREATE], resources: [pods]}}]}}, validations: [{{expression: 'has(object.metadata.labels)', message: wanted}}]}}}}"
        )
    };
    let [images, warns, plain, denies] = ["images", "warns", "plain", "denies"].map(|stem| fleet.name(stem));
    let warned = fleet.name("audit-warn");
    for manifest in [
        policy(&images, &shop, "validationFailureAction: Enforce,", &image),
        policy(&warns, &shop, "emitWarning: true,", &enforced),
        policy(&plain, &shop, "", &enforced),
        cel(&denies, "[Deny, Audit]"),
        cel(&warned, "[Audit, Warn]"),
    ] {
        dev.apply(&manifest);
    }
    let mode = |name: &str| {
        let (document, _) = desk.json(&["policies", "-e", "dev"]);
        let found = document["items"].as_array().unwrap().iter().find(|item| item["policy"]["name"] == name).cloned();
        found.map(|item| item["mode"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    let becomes = |name: &str, expected: &[&str]| {
        eventually("the mode", SOON, || match mode(name) {
            mode if expected.contains(&mode.as_str()) => Ok(()),
            mode => Err(format!("{name}: {mode}")),
        });
    };
    for name in [&images, &warns, &plain, &denies] {
        becomes(name, &["enforce"]);
        let demoted = document(&run(&desk, &["demote", name, "-e", "dev", "--yes", "-o", "json"], 0));
        becomes(name, &["audit", "warn"]);
        let gate = desk.run(&["gate", name, "-o", "json"]);
        assert_eq!(document(&gate)["items"][0]["from"]["mode"], "audit", "{gate:?}");
        acknowledged(&desk, &["undo", demoted["plan"].as_str().unwrap(), "-e", "dev"]);
        becomes(name, &["enforce"]);
        run(&desk, &["demote", name, "-e", "dev", "--yes"], 0);
        becomes(name, &["audit", "warn"]);
        acknowledged(&desk, &["promote", name, "-e", "dev"]);
        becomes(name, &["enforce"]);
    }
    // One that warns from the beginning stands at audit, too.
    becomes(&warned, &["warn"]);
    acknowledged(&desk, &["promote", &warned, "-e", "dev"]);
    becomes(&warned, &["enforce"]);
}

#[test]
fn an_acknowledgement_holds_for_what_it_was_given_for() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let name = fleet.name("no-match");
    let role = fleet.name("no-reports");
    let desk = Desk::with_config(&fleet, CONFIG);
    dev.apply(&policy(&name, "nowhere", "", TEAM));
    dev.apply(&format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {role}}}, rules: [{{apiGroups: [kyverno.io, policies.kyverno.io], resources: \
         ['*'], verbs: ['*']}}, {{apiGroups: ['', apps, batch, events.k8s.io, admissionregistration.k8s.io, coordination.k8s.io, apiextensions.k8s.io, \
         discovery.k8s.io], resources: ['*'], verbs: [get, list, watch]}}, {{nonResourceURLs: ['*'], verbs: [get]}}]}}\n---\n{{apiVersion: rbac.authorization.k8s.io/v1, kind: \
         ClusterRoleBinding, metadata: {{name: {role}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, subjects: [{{apiGroup: \
         rbac.authorization.k8s.io, kind: User, name: {role}}}]}}"
    ));
    dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{name}"), "--timeout=60s"]);
    let file = desk.home().join("plan.json");
    let file = file.to_str().unwrap();
    run(&desk, &["promote", &name, KNOWN[0], KNOWN[1], "--plan-out", file], 0);
    // Who may not read reports meets more that is unknown, or the same for another reason.
    let rejected = run(&desk, &["promote", "--plan", file, "--as", &role, "--yes", "--wait", "10s"], 4);
    assert!(rejected.stderr.contains("unknown for another reason than was acknowledged"), "{rejected:?}");
    let action = || dev.kubectl(&["get", "clusterpolicy", &name, "-o", "jsonpath={.spec.rules[0].validate.failureAction}"]);
    assert_eq!(action(), "Audit");
    // For whom it is as it was, it goes; the journal has the gate of then.
    run(&desk, &["promote", "--plan", file, "--yes"], 0);
    assert_eq!(action(), "Enforce");
    let entries = document(&run(&desk, &["audit", "show", "-o", "json", "--policy", &name], 0));
    let intent = entries["items"].as_array().unwrap().iter().find(|entry| entry["phase"] == "intent").unwrap().clone();
    assert_eq!(intent["gate"]["acknowledged"], "nothing matches", "{intent:#}");
    assert!(intent["gate"]["acknowledgedConditions"].as_array().is_some_and(|names| !names.is_empty()), "{intent:#}");
    dev.kubectl(&["delete", "clusterrole,clusterrolebinding", &role]);
}

#[test]
fn the_impact_knows_where_nothing_is_blocked() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let shop = fleet.own_namespace("shop");
    let (name, map) = (fleet.name("labeled"), fleet.name("map"));
    let desk = Desk::with_config(&fleet, CONFIG);
    for namespace in [shop.as_str(), "kube-system"] {
        dev.apply(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {map}, namespace: {namespace}}}}}"));
    }
    dev.apply(&format!(
        "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}}}, spec: {{background: true, rules: [{{name: r, match: {{any: [{{resources: {{kinds: \
         [ConfigMap], names: [{map}]}}}}]}}, validate: {{failureAction: Audit, message: wanted, pattern: \
         {{metadata: {{labels: {{team: '?*'}}}}}}}}}}]}}}}"
    ));
    eventually("the impact names where nothing is blocked", REPORTED, || {
        let tried = desk.run(&["promote", &name, "--dry-run=client", "-o", "json", KNOWN[0], KNOWN[1]]);
        let said = format!("{tried:?}");
        if tried.status != Some(0) {
            return Err(said);
        }
        let impact = document(&tried)["impact"].to_string();
        let blocked =
            impact.contains(&format!("ConfigMap/{map} in {shop}")) && !impact.contains(&format!("ConfigMap/{map} in kube-system"));
        let spared = impact.contains("nothing is blocked in kube-system (1 workload that fails): Kyverno leaves these namespaces alone");
        if blocked && spared { Ok(()) } else { Err(said) }
    });
    dev.kubectl(&["delete", "configmap", &map, "-n", "kube-system"]);
}
