//! How many tests use clusters at once: as many as two cores carry, however many threads the test runner has.
//!
//! The heaviest that fits goes first: what takes longest must not begin last.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Fleets of single tests. API servers that wait for their test cost next to nothing; a Kyverno has more to do.
static OWN: Pool = Pool::new(4);
/// Tests that share a fleet: they wait most of the time, and look now and then.
static SHARED: Pool = Pool::new(8);

struct Pool {
    places: Mutex<Places>,
    changed: Condvar,
}

struct Places {
    free: usize,
    /// What those who wait ask for.
    wanted: Vec<usize>,
}

/// Places of a pool, until this is dropped.
pub(super) struct Turn {
    pool: &'static Pool,
    weight: usize,
}

impl Turn {
    /// Waits until clusters like these can run beside what runs already.
    pub(super) fn own(clusters: usize, kyverno: bool) -> Self {
        let weight = match (kyverno, clusters) {
            (false, _) => 1,
            (true, 0..=2) => 2,
            (true, _) => 3,
        };
        OWN.take(weight)
    }

    /// Waits until one more test can use a fleet that others use.
    pub(super) fn shared() -> Self {
        SHARED.take(1)
    }
}

impl Pool {
    const fn new(size: usize) -> Self {
        Self { places: Mutex::new(Places { free: size, wanted: Vec::new() }), changed: Condvar::new() }
    }

    fn take(&'static self, weight: usize) -> Turn {
        let mut places = self.lock();
        places.wanted.push(weight);
        while !places.are_for(weight) {
            places = self.changed.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(mine) = places.wanted.iter().position(|wanted| *wanted == weight) {
            places.wanted.swap_remove(mine);
        }
        places.free -= weight;
        drop(places);
        // Whoever wants less may fit beside it.
        self.changed.notify_all();
        Turn { pool: self, weight }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Whether this fits, and nothing heavier that waits does.
    fn are_for(&self, weight: usize) -> bool {
        weight <= self.free && !self.wanted.iter().any(|wanted| *wanted > weight && *wanted <= self.free)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.lock().free += self.weight;
        self.pool.changed.notify_all();
    }
}
