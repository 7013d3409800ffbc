//! Since when a policy is what it is, and what happened since: what gates ask of history.

use super::{
    Change, ChangeSource, Claimed, EVENTS_KEPT, Fill, Interval, PolicyState, Refused, Sample, cover, gaps, refused, told_afterwards, within,
};
use crate::domain::Mode;
use jiff::{SignedDuration, Timestamp};

/// Everything that is recorded of one policy in one environment, as far as a standing needs it.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Changes, in order.
    pub changes: Vec<Change>,
    /// Findings, in order; at least from the last sample before the standing began.
    pub samples: Vec<Sample>,
    /// Refused admissions: when, and how many.
    pub blocked: Vec<(Timestamp, u64)>,
    /// Those of them that nothing verifies.
    pub claims: Vec<Claimed>,
    /// When policies, reports and events were watched.
    pub policies: Vec<Interval>,
    /// When reports were watched.
    pub reports: Vec<Interval>,
    /// When events were watched.
    pub events: Vec<Interval>,
    /// How long the cluster keeps events; `None` where that is the usual hour.
    pub events_kept: Option<SignedDuration>,
    /// What Prometheus told about times in which they were not.
    pub fills: Vec<Fill>,
}

/// Failures and errors since a policy is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violations {
    /// Most at one time.
    pub most: u64,
    /// When there were some first.
    pub first: Timestamp,
    /// Until when there were some, as far as is known; `None` while there are.
    pub until: Option<Timestamp>,
}

/// Since when the present revision and mode hold, and what happened since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The moment that all this is about.
    pub now: Timestamp,
    /// What the policy is. `ready` is the newest, whatever it was in between.
    pub state: PolicyState,
    /// Since when revision and mode hold. With [`ChangeSource::Found`] they may hold for longer.
    pub since: Timestamp,
    /// How that time is known.
    pub source: ChangeSource,
    /// The last moment before that at which policies were watched or something else was recorded: it cannot have begun before.
    pub not_before: Option<Timestamp>,
    /// The last moment at which policies were watched.
    pub watched_until: Option<Timestamp>,
    /// Since when the mode holds, whatever the policy said meanwhile; never after `since`.
    pub mode_since: Timestamp,
    /// How that time is known.
    pub mode_source: ChangeSource,
    /// Who brought it about.
    pub actor: Option<String>,
    /// When the policy was not in force meanwhile, without having been changed.
    pub out_of_force: Vec<Interval>,
    /// When nobody watched policies since.
    pub policy_gaps: Vec<Interval>,
    /// When nobody watched reports since.
    pub report_gaps: Vec<Interval>,
    /// When nobody watched events since, and nobody else told what was refused.
    pub event_gaps: Vec<Interval>,
    /// When nobody watched events since, told of afterwards or not, and Prometheus did not tell either.
    pub unwatched: Vec<Interval>,
    /// When nobody watched events since, but Prometheus told what was refused.
    pub filled: Vec<Interval>,
    /// What Prometheus told, since then and before.
    pub fills: Vec<Fill>,
    /// Violations since; `None` where none were seen (in the gaps there may have been some).
    pub violations: Option<Violations>,
    /// The refused admissions that events tell of: when, and how many.
    pub seen: Vec<(Timestamp, u64)>,
    /// Those of them that nothing verifies.
    pub claims: Vec<Claimed>,
    /// Refused admissions since, as far as they were seen or told of afterwards.
    pub blocked: u64,
    /// How many of them only Prometheus tells of.
    pub blocked_by_fills: u64,
    /// When the last of them was.
    pub blocked_last: Option<Timestamp>,
    /// When reports were watched and without violations since the last one: what counts as evidence.
    pub clean: Vec<Interval>,
}

