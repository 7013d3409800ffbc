//! Four eyes on a real API server with the real Kyverno: two accounts of the operating system, two users of the cluster, two keys.

use super::operators::{action, pod, policy};
use crate::support::cluster::{Cluster, Fleet, Need};
use crate::support::eventually;
use crate::support::product::{Answer, Desk};
use policydeck::ops::plan::{from_file, to_file};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const REPORTED: Duration = Duration::from_secs(180);

const CONFIG: &str = "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\nsteps = [{ mode = \"audit\" }, { mode = \"enforce\", max_blocked = 99 }]\n\
     [environments.rules]\nfour_eyes = true\nallowed_signers = \"signers\"\n";

/// Accounts that every system has, and that own nothing. `ssh-keygen` runs for no user who is not in `passwd(5)`.
const ACCOUNTS: [&str; 2] = ["daemon", "nobody"];

/// Someone with an account, a machine, a user in the cluster and a key.
struct Person {
    /// The user in the cluster.
    name: &'static str,
    desk: Desk,
    program: PathBuf,
    /// The account; `None` where the test may not run as another one.
    account: Option<(u32, u32)>,
}

/// uid and gid of an account.
fn account(name: &str) -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map_while(|id| id.parse().ok());
    Some((ids.next()?, ids.next()?))
}

