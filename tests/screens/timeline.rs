//! A policy over time: the rows, the cursor, what happened, and all policies on the board.
#![expect(clippy::panic, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{self, past};
use jiff::SignedDuration;
use policydeck::engine::HistoryReader;
use policydeck::fleet::view::EnvironmentView;
use policydeck::tui::{Ask, ColorDepth, Effect, Msg, TuiOptions};

const SIZES: [(u16, u16); 3] = super::ALL_SIZES;

/// The board, with the cursor on a policy.
fn on(policy: &str, options: TuiOptions, environments: Vec<EnvironmentView>, size: (u16, u16)) -> Deck {
    let mut deck = Deck::with(options, environments, size).keys(":").typed("rollout").keys("enter");
    for _ in 0..40 {
        let text = deck.text();
        let line = text.lines().find_map(|line| line.strip_prefix(['▌', '>'])).unwrap_or_default();
        let name = line.split_whitespace().next().unwrap_or_default();
        if name.len() > 3 && policy.starts_with(name.trim_end_matches(['…', '~'])) {
            return deck;
        }
        deck.press("down");
    }
    panic!("{policy} is not listed:\n{}", deck.text());
}

fn timeline(size: (u16, u16)) -> Deck {
    on("disallow-latest-tag", past::options(), past::environments(), size).keys("t")
}

fn with(history: Option<HistoryReader>, size: (u16, u16)) -> Deck {
    on("disallow-latest-tag", TuiOptions { history, ..TuiOptions::default() }, past::environments(), size).keys("t")
}

/// The label of the selected row.
fn selected(deck: &mut Deck) -> String {
    let text = deck.text();
    let row = text.lines().filter_map(|line| line.strip_prefix('▌')).find(|line| !line.starts_with(' '));
    row.unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned()
}

/// The line that says what is under the cursor.
fn under_cursor(deck: &mut Deck) -> String {
    let text = deck.text();
    let label = selected(deck);
    text.lines().find(|line| line.starts_with(&format!("── {label}"))).unwrap_or_default().to_owned()
}

#[test]
fn a_row_per_environment_at_every_size() {
    for (columns, rows) in SIZES {
        snapshot!(format!("timeline_{columns}x{rows}"), timeline((columns, rows)).text());
    }
    snapshot!("timeline_40x12", timeline((40, 12)).text());
    snapshot!("timeline_120x40_roles", timeline((120, 40)).roles());
    // Wide and low: the gate stands beside the rows.
    let mut deck = timeline((200, 24));
    deck.draw();
    deck.later(10);
    snapshot!("timeline_200x24", deck.text());
}

#[test]
fn a_lost_environment_is_grey_with_its_age() {
    let mut environments = past::environments();
    fixture::lose(&mut environments[2]);
    fixture::lose(&mut environments[3]);
    let mut deck = on("disallow-latest-tag", past::options(), environments, (120, 40)).keys("t");
    snapshot!("timeline_lost_120x40", deck.text());
    snapshot!("timeline_lost_120x40_roles", deck.roles());
}

#[test]
fn without_records_there_are_words() {
    snapshot!("timeline_no_history_80x24", with(None, (80, 24)).text());
    snapshot!("timeline_nothing_recorded_120x40", with(Some(past::empty()), (120, 40)).text());
    let text = with(Some(past::damaged()), (120, 40)).text();
    assert!(text.contains("The history cannot be read: ") && text.contains("It is tried again"), "{text}");
    for keys in ["left", "enter", "n", "+", "c", "tab", "esc", "pgup enter n N up down"] {
        let mut deck = with(None, (80, 24)).keys(keys);
        deck.draw();
    }
}

#[test]
fn what_only_prometheus_tells_is_said_to_be_so() {
    let mut deck = with(Some(past::filled()), (160, 40)).keys("1");
    let now = under_cursor(&mut deck);
    assert!(now.contains("2 refused, as Prometheus tells; nobody watched"), "{now}\n{}", deck.text());
    snapshot!("timeline_filled_160x40", deck.text());
    let before = under_cursor(&mut deck.keys("left left"));
    assert!(!before.contains("Prometheus"), "{before}");
}

