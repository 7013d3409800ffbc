//! The log: lines on their way to a file a day (`daily`), nothing in them that drives a terminal or opens a door.

use super::FileError;
use super::atomic::own_folder;
use super::daily::{Daily, Trouble};
use crate::domain::clean;
use crate::domain::secret::mask;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Holds the log open; dropping it writes what is still buffered.
#[derive(Debug)]
#[must_use = "the log is closed when this is dropped"]
pub struct LogGuard {
    /// Tells when the log can no longer be written.
    pub trouble: Trouble,
    _worker: WorkerGuard,
}

/// Opens the log in `folder`. `verbosity` counts the `-v`; `directives` (of `POLICYDECK_LOG`) replace what it stands for.
///
/// Fails where the folder cannot be written, or where something else already receives the log; the program runs on without it.
pub fn start(folder: &Path, verbosity: u8, directives: Option<&str>) -> Result<LogGuard, FileError> {
    own_folder(folder)?;
    let daily = Daily::open(folder)?;
    let trouble = daily.trouble();
    // Bounded, and lossy: where the disk hangs, lines are dropped, not kept.
    let (writer, worker) = tracing_appender::non_blocking(daily);
    let filter = directives.and_then(|text| text.parse::<EnvFilter>().ok()).unwrap_or_else(|| EnvFilter::new(levels(verbosity)));
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(move || Careful(writer.clone())).finish();
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| FileError { what: format!("cannot log: {error}"), kind: ErrorKind::AlreadyExists })?;
    Ok(LogGuard { trouble, _worker: worker })
}

/// Other crates stay at warnings: what they say below may hold what a request held.
fn levels(verbosity: u8) -> &'static str {
    match verbosity {
        0 => "warn,policydeck=info",
        1 => "warn,policydeck=debug",
        _ => "info,policydeck=trace",
    }
}

/// Cleans every line on its way. The formatter hands over one whole event per call.
struct Careful<W>(W);

impl<W: Write> Write for Careful<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = mask(&clean(text.trim_end_matches('\n'))).into_owned() + "\n";
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let mut out = Vec::new();
        Careful(&mut out).write_all("WARN url=https://jane:hunter2@host token=hunter2\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "WARN url=https://…@host token=…\n");
    }

    #[test]
    fn one_event_is_one_line_that_drives_no_terminal() {
        let mut out = Vec::new();
        Careful(&mut out).write_all("INFO a\x1b[31m\nb\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "INFO a\u{fffd}[31m b\n");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_not_a_panic() {
        assert!(start(Path::new("/dev/null/logs"), 0, None).is_err());
    }
}
