//! From files, environment variables and flags to what the engine and the faces are started with.

use crate::cli::args::Globals;
use crate::cli::{Problem, flags};
use crate::domain::near::nearest;
use crate::files::{self, FileError, Paths};
use crate::settings::{self, Contexts, EngineOptions, EnvironmentSettings, Impersonate, Prometheus, Settings, TokenSource};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Everything that is known before anything runs.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The configuration, or its defaults.
    pub(super) settings: Settings,
    /// What the engine is started with.
    pub(super) options: EngineOptions,
    /// What is odd about the configuration.
    pub(super) warnings: Vec<String>,
}

impl Loaded {
    /// Whether the configuration names the environments, not a context alone. A context may have the name of an environment that is elsewhere.
    pub(super) fn is_configured(&self) -> bool {
        let configured = &self.settings.environments;
        let is_one = |one: &EnvironmentSettings| configured.iter().any(|other| other.name == one.name && other.context == one.context);
        !configured.is_empty() && self.options.environments.iter().all(is_one)
    }
}

/// The same for a command that needs the whole pipeline, whatever part of it `-e` or `--context` chooses; with the names of what they choose, none where
/// neither was typed.
pub(super) fn load_whole(globals: &Globals, actions: &[&str]) -> Result<(Loaded, Vec<String>), Problem> {
    let chosen = load(globals, actions)?;
    if globals.environments.is_empty() && globals.context.is_none() {
        return Ok((chosen, Vec::new()));
    }
    let names = chosen.options.environments.iter().map(|environment| environment.name.clone()).collect();
    if !chosen.is_configured() {
        return Ok((chosen, names));
    }
    let whole = Globals { environments: Vec::new(), context: None, ..globals.clone() };
    Ok((load(&whole, actions)?, names))
}

/// Rejects `-n` where the command uses whole environments.
pub(super) fn check_namespace(loaded: &Loaded, command: &'static str, globals: &Globals) -> Result<(), Problem> {
    match flags::only_one_environment(flags::named(command), globals, loaded.is_configured()) {
        Some(why) => Err(Problem::usage(why)),
        None => Ok(()),
    }
}

/// Brings file and flags together.
pub(super) fn load(globals: &Globals, actions: &[&str]) -> Result<Loaded, Problem> {
    let file = config_file(globals)?;
    let (settings, warnings) = read(file.as_ref(), actions)?;
    let mut environments = choose(globals, &settings)?;
    let base = file.as_ref().and_then(|(path, _)| path.parent()).unwrap_or(Path::new(""));
    for environment in &mut environments {
        environment.read_only |= globals.read_only;
        if let Some(written) = &environment.kubeconfig {
            environment.kubeconfig = Some(files::expand(written, base).map_err(usage)?);
        }
        if let Some(written) = &environment.rules.allowed_signers {
            environment.rules.allowed_signers = Some(files::expand(written, base).map_err(usage)?);
        }
        if let Some(git) = environment.git.as_mut().filter(|git| is_path(&git.repo)) {
            let path = files::expand(Path::new(&git.repo), base).map_err(usage)?;
            git.repo = std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned();
        }
    }
    for environment in &mut environments {
        environment.prometheus = environment.prometheus.take().map(|prometheus| whole_paths(prometheus, base)).transpose()?;
    }
    let impersonate = globals.as_user.clone().map(|user| Impersonate { user, groups: globals.as_group.clone() });
    let options =
        EngineOptions { environments, kubeconfig: globals.kubeconfig.clone(), request_timeout: globals.request_timeout, impersonate };
    Ok(Loaded { settings, options, warnings })
}

/// The same with whole paths.
fn whole_paths(mut prometheus: Prometheus, base: &Path) -> Result<Prometheus, Problem> {
    let token = match &mut prometheus.token {
        Some(TokenSource::File(file)) => Some(file),
        Some(TokenSource::Variable(_)) | None => None,
    };
    for file in token.into_iter().chain(&mut prometheus.ca_file) {
        *file = files::expand(file, base).map_err(usage)?;
    }
    Ok(prometheus)
}

/// The Prometheus of the environment that a configuration calls so.
fn choose_prometheus(settings: &Settings, name: &str) -> Option<Prometheus> {
    settings.environments.iter().find(|environment| environment.name == name)?.prometheus.clone()
}

/// Whether a repository is named by a path, as git itself tells them apart (git-fetch(1), "GIT URLS"): a colon before the first slash makes it a host's.
fn is_path(repo: &str) -> bool {
    let first = repo.split('/').next().unwrap_or_default();
    !first.contains(':')
}

/// What a configuration file says, with what is odd about it; the defaults without one.
fn read(file: Option<&(PathBuf, String)>, actions: &[&str]) -> Result<(Settings, Vec<String>), Problem> {
    let Some((path, text)) = file else { return Ok((settings::defaults(), Vec::new())) };
    let parsed = settings::parse(&path.to_string_lossy(), text, actions)
        .map_err(|problems| Problem::usage(format!("the configuration cannot be used\n{problems}")))?;
    Ok((parsed.settings, parsed.warnings.0.iter().map(ToString::to_string).collect()))
}

/// Only the configuration, for commands that need no environment.
pub(super) fn settings(globals: &Globals) -> Result<Settings, Problem> {
    Ok(read(config_file(globals)?.as_ref(), &[])?.0)
}

