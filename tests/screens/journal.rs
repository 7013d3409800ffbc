//! The journal: who did what, and does the chain hold?
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::deck::{Deck, event};
use super::fixture::{self, journals, past};
use policydeck::domain::journal::{Signer, StepResult, Verb};
use policydeck::engine::JournalReader;
use policydeck::files::journal::Journal;
use policydeck::tui::{Ask, ColorDepth, Effect, Msg, Role, TuiOptions};

const SIZES: [(u16, u16); 3] = super::ALL_SIZES;

fn opened(options: TuiOptions, size: (u16, u16)) -> Deck {
    Deck::with(options, past::environments(), size).keys(":").typed("journal").keys("enter")
}

fn journal(size: (u16, u16)) -> Deck {
    opened(journals::options(), size)
}

/// The line under the cursor.
fn selected(deck: &mut Deck) -> String {
    let text = deck.text();
    text.lines().find_map(|line| line.strip_prefix(['▌', '>'])).unwrap_or_default().to_owned()
}

#[test]
fn the_list_at_every_size() {
    for (columns, rows) in SIZES {
        snapshot!(format!("journal_{columns}x{rows}"), journal((columns, rows)).text());
    }
    snapshot!("journal_40x12", journal((40, 12)).text());
    snapshot!("journal_120x40_roles", journal((120, 40)).roles());
    let ascii = TuiOptions { ascii: true, depth: ColorDepth::None, ..journals::options() };
    let text = opened(ascii, (120, 40)).text();
    // What drove the terminal is a mark of its own, on every terminal.
    assert!(text.replace('\u{fffd}', "?").is_ascii(), "{text}");
    snapshot!("journal_ascii_120x40", text);
}

#[test]
fn an_entry_in_full() {
    let to_the_gate = "down down down down down down down down down down";
    for (columns, rows) in SIZES {
        let mut deck = journal((columns, rows)).keys(to_the_gate).keys("enter");
        snapshot!(format!("journal_entry_{columns}x{rows}"), deck.text());
    }
    let mut deck = journal((120, 40)).keys(to_the_gate).keys("enter");
    snapshot!("journal_entry_120x40_roles", deck.roles());
    let mut deck = deck.keys("y");
    snapshot!("journal_lines_120x40", deck.text());
    let copied = deck.keys("c").effects.into_iter().find_map(|effect| match effect {
        Effect::Copy(text) => Some(text),
        _ => None,
    });
    let lines: Vec<serde_json::Value> = copied.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["phase"].as_str().unwrap()).collect::<Vec<_>>(), ["intent", "outcome"]);
    // Back to what the lines say, then to the list, with the cursor where it was.
    let mut deck = journal((120, 40)).keys(to_the_gate);
    let line = selected(&mut deck);
    let mut deck = deck.keys("y esc");
    assert!(deck.text().contains("agreed in the platform meeting"), "{}", deck.text());
    let mut deck = deck.keys("esc");
    assert_eq!(selected(&mut deck), line);
    let mut deck = journal((80, 24)).keys(to_the_gate).keys("enter");
    deck.draw();
    let mut deck = deck.keys("end");
    snapshot!("journal_entry_end_80x24", deck.text());
}

#[test]
fn what_nobody_knows_is_compared_with_the_cluster() {
    let mut deck = journal((120, 40)).keys("down enter");
    let text = deck.text();
    snapshot!("journal_unknown_120x40", text);
    snapshot!("journal_unknown_120x40_roles", deck.roles());
    assert!(text.contains("nobody wrote down what became of it") && text.contains("carried-out: it names this plan"), "{text}");
    // Sent, and never answered.
    let text = journal((120, 40)).keys("down down enter").text();
    assert!(text.contains("the answer did not come") && text.contains("not-carried-out: it is as it was"), "{text}");
    // What is known is not asked for.
    let text = journal((120, 40)).keys("enter").text();
    assert!(!text.contains("carried-out"), "{text}");
}

#[test]
fn who_wrote_into_it_is_told_with_place_and_remedy() {
    let mut deck = opened(journals::with(journals::broken()), (120, 40));
    let text = deck.text();
    snapshot!("journal_broken_120x40", text);
    snapshot!("journal_broken_120x40_roles", deck.roles());
    assert!(text.contains("chain broken at 2025-11.jsonl:1") && text.contains("Compare the file with an export"), "{text}");
    snapshot!("journal_broken_80x24", opened(journals::with(journals::broken()), (80, 24)).text());
    let mut deck = deck.keys("end enter");
    assert!(deck.text().contains("holds from the first entry up to here"), "{}", deck.text());
    let mut deck = deck.keys("esc up up enter");
    assert!(deck.text().contains("broken here: this is not as it was written"), "{}", deck.text());
    let mut deck = deck.keys("esc home enter");
    assert!(deck.text().contains("broken at 2025-11.jsonl:1: entry"), "{}", deck.text());
}

