//! Running the user's own git: no shell, no terminal, bounded in time and words.

use super::GitError;
use crate::domain::clean;
use crate::domain::secret::mask;
use crate::files::child::{self, Group};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// The most that is kept of what git complains about.
const COMPLAINTS: usize = 64 << 10;
/// The most lines of it that are shown, and characters.
const LINES: usize = 12;
const CHARACTERS: usize = 1_500;

/// Variables by which a git that runs us would tell its own children what to work on (git(1), as `git rev-parse --local-env-vars` lists them).
const THEIRS: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_QUARANTINE_PATH",
];

/// The program, and variables that it gets besides ours.
#[derive(Debug, Clone)]
pub struct Git {
    program: OsString,
    variables: Vec<(OsString, OsString)>,
}

impl Default for Git {
    fn default() -> Self {
        Self { program: OsString::from("git"), variables: Vec::new() }
    }
}

/// What git answered.
pub(super) struct Answer {
    pub(super) ok: bool,
    pub(super) out: Vec<u8>,
    /// What it complained about, as lines that drive no terminal.
    pub(super) words: String,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) folder: &'a Path,
    pub(super) args: &'a [&'a str],
    pub(super) input: &'a [u8],
    pub(super) index: Option<&'a Path>,
    pub(super) limit: Duration,
    /// The most bytes of an answer.
    pub(super) most: usize,
}

impl Git {
    /// Another program of that name.
    #[must_use]
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, variable: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((variable.into(), value.into()));
        self
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, GitError> {
        let mut command = self.command()?;
        command.args(["-c", "user.useConfigOnly=true", "-c", "gc.autoDetach=false", "-c", "advice.pushUpdateRejected=false"]);
        command.args(call.args).current_dir(call.folder);
        for variable in THEIRS {
            command.env_remove(variable);
        }
        // Nobody is there to be asked. ssh asks on the terminal itself, unless somebody has said how it is to be called.
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_LITERAL_PATHSPECS", "1").env("GIT_DIR", call.folder);
        let far = matches!(call.args.first(), Some(&("fetch" | "push" | "ls-remote")));
        if far && std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() && !self.has_ssh(call.folder).await
        {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        if let Some(index) = call.index {
            command.env("GIT_INDEX_FILE", index);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        run(command, &call).await
    }

    /// The program, not one that happens to be in the folder where it is run.
    fn command(&self) -> Result<Command, GitError> {
        child::find(&self.program).map(Command::new).map_err(|error| cannot_run(&error))
    }

    /// Whether the user has configured their own ssh.
    async fn has_ssh(&self, folder: &Path) -> bool {
        let Ok(mut command) = self.command() else { return false };
        command
            .args(["config", "--get", "core.sshCommand"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.status().await.is_ok_and(|status| status.success())
    }
}

async fn run(mut command: Command, call: &Call<'_>) -> Result<Answer, GitError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = call.args.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("git");
    let (mut child, group) = Group::start(command).map_err(|error| cannot_run(&error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Kept::new(call.most), Kept::new(COMPLAINTS));
    let pipes = async {
        tokio::join!(feed(stdin, call.input), out.take(stdout), err.take(stderr));
    };
    let Ok(status) = timeout(call.limit, child::wait(&mut child, pipes)).await else {
        drop(group);
        return Err(GitError::Lost(format!("git {what} gave no answer within {} s and was ended", call.limit.as_secs())));
    };
    group.let_go();
    let status = status.map_err(|error| GitError::Lost(format!("git {what} was lost: {error}")))?;
    if !out.whole {
        return Err(GitError::Said { tried: format!("git {what}"), words: format!("it says more than {} MiB", call.most >> 20) });
    }
    Ok(Answer { ok: status.success(), out: out.bytes, words: words(&err.bytes) })
}

fn cannot_run(error: &std::io::Error) -> GitError {
    match error.kind() {
        std::io::ErrorKind::NotFound => GitError::Missing,
        _ => GitError::Lost(format!("git cannot be run: {error}")),
    }
}

async fn feed(stdin: Option<impl AsyncWrite + Unpin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A git that does not read on says why itself.
        let _ = stdin.write_all(input).await;
    }
}

/// What comes out of a pipe, up to so many bytes.
struct Kept {
    bytes: Vec<u8>,
    most: usize,
    /// Nothing was left out.
    whole: bool,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, whole: true }
    }

    /// Reads a pipe to its end, so that nobody waits for a reader.
    async fn take(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut part = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut part).await {
            let room = self.most.saturating_sub(self.bytes.len());
            self.whole &= count <= room;
            self.bytes.extend_from_slice(part.get(..count.min(room)).unwrap_or_default());
        }
    }
}

/// The last lines of complaints, without hints for somebody at a prompt.
fn words(err: &[u8]) -> String {
    let text = String::from_utf8_lossy(err);
    // Progress is drawn over itself.
    let lines = text.lines().map(|line| line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default());
    let lines: Vec<String> = lines
        .map(|line| clean(line.trim()).into_owned())
        .filter(|line| !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("error: failed to push some refs"))
        .collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ");
    // The remote end has a part in these words, too.
    mask(&last).chars().take(CHARACTERS).collect()
}
