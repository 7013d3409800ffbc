use super::*;
use crate::domain::history::made::{at, of};
use proptest::prelude::*;

const PACE: SignedDuration = SignedDuration::from_secs(25);

/// A process that is looked at every ten seconds from `first` to `last`.
fn process(started: i64, first: i64, last: i64, gone: i64) -> Process {
    let looks = (first..=last).step_by(10).map(at).collect();
    Process { started: at(started), looks, gone: at(gone), pace: PACE, counts: true }
}

fn counter(process: usize, samples: &[(i64, u64)]) -> Counter {
    Counter { process, samples: samples.iter().map(|(second, value)| (at(*second), *value)).collect(), sure: true }
}

/// Every sample from `first` to `last`: `before` and from `when` on `after`.
fn step(process: usize, (first, last): (i64, i64), when: i64, (before, after): (Option<u64>, u64)) -> Counter {
    let value = |second: i64| if second < when { before } else { Some(after) };
    let samples: Vec<(i64, u64)> = (first..=last).step_by(10).filter_map(|second| Some((second, value(second)?))).collect();
    counter(process, &samples)
}

fn words(fills: &[Fill]) -> String {
    let word = |fill: &Fill| {
        let (from, to) = (fill.interval.from.as_second(), fill.interval.to.as_second());
        format!("{from}-{to}:{}{}", fill.count, if fill.whole { "" } else { "+" })
    };
    fills.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn counters_tell_what_was_refused_between_two_looks() {
    // Looked at from 0 to 200, long before and after the gap.
    let one = || vec![process(-1_000, 0, 200, 225)];
    let gap = of(52, 118);
    let cases: [(&str, Vec<Process>, Vec<Counter>, &str); 17] = [
        ("nothing was refused", one(), vec![], "52-118:0"),
        ("it stood still", one(), vec![step(0, (0, 200), 0, (None, 7))], "52-118:0"),
        ("it rose", one(), vec![step(0, (0, 200), 80, (Some(7), 9))], "52-70:0 70-80:2 80-118:0"),
        ("a new series begins at what it says", one(), vec![step(0, (0, 200), 80, (None, 2))], "52-70:0 70-80:2 80-118:0"),
        ("two rules of it", one(), vec![step(0, (0, 200), 80, (None, 2)), step(0, (0, 200), 80, (Some(1), 2))], "52-70:0 70-80:3 80-118:0"),
        ("twice in a row", one(), vec![counter(0, &[(0, 1), (70, 1), (80, 3), (90, 4), (200, 4)])], "52-70:0 70-90:3 90-118:0"),
        ("on the edge it may have been seen", one(), vec![step(0, (0, 200), 60, (None, 2))], "60-118:0"),
        ("on the other edge, too", one(), vec![step(0, (0, 200), 120, (None, 2))], "52-110:0"),
        ("beyond the edges it is no matter", one(), vec![step(0, (0, 200), 50, (None, 2)), step(0, (0, 200), 130, (None, 2))], "52-118:0"),
        ("it goes backwards", one(), vec![counter(0, &[(0, 5), (70, 5), (80, 1), (90, 1), (200, 1)])], "52-70:0 80-118:0"),
        ("it is gone while the process is not", one(), vec![counter(0, &[(0, 5), (70, 5)])], "52-70:0"),
        (
            "who cannot be told apart may have been refused",
            one(),
            vec![Counter { sure: false, ..step(0, (0, 200), 80, (Some(7), 9)) }],
            "52-70:0 80-118:0",
        ),
        (
            "nobody looked for a while",
            vec![Process { looks: [0, 10, 50, 60, 70, 110, 120].map(at).into(), ..process(-1_000, 0, 0, 145) }],
            vec![],
            "52-70:0 110-118:0",
        ),
        (
            "nor at what rose meanwhile",
            vec![Process { looks: [0, 50, 60, 70, 110, 120].map(at).into(), ..process(-1_000, 0, 0, 145) }],
            vec![counter(0, &[(0, 1), (70, 1), (110, 4), (120, 4)])],
            "52-70:0 70-110:3+ 110-118:0",
        ),
        ("it does not count such things", vec![Process { counts: false, ..process(-1_000, 0, 200, 225) }], vec![], ""),
        ("it was not found at once", vec![process(-1_000, 80, 200, 225)], vec![], "80-118:0"),
        ("nobody was there", vec![], vec![], ""),
    ];
    for (what, processes, counters, expected) in cases {
        assert_eq!(words(&with_clocks(SignedDuration::ZERO, gap, 1, &processes, &counters)), expected, "{what}");
    }
}

#[test]
fn processes_come_and_go() {
    let gap = of(52, 118);
    // Begun anew at 83: what the old one did after its last look nobody knows, what the new one did its counters tell.
    let anew = [process(-1_000, 0, 80, 90), process(83, 90, 200, 225)];
    let counters = [step(0, (0, 80), 70, (Some(3), 5)), step(1, (90, 200), 90, (None, 1))];
    assert_eq!(words(&with_clocks(SignedDuration::ZERO, gap, 1, &anew, &counters)), "52-60:0 60-70:2 70-80:0 83-90:1+ 90-118:0");
    // Another one beside it: its numbers are added, and the end of the first is still not known.
    let beside = [process(-1_000, 0, 80, 95), process(-1_000, 0, 200, 225)];
    let counters = [step(0, (0, 80), 70, (Some(3), 5)), step(1, (0, 200), 70, (None, 1))];
    assert_eq!(words(&with_clocks(SignedDuration::ZERO, gap, 1, &beside, &counters)), "52-60:0 60-70:3 70-80:0 95-118:0");
    // One that came into being beside it counts from its beginning.
    let joined = [process(-1_000, 0, 200, 225), process(75, 90, 200, 225)];
    assert_eq!(
        words(&with_clocks(SignedDuration::ZERO, gap, 1, &joined, &[step(1, (90, 200), 90, (None, 4))])),
        "52-75:0 75-90:4 90-118:0"
    );
    // One that began before the gap and was found in it may have refused before it was found.
    let found = [process(-1_000, 0, 200, 225), process(20, 90, 200, 225)];
    assert_eq!(words(&with_clocks(SignedDuration::ZERO, gap, 1, &found, &[step(1, (90, 200), 90, (None, 4))])), "90-118:0");
}

/// What is looked at, how many there are, and what that says.
type Looked<'c> = (&'static str, usize, Vec<Process>, &'c [Counter], &'static str);