#[test]
fn without_entries_there_are_words() {
    snapshot!("journal_empty_80x24", opened(journals::with(journals::empty()), (80, 24)).text());
    snapshot!("journal_unreadable_80x24", opened(journals::with(journals::unreadable()), (80, 24)).text());
    let mut deck = opened(TuiOptions::default(), (80, 24));
    snapshot!("journal_no_place_80x24", deck.text());
    for keys in ["enter", "y", "t", "c", "end", "1", "tab", "esc"] {
        deck = deck.keys(keys);
        deck.draw();
    }
    let mut deck = journal((80, 24)).keys("/").typed("who=nobody").keys("enter");
    snapshot!("journal_filtered_away_80x24", deck.text());
}

#[test]
fn it_is_filtered_by_environment_and_by_what_only_it_has() {
    let rows = |deck: &mut Deck| deck.text().lines().filter(|line| line.contains("Nov ") || line.contains("Oct ")).skip(1).count();
    let mut deck = journal((120, 40)).keys("4");
    assert_eq!(rows(&mut deck), 2, "{}", deck.text());
    assert!(deck.text().contains("11 steps left out by the filter env=production"), "{}", deck.text());
    let mut deck = deck.keys("0 /").typed("result=unknown").keys("enter");
    assert_eq!(rows(&mut deck), 2, "{}", deck.text());
    let mut deck = deck.keys("esc /").typed("who=jane !result=done CHG-1042").keys("enter");
    assert_eq!(rows(&mut deck), 2, "{}", deck.text());
    let text = deck.keys("esc /").typed("sev=high").text();
    assert!(text.contains("the journal has no sev"), "{text}");
    assert!(journal((120, 40)).keys("9").text().contains("there is no environment 9"));
}

/// A journal of one's own, with a step in it.
fn own() -> (tempfile::TempDir, Journal, Deck) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::open(&path);
    journal.append(journals::record(600, "ana", Verb::Promote, "dev", "first")).unwrap();
    let deck = opened(journals::with(JournalReader::new(path)), (120, 40));
    (folder, journal, deck)
}

#[test]
fn what_is_written_meanwhile_appears_and_the_cursor_stays() {
    let (_folder, mut journal, mut deck) = own();
    assert!(deck.text().contains("chain verified: 1 entry in 1 file"), "{}", deck.text());
    assert!(selected(&mut deck).contains("unknown"));
    deck.press("home");
    let second = journal.append(journals::record(60, "bob", Verb::Hold, "qac", "second")).unwrap();
    deck.later(1_600);
    let text = deck.text();
    assert!(text.contains("chain verified: 2 entries in 1 file") && text.contains("second"), "{text}");
    assert!(selected(&mut deck).contains("first"), "the one that was chosen stays selected: {text}");
    // Its outcome, while it is open.
    let mut deck = deck.keys("up enter");
    assert!(deck.text().contains("nobody wrote down what became of it"), "{}", deck.text());
    journal.append(second.outcome(fixture::now(), StepResult::Done, Some("held now".to_owned()))).unwrap();
    deck.later(1_600);
    assert!(deck.text().contains("held now") && !deck.text().contains("nobody wrote down"), "{}", deck.text());
    let mut deck = deck.keys("esc");
    assert!(deck.text().contains("2 steps") && deck.text().contains("1 unknown"), "{}", deck.text());
}

#[test]
fn an_entry_of_a_signed_plan_names_the_signer_and_the_key() {
    let (_folder, mut journal, mut deck) = own();
    let mut record = journals::record(60, "bob", Verb::Promote, "qac", "second");
    record.signer = Some(Signer { principal: "ana@example.com".to_owned(), key: "SHA256:i1c24OOVosFQCoXJeNQDG61yzyRj".to_owned() });
    journal.append(record).unwrap();
    deck.later(1_600);
    let mut deck = deck.keys("home enter");
    assert!(deck.text().contains("ana@example.com (SHA256:i1c24OOVosFQCoXJeNQDG61yzyRj)"), "{}", deck.text());
}

#[test]
fn other_hands_are_noticed_while_it_is_open() {
    let (folder, mut journal, mut deck) = own();
    let file = std::fs::read_dir(folder.path().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).unwrap();
    let line = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, line.replace("first", "forged!")).unwrap();
    deck.later(1_600);
    assert!(deck.text().contains("chain broken at 2025-11.jsonl:1"), "{}", deck.text());
    assert!(deck.text().contains("forged!"), "{}", deck.text());
    // And when it is no longer there at all.
    std::fs::remove_file(&file).unwrap();
    deck.later(1_600);
    assert!(deck.text().contains("the file is missing, with entry 1"), "{}", deck.text());
    journal.append(journals::record(1, "ana", Verb::Hold, "dev", "third")).unwrap();
    deck.later(1_600);
    assert!(deck.text().contains("third"), "{}", deck.text());
}

/// The questions for the journal that follow from a message.
fn asked(deck: &mut Deck, msg: Msg) -> usize {
    let effects = deck.app.update(deck.now, msg);
    effects.iter().filter(|effect| matches!(effect, Effect::Ask(_, Ask::Journal { .. }))).count()
}

