//! Files of plans that were changed at random: rejected, or applied as their operation does it here, with the gate asked.
//!
//! What is written is compared with the live objects and with what the policies have said before, without the code that rejects such files. The files are
//! made with the program, the changes within this process.

use super::{CPOL, ROAD, World, ask};
use crate::dice::Dice;
use policydeck::cluster::ClusterSpec;
use policydeck::engine::operations::{Keeping, Operator};
use policydeck::engine::{self, EngineHandle, HistoryReader};
use policydeck::kinds::revision::full_digest;
use policydeck::ops::plan::{Operation, Plan, Step, Verb, from_file};
use policydeck::ops::road::Road;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many changed files where nobody asks for more; `POLICYDECK_MUTATIONS` says how many.
const FEW: u64 = 200;
const NAMES: [&str; 3] = ["p", "q", "u"];

/// What policies have said, by name, without their modes.
type Said = BTreeMap<&'static str, Vec<Value>>;

fn file(world: &World, name: &str) -> String {
    world.home.path().join(name).to_str().unwrap().to_owned()
}

/// Files of each operation, and what the policies have said up to now.
fn files(world: &World) -> (Vec<Value>, Said) {
    let mut said = Said::new();
    let note = |said: &mut Said| {
        for name in NAMES {
            said.entry(name).or_default().extend(world.policy("dev", name).map(|policy| content(&policy)));
        }
    };
    for name in NAMES {
        world.make("dev", name);
    }
    note(&mut said);
    for name in ["q", "u"] {
        world.promote(0, &[name, "--yes"]);
        world.is_ready("dev", name);
    }
    let [up, down, keep, back, undo] = ["up", "down", "keep", "back", "undo"].map(|name| file(world, name));
    world.ends(0, &["undo", "--last", "-e", "dev", "--plan-out", &undo]);
    world.promote(0, &["p", "--plan-out", &up]);
    world.ends(0, &["hold", "p", "-e", "dev", "--reason", "x", "--plan-out", &keep]);
    world.say("dev", "q", "worse");
    note(&mut said);
    world.ends(0, &["demote", "q", "-e", "dev", "--plan-out", &down]);
    world.ends(0, &["rollback", "q", "-e", "dev", "--plan-out", &back]);
    let read = |file: &String| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    ([&up, &down, &keep, &back, &undo].map(read).to_vec(), said)
}

fn engine(world: &World) -> EngineHandle {
    let spec = |name: &str| ClusterSpec {
        request_timeout: Duration::from_secs(5),
        summaries: true,
        ..ClusterSpec::of_context(name, world.home.path().join("kubeconfig"))
    };
    engine::start(["dev", "staging"].map(spec).to_vec())
}

fn operator(world: &World, engine: &EngineHandle) -> Operator {
    let settings = policydeck::settings::parse("config.toml", ROAD, policydeck::tui::actions()).unwrap().settings;
    let data = world.home.path().join("data/policydeck");
    let keeping = Keeping { journal: data.join("journal"), archives: data.join("archives") };
    Operator::new(
        engine.clone(),
        Road::new(settings.environments),
        keeping,
        true,
        HistoryReader::new(data.join("history.db")),
        "ana".to_owned(),
    )
}

/// All places in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let inside: Vec<(String, &Value)> = match value {
        Value::Array(all) => all.iter().enumerate().map(|(place, one)| (place.to_string(), one)).collect(),
        Value::Object(all) => all.iter().map(|(key, one)| (key.replace('~', "~0").replace('/', "~1"), one)).collect(),
        _ => Vec::new(),
    };
    for (key, one) in inside {
        places(one, &format!("{at}/{key}"), found);
    }
}

fn any_place(value: &Value, dice: &mut Dice) -> String {
    let mut found = Vec::new();
    places(value, "", &mut found);
    dice.of(&found).clone()
}

/// Something that a forger would like to see there.
fn wish(files: &[Value], dice: &mut Dice) -> Value {
    let words = [
        "Enforce",
        "Audit",
        "enforce",
        "staging",
        "dev",
        "q",
        "u",
        "p",
        "up",
        "down",
        "promote",
        "demote",
        "rollback",
        "hold",
        "undo",
        "unblock",
        "",
        "../x",
        "kyverno.io",
        "clusterrolebindings",
        "secrets",
        "v1",
        "replace",
        "add",
        "/spec/validationFailureAction",
        "open",
        "ben",
    ];
    match dice.below(8) {
        0 => json!(null),
        1 => json!([]),
        2 => json!({}),
        3 => json!(dice.one_in(2)),
        4 => json!({"op": "add", "path": "/spec/validationFailureAction", "value": "Enforce"}),
        // What stands elsewhere in this file or another one.
        5 | 6 => {
            let donor = dice.of(files);
            let place = any_place(&donor["plan"], dice);
            donor["plan"].pointer(&place).cloned().unwrap_or_default()
        }
        _ => json!(dice.pick(&words)),
    }
}

