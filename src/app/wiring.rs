//! The seam to the layers that run: engine, screen, demo. Each function is the only place that names its layer.

use super::load::Loaded;
use crate::cli::args::Demo as DemoArgs;
use crate::cli::{Exit, Problem};
use crate::cluster::{ClusterSpec, ObjectLimit, REQUEST_TIMEOUT, Timing};
use crate::demo::{Demo, DemoOptions, Scenario};
use crate::domain::history::Retention;
use crate::engine::operations::{Keeping, Operator};
use crate::engine::recorder::{self, MetricSource, Recorder, RecorderOptions, RecorderStatus};
use crate::engine::{self, EngineHandle, HistoryReader, JournalReader};
use crate::files::history::History;
use crate::files::{self, Paths, Trouble};
use crate::ops::road::Road;
use crate::settings::EnvironmentSettings;
use crate::tui::{self, ColorDepth, Keymap, Operations, Saver, TuiOptions};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The actions whose keys may be changed, from the screen's own table.
pub(super) fn actions() -> &'static [&'static str] {
    tui::actions()
}

/// The keys of a configuration; two actions on one key are refused.
pub(super) fn keys(set: &BTreeMap<String, String>) -> Result<Keymap, Problem> {
    Keymap::new(set).map_err(|why| Problem::usage(format!("the configuration cannot be used\n{why}")))
}

/// Starts the engine on `loaded.options`. `summaries` asks for totals before results, for those who look while it fills.
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
        timing: timing(),
        object_limit: object_limit(),
    };
    engine::start(options.environments.iter().map(spec).collect())
}

/// The road: the whole one, even if only some of its environments are watched. A step that nobody watches is not skipped for that.
pub(super) fn road(loaded: &Loaded) -> Road {
    let (whole, watched) = (&loaded.settings.environments, &loaded.options.environments);
    let expiry_key = loaded.settings.exceptions.expiry.clone();
    if !loaded.is_configured() {
        return Road::new(watched.clone()).with_expiry_key(expiry_key);
    }
    // What flags say of an environment is said of those that are watched.
    let as_asked = |one: &EnvironmentSettings| watched.iter().find(|other| other.name == one.name).unwrap_or(one).clone();
    Road::new(whole.iter().map(as_asked).collect()).with_expiry_key(expiry_key)
}

/// Where this user's operations leave their traces.
pub(super) fn keeping(paths: &Paths) -> Keeping {
    Keeping { journal: paths.journal(), archives: paths.archives() }
}

/// Who makes plans and carries them out over a running engine, with their traces where this user's are.
pub(super) fn own_operator(engine: &EngineHandle, loaded: &Loaded, paths: &Paths) -> Operator {
    operator(engine, loaded, keeping(paths), HistoryReader::new(History::path(&paths.data)))
}

/// Who makes plans and decisions, as they say it.
pub(super) fn maker() -> String {
    let me = files::who(None);
    if me.host.is_empty() { me.to_string() } else { format!("{me}@{}", me.host) }
}

/// The same, with their traces there.
pub(super) fn operator(engine: &EngineHandle, loaded: &Loaded, keeping: Keeping, history: HistoryReader) -> Operator {
    Operator::new(engine.clone(), road(loaded), keeping, loaded.settings.acknowledge_unknown, history, maker())
        .noting(loaded.settings.history.record)
        .timed(timing())
}

/// How long others are waited for. A build for tests can be asked for a fraction of it; a release does not know how.
fn timing() -> Timing {
    let haste = if cfg!(debug_assertions) { std::env::var("POLICYDECK_HASTE").ok() } else { None };
    match haste.and_then(|by| by.parse().ok()) {
        Some(by) => Timing::default().divided(by),
        None => Timing::default(),
    }
}

