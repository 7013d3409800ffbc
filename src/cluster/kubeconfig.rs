//! The kubeconfig: which entries of which files an environment is about, and whether these have changed since.
//!
//! What lives here: reading and choosing, and a task that looks at the files every few seconds. What does not: clients ([`super::connect`]).

use super::ClusterSpec;
use super::address::shown;
use super::contained::contain;
use super::entries::{Entries, one_by_one};
use super::refusal::{deepest, outline};
use crate::files::{Stamp, content, readable, stamp};
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at. A change counts when a second look finds them at rest: kubectl does not write them in one go.
const LOOK: Duration = Duration::from_secs(2);

/// How many contexts an error names.
const KNOWN: usize = 20;

/// A kubeconfig and the context that was chosen in it.
pub(super) struct Chosen {
    pub(super) kubeconfig: Kubeconfig,
    pub(super) context: String,
}

/// What of a kubeconfig concerns an environment, as hashes: other contexts come and go without consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Concern {
    /// The server, and how it is known to be the right one.
    pub(super) cluster: u64,
    /// The credentials.
    pub(super) user: u64,
}

/// Whether the environment is the cluster that this program runs in.
pub(super) fn is_in_cluster(spec: &ClusterSpec) -> bool {
    let named = spec.kubeconfig.is_some() || spec.context.is_some() || std::env::var_os("KUBECONFIG").is_some();
    !named && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Reads the kubeconfig and chooses the environment's context in it.
pub(super) fn choose(spec: &ClusterSpec) -> Result<Chosen, String> {
    let Entries { config: kubeconfig, invalid } = read(spec)?;
    let context = spec.context.clone().or_else(|| kubeconfig.current_context.clone());
    let Some(context) = context else {
        return Err("the kubeconfig has no current context; name one with --context or in the configuration".to_owned());
    };
    if let Some(why) = invalid.get(&("contexts", context.clone())) {
        return Err(why.clone());
    }
    if !kubeconfig.contexts.iter().any(|named| named.name == context) {
        let known: Vec<String> = kubeconfig.contexts.iter().take(KNOWN).map(|named| shown(&named.name)).collect();
        return Err(format!(
            "the kubeconfig has no context \"{}\"; it has {}{}",
            shown(&context),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            if kubeconfig.contexts.len() > KNOWN { " and more" } else { "" }
        ));
    }
    let chosen = Chosen { kubeconfig, context };
    let (cluster, user) = chosen.names();
    let entries = [("clusters", cluster.to_owned()), ("users", user.to_owned())];
    match entries.iter().find_map(|entry| invalid.get(entry)) {
        Some(why) => Err(why.clone()),
        None => Ok(chosen),
    }
}

fn read(spec: &ClusterSpec) -> Result<Entries, String> {
    let mut entries = merged(&own_files(spec), spec.kubeconfig.is_some())?;
    // An absent context is told in our words, with the names there are.
    entries.config.contexts.retain(|named| named.context.is_some());
    Ok(entries)
}

/// All files as one, as kubectl merges them: of those that `KUBECONFIG` lists, the missing ones are left out.
fn merged(files: &[PathBuf], is_named: bool) -> Result<Entries, String> {
    let mut merged: Option<Entries> = None;
    for path in files {
        let wrong = |error: KubeconfigError| unread(path, &error);
        match readable(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => continue,
            Err(error) => return Err(format!("{}: {}", path.display(), deepest(&error))),
            Ok(()) => {}
        }
        // kube 5.0 panics over half a character of UTF-16 (config/file_config.rs, `read_path`).
        let read = contain(|| Kubeconfig::read_from(path)).map_err(|_| format!("{}: it is not text", path.display()))?;
        let next = match read {
            Err(error @ KubeconfigError::Parse(_)) => one_by_one(path).ok_or_else(|| wrong(error))?,
            read => Entries { config: read.map_err(wrong)?, invalid: BTreeMap::new() },
        };
        merged = Some(match merged {
            Some(before) => before.merge(next).map_err(wrong)?,
            None => next,
        });
    }
    merged.ok_or_else(|| {
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        format!(
            "there is no kubeconfig: {}",
            if files.is_empty() { "no home folder".to_owned() } else { format!("no file {}", files.join(", ")) }
        )
    })
}

/// Why a kubeconfig cannot be read: the place in the file, never its text, which may be a token.
fn unread(path: &Path, error: &KubeconfigError) -> String {
    let path = path.display();
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("{path}:{}:{}: not a kubeconfig: no valid YAML, or a field of another type", at.line(), at.column()),
            None => format!("{path}: not a kubeconfig"),
        },
        error => format!("{path}: {}", outline(error)),
    }
}

