//! Programs of the user's that run beside us: in a group of their own, and ended with everything they have started.
//!
//! What lives here: the group, and waiting for a program whose output somebody may hold open. What does not: which program, how long it may take, what
//! its output means.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
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
///
/// # Errors
/// There is no such program, or [`find`] does not allow it.
pub fn detached(program: &str) -> io::Result<Command> {
    let program = find(OsStr::new(program))?;
    #[cfg(unix)]
    if let Ok(setsid) = find(OsStr::new(SETSID)) {
        let mut command = Command::new(setsid);
        command.arg(program);
        return Ok(command);
    }
    Ok(Command::new(program))
}

/// Where a program is, as kubectl finds it (Go `exec.LookPath`): a name with a slash as it is, any other in `PATH`. A program that `PATH` finds in a
/// relative folder, such as `.` or an empty entry, is not run (Go `exec.ErrDot`): whoever may write to the current folder would choose it.
///
/// # Errors
/// There is no such program, or it is in a relative folder.
#[cfg(unix)]
pub fn find(program: &OsStr) -> io::Result<PathBuf> {
    find_in(program, &std::env::var_os("PATH").unwrap_or_default())
}

/// Where a program is: the system looks for it by itself, never in the current folder.
#[cfg(not(unix))]
pub fn find(program: &OsStr) -> io::Result<PathBuf> {
    Ok(PathBuf::from(program))
}

#[cfg(unix)]
fn find_in(program: &OsStr, path: &OsStr) -> io::Result<PathBuf> {
    use rustix::io::Errno;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let is_program = |file: &Path| std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.as_bytes().contains(&b'/') {
        let file = PathBuf::from(program);
        return match (is_program(&file), file.exists()) {
            (true, _) => Ok(file),
            (false, true) => Err(Errno::ACCESS.into()),
            (false, false) => Err(Errno::NOENT.into()),
        };
    }
    let folders = std::env::split_paths(path).filter(|_| !program.is_empty());
    let mut found = folders.map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder });
    match found.find(|folder| is_program(&folder.join(program))) {
        Some(folder) if folder.is_absolute() => Ok(folder.join(program)),
        Some(folder) => {
            let why = format!("PATH finds it in the relative folder \"{}\", and such programs are not run", folder.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        None => Err(Errno::NOENT.into()),
    }
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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A program called `plugin` in a folder.
    fn program(folder: &Path, mode: u32) {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("plugin");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_of_a_relative_folder_is_not_run() {
        let root = tempfile::tempdir().unwrap();
        // Tests run in the folder of the package: a relative way to the temporary one.
        let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<Vec<_>>().join("/");
        let at = |folder: &str| root.path().join(folder);
        let relative = |folder: &str| format!("{up}{}", at(folder).display());
        program(&at("good"), 0o755);
        program(&at("other"), 0o755);
        program(&at("plain"), 0o644);
        std::fs::create_dir_all(at("folder/plugin")).unwrap();
        let absolute = |folder: &str| at(folder).display().to_string();
        let found = |path: &str| find_in(OsStr::new("plugin"), OsStr::new(path)).map_err(|error| error.to_string());
        let good = at("good").join("plugin");
        for path in [
            absolute("good"),
            format!("{}:{}", absolute("good"), relative("other")),
            format!("{}:{}:{}:{}", absolute("missing"), absolute("plain"), absolute("folder"), absolute("good")),
            // None is in the current folder.
            format!(".::{}", absolute("good")),
        ] {
            assert_eq!(found(&path), Ok(good.clone()), "{path}");
        }
        for path in [relative("good"), format!("{}:{}", relative("good"), absolute("other")), format!("x:{}", relative("good"))] {
            assert!(found(&path).unwrap_err().starts_with("PATH finds it in the relative folder \"../"), "{path}");
        }
        for name in ["", "plugin", "no-such-program"] {
            assert_eq!(find_in(OsStr::new(name), OsStr::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
        }
        let with_slash = |name: &Path| find_in(name.as_os_str(), OsStr::new("/nowhere")).map_err(|error| error.kind());
        assert_eq!(with_slash(&good), Ok(good.clone()));
        assert!(with_slash(Path::new(&relative("good")).join("plugin").as_path()).is_ok(), "a name with a slash is as it is");
        assert_eq!(with_slash(&at("plain/plugin")), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(with_slash(&at("missing/plugin")), Err(io::ErrorKind::NotFound));
    }
}
