//! The shape of the configuration file: the one place that lists its keys.
//!
//! The JSON Schema, the reference table and the check for unknown keys all derive from these types and their comments.
//! What the values mean together is checked elsewhere (`resolve`).

use crate::domain::Tier;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, title = "policydeck configuration")]
pub(super) struct ConfigFile {
    /// The environments. Their order is the pipeline that a policy goes through. Without any, the current context is the single environment.
    pub(super) environments: Vec<EnvironmentEntry>,
    /// What must hold to leave a step; every step may say otherwise.
    pub(super) gates: GatesEntry,
    /// Other keys for actions: `action = "key"`, for example `promote = "ctrl-p"`. The help screen lists the actions.
    pub(super) keys: BTreeMap<String, String>,
    /// How screen and tables look.
    pub(super) ui: UiEntry,
    /// Annotation keys under which exceptions carry what a review needs.
    pub(super) exceptions: ExceptionsEntry,
    /// What is recorded over time.
    pub(super) history: HistoryEntry,
}

/// One environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct EnvironmentEntry {
    /// Its name on screens, in commands and in archives: letters, digits, `-`, `_` and `.`.
    pub(super) name: String,
    /// The kubeconfig context. It is pinned: a changed current-context is not followed.
    pub(super) context: String,
    /// A kubeconfig of its own, relative to this file or starting with `~/`. Default: `--kubeconfig`, else `KUBECONFIG`, else `~/.kube/config`.
    #[serde(default)]
    pub(super) kubeconfig: Option<String>,
    /// Only these namespaces, with `*` and `?`. Needed where you have no cluster-wide rights. Default: all.
    #[serde(default)]
    pub(super) namespaces: Option<Vec<String>>,
    /// `production` is marked everywhere and asks for the name to be typed before anything changes. Default: `normal`.
    #[serde(default)]
    pub(super) tier: Tier,
    /// Refuses every operation in this environment.
    #[serde(default)]
    pub(super) read_only: bool,
    /// Times in which nothing may be promoted here.
    #[serde(default)]
    pub(super) freeze: Vec<FreezeEntry>,
    /// What to do where a GitOps tool keeps the object: `refuse` and show the manifest to commit, or `warn` and go on. Default: `refuse`.
    #[serde(default)]
    pub(super) gitops: GitOps,
    /// The git repository that a GitOps tool reads this environment from.
    #[serde(default)]
    pub(super) git: Option<GitEntry>,
    /// A Prometheus that has the metrics of this environment's Kyverno: it is asked what was refused while nobody watched.
    #[serde(default)]
    pub(super) prometheus: Option<PrometheusEntry>,
    /// What a policy passes through here, in order. Default: by the environment's name.
    #[serde(default)]
    pub(super) steps: Option<Vec<StepEntry>>,
    /// What is asked for beside gates, by whoever plans and again by whoever carries out: `[environments.rules]`.
    #[serde(default)]
    pub(super) rules: RulesEntry,
}

/// What is asked for beside gates.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct RulesEntry {
    /// Operations that are refused here.
    pub(super) deny: Vec<Deniable>,
    /// The environment's name has to be typed before anything changes. Default: only for `tier = "production"`, which always asks for it.
    pub(super) typed_name: Option<bool>,
    /// The most policies that one plan may change here. Default: any number.
    pub(super) bulk: Option<u64>,
    /// A plan must be applied by someone other than its maker (`--plan-out FILE`, `--plan FILE`): another account, another user of the cluster, and another
    /// key than the one that signed the plan file (`plan sign`). Needs `allowed_signers`. What makes policies block less needs no second person.
    pub(super) four_eyes: bool,
    /// A file with the keys that may sign plans for this environment, relative to this file or starting with `~/`. Format: ALLOWED SIGNERS in
    /// ssh-keygen(1), a line `PRINCIPAL namespaces="policydeck-plan" KEY` for each person.
    pub(super) allowed_signers: Option<String>,
}

/// A time in which nothing may be promoted.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct FreezeEntry {
    /// Its beginning: a time with its offset (`2026-12-20T18:00:00+01:00`) or a day (`2026-12-20`, from 00:00 UTC).
    pub(super) from: Moment,
    /// Its end: a time with its offset, or a day (until its end, 24:00 UTC).
    pub(super) until: Moment,
    /// Why, as the gate shows it.
    pub(super) reason: String,
}

/// A date or a time: TOML's own or a string.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(with = "String", extend("format" = "instant"))]
pub(super) enum Moment {
    /// Written with quotes.
    Text(String),
    /// Written without.
    Native(toml::value::Datetime),
}

/// Where a GitOps tool reads an environment from.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct GitEntry {
    /// URL or local path of the repository.
    pub(super) repo: String,
    /// The folder of the policies in it. Default: its top.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// The branch. Default: `main`.
    #[serde(default)]
    pub(super) branch: Option<String>,
    /// Where commits go: onto the `branch` itself, or as a `proposal` onto a branch of their own, `policydeck/PLAN`, for a pull request. Default: `proposal` in
    /// production, else `branch`.
    #[serde(default)]
    pub(super) push: Option<Push>,
}

