//! The binary from outside: usage, exit statuses, files. No cluster and no home folder of anybody is touched.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use assert_cmd::Command;
use std::path::Path;
use tempfile::TempDir;

const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: kind-dev\ncontexts:\n- {name: prod-eu, context: {cluster: p}}\n- {name: kind-dev, context: {cluster: d}}\nclusters:\n- {name: p, cluster: {server: 'https://prod:6443'}}\n- {name: d, cluster: {server: 'https://dev:6443'}}\n";

/// A home of its own, and nothing of ours in the environment.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(Path::new(env!("CARGO_BIN_EXE_policydeck"))).args(args))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"));
        command
    }
}

struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn version_help_and_completion_need_nothing() {
    let home = Home::new();
    let version = format!("policydeck {}\n", env!("CARGO_PKG_VERSION"));
    for args in [&["version"][..], &["--version"], &["-V"], &["version", "--config", "/nonexistent"]] {
        let ran = home.run(args);
        assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, version.as_str(), ""), "{args:?}");
    }
    assert_eq!(home.run(&["--help"]).status, 0);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = home.run(&["completion", shell]);
        assert!(ran.status == 0 && ran.out.contains("policydeck") && ran.out.contains("violations"), "{shell}");
    }
    assert_eq!(std::fs::read_dir(home.0.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn help_names_only_what_is_there() {
    let help = Home::new().run(&["--help"]).out;
    for later in ["backup", "restore", "health", "exceptions", "review", "evidence"] {
        assert!(!help.contains(&format!("  {later}")), "{later}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_was_meant() {
    let home = Home::new();
    home.write(".kube/config", KUBECONFIG);
    for (args, says) in [
        (&["statsu"][..], "status"),
        (&["status", "--outptu", "json"], "--output"),
        (&["status", "-o", "jsn"], "json"),
        (&["status", "--filter", "sev>=hihg"], "column 6"),
        (&["--filter", "sev>=high"], "--filter means nothing for the screen: type / there"),
        (&["gate", "p", "--filter", "sev>=high"], "--filter means nothing for `gate`"),
        (&["promote", "p", "--filter", "sev>=high"], "--filter means nothing for `promote`"),
        (&["gate", "p", "--disregard", "pod/a/b", "--reason", "r"], "`pod/a/b` is no report or event; use policyreport/NAMESPACE/NAME"),
        (&["gate", "p", "--disregard", "event/a/b"], "--reason <TEXT>"),
        (&["gate", "--disregard", "event/a/b", "--reason", "r"], "<POLICY>"),
        (&["gate", "p", "--reason", "r"], "--disregard <OBJECT>"),
        (&["promote", "p", "--disregard", "event/a/b"], "--reason <TEXT>"),
        (&["undo", "abc", "--disregard", "event/a/b"], "--reason <TEXT>"),
        (&["promote", "--plan", "f", "--disregard", "event/a/b", "--reason", "r"], "cannot be used with"),
        (&["timeline", "p", "--filter", "x"], "--filter means nothing for `timeline`"),
        (&["--filter", "x", "observe"], "--filter means nothing for `observe`"),
        (&["audit", "show", "--filter", "x"], "--filter means nothing for `audit show`: use --since, -e, -n, --policy or --plan"),
        (&["status", "--fail-on", "fail>0 or eror>0"], "column 11"),
        (&["violations", "--wait", "soon"], "not a length of time"),
        (&["violations", "-n", "a", "-A"], "cannot be used with"),
        (&["status", "--context", "kind-dev", "-e", "dev"], "cannot be used with"),
        (&["status", "--as-group", "g"], "--as"),
        (&["status", "--context", "kind-dv"], "did you mean `kind-dev`?"),
        (&["status", "-e", "kind-dve"], "did you mean `kind-dev`?"),
        (&["status", "--config", "/nonexistent/config.toml"], "/nonexistent/config.toml"),
        (&["status", "--kubeconfig", "/nonexistent/kube"], "/nonexistent/kube"),
    ] {
        let ran = home.run(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
}

#[test]
fn flags_may_stand_before_and_after_the_command() {
    let home = Home::new();
    for args in [&["-o", "json", "paths"][..], &["paths", "-o", "json"]] {
        let ran = home.run(args);
        let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.status, &document["kind"]), (0, &"Paths".into()));
    }
}

#[test]
fn nothing_configured_is_said_with_the_ways_out() {
    let ran = Home::new().run(&["status"]);
    assert_eq!(ran.status, 2);
    for part in ["no kubeconfig", "--context", "config init", "policydeck demo"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let home = Home::new();
    home.write(".kube/config", "contexts: []\n");
    assert!(home.run(&["status"]).err.contains("no current context"));
}

#[test]
fn a_broken_kubeconfig_is_named_and_not_quoted() {
    let home = Home::new();
    let path = home.write("kube", "users: [{token: hunter2");
    let ran = home.run(&["status", "--kubeconfig", path.to_str().unwrap()]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("kube:1:9: not a kubeconfig") && !ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
#[cfg(unix)]
fn a_program_of_the_current_folder_is_not_run_for_credentials() {
    use std::os::unix::fs::PermissionsExt as _;
    let script = |home: &Home, name: &str| {
        let marks = home.path("ran").display().to_string();
        let path = home.write(name, &format!("#!/bin/sh\necho $0 >> {marks}\necho 'a reason' >&2\nexit 1\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let relative = "PATH finds it in the relative folder";
    for (path, user, runs, says) in [
        (".:/usr/bin:/bin", "exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}", false, relative),
        (":/usr/bin:/bin", "exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}", false, relative),
        ("/usr/bin:/bin:", "exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}", false, relative),
        ("kube:/usr/bin:/bin", "exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}", false, relative),
        ("/usr/bin:/bin", "exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}", false, "no such file or directory"),
        (".:/usr/bin:/bin", "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}", true, "a reason"),
        (
            ".:/usr/bin:/bin",
            "auth-provider: {name: gcp, config: {cmd-path: plugin}}",
            false,
            "the command of the auth provider gcp is not run",
        ),
        (
            "/usr/bin:/bin",
            "auth-provider: {name: gcp, config: {cmd-path: ./plugin}}",
            false,
            "the command of the auth provider gcp is not run",
        ),
    ] {
        let home = Home::new();
        // The one beside the kubeconfig is what `./plugin` means; the others are where the command is started.
        for name in ["plugin", "setsid", "kube/plugin"] {
            script(&home, name);
        }
        let kubeconfig = format!("{KUBECONFIG}users:\n- {{name: u, user: {{{user}}}}}\n").replace("{cluster: d}", "{cluster: d, user: u}");
        let kubeconfig = home.write("kube/config", &kubeconfig);
        let mut command = home.command(Path::new(env!("CARGO_BIN_EXE_policydeck")));
        command.env("PATH", path).current_dir(home.0.path());
        let ran = Ran::of(command.args(["status", "-o", "json", "--wait", "20s", "--kubeconfig", kubeconfig.to_str().unwrap()]));
        assert!(ran.out.contains(says), "{path} {user}: {}{}", ran.out, ran.err);
        let marks = std::fs::read_to_string(home.path("ran")).unwrap_or_default();
        let expected = home.path("kube/./plugin").display().to_string();
        assert!(marks.lines().all(|line| line == expected), "{path} {user}: {marks}");
        assert_eq!(!marks.is_empty(), runs, "{path} {user}");
    }
}

#[test]
fn a_wrong_configuration_stops_every_command_with_its_place() {
    let home = Home::new();
    let path = home.write("config/policydeck/config.toml", "[[environments]]\nname = \"dev\"\ncontxt = \"kind-dev\"\n");
    for args in [
        &["status"][..],
        &["config", "check"],
        &["config", "check", path.to_str().unwrap()],
        &["violations", "--config", path.to_str().unwrap()],
    ] {
        let ran = home.run(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}");
        let place = format!("{}:3:1: error: environments[0].contxt: unknown key; did you mean `context`?", path.display());
        assert!(ran.err.contains(&place), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(":1:1: error: environments[0].context: is missing"), "all errors at once: {}", ran.err);
    }
}

#[test]
fn a_first_configuration_is_written_once_and_checks() {
    let home = Home::new();
    home.write(".kube/config", KUBECONFIG);
    let path = home.path("config/policydeck/config.toml");
    let ran = home.run(&["config", "init"]);
    assert_eq!((ran.status, ran.out.trim()), (0, path.to_str().unwrap()), "{}", ran.err);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("name = \"dev\"\ncontext = \"kind-dev\"") && text.contains("tier = \"production\""), "{text}");
    let ran = home.run(&["config", "check"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(ran.out.ends_with("valid; dev (audit) → prod-eu (audit, enforce, PRODUCTION)\n"), "{}", ran.out);

    std::fs::write(&path, "# mine\n").unwrap();
    let ran = home.run(&["config", "init"]);
    assert_eq!((ran.status, std::fs::read_to_string(&path).unwrap().as_str()), (1, "# mine\n"));
    assert!(ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(home.run(&["config", "init", "--force"]).status, 0);
    assert_ne!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
}

#[test]
fn a_context_that_is_not_here_is_a_warning_of_check() {
    let home = Home::new();
    home.write(".kube/config", KUBECONFIG);
    let config = home.write("c.toml", "[[environments]]\nname = \"prod\"\ncontext = \"elsewhere\"\n");
    let ran = home.run(&["config", "check", config.to_str().unwrap()]);
    assert_eq!(ran.status, 0);
    assert!(ran.err.contains("there is no context `elsewhere`") && ran.err.contains("`prod` has no tier"), "{}", ran.err);
}

#[test]
fn the_schema_is_json() {
    let ran = Home::new().run(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.status, &schema["title"]), (0, &"policydeck configuration".into()));
}

#[test]
fn paths_follow_the_home() {
    let home = Home::new();
    let ran = home.run(&["paths"]);
    assert_eq!(ran.status, 0);
    assert!(ran.out.contains(home.path("config/policydeck/config.toml").to_str().unwrap()), "{}", ran.out);
    let ran = home.run(&["paths", "--config", "/etc/deck.toml", "-o", "name"]);
    assert_eq!(ran.out.lines().next(), Some("/etc/deck.toml"));
}

#[test]
fn without_a_terminal_nothing_draws() {
    let home = Home::new();
    home.write(".kube/config", KUBECONFIG);
    let ran = home.run(&[]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("needs a terminal"), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn as_a_kubectl_plugin_it_is_called_so() {
    let home = Home::new();
    let plugin = home.path("kubectl-policydeck");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_policydeck"), &plugin).unwrap();
    let ran = Ran::of(home.command(&plugin).args(["status", "--help"]));
    assert!(ran.out.contains("Usage: kubectl policydeck status"), "{}", ran.out);
    let ran = Ran::of(home.command(&plugin).args(["completion", "bash"]));
    assert!(ran.out.contains("kubectl-policydeck"), "{}", ran.out);
}

/// `policydeck … | head` ends quietly: the reader has gone before anything is written.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let program = env!("CARGO_BIN_EXE_policydeck");
    let script = format!("{program} config schema 2>err; echo $? >status");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &format!("({script}) | true; cat status err")])
        .current_dir(home.0.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
    child.wait().unwrap();
    assert_eq!(out, "0\n");
}

/// Three entries: a promotion with its outcome, and one that nobody knows the end of. Returns the month's file.
fn journal(home: &Home) -> std::path::PathBuf {
    use policydeck::domain::PolicyId;
    use policydeck::domain::journal::{Record, StepResult, Verb, Who};
    let paths: serde_json::Value = serde_json::from_str(&home.run(&["paths", "-o", "json"]).out).unwrap();
    let data = paths["items"].as_array().unwrap().iter().find(|item| item["name"] == "data").unwrap()["path"].as_str().unwrap().to_owned();
    let mut journal = policydeck::files::journal::Journal::open(&Path::new(&data).join("journal"));
    let now = jiff::Timestamp::now();
    let intent = |environment: &str, name: &str| {
        let who = Who { user: "ana".into(), kubeconfig_user: None, host: "lap".into() };
        let mut record = Record::intent(now, who, Verb::Promote);
        record.environment = Some(environment.into());
        record.object = Some(PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: name.into() });
        record.plan = Some(format!("plan-{name}"));
        record
    };
    let one = journal.append(intent("qac", "no-latest")).unwrap();
    journal.append(one.outcome(now, StepResult::Done, None)).unwrap();
    journal.append(intent("production", "run-as-\u{1b}[2Jroot")).unwrap();
    Path::new(&data).join("journal").join(now.strftime("%Y-%m.jsonl").to_string())
}

#[test]
fn the_journal_shows_what_became_of_everything() {
    let home = Home::new();
    let ran = home.run(&["audit", "show", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.status, &document["kind"], &document["items"]), (0, &"Journal".into(), &serde_json::json!([])));
    assert!(ran.err.contains("there is no journal yet"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(home.0.path()).unwrap().count(), 0, "nothing is written");

    journal(&home);
    let ran = home.run(&["audit", "show", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let results: Vec<_> =
        document["items"].as_array().unwrap().iter().map(|item| (item["phase"].clone(), item["result"].clone())).collect();
    let expected = [("intent", None), ("outcome", Some("done")), ("intent", Some("unknown"))];
    assert_eq!(ran.status, 0);
    assert!(ran.err.starts_with("1 operation has no known outcome") && ran.err.contains("audit show --compare"), "{}", ran.err);
    assert_eq!(results, expected.map(|(phase, result)| (phase.into(), serde_json::json!(result))));
    for (flags, seqs) in [
        (&["-e", "qac"][..], "1\n2\n"),
        (&["--policy", "ClusterPolicy/no-latest"], "1\n2\n"),
        (&["--plan", "plan-no-latest", "--since", "1h"], "1\n2\n"),
        (&["-e", "qac", "-e", "production"], "1\n2\n3\n"),
        (&["--policy", "other"], ""),
    ] {
        let ran = home.run(&[&["audit", "show", "-o", "name"], flags].concat());
        assert_eq!((ran.status, ran.out.as_str()), (0, seqs), "{flags:?}");
    }
    for format in ["table", "csv", "yaml", "json"] {
        let ran = home.run(&["audit", "show", "-o", format]);
        assert!(ran.out.contains("no-latest") && !ran.out.contains('\u{1b}'), "{format}: {}", ran.out);
    }
    for args in [&["audit", "show", "--since", "soon"][..], &["audit", "show", "--filter", "x"], &["audit", "export"], &["audit"]] {
        assert_eq!(home.run(args).status, 2, "{args:?}");
    }
}

#[test]
fn a_journal_that_was_touched_is_told_with_its_place() {
    let home = Home::new();
    let file = journal(&home);
    let ran = home.run(&["audit", "verify"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(ran.err.contains("3 entries, all as they were written; the last one is 3 with the hash "), "{}", ran.err);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&file).unwrap();
    for (touched, place, problem) in [
        (text.replacen("\"done\"", "\"failed\"", 1), format!("{name}:2"), "changed"),
        (text.lines().step_by(2).flat_map(|line| [line, "\n"]).collect(), format!("{name}:2"), "removed"),
        (text.lines().take(2).flat_map(|line| [line, "\n"]).collect(), name.clone(), "truncated"),
    ] {
        std::fs::write(&file, &touched).unwrap();
        let ran = home.run(&["audit", "verify", "-o", "name"]);
        assert_eq!((ran.status, ran.out.trim()), (1, place.as_str()), "{}", ran.err);
        let ran = home.run(&["audit", "verify", "-o", "json"]);
        let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(document["items"][0]["problem"], problem);
    }
    std::fs::write(&file, text.replacen("\"done\"", "\"failed\"", 1)).unwrap();
    let ran = home.run(&["audit", "show", "-o", "name"]);
    assert_eq!((ran.status, ran.out.as_str()), (4, "1\n3\n"), "what is there is shown: {}", ran.err);
    assert!(ran.err.contains(&format!("{name}:2: ")), "{}", ran.err);
}

#[test]
fn an_export_holds_every_line_and_where_they_end() {
    let home = Home::new();
    assert_eq!(home.run(&["audit", "export", "--out", home.path("none").to_str().unwrap()]).status, 1);
    let file = journal(&home);
    let out = home.path("export.jsonl");
    let ran = home.run(&["audit", "export", "--out", out.to_str().unwrap()]);
    assert_eq!((ran.status, ran.out.trim()), (0, out.to_str().unwrap()), "{}", ran.err);
    let exported = std::fs::read_to_string(&out).unwrap();
    let (head, lines) = exported.split_once('\n').unwrap();
    assert_eq!(lines, std::fs::read_to_string(file).unwrap());
    let head: serde_json::Value = serde_json::from_str(head).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&head["kind"], &head["entries"], &head["lastHash"]), (&"JournalExport".into(), &3.into(), &last["hash"]));
}

#[test]
fn a_history_that_is_empty_damaged_or_new() {
    let home = Home::new();
    let kubeconfig = home.write("kube", KUBECONFIG).to_string_lossy().into_owned();
    let timeline = |home: &Home| home.run(&["timeline", "require-team", "--no-look", "--kubeconfig", &kubeconfig]);
    let ran = timeline(&home);
    assert_eq!(ran.status, 4, "{}", ran.err);
    assert!(ran.err.contains("nothing has been recorded yet") && ran.out.is_empty(), "{}", ran.err);
    let ran = home.run(&["history", "export"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let ran = home.run(&["history", "prune"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    // Linux keeps it here; elsewhere nothing is damaged.
    let file = home.write(".local/share/policydeck/history.db", &"no history at all\n".repeat(1_000));
    if cfg!(target_os = "linux") {
        for ran in [home.run(&["history", "export"]), home.run(&["history", "prune"]), timeline(&home)] {
            assert_eq!(ran.status, 1, "{}", ran.err);
            assert!(ran.err.contains("history.db") && ran.err.contains("Move it away"), "{}", ran.err);
        }
        assert!(std::fs::read_to_string(file).unwrap().starts_with("no history"));
    }
}

#[test]
fn observing_needs_something_to_observe_and_a_place_to_listen() {
    let home = Home::new();
    for (args, part) in [
        (&["observe", "--in-cluster"][..], "KUBERNETES_SERVICE_HOST is not set"),
        (&["observe", "--in-cluster", "--context", "x"], "cannot be used with"),
        (&["observe", "--listen", "here"], "is not an address"),
        (&["timeline"], "required"),
        (&["timeline", "p", "--last", "soon"], "length of time"),
        (&["timeline", "p", "--width", "0"], "between 1 and 2000"),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.status, 2, "{args:?} {}", ran.err);
        assert!(ran.err.contains(part), "{args:?} {}", ran.err);
    }
}

/// The permissions of every file and folder that the program made below a folder.
#[cfg(unix)]
fn modes(folder: &Path, out: &mut Vec<(std::path::PathBuf, u32)>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        out.push((entry.path(), metadata.permissions().mode() & 0o7777));
        if metadata.is_dir() {
            modes(&entry.path(), out);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_written_belongs_to_its_owner_alone_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let home = Home::new();
        home.write("home/.keep", "");
        let script = format!("umask {umask}; \"$0\" timeline p --no-look --kubeconfig k; exec \"$0\" config init --kubeconfig k");
        home.write("k", KUBECONFIG);
        let ran = Ran::of(
            home.command(Path::new("sh")).current_dir(home.0.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default()).args([
                "-c",
                &script,
                env!("CARGO_BIN_EXE_policydeck"),
            ]),
        );
        assert_eq!(ran.status, 0, "{umask}: {}", ran.err);
        let mut made = Vec::new();
        for folder in ["config", "state"] {
            modes(&home.path(folder), &mut made);
        }
        assert!(made.iter().any(|(path, _)| path.extension().is_some_and(|extension| extension == "log")), "{umask}: {made:?}");
        assert!(made.iter().any(|(path, _)| path.ends_with("config.toml")), "{umask}: {made:?}");
        for (path, mode) in made {
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "umask {umask}: {} has {mode:o}", path.display());
        }
    }
}

#[cfg(unix)]
#[test]
fn records_that_others_can_change_are_rejected_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let data = home.path(".local/share/policydeck");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    let kubeconfig = home.write("k", KUBECONFIG);
    let kubeconfig = kubeconfig.to_str().unwrap();
    for args in [
        &["audit", "show"][..],
        &["status", "--wait", "1s"],
        &["gate", "--wait", "1s"],
        &["timeline", "p", "--no-look"],
        &["demote", "p", "--yes"],
        &["history", "export"],
        &["observe"],
    ] {
        let ran = home.run(&[args, &["--kubeconfig", kubeconfig]].concat());
        let remedy = format!("other users may write to the folder {0} (mode 0777): chmod 700 {0}", data.display());
        assert!(ran.status == 1 && ran.err.contains(&remedy), "{args:?}: {} {}", ran.status, ran.err);
    }
}

#[cfg(unix)]
#[test]
fn records_that_others_can_replace_are_rejected_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let (share, data) = (home.path(".local/share"), home.path(".local/share/policydeck"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    for (mode, is_rejected) in [(0o777, true), (0o1777, false)] {
        std::fs::set_permissions(&share, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = home.run(&["audit", "show"]);
        let remedy = format!(
            "other users may write to the folder {0} (mode 0777) and can replace {1}: chmod go-w {0}",
            share.display(),
            data.display()
        );
        assert_eq!((ran.status == 1, ran.err.contains(&remedy)), (is_rejected, is_rejected), "{mode:o}: {} {}", ran.status, ran.err);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    let home = Home::new();
    let pipe = home.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (pipe, kubeconfig) = (pipe.to_str().unwrap(), home.write("k", KUBECONFIG));
    for file in [pipe, "/dev/zero"] {
        for args in [
            &["status", "--config", file][..],
            &["status", "--kubeconfig", file],
            &["config", "check", file],
            &["demote", "p", "--plan", file, "--wait", "1s", "--kubeconfig", kubeconfig.to_str().unwrap()],
        ] {
            let ran = home.run(args);
            assert!(ran.status == 2 && ran.err.contains("it is not a regular file"), "{args:?}: {} {}", ran.status, ran.err);
        }
    }
}

/// A program that a kubeconfig names ends with the command that started it, together with what it has started itself.
#[cfg(unix)]
#[test]
fn programs_end_with_their_command() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::{Duration, Instant};
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let plugin = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'sleep 600 & echo $! >> \"$PIDS\"; echo $$ >> \"$PIDS\"; wait']}}";
    for args in [&["status"][..], &["demote", "p", "--yes"], &["timeline", "p"], &["observe"]] {
        for signal in [Signal::INT, Signal::TERM] {
            let home = Home::new();
            let kubeconfig = KUBECONFIG.replace("context: {cluster: d}", "context: {cluster: d, user: u}");
            let kubeconfig = home.write("k", &format!("{kubeconfig}users:\n- {{name: u, user: {plugin}}}\n"));
            let pids = home.path("pids");
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_policydeck"));
            command.env_clear().env("HOME", home.0.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PIDS", &pids);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.args(args).arg("--kubeconfig").arg(&kubeconfig).spawn().unwrap();
            let named = || std::fs::read_to_string(&pids).unwrap_or_default();
            until("the plugin runs", &|| named().lines().count() >= 2);
            kill_process(Pid::from_child(&child), signal).unwrap();
            let status = child.wait().unwrap();
            let expected = if args[0] == "observe" { 0 } else { 130 };
            assert_eq!(status.code(), Some(expected), "{args:?} {signal:?}: {status}");
            for pid in named().lines() {
                // One whose parent has not asked for its status yet is dead, too.
                let is_gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
                until(&format!("{args:?} {signal:?} left {pid} behind"), &is_gone);
            }
        }
    }
}
