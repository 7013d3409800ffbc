//! Running the user's own git: no shell, no terminal, bounded in time and words.

use super::GitError;
use crate::files::child::{self, Lost, words};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

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

async fn run(command: Command, call: &Call<'_>) -> Result<Answer, GitError> {
    let what = call.args.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("git");
    let said = child::run(command, call.input, call.most, call.limit).await.map_err(|lost| match lost {
        Lost::NotStarted(error) => cannot_run(&error),
        Lost::Late => GitError::Lost(format!("git {what} gave no answer within {} s and was ended", call.limit.as_secs())),
        Lost::Gone(error) => GitError::Lost(format!("git {what} was lost: {error}")),
    })?;
    if !said.whole {
        return Err(GitError::Said { tried: format!("git {what}"), words: format!("it says more than {} MiB", call.most >> 20) });
    }
    Ok(Answer { ok: said.status.success(), words: words(&said.err), out: said.out })
}

fn cannot_run(error: &std::io::Error) -> GitError {
    match error.kind() {
        std::io::ErrorKind::NotFound => GitError::Missing,
        _ => GitError::Lost(format!("git cannot be run: {error}")),
    }
}