/// A Prometheus, or something that answers as one (Thanos, Mimir, VictoriaMetrics).
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PrometheusEntry {
    /// Its URL, without `/api/v1`: `https://prometheus.example.com`.
    pub(super) url: String,
    /// Labels that only this environment's series have, as in a query: `cluster="staging"`. Needed where one Prometheus has several clusters. Default: all
    /// series are of this environment.
    #[serde(default)]
    pub(super) matchers: Option<String>,
    /// A file with a bearer token, relative to this file or starting with `~/`. It is read anew whenever it is needed.
    #[serde(default)]
    pub(super) token_file: Option<String>,
    /// An environment variable with a bearer token.
    #[serde(default)]
    pub(super) token_env: Option<String>,
    /// A file with the certificates (PEM) of who vouches for it. Default: those of the system.
    #[serde(default)]
    pub(super) ca_file: Option<String>,
    /// What is sent as `X-Scope-OrgID`, which Mimir and Cortex ask for.
    #[serde(default)]
    pub(super) tenant: Option<String>,
}

/// One step of the pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StepEntry {
    /// What the policy does at this step.
    pub(super) mode: StepMode,
    /// How long a policy stays at least: `36h`, `7d`, `1w`. Default: no time.
    #[serde(default)]
    pub(super) soak: Option<String>,
    /// Failures and errors that may remain when it leaves. Default: that of `[gates]`.
    #[serde(default)]
    pub(super) max_violations: Option<u64>,
    /// Refused admissions that may have happened when it leaves; only of an `enforce` step. Default: that of `[gates]`.
    #[serde(default)]
    pub(super) max_blocked: Option<u64>,
    /// What counts as soaked time. Default: that of `[gates]`.
    #[serde(default)]
    pub(super) evidence: Option<Evidence>,
}

/// Defaults for every step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct GatesEntry {
    /// Failures and errors that may remain.
    pub(super) max_violations: u64,
    /// Refused admissions that may have happened while enforcing.
    pub(super) max_blocked: u64,
    /// What counts as soaked time.
    pub(super) evidence: Evidence,
    /// Whether a gate that is unknown (not closed) may be passed, and a claim that nothing verifies disregarded, with a reason, which is journaled.
    pub(super) acknowledge_unknown: bool,
}

impl Default for GatesEntry {
    fn default() -> Self {
        Self { max_violations: 0, max_blocked: 0, evidence: Evidence::Clock, acknowledge_unknown: true }
    }
}

/// How screen and tables look.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct UiEntry {
    /// Only ASCII characters, as with `--ascii`.
    pub(super) ascii: bool,
    /// When to use colour, as with `--color`.
    pub(super) color: ColorChoice,
}

/// Annotation keys on exceptions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct ExceptionsEntry {
    /// The ticket that asked for it.
    pub(super) ticket: String,
    /// Who asked for it.
    pub(super) owner: String,
    /// Until when it is meant to hold, where `spec.expiresAt` is not served.
    pub(super) expiry: String,
    /// Who reviewed it last.
    pub(super) reviewer: String,
}

impl Default for ExceptionsEntry {
    fn default() -> Self {
        let key = |name: &str| format!("policydeck.dev/{name}");
        Self { ticket: key("ticket"), owner: key("owner"), expiry: key("expires"), reviewer: key("reviewed-by") }
    }
}

/// What is recorded over time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct HistoryEntry {
    /// Whether the screen records what it sees. `policydeck observe` always does.
    pub(super) record: bool,
    /// How long records are kept: `400d`, `52w`.
    pub(super) keep: String,
    /// How much the records may take: `500MB`, `1GiB`; at least `16MiB`. Where there is more, the oldest records are dropped, and their time is a gap.
    pub(super) max_size: String,
}

impl Default for HistoryEntry {
    fn default() -> Self {
        Self { record: true, keep: "400d".into(), max_size: "1GiB".into() }
    }
}

/// The mode of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepMode {
    /// Report only.
    Audit,
    /// Refuse.
    Enforce,
}

impl StepMode {
    /// The word used in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

/// What counts as soaked time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// All time since the step was entered.
    #[default]
    Clock,
    /// Only time that was watched and without violations; a violation starts it anew.
    Observed,
}

/// An operation that an environment can deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deniable {
    /// To the next step.
    Promote,
    /// From enforce to audit.
    Demote,
    /// To what it was.
    Rollback,
    /// A plan taken back.
    Undo,
    /// Kept where it is.
    Hold,
    /// Free to go on.
    Release,
    /// Kyverno's resource webhooks removed.
    Unblock,
}

impl Deniable {
    /// The word used in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Rollback => "rollback",
            Self::Undo => "undo",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Unblock => "unblock",
        }
    }
}

/// What to do where a GitOps tool keeps the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GitOps {
    /// Refuse, and show the manifest to commit.
    #[default]
    Refuse,
    /// Warn, and go on.
    Warn,
}

/// Where a commit is pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Push {
    /// Onto the branch that the GitOps tool reads.
    Branch,
    /// Onto a branch of its own, for a pull request.
    Proposal,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The JSON Schema of the file, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<ConfigFile>().to_value();
    trim_doc_breaks(&mut schema);
    schema
}

/// Doc comments are wrapped for the source, not for editors: one line each.
fn trim_doc_breaks(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::String(text)) = object.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            object.values_mut().for_each(trim_doc_breaks);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(trim_doc_breaks),
        _ => {}
    }
}
