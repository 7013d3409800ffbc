//! The screens as text and as role maps, from a fleet made by hand.
//!
//! Text snapshots show what stands where; role maps show one letter per style role (upper case on the selected row, `#` under the
//! cursor), so that colours are reviewed too.

/// Compares a text with the one that is kept under this name.
macro_rules! snapshot {
    ($name:expr, $text:expr) => {
        crate::settings(file!()).bind(|| insta::assert_snapshot!($name, $text));
    };
}

#[path = "screens/carrying.rs"]
mod carrying;
#[path = "screens/deck.rs"]
mod deck;
#[path = "screens/fixture.rs"]
mod fixture;
#[path = "screens/header.rs"]
mod header;
#[path = "screens/journal.rs"]
mod journal;
#[path = "screens/operations.rs"]
mod operations;
#[path = "screens/palette.rs"]
mod palette;
#[path = "screens/pinning.rs"]
mod pinning;
#[path = "screens/preview.rs"]
mod preview;
#[path = "screens/rollout.rs"]
mod rollout;
#[path = "screens/timeline.rs"]
mod timeline;

use deck::Deck;
use fixture::{answer, cell, environment, fleet};
use jiff::SignedDuration;
use policydeck::domain::{Mode, Revision, Severity};
use policydeck::fleet::view::{EnvironmentView, PolicyCell};
use policydeck::tui::{ColorDepth, Effect, Keymap, Msg, Role, Saver, TuiOptions};

const ALL_SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// All snapshots lie in one folder, whichever file asks for them.
fn settings(file: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(if file.ends_with("tests/screens.rs") { "snapshots" } else { "../snapshots" });
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn blocked_requests_that_would_not_show_are_unknown() {
    let view = |mode, blocked| {
        let view = environment("dev", vec![PolicyCell { blocked, ..cell("p", mode, None, 3) }]);
        vec![EnvironmentView { blocked: blocked.filter(|_| mode == Mode::Enforce), ..view }]
    };
    let marks = |view| Deck::new(view, (120, 40)).text().matches("⊘?").count();
    assert_eq!(marks(view(Mode::Enforce, None)), 2, "the policy, and all of them");
    assert_eq!(marks(view(Mode::Enforce, Some(0))), 0);
    assert_eq!(marks(view(Mode::Audit, None)), 0, "audit blocks nothing");
}

#[test]
fn the_matrix_at_every_size() {
    for (columns, rows) in ALL_SIZES {
        let mut deck = Deck::new(fixture::one_lost(), (columns, rows));
        snapshot!(format!("one_lost_{columns}x{rows}"), deck.text());
    }
    let mut deck = Deck::new(fixture::one_lost(), (120, 40));
    snapshot!("one_lost_120x40_roles", deck.roles());
    snapshot!("one_lost_40x12", Deck::new(fixture::one_lost(), (40, 12)).text());
}

#[test]
fn live_and_calm() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40));
    snapshot!("live_120x40", deck.text());
    snapshot!("all_policies_120x40", deck.keys("o").text());
    let mut deck = Deck::new(fixture::nothing_wrong(), (120, 40));
    snapshot!("nothing_wrong_120x40", deck.text());
    snapshot!("nothing_wrong_120x40_roles", deck.roles());
}

#[test]
fn starting_and_troubled() {
    for (columns, rows) in ALL_SIZES {
        snapshot!(format!("starting_{columns}x{rows}"), Deck::new(fixture::starting(), (columns, rows)).text());
    }
    snapshot!("listing_120x40", Deck::new(fixture::listing(), (120, 40)).text());
    snapshot!("troubled_120x40", Deck::new(fixture::troubled(), (120, 40)).text());
    snapshot!("troubled_messages_120x40", Deck::new(fixture::troubled(), (120, 40)).keys("m").text());
    snapshot!("no_environment_80x24", Deck::new(Vec::new(), (80, 24)).text());
    snapshot!("no_policies_80x24", Deck::new(vec![environment("dev", Vec::new())], (80, 24)).text());
}

