//! The program: the one place that knows all layers and brings them together.
//!
//! What lives here: from a command line to a running face. What does not: anything a layer could do itself. The seam to engine,
//! screen and demo is in `wiring`, files and flags become settings in `load`, commands without an engine are in `housekeeping`.

mod act;
mod audit;
mod history;
mod housekeeping;
mod load;
mod observe;
mod port;
mod sign;
mod wiring;

use crate::cli::args::{self, Args, Color, Command, Demo, Format, Globals, Show};
use crate::cli::document::Style;
use crate::cli::scope::Scope;
use crate::cli::show::{Request, Streams, show};
use crate::cli::{Exit, Problem, flags};
use crate::demo::Demo as Fleet;
use crate::domain::clean;
use crate::engine::operations::{GitRoad, Keeping};
use crate::engine::{EngineHandle, HistoryReader, JournalReader};
use crate::files::history::History;
use crate::files::{self, FileError, Paths, TemporaryFolder, Trouble};
use crate::settings::ColorChoice;
use crate::tui::Operations;
use load::Loaded;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wiring::ScreenStyle;

/// Runs the program with the arguments it was called with, the first being its name.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let exit = match args::parse(arguments) {
        Ok(args) => dispatch(args, arguments).unwrap_or_else(|problem| complain(&problem)),
        Err(error) => usage(&error),
    };
    ExitCode::from(exit as u8)
}

