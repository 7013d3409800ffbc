//! Operations from the command line against the demo's API servers: what is asked, refused, written, noted and taken back.
//!
//! The same against the real Kyverno is in `real_cluster/rollouts.rs` and `real_cluster/keeping.rs`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "operations/archives.rs"]
mod archives;
#[path = "demo_server/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
#[path = "../src/testing/dice.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod dice;
#[path = "operations/four_eyes.rs"]
#[cfg(unix)]
mod four_eyes;
#[path = "operations/mutations.rs"]
mod mutations;

use assert_cmd::Command;
use client::{CPOL, ask, pod, policy, until};
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use policydeck::domain::journal::Who;
use policydeck::kinds::revision::full_digest;
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
        // Signatures are OpenSSH's work.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
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
fn a_way_that_others_can_read_is_named_in_status_and_previews() {
    let world = World::new(ROAD);
    // The same address in a form that does not show that it is this machine.
    let kubeconfig = world.demo.kubeconfig().replace("127.0.0.1", "127.1");
    std::fs::write(world.home.path().join("kubeconfig"), kubeconfig).unwrap();
    world.make("dev", "p");
    let status = world.run(&["status", "-o", "json"]);
    let words = "credentials are sent over plain HTTP";
    assert!(status.items().iter().all(|item| item["insecure"] == json!(["plainHttp"])), "{status:?}");
    assert!(status.items()[0]["notes"].to_string().contains(words) && status.err.contains(&format!("dev: {words}")), "{status:?}");
    let plan = world.home.path().join("plan.json");
    let preview = world.ends(0, &["hold", "p", "-e", "dev", "--reason", "x", "--plan-out", plan.to_str().unwrap()]);
    assert!(preview.err.contains(&format!("dev: {words}")), "{preview:?}");
    assert!(std::fs::read_to_string(plan).unwrap().contains(words));
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
fn what_blocks_other_things_after_a_rollback_is_shown_before_it() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    let says_other = "ClusterPolicy/p will say something else in dev than what was evaluated there";
    for (message, mode) in [("one", "Enforce"), ("two", "Enforce"), ("three", "Audit")] {
        world.say("dev", "p", message);
        let (code, answer) = ask(&world.demo, "dev").merge(&format!("{CPOL}/p"), &json!({"spec": {"validationFailureAction": mode}}));
        assert_eq!(code, 200, "{answer}");
        world.is_ready("dev", "p");
        world.ends(0, &["timeline", "p", "-e", "dev"]);
        if message == "two" {
            let back = world.ends(0, &["rollback", "p", "-e", "dev", "--dry-run"]).err;
            assert!(back.contains(says_other) && back.contains("these numbers are of what is there now"), "{back}");
            assert!(back.contains("whether anything in dev fails is unknown"), "{back}");
        }
    }
    // What comes back in audit blocks nothing.
    let back = world.ends(0, &["rollback", "p", "-e", "dev", "--yes"]).err;
    assert!(back.contains(says_other) && back.contains("In audit it refuses nothing"), "{back}");
    let undone = world.ends(0, &["undo", "--last", "-e", "dev", "--dry-run"]).err;
    assert!(undone.contains(says_other), "{undone}");
}

