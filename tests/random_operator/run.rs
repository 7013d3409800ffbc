//! One run: what happens, in an order by chance.

use crate::dice::Dice;
use crate::eyes::{OURS, Trouble};
use crate::keys::{self, Press};
use crate::oracle;
use crate::person::{Ran, promised};
use crate::screen::Promise;
use crate::world::{ENVIRONMENTS, World};
use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SIZES: [(u16, u16); 4] = [(120, 40), (100, 30), (100, 30), (80, 24)];
const PATIENCE: Duration = Duration::from_secs(3);
/// A write whose answer was lost is looked for so long at most.
const WRITTEN: Duration = Duration::from_secs(120);

/// What runs came to, so that one that tries nothing is noticed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    keys: u64,
    previews: u64,
    confirmed: u64,
    writes: u64,
    pushed: u64,
    commands: u64,
    kills: u64,
    lost: u64,
    behind: u64,
    jumps: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.previews += other.previews;
        self.confirmed += other.confirmed;
        self.writes += other.writes;
        self.pushed += other.pushed;
        self.commands += other.commands;
        self.kills += other.kills;
        self.lost += other.lost;
        self.behind += other.behind;
        self.jumps += other.jumps;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys, {} commands, {} plans shown and {} confirmed on screens, {} writes, {} commits, {} kills, {} answers lost, {} changes behind their backs, {} clocks set",
            self.keys,
            self.commands,
            self.previews,
            self.confirmed,
            self.writes,
            self.pushed,
            self.kills,
            self.lost,
            self.behind,
            self.jumps
        )
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    lines: Vec<String>,
    pub(crate) counts: Counts,
}

impl Told {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(crate) fn story(&self) -> String {
        format!("  {}\n", self.lines.join("\n  "))
    }
}

/// A write that waits at a server.
struct Held {
    came: std::sync::mpsc::Receiver<()>,
    release: oneshot::Sender<bool>,
}

fn hold(world: &World) -> Held {
    let (sender, came) = std::sync::mpsc::sync_channel(1);
    let (release, released) = oneshot::channel();
    world.eyes.trouble(Some(Trouble::Held(sender, released)));
    Held { came, release }
}

