//! What the integration tests share: real clusters, raw access to them, reports to fill them with, an independent count, and the program under test.
//!
//! Nothing here uses policydeck's library: what a test compares must not come from the code it tests.
#![allow(dead_code, reason = "each test binary uses its part of the shared support")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "support of tests: a surprise ends the test where it happens")]

pub(crate) mod age;
pub(crate) mod api;
pub(crate) mod cluster;
pub(crate) mod product;
pub(crate) mod proxy;
pub(crate) mod recount;
pub(crate) mod screen;
pub(crate) mod seed;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Asks again until the answer is `Ok`; after the deadline the test fails with what was last missing. Between two questions it rests three times as long as
/// the last one took, up to three seconds: many tests ask at once, and what they ask about needs the cores, too.
pub(crate) fn eventually<T, E: Display>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        match ask() {
            Ok(answer) => return answer,
            Err(missing) if start.elapsed() > deadline => panic!("{what}: not within {deadline:?}: {missing}"),
            Err(_) => std::thread::sleep((asked.elapsed() * 3).clamp(Duration::from_millis(50), Duration::from_secs(3))),
        }
    }
}

/// Says something that shows even when the test passes (the test runner captures `eprintln!`, not writes).
pub(crate) fn say(text: impl Display) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// A file in the folder `shared`, which lies beside the repository where the project is developed (or where `POLICYDECK_SHARED` says). A test that would use
/// it says that it does without.
pub(crate) fn beside(file: &str) -> Option<PathBuf> {
    let shared =
        std::env::var_os("POLICYDECK_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join(file);
    if path.exists() {
        return Some(path);
    }
    say(format_args!("left out: what {} would add (it is not there)", path.display()));
    None
}
