//! Since when a policy is what it is: the one place where what was recorded and what the object proves are weighed against each other.

use super::{ChangeSource, PolicyState, Standing};
use crate::domain::{Entered, Mode};
use jiff::{SignedDuration, Timestamp};

/// How far the clocks of a recorder and of an API server may be apart, and how long a recorder may take to write down what it saw.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// The start of the present revision and mode. It may be later than it was, never earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Began {
    /// When.
    pub at: Timestamp,
    /// How that is known.
    pub source: ChangeSource,
    /// Who wrote it, where that is known.
    pub actor: Option<String>,
    /// The record is of this very step: what it counted since belongs to it.
    pub recorded: bool,
}

/// Why a start cannot be dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undated {
    /// No recorder saw it, and the object does not prove it.
    NotRecorded,
    /// Something else was recorded until then, and the object does not show what happened since.
    OtherUntil(Timestamp),
    /// No recorder watched from then to then, and nothing shows that it was the same throughout.
    Gap(Timestamp, Timestamp),
}

/// Weighs what is recorded of a policy (`recorded`) and what its object proves (`object`) about the state that it has now.
///
/// What a recorder saw happen goes first. Where it only found the policy as it is, the object may prove an earlier start, but none at which something else was
/// recorded. Nothing starts before the object was created.
pub fn began(recorded: Option<&Standing>, object: Option<&Entered>, present: &PolicyState) -> Result<Began, Undated> {
    let object = object.filter(|entered| entered.by.is_of(present.mode));
    let mut began = match recorded {
        None => proved(object).ok_or(Undated::NotRecorded)?,
        Some(recorded) if is_of(recorded, present) => continued(recorded, object, present)?,
        Some(recorded) => after(recorded, object)?,
    };
    if let Some(created) = present.made.created.filter(|created| *created > began.at) {
        began = Began { at: created, source: ChangeSource::Creation, actor: None, recorded: false };
    }
    Ok(began)
}

/// Whether the record is of what the policy is now. Of the same mode and revision after another change of the spec nobody knows what was in between.
fn is_of(recorded: &Standing, present: &PolicyState) -> bool {
    let same_mode = present.mode == recorded.state.mode || present.mode == Mode::NotReady;
    let made = (recorded.state.made, present.made);
    let other = made.0 != made.1 && made.0.generation.is_some() && made.1.generation.is_some();
    same_mode && recorded.state.revision == present.revision && !other
}

fn proved(object: Option<&Entered>) -> Option<Began> {
    let entered = object?;
    let actor = (!entered.actor.is_empty()).then(|| entered.actor.clone());
    Some(Began { at: entered.at, source: ChangeSource::of(&entered.by), actor, recorded: false })
}

/// The record goes on until now.
fn continued(recorded: &Standing, object: Option<&Entered>, present: &PolicyState) -> Result<Began, Undated> {
    let seen = Began { at: recorded.since, source: recorded.source, actor: recorded.actor.clone(), recorded: true };
    if !recorded.state.made.is_surely(&present.made)
        && let Some(gap) = recorded.policy_gaps.last()
    {
        let later = proved(object).filter(|began| began.at >= gap.from);
        return later.ok_or(Undated::Gap(gap.from, gap.to));
    }
    if recorded.source == ChangeSource::Seen {
        return Ok(seen);
    }
    let earlier = object.filter(|entered| entered.at < seen.at && recorded.not_before.is_none_or(|floor| entered.at >= floor));
    Ok(proved(earlier).map_or(seen, |began| Began { recorded: true, ..began }))
}