#[test]
fn a_mark_in_full() {
    // Back from now: an exception, two changes of which one text is lost, a revision.
    let mut deck = timeline((120, 40)).keys("N enter");
    snapshot!("timeline_lost_text_120x40", deck.text());
    let mut deck = timeline((120, 40)).keys("N N N enter");
    let text = deck.text();
    assert!(text.contains("exception payments/legacy") && text.contains("what it said then"), "{text}");
    let mut deck = deck.keys("N");
    snapshot!("timeline_diff_120x40", deck.text());
    snapshot!("timeline_diff_120x40_roles", deck.roles());
    let text = deck.text();
    assert!(text.contains("-      message: Using a mutable image tag is not allowed."), "{text}");
    assert!(text.contains("+      message: Using a mutable image tag e.g. 'latest' is not allowed."), "{text}");
    let mut deck = timeline((80, 24)).keys("N N N N enter");
    snapshot!("timeline_diff_80x24", deck.text());
    snapshot!("timeline_diff_scrolled_80x24", deck.keys("end").text());
    // Closing it leaves the cursor where the mark is; the mark names the operation that made it.
    let mut deck = timeline((120, 40)).keys("up up N enter");
    let text = deck.text();
    assert!(text.contains("promote: dev audit → enforce, ticket CHG-1042: done"), "{text}");
    assert!(deck.keys("esc").text().contains("Nov 11 14:32"));
    let text = timeline((120, 40)).keys("up N enter").text();
    assert!(text.contains("only") || text.contains("it says the same"), "{text}");
}

#[test]
fn the_cursor_keeps_its_time_and_its_environment() {
    let mut deck = timeline((120, 40)).keys("left left left left left left left left");
    let (before, label) = (under_cursor(&mut deck), selected(&mut deck));
    assert!(!before.is_empty() && label == "staging", "{}", deck.text());
    // News come in, time goes on by less than a column.
    let mut environments = past::environments();
    for view in &mut environments {
        view.generation += 1;
    }
    deck.replace(environments);
    deck.later(600_000);
    assert_eq!((under_cursor(&mut deck), selected(&mut deck)), (before.clone(), label));
    // An environment more in front of it.
    let mut environments = past::environments();
    environments.insert(0, fixture::environment("sandbox", Vec::new()));
    deck.replace(environments);
    deck.later(6_000);
    assert_eq!(selected(&mut deck), "staging");
    // Another width: the time is the same, whatever column it is in.
    let time = |deck: &mut Deck| under_cursor(deck).split_whitespace().skip(2).take(3).map(str::to_owned).collect::<Vec<_>>();
    let there = time(&mut deck);
    deck.terminal.backend_mut().resize(121, 40);
    deck.draw();
    deck.later(10);
    assert_eq!(time(&mut deck)[..2], there[..2], "{}", deck.text());
}

#[test]
fn zooming_keeps_the_time_and_panning_comes_back_to_now() {
    let mut deck = timeline((120, 40));
    assert!(deck.text().contains("14 days, Nov  9") && deck.text().contains("– now"), "{}", deck.text());
    let mut deck = deck.keys("pgup");
    let text = deck.text();
    assert!(text.contains("14 days, Oct 26") && !text.contains("– now "), "{text}");
    let mut deck = deck.keys("pgdn");
    assert!(deck.text().contains("– now"), "{}", deck.text());
    // The cursor on the change of two days ago stays on it through all zooms.
    let mut deck = timeline((120, 40)).keys("N N N N");
    for key in ["+", "+", "+", "+", "+", "-", "-", "-", "-", "-", "-", "-"] {
        deck.press(key);
        let text = deck.text();
        assert!(text.contains("says something else"), "after {key}\n{text}");
        assert!(text.contains("▾Nov 21 14:32") || text.contains("Nov 21 14:32▾"), "after {key}\n{text}");
    }
    assert!(deck.keys("G").text().contains("now▾"));
    let text = timeline((120, 40)).keys("+ + + + +").text();
    assert!(text.contains("1 hour, "), "{text}");
    let text = timeline((120, 40)).keys("+ + + + + +").text();
    assert!(text.contains("closer than an hour there is nothing to see"), "{text}");
    let text = timeline((120, 40)).keys("- - -").text();
    assert!(text.contains("90 days, ") && text.contains("90 days are the longest time in sight"), "{text}");
    snapshot!("timeline_90_days_120x40", timeline((120, 40)).keys("- -").text());
    snapshot!("timeline_1_day_120x40", timeline((120, 40)).keys("+ + + left left").text());
}