#[test]
fn an_outcome_tells_no_number_of_what_the_policy_was_before_as_its_own() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::reporting_after(ROAD, HOUR);
    let name = "require-limits";
    world.is_ready("staging", name);
    let failing = |out: &str| {
        let item = serde_json::from_str::<Value>(out).ok()?["items"][0].clone();
        item["violations"].as_u64().filter(|count| *count > 0)
    };
    // What it says is the same: so are its numbers.
    let held = world.ends(0, &["hold", name, "-e", "staging", "--reason", "look", "--yes", "-o", "json"]);
    assert!(failing(&held.out).is_some() && !held.out.contains("first scan"), "{held:?}");
    // It says something else, which nothing was judged by yet.
    world.ends(0, &["timeline", name, "-e", "staging"]);
    world.say("staging", name, "something else");
    let back = world.ends(0, &["rollback", name, "-e", "staging", "--yes", "-o", "json"]);
    assert!(back.out.contains("violations unknown until the first scan ("), "{back:?}");
    let item = back.items()[0].clone();
    assert!(item["violations"].is_null() && item["violationsBefore"].as_u64() > Some(0), "{item:#}");

    // What is made anew, and what nothing was found in before, has no zero either.
    world.make("dev", "p");
    for args in [&["hold", "p", "-e", "dev", "--reason", "x"][..], &["release", "p", "-e", "dev"]] {
        let item = world.ends(0, &[args, &["--yes", "-o", "json"]].concat()).items()[0].clone();
        assert!(item["violations"].is_null() && item["reason"].as_str().unwrap().contains("unknown until the first scan"), "{item:#}");
    }
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
    let turned = |from: &str, to: &str| {
        tried.err.contains(&format!("-  validationFailureAction: {from}"))
            && tried.err.contains(&format!("+  validationFailureAction: {to}"))
    };
    assert!(turned("Enforce", "Audit") && world.action("dev", "p") == "Enforce", "{tried:?}");
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

/// A context may have the name of an environment whose own context is another one.
#[test]
fn a_context_is_no_environment_of_the_same_name() {
    let world = World::new("[[environments]]\nname = \"staging\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\", soak = \"0s\" }]\n");
    world.make("dev", "p");
    let before = world.policy("dev", "p");
    let ran = world.ends(1, &["hold", "p", "--context", "staging", "--reason", "wait", "--yes"]);
    assert!(ran.err.contains("no policy"), "{ran:?}");
    assert_eq!(world.policy("dev", "p"), before, "nothing is written to the cluster of the environment");
}

#[test]
fn nothing_is_written_elsewhere_than_asked_for() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    let file = world.home.path().join("plan.json");
    let file = file.to_str().unwrap();
    world.promote(0, &["p", "--plan-out", file]);
    let names = |args: &[&str]| {
        let ran = world.ends(2, args);
        assert!(ran.err.contains("would be written to") && ran.err.contains("-e"), "{args:?}: {ran:?}");
    };
    for args in [
        &["promote", "p", "-e", "staging", "--yes", KNOWN[0], KNOWN[1]][..],
        // A gate that is not open makes no difference.
        &["promote", "p", "-e", "staging", "--yes"],
        &["promote", "p", "--to", "dev:enforce", "-e", "staging", "--yes", KNOWN[0], KNOWN[1]],
        &["promote", "p", "--to", "staging", "-e", "dev", "--yes"],
        &["promote", "p", "--context", "staging", "--yes", KNOWN[0], KNOWN[1]],
        &["promote", "--plan", file, "-e", "staging", "--yes"],
        &["gate", "p", "-e", "staging"],
        &["gate", "p", "--context", "staging"],
    ] {
        names(args);
    }
    assert_eq!(world.action("dev", "p"), "Audit");
    assert!(world.policy("staging", "p").is_none());
    for (args, says) in [
        (&["demote", "--plan", file, "-e", "dev", "--yes"][..], "policydeck promote --plan"),
        (&["promote", "p", "-n", "shop"], "-n means nothing for `promote` with configured environments"),
        (&["gate", "p", "-n", "shop"], "-n means nothing for `gate`"),
        (&["unblock", "-e", "dev", "-n", "shop"], "-n means nothing for `unblock`"),
        (&["promote", "p", "-e", "stagin"], "did you mean `staging`?"),
        (&["demote", "p", "-e", "dev", "-e", "staging"], "name one environment"),
    ] {
        let ran = world.ends(2, args);
        assert!(ran.err.contains(says), "{args:?}: {ran:?}");
    }
    // What is asked for there is done there, by its name or by its context.
    world.ends(4, &["gate", "p", "-e", "dev"]);
    world.promote(0, &["p", "-e", "dev", "--yes"]);
    assert_eq!(world.action("dev", "p"), "Enforce");
    world.ends(0, &["demote", "p", "--context", "dev", "--yes"]);
    assert_eq!(world.action("dev", "p"), "Audit");
    world.say("dev", "p", "another");
    let preview = world.ends(2, &["rollback", "p", "-e", "dev"]).err;
    assert!(preview.contains("rollback ClusterPolicy/p in dev"), "{preview}");
}