/// Help and version are asked for and go to stdout; anything else is wrong usage.
fn usage(error: &clap::Error) -> Exit {
    // clap writes to the right stream and knows whether it takes colour; when nobody reads it, nobody misses it.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

fn complain(problem: &Problem) -> Exit {
    if !problem.message.is_empty() {
        // The message can quote a file or a response from someone else.
        let lines: Vec<_> = problem.message.lines().map(clean).collect();
        let _ = writeln!(io::stderr(), "policydeck: {}", lines.join("\n"));
    }
    problem.exit
}

fn dispatch(args: Args, arguments: &[OsString]) -> Result<Exit, Problem> {
    let Args { globals, command } = args;
    match command {
        Some(Command::Version) => housekeeping::version(&globals),
        Some(Command::Completion { shell }) => housekeeping::completion(shell, arguments),
        Some(Command::Paths) => housekeeping::paths(&globals),
        Some(Command::Audit(command)) if audit::asks_clusters(&command) => {
            with_runtime(&globals, |_| until_interrupted(audit::run_with_clusters(&command, &globals)))
        }
        Some(Command::Audit(command)) => audit::run(&command, &globals),
        Some(Command::Config(command)) => housekeeping::config(&command, &globals),
        Some(Command::Demo(demo)) => run_demo(&demo, globals),
        Some(Command::Plan(command)) => with_runtime(&globals, |_| sign::run(&command)),
        Some(Command::Act(command)) => with_runtime(&globals, |_| act::run(&command, &globals)),
        Some(Command::Show(command)) => with_runtime(&globals, |_| run_show(&command, &globals)),
        Some(Command::Timeline(args)) => with_runtime(&globals, |_| until_interrupted(history::run_timeline(&args, &globals))),
        Some(Command::Observe(args)) => with_runtime(&globals, |_| observe::observe(&args, &globals)),
        Some(Command::History(command)) => history::history(&command, &globals),
        None => {
            // Without a home folder there is no place for what is kept.
            let paths = Paths::find().ok();
            paths.iter().try_for_each(Paths::check_own).map_err(|error| failed(&error))?;
            let data = paths.as_ref().map(Data::of);
            with_runtime(&globals, |log| run_screen(&globals, None, log, data))
        }
    }
}

/// Runs a future on a runtime of its own, with the log open. It gets what becomes of the log.
fn with_runtime<F>(globals: &Globals, work: impl FnOnce(Trouble) -> F) -> Result<Exit, Problem>
where
    F: Future<Output = Result<Exit, Problem>>,
{
    let log =
        Paths::find().and_then(|paths| files::log::start(&paths.logs, globals.verbose, std::env::var("POLICYDECK_LOG").ok().as_deref()));
    // A full or read-only disk must not keep anybody from looking at a cluster.
    let (guard, trouble) = match log {
        Ok(guard) => {
            let trouble = guard.trouble.clone();
            (Some(guard), trouble)
        }
        Err(error) => {
            let told = (globals.verbose > 0 || is_news(error.kind)).then(|| Arc::from(format!("there is no log: {error}")));
            (None, watch::Sender::new(told).subscribe())
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    let result = run_to_end(work(trouble.clone()));
    // What was still to be written is written now, or is not.
    drop(guard);
    if let Some(why) = &*trouble.borrow() {
        let _ = writeln!(io::stderr(), "policydeck: {why}");
    }
    result
}

/// Whether somebody should hear that no log can be opened. A folder that is not ours to write is how some places are.
fn is_news(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory)
}

/// Threads beside the screen's own. What they do is cut into small pieces, and handing these from one thread to another costs more than doing them: with
/// two threads instead of one, reading a million findings takes two thirds more CPU (two cores, four API servers beside it).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4))
}

fn run_to_end(work: impl Future<Output = Result<Exit, Problem>>) -> Result<Exit, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(|error| Problem::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    // Requests that nobody waits for any more may not keep the shell waiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run_show(command: &Show, globals: &Globals) -> Result<Exit, Problem> {
    // Where a policy is in its pipeline shows only on the whole of it.
    let (loaded, chosen) = match command {
        Show::Gate(_) => load::load_whole(globals, wiring::actions())?,
        _ => (load::load(globals, wiring::actions())?, Vec::new()),
    };
    load::check_namespace(&loaded, flags::of_show(command), globals)?;
    let mut err = io::stderr();
    for warning in &loaded.warnings {
        writeln!(err, "{warning}")?;
    }
    let terminal = io::stdout().is_terminal() && !is_dumb();
    // Without a home folder there are no records; records that others can change are none to judge by.
    let paths = Paths::find().ok();
    paths.iter().try_for_each(Paths::check_own).map_err(|error| failed(&error))?;
    let request = Request {
        scope: Scope { namespace: globals.namespace.clone(), filter: globals.filter.clone() },
        style: style(globals, &loaded, terminal),
        wait: globals.wait,
        environments: loaded.options.environments.len(),
        road: wiring::road(&loaded),
        into: chosen,
        // The demo's own history ends with it, so that a command on it finds none.
        history: paths.as_ref().map(|paths| HistoryReader::new(History::path(&paths.data))),
        git: paths.as_ref().map(|paths| GitRoad::new(paths.repositories(), GIT_FOLLOW)),
        journal: paths.as_ref().map(|paths| JournalReader::new(paths.journal())),
        decides: loaded.settings.acknowledge_unknown.then(wiring::maker),
        terminal,
    };
    let interrupted = interrupted();
    let engine = wiring::start_engine(&loaded, false);
    let mut out = BufWriter::new(io::stdout());
    let mut streams = Streams { out: &mut out, err: &mut err };
    tokio::select! {
        result = show(command, &engine, &request, &mut streams) => result,
        () = interrupted => Ok(Exit::Interrupted),
        why = failure(&engine) => Err(Problem::failed(format!("a part of the program failed, so its numbers cannot be trusted: {why}"))),
    }
}

/// Becomes ready when a background task panicked.
async fn failure(engine: &EngineHandle) -> String {
    let mut failed = engine.failed();
    match failed.wait_for(Option::is_some).await {
        Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
        Err(_) => "the engine has stopped".to_owned(),
    }
}

/// How long a cluster is followed after a push from the screen.
const GIT_FOLLOW: Duration = Duration::from_secs(300);

/// Where what is seen and done is kept.
struct Data {
    history: PathBuf,
    keeping: Keeping,
    /// Private copies of git repositories.
    repositories: PathBuf,
}

impl Data {
    fn of(paths: &Paths) -> Self {
        Self { history: History::path(&paths.data), keeping: wiring::keeping(paths), repositories: paths.repositories() }
    }
}

/// The screen; where nothing can be drawn, the commands are pointed out instead.
///
/// What is seen and done is kept in `data`; without a place for it, nothing is recorded and nothing can be done.
async fn run_screen(globals: &Globals, demo: Option<&Fleet>, log: Trouble, data: Option<Data>) -> Result<Exit, Problem> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Problem::usage("the screen needs a terminal; try `policydeck violations` or `policydeck --help`".into()));
    }
    if is_dumb() {
        return Err(Problem::usage(
            "the screen cannot be drawn on this terminal (TERM=dumb); `policydeck status` and `policydeck violations` print what it would show"
                .into(),
        ));
    }
    let loaded = load::load(globals, wiring::actions())?;
    load::check_namespace(&loaded, "", globals)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let engine = wiring::start_engine(&loaded, true);
    let road = wiring::road(&loaded);
    let git = data.as_ref().map(|data| GitRoad::new(data.repositories.clone(), GIT_FOLLOW));
    let (history, keeping) = data.map(|data| (data.history, data.keeping)).unzip();
    let reader = history.clone().map(HistoryReader::new);
    let journal = keeping.as_ref().map(|keeping| JournalReader::new(keeping.journal.clone()));
    let operations = match keeping {
        _ if globals.read_only => Operations::Impossible("the screen was started with --read-only: nothing is changed"),
        Some(_) => Operations::Possible { acknowledge: loaded.settings.acknowledge_unknown },
        None => Operations::Impossible("there is no data folder for the journal and what was there before: set HOME"),
    };
    let operator = keeping
        .zip(reader.clone())
        .filter(|_| matches!(operations, Operations::Possible { .. }))
        .zip(git)
        .map(|((keeping, reader), git)| wiring::operator(&engine, &loaded, keeping, reader).with_git(git));
    let style = ScreenStyle {
        ascii: globals.ascii || loaded.settings.ui.ascii,
        color: use_color(globals, &loaded, true),
        read_only: globals.read_only,
        banner: demo.map(Fleet::banner),
        guide: demo.and_then(Fleet::guide),
        keys: loaded.settings.keys.clone(),
        road,
        history: reader,
        journal,
        operator,
        operations,
        log: Some(log),
    };
    let recorder = match history.filter(|_| loaded.settings.history.record) {
        Some(file) => Some(wiring::start_recorder(&engine, &loaded, &file, "screen")?),
        None => None,
    };
    wiring::run_tui(engine, style, recorder).await
}