impl Standing {
    /// How long the present revision and mode have held at `now`; nothing where the clock says less than that.
    pub fn held(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.since).max(SignedDuration::ZERO)
    }

    /// How long it was watched and without violations, since the last one: the clock of `evidence = "observed"`.
    pub fn observed(&self) -> SignedDuration {
        self.clean.iter().fold(SignedDuration::ZERO, |sum, interval| sum.saturating_add(interval.length()))
    }

    /// The same without the refused admissions that some events claim: exactly what each of them put on record is left out, and nothing else.
    #[must_use]
    pub fn without(&self, is_left_out: impl Fn(&Claimed) -> bool) -> Self {
        let (out, claims): (Vec<Claimed>, Vec<Claimed>) = self.claims.iter().cloned().partition(is_left_out);
        let mut seen = self.seen.clone();
        for claim in &out {
            if let Some((_, count)) = seen.iter_mut().find(|(at, _)| *at == claim.at) {
                *count = count.saturating_sub(claim.count);
            }
        }
        seen.retain(|(_, count)| *count > 0);
        let told = refused(&seen, &[], &self.fills, Interval { from: self.since, to: self.now });
        Self { blocked: told.blocked, blocked_by_fills: told.by_fills, blocked_last: told.last, seen, claims, ..self.clone() }
    }
}

/// Whether two states are the same step: mode and revision. A policy that only lost readiness is still the same.
fn same_step(a: &PolicyState, b: &PolicyState) -> bool {
    a.mode == b.mode && a.revision == b.revision
}

/// Whether nothing can have been between two changes: the later one was watched, or spec and object are the same.
fn adjoin(older: &Change, newer: &Change) -> bool {
    let (older, made) = (&older.state.made, &newer.state.made);
    let same_object = older.created.is_none() || made.created.is_none() || older.created == made.created;
    same_object && (newer.source == ChangeSource::Seen || older.is_surely(made))
}

/// The newest changes, newest first, as long as they are `wanted` and nothing can have been in between.
fn run(changes: &[Change], wanted: impl Fn(&Change) -> bool) -> Vec<&Change> {
    let mut out: Vec<&Change> = Vec::new();
    for change in changes.iter().rev() {
        if !wanted(change) || out.last().is_some_and(|newer| !adjoin(change, newer)) {
            break;
        }
        out.push(change);
    }
    out
}

/// Whether a change only took the policy out of force, without changing what it says.
fn out_of_force(state: &PolicyState, standing: &PolicyState) -> bool {
    state.mode == Mode::NotReady && state.revision == standing.revision
}

/// The standing at `now`; `None` where nothing is recorded or the policy is absent.
pub fn standing(records: &Records, now: Timestamp) -> Option<Standing> {
    let newest = records.changes.last()?;
    if newest.state.mode == Mode::Absent {
        return None;
    }
    // A policy that is not in force now stands where it stood when it was.
    let stands = match newest.state.mode {
        Mode::NotReady => records.changes.iter().rev().find(|change| !out_of_force(&change.state, &newest.state)),
        _ => None,
    };
    let anchor = stands.filter(|change| change.state.revision == newest.state.revision).unwrap_or(newest);
    let of_step = |change: &Change| same_step(&change.state, &anchor.state) || out_of_force(&change.state, &anchor.state);
    let run_of_step = run(&records.changes, of_step);
    let start = run_of_step.iter().rev().find(|change| same_step(&change.state, &anchor.state)).copied().unwrap_or(newest);
    let in_mode = |change: &Change| change.state.mode == anchor.state.mode;
    let of_mode = run(&records.changes, |change| in_mode(change) || change.state.mode == Mode::NotReady);
    let entered = of_mode.into_iter().rfind(|change| in_mode(change)).filter(|entered| entered.at <= start.at).unwrap_or(start);
    let window = Interval { from: start.at, to: now };
    let missing = |covered: &[Interval]| gaps(&cover(covered.to_vec()), window);
    let violations = violations(&records.samples, window);
    let Refused { blocked, by_fills, last, gaps: event_gaps, filled } = refused(
        &records.blocked,
        &told_afterwards(records.events.clone(), records.events_kept.unwrap_or(EVENTS_KEPT)),
        &records.fills,
        window,
    );
    Some(Standing {
        now,
        state: PolicyState { ready: newest.state.ready, made: newest.state.made, ..anchor.state.clone() },
        since: start.at,
        source: start.source,
        not_before: not_before(records, start),
        watched_until: records.policies.iter().map(|interval| interval.to.min(now)).max(),
        unwatched: refused(&[], &records.events, &records.fills, window).gaps,
        mode_since: entered.at,
        mode_source: entered.source,
        actor: start.actor.clone(),
        out_of_force: interruptions(&run_of_step, start.at, now),
        policy_gaps: missing(&records.policies),
        report_gaps: missing(&records.reports),
        event_gaps,
        filled,
        fills: records.fills.clone(),
        seen: records.blocked.iter().filter(|(at, _)| *at >= start.at).copied().collect(),
        claims: records.claims.iter().filter(|claim| claim.at >= start.at).cloned().collect(),
        blocked,
        blocked_by_fills: by_fills,
        blocked_last: last,
        clean: clean(&records.samples, &records.reports, violations, window),
        violations,
    })
}

