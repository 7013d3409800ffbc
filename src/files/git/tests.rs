use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// A bare repository that somebody serves, somebody else who pushes to it, and us.
struct Ground {
    root: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let ground = Self { root: tempfile::tempdir().unwrap() };
        std::fs::write(ground.path("gitconfig"), "[user]\n\tname = Ana\n\temail = ana@example.com\n[init]\n\tdefaultBranch = main\n")
            .unwrap();
        ground.git(".", &["init", "--quiet", "--bare", "served.git"]);
        ground.git(".", &["clone", "--quiet", "served.git", "theirs"]);
        std::fs::create_dir_all(ground.path("theirs/prod")).unwrap();
        ground.write("prod/p.yaml", "mode: audit\n");
        ground.write("prod/run.yml", "a: 1\n");
        ground.write("other.yaml", "b: 1\n");
        std::fs::set_permissions(ground.path("theirs/prod/run.yml"), std::fs::Permissions::from_mode(0o755)).unwrap();
        ground.push("first");
        ground
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn git(&self, folder: &str, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.path(folder)).env("GIT_CONFIG_GLOBAL", self.path("gitconfig")).env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path("theirs").join(path), text).unwrap();
    }

    /// Somebody else commits what lies there, and pushes.
    fn push(&self, message: &str) {
        self.git("theirs", &["add", "--all"]);
        self.git("theirs", &["commit", "--quiet", "--message", message]);
        self.git("theirs", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    fn head(&self) -> String {
        self.git("served.git", &["rev-parse", "main"])
    }

    fn hook(&self, name: &str, text: &str) {
        let path = self.path("served.git/hooks").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn ours(&self) -> Git {
        Git::default().with("GIT_CONFIG_GLOBAL", self.path("gitconfig")).with("GIT_CONFIG_NOSYSTEM", "1").with("HOME", self.root.path())
    }

    async fn open(&self) -> Repository {
        self.open_with(self.ours(), self.path("served.git").to_str().unwrap()).await
    }

    async fn open_with(&self, git: Git, url: &str) -> Repository {
        Repository::open(git, &self.path("cache"), url, "the repository").await.unwrap()
    }
}

#[tokio::test]
async fn a_commit_is_made_on_top_and_pushed() {
    let ground = Ground::new();
    let repository = ground.open().await;
    let head = repository.fetch("main").await.unwrap();
    assert_eq!(head, ground.head());
    let read = repository.read(&head, "prod").await.unwrap();
    let texts: Vec<_> = read.files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(texts, [("prod/p.yaml", "mode: audit\n"), ("prod/run.yml", "a: 1\n")]);
    assert_eq!(read.paths, ["other.yaml", "prod/p.yaml", "prod/run.yml"]);
    assert_eq!(repository.read(&head, "").await.unwrap().files.len(), 3);

    let files = [("prod/p.yaml", Some("mode: enforce\n")), ("prod/run.yml", Some("a: 2\n")), ("prod/new/ä b.yaml", Some("c: 1\n"))];
    let commit = repository.commit(&head, &files, "promote p\n\nTicket: CHG-1\n").await.unwrap();
    assert_eq!(ground.head(), head, "a commit alone changes nothing");
    assert_eq!(repository.push(&commit, "main").await, Pushed::Done);
    assert_eq!(ground.head(), commit);
    let show = |what: &str| ground.git("served.git", &["show", what]);
    assert_eq!((show("main:prod/p.yaml").as_str(), show("main:other.yaml").as_str()), ("mode: enforce", "b: 1"));
    assert_eq!(show("main:prod/new/ä b.yaml"), "c: 1");
    assert_eq!(
        ground.git("served.git", &["log", "-1", "--format=%an <%ae>|%cn|%P|%B", "main"]),
        format!("Ana <ana@example.com>|Ana|{head}|promote p\n\nTicket: CHG-1")
    );
    assert!(ground.git("served.git", &["ls-tree", "main", "prod/run.yml"]).starts_with("100755"), "it may still be executed");
    assert_eq!(repository.head_of("main").await.unwrap(), Some(commit.clone()));
    assert_eq!(repository.head_of("none").await.unwrap(), None);
    // On a branch of its own, and once only.
    let other = repository.commit(&head, &[("x.yaml", Some("d: 1\n"))], "x\n").await.unwrap();
    assert_eq!(repository.push(&other, "policydeck/1").await, Pushed::Done);
    assert!(matches!(repository.push(&commit, "policydeck/1").await, Pushed::Moved(_)));
    assert_eq!(ground.git("theirs", &["status", "--porcelain"]), "", "nobody's working tree was touched");
}

#[tokio::test]
async fn every_path_that_a_commit_changes_is_told() {
    let ground = Ground::new();
    let repository = ground.open().await;
    let base = repository.fetch("main").await.unwrap();
    let files = [("prod/p.yaml", Some("mode: enforce\n")), ("prod/new.yaml", Some("a: 1\n")), ("prod/run.yml", None)];
    let commit = repository.commit(&base, &files, "three").await.unwrap();
    assert_eq!(repository.changed(&base, &commit).await.unwrap(), ["prod/new.yaml", "prod/p.yaml", "prod/run.yml"]);
    let same = repository.commit(&base, &[("prod/p.yaml", Some("mode: audit\n"))], "nothing").await.unwrap();
    assert_eq!(repository.changed(&base, &same).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_last_changes_of_many_files_are_one_question() {
    let ground = Ground::new();
    // Of a repository that is a folder, git takes all.
    let url = format!("file://{}", ground.path("served.git").display());
    let repository = ground.open_with(ground.ours(), &url).await;
    let first = ground.head();
    ground.write("prod/ä b.yaml", "c: 1\n");
    ground.push("second");
    let second = ground.head();
    let head = repository.fetch("main").await.unwrap();
    let asked = ["prod/p.yaml", "prod/ä b.yaml", "prod/none.yaml"];
    let changes = repository.last_changes("main", &head, &asked).await.unwrap();
    let of =
        |changes: &HashMap<String, (String, Option<i64>)>, path: &str| changes.get(path).map(|(commit, at)| (commit.clone(), at.is_some()));
    assert_eq!((of(&changes, asked[0]), of(&changes, asked[1]), of(&changes, asked[2])), (Some((first, true)), Some((second, true)), None));
    for number in 0..100 {
        ground.write("other.yaml", &format!("b: {number}\n"));
        ground.git("theirs", &["commit", "--quiet", "--all", "--message", "more"]);
    }
    ground.git("theirs", &["push", "--quiet", "origin", "HEAD:main"]);
    let head = repository.fetch("main").await.unwrap();
    let changes = repository.last_changes("main", &head, &asked[..1]).await.unwrap();
    assert_eq!(of(&changes, asked[0]).map(|(_, dated)| dated), Some(false), "it is older than what was looked at");
    assert!(repository.last_changes("none", &head, &[]).await.unwrap().is_empty(), "nothing is asked about nothing");
}

#[tokio::test]
async fn somebody_else_may_be_first() {
    let ground = Ground::new();
    let repository = ground.open().await;
    let head = repository.fetch("main").await.unwrap();
    let commit = repository.commit(&head, &[("prod/p.yaml", Some("mode: enforce\n"))], "late\n").await.unwrap();
    ground.write("other.yaml", "b: 2\n");
    ground.push("second");
    let theirs = ground.head();
    assert!(matches!(repository.push(&commit, "main").await, Pushed::Moved(_)));
    assert_eq!(ground.head(), theirs, "a push never forces");
    let again = repository.fetch("main").await.unwrap();
    let commit = repository.commit(&again, &[("prod/p.yaml", Some("mode: enforce\n"))], "late\n").await.unwrap();
    assert_eq!(repository.push(&commit, "main").await, Pushed::Done);
    assert_eq!(ground.git("served.git", &["show", "main:other.yaml"]), "b: 2");
}

#[tokio::test]
async fn a_repository_refuses_in_its_own_words() {
    let ground = Ground::new();
    ground.hook("pre-receive", "printf 'change freeze until \\033[31mMonday\\n' >&2; exit 1");
    let repository = ground.open().await;
    let head = repository.fetch("main").await.unwrap();
    let commit = repository.commit(&head, &[("prod/p.yaml", Some("mode: enforce\n"))], "x\n").await.unwrap();
    let Pushed::Refused(words) = repository.push(&commit, "main").await else { panic!("it is refused") };
    assert!(words.contains("pre-receive hook declined") && words.contains("change freeze until"), "{words}");
    assert!(!words.contains('\u{1b}'), "{words}");
    assert_eq!(ground.head(), head);
}

#[tokio::test]
async fn nobody_commits_without_a_name() {
    let ground = Ground::new();
    std::fs::write(ground.path("empty"), "").unwrap();
    let git =
        Git::default().with("GIT_CONFIG_GLOBAL", ground.path("empty")).with("GIT_CONFIG_NOSYSTEM", "1").with("HOME", ground.root.path());
    let repository = ground.open_with(git, ground.path("served.git").to_str().unwrap()).await;
    let head = repository.fetch("main").await.unwrap();
    let error = repository.commit(&head, &[("prod/p.yaml", Some("x\n"))], "x\n").await.unwrap_err();
    assert!(matches!(error, GitError::NoIdentity(_)) && error.to_string().contains("git config --global user.email"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_said_without_the_password() {
    let ground = Ground::new();
    let repository = ground.open().await;
    let error = repository.fetch("none").await.unwrap_err().to_string();
    assert!(error.starts_with("fetching the branch none of the repository failed: ") && error.contains("refs/heads/none"), "{error}");
    let url = "http://jane:secret@127.0.0.1:1/p.git";
    let repository = ground.open_with(ground.ours(), url).await;
    let error = repository.fetch("main").await.unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
    let missing = ground.path("gone.git");
    let repository = ground.open_with(ground.ours(), missing.to_str().unwrap()).await;
    assert!(repository.fetch("main").await.is_err());
    let nameless = Repository::open(ground.ours().program("no-such-git"), &ground.path("more"), "x", "x").await.unwrap_err();
    assert_eq!(nameless, GitError::Missing);
}

/// A web server that rejects what comes without a password, and then everything. What it was sent as credentials.
fn closed_server() -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let sent = lines.iter().find_map(|line| line.strip_prefix("Authorization: Basic "));
            let status = if sent.is_some() { "404 Not Found" } else { "401 Unauthorized" };
            let answer =
                format!("HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if let Some(sent) = sent {
                return sent.to_owned();
            }
        }
    });
    (address, served)
}

#[tokio::test]
async fn a_password_reaches_the_server_and_no_command_line() {
    use base64::Engine as _;
    let ground = Ground::new();
    let (server, credentials) = closed_server();
    let trace = ground.path("trace");
    let git = ground.ours().with("GIT_TRACE", &trace).with("GIT_TRACE_REDACT", "0");
    let url = format!("http://jane:hun%40ter2@{server}/p.git");
    let repository = ground.open_with(git.clone(), &url).await;
    let error = repository.fetch("main").await.unwrap_err().to_string();
    assert!(!error.contains("ter2"), "{error}");
    let sent = base64::engine::general_purpose::STANDARD.decode(credentials.join().unwrap()).unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), "jane:hun@ter2");
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("remote-http") && !trace.contains("ter2"), "{trace}");
    let config = std::fs::read_to_string(repository.folder.join("config")).unwrap();
    assert!(!config.contains("ter2"), "{config}");
    let mode = std::fs::metadata(repository.folder.join(STORE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A copy of an earlier version has the URL whole in its configuration.
    std::fs::write(repository.folder.join("config"), format!("[remote \"origin\"]\nurl = {url}\n")).unwrap();
    drop(repository);
    let repository = ground.open_with(git, &url).await;
    assert!(!std::fs::read_to_string(repository.folder.join("config")).unwrap().contains("ter2"));
}

#[tokio::test]
async fn a_broken_copy_is_made_anew() {
    let ground = Ground::new();
    let repository = ground.open().await;
    repository.fetch("main").await.unwrap();
    let copy = repository.folder.clone();
    std::fs::create_dir(copy.join("index-left")).unwrap();
    drop(repository);
    std::fs::write(copy.join("shallow.lock"), "").unwrap();
    std::fs::create_dir_all(copy.join("refs/policydeck")).unwrap();
    std::fs::write(copy.join("refs/policydeck/base.lock"), "").unwrap();
    ground.write("other.yaml", "b: 3\n");
    ground.push("third");
    let repository = ground.open().await;
    assert!(!copy.join("index-left").exists());
    assert_eq!(repository.fetch("main").await.unwrap(), ground.head());
}

#[tokio::test]
async fn only_one_at_a_time_uses_a_copy() {
    let ground = Ground::new();
    let first = ground.open().await;
    let second = ground.open();
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut second).await.is_err());
    drop(first);
    second.await.fetch("main").await.unwrap();
}
