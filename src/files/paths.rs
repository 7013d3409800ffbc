//! Where things are kept on this platform.

use super::FileError;
use super::owned::check_own;
use directories::{BaseDirs, ProjectDirs};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The program's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// Archives, history and journal.
    pub data: PathBuf,
    /// Logs.
    pub logs: PathBuf,
    /// What can be fetched again: private copies of git repositories.
    pub cache: PathBuf,
}

impl Paths {
    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// The folder of archives, unless the configuration names another.
    pub fn archives(&self) -> PathBuf {
        self.data.join("archives")
    }

    /// The folder of saved screens.
    pub fn saved(&self) -> PathBuf {
        self.data.join("saved")
    }

    /// Whether the folders where records are kept belong to this user alone. Those that are missing are made when they are needed.
    ///
    /// # Errors
    /// The folder that others could change, and the remedy.
    pub fn check_own(&self) -> Result<(), FileError> {
        [&self.data, &self.journal(), &self.archives()].into_iter().try_for_each(|folder| check_own(folder))
    }

    /// The folder of private copies of git repositories.
    pub fn repositories(&self) -> PathBuf {
        self.cache.join("git")
    }

    /// The folders of this user on this platform. Nothing is made.
    pub fn find() -> Result<Self, FileError> {
        let project = ProjectDirs::from("dev", "policydeck", "policydeck").ok_or_else(no_home)?;
        Ok(Self {
            config: project.config_dir().join("config.toml"),
            data: project.data_dir().to_path_buf(),
            logs: project.state_dir().unwrap_or_else(|| project.data_local_dir()).join("logs"),
            cache: project.cache_dir().to_path_buf(),
        })
    }
}

fn no_home() -> FileError {
    FileError {
        what: "there is no home folder to keep the configuration in: set HOME, or name the file with --config".into(),
        kind: ErrorKind::NotFound,
    }
}

/// A path as it may be written in a configuration: `~/…` is the home folder, anything relative starts at `base`.
pub fn expand(written: &Path, base: &Path) -> Result<PathBuf, FileError> {
    match written.strip_prefix("~") {
        Ok(rest) => Ok(BaseDirs::new().ok_or_else(no_home)?.home_dir().join(rest)),
        Err(_) => Ok(base.join(written)),
    }
}

/// The kubeconfigs that count: the one named, else those of `KUBECONFIG` that exist, else `~/.kube/config` if it exists.
pub fn kubeconfigs(named: Option<&Path>, variable: Option<&OsStr>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_path_buf()];
    }
    let listed: Vec<PathBuf> = variable.map(|list| std::env::split_paths(list).collect()).unwrap_or_default();
    let listed: Vec<PathBuf> = listed.into_iter().filter(|path| !path.as_os_str().is_empty()).collect();
    // As kubectl does: where the variable says something, the default is not looked at, and files that are missing are skipped.
    let candidates =
        if listed.is_empty() { BaseDirs::new().map(|base| base.home_dir().join(".kube/config")).into_iter().collect() } else { listed };
    candidates.into_iter().filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_base() {
        assert_eq!(expand(Path::new("kube/prod"), Path::new("/etc/deck")).unwrap(), Path::new("/etc/deck/kube/prod"));
        assert_eq!(expand(Path::new("/kube/prod"), Path::new("/etc/deck")).unwrap(), Path::new("/kube/prod"));
    }

    #[test]
    fn kubeconfig_may_name_several_files_and_missing_ones_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        std::fs::write(&two, "").unwrap();
        let list = std::env::join_paths([&one, &two]).unwrap();
        assert_eq!(kubeconfigs(None, Some(&list)), vec![two]);
        assert_eq!(kubeconfigs(Some(&one), Some(&list)), vec![one]);
    }
}
