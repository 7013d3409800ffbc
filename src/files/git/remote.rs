//! The address of a repository, apart from what opens it.
//!
//! What lives here: the private copy's configuration. git repeats a remote's URL as an argument of its own helper (`git remote-https origin URL`), which
//! every user of the machine can read; so the URL has no userinfo there. The password is in a file of its own in the form of git-credential-store(1),
//! the user in the configuration.

use std::fmt::Write as _;
use std::path::Path;

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// The URL as processes may see it.
    pub(super) url: String,
    /// The user, percent-encoding undone.
    user: Option<String>,
    /// The line of the credential store, where there is a password.
    pub(super) stored: Option<String>,
}

impl Remote {
    pub(super) fn of(url: &str) -> Self {
        let plain = || Self { url: url.to_owned(), user: None, stored: None };
        let Some((scheme, rest)) = url.split_once("://") else { return plain() };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let Some((userinfo, host)) = authority.rsplit_once('@') else { return plain() };
        let (user, password) = userinfo.split_once(':').map_or((userinfo, None), |(user, password)| (user, Some(password)));
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            // ssh takes no password from a URL; it would only be shown.
            return Self { url: format!("{scheme}://{user}@{host}{path}"), user: None, stored: None };
        }
        Self {
            url: format!("{scheme}://{host}{path}"),
            user: Some(decoded(user)).filter(|user| !user.is_empty()),
            stored: password.map(|password| format!("{scheme}://{user}:{password}@{host}\n")),
        }
    }

    /// The configuration of the private copy; `store` is the file with the password.
    pub(super) fn config(&self, store: &Path) -> String {
        let mut out = format!("[core]\n\trepositoryformatversion = 0\n\tbare = true\n[remote \"origin\"]\n\turl = {}\n", quoted(&self.url));
        if self.user.is_some() || self.stored.is_some() {
            out.push_str("[credential]\n\tuseHttpPath = false\n");
        }
        if let Some(user) = &self.user {
            let _ = writeln!(out, "\tusername = {}", quoted(user));
        }
        if self.stored.is_some() {
            // The empty one leaves out the user's own helpers: the configuration names the password that is meant.
            let file = store.to_string_lossy().replace('\'', "'\\''");
            let _ = writeln!(out, "\thelper =\n\thelper = {}", quoted(&format!("store --file='{file}'")));
        }
        out
    }
}

/// A value of a git configuration (git-config(1), "Syntax").
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Percent-encoding undone, as git does in a URL.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let escaped = hex.filter(|_| *byte == b'%');
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_repository_is_no_part_of_its_url() {
        for (url, expected, user, stored) in [
            ("https://jane:p%40ss@h:8443/p.git", "https://h:8443/p.git", Some("jane"), Some("https://jane:p%40ss@h:8443\n")),
            ("https://j%40corp:p@h/p", "https://h/p", Some("j@corp"), Some("https://j%40corp:p@h\n")),
            ("https://ghp_token@h/p", "https://h/p", Some("ghp_token"), None),
            ("HTTP://:p@h", "HTTP://h", None, Some("HTTP://:p@h\n")),
            ("https://h/a@b:c", "https://h/a@b:c", None, None),
            ("ssh://git:p@h/p", "ssh://git@h/p", None, None),
            ("ssh://git@h/p", "ssh://git@h/p", None, None),
            ("git@h:p.git", "git@h:p.git", None, None),
            ("/srv/p.git", "/srv/p.git", None, None),
        ] {
            let remote = Remote::of(url);
            assert_eq!((remote.url.as_str(), remote.user.as_deref(), remote.stored.as_deref()), (expected, user, stored), "{url}");
        }
    }
}
