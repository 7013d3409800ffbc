//! Programs of the user's that run beside us: in a group of their own, and ended with everything they have started.
//!
//! What lives here: the group, and waiting for a program whose output somebody may hold open. What does not: which program, how long it may take, what
//! its output means.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long output may be in coming after the program has ended: a child of its own may hold the pipe open.
const REST: Duration = Duration::from_secs(1);

/// The program that starts another in a session of its own; the standard library cannot, short of unsafe code.
#[cfg(unix)]
const SETSID: &str = "setsid";

/// A command that runs in a session of its own, where the system has `setsid`: without a controlling terminal, so that what it says to `/dev/tty`, or
/// reads from there, does not meet the screen. Elsewhere it is in a process group of its own only.
pub fn detached(program: &str) -> Command {
    #[cfg(unix)]
    if let (Some(setsid), Some(_)) = (find(SETSID), find(program)) {
        let mut command = Command::new(setsid);
        command.arg(program);
        return command;
    }
    Command::new(program)
}

/// Where a program is: as named, or in `PATH`.
#[cfg(unix)]
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A program and all it has started; ended when this goes.
pub struct Group(Option<u32>);

impl Group {
    /// Starts the program as the first of a group of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> io::Result<(Child, Self)> {
        command.kill_on_drop(true);
        // Who leads a group already would have to be forked for a session of its own.
        #[cfg(unix)]
        if Path::new(command.as_std().get_program()).file_name().is_none_or(|name| name != SETSID) {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let group = Self(child.id());
        Ok((child, group))
    }

    /// The program has ended by itself. What it leaves running on purpose is its own business.
    pub fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
            // Nothing is left of most; that is no failure.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Waits until the program has ended, while its pipes are served. What was written by then counts; nothing more is waited for.
///
/// # Errors
/// It was lost.
pub async fn wait(child: &mut Child, pipes: impl Future<Output = ()>) -> io::Result<ExitStatus> {
    tokio::pin!(pipes);
    let mut done = false;
    let status = loop {
        tokio::select! {
            () = &mut pipes, if !done => done = true,
            status = child.wait() => break status?,
        }
    };
    if !done {
        let _ = timeout(REST, &mut pipes).await;
    }
    Ok(status)
}
