//! The program under test, run as a user would run it: with a configuration, a kubeconfig and a home folder of its own.

use super::cluster::{Cluster, Fleet, User};
use super::proxy::Proxy;
use super::recount::{Count, recount};
use super::{beside, eventually, screen};
use portable_pty::CommandBuilder;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A user's machine with policydeck on it.
pub(crate) struct Desk {
    home: TempDir,
    kubeconfig: PathBuf,
    /// The program waits for a part of the time only: see [`Desk::hasty`].
    haste: u32,
}

/// By how much a desk that is hasty waits less. Every night everything is waited for in full (`POLICYDECK_REAL_WAITS=1`).
pub(crate) fn haste() -> u32 {
    if std::env::var_os("POLICYDECK_REAL_WAITS").is_some() { 1 } else { 5 }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    /// A configuration with these environments in this order, each of the context of the same name as `user`; `extra` goes into every one of them.
    pub(crate) fn new(fleet: &Fleet, user: User, extra: &str) -> Self {
        let mut config = String::new();
        for cluster in fleet.clusters() {
            let name = &cluster.name;
            writeln!(config, "[[environments]]\nname = \"{name}\"\ncontext = \"{}\"", user.context(name)).expect("text");
            writeln!(config, "steps = [{{ mode = \"audit\" }}]\n{extra}").expect("text");
        }
        Self::with_config(fleet, &config)
    }

    pub(crate) fn with_config(fleet: &Fleet, config: &str) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        std::fs::write(home.path().join("config.toml"), config).expect("a file in it");
        Self { home, kubeconfig: fleet.kubeconfig(), haste: 1 }
    }

    /// The same with a program that waits a fifth of the time for what takes a minute: silent watches and lists, logins, writes without an answer. What
    /// happens afterwards is what it is.
    pub(crate) fn hasty(self) -> Self {
        Self { haste: haste(), ..self }
    }

    /// The same with another kubeconfig than the fleet's.
    pub(crate) fn with_kubeconfig(self, kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, ..self }
    }

    /// The same with proxies before some of the clusters, in a kubeconfig of the desk's own.
    pub(crate) fn through(self, fleet: &Fleet, proxies: &[&Proxy]) -> Self {
        let kubeconfig = self.home.path().join("kubeconfig");
        Proxy::kubeconfig(fleet, proxies, &kubeconfig);
        self.with_kubeconfig(kubeconfig)
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// The user's home folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The variables that keep the program in the user's home.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 6] {
        let home = self.home.path();
        let folder = |name| home.join(name);
        [
            ("HOME", home.to_owned()),
            ("XDG_CONFIG_HOME", folder("config")),
            ("XDG_CACHE_HOME", folder("cache")),
            ("XDG_DATA_HOME", folder("data")),
            ("XDG_STATE_HOME", folder("state")),
            ("XDG_RUNTIME_DIR", folder("run")),
        ]
    }

    fn environment(&self, command: &mut Command) {
        command.envs(self.variables()).env_remove("KUBECONFIG");
        if self.haste > 1 {
            command.env("POLICYDECK_HASTE", self.haste.to_string());
        }
    }

    /// The program as it is to be started in a terminal, for [`Session::start`]; its folder is the user's home.
    ///
    /// [`Session::start`]: super::screen::Session::start
    pub(crate) fn in_terminal(&self, args: &[&str]) -> CommandBuilder {
        let mut command = screen::command(env!("CARGO_BIN_EXE_policydeck"));
        command.args(args);
        command.args([Path::new("--config"), &self.config(), Path::new("--kubeconfig"), &self.kubeconfig]);
        for (name, value) in self.variables() {
            command.env(name, value);
        }
        command.cwd(self.home());
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policydeck"));
        command.args(args).arg("--config").arg(self.config()).arg("--kubeconfig").arg(&self.kubeconfig);
        self.environment(&mut command);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        finish(self.start(args))
    }

    /// Starts a command whose output is read when it has ended: see [`finish`].
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("policydeck starts")
    }

    /// The document that a command prints with `-o json`, and its exit status.
    pub(crate) fn json(&self, args: &[&str]) -> (Value, Option<i32>) {
        let answer = self.run(&[args, &["-o", "json"]].concat());
        let document = serde_json::from_str(&answer.stdout);
        (document.unwrap_or_else(|e| panic!("policydeck {args:?}: {e}: {answer:?}")), answer.status)
    }

    /// Starts a command that prints a document a line until it is ended.
    pub(crate) fn watch(&self, args: &[&str]) -> Watch {
        Watch::of(self.command(&[args, &["-o", "json"]].concat()).stdout(Stdio::piped()).spawn().expect("policydeck starts"))
    }

    /// Every number of `violations` and `status` equals a recount of each cluster. While controllers still write, what is compared may be of two moments:
    /// a comparison counts only when the recounts before and after it agree, and is made again until then.
    pub(crate) fn assert_true(&self, fleet: &Fleet) {
        self.assert_recount(fleet);
        let Some(script) = beside("accept/recount") else { return };
        let count = || fleet.clusters().iter().map(|c| recount(&c.api)).collect::<Vec<Count>>();
        let said = eventually("a quiet moment for the second recount", Duration::from_secs(180), || {
            let before = count();
            let said = self.accept(fleet, &script);
            // It counts only once, so what it says counts only when nothing changed meanwhile.
            if said.is_ok() || count() == before { Ok(said) } else { Err("the reports keep changing") }
        });
        said.unwrap_or_else(|words| panic!("the second recount differs:\n{words}"));
    }

    /// As [`Desk::assert_true`], for data that the acceptance script stumbles over.
    pub(crate) fn assert_recount(&self, fleet: &Fleet) {
        let count = || fleet.clusters().iter().map(|c| recount(&c.api)).collect::<Vec<Count>>();
        let (before, violations, status) = eventually("a quiet moment to compare in", Duration::from_secs(180), || {
            let before = count();
            let (violations, _) = self.json(&["violations"]);
            let (status, _) = self.json(&["status"]);
            if count() == before { Ok((before, violations, status)) } else { Err("the reports keep changing") }
        });
        let counts = fleet.clusters().iter().zip(&before);
        let wrong: Vec<_> = counts.flat_map(|(c, count)| count.differences(&c.name, &violations, &status)).collect();
        assert!(wrong.is_empty(), "policydeck differs from a recount:\n{}", wrong.join("\n"));
        assert!(before.iter().any(|c| !c.findings.is_empty()), "nothing was compared");
    }

    /// The acceptance script that lies beside the repository where the project is developed; it needs python3 with PyYAML. Its words where it differs.
    fn accept(&self, fleet: &Fleet, script: &Path) -> Result<(), String> {
        let mut command = Command::new("python3");
        command.arg(script).arg("--kubeconfig").arg(fleet.kubeconfig()).arg("--against").arg(self.config());
        command.args(["--", env!("CARGO_BIN_EXE_policydeck")]);
        // PyYAML may be installed for the user, so the home stays theirs for Python and is the test's for policydeck only where it matters: XDG folders.
        let home = std::env::var_os("HOME");
        self.environment(&mut command);
        if let Some(home) = home {
            command.env("HOME", home);
        }
        let output = command.output().expect("python3 runs the second recount");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(()) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
    }
}