#[test]
fn one_that_cannot_go_keeps_none_of_the_others_from_going_down() {
    let world = World::new(ROAD);
    for name in ["a", "b", "c"] {
        world.make("dev", name);
    }
    let results = |ran: &Ran| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ran.items().iter().map(|item| (text(&item["object"]["name"]), text(&item["result"]))).collect()
    };
    let named =
        |expected: &[(&str, &str)]| expected.iter().map(|(name, result)| ((*name).to_owned(), (*result).to_owned())).collect::<Vec<_>>();
    let actions = || ["a", "b", "c"].map(|name| world.action("dev", name).as_str().unwrap().to_owned());

    // One at audit, one that is nowhere.
    world.promote(0, &["b", "--yes"]);
    let ran = world.ends(0, &["demote", "a", "b", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran), named(&[("b", "done"), ("a", "unchanged")]), "{ran:?}");
    assert_eq!(actions(), ["Audit"; 3]);
    let ran = world.ends(0, &["demote", "a", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran), named(&[("a", "unchanged")]), "nothing has to be done: {ran:?}");
    world.is_ready("dev", "b");
    world.promote(0, &["b", "--yes"]);
    let ran = world.ends(5, &["demote", "nowhere", "b", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran), named(&[("b", "done"), ("nowhere", "failed")]), "{ran:?}");
    assert_eq!(actions(), ["Audit"; 3]);
    let ran = world.ends(1, &["demote", "nowhere", "nothing", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran).len(), 2, "{ran:?}");

    // Between the plan and its end one is changed by someone else.
    world.is_ready("dev", "b");
    world.promote(0, &["a", "b", "c", "--yes"]);
    assert_eq!(actions(), ["Enforce"; 3]);
    let file = world.home.path().join("plan.json");
    let file = file.to_str().unwrap();
    world.ends(0, &["demote", "a", "b", "c", "-e", "dev", "--plan-out", file]);
    world.say("dev", "b", "something else");
    let ran = world.ends(5, &["demote", "--plan", file, "--yes", "-o", "json"]);
    assert_eq!(results(&ran), named(&[("a", "done"), ("c", "done"), ("b", "refused")]), "{ran:?}");
    assert_eq!(actions(), ["Audit", "Enforce", "Audit"]);

    // The way down fits exactly what a promotion left, mixed as it is.
    let ran = world.ends(0, &["demote", "a", "b", "c", "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran), named(&[("b", "done"), ("a", "unchanged"), ("c", "unchanged")]), "{ran:?}");

    // So does an undo: what someone changed since is left out by name.
    for name in ["a", "b", "c"] {
        world.is_ready("dev", name);
    }
    let promoted = world.promote(0, &["a", "b", "c", "--yes", "-o", "json"]).document();
    world.say("dev", "c", "their change");
    let ran = world.ends(5, &["undo", promoted["plan"].as_str().unwrap(), "-e", "dev", "--yes", "-o", "json"]);
    assert_eq!(results(&ran)[2], named(&[("c", "refused")])[0], "{ran:?}");
    assert_eq!(actions(), ["Audit", "Audit", "Enforce"]);
}

#[test]
fn another_cluster_behind_the_context_is_reported_as_that() {
    let world = World::new(ROAD);
    for environment in ["dev", "staging"] {
        world.make(environment, "p");
    }
    let file = world.home.path().join("plan.json");
    let file = file.to_str().unwrap();
    world.ends(0, &["hold", "p", "-e", "dev", "--reason", "x", "--plan-out", file]);
    // The context leads to another cluster now, in which there is such a policy, too.
    let swapped = world.demo.kubeconfig().replace("dev", "was-dev").replace("staging", "dev").replace("was-dev", "staging");
    std::fs::write(world.home.path().join("kubeconfig"), swapped).unwrap();
    let ran = world.ends(1, &["hold", "--plan", file, "--yes"]);
    assert!(ran.err.contains("is in another cluster (") && !ran.err.contains("faster"), "{ran:?}");
    for environment in ["dev", "staging"] {
        assert!(world.policy(environment, "p").unwrap()["metadata"]["annotations"]["policydeck.dev/hold"].is_null(), "{environment}");
    }
}

#[test]
fn a_rollback_is_remembered_until_it_is_released() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    world.say("dev", "p", "good");
    world.ends(0, &["timeline", "p", "-e", "dev"]);
    world.say("dev", "p", "bad");
    world.ends(0, &["timeline", "p", "-e", "dev"]);
    world.ends(0, &["rollback", "p", "-e", "dev", "--yes", "--reason", "INC-7: everything was blocked"]);
    assert_eq!(world.message("dev", "p"), "good");
    let why = |ran: &Ran| ran.items()[0]["conditions"].as_array().unwrap().iter().find(|one| one["name"] == "hold").unwrap().clone();
    let gate = |status: i32| why(&world.ends(status, &["gate", "p", "-o", "json"]));
    // The present revision is another one.
    assert_eq!(gate(4)["state"], "met");
    // The one that was rolled back comes again, by whatever hand.
    world.say("dev", "p", "bad");
    let mut hold = Value::Null;
    until("the gate remembers", || {
        hold = gate(4);
        (hold["state"] == "unknown").then_some(())
    });
    let reason = hold["reason"].as_str().unwrap();
    for part in ["was rolled back from audit in dev on ", " by ", "INC-7: everything was blocked", "release"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let tried = world.promote(0, &["p", "--dry-run"]);
    assert!(tried.err.contains("warning") && tried.err.contains("was rolled back from audit in dev"), "{tried:?}");
    // The journal says why, of this and of a hold.
    world.ends(0, &["release", "p", "-e", "dev", "--yes"]);
    until("the gate has forgotten", || (gate(4)["state"] == "met").then_some(()));
    world.ends(0, &["hold", "p", "-e", "dev", "--reason", "audit week", "--yes"]);
    let entries = world.ends(0, &["audit", "show", "-o", "json"]).items();
    let reason = |verb: &str| entries.iter().find(|one| one["verb"] == verb && one["phase"] == "intent").unwrap()["reason"].clone();
    assert_eq!((reason("rollback"), reason("hold")), (json!("INC-7: everything was blocked"), json!("audit week")));
}

/// The same file with its plan changed and a digest that fits.
fn forged(file: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut document["plan"]);
    document["digest"] = full_digest(&document["plan"]).into();
    let forged = format!("{file}.forged");
    std::fs::write(&forged, document.to_string()).unwrap();
    forged
}

