//! The kubeconfig: which entries of which files an environment is about, and whether these have changed since.
//!
//! What lives here: reading and choosing, and a task that looks at the files every few seconds. What does not: clients ([`super::connect`]).

use super::ClusterSpec;
use super::refusal::deepest;
use crate::files::{Stamp, content, stamp};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at. A change counts when a second look finds them at rest: kubectl does not write them in one go.
const LOOK: Duration = Duration::from_secs(2);

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
    let kubeconfig = read(spec.kubeconfig.as_deref())?;
    let context = spec.context.clone().or_else(|| kubeconfig.current_context.clone());
    let Some(context) = context else {
        return Err("the kubeconfig has no current context; name one with --context or in the configuration".to_owned());
    };
    if !kubeconfig.contexts.iter().any(|named| named.name == context) {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).collect();
        return Err(format!(
            "the kubeconfig has no context \"{context}\"; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ));
    }
    Ok(Chosen { kubeconfig, context })
}

fn read(kubeconfig: Option<&Path>) -> Result<Kubeconfig, String> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| format!("{}: {}", path.display(), deepest(&error))),
        None => Kubeconfig::read().map_err(|error| format!("the kubeconfig cannot be read: {}", deepest(&error))),
    };
    read.map(|mut config| {
        // An absent context is told in our words, with the names there are.
        config.contexts.retain(|named| named.context.is_some());
        config
    })
}

impl Chosen {
    fn entries(&self) -> (Option<&Cluster>, Option<&AuthInfo>) {
        let context = self.kubeconfig.contexts.iter().find(|named| named.name == self.context).and_then(|named| named.context.as_ref());
        let cluster = context.and_then(|context| self.kubeconfig.clusters.iter().find(|named| named.name == context.cluster));
        let user = context.and_then(|context| context.user.as_ref());
        let user = user.and_then(|user| self.kubeconfig.auth_infos.iter().find(|named| named.name == *user));
        (cluster.and_then(|named| named.cluster.as_ref()), user.and_then(|named| named.auth_info.as_ref()))
    }

    /// Whether the context's cluster names a proxy of its own.
    pub(super) fn names_proxy(&self) -> bool {
        self.entries().0.is_some_and(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()))
    }

    /// What concerns the environment. A token file is not part of it: the client reads it again by itself.
    pub(super) fn concern(&self) -> Concern {
        let (cluster, user) = self.entries();
        // Extensions are notes of tools, such as the time of the last start.
        let cluster = cluster.map(|cluster| Cluster { extensions: None, ..cluster.clone() });
        let authority = cluster.as_ref().and_then(|cluster| cluster.certificate_authority.as_ref());
        let user = user.map(|user| AuthInfo { extensions: None, ..user.clone() });
        let identity = user.iter().flat_map(|user| [user.client_certificate.as_ref(), user.client_key.as_ref()]).flatten();
        Concern { cluster: hash(cluster.as_ref(), authority.into_iter()), user: hash(user.as_ref(), identity) }
    }

    /// The files that the entries name, whose content counts as theirs.
    fn files(&self) -> Vec<PathBuf> {
        let (cluster, user) = self.entries();
        let authority = cluster.and_then(|cluster| cluster.certificate_authority.as_ref());
        let identity = user.iter().flat_map(|user| [user.client_certificate.as_ref(), user.client_key.as_ref()]).flatten();
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
        (None, Some(list)) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        (None, None) => std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect(),
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
            let seen = looker.look();
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
    use super::*;

    fn spec(kubeconfig: PathBuf, context: &str) -> ClusterSpec {
        ClusterSpec {
            name: "e".into(),
            tier: crate::domain::Tier::Normal,
            context: Some(context.to_owned()),
            kubeconfig: Some(kubeconfig),
            namespaces: Vec::new(),
            request_timeout: Duration::from_secs(1),
            impersonate_user: None,
            impersonate_groups: Vec::new(),
            summaries: false,
        }
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
