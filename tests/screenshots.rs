//! The pictures of the README: real screens of the demo, drawn by the program. `UPDATE=1 cargo test --test screenshots` makes them anew.
//!
//! Clocks and ages differ from run to run, so the pictures are not compared; each run checks that the screens can be reached by their
//! keys, that they hold what the README says of them, and that pictures and README name each other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "screenshots/svg.rs"]
mod svg;

use crossterm::event::KeyEvent;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use policydeck::cluster::ClusterSpec;
use policydeck::demo::{Demo, DemoOptions, Scenario};
use policydeck::domain::journal::{Record, Standing, StepResult, Verb, Who};
use policydeck::domain::{Mode, PolicyId, Tier};
use policydeck::engine::{self, EngineHandle, JournalReader};
use policydeck::files::journal::Journal;
use policydeck::fleet::view::FleetView;
use policydeck::tui::{App, Chord, Effect, Msg, Source, TuiOptions};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const COLUMNS: u16 = 130;
const PATIENCE: Duration = Duration::from_secs(30);

/// A picture: its file, lines, whether an environment is lost first, the keys that lead there, and what it must show.
struct Picture {
    name: &'static str,
    lines: u16,
    lost: Option<&'static str>,
    keys: &'static str,
    shows: &'static [&'static str],
}

const PICTURES: &[Picture] = &[
    Picture { name: "violations", lines: 34, lost: None, keys: "4", shows: &["PRODUCTION", "● live", "require-limits", "faults only"] },
    Picture { name: "rows", lines: 30, lost: None, keys: "4 enter down", shows: &["require-limits › PRODUCTION", "✖ Deployment/"] },
    Picture { name: "finding", lines: 30, lost: None, keys: "4 enter down enter", shows: &["validation error", "evaluated"] },
    Picture { name: "object", lines: 30, lost: None, keys: "4 enter down enter y", shows: &["live object", "is missing here"] },
    Picture { name: "lost", lines: 24, lost: Some("qac"), keys: "2", shows: &["qac ◌ lost"] },
    Picture {
        name: "journal",
        lines: 16,
        lost: None,
        keys: ": j o u r n a l enter",
        shows: &["chain verified", "PRODUCTION", "? unknown", "✓ done"],
    },
];

fn at(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The program on a screen of its own, with the real engine behind it.
struct Deck {
    app: App,
    engine: EngineHandle,
    fleet: watch::Receiver<Arc<FleetView>>,
    terminal: Terminal<TestBackend>,
}

impl Deck {
    fn open(demo: &Demo, kubeconfig: &Path, journal: &Path, lines: u16) -> Self {
        let spec = |name: &str| ClusterSpec {
            tier: if name == "production" { Tier::Production } else { Tier::Normal },
            request_timeout: PATIENCE,
            summaries: true,
            ..ClusterSpec::of_context(name, kubeconfig.to_owned())
        };
        let engine = engine::start(demo.environments().map(spec).collect());
        let journal = Some(JournalReader::new(journal.to_owned()));
        let options = TuiOptions { banner: Some(demo.banner()), time_zone: TimeZone::UTC, journal, ..TuiOptions::default() };
        Self {
            app: App::new(options, Timestamp::now()),
            fleet: engine.fleet(),
            engine,
            terminal: Terminal::new(TestBackend::new(COLUMNS, lines)).unwrap(),
        }
    }

    /// Sends a message and everything that follows from it.
    async fn send(&mut self, msg: Msg) {
        let mut messages = vec![msg];
        while let Some(msg) = messages.pop() {
            for effect in self.app.update(Timestamp::now(), msg) {
                if let Effect::Ask(number, ask) = effect {
                    messages.push(Msg::Answer(number, self.engine.answer(ask).await));
                }
            }
        }
    }

    /// Goes on until `holds`, and a moment longer for what follows from it.
    async fn until(&mut self, what: &str, holds: impl Fn(&FleetView) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = Arc::clone(&self.fleet.borrow_and_update());
            let done = holds(&view);
            self.send(Msg::Fleet(view)).await;
            self.send(Msg::Clock).await;
            if done {
                break;
            }
            assert!(Instant::now() < deadline, "{what} did not come");
            let _ = tokio::time::timeout(Duration::from_millis(100), self.fleet.changed()).await;
        }
        self.rest().await;
    }

    async fn rest(&mut self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.send(Msg::Clock).await;
    }

    fn draw(&mut self) -> Buffer {
        self.terminal.draw(|frame| self.app.draw(frame)).unwrap();
        self.terminal.backend().buffer().clone()
    }
}