/// What is changed in a plan's file.
type Forge<'a> = &'a dyn Fn(&mut Value);

#[test]
fn a_plan_file_does_what_its_operation_does_here_and_nothing_else() {
    let world = World::new(ROAD);
    for name in ["p", "q"] {
        world.make("dev", name);
    }
    let file = |name: &str| world.home.path().join(name).to_str().unwrap().to_owned();
    let (up, down, keep, back, undo) = (file("up"), file("down"), file("keep"), file("back"), file("undo"));
    world.promote(0, &["q", "--yes"]);
    world.is_ready("dev", "q");
    world.ends(0, &["demote", "q", "-e", "dev", "--yes"]);
    world.promote(0, &["q", "--yes"]);
    world.is_ready("dev", "q");
    world.make("dev", "u");
    world.promote(0, &["u", "--yes"]);
    world.is_ready("dev", "u");
    world.ends(0, &["undo", "--last", "-e", "dev", "--plan-out", &undo]);
    world.ends(0, &["hold", "p", "-e", "dev", "--reason", "x", "--plan-out", &keep]);
    world.promote(0, &["p", "--plan-out", &up]);
    world.say("dev", "q", "worse");
    world.ends(0, &["demote", "q", "-e", "dev", "--plan-out", &down]);
    world.ends(0, &["rollback", "q", "-e", "dev", "--plan-out", &back]);
    let before = ["p", "q", "u"].map(|name| world.policy("dev", name).unwrap()["spec"].clone());
    let held = world.ends(0, &["audit", "show", "-o", "json"]).items().len();

    let enforce = json!({"op": "add", "path": "/spec/validationFailureAction", "value": "Enforce"});
    let elsewhere = |plan: &mut Value| {
        for part in ["steps", "basis"] {
            plan[part][0]["object"]["plural"] = json!("clusterrolebindings");
        }
    };
    let webhooks = |plan: &mut Value| {
        let object = json!({"group": "admissionregistration.k8s.io", "version": "v1", "kind": "ValidatingWebhookConfiguration",
            "plural": "validatingwebhookconfigurations", "name": "kyverno-resource-validating-webhook-cfg"});
        (plan["steps"][0]["object"], plan["basis"][0]["object"]) = (object.clone(), object);
    };
    let table: [(&str, &str, Forge<'_>, &str); 15] = [
        ("undo", &undo, &|plan| plan["steps"][0]["after"] = json!(null), "writes something else to ClusterPolicy/u in dev than `undo`"),
        ("undo", &undo, &|plan| plan["steps"][0]["after"]["metadata"]["labels"] = json!({"policydeck.dev/x": "y"}), "than `undo`"),
        ("undo", &undo, &|plan| plan["undoes"] = json!("0123456789ab"), "is taken back where its archive is"),
        ("undo", &undo, &|plan| plan["undoes"] = json!("../x"), "does not say which plan it takes back"),
        ("undo", &undo, &webhooks, "since this plan was made"),
        ("promote", &up, &elsewhere, "which is not that of a ClusterPolicy"),
        ("promote", &up, &|plan| plan["steps"][0]["object"]["name"] = json!("../../secrets"), "is no name"),
        ("promote", &up, &|plan| plan["basis"] = json!([]), "does not say what ClusterPolicy/p was"),
        ("promote", &up, &|plan| plan["steps"] = json!([]), "it writes nothing"),
        (
            "promote",
            &up,
            &|plan| plan["steps"][0]["after"]["spec"]["background"] = json!(false),
            "writes something else to ClusterPolicy/p in dev than `promote`",
        ),
        // Without the gate that was acknowledged, it is judged again.
        ("promote", &up, &|plan| (plan["gate"], plan["direction"]) = (json!(null), json!("down")), "UNKNOWN"),
        (
            "hold",
            &keep,
            &|plan| {
                plan["steps"][0]["after"]["spec"]["validationFailureAction"] = json!("Enforce");
                plan["steps"][0]["patch"].as_array_mut().unwrap().push(enforce.clone());
            },
            "writes something else to ClusterPolicy/p in dev than `hold`",
        ),
        ("demote", &down, &|plan| plan["steps"][0]["after"]["spec"]["background"] = json!(false), "than `demote`"),
        ("demote", &down, &|plan| plan["steps"][0]["environment"] = json!("staging"), "it does not say what ClusterPolicy/q was"),
        (
            "rollback",
            &back,
            &|plan| {
                let spec = &mut plan["steps"][0]["after"]["spec"];
                spec["validationFailureAction"] = json!("Enforce");
                spec["rules"][0]["validate"]["message"] = json!("mine");
            },
            "Neither an archive nor the history here has what this plan puts back",
        ),
    ];
    for (verb, file, change, words) in table {
        let forged = forged(file, change);
        let ran = world.run(&[verb, "--plan", &forged, "--yes"]);
        assert!(ran.status != 0 && ran.err.contains(words), "{verb} {words}: {ran:?}");
        assert_eq!(["p", "q", "u"].map(|name| world.policy("dev", name).unwrap()["spec"].clone()), before, "{verb} {words}: {ran:?}");
    }
    assert_eq!(world.ends(0, &["audit", "show", "-o", "json"]).items().len(), held, "nothing was even intended");

    // What is only shown or sent, and not what it comes to, is made again.
    let shown = forged(&keep, |plan| {
        plan["steps"][0]["diff"] = json!([]);
        plan["steps"][0]["patch"].as_array_mut().unwrap().push(enforce);
    });
    let ran = world.ends(0, &["hold", "--plan", &shown, "--yes"]);
    assert!(ran.err.contains("policydeck.dev/hold"), "{ran:?}");
    assert_eq!(world.action("dev", "p"), "Audit");
    // Honest files do what they say.
    world.ends(0, &["undo", "--plan", &undo, "--yes"]);
    world.ends(0, &["rollback", "--plan", &back, "--yes"]);
    assert_eq!(["u", "q"].map(|name| world.action("dev", name)), ["Audit", "Audit"]);
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
    // That someone else made it has to be proven: see `operations/four_eyes.rs`.
    as_if_made_by("ana", "ana", file);
    assert!(world.ends(1, &["promote", "--plan", file, "--yes"]).err.contains("no `allowed_signers` is configured"));
    rule("");
    world.ends(0, &["promote", "--plan", file, "--yes"]);
    assert_eq!(world.action("dev", "a"), "Enforce");
    rule("four_eyes = true");
    // What goes wrong is stopped by who is there.
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
    world.say("dev", "q", &format!("{}and the tail", "No owner, no Pod. ".repeat(20)));
    world.is_ready("dev", "q");
    world.promote(0, &["q", "--yes"]);
    world.is_ready("dev", "q");
    let there = world.promote(0, &["q", "--dry-run"]);
    assert!(there.err.contains("impact  ClusterPolicy/q is not in staging yet: nothing was evaluated there."), "{there:?}");
    let (_, shown) = there.err.split_once("\nchange  create ClusterPolicy/q in staging\n").unwrap();
    let (written, _) = shown.split_once("\nimpact ").unwrap();
    let whole = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(whole(written).contains("No owner, no Pod. and the tail") && written.contains("kind: ClusterPolicy"), "{written}");
    assert!(written.contains("policydeck annotations: "), "{written}");
}

impl World {
    /// Brings a policy to enforce in both environments.
    fn roll_out(&self, name: &str) {
        self.make("dev", name);
        for (environment, action) in [("dev", "Enforce"), ("staging", "Audit"), ("staging", "Enforce")] {
            self.promote(0, &[name, "--yes"]);
            assert_eq!(self.action(environment, name), action);
            self.is_ready(environment, name);
        }
    }

    fn gate(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[&["gate"], args, &["-o", "json"]].concat());
        (ran.status, ran.items()[0].clone())
    }
}