impl Person {
    fn new(fleet: &Fleet, name: &'static str, program: &Path, account: Option<(u32, u32)>) -> Self {
        let desk = Desk::with_config(fleet, CONFIG);
        std::fs::copy(fleet.kubeconfig(), desk.home().join("kubeconfig")).unwrap();
        let person = Self { name, desk, program: program.to_owned(), account };
        let key = person.at("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
        assert!(made.success());
        person
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.home().join(name)
    }

    /// Knows whose signatures count.
    fn knows(&self, people: [&Person; 2]) {
        let public = |one: &Person| std::fs::read_to_string(one.at("key.pub")).unwrap();
        let line = |one: &Person| format!("{} namespaces=\"policydeck-plan\" {}", one.name, public(one));
        std::fs::write(self.at("signers"), people.map(line).concat()).unwrap();
        self.own();
    }

    /// Everything in the home belongs to its account.
    fn own(&self) {
        let Some((uid, gid)) = self.account else { return };
        let mut left = vec![self.desk.home().to_owned()];
        while let Some(path) = left.pop() {
            chown(&path, Some(uid), Some(gid)).unwrap();
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    fn run(&self, args: &[&str]) -> Answer {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.desk.home()).envs(self.desk.variables()).stdin(Stdio::null());
        command.env_remove("KUBECONFIG").env_remove("SSH_AUTH_SOCK").env_remove("POLICYDECK_HASTE");
        command.args([Path::new("--config"), &self.desk.config(), Path::new("--kubeconfig"), &self.at("kubeconfig")]);
        command.args(["--as", self.name, "--as-group", "system:masters"]);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        let output = command.output().expect("policydeck runs");
        let text = |bytes| String::from_utf8(bytes).expect("policydeck writes UTF-8");
        Answer { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn ends(&self, status: i32, args: &[&str]) -> Answer {
        let answer = self.run(args);
        assert_eq!(answer.status, Some(status), "{}: {args:?}: {answer:?}", self.name);
        answer
    }

    /// Makes a plan once its gate is open.
    fn plan(&self, policy: &str) {
        eventually("the gate opens", REPORTED, || {
            let answer = self.run(&["promote", policy, "--plan-out", "plan.json"]);
            if answer.status == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    /// Gets the plan file of someone else, and its signature where there is one.
    fn gets_from(&self, other: &Person) {
        for name in ["plan.json", "plan.json.sig"] {
            let _ = std::fs::remove_file(self.at(name));
            if other.at(name).exists() {
                std::fs::copy(other.at(name), self.at(name)).unwrap();
            }
        }
        self.own();
    }

    fn rejected(&self, says: &str) {
        let answer = self.ends(1, &["promote", "--plan", "plan.json", "--yes"]);
        assert!(answer.stderr.contains("dev wants four eyes") && answer.stderr.contains(says), "{}: {says}: {answer:?}", self.name);
    }

    fn entries(&self) -> Vec<Value> {
        let shown = self.ends(0, &["audit", "show", "-o", "json"]);
        serde_json::from_str::<Value>(&shown.stdout).unwrap()["items"].as_array().unwrap().clone()
    }
}

fn ready(dev: &Cluster, name: &str) {
    dev.kubectl(&["wait", "--for=condition=Ready", &format!("clusterpolicy/{name}"), "--timeout=60s"]);
}

#[test]
fn one_person_makes_and_signs_a_plan_and_another_applies_it() {
    let Some(fleet) = Fleet::shared(Need::Kyverno) else { return };
    if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
        println!("SKIPPED: there is no ssh-keygen");
        return;
    }
    let (dev, shop, name) = (fleet.cluster("dev"), fleet.own_namespace("shop"), fleet.name("p"));
    dev.apply(&policy(&name, &shop, "Audit"));
    ready(dev, &name);
    dev.apply(&pod("web", &shop, "nginx:1.27"));

    // Other accounts may not enter the folder in which the program was built.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("policydeck");
    std::fs::copy(env!("CARGO_BIN_EXE_policydeck"), &program).unwrap();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let accounts = ACCOUNTS.map(|name| account(name).filter(|_| is_root));
    let [ana, bob] = [("ana@example.com", accounts[0]), ("bob@example.com", accounts[1])]
        .map(|(name, account)| Person::new(&fleet, name, &program, account));
    ana.knows([&ana, &bob]);
    bob.knows([&ana, &bob]);

    ana.plan(&name);
    ana.rejected("made this plan, and you are");
    bob.gets_from(&ana);
    if accounts.contains(&None) {
        println!("SKIPPED: only root can run the program as two accounts");
        bob.rejected("made this plan, and you are");
        return;
    }
    bob.rejected("plan.json is not signed");

    // Bob signs it himself: he is one person, whatever name the file has.
    bob.ends(0, &["plan", "sign", "plan.json", "--key", "key"]);
    bob.rejected("bob@example.com (SHA256:");

    // Ana's own, changed on the way.
    ana.ends(0, &["plan", "sign", "plan.json", "--key", "key"]);
    bob.gets_from(&ana);
    let text = std::fs::read_to_string(bob.at("plan.json")).unwrap();
    let mut changed = from_file(&text).unwrap();
    changed.reason = Some("approved by all".to_owned());
    std::fs::write(bob.at("plan.json"), to_file(&changed).unwrap()).unwrap();
    bob.rejected("the file was changed after it was signed");
    ana.rejected("made this plan, and you are");
    assert_eq!(action(dev, &name), "Audit");
    assert_eq!((ana.entries().len(), bob.entries().len()), (0, 0));

    bob.gets_from(&ana);
    let preview = bob.ends(0, &["promote", "--plan", "plan.json", "--dry-run"]);
    assert!(
        preview.stderr.contains("signed  by ana@example.com (SHA256:") && preview.stderr.contains("made by daemon as ana@example.com"),
        "{preview:?}"
    );
    bob.ends(0, &["promote", "--plan", "plan.json", "--yes"]);
    assert_eq!(action(dev, &name), "Enforce");
    let entries = bob.entries();
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        assert_eq!(
            (&entry["signer"]["principal"], &entry["who"]),
            (&"ana@example.com".into(), &"nobody as bob@example.com".into()),
            "{entry:#}"
        );
    }
    bob.ends(0, &["audit", "verify"]);
    // Down needs one person.
    ana.ends(0, &["demote", &name, "-e", "dev", "--yes"]);
    assert_eq!(action(dev, &name), "Audit");
}
