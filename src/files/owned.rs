//! Folders and files that only this user can change, as ssh's `StrictModes` checks its own (OpenSSH `misc.c`, `safe_path`).
//!
//! What lives here: the owner and the permissions of a file or a folder, and of the folders above it. What does not: making them (`atomic`).

use super::FileError;
use std::path::Path;

/// Rejects a folder that another user owns or that others may write to, and one that others could replace, because they may change a folder above it.
/// A folder that does not exist passes if the folders above it do.
///
/// # Errors
/// The folder that others could change, and the remedy.
#[cfg(unix)]
pub fn check_own(folder: &Path) -> Result<(), FileError> {
    let home = directories::BaseDirs::new().map(|base| base.home_dir().to_path_buf());
    Place::now(folder, home.as_deref()).check()
}

/// Permissions are another matter here.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
pub fn check_own(_: &Path) -> Result<(), FileError> {
    Ok(())
}

/// Rejects a file that belongs to another user, or that others may write to, where what it says is to be trusted. Files of root are accepted.
#[cfg(unix)]
pub(super) fn be_owned(file: &std::fs::File, path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::MetadataExt as _;
    let there = file.metadata().map_err(|error| FileError::new("read", path, &error))?;
    let (me, place) = (rustix::process::geteuid().as_raw(), path.display());
    if there.uid() != me && there.uid() != 0 {
        return rejected(format!("the file {place} belongs to another user (uid {}): chown it to yourself or to root", there.uid()));
    }
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if there.mode() & if in_pod { 0o002 } else { 0o022 } != 0 {
        let mode = there.mode() & 0o7777;
        return rejected(format!("other users may write to the file {place} (mode {mode:04o}): chmod go-w {place}"));
    }
    Ok(())
}

/// Permissions are another matter here.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same face as on unix")]
pub(super) fn be_owned(_: &std::fs::File, _: &Path) -> Result<(), FileError> {
    Ok(())
}

/// A folder, and who it must belong to.
#[cfg(unix)]
struct Place<'a> {
    folder: &'a Path,
    /// The folders above a home folder belong to the administrator.
    home: Option<&'a Path>,
    me: u32,
    /// Whether a user is alone in a group.
    is_alone: fn(u32, u32) -> bool,
    /// In a pod there is no other user. The kubelet gives what is on a volume to the group of `fsGroup`, and lets everyone write to an `emptyDir`.
    in_pod: bool,
}

#[cfg(unix)]
impl<'a> Place<'a> {
    fn now(folder: &'a Path, home: Option<&'a Path>) -> Self {
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Self { folder, home, me: rustix::process::geteuid().as_raw(), is_alone, in_pod }
    }

    fn check(&self) -> Result<(), FileError> {
        self.itself()?;
        if self.in_pod {
            return Ok(());
        }
        let failed = |error: std::io::Error| FileError::new("find the folder", self.folder, &error);
        let written = std::path::absolute(self.folder).map_err(failed)?;
        self.link(&written)?;
        self.above(written.ancestors().skip(1))?;
        // Where links lead: the folder itself, or, before it is made, the last one above it that exists.
        let Some((part, real)) = written.ancestors().find_map(|part| Some((part, std::fs::canonicalize(part).ok()?))) else {
            return Ok(());
        };
        self.above(real.ancestors().skip(usize::from(part == written)))
    }

    /// The folder's own owner and mode.
    fn itself(&self) -> Result<(), FileError> {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(there) = std::fs::metadata(self.folder) else { return Ok(()) };
        let (me, place) = (self.me, self.folder.display());
        if self.is_foreign(there.uid()) {
            let owner = there.uid();
            return rejected(format!(
                "the folder {place} belongs to another user (uid {owner}). Run policydeck as that user, or make the folder yours: chown -R {me} {place}"
            ));
        }
        if there.mode() & if self.in_pod { 0o002 } else { 0o022 } != 0 {
            let mode = there.mode() & 0o7777;
            return rejected(format!("other users may write to the folder {place} (mode {mode:04o}): chmod 700 {place}"));
        }
        Ok(())
    }

