//! Generated cases for tests inside the crate: dice that fall the same way again, how many cases are run, and documents broken in every way.
//!
//! What lives here: nothing that knows what is tested; beside the cases, an empty environment to begin with (`fleet`). A case is a number: it prints when the case fails, and `POLICYDECK_SEED` runs it again,
//! alone. `POLICYDECK_CASES` says how many cases each test runs; without it there are as many as a second or two allows. `POLICYDECK_ROUND` says which: the
//! same number tries the same cases, another number others. The checks pass the date; without it the cases are always the same.

mod broken;
mod dice;
pub(crate) mod fleet;
mod shared;

pub(crate) use broken::{Document, broken, broken_text, chunks, deep, monster};
pub(crate) use dice::Dice;
pub(crate) use shared::documents;

/// Runs `test` with as many dice as are asked for, `few` where nobody asks.
pub(crate) fn cases(name: &str, few: u64, test: impl FnMut(&mut Dice)) {
    many_cases(name, few, 1, test);
}

/// As [`cases`], for tests of which each run counts as `each` cases.
pub(crate) fn many_cases(name: &str, few: u64, each: u64, mut test: impl FnMut(&mut Dice)) {
    if let Some(seed) = number("POLICYDECK_SEED") {
        test(&mut Dice::new(seed));
        return;
    }
    let first = first_seed(name, number("POLICYDECK_ROUND").unwrap_or(0));
    for case in 0..number("POLICYDECK_CASES").unwrap_or(few).div_ceil(each) {
        let told = Told { name, seed: first.wrapping_add(case) };
        test(&mut Dice::new(told.seed));
    }
}

/// Where a test's cases of a round begin (FNV-1a of the name, shifted far away by another odd number than the one the dice step by).
fn first_seed(name: &str, round: u64) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.wrapping_add(round.wrapping_mul(0xd134_2543_de82_ef95))
}

/// How to run a case again, said if it fails.
struct Told<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: this case alone: POLICYDECK_SEED={} cargo test --lib {}", self.name, self.seed, self.name);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn a_round_tries_other_cases_than_the_next_and_always_the_same() {
    let (today, tomorrow) = (first_seed("a", 20_261_130), first_seed("a", 20_261_201));
    assert_eq!(today, first_seed("a", 20_261_130));
    assert!(today.abs_diff(tomorrow) > 1_000_000 && today.abs_diff(first_seed("b", 20_261_130)) > 1_000_000);
    assert!((1..100).all(|day| first_seed("a", 20_261_130 + day).abs_diff(today) > 1_000_000));
}