/// How a command that was started ended.
pub(crate) fn finish(child: Child) -> Answer {
    let output = child.wait_with_output().expect("policydeck ends");
    let text = |bytes| String::from_utf8(bytes).expect("policydeck writes UTF-8");
    Answer { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Ends a command as a service manager would, which it has to take well.
pub(crate) fn end(child: Child) -> Answer {
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().expect("kill runs").success());
    let ended = finish(child);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    ended
}

/// A command that keeps printing documents.
pub(crate) struct Watch {
    pub(crate) child: Child,
    lines: Receiver<(Instant, Value)>,
    /// Every document so far, with the moment it came.
    pub(crate) seen: Vec<(Instant, Value)>,
}

impl Watch {
    /// Reads the documents of a command whose output is piped.
    pub(crate) fn of(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let document = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send((Instant::now(), document)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The newest document; `null` before the first.
    pub(crate) fn latest(&mut self) -> &Value {
        self.seen.extend(self.lines.try_iter());
        self.seen.last().map_or(&Value::Null, |(_, document)| document)
    }

    /// Reads on until a document fits; the time it came and the document.
    pub(crate) fn until(&mut self, what: &str, deadline: Duration, fits: impl Fn(&Value) -> bool) -> (Instant, Value) {
        let end = Instant::now() + deadline;
        loop {
            let ended = match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if fits(&line.1) => {
                    self.seen.push(line.clone());
                    return line;
                }
                Ok(line) => {
                    self.seen.push(line);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => format!("not within {deadline:?}"),
                Err(RecvTimeoutError::Disconnected) => "policydeck ended".to_owned(),
            };
            panic!("{what}: {ended}; the last document: {}", self.latest());
        }
    }

    /// Waits until the totals of the newest document are those of a recount of each cluster that is named, made at a moment when nothing changes.
    pub(crate) fn until_true(&mut self, what: &str, deadline: Duration, clusters: &[&Cluster]) {
        eventually(what, deadline, || {
            let before = clusters.iter().map(|c| recount(&c.api)).collect::<Vec<_>>();
            let document = self.latest().clone();
            let counted = clusters.iter().zip(&before);
            let wrong = counted.clone().flat_map(|(c, count)| count.status_differences(&c.name, &document)).collect::<Vec<_>>();
            match wrong.is_empty() {
                false => Err(wrong.join("\n")),
                true if counted.clone().any(|(c, count)| recount(&c.api) != *count) => Err("the reports keep changing".to_owned()),
                true => Ok(()),
            }
        });
    }
}

/// The item of an environment in a `Status` document; `null` where there is none.
pub(crate) fn environment<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["items"].as_array().into_iter().flatten().find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

/// The state of a kind in an environment's item.
pub(crate) fn state_of<'a>(item: &'a Value, group: &str, kind: &str) -> &'a str {
    let mut kinds = item["kinds"].as_array().into_iter().flatten();
    kinds.find(|k| k["group"] == group && k["kind"] == kind).and_then(|k| k["state"].as_str()).unwrap_or("not told")
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
