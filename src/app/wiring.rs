//! The seam to the layers that run: engine, screen, demo. Each function is the only place that names its layer.

use super::load::Loaded;
use crate::cli::args::Demo;
use crate::cli::{Exit, Problem};
use crate::engine::EngineHandle;

/// The actions whose keys may be changed, from the screen's own table; empty means that any name is taken.
pub(super) fn actions() -> &'static [&'static str] {
    &[]
}

/// Starts the engine on `loaded.options`.
pub(super) fn start_engine(loaded: &Loaded) -> Result<EngineHandle, Problem> {
    let names = loaded.options.environments.iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>();
    Err(Problem::failed(format!("this build has no engine to follow {} with", names.join(", "))))
}

/// How the screen is to look, from flags and configuration.
#[derive(Debug, Clone, Default)]
#[expect(dead_code, reason = "read by the screen")]
pub(super) struct ScreenStyle {
    /// Only ASCII characters.
    pub(super) ascii: bool,
    /// Whether to use colour at all.
    pub(super) color: bool,
    /// Nothing may be changed anywhere.
    pub(super) read_only: bool,
    /// A sentence to show all the time.
    pub(super) banner: Option<String>,
}

/// Runs the screen until it is left.
#[expect(clippy::unused_async, reason = "the screen awaits")]
pub(super) async fn run_tui(_engine: EngineHandle, _loaded: &Loaded, _style: ScreenStyle) -> Result<Exit, Problem> {
    Err(Problem::failed("this build has no screen".into()))
}

/// A running demo; dropping it stops its servers.
#[derive(Debug)]
pub(super) struct DemoFleet {
    /// The text of a kubeconfig with a context per cluster.
    pub(super) kubeconfig: String,
    /// The text of a configuration with an environment per cluster.
    pub(super) config: String,
    /// What the screen says all the time.
    pub(super) banner: String,
}

/// Starts the demo's servers. Called before and dropped after our own runtime: they have one of their own.
pub(super) fn start_demo(_demo: &Demo) -> Result<DemoFleet, Problem> {
    Err(Problem::failed("this build has no demo".into()))
}
