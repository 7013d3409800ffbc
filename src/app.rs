//! The program: the one place that knows all layers and brings them together.
//!
//! What lives here: from a command line to a running face. What does not: anything a layer could do itself. The seam to engine,
//! screen and demo is in `wiring`, files and flags become settings in `load`, commands without an engine are in `housekeeping`.

mod housekeeping;
mod load;
mod wiring;

use crate::cli::args::{self, Args, Color, Command, Demo, Format, Globals, Show};
use crate::cli::document::Style;
use crate::cli::scope::Scope;
use crate::cli::show::{Request, Streams, show};
use crate::cli::{Exit, Problem};
use crate::engine::EngineHandle;
use crate::files::{self, FileError, Paths, TemporaryFolder};
use crate::settings::ColorChoice;
use load::Loaded;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;
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
        let _ = writeln!(io::stderr(), "policydeck: {}", problem.message);
    }
    problem.exit
}

fn dispatch(args: Args, arguments: &[OsString]) -> Result<Exit, Problem> {
    let Args { globals, command } = args;
    match command {
        Some(Command::Version) => housekeeping::version(&globals),
        Some(Command::Completion { shell }) => housekeeping::completion(shell, arguments),
        Some(Command::Paths) => housekeeping::paths(&globals),
        Some(Command::Config(command)) => housekeeping::config(&command, &globals),
        Some(Command::Demo(demo)) => run_demo(&demo, globals),
        Some(Command::Show(command)) => with_runtime(&globals, run_show(&command, &globals)),
        None => with_runtime(&globals, run_screen(&globals, None)),
    }
}

/// Runs a future on a runtime of its own, with the log open.
fn with_runtime(globals: &Globals, work: impl Future<Output = Result<Exit, Problem>>) -> Result<Exit, Problem> {
    let log =
        Paths::find().and_then(|paths| files::log::start(&paths.logs, globals.verbose, std::env::var("POLICYDECK_LOG").ok().as_deref()));
    let _log = match log {
        Ok(guard) => Some(guard),
        // A full or read-only disk must not keep anybody from looking at a cluster.
        Err(error) => {
            if globals.verbose > 0 {
                let _ = writeln!(io::stderr(), "policydeck: no log: {error}");
            }
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    // Requests that nobody waits for any more may not keep the shell waiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run_show(command: &Show, globals: &Globals) -> Result<Exit, Problem> {
    let loaded = load::load(globals, wiring::actions())?;
    let mut err = io::stderr();
    for warning in &loaded.warnings {
        writeln!(err, "{warning}")?;
    }
    let terminal = io::stdout().is_terminal();
    let request = Request {
        scope: Scope { namespace: globals.namespace.clone(), filter: globals.filter.clone() },
        style: style(globals, &loaded, terminal),
        wait: globals.wait,
        environments: loaded.options.environments.len(),
        terminal,
    };
    let engine = wiring::start_engine(&loaded, false);
    let mut out = BufWriter::new(io::stdout());
    let mut streams = Streams { out: &mut out, err: &mut err };
    tokio::select! {
        result = show(command, &engine, &request, &mut streams) => result,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
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

/// The screen; where nothing can be drawn, the commands are pointed out instead.
async fn run_screen(globals: &Globals, banner: Option<String>) -> Result<Exit, Problem> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Problem::usage("the screen needs a terminal; try `policydeck violations` or `policydeck --help`".into()));
    }
    let loaded = load::load(globals, wiring::actions())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let style = ScreenStyle {
        ascii: globals.ascii || loaded.settings.ui.ascii,
        color: use_color(globals, &loaded, true),
        read_only: globals.read_only,
        banner,
        keys: loaded.settings.keys.clone(),
    };
    wiring::run_tui(wiring::start_engine(&loaded, true), style).await
}

fn run_demo(demo: &Demo, mut globals: Globals) -> Result<Exit, Problem> {
    let fleet = wiring::start_demo(demo)?;
    let folder = TemporaryFolder::new().map_err(|error| failed(&error))?;
    let kubeconfig = folder.write("kubeconfig", &fleet.kubeconfig()).map_err(|error| failed(&error))?;
    let config = folder.write("config.toml", &fleet.config_toml()).map_err(|error| failed(&error))?;
    if demo.listen {
        return with_runtime(&globals, listen(&kubeconfig.to_string_lossy()));
    }
    globals.kubeconfig = Some(kubeconfig);
    globals.config = Some(config);
    match &demo.show {
        Some(command) => with_runtime(&globals, run_show(command, &globals)),
        None => with_runtime(&globals, run_screen(&globals, Some(fleet.banner()))),
    }
}

/// Serves until ctrl-c or TERM, either of which is how it is meant to end.
async fn listen(kubeconfig: &str) -> Result<Exit, Problem> {
    let mut out = io::stdout();
    writeln!(out, "export KUBECONFIG='{}'", kubeconfig.replace('\'', "'\\''"))?;
    out.flush()?;
    writeln!(io::stderr(), "# the demo's clusters answer kubectl until ctrl-c; `kubectl config get-contexts` lists them")?;
    interrupted().await;
    Ok(Exit::Done)
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    // Where TERM cannot be listened for, ctrl-c still ends it.
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
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

/// The flag, else the configuration; `auto` means a terminal without `NO_COLOR`.
fn use_color(globals: &Globals, loaded: &Loaded, terminal: bool) -> bool {
    let configured = match loaded.settings.ui.color {
        ColorChoice::Auto => Color::Auto,
        ColorChoice::Always => Color::Always,
        ColorChoice::Never => Color::Never,
    };
    match globals.color.unwrap_or(configured) {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
