//! Two people who press and type at random, on the demo's servers: nothing is ever written but what a preview showed that one of them confirmed,
//! and in the end the journals explain every difference.
//!
//! What the servers received is written down by a witness beside them (`eyes`), what was on the screen by the screen's own frames (`screen`); the
//! oracle (`oracle`) compares the two without asking the code under test.
//!
//! `POLICYDECK_RUNS` says how many runs there are, `POLICYDECK_ROUND` which ones. A run that fails prints its seed; `POLICYDECK_SEED` plays it again, alone.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

#[path = "../demo_server/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
#[path = "../../src/testing/dice.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod dice;
mod eyes;
mod keys;
mod objects;
mod oracle;
mod person;
mod repository;
mod run;
mod screen;
mod world;

use dice::Dice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

/// So many where nobody asks for more.
const FEW: u64 = 120;
/// So many runs, by their seeds, have one kind of world; of three in a row one goes through git.
const RUNS_OF_A_WORLD: u64 = 40;

/// Whether the road of a run goes through git.
fn through_git(seed: u64) -> bool {
    (seed / RUNS_OF_A_WORLD).is_multiple_of(3)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
#[ignore = "run at night: .ci/nightly operators"]
fn nothing_is_written_but_what_was_confirmed_and_the_journal_explains_it() {
    let alone = number("POLICYDECK_SEED");
    let first = alone.unwrap_or_else(|| number("POLICYDECK_ROUND").unwrap_or(0).wrapping_mul(1_000_000));
    let cases = if alone.is_some() { 1 } else { number("POLICYDECK_RUNS").unwrap_or(FEW) };
    let threads = number("POLICYDECK_THREADS").unwrap_or(2).min(cases);
    let next = AtomicU64::new(0);
    let failures: Mutex<Vec<(u64, String)>> = Mutex::default();
    let counts: Mutex<run::Counts> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut world: Option<World> = None;
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= cases {
                        return;
                    }
                    let seed = first.wrapping_add(case);
                    let fits = world.take().filter(|world| world.repository.is_some() == through_git(seed));
                    let mut here = fits.unwrap_or_else(|| World::new(through_git(seed)));
                    let mut told = run::Told::default();
                    let ended = catch_unwind(AssertUnwindSafe(|| run::run(&mut here, &mut Dice::new(seed), &mut told)));
                    counts.lock().unwrap().add(&told.counts);
                    match ended {
                        Ok(()) => world = Some(here),
                        Err(panic) => {
                            let why =
                                panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                            let why = format!("seed {seed}: {}\n{}", why.unwrap_or_default(), told.story());
                            eprintln!("{why}");
                            failures.lock().unwrap().push((seed, why));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    eprintln!("{cases} runs from seed {first}: {}", counts.into_inner().unwrap());
    let seeds: Vec<String> = failures.iter().map(|(seed, _)| seed.to_string()).collect();
    assert!(
        failures.is_empty(),
        "{} of {cases} runs failed, seeds {}; each alone: POLICYDECK_SEED=N cargo test --test random_operator -- --include-ignored",
        failures.len(),
        seeds.join(" ")
    );
}
