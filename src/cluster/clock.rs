//! The API server's own time, from the `Date` of its answers.
//!
//! Pure but for the monotonic clock that its caller reads: the machine's wall clock is not asked, so that it may be wrong, or be set, without anybody noticing
//! here. After a sleep of the machine, in which the monotonic clock stands still, the time is behind until the next answers: nothing ripens early by that.

use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers that count: the middle one of them decides, so that a single odd one decides nothing.
const KEPT: usize = 9;
/// An answer that took longer says too little about when its date was written.
const PROMPT: Duration = Duration::from_secs(3);
/// `Date` has whole seconds: what differs by no more is no difference.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);
/// Dates have whole seconds: on average they are half a second old.
const HALF: SignedDuration = SignedDuration::from_millis(500);

/// The clock of one API server, shared by all who ask it.
#[derive(Debug, Clone)]
pub struct ServerClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// What the server's clock showed at the origin, by its newest answers.
    origins: Mutex<VecDeque<Timestamp>>,
}

impl Default for ServerClock {
    fn default() -> Self {
        Self(Arc::new(Inner { origin: Instant::now(), origins: Mutex::default() }))
    }
}

impl ServerClock {
    /// Takes note of the `Date` of an answer that was asked for and came at these moments.
    pub(super) fn note(&self, date: &str, sent: Instant, came: Instant) {
        let took = came.saturating_duration_since(sent);
        let Some(date) = parse(date).filter(|_| took <= PROMPT) else { return };
        let middle = sent.saturating_duration_since(self.0.origin) + took / 2;
        let origin = SignedDuration::try_from(middle).ok().and_then(|middle| date.checked_add(HALF).ok()?.checked_sub(middle).ok());
        let mut origins = self.0.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.extend(origin);
        while origins.len() > KEPT {
            origins.pop_front();
        }
    }

    /// Another server answers from now on.
    pub(super) fn forget(&self) {
        self.0.origins.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The server's time now; `None` as long as no answer had a date.
    pub fn now(&self) -> Option<Timestamp> {
        let (server, local) = (self.at(Instant::now())?, Timestamp::now());
        Some(if server.duration_since(local).abs() <= RESOLUTION { local } else { server })
    }

    fn at(&self, moment: Instant) -> Option<Timestamp> {
        let mut origins: Vec<Timestamp> = self.0.origins.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        origins.sort_unstable();
        // Of two in the middle the earlier: what ripens ripens late.
        let origin = origins.get(origins.len().checked_sub(1)? / 2)?;
        origin.checked_add(moment.saturating_duration_since(self.0.origin)).ok()
    }
}

/// `Mon, 30 Nov 2026 12:00:00 GMT`.
fn parse(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(clock: &ServerClock, dates: &[&str]) -> Option<String> {
        let start = clock.0.origin;
        for date in dates {
            clock.note(&format!("Mon, 30 Nov 2026 {date} GMT"), start, start);
        }
        clock.at(start + Duration::from_secs(90)).map(|at| at.strftime("%H:%M:%S").to_string())
    }

    #[test]
    fn the_middle_of_the_answers_counts() {
        for (dates, expected) in [
            (&[] as &[&str], None),
            (&["12:00:00"], Some("12:01:30")),
            (&["12:00:00", "12:00:02", "12:00:01"], Some("12:01:31")),
            (&["12:00:00", "23:59:59", "12:00:00"], Some("12:01:30")),
            (&["12:00:00", "12:00:10"], Some("12:01:30")),
            (&["nonsense"], None),
        ] {
            assert_eq!(said(&ServerClock::default(), dates).as_deref(), expected, "{dates:?}");
        }
        let clock = ServerClock::default();
        said(&clock, &["12:00:00"; 9]);
        assert_eq!(
            said(&clock, &["14:00:00"; 5]).as_deref(),
            Some("14:01:30"),
            "a clock that was set is believed once most answers say so"
        );
        clock.forget();
        assert_eq!(said(&clock, &[]), None);
    }

    #[test]
    fn slow_answers_say_nothing() {
        let clock = ServerClock::default();
        let start = clock.0.origin;
        clock.note("Mon, 30 Nov 2026 12:00:00 GMT", start, start + Duration::from_secs(4));
        assert_eq!(clock.now(), None);
        clock.note("Mon, 30 Nov 2026 12:00:00 GMT", start, start + Duration::from_secs(2));
        let at = clock.at(start + Duration::from_secs(1)).map(|at| at.to_string());
        assert_eq!(at.as_deref(), Some("2026-11-30T12:00:00.5Z"), "it was written halfway");
    }
}
