//! The demo's company as `assets/demo/fleet.toml` and `workloads.toml` describe it.
//!
//! Not here: turning the description into objects (`super::seed`).

use std::collections::BTreeMap;

use serde::Deserialize;

const FLEET: &str = include_str!("../../assets/demo/fleet.toml");
const WORKLOADS: &str = include_str!("../../assets/demo/workloads.toml");

/// The whole company.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fleet {
    pub(crate) environment: Vec<Environment>,
    /// Images (globs) whose signatures do not verify.
    pub(crate) unsigned: Vec<String>,
    /// Policy → environment → stage, such as `enforce 40d argo`.
    pub(crate) policy: BTreeMap<String, BTreeMap<String, String>>,
    /// Exception → environment → age.
    pub(crate) exception: BTreeMap<String, BTreeMap<String, String>>,
}

/// One environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    pub(crate) name: String,
    pub(crate) kubernetes: String,
    pub(crate) kyverno: String,
    pub(crate) chart: String,
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// How likely each flaw of an app is here, times its own likelihood.
    pub(crate) flaws: f64,
    /// Pods per workload.
    pub(crate) replicas: u64,
    /// Extra objects only this environment has.
    #[serde(default)]
    pub(crate) extras: Vec<String>,
    /// The steps of the road as policydeck's config writes them.
    pub(crate) steps: String,
    #[serde(default)]
    pub(crate) tier: Option<String>,
}

impl Environment {
    /// Kyverno's minor release.
    pub(crate) fn minor(&self) -> u32 {
        self.kyverno.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
    }
}

/// What runs everywhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workloads {
    pub(crate) registry: String,
    pub(crate) foreign: String,
    /// Likelihood of each flaw.
    pub(crate) flaws: BTreeMap<String, f64>,
    pub(crate) namespace: Vec<Namespace>,
}

/// A team's namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) team: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// `name`, or `Kind/name`, then flaws it has everywhere after a space.
    #[serde(default)]
    pub(crate) apps: Vec<String>,
}

impl Fleet {
    pub(crate) fn load() -> Result<Self, toml::de::Error> {
        toml::from_str(FLEET)
    }
}

impl Workloads {
    pub(crate) fn load() -> Result<Self, toml::de::Error> {
        toml::from_str(WORKLOADS)
    }
}
