//! Views in, news out.

use super::*;
use crate::domain::{Gap, InForce, Revision, Sync};
use crate::fleet::view::KindView;
use crate::testing::fleet;

fn cell(name: &str, mode: Mode, revision: Option<&str>, fail: u64) -> PolicyCell {
    PolicyCell {
        revision: revision.map(|revision| Revision(revision.into())),
        owners: Tally { fail, ..Tally::default() },
        ..fleet::cell(name, mode)
    }
}

fn view(cells: Vec<PolicyCell>) -> EnvironmentView {
    let kind = |group, kind| KindView { group, kind, sync: Sync::Live, objects: 1, essential: true, left_out: 0 };
    EnvironmentView {
        cluster_uid: Some("u1".into()),
        kinds: vec![
            kind("kyverno.io", "ClusterPolicy"),
            kind("wgpolicyk8s.io", "PolicyReport"),
            kind("", "Event"),
            kind("kyverno.io", "PolicyException"),
        ],
        generation: 0,
        content: 0,
        ..fleet::environment("dev", cells)
    }
}

/// A watcher, its time, and what it is shown.
struct Bench {
    watcher: Watcher,
    second: i64,
    generation: u64,
}

impl Bench {
    fn new() -> Self {
        Self { watcher: Watcher::default(), second: 0, generation: 0 }
    }

    /// Lets time pass and shows a view; what is told, in words, without the beats.
    fn after(&mut self, seconds: i64, view: EnvironmentView) -> Vec<String> {
        self.all(seconds, seconds, view).0
    }

    fn all(&mut self, run: i64, wall: i64, mut view: EnvironmentView) -> (Vec<String>, Vec<String>) {
        self.generation += 1;
        view.generation = self.generation;
        let base = self.watcher.last.map_or(Duration::ZERO, |last| last.run);
        self.second += wall;
        let now =
            Moment { wall: Timestamp::from_second(1_000 + self.second).unwrap(), run: base + Duration::from_secs(run.unsigned_abs()) };
        let found = self.watcher.look(&view, now);
        let (mut news, mut beats) = (Vec::new(), Vec::new());
        for (at, one) in found.news {
            let at = at.as_second() - 1_000;
            match one {
                News::Policies { states, whole, seen } => {
                    let word = |(key, state): &(PolicyKey, PolicyState)| format!("{}={}", key.id.name, state.mode);
                    let how = match (whole, seen) {
                        (true, false) => "all",
                        (false, true) => "seen",
                        _ => "?",
                    };
                    news.push(format!("{at} {how} {}", states.iter().map(word).collect::<Vec<_>>().join(" ")));
                }
                News::Tallies(tallies) => {
                    let word = |(key, tally): &(PolicyKey, Tally)| format!("{}:{}", key.id.name, tally.fail);
                    news.push(format!("{at} {}", tallies.iter().map(word).collect::<Vec<_>>().join(" ")));
                }
                News::Watched(intervals) => {
                    let word = |(family, interval): &(Watched, Interval)| {
                        format!("{} {}-{}", family.as_str(), interval.from.as_second() - 1_000, interval.to.as_second() - 1_000)
                    };
                    beats.push(intervals.iter().map(word).collect::<Vec<_>>().join(", "));
                }
                News::Ended(intervals) => {
                    let word =
                        |(family, interval): &(Watched, Interval)| format!("{} ended {}", family.as_str(), interval.to.as_second() - 1_000);
                    beats.push(intervals.iter().map(word).collect::<Vec<_>>().join(", "));
                }
                other => panic!("{other:?}"),
            }
        }
        if found.refusals {
            news.push("refusals".into());
        }
        if found.exceptions {
            news.push("exceptions".into());
        }
        (news, beats)
    }
}

fn audit(fail: u64) -> EnvironmentView {
    view(vec![cell("p", Mode::Audit, Some("r1"), fail)])
}

#[test]
fn warnings_of_a_policy_that_is_not_scored_are_violations_as_in_its_gate() {
    let mut bench = Bench::new();
    let warned = |warn: u64, unscored: bool| {
        let mut cell = cell("p", Mode::Audit, Some("r1"), 1);
        (cell.owners.warn, cell.unscored) = (warn, unscored);
        view(vec![cell])
    };
    assert_eq!(bench.after(0, warned(3, true))[1], "0 p:4");
    assert_eq!(bench.after(20, warned(5, true)), ["20 p:6"]);
    assert_eq!(Bench::new().after(0, warned(3, false))[1], "0 p:1", "of any other policy they are warnings");
}

