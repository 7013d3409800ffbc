//! Who runs the program, for the journal and for archives.

use crate::domain::journal::Who;
use std::env::var_os;
use std::fs::read_to_string;

/// The user of the operating system and the machine's name; `kubeconfig_user` is whom the cluster sees.
///
/// The user is the one the system knows by number: variables say what somebody wants to be called, and count only where the system has no name.
pub fn who(kubeconfig_user: Option<String>) -> Who {
    Who { user: user(), kubeconfig_user, host: host() }
}

#[cfg(unix)]
fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let known = read_to_string("/etc/passwd").ok().and_then(|passwd| name_in(&passwd, uid));
    known.or_else(|| ["USER", "LOGNAME"].into_iter().find_map(variable)).unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(not(unix))]
fn user() -> String {
    variable("USERNAME").unwrap_or_default()
}

/// The name of a user in the lines of `passwd(5)`.
#[cfg(unix)]
fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

fn host() -> String {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let file =
        files.into_iter().find_map(|file| read_to_string(file).ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    file.or_else(|| ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(variable)).unwrap_or_default()
}

fn variable(name: &str) -> Option<String> {
    var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn users_have_the_name_that_belongs_to_their_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\n# a comment\nana:x:1000:1000:Ana:/home/ana:/bin/sh\n:x:7:7::/:\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("ana"));
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!((name_in(passwd, 100), name_in(passwd, 7), name_in("", 0)), (None, None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn somebody_runs_this_somewhere() {
        let who = who(Some("admin".into()));
        assert!(!who.user.is_empty() && !who.host.is_empty() && who.to_string().ends_with(" as admin"), "{who:?}");
    }
}
