//! Programs of the user's that run beside us: in a group of their own, and ended with everything they have started.
//!
//! What lives here: the group, waiting for a program whose output another process may hold open, and its complaints as words. What does not: which program, how
//! long it may take, what its output means.

use crate::domain::clean;
use crate::domain::secret::mask;
use std::ffi::OsStr;
use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The most bytes that are kept of what a program complains about.
const COMPLAINTS: usize = 64 << 10;
/// The most lines of it that are shown, and characters.
const LINES: usize = 12;
const CHARACTERS: usize = 1_500;

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

/// What a program said until it ended.
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its output.
    pub out: Vec<u8>,
    /// The beginning of its complaints.
    pub err: Vec<u8>,
    /// The output is all of it.
    pub whole: bool,
}

/// Why a program has no result.
pub enum Lost {
    /// It could not be started.
    NotStarted(io::Error),
    /// It took too long and was ended.
    Late,
    /// How it ended is unknown.
    Gone(io::Error),
}

/// Runs a program in a group of its own with this input, and keeps at most `most` bytes of its output. After `limit` it is ended with all it has started.
///
/// # Errors
/// See [`Lost`].
pub async fn run(mut command: Command, input: &[u8], most: usize, limit: Duration) -> Result<Said, Lost> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, group) = Group::start(command).map_err(Lost::NotStarted)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Kept::new(most), Kept::new(COMPLAINTS));
    let pipes = async {
        tokio::join!(feed(stdin, input), out.take(stdout), err.take(stderr));
    };
    let Ok(status) = timeout(limit, wait(&mut child, pipes)).await else {
        drop(group);
        return Err(Lost::Late);
    };
    group.let_go();
    let status = status.map_err(Lost::Gone)?;
    Ok(Said { status, out: out.bytes, err: err.bytes, whole: out.whole })
}

async fn feed(stdin: Option<impl AsyncWrite + Unpin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A program that does not read on says why itself.
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

    /// Reads a pipe to its end, so that the writer never blocks.
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

/// The last lines of complaints, without hints for an interactive user.
pub fn words(err: &[u8]) -> String {
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