/// How large an object may be. A build for tests can be asked for another limit, in bytes.
fn object_limit() -> ObjectLimit {
    let bytes = if cfg!(debug_assertions) { std::env::var("POLICYDECK_OBJECT_LIMIT").ok() } else { None };
    bytes.and_then(|bytes| bytes.parse().ok()).map_or_else(ObjectLimit::default, ObjectLimit)
}

/// Where things are kept, if nobody else can change what is there.
pub(super) fn own_paths() -> Result<Paths, Problem> {
    let paths = Paths::find().map_err(|error| Problem::failed(error.what))?;
    paths.check_own().map_err(|error| Problem::failed(error.what))?;
    Ok(paths)
}

/// Where the history of this user is kept.
pub(super) fn history_file() -> Result<PathBuf, Problem> {
    Ok(History::path(&own_paths()?.data))
}

/// Starts recording what `engine` sees to `file`. `name` tells what kind of recorder it is.
pub(super) fn start_recorder(engine: &EngineHandle, loaded: &Loaded, file: &Path, name: &str) -> Result<Recorder, Problem> {
    let history = &loaded.settings.history;
    let retention = Retention::of(history.keep).within(history.max_size);
    let options = RecorderOptions { file: file.to_path_buf(), name: name.to_owned(), retention, metrics: metrics(loaded) };
    recorder::record(engine, options).map_err(|error| Problem::failed(format!("cannot start recording: {error}")))
}

/// Who knows of each environment what Kyverno refused while nobody watched.
fn metrics(loaded: &Loaded) -> Vec<MetricSource> {
    let source = |environment: &EnvironmentSettings| {
        let prometheus = environment.prometheus.clone()?;
        Some(MetricSource { environment: Arc::from(environment.name.as_str()), prometheus })
    };
    loaded.options.environments.iter().filter_map(source).collect()
}

/// Why something is not recorded: everything, or an environment.
fn first_trouble(status: &RecorderStatus) -> Option<Arc<str>> {
    let ended = || status.ended.first_key_value().map(|(name, why)| Arc::from(format!("{name} is not recorded: {why}")));
    status.trouble.clone().or_else(ended)
}

/// The first trouble of the log, then that of the recorder, as the screen tells it.
fn troubles(mut log: Trouble, recorder: &Recorder) -> Trouble {
    let mut status = recorder.status();
    let first = log.borrow_and_update().clone();
    let (sender, told) = tokio::sync::watch::channel(first);
    tokio::spawn(async move {
        let mut log_is_open = true;
        loop {
            let trouble = tokio::select! {
                changed = log.changed(), if log_is_open => {
                    log_is_open = changed.is_ok();
                    log.borrow_and_update().clone()
                }
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    first_trouble(&status.borrow_and_update())
                }
            };
            if trouble.is_some() {
                sender.send_if_modified(|told| {
                    let news = *told != trouble;
                    told.clone_from(&trouble);
                    news
                });
            }
        }
    });
    told
}

/// How the screen is to look, from flags and configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct ScreenStyle {
    /// Only ASCII characters.
    pub(super) ascii: bool,
    /// Whether to use colour at all.
    pub(super) color: bool,
    /// Nothing may be changed anywhere.
    pub(super) read_only: bool,
    /// A sentence to show all the time.
    pub(super) banner: Option<String>,
    /// What to do next, for somebody who is guided.
    pub(super) guide: Option<tokio::sync::watch::Receiver<Arc<str>>>,
    /// Keys from the configuration, by action.
    pub(super) keys: BTreeMap<String, String>,
    /// The road that policies go.
    pub(super) road: Road,
    /// Where what was observed over time can be read.
    pub(super) history: Option<HistoryReader>,
    /// Where what is done is written down.
    pub(super) journal: Option<JournalReader>,
    /// Who changes things for the person, or why nobody does.
    pub(super) operator: Option<Operator>,
    /// Whether things can be changed.
    pub(super) operations: Operations,
    /// What becomes of the log.
    pub(super) log: Option<Trouble>,
}