pub(crate) fn run(world: &mut World, dice: &mut Dice, told: &mut Told) {
    let start = world.eyes.len();
    world.runs += 1;
    let number = world.runs;
    let mut people = std::mem::take(&mut world.people);
    for person in &mut people {
        person.begin(number, *dice.of(&SIZES));
    }
    for person in &mut people {
        // What can be promoted is on the second screen.
        if !dice.one_in(4) {
            let screen = person.screen.as_mut().unwrap();
            screen.key("tab");
            let deadline = Instant::now() + PATIENCE;
            while !screen.frame.contains("judged") && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
                screen.pump();
                screen.draw();
            }
        }
    }
    let (mut promises, mut commands, mut held) = (Vec::new(), Vec::new(), None);
    for step in 0..12 + dice.below(30) {
        let who = usize::from(dice.one_in(3));
        match dice.below(60) {
            0 => {
                told.counts.jumps += 1;
                let skew = people[who].clock(dice);
                told.say(format!("{}'s clock is off by {skew:#}", people[who].name));
            }
            1 | 2 => {
                told.counts.behind += 1;
                let about = people[who].screen.as_ref().unwrap().about();
                told.say(world.behind_the_back(about.as_deref(), dice));
            }
            3 if held.is_none() => {
                told.say("the next answer to a write is lost".to_owned());
                told.counts.lost += 1;
                // One that never arrives is looked for until no server can be busy with it any more.
                world.eyes.trouble(Some(if dice.one_in(30) { Trouble::Lost } else { Trouble::AnswerLost }));
            }
            4 if held.is_none() => {
                told.say("the next write waits".to_owned());
                held = Some(hold(world));
            }
            8 if world.repository.is_some() => told.say(world.sync()),
            5 if step > 5 && dice.one_in(3) => {
                let args = command(world, dice);
                told.counts.commands += 1;
                let writing = people.iter().any(|person| person.screen.as_ref().unwrap().is_writing());
                let trouble = (&mut held, dice.one_in(4), writing);
                let ran = carry_out(world, &people[who], args, trouble, dice, told, &mut promises);
                told.say(format!("{} runs {:?}: {:?}", people[who].name, ran.args.join(" "), ran.status));
                commands.push(ran);
            }
            6 => {
                let (columns, rows) = *dice.of(&[(120, 40), (80, 24), (60, 16), (200, 60), (40, 12)]);
                people[who].screen.as_mut().unwrap().resize(columns, rows);
            }
            7 => click(people[who].screen.as_mut().unwrap(), dice),
            _ => press(&mut people[who], dice, told),
        }
        if let Some(waits) = held.take_if(|held| held.came.try_recv().is_ok()) {
            let writing: Vec<usize> = (0..people.len()).filter(|at| people[*at].screen.as_ref().unwrap().is_carrying_out()).collect();
            if let [one] = writing[..]
                && dice.one_in(2)
            {
                let carried_out = dice.one_in(2);
                told.counts.kills += 1;
                told.say(format!("{} is killed; the write is carried out all the same: {carried_out}", people[one].name));
                let (kept, wrong) = people[one].kill();
                let _ = waits.release.send(carried_out);
                people[one].start_again(*dice.of(&SIZES), kept, wrong);
            } else {
                let _ = waits.release.send(true);
            }
        }
    }
    world.eyes.trouble(None);
    if let Some(held) = held {
        let _ = held.release.send(true);
    }
    for person in &mut people {
        let screen = person.screen.as_mut().unwrap();
        let deadline = Instant::now() + WRITTEN;
        while screen.is_writing() {
            assert!(Instant::now() < deadline, "{} writes for ever:\n{}", person.name, screen.frame);
            screen.pump();
            std::thread::sleep(Duration::from_millis(2));
        }
        screen.settle(PATIENCE);
        told.counts.previews += screen.previews as u64;
        told.counts.confirmed += screen.confirmed as u64;
        promises.append(&mut screen.promises);
        assert!(screen.wrong.is_empty(), "{}: {}", person.name, screen.wrong.join("\n"));
    }
    let changes = world.eyes.since(start);
    for ran in &commands {
        assert!(ran.status != Some(101) && !ran.err.contains("panicked"), "{ran:?}");
    }
    let journals: Vec<_> = people.iter().map(|person| oracle::journal(&person.journal()).unwrap_or_else(|why| panic!("{why}"))).collect();
    promises.sort_by_key(|promise: &Promise| promise.at);
    told.counts.writes += changes.iter().filter(|change| change.manager == OURS).count() as u64;
    let pushed = world.repository.as_ref().map(crate::repository::Repository::pushed).unwrap_or_default();
    told.counts.pushed += pushed.len() as u64;
    oracle::confirmed(start, &changes, &mut promises).unwrap_or_else(|why| panic!("{why}"));
    oracle::pushed(&pushed, &mut promises, &journals).unwrap_or_else(|why| panic!("{why}"));
    oracle::explained(&changes, &journals).unwrap_or_else(|why| panic!("{why}"));
    world.reset(start);
    for person in &mut people {
        person.screen = None;
        let _ = std::fs::remove_dir_all(&person.home);
    }
    world.people = people;
}

/// Presses what comes to mind; sometimes several keys before anything is drawn.
fn press(person: &mut crate::person::Person, dice: &mut Dice, told: &mut Told) {
    let blind = dice.one_in(6);
    let presses = keys::next(person.screen.as_ref().unwrap(), dice);
    told.say(format!("{} presses {presses:?}{}", person.name, if blind { " without looking" } else { "" }));
    let screen = person.screen.as_mut().unwrap();
    for press in presses {
        told.counts.keys += 1;
        match press {
            Press::Key(key) => screen.key(key),
            Press::Text(text) => {
                // It is typed into what was drawn, letter by letter.
                for letter in text.chars() {
                    screen.key(&if letter == ' ' { "space".to_owned() } else { letter.to_string() });
                }
            }
        }
        if !blind {
            screen.pump();
            screen.draw();
        }
    }
    // Data may come between what was drawn and the next key.
    match dice.below(8) {
        0 => screen.pump(),
        1 => {}
        2 => {
            std::thread::sleep(Duration::from_millis(10));
            screen.pump();
            screen.draw();
        }
        _ => {
            screen.settle(PATIENCE);
            screen.draw();
        }
    }
}

