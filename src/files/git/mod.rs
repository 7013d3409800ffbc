//! Repositories, through the user's own git: its configuration, its credentials, its signatures.
//!
//! What lives here: a private bare copy of each repository, reading a commit, making one on top of it and pushing it. What does not: what the files mean
//! (`ops::commit`), and when to try again (`engine::operations`).
//!
//! Nobody's working tree is touched: a commit is made from its parts (`hash-object`, `write-tree`, `commit-tree`), never checked out. A push never forces.
//! Whatever ends in the middle leaves objects in the private copy that nothing refers to.

mod remote;
mod run;

pub use run::Git;

use super::FileError;
use super::atomic::{make_folder, open_private, own_folder, write_atomic};
use crate::domain::secret::mask;
use remote::Remote;
use run::{Answer, Call};
use std::collections::HashMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a network may take.
const NETWORK: Duration = Duration::from_secs(180);
/// How long anything else may take. Somebody's signature may need a touch of a key.
const LOCAL: Duration = Duration::from_secs(60);
/// How long another policydeck may use the same copy.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most bytes of a list of paths, and of files that are read.
const LIST: usize = 64 << 20;
const CONTENT: usize = 64 << 20;
/// The most bytes of any other answer.
const ANSWER: usize = 1 << 20;
/// The most paths that one call is given.
const ARGUMENTS: usize = 200;
/// Where the branch's commit is kept.
const BASE: &str = "refs/policydeck/base";
/// Where the password is that a repository's URL holds, in its private copy.
const STORE: &str = "credentials";

/// What went wrong with a repository, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitError {
    /// There is no git.
    Missing,
    /// Git does not know who commits.
    NoIdentity(String),
    /// Git said no.
    Said {
        /// What was tried.
        tried: String,
        /// Its words.
        words: String,
    },
    /// Nobody knows what became of a call.
    Lost(String),
    /// The private copy cannot be kept.
    File(String),
}

impl fmt::Display for GitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no git: install it, or take `git` out of the configuration of that environment"),
            Self::NoIdentity(words) => write!(
                f,
                "git does not know who commits: `git config --global user.name NAME` and `git config --global user.email ADDRESS` tell it ({words})"
            ),
            Self::Said { tried, words } if words.is_empty() => write!(f, "{tried} failed and says nothing"),
            Self::Said { tried, words } => write!(f, "{tried} failed: {words}"),
            Self::Lost(what) | Self::File(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for GitError {}

impl From<FileError> for GitError {
    fn from(error: FileError) -> Self {
        Self::File(error.what)
    }
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is there.
    Done,
    /// Somebody else was first; nothing was pushed.
    Moved(String),
    /// The repository refuses it, in its words.
    Refused(String),
    /// No answer that tells.
    Unclear(String),
}

/// A commit's files, as far as a folder of them matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Path and text of each YAML file of the folder.
    pub files: Vec<(String, String)>,
    /// All paths.
    pub paths: Vec<String>,
}

/// A private copy of a repository, in use by nobody else while this lives.
#[derive(Debug)]
pub struct Repository {
    git: Git,
    url: String,
    /// The address as it may be shown.
    shown: String,
    folder: PathBuf,
    _lock: File,
}

impl Repository {
    /// Opens the private copy of the repository at `url` below `folder`, or makes it. Nothing is fetched yet.
    pub async fn open(git: Git, folder: &Path, url: &str, shown: &str) -> Result<Self, GitError> {
        own_folder(folder)?;
        let name = name_of(url);
        let lock = exclusive(&folder.join(format!("{name}.lock"))).await?;
        let repository = Self { git, url: url.to_owned(), shown: shown.to_owned(), folder: folder.join(&name), _lock: lock };
        if repository.folder.join("HEAD").exists() {
            repository.write_config()?;
        } else {
            repository.make().await?;
        }
        // What an interrupted commit left.
        for left in std::fs::read_dir(&repository.folder).into_iter().flatten().flatten() {
            if left.file_name().to_string_lossy().starts_with("index-") {
                let _ = std::fs::remove_dir_all(left.path());
            }
        }
        Ok(repository)
    }