impl Chosen {
    /// What the context names: a cluster and a user.
    fn names(&self) -> (&str, &str) {
        let context = self.kubeconfig.contexts.iter().find(|named| named.name == self.context).and_then(|named| named.context.as_ref());
        context.map_or(("", ""), |context| (context.cluster.as_str(), context.user.as_deref().unwrap_or_default()))
    }

    fn entries(&self) -> (Option<&Cluster>, Option<&AuthInfo>) {
        let (cluster, user) = self.names();
        let cluster = self.kubeconfig.clusters.iter().find(|named| named.name == cluster);
        let user = self.kubeconfig.auth_infos.iter().find(|named| named.name == user);
        (cluster.and_then(|named| named.cluster.as_ref()), user.and_then(|named| named.auth_info.as_ref()))
    }

    /// Whether the context's cluster names a proxy of its own.
    pub(super) fn names_proxy(&self) -> bool {
        self.entries().0.is_some_and(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()))
    }

    /// Looks whether the files can be read that the entries name; else which cannot, in kubectl's words.
    pub(super) fn check_files(&self) -> Result<(), String> {
        let ((cluster_name, user_name), (cluster, user)) = (self.names(), self.entries());
        // Data beside a file comes before it.
        let authority =
            cluster.filter(|cluster| cluster.certificate_authority_data.is_none()).and_then(|c| c.certificate_authority.as_ref());
        let certificate = user.filter(|user| user.client_certificate_data.is_none()).and_then(|user| user.client_certificate.as_ref());
        let key = user.filter(|user| user.client_key_data.is_none()).and_then(|user| user.client_key.as_ref());
        let token = user.filter(|user| user.token.is_none()).and_then(|user| user.token_file.as_ref());
        let files = [
            ("certificate-authority", authority, cluster_name),
            ("client-certificate", certificate, user_name),
            ("client-key", key, user_name),
            ("tokenFile", token, user_name),
        ];
        for (what, path, of) in files {
            if let Some(path) = path
                && let Err(error) = readable(Path::new(path))
            {
                let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
                return Err(format!("context {}: cannot read {what} {} of {of}: {}", self.context, path.display(), deepest(&error)));
            }
        }
        Ok(())
    }

    /// The token of a token file that a client library would not take as it is: kubectl trims what surrounds it.
    pub(super) fn take_untidy_token(&mut self) {
        let Some(token) = self.untidy_token() else { return };
        let user = self.names().1.to_owned();
        let entry = self.kubeconfig.auth_infos.iter_mut().find(|named| named.name == user);
        if let Some(auth) = entry.and_then(|named| named.auth_info.as_mut()) {
            (auth.token, auth.token_file) = (Some(token.into()), None);
        }
    }

    fn untidy_token(&self) -> Option<String> {
        let user = self.entries().1.filter(|user| user.token.is_none())?;
        let text = String::from_utf8(content(Path::new(user.token_file.as_ref()?))?).ok()?;
        (text.trim() != text).then(|| text.trim().to_owned())
    }

    /// What concerns the environment. A token file is not part of it: the client reads it again by itself. One that is not taken as it is
    /// ([`Chosen::take_untidy_token`]) is.
    pub(super) fn concern(&self) -> Concern {
        let (cluster, user) = self.entries();
        // Extensions are notes of tools, such as the time of the last start.
        let cluster = cluster.map(|cluster| Cluster { extensions: None, ..cluster.clone() });
        let authority = cluster.as_ref().and_then(|cluster| cluster.certificate_authority.as_ref());
        let user = user.map(|user| AuthInfo { extensions: None, ..user.clone() });
        let token = user.as_ref().and_then(|user| user.token_file.as_ref()).filter(|_| self.untidy_token().is_some());
        let identity = user.iter().flat_map(|user| [user.client_certificate.as_ref(), user.client_key.as_ref()]).flatten().chain(token);
        Concern { cluster: hash(cluster.as_ref(), authority.into_iter()), user: hash(user.as_ref(), identity) }
    }

    /// The files that the entries name, whose content counts as theirs.
    fn files(&self) -> Vec<PathBuf> {
        let (cluster, user) = self.entries();
        let authority = cluster.and_then(|cluster| cluster.certificate_authority.as_ref());
        let named = |user: &&AuthInfo| [user.client_certificate.clone(), user.client_key.clone(), user.token_file.clone()];
        let identity = user.iter().flat_map(named).flatten().collect::<Vec<_>>();
        let identity = identity.iter();
        authority.into_iter().chain(identity).map(PathBuf::from).collect()
    }
}