/// An event that claims blocked requests of a policy and was not written by Kyverno.
fn forge(world: &World, policy: &str, name: &str, count: u64) {
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": "Warning",
        "reason": "PolicyViolation", "action": "Resource Blocked", "count": count, "reportingComponent": "kyverno-admission", "source": {},
        "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": policy},
        "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "never"},
        "message": "Pod shop/never: [r] fail (blocked); no"});
    let (code, answer) = ask(&world.demo, "dev").post("/api/v1/namespaces/default/events", &event);
    assert_eq!(code, 201, "{answer}");
}

#[test]
fn what_nothing_verifies_is_disregarded_for_a_reason_and_journaled() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    world.promote(0, &["p", "--yes"]);
    world.is_ready("dev", "p");
    forge(&world, "p", "forged", 2);
    let event = "event/default/forged";
    let (status, closed) = world.gate(&["p"]);
    assert_eq!((status, condition(&closed, "blocked").0.as_str()), (3, "unmet"), "{closed:#}");
    let shut = world.promote(3, &["p", "--yes"]);
    assert!(shut.err.contains(&format!("\n  {event}\n")) && shut.err.contains("not verified\n"), "{shut:?}");
    // It is said what cannot be disregarded, and that it is about one gate.
    let decided = ["--disregard", event, "--reason", "INC-7"];
    let other = world.promote(2, &["p", "--yes", "--disregard", "event/default/other", "--reason", "INC-7"]);
    assert!(other.err.contains("event/default/other cannot be disregarded: it is no report about another namespace"), "{other:?}");
    let several = world.promote(2, &[&["p", "q", "--yes"][..], &decided].concat());
    assert!(several.err.contains("--disregard is about the gate of one policy"), "{several:?}");
    let blank = world.promote(2, &["p", "--yes", "--disregard", event, "--reason", " "]);
    assert!(blank.err.contains("disregarded for a reason"), "{blank:?}");
    // What the configuration forbids is not done, nor shown as if it could be.
    let config = world.home.path().join("config.toml");
    std::fs::write(&config, format!("gates = {{ acknowledge_unknown = false }}\n{ROAD}")).unwrap();
    for command in ["promote", "gate"] {
        let forbidden = world.ends(2, &[&[command, "p"][..], &decided].concat());
        assert!(forbidden.err.contains(&format!("{event} cannot be disregarded: the configuration forbids it")), "{forbidden:?}");
    }
    std::fs::write(&config, ROAD).unwrap();

    world.promote(0, &[&["p", "--yes"][..], &decided].concat());
    let shown = world.ends(0, &["audit", "show", "-o", "json", "-e", "staging"]).items();
    assert_eq!(shown[0]["reason"], format!("INC-7; disregarded {event}"));
    let kept = &shown[0]["gate"]["disregarded"][0];
    assert_eq!((&kept["ref"], &kept["condition"], &kept["count"]), (&json!(event), &json!("blocked"), &json!(2)), "{kept:#}");
    let table = world.ends(0, &["audit", "show", "-e", "staging"]);
    assert!(table.out.contains(&format!("disregarded {event}")), "{table:?}");
}