#[test]
fn values_of_a_secret_are_shown_by_a_key_of_their_own_and_never_copied_or_saved() {
    let options = TuiOptions { save: Some(Saver::new(|_| Ok(String::new()))), ..TuiOptions::default() };
    let mut deck = Deck::with(options, fixture::one_lost(), (120, 40)).keys("right right down down down down enter end y");
    let secrets = ["hunter2", "aHVudGVyMg"];
    let holds = |text: &str| secrets.iter().any(|secret| text.contains(secret));
    let hidden = deck.text();
    assert!(
        !holds(&hidden) && hidden.contains("password: \"7 bytes\"") && hidden.contains("last-applied-configuration: \"37 bytes\""),
        "{hidden}"
    );
    deck.press("x");
    let shown = deck.text();
    assert!(shown.contains("password: hunter2") && shown.contains("x hides them"), "{shown}");
    deck.press("ctrl-s");
    assert!(deck.text().contains("not saved: the values of a Secret are on the screen"));
    deck.press("c");
    let copied = deck.effects.iter().map(|effect| if let Effect::Copy(text) = effect { text.clone() } else { panic!("{effect:?}") });
    let copied: Vec<String> = copied.collect();
    assert!(copied.len() == 1 && !holds(&copied[0]) && copied[0].contains("7 bytes"), "{copied:?}");
    // Hidden again by the key, and by leaving.
    deck.press("x");
    assert!(!holds(&deck.text()));
    deck.press("x");
    deck.press("esc");
    deck.press("y");
    assert!(!holds(&deck.text()));
    deck.press("ctrl-s");
    assert!(matches!(deck.effects.last(), Some(Effect::Save(text)) if !holds(text)), "{:?}", deck.effects.last());
}

#[test]
fn drilling_down_to_the_object() {
    let to_latest_tag = "right right down down down down";
    let mut deck = Deck::new(fixture::one_lost(), (120, 40)).keys(to_latest_tag).keys("enter");
    snapshot!("rows_120x40", deck.text());
    snapshot!("rows_120x40_roles", deck.roles());
    let mut deck = deck.keys("enter");
    snapshot!("finding_120x40", deck.text());
    snapshot!("finding_120x40_roles", deck.roles());
    let mut deck = deck.keys("y");
    snapshot!("object_120x40", deck.text());
    let mut deck = deck.keys("esc esc down y");
    snapshot!("object_gone_120x40", deck.text());
    snapshot!("overview_120x40", Deck::new(fixture::one_lost(), (120, 40)).keys(to_latest_tag).keys("0 enter").text());
    let mut deck = Deck::new(fixture::one_lost(), (80, 24)).keys(to_latest_tag).keys("enter");
    snapshot!("rows_80x24", deck.text());
    snapshot!("finding_80x24", deck.keys("enter").text());
}

#[test]
fn the_number_is_the_number_of_rows() {
    for (place, number) in [(0, 412_usize), (1, 19), (2, 6)] {
        let deck = Deck::new(fixture::sketch(), (120, 60)).keys(&"down ".repeat(place)).keys("u u enter");
        let mut deck = deck;
        // Unfold whatever is folded, and count findings by their marks over the whole list.
        let head = deck.text();
        let total: usize = head
            .lines()
            .find(|l| l.contains("failing owner"))
            .unwrap()
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|w| w.parse::<usize>().ok())
            .take(1)
            .sum();
        let errors = if place == 1 { 2 } else { 0 };
        assert_eq!(total + errors, number, "{head}");
    }
    let mut deck = Deck::new(fixture::one_lost(), (120, 40)).keys("right right down down down down enter");
    let text = deck.text();
    assert!(text.contains("3 failing owners in 2 namespaces"));
    assert_eq!(text.matches('✖').count(), 3, "{text}");
}