fn text(buffer: &Buffer) -> String {
    let line = |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    buffer.content.chunks(usize::from(buffer.area.width)).map(|row| line(row) + "\n").collect()
}

/// What somebody would have done in the demo.
fn write_journal(folder: &Path) {
    let mut journal = Journal::open(folder);
    let now = Timestamp::now();
    let standing = |mode| Some(Standing { revision: None, mode });
    let deeds = [
        (9_000, "jane", Verb::Promote, "dev", "require-limits", (Mode::Audit, Mode::Enforce), Some(StepResult::Done)),
        (6_200, "jane", Verb::Promote, "qac", "require-limits", (Mode::Absent, Mode::Audit), Some(StepResult::Refused)),
        (5_900, "jane", Verb::Promote, "qac", "require-limits", (Mode::Absent, Mode::Audit), Some(StepResult::Done)),
        (3_000, "sam", Verb::Hold, "staging", "disallow-host-process", (Mode::Audit, Mode::Audit), Some(StepResult::Done)),
        (700, "sam", Verb::Promote, "production", "disallow-privileged-containers", (Mode::Audit, Mode::Enforce), None),
        (400, "sam", Verb::Demote, "production", "require-limits", (Mode::Enforce, Mode::Audit), Some(StepResult::Done)),
    ];
    for (ago, user, verb, environment, policy, (before, after), result) in deeds {
        let who = Who { user: user.to_owned(), kubeconfig_user: None, host: "laptop".to_owned() };
        let mut record = Record::intent(now - SignedDuration::from_secs(ago), who, verb);
        record.environment = Some(environment.to_owned());
        record.object =
            Some(PolicyId { group: "kyverno.io".to_owned(), kind: "ClusterPolicy".to_owned(), namespace: None, name: policy.to_owned() });
        (record.before, record.after) = (standing(before), standing(after));
        let intent = journal.append(record).unwrap();
        if let Some(result) = result {
            journal.append(intent.outcome(intent.record.at + SignedDuration::from_secs(2), result, None)).unwrap();
        }
    }
}

async fn take(picture: &Picture) -> Buffer {
    let demo = Demo::start(DemoOptions { scenario: Scenario::none(), ..DemoOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, demo.kubeconfig()).unwrap();
    let journal = folder.path().join("journal");
    write_journal(&journal);
    let mut deck = Deck::open(&demo, &kubeconfig, &journal, picture.lines);
    deck.until("the whole fleet", |fleet| fleet.environments.iter().all(|e| e.complete)).await;
    if let Some(name) = picture.lost {
        demo.lose(name).unwrap();
        deck.until("the loss", |fleet| fleet.environments.iter().any(|e| &*e.name == name && !e.link.is_up())).await;
        // Long enough for an age and a time of the next attempt that say something.
        let start = Instant::now();
        deck.until("some seconds", |_| start.elapsed() > Duration::from_secs(4)).await;
    }
    for key in picture.keys.split_whitespace() {
        deck.send(Msg::Key(KeyEvent::from(key.parse::<Chord>().unwrap()))).await;
        deck.rest().await;
    }
    deck.draw()
}

#[test]
fn the_pictures_of_the_readme() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let updating = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let readme = std::fs::read_to_string(at("README.md")).unwrap();
    for picture in PICTURES {
        let buffer = runtime.block_on(take(picture));
        let screen = text(&buffer);
        if std::env::var_os("SHOW").is_some() {
            println!("{}\n{screen}", picture.name);
        }
        for part in picture.shows {
            assert!(screen.contains(part), "{} lacks {part:?}:\n{screen}", picture.name);
        }
        let file = format!("assets/screens/{}.svg", picture.name);
        if updating {
            std::fs::create_dir_all(at("assets/screens")).unwrap();
            std::fs::write(at(&file), svg::draw(&buffer, &format!("policydeck: {}", picture.name))).unwrap();
        }
        assert!(at(&file).is_file(), "{file} is missing: UPDATE=1 cargo test --test screenshots");
        assert!(readme.contains(&format!("({file})")), "README.md does not show {file}");
    }
    let known: BTreeSet<String> = PICTURES.iter().map(|p| format!("{}.svg", p.name)).collect();
    let there: BTreeSet<String> =
        std::fs::read_dir(at("assets/screens")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, known, "assets/screens holds what no test makes");
}