/// `dev:enforce → staging:audit` of a gate.
fn way(gate: &Value) -> String {
    let stop = |stop: &Value| format!("{}:{}", stop["environment"].as_str().unwrap(), stop["mode"].as_str().unwrap());
    format!("{} → {}", stop(&gate["from"]), stop(&gate["to"]))
}

fn condition(gate: &Value, name: &str) -> (String, String) {
    let found = gate["conditions"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{gate:#}"));
    (found["state"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

#[test]
fn a_new_revision_travels_although_production_has_an_older_one() {
    let world = World::new(ROAD);
    world.roll_out("p");
    // There is nothing to wait for, which is what a script asks.
    let done = world.run(&["gate", "p"]);
    assert!(done.status == 0 && done.out == "ClusterPolicy/p: it is fully rolled out: there is no further step\n", "{done:?}");
    let done = world.run(&["gate", "p", "-o", "json"]);
    assert!(done.status == 0 && done.items().is_empty() && done.err.contains("fully rolled out"), "{done:?}");
    // Of all policies, those that have a gate decide.
    let all = world.run(&["gate", "-o", "json"]);
    assert!(all.status == 3 && all.err.contains("ClusterPolicy/p: it is fully rolled out"), "{all:?}");
    // A step that was asked for and does not exist is another matter.
    assert_eq!(world.run(&["gate", "p", "--to", "nowhere"]).status, 2);

    world.say("dev", "p", "a new revision");
    world.is_ready("dev", "p");
    let (status, gate) = world.gate(&["p"]);
    assert_eq!((status, way(&gate).as_str()), (4, "dev:enforce → staging:audit"), "{gate:#}");
    let (state, reason) = condition(&gate, "drift");
    assert!(state == "met" && reason.starts_with("replaces revision ") && reason.ends_with(" (enforce)"), "{reason}");
    // What is in staging does not go further by itself.
    let (status, gate) = world.gate(&["p", "--to", "staging:enforce"]);
    assert_eq!((status, way(&gate).as_str()), (3, "staging:enforce → staging:enforce"), "{gate:#}");
    let (state, reason) = condition(&gate, "drift");
    assert!(state == "unmet" && reason.contains("dev has revision ") && reason.contains("--to staging"), "{reason}");

    let tried = world.promote(0, &["p", "--dry-run"]);
    assert!(tried.err.contains("Protection ends: revision ") && tried.err.contains("enforces in staging now"), "{tried:?}");
    world.promote(0, &["p", "--yes"]);
    assert_eq!((world.action("staging", "p"), world.message("staging", "p")), (json!("Audit"), json!("a new revision")));
    world.is_ready("staging", "p");
    assert_eq!(way(&world.gate(&["p"]).1), "staging:audit → staging:enforce");

    // The older revision enforced: nothing that is known now is about it, so it does not come back so by itself.
    let undone = world.ends(1, &["undo", "--last", "-e", "staging", "--yes", KNOWN[0], KNOWN[1]]);
    assert!(undone.err.contains("Roll back instead"), "{undone:?}");
    assert_eq!(world.action("staging", "p"), "Audit");
    world.ends(0, &["rollback", "p", "-e", "staging", "--yes"]);
    assert_ne!(world.message("staging", "p"), "a new revision");
    assert_eq!(world.action("staging", "p"), "Audit", "a rollback never makes a policy block more");
    // dev and staging differ again, and dev's revision goes there again.
    world.is_ready("staging", "p");
    assert_eq!(way(&world.gate(&["p"]).1), "dev:enforce → staging:audit");
    assert_eq!(condition(&world.gate(&["p", "--to", "staging:enforce"]).1, "drift").0, "unmet");
    world.promote(3, &["p", "--to", "staging:enforce", "--yes"]);
}

#[test]
fn a_demotion_is_undone_wherever_it_was() {
    let world = World::new(ROAD);
    world.roll_out("p");
    world.ends(0, &["demote", "p", "-e", "dev", "--yes"]);
    world.is_ready("dev", "p");
    let (_, gate) = world.gate(&["p"]);
    assert_eq!(way(&gate), "dev:audit → dev:enforce");
    assert!(condition(&gate, "drift").1.contains("staging is at enforce already"), "{gate:#}");
    // By undo, and by a promotion of its own.
    world.ends(0, &["undo", "--last", "-e", "dev", "--yes", KNOWN[0], KNOWN[1]]);
    assert_eq!(world.action("dev", "p"), "Enforce");
    world.is_ready("dev", "p");
    world.ends(0, &["demote", "p", "-e", "dev", "--yes"]);
    world.is_ready("dev", "p");
    world.promote(0, &["p", "--to", "dev:enforce", "--yes"]);
    assert_eq!(world.action("dev", "p"), "Enforce");

    // In the last environment, while the first is weaker: the first comes first.
    world.is_ready("dev", "p");
    for environment in ["dev", "staging"] {
        world.ends(0, &["demote", "p", "-e", environment, "--yes"]);
        world.is_ready(environment, "p");
    }
    let (status, gate) = world.gate(&["p", "--to", "staging:enforce"]);
    assert_eq!((status, condition(&gate, "drift").0.as_str()), (3, "unmet"), "{gate:#}");
    assert!(condition(&gate, "drift").1.contains("--to dev:enforce"), "{gate:#}");
}

#[test]
fn a_policy_that_only_a_later_environment_has_is_reported() {
    let world = World::new(ROAD);
    world.make("staging", "p");
    let (status, gate) = world.gate(&["p"]);
    assert_eq!((status, way(&gate).as_str()), (3, "staging:audit → staging:enforce"), "{gate:#}");
    assert!(condition(&gate, "drift").1.starts_with("dev does not have it"), "{gate:#}");
    world.promote(3, &["p", "--yes"]);
    // At the last step, too.
    let (code, answer) = ask(&world.demo, "staging").merge(&format!("{CPOL}/p"), &json!({"spec": {"validationFailureAction": "Enforce"}}));
    assert_eq!(code, 200, "{answer}");
    world.is_ready("staging", "p");
    let (status, gate) = world.gate(&["p"]);
    assert_eq!((status, way(&gate).as_str()), (3, "staging:enforce → staging:enforce"), "{gate:#}");
    // It is put where it should have been first.
    world.make("dev", "p");
    assert_eq!(way(&world.gate(&["p"]).1), "dev:audit → dev:enforce");
}
