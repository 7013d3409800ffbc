//! The seam to the layers that run: engine, screen, demo. Each function is the only place that names its layer.

use super::load::Loaded;
use crate::cli::args::{Demo as DemoArgs, Globals};
use crate::cli::{Exit, Problem};
use crate::cluster::ClusterSpec;
use crate::demo::{Demo, DemoOptions, Scenario};
use crate::engine::{self, EngineHandle};
use crate::settings::EnvironmentSettings;
use crate::tui::{self, ColorDepth, TuiOptions};
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
        kubeconfig: options.kubeconfig.clone().or_else(|| environment.kubeconfig.clone()),
        namespaces: environment.namespaces.clone(),
        request_timeout: options.request_timeout.unwrap_or(REQUEST_TIMEOUT),
        impersonate_user: options.impersonate.as_ref().map(|who| who.user.clone()),
        impersonate_groups: options.impersonate.as_ref().map(|who| who.groups.clone()).unwrap_or_default(),
        summaries,
    };
    engine::start(options.environments.iter().map(spec).collect())
}

/// Runs the screen until it is left.
pub(super) async fn run_tui(engine: EngineHandle, loaded: &Loaded, globals: &Globals, look: Look) -> Result<Exit, Problem> {
    let variable = |name: &str| std::env::var(name).ok();
    // `NO_COLOR` has been weighed against flag and configuration.
    let no_color = (!look.color).then_some("1");
    let depth = ColorDepth::detect(no_color, variable("COLORTERM").as_deref(), variable("TERM").as_deref());
    let options = TuiOptions {
        ascii: globals.ascii || loaded.settings.ui.ascii,
        depth,
        banner: look.banner,
        read_only: globals.read_only,
        ..TuiOptions::default()
    };
    match tui::run(engine, options).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Problem::failed(error.to_string())),
    }
}

/// How the screen is to look, as far as the command line knows.
pub(super) struct Look {
    /// Colours are wanted.
    pub(super) color: bool,
    /// A sentence for the header.
    pub(super) banner: Option<String>,
}

/// Starts the demo's servers.
pub(super) fn start_demo(demo: &DemoArgs) -> Result<Demo, Problem> {
    let scenario = match &demo.scenario {
        Some(name) => Scenario::named(name).map_err(|error| Problem::usage(error.to_string()))?,
        None => Scenario::default(),
    };
    Demo::start(DemoOptions { listen_port: demo.port, scenario, ..DemoOptions::default() })
        .map_err(|error| Problem::failed(error.to_string()))
}
