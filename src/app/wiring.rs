//! The seam to the layers that run: engine, screen, demo. Each function is the only place that names its layer.

use super::load::Loaded;
use crate::cli::args::{Demo, Globals};
use crate::cli::{Exit, Problem};
use crate::cluster::ClusterSpec;
use crate::engine::{self, EngineHandle};
use crate::settings::EnvironmentSettings;
use std::sync::Arc;
use std::time::Duration;

/// The actions whose keys may be changed, from the screen's own table; empty means that any name is taken.
pub(super) fn actions() -> &'static [&'static str] {
    &[]
}

/// How long a request may take where nobody says: the time in which a big Table arrives over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the engine on `loaded.options`; `summaries` asks for totals before results, for those who look while it fills.
pub(super) fn start_engine(loaded: &Loaded, summaries: bool) -> EngineHandle {
    let options = &loaded.options;
    let spec = |environment: &EnvironmentSettings| ClusterSpec {
        name: Arc::from(environment.name.as_str()),
        tier: environment.tier,
        context: environment.context.clone(),
        kubeconfig: environment.kubeconfig.clone().or_else(|| options.kubeconfig.clone()),
        namespaces: environment.namespaces.clone(),
        request_timeout: options.request_timeout.unwrap_or(REQUEST_TIMEOUT),
        impersonate_user: options.impersonate.as_ref().map(|who| who.user.clone()),
        impersonate_groups: options.impersonate.as_ref().map(|who| who.groups.clone()).unwrap_or_default(),
        summaries,
    };
    engine::start(options.environments.iter().map(spec).collect())
}

/// Runs the screen until it is left.
#[expect(clippy::unused_async, reason = "the screen awaits")]
pub(super) async fn run_tui(_engine: EngineHandle, _loaded: &Loaded, _globals: &Globals, _color: bool) -> Result<Exit, Problem> {
    Err(Problem::failed("this build has no screen".into()))
}

/// A running demo; dropping it stops its servers.
pub(super) struct DemoFleet {
    /// The text of a kubeconfig with a context per cluster.
    pub(super) kubeconfig: String,
    /// The text of a configuration with an environment per cluster.
    pub(super) config: String,
}

/// Starts the demo's servers.
#[expect(clippy::unused_async, reason = "the demo's servers are started on the runtime")]
pub(super) async fn start_demo(_demo: &Demo) -> Result<DemoFleet, Problem> {
    Err(Problem::failed("this build has no demo".into()))
}