/// The record ends with something else.
fn after(recorded: &Standing, object: Option<&Entered>) -> Result<Began, Undated> {
    let until = recorded.watched_until.map_or(recorded.since, |until| until.max(recorded.since));
    let later = proved(object).filter(|began| began.at.checked_add(APART).is_ok_and(|at| at >= until));
    let later = later.ok_or(Undated::OtherUntil(until))?;
    // By which of the two clocks is not known: it was something else until then.
    Ok(Began { at: later.at.max(until), ..later })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::made::{at, of};
    use crate::domain::history::{Change, Made, Records, standing};
    use crate::domain::{EnteredBy, Revision};
    use proptest::prelude::*;

    fn state(mode: Mode, revision: &str, generation: i64) -> PolicyState {
        let object = Made { generation: Some(generation), created: Some(at(0)) };
        PolicyState { mode, ready: Some(true), revision: Some(Revision(revision.into())), made: object }
    }

    fn change(second: i64, state: PolicyState, source: ChangeSource) -> Change {
        Change { at: at(second), state, actor: None, source }
    }

    fn told(second: i64) -> Entered {
        Entered { at: at(second), by: EnteredBy::Creation, actor: String::new() }
    }

    /// The standing at 1000 of a policy that was watched in `watched`.
    fn recorded(changes: Vec<Change>, watched: &[(i64, i64)]) -> Standing {
        let policies = watched.iter().map(|(from, to)| of(*from, *to)).collect();
        standing(&Records { changes, policies, ..Records::default() }, at(1000)).unwrap()
    }

    fn when(recorded: Option<&Standing>, object: Option<&Entered>, present: &PolicyState) -> Result<i64, Undated> {
        began(recorded, object, present).map(|began| began.at.as_second())
    }

    #[test]
    fn records_and_objects_are_weighed() {
        use ChangeSource::{Found, Seen};
        use Mode::{Audit, Enforce};
        let (audit, enforce) = (state(Audit, "a", 1), state(Enforce, "a", 2));
        let found = |second| recorded(vec![change(second, audit.clone(), Found)], &[(second, 1000)]);
        assert_eq!(when(None, None, &audit), Err(Undated::NotRecorded));
        assert_eq!(when(None, Some(&told(7)), &audit), Ok(7));
        assert_eq!(when(Some(&found(500)), None, &audit), Ok(500), "found so: it counts from then on");
        assert_eq!(when(Some(&found(500)), Some(&told(7)), &audit), Ok(7), "the object knows of an earlier start");
        let seen = recorded(vec![change(300, audit.clone(), Found), change(600, enforce.clone(), Seen)], &[(300, 1000)]);
        assert_eq!(when(Some(&seen), Some(&told(7)), &enforce), Ok(600), "what was seen to happen goes first");
        // Watched in audit until 400, found enforcing at 900: it cannot have enforced while audit was watched.
        let gap = recorded(vec![change(300, audit.clone(), Found), change(900, enforce.clone(), Found)], &[(300, 400), (900, 1000)]);
        assert_eq!(when(Some(&gap), Some(&told(7)), &enforce), Ok(900));
        assert_eq!(when(Some(&gap), Some(&told(450)), &enforce), Ok(450));
        // The recorder is gone, and the policy is another one now.
        let gone = recorded(vec![change(300, audit.clone(), Found)], &[(300, 800)]);
        assert_eq!(when(Some(&gone), Some(&told(7)), &enforce), Err(Undated::OtherUntil(at(800))));
        assert_eq!(when(Some(&gone), None, &enforce), Err(Undated::OtherUntil(at(800))));
        assert_eq!(when(Some(&gone), Some(&told(820)), &enforce), Ok(820));
        assert_eq!(when(Some(&gone), Some(&told(745)), &enforce), Ok(800), "clocks are apart, and it was something else until 800");
        // The recorder is gone, and nothing changed since: the generation says so.
        assert_eq!(when(Some(&gone), None, &audit), Ok(300));
        // It went and came back meanwhile: mode and revision are the same, the generation is not.
        assert_eq!(when(Some(&gone), None, &state(Audit, "a", 3)), Err(Undated::OtherUntil(at(800))));
        let back = recorded(vec![change(300, audit.clone(), Found), change(900, state(Audit, "a", 3), Found)], &[(300, 800), (900, 1000)]);
        assert_eq!(when(Some(&back), None, &state(Audit, "a", 3)), Ok(900));
        // Deleted and made again while nobody watched: the same words, another object.
        let again = PolicyState { made: Made { generation: Some(1), created: Some(at(850)) }, ..audit.clone() };
        assert_eq!(when(Some(&gone), Some(&told(850)), &again), Ok(850));
        assert_eq!(when(Some(&gone), Some(&told(7)), &again), Err(Undated::OtherUntil(at(800))));
        assert_eq!(when(None, Some(&told(7)), &again), Ok(850), "nothing begins before its object was created");
    }

    #[test]
    fn records_that_do_not_know_the_generation_prove_no_gap() {
        let old = PolicyState { made: Made::UNKNOWN, ..state(Mode::Audit, "a", 1) };
        let watched = recorded(vec![change(300, old.clone(), ChangeSource::Seen)], &[(300, 1000)]);
        let away = recorded(vec![change(300, old, ChangeSource::Seen)], &[(300, 400), (900, 1000)]);
        let present = state(Mode::Audit, "a", 1);
        assert_eq!(when(Some(&watched), None, &present), Ok(300));
        assert_eq!(when(Some(&away), None, &present), Err(Undated::Gap(at(400), at(900))));
        assert_eq!(when(Some(&away), Some(&told(7)), &present), Err(Undated::Gap(at(400), at(900))));
        assert_eq!(when(Some(&away), Some(&told(950)), &present), Ok(950));
    }

    #[test]
    fn a_stamp_of_another_mode_proves_nothing() {
        let stamp = Entered { at: at(7), by: EnteredBy::Stamp { mode: "audit".into() }, actor: "jane".into() };
        assert_eq!(when(None, Some(&stamp), &state(Mode::Audit, "a", 2)), Ok(7));
        assert_eq!(when(None, Some(&stamp), &state(Mode::Enforce, "a", 2)), Err(Undated::NotRecorded));
    }

    proptest! {
        /// Whatever was recorded and whatever an object proves of its last change: no start lies before a moment at which the policy was something else, be it
        /// in a moment that nobody watched.
        #[test]
        fn no_start_is_too_early(
            steps in prop::collection::vec((1i64..90, 0usize..3), 1..8),
            watched in prop::collection::vec((0i64..900, 1i64..200), 0..4),
            provable in any::<bool>(),
        ) {
            // What truly happened: each step changes the spec, perhaps back to what it was before.
            let states = [(Mode::Audit, "a"), (Mode::Enforce, "a"), (Mode::Audit, "b")];
            let mut truth: Vec<(i64, PolicyState)> = Vec::new();
            for (gap, which) in steps {
                let at = truth.last().map_or(0, |(at, _)| *at) + gap;
                let (mode, revision) = states[which];
                truth.push((at, state(mode, revision, i64::try_from(truth.len()).unwrap() + 1)));
            }
            let is = |second: i64| truth.iter().rev().find(|(at, _)| *at <= second).map(|(_, state)| state.clone());
            let covered = crate::domain::history::cover(watched.iter().map(|(from, length)| of(*from, *from + *length)).collect());
            let mut changes: Vec<Change> = Vec::new();
            for interval in &covered {
                for second in interval.from.as_second()..interval.to.as_second() {
                    let Some(state) = is(second) else { continue };
                    if changes.last().is_none_or(|last| last.state != state) {
                        let first = second == interval.from.as_second();
                        changes.push(change(second, state, if first { ChangeSource::Found } else { ChangeSource::Seen }));
                    }
                }
            }
            let recorded = standing(&Records { changes, policies: covered, ..Records::default() }, at(1000));
            let (last, present) = truth.last().unwrap();
            let object = provable.then(|| told(*last));
            // The same mode and revision may have been reached by an earlier change of other words.
            let same = |state: &PolicyState| (state.mode, &state.revision) == (present.mode, &present.revision);
            let truly = truth.iter().rev().take_while(|(_, state)| same(state)).last().map_or(*last, |(at, _)| *at);
            if let Ok(began) = began(recorded.as_ref(), object.as_ref(), present) {
                prop_assert!(began.at.as_second() >= truly, "{began:?} is before {truly}: {truth:?}");
            }
        }
    }
}
