//! Reading whole files, and replacing them so that nobody ever sees half of one.

use super::FileError;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| FileError::new("read", path, &error))
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
    fn errors_name_the_file() {
        let error = read_text(Path::new("/nonexistent/config.toml")).unwrap_err();
        assert!(error.what.contains("/nonexistent/config.toml"), "{error}");
        assert_eq!(error.kind, io::ErrorKind::NotFound);
    }
}