#[test]
fn of_many_marks_in_one_column_each_can_be_reached() {
    let mut deck = on("require-labels", past::options(), past::environments(), (120, 40)).keys("t 1");
    snapshot!("timeline_many_marks_120x40", deck.text());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        deck.press("N");
        let text = deck.text();
        seen.insert(text.lines().filter(|line| line.starts_with("▌ ")).collect::<String>());
    }
    assert!(seen.len() >= 12, "{seen:#?}");
    assert!(deck.text().contains("nothing earlier is on record in sight"));
}

#[test]
fn plain_terminals() {
    let ascii = TuiOptions { ascii: true, ..past::options() };
    let open = || on("disallow-latest-tag", ascii.clone(), past::environments(), (120, 40));
    let mut deck = open().keys("t left left");
    snapshot!("timeline_ascii_120x40", deck.text());
    for keys in ["t", "t N enter", "t N N N N enter", "t up up enter", "w", "t N N N", "t pgup", "t ?"] {
        let text = open().keys(keys).text();
        assert!(text.is_ascii(), "{keys}: {:?}", text.chars().filter(|c| !c.is_ascii()).collect::<String>());
    }
    let plain = TuiOptions { depth: ColorDepth::None, ..past::options() };
    for keys in ["t left left", "t N N N N N enter", "w"] {
        let buffer = on("disallow-latest-tag", plain.clone(), past::environments(), (120, 40)).keys(keys).draw();
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (ratatui::style::Color::Reset, ratatui::style::Color::Reset), "NO_COLOR means none");
        }
    }
}

#[test]
fn all_policies_on_the_board() {
    for (columns, rows) in SIZES {
        let deck = on("disallow-latest-tag", past::options(), past::environments(), (columns, rows));
        snapshot!(format!("rollout_over_time_{columns}x{rows}"), deck.keys("w").text());
    }
    // What is known beside it stays where it is.
    let mut deck = on("disallow-latest-tag", past::options(), past::environments(), (120, 40));
    let before = deck.find("NEXT STEP");
    let mut deck = deck.keys("w");
    assert_eq!(deck.find("NEXT STEP"), before);
    assert!(deck.text().contains("over 14 days"));
    assert!(deck.keys("+ +").text().contains("over 3 days"));
    let text = on("disallow-latest-tag", TuiOptions::default(), past::environments(), (120, 40)).keys("w").text();
    assert!(text.contains("no history is recorded: there is no folder to keep it in"), "{text}");
    let text = on("disallow-latest-tag", past::options(), past::environments(), (120, 40)).keys("+").text();
    assert!(text.contains("nothing is shown over time here"), "{text}");
}

#[test]
fn the_gate_is_below_and_esc_leads_back_to_the_board() {
    let mut deck = timeline((120, 40)).keys("tab");
    let text = deck.text();
    assert!(text.contains("› timeline") && text.contains("▌ ✗ violations"), "{text}");
    let mut deck = deck.keys("enter");
    assert!(deck.text().contains("3 failing owners"), "{}", deck.text());
    let mut deck = deck.keys("esc");
    assert!(deck.text().contains("› timeline") && deck.text().contains("▌ ✗ violations"), "{}", deck.text());
    let mut deck = deck.keys("esc");
    assert!(deck.text().contains("› timeline"), "{}", deck.text());
    let mut deck = deck.keys("esc");
    assert!(deck.text().contains("POLICY") && !deck.text().contains("› timeline"), "{}", deck.text());
    // Where there is no room for both, the keys say which.
    let mut deck = timeline((40, 12)).keys("tab");
    assert!(deck.text().contains("violations") && !deck.text().contains("▾"), "{}", deck.text());
    let text = timeline((120, 40)).keys("/").text();
    assert!(text.contains("that is for the board"), "{text}");
}

#[test]
fn the_mouse_sets_the_cursor_and_opens() {
    let mut deck = timeline((120, 40));
    let (x, y) = deck.find("◆");
    deck.click(x, y);
    assert!(under_cursor(&mut deck).contains("Nov 22"), "{}", deck.text());
    deck.click(x, y);
    assert!(deck.text().contains("exception payments/legacy") && deck.text().contains("known"), "{}", deck.text());
    let mut deck = timeline((120, 40));
    let (x, y) = deck.find("dev        ");
    deck.click(x, y);
    assert_eq!(selected(&mut deck), "dev");
}

