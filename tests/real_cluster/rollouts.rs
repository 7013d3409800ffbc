//! The road, walked on real API servers with the real Kyverno: promoted, refused, enforced, demoted, rolled back, held, unblocked.

use crate::support::cluster::{Cluster, Fleet, Need, Options};
use crate::support::eventually;
use crate::support::product::{Answer, Desk};
use crate::support::screen::Session;
use serde_json::Value;
use std::time::Duration;

/// Enforcement follows a change within seconds, a report within half a minute.
const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce", max_blocked = 50 }]

[[environments]]
name = "live"
context = "live"
tier = "production"
steps = [{ mode = "audit" }, { mode = "enforce" }]
"#;

/// A policy against mutable tags, and the namespace it is about.
struct Ground {
    policy: String,
    shop: String,
}

impl Ground {
    fn manifest(&self) -> String {
        let Self { policy, shop } = self;
        format!(
            "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {policy}, annotations: {{meta.helm.sh/release-name: policies, \
             meta.helm.sh/release-namespace: kyverno}}, labels: {{team: platform}}}}, spec: {{validationFailureAction: Audit, background: true, rules: [{{name: tag, \
             match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}, validate: {{message: no latest, pattern: {{spec: {{containers: \
             [{{image: '!*:latest'}}]}}}}}}}}]}}}}"
        )
    }

    fn pod(&self, name: &str, image: &str) -> String {
        let shop = &self.shop;
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {shop}}}, spec: {{containers: [{{name: c, image: '{image}'}}]}}}}"
        )
    }

    fn live(&self, cluster: &Cluster) -> Value {
        cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{}", self.policy)).unwrap().ok()
    }

    fn action(&self, cluster: &Cluster) -> String {
        self.live(cluster)["spec"]["validationFailureAction"].as_str().unwrap().to_owned()
    }

    /// Whether a Pod with a mutable tag is let in, once that is so.
    fn bad_pod_is(&self, cluster: &Cluster, admitted: bool) {
        eventually("Kyverno does what the policy says", SOON, || {
            let made = cluster.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &self.pod("bad", "nginx:latest"));
            if made.status.success() == admitted { Ok(()) } else { Err(format!("{made:?}")) }
        });
    }

    /// The promotion once its gate is open.
    fn promote_when_open(&self, desk: &Desk, args: &[&str]) -> Answer {
        let mut last = None;
        eventually("the gate opens", REPORTED, || {
            let answer = desk.run(&[&["promote", &self.policy, "-o", "json"], args].concat());
            let open = !matches!(answer.status, Some(3 | 4));
            let said = format!("{answer:?}");
            last = Some(answer);
            if open { Ok(()) } else { Err(said) }
        });
        let answer = last.unwrap();
        assert_eq!(answer.status, Some(0), "{answer:?}");
        answer
    }

    /// The policy in dev, and a Pod that it fails.
    fn start(self, fleet: &Fleet) -> Self {
        for cluster in fleet.clusters() {
            cluster.namespace(&self.shop);
        }
        let dev = fleet.cluster("dev");
        dev.apply(&self.manifest());
        dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", &self.policy, "--timeout=60s"]);
        dev.apply(&self.pod("web", "nginx:latest"));
        self
    }

    /// The Pod is replaced by one that passes.
    fn mend(&self, dev: &Cluster) {
        dev.kubectl(&["delete", "pod", "web", "-n", &self.shop, "--now"]);
        dev.apply(&self.pod("web", "nginx:1.27"));
    }
}