#[test]
fn refused_admissions_are_behind_their_number() {
    // In dev nothing fails: what was refused is what one came for. In staging it lies folded under the failures.
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("down down down down enter");
    let text = deck.text();
    snapshot!("refused_120x40", text);
    assert!(text.contains("⊘37") && text.contains("⊘ refused  37"), "{text}");
    let mut deck = deck.keys("enter");
    snapshot!("refused_open_120x40", deck.text());
    let text = deck.keys("y").text();
    assert!(text.contains("what was refused never existed"), "{text}");
    let mut both = fixture::sketch();
    let cells = both[2].cells.iter().cloned().map(|c| PolicyCell { blocked: Some(c.owners.fail), ..c }).collect();
    both[2] = environment("staging", cells);
    let mut deck = Deck::new(both, (80, 24)).keys("right right down down down down enter");
    assert!(deck.text().contains("▸ ⊘ refused  3"), "{}", deck.text());
    let mut deck = deck.keys("end enter");
    let text = deck.text();
    // Three attempts, told by one event.
    assert!(text.contains("▾ ⊘ refused  3") && text.contains("×3"), "{text}");
    let text = deck.keys("/").typed("nightly").keys("enter").text();
    assert!(text.contains("0 shown by the filter"), "{text}");
}

#[test]
fn a_filter_that_hides_every_row_says_so_and_the_way_back() {
    for size in [(80, 24), (120, 40), (40, 12)] {
        let mut deck =
            Deck::new(fixture::sketch(), size).keys("right right down down down down enter /").typed("nosuchthing").keys("enter");
        let text = deck.text();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("None of 3 rows passes the filter: nosuchthing") && flat.contains("esc clears it, / changes it."), "{text}");
        if size == (80, 24) {
            let line = text.lines().position(|line| line.contains("None of 3 rows")).unwrap();
            assert!((8..16).contains(&line), "in the middle: {text}");
        }
        assert_eq!(deck.keys("esc").text().matches('✖').count(), 3);
    }
    // The filter of the matrix leaves the policy, but no row of it.
    let mut deck = Deck::new(fixture::sketch(), (80, 24)).keys("/").typed("ns=nosuchplace latest").keys("enter right right enter");
    let text = deck.text();
    assert!(text.contains("the filter of the matrix: ns=nosuchplace latest") && text.contains("esc goes back to it."), "{text}");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("right right down down down down");
    let head = |deck: &mut Deck| deck.text().lines().next().unwrap_or_default().to_owned();
    deck.press("c");
    let before = head(&mut deck);
    deck.now -= SignedDuration::from_hours(3);
    assert!(deck.app.wake() > deck.now, "a tick is under way");
    deck.send(Msg::Clock);
    assert!(deck.app.take_dirty() && head(&mut deck) != before, "the clock goes on at once: {}", head(&mut deck));
    deck.later(4_100);
    assert!(!deck.text().contains("copied"), "what was said goes: {}", deck.text());
    // Rows are asked for again, although the last question lies in the future.
    let asked = |deck: &mut Deck| {
        let view = deck.fleet.clone();
        let newer = view.environments.iter().map(|e| EnvironmentView { content: e.content + 1, ..(**e).clone() }).collect();
        deck.fleet = fleet(newer);
        let now = deck.now;
        deck.app.update(now, Msg::Fleet(deck.fleet.clone())).iter().filter(|effect| matches!(effect, Effect::Ask(..))).count()
    };
    deck.later(1_000);
    deck.now -= SignedDuration::from_hours(3);
    assert_eq!(asked(&mut deck), 1);
}

#[test]
fn trouble_beside_the_screen_is_told_once_and_kept() {
    let (sender, trouble) = tokio::sync::watch::channel(None);
    let options = TuiOptions { trouble: Some(trouble), ..TuiOptions::default() };
    let mut deck = Deck::with(options, fixture::sketch(), (80, 24));
    deck.later(1_000);
    assert!(!deck.text().contains("the log"));
    sender.send_replace(Some("the log cannot be written: No space left on device".into()));
    deck.later(1_000);
    assert!(deck.text().contains("the log cannot be written: No space left on device"), "{}", deck.text());
    deck.later(5_000);
    assert!(!deck.text().contains("the log cannot be written"), "{}", deck.text());
    let mut deck = deck.keys("m");
    assert_eq!(deck.text().matches("the log cannot be written").count(), 1, "{}", deck.text());
}

