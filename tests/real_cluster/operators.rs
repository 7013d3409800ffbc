//! Two operators at once on a real Kyverno: one wins, the other is told so, and both journals tell the truth.

use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::{Answer, Desk, finish};
use crate::support::proxy::{Fault, Proxy};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str =
    "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\", max_blocked = 50 }]\n";
/// A policy against mutable tags, about one namespace.
pub(super) fn policy(name: &str, shop: &str, action: &str) -> String {
    format!(
        "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}}}, spec: {{validationFailureAction: {action}, background: true, rules: [{{name: tag, \
         match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}, validate: {{message: no latest, pattern: {{spec: {{containers: [{{image: '!*:latest'}}]}}}}}}}}]}}}}"
    )
}

pub(super) fn pod(name: &str, shop: &str, image: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {shop}}}, spec: {{containers: [{{name: c, image: '{image}'}}]}}}}"
    )
}

pub(super) fn live(cluster: &Cluster, name: &str) -> Value {
    cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{name}")).unwrap().ok()
}

pub(super) fn action(cluster: &Cluster, name: &str) -> String {
    live(cluster, name)["spec"]["validationFailureAction"].as_str().unwrap().to_owned()
}

/// The journal's entries; the journal is as it was written.
pub(super) fn journal(desk: &Desk) -> Vec<Value> {
    let verified = desk.run(&["audit", "verify"]);
    assert_eq!(verified.status, Some(0), "{verified:?}");
    desk.json(&["audit", "show"]).0["items"].as_array().unwrap().clone()
}

fn promote(name: &str) -> [&str; 5] {
    ["promote", name, "--to", "dev:enforce", "--yes"]
}

/// Waits until the gates of all policies are open.
fn until_open(desk: &Desk, policies: &[String]) {
    for name in policies {
        eventually("all gates open", REPORTED, || {
            let (gate, status) = desk.json(&["gate", name, "--to", "dev:enforce"]);
            if status == Some(0) { Ok(()) } else { Err(gate.to_string()) }
        });
    }
}

/// One won and did it, the other lost, knows it, and says who was faster. The journals hold the winner's intent and outcome, and whatever the loser wrote.
fn one_won(cluster: &Cluster, name: &str, answers: [&Answer; 2], journals: &[Value]) {
    let won = answers.iter().filter(|answer| answer.status == Some(0)).count();
    assert_eq!(won, 1, "exactly one wins {name}: {answers:#?}");
    let loser = answers.iter().find(|answer| answer.status != Some(0)).unwrap();
    // Refused by what the other did, or by a gate that shows it already.
    assert!(matches!(loser.status, Some(1 | 3)), "{name}: {loser:#?}");
    let said = format!("{}{}", loser.stdout, loser.stderr);
    let clear = ["was faster with", "since this plan was made", "at enforce already", "is already at dev · enforce"];
    assert!(clear.iter().any(|words| said.contains(words)), "{name}: {said}");
    assert!(!said.contains("unknown"), "{name}: {said}");
    assert_eq!(action(cluster, name), "Enforce", "{name}");
    let plan = live(cluster, name)["metadata"]["annotations"]["policydeck.dev/plan"].clone();
    let of_it: Vec<&Value> = journals.iter().filter(|entry| entry["object"]["name"] == name).collect();
    let done: Vec<&&Value> = of_it.iter().filter(|entry| entry["result"] == "done").collect();
    assert_eq!(done.len(), 1, "{name}: {of_it:#?}");
    assert_eq!(done[0]["plan"], plan, "the object names the plan of the one who won: {name}");
    let refused = of_it.iter().filter(|entry| entry["result"] == "refused").count();
    let intents = of_it.iter().filter(|entry| entry["phase"] == "intent").count();
    assert_eq!((intents, of_it.len()), (1 + refused, 2 * intents), "each intent has its outcome: {of_it:#?}");
}

#[test]
fn of_two_who_promote_at_once_one_wins_and_the_other_is_told() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let shop = fleet.own_namespace("shop");
    // One for each race.
    let policies: [String; 9] = std::array::from_fn(|race| fleet.name(&format!("p{race}")));
    dev.apply(&policies.each_ref().map(|name| policy(name, &shop, "Audit")).join("\n---\n"));
    let wait = ["wait", "--for=condition=Ready", "clusterpolicy", "--timeout=60s"];
    dev.kubectl(&wait.into_iter().chain(policies.iter().map(String::as_str)).collect::<Vec<_>>());
    dev.apply(&pod("web", &shop, "nginx:1.27"));
    let desk = Desk::with_config(&fleet, CONFIG);
    until_open(&desk, &policies);

    // On one machine, as it comes: they share the journal.
    for name in &policies[..5] {
        let both = [desk.start(&promote(name)), desk.start(&promote(name))].map(finish);
        one_won(dev, name, both.each_ref(), &journal(&desk));
    }

    // On two machines, both writes at the server in the same moment: the server decides.
    let proxies = [Proxy::before(&fleet, "dev"), Proxy::before(&fleet, "dev")];
    let desks = proxies.each_ref().map(|proxy| Desk::with_config(&fleet, CONFIG).through(&fleet, &[proxy]));
    for name in &policies[5..7] {
        let marks = proxies.each_ref().map(Proxy::mark);
        let held = proxies.each_ref().map(|proxy| proxy.fault("PATCH !dryRun", Fault::Hold));
        let both = desks.each_ref().map(|desk| desk.start(&promote(name)));
        eventually("both are about to write", SOON, || {
            let about = proxies.iter().zip(marks).filter(|(proxy, mark)| proxy.count(*mark, "PATCH !dryRun") == 1).count();
            if about == 2 { Ok(()) } else { Err(about) }
        });
        drop(held);
        let both = both.map(finish);
        let journals = [journal(&desks[0]), journal(&desks[1])];
        let intents = journals.iter().flatten().filter(|entry| entry["object"]["name"] == *name && entry["phase"] == "intent").count();
        assert_eq!(intents, 2, "both had begun to write {name}");
        one_won(dev, name, both.each_ref(), &journals.concat());
    }

    // The other comes between the dry run and what follows it, and between the preview and the dry run.
    for (name, times) in policies[7..].iter().zip([2, 1]) {
        let mark = proxies[0].mark();
        // The first dry runs pass.
        let passing = (times > 1).then(|| proxies[0].fault_times(times - 1, "PATCH dryRun", Fault::Throttle(u64::MAX)));
        let held = proxies[0].fault("PATCH dryRun", Fault::Hold);
        let slow = desks[0].start(&promote(name));
        eventually("it is about to have it checked", SOON, || {
            let count = proxies[0].count(mark, "PATCH dryRun");
            if count == times { Ok(()) } else { Err(count) }
        });
        let fast = desks[1].run(&promote(name));
        drop((held, passing));
        let slow = finish(slow);
        assert_eq!(slow.status, Some(1), "{slow:?}");
        let said = format!("{}{}", slow.stdout, slow.stderr);
        assert!(said.contains("was faster with") && said.contains("its annotations name the plan"), "{said}");
        one_won(dev, name, [&fast, &slow], &[journal(&desks[0]), journal(&desks[1])].concat());
    }
}