pub(super) fn document(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

pub(super) fn run(desk: &Desk, args: &[&str], status: i32) -> Answer {
    let answer = desk.run(args);
    assert_eq!(answer.status, Some(status), "{args:?}: {answer:?}");
    answer
}

#[test]
fn a_policy_walks_the_whole_road_and_back() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, live) = (fleet.cluster("dev"), fleet.cluster("live"));
    let ground = Ground { policy: fleet.name("no-latest"), shop: fleet.name("shop") }.start(&fleet);
    let policy = ground.policy.as_str();
    let desk = Desk::with_config(&fleet, CONFIG);

    // A violation stands: refused, in words, and nothing has changed.
    eventually("the violation closes the gate", REPORTED, || {
        let answer = desk.run(&["promote", policy, "--yes"]);
        if answer.status == Some(3) && answer.stderr.contains("violations") { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!(ground.action(dev), "Audit");

    // It is mended; a dry run writes nothing; then it is enforced.
    ground.mend(dev);
    let tried = document(&ground.promote_when_open(&desk, &["--dry-run"]));
    assert_eq!((tried["dryRun"].as_bool(), &tried["items"][0]["result"]), (Some(true), &Value::from("done")), "{tried:#}");
    assert_eq!(ground.action(dev), "Audit", "a dry run writes nothing");
    let unconfirmed = run(&desk, &["promote", policy], 2);
    assert!(unconfirmed.stderr.contains("--yes"), "{unconfirmed:?}");
    ground.bad_pod_is(dev, true);
    let promoted = document(&ground.promote_when_open(&desk, &["--yes", "--ticket", "CHG-1"]));
    let step = &promoted["items"][0];
    assert_eq!((&step["environment"], &step["verb"], &step["result"]), (&"dev".into(), &"patch".into(), &"done".into()), "{promoted:#}");
    let diff: Vec<&str> = step["diff"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(diff.contains(&"spec.validationFailureAction: Audit → Enforce"), "{promoted:#}");
    let annotations = ground.live(dev)["metadata"]["annotations"].clone();
    assert_eq!((&annotations["policydeck.dev/ticket"], &annotations["policydeck.dev/plan"]), (&"CHG-1".into(), &promoted["plan"]));
    assert_eq!(ground.action(dev), "Enforce");
    ground.bad_pod_is(dev, false);

    // To production: the name has to be typed, the mode is audit there, and what Helm owns in dev stays in dev.
    eventually("production asks for its name", REPORTED, || {
        let wrong = desk.run(&["promote", policy, "--yes"]);
        let asks = wrong.stderr.contains("--confirm live") && wrong.stderr.contains("PRODUCTION live");
        if wrong.status == Some(2) && asks { Ok(()) } else { Err(format!("{wrong:?}")) }
    });
    let created = document(&ground.promote_when_open(&desk, &["--confirm", "live"]));
    assert_eq!((&created["items"][0]["verb"], &created["items"][0]["environment"]), (&"create".into(), &"live".into()), "{created:#}");
    let there = ground.live(live);
    assert_eq!((ground.action(live).as_str(), &there["metadata"]["labels"]["team"]), ("Audit", &"platform".into()));
    assert_eq!(there["metadata"]["annotations"].get("meta.helm.sh/release-name"), None, "{there:#}");
    assert!(there["metadata"]["annotations"]["policydeck.dev/promoted-from"].as_str().unwrap().starts_with("dev@"), "{there:#}");

    // Down is never gated.
    let demoted = document(&run(&desk, &["demote", policy, "-e", "dev", "--yes", "-o", "json"], 0));
    assert_eq!(demoted["items"][0]["result"], "done", "{demoted:#}");
    assert_eq!(ground.action(dev), "Audit");
    ground.bad_pod_is(dev, true);
    run(&desk, &["demote", policy, "-e", "dev", "--yes"], 0);

    // Somebody breaks it; it is put back to what it was.
    dev.kubectl(&[
        "patch",
        "clusterpolicy",
        policy,
        "--type=json",
        "-p",
        r#"[{"op": "replace", "path": "/spec/rules/0/validate/message", "value": "broken"}]"#,
    ]);
    let back = document(&run(&desk, &["rollback", policy, "-e", "dev", "--yes", "-o", "json"], 0));
    assert_eq!(
        (&back["items"][0]["result"], &ground.live(dev)["spec"]["rules"][0]["validate"]["message"]),
        (&"done".into(), &"no latest".into()),
        "{back:#}"
    );
    assert_eq!(ground.action(dev), "Audit", "a rollback never makes a policy refuse more");

    // Held where it stands, it does not move.
    run(&desk, &["hold", policy, "-e", "dev", "--reason", "audit week", "--yes"], 0);
    eventually("the hold closes the gate", SOON, || {
        let held = desk.run(&["gate", policy]);
        if held.status == Some(3) && held.stdout.contains("audit week") { Ok(()) } else { Err(format!("{held:?}")) }
    });
    run(&desk, &["promote", policy, "--acknowledge-unknown", "nobody looks", "--yes"], 3);
    run(&desk, &["release", policy, "-e", "dev", "--yes"], 0);

    // The journal remembers all of it, and nobody has changed it since.
    let journal = document(&run(&desk, &["audit", "show", "-o", "json"], 0));
    let entries = journal["items"].as_array().unwrap();
    let verbs: Vec<&str> =
        entries.iter().filter(|entry| entry["phase"] == "outcome").map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["promote", "promote", "demote", "rollback", "hold", "release"], "{journal:#}");
    assert_eq!(entries.len(), 12, "an intent before every outcome");
    assert_eq!(entries[0]["gate"]["verdict"], "open", "{journal:#}");
    run(&desk, &["audit", "verify"], 0);
}

#[test]
fn a_kyverno_that_is_down_is_told_from_one_that_refuses() {
    let Some(fleet) = Fleet::start(&["dev"], Options { kyverno: true, controllers: true, scan: Some("30s"), ..Options::default() }) else {
        return;
    };
    let dev = fleet.cluster("dev");
    let ground = Ground { policy: "no-latest".to_owned(), shop: "shop".to_owned() }.start(&fleet);
    let policy = ground.policy.as_str();
    let config = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\" }]\n";
    let desk = Desk::with_config(&fleet, config);

    // What Kyverno's webhook refuses is refused at the dry run, in its words.
    dev.kubectl(&["patch", "clusterpolicy", policy, "--type=merge", "-p", "{\"spec\": {\"validationFailureAction\": \"Enforce\"}}"]);
    ground.bad_pod_is(dev, false);
    let up = run(&desk, &["unblock", "-e", "dev", "--confirm", "dev"], 1);
    assert!(up.stderr.contains("Kyverno answers in dev"), "{up:?}");

    // Without Kyverno nothing that the policy matches gets in, and no policy can be changed.
    dev.signal("kyverno-admission", "KILL");
    eventually("requests fail", SOON, || {
        let made = dev.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &ground.pod("any", "nginx:1.27"));
        if String::from_utf8_lossy(&made.stderr).contains("failed calling webhook") { Ok(()) } else { Err(format!("{made:?}")) }
    });
    let down = run(&desk, &["demote", policy, "-e", "dev", "--yes"], 1);
    assert!(down.stdout.contains("Kyverno is down in dev") && down.stdout.contains("unblock"), "{down:?}");
    run(&desk, &["unblock", "-e", "dev", "--dry-run"], 0);
    dev.kubectl(&["get", "validatingwebhookconfiguration", "kyverno-resource-validating-webhook-cfg"]);
    let unblocked = document(&run(&desk, &["unblock", "-e", "dev", "--confirm", "dev", "-o", "json"], 0));
    assert_eq!(unblocked["items"].as_array().unwrap().len(), 2, "{unblocked:#}");
    let made = dev.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &ground.pod("any", "nginx:latest"));
    assert!(made.status.success(), "workloads get through: {made:?}");

    // Kyverno is back, and so are its webhooks.
    fleet.start_kyverno(&["dev"], false);
    ground.bad_pod_is(dev, false);
    run(&desk, &["demote", policy, "-e", "dev", "--yes"], 0);
    ground.bad_pod_is(dev, true);
}

