//! Writes whose answer is lost, and programs that are killed between any two steps: what happened is found out, nothing is lost, the journal tells the truth.

use super::operators::{action, journal, live, pod, policy};
use crate::support::cluster::{Cluster, Fleet, Need, Options};
use crate::support::eventually;
use crate::support::product::{Answer, Desk, finish, haste};
use crate::support::proxy::{Act, Fault, Faulty, Proxy};
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

const CONFIG: &str = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\" }]\n";
/// The write itself, not its dry runs.
const WRITE: &str = "PATCH /clusterpolicies/p !dryRun";
const DRY_RUN: &str = "PATCH /clusterpolicies/p dryRun=All";
/// Asked before the archive is named, and again before the intent is written.
const WHO: &str = "POST selfsubjectreviews";

/// A policy that enforces.
fn start(dev: &Cluster, p: &str, shop: &str) {
    dev.namespace(shop);
    dev.apply(&policy(p, shop, "Enforce"));
    dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", p, "--timeout=60s"]);
}

fn demote(p: &str) -> [&str; 7] {
    ["demote", p, "-e", "dev", "--yes", "-o", "json"]
}

/// Enforced again, by somebody else.
fn enforce(cluster: &Cluster, p: &str) {
    eventually("Kyverno lets it be changed", SOON, || {
        let patch = "{\"spec\": {\"validationFailureAction\": \"Enforce\"}}";
        let patched = cluster.try_kubectl(&["patch", "clusterpolicy", p, "--type=merge", "-p", patch], "");
        if patched.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&patched.stderr).into_owned()) }
    });
    assert_eq!(action(cluster, p), "Enforce");
}

/// Waits until a request came to the proxy, and was answered by the server if `status` says how.
fn until_asked(proxy: &Proxy, mark: usize, pattern: &str, status: Option<u16>) {
    eventually(&format!("{pattern} comes"), SOON, || match (proxy.asked(mark, pattern).last(), status) {
        (Some(_), None) => Ok(()),
        (Some(asked), Some(status)) if asked.status() == status => Ok(()),
        (asked, _) => Err(asked.map_or(0, |asked| asked.status())),
    });
}

/// Waits until the object was read twice after the write was sent.
fn until_looked(proxy: &Proxy, mark: usize) {
    let write = proxy.asked(mark, WRITE)[0].at;
    eventually("it has looked, and seen nothing", SOON, || {
        let looks = proxy.asked(mark, "GET /clusterpolicies/p !watch");
        let looks = looks.iter().filter(|asked| asked.at > write && asked.status() == 200).count();
        if looks >= 2 { Ok(()) } else { Err(looks) }
    });
}

/// What the one write of an operation came to, in its own document and in the journal, which agree.
fn result(desk: &Desk, answer: &Answer) -> (String, String) {
    let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let step = &document["items"][0];
    let entries = journal(desk);
    let [.., intent, outcome] = entries.as_slice() else { panic!("an intent and its outcome: {entries:#?}") };
    assert_eq!(
        (&intent["phase"], &outcome["intent"], &outcome["plan"]),
        (&"intent".into(), &intent["seq"], &document["plan"]),
        "{entries:#?}"
    );
    assert_eq!(outcome["result"], step["result"], "the journal says the same: {outcome:#} {step:#}");
    (step["result"].as_str().unwrap().to_owned(), step["reason"].as_str().unwrap().to_owned())
}