#[test]
fn fewer_processes_than_there_are_tell_nothing_whole() {
    let gap = of(52, 118);
    let told = |expected, processes: &[Process], counters: &[Counter]| {
        let (fewest, most) = looked_at(gap, processes);
        format!("{fewest}-{most} {}", words(&with_clocks(SignedDuration::ZERO, gap, expected, processes, counters)))
    };
    // Another start each: two looks at one process are one process.
    let one = |started: i64| process(started, 0, 200, 225);
    let later = |started: i64| process(started, 90, 200, 225);
    let rose = [step(0, (0, 200), 80, (Some(7), 9))];
    let cases: [Looked<'_>; 9] = [
        ("all of them", 2, vec![one(-10), one(-20)], &[], "2-2 52-118:0"),
        ("more than there are now", 1, vec![one(-10), one(-20)], &[], "2-2 52-118:0"),
        ("one of two", 2, vec![one(-10)], &[], "1-1 "),
        ("one of two, scraped twice", 2, vec![one(-10), one(-10)], &[], "1-1 "),
        ("two of three", 3, vec![one(-10), one(-20)], &[], "2-2 "),
        ("what one of two counted is the least there was", 2, vec![one(-10)], &rose, "1-1 70-80:2+"),
        ("the other one was found later", 2, vec![one(-10), later(-20)], &[], "1-2 90-118:0"),
        ("nothing is looked at", 2, vec![], &[], "0-0 "),
        ("that there is none now says nothing of then", 0, vec![one(-10)], &[], "1-1 52-118:0"),
    ];
    for (what, expected, processes, counters, words) in cases {
        assert_eq!(told(expected, &processes, counters), words, "{what}");
    }
}

