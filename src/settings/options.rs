//! What the engine is started with: configuration and command line, already brought together.

use super::model::EnvironmentSettings;
use std::path::PathBuf;
use std::time::Duration;

/// Which environments to follow, and how to reach them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineOptions {
    /// The environments, in the order of the road; their kubeconfigs are whole paths.
    pub environments: Vec<EnvironmentSettings>,
    /// `--kubeconfig`: the kubeconfig of all environments, whatever they name themselves. Without either, `KUBECONFIG` and the default count.
    pub kubeconfig: Option<PathBuf>,
    /// `--request-timeout`: how long a single request (never a watch) may take. Zero means no limit, `None` the engine's own.
    pub request_timeout: Option<Duration>,
    /// `--as` and `--as-group`.
    pub impersonate: Option<Impersonate>,
}

/// Whom to act as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonate {
    /// The user.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
}