/// Runs the screen until it is left, and records meanwhile, if there is a recorder.
pub(super) async fn run_tui(engine: EngineHandle, mut style: ScreenStyle, recorder: Option<Recorder>) -> Result<Exit, Problem> {
    if let Some(recorder) = &recorder {
        let log = style.log.take().unwrap_or_else(|| tokio::sync::watch::Sender::new(None).subscribe());
        style.log = Some(troubles(log, recorder));
    }
    let result = run_screen(engine, style).await;
    if let Some(recorder) = recorder {
        recorder.finish().await;
    }
    result
}

async fn run_screen(engine: EngineHandle, style: ScreenStyle) -> Result<Exit, Problem> {
    let variable = |name: &str| std::env::var(name).ok();
    // `NO_COLOR` has been weighed against flag and configuration.
    let no_color = (!style.color).then_some("1");
    let depth = ColorDepth::detect(no_color, variable("COLORTERM").as_deref(), variable("TERM").as_deref());
    let keys = keys(&style.keys)?;
    let records = watch_records(style.history.clone(), style.journal.clone());
    let options = TuiOptions {
        ascii: style.ascii,
        depth,
        banner: style.banner,
        guide: style.guide,
        read_only: style.read_only,
        keys,
        road: style.road,
        history: style.history,
        journal: style.journal,
        operations: style.operations,
        save: Paths::find().is_ok().then(|| Saver::new(save)),
        records: Some(records),
        trouble: style.log,
        ..TuiOptions::default()
    };
    match tui::run(engine, style.operator, options).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Problem::failed(error.to_string())),
    }
}

/// How often it is looked whether history and journal can be read.
const RECORDS_LOOKED_AT: Duration = Duration::from_secs(60);

/// Problems of history and journal, until the receiver is dropped.
fn watch_records(history: Option<HistoryReader>, journal: Option<JournalReader>) -> Trouble {
    let (sender, told) = tokio::sync::watch::channel(None);
    tokio::spawn(async move {
        loop {
            let all = engine::troubles(history.as_ref(), journal.as_ref()).await;
            let trouble = (!all.is_empty()).then(|| Arc::from(all.join("; ")));
            sender.send_if_modified(|told| {
                let news = *told != trouble;
                *told = trouble;
                news
            });
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(RECORDS_LOOKED_AT) => {}
            }
        }
    });
    told
}

/// Keeps a screen's text in the data folder, under the time of day; says where.
fn save(text: &str) -> Result<String, String> {
    let stem = jiff::Zoned::now().strftime("policydeck-%Y%m%d-%H%M%S").to_string();
    let folder = Paths::find().map_err(|error| error.what)?.saved();
    let path = files::save_new(&folder, &stem, "txt", text).map_err(|error| match error.kind {
        // Others could change that folder: the remedy is in the words.
        ErrorKind::InvalidInput => error.what,
        // The cause first: a long path may be cut off.
        kind => format!("{kind} in {}", folder.display()),
    })?;
    Ok(path.to_string_lossy().into_owned())
}

/// Starts the demo's servers; dropping them stops them. Called before and dropped after our own runtime: they have one of their own.
///
/// In debug builds, `POLICYDECK_REHEARSE_SOAK=1s` makes the story's soaks that short, so that a test can follow its guide.
pub(super) fn start_demo(demo: &DemoArgs) -> Result<Demo, Problem> {
    let scenario = match &demo.scenario {
        Some(name) => Scenario::named(name).map_err(|error| Problem::usage(error.to_string()))?,
        None => Scenario::default(),
    };
    #[cfg(debug_assertions)]
    let scenario = match std::env::var("POLICYDECK_REHEARSE_SOAK") {
        Ok(soak) => scenario.soaking(soak),
        Err(_) => scenario,
    };
    Demo::start(DemoOptions { listen_port: demo.port, scenario, ..DemoOptions::default() })
        .map_err(|error| Problem::failed(error.to_string()))
}