#[test]
fn few_stretches_for_many_refusals() {
    let looks: Vec<Timestamp> = (0..=1_440).map(|step| at(step * 10)).collect();
    let samples = looks.iter().zip(1..).map(|(look, value)| (*look, value)).collect();
    let process = Process { looks, ..process(-1_000, 0, 0, 20_000) };
    let fills = with_clocks(SignedDuration::ZERO, of(0, 14_400), 1, &[process], &[Counter { process: 0, samples, sure: true }]);
    assert_eq!(words(&fills), "0-3600:360 3600-7200:360 7200-10800:360 10800-14400:360");
}

fn fill(from: i64, to: i64, count: u64, whole: bool) -> Fill {
    Fill { interval: of(from, to), count, whole }
}

#[test]
fn what_was_seen_and_what_was_told_is_counted_once() {
    let window = of(0, 100);
    let watched = [of(0, 30), of(60, 100)];
    let cases = [
        ("nothing fills it", vec![(at(10), 1)], vec![], (1, 0), vec![of(30, 60)], vec![]),
        ("all of it", vec![], vec![fill(30, 60, 0, true)], (0, 0), vec![], vec![of(30, 60)]),
        ("some of it", vec![], vec![fill(35, 60, 2, true)], (2, 2), vec![of(30, 35)], vec![of(35, 60)]),
        (
            "an event told of the same",
            vec![(at(40), 1)],
            vec![fill(30, 50, 2, true), fill(50, 60, 0, true)],
            (2, 1),
            vec![],
            vec![of(30, 60)],
        ),
        ("events told of more", vec![(at(40), 5)], vec![fill(30, 60, 2, true)], (5, 0), vec![], vec![of(30, 60)]),
        ("the least there was leaves the gap", vec![], vec![fill(30, 60, 2, false)], (2, 2), vec![of(30, 60)], vec![]),
        ("another watched meanwhile", vec![(at(25), 1), (at(70), 1)], vec![fill(20, 80, 2, true)], (2, 0), vec![], vec![of(30, 60)]),
        ("before it began", vec![], vec![fill(-20, 10, 4, true), fill(30, 60, 0, true)], (0, 0), vec![], vec![of(30, 60)]),
        ("nothing was refused across the edge", vec![], vec![fill(-20, 60, 0, true)], (0, 0), vec![], vec![of(30, 60)]),
    ];
    for (what, seen, fills, (blocked, by_fills), gaps, filled) in cases {
        let told = refused(&seen, &watched, &fills, window);
        assert_eq!((told.blocked, told.by_fills), (blocked, by_fills), "{what}");
        assert_eq!((told.gaps, told.filled), (gaps, filled), "{what}");
    }
    let edge = refused(&[], &[of(10, 100)], &[fill(-20, 10, 4, true)], window);
    assert_eq!((edge.blocked, edge.gaps), (0, vec![of(0, 10)]), "on which side of the edge it was nobody knows");
    let last = refused(&[(at(5), 1)], &watched, &[fill(30, 40, 2, true)], window).last;
    assert_eq!(last, Some(at(40)));
    assert_eq!(beyond(&[(at(35), 1)], &[fill(30, 40, 3, true), fill(40, 60, 0, true)]).len(), 1);
}

/// A life: from when to when, refusals in it, and looks that fail.
#[derive(Debug, Clone)]
struct Life {
    from: i64,
    to: i64,
    refusals: Vec<i64>,
    missed: Vec<i64>,
}

fn life() -> impl Strategy<Value = Life> {
    let times = |most: usize| prop::collection::vec(0i64..300, 0..most);
    (0i64..250, 12i64..200, times(6), times(4)).prop_map(|(from, length, refusals, missed)| Life {
        from,
        to: from + length,
        refusals,
        missed,
    })
}

