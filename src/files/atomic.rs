//! Reading whole files, and replacing them so that nobody ever sees half of one.

use super::FileError;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| FileError::new("read", path, &error))
}

/// No object or plan is larger, in bytes: API servers take 3 MiB, and a plan holds each object a few times.
pub const LARGEST_PLAN: u64 = 256 << 20;

/// Reads a whole file of unknown origin: a regular file of at most `most` bytes. Opening a pipe can block, and a device may never end.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| FileError::new("read", path, &error);
    let rejected = |why: &str| FileError { what: format!("cannot read {}: {why}", path.display()), kind: io::ErrorKind::InvalidInput };
    let mut options = File::options();
    options.read(true);
    // Opening a pipe without a writer would block.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(rejected("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > most {
        return Err(rejected(&format!("it is larger than {} MiB", most >> 20)));
    }
    Ok(content)
}

/// Whether anything is there, a link that leads nowhere included.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Replaces or makes a file: written beside it, flushed to the disk, renamed, and the folder flushed.
///
/// The file may be read by its owner only, and so may folders that are missing and made. A link is followed, not replaced.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    make_folder(&folder)?;
    write_beside(&folder, &target, content).map_err(|error| FileError::new("write", path, &error))
}

fn write_beside(folder: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    // tempfile makes it with mode 0600 and takes it away again when anything below fails.
    let mut temporary = tempfile::Builder::new().prefix(".policydeck-").tempfile_in(folder)?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target)?;
    // The rename is only safe from a power cut when the folder is on the disk, too. Windows cannot open folders, and need not.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Makes a folder, and those above it, that only its owner may enter.
pub(super) fn make_folder(folder: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| FileError::new("make the folder", folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_replaced_and_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/config.toml");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(read_text(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        write_atomic(&real, b"one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read_text(&real).unwrap(), "two");
    }

    #[test]
    fn only_regular_files_of_a_size_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("plan");
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(read_regular(&path, 1 << 20).unwrap().len(), 1 << 20);
        fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        let why = |path: &Path| read_regular(path, 1 << 20).unwrap_err().what;
        assert!(why(&path).ends_with("it is larger than 1 MiB"), "{}", why(&path));
        assert!(why(root.path()).contains(&root.path().display().to_string()));
        #[cfg(unix)]
        {
            let pipe = root.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert!(why(&pipe).ends_with("it is not a regular file"), "{}", why(&pipe));
            assert!(why(Path::new("/dev/zero")).ends_with("it is not a regular file"));
        }
    }

    #[test]
    fn errors_name_the_file() {
        let error = read_text(Path::new("/nonexistent/config.toml")).unwrap_err();
        assert!(error.what.contains("/nonexistent/config.toml"), "{error}");
        assert_eq!(error.kind, io::ErrorKind::NotFound);
    }
}