    /// The folders above it, up to the home folder.
    fn above<'b>(&self, parents: impl Iterator<Item = &'b Path>) -> Result<(), FileError> {
        for parent in parents {
            self.parent(parent)?;
            if self.home.is_some_and(|home| home == parent || std::fs::canonicalize(home).is_ok_and(|home| home == parent)) {
                break;
            }
        }
        Ok(())
    }

    /// Others may not put another folder in its place. In a sticky folder, as `/tmp` is, they may only change what is their own.
    fn parent(&self, parent: &Path) -> Result<(), FileError> {
        use std::os::unix::fs::MetadataExt as _;
        self.link(parent)?;
        let Ok(there) = std::fs::metadata(parent) else { return Ok(()) };
        // Nothing can be in `/dev/null`, which some accounts have for a home folder: that is told where something is to be put there.
        if !there.is_dir() {
            return Ok(());
        }
        let (me, place, folder) = (self.me, parent.display(), self.folder.display());
        if self.is_foreign(there.uid()) {
            let owner = there.uid();
            return rejected(format!(
                "the folder {place} belongs to another user (uid {owner}), who can replace {folder}. Use a folder of your own, or make that one yours: chown {me} {place}"
            ));
        }
        let by_group = there.mode() & 0o020 != 0 && !(self.is_alone)(self.me, there.gid());
        if (by_group || there.mode() & 0o002 != 0) && there.mode() & 0o1000 == 0 {
            let mode = there.mode() & 0o7777;
            return rejected(format!(
                "other users may write to the folder {place} (mode {mode:04o}) and can replace {folder}: chmod go-w {place}"
            ));
        }
        Ok(())
    }

    /// A link of another user can lead elsewhere at any time.
    fn link(&self, part: &Path) -> Result<(), FileError> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::symlink_metadata(part) {
            Ok(there) if there.is_symlink() && self.is_foreign(there.uid()) => {
                let (owner, place) = (there.uid(), part.display());
                rejected(format!(
                    "the link {place} belongs to another user (uid {owner}), who can lead it elsewhere. Use a folder of your own"
                ))
            }
            _ => Ok(()),
        }
    }

    /// root can change everything anyway, and owns volumes that are mounted.
    fn is_foreign(&self, owner: u32) -> bool {
        owner != self.me && owner != 0
    }
}

/// Whether a group has no other member: systems that give each user a group of their own make folders that the group may write to (umask 002).
#[cfg(unix)]
fn is_alone(me: u32, group: u32) -> bool {
    let [users, groups] = ["/etc/passwd", "/etc/group"].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    is_private(&users, &groups, me, group)
}

/// Whether this user is the only member of a group, by passwd(5) and group(5). A group that is not listed there may have any members.
#[cfg(unix)]
fn is_private(users: &str, groups: &str, me: u32, group: u32) -> bool {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let users: Vec<Vec<String>> = users.lines().map(fields).collect();
    let number = |fields: &[String], place: usize| fields.get(place).and_then(|text| text.parse::<u32>().ok());
    let is_me = |name: &str| users.iter().any(|user| user.first().is_some_and(|known| known == name) && number(user, 2) == Some(me));
    let listed: Vec<Vec<String>> = groups.lines().map(fields).filter(|one| number(one, 2) == Some(group)).collect();
    let members = listed.iter().filter_map(|one| one.get(3)).flat_map(|members| members.split(',')).filter(|name| !name.is_empty());
    let others = users.iter().filter(|user| number(user, 3) == Some(group) && number(user, 2) != Some(me));
    !listed.is_empty() && members.into_iter().all(is_me) && others.count() == 0
}