fn click(screen: &mut crate::screen::Screen, dice: &mut Dice) {
    let (column, row) = (u16::try_from(dice.below(120)).unwrap(), u16::try_from(dice.below(40)).unwrap());
    let kind = *dice.of(&[MouseEventKind::Down(MouseButton::Left), MouseEventKind::ScrollDown, MouseEventKind::ScrollUp]);
    screen.mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    screen.draw();
}

/// A command by chance.
fn command(world: &World, dice: &mut Dice) -> Vec<String> {
    let place = world.some_policy(None, dice);
    let environment = if dice.one_in(4) { (*dice.of(&ENVIRONMENTS)).to_owned() } else { place.environment.clone() };
    let mut args: Vec<String> = Vec::new();
    let mut say = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    let pass = ["--acknowledge-unknown", "looked at it"];
    match dice.below(9) {
        0 | 1 => {
            say(&["promote", &place.name]);
            say(&pass);
            if dice.one_in(3) {
                say(&["--to", &environment]);
            } else if dice.one_in(5) {
                say(&["-e", &environment]);
            }
        }
        2 | 3 => {
            say(&["demote", &place.name, "-e", &environment]);
            if dice.one_in(3) {
                say(&[&world.some_policy(None, dice).name]);
            }
        }
        4 => say(&["rollback", &place.name, "-e", &environment]),
        5 => {
            say(&["undo", "--last", "-e", &environment]);
            say(&pass);
        }
        6 => say(&["hold", &place.name, "-e", &environment, "--reason", "wait"]),
        7 => say(&["release", &place.name, "-e", &environment]),
        _ => say(&["unblock", "-e", &environment]),
    }
    match dice.below(8) {
        0 => {}
        1 => say(&["--dry-run"]),
        2 => say(&["--confirm", "production"]),
        _ => say(&["--yes", "--confirm", "production"]),
    }
    say(&["-o", "json"]);
    args
}

/// Runs a command to its end, or kills it where its write waits.
fn carry_out(
    world: &World,
    person: &crate::person::Person,
    args: Vec<String>,
    (held, killed, writing): (&mut Option<Held>, bool, bool),
    dice: &mut Dice,
    told: &mut Told,
    promises: &mut Vec<Promise>,
) -> Ran {
    let at = world.eyes.len();
    // Whoever comes first is kept waiting: this command, or a screen.
    let mut waits = held.take().or_else(|| killed.then(|| hold(world)));
    let mut child = person.command(&args);
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        let Some(waits) = waits.take_if(|waits| waits.came.try_recv().is_ok()) else { continue };
        if killed && !writing {
            told.counts.kills += 1;
            child.kill().unwrap();
            let _ = waits.release.send(dice.one_in(2));
        } else {
            let _ = waits.release.send(true);
        }
    }
    world.eyes.trouble(None);
    if let Some(waits) = waits {
        let _ = waits.release.send(true);
    }
    let ran = crate::person::Person::ended(args, child);
    let made = promised(&ran, at);
    let told_environment = ran.args.iter().position(|arg| arg == "-e").map(|at| ran.args[at + 1].clone());
    for promise in &made {
        let named = ran.args.contains(&promise.place.name) || ["undo", "unblock"].contains(&ran.args[0].as_str());
        let there = told_environment.as_ref().is_none_or(|environment| *environment == promise.place.environment);
        assert!(named && there, "asked for was {:?}, planned is {}: {}", ran.args, promise.place, ran.err);
    }
    promises.extend(made);
    ran
}
