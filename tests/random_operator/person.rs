//! One of those who operate: a machine of their own, the program on it, and commands.

use crate::dice::Dice;
use crate::eyes::Eyes;
use crate::objects::Place;
use crate::repository::WHO;
use crate::screen::{Promise, Screen};
use crate::world::World;
use jiff::SignedDuration;
use policydeck::cluster::{ClusterSpec, Timing};
use policydeck::engine::operations::{GitRoad, Keeping, Operator};
use policydeck::engine::{self, EngineHandle, HistoryReader, JournalReader};
use policydeck::files::git::Git;
use policydeck::fleet::view::FleetView;
use policydeck::ops::road::Road;
use policydeck::settings::Settings;
use policydeck::tui::{Acting, Operations, TuiOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(20);

/// No server here is busy with a write for longer.
fn timing() -> Timing {
    Timing { busy: Duration::from_secs(12), find_out: Duration::from_secs(20), ..Timing::default() }
}

/// What every cell of the fleet shows.
pub(crate) type Shape = Vec<(String, String, String, String)>;

pub(crate) fn shape(fleet: &FleetView) -> Shape {
    let cells = fleet.environments.iter().flat_map(|view| view.cells.iter().map(move |cell| (view, cell)));
    let shown = cells.map(|(view, cell)| {
        let revision = cell.revision.as_ref().map(ToString::to_string).unwrap_or_default();
        (view.name.to_string(), cell.key.id.to_string(), cell.mode.to_string(), revision)
    });
    shown.collect()
}

pub(crate) struct Person {
    pub(crate) name: &'static str,
    settings: Settings,
    kubeconfig: PathBuf,
    config: PathBuf,
    base: PathBuf,
    /// Of this run.
    pub(crate) home: PathBuf,
    runtime: Option<Runtime>,
    engine: Option<EngineHandle>,
    pub(crate) screen: Option<Screen>,
    /// What the fleet showed at first.
    first: Shape,
    eyes: Arc<Eyes>,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) args: Vec<String>,
    pub(crate) status: Option<i32>,
    pub(crate) err: String,
}

impl Person {
    pub(crate) fn new(name: &'static str, world: &World) -> Self {
        let loaded = policydeck::settings::parse("config.toml", &world.config(), &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let home = world.home.path();
        let mut person = Self {
            name,
            settings: loaded.settings,
            kubeconfig: home.join("kubeconfig"),
            config: home.join("config.toml"),
            base: home.to_owned(),
            home: home.join(name),
            runtime: None,
            engine: None,
            screen: None,
            first: Shape::new(),
            eyes: Arc::clone(&world.eyes),
        };
        person.start();
        person.until_complete();
        person.first = shape(&person.fleet());
        person
    }

    fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(self.name).enable_all().build().unwrap();
        let spec = |environment: &policydeck::settings::EnvironmentSettings| ClusterSpec {
            tier: environment.tier,
            context: environment.context.clone(),
            timing: timing(),
            ..ClusterSpec::of_context(&environment.name, self.kubeconfig.clone())
        };
        let clusters = self.settings.environments.iter().map(spec).collect();
        self.engine = Some(runtime.block_on(async { engine::start(clusters) }));
        self.runtime = Some(runtime);
    }

    fn fleet(&self) -> Arc<FleetView> {
        Arc::clone(&self.engine.as_ref().unwrap().fleet().borrow())
    }

    fn until(&self, what: &str, is: impl Fn(&FleetView) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is(&self.fleet()) {
            assert!(Instant::now() < deadline, "{}: waited in vain until {what}", self.name);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Everything is known, and nothing changes any more.
    fn until_complete(&self) {
        self.until("everything is known", |fleet| fleet.environments.iter().all(|view| view.complete));
        let (mut known, mut since) = (shape(&self.fleet()), Instant::now());
        while since.elapsed() < Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(20));
            let now = shape(&self.fleet());
            if now != known {
                (known, since) = (now, Instant::now());
            }
        }
    }

