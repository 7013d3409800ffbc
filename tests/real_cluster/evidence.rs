//! Since when a policy is what it is, with a recorder that was there, one that was not, a wrong clock, and a history that is damaged or gone.
//!
//! What the object alone shows is in the table `tests/situations/kyverno.yaml`.

use crate::support::cluster::{Fleet, Need, User};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use crate::support::say;
use jiff::Timestamp;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn policy(name: &str) -> String {
    format!(
        "{{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {{name: {name}}}, spec: {{validationActions: [Audit], \
         matchConstraints: {{resourceRules: [{{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}}]}}, \
         validations: [{{expression: 'object.spec.replicas < 50'}}]}}}}"
    )
}

fn desk(fleet: &Fleet) -> Desk {
    let step = "{ mode = \"audit\", soak = \"1h\" }, { mode = \"enforce\", soak = \"1h\" }";
    let place =
        |name: &str| format!("[[environments]]\nname = \"{name}\"\ncontext = \"{}\"\nsteps = [{step}]\n", User::Admin.context(name));
    Desk::with_config(fleet, &format!("{}{}", place("dev"), place("live")))
}

/// A condition of the gate, as `state source`.
fn condition(desk: &Desk, policy: &str, name: &str) -> Value {
    let gate = desk.json(&["gate", policy]).0;
    let conditions = gate["items"][0]["conditions"].as_array().unwrap_or_else(|| panic!("{gate:#}")).clone();
    conditions.into_iter().find(|condition| condition["name"] == name).unwrap()
}

fn soak(desk: &Desk, policy: &str) -> String {
    let soak = condition(desk, policy, "soak");
    format!("{} {}", soak["state"].as_str().unwrap(), soak["source"].as_str().unwrap()).trim().to_owned()
}

/// Records for as long as it takes until the policy is on record as it is.
fn recorded(desk: &Desk, policy: &str, mode: &str) {
    let recorder = desk.start(&["observe"]);
    eventually("it is on record", SOON, || {
        let timeline = desk.run(&["timeline", policy, "-e", "dev", "--no-look", "-o", "json"]);
        if timeline.stdout.contains(&format!("\"{mode}\"")) { Ok(()) } else { Err(format!("{timeline:?}")) }
    });
    end(recorder);
}

/// Waits until requests meet the policy: without that, there is no soak to speak of.
fn in_force(desk: &Desk, policy: &str) {
    eventually("the policy is in force", SOON, || {
        let ready = condition(desk, policy, "ready");
        if ready["state"] == "met" { Ok(()) } else { Err(format!("{ready:#}")) }
    });
}

#[test]
fn a_soak_starts_where_it_is_proven_and_nowhere_else() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let desk = desk(&fleet);
    let (still, known, again) = (fleet.name("still"), fleet.name("known"), fleet.name("again"));
    for name in [&still, &known, &again] {
        dev.apply(&policy(name));
    }
    for name in [&still, &known, &again] {
        in_force(&desk, name);
    }
    assert_eq!(soak(&desk, &still), "unmet creationTimestamp");
    let gate = desk.run(&["gate", &still, "-o", "json"]);
    assert_eq!(gate.status, Some(3), "{gate:?}");

    // What a recorder saw before.
    recorded(&desk, &known, "audit");
    assert_eq!(soak(&desk, &known), "unmet creationTimestamp", "nothing changed since: the generation is the same");
    // Times in managedFields have whole seconds.
    std::thread::sleep(Duration::from_millis(1_100));
    dev.kubectl(&["patch", "validatingpolicy", &known, "--type=json", "-p", r#"[{"op": "remove", "path": "/spec/validationActions"}]"#]);
    let dark = condition(&desk, &known, "soak");
    assert_eq!(dark["state"], "unknown", "{dark:#}");
    assert!(dark["reason"].as_str().unwrap().starts_with("it was different until "), "{dark:#}");
    let before = Timestamp::now();
    recorded(&desk, &known, "enforce");
    let found = condition(&desk, &known, "soak");
    assert_eq!(found["source"], "found so by the recorder", "{found:#}");
    let at: Timestamp = found["evidence"][0]["at"].as_str().unwrap().parse().unwrap();
    assert!(at >= before - jiff::SignedDuration::from_secs(2), "it counts from then on: {before} {found:#}");

    // Deleted and made again while nobody looks: the same words, and another object.
    dev.kubectl(&["delete", "validatingpolicy", &again]);
    let deleted = Timestamp::now();
    dev.apply(&policy(&again));
    in_force(&desk, &again);
    let made = condition(&desk, &again, "soak");
    let at: Timestamp = made["evidence"][0]["at"].as_str().unwrap().parse().unwrap();
    assert!(at >= deleted - jiff::SignedDuration::from_secs(1), "{deleted} {made:#}");

    wrong_clocks(&desk, &still);
    broken_histories(&desk, &still);
}

/// The clock of this machine is wrong: the servers' counts.
fn wrong_clocks(desk: &Desk, still: &str) {
    let at = |offset: &str, args: &[&str]| {
        let plain = desk.command(args);
        let mut command = Command::new("faketime");
        command.args(["-f", offset]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (document, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if Command::new("faketime").arg("--version").output().is_err() {
        say("SKIPPED: wrong clocks, because there is no faketime");
        return;
    }
    // With a clock that is behind, the certificates of these clusters would not be valid yet.
    let (offset, low, high) = ("+90m", -5_500, -5_300);
    let (status, err) = at(offset, &["status", "-o", "json"]);
    let skew = status["items"][0]["clockSkewSeconds"].as_i64().unwrap();
    assert!((low..high).contains(&skew), "{offset}: {status:#}");
    assert!(err.contains("the clock of this machine is"), "{offset}: {err}");
    let (gate, _) = at(offset, &["gate", still, "-o", "json"]);
    let conditions = gate["items"][0]["conditions"].as_array().unwrap_or_else(|| panic!("{gate:#}"));
    let soak = conditions.iter().find(|one| one["name"] == "soak").unwrap();
    assert!(soak["state"] == "unmet" && soak["value"].as_i64().is_some_and(|seconds| (0..600).contains(&seconds)), "{offset}: {soak:#}");
}

/// A history that cannot be read, and one that is gone, leave nothing known.
fn broken_histories(desk: &Desk, still: &str) {
    let file = walk(desk.home()).into_iter().find(|file| file.ends_with("history.db")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for name in ["history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(file.with_file_name(name));
    }
    std::fs::write(&file, vec![7; whole.len()]).unwrap();
    let damaged = condition(desk, still, "soak");
    assert!(damaged["state"] == "unknown" && damaged["reason"].as_str().unwrap().contains("cannot be read"), "{damaged:#}");
    let status = desk.run(&["status"]);
    assert!(status.stderr.contains("cannot open the history"), "{status:?}");
    std::fs::remove_file(&file).unwrap();
    let gone = condition(desk, still, "soak");
    assert!(gone["state"] == "unknown" && gone["reason"].as_str().unwrap().contains("is gone"), "{gone:#}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] }).collect()
}