/// The last moment before a change at which policies were watched, or something else was recorded.
fn not_before(records: &Records, start: &Change) -> Option<Timestamp> {
    let other = records.changes.iter().rev().find(|change| change.at < start.at).map(|change| change.at);
    let watched = records.policies.iter().map(|interval| interval.to).filter(|to| *to < start.at).max();
    other.into_iter().chain(watched).max()
}

/// When the policy was not in force; `run` is newest first.
fn interruptions(run: &[&Change], since: Timestamp, now: Timestamp) -> Vec<Interval> {
    let mut out = Vec::new();
    let mut until = now;
    for change in run {
        if (change.state.mode == Mode::NotReady || change.state.ready == Some(false)) && until > since {
            out.push(Interval { from: change.at.max(since), to: until });
        }
        until = change.at;
    }
    cover(out)
}

fn violations(samples: &[Sample], window: Interval) -> Option<Violations> {
    let before = samples[..samples.partition_point(|sample| sample.at <= window.from)].last();
    let after = samples.iter().filter(|sample| window.from < sample.at && sample.at <= window.to);
    let mut found: Option<Violations> = None;
    let held = before.map(|sample| (window.from, window.from, sample.last.faults(), sample.last.faults()));
    // Of a sample that sums up a time only that is known; the violation may have been there until its end.
    let end = |sample: &Sample| sample.at.checked_add(sample.span).unwrap_or(sample.at).min(window.to);
    let after = after.map(|sample| (sample.at, end(sample), sample.high, sample.last.faults()));
    for (at, end, most, last) in held.into_iter().chain(after) {
        match &mut found {
            None if most > 0 => found = Some(Violations { most, first: at, until: (last == 0).then_some(end) }),
            None => {}
            Some(found) => {
                found.most = found.most.max(most);
                found.until = match found.until {
                    _ if last > 0 => None,
                    None => Some(end),
                    Some(_) if most > 0 => Some(end),
                    until => until,
                };
            }
        }
    }
    found
}

/// When there were results that say more than "skipped".
fn evaluated(samples: &[Sample], until: Timestamp) -> Vec<Interval> {
    let next = samples.iter().skip(1).map(|sample| sample.at).chain([until]);
    let with_next = samples.iter().zip(next);
    cover(with_next.filter(|(one, _)| one.last.total() > one.last.skip).map(|(one, to)| Interval { from: one.at, to }).collect())
}

