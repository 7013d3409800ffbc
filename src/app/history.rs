//! Commands on the history: `timeline`, `history export`, `history prune`.

use super::load::{self, Loaded};
use super::{style, wiring};
use crate::cli::args::{Format, Globals, HistoryCommand, TimelineArgs};
use crate::cli::document::{self, Head};
use crate::cli::settle::settle;
use crate::cli::timeline::{self, TimelineItem};
use crate::cli::{Exit, Problem};
use crate::domain::history::{Interval, Retention};
use crate::engine::recorder::Recorder;
use crate::engine::{Failure, HistoryReader};
use crate::files::history::{History, HistoryError};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// After everything is there, how long the recorder takes to look.
const LOOK: Duration = Duration::from_millis(600);
/// How long the objects of policies that were not on record may take.
const OBJECTS: Duration = Duration::from_secs(15);

/// What a policy did over time. Unless it may not be recorded, the clusters are looked at first, so that the answer goes up to now.
pub(super) async fn run_timeline(args: &TimelineArgs, globals: &Globals) -> Result<Exit, Problem> {
    let loaded = load::load(globals, wiring::actions())?;
    load::check_namespace(&loaded, "timeline", globals)?;
    let mut err = io::stderr();
    for warning in &loaded.warnings {
        writeln!(err, "{warning}")?;
    }
    let file = wiring::history_file()?;
    // What is recorded has the servers' time; a clock here that is wrong must not lead into their future.
    let mut now = Timestamp::now();
    if loaded.settings.history.record && !args.no_look {
        now = look(&loaded, globals, &file, &mut err).await?.unwrap_or(now);
    }
    let reader = HistoryReader::new(file);
    let known = reader.policies().await.map_err(unreadable)?;
    if known.is_empty() {
        let message = "nothing has been recorded yet: the screen and `policydeck observe` record while they run".to_owned();
        return Err(Problem { exit: Exit::Unknown, message });
    }
    let policy = timeline::choose(&args.policy, &known)?;
    let window = Interval { from: now.checked_sub(args.last).unwrap_or(Timestamp::UNIX_EPOCH), to: now };
    let wanted: Vec<String> = loaded.options.environments.iter().map(|environment| environment.name.clone()).collect();
    let roads = reader.timeline(policy, window, args.width, now).await.map_err(unreadable)?.map(|timeline| timeline.roads);
    let items = timeline::items(roads.unwrap_or_default(), &wanted);
    let missing: Vec<&String> = wanted.iter().filter(|name| !items.iter().any(|item| item.name == **name)).collect();
    for name in &missing {
        writeln!(err, "{name}: nothing is on record of this time")?;
    }
    print(&items, window, missing.is_empty(), globals, &loaded)?;
    Ok(Exit::of(missing.is_empty()))
}

fn print(items: &[TimelineItem], window: Interval, complete: bool, globals: &Globals, loaded: &Loaded) -> Result<(), Problem> {
    let style = style(globals, loaded, io::stdout().is_terminal());
    let mut out = BufWriter::new(io::stdout());
    if style.format == Format::Table {
        timeline::draw(&mut out, items, window, style.ascii)?;
        out.flush()?;
    } else {
        document::write(&mut out, style, Head::new("Timeline", window.to, complete), (), items)?;
    }
    Ok(())
}

/// Looks at the clusters once and records what is there. The latest time by their servers' clocks.
async fn look(loaded: &Loaded, globals: &Globals, file: &std::path::Path, err: &mut dyn Write) -> Result<Option<Timestamp>, Problem> {
    let engine = wiring::start_engine(loaded, false);
    let recorder = wiring::start_recorder(&engine, loaded, file, "timeline")?;
    let fleet = settle(engine.fleet(), loaded.options.environments.len(), globals.wait, err).await?;
    for view in fleet.environments.iter().filter(|view| !view.complete) {
        writeln!(err, "{}: it could not be looked at whole ({})", view.name, view.link.as_str())?;
    }
    sleep(LOOK).await;
    // What comes later is on record for the next time.
    let _ = timeout(OBJECTS, until_read(&recorder)).await;
    if let Some(trouble) = &recorder.status().borrow().trouble {
        writeln!(err, "{trouble}")?;
    }
    recorder.finish().await;
    Ok(fleet.environments.iter().filter_map(|view| engine.server_time(&view.name)).max())
}

/// Waits until no object is wanted any more.
async fn until_read(recorder: &Recorder) {
    let mut status = recorder.status();
    // Where the recorder has ended nothing more comes.
    let _ = status.wait_for(|status| status.trouble.is_some() || status.objects_wanted == 0).await;
}

fn unreadable(failure: Failure) -> Problem {
    Problem::failed(failure.what)
}

fn failed(error: &HistoryError) -> Problem {
    Problem::failed(error.to_string())
}

/// Runs `history …`.
pub(super) fn history(command: &HistoryCommand, globals: &Globals) -> Result<Exit, Problem> {
    match command {
        HistoryCommand::Export => export(),
        HistoryCommand::Prune { keep } => prune(*keep, globals),
    }
}

/// Everything on record as JSON lines.
fn export() -> Result<Exit, Problem> {
    let Some(history) = History::open_existing(&wiring::history_file()?).map_err(|error| failed(&error))? else { return Ok(Exit::Done) };
    let mut out = BufWriter::new(io::stdout());
    let mut written = Ok(());
    let each = &mut |record: &serde_json::Value| {
        written = writeln!(out, "{record}");
        written.is_ok()
    };
    history.export(each).map_err(|error| failed(&error))?;
    written?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Forgets what is old, and gives its room back.
fn prune(keep: Option<SignedDuration>, globals: &Globals) -> Result<Exit, Problem> {
    let settings = load::settings(globals)?.history;
    let retention = Retention::of(keep.unwrap_or(settings.keep)).within(settings.max_size);
    let file = wiring::history_file()?;
    if History::open_existing(&file).map_err(|error| failed(&error))?.is_none() {
        writeln!(io::stderr(), "nothing has been recorded yet")?;
        return Ok(Exit::Done);
    }
    let mut history = History::open(&file).map_err(|error| failed(&error))?;
    let now = Timestamp::now();
    let pruned = history.prune(retention, now).map_err(|error| failed(&error))?;
    let fits = history.keep_within(retention.most, now).map_err(|error| failed(&error))?;
    history.compact().map_err(|error| failed(&error))?;
    writeln!(io::stdout(), "{} rows forgotten, {} rolled up", pruned.forgotten, pruned.rolled_up)?;
    if !fits {
        writeln!(io::stderr(), "it is larger than history.max_size: what policies are now is never dropped")?;
    }
    Ok(Exit::Done)
}