/// An entry and the files it names. As a JSON value, in which keys have an order.
fn hash<'a>(entry: Option<&impl serde::Serialize>, files: impl Iterator<Item = &'a String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.and_then(|entry| serde_json::to_value(entry).ok()).map(|value| value.to_string()).hash(&mut hasher);
    for file in files {
        content(Path::new(file)).hash(&mut hasher);
    }
    hasher.finish()
}

/// The kubeconfig's own files.
fn own_files(spec: &ClusterSpec) -> Vec<PathBuf> {
    match (&spec.kubeconfig, std::env::var_os("KUBECONFIG")) {
        (Some(path), _) => vec![path.clone()],
        (None, Some(list)) if std::env::split_paths(&list).any(|path| !path.as_os_str().is_empty()) => {
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
        }
        (None, _) => std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect(),
    }
}

/// What was seen at the last look.
struct Looker {
    spec: ClusterSpec,
    named: Vec<PathBuf>,
    stamps: Option<Vec<Stamp>>,
    at_rest: bool,
}

impl Looker {
    /// Looks once; what concerns the environment, if the files have changed and are at rest. A file that cannot be read is no news: what runs, runs on.
    fn look(&mut self) -> Option<Concern> {
        let stamps: Vec<Stamp> = own_files(&self.spec).iter().chain(&self.named).map(|path| stamp(path)).collect();
        if self.stamps.as_ref() != Some(&stamps) {
            let is_first = self.stamps.replace(stamps).is_none();
            self.at_rest = false;
            if !is_first {
                return None;
            }
        }
        if std::mem::replace(&mut self.at_rest, true) {
            return None;
        }
        let chosen = choose(&self.spec).ok()?;
        // The context is pinned: another current one is no news.
        self.spec.context.get_or_insert_with(|| chosen.context.clone());
        let named = chosen.files();
        if named != self.named {
            // The next look has more to look at, which is no change.
            self.stamps = Some(own_files(&self.spec).iter().chain(&named).map(|path| stamp(path)).collect());
            self.named = named;
        }
        Some(chosen.concern())
    }
}

/// Tells what of the kubeconfig concerns an environment, now (even if it cannot be read) and whenever it changes, until nobody listens.
pub(super) async fn follow(spec: ClusterSpec, concern: watch::Sender<Option<Concern>>) {
    let mut looker = Looker { spec, named: Vec::new(), stamps: None, at_rest: false };
    let mut is_first = true;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = concern.closed() => return,
            _ = ticks.tick() => {}
        }
        // A home folder may be on a network that hangs: nothing waits for it but this.
        let look = tokio::task::spawn_blocking(move || {
            // What cannot be read is no news.
            let seen = contain(|| looker.look()).ok().flatten();
            (looker, seen)
        });
        let Ok((back, seen)) = look.await else { return };
        looker = back;
        if std::mem::take(&mut is_first) {
            concern.send_replace(seen);
        } else if let Some(seen) = seen {
            concern.send_if_modified(|known| known.replace(seen) != Some(seen));
        }
    }
}

#[cfg(test)]
mod tests {
    mod generated;

    use super::*;

    fn spec(kubeconfig: PathBuf, context: &str) -> ClusterSpec {
        ClusterSpec { name: "e".into(), request_timeout: Duration::from_secs(1), ..ClusterSpec::of_context(context, kubeconfig) }
    }

    const CONFIG: &str = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://x', certificate-authority: ca.crt}}]\n\
                          users: [{name: u, user: {token: t1}}, {name: other, user: {token: t2}}]\n\
                          contexts: [{name: a, context: {cluster: c, user: u}}]\n";

