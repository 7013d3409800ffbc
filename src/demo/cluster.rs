//! One environment's cluster: its catalog, its objects, and the facts its imitations go by.
//!
//! Not here: sockets (`super::server`) and what the controllers do (`super::controllers`, `super::kyverno`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use crate::domain::time::rfc3339;

use super::catalog::{Catalog, Resource};
use super::store::{Handle, Key, Store};
use super::witness::{Changed, Present};

/// How fast the imitations react.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From a change of a policy, workload or exception to its reports.
    pub reports: Duration,
    /// From a policy's creation to its status `Ready`.
    pub ready: Duration,
    /// Between two rewrites of all reports that only move timestamps.
    pub scan: Duration,
}

impl Default for Pace {
    /// A second or two for what takes a real Kyverno up to twenty, and a scan every two minutes.
    fn default() -> Self {
        Self { reports: Duration::from_secs(2), ready: Duration::from_secs(1), scan: Duration::from_secs(120) }
    }
}

/// Facts of an environment, from `fleet.toml`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) kubernetes: String,
    /// Kyverno's minor release.
    pub(crate) minor: u32,
    pub(crate) features: Vec<String>,
    /// Images (globs) whose signatures do not verify.
    pub(crate) unsigned: Vec<String>,
}

impl Profile {
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }
}

/// One environment.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) profile: Profile,
    pub(crate) catalog: Catalog,
    pub(crate) pace: Pace,
    store: Mutex<Store>,
    seed: u64,
    drawn: AtomicU64,
    /// When Kyverno last read each version of a policy.
    read: Mutex<HashMap<u64, Timestamp>>,
    /// What all policies said when they were last judged by.
    judged: AtomicU64,
    pub(crate) witness: Present,
}

impl Cluster {
    pub(crate) fn new(profile: Profile, catalog: Catalog, pace: Pace, seed: u64) -> Self {
        let store = Store::new(catalog.all().len(), 1_000);
        Self {
            profile,
            catalog,
            pace,
            store: Mutex::new(store),
            seed,
            drawn: AtomicU64::new(0),
            read: Mutex::default(),
            judged: AtomicU64::new(0),
            witness: Present::new(),
        }
    }

    /// The objects. Never held across an await.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        // A panicking writer leaves whole objects behind, so a poisoned lock is still a good store.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the witness, if there is one, what a client did. Called while the store is held, so that it is told in order.
    pub(crate) fn tell(&self, resource: &Resource, manager: &str, before: Option<&Handle>, after: Option<&Handle>) {
        let Some(witness) = self.witness.get() else { return };
        let value = |object: &Handle| object.value.clone();
        witness.changed(Changed {
            environment: self.profile.name.clone(),
            group: resource.group.clone(),
            plural: resource.plural.clone(),
            manager: manager.to_owned(),
            before: before.map(value),
            after: after.map(value),
        });
    }

    /// The next number of a fixed sequence (splitmix64): the same start gives the same names.
    pub(crate) fn draw(&self) -> u64 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        mix(self.seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// When Kyverno read this version of a policy; now, if it has not yet.
    pub(crate) fn read_at(&self, policy: &Handle, now: Timestamp) -> Timestamp {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read.entry(policy.version).or_insert(now)
    }

    /// Forgets the readings of all versions but these.
    pub(crate) fn forget_unread(&self, current: &[u64]) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|version, _| current.contains(version));
    }

    /// Remembers what all policies say, as a hash; whether that is news.
    pub(crate) fn judges_by(&self, policies: u64) -> bool {
        self.judged.swap(policies, Ordering::Relaxed) != policies
    }

    pub(crate) fn uid(&self) -> String {
        uid(self.draw(), self.draw())
    }

    /// A suffix as Kubernetes generates them: no vowels, no look-alikes.
    pub(crate) fn suffix(&self, length: usize) -> String {
        suffix(self.draw(), length)
    }

    /// A kind of Kubernetes or Kyverno by group and plural.
    pub(crate) fn resource(&self, group: &str, plural: &str) -> Option<&Resource> {
        self.catalog.plural(group, plural)
    }

    pub(crate) fn get(&self, group: &str, plural: &str, key: &Key) -> Option<Handle> {
        let resource = self.resource(group, plural)?;
        self.store().get(resource.index, key).cloned()
    }
}

/// splitmix64's finaliser.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a: a seed from a text, the same on every machine.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn uid(a: u64, b: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xFFFF,
        a & 0xFFF,
        0x8000 | ((b >> 48) & 0x3FFF),
        b & 0xFFFF_FFFF_FFFF
    )
}

pub(crate) fn suffix(mut number: u64, length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut out = String::with_capacity(length);
    for _ in 0..length {
        let at = (number % LETTERS.len() as u64) as usize;
        out.push(LETTERS.get(at).map_or('x', |byte| char::from(*byte)));
        number = mix(number);
    }
    out
}

/// The API's `MicroTime`.
pub(crate) fn rfc3339_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The object member of a value, made when it is missing.
pub(crate) fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    if !value[name].is_object() {
        value[name] = Value::Object(serde_json::Map::new());
    }
    &mut value[name]
}
