//! A file a day, of which some are kept, and what happens when the disk does not play along.
//!
//! What lives here: [`Daily`], which takes text and never fails: a log that cannot be written must not keep the program from its work.
//! What does not: what is in the lines (`log`).

use super::FileError;
use super::atomic::open_private;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Days that are kept.
const FILES: usize = 7;
const PREFIX: &str = "policydeck.";
const SUFFIX: &str = ".log";

/// The first thing that went wrong, in words; nothing while all is well.
pub type Trouble = watch::Receiver<Option<Arc<str>>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Daily {
    folder: PathBuf,
    today: fn() -> jiff::civil::Date,
    open: Option<(PathBuf, File)>,
    trouble: watch::Sender<Option<Arc<str>>>,
}

impl Daily {
    /// Opens today's file in a folder that is there.
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        let today = || jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut daily = Self { folder: folder.to_owned(), today, open: None, trouble: watch::Sender::new(None) };
        let path = daily.path();
        daily.file(path.clone()).map_err(|error| FileError::new("log to", &path, &error))?;
        Ok(daily)
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.subscribe()
    }

    /// Today's file. The name sorts by day.
    fn path(&self) -> PathBuf {
        self.folder.join(format!("{PREFIX}{}{SUFFIX}", (self.today)()))
    }

    /// Opens the file, unless it is open; a new day takes the oldest ones away.
    fn file(&mut self, path: PathBuf) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != path) {
            let file = open_private(File::options().append(true).create(true), &path)?;
            self.open = None;
            self.prune();
            return Ok(&mut self.open.insert((path, file)).1);
        }
        self.open.as_mut().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn prune(&self) {
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
        };
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(ours).collect();
        files.sort();
        for old in files.iter().rev().skip(FILES) {
            // What cannot be taken away stays; the next day tries again.
            let _ = fs::remove_file(old);
        }
    }
}

impl Write for Daily {
    /// Takes everything. What cannot be written is lost; the first time it is noted why. The next line tries again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let path = self.path();
        if let Err(error) = self.file(path.clone()).and_then(|file| file.write_all(bytes)) {
            self.open = None;
            self.trouble.send_if_modified(|trouble| {
                let first = trouble.is_none();
                trouble.get_or_insert_with(|| Arc::from(format!("the log cannot be written: {error}: {}", path.display())));
                first
            });
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_a_day_and_a_week_of_them() {
        let root = tempfile::tempdir().unwrap();
        for day in 10..20 {
            fs::write(root.path().join(format!("policydeck.2026-11-{day}.log")), "old").unwrap();
        }
        fs::write(root.path().join("notes.txt"), "not ours").unwrap();
        let mut daily = Daily::open(root.path()).unwrap();
        assert_eq!(names(root.path()).len(), FILES + 1, "{:?}", names(root.path()));
        daily.today = || jiff::civil::date(2126, 1, 2);
        daily.write_all(b"one\n").unwrap();
        daily.write_all(b"two\n").unwrap();
        let new = root.path().join("policydeck.2126-01-02.log");
        assert_eq!(fs::read_to_string(new).unwrap(), "one\ntwo\n");
        assert_eq!(names(root.path()).len(), FILES + 1, "{:?}", names(root.path()));
        assert!(root.path().join("notes.txt").exists() && daily.trouble().borrow().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_reads_it_also_where_an_earlier_version_wrote_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let path = Daily::open(root.path()).unwrap().path();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Daily::open(root.path()).unwrap());
        assert_eq!(mode(), 0o600);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_noted_once_and_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let mut daily = Daily::open(root.path()).unwrap();
        let path = daily.path();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        daily.open = None;
        let mut trouble = daily.trouble();
        daily.write_all(b"one\n").unwrap();
        daily.write_all(b"two\n").unwrap();
        assert!(trouble.borrow_and_update().as_ref().is_some_and(|why| why.contains("No space left") && why.contains('2')));
        fs::remove_file(&path).unwrap();
        daily.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert!(!trouble.has_changed().unwrap(), "said once");
    }
}
