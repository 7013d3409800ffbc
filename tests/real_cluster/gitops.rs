//! A road through git: a loop plays the GitOps tool, real git repositories lie between it and the program, a real Kyverno does what comes of it.

use crate::support::cluster::{Cluster, Fleet, Need, kubectl};
use crate::support::eventually;
use crate::support::product::{Answer, Desk};
use crate::support::screen::Session;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REPORTED: Duration = Duration::from_secs(180);

fn config(push: &str) -> String {
    format!(
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{{ mode = \"audit\" }}, {{ mode = \"enforce\", max_blocked = 50 }}]\n\
         git = {{ repo = \"./policies.git\", path = \"dev\", branch = \"main\", push = \"{push}\" }}\n"
    )
}

/// Repositories in a user's home, and what they are about.
struct Git {
    home: PathBuf,
    policy: String,
    shop: String,
}

/// What the repository says at first.
fn manifests(policy: &str, shop: &str) -> String {
    format!(
        "# What dev has to keep to.\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {shop}}}\n---\napiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata:\n  name: {policy} # kept short\nspec:\n  validationFailureAction: Audit # since CHG-1\n  background: true\n  rules:\n    - name: tag\n      match: {{any: [{{resources: {{kinds: [Pod], namespaces: [{shop}]}}}}]}}\n      validate: {{message: no latest, pattern: {{spec: {{containers: [{{image: '!*:latest'}}]}}}}}}\n"
    )
}

impl Git {
    fn run(&self, folder: &str, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(self.home.join(folder))
            .env("GIT_CONFIG_GLOBAL", self.home.join("others"))
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn script(&self, path: &str, text: &str) {
        self.write(path, &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(self.home.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn start(home: &Path, policy: String, shop: String) -> Self {
        let git = Self { home: home.to_owned(), policy, shop };
        git.write("others", "[user]\n\tname = Others\n\temail = others@example.com\n[init]\n\tdefaultBranch = main\n");
        let hooks = git.home.join("hooks");
        git.write(".gitconfig", &format!("[user]\n\tname = Ana\n\temail = ana@example.com\n[core]\n\thooksPath = {}\n", hooks.display()));
        git.run(".", &["init", "--quiet", "--bare", "policies.git"]);
        git.run(".", &["clone", "--quiet", "policies.git", "theirs"]);
        git.write("theirs/dev/policies.yaml", &git.first());
        git.push("first");
        git.run(".", &["clone", "--quiet", "policies.git", "tool"]);
        git
    }

    /// Somebody else pushes what lies there.
    fn push(&self, message: &str) {
        self.run("theirs", &["add", "--all"]);
        self.run("theirs", &["commit", "--quiet", "--message", message]);
        self.run("theirs", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    fn first(&self) -> String {
        manifests(&self.policy, &self.shop)
    }

    fn head(&self) -> String {
        self.run("policies.git", &["rev-parse", "main"])
    }

    fn manifests(&self) -> String {
        self.run("policies.git", &["show", "main:dev/policies.yaml"])
    }
}

/// Applies what the branch says, with the marks that Flux leaves, until it is told to stop.
fn tool(git: &Git, kubeconfig: &Path, ends: &AtomicBool) {
    let kubectl =
        |args: &[&str]| kubectl().arg("--kubeconfig").arg(kubeconfig).args(["--context", "dev"]).args(args).output().expect("kubectl runs");
    let (mut applied, policy) = (String::new(), format!("clusterpolicy/{}", git.policy));
    while !ends.load(Ordering::Relaxed) {
        git.run("tool", &["fetch", "--quiet"]);
        git.run("tool", &["reset", "--quiet", "--hard", "origin/main"]);
        let head = git.run("tool", &["rev-parse", "HEAD"]);
        if head != applied {
            let folder = git.home.join("tool/dev");
            let done = kubectl(&["apply", "-f", folder.to_str().unwrap()]);
            let marks = ["kustomize.toolkit.fluxcd.io/name=policies", "kustomize.toolkit.fluxcd.io/namespace=flux-system"];
            let marked = kubectl(&["label", "--overwrite", &policy, marks[0], marks[1]]);
            if done.status.success() && marked.status.success() {
                applied = head;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn action(cluster: &Cluster, policy: &str) -> String {
    let policy = cluster.api.get(&format!("/apis/kyverno.io/v1/clusterpolicies/{policy}")).unwrap().ok();
    policy["spec"]["validationFailureAction"].as_str().unwrap().to_owned()
}

fn document(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn run(desk: &Desk, args: &[&str], status: i32) -> Answer {
    let answer = desk.run(args);
    assert_eq!(answer.status, Some(status), "{args:?}: {answer:?}");
    answer
}

fn gate_opens(desk: &Desk, policy: &str) {
    eventually("the gate opens", REPORTED, || {
        let answer = desk.run(&["gate", policy]);
        if answer.status == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[test]
fn a_policy_goes_through_git() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    let dev = fleet.cluster("dev");
    let desk = Desk::with_config(&fleet, &config("branch"));
    let git = Git::start(desk.home(), fleet.name("no-latest"), fleet.name("shop"));
    let policy = git.policy.as_str();
    let (ends, kubeconfig) = (AtomicBool::new(false), fleet.kubeconfig());
    std::thread::scope(|threads| {
        threads.spawn(|| tool(&git, &kubeconfig, &ends));
        // Whatever fails below, the tool ends.
        let told = Ends(&ends);
        eventually("the tool applies the repository", SOON, || {
            let found = dev.try_kubectl(&["get", "clusterpolicy", policy, "-L", "kustomize.toolkit.fluxcd.io/name"], "");
            if String::from_utf8_lossy(&found.stdout).contains("policies") { Ok(()) } else { Err(format!("{found:?}")) }
        });
        let shop = &git.shop;
        dev.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web, namespace: {shop}}}, spec: {{containers: [{{name: c, image: 'nginx:1.27'}}]}}}}"
        ));
        gate_opens(&desk, policy);
        walk(&desk, dev, &git);
        drop(told);
    });
    the_tool_is_away(&fleet, &desk, dev, &git);
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn walk(desk: &Desk, dev: &Cluster, git: &Git) {
    let policy = git.policy.as_str();
    // Shown before anything is done: where, what, and what will be said.
    let first = git.head();
    let preview = run(desk, &["promote", policy, "--ticket", "CHG-7"], 2).stderr;
    for part in [
        "policies.git · branch main · on top of ",
        "file    dev/policies.yaml",
        "-  validationFailureAction: Audit # since CHG-1",
        "+  validationFailureAction: Enforce # since CHG-1",
        &format!("promote ClusterPolicy/{policy} in dev (enforce)"),
        "Ticket: CHG-7",
        "confirm it with --yes",
    ] {
        assert!(preview.contains(part), "{part}: {preview}");
    }
    assert_eq!((git.head(), action(dev, policy).as_str()), (first.clone(), "Audit"));

    // Killed between commit and push: nothing is pushed, and the journal says that it does not know.
    git.script("hooks/pre-push", "if [ -e \"$HOME/kill\" ]; then rm \"$HOME/kill\"; echo $PPID > \"$HOME/at\"; mv \"$HOME/at\" \"$HOME/reached\"; sleep 600; fi\nif [ -e \"$HOME/race\" ]; then rm \"$HOME/race\"; \"$HOME/second\" || exit 1; fi\nexit 0");
    git.write("kill", "");
    let mut child = desk.command(&["promote", policy, "--yes"]).spawn().expect("policydeck starts");
    let pusher = eventually("the push begins", SOON, || std::fs::read_to_string(git.home.join("reached")));
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = Command::new("kill").args(["-9", "--", &format!("-{}", pusher.trim())]).status().unwrap();
    assert!(ended.success(), "the push was under way");
    assert_eq!((git.head(), action(dev, policy).as_str()), (first.clone(), "Audit"));
    let journal = document(&run(desk, &["audit", "show", "-o", "json"], 0));
    let entries = journal["items"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["phase"]), (1, &"intent".into()), "{journal:#}");

    // Somebody else pushes between fetch and push: it is done again on top of theirs.
    git.script("second", "unset GIT_DIR GIT_INDEX_FILE; export GIT_CONFIG_GLOBAL=\"$HOME/others\"; cd \"$HOME/theirs\" && echo more > more.txt && git add --all && git commit -q -m second && git push -q origin HEAD:main");
    git.write("race", "");
    let answer = run(desk, &["promote", policy, "--yes", "--ticket", "CHG-7", "-o", "json"], 0);
    let done = document(&answer);
    let step = &done["items"][0];
    assert_eq!((&step["verb"], &step["result"]), (&"commit".into(), &"done".into()), "{done:#}");
    let commit = git.head();
    let reason = step["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("pushed as commit {} to main", &commit[..10])) && reason.contains("enforce now"), "{reason}");
    assert!(answer.stderr.contains("waiting for dev to show it"), "{answer:?}");
    assert_eq!(action(dev, policy), "Enforce");
    assert_eq!(git.manifests(), git.first().replace("Audit #", "Enforce #").trim());
    let log = git.run("policies.git", &["log", "--format=%an|%s", "main"]);
    assert_eq!(log, format!("Ana|promote ClusterPolicy/{policy} in dev (enforce)\nOthers|second\nOthers|first"));
    let message = git.run("policies.git", &["log", "-1", "--format=%B", "main"]);
    let plan = done["plan"].as_str().unwrap();
    for part in ["Gate: open", "- violations: met", "Ticket: CHG-7", &format!("Policydeck-Plan: {plan}")] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(Path::new(done["undo"].as_str().unwrap()).join("manifest.json").exists(), "what was there is archived: {done:#}");
    let journal = document(&run(desk, &["audit", "show", "-o", "json", "--plan", plan], 0));
    let outcome = &journal["items"][1];
    assert!(outcome["reason"].as_str().unwrap().contains(&commit[..10]), "{journal:#}");

    // The repository refuses, in its own words. It is served on this machine, so that the user's `core.hooksPath` holds for it, too.
    git.script("hooks/pre-receive", "echo 'change freeze until Monday' >&2; exit 1");
    let refused = run(desk, &["demote", policy, "-e", "dev", "--yes"], 1);
    assert!(refused.stdout.contains("change freeze until Monday"), "{refused:?}");
    assert_eq!((git.head(), action(dev, policy).as_str()), (commit, "Enforce"));
    std::fs::remove_file(git.home.join("hooks/pre-receive")).unwrap();

    // Somebody who is unknown to git is told what to do.
    std::fs::rename(git.home.join(".gitconfig"), git.home.join("put-away")).unwrap();
    let nameless = run(desk, &["demote", policy, "-e", "dev", "--yes"], 1);
    assert!(nameless.stdout.contains("git config --global user.email"), "{nameless:?}");
    std::fs::rename(git.home.join("put-away"), git.home.join(".gitconfig")).unwrap();
}

fn the_tool_is_away(fleet: &Fleet, desk: &Desk, dev: &Cluster, git: &Git) {
    let policy = git.policy.as_str();
    // Pushed, and not applied: that is what is said.
    let pushed = run(desk, &["demote", policy, "-e", "dev", "--yes", "--follow", "1s"], 4);
    assert!(pushed.stdout.contains("dev does not show it yet"), "{pushed:?}");
    assert_eq!((git.manifests().as_str(), action(dev, policy).as_str()), (git.first().trim(), "Enforce"));
    let again = run(desk, &["demote", policy, "-e", "dev", "--yes"], 1);
    assert!(again.stderr.contains("says so already, but dev does not show it yet"), "{again:?}");

    // It is pending, and that is shown.
    let pending = || document(&run(desk, &["status", "-o", "json"], 0))["items"][0]["pending"].clone();
    let shown = pending();
    assert_eq!(
        (&shown[0]["commit"], &shown[0]["mode"], &shown[0]["policy"]["name"]),
        (&git.head().into(), &"audit".into(), &policy.into()),
        "{shown:#}"
    );
    let gate = desk.run(&["gate", policy, "--to", "dev:enforce"]);
    assert!(gate.status == Some(3) && gate.stdout.contains(&format!("commit {} (audit) is pending in dev", &git.head()[..10])), "{gate:?}");
    // It is undone before it is applied: the document is as it was, word for word.
    run(desk, &["undo", "--last", "-e", "dev", "--yes", "--follow", "1s"], 0);
    assert_eq!((git.manifests(), action(dev, policy).as_str()), (git.first().replace("Audit #", "Enforce #").trim().to_owned(), "Enforce"));
    assert_eq!(pending(), Value::Array(Vec::new()));
    // A cluster at audit, and a commit that would enforce: that is stopped, although the cluster needs nothing.
    dev.kubectl(&["patch", "clusterpolicy", policy, "--type=merge", "-p", "{\"spec\": {\"validationFailureAction\": \"Audit\"}}"]);
    eventually("audit is seen", SOON, || if pending()[0]["mode"] == "enforce" { Ok(()) } else { Err(pending()) });
    let mut screen = Session::start(desk.in_terminal(&[]), (40, 120));
    screen.until_within("the screen", SOON, |screen| screen.contents().contains("● live"));
    screen.keys(&format!(":rollout\r/{policy}\r"));
    screen.until_within("the screen tells of the commit, too", SOON, |screen| screen.contents().contains("(enforce) is pending in dev"));
    screen.keys(":q\r");
    assert_eq!(screen.ended().status, 0);
    let stopped = run(desk, &["demote", policy, "-e", "dev", "--yes", "--follow", "1s"], 0);
    assert!(stopped.stderr.contains("enforce here, audit there"), "{stopped:?}");
    assert_eq!((git.manifests().as_str(), action(dev, policy).as_str()), (git.first().trim(), "Audit"));
    // Taken back, the repository would say enforce again, which the cluster never did since: its gate is asked.
    let file = desk.home().join("undo.json");
    let asked = desk.run(&["undo", "--last", "-e", "dev", "--plan-out", file.to_str().unwrap()]);
    let is_gated = match asked.status {
        Some(0) => !serde_json::from_str::<Value>(&std::fs::read_to_string(&file).unwrap()).unwrap()["plan"]["gate"].is_null(),
        status => matches!(status, Some(3 | 4)),
    };
    assert!(is_gated, "{asked:?}");
    // The journal knows the first of them as applied by now: the cluster is at audit, as it was to be.
    let compared = document(&run(desk, &["audit", "show", "--compare", "-o", "json"], 0));
    let open =
        compared["items"].as_array().unwrap().iter().filter(|entry| entry["phase"] == "outcome").find(|entry| !entry["cluster"].is_null());
    assert_eq!(open.unwrap()["cluster"]["shown"], "carried-out", "{compared:#}");

    // A proposal changes nothing but a branch of its own.
    let main = git.head();
    let desk = Desk::with_config(fleet, &config("proposal"));
    git.run(".", &["clone", "--quiet", "--bare", "policies.git", desk.home().join("policies.git").to_str().unwrap()]);
    std::fs::copy(git.home.join(".gitconfig"), desk.home().join(".gitconfig")).unwrap();
    let proposed = run(&desk, &["hold", policy, "-e", "dev", "--reason", "audit week", "--yes"], 0);
    assert!(proposed.stdout.contains("open a pull request into main"), "{proposed:?}");
    let there = Git { home: desk.home().to_owned(), policy: git.policy.clone(), shop: git.shop.clone() };
    std::fs::copy(git.home.join("others"), there.home.join("others")).unwrap();
    assert_eq!(there.head(), main);
    let branch = there.run("policies.git", &["branch", "--list", "--format=%(refname:short)", "policydeck/*"]);
    let text = there.run("policies.git", &["show", &format!("{branch}:dev/policies.yaml")]);
    assert!(text.contains("policydeck.dev/hold: audit week") && text.contains("# kept short"), "{text}");
    let gone = Desk::with_config(fleet, &config("branch"));
    let missing = run(&gone, &["demote", policy, "-e", "dev", "--yes"], 1);
    assert!(
        missing.stderr.contains("dev goes through git: fetching the branch main of ") && missing.stderr.contains("policies.git"),
        "{missing:?}"
    );
}