#[test]
fn what_is_wrong_with_the_records_is_told_as_long_as_it_is() {
    let (sender, records) = tokio::sync::watch::channel(Some("cannot open the history: it is damaged".into()));
    let options = TuiOptions { records: Some(records), ..TuiOptions::default() };
    let mut deck = Deck::with(options, fixture::sketch(), (80, 24));
    for _ in 0..3 {
        deck.later(5_000);
        assert!(deck.text().contains(" cannot open the history: it is damaged"), "{}", deck.text());
    }
    sender.send_replace(None);
    deck.later(1_000);
    assert!(!deck.text().contains("cannot open the history"), "{}", deck.text());
}

#[test]
fn what_differs_from_the_environment_before_is_marked() {
    // `two` is the same in dev and staging with qac between them lacking it; `three` changed on the way.
    let with =
        |name: &str, revision: &str| PolicyCell { revision: Some(Revision(revision.to_owned())), ..cell(name, Mode::Audit, None, 1) };
    let fleet = vec![
        environment("dev", vec![with("one", "a"), with("two", "a"), with("three", "a")]),
        environment("qac", vec![with("one", "b")]),
        environment("staging", vec![with("one", "b"), with("two", "a"), with("three", "c")]),
        environment("production", vec![with("one", "a"), PolicyCell { revision: None, ..cell("two", Mode::Audit, None, 1) }]),
    ];
    let mut deck = Deck::new(fleet, (120, 24));
    snapshot!("differs_120x24", deck.text());
    let text = deck.keys("? end").text();
    assert!(text.contains("≠ the policy has another spec here"), "{text}");
}

#[test]
fn losing_an_environment_moves_nothing() {
    for size in ALL_SIZES {
        let mut deck = Deck::new(fixture::sketch(), size);
        let before = deck.text();
        deck.replace(fixture::one_lost());
        let after = deck.text();
        let blank = |text: &str| text.replace(['~', ' '], " ");
        // Below the column heads only `~` comes, in places that were blank.
        for (a, b) in before.lines().zip(after.lines()).skip(3).take(6) {
            let (a, b): (Vec<char>, Vec<char>) = (blank(a).chars().collect(), blank(b).chars().collect());
            assert_eq!(a, b, "{size:?}\n{before}\n{after}");
        }
        let lines: Vec<&str> = after.lines().collect();
        assert!(lines[0].contains("lost 4m"), "{after}");
        assert!(size.0 < 120 || lines[2].contains("PRODUCTION  4m old"), "{after}");
    }
}

#[test]
fn keys_that_a_person_has_set_are_shown_everywhere() {
    let set = [("sort", "f5"), ("help", "f1"), ("all", "ctrl-o"), ("pause", "F"), ("reconnect", "alt-r")];
    let keys = Keymap::new(&set.iter().map(|(action, key)| ((*action).to_owned(), (*key).to_owned())).collect()).unwrap();
    let options = TuiOptions { keys, ..TuiOptions::default() };
    let mut deck = Deck::with(options.clone(), fixture::sketch(), (120, 40));
    let text = deck.text();
    assert!(text.contains("f5 sort") && text.contains("f1 help") && text.contains("(ctrl-o shows them)"), "{text}");
    let text = deck.keys("f5").text();
    assert!(text.contains("POLICY ↓ name"), "{text}");
    let text = Deck::with(options.clone(), fixture::sketch(), (120, 40)).keys("f1").text();
    assert!(text.lines().any(|l| l.contains("f5 ") && l.contains("sort") && l.contains("Sort by the next column.")), "{text}");
    let text = Deck::with(options.clone(), fixture::sketch(), (120, 40)).keys(":").typed("sort").text();
    assert!(text.lines().any(|l| l.contains("sort") && l.contains("f5")), "{text}");
    let text = Deck::with(options.clone(), fixture::sketch(), (120, 40)).keys("F").text();
    assert!(text.contains("(F goes on)"), "{text}");
    let text = Deck::with(options, fixture::troubled(), (120, 40)).keys("m").text();
    assert!(text.contains("then alt-r"), "{text}");
}

