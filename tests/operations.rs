//! Operations from the command line against the demo's API servers: what is asked, refused, written, noted and taken back.
//!
//! The same against the real Kyverno is in `real_cluster/rollouts.rs` and `real_cluster/keeping.rs`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "demo_server/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;

use assert_cmd::Command;
use client::{CPOL, ask, pod, policy, until};
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use policydeck::domain::journal::Who;
use policydeck::ops::plan::{from_file, to_file};
use serde_json::{Value, json};
use std::time::Duration;

const ROAD: &str = r#"
[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce" }]

[[environments]]
name = "staging"
context = "staging"
steps = [{ mode = "audit" }, { mode = "enforce" }]
"#;

/// Why a gate may be passed that has nothing to look at.
const KNOWN: [&str; 2] = ["--acknowledge-unknown", "nothing matches"];

/// A demo, and a user's machine beside it.
struct World {
    demo: Demo,
    home: tempfile::TempDir,
}

#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn items(&self) -> Vec<Value> {
        self.document()["items"].as_array().unwrap().clone()
    }
}

impl World {
    fn new(config: &str) -> Self {
        Self::reporting_after(config, Duration::from_millis(50))
    }

    /// The same where reports follow a change after that time.
    fn reporting_after(config: &str, reports: Duration) -> Self {
        let pace = Pace { reports, ready: Duration::from_millis(50), scan: Duration::from_secs(3600) };
        let demo = Demo::start(DemoOptions { listen_port: None, scenario: Scenario::none(), pace }).unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kubeconfig"), demo.kubeconfig()).unwrap();
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        Self { demo, home }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let home = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_policydeck"));
        command.env_clear().env("HOME", home).env("XDG_DATA_HOME", home.join("data")).env("XDG_STATE_HOME", home.join("state"));
        command.args(args).arg("--config").arg(home.join("config.toml")).arg("--kubeconfig").arg(home.join("kubeconfig"));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same, with the exit status that it must have.
    fn ends(&self, status: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.status, status, "{args:?}: {ran:?}");
        ran
    }

    fn promote(&self, status: i32, args: &[&str]) -> Ran {
        self.ends(status, &[&["promote"], args, &KNOWN].concat())
    }

    /// Puts a policy into an environment that matches nothing there, and waits until it is in force.
    fn make(&self, environment: &str, name: &str) {
        let mut made = policy(name);
        made["spec"]["rules"][0]["match"]["any"][0]["resources"]["namespaces"] = json!(["nowhere"]);
        let (code, answer) = ask(&self.demo, environment).post(CPOL, &made);
        assert_eq!(code, 201, "{answer}");
        self.is_ready(environment, name);
    }

    fn is_ready(&self, environment: &str, name: &str) {
        until("it is in force", || {
            let conditions = self.policy(environment, name)?["status"]["conditions"].as_array()?.clone();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True").then_some(())
        });
    }

    fn policy(&self, environment: &str, name: &str) -> Option<Value> {
        let answer = ask(&self.demo, environment).send("GET", &format!("{CPOL}/{name}"), &[], "");
        (answer.code == 200).then(|| answer.json())
    }

    fn say(&self, environment: &str, name: &str, message: &str) {
        let mut rules = self.policy(environment, name).unwrap()["spec"]["rules"].clone();
        rules[0]["validate"]["message"] = json!(message);
        let (code, answer) = ask(&self.demo, environment).merge(&format!("{CPOL}/{name}"), &json!({"spec": {"rules": rules}}));
        assert_eq!(code, 200, "{answer}");
    }

    fn message(&self, environment: &str, name: &str) -> Value {
        self.policy(environment, name).unwrap()["spec"]["rules"][0]["validate"]["message"].clone()
    }

    fn action(&self, environment: &str, name: &str) -> Value {
        self.policy(environment, name).unwrap()["spec"]["validationFailureAction"].clone()
    }
}