#[cfg(unix)]
fn rejected(what: String) -> Result<(), FileError> {
    Err(FileError { what, kind: std::io::ErrorKind::InvalidInput })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::files::atomic::own_folder;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    fn set(folder: &Path, mode: u32) {
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }

    fn place<'a>(folder: &'a Path, home: Option<&'a Path>, in_pod: bool) -> Place<'a> {
        Place { in_pod, is_alone: |_, _| false, ..Place::now(folder, home) }
    }

    /// Why a folder is rejected; empty if it is not.
    fn why(folder: &Path, home: Option<&Path>, in_pod: bool) -> String {
        place(folder, home, in_pod).check().err().map(|error| error.what).unwrap_or_default()
    }

    #[test]
    fn folders_that_others_can_change_are_rejected() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data");
        assert!(check_own(&folder).is_ok(), "one that is missing is made");
        own_folder(&folder).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o750, true), (0o770, false), (0o775, false), (0o702, false), (0o1777, false)] {
            set(&folder, mode);
            let checked = own_folder(&folder);
            assert_eq!(checked.is_ok(), good, "{mode:o}: {checked:?}");
            if let Err(error) = checked {
                assert!(
                    error.what.ends_with(&format!("chmod 700 {}", folder.display())) && error.what.contains(&format!("{mode:04o}")),
                    "{error}"
                );
            }
        }
        for (mode, good) in [(0o2770, true), (0o777, false)] {
            set(&folder, mode);
            assert_eq!(why(&folder, None, true).is_empty(), good, "in a pod: {mode:o}");
        }
        set(&folder, 0o700);
        // Only root can give a folder away.
        if rustix::process::geteuid().is_root() {
            chown(&folder, Some(12_345), None).unwrap();
            let error = own_folder(&folder).unwrap_err();
            assert!(error.what.contains("belongs to another user (uid 12345)") && error.what.contains("chown -R 0"), "{error}");
        }
    }

    #[test]
    fn what_is_no_folder_cannot_be_written_into() {
        assert_eq!(why(Path::new("/dev/null/.local/share/policydeck"), Some(Path::new("/dev/null")), false), "");
    }

    #[test]
    fn a_private_group_has_no_other_member() {
        let users =
            "root:x:0:0::/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\neve:x:1002:100::/:/bin/sh\n";
        let groups = "root:x:0:\nana:x:1000:\nusers:x:100:\nmine:x:50:ana\nteam:x:51:ana,bob\nempty:x:52:\nodd\n";
        let table = [(1000, 1000, true), (1001, 1000, false), (1001, 100, false), (1000, 50, true), (1000, 51, false), (1001, 50, false)];
        for (me, group, private) in table {
            assert_eq!(is_private(users, groups, me, group), private, "{me} in {group}");
        }
        assert!(is_private(users, groups, 1000, 52) && !is_private(users, groups, 1000, 999), "one that is listed nowhere may be anyone's");
    }

    #[test]
    fn folders_that_others_can_replace_are_rejected() {
        let root = tempfile::tempdir().unwrap();
        let (home, folder) = (root.path().join("home"), root.path().join("home/share/policydeck"));
        own_folder(&folder).unwrap();
        let share = home.join("share");
        for (mode, good) in [(0o755, true), (0o777, false), (0o775, false), (0o1777, true), (0o1775, true), (0o757, false)] {
            set(&share, mode);
            let why = why(&folder, None, false);
            assert_eq!(why.is_empty(), good, "{mode:o}: {why}");
            let remedy = format!("(mode {mode:04o}) and can replace {}: chmod go-w {}", folder.display(), share.display());
            assert!(good || why.ends_with(&remedy), "{why}");
        }
        set(&share, 0o775);
        assert!(Place { is_alone: |_, _| true, ..place(&folder, None, false) }.check().is_ok(), "the group has no other member");
        set(&share, 0o777);
        assert!(!why(&share.join("other"), None, false).is_empty(), "also before it is made");
        assert!(why(&folder, None, true).is_empty(), "in a pod there is no other user");
        assert!(why(&folder, Some(&share.join("..")), false).contains("chmod go-w"), "it is below the home folder");
        set(&share, 0o755);
        set(root.path(), 0o777);
        assert!(!why(&folder, None, false).is_empty(), "folders further up count");
        assert!(why(&folder, Some(&home), false).is_empty(), "above the home folder is the administrator's");
        assert!(!why(&root.path().join("elsewhere"), Some(&home), false).is_empty(), "it is not below the home folder");
    }

    #[test]
    fn links_are_checked_where_they_are_and_where_they_lead() {
        let root = tempfile::tempdir().unwrap();
        let (open, own) = (root.path().join("open"), root.path().join("own"));
        own_folder(&open).unwrap();
        own_folder(&own.join("data")).unwrap();
        symlink(&own, open.join("link")).unwrap();
        let folder = open.join("link/data");
        assert_eq!(why(&folder, None, false), "");
        set(&open, 0o777);
        assert!(why(&folder, None, false).contains("/open (mode 0777)"), "others can replace the link");
        set(&open, 0o755);
        set(&own, 0o777);
        assert!(why(&folder, None, false).contains("(mode 0777)"), "others can replace what it leads to");
        set(&own, 0o755);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(open.join("link"), Some(12_345), None).unwrap();
            let why = why(&folder, None, false);
            assert!(why.contains("the link") && why.contains("uid 12345"), "{why}");
        }
    }

    #[test]
    fn folders_below_another_users_are_rejected() {
        // Only root can give a folder away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let (other, folder) = (root.path().join("other"), root.path().join("other/data"));
        own_folder(&folder).unwrap();
        for mode in [0o700, 0o1777] {
            set(&other, mode);
            chown(&other, Some(12_345), None).unwrap();
            let why = why(&folder, None, false);
            let remedy = format!("Use a folder of your own, or make that one yours: chown 0 {}", other.display());
            assert!(why.contains("belongs to another user (uid 12345), who can replace") && why.ends_with(&remedy), "{why}");
        }
    }
}
