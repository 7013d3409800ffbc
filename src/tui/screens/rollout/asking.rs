//! When gates are asked for.
//!
//! What lives here: the pace, and which answer is waited for. What does not: what an answer means (`board`).

use crate::fleet::view::FleetView;
use crate::tui::msg::Ask;
use crate::tui::pace::due;
use crate::tui::screens::Cx;
use jiff::{SignedDuration, Timestamp};

/// While the fleet changes, gates are asked for at most this often: every question looks at every result.
const PACE: SignedDuration = SignedDuration::from_secs(5);
/// While nothing changes, time alone goes on: soaked times and ages of results are judged anew this often.
const JUDGED_ANEW: SignedDuration = SignedDuration::from_secs(15);

/// What a question was asked about: of every environment, how many views and contents there had been.
pub(super) type Seen = Vec<(u64, u64)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pending: Option<(u64, Timestamp)>,
    last: Option<(Timestamp, Seen)>,
    due: Option<Timestamp>,
}

pub(super) fn seen(fleet: &FleetView) -> Seen {
    fleet.environments.iter().map(|environment| (environment.generation, environment.content)).collect()
}

/// When to ask after having asked at `last`. A gate that only waits is looked at again when it can open.
fn next(last: Timestamp, changed: bool, opens: Option<Timestamp>) -> Timestamp {
    let (pace, anew) = (last + PACE, last + JUDGED_ANEW);
    if changed { pace } else { opens.map_or(anew, |at| at.clamp(pace, anew)) }
}

impl Asking {
    /// Asks if it is time, else notes when it will be. `opens` is when the next gate can open.
    pub(super) fn want(&mut self, opens: Option<Timestamp>, cx: &mut Cx<'_>) {
        self.due = None;
        let asked_once = self.last.is_some();
        if cx.fleet.environments.is_empty() {
            return;
        }
        if cx.paused && asked_once {
            self.due = Some(cx.now + PACE);
            return;
        }
        if self.pending.is_some_and(|(_, since)| !due(since + JUDGED_ANEW, JUDGED_ANEW, cx.now)) {
            return;
        }
        let now_seen = seen(cx.fleet);
        let at = self.last.as_ref().map(|(at, seen)| next(*at, *seen != now_seen, opens));
        if let Some(at) = at.filter(|at| !due(*at, JUDGED_ANEW, cx.now)) {
            self.due = Some(at);
            return;
        }
        let number = cx.ask(Ask::Gates { road: cx.road.clone(), history: cx.history.cloned() });
        self.pending = Some((number, cx.now));
        self.last = Some((cx.now, now_seen));
    }

    /// Whatever was asked is out of date: the next [`Self::want`] asks at once.
    pub(super) fn anew(&mut self) {
        *self = Self::default();
    }

    /// Whether an answer is the one waited for.
    pub(super) fn is_answered(&mut self, number: u64) -> bool {
        self.pending.take_if(|(pending, _)| *pending == number).is_some()
    }

    /// Whether it is time for [`Self::want`].
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|at| due(at, JUDGED_ANEW, now))
    }

    /// When to be called.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_an_opening_gate_is_not_missed() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        for (changed, opens, expected) in [
            (false, None, 15),
            (true, None, 5),
            // It opens soon, in a moment, later than one looks again anyway, or should have opened already.
            (false, Some(10), 10),
            (false, Some(2), 5),
            (false, Some(3_600), 15),
            (false, Some(-10), 5),
            (true, Some(10), 5),
        ] {
            assert_eq!(next(at(0), changed, opens.map(at)), at(expected), "{changed} {opens:?}");
        }
    }
}