    async fn make(&self) -> Result<(), GitError> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).map_err(|error| FileError::new("remove", &self.folder, &error))?;
        }
        make_folder(&self.folder)?;
        self.ask(&["init", "--quiet", "--bare", "."], b"", None).await?;
        self.write_config()
    }

    /// Writes the private copy's configuration. A copy of an earlier version has the URL whole in it.
    fn write_config(&self) -> Result<(), GitError> {
        let (remote, store) = (Remote::of(&self.url), self.folder.join(STORE));
        let whole = std::path::absolute(&store).unwrap_or_else(|_| store.clone());
        write_atomic(&self.folder.join("config"), remote.config(&whole).as_bytes())?;
        match &remote.stored {
            // git itself removes a password that a server rejected.
            Some(line) => write_atomic(&store, line.as_bytes())?,
            None if store.exists() => {
                std::fs::remove_file(&store).map_err(|error| FileError::new("remove", &store, &error))?;
            }
            None => {}
        }
        Ok(())
    }

    /// The newest commit of a branch. Only it is fetched, not what was before.
    pub async fn fetch(&self, branch: &str) -> Result<String, GitError> {
        let refspec = format!("+refs/heads/{branch}:{BASE}");
        let args = ["fetch", "--quiet", "--no-tags", "--depth=1", "--no-recurse-submodules", "origin", &refspec];
        let mut answer = self.call(&args, b"", None, NETWORK, ANSWER).await?;
        if !answer.ok && is_broken(&answer.words) {
            self.make().await?;
            answer = self.call(&args, b"", None, NETWORK, ANSWER).await?;
        }
        if !answer.ok {
            return Err(GitError::Said { tried: format!("fetching the branch {branch} of {}", self.shown), words: answer.words });
        }
        self.line(&["rev-parse", "--verify", &format!("{BASE}^{{commit}}")], b"", None).await
    }

    /// The last commit that changed each of these files, and its time in seconds, as far as the newest hundred tell: the time of one that may be older is
    /// not known. What none of them changed is as the oldest has it.
    pub async fn last_changes(&self, branch: &str, head: &str, paths: &[&str]) -> Result<HashMap<String, (String, Option<i64>)>, GitError> {
        if paths.is_empty() {
            return Ok(HashMap::new());
        }
        let refspec = format!("+refs/heads/{branch}:{BASE}");
        let args = ["fetch", "--quiet", "--no-tags", "--depth=100", "--no-recurse-submodules", "origin", &refspec];
        let answer = self.call(&args, b"", None, NETWORK, ANSWER).await?;
        self.succeeded(answer, "fetching the newest commits of")?;
        // All that a cut history holds looks as if its oldest commits had made it.
        let oldest = std::fs::read_to_string(self.folder.join("shallow")).unwrap_or_default();
        let mut found = HashMap::new();
        for paths in paths.chunks(ARGUMENTS) {
            let mut args = vec!["log", "-z", "--name-only", "--format=%x01%H %ct", head, "--"];
            args.extend(paths);
            let log = self.call(&args, b"", None, LOCAL, LIST).await?;
            let log = self.succeeded(log, "reading the newest commits of")?;
            let mut at = (head, None);
            let log = String::from_utf8_lossy(&log);
            for part in log.split('\0').map(|part| part.trim_start_matches('\n')).filter(|part| !part.is_empty()) {
                match part.strip_prefix('\u{1}').and_then(|header| header.split_once(' ')) {
                    Some((commit, seconds)) => {
                        let is_cut = oldest.lines().any(|line| line == commit);
                        at = (commit, seconds.parse().ok().filter(|_| !is_cut));
                    }
                    None => _ = found.entry(part.to_owned()).or_insert_with(|| (at.0.to_owned(), at.1)),
                }
            }
        }
        Ok(found)
    }

    /// The files of a commit: the YAML files of a folder with their text, and the paths of all.
    pub async fn read(&self, commit: &str, folder: &str) -> Result<Snapshot, GitError> {
        let list = self.call(&["ls-tree", "-r", "-z", "--full-tree", commit], b"", None, LOCAL, LIST).await?;
        let list = self.succeeded(list, "listing the files of the repository")?;
        let (mut snapshot, mut wanted, mut ids) = (Snapshot::default(), Vec::new(), String::new());
        for entry in String::from_utf8_lossy(&list).split('\0').filter(|entry| !entry.is_empty()) {
            let Some((head, path)) = entry.split_once('\t') else { continue };
            let mut words = head.split(' ');
            let (mode, _, id) = (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
            snapshot.paths.push(path.to_owned());
            let inside = folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            if inside && mode.starts_with("100") && is_manifest(path) {
                wanted.push(path.to_owned());
                ids.push_str(id);
                ids.push('\n');
            }
        }
        let content = self.call(&["cat-file", "--batch"], ids.as_bytes(), None, LOCAL, CONTENT).await?;
        let content = self.succeeded(content, "reading the files of the repository")?;
        let mut rest = content.as_slice();
        for path in wanted {
            let (text, after) = blob(rest).ok_or_else(|| GitError::Said {
                tried: "reading the files of the repository".to_owned(),
                words: format!("the answer stops before {path}"),
            })?;
            rest = after;
            // What is no text is no manifest.
            if let Ok(text) = std::str::from_utf8(text) {
                snapshot.files.push((path, text.to_owned()));
            }
        }
        Ok(snapshot)
    }

    /// Makes a commit on top of another, with these texts at these paths, or nothing where there is no text; its id. Nothing refers to it until it is
    /// pushed.
    pub async fn commit(&self, base: &str, files: &[(&str, Option<&str>)], message: &str) -> Result<String, GitError> {
        for ident in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            let answer = self.call(&["var", ident], b"", None, LOCAL, ANSWER).await?;
            if !answer.ok {
                // Above its last line git explains what the error says, too.
                return Err(GitError::NoIdentity(answer.words.rsplit("; ").next().unwrap_or_default().to_owned()));
            }
        }
        let own = tempfile::Builder::new()
            .prefix("index-")
            .tempdir_in(&self.folder)
            .map_err(|error| FileError::new("make a folder in", &self.folder, &error))?;
        let index = Some(own.path().join("index"));
        let index = index.as_deref();
        self.ask(&["read-tree", base], b"", index).await?;
        for (path, text) in files {
            let Some(text) = text else {
                let gone = format!("0 {}\t{path}\0", "0".repeat(base.len()));
                self.ask(&["update-index", "-z", "--index-info"], gone.as_bytes(), index).await?;
                continue;
            };
            let id = self.line(&["hash-object", "-w", "--stdin"], text.as_bytes(), None).await?;
            let was = self.line(&["ls-tree", "-z", "--full-tree", base, "--", path], b"", None).await?;
            // A file that may be executed stays one.
            let mode = was.split(' ').next().filter(|mode| mode.starts_with("100")).unwrap_or("100644");
            self.ask(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},{path}")], b"", index).await?;
        }
        let tree = self.line(&["write-tree"], b"", index).await?;
        let signed = self.call(&["config", "--type=bool", "--get", "commit.gpgSign"], b"", None, LOCAL, ANSWER).await?;
        let mut args = vec!["commit-tree", tree.as_str(), "-p", base, "-F", "-"];
        if signed.ok && signed.out.starts_with(b"true") {
            args.push("-S");
        }
        self.line(&args, message.as_bytes(), None).await
    }

    /// The paths at which a commit differs from another, whatever the difference: content, mode or kind of entry.
    pub async fn changed(&self, base: &str, commit: &str) -> Result<Vec<String>, GitError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", base, commit];
        let list = self.call(&args, b"", None, LOCAL, LIST).await?;
        let list = self.succeeded(list, "comparing two commits of")?;
        Ok(list.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }

    /// Pushes a commit to a branch, which must be where the commit's parent is, or not be there yet.
    pub async fn push(&self, commit: &str, branch: &str) -> Pushed {
        let refspec = format!("{commit}:refs/heads/{branch}");
        let answer = self.call(&["push", "--porcelain", "--no-follow-tags", "origin", &refspec], b"", None, NETWORK, ANSWER).await;
        match answer {
            Ok(answer) if answer.ok => Pushed::Done,
            Ok(answer) => judged(&answer),
            Err(GitError::Lost(why)) => Pushed::Unclear(why),
            Err(error) => Pushed::Refused(error.to_string()),
        }
    }

    /// The commit that a branch of the repository is at now; `None` where there is no such branch.
    pub async fn head_of(&self, branch: &str) -> Result<Option<String>, GitError> {
        let name = format!("refs/heads/{branch}");
        let answer = self.call(&["ls-remote", "--quiet", "origin", &name], b"", None, NETWORK, ANSWER).await?;
        let out = self.succeeded(answer, "asking the repository for its branches")?;
        let text = String::from_utf8_lossy(&out).into_owned();
        let found = text.lines().filter_map(|line| line.split_once('\t')).find(|(_, found)| *found == name);
        Ok(found.map(|(commit, _)| commit.to_owned()))
    }

    async fn call(&self, args: &[&str], input: &[u8], index: Option<&Path>, limit: Duration, most: usize) -> Result<Answer, GitError> {
        let mut answer = self.git.call(Call { folder: &self.folder, args, input, index, limit, most }).await?;
        // Whatever repeats the address repeats its password.
        answer.words = answer.words.replace(&self.url, &self.shown);
        Ok(answer)
    }

    fn succeeded(&self, answer: Answer, tried: &str) -> Result<Vec<u8>, GitError> {
        if answer.ok { Ok(answer.out) } else { Err(GitError::Said { tried: format!("{tried} {}", self.shown), words: answer.words }) }
    }

    async fn ask(&self, args: &[&str], input: &[u8], index: Option<&Path>) -> Result<Vec<u8>, GitError> {
        let answer = self.call(args, input, index, LOCAL, ANSWER).await?;
        let verb = args.first().copied().unwrap_or_default();
        if answer.ok {
            Ok(answer.out)
        } else {
            Err(GitError::Said { tried: format!("git {verb} for {}", self.shown), words: answer.words })
        }
    }

    async fn line(&self, args: &[&str], input: &[u8], index: Option<&Path>) -> Result<String, GitError> {
        let out = self.ask(args, input, index).await?;
        Ok(String::from_utf8_lossy(&out).trim_end_matches(['\n', '\0']).to_owned())
    }
}

