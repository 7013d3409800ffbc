//! How long, how large, how often.

use crate::support::seed::Random;
use std::time::Duration;

/// Without being asked for more: two or three faults, other ones with another seed.
const SHORT: Duration = Duration::from_secs(30);

/// A run of this many minutes is one that people look at: large clusters, fast churn, a fault a minute.
const LONG: u64 = 10;

pub(crate) struct Plan {
    pub(crate) length: Duration,
    /// From one fault to the next; longer where recovery takes longer.
    pub(crate) every: Duration,
    pub(crate) sample: Duration,
    /// How often the commands, and the acceptance recount where it is, are compared too.
    pub(crate) thorough: Duration,
    pub(crate) namespaces: usize,
    /// In each namespace.
    pub(crate) workloads: usize,
    /// Findings written in a cluster each second.
    pub(crate) rate: usize,
    pub(crate) seed: u64,
    pub(crate) long: bool,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

impl Plan {
    /// What `POLICYDECK_SOAK_MINUTES` and `POLICYDECK_SOAK_SEED` ask for.
    pub(crate) fn asked() -> Self {
        let minutes = number("POLICYDECK_SOAK_MINUTES");
        let seed = number("POLICYDECK_SOAK_SEED").unwrap_or(1);
        let length = minutes.map_or(SHORT, |minutes| Duration::from_secs(minutes * 60));
        let (short, seconds) = (minutes.unwrap_or(0) < LONG, Duration::from_secs);
        if short {
            let (every, sample, thorough) = (seconds(12), seconds(1), length);
            return Self { length, every, sample, thorough, namespaces: 4, workloads: 12, rate: 100, seed, long: false };
        }
        let (every, sample, thorough) = (seconds(60), seconds(5), seconds(600));
        Self { length, every, sample, thorough, namespaces: 20, workloads: 46, rate: 500, seed, long: true }
    }

    /// How long a fault lasts: something in between, a quarter of it in a short run.
    pub(crate) fn hold(&self, random: &mut Random, (least, most): (u64, u64)) -> Duration {
        let seconds = Duration::from_secs(least + random.below(most - least + 1));
        if self.long { seconds } else { (seconds / 4).max(Duration::from_secs(2)) }
    }
}