/// When reports were watched and had results, since the last violation: nothing evaluated is not nothing wrong.
fn clean(samples: &[Sample], reports: &[Interval], violations: Option<Violations>, window: Interval) -> Vec<Interval> {
    let from = match violations {
        Some(Violations { until: None, .. }) => return Vec::new(),
        Some(Violations { until: Some(until), .. }) => until,
        None => window.from,
    };
    let window = Interval { from, to: window.to };
    let reports = cover(reports.to_vec());
    let evaluated = evaluated(samples, window.to);
    let both = reports.iter().flat_map(|watched| evaluated.iter().filter_map(|interval| interval.clip(*watched)));
    let clean: Vec<Interval> = both.filter_map(|interval| interval.clip(window)).collect();
    debug_assert!(within(&clean, window) <= window.length().max(SignedDuration::ZERO));
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::Made;
    use crate::domain::history::made::{at, of};
    use crate::domain::{EventSource, Revision, Tally};

    fn change(second: i64, mode: Mode, revision: &str) -> Change {
        let state =
            PolicyState { mode, ready: Some(mode != Mode::NotReady), revision: Some(Revision(revision.into())), made: Made::UNKNOWN };
        Change { at: at(second), state, actor: None, source: ChangeSource::Seen }
    }

    fn raw(second: i64, fail: u64) -> Sample {
        Sample::raw(at(second), Tally { fail, pass: 5, ..Tally::default() })
    }

    fn records(changes: Vec<Change>) -> Records {
        let all = vec![of(0, 100)];
        Records { changes, policies: all.clone(), reports: all.clone(), events: all, ..Records::default() }
    }

    #[test]
    fn it_stands_since_mode_or_revision_changed() {
        use Mode::{Absent, Audit, Enforce, NotReady};
        let cases: [(Vec<Change>, Option<i64>); 9] = [
            (vec![], None),
            (vec![change(1, Audit, "a")], Some(1)),
            (vec![change(1, Audit, "a"), change(5, Enforce, "a")], Some(5)),
            (vec![change(1, Audit, "a"), change(5, Audit, "b")], Some(5)),
            // It came into force a moment after it was made.
            (vec![change(1, NotReady, "a"), change(2, Audit, "a")], Some(2)),
            // Out of force for a while, and now.
            (vec![change(1, Audit, "a"), change(5, NotReady, "a"), change(6, Audit, "a")], Some(1)),
            (vec![change(1, Audit, "a"), change(5, NotReady, "a")], Some(1)),
            (vec![change(1, Audit, "a"), change(5, NotReady, "b"), change(6, Audit, "b")], Some(6)),
            (vec![change(1, Audit, "a"), change(5, Absent, "a")], None),
        ];
        for (changes, since) in cases {
            let standing = standing(&records(changes.clone()), at(100));
            assert_eq!(standing.map(|standing| standing.since.as_second()), since, "{changes:?}");
        }
    }

    #[test]
    fn a_mode_outlives_what_is_said_in_it() {
        use Mode::{Absent, Audit, Enforce, NotReady};
        for (changes, since) in [
            (vec![change(1, Audit, "a")], 1),
            (vec![change(1, Audit, "a"), change(5, Audit, "b"), change(9, Audit, "c")], 1),
            (vec![change(1, Audit, "a"), change(5, Enforce, "a"), change(9, Enforce, "b")], 5),
            (vec![change(1, Audit, "a"), change(5, NotReady, "a"), change(6, Audit, "b")], 1),
            (vec![change(1, Audit, "a"), change(5, Absent, "a"), change(6, Audit, "b")], 6),
        ] {
            let standing = standing(&records(changes.clone()), at(100));
            assert_eq!(standing.map(|standing| standing.mode_since.as_second()), Some(since), "{changes:?}");
        }
    }

    #[test]
    fn time_out_of_force_is_told() {
        let changes =
            vec![change(1, Mode::Audit, "a"), change(5, Mode::NotReady, "a"), change(8, Mode::Audit, "a"), change(90, Mode::NotReady, "a")];
        let standing = standing(&records(changes), at(100)).unwrap();
        assert_eq!(standing.out_of_force, [of(5, 8), of(90, 100)]);
        assert_eq!((standing.state.mode, standing.state.ready), (Mode::Audit, Some(false)));
        assert_eq!(standing.held(at(100)), SignedDuration::from_secs(99));
        assert_eq!(standing.held(at(0)), SignedDuration::ZERO, "a clock that was set back");
    }

    /// A webhook that was removed, or a Kyverno that was dead: the mode is what it was, and requests did not reach the policy.
    #[test]
    fn time_in_which_no_request_reached_it_is_out_of_force() {
        let reached = |second: i64, ready: Option<bool>| {
            let change = change(second, Mode::Enforce, "a");
            Change { state: PolicyState { ready, ..change.state }, ..change }
        };
        let changes =
            vec![reached(1, Some(false)), reached(3, Some(true)), reached(20, Some(false)), reached(30, None), reached(40, Some(true))];
        let standing = standing(&records(changes), at(100)).unwrap();
        assert_eq!((standing.since, standing.out_of_force), (at(1), vec![of(1, 3), of(20, 30)]));
    }

    #[test]
    fn violations_since_then() {
        let with = |samples: Vec<Sample>| {
            let records = Records { samples, ..records(vec![change(10, Mode::Audit, "a")]) };
            let standing = standing(&records, at(100)).unwrap();
            let seconds = |v: Violations| (v.most, v.first.as_second(), v.until.map(Timestamp::as_second));
            (standing.violations.map(seconds), standing.observed().as_secs())
        };
        assert_eq!(with(vec![]), (None, 0), "no number is no evidence");
        let nothing = |second: i64, skip: u64| Sample::raw(at(second), Tally { skip, ..Tally::default() });
        assert_eq!(with(vec![nothing(0, 0), raw(60, 0), nothing(80, 9)]), (None, 20), "nothing was evaluated before and after");
        assert_eq!(with(vec![raw(0, 0)]), (None, 90));
        assert_eq!(with(vec![raw(20, 0)]), (None, 80));
        assert_eq!(with(vec![raw(0, 3)]), (Some((3, 10, None)), 0));
        assert_eq!(with(vec![raw(0, 3), raw(40, 0)]), (Some((3, 10, Some(40))), 60));
        assert_eq!(with(vec![raw(0, 0), raw(20, 7), raw(30, 2), raw(40, 0), raw(50, 0)]), (Some((7, 20, Some(40))), 60));
        assert_eq!(with(vec![raw(0, 3), raw(5, 0)]), (None, 90), "before it began");
        let between = Sample { high: 4, ..raw(70, 0) };
        assert_eq!(with(vec![raw(0, 0), between]), (Some((4, 70, Some(70))), 30), "came and went in between");
    }

    #[test]
    fn what_is_left_out_is_what_those_events_put_on_record() {
        let claim = |identity: &str, second: i64, count| Claimed {
            identity: identity.into(),
            at: at(second),
            count,
            source: EventSource::default(),
        };
        let claims = vec![claim("a", 5, 9), claim("a", 20, 2), claim("b", 20, 1), claim("a", 40, 1)];
        let blocked = vec![(at(5), 9), (at(20), 4), (at(40), 1)];
        let records = Records { blocked, claims, samples: vec![raw(0, 0)], ..records(vec![change(10, Mode::Enforce, "a")]) };
        let standing = standing(&records, at(100)).unwrap();
        let left = |identities: &[&str]| {
            let left = standing.without(|claim| identities.contains(&claim.identity.as_str()));
            (left.blocked, left.blocked_last.map(Timestamp::as_second), left.claims.len())
        };
        assert_eq!(left(&[]), (5, Some(40), 3));
        assert_eq!(left(&["a"]), (2, Some(20), 1), "what is real, and what another one claims");
        assert_eq!(left(&["a", "b"]), (1, Some(20), 0));
    }

    #[test]
    fn gaps_are_no_evidence() {
        let mut records =
            Records { samples: vec![raw(0, 0)], blocked: vec![(at(5), 1), (at(20), 3)], ..records(vec![change(10, Mode::Enforce, "a")]) };
        records.reports = vec![of(0, 30), of(50, 100)];
        let standing = standing(&records, at(100)).unwrap();
        assert_eq!((standing.report_gaps.clone(), standing.event_gaps.clone()), (vec![of(30, 50)], vec![]));
        assert_eq!(standing.observed().as_secs(), 70);
        assert_eq!((standing.blocked, standing.blocked_last), (3, Some(at(20))));
    }
}