/// The cluster whose pod runs us, whatever kubeconfigs there are.
pub(super) fn in_cluster(globals: &Globals, name: Option<&str>) -> Result<Loaded, Problem> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Err(Problem::usage("--in-cluster is for a pod: KUBERNETES_SERVICE_HOST is not set".to_owned()));
    }
    let file = config_file(globals)?;
    let (settings, warnings) = read(file.as_ref(), &[])?;
    let mut environment = only_namespace(globals, EnvironmentSettings::in_cluster());
    if let Some(name) = name {
        name.clone_into(&mut environment.name);
    }
    // A configuration is not needed there, but only it can name a Prometheus.
    let configured = choose_prometheus(&settings, &environment.name);
    if let Some(prometheus) = configured {
        let base = file.as_ref().and_then(|(path, _)| path.parent()).unwrap_or(Path::new(""));
        environment.prometheus = Some(whole_paths(prometheus, base)?);
    }
    let options =
        EngineOptions { environments: vec![environment], kubeconfig: None, request_timeout: globals.request_timeout, impersonate: None };
    Ok(Loaded { settings, options, warnings })
}

/// The configuration file with its text: the one that is named, which has to be there, or the usual one, if it is.
fn config_file(globals: &Globals) -> Result<Option<(PathBuf, String)>, Problem> {
    if let Some(path) = &globals.config {
        return files::read_text(path).map(|text| Some((path.clone(), text))).map_err(usage);
    }
    // Without a home folder there is no usual file; only who wants to write one has to know.
    let Ok(paths) = Paths::find() else { return Ok(None) };
    match files::read_text(&paths.config) {
        Ok(text) => Ok(Some((paths.config, text))),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(usage(error)),
    }
}

fn usage(error: FileError) -> Problem {
    Problem::usage(error.what)
}

fn choose(globals: &Globals, settings: &Settings) -> Result<Vec<EnvironmentSettings>, Problem> {
    if let Some(context) = &globals.context {
        let configured: Vec<_> = settings.environments.iter().filter(|e| e.context.as_ref() == Some(context)).cloned().collect();
        return if configured.is_empty() { Ok(vec![ad_hoc(globals, context)?]) } else { Ok(configured) };
    }
    let all = if settings.environments.is_empty() { vec![current(globals)?] } else { settings.environments.clone() };
    if globals.environments.is_empty() {
        return Ok(all);
    }
    for wanted in &globals.environments {
        if !all.iter().any(|environment| environment.name == *wanted) {
            let names = || all.iter().map(|environment| environment.name.as_str());
            let hint = match nearest(wanted, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            return Err(Problem::usage(format!("there is no environment `{wanted}`; {hint}")));
        }
    }
    Ok(all.into_iter().filter(|environment| globals.environments.contains(&environment.name)).collect())
}

/// The environment of a context that the kubeconfig has.
fn ad_hoc(globals: &Globals, context: &str) -> Result<EnvironmentSettings, Problem> {
    let (contexts, files) = contexts(globals.kubeconfig.as_deref())?;
    if contexts.all.iter().any(|known| known.name == context) {
        return Ok(only_namespace(globals, EnvironmentSettings::of_context(context)));
    }
    let near = nearest(context, contexts.all.iter().map(|known| known.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(Problem::usage(format!("there is no context `{context}` in {}{hint}", named(&files))))
}

/// Where nothing is configured: the current context, else the cluster around us.
fn current(globals: &Globals) -> Result<EnvironmentSettings, Problem> {
    let (contexts, files) = contexts(globals.kubeconfig.as_deref())?;
    if let Some(context) = &contexts.current {
        return Ok(only_namespace(globals, EnvironmentSettings::of_context(context)));
    }
    if files.is_empty() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Ok(only_namespace(globals, EnvironmentSettings::in_cluster()));
    }
    let what = if files.is_empty() { "there is no kubeconfig".to_owned() } else { format!("{} has no current context", named(&files)) };
    Err(Problem::usage(format!(
        "{what} and no configuration names an environment. Name one with --context or --kubeconfig, write a configuration with \
         `policydeck config init`, or try `policydeck demo`"
    )))
}

/// Who asks about one namespace only, without a configuration, may have no rights beyond it.
fn only_namespace(globals: &Globals, mut environment: EnvironmentSettings) -> EnvironmentSettings {
    environment.namespaces = globals.namespace.iter().cloned().collect();
    environment
}

/// The contexts there are, and the files they come from.
pub(super) fn contexts(named: Option<&Path>) -> Result<(Contexts, Vec<PathBuf>), Problem> {
    let files = files::kubeconfigs(named, std::env::var_os("KUBECONFIG").as_deref());
    let mut texts = Vec::new();
    for file in &files {
        texts.push((file.to_string_lossy().into_owned(), files::read_text(file).map_err(usage)?));
    }
    let contexts = Contexts::parse(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))).map_err(Problem::usage)?;
    Ok((contexts, files))
}

fn named(files: &[PathBuf]) -> String {
    if files.is_empty() { "any kubeconfig".into() } else { files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>().join(", ") }
}

/// The configuration that would be used, whether it is there or not.
pub(super) fn config_path(globals: &Globals) -> Result<PathBuf, Problem> {
    match &globals.config {
        Some(path) => Ok(path.clone()),
        None => Ok(Paths::find().map_err(usage)?.config),
    }
}