#[test]
fn a_policy_goes_back_to_what_it_was() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    let list = world.ends(0, &["rollback", "p", "-e", "dev", "--list", "-o", "json"]);
    assert_eq!((list.items().len(), list.err.contains("neither an archive nor the history")), (0, true), "{list:?}");
    assert!(world.ends(2, &["rollback", "p", "-e", "dev", "--yes"]).err.contains("neither an archive nor the history"), "nothing to go to");

    // Two revisions are recorded, the third is not.
    for message in ["one", "two"] {
        world.say("dev", "p", message);
        world.ends(0, &["timeline", "p", "-e", "dev"]);
    }
    world.say("dev", "p", "three");
    let items = world.ends(0, &["rollback", "p", "-e", "dev", "--list", "-o", "json"]).items();
    assert_eq!(items.len(), 2, "{items:#?}");
    assert!(items.iter().all(|item| item["source"] == "history" && item["present"] == false && item["whole"] == true), "{items:#?}");
    assert!(items[0]["until"].is_null() && items[1]["until"].is_string(), "the newest first: {items:#?}");
    let first = items[1]["revision"].as_str().unwrap();

    // The newest that differs, then one by its revision, then the newest again: by now that is an archive.
    let back = world.ends(0, &["rollback", "p", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(world.message("dev", "p"), "two", "{back:?}");
    world.ends(0, &["rollback", "p", "-e", "dev", "--to-revision", &first[..8], "--yes"]);
    assert_eq!(world.message("dev", "p"), "one");
    world.ends(0, &["rollback", "p", "-e", "dev", "--yes"]);
    assert_eq!(world.message("dev", "p"), "two");
    let listed = world.ends(0, &["rollback", "p", "-e", "dev", "--list"]).out;
    for part in ["REVISION", "before rollback: ", first, "now"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }

    // One that is gone comes back, too.
    assert_eq!(ask(&world.demo, "dev").send("DELETE", &format!("{CPOL}/p"), &[], "").code, 200);
    until("it is gone", || world.policy("dev", "p").is_none().then_some(()));
    world.ends(0, &["rollback", "p", "-e", "dev", "--yes"]);
    assert!(world.policy("dev", "p").is_some());

    for (args, says) in [
        (&["--to-revision", "zz"][..], "no revision that is kept begins with `zz`"),
        (&["--to-revision", ""], "begins with ``"),
        (&["--to-revision", "a", "--archive", "f"], "cannot be used with"),
        (&["--list", "--to-revision", "a"], "cannot be used with"),
    ] {
        let ran = world.ends(2, &[&["rollback", "p", "-e", "dev"], args].concat());
        assert!(ran.err.contains(says), "{args:?}: {ran:?}");
    }
}

#[test]
fn an_outcome_tells_no_number_of_what_the_policy_was_before_as_its_own() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::reporting_after(ROAD, HOUR);
    let name = "require-limits";
    world.is_ready("staging", name);
    let failing = |out: &str| {
        let (before, _) = out.split_once(" failures and errors")?;
        before.rsplit(' ').next()?.parse::<u64>().ok().filter(|count| *count > 0)
    };
    // What it says is the same: so are its numbers.
    let held = world.ends(0, &["hold", name, "-e", "staging", "--reason", "look", "--yes", "-o", "json"]);
    assert!(failing(&held.out).is_some() && !held.out.contains("evaluated"), "{held:?}");
    // It says something else, which nothing was judged by yet.
    world.ends(0, &["timeline", name, "-e", "staging"]);
    world.say("staging", name, "something else");
    let back = world.ends(0, &["rollback", name, "-e", "staging", "--yes", "-o", "json"]);
    assert!(back.out.contains("not evaluated anew yet"), "{back:?}");
}