#[test]
fn what_is_on_the_screen_is_saved_as_it_stands() {
    let options = TuiOptions { save: Some(Saver::new(|_| Ok(String::new()))), ..TuiOptions::default() };
    let mut deck = Deck::with(options, fixture::one_lost(), (120, 40));
    let text = deck.text();
    deck.press("ctrl-s");
    assert_eq!(deck.effects, [Effect::Save(text)]);
    deck.send(Msg::Saved(Ok("/tmp/policydeck.txt".to_owned())));
    assert!(deck.text().contains("saved as /tmp/policydeck.txt"));
    deck.send(Msg::Saved(Err("cannot write: no space left on device".to_owned())));
    assert!(deck.text().contains("not saved: cannot write: no space left on device"));
    let text = Deck::new(fixture::sketch(), (120, 40)).keys("ctrl-s").text();
    assert!(text.contains("cannot save: no home folder"), "{text}");
}

#[test]
fn windows_over_the_screen() {
    for (columns, rows) in [(80, 24), (120, 40)] {
        snapshot!(format!("help_{columns}x{rows}"), Deck::new(fixture::sketch(), (columns, rows)).keys("?").text());
    }
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys(":").typed("re");
    snapshot!("palette_120x40", deck.text());
    snapshot!("palette_120x40_roles", deck.roles());
    snapshot!(
        "filter_production_120x40",
        Deck::new(fixture::sketch(), (120, 40)).keys("/").typed("env=production sev>=high").keys("enter").text()
    );
    // Which of a cell's failures are in a namespace only its rows tell.
    snapshot!("filter_namespace_120x40", Deck::new(fixture::sketch(), (120, 40)).keys("/").typed("ns=search").keys("enter").text());
    for (filter, expected) in
        [("result=fail", false), ("result=fail,error", false), ("env=dev", false), ("message~no", true), ("owner=x", true)]
    {
        let text = Deck::new(fixture::sketch(), (120, 40)).keys("/").typed(filter).keys("enter").text();
        let total = text.lines().find(|line| line.contains(" policies  ")).unwrap_or_default();
        assert_eq!(total.contains('?'), expected, "{filter}: {text}");
    }
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("/").typed("sev>=enormous");
    assert!(deck.text().lines().rev().nth(1).unwrap().contains("enormous"), "{}", deck.text());
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("/").typed("ns=search latest").keys("enter right right enter");
    assert!(deck.text().contains("3 failing owners in 2 namespaces, 1 shown by the filter"), "{}", deck.text());
    snapshot!("filter_typed_120x40", Deck::new(fixture::sketch(), (120, 40)).keys("/").typed("disallow").text());
}

#[test]
fn paused_the_view_stays_and_counts_what_waits() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("P");
    let before = deck.text();
    for _ in 0..17 {
        deck.replace(fixture::one_lost());
    }
    let text = deck.text();
    assert!(text.contains("17 updates wait"), "{text}");
    assert_eq!(before.lines().skip(2).take(8).collect::<Vec<_>>(), text.lines().skip(2).take(8).collect::<Vec<_>>());
    snapshot!("paused_120x40", text);
    assert!(deck.keys("P").text().contains("lost 4m"));
}

#[test]
fn plain_terminals() {
    let ascii = TuiOptions { ascii: true, ..TuiOptions::default() };
    let mut deck = Deck::with(ascii.clone(), fixture::one_lost(), (120, 40)).keys("right right down down down down enter");
    let text = deck.text();
    assert!(text.is_ascii(), "{:?}", text.chars().filter(|c| !c.is_ascii()).collect::<String>());
    snapshot!("ascii_120x40", text);
    for keys in ["?", "m", ":", "enter enter y", "0", "/ x", "P", "o"] {
        let text = Deck::with(ascii.clone(), fixture::troubled(), (120, 40)).keys(keys).text();
        assert!(text.is_ascii(), "{keys}: {:?}", text.chars().filter(|c| !c.is_ascii()).collect::<String>());
    }
    let plain = TuiOptions { depth: ColorDepth::None, ..TuiOptions::default() };
    let buffer = Deck::with(plain, fixture::one_lost(), (120, 40)).draw();
    for cell in buffer.content() {
        assert_eq!((cell.fg, cell.bg), (ratatui::style::Color::Reset, ratatui::style::Color::Reset), "NO_COLOR means none");
    }
}