/// What `push --porcelain` says of the one branch (git-push(1), "OUTPUT"; the words in brackets are not translated, git `transport.c`).
fn judged(answer: &Answer) -> Pushed {
    let out = String::from_utf8_lossy(&answer.out);
    let Some(line) = out.lines().find(|line| line.starts_with('!')) else { return Pushed::Unclear(answer.words.clone()) };
    let summary = mask(&crate::domain::clean(line.rsplit('\t').next().unwrap_or_default())).into_owned();
    // Two pushes at the same moment meet in the repository itself.
    let race = ["cannot lock ref", "failed to update ref", "incorrect old value", "reference already exists"];
    if summary.starts_with("[rejected]") || race.iter().any(|words| summary.contains(words)) {
        return Pushed::Moved(summary);
    }
    let words = answer.words.trim();
    Pushed::Refused(if words.is_empty() { summary } else { format!("{summary}: {words}") })
}

/// Whether it is the private copy that is broken: by a power cut, or by somebody who was in it.
fn is_broken(words: &str) -> bool {
    let broken = [".lock': File exists", "corrupt", "not a git repository", "bad object", "object file", "shallow file", "unable to read"];
    broken.iter().any(|sign| words.contains(sign))
}

fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name == "kustomization" || matches!(name.rsplit_once('.'), Some((_, "yaml" | "yml")))
}

/// The first object of `cat-file --batch`, and what follows it.
fn blob(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = memchr::memchr(b'\n', rest)?;
    let size: usize = std::str::from_utf8(rest.get(..line)?).ok()?.rsplit(' ').next()?.parse().ok()?;
    let start = line + 1;
    Some((rest.get(start..start + size)?, rest.get(start + size + 1..)?))
}

/// The name of a copy: no part of the address, which may hold a password.
fn name_of(url: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
    digest.as_ref().iter().take(10).fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
}

/// Waits until nobody else uses the copy. The lock is gone with the process, however it ends.
async fn exclusive(path: &Path) -> Result<File, GitError> {
    let file = open_private(File::options().append(true).create(true), path);
    let file = file.map_err(|error| FileError::new("open", path, &error))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(FileError::new("lock", path, &error).into()),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => {
                return Err(GitError::File(format!(
                    "another policydeck has used {} for {} s; is it stopped?",
                    path.display(),
                    PATIENCE.as_secs()
                )));
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