#[test]
fn reports_of_which_one_could_not_be_read_are_not_watched() {
    let mut bench = Bench::new();
    let mut partial = audit(3);
    partial.kinds[1].left_out = 1;
    let (news, beats) = bench.all(0, 0, partial);
    assert_eq!(news, ["0 all p=audit", "refusals", "exceptions"]);
    assert!(beats.concat().contains("policies") && !beats.concat().contains("reports"), "{beats:?}");
}

#[test]
fn policies_that_only_results_name_are_recorded_up_to_a_number() {
    let mut bench = Bench::new();
    let bare = |count: usize| (0..count).map(|n| cell(&format!("x{n:05}"), Mode::Unknown, None, 1)).collect::<Vec<_>>();
    let with = |count: usize| view([vec![cell("p", Mode::Audit, Some("r1"), 3)], bare(count)].concat());
    let tallies = |news: &[String]| news[1].split(' ').count() - 1;
    let news = bench.after(0, with(5_000));
    assert_eq!((news[0].as_str(), tallies(&news)), ("0 all p=audit", BARE + 1), "what exists is always recorded");
    let told = bench.watcher.told.len();
    assert_eq!((told, bench.after(1, with(5_000))), (BARE + 1, Vec::new()), "and others do not take turns");
    assert_eq!(bench.after(1, view(bare(5_000))), ["2 p:0", "2 seen p=absent"], "that one has gone is noticed");
    assert_eq!(bench.watcher.told.len(), BARE);
}

#[test]
fn first_everything_then_only_what_changed() {
    let mut bench = Bench::new();
    assert_eq!(bench.after(0, audit(3)), ["0 all p=audit", "0 p:3", "refusals", "exceptions"]);
    assert_eq!(bench.after(1, audit(3)), Vec::<String>::new());
    assert_eq!(bench.after(1, view(vec![cell("p", Mode::Enforce, Some("r1"), 3)])), ["2 seen p=enforce"]);
    let two = || vec![cell("p", Mode::Enforce, Some("r2"), 3), cell("q", Mode::Audit, Some("r9"), 0)];
    assert_eq!(bench.after(1, view(two())), ["3 seen p=enforce q=audit", "3 q:0"]);
    assert_eq!(bench.after(1, view(two()[1..].to_vec())), ["4 p:0", "4 seen p=absent"]);
    // Only its results are left.
    assert_eq!(bench.after(1, view(vec![cell("q", Mode::Absent, None, 0)])), ["5 seen q=absent"]);
}

#[test]
fn numbers_are_told_every_so_often_and_the_worst_is_not_lost() {
    let mut bench = Bench::new();
    bench.after(0, audit(0));
    assert_eq!(bench.after(5, audit(7)), Vec::<String>::new());
    assert_eq!(bench.after(5, audit(0)), Vec::<String>::new());
    assert_eq!(bench.after(5, audit(0)), ["5 p:7", "15 p:0"]);
    assert_eq!(bench.after(20, audit(2)), ["35 p:2"]);
    assert_eq!(bench.after(20, audit(2)), Vec::<String>::new());
}

#[test]
fn what_is_watched_is_told_at_its_ends_and_in_between() {
    let mut bench = Bench::new();
    let watched = |text: &str| vec![text.replace('*', "policies X, reports X, events X, exceptions X")];
    let every = |interval: &str| watched("*").into_iter().map(|text| text.replace('X', interval)).collect::<Vec<_>>();
    assert_eq!(bench.all(0, 0, audit(0)).1, every("0-0"));
    assert_eq!(bench.all(5, 5, audit(0)).1, Vec::<String>::new());
    assert_eq!(bench.all(5, 5, audit(0)).1, every("0-10"));
    let mut denied = audit(0);
    denied.kinds[1].sync = Sync::Stale { since: Timestamp::UNIX_EPOCH };
    assert_eq!(bench.all(1, 1, denied).1, ["reports ended 10", "policies 0-11, events 0-11, exceptions 0-11"]);
    let mut lost = audit(0);
    lost.link = Link::Stale { since: Timestamp::UNIX_EPOCH };
    assert_eq!(bench.all(1, 1, lost).1, ["policies ended 11, events ended 11, exceptions ended 11"]);
    let (news, beats) = bench.all(1, 1, view(vec![cell("p", Mode::Enforce, Some("r1"), 0)]));
    assert_eq!(news, ["13 all p=enforce"], "nobody saw when it happened");
    assert_eq!(beats, every("13-13"));
    let total: Vec<_> = bench.watcher.watched().map(|(_, time)| time.as_secs()).collect();
    assert_eq!(total, [11, 10, 11, 11]);
}