    /// A run begins: everything shows what it showed at first, and nothing was done yet.
    pub(crate) fn begin(&mut self, run: u64, size: (u16, u16)) {
        self.home = self.base.join(format!("{}-{run}", self.name));
        std::fs::create_dir_all(&self.home).unwrap();
        let deadline = Instant::now() + SOON;
        while shape(&self.fleet()) != self.first {
            if Instant::now() > deadline {
                let (now, first) = (shape(&self.fleet()), &self.first);
                let more: Vec<_> = now.iter().filter(|one| !first.contains(one)).collect();
                panic!("{}: the fleet does not show what it showed at first: {more:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        self.open(size);
    }

    fn data(&self) -> PathBuf {
        self.home.join("data/policydeck")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.data().join("journal")
    }

    fn open(&mut self, size: (u16, u16)) {
        let (engine, data) = (self.engine.clone().unwrap(), self.data());
        let road = Road::new(self.settings.environments.clone());
        let history = HistoryReader::new(data.join("history.db"));
        let keeping = Keeping { journal: data.join("journal"), archives: data.join("archives") };
        let journal = JournalReader::new(keeping.journal.clone());
        let git = GitRoad::new(data.join("repositories"), Duration::from_millis(200));
        let git = git.using(WHO.iter().fold(Git::default(), |git, (variable, value)| git.with(variable, *value)));
        let operator =
            Operator::new(engine.clone(), road.clone(), keeping, true, history.clone(), self.name.to_owned()).with_git(git).timed(timing());
        let options = TuiOptions {
            road,
            history: Some(history),
            journal: Some(journal),
            operations: Operations::Possible { acknowledge: true },
            ..TuiOptions::default()
        };
        let handle = self.runtime.as_ref().unwrap().handle().clone();
        self.screen = Some(Screen::new(Acting::new(engine, operator), options, handle, Arc::clone(&self.eyes), size));
    }

    /// The program is killed: nothing of it goes on.
    pub(crate) fn kill(&mut self) -> (Vec<Promise>, Vec<String>) {
        let screen = self.screen.take().unwrap();
        self.engine = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        (screen.promises, screen.wrong)
    }

    /// It is started again.
    pub(crate) fn start_again(&mut self, size: (u16, u16), promises: Vec<Promise>, wrong: Vec<String>) {
        self.start();
        self.until("everything is known", |fleet| fleet.environments.iter().all(|view| view.complete));
        self.open(size);
        let screen = self.screen.as_mut().unwrap();
        (screen.promises, screen.wrong) = (promises, wrong);
    }

    /// A command of this person, started.
    pub(crate) fn command(&self, args: &[String]) -> Child {
        let home = &self.home;
        let mut command = Command::new(env!("CARGO_BIN_EXE_policydeck"));
        command.env_clear().env("HOME", home).env("XDG_DATA_HOME", home.join("data")).env("XDG_STATE_HOME", home.join("state"));
        // As short as the screens' waits.
        command.env("POLICYDECK_HASTE", "3").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(WHO).args(args).arg("--config").arg(&self.config).arg("--kubeconfig").arg(&self.kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What it came to.
    pub(crate) fn ended(args: Vec<String>, child: Child) -> Ran {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { args, status: output.status.code(), err: text(output.stderr) }
    }

    pub(crate) fn clock(&mut self, dice: &mut Dice) -> SignedDuration {
        let jumps = [0, 1, -1, 30, -30, 700, -700, 90_000, -90_000];
        let skew = SignedDuration::from_secs(*dice.of(&jumps));
        self.screen.as_mut().unwrap().skew = skew;
        skew
    }
}

/// Which object a command is to change, for the words of its preview: `change  patch ClusterPolicy/p in dev`.
pub(crate) fn promised(ran: &Ran, at: usize) -> Vec<Promise> {
    let confirmed = ran.args.iter().any(|arg| arg == "--yes" || arg == "--confirm");
    if !confirmed {
        return Vec::new();
    }
    let mut promises = Vec::new();
    for line in ran.err.lines().filter_map(|line| line.strip_prefix("change ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, object, "in", environment, ..] = words[..] else { continue };
        let parts: Vec<&str> = object.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, namespace, name] => (kind, namespace, name),
            [kind, name] => (kind, "", name),
            _ => continue,
        };
        let place = Place {
            environment: environment.to_owned(),
            plural: crate::objects::plural(kind),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        promises.push(Promise { at, place, verb: verb.to_owned(), objects: None, shown: ran.err.clone(), kept: false });
    }
    promises
}