/// The marks of a policy in an environment, as the timeline has them.
fn marks(world: &World, name: &str, look: bool) -> Vec<Value> {
    let args = ["timeline", name, "-e", "dev", "--last", "1h", "-o", "json", "--no-look"];
    let ran = world.run(&args[..args.len() - usize::from(look)]);
    if ran.status == 0 { ran.items()[0]["marks"].as_array().unwrap().clone() } else { Vec::new() }
}

#[test]
fn who_did_it_is_in_the_history_once() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    let ours = |marks: &[Value], kind: &str| {
        let of_kind: Vec<_> = marks.iter().filter(|mark| mark["kind"] == kind).cloned().collect();
        let told = of_kind.len() == 1
            && of_kind[0]["actor"].as_str().is_some_and(|actor| actor.ends_with(" as admin"))
            && of_kind[0]["text"].as_str().is_some_and(|text| text.contains("ticket CHG-1, plan "));
        if told { Ok(()) } else { Err(marks.to_vec()) }
    };
    // Nobody records: the command itself does.
    let done = world.promote(0, &["p", "--yes", "--ticket", "CHG-1"]);
    ours(&marks(&world, "p", false), "promote").unwrap_or_else(|marks| panic!("{done:?} {marks:#?}"));
    ours(&marks(&world, "p", true), "promote").unwrap_or_else(|marks| panic!("{marks:#?}"));

    // Somebody records: what both tell is one event.
    let mut observing = std::process::Command::new(env!("CARGO_BIN_EXE_policydeck"));
    let home = world.home.path();
    observing.env_clear().env("HOME", home).env("XDG_DATA_HOME", home.join("data")).env("XDG_STATE_HOME", home.join("state"));
    observing.args(["observe", "-e", "dev", "--config"]).arg(home.join("config.toml")).arg("--kubeconfig").arg(home.join("kubeconfig"));
    let mut observing = observing.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let span = || {
        let ran = world.run(&["timeline", "p", "-e", "dev", "--last", "1h", "-o", "json", "--no-look"]);
        (ran.status == 0).then(|| ran.items()[0]["spans"].as_array().unwrap().last().unwrap()["mode"].clone())
    };
    until("it is watched", || (span()? == "enforce").then_some(()));
    world.ends(0, &["demote", "p", "-e", "dev", "--yes", "--ticket", "CHG-1"]);
    until("the recorder has seen it", || (span()? == "audit").then_some(()));
    observing.kill().unwrap();
    observing.wait().unwrap();
    ours(&marks(&world, "p", false), "demote").unwrap_or_else(|marks| panic!("{marks:#?}"));

    // Who wants nothing on record has nothing on record.
    let silent = World::new(&format!("{ROAD}\n[history]\nrecord = false\n"));
    silent.make("dev", "p");
    silent.promote(0, &["p", "--yes"]);
    assert!(!silent.home.path().join("data/policydeck/history.db").exists());
}