#[test]
fn while_no_request_would_make_an_event_none_are_watched() {
    let silent = |change: fn(&mut EnvironmentView)| {
        let mut view = audit(0);
        change(&mut view);
        view
    };
    for silence in [
        silent(|view| view.makes_events = Some(false)),
        silent(|view| view.makes_events = None),
        silent(|view| view.answers = InForce::because(Force::No, Gap::NotCarried)),
        silent(|view| view.answers = InForce::default()),
    ] {
        let mut bench = Bench::new();
        bench.all(0, 0, audit(0));
        assert_eq!(bench.all(5, 5, silence.clone()).1, ["events ended 0", "policies 0-5, reports 0-5, exceptions 0-5"]);
        assert_eq!(bench.all(5, 5, silence).1, Vec::<String>::new());
        assert_eq!(bench.all(5, 5, audit(0)).1, ["policies 0-15, reports 0-15, events 15-15, exceptions 0-15"]);
    }
}

#[test]
fn what_is_seen_of_some_namespaces_is_noted_so() {
    let mut bench = Bench::new();
    let limited = || EnvironmentView { namespaces: vec!["shop".to_owned()].into(), ..audit(3) };
    let (news, beats) = bench.all(0, 0, limited());
    assert_eq!(news, ["0 all p=audit", "refusals", "exceptions"], "the numbers of a cluster-wide policy are not all of them");
    assert_eq!(beats, ["policies 0-0, reports-in-part 0-0, events-in-part 0-0, exceptions 0-0"]);
    let mut lost = limited();
    lost.link = Link::Stale { since: Timestamp::UNIX_EPOCH };
    let ended = "policies ended 0, reports-in-part ended 0, events-in-part ended 0, exceptions ended 0";
    assert_eq!(bench.all(1, 1, lost).1, [ended]);
}

#[test]
fn nothing_is_told_before_all_is_there() {
    let mut bench = Bench::new();
    let mut listing = audit(0);
    listing.link = Link::Listing;
    assert_eq!(bench.all(0, 0, listing), (vec![], vec![]));
    let mut unknown = audit(0);
    unknown.cluster_uid = None;
    assert_eq!(bench.all(1, 1, unknown), (vec![], vec![]));
    assert_eq!(bench.after(1, audit(0))[0], "2 all p=audit");
}

#[test]
fn a_leap_of_time_begins_anew() {
    for (run, wall) in [(60, 60), (1, 3_600), (1, -3_600)] {
        let mut bench = Bench::new();
        bench.after(0, audit(0));
        bench.after(5, audit(0));
        let (news, beats) = bench.all(run, wall, audit(0));
        assert!(news[0].ends_with("all p=audit"), "{run} {wall}: {news:?}");
        assert!(beats[0].starts_with("policies ended 5") && beats.len() == 2, "{run} {wall}: {beats:?}");
    }
}

#[test]
fn another_cluster_is_another_environment() {
    let mut bench = Bench::new();
    bench.after(0, audit(0));
    let mut other = audit(0);
    other.cluster_uid = Some("u2".into());
    assert_eq!(bench.after(1, other)[0], "1 all p=audit");
    assert_eq!(bench.watcher.key().unwrap().cluster_uid, "u2");
}

#[test]
fn refusals_are_asked_for_when_their_number_changes() {
    let mut bench = Bench::new();
    bench.after(0, audit(0));
    let blocked = |count| EnvironmentView { blocks_held: Some(count), ..audit(0) };
    assert_eq!(bench.after(1, blocked(1)), Vec::<String>::new(), "too soon");
    assert_eq!(bench.after(1, blocked(1)), ["refusals"]);
    assert_eq!(bench.after(5, blocked(1)), Vec::<String>::new());
    assert_eq!(bench.after(5, EnvironmentView { blocks_held: None, ..audit(0) }), Vec::<String>::new());
    for _ in 0..3 {
        assert_eq!(bench.after(14, blocked(1)), Vec::<String>::new());
    }
    assert_eq!(bench.after(14, blocked(1)), ["refusals"], "some may have run out while others came");
}