#[test]
fn a_policy_is_enforced_and_demoted_with_the_keys_of_the_screen() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let ground = Ground { policy: fleet.name("no-latest"), shop: fleet.name("shop") }.start(&fleet);
    let policy = ground.policy.as_str();
    ground.mend(dev);
    let desk = Desk::with_config(&fleet, CONFIG);
    let mut session = Session::start(desk.in_terminal(&[]), (40, 120));
    session
        .until_within("both live", SOON, |screen| screen.contents().lines().next().is_some_and(|line| line.matches("● live").count() == 2));
    session.keys(":rollout\r");
    // Other policies live here, too.
    session.keys(&format!("/{policy}\r"));
    session.until_within("an open gate", REPORTED, |screen| screen.contents().contains("✓ open"));
    session.keys("p");
    session.until_within("what the server says", SOON, |screen| screen.contents().contains("dry run: accepted"));
    assert!(session.text().contains("validationFailureAction: Enforce"), "{}", session.text());
    session.keys("y");
    session.until_within("the outcome", SOON, |screen| screen.contents().contains("enforce now"));
    assert_eq!(ground.action(dev), "Enforce");
    ground.bad_pod_is(dev, false);
    session.keys("\u{1b}");
    session.until_within("the outcome closed", SOON, |screen| !screen.contents().contains("enforce now"));
    session.keys("a");
    session.until_within("what the server says", SOON, |screen| screen.contents().contains("dry run: accepted"));
    session.keys("y");
    session.until_within("the outcome", SOON, |screen| screen.contents().contains("audit now"));
    assert_eq!(ground.action(dev), "Audit");
    // The same journal as from the command line.
    let journal = document(&run(&desk, &["audit", "show", "-o", "json"], 0));
    let verbs: Vec<&str> = journal["items"].as_array().unwrap().iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["promote", "promote", "demote", "demote"], "{journal:#}");
    session.keys("\u{3}");
    assert_eq!(session.ended().status, 0);
}