#[test]
fn a_plan_is_taken_back_unless_somebody_changed_what_it_wrote() {
    let world = World::new(ROAD);
    for (args, says) in [
        (&["undo", "-e", "dev"][..], "required"),
        (&["undo", "--last", "-e", "dev", "--yes"], "nothing that was carried out in dev"),
        (&["undo", "abc", "-e", "dev", "--yes"], "no plan `abc`"),
        (&["undo", "abc", "--last", "-e", "dev"], "cannot be used with"),
    ] {
        let ran = world.ends(2, args);
        assert!(ran.err.contains(says), "{args:?}: {ran:?}");
    }
    world.make("dev", "p");
    let was = world.policy("dev", "p").unwrap();
    let promoted = world.promote(0, &["p", "--yes", "-o", "json"]).document();
    world.is_ready("dev", "p");
    let id = promoted["plan"].as_str().unwrap();

    // The same road as everything: a dry run, a question, the journal.
    let tried = world.ends(0, &["undo", id, "-e", "dev", "--dry-run"]);
    assert!(tried.err.contains("Enforce → Audit") && world.action("dev", "p") == "Enforce", "{tried:?}");
    assert!(world.ends(2, &["undo", id, "-e", "dev"]).err.contains("--yes"));
    world.ends(0, &["undo", &id[..6], "-e", "dev", "--yes"]);
    let is = world.policy("dev", "p").unwrap();
    assert_eq!((&is["spec"], &is["metadata"]["annotations"]), (&was["spec"], &was["metadata"]["annotations"]));
    assert!(world.ends(1, &["undo", id, "-e", "dev", "--yes"]).err.contains("Everything is as it was before plan"));
    let verbs: Vec<Value> = world.ends(0, &["audit", "show", "-o", "json"]).items().iter().map(|item| item["verb"].clone()).collect();
    assert_eq!(verbs, ["promote", "promote", "undo", "undo"]);

    // What was taken back is not the last one any more, nor is what took it back.
    let last = world.ends(2, &["undo", "--last", "-e", "dev", "--yes"]);
    assert!(last.err.contains("nothing that was carried out in dev and not taken back"), "{last:?}");
    world.promote(0, &["p", "--yes"]);
    world.is_ready("dev", "p");
    world.ends(0, &["demote", "p", "-e", "dev", "--yes"]);

    // Back to refusing is gated, as any promotion is.
    let gated = world.ends(4, &["undo", "--last", "-e", "dev", "--yes"]);
    assert!(gated.err.contains("UNKNOWN"), "{gated:?}");
    world.is_ready("dev", "p");
    world.ends(0, &["undo", "--last", "-e", "dev", "--yes", KNOWN[0], KNOWN[1]]);
    assert_eq!(world.action("dev", "p"), "Enforce");

    // Somebody wrote to it since: that would be lost.
    world.ends(0, &["demote", "p", "-e", "dev", "--yes"]);
    world.say("dev", "p", "something else");
    let refused = world.ends(1, &["undo", "--last", "-e", "dev", "--yes", KNOWN[0], KNOWN[1]]);
    assert!(refused.err.contains("ClusterPolicy/p in dev was changed since plan"), "{refused:?}");
    assert_eq!(world.action("dev", "p"), "Audit");
}

