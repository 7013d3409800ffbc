//! Owner links: from the API server's metadata, or guessed by name where that may not be read.

use super::Ledger;
use super::resources::ResourceId;
use crate::fleet::strings::StrId;
use crate::kinds::report::Reference;

/// Links that were guessed belong to no stream.
const BY_GUESS: u8 = u8::MAX;

impl Ledger {
    /// An object of an owner kind as it is now: `owner` is its controlling owner, if it has one.
    pub(crate) fn link(&mut self, by: u8, child: &Reference<'_>, owner: Option<&Reference<'_>>) {
        let Some(owner) = owner else {
            self.unlink(child.namespace.as_str(), child.uid.as_str());
            return;
        };
        let child = self.resources.intern(child, StrId::EMPTY, &mut self.strings);
        let parent = self.resources.intern(owner, StrId::EMPTY, &mut self.strings);
        if self.resources.parent(child) == Some(parent) {
            self.resources.saw_link(child, by, self.round);
            return;
        }
        self.relink(child, parent, by);
        if self.guessing {
            // Either may have been unknown before; the child stays without an owner where the link would make a circle.
            self.guess_owner(child);
            self.guess_owner(parent);
        }
    }

    fn relink(&mut self, child: ResourceId, parent: ResourceId, by: u8) {
        self.open(child);
        self.open(parent);
        if let Some(former) = self.resources.unlink(child) {
            self.open.insert(former);
        }
        self.resources.link(child, parent, by, self.round);
        self.open.insert(child);
        self.changed = true;
    }

    /// An object of an owner kind was deleted, or has no controlling owner any more.
    pub(crate) fn unlink(&mut self, namespace: &str, uid: &str) {
        if let Some(child) = self.resources.find_uid(namespace, uid, &self.strings) {
            self.cut(child);
        }
    }

    fn cut(&mut self, child: ResourceId) {
        let Some(parent) = self.resources.parent(child) else { return };
        // A guess was made because nothing is known of its owner, and nothing is.
        if self.guessing && self.resources.is_guessed(parent) {
            return;
        }
        self.open(child);
        if let Some(former) = self.resources.unlink(child) {
            self.open.insert(former);
        }
        self.open.insert(child);
        self.changed = true;
        if self.guessing {
            self.guess_owner(child);
        }
    }

    /// The list of an owner kind is complete: links it did not name are gone. Pairs with [`Ledger::start_list`].
    pub(crate) fn end_links(&mut self, by: u8, namespace: &str) {
        let scope = self.strings.intern(namespace);
        let Some(round) = self.rounds.remove(&(by, scope)) else { return };
        for child in self.resources.links_older_than(by, scope, round) {
            self.cut(child);
        }
    }

    /// Objects of an owner kind that have a controlling owner.
    pub(crate) fn links_of(&self, by: u8) -> u64 {
        self.resources.links_by(by)
    }

    /// Says whether owners are guessed by name, because an owner kind may not be read; returns whether that is new.
    pub(crate) fn set_guessing(&mut self, guessing: bool) -> bool {
        if self.guessing == guessing {
            return false;
        }
        self.guessing = guessing;
        if guessing {
            for id in self.resources.all().collect::<Vec<_>>() {
                self.guess_owner(id);
            }
        } else {
            for id in self.resources.guessed_links() {
                self.cut(id);
            }
        }
        true
    }

    /// Whether owners are guessed.
    pub(crate) fn is_guessing(&self) -> bool {
        self.guessing
    }

    /// Puts a workload under the owner that its name suggests. Real objects of controller kinds go under the guess of their own
    /// name, so that they meet the Pods that are guessed to be theirs.
    pub(super) fn guess_owner(&mut self, id: ResourceId) {
        if self.resources.parent(id).is_some() || self.resources.is_guessed(id) || self.resources.is_claimed(id) {
            return;
        }
        let (kind, namespace, name) = self.resources.names(id);
        let Some((owner_kind, owner_name)) = guess(self.strings.get(kind), self.strings.get(name)) else { return };
        let (owner_kind, owner_name) = (owner_kind.to_owned(), owner_name.to_owned());
        let (owner_kind, owner_name): (StrId, StrId) = (self.strings.intern(&owner_kind), self.strings.intern(&owner_name));
        let parent = self.resources.guessed(owner_kind, namespace, owner_name);
        self.relink(id, parent, BY_GUESS);
    }
}

/// The kind and name of the owner that a workload's name suggests.
///
/// Names are made by Kubernetes: a ReplicaSet is `DEPLOYMENT-HASH`, its Pods `DEPLOYMENT-HASH-XXXXX`, with letters from a safe
/// alphabet without vowels (kubernetes/apimachinery pkg/util/rand), a CronJob's Jobs `CRONJOB-MINUTES`, a StatefulSet's Pods `SET-N`.
fn guess<'a>(kind: &'a str, name: &'a str) -> Option<(&'static str, &'a str)> {
    let safe = |s: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&s.len()) && s.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    match kind {
        "Deployment" => Some(("Deployment", name)),
        "StatefulSet" => Some(("StatefulSet", name)),
        "DaemonSet" => Some(("DaemonSet", name)),
        "CronJob" => Some(("CronJob", name)),
        "ReplicaSet" => name.rsplit_once('-').filter(|(_, hash)| safe(hash, 6..=10)).map(|(owner, _)| ("Deployment", owner)),
        "Job" => name.rsplit_once('-').filter(|(_, at)| digits(at) && at.len() >= 8).map(|(owner, _)| ("CronJob", owner)),
        "Pod" => {
            let (rest, last) = name.rsplit_once('-')?;
            if digits(last) && last.len() <= 4 {
                return Some(("StatefulSet", rest));
            }
            let (owner, hash) = rest.rsplit_once('-').filter(|_| safe(last, 5..=5))?;
            if digits(hash) && hash.len() >= 8 {
                return Some(("CronJob", owner));
            }
            safe(hash, 6..=10).then_some(("Deployment", owner))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::guess;

    #[test]
    fn names_suggest_owners() {
        let table = [
            ("Pod", "web-7d4b9c6f5d-x2x9z", Some(("Deployment", "web"))),
            ("Pod", "index-0", Some(("StatefulSet", "index"))),
            ("Pod", "nightly-29387520-bcdfg", Some(("CronJob", "nightly"))),
            ("Pod", "debug", None),
            ("Pod", "a-b-c", None),
            ("ReplicaSet", "web-7d4b9c6f5d", Some(("Deployment", "web"))),
            ("ReplicaSet", "web-canary", None),
            ("Job", "nightly-29387520", Some(("CronJob", "nightly"))),
            ("Job", "migrate", None),
            ("Deployment", "web", Some(("Deployment", "web"))),
            ("Service", "web", None),
        ];
        for (kind, name, expected) in table {
            assert_eq!(guess(kind, name), expected, "{kind}/{name}");
        }
    }
}