#[test]
fn what_is_copied_is_what_happened() {
    let deck = timeline((120, 40)).keys("c");
    let [Effect::Copy(text)] = deck.effects.as_slice() else { panic!("{:?}", deck.effects) };
    assert!(text.starts_with("disallow-latest-tag in staging\n") && text.contains("2025-11-21T14:32:07Z  revision"), "{text}");
    let deck = timeline((120, 40)).keys("N N N N enter c");
    let [Effect::Copy(text)] = deck.effects.as_slice() else { panic!("{:?}", deck.effects) };
    assert!(text.contains("2025-11-21T14:32:07Z; by kubectl-edit") && text.contains("\n@@"), "{text}");
}

/// Sends a message and gives back how often the history was asked; answers nothing.
fn asked(deck: &mut Deck, msg: Msg) -> Vec<u64> {
    let effects = deck.app.update(deck.now, msg);
    let number = |effect| match effect {
        Effect::Ask(number, Ask::Timeline { .. } | Ask::Overview { .. }) => Some(number),
        _ => None,
    };
    effects.into_iter().filter_map(number).collect()
}

#[test]
fn records_are_read_calmly_and_never_twice_at_a_time() {
    let mut deck = timeline((120, 40));
    let mut times = 0;
    for n in 0..200 {
        deck.now += SignedDuration::from_millis(100);
        let newer = deck.fleet.environments.iter().map(|e| EnvironmentView { generation: n, ..(**e).clone() }).collect();
        deck.fleet = fixture::fleet(newer);
        let msg = Msg::Fleet(deck.fleet.clone());
        let numbers = [asked(&mut deck, msg), asked(&mut deck, Msg::Clock)].concat();
        times += numbers.len();
        for number in numbers {
            let ask = Ask::Timeline { history: past::reader(), policy: fixture::key("disallow-latest-tag"), window: window(), width: 83 };
            let answer = past::answer(&ask).unwrap_or_else(|| panic!("the past answers"));
            times += asked(&mut deck, Msg::Answer(number, answer)).len();
        }
    }
    assert!((3..=5).contains(&times), "{times} questions in twenty seconds");
    // A key that is held down asks once, until that is answered.
    let held: usize = (0..40).map(|_| asked(&mut deck, Msg::Key(event("pgup"))).len()).sum();
    assert_eq!(held, 1);
}

fn window() -> policydeck::domain::history::Interval {
    policydeck::domain::history::Interval { from: fixture::ago(14 * 86_400), to: fixture::now() }
}

#[test]
fn a_frozen_view_stands_still_and_can_be_looked_through() {
    let mut deck = timeline((120, 40)).keys("P");
    let before = deck.text();
    deck.now += SignedDuration::from_secs(90);
    assert!(asked(&mut deck, Msg::Clock).is_empty());
    let bars = |text: &str| text.lines().filter(|line| line.starts_with("▌staging")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(bars(&before)[..1], bars(&deck.text())[..1]);
    assert_eq!(asked(&mut deck, Msg::Key(event("pgup"))).len(), 1, "another time is read all the same");
}

#[test]
fn forty_environments_scroll_and_names_from_clusters_are_harmless() {
    let base = past::environments();
    let many: Vec<_> = (0..40)
        .map(|i| {
            let mut view = base[i % 4].clone();
            view.name = if i % 4 == 3 { format!("prod-eu-{i}") } else { format!("{}-{i}", view.name) }.into();
            view
        })
        .collect();
    for size in [(80, 24), (200, 60)] {
        let mut deck = on("disallow-latest-tag", past::options(), many.clone(), size).keys("t");
        for _ in 0..45 {
            deck.press("down");
            assert!(!selected(&mut deck).is_empty(), "{}", deck.text());
        }
        let text = deck.text();
        assert!(text.contains("▌PROD"), "{text}");
    }
    let mut evil = base;
    evil[0].name = "e\u{1b}[2Jvil".into();
    let text = on("disallow-latest-tag", past::options(), evil, (80, 24)).keys("t").text();
    assert!(!text.contains('\u{1b}'), "{text}");
}