#[test]
fn a_write_without_an_answer_is_found_out_and_not_guessed() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, name, shop) = (fleet.cluster("dev"), fleet.name("p"), fleet.name("shop"));
    let p = name.as_str();
    start(dev, p, &shop);
    let proxy = Proxy::before(&fleet, "dev");
    let desk = Desk::with_config(&fleet, CONFIG).through(&fleet, &[&proxy]).hasty();

    // The server has it, and the connection ends: before the answer, and in the middle of it.
    for fault in [Fault::CutAnswer, Fault::CutAfter(50)] {
        let cut = proxy.fault_times(1, WRITE, fault);
        let answer = desk.run(&demote(p));
        assert_eq!((cut.hits(), answer.status), (1, Some(0)), "{answer:?}");
        let (result, reason) = result(&desk, &answer);
        assert!(result == "done" && reason.contains("the answer was lost") && reason.contains("shows the change"), "{reason}");
        assert_eq!(action(dev, p), "Audit");
        enforce(dev, p);
    }

    // It never reached the server. An object that is as it was tells that only when no server can be busy with the write any more.
    let cut = proxy.fault_times(1, WRITE, Fault::Cut);
    let begun = Instant::now();
    let answer = desk.run(&demote(p));
    assert_eq!((cut.hits(), answer.status), (1, Some(1)), "{answer:?}");
    let (failed, reason) = result(&desk, &answer);
    assert!(failed == "failed" && reason.contains("nothing changed"), "{reason}");
    assert!(begun.elapsed() > Duration::from_secs(34) / haste(), "a server may take 34 s for a write: {:?}", begun.elapsed());
    assert_eq!(action(dev, p), "Enforce");

    // It comes late: the connection is lost, the object shows what it was, and then the write arrives.
    let mark = proxy.mark();
    let late = proxy.fault_times(1, WRITE, Fault::Late);
    let demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, None);
    until_looked(&proxy, mark);
    drop(late);
    let answer = finish(demoting);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    let (done, reason) = result(&desk, &answer);
    assert!(done == "done" && reason.contains("shows the change"), "{reason}");
    enforce(dev, p);

    // It never comes, and somebody else changes the policy meanwhile: nobody can tell.
    let mark = proxy.mark();
    let cut = proxy.fault_times(1, WRITE, Fault::Cut);
    let demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, None);
    until_looked(&proxy, mark);
    dev.kubectl(&["patch", "clusterpolicy", p, "--type=merge", "-p", "{\"spec\": {\"failurePolicy\": \"Ignore\"}}"]);
    let answer = finish(demoting);
    drop(cut);
    assert_eq!(answer.status, Some(4), "{answer:?}");
    let (unknown, reason) = result(&desk, &answer);
    assert!(unknown == "unknown" && reason.contains("neither what it was nor what it was to be"), "{reason}");

    // Nobody can be asked any more.
    let cut = proxy.fault_times(1, WRITE, Fault::HoldAnswer);
    let mark = proxy.mark();
    let demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, Some(200));
    proxy.refuse();
    let answer = finish(demoting);
    assert_eq!(answer.status, Some(4), "{answer:?}");
    let (unknown, reason) = result(&desk, &answer);
    assert!(unknown == "unknown" && reason.contains("could not be read since"), "{reason}");
    // Later somebody looks.
    let (_, status) = desk.json(&["audit", "show", "--compare", "--wait", "5s"]);
    assert_eq!(status, Some(4), "it cannot be read yet");
    drop(cut);
    proxy.accept();
    let (compared, status) = desk.json(&["audit", "show", "--compare"]);
    let last = compared["items"].as_array().unwrap().last().unwrap();
    assert_eq!((status, &last["cluster"]["shown"]), (Some(0), &"carried-out".into()), "{last:#}");
}

#[test]
fn an_api_server_that_dies_around_a_write_is_asked_when_it_is_back() {
    let Some(fleet) = Fleet::start(&["dev"], Options { kyverno: true, ..Options::default() }) else { return };
    let (dev, p) = (fleet.cluster("dev"), "p");
    start(dev, p, "shop");
    let proxy = Proxy::before(&fleet, "dev");
    let desk = Desk::with_config(&fleet, CONFIG).through(&fleet, &[&proxy]);

    // Killed when it had stored the write, before the answer was out.
    let mark = proxy.mark();
    let held = proxy.fault_times(1, WRITE, Fault::HoldAnswer);
    let demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, Some(200));
    dev.signal("api", "KILL");
    proxy.drop_connections();
    drop(held);
    fleet.restart(&["dev"]);
    let answer = finish(demoting);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    let (done, reason) = result(&desk, &answer);
    assert!(done == "done" && reason.contains("shows the change"), "{reason}");
    assert_eq!(action(dev, p), "Audit");
    enforce(dev, p);

    // Killed before the write reached it.
    let mark = proxy.mark();
    let held = proxy.fault_times(1, WRITE, Fault::Stall);
    let demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, None);
    dev.signal("api", "KILL");
    proxy.drop_connections();
    drop(held);
    fleet.restart(&["dev"]);
    let answer = finish(demoting);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let (failed, reason) = result(&desk, &answer);
    assert!(failed == "failed" && reason.contains("nothing changed"), "{reason}");
    assert_eq!(action(dev, p), "Enforce");

    // And the next one goes through.
    let answer = desk.run(&demote(p));
    assert_eq!(answer.status, Some(0), "{answer:?}");
    assert_eq!(result(&desk, &answer).0, "done");
}

fn archives(desk: &Desk) -> usize {
    let Ok(entries) = std::fs::read_dir(desk.home().join("data/policydeck/archives")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().join("manifest.json").is_file()).count()
}

