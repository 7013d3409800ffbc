//! Reading whole files, and replacing them so that nobody ever sees half of one.

use super::FileError;
use super::owned::check_own;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// No configuration, kubeconfig, token or certificate is larger, in bytes.
const LARGEST_TEXT: u64 = 64 << 20;

/// Reads a text file: a regular one of at most 64 MiB.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let content = read_regular(path, LARGEST_TEXT)?;
    let no_text = |_| FileError::new("read", path, &io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"));
    String::from_utf8(content).map_err(no_text)
}

/// No object or plan is larger, in bytes: API servers take 3 MiB, and a plan holds each object a few times.
pub const LARGEST_PLAN: u64 = 256 << 20;

/// Reads a whole file of unknown origin: a regular file of at most `most` bytes. Opening a pipe can block, and a device may never end.
/// Only the null device is read, as empty: `KUBECONFIG=/dev/null` means none.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    if is_null(path) {
        return Ok(Vec::new());
    }
    let failed = |error: io::Error| FileError::new("read", path, &error);
    let file = open_regular(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > most {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, format!("it is larger than {} MiB", most >> 20))));
    }
    Ok(content)
}

/// Whether this is the null device.
pub(super) fn is_null(path: &Path) -> bool {
    cfg!(unix) && path == Path::new("/dev/null")
}

/// Opens a file for reading, and nothing that is no file: a FIFO, a socket or a device.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    without_waiting(&mut options);
    let file = options.open(path)?;
    be_regular(&file)?;
    Ok(file)
}

/// Opens a file for writing that only its owner may read, whatever the umask. One that is there with other permissions gets these.
pub(super) fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    without_waiting(options);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        be_private(&file)?;
    }
    Ok(file)
}

/// Opening a pipe without a reader or a writer would block.
fn without_waiting(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    #[cfg(not(unix))]
    let _ = options;
}

pub(super) fn be_regular(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")) }
}

#[cfg(unix)]
fn be_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = fs::Permissions::from_mode(0o600);
    if file.metadata()?.permissions().mode() & 0o777 == 0o600 { Ok(()) } else { file.set_permissions(permissions) }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
fn be_private(_: &File) -> io::Result<()> {
    Ok(())
}

/// Whether anything is there, a link that leads nowhere included.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Replaces or makes a file: written beside it, flushed to the disk, renamed, and the folder flushed.
///
/// The file may be read by its owner only, whatever the umask, and so may folders that are missing and made.
///
/// # Errors
/// What is there is a symbolic link or no regular file: whoever put it there may not have meant this file.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let failed = |error: io::Error| FileError::new("write", path, &error);
    let rejected = |why: String| failed(io::Error::new(io::ErrorKind::InvalidInput, why));
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => {
            let to = fs::read_link(path).map(|to| format!(" to {}", to.display())).unwrap_or_default();
            return Err(rejected(format!("it is a symbolic link{to}. Name the file itself, or remove the link")));
        }
        Ok(there) if !there.is_file() => return Err(rejected("it is not a regular file".to_owned())),
        _ => {}
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    make_folder(&folder)?;
    write_beside(&folder, path, content).map_err(failed)
}

/// Keeps a text in a new file of a folder of its own, under this name or the next one that is free; its path.
pub fn save_new(folder: &Path, stem: &str, extension: &str, text: &str) -> Result<PathBuf, FileError> {
    own_folder(folder)?;
    let mut path = folder.join(format!("{stem}.{extension}"));
    for count in 2..100 {
        // Nothing that is there is opened, so no link is followed.
        match open_private(File::options().write(true).create_new(true), &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => path = folder.join(format!("{stem}-{count}.{extension}")),
            Err(error) => return Err(FileError::new("write", &path, &error)),
            Ok(mut file) => {
                return match file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
                    Ok(()) => Ok(path),
                    Err(error) => {
                        // Half a file is none.
                        let _ = fs::remove_file(&path);
                        Err(FileError::new("write", &path, &error))
                    }
                };
            }
        }
    }
    Err(FileError::new("write", &path, &io::ErrorKind::AlreadyExists.into()))
}

fn write_beside(folder: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    // tempfile takes it away again when anything below fails.
    let mut temporary = tempfile::Builder::new().prefix(".policydeck-").tempfile_in(folder)?;
    be_private(temporary.as_file())?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target)?;
    // The rename is only safe from a power cut when the folder is on the disk, too. Windows cannot open folders, and need not.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Makes a folder, and those above it, that only its owner may enter, whatever the umask. One that is there stays as it is.
pub(super) fn make_folder(folder: &Path) -> Result<(), FileError> {
    let failed = |error: io::Error| FileError::new("make the folder", folder, &error);
    let missing: Vec<&Path> = folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    for part in missing.into_iter().rev() {
        match fs::create_dir(part) {
            // Another process makes it at the same time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.and_then(|()| close_folder(part)).map_err(failed)?,
        }
    }
    if folder.is_dir() || folder.as_os_str().is_empty() { Ok(()) } else { Err(failed(io::ErrorKind::NotADirectory.into())) }
}

/// Lets only the owner into a folder.
#[cfg(unix)]
pub(super) fn close_folder(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
pub(super) fn close_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The same for a folder of records. One that others could change is rejected, as ssh rejects its own.
pub(super) fn own_folder(folder: &Path) -> Result<(), FileError> {
    make_folder(folder)?;
    check_own(folder)
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
    fn nothing_is_written_through_a_link_or_into_what_is_no_file() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        write_atomic(&real, b"one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let error = write_atomic(&link, b"two").unwrap_err();
        assert!(error.what.contains(&format!("it is a symbolic link to {}", real.display())), "{error}");
        assert_eq!(read_text(&real).unwrap(), "one");
        let why = |path: &Path| write_atomic(path, b"x").unwrap_err().what;
        assert!(why(&pipe(root.path())).ends_with("it is not a regular file"));
        assert!(why(Path::new("/dev/null")).ends_with("it is not a regular file"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_saved_is_a_new_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("saved");
        make_folder(&folder).unwrap();
        let other = root.path().join("other");
        fs::write(&other, "as it was").unwrap();
        std::os::unix::fs::symlink(&other, folder.join("screen.txt")).unwrap();
        assert_eq!(save_new(&folder, "screen", "txt", "one").unwrap(), folder.join("screen-2.txt"));
        assert_eq!(save_new(&folder, "screen", "txt", "two").unwrap(), folder.join("screen-3.txt"));
        assert_eq!((read_text(&other).unwrap().as_str(), read_text(&folder.join("screen-2.txt")).unwrap().as_str()), ("as it was", "one"));
    }

    /// A FIFO in a folder.
    #[cfg(unix)]
    fn pipe(folder: &Path) -> PathBuf {
        let pipe = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        pipe
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
            let pipe = pipe(root.path());
            assert!(open_private(File::options().append(true), &pipe).is_err(), "it would wait for a reader");
            assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
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