    #[test]
    fn a_missing_context_names_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, CONFIG).unwrap();
        let error = choose(&spec(path, "b")).err().unwrap();
        assert_eq!(error, "the kubeconfig has no context \"b\"; it has a");
    }

    #[test]
    fn missing_files_of_a_list_are_left_out_and_what_is_wrong_is_named_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("good"), CONFIG).unwrap();
        std::fs::write(at("bad"), "contexts: 7\n").unwrap();
        let of = |names: &[&str]| merged(&names.iter().map(|name| at(name)).collect::<Vec<_>>(), false).map(|entries| entries.config);
        for names in [&["good", "missing"] as &[&str], &["missing", "good"], &["missing", "good", "none"], &["good", "good"]] {
            let config = of(names).unwrap();
            assert_eq!((config.contexts.len(), config.auth_infos.len()), (1, 2), "{names:?}");
        }
        let path = |name: &str| at(name).display().to_string();
        assert_eq!(of(&["missing", "none"]).unwrap_err(), format!("there is no kubeconfig: no file {}, {}", path("missing"), path("none")));
        let place = |text: &str| {
            std::fs::write(at("bad"), text).unwrap();
            of(&["good", "bad"]).unwrap_err().strip_prefix(&path("bad")).map(str::to_owned).unwrap()
        };
        for (text, expected) in [("contexts: 7\n", ":1:11: "), ("a: b\nusers: hunter2\n", ":2:8: ")] {
            let wrong = place(text);
            assert!(wrong.starts_with(expected) && wrong.contains(": not a kubeconfig") && !wrong.contains("hunter2"), "{wrong}");
        }
        let odd = place("users: [{name: u, user: {token: hunter2\n");
        assert!(!odd.contains("hunter2"), "{odd}");
        let named = merged(&[at("missing")], true).err().unwrap();
        assert!(named.starts_with(&path("missing")), "a file that was named must be there: {named}");
    }

    #[test]
    fn files_that_entries_name_are_looked_for_beside_the_kubeconfig_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let user = "{client-certificate: c.crt, client-key: c.key, tokenFile: token}";
        std::fs::write(&path, CONFIG.replace("{token: t1}", user)).unwrap();
        let check = || choose(&spec(path.clone(), "a")).unwrap().check_files();
        for (file, what, of) in [
            ("ca.crt", "certificate-authority", "c"),
            ("c.crt", "client-certificate", "u"),
            ("c.key", "client-key", "u"),
            ("token", "tokenFile", "u"),
        ] {
            let file = folder.path().join(file);
            let expected = format!("context a: cannot read {what} {} of {of}: no such file or directory", file.display());
            assert_eq!(check().unwrap_err(), expected);
            std::fs::write(file, "x").unwrap();
        }
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn a_token_with_a_newline_is_taken_without_it_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, token) = (folder.path().join("config"), folder.path().join("token"));
        std::fs::write(&path, CONFIG.replace("{token: t1}", "{tokenFile: token}")).unwrap();
        let chosen = |text: &str| {
            std::fs::write(&token, text).unwrap();
            let mut chosen = choose(&spec(path.clone(), "a")).unwrap();
            let concern = chosen.concern();
            chosen.take_untidy_token();
            let user = chosen.entries().1.cloned().unwrap();
            (serde_json::to_value(&user).unwrap()["token"].as_str().map(str::to_owned), user.token_file.is_some(), concern)
        };
        let tidy = chosen("t3");
        assert_eq!((tidy.0, tidy.1), (None, true), "the client reads it again by itself");
        let untidy = chosen(" t3\n");
        assert_eq!((untidy.0.as_deref(), untidy.1), (Some("t3"), false));
        assert_ne!(chosen("t4\n").2, untidy.2, "a new token is news");
    }

    #[test]
    fn only_what_concerns_the_context_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (path, authority) = (folder.path().join("config"), folder.path().join("ca.crt"));
        let concern = |text: &str, ca: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::write(&authority, ca).unwrap();
            choose(&spec(path.clone(), "a")).unwrap().concern()
        };
        let first = concern(CONFIG, "one");
        assert_eq!(concern(&CONFIG.replace("t2", "t9"), "one"), first, "another user's token");
        let token = concern(&CONFIG.replace("t1", "t9"), "one");
        assert_eq!((token.cluster == first.cluster, token.user == first.user), (true, false));
        let moved = concern(&CONFIG.replace("https://x", "https://y"), "one");
        assert_eq!((moved.cluster == first.cluster, moved.user == first.user), (false, true));
        assert_ne!(concern(CONFIG, "two").cluster, first.cluster, "the authority's file counts");
    }

    #[test]
    fn files_are_read_when_they_are_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, CONFIG).unwrap();
        let mut looker = Looker { spec: spec(path.clone(), "a"), named: Vec::new(), stamps: None, at_rest: false };
        let first = looker.look().unwrap();
        assert_eq!((looker.look(), looker.look()), (None, None));
        std::fs::write(&path, format!("{CONFIG}# half")).unwrap();
        assert_eq!(looker.look(), None, "it may still be written");
        std::fs::write(&path, CONFIG.replace("t1", "longer")).unwrap();
        assert_eq!(looker.look(), None, "it was");
        let second = looker.look().unwrap();
        assert_ne!(second, first);
        std::fs::remove_file(&path).unwrap();
        assert_eq!((looker.look(), looker.look(), looker.look()), (None, None, None), "what runs, runs on");
    }
}