fn change(document: &mut Value, files: &[Value], dice: &mut Dice) {
    let place = any_place(&document["plan"], dice);
    let (parent, key) = place.rsplit_once('/').unwrap_or(("", ""));
    let (parent, key) = (parent.to_owned(), key.replace("~1", "/").replace("~0", "~"));
    let wish = wish(files, dice);
    let plan = &mut document["plan"];
    match plan.pointer_mut(&parent) {
        Some(Value::Object(all)) if dice.one_in(4) => drop(all.remove(&key)),
        Some(Value::Array(all)) if dice.one_in(3) => match (key.parse::<usize>(), dice.one_in(2)) {
            (Ok(n), true) if n < all.len() => drop(all.remove(n)),
            _ => all.push(wish),
        },
        _ => {
            if let Some(there) = plan.pointer_mut(&place) {
                *there = wish;
            }
        }
    }
}

/// What a policy says, without its mode and what servers and operations add.
fn content(policy: &Value) -> Value {
    let mut spec = policy["spec"].clone();
    for field in ["validationFailureAction", "validationFailureActionOverrides"] {
        spec.as_object_mut().map(|spec| spec.remove(field));
    }
    json!({"name": policy["metadata"]["name"], "spec": spec, "labels": policy["metadata"]["labels"], "annotations": not_ours(policy)})
}

fn not_ours(policy: &Value) -> BTreeMap<&String, &Value> {
    let annotations = policy["metadata"]["annotations"].as_object();
    annotations.into_iter().flatten().filter(|(key, _)| !key.starts_with("policydeck.dev/")).collect()
}

fn enforces(policy: &Value) -> bool {
    policy["spec"].to_string().contains("\"Enforce\"")
}

/// Why a step is not what its operation does; the live object is read anew.
fn wrong(world: &World, said: &Said, plan: &Plan, step: &Step) -> Option<String> {
    let Some(name) = NAMES.into_iter().find(|name| *name == step.object.name) else { return Some("it writes another object".to_owned()) };
    if (step.object.group.as_str(), step.object.plural.as_str(), &step.object.namespace) != ("kyverno.io", "clusterpolicies", &None) {
        return Some("it writes an object of another kind".to_owned());
    }
    let live = (step.environment == "dev" || step.environment == "staging").then(|| world.policy(&step.environment, name)).flatten();
    let Some(after) = &step.after else { return Some("it deletes".to_owned()) };
    if !matches!(step.verb, Verb::Create { .. } | Verb::Patch { .. } | Verb::Replace { .. }) {
        return Some(format!("its verb is {}", step.verb.as_str()));
    }
    match step.applied_to(live.as_ref()) {
        Ok(Some(result)) if (&result["spec"], content(&result)) == (&after["spec"], content(after)) => {}
        other => return Some(format!("what is sent gives {other:?}")),
    }
    let of_dev = world.policy("dev", name).unwrap();
    let (was, is) = (live.as_ref().is_some_and(enforces), enforces(after));
    match plan.operation {
        Operation::Promote | Operation::Demote if content(after) == content(&of_dev) => {}
        Operation::Hold | Operation::Release if live.as_ref().is_some_and(|live| (content(live), was) == (content(after), is)) => {}
        Operation::Rollback | Operation::Undo if said[name].contains(&content(after)) => {}
        operation => return Some(format!("{operation} writes {after}")),
    }
    let asked = plan.gates().any(|gate| gate["policy"]["name"] == name && (gate["verdict"] == "open" || !gate["acknowledged"].is_null()));
    (is && !was && !asked).then(|| "it refuses more than before, and no gate was asked".to_owned())
}

#[test]
fn a_plan_file_that_was_changed_at_random_does_nothing_else() {
    let world = World::new(ROAD);
    let (files, said) = files(&world);
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("POLICYDECK_ROUND").unwrap_or(0).wrapping_mul(1_000_000), number("POLICYDECK_MUTATIONS").unwrap_or(FEW));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut unread, mut rejected, mut taken) = (0_u64, 0_u64, 0_u64);
    runtime.block_on(async {
        let engine = engine(&world);
        let mut fleet = engine.fleet();
        fleet.wait_for(|view| view.environments.iter().all(|environment| environment.complete)).await.unwrap();
        let operator = operator(&world, &engine);
        for honest in &files {
            let plan = from_file(&honest.to_string()).unwrap();
            let (made, _) =
                operator.made_again(&plan).await.unwrap_or_else(|declined| panic!("{} is declined: {declined}", plan.operation));
            for step in &made.steps {
                assert_eq!(wrong(&world, &said, &made, step), None, "an honest {}", made.operation);
            }
        }
        for seed in first..first + count {
            let dice = &mut Dice::new(seed);
            let mut document = dice.of(&files).clone();
            (0..=dice.below(3)).for_each(|_| change(&mut document, &files, dice));
            document["digest"] = full_digest(&document["plan"]).into();
            let Ok(plan) = from_file(&document.to_string()) else {
                unread += 1;
                continue;
            };
            let Ok((made, _)) = operator.made_again(&plan).await else {
                rejected += 1;
                continue;
            };
            taken += 1;
            for step in &made.steps {
                if let Some(why) = wrong(&world, &said, &made, step) {
                    panic!("seed {seed}: {why}\n{document:#}");
                }
            }
        }
    });
    eprintln!("{count} changed files: {unread} cannot be read, {rejected} rejected, {taken} do what their operation does");
    assert!(count < FEW || [unread, rejected, taken].iter().all(|found| *found > 0), "{unread} {rejected} {taken}");
    let listed = ask(&world.demo, "staging").send("GET", &format!("{CPOL}/p"), &[], "");
    assert_eq!(listed.code, 404, "nothing was applied");
}