/// Looks are at whole tens of seconds, refusals half a second after whole seconds.
fn lived(life: &Life) -> Option<(Process, Counter, Vec<i64>)> {
    let looks: Vec<i64> = (0..40)
        .map(|step| step * 10)
        .filter(|look| life.from <= *look && *look < life.to && !life.missed.contains(&(*look / 10)))
        .collect();
    let refusals: Vec<i64> = life.refusals.iter().copied().filter(|second| life.from <= *second && *second < life.to).collect();
    let value = |look: i64| refusals.iter().filter(|second| **second < look).count() as u64;
    let samples = looks.iter().map(|look| (at(*look), value(*look))).filter(|(_, value)| *value > 0).collect();
    let process =
        Process { started: at(life.from), gone: at(life.to + 25), pace: PACE, counts: true, looks: looks.into_iter().map(at).collect() };
    (!process.looks.is_empty()).then_some((process, Counter { process: 0, samples, sure: true }, refusals))
}

proptest! {
    /// Whoever watched all the time would have seen no more than a whole stretch tells, and nothing is told that never was. So a gate that opens on
    /// what fills a gap would have opened for a watcher of all of it.
    #[test]
    fn it_opens_nothing_that_a_watcher_would_hold(lives in prop::collection::vec(life(), 0..5), from in 0i64..200, length in 1i64..200) {
        let gap = of(from, from + length);
        let (mut processes, mut counters, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (process, counter, seconds) in lives.iter().filter_map(lived) {
            counters.push(Counter { process: processes.len(), ..counter });
            processes.push(process);
            refusals.extend(seconds);
        }
        let half = |second: i64| at(second).checked_add(SignedDuration::from_millis(500)).unwrap();
        let in_it = |interval: Interval| refusals.iter().filter(|second| interval.holds(half(**second))).count() as u64;
        let fills = with_clocks(SignedDuration::ZERO, gap, 1, &processes, &counters);
        prop_assert!(fills.windows(2).all(|pair| pair[0].interval.to <= pair[1].interval.from), "{fills:?}");
        for fill in &fills {
            prop_assert!(gap.from <= fill.interval.from && fill.interval.to <= gap.to, "{fill:?}");
            prop_assert!(!fill.whole || fill.count == in_it(fill.interval), "{fill:?}: {refusals:?}");
            prop_assert!(fill.count <= in_it(fill.interval), "{fill:?}: {refusals:?}");
        }
        let told = refused(&[], &[], &fills, gap);
        prop_assert!(told.blocked <= in_it(gap));
        prop_assert!(!told.gaps.is_empty() || told.blocked == in_it(gap), "{fills:?}: {refusals:?}");
        // Beside somebody who saw a part of it, nothing gets lost and nothing is counted twice.
        let seen: Vec<(Timestamp, u64)> = refusals.iter().filter(|second| **second % 2 == 0).map(|second| (half(*second), 1)).collect();
        let both = refused(&seen, &[], &fills, gap);
        prop_assert!(both.blocked >= told.blocked && both.blocked <= in_it(gap));
        prop_assert!(!both.gaps.is_empty() || both.blocked == in_it(gap));
    }
}

proptest! {
    /// The same where the clocks are apart, as far as that is allowed for: refusals are at their times by the watcher's clock.
    #[test]
    fn clocks_may_be_apart(lives in prop::collection::vec(life(), 0..4), from in 0i64..200, length in 1i64..200, ahead in -5_000i64..=5_000) {
        let gap = of(from, from + length);
        let (mut processes, mut counters, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (process, counter, seconds) in lives.iter().filter_map(lived) {
            counters.push(Counter { process: processes.len(), ..counter });
            processes.push(process);
            refusals.extend(seconds);
        }
        let seen = |second: i64| at(second).checked_add(SignedDuration::from_millis(500 - ahead)).unwrap();
        let in_it = refusals.iter().filter(|second| gap.holds(seen(**second))).count() as u64;
        let told = refused(&[], &[], &fills(gap, 1, &processes, &counters), gap);
        prop_assert!(told.blocked <= in_it, "{told:?}: {refusals:?}");
        prop_assert!(!told.gaps.is_empty() || told.blocked == in_it, "{told:?}: {refusals:?}");
    }
}
