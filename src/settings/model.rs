//! What a valid configuration means. Only `resolve` makes these values, so whoever holds one needs to check nothing.

pub use super::schema::{ColorChoice, Deniable, Evidence, GitOps, Push, StepMode};
use crate::domain::Tier;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The road. Empty where the file names no environment: then the current context is the single one.
    pub environments: Vec<EnvironmentSettings>,
    /// Whether an unknown gate may be acknowledged with a reason.
    pub acknowledge_unknown: bool,
    /// Other keys for actions: action → key, as written.
    pub keys: BTreeMap<String, String>,
    /// How screen and tables look.
    pub ui: UiSettings,
    /// Annotation keys on exceptions.
    pub exceptions: ExceptionKeys,
    /// What is recorded over time.
    pub history: HistorySettings,
}

/// What is recorded over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySettings {
    /// Whether the screen records what it sees.
    pub record: bool,
    /// How long records are kept.
    pub keep: SignedDuration,
    /// Bytes that records take at most.
    pub max_size: u64,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { record: true, keep: SignedDuration::from_hours(400 * 24), max_size: 1 << 30 }
    }
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// Its name.
    pub name: String,
    /// The kubeconfig context; `None` only for the pod that runs us ([`EnvironmentSettings::in_cluster`]).
    pub context: Option<String>,
    /// A kubeconfig of its own, as written; the program makes it a whole path before the engine sees it.
    pub kubeconfig: Option<PathBuf>,
    /// Only these namespaces, with wildcards; empty means all.
    pub namespaces: Vec<String>,
    /// Normal or production.
    pub tier: Tier,
    /// No operation may change anything here.
    pub read_only: bool,
    /// Times in which nothing may be promoted here.
    pub freeze: Vec<Freeze>,
    /// What to do where a GitOps tool keeps an object.
    pub gitops: GitOps,
    /// Where that tool reads from.
    pub git: Option<Git>,
    /// Who knows what Kyverno refused while nobody watched.
    pub prometheus: Option<Prometheus>,
    /// What a policy passes through here, in order; never empty.
    pub steps: Vec<Step>,
    /// What is asked for beside gates.
    pub rules: Rules,
}

/// What an environment asks for beside gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Operations that are refused.
    pub deny: Vec<Deniable>,
    /// The environment's name has to be typed, whatever its tier.
    pub typed_name: bool,
    /// The most policies in one plan; `None` for any number.
    pub bulk: Option<u64>,
    /// A plan must be applied by someone other than its maker, who signs it.
    pub four_eyes: bool,
    /// The keys that may sign plans, as written; the program makes it a whole path before the engine sees it.
    pub allowed_signers: Option<PathBuf>,
}

impl EnvironmentSettings {
    /// The environment of one context, where no configuration names any.
    pub fn of_context(context: &str) -> Self {
        Self::ad_hoc(context, Some(context))
    }

    /// The cluster whose pod runs us: its service account, no kubeconfig.
    pub fn in_cluster() -> Self {
        Self::ad_hoc("in-cluster", None)
    }

    fn ad_hoc(name: &str, context: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            context: context.map(str::to_owned),
            kubeconfig: None,
            namespaces: Vec::new(),
            tier: Tier::Normal,
            read_only: false,
            freeze: Vec::new(),
            gitops: GitOps::Refuse,
            git: None,
            prometheus: None,
            steps: vec![Step::new(StepMode::Audit, SignedDuration::ZERO)],
            rules: Rules::default(),
        }
    }
}

/// One step of the road, with the gates' defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What the policy does at this step.
    pub mode: StepMode,
    /// How long it stays at least.
    pub soak: SignedDuration,
    /// Failures and errors that may remain when it leaves.
    pub max_violations: u64,
    /// Refused admissions that may have happened when it leaves.
    pub max_blocked: u64,
    /// What counts as soaked time.
    pub evidence: Evidence,
}

impl Step {
    /// A step with the default gates.
    pub fn new(mode: StepMode, soak: SignedDuration) -> Self {
        Self { mode, soak, max_violations: 0, max_blocked: 0, evidence: Evidence::Clock }
    }
}

/// A time in which nothing may be promoted: from `from` up to, not including, `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Freeze {
    /// Whether the window is open at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// Where a GitOps tool reads an environment from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    /// URL or local path of the repository.
    pub repo: String,
    /// The folder of the policies in it; empty for its top.
    pub path: String,
    /// The branch.
    pub branch: String,
    /// Where commits are pushed to.
    pub push: Push,
}

/// Where the metrics of an environment's Kyverno can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    /// Its URL, without a slash at the end.
    pub url: String,
    /// What goes into every selector, as a query has it; empty for nothing.
    pub matchers: String,
    /// Where the bearer token is, if it wants one. The token itself is never part of a configuration.
    pub token: Option<TokenSource>,
    /// The certificates of who vouches for it, as written; the program makes it a whole path.
    pub ca_file: Option<PathBuf>,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
}

/// Where a token is read from whenever it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file, as written; the program makes it a whole path.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// How screen and tables look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UiSettings {
    /// Only ASCII characters.
    pub ascii: bool,
    /// When to use colour.
    pub color: ColorChoice,
}

/// Annotation keys on exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExceptionKeys {
    /// The ticket that asked for it.
    pub ticket: String,
    /// Who asked for it.
    pub owner: String,
    /// Until when it is meant to hold.
    pub expiry: String,
    /// Who reviewed it last.
    pub reviewer: String,
}