#[test]
fn several_policies_are_one_plan() {
    let world = World::new(ROAD);
    for name in ["a", "b", "c"] {
        world.make("dev", name);
    }
    world.ends(0, &["hold", "b", "-e", "dev", "--reason", "not yet", "--yes"]);

    // One gate that is closed stops all of it, and is named.
    let mut held = Ran { status: 0, out: String::new(), err: String::new() };
    until("the hold is seen", || {
        held = world.run(&["promote", "a", "b", "c", "--yes", KNOWN[0], KNOWN[1]]);
        (held.status == 3).then_some(())
    });
    assert!(held.err.contains("ClusterPolicy/b: dev · audit → dev · enforce: CLOSED") && held.err.contains("held by"), "{held:?}");
    assert!(held.err.contains("because of b; --skip-closed goes on with the other 2"), "{held:?}");
    let actions = || ["a", "b", "c"].map(|name| world.action("dev", name).as_str().unwrap().to_owned());
    assert_eq!(actions(), ["Audit", "Audit", "Audit"]);

    // The plan of the others, in a file, shown with every gate; then carried out by it.
    let file = world.home.path().join("plan.json");
    let file = file.to_str().unwrap();
    let made = world.promote(0, &["a", "b", "c", "a", "--skip-closed", "--plan-out", file]);
    for part in ["left out: ClusterPolicy/b", "2: ClusterPolicy/a, ClusterPolicy/c in dev", "gate    a UNKNOWN", "gate    c UNKNOWN"] {
        assert!(made.err.contains(part), "{part}: {made:?}");
    }
    assert_eq!(actions(), ["Audit", "Audit", "Audit"]);
    let done = world.ends(0, &["promote", "--plan", file, "--yes", "-o", "json"]).document();
    let items = done["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| item["object"]["name"].clone()).collect::<Vec<_>>(), ["a", "c"], "in order: {done:#}");
    assert_eq!(actions(), ["Enforce", "Audit", "Enforce"]);
    for name in ["a", "c"] {
        assert_eq!(world.policy("dev", name).unwrap()["metadata"]["annotations"]["policydeck.dev/plan"], done["plan"], "{name}");
    }
    let archive = std::path::Path::new(done["undo"].as_str().unwrap());
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(archive.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["objects"].as_array().unwrap().len(), 2, "one archive: {manifest:#}");

    // It is taken back as one; what went on its way alone is left out by name.
    world.ends(0, &["demote", "a", "c", "-e", "dev", "--yes"]);
    assert_eq!(actions(), ["Audit", "Audit", "Audit"]);
    let none = world.ends(3, &["promote", "b", "--skip-closed", "--yes"]);
    assert!(none.err.contains("CLOSED") && !none.err.contains("--skip-closed goes on"), "{none:?}");
    let entries = world.ends(0, &["audit", "show", "-o", "json", "--plan", done["plan"].as_str().unwrap()]).items();
    let gates: Vec<Value> =
        entries.iter().filter(|entry| entry["phase"] == "intent").map(|entry| entry["gate"]["policy"]["name"].clone()).collect();
    assert_eq!(gates, ["a", "c"], "each with its own gate");
}

/// The plan in a file as somebody else would have made it.
fn as_if_made_by(user: &str, seen: &str, file: &str) {
    let mut plan = from_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    plan.maker = Some(Who { user: user.to_owned(), kubeconfig_user: Some(seen.to_owned()), host: "desk".to_owned() });
    std::fs::write(file, to_file(&plan).unwrap()).unwrap();
}

#[test]
fn rules_hold_for_plans_and_for_whoever_carries_them_out() {
    let environment = |name: &str, rules: &str| {
        let steps = "steps = [{ mode = \"audit\" }, { mode = \"enforce\" }]";
        format!("[[environments]]\nname = \"{name}\"\ncontext = \"{name}\"\n{steps}\n[environments.rules]\n{rules}\n")
    };
    let config = |rules: &str| environment("dev", rules);
    let world = World::new(&config(""));
    let rule = |rules: &str| std::fs::write(world.home.path().join("config.toml"), config(rules)).unwrap();
    let file = world.home.path().join("plan.json");
    let file = file.to_str().unwrap();
    for name in ["a", "b"] {
        world.make("dev", name);
    }

    rule("deny = [\"promote\"]");
    let denied = world.promote(1, &["a", "--dry-run"]);
    assert!(denied.err.contains("dev denies promote: `rules.deny` of the environment dev"), "{denied:?}");
    rule("bulk = 1");
    let bulk = world.promote(1, &["a", "b", "--yes"]);
    assert!(bulk.err.contains("2 objects in dev") && bulk.err.contains("`rules.bulk`"), "{bulk:?}");
    world.promote(0, &["a", "--dry-run"]);

    // A name is asked for, also where the plan was made before that was a rule.
    rule("");
    world.promote(0, &["a", "--plan-out", file]);
    rule("typed_name = true");
    for args in [&["promote", "a", KNOWN[0], KNOWN[1]][..], &["promote", "--plan", file]] {
        let asked = world.ends(2, &[args, &["--yes"]].concat());
        assert!(asked.err.contains("--confirm dev"), "{asked:?}");
    }
    rule("deny = [\"promote\"]");
    assert!(world.ends(1, &["promote", "--plan", file, "--yes"]).err.contains("dev denies promote"), "at the end, too");
    rule("");
    let still = world.ends(1, &["promote", "--plan", file, "--yes", "--read-only"]);
    assert!(still.err.contains("dev is read-only"), "{still:?}");
    assert_eq!(world.action("dev", "a"), "Audit");

    // Four eyes: nobody carries out what they made themselves, with a file or without one.
    rule("four_eyes = true");
    let alone = world.promote(1, &["a", "--yes"]);
    assert!(alone.err.contains("dev wants four eyes (`rules.four_eyes`") && alone.err.contains("--plan-out FILE"), "{alone:?}");
    world.promote(0, &["a", "--plan-out", file]);
    let same = world.ends(1, &["promote", "--plan", file, "--yes"]);
    assert!(same.err.contains("made this plan, and you are"), "{same:?}");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("\"kubeconfigUser\": \"admin\"", "\"kubeconfigUser\": \"eve\"")).unwrap();
    assert!(world.ends(2, &["promote", "--plan", file, "--yes"]).err.contains("was changed after it was made"), "not by an edit");
    std::fs::write(file, &text).unwrap();
    as_if_made_by("ana", "admin", file);
    assert!(world.ends(1, &["promote", "--plan", file, "--yes"]).err.contains("ana as admin made this plan"), "one user of the cluster");
    as_if_made_by("ana", "ana", file);
    world.ends(0, &["promote", "--plan", file, "--yes"]);
    assert_eq!(world.action("dev", "a"), "Enforce");
    // What goes wrong is stopped by whoever is there.
    world.ends(0, &["demote", "a", "-e", "dev", "--yes"]);
    assert_eq!(world.action("dev", "a"), "Audit");
}

#[test]
fn what_would_be_refused_is_told_before() {
    let config = ROAD.replace("{ mode = \"audit\" }", "{ mode = \"audit\", max_violations = 9 }");
    let world = World::new(&config);
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "corner", "labels": {"team": "cart"}}});
    for (path, object) in [
        ("/api/v1/namespaces", space),
        ("/api/v1/namespaces/corner/pods", pod("without", &json!({"team": "cart", "app.kubernetes.io/name": "a"}))),
        ("/api/v1/namespaces/corner/pods", pod("with", &json!({"team": "cart", "app.kubernetes.io/name": "b", "owner": "me"}))),
    ] {
        let (code, answer) = ask(&world.demo, "dev").post(path, &object);
        assert_eq!(code, 201, "{answer}");
    }
    let mut made = policy("p");
    made["spec"]["rules"][0]["match"]["any"][0]["resources"]["namespaces"] = json!(["corner"]);
    assert_eq!(ask(&world.demo, "dev").post(CPOL, &made).0, 201);
    world.is_ready("dev", "p");
    let expected = "ClusterPolicy/p: 1 owner fails in 1 namespace of dev now";
    until("the results are there", || {
        let ran = world.run(&["promote", "p", "--dry-run", "-o", "json", KNOWN[0], KNOWN[1]]);
        (ran.status == 0 && ran.err.contains(expected)).then_some(())
    });
    let ran = world.promote(0, &["p", "--dry-run", "-o", "json"]);
    let impact = ran.document()["impact"].as_array().unwrap().clone();
    assert!(impact.len() == 1 && impact[0].as_str().unwrap().contains("Pod/without in corner"), "{ran:?}");
    assert!(ran.err.contains("impact  ClusterPolicy/p: 1 owner fails"), "{ran:?}");
    let file = world.home.path().join("plan.json");
    world.promote(0, &["p", "--plan-out", file.to_str().unwrap()]);
    assert_eq!(from_file(&std::fs::read_to_string(file).unwrap()).unwrap().impact, [impact[0].as_str().unwrap()]);

    // Where it is not yet, nothing is known, and that is said.
    world.make("dev", "q");
    world.promote(0, &["q", "--yes"]);
    world.is_ready("dev", "q");
    let there = world.promote(0, &["q", "--dry-run"]);
    assert!(there.err.contains("impact  ClusterPolicy/q is not in staging yet: nothing was evaluated there."), "{there:?}");
}