#[test]
fn production_has_its_own_style_wherever_it_is_named() {
    for keys in ["", "4 enter", "m", "0 enter"] {
        let mut deck = Deck::new(fixture::one_lost(), (120, 40)).keys(keys);
        let style = deck.theme.style(Role::Production);
        let buffer = deck.draw();
        for y in 0..buffer.area.height {
            let line: Vec<_> = (0..buffer.area.width).map(|x| &buffer[(x, y)]).collect();
            for at in 0..line.len().saturating_sub(10) {
                let word: String = line[at..at + 10].iter().map(|c| c.symbol()).collect();
                if word == "PRODUCTION" {
                    assert!(line[at..at + 10].iter().all(|c| Some(c.bg) == style.bg), "line {y} after {keys:?}");
                }
            }
        }
    }
}

#[test]
fn the_selection_stays_with_its_policy_when_rows_move() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("right down down");
    let selected =
        |deck: &mut Deck| deck.text().lines().find(|l| l.starts_with('▌')).unwrap().split_whitespace().next().unwrap().to_owned();
    let before = selected(&mut deck);
    let mut moved = fixture::sketch();
    let mut cells: Vec<_> = moved[0].cells.to_vec();
    for cell in &mut cells {
        cell.owners.fail = 500 - cell.owners.fail;
    }
    moved[0] = EnvironmentView { generation: 2, content: 2, ..environment("dev", cells) };
    deck.replace(moved);
    assert_eq!(selected(&mut deck), before);
    // Not even when nothing fails there any more.
    deck.replace(fixture::nothing_wrong());
    deck.replace(fixture::sketch());
    let mut calm = fixture::sketch();
    for view in &mut calm {
        let cells = view.cells.iter().map(|c| cell(&c.key.id.report_name(), c.mode, c.severity, 0)).collect();
        *view = environment(&view.name, cells);
    }
    deck.replace(calm);
    assert!(deck.text().lines().any(|l| l.starts_with('▌')));
}

#[test]
fn the_mouse_selects_sorts_and_opens() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40));
    let (x, y) = deck.find("team-a/require-owner");
    deck.click(x, y);
    assert!(deck.text().contains("▌team-a/require-owner"));
    let (x, y) = deck.find("SEV");
    deck.click(x, y);
    assert!(deck.text().contains("SEV↓"));
    let (_, y) = deck.find("disallow-latest-tag");
    let (x, _) = deck.find("118");
    deck.click(x, y);
    deck.click(x, y);
    deck.later(300);
    assert!(deck.text().contains("disallow-latest-tag › qac"), "{}", deck.text());
}

#[test]
fn names_of_any_length_and_script() {
    let long = "x".repeat(253);
    let view = environment(
        "dev",
        vec![
            cell(&long, Mode::Audit, Some(Severity::High), 7),
            cell("禁止-最新-标签-策略-测试-很长的名字-禁止-最新-标签", Mode::Enforce, None, 3),
            cell("evil\u{1b}[2J\u{202e}name", Mode::Audit, None, 1),
        ],
    );
    for (columns, rows) in [(80, 24), (120, 40)] {
        let mut deck = Deck::new(vec![view.clone()], (columns, rows));
        let text = deck.text();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
        snapshot!(format!("names_{columns}x{rows}"), text);
    }
}

