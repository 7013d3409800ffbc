//! Fleets that tests share: started by the first test that asks, used by all at once, ended with the process.
//!
//! A test keeps to what is its own: names that no other test has ([`Shared::name`]) for its policies and namespaces, and policies that match those namespaces
//! only. What breaks a cluster for others (a kill, a removed CRD or webhook, another flag or ConfigMap of Kyverno, a count of everything in it) needs the
//! fleet alone ([`Fleet::exclusive`]) or a fleet of its own ([`Fleet::start`]). Not here: how a fleet starts.

use super::turn::Turn;
use super::{Cluster, Fleet, Options, Took, available};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// What a test needs of a fleet that it shares. Tests with equal needs get the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Clusters `dev` and `live` with controllers and the running Kyverno, which scans every half minute. Requests are written down.
    Kyverno,
}

/// The one fleet of a need.
struct Slot {
    /// Held to read by every test that uses the fleet, to write by the one that has it alone.
    using: RwLock<()>,
    fleet: Mutex<Option<Arc<Fleet>>>,
}

static KYVERNO: Slot = Slot { using: RwLock::new(()), fleet: Mutex::new(None) };
static TESTS: AtomicU32 = AtomicU32::new(0);

/// A fleet in use by one test, among others or alone; it counts as in use until this is dropped, and what the test made in it under its own names goes.
pub(crate) struct Shared {
    fleet: Arc<Fleet>,
    slot: &'static Slot,
    /// What the names of this test end in.
    mark: String,
    using: Using,
    took: Took,
}

enum Using {
    Together { _guard: RwLockReadGuard<'static, ()>, _turn: Turn },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Fleet {
    /// The fleet for this need, used by other tests at the same time. A test holds one fleet at a time, shared or its own. `None` where the programs are not
    /// built.
    pub(crate) fn shared(need: Need) -> Option<Shared> {
        available().then(|| {
            let (asked, slot) = (Instant::now(), need.slot());
            let turn = Turn::shared();
            let guard = slot.using.read().unwrap_or_else(PoisonError::into_inner);
            Shared::new(need, Using::Together { _guard: guard, _turn: turn }, asked)
        })
    }

    /// The same once no other test uses it, and while none does. What was broken has to be mended before the end, or the next tests would meet it; where the
    /// test fails, they get another fleet.
    pub(crate) fn exclusive(need: Need) -> Option<Shared> {
        available().then(|| {
            let (asked, slot) = (Instant::now(), need.slot());
            let guard = slot.using.write().unwrap_or_else(PoisonError::into_inner);
            Shared::new(need, Using::Alone { _guard: guard }, asked)
        })
    }
}

impl Need {
    fn slot(self) -> &'static Slot {
        match self {
            Self::Kyverno => &KYVERNO,
        }
    }

    fn start(self) -> Fleet {
        match self {
            Self::Kyverno => {
                let options = Options { controllers: true, kyverno: true, scan: Some("30s"), audit: true };
                Fleet::launch(&["dev", "live"], options, None)
            }
        }
    }
}

impl Shared {
    fn new(need: Need, using: Using, asked: Instant) -> Self {
        let slot = need.slot();
        let mut fleet = slot.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        let fleet = Arc::clone(fleet.get_or_insert_with(|| Arc::new(need.start())));
        let mark = format!("-t{}", TESTS.fetch_add(1, Ordering::Relaxed));
        Self { fleet, slot, mark, using, took: Took::start(asked) }
    }

    /// A name of this test alone: for the same stem always the same.
    pub(crate) fn name(&self, stem: &str) -> String {
        format!("{stem}{}", self.mark)
    }

    /// A namespace of this test alone, in every cluster of the fleet.
    pub(crate) fn own_namespace(&self, stem: &str) -> String {
        let name = self.name(stem);
        for cluster in self.clusters() {
            cluster.namespace(&name);
        }
        name
    }
}

impl Deref for Shared {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        &self.fleet
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if matches!(self.using, Using::Alone { .. }) {
                // Nobody knows what is left of it: it ends with this handle.
                self.slot.fleet.lock().unwrap_or_else(PoisonError::into_inner).take();
                return;
            }
            self.fleet.last_words();
        }
        for cluster in self.fleet.clusters() {
            cluster.clear(&self.mark);
        }
    }
}

/// What tests make beside what lies in their namespaces.
const CLUSTER_WIDE: [&str; 9] = [
    "/apis/kyverno.io/v1/clusterpolicies",
    "/apis/policies.kyverno.io/v1/validatingpolicies",
    "/apis/policies.kyverno.io/v1/imagevalidatingpolicies",
    "/apis/policies.kyverno.io/v1/mutatingpolicies",
    "/apis/policies.kyverno.io/v1/generatingpolicies",
    "/apis/policies.kyverno.io/v1/deletingpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/api/v1/namespaces",
];

impl Cluster {
    /// Has everything deleted whose name ends like this, and does not wait for it; a cluster that does not answer is left as it is.
    fn clear(&self, mark: &str) {
        for path in CLUSTER_WIDE {
            let Ok(listed) = self.api.get(path) else { return };
            let names = listed.body["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str());
            for name in names.filter(|name| name.ends_with(mark)) {
                let _ = self.api.delete(&format!("{path}/{name}"));
            }
        }
    }
}
