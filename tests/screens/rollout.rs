//! The rollout screen: what may move, and why not yet?
#![expect(clippy::panic, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{self, cell, environment, fleet, gates};
use jiff::SignedDuration;
use policydeck::domain::{Force, Gap, InForce, Mode, Readiness, Severity, Tally};
use policydeck::fleet::view::{EnvironmentView, PolicyCell};
use policydeck::ops::road::Road;
use policydeck::settings::EnvironmentSettings;
use policydeck::tui::{Answer, Ask, ColorDepth, Effect, Msg, Role, TuiOptions};

/// The screen, from wherever one is.
pub(crate) fn opened(deck: Deck) -> Deck {
    deck.keys(":").typed("rollout").keys("enter")
}

fn rollout(size: (u16, u16)) -> Deck {
    opened(Deck::new(gates::rollout(), size))
}

/// The policy under the cursor.
pub(crate) fn selected(deck: &mut Deck) -> String {
    deck.text()
        .lines()
        .find_map(|line| line.strip_prefix(['▌', '>']))
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn down_to(mut deck: Deck, policy: &str) -> Deck {
    for _ in 0..40 {
        // Where there is no room for a name, it is cut.
        let name = selected(&mut deck);
        if !name.is_empty() && (name == policy || name.strip_suffix('…').is_some_and(|name| policy.starts_with(name))) {
            return deck;
        }
        deck.press("down");
    }
    panic!("{policy} is not listed:\n{}", deck.text());
}

#[test]
fn the_board_at_every_size() {
    for (columns, rows) in super::ALL_SIZES {
        snapshot!(format!("rollout_{columns}x{rows}"), rollout((columns, rows)).text());
    }
    snapshot!("rollout_40x12", rollout((40, 12)).text());
    let mut deck = rollout((120, 40));
    snapshot!("rollout_120x40_roles", deck.roles());
    snapshot!("rollout_all_120x40", deck.keys("o end").text());
}

#[test]
fn the_gate_and_what_is_behind_its_conditions() {
    let mut deck = down_to(rollout((120, 40)), "disallow-latest-tag").keys("enter");
    snapshot!("rollout_gate_120x40", deck.text());
    snapshot!("rollout_gate_120x40_roles", deck.roles());
    // The row count equals the number, and esc comes back to where one was.
    assert!(deck.text().contains("enter shows the 3 rows"), "{}", deck.text());
    let mut deck = deck.keys("enter");
    let text = deck.text();
    assert!(text.contains("disallow-latest-tag › staging › 3 failing owners") && text.matches('✖').count() == 3, "{text}");
    let text = deck.keys("enter esc esc").text();
    assert!(text.contains("next step: staging · enforce") && text.contains("▌ ✗ violations"), "{text}");
    let mut deck = down_to(rollout((80, 24)), "check-deprecated-apis").keys("enter");
    snapshot!("rollout_gate_80x24", deck.text());
    snapshot!("rollout_why_80x24", deck.keys("enter").text());
    let mut deck = rollout((40, 12)).keys("end up enter");
    snapshot!("rollout_gate_40x12", deck.text());
}

#[test]
fn a_visit_changes_nothing_on_the_screen_that_is_visited() {
    let deck = Deck::new(gates::rollout(), (120, 40)).keys("/").typed("registries").keys("enter u o");
    let mut deck = opened(deck);
    deck = down_to(deck, "disallow-latest-tag").keys("enter enter");
    assert!(deck.text().contains("3 failing owners"), "{}", deck.text());
    let text = deck.keys("esc shift-tab shift-tab").text();
    assert!(text.contains("hidden by the filter registries") && text.contains("all results · every resource"), "{text}");
}

#[test]
fn warnings_that_a_gate_counts_are_behind_its_number() {
    let mut environments = gates::rollout();
    let staging = &mut environments[2];
    let warned = |cell: &PolicyCell| {
        let owners = Tally { fail: 0, warn: 3, ..cell.owners };
        if cell.key.id.name == "disallow-latest-tag" { PolicyCell { owners, unscored: true, ..cell.clone() } } else { cell.clone() }
    };
    staging.cells = staging.cells.iter().map(warned).collect();
    let mut deck = down_to(opened(Deck::new(environments, (120, 40))), "disallow-latest-tag").keys("enter");
    assert!(deck.text().contains("enter shows the 3 rows"), "{}", deck.text());
    let text = deck.keys("enter").text();
    assert!(text.contains("disallow-latest-tag › staging › 3 owners reported as warnings"), "{text}");
}

#[test]
fn plain_terminals() {
    let ascii = TuiOptions { ascii: true, ..TuiOptions::default() };
    let mut deck = opened(Deck::with(ascii.clone(), gates::rollout(), (120, 40)));
    let text = deck.text();
    assert!(text.is_ascii(), "{:?}", text.chars().filter(|c| !c.is_ascii()).collect::<String>());
    snapshot!("rollout_ascii_120x40", text);
    for keys in ["enter", "enter enter", "?", "/ x", "o", ":"] {
        let text = opened(Deck::with(ascii.clone(), gates::rollout(), (120, 40))).keys(keys).text();
        assert!(text.is_ascii(), "{keys}: {:?}", text.chars().filter(|c| !c.is_ascii()).collect::<String>());
    }
    let plain = TuiOptions { depth: ColorDepth::None, ..TuiOptions::default() };
    let buffer = opened(Deck::with(plain, gates::rollout(), (120, 40))).draw();
    for cell in buffer.content() {
        assert_eq!((cell.fg, cell.bg), (ratatui::style::Color::Reset, ratatui::style::Color::Reset), "NO_COLOR means none");
    }
}

#[test]
fn production_has_its_own_style_wherever_it_is_named() {
    for (keys, size) in [("", (120, 40)), ("end enter", (120, 40)), ("end enter", (200, 60)), ("o end enter", (80, 24))] {
        let mut deck = rollout(size).keys(keys);
        let style = deck.theme.style(Role::Production);
        let buffer = deck.draw();
        for y in 0..buffer.area.height {
            let line: Vec<_> = (0..buffer.area.width).map(|x| &buffer[(x, y)]).collect();
            for at in 0..line.len().saturating_sub(10) {
                let word: String = line[at..at + 10].iter().map(|c| c.symbol()).collect();
                if word == "PRODUCTION" {
                    assert!(line[at..at + 10].iter().all(|c| Some(c.bg) == style.bg), "line {y} after {keys:?}\n{}", deck.text());
                }
            }
        }
    }
}

#[test]
fn instead_of_an_empty_board_there_are_words() {
    let flat = |mut deck: Deck| deck.text().split_whitespace().collect::<Vec<_>>().join(" ");
    snapshot!("rollout_starting_120x40", opened(Deck::new(fixture::starting(), (120, 40))).text());
    let mutating = |name: &str| environment(name, vec![cell("add-labels", Mode::Off, None, 0)]);
    let none: Vec<_> = ["dev", "qac", "staging", "production"].map(mutating).into();
    snapshot!("rollout_nothing_120x40", opened(Deck::new(none.clone(), (120, 40))).text());
    let mut lost = none;
    fixture::lose(&mut lost[3]);
    let text = flat(opened(Deck::new(lost, (120, 40))));
    assert!(text.contains("No policy to roll out in 3 of 4 environments. The others are not read completely."), "{text}");

    let enforced = |name: &str| environment(name, vec![cell("one", Mode::Enforce, None, 0), cell("two", Mode::Enforce, None, 0)]);
    let ended: Vec<_> = ["dev", "qac", "staging", "production"].map(enforced).into();
    let mut deck = opened(Deck::new(ended, (120, 40)));
    snapshot!("rollout_ended_120x40", deck.text());
    assert!(deck.keys("o").text().contains("fully rolled out  2"));

    let road = Road::new(vec![EnvironmentSettings::of_context("kind-dev")]);
    let alone = vec![environment("kind-dev", vec![cell("one", Mode::Audit, None, 0)])];
    let text = flat(opened(Deck::with(TuiOptions { road, ..TuiOptions::default() }, alone, (80, 24))));
    assert!(text.contains("The pipeline has one step: there is nothing to promote to."), "{text}");

    let text = flat(opened(Deck::new(Vec::new(), (80, 24))));
    assert!(text.contains("No environment to show."), "{text}");
    let text = flat(rollout((80, 24)).keys("/").typed("nosuchthing").keys("enter"));
    assert!(text.contains("None of 14 policies passes the filter: nosuchthing esc clears it, / changes it."), "{text}");
    let text = flat(rollout((80, 24)).keys("/").typed("capabilities").keys("enter"));
    assert!(text.contains("What passes the filter capabilities is fully rolled out: 1 policy (o: show)."), "{text}");
}

#[test]
fn filters_and_digits() {
    for (filter, expected) in [
        ("verdict=open", vec!["disallow-privileged-containers", "restrict-image-registries"]),
        ("verdict=unknown", vec!["check-deprecated-apis", "restrict-sysctls"]),
        (
            "policy=require-* verdict=closed",
            vec!["require-ro-rootfs", "require-probes", "require-labels", "require-pod-requests-limits", "team-a/require-owner"],
        ),
        ("env=qac", vec!["require-ro-rootfs", "require-probes", "team-a/require-owner"]),
        ("latest", vec!["disallow-latest-tag"]),
    ] {
        let mut deck = rollout((120, 40)).keys("/").typed(filter).keys("enter");
        let text = deck.text();
        let listed: Vec<&str> = fixture::gates::rollout()
            .iter()
            .flat_map(|view| view.cells.iter().map(|cell| cell.key.id.report_name()).collect::<Vec<_>>())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter(|name| text.lines().any(|line| line.trim_start_matches(['▌', ' ']).starts_with(name.as_str())))
            .map(|name| expected.iter().copied().find(|one| **one == name).unwrap_or("another"))
            .collect();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        assert_eq!(listed, sorted, "{filter}\n{text}");
    }
    let mut deck = rollout((120, 40)).keys("/").typed("verdict=shut");
    assert!(deck.text().contains("a verdict is open, closed or unknown, not `shut`"), "{}", deck.text());
    let mut deck = rollout((120, 40)).keys("4");
    assert!(deck.text().contains("hidden by the filter env=production"), "{}", deck.text());
    assert!(!deck.keys("0").text().contains("hidden by the filter"));
    assert!(rollout((120, 40)).keys("9").text().contains("there is no environment 9"));
}

#[test]
fn the_selection_stays_with_its_policy_when_it_changes_its_group() {
    let mut deck = down_to(rollout((120, 40)), "disallow-latest-tag");
    let mut mended = gates::rollout();
    let cells = mended[2].cells.iter().map(|c| cell(&c.key.id.report_name(), c.mode, c.severity, 0)).collect();
    mended[2] = EnvironmentView { generation: 2, content: 2, ..environment("staging", cells) };
    deck.replace(mended);
    deck.later(5_000);
    assert_eq!(selected(&mut deck), "disallow-latest-tag");
    let text = deck.text();
    assert!(text.contains("soaking  4") && text.contains("5d 02h of 7d"), "{text}");
}

#[test]
fn what_no_request_reaches_looks_so_and_needs_attention() {
    let because = |state| InForce::because(state, Gap::NotCarried);
    let (ready, dead) = (Readiness::Ready, Readiness::NotReady);
    for (mode, readiness, in_force, shape, group, expected) in [
        (Mode::Enforce, ready, InForce::YES, "█e", "fully rolled out  1", "fully rolled out"),
        (Mode::Enforce, ready, because(Force::Unknown), "█e", "fully rolled out  1", "fully rolled out"),
        (Mode::Enforce, ready, because(Force::No), "○e", "needs attention  1", "not in force in PRODUCTION"),
        (Mode::Enforce, ready, because(Force::Partly), "○e", "needs attention  1", "only partly in force in PRODUCTION"),
        (Mode::Enforce, dead, because(Force::No), "○e", "needs attention  1", "not ready in PRODUCTION"),
        // Its gate says it.
        (Mode::NotReady, dead, because(Force::No), "○n", "blocked  1", "it is not in force in PRODUCTION"),
    ] {
        let enforced = |name: &str| environment(name, vec![cell("one", Mode::Enforce, None, 0)]);
        let mut all: Vec<_> = ["dev", "qac", "staging", "production"].map(enforced).into();
        let cells = vec![PolicyCell { mode, ready: readiness, in_force: in_force.clone(), ..cell("one", Mode::Enforce, None, 0) }];
        all[3] = environment("production", cells);
        let text = opened(Deck::new(all, (120, 40))).keys("o").text();
        let row = text.lines().find(|line| line.contains("▌one ")).unwrap_or_default();
        assert_eq!(row.matches("█e").count(), if shape == "█e" { 4 } else { 3 }, "{text}");
        assert!(row.contains(shape), "{shape}\n{text}");
        assert!(row.contains(expected) && text.contains(group), "{expected}\n{text}");
    }
}

#[test]
fn what_ended_and_differs_needs_attention() {
    for (fail, expected) in [(0, "dev does not have it"), (3, "3 violations in PRODUCTION; 1 more")] {
        let enforced = |name: &str| environment(name, vec![cell("one", Mode::Enforce, None, 0)]);
        let mut all: Vec<_> = ["dev", "qac", "staging", "production"].map(enforced).into();
        all[0] = environment("dev", Vec::new());
        all[3] = environment("production", vec![cell("one", Mode::Enforce, None, fail)]);
        let mut deck = opened(Deck::new(all, (120, 40)));
        let text = deck.text();
        assert!(text.contains("needs attention  1") && !text.contains("next step:"), "{text}");
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

/// Sends a message and gives back the numbers of the questions about gates; answers nothing.
fn asked(deck: &mut Deck, msg: Msg) -> Vec<u64> {
    let effects = deck.app.update(deck.now, msg);
    effects.into_iter().filter_map(|effect| if let Effect::Ask(number, Ask::Gates { .. }) = effect { Some(number) } else { None }).collect()
}

/// Answers questions, and those that follow from the answers; how many followed.
fn settle(deck: &mut Deck, mut numbers: Vec<u64>) -> usize {
    let mut followed = 0;
    while let Some(number) = numbers.pop() {
        let answer = Answer::Gates(gates::all(&deck.fleet, &gates::road()));
        let more = asked(deck, Msg::Answer(number, answer));
        followed += more.len();
        numbers.extend(more);
    }
    followed
}

fn changed(deck: &mut Deck) -> Msg {
    let newer = deck.fleet.environments.iter().map(|e| EnvironmentView { generation: e.generation + 1, ..(**e).clone() }).collect();
    deck.fleet = fleet(newer);
    Msg::Fleet(deck.fleet.clone())
}

#[test]
fn gates_are_asked_for_when_somebody_looks_and_no_more_often_than_needed() {
    let mut deck = Deck::new(gates::rollout(), (120, 40));
    let key = |key: &str| Msg::Key(event(key));
    // Nothing while another screen is shown.
    for _ in 0..50 {
        deck.now += SignedDuration::from_secs(1);
        let msg = changed(&mut deck);
        assert!(asked(&mut deck, msg).is_empty() && asked(&mut deck, Msg::Clock).is_empty());
    }
    assert!(asked(&mut deck, key("tab")).is_empty(), "the lower pane comes first");
    let first = asked(&mut deck, key("tab"));
    assert_eq!(first.len(), 1);
    assert!(deck.text().contains("judging…"), "{}", deck.text());
    // One question at a time, then one in five seconds.
    deck.now += SignedDuration::from_secs(9);
    let msg = changed(&mut deck);
    assert!(asked(&mut deck, msg).is_empty() && asked(&mut deck, Msg::Clock).is_empty());
    assert_eq!(settle(&mut deck, first), 1, "what changed meanwhile is asked about at once");
    let mut times = 0;
    for _ in 0..200 {
        deck.now += SignedDuration::from_millis(100);
        let msg = changed(&mut deck);
        let numbers = [asked(&mut deck, msg), asked(&mut deck, Msg::Clock)].concat();
        times += numbers.len() + settle(&mut deck, numbers);
    }
    assert!((3..=5).contains(&times), "{times} questions in twenty seconds");
    // What is not answered before one goes is asked again when one comes back; an old answer is nobody's.
    deck.now += SignedDuration::from_secs(6);
    let msg = changed(&mut deck);
    let late = asked(&mut deck, msg);
    assert_eq!(late.len(), 1);
    assert!(asked(&mut deck, key("shift-tab")).is_empty());
    assert!(asked(&mut deck, key("shift-tab")).is_empty());
    deck.now += SignedDuration::from_millis(10);
    assert_eq!(asked(&mut deck, key("shift-tab")).len(), 1, "around the other way");
    // Time alone is judged anew four times a minute.
    let mut deck = rollout((120, 40));
    let mut times = 0;
    for _ in 0..180 {
        deck.now += SignedDuration::from_secs(1);
        let numbers = asked(&mut deck, Msg::Clock);
        times += numbers.len() + settle(&mut deck, numbers);
    }
    assert_eq!(times, 12);
}

#[test]
fn a_frozen_view_asks_nothing() {
    let mut deck = rollout((120, 40)).keys("P");
    deck.now += SignedDuration::from_secs(90);
    assert!(asked(&mut deck, Msg::Clock).is_empty());
    let msg = changed(&mut deck);
    assert!(asked(&mut deck, msg).is_empty());
    assert_eq!(asked(&mut deck, Msg::Key(event("P"))).len(), 1, "it goes on");
}

#[test]
fn the_mouse_selects_opens_and_sorts() {
    let mut deck = rollout((120, 40));
    let (x, y) = deck.find("require-labels");
    deck.click(x, y);
    assert_eq!(selected(&mut deck), "require-labels");
    let (x, y) = deck.find("soak   ");
    deck.click(x, y);
    deck.click(x, y);
    assert!(deck.text().contains("soak of require-labels"), "{}", deck.text());
    let mut deck = rollout((120, 40));
    let (x, y) = deck.find("POLICY");
    deck.click(x, y);
    assert!(deck.text().contains("POLICY ↓"), "{}", deck.text());
}

#[test]
fn what_is_copied_is_what_is_seen() {
    let deck = down_to(rollout((120, 40)), "disallow-latest-tag").keys("c");
    assert_eq!(deck.effects, [Effect::Copy("disallow-latest-tag".to_owned())]);
    let deck = down_to(rollout((120, 40)), "disallow-latest-tag").keys("enter c");
    let [Effect::Copy(text)] = deck.effects.as_slice() else { panic!("{:?}", deck.effects) };
    assert!(
        text.starts_with("disallow-latest-tag: closed to staging · enforce\n") && text.contains("violations; unmet; 3, limit 0"),
        "{text}"
    );
}

#[test]
fn forty_environments_and_long_names() {
    let base = gates::rollout();
    let many: Vec<_> = (0..40)
        .map(|i| {
            let mut view = base[i % 4].clone();
            view.name = if i % 4 == 3 { format!("prod-eu-{i}") } else { format!("{}-{i}", view.name) }.into();
            view
        })
        .collect();
    for (columns, rows) in [(80, 24), (200, 60)] {
        let deck = opened(Deck::new(many.clone(), (columns, rows)));
        snapshot!(format!("rollout_forty_{columns}x{rows}"), deck.keys("right right").text());
    }
    let long = vec![cell(&"x".repeat(253), Mode::Audit, Some(Severity::High), 7), cell("evil\u{1b}[2J\u{202e}name", Mode::Audit, None, 1)];
    let text = opened(Deck::new(vec![environment("dev", long), environment("qac", Vec::new())], (80, 24))).text();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && text.contains("xxx…"), "{text}");
}

/// The quickest of some keys over a board of so many policies.
fn quickest(policies: u64) -> std::time::Duration {
    let cells = |e: u64| (0..policies).map(|n| cell(&format!("policy-{n:04}"), Mode::Audit, None, (n % 7) * (e % 2))).collect();
    let environments: Vec<_> =
        ["dev", "qac", "staging", "production"].iter().zip(0..).map(|(name, e)| environment(name, cells(e))).collect();
    let fleet = fleet(environments.clone());
    let mut deck = Deck::new(environments, (200, 60));
    let judged = Answer::Gates(gates::all(&fleet, &gates::road()));
    for key in [":", "r", "o", "l", "l", "o", "u", "t"] {
        asked(&mut deck, Msg::Key(event(key)));
    }
    let number = asked(&mut deck, Msg::Key(event("enter")))[0];
    asked(&mut deck, Msg::Answer(number, judged));
    assert!(deck.text().contains(&format!("{} ready", if policies < 1_000 { "200" } else { "2 000" })), "{}", deck.text());
    deck.quickest()
}

#[test]
fn a_frame_costs_what_is_drawn_and_not_what_is_listed() {
    let (small, large) = (quickest(200), quickest(2_000));
    // Ten times the rows. A frame that formats all of them would cost ten times as much.
    assert!(large < small * 3, "{large:?} with 2,000 policies, {small:?} with 200");
}