/// Kills a demotion where the proxy keeps it, which is known when `pattern` has come and, if so said, was answered.
fn kill_at(desk: &Desk, p: &str, proxy: &Proxy, faults: Vec<Faulty>, pattern: &str, count: usize, status: Option<u16>) {
    let mark = proxy.mark();
    let mut demoting = desk.start(&demote(p));
    eventually(&format!("{count} of {pattern}"), SOON, || {
        let asked = proxy.asked(mark, pattern);
        if asked.len() == count { Ok(()) } else { Err(asked.len()) }
    });
    if status.is_some() {
        until_asked(proxy, mark, pattern, status);
    }
    kill(&mut demoting);
    drop(faults);
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The intents that nobody knows the end of, compared with the cluster, in words for machines.
fn open(desk: &Desk) -> Vec<String> {
    let (compared, status) = desk.json(&["audit", "show", "--compare"]);
    assert_eq!(status, Some(0), "{compared:#}");
    let items = compared["items"].as_array().unwrap().iter();
    let open = items.filter(|item| item["result"] == "unknown");
    open.map(|item| item["cluster"]["shown"].as_str().unwrap_or_else(|| panic!("compared: {item:#}")).to_owned()).collect()
}

#[test]
fn killed_between_any_two_steps_nothing_is_lost() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, name, shop) = (fleet.cluster("dev"), fleet.name("p"), fleet.name("shop"));
    let p = name.as_str();
    start(dev, p, &shop);
    dev.apply(&pod("web", &shop, "nginx:1.27"));
    let proxy = Proxy::before(&fleet, "dev");
    let passes = || Fault::Throttle(u64::MAX);
    // Who it is is asked for the plan, for the archive and for the intent.
    let stalled_after = |times| vec![proxy.fault_times(times, WHO, passes()), proxy.fault(WHO, Fault::Stall)];
    // What is there afterwards: whether the policy was changed, archives, entries, and what the cluster shows of intents without an outcome.
    let after = |what: &str, changed: bool, saved: usize, entries: usize, shown: &[&str]| {
        let desk = Desk::with_config(&fleet, CONFIG).through(&fleet, &[&proxy]);
        let faults = match what {
            "planning" => (vec![proxy.fault(DRY_RUN, Fault::Stall)], DRY_RUN, 1, None),
            "before the archive" => (stalled_after(1), WHO, 2, None),
            "before the intent" => (stalled_after(2), WHO, 3, None),
            "before the write" => (vec![proxy.fault(WRITE, Fault::Stall)], WRITE, 1, None),
            _ => (vec![proxy.fault(WRITE, Fault::HoldAnswer)], WRITE, 1, Some(200)),
        };
        let (faults, pattern, count, status) = faults;
        kill_at(&desk, p, &proxy, faults, pattern, count, status);
        assert_eq!(action(dev, p), if changed { "Audit" } else { "Enforce" }, "{what}");
        assert_eq!(archives(&desk), saved, "{what}");
        assert_eq!(journal(&desk).len(), entries, "{what}");
        assert_eq!(open(&desk), shown, "{what}");
        // The next one goes through, and the open intent stays what it is: unknown.
        enforce(dev, p);
        let next = desk.run(&demote(p));
        assert_eq!(next.status, Some(0), "{what}: {next:?}");
        let now = journal(&desk);
        assert_eq!(now.len(), entries + 2, "{what}: {now:#?}");
        assert_eq!(now.iter().filter(|entry| entry["result"] == "unknown").count(), shown.len(), "{what}: {now:#?}");
        enforce(dev, p);
    };
    after("planning", false, 0, 0, &[]);
    after("before the archive", false, 0, 0, &[]);
    after("before the intent", false, 1, 0, &[]);
    after("before the write", false, 1, 1, &["not-carried-out"]);
    after("before the outcome", true, 1, 1, &["carried-out"]);
}

#[test]
fn killed_while_it_follows_the_effect_the_outcome_is_on_record() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let (dev, name, shop) = (fleet.cluster("dev"), fleet.name("p"), fleet.name("shop"));
    let p = name.as_str();
    start(dev, p, &shop);
    let proxy = Proxy::before(&fleet, "dev");
    let desk = Desk::with_config(&fleet, CONFIG).through(&fleet, &[&proxy]);
    let mark = proxy.mark();
    let held = proxy.fault(WRITE, Fault::Hold);
    let mut demoting = desk.start(&demote(p));
    until_asked(&proxy, mark, WRITE, None);
    // From here on it sees nothing of the effect.
    assert!(proxy.act("clusterpolicies watch=true", &Act::Stall) > 0);
    drop(held);
    eventually("the outcome is written", SOON, || {
        let entries = desk.json(&["audit", "show"]).0["items"].as_array().unwrap().clone();
        if entries.len() == 2 { Ok(()) } else { Err(format!("{entries:#?}")) }
    });
    assert!(demoting.try_wait().unwrap().is_none(), "it still follows");
    kill(&mut demoting);
    assert_eq!(journal(&desk)[1]["result"], "done");
    assert_eq!(open(&desk), Vec::<String>::new());
    assert_eq!(action(dev, p), "Audit");

    // A line that was cut off in the middle of its write is told, and moved aside by the next operation.
    let file = std::fs::read_dir(desk.home().join("data/policydeck/journal")).unwrap().flatten().map(|entry| entry.path());
    let file = file.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).max().unwrap();
    let mut lines = std::fs::read(&file).unwrap();
    lines.extend_from_slice(b"{\"seq\":3,\"at\":\"2026-");
    std::fs::write(&file, lines).unwrap();
    let flawed = desk.run(&["audit", "verify"]);
    assert!(flawed.status == Some(1) && flawed.stdout.contains("the next operation moves it aside"), "{flawed:?}");
    enforce(dev, p);
    let next = desk.run(&demote(p));
    assert_eq!(next.status, Some(0), "{next:?}");
    let verbs: Vec<String> = journal(&desk).iter().map(|entry| entry["verb"].as_str().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["demote", "demote", "recover", "demote", "demote"]);
    assert_eq!(live(dev, p)["metadata"]["annotations"]["policydeck.dev/plan"], journal(&desk)[4]["plan"]);
}
