//! Configuration: text in, values and named errors out.
//!
//! What lives here: the shape of the file, its check, defaults, the text of a first configuration, and what of a kubeconfig is
//! needed to choose contexts. What does not: reading and writing files, talking to clusters.

mod check;
mod contexts;
mod init;
mod model;
mod options;
mod problem;
mod prometheus;
mod reference;
mod resolve;
mod road;
mod schema;
#[cfg(test)]
mod tests;

pub use contexts::{Context, Contexts, loose_documents};
pub use init::first_config;
pub use model::{
    ColorChoice, Deniable, EnvironmentSettings, Evidence, ExceptionKeys, Freeze, Git, GitOps, HistorySettings, Prometheus, Push, Rules,
    Settings, Step, StepMode, TokenSource, UiSettings,
};
pub use options::{EngineOptions, Impersonate};
pub use problem::{Level, Problem, Problems};
pub use reference::reference_table;
pub use schema::json_schema;

use check::check;
use problem::Places;
use schema::ConfigFile;
use toml::de::DeTable;

/// A configuration that can be used, with what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// What is probably not meant so.
    pub warnings: Problems,
}

/// Reads a configuration. `file` is its name for messages; `actions` are the actions whose keys may be changed (empty: any).
///
/// All errors that can be told apart are reported at once, in the order of the file.
pub fn parse(file: &str, text: &str, actions: &[&str]) -> Result<Loaded, Problems> {
    let places = Places::new(file, text);
    let (tree, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        let problems = syntax.iter().map(|error| {
            let span = error.span().unwrap_or(0..0);
            places.error(&span, "", error.message().lines().next().unwrap_or_default(), "")
        });
        return Err(sorted(problems.collect()));
    }
    let checked = check(tree.get_ref(), &json_schema(), &places);
    let mut problems = checked.problems;
    if checked.unreadable {
        return Err(sorted(problems));
    }
    let file: ConfigFile = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        // The words of the library repeat the value, which may be a secret in the wrong place.
        Problems(vec![places.error(&span, "", "is not valid here", "See `policydeck config schema`.")])
    })?;
    let mut resolver = resolve::Resolver { places: &places, spans: &checked.spans, actions, problems: Vec::new() };
    let settings = resolver.settings(file);
    problems.append(&mut resolver.problems);
    let problems = sorted(problems);
    if problems.0.iter().any(|problem| problem.level == Level::Error) {
        return Err(problems);
    }
    Ok(Loaded { settings, warnings: problems })
}

/// What holds where there is no file: no environment named, everything at its default.
pub fn defaults() -> Settings {
    match parse("", "", &[]) {
        Ok(loaded) => loaded.settings,
        Err(_) => Settings::default(),
    }
}

fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Problems(problems)
}
