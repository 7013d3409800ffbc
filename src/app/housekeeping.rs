//! Commands that need no cluster: version, completion, paths, configuration.

use super::load::{config_path, contexts};
use super::wiring;
use crate::cli::about::{PathItem, VersionItem};
use crate::cli::args::{self, ConfigCommand, Format, Globals};
use crate::cli::document::{self, Head, Item, Style};
use crate::cli::{Exit, Problem};
use crate::domain::Tier;
use crate::files::{self, Paths};
use crate::settings::{self, EnvironmentSettings};
use clap_complete::Shell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

pub(super) fn version(globals: &Globals) -> Result<Exit, Problem> {
    if globals.output == Format::Table {
        let VersionItem { name, version } = VersionItem::CURRENT;
        writeln!(io::stdout(), "{name} {version}")?;
        return Ok(Exit::Done);
    }
    print(globals, "Version", &[VersionItem::CURRENT])
}

pub(super) fn completion(shell: Shell, arguments: &[OsString]) -> Result<Exit, Problem> {
    let called = arguments.first().map(OsString::as_os_str);
    let mut command = args::command(called);
    // Shells complete the file that is called, which for a plugin is `kubectl-policydeck`.
    let name = if args::is_plugin(called) { "kubectl-policydeck" } else { "policydeck" };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}

pub(super) fn paths(globals: &Globals) -> Result<Exit, Problem> {
    let paths = Paths::find().map_err(|error| Problem::failed(error.what))?;
    let config = globals.config.as_ref().unwrap_or(&paths.config);
    let item = |name, path: &Path| PathItem { name, path: path.to_string_lossy().into_owned() };
    print(globals, "Paths", &[item("config", config), item("data", &paths.data), item("logs", &paths.logs), item("cache", &paths.cache)])
}

fn print<T: Item<Context = ()>>(globals: &Globals, kind: &'static str, items: &[T]) -> Result<Exit, Problem> {
    let style = Style { format: globals.output, color: false, ascii: globals.ascii, compact: false };
    document::write(&mut io::stdout(), style, Head::new(kind, jiff::Timestamp::now(), true), (), items)?;
    Ok(Exit::Done)
}

pub(super) fn config(command: &ConfigCommand, globals: &Globals) -> Result<Exit, Problem> {
    match command {
        ConfigCommand::Init { force } => init(*force, globals),
        ConfigCommand::Check { file } => match file {
            Some(file) => check(file, globals),
            None => check(&config_path(globals)?, globals),
        },
        ConfigCommand::Schema => {
            writeln!(io::stdout(), "{:#}", settings::json_schema())?;
            Ok(Exit::Done)
        }
    }
}

fn init(force: bool, globals: &Globals) -> Result<Exit, Problem> {
    let path = config_path(globals)?;
    if !force && files::exists(&path) {
        return Err(Problem::failed(format!("{} exists; --force overwrites it", path.display())));
    }
    let (contexts, files) = contexts(globals.kubeconfig.as_deref())?;
    files::write_atomic(&path, settings::first_config(&contexts).as_bytes()).map_err(|error| Problem::failed(error.what))?;
    let mut err = io::stderr();
    if files.is_empty() {
        writeln!(err, "there is no kubeconfig, so no environment is named in it")?;
    }
    writeln!(io::stdout(), "{}", path.display())?;
    writeln!(err, "{} environments, ordered by what their contexts are called: read it before you rely on it", contexts.all.len())?;
    Ok(Exit::Done)
}

fn check(path: &Path, globals: &Globals) -> Result<Exit, Problem> {
    let text = files::read_text(path).map_err(|error| Problem::usage(error.what))?;
    let mut err = io::stderr();
    let loaded = match settings::parse(&path.to_string_lossy(), &text, wiring::actions()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(err, "{problems}")?;
            return Ok(Exit::Usage);
        }
    };
    for warning in &loaded.warnings.0 {
        writeln!(err, "{warning}")?;
    }
    wiring::keys(&loaded.settings.keys)?;
    let environments = &loaded.settings.environments;
    missing_contexts(environments, globals, &mut err)?;
    let road: Vec<String> = environments.iter().map(stop).collect();
    let road = if road.is_empty() { "the current context is the single environment".to_owned() } else { road.join(" → ") };
    writeln!(io::stdout(), "{}: valid; {road}", path.display())?;
    Ok(Exit::Done)
}

/// A context that is not there is no error of the file: it may be checked on another machine.
fn missing_contexts(environments: &[EnvironmentSettings], globals: &Globals, err: &mut dyn Write) -> Result<(), Problem> {
    let Ok((contexts, _)) = contexts(globals.kubeconfig.as_deref()) else { return Ok(()) };
    for environment in environments.iter().filter(|environment| environment.kubeconfig.is_none() || globals.kubeconfig.is_some()) {
        let Some(context) = &environment.context else { continue };
        if !contexts.all.iter().any(|known| known.name == *context) {
            writeln!(err, "warning: {}: there is no context `{context}` in the kubeconfig here", environment.name)?;
        }
    }
    Ok(())
}

fn stop(environment: &EnvironmentSettings) -> String {
    let steps: Vec<&str> = environment.steps.iter().map(|step| step.mode.as_str()).collect();
    let tier = if environment.tier == Tier::Production { ", PRODUCTION" } else { "" };
    format!("{} ({}{tier})", environment.name, steps.join(", "))
}
