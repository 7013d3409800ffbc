//! Appointments on a clock that may be set.
//!
//! What lives here: when something that was to be done a little later is due. What does not: any clock.

use jiff::{SignedDuration, Timestamp};

/// Whether it is time for what was to happen at `at`, which was never more than `ahead` away. Where it is further away now, the clock
/// was set back: waiting for it could take hours, so it is due.
pub(crate) fn due(at: Timestamp, ahead: SignedDuration, now: Timestamp) -> bool {
    let left = at.duration_since(now);
    !left.is_positive() || left > ahead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_keeps_nobody_waiting() {
        let (second, hours) = (SignedDuration::from_secs(1), SignedDuration::from_hours(3));
        let made = Timestamp::from_second(1_000_000_000).unwrap();
        let at = made + second;
        for (now, expected) in [(made, false), (at, true), (at + second, true), (made + hours, true), (made - hours, true)] {
            assert_eq!(due(at, second, now), expected, "{now}");
        }
    }
}