fn run_demo(demo: &Demo, mut globals: Globals) -> Result<Exit, Problem> {
    let fleet = wiring::start_demo(demo)?;
    let folder = TemporaryFolder::new().map_err(|error| failed(&error))?;
    let kubeconfig = if demo.listen { fleet.kubeconfig_for_kubectl() } else { fleet.kubeconfig() };
    let kubeconfig = folder.write("kubeconfig", &kubeconfig).map_err(|error| failed(&error))?;
    let config = folder.write("config.toml", fleet.config_toml()).map_err(|error| failed(&error))?;
    if demo.listen {
        return with_runtime(&globals, |_| listen(&kubeconfig));
    }
    globals.kubeconfig = Some(kubeconfig);
    // What the demo keeps goes with it, and nothing of it comes among what was done to real clusters.
    let place = |name: &str| config.with_file_name(name);
    let keeping = Keeping { journal: place("journal"), archives: place("archives") };
    let data = Data { history: place("history.db"), keeping, repositories: place("repositories") };
    globals.config = Some(config);
    match &demo.show {
        Some(command) => with_runtime(&globals, |_| run_show(command, &globals)),
        None => with_runtime(&globals, |log| run_screen(&globals, Some(&fleet), log, Some(data))),
    }
}

/// Serves until ctrl-c or TERM, either of which is how it is meant to end.
async fn listen(kubeconfig: &Path) -> Result<Exit, Problem> {
    let mut out = io::stdout();
    writeln!(out, "export KUBECONFIG='{}'", kubeconfig.to_string_lossy().replace('\'', "'\\''"))?;
    out.flush()?;
    writeln!(io::stderr(), "# the demo's clusters answer kubectl until ctrl-c; `kubectl config get-contexts` lists them")?;
    interrupted().await;
    Ok(Exit::Done)
}

/// Work that ctrl-c and TERM end, and with it the programs that it has started: a signal that nothing listens for would end this program alone.
async fn until_interrupted(work: impl Future<Output = Result<Exit, Problem>>) -> Result<Exit, Problem> {
    let interrupted = interrupted();
    tokio::select! {
        result = work => result,
        () = interrupted => Ok(Exit::Interrupted),
    }
}

/// Becomes ready at ctrl-c and TERM. Both are listened for from the call on, not from the first poll: call it before anything is started that would be
/// left behind.
#[cfg(unix)]
fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listeners = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [interrupt, terminate] = listeners.map(arrival);
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}

/// Becomes ready when the signal arrives; never where it could not be listened for, and then the signal ends the program by itself.
#[cfg(unix)]
async fn arrival(listener: io::Result<tokio::signal::unix::Signal>) {
    match listener {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    drop(tokio::signal::ctrl_c().await);
}

fn failed(error: &FileError) -> Problem {
    Problem::failed(error.to_string())
}

fn style(globals: &Globals, loaded: &Loaded, terminal: bool) -> Style {
    Style {
        format: globals.output,
        color: globals.output == Format::Table && use_color(globals, loaded, terminal),
        ascii: globals.ascii || loaded.settings.ui.ascii,
        compact: false,
    }
}

/// Whether the terminal understands no escape sequences: an editor's shell, or paper.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The flag, else the configuration; `auto` means a terminal that knows colours, without `NO_COLOR`.
fn use_color(globals: &Globals, loaded: &Loaded, terminal: bool) -> bool {
    let configured = match loaded.settings.ui.color {
        ColorChoice::Auto => Color::Auto,
        ColorChoice::Always => Color::Always,
        ColorChoice::Never => Color::Never,
    };
    match globals.color.unwrap_or(configured) {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