#[test]
fn it_costs_nothing_while_it_is_not_shown_and_nothing_new_comes_while_paused() {
    let (_folder, mut journal, deck) = own();
    let mut deck = deck.keys("P");
    journal.append(journals::record(60, "bob", Verb::Hold, "qac", "second")).unwrap();
    for _ in 0..4 {
        deck.later(1_600);
    }
    assert!(!deck.text().contains("second"), "{}", deck.text());
    let mut deck = deck.keys("P");
    deck.later(1_600);
    assert!(deck.text().contains("second"), "{}", deck.text());
    let mut deck = deck.keys("tab");
    for _ in 0..4 {
        deck.now += jiff::SignedDuration::from_secs(2);
        assert_eq!(asked(&mut deck, Msg::Clock), 0);
    }
    let mut deck = deck.keys("shift-tab");
    assert!(deck.text().contains("chain verified"), "{}", deck.text());
    deck.now += jiff::SignedDuration::from_secs(2);
    assert_eq!(asked(&mut deck, Msg::Clock), 1);
    assert_eq!(asked(&mut deck, Msg::Clock), 0, "one question at a time");
}

#[test]
fn a_long_journal_opens_at_its_end_and_goes_on_to_its_beginning() {
    let (_folder, reader) = journals::long(1_500);
    let mut deck = opened(journals::with(reader), (80, 24));
    let text = deck.text();
    assert!(text.contains("policy-01499") && text.contains("newest "), "{text}");
    assert!(text.contains("chain verified: 3 000 entries"), "{text}");
    deck.press("pgdn");
    assert!(deck.text().contains("newest "), "a page is not all of it: {}", deck.text());
    // Every step once, in order, however they were read.
    let mut deck = deck.keys("end");
    let text = deck.text();
    assert!(text.contains("policy-00000") && text.contains("1 500 steps") && !text.contains("newest"), "{text}");
    assert!(selected(&mut deck).contains("policy-00000"));
    let mut deck = deck.keys("home");
    assert!(selected(&mut deck).contains("policy-01499"));
    // A filter looks through all of it.
    let (_folder, reader) = journals::long(1_500);
    let mut deck = opened(journals::with(reader), (80, 24)).keys("/").typed("policy-00007").keys("enter");
    assert!(selected(&mut deck).contains("policy-00007"), "{}", deck.text());
    assert!(!deck.text().contains("unknown"), "no intent is torn from its outcome: {}", deck.text());
}

#[test]
fn the_policy_over_time_begins_where_it_was_done_and_leads_back() {
    let mut deck = journal((120, 40)).keys("down down down down down down down down down down");
    let line = selected(&mut deck);
    assert!(line.contains("audit → enforce") && line.contains("dev"), "{line}");
    let mut deck = deck.keys("t");
    let text = deck.text();
    assert!(text.contains("disallow-latest-tag") && text.contains("── dev  Nov 11"), "{text}");
    let mut deck = deck.keys("esc");
    assert_eq!(selected(&mut deck), line);
    // Also from an opened entry, which stays open.
    let mut deck = deck.keys("enter t esc");
    assert!(deck.text().contains("agreed in the platform meeting"), "{}", deck.text());
    // What concerns no policy has none.
    let text = journal((120, 40)).keys("down down down t").text();
    assert!(text.contains("this was done to no policy"), "{text}");
    // A policy that the board does not list is not acted on by mistake.
    let mut deck = journal((120, 40)).keys("/").typed("restrict").keys("enter t p");
    assert!(deck.text().contains("one level back") || deck.text().contains("nothing can be changed"), "{}", deck.text());
}

#[test]
fn the_mouse_selects_opens_and_scrolls() {
    let mut deck = journal((120, 40));
    let (column, row) = deck.find("restrict-image-registries");
    deck.click(column, row);
    assert!(selected(&mut deck).contains("restrict-image-registries"));
    deck.click(column, row);
    assert!(deck.text().contains("nobody held it"), "{}", deck.text());
}

#[test]
fn names_and_reasons_drive_no_terminal() {
    for keys in ["", "enter", "enter y"] {
        let mut deck = journal((200, 60)).keys("/").typed("undo").keys("enter").keys(keys);
        let text = deck.text();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text}");
        let copied = deck.keys("c").effects.into_iter().find_map(|effect| match effect {
            Effect::Copy(text) => Some(text),
            _ => None,
        });
        assert!(!copied.unwrap().contains('\u{1b}'));
    }
}

#[test]
fn production_is_marked() {
    let mut deck = journal((120, 40));
    let (column, row) = deck.find("PRODUCTION   ? unknown");
    let letters = deck.roles();
    let line: Vec<char> = letters.lines().nth(usize::from(row)).unwrap().chars().collect();
    assert_eq!(line[usize::from(column)], Role::Production.letter(), "{letters}");
    let of = |word: usize| line[usize::from(column) + word];
    assert_eq!((of(13), of(15)), (Role::Fault.letter(), Role::Fault.letter()));
    assert_eq!(asked(&mut deck, Msg::Key(event("down"))), 0);
}