#[test]
fn forty_environments() {
    let base = fixture::sketch();
    let many: Vec<_> = (0..40)
        .map(|i| {
            let mut view = base[i % 4].clone();
            view.name = if i % 4 == 3 { format!("prod-eu-{i}") } else { format!("{}-{i}", view.name) }.into();
            if i % 13 == 3 {
                fixture::lose(&mut view);
            }
            view
        })
        .collect();
    for (columns, rows) in [(80, 24), (200, 60)] {
        let mut deck = Deck::new(many.clone(), (columns, rows));
        snapshot!(format!("forty_{columns}x{rows}"), deck.text());
        let mut deck = deck.keys(&"right ".repeat(20));
        assert!(deck.text().contains('‹'), "{}", deck.text());
    }
}

#[test]
fn only_its_own_key_and_its_command_end_the_program() {
    // However often q is pressed.
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("enter q q q q");
    assert_eq!(deck.effects, []);
    assert!(deck.text().contains(":q or ctrl-c ends policydeck"), "{}", deck.text());
    let deck = Deck::new(fixture::sketch(), (120, 40)).keys(":").typed("q").keys("enter");
    assert_eq!(deck.effects, [Effect::Quit]);
    assert_eq!(Deck::new(fixture::sketch(), (120, 40)).keys("/ ctrl-c").effects, [Effect::Quit]);
    assert_eq!(Deck::new(fixture::sketch(), (120, 40)).keys("ctrl-z").effects, [Effect::Suspend]);
    assert_eq!(Deck::new(fixture::one_lost(), (120, 40)).keys("0 ctrl-r").effects, [Effect::Reconnect("production".into())]);
    assert_eq!(Deck::new(fixture::one_lost(), (120, 40)).keys("2 ctrl-r").effects, [Effect::Reconnect("qac".into())]);
    assert_eq!(Deck::new(fixture::sketch(), (120, 40)).keys("c").effects, [Effect::Copy("require-pod-requests-limits".to_owned())]);
}

#[test]
fn the_key_table() {
    snapshot!("keys", policydeck::tui::keys_markdown());
}

#[test]
fn a_key_that_cannot_work_says_why() {
    let text = Deck::new(fixture::starting(), (120, 40)).keys("y").text();
    assert!(text.contains("select a finding first"), "{text}");
}

#[test]
fn rows_are_asked_for_again_at_most_ten_times_a_second() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40));
    let mut asked = 0;
    for generation in 2..202 {
        let mut environments = fixture::sketch();
        environments[0].generation = generation;
        environments[0].content = generation;
        deck.fleet = fleet(environments);
        deck.now += SignedDuration::from_millis(5);
        let mut messages = vec![Msg::Clock, Msg::Fleet(deck.fleet.clone())];
        while let Some(msg) = messages.pop() {
            for effect in deck.app.update(deck.now, msg) {
                if let Effect::Ask(number, ask) = effect {
                    asked += 1;
                    messages.push(Msg::Answer(number, answer(&deck.fleet, &ask)));
                }
            }
        }
    }
    assert!((8..=11).contains(&asked), "{asked} questions in one second");
}

#[test]
fn an_answer_to_an_old_question_changes_nothing() {
    let mut deck = Deck::new(fixture::sketch(), (120, 40)).keys("down");
    let before = deck.text();
    let rows = fixture::rows(&fixture::key("other"), 5, 0);
    deck.send(Msg::Answer(1, policydeck::tui::Answer::Findings(Ok(rows))));
    assert_eq!(deck.text(), before);
}

#[test]
fn a_frame_costs_what_is_drawn_and_not_what_is_listed() {
    let deck = |policies: u64| {
        let cells = || (0..policies).map(|n| cell(&format!("policy-{n:04}"), Mode::Audit, Some(Severity::Low), n % 7)).collect();
        Deck::new((0..10).map(|e| environment(&format!("env-{e}"), cells())).collect(), (200, 60))
    };
    let (small, large) = (deck(200).quickest(), deck(2_000).quickest());
    // Ten times the rows. A frame that formats all of them would cost ten times as much.
    assert!(large < small * 3, "{large:?} with 2,000 policies, {small:?} with 200");
}
